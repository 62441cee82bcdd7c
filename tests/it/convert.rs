//! `redstart convert`: what real servers wrote passes through every kind of file, nothing is lost, and
//! nothing is written over or left half written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use crate::dataset::{assert_same, call, digest, fill, run};
use crate::harness::{APPEND_DIR, Conn, Reply, Server, wait_for};

const DEBUG: &[&str] = &["--enable-debug-command", "yes"];
const APPENDING: &[&str] = &["--enable-debug-command", "yes", "--appendonly", "yes"];
const DEADLINE: Duration = Duration::from_secs(20);
/// A moment that never comes while tests run, in Unix milliseconds.
const FAR_MS: &str = "4102444800123";

fn patient(server: &Server) -> Conn {
    let mut conn = server.connect();
    conn.set_read_deadline(DEADLINE);
    conn
}

fn try_convert(from: &Path, to: Option<&Path>, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redstart"));
    command.arg("convert").arg(from).args(to).args(flags);
    command.output().expect("the program can be started")
}

fn convert(from: &Path, to: &Path, flags: &[&str]) {
    let output = try_convert(from, Some(to), flags);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} to {}: {said}", from.display(), to.display());
    assert_eq!(said.lines().count(), 1, "no bar where there is no terminal: {said}");
}

/// Why it is refused; nothing may be left in the folder of `to` but what was there.
fn refusal(from: &Path, to: &Path, flags: &[&str]) -> String {
    let folder = to.parent().expect("a path with a folder");
    let before = names(folder);
    let output = try_convert(from, Some(to), flags);
    assert_eq!(output.status.code(), Some(1), "{} to {}", from.display(), to.display());
    assert_eq!(names(folder), before);
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    names
}

fn stats(path: &Path, flags: &[&str]) -> Value {
    let output = try_convert(path, None, &[&["--stats", "--json"], flags].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", path.display());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Redis, started on a file that becomes its snapshot, its log of old or its folder.
fn redis_on(path: &Path, name: &str) -> Server {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let place = folder.path().join(name);
    if path.is_dir() {
        fs::create_dir(&place).expect("a folder in a scratch folder");
        for file in names(path) {
            fs::copy(&file, place.join(file.file_name().expect("a name"))).expect("a copy");
        }
    } else {
        fs::copy(path, place).expect("a copy");
    }
    let args = if name == "dump.rdb" { DEBUG } else { APPENDING };
    Server::start_redis_on(folder.path(), args)
}

/// One file of base and increment, as before Redis 7.0.
fn in_one_piece(folder: &Path, to: &Path) {
    let read = |name| fs::read(folder.join(name)).expect("a piece");
    let pieces = [read("appendonly.aof.1.base.rdb"), read("appendonly.aof.1.incr.aof")];
    fs::write(to, pieces.concat()).expect("a scratch file");
}

#[test]
fn files_of_redis_pass_through_every_kind() {
    let redis = Server::start_redis(APPENDING);
    let mut theirs = patient(&redis);
    run(&mut theirs, "CONFIG SET appendfsync always");
    fill(&mut theirs);
    call(&mut theirs, &["MULTI"]);
    run(&mut theirs, "SPOP set:big 100");
    run(&mut theirs, "INCRBYFLOAT float 0.1");
    call(&mut theirs, &["EXEC"]);
    call(&mut theirs, &["SAVE"]);
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = |name: &str| folder.path().join(name);
    let pieces = redis.dir().join(APPEND_DIR);
    in_one_piece(&pieces, &path("one-piece"));
    let steps: [(PathBuf, &str, &[&str]); 9] = [
        (redis.dir().join("dump.rdb"), "a.rdb", &["--rdb-version", "80"]),
        (path("a.rdb"), "b.rdb", &["--rdb-version", "12", "--no-compress"]),
        (path("b.rdb"), "c.aof", &[]),
        (path("c.aof"), "d", &["--to", "aofdir"]),
        (path("d"), "e.rdb", &["--rdb-version", "11"]),
        (path("e.rdb"), "f.rdb", &[]),
        (pieces.clone(), "g.aof", &[]),
        (pieces.join("appendonly.aof.manifest"), "h", &["--to", "aofdir"]),
        (path("one-piece"), "i", &["--to", "rdb"]),
    ];
    for (from, to, flags) in steps {
        convert(&from, &path(to), flags);
    }
    let heads = ["a.rdb", "b.rdb", "e.rdb", "f.rdb"].map(|name| {
        let bytes = fs::read(path(name)).expect("it was written");
        String::from_utf8_lossy(&bytes[..9]).into_owned()
    });
    assert_eq!(heads, ["VALKEY080", "REDIS0012", "REDIS0011", "REDIS0010"]);
    for (file, name) in [
        ("c.aof", "appendonly.aof"),
        ("d", APPEND_DIR),
        ("f.rdb", "dump.rdb"),
        ("g.aof", "appendonly.aof"),
        ("h", APPEND_DIR),
        ("i", "dump.rdb"),
    ] {
        let reader = redis_on(&path(file), name);
        assert_same(&mut patient(&reader), &mut theirs);
    }
    let left: Vec<_> = names(folder.path());
    assert_eq!(left.len(), 10, "{left:?}");
}

#[test]
fn deadlines_of_fields_are_never_dropped() {
    let own = Server::start(DEBUG);
    let mut ours = patient(&own);
    run(&mut ours, "HSET small a 1 b 2");
    let many: Vec<String> = (0..5000).map(|n| format!("f{n}")).collect();
    let mut request = vec!["HSET".to_owned(), "big".to_owned()];
    request.extend(many.iter().flat_map(|field| [field.clone(), "value".to_owned()]));
    call(&mut ours, &request);
    for key in ["small", "big"] {
        let field = if key == "small" { "a" } else { "f7" };
        call(&mut ours, &["HPEXPIREAT", key, FAR_MS, "FIELDS", "1", field]);
    }
    call(&mut ours, &["SAVE"]);
    let dump = own.dir().join("dump.rdb");
    let folder = tempfile::tempdir().expect("a scratch folder");
    for flags in [&["--rdb-version", "10"][..], &["--field-deadline-version", "refuse"]] {
        let reason = refusal(&dump, &folder.path().join("refused.rdb"), flags);
        for word in ["refused.rdb: ", "version 10 cannot", "--field-deadline-version 80"] {
            assert!(reason.contains(word), "{word} in {reason}");
        }
    }
    assert_eq!(stats(&dump, &[])["hashes_with_deadlines"], 2);
    let cases: [(&[&str], &[u8]); 5] = [
        (&[], b"REDIS0012"),
        (&["--rdb-version", "12"], b"REDIS0012"),
        (&["--rdb-version", "80"], b"VALKEY080"),
        (&["--field-deadline-version", "80"], b"VALKEY080"),
        (&["--rdb-version", "11", "--field-deadline-version", "12"], b"REDIS0012"),
    ];
    let out = folder.path().join("dump.rdb");
    for (flags, head) in cases {
        convert(&dump, &out, &[flags, &["--force"]].concat());
        assert_eq!(&fs::read(&out).expect("it was written")[..9], head, "{flags:?}");
        let again = Server::start_on(folder.path(), DEBUG);
        assert_eq!(digest(&mut patient(&again)), digest(&mut ours), "{flags:?}");
    }
    let (log, back) = (folder.path().join("log.aof"), folder.path().join("back.rdb"));
    convert(&dump, &log, &[]);
    convert(&log, &back, &[]);
    fs::rename(&back, &out).expect("a scratch file");
    let again = Server::start_on(folder.path(), DEBUG);
    assert_eq!(digest(&mut patient(&again)), digest(&mut ours), "by commands");
    let deadlines = "HPEXPIRETIME big FIELDS 2 f7 f8";
    assert_eq!(run(&mut patient(&again), deadlines), run(&mut ours, deadlines));
}

/// What has expired stays, with its deadline, unless it is to go.
#[test]
fn what_has_expired_is_kept_or_dropped() {
    let own = Server::start(DEBUG);
    let mut ours = patient(&own);
    run(&mut ours, "DEBUG SET-ACTIVE-EXPIRE 0");
    run(&mut ours, "SET stays v");
    run(&mut ours, "SET later v EX 100000");
    run(&mut ours, "HSET half a 1 b 2");
    run(&mut ours, "HSET all a 1");
    run(&mut ours, "SET gone v PX 1");
    run(&mut ours, "HPEXPIRE half 1 FIELDS 1 a");
    run(&mut ours, "HPEXPIRE all 1 FIELDS 1 a");
    assert!(wait_for(DEADLINE, || run(&mut ours, "GET gone") == Reply::NilBulk));
    run(&mut ours, "SET gone v PX 1");
    call(&mut ours, &["SAVE"]);
    let dump = own.dir().join("dump.rdb");
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = |name: &str| folder.path().join(name);
    let found = |path: &Path, flags: &[&str]| {
        let stats = stats(path, flags);
        (stats["keys"].as_u64(), stats["ttl"]["expired"].as_u64())
    };
    assert!(wait_for(DEADLINE, || found(&dump, &[]) == (Some(5), Some(1))));
    for (kept, dropped) in [("kept.rdb", "dropped.rdb"), ("kept.aof", "dropped.aof")] {
        convert(&dump, &path(kept), &[]);
        assert_eq!(found(&path(kept), &[]).1, Some(1), "{kept}");
        convert(&path(kept), &path(dropped), &["--drop-expired"]);
        assert_eq!(found(&path(dropped), &[]), (Some(3), Some(0)), "{dropped}");
    }
    assert_eq!(found(&dump, &["--drop-expired"]), (Some(3), Some(0)));
}

#[test]
fn usage_is_carried_over_where_asked() {
    let policy = ["--maxmemory-policy", "allkeys-lfu", "--lfu-decay-time", "0"];
    let own = Server::start(&[DEBUG, &policy].concat());
    let mut ours = patient(&own);
    run(&mut ours, "SET model x");
    let Reply::Bulk(payload) = call(&mut ours, &["DUMP", "model"]) else { panic!("a payload") };
    call(&mut ours, &[&b"RESTORE"[..], b"k", b"0", &payload, b"FREQ", b"77"]);
    call(&mut ours, &["SAVE"]);
    for (flags, expected) in [(&["--usage", "lfu"][..], 77), (&[], 5)] {
        let folder = tempfile::tempdir().expect("a scratch folder");
        convert(&own.dir().join("dump.rdb"), &folder.path().join("dump.rdb"), flags);
        let again = Server::start_on(folder.path(), &policy);
        assert_eq!(run(&mut patient(&again), "OBJECT FREQ k"), Reply::Integer(expected));
    }
}

#[test]
fn statistics_say_what_is_there() {
    let own = Server::start(DEBUG);
    let mut ours = patient(&own);
    for n in 0..99 {
        call(&mut ours, &["SET", &format!("key:{n:02}"), "0123456789"]);
    }
    call(&mut ours, &["SET", "key\"big", &"x".repeat(1_000)]);
    run(&mut ours, "SET number 12345");
    run(&mut ours, "RPUSH list a b c");
    run(&mut ours, "EXPIRE key:00 1000");
    run(&mut ours, "EXPIRE key:01 100000");
    call(&mut ours, &["SELECT", "9"]);
    run(&mut ours, "SADD set 1 2 3");
    call(&mut ours, &["PEXPIREAT", "set", FAR_MS]);
    let library = "#!lua name=lib\nredis.register_function('f', function() end)";
    call(&mut ours, &["FUNCTION", "LOAD", library]);
    call(&mut ours, &["SAVE"]);
    let dump = own.dir().join("dump.rdb");
    let all = stats(&dump, &["--top", "2"]);
    assert_eq!((&all["keys"], &all["source"]["rdb_version"]), (&103.into(), &10.into()));
    let file_len = fs::metadata(&dump).expect("it was saved").len();
    assert_eq!(all["source"]["bytes"], file_len);
    // Kind, length and six letters, length and ten digits; for two a deadline of nine bytes.
    let strings =
        all["types"].as_array().expect("types").iter().find(|one| one["type"] == "string");
    let strings = strings.expect("there are strings");
    let expected = 99 * 19 + 2 * 9 + (1 + 1 + 7 + 2 + 1_000) + (1 + 1 + 6 + 3);
    let fields = ["keys", "bytes", "p50", "p99", "max"].map(|name| strings[name].as_u64());
    assert_eq!(fields, [101, expected, 19, 28, 1_011].map(Some));
    let encodings: Vec<_> = strings["encodings"].as_array().expect("encodings").iter().collect();
    let counts: Vec<_> = encodings.iter().map(|one| (&one["encoding"], &one["keys"])).collect();
    let embedded = (&"embstr".into(), &99.into());
    assert!(counts.contains(&embedded), "{counts:?}");
    assert_eq!(counts.len(), 3, "{counts:?}");
    let span = |at: usize| all["ttl"]["left"][at]["keys"].as_u64();
    let spans = [all["ttl"]["none"].as_u64(), span(1), span(3), span(6)];
    assert_eq!(spans, [Some(100), Some(1), Some(1), Some(1)]);
    let databases = all["databases"].as_array().expect("databases");
    let seen: Vec<_> =
        databases.iter().map(|one| (one["db"].as_u64(), one["keys"].as_u64())).collect();
    assert_eq!(seen, [(Some(0), Some(102)), (Some(9), Some(1))]);
    let biggest = all["biggest"].as_array().expect("the biggest");
    assert_eq!((biggest.len(), &biggest[0]["key"]), (2, &r#""key\"big""#.into()));
    assert_eq!(biggest[0]["bytes"], 1_011);
    let library = &all["libraries"][0];
    assert!(library["name"] == "lib" && library["functions"] == 1, "{library}");

    let output = try_convert(&dump, None, &["--stats"]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && output.stderr.is_empty());
    for words in [
        &["103", "keys,"][..],
        &["string", "101", "2.85K", "19B", "28B", "1011B"],
        &["embstr", "99", "1.85K"],
        &["no", "deadline", "100"],
        &["up", "to", "7", "days", "1"],
        &["string", "raw", "0", "1011B", r#""key\"big""#],
        &["lib", "1", "59B"],
    ] {
        let is_there =
            |line: &str| line.split_whitespace().zip(words).filter(|(a, b)| a == *b).count();
        assert!(table.lines().any(|line| is_there(line) == words.len()), "{words:?} in\n{table}");
    }
}

#[test]
fn nothing_is_written_over() {
    let own = Server::start(APPENDING);
    let mut ours = patient(&own);
    run(&mut ours, "SET k v");
    call(&mut ours, &["SAVE"]);
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = |name: &str| folder.path().join(name);
    let dump = path("in.rdb");
    fs::copy(own.dir().join("dump.rdb"), &dump).expect("a copy");
    let before = fs::read(&dump).expect("a copy");
    fs::write(path("there.rdb"), "precious").expect("a scratch file");
    fs::hard_link(&dump, path("link.rdb")).expect("a link");
    std::os::unix::fs::symlink(&dump, path("symlink.rdb")).expect("a link");
    let reason = refusal(&dump, &path("there.rdb"), &[]);
    assert!(reason.contains("there.rdb: is there already; --force replaces it"), "{reason}");
    assert_eq!(fs::read(path("there.rdb")).expect("as it was"), b"precious");
    for name in ["in.rdb", "link.rdb", "symlink.rdb"] {
        for flags in [&[][..], &["--force"]] {
            let reason = refusal(&dump, &path(name), flags);
            assert!(reason.contains("never written over"), "{name}: {reason}");
        }
    }
    assert_eq!(fs::read(&dump).expect("as it was"), before);
    convert(&dump, &path("there.rdb"), &["--force"]);
    assert!(fs::read(path("there.rdb")).expect("it was written").starts_with(b"REDIS0010"));

    let pieces = own.dir().join(APPEND_DIR);
    let base = pieces.join("appendonly.aof.1.base.rdb");
    let reason = refusal(&pieces, &base, &["--force"]);
    assert!(reason.contains("never written over"), "{reason}");
    let folder_there = refusal(&dump, &pieces, &["--to", "aofdir", "--force"]);
    assert!(folder_there.contains("the folder is not empty"), "{folder_there}");
    assert!(refusal(&dump, &pieces, &["--to", "rdb", "--force"]).contains(": is a folder"));
    fs::create_dir(path("empty")).expect("a folder in a scratch folder");
    convert(&dump, &path("empty"), &["--to", "aofdir"]);
    let reason = refusal(&dump, &path("nameless"), &[]);
    assert!(reason.contains("nameless: say by --to"), "{reason}");
    let output = try_convert(&dump, Some(&path("missing").join("out.rdb")), &[]);
    let reason = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && reason.contains("No such file"), "{reason}");
}

#[test]
fn what_is_broken_is_refused_with_its_place() {
    let own = Server::start(APPENDING);
    let mut ours = patient(&own);
    run(&mut ours, "CONFIG SET appendfsync always");
    for n in 0..200 {
        call(&mut ours, &["HSET", &format!("key:{n}"), "field", "a value of some length"]);
    }
    call(&mut ours, &["SAVE"]);
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (input, out) = (folder.path().join("broken"), folder.path().join("out.rdb"));
    let check = |bytes: &[u8], place: &str| {
        fs::write(&input, bytes).expect("a scratch file");
        for flags in [&[][..], &["--to", "aof"], &["--to", "aofdir"]] {
            let reason = refusal(&input, &out, flags);
            assert!(reason.starts_with(&format!("{}: ", input.display())), "{reason}");
            assert!(reason.contains(place) && !out.exists(), "{place} in {reason}");
        }
        assert_eq!(fs::read(&input).expect("as it was"), bytes, "the input is left as it is");
    };
    let dump = fs::read(own.dir().join("dump.rdb")).expect("it was saved");
    for len in [5, 9, 100, dump.len() / 2, dump.len() - 9, dump.len() - 3] {
        check(&dump[..len], if len < 9 { "RDB" } else { "at offset " });
    }
    let mut flipped = dump.clone();
    let at = dump.windows(5).position(|bytes| bytes == b"field").expect("a field");
    flipped[at] ^= 1;
    check(&flipped, "RDB CRC error");
    check(&[&dump[..], b"trailing"].concat(), &format!("at offset {}", dump.len()));
    let log = fs::read(own.dir().join(APPEND_DIR).join("appendonly.aof.1.incr.aof"));
    let log = log.expect("it was written");
    check(&log[..log.len() - 1], "whole up to offset ");
    check(&log[..log.len() / 2], "whole up to offset ");
    let unknown = b"*1\r\n$4\r\nPING\r\n*1\r\n$7\r\nNOTHING\r\n";
    check(unknown, "Unknown command 'NOTHING' (at offset 14)");
    let select = b"*2\r\n$6\r\nSELECT\r\n$4\r\n1024\r\n";
    check(select, "there is no database 1024 of 1024; --databases allows for more (at offset 0)");
    check(b"", "the file is empty");
    check(b"hello, world", "neither an RDB file nor an append-only file (at offset 0)");
    fs::remove_file(&input).expect("a scratch file");
    assert!(refusal(&input, &out, &[]).contains("No such file or directory"));
    assert!(refusal(folder.path(), &out, &[]).contains("there is no manifest in this folder"));
}

#[test]
fn it_says_how_it_is_used() {
    let said = |args: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_redstart")).arg("convert").args(args).output();
        let output = output.expect("the program can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, _) = said(&["--help"]);
    assert!(code == Some(0) && out.contains("All data has to fit into\nmemory"), "{out}");
    for args in [&[][..], &["in.rdb"], &["a", "b", "--rdb-version", "9"], &["a", "--json"]] {
        let (code, out, err) = said(args);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}");
        assert!(err.starts_with("error: ") && err.contains("--help"), "{args:?}: {err}");
    }
}
