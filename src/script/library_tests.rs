//! Libraries of functions: loading, calling, dumping.

use super::tests::{Fixture, shown};
use super::*;

const COUNTER: &str = "#!lua name=counter\n local n = 0
    redis.register_function('next', function(keys, args) n = n + 1 return n end)
    redis.register_function{function_name='echo', callback=function(keys, args) return {keys, args} end,
        description='says it again', flags={'no-writes', 'allow-stale'}}";

#[test]
fn functions_keep_what_their_library_holds() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.load(COUNTER), "counter");
    assert_eq!(fixture.fcall("next", "0", &[]), ":1");
    assert_eq!(fixture.fcall("NEXT", "0", &[]), ":2");
    assert_eq!(fixture.fcall("echo", "1", &[b"k", b"a", b"b"]), "*2 *1 $1 k *2 $1 a $1 b");
    assert_eq!(fixture.fcall("nothing", "0", &[]), "-ERR Function not found");
    fixture.refuses(&[("return n", "nonexistent global variable 'n'")]);
    let engine = fixture.scripts.engine.lock();
    let library = engine.libraries().next().unwrap();
    let functions: Vec<_> =
        library.functions().iter().map(|f| (f.name(), f.description())).collect();
    assert_eq!(functions, [("next", None), ("echo", Some(b"says it again".as_slice()))]);
    let flags: Vec<_> = library.functions()[1].flags().names().collect();
    assert_eq!(flags, ["no-writes", "allow-stale"]);
}

#[test]
fn functions_see_the_globals_and_loading_libraries_do_not() {
    let mut fixture = Fixture::new();
    let library = |body: &str| {
        format!("#!lua name=l\nredis.register_function('f', function(KEYS, ARGV) {body} end)")
    };
    for (body, reply) in [
        ("return redis.call('ping')", "+PONG"),
        ("return math.floor(1.5) + #KEYS + #ARGV", ":1"),
        ("return type(_G)", "$5 table"),
        ("return loadstring('return 3')()", ":3"),
    ] {
        assert_eq!(fixture.load(&library(body)), "l");
        assert_eq!(fixture.fcall("f", "0", &[]), reply, "{body}");
    }
    for (body, error) in [
        (
            "return x",
            "-ERR user_function:2: Script attempted to access nonexistent global variable 'x' script: f, on @user_function:2.",
        ),
        (
            "x = 1",
            "-ERR user_function:2: Attempt to modify a readonly table script: f, on @user_function:2.",
        ),
        (
            "redis.register_function('g', function() end)",
            "-ERR user_function:2: attempt to call field 'register_function' (a nil value) script: f, on @user_function:2.",
        ),
        ("redis.call('fail')", "-WRONGTYPE no script: f, on @user_function:2."),
    ] {
        assert_eq!(fixture.load(&library(body)), "l");
        assert_eq!(fixture.fcall("f", "0", &[]), error);
    }
    let mut refused = |body: &str, error: &str| {
        let message = fixture.load(&format!("#!lua name=l\n{body}"));
        assert!(message.starts_with("ERR ") && message.contains(error), "{body}: {message}");
    };
    refused("return math.random()", "nonexistent global variable 'math'");
    refused("return redis.call('ping')", "nonexistent global variable 'call'");
    refused("return redis.setresp(3)", "nonexistent global variable 'setresp'");
    refused("mt = getmetatable(_G)", "nonexistent global variable 'getmetatable'");
    refused(
        "a = 1",
        "ERR Error registering functions: ERR user_function:2: Attempt to modify a readonly table",
    );
    refused("redis.x = 1", "Attempt to modify a readonly table");
    refused("return 1", "ERR No functions registered");
    refused("bad script", "ERR Error compiling function: user_function:2:");
    refused("local a = 1 while 1 do a = a + 1 end", "ERR FUNCTION LOAD timeout");
}

#[test]
fn a_library_cannot_be_tricked_into_the_globals_of_functions() {
    let mut fixture = Fixture::new();
    let library = "#!lua name=l\nlocal lib = redis
        lib.register_function('f1', function() lib.redis = redis lib.math = math return {ok='OK'} end)
        lib.register_function('f2', function() lib.register_function('f3', function() end) end)
        lib.register_function('f4', function() mt = getmetatable(_G) mt.__index['redis'] = 1 end)";
    assert_eq!(fixture.load(library), "l");
    for (function, error) in [
        ("f1", "Attempt to modify a readonly table"),
        ("f2", "redis.register_function can only be called on FUNCTION LOAD command"),
        ("f4", "Attempt to modify a readonly table"),
    ] {
        let reply = fixture.fcall(function, "0", &[]);
        assert!(reply.contains(error), "{reply}");
    }
}

#[test]
fn arguments_of_register_function_are_checked() {
    let mut fixture = Fixture::new();
    for (arguments, error) in [
        ("()", "wrong number of arguments to redis.register_function"),
        (
            "('f', function() end, {}, 'd', 'e')",
            "wrong number of arguments to redis.register_function",
        ),
        (
            "('f')",
            "calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).",
        ),
        ("(nil, function() end)", "first argument to redis.register_function must be a string"),
        ("('f', 'g')", "second argument to redis.register_function must be a function"),
        (
            "('a\\0b', function() end)",
            "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
        ),
        ("('', function() end)", "Library names can only contain letters"),
        ("{callback=function() end}", "redis.register_function must get a function name argument"),
        ("{function_name='f'}", "redis.register_function must get a callback argument"),
        (
            "{function_name=function() end, callback=function() end}",
            "function_name argument given to redis.register_function must be a string",
        ),
        (
            "{function_name='f', callback='bad'}",
            "callback argument given to redis.register_function must be a function",
        ),
        (
            "{function_name='f', callback=function() end, description=function() end}",
            "description argument given to redis.register_function must be a string",
        ),
        (
            "{function_name='f', callback=function() end, what=1}",
            "unknown argument given to redis.register_function",
        ),
        ("{[true]='f'}", "named argument key given to redis.register_function is not a string"),
        (
            "{function_name='f', callback=function() end, flags='x'}",
            "flags argument to redis.register_function must be a table representing function flags",
        ),
        ("{function_name='f', callback=function() end, flags={'x'}}", "unknown flag given"),
        (
            "{function_name='f', callback=function() end, flags={function() end}}",
            "unknown flag given",
        ),
    ] {
        let message = fixture.load(&format!("#!lua name=l\nredis.register_function{arguments}"));
        assert!(message.starts_with("ERR Error registering functions: ERR "), "{message}");
        assert!(message.contains(error), "{arguments}: {message}");
    }
    let twice = "#!lua name=l\nfor i in function(_, i) end do end
        redis.register_function('f', function() end) redis.register_function('f', function() end)";
    assert!(fixture.load(twice).contains("Function already exists in the library"));
}

#[test]
fn a_failed_load_changes_nothing() {
    let mut fixture = Fixture::new();
    let named = |library: &str, function: &str, answer: u32| {
        format!(
            "#!lua name={library}\nredis.register_function('{function}', function() return {answer} end)"
        )
    };
    fixture.load(&named("a", "f", 1));
    fixture.load(&named("b", "g", 2));
    assert_eq!(fixture.load(&named("b", "F", 3)), "ERR Function F already exists");
    assert_eq!(
        (fixture.fcall("f", "0", &[]), fixture.fcall("g", "0", &[])),
        (":1".into(), ":2".into())
    );
    let mut engine = fixture.scripts.engine.lock();
    let again = engine.load_library(named("a", "h", 4).as_bytes(), false, true).unwrap_err();
    assert_eq!(again.to_string(), "ERR Library 'a' already exists");
    let dump: Vec<Vec<u8>> = engine.libraries().map(|library| library.source().to_vec()).collect();
    let sources = || dump.iter().map(Vec::as_slice);
    assert!(
        engine
            .restore_libraries(sources(), RestorePolicy::Append)
            .unwrap_err()
            .to_string()
            .contains("Library a already exists")
    );
    engine.delete_library(b"a").unwrap();
    assert_eq!(engine.delete_library(b"a"), Err(ScriptError::LibraryNotFound));
    engine.load_library(named("c", "f", 5).as_bytes(), false, true).unwrap();
    let error = engine.restore_libraries(sources(), RestorePolicy::Replace).unwrap_err();
    assert_eq!(error.to_string(), "ERR Function f already exists");
    drop(engine);
    assert_eq!(
        (fixture.fcall("f", "0", &[]), fixture.fcall("g", "0", &[])),
        (":5".into(), ":2".into())
    );
    fixture.scripts.engine.lock().restore_libraries(sources(), RestorePolicy::Flush).unwrap();
    assert_eq!(fixture.fcall("f", "0", &[]), ":1");
    assert_eq!(fixture.scripts.library_counts(), (2, 2));
    fixture.scripts.engine.lock().flush_libraries();
    assert_eq!(fixture.scripts.library_counts(), (0, 0));
}

#[test]
fn writing_functions_are_refused_by_reading_commands() {
    let mut fixture = Fixture::new();
    fixture.load("#!lua name=l\nredis.register_function('w', function() return 1 end)");
    let reply = fixture.call(What::Function, true, &[b"fcall_ro", b"w", b"0"]).0;
    assert_eq!(shown(&reply), "-ERR Can not execute a script with write flag using *_ro command.");
    let reply = fixture.call(What::Body, true, &[b"eval_ro", b"return 1", b"0"]).0;
    assert_eq!(shown(&reply), ":1");
    let reply = fixture.call(What::Body, true, &[b"eval_ro", b"#!lua\nreturn 1", b"0"]).0;
    assert_eq!(shown(&reply), "-ERR Can not execute a script with write flag using *_ro command.");
}
