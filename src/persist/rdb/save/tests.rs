//! Exact bytes: those for version 10 are what Redis 7.0.15 replied to DUMP of the same values.

use super::*;
use crate::base::hash::KeyHasher;
use crate::encoding::End;
use crate::encoding::field::NewFieldValue;
use crate::keyspace::{Entry, NewValue};
use crate::persist::rdb::payload;
use crate::value::limits::Limits;
use crate::value::packed::{Draft, Place};
use crate::value::zset::ZSet;
use crate::value::{Collection, EditContext, FieldTtl, Hash, List, NewStr, Set};

const fn plain(version: Version) -> Format {
    Format { version, compress: false }
}

const V10: Format = plain(Version::V10);

/// Where values convert, some of it set.
fn limits(set: &[(&str, i64)]) -> Limits {
    let (limits, defaults) = (
        Limits::default(),
        [
            ("list-max-listpack-size", -2),
            ("hash-max-listpack-entries", 512),
            ("hash-max-listpack-value", 64),
            ("set-max-intset-entries", 512),
            ("set-max-listpack-entries", 128),
            ("set-max-listpack-value", 64),
            ("zset-max-listpack-entries", 128),
            ("zset-max-listpack-value", 64),
        ],
    );
    limits.set_all(|name| {
        let value_in = |pairs: &[(&str, i64)]| {
            pairs.iter().find(|(directive, _)| *directive == name).map(|(_, value)| *value)
        };
        value_in(set).or_else(|| value_in(&defaults)).unwrap_or(0)
    });
    limits
}

/// What `fill` makes of an empty collection.
fn built<K: Collection>(limits: &Limits, fill: impl FnOnce(K::Edit<'_>)) -> Draft {
    let mut draft = Draft::fresh(K::FRESH);
    let hasher = KeyHasher::seeded(1);
    fill(K::edit(&mut draft, EditContext { limits, hasher: &hasher, now_ms: 0 }));
    draft
}

fn view(draft: &Draft) -> ValueView<'_> {
    match draft.object() {
        Some(object) => ValueView::Object(object),
        None => ValueView::Packed(draft.packed().expect("a draft is packed or an object")),
    }
}

fn body(value: ValueView<'_>, format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(payload_value(&mut out, value, format), Ok(format.version));
    out
}

fn list(limits: &Limits, items: &[&[u8]]) -> Draft {
    built::<List>(limits, |mut list| {
        items.iter().for_each(|item| list.push(End::Tail, std::iter::once(*item)));
    })
}

fn set(limits: &Limits, members: &[&str]) -> Draft {
    built::<Set>(limits, |mut set| {
        members.iter().for_each(|member| {
            set.insert(member.as_bytes());
        });
    })
}

fn zset(limits: &Limits) -> Draft {
    built::<ZSet>(limits, |mut set| {
        for (score, member) in [(1.5, b"a"), (f64::NEG_INFINITY, b"b"), (2.0, b"c")] {
            set.update(member, |_| Some(score));
        }
    })
}

fn table(fields: &[(&str, &str, Option<i64>)]) -> Value {
    let (mut table, hasher) = (HashTable::with_room(fields.len()), KeyHasher::seeded(1));
    for (name, value, deadline) in fields {
        let (name, value) = (name.as_bytes(), NewFieldValue::Bytes(value.as_bytes()));
        table.set(name, value, &hasher, Some);
        table.set_deadline(name, *deadline);
    }
    Value::Hash(table)
}

#[test]
fn payloads_of_strings_are_those_of_redis() {
    let payload = |value| {
        let mut out = body(ValueView::Str(value), V10);
        payload::seal(&mut out, Version::V10);
        out
    };
    let bytes = |bytes| StrView::Bytes { bytes, raw: false };
    assert_eq!(payload(bytes(b"hello")), b"\x00\x05hello\x0a\x00cr\xdfve4 \x0a");
    assert_eq!(payload(StrView::Int(-300)), b"\x00\xc1\xd4\xfe\x0a\x00\xc6\xc4\x86#\xfe\xbe\xde.");
    let long = b"\x00\x0b12345678901\x0a\x000NR\xd7'\x17e\x10";
    assert_eq!(payload(StrView::Int(12_345_678_901)), long);
    assert_eq!(payload(bytes(b"12")), b"\x00\xc0\x0c\x0a\x00<*\xf8Q\x5c\x04\xbc\xd5");
}

#[test]
fn lists_are_rows_of_nodes() {
    let items: [&[u8]; 4] = [b"a", b"12", b"-70000", &[b'b'; 70]];
    let expected = [
        b"\x12\x01\x02@ZZ\x00\x00\x00\x04\x00\x81a\x02\x0c\x01\xf2\x90\xee\xfe\x04\xe0F",
        &[b'b'; 70][..],
        b"H\xff",
    ];
    assert_eq!(body(view(&list(&limits(&[]), &items)), V10), expected.concat());
    let rows = limits(&[("list-max-listpack-size", 2)]);
    let expected = b"\x12\x02\x02\x0d\x0d\x00\x00\x00\x02\x00\x81a\x02\x81b\x02\xff\
                     \x02\x0a\x0a\x00\x00\x00\x01\x00\x81c\x02\xff";
    assert_eq!(body(view(&list(&rows, &[b"a", b"b", b"c"])), V10), expected);
    let expected = b"\x12\x03\x02\x0a\x0a\x00\x00\x00\x01\x00\x81a\x02\xff\
                     \x01\x09plainnode\x02\x0a\x0a\x00\x00\x00\x01\x00\x81c\x02\xff";
    let mut items = Quicklist::new(crate::encoding::quicklist::Fill::Items(2), 0);
    items.set_plain_len(5);
    [&b"a"[..], b"plainnode", b"c"].iter().for_each(|item| items.push(End::Tail, item));
    assert_eq!(body(Value::List(Box::new(items)).view(), V10), expected);
}

#[test]
fn nodes_that_are_compressed_in_memory_are_opened() {
    let long = [b'x'; 300];
    let items = [&long[..]; 40];
    let (open, packed) = (
        limits(&[("list-max-listpack-size", 2)]),
        limits(&[("list-max-listpack-size", 2), ("list-compress-depth", 1)]),
    );
    let (open, packed) = (list(&open, &items), list(&packed, &items));
    assert_eq!(body(view(&open), V10), body(view(&packed), V10));
}

#[test]
fn sets_are_intsets_listpacks_or_members() {
    let limits = limits(&[]);
    let ints =
        b"\x0b\x14\x04\x00\x00\x00\x03\x00\x00\x00\x01\x00\x00\x00\x03\x00\x00\x00p\x11\x01\x00";
    assert_eq!(body(view(&set(&limits, &["3", "1", "70000"])), V10), ints);
    let texts = set(&limits, &["only", "17"]);
    assert_eq!(body(view(&texts), V10), b"\x02\x02\x04only\xc0\x11");
    let listpack = b"\x14\x0f\x0f\x00\x00\x00\x02\x00\x84only\x05\x11\x01\xff";
    for version in [Version::V11, Version::V12, Version::V80] {
        assert_eq!(body(view(&texts), plain(version)), listpack);
    }
}

#[test]
fn sorted_sets_are_listpacks_or_members_with_scores() {
    let small = b"\x11\x1d\x1d\x00\x00\x00\x06\x00\x81b\x02\x84-inf\x05\x81a\x02\x831.5\x04\
                  \x81c\x02\x02\x01\xff";
    assert_eq!(body(view(&zset(&limits(&[]))), V10), small);
    let large = b"\x05\x03\x01c\x00\x00\x00\x00\x00\x00\x00@\x01a\x00\x00\x00\x00\x00\x00\xf8?\
                  \x01b\x00\x00\x00\x00\x00\x00\xf0\xff";
    let none = limits(&[("zset-max-listpack-entries", 0)]);
    assert_eq!(body(view(&zset(&none)), V10), large);
}

#[test]
fn hashes_are_listpacks_or_fields() {
    let limits = limits(&[]);
    let small = built::<Hash>(&limits, |mut hash| {
        hash.set(b"f", NewFieldValue::Bytes(b"v"), FieldTtl::Clear);
        hash.set(b"n", NewFieldValue::Bytes(b"17"), FieldTtl::Clear);
    });
    let expected = b"\x10\x12\x12\x00\x00\x00\x04\x00\x81f\x02\x81v\x02\x81n\x02\x11\x01\xff";
    assert_eq!(body(view(&small), V10), expected);
    assert_eq!(body(table(&[("f", "12345", None)]).view(), V10), b"\x04\x01\x01f\xc190");
}

#[test]
fn deadlines_of_fields_need_version_12_or_80() {
    let hash = table(&[("a", "v", Some(1000)), ("b", "w", None), ("c", "x", Some(1063))]);
    for version in [Version::V10, Version::V11] {
        let mut out = vec![7];
        let refused = payload_value(&mut out, hash.view(), plain(version));
        assert_eq!((refused, &out[..]), (Err(Inexpressible(version)), &[7][..]));
    }
    // The order of fields is that of a short list.
    let redis =
        b"\x18\xe8\x03\x00\x00\x00\x00\x00\x00\x03\x01\x01a\x01v\x00\x01b\x01w\x40\x40\x01c\x01x";
    assert_eq!(body(hash.view(), plain(Version::V12)), redis);
    let valkey = [
        &b"\x16\x03\x01a\x01v\xe8\x03\x00\x00\x00\x00\x00\x00"[..],
        b"\x01b\x01w\xff\xff\xff\xff\xff\xff\xff\xff\x01c\x01x\x27\x04\x00\x00\x00\x00\x00\x00",
    ];
    assert_eq!(body(hash.view(), plain(Version::V80)), valkey.concat());
    let none_left = table(&[("a", "v", Some(1000)), ("b", "w", None)]);
    let Value::Hash(mut fields) = none_left else { panic!("it is a hash") };
    fields.set_deadline(b"a", None);
    assert_eq!(body(Value::Hash(fields).view(), V10), b"\x04\x02\x01a\x01v\x01b\x01w");
}

#[test]
fn entries_begin_with_deadline_and_usage() {
    let value = NewValue::Str(NewStr::Int(1));
    let key = Entry::new(b"key", value, Some(0x0102), 0);
    let mut out = Vec::new();
    let usage = Usage { idle_seconds: Some(100), frequency: Some(255) };
    assert_eq!(entry(&mut out, key.view(), usage, V10), Ok(()));
    let expected = b"\xfc\x02\x01\x00\x00\x00\x00\x00\x00\xf8\x40\x64\xf9\xff\x00\x03key\xc0\x01";
    assert_eq!(out, expected);
    let hash = NewValue::Object(Box::new(table(&[("a", "v", Some(1000))])));
    let key = Entry::new(b"key", hash, Some(1), 0);
    let refused = entry(&mut out, key.view(), usage, V10);
    assert_eq!((refused, out.len()), (Err(Inexpressible(Version::V10)), expected.len()));
}

#[test]
fn pieces_make_what_the_whole_makes() {
    let format = plain(Version::V12);
    let hash = table(&[("a", "v", Some(1000)), ("b", "w", None)]);
    let Value::Hash(fields) = &hash else { panic!("it is a hash") };
    let (mut whole, mut pieces) = (Vec::new(), Vec::new());
    assert_eq!(value(&mut whole, b"key", hash.view(), format), Ok(()));
    assert_eq!(field_hash_head(&mut pieces, b"key", fields.len(), 1000, format), Ok(()));
    fields.for_each(|field| field_hash_item(&mut pieces, field, 1000, format));
    assert_eq!(pieces, whole);
    assert!(field_hash_head(&mut pieces, b"key", 1, 1, V10).is_err());

    let large = limits(&[("zset-max-listpack-entries", 0)]);
    let scores = zset(&large);
    let Some(Value::ZSet(set)) = scores.object() else { panic!("it is large") };
    let (mut whole, mut pieces) = (Vec::new(), Vec::new());
    assert_eq!(value(&mut whole, b"key", view(&scores), format), Ok(()));
    zset_head(&mut pieces, b"key", set.len(), format);
    let highest_first = set.range(0..set.len()).rev();
    highest_first.for_each(|(member, score)| zset_item(&mut pieces, member, score, false));
    assert_eq!(pieces, whole);

    let mut pieces = Vec::new();
    hash_head(&mut pieces, b"h", 2, V10);
    fields.for_each(|field| hash_item(&mut pieces, field, false));
    set_head(&mut pieces, b"s", 1, V10);
    set_item(&mut pieces, b"5", false);
    assert_eq!(pieces, b"\x04\x01h\x02\x01a\x01v\x01b\x01w\x02\x01s\x01\xc0\x05");
}

#[test]
fn compression_is_left_out_where_it_is_not_wanted() {
    let text = [b'a'; 100];
    let value = ValueView::Str(StrView::Bytes { bytes: &text, raw: false });
    let packed = body(value, Format { version: Version::V10, compress: true });
    assert_eq!(packed[..2], [0, 0xc3]);
    assert_eq!(body(value, V10).len(), 103);
}

/// Writes `value` in both ways, behind all that can stand before it.
fn check_compressed_afterwards(value: ValueView<'_>, version: Version) {
    let usages = [
        Usage::default(),
        Usage { idle_seconds: Some(70_000), frequency: None },
        Usage { idle_seconds: None, frequency: Some(3) },
    ];
    let (mut plain, mut compressed) = (Vec::new(), Vec::new());
    for (number, usage) in usages.into_iter().enumerate() {
        let key = format!("key {number} {}", "k".repeat(number * 60));
        for (out, compress) in [(&mut plain, false), (&mut compressed, true)] {
            head(out, (number > 0).then_some(1_700_000_000_000), usage);
            super::value(out, key.as_bytes(), value, Format { version, compress }).unwrap();
        }
    }
    let mut afterwards = Vec::new();
    crate::persist::rdb::compress::entries(&plain, &mut afterwards);
    assert_eq!(afterwards, compressed, "{value:?}");
    assert!(plain != compressed);
}

#[test]
fn what_is_compressed_afterwards_is_the_same() {
    let long = |number: usize| format!("{number} {}", "abc".repeat(30 + number % 50)).into_bytes();
    let few = limits(&[]);
    let small = limits(&[("hash-max-listpack-entries", 0), ("zset-max-listpack-entries", 0)]);
    for text in [&b"12"[..], b"-70000", b"3000000000", &long(1), &long(9).repeat(300)] {
        check_compressed_afterwards(
            ValueView::Str(StrView::Bytes { bytes: text, raw: false }),
            Version::V10,
        );
    }
    for (limits, count) in [(&few, 5), (&few, 900), (&small, 3)] {
        for version in [Version::V10, Version::V12, Version::V80] {
            let set = built::<Set>(limits, |mut edit| {
                (0..count).for_each(|n| assert!(edit.insert(&long(n))));
            });
            check_compressed_afterwards(view(&set), version);
            let zset = built::<ZSet>(limits, |mut edit| {
                for n in 0..count {
                    edit.update(&long(n), |_| Some(n as f64 / 3.0));
                }
            });
            check_compressed_afterwards(view(&zset), version);
            let list = built::<List>(limits, |mut edit| {
                (0..count).for_each(|n| edit.push(End::Tail, [&long(n)[..]].into_iter()));
            });
            check_compressed_afterwards(view(&list), version);
            let deadlines = version.has_field_deadlines();
            let hash = built::<Hash>(limits, |mut edit| {
                for n in 0..count {
                    edit.set(&long(n), NewFieldValue::Bytes(&long(n + 7)), FieldTtl::Clear);
                    if deadlines && n % 3 == 0 {
                        edit.set_deadline(&long(n), Some(1_800_000_000_000 + n as i64));
                    }
                }
            });
            check_compressed_afterwards(view(&hash), version);
        }
    }
}
