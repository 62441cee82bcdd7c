//! Everything that takes several locks at once, in any order of the keys, against itself: every
//! client gets its answer in time, and what only moves is all there in the end.
//!
//! Lists and sets hold tokens that are moved and never made or lost; a group of strings is written
//! and read as a whole; queues hand out what is pushed once. Meanwhile clients are killed, which may
//! leave it open whether their last command took place, but not how often.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::harness::{Conn, Reply, Server, encode, stress_duration, wait_for};

const CLIENTS: u64 = 10;
const CONSUMERS: u64 = 3;
/// Whoever waits longer than this will wait forever.
const ANSWER: Duration = Duration::from_secs(10);

const LISTS: usize = 6;
const SETS: usize = 4;
const GROUP: usize = 6;
const QUEUES: usize = 3;
const TOKENS: usize = 60;

/// Moves from each list of ARGV to the next.
const PASS_ON: &str = "for i = 1, #ARGV - 1 do \
    redis.call('LMOVE', ARGV[i], ARGV[i + 1], 'LEFT', 'RIGHT') end return #ARGV";
/// Moves from KEYS to ARGV and back, and fails in between.
const SWAP: &str = "redis.call('LMOVE', KEYS[1], ARGV[1], 'LEFT', 'LEFT') \
    redis.pcall('LPUSH', 'g:0', 'to a string') \
    return redis.call('LMOVE', ARGV[2], KEYS[1], 'RIGHT', 'LEFT')";
/// Moves a random member from each set of ARGV to the next.
const MOVE_MEMBERS: &str = "for i = 1, #ARGV - 1 do \
    local member = redis.call('SPOP', ARGV[i]) \
    if member then redis.call('SADD', ARGV[i + 1], member) end end return #ARGV";
/// Writes the first of ARGV to all keys that follow.
const WRITE_ALL: &str = "for i = 2, #ARGV do redis.call('SET', ARGV[i], ARGV[1]) end return #ARGV";
/// All values of the keys in ARGV.
const READ_ALL: &str = "local values = {} \
    for i, key in ipairs(ARGV) do values[i] = redis.call('GET', key) end return values";
/// Looks at the whole keyspace, and writes before and after.
const WHOLE: &str = "redis.call('SET', ARGV[1], 'x') \
    local size = redis.call('DBSIZE') + #redis.call('KEYS', 's:*') \
    redis.call('SET', ARGV[2], size) return size";

type Command = Vec<String>;

/// What one client sends at once; with several commands a transaction, whose EXEC is the last.
struct Request {
    commands: Vec<Command>,
    /// Whether the last reply is an array of values that have to be equal.
    reads_group: bool,
}

fn command(words: &[&str]) -> Command {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// The words, and behind them keys or texts.
fn with(words: &[&str], more: impl IntoIterator<Item = String>) -> Command {
    words.iter().map(|&word| word.to_owned()).chain(more).collect()
}

/// Names of keys, all different, in random order.
fn some(random: &mut Rng, prefix: &str, of: usize, count: usize) -> Vec<String> {
    let mut numbers: Vec<usize> = (0..of).collect();
    random.shuffle(&mut numbers);
    numbers.truncate(count);
    numbers.iter().map(|number| format!("{prefix}:{number}")).collect()
}

fn transaction(commands: impl IntoIterator<Item = Command>) -> Vec<Command> {
    let inner = commands.into_iter();
    std::iter::once(command(&["MULTI"])).chain(inner).chain([command(&["EXEC"])]).collect()
}

/// Moves of tokens between lists.
fn list_moves(random: &mut Rng) -> Vec<Command> {
    let l = some(random, "l", LISTS, 4);
    let [a, b, c, d] = [&l[0], &l[1], &l[2], &l[3]].map(String::as_str);
    let timeout = format!("0.0{:02}", random.u32(1..40));
    match random.u32(..9) {
        0 => vec![command(&["LMOVE", a, b, "LEFT", "RIGHT"])],
        1 => vec![command(&["BLMOVE", a, b, "RIGHT", "LEFT", &timeout])],
        2 => vec![command(&["BRPOPLPUSH", a, a, &timeout])],
        3 => transaction([
            command(&["RPOPLPUSH", a, b]),
            command(&["BLMOVE", b, c, "LEFT", "LEFT", "0"]),
            command(&["LMOVE", d, a, "LEFT", "RIGHT"]),
        ]),
        4 => vec![with(&["EVAL", PASS_ON, "0"], l)],
        5 => vec![with(&["EVAL", PASS_ON, "2", c, a], l.clone())],
        6 => vec![command(&["EVAL", SWAP, "1", a, b, c])],
        // Without the source, or with the target, it does nothing.
        7 => transaction([command(&["RENAMENX", a, b]), with(&["EVAL", PASS_ON, "0"], l.clone())]),
        _ => {
            let mut all = vec![command(&["WATCH", a, "g:0"])];
            all.extend(transaction([command(&["LMOVE", a, c, "LEFT", "RIGHT"])]));
            all
        }
    }
}

/// Moves of tokens between sets, and what is computed of them.
fn set_moves(random: &mut Rng) -> Vec<Command> {
    let s = some(random, "s", SETS, 3);
    let [a, b, c] = [&s[0], &s[1], &s[2]].map(String::as_str);
    let (into, token) =
        (format!("d:{}", random.usize(..3)), format!("t{}", random.usize(..TOKENS)));
    match random.u32(..6) {
        0 => vec![command(&["SMOVE", a, b, &token])],
        1 => transaction([command(&["SMOVE", a, b, &token]), command(&["SMOVE", b, c, &token])]),
        2 => vec![with(&["EVAL", MOVE_MEMBERS, "0"], s)],
        3 => vec![command(&["SINTERSTORE", &into, a, b, c])],
        4 => vec![command(&["SUNIONSTORE", &into, c, b])],
        _ => transaction([
            command(&["SDIFFSTORE", &into, b, a]),
            with(&["EVAL", MOVE_MEMBERS, "1", c], s.clone()),
        ]),
    }
}

/// Writes of the whole group.
fn group_writes(random: &mut Rng) -> Vec<Command> {
    let (keys, value) = (some(random, "g", GROUP, GROUP), random.u32(..).to_string());
    let pairs = |keys: Vec<String>| keys.into_iter().flat_map(|key| [key, value.clone()]);
    match random.u32(..4) {
        0 => vec![with(&["MSET"], pairs(keys))],
        1 => vec![with(&["EVAL", WRITE_ALL, "0", &value], keys)],
        2 => vec![with(&["EVAL", WRITE_ALL, "1", "g:0", &value], keys)],
        _ => transaction(keys.iter().map(|key| command(&["SET", key, &value]))),
    }
}

/// Reads of the whole group.
fn group_reads(random: &mut Rng) -> Vec<Command> {
    let keys = some(random, "g", GROUP, GROUP);
    match random.u32(..3) {
        0 => vec![with(&["MGET"], keys)],
        1 => vec![with(&["EVAL", READ_ALL, "0"], keys)],
        _ => transaction(keys.iter().map(|key| command(&["GET", key]))),
    }
}

/// What takes other locks, or all of them.
fn others(random: &mut Rng) -> Vec<Command> {
    let r = some(random, "r", 4, 3);
    let [a, b, c] = [&r[0], &r[1], &r[2]].map(String::as_str);
    let item = random.u64(..).to_string();
    match random.u32(..10) {
        0 => transaction([command(&["SET", a, "x"]), command(&["RENAME", a, b])]),
        1 => vec![command(&["COPY", a, c, "REPLACE"])],
        2 => vec![command(&["EVAL", WHOLE, "0", a, b])],
        3 => transaction([command(&["KEYS", "l:*"]), command(&["SET", c, "x", "PX", "5"])]),
        4 => vec![command(&["SCAN", "0", "COUNT", "100"])],
        5 => vec![command(&["DEL", a, b, c])],
        6 => transaction([command(&["MSETNX", a, "x", b, "y"]), command(&["DBSIZE"])]),
        7 => vec![command(&["SORT", "s:0", "ALPHA", "STORE", "sorted"])],
        8 => vec![command(&["SCRIPT", "FLUSH"])],
        _ => transaction([command(&["PUBLISH", "channel", &item]), command(&["TOUCH", a, b])]),
    }
}

fn request(random: &mut Rng) -> Request {
    let kind = random.u32(..10);
    let commands = match kind {
        0..=3 => list_moves(random),
        4 | 5 => set_moves(random),
        6 => group_writes(random),
        7 => group_reads(random),
        _ => others(random),
    };
    Request { commands, reads_group: kind == 7 }
}

/// What the clients share.
struct Arena {
    server: Server,
    end: Instant,
    answered: AtomicU64,
    killed: AtomicU64,
    /// Waits for a queue whose answer was lost with their connection.
    lost: AtomicU64,
    pushed: Mutex<HashSet<String>>,
    popped: Mutex<HashMap<String, u32>>,
}

impl Arena {
    /// The replies; `None` when the connection has ended. Panics when an answer does not come.
    fn ask(&self, conn: &mut Conn, commands: &[Command]) -> Option<Vec<Reply>> {
        let bytes: Vec<u8> = commands.iter().flat_map(|command| encode(command)).collect();
        conn.send_raw(&bytes).ok()?;
        let mut replies = Vec::new();
        for _ in commands {
            match conn.read() {
                Ok(reply) => replies.push(reply),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("no answer within {ANSWER:?} after {replies:?} to {commands:?}")
                }
                Err(_) => return None,
            }
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        Some(replies)
    }

    fn connect(&self) -> Conn {
        let mut conn = self.server.connect();
        conn.set_read_deadline(ANSWER);
        conn
    }

    fn client(&self, seed: u64) {
        let (mut random, mut conn) = (Rng::with_seed(seed), self.connect());
        while Instant::now() < self.end {
            let request = request(&mut random);
            let Some(replies) = self.ask(&mut conn, &request.commands) else {
                conn = self.connect();
                continue;
            };
            if request.reads_group {
                let Some(Reply::Array(values)) = replies.last() else { panic!("{replies:?}") };
                let whole = values.len() == GROUP && values.iter().all(|value| *value == values[0]);
                assert!(whole, "half of a write: {values:?} to {:?}", request.commands);
            }
        }
    }

    fn producer(&self) {
        let (mut random, mut conn) = (Rng::with_seed(1), self.connect());
        for number in 0_u64.. {
            if Instant::now() >= self.end {
                break;
            }
            let (queue, item) = (format!("q:{}", random.usize(..QUEUES)), format!("i{number}"));
            self.pushed.lock().expect("nobody panics").insert(item.clone());
            let push = match random.u32(..3) {
                0 => vec![command(&["LPUSH", &queue, &item])],
                1 => transaction([command(&["RPUSH", &queue, &item]), command(&["LLEN", &queue])]),
                _ => {
                    let text = "return redis.call('RPUSH', ARGV[1], ARGV[2])";
                    vec![command(&["EVAL", text, "0", &queue, &item])]
                }
            };
            // One that fails may or may not have taken place.
            if self.ask(&mut conn, &push).is_none() {
                conn = self.connect();
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn consumer(&self, seed: u64) {
        let (mut random, mut conn) = (Rng::with_seed(seed), self.connect());
        while Instant::now() < self.end {
            let queues = some(&mut random, "q", QUEUES, 2);
            let timeout = format!("0.0{:02}", random.u32(1..60));
            let pop = with(
                &[if random.bool() { "BLPOP" } else { "BRPOP" }],
                [queues, vec![timeout]].concat(),
            );
            match self.ask(&mut conn, &[pop]).as_deref() {
                Some([Reply::Array(pair)]) => self.take(&pair[1]),
                Some([Reply::NilArray]) => {}
                Some(other) => panic!("{other:?} to a wait"),
                None => {
                    conn = self.connect();
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn take(&self, item: &Reply) {
        let Reply::Bulk(item) = item else { panic!("{item:?} is no item") };
        let item = String::from_utf8_lossy(item).into_owned();
        *self.popped.lock().expect("nobody panics").entry(item).or_default() += 1;
    }

    /// Kills one client after the other, but itself.
    fn killer(&self) {
        let (mut random, mut conn) = (Rng::with_seed(2), self.connect());
        while !wait_for(Duration::from_millis(20), || Instant::now() >= self.end) {
            let Reply::Bulk(list) = conn.call(&["CLIENT", "LIST"]) else { panic!("no list") };
            let list = String::from_utf8_lossy(&list).into_owned();
            let ids: Vec<&str> =
                list.lines().filter_map(|line| line.split(['=', ' ']).nth(1)).collect();
            let id = ids[random.usize(..ids.len())];
            if conn.call(&["CLIENT", "KILL", "SKIPME", "yes", "ID", id]) == Reply::Integer(1) {
                self.killed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// What a command returns, as texts in order.
    fn members(conn: &mut Conn, words: &[&str]) -> Vec<String> {
        let Reply::Array(items) = conn.call(words) else { panic!("{words:?} has no array") };
        let text = |item: &Reply| match item {
            Reply::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
            other => panic!("{other:?} is no text"),
        };
        items.iter().map(text).collect()
    }

    fn check(&self) {
        let mut conn = self.connect();
        assert!(wait_for(ANSWER, || conn.info("blocked_clients") == 0), "nobody waits any more");
        let mut expected: Vec<String> = (0..TOKENS).map(|token| format!("t{token}")).collect();
        expected.sort();
        for (prefix, count, words) in
            [("l", LISTS, ["LRANGE", "0", "-1"]), ("s", SETS, ["SMEMBERS", "", ""])]
        {
            let mut tokens = Vec::new();
            for number in 0..count {
                let key = format!("{prefix}:{number}");
                let request = [words[0], &key, words[1], words[2]];
                let length = if prefix == "l" { 4 } else { 2 };
                tokens.extend(Self::members(&mut conn, &request[..length]));
            }
            tokens.sort();
            assert_eq!(tokens, expected, "tokens of {prefix}");
        }
        for number in 0..QUEUES {
            for item in Self::members(&mut conn, &["LRANGE", &format!("q:{number}"), "0", "-1"]) {
                self.take(&Reply::Bulk(item.into_bytes()));
            }
        }
        let pushed = self.pushed.lock().expect("nobody panics");
        let popped = self.popped.lock().expect("nobody panics");
        let bad: Vec<_> =
            popped.iter().filter(|(item, times)| **times != 1 || !pushed.contains(*item)).collect();
        assert!(bad.is_empty(), "handed out more than once, or never pushed: {bad:?}");
        let (missing, lost) = (pushed.len() - popped.len(), self.lost.load(Ordering::Relaxed));
        assert!(missing as u64 <= lost, "{missing} items are missing, {lost} answers were lost");
    }
}

#[test]
fn everybody_is_answered() {
    let server = Server::start_with_threads(4);
    let mut conn = server.connect();
    for token in 0..TOKENS {
        let text = format!("t{token}");
        conn.call(&["RPUSH", &format!("l:{}", token % LISTS), &text]);
        conn.call(&["SADD", &format!("s:{}", token % SETS), &text]);
    }
    conn.call(&with(
        &["EVAL", WRITE_ALL, "0", "0"],
        some(&mut Rng::with_seed(0), "g", GROUP, GROUP),
    ));
    let arena = Arena {
        server,
        end: Instant::now() + stress_duration(),
        answered: AtomicU64::new(0),
        killed: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        pushed: Mutex::default(),
        popped: Mutex::default(),
    };
    thread::scope(|scope| {
        let arena = &arena;
        (0..CLIENTS).for_each(|number| drop(scope.spawn(move || arena.client(10 + number))));
        (0..CONSUMERS).for_each(|number| drop(scope.spawn(move || arena.consumer(50 + number))));
        scope.spawn(|| arena.producer());
        scope.spawn(|| arena.killer());
    });
    arena.check();
    let (answered, killed) = (arena.answered.into_inner(), arena.killed.into_inner());
    assert!(answered > 100 && killed > 0, "{answered} requests, {killed} kills");
}
