//! What follows a command before its shards are released: the stream of writes, and those who mind
//! that its keys changed.
//!
//! All that a request did travels as one unit, whether a transaction, a script, or a command with the
//! clients that it served: readers of the stream see all of it or nothing.

use super::block::{Deferred, serve_touched};
use super::call::LONG_AGO;
use super::track::{end_caching, remember_reads};
use crate::command::{Ctx, Effects, Locks, Registered, is_shown, show_to_monitors};
use crate::keyspace::{Changes, Event, EventClasses, Expired, ExpiredFields, KeyHash};
use crate::persist::unit::Unit;
use crate::resp::Argv;
use crate::server::{Server, gate};

/// Ends one command of a client: those learn of it who want to.
#[inline]
pub(super) fn finish(
    ctx: &mut Ctx<'_>,
    registered: &Registered,
    db: usize,
    argv: Argv<'_>,
    keys: &[KeyHash],
) {
    if ctx.effects.audience != 0 {
        tell(ctx, registered, db, argv, keys);
    }
}

#[cold]
fn tell(ctx: &mut Ctx<'_>, registered: &Registered, db: usize, argv: Argv<'_>, keys: &[KeyHash]) {
    if ctx.effects.audience & gate::MONITORS != 0 && is_shown(registered.command) {
        show_to_monitors(ctx.server, ctx.client, registered.command, argv);
    }
    commit(ctx, db, argv);
    if ctx.effects.audience & gate::TRACKING != 0 {
        remember_reads(ctx, argv, keys);
        // What a script is for is yet to come.
        if registered.command.locks != Locks::Script {
            end_caching(ctx.client, &registered.name);
        }
    }
}

/// Applies what one command did: its writes go to the request's unit, its events to subscribers.
#[inline]
pub(super) fn commit(ctx: &mut Ctx<'_>, db: usize, argv: Argv<'_>) {
    if ctx.db.changes().is_followed() {
        commit_followed(ctx, db, argv);
    }
}

#[cold]
fn commit_followed(ctx: &mut Ctx<'_>, db: usize, argv: Argv<'_>) {
    let (server, changes) = (ctx.server, ctx.db.changes());
    if ctx.effects.wanted() {
        add_to_unit(changes, ctx.effects, db, argv);
    }
    changes.expired.clear();
    let classes = server.settings.events();
    for change in changes.log.drain(..) {
        announce(server, classes, (change.db, &change.key), change.event);
    }
}

/// Publishes a keyspace event, if events of its class are.
pub(super) fn announce(
    server: &Server,
    classes: EventClasses,
    (db, key): (usize, &[u8]),
    event: Event,
) {
    if !classes.has(event.class) {
        return;
    }
    if classes.by_key() {
        let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
        server.publish(&channel, event.name.as_bytes());
    }
    if classes.by_event() {
        server.publish(format!("__keyevent@{db}__:{}", event.name).as_bytes(), key);
    }
}

/// Expired keys come first, then the command itself.
fn add_to_unit(changes: &mut Changes, effects: &mut Effects, db: usize, argv: Argv<'_>) {
    for expired in changes.expired.drain(..) {
        match expired {
            Expired::Key(db, key) => effects.unit.push(db, [&b"DEL"[..], &key]),
            Expired::Fields(fields) => push_deletion(&mut effects.unit, &fields),
        }
    }
    effects.close(changes.dirty > 0, db, argv);
}

/// Ends a request: looks after those who mind changes of its keys, then appends its unit to the
/// stream. Returns what needs shards that are not held.
#[inline]
pub(super) fn conclude(ctx: &mut Ctx<'_>) -> Vec<Deferred> {
    if ctx.now_ms == LONG_AGO {
        // Who waits or watches learns nothing of commands that are run again.
        ctx.db.changes().touched.clear();
    }
    let touched = !ctx.db.changes().touched.is_empty();
    if !touched && ctx.effects.audience == 0 {
        return Vec::new();
    }
    let mut deferred = if touched { serve_touched(ctx) } else { Vec::new() };
    if ctx.effects.audience != 0 {
        close(ctx.server, ctx.effects, &mut deferred);
    }
    deferred
}

#[cold]
fn close(server: &Server, effects: &mut Effects, deferred: &mut Vec<Deferred>) {
    let abandoned = effects.end_request();
    if !effects.unit.is_empty() {
        if !abandoned {
            server.propagation.append(&effects.unit);
        }
        effects.unit.clear();
    }
    if effects.audience & gate::TRACKING != 0 && server.tracking.is_over_limit() {
        deferred.push(Deferred::Trim);
    }
}

/// Appends the removal of what was found expired outside of any command.
pub(super) fn conclude_without_command(ctx: &mut Ctx<'_>) -> Vec<Deferred> {
    let db = ctx.db.db();
    commit(ctx, db, Argv::new(&[], &[], &[]));
    conclude(ctx)
}

/// Adds the command that removes fields because their deadlines have passed.
pub(super) fn push_deletion(unit: &mut Unit, expired: &ExpiredFields) {
    unit.begin(expired.db, expired.fields.len() + 2);
    unit.arg(b"HDEL");
    unit.arg(&expired.key);
    expired.fields.iter().for_each(|field| unit.arg(field));
}
