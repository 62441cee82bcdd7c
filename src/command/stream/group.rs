//! Consumer groups: making them, and what is pending in them.

use super::super::args::Args;
use super::super::context::{Ctx, Flow};
use super::super::error::CmdError;
use super::super::introspect::help;
use super::super::spec::{Command, Flags, Handler, KeySpec};
use super::options::{any_id, end_of, ids_from, start_of, strict_id};
use super::{ANY_OUTPUT, READ, UPDATE, no_group, preview, reply_id, stream};
use crate::base::number;
use crate::keyspace::Event;
use crate::resp::ReplyBuf;
use crate::value::stream::{Group, Pending, Stream, StreamId};

const DELETE: &[KeySpec] = &[KeySpec::at(2, "RW", &["delete"])];
const INSERT: &[KeySpec] = &[KeySpec::at(2, "RW", &["insert"])];

pub(in super::super) static COMMANDS: &[Command] = &[
    stream("xgroup", -2, help).subcommands(&[
        stream("create", -5, xgroup_create).grow().keys(INSERT),
        stream("setid", -5, xgroup_setid).write().keys(&[KeySpec::at(2, "RW", &["update"])]),
        stream("destroy", 4, xgroup_destroy).write().keys(DELETE),
        stream("createconsumer", 5, xgroup_createconsumer).grow().keys(INSERT),
        stream("delconsumer", 5, xgroup_delconsumer).write().keys(DELETE),
        help_row(help).help(&[
            "CREATE <key> <groupname> <id|$> [option]",
            "    Create a new consumer group. Options are:",
            "    * MKSTREAM",
            "      Create the empty stream if it does not exist.",
            "    * ENTRIESREAD entries_read",
            "      Set the group's entries_read counter (internal use).",
            "CREATECONSUMER <key> <groupname> <consumer>",
            "    Create a new consumer in the specified group.",
            "DELCONSUMER <key> <groupname> <consumer>",
            "    Remove the specified consumer.",
            "DESTROY <key> <groupname>",
            "    Remove the specified group.",
            "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
            "    Set the current group ID and entries_read counter.",
        ]),
    ]),
    stream("xack", -4, xack).write().fast().keys(UPDATE),
    stream("xpending", -3, xpending).read().keys(READ).tips(ANY_OUTPUT),
];

/// The row of a HELP subcommand.
pub(super) const fn help_row(handler: Handler) -> Command {
    stream("help", 2, handler).flags(Flags::LOADING.with(Flags::STALE))
}

/// What CREATE and SETID are told behind the id.
#[derive(Default)]
struct GroupOptions {
    mkstream: bool,
    entries_read: Option<u64>,
}

impl GroupOptions {
    fn parse(args: &Args<'_>, creates: bool) -> Result<Self, CmdError> {
        let (mut parsed, mut at) = (Self::default(), 5);
        while at < args.len() {
            if creates && args.is(at, "mkstream") {
                parsed.mkstream = true;
                at += 1;
            } else if args.is(at, "entriesread") && at + 1 < args.len() {
                parsed.entries_read = match args.integer(at + 1)? {
                    -1 => None,
                    count => Some(u64::try_from(count).map_err(|_| CmdError::EntriesRead)?),
                };
                at += 2;
            } else {
                return Err(wrong_arguments(args));
            }
        }
        Ok(parsed)
    }
}

fn wrong_arguments(args: &Args<'_>) -> CmdError {
    CmdError::UnknownSubcommandOrArity { subcommand: preview(args.get(1)), container: "XGROUP" }
}

/// The stream at the second argument as it is, if there is one.
fn peek<'s>(ctx: &'s mut Ctx<'_>, args: &Args<'_>) -> Result<Option<&'s Stream>, CmdError> {
    Ok(ctx.db.peek::<Stream>(args.key(2))?)
}

/// The stream at the second argument, which has to be there, and have the group at the third.
fn peek_group<'s>(ctx: &'s mut Ctx<'_>, args: &Args<'_>) -> Result<&'s Stream, CmdError> {
    let stream = peek(ctx, args)?.ok_or(CmdError::XgroupNoKey)?;
    match stream.group(args.get(3)) {
        Some(_) => Ok(stream),
        None => Err(CmdError::NoGroupOf { key: preview(args.get(2)), group: preview(args.get(3)) }),
    }
}

fn xgroup_create(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let options = GroupOptions::parse(args, true)?;
    let found = peek(ctx, args)?;
    if found.is_none() && !options.mkstream {
        return Err(CmdError::XgroupNoKey);
    }
    if args.len() > 8 {
        return Err(wrong_arguments(args));
    }
    let id = match args.get(4) {
        b"$" => found.map_or(StreamId::MIN, |stream| stream.ids().last),
        text => strict_id(text, 0)?,
    };
    if found.is_some_and(|stream| stream.group(args.get(3)).is_some()) {
        return Err(CmdError::BusyGroup);
    }
    let is_new = found.is_none();
    let mut guard = ctx.db.write_or_create::<Stream>(args.key(2))?;
    guard.edit().create_group(args.get(3), id, options.entries_read);
    match is_new {
        true => guard.changed(Event::stream("xgroup-create")),
        false => guard.noted(Event::stream("xgroup-create")),
    }
    ctx.out.ok();
    Ok(Flow::Done)
}

fn xgroup_setid(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let options = GroupOptions::parse(args, false)?;
    let last = peek_group(ctx, args)?.ids().last;
    if !matches!(args.len(), 5 | 7) {
        return Err(wrong_arguments(args));
    }
    let id = if args.get(4) == b"$" { last } else { any_id(args.get(4), 0)? };
    change_group(ctx, args, "xgroup-setid", |group| {
        (group.last_id, group.entries_read) = (id, options.entries_read);
    })?;
    ctx.out.ok();
    Ok(Flow::Done)
}

/// Changes the group at the third argument, which is there.
fn change_group<R>(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    event: &'static str,
    change: impl FnOnce(&mut Group) -> R,
) -> Result<Option<R>, CmdError> {
    let Some(mut guard) = ctx.db.write::<Stream>(args.key(2))? else { return Ok(None) };
    let result = guard.edit().group_mut(args.get(3)).map(change);
    guard.noted(Event::stream(event));
    Ok(result)
}

fn xgroup_destroy(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    if peek(ctx, args)?.is_none() {
        return Err(CmdError::XgroupNoKey);
    }
    let mut removed = false;
    if let Some(mut guard) = ctx.db.write::<Stream>(args.key(2))? {
        removed = guard.edit().remove_group(args.get(3)).is_some();
        if removed {
            guard.noted(Event::stream("xgroup-destroy"));
            guard.wake_waiters();
        }
    }
    ctx.out.count(usize::from(removed));
    Ok(Flow::Done)
}

fn xgroup_createconsumer(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (name, now_ms) = (args.get(4), ctx.db.clock_ms());
    let stream = peek_group(ctx, args)?;
    let known = stream.group(args.get(3)).is_some_and(|group| group.find_consumer(name).is_some());
    if !known {
        change_group(ctx, args, "xgroup-createconsumer", |group| {
            group.create_consumer(name, now_ms);
        })?;
    }
    ctx.out.count(usize::from(!known));
    Ok(Flow::Done)
}

fn xgroup_delconsumer(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let name = args.get(4);
    let stream = peek_group(ctx, args)?;
    let known = stream.group(args.get(3)).is_some_and(|group| group.find_consumer(name).is_some());
    let mut pending = 0;
    if known {
        let removed = change_group(ctx, args, "xgroup-delconsumer", |group| {
            group.remove_consumer(name).unwrap_or(0)
        })?;
        pending = removed.unwrap_or(0);
    }
    ctx.out.count(pending);
    Ok(Flow::Done)
}

fn xack(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, mut acknowledged) = (args.key(1), 0);
    let found = ctx.db.peek::<Stream>(key)?;
    if found.is_some_and(|stream| stream.group(args.get(2)).is_some()) {
        let ids = ids_from(args, 3)?;
        if let Some(mut guard) = ctx.db.write::<Stream>(key)?
            && let Some(group) = guard.edit().group_mut(args.get(2))
        {
            let pending = ids.into_iter().filter_map(|id| group.remove_pending(id));
            acknowledged = pending.count();
        }
        // Who watches the key sees no change.
        ctx.db.changes().dirty += acknowledged as u64;
    }
    ctx.out.count(acknowledged);
    Ok(Flow::Done)
}

/// Which pending entries XPENDING lists.
struct Listing<'a> {
    min_idle_ms: i64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Listing<'a> {
    /// Reads what follows the group; nothing where nothing does.
    fn parse(args: &Args<'a>) -> Result<Option<Self>, CmdError> {
        if args.len() == 3 {
            return Ok(None);
        }
        if !(6..=9).contains(&args.len()) {
            return Err(CmdError::Syntax);
        }
        let (mut min_idle_ms, mut first) = (0, 3);
        if args.is(3, "idle") {
            min_idle_ms = args.integer(4)?;
            if args.len() < 8 {
                return Err(CmdError::Syntax);
            }
            first = 5;
        }
        let count = usize::try_from(args.integer(first + 2)?).unwrap_or(0);
        let (start, end) = (start_of(args.get(first))?, end_of(args.get(first + 1))?);
        let consumer = (first + 3 < args.len()).then(|| args.get(first + 3));
        Ok(Some(Self { min_idle_ms, start, end, count, consumer }))
    }

    fn reply(&self, out: &mut ReplyBuf, group: &Group, now_ms: i64) {
        let (mark, mut replied) = (out.mark(), 0);
        let mut reply = |id: StreamId, pending: &Pending| {
            let owner = pending.consumer;
            let idle_ms = now_ms.saturating_sub(pending.delivered_at_ms);
            if owner.is_some() && self.min_idle_ms != 0 && idle_ms < self.min_idle_ms {
                return false;
            }
            out.array(4);
            reply_id(out, id);
            out.bulk(owner.map_or(b"", |owner| group.consumer(owner).name()));
            out.integer(if owner.is_some() { idle_ms.max(0) } else { -1 });
            out.integer(i64::try_from(pending.deliveries).unwrap_or(i64::MAX));
            true
        };
        let range = self.start..=self.end;
        if self.start > self.end || self.count == 0 {
            return out.array(0);
        }
        match self.consumer.map(|name| group.find_consumer(name)) {
            None => {
                for (id, pending) in group.pending().range(range) {
                    replied += usize::from(reply(*id, pending));
                    if replied == self.count {
                        break;
                    }
                }
            }
            Some(None) => {}
            Some(Some(consumer)) => {
                for id in group.consumer(consumer).pending().range(range) {
                    let pending = group.pending().get(id);
                    replied += usize::from(pending.is_some_and(|pending| reply(*id, pending)));
                    if replied == self.count {
                        break;
                    }
                }
            }
        }
        out.array_at(mark, replied);
    }
}

fn xpending(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let listing = Listing::parse(args)?;
    let now_ms = ctx.db.clock_ms();
    let stream = ctx.db.read::<Stream>(args.key(1))?;
    let group = stream.and_then(|stream| stream.group(args.get(2)));
    let group = group.ok_or_else(|| no_group(args, 1, 2, ""))?;
    match listing {
        Some(listing) => listing.reply(ctx.out, group, now_ms),
        None => reply_summary(ctx.out, group),
    }
    Ok(Flow::Done)
}

fn reply_summary(out: &mut ReplyBuf, group: &Group) {
    out.array(4);
    out.count(group.pending().len());
    let (first, last) = (group.pending().first_key_value(), group.pending().last_key_value());
    let (Some((first, _)), Some((last, _))) = (first, last) else {
        out.null();
        out.null();
        return out.null_array();
    };
    reply_id(out, *first);
    reply_id(out, *last);
    let (mark, mut replied) = (out.mark(), 0);
    for (_, consumer) in group.consumers().filter(|(_, consumer)| !consumer.pending().is_empty()) {
        out.array(2);
        out.bulk(consumer.name());
        let mut digits = [0; 20];
        out.bulk(number::format_i64(consumer.pending().len() as i64, &mut digits));
        replied += 1;
    }
    out.array_at(mark, replied);
}
