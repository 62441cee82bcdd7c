//! One node of a stream: some entries in a row, in the bytes in which Redis keeps and saves them.
//!
//! ```text
//! master   count | deleted | fields | name ... name | 0
//! entry    flags | ms - master's | seq - master's | [fields |] name value ... | items
//! ```
//!
//! Each box is an entry of a listpack. `count` entries live, `deleted` are marked as such and stay
//! where they are. An entry with the names of the master has [`SAME_FIELDS`] and neither `fields` nor
//! names. `items` is the number of boxes before it, so that entries can be read from the end; the 0
//! behind the master's names ends that.
//!
//! Invariant: the bytes were written here or have passed [`Node::check`]: entries ascend by id, and
//! the counts of the master are those of the entries.

use super::id::StreamId;
use crate::encoding::Corrupt;
use crate::encoding::listpack::{self, Encoded, Listpack, encode, encode_int};

/// The entry is deleted.
const DELETED: i64 = 1;
/// The entry has the names of the master.
const SAME_FIELDS: i64 = 2;

/// Boxes of an entry beside names and values, without `fields` and `items`.
const FIXED_ITEMS: usize = 3;

/// Bytes of a whole listpack beside its body.
const FRAME_LEN: usize = listpack::HEADER_LEN + 1;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Node {
    body: Vec<u8>,
    /// How many boxes there are.
    items: usize,
}

/// What stands before the entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// How many names the master has.
    pub(super) fields: usize,
    /// Where the first of them is.
    pub(super) names: usize,
    /// Where the first entry is.
    pub(super) entries: usize,
}

/// An entry in its node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Where it begins.
    pub(super) at: usize,
    pub(super) id: StreamId,
    pub(super) deleted: bool,
    /// Whether its names are the master's.
    pub(super) same: bool,
    pub(super) fields: usize,
    /// Where its names and values begin.
    pub(super) pairs: usize,
}

impl Place {
    /// How many boxes names and values are.
    fn pair_items(&self) -> usize {
        if self.same { self.fields } else { 2 * self.fields }
    }
}

impl Node {
    /// A node of one entry.
    pub(super) fn new<'p>(
        pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])> + Clone,
    ) -> Self {
        let mut node = Self { body: Vec::new(), items: 4 + pairs.len() };
        encode_int(0, &mut node.body);
        encode_int(0, &mut node.body);
        encode_int(pairs.len() as i64, &mut node.body);
        pairs.clone().for_each(|(name, _)| encode(name, &mut node.body));
        encode_int(0, &mut node.body);
        node.append(StreamId::MIN, StreamId::MIN, pairs);
        node
    }

    /// A node of a whole listpack, which stands under `master`.
    ///
    /// # Errors
    ///
    /// When anything about it is not as this module would have written it.
    pub(super) fn check(master: StreamId, whole: &[u8]) -> Result<Self, Corrupt> {
        let (body, items) = listpack::check(whole)?;
        let mut reader = Reader { list: Listpack::new(body), at: 0 };
        let (live, deleted) = (reader.count()?, reader.count()?);
        let fields = reader.count()?;
        reader.skip(fields)?;
        if reader.integer()? != 0 {
            return Err(reader.wrong("master entry of a stream without an end"));
        }
        let (mut counts, mut last) = ([0, 0], None);
        while reader.at < body.len() {
            let start = reader.at;
            let flags = reader.integer()?;
            let id = master.plus(reader.integer()?, reader.integer()?);
            if last >= Some(id) || id < master {
                return Err(reader.wrong("entry of a stream out of order"));
            }
            last = Some(id);
            let mut expected = FIXED_ITEMS;
            if flags & SAME_FIELDS != 0 {
                expected += fields;
                reader.skip(fields)?;
            } else {
                let own = reader.count()?;
                let pairs = own.checked_mul(2).filter(|pairs| *pairs <= items);
                let pairs = pairs.ok_or(reader.wrong("too many fields in a stream"))?;
                expected += pairs + 1;
                reader.skip(pairs)?;
            }
            if flags & !(DELETED | SAME_FIELDS) != 0 || reader.count()? != expected {
                return Err(Corrupt { what: "broken entry of a stream", at: start });
            }
            counts[usize::from(flags & DELETED != 0)] += 1;
        }
        if counts != [live, deleted] || last.is_none() {
            return Err(Corrupt { what: "wrong number of entries in a stream", at: 0 });
        }
        Ok(Self { body: body.to_vec(), items })
    }

    pub(super) fn list(&self) -> Listpack<'_> {
        Listpack::new(&self.body)
    }

    /// How many boxes there are.
    pub(super) fn items(&self) -> usize {
        self.items
    }

    /// The bytes of the whole listpack.
    pub(super) fn whole_len(&self) -> usize {
        FRAME_LEN + self.body.len()
    }

    /// The bytes that are allocated.
    pub(super) fn capacity(&self) -> usize {
        self.body.capacity()
    }

    /// Gives up room for growth.
    pub(super) fn fit(&mut self) {
        self.body.shrink_to_fit();
    }

    /// How many entries live.
    pub(super) fn live(&self) -> u64 {
        self.number(0) as u64
    }

    /// How many entries there are, deleted ones too.
    pub(super) fn entries(&self) -> u64 {
        self.live() + self.number(self.after(0)) as u64
    }

    pub(super) fn head(&self) -> Head {
        let at = self.after(self.after(0));
        let (fields, names) = (self.number(at) as usize, self.after(at));
        let end = self.after_all(names, fields);
        Head { fields, names, entries: self.after(end) }
    }

    /// Adds an entry behind the others.
    pub(super) fn append<'p>(
        &mut self,
        master: StreamId,
        id: StreamId,
        pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])> + Clone,
    ) {
        let fields = pairs.len();
        let same = self.has_names(pairs.clone().map(|(name, _)| name));
        self.set_number(0, self.number(0) + 1);
        let (ms, seq) = id.minus(master);
        encode_int(if same { SAME_FIELDS } else { 0 }, &mut self.body);
        encode_int(ms, &mut self.body);
        encode_int(seq, &mut self.body);
        if !same {
            encode_int(fields as i64, &mut self.body);
        }
        for (name, value) in pairs {
            if !same {
                encode(name, &mut self.body);
            }
            encode(value, &mut self.body);
        }
        let items = FIXED_ITEMS + if same { fields } else { 2 * fields + 1 };
        encode_int(items as i64, &mut self.body);
        self.items += items + 1;
    }

    /// Whether the master has exactly these names.
    fn has_names<'n>(&self, names: impl ExactSizeIterator<Item = &'n [u8]>) -> bool {
        let at = self.after(self.after(0));
        if self.number(at) as usize != names.len() {
            return false;
        }
        let mut own = self.list().iter_from(self.after(at));
        names.into_iter().all(|name| own.next().is_some_and(|(_, item)| item.is(name)))
    }

    /// Marks the entry that begins at `at`, which lives, as deleted.
    pub(super) fn mark_deleted(&mut self, at: usize) {
        // From behind, as what is before an entry may change its length.
        self.set_number(at, self.number(at) | DELETED);
        let deleted = self.after(0);
        self.set_number(deleted, self.number(deleted) + 1);
        self.set_number(0, self.number(0) - 1);
    }

    /// The entry that begins at `at`; nothing at the end.
    pub(super) fn place(&self, master: StreamId, head: Head, at: usize) -> Option<Place> {
        if at >= self.body.len() {
            return None;
        }
        let (flags, ms_at) = (self.number(at), self.after(at));
        let seq_at = self.after(ms_at);
        let id = master.plus(self.number(ms_at), self.number(seq_at));
        let (same, pairs) = (flags & SAME_FIELDS != 0, self.after(seq_at));
        let deleted = flags & DELETED != 0;
        if same {
            return Some(Place { at, id, deleted, same, fields: head.fields, pairs });
        }
        let (fields, pairs) = (self.number(pairs) as usize, self.after(pairs));
        Some(Place { at, id, deleted, same, fields, pairs })
    }

    /// Where the entry after `place` begins, or the end.
    pub(super) fn next(&self, place: &Place) -> usize {
        self.after(self.after_all(place.pairs, place.pair_items()))
    }

    /// Where the entry before `at` begins; `at` is where one begins, or the end.
    pub(super) fn prev(&self, at: usize) -> Option<usize> {
        let end = self.list().prev(at)?;
        let items = self.number(end) as usize;
        (items > 0).then(|| self.list().skip_back(end, items)).flatten()
    }

    /// The last entry.
    pub(super) fn last(&self, master: StreamId) -> Option<Place> {
        self.place(master, self.head(), self.prev(self.body.len())?)
    }

    fn number(&self, at: usize) -> i64 {
        self.list().get(at).integer().expect("a number stands there in every node")
    }

    fn set_number(&mut self, at: usize, value: i64) {
        let (entry, mut bytes) = (Encoded::integer(value), [0; 16]);
        let bytes = &mut bytes[..entry.len()];
        entry.write_to(bytes);
        let old = at..self.after(at);
        if old.len() == bytes.len() {
            self.body[old].copy_from_slice(bytes);
        } else {
            self.body.splice(old, bytes.iter().copied());
        }
    }

    /// The place behind the box at `at`.
    fn after(&self, at: usize) -> usize {
        at + self.list().entry_len(at)
    }

    fn after_all(&self, at: usize, count: usize) -> usize {
        self.list().skip(at, count).expect("a node has as many items as it says")
    }
}

/// Reads a node of foreign origin, whose listpack as such is sound.
struct Reader<'a> {
    list: Listpack<'a>,
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, what: &'static str) -> Corrupt {
        Corrupt { what, at: self.at }
    }

    fn integer(&mut self) -> Result<i64, Corrupt> {
        let cut = self.wrong("cut node of a stream");
        if self.at >= self.list.body().len() {
            return Err(cut);
        }
        let value = self.list.get(self.at).integer();
        let value = value.ok_or(self.wrong("text where a stream has a number"))?;
        self.skip(1)?;
        Ok(value)
    }

    fn count(&mut self) -> Result<usize, Corrupt> {
        let wrong = self.wrong("negative number in a stream");
        self.integer()?.try_into().map_err(|_| wrong)
    }

    fn skip(&mut self, count: usize) -> Result<(), Corrupt> {
        let cut = self.wrong("cut node of a stream");
        self.at = self.list.skip(self.at, count).ok_or(cut)?;
        Ok(())
    }
}
