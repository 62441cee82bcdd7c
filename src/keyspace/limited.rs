//! Databases with a memory limit of their own.
//!
//! What the entries of such a database weigh is counted as they change, under the locks that are held
//! anyway. Databases without a limit are not counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

use super::Keyspace;

/// The limit of one database, in bytes.
#[derive(Default)]
pub(super) struct DbLimit {
    /// 0 is none.
    max: AtomicI64,
    used: Arc<AtomicI64>,
    /// Whether the entries are counted.
    counted: AtomicBool,
}

impl Keyspace {
    /// Sets the limits of databases, in bytes; 0 is none. They hold once [`Self::count_limited`] has run.
    pub fn set_db_limits(&self, max: impl Fn(usize) -> u64) {
        for (db, limit) in self.db_limits.iter().enumerate() {
            limit.max.store(i64::try_from(max(db)).unwrap_or(i64::MAX), Relaxed);
        }
    }

    /// Begins to count the databases whose limits are new, one shard at a time. The caller holds none.
    pub fn count_limited(&self) {
        for (db, limit) in self.db_limits.iter().enumerate() {
            let wanted = limit.max.load(Relaxed) > 0;
            if limit.counted.load(Relaxed) == wanted {
                continue;
            }
            for number in 0..self.shard_count() {
                let tally = wanted.then(|| Arc::clone(&limit.used));
                self.lock(number).set_tally(db, tally);
            }
            limit.counted.store(wanted, Relaxed);
        }
    }

    /// Whether a database has a limit of its own.
    pub fn is_limited(&self, db: usize) -> bool {
        self.db_limits.get(db).is_some_and(|limit| limit.max.load(Relaxed) > 0)
    }

    /// Bytes by which a database is above its own limit; negative below it, `None` without one.
    #[inline]
    pub fn db_excess(&self, db: usize) -> Option<i64> {
        let limit = self.db_limits.get(db)?;
        let max = limit.max.load(Relaxed);
        (max > 0).then(|| limit.used.load(Relaxed) - max)
    }

    /// Bytes that the entries of a database with a limit take.
    pub fn db_used(&self, db: usize) -> u64 {
        let used = self.db_limits.get(db).map_or(0, |limit| limit.used.load(Relaxed));
        u64::try_from(used).unwrap_or(0)
    }
}
