//! HOTKEYS: which keys take most processor time and most bytes, while somebody asks.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::introspect::help;
use super::spec::{Command, Flags, Group, Handler};
use crate::base::{bytes, number};
use crate::observe::hot_keys::{HotKey, Session, SessionOptions};
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
            "    Begin to count processor time or bytes by key.",
            "STOP",
            "    End the counting; GET still shows it.",
        ]),
])];

/// The slots of a server that is no cluster: all.
const SLOT_LAST: i64 = 16_383;

fn start(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let mut session = ctx.server.hot_session.lock();
    if session.as_ref().is_some_and(|session| session.is_active(ctx.now_ms)) {
        return Err(CmdError::HotKeysRunning);
    }
    let options = parse(args)?;
    let cpu_before = cpu_seconds().unwrap_or_default();
    *session = Some(Session::new(options, ctx.now_ms, cpu_before));
    drop(session);
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
        let (metric, name) = match () {
            () if args.is(at, "cpu") => (&mut options.cpu, "CPU"),
            () if args.is(at, "net") => (&mut options.net, "NET"),
            () => break,
        };
        if std::mem::replace(metric, true) {
            return Err(CmdError::HotKeysTwice(name));
        }
        at += 1;
    }
    if (at - 4) != metrics as usize {
        return Err(CmdError::HotKeysMetricsMissing);
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
    let mut session = ctx.server.hot_session.lock();
    match session.as_mut().filter(|session| session.is_active(ctx.now_ms)) {
        Some(session) => {
            session.stop(ctx.now_ms);
            ctx.out.ok();
        }
        None => ctx.out.null(),
    }
    drop(session);
    ctx.server.refresh_thresholds();
    Ok(Flow::Done)
}

fn reset(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let mut session = ctx.server.hot_session.lock();
    if session.as_ref().is_some_and(|session| session.is_active(ctx.now_ms)) {
        return Err(CmdError::HotKeysActive);
    }
    *session = None;
    ctx.out.ok();
    Ok(Flow::Done)
}

fn get(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let session = ctx.server.hot_session.lock().clone();
    match session {
        Some(session) => reply(ctx.out, &session, ctx.now_ms),
        None => ctx.out.null(),
    }
    Ok(Flow::Done)
}

/// One map in an array, which would have a map for each node.
fn reply(out: &mut ReplyBuf, session: &Session, now_ms: i64) {
    let SessionOptions { cpu, net, sample, .. } = session.options;
    out.array(1);
    out.map(7 + 3 * usize::from(cpu) + 2 * usize::from(net));
    let mut number = |name: &str, value: i64| {
        out.text(name);
        out.integer(value);
    };
    number("tracking-active", i64::from(session.is_active(now_ms)));
    number("sample-ratio", sample as i64);
    number("all-commands-all-slots-us", session.all_us as i64);
    number("net-bytes-all-commands-all-slots", session.all_bytes as i64);
    number("collection-start-time-unix-ms", session.began_at_ms);
    number("collection-duration-ms", session.elapsed_ms(now_ms));
    if cpu {
        let (user, system) = cpu_seconds().unwrap_or_default();
        let since = |now: f64, before: f64| ((now - before) * 1000.0) as i64;
        number("total-cpu-time-user-ms", since(user, session.cpu_before.0));
        number("total-cpu-time-sys-ms", since(system, session.cpu_before.1));
    }
    if net {
        number("total-net-bytes", session.all_bytes as i64);
    }
    out.text("selected-slots");
    out.array(1);
    out.array(2);
    out.integer(0);
    out.integer(SLOT_LAST);
    if cpu {
        reply_keys(out, "by-cpu-time-us", &session.by_us());
    }
    if net {
        reply_keys(out, "by-net-bytes", &session.by_bytes());
    }
}

fn reply_keys(out: &mut ReplyBuf, name: &str, keys: &[HotKey]) {
    out.text(name);
    out.array(2 * keys.len());
    for key in keys {
        out.bulk(&key.key);
        out.integer(key.weight as i64);
    }
}
