//! The steps of a command one by one, from bytes to reply, without sockets.
//!
//! `cargo bench --bench hot` measures all of them, `cargo bench --bench hot -- executor` one group.
//! Keys are drawn at random from a table much larger than the caches, because that is where a
//! keyspace lives; a figure per element is the cost of one request, lookup or command.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fastrand::Rng;
use redstart::base::hash::KeyHasher;
use redstart::command::CommandTable;
use redstart::config::Config;
use redstart::encoding::scored_set::ScoredSet;
use redstart::encoding::table::Table;
use redstart::exec::{Batch, Executor};
use redstart::keyspace::{Entry, NewValue};
use redstart::persist::log::WriteLog;
use redstart::persist::unit::Unit;
use redstart::resp::{ArgRange, Argv, ParseLimits, ParseState, Protocol, ReplyBuf, RequestParser};
use redstart::server::{Client, ClientHandle, Peer, Server};
use redstart::value::NewStr;

const KEYS: u64 = 1_000_000;
const BATCH: usize = 64;
const LIMITS: ParseLimits = ParseLimits { bulk_max: 512 << 20, unauthenticated: false };

fn key(number: u64) -> String {
    format!("key:{number:012}")
}

fn request(args: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len());
    for arg in args {
        bytes += &format!("${}\r\n{arg}\r\n", arg.len());
    }
    bytes.into_bytes()
}

/// Pipelines of [`BATCH`] requests on random keys, so many that their keys are not in the caches.
fn pipelines(rng: &mut Rng, make: impl Fn(&str) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut one = || (0..BATCH).flat_map(|_| make(&key(rng.u64(..KEYS)))).collect();
    (0..2_000).map(|_| one()).collect()
}

/// Calls `run` with one input after the other, all over again at the end.
fn each<T>(inputs: &[T], mut run: impl FnMut(&T)) -> impl FnMut() {
    let mut next = 0;
    move || {
        run(&inputs[next]);
        next = (next + 1) % inputs.len();
    }
}

fn parser(c: &mut Criterion) {
    let mut group = c.benchmark_group("parser");
    group.throughput(Throughput::Elements(BATCH as u64));
    let value = "v".repeat(32);
    let set = request(&["SET", "key:000000000001", &value]).repeat(BATCH);
    let inline = format!("SET key:000000000001 {value}\r\n").into_bytes().repeat(BATCH);
    for (name, input) in [("set", set), ("set inline", inline)] {
        let (mut args, mut bigs) = (Vec::<ArgRange>::new(), Vec::new());
        group.bench_function(name, |bench| {
            bench.iter(|| {
                args.clear();
                bigs.clear();
                let mut parser = RequestParser::default();
                let input = black_box(&input);
                for _ in 0..BATCH {
                    let state = parser.parse(input, LIMITS, &mut args, &mut bigs);
                    assert_eq!(state, Ok(ParseState::Request));
                }
                args.len()
            });
        });
    }
}

fn lookup(c: &mut Criterion) {
    let mut group = c.benchmark_group("command lookup");
    let table = CommandTable::new(&[]).expect("no renames");
    for name in ["GET", "incrbyfloat", "NOSUCH"] {
        let ranges = [ArgRange::bytes(0, name.len())];
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let argv = Argv::new(black_box(name.as_bytes()), &ranges, &[]);
                table.resolve(argv).is_ok()
            });
        });
    }
}

fn table(c: &mut Criterion) {
    let mut group = c.benchmark_group("table");
    group.throughput(Throughput::Elements(BATCH as u64));
    let hasher = KeyHasher::seeded(1);
    let mut table: Table<Entry> = Table::new(0);
    let entry = |key: &str| {
        let value = NewValue::Str(NewStr::from_bytes(b"0123456789abcdef0123456789abcdef"));
        Entry::new(key.as_bytes(), value, None, 0)
    };
    for number in 0..KEYS {
        let key = key(number);
        table.insert(hasher.hash(key.as_bytes()), entry(&key), &hasher);
    }
    let mut rng = Rng::with_seed(1);
    let mut draw = |first: u64| -> Vec<Vec<(u64, String)>> {
        let mut one = || {
            let key = key(first + rng.u64(..KEYS));
            (hasher.hash(key.as_bytes()), key)
        };
        (0..2_000).map(|_| (0..BATCH).map(|_| one()).collect()).collect()
    };
    let (hits, misses) = (draw(0), draw(KEYS));
    let find = |batch: &Vec<(u64, String)>| {
        let found = batch.iter().filter_map(|(hash, key)| table.find(*hash, key.as_bytes()));
        found.map(|position| table.view(position).key().len()).sum::<usize>()
    };
    let prefetch = |batch: &Vec<(u64, String)>| {
        batch.iter().for_each(|(hash, _)| table.prefetch_bucket(*hash));
        batch.iter().for_each(|(hash, _)| table.prefetch_item(*hash));
    };
    group.bench_function("hit", |bench| {
        bench.iter(each(&hits, |batch| assert!(black_box(find(batch)) > 0)));
    });
    group.bench_function("hit, prefetched", |bench| {
        bench.iter(each(&hits, |batch| {
            prefetch(batch);
            assert!(black_box(find(batch)) > 0);
        }));
    });
    group.bench_function("miss", |bench| {
        bench.iter(each(&misses, |batch| assert_eq!(black_box(find(batch)), 0)));
    });
    // A miss reads no entry, so there is nothing to ask for but the buckets.
    group.bench_function("miss, prefetched", |bench| {
        bench.iter(each(&misses, |batch| {
            batch.iter().for_each(|(hash, _)| table.prefetch_bucket(*hash));
            assert_eq!(black_box(find(batch)), 0);
        }));
    });
}

/// A sorted set of a million members.
fn scored_set(c: &mut Criterion) {
    let mut rng = Rng::with_seed(4);
    let members: Vec<String> = (0..KEYS).map(|number| format!("member:{number:08}")).collect();
    let fill = |score: &mut dyn FnMut(usize) -> f64| {
        let mut set = ScoredSet::new(KeyHasher::seeded(1));
        for (at, member) in members.iter().enumerate() {
            set.update(member.as_bytes(), |_| Some(score(at)));
        }
        set
    };
    let mut group = c.benchmark_group("scored set");
    group.sample_size(10).throughput(Throughput::Elements(KEYS));
    group.bench_function("add, random scores", |bench| {
        bench.iter_with_large_drop(|| fill(&mut |_| rng.f64()));
    });
    group.bench_function("add, rising scores", |bench| {
        bench.iter_with_large_drop(|| fill(&mut |at| at as f64));
    });
    let mut set = fill(&mut |_| rng.f64());
    group.sample_size(100).throughput(Throughput::Elements(1));
    group.bench_function("new score", |bench| {
        bench.iter(|| {
            set.update(members[rng.usize(..members.len())].as_bytes(), |_| Some(rng.f64()))
        });
    });
    group.bench_function("rank", |bench| {
        bench.iter(|| set.rank(members[rng.usize(..members.len())].as_bytes()));
    });
    group.bench_function("range of 10", |bench| {
        bench.iter(|| {
            let start = rng.usize(..members.len() - 10);
            set.range(start..start + 10).map(|(member, _)| member.len()).sum::<usize>()
        });
    });
}

/// One event loop without its sockets.
struct Loop {
    executor: Executor,
    client: Client,
    batch: Batch,
    room: Vec<u8>,
}

impl Loop {
    fn new(server: &Arc<Server>, commands: &Arc<CommandTable>, thread: usize) -> Loop {
        let here: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        let handle = ClientHandle::new(1, 0, Peer::Tcp(here, here), 0, thread, 0);
        Loop {
            executor: Executor::new(Arc::clone(server), Arc::clone(commands), thread),
            client: Client::new(Arc::new(handle)),
            batch: Batch::default(),
            room: Vec::new(),
        }
    }

    /// Parses and runs a pipeline; returns how long the replies are.
    fn run(&mut self, mut input: &[u8]) -> usize {
        let mut out = ReplyBuf::with_room(std::mem::take(&mut self.room), Protocol::Resp2);
        while !input.is_empty() {
            let mut parser = RequestParser::default();
            self.batch.fill(&mut parser, input, LIMITS).expect("well-formed requests");
            let progress = self.executor.run(input, &self.batch, 0, &mut self.client, &mut out);
            input = &input[self.batch.end_of(progress.ran).expect("a request was run")..];
        }
        let len = out.len();
        self.room = out.take_room();
        len
    }
}

fn filled(threads: usize) -> (Arc<Server>, Arc<CommandTable>) {
    let commands = Arc::new(CommandTable::new(&[]).expect("no renames"));
    let server = Server::new(Config::new(), threads, CommandTable::catalog(), None);
    let mut one = Loop::new(&server, &commands, 0);
    let value = "v".repeat(32);
    for first in (0..KEYS).step_by(BATCH) {
        let numbers = first..KEYS.min(first + BATCH as u64);
        let input: Vec<u8> = numbers.flat_map(|n| request(&["SET", &key(n), &value])).collect();
        one.run(&input);
    }
    (server, commands)
}

fn executor(c: &mut Criterion) {
    let (server, commands) = filled(1);
    let mut one = Loop::new(&server, &commands, 0);
    let mut rng = Rng::with_seed(2);
    let value = "w".repeat(32);
    let gets = pipelines(&mut rng, |key| request(&["GET", key]));
    let sets = pipelines(&mut rng, |key| request(&["SET", key, &value]));
    let mut group = c.benchmark_group("executor");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, inputs) in [("get, pipelined", &gets), ("set, pipelined", &sets)] {
        group.bench_function(name, |bench| {
            bench.iter(each(inputs, |input| assert!(one.run(input) > 0)))
        });
    }
    group.throughput(Throughput::Elements(1));
    let single: Vec<Vec<u8>> =
        (0..100_000).map(|_| request(&["GET", &key(rng.u64(..KEYS))])).collect();
    group.bench_function("get, alone", |bench| {
        bench.iter(each(&single, |input| assert!(one.run(input) > 0)));
    });
}

/// What a second event loop costs the first: on random keys hardly anything, on one key the lock.
fn contention(c: &mut Criterion) {
    let (server, commands) = filled(2);
    let mut rng = Rng::with_seed(3);
    let spread = pipelines(&mut rng, |key| request(&["INCR", &format!("n:{key}")]));
    let one_key = pipelines(&mut rng, |_| request(&["INCR", "counter"]));
    let mut group = c.benchmark_group("two loops");
    group.throughput(Throughput::Elements(2 * BATCH as u64));
    for (name, inputs) in [("incr of random keys", &spread), ("incr of one key", &one_key)] {
        group.bench_function(name, |bench| {
            bench.iter_custom(|rounds| {
                let run = |thread: usize| -> Duration {
                    let mut one = Loop::new(&server, &commands, thread);
                    let start = Instant::now();
                    for round in 0..rounds as usize {
                        black_box(one.run(&inputs[(round + 1_000 * thread) % inputs.len()]));
                    }
                    start.elapsed()
                };
                thread::scope(|scope| {
                    let other = scope.spawn(|| run(1));
                    run(0).max(other.join().expect("the other loop ends"))
                })
            });
        });
    }
}

/// What an interpreter adds to the commands that a script calls.
fn script(c: &mut Criterion) {
    let (server, commands) = filled(1);
    let mut one = Loop::new(&server, &commands, 0);
    let mut rng = Rng::with_seed(5);
    let mut group = c.benchmark_group("script");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, body) in [
        ("empty", "return 1"),
        ("a string", "return KEYS[1]"),
        ("get", "return redis.call('GET', KEYS[1])"),
        (
            "get, incr, pexpire",
            "local before = redis.call('GET', KEYS[1]) or 0 local now = redis.call('INCR', KEYS[1]) \
             redis.call('PEXPIRE', KEYS[1], 100000000) return now - before",
        ),
    ] {
        let sha = server.scripts.engine.lock().load_script(body.as_bytes()).expect("it is right");
        let keys = |key: &str| request(&["EVALSHA", &sha, "1", &format!("n:{key}")]);
        let inputs = pipelines(&mut rng, keys);
        group.bench_function(name, |bench| {
            bench.iter(each(&inputs, |input| assert!(one.run(input) > 0)))
        });
    }
}

/// What a write pays for being logged: encoded into its unit, and copied into the log.
fn write_log(c: &mut Criterion) {
    let mut group = c.benchmark_group("write log");
    group.throughput(Throughput::Elements(BATCH as u64));
    let append = |log: &WriteLog, unit: &mut Unit| {
        for _ in 0..BATCH {
            unit.clear();
            unit.push(0, [&b"SET"[..], b"key:000000000001", b"v"]);
            black_box(log.append(unit));
        }
    };
    let (mut unit, mut taken) = (Unit::default(), Vec::new());
    let log = WriteLog::default();
    group.bench_function("one thread", |bench| {
        bench.iter(|| {
            append(&log, &mut unit);
            taken.clear();
            log.take(&mut taken)
        });
    });
    let (log, stop) = (WriteLog::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut unit = Unit::default();
            while !stop.load(Ordering::Relaxed) {
                append(&log, &mut unit);
            }
        });
        group.bench_function("beside another thread", |bench| {
            bench.iter(|| {
                append(&log, &mut unit);
                taken.clear();
                log.take(&mut taken)
            });
        });
        stop.store(true, Ordering::Relaxed);
    });
}

criterion_group!(hot, parser, lookup, table, scored_set, executor, contention, script, write_log);
criterion_main!(hot);
