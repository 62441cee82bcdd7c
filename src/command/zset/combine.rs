//! Unions, intersections and differences of sorted sets; sets count as sorted sets of score 1.

use std::ops::ControlFlow;

use super::super::args::{Args, Options};
use super::super::context::{Ctx, Flow};
use super::super::error::CmdError;
use super::super::spec::{Command, Flags, KeySpec};
use super::{reply_head, reply_pair, zset};
use crate::base::{bytes, number};
use crate::encoding::listpack::Item;
use crate::keyspace::DbView;
use crate::value::zset::{ScoredSet, ZSet, ZSetView};
use crate::value::{Kind, Set, SetView, ValueView};

const INPUTS: &[KeySpec] = &[KeySpec::counted(1, 1, "RO", &["access"])];

/// The score of a set's members.
const SCORE_IN_SETS: f64 = 1.0;

pub(in super::super) static COMMANDS: &[Command] = &[
    zset("zunion", -3, zunion).read().flags(Flags::MOVABLEKEYS).keys(INPUTS),
    zset("zinter", -3, zinter).read().flags(Flags::MOVABLEKEYS).keys(INPUTS),
    zset("zintercard", -3, zintercard).read().flags(Flags::MOVABLEKEYS).keys(INPUTS),
    zset("zdiff", -3, zdiff).read().flags(Flags::MOVABLEKEYS).keys(INPUTS),
];

/// How sets are combined.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Operation {
    Union,
    Inter,
    InterCard,
    Diff,
}

/// What the scores of a member in several sets become.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
    /// The sum of the weights of the sets that have the member.
    Count,
}

impl Aggregate {
    fn parse(word: &[u8]) -> Result<Self, CmdError> {
        match () {
            () if bytes::is_word(word, "sum") => Ok(Self::Sum),
            () if bytes::is_word(word, "min") => Ok(Self::Min),
            () if bytes::is_word(word, "max") => Ok(Self::Max),
            () if bytes::is_word(word, "count") => Ok(Self::Count),
            () => Err(CmdError::Syntax),
        }
    }

    /// What one set contributes; infinity times 0 is no number.
    fn weigh(self, score: f64, weight: f64) -> f64 {
        match self {
            Self::Count => weight,
            Self::Sum | Self::Min | Self::Max => score * weight,
        }
    }

    /// Both contributions together. A sum that is no number is 0, which is less or more than no number is
    /// not.
    fn join(self, sum: f64, value: f64) -> f64 {
        match self {
            Self::Sum | Self::Count => number_or_zero(sum + value),
            Self::Min => {
                if value < sum {
                    value
                } else {
                    sum
                }
            }
            Self::Max => {
                if value > sum {
                    value
                } else {
                    sum
                }
            }
        }
    }
}

fn number_or_zero(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value }
}

/// A set or a sorted set.
struct AnySet;

impl Kind for AnySet {
    type View<'a> = View<'a>;

    fn of(value: ValueView<'_>) -> Option<View<'_>> {
        ZSet::of(value).map(View::ZSet).or_else(|| Set::of(value).map(View::Set))
    }
}

/// A set or a sorted set in place.
#[derive(Clone, Copy)]
enum View<'a> {
    ZSet(ZSetView<'a>),
    Set(SetView<'a>),
}

impl View<'_> {
    fn len(self) -> usize {
        match self {
            Self::ZSet(zset) => zset.len(),
            Self::Set(set) => set.len(),
        }
    }

    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Self::ZSet(zset) => zset.score(member),
            Self::Set(set) => set.contains(member).then_some(SCORE_IN_SETS),
        }
    }

    /// Visits members until `each` has had enough.
    fn try_for_each(self, mut each: impl FnMut(&[u8], f64) -> ControlFlow<()>) {
        let mut digits = [0; 20];
        let _ = match self {
            Self::ZSet(zset) => {
                zset.iter().try_for_each(|(member, score)| each(member.bytes(&mut digits), score))
            }
            Self::Set(set) => {
                set.iter().try_for_each(|item| each(item.bytes(&mut digits), SCORE_IN_SETS))
            }
        };
    }

    fn for_each(self, mut each: impl FnMut(&[u8], f64)) {
        self.try_for_each(|member, score| {
            each(member, score);
            ControlFlow::Continue(())
        });
    }
}

/// One of the sets to be combined.
#[derive(Clone, Copy)]
struct Input<'a> {
    /// Nothing where there is no such key.
    view: Option<View<'a>>,
    weight: f64,
}

impl Input<'_> {
    fn len(&self) -> usize {
        self.view.map_or(0, View::len)
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        self.view.and_then(|view| view.score(member))
    }
}

/// A combination as a client asks for it.
struct Request<'a> {
    operation: Operation,
    inputs: Vec<Input<'a>>,
    aggregate: Aggregate,
    with_scores: bool,
    /// How many members of an intersection to count; 0 counts all.
    limit: usize,
}

impl<'a> Request<'a> {
    /// Reads the keys and options; the number of keys comes first, at `count_at`.
    fn parse(
        db: &'a mut DbView<'_>,
        command: &'static str,
        args: &'a Args<'_>,
        count_at: usize,
        operation: Operation,
    ) -> Result<Self, CmdError> {
        let count = args.integer(count_at)?;
        if count < 1 {
            return Err(CmdError::InputKeys(command));
        }
        let first = count_at + 1;
        let count = usize::try_from(count)
            .ok()
            .filter(|count| *count <= args.len() - first)
            .ok_or(CmdError::Syntax)?;
        let views = db.read_many::<AnySet>((first..first + count).map(|at| args.key(at)))?;
        let inputs = views.into_iter().map(|view| Input { view, weight: 1.0 }).collect();
        let (aggregate, with_scores, limit) = (Aggregate::Sum, false, 0);
        let mut request = Self { operation, inputs, aggregate, with_scores, limit };
        request.parse_options(args.options(first + count), count_at > 1)?;
        if operation != Operation::Diff {
            // Fewest first: an intersection has no more than that, and sums are those of Redis.
            request.inputs.sort_by_key(Input::len);
        }
        Ok(request)
    }

    fn parse_options(&mut self, mut options: Options<'_>, stores: bool) -> Result<(), CmdError> {
        let weighs = matches!(self.operation, Operation::Union | Operation::Inter);
        let counts = self.operation == Operation::InterCard;
        while let Some(word) = options.word() {
            let left = options.left();
            match () {
                () if weighs && left >= self.inputs.len() && bytes::is_word(word, "weights") => {
                    for input in &mut self.inputs {
                        let weight = number::parse_f64(options.value()?);
                        input.weight = weight.ok_or(CmdError::WeightNotFloat)?;
                    }
                }
                () if weighs && left >= 1 && bytes::is_word(word, "aggregate") => {
                    self.aggregate = Aggregate::parse(options.value()?)?;
                }
                () if !stores && !counts && bytes::is_word(word, "withscores") => {
                    self.with_scores = true;
                }
                () if counts && left >= 1 && bytes::is_word(word, "limit") => {
                    let limit = number::parse_i64(options.value()?);
                    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
                    self.limit = limit.ok_or(CmdError::LimitNegative)?;
                }
                () => return Err(CmdError::Syntax),
            }
        }
        Ok(())
    }

    fn run(&self, result: &mut ScoredSet) {
        match self.operation {
            Operation::Union => self.inputs.iter().for_each(|input| self.unite(input, result)),
            Operation::Inter | Operation::InterCard => self.intersect(|member, score| {
                result.update(member, |_| Some(score));
                ControlFlow::Continue(())
            }),
            Operation::Diff => self.subtract(result),
        }
    }

    fn unite(&self, input: &Input<'_>, result: &mut ScoredSet) {
        let Some(view) = input.view else { return };
        view.for_each(|member, score| {
            let value = number_or_zero(self.aggregate.weigh(score, input.weight));
            result.update(member, |sum| {
                Some(sum.map_or(value, |sum| self.aggregate.join(sum, value)))
            });
        });
    }

    /// Visits the members that are in all sets, until `each` has had enough.
    fn intersect(&self, mut each: impl FnMut(&[u8], f64) -> ControlFlow<()>) {
        let Some((smallest, others)) = self.inputs.split_first() else { return };
        let Some(view) = smallest.view else { return };
        view.try_for_each(|member, score| {
            // As in Redis, only the first is made a number.
            let mut sum = number_or_zero(self.aggregate.weigh(score, smallest.weight));
            for other in others {
                let Some(score) = other.score(member) else { return ControlFlow::Continue(()) };
                sum = self.aggregate.join(sum, self.aggregate.weigh(score, other.weight));
            }
            each(member, sum)
        });
    }

    fn subtract(&self, result: &mut ScoredSet) {
        let Some((first, others)) = self.inputs.split_first() else { return };
        let Some(view) = first.view else { return };
        view.for_each(|member, score| {
            if others.iter().all(|other| other.score(member).is_none()) {
                result.update(member, |_| Some(score));
            }
        });
    }
}

/// Combines the sets that the arguments from `count_at` on name; also whether to reply scores.
pub(super) fn combine(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    count_at: usize,
    operation: Operation,
) -> Result<(ScoredSet, bool), CmdError> {
    let request = Request::parse(&mut ctx.db, ctx.command.name, args, count_at, operation)?;
    let mut result = ScoredSet::new(*ctx.server.keyspace.hasher());
    request.run(&mut result);
    Ok((result, request.with_scores))
}

fn zunion(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_combined(ctx, args, Operation::Union)
}

fn zinter(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_combined(ctx, args, Operation::Inter)
}

fn zintercard(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let name = ctx.command.name;
    let request = Request::parse(&mut ctx.db, name, args, 1, Operation::InterCard)?;
    let mut count = 0;
    request.intersect(|_, _| {
        count += 1;
        if count == request.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    ctx.out.count(count);
    Ok(Flow::Done)
}

fn zdiff(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_combined(ctx, args, Operation::Diff)
}

fn reply_combined(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    operation: Operation,
) -> Result<Flow, CmdError> {
    let (result, with_scores) = combine(ctx, args, 1, operation)?;
    reply_head(ctx.out, result.len(), with_scores);
    for (member, score) in result.range(0..result.len()) {
        reply_pair(ctx.out, (Item::Bytes(member), score), with_scores);
    }
    Ok(Flow::Done)
}
