//! The one log of writes: its byte offsets are the order in which the keyspace changed.
//!
//! A unit is appended while the shards it changed are still locked, so that for every key the order
//! of the log is the order of the commits, and a cut under all locks divides both alike. Appending
//! is a copy into memory under a lock that is held for nothing else: whoever writes the bytes to a
//! file swaps its own empty buffer for the full one.
//!
//! ```text
//! one command      [SELECT db] command
//! several          MULTI [SELECT db] command [SELECT db] command ... EXEC
//! #TS:1700000000   before a unit, once a second at most, if asked for
//! ```
//!
//! SELECT stands only where the database differs from the one the log spoke of last; after a cut it
//! stands always, because what follows goes to a file of its own.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::unit::{Unit, write_select};
use crate::base::clock;
use crate::base::number::{parse_u64, write_i64};
use crate::keyspace::lock::Lock;

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// What a line that only notes the time begins with.
pub const TIMESTAMP: &[u8] = b"#TS:";

/// The log.
pub struct WriteLog {
    state: Lock<State>,
    /// Where `state` ends; a copy that is read without the lock.
    end: AtomicU64,
    timestamps: AtomicBool,
}

struct State {
    /// What was appended and not taken yet.
    waiting: Vec<u8>,
    /// The offset of the first byte of `waiting`.
    start: u64,
    /// The database that a reader of the log is in, if it is known.
    db: Option<usize>,
    /// The last time that was noted, in Unix seconds; zero if none was.
    noted_at_s: i64,
    /// Where the taker is to begin new files, as far as it did not yet, in order.
    divisions: VecDeque<u64>,
}

impl State {
    fn end(&self) -> u64 {
        self.start + self.waiting.len() as u64
    }

    fn note_time(&mut self, now_s: i64) {
        if now_s > self.noted_at_s {
            self.noted_at_s = now_s;
            self.waiting.extend_from_slice(TIMESTAMP);
            write_i64(&mut self.waiting, now_s);
            self.waiting.extend_from_slice(b"\r\n");
        }
    }

    fn cut(&mut self) -> u64 {
        self.db = None;
        self.noted_at_s = 0;
        self.end()
    }
}

impl Default for WriteLog {
    fn default() -> Self {
        Self::starting_at(0)
    }
}

impl WriteLog {
    /// An empty log whose first byte has the offset `start`.
    pub fn starting_at(start: u64) -> Self {
        let state = State {
            waiting: Vec::new(),
            start,
            db: None,
            noted_at_s: 0,
            divisions: VecDeque::new(),
        };
        Self {
            state: Lock::new(state),
            end: AtomicU64::new(start),
            timestamps: AtomicBool::new(false),
        }
    }

    /// Whether times are noted (`aof-timestamp-enabled`).
    pub fn set_timestamps(&self, enabled: bool) {
        self.timestamps.store(enabled, Ordering::Relaxed);
    }

    /// Appends what a request did; returns the offset behind it. The caller still holds the locks of
    /// the shards that it changed.
    pub fn append(&self, unit: &Unit) -> u64 {
        if unit.is_empty() {
            return self.end();
        }
        let timestamps = self.timestamps.load(Ordering::Relaxed);
        let now_s = if timestamps { clock::now_ms() / 1000 } else { 0 };
        let is_block = unit.len() > 1;
        let (first, last) = unit.dbs();

        let mut state = self.state.lock();
        if now_s > 0 {
            state.note_time(now_s);
        }
        if is_block {
            state.waiting.extend_from_slice(MULTI);
        }
        if state.db != Some(first) {
            write_select(&mut state.waiting, first);
        }
        state.db = Some(last);
        state.waiting.extend_from_slice(unit.body());
        if is_block {
            state.waiting.extend_from_slice(EXEC);
        }
        let end = state.end();
        self.end.store(end, Ordering::Release);
        end
    }

    /// The offset behind the last unit.
    #[inline]
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Exchanges what was not taken yet for `into`, which has to be empty and is filled next; returns
    /// the offsets of what was taken, which end at a division at the latest. There is one taker.
    pub fn take(&self, into: &mut Vec<u8>) -> Range<u64> {
        assert!(into.is_empty(), "a buffer that is still in use would be lost");
        let mut state = self.state.lock();
        let start = state.start;
        std::mem::swap(&mut state.waiting, into);
        if let Some(&at) = state.divisions.front() {
            // Not taken before it was passed, so it is not before `start`.
            state.waiting.extend_from_slice(&into[(at - start) as usize..]);
            into.truncate((at - start) as usize);
        }
        state.start += into.len() as u64;
        start..state.start
    }

    /// Forgets what nobody took, and all divisions: for a taker that begins here. Returns the offset.
    pub(super) fn begin_taking(&self) -> u64 {
        let mut state = self.state.lock();
        state.start = state.cut();
        state.waiting.clear();
        state.divisions.clear();
        state.start
    }

    /// How many divisions were not passed yet.
    pub(super) fn divisions(&self) -> usize {
        self.state.lock().divisions.len()
    }

    /// Makes what follows readable on its own; returns the offset. All shards are locked, if the
    /// place is to mean a state of the keyspace.
    pub fn cut(&self) -> u64 {
        self.state.lock().cut()
    }

    /// A cut at which the taker begins a new file: it is given nothing from beyond until it says
    /// that it did.
    pub fn divide(&self) -> u64 {
        let mut state = self.state.lock();
        let at = state.cut();
        state.divisions.push_back(at);
        at
    }

    /// Says that the taker, which has taken everything before `at`, begins a new file if the log is
    /// divided there; otherwise it must not.
    pub fn pass_division(&self, at: u64) -> bool {
        let mut state = self.state.lock();
        let passed = state.divisions.front() == Some(&at);
        if passed {
            state.divisions.pop_front();
        }
        passed
    }
}

/// A command of a log: the database it applies to and its arguments.
pub type Logged = (usize, Vec<Vec<u8>>);

/// Reads the bytes of a log from a cut on: commands with the database of each, without SELECT, with
/// MULTI and EXEC. `None` if the bytes are not a log. For tests and small inspections; files are
/// loaded by the loader.
pub fn parse(mut bytes: &[u8]) -> Option<Vec<Logged>> {
    let mut logged: Vec<Logged> = Vec::new();
    let mut db = 0;
    while !bytes.is_empty() {
        if bytes.starts_with(TIMESTAMP) {
            take_line(&mut bytes)?;
            continue;
        }
        let count = take_number(&mut bytes, b'*')?;
        let argv: Option<Vec<Vec<u8>>> = (0..count).map(|_| take_arg(&mut bytes)).collect();
        let argv = argv?;
        if argv.first()? == b"SELECT" {
            db = usize::try_from(parse_u64(argv.get(1)?)?).ok()?;
            // MULTI comes before the SELECT of its block.
            if let Some((of_multi, last)) = logged.last_mut()
                && last[0] == b"MULTI"
            {
                *of_multi = db;
            }
        } else {
            logged.push((db, argv));
        }
    }
    Some(logged)
}

fn take_line<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let line = &bytes[..end];
    *bytes = &bytes[end + 2..];
    Some(line)
}

fn take_number(bytes: &mut &[u8], kind: u8) -> Option<usize> {
    let digits = take_line(bytes)?.strip_prefix(&[kind])?;
    usize::try_from(parse_u64(digits)?).ok()
}

fn take_arg(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let len = take_number(bytes, b'$')?;
    let (arg, rest) = bytes.split_at_checked(len)?;
    *bytes = rest.strip_prefix(b"\r\n")?;
    Some(arg.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(commands: &[(usize, &str)]) -> Unit {
        let mut unit = Unit::default();
        for (db, text) in commands {
            unit.push(*db, text.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        }
        unit
    }

    fn words(log: &WriteLog) -> Vec<String> {
        let mut bytes = Vec::new();
        log.take(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let is_word = |line: &&str| !line.starts_with(['*', '$']);
        text.split("\r\n").filter(is_word).map(str::to_owned).collect()
    }

    #[test]
    fn units_are_framed_as_the_log_needs_it() {
        let log = WriteLog::default();
        log.append(&unit(&[(0, "A")]));
        log.append(&unit(&[(0, "B")]));
        log.append(&unit(&[(2, "C"), (2, "D")]));
        log.append(&unit(&[(2, "E"), (1, "F")]));
        log.append(&Unit::default());
        let expected = "SELECT 0 A B MULTI SELECT 2 C D EXEC MULTI E SELECT 1 F EXEC ";
        assert_eq!(words(&log).join(" "), expected);
        log.append(&unit(&[(1, "G")]));
        log.cut();
        log.append(&unit(&[(1, "H")]));
        assert_eq!(words(&log).join(" "), "G SELECT 1 H ");
    }

    #[test]
    fn offsets_count_bytes_and_buffers_are_exchanged() {
        let log = WriteLog::starting_at(100);
        let end = log.append(&unit(&[(0, "A")]));
        assert_eq!((log.end(), log.cut()), (end, end));
        let mut buffer = Vec::with_capacity(1000);
        assert_eq!(log.take(&mut buffer), 100..end);
        assert_eq!(100 + buffer.len() as u64, end);
        let next = log.append(&unit(&[(0, "B")]));
        let mut second = Vec::new();
        assert_eq!(log.take(&mut second), end..next);
        assert_eq!(second.capacity(), 1000, "the taker's buffer was filled");
        assert_eq!(log.take(&mut Vec::new()), next..next);
    }

    #[test]
    fn a_division_is_not_taken_across() {
        let log = WriteLog::default();
        log.append(&unit(&[(0, "A")]));
        let at = log.divide();
        let end = log.append(&unit(&[(0, "B")]));
        let mut bytes = Vec::new();
        assert!(!log.pass_division(0));
        assert_eq!(log.take(&mut bytes), 0..at);
        assert_eq!(bytes.len() as u64, at);
        assert_eq!(log.take(&mut Vec::new()), at..at);
        assert!(log.pass_division(at) && !log.pass_division(at));
        assert_eq!(words(&log).join(" "), "SELECT 0 B ");
        assert_eq!(log.end(), end);
    }

    #[test]
    fn times_are_noted_before_units_once_a_second() {
        let log = WriteLog::default();
        log.set_timestamps(true);
        let before = clock::now_ms() / 1000;
        for _ in 0..50 {
            log.append(&unit(&[(0, "A"), (0, "B")]));
        }
        let noted = words(&log);
        let times: Vec<i64> =
            noted.iter().filter_map(|word| word.strip_prefix("#TS:")?.parse().ok()).collect();
        assert!(noted[0].starts_with("#TS:") && noted[1] == "MULTI");
        assert!(times[0] >= before && times.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(times.len() < 40, "{times:?}");
    }

    #[test]
    fn a_log_reads_back() {
        let log = WriteLog::default();
        log.set_timestamps(true);
        log.append(&unit(&[(3, "SET a 1")]));
        log.append(&unit(&[(4, "SET a 1"), (5, "DEL a")]));
        let mut bytes = Vec::new();
        log.take(&mut bytes);
        let text = |(db, argv): &Logged| {
            let words: Vec<_> = argv.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
            format!("{db}: {}", words.join(" "))
        };
        let read: Vec<String> = parse(&bytes).unwrap().iter().map(text).collect();
        assert_eq!(read, ["3: SET a 1", "4: MULTI", "4: SET a 1", "5: DEL a", "5: EXEC"]);
        assert_eq!(parse(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn threads_append_whole_units() {
        let log = WriteLog::default();
        let mut bytes = Vec::new();
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let log = &log;
                scope.spawn(move || {
                    for number in 0..1000 {
                        let text = format!("SET {thread} {number}");
                        log.append(&unit(&[(thread, &text), (thread, "X")]));
                    }
                });
            }
            let mut buffer = Vec::new();
            while bytes.len() < 1000 {
                let range = log.take(&mut buffer);
                assert_eq!(range.start, bytes.len() as u64);
                bytes.append(&mut buffer);
            }
        });
        let mut rest = Vec::new();
        log.take(&mut rest);
        bytes.append(&mut rest);
        let logged = parse(&bytes).unwrap();
        assert_eq!(logged.len(), 3 * 1000 * 4);
        for thread in 0..3 {
            let own = logged.iter().filter(|(db, argv)| *db == thread && argv.len() == 3);
            let numbers: Vec<usize> =
                own.map(|(_, argv)| String::from_utf8_lossy(&argv[2]).parse().unwrap()).collect();
            assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
        }
    }
}
