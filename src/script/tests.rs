//! Scripts against a host that keeps strings.

use std::collections::HashMap;
use std::sync::Arc;

use super::*;
use crate::resp::{ArgRange, Protocol};

/// A host with a few commands; RAW replies with its argument as it is.
#[derive(Default)]
pub(super) struct Strings {
    values: HashMap<Vec<u8>, Vec<u8>>,
    pub(super) ticks: usize,
    /// Stops scripts at that tick.
    pub(super) stop_at: Option<usize>,
    pub(super) repl: Option<u8>,
    pub(super) logged: Vec<(u8, String)>,
}

impl Host for Strings {
    fn call(&mut self, argv: Argv<'_>, out: &mut ReplyBuf) {
        match (argv.arg(0).to_ascii_lowercase().as_slice(), argv.len()) {
            (b"get", 2) => match self.values.get(argv.arg(1)) {
                Some(value) => out.bulk(value),
                None => out.null(),
            },
            (b"set", 3) => {
                self.values.insert(argv.arg(1).to_vec(), argv.arg(2).to_vec());
                out.ok();
            }
            (b"ping", 1) => out.simple("PONG"),
            (b"fail", 1) => out.error(&"WRONGTYPE no"),
            (b"raw", 2) => out.raw(argv.arg(1)),
            (b"count", len) => out.count(len - 1),
            _ => out.error(&"ERR Unknown Redis command called from script"),
        }
    }

    fn tick(&mut self) -> bool {
        self.ticks += 1;
        self.stop_at == Some(self.ticks)
    }

    fn set_repl(&mut self, mask: u8) {
        self.repl = Some(mask);
    }

    fn acl_check(&mut self, argv: Argv<'_>) -> Result<bool, String> {
        match argv.arg(0) {
            b"set" => Ok(true),
            b"hset" => Ok(false),
            _ => Err("Invalid command passed to redis.acl_check_cmd()".to_owned()),
        }
    }

    fn log(&mut self, level: u8, text: &[u8]) {
        self.logged.push((level, String::from_utf8_lossy(text).into_owned()));
    }
}

pub(super) struct Fixture {
    pub(super) scripts: Arc<Scripts>,
    pub(super) host: Strings,
    protocol: Protocol,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::of(Arc::new(Scripts::new("7.4.2")))
    }

    /// Another client of the same scripts.
    pub(super) fn of(scripts: Arc<Scripts>) -> Self {
        Self { scripts, host: Strings::default(), protocol: Protocol::Resp2 }
    }

    pub(super) fn call(
        &mut self,
        what: What,
        read_only: bool,
        words: &[&[u8]],
    ) -> (Vec<u8>, Option<Outcome>) {
        let (mut buffer, mut ranges) = (Vec::new(), Vec::new());
        for word in words {
            ranges.push(ArgRange::bytes(buffer.len(), word.len()));
            buffer.extend_from_slice(word);
        }
        let argv = Argv::new(&buffer, &ranges, &[]);
        let count: usize = std::str::from_utf8(words[2]).unwrap().parse().unwrap();
        let (keys, args) = (3..3 + count, 3 + count..words.len());
        let call = Call { what, keys, args, read_only };
        let mut out = ReplyBuf::with_room(Vec::new(), self.protocol);
        let mut engine = self.scripts.engine.lock();
        let outcome = match engine.prepare(&call, argv) {
            Ok(prepared) => Some(engine.run(&prepared, &mut self.host, argv, &call, &mut out)),
            Err(error) => {
                out.error(&error);
                None
            }
        };
        (out.to_vec(), outcome)
    }

    /// The reply of a script, line ends shown as blanks.
    pub(super) fn eval(&mut self, body: &str) -> String {
        self.eval_with(body, "0", &[])
    }

    pub(super) fn eval_with(&mut self, body: &str, count: &str, args: &[&[u8]]) -> String {
        let head = [b"eval".as_slice(), body.as_bytes(), count.as_bytes()];
        shown(&self.call(What::Body, false, &[&head[..], args].concat()).0)
    }

    pub(super) fn load(&mut self, library: &str) -> String {
        let loaded = self.scripts.engine.lock().load_library(library.as_bytes(), true, true);
        loaded.unwrap_or_else(|error| error.to_string())
    }

    pub(super) fn fcall(&mut self, name: &str, count: &str, args: &[&[u8]]) -> String {
        let head = [b"fcall".as_slice(), name.as_bytes(), count.as_bytes()];
        shown(&self.call(What::Function, false, &[&head[..], args].concat()).0)
    }

    /// Each script answers as said.
    pub(super) fn check(&mut self, cases: &[(&str, &str)]) {
        for (body, reply) in cases {
            assert_eq!(self.eval(body), *reply, "{body}");
        }
    }

    /// Each script ends with an error in which that stands.
    pub(super) fn refuses(&mut self, cases: &[(&str, &str)]) {
        for (body, error) in cases {
            let reply = self.eval(body);
            assert!(reply.starts_with('-') && reply.contains(error), "{body}: {reply}");
        }
    }
}

pub(super) fn shown(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).replace("\r\n", " ").trim_end().to_owned()
}

#[test]
fn values_become_replies() {
    let mut fixture = Fixture::new();
    let cases = [
        ("return 'hello'", "$5 hello"),
        ("return 100.5", ":100"),
        ("return -3.9", ":-3"),
        ("return true", ":1"),
        ("return false", "$-1"),
        ("return nil", "$-1"),
        ("return", "$-1"),
        ("return {ok='fine'}", "+fine"),
        ("return {err='ERR this is an error'}", "-ERR this is an error"),
        ("return {1,2,3,'ciao',{1,2}}", "*5 :1 :2 :3 $4 ciao *2 :1 :2"),
        ("return {1,nil,3}", "*1 :1"),
        ("return {}", "*0"),
        ("return _G", "*0"),
        ("return redis", "*0"),
        ("return function() end", "$-1"),
        ("return {double=1.5}", "$3 1.5"),
        ("return {big_number='12\\r\\n3'}", "$5 12  3"),
        ("return {verbatim_string={format='txt',string='hi'}}", "$2 hi"),
        ("return {map={a=1}}", "*2 $1 a :1"),
        ("return {set={a=true}}", "*1 $1 a"),
        ("redis.setresp(3) return {true, false}", "*2 :1 :0"),
        ("local a = {}; setmetatable(a,{__index=function() foo() end}) return a", "*0"),
    ];
    fixture.check(&cases);
    fixture.protocol = Protocol::Resp3;
    fixture.check(&[
        ("return {false, true}", "*2 _ :1"),
        ("redis.setresp(3) return {true, false}", "*2 #t #f"),
        ("return {double=1.5}", ",1.5"),
        ("return {big_number='12'}", "(12"),
        ("return {verbatim_string={format='mkd',string='hi'}}", "=6 mkd:hi"),
        ("return {map={a=1}}", "%1 $1 a :1"),
        ("return {set={a=true}}", "~1 $1 a"),
        ("return nil", "_"),
    ]);
}

#[test]
fn replies_become_values() {
    let mut fixture = Fixture::new();
    let raw = |reply: &str, rest: &str| format!("local r = redis.call('raw', '{reply}') {rest}");
    for (reply, rest, answer) in [
        (":7\\r\\n", "return {type(r), r}", "*2 $6 number :7"),
        ("+OK\\r\\n", "return {type(r), r.ok}", "*2 $5 table $2 OK"),
        ("$-1\\r\\n", "return tostring(r)", "$5 false"),
        ("*-1\\r\\n", "return tostring(r)", "$5 false"),
        ("_\\r\\n", "return tostring(r)", "$3 nil"),
        ("#t\\r\\n", "return tostring(r)", "$4 true"),
        (",1.5\\r\\n", "return tostring(r.double)", "$3 1.5"),
        ("(123\\r\\n", "return r.big_number", "$3 123"),
        (
            "=6\\r\\ntxt:hi\\r\\n",
            "return {r.verbatim_string.format, r.verbatim_string.string}",
            "*2 $3 txt $2 hi",
        ),
        ("%1\\r\\n$1\\r\\na\\r\\n:2\\r\\n", "return r.map.a", ":2"),
        ("~1\\r\\n$1\\r\\na\\r\\n", "return tostring(r.set.a)", "$4 true"),
        ("|1\\r\\n+k\\r\\n+v\\r\\n:3\\r\\n", "return r", ":3"),
        ("*2\\r\\n*1\\r\\n:1\\r\\n$1\\r\\nx\\r\\n", "return {r[1][1], r[2], #r}", "*3 :1 $1 x :2"),
        ("*9\\r\\n:1\\r\\n", "return tostring(r)", "$5 false"),
    ] {
        assert_eq!(fixture.eval(&raw(reply, rest)), answer, "{reply}");
    }
}

#[test]
fn keys_and_arguments_are_tables() {
    let mut fixture = Fixture::new();
    let body = "return {#KEYS, #ARGV, KEYS[1] or '-', KEYS[#KEYS] or '-', ARGV[1] or '-', ARGV[#ARGV] or '-'}";
    let words: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    for (keys, all) in [(0, 0), (0, 1), (1, 1), (1, 3), (2, 2), (3, 5), (150, 300), (300, 300)] {
        let text = |index: Option<usize>| match index {
            Some(index) => format!("${} {index}", index.to_string().len()),
            None => "$1 -".to_owned(),
        };
        let (key, arg) = ((keys > 0).then_some(0), (all > keys).then_some(keys));
        let (last_key, last_arg) = (key.map(|_| keys - 1), arg.map(|_| all - 1));
        let expected = [key, last_key, arg, last_arg].map(text).join(" ");
        let reply = fixture.eval_with(body, &keys.to_string(), &words[..all]);
        assert_eq!(reply, format!("*6 :{keys} :{} {expected}", all - keys));
    }
}

#[test]
fn errors_say_where() {
    let mut fixture = Fixture::new();
    let at = |body: &str, line: usize| {
        format!(" script: {}, on @user_script:{line}.", api::hex_digest(body.as_bytes()))
    };
    for (body, text, line) in [
        ("return redis.call('nosuch')", "-ERR Unknown Redis command called from script", 1),
        ("\n redis.call('fail')", "-WRONGTYPE no", 2),
        ("redis.call()", "-ERR Please specify at least one argument for this redis lib call", 1),
        ("redis.call({})", "-ERR Lua redis lib command arguments must be strings or integers", 1),
        (
            "return a",
            "-ERR user_script:1: Script attempted to access nonexistent global variable 'a'",
            1,
        ),
        ("a=10", "-ERR user_script:1: Attempt to modify a readonly table", 1),
        ("\nerror('x')", "-ERR user_script:2: x", 2),
        ("error({err='MY x'})", "-MY x", 1),
        ("error({})", "-ERR unknown error", 1),
        ("error()", "-ERR nil", 1),
        (
            "local x = nil + 1",
            "-ERR user_script:1: attempt to perform arithmetic on a nil value",
            1,
        ),
        ("local function f()\n error('in') end\n f()", "-ERR user_script:2: in", 2),
        (
            "string.rep()",
            "-ERR user_script:1: bad argument #1 to 'rep' (string expected, got nil)",
            1,
        ),
        ("redis.sha1hex()", "-ERR wrong number of arguments", 1),
        (
            "math.random(2, 1)",
            "-ERR user_script:1: bad argument #2 to 'random' (interval is empty)",
            1,
        ),
    ] {
        assert_eq!(fixture.eval(body), format!("{text}{}", at(body, line)), "{body}");
    }
    let reply = fixture.eval("return {");
    assert_eq!(
        reply,
        "-ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'"
    );
}

#[test]
fn outcomes_tell_what_statistics_know() {
    let mut fixture = Fixture::new();
    for (body, outcome) in [
        ("return 1", Outcome::default()),
        ("return {err='ERR x'}", Outcome { failed: true, uncounted: true }),
        ("return redis.pcall('fail')", Outcome { failed: true, uncounted: false }),
        ("return redis.call('fail')", Outcome { failed: true, uncounted: false }),
        ("return redis.pcall()", Outcome { failed: true, uncounted: true }),
        ("error('x')", Outcome { failed: true, uncounted: true }),
        ("return {{err='ERR x'}}", Outcome { failed: false, uncounted: true }),
    ] {
        let reply = fixture.call(What::Body, false, &[b"eval", body.as_bytes(), b"0"]);
        assert_eq!(reply.1, Some(outcome), "{body}");
    }
}

#[test]
fn errors_are_caught_as_plain_values() {
    Fixture::new().check(&[
        ("return {pcall(redis.call, 'fail')}", "*2 $-1 $12 WRONGTYPE no"),
        ("local ok, e = pcall(error, {err='MY x'}) return e", "$4 MY x"),
        ("local ok, e = pcall(error, {code=7}) return e.code", ":7"),
        ("local ok, e = xpcall(function() redis.call('fail') end, function(e) return e end) return e.err", "$12 WRONGTYPE no"),
        ("local ok, e = pcall(function() local x = nil .. 'a' end) return e", "$49 user_script:1: attempt to concatenate a nil value"),
        ("local ok, e = pcall(function() math.random(0) end) return e", "$62 user_script:1: bad argument #1 to 'random' (interval is empty)"),
        ("local ok, e = pcall(function() rawset(redis, 'call', 1) end) return e", "$34 Attempt to modify a readonly table"),
        ("local ok, e = pcall(string.rep) return e", "$51 bad argument #1 to 'rep' (string expected, got nil)"),
        ("local co = coroutine.create(function() redis.call('fail') end) local ok, e = coroutine.resume(co) return e.err", "$12 WRONGTYPE no"),
        ("local r = redis.pcall('fail') return {r.err, tostring(r.ignore_error_stats_update)}", "*2 $12 WRONGTYPE no $4 true"),
        ("return {pcall(function(...) return ... end, 1, 2)}", "*3 :1 :1 :2"),
    ]);
}
