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
