//! What a command did to the keyspace, collected while it runs.
//!
//! Changes are data: the executor applies them in one place, while the locks are still held, or frees
//! what they left behind, when they are not. Nothing is copied for readers that are not there.

use std::collections::VecDeque;

use super::entry::Entry;
use super::event::{Event, EventClass};
use super::{Db, ExpiredFields};
use crate::value::Value;

/// A key with its hash, which is computed once per command.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The key's bytes.
    pub bytes: &'a [u8],
    /// [`super::Keyspace::hash`] of the bytes.
    pub hash: u64,
}

/// An argument that is a key: its index and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash {
    /// Index of the argument.
    pub index: u32,
    /// Hash of the key.
    pub hash: u64,
}

/// One change of one key.
#[derive(Clone, Debug)]
pub struct Change {
    /// The database.
    pub db: usize,
    /// The key.
    pub key: Box<[u8]>,
    /// What happened.
    pub event: Event,
}

/// A key that changed and whose changes clients mind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// The database.
    pub db: usize,
    /// The key.
    pub key: Box<[u8]>,
    /// The key's hash.
    pub hash: u64,
    /// Whether its deadline passed, which is nobody's doing.
    pub expired: bool,
    /// Whether those who read the key before know of it.
    pub invalidated: bool,
    /// Whether those who hear of every change know of it.
    pub announced: bool,
}

impl Touched {
    /// A key of which only those are to know who wait for it.
    pub fn ready(db: usize, key: Key<'_>) -> Self {
        let (expired, invalidated, announced) = (false, true, true);
        let (key, hash) = (key.bytes.into(), key.hash);
        Self { db, key, hash, expired, invalidated, announced }
    }
}

/// What a command did to the keyspace, to be applied by the executor.
#[derive(Default)]
pub struct Changes {
    /// How many changes there were: INFO's `rdb_changes_since_last_save` counts them.
    pub dirty: u64,
    /// Whether somebody wants to know which keys changed; otherwise they are only counted.
    pub observed: bool,
    /// Whether somebody wants to know what expired, so as to do the same.
    pub streamed: bool,
    /// Whether somebody wants to know of reads of missing keys and of keys that are made.
    pub attentive: bool,
    /// The changes in order, if `observed`.
    pub log: Vec<Change>,
    /// What lookups found expired and removed, if `streamed`.
    pub expired: Vec<Expired>,
    /// Memory to be freed when the locks are released.
    pub trash: Vec<Trash>,
    /// Keys that changed and whose changes clients mind.
    pub touched: VecDeque<Touched>,
}

/// What was found expired and removed.
#[derive(Clone, Debug)]
pub enum Expired {
    /// A key of a database.
    Key(usize, Box<[u8]>),
    /// Fields of a hash.
    Fields(ExpiredFields),
}

/// Memory that is costly to free.
pub enum Trash {
    /// A long or aggregate value.
    Value(Box<Value>),
    /// A whole table.
    Db(Db),
}

impl Changes {
    /// Whether there is more to do about a change than to count it.
    #[inline]
    pub fn is_followed(&self) -> bool {
        self.observed || self.streamed
    }

    /// Notes a change; `minded` says whether clients mind changes of the key.
    #[inline]
    pub(super) fn note(&mut self, (db, key, minded): (usize, Key<'_>, bool), event: Event) {
        self.dirty += 1;
        self.note_also((db, key, minded), event);
    }

    #[inline]
    pub(super) fn note_also(&mut self, (db, key, minded): (usize, Key<'_>, bool), event: Event) {
        if self.observed {
            self.log.push(Change { db, key: key.bytes.into(), event });
        }
        if minded {
            self.note_touched(db, key, event.class == EventClass::Expired);
        }
    }

    /// Notes an event that is no change, for who is attentive.
    #[cold]
    pub(super) fn note_event(&mut self, db: usize, key: Key<'_>, event: Event) {
        self.log.push(Change { db, key: key.bytes.into(), event });
    }

    /// Notes that clients which mind changes of `key` are to be looked after.
    #[cold]
    pub fn note_touched(&mut self, db: usize, key: Key<'_>, expired: bool) {
        let known = |last: &&mut Touched| {
            last.db == db && *last.key == *key.bytes && !last.invalidated && !last.announced
        };
        match self.touched.back_mut().filter(known) {
            Some(last) => last.expired = expired,
            None => self.touched.push_back(Touched {
                db,
                key: key.bytes.into(),
                hash: key.hash,
                expired,
                invalidated: false,
                announced: false,
            }),
        }
    }

    /// Notes that clients which wait for `key` are to be looked after, and nobody else.
    #[cold]
    pub fn note_ready(&mut self, db: usize, key: Key<'_>) {
        self.touched.push_back(Touched::ready(db, key));
    }

    pub(super) fn discard(&mut self, mut entry: Entry) {
        if let Some(value) = entry.take_boxed() {
            self.trash.push(Trash::Value(value));
        }
    }
}

/// A change that was made and is yet to be announced.
#[must_use = "a change is announced by `changed`"]
pub struct Written<'a> {
    pub(super) changes: &'a mut Changes,
    /// Database, key, and whether clients mind its changes.
    pub(super) what: (usize, Key<'a>, bool),
}

impl Written<'_> {
    /// Announces the change.
    #[inline]
    pub fn changed(self, event: Event) {
        self.changes.note(self.what, event);
    }

    /// Announces `count` changes that are one event.
    pub fn changed_by(self, count: usize, event: Event) {
        if count > 0 {
            self.changes.note(self.what, event);
            self.changes.dirty += count as u64 - 1;
        }
    }

    /// Announces a further event of a change that is counted already.
    pub fn also(self, event: Event) {
        self.changes.note_also(self.what, event);
    }
}
