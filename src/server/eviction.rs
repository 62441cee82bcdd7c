//! What `maxmemory` and its kin ask for, and how long memory has been above it.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::RwLock;

use super::Server;
use crate::base::clock;
use crate::base::line::Line;
use crate::config::{Config, DbLimit};
use crate::keyspace::{EvictionPolicy, Rank};
use crate::observe::allocator;

/// After so many estimates the memory in use is measured again.
const ESTIMATES_MAX: u32 = 32;

/// Bytes in use, as measured last and as the event loops changed it since.
#[derive(Default)]
pub struct Usage {
    /// What each event loop has allocated and not freed, as it said last.
    nets: Box<[Line<AtomicI64>]>,
    /// What was in use when it was measured, less `nets` then.
    base: AtomicI64,
    /// Estimates since.
    estimates: AtomicU32,
}

impl Usage {
    fn new(threads: usize) -> Self {
        Self { nets: (0..threads).map(|_| Line::default()).collect(), ..Self::default() }
    }

    /// Event loop number `thread` says what it has allocated and not freed.
    #[inline]
    pub fn note(&self, thread: usize, net: i64) {
        self.nets[thread].0.store(net, Relaxed);
    }

    /// Bytes in use. Measured by `measure` if `exact`, or if it has not been for long; an estimate has
    /// not what others have yet to [note](Self::note).
    pub fn bytes(&self, exact: bool, measure: impl FnOnce() -> i64) -> i64 {
        let sum = || self.nets.iter().map(|net| net.0.load(Relaxed)).sum::<i64>();
        if !exact && self.estimates.fetch_add(1, Relaxed) < ESTIMATES_MAX {
            return self.base.load(Relaxed) + sum();
        }
        let measured = measure();
        self.base.store(measured - sum(), Relaxed);
        self.estimates.store(0, Relaxed);
        measured
    }
}

/// The limit and what happens at it.
#[derive(Default)]
pub struct Eviction {
    /// Bytes in use.
    pub usage: Usage,
    /// `maxmemory`, in bytes; 0 is no limit.
    pub max: AtomicU64,
    /// `maxmemory-samples`.
    pub samples: AtomicUsize,
    tenacity: AtomicU32,
    policy: RwLock<Option<EvictionPolicy>>,
    /// Of databases with a limit of their own.
    dbs: RwLock<Vec<(usize, Option<EvictionPolicy>)>>,
    /// Since when there has been too little memory, in Unix microseconds; 0 when there is enough.
    exceeded_since_us: AtomicI64,
    exceeded_us: AtomicU64,
}

impl Eviction {
    pub(super) fn new(threads: usize) -> Self {
        Self { usage: Usage::new(threads), ..Self::default() }
    }

    /// Takes over what the configuration says.
    pub(super) fn configure(&self, config: &Config) {
        self.max.store(u64::try_from(config.int("maxmemory")).unwrap_or(0), Relaxed);
        let samples = usize::try_from(config.int("maxmemory-samples"));
        self.samples.store(samples.expect("the table's least is 1"), Relaxed);
        let tenacity = u32::try_from(config.int("maxmemory-eviction-tenacity"));
        self.tenacity.store(tenacity.expect("the table's least is 0"), Relaxed);
        let policy = config.text("maxmemory-policy");
        *self.policy.write() = EvictionPolicy::parse(policy);
        let own = |limit: &DbLimit| EvictionPolicy::parse(limit.policy.unwrap_or(policy));
        let dbs = config.db_limits().iter().map(|limit| (limit.db, own(limit)));
        *self.dbs.write() = dbs.collect();
    }

    /// The databases with a limit of their own, and their policies.
    pub fn dbs(&self) -> Vec<(usize, Option<EvictionPolicy>)> {
        self.dbs.read().clone()
    }

    /// The policy; `None` is `noeviction`.
    pub fn policy(&self) -> Option<EvictionPolicy> {
        *self.policy.read()
    }

    /// Whether accesses decide which key is evicted.
    pub fn minds_accesses(&self) -> bool {
        let by_access =
            |policy: EvictionPolicy| matches!(policy.rank, Rank::Idle | Rank::Frequency);
        self.max.load(Relaxed) > 0 && self.policy().is_some_and(by_access)
    }

    /// How long one command may spend on evicting (Redis: `evictionTimeLimitUs`); `None` is as long as
    /// it takes.
    pub fn time_limit(&self) -> Option<Duration> {
        match self.tenacity.load(Relaxed) {
            tenacity @ 0..=10 => Some(Duration::from_micros(50 * u64::from(tenacity))),
            tenacity @ 11..100 => {
                let factor = 1.15_f64.powi(tenacity.cast_signed() - 10);
                Some(Duration::from_micros((500.0 * factor) as u64))
            }
            _ => None,
        }
    }

    /// Remembers whether there is too little memory.
    pub fn note(&self, exceeded: bool) {
        let since = &self.exceeded_since_us;
        if exceeded {
            // Whoever comes first sets it.
            let _ = since.compare_exchange(0, clock::now_us(), Relaxed, Relaxed);
        } else if since.load(Relaxed) != 0 {
            let since = since.swap(0, Relaxed);
            if since != 0 {
                let span = u64::try_from(clock::now_us() - since).unwrap_or(0);
                self.exceeded_us.fetch_add(span, Relaxed);
            }
        }
    }

    /// For how long memory has been above its limit, in all and this time, in microseconds.
    pub fn exceeded_us(&self) -> (u64, u64) {
        let since = self.exceeded_since_us.load(Relaxed);
        let current = if since == 0 { 0 } else { clock::now_us() - since };
        let current = u64::try_from(current).unwrap_or(0);
        (self.exceeded_us.load(Relaxed) + current, current)
    }

    /// Back to zero (CONFIG RESETSTAT).
    pub fn reset(&self) {
        self.exceeded_us.store(0, Relaxed);
        self.exceeded_since_us.store(0, Relaxed);
    }
}

impl Server {
    /// Whether a database is above a limit of its own and evicts nothing.
    pub fn is_db_full(&self, db: usize) -> bool {
        self.keyspace.db_excess(db).is_some_and(|excess| excess > 0)
            && !self.loading.is_active()
            && self.eviction.dbs.read().contains(&(db, None))
    }

    /// Bytes in use that `maxmemory` is compared with: evicting would make the rest only larger.
    pub fn counted_memory(&self) -> usize {
        allocator::figures().allocated.saturating_sub(self.uncounted_memory())
    }

    /// Bytes in use that no eviction gives back: the writes on their way to the append-only file.
    pub fn uncounted_memory(&self) -> usize {
        self.propagation.writer().map_or(0, |writer| writer.figures().waiting as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(
        usage: &Usage,
        thread: usize,
        net: i64,
        exact: bool,
        measure: impl FnOnce() -> i64,
    ) -> i64 {
        usage.note(thread, net);
        usage.bytes(exact, measure)
    }

    #[test]
    fn what_loops_changed_since_the_memory_was_measured_is_added_up() {
        let usage = Usage::new(2);
        let measured = |bytes| move || bytes;
        let estimated = || panic!("it is measured only when that is due");
        assert_eq!(said(&usage, 0, 500, true, measured(1000)), 1000);
        assert_eq!(said(&usage, 0, 600, false, estimated), 1100);
        assert_eq!(said(&usage, 1, -50, false, estimated), 1050);
        assert_eq!(said(&usage, 0, 500, false, estimated), 950);
        for _ in 3..ESTIMATES_MAX {
            assert_eq!(said(&usage, 1, 0, false, estimated), 1000);
        }
        assert_eq!(said(&usage, 1, 0, false, measured(2000)), 2000);
        assert_eq!(said(&usage, 1, 10, false, estimated), 2010);
    }

    #[test]
    fn tenacity_is_a_time_as_in_redis() {
        let eviction = Eviction::default();
        let limit = |tenacity| {
            eviction.tenacity.store(tenacity, Relaxed);
            eviction.time_limit().map(|limit| limit.as_micros())
        };
        assert_eq!((limit(0), limit(10), limit(11)), (Some(0), Some(500), Some(575)));
        assert!(limit(99).is_some_and(|us| us > 100_000_000));
        assert_eq!(limit(100), None);
    }

    #[test]
    fn the_time_above_the_limit_is_measured() {
        let eviction = Eviction::default();
        eviction.note(false);
        assert_eq!(eviction.exceeded_us(), (0, 0));
        eviction.note(true);
        eviction.exceeded_since_us.fetch_sub(1_000_000, Relaxed);
        eviction.note(true);
        assert!(eviction.exceeded_us().1 >= 1_000_000);
        eviction.note(false);
        assert_eq!(eviction.exceeded_us().1, 0);
        assert!(eviction.exceeded_us().0 >= 1_000_000);
    }
}
