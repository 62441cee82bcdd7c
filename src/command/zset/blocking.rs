//! Sorted-set commands that wait until a sorted set has something for them.

use super::super::args::Args;
use super::super::blocking::{Terms, serve_or_wait, timeout};
use super::super::context::{Ctx, Flow};
use super::super::error::CmdError;
use super::super::spec::{Command, Flags, KeySpec, Serve};
use super::draw::{Pop, Where, take};
use super::zset;
use crate::value::Type;
use crate::value::zset::ZSet;

/// All arguments but the last, which is the timeout.
const BEFORE_TIMEOUT: &[KeySpec] = &[KeySpec::range(1, -2, "RW", &["access", "delete"])];

pub(in super::super) static COMMANDS: &[Command] = &[
    zset("bzpopmin", -3, bzpopmin).write().fast().blocking(serve_bzpopmin).keys(BEFORE_TIMEOUT),
    zset("bzpopmax", -3, bzpopmax).write().fast().blocking(serve_bzpopmax).keys(BEFORE_TIMEOUT),
    zset("bzmpop", -5, bzmpop)
        .write()
        .blocking(serve_bzmpop)
        .flags(Flags::MOVABLEKEYS)
        .keys(&[KeySpec::counted(2, 1, "RW", &["access", "delete"])]),
];

fn bzpopmin(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    pop(ctx, args, serve_bzpopmin)
}

fn bzpopmax(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    pop(ctx, args, serve_bzpopmax)
}

fn pop(ctx: &mut Ctx<'_>, args: &Args<'_>, serve: Serve) -> Result<Flow, CmdError> {
    let timeout_at = args.len() - 1;
    let until_ms = timeout(ctx, args, timeout_at)?;
    let terms = Terms { wants: Type::ZSet, target: None, until_ms };
    serve_or_wait(ctx, args, 1..timeout_at, serve, terms)
}

fn serve_bzpopmin(ctx: &mut Ctx<'_>, args: &Args<'_>, at: usize) -> Result<bool, CmdError> {
    pop_one(ctx, args, at, Where::Min)
}

fn serve_bzpopmax(ctx: &mut Ctx<'_>, args: &Args<'_>, at: usize) -> Result<bool, CmdError> {
    pop_one(ctx, args, at, Where::Max)
}

/// Replies with a key and the member at an end of its sorted set, with its score.
fn pop_one(ctx: &mut Ctx<'_>, args: &Args<'_>, at: usize, from: Where) -> Result<bool, CmdError> {
    let key = args.key(at);
    let Some(mut zset) = ctx.db.write::<ZSet>(key)? else { return Ok(false) };
    ctx.out.array(3);
    ctx.out.bulk(key.bytes);
    take(ctx.out, &mut zset, from, 1, false);
    drop(zset);
    let name: &[u8] = if from == Where::Min { b"ZPOPMIN" } else { b"ZPOPMAX" };
    ctx.effects.propagate_as(&[name, key.bytes]);
    Ok(true)
}

fn bzmpop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let plan = Pop::parse(args, 2)?;
    let until_ms = timeout(ctx, args, 1)?;
    let terms = Terms { wants: Type::ZSet, target: None, until_ms };
    serve_or_wait(ctx, args, plan.indexes(), serve_bzmpop, terms)
}

fn serve_bzmpop(ctx: &mut Ctx<'_>, args: &Args<'_>, at: usize) -> Result<bool, CmdError> {
    Pop::parse(args, 2)?.run(ctx, args.key(at))
}
