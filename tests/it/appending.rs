//! The append-only file, as operators see it: switching, growth, failures, files of older servers.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::dataset::{assert_same, call, digest, fill, run, text};
use crate::harness::{APPEND_DIR, Conn, Reply, Server, encode, wait_for};

const DEADLINE: Duration = Duration::from_secs(20);
const APPENDING: &[&str] = &["--enable-debug-command", "yes", "--appendonly", "yes"];

fn wait_says(conn: &mut Conn, line: &str) {
    let seen = wait_for(DEADLINE, || {
        text(call(conn, &["INFO", "persistence"])).lines().any(|found| found == line)
    });
    assert!(seen, "no {line} in {}", text(call(conn, &["INFO", "persistence"])));
}

fn manifest(dir: &Path) -> String {
    let path = dir.join(APPEND_DIR).join("appendonly.aof.manifest");
    fs::read_to_string(path).expect("there is a manifest")
}

/// Commands as Redis before 7.0 kept them, in one file.
const OLD: &str = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n\
                   *1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n*1\r\n$4\r\nEXEC\r\n";

#[test]
fn the_file_of_an_older_server_is_taken_over() {
    let from = tempfile::tempdir().expect("a scratch folder");
    fs::write(from.path().join("appendonly.aof"), OLD).expect("written");
    let own = Server::start_on(from.path(), APPENDING);
    let redis = Server::start_redis_on(from.path(), APPENDING);
    assert_same(&mut own.connect(), &mut redis.connect());
    assert_eq!(manifest(own.dir()), manifest(redis.dir()));
    assert!(!own.dir().join("appendonly.aof").exists(), "it has moved");
    let mut conn = own.connect();
    assert_eq!(text(run(&mut conn, "GET n")), "1");
    run(&mut conn, "INCR n");
    let own = own.start_again(APPENDING);
    assert_eq!(text(run(&mut own.connect(), "GET n")), "2");
}

#[test]
fn a_file_that_has_grown_is_rewritten() {
    let growth = ["--auto-aof-rewrite-percentage", "100", "--auto-aof-rewrite-min-size", "20kb"];
    let server = Server::start(&[APPENDING, &growth].concat());
    let mut conn = server.connect();
    for _ in 0..300 {
        call(&mut conn, &["SET", "k", &"v".repeat(100)]);
    }
    assert!(wait_for(DEADLINE, || conn.info("aof_rewrites") > 0), "{}", server.log());
    wait_says(&mut conn, "aof_rewrite_in_progress:0");
    assert!(conn.info("aof_current_size") < 20_000);
    assert!(server.log().contains("Starting automatic rewriting of AOF on"), "{}", server.log());
    let files = fs::read_dir(server.dir().join(APPEND_DIR)).expect("a folder").count();
    assert_eq!(files, 3, "base, increment and manifest:\n{}", manifest(server.dir()));
}

/// The old pieces stay in use when a new base cannot be written.
#[test]
fn a_failed_rewrite_loses_nothing() {
    let server = Server::start(APPENDING);
    let mut conn = server.connect();
    run(&mut conn, "SET before rewrite");
    let path = format!("temp-rewriteaof-bg-{}.aof", server.pid());
    let blocked = server.dir().join(APPEND_DIR).join(path);
    fs::create_dir(&blocked).expect("a folder in a scratch folder");
    for _ in 0..2 {
        run(&mut conn, "BGREWRITEAOF");
        wait_says(&mut conn, "aof_last_bgrewrite_status:err");
        wait_says(&mut conn, "aof_rewrite_in_progress:0");
        run(&mut conn, "INCR after");
    }
    run(&mut conn, "CONFIG SET appendfsync always");
    run(&mut conn, "SET last write");
    let expected = digest(&mut conn);
    let again = Server::start_on(server.dir(), APPENDING);
    assert_eq!(digest(&mut again.connect()), expected);
    fs::remove_dir(&blocked).expect("it is empty");
    run(&mut conn, "BGREWRITEAOF");
    wait_says(&mut conn, "aof_last_bgrewrite_status:ok");
    let again = Server::start_on(server.dir(), APPENDING);
    assert_eq!(digest(&mut again.connect()), expected);
}

#[test]
fn everything_is_there_after_an_orderly_end() {
    let mut server = Server::start(APPENDING);
    let mut conn = server.connect();
    conn.set_read_deadline(DEADLINE);
    fill(&mut conn);
    let expected = digest(&mut conn);
    call(&mut conn, &["DEBUG", "LOADAOF"]);
    assert_eq!(digest(&mut conn), expected);
    assert_eq!(server.stop_gracefully(), Some(0));
    let server = server.start_again(APPENDING);
    assert_eq!(digest(&mut server.connect()), expected);
}

#[test]
fn what_approximate_trimming_removed_stays_away() {
    let server = Server::start(APPENDING);
    let mut conn = server.connect();
    for key in ["delref", "acked", "added"] {
        run(&mut conn, &format!("XGROUP CREATE {key} g 0 MKSTREAM"));
        for id in 0..6 {
            run(&mut conn, &format!("XADD {key} 1-{id} f v"));
        }
        run(&mut conn, &format!("XREADGROUP GROUP g c COUNT 3 STREAMS {key} >"));
        run(&mut conn, &format!("XACK {key} g 1-0 1-2"));
    }
    assert_eq!(run(&mut conn, "XTRIM delref MINID ~ 1-4 DELREF"), Reply::Integer(4));
    assert_eq!(run(&mut conn, "XTRIM acked MINID ~ 1-4 ACKED"), Reply::Integer(2));
    run(&mut conn, "XADD added MINID ~ 1-4 DELREF 2-0 f v");
    let expected = digest(&mut conn);
    assert_eq!(run(&mut conn, "XLEN acked"), Reply::Integer(4));
    call(&mut conn, &["DEBUG", "LOADAOF"]);
    assert_eq!(digest(&mut conn), expected);
}

#[test]
fn a_script_that_is_torn_leaves_no_trace() {
    for threads in ["1", "2"] {
        let args = [APPENDING, &["--busy-reply-threshold", "50", "--threads", threads]].concat();
        let mut server = Server::start(&args);
        let mut conn = server.connect();
        run(&mut conn, "MSET a 100 b 0");
        let mut attacker = server.connect();
        let body = "redis.call('DECRBY', 'a', 50) while true do end redis.call('INCRBY', 'b', 50)";
        attacker.send(&["MULTI"]).and_then(|()| attacker.send(&["SET", "a", "90"])).expect("sent");
        attacker
            .send(&["EVAL", body, "0"])
            .and_then(|()| attacker.send(&["SET", "b", "9"]))
            .expect("sent");
        attacker.send(&["EXEC"]).expect("sent");
        let busy = |reply| matches!(reply, Reply::Error(text) if text.starts_with(b"BUSY"));
        assert!(wait_for(DEADLINE, || busy(conn.call(&["GET", "c"]))));
        let mut other = server.connect();
        assert!(busy(other.call(&["SHUTDOWN", "SAVE"])) && busy(other.call(&["SHUTDOWN"])));
        // Nor is what comes behind it answered in its place.
        let last = [encode(&["SHUTDOWN", "NOSAVE"]), encode(&["PING"])].concat();
        other.send_raw(&last).expect("sent");
        assert!(other.read().is_err(), "nobody is told but by the end");
        assert!(server.has_ended(DEADLINE), "{}", server.log());
        assert!(!server.dir().join("dump.rdb").exists());
        let server = server.start_again(APPENDING);
        let mut conn = server.connect();
        assert_eq!(text(run(&mut conn, "GET a")) + &text(run(&mut conn, "GET b")), "1000");
    }
}

#[test]
fn what_cannot_be_loaded_is_said_and_kept() {
    let mut server = Server::start(APPENDING);
    run(&mut server.connect(), "SET k v");
    assert_eq!(server.stop_gracefully(), Some(0));
    let append = server.dir().join(APPEND_DIR);
    let increment = append.join("appendonly.aof.1.incr.aof");
    let whole = fs::read(&increment).expect("there is an increment");
    let refused = |why: &str, part: &str| {
        let mut refused = Server::launch_on(server.dir(), APPENDING);
        assert!(refused.has_ended(DEADLINE), "it starts with {why}");
        let log = refused.log();
        assert!(log.contains(part), "{why}: no {part:?} in\n{log}");
    };
    // In the middle, with something whole behind it.
    let mut broken = whole.clone();
    broken[0] = b'x';
    fs::write(&increment, &broken).expect("written");
    refused("a broken middle", "Bad file format reading the append only file");
    fs::write(&increment, &whole).expect("written");
    let unknown = [&whole[..], b"*1\r\n$7\r\nNOTHING\r\n"].concat();
    fs::write(&increment, unknown).expect("written");
    refused("an unknown command", "Unknown command 'NOTHING' reading the append only file");
    fs::remove_file(&increment).expect("removed");
    refused("a missing piece", "appendonly.aof.1.incr.aof");
    let path = append.join("appendonly.aof.manifest");
    fs::write(&path, "file nonsense\n").expect("written");
    refused("a broken manifest", "manifest");
    fs::remove_dir_all(&append).expect("removed");
    fs::write(server.dir().join(APPEND_DIR), "not a folder").expect("written");
    refused("a file in place of the folder", APPEND_DIR);
}

/// Without the append-only file its pieces are left alone, and with it again they are what counts.
#[test]
fn pieces_outlive_a_start_without_them() {
    let mut server = Server::start(APPENDING);
    run(&mut server.connect(), "SET k v");
    assert_eq!(server.stop_gracefully(), Some(0));
    let mut server = server.start_again(&[]);
    assert_eq!(run(&mut server.connect(), "DBSIZE"), Reply::Integer(0));
    assert_eq!(server.stop_gracefully(), Some(0));
    let server = server.start_again(APPENDING);
    assert_eq!(text(run(&mut server.connect(), "GET k")), "v");
}

#[test]
fn scripts_choose_whether_their_writes_are_kept() {
    let server = Server::start(APPENDING);
    let mut conn = server.connect();
    for (key, audience) in
        [("a", "AOF"), ("b", "ALL"), ("c", "REPLICA"), ("d", "SLAVE"), ("e", "NONE")]
    {
        let body = format!("redis.set_repl(redis.REPL_{audience}) redis.call('SET', KEYS[1], 1)");
        call(&mut conn, &["EVAL", &body, "1", key]);
    }
    assert_eq!(run(&mut conn, "EXISTS a b c d e"), Reply::Integer(5));
    call(&mut conn, &["DEBUG", "LOADAOF"]);
    assert_eq!(run(&mut conn, "EXISTS a b"), Reply::Integer(2));
    assert_eq!(run(&mut conn, "EXISTS c d e"), Reply::Integer(0));
}
