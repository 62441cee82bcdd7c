//! One connection: read, run what has arrived, leave the replies to the flusher.
//!
//! Input is read into a buffer that all connections of the event loop share; only the tail of an
//! incomplete request is copied into a buffer of the connection's own, which is freed again when the
//! request is done. An idle connection owns no buffer at all.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use super::reactor::Reactor;
use super::sink::{Flushed, Sink};
use super::stream::{Reader, Stream};
use crate::base::limits::{BIG_READ_LEN, PRESSED_MAX, READ_LEN, UNAUTHENTICATED_QUERY_MAX};
use crate::command::{Job, Pending};
use crate::exec::{Batch, Stop};
use crate::observe::latency_monitor::event;
use crate::resp::{ParseLimits, ProtocolError, RequestParser};
use crate::server::{Client, ClientFlags, ClientHandle, Waiter};

/// How long a closing connection may go without receiving any of its last replies.
const LINGER: Duration = Duration::from_secs(5);

/// How long a request that there is no room for yet waits at most before it looks again.
const ROOM_RETRY: Duration = Duration::from_millis(5);

/// Why a connection's turn ended.
enum Turn {
    /// It has used its share of the tick and has more to do.
    Yield,
    /// Clients are paused.
    Paused,
    /// Its request waits for memory.
    NoRoomYet,
    /// A snapshot's writer has to catch up first.
    Pressed,
    /// It sleeps (DEBUG SLEEP).
    Sleep(Duration),
    /// Its client waits for a key.
    Blocked(Arc<Waiter>),
    /// Its request is carried out in steps.
    Work(Box<dyn Job>),
    /// Another thread makes the reply.
    Await(Arc<Pending>),
    /// It closes after its replies are sent.
    Close,
    /// It closes now.
    Drop,
}

/// A connection and its client.
pub(super) struct Connection {
    reactor: Rc<Reactor>,
    reader: Reader,
    sink: Rc<Sink>,
    client: Client,
    parser: RequestParser,
    /// The bytes of a request that has not arrived whole, or that waits for a pause to end.
    pending: Vec<u8>,
    /// Requests that could run but were held back by a pause, a sleep, or a wait.
    held: Option<Box<Held>>,
    /// Whether `pending` has bytes that nobody has looked at.
    unread: bool,
}

/// Parsed requests that wait, with the bytes they are in.
struct Held {
    data: Vec<u8>,
    batch: Batch,
    /// How many of the batch are done.
    from: usize,
    /// Whether what follows the batch can be understood.
    parsed: Result<(), ProtocolError>,
}

/// How far the requests of some bytes came.
struct Processed {
    turn: Option<Turn>,
    /// From where on the bytes are still needed, and up to where.
    keep_from: usize,
    keep_to: usize,
    /// What is to be gone on with; its data is the caller's.
    held: Option<Box<Held>>,
}

impl Connection {
    pub(super) fn new(reactor: Rc<Reactor>, stream: Stream, handle: Arc<ClientHandle>) -> Self {
        let (reader, writer) = stream.split();
        let sink = Rc::new(Sink::new(writer, Arc::clone(&handle)));
        reactor.add_sink(&sink);
        Self {
            sink,
            reactor,
            reader,
            client: Client::new(handle),
            parser: RequestParser::default(),
            pending: Vec::new(),
            held: None,
            unread: false,
        }
    }

    /// Authenticates the client as the first of `users` that there is, if any: those that its
    /// certificate names.
    pub(super) fn authenticate_as(&mut self, users: &[String]) {
        let server = Arc::clone(self.reactor.server());
        if let Some(name) = server.log_in_as_any(&mut self.client, users) {
            tracing::debug!("TLS: client {} is the user '{name}'", self.client.handle.id);
        }
    }

    /// Serves the connection until it ends.
    pub(super) async fn run(mut self) {
        loop {
            // What was held back is run before anything new is read.
            let turn = match self.go_on() {
                Some(turn) => turn,
                None => std::future::poll_fn(|cx| self.turn(cx)).await,
            };
            let end = match turn {
                Turn::Yield => {
                    tokio::task::yield_now().await;
                    None
                }
                Turn::Paused => {
                    let server = Arc::clone(self.reactor.server());
                    server.blocked.begin();
                    let end = Box::pin(self.wait(server.pause.over(|| server.now_ms()))).await;
                    server.blocked.finish();
                    end
                }
                Turn::NoRoomYet => Box::pin(self.wait_for_room()).await,
                Turn::Pressed => Box::pin(self.wait_for_snapshot()).await,
                Turn::Sleep(time) => Box::pin(self.sleep(time)).await,
                Turn::Blocked(waiter) => Box::pin(self.wait_for(&waiter)).await,
                Turn::Work(mut job) => {
                    self.sink.unfinished.set(true);
                    let end = Box::pin(self.carry_out(&mut *job)).await;
                    if end.is_some() {
                        let mut executor = self.reactor.executor.borrow_mut();
                        executor.abandon(&mut *job, &mut self.client);
                    }
                    self.sink.unfinished.set(false);
                    end
                }
                Turn::Await(pending) => Box::pin(self.wait_for_reply(&pending)).await,
                end => Some(end),
            };
            match end {
                Some(Turn::Close) => {
                    Box::pin(self.drain()).await;
                    break;
                }
                Some(_) => break,
                None => {}
            }
        }
        if self.sink.trouble.get().is_none() && self.sink.pending() > 0 {
            // What commands have done is told even to a client that somebody wants gone: a popped
            // element would be lost with the reply.
            self.sink.flush(&self.reactor);
        }
        // Or the event loop would keep a blocked socket open.
        self.sink.trouble.set(Some(Flushed::Broken));
        self.sink.writer().close();
        self.reactor.forget_blocked(&self.sink);
        self.sink.abandon();
        let server = Arc::clone(self.reactor.server());
        {
            let mut executor = self.reactor.executor.borrow_mut();
            executor.forget_watched(&mut self.client, server.now_ms());
            executor.end_tracking(&mut self.client, server.now_ms());
        }
        self.client.unsubscribe_all(&server.pubsub);
        self.reactor.remove_sink(self.client.handle.id);
        server.end_monitoring(&mut self.client);
        self.client.handle.kill();
        server.clients.remove(self.client.handle.id);
        server.forget_client_memory(&self.client.handle);
    }

    /// Waits for `end` while output goes on; something if the connection ends first, or its client closes it.
    async fn wait(&mut self, end: impl Future<Output = ()>) -> Option<Turn> {
        self.wait_unless(Reader::poll_closed, end).await
    }

    /// As [`Self::wait`], but for what others wait for too who are not looked at: what the client has sent
    /// is carried out also if it has closed since, as all is that is read before that is seen.
    async fn wait_it_out(&mut self, end: impl Future<Output = ()>) -> Option<Turn> {
        self.wait_unless(|_, _| false, end).await
    }

    async fn wait_unless(
        &mut self,
        gone: impl Fn(&mut Reader, &mut Context<'_>) -> bool,
        end: impl Future<Output = ()>,
    ) -> Option<Turn> {
        let mut end = std::pin::pin!(end);
        std::future::poll_fn(|cx| {
            self.client.handle.register(cx.waker());
            if self.client.handle.is_killed() || gone(&mut self.reader, cx) {
                return Poll::Ready(Some(Turn::Drop));
            }
            if let Some(turn) = self.unblock_output(cx).or_else(|| self.take_mail(|| true)) {
                return Poll::Ready(Some(turn));
            }
            end.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// Waits until memory was freed.
    async fn wait_for_room(&mut self) -> Option<Turn> {
        let server = Arc::clone(self.reactor.server());
        let begun = server.latency.begin();
        let freed = tokio::time::timeout(ROOM_RETRY, server.lazyfree.freed_some());
        let end = self.wait_it_out(async { drop(freed.await) }).await;
        server.latency.end(event::EVICTION_LAZYFREE, begun);
        end
    }

    /// Waits until the writer of a snapshot has caught up with what commands wrote out ahead of it, which
    /// bounds the memory for that, but not for ever: the disk may stall.
    async fn wait_for_snapshot(&mut self) -> Option<Turn> {
        let server = Arc::clone(self.reactor.server());
        let left = self
            .client
            .held_up_since
            .map_or(PRESSED_MAX, |since| PRESSED_MAX.saturating_sub(since.elapsed()));
        let eased = tokio::time::timeout(left, server.keyspace.eased());
        self.wait_it_out(async { drop(eased.await) }).await
    }

    /// Sleeps, and with the client its replies.
    async fn sleep(&mut self, time: Duration) -> Option<Turn> {
        self.sink.asleep.set(true);
        let end = self.wait_it_out(tokio::time::sleep(time)).await;
        self.sink.asleep.set(false);
        self.queue_output();
        end
    }

    /// Waits for the reply that another thread makes.
    async fn wait_for_reply(&mut self, pending: &Pending) -> Option<Turn> {
        // What is asked meanwhile is answered behind it.
        self.sink.unfinished.set(true);
        let end = self.wait_it_out(pending.ready()).await;
        self.sink.unfinished.set(false);
        if end.is_none() {
            let mut executor = self.reactor.executor.borrow_mut();
            let mut out = self.sink.output(&self.reactor);
            executor.end_background(pending, &mut self.client, &mut out);
        }
        self.queue_output();
        end
    }

    /// Carries a request out in steps, no faster than its client reads the reply.
    async fn carry_out(&mut self, job: &mut dyn Job) -> Option<Turn> {
        loop {
            if let Some(event) = job.awaits()
                && let Some(turn) = self.wait(event.notified()).await
            {
                return Some(turn);
            }
            let done = self.reactor.executor.borrow_mut().work(
                job,
                &mut self.client,
                &mut self.sink.out.borrow_mut(),
            );
            self.queue_output();
            let limit = self.check_output_limit(|| self.active_at_ms());
            if let Some(turn) = limit.or_else(|| self.check_memory()) {
                return Some(turn);
            }
            if done {
                return None;
            }
            // The flusher runs behind this task, so after this it has had its turn.
            tokio::task::yield_now().await;
            let blocked = std::future::poll_fn(|cx| {
                self.client.handle.register(cx.waker());
                if self.client.handle.is_killed() {
                    return Poll::Ready(Some(Turn::Drop));
                }
                match self.unblock_output(cx) {
                    None if self.sink.trouble.get().is_some() => Poll::Pending,
                    turn => Poll::Ready(turn),
                }
            });
            if let Some(turn) = blocked.await {
                return Some(turn);
            }
        }
    }

    /// Waits until a command serves the client or the wait ends otherwise; something if the
    /// connection ends with it.
    async fn wait_for(&mut self, waiter: &Arc<Waiter>) -> Option<Turn> {
        let server = Arc::clone(self.reactor.server());
        let left_ms = waiter.wait.until_ms.map(|at_ms| (at_ms - server.now_ms()).max(0) as u64);
        let mut timeout =
            std::pin::pin!(left_ms.map(|ms| tokio::time::sleep(Duration::from_millis(ms))));
        let retry = waiter.wait.retry;
        let mut retry_in = std::pin::pin!(retry.map(|retry| {
            let left_ms = (retry.first_at_ms - server.now_ms()).max(0) as u64;
            tokio::time::sleep(Duration::from_millis(left_ms))
        }));
        let mut ended = None;
        let end = std::future::poll_fn(|cx| {
            self.client.handle.register(cx.waker());
            if ended.is_none() {
                ended = self.connection_end(cx, waiter);
            }
            if ended.is_some() {
                waiter.give_up();
            } else if let Some(timeout) = timeout.as_mut().as_pin_mut()
                && timeout.poll(cx).is_ready()
            {
                waiter.time_out();
            }
            while let (Some(retry), Some(mut timer)) = (retry, retry_in.as_mut().as_pin_mut())
                && waiter.is_waiting()
                && timer.as_mut().poll(cx).is_ready()
            {
                self.reactor.executor.borrow_mut().retry_wait(waiter, &mut self.client);
                let every = Duration::from_millis(retry.every_ms);
                timer.reset(tokio::time::Instant::now() + every);
            }
            waiter.end().map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        self.reactor.executor.borrow_mut().end_wait(
            waiter,
            end,
            &mut self.client,
            &mut self.sink.out.borrow_mut(),
        );
        self.queue_output();
        ended
    }

    /// Why the connection ends while its client waits, if it does.
    fn connection_end(&mut self, cx: &mut Context<'_>, waiter: &Waiter) -> Option<Turn> {
        if self.client.handle.is_killed() || self.read_ahead(cx) {
            return Some(Turn::Drop);
        }
        // What was posted by whoever served the client comes after its reply.
        self.unblock_output(cx).or_else(|| self.take_mail(|| waiter.is_waiting()))
    }

    /// Reads what arrives while the client waits; `true` when the other side has closed.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> bool {
        if self.parser.big_arg_room().is_some() {
            return self.reader.poll_closed(cx);
        }
        let (reactor, mut total) = (Rc::clone(&self.reactor), 0);
        let mut buffer = reactor.read_buffer.borrow_mut();
        while let Poll::Ready(read) = self.reader.poll_read(cx, &mut buffer) {
            let Ok(count @ 1..) = read else { return true };
            self.note_input(count);
            total += count;
            match &mut self.held {
                Some(held) => held.data.extend_from_slice(&buffer[..count]),
                None => {
                    self.pending.extend_from_slice(&buffer[..count]);
                    self.unread = true;
                }
            }
            self.note_query();
            if self.check_query_limit().or_else(|| self.check_memory()).is_some() {
                return true;
            }
            if total >= READ_LEN {
                cx.waker().wake_by_ref();
                break;
            }
        }
        false
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        self.client.handle.register(cx.waker());
        if self.client.handle.is_killed() {
            return Poll::Ready(Turn::Drop);
        }
        self.catch_up();
        if let Some(turn) = self.unblock_output(cx).or_else(|| self.take_mail(|| true)) {
            return Poll::Ready(turn);
        }
        let mut total = 0;
        loop {
            let Poll::Ready(read) = self.read(cx) else { return Poll::Pending };
            match read {
                Err(_) | Ok((0, _)) => return Poll::Ready(Turn::Drop),
                Ok((count, Some(turn))) => {
                    self.note_input(count);
                    return Poll::Ready(turn);
                }
                Ok((count, None)) => {
                    self.note_input(count);
                    total += count;
                    let inside = self.parser.big_arg_room().is_some();
                    if total >= if inside { BIG_READ_LEN } else { READ_LEN } {
                        return Poll::Ready(Turn::Yield);
                    }
                }
            }
        }
    }

    /// Goes on with output that the socket refused earlier.
    fn unblock_output(&mut self, cx: &mut Context<'_>) -> Option<Turn> {
        while let Some(trouble) = self.sink.trouble.get() {
            if trouble == Flushed::Broken {
                return Some(Turn::Drop);
            }
            match self.sink.writer().poll_ready(cx) {
                Poll::Pending => return None,
                Poll::Ready(Err(_)) => return Some(Turn::Drop),
                Poll::Ready(Ok(())) => drop(self.sink.flush(&self.reactor)),
            }
        }
        None
    }

    /// Takes what others sent the client, unless its socket is behind: mail that waits is shared with
    /// other mailboxes, output is not. Only if `holds`; see [`Mailbox::take_into_if`].
    ///
    /// [`Mailbox::take_into_if`]: crate::pubsub::Mailbox::take_into_if
    fn take_mail(&mut self, holds: impl FnOnce() -> bool) -> Option<Turn> {
        let mailbox = &self.client.handle.mailbox;
        if !mailbox.has_mail() {
            return None;
        }
        if self.sink.trouble.get().is_none() {
            mailbox.take_into_if(&mut self.sink.output(&self.reactor), holds);
            self.queue_output();
        }
        self.check_output_limit(|| self.reactor.server().now_ms()).or_else(|| self.check_memory())
    }

    /// Reads once and runs what has arrived.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<(usize, Option<Turn>)>> {
        if let Some((big, room)) = self.parser.big_arg_room()
            && room > 0
        {
            return self.reader.poll_read_into(cx, big, room).map_ok(|count| {
                self.note_query();
                let turn = self.check_query_limit().or_else(|| self.check_memory());
                (count, turn)
            });
        }
        let reactor = Rc::clone(&self.reactor);
        let mut buffer = reactor.read_buffer.borrow_mut();
        match self.reader.poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(count)) => {
                let turn = if self.pending.is_empty() {
                    let done = self.process(&buffer[..count], None);
                    self.keep(buffer[done.keep_from..done.keep_to].to_vec(), done)
                } else {
                    self.pending.extend_from_slice(&buffer[..count]);
                    self.run_pending()
                };
                Poll::Ready(Ok((count, turn)))
            }
        }
    }

    /// Takes over what others answered the client while this event loop could not run.
    fn catch_up(&mut self) {
        if self.client.handle.meanwhile.load(Ordering::Relaxed) != 0 && self.client.catch_up() {
            let now_ms = self.reactor.server().now_ms();
            self.reactor.executor.borrow_mut().forget_watched(&mut self.client, now_ms);
        }
    }

    /// Goes on with requests that were held back, or that came while the client waited.
    fn go_on(&mut self) -> Option<Turn> {
        match self.held.take() {
            Some(held) => self.resume(held),
            None if std::mem::take(&mut self.unread) => self.run_pending(),
            None => None,
        }
    }

    fn run_pending(&mut self) -> Option<Turn> {
        let data = std::mem::take(&mut self.pending);
        let done = self.process(&data, None);
        self.keep_own(data, done)
    }

    /// Goes on with requests that were held back.
    fn resume(&mut self, mut held: Box<Held>) -> Option<Turn> {
        let data = std::mem::take(&mut held.data);
        let done = self.process(&data, Some(held));
        self.keep_own(data, done)
    }

    fn keep_own(&mut self, mut data: Vec<u8>, done: Processed) -> Option<Turn> {
        // A request that grows with every read stays where it is: copying it each time would take
        // time in the square of its length.
        data.truncate(done.keep_to);
        if done.keep_from > 0 && done.held.is_none() {
            data = data[done.keep_from..].to_vec();
        }
        self.keep(data, done)
    }

    /// Keeps what is incomplete or held back, and sees to the output and the limits.
    fn keep(&mut self, rest: Vec<u8>, done: Processed) -> Option<Turn> {
        match done.held {
            Some(held) => self.held = Some(Box::new(Held { data: rest, ..*held })),
            None => self.pending = rest,
        }
        self.note_query();
        match done.turn {
            // Its reply comes when it is over, with those before it that wait to be written.
            Some(Turn::Sleep(_)) => {
                self.sink.asleep.set(true);
                self.reactor.end_silent_cycle();
            }
            _ => self.queue_output(),
        }
        done.turn
            .or_else(|| self.check_query_limit())
            .or_else(|| self.check_output_limit(|| self.active_at_ms()))
            .or_else(|| self.check_memory())
    }

    /// Runs the requests of `data`, which continues what was pending; `resumed` is a batch of it
    /// that was parsed earlier.
    fn process(&mut self, data: &[u8], resumed: Option<Box<Held>>) -> Processed {
        let reactor = Rc::clone(&self.reactor);
        self.catch_up();
        // More may have been read since the resumed batch was parsed.
        let mut grown = resumed.is_some();
        let (mut batch, mut from, mut parsed) = match resumed {
            Some(held) => (held.batch, held.from, held.parsed),
            None => {
                let mut batch = std::mem::take(&mut *reactor.batch.borrow_mut());
                let parsed = self.fill(&mut batch, data);
                (batch, 0, parsed)
            }
        };
        let (mut keep_from, mut turn) = (0, None);
        loop {
            if batch.len() > from {
                let (ran, stopped) = self.run_batch(data, &batch, from);
                let done = ran == batch.len() && !batch.is_full() && !grown && parsed.is_ok();
                let holds = match stopped {
                    Some(Turn::Blocked(_) | Turn::Work(_) | Turn::Await(_)) => !done,
                    Some(Turn::Paused | Turn::NoRoomYet | Turn::Pressed | Turn::Sleep(_)) => true,
                    _ => false,
                };
                if holds {
                    let held = Held { data: Vec::new(), batch, from: ran, parsed };
                    let (keep_to, held) = (data.len(), Some(Box::new(held)));
                    return Processed { turn: stopped, keep_from: 0, keep_to, held };
                }
                turn = stopped;
            }
            keep_from = batch.end_of(batch.len()).unwrap_or(keep_from);
            if turn.is_none()
                && let Err(error) = parsed
            {
                turn = Some(self.refuse(error));
            }
            if turn.is_some() || !(batch.is_full() || std::mem::take(&mut grown)) {
                break;
            }
            (from, parsed) = (0, self.fill(&mut batch, data));
        }
        if !matches!(turn, None | Some(Turn::Blocked(_) | Turn::Work(_) | Turn::Await(_))) {
            self.parser.restart(keep_from);
        }
        if !self.parser.is_inside() {
            keep_from = self.parser.position();
        }
        let (needed_from, keep_to) = self.parser.let_go().unwrap_or((0, data.len()));
        keep_from = keep_from.max(needed_from);
        self.parser.discard_front(keep_from);
        batch.clear();
        *reactor.batch.borrow_mut() = batch;
        Processed { turn, keep_from, keep_to, held: None }
    }

    fn fill(&mut self, batch: &mut Batch, data: &[u8]) -> Result<(), ProtocolError> {
        let limits = ParseLimits {
            bulk_max: self.reactor.server().settings.bulk_max(),
            unauthenticated: self.client.flags.has(ClientFlags::UNAUTHENTICATED),
        };
        batch.fill(&mut self.parser, data, limits)
    }

    /// Runs the requests of `batch` from number `from` on; returns how many are done and why it
    /// stopped.
    fn run_batch(&mut self, data: &[u8], batch: &Batch, from: usize) -> (usize, Option<Turn>) {
        let mut out = self.sink.output(&self.reactor);
        let mut executor = self.reactor.executor.borrow_mut();
        let progress = executor.run(data, batch, from, &mut self.client, &mut out);
        let turn = progress.stop.map(|stop| match stop {
            Stop::Close => Turn::Close,
            Stop::Paused => Turn::Paused,
            Stop::NoRoomYet => Turn::NoRoomYet,
            Stop::Pressed => Turn::Pressed,
            Stop::Sleep(ms) => Turn::Sleep(Duration::from_millis(ms)),
            Stop::Blocked(waiter) => Turn::Blocked(waiter),
            Stop::Work(job) => Turn::Work(job),
            Stop::Await(pending) => Turn::Await(pending),
        });
        (progress.ran, turn)
    }

    /// Answers a protocol error; the connection closes, because what follows cannot be understood.
    fn refuse(&mut self, error: ProtocolError) -> Turn {
        tracing::debug!(
            "Protocol error ({error}) from client: addr={}",
            self.client.handle.peer.addr()
        );
        let text = format!("ERR Protocol error: {error}");
        if !self.client.flags.has(ClientFlags::REPLY_OFF) {
            self.sink.out.borrow_mut().error(&text);
        }
        self.reactor.counters().errors.add(1);
        self.reactor.server().stats.count_error("ERR");
        self.client.set_flags(ClientFlags::CLOSING, true);
        Turn::Close
    }

    fn queue_output(&self) {
        let pending = self.sink.pending();
        if pending > 0 {
            self.sink.note_len(pending);
            match self.sink.trouble.get() {
                None => return self.reactor.queue(&self.sink),
                Some(trouble) => {
                    self.sink.note_backlog(&self.sink.out.borrow(), trouble == Flushed::Blocked);
                }
            }
        }
        self.reactor.end_silent_cycle();
    }

    /// Lets others see what input waits.
    fn note_query(&self) {
        let held = self.held.as_ref().map_or(0, |held| held.data.capacity() - held.data.len());
        let room = self.pending.capacity() - self.pending.len() + held + self.parser.held_room();
        self.client.handle.query_len.store(self.query_len(), Ordering::Relaxed);
        self.client.handle.query_room.store(room, Ordering::Relaxed);
    }

    fn query_len(&self) -> usize {
        let held = self.held.as_ref().map_or(0, |held| held.data.len());
        self.pending.len() + held + self.parser.held_len()
    }

    fn check_query_limit(&self) -> Option<Turn> {
        let (len, server) = (self.query_len(), self.reactor.server());
        let max = server.settings.query_max.load(Ordering::Relaxed);
        let unauthenticated = self.client.flags.has(ClientFlags::UNAUTHENTICATED);
        if len <= max && !(unauthenticated && len > UNAUTHENTICATED_QUERY_MAX) {
            return None;
        }
        tracing::warn!(
            "Closing client that reached max query buffer length: id={} addr={}",
            self.client.handle.id,
            self.client.handle.peer.addr()
        );
        server.stats.query_limit_disconnections.fetch_add(1, Ordering::Relaxed);
        Some(Turn::Drop)
    }

    /// When the client's last request ran, in Unix milliseconds.
    fn active_at_ms(&self) -> i64 {
        self.client.handle.active_at_ms.load(Ordering::Relaxed)
    }

    fn check_output_limit(&self, now_ms: impl FnOnce() -> i64) -> Option<Turn> {
        let server = self.reactor.server();
        let over = self.sink.pending() > 0 && self.sink.is_over_limit(server, now_ms);
        if over {
            self.sink.abandon();
        }
        over.then_some(Turn::Drop)
    }

    /// Notes what the client takes, which may be too much.
    fn check_memory(&self) -> Option<Turn> {
        let passing = if self.sink.trouble.get().is_none() { self.sink.pending() } else { 0 };
        let closed = self.reactor.server().account_client(&self.client.handle, passing);
        if closed {
            self.sink.abandon();
        }
        closed.then_some(Turn::Drop)
    }

    fn note_input(&self, count: usize) {
        self.reactor.counters().net_input.add(count as u64);
        self.reactor.counters().reads.add(1);
        let handle = &self.client.handle;
        if self.parser.is_inside() {
            // A long request keeps its client from looking idle.
            handle.active_at_ms.store(self.reactor.server().now_ms(), Ordering::Relaxed);
        }
        let total = handle.net_input.load(Ordering::Relaxed) + count as u64;
        handle.net_input.store(total, Ordering::Relaxed);
    }

    /// Waits until all output is written, as long as the client goes on reading it.
    async fn drain(&mut self) {
        while tokio::time::timeout(LINGER, self.drain_some()).await == Ok(Flushed::Blocked) {}
    }

    /// Completes when some of the output, or all of it, is written.
    async fn drain_some(&mut self) -> Flushed {
        let before = self.sink.pending();
        std::future::poll_fn(|cx| {
            self.client.handle.register(cx.waker());
            loop {
                if self.client.handle.is_killed() {
                    return Poll::Ready(Flushed::Broken);
                }
                match self.sink.flush(&self.reactor) {
                    Flushed::Blocked if self.sink.pending() == before => {}
                    flushed => return Poll::Ready(flushed),
                }
                match self.sink.writer().poll_ready(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Flushed::Broken),
                }
            }
        })
        .await
    }
}
