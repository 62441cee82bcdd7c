//! The shards a command needs, locked in ascending order and held until its effects are applied.
//!
//! Ascending order over all lockers excludes deadlock. A command that must see the whole keyspace at
//! one instant takes every lock (a few microseconds); one that walks it takes them one at a time.
//!
//! A script may touch keys that it did not name, so it takes locks as it goes, in any order, and
//! cannot let go of one that it used. At most one such locker is under way at a time, and when it has
//! to wait for a shard below one that it holds, it *overtakes*: those who are still collecting their
//! locks, and have thus changed nothing, let go of all of them and begin again when it has passed.
//! Whoever has all its locks runs to its end without waiting for another. So nobody ever waits for
//! somebody who waits for it.

use smallvec::SmallVec;

use super::{Keyspace, Shard, ShardGuard};

/// Which shards a command needs.
#[derive(Clone, Copy, Debug)]
pub enum LockSet<'a> {
    /// It touches no key.
    None,
    /// Its only key has this hash.
    One(u64),
    /// Its keys have these hashes.
    Hashes(&'a [u64]),
    /// Every shard at once.
    All,
    /// Every shard, one after the other.
    Each,
}

/// Held locks.
pub enum Access<'k> {
    /// No shard.
    None,
    /// One shard, by number.
    One(usize, ShardGuard<'k>),
    /// Several shards, by number, ascending.
    Many(Vec<(usize, ShardGuard<'k>)>),
    /// Every shard.
    All(Vec<ShardGuard<'k>>),
    /// None now; each is locked when it is visited.
    Each,
}

impl<'k> Access<'k> {
    /// Takes the locks of `set`.
    pub fn take(keyspace: &'k Keyspace, set: LockSet<'_>) -> Self {
        Self::take_unless(keyspace, set, || false).expect("it waits for ever")
    }

    /// Takes the locks of `set` unless `gives_up`, which is asked while somebody holds one for long.
    #[inline(always)]
    pub fn take_unless(
        keyspace: &'k Keyspace,
        set: LockSet<'_>,
        gives_up: impl Fn() -> bool,
    ) -> Option<Self> {
        Some(match set {
            LockSet::None | LockSet::Hashes([]) => Self::None,
            LockSet::One(hash) => {
                let shard = keyspace.shard_of(hash);
                Self::One(shard, keyspace.lock_unless(shard, gives_up)?)
            }
            LockSet::Hashes(hashes) => Self::take_many(keyspace, hashes, gives_up)?,
            LockSet::All => {
                let shards: Vec<usize> = (0..keyspace.shard_count()).collect();
                let guards = Self::collect(keyspace, &shards, gives_up)?;
                Self::All(guards.into_iter().map(|(_, guard)| guard).collect())
            }
            LockSet::Each => Self::Each,
        })
    }

    #[cold]
    fn take_many(
        keyspace: &'k Keyspace,
        hashes: &[u64],
        gives_up: impl Fn() -> bool,
    ) -> Option<Self> {
        let mut shards: SmallVec<[usize; 16]> =
            hashes.iter().map(|hash| keyspace.shard_of(*hash)).collect();
        shards.sort_unstable();
        shards.dedup();
        Some(match shards[..] {
            [shard] => Self::One(shard, keyspace.lock_unless(shard, gives_up)?),
            _ => Self::Many(Self::collect(keyspace, &shards, gives_up)?),
        })
    }

    /// Locks several shards, given in ascending order, anew from the first whenever it is overtaken.
    fn collect(
        keyspace: &'k Keyspace,
        shards: &[usize],
        gives_up: impl Fn() -> bool,
    ) -> Option<Vec<(usize, ShardGuard<'k>)>> {
        let mut guards = Vec::with_capacity(shards.len());
        while guards.len() < shards.len() {
            let shard = shards[guards.len()];
            let guard = match guards.is_empty() {
                true => Some(keyspace.lock_unless(shard, &gives_up)?),
                false => keyspace.lock_next(shard),
            };
            match guard {
                Some(guard) => guards.push((shard, guard)),
                None => {
                    guards.clear();
                    if gives_up() {
                        return None;
                    }
                    keyspace.let_pass();
                }
            }
        }
        Some(guards)
    }

    /// Takes one shard more, whatever is held.
    ///
    /// Only one locker at a time may do this: it holds the lock of the script engine.
    pub fn acquire(&mut self, keyspace: &'k Keyspace, shard: usize) {
        if self.holds(shard) {
            return;
        }
        let mut guards = match std::mem::replace(self, Self::None) {
            Self::One(number, guard) => vec![(number, guard)],
            Self::Many(guards) => guards,
            Self::None | Self::Each => Vec::new(),
            Self::All(_) => unreachable!("every shard is held"),
        };
        let at = guards.partition_point(|(number, _)| *number < shard);
        let guard = match at == guards.len() {
            true => keyspace.lock(shard),
            false => keyspace.lock_overtaking(shard),
        };
        guards.insert(at, (shard, guard));
        *self = Self::Many(guards);
    }

    /// Takes every shard that is not held yet; as [`Self::acquire`].
    pub fn acquire_all(&mut self, keyspace: &'k Keyspace) {
        (0..keyspace.shard_count()).for_each(|shard| self.acquire(keyspace, shard));
    }

    /// The held shard with that number.
    ///
    /// # Panics
    /// If the shard is not held: the command's row declares fewer keys than its handler uses.
    #[inline]
    pub fn shard(&mut self, shard: usize) -> &mut Shard {
        let held = match self {
            Self::One(number, guard) if *number == shard => Some(&mut **guard),
            Self::Many(guards) => guards
                .binary_search_by_key(&shard, |(number, _)| *number)
                .ok()
                .map(|at| &mut *guards[at].1),
            Self::All(guards) => guards.get_mut(shard).map(|guard| &mut **guard),
            _ => None,
        };
        held.expect("a handler uses only keys that its row declares")
    }

    /// Whether the shard of that number is held.
    pub fn holds(&self, shard: usize) -> bool {
        match self {
            Self::One(number, _) => *number == shard,
            Self::Many(guards) => guards.binary_search_by_key(&shard, |(held, _)| *held).is_ok(),
            Self::All(_) => true,
            Self::None | Self::Each => false,
        }
    }

    /// The held shard with that number, for reading several at a time.
    ///
    /// # Panics
    /// As [`Self::shard`].
    pub fn held(&self, shard: usize) -> &Shard {
        let held = match self {
            Self::One(number, guard) if *number == shard => Some(&**guard),
            Self::Many(guards) => guards
                .binary_search_by_key(&shard, |(number, _)| *number)
                .ok()
                .map(|at| &*guards[at].1),
            Self::All(guards) => guards.get(shard).map(|guard| &**guard),
            _ => None,
        };
        held.expect("a handler uses only keys that its row declares")
    }

    /// Runs `visit` on a shard that is held, or locks it for the visit.
    pub fn visit<R>(
        &mut self,
        keyspace: &Keyspace,
        shard: usize,
        visit: impl FnOnce(&mut Shard) -> R,
    ) -> R {
        match self {
            Self::Each => visit(&mut keyspace.lock(shard)),
            _ => visit(self.shard(shard)),
        }
    }

    /// As [`Self::visit`]; `false` if the shard is not held and locked by somebody else at the moment.
    pub fn visit_if_free(
        &mut self,
        keyspace: &Keyspace,
        shard: usize,
        visit: impl FnOnce(&mut Shard),
    ) -> bool {
        if !matches!(self, Self::Each) {
            visit(self.shard(shard));
            return true;
        }
        keyspace.try_lock(shard).is_some_and(|mut shard| {
            visit(&mut shard);
            true
        })
    }
}
