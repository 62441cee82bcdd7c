//! What is sent: requests prepared ahead, and the filling of the servers they are sent to.
//!
//! Requests are laid out once per round as one long buffer of equal batches, so that the client
//! only writes slices of it while the clock runs:
//!
//! ```text
//! | batch 0: P requests | batch 1 | ... |      every request: template + random numbers
//! ```
//!
//! Numbers have a fixed width, values hold only `x`. So every batch of a test has the same length,
//! every reply but an integer has a known length, and no good reply holds a `-`: one look for that
//! byte finds error replies and missing keys alike.

use anyhow::{Context, Result, bail, ensure};
use memchr::{memchr, memchr_iter, memmem};
use sha1::{Digest, Sha1};
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::servers::Server;
use crate::workloads::{
    Answer, CHANNEL, Count, DEFAULTS, DIGIT_REPLY, Data, Setting, WORKLOADS, Workload,
};

/// The largest keyspace: what the digits of a key can number.
pub(crate) const KEYS_MAX: u64 = 999_999_999_999;
/// A number before it is written; nothing else in a request looks like it.
const NUMBER: &[u8] = b"000000000000";
/// Prepared requests of one round: large against the processor's caches of keys, small to build.
const PREPARED_BYTES: usize = 16 << 20;
/// Batches prepared at least, however long they are.
const PREPARED_BATCHES_MIN: usize = 64;
/// Requests of a fill that are sent before their replies are read.
const FILL_PIPELINE: u64 = 1_000;

/// A test by reference to its row.
pub(crate) type Test = &'static Workload;

/// The tests that run when none are named.
pub(crate) fn default_tests() -> Vec<Test> {
    WORKLOADS.iter().take(DEFAULTS).collect()
}

/// A test by its name; the error text is for the command line.
pub(crate) fn test_of(name: &str) -> Result<Test, String> {
    let test = WORKLOADS.iter().find(|test| test.name == name);
    test.ok_or_else(|| {
        let names: Vec<&str> = WORKLOADS.iter().map(|test| test.name).collect();
        format!("not one of {}", names.join(", "))
    })
}

/// What servers hold: `keys` keys, numbered from 0, where the data has more than one.
#[derive(Clone, Copy)]
pub(crate) struct Dataset {
    pub(crate) keys: u64,
    /// Bytes of every value; `None` where the sizes asked for do not matter.
    pub(crate) value_len: Option<usize>,
    pub(crate) data: &'static Data,
}

impl Dataset {
    fn value(&self) -> Vec<u8> {
        vec![b'x'; self.value_len.unwrap_or(1)]
    }
}

/// What answers one request.
pub(crate) enum Reply {
    /// Always these bytes.
    Text(Vec<u8>),
    /// Always so many bytes.
    Bytes(usize),
    /// One line with some integer.
    Integer,
}

impl Reply {
    fn of(answer: Answer, value: &[u8]) -> Self {
        match answer {
            Answer::Ok => Self::Text(b"+OK\r\n".to_vec()),
            Answer::Value => Self::Text(bulk(value)),
            Answer::Integer => Self::Integer,
            Answer::LengthAndValue => Self::Bytes(DIGIT_REPLY + bulk(value).len()),
            Answer::Bytes(len) => Self::Bytes(len),
            Answer::Transaction(queued) => {
                let (each, all) = ("+QUEUED\r\n".repeat(queued), "+OK\r\n".repeat(queued));
                Self::Text(format!("+OK\r\n{each}*{queued}\r\n{all}").into_bytes())
            }
        }
    }

    /// What `requests` replies add up to in the unit of [`Reply::count`].
    fn owed(&self, requests: usize) -> usize {
        match self {
            Self::Text(text) => text.len() * requests,
            Self::Bytes(len) => len * requests,
            Self::Integer => requests,
        }
    }

    /// How much of the replies owed is in `received`, any part of the stream: bytes where their
    /// number is known, line ends for integers. An error reply or a missing key is an error.
    pub(crate) fn count(&self, received: &[u8]) -> Result<usize> {
        if let Some(at) = memchr(b'-', received) {
            let rest = &received[at.saturating_sub(1)..];
            let text = &rest[..rest.len().min(80)];
            bail!("error reply or missing key: {:?}", String::from_utf8_lossy(text));
        }
        Ok(match self {
            Self::Text(_) | Self::Bytes(_) => received.len(),
            Self::Integer => memchr_iter(b'\n', received).count(),
        })
    }
}

/// The requests of one round, cut into equal batches.
pub(crate) struct Batches {
    bytes: Vec<u8>,
    /// Bytes of one batch; divides the length of `bytes`.
    batch_len: usize,
    /// Requests in one batch.
    pub(crate) pipeline: usize,
    pub(crate) reply: Reply,
    /// Connections that listen to what the requests publish.
    pub(crate) subscribers: usize,
    /// Bytes that one request makes each of them receive.
    pub(crate) message_len: usize,
}

impl Batches {
    /// Lays out batches with keys drawn at random; equal seeds give equal requests.
    pub(crate) fn prepare(test: Test, dataset: &Dataset, pipeline: usize, seed: u64) -> Self {
        let value = dataset.value();
        let template = match test.setting {
            Setting::Script(text) => {
                let sha = format!("{:x}", Sha1::digest(text));
                let named = test.requests.iter().map(|request| request.replace("{sha}", &sha));
                Template::new(&named.collect::<Vec<_>>(), &value)
            }
            _ => Template::new(test.requests, &value),
        };
        let batch_len = template.bytes.len() * pipeline;
        let batches = (PREPARED_BYTES / batch_len).max(PREPARED_BATCHES_MIN);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = Vec::with_capacity(batches * batch_len);
        for _ in 0..batches * pipeline {
            template.append(&mut bytes, |number| match number {
                Number::Key => random.u64(..dataset.keys),
                Number::SameKey | Number::Member => random.u64(..test.members),
            });
        }
        let subscribers = match test.setting {
            Setting::Subscribers(count) => count,
            _ => 0,
        };
        let message_len = encode(&[b"message".as_slice(), CHANNEL.as_bytes(), &value]).len();
        let reply = Reply::of(test.answer, &value);
        Self { bytes, batch_len, pipeline, reply, subscribers, message_len }
    }

    /// The batch that follows after `index` others, starting over at the end.
    pub(crate) fn batch(&self, index: usize) -> &[u8] {
        let start = index % (self.bytes.len() / self.batch_len) * self.batch_len;
        &self.bytes[start..start + self.batch_len]
    }

    /// What one batch's replies add up to; see [`Reply::count`].
    pub(crate) fn owed(&self) -> usize {
        self.reply.owed(self.pipeline)
    }
}

/// What a number in a request is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    Key,
    Member,
    /// The key before it: a request takes from where the one before it added.
    SameKey,
}

/// Encoded requests and where their numbers stand.
struct Template {
    bytes: Vec<u8>,
    /// Offsets of the numbers, each as long as [`NUMBER`].
    numbers: Vec<(usize, Number)>,
}

impl Template {
    /// The requests as `workloads` writes them.
    fn new<R: AsRef<str>>(requests: &[R], value: &[u8]) -> Self {
        let (mut bytes, mut kinds) = (Vec::new(), Vec::new());
        for request in requests {
            let words = request.as_ref().split_whitespace();
            let args: Vec<Vec<u8>> = words.map(|word| argument(word, value, &mut kinds)).collect();
            bytes.extend(encode(&args.iter().map(Vec::as_slice).collect::<Vec<_>>()));
        }
        let numbers = memmem::find_iter(&bytes, NUMBER).zip(kinds).collect();
        Self { bytes, numbers }
    }

    /// Appends the requests to `out` with `next` called for every number.
    fn append(&self, out: &mut Vec<u8>, mut next: impl FnMut(Number) -> u64) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let mut key = 0;
        for &(at, kind) in &self.numbers {
            let mut number = if kind == Number::SameKey { key } else { next(kind) };
            key = if kind == Number::Key { number } else { key };
            for digit in out[start + at..start + at + NUMBER.len()].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
    }
}

/// A word of a request with the value filled in and zeros for the number, whose kind is noted.
fn argument(word: &str, value: &[u8], kinds: &mut Vec<Number>) -> Vec<u8> {
    if word == "{v}" {
        return value.to_vec();
    }
    for (mark, kind) in [("{k}", Number::Key), ("{s}", Number::SameKey), ("{m}", Number::Member)] {
        if let Some((before, after)) = word.split_once(mark) {
            kinds.push(kind);
            return [before.as_bytes(), NUMBER, after.as_bytes()].concat();
        }
    }
    word.as_bytes().to_vec()
}

/// A value as a bulk string.
fn bulk(value: &[u8]) -> Vec<u8> {
    let head = format!("${}\r\n", value.len());
    [head.as_bytes(), value, b"\r\n"].concat()
}

/// A request as an array of bulk strings.
pub(crate) fn encode(args: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Replaces what the server holds by the dataset.
///
/// It is written twice: the second pass carries an incremental rehash of the server's table to its
/// end, which would otherwise weigh on the first cells measured.
pub(crate) fn fill(server: &Server, dataset: &Dataset) -> Result<()> {
    server.expect(&["FLUSHALL", "SYNC"], "+OK")?;
    let mut stream = server.connect()?;
    write_all(&mut stream, dataset)?;
    write_all(&mut stream, dataset)
}

fn write_all(stream: &mut TcpStream, dataset: &Dataset) -> Result<()> {
    let template = Template::new(&[dataset.data.fill], &dataset.value());
    let (total, keys) = match dataset.data.count {
        Count::PerKey(times) => (times * dataset.keys, dataset.keys),
        Count::Once(total) => (total, 1),
    };
    let (mut sent, mut answered) = (0, 0);
    while sent < total {
        let batch = FILL_PIPELINE.min(total - sent);
        let mut bytes = Vec::new();
        for request in sent..sent + batch {
            template.append(&mut bytes, |number| match number {
                Number::Key | Number::SameKey => request % keys,
                Number::Member => request / keys,
            });
        }
        stream.write_all(&bytes)?;
        // One batch stays outstanding, so that neither side waits for the other.
        read_lines(stream, &mut answered, sent)?;
        sent += batch;
    }
    read_lines(stream, &mut answered, total)?;
    ensure!(answered == total, "{answered} replies to {total} requests");
    Ok(())
}

/// Reads until at least `wanted` replies of one line have come, none of them an error.
fn read_lines(stream: &mut TcpStream, answered: &mut u64, wanted: u64) -> Result<()> {
    let mut chunk = [0; 4096];
    while *answered < wanted {
        let n = stream.read(&mut chunk).context("reading replies")?;
        ensure!(n > 0, "connection closed after {answered} replies");
        *answered += Reply::Integer.count(&chunk[..n])? as u64;
    }
    Ok(())
}

/// Loads the script that the test calls.
pub(crate) fn prepare(server: &Server, test: Test) -> Result<()> {
    match test.setting {
        // The answer is the script's name; the requests of the check that follows use it.
        Setting::Script(text) => server.expect(&["SCRIPT", "LOAD", text], "$40"),
        _ => Ok(()),
    }
}

/// Sends one batch and checks every byte of its replies.
pub(crate) fn verify(server: &Server, batches: &Batches) -> Result<()> {
    let mut stream = server.connect()?;
    stream.write_all(batches.batch(0))?;
    match &batches.reply {
        Reply::Text(text) => expect_replies(&mut stream, &text.repeat(batches.pipeline)),
        Reply::Bytes(len) => expect_bytes(&mut stream, len * batches.pipeline),
        Reply::Integer => expect_integers(&mut stream, batches.pipeline),
    }
}

/// Reads that many bytes of replies, none of them an error or null.
fn expect_bytes(stream: &mut TcpStream, len: usize) -> Result<()> {
    let mut received = vec![0; len];
    stream.read_exact(&mut received).context("reading replies")?;
    Reply::Bytes(len).count(&received)?;
    Ok(())
}

fn expect_replies(stream: &mut TcpStream, expected: &[u8]) -> Result<()> {
    let mut received = vec![0; expected.len()];
    let mut have = 0;
    while have < expected.len() {
        let n = stream.read(&mut received[have..]).context("reading replies")?;
        ensure!(n > 0, "connection closed after {have} bytes of replies");
        have += n;
        if received[..have] != expected[..have] {
            let text = String::from_utf8_lossy(&received[..have.min(120)]);
            bail!("unexpected replies: {text:?}");
        }
    }
    Ok(())
}

fn expect_integers(stream: &mut TcpStream, count: usize) -> Result<()> {
    let mut received = Vec::new();
    let mut chunk = [0; 4096];
    while memchr_iter(b'\n', &received).count() < count {
        let n = stream.read(&mut chunk).context("reading replies")?;
        ensure!(n > 0, "connection closed after {} bytes of replies", received.len());
        received.extend_from_slice(&chunk[..n]);
    }
    let text = String::from_utf8_lossy(&received);
    let integers = text.split_terminator("\r\n").map(|line| line.strip_prefix(':'));
    let good = integers.filter(|n| n.is_some_and(|n| n.parse::<u64>().is_ok())).count();
    let lines = text.matches('\n').count();
    ensure!(good == count && lines == count, "unexpected replies: {text:?}");
    Ok(())
}
