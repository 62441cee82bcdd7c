//! Stream commands: adding and removing entries here, reading and consumer groups in files of their
//! own.

pub(super) mod claim;
pub(super) mod config;
pub(super) mod delete;
pub(super) mod group;
pub(super) mod info;
mod options;
pub(super) mod range;
pub(super) mod read;

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::options::decimal;
use super::spec::{Command, Group, Handler, KeySpec};
use crate::base::bytes;
use crate::base::limits::ERROR_PREVIEW_MAX;
use crate::encoding::End;
use crate::keyspace::{Event, Key};
use crate::resp::ReplyBuf;
use crate::value::reply_item;
use crate::value::stream::{
    Bound, Entry, ID_LEN_MAX, Ids, NODE_LEN_MAX, Stream, StreamId, Trimmed,
};
use options::{AddOptions, NewId, ids_from, strict_id};

const READ: &[KeySpec] = &[KeySpec::one("RO", &["access"])];
const UPDATE: &[KeySpec] = &[KeySpec::one("RW", &["update"])];
const DELETE: &[KeySpec] = &[KeySpec::one("RW", &["delete"])];
const ANY_OUTPUT: &[&str] = &["nondeterministic_output"];

/// Why a write that may remove entries is said to update.
const TRIMS: &str = "UPDATE instead of INSERT because of the optional trimming feature";

pub(super) static COMMANDS: &[Command] = &[
    stream("xadd", -5, xadd)
        .grow()
        .fast()
        .keys(&[KeySpec::one("RW", &["update"]).notes(TRIMS)])
        .tips(ANY_OUTPUT),
    stream("xlen", 2, xlen).read().fast().keys(&[KeySpec::one("RO", &[])]),
    stream("xdel", -3, xdel).write().fast().keys(DELETE),
    stream("xtrim", -4, xtrim).write().keys(DELETE).tips(ANY_OUTPUT),
    stream("xsetid", -3, xsetid).grow().fast().keys(UPDATE),
];

/// A row of the group.
const fn stream(name: &'static str, arity: i32, handler: Handler) -> Command {
    Command::new(name, arity, handler).group(Group::Stream)
}

/// The spelling of an id, for propagation.
fn id_text(id: StreamId) -> Vec<u8> {
    id.format(&mut [0; ID_LEN_MAX]).to_vec()
}

/// Replies an id.
fn reply_id(out: &mut ReplyBuf, id: StreamId) {
    out.bulk(id.format(&mut [0; ID_LEN_MAX]));
}

/// An argument in an error.
fn preview(arg: &[u8]) -> String {
    bytes::preview(arg, ERROR_PREVIEW_MAX)
}

/// There is no such group; `place` says who missed it.
fn no_group(args: &Args<'_>, key_at: usize, group_at: usize, place: &'static str) -> CmdError {
    let (key, group) = (preview(args.get(key_at)), preview(args.get(group_at)));
    CmdError::NoGroup { key, group, place }
}

/// Replies an entry: its id, and its fields and their values in one flat array.
fn reply_entry(out: &mut ReplyBuf, entry: &Entry<'_>) {
    out.array(2);
    reply_id(out, entry.id);
    reply_pairs(out, entry);
}

fn reply_pairs(out: &mut ReplyBuf, entry: &Entry<'_>) {
    out.array(2 * entry.len());
    for (name, value) in entry.pairs() {
        reply_item(name, out);
        reply_item(value, out);
    }
}

fn xadd(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let limits = ctx.server.keyspace.limits().stream_node();
    let options = AddOptions::of_xadd(args, limits.entries, ctx.db.is_replay())?;
    let first = options.id_at + 1;
    let left = args.len().saturating_sub(first);
    if left < 2 || left % 2 == 1 {
        return Err(CmdError::Arity(ctx.command.name.to_owned()));
    }
    if options.id == NewId::Given(StreamId::MIN) {
        return Err(CmdError::StreamIdZero);
    }
    let key = args.key(1);
    let ids = ctx.db.peek::<Stream>(key)?.map(Stream::ids);
    if ids.is_none() && options.no_mkstream {
        ctx.out.null();
        return Ok(Flow::Done);
    }
    let pairs = (first..args.len()).step_by(2).map(|at| (args.get(at), args.get(at + 1)));
    let sent = options.producer.map(|(producer, name)| {
        let name = name.map_or_else(
            || config::id_of_fields(pairs.clone()).to_vec(),
            |at| args.get(at).to_vec(),
        );
        (args.get(producer), name)
    });
    if let Some((producer, name)) = &sent
        && let Some(id) = known_entry(ctx, key, producer, name)?
    {
        reply_id(ctx.out, id);
        return Ok(Flow::Done);
    }
    let id = choose_id(options.id, ids.unwrap_or_default(), ctx.db.clock_ms())?;
    if args.rest(first).map(<[u8]>::len).sum::<usize>() > NODE_LEN_MAX {
        return Err(CmdError::StreamElements);
    }
    let now_ms = config::now_ms(ctx);
    let mut guard = ctx.db.write_or_create::<Stream>(key)?;
    let stream = guard.edit();
    stream.append(id, pairs, limits);
    if let Some((producer, name)) = sent {
        let limits = ctx.server.keyspace.limits().stream_idmp();
        stream.idempotence_mut(limits).insert(producer, &name, id, now_ms);
    }
    let trimmed = options.trim.map(|(trim, at)| (at, trim.approximate, stream.trim(&trim)));
    guard.changed(Event::stream("xadd"));
    if trimmed.is_some_and(|(_, _, trimmed)| trimmed.removed > 0) {
        guard.also(Event::stream("xtrim"));
    }
    drop(guard);
    reply_id(ctx.out, id);
    if ctx.effects.wanted() {
        let given = (options.id_at, id_text(id));
        let trimmed = trimmed
            .and_then(|(at, approximate, trimmed)| approximate.then(|| (at, exactly(&trimmed))));
        propagate_with(ctx, args, &[Some(given), trimmed]);
    }
    Ok(Flow::Done)
}

/// The entry that a producer has sent before under an idempotent id.
fn known_entry(
    ctx: &mut Ctx<'_>,
    key: Key<'_>,
    producer: &[u8],
    name: &[u8],
) -> Result<Option<StreamId>, CmdError> {
    let (now_ms, limits) = (config::now_ms(ctx), ctx.server.keyspace.limits().stream_idmp());
    let Some(mut guard) = ctx.db.write::<Stream>(key)? else { return Ok(None) };
    let known = guard.edit().idempotence_mut(limits);
    let found = known.find(producer, name, now_ms);
    known.duplicates += u64::from(found.is_some());
    Ok(found)
}

/// The id of a new entry of a stream with these ids.
fn choose_id(wanted: NewId, ids: Ids, now_ms: i64) -> Result<StreamId, CmdError> {
    if ids.last == StreamId::MAX {
        return Err(CmdError::StreamExhausted);
    }
    let id = match wanted {
        NewId::Auto => {
            let now_ms = u64::try_from(now_ms).unwrap_or(0);
            let later = (now_ms > ids.last.ms).then(|| StreamId::new(now_ms, 0));
            later.or_else(|| ids.last.next()).ok_or(CmdError::StreamIdPast)?
        }
        NewId::AutoSeq(ms) if ms == ids.last.ms => {
            StreamId::new(ms, ids.last.seq.checked_add(1).ok_or(CmdError::StreamIdPast)?)
        }
        NewId::AutoSeq(ms) => StreamId::new(ms, 0),
        NewId::Given(id) => id,
    };
    if id > ids.last { Ok(id) } else { Err(CmdError::StreamIdPast) }
}

/// The bound that says exactly what an approximate trimming removed.
fn exactly(trimmed: &Trimmed) -> Vec<u8> {
    match trimmed.exactly {
        Bound::Len(len) => decimal(i64::try_from(len).unwrap_or(i64::MAX)),
        Bound::Id(id) => id_text(id),
    }
}

/// Propagates the command with some arguments replaced. What stands before a bound that is replaced
/// becomes `=`, so that every reader of the stream trims alike.
fn propagate_with(ctx: &mut Ctx<'_>, args: &Args<'_>, replaced: &[Option<(usize, Vec<u8>)>]) {
    let mut argv: Vec<&[u8]> = args.rest(0).collect();
    for (at, text) in replaced.iter().flatten() {
        argv[*at] = text;
        if argv[at - 1] == b"~" {
            argv[at - 1] = b"=";
        }
    }
    ctx.effects.propagate_as(&argv);
}

fn xlen(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let len = ctx.db.read::<Stream>(args.key(1))?.map_or(0, Stream::len);
    ctx.out.integer(i64::try_from(len).unwrap_or(i64::MAX));
    Ok(Flow::Done)
}

fn xdel(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let mut deleted = 0;
    let key = args.key(1);
    if ctx.db.peek::<Stream>(key)?.is_some() {
        let ids = ids_from(args, 2)?;
        if let Some(mut guard) = ctx.db.write::<Stream>(key)? {
            let stream = guard.edit();
            deleted = ids.into_iter().filter(|id| stream.delete(*id)).count();
            guard.changed_by(deleted, Event::stream("xdel"));
        }
    }
    ctx.out.count(deleted);
    Ok(Flow::Done)
}

fn xtrim(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let entries = ctx.server.keyspace.limits().stream_node().entries;
    let (trim, at) = AddOptions::of_xtrim(args, entries, ctx.db.is_replay())?;
    let (mut deleted, mut bound) = (0, None);
    if let Some(mut guard) = ctx.db.write::<Stream>(args.key(1))? {
        let stream = guard.edit();
        let trimmed = stream.trim(&trim);
        deleted = trimmed.removed as usize;
        bound = trim.approximate.then(|| exactly(&trimmed));
        guard.changed_by(deleted, Event::stream("xtrim"));
    }
    if let Some(bound) = bound
        && ctx.effects.wanted()
    {
        propagate_with(ctx, args, &[Some((at, bound))]);
    }
    ctx.out.count(deleted);
    Ok(Flow::Done)
}

fn xsetid(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let last = strict_id(args.get(2), 0)?;
    let (mut added, mut max_deleted, mut options) = (None, StreamId::MIN, args.options(3));
    while let Some(word) = options.word() {
        let has_value = options.left() > 0;
        if bytes::is_word(word, "entriesadded") && has_value {
            added = Some(u64::try_from(options.integer()?).map_err(|_| CmdError::EntriesAdded)?);
        } else if bytes::is_word(word, "maxdeletedid") && has_value {
            max_deleted = strict_id(options.value()?, 0)?;
            if last < max_deleted {
                return Err(CmdError::Xsetid(
                    "ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
        } else {
            return Err(CmdError::Syntax);
        }
    }
    let stream = ctx.db.peek::<Stream>(args.key(1))?.ok_or(CmdError::NoSuchKey)?;
    let mut ids = stream.ids();
    if last < ids.max_deleted {
        return Err(CmdError::Xsetid(
            "ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if stream.edge(End::Tail).is_some_and(|top| last < top) {
        return Err(CmdError::Xsetid(
            "ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if added.is_some_and(|added| added < stream.len()) {
        return Err(CmdError::Xsetid(
            "entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    ids.last = last;
    ids.added = added.unwrap_or(ids.added);
    if !max_deleted.is_min() {
        ids.max_deleted = max_deleted;
    }
    if let Some(mut guard) = ctx.db.write::<Stream>(args.key(1))? {
        guard.edit().set_ids(ids);
        guard.noted(Event::stream("xsetid"));
    }
    ctx.out.ok();
    Ok(Flow::Done)
}
