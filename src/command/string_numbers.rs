//! String commands on numbers: counters, and INCREX, the bounded counter with a window.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::options::{Expiry, ExpiryOption, ExpiryWords, decimal, delete_as_expired};
use super::spec::{Command, Group, KeySpec};
use crate::base::bytes;
use crate::base::float80::Float80;
use crate::base::number;
use crate::keyspace::{Deadline, Event, Key, Lookup};
use crate::value::{NewStr, Str};

const READ_UPDATE: &[KeySpec] = &[KeySpec::one("RW", &["access", "update"])];

const fn row(name: &'static str, arity: i32, handler: super::spec::Handler) -> Command {
    Command::new(name, arity, handler).grow().fast().group(Group::String).keys(READ_UPDATE)
}

pub(super) static COMMANDS: &[Command] = &[
    row("incr", 2, incr),
    row("decr", 2, decr),
    row("incrby", 3, incrby),
    row("decrby", 3, decrby),
    row("incrbyfloat", 3, incrbyfloat),
    row("increx", -2, increx),
];

fn incr(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    add(ctx, args, 1)
}

fn decr(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    add(ctx, args, -1)
}

fn incrby(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    add(ctx, args, args.integer(2)?)
}

fn decrby(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let delta = args.integer(2)?.checked_neg().ok_or(CmdError::DecrementOverflow)?;
    add(ctx, args, delta)
}

#[inline]
fn add(ctx: &mut Ctx<'_>, args: &Args<'_>, delta: i64) -> Result<Flow, CmdError> {
    let key = args.key(1);
    let sum = integer_at(ctx, key)?.checked_add(delta).ok_or(CmdError::Overflow)?;
    ctx.db.set_string(key, NewStr::Int(sum), Deadline::Keep).changed(Event::INCRBY);
    ctx.out.integer(sum);
    Ok(Flow::Done)
}

/// The integer at `key`; 0 when there is none.
#[inline]
fn integer_at(ctx: &mut Ctx<'_>, key: Key<'_>) -> Result<i64, CmdError> {
    match ctx.db.peek::<Str>(key)? {
        Some(value) => value.integer().ok_or(CmdError::NotInteger),
        None => Ok(0),
    }
}

/// The number at `key`; 0 when there is none.
fn float_at(ctx: &mut Ctx<'_>, key: Key<'_>) -> Result<Float80, CmdError> {
    match ctx.db.peek::<Str>(key)? {
        Some(value) => Float80::parse(value.bytes(&mut [0; 20])).ok_or(CmdError::NotFloat),
        None => Ok(Float80::ZERO),
    }
}

fn incrbyfloat(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let key = args.key(1);
    let current = float_at(ctx, key)?;
    let sum = current + Float80::parse(args.get(2)).ok_or(CmdError::NotFloat)?;
    if sum.is_nan() || sum.is_infinite() {
        return Err(CmdError::NanOrInfinity);
    }
    let text = text_of(sum);
    ctx.db.set_string(key, NewStr::text(&text), Deadline::Keep).changed(Event::INCRBYFLOAT);
    ctx.effects.propagate_as(&[b"SET", key.bytes, &text, b"KEEPTTL"]);
    ctx.out.bulk(&text);
    Ok(Flow::Done)
}

fn text_of(value: Float80) -> Vec<u8> {
    let mut text = Vec::new();
    value.write(&mut text);
    text
}

/// What INCREX was asked to do; numbers are read once all options are known.
#[derive(Default)]
struct IncrexOptions {
    /// Where the increment is, and whether it is a float.
    increment: Option<(usize, bool)>,
    lower: Option<usize>,
    upper: Option<usize>,
    saturate: bool,
    only_new: bool,
    expiry: ExpiryOption,
}

impl IncrexOptions {
    fn parse(args: &Args<'_>) -> Result<Self, CmdError> {
        let (mut parsed, mut options) = (Self::default(), args.options(2));
        while let Some(word) = options.word() {
            let once = |given: bool| if given { Err(CmdError::Syntax) } else { Ok(()) };
            match () {
                () if bytes::is_word(word, "byint") || bytes::is_word(word, "byfloat") => {
                    once(parsed.increment.is_some())?;
                    let float = bytes::is_word(word, "byfloat");
                    parsed.increment = Some((options.value_index()?, float));
                }
                () if bytes::is_word(word, "lbound") => {
                    once(parsed.lower.is_some())?;
                    parsed.lower = Some(options.value_index()?);
                }
                () if bytes::is_word(word, "ubound") => {
                    once(parsed.upper.is_some())?;
                    parsed.upper = Some(options.value_index()?);
                }
                () if bytes::is_word(word, "saturate") => {
                    once(parsed.saturate)?;
                    parsed.saturate = true;
                }
                () if bytes::is_word(word, "enx") => {
                    once(parsed.only_new)?;
                    parsed.only_new = true;
                }
                () => {
                    once(parsed.expiry.is_some())?;
                    if !parsed.expiry.read(word, ExpiryWords::Persist, &mut options)? {
                        return Err(CmdError::Syntax);
                    }
                }
            }
        }
        if parsed.only_new && parsed.expiry.is_some() && !parsed.expiry.is_deadline() {
            return Err(CmdError::Syntax);
        }
        if parsed.only_new && !parsed.expiry.is_deadline() {
            return Err(CmdError::IncrexEnx);
        }
        Ok(parsed)
    }
}

fn increx(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let options = IncrexOptions::parse(args)?;
    match options.increment {
        Some((at, true)) => increx_float(ctx, args, &options, at),
        increment => increx_integer(ctx, args, &options, increment.map(|(at, _)| at)),
    }
}

fn increx_integer(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    options: &IncrexOptions,
    increment: Option<usize>,
) -> Result<Flow, CmdError> {
    let key = args.key(1);
    let read = |at: Option<usize>, name: &'static str, default: i64| match at {
        Some(at) => number::parse_i64(args.get(at)).ok_or(CmdError::NotANumber(name)),
        None => Ok(default),
    };
    let delta = read(increment, "Increment", 1)?;
    let lower = read(options.lower, "LBOUND", i64::MIN)?;
    let upper = read(options.upper, "UBOUND", i64::MAX)?;
    if lower > upper {
        return Err(CmdError::IncrexBounds);
    }
    let expiry = options.expiry.resolve(args, "increx", ctx.db.clock_ms())?;
    let current = integer_at(ctx, key)?;
    // In 128 bits no sum of two 64-bit numbers overflows, so one comparison finds all that is out.
    let sum = i128::from(current) + i128::from(delta);
    let (least, most) = (i128::from(lower), i128::from(upper));
    let new = if (least..=most).contains(&sum) {
        sum
    } else if options.saturate {
        sum.clamp(least, most)
    } else {
        ctx.out.array(2);
        ctx.out.integer(current);
        ctx.out.integer(0);
        return Ok(Flow::Done);
    };
    let applied = i64::try_from(new - i128::from(current)).map_err(|_| CmdError::IncrexOverflow)?;
    let new = i64::try_from(new).expect("the bounds are 64-bit numbers");
    ctx.db.set_string(key, NewStr::Int(new), Deadline::Keep).changed(Event::INCRBY);
    finish_increx(ctx, key, &decimal(new), expiry, options.only_new);
    ctx.out.array(2);
    ctx.out.integer(new);
    ctx.out.integer(applied);
    Ok(Flow::Done)
}

fn increx_float(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    options: &IncrexOptions,
    increment: usize,
) -> Result<Flow, CmdError> {
    let key = args.key(1);
    let read = |at: usize, name: &'static str| {
        Float80::parse(args.get(at)).ok_or(CmdError::IncrexFloat(name))
    };
    let delta = read(increment, "Increment")?;
    let lower = options.lower.map_or(Ok(Float80::MIN), |at| read(at, "LBOUND"))?;
    let upper = options.upper.map_or(Ok(Float80::MAX), |at| read(at, "UBOUND"))?;
    if lower > upper {
        return Err(CmdError::IncrexBounds);
    }
    let expiry = options.expiry.resolve(args, "increx", ctx.db.clock_ms())?;
    let current = float_at(ctx, key)?;
    let sum = current + delta;
    let inside = !sum.is_nan() && !sum.is_infinite() && sum >= lower && sum <= upper;
    let new = match () {
        () if inside => sum,
        () if options.saturate && !sum.is_nan() => {
            if sum < lower {
                lower
            } else {
                upper
            }
        }
        () => {
            reply_floats(ctx, current, Float80::ZERO);
            return Ok(Flow::Done);
        }
    };
    let applied = new + -current;
    if applied.is_nan() || applied.is_infinite() {
        return Err(CmdError::IncrexInfinity);
    }
    let text = text_of(new);
    ctx.db.set_string(key, NewStr::from_bytes(&text), Deadline::Keep).changed(Event::INCRBYFLOAT);
    finish_increx(ctx, key, &text, expiry, options.only_new);
    reply_floats(ctx, new, applied);
    Ok(Flow::Done)
}

fn reply_floats(ctx: &mut Ctx<'_>, value: Float80, applied: Float80) {
    ctx.out.array(2);
    ctx.out.double_text(&text_of(value));
    ctx.out.double_text(&text_of(applied));
}

/// Applies INCREX's expiration and propagates the result as a plain SET.
fn finish_increx(ctx: &mut Ctx<'_>, key: Key<'_>, value: &[u8], expiry: Expiry, only_new: bool) {
    let volatile = ctx.db.lookup(key, Lookup::Silent).is_some_and(|e| e.deadline().is_some());
    match expiry {
        Expiry::At(_) if only_new && volatile => {}
        Expiry::At(at_ms) if at_ms <= ctx.now_ms => return delete_as_expired(ctx, key),
        Expiry::At(at_ms) => {
            if let Some(written) = ctx.db.set_deadline(key, Some(at_ms)) {
                written.also(Event::EXPIRE);
            }
            let at_text = decimal(at_ms);
            return ctx.effects.propagate_as(&[b"SET", key.bytes, value, b"PXAT", &at_text]);
        }
        Expiry::Persist => {
            if volatile && let Some(written) = ctx.db.set_deadline(key, None) {
                written.also(Event::PERSIST);
            }
            return ctx.effects.propagate_as(&[b"SET", key.bytes, value]);
        }
        Expiry::Unsaid | Expiry::Keep => {}
    }
    ctx.effects.propagate_as(&[b"SET", key.bytes, value, b"KEEPTTL"]);
}
