//! The listpack against literal bytes, a model, and every truncation.

use proptest::prelude::*;

use super::*;

/// The listpack of `redis-cli DUMP` for a hash with these texts as fields and values (Redis 7.0).
const REDIS_INTEGERS: &[u8] = b"\x89\x00\x00\x00\x1a\x00\x80\x01\x00\x01\x81a\x02\x7f\x01\xc0\x80\
    \x02\xdf\xff\x02\xcf\xff\x02\xd0\x00\x02\xf1\x00\x10\x03\xf1\xff\xef\x03\xf1\xff\x7f\x03\xf1\
    \x00\x80\x03\xf2\x00\x80\x00\x04\xf2\xff\x7f\xff\x04\xf2\xff\xff\x7f\x04\xf2\x00\x00\x80\x04\
    \xf3\x00\x00\x80\x00\x05\xf3\xff\xff\x7f\xff\x05\xf3\xff\xff\xff\x7f\x05\xf3\x00\x00\x00\x80\
    \x05\xf4\x00\x00\x00\x80\x00\x00\x00\x00\x09\xf4\xff\xff\xff\x7f\xff\xff\xff\xff\x09\xf4\xff\
    \xff\xff\xff\xff\xff\xff\x7f\x09\xf4\x00\x00\x00\x00\x00\x00\x00\x80\x09\x83007\x04\x82-0\x03\
    \xff";

const INTEGERS: [&str; 26] = [
    "",
    "0",
    "a",
    "127",
    "128",
    "-1",
    "4095",
    "-4096",
    "4096",
    "-4097",
    "32767",
    "-32768",
    "32768",
    "-32769",
    "8388607",
    "-8388608",
    "8388608",
    "-8388609",
    "2147483647",
    "-2147483648",
    "2147483648",
    "-2147483649",
    "9223372036854775807",
    "-9223372036854775808",
    "007",
    "-0",
];

fn body<T: AsRef<[u8]>>(texts: &[T]) -> Vec<u8> {
    let mut body = Vec::new();
    for text in texts {
        let before = body.len();
        encode(text.as_ref(), &mut body);
        assert_eq!(body.len() - before, encoded_len(text.as_ref()));
    }
    body
}

fn whole(body: &[u8], count: usize) -> Vec<u8> {
    [&header(body, count)[..], body, &[END]].concat()
}

fn texts(list: Listpack<'_>) -> Vec<Vec<u8>> {
    list.iter().map(|(_, item)| item.to_vec()).collect()
}

#[test]
fn integers_are_written_as_redis_writes_them() {
    assert_eq!(whole(&body(&INTEGERS), INTEGERS.len()), REDIS_INTEGERS);
    let (body, count) = check(REDIS_INTEGERS).unwrap();
    assert_eq!(count, INTEGERS.len());
    assert_eq!(texts(Listpack::new(body)), INTEGERS.map(|text| text.as_bytes().to_vec()));
}

/// The bytes before and after the text in what Redis 7.0 dumps.
#[test]
fn texts_are_written_as_redis_writes_them() {
    let expected: [(usize, &[u8], &[u8]); 12] = [
        (63, b"\xbf", b"@"),
        (64, b"\xe0@", b"B"),
        (124, b"\xe0|", b"~"),
        (125, b"\xe0}", b"\x7f"),
        (126, b"\xe0~", b"\x01\x80"),
        (127, b"\xe0\x7f", b"\x01\x81"),
        (4095, b"\xef\xff", b" \x81"),
        (4096, b"\xf0\x00\x10\x00\x00", b" \x85"),
        (16376, b"\xf0\xf8?\x00\x00", b"\x7f\xfd"),
        (16377, b"\xf0\xf9?\x00\x00", b"\x7f\xfe"),
        (16378, b"\xf0\xfa?\x00\x00", b"\x00\xff\xff"),
        (16379, b"\xf0\xfb?\x00\x00", b"\x01\x80\x80"),
    ];
    for (len, head, tail) in expected {
        let text = vec![b'x'; len];
        assert_eq!(body(&[&text]), [head, &text, tail].concat(), "{len}");
    }
}

#[test]
fn long_texts_are_found_from_their_end() {
    for len in [2_097_140, 2_097_145, 2_097_146, 2_097_147, 3_000_000] {
        let body = body(&[&vec![0xff; len][..], b"end"]);
        let list = Listpack::new(&body);
        let end = list.last().unwrap();
        assert_eq!(list.prev(end), Some(0), "{len}");
        assert_eq!((list.get(0).len(), list.next(0)), (len, Some(end)));
        assert_eq!(check(&whole(&body, 2)).map(|(_, count)| count), Ok(2));
    }
}

#[test]
fn many_entries_are_not_counted_in_the_header() {
    let mut body = Vec::new();
    for _ in 0..65_536 {
        encode_int(1, &mut body);
    }
    for count in [65_534, 65_535, 65_536] {
        let whole = whole(&body[..2 * count], count);
        assert_eq!(whole[4..6], (count.min(65_535) as u16).to_le_bytes());
        assert_eq!(check(&whole).map(|(_, count)| count), Ok(count));
    }
}

#[test]
fn every_second_entry_is_searched() {
    let body = body(&["1", "2", "two", "1", "2", "two", "3"]);
    let list = Listpack::new(&body);
    let index = |at: Option<usize>| at.map(|at| list.iter().position(|(a, _)| a == at).unwrap());
    assert_eq!(index(list.find(b"2", 1)), Some(1));
    assert_eq!(index(list.find(b"2", 2)), Some(4));
    assert_eq!(index(list.find(b"two", 2)), Some(2));
    assert_eq!(index(list.find(b"two", 3)), None);
    assert_eq!(index(list.find(b"3", 2)), Some(6));
    assert_eq!(index(list.find(b"02", 1)), None);
    assert_eq!(Listpack::new(b"").find(b"", 1), None);
}

/// An integer may stand in more bytes than it needs, or as a text: other writers may do that.
#[test]
fn unusual_spellings_of_integers_are_read() {
    let body = b"\xf4\x05\0\0\0\0\0\0\0\x09\x815\x02";
    let whole = whole(body, 2);
    let list = Listpack::new(check(&whole).unwrap().0);
    assert_eq!((list.get(0), list.get(10)), (Item::Int(5), Item::Bytes(b"5")));
    assert!(list.get(0).is(b"5") && list.get(10).is(b"5"));
    assert!(Needle::new(b"5").is(list.get(10)) && Needle::new(b"5").is(list.get(0)));
    assert_eq!(list.get(10).integer(), Some(5));
}

#[test]
fn every_truncation_and_every_wrong_byte_is_found_or_harmless() {
    for len in 0..REDIS_INTEGERS.len() {
        assert!(check(&REDIS_INTEGERS[..len]).is_err(), "{len}");
        for byte in 0..=255 {
            let mut whole = REDIS_INTEGERS.to_vec();
            whole[len] = byte;
            if let Ok((body, count)) = check(&whole) {
                walk(Listpack::new(body), count);
            }
        }
    }
    assert!(check(&[REDIS_INTEGERS, b"\xff"].concat()).is_err());
}

/// Reads everything in every way and compares the ways.
fn walk(list: Listpack<'_>, count: usize) {
    let forward: Vec<_> = list.iter().collect();
    let mut backward: Vec<_> = list.iter().rev().collect();
    backward.reverse();
    assert_eq!(forward, backward);
    assert_eq!((forward.len(), list.count()), (count, count));
    for (index, (at, item)) in forward.iter().enumerate() {
        assert_eq!(list.seek(index as isize), Some(*at));
        assert_eq!(list.seek(index as isize - count as isize), Some(*at));
        assert_eq!(list.seek_counted(index, count), Some(*at));
        assert_eq!(item.len(), item.to_vec().len());
        assert_eq!(list.next(*at), forward.get(index + 1).map(|(at, _)| *at));
        assert_eq!(list.prev(*at), index.checked_sub(1).map(|index| forward[index].0));
        assert_eq!(list.iter_from(*at).count(), count - index);
    }
    assert_eq!(list.first(), forward.first().map(|(at, _)| *at));
    assert_eq!(list.last(), forward.last().map(|(at, _)| *at));
    assert_eq!((list.seek(count as isize), list.seek(-1 - count as isize)), (None, None));
    assert_eq!(list.seek_counted(count, count), None);
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|value| value.to_string().into_bytes()),
        (any::<i64>(), 0..64u32).prop_map(|(value, bits)| (value >> bits).to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..80),
        "-?[0-9]{0,22}".prop_map(String::into_bytes),
        (0..5000usize).prop_map(|len| vec![0x80; len]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_list_reads_back_as_it_was_written(
        texts_in in prop::collection::vec(text(), 0..40),
        other in text(),
    ) {
        let body = body(&texts_in);
        let list = Listpack::new(&body);
        prop_assert_eq!(&texts(list), &texts_in);
        walk(list, texts_in.len());
        let whole = whole(&body, texts_in.len());
        prop_assert_eq!(check(&whole), Ok((&body[..], texts_in.len())));
        for (index, text) in texts_in.iter().chain([&other]).enumerate() {
            let expected = texts_in.iter().position(|other| other == text);
            let found = list.find(text, 1);
            prop_assert_eq!(found, expected.and_then(|index| list.seek(index as isize)));
            let item = list.seek(index as isize).map(|at| list.get(at));
            prop_assert!(item.is_none_or(|item| item.is(text)));
        }
    }

    #[test]
    fn hostile_bytes_are_refused_or_readable(
        body in prop::collection::vec(any::<u8>(), 0..60),
        entries in prop::collection::vec(text(), 0..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut mended = self::body(&entries);
        if !mended.is_empty() {
            let at = at.index(mended.len());
            mended[at] = byte;
        }
        for body in [&body, &mended] {
            if let Ok((body, count)) = check(&whole(body, 65_535)) {
                walk(Listpack::new(body), count);
            }
        }
    }
}
