//! The active expiry cycle: removes what nobody asks for any more, a little at a time.
//!
//! Not by sampling: each segment of each table knows a bound of its deadlines and of those of the
//! fields inside it, so the cycle goes straight to segments in which something is due. A shard is
//! locked for one segment at a time, and for a bounded number of fields.

use std::time::Instant;

use super::call::Executor;
use super::removed::{Reason, tell};
use crate::base::clock;
use crate::base::limits::BACKGROUND_SLICE;
use crate::keyspace::{Removed, Trash};
use crate::observe::census::Walk;
use crate::observe::latency_monitor::event;

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
        if !wanted || server.loading.is_active() || server.keyspace.is_pressed() {
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
                let unit = &mut self.effects.unit;
                tell(&server, unit, cursor.shard, &mut shard, &removed, Reason::Expired);
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

    /// Walks on for at most half of [`BACKGROUND_SLICE`], if it is time to.
    pub fn walk_slice(&mut self, walk: &mut Walk) {
        let (server, start) = (std::sync::Arc::clone(self.server()), Instant::now());
        if server.loading.is_active() || !walk.is_due(clock::now_ms()) {
            return;
        }
        let extent = (server.keyspace.shard_count(), server.keyspace.databases());
        while start.elapsed() < BACKGROUND_SLICE / 2 {
            let shard = server.keyspace.lock(walk.shard());
            if walk.step(&shard, extent, &server.censuses) {
                break;
            }
        }
    }

    /// Counts a slice.
    fn note_slice(&self, start: Instant) {
        let us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counters().expire_us.add(us);
        self.server().latency.note(event::EXPIRE_CYCLE, us);
    }
}
