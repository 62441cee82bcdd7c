//! A connection's output: replies that wait to be written, and their limits.
//!
//! Shared between the connection's task, which fills it, and its event loop's flusher, which writes
//! it at the end of the tick. Both are on the same thread.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::reactor::Reactor;
use super::stream::Writer;
use crate::resp::ReplyBuf;
use crate::server::{ClientHandle, OutputBound, Server};

/// Written bytes that a blocked output keeps before it lets go of them.
const TRIM_AT: usize = 64 * 1024;

/// What became of an attempt to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Everything is written.
    All,
    /// The socket takes no more for now.
    Blocked,
    /// The connection is gone.
    Broken,
}

/// A connection's output.
pub(super) struct Sink {
    writer: Writer,
    handle: Arc<ClientHandle>,
    pub(super) out: RefCell<ReplyBuf>,
    /// Bytes of `out` that the socket has taken.
    written: Cell<usize>,
    /// Those of them that are counted.
    counted: Cell<usize>,
    /// Whether the flusher has the sink on its list.
    pub(super) queued: Cell<bool>,
    /// Whether the event loop looks after the sink because its socket is blocked.
    pub(super) watched: Cell<bool>,
    /// The last attempt's result, if it left something.
    pub(super) trouble: Cell<Option<Flushed>>,
    /// Whether a reply is being made, in steps or by another thread.
    pub(super) unfinished: Cell<bool>,
    /// Whether nothing is to be written for now: the client sleeps.
    pub(super) asleep: Cell<bool>,
    /// Since when the soft limit is exceeded, in Unix milliseconds.
    soft_since_ms: Cell<Option<i64>>,
}

impl Sink {
    pub(super) fn new(writer: Writer, handle: Arc<ClientHandle>) -> Self {
        Self {
            writer,
            handle,
            out: RefCell::default(),
            written: Cell::new(0),
            counted: Cell::new(0),
            queued: Cell::new(false),
            watched: Cell::new(false),
            trouble: Cell::new(None),
            unfinished: Cell::new(false),
            asleep: Cell::new(false),
            soft_since_ms: Cell::new(None),
        }
    }

    /// The client.
    pub(super) fn handle(&self) -> &Arc<ClientHandle> {
        &self.handle
    }

    /// Drops what has not been written: the connection takes too much memory.
    pub(super) fn abandon(&self) {
        *self.out.borrow_mut() = ReplyBuf::default();
        self.restart(0);
        self.note_len(0);
        self.note_backlog(&ReplyBuf::default(), false);
    }

    /// Whether nothing waits to be written and nobody is about to write.
    pub(super) fn is_empty(&self) -> bool {
        self.out.try_borrow_mut().is_ok_and(|out| out.is_empty())
    }

    /// Writes nothing more: what was written is not known.
    pub(super) fn give_up(&self) {
        self.trouble.set(Some(Flushed::Broken));
        self.kill();
    }

    /// Asks the connection's task to close it.
    pub(super) fn kill(&self) {
        self.handle.kill();
    }

    /// Wakes the connection's task, to look after what the flusher could not write.
    pub(super) fn wake_task(&self) {
        self.handle.wake();
    }

    pub(super) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The output, with room for more.
    pub(super) fn output(&self, reactor: &Reactor) -> RefMut<'_, ReplyBuf> {
        let mut out = self.out.borrow_mut();
        if out.is_empty() {
            let protocol = out.protocol();
            *out = ReplyBuf::with_room(reactor.room(), protocol);
        }
        out
    }

    /// Bytes that wait to be written.
    pub(super) fn pending(&self) -> usize {
        self.out.borrow().len() - self.written.get()
    }

    /// Lets others see how many bytes wait to be written.
    pub(super) fn note_len(&self, len: usize) {
        self.handle.mailbox.output_len.store(len, Ordering::Relaxed);
    }

    /// Lets others see what the socket does not take.
    #[cold]
    pub(super) fn note_backlog(&self, out: &ReplyBuf, blocked: bool) {
        let backlog = &self.handle.backlog;
        backlog.blocked.store(blocked, Ordering::Relaxed);
        backlog.room.store(out.room(), Ordering::Relaxed);
        backlog.held.store(out.held_len(), Ordering::Relaxed);
        backlog.shared.store(out.shared_count(), Ordering::Relaxed);
    }

    /// Writes as much as the socket takes, once what it tells is safe.
    pub(super) fn flush(&self, reactor: &Reactor) -> Flushed {
        if self.trouble.get() == Some(Flushed::Broken) {
            return Flushed::Broken;
        }
        reactor.server().commit();
        let mut out = self.out.borrow_mut();
        if out.len() > self.handle.output_peak.load(Ordering::Relaxed) {
            self.handle.output_peak.store(out.len(), Ordering::Relaxed);
        }
        let result = self.write(&out);
        let (written, before) = (self.written.get(), self.counted.replace(self.written.get()));
        reactor.counters().net_output.add((written - before) as u64);
        reactor.counters().writes.add(1);
        let total = self.handle.net_output.load(Ordering::Relaxed) + (written - before) as u64;
        self.handle.net_output.store(total, Ordering::Relaxed);
        if result == Flushed::All {
            reactor.recycle(out.take_room());
            self.restart(0);
            self.soft_since_ms.set(None);
        } else if written > TRIM_AT && written > out.len() / 2 {
            // What is written is of no more use; the rest moves to the front.
            self.restart(written - out.discard_front(written));
        }
        if written > before && result != Flushed::All {
            // A slow reader of a long reply is not idle.
            self.handle.active_at_ms.fetch_max(reactor.server().now_ms(), Ordering::Relaxed);
        }
        self.note_len(out.len() - self.written.get());
        reactor.server().account_client(&self.handle, 0);
        let trouble = (result != Flushed::All).then_some(result);
        if trouble.is_some() || self.trouble.get().is_some() {
            self.note_backlog(&out, result == Flushed::Blocked);
        }
        self.trouble.set(trouble);
        result
    }

    /// Goes on with an output of which `written` bytes are written and counted.
    fn restart(&self, written: usize) {
        self.written.set(written);
        self.counted.set(written);
    }

    /// What waits to be written, where it may be written together with what others are to be told.
    pub(super) fn parcel(&self) -> Option<(BorrowedFd<'_>, Ref<'_, [u8]>)> {
        let ready = self.trouble.get().is_none() && !self.asleep.get();
        let socket = self.writer.plain_socket().filter(|_| ready)?;
        let waiting = Ref::filter_map(self.out.borrow(), |out| {
            out.plain().map(|bytes| &bytes[self.written.get()..])
        });
        let waiting = waiting.ok()?;
        (!waiting.is_empty()).then_some((socket, waiting))
    }

    /// Notes that `count` bytes more are written; what else there is to do is done by [`Self::flush`].
    pub(super) fn advance(&self, count: usize) {
        self.written.set(self.written.get() + count);
    }

    fn write(&self, out: &ReplyBuf) -> Flushed {
        while self.written.get() < out.len() {
            let attempt = match out.plain() {
                Some(bytes) => self.writer.try_write(&bytes[self.written.get()..]),
                None => {
                    let mut slices = Vec::new();
                    out.slices(self.written.get(), &mut slices);
                    self.writer.try_write_vectored(&slices)
                }
            };
            match attempt {
                Ok(0) => return Flushed::Broken,
                Ok(count) => self.written.set(self.written.get() + count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flushed::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Flushed::Broken,
            }
        }
        match self.writer.finish() {
            Ok(()) => Flushed::All,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Flushed::Blocked,
            Err(_) => Flushed::Broken,
        }
    }

    /// Whether the output exceeds its bounds; if so, that is counted and logged. `now_ms` says what time
    /// it is, where that matters.
    pub(super) fn is_over_limit(&self, server: &Server, now_ms: impl FnOnce() -> i64) -> bool {
        let bound = server.settings.output(self.handle.is_subscriber());
        let over = self.exceeds(bound, now_ms);
        if over {
            server.note_output_limit(self.handle.id, &self.handle.peer.addr());
        }
        over
    }

    fn exceeds(&self, bound: OutputBound, now_ms: impl FnOnce() -> i64) -> bool {
        let pending = self.pending() + self.handle.mailbox.waiting();
        if bound.hard > 0 && pending >= bound.hard {
            return true;
        }
        if bound.soft == 0 || pending < bound.soft {
            self.soft_since_ms.set(None);
            return false;
        }
        let now_ms = now_ms();
        let since_ms = self.soft_since_ms.get().unwrap_or(now_ms);
        self.soft_since_ms.set(Some(since_ms));
        now_ms - since_ms > bound.soft_seconds.saturating_mul(1000)
    }
}
