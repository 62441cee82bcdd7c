//! List commands that wait until a list has something for them.

use super::args::Args;
use super::blocking::{Terms, serve_or_wait, timeout};
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::list::{at_end, pop_event, reply};
use super::list_move::{MOVE, Move, MultiPop, end_at, move_items, pop_with_key};
use super::spec::{Command, Flags, Group, KeySpec, Serve};
use crate::encoding::End;
use crate::value::{List, Type};

/// All arguments but the last, which is the timeout.
const BEFORE_TIMEOUT: &[KeySpec] = &[KeySpec::range(1, -2, "RW", &["access", "delete"])];

pub(super) static COMMANDS: &[Command] = &[
    Command::new("blpop", -3, blpop)
        .write()
        .blocking(serve_blpop)
        .group(Group::List)
        .keys(BEFORE_TIMEOUT),
    Command::new("brpop", -3, brpop)
        .write()
        .blocking(serve_brpop)
        .group(Group::List)
        .keys(BEFORE_TIMEOUT),
    Command::new("blmove", 6, blmove).grow().blocking(serve_blmove).group(Group::List).keys(MOVE),
    Command::new("brpoplpush", 4, brpoplpush)
        .grow()
        .blocking(serve_brpoplpush)
        .group(Group::List)
        .keys(MOVE),
    Command::new("blmovem", -6, blmovem)
        .grow()
        .blocking(serve_blmovem)
        .group(Group::List)
        .keys(MOVE),
    Command::new("blmpop", -5, blmpop)
        .write()
        .blocking(serve_blmpop)
        .flags(Flags::MOVABLEKEYS)
        .group(Group::List)
        .keys(&[KeySpec::counted(2, 1, "RW", &["access", "delete"])]),
];

fn blpop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    pop(ctx, args, serve_blpop)
}

fn brpop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    pop(ctx, args, serve_brpop)
}

fn pop(ctx: &mut Ctx<'_>, args: &Args<'_>, serve: Serve) -> Result<Flow, CmdError> {
    let timeout_at = args.len() - 1;
    let until_ms = timeout(ctx, args, timeout_at)?;
    let terms = Terms { wants: Type::List, target: None, until_ms };
    serve_or_wait(ctx, args, 1..timeout_at, serve, terms)
}

fn serve_blpop(ctx: &mut Ctx<'_>, args: &Args<'_>, at: usize) -> Result<bool, CmdError> {
    pop_one(ctx, args, at, End::Head)
}

fn serve_brpop(ctx: &mut Ctx<'_>, args: &Args<'_>, at: usize) -> Result<bool, CmdError> {
    pop_one(ctx, args, at, End::Tail)
}

/// Replies with a key and the element at `end` of its list.
fn pop_one(ctx: &mut Ctx<'_>, args: &Args<'_>, at: usize, end: End) -> Result<bool, CmdError> {
    let key = args.key(at);
    let Some(mut list) = ctx.db.write::<List>(key)? else { return Ok(false) };
    ctx.out.array(2);
    ctx.out.bulk(key.bytes);
    let range = at_end(end, 1, list.view().len());
    list.view().walk(range.clone(), end, |item| reply(ctx.out, item));
    list.edit().remove(range);
    list.changed(pop_event(end));
    drop(list);
    ctx.effects.propagate_as(&[if end == End::Head { b"LPOP" } else { b"RPOP" }, key.bytes]);
    Ok(true)
}

fn blmove(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    one_move(args)?;
    move_or_wait(ctx, args, 5, serve_blmove)
}

fn brpoplpush(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    move_or_wait(ctx, args, 3, serve_brpoplpush)
}

fn blmovem(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    Move::parse(args, 6)?;
    move_or_wait(ctx, args, 5, serve_blmovem)
}

fn move_or_wait(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    timeout_at: usize,
    serve: Serve,
) -> Result<Flow, CmdError> {
    let until_ms = timeout(ctx, args, timeout_at)?;
    let terms = Terms { wants: Type::List, target: Some(2), until_ms };
    serve_or_wait(ctx, args, 1..2, serve, terms)
}

/// The ends that BLMOVE names.
fn one_move(args: &Args<'_>) -> Result<Move, CmdError> {
    Ok(Move::one(end_at(args, 3)?, end_at(args, 4)?))
}

fn serve_blmove(ctx: &mut Ctx<'_>, args: &Args<'_>, at: usize) -> Result<bool, CmdError> {
    let served = move_items(ctx, args.key(at), args.key(2), &one_move(args)?)? > 0;
    if served {
        ctx.effects.propagate_as(&[b"LMOVE", &args[1], &args[2], &args[3], &args[4]]);
    }
    Ok(served)
}

fn serve_brpoplpush(ctx: &mut Ctx<'_>, args: &Args<'_>, at: usize) -> Result<bool, CmdError> {
    let plan = Move::one(End::Tail, End::Head);
    let served = move_items(ctx, args.key(at), args.key(2), &plan)? > 0;
    if served {
        ctx.effects.propagate_as(&[b"RPOPLPUSH", &args[1], &args[2]]);
    }
    Ok(served)
}

fn serve_blmovem(ctx: &mut Ctx<'_>, args: &Args<'_>, at: usize) -> Result<bool, CmdError> {
    let served = move_items(ctx, args.key(at), args.key(2), &Move::parse(args, 6)?)? > 0;
    if served {
        let mut argv: Vec<&[u8]> = vec![b"LMOVEM", &args[1], &args[2], &args[3], &args[4]];
        argv.extend(args.rest(6));
        ctx.effects.propagate_as(&argv);
    }
    Ok(served)
}

fn blmpop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let plan = MultiPop::parse(args, 2)?;
    let until_ms = timeout(ctx, args, 1)?;
    let terms = Terms { wants: Type::List, target: None, until_ms };
    serve_or_wait(ctx, args, plan.keys(), serve_blmpop, terms)
}

fn serve_blmpop(ctx: &mut Ctx<'_>, args: &Args<'_>, at: usize) -> Result<bool, CmdError> {
    let plan = MultiPop::parse(args, 2)?;
    pop_with_key(ctx, args.key(at), plan.end, plan.count)
}
