//! What the connections of one event loop share: the executor, buffers, and the end-of-tick flush.
//!
//! Replies are not written when a connection has made them but after all connections that were ready
//! have run: the flusher is a task that the first dirty connection of a tick wakes, so it runs behind
//! the others. That batches system calls and leaves one place through which all output passes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use super::listener::Arrival;
use super::outbox::{Fate, Letter, Outbox};
use super::sink::{Flushed, Sink};
use smallvec::SmallVec;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::base::clock;
use crate::base::limits::{POOLED_BYTES_MAX, POOLED_REPLIES_MAX, POOLED_REPLY_MAX, READ_LEN};
use crate::command::CommandTable;
use crate::exec::{Batch, Executor, ExpireCursor};
use crate::observe::census::Walk;
use crate::observe::stats::LoopCounters;
use crate::server::Server;

/// So many connections that are to be written to are worth the detour through the outbox.
const TOGETHER_MIN: usize = 8;

/// So many find room without an allocation.
const TOGETHER_ROOM: usize = 64;

/// One event loop's shared state.
pub struct Reactor {
    server: Arc<Server>,
    counters: Arc<LoopCounters>,
    thread: usize,
    pub(super) executor: RefCell<Executor>,
    pub(super) batch: RefCell<Batch>,
    pub(super) read_buffer: RefCell<Box<[u8]>>,
    rooms: RefCell<Vec<Vec<u8>>>,
    /// Bytes of `rooms`.
    rooms_len: Cell<usize>,
    dirty: RefCell<Vec<Rc<Sink>>>,
    flusher: Cell<Option<Waker>>,
    /// Where the kernel has io_uring.
    outbox: RefCell<Option<Outbox>>,
    /// Sinks whose sockets took no more when they were last written.
    blocked: RefCell<Vec<Rc<Sink>>>,
    expire: RefCell<ExpireCursor>,
    walk: RefCell<Walk>,
    commands: Arc<CommandTable>,
    /// The output of every connection.
    sinks: RefCell<HashMap<u64, Weak<Sink>>>,
    /// New connections.
    arrivals: RefCell<UnboundedReceiver<Arrival>>,
}

impl Reactor {
    /// The state of event loop number `thread`.
    pub fn new(
        server: Arc<Server>,
        commands: Arc<CommandTable>,
        thread: usize,
        arrivals: UnboundedReceiver<Arrival>,
    ) -> Rc<Self> {
        let executor = Executor::new(Arc::clone(&server), Arc::clone(&commands), thread);
        let outbox = server.config.read().flag("io-uring").then(Outbox::new).and_then(|outbox| {
            outbox.inspect_err(|error| tracing::debug!("No io_uring for replies: {error}")).ok()
        });
        let threads = server.threads();
        let expire = ExpireCursor::new(thread, threads);
        Rc::new(Self {
            counters: server.stats.event_loop(thread),
            server,
            thread,
            executor: RefCell::new(executor),
            batch: RefCell::default(),
            read_buffer: RefCell::new(vec![0; READ_LEN].into_boxed_slice()),
            rooms: RefCell::default(),
            rooms_len: Cell::new(0),
            dirty: RefCell::default(),
            flusher: Cell::new(None),
            outbox: RefCell::new(outbox),
            blocked: RefCell::default(),
            expire: RefCell::new(expire),
            walk: RefCell::new(Walk::new(thread, threads)),
            commands,
            sinks: RefCell::default(),
            arrivals: RefCell::new(arrivals),
        })
    }

    /// The process.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    pub(super) fn commands(&self) -> &CommandTable {
        &self.commands
    }

    /// The next new connection; `None` when there will be none.
    pub async fn arrival(&self) -> Option<Arrival> {
        std::future::poll_fn(|cx| self.arrivals.borrow_mut().poll_recv(cx)).await
    }

    pub(super) fn next_arrival(&self) -> Option<Arrival> {
        self.arrivals.borrow_mut().try_recv().ok()
    }

    pub(super) fn add_sink(&self, sink: &Rc<Sink>) {
        self.sinks.borrow_mut().insert(sink.handle().id, Rc::downgrade(sink));
    }

    pub(super) fn remove_sink(&self, id: u64) {
        self.sinks.borrow_mut().remove(&id);
    }

    pub(super) fn sinks(&self) -> Vec<Rc<Sink>> {
        self.sinks.borrow().values().filter_map(Weak::upgrade).collect()
    }

    /// The event loop's number.
    pub fn thread(&self) -> usize {
        self.thread
    }

    pub(super) fn counters(&self) -> &LoopCounters {
        &self.counters
    }

    /// An empty buffer for replies.
    pub(super) fn room(&self) -> Vec<u8> {
        let room = self.rooms.borrow_mut().pop().unwrap_or_default();
        self.rooms_len.set(self.rooms_len.get() - room.capacity());
        room
    }

    /// Takes a buffer back for reuse.
    pub(super) fn recycle(&self, room: Vec<u8>) {
        let mut rooms = self.rooms.borrow_mut();
        let len = self.rooms_len.get() + room.capacity();
        let fits = rooms.len() < POOLED_REPLIES_MAX && len <= POOLED_BYTES_MAX;
        if room.capacity() <= POOLED_REPLY_MAX && fits {
            self.rooms_len.set(len);
            rooms.push(room);
        }
    }

    /// Has `sink` written at the end of the tick.
    pub(super) fn queue(&self, sink: &Rc<Sink>) {
        if sink.queued.replace(true) {
            return;
        }
        let mut dirty = self.dirty.borrow_mut();
        dirty.push(Rc::clone(sink));
        if dirty.len() == 1
            && let Some(waker) = self.flusher.take()
        {
            waker.wake();
        }
    }

    /// Ends a round of the event loop if no reply is left to write, which would end it.
    pub(super) fn end_silent_cycle(&self) {
        if self.dirty.borrow().is_empty() {
            self.end_cycle();
        }
    }

    fn end_cycle(&self) {
        let cycle = self.executor.borrow_mut().take_cycle();
        if cycle.requests > 0 {
            self.counters.cycle_ticks_max.raise(clock::ticks().wrapping_sub(cycle.begun));
            self.counters.cycle_commands_max.raise(cycle.requests);
        }
    }

    /// Writes dirty sinks whenever it is woken; never completes.
    pub async fn run_flusher(self: Rc<Self>) {
        let mut flushing = Vec::new();
        std::future::poll_fn(|cx| {
            std::mem::swap(&mut flushing, &mut *self.dirty.borrow_mut());
            self.counters.cycles.add(u64::from(!flushing.is_empty()));
            if flushing.len() >= TOGETHER_MIN {
                self.post(&flushing);
            }
            for sink in flushing.drain(..) {
                sink.queued.set(false);
                if sink.asleep.get() {
                    continue;
                }
                let flushed = sink.flush(&self);
                if flushed != Flushed::All {
                    sink.wake_task();
                }
                // One whose connection has ended is let go of, or its socket would stay open.
                if flushed == Flushed::Blocked && !sink.watched.replace(true) {
                    self.blocked.borrow_mut().push(sink);
                }
            }
            self.end_cycle();
            self.flusher.set(Some(cx.waker().clone()));
            if !self.dirty.borrow().is_empty() {
                // Queued while this wrote, when nobody could be woken for it.
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        })
        .await;
    }

    /// Writes what `sinks` have in one system call, as far as that can be done; the rest, and what is to
    /// be noted of it, is left to each sink's own flush.
    fn post(&self, sinks: &[Rc<Sink>]) {
        let mut place = self.outbox.borrow_mut();
        let Some(outbox) = &mut *place else { return };
        self.server.commit();
        let parcels: SmallVec<[_; TOGETHER_ROOM]> =
            sinks.iter().filter_map(|sink| Some((sink, sink.parcel()?))).collect();
        let mut letters: SmallVec<[_; TOGETHER_ROOM]> =
            parcels.iter().map(|(_, (to, bytes))| Letter::new(*to, bytes)).collect();
        let sent = outbox.send(&mut letters);
        for ((sink, _), letter) in parcels.iter().zip(&letters) {
            match letter.fate {
                Fate::Sent(count) => sink.advance(count),
                // Nothing may follow what may have been sent.
                Fate::Unknown => sink.give_up(),
                // Its own flush tries again.
                Fate::Unsent | Fate::Refused(_) => {}
            }
        }
        drop(letters);
        drop(parcels);
        if let Err(error) = sent {
            tracing::warn!("Replies are no longer sent through io_uring: {error}");
            *place = None;
        }
    }

    /// Lets go of a sink whose connection has ended: as long as it is looked after, its socket is open.
    pub(super) fn forget_blocked(&self, sink: &Rc<Sink>) {
        if sink.watched.replace(false) {
            self.blocked.borrow_mut().retain(|blocked| !Rc::ptr_eq(blocked, sink));
        }
    }

    /// Closes the connections whose blocked output exceeds its limits by now.
    pub fn check_outputs(&self) {
        let now_ms = self.server.now_ms();
        self.blocked.borrow_mut().retain(|sink| {
            let blocked = sink.trouble.get() == Some(Flushed::Blocked);
            let over = blocked && sink.is_over_limit(&self.server, || now_ms);
            if over {
                sink.kill();
            }
            let keep = blocked && !over;
            sink.watched.set(keep);
            keep
        });
    }

    /// Counts the processor time that the event loop has used since `before_us`, and returns the new
    /// total.
    pub fn note_busy(&self, before_us: u64) -> u64 {
        let now_us = clock::thread_cpu_us();
        self.counters.busy_us.add(now_us.saturating_sub(before_us));
        now_us
    }

    /// Counts time that was spent on what is done regularly, since `begun`.
    pub fn note_cron(&self, begun: Instant) {
        let us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counters.cron_us.add(us);
    }

    /// Evicts for a little while; `true` when more is left to do now.
    pub fn evict_slice(&self) -> bool {
        self.executor.borrow_mut().evict_slice()
    }

    /// Goes on looking at what the keyspace is made of.
    pub fn walk_slice(&self) {
        self.executor.borrow_mut().walk_slice(&mut self.walk.borrow_mut());
    }

    /// Works a slice of the expiry cycle; `true` when more is left to do now.
    pub fn expire_slice(&self) -> bool {
        self.executor.borrow_mut().expire_slice(&mut self.expire.borrow_mut())
    }
}
