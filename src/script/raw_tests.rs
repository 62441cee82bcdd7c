//! What commands are called with and what becomes of their replies.

use super::tests::Fixture;
use crate::base::limits::REPLY_DEPTH_MAX;

/// What `rest` makes of `r`, the value of that reply.
fn of_reply(fixture: &mut Fixture, reply: &str, rest: &str) -> String {
    let body = format!("local r = redis.call('raw', ARGV[1]) {rest}");
    fixture.eval_with(&body, "0", &[reply.as_bytes()])
}

#[test]
fn each_kind_of_reply_has_its_value() {
    let mut fixture = Fixture::new();
    for (reply, rest, answer) in [
        (":-5\r\n", "return r", ":-5"),
        (":9007199254740993\r\n", "return ('%.0f'):format(r)", "$16 9007199254740992"),
        ("$0\r\n\r\n", "return #r", ":0"),
        ("$3\r\na\0b\r\n", "return {#r, r:byte(2)}", "*2 :3 :0"),
        ("+\r\n", "return #r.ok", ":0"),
        ("#f\r\n", "return tostring(r)", "$5 false"),
        (",nan\r\n", "return tostring(r.double ~= r.double)", "$4 true"),
        (",inf\r\n", "return r.double == math.huge", ":1"),
        ("*0\r\n", "return {type(r), #r}", "*2 $5 table :0"),
        (">2\r\n+a\r\n:1\r\n", "return {r[1].ok, r[2]}", "*2 $1 a :1"),
        ("*3\r\n:1\r\n_\r\n:3\r\n", "return {r[1], tostring(r[2]), r[3]}", "*3 :1 $3 nil :3"),
        ("*2\r\n-ERR no\r\n$-1\r\n", "return {r[1].err, tostring(r[2])}", "*2 $6 ERR no $5 false"),
        ("*1\r\n-odd\r\n", "return {r[1].err, r[1].ignore_error_stats_update}", "*2 $7 ERR odd :1"),
        (
            "%2\r\n_\r\n:1\r\n+k\r\n:2\r\n",
            "local k, v = next(r.map) return {k.ok, v}",
            "*2 $1 k :2",
        ),
        ("%1\r\n:1\r\n_\r\n", "return tostring(next(r.map))", "$3 nil"),
        ("~3\r\n_\r\n:1\r\n$1\r\nx\r\n", "return {r.set[1], r.set.x}", "*2 :1 :1"),
        ("%1\r\n$1\r\na\r\n%1\r\n$1\r\nb\r\n*1\r\n:7\r\n", "return r.map.a.map.b[1]", ":7"),
        ("*1\r\n|1\r\n+k\r\n*1\r\n:1\r\n:3\r\n", "return r", "*1 :3"),
        ("=4\r\nabc:\r\n", "return #r.verbatim_string.string", ":0"),
    ] {
        assert_eq!(of_reply(&mut fixture, reply, rest), answer, "{reply}");
    }
}

#[test]
fn broken_replies_are_false() {
    let mut fixture = Fixture::new();
    for reply in [
        "",
        ":",
        ":7",
        ":7\r",
        ":x\r\n",
        "?1\r\n",
        "$5\r\nabc\r\n",
        "$3\r\nabc",
        "=3\r\nabc\r\n",
        "*2\r\n:1\r\n",
        "*2\r\n:1\r\n*2\r\n+a\r\n%1\r\n:1\r\n",
        "*9223372036854775807\r\n",
        "*99999999\r\n:1\r\n",
        "%9223372036854775807\r\n:1\r\n:1\r\n",
        "%1\r\n:1\r\n",
        "~2\r\n:1\r\n",
        "|9223372036854775807\r\n",
        "|1\r\n:1\r\n",
        "|1\r\n:1\r\n:1\r\n",
    ] {
        let answer = of_reply(&mut fixture, reply, "return tostring(r)");
        assert_eq!(answer, "$5 false", "{reply}");
    }
}

#[test]
fn deep_replies_are_values_up_to_a_limit() {
    let mut fixture = Fixture::new();
    let rest = "local n = 0 while type(r) == 'table' do
            n, r = n + 1, r[1] or r.map and r.map[1] or r.set and next(r.set)
        end return {n, r}";
    for head in ["*1\r\n", "%1\r\n:1\r\n", "~1\r\n"] {
        let reply = |depth: usize| head.repeat(depth) + ":7\r\n";
        let answer = format!("*2 :{REPLY_DEPTH_MAX} :7");
        assert_eq!(of_reply(&mut fixture, &reply(REPLY_DEPTH_MAX), rest), answer);
        let deeper = of_reply(&mut fixture, &reply(REPLY_DEPTH_MAX + 1), "return tostring(r)");
        assert_eq!(deeper, "$5 false");
    }
    // No room is lost to the arguments, however many there were.
    let reply = "*1\r\n".repeat(REPLY_DEPTH_MAX) + "*0\r\n";
    let body = "local a = {} for i = 1, 7990 do a[i] = i end
        redis.call('count', unpack(a)) return type(redis.call('raw', ARGV[1]))";
    assert_eq!(fixture.eval_with(body, "0", &[reply.as_bytes()]), "$7 boolean");
}

#[test]
fn refused_arguments_are_errors_of_both_calls() {
    let mut fixture = Fixture::new();
    let words = "ERR Lua redis lib command arguments must be strings or integers";
    let none = "ERR Please specify at least one argument for this redis lib call";
    for (arguments, text) in
        [("", none), ("nil", words), ("'get', true", words), ("'get', redis.call", words)]
    {
        let body = format!("return redis.pcall({arguments}).err");
        assert_eq!(fixture.eval(&body), format!("${} {text}", text.len()));
        let body = format!("local ok, e = pcall(redis.call, {arguments}) return e");
        let body = body.replace(", )", ")");
        assert_eq!(fixture.eval(&body), format!("${} {text}", text.len()));
    }
    fixture.check(&[
        ("return redis.call('count', 'a\\0b', -1, 0.5, 1e300)", ":4"),
        ("redis.call('set', 'a\\0b', 'c\\0d') return #redis.call('get', 'a\\0b')", ":3"),
        ("local n = 5 redis.call('set', n, n) return type(n)", "$6 number"),
        ("return redis.pcall('fail').err", "$12 WRONGTYPE no"),
    ]);
}

#[test]
fn calls_work_in_coroutines_and_callbacks() {
    Fixture::new().check(&[
        (
            "local co = coroutine.wrap(function() coroutine.yield(redis.call('ping').ok)
                return redis.pcall('fail').err end) return {co(), co()}",
            "*2 $4 PONG $12 WRONGTYPE no",
        ),
        (
            "local co = coroutine.wrap(function() redis.call('fail') end)
            local ok, e = pcall(co) return e",
            "$12 WRONGTYPE no",
        ),
        ("return (('abc'):gsub('.', function(c) return redis.call('count', c, c) end))", "$3 222"),
        (
            "local t = {3, 1, 2}
            table.sort(t, function(a, b) redis.call('ping') return a < b end) return t",
            "*3 :1 :2 :3",
        ),
    ]);
}

#[test]
fn replies_count_as_the_memory_of_a_script() {
    let mut fixture = Fixture::new();
    let fill = "local s = '*100000\\r\\n' .. ('%0\\r\\n'):rep(1e5) local t = {}
        while true do t[#t + 1] = redis.call('raw', s) end";
    fixture.refuses(&[(fill, "not enough memory")]);
    fixture.check(&[("return redis.call('ping')", "+PONG")]);
}
