//! RDB files of a real server: what is in them is loaded as it was, and `check-rdb` says of them what
//! redis-check-rdb says.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicI64, AtomicU64};

use redstart::base::{clock, hash::KeyHasher, number};
use redstart::encoding::End;
use redstart::keyspace::Keyspace;
use redstart::persist::rdb::load::{Hooks, Options, Summary, load};
use redstart::value::stream::Stream;
use redstart::value::zset::ZSet;
use redstart::value::{Hash, Kind, List, Set, Str, Type, ValueView};

use crate::harness::{Conn, Reply, Server};

/// Values of every type: small and large, with short and long elements, numbers and texts.
const FILL: &str = r"
local long, longest = string.rep('x', 100), string.rep('a long text ', 900)
local function key(name, n) return name .. ':' .. n end
for _, n in ipairs({1, 3, 20, 150, 700, 3000}) do
    for i = 1, n do
        redis.call('rpush', key('list', n), i, 'item ' .. i)
        redis.call('sadd', key('ints', n), i * 1000003)
        redis.call('sadd', key('set', n), i, 'member ' .. i)
        redis.call('zadd', key('zset', n), i / 7, 'member ' .. i, -i, i)
        redis.call('hset', key('hash', n), 'field ' .. i, 'value ' .. i, i, -i)
    end
    redis.call('rpush', key('texts', n), long, longest, n)
    redis.call('sadd', key('longset', n), long .. n, 1)
    redis.call('zadd', key('longzset', n), 'inf', long .. n, '-inf', 'low', 1e100, 'high')
    redis.call('hset', key('longhash', n), long, longest, 'n', n)
    redis.call('set', key('number', n), n * 12345678901)
    redis.call('set', key('text', n), string.rep('repeated', n))
    redis.call('pexpire', key('text', n), 86400000 + n)
end
redis.call('set', 'binary' .. string.char(0, 255, 10), string.char(0, 1, 2, 200))
redis.call('set', 'negative', '-7')
redis.call('set', 'empty', '')
redis.call('setbit', 'huge', 24000000, 1)
redis.call('select', 9)
redis.call('set', 'elsewhere', 'here')
";

type Contents = BTreeMap<(usize, Vec<u8>), (Vec<Vec<u8>>, Option<i64>)>;

fn texts(reply: Reply) -> Vec<Vec<u8>> {
    match reply {
        Reply::Bulk(text) => vec![text],
        Reply::Simple(text) => vec![text],
        Reply::Array(items) => items.into_iter().flat_map(texts).collect(),
        other => panic!("{other:?}"),
    }
}

/// Sorts pieces of `size` texts.
fn sorted(texts: &[Vec<u8>], size: usize) -> Vec<Vec<u8>> {
    let mut pieces: Vec<&[Vec<u8>]> = texts.chunks(size).collect();
    pieces.sort();
    pieces.concat()
}

/// Members and scores, which Redis 7.0 writes with more digits.
fn scored(texts: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let pair = |pair: &[Vec<u8>]| {
        let score = number::parse_f64(&pair[1]).expect("a score");
        [pair[0].clone(), score_text(score)]
    };
    texts.chunks(2).flat_map(pair).collect()
}

fn score_text(score: f64) -> Vec<u8> {
    let mut text = Vec::new();
    number::write_f64(&mut text, score);
    text
}

/// What the real server holds.
fn asked(conn: &mut Conn) -> Contents {
    let mut contents = Contents::new();
    for db in [0, 9] {
        conn.call(&["SELECT", &db.to_string()]);
        for key in texts(conn.call(&["KEYS", "*"])) {
            let mut call = |args: &[&[u8]]| texts(conn.call(args));
            let value = match &call(&[b"TYPE", &key])[0][..] {
                b"string" => call(&[b"GET", &key]),
                b"list" => call(&[b"LRANGE", &key, b"0", b"-1"]),
                b"set" => sorted(&call(&[b"SMEMBERS", &key]), 1),
                b"hash" => sorted(&call(&[b"HGETALL", &key]), 2),
                _ => scored(&call(&[b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"])),
            };
            let Reply::Integer(deadline) = conn.call(&[b"PEXPIRETIME", &key[..]]) else { panic!() };
            contents.insert((db, key), (value, (deadline >= 0).then_some(deadline)));
        }
    }
    contents
}

fn seen<K: Kind>(value: ValueView<'_>) -> K::View<'_> {
    value.of::<K>().unwrap_or_else(|_| panic!("the type was asked for"))
}

fn shown(value: ValueView<'_>) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    match value.type_of() {
        Type::String => all.push(seen::<Str>(value).to_vec()),
        Type::List => {
            let list = seen::<List>(value);
            list.walk(0..list.len(), End::Head, |item| {
                all.push(item.to_vec());
                true
            });
        }
        Type::Set => {
            all.extend(seen::<Set>(value).iter().map(|member| member.to_vec()));
            all = sorted(&all, 1);
        }
        Type::Hash => {
            seen::<Hash>(value).for_each(0, |field, value| {
                all.push(field.to_vec());
                all.push(value.bytes(&mut [0; 20]).to_vec());
            });
            all = sorted(&all, 2);
        }
        Type::ZSet => {
            for (member, score) in seen::<ZSet>(value).iter() {
                all.push(member.to_vec());
                all.push(score_text(score));
            }
        }
        Type::Stream => {
            for entry in seen::<Stream>(value).iter() {
                all.push(format!("{}-{}", entry.id.ms, entry.id.seq).into_bytes());
                for (name, value) in entry.pairs() {
                    all.extend([name.to_vec(), value.to_vec()]);
                }
            }
        }
    }
    all
}

/// What a file holds.
fn loaded(path: &Path, change: impl FnOnce(&mut Options)) -> (Summary, Contents) {
    let keyspace = Keyspace::new(16, 2, KeyHasher::random());
    let mut options = Options::new(clock::now_ms(), 2);
    change(&mut options);
    let mut hooks = Hooks {
        progress: &AtomicU64::new(0),
        key_delay_us: &AtomicI64::new(0),
        function: &mut |_| Ok(()),
    };
    let file = File::open(path).expect("the file is there");
    let summary = load(file, &keyspace, &options, &mut hooks).expect("a sound file");
    let mut contents = Contents::new();
    for shard in 0..keyspace.shard_count() {
        let shard = keyspace.lock(shard);
        for db in 0..16 {
            let Some(table) = shard.db(db) else { continue };
            table.for_each(|entry| {
                let value = (shown(entry.value()), entry.deadline());
                contents.insert((db, entry.key().to_vec()), value);
            });
        }
    }
    (summary, contents)
}

fn check(program: &str, args: &[&str], path: &Path) -> (Option<i32>, String) {
    let output = Command::new(program).args(args).arg(path).output().expect(program);
    (output.status.code(), String::from_utf8(output.stdout).expect("text"))
}

/// What both checkers say of a file, which has to be the same.
fn checked(path: &Path) -> (Option<i32>, String) {
    let real = check("redis-check-rdb", &[], path);
    let (code, said) = check(env!("CARGO_BIN_EXE_redstart"), &["check-rdb"], path);
    assert_eq!(code, real.0);
    if code == Some(0) {
        assert_eq!(said, real.1);
    } else {
        assert_eq!(gist(&said), gist(&real.1));
    }
    real
}

/// Of an error Redis gives the offset before the last read, which may be of many bytes, and before
/// the first key it names a type that it has not read.
fn gist(said: &str) -> String {
    let mut gist = String::new();
    for line in said.lines().filter(|line| !line.contains(" Reading type ")) {
        gist.push_str(if line.starts_with("[offset ") && !line.contains("AUX FIELD") {
            line.split_once(']').map_or("", |(_, rest)| rest)
        } else {
            line
        });
        gist.push('\n');
    }
    gist
}

#[test]
fn what_redis_saves_is_loaded() {
    for args in [
        &[][..],
        &["--rdbcompression", "no", "--list-compress-depth", "1", "--rdbchecksum", "no"],
        &["--hash-max-listpack-entries", "0", "--zset-max-listpack-entries", "0"],
        &["--list-max-listpack-size", "3", "--set-max-intset-entries", "5"],
    ] {
        let redis = Server::start_redis(args);
        let mut conn = redis.connect();
        assert_eq!(conn.call(&["EVAL", FILL, "0"]), Reply::NilBulk);
        assert_eq!(conn.call(&["SAVE"]), Reply::Simple(b"OK".to_vec()));
        let (expected, path) = (asked(&mut conn), redis.dir().join("dump.rdb"));
        let (summary, found) = loaded(&path, |_| {});
        assert_eq!(summary.keys, expected.len() as u64);
        assert_eq!(summary.len, fs::metadata(&path).unwrap().len());
        assert!(summary.facts.ctime.is_some() && summary.facts.used_memory.is_some());
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (key, value) in &expected {
            assert!(found[key] == *value, "{} differs {args:?}", key.1.escape_ascii());
        }
        let (_, again) = loaded(&path, |options| options.window_len = 5000);
        assert!(again == found);
        let (code, said) = checked(&path);
        assert_eq!(code, Some(0), "{said}");
    }
}

#[test]
fn check_rdb_says_what_redis_check_rdb_says() {
    let redis = Server::start_redis(&[]);
    let mut conn = redis.connect();
    conn.call(&["SET", "volatile", "x", "EX", "3600"]);
    conn.call(&["MSET", "a", "1", "b", "2"]);
    conn.call(&["RPUSH", "list", "a", "b"]);
    conn.call(&["SAVE"]);
    let path = redis.dir().join("dump.rdb");
    let (code, said) = checked(&path);
    assert_eq!(code, Some(0));
    assert!(said.contains("[info] 4 keys read\n[info] 1 expires\n"), "{said}");
    let (bytes, damaged) = (fs::read(&path).unwrap(), redis.dir().join("damaged.rdb"));
    // Cut within an AUX field, and within the checksum.
    for len in [3, 12, bytes.len() - 4] {
        fs::write(&damaged, &bytes[..len]).unwrap();
        assert_eq!(checked(&damaged).0, Some(1));
    }
    for (at, byte) in [(0, b'X'), (7, b'9'), (bytes.len() - 1, !bytes[bytes.len() - 1])] {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        fs::write(&damaged, &bytes).unwrap();
        assert_eq!(checked(&damaged).0, Some(1));
    }
    let own = env!("CARGO_BIN_EXE_redstart");
    assert_eq!(check(own, &["check-rdb"], &redis.dir().join("missing")).0, Some(1));
    let link = redis.dir().join("redis-check-rdb");
    std::os::unix::fs::symlink(own, &link).unwrap();
    assert_eq!(check(link.to_str().unwrap(), &[], &path), (Some(0), said));
}
