//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Queueing and the execution of a queue are the executor's; here is how a transaction begins and
//! ends otherwise, and which keys it watches.

use std::sync::atomic::Ordering::Relaxed;

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::spec::{Command, Flags, Group, KeySpec, Locks};
use crate::keyspace::{DbView, Key, Presence};
use crate::server::{ClientFlags, Server, Watch, WatchedKey};

/// What every command about transactions has in common.
const ALWAYS: Flags = Flags::NOSCRIPT.with(Flags::LOADING).with(Flags::STALE);

const fn row(name: &'static str, arity: i32, handler: super::spec::Handler) -> Command {
    Command::new(name, arity, handler).group(Group::Transactions).flags(ALWAYS)
}

pub(super) static COMMANDS: &[Command] = &[
    row("multi", 1, multi).fast().flags(Flags::ALLOW_BUSY.with(Flags::NOT_QUEUED)),
    row("exec", 1, exec)
        .locks(Locks::Transaction)
        .flags(Flags::SKIP_SLOWLOG.with(Flags::NOT_QUEUED)),
    row("discard", 1, discard)
        .fast()
        .locks(Locks::Each)
        .flags(Flags::ALLOW_BUSY.with(Flags::NOT_QUEUED)),
    row("watch", -2, watch)
        .fast()
        .flags(Flags::ALLOW_BUSY.with(Flags::NOT_QUEUED))
        .keys(&[KeySpec::all(1, "RO", &[])]),
    row("unwatch", 1, unwatch).fast().locks(Locks::Each).flags(Flags::ALLOW_BUSY),
];

fn multi(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    if ctx.client.flags.has(ClientFlags::MULTI) {
        return Err(CmdError::NestedMulti);
    }
    ctx.client.set_flags(ClientFlags::MULTI, true);
    ctx.client.transaction.get_or_insert_default().db = ctx.client.db;
    ctx.client.handle.queued.store(0, Relaxed);
    ctx.client.handle.queued_bytes.store(0, Relaxed);
    ctx.out.ok();
    Ok(Flow::Done)
}

/// Only without MULTI: the executor takes the locks that the queue needs.
fn exec(_: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    Err(CmdError::ExecWithoutMulti)
}

fn discard(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    if !ctx.client.flags.has(ClientFlags::MULTI) {
        return Err(CmdError::DiscardWithoutMulti);
    }
    ctx.client.end_transaction();
    forget_watched(ctx);
    ctx.out.ok();
    Ok(Flow::Done)
}

fn watch(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    if ctx.client.flags.has(ClientFlags::MULTI) {
        return Err(CmdError::WatchInsideMulti);
    }
    let (server, db) = (ctx.server, ctx.db.db());
    let handle = &ctx.client.handle;
    let watch = ctx.client.watch.get_or_insert_with(|| {
        server.watched.begin();
        let watch = Box::default();
        handle.set_watch(Some(&watch));
        watch
    });
    // Once it is broken, nothing more can happen to it.
    if !watch.broken.load(Relaxed) {
        for at in 1..args.len() {
            let key = args.key(at);
            if watch.contains(db, key.bytes) {
                continue;
            }
            let expired = ctx.db.presence(key) == Presence::Expired;
            let watched = WatchedKey { db, key: key.bytes.into(), hash: key.hash, expired };
            begin_to_watch(&mut ctx.db, server, &watched, watch);
            watch.keys.push(watched);
        }
        handle.watched.store(watch.keys.len() as u32, Relaxed);
    }
    ctx.out.ok();
    Ok(Flow::Done)
}

/// Tells `watch` of changes of a key, whose shard is held.
pub(super) fn begin_to_watch(
    db: &mut DbView<'_>,
    server: &Server,
    watched: &WatchedKey,
    watch: &Watch,
) {
    let shard = server.keyspace.shard_of(watched.hash);
    let left = server.watched.add(shard, watched, watch);
    db.visit(shard, |part| {
        part.mind(watched.hash);
        left.into_iter().for_each(|hash| part.unmind(hash));
    });
}

fn unwatch(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    forget_watched(ctx);
    ctx.out.ok();
    Ok(Flow::Done)
}

/// Ends all watches of the client, whose shards are held, or none is; it waits for none.
pub fn forget_watched(ctx: &mut Ctx<'_>) {
    let Some(watch) = ctx.client.watch.take() else { return };
    for watched in &watch.keys {
        let shard = ctx.server.keyspace.shard_of(watched.hash);
        ctx.server.watched.remove(shard, watched, &watch);
        if !ctx.db.visit_if_free(shard, |part| part.unmind(watched.hash)) {
            ctx.server.watched.leave(shard, watched.hash);
        }
    }
    ctx.server.watched.finish();
    ctx.client.handle.watched.store(0, Relaxed);
    ctx.client.handle.set_watch(None);
}

/// Lets those know who watch keys of database `emptied`, which is to become empty or to hold what
/// database `replaced_by` holds; all shards are held.
pub(super) fn touch_database(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    emptied: usize,
    replaced_by: Option<usize>,
) {
    let current = ctx.db.db();
    for name in ctx.server.watched.in_db(emptied) {
        let key = args.key_of(&name);
        let mut presence = |db, key: Key<'_>| {
            ctx.db.select(db);
            ctx.db.presence(key)
        };
        let before = presence(emptied, key);
        let after = replaced_by.map_or(Presence::Missing, |db| presence(db, key));
        if before != Presence::Missing || after != Presence::Missing {
            let shard = ctx.server.keyspace.shard_of(key.hash);
            ctx.server.watched.touch(shard, (emptied, key.bytes), before, after);
        }
    }
    ctx.db.select(current);
}
