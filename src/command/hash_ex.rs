//! Hash commands that do two things with named fields: HGETEX, HSETEX and HGETDEL.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::hash::{drop_expired, live, pairs, reply_value};
use super::hash_expire::{Time, first_field, propagate};
use super::options::decimal;
use super::spec::{Command, Group, KeySpec};
use crate::base::limits::ERROR_PREVIEW_MAX;
use crate::base::{bytes, number};
use crate::keyspace::{Event, Guard, Key};
use crate::value::{FieldTtl, Hash};

pub(super) static COMMANDS: &[Command] = &[
    Command::new("hgetex", -5, hgetex).write().fast().group(Group::Hash).keys(&[KeySpec::one(
        "RW",
        &["access", "update"],
    )
    .notes("written to only in the deadlines of its fields")]),
    Command::new("hsetex", -6, hsetex)
        .grow()
        .fast()
        .group(Group::Hash)
        .keys(&[KeySpec::one("RW", &["update"])]),
    Command::new("hgetdel", -5, hgetdel)
        .write()
        .fast()
        .group(Group::Hash)
        .keys(&[KeySpec::one("RW", &["access", "delete"])]),
];

/// The time that an expiration option's value is written in.
fn time_of(word: &[u8]) -> Option<Time> {
    let table = [
        ("ex", Time { seconds: true, relative: true }),
        ("px", Time { seconds: false, relative: true }),
        ("exat", Time { seconds: true, relative: false }),
        ("pxat", Time { seconds: false, relative: false }),
    ];
    table.iter().find(|(name, _)| bytes::is_word(word, name)).map(|(_, time)| *time)
}

/// What HGETEX does to deadlines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    Persist,
    At(i64),
}

fn hgetex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, now_ms) = (args.key(1), ctx.now_ms);
    ctx.db.peek::<Hash>(key)?;
    let (change, fields_at) = match time_of(args.get(2)) {
        Some(time) => (Change::At(time.parse(args, 3, ctx.db.clock_ms(), "hgetex")?), 4),
        None if args.is(2, "persist") => (Change::Persist, 3),
        None => (Change::Nothing, 2),
    };
    if fields_at + 1 >= args.len() {
        return Err(CmdError::Arity("hgetex".to_owned()));
    }
    let first = first_field(args, fields_at, CmdError::FieldsNotPositive)?;
    ctx.out.array(args.len() - first);
    let Some(mut hash) = ctx.db.write::<Hash>(key)? else {
        args.rest(first).for_each(|_| ctx.out.null());
        return Ok(Flow::Done);
    };
    let (mut updated, mut removed) = (Vec::new(), Vec::new());
    for name in args.rest(first) {
        drop_expired(&mut hash, name, now_ms);
        let found = hash.view().get(name);
        reply_value(ctx.out, found);
        let Some(deadline) = found.map(|value| value.deadline()) else { continue };
        match change {
            Change::At(at_ms) if at_ms <= now_ms => {
                hash.edit().remove(name);
                removed.push(name);
            }
            Change::At(at_ms) => {
                hash.edit().set_deadline(name, Some(at_ms));
                updated.push(name);
            }
            Change::Persist if deadline.is_some() => {
                hash.edit().set_deadline(name, None);
                updated.push(name);
            }
            Change::Persist | Change::Nothing => {}
        }
    }
    let event = match change {
        Change::Persist => Event::HPERSIST,
        _ if removed.is_empty() => Event::HEXPIRE,
        _ => Event::HDEL,
    };
    hash.changed_by(updated.len() + removed.len(), event);
    drop(hash);
    match change {
        Change::At(at_ms) => propagate(ctx, key, at_ms, &updated, &removed),
        Change::Persist if !updated.is_empty() => {
            let count = decimal(updated.len() as i64);
            let mut argv: Vec<&[u8]> = vec![b"HPERSIST", key.bytes, b"FIELDS", &count];
            argv.extend(updated);
            ctx.effects.propagate_as(&argv);
        }
        Change::Persist | Change::Nothing => {}
    }
    Ok(Flow::Done)
}

/// What HSETEX was asked for.
#[derive(Default)]
struct HsetexOptions {
    /// Whether the key must be there (XX) or must not (NX).
    key_present: Option<bool>,
    /// Whether all fields must be there (FXX) or none may (FNX).
    fields_present: Option<bool>,
    keep_ttl: bool,
    at_ms: Option<i64>,
    /// Where the fields begin.
    first: usize,
}

impl HsetexOptions {
    fn parse(args: &Args<'_>, now_ms: i64) -> Result<Self, CmdError> {
        let mut parsed = Self::default();
        let mut options = args.options(2);
        while let Some(word) = options.word() {
            let one_of = |given: bool, error| if given { Err(error) } else { Ok(()) };
            match () {
                () if bytes::is_word(word, "fields") => {
                    let at = args.len() - options.left();
                    parsed.first = fields_of_hsetex(args, at)?;
                    return Ok(parsed);
                }
                () if bytes::is_word(word, "keepttl") => {
                    one_of(parsed.keep_ttl || parsed.at_ms.is_some(), CmdError::HsetexExpiry)?;
                    parsed.keep_ttl = true;
                }
                () if bytes::is_word(word, "fxx") || bytes::is_word(word, "fnx") => {
                    one_of(parsed.fields_present.is_some(), CmdError::HsetexCondition)?;
                    parsed.fields_present = Some(bytes::is_word(word, "fxx"));
                }
                () if bytes::is_word(word, "xx") || bytes::is_word(word, "nx") => {
                    let present = bytes::is_word(word, "xx");
                    one_of(parsed.key_present == Some(!present), CmdError::Syntax)?;
                    parsed.key_present = Some(present);
                }
                () => {
                    let time = time_of(word).ok_or_else(|| {
                        CmdError::UnknownArgument(bytes::preview(word, ERROR_PREVIEW_MAX))
                    })?;
                    one_of(parsed.keep_ttl || parsed.at_ms.is_some(), CmdError::HsetexExpiry)?;
                    let at = options.value_index().map_err(|_| CmdError::MissingExpire)?;
                    parsed.at_ms = Some(time.parse(args, at, now_ms, "hsetex")?);
                }
            }
        }
        Err(CmdError::Arity("hsetex".to_owned()))
    }
}

/// Where the fields begin whose number is at `at`.
fn fields_of_hsetex(args: &Args<'_>, at: usize) -> Result<usize, CmdError> {
    let arity = || CmdError::Arity("hsetex".to_owned());
    if at + 2 >= args.len() {
        return Err(arity());
    }
    let count = number::parse_i64(args.get(at))
        .filter(|count| (1..=i64::from(i32::MAX)).contains(count))
        .ok_or(CmdError::HsetexFields)?;
    if 2 * count as usize != args.len() - at - 1 {
        return Err(arity());
    }
    Ok(at + 1)
}

fn hsetex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, now_ms) = (args.key(1), ctx.now_ms);
    let options = HsetexOptions::parse(args, ctx.db.clock_ms())?;
    let names = || args.rest(options.first).step_by(2);
    let found = ctx.db.peek::<Hash>(key)?;
    let is_there = |name: &[u8]| found.is_some_and(|hash| live(hash, name, now_ms).is_some());
    let refused = options.key_present.is_some_and(|present| present != found.is_some())
        || options
            .fields_present
            .is_some_and(|wanted| names().any(|name| is_there(name) != wanted));
    if refused {
        if found.is_some_and(|hash| hash.has_expired(now_ms)) {
            super::hash::forget(ctx, key, names())?;
        }
        ctx.out.integer(0);
        return Ok(Flow::Done);
    }
    let mut hash = ctx.db.write_or_create::<Hash>(key)?;
    let count = (args.len() - options.first) / 2;
    match options.at_ms {
        Some(at_ms) if at_ms <= now_ms => {
            let mut edit = hash.edit();
            for name in names() {
                edit.remove(name);
            }
            hash.changed_by(count, Event::HSET);
            hash.also(Event::HDEL);
        }
        Some(at_ms) => {
            set_until(&mut hash, args, options.first, at_ms);
            hash.changed_by(count, Event::HSET);
            hash.also(Event::HEXPIRE);
        }
        None if options.keep_ttl => {
            names().for_each(|name| drop_expired(&mut hash, name, now_ms));
            for (name, value) in pairs(args, options.first) {
                hash.edit().set(name, value, FieldTtl::Keep);
            }
            hash.changed_by(count, Event::HSET);
        }
        None => {
            hash.edit().set_all(pairs(args, options.first));
            hash.changed_by(count, Event::HSET);
        }
    }
    drop(hash);
    propagate_hsetex(ctx, args, key, &options);
    ctx.out.integer(1);
    Ok(Flow::Done)
}

fn set_until(hash: &mut Guard<'_, Hash>, args: &Args<'_>, first: usize, at_ms: i64) {
    for (name, value) in pairs(args, first) {
        let mut edit = hash.edit();
        edit.set(name, value, FieldTtl::Clear);
        edit.set_deadline(name, Some(at_ms));
    }
}

/// Propagates HSETEX without its conditions, which hold, and with its deadline.
fn propagate_hsetex(ctx: &mut Ctx<'_>, args: &Args<'_>, key: Key<'_>, options: &HsetexOptions) {
    let fields = options.first..args.len();
    if options.at_ms.is_some_and(|at_ms| at_ms <= ctx.now_ms) {
        let mut argv: Vec<&[u8]> = vec![b"HDEL", key.bytes];
        argv.extend(fields.step_by(2).map(|at| args.get(at)));
        return ctx.effects.propagate_as(&argv);
    }
    let at_text = options.at_ms.map(decimal);
    let mut argv: Vec<&[u8]> = vec![b"HSETEX", key.bytes];
    match &at_text {
        Some(at_text) => argv.extend([b"PXAT", &at_text[..]]),
        None if options.keep_ttl => argv.push(b"KEEPTTL"),
        None => {}
    }
    argv.extend([b"FIELDS", args.get(options.first - 1)]);
    argv.extend(fields.map(|at| args.get(at)));
    ctx.effects.propagate_as(&argv);
}

fn hgetdel(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, now_ms) = (args.key(1), ctx.now_ms);
    ctx.db.peek::<Hash>(key)?;
    let first = first_field(args, 2, CmdError::FieldsNotPositive)?;
    ctx.out.array(args.len() - first);
    let Some(mut hash) = ctx.db.write::<Hash>(key)? else {
        args.rest(first).for_each(|_| ctx.out.null());
        return Ok(Flow::Done);
    };
    let mut removed: Vec<&[u8]> = Vec::new();
    for name in args.rest(first) {
        drop_expired(&mut hash, name, now_ms);
        let found = hash.view().get(name);
        reply_value(ctx.out, found);
        if found.is_some() {
            hash.edit().remove(name);
            removed.push(name);
        }
    }
    hash.changed_by(removed.len(), Event::HDEL);
    drop(hash);
    propagate(ctx, key, 0, &[], &removed);
    Ok(Flow::Done)
}
