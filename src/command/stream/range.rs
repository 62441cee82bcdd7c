//! Reading entries from one id to another.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Instant;

use smallvec::SmallVec;

use super::super::args::Args;
use super::super::context::{Ctx, Flow, Job};
use super::super::error::CmdError;
use super::super::spec::Command;
use super::options::{end_of, start_of};
use super::{READ, reply_entry, stream};
use crate::base::limits::{BACKGROUND_SLICE, WHOLE_REPLY_MAX};
use crate::encoding::End;
use crate::value::stream::{SharedEntries, Stream, StreamId};

/// Entries that are replied between two looks at the time.
const STEP: usize = 64;

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
    if stream.len() > WHOLE_REPLY_MAX as u64 && count > WHOLE_REPLY_MAX {
        let len = stream.count(range.clone()).min(count);
        if len > WHOLE_REPLY_MAX {
            ctx.out.array(len);
            let entries = stream.share(range, from);
            return Ok(Flow::Work(Box::new(ReplyEntries { entries, left: len })));
        }
    }
    let (mark, mut replied) = (ctx.out.mark(), 0);
    for entry in stream.entries(range, from).take(count) {
        reply_entry(ctx.out, &entry);
        replied += 1;
    }
    ctx.out.array_at(mark, replied);
    Ok(Flow::Done)
}

/// What is left of a long reply. The nodes are shared with the stream, which may change meanwhile.
struct ReplyEntries {
    entries: SharedEntries,
    left: usize,
}

impl fmt::Debug for ReplyEntries {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} entries of a stream", self.left)
    }
}

impl Job for ReplyEntries {
    fn keys(&self) -> SmallVec<[&[u8]; 1]> {
        SmallVec::new()
    }

    fn step(&mut self, ctx: &mut Ctx<'_>) -> Result<bool, CmdError> {
        let start = Instant::now();
        while self.left > 0 && start.elapsed() < BACKGROUND_SLICE {
            let count = STEP.min(self.left);
            self.entries.visit(count, |entry| reply_entry(ctx.out, &entry));
            self.left -= count;
        }
        Ok(self.left == 0)
    }
}
