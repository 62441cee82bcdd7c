//! LATENCY of what takes long on purpose.

use std::time::Duration;

use crate::harness::{Conn, Reply, Server, wait_for};

const DEADLINE: Duration = Duration::from_secs(10);

/// The names of the events that took too long.
fn events(conn: &mut Conn) -> Vec<String> {
    let Reply::Array(events) = conn.call(&["LATENCY", "LATEST"]) else {
        panic!("LATENCY LATEST is an array")
    };
    let name = |event: &Reply| match event {
        Reply::Array(parts) => match &parts[0] {
            Reply::Bulk(name) => String::from_utf8(name.clone()).expect("it is a word"),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    events.iter().map(name).collect()
}

#[test]
fn slow_writes_say_what_went_on_beside_them() {
    let server = Server::start(&[
        "--appendonly",
        "yes",
        "--appendfsync",
        "no",
        "--latency-monitor-threshold",
        "20",
        "--enable-debug-command",
        "yes",
    ]);
    let mut conn = server.connect();
    conn.call(&["SET", "key", "value"]);
    conn.call(&["DEBUG", "AOF-FLUSH-SLEEP", "30000"]);
    conn.call(&["SET", "key", "value"]);
    assert_eq!(events(&mut conn), ["aof-write", "aof-write-alone"]);
    conn.call(&["LATENCY", "RESET"]);
    conn.call(&["CONFIG", "SET", "rdb-key-save-delay", "3000000"]);
    conn.call(&["BGSAVE"]);
    assert!(wait_for(DEADLINE, || conn.info("rdb_bgsave_in_progress") == 1));
    conn.call(&["SET", "key", "other"]);
    let seen = events(&mut conn);
    assert_eq!(seen, ["aof-write", "aof-write-active-child"]);
    let Reply::Bulk(text) = conn.call(&["LATENCY", "DOCTOR"]) else { panic!("it is a text") };
    let text = String::from_utf8(text).expect("it is printable");
    assert!(text.contains("aof-write-active-child: 1 latency spikes"), "{text}");
    assert!(text.contains("while a snapshot or a new base was written"), "{text}");
    conn.call(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
}

#[test]
fn serving_a_client_that_waits_counts_as_unblocking() {
    let server = Server::start(&["--latency-monitor-threshold", "1"]);
    let (mut waiting, mut conn) = (server.connect(), server.connect());
    let members: Vec<String> = (0..300_000).map(|number| number.to_string()).collect();
    waiting.send(&["BLMPOP", "0", "1", "list", "LEFT", "COUNT", "300000"]).expect("it is read");
    assert!(wait_for(DEADLINE, || conn.info("blocked_clients") == 1));
    let mut push = vec!["RPUSH", "list"];
    push.extend(members.iter().map(String::as_str));
    conn.call(&push);
    assert!(matches!(waiting.read(), Ok(Reply::Array(_))));
    let seen = events(&mut conn);
    assert!(seen.iter().any(|name| name == "command-unblocking"), "{seen:?}");
}
