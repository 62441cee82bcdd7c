//! What is sent: tests, the keyspace they run on, and their requests prepared ahead.
//!
//! Requests are laid out once per round as one long buffer of equal batches, so that the client
//! only writes slices of it while the clock runs:
//!
//! ```text
//! | batch 0: P requests | batch 1 | ... |      every request: template + random keys
//! ```
//!
//! Keys have a fixed width, values hold only `x`. So every batch of a test has the same length,
//! every reply but INCR's is known in advance, and no good reply holds a `-`: one look for that
//! byte finds error replies and missing keys alike.

use anyhow::{Context, Result, bail, ensure};
use memchr::{memchr, memchr_iter, memmem};
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::servers::Server;

/// The largest keyspace: what the digits of a key can number.
pub(crate) const KEYS_MAX: u64 = 999_999_999_999;
/// A key before its number is written into it.
const KEY: &[u8] = b"key:000000000000";
/// The part of [`KEY`] that is overwritten; nothing else in a request looks like it.
const NUMBER: &[u8] = b"000000000000";
/// Prepared requests of one round: large against the processor's caches of keys, small to build.
const PREPARED_BYTES: usize = 16 << 20;
/// Batches prepared at least, however long they are.
const PREPARED_BATCHES_MIN: usize = 64;
/// Keys in one MSET of the test.
const MSET_KEYS: usize = 10;
/// Keys in one MSET while filling, and MSETs sent before their replies are read.
const FILL_KEYS: u64 = 100;
const FILL_PIPELINE: u64 = 10;

/// A command under load.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Test {
    Get,
    Set,
    Incr,
    Mset,
}

impl Test {
    pub(crate) const ALL: [Self; 4] = [Self::Get, Self::Set, Self::Incr, Self::Mset];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Incr => "incr",
            Self::Mset => "mset",
        }
    }

    /// A test by its name; the error text is for the command line.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let test = Self::ALL.into_iter().find(|test| test.name() == name);
        test.ok_or_else(|| "not one of get, set, incr, mset".to_owned())
    }

    fn template(self, value: &[u8]) -> Template {
        match self {
            Self::Get => Template::new(&[b"GET", KEY]),
            Self::Set => Template::new(&[b"SET", KEY, value]),
            Self::Incr => Template::new(&[b"INCR", KEY]),
            Self::Mset => Template::mset(MSET_KEYS, value),
        }
    }

    fn reply(self, value: &[u8]) -> Reply {
        match self {
            Self::Get => {
                let mut text = format!("${}\r\n", value.len()).into_bytes();
                text.extend_from_slice(value);
                text.extend_from_slice(b"\r\n");
                Reply::Text(text)
            }
            Self::Set | Self::Mset => Reply::Text(b"+OK\r\n".to_vec()),
            Self::Incr => Reply::Integer,
        }
    }
}

/// A keyspace: keys 0 to `keys`, all present, with equal values.
#[derive(Clone, Copy)]
pub(crate) struct Dataset {
    pub(crate) keys: u64,
    /// Bytes of every value; `None` for counters that start at zero.
    pub(crate) value_len: Option<usize>,
}

impl Dataset {
    fn value(&self) -> Vec<u8> {
        self.value_len.map_or_else(|| b"0".to_vec(), |len| vec![b'x'; len])
    }
}

/// What answers one request.
pub(crate) enum Reply {
    /// Always these bytes.
    Text(Vec<u8>),
    /// One line with some integer.
    Integer,
}

impl Reply {
    /// What `requests` replies add up to in the unit of [`Reply::count`].
    fn owed(&self, requests: usize) -> usize {
        match self {
            Self::Text(text) => text.len() * requests,
            Self::Integer => requests,
        }
    }

    /// How much of the replies owed is in `received`, any part of the stream: bytes for a known
    /// text, line ends for integers. An error reply or a missing key is an error.
    pub(crate) fn count(&self, received: &[u8]) -> Result<usize> {
        if let Some(at) = memchr(b'-', received) {
            let rest = &received[at.saturating_sub(1)..];
            let text = &rest[..rest.len().min(80)];
            bail!("error reply or missing key: {:?}", String::from_utf8_lossy(text));
        }
        Ok(match self {
            Self::Text(_) => received.len(),
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
}

impl Batches {
    /// Lays out batches with keys drawn at random; equal seeds give equal requests.
    pub(crate) fn prepare(test: Test, dataset: &Dataset, pipeline: usize, seed: u64) -> Self {
        let value = dataset.value();
        let template = test.template(&value);
        let batch_len = template.bytes.len() * pipeline;
        let batches = (PREPARED_BYTES / batch_len).max(PREPARED_BATCHES_MIN);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = Vec::with_capacity(batches * batch_len);
        for _ in 0..batches * pipeline {
            template.append(&mut bytes, || random.u64(..dataset.keys));
        }
        Self { bytes, batch_len, pipeline, reply: test.reply(&value) }
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

/// One encoded request and where the numbers of its keys stand.
struct Template {
    bytes: Vec<u8>,
    /// Offsets of the numbers, each as long as [`NUMBER`].
    numbers: Vec<usize>,
}

impl Template {
    fn new(args: &[&[u8]]) -> Self {
        let bytes = encode(args);
        let numbers = memmem::find_iter(&bytes, NUMBER).collect();
        Self { bytes, numbers }
    }

    fn mset(keys: usize, value: &[u8]) -> Self {
        let mut args: Vec<&[u8]> = vec![b"MSET"];
        for _ in 0..keys {
            args.extend([KEY, value]);
        }
        Self::new(&args)
    }

    /// Appends the request to `out` with `next_key` called for every key.
    fn append(&self, out: &mut Vec<u8>, mut next_key: impl FnMut() -> u64) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        for &at in &self.numbers {
            let mut key = next_key();
            for digit in out[start + at..start + at + NUMBER.len()].iter_mut().rev() {
                *digit = b'0' + (key % 10) as u8;
                key /= 10;
            }
        }
    }
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
/// Every key is written twice: the second pass carries an incremental rehash of the server's table
/// to its end, which would otherwise weigh on the first cells measured.
pub(crate) fn fill(server: &Server, dataset: &Dataset) -> Result<()> {
    server.expect(&["FLUSHALL", "SYNC"], "+OK")?;
    let mut stream = server.connect()?;
    write_all_keys(&mut stream, dataset)?;
    write_all_keys(&mut stream, dataset)
}

fn write_all_keys(stream: &mut TcpStream, dataset: &Dataset) -> Result<()> {
    let value = dataset.value();
    let request = Template::mset(FILL_KEYS as usize, &value);
    // The last request may reach beyond the end: it starts over at key 0.
    let requests = dataset.keys.div_ceil(FILL_KEYS);
    let mut keys = (0..dataset.keys).cycle();
    let mut next_key = || keys.next().expect("a cycle over at least one key never ends");
    let (mut sent, mut unread) = (0, 0);
    while sent < requests || unread > 0 {
        let batch = FILL_PIPELINE.min(requests - sent);
        let mut bytes = Vec::new();
        for _ in 0..batch {
            request.append(&mut bytes, &mut next_key);
        }
        stream.write_all(&bytes)?;
        // One batch stays outstanding, so that neither side waits for the other.
        expect_replies(stream, &b"+OK\r\n".repeat(unread as usize))?;
        (sent, unread) = (sent + batch, batch);
    }
    Ok(())
}

/// Sends one batch and checks every byte of its replies.
pub(crate) fn verify(server: &Server, batches: &Batches) -> Result<()> {
    let mut stream = server.connect()?;
    stream.write_all(batches.batch(0))?;
    match &batches.reply {
        Reply::Text(text) => expect_replies(&mut stream, &text.repeat(batches.pipeline)),
        Reply::Integer => expect_integers(&mut stream, batches.pipeline),
    }
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
