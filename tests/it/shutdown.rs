//! Starting and stopping: exit codes and the lines that supervisors and scripts wait for.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::harness::{Conn, Reply, Server, server_program, wait_for};

const DEADLINE: Duration = Duration::from_secs(10);

/// A program started with exactly these arguments, and what it has printed.
struct Run {
    child: Child,
    dir: TempDir,
}

impl Run {
    fn start(args: &[&str]) -> Run {
        Run::start_in(tempfile::tempdir().expect("a scratch folder"), args)
    }

    fn start_in(dir: TempDir, args: &[&str]) -> Run {
        let log = File::create(dir.path().join("out")).expect("a file in a scratch folder");
        let child = Command::new(server_program())
            .args(args)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the server program can be started");
        Run { child, dir }
    }

    fn output(&self) -> String {
        fs::read_to_string(self.dir.path().join("out")).expect("the output is text")
    }

    fn wait_for_line(&self, line: &str) {
        let seen = wait_for(DEADLINE, || self.output().contains(line));
        assert!(seen, "no {line:?} in\n{}", self.output());
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is running");
    }

    /// The exit code; None when the process died of a signal.
    fn exit_code(&mut self) -> Option<i32> {
        let ended = wait_for(DEADLINE, || !matches!(self.child.try_wait(), Ok(None)));
        assert!(ended, "still running:\n{}", self.output());
        self.child.wait().expect("the exit status of an own child").code()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

/// Whether the lines appear in this order.
fn in_order(text: &str, lines: &[&str]) -> bool {
    let mut rest = text;
    lines.iter().all(|line| rest.split_once(line).inspect(|(_, after)| rest = after).is_some())
}

#[test]
fn sigterm_ends_with_the_lines_of_redis() {
    let mut server = Server::start(&[]);
    let mut idle = server.connect();
    assert_eq!(server.stop_gracefully(), Some(0));
    assert!(idle.read().is_err(), "the connection is closed");
    let lines = [
        "oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo",
        "Running mode=standalone, port=",
        "Server initialized",
        "Ready to accept connections tcp",
        "Received SIGTERM scheduling shutdown...",
        "User requested shutdown...",
        "Redis is now ready to exit, bye bye...",
    ];
    assert!(in_order(&server.log(), &lines), "{}", server.log());
    // <pid>:<role> <day> <month> <year> <time> <level> <text>
    let log = server.log();
    let line = log.lines().find(|line| line.contains("Server initialized")).expect("seen above");
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[0], format!("{}:M", server.pid()), "{line}");
    assert!(words[4].len() == "12:34:56.789".len() && words[5] == "*", "{line}");
}

#[test]
fn shutdown_ends_the_process_without_a_reply() {
    for options in [&["SHUTDOWN", "NOSAVE"][..], &["SHUTDOWN", "NOW", "FORCE"], &["SHUTDOWN"]] {
        let port = free_port().to_string();
        let mut run = Run::start(&["--port", &port, "--bind", "127.0.0.1", "--save", ""]);
        run.wait_for_line("Ready to accept connections");
        let addr = format!("127.0.0.1:{port}").parse().expect("an address");
        let mut conn = Conn::open(addr).expect("a running server accepts connections");
        conn.send(options).expect("sent");
        assert!(conn.read().is_err(), "{options:?} is not answered");
        assert_eq!(run.exit_code(), Some(0), "{options:?}:\n{}", run.output());
        let lines = ["User requested shutdown...", "Redis is now ready to exit, bye bye..."];
        assert!(in_order(&run.output(), &lines), "{options:?}:\n{}", run.output());
    }
}

#[test]
fn replies_owed_are_sent_before_the_end() {
    let mut server = Server::start(&[]);
    let mut conn = server.connect();
    conn.send_raw(b"SET k v\r\nGET k\r\nSHUTDOWN NOSAVE\r\n").expect("sent");
    assert_eq!(conn.read().expect("a reply"), Reply::Simple(b"OK".to_vec()));
    assert_eq!(conn.read().expect("a reply"), Reply::Bulk(b"v".to_vec()));
    assert!(conn.read().is_err());
    assert!(server.has_ended(DEADLINE), "{}", server.log());
}

#[test]
fn a_second_sigint_does_not_wait() {
    let port = free_port().to_string();
    let mut run = Run::start(&["--port", &port, "--bind", "127.0.0.1", "--threads", "1"]);
    run.wait_for_line("Ready to accept connections");
    run.signal(Signal::INT);
    run.wait_for_line("Received SIGINT scheduling shutdown...");
    // The shutdown may be over before the second signal arrives.
    run.signal(Signal::INT);
    let code = run.exit_code();
    let insisted = run.output().contains("You insist... exiting now.");
    assert_eq!(code, Some(i32::from(insisted)), "{}", run.output());
}

#[test]
fn sighup_is_ignored() {
    let mut server = Server::start(&[]);
    let pid = Pid::from_raw(server.pid().try_into().expect("pids fit")).expect("not 0");
    kill_process(pid, Signal::HUP).expect("the server is running");
    assert_eq!(server.connect().call(&["PING"]), Reply::Simple(b"PONG".to_vec()));
    assert_eq!(server.stop_gracefully(), Some(0));
}

#[test]
fn a_port_in_use_is_fatal() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = taken.local_addr().expect("a bound address").port().to_string();
    let mut run = Run::start(&["--port", &port, "--bind", "127.0.0.1"]);
    assert_eq!(run.exit_code(), Some(1));
    let line = format!("Failed listening on port {port} (tcp), aborting.");
    assert!(run.output().contains(&line), "{}", run.output());
    assert!(run.output().contains("Address already in use"), "{}", run.output());
}

#[test]
fn errors_in_the_file_name_their_line() {
    let cases = [
        ("port 0\n\nnonsense yes\n", "at line 3", ">>> 'nonsense yes'", "Bad directive"),
        ("maxmemory 12q\n", "at line 1", ">>> 'maxmemory 12q'", ""),
        ("port 70000\n", "at line 1", ">>> 'port 70000'", ""),
        ("# x\nappendonly maybe\n", "at line 2", ">>> 'appendonly maybe'", "'yes' or 'no'"),
        ("bind \"127.0.0.1\n", "at line 1", ">>> 'bind \"127.0.0.1'", "Unbalanced quotes"),
    ];
    for (text, place, quote, reason) in cases {
        let dir = tempfile::tempdir().expect("a scratch folder");
        fs::write(dir.path().join("server.conf"), text).expect("a file in a scratch folder");
        let mut run = Run::start_in(dir, &["server.conf"]);
        assert_eq!(run.exit_code(), Some(1), "{text:?}");
        let output = run.output();
        assert!(output.contains("*** FATAL CONFIG FILE ERROR"), "{text:?}:\n{output}");
        for part in [place, quote, reason] {
            assert!(output.contains(part), "no {part:?} for {text:?} in\n{output}");
        }
    }
    let mut run = Run::start(&["missing.conf"]);
    assert_eq!(run.exit_code(), Some(1));
    assert!(run.output().contains("missing.conf"), "{}", run.output());
}

#[test]
fn options_win_over_the_file() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let port = free_port();
    let text = "port 1\nbind 127.0.0.1\ndatabases 3\nmaxclients 77\n";
    fs::write(dir.path().join("server.conf"), text).expect("a file in a scratch folder");
    let port_text = port.to_string();
    let run = Run::start_in(dir, &["server.conf", "--port", &port_text, "--maxclients", "78"]);
    run.wait_for_line("Ready to accept connections");
    assert!(run.output().contains("Configuration loaded"), "{}", run.output());
    let mut conn = Conn::open((Ipv4Addr::LOCALHOST, port).into()).expect("it listens there");
    let bulk = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
    let pair = |name: &str, value: &str| Reply::Array(vec![bulk(name), bulk(value)]);
    assert_eq!(conn.call(&["CONFIG", "GET", "databases"]), pair("databases", "3"));
    assert_eq!(conn.call(&["CONFIG", "GET", "maxclients"]), pair("maxclients", "78"));
}

#[test]
fn directives_that_change_nothing_are_logged_once() {
    let port = free_port();
    let port_text = port.to_string();
    let args = ["--port", &port_text, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "7"];
    let run = Run::start(&args);
    run.wait_for_line("Ready to accept connections");
    let mut conn = Conn::open((Ipv4Addr::LOCALHOST, port).into()).expect("it listens there");
    for (name, value) in [("min-replicas-to-write", "2"), ("maxclients", "99")] {
        let reply = conn.call(&["CONFIG", "SET", name, value]);
        assert_eq!(reply, Reply::Simple(b"OK".to_vec()));
    }
    for name in ["repl-diskless-sync-delay", "min-replicas-to-write"] {
        let line = format!("'{name}' is set, but replication is not supported yet");
        assert_eq!(run.output().matches(&line).count(), 1, "{name}: {}", run.output());
    }
}

fn ask_unix(path: &Path, request: &[u8], reply: &[u8]) {
    let mut stream = UnixStream::connect(path).expect("the server listens on its socket");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline above zero");
    stream.write_all(request).expect("sent");
    let mut got = vec![0; reply.len()];
    stream.read_exact(&mut got).expect("a reply");
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(reply));
}

#[test]
fn a_unix_socket_serves_and_goes_away() {
    use std::os::unix::fs::PermissionsExt;
    // Not the folder of other tests' servers: a socket's path may have 107 bytes.
    let dir = tempfile::tempdir().expect("a scratch folder");
    let socket = dir.path().join("s");
    let path = socket.to_str().expect("the path is text").to_owned();
    let args = ["--port", "0", "--unixsocket", &path, "--unixsocketperm", "700", "--save", ""];
    let mut run = Run::start(&args);
    run.wait_for_line("Ready to accept connections unix");
    assert!(!run.output().contains("Ready to accept connections tcp"), "{}", run.output());
    let mode = fs::metadata(&socket).expect("the socket is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    ask_unix(&socket, b"PING\r\nSET k v\r\nGET k\r\n", b"+PONG\r\n+OK\r\n$1\r\nv\r\n");
    run.signal(Signal::TERM);
    assert_eq!(run.exit_code(), Some(0), "{}", run.output());
    assert!(!socket.exists(), "the socket is left behind");
}

#[test]
fn the_log_goes_to_its_file() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let log = dir.path().join("server.log");
    let path = log.to_str().expect("the path is text").to_owned();
    let port = free_port().to_string();
    let mut run = Run::start(&["--port", &port, "--bind", "127.0.0.1", "--logfile", &path]);
    let text = || fs::read_to_string(&log).unwrap_or_default();
    assert!(wait_for(DEADLINE, || text().contains("Ready to accept connections tcp")));
    // logrotate moves the file away and expects a new one without being asked for.
    fs::rename(&log, dir.path().join("server.log.1")).expect("renamed");
    run.signal(Signal::TERM);
    assert_eq!(run.exit_code(), Some(0));
    assert!(text().contains("Redis is now ready to exit, bye bye..."), "{}", text());
    assert_eq!(run.output(), "", "nothing on standard output");
}

#[test]
fn version_and_help_are_printed() {
    for (flag, part) in
        [("-v", "Redis server v="), ("--version", "malloc=jemalloc"), ("-h", "--port")]
    {
        let mut run = Run::start(&[flag]);
        assert_eq!(run.exit_code(), Some(0), "{flag}");
        assert!(run.output().contains(part), "{flag}: {}", run.output());
    }
}

#[test]
fn who_asks_after_a_shutdown_was_called_off_is_heard() {
    for signal in [Signal::TERM, Signal::INT] {
        let port = free_port();
        let port_text = port.to_string();
        let listen = ["--port", &port_text, "--bind", "127.0.0.1"];
        let args = [&listen[..], &["--enable-debug-command", "yes"]].concat();
        let mut run = Run::start(&args);
        run.wait_for_line("Ready to accept connections");
        let mut conn = Conn::open((Ipv4Addr::LOCALHOST, port).into()).expect("it listens there");
        let ok = Reply::Simple(b"OK".to_vec());
        assert_eq!(conn.call(&["DEBUG", "PAUSE-CRON", "1"]), ok);
        for round in 1..=5 {
            run.signal(Signal::TERM);
            let begun = || run.output().matches("User requested shutdown...").count() == round;
            assert!(wait_for(DEADLINE, begun), "{}", run.output());
            assert_eq!(conn.call(&["SHUTDOWN", "ABORT"]), ok);
        }
        assert_eq!(conn.call(&["DEBUG", "PAUSE-CRON", "0"]), ok);
        run.signal(signal);
        assert_eq!(run.exit_code(), Some(0), "{}", run.output());
        assert!(run.output().contains("Saving the final RDB snapshot"), "{}", run.output());
    }
}

#[test]
fn a_shutdown_that_saves_can_be_called_off() {
    let server = Server::start(&["--save", "3600 1000", "--rdb-key-save-delay", "200000"]);
    let (mut conn, mut asking) = (server.connect(), server.connect());
    for number in 0..100 {
        conn.call(&["SET", &number.to_string(), "v"]);
    }
    let none = Reply::Error(b"ERR No shutdown in progress.".to_vec());
    assert_eq!(conn.call(&["SHUTDOWN", "ABORT"]), none);
    asking.send(&["SHUTDOWN"]).expect("the connection is open");
    assert!(wait_for(DEADLINE, || server.log().contains("Saving the final RDB snapshot")));
    assert_eq!(conn.call(&["SHUTDOWN", "ABORT"]), Reply::Simple(b"OK".to_vec()));
    let failed = b"ERR Errors trying to SHUTDOWN. Check logs.".to_vec();
    assert_eq!(asking.read().expect("the server goes on"), Reply::Error(failed));
    assert!(server.log().contains("Shutdown manually aborted."));
    assert_eq!(conn.call(&["SET", "k", "v"]), Reply::Simple(b"OK".to_vec()));
    assert_eq!(conn.call(&["SHUTDOWN", "ABORT"]), none);
    conn.call(&["CONFIG", "SET", "save", ""]);
}
