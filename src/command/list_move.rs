//! List commands that take items from one list and put them into another or reply with them, of
//! several keys.

use smallvec::SmallVec;

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::list::{at_end, pop_event, push_event, reply};
use super::options::decimal;
use super::spec::{Command, Flags, Group, KeySpec};
use crate::base::{bytes, number};
use crate::encoding::End;
use crate::keyspace::{Event, Key};
use crate::value::{List, ListView};

/// The key to take from and the one to put into.
pub(super) const MOVE: &[KeySpec] =
    &[KeySpec::at(1, "RW", &["access", "delete"]), KeySpec::at(2, "RW", &["insert"])];

pub(super) static COMMANDS: &[Command] = &[
    Command::new("lmove", 5, lmove).grow().group(Group::List).keys(MOVE),
    Command::new("rpoplpush", 3, rpoplpush).grow().group(Group::List).keys(MOVE),
    Command::new("lmovem", -5, lmovem).grow().group(Group::List).keys(MOVE),
    Command::new("lmpop", -4, lmpop)
        .write()
        .flags(Flags::MOVABLEKEYS)
        .group(Group::List)
        .keys(&[KeySpec::counted(1, 1, "RW", &["access", "delete"])]),
];

/// The end that the argument at `index` names, LEFT or RIGHT.
pub(super) fn end_at(args: &Args<'_>, index: usize) -> Result<End, CmdError> {
    match () {
        () if args.is(index, "left") => Ok(End::Head),
        () if args.is(index, "right") => Ok(End::Tail),
        () => Err(CmdError::Syntax),
    }
}

fn lmove(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let plan = Move::one(end_at(args, 3)?, end_at(args, 4)?);
    move_or_null(ctx, args, plan)
}

fn rpoplpush(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    move_or_null(ctx, args, Move::one(End::Tail, End::Head))
}

fn lmovem(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let plan = Move::parse(args, 5)?;
    move_or_null(ctx, args, plan)
}

fn move_or_null(ctx: &mut Ctx<'_>, args: &Args<'_>, plan: Move) -> Result<Flow, CmdError> {
    if move_items(ctx, args.key(1), args.key(2), &plan)? == 0 {
        match plan.many {
            None => ctx.out.null(),
            Some(_) => ctx.out.null_array(),
        }
    }
    Ok(Flow::Done)
}

/// What LMOVE and its kin are to move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    /// The end to take from.
    pub(super) from: End,
    /// The end to put at.
    pub(super) to: End,
    /// How many; nothing for the commands that move one item, and do not reply with an array.
    pub(super) many: Option<Many>,
}

/// How many items LMOVEM moves, and in which order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Many {
    /// How many at most.
    pub(super) count: usize,
    /// None if there are fewer.
    pub(super) exactly: bool,
    /// They keep their order, instead of being taken and put one by one.
    pub(super) bulk: bool,
}

impl Move {
    /// One item.
    pub(super) fn one(from: End, to: End) -> Self {
        Self { from, to, many: None }
    }

    /// The ends at arguments 3 and 4, and `COUNT|EXACTLY count OBO|BULK` at `options`, if there is
    /// anything.
    pub(super) fn parse(args: &Args<'_>, options: usize) -> Result<Self, CmdError> {
        let (from, to) = (end_at(args, 3)?, end_at(args, 4)?);
        let mut many = Many { count: 1, exactly: false, bulk: false };
        if args.len() > options {
            if args.len() != options + 3 {
                return Err(CmdError::Syntax);
            }
            many.exactly = match () {
                () if args.is(options, "count") => false,
                () if args.is(options, "exactly") => true,
                () => return Err(CmdError::Syntax),
            };
            many.bulk = match () {
                () if args.is(options + 2, "obo") => false,
                () if args.is(options + 2, "bulk") => true,
                () => return Err(CmdError::Syntax),
            };
            many.count = positive(args.get(options + 1), CmdError::CountNotPositive)?;
        }
        Ok(Self { from, to, many: Some(many) })
    }

    /// How many of `len` items are to be moved.
    pub(super) fn count(&self, len: usize) -> usize {
        match self.many {
            None => 1.min(len),
            Some(many) if many.exactly && many.count > len => 0,
            Some(many) => many.count.min(len),
        }
    }

    /// The end of the range of moved items that is put first.
    fn first(&self) -> End {
        match self.many {
            Some(Many { bulk: true, .. }) if self.to == End::Head => End::Tail,
            Some(Many { bulk: true, .. }) => End::Head,
            _ => self.from,
        }
    }
}

/// An integer above zero, or else `error`.
fn positive(text: &[u8], error: CmdError) -> Result<usize, CmdError> {
    number::parse_i64(text)
        .and_then(|value| usize::try_from(value).ok())
        .filter(|value| *value > 0)
        .ok_or(error)
}

/// Texts on their way from one list to another.
#[derive(Default)]
struct Texts {
    bytes: SmallVec<[u8; 128]>,
    ends: SmallVec<[usize; 4]>,
}

impl Texts {
    /// The items of `list` that `plan` moves, in the order in which they are put.
    fn of(list: ListView<'_>, plan: &Move, count: usize) -> Self {
        let mut texts = Self::default();
        list.walk(at_end(plan.from, count, list.len()), plan.first(), |item| {
            texts.bytes.extend_from_slice(item.bytes(&mut [0; 20]));
            texts.ends.push(texts.bytes.len());
            true
        });
        texts
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        (0..self.ends.len()).map(|at| {
            let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
            &self.bytes[start..self.ends[at]]
        })
    }
}

/// Moves items and replies with them; says how many those are. None are moved, and nothing is
/// replied, where there are too few.
pub(super) fn move_items(
    ctx: &mut Ctx<'_>,
    source: Key<'_>,
    destination: Key<'_>,
    plan: &Move,
) -> Result<usize, CmdError> {
    let Some(list) = ctx.db.peek::<List>(source)? else { return Ok(0) };
    let len = list.len();
    let count = plan.count(len);
    if count == 0 {
        return Ok(0);
    }
    let texts = Texts::of(list, plan, count);
    let taken = at_end(plan.from, count, len);
    if source.bytes == destination.bytes {
        if let Some(mut list) = ctx.db.write::<List>(source)? {
            let mut edit = list.edit();
            edit.take(taken);
            edit.push(plan.to, texts.iter());
            edit.shrink();
            list.also(push_event(plan.to));
            list.changed_by(count, pop_event(plan.from));
        }
    } else {
        ctx.db.peek::<List>(destination)?;
        if let Some(mut list) = ctx.db.write::<List>(source)? {
            list.edit().remove(taken);
        }
        let mut list = ctx.db.write_or_create::<List>(destination)?;
        list.edit().push(plan.to, texts.iter());
        list.also(push_event(plan.to));
        drop(list);
        ctx.db.written(source).changed_by(count, pop_event(plan.from));
        if count == len {
            ctx.db.written(source).also(Event::DEL);
        }
    }
    if plan.many.is_some() {
        ctx.out.array(count);
    }
    // The reply is in the order of the destination.
    match plan.to {
        End::Head => texts.iter().rev().for_each(|text| ctx.out.bulk(text)),
        End::Tail => texts.iter().for_each(|text| ctx.out.bulk(text)),
    }
    Ok(count)
}

fn lmpop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let plan = MultiPop::parse(args, 1)?;
    for index in plan.keys() {
        if pop_with_key(ctx, args.key(index), plan.end, plan.count)? {
            return Ok(Flow::Done);
        }
    }
    ctx.out.null_array();
    Ok(Flow::Done)
}

/// The arguments of LMPOP and BLMPOP.
#[derive(Clone, Copy, Debug)]
pub(super) struct MultiPop {
    first_key: usize,
    key_count: usize,
    /// The end to take from.
    pub(super) end: End,
    /// How many items at most.
    pub(super) count: usize,
}

impl MultiPop {
    /// Reads the number of keys at `at`, and what follows it.
    pub(super) fn parse(args: &Args<'_>, at: usize) -> Result<Self, CmdError> {
        let key_count = positive(args.get(at), CmdError::NumkeysNotPositive)?;
        let end_index = key_count.saturating_add(at + 1);
        if end_index >= args.len() {
            return Err(CmdError::Syntax);
        }
        let end = end_at(args, end_index)?;
        let (mut count, mut options) = (None, args.options(end_index + 1));
        while let Some(word) = options.word() {
            if count.is_some() || !bytes::is_word(word, "count") {
                return Err(CmdError::Syntax);
            }
            count = Some(positive(options.value()?, CmdError::CountNotPositive)?);
        }
        Ok(Self { first_key: at + 1, key_count, end, count: count.unwrap_or(1) })
    }

    /// The indexes of the keys.
    pub(super) fn keys(&self) -> std::ops::Range<usize> {
        self.first_key..self.first_key + self.key_count
    }
}

/// Replies with a key and up to `count` items taken from it; does nothing where there is none.
pub(super) fn pop_with_key(
    ctx: &mut Ctx<'_>,
    key: Key<'_>,
    end: End,
    count: usize,
) -> Result<bool, CmdError> {
    let Some(mut list) = ctx.db.write::<List>(key)? else { return Ok(false) };
    let view = list.view();
    let range = at_end(end, count, view.len());
    ctx.out.array(2);
    ctx.out.bulk(key.bytes);
    ctx.out.array(range.len());
    view.walk(range.clone(), end, |item| reply(ctx.out, item));
    list.edit().remove(range.clone());
    list.changed_by(range.len(), pop_event(end));
    drop(list);
    if ctx.effects.wanted() {
        let name: &[u8] = if end == End::Head { b"LPOP" } else { b"RPOP" };
        ctx.effects.propagate_as(&[name, key.bytes, &decimal(range.len() as i64)]);
    }
    Ok(true)
}
