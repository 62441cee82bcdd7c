//! Deleting entries with regard to the groups that refer to them (Redis 8.2).

use super::super::args::Args;
use super::super::context::{Ctx, Flow};
use super::super::error::CmdError;
use super::super::spec::{Command, KeySpec};
use super::options::{parse_deletion, strict_id};
use super::{DELETE, stream};
use crate::keyspace::Event;
use crate::value::stream::{References, Stream, StreamId};

pub(in super::super) static COMMANDS: &[Command] = &[
    stream("xdelex", -5, xdelex).write().fast().keys(DELETE),
    stream("xackdel", -6, xackdel)
        .write()
        .fast()
        .keys(&[KeySpec::one("RW", &["delete", "update"])]),
];

/// The answers for one entry.
const MISSING: i64 = -1;
const DELETED: i64 = 1;
const REFERENCED: i64 = 2;

fn ids_at(args: &Args<'_>, at: std::ops::Range<usize>) -> Result<Vec<StreamId>, CmdError> {
    at.map(|at| strict_id(args.get(at), 0)).collect()
}

/// Deletes an entry as told; whether it may be deleted, and whether it was there.
fn delete(stream: &mut Stream, id: StreamId, references: References) -> (bool, bool) {
    match references {
        References::Acked if stream.is_referenced(id) => return (false, false),
        References::Delete => drop(stream.drop_references(id)),
        _ => {}
    }
    (true, stream.delete(id))
}

fn xdelex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let key = args.key(1);
    ctx.db.peek::<Stream>(key)?;
    let (references, at) = parse_deletion(args, 2)?;
    let count = at.len();
    if ctx.db.peek::<Stream>(key)?.is_none() {
        ctx.out.array(count);
        (0..count).for_each(|_| ctx.out.integer(MISSING));
        return Ok(Flow::Done);
    }
    let ids = ids_at(args, at)?;
    let Some(mut guard) = ctx.db.write::<Stream>(key)? else { return Ok(Flow::Done) };
    let (stream, mut deleted, mut dropped) = (guard.edit(), 0, 0);
    ctx.out.array(count);
    for id in ids {
        // References to what is gone go too, if they are to.
        let is_gone = references == References::Delete && !stream.contains(id);
        dropped += usize::from(is_gone && stream.drop_references(id));
        let (may, was) = delete(stream, id, references);
        deleted += usize::from(was);
        ctx.out.integer(match (may, was) {
            (false, _) => REFERENCED,
            (true, true) => DELETED,
            (true, false) => MISSING,
        });
    }
    guard.changed_by(deleted, Event::stream("xdel"));
    drop(guard);
    ctx.db.changes().dirty += dropped as u64;
    Ok(Flow::Done)
}

fn xackdel(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let key = args.key(1);
    ctx.db.peek::<Stream>(key)?;
    let (references, at) = parse_deletion(args, 3)?;
    let count = at.len();
    let found = ctx.db.peek::<Stream>(key)?;
    if found.is_none_or(|stream| stream.group(args.get(2)).is_none()) {
        ctx.out.array(count);
        (0..count).for_each(|_| ctx.out.integer(MISSING));
        return Ok(Flow::Done);
    }
    let ids = ids_at(args, at)?;
    let Some(mut guard) = ctx.db.write::<Stream>(key)? else { return Ok(Flow::Done) };
    let (stream, mut deleted, mut acknowledged) = (guard.edit(), 0, 0);
    ctx.out.array(count);
    for id in ids {
        let group = stream.group_mut(args.get(2)).expect("the group was looked up");
        if group.remove_pending(id).is_none() {
            ctx.out.integer(MISSING);
            continue;
        }
        acknowledged += 1;
        let (may, was) = delete(stream, id, references);
        deleted += usize::from(was);
        ctx.out.integer(if may { DELETED } else { REFERENCED });
    }
    if deleted > 0 {
        guard.changed(Event::stream("xdel"));
        acknowledged -= 1;
    }
    drop(guard);
    ctx.db.changes().dirty += acknowledged;
    Ok(Flow::Done)
}
