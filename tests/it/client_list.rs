//! CLIENT LIST of connections that are in the middle of something.

use std::collections::HashMap;
use std::time::Duration;

use crate::harness::{Conn, Reply, Server, encode, wait_for};

const DEADLINE: Duration = Duration::from_secs(10);

/// The fields of client `id`, as `watcher` sees them.
fn fields(watcher: &mut Conn, id: &str) -> HashMap<String, String> {
    let Reply::Bulk(text) = watcher.call(&["CLIENT", "LIST", "ID", id]) else {
        panic!("CLIENT LIST is a text")
    };
    let text = String::from_utf8(text).expect("it is printable");
    let pairs = text.split_ascii_whitespace().filter_map(|word| word.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn number(fields: &HashMap<String, String>, name: &str) -> u64 {
    fields[name].parse().expect("it is a number")
}

fn connect(server: &Server) -> (Conn, String) {
    let mut conn = server.connect();
    let Reply::Integer(id) = conn.call(&["CLIENT", "ID"]) else { panic!("CLIENT ID is a number") };
    (conn, id.to_string())
}

#[test]
fn a_request_that_is_incomplete_is_in_the_query_buffer() {
    let server = Server::start(&[]);
    let (mut conn, id) = connect(&server);
    let mut watcher = server.connect();
    let before = number(&fields(&mut watcher, &id), "tot-mem");
    let request = encode(&["SET", "key", &"x".repeat(5000)]);
    conn.send_raw(&request[..4000]).expect("the socket takes it");
    let holds = |fields: &HashMap<String, String>| number(fields, "qbuf") >= 3900;
    assert!(wait_for(DEADLINE, || holds(&fields(&mut watcher, &id))));
    assert!(number(&fields(&mut watcher, &id), "tot-mem") >= before + 3900);
    conn.send_raw(&request[4000..]).expect("the socket takes it");
    assert_eq!(conn.read().expect("it is answered"), Reply::Simple(b"OK".to_vec()));
    let done = fields(&mut watcher, &id);
    assert_eq!((number(&done, "qbuf"), number(&done, "qbuf-free")), (0, 0), "{done:?}");
    assert_eq!((&*done["cmd"], &*done["tot-cmds"]), ("set", "2"));
}

#[test]
fn what_a_slow_reader_does_not_take_is_shown_until_it_does() {
    let server = Server::start(&[]);
    let (mut conn, id) = connect(&server);
    let mut watcher = server.connect();
    watcher.call(&["SET", "long", &"x".repeat(1 << 20)]);
    watcher.call(&["SET", "short", &"x".repeat(1000)]);
    let count = 64;
    for _ in 0..count {
        conn.send(&["GET", "long"]).expect("the socket takes it");
        conn.send(&["GET", "short"]).expect("the socket takes it");
    }
    let is_stuck = |fields: &HashMap<String, String>| fields["events"] == "rw";
    assert!(wait_for(DEADLINE, || is_stuck(&fields(&mut watcher, &id))));
    let stuck = fields(&mut watcher, &id);
    // Long values are referred to, short ones copied.
    assert!(number(&stuck, "oll") > 0, "{stuck:?}");
    assert!((1..=number(&stuck, "rbs")).contains(&number(&stuck, "obl")), "{stuck:?}");
    assert!(number(&stuck, "omem") > 1 << 18, "{stuck:?}");
    assert!(number(&stuck, "rbp") >= number(&stuck, "obl"), "{stuck:?}");
    for _ in 0..2 * count {
        assert!(matches!(conn.read(), Ok(Reply::Bulk(_))));
    }
    let is_done = |fields: &HashMap<String, String>| fields["events"] == "r";
    assert!(wait_for(DEADLINE, || is_done(&fields(&mut watcher, &id))));
    let done = fields(&mut watcher, &id);
    for name in ["rbs", "obl", "oll", "omem"] {
        assert_eq!(number(&done, name), 0, "{done:?}");
    }
    assert!(number(&done, "tot-net-out") > count << 20, "{done:?}");
}

#[test]
fn messages_that_wait_for_a_slow_subscriber_count_as_output() {
    let server = Server::start(&["--client-output-buffer-limit", "pubsub 0 0 0"]);
    let (mut conn, id) = connect(&server);
    let mut watcher = server.connect();
    conn.call(&["SUBSCRIBE", "news"]);
    let message = "x".repeat(100_000);
    let waits = |fields: &HashMap<String, String>| number(fields, "oll") > 1;
    assert!(wait_for(DEADLINE, || {
        watcher.call(&["PUBLISH", "news", &message]);
        waits(&fields(&mut watcher, &id))
    }));
    let waiting = fields(&mut watcher, &id);
    assert_eq!((&*waiting["flags"], &*waiting["sub"]), ("P", "1"));
    assert!(number(&waiting, "omem") >= 100_000, "{waiting:?}");
}

#[test]
fn a_client_that_waits_keeps_its_arguments() {
    let server = Server::start(&[]);
    let (mut conn, id) = connect(&server);
    let mut watcher = server.connect();
    conn.send(&["BLPOP", "queue", "0"]).expect("the socket takes it");
    assert!(wait_for(DEADLINE, || fields(&mut watcher, &id)["flags"] == "b"));
    let waiting = fields(&mut watcher, &id);
    assert_eq!((number(&waiting, "argv-mem"), &*waiting["cmd"]), (11, "blpop"));
    watcher.call(&["RPUSH", "queue", "x"]);
    assert!(matches!(conn.read(), Ok(Reply::Array(_))));
    let served = |fields: &HashMap<String, String>| number(fields, "argv-mem") == 0;
    assert!(wait_for(DEADLINE, || served(&fields(&mut watcher, &id))));
}
