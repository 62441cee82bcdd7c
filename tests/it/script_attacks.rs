//! Scripts that want too much: memory, stack, time. The server stays within bounds, others are served
//! meanwhile, and the next script finds everything as it was.

use std::time::{Duration, Instant};

use crate::dataset::text;
use crate::harness::{Conn, Reply, Server, wait_for};

const DEADLINE: Duration = Duration::from_secs(20);
/// Most that a script may take, and what a server takes besides.
const MEMORY_MAX: u64 = (1 << 30) + (768 << 20);

fn eval(conn: &mut Conn, body: &str) -> String {
    conn.set_read_deadline(Duration::from_secs(120));
    text(conn.call(&["EVAL", body, "0"]))
}

/// Each body is refused with an error that contains the text, and the server goes on.
fn refuses(server: &Server, attacks: &[(&str, &str)]) {
    let mut conn = server.connect();
    for (body, expected) in attacks {
        let reply = eval(&mut conn, body);
        assert!(reply.contains(expected), "{body}: {reply}");
        assert_eq!(eval(&mut conn, "return 'well'"), "well", "after {body}");
    }
    let peak = conn.info("used_memory_peak");
    assert!(peak < MEMORY_MAX, "{peak} bytes");
    let calm = wait_for(DEADLINE, || {
        conn.call(&["SCRIPT", "FLUSH"]);
        conn.info("used_memory") < 256 << 20
    });
    assert!(calm, "{} bytes are kept", conn.info("used_memory"));
}

/// Clients that go on meanwhile: the longest any of their commands took while `attack` ran.
fn worst_wait_during(server: &Server, attack: impl FnOnce() + Send) -> Duration {
    let mut other = server.connect();
    other.set_read_deadline(Duration::from_secs(60));
    std::thread::scope(|scope| {
        let attack = scope.spawn(attack);
        let mut worst = Duration::ZERO;
        while !attack.is_finished() {
            let start = Instant::now();
            other.call(&["GET", "k"]);
            worst = worst.max(start.elapsed());
        }
        attack.join().expect("the attack fails in no other way than expected");
        worst
    })
}

#[test]
fn deep_nesting_ends_with_an_error() {
    refuses(
        &Server::start(&[]),
        &[
            ("return cjson.decode(('['):rep(1e6))", "Found too many nested data structures (1001)"),
            (
                "return cjson.decode(('{\"a\":'):rep(1e5))",
                "Found too many nested data structures (1001)",
            ),
            (
                "local t = {} for i = 1, 1e5 do t = {t} end return cjson.encode(t)",
                "Cannot serialise, excessive nesting (1001)",
            ),
            (
                "local t = {} t[1] = t return cjson.encode(t)",
                "Cannot serialise, excessive nesting (1001)",
            ),
            ("local t = {} t[1] = t return #cmsgpack.pack(t) < 1000 and 'bounded'", "bounded"),
            ("return type(pcall(cmsgpack.unpack, ('\\145'):rep(1e6)))", "boolean"),
            ("local function f() return 1 + f() end return f()", "stack overflow"),
            ("return loadstring(('return ' .. ('('):rep(1e5)))()", "attempt to call a nil value"),
            (
                "return select(2, loadstring('return ' .. ('{'):rep(1e5)))",
                "chunk has too many syntax levels",
            ),
            ("return select(2, loadstring(('do '):rep(1e5)))", "chunk has too many syntax levels"),
            (
                "return select(2, loadstring('return ' .. ('-'):rep(1, '') .. ('not '):rep(1e5) .. '1'))",
                "chunk has too many syntax levels",
            ),
            (
                "return select(2, loadstring('return ' .. ('a..'):rep(1e5) .. 'a'))",
                "chunk has too many syntax levels",
            ),
            ("local function f() return coroutine.wrap(f)() end f()", "stack overflow"),
        ],
    );
}

#[test]
fn memory_that_a_script_takes_is_bounded_and_given_back() {
    refuses(
        &Server::start(&[]),
        &[
            ("return ('x'):rep(1e10)", "resulting string too large"),
            ("local s = 'x' while true do s = s .. s end", "not enough memory"),
            (
                "local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end",
                "not enough memory",
            ),
            ("local t = {} for i = 1, 1e9 do t[i] = i end", "not enough memory"),
            ("return ('x'):rep(1e8):gsub('x', ('y'):rep(1e4))", "not enough memory"),
        ],
    );
}

#[test]
fn others_are_served_while_a_script_takes_memory() {
    let server = Server::start(&["--threads", "2"]);
    let mut attacker = server.connect();
    let worst = worst_wait_during(&server, || {
        for _ in 0..3 {
            let reply = eval(&mut attacker, "local t = {} for i = 1, 1e9 do t[i] = i end");
            assert!(reply.contains("not enough memory"), "{reply}");
        }
    });
    assert!(worst < Duration::from_secs(3), "{worst:?}");
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
        assert!(
            threads == "1" || of_mset.is_some_and(|line| line.ends_with(rejected)),
            "{of_mset:?}"
        );
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
fn patterns_that_would_match_for_ever_are_refused() {
    let server = Server::start(&[]);
    let mut attacker = server.connect();
    let attacks = [
        "return ('a'):rep(1e5):find('.-.-.-.-b')",
        "return ('a'):rep(1e5):match('a*a*a*a*b')",
        "return ('a'):rep(3e6):find('.-b')",
        "return ('a'):rep(30):find(('.-'):rep(15) .. 'b')",
        "return ('('):rep(3e6):find('%b()')",
        "return ('a'):rep(1e5):gsub('(.-)(.-)(.-)%1%2%3x', '')",
        "for word in ('a'):rep(1e5):gmatch('.-.-.-x') do end",
        "return ('a'):rep(3e6):find(('[a-z]'):rep(800) .. 'x')",
    ];
    let worst = worst_wait_during(&server, || {
        for body in attacks {
            let start = Instant::now();
            let reply = eval(&mut attacker, body);
            assert!(reply.contains("pattern too complex"), "{body}: {reply}");
            // Built for tests, the matcher is several times as slow.
            assert!(start.elapsed() < Duration::from_secs(20), "{body}: {:?}", start.elapsed());
        }
        let plain = "return ('a'):rep(1e7):find(('a'):rep(5e6) .. 'b', 1, true)";
        assert_eq!(attacker.call(&["EVAL", plain, "0"]), Reply::NilBulk);
    });
    assert!(worst < Duration::from_secs(20), "{worst:?}");
    let useful = [
        (
            "return ('key=value; other=thing'):gsub('(%w+)=(%w+)', '%2=%1')",
            "value=key; thing=other",
        ),
        ("return ('x'):rep(100000) == ('x'):rep(100000):match('^(.-)$') and 'whole'", "whole"),
        (
            "local n = 0 for word in ('word '):rep(100000):gmatch('%a+') do n = n + 1 end return n .. ''",
            "100000",
        ),
        ("return table.concat({('a'):rep(1e4 ):find('a', -1)}, ',')", "10000,10000"),
        (
            "return table.concat({(('a'):rep(2e4) .. 'b'):find(('a'):rep(1e4) .. 'b', 5, true)}, ',')",
            "10001,20001",
        ),
    ];
    for (body, expected) in useful {
        assert_eq!(eval(&mut attacker, body), expected, "{body}");
    }
}
