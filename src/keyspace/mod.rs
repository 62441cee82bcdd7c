//! The keys and their values: numbered databases over lock-sharded tables.
//!
//! Owns shards, their locks, entries, deadlines and access statistics. Must not know commands,
//! clients or files. Keeps: entries appear and vanish only here; no reader sees an expired key; a
//! removal has a reason; locks are taken in ascending shard order and never across a wait; what a
//! request lent is copied, never kept, except buffers made to be shared.
//!
//! A key's hash chooses its shard by its top bits and its place in the shard's table by the rest, so
//! shards and buckets together are in hash order, which SCAN's cursor counts in. All databases of a
//! key are in the same shard: SWAPDB, MOVE and COPY across databases need no second lock.

mod access;
mod changes;
mod entry;
mod event;
mod evict;
mod figures;
mod guard;
mod limited;
pub(crate) mod lock;
mod recency;
mod scan;
mod shard;
mod snapshot;
#[cfg(all(test, not(feature = "shuttle")))]
mod tests;
mod view;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use access::{Access, LockSet};
pub use changes::{Change, Changes, Expired, Key, KeyHash, Touched, Trash, Written};
pub use entry::{Entry, EntryView, NewValue};
pub use event::{Event, EventClass, EventClasses};
pub use evict::{Evicted, EvictionPolicy, Evictor, Hunt, Rank};
pub use figures::DbFigures;
pub use guard::Guard;
pub use recency::AccessPolicy;
pub use shard::{ExpiredFields, Removed, Shard, Stats};
pub use snapshot::{DbSize, EntryEncoder, LargeEntry, LargeValue, Piece, Snapshot};
pub use view::{DbView, Deadline, Lookup, Presence, StrMut};

use crate::base::hash::KeyHasher;
use crate::base::limits::DB_LIMITS_MAX;
use crate::base::line::Line;
use crate::encoding::table::Table;
use crate::value::limits::Limits;
use lock::{Guard as LockGuard, Lock, pass_time};
use snapshot::Pressure;

/// Fewest shards; with one thread they cost nothing, and SCAN cursors look alike everywhere.
const SHARDS_MIN: usize = 256;

/// Tries for one shard more before those that are held are let go: some milliseconds.
const PATIENCE: u32 = 190;

/// One table of one database in one shard.
pub type Db = Table<Entry>;

/// A locked shard.
pub struct ShardGuard<'a>(LockGuard<'a, Shard>);

impl Deref for ShardGuard<'_> {
    type Target = Shard;

    #[inline]
    fn deref(&self) -> &Shard {
        &self.0
    }
}

impl DerefMut for ShardGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Shard {
        &mut self.0
    }
}

/// All databases.
pub struct Keyspace {
    shards: Box<[Line<Lock<Shard>>]>,
    shard_bits: u32,
    hasher: KeyHasher,
    databases: usize,
    policy: AtomicU64,
    /// Of the first databases, which can have a policy of their own.
    policies: Box<[AtomicU64]>,
    db_limits: Box<[limited::DbLimit]>,
    limits: Limits,
    /// Whether the one who may take locks out of order waits for one.
    overtaking: AtomicBool,
    pressure: Arc<Pressure>,
}

impl Keyspace {
    /// An empty keyspace of `databases` databases for `threads` event loops.
    pub fn new(databases: usize, threads: usize, hasher: KeyHasher) -> Self {
        let count = SHARDS_MIN.max((8 * threads).next_power_of_two());
        let shard_bits = count.trailing_zeros();
        let shards =
            (0..count).map(|n| Line(Lock::new(Shard::new(shard_bits, n as u64)))).collect();
        let policy = || AtomicU64::new(AccessPolicy::default().pack());
        let policies = (0..databases.min(DB_LIMITS_MAX)).map(|_| policy()).collect();
        let policy = policy();
        let db_limits = (0..databases.min(DB_LIMITS_MAX)).map(|_| Default::default()).collect();
        let (limits, overtaking) = (Limits::default(), AtomicBool::new(false));
        let pressure = Arc::default();
        Self {
            shards,
            shard_bits,
            hasher,
            databases,
            policy,
            policies,
            db_limits,
            limits,
            overtaking,
            pressure,
        }
    }

    /// How many numbered databases there are.
    pub fn databases(&self) -> usize {
        self.databases
    }

    /// How many shards there are.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// Bits of a hash that choose the shard.
    pub fn shard_bits(&self) -> u32 {
        self.shard_bits
    }

    /// The hash of a key.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key)
    }

    /// The hasher of all keys.
    pub fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    /// Where encodings convert.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The shard of a hash.
    #[inline]
    pub fn shard_of(&self, hash: u64) -> usize {
        (hash >> (64 - self.shard_bits)) as usize
    }

    /// Locks one shard.
    #[inline]
    pub fn lock(&self, shard: usize) -> ShardGuard<'_> {
        ShardGuard(self.shards[shard].0.lock())
    }

    /// Locks one shard unless `gives_up`, which is asked while somebody holds the shard for long.
    #[inline]
    fn lock_unless(&self, shard: usize, gives_up: impl Fn() -> bool) -> Option<ShardGuard<'_>> {
        self.shards[shard].0.lock_unless(gives_up).map(ShardGuard)
    }

    /// Waits until nobody holds the shards, one after the other; `false` when it `gives_up`.
    #[cold]
    pub fn all_pass(&self, gives_up: impl Fn() -> bool) -> bool {
        (0..self.shard_count()).all(|shard| self.lock_unless(shard, &gives_up).is_some())
    }

    /// Locks one shard if nobody holds it.
    #[inline]
    pub fn try_lock(&self, shard: usize) -> Option<ShardGuard<'_>> {
        self.shards[shard].0.try_lock().map(ShardGuard)
    }

    /// Locks one shard more for somebody who holds others, all of lower number; `None` when it has to
    /// let go of those first, because somebody overtakes.
    #[inline]
    fn lock_next(&self, shard: usize) -> Option<ShardGuard<'_>> {
        let mut tries = 0;
        loop {
            if let Some(guard) = self.shards[shard].0.try_lock() {
                return Some(ShardGuard(guard));
            }
            // Who waits for long lets go too, so as to hold up nobody meanwhile.
            if self.overtaking.load(Ordering::Relaxed) || tries == PATIENCE {
                return None;
            }
            tries += 1;
            pass_time(tries);
        }
    }

    /// Locks one shard for the one who may overtake; see [`Access::acquire`].
    fn lock_overtaking(&self, shard: usize) -> ShardGuard<'_> {
        if let Some(guard) = self.shards[shard].0.try_lock() {
            return ShardGuard(guard);
        }
        self.overtaking.store(true, Ordering::Relaxed);
        let guard = self.lock(shard);
        self.overtaking.store(false, Ordering::Relaxed);
        guard
    }

    /// Waits until nobody overtakes.
    fn let_pass(&self) {
        let mut tries = 0;
        while self.overtaking.load(Ordering::Relaxed) {
            tries += 1;
            pass_time(tries);
        }
    }

    /// Asks for the line of the bucket of `hash`; does nothing if the shard is busy.
    #[inline]
    pub fn prefetch_bucket(&self, db: usize, hash: u64) {
        if let Some(shard) = self.shards[self.shard_of(hash)].0.try_lock() {
            shard.prefetch_bucket(db, hash);
        }
    }

    /// Asks for the lines of the entry of `hash`; does nothing if the shard is busy.
    #[inline]
    pub fn prefetch_entry(&self, db: usize, hash: u64) {
        if let Some(shard) = self.shards[self.shard_of(hash)].0.try_lock() {
            shard.prefetch_entry(db, hash);
        }
    }

    /// Asks for the memory of elements of the collection at `key`; does nothing if the shard is busy.
    pub fn prefetch_elements<'e>(
        &self,
        db: usize,
        key: Key<'_>,
        elements: impl Iterator<Item = &'e [u8]>,
    ) {
        let Some(shard) = self.shards[self.shard_of(key.hash)].0.try_lock() else { return };
        let found =
            shard.db(db).and_then(|table| table.view(table.find(key.hash, key.bytes)?).object());
        if let Some(object) = found {
            object.prefetch(elements);
        }
    }

    /// Adds an entry that a file brings, whose key has this hash. One that is there already is replaced
    /// if `replaces` says so; if not, the answer is `false` and nothing changes.
    pub fn load_entry(&self, db: usize, hash: u64, entry: Entry, replaces: bool) -> bool {
        let mut shard = self.lock(self.shard_of(hash));
        let table = shard.db_mut(db);
        match table.find(hash, entry.view().key()) {
            Some(position) if replaces => drop(table.replace(position, entry)),
            Some(_) => return false,
            None => drop(table.insert(hash, entry, &self.hasher)),
        }
        true
    }

    /// How accesses are remembered in databases without a policy of their own.
    #[inline]
    pub fn policy(&self) -> AccessPolicy {
        AccessPolicy::unpack(self.policy.load(Ordering::Relaxed))
    }

    /// How accesses are remembered in database `db`.
    #[inline]
    pub fn policy_of(&self, db: usize) -> AccessPolicy {
        let policy = self.policies.get(db).unwrap_or(&self.policy);
        AccessPolicy::unpack(policy.load(Ordering::Relaxed))
    }

    /// Changes how accesses are remembered; `own` says how in databases with a policy of their own.
    pub fn set_policy(&self, policy: AccessPolicy, own: impl Fn(usize) -> Option<AccessPolicy>) {
        self.policy.store(policy.pack(), Ordering::Relaxed);
        for (db, word) in self.policies.iter().enumerate() {
            word.store(own(db).unwrap_or(policy).pack(), Ordering::Relaxed);
        }
    }
}
