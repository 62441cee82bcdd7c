//! Loading a whole file, on all cores.
//!
//! ```text
//! reading thread   window of the file: marks, keys, where each value ends
//!                  └─ records by shard, with the window ──▶ workers: decode, insert
//! ```
//!
//! One thread reads the file through a window, follows the marks, and passes over the values without
//! decoding them. Each worker has its share of the shards: for every window it gets the records whose
//! keys are in them. A value longer than the window is decoded by the reading thread itself.
//!
//! Must not know what libraries are, they go to a closure, nor what a loaded keyspace is for. Keeps:
//! windows under way are bounded; nothing behind the end of the file's data is read for meaning; what
//! fails is reported with the lowest offset known, and what was loaded until then stays.

mod facts;
mod reader;
#[cfg(test)]
mod tests;
mod worker;

use std::io::Read;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use parking_lot::Mutex;

use super::decode::{Decoder, Dialect, Restored};
use super::error::RdbError;
use super::feed::Feed;
use super::mark::{self, Header};
use super::read::Source;
use crate::keyspace::Keyspace;
use crate::value::EditContext;
pub use facts::Facts;
use reader::Reader;
use worker::{Shared, Worker};

/// Bytes of a file that are looked at together.
const WINDOW_LEN: usize = 2 * 1024 * 1024;

/// Windows that wait for a worker.
const QUEUE_LEN: usize = 2;

/// How a file is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The time, in Unix milliseconds.
    pub now_ms: i64,
    /// Whether keys that have expired are left out: they are by a primary, unless the log of writes
    /// goes on after the file.
    pub drops_expired: bool,
    /// Whether the checksum is compared (`rdbchecksum`).
    pub checksum: bool,
    /// Whether keys that are there already are replaced; if not, they are an error.
    pub replaces: bool,
    /// How many threads decode.
    pub threads: usize,
    /// Bytes of the window; 0 for the usual number.
    pub window_len: usize,
}

impl Options {
    /// The way a primary loads its file at the start.
    pub fn new(now_ms: i64, threads: usize) -> Self {
        Self {
            now_ms,
            drops_expired: true,
            checksum: true,
            replaces: false,
            threads,
            window_len: 0,
        }
    }
}

/// What loading tells while it goes on.
pub struct Hooks<'a> {
    /// How many bytes of the file were read.
    pub progress: &'a AtomicU64,
    /// How long to wait after each key, in microseconds, for tests (`key-load-delay`).
    pub key_delay_us: &'a AtomicI64,
    /// Takes the source of a function library; the error is why it is refused.
    pub function: &'a mut dyn FnMut(Vec<u8>) -> Result<(), String>,
}

impl Hooks<'_> {
    /// Waits where tests want it slow.
    #[expect(clippy::disallowed_methods, reason = "the delay that tests ask for is slept through")]
    fn wait(&self) {
        let us = u64::try_from(self.key_delay_us.load(Ordering::Relaxed)).unwrap_or(0);
        if us > 0 {
            std::thread::sleep(Duration::from_micros(us));
        }
    }
}

/// What was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Keys that are in the keyspace now.
    pub keys: u64,
    /// Keys that were left out because they, or all of their fields, had expired.
    pub expired: u64,
    /// Keys that were left out because they had no elements.
    pub empty: u64,
    /// Function libraries.
    pub functions: u64,
    /// The version of the file.
    pub version: u32,
    /// What the file says about itself.
    pub facts: Facts,
    /// How many bytes of the input belong to the file: an append-only file goes on there.
    pub len: u64,
    /// Bytes behind those that were read already.
    pub rest: Vec<u8>,
}

/// Loads a file into `keyspace`.
pub fn load(
    input: impl Read,
    keyspace: &Keyspace,
    options: &Options,
    hooks: &mut Hooks<'_>,
) -> Result<Summary, RdbError> {
    let window_len = if options.window_len == 0 { WINDOW_LEN } else { options.window_len };
    let mut feed = Feed::new(input, window_len, hooks.progress);
    if !options.checksum {
        feed.ignore_checksum();
    }
    let header = mark::header(&mut feed)?;
    let shared = Shared::new(keyspace, options, header.dialect);
    let count = options.threads.max(1);
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..count).map(|_| sync_channel(QUEUE_LEN)).unzip();
    let result = std::thread::scope(|scope| {
        for receiver in receivers {
            let shared = &shared;
            scope.spawn(move || Worker::new(shared).run(&receiver));
        }
        Reader::new(&shared, senders, header).run(&mut feed, hooks)
    });
    let mut summary = shared.outcome(result)?;
    summary.version = header.version;
    finish(&mut feed, header, options)?;
    summary.len = feed.at();
    summary.rest = feed.rest().to_vec();
    summary.log();
    Ok(summary)
}

/// Reads what follows the end, and compares the checksum.
fn finish<R: Read>(
    feed: &mut Feed<'_, R>,
    header: Header,
    options: &Options,
) -> Result<(), RdbError> {
    if !header.has_checksum() {
        return Ok(());
    }
    let expected = feed.checksum();
    let found = u64::from_le_bytes(feed.array("checksum")?);
    match expected {
        Some(_) if found == 0 && options.checksum => {
            tracing::info!("RDB file was saved with checksum disabled: no check performed.");
            Ok(())
        }
        Some(expected) if expected != found => {
            tracing::warn!(
                "Wrong RDB checksum expected: ({expected:x}) but got ({found:x}). Aborting now."
            );
            Err(RdbError::Checksum { expected, found })
        }
        _ => Ok(()),
    }
}

impl Summary {
    fn log(&self) {
        let Self { keys, expired, empty, .. } = self;
        let skipped = match empty {
            0 => String::new(),
            _ => format!(", empty keys skipped: {empty}"),
        };
        tracing::info!("Done loading RDB, keys loaded: {keys}, keys expired: {expired}{skipped}.");
    }
}
