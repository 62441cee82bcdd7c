//! Streams, laid out as [`crate::persist::rdb::stream`] says.

use super::{Decoder, Restored, damage};
use crate::encoding::Corrupt;
use crate::persist::rdb::error::RdbError;
use crate::persist::rdb::read::{Scratch, Source};
use crate::persist::rdb::stream::{Layout, NOBODY, READ_UNKNOWN};
use crate::value::Value;
use crate::value::stream::{Group, Stream, StreamId};

const WHAT: &str = "stream";

impl Decoder<'_> {
    /// A stream of any kind.
    pub(super) fn stream<S: Source>(
        &self,
        (kind, layout): (u8, Layout),
        source: &mut S,
        scratch: &mut Scratch,
    ) -> Result<Restored<'static>, RdbError> {
        let mut stream = Stream::default();
        for _ in 0..source.len(WHAT)? {
            let Ok(master) = source.bytes(scratch, WHAT)?.try_into().map(StreamId::from_bytes)
            else {
                return Err(source.corrupt(WHAT, "Stream node key is not a stream ID"));
            };
            let at = source.at();
            let whole = source.bytes(scratch, WHAT)?;
            stream.load_node(master, whole).map_err(damage(at, WHAT))?;
        }
        ids(&mut stream, layout, source)?;
        for _ in 0..source.len("stream group")? {
            group(&mut stream, layout, source, scratch)?;
        }
        if layout >= Layout::Messages {
            messages(kind, source)?;
        }
        Ok(Restored::object(Value::Stream(Box::new(stream))))
    }
}

/// What the stream remembers.
fn ids<S: Source>(stream: &mut Stream, layout: Layout, source: &mut S) -> Result<(), RdbError> {
    let (len, last) = (source.len(WHAT)?, id(source)?);
    let (mut max_deleted, mut added) = (StreamId::MIN, None);
    if layout >= Layout::Counted {
        // The first id is that of the first entry.
        id(source)?;
        max_deleted = id(source)?;
        added = Some(source.len(WHAT)?);
    }
    stream.load_ids(len, last, max_deleted, added).map_err(damage(source.at(), WHAT))
}

fn group<S: Source>(
    stream: &mut Stream,
    layout: Layout,
    source: &mut S,
    scratch: &mut Scratch,
) -> Result<(), RdbError> {
    const WHAT: &str = "stream group";
    let name = source.owned(scratch, WHAT)?;
    let last = id(source)?;
    let read = match layout >= Layout::Counted {
        true => Some(source.len(WHAT)?).filter(|read| *read != READ_UNKNOWN),
        false => stream.ids().added_up_to(stream.len(), last),
    };
    let Some(group) = stream.create_group(&name, last, read) else {
        return Err(source.corrupt(WHAT, "Duplicated consumer group name"));
    };
    for _ in 0..source.len("pending entries")? {
        let id = StreamId::from_bytes(source.array(WHAT)?);
        let delivered_at_ms = i64::from_le_bytes(source.array(WHAT)?);
        let deliveries = source.len(WHAT)?;
        group.load_pending(id, delivered_at_ms, deliveries).map_err(of(source))?;
    }
    let mut released = 0usize;
    for _ in 0..source.len("stream consumers")? {
        released += consumer(group, layout, source, scratch)?;
    }
    if layout >= Layout::Released {
        released += free(group, source)?;
    }
    match group.unowned() == released {
        true => Ok(()),
        false => Err(source.corrupt(WHAT, "Pending entry without consumer")),
    }
}

/// Reads a consumer with its entries; returns how many of them are of nobody.
fn consumer<S: Source>(
    group: &mut Group,
    layout: Layout,
    source: &mut S,
    scratch: &mut Scratch,
) -> Result<usize, RdbError> {
    const WHAT: &str = "stream consumer";
    let name = source.owned(scratch, WHAT)?;
    let seen_at_ms = i64::from_le_bytes(source.array(WHAT)?);
    let active_at_ms = match layout >= Layout::Active {
        true => Some(i64::from_le_bytes(source.array(WHAT)?)).filter(|at_ms| *at_ms >= 0),
        false => Some(seen_at_ms),
    };
    if (&*name, seen_at_ms) == NOBODY {
        return free(group, source);
    }
    let consumer = group.load_consumer(&name, seen_at_ms, active_at_ms).map_err(of(source))?;
    for _ in 0..source.len(WHAT)? {
        let id = StreamId::from_bytes(source.array(WHAT)?);
        group.load_owner(id, consumer).map_err(of(source))?;
    }
    Ok(0)
}

/// Reads the pending entries that are of nobody; returns how many they are.
fn free<S: Source>(group: &Group, source: &mut S) -> Result<usize, RdbError> {
    const WHAT: &str = "released entries";
    let count = source.len(WHAT)?;
    for _ in 0..count {
        let id = StreamId::from_bytes(source.array(WHAT)?);
        let entry = group.pending().get(&id);
        if entry.is_none_or(|entry| entry.consumer.is_some()) {
            return Err(
                source.corrupt(WHAT, "Released entry that is not pending or has a consumer")
            );
        }
    }
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Reads which messages are refused when they come again. How they are written is not known here,
/// only how it is written that there are none.
fn messages<S: Source>(kind: u8, source: &mut S) -> Result<(), RdbError> {
    const WHAT: &str = "stream messages";
    let (_seconds, _most) = (source.len(WHAT)?, source.len(WHAT)?);
    if source.len(WHAT)? > 0 {
        return Err(super::refusal(kind, source));
    }
    let (_added, _refused) = (source.len(WHAT)?, source.len(WHAT)?);
    Ok(())
}

fn id<S: Source>(source: &mut S) -> Result<StreamId, RdbError> {
    Ok(StreamId::new(source.len("stream id")?, source.len("stream id")?))
}

/// What is wrong with what was read last.
fn of<S: Source>(source: &S) -> impl Fn(Corrupt) -> RdbError {
    let at = source.at();
    move |corrupt| RdbError::Corrupt { at, what: "stream group", why: corrupt.what }
}
