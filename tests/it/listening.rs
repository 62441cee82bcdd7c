//! Where the server listens: ports that move while connections stay, Unix sockets, forms of `bind`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Conn, Reply, Server, free_addr, server_program, wait_for};

const OK: &[u8] = b"OK";
const DEADLINE: Duration = Duration::from_secs(5);

fn set(conn: &mut Conn, name: &str, value: &str) -> Reply {
    conn.call(&["CONFIG", "SET", name, value])
}

fn ok() -> Reply {
    Reply::Simple(OK.to_vec())
}

/// Whether a new connection to `addr` is served.
fn answers(addr: SocketAddr) -> bool {
    let ask = || -> io::Result<Reply> {
        let mut conn = Conn::open(addr)?;
        conn.send(&["PING"])?;
        conn.read()
    };
    ask().is_ok_and(|reply| reply == Reply::Simple(b"PONG".to_vec()))
}

#[test]
fn a_new_port_takes_the_place_of_the_old_one() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    let new = free_addr().expect("a free port");
    assert_eq!(set(&mut conn, "port", &new.port().to_string()), ok());
    assert!(wait_for(DEADLINE, || answers(new)), "nobody answers at {new}");
    assert!(Conn::open(server.addr()).is_err(), "the old port is still open");
    assert_eq!(conn.call(&["PING"]), Reply::Simple(b"PONG".to_vec()));
    assert_eq!(set(&mut conn, "port", &server.addr().port().to_string()), ok());
    assert!(wait_for(DEADLINE, || answers(server.addr())), "there is no way back");
}

#[test]
fn a_port_in_use_changes_nothing() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port();
    let refusal = conn.call(&["CONFIG", "SET", "timeout", "7", "port", &port.to_string()]);
    let text = b"ERR CONFIG SET failed (possibly related to argument 'port') - \
        Unable to listen on this port. Check server logs.";
    assert_eq!(refusal, Reply::Error(text.to_vec()));
    assert!(wait_for(DEADLINE, || answers(server.addr())), "the old port is gone");
    let timeout = conn.call(&["CONFIG", "GET", "timeout"]);
    let value = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
    assert_eq!(timeout, Reply::Array(vec![value("timeout"), value("0")]));
}

#[test]
fn a_wildcard_and_one_of_its_addresses_follow_each_other() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    for bind in ["127.0.0.1 127.0.0.2", "0.0.0.0", "127.0.0.1"] {
        assert_eq!(set(&mut conn, "bind", bind), ok(), "{bind}");
        assert!(wait_for(DEADLINE, || answers(server.addr())), "nobody answers after {bind}");
    }
    let refusal = set(&mut conn, "bind", "999.999.999.999");
    let text = b"ERR CONFIG SET failed (possibly related to argument 'bind') - \
        Failed to bind to specified addresses.";
    assert_eq!(refusal, Reply::Error(text.to_vec()));
    assert!(wait_for(DEADLINE, || answers(server.addr())), "the old address is gone");
}

/// A client on a Unix socket; replies are lines or bulk strings.
fn ask_unix(path: &Path, request: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.write_all(format!("{request}\r\nQUIT\r\n").as_bytes())?;
    let mut reply = String::new();
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

#[test]
fn a_unix_socket_takes_the_place_of_a_stale_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("s");
    drop(UnixListener::bind(&path).expect("a socket file"));
    let group = rustix::process::getgid().as_raw().to_string();
    let text = path.to_str().expect("UTF-8");
    let args = ["--unixsocket", text, "--unixsocketperm", "750", "--unixsocketgroup", &group];
    let server = Server::start(&args);
    let mode = path.metadata().expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
    let list = ask_unix(&path, "CLIENT LIST").expect("it is served");
    assert!(list.contains(&format!(" addr={text}:0 laddr={text}:0 ")), "{list}");
    assert!(list.contains(" flags=U "), "{list}");
    let info = ask_unix(&path, "INFO server").expect("it is served");
    let port = server.addr().port();
    assert!(info.contains(&format!("listener0:name=tcp,bind=127.0.0.1,port={port}\r\n")), "{info}");
    assert!(info.contains(&format!("listener1:name=unix,bind={text}\r\n")), "{info}");
}

/// What a server that cannot start says.
fn refusal(args: &[&str]) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let output = Command::new(server_program())
        .args(args)
        .current_dir(dir.path())
        .output()
        .expect("the server can be started");
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_server_that_cannot_listen_says_why() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let log = refusal(&["--bind", "127.0.0.1", "--port", &port]);
    let warning = format!(
        "Warning: Could not create server TCP listening socket 127.0.0.1:{port}: Address already in use"
    );
    assert!(log.contains(&warning), "{log}");
    assert!(log.contains(&format!("Failed listening on port {port} (tcp), aborting.")), "{log}");
    let log = refusal(&["--bind", "no-such-host.invalid", "--port", &port]);
    assert!(log.contains("listening socket no-such-host.invalid:"), "{log}");
    let log = refusal(&["--port", "0"]);
    assert!(log.contains("Configured to not listen anywhere, exiting."), "{log}");
    let log = refusal(&["--port", "0", "--unixsocket", "/no/such/folder/s"]);
    assert!(log.contains("Failed opening Unix socket: bind: No such file or directory"), "{log}");
    let log = refusal(&["--port", "0", "--unixsocket", "s", "--unixsocketgroup", "no group"]);
    assert!(log.contains("Failed opening Unix socket: no group is called 'no group'"), "{log}");
}

#[test]
fn addresses_that_the_host_lacks_may_be_optional() {
    let server = Server::start(&["--bind", "localhost -192.0.2.1 -::1"]);
    let log = server.log();
    assert!(log.contains("listening socket 192.0.2.1:"), "{log}");
    let mut conn = server.connect();
    let Reply::Bulk(info) = conn.call(&["INFO", "server"]) else { panic!("INFO is a bulk string") };
    let info = String::from_utf8_lossy(&info);
    assert!(info.contains("listener0:name=tcp,bind=localhost,"), "{info}");
}

#[test]
fn idle_clients_are_closed_but_not_those_that_wait() {
    let server = Server::start(&["--timeout", "1"]);
    let mut idle = server.connect();
    let mut waiting: Vec<_> = (0..3).map(|_| server.connect()).collect();
    assert_eq!(idle.call(&["PING"]), Reply::Simple(b"PONG".to_vec()));
    waiting[0].send(&["BLPOP", "list", "0"]).expect("a connection");
    waiting[1].call(&["SUBSCRIBE", "channel"]);
    assert_eq!(waiting[2].call(&["MONITOR"]), ok());
    assert_eq!(idle.read().map_err(|error| error.kind()), Err(io::ErrorKind::UnexpectedEof));
    let mut conn = server.connect();
    assert_eq!(conn.call(&["PUBLISH", "channel", "m"]), Reply::Integer(1));
    assert_eq!(conn.call(&["LPUSH", "list", "a"]), Reply::Integer(1));
    assert!(waiting.iter_mut().all(|conn| conn.read().is_ok()), "somebody was closed");
}

/// What still waits for the end of a round does not keep the socket of a connection that has ended.
#[test]
fn who_says_quit_sees_the_end_at_once() {
    let server = Server::start(&["--threads", "1"]);
    let mut times = Vec::new();
    for _ in 0..31 {
        let begun = Instant::now();
        let mut conn = server.connect();
        assert_eq!(conn.call(&["QUIT"]), ok());
        assert_eq!(conn.read().map_err(|error| error.kind()), Err(io::ErrorKind::UnexpectedEof));
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    assert!(times[15] < Duration::from_millis(50), "{times:?} until the end of a connection");
}
