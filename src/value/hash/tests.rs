//! Hashes against a map, across the conversions.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::hash::KeyHasher;
use crate::encoding::field::NewFieldValue;
use crate::value::limits::Limits;
use crate::value::packed::Draft;

const NOW_MS: i64 = 1000;

fn limits(entries: i64, value: i64) -> Limits {
    let limits = Limits::default();
    limits.set_all(|directive| match directive {
        "hash-max-listpack-entries" => entries,
        "hash-max-listpack-value" => value,
        _ => 0,
    });
    limits
}

fn encoding(draft: &Draft) -> &'static str {
    match (draft.packed(), draft.object()) {
        (Some(packed), _) => packed.form.encoding(),
        (None, object) => object.expect("one of the two").encoding(),
    }
}

fn set(draft: &mut Draft, limits: &Limits, name: &[u8], value: &[u8]) -> bool {
    edit(draft, limits, |hash| hash.set(name, NewFieldValue::Bytes(value), FieldTtl::Clear))
}

fn edit<R>(draft: &mut Draft, limits: &Limits, change: impl FnOnce(&mut HashMut<'_>) -> R) -> R {
    let hasher = KeyHasher::seeded(1);
    let context = EditContext { limits, hasher: &hasher, now_ms: NOW_MS };
    change(&mut Hash::edit(draft, context))
}

#[test]
fn converts_at_the_thresholds() {
    let limits = limits(3, 8);
    let fresh = || Draft::new(PackedForm::Hash);
    let mut draft = fresh();
    for n in 0..3 {
        assert!(set(&mut draft, &limits, &[n], b"12345678"));
    }
    assert_eq!(encoding(&draft), "listpack");
    set(&mut draft, &limits, b"x", b"y");
    assert_eq!(encoding(&draft), "hashtable");
    for (name, value) in [(&b"123456789"[..], &b"v"[..]), (b"f", b"123456789")] {
        let mut draft = fresh();
        set(&mut draft, &limits, name, value);
        assert_eq!(encoding(&draft), "hashtable");
    }
    let mut draft = fresh();
    set(&mut draft, &limits, b"f", b"v");
    assert!(edit(&mut draft, &limits, |hash| hash.set_deadline(b"f", Some(5000))));
    assert_eq!(encoding(&draft), "hashtable");
}

#[test]
fn long_bodies_become_tables() {
    let (limits, value) = (limits(i64::MAX, i64::MAX), vec![b'v'; 40_000]);
    let mut draft = Draft::new(PackedForm::Hash);
    set(&mut draft, &limits, b"a", &value);
    assert_eq!(encoding(&draft), "listpack");
    set(&mut draft, &limits, b"b", &value);
    assert_eq!(encoding(&draft), "hashtable");
    edit(&mut draft, &limits, |hash| assert_eq!(hash.view().len(), 2));
}

#[derive(Clone, Debug)]
enum Op {
    Set(Vec<(u8, Vec<u8>)>),
    Keep(u8, Vec<u8>),
    Remove(u8),
    Deadline(u8, Option<i64>),
    Expire,
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i16>().prop_map(|n| n.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..12),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => prop::collection::vec((0..100u8, value()), 1..6).prop_map(Op::Set),
        2 => (0..100u8, value()).prop_map(|(n, v)| Op::Keep(n, v)),
        2 => (0..100u8).prop_map(Op::Remove),
        1 => (0..100u8, prop::option::of(900..1100i64)).prop_map(|(n, at)| Op::Deadline(n, at)),
        1 => Just(Op::Expire),
    ];
    prop::collection::vec(op, 1..40)
}

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

fn is_live(field: &(Vec<u8>, Option<i64>)) -> bool {
    field.1.is_none_or(|at_ms| at_ms > NOW_MS)
}

fn apply(op: Op, draft: &mut Draft, limits: &Limits, model: &mut Model) {
    let name = |n: u8| if n.is_multiple_of(2) { n.to_string().into_bytes() } else { vec![b'f', n] };
    match op {
        Op::Set(fields) => {
            let fields: Vec<_> = fields.into_iter().map(|(n, value)| (name(n), value)).collect();
            let new = fields.iter().map(|(n, v)| (&n[..], NewFieldValue::Bytes(v)));
            let created = edit(draft, limits, |hash| hash.set_all(new));
            let mut expected = 0;
            for (name, value) in fields {
                let before = model.insert(name, (value, None));
                expected += usize::from(!before.as_ref().is_some_and(is_live));
            }
            assert_eq!(created, expected);
        }
        Op::Keep(n, value) => {
            let new = NewFieldValue::Bytes(&value);
            let created = edit(draft, limits, |hash| hash.set(&name(n), new, FieldTtl::Keep));
            let kept = model.get(&name(n)).filter(|field| is_live(field)).map(|field| field.1);
            assert_eq!(created, kept.is_none());
            model.insert(name(n), (value, kept.flatten()));
        }
        Op::Remove(n) => {
            let removed = edit(draft, limits, |hash| hash.remove(&name(n)));
            assert_eq!(removed, model.remove(&name(n)).is_some());
        }
        Op::Deadline(n, at_ms) => {
            let found = edit(draft, limits, |hash| hash.set_deadline(&name(n), at_ms));
            assert_eq!(found, model.contains_key(&name(n)));
            model.entry(name(n)).and_modify(|field| field.1 = at_ms);
        }
        Op::Expire => {
            let removed = edit(draft, limits, |hash| hash.expire());
            let before = model.len();
            model.retain(|_, field| is_live(field));
            assert_eq!(before - model.len(), removed.len());
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_a_map(ops in ops(), entries in 0..80i64) {
        let (limits, mut draft) = (limits(entries, 10), Draft::new(PackedForm::Hash));
        let mut model = Model::new();
        for op in ops {
            apply(op, &mut draft, &limits, &mut model);
        }
        let (len, live, found) = edit(&mut draft, &limits, |hash| {
            let (view, mut found) = (hash.view(), Model::new());
            view.for_each(NOW_MS, |name, value| {
                let got = view.get(&name.to_vec()).expect("it was just seen");
                let text = got.bytes(&mut [0; 20]).to_vec();
                assert_eq!(text, value.bytes(&mut [0; 20]));
                found.insert(name.to_vec(), (text, got.deadline()));
            });
            (view.len(), view.live_len(NOW_MS), found)
        });
        prop_assert_eq!(len, model.len());
        model.retain(|_, field| is_live(field));
        prop_assert_eq!((live, found), (model.len(), model));
    }
}
