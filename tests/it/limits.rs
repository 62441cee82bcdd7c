//! What a client may use up: bounds on input, output, connections, and what an idle one costs.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::harness::{Conn, Reply, Server, encode, wait_for};

const DEADLINE: Duration = Duration::from_secs(10);

/// Connections of the idle test, and descriptors it leaves to everything else.
const IDLE_MAX: u64 = 10_000;
const SPARE_FDS: u64 = 500;

/// What an idle connection may cost the server, in bytes.
const IDLE_BYTES_MAX: u64 = 2048;

fn open(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.addr()).expect("a running server accepts connections");
    stream.set_nodelay(true).expect("a TCP option");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline above zero");
    stream.set_write_timeout(Some(DEADLINE)).expect("a deadline above zero");
    stream
}

/// What the server says to `input` before it closes the connection.
fn refusal(server: &Server, input: &[u8]) -> String {
    let mut stream = open(server);
    let _ = stream.write_all(input);
    let mut reply = Vec::new();
    match stream.read_to_end(&mut reply) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "not closed"),
    }
    String::from_utf8_lossy(&reply).into_owned()
}

#[test]
fn unauthenticated_clients_may_send_little() {
    let server = Server::start(&["--requirepass", "secret"]);
    let count = "-ERR Protocol error: unauthenticated multibulk length\r\n";
    assert_eq!(refusal(&server, b"*11\r\n"), count);
    let bulk = "-ERR Protocol error: unauthenticated bulk length\r\n";
    assert_eq!(refusal(&server, b"*2\r\n$4\r\nAUTH\r\n$16385\r\n"), bulk);
    let inline = "-ERR Protocol error: too big inline request\r\n";
    assert_eq!(refusal(&server, &[b'a'; 70_000]), inline);

    let mut conn = server.connect();
    let Reply::Error(text) = conn.call(&["SET", "k", "v"]) else { panic!("not authenticated") };
    assert_eq!(text, b"NOAUTH Authentication required.");
    assert_eq!(conn.call(&["AUTH", "secret"]), Reply::Simple(b"OK".to_vec()));
    let keys: Vec<String> = (0..100).map(|number| format!("k{number}")).collect();
    let mut request = vec!["DEL"];
    request.extend(keys.iter().map(String::as_str));
    assert_eq!(conn.call(&request), Reply::Integer(0));
    assert_eq!(conn.call(&["SET", "k", &"v".repeat(20_000)]), Reply::Simple(b"OK".to_vec()));
}

#[test]
fn the_query_buffer_is_bounded() {
    let server = Server::start(&["--client-query-buffer-limit", "1mb"]);
    let mut watcher = server.connect();
    // One argument that grows beyond the limit.
    let mut big = b"*2\r\n$4\r\nECHO\r\n$10000000\r\n".to_vec();
    big.resize(3 << 20, b'x');
    assert_eq!(refusal(&server, &big), "");
    // Many small ones that do.
    let mut many = b"*1000000\r\n".to_vec();
    while many.len() < 3 << 20 {
        many.extend(b"$100\r\n");
        many.resize(many.len() + 100, b'x');
        many.extend(b"\r\n");
    }
    assert_eq!(refusal(&server, &many), "");
    assert_eq!(watcher.info("client_query_buffer_limit_disconnections"), 2);
    assert!(server.log().contains("max query buffer length"), "{}", server.log());
    // What fits goes through, and a pipeline of any length does.
    let value = "v".repeat(900_000);
    assert_eq!(watcher.call(&["SET", "k", &value]), Reply::Simple(b"OK".to_vec()));
    let pipeline = encode(&["STRLEN", "k"]).repeat(100_000);
    let mut stream = open(&server);
    let mut receiver = Conn::of(stream.try_clone().expect("a second handle"));
    let sending = std::thread::spawn(move || stream.write_all(&pipeline).expect("sent"));
    for _ in 0..100_000 {
        assert_eq!(receiver.read().expect("a reply"), Reply::Integer(900_000));
    }
    sending.join().expect("the sender ends");
}

#[test]
fn a_client_that_never_reads_is_closed() {
    let server = Server::start(&["--client-output-buffer-limit", "normal 1mb 0 0"]);
    let mut watcher = server.connect();
    let value = vec![b'v'; 100_000];
    let set = [b"SET".as_slice(), b"k", &value];
    assert_eq!(watcher.call(&set), Reply::Simple(b"OK".to_vec()));
    let before = watcher.info("used_memory");
    let mut stream = open(&server);
    let request = encode(&["GET", "k"]);
    // Either the server hangs up on us, or it has by the time all requests are sent.
    for _ in 0..2_000 {
        if stream.write_all(&request).is_err() {
            break;
        }
    }
    let field = "client_output_buffer_limit_disconnections";
    assert!(wait_for(DEADLINE, || watcher.info(field) == 1), "{}", server.log());
    assert!(server.log().contains("overcoming of output buffer limits"), "{}", server.log());
    let peak = watcher.info("used_memory_peak").saturating_sub(before);
    assert!(peak < 64 << 20, "{peak} bytes for a client that does not read");
    // The value is one buffer for all replies; a small value is copied, and bounded as well.
    assert_eq!(watcher.call(&["SET", "k", &"v".repeat(1000)]), Reply::Simple(b"OK".to_vec()));
    let mut stream = open(&server);
    let request = request.repeat(1000);
    for _ in 0..100 {
        if stream.write_all(&request).is_err() {
            break;
        }
    }
    assert!(wait_for(DEADLINE, || watcher.info(field) == 2), "{}", server.log());
}

#[test]
fn clients_beyond_maxclients_are_told() {
    let server = Server::start(&["--maxclients", "3"]);
    let mut first = server.connect();
    // The connection that found out that the server is up may still be closing.
    assert!(wait_for(DEADLINE, || first.info("connected_clients") == 1));
    let (mut second, third) = (server.connect(), server.connect());
    assert_eq!(second.call(&["PING"]), Reply::Simple(b"PONG".to_vec()));
    assert!(wait_for(DEADLINE, || first.info("connected_clients") == 3));
    assert_eq!(refusal(&server, b""), "-ERR max number of clients reached\r\n");
    assert_eq!(first.info("rejected_connections"), 1);
    drop(third);
    assert!(wait_for(DEADLINE, || first.info("connected_clients") == 2));
    assert_eq!(server.connect().call(&["PING"]), Reply::Simple(b"PONG".to_vec()));
    assert_eq!(first.call(&["CONFIG", "SET", "maxclients", "100"]), Reply::Simple(b"OK".to_vec()));
    let more: Vec<Conn> = (0..50).map(|_| server.connect()).collect();
    assert!(wait_for(DEADLINE, || first.info("connected_clients") >= 52), "{}", more.len());
}

/// Raises this process's descriptor limit, which the server inherits, and returns it.
fn raise_fd_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = IDLE_MAX + 2 * SPARE_FDS;
    let current = limit.current.unwrap_or(u64::MAX);
    let raised = limit.maximum.unwrap_or(u64::MAX).min(wanted).max(current);
    if raised > current {
        let limit = Rlimit { current: Some(raised), maximum: limit.maximum };
        setrlimit(Resource::Nofile, limit).expect("a soft limit below the hard one");
    }
    raised
}

fn resident_bytes(server: &Server) -> u64 {
    let path = format!("/proc/{}/statm", server.pid());
    let text = std::fs::read_to_string(path).expect("the figures of a running process");
    let pages: u64 = text.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("statm's form");
    pages * rustix::param::page_size() as u64
}

#[test]
fn ten_thousand_idle_connections_cost_little() {
    let count = raise_fd_limit().saturating_sub(SPARE_FDS).min(IDLE_MAX);
    assert!(count >= 500, "too few file descriptors: ulimit -n");
    let server = Server::start(&["--maxclients", "20000"]);
    let mut watcher = server.connect();
    let before = (watcher.info("used_memory"), resident_bytes(&server));
    let mut idle = Vec::new();
    for number in 0..count {
        let mut conn = server.connect();
        // Half of them have been active before: what a request needed must be gone afterwards.
        if number % 2 == 0 {
            let pong = Reply::Bulk(vec![b'x'; 3000]);
            assert_eq!(conn.call(&["PING", &"x".repeat(3000)]), pong);
        }
        idle.push(conn);
    }
    assert!(wait_for(DEADLINE, || watcher.info("connected_clients") == count + 1));
    let used = (watcher.info("used_memory") - before.0) / count;
    let resident = resident_bytes(&server).saturating_sub(before.1) / count;
    println!("{count} idle connections: {used} bytes of used_memory, {resident} of RSS each");
    assert!(used <= IDLE_BYTES_MAX, "{used} bytes for each of {count} idle connections");
    assert!(resident <= 2 * IDLE_BYTES_MAX, "{resident} bytes of RSS for an idle connection");
    for conn in idle.iter_mut().step_by(997) {
        assert_eq!(conn.call(&["PING"]), Reply::Simple(b"PONG".to_vec()));
    }
}
