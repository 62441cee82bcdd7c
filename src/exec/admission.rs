//! May this client run this command now? The checks in Redis's order, each on its own.

use super::busy::{busy, is_busy};
use super::eval::declares_no_writes;
use super::evict::Room;
use crate::acl::Context;
use crate::command::{
    CmdError, Command, CommandTable, Flags, Locks, Registered, check_client, note_lack,
};
use crate::resp::Argv;
use crate::server::{Client, ClientFlags, Server, gate};

/// Why a command does not run.
pub(super) enum Refusal {
    /// It never will: the client is told.
    Error(CmdError),
    /// It will when the pause ends.
    Paused,
    /// It will when memory that is being freed is free.
    NoRoomYet,
}

/// Everything a check may look at.
pub(super) struct Request<'a> {
    pub(super) server: &'a Server,
    pub(super) client: &'a Client,
    pub(super) command: &'a Command,
    /// The command's properties, of EXEC with those of what was queued.
    pub(super) flags: Flags,
    /// The same with its name and number.
    pub(super) registered: &'a Registered,
    pub(super) commands: &'a CommandTable,
    pub(super) argv: Argv<'a>,
    pub(super) now_ms: i64,
    /// Whether there is memory for it.
    pub(super) room: Room,
}

/// Why nothing may be written, if so.
pub(super) fn disk_error(server: &Server) -> Option<CmdError> {
    server.disk_trouble().map(CmdError::Misconf)
}

type Check = fn(&Request<'_>) -> Result<(), Refusal>;

/// The checks after existence and arity, in the order of Redis's `processCommand`.
const CHECKS: &[Check] = &[
    unprotected,
    authenticated,
    allowed_after_multi,
    permitted,
    fits_memory,
    disk_works,
    fits_subscriber,
    loaded,
    not_busy,
    fits_monitor,
    not_paused,
];

/// Runs all checks; most commands of most clients pass after one test of two words.
#[inline]
pub(super) fn admit(request: &Request<'_>) -> Result<(), Refusal> {
    let gates = request.server.gates.load(std::sync::atomic::Ordering::Relaxed);
    let guarded = request.client.flags.has(ClientFlags::GUARDED);
    let closer = guarded || request.room != Room::Enough || request.flags.has(Flags::PROTECTED);
    if gates & gate::ADMISSION == 0 && !closer {
        return Ok(());
    }
    CHECKS.iter().try_for_each(|check| check(request))
}

/// DEBUG is for those whom `enable-debug-command` allows it.
fn unprotected(request: &Request<'_>) -> Result<(), Refusal> {
    if !request.flags.has(Flags::PROTECTED) {
        return Ok(());
    }
    let allowed = match request.server.config.read().text("enable-debug-command") {
        "yes" => true,
        "local" => request.client.handle.peer.is_local(),
        _ => false,
    };
    let protected = CmdError::Protected("DEBUG", "enable-debug-command");
    if allowed { Ok(()) } else { Err(Refusal::Error(protected)) }
}

fn authenticated(request: &Request<'_>) -> Result<(), Refusal> {
    if is_known(request.server, request.client.flags) || request.flags.has(Flags::NO_AUTH) {
        return Ok(());
    }
    Err(Refusal::Error(CmdError::NoAuth))
}

/// Whether the client has logged in, or need not. A password that is gone locks nobody out.
pub(super) fn is_known(server: &Server, flags: ClientFlags) -> bool {
    !flags.has(ClientFlags::UNAUTHENTICATED) || server.acl.is_open()
}

fn allowed_after_multi(request: &Request<'_>) -> Result<(), Refusal> {
    let queueing = request.client.flags.has(ClientFlags::MULTI);
    if queueing && request.flags.has(Flags::NO_MULTI) {
        return Err(Refusal::Error(CmdError::NotInTransaction));
    }
    Ok(())
}

/// What the client's user may not do is logged.
fn permitted(request: &Request<'_>) -> Result<(), Refusal> {
    let Request { server, client, registered, argv, .. } = *request;
    let (db, context) = match &client.transaction {
        Some(queue) if client.flags.has(ClientFlags::MULTI) => (queue.db, Context::Multi),
        _ => (client.db, Context::TopLevel),
    };
    check_client(server, client, (registered, argv), db).map_err(|lack| {
        note_lack((server, request.commands), &client.handle, lack, (registered, argv), context);
        Refusal::Error(lack.error(server, registered))
    })
}

/// What may need memory needs some to be left.
fn fits_memory(request: &Request<'_>) -> Result<(), Refusal> {
    // What a transaction queues takes memory, too.
    let queues = || {
        request.client.flags.has(ClientFlags::MULTI)
            && !["exec", "discard", "quit", "reset"].contains(&request.command.name)
    };
    match request.room {
        Room::Enough | Room::Soon => Ok(()),
        _ if !request.flags.has(Flags::DENYOOM) && !queues() => Ok(()),
        // Which says so itself.
        _ if is_busy(request.server) => Ok(()),
        Room::Later => Err(Refusal::NoRoomYet),
        Room::None => Err(Refusal::Error(CmdError::OutOfMemory)),
    }
}

/// Nothing is written that could not be kept; PING says so too, for those who look after servers.
fn disk_works(request: &Request<'_>) -> Result<(), Refusal> {
    let gates = request.server.gates.load(std::sync::atomic::Ordering::Relaxed);
    let writes = request.flags.has(Flags::WRITE) || request.command.name == "ping";
    if gates & gate::DISK == 0 || !writes {
        return Ok(());
    }
    match disk_error(request.server) {
        Some(error) => Err(Refusal::Error(error)),
        None => Ok(()),
    }
}

/// In RESP2 a client that listens to channels could not tell replies from messages.
fn fits_subscriber(request: &Request<'_>) -> Result<(), Refusal> {
    let flags = request.client.flags;
    let free = !flags.has(ClientFlags::PUBSUB) || flags.has(ClientFlags::RESP3);
    if free || request.flags.has(Flags::SUBSCRIBER) {
        return Ok(());
    }
    Err(Refusal::Error(CmdError::SubscriberContext(request.registered.name.clone())))
}

/// While the data is being loaded, only what does without is heard.
fn loaded(request: &Request<'_>) -> Result<(), Refusal> {
    let gates = request.server.gates.load(std::sync::atomic::Ordering::Relaxed);
    if gates & gate::LOADING == 0 || request.command.flags.has(Flags::LOADING) {
        return Ok(());
    }
    Err(Refusal::Error(CmdError::Loading))
}

/// While a script runs for too long, only what ends it is heard.
fn not_busy(request: &Request<'_>) -> Result<(), Refusal> {
    if !is_busy(request.server) || request.command.flags.has(Flags::ALLOW_BUSY) {
        return Ok(());
    }
    Err(Refusal::Error(busy(request.server)))
}

/// Redis counts who monitors among replicas, which do not use the keyspace.
fn fits_monitor(request: &Request<'_>) -> Result<(), Refusal> {
    let uses = Flags::READONLY.with(Flags::WRITE).with(Flags::MAY_REPLICATE);
    if request.client.flags.has(ClientFlags::MONITOR) && request.flags.has(uses) {
        return Err(Refusal::Error(CmdError::NoKeyspace));
    }
    Ok(())
}

/// CLIENT and SHUTDOWN stay possible, or nobody could end a pause of everything.
fn not_paused(request: &Request<'_>) -> Result<(), Refusal> {
    let gates = request.server.gates.load(std::sync::atomic::Ordering::Relaxed);
    if gates & gate::PAUSED == 0 || request.command.flags.has(Flags::NO_PAUSE) {
        return Ok(());
    }
    let is_paused = |write| request.server.is_paused(write, request.now_ms);
    // What scripts declare is looked up only where it matters.
    let waits = is_paused(false)
        || request.flags.has(Flags::MAY_WRITE)
            && is_paused(true)
            && may_write(request).map_err(Refusal::Error)?;
    if waits { Err(Refusal::Paused) } else { Ok(()) }
}

/// Whether a request, or one of those that EXEC is to run, may write: scripts may declare not to.
fn may_write(request: &Request<'_>) -> Result<bool, CmdError> {
    let writes = |command: &Command, argv| {
        let may = command.flags.has(Flags::MAY_WRITE);
        Ok(may && !declares_no_writes(request.server, command, argv)?)
    };
    match &request.client.transaction {
        Some(queue) if request.command.locks == Locks::Transaction => {
            for (id, argv, _) in queue.iter() {
                let queued = request.commands.by_id(id).expect("it was queued by its id");
                if writes(queued.command, argv)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => writes(request.command, request.argv),
    }
}
