//! Sets in every form against `BTreeSet`, and where forms convert.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::base::hash::KeyHasher;
use crate::value::limits::Limits;
use crate::value::packed::Draft;

/// A set in a place of its own.
struct Bench {
    draft: Draft,
    limits: Limits,
    hasher: KeyHasher,
    random: Random,
}

impl Bench {
    fn new() -> Self {
        let (draft, limits) = (Draft::fresh(Set::FRESH), Limits::default());
        Self { draft, limits, hasher: KeyHasher::seeded(1), random: Random::seeded(2) }
    }

    fn with(members: impl IntoIterator<Item = String>) -> Self {
        let mut bench = Self::new();
        members.into_iter().for_each(|member| assert!(bench.edit().insert(member.as_bytes())));
        bench
    }

    fn edit(&mut self) -> SetMut<'_> {
        let context = EditContext { limits: &self.limits, hasher: &self.hasher, now_ms: 0 };
        SetMut::new(&mut self.draft, context)
    }

    fn view(&self) -> SetView<'_> {
        let value = match self.draft.packed() {
            Some(packed) => ValueView::Packed(packed),
            None => self.draft.object().expect("packed or an object").view(),
        };
        value.of::<Set>().expect("a set")
    }

    fn encoding(&self) -> &'static str {
        match self.view() {
            SetView::Ints(_) => "intset",
            SetView::Listpack { .. } => "listpack",
            SetView::Table(_) => "hashtable",
        }
    }

    fn members(&self) -> BTreeSet<Vec<u8>> {
        let members: Vec<Vec<u8>> = self.view().iter().map(|item| item.to_vec()).collect();
        let unique: BTreeSet<Vec<u8>> = members.iter().cloned().collect();
        assert_eq!((members.len(), self.view().len()), (unique.len(), unique.len()));
        unique
    }
}

fn numbers(range: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    range.map(|number| number.to_string())
}

#[test]
fn forms_convert_where_redis_converts_them() {
    assert_eq!(Bench::with(numbers(0..512)).encoding(), "intset");
    assert_eq!(Bench::with(numbers(0..513)).encoding(), "hashtable");
    assert_eq!(Bench::with(numbers(0..127).chain(["a".to_owned()])).encoding(), "listpack");
    assert_eq!(Bench::with(numbers(0..128).chain(["a".to_owned()])).encoding(), "hashtable");
    assert_eq!(Bench::with((0..128).map(|n| format!("m{n}"))).encoding(), "listpack");
    assert_eq!(Bench::with((0..129).map(|n| format!("m{n}"))).encoding(), "hashtable");
    assert_eq!(Bench::with(["a".repeat(64)]).encoding(), "listpack");
    assert_eq!(Bench::with(["a".repeat(65)]).encoding(), "hashtable");
    assert_eq!(Bench::with(["007".to_owned()]).encoding(), "listpack");
}

#[test]
fn the_number_of_members_to_come_decides_the_form_of_a_new_set() {
    let prepared = |first: &str, count| {
        let mut bench = Bench::new();
        bench.edit().prepare(first.as_bytes(), count);
        bench.encoding()
    };
    assert_eq!([prepared("1", 512), prepared("a", 128)], ["intset", "listpack"]);
    assert_eq!([prepared("1", 513), prepared("a", 129)], ["hashtable", "hashtable"]);
    let mut ints = Bench::with(numbers(0..3));
    ints.edit().prepare(b"1", 513);
    assert_eq!(ints.encoding(), "hashtable");
}

#[test]
fn integers_widen_in_order() {
    let mut bench = Bench::new();
    for value in [5, -1, 40_000, i64::MIN, 3, i64::MAX, -40_000] {
        assert!(bench.edit().insert(value.to_string().as_bytes()));
        assert!(!bench.edit().insert(value.to_string().as_bytes()));
    }
    let sorted: Vec<i64> = bench.view().iter().filter_map(|item| item.integer()).collect();
    assert_eq!(sorted, [i64::MIN, -40_000, -1, 3, 5, 40_000, i64::MAX]);
    assert_eq!(bench.draft.packed().map(|p| p.form), Some(PackedForm::Ints64));
}

#[test]
fn what_grows_too_long_becomes_a_table() {
    let mut bench = Bench::new();
    bench.limits.set_all(|_| 1 << 20);
    (0..5_000)
        .for_each(|n| assert!(bench.edit().insert(format!("a longer member {n}").as_bytes())));
    assert_eq!((bench.encoding(), bench.view().len()), ("hashtable", 5_000));
    let mut bench = Bench::new();
    bench.limits.set_all(|_| 1 << 20);
    (0..10_000i64).for_each(|n| assert!(bench.edit().insert((n << 40).to_string().as_bytes())));
    assert_eq!((bench.encoding(), bench.view().len()), ("hashtable", 10_000));
}

#[test]
fn popping_nearly_all_leaves_a_small_set() {
    for (count, form) in [(900, "listpack"), (800, "hashtable"), (10, "hashtable")] {
        let mut bench = Bench::with((0..1000).map(|n| format!("m{n}")));
        let (before, mut taken) = (bench.members(), BTreeSet::new());
        let mut random = Random::seeded(4);
        bench.edit().pop_many(count, &mut random, |item| assert!(taken.insert(item.to_vec())));
        assert_eq!((taken.len(), bench.encoding()), (count, form));
        assert_eq!(bench.members(), before.difference(&taken).cloned().collect());
    }
}

#[test]
fn packed_members_are_popped_with_equal_chance() {
    for members in [numbers(0..20).collect::<Vec<_>>(), (0..20).map(|n| format!("m{n}")).collect()]
    {
        let mut counts = std::collections::HashMap::new();
        let mut random = Random::seeded(11);
        for _ in 0..2000 {
            let mut bench = Bench::with(members.clone());
            let mut count = |item: Item<'_>| *counts.entry(item.to_vec()).or_insert(0) += 1;
            bench.edit().pop_many(5, &mut random, &mut count);
            bench.edit().pop(&mut random, &mut count);
        }
        assert!(
            counts.len() == 20 && counts.values().all(|n| (480..720).contains(n)),
            "{counts:?}"
        );
    }
}

#[test]
fn sets_of_integers_are_packed_when_asked() {
    let mut bench = Bench::new();
    bench.edit().prepare(b"a", 1000);
    (0..300).for_each(|n| assert!(bench.edit().insert((n * 1000).to_string().as_bytes())));
    let before = bench.members();
    bench.edit().pack_integers();
    assert_eq!((bench.encoding(), bench.members()), ("intset", before));
    bench.edit().insert(b"a");
    bench.edit().pack_integers();
    assert_eq!(bench.encoding(), "hashtable");
}

#[derive(Clone, Debug)]
enum Op {
    Insert(Vec<u8>),
    Remove(Vec<u8>),
    Pop,
    PopMany(usize),
}

fn members() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (-300i64..300).prop_map(|n| n.to_string().into_bytes()),
        1 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        2 => "[a-z0-9]{0,3}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..80),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => members().prop_map(Op::Insert),
        5 => members().prop_map(Op::Remove),
        1 => Just(Op::Pop),
        1 => (0..12usize).prop_map(Op::PopMany),
    ];
    prop::collection::vec(op, 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn agrees_with_a_btree_set(ops in ops(), small in any::<bool>()) {
        let (mut bench, mut model) = (Bench::new(), BTreeSet::new());
        if small {
            bench.limits.set_all(|_| 20);
        }
        for op in ops {
            match op {
                Op::Insert(member) => {
                    prop_assert_eq!(bench.edit().insert(&member), model.insert(member.clone()));
                    prop_assert!(bench.view().contains(&member));
                    prop_assert!(bench.view().holds(&mut Probe::new(Item::Bytes(&member))));
                }
                Op::Remove(member) => {
                    prop_assert_eq!(bench.edit().remove(&member), model.remove(&member));
                    prop_assert!(!bench.view().contains(&member));
                }
                Op::Pop => {
                    let (mut random, mut taken) = (Random::seeded(bench.random.next_u64()), None);
                    bench.edit().pop(&mut random, |item| taken = Some(item.to_vec()));
                    prop_assert_eq!(taken.is_some(), !model.is_empty());
                    prop_assert!(taken.is_none_or(|taken| model.remove(&taken)));
                }
                Op::PopMany(count) if count < model.len() => {
                    let (mut random, mut taken) = (Random::seeded(bench.random.next_u64()), vec![]);
                    bench.edit().pop_many(count, &mut random, |item| taken.push(item.to_vec()));
                    prop_assert_eq!(taken.len(), count);
                    prop_assert!(taken.iter().all(|member| model.remove(member)));
                }
                Op::PopMany(_) => {}
            }
        }
        let mut scanned = BTreeSet::new();
        let next = bench.view().scan(0, usize::MAX, |item| scanned.extend([item.to_vec()]));
        prop_assert_eq!(next, 0);
        prop_assert_eq!(&scanned, &model);
        prop_assert_eq!(bench.members(), model);
    }
}
