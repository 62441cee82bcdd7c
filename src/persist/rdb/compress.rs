//! Entries that [`super::save`] wrote without compression, compressed afterwards.
//!
//! Entries are written under the lock of their shard, by commands too, which is no place for LZF. The
//! result is byte for byte what writing them compressed would have been.

use super::stream::{ID_LEN, Layout, TIME_LEN};
use super::{kind, write};

/// Bytes of a double and of a time.
const WORD_LEN: usize = 8;

/// Appends the entries in `bytes` to `out`, with their strings compressed.
///
/// # Panics
///
/// If `bytes` is not what [`super::save::entry`] wrote, without compression.
pub fn entries(bytes: &[u8], out: &mut Vec<u8>) {
    let mut walk = Walk { rest: bytes, out };
    while !walk.rest.is_empty() {
        walk.entry();
    }
}

struct Walk<'a> {
    rest: &'a [u8],
    out: &'a mut Vec<u8>,
}

impl<'a> Walk<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    fn copy(&mut self, len: usize) {
        let taken = self.take(len);
        self.out.extend_from_slice(taken);
    }

    /// Takes a length; `None` if an encoded string begins here, which stays.
    fn head(&mut self) -> Option<usize> {
        let first = self.rest[0];
        let (head, len) = match first >> 6 {
            0 => (1, usize::from(first)),
            1 => (2, usize::from(first & 0x3f) << 8 | usize::from(self.rest[1])),
            2 if first == 0x80 => (5, number(&self.rest[1..5])),
            2 => (9, number(&self.rest[1..9])),
            _ => return None,
        };
        self.take(head);
        Some(len)
    }

    fn len(&mut self) -> usize {
        let len = self.head().expect("a length was written");
        write::len(self.out, len);
        len
    }

    fn string(&mut self) {
        match self.head() {
            Some(len) => {
                let text = self.take(len);
                write::string(self.out, text, true);
            }
            // Without compression only integers are encoded: of one, two or four bytes.
            None => self.copy(1 + (1 << (self.rest[0] & 0x3f))),
        }
    }

    fn each(&mut self, mut item: impl FnMut(&mut Self)) {
        for _ in 0..self.len() {
            item(self);
        }
    }

    fn entry(&mut self) {
        loop {
            let mark = self.rest[0];
            self.copy(1);
            match mark {
                kind::EXPIRE_AT_MS => self.copy(WORD_LEN),
                kind::IDLE => drop(self.len()),
                kind::FREQUENCY => self.copy(1),
                kind::AUX => {
                    self.string();
                    self.string();
                }
                kind => {
                    self.string();
                    return self.value(kind);
                }
            }
        }
    }

    fn value(&mut self, kind: u8) {
        match kind {
            kind::STRING
            | kind::SET_INTSET
            | kind::HASH_LISTPACK
            | kind::ZSET_LISTPACK
            | kind::SET_LISTPACK => self.string(),
            kind::LIST_QUICKLIST_2 => self.each(|walk| {
                walk.len();
                walk.string();
            }),
            kind::SET => self.each(Self::string),
            kind::ZSET_2 => self.each(|walk| {
                walk.string();
                walk.copy(WORD_LEN);
            }),
            kind::HASH => self.each(Self::pair),
            kind::HASH_METADATA => {
                self.copy(WORD_LEN);
                self.each(|walk| {
                    walk.len();
                    walk.pair();
                });
            }
            kind::VALKEY_HASH_2 => self.each(|walk| {
                walk.pair();
                walk.copy(WORD_LEN);
            }),
            kind::STREAM_LISTPACKS_2 => self.stream(Layout::Counted),
            kind::STREAM_LISTPACKS_3 => self.stream(Layout::Active),
            other => unreachable!("kind {other} is never written"),
        }
    }

    fn stream(&mut self, layout: Layout) {
        self.each(Self::pair);
        self.lens(8);
        self.each(|group| {
            group.string();
            group.lens(3);
            group.each(|pending| {
                pending.copy(ID_LEN + TIME_LEN);
                pending.lens(1);
            });
            group.each(|consumer| {
                consumer.string();
                consumer.copy(if layout >= Layout::Active { 2 * TIME_LEN } else { TIME_LEN });
                consumer.each(|pending| pending.copy(ID_LEN));
            });
        });
    }

    fn lens(&mut self, count: usize) {
        for _ in 0..count {
            self.len();
        }
    }

    fn pair(&mut self) {
        self.string();
        self.string();
    }
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}
