//! What SLOWLOG and COMMANDLOG show: the last commands that took long, were long, or were answered
//! at length.
//!
//! Three logs of one form, each with a threshold and a bound. An entry keeps a bounded copy of the
//! request: 32 arguments of 128 bytes, as Redis has it. Must not know commands or clients: whoever
//! adds an entry says what it holds, and has left secrets out.
//!
//! Invariant: the hot path tests one threshold each, prepared by [`Thresholds`]; a log is locked only
//! for a command that has passed one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::base::clock;

/// Arguments that an entry keeps (Redis: SLOWLOG_ENTRY_MAX_ARGC).
const ARGS_MAX: usize = 32;

/// Bytes of an argument that an entry keeps (Redis: SLOWLOG_ENTRY_MAX_STRING).
const ARG_LEN_MAX: usize = 128;

/// Which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// Commands that took long; their value is microseconds.
    Slow,
    /// Requests that were long, in bytes.
    LargeRequest,
    /// Commands whose reply was long, in bytes.
    LargeReply,
}

impl LogKind {
    /// All logs.
    pub const ALL: [Self; 3] = [Self::Slow, Self::LargeRequest, Self::LargeReply];

    /// The name in COMMANDLOG.
    pub fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::LargeRequest => "large-request",
            Self::LargeReply => "large-reply",
        }
    }
}

/// A bounded copy of a request.
pub type LoggedArgs = Arc<[Box<[u8]>]>;

/// A copy of the arguments `args` as far as an entry keeps them, those in `secrets`, ascending, left
/// out.
pub fn logged_args<'a>(
    args: impl ExactSizeIterator<Item = &'a [u8]>,
    secrets: &[usize],
) -> LoggedArgs {
    let len = args.len();
    let whole = if len > ARGS_MAX { ARGS_MAX - 1 } else { len };
    let mut kept: Vec<Box<[u8]>> = Vec::with_capacity(len.min(ARGS_MAX));
    for (at, arg) in args.take(whole).enumerate() {
        kept.push(match arg.get(..ARG_LEN_MAX) {
            _ if secrets.binary_search(&at).is_ok() => b"(redacted)"[..].into(),
            Some(front) if arg.len() > ARG_LEN_MAX => {
                let rest = format!("... ({} more bytes)", arg.len() - ARG_LEN_MAX);
                [front, rest.as_bytes()].concat().into()
            }
            _ => arg.into(),
        });
    }
    if whole < len {
        kept.push(format!("... ({} more arguments)", len - whole).into_bytes().into());
    }
    kept.into()
}

/// A command that is remembered.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Number of the entry since the start, from 0 on.
    pub id: u64,
    /// When it ended, in Unix seconds.
    pub at_s: i64,
    /// Microseconds or bytes: see [`LogKind`].
    pub value: u64,
    /// The request, as far as it is kept.
    pub args: LoggedArgs,
    /// Where its client is connected from.
    pub peer: Arc<str>,
    /// The client's name.
    pub name: Bytes,
}

/// One log, newest entry first.
#[derive(Default)]
struct Log {
    entries: VecDeque<Arc<LogEntry>>,
    next_id: u64,
}

/// The logs.
#[derive(Default)]
pub struct CommandLog {
    logs: [Mutex<Log>; 3],
    bounds: [Bound; 3],
}

/// From which value on a log takes commands, -1 for never, and how many it keeps.
#[derive(Default)]
struct Bound {
    threshold: AtomicI64,
    len_max: AtomicUsize,
}

impl CommandLog {
    /// Sets from which value on a log takes commands (-1: never) and how many it keeps.
    pub fn set(&self, kind: LogKind, threshold: i64, len_max: usize) {
        let bound = &self.bounds[kind as usize];
        bound.threshold.store(threshold, Relaxed);
        bound.len_max.store(len_max, Relaxed);
    }

    /// The least value that a log takes, if it takes any.
    pub fn threshold(&self, kind: LogKind) -> Option<u64> {
        let bound = &self.bounds[kind as usize];
        let threshold = u64::try_from(bound.threshold.load(Relaxed)).ok()?;
        (bound.len_max.load(Relaxed) > 0).then_some(threshold)
    }

    /// Adds a command to a log; its number and time are set here.
    pub fn push(&self, kind: LogKind, mut entry: LogEntry) {
        let len_max = self.bounds[kind as usize].len_max.load(Relaxed);
        let mut log = self.logs[kind as usize].lock();
        entry.id = log.next_id;
        entry.at_s = clock::now_ms() / 1000;
        log.next_id += 1;
        log.entries.push_front(Arc::new(entry));
        log.entries.truncate(len_max);
    }

    /// The newest entries of a log, at most `count`, newest first.
    pub fn newest(&self, kind: LogKind, count: usize) -> Vec<Arc<LogEntry>> {
        self.logs[kind as usize].lock().entries.iter().take(count).cloned().collect()
    }

    /// How many entries a log has.
    pub fn len(&self, kind: LogKind) -> usize {
        self.logs[kind as usize].lock().entries.len()
    }

    /// The number that the next entry of a log gets: how many commands it has taken since the start.
    pub fn next_id(&self, kind: LogKind) -> u64 {
        self.logs[kind as usize].lock().next_id
    }

    /// Forgets the entries of a log.
    pub fn clear(&self, kind: LogKind) {
        self.logs[kind as usize].lock().entries.clear();
    }
}

/// What the hot path compares a command with, to see whether it is worth a closer look.
#[derive(Default)]
pub struct Thresholds {
    ticks: AtomicU64,
    request: AtomicUsize,
    reply: AtomicUsize,
}

impl Thresholds {
    /// Takes the least of what any log asks for, and of `latency_ms`, 0 for never; with `all`, every
    /// command is looked at.
    pub fn set(&self, log: &CommandLog, latency_ms: u64, all: bool) {
        let slow = log.threshold(LogKind::Slow).map(clock::ticks_in_us);
        let latency = (latency_ms > 0).then(|| clock::ticks_in_us(latency_ms.saturating_mul(1000)));
        let ticks = [slow, latency].into_iter().flatten().min();
        let size = |kind| {
            log.threshold(kind).map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
        };
        self.ticks.store(if all { 0 } else { ticks.unwrap_or(u64::MAX) }, Relaxed);
        self.request.store(size(LogKind::LargeRequest), Relaxed);
        self.reply.store(size(LogKind::LargeReply), Relaxed);
    }

    /// Whether a command may belong into a log that took so many `ticks`, had a request of about
    /// `request` bytes and a reply of `reply` bytes.
    #[inline]
    pub fn is_passed(&self, ticks: u64, request: usize, reply: usize) -> bool {
        ticks >= self.ticks.load(Relaxed)
            || reply >= self.reply.load(Relaxed)
            || request >= self.request.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(args: &LoggedArgs) -> Vec<String> {
        args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
    }

    #[test]
    fn copies_of_requests_are_bounded_and_without_secrets() {
        let args: Vec<&[u8]> = vec![b"a"; 33];
        let kept = logged_args(args.into_iter(), &[2]);
        assert_eq!((kept.len(), &texts(&kept)[2][..]), (32, "(redacted)"));
        assert_eq!(texts(&kept)[31], "... (2 more arguments)");
        let args: Vec<&[u8]> = vec![b"a"; 32];
        assert_eq!(texts(&logged_args(args.into_iter(), &[]))[31], "a");
        let long = [b'x'; 130];
        let kept = logged_args([&long[..], &long[..128]].into_iter(), &[]);
        assert_eq!(texts(&kept)[0], format!("{}... (2 more bytes)", "x".repeat(128)));
        assert_eq!(texts(&kept)[1].len(), 128);
    }

    #[test]
    fn a_log_keeps_the_newest_and_counts_all() {
        let log = CommandLog::default();
        let entry = |value| LogEntry {
            id: 0,
            at_s: 0,
            value,
            args: logged_args([&b"ping"[..]].into_iter(), &[]),
            peer: "".into(),
            name: Bytes::new(),
        };
        log.set(LogKind::Slow, 10, 2);
        (0..3).for_each(|value| log.push(LogKind::Slow, entry(value)));
        let values = |count| -> Vec<(u64, u64)> {
            log.newest(LogKind::Slow, count).iter().map(|e| (e.id, e.value)).collect()
        };
        assert_eq!(values(10), [(2, 2), (1, 1)]);
        assert_eq!((log.len(LogKind::Slow), log.next_id(LogKind::Slow)), (2, 3));
        log.clear(LogKind::Slow);
        assert_eq!((log.len(LogKind::Slow), log.next_id(LogKind::Slow)), (0, 3));
    }

    #[test]
    fn thresholds_are_the_least_of_what_is_asked_for() {
        let (log, thresholds) = (CommandLog::default(), Thresholds::default());
        log.set(LogKind::Slow, -1, 128);
        log.set(LogKind::LargeRequest, 5, 0);
        log.set(LogKind::LargeReply, 7, 1);
        thresholds.set(&log, 0, false);
        assert!(!thresholds.is_passed(u64::MAX - 1, usize::MAX - 1, 6));
        assert!(thresholds.is_passed(0, 0, 7));
        log.set(LogKind::Slow, 10_000, 128);
        thresholds.set(&log, 1, false);
        let least = clock::ticks_in_us(1000);
        assert!(thresholds.is_passed(least, 0, 0) && !thresholds.is_passed(least - 1, 0, 0));
        thresholds.set(&log, 1, true);
        assert!(thresholds.is_passed(0, 0, 0));
    }
}
