//! Replies that hold all items of a large collection, made a little at a time.
//!
//! The reply is the collection as it was when the command began, whatever becomes of it meanwhile:
//! see `encoding::table::reading`. It grows no faster than its client takes it.

use std::fmt;
use std::time::Instant;

use super::context::{Ctx, Flow, Job};
use super::error::CmdError;
use crate::base::limits::BACKGROUND_SLICE;
use crate::encoding::table::{SharedReading, Thin};
use crate::keyspace::{EntryView, Key, Lookup};
use crate::value::Value;

/// Items that are read between two looks at the time.
const STEP: usize = 256;

/// Goes on with a reading of a value; `false` if it is the reading of another.
pub(super) type Advance<T> = fn(&Value, &SharedReading<T>, usize) -> bool;

/// What is left of a reply.
struct ReplyAll<T: Thin> {
    db: usize,
    key: Vec<u8>,
    reading: SharedReading<T>,
    advance: Advance<T>,
}

/// Replies with all items that `reading` has just begun to read at `key`; the head is replied.
pub(super) fn reply_all<T: Thin + Send + 'static>(
    ctx: &Ctx<'_>,
    key: Key<'_>,
    reading: SharedReading<T>,
    advance: Advance<T>,
) -> Flow {
    let (db, key) = (ctx.db.db(), key.bytes.to_vec());
    Flow::Work(Box::new(ReplyAll { db, key, reading, advance }))
}

impl<T: Thin> fmt::Debug for ReplyAll<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "all items of {}", self.key.escape_ascii())
    }
}

impl<T: Thin> ReplyAll<T> {
    /// Reads on; `false` when the value is neither found nor dropped yet.
    fn advance(&self, ctx: &mut Ctx<'_>) -> bool {
        if self.reading.lock().read_left(STEP) {
            return true;
        }
        let hash = ctx.server.keyspace.hash(&self.key);
        let key = Key { bytes: &self.key, hash };
        // MOVE or SWAPDB may have put the key into another database.
        let others = (0..ctx.db.databases()).filter(|db| *db != self.db);
        for db in std::iter::once(self.db).chain(others) {
            ctx.db.select(db);
            let object = ctx.db.lookup(key, Lookup::Silent).and_then(EntryView::object);
            if object.is_some_and(|object| (self.advance)(object, &self.reading, STEP)) {
                return true;
            }
        }
        false
    }
}

impl<T: Thin + Send> Job for ReplyAll<T> {
    fn key(&self) -> Option<&[u8]> {
        Some(&self.key)
    }

    fn step(&mut self, ctx: &mut Ctx<'_>) -> Result<bool, CmdError> {
        if let Some(name) = self.reading.lock().take_moved_to() {
            // The next step locks the shard of that name.
            self.key = name.into();
            return Ok(false);
        }
        let start = Instant::now();
        while !self.reading.lock().is_complete()
            && self.advance(ctx)
            && start.elapsed() < BACKGROUND_SLICE
        {}
        let mut reading = self.reading.lock();
        ctx.out.raw(&reading.take_bytes());
        Ok(reading.is_complete())
    }
}
