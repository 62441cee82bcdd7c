//! What there is in the data: how many keys of which type and encoding, how large, for how long.
//!
//! The size of a key is that of its entry in an RDB file without compression, name and deadline
//! included: it depends on the data alone, not on how this server keeps it. Encodings are those that
//! this server has the values in.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::source::{Found, Source};
use crate::base::quote::quoted;
use crate::keyspace::{Access, EntryView, LockSet};
use crate::persist::rdb::{Format, Usage, Version, save};
use crate::server::Server;

/// Entries that are looked at together.
const STEP: usize = 1024;
/// A buffer of this size is not kept for the next entry.
const BUFFER_MAX: usize = 16 * 1024 * 1024;
/// Significant digits of quantiles.
const DIGITS: u8 = 3;

const MINUTE: i64 = 60 * 1000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Bounds of the time that is left, and what is called what is not longer.
const SPANS: [(i64, &str); 7] = [
    (MINUTE, "1 minute"),
    (HOUR, "1 hour"),
    (DAY, "1 day"),
    (7 * DAY, "7 days"),
    (30 * DAY, "30 days"),
    (365 * DAY, "365 days"),
    (i64::MAX, "longer"),
];

/// Everything that is said of the data.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    pub(super) source: SourceStats,
    pub(super) keys: u64,
    pub(super) bytes: u64,
    /// Hashes in which fields have deadlines.
    pub(super) hashes_with_deadlines: u64,
    pub(super) types: Vec<TypeStats>,
    pub(super) ttl: TtlStats,
    pub(super) databases: Vec<DatabaseStats>,
    pub(super) biggest: Vec<BigKey>,
    pub(super) libraries: Vec<LibraryStats>,
}

#[derive(Debug, Serialize)]
pub(super) struct SourceStats {
    pub(super) path: String,
    pub(super) bytes: u64,
    /// The version of the snapshot, if there is one.
    pub(super) rdb_version: Option<u32>,
    /// Commands and transactions after it.
    pub(super) commands: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct TypeStats {
    #[serde(rename = "type")]
    pub(super) name: &'static str,
    pub(super) keys: u64,
    pub(super) bytes: u64,
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
    pub(super) encodings: Vec<EncodingStats>,
}

#[derive(Debug, Serialize)]
pub(super) struct EncodingStats {
    pub(super) encoding: &'static str,
    pub(super) keys: u64,
    pub(super) bytes: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct TtlStats {
    /// Keys without a deadline.
    pub(super) none: u64,
    /// Keys whose deadline has passed.
    pub(super) expired: u64,
    /// Keys by the time that is left to them.
    pub(super) left: Vec<SpanStats>,
}

#[derive(Debug, Serialize)]
pub(super) struct SpanStats {
    pub(super) up_to: &'static str,
    pub(super) keys: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct DatabaseStats {
    pub(super) db: usize,
    pub(super) keys: u64,
    pub(super) with_ttl: u64,
    pub(super) bytes: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct BigKey {
    /// In quotes, as redis-cli shows it.
    pub(super) key: String,
    pub(super) db: usize,
    #[serde(rename = "type")]
    pub(super) type_name: &'static str,
    pub(super) encoding: &'static str,
    pub(super) bytes: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct LibraryStats {
    pub(super) name: String,
    pub(super) functions: usize,
    pub(super) bytes: usize,
}

/// Looks at everything that `server` holds; `top` keys are named. `done` learns how many keys were
/// looked at.
pub(super) fn collect(
    server: &Server,
    source: &Source,
    found: Found,
    top: usize,
    done: &mut dyn FnMut(u64),
) -> Stats {
    let mut collector = Collector::new(server.now_ms(), top);
    for db in 0..server.keyspace.databases() {
        let mut cursor = 0;
        loop {
            let mut access = Access::take(&server.keyspace, LockSet::All);
            cursor = server.keyspace.scan(&mut access, db, cursor, STEP, |entry| {
                collector.add(db, entry);
            });
            drop(access);
            done(collector.keys);
            if cursor == 0 {
                break;
            }
        }
    }
    let engine = server.scripts.engine.lock();
    let libraries = engine.libraries().map(|library| LibraryStats {
        name: library.name().to_owned(),
        functions: library.functions().len(),
        bytes: library.source().len(),
    });
    let source = SourceStats {
        path: source.path().display().to_string(),
        bytes: source.bytes(),
        rdb_version: found.rdb_version,
        commands: found.units,
    };
    collector.finish(source, libraries.collect())
}

/// Keys of one type and encoding.
#[derive(Default)]
struct Count {
    keys: u64,
    bytes: u64,
}

struct Sizes {
    histogram: Histogram<u64>,
    max: u64,
}

/// What the biggest keys are told apart by: size, database, name, type, encoding.
type Big = (u64, usize, Vec<u8>, &'static str, &'static str);

struct Collector {
    now_ms: i64,
    top: usize,
    buffer: Vec<u8>,
    keys: u64,
    hashes_with_deadlines: u64,
    counts: BTreeMap<(&'static str, &'static str), Count>,
    sizes: BTreeMap<&'static str, Sizes>,
    none: u64,
    expired: u64,
    left: [u64; SPANS.len()],
    databases: BTreeMap<usize, DatabaseStats>,
    /// The smallest of the biggest is on top.
    biggest: BinaryHeap<Reverse<Big>>,
}

impl Collector {
    fn new(now_ms: i64, top: usize) -> Self {
        Self {
            now_ms,
            top,
            buffer: Vec::new(),
            keys: 0,
            hashes_with_deadlines: 0,
            counts: BTreeMap::new(),
            sizes: BTreeMap::new(),
            none: 0,
            expired: 0,
            left: [0; SPANS.len()],
            databases: BTreeMap::new(),
            biggest: BinaryHeap::new(),
        }
    }

    fn add(&mut self, db: usize, entry: EntryView<'_>) {
        let (value, bytes) = (entry.value(), self.size(entry));
        let (type_name, encoding) = (value.type_of().name(), value.encoding());
        self.keys += 1;
        let count = self.counts.entry((type_name, encoding)).or_default();
        count.keys += 1;
        count.bytes += bytes;
        let sizes = self.sizes.entry(type_name).or_insert_with(|| Sizes {
            histogram: Histogram::new(DIGITS).expect("up to five digits are possible"),
            max: 0,
        });
        sizes.histogram.saturating_record(bytes);
        sizes.max = sizes.max.max(bytes);
        let fresh = DatabaseStats { db, keys: 0, with_ttl: 0, bytes: 0 };
        let database = self.databases.entry(db).or_insert(fresh);
        database.keys += 1;
        database.bytes += bytes;
        database.with_ttl += u64::from(entry.deadline().is_some());
        match entry.deadline() {
            None => self.none += 1,
            Some(at_ms) if at_ms <= self.now_ms => self.expired += 1,
            Some(at_ms) => {
                let left = at_ms.saturating_sub(self.now_ms);
                let span = SPANS.iter().position(|(bound, _)| left <= *bound);
                self.left[span.unwrap_or(SPANS.len() - 1)] += 1;
            }
        }
        self.note_big((bytes, db, entry.key(), type_name, encoding));
    }

    fn note_big(&mut self, big: (u64, usize, &[u8], &'static str, &'static str)) {
        let (bytes, db, key, type_name, encoding) = big;
        let least = self.biggest.peek().map_or(0, |Reverse(least)| least.0);
        if self.biggest.len() >= self.top && bytes <= least {
            return;
        }
        self.biggest.push(Reverse((bytes, db, key.to_vec(), type_name, encoding)));
        if self.biggest.len() > self.top {
            self.biggest.pop();
        }
    }

    /// Bytes of an entry in a file.
    fn size(&mut self, entry: EntryView<'_>) -> u64 {
        let write = |out: &mut Vec<u8>, version| {
            out.clear();
            save::entry(out, entry, Usage::default(), Format { version, compress: false })
        };
        if write(&mut self.buffer, Version::V10).is_err() {
            self.hashes_with_deadlines += 1;
            // Version 12 can express everything.
            let _ = write(&mut self.buffer, Version::V12);
        }
        let len = self.buffer.len() as u64;
        if self.buffer.capacity() > BUFFER_MAX {
            self.buffer = Vec::new();
        }
        len
    }

    fn finish(self, source: SourceStats, libraries: Vec<LibraryStats>) -> Stats {
        let types = self.sizes.iter().map(|(&name, sizes)| {
            let counts = self.counts.iter().filter(|((of, _), _)| *of == name);
            let encodings: Vec<EncodingStats> = counts
                .map(|(&(_, encoding), count)| EncodingStats {
                    encoding,
                    keys: count.keys,
                    bytes: count.bytes,
                })
                .collect();
            TypeStats {
                name,
                keys: encodings.iter().map(|one| one.keys).sum(),
                bytes: encodings.iter().map(|one| one.bytes).sum(),
                p50: sizes.histogram.value_at_quantile(0.5).min(sizes.max),
                p99: sizes.histogram.value_at_quantile(0.99).min(sizes.max),
                max: sizes.max,
                encodings,
            }
        });
        let left = SPANS.iter().zip(self.left);
        let biggest = self.biggest.into_sorted_vec().into_iter().map(|Reverse(big)| {
            let (bytes, db, key, type_name, encoding) = big;
            BigKey { key: quoted(&key), db, type_name, encoding, bytes }
        });
        Stats {
            source,
            keys: self.keys,
            bytes: self.counts.values().map(|count| count.bytes).sum(),
            hashes_with_deadlines: self.hashes_with_deadlines,
            types: types.collect(),
            ttl: TtlStats {
                none: self.none,
                expired: self.expired,
                left: left.map(|((_, up_to), keys)| SpanStats { up_to, keys }).collect(),
            },
            databases: self.databases.into_values().collect(),
            biggest: biggest.collect(),
            libraries,
        }
    }
}
