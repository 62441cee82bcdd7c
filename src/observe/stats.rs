//! Counters: per event loop, written by it alone, summed by whoever asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::latency::{Distribution, Histogram};

/// Error prefixes that are counted apart, as Redis limits them.
const ERROR_KINDS_MAX: usize = 128;

/// Bytes of an error reply in which its first word has to end.
const ERROR_KIND_LEN_MAX: usize = 32;

/// A counter that one thread writes and any thread reads.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the counter's owner may.
    #[inline]
    pub fn add(&self, value: u64) {
        // No read-modify-write cycle is needed with a single writer.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(value), Ordering::Relaxed);
    }

    /// Raises to `value` what is less; only the counter's owner may.
    #[inline]
    pub fn raise(&self, value: u64) {
        if value > self.get() {
            self.0.store(value, Ordering::Relaxed);
        }
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Back to zero; an addition at the same moment may be lost.
    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// What is known of one command's executions on one event loop.
#[derive(Default)]
pub struct CommandCounters {
    /// Executions.
    pub calls: Counter,
    /// Time spent, in clock ticks.
    pub ticks: Counter,
    /// Requests refused before execution.
    pub rejected: Counter,
    /// Executions that answered an error.
    pub failed: Counter,
    /// How long each took; made for the first one, since most commands are never used.
    latency: OnceLock<Histogram>,
}

impl CommandCounters {
    /// Counts an execution that took `ticks`, by its length too if `tracks_latency`.
    #[inline]
    pub fn count(&self, ticks: u64, tracks_latency: bool) {
        self.calls.add(1);
        self.ticks.add(ticks);
        if tracks_latency {
            self.latency.get_or_init(Histogram::default).record(ticks);
        }
    }
}

/// The counters of one event loop.
pub struct LoopCounters {
    /// By command id.
    pub commands: Box<[CommandCounters]>,
    /// Commands executed.
    pub processed: Counter,
    /// Bytes read from clients.
    pub net_input: Counter,
    /// Bytes written to clients.
    pub net_output: Counter,
    /// Error replies.
    pub errors: Counter,
    /// Changes of the keyspace.
    pub dirty: Counter,
    /// Reads from sockets that brought something.
    pub reads: Counter,
    /// Outputs written to sockets, each by itself or several at once.
    pub writes: Counter,
    /// Rounds at whose end replies were written.
    pub cycles: Counter,
    /// Ticks of the longest round, from its first command to the last write.
    pub cycle_ticks_max: Counter,
    /// Most commands of one round.
    pub cycle_commands_max: Counter,
    /// Time spent on what is done regularly, in microseconds.
    pub cron_us: Counter,
    /// Processor time of the event loop, in microseconds.
    pub busy_us: Counter,
    /// Time spent on removing what has expired, in microseconds.
    pub expire_us: Counter,
    /// Slices of that work that ended because their time was over.
    pub expire_cut: Counter,
}

impl LoopCounters {
    /// Zeros for `ids` commands.
    pub fn new(ids: usize) -> Self {
        Self {
            commands: (0..ids).map(|_| CommandCounters::default()).collect(),
            processed: Counter::default(),
            net_input: Counter::default(),
            net_output: Counter::default(),
            errors: Counter::default(),
            dirty: Counter::default(),
            reads: Counter::default(),
            writes: Counter::default(),
            cycles: Counter::default(),
            cycle_ticks_max: Counter::default(),
            cycle_commands_max: Counter::default(),
            cron_us: Counter::default(),
            busy_us: Counter::default(),
            expire_us: Counter::default(),
            expire_cut: Counter::default(),
        }
    }
}

/// The sum of one command's counters.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommandTotals {
    /// Executions.
    pub calls: u64,
    /// Time spent, in clock ticks.
    pub ticks: u64,
    /// Requests refused before execution.
    pub rejected: u64,
    /// Executions that answered an error.
    pub failed: u64,
}

/// All counters of the process.
pub struct Stats {
    loops: Vec<Arc<LoopCounters>>,
    /// Error replies by their first word.
    errors: Mutex<BTreeMap<String, u64>>,
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections refused because of `maxclients` or protected mode.
    pub rejected_connections: AtomicU64,
    /// Connections closed because their output grew over its limit.
    pub output_limit_disconnections: AtomicU64,
    /// Connections closed because their input grew over its limit.
    pub query_limit_disconnections: AtomicU64,
    /// Payloads of RESTORE that were checked.
    pub payloads_checked: AtomicU64,
    rates: Mutex<Rates>,
}

/// Samples for the `instantaneous_*` fields of INFO.
#[derive(Default)]
struct Rates {
    last: Option<(i64, [u64; 5])>,
    per_second: [[f64; Self::SAMPLES]; 5],
    next: usize,
}

impl Rates {
    /// Samples a rate is the mean of, as in Redis.
    const SAMPLES: usize = 16;
}

impl Stats {
    /// Zeros for `threads` event loops and `ids` commands.
    pub fn new(threads: usize, ids: usize) -> Self {
        Self {
            loops: (0..threads).map(|_| Arc::new(LoopCounters::new(ids))).collect(),
            errors: Mutex::default(),
            connections: AtomicU64::new(0),
            rejected_connections: AtomicU64::new(0),
            output_limit_disconnections: AtomicU64::new(0),
            query_limit_disconnections: AtomicU64::new(0),
            payloads_checked: AtomicU64::new(0),
            rates: Mutex::default(),
        }
    }

    /// The counters of one event loop.
    pub fn event_loop(&self, thread: usize) -> Arc<LoopCounters> {
        Arc::clone(&self.loops[thread])
    }

    /// A sum over all event loops.
    pub fn sum(&self, counter: impl Fn(&LoopCounters) -> &Counter) -> u64 {
        self.loops.iter().map(|counters| counter(counters).get()).sum()
    }

    /// The greatest of a counter of all event loops.
    pub fn max(&self, counter: impl Fn(&LoopCounters) -> &Counter) -> u64 {
        self.loops.iter().map(|counters| counter(counters).get()).max().unwrap_or(0)
    }

    /// The totals of one command.
    pub fn command(&self, id: usize) -> CommandTotals {
        let each = |read: fn(&CommandCounters) -> &Counter| self.sum(|l| read(&l.commands[id]));
        CommandTotals {
            calls: each(|c| &c.calls),
            ticks: each(|c| &c.ticks),
            rejected: each(|c| &c.rejected),
            failed: each(|c| &c.failed),
        }
    }

    /// How long the executions of one command took, those while `latency-tracking` was on.
    pub fn latency(&self, id: usize) -> Distribution {
        let mut sum = Distribution::default();
        let histograms = self.loops.iter().filter_map(|l| l.commands[id].latency.get());
        histograms.for_each(|histogram| histogram.add_to(&mut sum));
        sum
    }

    /// Counts an error reply under its first word, which a script may have made up: as in Redis a
    /// text that does not begin with a short word counts as `ERR`.
    pub fn count_error(&self, text: &str) {
        let head = &text.as_bytes()[..text.len().min(ERROR_KIND_LEN_MAX)];
        let end = head.iter().position(|byte| *byte == b' ');
        let kind = end.and_then(|end| text.get(..end)).unwrap_or("ERR");
        let mut errors = self.errors.lock();
        if let Some(count) = errors.get_mut(kind) {
            *count += 1;
        } else if errors.len() < ERROR_KINDS_MAX {
            errors.insert(kind.to_owned(), 1);
        }
    }

    /// Error replies by first word.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.lock().clone()
    }

    /// The counters of all event loops.
    pub fn event_loops(&self) -> &[Arc<LoopCounters>] {
        &self.loops
    }

    /// Takes a sample of the totals that have a rate.
    pub fn sample(&self, now_ms: i64) {
        let totals = [
            self.sum(|l| &l.processed),
            self.sum(|l| &l.net_input),
            self.sum(|l| &l.net_output),
            self.sum(|l| &l.cycles),
            self.sum(|l| &l.busy_us),
        ];
        let mut rates = self.rates.lock();
        if let Some((then_ms, before)) = rates.last
            && now_ms > then_ms
        {
            let at = rates.next % Rates::SAMPLES;
            for (rate, (now, before)) in rates.per_second.iter_mut().zip(totals.iter().zip(before))
            {
                rate[at] = now.saturating_sub(before) as f64 * 1000.0 / (now_ms - then_ms) as f64;
            }
            rates.next += 1;
        }
        rates.last = Some((now_ms, totals));
    }

    /// Commands, input bytes, output bytes, rounds and microseconds of the event loops per second over
    /// the last samples.
    pub fn rates(&self) -> [f64; 5] {
        self.rates
            .lock()
            .per_second
            .map(|samples| samples.iter().sum::<f64>() / samples.len() as f64)
    }

    /// Sets everything back to zero (CONFIG RESETSTAT).
    pub fn reset(&self) {
        for counters in &self.loops {
            for command in &counters.commands {
                command.calls.reset();
                command.ticks.reset();
                command.rejected.reset();
                command.failed.reset();
                command.latency.get().into_iter().for_each(Histogram::reset);
            }
            counters.processed.reset();
            counters.net_input.reset();
            counters.net_output.reset();
            counters.errors.reset();
            counters.reads.reset();
            counters.writes.reset();
            counters.cycles.reset();
            counters.cycle_ticks_max.reset();
            counters.cycle_commands_max.reset();
            counters.cron_us.reset();
            counters.busy_us.reset();
            counters.expire_us.reset();
            counters.expire_cut.reset();
        }
        self.errors.lock().clear();
        let totals = [
            &self.connections,
            &self.rejected_connections,
            &self.output_limit_disconnections,
            &self.query_limit_disconnections,
            &self.payloads_checked,
        ];
        totals.iter().for_each(|total| total.store(0, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_sum_over_loops_and_reset() {
        let stats = Stats::new(2, 3);
        for thread in 0..2 {
            let counters = stats.event_loop(thread);
            counters.commands[1].calls.add(2);
            counters.processed.add(5);
        }
        stats.count_error("WRONGTYPE Operation");
        assert_eq!((stats.command(1).calls, stats.sum(|l| &l.processed)), (4, 10));
        assert_eq!(stats.errors().get("WRONGTYPE"), Some(&1));
        stats.reset();
        assert_eq!((stats.command(1).calls, stats.errors().len()), (0, 0));
    }

    #[test]
    fn what_a_script_makes_up_counts_as_err() {
        let stats = Stats::new(1, 0);
        let long = "X".repeat(1 << 20);
        [
            "custom",
            "",
            &long,
            &format!("{long} x"),
            "\u{e9}".repeat(16).as_str(),
            "MINE x",
            "ERR x",
        ]
        .iter()
        .for_each(|text| stats.count_error(text));
        let errors = stats.errors();
        assert_eq!((errors.len(), errors["MINE"], errors["ERR"]), (2, 1, 6));
    }

    #[test]
    fn rates_are_per_second() {
        let stats = Stats::new(1, 0);
        for step in 0..20 {
            stats.sample(step * 100);
            stats.event_loop(0).processed.add(10);
        }
        assert!((stats.rates()[0] - 100.0).abs() < 1.0);
    }
}
