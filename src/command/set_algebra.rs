//! Intersection, union and difference of sets: replied, counted, or stored.
//!
//! Members are not copied on the way: an intersection goes through the smallest set and looks in the
//! others, and what a union or a difference has to remember are references into the sets.

use std::collections::HashSet;
use std::ops::Range;

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::set::set;
use super::spec::{Command, Flags, KeySpec};
use crate::base::{bytes, number};
use crate::encoding::hyperloglog::{self, REGISTERS, Register};
use crate::encoding::listpack::Item;
use crate::keyspace::{Deadline, Event, NewValue};
use crate::value::packed::{Draft, PackedForm};
use crate::value::{EditContext, Probe, Set, SetMut, SetView, reply_item};

const READ_ALL: &[KeySpec] = &[KeySpec::all(1, "RO", &["access"])];
const READ_COUNTED: &[KeySpec] = &[KeySpec::counted(1, 1, "RO", &["access"])];
const STORE: &[KeySpec] = &[KeySpec::one("OW", &["update"]), KeySpec::from(2, "RO", &["access"])];
const ANY_ORDER: &[&str] = &["nondeterministic_output_order"];

pub(super) static COMMANDS: &[Command] = &[
    set("sinter", -2, sinter).read().keys(READ_ALL).tips(ANY_ORDER),
    set("sintercard", -3, sintercard).read().flags(Flags::MOVABLEKEYS).keys(READ_COUNTED),
    set("sinterstore", -3, sinterstore).grow().keys(STORE),
    set("sunion", -2, sunion).read().keys(READ_ALL).tips(ANY_ORDER),
    set("sunioncard", -3, sunioncard).read().flags(Flags::MOVABLEKEYS).keys(READ_COUNTED),
    set("sunionstore", -3, sunionstore).grow().keys(STORE),
    set("sdiff", -2, sdiff).read().keys(READ_ALL).tips(ANY_ORDER),
    set("sdiffcard", -3, sdiffcard).read().flags(Flags::MOVABLEKEYS).keys(READ_COUNTED),
    set("sdiffstore", -3, sdiffstore).grow().keys(STORE),
];

fn sinter(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply(ctx, args, Operation::Intersection)
}

fn sintercard(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_count(ctx, args, Operation::Intersection)
}

fn sinterstore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    store(ctx, args, Operation::Intersection, "sinterstore")
}

fn sunion(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply(ctx, args, Operation::Union)
}

fn sunioncard(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_count(ctx, args, Operation::Union)
}

fn sunionstore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    store(ctx, args, Operation::Union, "sunionstore")
}

fn sdiff(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply(ctx, args, Operation::Difference)
}

fn sdiffcard(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_count(ctx, args, Operation::Difference)
}

fn sdiffstore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    store(ctx, args, Operation::Difference, "sdiffstore")
}

/// What is made of several sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    /// Members of all sets.
    Intersection,
    /// Members of any set.
    Union,
    /// Members of the first set that are in none of the others.
    Difference,
}

/// The sets at some arguments; a key that is not there is an empty one.
type Sets<'a> = Vec<Option<SetView<'a>>>;

impl Operation {
    /// Shows `each` the members of the result until it says `false`.
    fn of<'a>(self, sets: &Sets<'a>, each: impl FnMut(Item<'a>) -> bool) {
        match self {
            Self::Intersection => intersect(sets, each),
            Self::Union => unite(sets, each),
            Self::Difference => subtract(sets, each),
        }
    }
}

fn intersect<'a>(sets: &Sets<'a>, mut each: impl FnMut(Item<'a>) -> bool) {
    let Some(mut sets) = sets.iter().copied().collect::<Option<Vec<SetView<'a>>>>() else {
        return;
    };
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else { return };
    for member in smallest.iter() {
        let mut probe = Probe::new(member);
        if others.iter().all(|set| set.holds(&mut probe)) && !each(member) {
            return;
        }
    }
}

fn unite<'a>(sets: &Sets<'a>, mut each: impl FnMut(Item<'a>) -> bool) {
    let last = sets.len() - 1;
    let mut seen = HashSet::new();
    for (index, set) in sets.iter().enumerate().filter_map(|(at, set)| Some((at, (*set)?))) {
        for member in set.iter() {
            // What comes last is met by nothing, and its own members differ.
            let is_new = last == 0
                || if index == last {
                    !seen.contains(&Text::of(member))
                } else {
                    seen.insert(Text::of(member))
                };
            if is_new && !each(member) {
                return;
            }
        }
    }
}

fn subtract<'a>(sets: &Sets<'a>, mut each: impl FnMut(Item<'a>) -> bool) {
    let Some((Some(first), others)) = sets.split_first() else { return };
    let mut others: Vec<SetView<'a>> = others.iter().flatten().copied().collect();
    others.sort_by_key(|set| std::cmp::Reverse(set.len()));
    let lookups = first.len() * sets.iter().flatten().count() / 2;
    let members = first.len() + others.iter().map(|set| set.len()).sum::<usize>();
    if lookups <= members {
        for member in first.iter() {
            let mut probe = Probe::new(member);
            if !others.iter().any(|set| set.holds(&mut probe)) && !each(member) {
                return;
            }
        }
        return;
    }
    let taken: HashSet<Text<'a>> = others.iter().flat_map(|set| set.iter()).map(Text::of).collect();
    for member in first.iter() {
        if !taken.contains(&Text::of(member)) && !each(member) {
            return;
        }
    }
}

/// A member that is equal to the same one of a set in another form.
#[derive(PartialEq, Eq, Hash)]
enum Text<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

impl<'a> Text<'a> {
    fn of(member: Item<'a>) -> Self {
        match (member, member.integer()) {
            (_, Some(value)) => Self::Int(value),
            (Item::Bytes(bytes), None) => Self::Bytes(bytes),
            (Item::Int(value), None) => Self::Int(value),
        }
    }
}

/// The sets whose keys are the arguments in `range`.
fn read_sets<'s>(
    ctx: &'s mut Ctx<'_>,
    args: &Args<'s>,
    range: Range<usize>,
) -> Result<Sets<'s>, CmdError> {
    let args = *args;
    Ok(ctx.db.read_many::<Set>(range.map(move |at| args.key(at)))?)
}

fn reply(ctx: &mut Ctx<'_>, args: &Args<'_>, operation: Operation) -> Result<Flow, CmdError> {
    let args = *args;
    let sets = ctx.db.read_many::<Set>((1..args.len()).map(|at| args.key(at)))?;
    let (mark, mut count) = (ctx.out.mark(), 0);
    operation.of(&sets, |member| {
        reply_item(member, ctx.out);
        count += 1;
        true
    });
    ctx.out.set_at(mark, count);
    Ok(Flow::Done)
}

fn reply_count(ctx: &mut Ctx<'_>, args: &Args<'_>, operation: Operation) -> Result<Flow, CmdError> {
    let keys = number::parse_i64(args.get(1))
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| *count > 0)
        .ok_or(CmdError::NumkeysNotPositive)?;
    if keys > args.len() - 2 {
        return Err(CmdError::TooManyKeys);
    }
    let (mut options, mut limit, mut approximate) = (args.options(2 + keys), 0, false);
    while let Some(word) = options.word() {
        if bytes::is_word(word, "limit") && options.left() > 0 {
            let value = number::parse_i64(options.value()?);
            let value = value.and_then(|value| u64::try_from(value).ok());
            limit = value.ok_or(CmdError::LimitNegative)?;
        } else if bytes::is_word(word, "approx") && operation == Operation::Union {
            approximate = true;
        } else {
            return Err(CmdError::Syntax);
        }
    }
    let sets = read_sets(ctx, args, 2..2 + keys)?;
    let mut count = 0;
    if approximate {
        let estimate = estimate_union(&sets);
        count = if limit == 0 { estimate } else { estimate.min(limit) };
    } else {
        operation.of(&sets, |_| {
            count += 1;
            count != limit
        });
    }
    ctx.out.integer(count as i64);
    Ok(Flow::Done)
}

/// Estimates how many members there are in any of the sets, in memory that does not grow with them.
fn estimate_union(sets: &Sets<'_>) -> u64 {
    let mut registers = Box::new([0; REGISTERS]);
    for member in sets.iter().flatten().flat_map(|set| set.iter()) {
        Register::of(member.bytes(&mut [0; 20])).raise(&mut registers);
    }
    hyperloglog::count_registers(&registers)
}

fn store(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    operation: Operation,
    event: &'static str,
) -> Result<Flow, CmdError> {
    let (key, keyspace) = (args.key(1), &ctx.server.keyspace);
    let context =
        EditContext { limits: keyspace.limits(), hasher: keyspace.hasher(), now_ms: ctx.now_ms };
    let mut draft = Draft::new(PackedForm::Ints16);
    build(&mut draft, context, operation, &read_sets(ctx, args, 2..args.len())?);
    let len = SetMut::new(&mut draft, context).view().len();
    if len > 0 {
        let value = match draft.finish() {
            Ok(packed) => NewValue::Packed(packed),
            Err(object) => NewValue::Object(Box::new(object)),
        };
        ctx.db.set(key, value, Deadline::Clear).changed(Event::set(event));
    } else if let Some(removed) = ctx.db.remove(key) {
        removed.changed(Event::DEL);
    }
    ctx.out.count(len);
    Ok(Flow::Done)
}

/// Puts the result together in the form that Redis gives it.
fn build(draft: &mut Draft, context: EditContext<'_>, operation: Operation, sets: &Sets<'_>) {
    let mut result = SetMut::new(draft, context);
    if operation == Operation::Union {
        for member in sets.iter().flatten().flat_map(|set| set.iter()) {
            result.insert_item(member);
        }
        return;
    }
    let smallest = sets.iter().flatten().min_by_key(|set| set.len());
    if operation == Operation::Intersection && !matches!(smallest, Some(SetView::Ints(_))) {
        result.begin_listpack();
    }
    operation.of(sets, |member| {
        result.insert_item(member);
        true
    });
    if operation == Operation::Intersection {
        result.pack_integers();
    }
}
