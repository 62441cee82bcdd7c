//! XINFO: what a stream, its groups and their consumers are like.

use super::super::args::Args;
use super::super::context::{Ctx, Flow};
use super::super::error::CmdError;
use super::super::introspect::help;
use super::super::spec::{Command, KeySpec};
use super::group::help_row;
use super::{ANY_OUTPUT, preview, reply_entry, reply_id, stream};
use crate::encoding::End;
use crate::resp::ReplyBuf;
use crate::value::stream::{Consumer, Group, Stream, StreamId};

const READ: &[KeySpec] = &[KeySpec::at(2, "RO", &["access"])];

/// Entries that FULL shows of each list unless it is told otherwise.
const FULL_COUNT: usize = 10;

pub(in super::super) static COMMANDS: &[Command] = &[stream("xinfo", -2, help).subcommands(&[
    stream("stream", -3, xinfo_stream).read().keys(READ),
    stream("groups", 3, xinfo_groups).read().keys(READ),
    stream("consumers", 4, xinfo_consumers).read().keys(READ).tips(ANY_OUTPUT),
    help_row(help).help(&[
        "CONSUMERS <key> <groupname>",
        "    Show consumers of <groupname>.",
        "GROUPS <key>",
        "    Show the stream consumer groups.",
        "STREAM <key> [FULL [COUNT <count>]",
        "    Show information about the stream.",
    ]),
])];

fn wrong_arguments(args: &Args<'_>) -> CmdError {
    CmdError::UnknownSubcommandOrArity { subcommand: preview(args.get(1)), container: "XINFO" }
}

fn integer(out: &mut ReplyBuf, value: u64) {
    out.integer(i64::try_from(value).unwrap_or(i64::MAX));
}

fn optional(out: &mut ReplyBuf, value: Option<i64>) {
    match value {
        Some(value) => out.integer(value),
        None => out.null(),
    }
}

fn entries_read(group: &Group) -> Option<i64> {
    group.entries_read.map(|read| i64::try_from(read).unwrap_or(i64::MAX))
}

fn xinfo_stream(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let now_ms = u64::try_from(ctx.db.clock_ms()).unwrap_or(0);
    ctx.db.read::<Stream>(args.key(2))?.ok_or(CmdError::NoSuchKey)?;
    let mut count = FULL_COUNT;
    match args.len() {
        3 => {}
        4 | 6 if args.is(3, "full") => {
            if args.len() == 6 {
                if !args.is(4, "count") {
                    return Err(wrong_arguments(args));
                }
                count = match args.integer(5)? {
                    ..0 => FULL_COUNT,
                    0 => usize::MAX,
                    count => count as usize,
                };
            }
        }
        _ => return Err(wrong_arguments(args)),
    }
    let full = args.len() > 3;
    let Some(stream) = ctx.db.peek::<Stream>(args.key(2))? else { return Ok(Flow::Done) };
    let out = &mut *ctx.out;
    let known = stream.idempotence();
    out.map(if full { 9 } else { 10 } + if known.is_some() { 6 } else { 0 });
    reply_facts(out, stream);
    if let Some(known) = known {
        let (producers, ids) = known.tracked(now_ms);
        for (name, value) in [
            ("idmp-duration", known.limits().duration_s),
            ("idmp-maxsize", known.limits().entries),
            ("pids-tracked", producers as u64),
            ("iids-tracked", ids as u64),
            ("iids-added", known.added),
            ("iids-duplicates", known.duplicates),
        ] {
            out.text(name);
            integer(out, value);
        }
    }
    match full {
        true => reply_full(out, stream, count),
        false => reply_edges(out, stream),
    }
    Ok(Flow::Done)
}

/// What short and full answers begin with.
fn reply_facts(out: &mut ReplyBuf, stream: &Stream) {
    let ids = stream.ids();
    out.text("length");
    integer(out, stream.len());
    out.text("radix-tree-keys");
    out.count(stream.node_count());
    out.text("radix-tree-nodes");
    out.count(radix_nodes(stream.nodes().map(|node| node.master)));
    out.text("last-generated-id");
    reply_id(out, ids.last);
    out.text("max-deleted-entry-id");
    reply_id(out, ids.max_deleted);
    out.text("entries-added");
    integer(out, ids.added);
    out.text("recorded-first-entry-id");
    reply_id(out, ids.first);
}

fn reply_edges(out: &mut ReplyBuf, stream: &Stream) {
    out.text("groups");
    out.count(stream.groups().len());
    for (name, end) in [("first-entry", End::Head), ("last-entry", End::Tail)] {
        out.text(name);
        match stream.entries(StreamId::MIN..=StreamId::MAX, end).next() {
            Some(entry) => reply_entry(out, &entry),
            None => out.null(),
        }
    }
}

fn reply_full(out: &mut ReplyBuf, stream: &Stream, count: usize) {
    out.text("entries");
    let (mark, mut replied) = (out.mark(), 0);
    for entry in stream.iter().take(count) {
        reply_entry(out, &entry);
        replied += 1;
    }
    out.array_at(mark, replied);
    out.text("groups");
    out.array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply_full_group(out, stream, (name, group), count);
    }
}

fn reply_full_group(
    out: &mut ReplyBuf,
    stream: &Stream,
    (name, group): (&[u8], &Group),
    count: usize,
) {
    out.map(7);
    out.text("name");
    out.bulk(name);
    out.text("last-delivered-id");
    reply_id(out, group.last_id);
    out.text("entries-read");
    optional(out, entries_read(group));
    out.text("lag");
    optional(out, stream.lag(group));
    out.text("pel-count");
    out.count(group.pending().len());
    out.text("pending");
    out.array(group.pending().len().min(count));
    for (id, pending) in group.pending().iter().take(count) {
        out.array(4);
        reply_id(out, *id);
        out.bulk(pending.consumer.map_or(b"", |owner| group.consumer(owner).name()));
        out.integer(pending.delivered_at_ms);
        integer(out, pending.deliveries);
    }
    out.text("consumers");
    out.array(group.consumers().len());
    for (_, consumer) in group.consumers() {
        reply_full_consumer(out, group, consumer, count);
    }
}

fn reply_full_consumer(out: &mut ReplyBuf, group: &Group, consumer: &Consumer, count: usize) {
    out.map(5);
    out.text("name");
    out.bulk(consumer.name());
    out.text("seen-time");
    out.integer(consumer.seen_at_ms);
    out.text("active-time");
    out.integer(consumer.active_at_ms.unwrap_or(-1));
    out.text("pel-count");
    out.count(consumer.pending().len());
    out.text("pending");
    let (mark, mut replied) = (out.mark(), 0);
    for id in consumer.pending().iter().take(count) {
        let Some(pending) = group.pending().get(id) else { continue };
        out.array(3);
        reply_id(out, *id);
        out.integer(pending.delivered_at_ms);
        integer(out, pending.deliveries);
        replied += 1;
    }
    out.array_at(mark, replied);
}

fn xinfo_groups(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let stream = ctx.db.read::<Stream>(args.key(2))?.ok_or(CmdError::NoSuchKey)?;
    let out = &mut *ctx.out;
    out.array(stream.groups().len());
    for (name, group) in stream.groups() {
        out.map(6);
        out.text("name");
        out.bulk(name);
        out.text("consumers");
        out.count(group.consumers().len());
        out.text("pending");
        out.count(group.pending().len());
        out.text("last-delivered-id");
        reply_id(out, group.last_id);
        out.text("entries-read");
        optional(out, entries_read(group));
        out.text("lag");
        optional(out, stream.lag(group));
    }
    Ok(Flow::Done)
}

fn xinfo_consumers(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let now_ms = ctx.db.clock_ms();
    let stream = ctx.db.read::<Stream>(args.key(2))?.ok_or(CmdError::NoSuchKey)?;
    let missing = || CmdError::NoGroupOf { key: preview(args.get(2)), group: preview(args.get(3)) };
    let group = stream.group(args.get(3)).ok_or_else(missing)?;
    let out = &mut *ctx.out;
    out.array(group.consumers().len());
    for (_, consumer) in group.consumers() {
        out.map(4);
        out.text("name");
        out.bulk(consumer.name());
        out.text("pending");
        out.count(consumer.pending().len());
        out.text("idle");
        out.integer(now_ms.saturating_sub(consumer.seen_at_ms).max(0));
        out.text("inactive");
        out.integer(consumer.active_at_ms.map_or(-1, |at_ms| now_ms.saturating_sub(at_ms)));
    }
    Ok(Flow::Done)
}

/// How many nodes Redis's radix tree of these ids has: one for each branch, for each run of bytes
/// between two branches, and for each id.
fn radix_nodes(ids: impl ExactSizeIterator<Item = StreamId>) -> usize {
    /// Bytes of an id in the tree.
    const LEN: usize = 16;
    let run = |below: Option<usize>, depth: usize| {
        // A byte leads from a branch to what is below it.
        usize::from(depth > below.map_or(0, |depth| depth + 1))
    };
    if ids.len() == 0 {
        return 1;
    }
    let (mut nodes, mut open): (usize, Vec<usize>) = (ids.len(), Vec::new());
    let (mut before, mut left): (Option<StreamId>, Option<usize>) = (None, None);
    for id in ids {
        let common = before.map(|before| common_bytes(before, id));
        if before.is_some() {
            nodes += run(left.max(common), LEN);
        }
        let depth = common.unwrap_or(0);
        while open.last().is_some_and(|top| common.is_some() && *top > depth) {
            let top = open.pop().unwrap_or(0);
            nodes += 1 + run(open.last().copied().max(common), top);
        }
        if common.is_some() && open.last() != Some(&depth) {
            open.push(depth);
        }
        (before, left) = (Some(id), common);
    }
    nodes += run(left, LEN);
    while let Some(top) = open.pop() {
        nodes += 1 + run(open.last().copied(), top);
    }
    nodes
}

/// How many bytes two ids have in common at their beginning.
fn common_bytes(one: StreamId, other: StreamId) -> usize {
    let word = |id: StreamId| u128::from(id.ms) << 64 | u128::from(id.seq);
    (word(one) ^ word(other)).leading_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_those_of_a_radix_tree() {
        let count = |ids: &[(u64, u64)]| {
            let ids: Vec<StreamId> = ids.iter().map(|(ms, seq)| StreamId::new(*ms, *seq)).collect();
            radix_nodes(ids.into_iter())
        };
        assert_eq!(count(&[]), 1);
        assert_eq!(count(&[(5, 0)]), 2);
        // A run, a branch, two runs, two ids.
        assert_eq!(count(&[(5, 0), (6, 0)]), 6);
        // The branch is at the last byte.
        assert_eq!(count(&[(5, 0), (5, 1), (5, 2)]), 5);
        // Branches within branches: run, branch at 7, run of (6, 0), below 5 a run and a branch at 15.
        assert_eq!(count(&[(5, 0), (5, 1), (6, 0)]), 8);
    }
}
