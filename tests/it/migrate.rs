//! MIGRATE between this server and a real redis-server, and to targets that refuse, stall, or let
//! the test change the key while it is on its way.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Conn, Reply, Server, wait_for};

const SOON: Duration = Duration::from_secs(10);

fn ok() -> Reply {
    Reply::Simple(b"OK".to_vec())
}

fn call(conn: &mut Conn, command: &str) -> Reply {
    conn.call(&command.split(' ').collect::<Vec<_>>())
}

/// A command that moves keys to `target`, the rest of it as given.
fn migrate(target: SocketAddr, rest: &str) -> String {
    format!("MIGRATE {} {} {rest}", target.ip(), target.port())
}

fn error(text: &str) -> Reply {
    Reply::Error(text.as_bytes().to_vec())
}

/// Commands that make a key of every type in every encoding.
const MAKE: &[&str] = &[
    "SET string text",
    "SET integer -70000",
    "SET volatile soon EX 1000",
    "RPUSH list a 1 -70000",
    "SADD ints 1 2 70000 5000000000",
    "SADD texts a b 17",
    "ZADD zset 1.5 a -inf b 2 c",
    "HSET hash f v n 17",
];

/// Commands that tell what is in the keys.
const LOOK: &[&str] = &[
    "GET string",
    "GET integer",
    "OBJECT ENCODING integer",
    "GET volatile",
    "LRANGE list 0 -1",
    "LRANGE biglist 0 -1",
    "SMEMBERS ints",
    "OBJECT ENCODING ints",
    "SORT texts ALPHA",
    "SORT bigset",
    "ZRANGE zset 0 -1 WITHSCORES",
    "ZRANGE bigzset 0 -1 WITHSCORES",
    "HGETALL hash",
    "HLEN bighash",
    "HMGET bighash f1 f400 f999",
    "STRLEN long",
    "DBSIZE",
];

const KEYS: &str = "string integer volatile list biglist ints texts bigset zset bigzset hash bighash \
                    long";

fn fill(conn: &mut Conn) {
    for command in MAKE {
        call(conn, command);
    }
    let numbers: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    for n in &numbers {
        call(conn, &format!("RPUSH biglist item{n}"));
        call(conn, &format!("ZADD bigzset {n} member{n}"));
        call(conn, &format!("HSET bighash f{n} {n}"));
    }
    call(conn, &format!("SADD bigset {}", numbers.join(" ")));
    call(conn, &format!("SET long {}", "abc".repeat(50_000)));
}

fn look(conn: &mut Conn) -> Vec<Reply> {
    LOOK.iter().map(|command| call(conn, command)).collect()
}

#[test]
fn keys_move_to_redis_and_back_as_they_are() {
    let (here, redis) = (Server::start(&[]), Server::start_redis(&[]));
    let (mut client, mut there) = (here.connect(), redis.connect());
    fill(&mut client);
    let before = look(&mut client);
    let move_all = |target| migrate(target, &format!("\"\" 0 5000 KEYS {KEYS} missing"));
    let send = |conn: &mut Conn, command: &str| {
        let args: Vec<&str> = command.split(' ').map(|arg| arg.trim_matches('"')).collect();
        conn.call(&args)
    };
    assert_eq!(send(&mut client, &move_all(redis.addr())), ok());
    assert_eq!(call(&mut client, "DBSIZE"), Reply::Integer(0));
    assert_eq!(look(&mut there), before);
    let Reply::Integer(ttl) = call(&mut there, "PTTL volatile") else { panic!("a number") };
    assert!((990_000..=1_000_000).contains(&ttl), "{ttl}");
    assert_eq!(send(&mut there, &move_all(here.addr())), ok());
    assert_eq!(call(&mut there, "DBSIZE"), Reply::Integer(0));
    assert_eq!(look(&mut client), before);
}

#[test]
fn options_are_those_of_redis() {
    let redis = Server::start_redis(&["--requirepass", "secret"]);
    let here = Server::start(&[]);
    let (mut client, mut there) = (here.connect(), redis.connect());
    call(&mut there, "AUTH secret");
    let to = |rest: &str| migrate(redis.addr(), rest);
    call(&mut client, "SET k v");
    let denied = call(&mut client, &to("k 0 1000"));
    assert_eq!(
        denied,
        error("ERR Target instance replied with error: NOAUTH Authentication required.")
    );
    let wrong = call(&mut client, &to("k 0 1000 AUTH wrong"));
    assert_eq!(
        wrong,
        error(
            "ERR Target instance replied with error: WRONGPASS invalid username-password pair or \
             user is disabled."
        )
    );
    assert_eq!(
        call(&mut client, &to("k 99 1000 AUTH secret")),
        error("ERR Target instance replied with error: ERR DB index is out of range")
    );
    assert_eq!(call(&mut there, "DBSIZE"), Reply::Integer(0));
    assert_eq!(call(&mut client, &to("k 3 1000 COPY AUTH2 default secret")), ok());
    assert_eq!(call(&mut client, "GET k"), Reply::Bulk(b"v".to_vec()));
    let busy = call(&mut client, &to("k 3 1000 AUTH secret"));
    assert_eq!(
        busy,
        error("ERR Target instance replied with error: BUSYKEY Target key name already exists.")
    );
    call(&mut client, "SET k w");
    assert_eq!(call(&mut client, &to("k 3 1000 REPLACE AUTH secret")), ok());
    assert_eq!(call(&mut client, "EXISTS k"), Reply::Integer(0));
    call(&mut there, "SELECT 3");
    assert_eq!(call(&mut there, "GET k"), Reply::Bulk(b"w".to_vec()));
    // Of several keys those that could be moved have moved.
    call(&mut client, "MSET k 1 l 2");
    let args = format!("{} {}", redis.addr().ip(), redis.addr().port());
    let args: Vec<&str> = args.split(' ').collect();
    let command =
        ["MIGRATE", args[0], args[1], "", "3", "1000", "AUTH", "secret", "KEYS", "k", "l"];
    assert_eq!(client.call(&command), busy);
    assert_eq!(call(&mut client, "EXISTS k"), Reply::Integer(1));
    assert_eq!(call(&mut client, "EXISTS l"), Reply::Integer(0));
    assert_eq!(call(&mut there, "GET l"), Reply::Bulk(b"2".to_vec()));
}

#[test]
fn only_the_client_waits_for_a_target_that_does_not_answer() {
    let here = Server::start_with_threads(1);
    let (mut client, mut other) = (here.connect(), here.connect());
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let target = listener.local_addr().expect("it is bound");
    call(&mut client, "SET k v");
    client.set_read_deadline(SOON);
    let start = Instant::now();
    let command = migrate(target, "k 0 500");
    client.send(&command.split(' ').collect::<Vec<_>>()).expect("the server listens");
    let mut served = 0;
    while start.elapsed() < Duration::from_millis(300) {
        assert_eq!(call(&mut other, "PING"), Reply::Simple(b"PONG".to_vec()));
        served += 1;
    }
    assert!(served > 10, "{served} requests in the meantime");
    let reply = client.read().expect("a reply");
    assert_eq!(reply, error("IOERR error or timeout reading to target instance"));
    assert_eq!(call(&mut client, "GET k"), Reply::Bulk(b"v".to_vec()));
    drop(listener);
    let refused = call(&mut client, &migrate(target, "k 0 500"));
    assert_eq!(refused, error("IOERR error or timeout writing to target instance"));
    assert_eq!(call(&mut client, "GET k"), Reply::Bulk(b"v".to_vec()));
}

/// A target whose replies the test sends.
struct Target(Conn);

impl Target {
    fn accept(listener: &TcpListener) -> Target {
        listener.set_nonblocking(true).expect("a socket option");
        let mut stream: Option<TcpStream> = None;
        assert!(wait_for(SOON, || {
            match listener.accept() {
                Ok((accepted, _)) => stream = Some(accepted),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            stream.is_some()
        }));
        let stream = stream.expect("the server connects");
        stream.set_nonblocking(false).expect("a socket option");
        Target(Conn::of(stream))
    }

    /// The next request.
    fn request(&mut self) -> Vec<String> {
        let Reply::Array(args) = self.0.read().expect("a request") else { panic!("an array") };
        let text = |arg: Reply| match arg {
            Reply::Bulk(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => panic!("{other:?} is no argument"),
        };
        args.into_iter().map(text).collect()
    }

    fn answer(&mut self, line: &str) {
        self.0.send_raw(format!("{line}\r\n").as_bytes()).expect("the server listens");
    }
}

/// A server with a key on its way to the test.
fn on_its_way() -> (Server, Conn, Target, Vec<String>) {
    let here = Server::start(&[]);
    let mut client = here.connect();
    call(&mut client, "SET k first");
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let command = migrate(listener.local_addr().expect("it is bound"), "k 2 5000");
    client.send(&command.split(' ').collect::<Vec<_>>()).expect("the server listens");
    let mut target = Target::accept(&listener);
    assert_eq!(target.request(), ["SELECT", "2"]);
    target.answer("+OK");
    let request = target.request();
    (here, client, target, request)
}

#[test]
fn a_key_that_changes_on_its_way_is_sent_anew() {
    let (here, mut client, mut target, first) = on_its_way();
    assert_eq!((&first[0][..], &first[1][..], first.len()), ("RESTORE", "k", 4));
    let mut other = here.connect();
    call(&mut other, "SET k second");
    assert_eq!(call(&mut other, "GET k"), Reply::Bulk(b"second".to_vec()));
    target.answer("+OK");
    let second = target.request();
    assert_eq!((&second[0][..], &second[4][..], second.len()), ("RESTORE", "REPLACE", 5));
    assert!(first[3].contains("first") && second[3].contains("second"));
    target.answer("+OK");
    assert_eq!(client.read().expect("a reply"), ok());
    assert_eq!(call(&mut other, "EXISTS k"), Reply::Integer(0));
}

#[test]
fn a_key_that_is_deleted_on_its_way_is_deleted_there() {
    let (here, mut client, mut target, _) = on_its_way();
    let mut other = here.connect();
    assert_eq!(call(&mut other, "DEL k"), Reply::Integer(1));
    target.answer("+OK");
    assert_eq!(target.request(), ["DEL", "k"]);
    target.answer(":1");
    assert_eq!(client.read().expect("a reply"), Reply::Simple(b"NOKEY".to_vec()));
}

#[test]
fn a_key_that_keeps_changing_stays() {
    let (here, mut client, mut target, _) = on_its_way();
    let mut other = here.connect();
    for n in 0..16 {
        call(&mut other, &format!("SET k {n}"));
        target.answer("+OK");
        if n < 15 {
            target.request();
        }
    }
    let reply = client.read().expect("a reply");
    assert_eq!(
        reply,
        error("IOERR keys may be on both instances: they keep changing while they are sent")
    );
    assert_eq!(call(&mut other, "GET k"), Reply::Bulk(b"15".to_vec()));
    assert_eq!((client.info("total_watched_keys"), client.info("watching_clients")), (0, 0));
}

#[test]
fn a_client_that_goes_leaves_the_key_and_no_watch() {
    let (here, client, mut target, _) = on_its_way();
    let mut other = here.connect();
    assert_eq!(other.info("total_watched_keys"), 1);
    drop(client);
    assert!(wait_for(SOON, || other.info("total_watched_keys") == 0));
    target.answer("+OK");
    assert_eq!(call(&mut other, "GET k"), Reply::Bulk(b"first".to_vec()));
}

#[test]
fn no_write_is_lost_while_keys_move() {
    const ROUNDS: usize = 60;
    let (here, redis) = (Server::start(&[]), Server::start_redis(&[]));
    let (mut client, mut there) = (here.connect(), redis.connect());
    let (mut moved, mut kept) = (0, 0);
    for round in 0..ROUNDS {
        let (key, over) = (format!("key{round}"), AtomicBool::new(false));
        call(&mut client, &format!("SET {key} 0"));
        let acknowledged = thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let (mut writer, mut count) = (here.connect(), 0);
                while !over.load(Ordering::Relaxed) {
                    assert!(matches!(writer.call(&["INCR", &key]), Reply::Integer(_)));
                    count += 1;
                }
                count
            });
            match call(&mut client, &migrate(redis.addr(), &format!("{key} 0 5000"))) {
                Reply::Simple(_) => moved += 1,
                Reply::Error(text) => {
                    assert!(text.starts_with(b"IOERR keys may be"), "{}", text.escape_ascii());
                    // What is there is an older state; the key is here.
                    call(&mut there, &format!("DEL {key}"));
                    kept += 1;
                }
                other => panic!("{other:?}"),
            }
            over.store(true, Ordering::Relaxed);
            writer.join().expect("the writer ends")
        });
        let count = |conn: &mut Conn| match call(conn, &format!("GET {key}")) {
            Reply::Bulk(text) => String::from_utf8_lossy(&text).parse().expect("a number"),
            _ => 0,
        };
        assert_eq!(count(&mut client) + count(&mut there), acknowledged, "{moved} {kept}");
    }
    assert!(moved > 0, "{kept} of {ROUNDS} stayed");
}
