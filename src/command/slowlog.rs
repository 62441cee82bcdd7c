//! SLOWLOG, and COMMANDLOG, its wider form of Valkey.

use std::sync::Arc;

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::introspect::help;
use super::spec::{Command, Flags, Group, Handler};
use crate::base::limits::ERROR_PREVIEW_MAX;
use crate::base::{bytes, number};
use crate::observe::command_log::{LogEntry, LogKind};
use crate::resp::ReplyBuf;

const COMMON: Flags = Flags::ADMIN.with(Flags::LOADING).with(Flags::STALE);
const HELP: Flags = Flags::LOADING.with(Flags::STALE);

/// Entries that GET shows unasked.
const SHOWN: usize = 10;

const fn row(name: &'static str, arity: i32, handler: Handler) -> Command {
    Command::new(name, arity, handler).group(Group::Server).flags(COMMON)
}

const GET_TIPS: &[&str] = &["request_policy:all_nodes", "nondeterministic_output"];
const LEN_TIPS: &[&str] =
    &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"];
const RESET_TIPS: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

pub(super) static COMMANDS: &[Command] = &[
    Command::new("slowlog", -2, help).group(Group::Server).subcommands(&[
        row("get", -2, get).tips(GET_TIPS),
        row("len", 2, len).tips(LEN_TIPS),
        row("reset", 2, reset).tips(RESET_TIPS),
        Command::new("help", 2, help).group(Group::Server).flags(HELP).help(&[
            "GET [<count>]",
            "    Show the newest <count> entries (default: 10, -1 is all): number, time, microseconds,",
            "    arguments, address and name of the client.",
            "LEN",
            "    Count the entries.",
            "RESET",
            "    Forget all entries.",
        ]),
    ]),
    Command::new("commandlog", -2, help).group(Group::Server).subcommands(&[
        row("get", 4, log_get).tips(GET_TIPS),
        row("len", 3, log_len).tips(LEN_TIPS),
        row("reset", 3, log_reset).tips(RESET_TIPS),
        Command::new("help", 2, help).group(Group::Server).flags(HELP).help(&[
            "GET <count> <type>",
            "    Show the newest <count> entries (-1 is all) of the log <type>: number, time,",
            "    microseconds (slow) or bytes (large-request, large-reply), arguments, address and",
            "    name of the client.",
            "LEN <type>",
            "    Count the entries of the log <type>.",
            "RESET <type>",
            "    Forget all entries of the log <type>.",
        ]),
    ]),
];

fn get(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    if args.len() > 3 {
        let subcommand = bytes::preview(args.get(1), ERROR_PREVIEW_MAX);
        return Err(CmdError::UnknownSubcommandOrArity { subcommand, container: "SLOWLOG" });
    }
    let count = if args.len() == 3 { count(args.get(2))? } else { SHOWN };
    reply(ctx, LogKind::Slow, count)
}

fn len(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let len = ctx.server.command_log.len(LogKind::Slow);
    ctx.out.count(len);
    Ok(Flow::Done)
}

fn reset(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    ctx.server.command_log.clear(LogKind::Slow);
    ctx.out.ok();
    Ok(Flow::Done)
}

fn log_get(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (count, kind) = (count(args.get(2))?, kind(args.get(3))?);
    reply(ctx, kind, count)
}

fn log_len(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let len = ctx.server.command_log.len(kind(args.get(2))?);
    ctx.out.count(len);
    Ok(Flow::Done)
}

fn log_reset(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    ctx.server.command_log.clear(kind(args.get(2))?);
    ctx.out.ok();
    Ok(Flow::Done)
}

/// How many entries are asked for; -1 is all.
fn count(word: &[u8]) -> Result<usize, CmdError> {
    match number::parse_i64(word) {
        Some(-1) => Ok(usize::MAX),
        Some(count) => usize::try_from(count).map_err(|_| CmdError::LogCount),
        None => Err(CmdError::LogCount),
    }
}

fn kind(word: &[u8]) -> Result<LogKind, CmdError> {
    let named = |kind: &LogKind| bytes::is_word(word, kind.name());
    LogKind::ALL.into_iter().find(named).ok_or(CmdError::LogKind)
}

fn reply(ctx: &mut Ctx<'_>, kind: LogKind, count: usize) -> Result<Flow, CmdError> {
    let entries = ctx.server.command_log.newest(kind, count);
    ctx.out.array(entries.len());
    entries.iter().for_each(|entry| reply_entry(ctx.out, entry));
    Ok(Flow::Done)
}

fn reply_entry(out: &mut ReplyBuf, entry: &Arc<LogEntry>) {
    out.array(6);
    out.integer(entry.id as i64);
    out.integer(entry.at_s);
    out.integer(entry.value as i64);
    out.array(entry.args.len());
    entry.args.iter().for_each(|arg| out.bulk(arg));
    out.text(&entry.peer);
    out.bulk(&entry.name);
}
