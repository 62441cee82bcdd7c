//! Reading what comes after an id, alone or as a member of a consumer group, and waiting for it.

use std::collections::HashSet;

use super::super::args::Args;
use super::super::context::{Ctx, Flow};
use super::super::error::CmdError;
use super::super::spec::{Command, Flags, KeySpec};
use super::claim::{Stated, consumer_of};
use super::options::strict_id;
use super::{no_group, reply_entry, stream};
use crate::base::{bytes, number};
use crate::encoding::End;
use crate::keyspace::Event;
use crate::resp::ReplyBuf;
use crate::server::{Retry, Wait};
use crate::value::Type;
use crate::value::stream::{ConsumerId, Entry, Group, ID_LEN_MAX, Pending, Stream, StreamId};

/// The words before STREAMS that take arguments, and how many.
const TAKING: &[(&str, usize)] =
    &[("block", 1), ("count", 1), ("maxcount", 1), ("maxsize", 1), ("claim", 1), ("group", 2)];

pub(in super::super) static COMMANDS: &[Command] = &[
    stream("xread", -4, xread)
        .read()
        .blocking(serve_xread)
        .flags(Flags::MOVABLEKEYS)
        .keys(&[KeySpec::half(("STREAMS", 1), TAKING, "RO", &["access"])]),
    stream("xreadgroup", -7, xreadgroup)
        .write()
        .blocking(serve_xreadgroup)
        .flags(Flags::MOVABLEKEYS)
        .keys(&[KeySpec::half(("STREAMS", 4), TAKING, "RO", &["access"])]),
];

/// How often a client that waits to claim entries looks for those that others got meanwhile.
const RETRY_MIN_MS: u64 = 10;
const RETRY_MAX_MS: u64 = 100;

/// How much one stream, and all together, may be answered with.
#[derive(Clone, Copy)]
struct Budget {
    /// Entries of each stream; all where it is none.
    each: usize,
    /// Entries of all streams.
    left: usize,
    /// Bytes of fields and values of all streams; the first entry is replied whatever its length.
    bytes_left: usize,
    is_first: bool,
}

impl Budget {
    /// How many entries the next stream may have.
    fn entries(&self) -> usize {
        self.each.min(self.left)
    }

    /// Whether an entry may be replied; if so, it is accounted for.
    fn takes(&mut self, entry: &Entry<'_>) -> bool {
        if self.left == 0 {
            return false;
        }
        if self.bytes_left != usize::MAX {
            let len: usize = entry.pairs().map(|(name, value)| name.len() + value.len()).sum();
            if !self.is_first && len > self.bytes_left {
                self.left = 0;
                return false;
            }
            self.bytes_left = self.bytes_left.saturating_sub(len);
        }
        self.is_first = false;
        self.left = if self.left == usize::MAX { usize::MAX } else { self.left - 1 };
        true
    }

    fn is_spent(&self) -> bool {
        self.left == 0
    }
}

/// What XREAD and XREADGROUP are told.
struct Request<'a> {
    /// Group and consumer.
    member: Option<Member<'a>>,
    budget: Budget,
    /// Until when to wait, in Unix milliseconds, if at all.
    wait_until_ms: Option<Option<i64>>,
    /// The argument that is the first key, and how many keys there are.
    first: usize,
    len: usize,
}

/// Who reads in a group.
#[derive(Clone, Copy)]
struct Member<'a> {
    group: &'a [u8],
    group_at: usize,
    consumer: &'a [u8],
    noack: bool,
    claim_idle_ms: Option<i64>,
}

/// Where a stream is read from.
#[derive(Clone, Copy)]
enum From {
    /// What comes after that id.
    After(StreamId),
    /// What the group did not get yet.
    New,
    /// What the consumer got after that id and did not acknowledge.
    History(StreamId),
}

impl<'a> Request<'a> {
    fn parse(ctx: &Ctx<'_>, args: &Args<'a>, in_group: bool) -> Result<Self, CmdError> {
        let (mut words, mut at) = (Words::default(), 1);
        while at < args.len() {
            let more = args.len() - at - 1;
            let word = args.get(at);
            if bytes::is_word(word, "streams") && more > 0 {
                return words.finish(ctx, args, in_group, at + 1);
            }
            at += 1 + words.read(args, at, in_group)?;
        }
        Err(CmdError::Syntax)
    }
}

/// Words as they were given.
#[derive(Default)]
struct Words {
    block_ms: Option<i64>,
    count: i64,
    max_count: Option<i64>,
    max_size: Option<i64>,
    claim_idle_ms: Option<i64>,
    group_at: Option<usize>,
    noack: bool,
}

impl Words {
    /// Reads the option at `at`; how many arguments it takes.
    fn read(&mut self, args: &Args<'_>, at: usize, in_group: bool) -> Result<usize, CmdError> {
        let (word, more) = (args.get(at), args.len() - at - 1);
        let only_group = |name| if in_group { Ok(()) } else { Err(CmdError::OnlyXreadgroup(name)) };
        let bound = |at: usize, name| match args.integer(at)? {
            ..=0 => Err(CmdError::ReadBound(name)),
            bound => Ok(bound),
        };
        match () {
            () if bytes::is_word(word, "claim") && more > 0 => {
                only_group("CLAIM")?;
                let given = number::parse_i64(args.get(at + 1));
                let idle_ms =
                    given.ok_or(CmdError::MinIdleTime("is not an integer or out of range"))?;
                if idle_ms < 0 {
                    return Err(CmdError::MinIdleTime("must be a positive integer"));
                }
                self.claim_idle_ms = Some(idle_ms);
            }
            () if bytes::is_word(word, "block") && more > 0 => {
                let span = number::parse_i64(args.get(at + 1));
                let span = span.ok_or(CmdError::TimeoutNotInteger)?;
                if span < 0 {
                    return Err(CmdError::TimeoutNegative);
                }
                self.block_ms = Some(span);
            }
            () if bytes::is_word(word, "count") && more > 0 => self.count = args.integer(at + 1)?,
            () if bytes::is_word(word, "maxcount") && more > 0 => {
                self.max_count = Some(bound(at + 1, "MAXCOUNT")?);
            }
            () if bytes::is_word(word, "maxsize") && more > 0 => {
                self.max_size = Some(bound(at + 1, "MAXSIZE")?);
            }
            () if bytes::is_word(word, "group") && more > 1 => {
                only_group("GROUP")?;
                self.group_at = Some(at + 1);
                return Ok(2);
            }
            () if bytes::is_word(word, "noack") => {
                only_group("NOACK")?;
                self.noack = true;
                return Ok(0);
            }
            () => return Err(CmdError::Syntax),
        }
        Ok(1)
    }

    fn finish<'a>(
        self,
        ctx: &Ctx<'_>,
        args: &Args<'a>,
        in_group: bool,
        first: usize,
    ) -> Result<Request<'a>, CmdError> {
        let left = args.len() - first;
        if left % 2 == 1 {
            let ids = if in_group { "ID or '>'" } else { "ID, '+', or '$'" };
            return Err(CmdError::StreamsUnbalanced { command: ctx.command.name.into(), ids });
        }
        if in_group && self.group_at.is_none() {
            return Err(CmdError::XreadgroupGroup);
        }
        let until = |span| match span {
            0 => Ok(None),
            span => ctx.now_ms.checked_add(span).map(Some).ok_or(CmdError::TimeoutRange),
        };
        let all = |count: i64| match usize::try_from(count) {
            Ok(1..) => count as usize,
            _ => usize::MAX,
        };
        let member = self.group_at.map(|at| Member {
            group: args.get(at),
            group_at: at,
            consumer: args.get(at + 1),
            noack: self.noack,
            claim_idle_ms: self.claim_idle_ms,
        });
        let budget = Budget {
            each: all(self.count),
            left: self.max_count.map_or(usize::MAX, all),
            bytes_left: self.max_size.map_or(usize::MAX, all),
            is_first: true,
        };
        let wait_until_ms = self.block_ms.map(until).transpose()?;
        Ok(Request { member, budget, wait_until_ms, first, len: left / 2 })
    }
}

/// Where the stream at argument `at` is to be read from.
fn source(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    request: &Request<'_>,
    at: usize,
) -> Result<From, CmdError> {
    let text = args.get(at + request.len);
    let found = ctx.db.read::<Stream>(args.key(at))?;
    let Some(member) = &request.member else {
        return Ok(From::After(match text {
            b"$" => found.map_or(StreamId::MIN, |stream| stream.ids().last),
            b"+" => {
                let last = found.and_then(|stream| stream.edge(End::Tail));
                last.and_then(StreamId::prev).unwrap_or_default()
            }
            b">" => return Err(CmdError::XreadId),
            text => strict_id(text, 0)?,
        }));
    };
    if found.is_none_or(|stream| stream.group(member.group).is_none()) {
        return Err(no_group(args, at, member.group_at, " in XREADGROUP with GROUP option"));
    }
    match text {
        b"$" => Err(CmdError::XreadgroupId("$")),
        b"+" => Err(CmdError::XreadgroupId("+")),
        b">" => Ok(From::New),
        text => Ok(From::History(strict_id(text, 0)?)),
    }
}

fn xread(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let request = Request::parse(ctx, args, false)?;
    read_or_wait(ctx, args, request)
}

fn xreadgroup(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let request = Request::parse(ctx, args, true)?;
    read_or_wait(ctx, args, request)
}

fn read_or_wait(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    mut request: Request<'_>,
) -> Result<Flow, CmdError> {
    let keys = request.first..request.first + request.len;
    let sources: Result<Vec<From>, CmdError> =
        keys.clone().map(|at| source(ctx, args, &request, at)).collect();
    let (sources, mark, mut replied) = (sources?, ctx.out.mark(), 0);
    for (at, from) in keys.clone().zip(&sources) {
        replied += usize::from(read_one(ctx, args, &mut request, (at, *from)));
    }
    if replied > 0 {
        reply_head(ctx.out, mark, replied);
        return Ok(Flow::Done);
    }
    let Some(until_ms) = request.wait_until_ms else {
        ctx.out.null_array();
        return Ok(Flow::Done);
    };
    // What is new is so since now.
    let since = keys.clone().zip(&sources).filter_map(|(at, from)| match from {
        From::After(id) if args.get(at + request.len) == b"$" => {
            Some((at + request.len, id.format(&mut [0; ID_LEN_MAX]).to_vec()))
        }
        _ => None,
    });
    let replaced = since.collect();
    let retry = retry_of(ctx, args, &request);
    let mut seen = HashSet::new();
    let distinct = keys.filter(|at| seen.insert(args.get(*at))).collect();
    let (wants, target, minds_loss) = (Type::Stream, None, request.member.is_some());
    Ok(Flow::Block(Box::new(Wait {
        keys: distinct,
        wants,
        target,
        until_ms,
        minds_loss,
        retry,
        replaced,
    })))
}

/// When an entry of others has waited long enough to be claimed.
fn retry_of(ctx: &mut Ctx<'_>, args: &Args<'_>, request: &Request<'_>) -> Option<Retry> {
    let member = request.member?;
    let idle_ms = member.claim_idle_ms?;
    let mut oldest_ms = None;
    for at in request.first..request.first + request.len {
        if let Ok(Some(mut guard)) = ctx.db.write::<Stream>(args.key(at)) {
            let pending_ms = guard.edit().oldest_pending_ms(member.group);
            oldest_ms = pending_ms.into_iter().chain(oldest_ms).min();
        }
    }
    let first_at_ms = oldest_ms.unwrap_or(ctx.now_ms).saturating_add(idle_ms);
    let every_ms = idle_ms.unsigned_abs().clamp(RETRY_MIN_MS, RETRY_MAX_MS);
    Some(Retry { first_at_ms, every_ms })
}

/// The head of a reply of so many streams.
fn reply_head(out: &mut ReplyBuf, mark: crate::resp::Mark, streams: usize) {
    match out.is_resp3() {
        true => out.map_at(mark, streams),
        false => out.array_at(mark, streams),
    }
}

fn serve_xread(ctx: &mut Ctx<'_>, args: &Args<'_>, at: usize) -> Result<bool, CmdError> {
    let request = Request::parse(ctx, args, false)?;
    serve(ctx, args, request, at)
}

fn serve_xreadgroup(ctx: &mut Ctx<'_>, args: &Args<'_>, at: usize) -> Result<bool, CmdError> {
    let request = Request::parse(ctx, args, true)?;
    if !matches!(ctx.db.peek::<Stream>(args.key(at)), Ok(Some(_))) {
        return Err(CmdError::StreamGone);
    }
    serve(ctx, args, request, at)
}

fn serve(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    mut request: Request<'_>,
    at: usize,
) -> Result<bool, CmdError> {
    let from = source(ctx, args, &request, at)?;
    let mark = ctx.out.mark();
    let served = read_one(ctx, args, &mut request, (at, from));
    if served {
        reply_head(ctx.out, mark, 1);
    }
    Ok(served)
}

/// Replies with what one stream has for the reader; `false` when that is nothing.
fn read_one(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    request: &mut Request<'_>,
    (at, from): (usize, From),
) -> bool {
    if let Some(member) = request.member {
        return read_as_member(ctx, args, (&mut request.budget, member), (at, from));
    }
    let (From::After(id), Ok(Some(stream))) = (from, ctx.db.peek::<Stream>(args.key(at))) else {
        return false;
    };
    let Some(next) = id.next().filter(|_| stream.edge(End::Tail).is_some_and(|last| last > id))
    else {
        return false;
    };
    if request.budget.is_spent() {
        return false;
    }
    let mark = ctx.out.mark();
    begin_stream(ctx.out, args.get(at));
    let replied = reply_after(ctx.out, stream, next, &mut request.budget);
    if replied == 0 {
        ctx.out.rewind(mark);
    }
    replied > 0
}

fn begin_stream(out: &mut ReplyBuf, key: &[u8]) {
    if !out.is_resp3() {
        out.array(2);
    }
    out.bulk(key);
}

/// Replies with an array of entries from an id on; returns how many.
fn reply_after(out: &mut ReplyBuf, stream: &Stream, start: StreamId, budget: &mut Budget) -> usize {
    let (mark, mut replied) = (out.mark(), 0);
    for entry in stream.entries(start..=StreamId::MAX, End::Head).take(budget.entries()) {
        if !budget.takes(&entry) {
            break;
        }
        reply_entry(out, &entry);
        replied += 1;
    }
    out.array_at(mark, replied);
    replied
}

fn read_as_member(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    (budget, member): (&mut Budget, Member<'_>),
    (at, from): (usize, From),
) -> bool {
    let (key, now_ms) = (args.key(at), ctx.db.clock_ms());
    let Ok(Some(mut guard)) = ctx.db.write::<Stream>(key) else { return false };
    let mut stated = Stated::new(key.bytes, member.group, ctx.effects.wanted());
    let stream = guard.edit();
    let Some(group) = stream.group_mut(member.group) else { return false };
    let (consumer, is_new) = consumer_of(group, member.consumer, now_ms);
    let last_id = group.last_id;
    let reader = Reader { member, consumer, now_ms };
    let served = match from {
        _ if budget.is_spent() => false,
        From::History(after) => {
            begin_stream(ctx.out, key.bytes);
            reader.reply_history(ctx.out, stream, after, budget);
            true
        }
        From::New | From::After(_) => {
            let claimable = reader.claimable(stream, budget);
            let has_new = stream.edge(End::Tail).is_some_and(|last| last > last_id);
            let mark = ctx.out.mark();
            let mut replied = 0;
            if has_new || !claimable.is_empty() {
                begin_stream(ctx.out, key.bytes);
                replied = reader.reply_new(ctx.out, stream, claimable, budget, &mut stated);
            }
            if replied == 0 {
                ctx.out.rewind(mark);
            }
            replied > 0
        }
    };
    let is_idle = stream.group(member.group).is_some_and(|group| is_idle(group, consumer));
    if is_new {
        // A consumer that has nothing pending is made by no other command.
        if is_idle {
            stated.consumer_first(member.consumer);
        }
        guard.noted(Event::stream("xgroup-createconsumer"));
    }
    drop(guard);
    stated.finish(ctx);
    served
}

fn is_idle(group: &Group, consumer: ConsumerId) -> bool {
    group.consumer(consumer).pending().is_empty()
}

/// A member of a group that reads.
struct Reader<'a> {
    member: Member<'a>,
    consumer: ConsumerId,
    now_ms: i64,
}

impl Reader<'_> {
    /// What waits for others long enough.
    fn claimable(&self, stream: &mut Stream, budget: &Budget) -> Vec<StreamId> {
        let Some(idle_ms) = self.member.claim_idle_ms else { return Vec::new() };
        let until_ms = self.now_ms.saturating_sub(idle_ms);
        stream.claimable(self.member.group, until_ms, budget.entries())
    }

    /// Replies with what is claimed and what is new, and notes that it was delivered; returns how many
    /// entries that are.
    fn reply_new(
        &self,
        out: &mut ReplyBuf,
        stream: &mut Stream,
        claimable: Vec<StreamId>,
        budget: &mut Budget,
        stated: &mut Stated<'_>,
    ) -> usize {
        let Member { group: name, noack, claim_idle_ms, .. } = self.member;
        let (mark, mut replied) = (out.mark(), 0);
        for id in claimable {
            let before = stream.group(name).and_then(|group| group.pending().get(&id).copied());
            let (Some(entry), Some(before)) = (stream.get(id), before) else { continue };
            if !budget.takes(&entry) {
                break;
            }
            let idle_ms = self.now_ms.saturating_sub(before.delivered_at_ms);
            reply_delivery(out, &entry, Some((idle_ms, before.deliveries)));
            self.claim(stream, id, before, stated);
            replied += 1;
        }
        let mut rest = Budget { each: budget.each.saturating_sub(replied), ..*budget };
        let last_id = stream.group(name).map_or(StreamId::MAX, |group| group.last_id);
        let start = last_id.next().unwrap_or(StreamId::MAX);
        let mut ids = Vec::new();
        for entry in stream.entries(start..=StreamId::MAX, End::Head).take(rest.entries()) {
            if entry.id <= last_id || !rest.takes(&entry) {
                break;
            }
            reply_delivery(out, &entry, claim_idle_ms.map(|_| (0, 0)));
            ids.push(entry.id);
        }
        *budget = Budget { each: budget.each, ..rest };
        out.array_at(mark, replied + ids.len());
        let consumer = (!noack).then_some(self.consumer);
        let moved = stream.deliver(name, &ids, consumer, self.now_ms);
        let Some(group) = stream.group(name) else { return 0 };
        for id in ids.iter().filter(|_| !noack) {
            if let Some(pending) = group.pending().get(id) {
                stated.claim(self.member.consumer, *id, *pending, group.last_id);
            }
        }
        if moved {
            stated.group_id(group);
        }
        replied + ids.len()
    }

    fn claim(&self, stream: &mut Stream, id: StreamId, before: Pending, stated: &mut Stated<'_>) {
        let Some(group) = stream.group_mut(self.member.group) else { return };
        let pending = Pending {
            delivered_at_ms: self.now_ms,
            deliveries: before.deliveries.saturating_add(1),
            consumer: Some(self.consumer),
        };
        group.set_pending(id, pending);
        group.consumer_mut(self.consumer).active_at_ms = Some(self.now_ms);
        stated.claim(self.member.consumer, id, pending, group.last_id);
    }

    /// Replies with what the consumer got after an id and did not acknowledge.
    fn reply_history(
        &self,
        out: &mut ReplyBuf,
        stream: &mut Stream,
        after: StreamId,
        budget: &mut Budget,
    ) {
        let name = self.member.group;
        let (mark, mut replied) = (out.mark(), 0);
        let mut next = after.next();
        while replied < budget.each {
            let Some(group) = stream.group(name) else { break };
            let pending = group.consumer(self.consumer).pending();
            let Some(id) = next.and_then(|next| pending.range(next..).next()).copied() else {
                break;
            };
            next = id.next();
            let Some(entry) = stream.get(id) else {
                out.array(2);
                super::reply_id(out, id);
                out.null_array();
                replied += 1;
                continue;
            };
            if !budget.takes(&entry) {
                break;
            }
            reply_entry(out, &entry);
            replied += 1;
            let before = group.pending().get(&id).copied();
            if let (Some(before), Some(group)) = (before, stream.group_mut(name)) {
                let deliveries = before.deliveries.saturating_add(1);
                let delivered_at_ms = self.now_ms;
                group.set_pending(id, Pending { deliveries, delivered_at_ms, ..before });
            }
        }
        out.array_at(mark, replied);
    }
}

/// Replies an entry, with how long it waited and how often it was delivered if asked for.
fn reply_delivery(out: &mut ReplyBuf, entry: &Entry<'_>, claim: Option<(i64, u64)>) {
    let Some((idle_ms, deliveries)) = claim else { return reply_entry(out, entry) };
    out.array(4);
    super::reply_id(out, entry.id);
    super::reply_pairs(out, entry);
    out.integer(idle_ms);
    out.integer(i64::try_from(deliveries).unwrap_or(i64::MAX));
}
