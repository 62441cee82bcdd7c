//! List commands on one key.

use smallvec::SmallVec;

use std::ops::Range;
use std::time::Instant;

use super::args::Args;
use super::context::{Ctx, Flow, Job};
use super::error::CmdError;
use super::spec::{Command, Group, KeySpec};
use crate::base::limits::{BACKGROUND_SLICE, WHOLE_REPLY_MAX};
use crate::base::{bytes, number};
use crate::encoding::End;
use crate::encoding::listpack::{Item, Needle};
use crate::encoding::quicklist::Quicklist;
use crate::keyspace::Event;
use crate::resp::ReplyBuf;
use crate::value::{List, ListView, reply_item};

const READ: &[KeySpec] = &[KeySpec::one("RO", &["access"])];
const INSERT: &[KeySpec] = &[KeySpec::one("RW", &["insert"])];
const UPDATE: &[KeySpec] = &[KeySpec::one("RW", &["update"])];
const DELETE: &[KeySpec] = &[KeySpec::one("RW", &["delete"])];
const TAKE: &[KeySpec] = &[KeySpec::one("RW", &["access", "delete"])];

pub(super) static COMMANDS: &[Command] = &[
    Command::new("lpush", -3, lpush).grow().fast().group(Group::List).keys(INSERT),
    Command::new("rpush", -3, rpush).grow().fast().group(Group::List).keys(INSERT),
    Command::new("lpushx", -3, lpushx).grow().fast().group(Group::List).keys(INSERT),
    Command::new("rpushx", -3, rpushx).grow().fast().group(Group::List).keys(INSERT),
    Command::new("lpop", -2, lpop).write().fast().group(Group::List).keys(TAKE),
    Command::new("rpop", -2, rpop).write().fast().group(Group::List).keys(TAKE),
    Command::new("llen", 2, llen).read().fast().group(Group::List).keys(&[KeySpec::one("RO", &[])]),
    Command::new("lindex", 3, lindex).read().group(Group::List).keys(READ),
    Command::new("lrange", 4, lrange).read().group(Group::List).keys(READ),
    Command::new("lset", 4, lset).grow().group(Group::List).keys(UPDATE),
    Command::new("linsert", 5, linsert).grow().group(Group::List).keys(INSERT),
    Command::new("lrem", 4, lrem).write().group(Group::List).keys(DELETE),
    Command::new("ltrim", 4, ltrim).write().group(Group::List).keys(DELETE),
    Command::new("lpos", -3, lpos).read().group(Group::List).keys(READ),
];

const LINSERT: Event = Event::list("linsert");
const LSET: Event = Event::list("lset");
const LREM: Event = Event::list("lrem");
const LTRIM: Event = Event::list("ltrim");

/// The event of adding items at `end`.
pub(super) fn push_event(end: End) -> Event {
    Event::list(match end {
        End::Head => "lpush",
        End::Tail => "rpush",
    })
}

/// The event of taking items from `end`.
pub(super) fn pop_event(end: End) -> Event {
    Event::list(match end {
        End::Head => "lpop",
        End::Tail => "rpop",
    })
}

fn lpush(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    push(ctx, args, End::Head)
}

fn rpush(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    push(ctx, args, End::Tail)
}

fn push(ctx: &mut Ctx<'_>, args: &Args<'_>, end: End) -> Result<Flow, CmdError> {
    let mut list = ctx.db.write_or_create::<List>(args.key(1))?;
    list.edit().push(end, args.rest(2));
    list.changed_by(args.len() - 2, push_event(end));
    ctx.out.count(list.view().len());
    Ok(Flow::Done)
}

fn lpushx(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    push_existing(ctx, args, End::Head)
}

fn rpushx(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    push_existing(ctx, args, End::Tail)
}

fn push_existing(ctx: &mut Ctx<'_>, args: &Args<'_>, end: End) -> Result<Flow, CmdError> {
    let Some(mut list) = ctx.db.write::<List>(args.key(1))? else {
        ctx.out.count(0);
        return Ok(Flow::Done);
    };
    list.edit().push(end, args.rest(2));
    list.changed_by(args.len() - 2, push_event(end));
    ctx.out.count(list.view().len());
    Ok(Flow::Done)
}

fn lpop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    pop(ctx, args, End::Head)
}

fn rpop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    pop(ctx, args, End::Tail)
}

fn pop(ctx: &mut Ctx<'_>, args: &Args<'_>, end: End) -> Result<Flow, CmdError> {
    let count = match args.len() {
        2 => None,
        3 => Some(count(args.get(2)).ok_or(CmdError::NotPositive)?),
        _ => return Err(CmdError::Arity(ctx.command.name.to_owned())),
    };
    let Some(mut list) = ctx.db.write::<List>(args.key(1))? else {
        match count {
            None => ctx.out.null(),
            Some(_) => ctx.out.null_array(),
        }
        return Ok(Flow::Done);
    };
    let view = list.view();
    let range = at_end(end, count.unwrap_or(1), view.len());
    if count.is_some() {
        ctx.out.array(range.len());
    }
    view.walk(range.clone(), end, |item| reply(ctx.out, item));
    list.edit().remove(range.clone());
    list.changed_by(range.len(), pop_event(end));
    Ok(Flow::Done)
}

/// The indexes of up to `count` items at `end` of a list of `len`.
pub(super) fn at_end(end: End, count: usize, len: usize) -> Range<usize> {
    let count = count.min(len);
    match end {
        End::Head => 0..count,
        End::Tail => len - count..len,
    }
}

/// Replies with an item, and asks for the next one.
#[inline]
pub(super) fn reply(out: &mut ReplyBuf, item: Item<'_>) -> bool {
    reply_item(item, out);
    true
}

fn llen(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let len = ctx.db.read::<List>(args.key(1))?.map_or(0, |list| list.len());
    ctx.out.count(len);
    Ok(Flow::Done)
}

fn lindex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let Some(list) = ctx.db.read::<List>(args.key(1))? else {
        ctx.out.null();
        return Ok(Flow::Done);
    };
    let found = index_of(args.integer(2)?, list.len());
    match found {
        Some(index) => list.walk(index..index + 1, End::Head, |item| reply(ctx.out, item)),
        None => ctx.out.null(),
    }
    Ok(Flow::Done)
}

/// What `index`, from the end if it is negative, means in a list of `len`.
fn index_of(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index + len as i64 } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

fn lrange(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let bounds = (args.integer(2)?, args.integer(3)?);
    let Some(list) = ctx.db.read::<List>(args.key(1))? else {
        ctx.out.array(0);
        return Ok(Flow::Done);
    };
    let range = range_of(bounds, list.len());
    ctx.out.array(range.len());
    if range.len() > WHOLE_REPLY_MAX
        && let ListView::Large(items) = list
    {
        let (items, left) = items.share(range);
        return Ok(Flow::Work(Box::new(ReplyRange { items, left })));
    }
    list.walk(range, End::Head, |item| reply(ctx.out, item));
    Ok(Flow::Done)
}

/// What is left of a long reply: the items as they were when the command began, as whoever changes
/// a node that is shared takes a copy.
#[derive(Debug)]
struct ReplyRange {
    items: Quicklist,
    left: Range<usize>,
}

impl Job for ReplyRange {
    fn keys(&self) -> SmallVec<[&[u8]; 1]> {
        SmallVec::new()
    }

    fn step(&mut self, ctx: &mut Ctx<'_>) -> Result<bool, CmdError> {
        /// Items that are replied between two looks at the time.
        const STEP: usize = 256;
        let start = Instant::now();
        while !self.left.is_empty() && start.elapsed() < BACKGROUND_SLICE {
            let end = self.left.end.min(self.left.start + STEP);
            self.items.walk(self.left.start..end, End::Head, |item| reply(ctx.out, item));
            self.left.start = end;
        }
        Ok(self.left.is_empty())
    }
}

/// The indexes from a start to a stop, both included and from the end if negative, as far as a list
/// of `len` has them.
fn range_of((start, stop): (i64, i64), len: usize) -> Range<usize> {
    let len = len as i64;
    let from_end = |at: i64| if at < 0 { at + len } else { at };
    let (start, stop) = (from_end(start).max(0), from_end(stop).min(len - 1));
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

fn lset(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let Some(mut list) = ctx.db.write::<List>(args.key(1))? else {
        return Err(CmdError::NoSuchKey);
    };
    let index = index_of(args.integer(2)?, list.view().len()).ok_or(CmdError::IndexOutOfRange)?;
    list.edit().set(index, args.get(3));
    list.changed(LSET);
    ctx.out.ok();
    Ok(Flow::Done)
}

fn linsert(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let side = match () {
        () if args.is(2, "after") => End::Tail,
        () if args.is(2, "before") => End::Head,
        () => return Err(CmdError::Syntax),
    };
    let Some(mut list) = ctx.db.write::<List>(args.key(1))? else {
        ctx.out.count(0);
        return Ok(Flow::Done);
    };
    let Some(pivot) = list.view().find(args.get(3)) else {
        ctx.out.integer(-1);
        return Ok(Flow::Done);
    };
    list.edit().insert(pivot, side, args.get(4));
    list.changed(LINSERT);
    ctx.out.count(list.view().len());
    Ok(Flow::Done)
}

fn lrem(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let count = long(args.get(2))?;
    let Some(mut list) = ctx.db.write::<List>(args.key(1))? else {
        ctx.out.count(0);
        return Ok(Flow::Done);
    };
    let end = if count < 0 { End::Tail } else { End::Head };
    let limit = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let removed = list.edit().remove_equal(args.get(3), limit, end);
    list.changed_by(removed, LREM);
    ctx.out.count(removed);
    Ok(Flow::Done)
}

/// An integer whose negation is one too.
fn long(text: &[u8]) -> Result<i64, CmdError> {
    match number::parse_i64(text) {
        None => Err(CmdError::NotInteger),
        Some(i64::MIN) => Err(CmdError::NotInRange(-i64::MAX, i64::MAX)),
        Some(value) => Ok(value),
    }
}

fn ltrim(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let bounds = (args.integer(2)?, args.integer(3)?);
    let Some(mut list) = ctx.db.write::<List>(args.key(1))? else {
        ctx.out.ok();
        return Ok(Flow::Done);
    };
    let len = list.view().len();
    let kept = range_of(bounds, len);
    let mut edit = list.edit();
    edit.take(kept.end..len);
    edit.take(0..kept.start);
    edit.shrink();
    if kept.len() == len {
        list.also(LTRIM);
    } else {
        list.changed_by(len - kept.len(), LTRIM);
    }
    ctx.out.ok();
    Ok(Flow::Done)
}

/// What LPOS looks for.
struct Search<'a> {
    needle: Needle<'a>,
    /// The first match that counts, from 1.
    rank: u64,
    end: End,
    /// How many matches; 0 for all.
    count: Option<usize>,
    /// How many items to look at; 0 for all.
    len_max: usize,
}

impl<'a> Search<'a> {
    fn parse(args: &Args<'a>) -> Result<Self, CmdError> {
        let needle = Needle::new(args.get(2));
        let mut search = Self { needle, rank: 1, end: End::Head, count: None, len_max: 0 };
        let mut options = args.options(3);
        while let Some(word) = options.word() {
            match () {
                () if bytes::is_word(word, "rank") => {
                    let rank = long(options.value()?)?;
                    if rank == 0 {
                        return Err(CmdError::RankZero);
                    }
                    search.rank = rank.unsigned_abs();
                    search.end = if rank < 0 { End::Tail } else { End::Head };
                }
                () if bytes::is_word(word, "count") => {
                    search.count = Some(amount(options.value()?, "COUNT")?);
                }
                () if bytes::is_word(word, "maxlen") => {
                    search.len_max = amount(options.value()?, "MAXLEN")?;
                }
                () => return Err(CmdError::Syntax),
            }
        }
        Ok(search)
    }

    /// Calls `found` with the indexes that match; returns how many those were.
    fn run(&self, list: ListView<'_>, mut found: impl FnMut(usize)) -> usize {
        let len = list.len();
        let looked_at = if self.len_max == 0 { len } else { self.len_max };
        let wanted = self.count.unwrap_or(1);
        let (mut step, mut matches, mut count) = (0, 0, 0);
        list.walk(at_end(self.end, looked_at, len), self.end, |item| {
            let index = if self.end == End::Head { step } else { len - 1 - step };
            step += 1;
            if !self.needle.is(item) {
                return true;
            }
            matches += 1;
            if matches >= self.rank {
                found(index);
                count += 1;
            }
            wanted == 0 || count < wanted
        });
        count
    }
}

/// A number that is not negative.
fn count(text: &[u8]) -> Option<usize> {
    usize::try_from(number::parse_i64(text)?).ok()
}

/// A value of LPOS that must not be negative.
fn amount(text: &[u8], name: &'static str) -> Result<usize, CmdError> {
    count(text).ok_or(CmdError::NegativeOption(name))
}

fn lpos(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let search = Search::parse(args)?;
    let list = ctx.db.read::<List>(args.key(1))?;
    let start = ctx.out.mark();
    let count = list.map_or(0, |list| search.run(list, |index| ctx.out.count(index)));
    match search.count {
        Some(_) => ctx.out.array_at(start, count),
        None if count == 0 => ctx.out.null(),
        None => {}
    }
    Ok(Flow::Done)
}
