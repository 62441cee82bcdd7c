//! Both forms against a `BTreeMap`, across the conversion.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::hash::KeyHasher;
use crate::encoding::listpack::Listpack;
use crate::value::limits::Limits;
use crate::value::packed::Draft;

/// Some members are integers, some numbers only look like one.
fn member(number: u32) -> Vec<u8> {
    match number % 4 {
        0 => format!("{number}"),
        1 => format!("-{number}"),
        2 => format!("0{number}"),
        _ => format!("m{number}"),
    }
    .into_bytes()
}

fn sorted(expected: &BTreeMap<Vec<u8>, f64>) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = expected.iter().map(|(member, score)| (member.clone(), *score)).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    all
}

fn view(draft: &Draft) -> ZSetView<'_> {
    match (draft.packed(), draft.object()) {
        (Some(packed), _) => ZSet::of(ValueView::Packed(packed)),
        (_, Some(object)) => ZSet::of(ValueView::Object(object)),
        _ => None,
    }
    .expect("the draft holds a sorted set")
}

fn check(set: ZSetView<'_>, expected: &BTreeMap<Vec<u8>, f64>) {
    let expected = sorted(expected);
    assert_eq!(set.len(), expected.len());
    let owned = |(member, score): (Item<'_>, f64)| (member.to_vec(), score);
    assert_eq!(set.iter().map(owned).collect::<Vec<_>>(), expected);
    assert!(set.iter().rev().map(owned).eq(expected.iter().rev().cloned()));
    for (rank, (member, score)) in expected.iter().enumerate() {
        assert_eq!((set.score(member), set.rank(member)), (Some(*score), Some((rank, *score))));
    }
    for (min, max) in [(0.0, 3.0), (1.0, 1.0), (2.5, 100.0), (3.0, 1.0)] {
        for open in 0..4 {
            let (min_open, max_open) = (open & 1 != 0, open & 2 != 0);
            let range = ScoreRange { min, max, min_open, max_open };
            let found = set.range(set.ranks_by_score(range)).map(owned).collect::<Vec<_>>();
            let inside = |score: f64| range.reaches(score) && range.covers(score);
            let wanted: Vec<_> = expected.iter().filter(|e| inside(e.1)).cloned().collect();
            assert_eq!(found, wanted, "{range:?}");
        }
    }
}

#[test]
fn scores_are_stored_as_redis_stores_them() {
    let text = |score| {
        let list = encode_pair(score);
        Listpack::new(&list).iter().map(|(_, item)| item.to_vec()).nth(1)
    };
    for (score, expected) in [
        (1.0, "1"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (1e300, "1e+300"),
        (4_611_686_018_427_387_904.0, "4611686018427387904"),
    ] {
        assert_eq!(text(score), Some(expected.as_bytes().to_vec()));
    }
    assert!(matches!(Listpack::new(&encode_pair(7.0)).get(2), Item::Int(7)));
}

fn encode_pair(score: f64) -> Vec<u8> {
    packed::encode(b"", score)
}

#[test]
fn members_of_equal_score_are_ranged_by_their_bytes() {
    let (limits, hasher) = (Limits::default(), KeyHasher::seeded(1));
    for count in [20, 500] {
        let mut draft = Draft::new(PackedForm::ZSet);
        let context = EditContext { limits: &limits, hasher: &hasher, now_ms: 0 };
        let mut all: Vec<Vec<u8>> = (0..count).map(member).collect();
        for member in &all {
            ZSet::edit(&mut draft, context).update(member, |_| Some(0.0));
        }
        all.sort();
        let set = view(&draft);
        assert_eq!(matches!(set, ZSetView::Large(_)), count == 500);
        let ends = |at: usize| {
            [LexEnd::Open(&all[at]), LexEnd::Closed(&all[at]), LexEnd::Lowest, LexEnd::Highest]
        };
        for (low, high) in [(0, 5), (3, 3), (7, 2), (9, 19)] {
            for min in ends(low) {
                for max in ends(high) {
                    let range = LexRange { min, max };
                    let inside = |m: &&Vec<u8>| range.reaches(m) && range.covers(m);
                    let wanted: Vec<_> = all.iter().filter(inside).cloned().collect();
                    let found = set.range(set.ranks_by_lex(range)).map(|(m, _)| m.to_vec());
                    assert_eq!(found.collect::<Vec<_>>(), wanted, "{range:?}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn behaves_like_a_map(
        steps in prop::collection::vec((0u8..8, 0u32..220, any::<u16>()), 1..500),
    ) {
        let (limits, hasher) = (Limits::default(), KeyHasher::seeded(1));
        let context = EditContext { limits: &limits, hasher: &hasher, now_ms: 0 };
        let (mut draft, mut expected) = (Draft::new(PackedForm::ZSet), BTreeMap::new());
        for (action, number, other) in steps {
            let (member, score) = (member(number), f64::from(other % 32) / 4.0);
            let mut edit = ZSet::edit(&mut draft, context);
            match action {
                0 | 1 => prop_assert_eq!(edit.remove(&member), expected.remove(&member)),
                2 => {
                    let before = expected.get(&member).copied();
                    let after = before.map(|before| before + score);
                    let updated = edit.update(&member, |old| old.map(|old| old + score));
                    prop_assert_eq!(updated, Updated { before, after });
                    after.map(|after| expected.insert(member, after));
                }
                3 if other % 16 == 0 => {
                    let all = sorted(&expected);
                    let start = (number as usize).min(all.len());
                    let end = (start + usize::from(other) % 40).min(all.len());
                    edit.remove_range(start..end);
                    all[start..end].iter().for_each(|(m, _)| expected.retain(|e, _| e != m));
                }
                _ => {
                    let before = expected.insert(member.clone(), score);
                    let updated = edit.update(&member, |_| Some(score));
                    prop_assert_eq!(updated, Updated { before, after: Some(score) });
                }
            }
            prop_assert!(expected.len() <= 128 || draft.object().is_some());
        }
        check(view(&draft), &expected);
    }
}
