//! May this client run this command now? The checks in Redis's order, each on its own.

use crate::command::{CmdError, Command, Flags};
use crate::server::{Client, ClientFlags, Server, gate};

/// Why a command does not run.
pub(super) enum Refusal {
    /// It never will: the client is told.
    Error(CmdError),
    /// It will when the pause ends.
    Paused,
}

/// Everything a check may look at.
pub(super) struct Request<'a> {
    pub(super) server: &'a Server,
    pub(super) client: &'a Client,
    pub(super) command: &'a Command,
    /// The command's properties, of EXEC with those of what was queued.
    pub(super) flags: Flags,
    /// The command's full name.
    pub(super) name: &'a str,
    pub(super) now_ms: i64,
}

/// Why nothing may be written, if so.
pub(super) fn disk_error(server: &Server) -> Option<CmdError> {
    server.disk_trouble().map(CmdError::Misconf)
}

type Check = fn(&Request<'_>) -> Result<(), Refusal>;

/// The checks after existence and arity, in the order of Redis's `processCommand`.
const CHECKS: &[Check] = &[
    authenticated,
    allowed_after_multi,
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
    if gates & gate::ADMISSION == 0 && !request.client.flags.has(ClientFlags::GUARDED) {
        return Ok(());
    }
    CHECKS.iter().try_for_each(|check| check(request))
}

fn authenticated(request: &Request<'_>) -> Result<(), Refusal> {
    let known = !request.client.flags.has(ClientFlags::UNAUTHENTICATED);
    // A password that is gone locks nobody out.
    let open = request.server.settings.password().is_none();
    if known || open || request.flags.has(Flags::NO_AUTH) {
        return Ok(());
    }
    Err(Refusal::Error(CmdError::NoAuth))
}

fn allowed_after_multi(request: &Request<'_>) -> Result<(), Refusal> {
    let queueing = request.client.flags.has(ClientFlags::MULTI);
    if queueing && request.flags.has(Flags::NO_MULTI) {
        return Err(Refusal::Error(CmdError::NotInTransaction));
    }
    Ok(())
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
    Err(Refusal::Error(CmdError::SubscriberContext(request.name.to_owned())))
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
    let gates = request.server.gates.load(std::sync::atomic::Ordering::Relaxed);
    if gates & gate::BUSY == 0 || request.command.flags.has(Flags::ALLOW_BUSY) {
        return Ok(());
    }
    Err(Refusal::Error(request.server.scripts.busy_error().into()))
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
    let write = request.flags.has(Flags::WRITE.with(Flags::MAY_REPLICATE));
    if request.server.is_paused(write, request.now_ms) { Err(Refusal::Paused) } else { Ok(()) }
}
