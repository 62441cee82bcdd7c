//! Client-side caching and MONITOR across event loops: no copy stays stale, whatever changes the key;
//! the table keeps its bound; nothing is left behind of clients that go.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use crate::harness::{Conn, Reply, Server, encode, wait_for};

const LONG: Duration = Duration::from_secs(20);

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

fn ok() -> Reply {
    Reply::Simple(b"OK".to_vec())
}

fn next(conn: &mut Conn) -> Reply {
    conn.read().expect("a push or a reply")
}

/// A client that speaks RESP3 and tracks with `options`.
fn tracker(server: &Server, options: &[&str]) -> Conn {
    let mut conn = server.connect();
    conn.set_read_deadline(LONG);
    conn.call(&["HELLO", "3"]);
    assert_eq!(conn.call(&[&["CLIENT", "TRACKING", "ON"], options].concat()), ok());
    conn
}

/// The keys of an invalidation; `None` is all.
fn invalid_keys(push: &[Reply]) -> Option<Vec<String>> {
    assert_eq!(push[0], bulk("invalidate"));
    match &push[1] {
        Reply::Array(keys) => Some(keys.iter().map(text).collect()),
        _ => None,
    }
}

fn text(reply: &Reply) -> String {
    let Reply::Bulk(bytes) = reply else { panic!("{reply:?} is no bulk string") };
    String::from_utf8(bytes.clone()).expect("the test sends text")
}

/// A client with copies of what it has read.
struct Cache {
    conn: Conn,
    copies: HashMap<String, Reply>,
    invalidated: usize,
}

impl Cache {
    fn new(conn: Conn) -> Self {
        Self { conn, copies: HashMap::new(), invalidated: 0 }
    }

    /// Takes invalidations in until the reply to the last request comes.
    fn reply(&mut self) -> Reply {
        loop {
            match next(&mut self.conn) {
                Reply::Push(push) => {
                    self.invalidated += 1;
                    match invalid_keys(&push) {
                        Some(keys) => keys.iter().for_each(|key| drop(self.copies.remove(key))),
                        None => self.copies.clear(),
                    }
                }
                reply => return reply,
            }
        }
    }

    fn get(&mut self, key: String) {
        if !self.copies.contains_key(&key) {
            self.conn.send(&["GET", &key]).expect("the server reads");
            let value = self.reply();
            self.copies.insert(key, value);
        }
    }

    fn settle(&mut self) {
        self.conn.send(&["PING"]).expect("the server reads");
        assert_eq!(self.reply(), Reply::Simple(b"PONG".to_vec()));
    }
}

const KEYS: u32 = 60;

fn any_key(rng: &mut Rng) -> String {
    format!("k{}", rng.u32(0..KEYS))
}

/// Changes something in one way or another.
fn change(conn: &mut Conn, rng: &mut Rng) {
    let (key, other, value) = (any_key(rng), any_key(rng), rng.u32(..).to_string());
    let ms = rng.u32(1..30).to_string();
    let (key, other, value) = (key.as_str(), other.as_str(), value.as_str());
    match rng.u32(0..100) {
        0 => drop(conn.call(&["FLUSHDB"])),
        1 => drop(conn.call(&["SWAPDB", "0", "1"])),
        2..10 => drop(conn.call(&["DEL", key, other])),
        10..20 => drop(conn.call(&["RENAME", key, other])),
        20..30 => drop(conn.call(&["PEXPIRE", key, &ms])),
        30..40 => drop(conn.call(&["SET", key, value, "PX", &ms])),
        40..50 => drop(conn.call(&["COPY", key, other, "REPLACE"])),
        50..60 => drop(conn.call(&["APPEND", key, "x"])),
        60..70 => {
            let requests =
                [&["MULTI"][..], &["GET", key], &["SET", key, value], &["DEL", other], &["EXEC"]];
            requests.iter().for_each(|request| drop(conn.call(request)));
        }
        _ => drop(conn.call(&["MSET", key, value, other, value])),
    }
}

#[test]
fn no_copy_stays_stale() {
    const CHANGES: usize = 4_000;
    let server = Server::start(&["--threads", "3"]);
    let changers = AtomicUsize::new(3);
    let options: [&[&str]; 6] =
        [&[], &[], &["NOLOOP"], &["OPTOUT"], &["BCAST"], &["BCAST", "PREFIX", "k"]];
    let mut caches = thread::scope(|scope| {
        for seed in 0..3 {
            let (mut conn, changers) = (server.connect(), &changers);
            conn.set_read_deadline(LONG);
            scope.spawn(move || {
                let mut rng = Rng::with_seed(seed);
                (0..CHANGES).for_each(|_| change(&mut conn, &mut rng));
                changers.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let readers: Vec<_> = options
            .iter()
            .enumerate()
            .map(|(seed, options)| {
                let mut cache = Cache::new(tracker(&server, options));
                let changers = &changers;
                scope.spawn(move || {
                    let mut rng = Rng::with_seed(seed as u64);
                    while changers.load(Ordering::Relaxed) > 0 {
                        cache.get(any_key(&mut rng));
                        if rng.u8(0..8) == 0 {
                            cache.settle();
                        }
                    }
                    (0..KEYS).for_each(|number| cache.get(format!("k{number}")));
                    cache
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().expect("it reads")).collect::<Vec<_>>()
    });
    let mut conn = server.connect();
    let no_deadlines = |conn: &mut Conn| {
        let info = conn.call(&["INFO", "keyspace"]);
        text(&info)
            .lines()
            .filter(|line| line.starts_with("db"))
            .all(|line| line.contains("expires=0"))
    };
    assert!(wait_for(LONG, || no_deadlines(&mut conn)));
    for (cache, options) in caches.iter_mut().zip(options) {
        cache.settle();
        assert!(cache.invalidated > 100, "{options:?}: {} invalidations", cache.invalidated);
        for (key, copy) in &cache.copies {
            let value = conn.call(&["GET", key]);
            let same = *copy == value || (*copy == Reply::Null && value == Reply::NilBulk);
            assert!(same, "{options:?}: {key} is {value:?}, not {copy:?}");
        }
    }
    assert!(caches.iter().any(|cache| cache.copies.len() > 5), "there is something to compare");
}

#[test]
fn a_key_that_expires_by_itself_is_invalid() {
    let server = Server::start(&["--threads", "2"]);
    let mut conn = server.connect();
    let (mut reader, mut listener) =
        (tracker(&server, &[]), tracker(&server, &["BCAST", "PREFIX", "vol"]));
    assert_eq!(conn.call(&["SET", "volatile", "v", "PX", "150"]), ok());
    let push = Reply::Push(vec![bulk("invalidate"), Reply::Array(vec![bulk("volatile")])]);
    assert_eq!(next(&mut listener), push);
    assert_eq!(reader.call(&["GET", "volatile"]), bulk("v"));
    assert_eq!((next(&mut reader), next(&mut listener)), (push.clone(), push));
    assert_eq!(conn.info("tracking_total_keys"), 0);
}

#[test]
fn the_table_keeps_its_bound() {
    const ALL: usize = 3_000;
    let server = Server::start(&["--threads", "2", "--tracking-table-max-keys", "500"]);
    let mut conn = server.connect();
    let mut cache = Cache::new(tracker(&server, &[]));
    (0..ALL).for_each(|number| cache.get(number.to_string()));
    cache.settle();
    assert_eq!(conn.info("tracking_total_keys"), 500);
    assert_eq!((cache.copies.len(), cache.invalidated), (500, ALL - 500));
    assert_eq!(conn.call(&["CONFIG", "SET", "tracking-table-max-keys", "100"]), ok());
    cache.settle();
    assert_eq!((cache.copies.len(), conn.info("tracking_total_items")), (100, 100));
    for number in 0..ALL {
        assert_eq!(conn.call(&["SET", &number.to_string(), "x"]), ok());
    }
    cache.settle();
    assert_eq!((cache.copies.len(), conn.info("tracking_total_keys")), (0, 0));
}

#[test]
fn who_is_served_gets_its_reply_before_the_invalidation() {
    let server = Server::start(&["--threads", "2"]);
    let mut conn = server.connect();
    let mut waiting = [tracker(&server, &[]), tracker(&server, &[])];
    for round in 0..300 {
        let waiting = &mut waiting[round % 2];
        waiting.call(&["LRANGE", "target", "0", "-1"]);
        waiting.send(&["BLMOVE", "source", "target", "LEFT", "LEFT", "0"]).expect("it reads");
        assert!(wait_for(LONG, || conn.info("blocked_clients") == 1));
        let pushed = conn.call(&["RPUSH", "source", &round.to_string()]);
        assert_eq!(pushed, Reply::Integer(1));
        assert_eq!(next(waiting), bulk(&round.to_string()));
        let Reply::Push(push) = next(waiting) else { panic!("an invalidation follows") };
        assert_eq!(invalid_keys(&push), Some(vec!["target".to_owned()]));
        assert_eq!(conn.call(&["DEL", "target"]), Reply::Integer(1));
    }
}

#[test]
fn nothing_is_left_of_clients_that_go() {
    let server = Server::start(&["--threads", "3"]);
    thread::scope(|scope| {
        for seed in 0..4 {
            let server = &server;
            scope.spawn(move || {
                let mut rng = Rng::with_seed(seed);
                for _ in 0..100 {
                    let prefix = rng.u32(0..10).to_string();
                    let options: &[&str] = match rng.u32(0..3) {
                        0 => &["BCAST", "PREFIX", &prefix],
                        1 => &["BCAST"],
                        _ => &[],
                    };
                    let mut conn = tracker(server, options);
                    for _ in 0..rng.u32(0..20) {
                        conn.send(&["GET", &any_key(&mut rng)]).expect("the server reads");
                        conn.send(&["SET", &any_key(&mut rng), "x"]).expect("the server reads");
                    }
                    match rng.u32(0..4) {
                        0 => drop(conn.send(&["QUIT"])),
                        1 => drop(conn.send(&["RESET"])),
                        2 => drop(conn.send(&["CLIENT", "TRACKING", "OFF"])),
                        _ => {}
                    }
                }
            });
        }
    });
    let mut conn = server.connect();
    assert!(wait_for(LONG, || conn.info("connected_clients") == 1));
    assert_eq!((conn.info("tracking_clients"), conn.info("tracking_total_prefixes")), (0, 0));
    assert!(wait_for(LONG, || conn.info("tracking_total_keys") == 0));
}

/// What a monitor was sent, without the time.
fn shown(conn: &mut Conn) -> String {
    let Reply::Simple(line) = next(conn) else { panic!("monitors get lines") };
    let line = String::from_utf8(line).expect("lines are text");
    line.split_once(' ').expect("the time comes first").1.to_owned()
}

#[test]
fn monitors_see_all_commands_in_one_order() {
    const CLIENTS: usize = 4;
    const COMMANDS: usize = 2_000;
    let server = Server::start(&["--threads", "3"]);
    let mut monitors = [server.connect(), server.connect()];
    for monitor in &mut monitors {
        monitor.set_read_deadline(LONG);
        assert_eq!(monitor.call(&["MONITOR"]), ok());
    }
    let seen = thread::scope(|scope| {
        for client in 0..CLIENTS {
            let mut conn = server.connect();
            scope.spawn(move || {
                for start in (0..COMMANDS).step_by(100) {
                    let requests: Vec<u8> = (start..start + 100)
                        .flat_map(|n| encode(&["SET", &client.to_string(), &n.to_string()]))
                        .collect();
                    conn.send_raw(&requests).expect("the server reads");
                    (0..100).for_each(|_| assert_eq!(next(&mut conn), ok()));
                }
            });
        }
        let readers = monitors.map(|mut conn| {
            scope.spawn(move || {
                let lines: Vec<String> =
                    (0..CLIENTS * COMMANDS).map(|_| shown(&mut conn)).collect();
                lines
            })
        });
        readers.map(|reader| reader.join().expect("all lines come"))
    });
    assert!(seen[0] == seen[1], "the orders differ");
    for client in 0..CLIENTS {
        let word = format!("\"SET\" \"{client}\" ");
        let own: Vec<&str> =
            seen[0].iter().filter_map(|line| Some(line.split_once(&word)?.1)).collect();
        let expected: Vec<String> = (0..COMMANDS).map(|number| format!("\"{number}\"")).collect();
        assert_eq!(own, expected);
    }
}

#[test]
fn a_slow_monitor_is_closed_like_any_client() {
    let server = Server::start(&["--threads", "2"]);
    let (mut conn, mut slow) = (server.connect(), server.connect());
    let set = ["CONFIG", "SET", "client-output-buffer-limit", "normal 2mb 0 0"];
    assert_eq!(conn.call(&set), ok());
    assert_eq!(slow.call(&["MONITOR"]), ok());
    let value = "x".repeat(10_000);
    (0..3_000).for_each(|_| assert_eq!(conn.call(&["SET", "k", &value]), ok()));
    assert!(wait_for(LONG, || conn.info("connected_clients") == 1));
    assert_eq!(conn.info("client_output_buffer_limit_disconnections"), 1);
    slow.set_read_deadline(LONG);
    let end = std::iter::repeat_with(|| slow.read()).find_map(Result::err).expect("it is closed");
    assert!(end.kind() != std::io::ErrorKind::WouldBlock, "{end}");
}
