//! One shard: its part of every database, and what was counted under its lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use super::entry::Entry;
use super::{Db, KeyHasher};
use crate::base::limits::EXPIRE_FIELDS_MAX;
use crate::base::random::Random;

/// What was removed without a command asking for it.
#[derive(Debug, Default)]
pub struct Removed {
    /// Entries whose deadlines passed, with their databases.
    pub keys: Vec<(usize, Entry)>,
    /// Fields whose deadlines passed.
    pub fields: Vec<ExpiredFields>,
    /// Entries of hashes that lost their last field that way.
    pub emptied: Vec<Entry>,
}

/// Fields of one hash that were removed because their deadlines passed.
#[derive(Clone, Debug)]
pub struct ExpiredFields {
    /// The database.
    pub db: usize,
    /// The key of the hash.
    pub key: Box<[u8]>,
    /// The names of the fields.
    pub fields: Vec<Box<[u8]>>,
}

/// What happened to the keys of a shard since the start or the last CONFIG RESETSTAT.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Reads of keys that were there.
    pub hits: u64,
    /// Reads of keys that were not.
    pub misses: u64,
    /// Keys removed because their deadline passed.
    pub expired: u64,
    /// Fields removed because their deadline passed.
    pub expired_fields: u64,
    /// Keys removed because memory was full.
    pub evicted: u64,
}

impl Stats {
    /// Adds another shard's counts.
    pub fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.expired += other.expired;
        self.expired_fields += other.expired_fields;
        self.evicted += other.evicted;
    }
}

/// One shard of the keyspace.
///
/// What a command on a key in database 0 needs lies in two cache lines side by side: that of the lock
/// and the counts, and the first one of the table.
#[repr(C)]
pub struct Shard {
    pub(super) stats: Stats,
    /// How many hashes there are in `minded`.
    minded_len: usize,
    /// The table of database 0, which most users never leave.
    first: Db,
    /// Those of databases 1 and up to the highest that was ever used, where they were.
    others: Vec<Option<Box<Db>>>,
    /// How many clients mind changes of keys of a hash, in any database: wait for them, watch or track
    /// them.
    minded: HashMap<u64, u32>,
    /// How many clients mind changes of every key; each stands in `minded` too, under [`EVERY`].
    every: u32,
    shard_bits: u32,
    pub(super) random: Random,
    /// Where the weights of a database's entries are added up, if they are.
    tallies: Vec<Option<Arc<AtomicI64>>>,
}

/// Where those stand who mind changes of every key, so that nothing is to be looked at when nobody
/// minds anything. That keys of this hash seem to be minded does no harm.
const EVERY: u64 = 0;

impl Shard {
    pub(super) fn new(shard_bits: u32, seed: u64) -> Self {
        Self {
            stats: Stats::default(),
            minded_len: 0,
            first: Db::new(shard_bits),
            others: Vec::new(),
            minded: HashMap::new(),
            every: 0,
            shard_bits,
            random: Random::seeded(seed),
            tallies: Vec::new(),
        }
    }

    /// One more client minds changes of a key of `hash`.
    pub fn mind(&mut self, hash: u64) {
        *self.minded.entry(hash).or_default() += 1;
        self.minded_len = self.minded.len();
    }

    /// One client less minds changes of a key of `hash`.
    pub fn unmind(&mut self, hash: u64) {
        if let Some(count) = self.minded.get_mut(&hash) {
            *count -= 1;
            if *count == 0 {
                self.minded.remove(&hash);
                self.minded_len = self.minded.len();
            }
        }
    }

    /// Whether a client minds changes of a key of `hash`.
    #[inline]
    pub fn is_minded(&self, hash: u64) -> bool {
        self.minded_len > 0 && (self.every > 0 || self.minded.contains_key(&hash))
    }

    /// One more client minds changes of every key.
    pub fn mind_every(&mut self) {
        self.every += 1;
        self.mind(EVERY);
    }

    /// One client less minds changes of every key.
    pub fn unmind_every(&mut self) {
        self.every -= 1;
        self.unmind(EVERY);
    }

    /// Whether clients mind changes of any key.
    pub fn minds_any(&self) -> bool {
        self.minded_len > 0
    }

    /// What was counted.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Sets the counts back to zero.
    pub fn reset_stats(&mut self) {
        self.stats = Stats::default();
    }

    /// How many databases there are up to the highest that was ever used.
    pub fn db_count(&self) -> usize {
        1 + self.others.len()
    }

    /// The table of database `db`, if it was ever used.
    #[inline]
    pub fn db(&self, db: usize) -> Option<&Db> {
        match db.checked_sub(1) {
            None => Some(&self.first),
            Some(other) => self.others.get(other)?.as_deref(),
        }
    }

    /// The table of database `db`.
    #[inline]
    pub(super) fn db_mut(&mut self, db: usize) -> &mut Db {
        self.parts(db).0
    }

    /// The table of database `db` with the counters beside it.
    #[inline]
    pub(super) fn parts(&mut self, db: usize) -> (&mut Db, &mut Stats, &mut Random) {
        let table = match db.checked_sub(1) {
            None => &mut self.first,
            Some(other) => {
                if other >= self.others.len() {
                    self.others.resize_with(db, || None);
                }
                let fresh = || Box::new(fresh(self.shard_bits, &self.tallies, db));
                self.others[other].get_or_insert_with(fresh)
            }
        };
        (table, &mut self.stats, &mut self.random)
    }

    #[inline]
    pub(super) fn prefetch_bucket(&self, db: usize, hash: u64) {
        if let Some(table) = self.db(db) {
            table.prefetch_bucket(hash);
        }
    }

    #[inline]
    pub(super) fn prefetch_entry(&self, db: usize, hash: u64) {
        if let Some(table) = self.db(db) {
            table.prefetch_item(hash);
        }
    }

    /// Exchanges two databases.
    pub(super) fn swap(&mut self, one: usize, other: usize) {
        if one == other || self.db(one).is_none() && self.db(other).is_none() {
            return;
        }
        let empty = Db::new(self.shard_bits);
        let table = std::mem::replace(self.db_mut(one), empty);
        let table = std::mem::replace(self.db_mut(other), table);
        *self.db_mut(one) = table;
        for db in [one, other] {
            let tally = tally(&self.tallies, db);
            self.db_mut(db).set_tally(tally);
        }
    }

    /// Adds the weights of the entries of database `db` up in `tally`, or no longer.
    pub(super) fn set_tally(&mut self, db: usize, tally: Option<Arc<AtomicI64>>) {
        if self.tallies.len() <= db {
            self.tallies.resize(db + 1, None);
        }
        self.tallies[db].clone_from(&tally);
        if self.db(db).is_some() {
            self.db_mut(db).set_tally(tally);
        }
    }

    /// Empties database `db` and returns what it held.
    pub(super) fn take_db(&mut self, db: usize) -> Option<Db> {
        let mut taken = match db.checked_sub(1) {
            None => {
                let fresh = fresh(self.shard_bits, &self.tallies, db);
                std::mem::replace(&mut self.first, fresh)
            }
            Some(other) => *self.others.get_mut(other)?.take()?,
        };
        taken.set_tally(None);
        Some(taken)
    }

    /// When the next entry of any database may be due, in Unix milliseconds.
    pub fn min_expire_ms(&self) -> i64 {
        let others = self.others.iter().flatten().map(|table| table.min_expire_ms());
        others.fold(self.first.min_expire_ms(), i64::min)
    }

    /// Removes what expired by `now_ms` from one segment that had something due by `due_ms`;
    /// `false` when there was none.
    ///
    /// At most about [`EXPIRE_FIELDS_MAX`] fields of hashes are removed; what is left is due still.
    pub fn expire_some(
        &mut self,
        due_ms: i64,
        now_ms: i64,
        hasher: &KeyHasher,
        removed: &mut Removed,
    ) -> bool {
        (0..self.db_count()).any(|db| self.expire_in(db, due_ms, now_ms, hasher, removed))
    }

    fn expire_in(
        &mut self,
        db: usize,
        due_ms: i64,
        now_ms: i64,
        hasher: &KeyHasher,
        removed: &mut Removed,
    ) -> bool {
        if self.db(db).is_none() {
            return false;
        }
        let (before, mut budget) = (removed.keys.len(), EXPIRE_FIELDS_MAX);
        let (table, stats, _) = self.parts(db);
        let Removed { keys, fields: parts, emptied } = removed;
        let tend = |entry: &mut Entry| {
            let mut fields = Vec::new();
            let Some(object) = entry.object_mut() else { return false };
            object.expire_parts(now_ms, &mut budget, &mut fields);
            let is_empty = object.is_empty();
            if !fields.is_empty() {
                stats.expired_fields += fields.len() as u64;
                parts.push(ExpiredFields { db, key: entry.view().key().into(), fields });
            }
            is_empty
        };
        let expired = |entry: Entry| {
            if entry.view().deadline().is_some_and(|at_ms| at_ms <= now_ms) {
                keys.push((db, entry));
            } else {
                emptied.push(entry);
            }
        };
        let found = table.expire_segment(due_ms, now_ms, hasher, tend, expired);
        self.stats.expired += (removed.keys.len() - before) as u64;
        found
    }
}

/// An empty table for database `db`.
fn fresh(shard_bits: u32, tallies: &[Option<Arc<AtomicI64>>], db: usize) -> Db {
    let mut table = Db::new(shard_bits);
    table.set_tally(tally(tallies, db));
    table
}

/// Where the weights of database `db` are added up.
fn tally(tallies: &[Option<Arc<AtomicI64>>], db: usize) -> Option<Arc<AtomicI64>> {
    tallies.get(db).cloned().flatten()
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::super::Keyspace;
    use crate::base::hash::KeyHasher;

    #[test]
    fn the_first_table_begins_a_cache_line() {
        let keyspace = Keyspace::new(16, 1, KeyHasher::seeded(1));
        for number in 0..keyspace.shard_count() {
            let shard = keyspace.lock(number);
            let counts = std::ptr::from_ref(&shard.stats).addr();
            let table = std::ptr::from_ref(&shard.first).addr();
            assert_eq!((table % 64, table / 64), (0, counts / 64 + 1));
        }
    }

    #[test]
    fn only_databases_in_use_have_tables() {
        let keyspace = Keyspace::new(16, 1, KeyHasher::seeded(1));
        let mut shard = keyspace.lock(0);
        shard.db_mut(9);
        assert_eq!(shard.db_count(), 10);
        let there = |shard: &super::Shard| -> Vec<usize> {
            (0..16).filter(|db| shard.db(*db).is_some()).collect()
        };
        assert_eq!(there(&shard), [0, 9]);
        shard.swap(4, 5);
        assert_eq!(there(&shard), [0, 9]);
        shard.swap(0, 3);
        assert_eq!(there(&shard), [0, 3, 9]);
        assert!(shard.take_db(9).is_some() && shard.take_db(9).is_none());
        assert!(shard.take_db(0).is_some() && shard.take_db(12).is_none());
        assert_eq!(there(&shard), [0, 3]);
    }
}
