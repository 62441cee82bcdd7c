//! Values of every kind, hand-built, and what is wrong with them found.

use super::*;
use crate::encoding::End;
use crate::keyspace::Entry;
use crate::persist::rdb::ziplist::build;
use crate::value::{Hash, List, Set, ValueView, stream::Stream, zset::ZSet};

const NOW_MS: i64 = 1_000_000;

fn decode_as(
    dialect: Dialect,
    drops_fields: bool,
    kind: u8,
    body: &[u8],
) -> Result<String, RdbError> {
    let (limits, hasher) = (Limits::default(), KeyHasher::seeded(3));
    let context = EditContext { limits: &limits, hasher: &hasher, now_ms: NOW_MS };
    let decoder = Decoder { context, dialect, drops_fields };
    let (mut source, mut scratch) = (Slice::new(body, 0), Scratch::default());
    let mut restored = decoder.value(kind, &mut source, &mut scratch)?;
    let type_of = restored.type_of();
    let entry = Entry::new(b"key", restored.as_new_value(), None, 0);
    let value = entry.view().value();
    assert_eq!((type_of, source.taken()), (value.type_of(), body.len()));
    Ok(format!("{} {}", value.encoding(), show(value)))
}

fn decode(kind: u8, body: &[u8]) -> Result<String, RdbError> {
    decode_as(Dialect::Redis, false, kind, body)
}

/// A string that LZF makes as short as it can be, and too long for a packed collection.
fn long_of_few_bytes() -> Vec<u8> {
    let packed = crate::encoding::lzf::compress(&[b'x'; 65], 64).unwrap();
    [&[0xc3, packed.len() as u8, 0x40, 65][..], &packed].concat()
}

#[test]
fn large_collections_of_one_element_take_little() {
    let (limits, hasher) = (Limits::default(), KeyHasher::seeded(3));
    let context = EditContext { limits: &limits, hasher: &hasher, now_ms: NOW_MS };
    let decoder = Decoder { context, dialect: Dialect::Redis, drops_fields: false };
    let long = long_of_few_bytes();
    let set = [&[1], &long[..]].concat();
    let hash = [&[1], &long[..], &[1, b'v']].concat();
    let zset = [&[1], &long[..], &[254]].concat();
    for (kind, body, encoding, bound) in [
        (kind::SET, set, "hashtable", 512),
        (kind::HASH, hash, "hashtable", 512),
        (kind::ZSET, zset, "skiplist", 900),
    ] {
        let (mut source, mut scratch) = (Slice::new(&body, 0), Scratch::default());
        let mut restored = decoder.value(kind, &mut source, &mut scratch).unwrap();
        let entry = Entry::new(b"key", restored.as_new_value(), None, 0);
        assert_eq!(entry.view().value().encoding(), encoding);
        let memory = entry.view().memory();
        assert!(memory <= bound, "{memory} bytes for kind {kind} of {} bytes", body.len());
    }
}

/// All elements, with those that have no order sorted.
pub(in crate::persist::rdb) fn show(value: ValueView<'_>) -> String {
    let text = |bytes: &[u8]| match bytes {
        long if long.len() > 30 => format!("<{}>", long.len()),
        short => short.escape_ascii().to_string(),
    };
    let mut parts = Vec::new();
    match value.type_of() {
        Type::String => match value {
            ValueView::Str(value) => parts.push(text(&value.to_vec())),
            _ => panic!("a string is seen as one"),
        },
        Type::List => {
            let list = value.of::<List>().unwrap();
            list.walk(0..list.len(), End::Head, |item| {
                parts.push(text(&item.to_vec()));
                true
            });
            assert_eq!(parts.len(), list.len());
        }
        Type::Set => {
            let set = value.of::<Set>().unwrap();
            parts.extend(set.iter().map(|member| text(&member.to_vec())));
            assert_eq!(parts.len(), set.len());
            parts.sort();
        }
        Type::ZSet => {
            let zset = value.of::<ZSet>().unwrap();
            parts.extend(
                zset.iter().map(|(member, score)| format!("{}={score}", text(&member.to_vec()))),
            );
            assert_eq!(parts.len(), zset.len());
        }
        Type::Hash => {
            let hash = value.of::<Hash>().unwrap();
            hash.for_each(0, |field, value| {
                let deadline = value.deadline().map(|at| format!("@{at}")).unwrap_or_default();
                let value = text(value.bytes(&mut [0; 20]));
                parts.push(format!("{}={value}{deadline}", text(&field.to_vec())));
            });
            assert_eq!(parts.len(), hash.len());
            parts.sort();
        }
        Type::Stream => {
            let stream = value.of::<Stream>().unwrap();
            for entry in stream.iter() {
                let pairs = entry.pairs().map(|(name, value)| {
                    format!("{}={}", text(&name.to_vec()), text(&value.to_vec()))
                });
                let pairs: Vec<String> = pairs.collect();
                parts.push(format!("{}-{}:{}", entry.id.ms, entry.id.seq, pairs.join(",")));
            }
            assert_eq!(parts.len() as u64, stream.len());
        }
    }
    parts.join(" ")
}

/// A text as it is, with its length before it.
pub(in crate::persist::rdb) fn plain(text: &[u8]) -> Vec<u8> {
    let len = text.len() as u32;
    [&[0x80], &len.to_be_bytes()[..], text].concat()
}

pub(in crate::persist::rdb) fn texts(texts: &[&[u8]]) -> Vec<u8> {
    texts.iter().flat_map(|text| plain(text)).collect()
}

/// `texts` with their number before them.
pub(in crate::persist::rdb) fn counted(count: u8, texts_: &[&[u8]]) -> Vec<u8> {
    [vec![count], texts(texts_)].concat()
}

pub(in crate::persist::rdb) fn whole_listpack(items: &[&[u8]]) -> Vec<u8> {
    let body = list::body_of(items);
    [&listpack::header(&body, items.len())[..], &body, &[listpack::END]].concat()
}

pub(in crate::persist::rdb) fn ziplist_of(items: &[&[u8]]) -> Vec<u8> {
    let entries: Vec<Vec<u8>> = items.iter().map(|item| build::text(item)).collect();
    build::ziplist(&entries.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[track_caller]
fn gives(kind: u8, body: &[u8], expected: &str) {
    assert_eq!(decode(kind, body).unwrap(), expected);
}

#[track_caller]
fn refuses(kind: u8, body: &[u8], why: &str) {
    let error = decode(kind, body).unwrap_err();
    assert_eq!(error.to_string(), why);
}

#[test]
fn strings() {
    gives(kind::STRING, b"\x05hello", "embstr hello");
    gives(kind::STRING, b"\xc0\x07", "int 7");
    gives(kind::STRING, b"\x0212", "int 12");
    gives(kind::STRING, b"\x03012", "embstr 012");
    gives(kind::STRING, &plain(&[b'x'; 50]), "raw <50>");
    gives(kind::STRING, &plain(&[b'x'; 5000]), "raw <5000>");
    let packed = crate::encoding::lzf::compress(&[b'x'; 5000], 5000).unwrap();
    let head = [0xc3, 0x40, packed.len() as u8, 0x40 | (5000u16 >> 8) as u8, 5000u16 as u8];
    gives(kind::STRING, &[&head, &packed[..]].concat(), "raw <5000>");
}

#[test]
fn lists() {
    let long = vec![b'l'; 9000];
    gives(kind::LIST, &counted(3, &[b"a", b"2", b"c"]), "listpack a 2 c");
    gives(kind::LIST, &counted(2, &[b"a", &long]), "quicklist a <9000>");
    gives(kind::LIST_ZIPLIST, &plain(&ziplist_of(&[b"a", b"2"])), "listpack a 2");
    let nodes = counted(2, &[&ziplist_of(&[b"a", b"2"]), &ziplist_of(&[b"b"])]);
    gives(kind::LIST_QUICKLIST, &nodes, "quicklist a 2 b");
    let one = [&[1, 2][..], &plain(&whole_listpack(&[b"a", b"2"]))].concat();
    gives(kind::LIST_QUICKLIST_2, &one, "listpack a 2");
    let mixed = [
        &[3, 2][..],
        &plain(&whole_listpack(&[b"a"])),
        &[1],
        &plain(&long),
        &[2],
        &plain(&whole_listpack(&[])),
    ];
    gives(kind::LIST_QUICKLIST_2, &mixed.concat(), "quicklist a <9000>");
    let many = vec![&b"item"[..]; 400];
    let many = [&[1, 2][..], &plain(&whole_listpack(&many))].concat();
    assert!(decode(kind::LIST_QUICKLIST_2, &many).unwrap().starts_with("listpack item item "));
    refuses(kind::LIST, b"\x00", "Empty collection");
    refuses(kind::LIST_ZIPLIST, &plain(&ziplist_of(&[])), "Empty collection");
    refuses(kind::LIST_QUICKLIST, &counted(1, &[&ziplist_of(&[])]), "Empty collection");
    refuses(kind::LIST_QUICKLIST_2, b"\x01\x03\x01a", "Quicklist integrity check failed.");
    refuses(kind::LIST_QUICKLIST_2, b"\x01\x01\x00", "Empty list node");
    refuses(kind::LIST_QUICKLIST_2, b"\x01\x02\x03abc", "cut listpack header");
}

#[test]
fn sets() {
    let long = vec![b'm'; 65];
    gives(kind::SET, &counted(3, &[b"3", b"1", b"70000"]), "intset 1 3 70000");
    gives(kind::SET, &counted(2, &[b"3", b"a"]), "listpack 3 a");
    gives(kind::SET, &counted(2, &[b"a", &long]), "hashtable <65> a");
    let many: Vec<String> = (0..600).map(|n| n.to_string()).collect();
    let many: Vec<&[u8]> = many.iter().map(String::as_bytes).collect();
    let body = [&[0x42, 0x58][..], &texts(&many)].concat();
    assert!(decode(kind::SET, &body).unwrap().starts_with("hashtable 0 1 "));
    let ints = b"\x02\0\0\0\x02\0\0\0\x01\0\x02\0";
    gives(kind::SET_INTSET, &plain(ints), "intset 1 2");
    gives(kind::SET_LISTPACK, &plain(&whole_listpack(&[b"b", b"7"])), "listpack 7 b");
    let body = plain(&whole_listpack(&many[..200]));
    assert!(decode(kind::SET_LISTPACK, &body).unwrap().starts_with("hashtable 0 1 "));
    refuses(kind::SET, &counted(2, &[b"1", b"1"]), "Duplicate set members detected");
    refuses(kind::SET, &counted(2, &[&long, &long]), "Duplicate set members detected");
    let twice = whole_listpack(&[b"a", b"b", b"a"]);
    refuses(kind::SET_LISTPACK, &plain(&twice), "Duplicate set members detected");
    let mut twice = many[..20].to_vec();
    twice.push(b"3");
    let twice = whole_listpack(&twice);
    refuses(kind::SET_LISTPACK, &plain(&twice), "Duplicate set members detected");
    refuses(kind::SET_LISTPACK, &plain(&whole_listpack(&[])), "Empty collection");
    refuses(kind::SET_INTSET, &plain(b"\x02\0\0\0\0\0\0\0"), "wrong intset length");
}

/// Hostile: the same number once as an integer and once as a text.
#[test]
fn an_integer_and_its_digits_are_the_same_member() {
    let body = b"\x07\x01\x81\x37\x02";
    let whole = [&listpack::header(body, 2)[..], body, &[listpack::END]].concat();
    refuses(kind::SET_LISTPACK, &plain(&whole), "Duplicate set members detected");
}

#[test]
fn sorted_sets() {
    let long = vec![b'm'; 65];
    gives(kind::ZSET, b"\x02\x01b\x032.5\x01a\x011", "listpack a=1 b=2.5");
    gives(kind::ZSET, b"\x02\x01b\xfe\x01a\xff", "listpack a=-inf b=inf");
    let pair = |member: &[u8], score: f64| [plain(member), score.to_le_bytes().to_vec()].concat();
    let body = [vec![2], pair(b"x", 3.0), pair(b"w", 3.0)].concat();
    gives(kind::ZSET_2, &body, "listpack w=3 x=3");
    let body = [vec![2], pair(&long, 0.5), pair(b"w", 0.25)].concat();
    gives(kind::ZSET_2, &body, "skiplist w=0.25 <65>=0.5");
    gives(
        kind::ZSET_ZIPLIST,
        &plain(&ziplist_of(&[b"a", b"1", b"b", b"1.5"])),
        "listpack a=1 b=1.5",
    );
    gives(kind::ZSET_LISTPACK, &plain(&whole_listpack(&[b"a", b"1"])), "listpack a=1");
    let unsorted = whole_listpack(&[b"b", b"2", b"a", b"1"]);
    gives(kind::ZSET_LISTPACK, &plain(&unsorted), "listpack a=1 b=2");
    let nan = [vec![1], pair(b"x", f64::NAN)].concat();
    refuses(kind::ZSET_2, &nan, "Zset with NAN score detected");
    refuses(kind::ZSET, b"\x01\x01b\xfd", "Zset with NAN score detected");
    let twice = [vec![2], pair(b"x", 1.0), pair(b"x", 2.0)].concat();
    refuses(kind::ZSET_2, &twice, "Duplicate zset fields detected");
    let twice = whole_listpack(&[b"a", b"1", b"a", b"2"]);
    refuses(kind::ZSET_LISTPACK, &plain(&twice), "Duplicate zset fields detected");
    let odd = whole_listpack(&[b"a", b"1", b"b"]);
    refuses(kind::ZSET_LISTPACK, &plain(&odd), "Incomplete last entry");
    refuses(kind::ZSET_ZIPLIST, &plain(&ziplist_of(&[b"a"])), "Incomplete last entry");
    refuses(kind::ZSET_LISTPACK, &plain(&whole_listpack(&[b"a", b"b"])), "Invalid score");
    let nan = whole_listpack(&[b"a", b"nan"]);
    refuses(kind::ZSET_LISTPACK, &plain(&nan), "Zset with NAN score detected");
    refuses(kind::ZSET_2, b"\x00", "Empty collection");
}

#[test]
fn hashes() {
    let long = vec![b'v'; 65];
    gives(kind::HASH, &counted(2, &[b"a", b"1", b"b", b"x"]), "listpack a=1 b=x");
    gives(kind::HASH, &counted(1, &[b"a", &long]), "hashtable a=<65>");
    gives(kind::HASH_ZIPLIST, &plain(&ziplist_of(&[b"a", b"1"])), "listpack a=1");
    gives(kind::HASH_LISTPACK, &plain(&whole_listpack(&[b"a", b"1"])), "listpack a=1");
    let zipmap = b"\x02\x01a\x01\x00b\x01c\x02\x01de?\xff";
    gives(kind::HASH_ZIPMAP, &plain(zipmap), "listpack a=b c=de");
    let zipmap = [&b"\x01\x01a\x41\x00"[..], &long, b"\xff"].concat();
    gives(kind::HASH_ZIPMAP, &plain(&zipmap), "hashtable a=<65>");
    let many: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    let many: Vec<&[u8]> = many.iter().map(String::as_bytes).collect();
    let body = plain(&whole_listpack(&many));
    assert!(decode(kind::HASH_LISTPACK, &body).unwrap().starts_with("hashtable 0=1 "));
    let body = [&[0x43, 0xe8][..], &texts(&many)].concat();
    assert!(decode(kind::HASH, &body).unwrap().starts_with("hashtable 0=1 "));
    let twice = counted(2, &[b"a", b"1", b"a", b"2"]);
    refuses(kind::HASH, &twice, "Duplicate hash fields detected");
    let twice = whole_listpack(&[b"a", b"1", b"a", b"1"]);
    refuses(kind::HASH_LISTPACK, &plain(&twice), "Duplicate hash fields detected");
    refuses(kind::HASH_LISTPACK, &plain(&whole_listpack(&[b"a"])), "Incomplete last entry");
    refuses(kind::HASH_ZIPMAP, &plain(b"\x00\xff"), "wrong number of zipmap entries");
    refuses(kind::HASH, b"\x00", "Empty collection");
}

#[test]
fn hashes_with_deadlines() {
    let base = 2000i64.to_le_bytes();
    let body = [&base[..], b"\x02\x00\x01a\x011\x06\x01b\x012"].concat();
    gives(kind::HASH_METADATA, &body, "hashtable a=1 b=2@2005");
    gives(kind::HASH_METADATA_PRE_GA, b"\x01\x47\xd0\x01b\x012", "hashtable b=2@2000");
    let none = 0x1_0000_0000_0000i64.to_le_bytes();
    let body = [&none[..], b"\x01\x00\x01a\x011"].concat();
    gives(kind::HASH_METADATA, &body, "listpack a=1");
    let triples = plain(&whole_listpack(&[b"a", b"1", b"2005", b"b", b"2", b"0"]));
    gives(kind::HASH_LISTPACK_EX_PRE_GA, &triples, "hashtable a=1@2005 b=2");
    let body = [&base[..], &triples].concat();
    gives(kind::HASH_LISTPACK_EX, &body, "hashtable a=1@2005 b=2");
    let bad = plain(&whole_listpack(&[b"a", b"1", b"x"]));
    refuses(kind::HASH_LISTPACK_EX_PRE_GA, &bad, "invalid expireAt time");
    let bad = plain(&whole_listpack(&[b"a", b"1", b"0", b"a", b"1", b"0"]));
    refuses(kind::HASH_LISTPACK_EX_PRE_GA, &bad, "Duplicate hash fields detected");
    let bad = plain(&whole_listpack(&[b"a", b"1"]));
    refuses(kind::HASH_LISTPACK_EX_PRE_GA, &bad, "Incomplete last entry");
    let bad = [&(-1i64).to_le_bytes()[..], b"\x01\x00\x01a\x011"].concat();
    refuses(kind::HASH_METADATA, &bad, "Hash read invalid minExpire value");
    let bad = [&base[..], b"\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a\x011"].concat();
    refuses(kind::HASH_METADATA, &bad, "invalid expireAt time");
}

#[test]
fn valkey_writes_deadlines_behind_values() {
    let (past, none) = ((NOW_MS - 1).to_le_bytes(), (-1i64).to_le_bytes());
    let body = [&b"\x02\x01a\x011"[..], &none, b"\x01b\x012", &past].concat();
    let all = decode_as(Dialect::Valkey, false, kind::VALKEY_HASH_2, &body).unwrap();
    assert_eq!(all, format!("hashtable a=1 b=2@{}", NOW_MS - 1));
    let live = decode_as(Dialect::Valkey, true, kind::VALKEY_HASH_2, &body).unwrap();
    assert_eq!(live, "listpack a=1");
    let body = [&b"\x01\x01b\x012"[..], &past].concat();
    let error = decode_as(Dialect::Valkey, true, kind::VALKEY_HASH_2, &body).unwrap_err();
    assert!(matches!(error, RdbError::Expired));
    let body = [&b"\x01\x01b\x012"[..], &(-2i64).to_le_bytes()].concat();
    assert!(decode_as(Dialect::Valkey, false, kind::VALKEY_HASH_2, &body).is_err());
}

#[test]
fn kinds_without_a_type_are_named() {
    refuses(
        kind::MODULE_PRE_GA,
        b"\x00",
        "Values of type 6 (module-pre-release) are not supported",
    );
    let id = b"\x81\xb6\x43\x1c\xba\x59\x27\x1c\x03";
    let error = decode(kind::MODULE_2, id).unwrap_err();
    assert!(matches!(error, RdbError::Module { .. }), "{error}");
    refuses(8, b"", "Invalid object type: 8");
    refuses(30, b"", "Invalid object type: 30");
}

#[test]
fn a_payload_is_decoded_with_buffers_of_its_own() {
    let (limits, hasher) = (Limits::default(), KeyHasher::seeded(3));
    let payload = plain(&whole_listpack(&[b"a", b"1"]));
    let restored = decode_payload(&payload, kind::HASH_LISTPACK, &limits, &hasher, NOW_MS);
    drop(payload);
    let mut restored = restored.unwrap();
    assert_eq!(restored.type_of(), Type::Hash);
    assert!(matches!(restored.as_new_value(), NewValue::Packed(Packed { count: Some(1), .. })));
}

/// Whatever a byte is changed to and wherever the bytes end, there is a value or an error.
#[test]
fn damage_is_an_error_or_another_value() {
    let items: &[&[u8]] = &[b"a", b"1", b"text", b"-300", b"z", b"70000"];
    let score = 1.5f64.to_le_bytes();
    let samples: Vec<(u8, Vec<u8>)> = vec![
        (kind::STRING, b"\xc3\x05\x0a\x00a\xe0\x00\x00".to_vec()),
        (kind::LIST, counted(3, &items[..3])),
        (kind::LIST_ZIPLIST, plain(&ziplist_of(items))),
        (kind::LIST_QUICKLIST, counted(1, &[&ziplist_of(items)])),
        (kind::LIST_QUICKLIST_2, [&[1, 2][..], &plain(&whole_listpack(items))].concat()),
        (kind::SET, counted(3, &items[..3])),
        (kind::SET_INTSET, plain(b"\x02\0\0\0\x02\0\0\0\x01\0\x02\0")),
        (kind::SET_LISTPACK, plain(&whole_listpack(items))),
        (kind::ZSET, b"\x02\x01b\x032.5\x01a\x011".to_vec()),
        (kind::ZSET_2, [&b"\x01\x01a"[..], &score].concat()),
        (kind::ZSET_ZIPLIST, plain(&ziplist_of(items))),
        (kind::ZSET_LISTPACK, plain(&whole_listpack(items))),
        (kind::HASH, counted(2, &items[..4])),
        (kind::HASH_ZIPMAP, plain(b"\x02\x01a\x01\x00b\x01c\x02\x01de?\xff")),
        (kind::HASH_ZIPLIST, plain(&ziplist_of(items))),
        (kind::HASH_LISTPACK, plain(&whole_listpack(items))),
        (kind::HASH_METADATA, [&2000i64.to_le_bytes()[..], b"\x01\x06\x01b\x012"].concat()),
        (kind::HASH_LISTPACK_EX_PRE_GA, plain(&whole_listpack(&[b"a", b"1", b"2005"]))),
        (kind::VALKEY_HASH_2, [&b"\x01\x01b\x012"[..], &[9; 8]].concat()),
    ];
    for (kind, body) in samples {
        for len in 0..body.len() {
            for dialect in [Dialect::Redis, Dialect::Valkey] {
                let _ = decode_as(dialect, true, kind, &body[..len]);
            }
        }
        for at in 0..body.len() {
            for byte in 0..=255 {
                let mut damaged = body.clone();
                damaged[at] = byte;
                let (limits, hasher) = (Limits::default(), KeyHasher::seeded(3));
                let _ = decode_payload(&damaged, kind, &limits, &hasher, NOW_MS);
            }
        }
    }
}
