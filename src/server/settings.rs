//! The directives that hot paths read, each as one atomic.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::keyspace::EventClasses;
use crate::persist::rdb::Formats;

/// Bounds of one class of clients' output, in bytes and seconds; 0 is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutputBound {
    /// At once.
    pub hard: usize,
    /// For at most `soft_seconds`.
    pub soft: usize,
    /// How long the soft bound may be exceeded.
    pub soft_seconds: i64,
}

/// The settings; [`super::Server::reconfigure_all`] fills them.
#[derive(Default)]
pub struct Settings {
    /// `proto-max-bulk-len`.
    pub bulk_max: AtomicI64,
    /// `client-query-buffer-limit`.
    pub query_max: AtomicUsize,
    /// `maxclients`.
    pub clients_max: AtomicUsize,
    /// `timeout`, in seconds.
    pub idle_seconds: AtomicI64,
    /// `key-load-delay`, in microseconds.
    pub load_delay_us: AtomicI64,
    /// `tcp-keepalive`, in seconds.
    pub keepalive_seconds: AtomicI64,
    /// `lazyfree-lazy-eviction`.
    pub lazy_eviction: AtomicBool,
    /// `latency-tracking`.
    pub latency_tracking: AtomicBool,
    /// `debug set-skip-checksum-validation`: whether checksums of payloads are not looked at.
    pub skip_checksums: AtomicBool,
    formats: RwLock<Formats>,
    busy_ms: AtomicU64,
    events: AtomicU32,
    /// Of normal clients, and of those that listen to channels.
    output: RwLock<[OutputBound; 2]>,
}

impl Settings {
    /// The bounds of a client's output; `subscriber` says whether it listens to channels.
    pub fn output(&self, subscriber: bool) -> OutputBound {
        self.output.read()[usize::from(subscriber)]
    }

    pub(super) fn set_output(&self, normal: OutputBound, subscriber: OutputBound) {
        *self.output.write() = [normal, subscriber];
    }

    /// The formats in which values leave the server.
    pub fn formats(&self) -> Formats {
        *self.formats.read()
    }

    pub(super) fn set_formats(&self, formats: Formats) {
        *self.formats.write() = formats;
    }

    /// `busy-reply-threshold`, in milliseconds; 0 is never.
    pub fn busy_ms(&self) -> u64 {
        self.busy_ms.load(Ordering::Relaxed)
    }

    pub(super) fn set_busy_ms(&self, millis: u64) {
        self.busy_ms.store(millis, Ordering::Relaxed);
    }

    /// The keyspace events that are published.
    pub fn events(&self) -> EventClasses {
        EventClasses::from_bits(self.events.load(Ordering::Relaxed))
    }

    pub(super) fn set_events(&self, events: EventClasses) {
        self.events.store(events.bits(), Ordering::Relaxed);
    }

    /// `proto-max-bulk-len`.
    #[inline]
    pub fn bulk_max(&self) -> i64 {
        self.bulk_max.load(Ordering::Relaxed)
    }
}
