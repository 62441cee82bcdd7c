//! The whole keyspace as it was at one instant, read while it changes.
//!
//! The instant is one at which every shard is locked: each table gets a reading then (see
//! `encoding::table::reading`), which keeps what is about to change before it does. Whoever reads
//! goes over the tables shard by shard, a few entries at a time. So an entry is written out exactly
//! once, by the reader or by the command that is about to change it.
//!
//! A large value is not written out under its shard's lock: a long string or list is shared with the
//! snapshot, and copied by whoever changes it only where it is changed; a large table gets a reading
//! of its own. What commands wrote out ahead waits in memory; when that is too much, they are told to
//! wait, see [`Keyspace::is_pressed`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::entry::object_mut;
use super::{Access, Db, Entry, EntryView, Key, Keyspace};
use crate::encoding::quicklist::Quicklist;
use crate::encoding::table::{Encode, SharedReading};
use crate::value::stream::Stream;
use crate::value::{ItemEncoder, Type, Value, ValueReading};

/// Longer strings are shared, in bytes.
const SHARED_STRING_LEN: usize = 16 * 1024;
/// Lists of more nodes are shared.
const SHARED_LIST_NODES: usize = 2;
/// Streams of more nodes, consumers and pending entries are shared.
const SHARED_STREAM_PARTS: usize = 4;
/// What a node of a list takes, about.
const NODE_LEN: usize = 8 * 1024;
/// Tables of more items get a reading of their own.
const OWN_READING_LEN: usize = 256;

/// Writes entries out.
pub trait EntryEncoder: Send + Sync {
    /// Writes a whole entry.
    fn entry(&self, entry: EntryView<'_>, out: &mut Vec<u8>);

    /// What writes the items of the large collection at `key`, none of which expires before
    /// `min_expire_ms`, in Unix milliseconds.
    fn items(&self, key: &[u8], min_expire_ms: Option<i64>) -> Arc<dyn ItemEncoder>;
}

/// A table of the snapshot.
struct Part {
    db: usize,
    shard: usize,
    /// `None` when all was read.
    reading: Mutex<Option<SharedReading<Entry>>>,
}

/// What commands that change something leave for the reader.
struct Shared {
    large: Mutex<Vec<LargeEntry>>,
    /// Bytes written out that nobody has taken yet.
    held: AtomicUsize,
}

/// The keyspace at one instant. See the module's documentation.
pub struct Snapshot {
    parts: Vec<Part>,
    shared: Arc<Shared>,
    sizes: Vec<DbSize>,
    pressure: Arc<Pressure>,
}

/// How large a database was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DbSize {
    /// Its number.
    pub db: usize,
    /// How many keys it had.
    pub keys: usize,
    /// How many of them had a deadline.
    pub volatile: usize,
}

/// What was read of one table.
pub struct Piece {
    /// The database.
    pub db: usize,
    /// What [`EntryEncoder::entry`] wrote.
    pub bytes: Vec<u8>,
    /// Whether there is no more.
    pub last: bool,
}

/// An entry whose value is too large to be written out at once.
pub struct LargeEntry {
    /// The database.
    pub db: usize,
    /// The key.
    pub key: Box<[u8]>,
    /// The deadline, in Unix milliseconds.
    pub deadline: Option<i64>,
    /// The access bits.
    pub access: u32,
    /// The value.
    pub value: LargeValue,
}

/// A large value as it was.
pub enum LargeValue {
    /// A string.
    Str(Arc<Vec<u8>>),
    /// A list, which shares its nodes with the one that commands see.
    List(Quicklist),
    /// A stream, which shares its nodes with the one that commands see.
    Stream(Box<Stream>),
    /// The items of a table, to be read with [`Snapshot::read_items`].
    Items {
        /// The type.
        type_of: Type,
        /// How many items there are.
        len: usize,
        /// No item expires before this, in Unix milliseconds.
        min_expire_ms: Option<i64>,
        /// The reading.
        reading: ValueReading,
    },
}

impl LargeEntry {
    /// Bytes that are in memory twice once a command changes the value.
    fn shared_len(&self) -> usize {
        match &self.value {
            LargeValue::Str(bytes) => bytes.len(),
            LargeValue::List(items) => items.node_count() * NODE_LEN,
            LargeValue::Stream(stream) => stream.memory(),
            LargeValue::Items { .. } => 0,
        }
    }
}

impl Keyspace {
    /// Begins to read everything as it is now; `access` holds every shard.
    pub fn begin_snapshot(
        &self,
        access: &mut Access<'_>,
        encoder: Arc<dyn EntryEncoder>,
        held_max: usize,
    ) -> Snapshot {
        let shared = Arc::new(Shared { large: Mutex::default(), held: AtomicUsize::new(0) });
        self.pressure.limit.store(held_max, Ordering::Relaxed);
        let (mut parts, mut sizes) = (Vec::new(), Vec::new());
        for db in 0..self.databases {
            let mut size = DbSize { db, keys: 0, volatile: 0 };
            let encode = self.encode_into(db, &shared, &encoder);
            for number in 0..self.shard_count() {
                let shard = access.shard(number);
                let Some(table) = shard.db(db).filter(|table| !table.is_empty()) else { continue };
                size.keys += table.len();
                size.volatile += table.volatile_len();
                let reading = shard.db_mut(db).begin_reading(self.hasher(), Arc::clone(&encode));
                parts.push(Part { db, shard: number, reading: Mutex::new(Some(reading)) });
            }
            sizes.extend((size.keys > 0).then_some(size));
        }
        Snapshot { parts, shared, sizes, pressure: Arc::clone(&self.pressure) }
    }

    fn encode_into(
        &self,
        db: usize,
        shared: &Arc<Shared>,
        encoder: &Arc<dyn EntryEncoder>,
    ) -> Encode<Entry> {
        let (shared, encoder) = (Arc::clone(shared), Arc::clone(encoder));
        let pressure = Arc::clone(&self.pressure);
        Arc::new(move |entry, out| {
            if let Some(large) = large_entry(db, entry, &encoder) {
                let held = shared.held.fetch_add(large.shared_len(), Ordering::Relaxed);
                pressure.note(held + large.shared_len());
                shared.large.lock().push(large);
                return;
            }
            let before = out.len();
            encoder.entry(entry.view(), out);
            let added = out.len() - before;
            let held = shared.held.fetch_add(added, Ordering::Relaxed) + added;
            pressure.note(held);
        })
    }

    /// Whether so much was written out ahead of a snapshot's reader that commands are to wait.
    #[inline]
    pub fn is_pressed(&self) -> bool {
        self.pressure.is_on()
    }

    /// Completes when commands are not to wait for a snapshot's reader any more.
    pub async fn eased(&self) {
        loop {
            let eased = self.pressure.eased.notified();
            if !self.is_pressed() {
                return;
            }
            eased.await;
        }
    }
}

/// The entry, if its value is to be read later on.
fn large_entry(
    db: usize,
    entry: &mut Entry,
    encoder: &Arc<dyn EntryEncoder>,
) -> Option<LargeEntry> {
    if !entry.view().object().is_some_and(is_large) {
        return None;
    }
    let key: Box<[u8]> = entry.view().key().into();
    let value = match entry.object_mut()? {
        Value::Str(bytes) => LargeValue::Str(Arc::clone(bytes)),
        Value::List(items) => LargeValue::List((**items).clone()),
        Value::Stream(stream) => LargeValue::Stream(stream.clone()),
        table => {
            let len = len_of(table);
            let (type_of, min_expire_ms) = (table.type_of(), table.due_at_ms());
            let reading = ValueReading::begin(table, encoder.items(&key, min_expire_ms))?;
            LargeValue::Items { type_of, len, min_expire_ms, reading }
        }
    };
    let view = entry.view();
    let (deadline, access) = (view.deadline(), view.access());
    Some(LargeEntry { db, key, deadline, access, value })
}

fn is_large(value: &Value) -> bool {
    match value {
        Value::Str(bytes) => bytes.len() > SHARED_STRING_LEN,
        Value::List(items) => items.node_count() > SHARED_LIST_NODES,
        Value::Stream(stream) => stream.free_effort() > SHARED_STREAM_PARTS,
        table => len_of(table) > OWN_READING_LEN,
    }
}

fn len_of(value: &Value) -> usize {
    match value {
        Value::Str(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Set(set) => set.len(),
        Value::ZSet(set) => set.len(),
        Value::Hash(table) => table.len(),
        Value::Stream(stream) => stream.node_count(),
    }
}

impl Snapshot {
    /// How large the databases were; empty ones are left out.
    pub fn sizes(&self) -> &[DbSize] {
        &self.sizes
    }

    /// How many parts there are to read.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Bytes that commands wrote out ahead and that nobody has taken yet.
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::Relaxed)
    }

    /// Reads about `count` entries of a part, under its shard's lock.
    pub fn read(&self, keyspace: &Keyspace, part: usize, count: usize) -> Piece {
        let Part { db, shard, reading } = &self.parts[part];
        let mut slot = reading.lock();
        let Some(reading) = &*slot else {
            return Piece { db: *db, bytes: Vec::new(), last: true };
        };
        if !read_table(keyspace, (*db, *shard), reading, count) {
            // The table is on its way to being dropped, after which it is found here.
            std::thread::yield_now();
        }
        let piece = self.take(*db, reading);
        if piece.last {
            *slot = None;
        }
        piece
    }

    /// Takes what commands wrote out ahead of a part.
    pub fn take_ahead(&self, part: usize) -> Piece {
        let Part { db, reading, .. } = &self.parts[part];
        match &*reading.lock() {
            Some(reading) => self.take(*db, reading),
            None => Piece { db: *db, bytes: Vec::new(), last: true },
        }
    }

    fn take(&self, db: usize, reading: &SharedReading<Entry>) -> Piece {
        let mut reading = reading.lock();
        let (bytes, last) = (reading.take_bytes(), reading.is_complete());
        drop(reading);
        let held = self.shared.held.fetch_sub(bytes.len(), Ordering::Relaxed) - bytes.len();
        self.pressure.note(held);
        Piece { db, bytes, last }
    }

    /// A large entry that was come upon and is yet to be written.
    pub fn take_large(&self) -> Option<LargeEntry> {
        let large = self.shared.large.lock().pop()?;
        let held = self.shared.held.fetch_sub(large.shared_len(), Ordering::Relaxed);
        self.pressure.note(held - large.shared_len());
        Some(large)
    }

    /// Reads about `count` items more of a large table; `false` when all was read.
    pub fn read_items(&self, keyspace: &Keyspace, entry: &mut LargeEntry, count: usize) -> bool {
        let LargeValue::Items { reading, .. } = &entry.value else { return false };
        if reading.is_complete() {
            return false;
        }
        if reading.read_left(count) {
            return true;
        }
        if let Some(name) = reading.take_moved_to() {
            entry.key = name;
        }
        let key = Key { bytes: &entry.key, hash: keyspace.hash(&entry.key) };
        if !read_object(keyspace, key, reading, count)
            && !self.read_dropped(keyspace, key, reading, count)
        {
            // The value, or the table it is in, is on its way to being dropped.
            std::thread::yield_now();
        }
        true
    }

    /// Reads on in a value whose database was dropped and is kept by its own reading.
    fn read_dropped(
        &self,
        keyspace: &Keyspace,
        key: Key<'_>,
        reading: &ValueReading,
        count: usize,
    ) -> bool {
        let number = keyspace.shard_of(key.hash);
        self.parts.iter().filter(|part| part.shard == number).any(|part| {
            let slot = part.reading.lock();
            let Some(left) = slot.as_ref().and_then(|reading| reading.lock().left()) else {
                return false;
            };
            let mut table = left.lock();
            let position = table.find(key.hash, key.bytes);
            let object = position.and_then(|at| object_mut(&mut table, at));
            object.is_some_and(|object| reading.read_on(object, count))
        })
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        for reading in self.parts.iter().filter_map(|part| part.reading.lock().take()) {
            reading.lock().give_up();
        }
        for large in std::mem::take(&mut *self.shared.large.lock()) {
            if let LargeValue::Items { reading, .. } = large.value {
                reading.give_up();
            }
        }
        self.pressure.note(0);
    }
}

/// Reads on in the value at `key`, in whichever database; `false` when `reading` is not of it.
fn read_object(keyspace: &Keyspace, key: Key<'_>, reading: &ValueReading, count: usize) -> bool {
    let mut shard = keyspace.lock(keyspace.shard_of(key.hash));
    (0..keyspace.databases()).any(|db| {
        let position = shard.db(db).and_then(|table| table.find(key.hash, key.bytes));
        let object = position.and_then(|position| object_mut(shard.db_mut(db), position));
        object.is_some_and(|object| reading.read_on(object, count))
    })
}

/// Reads on in the table of `reading`, which SWAPDB may have given to another database, or which may
/// have been dropped; `false` when it is nowhere.
fn read_table(
    keyspace: &Keyspace,
    (db, shard): (usize, usize),
    reading: &SharedReading<Entry>,
    count: usize,
) -> bool {
    if reading.lock().read_left(count) {
        return true;
    }
    let mut shard = keyspace.lock(shard);
    let others = (0..keyspace.databases()).filter(|other| *other != db);
    let mut places = std::iter::once(db).chain(others);
    let found = places.find(|db| shard.db(*db).is_some_and(|table: &Db| table.is_read_by(reading)));
    found.is_some_and(|db| shard.db_mut(db).read_on(reading, count))
}

/// Whether commands are to wait for the reader of a snapshot.
#[derive(Default)]
pub(super) struct Pressure {
    limit: AtomicUsize,
    on: AtomicBool,
    eased: Notify,
}

impl Pressure {
    /// Notes that so many bytes are held.
    fn note(&self, held: usize) {
        let limit = self.limit.load(Ordering::Relaxed);
        if held > limit && !self.is_on() {
            self.on.store(true, Ordering::Relaxed);
        } else if held <= limit - limit / 8 && self.is_on() {
            self.on.store(false, Ordering::Relaxed);
            self.eased.notify_waiters();
        }
    }

    #[inline]
    fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
#[path = "snapshot_tests.rs"]
mod tests;
