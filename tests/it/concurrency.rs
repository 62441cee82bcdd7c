//! Commands are atomic: several connections on several event loops never see one half done.
//!
//! Each test lets writers and readers race for a bounded number of commands and checks what has to
//! hold at every moment, or in the end.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fastrand::Rng;

use crate::harness::{Conn, Reply, Server, encode};

const THREADS: &[&str] = &["--threads", "2"];

/// Several keys, on different shards by all chance.
const GROUP: &[&str] = &["a", "b", "c", "d", "e", "f", "g", "h"];

/// Runs the writers to their end and `observe` again and again until then, at least once after.
fn race(server: &Server, writers: &[&(dyn Fn(&mut Conn) + Sync)], observe: impl Fn(&mut Conn)) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let running: Vec<_> =
            writers.iter().map(|writer| scope.spawn(|| writer(&mut server.connect()))).collect();
        scope.spawn(|| {
            for thread in running {
                // A panic of the writer comes up again where the scope ends.
                let _ = thread.join();
            }
            over.store(true, Ordering::Release);
        });
        let mut conn = server.connect();
        loop {
            let last = over.load(Ordering::Acquire);
            observe(&mut conn);
            if last {
                break;
            }
        }
    });
}

fn ok() -> Reply {
    Reply::Simple(b"OK".to_vec())
}

fn integer(reply: &Reply) -> i64 {
    let Reply::Integer(number) = reply else { panic!("{reply:?} is no integer") };
    *number
}

fn mset(value: &str) -> Vec<&str> {
    let mut request = vec!["MSET"];
    request.extend(GROUP.iter().flat_map(|key| [*key, value]));
    request
}

/// Reads the whole group, forwards or backwards, and returns its one value.
fn group_value(conn: &mut Conn, backwards: bool) -> Reply {
    let mut request = vec!["MGET"];
    request.extend(GROUP);
    if backwards {
        request[1..].reverse();
    }
    let Reply::Array(values) = conn.call(&request) else { panic!("MGET answers an array") };
    assert_eq!(values.len(), GROUP.len());
    assert!(values.iter().all(|value| *value == values[0]), "half of an MSET: {values:?}");
    values[0].clone()
}

#[test]
fn increments_are_never_lost() {
    const CLIENTS: i64 = 6;
    const ROUNDS: i64 = 200;
    const PIPELINE: i64 = 20;
    let server = Server::start(THREADS);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let mut conn = server.connect();
            scope.spawn(move || {
                let mut rng = Rng::with_seed(client.unsigned_abs());
                for _ in 0..ROUNDS {
                    let mut requests = Vec::new();
                    for number in 0..PIPELINE {
                        let key = GROUP[number as usize % GROUP.len()];
                        let by = rng.i64(1..5);
                        // Adds one in the end, by different commands.
                        requests.extend(encode(&["INCRBY", key, &by.to_string()]));
                        requests.extend(encode(&["DECRBY", key, &(by - 1).to_string()]));
                    }
                    conn.send_raw(&requests).expect("sent");
                    for _ in 0..2 * PIPELINE {
                        integer(&conn.read().expect("a reply"));
                    }
                }
            });
        }
    });
    let mut conn = server.connect();
    let mut sum = 0;
    for key in GROUP {
        let Reply::Bulk(text) = conn.call(&["GET", key]) else { panic!("{key} is missing") };
        let text = String::from_utf8(text).expect("digits");
        sum += text.parse::<i64>().expect("digits");
    }
    assert_eq!(sum, CLIENTS * ROUNDS * PIPELINE);
}

#[test]
fn mset_is_seen_whole_or_not_at_all() {
    let server = Server::start(THREADS);
    let write = |conn: &mut Conn, name: &str| {
        for number in 0..3_000 {
            assert_eq!(conn.call(&mset(&format!("{name}{number}"))), ok());
        }
    };
    let backwards = |conn: &mut Conn| {
        for _ in 0..3_000 {
            group_value(conn, true);
        }
    };
    let writers: [&(dyn Fn(&mut Conn) + Sync); 3] =
        [&|conn| write(conn, "x"), &|conn| write(conn, "y"), &backwards];
    race(&server, &writers, |conn| drop(group_value(conn, false)));
}

#[test]
fn flushall_and_swapdb_take_all_keys_at_once() {
    let server = Server::start(THREADS);
    let mut other = server.connect();
    other.call(&["SELECT", "1"]);
    assert_eq!(other.call(&mset("other")), ok());
    let write = |conn: &mut Conn| {
        for number in 0..2_000 {
            assert_eq!(conn.call(&mset(&number.to_string())), ok());
        }
    };
    let disturb = |conn: &mut Conn| {
        for number in 0..1_000 {
            let request: &[&str] =
                if number % 2 == 0 { &["SWAPDB", "0", "1"] } else { &["FLUSHALL"] };
            assert_eq!(conn.call(request), ok());
        }
    };
    race(&server, &[&write, &disturb], |conn| {
        group_value(conn, false);
        let keys = integer(&conn.call(&["DBSIZE"]));
        assert!(keys == 0 || keys == GROUP.len() as i64, "{keys} keys of a group");
    });
}

/// Values move from key to key; none may vanish or show up twice.
#[test]
fn renames_lose_nothing() {
    const TOKENS: usize = 50;
    let server = Server::start(THREADS);
    let mut conn = server.connect();
    for number in 0..TOKENS {
        assert_eq!(conn.call(&["SET", &format!("k{number}"), &format!("t{number}")]), ok());
    }
    let rename = |conn: &mut Conn, seed: u64| {
        let mut rng = Rng::with_seed(seed);
        for _ in 0..4_000 {
            let names = [0, 0].map(|_| format!("k{}", rng.usize(..2 * TOKENS)));
            // Without the source, or with the target, it does nothing.
            conn.call(&["RENAMENX", &names[0], &names[1]]);
        }
    };
    let copy = |conn: &mut Conn| {
        let mut rng = Rng::with_seed(3);
        for _ in 0..4_000 {
            let name = format!("k{}", rng.usize(..2 * TOKENS));
            conn.call(&["COPY", &name, "copy", "REPLACE"]);
            if let Reply::Bulk(value) = conn.call(&["GET", "copy"]) {
                assert!(value.starts_with(b"t"), "{value:?} was never written");
            }
        }
    };
    let writers: [&(dyn Fn(&mut Conn) + Sync); 3] =
        [&|conn| rename(conn, 1), &|conn| rename(conn, 2), &copy];
    race(&server, &writers, |conn| {
        let keys = integer(&conn.call(&["DBSIZE"])) as usize;
        assert!(keys == TOKENS || keys == TOKENS + 1, "{keys} keys");
    });
    let mut seen = HashSet::new();
    for number in 0..2 * TOKENS {
        if let Reply::Bulk(value) = conn.call(&["GET", &format!("k{number}")]) {
            assert!(seen.insert(value), "a value is there twice");
        }
    }
    assert_eq!(seen.len(), TOKENS);
}

/// One full SCAN: the keys that begin with `prefix`.
fn scan(conn: &mut Conn, prefix: &[u8]) -> HashSet<Vec<u8>> {
    let mut found = HashSet::new();
    let mut cursor = b"0".to_vec();
    for _ in 0..1_000_000 {
        let request = [b"SCAN".as_slice(), &cursor, b"COUNT", b"200"];
        let Reply::Array(parts) = conn.call(&request) else { panic!("SCAN answers an array") };
        let [Reply::Bulk(next), Reply::Array(keys)] = &parts[..] else { panic!("{parts:?}") };
        for key in keys {
            let Reply::Bulk(key) = key else { panic!("{key:?} is no key") };
            if key.starts_with(prefix) {
                found.insert(key.clone());
            }
        }
        cursor.clone_from(next);
        if cursor == b"0" {
            return found;
        }
    }
    panic!("SCAN does not end");
}

fn pipeline(conn: &mut Conn, requests: impl Iterator<Item = Vec<u8>>) {
    let requests: Vec<_> = requests.collect();
    conn.send_raw(&requests.concat()).expect("sent");
    for _ in requests {
        conn.read().expect("a reply");
    }
}

#[test]
fn scan_finds_what_stays_while_the_table_grows_and_shrinks() {
    const STAY: usize = 3_000;
    const COME_AND_GO: usize = 60_000;
    let server = Server::start(THREADS);
    let stay = |number: usize| format!("stay:{number}");
    let come = |number: usize| format!("come:{number}");
    let mut conn = server.connect();
    pipeline(&mut conn, (0..STAY).map(|number| encode(&["SET", &stay(number), "v"])));
    let churn = |conn: &mut Conn| {
        for _ in 0..3 {
            for first in (0..COME_AND_GO).step_by(500) {
                let range = first..first + 500;
                pipeline(conn, range.map(|number| encode(&["SET", &come(number), "v"])));
            }
            for first in (0..COME_AND_GO).step_by(500) {
                let range = first..first + 500;
                pipeline(conn, range.map(|number| encode(&["DEL", &come(number)])));
            }
        }
    };
    race(&server, &[&churn], |conn| {
        let found = scan(conn, b"stay:");
        let missing: Vec<String> =
            (0..STAY).map(stay).filter(|key| !found.contains(key.as_bytes())).collect();
        assert!(missing.is_empty(), "SCAN missed {} keys: {missing:?}", missing.len());
    });
    assert_eq!(integer(&conn.call(&["DBSIZE"])), STAY as i64);
}

#[test]
fn requests_that_wait_in_a_batch_see_that_their_user_is_gone() {
    const WORK: &str = "redis.call('SET', KEYS[1], 1) for i = 1, tonumber(ARGV[1]) do end";
    let server = Server::start(THREADS);
    let mut admin = server.connect();
    // So that the next connection is on the other event loop.
    while admin.info("connected_clients") > 1 {}
    let mut client = server.connect();
    assert_eq!(admin.call(&["ACL", "SETUSER", "u", "on", "nopass", "~*", "+@all"]), ok());
    assert_eq!(client.call(&["AUTH", "u", "x"]), ok());
    let mut pipeline = encode(&["EVAL", WORK, "1", "first", "1"]);
    pipeline.extend(encode(&["EVAL", WORK, "1", "second", "100000000"]));
    pipeline.extend(encode(&["SET", "last", "1"]));
    client.send_raw(&pipeline).expect("a connection");
    while integer(&admin.call(&["EXISTS", "first"])) == 0 {}
    // The second script runs.
    assert_eq!(admin.call(&["ACL", "DELUSER", "u"]), Reply::Integer(1));
    while client.read().is_ok() {}
    assert_eq!(admin.call(&["EXISTS", "last"]), Reply::Integer(0));
}
