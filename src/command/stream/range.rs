//! Reading entries from one id to another.

use std::ops::RangeInclusive;

use super::super::args::Args;
use super::super::context::{Ctx, Flow};
use super::super::error::CmdError;
use super::super::spec::Command;
use super::options::{end_of, start_of};
use super::{READ, reply_entry, stream};
use crate::encoding::End;
use crate::value::stream::{Stream, StreamId};

pub(in super::super) static COMMANDS: &[Command] = &[
    stream("xrange", -4, xrange).read().keys(READ),
    stream("xrevrange", -4, xrevrange).read().keys(READ),
];

fn xrange(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let range = start_of(args.get(2))?..=end_of(args.get(3))?;
    read(ctx, args, range, End::Head)
}

fn xrevrange(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let range = start_of(args.get(3))?..=end_of(args.get(2))?;
    read(ctx, args, range, End::Tail)
}

fn read(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    range: RangeInclusive<StreamId>,
    from: End,
) -> Result<Flow, CmdError> {
    let (mut options, mut count) = (args.options(4), usize::MAX);
    while let Some(word) = options.word() {
        if !word.eq_ignore_ascii_case(b"count") || options.left() == 0 {
            return Err(CmdError::Syntax);
        }
        count = usize::try_from(options.integer()?).unwrap_or(0);
    }
    let Some(stream) = ctx.db.read::<Stream>(args.key(1))? else {
        ctx.out.array(0);
        return Ok(Flow::Done);
    };
    if count == 0 {
        ctx.out.null_array();
        return Ok(Flow::Done);
    }
    let (mark, mut replied) = (ctx.out.mark(), 0);
    for entry in stream.entries(range, from).take(count) {
        reply_entry(ctx.out, &entry);
        replied += 1;
    }
    ctx.out.array_at(mark, replied);
    Ok(Flow::Done)
}
