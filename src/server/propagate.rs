//! The stream of writes: the only door to the append-only file and to replicas.
//!
//! A command's effects are appended while its shards are still locked, so the order of the stream is
//! an order in which the keyspace really changed. As long as nobody reads the stream, the cost is one
//! relaxed load per command.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::RwLock;

use crate::persist::aof::writer::Writer;
use crate::persist::log::{self, Logged, WriteLog};
use crate::persist::unit::Unit;

/// The stream.
#[derive(Default)]
pub struct Propagation {
    wanted: AtomicBool,
    log: Arc<WriteLog>,
    writer: RwLock<Option<Arc<Writer>>>,
    /// Up to where nobody has to wait for the writer.
    committed: AtomicU64,
    /// How long event loops have waited for the writer, in microseconds.
    waited_us: AtomicU64,
}

impl Propagation {
    /// Whether anybody reads the stream.
    #[inline]
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// The log that the stream is.
    pub fn log(&self) -> &Arc<WriteLog> {
        &self.log
    }

    /// Appends what a request did, whose shards are still locked.
    pub fn append(&self, unit: &Unit) {
        self.log.append(unit);
    }

    /// Ends the stream: nothing is appended any more. Every shard is locked.
    pub fn stop(&self) {
        self.wanted.store(false, Ordering::Relaxed);
    }

    /// Lets `writer` read the stream from now on, for which every shard is locked once commands run;
    /// or nobody, after [`Self::stop`].
    pub fn set_writer(&self, writer: Option<Arc<Writer>>) {
        self.wanted.store(writer.is_some(), Ordering::Relaxed);
        if writer.is_none() {
            // Nobody has to wait for what nobody writes.
            self.committed.fetch_max(self.log.end(), Ordering::Relaxed);
        }
        *self.writer.write() = writer;
    }

    /// Who writes the stream to files.
    pub fn writer(&self) -> Option<Arc<Writer>> {
        self.writer.read().clone()
    }

    /// Waits until all that was appended is as safe as `appendfsync` promises; before any reply goes
    /// out. Returns the writer if there was something to wait for.
    #[inline]
    pub fn commit(&self) -> Option<Arc<Writer>> {
        let end = self.log.end();
        if self.committed.load(Ordering::Relaxed) >= end { None } else { self.commit_to(end) }
    }

    #[cold]
    fn commit_to(&self, end: u64) -> Option<Arc<Writer>> {
        let (writer, begun) = (self.writer()?, Instant::now());
        writer.commit(end);
        let us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited_us.fetch_add(us, Ordering::Relaxed);
        self.committed.fetch_max(end, Ordering::Relaxed);
        Some(writer)
    }

    /// How long the event loops have waited for the append-only file, in microseconds.
    pub fn waited_us(&self) -> u64 {
        self.waited_us.load(Ordering::Relaxed)
    }

    /// Back to zero (CONFIG RESETSTAT).
    pub fn reset_stats(&self) {
        self.waited_us.store(0, Ordering::Relaxed);
    }

    /// Starts collecting the stream in memory, for tests.
    pub fn capture(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Takes what was collected, for tests.
    ///
    /// # Panics
    ///
    /// If the stream makes no sense.
    pub fn take(&self) -> Vec<Logged> {
        let mut bytes = Vec::new();
        self.log.take(&mut bytes);
        self.log.cut();
        log::parse(&bytes).expect("a log is a row of commands")
    }
}
