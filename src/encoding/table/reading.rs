//! Reading a whole table as it was at one instant, a little at a time, while it changes.
//!
//! A [`Reading`] goes over the table in hash order. Before an item is added, changed or removed in a
//! part that the reading has not reached, the bucket of that item is read ahead, as it still is; the
//! reading passes over it later. Which items belong to what has been read is decided by their hashes
//! alone, so splits and merges of segments make no difference. What is read comes out as bytes, in no
//! particular order, each item that was there at the beginning exactly once.
//!
//! A table that is dropped while somebody reads it is handed to its readers instead of being freed.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Position, Table, Thin};
use crate::base::hash::KeyHasher;

/// Writes one item out, as it is before it changes. May begin readings of what is in the item.
pub type Encode<T> = Arc<dyn Fn(&mut T, &mut Vec<u8>) + Send + Sync>;

/// A reading that its reader and its table share.
pub type SharedReading<T> = Arc<Mutex<Reading<T>>>;

/// How far somebody has read a table.
pub struct Reading<T: Thin> {
    encode: Encode<T>,
    hasher: KeyHasher,
    /// The local hash from which on nothing was read, apart from `ahead`; `None` when all was.
    next: Option<u64>,
    /// Ranges of local hashes at or after `next` that were read ahead: first to last.
    ahead: BTreeMap<u64, u64>,
    bytes: Vec<u8>,
    /// The table, if it was dropped.
    left: Option<Arc<Mutex<Table<T>>>>,
    /// Where the table is now, if it was moved and the reader does not know.
    moved_to: Option<Box<[u8]>>,
}

/// The readings of a table.
pub(super) struct Readers<T: Thin> {
    hasher: KeyHasher,
    readings: Vec<SharedReading<T>>,
}

impl<T: Thin> Reading<T> {
    /// Whether everything has been read.
    pub fn is_complete(&self) -> bool {
        self.next.is_none()
    }

    /// Takes out what was read since the last time.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Where the table has been moved since the last time, if it was.
    pub fn take_moved_to(&mut self) -> Option<Box<[u8]>> {
        self.moved_to.take()
    }

    /// Goes on for about `count` items if the table was dropped; `false` if it was not.
    pub fn read_left(&mut self, count: usize) -> bool {
        let Some(left) = self.left.clone() else { return false };
        self.read_on(&mut left.lock(), count);
        true
    }

    /// The table, if it was dropped.
    pub fn left(&self) -> Option<Arc<Mutex<Table<T>>>> {
        self.left.clone()
    }

    /// Ends the reading before it is complete.
    pub fn give_up(&mut self) {
        self.next = None;
        self.ahead = BTreeMap::new();
        self.bytes = Vec::new();
        self.left = None;
    }

    fn is_ahead(&self, local: u64) -> bool {
        is_within(&self.ahead, local)
    }

    /// Reads the bucket of `local`, what has not been read of it, and says what it spans.
    fn read_bucket(&mut self, table: &mut Table<T>, local: u64) -> (u64, u64) {
        let Some(next) = self.next else { return (local, local) };
        let Some(bucket) = table.bucket_of(local) else { return (0, u64::MAX) };
        let (first, last) = bucket.span;
        let Self { encode, hasher, ahead, bytes, .. } = self;
        let parts_known = ahead.range(..=last).next_back().is_some_and(|(_, end)| *end >= first);
        // Segments may have split or merged since parts of this bucket were read.
        let is_whole = first >= next && !parts_known;
        let base_bits = table.base_bits;
        let local_of = |item: &T| hasher.hash(T::key(item.as_view())) << base_bits;
        table.visit_bucket(&bucket, hasher, |item| {
            let is_new = is_whole || {
                let at = local_of(item);
                at >= next && !is_within(ahead, at)
            };
            if is_new {
                encode(item, bytes);
            }
        });
        bucket.span
    }

    /// Reads what is about to change.
    fn read_ahead(&mut self, table: &mut Table<T>, local: u64) {
        let Some(next) = self.next.filter(|next| *next <= local) else { return };
        if self.is_ahead(local) {
            return;
        }
        let (first, last) = self.read_bucket(table, local);
        let (mut first, mut last) = (first.max(next), last);
        // Segments may have merged since parts of this bucket were read.
        let within: Vec<u64> = self
            .ahead
            .range(..=last)
            .rev()
            .map_while(|(start, end)| (*end >= first).then_some(*start))
            .collect();
        for start in within {
            let end = self.ahead.remove(&start).expect("it was just seen");
            (first, last) = (first.min(start), last.max(end));
        }
        self.ahead.insert(first, last);
    }

    /// Reads about `count` items more, or skips as many empty buckets.
    fn read_on(&mut self, table: &mut Table<T>, count: usize) {
        let enough = self.bytes.len() + READ_LEN_MAX;
        for _ in 0..count.div_ceil(ITEMS_PER_BUCKET) {
            let Some(next) = self.next.filter(|_| self.bytes.len() < enough) else { return };
            let read = match self.ahead.first_key_value() {
                Some((first, last)) if *first <= next => {
                    let last = *last;
                    self.ahead.pop_first();
                    last
                }
                _ => self.read_bucket(table, next).1,
            };
            self.next = read.max(next).checked_add(1);
        }
    }
}

/// A call reads no further once it has read so much, in bytes.
const READ_LEN_MAX: usize = 64 * 1024;

/// Items of a bucket, about.
const ITEMS_PER_BUCKET: usize = 5;

/// Whether `local` lies within one of the ranges, which do not overlap.
fn is_within(ranges: &BTreeMap<u64, u64>, local: u64) -> bool {
    ranges.range(..=local).next_back().is_some_and(|(_, last)| local <= *last)
}

/// One home bucket.
struct Bucket {
    segment: usize,
    home: usize,
    depth: u32,
    /// The first and the last local hash of its items.
    span: (u64, u64),
}

impl<T: Thin> Table<T> {
    /// Begins to read the table as it is now; `hasher` is that of its items.
    pub fn begin_reading(&mut self, hasher: &KeyHasher, encode: Encode<T>) -> SharedReading<T> {
        let reading = Reading {
            encode,
            hasher: *hasher,
            next: (!self.is_empty()).then_some(0),
            ahead: BTreeMap::new(),
            bytes: Vec::new(),
            left: None,
            moved_to: None,
        };
        let reading = Arc::new(Mutex::new(reading));
        let new = || Box::new(Readers { hasher: *hasher, readings: Vec::new() });
        if let Some(readers) = &mut self.readers {
            // Nobody wants those any more, and this table may never change.
            readers.readings.retain(|reading| Arc::strong_count(reading) > 1);
        }
        self.readers.get_or_insert_with(new).readings.push(Arc::clone(&reading));
        reading
    }

    /// Goes on with a reading of this table for about `count` items; `false` if it is of another.
    pub fn read_on(&mut self, reading: &SharedReading<T>, count: usize) -> bool {
        let known = self.is_read_by(reading);
        if known {
            reading.lock().read_on(self, count);
        }
        known
    }

    /// Whether `reading` is one of this table.
    pub fn is_read_by(&self, reading: &SharedReading<T>) -> bool {
        let mut readings = self.readers.iter().flat_map(|readers| &readers.readings);
        readings.any(|known| Arc::ptr_eq(known, reading))
    }

    /// Tells readers that the table is found under another name from now on.
    pub fn note_moved(&mut self, name: &[u8]) {
        for reading in self.readers.iter().flat_map(|readers| &readers.readings) {
            reading.lock().moved_to = Some(name.into());
        }
    }

    /// Lets readings keep the bucket of `hash` before it changes.
    #[inline]
    pub(super) fn before_change(&mut self, hash: impl FnOnce(&KeyHasher) -> u64) {
        if let Some(readers) = &self.readers {
            let local = self.local(hash(&readers.hasher));
            self.read_ahead(local);
        }
    }

    /// Lets readings keep the bucket of the item at `position` before it changes.
    #[inline]
    pub fn before_change_at(&mut self, position: Position) {
        if let Some(readers) = &self.readers {
            let local = self.local(readers.hasher.hash(T::key(self.view(position))));
            self.read_ahead(local);
        }
    }

    #[cold]
    fn read_ahead(&mut self, local: u64) {
        let Some(mut readers) = self.readers.take() else { return };
        readers.readings.retain(|reading| {
            // The reader has gone where only the table still knows the reading.
            let wanted = Arc::strong_count(reading) > 1;
            if wanted {
                reading.lock().read_ahead(self, local);
            }
            wanted
        });
        if !readers.readings.is_empty() {
            self.readers = Some(readers);
        }
    }

    /// The home bucket of `local`; `None` while there is none.
    fn bucket_of(&self, local: u64) -> Option<Bucket> {
        let pointer = self.pointer(local)?;
        let (segment, depth) = (pointer.segment(), pointer.depth());
        let start = local >> 1 >> (63 - depth) << 1 << (63 - depth);
        let homes = self.segments[segment].homes();
        let home = Self::home(local, depth, homes);
        let first = Self::bucket_start(start, (home, homes), depth).unwrap_or(start);
        let end = Self::bucket_start(start, (home + 1, homes), depth);
        Some(Bucket { segment, home, depth, span: (first, end.map_or(u64::MAX, |end| end - 1)) })
    }

    /// Visits the items of a home bucket.
    fn visit_bucket(&mut self, bucket: &Bucket, hasher: &KeyHasher, visit: impl FnMut(&mut T)) {
        let (home, depth, base_bits) = (bucket.home, bucket.depth, self.base_bits);
        let segment = &mut self.segments[bucket.segment];
        if home == 0 {
            segment.prefetch_items();
        }
        let homes = segment.homes();
        let home_of = |key: &[u8]| Self::home(hasher.hash(key) << base_bits, depth, homes);
        segment.visit_home_mut(home, home_of, visit);
    }
}

impl<T: Thin> Drop for Table<T> {
    fn drop(&mut self) {
        let Some(readers) = self.readers.take().filter(|readers| !readers.readings.is_empty())
        else {
            return;
        };
        let left = std::mem::replace(self, Self::new(self.base_bits));
        let left = Arc::new(Mutex::new(left));
        for reading in readers.readings {
            reading.lock().left = Some(Arc::clone(&left));
        }
    }
}
