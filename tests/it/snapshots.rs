//! A snapshot shows one instant, however hard the data is written to while it is taken.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::dataset::{call, run};
use crate::harness::{Conn, Reply, Server, encode, stress_duration, wait_for};

const DEADLINE: Duration = Duration::from_secs(60);
/// Pairs of keys, and members of each huge collection, for every second that the test goes on.
const PER_SECOND: u64 = 2_500;
const PIPELINE: u64 = 50;

fn size() -> u64 {
    stress_duration().as_secs() * PER_SECOND
}

/// Two names whose values are always equal, wherever their shards are.
fn sides(pair: u64) -> [String; 2] {
    [format!("pair:{pair}"), format!("riap:{pair}")]
}

/// Sends the requests at once; none may fail.
fn send_all(conn: &mut Conn, requests: &[Vec<String>]) {
    let bytes: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
    conn.send_raw(&bytes).expect("sent");
    for request in requests {
        let reply = conn.read().expect("the server replies");
        assert!(!matches!(reply, Reply::Error(_)), "{request:?}: {reply:?}");
    }
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// One change that keeps everything true that [`check`] looks at.
fn change(random: &mut Rng, writer: usize, round: u64) -> Vec<Vec<String>> {
    let pair = random.u64(..size());
    let [one, other] = sides(pair);
    let value = format!("{round}-{}", "v".repeat(random.usize(..60)));
    let member = random.u64(..size());
    match random.u8(..6) {
        0..3 => vec![words(&format!("MSET {one} {value} {other} {value}"))],
        3 => vec![
            words("MULTI"),
            words(&format!("SET {one} {value}")),
            words(&format!("SET {other} {value}")),
            words("EXEC"),
        ],
        4 => vec![
            words("MULTI"),
            words(&format!("HSET huge:hash field:{member} {round}")),
            words(&format!("ZADD huge:zset {round} member:{member}")),
            words("EXEC"),
        ],
        // A member is in one of two sets.
        _ => {
            let (from, to) = if random.bool() { ("left", "right") } else { ("right", "left") };
            vec![
                words(&format!("SMOVE huge:{from} huge:{to} member:{member}")),
                words(&format!("RPUSH log:{writer} {round}")),
            ]
        }
    }
}

fn fill(conn: &mut Conn) {
    let chunk = |range: Range<u64>, make: &dyn Fn(u64) -> Vec<Vec<String>>| {
        range.flat_map(make).collect::<Vec<_>>()
    };
    for start in (0..size()).step_by(500) {
        let range = start..start + 500;
        send_all(
            conn,
            &chunk(range.clone(), &|pair| {
                let [one, other] = sides(pair);
                vec![words(&format!("MSET {one} 0 {other} 0"))]
            }),
        );
        send_all(
            conn,
            &chunk(range, &|member| {
                vec![
                    words(&format!("HSET huge:hash field:{member} 0")),
                    words(&format!("ZADD huge:zset 0 member:{member}")),
                    words(&format!("SADD huge:left member:{member}")),
                ]
            }),
        );
    }
}

fn texts(reply: Reply) -> Vec<Vec<u8>> {
    let Reply::Array(items) = reply else { panic!("{reply:?} is no array") };
    let text = |item| if let Reply::Bulk(text) = item { text } else { panic!("{item:?}") };
    items.into_iter().map(text).collect()
}

/// Fails unless the data is that of one instant.
fn check(conn: &mut Conn, writers: usize) {
    for start in (0..size()).step_by(500) {
        let mut request = vec!["MGET".to_owned()];
        request.extend((start..start + 500).flat_map(sides));
        let values = texts(call(conn, &request));
        for (pair, values) in values.chunks(2).enumerate() {
            assert_eq!(values[0], values[1], "half of pair {pair} after {start}");
        }
    }
    let count = |reply| if let Reply::Integer(count) = reply { count } else { panic!("{reply:?}") };
    let sets = count(run(conn, "SCARD huge:left")) + count(run(conn, "SCARD huge:right"));
    assert_eq!(
        u64::try_from(sets).expect("not negative"),
        size(),
        "a member is in two sets or none"
    );
    assert_eq!(run(conn, "SINTERCARD 2 huge:left huge:right"), Reply::Integer(0));
    for start in (0..size()).step_by(500) {
        let request = |command: &str, key: &str, part: &str| {
            let mut request = words(&format!("{command} {key}"));
            request.extend((start..start + 500).map(|member| format!("{part}:{member}")));
            request
        };
        let fields = texts(call(conn, &request("HMGET", "huge:hash", "field")));
        let scores = texts(call(conn, &request("ZMSCORE", "huge:zset", "member")));
        assert_eq!(fields, scores, "half of a transaction after {start}");
    }
    // Of all that a writer appends, the file has the beginning.
    for writer in 0..writers {
        let log = texts(run(conn, &format!("LRANGE log:{writer} 0 -1")));
        let log = log.iter().map(|round| String::from_utf8_lossy(round).parse().expect("a number"));
        assert!(log.collect::<Vec<u64>>().is_sorted(), "the log of {writer} is out of order");
    }
}

fn write_until(conn: &mut Conn, writer: usize, over: &AtomicBool) {
    let mut random = Rng::with_seed(u64::try_from(writer).expect("small"));
    for round in (1..).step_by(50) {
        let changes = (0..PIPELINE).flat_map(|step| change(&mut random, writer, round + step));
        send_all(conn, &changes.collect::<Vec<_>>());
        if over.load(Ordering::Relaxed) {
            break;
        }
    }
}

/// Saves again and again under load, and has each file loaded by another server.
fn save_under_load(command: &str, in_progress: &str, args: &[&str]) {
    const WRITERS: usize = 3;
    let server = Server::start(args);
    let mut conn = server.connect();
    conn.set_read_deadline(DEADLINE);
    fill(&mut conn);
    let over = AtomicBool::new(false);
    let end = Instant::now() + stress_duration() / 2;
    let mut saves = 0;
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (mut conn, over) = (server.connect(), &over);
            conn.set_read_deadline(DEADLINE);
            scope.spawn(move || write_until(&mut conn, writer, over));
        }
        while saves == 0 || Instant::now() < end {
            run(&mut conn, command);
            assert!(wait_for(DEADLINE, || conn.info(in_progress) == 0), "{command} does not end");
            saves += 1;
            // The copy is taken while it is written to, as after a crash.
            let again = Server::start_on(server.dir(), args);
            let mut conn = again.connect();
            conn.set_read_deadline(DEADLINE);
            check(&mut conn, WRITERS);
        }
        over.store(true, Ordering::Relaxed);
    });
    check(&mut conn, WRITERS);
    println!("{saves} times {command}");
}

#[test]
fn a_snapshot_shows_one_instant() {
    save_under_load("BGSAVE", "rdb_bgsave_in_progress", &["--threads", "2"]);
}

#[test]
fn a_rewrite_shows_one_instant() {
    let args = ["--threads", "2", "--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"];
    save_under_load("BGREWRITEAOF", "aof_rewrite_in_progress", &args);
}

/// Where commands write out more ahead of a snapshot than may be held, those who write wait, and those
/// who read do not.
#[test]
fn readers_go_on_while_writers_wait_for_a_snapshot() {
    const KEYS: usize = 60_000;
    // As long as writers wait at most.
    const WAIT: Duration = Duration::from_millis(500);
    let server = Server::start(&["--threads", "1"]);
    let (mut writer, mut reader) = (server.connect(), server.connect());
    for conn in [&mut writer, &mut reader] {
        conn.set_read_deadline(DEADLINE);
    }
    let value = "v".repeat(1000);
    let set = |number: usize| vec!["SET".to_owned(), format!("key:{number}"), value.clone()];
    let batches = || (0..KEYS).step_by(1000).map(|from| (from..from + 1000).map(set).collect());
    batches().for_each(|batch: Vec<_>| send_all(&mut writer, &batch));
    run(&mut reader, "CONFIG SET rdb-key-save-delay 10000");
    run(&mut reader, "BGSAVE");
    let over = AtomicBool::new(false);
    let slowest_read = thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                assert!(matches!(run(&mut reader, "GET key:1"), Reply::Bulk(_)));
                slowest = slowest.max(begun.elapsed());
            }
            slowest
        });
        let begun = Instant::now();
        batches().for_each(|batch: Vec<_>| {
            if begun.elapsed() < 10 * WAIT {
                send_all(&mut writer, &batch);
            }
        });
        over.store(true, Ordering::Relaxed);
        assert!(begun.elapsed() > 2 * WAIT, "nobody had to wait");
        reading.join().expect("reading goes on")
    });
    assert!(slowest_read < WAIT / 2, "{slowest_read:?}");
    run(&mut reader, "BGSAVE CANCEL");
}
