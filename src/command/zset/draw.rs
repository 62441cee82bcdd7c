//! Commands that take members from an end of a sorted set, or choose some at random.

use std::collections::HashSet;
use std::ops::Range;

use super::super::args::Args;
use super::super::context::{Ctx, Flow};
use super::super::error::CmdError;
use super::super::options::decimal;
use super::super::spec::{Command, Flags, KeySpec};
use super::{ANY_OUTPUT, READ, reply_head, reply_pair, zset};
use crate::base::limits::{BUFFER_MAX, RANDOM_REPEATS_MAX};
use crate::base::random::Random;
use crate::base::{bytes, number};
use crate::encoding::listpack::Item;
use crate::keyspace::{Event, Guard, Key};
use crate::resp::ReplyBuf;
use crate::value::reply_item;
use crate::value::zset::{ZSet, ZSetView};

const TAKE: &[KeySpec] = &[KeySpec::one("RW", &["access", "delete"])];

/// Single members are drawn from a set that has more than so many times as many as wanted.
const DRAW_RATIO: usize = 3;

pub(in super::super) static COMMANDS: &[Command] = &[
    zset("zpopmin", -2, zpopmin).write().fast().keys(TAKE),
    zset("zpopmax", -2, zpopmax).write().fast().keys(TAKE),
    zset("zmpop", -4, zmpop).write().flags(Flags::MOVABLEKEYS).keys(&[KeySpec::counted(
        1,
        1,
        "RW",
        &["access", "delete"],
    )]),
    zset("zrandmember", -2, zrandmember).read().keys(READ).tips(ANY_OUTPUT),
];

/// The end of a sorted set that members are taken from.
#[derive(Clone, Copy, PartialEq)]
pub(in super::super) enum Where {
    Min,
    Max,
}

impl Where {
    /// Reads MIN or MAX.
    pub(in super::super) fn parse(word: &[u8]) -> Result<Self, CmdError> {
        match () {
            () if bytes::is_word(word, "min") => Ok(Self::Min),
            () if bytes::is_word(word, "max") => Ok(Self::Max),
            () => Err(CmdError::Syntax),
        }
    }

    fn event(self) -> Event {
        Event::zset(if self == Self::Min { "zpopmin" } else { "zpopmax" })
    }

    /// Propagates the removal of `count` members of `key`.
    pub(in super::super) fn propagate(self, ctx: &mut Ctx<'_>, key: Key<'_>, count: usize) {
        let name: &[u8] = if self == Self::Min { b"ZPOPMIN" } else { b"ZPOPMAX" };
        ctx.effects.propagate_as(&[name, key.bytes, &decimal(count as i64)]);
    }
}

fn zpopmin(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    pop(ctx, args, Where::Min)
}

fn zpopmax(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    pop(ctx, args, Where::Max)
}

fn pop(ctx: &mut Ctx<'_>, args: &Args<'_>, from: Where) -> Result<Flow, CmdError> {
    if args.len() > 3 {
        return Err(CmdError::Syntax);
    }
    let count = if args.len() == 3 { Some(args.count(2)?) } else { None };
    let wanted = count.unwrap_or(1);
    let zset = ctx.db.write::<ZSet>(args.key(1))?;
    let Some(mut zset) = zset.filter(|_| wanted > 0) else {
        ctx.out.array(0);
        return Ok(Flow::Done);
    };
    let len = wanted.min(zset.view().len());
    let nested = count.is_some() && ctx.out.is_resp3();
    ctx.out.array(if nested { len } else { 2 * len });
    take(ctx.out, &mut zset, from, len, nested);
    Ok(Flow::Done)
}

/// Takes `count` members, which are there, and replies each with its score.
pub(in super::super) fn take(
    out: &mut ReplyBuf,
    zset: &mut Guard<'_, ZSet>,
    from: Where,
    count: usize,
    nested: bool,
) {
    let len = zset.view().len();
    let mut reply = |(member, score)| {
        if nested {
            out.array(2);
        }
        reply_item(member, out);
        out.double(score);
    };
    let ranks = if from == Where::Min { 0..count } else { len - count..len };
    let found = zset.view().range(ranks.clone());
    match from {
        Where::Min => found.for_each(&mut reply),
        Where::Max => found.rev().for_each(&mut reply),
    }
    zset.edit().remove_range(ranks);
    zset.changed_by(count, from.event());
}

/// The keys of ZMPOP and what to take from the first of them that is there.
pub(in super::super) struct Pop {
    /// Index of the first key.
    first: usize,
    /// How many keys there are.
    keys: usize,
    /// The end.
    from: Where,
    /// Most members to take.
    count: usize,
}

impl Pop {
    /// Reads the arguments from the number of keys on, which is at `count_at`.
    pub(in super::super) fn parse(args: &Args<'_>, count_at: usize) -> Result<Self, CmdError> {
        let positive = |text: &[u8]| {
            let value = number::parse_i64(text).and_then(|value| usize::try_from(value).ok());
            value.filter(|value| *value > 0)
        };
        let keys = positive(args.get(count_at)).ok_or(CmdError::NumkeysNotPositive)?;
        let first = count_at + 1;
        let where_at = first.checked_add(keys).filter(|at| *at < args.len());
        let where_at = where_at.ok_or(CmdError::Syntax)?;
        let from = Where::parse(args.get(where_at))?;
        let (mut options, mut count) = (args.options(where_at + 1), None);
        while let Some(word) = options.word() {
            if count.is_some() || !bytes::is_word(word, "count") {
                return Err(CmdError::Syntax);
            }
            count = Some(positive(options.value()?).ok_or(CmdError::CountNotPositive)?);
        }
        Ok(Self { first, keys, from, count: count.unwrap_or(1) })
    }

    /// The indexes of the keys.
    pub(in super::super) fn indexes(&self) -> Range<usize> {
        self.first..self.first + self.keys
    }

    /// Takes the members of `key` and replies them; `false` if it is not there.
    pub(in super::super) fn run(&self, ctx: &mut Ctx<'_>, key: Key<'_>) -> Result<bool, CmdError> {
        let Some(mut zset) = ctx.db.write::<ZSet>(key)? else { return Ok(false) };
        let count = self.count.min(zset.view().len());
        ctx.out.array(2);
        ctx.out.bulk(key.bytes);
        ctx.out.array(count);
        take(ctx.out, &mut zset, self.from, count, true);
        drop(zset);
        self.from.propagate(ctx, key, count);
        Ok(true)
    }
}

fn zmpop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let plan = Pop::parse(args, 1)?;
    for at in plan.indexes() {
        if plan.run(ctx, args.key(at))? {
            return Ok(Flow::Done);
        }
    }
    ctx.out.null_array();
    Ok(Flow::Done)
}

fn zrandmember(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let key = args.key(1);
    let mut random = ctx.db.random(key);
    if args.len() == 2 {
        match ctx.db.read::<ZSet>(key)?.and_then(|zset| zset.random(&mut random)) {
            Some((member, _)) => reply_item(member, ctx.out),
            None => ctx.out.null(),
        }
        return Ok(Flow::Done);
    }
    let count = args.integer(2)?;
    if count == i64::MIN {
        return Err(CmdError::NotInRange(-i64::MAX, i64::MAX));
    }
    let with_scores = args.is(3, "withscores");
    if args.len() > 4 || args.len() == 4 && !with_scores {
        return Err(CmdError::Syntax);
    }
    let wanted = count.unsigned_abs() as usize;
    let repeats_too_often = count < 0 && wanted > RANDOM_REPEATS_MAX;
    if with_scores && wanted > i64::MAX as usize / 2 || repeats_too_often {
        return Err(CmdError::OutOfRange);
    }
    match ctx.db.read::<ZSet>(key)? {
        Some(zset) if count < 0 => {
            return Ok(draw_repeatedly(ctx.out, zset, wanted, with_scores, &mut random));
        }
        Some(zset) if count > 0 => draw_distinct(ctx.out, zset, wanted, with_scores, &mut random),
        _ => ctx.out.array(0),
    }
    Ok(Flow::Done)
}

/// Replies `count` members, each drawn from all.
fn draw_repeatedly(
    out: &mut ReplyBuf,
    zset: ZSetView<'_>,
    count: usize,
    with_scores: bool,
    random: &mut Random,
) -> Flow {
    reply_head(out, count, with_scores);
    let start = out.len();
    let members: Vec<(Item<'_>, f64)> = match zset {
        // Finding one member of a listpack costs as much as finding all.
        ZSetView::Packed(_) => zset.iter().collect(),
        ZSetView::Large(_) => Vec::new(),
    };
    for _ in 0..count {
        let pair = if members.is_empty() {
            zset.random(random)
        } else {
            members.get(random.below(members.len() as u64) as usize).copied()
        };
        reply_pair(out, pair.expect("a sorted set that is there has members"), with_scores);
        if out.len() - start > BUFFER_MAX as usize {
            return Flow::Close;
        }
    }
    Flow::Done
}

/// Replies `count` different members, or all if there are fewer; all choices are equally likely.
fn draw_distinct(
    out: &mut ReplyBuf,
    zset: ZSetView<'_>,
    count: usize,
    with_scores: bool,
    random: &mut Random,
) {
    let len = zset.len();
    let count = count.min(len);
    reply_head(out, count, with_scores);
    if len / DRAW_RATIO > count && matches!(zset, ZSetView::Large(_)) {
        let mut drawn = HashSet::with_capacity(count);
        while drawn.len() < count {
            let rank = random.below(len as u64) as usize;
            if drawn.insert(rank) {
                let pair = zset.range(rank..rank + 1).next().expect("the rank is in the set");
                reply_pair(out, pair, with_scores);
            }
        }
        return;
    }
    // Knuth's selection sampling: each member is taken with the chance that makes up for the rest.
    let (mut left, mut needed) = (len as u64, count as u64);
    for pair in zset.iter() {
        if needed > 0 && random.below(left) < needed {
            reply_pair(out, pair, with_scores);
            needed -= 1;
        }
        left -= 1;
    }
}
