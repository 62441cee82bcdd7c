//! Transfers between accounts on different shards: whoever reads all accounts at once finds the sum
//! that was there in the beginning.
//!
//! Money moves by every kind of transaction, and is counted by every kind of read of many keys, in
//! any order of the keys. A transfer that was aborted, discarded or left alone moves nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use fastrand::Rng;

use crate::harness::{Conn, Reply, Server, encode, stress_duration};

const ACCOUNTS: usize = 8;
const START: i64 = 1_000;
const MOVERS: u64 = 6;
const READERS: u64 = 4;

const MOVE_DECLARED: &str = "redis.call('DECRBY', KEYS[1], ARGV[1]) \
    return redis.call('INCRBY', KEYS[2], ARGV[1])";
const MOVE_UNDECLARED: &str = "local from, to = redis.call('GET', ARGV[1]), redis.call('GET', ARGV[2]) \
    redis.call('SET', ARGV[1], from - ARGV[3]) \
    return redis.call('SET', ARGV[2], to + ARGV[3])";
const MOVE_HALF_DECLARED: &str = "redis.call('INCRBY', ARGV[1], ARGV[2]) \
    return redis.call('DECRBY', KEYS[1], ARGV[2])";
const READ_DECLARED: &str = "return redis.call('MGET', unpack(KEYS))";
const READ_UNDECLARED: &str = "local values = {} \
    for i, key in ipairs(ARGV) do values[i] = redis.call('GET', key) end \
    return values";

/// The ways to move and to leave alone, in the order of [`transfer`].
const WAYS: usize = 7;

fn account(number: usize) -> String {
    format!("account:{number}")
}

/// Sends commands as one pipeline and returns all replies.
fn pipeline(conn: &mut Conn, commands: &[&[&str]]) -> Vec<Reply> {
    let bytes: Vec<u8> = commands.iter().flat_map(|command| encode(command)).collect();
    conn.send_raw(&bytes).expect("the server reads");
    commands.iter().map(|_| conn.read().expect("the server replies")).collect()
}

fn number(reply: &Reply) -> i64 {
    let Reply::Bulk(text) = reply else { panic!("{reply:?} is no balance") };
    str::from_utf8(text).ok().and_then(|text| text.parse().ok()).expect("a balance is a number")
}

/// The replies of a transaction that must have taken place.
fn executed(replies: &[Reply]) -> &[Reply] {
    let Some(Reply::Array(items)) = replies.last() else { panic!("not executed: {replies:?}") };
    items
}

/// Reads, computes and writes, as often as it takes.
fn optimistic(conn: &mut Conn, from: &str, to: &str, amount: i64) {
    loop {
        let replies = pipeline(conn, &[&["WATCH", from, to], &["GET", from], &["GET", to]]);
        let less = (number(&replies[1]) - amount).to_string();
        let more = (number(&replies[2]) + amount).to_string();
        let writes: [&[&str]; 4] =
            [&["MULTI"], &["SET", from, &less], &["SET", to, &more], &["EXEC"]];
        match pipeline(conn, &writes).pop() {
            Some(Reply::NilArray) => {}
            Some(Reply::Array(_)) => return,
            other => panic!("{other:?} to EXEC"),
        }
    }
}

/// Moves, or does not, in one of [`WAYS`].
fn transfer(server: &Server, conn: &mut Conn, way: usize, [from, to]: [&str; 2], amount: i64) {
    let by = &amount.to_string();
    let no_error = |reply: Reply| assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
    match way {
        0 => optimistic(conn, from, to, amount),
        1 => {
            let moves: [&[&str]; 4] =
                [&["MULTI"], &["DECRBY", from, by], &["INCRBY", to, by], &["EXEC"]];
            assert_eq!(executed(&pipeline(conn, &moves)).len(), 2);
        }
        2 => no_error(conn.call(&["EVAL", MOVE_DECLARED, "2", from, to, by])),
        3 => no_error(conn.call(&["EVAL", MOVE_UNDECLARED, "0", from, to, by])),
        4 => no_error(conn.call(&["EVAL", MOVE_HALF_DECLARED, "1", from, to, by])),
        5 => {
            let aborted: [&[&str]; 7] = [
                &["MULTI"],
                &["DECRBY", from, by],
                &["DISCARD"],
                &["MULTI"],
                &["INCRBY", to, by],
                &["INCRBY", to],
                &["EXEC"],
            ];
            let replies = pipeline(conn, &aborted);
            let Reply::Error(error) = &replies[6] else { panic!("{replies:?}") };
            assert!(error.starts_with(b"EXECABORT"), "{replies:?}");
        }
        _ => {
            let left: [&[&str]; 3] = [&["WATCH", from], &["MULTI"], &["INCRBY", to, by]];
            pipeline(&mut server.connect(), &left);
        }
    }
}

/// All balances at once, in one of four ways.
fn balances(conn: &mut Conn, way: usize, keys: &[String]) -> Vec<i64> {
    let count = keys.len().to_string();
    let mut with_keys = |start: &[&str]| -> Reply {
        let keys = keys.iter().map(String::as_str);
        conn.call(&start.iter().copied().chain(keys).collect::<Vec<_>>())
    };
    let reply = match way {
        0 => with_keys(&["MGET"]),
        1 => with_keys(&["EVAL", READ_DECLARED, &count]),
        2 => with_keys(&["EVAL", READ_UNDECLARED, "0"]),
        _ => {
            let gets: Vec<[&str; 2]> = keys.iter().map(|key| ["GET", key]).collect();
            let mut commands: Vec<&[&str]> = vec![&["MULTI"]];
            commands.extend(gets.iter().map(<[_; 2]>::as_slice));
            commands.push(&["EXEC"]);
            Reply::Array(executed(&pipeline(conn, &commands)).to_vec())
        }
    };
    let Reply::Array(items) = reply else { panic!("{reply:?} to a read of all balances") };
    items.iter().map(number).collect()
}

#[test]
fn transfers_keep_the_sum() {
    let server = Server::start_with_threads(4);
    let mut conn = server.connect();
    let mut keys: Vec<String> = (0..ACCOUNTS).map(account).collect();
    for key in &keys {
        conn.call(&["SET", key, &START.to_string()]);
    }
    let end = Instant::now() + stress_duration();
    let moved: [AtomicU64; WAYS] = [const { AtomicU64::new(0) }; WAYS];
    thread::scope(|scope| {
        let (server, moved) = (&server, &moved);
        for seed in 0..MOVERS {
            scope.spawn(move || {
                let (mut random, mut conn) = (Rng::with_seed(seed), server.connect());
                while Instant::now() < end {
                    let from = random.usize(..ACCOUNTS);
                    let to = (from + random.usize(1..ACCOUNTS)) % ACCOUNTS;
                    let way = random.usize(..WAYS);
                    let (pair, amount) = ([account(from), account(to)], random.i64(1..100));
                    transfer(server, &mut conn, way, [&pair[0], &pair[1]], amount);
                    moved[way].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for seed in 0..READERS {
            let mut keys = keys.clone();
            scope.spawn(move || {
                let (mut random, mut conn) = (Rng::with_seed(100 + seed), server.connect());
                while Instant::now() < end {
                    random.shuffle(&mut keys);
                    let way = random.usize(..4);
                    let found = balances(&mut conn, way, &keys);
                    let sum: i64 = found.iter().sum();
                    assert_eq!(sum, START * ACCOUNTS as i64, "way {way}: {keys:?} have {found:?}");
                }
            });
        }
    });
    keys.reverse();
    for way in 0..4 {
        let sum: i64 = balances(&mut conn, way, &keys).iter().sum();
        assert_eq!(sum, START * ACCOUNTS as i64);
    }
    let idle: Vec<usize> =
        (0..WAYS).filter(|&way| moved[way].load(Ordering::Relaxed) == 0).collect();
    assert!(idle.is_empty(), "no transfer in the ways {idle:?}");
}
