//! What follows when keys are removed without a command: those learn of it who mind.

use super::block::refuse;
use super::commit::{announce, push_deletion};
use super::track::invalidate_removed;
use crate::command::CmdError;
use crate::keyspace::{Event, Presence, Removed, Shard};
use crate::persist::unit::Unit;
use crate::server::Server;

/// Why keys are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Their deadlines have passed, or those of their fields.
    Expired,
    /// Memory was full; the command that does the same elsewhere may free them in the background.
    Evicted {
        /// `lazyfree-lazy-eviction`.
        lazily: bool,
    },
}

/// Lets everybody know of what was removed from the shard of that number, which is held; `unit` is room
/// to work in.
pub(super) fn tell(
    server: &Server,
    unit: &mut Unit,
    number: usize,
    shard: &mut Shard,
    removed: &Removed,
    reason: Reason,
) {
    if shard.minds_any() {
        break_watches(server, number, removed);
        invalidate_removed(server, number, shard, removed);
        tell_waiters(server, number, removed);
    }
    announce_removed(server, removed, reason);
    if server.propagation.is_wanted() {
        propagate_removed(server, unit, removed, reason);
    }
}

/// Each removal is a unit of its own.
fn propagate_removed(server: &Server, unit: &mut Unit, removed: &Removed, reason: Reason) {
    let lazily = reason == Reason::Evicted { lazily: true };
    let command = if lazily { &b"UNLINK"[..] } else { b"DEL" };
    for (db, entry) in &removed.keys {
        unit.push(*db, [command, entry.view().key()]);
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
fn announce_removed(server: &Server, removed: &Removed, reason: Reason) {
    let classes = server.settings.events();
    if !classes.any() {
        return;
    }
    let event = if reason == Reason::Expired { Event::EXPIRED } else { Event::EVICTED };
    for (db, entry) in &removed.keys {
        announce(server, classes, (*db, entry.view().key()), event);
    }
    for hash in &removed.fields {
        announce(server, classes, (hash.db, &hash.key), Event::HEXPIRED);
        if removed.emptied.iter().any(|entry| *entry.view().key() == *hash.key) {
            announce(server, classes, (hash.db, &hash.key), Event::DEL);
        }
    }
}

/// Ends the waits of those who mind that a key is gone.
fn tell_waiters(server: &Server, number: usize, removed: &Removed) {
    for (db, entry) in &removed.keys {
        let (view, mut tried) = (entry.view(), 0);
        while let Some((waiter, next)) =
            server.blocked.first(number, (*db, view.key()), None, tried)
        {
            tried = next;
            if waiter.claim() {
                refuse(server, &waiter, &CmdError::StreamGone);
            }
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
