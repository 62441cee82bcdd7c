//! Data of every type and encoding, and how that of two servers is compared.
//!
//! It uses what Redis 7.0 knows, so that a real redis-server can be given it as well.

use crate::harness::{Conn, Reply};

/// A moment that never comes while tests run, in Unix milliseconds.
const FAR_MS: &str = "4102444800123";
/// Databases that a server has unless it is told otherwise.
const DATABASES: usize = 16;

/// Runs a command whose arguments have no spaces; an error is a failure.
pub(crate) fn run(conn: &mut Conn, line: &str) -> Reply {
    let args: Vec<&str> = line.split(' ').collect();
    call(conn, &args)
}

/// Runs a command; an error is a failure.
pub(crate) fn call<A: AsRef<[u8]>>(conn: &mut Conn, args: &[A]) -> Reply {
    let reply = conn.call(args);
    if let Reply::Error(text) = &reply {
        let args: Vec<_> = args.iter().map(|arg| String::from_utf8_lossy(arg.as_ref())).collect();
        panic!("{}: {}", args.join(" "), String::from_utf8_lossy(text));
    }
    reply
}

/// The text of a reply that is one.
pub(crate) fn text(reply: Reply) -> String {
    match reply {
        Reply::Bulk(text) | Reply::Simple(text) | Reply::Error(text) => {
            String::from_utf8_lossy(&text).into_owned()
        }
        other => panic!("{other:?} is no text"),
    }
}

/// Fills databases 0, 1 and 15 with everything, and loads a library of functions.
pub(crate) fn fill(conn: &mut Conn) {
    strings(conn);
    lists(conn);
    sets(conn);
    sorted_sets(conn);
    hashes(conn);
    streams(conn);
    deadlines(conn);
    let library = "#!lua name=lib\n\
                   redis.register_function('twice', function(keys, args) return 2 * args[1] end)";
    call(conn, &["FUNCTION", "LOAD", library]);
    for db in ["1", "15"] {
        call(conn, &["SELECT", db]);
        call(conn, &["SET", "here", db]);
        deadlines(conn);
    }
    call(conn, &["SELECT", "0"]);
}

fn strings(conn: &mut Conn) {
    let numbers = [
        "0",
        "-1",
        "127",
        "128",
        "-129",
        "32768",
        "-32769",
        "2147483647",
        "2147483648",
        "-2147483649",
        "9223372036854775807",
        "-9223372036854775808",
        "00123",
        "1.5",
    ];
    for (index, number) in numbers.iter().enumerate() {
        call(conn, &["SET", &format!("int:{index}"), number]);
    }
    call(conn, &["SET", "empty", ""]);
    call(conn, &["SET", "", "the empty key"]);
    call(conn, &["SET", "short", "embedded"]);
    call(conn, &[&b"SET"[..], b"binary\0\r\n\xff", b"\0\xff\r\n\x80"]);
    call(conn, &["SET", "repeated", &"abc".repeat(40_000)]);
    for (index, len) in
        [20, 21, 44, 45, 63, 64, 16_383, 16_384, 70_000, 3_000_000].iter().enumerate()
    {
        call(conn, &[b"SET", format!("noise:{index}").as_bytes(), &noise(*len)]);
    }
    run(conn, "SETBIT bits 100000 1");
    run(conn, "PFADD hll:sparse a b c d");
    for start in 0..30 {
        let mut request = vec!["PFADD".to_owned(), "hll:dense".to_owned()];
        request.extend((0..100).map(|item| format!("item-{}", start * 100 + item)));
        call(conn, &request);
    }
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(u64::try_from(len).expect("small"));
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

fn push(conn: &mut Conn, command: &str, key: &str, items: impl Iterator<Item = String>) {
    let mut request = vec![command.to_owned(), key.to_owned()];
    request.extend(items);
    call(conn, &request);
}

/// Texts and numbers by turns.
fn mixed(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|i| if i % 3 == 0 { format!("{}", i * i * 977) } else { format!("item-{i}") })
}

fn lists(conn: &mut Conn) {
    push(conn, "RPUSH", "list:small", mixed(10));
    push(conn, "RPUSH", "list:big", mixed(5000));
    push(conn, "RPUSH", "list:edges", integers());
    call(conn, &[&b"RPUSH"[..], b"list:plain", b"a", &noise(9_000), b"b", &noise(100_000), b""]);
    run(conn, "CONFIG SET list-max-listpack-size 5");
    push(conn, "RPUSH", "list:fives", mixed(100));
    run(conn, "CONFIG SET list-compress-depth 1 list-max-listpack-size -2");
    push(conn, "RPUSH", "list:compressed", (0..3000).map(|i| "x".repeat(i % 50)));
    run(conn, "CONFIG SET list-compress-depth 0");
    push(conn, "LPUSH", "list:inserted", mixed(200));
    run(conn, "LINSERT list:inserted BEFORE item-100 between");
    run(conn, "LTRIM list:inserted 5 150");
}

/// Around the borders of every width that a listpack has.
fn integers() -> impl Iterator<Item = String> {
    [7, 8, 12, 13, 15, 16, 23, 24, 31, 32, 62, 63].into_iter().flat_map(|bits| {
        let edge = (1_i128 << bits).min(i128::from(i64::MAX));
        [edge - 1, edge, 1 - edge, -edge].map(|number| number.to_string())
    })
}

fn sets(conn: &mut Conn) {
    run(conn, "SADD set:16 1 2 -3 32767");
    run(conn, "SADD set:32 1 2 -3 32768");
    run(conn, "SADD set:64 1 2 -3 2147483648 -9223372036854775808");
    push(conn, "SADD", "set:numbers", (0..600).map(|i| i.to_string()));
    push(conn, "SADD", "set:small", mixed(20));
    push(conn, "SADD", "set:big", mixed(3000));
    run(conn, "SADD set:left a b c");
    run(conn, "SREM set:left a");
    run(conn, "CONFIG SET set-max-intset-entries 3");
    run(conn, "SADD set:beyond 1 2 3 4 5");
    run(conn, "CONFIG SET set-max-intset-entries 512");
}

fn sorted_sets(conn: &mut Conn) {
    run(conn, "ZADD zset:small 1 a 2.5 b -inf c +inf d 1e300 e -0.1 f 3 17");
    push(
        conn,
        "ZADD",
        "zset:big",
        mixed(2000).enumerate().flat_map(|(i, item)| {
            [format!("{}", f64::from(u32::try_from(i).expect("small")) / 7.0), item]
        }),
    );
    run(conn, "CONFIG SET zset-max-listpack-entries 2");
    run(conn, "ZADD zset:beyond 1 a 2 b 3 c -inf d inf e 0 f");
    run(conn, "CONFIG SET zset-max-listpack-entries 128 zset-max-listpack-value 3");
    run(conn, "ZADD zset:long 1 abcdef 1 abcdeg");
    run(conn, "CONFIG SET zset-max-listpack-value 64");
    run(conn, "GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania");
}

fn hashes(conn: &mut Conn) {
    let pairs = |count| mixed(count).enumerate().flat_map(|(i, item)| [format!("f{i}"), item]);
    push(conn, "HSET", "hash:small", pairs(20));
    push(conn, "HSET", "hash:big", pairs(2000));
    run(conn, "CONFIG SET hash-max-listpack-entries 2");
    push(conn, "HSET", "hash:beyond", pairs(5));
    run(conn, "CONFIG SET hash-max-listpack-entries 128 hash-max-listpack-value 3");
    push(conn, "HSET", "hash:long", pairs(5));
    run(conn, "CONFIG SET hash-max-listpack-value 64");
    call(conn, &[&b"HSET"[..], b"hash:bytes", b"", b"", b"\0", b"\xff", b"n", &noise(5_000)]);
}

fn streams(conn: &mut Conn) {
    for i in 1..400_u32 {
        let id = format!("{}-{}", 1_000_000 + u64::from(i / 3), i % 3);
        let odd = if i % 7 == 0 { "other" } else { "field" };
        call(conn, &["XADD", "stream:big", &id, odd, &format!("value-{i}"), "n", &i.to_string()]);
    }
    run(conn, "XDEL stream:big 1000003-1 1000050-0");
    run(conn, "XTRIM stream:big MINID 1000002");
    run(conn, "XGROUP CREATE stream:big first 0");
    run(conn, "XGROUP CREATE stream:big second 1000050-1 ENTRIESREAD 100");
    run(conn, "XGROUP CREATE stream:big idle $");
    run(conn, "XGROUP CREATECONSUMER stream:big idle nobody");
    run(conn, "XREADGROUP GROUP first alice COUNT 20 STREAMS stream:big >");
    run(conn, "XREADGROUP GROUP first bob COUNT 10 STREAMS stream:big >");
    run(conn, "XREADGROUP GROUP second alice COUNT 3 STREAMS stream:big >");
    // Redis forgets how much a group has read when it loads commands.
    run(conn, "XGROUP SETID stream:big first 1000012-0 ENTRIESREAD 30");
    run(conn, "XGROUP SETID stream:big second 1000051-1 ENTRIESREAD 103");
    run(conn, "XACK stream:big first 1000002-0 1000002-1");
    run(conn, "XCLAIM stream:big first bob 0 1000004-0 RETRYCOUNT 7");
    run(conn, "XADD stream:emptied 5-5 a b");
    run(conn, "XDEL stream:emptied 5-5");
    run(conn, "XGROUP CREATE stream:made g $ MKSTREAM");
    run(conn, "XADD stream:set 1-1 a b");
    run(conn, "XSETID stream:set 200-7 ENTRIESADDED 50 MAXDELETEDID 9-9");
    call(conn, &[&b"XADD"[..], b"stream:bytes", b"1-1", b"", b"\0\xff", b"big", &noise(5_000)]);
}

fn deadlines(conn: &mut Conn) {
    for (key, value) in [("ttl:string", "x"), ("ttl:int", "12")] {
        call(conn, &["SET", key, value, "PXAT", FAR_MS]);
    }
    run(conn, "RPUSH ttl:list a b");
    run(conn, "HSET ttl:hash a b");
    for key in ["ttl:list", "ttl:hash"] {
        call(conn, &["PEXPIREAT", key, FAR_MS]);
    }
}

/// `DEBUG DIGEST`, which is equal for equal data whatever server has it.
pub(crate) fn digest(conn: &mut Conn) -> String {
    text(call(conn, &["DEBUG", "DIGEST"]))
}

/// Fails unless both have the same data, as far as clients of Redis 7.0 can see.
pub(crate) fn assert_same(one: &mut Conn, other: &mut Conn) {
    for db in 0..DATABASES {
        for conn in [&mut *one, &mut *other] {
            call(conn, &["SELECT", &db.to_string()]);
        }
        let keys = keys(one);
        assert_eq!(keys, self::keys(other), "database {db}");
        for key in &keys {
            let (seen, expected) = (look(one, key), look(other, key));
            assert_eq!(seen, expected, "{} in database {db}", String::from_utf8_lossy(key));
        }
    }
    for conn in [&mut *one, &mut *other] {
        call(conn, &["SELECT", "0"]);
    }
    assert_eq!(digest(one), digest(other));
    assert_eq!(libraries(one), libraries(other));
}

/// All libraries, in the same order whoever is asked.
fn libraries(conn: &mut Conn) -> Vec<String> {
    let Reply::Array(libraries) = call(conn, &["FUNCTION", "LIST", "WITHCODE"]) else {
        panic!("FUNCTION LIST is an array")
    };
    let mut libraries: Vec<_> = libraries.iter().map(|library| format!("{library:?}")).collect();
    libraries.sort();
    libraries
}

fn keys(conn: &mut Conn) -> Vec<Vec<u8>> {
    let Reply::Array(keys) = call(conn, &["KEYS", "*"]) else { panic!("KEYS is an array") };
    let mut keys: Vec<Vec<u8>> = keys
        .into_iter()
        .map(|key| if let Reply::Bulk(key) = key { key } else { panic!("{key:?} is no key") })
        .collect();
    keys.sort();
    keys
}

/// Type, deadline, digest, and what the digest does not see of a stream.
fn look(conn: &mut Conn, key: &[u8]) -> Vec<Reply> {
    let kind = call(conn, &[b"TYPE", key]);
    let mut seen = vec![
        call(conn, &[b"PEXPIRETIME", key]),
        call(conn, &[&b"DEBUG"[..], b"DIGEST-VALUE", key]),
    ];
    if kind == Reply::Simple(b"stream".to_vec()) {
        seen.extend(look_at_stream(conn, key));
    }
    seen.push(kind);
    seen
}

fn look_at_stream(conn: &mut Conn, key: &[u8]) -> Vec<Reply> {
    let Reply::Array(mut info) = call(conn, &[&b"XINFO"[..], b"STREAM", key]) else {
        panic!("XINFO STREAM is an array")
    };
    // How the stream is cut into nodes is each server's own affair.
    for name in ["radix-tree-keys", "radix-tree-nodes"] {
        let name = Reply::Bulk(name.as_bytes().to_vec());
        let at = info.iter().position(|item| *item == name).expect("a field of XINFO STREAM");
        info.drain(at..at + 2);
    }
    let groups = call(conn, &[&b"XINFO"[..], b"GROUPS", key]);
    let mut seen = vec![Reply::Array(info), groups.clone()];
    let Reply::Array(groups) = groups else { panic!("XINFO GROUPS is an array") };
    for group in groups {
        let Reply::Array(fields) = group else { panic!("a group is an array") };
        let Reply::Bulk(name) = &fields[1] else { panic!("a group has a name") };
        seen.push(pending(conn, key, name));
    }
    seen
}

/// Identifiers, owners and deliveries of entries that are pending; not how long they have been.
fn pending(conn: &mut Conn, key: &[u8], group: &[u8]) -> Reply {
    let Reply::Array(mut entries) = call(conn, &[b"XPENDING", key, group, b"-", b"+", b"1000"])
    else {
        panic!("XPENDING is an array")
    };
    for entry in &mut entries {
        let Reply::Array(fields) = entry else { panic!("an entry is an array") };
        fields.remove(2);
    }
    Reply::Array(entries)
}
