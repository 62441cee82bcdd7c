//! Giving pending entries to another consumer, or back.

use super::super::args::Args;
use super::super::context::{Ctx, Flow};
use super::super::error::CmdError;
use super::super::options::decimal;
use super::super::spec::Command;
use super::options::{start_of, strict_id};
use super::{
    ANY_OUTPUT, DELETE, UPDATE, id_text, no_group, preview, reply_entry, reply_id, stream,
};
use crate::base::{bytes, number};
use crate::keyspace::Event;
use crate::resp::ReplyBuf;
use crate::value::stream::{ConsumerId, Group, Pending, Stream, StreamId};

/// Entries that XAUTOCLAIM claims at most unless it is told otherwise.
const AUTOCLAIM_COUNT: i64 = 100;

/// How many entries it looks at for each that it may claim.
const AUTOCLAIM_ATTEMPTS: usize = 10;

pub(in super::super) static COMMANDS: &[Command] = &[
    stream("xclaim", -6, xclaim).write().fast().keys(UPDATE).tips(ANY_OUTPUT),
    stream("xautoclaim", -6, xautoclaim).write().fast().keys(DELETE).tips(ANY_OUTPUT),
    stream("xnack", -7, xnack).write().fast().keys(UPDATE),
];

/// What is propagated instead of the command: commands that leave the same pending entries.
pub(super) struct Stated<'a> {
    pub(super) key: &'a [u8],
    pub(super) group: &'a [u8],
    commands: Vec<Vec<Vec<u8>>>,
    /// Whether anybody reads them.
    wanted: bool,
    /// How many changes there were.
    changes: u64,
}

impl<'a> Stated<'a> {
    pub(super) fn new(key: &'a [u8], group: &'a [u8], wanted: bool) -> Self {
        Self { key, group, commands: Vec::new(), wanted, changes: 0 }
    }

    /// An entry is pending for `consumer`, or is not any more because it is gone.
    pub(super) fn claim(
        &mut self,
        consumer: &[u8],
        id: StreamId,
        pending: Pending,
        last: StreamId,
    ) {
        self.changes += 1;
        if !self.wanted {
            return;
        }
        let deliveries = i64::try_from(pending.deliveries).unwrap_or(i64::MAX);
        let (id, time) = (id_text(id), decimal(pending.delivered_at_ms));
        let (deliveries, last) = (decimal(deliveries), id_text(last));
        let argv: [&[u8]; 14] = [
            b"XCLAIM",
            self.key,
            self.group,
            consumer,
            b"0",
            &id,
            b"TIME",
            &time,
            b"RETRYCOUNT",
            &deliveries,
            b"FORCE",
            b"JUSTID",
            b"LASTID",
            &last,
        ];
        self.commands.push(argv.iter().map(|arg| arg.to_vec()).collect());
    }

    /// The group got as far as it is now.
    pub(super) fn group_id(&mut self, group: &Group) {
        self.changes += 1;
        let read = group.entries_read.map_or(-1, |read| i64::try_from(read).unwrap_or(i64::MAX));
        let (last, read) = (id_text(group.last_id), decimal(read));
        let argv: [&[u8]; 7] =
            [b"XGROUP", b"SETID", self.key, self.group, &last, b"ENTRIESREAD", &read];
        self.commands.push(argv.iter().map(|arg| arg.to_vec()).collect());
    }

    /// There is a consumer that no claim makes; before everything else.
    pub(super) fn consumer_first(&mut self, name: &[u8]) {
        let argv: [&[u8]; 5] = [b"XGROUP", b"CREATECONSUMER", self.key, self.group, name];
        self.commands.insert(0, argv.iter().map(|arg| arg.to_vec()).collect());
    }

    /// Counts the changes, and propagates what was stated.
    pub(super) fn finish(self, ctx: &mut Ctx<'_>) {
        ctx.db.changes().dirty += self.changes;
        for argv in &self.commands {
            ctx.effects.propagate_as(&argv.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
    }
}

/// The number of the consumer of that name, which is made if there is none; whether it was.
pub(super) fn consumer_of(group: &mut Group, name: &[u8], now_ms: i64) -> (ConsumerId, bool) {
    let known = group.find_consumer(name);
    let consumer = known.unwrap_or_else(|| group.create_consumer(name, now_ms));
    group.consumer_mut(consumer).seen_at_ms = now_ms;
    (consumer, known.is_none())
}

/// How XCLAIM and XAUTOCLAIM claim.
struct Claim {
    min_idle_ms: i64,
    just_id: bool,
    force: bool,
    deliveries: Option<u64>,
    delivered_at_ms: i64,
    now_ms: i64,
}

/// What became of an entry that was to be claimed.
enum Claimed {
    Yes,
    No,
    /// It is not in the stream any more, so that it is not pending either.
    Gone,
}

impl Claim {
    /// Claims one entry for a consumer, and replies it.
    fn one(
        &self,
        out: &mut ReplyBuf,
        stream: &mut Stream,
        (consumer, id): (ConsumerId, StreamId),
        stated: &mut Stated<'_>,
    ) -> Claimed {
        let exists = stream.contains(id);
        let group = stream.group_mut(stated.group).expect("the group was looked up");
        let before = group.pending().get(&id).copied();
        if !exists {
            let Some(pending) = group.remove_pending(id) else { return Claimed::No };
            let owner = group.consumer(pending.consumer.unwrap_or(consumer)).name().to_vec();
            stated.claim(&owner, id, pending, group.last_id);
            return Claimed::Gone;
        }
        let deliveries = match before {
            None if !self.force => return Claimed::No,
            None => 1,
            Some(pending) => {
                let idle_ms = self.now_ms.saturating_sub(pending.delivered_at_ms);
                if pending.consumer.is_some() && idle_ms < self.min_idle_ms {
                    return Claimed::No;
                }
                pending.deliveries
            }
        };
        let counted = deliveries.saturating_add(u64::from(!self.just_id));
        let pending = Pending {
            delivered_at_ms: self.delivered_at_ms,
            deliveries: self.deliveries.unwrap_or(counted),
            consumer: Some(consumer),
        };
        group.set_pending(id, pending);
        group.consumer_mut(consumer).active_at_ms = Some(self.now_ms);
        stated.claim(group.consumer(consumer).name(), id, pending, group.last_id);
        match stream.get(id) {
            Some(entry) if !self.just_id => reply_entry(out, &entry),
            _ => reply_id(out, id),
        }
        Claimed::Yes
    }
}

/// The ids of an XCLAIM, what it is told, and the last id of the group.
fn parse_xclaim(
    args: &Args<'_>,
    min_idle_ms: i64,
    now_ms: i64,
) -> Result<(Vec<StreamId>, Claim, StreamId), CmdError> {
    let ids: Vec<StreamId> = args.rest(5).map_while(|text| StreamId::parse(text, 0)).collect();
    let mut claim = Claim {
        min_idle_ms,
        just_id: false,
        force: false,
        deliveries: None,
        delivered_at_ms: now_ms,
        now_ms,
    };
    let (mut last_id, mut options) = (StreamId::MIN, args.options(5 + ids.len()));
    let wrong = |option| CmdError::ClaimArgument { option, command: "XCLAIM" };
    while let Some(word) = options.word() {
        let has_value = options.left() > 0;
        match () {
            () if bytes::is_word(word, "force") => claim.force = true,
            () if bytes::is_word(word, "justid") => claim.just_id = true,
            () if bytes::is_word(word, "idle") && has_value => {
                let idle = number::parse_i64(options.value()?).ok_or(wrong("IDLE option"))?;
                claim.delivered_at_ms = now_ms.saturating_sub(idle);
            }
            () if bytes::is_word(word, "time") && has_value => {
                claim.delivered_at_ms =
                    number::parse_i64(options.value()?).ok_or(wrong("TIME option"))?;
            }
            () if bytes::is_word(word, "retrycount") && has_value => {
                let count = number::parse_i64(options.value()?);
                claim.deliveries = u64::try_from(count.ok_or(wrong("RETRYCOUNT option"))?).ok();
            }
            () if bytes::is_word(word, "lastid") && has_value => {
                last_id = strict_id(options.value()?, 0)?;
            }
            () => return Err(CmdError::XclaimOption(preview(word))),
        }
    }
    if !(0..=now_ms).contains(&claim.delivered_at_ms) {
        claim.delivered_at_ms = now_ms;
    }
    Ok((ids, claim, last_id))
}

fn xclaim(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, now_ms) = (args.key(1), ctx.db.clock_ms());
    let found = ctx.db.peek::<Stream>(key)?;
    if found.is_none_or(|stream| stream.group(args.get(2)).is_none()) {
        return Err(no_group(args, 1, 2, ""));
    }
    let min_idle_ms = min_idle(args, "XCLAIM")?;
    let (ids, claim, last_id) = parse_xclaim(args, min_idle_ms, now_ms)?;
    let Some(mut guard) = ctx.db.write::<Stream>(key)? else { return Ok(Flow::Done) };
    let mut stated = Stated::new(key.bytes, args.get(2), ctx.effects.wanted());
    let stream = guard.edit();
    let group = stream.group_mut(stated.group).expect("the group was looked up");
    let moved = last_id > group.last_id;
    group.last_id = group.last_id.max(last_id);
    let (consumer, is_new) = consumer_of(group, args.get(3), now_ms);
    let (mark, mut replied) = (ctx.out.mark(), 0);
    for id in ids {
        let claimed = claim.one(ctx.out, stream, (consumer, id), &mut stated);
        replied += usize::from(matches!(claimed, Claimed::Yes));
    }
    ctx.out.array_at(mark, replied);
    end_claim(&mut stated, stream, (args.get(3), is_new), moved);
    if is_new {
        guard.noted(Event::stream("xgroup-createconsumer"));
    }
    drop(guard);
    stated.finish(ctx);
    Ok(Flow::Done)
}

/// States what no claim says: the last id, and a new consumer that got nothing.
fn end_claim(stated: &mut Stated<'_>, stream: &Stream, (name, is_new): (&[u8], bool), moved: bool) {
    let Some(group) = stream.group(stated.group) else { return };
    if moved && stated.changes == 0 {
        stated.group_id(group);
    }
    let has_something =
        group.find_consumer(name).map(|id| !group.consumer(id).pending().is_empty());
    if is_new && has_something == Some(false) {
        stated.consumer_first(name);
    }
}

fn min_idle(args: &Args<'_>, command: &'static str) -> Result<i64, CmdError> {
    let wrong = CmdError::ClaimArgument { option: "min-idle-time", command };
    Ok(number::parse_i64(args.get(4)).ok_or(wrong)?.max(0))
}

fn xautoclaim(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, now_ms) = (args.key(1), ctx.db.clock_ms());
    let min_idle_ms = min_idle(args, "XAUTOCLAIM")?;
    let start = start_of(args.get(5))?;
    let (mut options, mut count, mut just_id) = (args.options(6), AUTOCLAIM_COUNT, false);
    while let Some(word) = options.word() {
        match () {
            () if bytes::is_word(word, "count") && options.left() > 0 => {
                let limits = 1..=i64::MAX / size_of::<StreamId>() as i64;
                let given = number::parse_i64(options.value()?);
                count = given.filter(|n| limits.contains(n)).ok_or(CmdError::XautoclaimCount)?;
            }
            () if bytes::is_word(word, "justid") => just_id = true,
            () => return Err(CmdError::Syntax),
        }
    }
    let found = ctx.db.peek::<Stream>(key)?;
    if found.is_none_or(|stream| stream.group(args.get(2)).is_none()) {
        return Err(no_group(args, 1, 2, ""));
    }
    let Some(mut guard) = ctx.db.write::<Stream>(key)? else { return Ok(Flow::Done) };
    let mut stated = Stated::new(key.bytes, args.get(2), ctx.effects.wanted());
    let stream = guard.edit();
    let group = stream.group_mut(stated.group).expect("the group was looked up");
    let (consumer, is_new) = consumer_of(group, args.get(3), now_ms);
    let (force, deliveries, delivered_at_ms) = (false, None, now_ms);
    let claim = Claim { min_idle_ms, just_id, force, deliveries, delivered_at_ms, now_ms };
    let mut walk = Walk { next: Some(start), count: count as usize, gone: Vec::new() };
    let mut claimed = ReplyBuf::with_room(Vec::new(), ctx.out.protocol());
    let replied = walk.run(&mut claimed, stream, &claim, consumer, &mut stated);
    let group = stream.group(stated.group).expect("claiming leaves the group");
    let cursor = walk.next.and_then(|next| group.pending().range(next..).next());
    ctx.out.array(3);
    reply_id(ctx.out, cursor.map_or(StreamId::MIN, |(id, _)| *id));
    ctx.out.array(replied);
    ctx.out.raw(claimed.plain().expect("entries are copied into replies"));
    ctx.out.array(walk.gone.len());
    walk.gone.iter().for_each(|id| reply_id(ctx.out, *id));
    end_claim(&mut stated, stream, (args.get(3), is_new), false);
    if is_new {
        guard.noted(Event::stream("xgroup-createconsumer"));
    }
    drop(guard);
    stated.finish(ctx);
    Ok(Flow::Done)
}

/// The way of XAUTOCLAIM along what is pending.
struct Walk {
    /// Where it goes on.
    next: Option<StreamId>,
    /// How many entries it may still name.
    count: usize,
    /// Those that are not in the stream any more.
    gone: Vec<StreamId>,
}

impl Walk {
    /// Goes as far as it may; returns how many entries were claimed.
    fn run(
        &mut self,
        out: &mut ReplyBuf,
        stream: &mut Stream,
        claim: &Claim,
        consumer: ConsumerId,
        stated: &mut Stated<'_>,
    ) -> usize {
        let (mut attempts, mut claimed) = (self.count.saturating_mul(AUTOCLAIM_ATTEMPTS), 0);
        while self.count > 0 && attempts > 0 {
            attempts -= 1;
            let group = stream.group(stated.group).expect("the group was looked up");
            let following = self.next.and_then(|next| group.pending().range(next..).next());
            let Some((id, _)) = following.map(|(id, pending)| (*id, *pending)) else {
                self.next = None;
                break;
            };
            self.next = id.next();
            match claim.one(out, stream, (consumer, id), stated) {
                Claimed::Yes => claimed += 1,
                Claimed::Gone => self.gone.push(id),
                Claimed::No => continue,
            }
            self.count -= 1;
        }
        claimed
    }
}

/// What XNACK makes of the number of deliveries.
#[derive(Clone, Copy)]
enum Nack {
    Silent,
    Fail,
    Fatal,
}

/// What XNACK is told.
struct NackOptions {
    mode: Nack,
    ids: Vec<StreamId>,
    deliveries: Option<u64>,
    force: bool,
}

impl NackOptions {
    fn parse(args: &Args<'_>) -> Result<Self, CmdError> {
        let mode = match () {
            () if args.is(3, "silent") => Nack::Silent,
            () if args.is(3, "fail") => Nack::Fail,
            () if args.is(3, "fatal") => Nack::Fatal,
            () => return Err(CmdError::XnackMode),
        };
        let (mut ids, mut deliveries, mut force, mut at) = (None, None, false, 4);
        while at < args.len() {
            let more = args.len() - 1 - at;
            if args.is(at, "ids") && more > 0 {
                let count = number::parse_i64(args.get(at + 1)).and_then(|n| i32::try_from(n).ok());
                let count = count.filter(|count| *count > 0).ok_or(CmdError::XnackCount)? as usize;
                if count > args.len() - at - 2 {
                    return Err(CmdError::XnackIds);
                }
                ids = Some(at + 2..at + 2 + count);
                at += 2 + count;
            } else if args.is(at, "force") {
                force = true;
                at += 1;
            } else if args.is(at, "retrycount") && more > 0 {
                let count = args.integer(at + 1)?;
                deliveries = Some(u64::try_from(count).map_err(|_| CmdError::XnackRetryCount)?);
                at += 2;
            } else {
                return Err(CmdError::XnackOption(preview(args.get(at))));
            }
        }
        let ids = ids.ok_or(CmdError::XnackIdsMissing)?;
        let ids = ids.map(|at| strict_id(args.get(at), 0)).collect::<Result<_, _>>()?;
        Ok(Self { mode, ids, deliveries, force })
    }

    fn deliveries(&self, before: u64) -> u64 {
        self.deliveries.unwrap_or(match self.mode {
            Nack::Silent => before.saturating_sub(1),
            Nack::Fail => before,
            Nack::Fatal => i64::MAX as u64,
        })
    }
}

fn xnack(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let key = args.key(1);
    let found = ctx.db.peek::<Stream>(key)?;
    if found.is_none_or(|stream| stream.group(args.get(2)).is_none()) {
        return Err(no_group(args, 1, 2, ""));
    }
    let options = NackOptions::parse(args)?;
    let mut released = 0;
    if let Some(mut guard) = ctx.db.write::<Stream>(key)? {
        let stream = guard.edit();
        for id in &options.ids {
            let exists = stream.contains(*id);
            let Some(group) = stream.group_mut(args.get(2)) else { break };
            let before = match group.pending().get(id) {
                Some(pending) => pending.deliveries,
                None if options.force && exists => 0,
                None => continue,
            };
            let deliveries = options.deliveries(before);
            group.set_pending(*id, Pending { delivered_at_ms: 0, deliveries, consumer: None });
            released += 1;
        }
        // Who waits to claim something may do so now.
        guard.changed_by(released, Event::UNANNOUNCED);
    }
    ctx.out.count(released);
    Ok(Flow::Done)
}
