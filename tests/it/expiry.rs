//! Work on very many keys at once holds nobody up: expiry, growth, and giving memory back.
//!
//! A latency is judged against the longest time that a thread of this process which only wanted to
//! wake up was kept waiting meanwhile: the machine's own hiccups are not the server's.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::harness::{Reply, Server, encode, wait_for};

/// How much longer than the machine's own hiccups a reply may take. Alone on an idle machine it is
/// 5 ms; other tests run beside this one.
const LATENCY_MAX: Duration = Duration::from_millis(50);

const DEADLINE: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "the server is told absolute times")]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    since.as_millis() as u64
}

/// Sends commands that all answer OK, as fast as the server takes them.
fn fill(server: &Server, count: u64, request: impl Fn(u64) -> Vec<u8> + Send) {
    const CHUNK: u64 = 1_000;
    let mut sender = TcpStream::connect(server.addr()).expect("a running server");
    let mut receiver = sender.try_clone().expect("a second handle");
    receiver.set_read_timeout(Some(DEADLINE)).expect("a deadline above zero");
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut bytes = Vec::new();
            for first in (0..count).step_by(CHUNK as usize) {
                bytes.clear();
                (first..count.min(first + CHUNK)).for_each(|n| bytes.extend(request(n)));
                sender.write_all(&bytes).expect("sent");
            }
        });
        let mut replies = vec![0; 5 * CHUNK as usize];
        for first in (0..count).step_by(CHUNK as usize) {
            let replies = &mut replies[..5 * count.min(first + CHUNK).abs_diff(first) as usize];
            receiver.read_exact(replies).expect("all replies");
            assert!(replies.chunks(5).all(|reply| reply == b"+OK\r\n"), "a command failed");
        }
    });
}

/// The longest waits of a stretch of time.
struct Waits {
    count: u32,
    /// For a reply to PING or GET.
    reply: Duration,
    /// Beyond the time asked for, of a thread that slept.
    machine: Duration,
}

/// Asks for replies on a connection of its own until `work` is done.
fn waits_during(server: &Server, work: impl FnOnce()) -> Waits {
    let over = AtomicBool::new(false);
    let nap = Duration::from_millis(1);
    thread::scope(|scope| {
        let machine = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !over.load(Ordering::Acquire) {
                let start = Instant::now();
                thread::park_timeout(nap);
                longest = longest.max(start.elapsed().saturating_sub(nap));
            }
            longest
        });
        let reply = scope.spawn(|| {
            let mut conn = server.connect();
            conn.set_read_deadline(DEADLINE);
            let (mut longest, mut count) = (Duration::ZERO, 0);
            while !over.load(Ordering::Acquire) {
                for request in [&["PING"][..], &["GET", "missing"]] {
                    let start = Instant::now();
                    conn.call(request);
                    longest = longest.max(start.elapsed());
                    count += 1;
                }
                thread::park_timeout(nap);
            }
            (longest, count)
        });
        work();
        over.store(true, Ordering::Release);
        let (reply, count) = reply.join().expect("the client ends");
        Waits { count, reply, machine: machine.join().expect("the sleeper ends") }
    })
}

fn assert_short(what: &str, waits: &Waits) {
    let Waits { count, reply, machine } = waits;
    println!("{what}: longest of {count} replies {reply:?}, longest hiccup {machine:?}");
    assert!(*count > 10, "{what}: only {count} replies");
    assert!(*reply <= LATENCY_MAX + *machine, "{what}: {reply:?}, the machine {machine:?}");
}

#[test]
fn a_million_keys_expire_within_a_second_unnoticed() {
    const KEYS: u64 = 1_000_000;
    let server = Server::start(&["--threads", "2"]);
    let mut conn = server.connect();
    conn.set_read_deadline(DEADLINE);
    let set = |number: u64, at_ms: u64| {
        encode(&["SET", &format!("key:{number:09}"), "some value", "PXAT", &at_ms.to_string()])
    };
    // How long filling takes says when the keys can begin to expire.
    let sample = Instant::now();
    fill(&server, KEYS / 10, |number| set(number, now_ms() + 600_000));
    let filling = sample.elapsed() * 10;
    assert_eq!(conn.call(&["FLUSHALL", "SYNC"]), Reply::Simple(b"OK".to_vec()));
    let before = conn.info("used_memory");
    let first_ms = now_ms() + filling.as_millis() as u64 * 3 / 2 + 500;
    fill(&server, KEYS, |number| set(number, first_ms + number % 1_000));
    assert!(now_ms() < first_ms, "filling took longer than the sample promised");
    let full = conn.info("used_memory");
    let dbsize = |conn: &mut crate::harness::Conn| match conn.call(&["DBSIZE"]) {
        Reply::Integer(keys) => keys,
        other => panic!("DBSIZE: {other:?}"),
    };
    assert_eq!(dbsize(&mut conn), KEYS as i64);

    let last_ms = first_ms + 1_000;
    let mut gone_ms = 0;
    let waits = waits_during(&server, || {
        assert!(wait_for(DEADLINE, || dbsize(&mut conn) == 0), "keys are left");
        gone_ms = now_ms().saturating_sub(last_ms);
    });
    println!("{KEYS} keys were gone {gone_ms} ms after the last one's deadline");
    assert!(gone_ms <= 2_000, "{gone_ms} ms until the last of {KEYS} keys was gone");
    assert_short("expiry", &waits);
    assert_eq!(conn.info("expired_keys"), KEYS);
    let kept = conn.info("used_memory").saturating_sub(before);
    println!("of {} MiB {} KiB are kept", (full - before) >> 20, kept >> 10);
    assert!(kept < (full - before) / 20, "{kept} bytes are kept of {}", full - before);
}

#[test]
fn growing_to_two_million_keys_holds_nobody_up() {
    const KEYS: u64 = 2_000_000;
    let server = Server::start(&["--threads", "2"]);
    let start = Instant::now();
    let waits = waits_during(&server, || {
        fill(&server, KEYS, |number| encode(&["SET", &format!("key:{number:09}"), "some value"]));
    });
    println!("{KEYS} keys in {:?}", start.elapsed());
    assert_short("growth", &waits);
    let mut conn = server.connect();
    assert_eq!(conn.call(&["DBSIZE"]), Reply::Integer(KEYS as i64));
    // Freeing them happens elsewhere.
    let waits = waits_during(&server, || {
        conn.set_read_deadline(DEADLINE);
        assert_eq!(conn.call(&["FLUSHALL", "ASYNC"]), Reply::Simple(b"OK".to_vec()));
        let freed = || conn.info("used_memory") < 32 << 20;
        assert!(wait_for(DEADLINE, freed), "the memory does not come back");
        // Long enough to see a few replies if freeing was quick.
        thread::park_timeout(Duration::from_millis(100));
    });
    assert_short("flush", &waits);
}
