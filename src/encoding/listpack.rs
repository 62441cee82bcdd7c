//! The listpack: a sequence of short texts and integers in one run of bytes, as Redis stores it.
//!
//! What is read and edited here is the *body*: the entries without the header before them and the
//! end mark after them, which say nothing that the body's length and the number of its entries do
//! not say, and are added when a file is written ([`header`], [`END`]) and checked off when one is
//! read ([`check`]).
//!
//! ```text
//! header  total bytes: u32 LE | entries: u16 LE, 65535 when there are as many or more
//! entry   0xxxxxxx                       integer 0..=127        | length of what is to the left,
//!         10nnnnnn text                  up to 63 bytes         | 7 bits a byte, the highest first,
//!         110xxxxx x                     13-bit integer         | all but the first with the top
//!         1110nnnn n text                up to 4095 bytes       | bit set, so that it can be read
//!         11110000 n n n n text          length u32 LE          | from its end
//!         11110001 xx .. 11110100 x{8}   16, 24, 32, 64 bits LE |
//! end     11111111
//! ```
//!
//! An entry is an integer exactly if its text is the one spelling of an `i64`, so texts come back
//! as they were. Places in a body are byte offsets of entries. A body is made by this module or
//! has passed [`check`]; offsets come from the same body. Otherwise reading panics, never more.

use super::{Corrupt, End};

mod entry;
#[cfg(test)]
mod tests;

use entry::{BACKLEN_MAX, backlen, backlen_size, decode};
pub use entry::{Encoded, Item, Needle, encode, encode_int, encoded_len};

/// The byte after the last entry of a whole listpack.
pub const END: u8 = 0xff;

/// Bytes of [`header`].
pub const HEADER_LEN: usize = 6;

/// The number of entries in a header that stands for itself and all larger ones.
const COUNT_UNKNOWN: u16 = u16::MAX;

/// The body of a listpack.
#[derive(Clone, Copy, Debug)]
pub struct Listpack<'a> {
    body: &'a [u8],
}

impl<'a> Listpack<'a> {
    /// Reads `body`, which this module made or [`check`] returned.
    #[inline]
    pub fn new(body: &'a [u8]) -> Self {
        Self { body }
    }

    /// Its bytes.
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Whether there are no entries.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// How many entries there are; walks over all of them.
    pub fn count(&self) -> usize {
        let (mut at, mut count) = (0, 0);
        while at < self.body.len() {
            at += self.entry_len(at);
            count += 1;
        }
        count
    }

    /// The place of the first entry.
    #[inline]
    pub fn first(&self) -> Option<usize> {
        (!self.body.is_empty()).then_some(0)
    }

    /// The place of the last entry.
    #[inline]
    pub fn last(&self) -> Option<usize> {
        self.prev(self.body.len())
    }

    /// The place of the entry after the one at `at`.
    #[inline]
    pub fn next(&self, at: usize) -> Option<usize> {
        let next = at + self.entry_len(at);
        (next < self.body.len()).then_some(next)
    }

    /// The place of the entry before the one at `at`, or before the end, the body's length.
    #[inline]
    pub fn prev(&self, at: usize) -> Option<usize> {
        (at > 0).then(|| at - self.entry_len_before(at))
    }

    /// What is at `at`.
    #[inline]
    pub fn get(&self, at: usize) -> Item<'a> {
        self.read(at).0
    }

    /// The bytes that the entry at `at` takes.
    #[inline]
    pub fn entry_len(&self, at: usize) -> usize {
        let (_, len) = self.read(at);
        len + backlen_size(len)
    }

    /// The place of entry `index`, walking from the first, or from the last (-1) if it is negative.
    pub fn seek(&self, index: isize) -> Option<usize> {
        if index >= 0 {
            let at = self.skip(0, index.unsigned_abs())?;
            (at < self.body.len()).then_some(at)
        } else {
            self.skip_back(self.body.len(), index.unsigned_abs())
        }
    }

    /// The place of entry `index` of `count` entries, walking from the nearer end.
    pub fn seek_counted(&self, index: usize, count: usize) -> Option<usize> {
        if index >= count {
            None
        } else if index <= count / 2 {
            self.skip(0, index)
        } else {
            self.skip_back(self.body.len(), count - index)
        }
    }

    /// The place `n` entries after `at`, which may be the end; nothing when there are fewer.
    #[inline]
    pub fn skip(&self, mut at: usize, n: usize) -> Option<usize> {
        for _ in 0..n {
            if at >= self.body.len() {
                return None;
            }
            at += self.entry_len(at);
        }
        Some(at)
    }

    /// The place `n` entries before `at`; nothing when there are fewer.
    #[inline]
    pub fn skip_back(&self, mut at: usize, n: usize) -> Option<usize> {
        for _ in 0..n {
            at = self.prev(at)?;
        }
        Some(at)
    }

    /// Places and items in order, from both ends.
    #[inline]
    pub fn iter(&self) -> Iter<'a> {
        self.iter_from(0)
    }

    /// As [`iter`](Self::iter), without what is before `at`; `at` may be the end.
    #[inline]
    pub fn iter_from(&self, at: usize) -> Iter<'a> {
        Iter { list: *self, front: at, back: self.body.len() }
    }

    /// The place of the first entry that is `text`, of every `every`-th entry beginning with the
    /// first: 2 looks at keys only where keys and values take turns.
    pub fn find(&self, text: &[u8], every: usize) -> Option<usize> {
        let needle = Needle::new(text);
        let mut at = 0;
        while at < self.body.len() {
            let (item, len) = self.read(at);
            if needle.is(item) {
                return Some(at);
            }
            at = self.skip(at + len + backlen_size(len), every - 1)?;
        }
        None
    }

    /// The body without the entries that are `needle`, or without the `limit` nearest to `end` of
    /// them, and how many those were; nothing when there are none.
    pub fn without(&self, needle: &Needle<'_>, limit: usize, end: End) -> Option<(Vec<u8>, usize)> {
        let found = |(at, item)| needle.is(item).then_some(at);
        let mut places: Vec<usize> = match end {
            End::Head => self.iter().filter_map(found).take(limit).collect(),
            End::Tail => self.iter().rev().filter_map(found).take(limit).collect(),
        };
        if places.is_empty() {
            return None;
        }
        places.sort_unstable();
        let mut rest = Vec::with_capacity(self.body.len());
        let mut kept = 0;
        for at in &places {
            rest.extend_from_slice(&self.body[kept..*at]);
            kept = at + self.entry_len(*at);
        }
        rest.extend_from_slice(&self.body[kept..]);
        Some((rest, places.len()))
    }

    /// The item at `at`, and the length of its entry without the backward length.
    #[inline]
    fn read(&self, at: usize) -> (Item<'a>, usize) {
        decode(&self.body[at..]).expect("the body is a listpack's, and the place an entry's")
    }

    /// The bytes that the entry takes whose end is `at`.
    #[inline]
    fn entry_len_before(&self, at: usize) -> usize {
        let (mut len, mut shift, mut size) = (0, 0, 0);
        loop {
            size += 1;
            let byte = self.body[at - size];
            len |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 || size == BACKLEN_MAX {
                return len + size;
            }
            shift += 7;
        }
    }
}

/// See [`Listpack::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    list: Listpack<'a>,
    front: usize,
    back: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (usize, Item<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        let at = self.front;
        let (item, len) = self.list.read(at);
        self.front = at + len + backlen_size(len);
        Some((at, item))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.back = self.list.prev(self.back)?;
        Some((self.back, self.list.get(self.back)))
    }
}

/// What stands before `body`, which has `count` entries, in a whole listpack; [`END`] follows it.
///
/// The body is shorter than 4 GiB by at least a header.
pub fn header(body: &[u8], count: usize) -> [u8; HEADER_LEN] {
    let total = u32::try_from(HEADER_LEN + body.len() + 1).expect("bodies are below 4 GiB");
    let [a, b, c, d] = total.to_le_bytes();
    let [e, f] = u16::try_from(count).unwrap_or(COUNT_UNKNOWN).to_le_bytes();
    [a, b, c, d, e, f]
}

/// The body of a whole listpack and the number of its entries.
///
/// # Errors
///
/// When a byte of it is not as this module would have written it, but that integers may be longer
/// than they had to be, and be texts: then every way of reading the body stays within it.
pub fn check(whole: &[u8]) -> Result<(&[u8], usize), Corrupt> {
    let wrong = |what, at| Err(Corrupt { what, at });
    let Some((header, body)) = whole.split_at_checked(HEADER_LEN) else {
        return wrong("cut listpack header", whole.len());
    };
    if header[..4] != (whole.len() as u64).to_le_bytes()[..4] || whole.len() > u32::MAX as usize {
        return wrong("wrong listpack length", 0);
    }
    let Some((&END, body)) = body.split_last() else {
        return wrong("missing end of listpack", whole.len());
    };
    let (mut at, mut count) = (0, 0);
    while at < body.len() {
        let Some((_, len)) = decode(&body[at..]) else {
            return wrong("broken listpack entry", HEADER_LEN + at);
        };
        let (bytes, size) = backlen(len);
        if !body[at + len..].starts_with(&bytes[..size]) {
            return wrong("wrong backward length in listpack", HEADER_LEN + at + len);
        }
        at += len + size;
        count += 1;
    }
    let counted = u16::from_le_bytes([header[4], header[5]]);
    if counted != COUNT_UNKNOWN && usize::from(counted) != count {
        return wrong("wrong number of listpack entries", 4);
    }
    Ok((body, count))
}
