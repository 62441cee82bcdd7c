//! The active expiry cycle: removes what nobody asks for any more, a little at a time.
//!
//! Not by sampling: each segment of each table knows a bound of its deadlines and of those of the
//! fields inside it, so the cycle goes straight to segments in which something is due. A shard is
//! locked for one segment at a time, and for a bounded number of fields.

use std::time::Instant;

use super::call::Executor;
use super::commit::{announce, push_deletion};
use super::track::invalidate_removed;
use crate::base::limits::BACKGROUND_SLICE;
use crate::keyspace::{Event, Presence, Removed, Trash};
use crate::observe::latency_monitor::event;
use crate::persist::unit::Unit;
use crate::server::Server;

/// A segment is visited this long after its first item expired, so that one visit serves several.
const BATCHING_MS: i64 = 200;

/// Where an event loop's cycle is: it cares for every shard whose number leaves `thread` modulo
/// `threads`.
pub struct ExpireCursor {
    thread: usize,
    threads: usize,
    shard: usize,
}

impl ExpireCursor {
    /// The cycle of event loop `thread` out of `threads`.
    pub fn new(thread: usize, threads: usize) -> Self {
        Self { thread, threads, shard: thread }
    }

    fn restart(&mut self) {
        self.shard = self.thread;
    }
}

impl Executor {
    /// Works for at most [`BACKGROUND_SLICE`]; `true` when more is left to do now.
    pub fn expire_slice(&mut self, cursor: &mut ExpireCursor) -> bool {
        self.forget_tracked(cursor.thread, cursor.threads);
        let server = std::sync::Arc::clone(self.server());
        let wanted = server.active_expire.load(std::sync::atomic::Ordering::Relaxed);
        if !wanted || server.loading.is_active() {
            return false;
        }
        let (start, now_ms) = (Instant::now(), server.now_ms());
        if server.pause.is_active(now_ms) {
            return false;
        }
        let mut removed = Removed::default();
        while cursor.shard < server.keyspace.shard_count() {
            let due_ms = now_ms - BATCHING_MS;
            let more = {
                let mut shard = server.keyspace.lock(cursor.shard);
                let more = shard.min_expire_ms() <= due_ms
                    && shard.expire_some(due_ms, now_ms, server.keyspace.hasher(), &mut removed);
                if shard.minds_any() {
                    break_watches(&server, cursor.shard, &removed);
                    invalidate_removed(&server, cursor.shard, &mut shard, &removed);
                }
                announce_removed(&server, &removed);
                if server.propagation.is_wanted() {
                    propagate_removed(&server, &mut self.effects.unit, &removed);
                }
                more
            };
            let Removed { keys, fields, emptied } = std::mem::take(&mut removed);
            drop(fields);
            for mut entry in keys.into_iter().map(|(_, entry)| entry).chain(emptied) {
                self.changes.trash.extend(entry.take_boxed().map(Trash::Value));
            }
            self.settle();
            if !more {
                cursor.shard += cursor.threads;
            }
            if start.elapsed() >= BACKGROUND_SLICE {
                self.note_slice(start);
                self.counters().expire_cut.add(1);
                return true;
            }
        }
        self.note_slice(start);
        cursor.restart();
        false
    }

    /// Counts a slice.
    fn note_slice(&self, start: Instant) {
        let us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counters().expire_us.add(us);
        self.server().latency.note(event::EXPIRE_CYCLE, us);
    }
}

/// Each removal is a unit of its own.
fn propagate_removed(server: &Server, unit: &mut Unit, removed: &Removed) {
    for (db, entry) in &removed.keys {
        unit.push(*db, [&b"DEL"[..], entry.view().key()]);
        server.propagation.append(unit);
        unit.clear();
    }
    for fields in &removed.fields {
        push_deletion(unit, fields);
        server.propagation.append(unit);
        unit.clear();
    }
}

/// Publishes the events of what was removed.
fn announce_removed(server: &Server, removed: &Removed) {
    let classes = server.settings.events();
    if !classes.any() {
        return;
    }
    for (db, entry) in &removed.keys {
        announce(server, classes, (*db, entry.view().key()), Event::EXPIRED);
    }
    for hash in &removed.fields {
        announce(server, classes, (hash.db, &hash.key), Event::HEXPIRED);
        if removed.emptied.iter().any(|entry| *entry.view().key() == *hash.key) {
            announce(server, classes, (hash.db, &hash.key), Event::DEL);
        }
    }
}

/// Lets those know who watch keys that are gone now, or lost fields.
fn break_watches(server: &Server, number: usize, removed: &Removed) {
    let touch = |name: (usize, &[u8]), after| {
        server.watched.touch(number, name, Presence::Live, after);
    };
    for (db, entry) in &removed.keys {
        touch((*db, entry.view().key()), Presence::Missing);
    }
    for hash in &removed.fields {
        touch((hash.db, &hash.key), Presence::Live);
    }
}
