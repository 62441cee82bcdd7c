//! Big values do not stop others: their replies come in steps and are still one moment's.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Conn, Reply, Server, wait_for};

/// Elements of the collections here; replies of as many come in hundreds of steps.
const LEN: usize = 60_000;

fn name(number: usize) -> String {
    format!("element:{number}")
}

/// Sends `word key` with all elements, `each` arguments for every one.
fn fill(conn: &mut Conn, word: &str, key: &str, each: impl Fn(usize) -> Vec<String>) {
    for start in (0..LEN).step_by(1000) {
        let mut request = vec![word.to_owned(), key.to_owned()];
        request.extend((start..start + 1000).flat_map(&each));
        assert!(matches!(conn.call(&request), Reply::Integer(_)));
    }
}

fn texts(reply: Reply) -> Vec<Vec<u8>> {
    let Reply::Array(items) = reply else { panic!("{reply:?} is no array") };
    let text = |item| match item {
        Reply::Bulk(text) => text,
        other => panic!("{other:?} is no bulk string"),
    };
    items.into_iter().map(text).collect()
}

/// Asks for everything while `disturb` works on the collection, from when the reply has begun.
fn read_while(server: &Server, request: &[&str], disturb: impl FnOnce(&mut Conn)) -> Vec<Vec<u8>> {
    let (mut reader, mut writer) = (server.connect(), server.connect());
    reader.send(request).expect("the server reads");
    // The reply does not fit into the sockets, so it waits for its reader once it has begun.
    let running = format!("cmd={} ", request[0].to_lowercase());
    let begun = wait_for(Duration::from_secs(10), || {
        let Reply::Bulk(list) = writer.call(&["CLIENT", "LIST"]) else { panic!("no list") };
        String::from_utf8_lossy(&list).contains(&running)
    });
    assert!(begun, "{request:?} begins");
    disturb(&mut writer);
    texts(reader.read().expect("the server answers"))
}

#[test]
fn a_large_set_is_replied_as_it_was() {
    let server = Server::start(&["--threads", "2"]);
    let expected: HashSet<Vec<u8>> = (0..LEN).map(|n| name(n).into_bytes()).collect();
    let disturbances: [&[&[&str]]; 7] = [
        &[&["DEL", "big"]],
        &[&["RENAME", "big", "other"], &["RENAME", "other", "third"], &["DEL", "third"]],
        &[&["RENAME", "big", "other"], &["MOVE", "other", "2"], &["SADD", "big", "new"]],
        &[&["RENAME", "big", "other"]],
        &[&["SWAPDB", "0", "1"]],
        &[&["FLUSHALL"]],
        &[&["SPOP", "big", "59990"], &["SADD", "big", "new1", "new2"], &["SET", "big", "gone"]],
    ];
    for requests in disturbances {
        let mut conn = server.connect();
        conn.call(&["FLUSHALL"]);
        fill(&mut conn, "SADD", "big", |n| vec![name(n)]);
        let members = read_while(&server, &["SMEMBERS", "big"], |conn| {
            requests.iter().for_each(|request| drop(conn.call(request)));
        });
        assert_eq!(members.len(), LEN, "{requests:?}");
        let seen: HashSet<Vec<u8>> = members.into_iter().collect();
        assert!(seen == expected, "{requests:?}");
    }
}

#[test]
fn a_large_hash_is_replied_as_it_was() {
    let server = Server::start(&["--threads", "2"]);
    let mut conn = server.connect();
    fill(&mut conn, "HSET", "big", |n| vec![name(n), n.to_string()]);
    let fields = read_while(&server, &["HGETALL", "big"], |conn| {
        for n in 0..LEN / 10 {
            conn.call(&["HSET", "big", &name(n), "changed"]);
            conn.call(&["HDEL", "big", &name(LEN - 1 - n)]);
        }
    });
    assert_eq!(fields.len(), 2 * LEN);
    let expected: HashSet<(Vec<u8>, Vec<u8>)> =
        (0..LEN).map(|n| (name(n).into_bytes(), n.to_string().into_bytes())).collect();
    let seen: HashSet<_> =
        fields.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    assert!(seen == expected);
}

#[test]
fn a_long_list_is_replied_as_it_was() {
    let server = Server::start(&["--threads", "2"]);
    let expected: Vec<Vec<u8>> = (0..LEN).map(|n| name(n).into_bytes()).collect();
    let disturbances: [&[&[&str]]; 4] = [
        &[&["DEL", "big"]],
        &[&["LPUSH", "big", "new"], &["LSET", "big", "30000", "new"], &["RPOP", "big", "1000"]],
        &[&["LTRIM", "big", "30000", "30001"], &["LREM", "big", "0", "element:30000"]],
        &[&["CONFIG", "SET", "list-compress-depth", "1"], &["FLUSHALL"]],
    ];
    for requests in disturbances {
        let mut conn = server.connect();
        conn.call(&["FLUSHALL"]);
        fill(&mut conn, "RPUSH", "big", |n| vec![name(n)]);
        let items = read_while(&server, &["LRANGE", "big", "0", "-1"], |conn| {
            requests.iter().for_each(|request| drop(conn.call(request)));
        });
        assert!(items == expected, "{requests:?}");
        conn.call(&["DEL", "big"]);
        fill(&mut conn, "RPUSH", "big", |n| vec![name(n)]);
        let items = read_while(&server, &["LRANGE", "big", "10", "-10"], |_| {});
        assert!(items == expected[10..LEN - 9], "{requests:?}");
    }
}

#[test]
fn replies_that_nobody_wants_leave_no_trace() {
    let server = Server::start(&["--threads", "1"]);
    let mut conn = server.connect();
    fill(&mut conn, "SADD", "big", |n| vec![name(n)]);
    fill(&mut conn, "RPUSH", "list", |n| vec![name(n)]);
    conn.send_raw(b"CLIENT REPLY SKIP\r\nSMEMBERS big\r\nPING\r\n").expect("room");
    assert_eq!(conn.read().expect("a reply"), Reply::Simple(b"PONG".to_vec()));
    conn.send_raw(b"CLIENT REPLY OFF\r\nLRANGE list 0 -1\r\nCLIENT REPLY ON\r\n").expect("room");
    assert_eq!(conn.read().expect("a reply"), Reply::Simple(b"OK".to_vec()));
}

#[test]
fn others_are_served_while_a_large_value_is_replied() {
    let server = Server::start(&["--threads", "1"]);
    let mut conn = server.connect();
    fill(&mut conn, "SADD", "big", |n| vec![name(n)]);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut conn = server.connect();
                    (0..20).for_each(|_| {
                        assert_eq!(texts(conn.call(&["SMEMBERS", "big"])).len(), LEN)
                    });
                })
            })
            .collect();
        let observer = scope.spawn(|| {
            let mut times = Vec::new();
            let mut conn = server.connect();
            while !over.load(Ordering::Acquire) {
                let start = Instant::now();
                conn.call(&["PING"]);
                times.push(start.elapsed());
            }
            times
        });
        for reader in readers {
            reader.join().expect("a reader gets its replies");
        }
        over.store(true, Ordering::Release);
        let mut times = observer.join().expect("the observer gets its replies");
        times.sort_unstable();
        let p99 = times[times.len() * 99 / 100];
        assert!(p99 < Duration::from_millis(30), "p99 {p99:?} of {}", times.len());
    });
}
