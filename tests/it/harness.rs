//! A server process on a free port, and a raw client that shows replies exactly as sent.
//!
//! Owns processes, scratch directories and sockets; knows no command but PING. A reply keeps the
//! difference between everything the protocol tells apart (`$-1` and `*-1`, status and bulk, array
//! and push), which client libraries fold together. Nothing sleeps for a fixed time: a wait names
//! its condition and a deadline.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The server of Redis, for tests with both.
const REDIS: &str = "redis-server";
/// How long a server may take from its start to its first answer.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// How long a server may take to exit after SIGTERM.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// How long a read waits for the next byte of a reply.
const READ_DEADLINE: Duration = Duration::from_secs(5);
/// A free port can be taken by someone else before the server binds it.
const START_ATTEMPTS_MAX: usize = 3;
/// Longest reply that is believed; a larger announced length is a broken reply.
const REPLY_BYTES_MAX: u64 = 1 << 30;

/// The program under test: `REDSTART_TEST_SERVER`, or the one Cargo just built.
pub(crate) fn server_program() -> OsString {
    std::env::var_os("REDSTART_TEST_SERVER")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_redstart").into())
}

/// How long a test that looks for races goes on: `REDSTART_STRESS_SECONDS`, or a few seconds.
pub(crate) fn stress_duration() -> Duration {
    let given = std::env::var("REDSTART_STRESS_SECONDS").ok();
    let seconds = given.map_or(4, |text| text.parse().expect("REDSTART_STRESS_SECONDS: a number"));
    Duration::from_secs(seconds)
}

/// Polls `condition` until it holds; false when `deadline` has passed first.
pub(crate) fn wait_for(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// A running server, killed and cleaned up when dropped.
pub(crate) struct Server {
    child: Child,
    addr: SocketAddr,
    dir: PathBuf,
}

impl Server {
    /// Starts the program on a free loopback port, without persistence, with `args` appended.
    /// Returns once it answers PING; panics with its log when it does not.
    pub(crate) fn start(args: &[&str]) -> Server {
        Server::start_program(&server_program(), args)
    }

    /// Starts a real `redis-server`, for tests of what passes between servers.
    pub(crate) fn start_redis(args: &[&str]) -> Server {
        let found = Command::new(REDIS).arg("--version").output().is_ok();
        assert!(found, "no {REDIS}; `apt-get install redis-server` installs it");
        Server::start_program(OsStr::new(REDIS), args)
    }

    fn start_program(program: &OsStr, args: &[&str]) -> Server {
        let dir = scratch_dir().expect("a scratch folder");
        Server::start_program_in(program, dir, args)
    }

    fn start_program_in(program: &OsStr, dir: PathBuf, args: &[&str]) -> Server {
        let mut log = String::new();
        for _ in 0..START_ATTEMPTS_MAX {
            let mut server =
                Server::spawn(program, &dir, args).expect("the server program can be started");
            if wait_for(START_DEADLINE, || server.has_exited() || server.answers())
                && !server.has_exited()
            {
                return server;
            }
            log = server.log();
            server.kill();
            // The next attempt needs the files.
            drop(std::mem::take(&mut server.dir));
        }
        panic!("{program:?} {args:?} does not answer PING; its log:\n{log}");
    }

    /// Starts the program on a copy of the files of persistence that are in `from`.
    pub(crate) fn start_on(from: &Path, args: &[&str]) -> Server {
        Server::start_program_in(&server_program(), copy_of(from), args)
    }

    /// Starts a real `redis-server` on a copy of the files of persistence that are in `from`.
    pub(crate) fn start_redis_on(from: &Path, args: &[&str]) -> Server {
        Server::start_program_in(OsStr::new(REDIS), copy_of(from), args)
    }

    /// Starts the program on a copy of the files in `from` without waiting for an answer.
    pub(crate) fn launch_on(from: &Path, args: &[&str]) -> Server {
        Server::spawn(&server_program(), &copy_of(from), args)
            .expect("the server program can be started")
    }

    /// Starts the program again on the files of this one, which is killed if it still runs.
    pub(crate) fn start_again(mut self, args: &[&str]) -> Server {
        self.kill();
        let dir = std::mem::take(&mut self.dir);
        Server::start_program_in(&server_program(), dir, args)
    }

    /// Ends the process at once, as SIGKILL does.
    pub(crate) fn kill(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it with so many event loops, an option that only our own server knows.
    pub(crate) fn start_with_threads(threads: usize) -> Server {
        let is_own = std::env::var_os("REDSTART_TEST_SERVER").is_none();
        let args = ["--threads", &threads.to_string()];
        Server::start(if is_own { &args } else { &[] })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The server's working directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn connect(&self) -> Conn {
        Conn::open(self.addr).expect("a running server accepts connections")
    }

    /// Sends SIGTERM and waits; the exit code, None when the process died of a signal.
    pub(crate) fn stop_gracefully(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the server is running");
        let stopped = wait_for(STOP_DEADLINE, || self.has_exited());
        assert!(stopped, "no exit after SIGTERM; its log:\n{}", self.log());
        self.child.wait().expect("the exit status of an own child").code()
    }

    /// Whether the process ends of itself in time.
    pub(crate) fn has_ended(&mut self, deadline: Duration) -> bool {
        wait_for(deadline, || self.has_exited())
    }

    /// What the server has written to stdout and stderr so far.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.dir.join(LOG_NAME)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn spawn(program: &OsStr, dir: &Path, args: &[&str]) -> io::Result<Server> {
        let addr = free_addr()?;
        let log = File::options().create(true).append(true).open(dir.join(LOG_NAME))?;
        let child = Command::new(program)
            .args(["--port", &addr.port().to_string(), "--bind", &addr.ip().to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Server { child, addr, dir: dir.to_owned() })
    }

    /// A server that asks for a password is up, too; one that still loads is not.
    fn answers(&self) -> bool {
        let Ok(mut conn) = Conn::open(self.addr) else { return false };
        match conn.send(&["PING"]).and_then(|()| conn.read()) {
            Ok(Reply::Simple(text)) => text == b"PONG",
            Ok(Reply::Error(text)) => text.starts_with(b"NOAUTH"),
            _ => false,
        }
    }

    fn has_exited(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if !self.dir.as_os_str().is_empty() {
            // What is left over is cleaned up with the target folder.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

const LOG_NAME: &str = "server.log";
/// Where the pieces of the append-only file are, below a server's folder.
pub(crate) const APPEND_DIR: &str = "appendonlydir";

fn scratch_dir() -> io::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("server-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// A scratch folder with a copy of the snapshot file and of the append-only files of `from`.
fn copy_of(from: &Path) -> PathBuf {
    let dir = scratch_dir().expect("a scratch folder");
    copy_files(from, &dir).expect("files can be copied");
    let append = from.join(APPEND_DIR);
    if append.is_dir() {
        fs::create_dir_all(dir.join(APPEND_DIR)).expect("a folder in a scratch folder");
        copy_files(&append, &dir.join(APPEND_DIR)).expect("files can be copied");
    }
    dir
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().filter(|name| path.is_file() && *name != LOG_NAME);
        if let Some(name) = name {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

/// Not port 0 on the server's command line: there it means "no TCP" to Redis.
pub(crate) fn free_addr() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// A command as an array of bulk strings.
pub(crate) fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args.iter().map(AsRef::as_ref) {
        bytes.extend(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend(arg);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// One reply, with everything the protocol tells apart. Numbers that are text on the wire stay
/// text, so that their spelling can be compared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    /// `$-1`
    NilBulk,
    /// `*-1`
    NilArray,
    Array(Vec<Reply>),
    /// `_`, RESP3
    Null,
    Bool(bool),
    Double(String),
    BigNumber(String),
    BlobError(Vec<u8>),
    /// Three letters of format, a colon, the text.
    Verbatim(Vec<u8>),
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    Push(Vec<Reply>),
    /// Precedes the reply it describes; that one is read next.
    Attribute(Vec<(Reply, Reply)>),
}

/// A raw client: bytes out, one reply in. A read that finds the connection closed is
/// `UnexpectedEof`, one without an answer in time `WouldBlock`, a malformed one `InvalidData`.
pub(crate) struct Conn {
    reader: BufReader<TcpStream>,
}

impl Conn {
    pub(crate) fn open(addr: SocketAddr) -> io::Result<Conn> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_DEADLINE))?;
        Ok(Conn::of(stream))
    }

    /// A client on a connection that its caller has set up.
    pub(crate) fn of(stream: TcpStream) -> Conn {
        Conn { reader: BufReader::new(stream) }
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.reader.get_ref().local_addr().expect("a connected socket has an address")
    }

    pub(crate) fn set_read_deadline(&mut self, deadline: Duration) {
        self.reader.get_ref().set_read_timeout(Some(deadline)).expect("a deadline above zero");
    }

    /// Ends one or both directions of the connection.
    pub(crate) fn shutdown(&mut self, how: Shutdown) {
        // The server may have ended it already.
        let _ = self.reader.get_ref().shutdown(how);
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Sends one command as an array of bulk strings.
    pub(crate) fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        self.send_raw(&encode(args))
    }

    /// Sends a command and reads one reply, which must come.
    pub(crate) fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Reply {
        self.send(args).and_then(|()| self.read()).expect("the server replies")
    }

    /// A number of INFO.
    pub(crate) fn info(&mut self, field: &str) -> u64 {
        let Reply::Bulk(text) = self.call(&["INFO"]) else { panic!("INFO is a bulk string") };
        let text = String::from_utf8(text).expect("INFO is text");
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{field} in {text}"))
    }

    pub(crate) fn read(&mut self) -> io::Result<Reply> {
        let line = self.read_line()?;
        let Some((&mark, text)) = line.split_first() else {
            return Err(broken("a reply without a type"));
        };
        Ok(match mark {
            b'+' => Reply::Simple(text.to_vec()),
            b'-' => Reply::Error(text.to_vec()),
            b':' => Reply::Integer(integer(text)?),
            b'_' => Reply::Null,
            b'#' => Reply::Bool(text == b"t"),
            b',' => Reply::Double(String::from_utf8_lossy(text).into_owned()),
            b'(' => Reply::BigNumber(String::from_utf8_lossy(text).into_owned()),
            b'$' if text == b"-1" => Reply::NilBulk,
            b'*' if text == b"-1" => Reply::NilArray,
            b'$' => Reply::Bulk(self.read_body(text)?),
            b'!' => Reply::BlobError(self.read_body(text)?),
            b'=' => Reply::Verbatim(self.read_body(text)?),
            b'*' => Reply::Array(self.read_items(text)?),
            b'~' => Reply::Set(self.read_items(text)?),
            b'>' => Reply::Push(self.read_items(text)?),
            b'%' => Reply::Map(self.read_pairs(text)?),
            b'|' => Reply::Attribute(self.read_pairs(text)?),
            _ => return Err(broken("an unknown reply type")),
        })
    }

    fn read_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.reader.by_ref().take(REPLY_BYTES_MAX).read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(text) => Ok(text.to_vec()),
            None if line.ends_with(b"\n") => Err(broken("a line without CR")),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    fn read_body(&mut self, length: &[u8]) -> io::Result<Vec<u8>> {
        let length = count(length)?;
        let mut body = vec![0; length + 2];
        self.reader.read_exact(&mut body)?;
        if !body.ends_with(b"\r\n") {
            return Err(broken("a body longer than announced"));
        }
        body.truncate(length);
        Ok(body)
    }

    fn read_items(&mut self, length: &[u8]) -> io::Result<Vec<Reply>> {
        (0..count(length)?).map(|_| self.read()).collect()
    }

    fn read_pairs(&mut self, length: &[u8]) -> io::Result<Vec<(Reply, Reply)>> {
        (0..count(length)?).map(|_| Ok((self.read()?, self.read()?))).collect()
    }
}

fn integer(text: &[u8]) -> io::Result<i64> {
    let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| broken("not an integer"))
}

fn count(text: &[u8]) -> io::Result<usize> {
    let number = u64::try_from(integer(text)?).map_err(|_| broken("a negative length"))?;
    if number > REPLY_BYTES_MAX {
        return Err(broken("a length beyond belief"));
    }
    usize::try_from(number).map_err(|_| broken("a length beyond memory"))
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

#[test]
fn a_server_answers_and_stops() {
    let mut server = Server::start(&[]);
    let mut conn = server.connect();
    conn.set_read_deadline(Duration::from_secs(2));
    assert_eq!(conn.call(&["ECHO", "a\r\nb"]), Reply::Bulk(b"a\r\nb".to_vec()));
    assert!(server.pid() > 0 && server.dir().is_dir());
    assert_eq!(server.stop_gracefully(), Some(0), "{}", server.log());
    assert_eq!(conn.read().map_err(|error| error.kind()), Err(ErrorKind::UnexpectedEof));
}
