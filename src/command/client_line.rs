//! A client as one line: the fields that Redis and Valkey print, in their order.
//!
//! Buffers differ from theirs. Input that is whole when it arrives, which is nearly all, never is in
//! a buffer of the client's own, and a reply is in one only until its event loop has written it. So
//! `qbuf`, `qbuf-free`, `rbs`, `obl` and `oll` are 0 but for what waits for more input or for the
//! socket; `rbp` is the most that ever waited, and `omem` all that waits.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use super::table::CommandTable;
use super::tracking::redirect_of;
use crate::pubsub::Kind;
use crate::resp::Argv;
use crate::server::{ClientFlags, ClientHandle};

/// What a client runs right now.
pub(super) struct Running<'a> {
    /// The command's name.
    pub(super) name: &'a str,
    /// The request.
    pub(super) argv: Argv<'a>,
}

/// The letters of `flags=`.
pub(super) fn flag_letters(handle: &ClientHandle) -> String {
    let mut flags = ClientFlags(handle.flags.load(Relaxed));
    flags.set(ClientFlags::BROKEN, handle.redirect_broken.load(Relaxed));
    let is_set = |flag| flags.has(flag);
    let letters = [
        (is_set(ClientFlags::MONITOR), 'O'),
        (is_set(ClientFlags::PUBSUB), 'P'),
        (is_set(ClientFlags::MULTI), 'x'),
        (is_set(ClientFlags::BLOCKED), 'b'),
        (is_set(ClientFlags::TRACKING), 't'),
        (is_set(ClientFlags::BROKEN), 'R'),
        (is_set(ClientFlags::BCAST), 'B'),
        (handle.is_watch_broken(), 'd'),
        (is_set(ClientFlags::CLOSING), 'c'),
        (is_set(ClientFlags::UNIX), 'U'),
        (is_set(ClientFlags::NO_EVICT), 'e'),
        (is_set(ClientFlags::NO_TOUCH), 'T'),
    ];
    let set: String = letters.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect();
    if set.is_empty() { "N".to_owned() } else { set }
}

/// A client's line in CLIENT LIST, without its end; `running` is what the client runs right now.
pub(super) fn describe(
    commands: &CommandTable,
    handle: &ClientHandle,
    running: Option<Running<'_>>,
    now_ms: i64,
) -> String {
    let mut line = String::with_capacity(512);
    connection(&mut line, handle, now_ms);
    state(&mut line, handle);
    buffers(&mut line, handle, running.as_ref().map(|running| running.argv.bytes_len()));
    let last = handle.last_command.load(Relaxed).checked_sub(1);
    let last = last.and_then(|id| commands.by_id(id as usize)).map(|last| last.name.as_str());
    let command = running.map(|running| running.name).or(last).unwrap_or("NULL");
    identity(&mut line, handle, command);
    line
}

fn put(line: &mut String, text: std::fmt::Arguments<'_>) {
    line.write_fmt(text).expect("writing to memory does not fail");
}

fn connection(line: &mut String, handle: &ClientHandle, now_ms: i64) {
    let seconds_since = |at_ms: i64| (now_ms - at_ms).max(0) / 1000;
    let (id, fd, peer) = (handle.id, handle.fd, &handle.peer);
    let (age, name) = (seconds_since(handle.created_at_ms), handle.identity().name);
    let (idle, name) = (seconds_since(handle.active_at_ms.load(Relaxed)), lossy(&name));
    put(line, format_args!("id={id} addr={} laddr={} fd={fd}", peer.addr(), peer.laddr()));
    put(line, format_args!(" name={name} age={age} idle={idle}"));
}

fn state(line: &mut String, handle: &ClientHandle) {
    let flags = ClientFlags(handle.flags.load(Relaxed));
    let capa = if flags.has(ClientFlags::CAPA_REDIRECT) { "r" } else { "" };
    put(line, format_args!(" flags={} capa={capa}", flag_letters(handle)));
    put(line, format_args!(" db={}", handle.db.load(Relaxed)));
    for (name, kind) in [("sub", Kind::Channel), ("psub", Kind::Pattern), ("ssub", Kind::Shard)] {
        put(line, format_args!(" {name}={}", handle.mailbox.count(kind)));
    }
    let in_multi = flags.has(ClientFlags::MULTI);
    let queued = if in_multi { i64::from(handle.queued.load(Relaxed)) } else { -1 };
    put(line, format_args!(" multi={queued} watch={}", handle.watched.load(Relaxed)));
}

fn buffers(line: &mut String, handle: &ClientHandle, running: Option<usize>) {
    let waits = || handle.waiter().map(|waiter| waiter.argv.as_argv().bytes_len());
    let args = running.or_else(waits).unwrap_or(0);
    let (len, room) = (handle.query_len.load(Relaxed), handle.query_room.load(Relaxed));
    let queued = handle.queued_len();
    put(line, format_args!(" qbuf={len} qbuf-free={room} argv-mem={args} multi-mem={queued}"));
    let (backlog, mailbox) = (&handle.backlog, &handle.mailbox);
    let (room, peak) = (backlog.room.load(Relaxed), handle.output_peak.load(Relaxed));
    let held = backlog.held.load(Relaxed);
    let pieces = backlog.shared.load(Relaxed) + mailbox.messages();
    put(line, format_args!(" rbs={room} rbp={peak} obl={held} oll={pieces}"));
    let events = if backlog.blocked.load(Relaxed) { "rw" } else { "r" };
    let (output, all) = (handle.output_len(), handle.memory());
    put(line, format_args!(" omem={output} tot-mem={all} events={events}"));
}

fn identity(line: &mut String, handle: &ClientHandle, command: &str) {
    let (identity, flags) = (handle.identity(), ClientFlags(handle.flags.load(Relaxed)));
    let (user, redirect) = (handle.user_name(), redirect_of(handle));
    let resp = if flags.has(ClientFlags::RESP3) { 3 } else { 2 };
    put(line, format_args!(" cmd={command} user={user} redir={redirect} resp={resp}"));
    let (name, version) = (lossy(&identity.lib_name), lossy(&identity.lib_ver));
    put(line, format_args!(" lib-name={name} lib-ver={version} io-thread={}", handle.thread));
    let (input, output) = (handle.net_input.load(Relaxed), handle.net_output.load(Relaxed));
    let commands = handle.commands.load(Relaxed);
    put(line, format_args!(" tot-net-in={input} tot-net-out={output} tot-cmds={commands}"));
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
