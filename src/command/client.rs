//! CLIENT: what connections say of themselves, and what can be done to them.

use std::sync::Arc;

use ::bytes::Bytes;

use super::args::Args;
use super::client_filter::ClientFilter;
use super::client_line::{Running, describe};
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::introspect::help;
use super::spec::{Command, Flags, Group, Locks};
use super::tracking::{caching, getredir, tracking, trackinginfo};
use crate::base::limits::ERROR_PREVIEW_MAX;
use crate::base::{bytes, number};
use crate::resp::ReplyBuf;
use crate::server::{ClientFlags, ClientHandle, PauseKind, gate};

const COMMON: Flags = Flags::NOSCRIPT.with(Flags::LOADING).with(Flags::STALE).with(Flags::NO_PAUSE);
const HELP: Flags = Flags::LOADING.with(Flags::STALE).with(Flags::NO_PAUSE);
const ADMIN: Flags = COMMON.with(Flags::ADMIN);

const fn row(name: &'static str, arity: i32, handler: super::spec::Handler) -> Command {
    Command::new(name, arity, handler).group(Group::Connection).flags(COMMON)
}

pub(super) static COMMANDS: &[Command] =
    &[Command::new("client", -2, help).group(Group::Connection).subcommands(&[
        row("id", 2, id),
        row("getname", 2, getname),
        row("setname", 3, setname),
        row("setinfo", 4, setinfo),
        row("info", 2, info).tips(&["nondeterministic_output"]),
        row("list", -2, list).flags(ADMIN).tips(&["nondeterministic_output"]),
        row("kill", -3, kill).flags(ADMIN),
        row("reply", 3, reply),
        row("no-evict", 3, no_evict).flags(ADMIN),
        row("no-touch", 3, no_touch),
        row("unblock", -3, unblock).flags(ADMIN),
        row("pause", -3, pause).flags(ADMIN),
        row("unpause", 2, unpause).flags(ADMIN),
        row("capa", -3, capa),
        row("tracking", -3, tracking).locks(Locks::Each),
        row("caching", 3, caching),
        row("getredir", 2, getredir),
        row("trackinginfo", 2, trackinginfo),
        Command::new("help", 2, help).group(Group::Connection).flags(HELP).help(&[
            "CACHING (YES|NO)",
            "    Cache what the next command reads, or do not.",
            "CAPA <capability> [<capability> ...]",
            "    Tell the server what this client can handle.",
            "GETNAME",
            "    Show the name of this connection.",
            "GETREDIR",
            "    Show the number of the connection to which invalidations go.",
            "ID",
            "    Show the number of this connection.",
            "INFO",
            "    Show what LIST would show of this connection.",
            "KILL <ip:port>",
            "    Close the connection from that address.",
            "KILL <option> <value> [<option> <value> ...]",
            "    Close the connections that all the given filters of LIST select.",
            "LIST [<option> <value> ...]",
            "    Show the connections that all the given filters select.",
            "NO-EVICT (ON|OFF)",
            "    Protect this connection from being closed to free memory.",
            "NO-TOUCH (ON|OFF)",
            "    Leave the access times of keys alone.",
            "PAUSE <timeout> [WRITE|ALL]",
            "    Let commands wait for <timeout> milliseconds.",
            "REPLY (ON|OFF|SKIP)",
            "    Say which commands are answered.",
            "SETINFO <option> <value>",
            "    Tell the name or version of the client library.",
            "SETNAME <name>",
            "    Name this connection.",
            "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
            "         [OPTIN] [OPTOUT] [NOLOOP]",
            "    Say whether this connection is told of changes of what it has read.",
            "TRACKINGINFO",
            "    Show what TRACKING was told.",
            "UNBLOCK <client-id> [TIMEOUT|ERROR]",
            "    End the wait of a blocked client.",
            "UNPAUSE",
            "    End a pause.",
        ]),
    ])];

fn id(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    ctx.out.integer(ctx.client.handle.id as i64);
    Ok(Flow::Done)
}

fn getname(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let name = ctx.client.handle.identity().name;
    if name.is_empty() {
        ctx.out.null();
    } else {
        ctx.out.bulk(&name);
    }
    Ok(Flow::Done)
}

/// Names go into CLIENT LIST's lines, so they are printable ASCII without spaces.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

/// Refuses what cannot be a connection's name.
pub(super) fn check_name(name: &[u8]) -> Result<(), CmdError> {
    if is_plain(name) { Ok(()) } else { Err(CmdError::ClientName) }
}

/// Names the connection.
pub(super) fn set_name(ctx: &Ctx<'_>, name: &[u8]) {
    ctx.client.handle.identify(|identity| identity.name = Bytes::copy_from_slice(name));
}

fn setname(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    check_name(args.get(2))?;
    set_name(ctx, args.get(2));
    ctx.out.ok();
    Ok(Flow::Done)
}

fn setinfo(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let is_name = args.is(2, "lib-name");
    if !is_name && !args.is(2, "lib-ver") {
        let option = bytes::preview(args.get(2), ERROR_PREVIEW_MAX);
        return Err(CmdError::ClientInfoOption(option));
    }
    if !is_plain(args.get(3)) {
        return Err(CmdError::ClientInfoText(if is_name { "lib-name" } else { "lib-ver" }));
    }
    let value = Bytes::copy_from_slice(args.get(3));
    ctx.client.handle.identify(|identity| {
        *(if is_name { &mut identity.lib_name } else { &mut identity.lib_ver }) = value;
    });
    ctx.out.ok();
    Ok(Flow::Done)
}

/// A client's line, without its end.
fn line(ctx: &Ctx<'_>, args: &Args<'_>, handle: &ClientHandle) -> String {
    // The caller's last command is the one that runs right now.
    let own = handle.id == ctx.client.handle.id;
    let running = own.then(|| ctx.commands.full_name(ctx.command).map(|name| (name, args.argv())));
    let running = running.flatten();
    let running = running.as_ref().map(|(name, argv)| Running { name, argv: *argv });
    describe(ctx.commands, handle, running, ctx.now_ms)
}

fn info(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let line = line(ctx, args, &ctx.client.handle) + "\n";
    ctx.out.verbatim("txt", line.as_bytes());
    Ok(Flow::Done)
}

fn list(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let filter = ClientFilter::parse_list(ctx, args)?;
    let mut text = String::new();
    for handle in ctx.server.clients.all().iter().filter(|handle| filter.selects(ctx, handle)) {
        text.push_str(&line(ctx, args, handle));
        text.push('\n');
    }
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

fn kill(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let filter = if args.len() == 3 {
        ClientFilter::address(args.get(2))
    } else {
        ClientFilter::parse_kill(ctx, args)?
    };
    let killed: Vec<Arc<ClientHandle>> =
        ctx.server.clients.all().into_iter().filter(|handle| filter.selects(ctx, handle)).collect();
    if args.len() == 3 && killed.is_empty() {
        return Err(CmdError::NoSuchClient);
    }
    if args.len() == 3 {
        ctx.out.ok();
    } else {
        ctx.out.count(killed.len());
    }
    let mut flow = Flow::Done;
    for handle in killed {
        if handle.id == ctx.client.handle.id {
            // The caller gets its answer before it is closed.
            flow = Flow::Close;
        } else {
            handle.kill();
        }
    }
    Ok(flow)
}

fn reply(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    match () {
        () if args.is(2, "on") => {
            ctx.client.set_flags(ClientFlags::REPLY, false);
            ctx.out.ok();
        }
        () if args.is(2, "off") => ctx.client.set_flags(ClientFlags::REPLY_OFF, true),
        () if args.is(2, "skip") => {
            if !ctx.client.flags.has(ClientFlags::REPLY_OFF) {
                ctx.client.set_flags(ClientFlags::REPLY_SKIP_NEXT, true);
            }
        }
        () => return Err(CmdError::Syntax),
    }
    Ok(Flow::Done)
}

fn no_evict(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    switch(ctx, args, ClientFlags::NO_EVICT)
}

fn no_touch(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    switch(ctx, args, ClientFlags::NO_TOUCH)
}

fn switch(ctx: &mut Ctx<'_>, args: &Args<'_>, flag: u32) -> Result<Flow, CmdError> {
    let on = args.is(2, "on");
    if !on && !args.is(2, "off") {
        return Err(CmdError::Syntax);
    }
    ctx.client.set_flags(flag, on);
    ctx.out.ok();
    Ok(Flow::Done)
}

fn unblock(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    if args.len() > 4 {
        return Err(CmdError::UnknownSubcommandOrArity {
            subcommand: bytes::preview(args.get(1), ERROR_PREVIEW_MAX),
            container: "CLIENT",
        });
    }
    if args.len() == 4 && !args.is(3, "timeout") && !args.is(3, "error") {
        return Err(CmdError::UnblockReason);
    }
    let id = args.integer(2)?;
    let waiter = u64::try_from(id).ok().and_then(|id| ctx.server.clients.get(id)?.waiter());
    let ended = waiter.is_some_and(|waiter| waiter.unblock(args.is(3, "error")));
    ctx.out.integer(i64::from(ended));
    Ok(Flow::Done)
}

fn pause(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    if args.len() > 4 {
        return Err(CmdError::UnknownSubcommandOrArity {
            subcommand: bytes::preview(args.get(1), ERROR_PREVIEW_MAX),
            container: "CLIENT",
        });
    }
    let kind = match () {
        () if args.len() == 3 || args.is(3, "all") => PauseKind::All,
        () if args.is(3, "write") => PauseKind::Write,
        () => return Err(CmdError::PauseMode),
    };
    let span_ms = number::parse_i64(args.get(2)).ok_or(CmdError::TimeoutNotInteger)?;
    if span_ms < 0 {
        return Err(CmdError::TimeoutNegative);
    }
    let until_ms = ctx.now_ms.checked_add(span_ms).ok_or(CmdError::TimeoutRange)?;
    ctx.server.pause.begin(kind, until_ms, ctx.now_ms);
    ctx.server.set_gate(gate::PAUSED, true);
    ctx.out.ok();
    Ok(Flow::Done)
}

fn unpause(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    ctx.server.set_gate(gate::PAUSED, false);
    ctx.server.pause.end();
    ctx.out.ok();
    Ok(Flow::Done)
}

fn capa(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    if args.rest(2).any(|word| bytes::is_word(word, "redirect")) {
        ctx.client.set_flags(ClientFlags::CAPA_REDIRECT, true);
    }
    ctx.out.ok();
    Ok(Flow::Done)
}

/// Writes the lines of a HELP subcommand.
pub(super) fn reply_help(out: &mut ReplyBuf, container: &str, lines: &[&str]) {
    out.array(lines.len() + 3);
    let head = format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    out.simple(&head);
    lines.iter().for_each(|line| out.simple(line));
    out.simple("HELP");
    out.simple("    Print this help.");
}
