//! Clients that wait for a key: who, in which order, and how a wait ends exactly once.
//!
//! A [`Waiter`] stands in the queue of every key it waits for. A wait ends by one change of its
//! state away from [`WAITING`]: a command that makes a key ready claims the waiter, on whatever event
//! loop it runs, and hands over a reply; a timeout, CLIENT UNBLOCK, or the end of the connection
//! cancels it. Whoever comes second finds the wait over, so an element is neither lost nor handed
//! out twice.
//!
//! ```text
//! WAITING -> CLAIMED -> SERVED      the reply is in `reply`
//!         -> TIMED_OUT | UNBLOCKED | GONE
//! ```
//!
//! The queues of a shard's keys are changed only while the shard is locked; the lock around them
//! here is for the eyes of others (INFO) and never contended by two commands.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::client::ClientHandle;
use crate::resp::{OwnedArgv, Protocol};
use crate::value::Type;

const WAITING: u8 = 0;
const CLAIMED: u8 = 1;
const SERVED: u8 = 2;
const TIMED_OUT: u8 = 3;
const UNBLOCKED: u8 = 4;
const GONE: u8 = 5;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitEnd {
    /// A reply was handed over.
    Served,
    /// Its time was over, or CLIENT UNBLOCK said so.
    TimedOut,
    /// CLIENT UNBLOCK ERROR.
    Unblocked,
    /// The connection ended first.
    Gone,
}

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// For the first time, in Unix milliseconds.
    pub first_at_ms: i64,
    /// From then on, in milliseconds.
    pub every_ms: u64,
}

/// What a client waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The arguments that are the keys it waits for, without repetitions.
    pub keys: Vec<usize>,
    /// The type of value that serves it.
    pub wants: Type,
    /// The argument that is a further key its command changes when it is served.
    pub target: Option<usize>,
    /// When it has waited long enough, in Unix milliseconds; `None` is never.
    pub until_ms: Option<i64>,
    /// Whether it is told when a key is gone or holds another type.
    pub minds_loss: bool,
    /// When to see again whether there is something for it, since that may come with time alone.
    pub retry: Option<Retry>,
    /// Arguments that stand for something else since it began to wait.
    pub replaced: Vec<(usize, Vec<u8>)>,
}

/// A client that waits.
pub struct Waiter {
    /// The client.
    pub handle: Arc<ClientHandle>,
    /// Its database.
    pub db: usize,
    /// The version it speaks.
    pub protocol: Protocol,
    /// Its command's id.
    pub command: usize,
    /// Its request.
    pub argv: OwnedArgv,
    /// What it waits for.
    pub wait: Wait,
    state: AtomicU8,
    failed: AtomicBool,
    reply: Mutex<Vec<u8>>,
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "client {} waits for {:?}", self.handle.id, self.wait)
    }
}

impl Waiter {
    /// A client of which nobody knows yet that it waits.
    pub fn new(
        handle: Arc<ClientHandle>,
        db: usize,
        protocol: Protocol,
        (command, argv): (usize, OwnedArgv),
        wait: Wait,
    ) -> Self {
        let (state, failed) = (AtomicU8::new(WAITING), AtomicBool::new(false));
        let reply = Mutex::default();
        Self { handle, db, protocol, command, argv, wait, state, failed, reply }
    }

    fn leave(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether nobody has ended the wait.
    pub fn is_waiting(&self) -> bool {
        self.state.load(Ordering::Acquire) == WAITING
    }

    /// Makes the caller the one who serves the client; `false` when the wait is over.
    pub fn claim(&self) -> bool {
        !self.handle.is_killed() && self.leave(WAITING, CLAIMED)
    }

    /// Gives a claim back: nothing was there for the client.
    pub fn unclaim(&self) {
        self.state.store(WAITING, Ordering::Release);
        // Whoever tried to end the wait in between looks again.
        self.handle.wake();
    }

    /// Hands the reply over to a claimed client; `failed` says that it is an error.
    pub fn serve(&self, reply: Vec<u8>, failed: bool) {
        *self.reply.lock() = reply;
        self.failed.store(failed, Ordering::Relaxed);
        self.state.store(SERVED, Ordering::Release);
        self.handle.wake();
    }

    /// Ends the wait for want of time; `false` when somebody else ends it.
    pub fn time_out(&self) -> bool {
        self.leave(WAITING, TIMED_OUT)
    }

    /// Ends the wait as CLIENT UNBLOCK does; `false` when somebody else ends it.
    pub fn unblock(&self, with_error: bool) -> bool {
        let ended = self.leave(WAITING, if with_error { UNBLOCKED } else { TIMED_OUT });
        if ended {
            self.handle.wake();
        }
        ended
    }

    /// Ends the wait because the connection ended; `false` when somebody else ends it.
    pub fn give_up(&self) -> bool {
        self.leave(WAITING, GONE)
    }

    /// How the wait ended, once it has.
    pub fn end(&self) -> Option<WaitEnd> {
        match self.state.load(Ordering::Acquire) {
            SERVED => Some(WaitEnd::Served),
            TIMED_OUT => Some(WaitEnd::TimedOut),
            UNBLOCKED => Some(WaitEnd::Unblocked),
            GONE => Some(WaitEnd::Gone),
            _ => None,
        }
    }

    /// Whether the reply of a client that was served is an error.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// The reply of a client that was served.
    pub fn take_reply(&self) -> Vec<u8> {
        std::mem::take(&mut self.reply.lock())
    }
}

/// A key of a database.
type DbKey = (usize, Box<[u8]>);

type Queues = HashMap<DbKey, VecDeque<Arc<Waiter>>>;

/// Who waits for which key.
pub struct Blocked {
    /// By shard.
    queues: Box<[Mutex<Queues>]>,
    clients: AtomicUsize,
}

impl Blocked {
    pub(super) fn new(shards: usize) -> Self {
        let queues = (0..shards).map(|_| Mutex::default()).collect();
        Self { queues, clients: AtomicUsize::new(0) }
    }

    /// How many clients wait.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// How many keys are waited for.
    pub fn keys(&self) -> usize {
        self.queues.iter().map(|queues| queues.lock().len()).sum()
    }

    /// Counts a client that begins to wait.
    pub fn begin(&self) {
        self.clients.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a client whose wait is over.
    pub fn finish(&self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// Puts `waiter` at the end of the queue of a key, whose shard is locked.
    pub fn add(&self, shard: usize, key: &[u8], waiter: &Arc<Waiter>) {
        let mut queues = self.queues[shard].lock();
        queues.entry((waiter.db, key.into())).or_default().push_back(Arc::clone(waiter));
    }

    /// Takes `waiter` out of the queue of a key, whose shard is locked.
    pub fn remove(&self, shard: usize, key: &[u8], waiter: &Arc<Waiter>) {
        let (mut queues, name) = (self.queues[shard].lock(), (waiter.db, key.into()));
        let Some(queue) = queues.get_mut(&name) else { return };
        if let Some(at) = queue.iter().position(|other| Arc::ptr_eq(other, waiter)) {
            queue.remove(at);
        }
        if queue.is_empty() {
            queues.remove(&name);
        }
    }

    /// The first client, from place `from` of the queue on, that waits for a key with a value of type
    /// `held`, or for its loss where it holds anything else or nothing, and the place behind it. The
    /// key's shard is locked, so places stay what they are.
    pub fn first(
        &self,
        shard: usize,
        (db, key): (usize, &[u8]),
        held: Option<Type>,
        from: usize,
    ) -> Option<(Arc<Waiter>, usize)> {
        let queues = self.queues[shard].lock();
        let suits = |waiter: &Arc<Waiter>| {
            (Some(waiter.wait.wants) == held || waiter.wait.minds_loss)
                && waiter.is_waiting()
                && !waiter.handle.is_killed()
        };
        let queue = queues.get(&(db, key.into()))?;
        let at = (from..queue.len()).find(|at| suits(&queue[*at]))?;
        Some((Arc::clone(&queue[at]), at + 1))
    }

    /// The keys of databases `one` and `other` that are waited for in any of them, as of now.
    pub fn awaited(&self, one: usize, other: usize) -> Vec<Box<[u8]>> {
        let concerns = |(db, _): &&DbKey| *db == one || *db == other;
        let keys = |queues: &Mutex<Queues>| -> Vec<Box<[u8]>> {
            queues.lock().keys().filter(concerns).map(|(_, key)| key.clone()).collect()
        };
        self.queues.iter().flat_map(keys).collect()
    }
}
