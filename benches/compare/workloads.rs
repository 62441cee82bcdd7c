//! The tests: what each sends, what answers it, and what the server holds before.
//!
//! A request is written as in a shell: `{k}` is the number of a key, `{s}` the same one again, `{m}`
//! that of a member or element, all twelve digits, `{v}` a value, `{sha}` the name of the test's
//! script. Several requests of one test are sent together and count as one, a whole transaction, or
//! two of which the second takes what the first adds, so that a test may run for as long as it
//! likes.

/// Members of a collection that a test adds to or reads from at random.
const MEMBERS: u64 = 1_000;
/// Members of the large sorted set.
const LARGE: u64 = 1_000_000;

/// The channel that messages are published to.
pub(crate) const CHANNEL: &str = "channel";
/// The commands of a transaction.
const QUEUED: usize = 10;
/// The limiter that many write: what was there, one more, and when it is to be forgotten.
const DECLARED: &str = "local before = redis.call('GET', KEYS[1]) \
    local now = redis.call('INCR', KEYS[1]) \
    redis.call('PEXPIRE', KEYS[1], 100000000) \
    return now - before";
/// The same on a key that the call does not declare.
const UNDECLARED: &str = "local before = redis.call('GET', ARGV[1]) \
    local now = redis.call('INCR', ARGV[1]) \
    redis.call('PEXPIRE', ARGV[1], 100000000) \
    return now - before";

/// Commands under load.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// What is sent.
    pub(crate) requests: &'static [&'static str],
    /// What one round of them is answered by.
    pub(crate) answer: Answer,
    /// `{m}` is below this.
    pub(crate) members: u64,
    pub(crate) data: &'static Data,
    pub(crate) setting: Setting,
}

/// What a test needs besides data.
#[derive(Clone, Copy)]
pub(crate) enum Setting {
    Nothing,
    /// A script, loaded before each turn.
    Script(&'static str),
    /// So many connections that listen to the channel.
    Subscribers(usize),
}

/// What answers a test.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// `+OK`.
    Ok,
    /// The value, as a bulk string.
    Value,
    /// Some integer.
    Integer,
    /// A length of one digit, and the value as a bulk string.
    LengthAndValue,
    /// Always so many bytes.
    Bytes(usize),
    /// What MULTI, so many SETs and EXEC are answered by.
    Transaction(usize),
}

/// What the server holds before a test.
pub(crate) struct Data {
    /// What is sent to make it; `{k}` takes turns, `{m}` grows by one when all keys had theirs.
    pub(crate) fill: &'static str,
    pub(crate) count: Count,
    /// Whether values are as long as the sizes asked for, or counters that start at zero.
    pub(crate) sized: bool,
}

/// How often a fill is sent.
#[derive(Clone, Copy)]
pub(crate) enum Count {
    /// So many times for every key.
    PerKey(u64),
    /// So many times; there is one key.
    Once(u64),
}

/// `$12` with twelve digits.
const NUMBER_REPLY: usize = 19;
/// `$14` with `m:` and twelve digits.
const MEMBER_REPLY: usize = 21;
/// `:` with one digit.
pub(crate) const DIGIT_REPLY: usize = 4;

static STRINGS: Data = Data { fill: "SET key:{k} {v}", count: Count::PerKey(1), sized: true };
static COUNTERS: Data = Data { fill: "SET key:{k} 0", count: Count::PerKey(1), sized: false };
static LISTS: Data = Data { fill: "RPUSH key:{k} {v}", count: Count::PerKey(2), sized: true };
static ONE_LIST: Data = Data { fill: "RPUSH large {m}", count: Count::Once(600), sized: false };
static HASHES: Data = Data { fill: "HSET key:{k} f {v}", count: Count::PerKey(1), sized: true };
static SETS: Data = Data { fill: "SADD key:{k} {m}", count: Count::PerKey(1), sized: false };
static SMALL_SETS: Data = Data { fill: "SADD key:{k} {m}", count: Count::PerKey(10), sized: false };
static ZSETS: Data =
    Data { fill: "ZADD key:{k} {m} m:{m}", count: Count::PerKey(10), sized: false };
static ONE_ZSET: Data =
    Data { fill: "ZADD large {m} m:{m}", count: Count::Once(LARGE), sized: false };
static ONE_SET: Data = Data { fill: "SADD large {m}", count: Count::Once(LARGE), sized: false };
static ONE_HASH: Data = Data { fill: "HSET large {m} {v}", count: Count::Once(LARGE), sized: true };
static BITS: Data = Data { fill: "SETBIT bits 8388607 1", count: Count::Once(1), sized: false };
static COUNTED: Data = Data { fill: "PFADD key:{k} {m}", count: Count::PerKey(1), sized: false };

/// Of their own, because the keys get a time to live.
static LIMITERS: Data = Data { fill: "SET key:{k} 0", count: Count::PerKey(1), sized: false };
static NOTHING: Data = Data { fill: "", count: Count::Once(0), sized: true };

/// All tests; those that run unless others are named come first.
pub(crate) static WORKLOADS: &[Workload] = &[
    one("get", &["GET key:{k}"], Answer::Value, &STRINGS),
    one("set", &["SET key:{k} {v}"], Answer::Ok, &STRINGS),
    one("incr", &["INCR key:{k}"], Answer::Integer, &COUNTERS),
    one(
        "mset",
        &["MSET key:{k} {v} key:{k} {v} key:{k} {v} key:{k} {v} key:{k} {v} \
           key:{k} {v} key:{k} {v} key:{k} {v} key:{k} {v} key:{k} {v}"],
        Answer::Ok,
        &STRINGS,
    ),
    one("lpush-rpop", &["LPUSH key:{k} {v}", "RPOP key:{s}"], Answer::LengthAndValue, &LISTS),
    one("lrange-100", &["LRANGE large 0 99"], Answer::Bytes(6 + 100 * NUMBER_REPLY), &ONE_LIST),
    one("lrange-600", &["LRANGE large 0 599"], Answer::Bytes(6 + 600 * NUMBER_REPLY), &ONE_LIST),
    one("hset", &["HSET key:{k} f {v}"], Answer::Integer, &HASHES),
    one("hget", &["HGET key:{k} f"], Answer::Value, &HASHES),
    large("hget-large", &["HGET large {m}"], Answer::Value, &ONE_HASH),
    one("sadd", &["SADD key:{k} {m}"], Answer::Integer, &SETS),
    one(
        "sadd-spop",
        &["SADD key:{k} {m}", "SPOP key:{s}"],
        Answer::Bytes(DIGIT_REPLY + NUMBER_REPLY),
        &SMALL_SETS,
    ),
    large("sismember-large", &["SISMEMBER large {m}"], Answer::Integer, &ONE_SET),
    one("zadd", &["ZADD key:{k} {m} m:{m}"], Answer::Integer, &ZSETS),
    one("zrange", &["ZRANGE key:{k} 0 9"], Answer::Bytes(5 + 10 * MEMBER_REPLY), &ZSETS),
    large("zadd-large", &["ZADD large {m} m:{m}"], Answer::Integer, &ONE_ZSET),
    one("bitcount", &["BITCOUNT bits"], Answer::Integer, &BITS),
    one("pfadd", &["PFADD key:{k} {m}"], Answer::Integer, &COUNTED),
    one(
        "multi",
        &[
            "MULTI",
            "SET key:{k} {v}",
            "SET key:{k} {v}",
            "SET key:{k} {v}",
            "SET key:{k} {v}",
            "SET key:{k} {v}",
            "SET key:{k} {v}",
            "SET key:{k} {v}",
            "SET key:{k} {v}",
            "SET key:{k} {v}",
            "SET key:{k} {v}",
            "EXEC",
        ],
        Answer::Transaction(QUEUED),
        &STRINGS,
    ),
    script("evalsha", &["EVALSHA {sha} 1 key:{k}"], DECLARED),
    script("evalsha-undeclared", &["EVALSHA {sha} 0 key:{k}"], UNDECLARED),
    publish("publish-0", 0),
    publish("publish-1", 1),
    publish("publish-100", 100),
];

/// How many of them run unless others are named.
pub(crate) const DEFAULTS: usize = 4;

const fn one(
    name: &'static str,
    requests: &'static [&'static str],
    answer: Answer,
    data: &'static Data,
) -> Workload {
    Workload { name, requests, answer, members: MEMBERS, data, setting: Setting::Nothing }
}

const fn large(
    name: &'static str,
    requests: &'static [&'static str],
    answer: Answer,
    data: &'static Data,
) -> Workload {
    Workload { name, requests, answer, members: LARGE, data, setting: Setting::Nothing }
}

const fn script(
    name: &'static str,
    requests: &'static [&'static str],
    text: &'static str,
) -> Workload {
    let setting = Setting::Script(text);
    Workload { setting, ..one(name, requests, Answer::Integer, &LIMITERS) }
}

const fn publish(name: &'static str, subscribers: usize) -> Workload {
    let setting = Setting::Subscribers(subscribers);
    Workload { setting, ..one(name, &["PUBLISH channel {v}"], Answer::Integer, &NOTHING) }
}
