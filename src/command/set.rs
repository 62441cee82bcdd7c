//! Set commands on one set, and SMOVE.

use std::collections::HashSet;

use super::args::Args;
use super::context::{Ctx, Flow};
use super::effects::Effects;
use super::error::CmdError;
use super::reading::reply_all;
use super::scan::{ScanOptions, parse_cursor};
use super::spec::{Command, Group, KeySpec};
use crate::base::limits::{BUFFER_MAX, RANDOM_REPEATS_MAX, WHOLE_REPLY_MAX};
use crate::base::random::Random;
use crate::encoding::listpack::Item;
use crate::keyspace::{Event, Key};
use crate::resp::{ReplyBuf, write_bulk};
use crate::value::{ItemEncoder, Set, SetView, reply_item};

/// Members of one propagated SREM, as in Redis.
const SREM_BATCH: usize = 1024;

/// SRANDMEMBER draws single members when the set has more than so many times as many as wanted
/// (Redis: SRANDMEMBER_SUB_STRATEGY_MUL).
const DRAW_RATIO: usize = 3;

const ASK: &[KeySpec] = &[KeySpec::one("RO", &[])];
const READ: &[KeySpec] = &[KeySpec::one("RO", &["access"])];
const INSERT: &[KeySpec] = &[KeySpec::one("RW", &["insert"])];
const DELETE: &[KeySpec] = &[KeySpec::one("RW", &["delete"])];
const TAKE: &[KeySpec] = &[KeySpec::one("RW", &["access", "delete"])];
const ANY_OUTPUT: &[&str] = &["nondeterministic_output"];

pub(super) static COMMANDS: &[Command] = &[
    set("sadd", -3, sadd).element(2).grow().fast().keys(INSERT),
    set("srem", -3, srem).element(2).write().fast().keys(DELETE),
    set("sismember", 3, sismember).element(2).read().fast().keys(ASK),
    set("smismember", -3, smismember).element(2).read().fast().keys(READ),
    set("scard", 2, scard).read().fast().keys(ASK),
    set("smembers", 2, smembers).read().keys(READ).tips(&["nondeterministic_output_order"]),
    set("spop", -2, spop).write().fast().keys(TAKE).tips(ANY_OUTPUT),
    set("srandmember", -2, srandmember).read().keys(READ).tips(ANY_OUTPUT),
    set("smove", 4, smove)
        .write()
        .fast()
        .keys(&[KeySpec::one("RW", &["access", "delete"]), KeySpec::at(2, "RW", &["insert"])]),
    set("sscan", -3, sscan).read().keys(READ).tips(ANY_OUTPUT),
];

/// A row of the group.
pub(super) const fn set(name: &'static str, arity: i32, handler: super::spec::Handler) -> Command {
    Command::new(name, arity, handler).group(Group::Set)
}

fn sadd(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let mut set = ctx.db.write_or_create::<Set>(args.key(1))?;
    let mut edit = set.edit();
    edit.prepare(args.get(2), args.len() - 2);
    let added = edit.extend(args.rest(2));
    set.changed_by(added, Event::set("sadd"));
    ctx.out.count(added);
    Ok(Flow::Done)
}

fn srem(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let mut removed = 0;
    if let Some(mut set) = ctx.db.write::<Set>(args.key(1))? {
        let mut edit = set.edit();
        removed = args.rest(2).filter(|member| edit.remove(member)).count();
        set.changed_by(removed, Event::set("srem"));
    }
    ctx.out.count(removed);
    Ok(Flow::Done)
}

fn sismember(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let set = ctx.db.read::<Set>(args.key(1))?;
    let found = set.is_some_and(|set| set.contains(args.get(2)));
    ctx.out.integer(i64::from(found));
    Ok(Flow::Done)
}

fn smismember(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let set = ctx.db.read::<Set>(args.key(1))?;
    ctx.out.array(args.len() - 2);
    for member in args.rest(2) {
        let found = set.is_some_and(|set| set.contains(member));
        ctx.out.integer(i64::from(found));
    }
    Ok(Flow::Done)
}

fn scard(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let set = ctx.db.read::<Set>(args.key(1))?;
    ctx.out.count(set.map_or(0, SetView::len));
    Ok(Flow::Done)
}

fn smembers(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let key = args.key(1);
    let Some(set) = ctx.db.read::<Set>(key)? else {
        ctx.out.set(0);
        return Ok(Flow::Done);
    };
    ctx.out.set(set.len());
    if set.len() <= WHOLE_REPLY_MAX || !matches!(set, SetView::Table(_)) {
        set.iter().for_each(|member| reply_item(member, ctx.out));
        return Ok(Flow::Done);
    }
    Ok(reply_all(ctx, key, Members).expect("as many members as these are in a table"))
}

/// Writes members as bulk strings.
struct Members;

impl ItemEncoder for Members {
    fn member(&self, member: &[u8], out: &mut Vec<u8>) {
        write_bulk(out, member);
    }
}

fn spop(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let key = args.key(1);
    match args.len() {
        2 => pop_one(ctx, key),
        3 => pop_many(ctx, key, args.count(2)?),
        _ => Err(CmdError::Syntax),
    }
}

fn pop_one(ctx: &mut Ctx<'_>, key: Key<'_>) -> Result<Flow, CmdError> {
    let mut random = ctx.db.random(key);
    let Some(mut set) = ctx.db.write::<Set>(key)? else {
        ctx.out.null();
        return Ok(Flow::Done);
    };
    set.edit().pop(&mut random, |member| {
        reply_item(member, ctx.out);
        if ctx.effects.wanted() {
            ctx.effects.propagate_as(&[b"SREM", key.bytes, member.bytes(&mut [0; 20])]);
        }
    });
    set.changed(Event::set("spop"));
    Ok(Flow::Done)
}

fn pop_many(ctx: &mut Ctx<'_>, key: Key<'_>, count: usize) -> Result<Flow, CmdError> {
    let mut random = ctx.db.random(key);
    let len = ctx.db.peek::<Set>(key)?.map_or(0, SetView::len);
    if count == 0 || len == 0 {
        ctx.out.set(0);
    } else if count >= len {
        pop_all(ctx, key)?;
    } else if let Some(mut set) = ctx.db.write::<Set>(key)? {
        let mut removals = Removals { key: key.bytes, members: Vec::new() };
        ctx.out.set(count);
        set.edit().pop_many(count, &mut random, |member| {
            reply_item(member, ctx.out);
            removals.add(ctx.effects, member);
        });
        removals.flush(ctx.effects);
        set.changed_by(count, Event::set("spop"));
    }
    Ok(Flow::Done)
}

/// Replies all members of a set that is there, and deletes it.
fn pop_all(ctx: &mut Ctx<'_>, key: Key<'_>) -> Result<(), CmdError> {
    let Some(set) = ctx.db.peek::<Set>(key)? else { return Ok(()) };
    let len = set.len();
    ctx.out.set(len);
    set.iter().for_each(|member| reply_item(member, ctx.out));
    if let Some(written) = ctx.db.remove(key) {
        written.changed(Event::set("spop"));
        ctx.db.written(key).also(Event::DEL);
        ctx.db.changes().dirty += len as u64 - 1;
        ctx.effects.propagate_as(&[b"DEL", key.bytes]);
    }
    Ok(())
}

/// Popped members on their way into SREM commands.
struct Removals<'a> {
    key: &'a [u8],
    members: Vec<Vec<u8>>,
}

impl Removals<'_> {
    fn add(&mut self, effects: &mut Effects, member: Item<'_>) {
        if !effects.wanted() {
            return;
        }
        self.members.push(member.to_vec());
        if self.members.len() == SREM_BATCH {
            self.flush(effects);
        }
    }

    fn flush(&mut self, effects: &mut Effects) {
        if self.members.is_empty() {
            return;
        }
        let mut argv: Vec<&[u8]> = vec![b"SREM", self.key];
        argv.extend(self.members.iter().map(Vec::as_slice));
        effects.propagate_as(&argv);
        self.members.clear();
    }
}

fn srandmember(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let key = args.key(1);
    if args.len() > 3 {
        return Err(CmdError::Syntax);
    }
    let mut random = ctx.db.random(key);
    if args.len() == 2 {
        match ctx.db.read::<Set>(key)?.and_then(|set| set.random(&mut random)) {
            Some(member) => reply_item(member, ctx.out),
            None => ctx.out.null(),
        }
        return Ok(Flow::Done);
    }
    let count = args.integer(2)?;
    if count == i64::MIN {
        return Err(CmdError::NotInRange(-i64::MAX, i64::MAX));
    }
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count < 0 && wanted > RANDOM_REPEATS_MAX {
        return Err(CmdError::OutOfRange);
    }
    match ctx.db.read::<Set>(key)? {
        Some(set) if count < 0 => Ok(draw_repeatedly(ctx.out, set, wanted, &mut random)),
        Some(set) if count > 0 => {
            draw_distinct(ctx.out, set, wanted, &mut random);
            Ok(Flow::Done)
        }
        _ => {
            ctx.out.array(0);
            Ok(Flow::Done)
        }
    }
}

/// Replies `count` members, each drawn from all.
fn draw_repeatedly(
    out: &mut ReplyBuf,
    set: SetView<'_>,
    count: usize,
    random: &mut Random,
) -> Flow {
    out.array(count);
    let start = out.len();
    let members: Vec<Item<'_>> = match set {
        // Finding one member of a listpack costs as much as finding all.
        SetView::Listpack { .. } if count > 1 => set.iter().collect(),
        _ => Vec::new(),
    };
    for _ in 0..count {
        let member = if members.is_empty() {
            set.random(random)
        } else {
            members.get(random.below(members.len() as u64) as usize).copied()
        };
        reply_item(member.expect("a set that is there has members"), out);
        if out.len() - start > BUFFER_MAX as usize {
            return Flow::Close;
        }
    }
    Flow::Done
}

/// Replies `count` different members, or all if there are fewer; all choices are equally likely.
fn draw_distinct(out: &mut ReplyBuf, set: SetView<'_>, count: usize, random: &mut Random) {
    let len = set.len();
    let count = count.min(len);
    out.array(count);
    if count == 1 {
        reply_item(set.random(random).expect("a set that is there has members"), out);
        return;
    }
    if let SetView::Table(table) = set
        && count <= len / DRAW_RATIO
    {
        // Members do not move while they are read: each is known by its address.
        let mut drawn = HashSet::with_capacity(count);
        while drawn.len() < count {
            let member = table.random(random).expect("a set that is there has members");
            if drawn.insert(member.as_ptr()) {
                out.bulk(member);
            }
        }
        return;
    }
    let (mut wanted, mut open) = (count as u64, len as u64);
    for member in set.iter() {
        if random.below(open) < wanted {
            reply_item(member, out);
            wanted -= 1;
        }
        open -= 1;
    }
}

fn smove(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (from, to, member) = (args.key(1), args.key(2), args.get(3));
    let Some(found) = ctx.db.peek::<Set>(from)?.map(|set| set.contains(member)) else {
        ctx.out.integer(0);
        return Ok(Flow::Done);
    };
    ctx.db.peek::<Set>(to)?;
    if found && from.bytes != to.bytes {
        if let Some(mut source) = ctx.db.write::<Set>(from)? {
            source.edit().remove(member);
            source.changed(Event::set("srem"));
        }
        let mut target = ctx.db.write_or_create::<Set>(to)?;
        if target.view().is_empty() {
            target.edit().prepare(member, 1);
        }
        if target.edit().insert(member) {
            target.changed(Event::set("sadd"));
        }
    }
    ctx.out.integer(i64::from(found));
    Ok(Flow::Done)
}

fn sscan(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let cursor = parse_cursor(args.get(2))?;
    let Some(set) = ctx.db.read::<Set>(args.key(1))? else {
        ctx.out.array(2);
        ctx.out.text("0");
        ctx.out.array(0);
        return Ok(Flow::Done);
    };
    let options = ScanOptions::parse(args.options(3), |_, _| Ok(false))?;
    let mut found = Vec::new();
    let next = set.scan(cursor, options.count, |member| {
        if options.wants(member.bytes(&mut [0; 20])) {
            found.push(member);
        }
    });
    ctx.out.array(2);
    ctx.out.text(&next.to_string());
    ctx.out.array(found.len());
    found.into_iter().for_each(|member| reply_item(member, ctx.out));
    Ok(Flow::Done)
}
