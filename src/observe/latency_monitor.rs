//! What LATENCY knows of events: the worst of each of the last seconds in which one took too long.
//!
//! An event is a name; a second of it is one sample, the longest. 160 samples of an event are kept, as
//! in Redis, with the longest ever. Must not know who reports what.
//!
//! Invariant: nothing is locked for an event that stays below `latency-monitor-threshold`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;

use crate::base::clock;

/// Samples that are kept of an event (Redis: LATENCY_TS_LEN).
const SAMPLES_MAX: usize = 160;

/// The events that are measured.
pub mod event {
    /// A command that is not fast.
    pub const COMMAND: &str = "command";
    /// A command that takes constant or logarithmic time.
    pub const FAST_COMMAND: &str = "fast-command";
    /// A round of removing what has expired.
    pub const EXPIRE_CYCLE: &str = "expire-cycle";
    /// Making room for a request that finds the memory full.
    pub const EVICTION_CYCLE: &str = "eviction-cycle";
    /// Letting go of what was evicted, with all who have to know.
    pub const EVICTION_DEL: &str = "eviction-del";
    /// Waiting for memory that another thread is freeing, before more is evicted.
    pub const EVICTION_LAZYFREE: &str = "eviction-lazyfree";
    /// Running the command of a client that waited, for whoever ended its wait.
    pub const COMMAND_UNBLOCKING: &str = "command-unblocking";
    /// Writing to the append-only file.
    pub const AOF_WRITE: &str = "aof-write";
    /// Such a write while a file was being synced.
    pub const AOF_WRITE_PENDING_FSYNC: &str = "aof-write-pending-fsync";
    /// Such a write while a snapshot or a new base was being written; the name is that of Redis, where a
    /// child process does so.
    pub const AOF_WRITE_ACTIVE_CHILD: &str = "aof-write-active-child";
    /// Such a write while nothing of that happened.
    pub const AOF_WRITE_ALONE: &str = "aof-write-alone";
    /// The sync that replies wait for under `appendfsync always`.
    pub const AOF_FSYNC_ALWAYS: &str = "aof-fsync-always";
    /// Giving a file of a rewrite its name.
    pub const AOF_RENAME: &str = "aof-rename";
    /// Removing the file of a save that was given up.
    pub const RDB_UNLINK_TEMP_FILE: &str = "rdb-unlink-temp-file";

    /// All of them.
    pub const ALL: &[&str] = &[
        COMMAND,
        FAST_COMMAND,
        COMMAND_UNBLOCKING,
        EXPIRE_CYCLE,
        EVICTION_CYCLE,
        EVICTION_DEL,
        EVICTION_LAZYFREE,
        AOF_WRITE,
        AOF_WRITE_PENDING_FSYNC,
        AOF_WRITE_ACTIVE_CHILD,
        AOF_WRITE_ALONE,
        AOF_FSYNC_ALWAYS,
        AOF_RENAME,
        RDB_UNLINK_TEMP_FILE,
    ];
}

/// The longest event of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The second, in Unix time.
    pub at_s: i64,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// What is known of one event.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Oldest first; never empty once it is seen.
    pub samples: VecDeque<Sample>,
    /// The longest since the last reset.
    pub max_ms: u64,
}

/// What a series comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Samples.
    pub samples: u64,
    /// Their mean, in milliseconds.
    pub mean_ms: u64,
    /// Their mean distance from it.
    pub deviation_ms: u64,
    /// Seconds between one and the next, on average.
    pub period_s: f64,
    /// The least.
    pub min_ms: u64,
    /// The greatest.
    pub max_ms: u64,
}

impl Series {
    fn add(&mut self, sample: Sample) {
        self.max_ms = self.max_ms.max(sample.ms);
        match self.samples.back_mut() {
            Some(last) if last.at_s == sample.at_s => last.ms = last.ms.max(sample.ms),
            _ => self.samples.push_back(sample),
        }
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
    }

    /// What the samples come to at `now_s`.
    pub fn summary(&self, now_s: i64) -> Summary {
        let samples = self.samples.len() as u64;
        let Some(first) = self.samples.front() else { return Summary::default() };
        let lengths = || self.samples.iter().map(|sample| sample.ms);
        let mean_ms = lengths().sum::<u64>() / samples;
        let distance: u64 = lengths().map(|ms| ms.abs_diff(mean_ms)).sum();
        Summary {
            samples,
            mean_ms,
            deviation_ms: distance / samples,
            period_s: (now_s - first.at_s).max(1) as f64 / samples as f64,
            min_ms: lengths().min().unwrap_or(0),
            max_ms: lengths().max().unwrap_or(0),
        }
    }
}

/// The monitor.
#[derive(Default)]
pub struct LatencyMonitor {
    /// `latency-monitor-threshold`; 0 is never.
    threshold_ms: AtomicU64,
    /// Whether a snapshot is being written, which others may feel.
    saving: AtomicBool,
    events: Mutex<BTreeMap<&'static str, Series>>,
}

impl LatencyMonitor {
    /// Sets `latency-monitor-threshold`.
    pub fn set_threshold(&self, ms: u64) {
        self.threshold_ms.store(ms, Relaxed);
    }

    /// `latency-monitor-threshold`, in milliseconds; 0 when nothing is recorded.
    pub fn threshold_ms(&self) -> u64 {
        self.threshold_ms.load(Relaxed)
    }

    /// Whether anything is recorded, for those who would have to look at the clock.
    pub fn is_on(&self) -> bool {
        self.threshold_ms() > 0
    }

    /// Says whether a snapshot is being written.
    pub fn set_saving(&self, saving: bool) {
        self.saving.store(saving, Relaxed);
    }

    /// Whether a snapshot is being written.
    pub fn is_saving(&self) -> bool {
        self.saving.load(Relaxed)
    }

    /// Does `work`, and records how long it takes if that is too long.
    pub fn time<R>(&self, event: &'static str, work: impl FnOnce() -> R) -> R {
        let begun = self.begin();
        let result = work();
        self.end(event, begun);
        result
    }

    /// When what begins now began, if anybody wants to know how long it takes.
    pub fn begin(&self) -> Option<Instant> {
        self.is_on().then(Instant::now)
    }

    /// Records an event that began at `begun`, if it took too long.
    pub fn end(&self, event: &'static str, begun: Option<Instant>) {
        if let Some(begun) = begun {
            self.note(event, u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// Records that an event took so long, if that is too long.
    #[inline]
    pub fn note(&self, event: &'static str, us: u64) {
        let threshold_ms = self.threshold_ms();
        if threshold_ms > 0 && us / 1000 >= threshold_ms {
            self.record(event, us / 1000);
        }
    }

    #[cold]
    fn record(&self, event: &'static str, ms: u64) {
        let sample = Sample { at_s: clock::now_ms() / 1000, ms };
        self.events.lock().entry(event).or_default().add(sample);
    }

    /// What is known of all events, by name.
    pub fn events(&self) -> BTreeMap<&'static str, Series> {
        self.events.lock().clone()
    }

    /// What is known of one event.
    pub fn event(&self, name: &[u8]) -> Option<(&'static str, Series)> {
        let events = self.events.lock();
        let (name, series) = events.iter().find(|(known, _)| known.as_bytes() == name)?;
        Some((*name, series.clone()))
    }

    /// Forgets the events that `wanted` holds for; returns how many.
    pub fn reset(&self, wanted: impl Fn(&str) -> bool) -> usize {
        let mut events = self.events.lock();
        let before = events.len();
        events.retain(|name, _| !wanted(name));
        before - events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_counts_once_with_its_longest() {
        let mut series = Series::default();
        for (at_s, ms) in [(1, 5), (1, 9), (1, 7), (3, 1)] {
            series.add(Sample { at_s, ms });
        }
        assert_eq!(series.samples, [Sample { at_s: 1, ms: 9 }, Sample { at_s: 3, ms: 1 }]);
        assert_eq!(series.max_ms, 9);
        let summary = series.summary(11);
        assert_eq!((summary.samples, summary.mean_ms, summary.deviation_ms), (2, 5, 4));
        assert_eq!((summary.period_s, summary.min_ms, summary.max_ms), (5.0, 1, 9));
        (10..1000).for_each(|at_s| series.add(Sample { at_s, ms: 2 }));
        assert_eq!((series.samples.len(), series.max_ms), (SAMPLES_MAX, 9));
    }

    #[test]
    fn only_what_takes_too_long_is_recorded() {
        let monitor = LatencyMonitor::default();
        monitor.note(event::COMMAND, u64::MAX);
        assert!(monitor.events().is_empty());
        monitor.set_threshold(10);
        monitor.note(event::COMMAND, 9_999);
        monitor.note(event::FAST_COMMAND, 10_000);
        assert_eq!(monitor.events().keys().collect::<Vec<_>>(), [&"fast-command"]);
        monitor.set_threshold(1);
        let napped = monitor.time(event::AOF_RENAME, || {
            std::thread::park_timeout(std::time::Duration::from_millis(2));
            7
        });
        assert_eq!((napped, monitor.reset(|name| name == event::AOF_RENAME)), (7, 1));
        assert!(monitor.event(b"fast-command").is_some() && monitor.event(b"x").is_none());
        assert_eq!((monitor.reset(|name| name == "x"), monitor.reset(|_| true)), (0, 1));
    }
}
