//! Where a value ends, found without decoding it.

use super::decode::{Dialect, refusal};
use super::error::RdbError;
use super::kind;
use super::read::Source;
use super::stream::{ID_LEN, Layout, TIME_LEN};

/// Bytes of a double and of a time.
const WORD_LEN: u64 = 8;

/// Passes over a value of `kind`.
pub fn value<S: Source>(source: &mut S, kind: u8, dialect: Dialect) -> Result<(), RdbError> {
    match kind {
        kind::STRING
        | kind::HASH_ZIPMAP
        | kind::LIST_ZIPLIST
        | kind::SET_INTSET
        | kind::ZSET_ZIPLIST
        | kind::HASH_ZIPLIST
        | kind::HASH_LISTPACK
        | kind::ZSET_LISTPACK
        | kind::SET_LISTPACK
        | kind::HASH_LISTPACK_EX_PRE_GA => source.skip_text("value"),
        kind::LIST | kind::SET | kind::LIST_QUICKLIST => {
            each(source, |source| source.skip_text("element"))
        }
        kind::HASH => each(source, skip_pair),
        kind::ZSET => each(source, |source| {
            source.skip_text("element")?;
            source.skip_text_double("score")
        }),
        kind::ZSET_2 => each(source, |source| {
            source.skip_text("element")?;
            source.skip(WORD_LEN, "score")
        }),
        kind::LIST_QUICKLIST_2 => each(source, |source| {
            source.len("list node")?;
            source.skip_text("list node")
        }),
        kind::VALKEY_HASH_2 if dialect == Dialect::Valkey => each(source, |source| {
            skip_pair(source)?;
            source.skip(WORD_LEN, "field deadline")
        }),
        kind::HASH_METADATA_PRE_GA => each(source, skip_volatile_pair),
        kind::HASH_METADATA => {
            source.skip(WORD_LEN, "field deadline")?;
            each(source, skip_volatile_pair)
        }
        kind::HASH_LISTPACK_EX => {
            source.skip(WORD_LEN, "field deadline")?;
            source.skip_text("value")
        }
        _ => match Layout::of(kind) {
            Some(layout) => stream(source, kind, layout),
            None => Err(refusal(kind, source)),
        },
    }
}

fn stream<S: Source>(source: &mut S, kind: u8, layout: Layout) -> Result<(), RdbError> {
    const WHAT: &str = "stream";
    each(source, |source| {
        source.skip_text("stream node")?;
        source.skip_text("stream node")
    })?;
    lens(source, if layout >= Layout::Counted { 8 } else { 3 })?;
    each(source, |source| {
        source.skip_text("stream group")?;
        lens(source, if layout >= Layout::Counted { 3 } else { 2 })?;
        each(source, |source| {
            source.skip((ID_LEN + TIME_LEN) as u64, "pending entry")?;
            lens(source, 1)
        })?;
        let times = if layout >= Layout::Active { 2 } else { 1 };
        each(source, |source| {
            source.skip_text("stream consumer")?;
            source.skip(times * TIME_LEN as u64, "stream consumer")?;
            ids(source)
        })?;
        if layout >= Layout::Released { ids(source) } else { Ok(()) }
    })?;
    if layout >= Layout::Messages {
        lens(source, 2)?;
        if source.len(WHAT)? > 0 {
            return Err(refusal(kind, source));
        }
        lens(source, 2)?;
    }
    Ok(())
}

fn lens<S: Source>(source: &mut S, count: usize) -> Result<(), RdbError> {
    (0..count).try_for_each(|_| source.len("stream").map(drop))
}

fn ids<S: Source>(source: &mut S) -> Result<(), RdbError> {
    each(source, |source| source.skip(ID_LEN as u64, "stream id"))
}

fn each<S: Source>(
    source: &mut S,
    mut skip: impl FnMut(&mut S) -> Result<(), RdbError>,
) -> Result<(), RdbError> {
    for _ in 0..source.len("length")? {
        skip(source)?;
    }
    Ok(())
}

fn skip_pair<S: Source>(source: &mut S) -> Result<(), RdbError> {
    source.skip_text("field")?;
    source.skip_text("value")
}

fn skip_volatile_pair<S: Source>(source: &mut S) -> Result<(), RdbError> {
    source.len("field deadline")?;
    skip_pair(source)
}
