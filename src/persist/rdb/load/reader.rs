//! The reading thread: marks, keys, and where values end.

use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::worker::{Pending, Record, Shared, Work};
use super::{Hooks, Summary};
use crate::persist::rdb::error::RdbError;
use crate::persist::rdb::feed::Feed;
use crate::persist::rdb::mark::{self, Header, Mark};
use crate::persist::rdb::read::{Scratch, Slice, Source};
use crate::persist::rdb::{idempotence, skim};

/// What became of a walk through the window.
enum Stop {
    /// The window ends within something.
    WindowEnd,
    /// The end of the file's data was reached.
    End,
}

/// See the module's documentation.
pub(super) struct Reader<'a> {
    shared: &'a Shared<'a>,
    senders: Vec<SyncSender<Work>>,
    /// Records of this window for each worker.
    records: Vec<Vec<Record>>,
    header: Header,
    /// What applies to the next key.
    pending: Pending,
    scratch: Scratch,
    summary: Summary,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        shared: &'a Shared<'a>,
        senders: Vec<SyncSender<Work>>,
        header: Header,
    ) -> Self {
        Self {
            records: senders.iter().map(|_| Vec::new()).collect(),
            shared,
            senders,
            header,
            pending: Pending::default(),
            scratch: Scratch::default(),
            summary: Summary::default(),
        }
    }

    /// Reads to the end of the file's data.
    pub(super) fn run<R: Read>(
        mut self,
        feed: &mut Feed<'_, R>,
        hooks: &mut Hooks<'_>,
    ) -> Result<Summary, RdbError> {
        while !self.shared.has_failed() {
            let at = feed.next();
            let mut slice = Slice::new(feed.rest(), feed.at());
            let (stop, taken) = self.walk(&mut slice, at, hooks)?;
            feed.advance(taken);
            match stop {
                Stop::End => {
                    self.send(feed);
                    break;
                }
                Stop::WindowEnd if feed.next() > 0 => {
                    self.send(feed);
                    feed.fill()?;
                }
                // It does not fit into a window, or the file ends within it.
                Stop::WindowEnd => {
                    if self.stream(feed, hooks)? {
                        break;
                    }
                }
            }
        }
        Ok(self.summary)
    }

    /// Goes through a window, of which `slice` is what begins at `start`; also says how far it got.
    fn walk(
        &mut self,
        slice: &mut Slice<'_>,
        start: usize,
        hooks: &mut Hooks<'_>,
    ) -> Result<(Stop, usize), RdbError> {
        loop {
            let taken = slice.taken();
            match self.step(slice, start + taken, hooks) {
                Ok(true) => return Ok((Stop::End, slice.taken())),
                Ok(false) => hooks.wait(),
                Err(error) if error.is_end() => return Ok((Stop::WindowEnd, taken)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads the next mark, which is at `at` in the window, with the key and the value behind it;
    /// `true` at the end. An error leaves no trace, so the step can be tried again.
    fn step(
        &mut self,
        slice: &mut Slice<'_>,
        at: usize,
        hooks: &mut Hooks<'_>,
    ) -> Result<bool, RdbError> {
        match mark::next(slice, &mut self.scratch)? {
            Mark::Value(kind) => {
                let hash = self.shared.keyspace.hash(slice.bytes(&mut self.scratch, "key")?);
                skim::value(slice, kind, self.header.dialect)?;
                let pending = self.take_pending();
                if self.shared.is_expired(&pending) {
                    self.summary.expired += 1;
                } else {
                    let shard = self.shared.keyspace.shard_of(hash);
                    let worker = shard % self.records.len();
                    self.records[worker].push(Record { at, hash, pending });
                }
                Ok(false)
            }
            mark => self.note(mark, hooks),
        }
    }

    /// Reads one mark, and the key and the value behind it, from the file itself; `true` at the end.
    fn stream<R: Read>(
        &mut self,
        feed: &mut Feed<'_, R>,
        hooks: &mut Hooks<'_>,
    ) -> Result<bool, RdbError> {
        match mark::next(feed, &mut self.scratch)? {
            Mark::Value(kind) => {
                let key = feed.owned(&mut self.scratch, "key")?;
                let hash = self.shared.keyspace.hash(&key);
                let pending = self.take_pending();
                let value = self.shared.decoder.value(kind, feed, &mut self.scratch);
                self.shared.store(&key, hash, pending, value)?;
                Ok(false)
            }
            mark => self.note(mark, hooks),
        }
    }

    /// Takes note of a mark other than a value; `true` at the end.
    fn note(&mut self, mark: Mark, hooks: &mut Hooks<'_>) -> Result<bool, RdbError> {
        match mark {
            Mark::End => return Ok(true),
            Mark::SelectDb(db) => {
                let databases = self.shared.keyspace.databases();
                self.pending.db = match u32::try_from(db) {
                    Ok(number) if (number as usize) < databases => number,
                    _ => return Err(RdbError::Databases(databases)),
                };
            }
            Mark::Deadline(at_ms) => self.pending.deadline = at_ms,
            Mark::Idle(seconds) => self.pending.usage.idle_seconds = Some(seconds),
            Mark::Frequency(counter) => self.pending.usage.frequency = Some(counter),
            Mark::Aux(name, value) if name == idempotence::NAME => {
                let now_ms = self.shared.options.now_ms;
                idempotence::recall(&mut self.pending.messages, &value, now_ms)?;
            }
            Mark::Aux(name, value) => {
                self.summary.facts.note(&name, &value, self.shared.options.now_ms);
            }
            Mark::Function(source) => {
                (hooks.function)(source).map_err(RdbError::Function)?;
                self.summary.functions += 1;
            }
            Mark::ModuleAux(_) | Mark::Sizes | Mark::Value(_) => {}
        }
        Ok(false)
    }

    /// What applies to a key, and no longer to the next one.
    fn take_pending(&mut self) -> Pending {
        let next = Pending { db: self.pending.db, ..Pending::default() };
        std::mem::replace(&mut self.pending, next)
    }

    /// Hands the window and its records to the workers.
    fn send<R: Read>(&mut self, feed: &mut Feed<'_, R>) {
        let (_, base) = feed.window();
        let window = Arc::new(feed.cut());
        for (sender, records) in self.senders.iter().zip(&mut self.records) {
            if records.is_empty() {
                continue;
            }
            let room = Vec::with_capacity(records.len());
            let records = std::mem::replace(records, room);
            let work = Work { window: Arc::clone(&window), base, records };
            if sender.send(work).is_err() {
                // The worker has failed, which the next look will find.
                return;
            }
        }
    }
}
