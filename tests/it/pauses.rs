//! What happens to a connection while it is held back: its input, its output and its end.

use std::time::{Duration, Instant};

use crate::harness::{Conn, Reply, Server, wait_for};

const DEADLINE: Duration = Duration::from_secs(10);

fn ok() -> Reply {
    Reply::Simple(b"OK".to_vec())
}

fn bulk(text: &[u8]) -> Reply {
    Reply::Bulk(text.to_vec())
}

/// Waits until the server has read what `conn` sent and holds it back.
fn wait_until_held(admin: &mut Conn, id: &Reply) {
    let Reply::Integer(id) = id else { panic!("an id is an integer") };
    let held = || {
        let Reply::Bulk(line) = admin.call(&["CLIENT", "LIST", "ID", &id.to_string()]) else {
            return false;
        };
        let text = String::from_utf8_lossy(&line).into_owned();
        text.split(' ').any(|field| field.starts_with("qbuf=") && field != "qbuf=0")
    };
    assert!(wait_for(DEADLINE, held), "the server never read the request");
}

/// A client that sees to things, and one whose `SET k v` a pause holds back.
fn with_held_write(server: &Server) -> (Conn, Conn) {
    let (mut admin, mut writer) = (server.connect(), server.connect());
    let id = writer.call(&["CLIENT", "ID"]);
    assert_eq!(admin.call(&["CLIENT", "PAUSE", "60000", "WRITE"]), ok());
    writer.send(&["SET", "k", "v"]).expect("the connection is open");
    wait_until_held(&mut admin, &id);
    (admin, writer)
}

#[test]
fn a_pause_keeps_big_arguments() {
    let server = Server::start(&[]);
    let (mut admin, mut writer) = (server.connect(), server.connect());
    let id = writer.call(&["CLIENT", "ID"]);
    let value = "v".repeat(300_000);
    assert_eq!(admin.call(&["CLIENT", "PAUSE", "60000", "WRITE"]), ok());
    writer.send(&["SET", "small", "1"]).expect("the connection is open");
    writer.send(&["SET", "big", &value]).expect("the connection is open");
    writer.send(&["PING"]).expect("the connection is open");
    wait_until_held(&mut admin, &id);
    assert_eq!(admin.call(&["CLIENT", "UNPAUSE"]), ok());
    assert_eq!(writer.read().expect("a reply"), ok());
    assert_eq!(writer.read().expect("a reply"), ok());
    assert_eq!(writer.read().expect("a reply"), Reply::Simple(b"PONG".to_vec()));
    assert_eq!(admin.call(&["GET", "big"]), bulk(value.as_bytes()));
}

#[test]
fn who_waits_for_the_end_of_a_pause_counts_as_blocked() {
    let server = Server::start(&[]);
    let (mut admin, mut writer) = with_held_write(&server);
    assert!(wait_for(DEADLINE, || admin.info("blocked_clients") == 1));
    assert_eq!(admin.call(&["CLIENT", "UNPAUSE"]), ok());
    assert_eq!(writer.read().expect("a reply"), ok());
    assert_eq!(admin.info("blocked_clients"), 0);
}

#[test]
fn scripts_that_declare_no_writes_go_on_while_writes_wait() {
    let server = Server::start(&[]);
    let (mut admin, mut conn) = (server.connect(), server.connect());
    let body = "#!lua flags=no-writes\nreturn 7";
    let library = "#!lua name=lib\nredis.register_function{function_name='seven', \
                   callback=function() return 7 end, flags={'no-writes'}}";
    admin.call(&["FUNCTION", "LOAD", library]);
    let Reply::Bulk(digest) = admin.call(&["SCRIPT", "LOAD", body]) else { panic!("a digest") };
    let digest = String::from_utf8_lossy(&digest).into_owned();
    let calls = [["EVAL", body, "0"], ["EVALSHA", &digest, "0"], ["FCALL", "seven", "0"]];
    assert_eq!(admin.call(&["CLIENT", "PAUSE", "60000", "WRITE"]), ok());
    for call in &calls {
        assert_eq!(conn.call(call), Reply::Integer(7), "{call:?}");
    }
    assert_eq!(conn.call(&["MULTI"]), ok());
    for call in &calls {
        assert_eq!(conn.call(call), Reply::Simple(b"QUEUED".to_vec()));
    }
    assert_eq!(conn.call(&["EXEC"]), Reply::Array(vec![Reply::Integer(7); 3]));
    conn.send(&["EVAL", "#!lua\nreturn 8", "0"]).expect("the connection is open");
    assert!(wait_for(DEADLINE, || admin.info("blocked_clients") == 1));
    assert_eq!(admin.call(&["CLIENT", "UNPAUSE"]), ok());
    assert_eq!(conn.read().expect("a reply"), Reply::Integer(8));
}

#[test]
fn a_killed_client_runs_nothing_that_was_held_back() {
    let server = Server::start(&[]);
    let (mut admin, mut writer) = with_held_write(&server);
    assert_eq!(admin.call(&["CLIENT", "KILL", "TYPE", "normal"]), Reply::Integer(1));
    assert!(writer.read().is_err(), "the connection is closed at once");
    assert_eq!(admin.call(&["CLIENT", "UNPAUSE"]), ok());
    assert_eq!(admin.call(&["EXISTS", "k"]), Reply::Integer(0));
}

#[test]
fn a_client_that_leaves_during_a_pause_is_forgotten() {
    let server = Server::start(&[]);
    let (mut admin, writer) = with_held_write(&server);
    drop(writer);
    assert!(wait_for(DEADLINE, || admin.info("connected_clients") == 1), "it is still listed");
    assert_eq!(admin.call(&["CLIENT", "UNPAUSE"]), ok());
    assert_eq!(admin.call(&["EXISTS", "k"]), Reply::Integer(0));
}

#[test]
fn keys_do_not_expire_during_a_pause() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    assert_eq!(conn.call(&["SET", "k", "v", "PX", "10"]), ok());
    assert_eq!(conn.call(&["CLIENT", "PAUSE", "60000", "WRITE"]), ok());
    let unseen = || conn.call(&["EXISTS", "k"]) == Reply::Integer(0);
    assert!(wait_for(DEADLINE, unseen), "an expired key is not seen");
    assert_eq!(conn.call(&["DBSIZE"]), Reply::Integer(1));
    assert_eq!(conn.info("expired_keys"), 0);
    assert_eq!(conn.call(&["CLIENT", "UNPAUSE"]), ok());
    assert!(wait_for(DEADLINE, || conn.call(&["DBSIZE"]) == Reply::Integer(0)));
}

#[test]
fn output_that_was_read_is_let_go_of() {
    let server = Server::start(&[]);
    let (mut admin, mut reader) = (server.connect(), server.connect());
    assert_eq!(admin.call(&["SET", "k", &"v".repeat(10_000)]), ok());
    let before = admin.info("used_memory");
    // There is always more asked for than the socket takes, so the output never gets empty.
    let (mut asked, mut read) = (0, 0);
    while read < 20_000 {
        while asked < read + 2_000 {
            reader.send(&["GET", "k"]).expect("the connection is open");
            asked += 1;
        }
        for _ in 0..500 {
            reader.read().expect("a value");
            read += 1;
        }
    }
    let grown = admin.info("used_memory").saturating_sub(before);
    assert!(grown < 60_000_000, "{grown} bytes are kept after 200 MB were read");
}

#[test]
fn a_password_that_is_gone_locks_nobody_out() {
    let server = Server::start(&["--requirepass", "secret"]);
    let (mut admin, mut other) = (server.connect(), server.connect());
    assert!(matches!(other.call(&["PING"]), Reply::Error(_)));
    assert_eq!(admin.call(&["AUTH", "secret"]), ok());
    assert_eq!(admin.call(&["CONFIG", "SET", "requirepass", ""]), ok());
    assert_eq!(other.call(&["PING"]), Reply::Simple(b"PONG".to_vec()));
}

#[test]
fn ages_beyond_all_time_match_nobody() {
    let server = Server::start(&[]);
    let (mut admin, mut other) = (server.connect(), server.connect());
    let huge = i64::MAX.to_string();
    assert_eq!(admin.call(&["CLIENT", "KILL", "MAXAGE", &huge]), Reply::Integer(0));
    assert_eq!(other.call(&["PING"]), Reply::Simple(b"PONG".to_vec()));
}

#[test]
fn the_reply_to_debug_sleep_comes_when_it_is_over() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let (mut conn, mut other) = (server.connect(), server.connect());
    let begun = Instant::now();
    conn.send(&["DEBUG", "SLEEP", "0.2"]).expect("the socket takes it");
    conn.send(&["PING"]).expect("the socket takes it");
    // Only the client sleeps.
    assert_eq!(other.call(&["PING"]), Reply::Simple(b"PONG".to_vec()));
    assert_eq!(conn.read().expect("it is answered"), ok());
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(conn.read().expect("it is answered"), Reply::Simple(b"PONG".to_vec()));
}
