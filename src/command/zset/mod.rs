//! Sorted-set commands: members one by one here, ranges, combinations and draws in files of their own.

pub(super) mod blocking;
pub(super) mod combine;
pub(super) mod draw;
mod options;
pub(super) mod range;
pub(super) mod store;

use smallvec::SmallVec;

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::scan::{ScanOptions, parse_cursor};
use super::spec::{Command, Group, Handler, KeySpec};
use crate::base::{bytes, number};
use crate::encoding::listpack::Item;
use crate::keyspace::Event;
use crate::resp::ReplyBuf;
use crate::value::reply_item;
use crate::value::zset::{ZSet, ZSetView};

const READ: &[KeySpec] = &[KeySpec::one("RO", &["access"])];
const DELETE: &[KeySpec] = &[KeySpec::one("RW", &["delete"])];
const ANY_OUTPUT: &[&str] = &["nondeterministic_output"];

pub(super) static COMMANDS: &[Command] = &[
    zset("zadd", -4, zadd).grow().fast().keys(&[KeySpec::one("RW", &["update"])]),
    zset("zincrby", 4, zincrby).grow().fast().keys(&[KeySpec::one("RW", &["access", "update"])]),
    zset("zrem", -3, zrem).write().fast().keys(DELETE),
    zset("zcard", 2, zcard).read().fast().keys(&[KeySpec::one("RO", &[])]),
    zset("zscore", 3, zscore).read().fast().keys(READ),
    zset("zmscore", -3, zmscore).read().fast().keys(READ),
    zset("zrank", -3, zrank).read().fast().keys(READ),
    zset("zrevrank", -3, zrevrank).read().fast().keys(READ),
    zset("zscan", -3, zscan).read().keys(READ).tips(ANY_OUTPUT),
];

/// A row of the group.
const fn zset(name: &'static str, arity: i32, handler: Handler) -> Command {
    Command::new(name, arity, handler).group(Group::SortedSet)
}

/// Which scores ZADD sets, and to what.
#[derive(Clone, Copy, Default)]
struct Rules {
    only_new: bool,
    only_present: bool,
    only_greater: bool,
    only_less: bool,
    increment: bool,
    /// Reply how many members changed, not only how many are new.
    count_changed: bool,
}

impl Rules {
    /// Reads the options; the index of the first score follows.
    fn parse(args: &Args<'_>) -> Result<(Self, usize), CmdError> {
        let (mut rules, mut at) = (Self::default(), 2);
        while at < args.len() {
            let word = args.get(at);
            match () {
                () if bytes::is_word(word, "nx") => rules.only_new = true,
                () if bytes::is_word(word, "xx") => rules.only_present = true,
                () if bytes::is_word(word, "ch") => rules.count_changed = true,
                () if bytes::is_word(word, "incr") => rules.increment = true,
                () if bytes::is_word(word, "gt") => rules.only_greater = true,
                () if bytes::is_word(word, "lt") => rules.only_less = true,
                () => break,
            }
            at += 1;
        }
        let rest = args.len() - at;
        if rest == 0 || rest % 2 == 1 {
            return Err(CmdError::Syntax);
        }
        if rules.only_new && rules.only_present {
            return Err(CmdError::ZaddNxXx);
        }
        let compares = [rules.only_new, rules.only_greater, rules.only_less];
        if compares.iter().filter(|given| **given).count() > 1 {
            return Err(CmdError::ZaddGtLtNx);
        }
        if rules.increment && rest > 2 {
            return Err(CmdError::ZaddIncrPairs);
        }
        Ok((rules, at))
    }

    /// The score that a member is given: `given`, or what it adds to the score it has.
    #[inline]
    fn decide(self, before: Option<f64>, given: f64) -> Decision {
        let Some(before) = before else {
            return if self.only_present { Decision::Keep } else { Decision::Set(given) };
        };
        if self.only_new {
            return Decision::Keep;
        }
        let score = if self.increment { before + given } else { given };
        match () {
            () if score.is_nan() => Decision::NotANumber,
            () if self.only_less && score >= before => Decision::Keep,
            () if self.only_greater && score <= before => Decision::Keep,
            () => Decision::Set(score),
        }
    }
}

/// What becomes of a member's score.
#[derive(Clone, Copy, PartialEq)]
enum Decision {
    Keep,
    Set(f64),
    NotANumber,
}

fn zadd(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (rules, first) = Rules::parse(args)?;
    add(ctx, args, first, rules)
}

fn zincrby(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    // ZADD's options are read here too, and leave no score, as in Redis.
    let (rules, first) = Rules::parse(args)?;
    add(ctx, args, first, Rules { increment: true, ..rules })
}

/// ZADD with its scores and members from `first` on.
fn add(ctx: &mut Ctx<'_>, args: &Args<'_>, first: usize, rules: Rules) -> Result<Flow, CmdError> {
    let pairs = (args.len() - first) / 2;
    let mut scores: SmallVec<[f64; 8]> = SmallVec::with_capacity(pairs);
    for pair in 0..pairs {
        scores.push(parse_score(args.get(first + 2 * pair))?);
    }
    let key = args.key(1);
    let (mut added, mut updated, mut last) = (0, 0, Decision::Keep);
    if !rules.only_present || ctx.db.peek::<ZSet>(key)?.is_some() {
        let mut zset = ctx.db.write_or_create::<ZSet>(key)?;
        let mut edit = zset.edit();
        edit.expect(pairs, args.get(first + 1).len());
        for (pair, given) in scores.into_iter().enumerate() {
            let result = edit.update(args.get(first + 2 * pair + 1), |before| {
                last = rules.decide(before, given);
                if let Decision::Set(score) = last { Some(score) } else { None }
            });
            added += usize::from(result.before.is_none() && result.after.is_some());
            updated += usize::from(result.before.is_some() && result.before != result.after);
        }
        let event = if rules.increment { "zincr" } else { "zadd" };
        zset.changed_by(added + updated, Event::zset(event));
    }
    match last {
        // An increment is for one member, so nothing has changed.
        Decision::NotANumber => return Err(CmdError::ScoreNan),
        Decision::Set(score) if rules.increment => ctx.out.double(score),
        Decision::Keep if rules.increment => ctx.out.null(),
        _ => ctx.out.count(if rules.count_changed { added + updated } else { added }),
    }
    Ok(Flow::Done)
}

fn parse_score(text: &[u8]) -> Result<f64, CmdError> {
    match number::parse_i64(text) {
        Some(whole) => Ok(whole as f64),
        None => number::parse_f64(text).ok_or(CmdError::NotFloat),
    }
}

fn zrem(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let mut removed = 0;
    if let Some(mut zset) = ctx.db.write::<ZSet>(args.key(1))? {
        let mut edit = zset.edit();
        removed = args.rest(2).filter(|member| edit.remove(member).is_some()).count();
        zset.changed_by(removed, Event::zset("zrem"));
    }
    ctx.out.count(removed);
    Ok(Flow::Done)
}

fn zcard(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let len = ctx.db.read::<ZSet>(args.key(1))?.map_or(0, ZSetView::len);
    ctx.out.count(len);
    Ok(Flow::Done)
}

fn zscore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let zset = ctx.db.read::<ZSet>(args.key(1))?;
    reply_score(ctx.out, zset.and_then(|zset| zset.score(args.get(2))));
    Ok(Flow::Done)
}

fn zmscore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let zset = ctx.db.read::<ZSet>(args.key(1))?;
    ctx.out.array(args.len() - 2);
    for member in args.rest(2) {
        reply_score(ctx.out, zset.and_then(|zset| zset.score(member)));
    }
    Ok(Flow::Done)
}

fn zrank(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_rank(ctx, args, |rank, _| rank)
}

fn zrevrank(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_rank(ctx, args, |rank, len| len - 1 - rank)
}

fn reply_rank(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    rank_of: impl Fn(usize, usize) -> usize,
) -> Result<Flow, CmdError> {
    if args.len() > 4 {
        return Err(CmdError::Arity(ctx.command.name.to_owned()));
    }
    let with_score = args.len() == 4;
    if with_score && !args.is(3, "withscore") {
        return Err(CmdError::Syntax);
    }
    let found = ctx.db.read::<ZSet>(args.key(1))?.and_then(|zset| {
        zset.rank(args.get(2)).map(|(rank, score)| (rank_of(rank, zset.len()), score))
    });
    match found {
        Some((rank, score)) if with_score => {
            ctx.out.array(2);
            ctx.out.count(rank);
            ctx.out.double(score);
        }
        Some((rank, _)) => ctx.out.count(rank),
        None if with_score => ctx.out.null_array(),
        None => ctx.out.null(),
    }
    Ok(Flow::Done)
}

fn zscan(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let cursor = parse_cursor(args.get(2))?;
    let Some(zset) = ctx.db.read::<ZSet>(args.key(1))? else {
        ctx.out.array(2);
        ctx.out.bulk(b"0");
        ctx.out.array(0);
        return Ok(Flow::Done);
    };
    let mut scores = true;
    let options = ScanOptions::parse(args.options(3), |word, _| {
        let no_scores = bytes::is_word(word, "noscores");
        scores &= !no_scores;
        Ok(no_scores)
    })?;
    let (mut found, mut count) = (ReplyBuf::default(), 0);
    let mut text = Vec::new();
    let next = zset.scan(cursor, options.count, |member, score| {
        let mut digits = [0; 20];
        let member = member.bytes(&mut digits);
        if !options.wants(member) {
            return;
        }
        found.bulk(member);
        count += 1;
        if scores {
            text.clear();
            match zset {
                ZSetView::Packed(_) => number::write_f64(&mut text, score),
                ZSetView::Large(_) => number::write_general_f64(&mut text, score),
            }
            found.bulk(&text);
            count += 1;
        }
    });
    ctx.out.array(2);
    ctx.out.text(&next.to_string());
    ctx.out.array(count);
    ctx.out.raw(found.plain().expect("a scan's reply references nothing"));
    Ok(Flow::Done)
}

/// Replies a score, or null.
fn reply_score(out: &mut ReplyBuf, score: Option<f64>) {
    match score {
        Some(score) => out.double(score),
        None => out.null(),
    }
}

/// The head of a reply of `len` members, each with its score if asked for.
///
/// RESP3 has an array for each pair, RESP2 one flat array.
pub(super) fn reply_head(out: &mut ReplyBuf, len: usize, with_scores: bool) {
    out.array(if with_scores && !out.is_resp3() { 2 * len } else { len });
}

/// A member after [`reply_head`], with its score if asked for.
#[inline]
pub(super) fn reply_pair(out: &mut ReplyBuf, (member, score): (Item<'_>, f64), with_scores: bool) {
    if with_scores && out.is_resp3() {
        out.array(2);
    }
    reply_item(member, out);
    if with_scores {
        out.double(score);
    }
}
