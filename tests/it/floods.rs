//! Clients that mean ill: what they can make the server hold is bounded, and others are served.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::dataset::run;
use crate::harness::{Conn, Reply, Server, encode, wait_for};

const DEADLINE: Duration = Duration::from_secs(20);

/// How long anybody else may wait for a reply meanwhile; the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(10);

const MIB: u64 = 1 << 20;

/// A connection that writes without ever waiting.
fn open(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.addr()).expect("a running server accepts connections");
    stream.set_nonblocking(true).expect("a socket option");
    stream
}

/// Sends as much as the socket takes.
fn push(stream: &mut TcpStream, mut bytes: &[u8]) {
    while let Ok(count @ 1..) = stream.write(bytes) {
        bytes = &bytes[count..];
    }
}

fn assert_served(conn: &mut Conn) {
    let start = Instant::now();
    assert_eq!(conn.call(&["SET", "k", "v"]), Reply::Simple(b"OK".to_vec()));
    assert_eq!(conn.call(&["GET", "k"]), Reply::Bulk(b"v".to_vec()));
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}

#[test]
fn replies_that_nobody_reads_hold_little() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    conn.call(&["SET", "big", &"v".repeat(MIB as usize)]);
    for number in 0..200 {
        let items: Vec<String> =
            (0..100).map(|item| format!("{number}:{item}{}", "i".repeat(100))).collect();
        let mut request = vec!["RPUSH", "list"];
        request.extend(items.iter().map(String::as_str));
        conn.call(&request);
        request[0] = "SADD";
        request[1] = "set";
        conn.call(&request);
    }
    let before = conn.info("used_memory");
    let requests = [
        encode(&["GET", "big"]),
        encode(&["LRANGE", "list", "0", "-1"]),
        encode(&["SMEMBERS", "set"]),
    ];
    // 40 clients ask for 300 MB each.
    let mut streams: Vec<TcpStream> = (0..40).map(|_| open(&server)).collect();
    for stream in &mut streams {
        push(stream, &requests.concat().repeat(60));
        assert_served(&mut conn);
    }
    let grown = conn.info("used_memory_peak").saturating_sub(before);
    assert!(grown < 200 * MIB, "{grown} bytes for 12 GB of replies");
    drop(streams);
    assert!(wait_for(DEADLINE, || conn.info("connected_clients") == 1));
    assert!(wait_for(DEADLINE, || conn.info("used_memory") < before + 16 * MIB));
}

#[test]
fn a_flood_of_messages_ends_those_who_do_not_read() {
    let server = Server::start(&["--client-output-buffer-limit", "pubsub 1mb 0 0"]);
    let mut conn = server.connect();
    let mut deaf: Vec<TcpStream> = (0..50).map(|_| open(&server)).collect();
    for stream in &mut deaf {
        push(stream, &encode(&["SUBSCRIBE", "flood"]));
    }
    assert!(wait_for(DEADLINE, || conn.info("pubsub_clients") == 50));
    let mut hearer = server.connect();
    hearer.call(&["SUBSCRIBE", "quiet"]);
    let before = conn.info("used_memory");
    let message = "m".repeat(10_000);
    let mut publisher = server.connect();
    for round in 0..2000 {
        publisher.call(&["PUBLISH", "flood", &message]);
        if round % 200 == 0 {
            assert_served(&mut conn);
            run(&mut conn, "PUBLISH quiet still");
            assert!(matches!(hearer.read(), Ok(Reply::Array(_))));
        }
    }
    assert!(wait_for(DEADLINE, || conn.info("pubsub_clients") == 1), "{}", server.log());
    assert!(conn.info("client_output_buffer_limit_disconnections") > 0);
    let grown = conn.info("used_memory_peak").saturating_sub(before);
    assert!(grown < 100 * MIB, "{grown} bytes for 50 times 20 MB");
}

#[test]
fn headers_promise_what_they_like() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    let (before, resident) = (conn.info("used_memory"), conn.info("used_memory_rss"));
    let mut streams: Vec<TcpStream> = (0..300).map(|_| open(&server)).collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        let header = match number % 4 {
            0 => "*2147483647\r\n",
            1 => "*2\r\n$536870912\r\n",
            2 => "*1000000\r\n$4\r\nMSET\r\n$400000000\r\nxx",
            _ => "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nx",
        };
        push(stream, header.as_bytes());
    }
    assert!(wait_for(DEADLINE, || conn.info("connected_clients") == 301));
    assert_served(&mut conn);
    // A big argument's buffer begins with a mebibyte of address space, whatever is announced.
    let grown = conn.info("used_memory").saturating_sub(before);
    assert!(grown < 330 * MIB, "{grown} bytes for headers of half a gigabyte each");
    let grown = conn.info("used_memory_rss").saturating_sub(resident);
    assert!(grown < 40 * MIB, "{grown} bytes for headers alone");
    drop(streams);
    assert!(wait_for(DEADLINE, || conn.info("used_memory") < before + 16 * MIB));
}

#[test]
fn who_has_not_authenticated_gets_little() {
    let server = Server::start(&["--requirepass", "secret"]);
    let mut conn = server.connect();
    run(&mut conn, "AUTH secret");
    let before = conn.info("used_memory");
    let guesses = encode(&["AUTH", "wrong"]).repeat(2000);
    let tries = encode(&["SET", "k", "v"]).repeat(2000);
    let partial = [b"*2\r\n$4\r\nAUTH\r\n$16384\r\n".as_slice(), &[b'x'; 16_000]].concat();
    let mut streams: Vec<TcpStream> = (0..200).map(|_| open(&server)).collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        push(stream, [&guesses[..], &tries, &partial][number % 3]);
        if number % 20 == 0 {
            assert_served(&mut conn);
        }
    }
    let grown = conn.info("used_memory_peak").saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes for strangers");
    drop(streams);
    assert!(wait_for(DEADLINE, || conn.info("connected_clients") == 1));
}
