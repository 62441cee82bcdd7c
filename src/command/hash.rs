//! Hash commands on single fields and on fields that are named.
//!
//! A field whose deadline has passed answers as if it were not there. Whoever comes across one
//! removes it, which travels as HDEL; only HDEL itself counts it, as in Redis.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::spec::{Command, Group, KeySpec};
use crate::base::float80::Float80;
use crate::base::number;
use crate::encoding::field::NewFieldValue;
use crate::keyspace::{Event, Guard, Key};
use crate::resp::ReplyBuf;
use crate::value::{FieldTtl, Hash, HashValue, HashView};

const READ: &[KeySpec] = &[KeySpec::one("RO", &["access"])];
const ASK: &[KeySpec] = &[KeySpec::one("RO", &[])];
const UPDATE: &[KeySpec] = &[KeySpec::one("RW", &["update"])];
const ACCESS_UPDATE: &[KeySpec] = &[KeySpec::one("RW", &["access", "update"])];

const fn row(name: &'static str, arity: i32, handler: super::spec::Handler) -> Command {
    Command::new(name, arity, handler).fast().group(Group::Hash)
}

pub(super) static COMMANDS: &[Command] = &[
    row("hset", -4, hset).element(2).grow().keys(UPDATE),
    row("hmset", -4, hmset).element(2).grow().keys(UPDATE),
    row("hsetnx", 4, hsetnx).element(2).grow().keys(&[KeySpec::one("RW", &["insert"])]),
    row("hget", 3, hget).element(2).read().keys(READ),
    row("hmget", -3, hmget).element(2).read().keys(READ),
    row("hlen", 2, hlen).read().keys(ASK),
    row("hstrlen", 3, hstrlen).element(2).read().keys(ASK),
    row("hexists", 3, hexists).element(2).read().keys(ASK),
    row("hdel", -3, hdel).element(2).write().keys(&[KeySpec::one("RW", &["delete"])]),
    row("hincrby", 4, hincrby).element(2).grow().keys(ACCESS_UPDATE),
    row("hincrbyfloat", 4, hincrbyfloat).element(2).grow().keys(ACCESS_UPDATE),
];

fn hset(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let created = set_pairs(ctx, args, "hset")?;
    ctx.out.count(created);
    Ok(Flow::Done)
}

fn hmset(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    set_pairs(ctx, args, "hmset")?;
    ctx.out.ok();
    Ok(Flow::Done)
}

/// Sets the fields of all pairs; returns how many there were not.
#[inline]
fn set_pairs(ctx: &mut Ctx<'_>, args: &Args<'_>, command: &str) -> Result<usize, CmdError> {
    if !args.len().is_multiple_of(2) {
        return Err(CmdError::Arity(command.to_owned()));
    }
    let mut hash = ctx.db.write_or_create::<Hash>(args.key(1))?;
    let created = match args.len() {
        4 => usize::from(hash.edit().set(args.get(2), args.field_value(3), FieldTtl::Clear)),
        _ => hash.edit().set_all(pairs(args, 2)),
    };
    hash.changed_by((args.len() - 2) / 2, Event::HSET);
    Ok(created)
}

/// The arguments from `first` on as fields and their values.
pub(super) fn pairs<'a>(
    args: &Args<'a>,
    first: usize,
) -> impl ExactSizeIterator<Item = (&'a [u8], NewFieldValue<'a>)> + Clone + use<'a> {
    let args = *args;
    (first..args.len()).step_by(2).map(move |at| (args.get(at), args.field_value(at + 1)))
}

fn hsetnx(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let now_ms = ctx.now_ms;
    let mut hash = ctx.db.write_or_create::<Hash>(args.key(1))?;
    let absent = live(hash.view(), args.get(2), now_ms).is_none();
    if absent {
        drop_expired(&mut hash, args.get(2), now_ms);
        hash.edit().set(args.get(2), args.field_value(3), FieldTtl::Clear);
        hash.changed(Event::HSET);
    }
    drop(hash);
    ctx.out.integer(i64::from(absent));
    Ok(Flow::Done)
}

/// The value of a field that has not expired.
#[inline]
pub(super) fn live<'a>(hash: HashView<'a>, name: &[u8], now_ms: i64) -> Option<HashValue<'a>> {
    hash.get(name).filter(|value| !value.is_expired(now_ms))
}

/// Removes field `name` if its deadline has passed.
pub(super) fn drop_expired(hash: &mut Guard<'_, Hash>, name: &[u8], now_ms: i64) {
    if hash.view().get(name).is_some_and(|value| value.is_expired(now_ms)) {
        hash.edit().remove(name);
        hash.expired(vec![name.into()]);
    }
}

/// Removes those of the named fields whose deadlines have passed, after a read came across some.
#[cold]
pub(super) fn forget<'a>(
    ctx: &mut Ctx<'_>,
    key: Key<'_>,
    names: impl Iterator<Item = &'a [u8]>,
) -> Result<(), CmdError> {
    let now_ms = ctx.now_ms;
    if !ctx.db.expires() {
        return Ok(());
    }
    if let Some(mut hash) = ctx.db.write::<Hash>(key)? {
        let mut removed = Vec::new();
        for name in names {
            if hash.view().get(name).is_some_and(|value| value.is_expired(now_ms)) {
                hash.edit().remove(name);
                removed.push(name.into());
            }
        }
        hash.expired(removed);
    }
    Ok(())
}

fn hget(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_field(ctx, args, reply_value)
}

fn hstrlen(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_field(ctx, args, |out, value| out.count(value.map_or(0, HashValue::len)))
}

fn hexists(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_field(ctx, args, |out, value| out.integer(i64::from(value.is_some())))
}

/// Replies a value or null.
#[inline]
pub(super) fn reply_value(out: &mut ReplyBuf, value: Option<HashValue<'_>>) {
    match value {
        Some(value) => value.reply(out),
        None => out.null(),
    }
}

/// Replies what `reply` makes of the value of the field at argument 2.
#[inline]
fn reply_field(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: impl FnOnce(&mut ReplyBuf, Option<HashValue<'_>>),
) -> Result<Flow, CmdError> {
    let (key, name) = (args.key(1), args.get(2));
    let found = ctx.db.read::<Hash>(key)?.and_then(|hash| hash.get(name));
    let expired = found.is_some_and(|value| value.is_expired(ctx.now_ms));
    reply(ctx.out, found.filter(|_| !expired));
    if expired {
        forget(ctx, key, std::iter::once(name))?;
    }
    Ok(Flow::Done)
}

fn hmget(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let key = args.key(1);
    let hash = ctx.db.read::<Hash>(key)?;
    let mut expired = false;
    ctx.out.array(args.len() - 2);
    for name in args.rest(2) {
        let found = hash.and_then(|hash| hash.get(name));
        let is_expired = found.is_some_and(|value| value.is_expired(ctx.now_ms));
        reply_value(ctx.out, found.filter(|_| !is_expired));
        expired |= is_expired;
    }
    if expired {
        forget(ctx, key, args.rest(2))?;
    }
    Ok(Flow::Done)
}

fn hlen(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let len = ctx.db.read::<Hash>(args.key(1))?.map_or(0, HashView::len);
    ctx.out.count(len);
    Ok(Flow::Done)
}

fn hdel(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let mut removed = 0;
    if let Some(mut hash) = ctx.db.write::<Hash>(args.key(1))? {
        let mut edit = hash.edit();
        removed = args.rest(2).filter(|name| edit.remove(name)).count();
        hash.changed_by(removed, Event::HDEL);
    }
    ctx.out.count(removed);
    Ok(Flow::Done)
}

fn hincrby(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (name, now_ms) = (args.get(2), ctx.now_ms);
    let delta = args.integer(3)?;
    let mut hash = ctx.db.write_or_create::<Hash>(args.key(1))?;
    let found = hash.view().get(name);
    let expired = found.is_some_and(|value| value.is_expired(now_ms));
    let current = match found {
        Some(value) if !expired => value.integer().ok_or(CmdError::HashNotInteger)?,
        _ => 0,
    };
    let sum = current.checked_add(delta).ok_or(CmdError::Overflow)?;
    if expired {
        drop_expired(&mut hash, name, now_ms);
    }
    let mut digits = [0; 20];
    let text = NewFieldValue::Bytes(number::format_i64(sum, &mut digits));
    hash.edit().set(name, text, FieldTtl::Keep);
    hash.changed(Event::HINCRBY);
    drop(hash);
    ctx.out.integer(sum);
    Ok(Flow::Done)
}

fn hincrbyfloat(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, name, now_ms) = (args.key(1), args.get(2), ctx.now_ms);
    let delta = Float80::parse(args.get(3)).ok_or(CmdError::NotFloat)?;
    if delta.is_nan() || delta.is_infinite() {
        return Err(CmdError::IsNanOrInfinity);
    }
    let mut hash = ctx.db.write_or_create::<Hash>(key)?;
    let found = live(hash.view(), name, now_ms);
    let volatile = found.is_some_and(|value| value.deadline().is_some());
    let current = match found {
        Some(value) => Float80::parse(value.bytes(&mut [0; 20])).ok_or(CmdError::HashNotFloat)?,
        None => Float80::ZERO,
    };
    let sum = current + delta;
    if sum.is_nan() || sum.is_infinite() {
        return Err(CmdError::NanOrInfinity);
    }
    drop_expired(&mut hash, name, now_ms);
    let mut text = Vec::new();
    sum.write(&mut text);
    hash.edit().set(name, NewFieldValue::Bytes(&text), FieldTtl::Keep);
    hash.changed(Event::HINCRBYFLOAT);
    drop(hash);
    if volatile {
        let argv: [&[u8]; 7] = [b"HSETEX", key.bytes, b"KEEPTTL", b"FIELDS", b"1", name, &text];
        ctx.effects.propagate_as(&argv);
    } else {
        ctx.effects.propagate_as(&[b"HSET", key.bytes, name, &text]);
    }
    ctx.out.bulk(&text);
    Ok(Flow::Done)
}
