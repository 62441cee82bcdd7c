//! Deadlines of fields: HEXPIRE, HTTL, HPERSIST and their kin.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::hash::{drop_expired, live};
use super::options::decimal;
use super::spec::{Command, Group, Handler, KeySpec};
use crate::base::{bytes, number};
use crate::keyspace::{Event, Guard, Key};
use crate::value::Hash;

/// Latest deadline of a field, in Unix milliseconds (Redis: HFE_MAX_ABS_TIME_MSEC).
const DEADLINE_MAX_MS: i64 = (1 << 46) - 1;

/// Replies to a field that is not there.
const NO_FIELD: i64 = -2;
/// Replies to a field without a deadline.
const NO_DEADLINE: i64 = -1;
/// HEXPIRE: the condition does not hold.
const NOT_MET: i64 = 0;
/// The deadline was set or removed.
const DONE: i64 = 1;
/// HEXPIRE: the deadline has passed already, so the field was removed.
const REMOVED: i64 = 2;

const UPDATE: &[KeySpec] = &[KeySpec::one("RW", &["update"])];
const READ: &[KeySpec] = &[KeySpec::one("RO", &["access"])];

const fn setter(name: &'static str, arity: i32, handler: Handler) -> Command {
    Command::new(name, arity, handler).write().fast().group(Group::Hash).keys(UPDATE)
}

const fn getter(name: &'static str, handler: Handler) -> Command {
    Command::new(name, -5, handler).read().fast().group(Group::Hash).keys(READ)
}

pub(super) static COMMANDS: &[Command] = &[
    setter("hexpire", -6, hexpire),
    setter("hpexpire", -6, hpexpire),
    setter("hexpireat", -6, hexpireat),
    setter("hpexpireat", -6, hpexpireat),
    getter("httl", httl).tips(&["nondeterministic_output"]),
    getter("hpttl", hpttl).tips(&["nondeterministic_output"]),
    getter("hexpiretime", hexpiretime),
    getter("hpexpiretime", hpexpiretime),
    setter("hpersist", -5, hpersist),
];

fn hexpire(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    set_deadlines(ctx, args, Time { seconds: true, relative: true })
}

fn hpexpire(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    set_deadlines(ctx, args, Time { seconds: false, relative: true })
}

fn hexpireat(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    set_deadlines(ctx, args, Time { seconds: true, relative: false })
}

fn hpexpireat(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    set_deadlines(ctx, args, Time { seconds: false, relative: false })
}

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) seconds: bool,
    pub(super) relative: bool,
}

impl Time {
    /// The deadline that the argument at `at` names, in Unix milliseconds.
    pub(super) fn parse(
        self,
        args: &Args<'_>,
        at: usize,
        now_ms: i64,
        command: &'static str,
    ) -> Result<i64, CmdError> {
        let value = args.integer(at)?;
        if value < 0 {
            return Err(CmdError::NegativeExpire);
        }
        super::options::deadline(value, self.seconds, self.relative.then_some(now_ms))
            .filter(|at_ms| *at_ms <= DEADLINE_MAX_MS)
            .ok_or(CmdError::InvalidExpire(command))
    }
}

/// When a deadline may be set, by what is there already.
#[derive(Clone, Copy)]
enum When {
    Absent,
    Present,
    Later,
    Earlier,
}

impl When {
    fn parse(word: &[u8]) -> Option<Self> {
        match () {
            () if bytes::is_word(word, "nx") => Some(Self::Absent),
            () if bytes::is_word(word, "xx") => Some(Self::Present),
            () if bytes::is_word(word, "gt") => Some(Self::Later),
            () if bytes::is_word(word, "lt") => Some(Self::Earlier),
            () => None,
        }
    }

    /// A field without deadline counts as one that lives forever.
    fn allows(self, current: Option<i64>, at_ms: i64) -> bool {
        match self {
            Self::Absent => current.is_none(),
            Self::Present => current.is_some(),
            Self::Later => current.is_some_and(|current| at_ms > current),
            Self::Earlier => current.is_none_or(|current| at_ms < current),
        }
    }
}

/// The index of the first field behind FIELDS and their number, which are expected at `at`;
/// `not_positive` is the error of a number that is none.
pub(super) fn first_field(
    args: &Args<'_>,
    at: usize,
    not_positive: CmdError,
) -> Result<usize, CmdError> {
    if !args.is(at, "fields") {
        return Err(CmdError::FieldsMissing);
    }
    if at + 1 >= args.len() {
        return Err(not_positive);
    }
    match number::parse_i64(args.get(at + 1)) {
        Some(count) if count < 1 => Err(not_positive),
        None => Err(not_positive),
        Some(count) if count as usize != args.len() - at - 2 => Err(CmdError::FieldsMismatch),
        Some(_) => Ok(at + 2),
    }
}

/// Says of every field that it is not there.
fn reply_no_fields(ctx: &mut Ctx<'_>, count: usize) -> Flow {
    ctx.out.array(count);
    (0..count).for_each(|_| ctx.out.integer(NO_FIELD));
    Flow::Done
}

fn set_deadlines(ctx: &mut Ctx<'_>, args: &Args<'_>, time: Time) -> Result<Flow, CmdError> {
    let (key, now_ms) = (args.key(1), ctx.now_ms);
    ctx.db.peek::<Hash>(key)?;
    let at_ms = time.parse(args, 2, ctx.db.clock_ms(), ctx.command.name)?;
    let when = When::parse(args.get(3));
    let first = first_field(args, 3 + usize::from(when.is_some()), CmdError::HexpireFields)?;
    let Some(mut hash) = ctx.db.write::<Hash>(key)? else {
        return Ok(reply_no_fields(ctx, args.len() - first));
    };
    let (mut updated, mut removed) = (Vec::new(), Vec::new());
    ctx.out.array(args.len() - first);
    for name in args.rest(first) {
        let outcome = set_deadline(&mut hash, name, at_ms, when, now_ms);
        match outcome {
            DONE => updated.push(name),
            REMOVED => removed.push(name),
            _ => {}
        }
        ctx.out.integer(outcome);
    }
    let event = if removed.is_empty() { Event::HEXPIRE } else { Event::HDEL };
    hash.changed_by(updated.len() + removed.len(), event);
    drop(hash);
    propagate(ctx, key, at_ms, &updated, &removed);
    Ok(Flow::Done)
}

/// Sets the deadline of one field and says how that went.
fn set_deadline(
    hash: &mut Guard<'_, Hash>,
    name: &[u8],
    at_ms: i64,
    when: Option<When>,
    now_ms: i64,
) -> i64 {
    let Some(value) = live(hash.view(), name, now_ms) else {
        drop_expired(hash, name, now_ms);
        return NO_FIELD;
    };
    if when.is_some_and(|when| !when.allows(value.deadline(), at_ms)) {
        return NOT_MET;
    }
    if at_ms <= now_ms {
        hash.edit().remove(name);
        return REMOVED;
    }
    hash.edit().set_deadline(name, Some(at_ms));
    DONE
}

/// Propagates deadlines that were set, and removals where they had passed.
pub(super) fn propagate(
    ctx: &mut Ctx<'_>,
    key: Key<'_>,
    at_ms: i64,
    updated: &[&[u8]],
    removed: &[&[u8]],
) {
    if !removed.is_empty() {
        let mut argv: Vec<&[u8]> = vec![b"HDEL", key.bytes];
        argv.extend(removed);
        ctx.effects.propagate_as(&argv);
    }
    if !updated.is_empty() {
        let (at_text, count) = (decimal(at_ms), decimal(updated.len() as i64));
        let mut argv: Vec<&[u8]> = vec![b"HPEXPIREAT", key.bytes, &at_text, b"FIELDS", &count];
        argv.extend(updated);
        ctx.effects.propagate_as(&argv);
    }
}

fn httl(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let now_ms = ctx.now_ms;
    reply_deadlines(ctx, args, |at_ms| (at_ms - now_ms + 999) / 1000)
}

fn hpttl(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let now_ms = ctx.now_ms;
    reply_deadlines(ctx, args, |at_ms| at_ms - now_ms)
}

fn hexpiretime(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_deadlines(ctx, args, |at_ms| (at_ms + 999) / 1000)
}

fn hpexpiretime(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_deadlines(ctx, args, |at_ms| at_ms)
}

/// Replies for each field what `form` makes of its deadline.
fn reply_deadlines(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    form: impl Fn(i64) -> i64,
) -> Result<Flow, CmdError> {
    let hash = ctx.db.read::<Hash>(args.key(1))?;
    let first = first_field(args, 2, CmdError::FieldsNotPositive)?;
    ctx.out.array(args.len() - first);
    for name in args.rest(first) {
        let found = hash.and_then(|hash| live(hash, name, ctx.now_ms));
        ctx.out.integer(match found {
            None => NO_FIELD,
            Some(value) => value.deadline().map_or(NO_DEADLINE, &form),
        });
    }
    Ok(Flow::Done)
}

fn hpersist(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, now_ms) = (args.key(1), ctx.now_ms);
    ctx.db.peek::<Hash>(key)?;
    let first = first_field(args, 2, CmdError::FieldsNotPositive)?;
    let Some(mut hash) = ctx.db.write::<Hash>(key)? else {
        return Ok(reply_no_fields(ctx, args.len() - first));
    };
    let mut persisted = false;
    ctx.out.array(args.len() - first);
    for name in args.rest(first) {
        ctx.out.integer(match live(hash.view(), name, now_ms).map(|value| value.deadline()) {
            None => NO_FIELD,
            Some(None) => NO_DEADLINE,
            Some(Some(_)) => {
                hash.edit().set_deadline(name, None);
                persisted = true;
                DONE
            }
        });
    }
    if persisted {
        hash.changed(Event::HPERSIST);
    }
    Ok(Flow::Done)
}
