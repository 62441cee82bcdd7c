//! Streams as [`crate::persist::rdb::stream`] lays them out.

use super::{Format, collection_head, listpack, write};
use crate::persist::rdb::stream::{NEVER, NOBODY, READ_UNKNOWN};
use crate::persist::rdb::{Version, kind};
use crate::value::stream::{ConsumerId, Group, NodeView, Stream, StreamId};

/// The kind of streams in a version.
pub(super) fn kind_of(version: Version) -> u8 {
    match version >= Version::V11 {
        true => kind::STREAM_LISTPACKS_3,
        false => kind::STREAM_LISTPACKS_2,
    }
}

/// Begins a stream of `nodes` nodes; [`stream_node`]s, [`stream_ids`] and [`stream_groups`] follow.
pub fn stream_head(out: &mut Vec<u8>, key: &[u8], nodes: usize, format: Format) {
    collection_head(out, kind_of(format.version), key, format);
    write::len(out, nodes);
}

/// Writes a node of a stream.
pub fn stream_node(out: &mut Vec<u8>, node: NodeView<'_>, compress: bool) {
    write::string(out, &node.master.to_bytes(), compress);
    listpack(out, node.body, node.items, compress);
}

/// Writes what a stream remembers.
pub fn stream_ids(out: &mut Vec<u8>, stream: &Stream) {
    let ids = stream.ids();
    wide(out, stream.len());
    for part in [ids.last, ids.first, ids.max_deleted] {
        id(out, part);
    }
    wide(out, ids.added);
}

/// Writes the groups of a stream. What is in `out` is taken by `flush` now and then.
pub fn stream_groups<E>(
    out: &mut Vec<u8>,
    stream: &Stream,
    format: Format,
    mut flush: impl FnMut(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    write::len(out, stream.groups().len());
    for (name, group) in stream.groups() {
        write::string(out, name, format.compress);
        id(out, group.last_id);
        wide(out, group.entries_read.unwrap_or(READ_UNKNOWN));
        pending(out, group, &mut flush)?;
        let has_free = group.unowned() > 0;
        write::len(out, group.consumers().len() + usize::from(has_free));
        for (number, consumer) in group.consumers() {
            let times = (consumer.seen_at_ms, consumer.active_at_ms.unwrap_or(NEVER));
            consumer_head(out, consumer.name(), times, format);
            let ids = consumer.pending();
            debug_assert!(ids.iter().all(|id| owner(group, *id) == Some(number)));
            write::len(out, ids.len());
            ids.iter().for_each(|id| out.extend_from_slice(&id.to_bytes()));
            flush(out)?;
        }
        if has_free {
            let (name, seen_at_ms) = NOBODY;
            consumer_head(out, name, (seen_at_ms, NEVER), format);
            write::len(out, group.unowned());
            let free = group.pending().iter().filter(|(_, entry)| entry.consumer.is_none());
            free.for_each(|(id, _)| out.extend_from_slice(&id.to_bytes()));
        }
    }
    flush(out)
}

/// Writes a whole stream.
pub(super) fn body(out: &mut Vec<u8>, stream: &Stream, format: Format) {
    write::len(out, stream.node_count());
    stream.nodes().for_each(|node| stream_node(out, node, format.compress));
    stream_ids(out, stream);
    let result: Result<(), std::convert::Infallible> =
        stream_groups(out, stream, format, |_| Ok(()));
    let Ok(()) = result;
}

fn pending<E>(
    out: &mut Vec<u8>,
    group: &Group,
    flush: &mut impl FnMut(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    /// Entries between two flushes.
    const STEP: usize = 4096;
    write::len(out, group.pending().len());
    for (n, (id, entry)) in group.pending().iter().enumerate() {
        out.extend_from_slice(&id.to_bytes());
        out.extend_from_slice(&entry.delivered_at_ms.to_le_bytes());
        wide(out, entry.deliveries);
        if n % STEP == STEP - 1 {
            flush(out)?;
        }
    }
    flush(out)
}

fn consumer_head(out: &mut Vec<u8>, name: &[u8], (seen, active): (i64, i64), format: Format) {
    write::string(out, name, format.compress);
    out.extend_from_slice(&seen.to_le_bytes());
    if kind_of(format.version) == kind::STREAM_LISTPACKS_3 {
        out.extend_from_slice(&active.to_le_bytes());
    }
}

fn owner(group: &Group, id: StreamId) -> Option<ConsumerId> {
    group.pending().get(&id)?.consumer
}

fn id(out: &mut Vec<u8>, id: StreamId) {
    wide(out, id.ms);
    wide(out, id.seq);
}

fn wide(out: &mut Vec<u8>, number: u64) {
    write::len(out, usize::try_from(number).expect("addresses have 64 bits"));
}
