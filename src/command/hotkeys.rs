//! HOTKEYS: which keys take most processor time and most bytes, while somebody asks.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::introspect::help;
use super::spec::{Command, Flags, Group, Handler};
use crate::base::{bytes, clock, number};
use crate::observe::hot_keys::HotKey;
use crate::observe::hot_session::{Session, SessionOptions, Tally};
use crate::resp::ReplyBuf;
use crate::server::cpu_seconds;

const COMMON: Flags = Flags::ADMIN.with(Flags::NOSCRIPT);

const fn row(name: &'static str, arity: i32, handler: Handler) -> Command {
    Command::new(name, arity, handler).group(Group::Server).flags(COMMON)
}

pub(super) static COMMANDS: &[Command] = &[Command::new("hotkeys", -2, help)
    .group(Group::Server)
    .subcommands(&[
    row("get", 2, get).tips(&["request_policy:special", "nondeterministic_output"]),
    row("reset", 2, reset),
    row("start", -2, start),
    row("stop", 2, stop),
    Command::new("help", 2, help)
        .group(Group::Server)
        .flags(Flags::LOADING.with(Flags::STALE))
        .help(&[
            "GET",
            "    Show which keys took most since START.",
            "RESET",
            "    Forget what was counted.",
            "START METRICS <count> [CPU] [NET] [COUNT <k>] [DURATION <seconds>] [SAMPLE <ratio>]",
            "    Begin to count processor time or bytes by key, of all commands or one in <ratio>; GET",
            "    shows <k> keys, 10 if nothing is said.",
            "STOP",
            "    End the counting; GET still shows it.",
        ]),
])];

/// The slots of a server that is no cluster: all.
const SLOT_LAST: i64 = 16_383;

fn start(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let sessions = &ctx.server.hot_sessions;
    if sessions.is_active(ctx.now_ms) {
        return Err(CmdError::HotKeysRunning);
    }
    let (options, cpu_before) = (parse(args)?, cpu_seconds().unwrap_or_default());
    if !sessions.begin(options, ctx.now_ms, cpu_before) {
        return Err(CmdError::HotKeysRunning);
    }
    ctx.server.refresh_thresholds();
    ctx.out.ok();
    Ok(Flow::Done)
}

fn parse(args: &Args<'_>) -> Result<SessionOptions, CmdError> {
    if args.len() < 4 || !args.is(2, "metrics") {
        return Err(CmdError::HotKeysMetrics);
    }
    let metrics = within(args.get(3), 1, 2).ok_or(CmdError::HotKeysMetricsCount)?;
    let mut options = SessionOptions { count: 10, sample: 1, ..SessionOptions::default() };
    let mut at = 4;
    while (at - 4) < metrics as usize && at < args.len() {
        let known = match () {
            () if args.is(at, "cpu") => Some((&mut options.cpu, "CPU")),
            () if args.is(at, "net") => Some((&mut options.net, "NET")),
            // Later versions may know it.
            () => None,
        };
        if let Some((metric, name)) = known
            && std::mem::replace(metric, true)
        {
            return Err(CmdError::HotKeysTwice(name));
        }
        at += 1;
    }
    if (at - 4) != metrics as usize {
        return Err(CmdError::HotKeysMetricsMissing);
    }
    if !options.cpu && !options.net {
        return Err(CmdError::HotKeysNoMetric);
    }
    let mut rest = args.options(at);
    while let Some(word) = rest.word() {
        let value = rest.value()?;
        match () {
            () if bytes::is_word(word, "count") => {
                let count = within(value, 1, 64).ok_or(CmdError::HotKeysCount)?;
                options.count = count as usize;
            }
            () if bytes::is_word(word, "duration") => {
                let seconds = within(value, 1, 1_000_000).ok_or(CmdError::HotKeysDuration)?;
                options.duration_ms = seconds * 1000;
            }
            () if bytes::is_word(word, "sample") => {
                let ratio = within(value, 1, i64::from(i32::MAX)).ok_or(CmdError::HotKeysSample)?;
                options.sample = ratio as u64;
            }
            () if bytes::is_word(word, "slots") => return Err(CmdError::HotKeysSlots),
            () => return Err(CmdError::Syntax),
        }
    }
    Ok(options)
}

fn within(word: &[u8], least: i64, most: i64) -> Option<i64> {
    number::parse_i64(word).filter(|value| (least..=most).contains(value))
}

fn stop(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    if ctx.server.hot_sessions.stop(ctx.now_ms) {
        ctx.out.ok();
    } else {
        ctx.out.null();
    }
    ctx.server.refresh_thresholds();
    Ok(Flow::Done)
}

fn reset(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    if !ctx.server.hot_sessions.forget(ctx.now_ms) {
        return Err(CmdError::HotKeysActive);
    }
    ctx.server.refresh_thresholds();
    ctx.out.ok();
    Ok(Flow::Done)
}

fn get(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    match ctx.server.hot_sessions.result() {
        Some((session, tally)) => reply(ctx.out, &session, &tally, ctx.now_ms),
        None => ctx.out.null(),
    }
    Ok(Flow::Done)
}

/// One map in an array, which would have a map for each node.
fn reply(out: &mut ReplyBuf, session: &Session, tally: &Tally, now_ms: i64) {
    let SessionOptions { cpu, net, sample, count, .. } = session.options;
    let number = |out: &mut ReplyBuf, name: &str, value: i64| {
        out.text(name);
        out.integer(value);
    };
    out.array(1);
    out.map(7 + 3 * usize::from(cpu) + 2 * usize::from(net));
    number(out, "tracking-active", i64::from(session.is_active(now_ms)));
    number(out, "sample-ratio", sample as i64);
    out.text("selected-slots");
    out.array(1);
    out.array(2);
    out.integer(0);
    out.integer(SLOT_LAST);
    number(out, "all-commands-all-slots-us", clock::ticks_to_us(tally.ticks) as i64);
    number(out, "net-bytes-all-commands-all-slots", tally.bytes as i64);
    number(out, "collection-start-time-unix-ms", session.began_at_ms);
    number(out, "collection-duration-ms", session.elapsed_ms(now_ms));
    if cpu {
        let (user, system) = cpu_seconds().unwrap_or_default();
        let since = |now: f64, before: f64| ((now - before) * 1000.0) as i64;
        number(out, "total-cpu-time-user-ms", since(user, session.cpu_before.0));
        number(out, "total-cpu-time-sys-ms", since(system, session.cpu_before.1));
    }
    if net {
        number(out, "total-net-bytes", tally.by_bytes.total() as i64);
    }
    if cpu {
        let us = |key: HotKey| (key.key, clock::ticks_to_us(key.weight));
        reply_keys(out, "by-cpu-time-us", tally.by_ticks.heaviest(count).into_iter().map(us));
    }
    if net {
        let bytes = |key: HotKey| (key.key, key.weight);
        reply_keys(out, "by-net-bytes", tally.by_bytes.heaviest(count).into_iter().map(bytes));
    }
}

/// Keys that weigh nothing are left out.
fn reply_keys(out: &mut ReplyBuf, name: &str, keys: impl Iterator<Item = (Box<[u8]>, u64)>) {
    let keys: Vec<_> = keys.filter(|(_, weight)| *weight > 0).collect();
    out.text(name);
    out.array(2 * keys.len());
    for (key, weight) in keys {
        out.bulk(&key);
        out.integer(weight as i64);
    }
}
