//! Commands on the members of a range: reading, counting and removing them.

use std::ops::Range;

use super::super::args::Args;
use super::super::context::{Ctx, Flow};
use super::super::error::CmdError;
use super::super::spec::{Command, KeySpec};
use super::options::{Wanted, lex_range, score_range};
use super::{DELETE, READ, reply_head, reply_pair, zset};
use crate::base::bytes;
use crate::keyspace::{Event, Key};
use crate::value::zset::{ScoredSet, ZSet, ZSetView};

pub(in super::super) static COMMANDS: &[Command] = &[
    zset("zrange", -4, zrange).read().keys(READ),
    zset("zrangestore", -5, zrangestore)
        .grow()
        .keys(&[KeySpec::one("OW", &["update"]), KeySpec::at(2, "RO", &["access"])]),
    zset("zrangebyscore", -4, zrangebyscore).read().keys(READ),
    zset("zrevrangebyscore", -4, zrevrangebyscore).read().keys(READ),
    zset("zrangebylex", -4, zrangebylex).read().keys(READ),
    zset("zrevrangebylex", -4, zrevrangebylex).read().keys(READ),
    zset("zrevrange", -4, zrevrange).read().keys(READ),
    zset("zcount", 4, zcount).read().fast().keys(READ),
    zset("zlexcount", 4, zlexcount).read().fast().keys(READ),
    zset("zremrangebyrank", 4, zremrangebyrank).write().keys(DELETE),
    zset("zremrangebyscore", 4, zremrangebyscore).write().keys(DELETE),
    zset("zremrangebylex", 4, zremrangebylex).write().keys(DELETE),
];

/// By what members are ranged.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// What of ZRANGE's options a command leaves to its client.
struct Fixed {
    by: Option<By>,
    reverse: Option<bool>,
    /// ZRANGESTORE has scores anyway.
    stores: bool,
}

/// A range as one of the ZRANGE commands asks for it.
struct Request<'a> {
    wanted: Wanted<'a>,
    reverse: bool,
    with_scores: bool,
    offset: i64,
    limit: i64,
}

impl<'a> Request<'a> {
    /// Reads the two ends, of which the first is at `at`, and the options after them.
    fn parse(args: &Args<'a>, at: usize, fixed: &Fixed) -> Result<Self, CmdError> {
        let (mut by, mut reverse) = (fixed.by, fixed.reverse);
        let (mut with_scores, mut offset, mut limit) = (false, 0, -1);
        let mut options = args.options(at + 2);
        while let Some(word) = options.word() {
            match () {
                () if !fixed.stores && bytes::is_word(word, "withscores") => with_scores = true,
                () if bytes::is_word(word, "limit") && options.left() >= 2 => {
                    offset = options.integer()?;
                    limit = options.integer()?;
                }
                () if reverse.is_none() && bytes::is_word(word, "rev") => {
                    reverse = Some(true);
                }
                () if by.is_none() && bytes::is_word(word, "bylex") => by = Some(By::Lex),
                () if by.is_none() && bytes::is_word(word, "byscore") => by = Some(By::Score),
                () => return Err(CmdError::Syntax),
            }
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            return Err(CmdError::ZrangeLimit);
        }
        if with_scores && by == By::Lex {
            return Err(CmdError::ZrangeLexScores);
        }
        let (first, second) = (args.get(at), args.get(at + 1));
        let (min, max) = if reverse { (second, first) } else { (first, second) };
        let wanted = match by {
            By::Rank => Wanted::Ranks(args.integer(at)?, args.integer(at + 1)?),
            By::Score => Wanted::Scores(score_range(min, max)?),
            By::Lex => Wanted::Lex(lex_range(min, max)?),
        };
        Ok(Self { wanted, reverse, with_scores, offset, limit })
    }

    /// The ranks of the members to return.
    fn ranks(&self, zset: ZSetView<'_>) -> Range<usize> {
        let Range { start, end } = self.wanted.ranks(zset, self.reverse);
        if matches!(self.wanted, Wanted::Ranks(..)) {
            return start..end;
        }
        let Ok(offset) = usize::try_from(self.offset) else { return 0..0 };
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        if self.reverse {
            let end = end.saturating_sub(offset).max(start);
            start.max(end.saturating_sub(limit))..end
        } else {
            let start = start.saturating_add(offset).min(end);
            start..end.min(start.saturating_add(limit))
        }
    }
}

fn zrange(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_range(ctx, args, None, None)
}

fn zrangebyscore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_range(ctx, args, Some(By::Score), Some(false))
}

fn zrevrangebyscore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_range(ctx, args, Some(By::Score), Some(true))
}

fn zrangebylex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_range(ctx, args, Some(By::Lex), Some(false))
}

fn zrevrangebylex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_range(ctx, args, Some(By::Lex), Some(true))
}

fn zrevrange(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_range(ctx, args, Some(By::Rank), Some(true))
}

fn reply_range(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    by: Option<By>,
    reverse: Option<bool>,
) -> Result<Flow, CmdError> {
    let request = Request::parse(args, 2, &Fixed { by, reverse, stores: false })?;
    let Some(zset) = ctx.db.read::<ZSet>(args.key(1))? else {
        ctx.out.array(0);
        return Ok(Flow::Done);
    };
    let (ranks, with_scores) = (request.ranks(zset), request.with_scores);
    reply_head(ctx.out, ranks.len(), with_scores);
    let found = zset.range(ranks);
    if request.reverse {
        found.rev().for_each(|pair| reply_pair(ctx.out, pair, with_scores));
    } else {
        found.for_each(|pair| reply_pair(ctx.out, pair, with_scores));
    }
    Ok(Flow::Done)
}

fn zrangestore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let request = Request::parse(args, 3, &Fixed { by: None, reverse: None, stores: true })?;
    let mut found = ScoredSet::new(*ctx.server.keyspace.hasher());
    if let Some(zset) = ctx.db.read::<ZSet>(args.key(2))? {
        for (member, score) in zset.range(request.ranks(zset)) {
            found.update(member.bytes(&mut [0; 20]), |_| Some(score));
        }
    }
    super::store::store(ctx, args.key(1), found, Event::zset("zrangestore"));
    Ok(Flow::Done)
}

fn zcount(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let range = score_range(args.get(2), args.get(3))?;
    count(ctx, args.key(1), Wanted::Scores(range))
}

fn zlexcount(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let range = lex_range(args.get(2), args.get(3))?;
    count(ctx, args.key(1), Wanted::Lex(range))
}

fn count(ctx: &mut Ctx<'_>, key: Key<'_>, wanted: Wanted<'_>) -> Result<Flow, CmdError> {
    let zset = ctx.db.read::<ZSet>(key)?;
    ctx.out.count(zset.map_or(0, |zset| wanted.ranks(zset, false).len()));
    Ok(Flow::Done)
}

fn zremrangebyrank(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let wanted = Wanted::Ranks(args.integer(2)?, args.integer(3)?);
    remove(ctx, args.key(1), wanted, Event::zset("zremrangebyrank"))
}

fn zremrangebyscore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let wanted = Wanted::Scores(score_range(args.get(2), args.get(3))?);
    remove(ctx, args.key(1), wanted, Event::zset("zremrangebyscore"))
}

fn zremrangebylex(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let wanted = Wanted::Lex(lex_range(args.get(2), args.get(3))?);
    remove(ctx, args.key(1), wanted, Event::zset("zremrangebylex"))
}

fn remove(
    ctx: &mut Ctx<'_>,
    key: Key<'_>,
    wanted: Wanted<'_>,
    event: Event,
) -> Result<Flow, CmdError> {
    let mut removed = 0;
    if let Some(mut zset) = ctx.db.write::<ZSet>(key)? {
        let ranks = wanted.ranks(zset.view(), false);
        removed = ranks.len();
        if removed > 0 {
            zset.edit().remove_range(ranks);
            zset.changed_by(removed, event);
        }
    }
    ctx.out.count(removed);
    Ok(Flow::Done)
}
