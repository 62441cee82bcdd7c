//! What is remembered of a command that has run: its counters, and an entry in SLOWLOG, COMMANDLOG or
//! LATENCY if it took long, was long, or was answered at length.
//!
//! The path of every command tests three numbers ([`is_notable`]); all else is for those that pass.
//! A command that goes on after its handler has returned, because it waits, works in steps or lets
//! another thread make the reply, is counted when it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::call::{Executor, Stop};
use crate::base::clock;
use crate::command::{Flags, Locks, Registered, keys_of};
use crate::observe::command_log::{LogEntry, LogKind, LoggedArgs, logged_args};
use crate::observe::hot_session::Taken;
use crate::observe::latency_monitor::event;
use crate::observe::stats::LoopCounters;
use crate::resp::Argv;
use crate::server::{Client, ClientFlags, ClientHandle, Server, Unfinished};

/// Bytes around the arguments that [`Argv::extent`] does not see, at most.
const FRAME_MAX: usize = 32;

/// What a command came to.
#[derive(Clone, Copy)]
pub(super) struct Cost {
    pub(super) ticks: u64,
    pub(super) reply_len: usize,
}

/// Whether a command may belong into a log.
#[inline]
pub(super) fn is_notable(server: &Server, argv: Argv<'_>, cost: Cost) -> bool {
    let request_len = argv.extent().saturating_add(FRAME_MAX);
    server.thresholds.is_passed(cost.ticks, request_len, cost.reply_len)
}

/// Remembers a command of `handle`, as far as the logs ask for it.
#[cold]
pub(super) fn remember(
    server: &Server,
    registered: &Registered,
    argv: Argv<'_>,
    handle: &ClientHandle,
    cost: Cost,
) {
    let args = || logged_args(argv.iter(), &registered.command.secrets(argv));
    let request_len = argv.wire_len();
    note_keys(server, registered, argv, handle, (cost, request_len));
    enter(server, registered, handle, cost, request_len, args);
}

/// Counts the keys of a command in the session of HOTKEYS, if there is one. What a script calls counts
/// as part of the script.
pub(super) fn note_keys(
    server: &Server,
    registered: &Registered,
    argv: Argv<'_>,
    handle: &ClientHandle,
    (cost, request_len): (Cost, usize),
) {
    let in_script = ClientFlags(handle.flags.load(Relaxed)).has(ClientFlags::SCRIPT);
    let is_apart = in_script || registered.command.locks == Locks::Transaction;
    if is_apart || !server.hot_sessions.is_running() {
        return;
    }
    let mut indexes = Vec::new();
    if keys_of(registered.command, argv, &mut indexes).is_err() {
        return;
    }
    let bytes = (request_len + cost.reply_len) as u64;
    let taken = Taken { ticks: cost.ticks, bytes };
    let keys = indexes.iter().map(|at| (server.keyspace.hash(argv.arg(*at)), argv.arg(*at)));
    if !server.hot_sessions.note(handle.thread, taken, indexes.len(), keys) {
        server.refresh_thresholds();
    }
}

fn enter(
    server: &Server,
    registered: &Registered,
    handle: &ClientHandle,
    cost: Cost,
    request_len: usize,
    args: impl FnOnce() -> LoggedArgs,
) {
    let (flags, us) = (registered.command.flags, clock::ticks_to_us(cost.ticks));
    let event = if flags.has(Flags::FAST) { event::FAST_COMMAND } else { event::COMMAND };
    server.latency.note(event, us);
    if flags.has(Flags::SKIP_SLOWLOG) {
        return;
    }
    let values = [
        (LogKind::Slow, us),
        (LogKind::LargeRequest, request_len as u64),
        (LogKind::LargeReply, cost.reply_len as u64),
    ];
    let log = &server.command_log;
    let passed = |(kind, value): &(LogKind, u64)| log.threshold(*kind).is_some_and(|n| *value >= n);
    if !values.iter().any(passed) {
        return;
    }
    let (args, peer) = (args(), Arc::<str>::from(handle.peer.addr()));
    for (kind, value) in values.into_iter().filter(passed) {
        let (args, peer) = (Arc::clone(&args), Arc::clone(&peer));
        let name = handle.identity().name;
        log.push(kind, LogEntry { id: 0, at_s: 0, value, args, peer, name });
    }
}

/// Counts a command that has ended.
pub(super) fn count(server: &Server, counters: &LoopCounters, command: usize, ticks: u64) {
    let tracks_latency = server.settings.latency_tracking.load(Relaxed);
    counters.commands[command].count(ticks, tracks_latency);
}

impl Executor {
    /// Remembers the command that `client` goes on with, so that it is counted when it ends.
    #[cold]
    pub(super) fn postpone(
        client: &mut Client,
        registered: &Registered,
        argv: Argv<'_>,
        cost: Cost,
    ) {
        client.unfinished = Some(Box::new(Unfinished {
            command: registered.id,
            args: logged_args(argv.iter(), &registered.command.secrets(argv)),
            request_len: argv.wire_len(),
            reply_len: cost.reply_len,
            ticks: cost.ticks,
            since: clock::ticks(),
        }));
    }

    /// Counts the command that `client` went on with; the last of it cost `last`.
    pub(super) fn end_unfinished(&self, client: &mut Client, last: Cost) {
        let Some(all) = client.unfinished.take() else { return };
        let cost =
            Cost { ticks: all.ticks + last.ticks, reply_len: all.reply_len + last.reply_len };
        count(&self.server, &self.counters, all.command, cost.ticks);
        if let Some(registered) = self.commands.by_id(all.command) {
            enter(&self.server, registered, &client.handle, cost, all.request_len, || all.args);
        }
    }
}

/// Whether a request goes on after its handler has returned.
#[inline]
pub(super) fn goes_on(stop: Option<&Stop>) -> bool {
    matches!(stop, Some(Stop::Blocked(_) | Stop::Work(_) | Stop::Await(_)))
}
