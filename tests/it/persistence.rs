//! Files pass between this server and a real redis-server, in both directions, with nothing lost.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::dataset::{assert_same, call, digest, fill, run, text};
use crate::harness::{APPEND_DIR, Conn, Reply, Server, wait_for};

const DEBUG: &[&str] = &["--enable-debug-command", "yes"];
const APPENDING: &[&str] = &["--enable-debug-command", "yes", "--appendonly", "yes"];
const DEADLINE: Duration = Duration::from_secs(20);

/// Has a program of Redis look at a file of ours.
fn assert_accepted(program: &str, path: &Path) {
    let output = Command::new(program).arg(path).output().expect("redis-tools are installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{program} {}:\n{said}", path.display());
}

fn patient(server: &Server) -> Conn {
    let mut conn = server.connect();
    conn.set_read_deadline(DEADLINE);
    conn
}

fn wait_saved(conn: &mut Conn) {
    assert!(wait_for(DEADLINE, || conn.info("rdb_bgsave_in_progress") == 0));
    assert!(text(call(conn, &["INFO", "persistence"])).contains("rdb_last_bgsave_status:ok"));
}

fn rewrite(conn: &mut Conn) {
    call(conn, &["BGREWRITEAOF"]);
    let over = || conn.info("aof_rewrite_in_progress") + conn.info("aof_rewrite_scheduled") == 0;
    assert!(wait_for(DEADLINE, over));
    assert!(text(call(conn, &["INFO", "persistence"])).contains("aof_last_bgrewrite_status:ok"));
}

#[test]
fn a_snapshot_of_redis_is_loaded() {
    for options in [&[][..], &["--rdbcompression", "no"], &["--rdbchecksum", "no"]] {
        let redis = Server::start_redis(&[DEBUG, options].concat());
        let mut theirs = patient(&redis);
        fill(&mut theirs);
        call(&mut theirs, &["SAVE"]);
        let own = Server::start_on(redis.dir(), &[DEBUG, options].concat());
        let mut ours = patient(&own);
        assert_same(&mut ours, &mut theirs);
        assert_eq!(run(&mut ours, "FCALL twice 0 21"), Reply::Integer(42));
        // The same again by the file that this server writes.
        call(&mut ours, &["DEBUG", "RELOAD"]);
        assert_same(&mut ours, &mut theirs);
    }
}

#[test]
fn redis_loads_our_snapshot() {
    for options in [&[][..], &["--rdbcompression", "no"], &["--rdbchecksum", "no"]] {
        let own = Server::start(&[DEBUG, options].concat());
        let mut ours = patient(&own);
        fill(&mut ours);
        call(&mut ours, &["SAVE"]);
        assert_accepted("redis-check-rdb", &own.dir().join("dump.rdb"));
        let redis = Server::start_redis_on(own.dir(), &[DEBUG, options].concat());
        assert_same(&mut patient(&redis), &mut ours);
        let again = Server::start_on(own.dir(), &[DEBUG, options].concat());
        assert_same(&mut patient(&again), &mut ours);
    }
}

/// Idle times and counters pass with a snapshot when the policy uses them.
#[test]
fn usage_passes_with_snapshots() {
    for (policy, option, asked) in
        [("allkeys-lru", "IDLETIME", "OBJECT IDLETIME"), ("allkeys-lfu", "FREQ", "OBJECT FREQ")]
    {
        let args = [DEBUG, &["--maxmemory-policy", policy, "--lfu-decay-time", "0"]].concat();
        let own = Server::start(&args);
        let redis = Server::start_redis(&args);
        for (writer, reads_own) in [(&own, false), (&redis, true)] {
            let mut conn = patient(writer);
            run(&mut conn, "SET model x");
            run(&mut conn, "RPUSH listmodel a b");
            for (key, model, usage) in [("a", "model", "200"), ("b", "listmodel", "33")] {
                let Reply::Bulk(payload) = call(&mut conn, &["DUMP", model]) else {
                    panic!("DUMP is a bulk string")
                };
                let (key, usage) = (key.as_bytes(), usage.as_bytes());
                call(&mut conn, &[b"RESTORE", key, b"0", &payload, option.as_bytes(), usage]);
            }
            call(&mut conn, &["SAVE"]);
            let start = if reads_own { Server::start_on } else { Server::start_redis_on };
            let reader = start(writer.dir(), &args);
            let mut conn = patient(&reader);
            for (key, usage) in [("a", 200), ("b", 33)] {
                let Reply::Integer(found) = run(&mut conn, &format!("{asked} {key}")) else {
                    panic!("{asked} is a number")
                };
                assert!((usage..usage + 10).contains(&found), "{asked} {key}: {found}");
            }
        }
    }
}

/// Pairs are written together; a snapshot beside it must not come between.
#[test]
fn redis_loads_a_background_snapshot() {
    let own = Server::start(DEBUG);
    let mut ours = patient(&own);
    fill(&mut ours);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..2 {
            let (mut conn, over) = (patient(&own), &over);
            scope.spawn(move || {
                for round in 0_u32.. {
                    let (pair, value) = (round % 50, round.to_string());
                    let key = |side| format!("pair:{writer}:{pair}:{side}");
                    call(&mut conn, &["MSET", &key("a"), &value, &key("b"), &value]);
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        assert!(wait_for(DEADLINE, || ours.info("total_commands_processed") > 2000));
        call(&mut ours, &["BGSAVE"]);
        wait_saved(&mut ours);
        over.store(true, Ordering::Relaxed);
    });
    assert_accepted("redis-check-rdb", &own.dir().join("dump.rdb"));
    let redis = Server::start_redis_on(own.dir(), DEBUG);
    let again = Server::start_on(own.dir(), DEBUG);
    let (mut theirs, mut ours) = (patient(&redis), patient(&again));
    assert_same(&mut theirs, &mut ours);
    for writer in 0..2 {
        for pair in 0..50 {
            let read = format!("MGET pair:{writer}:{pair}:a pair:{writer}:{pair}:b");
            let Reply::Array(values) = run(&mut theirs, &read) else { panic!("MGET is an array") };
            assert!(values[0] == values[1] && values[0] != Reply::NilBulk, "{read}: {values:?}");
        }
    }
}

/// Commands whose effect is not what they say: what is logged is the effect.
fn change(conn: &mut Conn, other: &mut Conn) {
    call(conn, &["MULTI"]);
    run(conn, "SET tx:a 1");
    run(conn, "SELECT 2");
    run(conn, "SET tx:b 2");
    run(conn, "SELECT 0");
    call(conn, &["EXEC"]);
    run(conn, "SPOP set:big 100");
    run(conn, "SPOP set:small");
    run(conn, "SET relative v EX 100000");
    run(conn, "GETEX relative PX 90000000");
    run(conn, "SETEX other 100000 v");
    run(conn, "EXPIRE short 100000");
    run(conn, "SET gone v PX 1");
    run(conn, "INCRBYFLOAT float 0.1");
    run(conn, "INCRBYFLOAT float 0.2");
    run(conn, "HINCRBYFLOAT hash:small float 0.7");
    run(conn, "XADD stream:auto * a b");
    run(conn, "XADD stream:auto MAXLEN ~ 10 * a b");
    run(conn, "XGROUP CREATE stream:auto g 0");
    run(conn, "XREADGROUP GROUP g c COUNT 1 STREAMS stream:auto >");
    run(conn, "XAUTOCLAIM stream:auto g d 0 0");
    // Redis forgets how much a group has read when it loads the command above.
    run(conn, "XGROUP SETID stream:auto g $ ENTRIESREAD 1");
    run(conn, "GEORADIUS geo 15 37 200 km STORE geo:near");
    run(conn, "SORT list:small ALPHA STORE list:sorted");
    run(conn, "PFMERGE hll:dense hll:sparse");
    run(conn, "COPY hash:big hash:copy");
    run(conn, "MOVE list:fives 3");
    run(conn, "SWAPDB 1 4");
    run(conn, "RENAME set:16 set:renamed");
    let script = "redis.call('incr', KEYS[1]) redis.call('select', 5) \
                  redis.call('set', KEYS[1], redis.call('time')[1]) \
                  return redis.call('spop', 'set:numbers')";
    call(conn, &["EVAL", script, "1", "scripted"]);
    let library = "#!lua name=more\nredis.register_function('put', function(keys, args) \
                   return redis.call('set', keys[1], args[1]) end)";
    call(conn, &["FUNCTION", "LOAD", library]);
    run(conn, "FCALL put 1 put:key value");
    // A pop that waits is done by the push of another client.
    for (wait, give) in [
        ("BLPOP waiting 5", "RPUSH waiting a b c"),
        ("BLMOVE waiting:2 moved LEFT RIGHT 5", "RPUSH waiting:2 d e"),
        ("BZPOPMIN waiting:z 5", "ZADD waiting:z 1 a 2 b"),
        ("BLMPOP 5 2 nothing waiting:3 LEFT COUNT 2", "RPUSH waiting:3 f g h"),
    ] {
        let blocked = other.info("blocked_clients");
        conn.send(&wait.split(' ').collect::<Vec<_>>()).expect("sent");
        assert!(wait_for(DEADLINE, || other.info("blocked_clients") == blocked + 1));
        run(other, give);
        conn.read().expect("the pop is answered");
    }
    call(conn, &["SELECT", "15"]);
    run(conn, "FLUSHDB");
    run(conn, "SET after flush");
    call(conn, &["SELECT", "0"]);
    assert!(wait_for(DEADLINE, || run(conn, "EXISTS gone") == Reply::Integer(0)));
}

#[test]
fn redis_loads_our_append_only_file() {
    for options in [&[][..], &["--aof-timestamp-enabled", "yes"]] {
        let own = Server::start(&[APPENDING, options].concat());
        let (mut ours, mut other) = (patient(&own), patient(&own));
        fill(&mut ours);
        change(&mut ours, &mut other);
        let check = || {
            let manifest = own.dir().join(APPEND_DIR).join("appendonly.aof.manifest");
            assert_accepted("redis-check-aof", &manifest);
            let redis = Server::start_redis_on(own.dir(), &[APPENDING, options].concat());
            assert_same(&mut patient(&redis), &mut patient(&own));
            let again = Server::start_on(own.dir(), &[APPENDING, options].concat());
            assert_same(&mut patient(&again), &mut patient(&own));
        };
        // Replies come when the file has what they acknowledge.
        run(&mut ours, "CONFIG SET appendfsync always");
        check();
        rewrite(&mut ours);
        check();
        run(&mut ours, "DEL list:compressed");
        run(&mut ours, "APPEND short ...");
        check();
    }
}

#[test]
fn an_append_only_file_of_redis_is_loaded() {
    for options in [&[][..], &["--aof-timestamp-enabled", "yes"], &["--aof-use-rdb-preamble", "no"]]
    {
        let redis = Server::start_redis(&[APPENDING, options].concat());
        let (mut theirs, mut other) = (patient(&redis), patient(&redis));
        fill(&mut theirs);
        change(&mut theirs, &mut other);
        run(&mut theirs, "CONFIG SET appendfsync always");
        let load = |theirs: &mut Conn| {
            run(theirs, "SET last write");
            let own = Server::start_on(redis.dir(), &[APPENDING, options].concat());
            assert_same(&mut patient(&own), theirs);
        };
        load(&mut theirs);
        rewrite(&mut theirs);
        load(&mut theirs);
    }
}

/// Redis 7.0 has neither entries that were given back nor messages that are known by their ids.
#[test]
fn what_newer_streams_have_survives_a_restart() {
    for preamble in ["yes", "no"] {
        let options = [APPENDING, &["--aof-use-rdb-preamble", preamble]].concat();
        let mut own = Server::start(&options);
        let mut conn = patient(&own);
        run(&mut conn, "XADD s 1-1 a b");
        run(&mut conn, "XADD s 2-1 a b");
        run(&mut conn, "XGROUP CREATE s g 0");
        run(&mut conn, "XREADGROUP GROUP g alice STREAMS s >");
        run(&mut conn, "XNACK s g FAIL IDS 1 1-1 RETRYCOUNT 7");
        run(&mut conn, "XADD s IDMP producer 2 * a b");
        let known = run(&mut conn, "XREVRANGE s + - COUNT 1");
        for rewritten in [false, true] {
            if rewritten {
                rewrite(&mut conn);
            }
            own = own.start_again(&options);
            conn = patient(&own);
            let released = Reply::Array(vec![
                Reply::Bulk(b"1-1".to_vec()),
                Reply::Bulk(Vec::new()),
                Reply::Integer(-1),
                Reply::Integer(7),
            ]);
            let found = run(&mut conn, "XPENDING s g 1-1 1-1 10");
            assert_eq!(found, Reply::Array(vec![released]), "{preamble}, {rewritten}");
            run(&mut conn, "XADD s IDMP producer 2 * other fields");
            assert_eq!(run(&mut conn, "XREVRANGE s + - COUNT 1"), known);
        }
    }
}

/// They stand in facts, over which others pass.
#[test]
fn snapshots_keep_what_producers_may_send_again() {
    for compression in ["yes", "no"] {
        let options = [DEBUG, &["--rdbcompression", compression]].concat();
        let own = Server::start(&options);
        let mut ours = patient(&own);
        run(&mut ours, "SET before v EX 1000");
        run(&mut ours, "XADD short IDMP producer 1 * a b");
        run(&mut ours, "EXPIRE short 1000");
        run(&mut ours, "XADD configured 1-1 a b");
        run(&mut ours, "XCFGSET configured IDMP-DURATION 7 IDMP-MAXSIZE 9");
        let many = "for i = 1, 20000 do redis.call('XADD', KEYS[1], '*', 'field', i) end \
                    for i = 1, 60 do redis.call('XADD', KEYS[1], 'IDMP', 'p' .. i % 3, \
                    ('message'):rep(100) .. i, '*', 'field', i) end";
        call(&mut ours, &["EVAL", many, "1", "long"]);
        run(&mut ours, "SET behind v");
        call(&mut ours, &["SAVE"]);
        assert_accepted("redis-check-rdb", &own.dir().join("dump.rdb"));
        let redis = Server::start_redis_on(own.dir(), &options);
        // It shows no more than it knows.
        assert_eq!(digest(&mut patient(&redis)), digest(&mut ours));
        drop(redis);
        let again = Server::start_on(own.dir(), &options);
        let mut again = patient(&again);
        assert_same(&mut again, &mut ours);
        for key in ["short", "configured", "long"] {
            let info = |conn: &mut Conn| run(conn, &format!("XINFO STREAM {key}"));
            assert_eq!(info(&mut again), info(&mut ours), "{key}");
        }
        let len = run(&mut again, "XLEN long");
        run(&mut again, "XADD short IDMP producer 1 * a b");
        for i in 1..=60 {
            let message = "message".repeat(100) + &i.to_string();
            let producer = format!("p{}", i % 3);
            call(&mut again, &["XADD", "long", "IDMP", &producer, &message, "*", "field", "x"]);
        }
        assert_eq!(run(&mut again, "XLEN short"), Reply::Integer(1));
        assert_eq!(run(&mut again, "XLEN long"), len);
    }
}

/// Redis 7.0 cannot express deadlines of fields; what is written is what a directive says.
#[test]
fn deadlines_of_fields_pass_by_newer_versions() {
    let own = Server::start(&[DEBUG, &["--save", "3600 1"]].concat());
    let mut ours = patient(&own);
    let version = || fs::read(own.dir().join("dump.rdb")).expect("it is saved")[..9].to_vec();
    fill(&mut ours);
    call(&mut ours, &["SAVE"]);
    assert_eq!(version(), b"REDIS0010");
    run(&mut ours, "HSET deadlines a 1 b 2 c 3");
    run(&mut ours, "HPEXPIREAT deadlines 4102444800123 FIELDS 2 a c");
    run(&mut ours, "HPEXPIREAT hash:big 4102444800123 FIELDS 2 f1 f7");
    let deadlines = "HPEXPIRETIME deadlines FIELDS 3 a b c";
    let expected = run(&mut ours, deadlines);
    for (directive, head) in [("12", b"REDIS0012"), ("80", b"VALKEY080")] {
        run(&mut ours, &format!("CONFIG SET rdb-field-deadline-version {directive}"));
        call(&mut ours, &["SAVE"]);
        assert_eq!(version(), head);
        let again = Server::start_on(own.dir(), DEBUG);
        let mut again = patient(&again);
        assert_eq!(digest(&mut again), digest(&mut ours), "version {directive}");
        assert_eq!(run(&mut again, deadlines), expected, "version {directive}");
    }
    run(&mut ours, "CONFIG SET rdb-field-deadline-version refuse");
    let refused = text(ours.call(&["SAVE"]));
    assert!(refused.starts_with("ERR ") && refused.contains("field"), "{refused}");
    assert_eq!(version(), b"VALKEY080", "the file is as it was");
    call(&mut ours, &["BGSAVE"]);
    let failed = |conn: &mut Conn| text(call(conn, &["INFO"])).contains("bgsave_status:err");
    assert!(wait_for(DEADLINE, || failed(&mut ours)));
    let refused = text(ours.call(&["SET", "k", "v"]));
    assert!(refused.starts_with("MISCONF Redis is configured to save RDB"), "{refused}");
    run(&mut ours, "CONFIG SET rdb-field-deadline-version 12");
    call(&mut ours, &["SAVE"]);
    run(&mut ours, "SET k v");
}
