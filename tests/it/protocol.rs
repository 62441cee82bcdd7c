//! Whatever bytes arrive, the server answers as Redis does or hangs up, and serves everybody else.
//!
//! Bad frames get Redis's words; good ones get their replies in order, however they are cut up.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

use crate::harness::{Conn, Reply, Server, encode};

/// How long a connection may take to answer or to be closed.
const DEADLINE: Duration = Duration::from_secs(10);

/// More than any connection's reply in these tests.
const REPLY_MAX: u64 = 16 << 20;

fn open(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("a running server accepts connections");
    stream.set_nodelay(true).expect("a TCP option");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline above zero");
    stream.set_write_timeout(Some(DEADLINE)).expect("a deadline above zero");
    stream
}

/// Everything the server sends until it closes. A reset counts as closing: the server had unread
/// input then.
fn read_to_close(stream: &mut TcpStream) -> Vec<u8> {
    let mut reply = Vec::new();
    match stream.take(REPLY_MAX).read_to_end(&mut reply) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not closed after {:?}: {error}", String::from_utf8_lossy(&reply)),
    }
    reply
}

fn assert_alive(server: &Server) {
    assert_eq!(server.connect().call(&["PING"]), Reply::Simple(b"PONG".to_vec()));
}

/// Sends `input` and expects exactly `text` before the connection is closed by the server.
fn assert_refused(server: &Server, input: &[u8], text: &str) {
    let mut stream = open(server.addr());
    // The server may close before it has read everything.
    let _ = stream.write_all(input);
    let reply = read_to_close(&mut stream);
    let start = String::from_utf8_lossy(&input[..input.len().min(60)]).into_owned();
    assert_eq!(String::from_utf8_lossy(&reply), text, "to {} bytes {start:?}", input.len());
    assert_alive(server);
}

#[test]
fn bad_frames_are_refused_in_redis_words() {
    let server = Server::start(&[]);
    let long = |start: &str| [start.as_bytes(), &[b'1'; 70_000]].concat();
    let cases: &[(&[u8], &str)] = &[
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$-10\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$99999999999\r\n", "invalid bulk length"),
        (b"*1\r\n$18446744073709551617\r\n", "invalid bulk length"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n$4x\r\n", "invalid bulk length"),
        (b"*1\r\n$ 4\r\n", "invalid bulk length"),
        (b"*3000000000\r\n", "invalid multibulk length"),
        (b"*9223372036854775808\r\n", "invalid multibulk length"),
        (b"*a\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*1\r\nfoo\r\n", "expected '$', got 'f'"),
        (b"*2\r\n$4\r\nECHO\r\n:1\r\n", "expected '$', got ':'"),
        (b"\"PING\r\n", "unbalanced quotes in request"),
        (b"PING 'x\r\n", "unbalanced quotes in request"),
        (b"PING \"x\"y\r\n", "unbalanced quotes in request"),
    ];
    for (input, text) in cases {
        assert_refused(&server, input, &format!("-ERR Protocol error: {text}\r\n"));
    }
    let too_big: &[(&str, &str)] = &[
        ("PING ", "too big inline request"),
        ("*", "too big mbulk count string"),
        ("*1\r\n$", "too big bulk count string"),
    ];
    for (start, text) in too_big {
        assert_refused(&server, &long(start), &format!("-ERR Protocol error: {text}\r\n"));
    }
}

/// Decoders that recurse run out of stack on such input.
#[test]
fn nested_arrays_are_refused_at_the_second_header() {
    let server = Server::start(&[]);
    for depth in [2, 20_000, 200_000] {
        let text = "-ERR Protocol error: expected '$', got '*'\r\n";
        assert_refused(&server, "*1\r\n".repeat(depth).as_bytes(), text);
    }
}

#[test]
fn empty_requests_are_passed_over() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    conn.send_raw(b"*0\r\n*-1\r\n*-10\r\n\r\n\n   \r\n*1\r\n$4\r\nPING\r\n").expect("sent");
    assert_eq!(conn.read().expect("a reply"), Reply::Simple(b"PONG".to_vec()));
    conn.send_raw(b"\r\nECHO \"a b\"\nECHO 'c\\'d'\r\n").expect("sent");
    assert_eq!(conn.read().expect("a reply"), Reply::Bulk(b"a b".to_vec()));
    assert_eq!(conn.read().expect("a reply"), Reply::Bulk(b"c'd".to_vec()));
}

#[test]
fn requests_before_a_bad_one_are_answered() {
    let server = Server::start(&[]);
    let input = b"*1\r\n$4\r\nPING\r\nECHO x\r\n*1\r\n!\r\n*1\r\n$4\r\nPING\r\n";
    let text = "+PONG\r\n$1\r\nx\r\n-ERR Protocol error: expected '$', got '!'\r\n";
    assert_refused(&server, input, text);
}

#[test]
fn http_is_hung_up_on() {
    let server = Server::start(&[]);
    let post = b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET k attacked\r\n";
    assert_refused(&server, post, "");
    assert_refused(&server, b"host: localhost\r\nSET k attacked\r\n", "");
    let get = "-ERR wrong number of arguments for 'get' command\r\n";
    assert_refused(&server, b"GET / HTTP/1.1\r\nHost: localhost\r\nSET k attacked\r\n", get);
    assert_eq!(server.connect().call(&["GET", "k"]), Reply::NilBulk);
    assert!(server.log().contains("Possible SECURITY ATTACK detected"), "{}", server.log());
}

/// `printf ... | nc` closes its side before it reads.
#[test]
fn a_client_that_has_sent_everything_gets_its_replies() {
    let server = Server::start(&[]);
    let mut stream = open(server.addr());
    stream.write_all(b"SET k v\r\nGET k\r\n*1\r\n$4\r\nPI").expect("sent");
    stream.shutdown(Shutdown::Write).expect("a connected socket");
    assert_eq!(read_to_close(&mut stream), b"+OK\r\n$1\r\nv\r\n");
}

/// Announced sizes reserve no memory, and unfinished requests do not disturb others.
#[test]
fn announced_sizes_cost_nothing() {
    let server = Server::start(&[]);
    let mut watcher = server.connect();
    let before = watcher.info("used_memory");
    let mut open_ends = Vec::new();
    for number in 0..50 {
        let mut stream = open(server.addr());
        let input: &[u8] = match number % 5 {
            0 => b"*2147483647\r\n",
            1 => b"*2\r\n$4\r\nECHO\r\n$536870912\r\nx",
            2 => b"*1000000\r\n$3\r\nDEL\r\n$1",
            3 => b"PING",
            _ => b"*1\r\n$4\r\nPING\r",
        };
        stream.write_all(input).expect("sent");
        open_ends.push(stream);
    }
    assert_alive(&server);
    let grown = watcher.info("used_memory").saturating_sub(before);
    // The buffer of a big argument starts with one megabyte.
    assert!(grown < 20 << 20, "{grown} bytes for 50 unfinished requests");
}

/// Requests of every form, their replies, and nothing that depends on what ran before.
fn sample() -> (Vec<u8>, Vec<u8>) {
    let requests = [
        encode(&["SET", "key", "some value"]),
        b"GET key\r\n".to_vec(),
        encode(&["MGET", "key", "missing", "key"]),
        b"ECHO \"\\x00 \\\"q\\\"\"\n".to_vec(),
        encode(&["ECHO", ""]),
        encode(&["NONSENSE", "a\r\nb"]),
        encode(&["DEL", "key"]),
    ];
    let replies =
        b"+OK\r\n$10\r\nsome value\r\n*3\r\n$10\r\nsome value\r\n$-1\r\n$10\r\nsome value\
        \r\n$5\r\n\0 \"q\"\r\n$0\r\n\r\n-ERR unknown command 'NONSENSE', with args beginning with: \
        'a  b' \r\n:1\r\n";
    (requests.concat(), replies.to_vec())
}

/// With one event loop, an answer to another client means that what came before has been read.
fn settle(other: &mut Conn) {
    assert_eq!(other.call(&["PING"]), Reply::Simple(b"PONG".to_vec()));
}

#[test]
fn requests_may_be_split_anywhere() {
    let server = Server::start(&["--threads", "1"]);
    let (input, expected) = sample();
    let mut other = server.connect();
    let mut stream = open(server.addr());
    for split in 1..input.len() {
        stream.write_all(&input[..split]).expect("sent");
        settle(&mut other);
        stream.write_all(&input[split..]).expect("sent");
        let mut reply = vec![0; expected.len()];
        stream.read_exact(&mut reply).expect("all replies");
        let (got, want) = (String::from_utf8_lossy(&reply), String::from_utf8_lossy(&expected));
        assert_eq!(got, want, "split at {split}");
    }
}

#[test]
fn requests_may_come_byte_by_byte() {
    let server = Server::start(&["--threads", "1"]);
    let (input, expected) = sample();
    let mut other = server.connect();
    let mut stream = open(server.addr());
    for byte in &input {
        stream.write_all(&[*byte]).expect("sent");
        settle(&mut other);
    }
    let mut reply = vec![0; expected.len()];
    stream.read_exact(&mut reply).expect("all replies");
    assert_eq!(String::from_utf8_lossy(&reply), String::from_utf8_lossy(&expected));
}

#[test]
fn long_pipelines_are_answered_in_order() {
    const REQUESTS: usize = 50_000;
    let server = Server::start(&[]);
    let mut conn = server.connect();
    let mut sender = open(server.addr());
    // Read by the same thread only after everything was sent: neither side may wait for the other.
    let mut input = Vec::new();
    for number in 0..REQUESTS {
        input.extend(encode(&["ECHO", &number.to_string()]));
    }
    let mut receiver = sender.try_clone().expect("a second handle");
    let sending = thread::spawn(move || sender.write_all(&input).expect("sent"));
    let mut expected: Vec<u8> = Vec::new();
    for number in 0..REQUESTS {
        let text = number.to_string();
        expected.extend(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
    }
    let mut got = vec![0; expected.len()];
    receiver.read_exact(&mut got).expect("all replies");
    sending.join().expect("the sender ends");
    assert!(got == expected, "replies out of order");
    assert_eq!(conn.call(&["PING"]), Reply::Simple(b"PONG".to_vec()));
}

#[test]
fn big_values_come_back_whole() {
    let server = Server::start(&[]);
    let mut rng = Rng::with_seed(1);
    let cases = [(1 << 20, 1_021), (3_000_007, 65_537), (16 << 20, 1_000_003), (64 << 20, 4 << 20)];
    for (len, piece) in cases {
        let mut value = vec![0; len];
        rng.fill(&mut value);
        let mut conn = server.connect();
        conn.set_read_deadline(DEADLINE);
        let request = encode(&[b"SET".as_slice(), b"big", &value]);
        for part in request.chunks(piece) {
            conn.send_raw(part).expect("sent");
        }
        assert_eq!(conn.read().expect("a reply"), Reply::Simple(b"OK".to_vec()));
        assert_eq!(conn.call(&["STRLEN", "big"]), Reply::Integer(len as i64));
        let reply = conn.call(&["GET", "big"]);
        assert!(reply == Reply::Bulk(value), "{len} bytes in pieces of {piece} differ");
    }
    assert_eq!(server.connect().call(&["DEL", "big"]), Reply::Integer(1));
}

#[test]
fn both_protocols_say_the_same() {
    let server = Server::start(&[]);
    let (mut old, mut new) = (server.connect(), server.connect());
    let bulk = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
    let Reply::Map(hello) = new.call(&["HELLO", "3"]) else { panic!("HELLO 3 answers a map") };
    assert!(hello.contains(&(bulk("proto"), Reply::Integer(3))), "{hello:?}");
    assert_eq!(old.call(&["GET", "missing"]), Reply::NilBulk);
    assert_eq!(new.call(&["GET", "missing"]), Reply::Null);
    let ask = ["CONFIG", "GET", "databases"];
    assert_eq!(old.call(&ask), Reply::Array(vec![bulk("databases"), bulk("16")]));
    assert_eq!(new.call(&ask), Reply::Map(vec![(bulk("databases"), bulk("16"))]));
    let Reply::Error(text) = new.call(&["HELLO", "4"]) else { panic!("there is no RESP4") };
    assert_eq!(text, b"NOPROTO unsupported protocol version");
    let Reply::Array(hello) = new.call(&["HELLO", "2"]) else { panic!("HELLO 2: an array") };
    assert_eq!(hello.len() % 2, 0);
    assert_eq!(new.call(&["GET", "missing"]), Reply::NilBulk);
}

/// Bytes that look like requests often enough to reach every state of the parser.
fn noise(rng: &mut Rng) -> Vec<u8> {
    const PIECES: &[&[u8]] = &[
        b"*1\r\n",
        b"*2\r\n",
        b"*3\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*99999\r\n",
        b"$4\r\n",
        b"$0\r\n",
        b"$-1\r\n",
        b"$1\r\n",
        b"$70000\r\n",
        b"PING\r\n",
        b"PING",
        b"ECHO",
        b"GET",
        b"k",
        b"\r",
        b"\n",
        b"\r\n",
        b"\"",
        b"'",
        b"\\x",
        b"\0",
        b"\xff",
        b" ",
        b"*",
        b"$",
        b"HELLO 3\r\n",
    ];
    let mut bytes = Vec::new();
    for _ in 0..rng.usize(1..60) {
        match rng.u8(..10) {
            0 => bytes.extend((0..rng.usize(1..300)).map(|_| rng.u8(..))),
            1 => bytes.extend(encode(&["SET", "k", &"v".repeat(rng.usize(..2000))])),
            _ => bytes.extend(PIECES[rng.usize(..PIECES.len())]),
        }
    }
    bytes
}

/// Reads replies to the end of the stream; each has to be a well-formed one.
fn read_replies(stream: &TcpStream) -> Result<usize, String> {
    let mut conn = Conn::of(stream.try_clone().expect("a second handle"));
    for count in 0.. {
        match conn.read() {
            Ok(_) => {}
            Err(error) => match error.kind() {
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => return Ok(count),
                _ => return Err(format!("after {count} replies: {error}")),
            },
        }
    }
    unreachable!("the loop has no end of its own")
}

#[test]
fn noise_is_answered_or_hung_up_on() {
    let server = Server::start(&[]);
    for seed in 0..500 {
        let input = noise(&mut Rng::with_seed(seed));
        let mut stream = open(server.addr());
        let _ = stream.write_all(&input);
        let _ = stream.shutdown(Shutdown::Write);
        if let Err(problem) = read_replies(&stream) {
            panic!("seed {seed}: {problem}");
        }
    }
    assert_alive(&server);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// A request and its reply, given that keys are only ever set to their own name.
#[derive(Clone, Debug)]
enum Op {
    Set(u8),
    Get(u8),
    Echo(Vec<u8>),
    Inline(u32),
    Unknown,
    Arity,
}

impl Op {
    fn request(&self) -> Vec<u8> {
        match self {
            Op::Set(key) => encode(&["SET", &format!("key:{key}"), &format!("key:{key}")]),
            Op::Get(key) => encode(&["GET", &format!("key:{key}")]),
            Op::Echo(text) => encode(&[b"ECHO".as_slice(), text]),
            Op::Inline(number) => format!("PING {number}\r\n").into_bytes(),
            Op::Unknown => encode(&["UNKNOWN"]),
            Op::Arity => encode(&["GET"]),
        }
    }

    fn reply(&self, set: &mut [bool; 256]) -> Reply {
        let bulk = |text: String| Reply::Bulk(text.into_bytes());
        match self {
            Op::Set(key) => {
                set[usize::from(*key)] = true;
                Reply::Simple(b"OK".to_vec())
            }
            Op::Get(key) if set[usize::from(*key)] => bulk(format!("key:{key}")),
            Op::Get(_) => Reply::NilBulk,
            Op::Echo(text) => Reply::Bulk(text.clone()),
            Op::Inline(number) => bulk(number.to_string()),
            Op::Unknown => {
                let text = b"ERR unknown command 'UNKNOWN', with args beginning with: ";
                Reply::Error(text.to_vec())
            }
            Op::Arity => Reply::Error(b"ERR wrong number of arguments for 'get' command".to_vec()),
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => any::<u8>().prop_map(Op::Set),
        3 => any::<u8>().prop_map(Op::Get),
        3 => proptest::collection::vec(any::<u8>(), 0..200).prop_map(Op::Echo),
        1 => proptest::collection::vec(any::<u8>(), 30_000..40_000).prop_map(Op::Echo),
        2 => any::<u32>().prop_map(Op::Inline),
        1 => Just(Op::Unknown),
        1 => Just(Op::Arity),
    ]
}

#[test]
fn any_pipeline_in_any_pieces_is_answered_in_order() {
    let server = Server::start(&[]);
    let config = ProptestConfig {
        cases: 64,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let input = (proptest::collection::vec(op(), 1..120), 1_usize..9_000);
    let outcome = TestRunner::new(config).run(&input, |(ops, piece)| {
        let mut conn = server.connect();
        conn.call(&["FLUSHALL"]);
        let mut set = [false; 256];
        let bytes: Vec<u8> = ops.iter().flat_map(Op::request).collect();
        for part in bytes.chunks(piece) {
            conn.send_raw(part).expect("sent");
        }
        for op in &ops {
            prop_assert_eq!(conn.read().expect("a reply"), op.reply(&mut set));
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Each read once copied all that had arrived before it: 16 MB took five seconds, 48 MB a minute.
#[test]
fn requests_of_very_many_arguments_cost_time_in_their_length() {
    const ARGS: usize = 3_000_000;
    let server = Server::start(&["--threads", "1"]);
    let mut input = format!("*{}\r\n$3\r\nDEL\r\n", ARGS + 1).into_bytes();
    input.extend(b"$10\r\nkey:000000\r\n".repeat(ARGS));
    let (last, most) = input.split_last().expect("not empty");
    let mut stream = open(server.addr());
    stream.write_all(most).expect("sent in time");
    // Others are served while it is incomplete.
    assert_alive(&server);
    stream.write_all(&[*last]).expect("sent");
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).expect("answered in time");
    assert_eq!(&reply, b":0\r\n");
}
