//! Requests of clients whose event loop waits for a script that runs for too long.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::call::context;
use crate::acl::Context;
use crate::command::{
    Args, CmdError, Command, CommandTable, Effects, Flags, Group, Registered, check_handle,
    note_lack,
};
use crate::keyspace::{Access, Changes};
use crate::resp::{Argv, ReplyBuf};
use crate::server::{Client, ClientFlags, ClientHandle, Server, ShutdownMode, gate, meanwhile};

/// States of a client in which its requests have to wait for its event loop.
const IN_THE_MIDDLE: u32 =
    ClientFlags::UNAUTHENTICATED | ClientFlags::BLOCKED | ClientFlags::CLOSING | ClientFlags::REPLY;

/// Begins or ends a transaction, which the connection's task takes over later; `false` for other
/// commands and misuse.
fn transaction(server: &Server, handle: &ClientHandle, row: &Command, out: &mut ReplyBuf) -> bool {
    let queueing = ClientFlags(handle.flags.load(Relaxed)).has(ClientFlags::MULTI);
    let end = || {
        handle.flags.fetch_and(!ClientFlags::MULTI, Relaxed);
        handle.meanwhile.store(meanwhile::ENDED, Relaxed);
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

/// Why the client may not run a command, which is counted and logged then.
fn refusal(
    server: &Server,
    commands: &CommandTable,
    handle: &Arc<ClientHandle>,
    request: (&Registered, Argv<'_>),
) -> Option<CmdError> {
    let db = handle.db.load(Relaxed);
    let lack = check_handle(server, handle, request, db).err()?;
    note_lack((server, commands), handle, lack, request, Context::TopLevel);
    Some(lack.error(server, request.0))
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
    let busy = server.gates.load(Relaxed) & gate::BUSY != 0;
    if !busy || flags.has(IN_THE_MIDDLE) {
        return false;
    }
    let Ok(registered) = commands.resolve(argv) else { return false };
    let row = registered.command;
    if !row.accepts(argv.len()) {
        return false;
    }
    if let Some(error) = refusal(server, commands, handle, (registered, argv)) {
        if flags.has(ClientFlags::MULTI) {
            handle.meanwhile.fetch_or(meanwhile::ABORTED, Relaxed);
        }
        out.error(&error);
        return true;
    }
    if row.group == Group::Transactions && transaction(server, handle, row, out) {
        return true;
    }
    if !row.flags.has(Flags::ALLOW_BUSY) {
        if flags.has(ClientFlags::MULTI) {
            handle.meanwhile.fetch_or(meanwhile::ABORTED, Relaxed);
        }
        out.error(&server.scripts.busy_error());
        return true;
    }
    if flags.has(ClientFlags::MULTI) {
        return false;
    }
    if row.name == "shutdown"
        && argv.iter().skip(1).any(|word| word.eq_ignore_ascii_case(b"nosave"))
    {
        server.abandon_scripts.store(true, Relaxed);
        server.shutdown.request(ShutdownMode::Graceful);
        return true;
    }
    if row.group != Group::Scripting {
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
    true
}
