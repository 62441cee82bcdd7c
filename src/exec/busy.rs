//! Requests while a script runs for too long: nobody waits for its end, neither who had begun to wait
//! for what it holds nor clients whose event loop does.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::admission::is_known;
use super::call::context;
use crate::acl::Context;
use crate::base::idle;
use crate::command::{
    Args, CmdError, Command, CommandTable, Effects, Flags, Group, Registered, check_handle,
    is_shown, note_lack, parse_shutdown, show_to_monitors,
};
use crate::keyspace::{Access, Changes, LockSet};
use crate::observe::stats::LoopCounters;
use crate::resp::{Argv, ReplyBuf};
use crate::script::EngineGuard;
use crate::server::{Client, ClientFlags, ClientHandle, Server, ShutdownMode, gate, meanwhile};

/// States of a client in which its requests have to wait for its event loop.
const IN_THE_MIDDLE: u32 = ClientFlags::BLOCKED | ClientFlags::CLOSING | ClientFlags::REPLY;

/// How often somebody who waits for the engine looks after its event loop meanwhile.
const WAIT: Duration = Duration::from_millis(5);

pub(super) fn is_busy(server: &Server) -> bool {
    server.gates.load(Relaxed) & gate::BUSY != 0
}

#[cold]
pub(super) fn busy(server: &Server) -> CmdError {
    CmdError::Busy(server.scripts.busy_error())
}

/// Takes the locks of `set`, unless a script turns out to keep the server busy.
#[inline(always)]
pub(super) fn lock_shards<'s>(
    server: &'s Server,
    set: LockSet<'_>,
) -> Result<Access<'s>, CmdError> {
    let gives_up = || is_busy(server);
    // Who takes one shard after the other cannot give up in the middle, so it looks before it begins.
    let one_by_one = matches!(set, LockSet::Each) && server.scripts.engine.is_locked();
    if one_by_one && !server.keyspace.all_pass(gives_up) {
        return Err(busy(server));
    }
    Access::take_unless(&server.keyspace, set, gives_up).ok_or_else(|| busy(server))
}

/// Takes the right to run scripts, unless one turns out to keep the server busy.
pub(super) fn lock_engine(server: &Server) -> Result<EngineGuard<'_>, CmdError> {
    loop {
        if let Some(engine) = server.scripts.engine.try_lock_for(WAIT) {
            return Ok(engine);
        }
        idle::run();
        if is_busy(server) {
            return Err(busy(server));
        }
    }
}

/// Answers on behalf of an event loop that waits for a script which runs for too long.
pub struct Standin<'a> {
    /// The server.
    pub server: &'a Server,
    /// Its commands.
    pub commands: &'a CommandTable,
    /// Of the event loop.
    pub counters: &'a LoopCounters,
}

impl Standin<'_> {
    /// Answers a request that cannot wait, or says that the server is busy; `false` when it is to wait.
    pub fn answer(&self, handle: &Arc<ClientHandle>, argv: Argv<'_>, out: &mut ReplyBuf) -> bool {
        let server = self.server;
        let flags = ClientFlags(handle.flags.load(Relaxed));
        if !is_busy(server) || flags.has(IN_THE_MIDDLE) || handle.is_killed() {
            return false;
        }
        let registered = match self.acceptable(handle, argv) {
            Ok(registered) => registered,
            Err(error) => return self.refuse(handle, out, &error),
        };
        let row = registered.command;
        if row.group == Group::Transactions
            && let Some(result) = transaction(server, handle, row)
        {
            return match result {
                Err(error @ CmdError::ExecRejected(_)) => {
                    self.reject(registered, handle, out, &error)
                }
                result => self.conclude(registered, out, result),
            };
        }
        if !row.flags.has(Flags::ALLOW_BUSY) {
            return self.reject(registered, handle, out, &busy(server));
        }
        if flags.has(ClientFlags::MULTI) {
            return false;
        }
        if row.name == "shutdown" {
            return match shutdown(server, argv) {
                // Nobody is told, as in Redis, but by the end of the connection.
                Ok(true) => {
                    self.count(registered, None);
                    // Whoever sees that end may be sure that nobody answers any more.
                    server.stop_listening();
                    handle.kill();
                    true
                }
                result => self.conclude(registered, out, result.map(drop)),
            };
        }
        let identifies = matches!(row.name, "auth" | "hello");
        if row.group != Group::Scripting && !identifies {
            // It changes the state of its connection, which only its event loop may.
            return false;
        }
        self.run(registered, handle, argv, out);
        if identifies {
            handle.meanwhile.fetch_or(meanwhile::IDENTIFIED, Relaxed);
        }
        true
    }

    /// The command of a request that its client may make; what it lacks is counted and logged.
    fn acceptable(
        &self,
        handle: &Arc<ClientHandle>,
        argv: Argv<'_>,
    ) -> Result<&Registered, CmdError> {
        let (server, commands) = (self.server, self.commands);
        let registered = commands.resolve(argv)?;
        let check = || {
            if !registered.command.accepts(argv.len()) {
                return Err(CmdError::Arity(registered.name.clone()));
            }
            if !is_known(server, ClientFlags(handle.flags.load(Relaxed))) {
                let free = registered.command.flags.has(Flags::NO_AUTH);
                return if free { Ok(()) } else { Err(CmdError::NoAuth) };
            }
            let db = handle.db.load(Relaxed);
            check_handle(server, handle, (registered, argv), db).map_err(|lack| {
                let whole = (server, commands);
                note_lack(whole, handle, lack, (registered, argv), Context::TopLevel);
                lack.error(server, registered)
            })
        };
        check().inspect_err(|_| self.counters.commands[registered.id].rejected.add(1))?;
        Ok(registered)
    }

    /// Runs a command that needs nothing of the keyspace.
    fn run(
        &self,
        registered: &Registered,
        handle: &Arc<ClientHandle>,
        argv: Argv<'_>,
        out: &mut ReplyBuf,
    ) {
        let (server, row) = (self.server, registered.command);
        let (mut changes, mut effects) = (Changes::default(), Effects::default());
        let (mut client, now_ms) = (Client::new(Arc::clone(handle)), server.now_ms());
        if is_shown(row) && server.gates.load(Relaxed) & gate::MONITORS != 0 {
            show_to_monitors(server, &client, row, argv);
        }
        let state = (&mut changes, &mut effects);
        let commands = self.commands;
        let mut ctx = context(server, commands, state, Access::None, &mut client, out, now_ms);
        ctx.command = row;
        let result = (row.handler)(&mut ctx, &Args::new(argv, &[], &server.keyspace));
        self.count(registered, result.as_ref().err());
        if let Err(error) = result {
            ctx.out.error(&error);
        }
    }

    /// Replies OK or an error of a command that was carried out.
    fn conclude(
        &self,
        registered: &Registered,
        out: &mut ReplyBuf,
        result: Result<(), CmdError>,
    ) -> bool {
        self.count(registered, result.as_ref().err());
        match result {
            Ok(()) => out.ok(),
            Err(error) => out.error(&error),
        }
        true
    }

    fn count(&self, registered: &Registered, error: Option<&CmdError>) {
        let cell = &self.counters.commands[registered.id];
        self.counters.processed.add(1);
        cell.calls.add(1);
        if let Some(error) = error {
            cell.failed.add(1);
            self.count_error(error);
        }
    }

    fn count_error(&self, error: &CmdError) {
        self.counters.errors.add(1);
        self.server.stats.count_error(&error.to_string());
    }

    /// As [`Self::refuse`], where the command is known.
    fn reject(
        &self,
        registered: &Registered,
        handle: &ClientHandle,
        out: &mut ReplyBuf,
        error: &CmdError,
    ) -> bool {
        self.counters.commands[registered.id].rejected.add(1);
        self.refuse(handle, out, error)
    }

    /// Replies an error; a transaction that the request belongs to will not run.
    fn refuse(&self, handle: &ClientHandle, out: &mut ReplyBuf, error: &CmdError) -> bool {
        if ClientFlags(handle.flags.load(Relaxed)).has(ClientFlags::MULTI) {
            handle.meanwhile.fetch_or(meanwhile::ABORTED, Relaxed);
        }
        self.count_error(error);
        out.error(error);
        true
    }
}

/// Begins or ends a transaction, or what WATCH began, which the connection's task takes over later; `None` for
/// what only that task can do.
fn transaction(
    server: &Server,
    handle: &ClientHandle,
    row: &Command,
) -> Option<Result<(), CmdError>> {
    let queueing = ClientFlags(handle.flags.load(Relaxed)).has(ClientFlags::MULTI);
    let end = || {
        handle.flags.fetch_and(!ClientFlags::MULTI, Relaxed);
        let kept = handle.meanwhile.load(Relaxed) & meanwhile::IDENTIFIED;
        handle.meanwhile.store(kept | meanwhile::ENDED, Relaxed);
    };
    match row.name {
        "multi" if !queueing => {
            handle.flags.fetch_or(ClientFlags::MULTI, Relaxed);
            handle.meanwhile.fetch_or(meanwhile::BEGUN, Relaxed);
            Some(Ok(()))
        }
        "multi" => Some(Err(CmdError::NestedMulti)),
        "discard" if queueing => {
            end();
            Some(Ok(()))
        }
        "discard" => Some(Err(CmdError::DiscardWithoutMulti)),
        "watch" if queueing => Some(Err(CmdError::WatchInsideMulti)),
        "unwatch" if !queueing => {
            handle.meanwhile.fetch_or(meanwhile::UNWATCHED, Relaxed);
            Some(Ok(()))
        }
        "exec" => {
            end();
            Some(Err(CmdError::ExecRejected(server.scripts.busy_error().to_string())))
        }
        _ => None,
    }
}

/// Whether the server ends. A script may be torn only where nothing is to be kept.
fn shutdown(server: &Server, argv: Argv<'_>) -> Result<bool, CmdError> {
    match parse_shutdown(argv)? {
        None if server.abort_shutdown() => Ok(false),
        None => Err(CmdError::NoShutdown),
        Some(options) if options.save == Some(false) => {
            server.shutdown.abandon_scripts();
            server.shutdown.request(ShutdownMode::Graceful);
            Ok(true)
        }
        Some(_) => Err(busy(server)),
    }
}
