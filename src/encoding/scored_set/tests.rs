//! The set against a `BTreeMap`, under sanitizers too.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::encoding::table::Thin;

fn set_of(count: u32, score: impl Fn(u32) -> f64) -> ScoredSet {
    let mut set = ScoredSet::new(KeyHasher::seeded(1));
    for number in 0..count {
        set.update(&member(number), |_| Some(score(number)));
    }
    set
}

/// Some members are longer than a length byte can say.
fn member(number: u32) -> Vec<u8> {
    let mut text = format!("member:{number}").into_bytes();
    if number % 50 == 7 {
        text.resize(240 + number as usize % 32, b'x');
    }
    text
}

/// All members in the order they should have.
fn sorted(expected: &BTreeMap<Vec<u8>, f64>) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = expected.iter().map(|(member, score)| (member.clone(), *score)).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    all
}

fn check(set: &ScoredSet, expected: &BTreeMap<Vec<u8>, f64>) {
    let expected = sorted(expected);
    let all: Vec<_> = set.range(0..set.len()).map(|(m, score)| (m.to_vec(), score)).collect();
    assert_eq!(all, expected);
    for (rank, (member, score)) in expected.iter().enumerate() {
        assert_eq!((set.score(member), set.rank(member)), (Some(*score), Some((rank, *score))));
    }
    let len = |member: &Vec<u8>| member.len() + if member.len() < 255 { 9 } else { 13 };
    let bytes: usize = expected.iter().map(|(member, _)| size_class(len(member))).sum();
    assert_eq!(set.member_bytes, bytes);
}

#[test]
fn a_member_of_15_bytes_takes_24_besides_table_and_tree() {
    assert_eq!(Member::new(&[b'm'; 15], 1.0).as_view().len(), 24);
}

#[test]
fn scans_and_draws_find_every_member() {
    let set = set_of(2000, f64::from);
    let (mut seen, mut cursor) = (BTreeMap::new(), 0);
    loop {
        let mut visited = 0;
        cursor = set.scan(cursor, 10, |member, score| {
            seen.insert(member.to_vec(), score);
            visited += 1;
        });
        assert!(visited < 60, "{visited} at once");
        if cursor == 0 {
            break;
        }
    }
    check(&set.clone(), &seen);
    check(&set, &seen);
    let mut random = Random::seeded(1);
    for _ in 0..100 {
        let (member, score) = set.random(&mut random).expect("there are members");
        assert_eq!(set.score(member), Some(score));
    }
}

#[test]
fn memory_covers_what_a_member_takes() {
    let set = set_of(100_000, |n| f64::from(n.wrapping_mul(2_654_435_761)));
    let per_member = set.memory() / set.len();
    assert!((55..72).contains(&per_member), "{per_member} bytes");
}

proptest! {
    #[test]
    fn behaves_like_a_map(
        steps in prop::collection::vec((0u8..8, 0u32..300, any::<u16>()), 1..600),
    ) {
        let mut set = ScoredSet::new(KeyHasher::seeded(2));
        let mut expected = BTreeMap::new();
        for (action, number, other) in steps {
            let (member, score) = (member(number), f64::from(other % 64) / 4.0);
            match action {
                0 | 1 => prop_assert_eq!(set.remove(&member), expected.remove(&member)),
                2 => {
                    let before = expected.get(&member).copied();
                    let updated = set.update(&member, |old| old.map(|old| old + score));
                    let after = before.map(|before| before + score);
                    prop_assert_eq!(updated, Updated { before, after });
                    after.map(|after| expected.insert(member, after));
                }
                3 if other % 8 == 0 => {
                    let all = sorted(&expected);
                    let start = (number as usize).min(all.len());
                    let end = (start + usize::from(other) % 40).min(all.len());
                    let mut removed = Vec::new();
                    set.remove_range(start..end, |m, score| removed.push((m.to_vec(), score)));
                    prop_assert_eq!(&removed, &all[start..end]);
                    for (member, _) in &removed {
                        expected.remove(member);
                    }
                }
                _ => {
                    let before = expected.insert(member.clone(), score);
                    let updated = set.update(&member, |_| Some(score));
                    prop_assert_eq!(updated, Updated { before, after: Some(score) });
                }
            }
        }
        check(&set, &expected);
    }
}

#[test]
fn a_member_that_is_there_is_not_added_again() {
    let mut set = set_of(200, f64::from);
    assert!(!set.insert_new(&member(7), 500.0));
    assert!(set.insert_new(b"new", 500.0));
    assert_eq!(
        (set.len(), set.score(&member(7)), set.score(b"new")),
        (201, Some(7.0), Some(500.0))
    );
    assert_eq!(set.rank(b"new"), Some((200, 500.0)));
}
