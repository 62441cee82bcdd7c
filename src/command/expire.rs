//! Deadlines of keys: EXPIRE, TTL and their kin.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::options::{deadline, decimal, delete_as_expired};
use super::spec::{Command, Flags, KeySpec};
use crate::base::bytes;
use crate::base::limits::ERROR_PREVIEW_MAX;
use crate::keyspace::{Event, Lookup};

const UPDATE: &[KeySpec] = &[KeySpec::one("RW", &["update"])];
const READ: &[KeySpec] = &[KeySpec::one("RO", &["access"])];

const fn setter(name: &'static str, handler: super::spec::Handler) -> Command {
    Command::new(name, -3, handler).write().fast().flags(Flags::KEYSPACE).keys(UPDATE)
}

const fn getter(name: &'static str, handler: super::spec::Handler) -> Command {
    Command::new(name, 2, handler).read().fast().flags(Flags::KEYSPACE).keys(READ)
}

pub(super) static COMMANDS: &[Command] = &[
    setter("expire", expire),
    setter("pexpire", pexpire),
    setter("expireat", expireat),
    setter("pexpireat", pexpireat),
    getter("ttl", ttl).tips(&["nondeterministic_output"]),
    getter("pttl", pttl).tips(&["nondeterministic_output"]),
    getter("expiretime", expiretime),
    getter("pexpiretime", pexpiretime),
    Command::new("persist", 2, persist).write().fast().flags(Flags::KEYSPACE).keys(UPDATE),
];

fn expire(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let clock_ms = ctx.db.clock_ms();
    set_deadline(ctx, args, true, Some(clock_ms))
}

fn pexpire(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let clock_ms = ctx.db.clock_ms();
    set_deadline(ctx, args, false, Some(clock_ms))
}

fn expireat(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    set_deadline(ctx, args, true, None)
}

fn pexpireat(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    set_deadline(ctx, args, false, None)
}

/// When a deadline may be set, by what is there already.
#[derive(Default)]
struct When {
    absent: bool,
    present: bool,
    later: bool,
    earlier: bool,
}

impl When {
    fn parse(args: &Args<'_>) -> Result<Self, CmdError> {
        let mut when = Self::default();
        for word in args.rest(3) {
            match () {
                () if bytes::is_word(word, "nx") => when.absent = true,
                () if bytes::is_word(word, "xx") => when.present = true,
                () if bytes::is_word(word, "gt") => when.later = true,
                () if bytes::is_word(word, "lt") => when.earlier = true,
                () => {
                    let option = bytes::preview(word, ERROR_PREVIEW_MAX);
                    return Err(CmdError::UnsupportedOption(option));
                }
            }
        }
        if when.absent && (when.present || when.later || when.earlier) {
            return Err(CmdError::ExpireNxWithOthers);
        }
        if when.later && when.earlier {
            return Err(CmdError::ExpireGtWithLt);
        }
        Ok(when)
    }

    /// A key without deadline counts as one that lives forever.
    fn allows(&self, current: Option<i64>, at_ms: i64) -> bool {
        !(self.absent && current.is_some()
            || self.present && current.is_none()
            || self.later && current.is_none_or(|current| at_ms <= current)
            || self.earlier && current.is_some_and(|current| at_ms >= current))
    }
}

fn set_deadline(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    seconds: bool,
    now_ms: Option<i64>,
) -> Result<Flow, CmdError> {
    let key = args.key(1);
    let when = When::parse(args)?;
    let at_ms = deadline(args.integer(2)?, seconds, now_ms)
        .ok_or(CmdError::InvalidExpire(ctx.command.name))?;
    let current = ctx.db.lookup(key, Lookup::Write).map(|entry| entry.deadline());
    if !current.is_some_and(|current| when.allows(current, at_ms)) {
        ctx.out.integer(0);
        return Ok(Flow::Done);
    }
    if at_ms <= ctx.now_ms {
        delete_as_expired(ctx, key);
    } else if let Some(written) = ctx.db.set_deadline(key, Some(at_ms)) {
        written.changed(Event::EXPIRE);
        ctx.effects.propagate_as(&[b"PEXPIREAT", key.bytes, &decimal(at_ms)]);
    }
    ctx.out.integer(1);
    Ok(Flow::Done)
}

fn ttl(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let now_ms = ctx.now_ms;
    reply_deadline(ctx, args, |at_ms| ((at_ms - now_ms).max(0) + 500) / 1000)
}

fn pttl(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let now_ms = ctx.now_ms;
    reply_deadline(ctx, args, |at_ms| (at_ms - now_ms).max(0))
}

fn expiretime(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_deadline(ctx, args, |at_ms| at_ms.saturating_add(500) / 1000)
}

fn pexpiretime(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_deadline(ctx, args, |at_ms| at_ms)
}

/// Replies -2 for no key, -1 for no deadline, else what `form` makes of it.
fn reply_deadline(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    form: impl Fn(i64) -> i64,
) -> Result<Flow, CmdError> {
    let deadline = ctx.db.lookup(args.key(1), Lookup::Ask).map(|entry| entry.deadline());
    ctx.out.integer(match deadline {
        None => -2,
        Some(None) => -1,
        Some(Some(at_ms)) => form(at_ms),
    });
    Ok(Flow::Done)
}

fn persist(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let key = args.key(1);
    let volatile = ctx.db.lookup(key, Lookup::Write).is_some_and(|e| e.deadline().is_some());
    if volatile && let Some(written) = ctx.db.set_deadline(key, None) {
        written.changed(Event::PERSIST);
    }
    ctx.out.integer(i64::from(volatile));
    Ok(Flow::Done)
}
