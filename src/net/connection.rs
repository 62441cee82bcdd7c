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
use crate::base::limits::{READ_LEN, UNAUTHENTICATED_QUERY_MAX};
use crate::exec::Stop;
use crate::resp::{ParseLimits, ProtocolError, RequestParser};
use crate::server::{Client, ClientFlags, ClientHandle, ShutdownMode};

/// How long a closing connection may take to receive its last replies.
const LINGER: Duration = Duration::from_secs(5);

/// Why a connection's turn ended.
enum Turn {
    /// It has used its share of the tick and has more to do.
    Yield,
    /// Clients are paused.
    Paused,
    /// It sleeps (DEBUG SLEEP).
    Sleep(Duration),
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
    /// Whether `pending` holds requests that could run but were held back.
    held: bool,
}

impl Connection {
    pub(super) fn new(reactor: Rc<Reactor>, stream: Stream, handle: Arc<ClientHandle>) -> Self {
        let (reader, writer) = stream.split();
        Self {
            sink: Rc::new(Sink::new(writer, Arc::clone(&handle))),
            reactor,
            reader,
            client: Client::new(handle),
            parser: RequestParser::default(),
            pending: Vec::new(),
            held: false,
        }
    }

    /// Serves the connection until it ends.
    pub(super) async fn run(mut self) {
        loop {
            // What a pause or a sleep held back is run before anything new is read.
            let held = std::mem::take(&mut self.held);
            let turn = match held.then(|| self.run_pending()).flatten() {
                Some(turn) => turn,
                None => std::future::poll_fn(|cx| self.turn(cx)).await,
            };
            match turn {
                Turn::Yield => tokio::task::yield_now().await,
                Turn::Paused => self.wait_for_unpause().await,
                Turn::Sleep(time) => tokio::time::sleep(time).await,
                Turn::Close => {
                    let _ = tokio::time::timeout(LINGER, self.drain()).await;
                    break;
                }
                Turn::Drop => break,
            }
        }
        self.reactor.server().clients.remove(self.client.handle.id);
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        self.client.handle.register(cx.waker());
        if self.client.handle.is_killed() {
            return Poll::Ready(Turn::Drop);
        }
        if let Some(turn) = self.unblock_output(cx) {
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
                    if total >= READ_LEN {
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

    /// Reads once and runs what has arrived.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<(usize, Option<Turn>)>> {
        if let Some((big, room)) = self.parser.big_arg_room()
            && room > 0
        {
            return self.reader.poll_read_into(cx, big, room).map_ok(|count| {
                let turn = self.check_query_limit();
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
                    let (turn, keep_from) = self.process(&buffer[..count]);
                    self.keep(buffer[keep_from..count].to_vec(), turn)
                } else {
                    self.pending.extend_from_slice(&buffer[..count]);
                    self.run_pending()
                };
                Poll::Ready(Ok((count, turn)))
            }
        }
    }

    fn run_pending(&mut self) -> Option<Turn> {
        let mut data = std::mem::take(&mut self.pending);
        let (turn, keep_from) = self.process(&data);
        // A request that grows with every read stays where it is: copying it each time would take
        // time in the square of its length.
        if keep_from > 0 {
            data = data[keep_from..].to_vec();
        }
        self.keep(data, turn)
    }

    /// Keeps what is incomplete, and sees to the output and the limits.
    fn keep(&mut self, rest: Vec<u8>, turn: Option<Turn>) -> Option<Turn> {
        self.pending = rest;
        self.client.handle.query_len.store(self.query_len(), Ordering::Relaxed);
        self.queue_output();
        turn.or_else(|| self.check_query_limit()).or_else(|| self.check_output_limit())
    }

    /// Runs the requests of `data`, which continues what was pending, and says from where on it is
    /// still needed.
    fn process(&mut self, data: &[u8]) -> (Option<Turn>, usize) {
        let reactor = Rc::clone(&self.reactor);
        let mut batch = reactor.batch.borrow_mut();
        let mut keep_from = 0;
        let turn = loop {
            let limits = ParseLimits {
                bulk_max: reactor.server().settings.bulk_max(),
                unauthenticated: self.client.flags.has(ClientFlags::UNAUTHENTICATED),
            };
            let filled = batch.fill(&mut self.parser, data, limits);
            let stop =
                if batch.is_empty() { None } else { self.run_batch(data, &batch, &mut keep_from) };
            if let Some(turn) = stop {
                self.parser.restart(keep_from);
                self.held = matches!(turn, Turn::Paused | Turn::Sleep(_));
                break Some(turn);
            }
            if let Err(error) = filled {
                break Some(self.refuse(error));
            }
            if !batch.is_full() {
                break None;
            }
        };
        if !self.parser.is_inside() && turn.is_none() {
            keep_from = self.parser.position();
        }
        self.parser.discard_front(keep_from);
        (turn, keep_from)
    }

    fn run_batch(
        &mut self,
        data: &[u8],
        batch: &crate::exec::Batch,
        keep_from: &mut usize,
    ) -> Option<Turn> {
        let mut out = self.sink.out.borrow_mut();
        if out.is_empty() {
            let protocol = out.protocol();
            *out = crate::resp::ReplyBuf::with_room(self.reactor.room(), protocol);
        }
        let mut executor = self.reactor.executor.borrow_mut();
        let progress = executor.run(data, batch, &mut self.client, &mut out);
        *keep_from = batch.end_of(progress.ran).unwrap_or(*keep_from);
        match progress.stop? {
            Stop::Close => Some(Turn::Close),
            Stop::Paused => Some(Turn::Paused),
            Stop::Sleep(ms) => Some(Turn::Sleep(Duration::from_millis(ms))),
            Stop::Shutdown(_) => {
                self.reactor.server().shutdown.request(ShutdownMode::Graceful);
                Some(Turn::Close)
            }
        }
    }

    /// Answers a protocol error; the connection closes, because what follows cannot be understood.
    fn refuse(&mut self, error: ProtocolError) -> Turn {
        tracing::debug!(
            "Protocol error ({error}) from client: addr={}",
            self.client.handle.peer.addr()
        );
        let text = format!("ERR Protocol error: {error}");
        self.sink.out.borrow_mut().error(&text);
        self.reactor.counters().errors.add(1);
        self.reactor.server().stats.count_error("ERR");
        self.client.set_flags(ClientFlags::CLOSING, true);
        Turn::Close
    }

    fn queue_output(&self) {
        let pending = self.sink.pending();
        if pending > 0 {
            self.client.handle.output_len.store(pending, Ordering::Relaxed);
            if self.sink.trouble.get().is_none() {
                self.reactor.queue(&self.sink);
            }
        }
    }

    fn query_len(&self) -> usize {
        self.pending.len() + self.parser.held_len()
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

    fn check_output_limit(&self) -> Option<Turn> {
        let server = self.reactor.server();
        let now_ms = self.client.handle.active_at_ms.load(Ordering::Relaxed);
        if self.sink.pending() == 0 || !self.sink.exceeds(server.settings.output(), now_ms) {
            return None;
        }
        tracing::warn!(
            "Client id={} addr={} scheduled to be closed ASAP for overcoming of output buffer \
             limits.",
            self.client.handle.id,
            self.client.handle.peer.addr()
        );
        server.stats.output_limit_disconnections.fetch_add(1, Ordering::Relaxed);
        Some(Turn::Drop)
    }

    fn note_input(&self, count: usize) {
        self.reactor.counters().net_input.add(count as u64);
        let handle = &self.client.handle;
        let total = handle.net_input.load(Ordering::Relaxed) + count as u64;
        handle.net_input.store(total, Ordering::Relaxed);
    }

    /// Waits until all output is written.
    async fn drain(&mut self) {
        std::future::poll_fn(|cx| {
            while self.sink.flush(&self.reactor) == Flushed::Blocked {
                match self.sink.writer().poll_ready(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => break,
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    async fn wait_for_unpause(&self) {
        let server = self.reactor.server();
        let left_ms = server.pause.until_ms() - server.now_ms();
        let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0) + 1);
        // CLIENT KILL wakes only the turn; a killed client is closed when the pause ends.
        let _ = tokio::time::timeout(left, server.pause.ended()).await;
    }
}
