//! Hand-made files through windows of all sizes, whole, cut and damaged.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::*;
use crate::base::hash::KeyHasher;
use crate::persist::rdb::crc::Crc;
use crate::persist::rdb::decode::decode_payload;
use crate::persist::rdb::decode::tests::{counted, plain, show, texts, whole_listpack, ziplist_of};
use crate::persist::rdb::kind;
use crate::value::limits::Limits;

const NOW_MS: i64 = 1_700_000_000_000;

/// A file's bytes.
struct File(Vec<u8>);

impl File {
    fn new(magic: &[u8]) -> Self {
        Self(magic.to_vec())
    }

    fn add(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn aux(self, name: &str, value: &str) -> Self {
        self.add(&[kind::AUX]).add(&texts(&[name.as_bytes(), value.as_bytes()]))
    }

    fn deadline(self, at_ms: i64) -> Self {
        self.add(&[kind::EXPIRE_AT_MS]).add(&at_ms.to_le_bytes())
    }

    fn entry(self, kind: u8, key: &str, value: &[u8]) -> Self {
        self.add(&[kind]).add(&plain(key.as_bytes())).add(value)
    }

    fn string(self, key: &str, value: &str) -> Self {
        self.entry(kind::STRING, key, &plain(value.as_bytes()))
    }

    /// The whole file with its checksum.
    fn end(mut self) -> Vec<u8> {
        self.0.push(kind::END);
        let crc = Crc::of(&self.0).to_le_bytes();
        self.add(&crc).0
    }
}

/// A keyspace after loading, with the summary and the sources of functions.
struct Outcome {
    summary: Result<Summary, RdbError>,
    keys: BTreeMap<(usize, String), String>,
    functions: Vec<Vec<u8>>,
    progress: u64,
}

fn load_with(bytes: &[u8], change: impl FnOnce(&mut Options)) -> Outcome {
    let keyspace = Keyspace::new(16, 1, KeyHasher::seeded(7));
    let mut options = Options::new(NOW_MS, 2);
    change(&mut options);
    let (progress, mut functions) = (AtomicU64::new(0), Vec::new());
    let mut function = |source: Vec<u8>| match source.as_slice() {
        b"bad" => Err("it is bad".to_owned()),
        _ => {
            functions.push(source);
            Ok(())
        }
    };
    let mut hooks =
        Hooks { progress: &progress, key_delay_us: &AtomicI64::new(0), function: &mut function };
    let summary = load(bytes, &keyspace, &options, &mut hooks);
    let mut keys = BTreeMap::new();
    for shard in 0..keyspace.shard_count() {
        let shard = keyspace.lock(shard);
        for db in 0..keyspace.databases() {
            let Some(table) = shard.db(db) else { continue };
            table.for_each(|entry| {
                let deadline = entry.deadline().map(|at| format!(" until {at}"));
                let value = show(entry.value()) + &deadline.unwrap_or_default();
                keys.insert((db, entry.key().escape_ascii().to_string()), value);
            });
        }
    }
    Outcome { summary, keys, functions, progress: progress.into_inner() }
}

/// A file with something of everything: so many plain keys, and strings of about that length.
fn sample(keys: usize, long: usize) -> File {
    let mut file = File::new(b"REDIS0012")
        .aux("redis-ver", "8.0.6")
        .aux("ctime", "1699999990")
        .aux("used-mem", "1048576")
        .aux("repl-id", &"a".repeat(40))
        .aux("repl-offset", "123")
        .aux("aof-base", "1")
        .add(b"\xf5\x03lib")
        .add(b"\xf7\x07\x02\x01\x01\x05\x02\x00\x00")
        .add(b"\xfe\x00\xfb\x05\x01\xf4\x01\x02\x03")
        .string("text", "hello")
        .deadline(NOW_MS + 1)
        .string("volatile", "v")
        .deadline(NOW_MS - 1)
        .string("expired", "e")
        .string("long", &"x".repeat(long + 1000))
        .entry(kind::LIST, "empty", b"\x00")
        .entry(kind::HASH_LISTPACK, "hash", &plain(&whole_listpack(&[b"a", b"1"])))
        .entry(kind::ZSET_2, "zset", &[&b"\x01\x01m"[..], &1.5f64.to_le_bytes()].concat())
        .entry(kind::ZSET, "old", b"\x01\x01m\x032.5")
        .entry(kind::LIST_QUICKLIST_2, "nodes", b"\x01\x01\x03abc")
        .entry(kind::LIST_QUICKLIST, "older", &counted(1, &[&ziplist_of(&[b"a", b"b"])]))
        .entry(kind::HASH, "plain", &counted(2, &[b"a", b"1", b"b", &vec![b'y'; long]]))
        .entry(kind::HASH_METADATA, "fields", b"\0\0\0\0\0\x01\0\0\x01\x05\x01f\x01v")
        .add(b"\xfe\x03\xf8\x0a")
        .entry(kind::SET, "set", &counted(3, &[b"1", b"2", b"x"]));
    for n in 0..keys {
        file = file.string(&format!("key:{n}"), &n.to_string());
    }
    file
}

#[test]
fn a_file_is_loaded_the_same_through_any_window() {
    let bytes = [&sample(300, 2000).end()[..], b"*1\r\n$4\r\nPING\r\n"].concat();
    let whole = load_with(&bytes, |_| {});
    let summary = whole.summary.unwrap();
    assert_eq!((summary.keys, summary.expired, summary.empty, summary.functions), (311, 1, 1, 1));
    assert_eq!((summary.version, summary.rest.as_slice()), (12, &b"*1\r\n$4\r\nPING\r\n"[..]));
    assert_eq!(summary.len, bytes.len() as u64 - 14);
    assert_eq!(whole.functions, [b"lib"]);
    let facts = &summary.facts;
    assert_eq!((facts.ctime, facts.used_memory), (Some(1699999990), Some(1048576)));
    assert_eq!((facts.repl_id, facts.repl_offset), (Some([b'a'; 40]), Some(123)));
    assert!(facts.is_aof_base && !facts.has_aof_tail);
    let key = |db, key: &str| whole.keys[&(db, key.to_owned())].as_str();
    assert_eq!(key(0, "text"), "hello");
    assert_eq!(key(0, "volatile"), format!("v until {}", NOW_MS + 1));
    assert_eq!(key(0, "plain"), "a=1 b=<2000>");
    assert_eq!(key(0, "fields"), format!("f=v@{}", (1i64 << 40) + 4));
    assert_eq!((key(3, "set"), key(3, "key:299")), ("1 2 x", "299"));
    for window_len in (9..60).chain([100, 1000, 2500, 3100, 10_000]) {
        for threads in [1, 3] {
            let other = load_with(&bytes, |options| {
                (options.window_len, options.threads) = (window_len, threads);
            });
            let other_summary = other.summary.unwrap();
            assert_eq!(other.keys, whole.keys, "{window_len}");
            assert_eq!((other_summary.keys, other_summary.len), (311, summary.len));
            assert!(other.progress <= bytes.len() as u64);
        }
    }
}

#[test]
fn what_has_expired_is_kept_for_replicas_and_logs() {
    let outcome = load_with(&sample(300, 2000).end(), |options| options.drops_expired = false);
    assert_eq!(outcome.summary.unwrap().expired, 0);
    assert!(outcome.keys.contains_key(&(0, "expired".to_owned())));
}

#[test]
fn errors_are_those_of_redis() {
    let error = |bytes: &[u8]| load_with(bytes, |_| {}).summary.unwrap_err().to_string();
    let file = || File::new(b"REDIS0011");
    assert_eq!(error(b"REDIX0011"), "Wrong signature trying to load DB from file");
    assert_eq!(error(b"REDIS0099"), "Can't handle RDB format version 99");
    assert_eq!(error(b"REDIS"), "Unexpected EOF reading RDB file");
    assert_eq!(
        error(&file().add(b"\xfe\x10").end()),
        "FATAL: Data file was created with a Redis server configured to handle more than 16 \
         databases. Exiting"
    );
    let twice = file().string("a", "1").string("b", "1").string("a", "2").end();
    assert_eq!(error(&twice), "RDB has duplicated key 'a' in DB 0");
    assert_eq!(error(&file().add(b"\xf5\x03bad").end()), "Failed loading library, it is bad");
    assert_eq!(error(&file().entry(30, "a", b"").end()), "Invalid object type: 30");
    let module = file().entry(kind::MODULE_PRE_GA, "m", b"\x00").end();
    assert_eq!(error(&module), "Values of type 6 (module-pre-release) are not supported");
    let mut damaged = file().string("a", "1").end();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(error(&damaged), "RDB CRC error");
    let unchecked = load_with(&damaged, |options| options.checksum = false);
    assert_eq!(unchecked.summary.unwrap().keys, 1);
    let len = damaged.len();
    damaged[len - 8..].fill(0);
    assert_eq!(load_with(&damaged, |_| {}).summary.unwrap().keys, 1);
    let old = File::new(b"REDIS0004").string("a", "1").add(b"\xff").0;
    assert_eq!(load_with(&old, |_| {}).summary.unwrap().keys, 1);
}

#[test]
fn keys_that_are_there_are_replaced_if_asked_for() {
    let file = File::new(b"REDIS0011").string("a", "1").string("a", "2").end();
    let outcome = load_with(&file, |options| options.replaces = true);
    assert_eq!(outcome.keys[&(0, "a".to_owned())], "2");
}

#[test]
fn an_error_of_a_worker_ends_the_loading() {
    let bad = plain(&whole_listpack(&[b"a"]));
    let mut file = File::new(b"REDIS0011");
    for n in 0..2000 {
        file = file.string(&format!("key:{n}"), "value");
        if n == 1000 {
            file = file.entry(kind::HASH_LISTPACK, "bad", &bad);
        }
    }
    for window_len in [64, 512, 0] {
        let outcome = load_with(&file.0, |options| options.window_len = window_len);
        let error = outcome.summary.unwrap_err();
        assert_eq!(error.to_string(), "Incomplete last entry");
    }
}

#[test]
fn valkeys_files_have_valkeys_meanings() {
    let hash = [&b"\x02\x01a\x011"[..], &[0xff; 8], b"\x01b\x012", &NOW_MS.to_le_bytes()].concat();
    let file = File::new(b"VALKEY080").entry(kind::VALKEY_HASH_2, "h", &hash).end();
    let outcome = load_with(&file, |_| {});
    assert_eq!(outcome.summary.unwrap().version, 80);
    assert_eq!(outcome.keys[&(0, "h".to_owned())], format!("a=1 b=2@{NOW_MS}"));
}

/// Wherever a file ends and whatever a byte of it becomes, loading ends.
#[test]
fn damage_ends_in_an_error_or_in_other_keys() {
    let file = sample(3, 70).end();
    assert!(load_with(&file, |_| {}).summary.is_ok());
    for len in 0..file.len() {
        let outcome = load_with(&file[..len], |options| options.window_len = 64 + len % 512);
        assert!(outcome.summary.is_err(), "{len}");
    }
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 1 << (at % 8);
        let outcome = load_with(&damaged, |options| options.threads = 1);
        assert!(outcome.summary.is_err(), "{at}");
        damaged[at] = !damaged[at];
        let _ = load_with(&damaged, |options| options.checksum = false);
    }
}

/// The seeds of the fuzz targets: files and payloads that real servers wrote.
#[test]
fn seeds_are_loaded() {
    let seeds = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
        fs::read_dir(folder).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            (path.display().to_string(), fs::read(path).unwrap())
        })
    };
    for (name, bytes) in seeds("rdb_file") {
        let outcome = load_with(&bytes[1..], |options| options.window_len = 100);
        let summary = outcome.summary.unwrap_or_else(|error| panic!("{name}: {error}"));
        let is_new = !name.ends_with("old");
        assert_eq!(summary.functions, u64::from(is_new), "{name}");
        assert!(summary.keys >= if is_new { 14 } else { 7 }, "{name}: {}", summary.keys);
        assert!(outcome.keys.values().all(|value| !value.is_empty()));
    }
    let (limits, hasher) = (Limits::default(), KeyHasher::seeded(7));
    for (name, bytes) in seeds("rdb_payload") {
        if bytes[1] == kind::HASH_METADATA_PRE_GA && bytes[0] == 0 {
            continue;
        }
        let decoded = decode_payload(&bytes[2..], bytes[1], &limits, &hasher, NOW_MS);
        assert!(decoded.is_ok(), "{name}: {}", decoded.unwrap_err());
    }
}
