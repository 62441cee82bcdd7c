//! Clients that wait for keys: how they begin, how a change serves them, how they end.
//!
//! A command that makes a key ready serves those who wait for it before its shards are released, in
//! the order in which they began to wait: nobody sees the key in between. Only a client whose
//! command changes a second key (BLMOVE) may need a shard that is not held; it is served right after,
//! with both shards locked in order, before the command's own client gets its reply.

use std::collections::VecDeque;
use std::sync::Arc;

use super::call::{Executor, after_reply, context};
use super::commit::{commit, conclude_without_command};
use super::remember::Cost;
use super::track::invalidate;
use crate::acl::Context;
use crate::base::clock;
use crate::command::{Args, CmdError, Ctx, check_handle, note_lack};
use crate::keyspace::{Access, DbView, Key, LockSet, Lookup, Presence, Touched};
use crate::observe::latency_monitor::event;
use crate::resp::{Argv, OwnedArgv, ReplyBuf};
use crate::server::{Client, Server, Wait, WaitEnd, Waiter};

/// What is to be done when the shards that are held are released.
pub(super) enum Deferred {
    /// Serving the clients of a key, which takes the shards of these hashes: that of the key and of
    /// all keys that were found missing so far.
    Serve(Touched, Vec<u64>),
    /// Bringing the table of cached keys back to its bound.
    Trim,
}

/// Lets the client of `ctx` wait; the shards of the keys are held.
#[cold]
pub(super) fn begin_wait(
    ctx: &mut Ctx<'_>,
    command: usize,
    args: &Args<'_>,
    wait: Wait,
) -> Arc<Waiter> {
    let (handle, db) = (Arc::clone(&ctx.client.handle), ctx.db.db());
    let request = (command, OwnedArgv::with(args.argv(), &wait.replaced));
    let waiter = Arc::new(Waiter::new(handle, db, ctx.out.protocol(), request, wait));
    for at in &waiter.wait.keys {
        let key = args.key(*at);
        ctx.server.blocked.add(ctx.server.keyspace.shard_of(key.hash), key.bytes, &waiter);
        ctx.db.mind(key);
    }
    ctx.server.blocked.begin();
    ctx.client.handle.set_waiter(Some(Arc::clone(&waiter)));
    waiter
}

/// Breaks the watches of keys that were touched, tells those who cache them, and serves those who
/// wait for them, as far as `ctx` holds what that takes; returns the keys for which it does not.
#[cold]
pub(super) fn serve_touched(ctx: &mut Ctx<'_>) -> Vec<Deferred> {
    let (mut deferred, mut changed, db) = (Vec::new(), Vec::new(), ctx.db.db());
    let mut dirty = std::mem::take(&mut ctx.db.changes().dirty);
    while let Some(mut key) = ctx.db.changes().touched.pop_front() {
        ctx.db.select(key.db);
        if !key.announced {
            break_watches(ctx, &key);
        }
        invalidate(ctx, &mut key);
        // Who waits for a key that became ready later does not come before.
        let (waits, mut hashes) = (!deferred.is_empty(), vec![key.hash]);
        if !waits {
            hashes.extend(serve_key(ctx, &key, &mut dirty));
        }
        if !std::mem::replace(&mut key.announced, true) {
            changed.push(key.clone());
        }
        if waits || hashes.len() > 1 {
            deferred.push(Deferred::Serve(key, hashes));
        }
    }
    ctx.server.broadcast(&changed, Some(ctx.client.handle.id));
    ctx.db.select(db);
    commit(ctx, db, Argv::new(&[], &[], &[]));
    ctx.db.changes().dirty = dirty;
    deferred
}

fn break_watches(ctx: &mut Ctx<'_>, key: &Touched) {
    if ctx.server.watched.clients() > 0 {
        let after = ctx.db.presence(Key { bytes: &key.key, hash: key.hash });
        let shard = ctx.server.keyspace.shard_of(key.hash);
        ctx.server.watched.touch(shard, (key.db, &key.key), Presence::Live, after);
    }
}

/// Serves those who wait for one key; the hash of a key whose shard that takes and is not held.
fn serve_key(ctx: &mut Ctx<'_>, ready: &Touched, dirty: &mut u64) -> Option<u64> {
    let server = ctx.server;
    let key = Key { bytes: &ready.key, hash: ready.hash };
    let shard = server.keyspace.shard_of(key.hash);
    // Each client is tried once for what the key holds: there may be thousands for whom there is nothing.
    let (mut tried, mut held) = (0, None);
    loop {
        let holds = ctx.db.lookup(key, Lookup::Silent).map(|entry| entry.type_of());
        if std::mem::replace(&mut held, holds) != holds {
            tried = 0;
        }
        let (waiter, next) = server.blocked.first(shard, (ready.db, key.bytes), held, tried)?;
        let missing = target_hash(server, &waiter).filter(|hash| !ctx.db.holds(*hash));
        if missing.is_some() {
            return missing;
        }
        tried = next;
        if !waiter.claim() {
            continue;
        }
        let work = || serve(ctx, &waiter, key.bytes);
        if !server.latency.time(event::COMMAND_UNBLOCKING, work) {
            waiter.unclaim();
        }
        *dirty += std::mem::take(&mut ctx.db.changes().dirty);
    }
}

/// The hash of the second key that serving `waiter` changes.
fn target_hash(server: &Server, waiter: &Waiter) -> Option<u64> {
    let at = waiter.wait.target?;
    Some(server.keyspace.hash(waiter.argv.as_argv().arg(at)))
}

/// Ends the wait of a claimed client with an error.
pub(super) fn refuse(server: &Server, waiter: &Waiter, error: &CmdError) {
    let mut out = ReplyBuf::default();
    out.error(error);
    server.stats.count_error(&error.to_string());
    waiter.serve(out.to_vec(), true);
}

/// Serves one client from the key `name`; `false` when there was nothing for it.
fn serve(ctx: &mut Ctx<'_>, waiter: &Waiter, name: &[u8]) -> bool {
    let (server, argv) = (ctx.server, waiter.argv.as_argv());
    let registered = ctx.commands.by_id(waiter.command).expect("the command was run before");
    let row = registered.command;
    if let Err(lack) = check_handle(server, &waiter.handle, (registered, argv), waiter.db) {
        // Its user has changed since it began to wait.
        let whole = (server, ctx.commands);
        note_lack(whole, &waiter.handle, lack, (registered, argv), Context::TopLevel);
        refuse(server, waiter, &lack.error(server, registered));
        return true;
    }
    let serve = row.serve.expect("only commands that can be served wait");
    let key_at = waiter.wait.keys.iter().copied().find(|at| argv.arg(*at) == name);
    let key_at = key_at.expect("a client stands only in the queues of its keys");
    let mut client = Client::new(Arc::clone(&waiter.handle));
    client.db = waiter.db;
    let mut out = ReplyBuf::with_room(Vec::new(), waiter.protocol);
    let before = std::mem::replace(&mut ctx.command, row);
    std::mem::swap(ctx.client, &mut client);
    std::mem::swap(ctx.out, &mut out);
    let result = serve(ctx, &Args::new(argv, &[], &server.keyspace), key_at);
    commit(ctx, waiter.db, argv);
    std::mem::swap(ctx.out, &mut out);
    std::mem::swap(ctx.client, &mut client);
    ctx.command = before;
    if let Err(error) = &result {
        out.error(error);
        server.stats.count_error(&error.to_string());
    }
    let failed = result.is_err();
    let served = result.unwrap_or(true);
    if served {
        waiter.serve(out.to_vec(), failed);
    }
    served
}

impl Executor {
    /// Does what took more shards than were held: serves clients whose key became ready.
    ///
    /// Each round holds at least one shard more for a key than the last, so the rounds come to an end.
    /// `client` is whoever made the keys ready; nothing is replied to it here.
    #[cold]
    pub(super) fn serve_deferred(&mut self, keys: Vec<Deferred>, client: &mut Client, now_ms: i64) {
        let (server, commands) = (Arc::clone(&self.server), Arc::clone(&self.commands));
        let (mut out, mut keys) = (ReplyBuf::default(), VecDeque::from(keys));
        while let Some(deferred) = keys.pop_front() {
            let Deferred::Serve(key, hashes) = deferred else {
                self.trim_tracking();
                continue;
            };
            let access = Access::take(&server.keyspace, LockSet::Hashes(&hashes));
            self.changes.touched.push_back(key.clone());
            let state = (&mut self.changes, &mut self.effects);
            let mut ctx = context(&server, &commands, state, access, client, &mut out, now_ms);
            // First the same key, then those that were ready before what became ready now.
            let mut first = None;
            for mut again in conclude_without_command(&mut ctx) {
                match &mut again {
                    Deferred::Serve(other, more)
                        if (other.db, &other.key) == (key.db, &key.key) =>
                    {
                        more.extend(&hashes);
                        first = Some(again);
                    }
                    _ => keys.push_back(again),
                }
            }
            if let Some(first) = first {
                keys.push_front(first);
            }
            drop(ctx);
            self.settle();
        }
    }

    /// Sees whether there is something by now for a client that waits, and for those before it.
    pub fn retry_wait(&mut self, waiter: &Waiter, client: &mut Client) {
        let (server, argv) = (Arc::clone(&self.server), waiter.argv.as_argv());
        let keys = waiter.wait.keys.iter().map(|at| {
            let (bytes, hash) = (argv.arg(*at), server.keyspace.hash(argv.arg(*at)));
            Deferred::Serve(Touched::ready(waiter.db, Key { bytes, hash }), vec![hash])
        });
        let now_ms = server.now_ms();
        self.serve_deferred(keys.collect(), client, now_ms);
    }

    /// Takes a client whose wait has ended out of all queues and appends its reply.
    pub fn end_wait(
        &mut self,
        waiter: &Arc<Waiter>,
        end: WaitEnd,
        client: &mut Client,
        out: &mut ReplyBuf,
    ) {
        let (mark, replied, begun) = (out.mark(), out.len(), clock::ticks());
        let (server, argv) = (Arc::clone(&self.server), waiter.argv.as_argv());
        let keys: Vec<Key<'_>> = waiter
            .wait
            .keys
            .iter()
            .map(|at| Key { bytes: argv.arg(*at), hash: server.keyspace.hash(argv.arg(*at)) })
            .collect();
        let hashes: Vec<u64> = keys.iter().map(|key| key.hash).collect();
        let access = Access::take(&server.keyspace, LockSet::Hashes(&hashes));
        let mut db = DbView::new(&server.keyspace, access, &mut self.changes, waiter.db, 0);
        for key in keys {
            server.blocked.remove(server.keyspace.shard_of(key.hash), key.bytes, waiter);
            db.unmind(key);
        }
        drop(db);
        server.blocked.finish();
        waiter.handle.set_waiter(None);
        match end {
            WaitEnd::Served => {
                out.raw(&waiter.take_reply());
                if waiter.has_failed() {
                    self.counters.commands[waiter.command].failed.add(1);
                    self.counters.errors.add(1);
                }
            }
            // A null array also where a served client gets a bulk string, as in Redis.
            WaitEnd::TimedOut => out.null_array(),
            WaitEnd::Unblocked => {
                out.error(&CmdError::Unblocked);
                self.counters.commands[waiter.command].failed.add(1);
                self.counters.errors.add(1);
                server.stats.count_error(&CmdError::Unblocked.to_string());
            }
            WaitEnd::Gone => {}
        }
        after_reply(client, out, mark);
        let reply_len = out.len().saturating_sub(replied);
        self.end_unfinished(client, Cost { ticks: clock::ticks().wrapping_sub(begun), reply_len });
    }
}
