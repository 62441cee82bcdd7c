//! Values of DUMP payloads: hostile bytes are refused, or make a value that can be read in every way;
//! bytes that lie in memory and bytes that arrive a few at a time mean the same.
//!
//! The first byte chooses limits of encodings and the dialect, the second is the kind.

#![no_main]

use std::sync::atomic::AtomicU64;

use libfuzzer_sys::fuzz_target;
use redstart::base::hash::KeyHasher;
use redstart::encoding::{End, listpack};
use redstart::keyspace::Entry;
use redstart::persist::rdb::decode::{Decoder, Dialect, decode_payload};
use redstart::persist::rdb::feed::Feed;
use redstart::persist::rdb::read::{Scratch, Slice, Source};
use redstart::persist::rdb::skim;
use redstart::value::limits::Limits;
use redstart::value::packed::PackedForm;
use redstart::value::stream::{Stream, StreamId};
use redstart::value::zset::ZSet;
use redstart::value::{EditContext, Hash, List, Set, Type, ValueView};

const NOW_MS: i64 = 1_700_000_000_000;

/// Reads a value in all ways, and says how many elements it has.
fn read(value: ValueView<'_>) -> usize {
    if let ValueView::Packed(packed) = value
        && let PackedForm::List | PackedForm::Hash | PackedForm::Set | PackedForm::ZSet =
            packed.form
    {
        let header = listpack::header(packed.body, usize::MAX);
        let whole = [&header[..], packed.body, &[listpack::END]].concat();
        listpack::check(&whole).expect("what is stored was checked");
    }
    match value.type_of() {
        Type::String => 1,
        Type::List => {
            let list = value.of::<List>().expect("a list");
            for end in [End::Head, End::Tail] {
                let mut count = 0;
                list.walk(0..list.len(), end, |item| {
                    count += 1;
                    item.len() < usize::MAX
                });
                assert_eq!(count, list.len());
            }
            list.len()
        }
        Type::Set => {
            let set = value.of::<Set>().expect("a set");
            assert_eq!(set.iter().count(), set.len());
            assert!(set.iter().all(|member| set.contains(&member.to_vec())));
            set.len()
        }
        Type::Hash => {
            let hash = value.of::<Hash>().expect("a hash");
            let mut count = 0;
            hash.for_each(i64::MIN, |field, _| {
                assert!(hash.get(&field.to_vec()).is_some());
                count += 1;
            });
            assert_eq!(count, hash.len());
            count
        }
        Type::ZSet => {
            let zset = value.of::<ZSet>().expect("a sorted set");
            let mut before = (f64::NEG_INFINITY, Vec::new());
            for (rank, (member, score)) in zset.iter().enumerate() {
                let member = member.to_vec();
                assert!(rank == 0 || before.0 < score || before.0 == score && before.1 < member);
                assert_eq!(zset.rank(&member), Some((rank, score)));
                before = (score, member);
            }
            zset.len()
        }
        Type::Stream => {
            let stream = value.of::<Stream>().expect("a stream");
            let all = StreamId::MIN..=StreamId::MAX;
            let mut count = 0;
            for entry in stream.entries(all.clone(), End::Head) {
                assert_eq!(entry.pairs().count(), entry.len());
                assert!(stream.contains(entry.id));
                count += 1;
            }
            assert_eq!(stream.entries(all, End::Tail).count(), count);
            assert_eq!(stream.len(), count as u64);
            count
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let &[choice, kind, ref body @ ..] = input else { return };
    let (limits, hasher) = (Limits::default(), KeyHasher::seeded(1));
    if choice & 3 != 0 {
        let sizes = [0, 2, 5][usize::from(choice & 3) - 1];
        limits.set_all(|directive| match directive {
            "list-max-listpack-size" => sizes - 3,
            "list-compress-depth" => 1,
            _ => sizes,
        });
    }
    let dialect = if choice & 4 == 0 { Dialect::Redis } else { Dialect::Valkey };
    let context = EditContext { limits: &limits, hasher: &hasher, now_ms: NOW_MS };
    let decoder = Decoder { context, dialect, drops_fields: choice & 8 != 0 };

    let (mut source, mut scratch) = (Slice::new(body, 0), Scratch::default());
    let decoded = decoder.value(kind, &mut source, &mut scratch).map(|mut value| {
        let entry = Entry::new(b"key", value.as_new_value(), None, 0);
        (read(entry.view().value()), entry.view().value().encoding())
    });
    let taken = source.taken();

    let progress = AtomicU64::new(0);
    // No window is smaller than what is read in one piece, the 16 bytes of a stream's ID.
    let mut feed = Feed::new(body, 16 << (choice >> 6), &progress);
    let streamed = decoder.value(kind, &mut feed, &mut Scratch::default()).map(|mut value| {
        let entry = Entry::new(b"key", value.as_new_value(), None, 0);
        (read(entry.view().value()), entry.view().value().encoding())
    });
    match (&decoded, &streamed) {
        (Ok(one), Ok(other)) => assert_eq!((one, taken as u64), (other, feed.at())),
        (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
        _ => panic!("{decoded:?} but {streamed:?}"),
    }
    let mut skimmed = Slice::new(body, 0);
    let skimming = skim::value(&mut skimmed, kind, dialect);
    if decoded.is_ok() {
        assert!(skimming.is_ok() && skimmed.taken() == taken);
    }
    if let Ok(mut value) = decode_payload(body, kind, &limits, &hasher, NOW_MS) {
        read(Entry::new(b"key", value.as_new_value(), None, 0).view().value());
    }
});
