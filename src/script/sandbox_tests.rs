//! What scripts must not do, and what must not become of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tests::Fixture;
use super::*;

const READ_ONLY: &str = "Attempt to modify a readonly table";

#[test]
fn shared_tables_are_read_only() {
    Fixture::new().refuses(&[
        ("setmetatable(_G, {})", READ_ONLY),
        ("local g = getmetatable(_G) g.__index = {}", READ_ONLY),
        ("redis = function() return 1 end", READ_ONLY),
        ("KEYS = {}", READ_ONLY),
        ("_G = {}", READ_ONLY),
        ("_G.x = 1", READ_ONLY),
        ("redis.call = 1", READ_ONLY),
        ("server.call = 1", READ_ONLY),
        ("rawset(redis, 'call', 1)", READ_ONLY),
        ("rawset(_G, 'x', 1)", READ_ONLY),
        ("table.insert(redis, 1)", READ_ONLY),
        ("table.insert(_G, 1, 2)", READ_ONLY),
        ("setmetatable(string, {})", READ_ONLY),
        ("string.rep = 1", READ_ONLY),
        ("getmetatable('').__index = 1", READ_ONLY),
        ("getmetatable('').__index.rep = 1", READ_ONLY),
        ("getmetatable('').x = 1", READ_ONLY),
        ("for k, v in pairs(redis) do redis[k] = 1 end", READ_ONLY),
        ("local f, t = pairs(redis) t.call = 1", READ_ONLY),
        ("local _, lib = next(_G, 'math') or 0, math lib.floor = 1", READ_ONLY),
        ("for k, v in pairs(_G) do if type(v) == 'table' then v.x = 1 end end", READ_ONLY),
    ]);
}

#[test]
fn shared_tables_can_be_read() {
    Fixture::new().check(&[
        ("local n = 0 for k in pairs(redis) do n = n + 1 end return n > 15", ":1"),
        ("return {type(rawget(_G, 'redis')), tostring(rawget(_G, 'nothing'))}", "*2 $5 table $3 nil"),
        ("return {redis.LOG_WARNING, redis.REPL_ALL, redis.REDIS_VERSION, redis.REDIS_VERSION_NUM}", "*4 :3 :3 $5 7.4.2 :459778"),
        ("return server.call('ping')", "+PONG"),
        ("return tostring(getmetatable(redis))", "$3 nil"),
        ("return type(getmetatable(''))", "$5 table"),
        ("return {tostring(redis.breakpoint()), select('#', redis.debug(1)), tostring(redis.replicate_commands())}", "*3 $5 false :0 $4 true"),
        ("return ('x'):rep(3)", "$3 xxx"),
        ("return type(os.clock())", "$6 number"),
        ("return next({5})", ":1"),
        ("return #{unpack({1,2,3}, 2)}", ":2"),
        ("return select('#', unpack({}, 1, 7990))", ":7990"),
        ("local a = {} for i = 1, 7999 do a[i] = 1 end return redis.call('count', 'l', unpack(a))", ":8000"),
    ]);
}

#[test]
fn libraries_of_redis_are_there() {
    let mut fixture = Fixture::new();
    fixture.check(&[
        ("return cjson.encode({1, 'a', true})", "$12 [1,\"a\",true]"),
        ("return cmsgpack.unpack(cmsgpack.pack({7}))[1]", ":7"),
        ("return struct.unpack('>I2', struct.pack('>I2', 258))", ":258"),
        ("return bit.bor(1, 2, 4)", ":7"),
        (
            "return {pcall(cjson.decode, '{')}",
            "*2 $-1 $57 Expected object key string but found T_END at character 2",
        ),
    ]);
    fixture.refuses(&[
        ("cjson.encode = 1", READ_ONLY),
        ("bit.x = 1", READ_ONLY),
        ("cjson.decode('x')", "Expected value but found invalid token at character 1 script: "),
    ]);
}

#[test]
fn nothing_dangerous_is_there() {
    let mut fixture = Fixture::new();
    for name in [
        "print", "dofile", "loadfile", "io", "debug", "package", "require", "module", "newproxy",
        "getfenv", "setfenv",
    ] {
        let reply = fixture.eval(&format!("return {name}"));
        assert!(reply.contains(&format!("nonexistent global variable '{name}'")), "{reply}");
    }
    fixture.check(&[
        ("return tostring(loadstring(string.dump(function() end)))", "$3 nil"),
        ("return tostring(os.execute) .. tostring(os.exit)", "$6 nilnil"),
        ("return {loadstring('\\27Lua')}", "*0"),
        (
            "local f, e = loadstring('\\27Lua') return e",
            "$52 [string \"\u{1b}Lua\"]:1: unexpected symbol near 'char(27)'",
        ),
        ("return loadstring('return 7')()", ":7"),
        ("local n = 0 return load(function() n = n + 1 return ({'return ', '8'})[n] end)()", ":8"),
        ("local f, e = loadstring('x', '=' .. ('y'):rep(1e6)) return #e < 200", ":1"),
        ("return {collectgarbage('stop'), type(collectgarbage('count'))}", "*2 :0 $6 number"),
    ]);
    fixture.refuses(&[
        ("loadstring('x = 1')()", READ_ONLY),
        ("loadstring('return x')()", "nonexistent global variable 'x'"),
        ("collectgarbage('x')", "invalid option 'x'"),
    ]);
}

#[test]
fn nothing_is_left_for_the_next_script() {
    let mut fixture = Fixture::new();
    fixture.eval_with("return 1", "1", &[b"k", b"a"]);
    fixture.check(&[("return #KEYS + #ARGV", ":0")]);
    fixture.eval("redis.setresp(3)");
    fixture.check(&[("return false", "$-1")]);
    fixture.eval("getmetatable(setmetatable({}, {})).x = 1");
    fixture.refuses(&[("return x", "nonexistent")]);
}

#[test]
fn random_numbers_are_those_of_redis() {
    let mut fixture = Fixture::new();
    let text = "local t = {} for i = 1, 3 do t[i] = math.random(1000) end return t";
    let first = fixture.eval(text);
    assert_ne!(first, fixture.eval(text));
    let seeded = "math.randomseed(10) return {tostring(math.random()), math.random(100)}";
    assert_eq!(fixture.eval(seeded), "*2 $16 0.87885112309775 :80");
    assert_eq!(fixture.eval(seeded), "*2 $16 0.87885112309775 :80");
}

#[test]
fn a_script_is_stopped_and_cannot_prevent_it() {
    for body in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local f = function() while 1 do redis.call('ping') end end while 1 do pcall(f) end",
        "while true do xpcall(function() while true do end end, function() return 1 end) end",
        "while true do local co = coroutine.create(function() while true do end end) coroutine.resume(co) end",
        "local w = coroutine.wrap(function() while true do pcall(error) end end) while true do pcall(w) end",
    ] {
        let mut fixture = Fixture::new();
        fixture.host.stop_at = Some(3);
        let reply = fixture.eval(body);
        assert!(
            reply.starts_with("-ERR Script killed by user with SCRIPT KILL... script: "),
            "{reply}"
        );
        assert!(reply.ends_with(", on @user_script:1."), "{reply}");
        assert_eq!(fixture.eval("return 1"), ":1");
    }
}

#[test]
fn a_kill_reaches_a_script_that_only_calls() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.scripts.kill(false), Err(ScriptError::NotBusy));
    let scripts = Arc::clone(&fixture.scripts);
    let killer = std::thread::spawn(move || {
        while scripts.running().is_none() {
            std::thread::yield_now();
        }
        assert_eq!(scripts.kill(true), Err(ScriptError::BusyScript));
        let running = scripts.running().expect("it goes on");
        assert_eq!(running.command.as_argv().arg(0), b"eval");
        scripts.kill(false)
    });
    let reply = fixture.eval("while true do redis.pcall('ping') end");
    assert!(reply.contains("Script killed by user"), "{reply}");
    assert_eq!(killer.join().expect("no panic"), Ok(()));
    assert!(fixture.scripts.running().is_none());
    assert_eq!(fixture.eval("return 1"), ":1");
}

#[test]
fn a_script_that_wrote_cannot_be_killed() {
    let scripts = Scripts::new("7.4.2");
    assert_eq!(scripts.begin_write(), Writing::Allowed);
    assert!(scripts.has_written());
    assert_eq!(scripts.begin_write(), Writing::Allowed);
}

#[test]
fn memory_is_limited() {
    let mut fixture = Fixture::new();
    let start = Instant::now();
    fixture.refuses(&[
        ("local s = 'x' while true do s = s .. s end", "not enough memory"),
        ("local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end", "not enough memory"),
        ("return ('x'):rep(1e9)", "resulting string too large"),
        ("local s = ('x'):rep(1e6) local t = {} for i = 1, 1e4 do t[i] = s end return table.concat(t)", "not enough memory"),
        ("local s = ('x'):rep(1e6) local t = {} for i = 1, 1e4 do t[i] = s end return t", "the reply is too long"),
    ]);
    fixture.check(&[
        ("return ('').rep('', 2^31 - 1)", "$0"),
        (
            "return {pcall(function() local s = 'x' while true do s = s .. s end end)}",
            "*2 $-1 $17 not enough memory",
        ),
        ("return 1", ":1"),
    ]);
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn native_recursion_is_limited() {
    let mut fixture = Fixture::new();
    fixture.refuses(&[
        ("local function f() return coroutine.wrap(f)() end f()", "C stack overflow"),
        ("local function f() return ('x'):gsub('x', f) end f()", "C stack overflow"),
        ("local last local function f() local ok, e = pcall(f) last = last or e end f() error(last)", "overflow"),
        ("local function f() return 1 + f() end f()", "stack overflow"),
        ("return ('a'):rep(100):find(('a-'):rep(1e5))", "pattern too complex"),
        ("return ('a'):match(('a-'):rep(1e5))", "pattern too complex"),
        ("return loadstring(('('):rep(1e5))()", "attempt to call a nil value"),
        ("local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k] end return t.x", "overflow"),
    ]);
    fixture.check(&[("return ('a-'):rep(1e5):find('-', 1, true)", ":2")]);
    let deep = fixture.eval("local a = {}; local b = {a}; a[1] = b; return a");
    assert!(deep.starts_with("*1 *1 ") && deep.ends_with("*1 -ERR reached lua stack limit"));
}

#[test]
fn results_of_unpack_are_counted_without_overflow() {
    Fixture::new().refuses(&[
        ("return unpack({1, 2}, -2147483647, 2147483647)", "too many results to unpack"),
        ("return unpack({1, 2}, 0, 2147483647)", "too many results to unpack"),
        ("return unpack({1, 2}, 1, 1e15)", "too many results to unpack"),
        ("return unpack({1, 2}, 0/0, 1)", "too many results to unpack"),
        ("return unpack({1, 2}, -4294967295, 4294967295)", "too many results to unpack"),
        ("return unpack({1, 2}, 1, 8001)", "too many results to unpack"),
    ]);
}

#[test]
fn a_chunk_keeps_its_name_while_it_is_parsed() {
    let body = "
        for i = 1, 200 do
            local name = '=' .. ('n'):rep(50) .. i
            local code = {}
            for j = 1, 200 do code[j] = 'local a' .. i .. ' = \"' .. ('s'):rep(100) .. i .. j .. '\"' end
            collectgarbage('step')
            loadstring('do ' .. table.concat(code, ' end do ') .. ' end', name)
            local f, e = loadstring('x x', name)
            assert(e:sub(1, 51) == ('n'):rep(50) .. tostring(i):sub(1, 1), e)
        end
        return 'ok'";
    assert_eq!(Fixture::new().eval(body), "$2 ok");
}

#[test]
fn garbage_does_not_pile_up() {
    let mut fixture = Fixture::new();
    fixture.eval("return 1");
    let before = fixture.scripts.engine.lock().used_memory();
    for i in 0..2000 {
        fixture.eval_with("return ARGV[1]:rep(10)", "0", &[format!("{i:0>1000}").as_bytes()]);
    }
    let after = fixture.scripts.engine.lock().used_memory();
    assert!(after < before + (1 << 20), "{before} {after}");
}

#[test]
fn what_scripts_say_reaches_the_host() {
    let mut fixture = Fixture::new();
    fixture.check(&[
        ("redis.log(redis.LOG_WARNING, 'a', 1, 'b')", "$-1"),
        ("redis.set_repl(redis.REPL_AOF)", "$-1"),
        (
            "return {redis.acl_check_cmd('set', 'k', 1), redis.acl_check_cmd('hset', 'k')}",
            "*2 :1 $-1",
        ),
        (
            "return redis.sha1hex('Pizza & Mandolino')",
            "$40 74822d82031af7493c20eefa13bd07ec4fada82f",
        ),
        ("return redis.call('count', 1, 1.5, 'x', 9007199254740991)", ":4"),
        (
            "redis.call('set', 'n', 9007199254740991) return redis.call('get', 'n')",
            "$16 9007199254740991",
        ),
        ("redis.call('set', 'n', 3.14) return redis.call('get', 'n')", "$18 3.1400000000000001"),
        ("return redis.error_reply('My Err')", "-My Err"),
        ("return redis.error_reply('-MY err')", "-MY err"),
        ("return redis.error_reply('Err')", "-ERR Err"),
        ("return redis.error_reply(1)", "-ERR wrong number or type of arguments"),
        ("return redis.status_reply('Fine')", "+Fine"),
        ("return redis.status_reply()", "-ERR wrong number or type of arguments"),
    ]);
    assert_eq!(fixture.host.logged, [(3, "a 1 b".to_owned())]);
    assert_eq!(fixture.host.repl, Some(1));
    fixture.refuses(&[
        ("redis.log(1)", "redis.log() requires two arguments or more."),
        ("redis.log('x', 'y')", "First argument must be a number (log level)."),
        ("redis.log(10, 'x')", "Invalid debug level."),
        ("redis.setresp()", "redis.setresp() requires one argument."),
        ("redis.setresp(4)", "RESP version must be 2 or 3."),
        ("redis.set_repl()", "redis.set_repl() requires two arguments."),
        ("redis.set_repl(12345)", "Invalid replication flags."),
        ("redis.acl_check_cmd('x')", "Invalid command passed to redis.acl_check_cmd()"),
    ]);
}

#[test]
fn the_cache_forgets_what_eval_left() {
    let mut fixture = Fixture::new();
    let loaded = fixture.scripts.engine.lock().load_script(b"return 'kept'").unwrap();
    let first = api::hex_digest(b"return 0");
    for i in 0..510 {
        assert_eq!(fixture.eval(&format!("return {i}")), format!(":{i}"));
        fixture.eval("return 0");
    }
    let mut engine = fixture.scripts.engine.lock();
    assert!(
        engine.has_script(loaded.as_bytes()) && engine.has_script(first.to_uppercase().as_bytes())
    );
    assert!(!engine.has_script(api::hex_digest(b"return 1").as_bytes()));
    assert_eq!(engine.script_source(loaded.as_bytes()), Some(b"return 'kept'".as_slice()));
    let figures = fixture.scripts.figures();
    let scripts = || figures.scripts.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((scripts(), figures.evicted.load(std::sync::atomic::Ordering::Relaxed)), (501, 10));
    engine.flush_scripts();
    assert!(!engine.has_script(loaded.as_bytes()));
    assert_eq!(scripts(), 0);
    drop(engine);
    let reply = fixture.call(What::Sha, false, &[b"evalsha", loaded.as_bytes(), b"0"]).0;
    assert_eq!(reply, b"-NOSCRIPT No matching script. Please use EVAL.\r\n");
}
