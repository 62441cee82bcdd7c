//! Sorted sets that are put in the place of whatever a key held: ZUNIONSTORE and its like.

use super::super::args::Args;
use super::super::context::{Ctx, Flow};
use super::super::error::CmdError;
use super::super::spec::{Command, Flags, KeySpec};
use super::combine::{Operation, combine};
use super::zset;
use crate::keyspace::{Deadline, Event, Key, NewValue};
use crate::value::zset::{self as zset_value, ScoredSet};
use crate::value::{EditContext, Value};

const INTO: &[KeySpec] =
    &[KeySpec::one("OW", &["update"]), KeySpec::counted(2, 1, "RO", &["access"])];

pub(in super::super) static COMMANDS: &[Command] = &[
    zset("zunionstore", -4, zunionstore).grow().flags(Flags::MOVABLEKEYS).keys(INTO),
    zset("zinterstore", -4, zinterstore).grow().flags(Flags::MOVABLEKEYS).keys(INTO),
    zset("zdiffstore", -4, zdiffstore).grow().flags(Flags::MOVABLEKEYS).keys(INTO),
];

fn zunionstore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    combine_into(ctx, args, Operation::Union, "zunionstore")
}

fn zinterstore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    combine_into(ctx, args, Operation::Inter, "zinterstore")
}

fn zdiffstore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    combine_into(ctx, args, Operation::Diff, "zdiffstore")
}

fn combine_into(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    operation: Operation,
    event: &'static str,
) -> Result<Flow, CmdError> {
    let (result, _) = combine(ctx, args, 2, operation)?;
    store(ctx, args.key(1), result, Event::zset(event));
    Ok(Flow::Done)
}

/// Puts the set in the place of what `key` held and replies its size; an empty one is no set.
pub(super) fn store(ctx: &mut Ctx<'_>, key: Key<'_>, set: ScoredSet, event: Event) {
    let len = set.len();
    ctx.out.count(len);
    if len == 0 {
        if let Some(removed) = ctx.db.remove(key) {
            removed.changed(Event::DEL);
        }
        return;
    }
    let keyspace = &ctx.server.keyspace;
    let (limits, hasher) = (keyspace.limits(), keyspace.hasher());
    let context = EditContext { limits, hasher, now_ms: ctx.now_ms };
    let written = match zset_value::pack(&set, context) {
        Some(body) => {
            let packed = NewValue::Packed(zset_value::packed_of(&body, len));
            ctx.db.set(key, packed, Deadline::Clear)
        }
        None => {
            let object = NewValue::Object(Box::new(Value::ZSet(Box::new(set))));
            ctx.db.set(key, object, Deadline::Clear)
        }
    };
    written.changed(event);
}
