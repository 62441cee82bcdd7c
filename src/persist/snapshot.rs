//! A snapshot of the keyspace on its way into a file.
//!
//! Several threads read parts of the snapshot (see `keyspace::snapshot`) and append what they read to
//! the file in turn, each piece whole; the order of keys means nothing. A large value is written by
//! the thread that comes upon it, as one stretch, while the others wait with their next pieces.
//! Nothing here holds a lock of the keyspace while it writes.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::aof::commands;
use super::log::TIMESTAMP;
use super::rdb::crc::Crc;
use super::rdb::{Format, Inexpressible, Usage, compress, kind, save, write};
use super::unit::write_select;
use crate::base::{clock, os_error};
use crate::config::REDIS_VERSION;
use crate::encoding::field::FieldView;
use crate::encoding::quicklist::Quicklist;
use crate::keyspace::{
    Access, AccessPolicy, EntryEncoder, EntryView, Keyspace, LargeEntry, LargeValue, LockSet,
    Piece, Snapshot,
};
use crate::observe::allocator;
use crate::value::stream::Stream;
use crate::value::{ItemEncoder, StrView, Type, ValueReading, ValueView};

/// Entries that are read at a time, under the lock of their shard.
const STEP: usize = 64;
/// What threads that write in the background add to their niceness.
const NICENESS: i32 = 10;
/// Pieces are collected up to this size before they are written, in bytes.
const PIECE_LEN: usize = 128 * 1024;
/// How much waits unwritten before the parts that commands wrote to are looked after, in bytes.
const HELD_SOFT: usize = 8 * 1024 * 1024;
/// Longer strings are written as they are, so that no copy of them is needed, in bytes.
const COMPRESSED_MAX: usize = 4 * 1024 * 1024;
/// How long a wait goes on without a look at whether the snapshot is still wanted.
const NAP: Duration = Duration::from_millis(10);

/// What a snapshot becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An RDB file.
    Rdb,
    /// A list of commands.
    Commands,
}

/// What is remembered of accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accesses {
    /// Nothing: no policy of eviction asks for it.
    Unused,
    /// When they were.
    Recency,
    /// How many they were.
    Frequency,
}

/// How a snapshot is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it becomes.
    pub form: Form,
    /// Whether commands begin with the time (`aof-timestamp-enabled`).
    pub timestamp: bool,
    /// How values are written.
    pub format: Format,
    /// Whether the file ends with a checksum (`rdbchecksum`).
    pub checksum: bool,
    /// What is written of accesses.
    pub accesses: Accesses,
    /// How the access bits are read.
    pub policy: AccessPolicy,
    /// The time at which accesses are looked at, in Unix milliseconds.
    pub now_ms: i64,
    /// How many threads read.
    pub threads: usize,
    /// How much commands may write out ahead before they have to wait, in bytes.
    pub held_max: usize,
    /// How long to wait after each key, for tests (`rdb-key-save-delay`).
    pub key_delay: Duration,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The file could not be written.
    #[error("{}", os_error::text(.0))]
    Io(#[from] io::Error),
    /// The version does not know what is to be written.
    #[error(transparent)]
    Inexpressible(#[from] Inexpressible),
    /// It was not wanted any more.
    #[error("the save was cancelled")]
    Cancelled,
}

/// How far a snapshot is, for who looks on; and whether it is still wanted.
#[derive(Debug, Default)]
pub struct Progress {
    /// How many keys there are to write.
    pub keys: AtomicU64,
    /// How many were written out.
    pub written: AtomicU64,
    /// Bytes that commands wrote out ahead, at most.
    pub held_peak: AtomicUsize,
    cancelled: AtomicBool,
    field_deadlines: AtomicBool,
    steps_back: AtomicBool,
}

impl Progress {
    /// Ends the snapshot before it is whole.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Lets the threads that serve clients run before those that write it.
    pub fn step_back(&self) {
        self.steps_back.store(true, Ordering::Relaxed);
    }

    /// Whether a field of a hash had a deadline.
    pub fn met_field_deadlines(&self) -> bool {
        self.field_deadlines.load(Ordering::Relaxed)
    }

    /// Whether somebody cancelled it.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// What a file says about itself; `aof_base` says whether it is the base of an append-only file.
pub fn facts(aof_base: bool) -> Vec<(&'static str, String)> {
    vec![
        ("redis-ver", REDIS_VERSION.to_owned()),
        ("redis-bits", usize::BITS.to_string()),
        ("ctime", (clock::now_ms() / 1000).to_string()),
        ("used-mem", allocator::figures().allocated.to_string()),
        ("aof-base", u8::from(aof_base).to_string()),
    ]
}

/// A snapshot that has begun: the keyspace is remembered as it was.
pub struct Begun {
    snapshot: Snapshot,
    encoder: Arc<Encoder>,
    options: Options,
    progress: Arc<Progress>,
    /// Whether a thread has failed, so that the others need not go on.
    failed: AtomicBool,
}

/// Remembers the keyspace as it is. While all shards are locked, `cut` is called once.
pub fn begin<R>(
    keyspace: &Keyspace,
    options: Options,
    progress: Arc<Progress>,
    cut: impl FnOnce() -> R,
) -> (Begun, R) {
    let encoder = Arc::new(Encoder {
        started: Instant::now(),
        options: options.clone(),
        progress: Arc::clone(&progress),
        refused: AtomicBool::new(false),
    });
    let mut access = Access::take(keyspace, LockSet::All);
    let as_dyn: Arc<dyn EntryEncoder> = Arc::clone(&encoder) as Arc<dyn EntryEncoder>;
    let snapshot = keyspace.begin_snapshot(&mut access, as_dyn, options.held_max);
    let result = cut();
    drop(access);
    let keys: usize = snapshot.sizes().iter().map(|size| size.keys).sum();
    progress.keys.store(keys as u64, Ordering::Relaxed);
    progress.written.store(0, Ordering::Relaxed);
    (Begun { snapshot, encoder, options, progress, failed: AtomicBool::new(false) }, result)
}

impl Begun {
    /// Writes the file: facts about it, libraries, all keys, checksum. Returns its length.
    ///
    /// # Errors
    ///
    /// See [`SaveError`]; what was written so far is of no use then.
    pub fn write(
        self,
        keyspace: &Keyspace,
        facts: &[(&str, String)],
        libraries: &[Vec<u8>],
        file: &mut (impl Write + Send),
    ) -> Result<u64, SaveError> {
        let crc = self.options.checksum.then(Crc::new);
        let form = self.options.form;
        let out = Mutex::new(Output { file, form, crc, len: 0, db: None });
        out.lock().write(&self.head(facts, libraries))?;
        let next = AtomicUsize::new(0);
        // The niceness of threads of their own goes with them.
        let steps_back = self.progress.steps_back.load(Ordering::Relaxed);
        let worker = || {
            if steps_back {
                // Where that is not allowed they only take more of the others' time.
                let _ = rustix::process::nice(NICENESS);
            }
            self.work(keyspace, &next, &out)
        };
        thread::scope(|scope| {
            let wanted = self.options.threads.max(1) - usize::from(!steps_back);
            // With fewer threads than wanted it takes longer.
            let workers: Vec<_> = (0..wanted)
                .map_while(|_| thread::Builder::new().spawn_scoped(scope, worker).ok())
                .collect();
            let mut result = Ok(());
            if !steps_back || workers.is_empty() {
                result = self.work(keyspace, &next, &out);
            }
            for worker in workers {
                let ended = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                result = cause(result, ended);
            }
            result
        })?;
        let mut out = out.into_inner();
        if form == Form::Rdb {
            out.write(&[kind::END])?;
            let checksum = out.crc.take().map_or(0, |crc| crc.value());
            out.write(&checksum.to_le_bytes())?;
        }
        out.file.flush()?;
        Ok(out.len)
    }

    fn head(&self, facts: &[(&str, String)], libraries: &[Vec<u8>]) -> Vec<u8> {
        let (format, mut head) = (self.options.format, Vec::new());
        if self.options.form == Form::Commands {
            if self.options.timestamp {
                head.extend_from_slice(TIMESTAMP);
                head.extend_from_slice((clock::now_ms() / 1000).to_string().as_bytes());
                head.extend_from_slice(b"\r\n");
            }
            for library in libraries {
                commands::push(&mut head, &[b"FUNCTION", b"LOAD", library]);
            }
            return head;
        }
        head.extend_from_slice(format.version.magic());
        for (name, value) in facts {
            write::aux(&mut head, name.as_bytes(), value.as_bytes());
        }
        for library in libraries {
            head.push(kind::FUNCTION);
            write::string(&mut head, library, format.compress);
        }
        for size in self.snapshot.sizes() {
            select(&mut head, size.db);
            head.push(kind::RESIZE_DB);
            write::len(&mut head, size.keys);
            write::len(&mut head, size.volatile);
        }
        head
    }

    /// Writes parts until there are none; an error of one thread ends them all.
    fn work<W: Write>(
        &self,
        keyspace: &Keyspace,
        next: &AtomicUsize,
        out: &Mutex<Output<'_, W>>,
    ) -> Result<(), SaveError> {
        let result = self.write_parts(keyspace, next, out);
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }

    fn write_parts<W: Write>(
        &self,
        keyspace: &Keyspace,
        next: &AtomicUsize,
        out: &Mutex<Output<'_, W>>,
    ) -> Result<(), SaveError> {
        let mut waiting = Piece { db: 0, bytes: Vec::new(), last: false };
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= self.snapshot.parts() {
                break;
            }
            loop {
                let piece = self.snapshot.read(keyspace, part, STEP);
                let last = piece.last;
                self.collect(&mut waiting, piece, out)?;
                self.write_large(keyspace, out)?;
                if last {
                    break;
                }
            }
        }
        self.collect(&mut waiting, Piece { db: usize::MAX, bytes: Vec::new(), last: true }, out)?;
        self.write_large(keyspace, out)
    }

    /// Adds `piece` to what waits to be written, and writes that if it is enough.
    fn collect<W: Write>(
        &self,
        waiting: &mut Piece,
        piece: Piece,
        out: &Mutex<Output<'_, W>>,
    ) -> Result<(), SaveError> {
        self.check()?;
        if waiting.db != piece.db || waiting.bytes.len() + piece.bytes.len() > PIECE_LEN {
            if !waiting.bytes.is_empty() {
                out.lock().write_keys(waiting.db, &waiting.bytes)?;
                waiting.bytes.clear();
            }
            waiting.db = piece.db;
        }
        self.add(&piece.bytes, &mut waiting.bytes);
        self.relieve(out)
    }

    /// Appends entries as they are to stand in the file.
    fn add(&self, entries: &[u8], to: &mut Vec<u8>) {
        match self.options.form == Form::Rdb && self.options.format.compress {
            true => compress::entries(entries, to),
            false => to.extend_from_slice(entries),
        }
    }

    /// Writes what commands wrote out ahead, when that is much.
    fn relieve<W: Write>(&self, out: &Mutex<Output<'_, W>>) -> Result<(), SaveError> {
        let held = self.snapshot.held();
        self.progress.held_peak.fetch_max(held, Ordering::Relaxed);
        if held < HELD_SOFT {
            return Ok(());
        }
        for part in 0..self.snapshot.parts() {
            let piece = self.snapshot.take_ahead(part);
            if !piece.bytes.is_empty() {
                let mut bytes = Vec::with_capacity(piece.bytes.len());
                self.add(&piece.bytes, &mut bytes);
                out.lock().write_keys(piece.db, &bytes)?;
                self.check()?;
            }
        }
        Ok(())
    }

    /// Whether the snapshot is still wanted and can be written; waits where tests want it slow.
    #[expect(clippy::disallowed_methods, reason = "the delay that tests ask for is slept through")]
    fn check(&self) -> Result<(), SaveError> {
        if self.encoder.refused.load(Ordering::Relaxed) {
            return Err(Inexpressible(self.options.format.version).into());
        }
        let delay = self.options.key_delay;
        if !delay.is_zero() {
            let written = self.progress.written.load(Ordering::Relaxed);
            let until = self.encoder.started + delay * u32::try_from(written).unwrap_or(u32::MAX);
            while Instant::now() < until && !self.is_over() {
                std::thread::sleep(NAP.min(delay));
            }
        }
        if self.is_over() { Err(SaveError::Cancelled) } else { Ok(()) }
    }

    /// Whether there is no use in going on.
    fn is_over(&self) -> bool {
        self.progress.is_cancelled() || self.failed.load(Ordering::Relaxed)
    }

    fn write_large<W: Write>(
        &self,
        keyspace: &Keyspace,
        out: &Mutex<Output<'_, W>>,
    ) -> Result<(), SaveError> {
        while let Some(large) = self.snapshot.take_large() {
            self.check()?;
            self.write_one_large(keyspace, large, &mut out.lock())?;
            self.progress.written.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn write_one_large<W: Write>(
        &self,
        keyspace: &Keyspace,
        large: LargeEntry,
        out: &mut Output<'_, W>,
    ) -> Result<(), SaveError> {
        match self.options.form {
            Form::Rdb => self.write_large_value(keyspace, large, out),
            Form::Commands => self.write_large_commands(keyspace, large, out),
        }
    }

    fn write_large_commands<W: Write>(
        &self,
        keyspace: &Keyspace,
        mut large: LargeEntry,
        out: &mut Output<'_, W>,
    ) -> Result<(), SaveError> {
        let (db, key, at_ms) = (large.db, large.key.clone(), large.deadline);
        let mut bytes = Vec::new();
        match &large.value {
            LargeValue::Str(text) => commands::text(&key, text, &mut bytes),
            LargeValue::List(items) => commands::list(&key, items, |bytes| {
                self.check()?;
                out.write_keys(db, bytes)?;
                bytes.clear();
                Ok::<_, SaveError>(())
            })?,
            LargeValue::Stream(stream) => commands::stream(&key, stream, &mut bytes, |bytes| {
                self.check()?;
                out.write_keys(db, bytes)?;
                bytes.clear();
                Ok::<_, SaveError>(())
            })?,
            LargeValue::Items { reading, .. } => {
                out.write_keys(db, &[])?;
                let reading = reading.clone();
                self.write_items(keyspace, &mut large, &reading, out)?;
            }
        }
        commands::deadline(&key, at_ms, &mut bytes);
        Ok(out.write_keys(db, &bytes)?)
    }

    /// Writes all items of a large table.
    fn write_items<W: Write>(
        &self,
        keyspace: &Keyspace,
        large: &mut LargeEntry,
        reading: &ValueReading,
        out: &mut Output<'_, W>,
    ) -> Result<(), SaveError> {
        let (mut bytes, mut more) = (Vec::new(), true);
        while more {
            self.check()?;
            more = self.snapshot.read_items(keyspace, large, STEP);
            bytes.append(&mut reading.take_bytes());
            if bytes.len() > PIECE_LEN || !more {
                out.write(&bytes)?;
                bytes.clear();
            }
        }
        Ok(())
    }

    fn write_large_value<W: Write>(
        &self,
        keyspace: &Keyspace,
        mut large: LargeEntry,
        out: &mut Output<'_, W>,
    ) -> Result<(), SaveError> {
        let format = self.options.format;
        let mut bytes = Vec::new();
        if let LargeValue::Stream(stream) = &large.value {
            save::messages(&mut bytes, stream, format.compress);
        }
        save::head(&mut bytes, large.deadline, self.encoder.usage(large.access));
        match &large.value {
            LargeValue::Str(text) if text.len() > COMPRESSED_MAX => {
                bytes.push(kind::STRING);
                write::string(&mut bytes, &large.key, format.compress);
                write::len(&mut bytes, text.len());
                out.write_keys(large.db, &bytes)?;
                return Ok(out.write(text)?);
            }
            LargeValue::Str(text) => {
                let text = ValueView::Str(StrView::Shared(text));
                save::value(&mut bytes, &large.key, text, format)?;
            }
            LargeValue::List(items) => {
                save::list_head(&mut bytes, &large.key, items.node_count(), format);
                out.write_keys(large.db, &bytes)?;
                return self.write_nodes(items, out);
            }
            LargeValue::Stream(stream) => {
                save::stream_head(&mut bytes, &large.key, stream.node_count(), format);
                out.write_keys(large.db, &bytes)?;
                return self.write_stream(stream, out);
            }
            LargeValue::Items { type_of, len, min_expire_ms, reading } => {
                let reading = reading.clone();
                match (type_of, min_expire_ms) {
                    (Type::Set, _) => save::set_head(&mut bytes, &large.key, *len, format),
                    (Type::ZSet, _) => save::zset_head(&mut bytes, &large.key, *len, format),
                    (_, None) => save::hash_head(&mut bytes, &large.key, *len, format),
                    (_, Some(min_ms)) => {
                        let min_ms = (*min_ms).max(1);
                        save::field_hash_head(&mut bytes, &large.key, *len, min_ms, format)?;
                    }
                }
                out.write_keys(large.db, &bytes)?;
                return self.write_items(keyspace, &mut large, &reading, out);
            }
        }
        Ok(out.write_keys(large.db, &bytes)?)
    }

    fn write_nodes<W: Write>(
        &self,
        items: &Quicklist,
        out: &mut Output<'_, W>,
    ) -> Result<(), SaveError> {
        let (mut bytes, mut result) = (Vec::new(), Ok(()));
        items.for_each_node(|node| {
            if result.is_err() {
                return;
            }
            save::list_node(&mut bytes, node, self.options.format.compress);
            if bytes.len() > PIECE_LEN {
                result = self.check().and_then(|()| Ok(out.write(&bytes)?));
                bytes.clear();
            }
        });
        result?;
        Ok(out.write(&bytes)?)
    }

    fn write_stream<W: Write>(
        &self,
        stream: &Stream,
        out: &mut Output<'_, W>,
    ) -> Result<(), SaveError> {
        let (mut bytes, format) = (Vec::new(), self.options.format);
        let mut flush = |bytes: &mut Vec<u8>| {
            if bytes.len() > PIECE_LEN {
                self.check()?;
                out.write(bytes)?;
                bytes.clear();
            }
            Ok::<_, SaveError>(())
        };
        for node in stream.nodes() {
            save::stream_node(&mut bytes, node, format.compress);
            flush(&mut bytes)?;
        }
        save::stream_ids(&mut bytes, stream);
        save::stream_groups(&mut bytes, stream, format, flush)?;
        Ok(out.write(&bytes)?)
    }
}

/// The file, and what was written to it.
struct Output<'a, W> {
    file: &'a mut W,
    form: Form,
    crc: Option<Crc>,
    len: u64,
    /// The database of what was written last.
    db: Option<usize>,
}

impl<W: Write> Output<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(crc) = &mut self.crc {
            crc.update(bytes);
        }
        self.len += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Writes keys of database `db`, or the beginning of one.
    fn write_keys(&mut self, db: usize, bytes: &[u8]) -> io::Result<()> {
        if self.db.replace(db) != Some(db) {
            let mut mark = Vec::new();
            match self.form {
                Form::Rdb => select(&mut mark, db),
                Form::Commands => write_select(&mut mark, db),
            }
            self.write(&mark)?;
        }
        self.write(bytes)
    }
}

/// The error that says more: a thread that only ended because another one failed says nothing.
fn cause(one: Result<(), SaveError>, other: Result<(), SaveError>) -> Result<(), SaveError> {
    match (one, other) {
        (Err(SaveError::Cancelled), Err(other)) => Err(other),
        (one, other) => one.and(other),
    }
}

fn select(out: &mut Vec<u8>, db: usize) {
    out.push(kind::SELECT_DB);
    write::len(out, db);
}

/// Writes entries as the format has them.
struct Encoder {
    started: Instant,
    options: Options,
    progress: Arc<Progress>,
    /// Whether something could not be expressed.
    refused: AtomicBool,
}

impl Encoder {
    fn usage(&self, access: u32) -> Usage {
        let Options { accesses, policy, now_ms, .. } = &self.options;
        // Keys may have been used since the snapshot began.
        let now_ms = || now_ms + self.started.elapsed().as_millis() as i64;
        match accesses {
            Accesses::Unused => Usage::default(),
            Accesses::Recency => {
                let idle_ms = policy.idle_ms(access, now_ms());
                Usage { idle_seconds: u64::try_from(idle_ms / 1000).ok(), frequency: None }
            }
            Accesses::Frequency => {
                let count = policy.frequency(access, now_ms());
                Usage { idle_seconds: None, frequency: u8::try_from(count).ok() }
            }
        }
    }
}

impl EntryEncoder for Encoder {
    fn entry(&self, entry: EntryView<'_>, out: &mut Vec<u8>) {
        if entry.object().is_some_and(|object| object.due_at_ms().is_some()) {
            self.progress.field_deadlines.store(true, Ordering::Relaxed);
        }
        if self.options.form == Form::Commands {
            commands::entry(entry, out);
            self.progress.written.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let usage = self.usage(entry.access());
        // Compressed later, when no shard is locked.
        let format = Format { compress: false, ..self.options.format };
        if save::entry(out, entry, usage, format).is_err() {
            self.refused.store(true, Ordering::Relaxed);
        }
        self.progress.written.fetch_add(1, Ordering::Relaxed);
    }

    fn items(&self, key: &[u8], min_expire_ms: Option<i64>) -> Arc<dyn ItemEncoder> {
        if min_expire_ms.is_some() {
            self.progress.field_deadlines.store(true, Ordering::Relaxed);
        }
        if self.options.form == Form::Commands {
            return commands::items(key);
        }
        Arc::new(Items { format: self.options.format, min_expire_ms })
    }
}

/// Writes the items of one large collection.
struct Items {
    format: Format,
    min_expire_ms: Option<i64>,
}

impl ItemEncoder for Items {
    fn member(&self, member: &[u8], out: &mut Vec<u8>) {
        save::set_item(out, member, self.format.compress);
    }

    fn field(&self, field: FieldView<'_>, out: &mut Vec<u8>) {
        match self.min_expire_ms {
            Some(min_ms) if self.format.version.has_field_deadlines() => {
                save::field_hash_item(out, field, min_ms.max(1), self.format);
            }
            _ => save::hash_item(out, field, self.format.compress),
        }
    }

    fn scored(&self, member: &[u8], score: f64, out: &mut Vec<u8>) {
        save::zset_item(out, member, score, self.format.compress);
    }
}
