//! Transactions: queueing after MULTI, and EXEC.
//!
//! EXEC locks the shards of all keys of the queue and of all watched keys before it looks whether a
//! watched key changed, and holds them until the last command is done. So a transaction is one step
//! to everybody else, and two transactions that watch each other's keys cannot both go through.

use std::sync::atomic::Ordering::Relaxed;

use super::Stop;
use super::admission::is_known;
use super::ahead::Lookahead;
use super::busy::{lock_engine, lock_shards};
use super::call::{Executor, context};
use super::commit::conclude;
use super::evict::Room;
use super::inner::run_inner;
use crate::acl::Context;
use crate::base::number;
use crate::command::{
    CmdError, Command, Ctx, Flags, Locks, Registered, check_client, forget_watched, note_lack,
    show_to_monitors,
};
use crate::keyspace::{Key, KeyHash, LockSet, Presence};
use crate::resp::{Argv, ReplyBuf};
use crate::server::{Client, ClientFlags, Transaction, gate};

/// Properties of commands that a transaction takes over from those in its queue.
const INHERITED: Flags = Flags::MAY_WRITE.with(Flags::DENYOOM);

/// The properties by which a request is admitted: EXEC has those of the queue.
#[inline]
pub(super) fn effective_flags(client: &Client, command: &Command) -> Flags {
    match &client.transaction {
        Some(queue) if command.locks == Locks::Transaction => {
            command.flags.with(Flags::from_bits(queue.flags))
        }
        _ => command.flags,
    }
}

/// What a transaction locks.
enum Plan {
    Hashes(Vec<u64>),
    All,
}

impl Executor {
    /// Appends a command to the client's queue; something if the queue grows beyond all bounds.
    #[cold]
    pub(super) fn enqueue(
        &self,
        registered: &Registered,
        argv: Argv<'_>,
        keys: &[KeyHash],
        client: &mut Client,
        out: &mut ReplyBuf,
    ) -> Option<Stop> {
        let transaction = client.transaction.as_mut().expect("MULTI made a queue");
        // A transaction that will not run needs no memory.
        if !transaction.aborted {
            let len: usize = argv.iter().map(<[u8]>::len).sum();
            if transaction.size() + len > self.server.settings.query_max.load(Relaxed) {
                tracing::warn!(
                    "Closing client that reached max query buffer length: id={} addr={}",
                    client.handle.id,
                    client.handle.peer.addr()
                );
                return Some(Stop::Close);
            }
            let flags = registered.command.flags.bits() & INHERITED.bits();
            transaction.push(registered.id, argv, keys);
            if registered.command.name == "select" {
                let db = number::parse_i64(argv.arg(1)).and_then(|db| usize::try_from(db).ok());
                transaction.db = db.unwrap_or(transaction.db);
            }
            transaction.flags |= flags;
            client.handle.queued.store(transaction.len() as u32, Relaxed);
            client.handle.queued_bytes.store(transaction.size(), Relaxed);
        }
        out.simple("QUEUED");
        None
    }

    /// Carries out the client's queue.
    pub(super) fn exec(
        &mut self,
        registered: &Registered,
        argv: Argv<'_>,
        client: &mut Client,
        out: &mut ReplyBuf,
        now_ms: i64,
    ) -> Result<Option<Stop>, CmdError> {
        if !client.flags.has(ClientFlags::MULTI) {
            if self.server.gates.load(Relaxed) & gate::MONITORS != 0 {
                show_to_monitors(&self.server, client, registered.command, argv);
            }
            return Err(CmdError::ExecWithoutMulti);
        }
        let mut transaction = client.transaction.take().expect("MULTI made a queue");
        let result = self.exec_queue((registered, argv), &transaction, client, out, now_ms);
        transaction.clear();
        client.transaction = Some(transaction);
        client.set_flags(ClientFlags::MULTI | ClientFlags::CACHING, false);
        result
    }

    fn exec_queue(
        &mut self,
        (registered, own): (&Registered, Argv<'_>),
        transaction: &Transaction,
        client: &mut Client,
        out: &mut ReplyBuf,
        now_ms: i64,
    ) -> Result<Option<Stop>, CmdError> {
        let (server, commands) = (std::sync::Arc::clone(&self.server), self.commands.clone());
        let counters = std::sync::Arc::clone(&self.counters);
        let keys = transaction.keys();
        Lookahead::default().reach(&server.keyspace, client.db, keys, 0..keys.len());
        let engine = match self.needs_engine(transaction) {
            true => Some(lock_engine(&server)?),
            false => None,
        };
        let access = match self.locks_of(transaction, client) {
            Plan::All => lock_shards(&server, LockSet::All),
            Plan::Hashes(hashes) => lock_shards(&server, LockSet::Hashes(&hashes)),
        }?;
        let state = (&mut self.changes, &mut self.effects);
        let mut ctx = context(&server, &commands, state, access, client, out, now_ms);
        (ctx.command, ctx.engine) = (registered.command, engine);
        ctx.out_of_memory = self.room == Room::None;
        let broken = is_broken(&mut ctx);
        forget_watched(&mut ctx);
        if transaction.aborted || broken {
            show_exec(&ctx, own);
            if transaction.aborted {
                return Err(CmdError::ExecAborted);
            }
            ctx.out.null_array();
            return Ok(None);
        }
        ctx.client.set_flags(ClientFlags::DENY_BLOCKING, true);
        ctx.out.array(transaction.len());
        let mut stop = None;
        for (id, argv, keys) in transaction.iter() {
            let registered = commands.by_id(id).expect("it was queued by its id");
            if let Err(error) = permit(&ctx, (registered, argv)) {
                ctx.out.error(&error);
                counters.errors.add(1);
                server.stats.count_error(&error.to_string());
                continue;
            }
            stop = stop.or(run_inner(&mut ctx, &counters, registered, argv, keys));
        }
        ctx.client.set_flags(ClientFlags::DENY_BLOCKING, false);
        show_exec(&ctx, own);
        let deferred = conclude(&mut ctx);
        drop(ctx);
        self.settle();
        if !deferred.is_empty() {
            self.serve_deferred(deferred, client, now_ms);
        }
        Ok(stop)
    }

    fn row(&self, id: usize) -> &'static Command {
        self.commands.by_id(id).expect("it was queued by its id").command
    }

    fn needs_engine(&self, transaction: &Transaction) -> bool {
        transaction.iter().any(|(id, ..)| self.row(id).locks == Locks::Script)
    }

    /// The shards that the queue of `client` needs, with those of what it watches.
    fn locks_of(&self, transaction: &Transaction, client: &Client) -> Plan {
        let needs_all = |id| matches!(self.row(id).locks, Locks::All | Locks::Each);
        if transaction.iter().any(|(id, ..)| needs_all(id)) {
            return Plan::All;
        }
        let watched = client.watch.iter().flat_map(|watch| &watch.keys).map(|key| key.hash);
        Plan::Hashes(transaction.keys().iter().map(|key| key.hash).chain(watched).collect())
    }
}

/// May the queued command still run? The user may have changed since, or be gone: the transaction
/// itself may have removed it, and what follows is not to run as the default user.
fn permit(ctx: &Ctx<'_>, request: (&Registered, Argv<'_>)) -> Result<(), CmdError> {
    let (server, client) = (ctx.server, &*ctx.client);
    if !is_known(server, client.flags) && !request.0.command.flags.has(Flags::NO_AUTH) {
        return Err(CmdError::NoAuth);
    }
    check_client(server, client, request, client.db).map_err(|lack| {
        let whole = (server, ctx.commands);
        note_lack(whole, &client.handle, lack, request, Context::Multi);
        lack.error_in_exec()
    })
}

/// Shows EXEC to monitors, after what it carried out.
fn show_exec(ctx: &Ctx<'_>, argv: Argv<'_>) {
    if ctx.effects.audience & gate::MONITORS != 0 {
        show_to_monitors(ctx.server, ctx.client, ctx.command, argv);
    }
}

/// Whether a key that the client watches has changed or expired; the shards of all are held.
fn is_broken(ctx: &mut Ctx<'_>) -> bool {
    let Some(watch) = ctx.client.watch.as_ref() else { return false };
    let current = ctx.db.db();
    let expired = watch.keys.iter().any(|key| {
        ctx.db.select(key.db);
        let shard = ctx.server.keyspace.shard_of(key.hash);
        ctx.db.presence(Key { bytes: &key.key, hash: key.hash }) == Presence::Expired
            && !ctx.server.watched.was_expired(shard, key, watch)
    });
    let broken = expired || watch.broken.load(Relaxed);
    ctx.db.select(current);
    broken
}
