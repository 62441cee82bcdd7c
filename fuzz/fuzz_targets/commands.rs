//! Commands through the executor: any arguments get one reply each, and the string commands do what
//! a `HashMap` of byte strings does.

#![no_main]

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use redstart::command::CommandTable;
use redstart::config::Config;
use redstart::exec::{Batch, Executor, Stop};
use redstart::resp::{ParseLimits, ReplyBuf, RequestParser};
use redstart::server::{Client, ClientHandle, Peer, Server, WaitEnd};

const KEYS: &[&[u8]] = &[b"a", b"b", b"c", b"{a}d"];

/// They end the process, stop the client, change what the model rests on, or take seconds.
const LEFT_OUT: &[&str] =
    &["shutdown", "debug", "client", "config", "quit", "auth", "hello", "pfselftest"];

#[derive(Arbitrary, Debug)]
enum Op {
    Set(u8, Vec<u8>),
    SetNumber(u8, i64),
    Get(u8),
    Append(u8, Vec<u8>),
    IncrBy(u8, i64),
    Del(u8, u8),
    StrLen(u8),
    SetRange(u8, u8, Vec<u8>),
    GetRange(u8, i16, i16),
    Rename(u8, u8),
}

#[derive(Arbitrary, Debug)]
struct Input {
    /// The number of a command and its arguments.
    any: Vec<(u8, Vec<Word>)>,
    ops: Vec<Op>,
}

#[derive(Arbitrary, Debug)]
enum Word {
    Key(u8),
    Number(i64),
    Option(u8),
    Any(Vec<u8>),
}

impl Word {
    fn bytes(self) -> Vec<u8> {
        const OPTIONS: &[&str] = &[
            "NX", "XX", "GT", "LT", "EX", "PX", "EXAT", "PXAT", "KEEPTTL", "PERSIST", "GET", "IFEQ",
            "IFNE", "IFDEQ", "IFDNE", "MATCH", "COUNT", "TYPE", "REPLACE", "DB", "LEN", "IDX",
            "MINMATCHLEN", "WITHMATCHLEN", "BY", "ASYNC", "SYNC", "*", "0", "-1", "string",
        ];
        match self {
            Word::Key(key) => KEYS[usize::from(key) % KEYS.len()].to_vec(),
            // Large ones would set up strings of half a gigabyte.
            Word::Number(number) => (number % 100_000).to_string().into_bytes(),
            Word::Option(option) => OPTIONS[usize::from(option) % OPTIONS.len()].into(),
            Word::Any(bytes) => bytes,
        }
    }
}

/// A server, one event loop and one client.
struct Bench {
    executor: Executor,
    client: Client,
    names: Vec<String>,
}

impl Bench {
    fn new() -> Bench {
        let commands = Arc::new(CommandTable::new(&[]).expect("no renames"));
        let server = Server::new(Config::new(), 1, CommandTable::catalog(), None);
        let here: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        let handle = ClientHandle::new(1, 0, Peer::Tcp(here, here), 0, 0, 0);
        let names = commands.iter().map(|command| command.name.clone());
        let names = names.filter(|name| !LEFT_OUT.contains(&name.as_str())).collect();
        let executor = Executor::new(server, commands, 0);
        Bench { executor, client: Client::new(Arc::new(handle)), names }
    }

    fn call(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            request.extend(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend(b"\r\n");
        }
        let (mut parser, mut batch) = (RequestParser::default(), Batch::default());
        let limits = ParseLimits { bulk_max: 512 << 20, unauthenticated: false };
        batch.fill(&mut parser, &request, limits).expect("a well-formed request");
        let mut out = ReplyBuf::default();
        let progress = self.executor.run(&request, &batch, 0, &mut self.client, &mut out);
        assert_eq!(progress.ran, 1);
        match progress.stop {
            None => {}
            Some(Stop::Work(mut job)) => {
                while !self.executor.work(&mut *job, &mut self.client, &mut out) {}
            }
            Some(Stop::Blocked(waiter)) => {
                assert!(waiter.time_out(), "nobody else is there to serve it");
                let end = WaitEnd::TimedOut;
                self.executor.end_wait(&waiter, end, &mut self.client, &mut out);
            }
            Some(stop) => panic!("{stop:?} of a command that is not left out"),
        }
        out.to_vec()
    }
}

/// What is left after one reply.
fn skip_reply(bytes: &[u8]) -> &[u8] {
    let end = bytes.windows(2).position(|two| two == b"\r\n").expect("a line ends");
    let (line, rest) = (&bytes[..end], &bytes[end + 2..]);
    let number = || -> i64 {
        let text = std::str::from_utf8(&line[1..]).expect("a number is text");
        text.parse().expect("a length is a number")
    };
    match line[0] {
        b'+' | b'-' => rest,
        b':' => {
            number();
            rest
        }
        b'$' if number() < 0 => rest,
        b'$' => {
            let len = number() as usize;
            assert_eq!(&rest[len..len + 2], b"\r\n");
            &rest[len + 2..]
        }
        b'*' => (0..number()).fold(rest, |rest, _| skip_reply(rest)),
        other => panic!("{:?} starts no reply", char::from(other)),
    }
}

type Model = HashMap<&'static [u8], Vec<u8>>;

fn bulk(value: Option<&[u8]>) -> Vec<u8> {
    let Some(value) = value else { return b"$-1\r\n".to_vec() };
    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}

fn integer(number: i64) -> Vec<u8> {
    format!(":{number}\r\n").into_bytes()
}

/// GETRANGE as Redis documents it.
fn range(value: &[u8], start: i64, end: i64) -> Vec<u8> {
    let len = value.len() as i64;
    if start < 0 && end < 0 && start > end {
        return Vec::new();
    }
    let from_end = |at: i64| if at < 0 { (len + at).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if start > end || len == 0 {
        return Vec::new();
    }
    value[start as usize..=end as usize].to_vec()
}

/// The integer that a value spells exactly.
fn number(value: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == value).then_some(number)
}

fn apply(bench: &mut Bench, model: &mut Model, op: Op) {
    let key = |key: u8| KEYS[usize::from(key) % KEYS.len()];
    let text = |number: i64| number.to_string().into_bytes();
    match op {
        Op::Set(k, value) => {
            assert_eq!(bench.call(&[b"SET", key(k), &value]), b"+OK\r\n");
            model.insert(key(k), value);
        }
        Op::SetNumber(k, value) => {
            assert_eq!(bench.call(&[b"SET", key(k), &text(value)]), b"+OK\r\n");
            model.insert(key(k), text(value));
        }
        Op::Get(k) => {
            let expected = bulk(model.get(key(k)).map(Vec::as_slice));
            assert_eq!(bench.call(&[b"GET", key(k)]), expected);
        }
        Op::Append(k, value) => {
            let all = model.entry(key(k)).or_default();
            all.extend_from_slice(&value);
            assert_eq!(bench.call(&[b"APPEND", key(k), &value]), integer(all.len() as i64));
        }
        Op::IncrBy(k, by) => {
            let reply = bench.call(&[b"INCRBY", key(k), &text(by)]);
            let before = model.get(key(k)).map_or(Some(0), |value| number(value));
            match before.and_then(|before| before.checked_add(by)) {
                Some(sum) => {
                    assert_eq!(reply, integer(sum));
                    model.insert(key(k), text(sum));
                }
                None => assert!(reply.starts_with(b"-ERR "), "{:?}", String::from_utf8_lossy(&reply)),
            }
        }
        Op::Del(one, other) => {
            let gone = [key(one), key(other)].map(|key| model.remove(key).is_some());
            let count = gone.iter().filter(|gone| **gone).count() as i64;
            assert_eq!(bench.call(&[b"DEL", key(one), key(other)]), integer(count));
        }
        Op::StrLen(k) => {
            let len = model.get(key(k)).map_or(0, Vec::len) as i64;
            assert_eq!(bench.call(&[b"STRLEN", key(k)]), integer(len));
        }
        Op::SetRange(k, offset, value) => {
            let mut all = model.get(key(k)).cloned().unwrap_or_default();
            if !value.is_empty() {
                let end = usize::from(offset) + value.len();
                all.resize(all.len().max(end), 0);
                all[usize::from(offset)..end].copy_from_slice(&value);
                model.insert(key(k), all.clone());
            }
            let reply = bench.call(&[b"SETRANGE", key(k), &text(offset.into()), &value]);
            assert_eq!(reply, integer(all.len() as i64));
        }
        Op::GetRange(k, start, end) => {
            let (start, end) = (start.into(), end.into());
            let reply = bench.call(&[b"GETRANGE", key(k), &text(start), &text(end)]);
            let value = model.get(key(k)).map_or(&[][..], Vec::as_slice);
            assert_eq!(reply, bulk(Some(&range(value, start, end))));
        }
        Op::Rename(from, to) => {
            let reply = bench.call(&[b"RENAME", key(from), key(to)]);
            match model.remove(key(from)) {
                Some(value) => {
                    assert_eq!(reply, b"+OK\r\n");
                    model.insert(key(to), value);
                }
                None => assert_eq!(reply, b"-ERR no such key\r\n"),
            }
        }
    }
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new());
}

fuzz_target!(|input: Input| {
    BENCH.with_borrow_mut(|bench| {
        for (command, words) in input.any {
            let name = bench.names[usize::from(command) % bench.names.len()].clone();
            let words: Vec<Vec<u8>> = words.into_iter().map(Word::bytes).collect();
            let mut args = vec![name.as_bytes()];
            args.extend(words.iter().map(Vec::as_slice));
            let reply = bench.call(&args);
            assert!(skip_reply(&reply).is_empty(), "{:?}", String::from_utf8_lossy(&reply));
        }
        assert_eq!(bench.call(&[b"SELECT", b"0"]), b"+OK\r\n");
        assert_eq!(bench.call(&[b"FLUSHALL"]), b"+OK\r\n");
        let mut model = Model::new();
        for op in input.ops {
            apply(bench, &mut model, op);
        }
        assert_eq!(bench.call(&[b"DBSIZE"]), integer(model.len() as i64));
    });
});
