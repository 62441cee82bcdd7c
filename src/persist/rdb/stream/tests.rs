//! Payloads that Redis replied to DUMP, in hexadecimal, read and written again; and what is wrong
//! with others.

use super::*;
use crate::base::hash::KeyHasher;
use crate::keyspace::Entry;
use crate::persist::rdb::decode::{Decoder, Dialect};
use crate::persist::rdb::error::RdbError;
use crate::persist::rdb::read::{Scratch, Slice};
use crate::persist::rdb::{Format, Usage, Version, compress, payload, save, skim, write};
use crate::value::limits::Limits;
use crate::value::stream::{Pending, Stream, StreamId};
use crate::value::{EditContext, Value, ValueView};

/// Of 7.0.15: five nodes' worth of entries with one deleted, a group with entries of two consumers
/// and a consumer without, a group without consumers.
const BUSY_7_0: &str = "13021000000000000000010000000000000001c34041404812480000001800020101010201816102\
    816202002009000020010b010185746578743106050103200c401660100032201000022001000020\
    1660100033201000ff1000000000000000040000000000000001c34043404a114a00000019000301\
    000102018161028162024009000020010904018574657874340605201a0001201000058010003520\
    1080230d0101856f746865720601010601ff0506010101020106020167040181ffffffffffffffff\
    0300000000000000010000000000000001d69e5724a2010000010000000000000003000000000000\
    0001d69e5724a20100000100000000000000040000000000000001e39e5724a2010000010305616c\
    696365d69e5724a20100000200000000000000010000000000000001000000000000000300000000\
    0000000103626f62e39e5724a201000001000000000000000400000000000000010469646c65eb9e\
    5724a2010000000168030181ffffffffffffffff00000a0082cec4221cbe7545";
/// Of 7.0.15: an empty stream with a group.
const EMPTY_7_0: &str = "1300000101000000000101016700000500000a0036cfcb6994855a48";
/// Of 8.0.6: the same as the first, after one more delivery.
const BUSY_8_0: &str = "15021000000000000000010000000000000001c34041404812480000001800020101010201816102\
    816202002009000020010b010185746578743106050103200c401660100032201000022001000020\
    1660100033201000ff1000000000000000040000000000000001c34043404a114a00000019000301\
    000102018161028162024009000020010904018574657874340605201a0001201000058010003520\
    1080230d0101856f746865720601010601ff0506010101020106020167050181ffffffffffffffff\
    0400000000000000010000000000000001d69e5724a2010000010000000000000003000000000000\
    0001d69e5724a20100000100000000000000040000000000000001e39e5724a20100000100000000\
    00000005000000000000000194a55724a2010000010305616c69636594a55724a201000094a55724\
    a2010000030000000000000001000000000000000100000000000000030000000000000001000000\
    0000000005000000000000000103626f62e39e5724a2010000e39e5724a201000001000000000000\
    000400000000000000010469646c65eb9e5724a2010000eb9e5724a2010000000168030181ffffff\
    ffffffffff00000c0012fcc9a6ce4f6c75";
/// Of 8.0.6: an empty stream with a consumer that never got anything.
const EMPTY_8_0: &str = "15000001010000000001010167000005000105616c69636595a55724a2010000ffffffffffffffff\
    000c006bf9fb9f92129027";

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| char::from(hex.as_bytes()[at]).to_digit(16).expect("a digit") as u8;
    (0..hex.len() / 2).map(|n| digit(2 * n) << 4 | digit(2 * n + 1)).collect()
}

/// Kind and body of a payload that is sound.
fn body(hex: &str) -> Vec<u8> {
    payload::open(&bytes(hex), true).expect("the footer is right").0.to_vec()
}

fn decode(kind: u8, body: &[u8]) -> Result<Stream, RdbError> {
    let (limits, hasher) = (Limits::default(), KeyHasher::seeded(1));
    let context = EditContext { limits: &limits, hasher: &hasher, now_ms: 0 };
    let decoder = Decoder { context, dialect: Dialect::Redis, drops_fields: false };
    let (mut source, mut scratch) = (Slice::new(body, 0), Scratch::default());
    let mut restored = decoder.value(kind, &mut source, &mut scratch)?;
    let entry = Entry::new(b"key", restored.as_new_value(), None, 0);
    assert_eq!(source.taken(), body.len());
    let Some(Value::Stream(stream)) = entry.view().object() else { panic!("a stream") };
    Ok((**stream).clone())
}

fn encode(stream: &Stream, version: Version, compress: bool) -> Vec<u8> {
    let value = Value::Stream(Box::new(stream.clone()));
    let (mut out, format) = (Vec::new(), Format { version, compress });
    save::payload_value(&mut out, ValueView::Object(&value), format).expect("all have streams");
    out
}

fn why(kind: u8, body: &[u8]) -> String {
    decode(kind, body).expect_err("it is damaged").to_string()
}

/// A stream with an entry that was given back.
fn released() -> Stream {
    let body = body(BUSY_7_0);
    let mut stream = decode(body[0], &body[1..]).expect("it is sound");
    let group = stream.group_mut(b"g").expect("there is one");
    let (id, entry) = group.pending().iter().next().map(|(id, entry)| (*id, *entry)).expect("some");
    group.set_pending(id, Pending { consumer: None, ..entry });
    stream
}

#[test]
fn payloads_of_redis_are_written_as_they_were_read() {
    for (hex, version) in [
        (BUSY_7_0, Version::V10),
        (EMPTY_7_0, Version::V10),
        (BUSY_8_0, Version::V12),
        (EMPTY_8_0, Version::V11),
    ] {
        let body = body(hex);
        let stream = decode(body[0], &body[1..]).expect("it is sound");
        assert_eq!(encode(&stream, version, true), body);
        let mut source = Slice::new(&body[1..], 0);
        skim::value(&mut source, body[0], Dialect::Redis).expect("its end is found");
        assert_eq!(source.taken(), body.len() - 1);
    }
}

#[test]
fn all_of_a_stream_is_read() {
    let body = body(BUSY_8_0);
    let stream = decode(body[0], &body[1..]).expect("it is sound");
    let ids: Vec<u64> = stream.iter().map(|entry| entry.id.ms).collect();
    assert_eq!(ids, [1, 3, 4, 5, 6]);
    let (id, ids) = (StreamId::new, stream.ids());
    assert_eq!(
        (ids.last, ids.first, ids.max_deleted, ids.added),
        (id(6, 1), id(1, 1), id(2, 1), 6)
    );
    let group = stream.group(b"g").expect("there is one");
    assert_eq!((group.last_id, group.entries_read), (id(5, 1), None));
    let consumers: Vec<(&[u8], usize, bool)> = group
        .consumers()
        .map(|(_, consumer)| {
            let active = consumer.active_at_ms.is_some();
            (consumer.name(), consumer.pending().len(), active)
        })
        .collect();
    assert_eq!(consumers, [(&b"alice"[..], 3, true), (b"bob", 1, true), (b"idle", 0, true)]);
    assert_eq!(stream.group(b"h").expect("there is one").consumers().len(), 0);
}

#[test]
fn redis_5_counts_neither_entries_nor_what_was_delivered() {
    // One entry, 5-0, in a node; one group behind it.
    let node = node();
    let mut body = vec![1];
    write::string(&mut body, &[&5u64.to_be_bytes()[..], &[0; 8]].concat(), false);
    write::string(&mut body, &node, false);
    body.extend_from_slice(&[1, 5, 0, 1, 1, b'g', 5, 0, 0, 0]);
    let stream = decode(kind::STREAM_LISTPACKS, &body).expect("it is sound");
    assert_eq!((stream.ids().added, stream.ids().first), (1, StreamId::new(5, 0)));
    assert_eq!(stream.group(b"g").and_then(|group| group.entries_read), Some(1));
}

/// The listpack of a node with the entry 5-0, field `a` of value `v`.
fn node() -> Vec<u8> {
    let mut stream = Stream::default();
    let limits = crate::value::stream::NodeLimits { bytes: 0, entries: 0 };
    stream.append(StreamId::new(5, 0), [(&b"a"[..], &b"v"[..])].into_iter(), limits);
    let node = stream.nodes().next().expect("one");
    let header = crate::encoding::listpack::header(node.body, node.items);
    [&header[..], node.body, &[crate::encoding::listpack::END]].concat()
}

#[test]
fn entries_of_nobody_survive_in_every_version() {
    for version in [Version::V10, Version::V11, Version::V12, Version::V80] {
        let body = encode(&released(), version, false);
        let stream = decode(body[0], &body[1..]).expect("it is sound");
        let group = stream.group(b"g").expect("there is one");
        assert_eq!((group.unowned(), group.consumers().len()), (1, 3));
        assert_eq!(encode(&stream, version, false), body);
    }
}

#[test]
fn what_redis_8_6_and_8_8_add_is_read_as_far_as_it_is_known() {
    let old = body(EMPTY_8_0);
    let added = [50, 0x40, 100, 0, 0, 0];
    let four = [&old[1..], &added].concat();
    assert_eq!(decode(kind::STREAM_LISTPACKS_4, &four).expect("it is sound").groups().len(), 1);
    let five = [&old[1..], &[0], &added].concat();
    assert_eq!(decode(kind::STREAM_LISTPACKS_5, &five).expect("it is sound").groups().len(), 1);
    for (kind, body) in [(kind::STREAM_LISTPACKS_4, &four), (kind::STREAM_LISTPACKS_5, &five)] {
        let mut source = Slice::new(body, 0);
        skim::value(&mut source, kind, Dialect::Redis).expect("its end is found");
        assert_eq!(source.taken(), body.len());
    }
    let messages = [&old[1..], &[50, 0x40, 100, 1, 0, 0]].concat();
    let unknown = "Values of type 26 (stream-v4) are not supported";
    assert_eq!(why(kind::STREAM_LISTPACKS_4, &messages), unknown);
    let strange = [&old[1..], &[1], &[0; 16][..], &added].concat();
    assert_eq!(
        why(kind::STREAM_LISTPACKS_5, &strange),
        "Released entry that is not pending or has a consumer"
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    let whole = body(BUSY_7_0);
    for len in 1..whole.len() {
        assert!(decode(whole[0], &whole[1..len]).is_err(), "cut to {len}");
    }
    for at in 1..whole.len() {
        for flip in [1, 0x40, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            // An error, or another stream that can be written and read again.
            let Ok(stream) = std::panic::catch_unwind(|| decode(whole[0], &damaged[1..]))
                .map_err(|_| format!("panics when byte {at} is {:#x}", damaged[at]))
                .expect("no bytes panic")
            else {
                continue;
            };
            let again = encode(&stream, Version::V10, true);
            assert!(decode(again[0], &again[1..]).is_ok(), "byte {at}");
        }
    }
    let group = |pending: &[u8], consumers: &[u8]| {
        // No entries, all ids 1-1, one group.
        let head = [0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1, b'g', 0, 0, 0];
        [&head[..], pending, consumers].concat()
    };
    let id = [[0; 7].as_slice(), &[1], &[0; 7], &[1]].concat();
    let pending = [&[1][..], &id, &[0; 8], &[1]].concat();
    let consumer = |ids: &[u8]| [&[1, b'c'][..], &[0; 8], ids].concat();
    let kind = kind::STREAM_LISTPACKS_2;
    let owned = [&[1][..], &consumer(&[&[1][..], &id].concat())].concat();
    assert!(decode(kind, &group(&pending, &owned)).is_ok());
    assert_eq!(why(kind, &group(&pending, &[0])), "Pending entry without consumer");
    let twice = [&[2][..], &consumer(&[0]), &consumer(&[0])].concat();
    assert_eq!(why(kind, &group(&[0], &twice)), "consumer twice in a group");
    let foreign = "consumer's entry not in its group's list";
    assert_eq!(why(kind, &group(&[0], &owned)), foreign);
    let both = [&[2][..], &id, &[0; 8], &[1], &id, &[0; 8], &[1]].concat();
    assert_eq!(why(kind, &group(&both, &[0])), "entry twice in a group's list");
    let len = [1, 0, 1, 1, 0, 0, 0, 0, 1, 0];
    assert!(decode(kind, &len).is_err());
}

#[test]
fn what_is_compressed_afterwards_is_the_same() {
    for version in [Version::V10, Version::V12] {
        let value = Value::Stream(Box::new(released()));
        let entry = Entry::new(b"key", crate::keyspace::NewValue::Object(Box::new(value)), None, 0);
        let written = |compress| {
            let (mut out, format) = (Vec::new(), Format { version, compress });
            save::entry(&mut out, entry.view(), Usage::default(), format).expect("it has streams");
            out
        };
        let mut out = Vec::new();
        compress::entries(&written(false), &mut out);
        assert_eq!(out, written(true));
        assert!(out.len() < written(false).len());
    }
}
