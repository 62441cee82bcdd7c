//! The process: background, supervisors, its title and score, reports of crashes, checks of the system.

use std::fs;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Conn, Reply, Server, free_addr, server_program, wait_for};

const DEADLINE: Duration = Duration::from_secs(15);

/// A server in a scratch folder that a test ends by itself.
struct Process {
    child: Child,
    addr: SocketAddr,
    dir: tempfile::TempDir,
}

impl Process {
    fn start(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let addr = free_addr().expect("a free port");
        let child = Command::new(server_program())
            .args(["--port", &addr.port().to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--logfile", "log", "--enable-debug-command", "yes", "--threads", "1"])
            .args(args)
            .envs(environment.iter().copied())
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server can be started");
        let process = Self { child, addr, dir };
        assert!(wait_for(DEADLINE, || process.answers()), "{}", process.log());
        process
    }

    fn answers(&self) -> bool {
        Conn::open(self.addr).is_ok_and(|mut conn| {
            conn.send(&["PING"])
                .and_then(|()| conn.read())
                .is_ok_and(|reply| reply == Reply::Simple(b"PONG".to_vec()))
        })
    }

    fn connect(&self) -> Conn {
        Conn::open(self.addr).expect("it listens")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    fn end(&mut self) -> ExitStatus {
        let ended = wait_for(DEADLINE, || !matches!(self.child.try_wait(), Ok(None)));
        assert!(ended, "it goes on: {}", self.log());
        self.child.wait().expect("an own child")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(args: &[&str], dir: &Path) -> Output {
    let command = Command::new(server_program()).args(args).current_dir(dir).output();
    command.expect("the program can be started")
}

fn set(conn: &mut Conn, name: &str, value: &str) {
    assert_eq!(conn.call(&["CONFIG", "SET", name, value]), Reply::Simple(b"OK".to_vec()));
}

#[test]
fn a_server_goes_to_the_background() {
    let dir = tempfile::tempdir().expect("a folder");
    let addr = free_addr().expect("a free port");
    let port = addr.port().to_string();
    let output = Command::new(server_program())
        .args(["--port", &port, "--daemonize", "yes", "--pidfile", "pid", "--logfile", "log", "-"])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            use std::io::Write;
            child.stdin.take().expect("a pipe").write_all(b"bind 127.0.0.1\ndatabases 7\n")?;
            child.wait_with_output()
        });
    let output = output.expect("the server can be started");
    assert!(output.status.success(), "{output:?}");
    let pid = || fs::read_to_string(dir.path().join("pid")).ok()?.trim().parse::<i32>().ok();
    assert!(wait_for(DEADLINE, || pid().is_some() && Conn::open(addr).is_ok()));
    let pid = pid().and_then(Pid::from_raw).expect("a process id");
    let mut conn = Conn::open(addr).expect("it listens");
    let bulk = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
    let databases = Reply::Array(vec![bulk("databases"), bulk("7")]);
    assert_eq!(conn.call(&["CONFIG", "GET", "databases"]), databases);
    assert_eq!(conn.info("process_id"), pid.as_raw_nonzero().get() as u64);
    let session = rustix::process::getsid(Some(pid)).expect("it runs");
    assert_eq!(session, pid, "it is in the session of who started it");
    kill_process(pid, Signal::TERM).expect("it runs");
    assert!(wait_for(DEADLINE, || !dir.path().join("pid").exists()), "the pid file is left");
    let log = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    assert!(wait_for(DEADLINE, || log().contains("Redis is now ready to exit, bye bye...")));
}

/// What a supervisor hears until `last`.
fn heard(socket: &UnixDatagram, last: &str) -> Vec<String> {
    socket.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let mut messages: Vec<String> = Vec::new();
    while messages.last().is_none_or(|message| message != last) {
        let mut buffer = [0; 200];
        let length = socket.recv(&mut buffer).expect("the server says more");
        messages.push(String::from_utf8_lossy(&buffer[..length]).trim().to_owned());
    }
    messages
}

#[test]
fn systemd_is_told_when_the_server_is_ready() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let place = path.to_str().expect("UTF-8");
    let mut process = Process::start(&["--supervised", "systemd"], &[("NOTIFY_SOCKET", place)]);
    let messages = heard(&socket, "READY=1");
    let wanted = ["STATUS=Redis is loading...", "STATUS=Ready to accept connections", "READY=1"];
    assert_eq!(messages[messages.len() - 3..], wanted);
    let Reply::Bulk(info) = process.connect().call(&["INFO", "server"]) else { panic!("no INFO") };
    assert!(String::from_utf8_lossy(&info).contains("process_supervised:systemd\r\n"));
    process.signal(Signal::TERM);
    assert_eq!(heard(&socket, "STOPPING=1"), ["STOPPING=1"]);
    assert_eq!(process.end().code(), Some(0));
}

#[test]
fn supervisors_are_found_by_themselves() {
    let name = format!("redstart-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&address).expect("a socket");
    let place = format!("@{name}");
    let _process = Process::start(&["--supervised", "auto"], &[("NOTIFY_SOCKET", &place)]);
    heard(&socket, "READY=1");
    let alone = Process::start(&["--supervised", "systemd"], &[]);
    assert!(alone.log().contains("systemd supervision error: NOTIFY_SOCKET not found!"));
}

fn title(process: &Process) -> String {
    let bytes = fs::read(format!("/proc/{}/cmdline", process.child.id())).expect("it runs");
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
}

#[test]
fn the_title_says_where_the_server_listens() {
    let process = Process::start(&[], &[]);
    let program = server_program().into_string().expect("UTF-8");
    assert_eq!(title(&process), format!("{program} 127.0.0.1:{}", process.addr.port()));
    let mut conn = process.connect();
    set(&mut conn, "proc-title-template", "TEST {port} {tls-port} {unixsocket}{server-mode}");
    assert_eq!(title(&process), format!("TEST {} 0", process.addr.port()));
    let next = free_addr().expect("a free port").port().to_string();
    set(&mut conn, "port", &next);
    assert_eq!(title(&process), format!("TEST {next} 0"));
    let off = Process::start(&["--set-proc-title", "no"], &[]);
    assert!(title(&off).contains("\0--set-proc-title\0no"), "{}", title(&off));
}

#[test]
fn the_score_for_the_kernel_is_set_and_taken_back() {
    let process = Process::start(&[], &[]);
    let mut conn = process.connect();
    let score = || {
        let text = fs::read_to_string(format!("/proc/{}/oom_score_adj", process.child.id()));
        text.expect("it runs").trim().parse::<i64>().expect("a number")
    };
    let base = score();
    set(&mut conn, "oom-score-adj-values", "57 200 800");
    assert_eq!(score(), base);
    set(&mut conn, "oom-score-adj", "relative");
    assert_eq!(score(), base + 57);
    set(&mut conn, "oom-score-adj-values", "91 200 800");
    assert_eq!(score(), base + 91);
    set(&mut conn, "oom-score-adj", "absolute");
    assert_eq!(score(), 91);
    set(&mut conn, "oom-score-adj", "no");
    assert_eq!(score(), base);
}

/// What makes a server crash.
type Ask<'a> = &'a dyn Fn(&Process);

#[test]
fn a_crash_is_reported_and_ends_the_process_as_it_would() {
    let crash = |args: &[&str], ask: Ask<'_>| {
        let mut process = Process::start(args, &[]);
        ask(&process);
        let signal = process.end().signal().expect("it was ended by a signal");
        (signal, process.log())
    };
    let command = |name: &'static str| {
        move |process: &Process| process.connect().send(&["DEBUG", name]).expect("a connection")
    };
    let abort = |process: &Process| process.signal(Signal::ABORT);
    let cases: [(Ask<'_>, i32, &str); 3] = [
        (&abort, 6, "crashed by signal: 6"),
        (&command("SEGFAULT"), 11, "crashed by signal: 11"),
        (&command("PANIC"), 6, "panicked: called by DEBUG PANIC"),
    ];
    for (ask, number, cause) in cases {
        let (signal, log) = crash(&[], ask);
        assert_eq!(signal, number, "{log}");
        for part in [
            "=== REDIS BUG REPORT START",
            cause,
            "------ STACK TRACE ------",
            "------ INFO OUTPUT ------",
            "redis_version:",
            "------ CLIENT LIST OUTPUT ------",
            "=== REDIS BUG REPORT END",
        ] {
            assert!(log.contains(part), "{part} is not in {log}");
        }
        let (signal, log) = crash(&["--crash-log-enabled", "no"], ask);
        assert_eq!(signal, number, "{log}");
        assert!(!log.contains("REPORT"), "{log}");
    }
}

#[test]
fn signals_stop_the_server_as_their_directives_say() {
    for (save, directive, signal, kept) in [
        ("3600 1", "default", Signal::TERM, true),
        ("3600 1", "nosave", Signal::TERM, false),
        ("", "save", Signal::INT, true),
        ("", "default", Signal::INT, false),
    ] {
        let name =
            if signal == Signal::TERM { "--shutdown-on-sigterm" } else { "--shutdown-on-sigint" };
        let mut process = Process::start(&["--save", save, name, directive], &[]);
        process.connect().call(&["SET", "k", "v"]);
        process.signal(signal);
        assert_eq!(process.end().code(), Some(0), "{}", process.log());
        assert_eq!(process.dir.path().join("dump.rdb").exists(), kept, "{save} {directive}");
    }
}

#[test]
fn the_system_and_its_memory_are_checked() {
    let dir = tempfile::tempdir().expect("a folder");
    let output = run(&["--check-system"], dir.path());
    let text = String::from_utf8_lossy(&output.stdout);
    for name in
        ["slow-clocksource", "xen-clocksource", "overcommit", "THP", "somaxconn", "open-files"]
    {
        assert!(text.contains(&format!("[{name}]...")), "{text}");
    }
    assert_eq!(output.status.code(), Some(i32::from(text.contains("WARNING"))), "{text}");
    let output = run(&["--test-memory", "2", "1"], dir.path());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("Your memory passed this test."), "{text}");
    assert_eq!(run(&["--test-memory", "x"], dir.path()).status.code(), Some(1));
}

#[test]
fn a_backlog_that_the_kernel_cuts_is_warned_of() {
    let most = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    let Ok(most) = most.trim().parse::<u32>() else { return };
    let wanted = (most + 1).to_string();
    let server = Server::start(&["--tcp-backlog", &wanted]);
    let text = format!("The TCP backlog setting of {wanted} cannot be enforced");
    assert!(server.log().contains(&text), "{}", server.log());
}
