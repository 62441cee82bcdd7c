//! The decoding threads, each with its share of the shards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use super::{Decoder, Dialect, EditContext, Mutex, Options, Restored, Summary};
use crate::keyspace::{Entry, Keyspace};
use crate::persist::rdb::Usage;
use crate::persist::rdb::error::RdbError;
use crate::persist::rdb::read::{Scratch, Slice, Source};
use crate::value::stream::Idempotence;

/// Keys with empty collections that are logged one by one.
const EMPTY_LOGGED_MAX: u64 = 10;

/// How many records ahead memory is asked for.
const AHEAD: usize = 8;

/// What the marks before a key say about it.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) db: u32,
    pub(super) deadline: Option<i64>,
    pub(super) usage: Usage,
    /// What producers may send again, if it is a stream.
    pub(super) messages: Option<Box<Idempotence>>,
}

/// A key and its value in a window.
pub(super) struct Record {
    /// Where in the window its kind is.
    pub(super) at: usize,
    pub(super) hash: u64,
    pub(super) pending: Pending,
}

/// Records of one worker's shards.
pub(super) struct Work {
    pub(super) window: Arc<Vec<u8>>,
    /// The offset of the window in the file.
    pub(super) base: u64,
    pub(super) records: Vec<Record>,
}

/// What all threads use.
pub(super) struct Shared<'a> {
    pub(super) keyspace: &'a Keyspace,
    pub(super) options: &'a Options,
    pub(super) decoder: Decoder<'a>,
    keys: AtomicU64,
    expired: AtomicU64,
    empty: AtomicU64,
    failed: AtomicBool,
    error: Mutex<Option<RdbError>>,
}

impl<'a> Shared<'a> {
    pub(super) fn new(keyspace: &'a Keyspace, options: &'a Options, dialect: Dialect) -> Self {
        let (limits, hasher) = (keyspace.limits(), keyspace.hasher());
        let context = EditContext { limits, hasher, now_ms: options.now_ms };
        Self {
            keyspace,
            options,
            decoder: Decoder { context, dialect, drops_fields: options.drops_expired },
            keys: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            empty: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            error: Mutex::new(None),
        }
    }

    /// Whether some worker has given up.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether the key is to be left out.
    pub(super) fn is_expired(&self, pending: &Pending) -> bool {
        let Options { drops_expired, now_ms, .. } = *self.options;
        drops_expired && pending.deadline.is_some_and(|at_ms| at_ms < now_ms)
    }

    /// Stores a decoded value under its key, unless there is nothing to store.
    pub(super) fn store(
        &self,
        key: &[u8],
        hash: u64,
        pending: Pending,
        value: Result<Restored<'_>, RdbError>,
    ) -> Result<(), RdbError> {
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let mut value = match value {
            Ok(value) if !self.is_expired(&pending) => value,
            Ok(_) | Err(RdbError::Expired) => {
                count(&self.expired);
                return Ok(());
            }
            Err(RdbError::Empty) => {
                if count(&self.empty) < EMPTY_LOGGED_MAX {
                    tracing::info!("rdbLoadObject skipping empty key: {}", key.escape_ascii());
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if let Some(known) = pending.messages {
            value.remember(known);
        }
        let Usage { idle_seconds, frequency } = pending.usage;
        let policy = self.keyspace.policy_of(pending.db as usize);
        let access = policy.recalled(idle_seconds, frequency, self.options.now_ms);
        let entry = Entry::new(key, value.as_new_value(), pending.deadline, access);
        let db = pending.db as usize;
        if !self.keyspace.load_entry(db, hash, entry, self.options.replaces) {
            return Err(RdbError::Duplicate { key: key.to_vec(), db });
        }
        count(&self.keys);
        Ok(())
    }

    /// The summary of all threads, or the first error of any.
    pub(super) fn outcome(self, read: Result<Summary, RdbError>) -> Result<Summary, RdbError> {
        match (self.error.into_inner(), read) {
            (Some(error), _) | (None, Err(error)) => Err(error),
            (None, Ok(summary)) => Ok(Summary {
                keys: self.keys.into_inner(),
                empty: self.empty.into_inner(),
                expired: summary.expired + self.expired.into_inner(),
                ..summary
            }),
        }
    }
}

/// A decoding thread.
pub(super) struct Worker<'a> {
    shared: &'a Shared<'a>,
    key: Scratch,
    value: Scratch,
}

impl<'a> Worker<'a> {
    pub(super) fn new(shared: &'a Shared<'a>) -> Self {
        Self { shared, key: Scratch::default(), value: Scratch::default() }
    }

    /// Works until there is no more to do or something is wrong.
    pub(super) fn run(mut self, works: &Receiver<Work>) {
        for work in works {
            if let Err(error) = self.work(work) {
                let mut first = self.shared.error.lock();
                let is_lower = first.as_ref().is_none_or(|other| error.offset() < other.offset());
                if is_lower {
                    *first = Some(error);
                }
                self.shared.failed.store(true, Ordering::Relaxed);
                return;
            }
        }
    }

    fn work(&mut self, work: Work) -> Result<(), RdbError> {
        let Work { window, base, mut records } = work;
        for n in 0..records.len() {
            if let Some(Record { hash, pending, .. }) = records.get(n + AHEAD) {
                self.shared.keyspace.prefetch_bucket(pending.db as usize, *hash);
            }
            let record = &mut records[n];
            let pending = std::mem::take(&mut record.pending);
            let mut source = Slice::new(&window[record.at..], base + record.at as u64);
            let kind = source.byte("type")?;
            let mut key = source.clone();
            source.skip_text("key")?;
            let value = self.shared.decoder.value(kind, &mut source, &mut self.value);
            let key = key.bytes(&mut self.key, "key")?;
            self.shared.store(key, record.hash, pending, value)?;
        }
        Ok(())
    }
}
