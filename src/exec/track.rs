//! Client-side caching: what a command read is remembered, what it changed is invalidated, under the
//! locks of the command.

use super::call::Executor;
use crate::base::clock;
use crate::command::{Ctx, Flags, Locks, end_tracking};
use crate::keyspace::{Access, KeyHash, LockSet, Removed, Shard, Touched};
use crate::resp::{Argv, ReplyBuf};
use crate::server::{Client, ClientFlags, Server};

/// Remembers what the client of `ctx` read, if its command reads. A script's request reads nothing
/// itself.
#[cold]
pub(super) fn remember_reads(ctx: &mut Ctx<'_>, argv: Argv<'_>, keys: &[KeyHash]) {
    if ctx.command.flags.has(Flags::READONLY) && ctx.command.locks != Locks::Script {
        remember_keys(ctx, argv, keys);
    }
}

/// Remembers that the client of `ctx` read `keys`, if it caches them; but first those are told who
/// read before what the request changed so far.
#[cold]
pub(super) fn remember_keys(ctx: &mut Ctx<'_>, argv: Argv<'_>, keys: &[KeyHash]) {
    let (server, flags, id) = (ctx.server, ctx.client.flags, ctx.client.handle.id);
    if !flags.has(ClientFlags::TRACKING) || flags.has(ClientFlags::BCAST) {
        return;
    }
    let said = flags.has(ClientFlags::CACHING);
    let wanted =
        if said { !flags.has(ClientFlags::OPTOUT) } else { !flags.has(ClientFlags::OPTIN) };
    if !wanted {
        return;
    }
    invalidate_touched(ctx);
    for key in keys {
        let (name, shard) = (argv.arg(key.index as usize), server.keyspace.shard_of(key.hash));
        let is_new =
            server.tracking.add(shard, (name, key.hash), id, |other| server.caches_reads(other));
        if is_new {
            ctx.db.visit(shard, |part| part.mind(key.hash));
        }
    }
}

/// Tells the readers of keys that were touched and of which they do not know yet.
fn invalidate_touched(ctx: &mut Ctx<'_>) {
    let mut touched = std::mem::take(&mut ctx.db.changes().touched);
    for touched in touched.iter_mut().rev().take_while(|touched| !touched.invalidated) {
        invalidate(ctx, touched);
    }
    ctx.db.changes().touched = touched;
}

/// Tells those who read a key that it was touched, unless they know.
pub(super) fn invalidate(ctx: &mut Ctx<'_>, touched: &mut Touched) {
    if std::mem::replace(&mut touched.invalidated, true) || ctx.server.tracking.keys() == 0 {
        return;
    }
    let (server, current) = (ctx.server, ctx.client.handle.id);
    let shard = server.keyspace.shard_of(touched.hash);
    ctx.db.visit(shard, |part| {
        server.invalidate((shard, part), &touched.key, touched.hash, Some(current));
    });
}

/// Tells those who cache keys of a locked shard that these are gone now, or lost fields.
pub(super) fn invalidate_removed(
    server: &Server,
    number: usize,
    shard: &mut Shard,
    removed: &Removed,
) {
    let names = removed.keys.iter().map(|(db, entry)| (*db, entry.view().key()));
    let names = names.chain(removed.fields.iter().map(|fields| (fields.db, &*fields.key)));
    let mut all = Vec::new();
    for (db, key) in names {
        let hash = server.keyspace.hash(key);
        server.invalidate((number, shard), key, hash, None);
        all.push(Touched {
            db,
            key: key.into(),
            hash,
            expired: true,
            invalidated: true,
            announced: false,
        });
    }
    server.broadcast(&all, None);
}

impl Executor {
    /// Ends the tracking of a client outside of any command.
    pub fn end_tracking(&mut self, client: &mut Client, now_ms: i64) {
        if client.flags.has(ClientFlags::TRACKING) {
            let (server, commands) = (self.server.clone(), self.commands.clone());
            let (state, mut out) = ((&mut self.changes, &mut self.effects), ReplyBuf::default());
            let access = Access::take(&server.keyspace, LockSet::Each);
            let mut ctx =
                super::call::context(&server, &commands, state, access, client, &mut out, now_ms);
            end_tracking(&mut ctx);
        }
    }

    /// Brings the table of cached keys back to its bound; no shard is locked.
    pub(super) fn trim_tracking(&self) {
        let server = &self.server;
        let start = clock::ticks() as usize % server.keyspace.shard_count();
        server.trim_tracking(start, |number, take| take(&mut server.keyspace.lock(number)));
    }

    /// Forgets what clients cached that no longer do, in the event loop's share of the shards.
    pub(super) fn forget_tracked(&self, thread: usize, threads: usize) {
        let tracking = &self.server.tracking;
        if tracking.keys() == 0 || tracking.clients() > 0 {
            return;
        }
        for number in (thread..self.server.keyspace.shard_count()).step_by(threads) {
            let mut shard = self.server.keyspace.lock(number);
            // One that begins to track meanwhile keeps what it read before that.
            if tracking.clients() == 0 {
                tracking.take_all(number).into_iter().for_each(|hash| shard.unmind(hash));
            }
        }
    }
}

/// Forgets CLIENT CACHING after the command that it was for.
pub(super) fn end_caching(client: &mut Client, command: &str) {
    let waits = client.flags.has(ClientFlags::MULTI | ClientFlags::SCRIPT)
        || command.starts_with("client|");
    if client.flags.has(ClientFlags::CACHING) && !waits {
        client.set_flags(ClientFlags::CACHING, false);
    }
}
