//! Replies that hold all items of a large collection, made a little at a time.
//!
//! The reply is the collection as it was when the command began, whatever becomes of it meanwhile:
//! see `encoding::table::reading`. It grows no faster than its client takes it.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::context::{Ctx, Flow, Job};
use super::error::CmdError;
use crate::base::limits::BACKGROUND_SLICE;
use crate::keyspace::Key;
use crate::value::{ItemEncoder, ValueReading};

/// Items that are read between two looks at the time.
const STEP: usize = 256;

/// What is left of a reply.
struct ReplyAll {
    db: usize,
    key: Vec<u8>,
    reading: ValueReading,
}

/// Replies with all items of the collection at `key`, as `encoder` writes them; the head is replied.
/// `None` for what is no table, or so small a one that it is replied at once.
pub(super) fn reply_all(
    ctx: &mut Ctx<'_>,
    key: Key<'_>,
    encoder: impl ItemEncoder + 'static,
) -> Option<Flow> {
    let reading = ValueReading::begin(ctx.db.object_mut(key)?, Arc::new(encoder))?;
    let (db, key) = (ctx.db.db(), key.bytes.to_vec());
    Some(Flow::Work(Box::new(ReplyAll { db, key, reading })))
}

impl fmt::Debug for ReplyAll {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "all items of {}", self.key.escape_ascii())
    }
}

impl ReplyAll {
    /// Reads on; `false` when the value is neither found nor dropped yet.
    fn advance(&self, ctx: &mut Ctx<'_>) -> bool {
        if self.reading.read_left(STEP) {
            return true;
        }
        let hash = ctx.server.keyspace.hash(&self.key);
        let key = Key { bytes: &self.key, hash };
        // MOVE or SWAPDB may have put the key into another database.
        let others = (0..ctx.db.databases()).filter(|db| *db != self.db);
        for db in std::iter::once(self.db).chain(others) {
            ctx.db.select(db);
            if ctx.db.object_mut(key).is_some_and(|object| self.reading.read_on(object, STEP)) {
                return true;
            }
        }
        false
    }
}

impl Job for ReplyAll {
    fn keys(&self) -> SmallVec<[&[u8]; 1]> {
        SmallVec::from([&self.key[..]])
    }

    fn step(&mut self, ctx: &mut Ctx<'_>) -> Result<bool, CmdError> {
        if let Some(name) = self.reading.take_moved_to() {
            // The next step locks the shard of that name.
            self.key = name.into();
            return Ok(false);
        }
        let start = Instant::now();
        while !self.reading.is_complete() && self.advance(ctx) && start.elapsed() < BACKGROUND_SLICE
        {
        }
        ctx.out.raw(&self.reading.take_bytes());
        Ok(self.reading.is_complete())
    }
}
