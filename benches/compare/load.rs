//! The load: one thread, many connections, one batch outstanding on each; beside them, for messages,
//! connections that only listen.
//!
//! The client is kept cheap, so that the server is the limit: batches are written from the prepared
//! buffer, replies are counted and not kept, a reply's bytes are looked at only by vectorized
//! scans. Sockets are non-blocking and watched by epoll, edge-triggered: a read that does not fill
//! the buffer has emptied the socket, and what arrives later is another event.

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::requests::{Batches, encode};
use crate::servers::Server;
use crate::workloads::CHANNEL;

/// Bytes taken from a socket at once.
const READ_LEN: usize = 256 << 10;
/// Events taken from epoll at once.
const EVENTS_MAX: usize = 256;
/// The longest wait for an event, which is how late the end of a span may be noticed.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// How long the last batches may take to be answered.
const DRAIN: Duration = Duration::from_secs(10);

/// How load is applied.
pub(crate) struct Plan {
    pub(crate) connections: usize,
    /// Load before the span, not counted.
    pub(crate) warmup: Duration,
    /// The measured time.
    pub(crate) span: Duration,
}

/// What one server reached in one span.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) requests_per_s: f64,
    /// Server CPU time per request, microseconds.
    pub(crate) cpu_us: f64,
    /// Median time of a batch, microseconds.
    pub(crate) p50_us: f64,
    /// 99th percentile of a batch's time, microseconds.
    pub(crate) p99_us: f64,
}

/// Loads the server for a warm-up and a measured span, then waits for the last replies.
pub(crate) fn run(server: &Server, batches: &Batches, plan: &Plan) -> Result<Sample> {
    let mut client = Client::connect(server, batches, plan.connections)?;
    client.run_for(plan.warmup)?;
    client.latency.reset();
    client.batches_done = 0;
    let (cpu_start, start) = (server.cpu()?, Instant::now());
    client.run_for(plan.span)?;
    let (cpu, elapsed) = (server.cpu()?.saturating_sub(cpu_start), start.elapsed());
    let requests = (client.batches_done * batches.pipeline) as f64;
    let quantile_us = |q| client.latency.value_at_quantile(q) as f64 / 1e3;
    let sample = Sample {
        requests_per_s: requests / elapsed.as_secs_f64(),
        cpu_us: cpu.as_secs_f64() * 1e6 / requests,
        p50_us: quantile_us(0.5),
        p99_us: quantile_us(0.99),
    };
    ensure!(requests > 0.0, "no batch was answered in {elapsed:?}");
    client.drain()?;
    Ok(sample)
}

/// A connection that listens to the channel.
struct Subscriber {
    stream: TcpStream,
    /// Bytes of messages.
    received: usize,
}

struct Connection<'a> {
    stream: TcpStream,
    /// What is left to write of the outstanding batch.
    unsent: &'a [u8],
    /// Replies still owed for the outstanding batch, as `Reply::count` counts; 0 when none is.
    owed: usize,
    started_at: Instant,
}

struct Client<'a> {
    epoll: OwnedFd,
    /// Indexed by the data of their epoll events.
    connections: Vec<Connection<'a>>,
    /// Indexed alike, behind the connections.
    subscribers: Vec<Subscriber>,
    batches: &'a Batches,
    /// Batches handed out; the next one's index.
    batches_started: usize,
    batches_done: usize,
    /// Nanoseconds from a batch's first byte sent to its last byte received.
    latency: Histogram<u64>,
    /// Set for the end: no batch follows those outstanding.
    draining: bool,
    received: Vec<u8>,
}

impl<'a> Client<'a> {
    /// Opens the connections; each sends its first batch when epoll first finds it writable.
    fn connect(server: &Server, batches: &'a Batches, connections: usize) -> Result<Self> {
        let mut client = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::with_capacity(connections),
            subscribers: Vec::new(),
            batches,
            batches_started: 0,
            batches_done: 0,
            latency: Histogram::new_with_bounds(1, 60_000_000_000, 3)
                .context("making the histogram")?,
            draining: false,
            received: vec![0; READ_LEN],
        };
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        for index in 0..connections {
            let stream = server.connect()?;
            stream.set_nonblocking(true)?;
            epoll::add(&client.epoll, &stream, epoll::EventData::new_u64(index as u64), flags)?;
            let started_at = Instant::now();
            client.connections.push(Connection { stream, unsent: &[], owed: 0, started_at });
        }
        for index in connections..connections + batches.subscribers {
            let subscriber = Subscriber::connect(server)?;
            let (stream, data) = (&subscriber.stream, epoll::EventData::new_u64(index as u64));
            epoll::add(&client.epoll, stream, data, flags)?;
            client.subscribers.push(subscriber);
        }
        Ok(client)
    }

    fn run_for(&mut self, span: Duration) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < span {
            self.turn()?;
        }
        Ok(())
    }

    /// Lets the outstanding batches be answered and the messages arrive, so that nothing runs on
    /// into another server's turn.
    fn drain(&mut self) -> Result<()> {
        self.draining = true;
        let start = Instant::now();
        while self.connections.iter().any(|connection| connection.owed > 0) {
            ensure!(start.elapsed() < DRAIN, "replies are missing after {DRAIN:?}");
            self.turn()?;
        }
        let published = self.batches_started * self.batches.pipeline * self.batches.message_len;
        while self.subscribers.iter().any(|subscriber| subscriber.received < published) {
            ensure!(start.elapsed() < DRAIN, "messages are missing after {DRAIN:?}");
            self.turn()?;
        }
        let exact = self.subscribers.iter().all(|subscriber| subscriber.received == published);
        ensure!(exact, "subscribers received more than was published");
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&WAIT)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for sockets"),
        }
        for event in &events {
            let index = event.data.u64() as usize;
            match index.checked_sub(self.connections.len()) {
                None => self.drive(index)?,
                Some(subscriber) => self.subscribers[subscriber].drain(&mut self.received)?,
            }
        }
        Ok(())
    }

    /// Does all that one connection can do without waiting.
    fn drive(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        if connection.owed == 0 {
            if self.draining {
                return Ok(());
            }
            connection.begin(self.batches, &mut self.batches_started, Instant::now());
        }
        connection.send()?;
        while let Some(len) = connection.receive(&mut self.received)? {
            let replies = self.batches.reply.count(&self.received[..len])?;
            connection.owed = connection
                .owed
                .checked_sub(replies)
                .context("the server sent more than it was asked for")?;
            if connection.owed == 0 {
                let now = Instant::now();
                let nanos = now.duration_since(connection.started_at).as_nanos() as u64;
                self.latency.saturating_record(nanos);
                self.batches_done += 1;
                if !self.draining {
                    connection.begin(self.batches, &mut self.batches_started, now);
                    connection.send()?;
                }
            }
            if len < self.received.len() {
                break;
            }
        }
        Ok(())
    }
}

impl<'a> Connection<'a> {
    fn begin(&mut self, batches: &'a Batches, started: &mut usize, now: Instant) {
        self.unsent = batches.batch(*started);
        self.owed = batches.owed();
        self.started_at = now;
        *started += 1;
    }

    /// Writes until the batch is sent or the socket is full.
    fn send(&mut self) -> Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(self.unsent) {
                Ok(len) => self.unsent = &self.unsent[len..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("sending"),
            }
        }
        Ok(())
    }

    fn receive(&mut self, into: &mut [u8]) -> Result<Option<usize>> {
        receive(&mut self.stream, into)
    }
}

impl Subscriber {
    /// Returns when the server has confirmed it.
    fn connect(server: &Server) -> Result<Self> {
        let mut stream = server.connect()?;
        stream.write_all(&encode(&[b"SUBSCRIBE".as_slice(), CHANNEL.as_bytes()]))?;
        let mut confirmed = encode(&[b"subscribe".as_slice(), CHANNEL.as_bytes()]);
        confirmed[1] = b'3';
        confirmed.extend_from_slice(b":1\r\n");
        let mut answer = vec![0; confirmed.len()];
        stream.read_exact(&mut answer).context("subscribing")?;
        ensure!(answer == confirmed, "SUBSCRIBE answered {:?}", String::from_utf8_lossy(&answer));
        stream.set_nonblocking(true)?;
        Ok(Self { stream, received: 0 })
    }

    /// Takes all that has come.
    fn drain(&mut self, into: &mut [u8]) -> Result<()> {
        while let Some(len) = receive(&mut self.stream, into)? {
            self.received += len;
            if len < into.len() {
                break;
            }
        }
        Ok(())
    }
}

/// Reads once; `None` when there is nothing to read.
fn receive(stream: &mut TcpStream, into: &mut [u8]) -> Result<Option<usize>> {
    loop {
        match stream.read(into) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(len) => return Ok(Some(len)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("receiving"),
        }
    }
}
