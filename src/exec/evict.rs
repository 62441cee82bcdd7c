//! Keeps memory below `maxmemory`: before a command runs, keys go until there is room, or the command
//! learns that there is none.
//!
//! What the process uses is known exactly but costs some microseconds to find out, what the event loop's
//! own thread uses a nanosecond. So the first is asked for, the second compared until the loop may have
//! used up its share of what was free; each loop has a share, and none waits for another. Whoever has
//! to evict goes a little below the limit, so that the next commands need not.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::call::{Executor, take_mail};
use super::removed::{Reason, tell};
use crate::keyspace::{Evicted, Hunt, Removed, Trash};
use crate::observe::allocator::{self, thread_net};
use crate::observe::latency_monitor::event;
use crate::resp::ReplyBuf;
use crate::server::{Client, ClientFlags, Server, gate};

/// A loop looks again when it has used so much, however much was free, in bytes.
const SHARE_MAX: i64 = 4 << 20;

/// A loop looks no more often than every so many bytes.
const SHARE_MIN: i64 = 512;

/// How far below the limit eviction goes: a share of the limit, and at most so many bytes.
const RESERVE_SHARE: i64 = 256;
const RESERVE_MAX: i64 = 64 * 1024;

/// How far above it commands may go on while memory is being freed: a share of the limit, and at most
/// so many bytes.
const LEEWAY_SHARE: i64 = 16;
const LEEWAY_MAX: i64 = 16 << 20;

/// Keys that are evicted between two looks at the time (Redis: 16).
const KEYS_PER_LOOK: u32 = 16;

/// How long messages about evicted keys are not counted: those who get them mostly have them by then.
const TOLD_SPAN: Duration = Duration::from_millis(20);

/// How long a command waits for memory that another thread is about to free.
const PATIENCE: Duration = Duration::from_micros(100);
const NAP: Duration = Duration::from_micros(20);

/// How long nobody waits so after it was in vain.
const VAIN_SPAN: Duration = Duration::from_millis(5);

/// What an event loop knows of the memory in use.
#[derive(Default)]
pub(super) struct Gauge {
    /// The number of the event loop, if it is one.
    thread: Option<usize>,
    /// The limit when the memory was measured.
    max: u64,
    /// Bytes in use above the limit when they were measured; negative below it.
    excess: i64,
    /// [`thread_net`] then.
    net: i64,
    /// Values that had been freed for commands by another thread by then.
    freed: u64,
    /// Bytes that the thread may use more before it measures again.
    share: i64,
    /// Bytes of messages about what was evicted, which leave soon, and since when they are known.
    told: i64,
    told_at: Option<Instant>,
    /// When the loop last waited in vain for memory that another thread was about to free.
    vain_at: Option<Instant>,
}

impl Gauge {
    /// The gauge of event loop number `thread`.
    pub(super) fn new(thread: usize) -> Self {
        Self { thread: Some(thread), ..Self::default() }
    }

    /// Whether there is certainly room.
    #[inline]
    fn fits(&self, max: u64) -> bool {
        max == self.max && thread_net().wrapping_sub(self.net) < self.share
    }

    /// Says what the loop has allocated by now.
    #[inline]
    fn tell(&self, server: &Server) {
        if let Some(thread) = self.thread {
            server.eviction.usage.note(thread, thread_net());
        }
    }

    /// Finds out how much is in use now; returns the bytes above the limit.
    fn measure(&mut self, server: &Server) -> i64 {
        let max = server.eviction.max.load(Relaxed);
        let same = std::mem::replace(&mut self.max, max) == max;
        if self.max == 0 {
            (self.excess, self.share, self.net) = (i64::MIN / 2, i64::MAX, thread_net());
            return self.excess;
        }
        let max = i64::try_from(self.max).unwrap_or(i64::MAX);
        if self.told_at.is_some_and(|at| at.elapsed() > TOLD_SPAN) {
            (self.told, self.told_at) = (0, None);
        }
        let (net, freed) = (thread_net(), server.lazyfree.freed());
        // An estimate is as good as what the loops changed since they asked last is small.
        let far = net.wrapping_sub(self.net).abs() > RESERVE_MAX;
        self.tell(server);
        let exact =
            !same || self.thread.is_none() || far || freed != self.freed || self.share == i64::MIN;
        let allocated = || allocator::figures().allocated as i64;
        let used = server.eviction.usage.bytes(exact, allocated);
        self.excess = used - server.uncounted_memory() as i64 - self.told - max;
        (self.net, self.freed) = (net, freed);
        self.take_share(server)
    }

    /// Goes on from what this thread has changed since the memory was measured.
    fn go_on(&mut self, server: &Server) -> i64 {
        (self.excess, self.net) = (self.excess(), thread_net());
        self.take_share(server)
    }

    fn take_share(&mut self, server: &Server) -> i64 {
        let share = -self.excess / server.threads() as i64;
        // Above the limit nothing fits, however much the thread frees: that is measured.
        self.share = if self.excess > 0 { i64::MIN } else { share.clamp(SHARE_MIN, SHARE_MAX) };
        self.excess
    }

    /// Bytes above the limit, as far as this thread changed it since it was measured.
    fn excess(&self) -> i64 {
        self.excess + thread_net().wrapping_sub(self.net)
    }

    /// Leaves messages out of account that were just allocated.
    fn overlook(&mut self, bytes: i64) {
        self.net = self.net.wrapping_add(bytes);
        self.told += bytes.max(0);
        self.told_at = Some(Instant::now());
    }

    /// Waits a little for the thread that frees what is costly to free; `false` when it is not done. Many
    /// commands may wait for the same, so none of them does soon after one waited in vain.
    fn waits(&mut self, server: &Server) -> bool {
        if self.vain_at.is_some_and(|at| at.elapsed() < VAIN_SPAN) {
            return false;
        }
        let done = wait_for_memory(server);
        self.vain_at = (!done).then(Instant::now);
        done
    }

    /// How far above the limit commands may go while another thread is freeing memory.
    fn leeway(&self) -> i64 {
        (i64::try_from(self.max).unwrap_or(i64::MAX) / LEEWAY_SHARE).min(LEEWAY_MAX)
    }

    fn reserve(&self) -> i64 {
        (i64::try_from(self.max).unwrap_or(i64::MAX) / RESERVE_SHARE).min(RESERVE_MAX)
    }
}

/// How far an attempt to make room came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is enough.
    Enough,
    /// There will be: the time was up, or another thread is freeing memory.
    Soon,
    /// Another thread is freeing memory, and so much is above the limit that more has to wait for that.
    Later,
    /// There is nothing left that could go.
    None,
}

impl Executor {
    /// Says what the loop has allocated by now, where others ask.
    #[inline]
    pub(super) fn note_usage(&self) {
        if self.server.gates.load(Relaxed) & gate::MEMORY != 0 {
            self.gauge.tell(&self.server);
        }
    }

    /// Whether there is memory for a command that may need some, after all went that can.
    #[inline]
    pub(super) fn room_for(&mut self, client: &Client, out: &mut ReplyBuf) -> Room {
        // What is queued may be for another database than the client is in yet.
        let queue = client.transaction.as_ref().filter(|_| client.flags.has(ClientFlags::MULTI));
        let db = queue.map_or(client.db, |queue| queue.db);
        let full = self.server.keyspace.db_excess(db).is_some_and(|excess| excess > 0);
        self.gauge.tell(&self.server);
        let fits = !full && self.gauge.fits(self.server.eviction.max.load(Relaxed));
        if fits {
            return Room::Enough;
        }
        let mut room = self.make_room();
        if full && room != Room::None && self.make_room_in(db) == Room::None {
            room = Room::None;
        }
        // What the client cached may be gone, which it is to know before the reply.
        take_mail(client, out);
        room
    }

    /// Evicts on behalf of nobody for as long as a command may; `true` when more is left to do now.
    pub fn evict_slice(&mut self) -> bool {
        let server = Arc::clone(&self.server);
        server.keyspace.count_limited();
        if server.gates.load(Relaxed) & gate::MEMORY == 0 {
            return false;
        }
        let dbs = server.eviction.dbs();
        let more = dbs.iter().filter(|(db, _)| self.make_room_in(*db) == Room::Soon).count();
        matches!(self.make_room(), Room::Soon | Room::Later) || more > 0
    }

    #[cold]
    fn make_room(&mut self) -> Room {
        let server = Arc::clone(&self.server);
        let now_ms = server.now_ms();
        let start = Instant::now();
        let room = if self.gauge.measure(&server) <= 0 {
            Room::Enough
        } else if must_wait(&server, now_ms) {
            return Room::Enough;
        } else {
            let room = self.evict(&server, now_ms);
            let us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            server.latency.note(event::EVICTION_CYCLE, us);
            room
        };
        server.eviction.note(room != Room::Enough);
        room
    }

    /// Makes room in a database with a limit of its own.
    #[cold]
    fn make_room_in(&mut self, db: usize) -> Room {
        let server = Arc::clone(&self.server);
        let now_ms = server.now_ms();
        let excess = || server.keyspace.db_excess(db).unwrap_or(0);
        if excess() <= 0 || must_wait(&server, now_ms) {
            return Room::Enough;
        }
        let policies = server.eviction.dbs();
        let known = policies.iter().find(|(known, _)| *known == db);
        let Some((_, Some(policy))) = known else { return Room::None };
        let (start, limit) = (Instant::now(), server.eviction.time_limit());
        let hunt = Hunt { policy: *policy, db: Some(db) };
        let mut evicted = 0;
        while excess() > 0 {
            match self.evict_one(&server, hunt, now_ms) {
                Evicted::One => evicted += 1,
                Evicted::Busy => return Room::Soon,
                Evicted::Nothing => return Room::None,
            }
            let looks = evicted % KEYS_PER_LOOK == 0;
            if looks && limit.is_some_and(|limit| start.elapsed() > limit) {
                return Room::Soon;
            }
        }
        Room::Enough
    }

    /// Evicts a key by `maxmemory-policy`, or else one from a database with a policy of its own.
    fn evict_any(&mut self, server: &Server, now_ms: i64) -> Evicted {
        let common = server.eviction.policy().map(|policy| Hunt { policy, db: None });
        let dbs = server.eviction.dbs();
        let own = dbs
            .iter()
            .filter_map(|(db, policy)| policy.map(|policy| Hunt { policy, db: Some(*db) }));
        let mut outcome = Evicted::Nothing;
        for hunt in common.into_iter().chain(own) {
            match self.evict_one(server, hunt, now_ms) {
                Evicted::One => return Evicted::One,
                Evicted::Busy => outcome = Evicted::Busy,
                Evicted::Nothing => {}
            }
        }
        outcome
    }

    /// Evicts keys until memory is below the limit by the reserve.
    fn evict(&mut self, server: &Server, now_ms: i64) -> Room {
        let (start, limit) = (Instant::now(), server.eviction.time_limit());
        let reserve = self.gauge.reserve();
        let mut evicted = 0;
        while self.gauge.excess() > -reserve {
            if server.lazyfree.pending() > 0 && !self.gauge.waits(server) && may_evict(server) {
                let flooded = self.gauge.excess() > self.gauge.leeway();
                return if flooded { Room::Later } else { Room::Soon };
            }
            if server.lazyfree.freed() != self.gauge.freed {
                // A large value has gone since.
                self.gauge.measure(server);
                continue;
            }
            match self.evict_any(server, now_ms) {
                Evicted::One => evicted += 1,
                Evicted::Busy => return Room::Soon,
                Evicted::Nothing if self.gauge.measure(server) > 0 => return Room::None,
                Evicted::Nothing => return Room::Enough,
            }
            let looks = evicted % KEYS_PER_LOOK == 0;
            if looks && limit.is_some_and(|limit| start.elapsed() > limit) {
                break;
            }
        }
        if self.gauge.go_on(server) > 0 { Room::Soon } else { Room::Enough }
    }

    fn evict_one(&mut self, server: &Server, hunt: Hunt, now_ms: i64) -> Evicted {
        let samples = server.eviction.samples.load(Relaxed);
        let lazily = server.settings.lazy_eviction.load(Relaxed);
        let (unit, mut removed) = (&mut self.effects.unit, Removed::default());
        let (mut told, mut begun) = (0, None);
        let outcome = self.evictor.evict(
            &server.keyspace,
            hunt,
            samples,
            now_ms,
            &mut removed,
            |number, shard, removed| {
                begun = server.latency.begin();
                let before = thread_net();
                tell(server, unit, number, shard, removed, Reason::Evicted { lazily });
                told = thread_net().wrapping_sub(before);
            },
        );
        // Messages about what is gone are no reason for more to go, or little would be left in the end.
        if told > 0 {
            self.gauge.overlook(told);
        }
        for (_, mut entry) in removed.keys {
            self.changes.trash.extend(entry.take_boxed().map(Trash::Value));
        }
        self.settle();
        server.latency.end(event::EVICTION_DEL, begun);
        outcome
    }
}

/// Waits a little for the thread that frees what is costly to free; `false` when it is not done.
fn wait_for_memory(server: &Server) -> bool {
    let start = Instant::now();
    while server.lazyfree.pending() > 0 {
        if start.elapsed() > PATIENCE {
            return false;
        }
        nap();
    }
    true
}

/// Whether any key may go.
fn may_evict(server: &Server) -> bool {
    server.eviction.policy().is_some() || server.eviction.dbs().iter().any(|(_, own)| own.is_some())
}

/// Whether nothing may go now, for which nobody is refused.
fn must_wait(server: &Server, now_ms: i64) -> bool {
    server.loading.is_active()
        || server.gates.load(Relaxed) & gate::BUSY != 0
        || server.pause.is_active(now_ms)
        // What goes is written out for the snapshot first, which frees nothing.
        || server.keyspace.is_pressed() && may_evict(server)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the bound on memory, for a fraction of a millisecond"
)]
fn nap() {
    std::thread::sleep(NAP);
}
