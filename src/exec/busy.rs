//! Requests while a script runs for too long: nobody waits for its end, neither who had begun to wait
//! for what it holds nor clients whose event loop does.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::admission::is_known;
use super::call::context;
use super::eval::engine_unless;
use crate::acl::Context;
use crate::command::{
    Args, CmdError, Command, CommandTable, Effects, Flags, Group, Registered, check_handle,
    note_lack,
};
use crate::keyspace::{Access, Changes, LockSet};
use crate::resp::{Argv, ReplyBuf};
use crate::script::EngineGuard;
use crate::server::{Client, ClientFlags, ClientHandle, Server, ShutdownMode, gate, meanwhile};

/// States of a client in which its requests have to wait for its event loop.
const IN_THE_MIDDLE: u32 = ClientFlags::BLOCKED | ClientFlags::CLOSING | ClientFlags::REPLY;

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
    engine_unless(server, || is_busy(server)).ok_or_else(|| busy(server))
}

/// Begins or ends a transaction, which the connection's task takes over later; `false` for other
/// commands and misuse.
fn transaction(server: &Server, handle: &ClientHandle, row: &Command, out: &mut ReplyBuf) -> bool {
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
            out.ok();
        }
        "discard" if queueing => {
            end();
            out.ok();
        }
        "exec" => {
            end();
            out.error(&CmdError::ExecRejected(server.scripts.busy_error().to_string()));
        }
        _ => return false,
    }
    true
}

/// The command of a request that its client may make; what it lacks is counted and logged.
fn acceptable<'t>(
    server: &Server,
    commands: &'t CommandTable,
    handle: &Arc<ClientHandle>,
    argv: Argv<'_>,
) -> Result<&'t Registered, CmdError> {
    let registered = commands.resolve(argv)?;
    if !registered.command.accepts(argv.len()) {
        return Err(CmdError::Arity(registered.name.clone()));
    }
    let flags = ClientFlags(handle.flags.load(Relaxed));
    if !is_known(server, flags) {
        let free = registered.command.flags.has(Flags::NO_AUTH);
        return if free { Ok(registered) } else { Err(CmdError::NoAuth) };
    }
    let db = handle.db.load(Relaxed);
    check_handle(server, handle, (registered, argv), db).map_err(|lack| {
        note_lack((server, commands), handle, lack, (registered, argv), Context::TopLevel);
        lack.error(server, registered)
    })?;
    Ok(registered)
}

/// Replies an error; a transaction that the request belongs to will not run.
fn refuse(handle: &ClientHandle, out: &mut ReplyBuf, error: &CmdError) -> bool {
    if ClientFlags(handle.flags.load(Relaxed)).has(ClientFlags::MULTI) {
        handle.meanwhile.fetch_or(meanwhile::ABORTED, Relaxed);
    }
    out.error(error);
    true
}

/// Answers a request that cannot wait, or says that the server is busy; `false` when it is to wait.
pub fn answer(
    server: &Server,
    commands: &CommandTable,
    handle: &Arc<ClientHandle>,
    argv: Argv<'_>,
    out: &mut ReplyBuf,
) -> bool {
    let flags = ClientFlags(handle.flags.load(Relaxed));
    if !is_busy(server) || flags.has(IN_THE_MIDDLE) {
        return false;
    }
    let registered = match acceptable(server, commands, handle, argv) {
        Ok(registered) => registered,
        Err(error) => return refuse(handle, out, &error),
    };
    let row = registered.command;
    if row.group == Group::Transactions && transaction(server, handle, row, out) {
        return true;
    }
    if !row.flags.has(Flags::ALLOW_BUSY) {
        return refuse(handle, out, &busy(server));
    }
    if flags.has(ClientFlags::MULTI) {
        return false;
    }
    if row.name == "shutdown" {
        let says = |name: &[u8]| argv.iter().skip(1).any(|word| word.eq_ignore_ascii_case(name));
        if says(b"abort") {
            match server.abort_shutdown() {
                true => out.ok(),
                false => out.error(&CmdError::NoShutdown),
            }
        } else if says(b"nosave") {
            server.abandon_scripts.store(true, Relaxed);
            server.shutdown.request(ShutdownMode::Graceful);
        } else {
            out.error(&busy(server));
        }
        return true;
    }
    let identifies = matches!(row.name, "auth" | "hello");
    if row.group != Group::Scripting && !identifies {
        // It changes the state of its connection, which only its event loop may.
        return false;
    }
    let (mut changes, mut effects) = (Changes::default(), Effects::default());
    let (mut client, now_ms) = (Client::new(Arc::clone(handle)), server.now_ms());
    let state = (&mut changes, &mut effects);
    let mut ctx = context(server, commands, state, Access::None, &mut client, out, now_ms);
    ctx.command = row;
    let result = (row.handler)(&mut ctx, &Args::new(argv, &[], &server.keyspace));
    if let Err(error) = result {
        ctx.out.error(&error);
    }
    if identifies {
        handle.meanwhile.fetch_or(meanwhile::IDENTIFIED, Relaxed);
    }
    true
}
