//! What others are told while a script runs for too long.

use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::dataset::text;
use crate::harness::{Conn, Reply, Server, encode, wait_for};

const DEADLINE: Duration = Duration::from_secs(20);

/// A client whose script, which does not end by itself, keeps `server` busy.
fn keep_busy(server: &Server, body: &str, keys: &[&str]) -> Conn {
    let mut attacker = server.connect();
    attacker.set_read_deadline(Duration::from_secs(60));
    let count = keys.len().to_string();
    attacker.send(&[&["EVAL", body, &count][..], keys].concat()).expect("sent");
    let mut other = server.connect();
    let is_busy =
        || matches!(other.call(&["PING"]), Reply::Error(text) if text.starts_with(b"BUSY"));
    assert!(wait_for(DEADLINE, is_busy));
    attacker
}

fn kill_script(server: &Server, mut attacker: Conn) {
    assert_eq!(text(server.connect().call(&["SCRIPT", "KILL"])), "OK");
    assert!(matches!(attacker.read(), Ok(Reply::Error(_))));
}

#[test]
fn endless_scripts_are_killed_while_others_are_told_that_it_is_busy() {
    let server = Server::start(&["--busy-reply-threshold", "100"]);
    for body in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local t = {} while true do t[1] = ('x'):rep(1000) end",
        "while true do redis.pcall('get', 'k') end",
        "local f f = function() return f() end f()",
        "while true do string.find(('a'):rep(1000), '.-b') end",
    ] {
        let mut attacker = server.connect();
        attacker.set_read_deadline(Duration::from_secs(60));
        attacker.send(&["EVAL", body, "0"]).expect("sent");
        let mut other = server.connect();
        let busy = wait_for(
            DEADLINE,
            // What the fourth one reads is locked until it ends.
            || matches!(other.call(&["GET", "k"]), Reply::Error(text) if text.starts_with(b"BUSY")),
        );
        assert!(busy, "{body}");
        assert_eq!(text(other.call(&["SCRIPT", "KILL"])), "OK", "{body}");
        let Ok(Reply::Error(reply)) = attacker.read() else { panic!("{body} goes on") };
        let reply = String::from_utf8_lossy(&reply).into_owned();
        assert!(reply.contains("Script killed by user with SCRIPT KILL"), "{body}: {reply}");
        assert!(wait_for(DEADLINE, || other.call(&["GET", "k"]) == Reply::NilBulk));
    }
}

#[test]
fn who_waits_already_is_told_that_a_script_is_busy() {
    for threads in ["1", "4"] {
        let server = Server::start(&["--busy-reply-threshold", "300", "--threads", threads]);
        let mut attacker = server.connect();
        assert_eq!(text(attacker.call(&["SET", "k", "kept"])), "OK");
        attacker.set_read_deadline(Duration::from_secs(60));
        attacker
            .send(&["EVAL", "while true do redis.pcall('get', KEYS[1]) end", "1", "k"])
            .expect("sent");
        let mut other = server.connect();
        // It says so of scripts that are no functions, at once.
        let running = || matches!(other.call(&["FUNCTION", "STATS"]), Reply::Error(_));
        assert!(wait_for(DEADLINE, running));
        let requests: [&[&str]; 9] = [
            &["GET", "k"],
            &["MSET", "a", "1", "b", "2", "c", "3", "k", "lost"],
            &["EVAL", "return redis.call('set', 'k', 'lost')", "0"],
            &["FLUSHALL"],
            &["SORT", "k"],
            &["BLPOP", "k", "0"],
            &["INFO"],
            &["DBSIZE"],
            &["EXEC"],
        ];
        let mut waiting: Vec<_> = requests
            .iter()
            .map(|request| {
                let mut client = server.connect();
                if request[0] == "EXEC" {
                    client.send(&["MULTI"]).expect("sent");
                    client.send(&["SET", "k", "lost"]).expect("sent");
                }
                client.send(request).expect("sent");
                client
            })
            .collect();
        for (client, request) in waiting.iter_mut().zip(requests) {
            let busy = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
            let expected = match request[0] {
                "EXEC" => {
                    assert_eq!(text(client.read().expect("a reply")), "OK");
                    client.read().expect("a reply");
                    format!("EXECABORT Transaction discarded because of: {busy}")
                }
                _ => busy.to_owned(),
            };
            let reply = client.read().expect("a reply");
            assert_eq!(
                reply,
                Reply::Error(expected.into_bytes()),
                "{request:?}, {threads} threads"
            );
        }
        assert_eq!(text(other.call(&["SCRIPT", "KILL"])), "OK");
        assert!(matches!(attacker.read(), Ok(Reply::Error(_))));
        assert_eq!(text(other.call(&["GET", "k"])), "kept");
        assert_eq!(text(waiting[8].call(&["DISCARD"])), "ERR DISCARD without MULTI");
        let stats = text(other.call(&["INFO", "commandstats"]));
        let of_mset = stats.lines().find(|line| line.starts_with("cmdstat_mset:"));
        let rejected = "calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0";
        assert!(of_mset.is_some_and(|line| line.ends_with(rejected)), "{of_mset:?}");
        let errors = text(other.call(&["INFO", "errorstats"]));
        assert!(errors.contains("errorstat_BUSY:count="), "{errors}");
    }
}

#[test]
fn who_comes_while_a_script_is_busy_may_log_in_and_end_it() {
    let args = ["--busy-reply-threshold", "50", "--threads", "1", "--requirepass", "secret"];
    let server = Server::start(&args);
    let mut attacker = server.connect();
    assert_eq!(text(attacker.call(&["AUTH", "secret"])), "OK");
    attacker.set_read_deadline(Duration::from_secs(60));
    for login in [&["AUTH", "secret"][..], &["HELLO", "3", "AUTH", "default", "secret"]] {
        attacker.send(&["EVAL", "while true do end", "0"]).expect("sent");
        let mut other = server.connect();
        assert_eq!(text(other.call(&["PING"])), "NOAUTH Authentication required.");
        assert!(text(other.call(&["AUTH", "wrong"])).starts_with("WRONGPASS"));
        assert!(!matches!(other.call(login), Reply::Error(_)), "{login:?}");
        assert!(text(other.call(&["PING"])).starts_with("BUSY"));
        assert!(text(other.call(&["NOSUCH"])).starts_with("ERR unknown command"));
        assert!(text(other.call(&["GET"])).starts_with("ERR wrong number of arguments"));
        assert!(text(other.call(&["SHUTDOWN", "ABORT"])).starts_with("ERR No shutdown"));
        assert_eq!(text(other.call(&["SCRIPT", "KILL"])), "OK");
        assert!(matches!(attacker.read(), Ok(Reply::Error(_))));
        // It stays who it is when its event loop runs again.
        assert_eq!(text(other.call(&["PING"])), "PONG");
        assert_eq!(text(other.call(&["ACL", "WHOAMI"])), "default");
        let (Reply::Verbatim(info) | Reply::Bulk(info)) = other.call(&["CLIENT", "INFO"]) else {
            panic!("CLIENT INFO is a text")
        };
        assert!(String::from_utf8_lossy(&info).contains("user=default"));
    }
}

#[test]
fn replies_come_in_order_though_one_of_them_waits_for_another_thread() {
    let args = ["--busy-reply-threshold", "50", "--threads", "1", "--rdb-key-save-delay", "2000"];
    let server = Server::start(&args);
    let mut client = server.connect();
    for key in 0..500 {
        client.call(&["SET", &format!("k{key}"), "v"]);
    }
    client.send(&["SAVE"]).expect("sent");
    let attacker = keep_busy(&server, "while true do end", &[]);
    client.send(&["PING"]).expect("sent");
    let mut other = server.connect();
    let mut ask = || text(other.call(&["GET", "k"]));
    // The event loop looks after its clients many times meanwhile.
    let begun = Instant::now();
    wait_for(DEADLINE, || {
        assert!(ask().starts_with("BUSY"));
        begun.elapsed() > Duration::from_secs(1)
    });
    kill_script(&server, attacker);
    assert_eq!(client.read().ok(), Some(Reply::Simple(b"OK".to_vec())));
    assert_eq!(client.read().ok(), Some(Reply::Simple(b"PONG".to_vec())));
}

#[test]
fn nothing_is_lost_behind_a_reply_of_another_thread() {
    let server = Server::start(&["--rdb-key-save-delay", "1000"]);
    let mut client = server.connect();
    for key in 0..20 {
        client.call(&["SET", &format!("k{key}"), "v"]);
    }
    let mut requests = encode(&["SAVE"]);
    for number in 0..200 {
        requests.extend(encode(&["ECHO", &number.to_string()]));
    }
    for way in [&["SAVE"][..], &["CONFIG", "SET", "appendonly", "no"], &["INCR", "n"]] {
        requests.extend(encode(way));
        requests.extend(encode(&["ECHO", way[0]]));
    }
    client.send_raw(&requests).expect("sent");
    assert_eq!(client.read().ok(), Some(Reply::Simple(b"OK".to_vec())));
    for number in 0..200 {
        let echoed = Reply::Bulk(number.to_string().into_bytes());
        assert_eq!(client.read().ok(), Some(echoed));
    }
    for (reply, way) in [("OK", "SAVE"), ("OK", "CONFIG"), ("1", "INCR")] {
        let found = client.read().expect("a reply");
        assert!(found == Reply::Integer(1) || text(found) == reply, "{way}");
        assert_eq!(client.read().ok(), Some(Reply::Bulk(way.as_bytes().to_vec())));
    }
}

#[test]
fn watches_end_while_a_script_holds_the_key() {
    for threads in ["1", "4"] {
        let server = Server::start(&["--busy-reply-threshold", "50", "--threads", threads]);
        let mut watching: Vec<_> = (0..4).map(|_| server.connect()).collect();
        for client in &mut watching {
            assert_eq!(text(client.call(&["WATCH", "k"])), "OK");
            assert_eq!(text(client.call(&["MULTI"])), "OK");
        }
        let body = "while true do redis.call('get', KEYS[1]) end";
        let attacker = keep_busy(&server, body, &["k"]);
        let [one, two, three, four] = &mut watching[..] else { panic!("there are four") };
        assert!(text(one.call(&["EXEC"])).starts_with("EXECABORT"), "{threads} threads");
        assert_eq!(text(two.call(&["DISCARD"])), "OK", "{threads} threads");
        three.send(&["QUIT"]).expect("sent");
        kill_script(&server, attacker);
        // Who is gone watches nothing, and who watches is told of changes.
        let mut other = server.connect();
        let left = wait_for(DEADLINE, || other.info("watching_clients") == 1);
        assert!(left, "{} watch, {threads} threads", other.info("watching_clients"));
        assert_eq!(text(one.call(&["WATCH", "k"])), "OK");
        assert_eq!(text(one.call(&["MULTI"])), "OK");
        assert_eq!(text(other.call(&["SET", "k", "changed"])), "OK");
        assert_eq!(one.call(&["EXEC"]), Reply::NilArray, "{threads} threads");
        assert_eq!(four.call(&["EXEC"]), Reply::NilArray, "{threads} threads");
        assert_eq!(other.info("watching_clients"), 0);
    }
}

#[test]
fn a_client_that_skipped_a_reply_is_told_too() {
    let server = Server::start(&["--busy-reply-threshold", "50", "--threads", "1"]);
    let mut client = server.connect();
    client.send(&["CLIENT", "REPLY", "SKIP"]).expect("sent");
    client.send(&["SET", "k", "v"]).expect("sent");
    assert_eq!(text(client.call(&["GET", "k"])), "v");
    let attacker = keep_busy(&server, "while true do end", &[]);
    assert!(text(client.call(&["GET", "k"])).starts_with("BUSY"));
    kill_script(&server, attacker);
    assert_eq!(text(client.call(&["GET", "k"])), "v");
}

/// The replies to `requests`, sent in one piece, with their times; `closes` says whether the client closes
/// its side behind them.
fn in_one_piece(server: &Server, requests: &[&[&str]], closes: bool) -> Vec<(Reply, Duration)> {
    let mut client = server.connect();
    client.set_read_deadline(DEADLINE);
    let begun = Instant::now();
    let piece: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
    client.send_raw(&piece).expect("sent");
    if closes {
        client.shutdown(Shutdown::Write);
    }
    let reply = |_: &&[&str]| Some((client.read().ok()?, begun.elapsed()));
    requests.iter().map_while(reply).collect()
}

#[test]
fn what_was_sent_before_the_end_is_carried_out() {
    let args = ["--enable-debug-command", "yes", "--rdb-key-save-delay", "1000"];
    let server = Server::start(&args);
    let mut conn = server.connect();
    for key in 0..20 {
        conn.call(&["SET", &format!("k{key}"), "v"]);
    }
    let ok = Reply::Simple(b"OK".to_vec());
    for slow in [&["SAVE"][..], &["DEBUG", "SLEEP", "0.1"], &["DEBUG", "RELOAD"]] {
        let replies = in_one_piece(&server, &[&["SET", "a", "1"], slow, &["SET", "b", "1"]], true);
        let replies: Vec<_> = replies.into_iter().map(|(reply, _)| reply).collect();
        assert_eq!(replies, [ok.clone(), ok.clone(), ok.clone()], "{slow:?}");
        assert_eq!(conn.call(&["DEL", "a", "b"]), Reply::Integer(2), "{slow:?}");
        // One that does not wait for the replies either.
        let mut client = server.connect();
        client.send_raw(&[encode(slow), encode(&["SET", "c", "1"])].concat()).expect("sent");
        drop(client);
        assert!(wait_for(DEADLINE, || conn.call(&["DEL", "c"]) == Reply::Integer(1)), "{slow:?}");
    }
}

#[test]
fn a_sleeping_client_hears_nothing_before_it_wakes() {
    let server = Server::start(&["--enable-debug-command", "yes", "--rdb-key-save-delay", "100"]);
    let mut conn = server.connect();
    for key in 0..20 {
        conn.call(&["SET", &format!("k{key}"), "v"]);
    }
    let (nap, sleep) = (Duration::from_millis(300), &["DEBUG", "SLEEP", "0.3"]);
    for first in [&["KEYS", "none"][..], &["SAVE"], &["BLPOP", "none", "0.01"], sleep] {
        let replies = in_one_piece(&server, &[first, sleep, &["PING"]], false);
        let [_, (slept, after), (pong, _)] = &replies[..] else { panic!("{replies:?}") };
        assert_eq!(*slept, Reply::Simple(b"OK".to_vec()), "{first:?}");
        assert_eq!(*pong, Reply::Simple(b"PONG".to_vec()), "{first:?}");
        let least = if first == sleep { 2 * nap } else { nap };
        assert!(*after >= least, "{first:?}: {after:?}");
    }
}

#[test]
fn nobody_connects_once_a_busy_server_was_told_to_end() {
    for threads in ["1", "2"] {
        let server = Server::start(&["--busy-reply-threshold", "20", "--threads", threads]);
        let script = "redis.call('set', KEYS[1], 1) while true do end";
        let _busy = keep_busy(&server, script, &["k"]);
        let mut other = server.connect();
        other.send(&["SHUTDOWN", "NOSAVE"]).expect("sent");
        assert!(other.read().is_err(), "it is not answered");
        assert!(TcpStream::connect(server.addr()).is_err(), "{threads} threads");
    }
}

/// What only tells that it is out of place needs nothing that the busy event loop has.
#[test]
fn transactions_are_refused_where_they_are_out_of_place_while_a_script_is_busy() {
    let server = Server::start(&["--busy-reply-threshold", "50", "--threads", "1"]);
    let (mut watching, mut setup) = (server.connect(), server.connect());
    assert_eq!(text(watching.call(&["WATCH", "k"])), "OK");
    let attacker = keep_busy(&server, "while true do end", &[]);
    let mut other = server.connect();
    let mut says = |words: &[&str], reply: &str| {
        let said = text(other.call(words));
        assert!(said.starts_with(reply), "{words:?}: {said}");
    };
    says(&["DISCARD"], "ERR DISCARD without MULTI");
    says(&["UNWATCH"], "OK");
    says(&["MULTI"], "OK");
    says(&["MULTI"], "ERR MULTI calls can not be nested");
    says(&["WATCH", "k"], "ERR WATCH inside MULTI is not allowed");
    says(&["DISCARD"], "OK");
    assert_eq!(text(watching.call(&["UNWATCH"])), "OK");
    kill_script(&server, attacker);
    assert_eq!(text(setup.call(&["SET", "k", "v"])), "OK");
    assert_eq!(text(watching.call(&["MULTI"])), "OK");
    assert_eq!(text(watching.call(&["PING"])), "QUEUED");
    assert!(matches!(watching.call(&["EXEC"]), Reply::Array(_)), "nothing is watched any more");
}
