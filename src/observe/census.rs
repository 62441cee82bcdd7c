//! What the keyspace is made of: sizes of values by type, and the largest of them.
//!
//! Counting every change would cost every write. Instead each event loop walks through its share of the
//! shards, a fraction of a millisecond at a time, and hands over what it found when it has seen all of
//! them. So figures are as old as one round: a second for a small keyspace, minutes for tens of
//! millions of keys.
//!
//! Must not know commands. Invariant: a round that is under way is seen by nobody.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::clock;
use crate::keyspace::{EntryView, Shard};
use crate::value::Type;

/// Large values that are known of each type and event loop, by size and by elements.
const LARGEST_MAX: usize = 16;

/// Bytes of a key that are kept.
const KEY_LEN_MAX: usize = 512;

/// Classes of sizes: 0, 1, 2, 4, 8 and so on.
const CLASSES: usize = 48;

/// How many values are how large; class n > 0 is from 2^(n-1) on.
pub type Sizes = [u64; CLASSES];

/// What one database is made of.
#[derive(Clone, Debug, Default)]
pub struct DbCensus {
    /// By type: bytes of strings, elements of collections.
    sizes: [Option<Box<Sizes>>; Type::COUNT],
    /// Hashes of which fields have deadlines.
    pub volatile_hashes: u64,
}

impl DbCensus {
    /// How many values of a type are how large, if there are any.
    pub fn sizes(&self, of: Type) -> Option<&Sizes> {
        self.sizes[of as usize].as_deref()
    }

    fn note(&mut self, of: Type, len: u64) {
        self.sizes[of as usize].get_or_insert_with(|| Box::new([0; CLASSES]))[class_of(len)] += 1;
    }

    fn add(&mut self, other: &Self) {
        self.volatile_hashes += other.volatile_hashes;
        for (sum, more) in self.sizes.iter_mut().zip(&other.sizes) {
            let Some(more) = more else { continue };
            let sum = sum.get_or_insert_with(|| Box::new([0; CLASSES]));
            sum.iter_mut().zip(&**more).for_each(|(sum, count)| *sum += count);
        }
    }
}

/// A large value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BigKey {
    /// Its database.
    pub db: usize,
    /// Its name, or the beginning of a very long one.
    pub key: Box<[u8]>,
    /// Its type.
    pub type_of: Type,
    /// Bytes of a string, elements of a collection.
    pub len: u64,
    /// Bytes of memory that key and value take, estimated for large collections.
    pub memory: u64,
}

/// What the keyspace is made of.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// By database, up to the highest that has keys.
    pub databases: Vec<DbCensus>,
    /// The largest values of each type, by memory.
    largest: [Vec<BigKey>; Type::COUNT],
    /// Keys that were seen.
    pub keys: u64,
    /// When the oldest part was finished, in Unix milliseconds; 0 when a part is yet to be.
    pub at_ms: i64,
}

impl Census {
    fn database(&mut self, db: usize) -> &mut DbCensus {
        if self.databases.len() <= db {
            self.databases.resize_with(db + 1, DbCensus::default);
        }
        &mut self.databases[db]
    }

    /// Counts one entry of a database.
    pub fn note(&mut self, db: usize, entry: EntryView<'_>) {
        let value = entry.value();
        let (type_of, len) = (value.type_of(), value.len() as u64);
        let has_volatile_fields = entry.object().is_some_and(|object| object.due_at_ms().is_some());
        let part = self.database(db);
        part.note(type_of, len);
        part.volatile_hashes += u64::from(has_volatile_fields);
        self.keys += 1;
        let largest = &mut self.largest[type_of as usize];
        let least = largest.last().filter(|_| largest.len() == LARGEST_MAX);
        // Looking closer at a small value would cost more than all else.
        if least.is_some_and(|least| len < least.len / 4) {
            return;
        }
        let memory = entry.memory() as u64;
        if least.is_none_or(|least| memory > least.memory) {
            let key = entry.key();
            let key = key[..key.len().min(KEY_LEN_MAX)].into();
            insert(largest, BigKey { db, key, type_of, len, memory });
        }
    }

    /// Adds what another event loop found.
    fn add(&mut self, other: &Self) {
        self.keys += other.keys;
        for (db, part) in other.databases.iter().enumerate() {
            self.database(db).add(part);
        }
        for (largest, keys) in self.largest.iter_mut().zip(&other.largest) {
            keys.iter().for_each(|key| insert(largest, key.clone()));
        }
    }

    /// The largest values of all types, or of one, by memory, at most `count`.
    pub fn largest(&self, of: Option<Type>, count: usize) -> Vec<BigKey> {
        let all = self.largest.iter().flatten();
        let wanted = all.filter(|key| of.is_none_or(|wanted| wanted == key.type_of));
        let mut keys: Vec<BigKey> = wanted.cloned().collect();
        keys.sort_by(|a, b| b.memory.cmp(&a.memory).then_with(|| a.key.cmp(&b.key)));
        keys.truncate(count);
        keys
    }
}

fn insert(largest: &mut Vec<BigKey>, key: BigKey) {
    let at = largest.partition_point(|known| known.memory >= key.memory);
    largest.insert(at, key);
    largest.truncate(LARGEST_MAX);
}

fn class_of(len: u64) -> usize {
    len.checked_ilog2().map_or(0, |log| log as usize + 1).min(CLASSES - 1)
}

/// Where one event loop's walk is.
pub struct Walk {
    thread: usize,
    threads: usize,
    shard: usize,
    db: usize,
    /// The segment of the table that comes next.
    segment: usize,
    found: Census,
    /// When the last round was over, in Unix milliseconds.
    rested_at_ms: i64,
}

/// Milliseconds from the end of a round to the next.
const ROUND_EVERY_MS: i64 = 1000;

impl Walk {
    /// The walk of event loop `thread` out of `threads`.
    pub fn new(thread: usize, threads: usize) -> Self {
        let found = Census::default();
        Self { thread, threads, shard: thread, db: 0, segment: 0, found, rested_at_ms: 0 }
    }

    /// Whether there is anything to do at `now_ms`: the next round begins a second after the last.
    pub fn is_due(&self, now_ms: i64) -> bool {
        now_ms - self.rested_at_ms >= ROUND_EVERY_MS
    }

    /// The number of the shard that comes next.
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// Counts one segment of a table of the shard that comes next, which has `shards` of its kind;
    /// `true` when that ends a round, which is then handed over to `to`.
    pub fn step(
        &mut self,
        shard: &Shard,
        (shards, databases): (usize, usize),
        to: &Censuses,
    ) -> bool {
        let (db, found) = (self.db, &mut self.found);
        let visited = shard
            .db(db)
            .is_some_and(|table| table.visit_segment(self.segment, |entry| found.note(db, entry)));
        if visited {
            self.segment += 1;
            return false;
        }
        (self.segment, self.db) = (0, self.db + 1);
        if self.db < databases.min(shard.db_count()) {
            return false;
        }
        (self.db, self.shard) = (0, self.shard + self.threads);
        if self.shard < shards {
            return false;
        }
        self.shard = self.thread;
        let mut found = std::mem::take(&mut self.found);
        found.at_ms = clock::now_ms();
        self.rested_at_ms = found.at_ms;
        to.hand_over(self.thread, found);
        true
    }
}

/// The last rounds of all event loops.
pub struct Censuses {
    rounds: Vec<Mutex<Arc<Census>>>,
}

impl Censuses {
    /// No round is over yet for `threads` event loops.
    pub fn new(threads: usize) -> Self {
        Self { rounds: (0..threads).map(|_| Mutex::default()).collect() }
    }

    fn hand_over(&self, thread: usize, found: Census) {
        *self.rounds[thread].lock() = Arc::new(found);
    }

    /// What the keyspace was made of when the last rounds ended.
    pub fn last(&self) -> Census {
        let rounds: Vec<Arc<Census>> =
            self.rounds.iter().map(|round| round.lock().clone()).collect();
        let mut sum = Census::default();
        rounds.iter().for_each(|round| sum.add(round));
        sum.at_ms = rounds.iter().map(|round| round.at_ms).min().unwrap_or(0);
        sum
    }
}

/// The types with INFO's names for their sizes.
pub const SHOWN: [(Type, &str); Type::COUNT] = [
    (Type::String, "strings_sizes"),
    (Type::List, "lists_items"),
    (Type::Set, "sets_items"),
    (Type::ZSet, "zsets_items"),
    (Type::Hash, "hashes_items"),
    (Type::Stream, "streams_items"),
];

/// The least size of a class, as INFO shows it: `0`, `1`, `512`, `1K`.
pub fn class_label(class: usize) -> String {
    let Some(log) = class.checked_sub(1) else { return "0".to_owned() };
    let unit = ["", "K", "M", "G", "T"][log / 10];
    format!("{}{unit}", 1u64 << (log % 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_double_and_are_labelled_by_their_least() {
        let label = |len| class_label(class_of(len));
        assert_eq!(
            [0, 1, 2, 3, 4, 1023, 1024, 1 << 30].map(label),
            ["0", "1", "2", "2", "4", "512", "1K", "1G"]
        );
        assert_eq!(class_label(class_of(u64::MAX)), "64T");
    }

    #[test]
    fn the_largest_are_kept_in_order() {
        let mut largest = Vec::new();
        for memory in (0..40).rev().chain(40..50) {
            let key = Box::from(&b"k"[..]);
            insert(&mut largest, BigKey { db: 0, key, type_of: Type::Hash, len: 1, memory });
        }
        let sizes: Vec<u64> = largest.iter().map(|key| key.memory).collect();
        assert_eq!(sizes, (34..50).rev().collect::<Vec<_>>());
    }
}
