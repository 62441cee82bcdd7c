//! Streams against `BTreeMap`, their bytes against those of Redis, and bytes of foreign origin.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::encoding::listpack;

const LIMITS: NodeLimits = NodeLimits { bytes: 200, entries: 5 };

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId::new(ms, seq)
}

fn append(stream: &mut Stream, id: StreamId, fields: &Fields) {
    stream.append(id, fields.iter().map(|(name, value)| (&name[..], &value[..])), LIMITS);
}

fn fields(texts: &[&str]) -> Fields {
    texts.chunks(2).map(|pair| (pair[0].into(), pair[1].into())).collect()
}

fn content(entry: Entry<'_>) -> (StreamId, Fields) {
    let fields: Fields =
        entry.pairs().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    assert_eq!(fields.len(), entry.len());
    (entry.id, fields)
}

fn wholes(stream: &Stream) -> Vec<(StreamId, Vec<u8>)> {
    let whole = |node: NodeView<'_>| {
        let header = listpack::header(node.body, node.items);
        (node.master, [&header[..], node.body, &[listpack::END]].concat())
    };
    stream.nodes().map(whole).collect()
}

fn loaded(wholes: &[(StreamId, Vec<u8>)]) -> Result<Stream, Corrupt> {
    let mut stream = Stream::default();
    wholes.iter().try_for_each(|(master, whole)| stream.load_node(*master, whole))?;
    Ok(stream)
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn bytes_are_those_of_redis() {
    let mut stream = Stream::default();
    append(&mut stream, id(5, 100), &fields(&["name", "Ann", "age", "31"]));
    append(&mut stream, id(6, 0), &fields(&["name", "Bob", "age", "4000"]));
    append(&mut stream, id(6, 1), &fields(&["other", "x"]));
    append(&mut stream, id(7, 0), &fields(&["name", "C", "age", "-5"]));
    assert!(stream.delete(id(6, 0)) && !stream.delete(id(6, 0)));
    // As DUMP of Redis 7.0.15 has it.
    let whole = "5e0000001f00030101010201846e616d65058361676504000102010001000183416e6e041f0105010301\
                 0101df9c0283426f6204cfa002050100010101df9d020101856f7468657206817802060102010201df9c\
                 02814302dffb020501ff";
    assert_eq!(wholes(&stream), [(id(5, 100), hex(whole))]);
    let expected = Ids { last: id(7, 0), first: id(5, 100), max_deleted: id(6, 0), added: 4 };
    assert_eq!(stream.ids(), expected);
    let mut again = loaded(&wholes(&stream)).unwrap();
    again.load_ids(3, id(7, 0), id(6, 0), Some(4)).unwrap();
    assert_eq!((again.ids(), again.len()), (expected, 3));
}

#[test]
fn counts_may_get_longer() {
    let limits = NodeLimits { bytes: 0, entries: 0 };
    let mut stream = Stream::default();
    let count = 300;
    for n in 1..=count {
        stream.append(id(n, 0), [(&b"f"[..], &b"v"[..])].into_iter(), limits);
    }
    assert_eq!(stream.node_count(), 1);
    for n in 1..count {
        assert!(stream.delete(id(n, 0)));
    }
    assert_eq!((stream.len(), stream.ids().first), (1, id(count, 0)));
    assert_eq!(stream.iter().map(content).count(), 1);
    loaded(&wholes(&stream)).unwrap().load_ids(1, id(count, 0), id(count - 1, 0), None).unwrap();
    assert!(stream.delete(id(count, 0)));
    assert_eq!((stream.node_count(), stream.node_bytes, stream.ids().first), (0, 0, StreamId::MIN));
}

#[test]
fn copies_share_nodes_until_one_changes() {
    let mut stream = Stream::default();
    for n in 1..=12 {
        append(&mut stream, id(n, 0), &fields(&["f", "v"]));
    }
    let copy = stream.clone();
    stream.delete(id(2, 0));
    append(&mut stream, id(13, 0), &fields(&["f", "v"]));
    assert_eq!((copy.len(), copy.iter().count()), (12, 12));
    assert_eq!((stream.len(), stream.iter().count()), (12, 12));
    assert!(copy.contains(id(2, 0)) && !stream.contains(id(2, 0)));
    let shared = copy.nodes.iter().filter(|(master, node)| {
        stream.nodes.get(master).is_some_and(|other| Arc::ptr_eq(node, other))
    });
    assert_eq!(shared.count(), 1);
}

#[test]
fn what_contradicts_itself_is_not_loaded() {
    let mut stream = Stream::default();
    for n in 1..=12 {
        append(&mut stream, id(n, 0), &fields(&["f", "v"]));
    }
    let mut nodes = wholes(&stream);
    let good = loaded(&nodes).unwrap();
    let last = id(12, 0);
    assert!(good.clone().load_ids(12, last, StreamId::MIN, None).is_ok());
    assert!(good.clone().load_ids(11, last, StreamId::MIN, None).is_err());
    assert!(good.clone().load_ids(12, id(11, 9), StreamId::MIN, None).is_err());
    nodes.swap(0, 1);
    assert!(loaded(&nodes).is_err());
    let mut group = Group::new(StreamId::MIN, None);
    group.load_pending(id(1, 0), 5, 1).unwrap();
    assert!(group.load_pending(id(1, 0), 5, 1).is_err() && group.unowned() > 0);
    let consumer = group.load_consumer(b"c", 1, None).unwrap();
    assert!(group.load_consumer(b"c", 1, None).is_err());
    assert!(group.load_owner(id(2, 0), consumer).is_err());
    group.load_owner(id(1, 0), consumer).unwrap();
    assert!(group.load_owner(id(1, 0), consumer).is_err() && group.unowned() == 0);
}

#[test]
fn groups_and_consumers_agree_on_what_is_pending() {
    let mut group = Group::new(StreamId::MIN, Some(0));
    let (ann, bob) = (group.create_consumer(b"ann", 1), group.create_consumer(b"bob", 1));
    let to = |consumer| Pending { delivered_at_ms: 7, deliveries: 1, consumer };
    for n in 1..=4 {
        group.set_pending(id(n, 0), to(Some(ann)));
    }
    group.set_pending(id(2, 0), to(Some(bob)));
    group.set_pending(id(3, 0), to(None));
    assert!(group.unowned() > 0);
    assert!(group.remove_pending(id(4, 0)).is_some() && group.remove_pending(id(4, 0)).is_none());
    let ids = |group: &Group, consumer| -> Vec<u64> {
        group.consumer(consumer).pending().iter().map(|id| id.ms).collect()
    };
    assert_eq!((ids(&group, ann), ids(&group, bob)), (vec![1], vec![2]));
    assert_eq!((group.remove_consumer(b"ann"), group.remove_consumer(b"ann")), (Some(1), None));
    // The number is used again.
    assert_eq!(group.create_consumer(b"abe", 2), ann);
    let names: Vec<&[u8]> = group.consumers().map(|(_, consumer)| consumer.name()).collect();
    assert_eq!(names, [&b"abe"[..], b"bob"]);
    assert_eq!(group.pending().keys().map(|id| id.ms).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(group.by_time().iter().map(|(_, id)| id.ms).collect::<Vec<_>>(), [2, 3]);
    group.set_pending(id(2, 0), Pending { delivered_at_ms: 9, ..to(Some(bob)) });
    group.set_pending(id(9, 0), Pending { delivered_at_ms: 0, ..to(None) });
    assert_eq!(group.by_time().iter().map(|(_, id)| id.ms).collect::<Vec<_>>(), [9, 3, 2]);
    group.remove_consumer(b"bob");
    group.remove_pending(id(9, 0));
    assert_eq!(group.by_time().iter().map(|(_, id)| id.ms).collect::<Vec<_>>(), [3]);
}

#[test]
fn counters_of_payloads_do_not_overflow() {
    let mut stream = Stream::default();
    append(&mut stream, id(1, 0), &fields(&["f", "v"]));
    stream.create_group(b"g", id(1, 0), Some(u64::MAX - 1)).unwrap();
    stream.load_ids(1, id(1, 0), StreamId::MIN, Some(u64::MAX - 1)).expect("any count will do");
    let added: Vec<StreamId> = (2..6).map(|n| id(n, 0)).collect();
    added.iter().for_each(|id| append(&mut stream, *id, &fields(&["f", "v"])));
    assert!(stream.deliver(b"g", &added, None, 0));
    assert_eq!(stream.ids().added, u64::MAX);
    assert_eq!(stream.group(b"g").unwrap().entries_read, Some(u64::MAX));
}

#[test]
fn references_decide_what_is_trimmed() {
    let mut stream = Stream::default();
    for n in 1..=12 {
        append(&mut stream, id(n, 0), &fields(&["f", "v"]));
    }
    let group = stream.create_group(b"g", id(9, 0), None).unwrap();
    let consumer = group.create_consumer(b"c", 0);
    let pending = Pending { delivered_at_ms: 1, deliveries: 1, consumer: Some(consumer) };
    group.set_pending(id(2, 0), pending);
    group.set_pending(id(8, 0), pending);
    let trim = |references| Trim { bound: Bound::Len(0), approximate: true, limit: 0, references };
    assert_eq!(stream.clone().trim(&trim(References::Keep)).removed, 12);
    assert_eq!(stream.trim(&trim(References::Acked)).removed, 7);
    let left: Vec<u64> = stream.iter().map(|entry| entry.id.ms).collect();
    assert_eq!(left, [2, 8, 10, 11, 12]);
    assert_eq!(stream.ids().first, id(2, 0));
    let to_eight = Trim { bound: Bound::Id(id(9, 0)), ..trim(References::Delete) };
    assert_eq!((stream.trim(&to_eight).removed, stream.len()), (2, 3));
    assert!(stream.group(b"g").unwrap().pending().is_empty());
    assert_eq!(stream.trim(&trim(References::Delete)).removed, 3);
    assert_eq!((stream.node_count(), stream.ids().first), (0, StreamId::MIN));
}

#[test]
fn ids_of_producers_are_forgotten_by_age_and_number() {
    let limits = IdempotenceLimits { duration_s: 10, entries: 3 };
    let mut known = Idempotence::new(limits);
    for n in 1..=5u64 {
        known.insert(b"p", &n.to_be_bytes(), id(1000 * n, 0), 1000 * n);
    }
    assert_eq!((known.find(b"p", &2u64.to_be_bytes(), 6000), known.len()), (None, 3));
    assert_eq!(known.find(b"p", &3u64.to_be_bytes(), 6000), Some(id(3000, 0)));
    // The third is ten seconds old now.
    assert_eq!(known.find(b"p", &3u64.to_be_bytes(), 13000), None);
    assert_eq!((known.tracked(13000), known.added), ((1, 2), 5));
    for n in 0..100u64 {
        known.insert(&n.to_be_bytes(), b"i", id(100_000 + 20_000 * n, 0), 100_000 + 20_000 * n);
    }
    assert!(known.len() < 40);
}

#[derive(Clone, Debug)]
enum Step {
    Append(u64, u64, Fields),
    Delete(prop::sample::Index),
    Trim(u64, bool, bool, u64),
    Reload,
}

fn some_fields() -> impl Strategy<Value = Fields> {
    let value = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    let usual = value.clone().prop_map(|v| vec![(b"name".to_vec(), v), (b"7".to_vec(), vec![])]);
    let name = prop::collection::vec(b'a'..b'd', 0..3);
    prop_oneof![3 => usual, 1 => prop::collection::vec((name, value), 1..4)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3u64, any::<u64>(), some_fields()).prop_map(|(m, s, f)| Step::Append(m, s, f)),
        3 => any::<prop::sample::Index>().prop_map(Step::Delete),
        1 => (0..40u64, any::<bool>(), any::<bool>(), 0..9u64)
            .prop_map(|(n, by_len, approximate, limit)| Step::Trim(n, by_len, approximate, limit)),
        1 => Just(Step::Reload),
    ]
}

fn check(stream: &Stream, model: &BTreeMap<StreamId, Fields>, ids: Ids) {
    let expected: Vec<_> = model.iter().map(|(id, fields)| (*id, fields.clone())).collect();
    let all: Vec<_> = stream.iter().map(content).collect();
    assert_eq!((all, stream.len()), (expected.clone(), model.len() as u64));
    let whole = StreamId::MIN..=StreamId::MAX;
    let mut reversed: Vec<_> = stream.entries(whole, End::Tail).map(content).collect();
    reversed.reverse();
    assert_eq!(reversed, expected);
    let first = model.first_key_value().map_or(StreamId::MIN, |(id, _)| *id);
    assert_eq!(stream.ids(), Ids { first, ..ids });
    let bytes: usize = stream.nodes.values().map(|node| node.capacity()).sum();
    assert_eq!(stream.node_bytes, bytes);
    let middle = expected.len() / 3..(2 * expected.len() / 3).max(expected.len() / 3);
    if let [(start, _), .., (end, _)] = &expected[middle.clone()] {
        let range = *start..=*end;
        let part: Vec<_> = stream.entries(range.clone(), End::Head).map(content).collect();
        assert_eq!(part, expected[middle.clone()]);
        let mut part: Vec<_> = stream.entries(range, End::Tail).map(content).collect();
        part.reverse();
        assert_eq!(part, expected[middle]);
    }
}

proptest! {
    #[test]
    fn streams_are_maps_in_order(steps in prop::collection::vec(step(), 0..60)) {
        let (mut stream, mut model) = (Stream::default(), BTreeMap::<StreamId, Fields>::new());
        let mut ids = Ids::default();
        for step in steps {
            match step {
                Step::Append(ms, seq, fields) => {
                    let ms = ids.last.ms + ms;
                    let next = if ms > ids.last.ms { id(ms, seq) } else { id(ms, ids.last.seq + 1) };
                    append(&mut stream, next, &fields);
                    model.insert(next, fields);
                    ids = Ids { last: next, added: ids.added + 1, ..ids };
                }
                Step::Delete(index) if !model.is_empty() => {
                    let (doomed, fields) = model.iter().nth(index.index(model.len())).unwrap();
                    let doomed = *doomed;
                    prop_assert_eq!(&content(stream.get(doomed).unwrap()).1, fields);
                    prop_assert!(stream.delete(doomed) && !stream.delete(doomed));
                    model.remove(&doomed);
                    ids.max_deleted = ids.max_deleted.max(doomed);
                }
                Step::Delete(_) => prop_assert!(!stream.delete(ids.last)),
                Step::Trim(n, by_len, approximate, limit) => {
                    let bound = if by_len { Bound::Len(n) } else { Bound::Id(id(n, 0)) };
                    let limit = if approximate { limit } else { 0 };
                    let before = stream.len();
                    let removed = stream.trim(&Trim { bound, approximate, limit, references: References::Keep }).removed;
                    prop_assert_eq!(before - removed, stream.len());
                    let stays = |model: &BTreeMap<StreamId, Fields>| match bound {
                        Bound::Len(n) => model.len() as u64 <= n,
                        Bound::Id(id) => model.first_key_value().is_none_or(|(first, _)| *first >= id),
                    };
                    for _ in 0..removed {
                        prop_assert!(!stays(&model));
                        model.pop_first();
                    }
                    prop_assert!(approximate || stays(&model));
                    prop_assert!(limit == 0 || removed <= limit);
                }
                Step::Reload => {
                    let mut again = loaded(&wholes(&stream)).unwrap();
                    again.load_ids(stream.len(), ids.last, ids.max_deleted, Some(ids.added)).unwrap();
                    stream = again;
                }
            }
            check(&stream, &model, ids);
        }
    }

    #[test]
    fn broken_nodes_are_refused_or_sound(
        count in 1..8u64,
        all in prop::collection::vec(some_fields(), 8),
        cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut stream = Stream::default();
        for n in 1..=count {
            let limits = NodeLimits { bytes: 0, entries: 0 };
            let fields = &all[n as usize - 1];
            stream.append(id(n, 0), fields.iter().map(|(name, value)| (&name[..], &value[..])), limits);
        }
        stream.delete(id(2, 0));
        let (master, whole) = wholes(&stream).remove(0);
        let cut = &whole[..cut.index(whole.len())];
        prop_assert!(Stream::default().load_node(master, cut).is_err());
        let mut flipped = whole.clone();
        for (at, byte) in flips {
            let at = at.index(flipped.len());
            flipped[at] = byte;
        }
        let mut strange = Stream::default();
        if strange.load_node(master, &flipped).is_ok() {
            let entries: Vec<_> = strange.iter().map(content).collect();
            prop_assert_eq!(entries.len() as u64, strange.len());
            for (id, _) in entries {
                prop_assert!(strange.delete(id));
            }
            prop_assert!(strange.is_empty());
        }
    }
}
