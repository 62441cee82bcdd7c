//! HOTKEYS: which keys take most processor time and most bytes, in a span that somebody begins and ends.
//!
//! Each event loop counts into a [`Tally`] of its own, under a lock that nobody else takes until the
//! result is asked for. All that loops share while they count is the number of the session, which they
//! only read: a tally of another session is begun anew. Time is kept in clock ticks, since most commands
//! take less than a microsecond.
//!
//! Must not know commands. Locks: a loop's own, then that of the session.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::hot_keys::Summary;
use crate::base::clock;
use crate::base::random::Random;

/// Keys that each event loop counts for each that is shown.
const SESSION_ROOM: usize = 16;

/// What HOTKEYS START asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionOptions {
    /// Processor time by key.
    pub cpu: bool,
    /// Bytes of requests and replies by key.
    pub net: bool,
    /// Keys to show.
    pub count: usize,
    /// How long, in milliseconds; 0 until it is stopped.
    pub duration_ms: i64,
    /// One in so many commands is looked at, by chance.
    pub sample: u64,
}

/// A span in which the keys of commands are counted.
#[derive(Clone, Debug)]
pub struct Session {
    /// Which one it is since the start of the process.
    number: u64,
    /// What was asked for.
    pub options: SessionOptions,
    /// When it began, in Unix milliseconds.
    pub began_at_ms: i64,
    /// When it was stopped, in Unix milliseconds.
    ended_at_ms: Option<i64>,
    /// The process's user and system time when it began, in seconds.
    pub cpu_before: (f64, f64),
}

impl Session {
    /// When it ends or has ended, in Unix milliseconds.
    fn end_at_ms(&self) -> Option<i64> {
        let lasts = self.options.duration_ms;
        self.ended_at_ms.or((lasts > 0).then(|| self.began_at_ms + lasts))
    }

    /// Whether it counts at `now_ms`.
    pub fn is_active(&self, now_ms: i64) -> bool {
        self.end_at_ms().is_none_or(|at_ms| now_ms < at_ms)
    }

    /// How long it has counted, in milliseconds.
    pub fn elapsed_ms(&self, now_ms: i64) -> i64 {
        self.end_at_ms().map_or(now_ms, |at_ms| at_ms.min(now_ms)) - self.began_at_ms
    }
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Ticks of all commands with keys.
    pub ticks: u64,
    /// Bytes of all commands with keys.
    pub bytes: u64,
    /// Ticks by key.
    pub by_ticks: Summary,
    /// Bytes by key.
    pub by_bytes: Summary,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.ticks += other.ticks;
        self.bytes += other.bytes;
        self.by_ticks.add(&other.by_ticks);
        self.by_bytes.add(&other.by_bytes);
    }
}

/// The part of one event loop.
struct Part {
    /// The session that it counts for.
    session: u64,
    options: SessionOptions,
    /// When that ends by itself, in Unix milliseconds.
    end_at_ms: Option<i64>,
    random: Random,
    tally: Tally,
}

/// What a command took.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Its time.
    pub ticks: u64,
    /// Bytes of its request and reply.
    pub bytes: u64,
}

/// The session, and what the event loops count for it.
pub struct HotSessions {
    /// The number of the session that counts; 0 when none does.
    running: AtomicU64,
    last: Mutex<Last>,
    parts: Vec<Mutex<Part>>,
}

#[derive(Default)]
struct Last {
    begun: u64,
    session: Option<Session>,
}

impl HotSessions {
    /// No session, for `threads` event loops.
    pub fn new(threads: usize) -> Self {
        let part = |thread| Part {
            session: 0,
            options: SessionOptions::default(),
            end_at_ms: None,
            random: Random::seeded(thread as u64),
            tally: Tally::default(),
        };
        let parts = (0..threads).map(|thread| Mutex::new(part(thread))).collect();
        Self { running: AtomicU64::new(0), last: Mutex::default(), parts }
    }

    /// Whether commands are counted, as far as is known without looking at the clock.
    #[inline]
    pub fn is_running(&self) -> bool {
        self.running.load(Relaxed) != 0
    }

    /// Whether commands are counted at `now_ms`.
    pub fn is_active(&self, now_ms: i64) -> bool {
        let last = self.last.lock();
        last.session.as_ref().is_some_and(|session| session.is_active(now_ms))
    }

    /// Begins a session; `cpu_before` is what the process has used so far. `false` when one counts
    /// already.
    pub fn begin(&self, options: SessionOptions, now_ms: i64, cpu_before: (f64, f64)) -> bool {
        let mut last = self.last.lock();
        if last.session.as_ref().is_some_and(|session| session.is_active(now_ms)) {
            return false;
        }
        last.begun += 1;
        let number = last.begun;
        let (began_at_ms, ended_at_ms) = (now_ms, None);
        last.session = Some(Session { number, options, began_at_ms, ended_at_ms, cpu_before });
        self.running.store(number, Relaxed);
        true
    }

    /// Ends the session that counts; `false` when none does.
    pub fn stop(&self, now_ms: i64) -> bool {
        let mut last = self.last.lock();
        self.running.store(0, Relaxed);
        match last.session.as_mut().filter(|session| session.is_active(now_ms)) {
            Some(session) => session.ended_at_ms = Some(now_ms),
            None => return false,
        }
        true
    }

    /// Forgets the last session; `false` when it still counts.
    pub fn forget(&self, now_ms: i64) -> bool {
        let mut last = self.last.lock();
        if last.session.as_ref().is_some_and(|session| session.is_active(now_ms)) {
            return false;
        }
        self.running.store(0, Relaxed);
        last.session = None;
        drop(last);
        for part in &self.parts {
            let mut part = part.lock();
            (part.session, part.tally) = (0, Tally::default());
        }
        true
    }

    /// The last session, and what all event loops have counted for it.
    pub fn result(&self) -> Option<(Session, Tally)> {
        let session = self.last.lock().session.clone()?;
        let mut sum = Tally::default();
        for part in &self.parts {
            let part = part.lock();
            if part.session == session.number {
                sum.add(&part.tally);
            }
        }
        Some((session, sum))
    }

    /// Counts a command on event loop `thread`; `keys` tells its keys with their hashes, of which there
    /// are `count`. `false` when the session turns out to be over.
    pub fn note<'k>(
        &self,
        thread: usize,
        taken: Taken,
        count: usize,
        keys: impl Iterator<Item = (u64, &'k [u8])>,
    ) -> bool {
        let number = self.running.load(Relaxed);
        let Some(part) = self.parts.get(thread).filter(|_| number != 0) else {
            return true;
        };
        let mut part = part.lock();
        if part.session != number && !self.begin_part(&mut part, number) {
            return true;
        }
        if part.end_at_ms.is_some_and(|at_ms| clock::now_ms() >= at_ms) {
            // Another one may have begun meanwhile.
            let _ = self.running.compare_exchange(number, 0, Relaxed, Relaxed);
            return false;
        }
        if count > 0 {
            part.count(taken, count, keys);
        }
        true
    }

    fn begin_part(&self, part: &mut Part, number: u64) -> bool {
        let last = self.last.lock();
        let Some(session) = last.session.as_ref().filter(|session| session.number == number) else {
            return false;
        };
        (part.session, part.options, part.tally) = (number, session.options, Tally::default());
        part.end_at_ms = session.end_at_ms();
        true
    }
}

impl Part {
    fn count<'k>(
        &mut self,
        taken: Taken,
        count: usize,
        keys: impl Iterator<Item = (u64, &'k [u8])>,
    ) {
        let (tally, options) = (&mut self.tally, self.options);
        tally.ticks += taken.ticks;
        tally.bytes += taken.bytes;
        if options.sample > 1 && self.random.below(options.sample) != 0 {
            return;
        }
        let (room, share) = (options.count * SESSION_ROOM, count as u64);
        for (hash, key) in keys {
            // By name, whatever the database, as in Redis: the answer has no place for it.
            if options.cpu {
                tally.by_ticks.note((0, hash), key, taken.ticks / share, room);
            }
            if options.net {
                tally.by_bytes.note((0, hash), key, taken.bytes / share, room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN: Taken = Taken { ticks: 10, bytes: 100 };

    fn options(sample: u64) -> SessionOptions {
        SessionOptions { cpu: true, net: true, count: 2, duration_ms: 0, sample }
    }

    fn note(sessions: &HotSessions, thread: usize, names: &[&str]) -> bool {
        let keys = names.iter().map(|name| (u64::from(name.as_bytes()[0]), name.as_bytes()));
        sessions.note(thread, TAKEN, names.len(), keys)
    }

    #[test]
    fn event_loops_count_apart_and_add_up() {
        let sessions = HotSessions::new(2);
        assert!(note(&sessions, 0, &["a"]) && sessions.result().is_none());
        assert!(
            sessions.begin(options(1), 5, (0.0, 0.0)) && !sessions.begin(options(1), 6, (0.0, 0.0))
        );
        for (thread, names) in [(0, &["a"][..]), (1, &["a"]), (1, &["a", "b"]), (1, &[])] {
            assert!(note(&sessions, thread, names));
        }
        assert!(!sessions.forget(7) && sessions.stop(8) && !sessions.stop(9));
        assert!(note(&sessions, 0, &["late"]));
        let (session, tally) = sessions.result().expect("it is kept");
        assert_eq!((session.elapsed_ms(99), session.is_active(99)), (3, false));
        // Commands without keys count for nothing.
        assert_eq!((tally.ticks, tally.bytes), (30, 300));
        let weights = |summary: &Summary| -> Vec<(Vec<u8>, u64)> {
            summary.heaviest(9).into_iter().map(|key| (key.key.to_vec(), key.weight)).collect()
        };
        assert_eq!(weights(&tally.by_ticks), [(b"a".to_vec(), 25), (b"b".to_vec(), 5)]);
        assert_eq!(weights(&tally.by_bytes), [(b"a".to_vec(), 250), (b"b".to_vec(), 50)]);
        assert!(sessions.forget(9) && sessions.result().is_none());
    }

    #[test]
    fn a_new_session_begins_at_zero() {
        let sessions = HotSessions::new(1);
        sessions.begin(options(1), 1, (0.0, 0.0));
        note(&sessions, 0, &["old"]);
        assert!(sessions.stop(2) && sessions.begin(options(1), 3, (0.0, 0.0)));
        note(&sessions, 0, &["new"]);
        let (_, tally) = sessions.result().expect("it runs");
        assert_eq!((tally.ticks, tally.by_ticks.heaviest(9).len()), (10, 1));
    }

    #[test]
    fn a_session_ends_when_its_time_is_over() {
        let sessions = HotSessions::new(1);
        let short = SessionOptions { duration_ms: 1000, ..options(1) };
        sessions.begin(short, clock::now_ms() - 2000, (0.0, 0.0));
        assert!(sessions.is_running() && !note(&sessions, 0, &["a"]) && !sessions.is_running());
        let (session, tally) = sessions.result().expect("it is kept");
        assert_eq!((tally.ticks, session.elapsed_ms(clock::now_ms())), (0, 1000));
        assert!(!sessions.stop(clock::now_ms()));
    }

    #[test]
    fn a_sample_looks_at_one_in_so_many() {
        let sessions = HotSessions::new(1);
        sessions.begin(options(10), 1, (0.0, 0.0));
        (0..10_000).for_each(|_| assert!(note(&sessions, 0, &["a"])));
        let (_, tally) = sessions.result().expect("it runs");
        assert_eq!(tally.ticks, 100_000);
        assert!((8_000..12_000).contains(&tally.by_ticks.total()), "{}", tally.by_ticks.total());
    }
}
