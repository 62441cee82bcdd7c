//! Clients that wait for keys: order, every way a wait ends, and that no element is lost or doubled.

use std::collections::HashMap;
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::harness::{Conn, Reply, Server, wait_for};

const LONG: Duration = Duration::from_secs(10);

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

fn pair(key: &str, element: &str) -> Reply {
    Reply::Array(vec![bulk(key), bulk(element)])
}

/// A client that has sent `request` and waits.
fn waiting(server: &Server, request: &[&str]) -> Conn {
    let mut observer = server.connect();
    let before = observer.info("blocked_clients");
    let mut conn = server.connect();
    conn.send(request).expect("the server reads");
    assert!(wait_for(LONG, || observer.info("blocked_clients") > before), "{request:?} waits");
    conn
}

#[test]
fn who_waits_longest_is_served_first() {
    let server = Server::start(&["--threads", "2"]);
    let mut waiters: Vec<Conn> =
        (0..6).map(|_| waiting(&server, &["BLPOP", "other", "queue", "0"])).collect();
    let mut conn = server.connect();
    assert_eq!(conn.call(&["RPUSH", "queue", "a", "b", "c", "d"]), Reply::Integer(4));
    assert_eq!(conn.call(&["EXISTS", "queue"]), Reply::Integer(0));
    for (waiter, element) in waiters.iter_mut().zip(["a", "b", "c", "d"]) {
        assert_eq!(waiter.read().expect("it is served"), pair("queue", element));
    }
    assert_eq!(conn.call(&["LPUSH", "other", "e", "f"]), Reply::Integer(2));
    assert_eq!(waiters[4].read().expect("it is served"), pair("other", "f"));
    assert_eq!(waiters[5].read().expect("it is served"), pair("other", "e"));
    assert_eq!((conn.info("blocked_clients"), conn.info("total_blocking_keys")), (0, 0));
}

/// A move may have to wait for the shard of its second key; nobody behind it comes before it.
#[test]
fn keys_are_served_in_the_order_in_which_they_became_ready() {
    let server = Server::start(&["--threads", "2"]);
    let both: &[&[&[&str]]] = &[
        &[&["MULTI"], &["RPUSH", "q1", "a", "b", "c"], &["RPUSH", "q0", "d", "e"], &["EXEC"]],
        &[&[
            "EVAL",
            "redis.call('RPUSH', 'q1', 'a', 'b', 'c') return redis.call('RPUSH', 'q0', 'd', 'e')",
            "0",
        ]],
    ];
    let moves: [&[&str]; 3] = [
        &["BLMOVE", "q1", "q2", "LEFT", "RIGHT", "0"],
        &["BRPOPLPUSH", "q1", "q2", "0"],
        &["BLPOP", "q1", "0"],
    ];
    for (requests, first) in both.iter().flat_map(|both| moves.map(|first| (both, first))) {
        let mut mover = waiting(&server, first);
        let mut popper = waiting(&server, &["BLPOP", "q1", "q0", "0"]);
        let mut behind = waiting(&server, &["BLPOP", "q0", "0"]);
        let mut conn = server.connect();
        requests.iter().for_each(|request| drop(conn.call(request)));
        let taken = if first[0] == "BRPOPLPUSH" { "c" } else { "a" };
        let next = if taken == "c" { "a" } else { "b" };
        let moved = mover.read().expect("it is served");
        assert!(moved == bulk(taken) || moved == pair("q1", taken), "{first:?}: {moved:?}");
        assert_eq!(popper.read().expect("it is served"), pair("q1", next), "{first:?}");
        assert_eq!(behind.read().expect("it is served"), pair("q0", "d"), "{first:?}");
        conn.call(&["DEL", "q0", "q1", "q2"]);
    }
}

#[test]
fn moves_chain_and_feed_the_next_waiter() {
    let server = Server::start(&["--threads", "2"]);
    let mut last = waiting(&server, &["BLPOP", "three", "0"]);
    let mut second = waiting(&server, &["BLMOVE", "two", "three", "LEFT", "RIGHT", "0"]);
    let mut first = waiting(&server, &["BRPOPLPUSH", "one", "two", "0"]);
    let mut conn = server.connect();
    assert_eq!(conn.call(&["RPUSH", "one", "x"]), Reply::Integer(1));
    assert_eq!(conn.call(&["EXISTS", "one", "two", "three"]), Reply::Integer(0));
    assert_eq!(first.read().expect("it is served"), bulk("x"));
    assert_eq!(second.read().expect("it is served"), bulk("x"));
    assert_eq!(last.read().expect("it is served"), pair("three", "x"));
}

#[test]
fn a_wrong_target_is_an_error_and_leaves_the_element() {
    let server = Server::start(&["--threads", "2"]);
    let mut conn = server.connect();
    conn.call(&["SET", "text", "v"]);
    let mut mover = waiting(&server, &["BLMOVE", "list", "text", "LEFT", "LEFT", "0"]);
    let mut next = waiting(&server, &["BLPOP", "list", "0"]);
    assert_eq!(conn.call(&["RPUSH", "list", "x"]), Reply::Integer(1));
    let Reply::Error(error) = mover.read().expect("it is answered") else { panic!("no error") };
    assert!(error.starts_with(b"WRONGTYPE"));
    assert_eq!(next.read().expect("it is served"), pair("list", "x"));
}

#[test]
fn keys_of_another_type_do_not_serve() {
    let server = Server::start(&["--threads", "2"]);
    let mut waiter = waiting(&server, &["BLPOP", "k", "0"]);
    let mut conn = server.connect();
    conn.call(&["SET", "k", "text"]);
    conn.call(&["DEL", "k"]);
    conn.call(&["SADD", "k", "member"]);
    assert_eq!(conn.info("blocked_clients"), 1);
    conn.call(&["DEL", "k"]);
    conn.call(&["RPUSH", "k", "x"]);
    assert_eq!(waiter.read().expect("it is served"), pair("k", "x"));
}

#[test]
fn keys_become_ready_in_every_way() {
    let server = Server::start(&["--threads", "2"]);
    let mut conn = server.connect();
    let ways: [(&[&str], &[&str]); 5] = [
        (&["RPUSH", "src", "x"], &["RENAME", "src", "k"]),
        (&["RPUSH", "src", "x"], &["COPY", "src", "k"]),
        (&["RPUSH", "src", "x"], &["LMOVE", "src", "k", "LEFT", "LEFT"]),
        (&["SELECT", "1"], &["RPUSH", "k", "x"]),
        (&["RPUSH", "k", "x"], &["MOVE", "k", "0"]),
    ];
    for (prepare, act) in ways {
        let mut waiter = waiting(&server, &["BLPOP", "k", "0"]);
        conn.call(prepare);
        conn.call(act);
        if prepare[0] == "SELECT" {
            // Another database's key of that name is nothing to the waiter, until it is its own.
            assert_eq!(conn.info("blocked_clients"), 1);
            conn.call(&["SWAPDB", "0", "1"]);
            conn.call(&["SELECT", "1"]);
        }
        assert_eq!(waiter.read().expect("it is served"), pair("k", "x"), "{act:?}");
        conn.call(&["DEL", "src", "k"]);
    }
}

#[test]
fn waits_end_by_time_and_by_command() {
    let server = Server::start(&["--threads", "2"]);
    let mut conn = server.connect();
    let mut waiter = server.connect();
    let Reply::Integer(id) = waiter.call(&["CLIENT", "ID"]) else { panic!("no id") };
    let id = id.to_string();
    assert_eq!(conn.call(&["CLIENT", "UNBLOCK", &id]), Reply::Integer(0));
    for (mode, expected) in [("TIMEOUT", Reply::NilArray), ("ERROR", unblocked())] {
        waiter.send(&["BLPOP", "k", "0"]).expect("the server reads");
        assert!(wait_for(LONG, || conn.info("blocked_clients") == 1));
        assert_eq!(conn.call(&["CLIENT", "UNBLOCK", &id, mode]), Reply::Integer(1));
        assert_eq!(waiter.read().expect("it is answered"), expected);
    }
    let Reply::Bulk(list) = conn.call(&["CLIENT", "LIST"]) else { panic!("no list") };
    assert!(!String::from_utf8_lossy(&list).contains("flags=b"));
    waiter.send(&["BLPOP", "k", "0.05"]).expect("the server reads");
    assert_eq!(waiter.read().expect("its time is over"), Reply::NilArray);
    assert_eq!(conn.info("blocked_clients"), 0);
}

fn unblocked() -> Reply {
    Reply::Error(b"UNBLOCKED client unblocked via CLIENT UNBLOCK".to_vec())
}

#[test]
fn a_waiter_that_cannot_be_served_does_not_hold_up_the_next() {
    let server = Server::start(&["--threads", "1"]);
    let mut conn = server.connect();
    // The one in front needs five elements, and the next a shard that only its own target is in.
    let mut patient =
        waiting(&server, &["BLMOVEM", "k", "d", "LEFT", "RIGHT", "0", "EXACTLY", "2", "OBO"]);
    let mut mover = waiting(&server, &["BLMOVE", "k", "e", "LEFT", "RIGHT", "0"]);
    assert_eq!(conn.call(&["RPUSH", "k", "x"]), Reply::Integer(1));
    assert_eq!(mover.read().expect("it is served"), bulk("x"));
    assert_eq!(conn.call(&["RPUSH", "k", "y", "z"]), Reply::Integer(2));
    assert_eq!(patient.read().expect("it is served"), Reply::Array(vec![bulk("y"), bulk("z")]));
    // One that has just been killed is passed over.
    let mut killed = server.connect();
    let Reply::Integer(id) = killed.call(&["CLIENT", "ID"]) else { panic!("no id") };
    killed.send(&["BLPOP", "k", "0"]).expect("the server reads");
    assert!(wait_for(LONG, || conn.info("blocked_clients") == 1));
    let mut mover = waiting(&server, &["BLMOVE", "k", "e", "LEFT", "RIGHT", "0"]);
    conn.send_raw(format!("CLIENT KILL ID {id}\r\nRPUSH k x\r\n").as_bytes()).expect("room");
    assert_eq!(conn.read().expect("a reply"), Reply::Integer(1));
    assert_eq!(conn.read().expect("a reply"), Reply::Integer(1));
    assert_eq!(mover.read().expect("it is served"), bulk("x"));
}

#[test]
fn waiting_for_many_keys_takes_time_in_their_number() {
    let server = Server::start(&["--threads", "1"]);
    let names: Vec<String> = (0..50_000).map(|n| format!("key:{n}")).collect();
    let mut request: Vec<&str> = vec!["BLPOP"];
    request.extend(names.iter().map(String::as_str));
    request.push("0");
    let mut waiter = server.connect();
    let start = Instant::now();
    waiter.send(&request).expect("the server reads");
    let mut conn = server.connect();
    assert!(wait_for(LONG, || conn.info("blocked_clients") == 1));
    conn.call(&["SWAPDB", "0", "1"]);
    conn.call(&["RPUSH", "key:49999", "x"]);
    assert_eq!(waiter.read().expect("it is served"), pair("key:49999", "x"));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn a_new_entry_tries_each_member_of_a_group_once() {
    let server = Server::start(&["--threads", "2"]);
    let mut conn = server.connect();
    conn.call(&["XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"]);
    let count = 900;
    let waiters: Vec<Conn> = (0..count)
        .map(|n| {
            let (mut waiter, name) = (server.connect(), format!("c{n}"));
            let request = ["XREADGROUP", "GROUP", "g", &name, "BLOCK", "0", "STREAMS", "s", ">"];
            waiter.send(&request).expect("the server reads");
            waiter
        })
        .collect();
    assert!(wait_for(LONG, || conn.info("blocked_clients") == count));
    let start = Instant::now();
    for id in ["1-1", "2-1", "3-1"] {
        assert_eq!(conn.call(&["XADD", "s", id, "f", "v"]), bulk(id));
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(wait_for(LONG, || conn.info("blocked_clients") == count - 3));
    drop(waiters);
}

#[test]
fn requests_behind_a_waiting_one_wait_too() {
    let server = Server::start(&["--threads", "2"]);
    let mut waiter = server.connect();
    waiter.send_raw(b"PING\r\nBLPOP k 0\r\nSET after 1\r\nBLPOP k 0\r\nGET af").expect("room");
    assert_eq!(waiter.read().expect("a reply"), Reply::Simple(b"PONG".to_vec()));
    let mut conn = server.connect();
    assert!(wait_for(LONG, || conn.info("blocked_clients") == 1));
    waiter.send_raw(b"ter\r\nPING\r\n").expect("room");
    assert_eq!(conn.call(&["EXISTS", "after"]), Reply::Integer(0));
    conn.call(&["RPUSH", "k", "x", "y"]);
    assert_eq!(waiter.read().expect("a reply"), pair("k", "x"));
    assert_eq!(waiter.read().expect("a reply"), Reply::Simple(b"OK".to_vec()));
    assert_eq!(waiter.read().expect("a reply"), pair("k", "y"));
    assert_eq!(waiter.read().expect("a reply"), bulk("1"));
    assert_eq!(waiter.read().expect("a reply"), Reply::Simple(b"PONG".to_vec()));
}

#[test]
fn who_has_gone_is_not_served() {
    let server = Server::start(&["--threads", "2"]);
    let mut conn = server.connect();
    drop(waiting(&server, &["BLPOP", "k", "0"]));
    assert!(wait_for(LONG, || conn.info("blocked_clients") == 0));
    assert_eq!(conn.call(&["RPUSH", "k", "x"]), Reply::Integer(1));
    assert_eq!(conn.call(&["LLEN", "k"]), Reply::Integer(1));
}

#[test]
fn thousands_of_waiting_clients_cost_nothing() {
    let server = Server::start(&["--threads", "2", "--maxclients", "12000"]);
    let mut conn = server.connect();
    let count = 2_000;
    let waiters: Vec<Conn> = (0..count)
        .map(|n| {
            let mut waiter = server.connect();
            waiter.send(&["BLPOP", &format!("key:{}", n % 100), "0"]).expect("the server reads");
            waiter
        })
        .collect();
    assert!(wait_for(LONG, || conn.info("blocked_clients") == count));
    let ticks = || -> u64 {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split(' ').collect();
        fields[12].parse::<u64>().expect("utime") + fields[13].parse::<u64>().expect("stime")
    };
    let before = ticks();
    let busy = wait_for(Duration::from_secs(1), || ticks() - before > 5);
    assert!(!busy, "waiting takes {} ticks a second", ticks() - before);
    drop(waiters);
    assert!(wait_for(LONG, || conn.info("blocked_clients") == 0));
}

/// What the consumers of the stress test share.
struct Market {
    server: Server,
    seen: Mutex<HashMap<Vec<u8>, u32>>,
    over: AtomicBool,
    rounds: AtomicU64,
}

const QUEUES: [&str; 3] = ["q1", "q2", "q3"];

impl Market {
    fn note(&self, reply: Reply) {
        let element = match reply {
            Reply::Array(mut items) => match items.pop() {
                Some(Reply::Bulk(element)) => element,
                Some(Reply::Array(mut elements)) => match elements.pop() {
                    Some(Reply::Bulk(element)) => element,
                    other => panic!("{other:?} is no element"),
                },
                other => panic!("{other:?} is no element"),
            },
            Reply::NilArray | Reply::Error(_) => return,
            other => panic!("{other:?} is no answer"),
        };
        *self.seen.lock().expect("nobody panics").entry(element).or_default() += 1;
    }

    /// Waits in a random way, with a random end, until all is over.
    fn consume(&self, seed: u64) {
        let mut random = Rng::with_seed(seed);
        let mut conn = self.server.connect();
        while !self.over.load(Ordering::Acquire) {
            let timeout = format!("0.0{:02}", random.u32(1..30));
            let (one, two) = (QUEUES[random.usize(0..3)], QUEUES[random.usize(0..3)]);
            let request: Vec<&str> = match random.u32(0..3) {
                0 => vec!["BLPOP", one, two, &timeout],
                1 => vec!["BRPOP", one, &timeout],
                _ => vec!["BLMPOP", &timeout, "2", one, two, "LEFT"],
            };
            self.rounds.fetch_add(1, Ordering::Relaxed);
            if conn.send(&request).is_err() {
                conn = self.server.connect();
                continue;
            }
            let leaves = random.u32(0..8) == 0;
            if leaves {
                // The server sees the end, and what it had handed over still arrives.
                conn.shutdown(Shutdown::Write);
            }
            match conn.read() {
                Ok(reply) => self.note(reply),
                Err(_) => conn = self.server.connect(),
            }
            if leaves {
                conn = self.server.connect();
            }
        }
    }

    /// Ends waits of others until all is over.
    fn disturb(&self, seed: u64) {
        let (mut random, mut conn) = (Rng::with_seed(seed), self.server.connect());
        while !self.over.load(Ordering::Acquire) {
            let Reply::Bulk(list) = conn.call(&["CLIENT", "LIST"]) else { panic!("no list") };
            let list = String::from_utf8_lossy(&list).into_owned();
            let blocked: Vec<&str> = list.lines().filter(|line| line.contains("flags=b")).collect();
            if let Some(line) = blocked.get(random.usize(0..blocked.len().max(1))) {
                let id = line.split(['=', ' ']).nth(1).expect("an id");
                match random.u32(0..3) {
                    0 => drop(conn.call(&["CLIENT", "KILL", "ID", id])),
                    1 => drop(conn.call(&["CLIENT", "UNBLOCK", id])),
                    _ => drop(conn.call(&["CLIENT", "UNBLOCK", id, "ERROR"])),
                }
            }
        }
    }
}

#[test]
fn every_element_is_handed_out_once() {
    const PRODUCERS: u64 = 3;
    const EACH: u64 = 4_000;
    let market = Market {
        server: Server::start(&["--threads", "3"]),
        seen: Mutex::default(),
        over: AtomicBool::new(false),
        rounds: AtomicU64::new(0),
    };
    thread::scope(|scope| {
        let market = &market;
        (0..8).for_each(|seed| drop(scope.spawn(move || market.consume(seed))));
        scope.spawn(move || market.disturb(99));
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                scope.spawn(move || {
                    let mut random = Rng::with_seed(1000 + producer);
                    let mut conn = market.server.connect();
                    for n in 0..EACH {
                        let element = format!("{producer}:{n}");
                        let word = if random.bool() { "LPUSH" } else { "RPUSH" };
                        conn.call(&[word, QUEUES[random.usize(0..3)], &element]);
                    }
                })
            })
            .collect();
        producers.into_iter().for_each(|producer| producer.join().expect("all is pushed"));
        let mut conn = market.server.connect();
        let empty = || QUEUES.iter().all(|key| conn.call(&["LLEN", key]) == Reply::Integer(0));
        let drained = wait_for(Duration::from_secs(60), empty);
        market.over.store(true, Ordering::Release);
        assert!(drained, "the consumers take everything");
    });
    let seen = market.seen.lock().expect("nobody panics");
    let doubled: Vec<_> = seen.iter().filter(|(_, times)| **times != 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    assert_eq!(seen.len() as u64, PRODUCERS * EACH, "after {:?} rounds", market.rounds);
    assert_eq!(market.server.connect().info("blocked_clients"), 0);
}
