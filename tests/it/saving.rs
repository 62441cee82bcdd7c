//! Saving, as clients and operators see it: replies, INFO, save points, failures and recovery, and
//! what is answered while a file is loaded.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::dataset::{call, digest, run, text};
use crate::harness::{Conn, Reply, Server, wait_for};

const DEADLINE: Duration = Duration::from_secs(20);
const DEBUG: &[&str] = &["--enable-debug-command", "yes"];

fn persistence(conn: &mut Conn) -> String {
    text(call(conn, &["INFO", "persistence"]))
}

fn says(conn: &mut Conn, line: &str) -> bool {
    persistence(conn).lines().any(|found| found == line)
}

fn wait_says(conn: &mut Conn, line: &str) {
    let seen = wait_for(DEADLINE, || says(conn, line));
    assert!(seen, "no {line} in {}", persistence(conn));
}

/// A server that is `saving` keys for a long time; a save point makes failures count.
fn slow_server(save: &str) -> (Server, Conn) {
    let server = Server::start(&[DEBUG, &["--save", save]].concat());
    let mut conn = server.connect();
    run(&mut conn, "DEBUG POPULATE 1000");
    run(&mut conn, "CONFIG SET rdb-key-save-delay 100000");
    (server, conn)
}

/// Makes each save fail when its file is opened, or give back the way.
fn block_saves(server: &Server) -> impl Fn() + use<> {
    let path = server.dir().join(format!("temp-{}.rdb", server.pid()));
    fs::create_dir(&path).expect("a folder in a scratch folder");
    move || fs::remove_dir(&path).expect("it is empty")
}

const MISCONF: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable \
                       to persist to disk. Commands that may modify the data set are disabled, \
                       because this instance is configured to report errors during writes if RDB \
                       snapshotting fails (stop-writes-on-bgsave-error option). Please check the \
                       Redis logs for details about the RDB error.";

#[test]
fn a_save_in_a_transaction_begins_behind_it() {
    let server = Server::start(DEBUG);
    let mut conn = server.connect();
    for command in ["MULTI", "SET a 1", "BGSAVE", "SET b 2"] {
        run(&mut conn, command);
    }
    let replies = ["OK", "Background saving scheduled", "OK"].map(|r| Reply::Simple(r.into()));
    assert_eq!(conn.call(&["EXEC"]), Reply::Array(replies.into()));
    wait_says(&mut conn, "rdb_changes_since_last_save:0");
    let before = digest(&mut conn);
    run(&mut conn, "DEBUG RELOAD NOSAVE");
    assert_eq!(digest(&mut conn), before);
    assert_eq!(conn.call(&["DBSIZE"]), Reply::Integer(2));
}

#[test]
fn a_failed_save_stops_writes_until_one_succeeds() {
    let server = Server::start(&["--save", "3600 1"]);
    let mut conn = server.connect();
    run(&mut conn, "SET k v");
    let unblock = block_saves(&server);
    // Who waits for a save is told, and writes go on.
    assert!(text(conn.call(&["SAVE"])).starts_with("ERR"));
    assert!(says(&mut conn, "rdb_last_bgsave_status:ok"));
    run(&mut conn, "SET k v");
    run(&mut conn, "BGSAVE");
    wait_says(&mut conn, "rdb_last_bgsave_status:err");
    for write in [&["SET", "k", "w"][..], &["DEL", "k"], &["EVAL", "redis.call('del', 'k')", "0"]] {
        let refused = text(conn.call(write));
        assert!(refused.contains("MISCONF") && refused.contains("unable to persist"), "{refused}");
    }
    let refused = text(conn.call(&["SET", "k", "w"]));
    assert!(refused.starts_with(MISCONF), "{refused}");
    let path = server.dir().join("dump.rdb");
    let reason = format!("(Is a directory, saving {})", path.display());
    assert!(refused.ends_with(&reason), "the reason is said: {refused}");
    assert_eq!(text(conn.call(&["PING"]))[..8], refused[..8], "PING is refused as well");
    assert_eq!(text(run(&mut conn, "GET k")), "v");
    run(&mut conn, "CONFIG SET stop-writes-on-bgsave-error no");
    run(&mut conn, "SET k w");
    run(&mut conn, "CONFIG SET stop-writes-on-bgsave-error yes");
    assert!(text(conn.call(&["SET", "k", "x"])).starts_with("MISCONF"));
    unblock();
    run(&mut conn, "BGSAVE");
    wait_says(&mut conn, "rdb_last_bgsave_status:ok");
    run(&mut conn, "SET k x");
    assert_eq!(conn.info("rdb_changes_since_last_save"), 1);
}

/// A disk that is full in the middle of the file is as bad, whichever thread finds out.
#[test]
fn a_full_disk_is_a_failed_save() {
    let server = Server::start(&[DEBUG, &["--save", "3600 1", "--threads", "4"]].concat());
    let mut conn = server.connect();
    run(&mut conn, "SET kept v");
    run(&mut conn, "SAVE");
    let before = fs::read(server.dir().join("dump.rdb")).expect("it is saved");
    run(&mut conn, "DEBUG POPULATE 50000 key 100");
    for _ in 0..5 {
        let temporary = server.dir().join(format!("temp-{}.rdb", server.pid()));
        symlink("/dev/full", temporary).expect("a link in a scratch folder");
        run(&mut conn, "BGSAVE");
        wait_says(&mut conn, "rdb_last_bgsave_status:err");
        let refused = text(conn.call(&["SET", "k", "w"]));
        assert!(refused.starts_with(MISCONF), "{refused}");
        assert!(refused.contains("No space left on device, saving /"), "{refused}");
        assert_eq!(fs::read(server.dir().join("dump.rdb")).expect("still there"), before);
        run(&mut conn, "SAVE");
        wait_says(&mut conn, "rdb_last_bgsave_status:ok");
        fs::write(server.dir().join("dump.rdb"), &before).expect("written");
    }
}

#[test]
fn one_save_at_a_time_that_can_be_cancelled() {
    let (server, mut conn) = slow_server("");
    let error = |conn: &mut Conn, line: &str| text(conn.call(&line.split(' ').collect::<Vec<_>>()));
    assert_eq!(
        error(&mut conn, "BGSAVE CANCEL"),
        "ERR Background saving is currently not in \
                progress or scheduled"
    );
    assert_eq!(text(run(&mut conn, "BGSAVE")), "Background saving started");
    assert_eq!(error(&mut conn, "BGSAVE"), "ERR Background save already in progress");
    assert_eq!(error(&mut conn, "SAVE"), "ERR Background save already in progress");
    assert!(says(&mut conn, "rdb_bgsave_in_progress:1"));
    assert_eq!(
        text(run(&mut conn, "BGREWRITEAOF")),
        "Background append only file rewriting \
                scheduled"
    );
    assert!(says(&mut conn, "aof_rewrite_scheduled:1"));
    assert_eq!(text(run(&mut conn, "BGSAVE CANCEL")), "Background saving cancelled");
    wait_says(&mut conn, "rdb_bgsave_in_progress:0");
    assert!(says(&mut conn, "rdb_last_bgsave_status:ok"), "who cancels has not failed");
    assert!(!server.dir().join("dump.rdb").exists());
    wait_says(&mut conn, "aof_rewrite_in_progress:1");
    assert_eq!(
        error(&mut conn, "BGREWRITEAOF"),
        "ERR Background append only file rewriting \
                already in progress"
    );
    assert_eq!(
        error(&mut conn, "BGSAVE"),
        "ERR Another child process is active (AOF?): can't \
                BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever \
                possible."
    );
    assert_eq!(text(run(&mut conn, "BGSAVE SCHEDULE")), "Background saving scheduled");
    run(&mut conn, "CONFIG SET rdb-key-save-delay 0");
    assert_eq!(error(&mut conn, "BGSAVE NONSENSE"), "ERR syntax error");
}

#[test]
fn save_points_save() {
    let server = Server::start(&["--save", "1 5"]);
    let mut conn = server.connect();
    let path = server.dir().join("dump.rdb");
    for i in 0..4 {
        run(&mut conn, &format!("SET k{i} v"));
    }
    assert_eq!(conn.info("rdb_changes_since_last_save"), 4);
    run(&mut conn, "SET k4 v");
    assert!(wait_for(DEADLINE, || path.exists()), "{}", server.log());
    assert!(server.log().contains("5 changes in 1 seconds. Saving..."), "{}", server.log());
    wait_says(&mut conn, "rdb_changes_since_last_save:0");
    wait_says(&mut conn, "rdb_bgsave_in_progress:0");
    let Reply::Integer(saved) = run(&mut conn, "LASTSAVE") else { panic!("LASTSAVE is a number") };
    assert_eq!(u64::try_from(saved).expect("after 1970"), conn.info("rdb_last_save_time"));
    // With save points FLUSHALL leaves an empty file, so that nothing comes back.
    run(&mut conn, "FLUSHALL");
    let again = Server::start_on(server.dir(), &[]);
    assert_eq!(run(&mut again.connect(), "DBSIZE"), Reply::Integer(0));
}

#[test]
fn names_and_folders_change() {
    // Both are protected, as Redis has it, unless that is switched off.
    let server = Server::start(DEBUG);
    let mut conn = server.connect();
    for request in [["dbfilename", "other.rdb"], ["dir", "/tmp"]] {
        let refused = text(conn.call(&[&["CONFIG", "SET"], &request[..]].concat()));
        assert!(refused.ends_with("can't set protected config"), "{refused}");
    }
    let server = Server::start(&["--enable-protected-configs", "yes"]);
    let mut conn = server.connect();
    run(&mut conn, "SET k v");
    run(&mut conn, "CONFIG SET dbfilename other.rdb");
    run(&mut conn, "SAVE");
    assert!(server.dir().join("other.rdb").is_file() && !server.dir().join("dump.rdb").exists());
    let refused = text(conn.call(&["CONFIG", "SET", "dbfilename", "a/b.rdb"]));
    assert!(refused.contains("can't be a path"), "{refused}");
    fs::create_dir(server.dir().join("below")).expect("a folder in a scratch folder");
    run(&mut conn, "CONFIG SET dir below");
    run(&mut conn, "SAVE");
    assert!(server.dir().join("below/other.rdb").is_file());
}

#[test]
fn shutdown_saves_where_it_should() {
    for (save, options, saves) in [
        ("", "SHUTDOWN", false),
        ("", "SHUTDOWN SAVE", true),
        ("3600 1", "SHUTDOWN", true),
        ("3600 1", "SHUTDOWN NOSAVE", false),
    ] {
        let mut server = Server::start(&["--save", save]);
        let mut conn = server.connect();
        run(&mut conn, "SET k v");
        conn.send(&options.split(' ').collect::<Vec<_>>()).expect("sent");
        assert!(conn.read().is_err() && server.has_ended(DEADLINE), "{options}");
        assert_eq!(server.dir().join("dump.rdb").is_file(), saves, "{save:?} {options}");
    }
}

#[test]
fn a_shutdown_that_cannot_save_does_not_happen() {
    let mut server = Server::start(&["--save", "3600 1"]);
    let mut conn = server.connect();
    run(&mut conn, "SET k v");
    let unblock = block_saves(&server);
    let refused = text(conn.call(&["SHUTDOWN"]));
    assert_eq!(refused, "ERR Errors trying to SHUTDOWN. Check logs.");
    let pid = Pid::from_raw(server.pid().try_into().expect("pids fit")).expect("not 0");
    kill_process(pid, Signal::TERM).expect("the server is running");
    let line = "SIGTERM received but errors trying to shut down the server";
    assert!(wait_for(DEADLINE, || server.log().contains(line)), "{}", server.log());
    assert_eq!(text(run(&mut conn, "GET k")), "v", "it goes on");
    unblock();
    run(&mut conn, "SET k w");
    assert_eq!(server.stop_gracefully(), Some(0));
    let again = Server::start_on(server.dir(), &[]);
    assert_eq!(text(run(&mut again.connect(), "GET k")), "w");
}

/// A server whose file takes long to load, and a connection to it.
fn loading(from: &Path, args: &[&str]) -> (Server, Conn) {
    let server = Server::launch_on(from, args);
    let mut conn = None;
    let is_loading = wait_for(DEADLINE, || {
        let Ok(mut open) = Conn::open(server.addr()) else { return false };
        let answer = open.send(&["GET", "k"]).and_then(|()| open.read());
        conn = Some(open);
        matches!(answer, Ok(Reply::Error(text)) if text.starts_with(b"LOADING"))
    });
    assert!(is_loading, "it never loads:\n{}", server.log());
    (server, conn.expect("seen above"))
}

#[test]
fn hardly_anything_is_answered_while_loading() {
    let mut server = Server::start(DEBUG);
    let mut conn = server.connect();
    run(&mut conn, "DEBUG POPULATE 20000 key 40");
    let expected = digest(&mut conn);
    run(&mut conn, "SAVE");
    server.kill();
    let before = fs::read(server.dir().join("dump.rdb")).expect("it is saved");
    let slow = [DEBUG, &["--key-load-delay", "2000", "--save", "3600 1"]].concat();
    let (mut busy, mut conn) = loading(server.dir(), &slow);
    let refused = Reply::Error(b"LOADING Redis is loading the dataset in memory".to_vec());
    for request in ["GET k", "SET k v", "PING", "SAVE", "BGSAVE", "DBSIZE"] {
        assert_eq!(conn.call(&request.split(' ').collect::<Vec<_>>()), refused, "{request}");
    }
    let info = persistence(&mut conn);
    for field in
        ["loading:1", "loading_total_bytes:", "loading_loaded_perc:", "loading_eta_seconds:"]
    {
        assert!(info.contains(field), "no {field} in {info}");
    }
    run(&mut conn, "CONFIG GET save");
    run(&mut conn, "CLIENT ID");
    // Who stops it meanwhile has the file as it was.
    assert_eq!(busy.stop_gracefully(), Some(0), "{}", busy.log());
    assert_eq!(fs::read(busy.dir().join("dump.rdb")).expect("still there"), before);
    let (_busy, mut conn) = loading(server.dir(), &slow);
    run(&mut conn, "CONFIG SET key-load-delay 0");
    wait_says(&mut conn, "loading:0");
    assert_eq!(digest(&mut conn), expected);
}

#[test]
fn a_broken_snapshot_is_not_loaded() {
    let mut server = Server::start(DEBUG);
    let mut conn = server.connect();
    run(&mut conn, "DEBUG POPULATE 100 key 40");
    run(&mut conn, "SAVE");
    server.kill();
    let path = server.dir().join("dump.rdb");
    let whole = fs::read(&path).expect("it is saved");
    for at in [0, 5, 9, 30, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        fs::write(&path, &whole[..at]).expect("written");
        let mut refused = Server::launch_on(server.dir(), &[]);
        assert!(refused.has_ended(DEADLINE), "it starts with {at} bytes");
        assert!(refused.log().contains("Fatal error loading the DB"), "{at}: {}", refused.log());
    }
    let mut flipped = whole;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&path, flipped).expect("written");
    let mut refused = Server::launch_on(server.dir(), &[]);
    assert!(refused.has_ended(DEADLINE), "it starts with a wrong bit");
}

#[test]
fn what_is_used_during_a_save_is_not_taken_for_idle() {
    let policy = ["--save", "", "--maxmemory-policy", "allkeys-lru"];
    let server = Server::start(&[DEBUG, &policy].concat());
    let mut conn = server.connect();
    run(&mut conn, "DEBUG POPULATE 300");
    run(&mut conn, "CONFIG SET rdb-key-save-delay 10000");
    run(&mut conn, "BGSAVE");
    let start = Instant::now();
    assert!(wait_for(DEADLINE, || start.elapsed() > Duration::from_millis(1200)));
    for n in 0..300 {
        call(&mut conn, &["GET", &format!("key:{n}")]);
    }
    assert!(says(&mut conn, "rdb_bgsave_in_progress:1"), "some of it is yet to be written");
    run(&mut conn, "CONFIG SET rdb-key-save-delay 0");
    wait_says(&mut conn, "rdb_bgsave_in_progress:0");
    run(&mut conn, "DEBUG RELOAD NOSAVE");
    for n in 0..300 {
        let key = format!("key:{n}");
        let idle = call(&mut conn, &["OBJECT", "IDLETIME", &key]);
        let Reply::Integer(seconds) = idle else { panic!("{idle:?}") };
        assert!((0..60).contains(&seconds), "{key} is {seconds} seconds idle");
    }
}
