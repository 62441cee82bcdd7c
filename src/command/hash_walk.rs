//! Hash commands that walk over all fields or choose some by chance.

use std::collections::HashSet;

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::reading::reply_all;
use super::scan::{ScanOptions, parse_cursor};
use super::spec::{Command, Group, KeySpec};
use crate::base::bytes;
use crate::base::limits::{RANDOM_REPEATS_MAX, WHOLE_REPLY_MAX};
use crate::base::random::Random;
use crate::encoding::field::FieldView;
use crate::encoding::listpack::Item;
use crate::keyspace::Key;
use crate::resp::{ReplyBuf, write_bulk};
use crate::value::{Hash, HashValue, HashView, ItemEncoder, reply_item};

/// Fields of a table are drawn one by one when there are this many times more than are wanted.
const DRAW_FACTOR: usize = 3;

const READ: &[KeySpec] = &[KeySpec::one("RO", &["access"])];

const fn row(name: &'static str, arity: i32, handler: super::spec::Handler) -> Command {
    Command::new(name, arity, handler).read().group(Group::Hash).keys(READ)
}

pub(super) static COMMANDS: &[Command] = &[
    row("hgetall", 2, hgetall).tips(&["nondeterministic_output_order"]),
    row("hkeys", 2, hkeys).tips(&["nondeterministic_output_order"]),
    row("hvals", 2, hvals).tips(&["nondeterministic_output_order"]),
    row("hrandfield", -2, hrandfield).tips(&["nondeterministic_output"]),
    row("hscan", -3, hscan).tips(&["nondeterministic_output"]),
];

fn hgetall(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_fields(ctx, args, (true, true), ReplyBuf::map)
}

fn hkeys(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_fields(ctx, args, (true, false), ReplyBuf::array)
}

fn hvals(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    reply_fields(ctx, args, (false, true), ReplyBuf::array)
}

/// Replies with the names, the values, or both of all fields; those of a large hash in steps.
fn reply_fields(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    (names, values): (bool, bool),
    head: fn(&mut ReplyBuf, usize),
) -> Result<Flow, CmdError> {
    let (key, now_ms) = (args.key(1), ctx.now_ms);
    let Some(hash) = ctx.db.read::<Hash>(key)? else {
        head(ctx.out, 0);
        return Ok(Flow::Done);
    };
    let len = hash.live_len(now_ms);
    head(ctx.out, len);
    // A reading knows no deadlines, so none may have passed when it begins.
    let table = matches!(hash, HashView::Table(_)) && len == hash.len();
    if table
        && len > WHOLE_REPLY_MAX
        && let Some(flow) = reply_all(ctx, key, Fields { names, values })
    {
        return Ok(flow);
    }
    let Some(hash) = ctx.db.peek::<Hash>(key)? else { return Ok(Flow::Done) };
    hash.for_each(now_ms, |name, value| {
        if names {
            reply_item(name, ctx.out);
        }
        if values {
            value.reply(ctx.out);
        }
    });
    Ok(Flow::Done)
}

/// Writes the name, the value, or both of a field.
struct Fields {
    names: bool,
    values: bool,
}

impl ItemEncoder for Fields {
    fn field(&self, field: FieldView<'_>, out: &mut Vec<u8>) {
        if self.names {
            write_bulk(out, field.name());
        }
        if self.values {
            write_bulk(out, field.value());
        }
    }
}

/// What HRANDFIELD was asked for.
struct Wanted {
    /// How many fields.
    count: usize,
    /// Whether the same one may come again.
    repeated: bool,
    with_values: bool,
}

impl Wanted {
    /// `None` when no count was given.
    fn parse(args: &Args<'_>) -> Result<Option<Self>, CmdError> {
        if args.len() == 2 {
            return Ok(None);
        }
        let count = args.integer(2)?;
        if count == i64::MIN {
            return Err(CmdError::NotInRange(-i64::MAX, i64::MAX));
        }
        let with_values = args.is(3, "withvalues");
        if args.len() > 4 || args.len() == 4 && !with_values {
            return Err(CmdError::Syntax);
        }
        let repeated = count < 0;
        let count = count.unsigned_abs() as usize;
        if with_values && count > i64::MAX as usize / 2 || repeated && count > RANDOM_REPEATS_MAX {
            return Err(CmdError::OutOfRange);
        }
        Ok(Some(Self { count, repeated, with_values }))
    }
}

fn hrandfield(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, now_ms, wanted) = (args.key(1), ctx.now_ms, Wanted::parse(args)?);
    let found = ctx.db.read::<Hash>(key)?;
    if found.is_some_and(|hash| hash.has_expired(now_ms)) && ctx.db.expires() {
        remove_expired(ctx, key)?;
    }
    let mut random = ctx.db.random(key);
    let hash = ctx.db.peek::<Hash>(key)?;
    let Some(wanted) = wanted else {
        match hash.and_then(|hash| Pool::of(hash, now_ms, 1).choose(&mut random)) {
            Some((name, _)) => reply_item(name, ctx.out),
            None => ctx.out.null(),
        }
        return Ok(Flow::Done);
    };
    match hash.map(|hash| Pool::of(hash, now_ms, wanted.count)) {
        None => ctx.out.array(0),
        Some(pool) if wanted.repeated => {
            let count = if pool.len() == 0 { 0 } else { wanted.count };
            let drawn = (0..count).filter_map(|_| pool.choose(&mut random));
            reply_pairs(ctx.out, count, drawn, wanted.with_values);
        }
        Some(pool) => {
            let chosen = pool.choose_different(wanted.count, &mut random);
            reply_pairs(ctx.out, chosen.len(), chosen.into_iter(), wanted.with_values);
        }
    }
    Ok(Flow::Done)
}

/// Removes the fields whose deadlines have passed, within bounds.
fn remove_expired(ctx: &mut Ctx<'_>, key: Key<'_>) -> Result<(), CmdError> {
    if let Some(mut hash) = ctx.db.write::<Hash>(key)? {
        let removed = hash.edit().expire();
        hash.expired(removed);
    }
    Ok(())
}

type Pair<'a> = (Item<'a>, HashValue<'a>);

/// Replies names, or names and values, which RESP3 has in pairs.
fn reply_pairs<'a>(
    out: &mut ReplyBuf,
    len: usize,
    pairs: impl Iterator<Item = Pair<'a>>,
    with_values: bool,
) {
    let nested = with_values && out.is_resp3();
    out.array(if with_values && !nested { 2 * len } else { len });
    for (name, value) in pairs {
        if nested {
            out.array(2);
        }
        reply_item(name, out);
        if with_values {
            value.reply(out);
        }
    }
}

/// Fields to choose from.
enum Pool<'a> {
    /// A hash none of whose fields has expired.
    Hash(HashView<'a>),
    /// These.
    Listed(Vec<Pair<'a>>),
}

impl<'a> Pool<'a> {
    /// The fields of `hash` that have not expired, of which about `count` are to be drawn.
    fn of(hash: HashView<'a>, now_ms: i64, count: usize) -> Self {
        let few_drawn = count.saturating_mul(DRAW_FACTOR) <= hash.len();
        let cheap_to_draw = match hash {
            // Each draw walks over half of a packed hash.
            HashView::Packed(_) => count == 1,
            HashView::Table(_) => few_drawn,
        };
        if cheap_to_draw && !hash.has_expired(now_ms) {
            return Self::Hash(hash);
        }
        let mut listed = Vec::new();
        hash.for_each(now_ms, |name, value| listed.push((name, value)));
        Self::Listed(listed)
    }

    fn len(&self) -> usize {
        match self {
            Self::Hash(hash) => hash.len(),
            Self::Listed(listed) => listed.len(),
        }
    }

    /// One of the fields, each with equal chance.
    fn choose(&self, random: &mut Random) -> Option<Pair<'a>> {
        match self {
            Self::Hash(hash) => hash.random(random),
            Self::Listed(listed) if listed.is_empty() => None,
            Self::Listed(listed) => Some(listed[random.below(listed.len() as u64) as usize]),
        }
    }

    /// `count` different fields, or all when there are not as many.
    fn choose_different(self, count: usize, random: &mut Random) -> Vec<Pair<'a>> {
        match self {
            Self::Hash(hash) => {
                let (mut seen, mut chosen) = (HashSet::new(), Vec::with_capacity(count));
                while chosen.len() < count.min(hash.len()) {
                    let Some(pair) = hash.random(random) else { break };
                    if seen.insert(pair.0.to_vec()) {
                        chosen.push(pair);
                    }
                }
                chosen
            }
            Self::Listed(mut listed) => {
                for at in 0..count.min(listed.len()) {
                    let other = at as u64 + random.below((listed.len() - at) as u64);
                    listed.swap(at, other as usize);
                }
                listed.truncate(count);
                listed
            }
        }
    }
}

fn hscan(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let cursor = parse_cursor(args.get(2))?;
    let Some(hash) = ctx.db.read::<Hash>(args.key(1))? else {
        reply_scan(ctx.out, 0, 0);
        return Ok(Flow::Done);
    };
    let mut values = true;
    let options = ScanOptions::parse(args.options(3), |word, _| {
        let names_only = bytes::is_word(word, "novalues");
        values &= !names_only;
        Ok(names_only)
    })?;
    let mut found = Vec::new();
    let next = hash.scan(cursor, options.count, ctx.now_ms, |name, value| {
        if options.wants(name.bytes(&mut [0; 20])) {
            found.push((name, value));
        }
    });
    reply_scan(ctx.out, next, if values { 2 * found.len() } else { found.len() });
    for (name, value) in found {
        reply_item(name, ctx.out);
        if values {
            value.reply(ctx.out);
        }
    }
    Ok(Flow::Done)
}

/// The head of a scan's reply: the cursor and the number of elements that follow.
fn reply_scan(out: &mut ReplyBuf, cursor: u64, len: usize) {
    out.array(2);
    out.text(&cursor.to_string());
    out.array(len);
}
