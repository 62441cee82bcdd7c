//! Users: what they are refused, on whatever way; where they are kept; what happens to their
//! connections.
//!
//! The attacks take their command lines from the golden scripts: before each line runs, users who
//! may not run it try to, directly, in a transaction, by a script and by a function, and afterwards
//! the data must be what it was. So it is the data that judges, not the table of keys.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use redstart::command::docs::{self, Arg, ArgKind};
use redstart::command::{CommandTable, Flags, Registered};

use crate::harness::{Conn, Reply, Server, wait_for};
use crate::script::replay_file;

const DEADLINE: Duration = Duration::from_secs(10);

/// Families of golden scripts that work on data; those of the others change what a server is.
const FAMILIES: &[&str] = &[
    "bitmap",
    "expire",
    "geo",
    "hash",
    "hyperloglog",
    "key",
    "list",
    "set",
    "stream",
    "string",
    "transaction",
    "zset",
];

fn ok() -> Reply {
    Reply::Simple(b"OK".to_vec())
}

fn is_refused(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(text) if text.starts_with(b"NOPERM"))
}

/// A connection of a new user with these rules.
fn user(server: &Server, name: &str, rules: &[&str]) -> Conn {
    let line = [&["ACL", "SETUSER", name, "on", "nopass"], rules].concat();
    assert_eq!(server.connect().call(&line), ok(), "{rules:?}");
    let mut conn = server.connect();
    assert_eq!(conn.call(&["AUTH", name, "x"]), ok());
    conn
}

/// Somebody who tries what is not allowed.
struct Attacker {
    name: &'static str,
    conn: Conn,
    /// The commands that were refused on each way.
    refused: [BTreeSet<String>; WAYS.len()],
}

/// The ways on which a command reaches the server.
const WAYS: [&str; 4] = ["by itself", "in a transaction", "by a script", "by a function"];

const SCRIPT: &[u8] = b"return redis.pcall(unpack(ARGV))";
const LIBRARY: &str = "#!lua name=attack\nredis.register_function('attack', function(keys, args) \
                       return redis.pcall(unpack(args)) end)";

impl Attacker {
    fn new(server: &Server, name: &'static str, rules: &[&str]) -> Self {
        Self { name, conn: user(server, name, rules), refused: Default::default() }
    }

    /// Tries a command line on all ways; returns what it was answered directly.
    fn attack(&mut self, name: &str, line: &[Vec<u8>]) -> Reply {
        let direct = self.conn.call(line);
        assert_eq!(self.conn.call(&["MULTI"]), ok());
        let queued = self.conn.call(line);
        self.conn.call(&["EXEC"]);
        let script = [&[b"EVAL".to_vec(), SCRIPT.to_vec(), b"0".to_vec()], line].concat();
        let script = self.conn.call(&script);
        let function = [b"FCALL".to_vec(), b"attack".to_vec(), b"0".to_vec()];
        let function = self.conn.call(&[&function, line].concat());
        for (way, reply) in [&direct, &queued, &script, &function].into_iter().enumerate() {
            if is_refused(reply) {
                self.refused[way].insert(name.to_owned());
            }
        }
        direct
    }
}

/// What there is at one moment.
struct State {
    digest: Reply,
    changes: u64,
    expired: u64,
}

impl State {
    fn of(conn: &mut Conn) -> Self {
        Self {
            digest: conn.call(&["DEBUG", "DIGEST"]),
            changes: conn.info("rdb_changes_since_last_save"),
            expired: conn.info("expired_keys") + conn.info("expired_subkeys"),
        }
    }

    /// Whether nobody has changed anything since `before`; what expires in between changes by itself.
    fn is_still(&self, before: &Self) -> bool {
        self.digest == before.digest
            || self.changes == before.changes
            || self.expired != before.expired
    }
}

/// The arguments that documentation says a command cannot do without.
fn least_arguments(arguments: &[Arg], line: &mut Vec<Vec<u8>>) {
    for arg in arguments.iter().filter(|arg| !arg.optional) {
        if let Some(token) = arg.token.filter(|_| arg.kind != ArgKind::PureToken) {
            line.push(token.into());
        }
        match arg.kind {
            ArgKind::Key => line.push(b"k".to_vec()),
            ArgKind::PureToken => line.push(arg.token.expect("a token").into()),
            ArgKind::OneOf => least_arguments(&arg.arguments[..1], line),
            ArgKind::Block => least_arguments(arg.arguments, line),
            _ => line.push(b"1".to_vec()),
        }
    }
}

/// The commands that have keys.
fn with_keys(table: &CommandTable) -> Vec<&Registered> {
    let all = table.iter().flat_map(|one| std::iter::once(one).chain(&one.subcommands));
    all.filter(|one| one.command.has_keys() && one.subcommands.is_empty()).collect()
}

/// A short line for a command.
fn short_line(registered: &Registered) -> Vec<Vec<u8>> {
    let mut line: Vec<Vec<u8>> =
        registered.name.split('|').map(|word| word.as_bytes().to_vec()).collect();
    let docs = docs::find(&registered.name).expect("every command is documented");
    least_arguments(docs.arguments, &mut line);
    let missing = registered.command.arity.unsigned_abs() as usize;
    line.resize(line.len().max(missing), b"1".to_vec());
    if registered.command.flags.has(Flags::NO_MANDATORY_KEYS) {
        line.push(b"k".to_vec());
    }
    line
}

/// Commands with which who may read may do more than that: wait, keep what PFCOUNT counted, write a
/// value in another way (PFDEBUG), or note who read what (XREADGROUP), all of which Redis counts as
/// reading.
fn reads_only_in_name(registered: &Registered) -> bool {
    let flags = registered.command.flags;
    let more = Flags::BLOCKING.with(Flags::MAY_REPLICATE);
    flags.has(Flags::READONLY) && flags.has(more)
        || ["pfdebug", "xreadgroup"].contains(&registered.name.as_str())
}

struct Attack<'t> {
    table: &'t CommandTable,
    judge: Conn,
    /// May do everything, but with no key.
    blind: Attacker,
    /// May read every key.
    reader: Attacker,
    /// May do everything, but in another database.
    elsewhere: Attacker,
}

impl<'t> Attack<'t> {
    fn new(server: &Server, table: &'t CommandTable) -> Self {
        let mut judge = server.connect();
        assert_eq!(judge.call(&["FUNCTION", "LOAD", LIBRARY]), Reply::Bulk(b"attack".to_vec()));
        Self {
            table,
            judge,
            blind: Attacker::new(server, "blind", &["+@all"]),
            reader: Attacker::new(server, "reader", &["+@all", "%R~*"]),
            elsewhere: Attacker::new(server, "elsewhere", &["+@all", "~*", "db=15"]),
        }
    }

    fn line(&mut self, line: &[Vec<u8>]) {
        let full = match line {
            [name, sub, ..] => self
                .table
                .by_full_name(&[name, &b"|"[..], sub].concat())
                .or_else(|| self.table.by_full_name(name)),
            [name] => self.table.by_full_name(name),
            [] => None,
        };
        let Some(registered) = full.filter(|one| one.command.has_keys()) else { return };
        let (name, flags) = (registered.name.clone(), registered.command.flags);
        let before = State::of(&mut self.judge);
        for attacker in [&mut self.blind, &mut self.elsewhere] {
            let reply = attacker.attack(&name, line);
            let (who, shown) =
                (attacker.name, line.iter().map(|arg| arg.escape_ascii().to_string()));
            // MIGRATE may name no key.
            let is_harmless = matches!(reply, Reply::Error(_))
                || flags.has(Flags::NO_MANDATORY_KEYS)
                || line.last().is_some_and(|last| last.eq_ignore_ascii_case(b"keys"));
            assert!(is_harmless, "{who}: {:?} is answered {reply:?}", shown.collect::<Vec<_>>());
        }
        if !reads_only_in_name(registered) {
            self.reader.attack(&name, line);
        }
        let after = State::of(&mut self.judge);
        let shown = || line.iter().map(|arg| arg.escape_ascii().to_string()).collect::<Vec<_>>();
        assert!(after.is_still(&before), "{:?} changed something", shown());
    }
}

#[test]
fn nobody_reaches_keys_that_are_not_allowed() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let table = CommandTable::new(&[]).expect("no renames");
    let mut attack = Attack::new(&server, &table);
    let commands = with_keys(&table);
    for registered in &commands {
        attack.line(&short_line(registered));
    }
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/scripts");
    for family in FAMILIES {
        let folder = fs::read_dir(scripts.join(family)).expect("a folder of scripts");
        let mut files: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        for file in files {
            replay_file(&file, &server, &mut |line| attack.line(line));
        }
    }
    for (way, name) in WAYS.iter().enumerate() {
        let mut missing = Vec::new();
        for registered in &commands {
            let flags = registered.command.flags;
            let possible = match way {
                1 => !flags.has(Flags::NO_MULTI),
                2 | 3 => !flags.has(Flags::NOSCRIPT),
                _ => true,
            };
            let all = [&attack.blind, &attack.elsewhere, &attack.reader];
            let writes = flags.has(Flags::WRITE) && !reads_only_in_name(registered);
            for attacker in &all[..if writes { 3 } else { 2 }] {
                // A script may not even be begun in another database.
                if possible && !attacker.refused[way].contains(&registered.name) {
                    missing.push(format!("{} {}", attacker.name, registered.name));
                }
            }
        }
        assert!(missing.is_empty(), "never refused {name}: {missing:?}");
    }
}

#[test]
fn who_may_only_write_reads_nothing() {
    let server = Server::start(&[]);
    let table = CommandTable::new(&[]).expect("no renames");
    let mut writer = user(&server, "writer", &["+@all", "%W~*"]);
    for registered in with_keys(&table) {
        let command = registered.command;
        let reads = command.keys.iter().any(|spec| spec.uses.contains(&"access") && !spec.variable);
        if command.flags.has(Flags::READONLY) && reads {
            let reply = writer.call(&short_line(registered));
            assert!(is_refused(&reply), "{}: {reply:?}", registered.name);
        }
    }
}

#[test]
fn nobody_reaches_channels_that_are_not_allowed() {
    let server = Server::start(&[]);
    let mut deaf = user(&server, "deaf", &["+@all", "~*", "resetchannels", "&mine.*"]);
    for line in [
        &["PUBLISH", "other", "x"][..],
        &["SPUBLISH", "other", "x"],
        &["SUBSCRIBE", "mine.a", "other"],
        &["SSUBSCRIBE", "other"],
        &["PSUBSCRIBE", "mine.a*"],
        &["PSUBSCRIBE", "*"],
    ] {
        assert!(is_refused(&deaf.call(line)), "{line:?}");
        assert_eq!(deaf.call(&["MULTI"]), ok());
        assert!(is_refused(&deaf.call(line)), "{line:?}");
        assert!(
            matches!(deaf.call(&["EXEC"]), Reply::Error(text) if text.starts_with(b"EXECABORT"))
        );
        let script = [&["EVAL", "return redis.pcall(unpack(ARGV))", "0"], line].concat();
        assert!(matches!(deaf.call(&script), Reply::Error(_)), "{line:?}");
    }
    assert_eq!(deaf.call(&["PUBLISH", "mine.x", "x"]), Reply::Integer(0));
    assert_eq!(deaf.call(&["PUBSUB", "NUMPAT"]), Reply::Integer(0));
}

/// What a change says is so for every request that is sent after its reply, on whatever event loop.
#[test]
fn a_change_counts_at_once_for_everybody() {
    let server = Server::start_with_threads(4);
    let mut admin = server.connect();
    let mut conns: Vec<Conn> = (0..8).map(|_| user(&server, "u", &["~*"])).collect();
    for round in 0..100 {
        assert_eq!(admin.call(&["ACL", "SETUSER", "u", "+set"]), ok());
        for conn in &mut conns {
            assert_eq!(conn.call(&["SET", "k", "v"]), ok(), "round {round}");
        }
        assert_eq!(admin.call(&["ACL", "SETUSER", "u", "-set"]), ok());
        for conn in &mut conns {
            assert!(is_refused(&conn.call(&["SET", "k", "v"])), "round {round}");
        }
    }
    assert_eq!(admin.call(&["ACL", "DELUSER", "u"]), Reply::Integer(1));
    for conn in &mut conns {
        assert!(conn.send(&["PING"]).and_then(|()| conn.read()).is_err(), "closed");
    }
    assert!(wait_for(DEADLINE, || admin.info("connected_clients") == 1));
}

/// A pipeline is no shelter from what the client does to itself.
#[test]
fn a_change_counts_for_the_next_request_of_a_pipeline() {
    let server = Server::start(&[]);
    let mut conn = user(&server, "u", &["+@all", "~*"]);
    let lines = "*5\r\n$3\r\nACL\r\n$7\r\nSETUSER\r\n$1\r\nu\r\n$4\r\n-get\r\n$4\r\n+del\r\n\
                 *2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n";
    conn.send_raw(lines.as_bytes()).expect("the server reads");
    assert_eq!(conn.read().expect("a reply"), ok());
    assert!(is_refused(&conn.read().expect("a reply")));
    assert_eq!(conn.read().expect("a reply"), Reply::Integer(0));
}

#[test]
fn who_waits_for_a_key_gets_it_only_if_that_is_still_allowed() {
    let server = Server::start(&[]);
    let mut admin = server.connect();
    let mut waiting = user(&server, "u", &["+@all", "~*"]);
    let is_blocked = |admin: &mut Conn| admin.info("blocked_clients");
    waiting.send(&["BLPOP", "l", "0"]).expect("the server reads");
    assert!(wait_for(DEADLINE, || is_blocked(&mut admin) == 1));
    assert_eq!(admin.call(&["ACL", "SETUSER", "u", "-blpop"]), ok());
    assert_eq!(admin.call(&["RPUSH", "l", "a"]), Reply::Integer(1));
    assert!(is_refused(&waiting.read().expect("a reply")));
    assert_eq!(admin.call(&["LLEN", "l"]), Reply::Integer(1));
    waiting.send(&["BRPOP", "m", "0"]).expect("the server reads");
    assert!(wait_for(DEADLINE, || is_blocked(&mut admin) == 1));
    assert_eq!(admin.call(&["ACL", "DELUSER", "u"]), Reply::Integer(1));
    assert!(waiting.read().is_err(), "closed");
    assert_eq!(admin.call(&["RPUSH", "m", "a"]), Reply::Integer(1));
    assert_eq!(admin.call(&["LLEN", "m"]), Reply::Integer(1));
}

#[test]
fn users_are_kept_in_a_file() {
    let server = Server::start(&[]);
    let path = server.dir().join("users.acl");
    fs::write(&path, "user alice on >secret ~k* +@all\n\nuser bob off\n").expect("a scratch file");
    let file = path.to_str().expect("text").to_owned();
    let server = Server::start(&["--aclfile", &file]);
    let mut conn = server.connect();
    assert_eq!(conn.call(&["AUTH", "alice", "secret"]), ok());
    assert_eq!(conn.call(&["AUTH", "default", "x"]), ok());
    let mut leaving = user(&server, "carol", &["+@all"]);
    assert_eq!(conn.call(&["ACL", "SAVE"]), ok());
    let text = fs::read_to_string(&path).expect("it was written");
    assert!(text.contains("\nuser carol on nopass") && text.starts_with("user alice on #"));
    // What is not in the file is gone after it was loaded.
    fs::write(&path, "user default on >new ~* &* +@all\nuser alice on nopass\n").expect("writable");
    assert_eq!(conn.call(&["ACL", "LOAD"]), ok());
    assert!(leaving.send(&["PING"]).and_then(|()| leaving.read()).is_err(), "closed");
    assert_eq!(conn.call(&["PING"]), Reply::Simple(b"PONG".to_vec()));
    let names = ["alice", "default"].map(|name| Reply::Bulk(name.into()));
    assert_eq!(conn.call(&["ACL", "USERS"]), Reply::Array(names.to_vec()));
    // A file with an error changes nothing.
    fs::write(&path, "user alice on +nosuch\nuser alice on\nnonsense\n").expect("writable");
    let Reply::Error(text) = conn.call(&["ACL", "LOAD"]) else { panic!("the file is wrong") };
    let text = String::from_utf8(text).expect("text");
    for part in ["+nosuch", "Duplicate user 'alice'", ":3 should start", "no change"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(conn.call(&["ACL", "USERS"]), Reply::Array(names.to_vec()));
    let mut failing = Server::launch_on(server.dir(), &["--aclfile", &file]);
    assert!(failing.has_ended(DEADLINE));
    assert!(failing.log().contains("Aborting Redis startup because of ACL errors"));
    let both = ["--aclfile", &file, "--user", "x", "on"];
    let mut failing = Server::launch_on(server.dir(), &both);
    assert!(failing.has_ended(DEADLINE), "{}", failing.log());
}

#[test]
fn users_of_the_configuration_are_there() {
    let server = Server::start(&[
        "--user", "alice", "on", "nopass", "+get", "~a", "--user", "bob", "(+get", "~b)",
    ]);
    let mut conn = server.connect();
    let alice = "user alice on nopass ~a resetchannels -@all +get";
    let bob = "user bob off resetchannels -@all (~b resetchannels -@all +get)";
    let default = "user default on nopass ~* &* +@all";
    let lines = [alice, bob, default].map(|line| Reply::Bulk(line.into()));
    assert_eq!(conn.call(&["ACL", "LIST"]), Reply::Array(lines.to_vec()));
    assert!(server.log().contains("The user 'bob' is disabled"), "{}", server.log());
    let twice = ["--user", "alice", "on", "--user", "alice", "off"];
    let mut failing = Server::launch_on(server.dir(), &twice);
    assert!(failing.has_ended(DEADLINE) && failing.log().contains("Duplicate user found"));
    let mut failing = Server::launch_on(server.dir(), &["--user", "alice", "+nosuch"]);
    assert!(failing.has_ended(DEADLINE) && failing.log().contains("Error loading ACL rule"));
}

#[test]
fn guesses_from_one_address_are_bounded_where_that_is_asked_for() {
    let server = Server::start(&["--requirepass", "secret", "--auth-failures-per-minute", "3"]);
    let mut conn = server.connect();
    let text = |reply| match reply {
        Reply::Error(text) => String::from_utf8(text).expect("text"),
        other => panic!("{other:?}"),
    };
    for _ in 0..3 {
        assert!(text(conn.call(&["AUTH", "wrong"])).starts_with("WRONGPASS invalid"));
    }
    let mut other = server.connect();
    assert!(text(other.call(&["AUTH", "secret"])).starts_with("WRONGPASS too many failed"));
    assert!(text(conn.call(&["PING"])).starts_with("NOAUTH"));
}

#[test]
fn secrets_of_users_are_not_shown() {
    let server = Server::start(&["--slowlog-log-slower-than", "0"]);
    let (mut conn, mut monitor) = (server.connect(), server.connect());
    assert_eq!(monitor.call(&["MONITOR"]), ok());
    conn.call(&["ACL", "SETUSER", "alice", "on", ">topsecret", "+@all"]);
    conn.call(&["AUTH", "alice", "topsecret"]);
    conn.call(&["AUTH", "alice", "topsecret2"]);
    conn.call(&["HELLO", "2", "AUTH", "alice", "topsecret"]);
    conn.call(&["ACL", "GETUSER", "alice"]);
    let slow = format!("{:?}", conn.call(&["SLOWLOG", "GET", "-1"]));
    let shown = |text: &str| {
        text.contains(&format!("{:?}", b"topsecret".to_vec()).trim_matches(['[', ']']).to_owned())
    };
    assert!(!shown(&slow), "{slow}");
    conn.call(&["ECHO", "end"]);
    let mut lines = Vec::new();
    while !format!("{:?}", lines.last())
        .contains(&format!("{:?}", b"ECHO".to_vec()).trim_matches(['[', ']']).to_owned())
    {
        lines.push(monitor.read().expect("a line"));
    }
    assert!(!shown(&format!("{lines:?}")), "{lines:?}");
}
