//! Couriers: threads that carry requests to other servers and bring the replies, for MIGRATE.
//!
//! Whoever sends something gets a [`Delivery`] and is told when it is there, so that no event loop
//! waits for a network. There are as many couriers as are busy at a time, within bounds; they go when
//! nothing was to be done for a while; as they hold nothing but sockets, the process may end without
//! waiting for them. Connections are kept as long, for the next who sends something
//! to the same place. What secures them is given from above, which knows of TLS.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

#[cfg(test)]
mod tests;

/// Most couriers; more parcels wait for one.
const COURIERS_MAX: usize = 16;
/// Most connections that are kept (Redis: MIGRATE_SOCKET_CACHE_ITEMS).
const KEPT_MAX: usize = 64;
/// How long a connection is kept, and an idle courier stays (Redis: MIGRATE_SOCKET_CACHE_TTL).
const KEPT_FOR: Duration = Duration::from_secs(10);
/// Longest reply: one line, in bytes.
const REPLY_LEN_MAX: u64 = 64 * 1024;
/// Least time that a parcel may wait for a courier.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// Bytes that are to be taken within the time limit (Redis does the same).
const PIECE_LEN: usize = 64 * 1024;

/// Requests for another server, each of which is answered by one line.
pub struct Parcel {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The request that authenticates, if one is wanted.
    pub auth: Option<Vec<u8>>,
    /// The number of the database.
    pub db: i64,
    /// Longest time until a connection is there, until 64 KiB are taken, and until a request is answered.
    pub timeout: Duration,
    /// The requests.
    pub requests: Vec<Request>,
}

/// A connection as requests and answers see it.
pub trait Wire: Read + Write + Send {
    /// Sets until when it may wait from now on, however often something comes.
    fn set_deadline(&mut self, at: Instant);
}

/// A socket that waits until a deadline.
pub struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Timed {
    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire for Timed {
    fn set_deadline(&mut self, at: Instant) {
        self.deadline = at;
    }
}

/// Secures a connection, within the time that it has.
pub type Secure = Arc<dyn Fn(Timed) -> io::Result<Box<dyn Wire>> + Send + Sync>;

/// A request in pieces, so that what is long is not copied.
pub struct Request {
    /// What comes first.
    pub head: Vec<u8>,
    /// What is long.
    pub body: Arc<Vec<u8>>,
    /// What comes last.
    pub tail: Vec<u8>,
}

/// What the other server said to a request: an error line without its mark, or something else.
pub type Answer = Result<(), String>;

/// Where a delivery broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// No connection came about.
    Connecting,
    /// Not all could be sent.
    Writing,
    /// Not all was answered.
    Reading,
}

/// What became of a parcel.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The answers to the first of the requests, or to all.
    pub answers: Vec<Answer>,
    /// Why there are no more of them.
    pub broken: Option<Broken>,
}

/// A parcel on its way.
#[derive(Default)]
pub struct Delivery {
    receipt: Mutex<Option<Receipt>>,
    arrived: Arc<Notify>,
}

impl Delivery {
    /// The receipt, once, when it is there.
    pub fn receipt(&self) -> Option<Receipt> {
        self.receipt.lock().take()
    }

    /// Notified when the receipt is there.
    pub fn arrival(&self) -> Arc<Notify> {
        Arc::clone(&self.arrived)
    }

    fn arrive(&self, receipt: Receipt) {
        *self.receipt.lock() = Some(receipt);
        self.arrived.notify_one();
    }
}

/// The couriers.
#[derive(Clone, Default)]
pub struct Couriers(Arc<Office>);

/// What couriers share.
#[derive(Default)]
struct Office {
    desk: Mutex<Desk>,
    posted: Condvar,
}

/// A parcel that waits for a courier.
struct Posted {
    parcel: Parcel,
    delivery: Arc<Delivery>,
    at: Instant,
}

#[derive(Default)]
struct Desk {
    waiting: VecDeque<Posted>,
    couriers: usize,
    idle: usize,
    kept: Vec<Line>,
    secure: Option<Secure>,
    /// How often connections had to be secured from then on; earlier ones carry nothing more.
    era: Arc<AtomicUsize>,
}

impl Couriers {
    /// Sends `parcel`.
    pub fn send(&self, parcel: Parcel) -> Arc<Delivery> {
        let delivery = Arc::new(Delivery::default());
        let mut desk = self.0.desk.lock();
        let posted = Posted { parcel, delivery: Arc::clone(&delivery), at: Instant::now() };
        desk.waiting.push_back(posted);
        if desk.waiting.len() > desk.idle && desk.couriers < COURIERS_MAX {
            let office = Arc::clone(&self.0);
            let courier = std::thread::Builder::new().name("courier".to_owned());
            match courier.spawn(move || office.work()) {
                Ok(_) => desk.couriers += 1,
                // Those there are will see to it.
                Err(_) if desk.couriers > 0 => {}
                Err(_) => {
                    desk.waiting.pop_back();
                    let broken = Some(Broken::Connecting);
                    delivery.arrive(Receipt { answers: Vec::new(), broken });
                }
            }
        }
        self.0.posted.notify_one();
        delivery
    }

    /// Says how connections are secured from now on; `None` is not at all.
    pub fn set_secure(&self, secure: Option<Secure>) {
        let mut desk = self.0.desk.lock();
        if desk.secure.is_none() && secure.is_some() {
            desk.era.fetch_add(1, Ordering::Release);
        }
        desk.secure = secure;
        let Desk { kept, secure, .. } = &mut *desk;
        kept.retain(|line| is_same(line.secure.as_ref(), secure.as_ref()));
    }

    /// How many connections are kept.
    pub fn kept(&self) -> usize {
        let mut desk = self.0.desk.lock();
        desk.forget_old();
        desk.kept.len()
    }
}

impl Office {
    /// Carries parcels until there have been none for a while.
    fn work(&self) {
        loop {
            let Some(Posted { parcel, delivery, at }) = self.next() else { return };
            let receipt = if at.elapsed() < parcel.timeout.max(WAIT_MIN) {
                self.carry(&parcel)
            } else {
                // All couriers were busy for so long.
                Receipt { answers: Vec::new(), broken: Some(Broken::Connecting) }
            };
            delivery.arrive(receipt);
        }
    }

    fn next(&self) -> Option<Posted> {
        let mut desk = self.desk.lock();
        let until = Instant::now() + KEPT_FOR;
        loop {
            if let Some(next) = desk.waiting.pop_front() {
                return Some(next);
            }
            desk.idle += 1;
            let timed_out = self.posted.wait_until(&mut desk, until).timed_out();
            desk.idle -= 1;
            desk.forget_old();
            if timed_out && desk.waiting.is_empty() {
                desk.couriers -= 1;
                return None;
            }
        }
    }

    /// Delivers a parcel. A kept connection may have been closed meanwhile: where nothing was
    /// answered, and not for lack of time, it is tried once more on a new one.
    fn carry(&self, parcel: &Parcel) -> Receipt {
        let kept = self.desk.lock().take_line(parcel);
        let again = kept.is_some();
        let first = match kept {
            Some(line) => self.carry_on(line, parcel),
            None => self.carry_anew(parcel),
        };
        match first {
            Ok(receipt) => receipt,
            Err(failed) if again && failed.may_retry() => {
                self.carry_anew(parcel).unwrap_or_else(Failed::into_receipt)
            }
            Err(failed) => failed.into_receipt(),
        }
    }

    fn carry_anew(&self, parcel: &Parcel) -> Result<Receipt, Failed> {
        let (secure, era) = {
            let desk = self.desk.lock();
            (desk.secure.clone(), Era::of(&desk.era))
        };
        let line =
            Line::open(parcel, secure.as_ref(), era).map_err(|error| match error.kind() {
                // Redis finds out when it writes, which TLS does at once.
                ErrorKind::ConnectionRefused if secure.is_none() => {
                    Failed::at(Broken::Writing, &error)
                }
                _ => {
                    tracing::debug!("No connection to {:?}:{}: {error}", parcel.host, parcel.port);
                    Failed::at(Broken::Connecting, &error)
                }
            })?;
        self.carry_on(line, parcel)
    }

    fn carry_on(&self, mut line: Line, parcel: &Parcel) -> Result<Receipt, Failed> {
        let receipt = line.exchange(parcel)?;
        // After an error nobody knows what the next one finds.
        if receipt.answers.iter().all(Result::is_ok) {
            self.desk.lock().keep(line);
        }
        Ok(receipt)
    }
}

impl Desk {
    fn take_line(&mut self, parcel: &Parcel) -> Option<Line> {
        self.forget_old();
        let at = self.kept.iter().position(|line| line.leads_to(parcel))?;
        Some(self.kept.swap_remove(at))
    }

    fn keep(&mut self, mut line: Line) {
        if !is_same(line.secure.as_ref(), self.secure.as_ref()) {
            return;
        }
        line.used = Instant::now();
        if self.kept.len() == KEPT_MAX {
            self.kept.remove(0);
        }
        self.kept.push(line);
    }

    fn forget_old(&mut self) {
        self.kept.retain(|line| line.used.elapsed() <= KEPT_FOR);
    }
}

/// A delivery that broke off.
struct Failed {
    receipt: Receipt,
    timed_out: bool,
}

impl Failed {
    fn at(broken: Broken, error: &io::Error) -> Self {
        let receipt = Receipt { answers: Vec::new(), broken: Some(broken) };
        let timed_out = matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock);
        Self { receipt, timed_out }
    }

    fn may_retry(&self) -> bool {
        self.receipt.answers.is_empty() && !self.timed_out
    }

    fn into_receipt(self) -> Receipt {
        self.receipt
    }
}

fn is_same(one: Option<&Secure>, other: Option<&Secure>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// The time until connections have to be secured that were not.
struct Era {
    own: usize,
    current: Arc<AtomicUsize>,
}

impl Era {
    fn of(current: &Arc<AtomicUsize>) -> Self {
        Self { own: current.load(Ordering::Acquire), current: Arc::clone(current) }
    }

    fn is_over(&self) -> bool {
        self.own != self.current.load(Ordering::Acquire)
    }
}

/// A connection to another server.
struct Line {
    host: String,
    port: u16,
    stream: BufReader<Box<dyn Wire>>,
    secure: Option<Secure>,
    era: Era,
    /// That of the parcel.
    timeout: Duration,
    /// The database it is in.
    db: i64,
    used: Instant,
}

impl Line {
    fn open(parcel: &Parcel, secure: Option<&Secure>, era: Era) -> io::Result<Self> {
        let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
        for addr in (parcel.host.as_str(), parcel.port).to_socket_addrs()? {
            match Self::connect(&addr, parcel.timeout, secure) {
                Ok(stream) => {
                    let (host, port) = (parcel.host.clone(), parcel.port);
                    let (stream, timeout) = (BufReader::new(stream), parcel.timeout);
                    let (secure, used) = (secure.cloned(), Instant::now());
                    // A new connection is in database 0, but is asked all the same, as by Redis.
                    return Ok(Self { host, port, stream, secure, era, timeout, db: -1, used });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn connect(
        addr: &SocketAddr,
        timeout: Duration,
        secure: Option<&Secure>,
    ) -> io::Result<Box<dyn Wire>> {
        let stream = TcpStream::connect_timeout(addr, timeout)?;
        stream.set_nodelay(true)?;
        let stream = Timed { stream, deadline: Instant::now() + timeout };
        match secure {
            Some(secure) => secure(stream),
            None => Ok(Box::new(stream)),
        }
    }

    fn leads_to(&self, parcel: &Parcel) -> bool {
        (&self.host, self.port) == (&parcel.host, parcel.port)
    }

    /// Sends the requests and reads the answers; none is sent before the connection is in the right
    /// database.
    fn exchange(&mut self, parcel: &Parcel) -> Result<Receipt, Failed> {
        let failed = |broken| move |error: io::Error| Failed::at(broken, &error);
        self.timeout = parcel.timeout;
        let db = (self.db != parcel.db).then(|| select(parcel.db));
        for request in parcel.auth.iter().chain(&db) {
            self.write(request).map_err(failed(Broken::Writing))?;
            if let Err(text) = self.answer().map_err(failed(Broken::Reading))? {
                let answers = parcel.requests.iter().map(|_| Err(text.clone())).collect();
                return Ok(Receipt { answers, broken: None });
            }
        }
        self.db = parcel.db;
        for Request { head, body, tail } in &parcel.requests {
            for piece in [head, &**body, tail] {
                self.write(piece).map_err(failed(Broken::Writing))?;
            }
        }
        let mut receipt = Receipt::default();
        for _ in &parcel.requests {
            match self.answer() {
                Ok(answer) => receipt.answers.push(answer),
                Err(error) => {
                    let failed = Failed::at(Broken::Reading, &error);
                    receipt.broken = Some(Broken::Reading);
                    return Err(Failed { receipt, ..failed });
                }
            }
        }
        Ok(receipt)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(PIECE_LEN) {
            if self.era.is_over() {
                return Err(io::Error::other("connections are secured otherwise from now on"));
            }
            let stream = self.stream.get_mut();
            stream.set_deadline(Instant::now() + self.timeout);
            stream.write_all(piece)?;
            // TLS tells only here that the socket takes nothing.
            stream.flush()?;
        }
        Ok(())
    }

    fn answer(&mut self) -> io::Result<Answer> {
        self.stream.get_mut().set_deadline(Instant::now() + self.timeout);
        let mut line = Vec::new();
        (&mut self.stream).take(REPLY_LEN_MAX).read_until(b'\n', &mut line)?;
        let text = line.strip_suffix(b"\r\n").ok_or(ErrorKind::UnexpectedEof)?;
        Ok(match text.strip_prefix(b"-") {
            Some(error) => Err(crate::base::bytes::text(error)),
            None => Ok(()),
        })
    }
}

fn select(db: i64) -> Vec<u8> {
    let db = db.to_string();
    format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{db}\r\n", db.len()).into_bytes()
}
