//! What keys there are, by type and by prefix, and which are the largest: a walk over one database that
//! somebody starts from the console.
//!
//! It walks as SCAN does, on a thread of its own, a few keys at a time under the lock of their shard, and
//! rests between its slices, so that it takes a fifth of a core at most. What it keeps is bounded: so many
//! prefixes, so many large keys. Values are measured, never read.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::json::shown_key;
use crate::base::clock;
use crate::base::limits::{
    BACKGROUND_SLICE, CONSOLE_KEYS_MAX, CONSOLE_PREFIX_LEN_MAX, CONSOLE_PREFIXES_MAX,
};
use crate::keyspace::{Access, EntryView};
use crate::server::Server;

/// Keys visited under one lock.
const STEP: usize = 32;
/// How long the walk rests after a slice.
const REST: Duration = Duration::from_millis(2);
/// How long somebody waits for a walk to end.
const PATIENCE: Duration = Duration::from_millis(50);
/// Prefixes that are shown.
const SHOWN_MAX: usize = 100;

/// The walk, if there is or was one.
#[derive(Default)]
pub(super) struct KeyWalk {
    report: Arc<Mutex<Report>>,
    running: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

/// Keys that have something in common.
#[derive(Clone, Copy, Default)]
struct Group {
    keys: u64,
    bytes: u64,
    volatile: u64,
}

/// What was found so far.
#[derive(Default)]
struct Report {
    state: State,
    db: usize,
    /// Keys of the database when the walk began.
    expected: usize,
    all: Group,
    types: BTreeMap<&'static str, Group>,
    prefixes: BTreeMap<Box<[u8]>, Group>,
    /// Keys of prefixes for which there was no room.
    others: Group,
    /// Largest first.
    largest: Vec<(usize, Box<[u8]>, &'static str)>,
    began_at_ms: i64,
    took_ms: i64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    None,
    Running,
    Done,
    Stopped,
}

impl KeyWalk {
    /// Begins to walk over database `db`; a walk that is under way ends.
    ///
    /// # Errors
    ///
    /// When one that was told to end has not yet, as it waits for a shard, or there is no thread.
    pub(super) fn start(&mut self, server: &Arc<Server>, db: usize) -> std::io::Result<()> {
        self.stop();
        if self.running.as_ref().is_some_and(|(_, thread)| !thread.is_finished()) {
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        let report =
            Report { state: State::Running, db, began_at_ms: clock::now_ms(), ..Report::default() };
        *self.report.lock() = report;
        let stops = Arc::new(AtomicBool::new(false));
        let work = Walk {
            server: Arc::clone(server),
            report: Arc::clone(&self.report),
            stops: Arc::clone(&stops),
            db,
        };
        let thread = std::thread::Builder::new().name("key-walk".to_owned()).spawn(|| work.run());
        self.running =
            Some((stops, thread.inspect_err(|_| self.report.lock().state = State::Stopped)?));
        Ok(())
    }

    /// Has the walk end, if one is under way; it may wait for a shard, for which nobody waits here.
    pub(super) fn stop(&mut self) {
        let Some((stops, thread)) = &self.running else { return };
        stops.store(true, Relaxed);
        let start = Instant::now();
        while !thread.is_finished() && start.elapsed() < PATIENCE {
            std::thread::park_timeout(REST);
        }
    }

    /// What was found, as the console gets it.
    pub(super) fn report(&self) -> Value {
        self.report.lock().shown()
    }
}

impl Drop for KeyWalk {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The thread of a walk.
struct Walk {
    server: Arc<Server>,
    report: Arc<Mutex<Report>>,
    stops: Arc<AtomicBool>,
    db: usize,
}

impl Walk {
    fn run(self) {
        self.count();
        let mut cursor = 0;
        loop {
            if self.stops.load(Relaxed) || self.server.shutdown.is_under_way() {
                return self.end(State::Stopped);
            }
            let start = Instant::now();
            while start.elapsed() < BACKGROUND_SLICE {
                cursor = self.step(cursor);
                if cursor == 0 {
                    return self.end(State::Done);
                }
            }
            std::thread::park_timeout(REST);
        }
    }

    fn count(&self) {
        let keyspace = &self.server.keyspace;
        let len = |shard| keyspace.lock(shard).db(self.db).map_or(0, crate::keyspace::Db::len);
        let expected = (0..keyspace.shard_count()).map(len).sum();
        self.report.lock().expected = expected;
    }

    fn step(&self, cursor: u64) -> u64 {
        let (now_ms, mut found) = (self.server.now_ms(), Vec::with_capacity(STEP));
        let next = self.server.keyspace.scan(&mut Access::Each, self.db, cursor, STEP, |entry| {
            if entry.is_live(now_ms) {
                found.push(Found::of(entry));
            }
        });
        let mut report = self.report.lock();
        found.into_iter().for_each(|key| report.add(key));
        next
    }

    fn end(&self, state: State) {
        let mut report = self.report.lock();
        report.took_ms = clock::now_ms() - report.began_at_ms;
        report.state = state;
    }
}

/// A key that was visited.
struct Found {
    key: Box<[u8]>,
    bytes: usize,
    type_name: &'static str,
    volatile: bool,
}

impl Found {
    fn of(entry: EntryView<'_>) -> Self {
        let key = entry.key();
        Self {
            key: key[..key.len().min(2 * CONSOLE_PREFIX_LEN_MAX)].into(),
            bytes: entry.memory(),
            type_name: entry.type_of().name(),
            volatile: entry.deadline().is_some(),
        }
    }
}

impl Group {
    fn add(&mut self, found: &Found) {
        self.keys += 1;
        self.bytes += found.bytes as u64;
        self.volatile += u64::from(found.volatile);
    }

    fn shown(&self, name: &str) -> Value {
        json!({ "name": name, "keys": self.keys, "bytes": self.bytes, "volatile": self.volatile })
    }
}

/// What stands before the first colon, with it; a key without one has no prefix.
fn prefix(key: &[u8]) -> &[u8] {
    let colon = key.iter().position(|byte| *byte == b':').filter(|at| *at < CONSOLE_PREFIX_LEN_MAX);
    &key[..colon.map_or(0, |at| at + 1)]
}

impl Report {
    fn add(&mut self, found: Found) {
        self.all.add(&found);
        self.types.entry(found.type_name).or_default().add(&found);
        let room = self.prefixes.len() < CONSOLE_PREFIXES_MAX;
        match self.prefixes.entry(prefix(&found.key).into()) {
            Place::Occupied(group) => group.into_mut().add(&found),
            Place::Vacant(place) if room => place.insert(Group::default()).add(&found),
            Place::Vacant(_) => self.others.add(&found),
        }
        let at = self.largest.partition_point(|(bytes, ..)| *bytes >= found.bytes);
        if at < CONSOLE_KEYS_MAX {
            self.largest.insert(at, (found.bytes, found.key, found.type_name));
            self.largest.truncate(CONSOLE_KEYS_MAX);
        }
    }

    fn shown(&self) -> Value {
        let state = match self.state {
            State::None => "none",
            State::Running => "running",
            State::Done => "done",
            State::Stopped => "stopped",
        };
        let mut prefixes: Vec<_> = self.prefixes.iter().collect();
        prefixes.sort_by_key(|(_, group)| std::cmp::Reverse((group.keys, group.bytes)));
        let mut others = self.others;
        for (_, group) in prefixes.iter().skip(SHOWN_MAX) {
            others.keys += group.keys;
            others.bytes += group.bytes;
            others.volatile += group.volatile;
        }
        let took_ms = match self.state {
            State::Running => clock::now_ms() - self.began_at_ms,
            _ => self.took_ms,
        };
        let shown = prefixes.iter().take(SHOWN_MAX);
        json!({
            "state": state,
            "db": self.db,
            "expected": self.expected,
            "took_ms": took_ms,
            "all": self.all.shown(""),
            "types": self.types.iter().map(|(name, group)| group.shown(name)).collect::<Vec<_>>(),
            "prefixes": shown.map(|(name, group)| group.shown(&shown_key(name))).collect::<Vec<_>>(),
            "others": others.shown(""),
            "largest": self.largest.iter().map(|(bytes, key, type_name)| {
                json!({ "key": shown_key(key), "type": type_name, "bytes": bytes })
            }).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(key: &str, bytes: usize) -> Found {
        Found { key: key.as_bytes().into(), bytes, type_name: "string", volatile: bytes % 2 == 1 }
    }

    #[test]
    fn prefixes_end_with_the_first_colon() {
        assert_eq!(prefix(b"user:1:name"), b"user:");
        assert_eq!(prefix(b"plain"), b"");
        assert_eq!(prefix(b":x"), b":");
        assert_eq!(prefix(&[b"x".repeat(CONSOLE_PREFIX_LEN_MAX).as_slice(), b":"].concat()), b"");
    }

    #[test]
    fn groups_are_counted_and_bounded() {
        let mut report = Report::default();
        for number in 0..2 * CONSOLE_PREFIXES_MAX {
            report.add(found(&format!("p{number}:x"), number));
            report.add(found("p0:y", 1));
        }
        assert_eq!(report.prefixes.len(), CONSOLE_PREFIXES_MAX);
        assert_eq!(report.others.keys, CONSOLE_PREFIXES_MAX as u64);
        assert_eq!(report.all.keys, 4 * CONSOLE_PREFIXES_MAX as u64);
        assert_eq!(report.largest.len(), CONSOLE_KEYS_MAX);
        assert!(report.largest.is_sorted_by(|a, b| a.0 >= b.0));
        assert_eq!(report.largest[0].0, 2 * CONSOLE_PREFIXES_MAX - 1);
        let shown = report.shown();
        assert_eq!(shown["prefixes"][0]["name"], "p0:");
        assert_eq!(shown["prefixes"].as_array().map(Vec::len), Some(SHOWN_MAX));
    }
}
