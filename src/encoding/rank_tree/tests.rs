//! The tree against a `BTreeSet`, with its invariants checked on the way.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::base::random::Random;

/// Members are static texts, so that nothing in the tests owns them.
#[derive(Clone, Copy, Debug)]
struct Text(&'static [u8]);

impl Member for Text {
    fn bytes(&self) -> &[u8] {
        self.0
    }
}

/// A score as `BTreeSet` wants it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Score(f64);

impl Eq for Score {}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.partial_cmp(&other.0).expect("no score is NaN")
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

type Element = (Score, &'static [u8]);

/// 4,096 members: few enough to meet again, enough for three levels.
fn text(number: usize) -> Text {
    static TEXTS: std::sync::LazyLock<Vec<&'static [u8]>> = std::sync::LazyLock::new(|| {
        (0..4096).map(|n| &*format!("m{n:x}").into_bytes().leak()).collect()
    });
    Text(TEXTS[number % TEXTS.len()])
}

#[derive(Default)]
struct Model {
    tree: RankTree<Text>,
    expected: BTreeSet<Element>,
}

impl Model {
    fn insert(&mut self, score: f64, member: Text) {
        if self.expected.insert((Score(score), member.0)) {
            self.tree.insert(score, member);
        }
    }

    fn remove(&mut self, score: f64, member: Text) {
        let expected = self.expected.remove(&(Score(score), member.0));
        assert_eq!(self.tree.remove(score, member.0), expected);
    }

    fn set_score(&mut self, score: f64, member: Text, new_score: f64) {
        if score != new_score && self.expected.contains(&(Score(new_score), member.0)) {
            return;
        }
        let expected = self.expected.remove(&(Score(score), member.0));
        if expected {
            self.expected.insert((Score(new_score), member.0));
        }
        assert_eq!(self.tree.set_score(score, member.0, new_score), expected);
    }

    fn remove_range(&mut self, ranks: Range<usize>) {
        let all = self.elements();
        let end = ranks.end.min(all.len());
        let expected = all[ranks.start.min(end)..end].to_vec();
        let mut removed = Vec::new();
        self.tree.remove_range(ranks, |score, member| removed.push((Score(score), member.0)));
        expected.iter().for_each(|element| assert!(self.expected.remove(element)));
        assert_eq!(removed, expected);
    }

    fn elements(&self) -> Vec<Element> {
        self.expected.iter().copied().collect()
    }

    fn check(&self) {
        let expected = self.elements();
        assert_eq!((self.tree.len(), self.tree.is_empty()), (expected.len(), expected.is_empty()));
        let all = self.tree.range(0..usize::MAX).map(|(score, member)| (Score(score), member.0));
        assert_eq!(all.collect::<Vec<_>>(), expected);
        self.tree.root.check(true);
    }

    /// Ranks of bounds, elements at ranks and ranges, against those of the sorted list.
    fn check_ranks(&self, score: f64, member: Text, ranks: Range<usize>) {
        let expected = self.elements();
        let rank = |before: fn(Ordering) -> bool, element: Element| {
            expected.partition_point(|e| before(e.cmp(&element)))
        };
        let by_score = |before: fn(Ordering) -> bool| {
            expected.partition_point(|e| before(e.0.cmp(&Score(score))))
        };
        let element = (Score(score), member.0);
        let tree = &self.tree;
        assert_eq!(tree.rank(Bound::Score(score)), by_score(Ordering::is_lt));
        assert_eq!(tree.rank(Bound::AfterScore(score)), by_score(Ordering::is_le));
        assert_eq!(tree.rank(Bound::Element(score, member.0)), rank(Ordering::is_lt, element));
        assert_eq!(tree.rank(Bound::AfterElement(score, member.0)), rank(Ordering::is_le, element));
        let at = ranks.start;
        let found = tree.get(at).map(|(score, member)| (Score(score), member.0));
        assert_eq!(found, expected.get(at).copied());
        let end = ranks.end.min(expected.len());
        let part = &expected[at.min(end)..end];
        let back = tree.range(ranks.clone()).rev().map(|(score, member)| (Score(score), member.0));
        assert!(back.eq(part.iter().rev().copied()));
        let (mut iter, mut left) = (tree.range(ranks), part.iter());
        assert_eq!(iter.len(), part.len());
        while let Some(expected) = left.next() {
            assert_eq!(iter.next().map(|(s, m)| (Score(s), m.0)), Some(*expected));
            let back = iter.next_back().map(|(s, m)| (Score(s), m.0));
            assert_eq!(back, left.next_back().copied());
        }
        assert!(iter.next().is_none() && iter.next_back().is_none());
    }
}

fn leaf_lens(tree: &RankTree<Text>) -> Vec<usize> {
    let mut lens = Vec::new();
    tree.root.leaf_lens(&mut lens);
    lens
}

#[test]
fn elements_that_come_in_order_fill_their_leaves() {
    let (mut up, mut down) = (RankTree::default(), RankTree::default());
    for number in 0..4000 {
        up.insert(f64::from(number), text(0));
        down.insert(f64::from(-number), text(0));
    }
    for tree in [up, down] {
        tree.root.check(true);
        let lens = leaf_lens(&tree);
        assert!(lens.len() <= 4000 / 63 + 1, "{lens:?}");
    }
}

#[test]
fn three_levels_grow_and_shrink() {
    let (mut model, mut random) = (Model::default(), Random::seeded(1));
    for _ in 0..30_000 {
        model.insert(random.below(1000) as f64, text(random.below(4096) as usize));
    }
    model.check();
    assert!(model.tree.root.check(true) >= 2);
    let lens = leaf_lens(&model.tree);
    assert!(model.tree.len() / lens.len() > 38, "{} leaves", lens.len());
    let elements = model.elements();
    for (at, (score, member)) in elements.iter().enumerate() {
        if at % 16 != 0 {
            assert!(model.tree.remove(score.0, member));
            model.expected.remove(&(*score, *member));
        }
    }
    model.check();
    let lens = leaf_lens(&model.tree);
    assert!(model.tree.len() / lens.len() > 15, "{} leaves of {}", lens.len(), model.tree.len());
    model.elements().iter().for_each(|(score, member)| model.remove(score.0, Text(member)));
    model.check();
    assert_eq!(model.tree.root.check(true), 0);
}

#[test]
fn ranges_of_every_size_vanish() {
    let mut random = Random::seeded(2);
    for len in [1, 63, 64, 500, 5000, 9000] {
        let mut model = Model::default();
        while model.expected.len() < len {
            model.insert(random.below(500) as f64, text(random.below(4096) as usize));
        }
        while !model.expected.is_empty() {
            let start = random.below(model.expected.len() as u64) as usize;
            let most = 1 + random.below(len as u64);
            let removed = 1 + random.below(most) as usize;
            model.remove_range(start..start + removed);
            model.check();
        }
    }
}

#[test]
fn equal_scores_are_in_the_order_of_members() {
    let mut model = Model::default();
    (0..4096).rev().for_each(|number| model.insert(0.0, text(number * 7)));
    model.check();
    let sorted = model.elements();
    for (at, (_, member)) in sorted.iter().enumerate() {
        assert_eq!(model.tree.rank(Bound::Lex(member)), at);
        assert_eq!(model.tree.rank(Bound::AfterLex(member)), at + 1);
    }
    assert_eq!(model.tree.rank(Bound::Lex(b"")), 0);
    assert_eq!(model.tree.rank(Bound::AfterLex(b"z")), sorted.len());
}

#[test]
fn zeros_of_both_signs_and_infinities_are_scores() {
    let mut model = Model::default();
    for (number, score) in
        [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, 1.0].into_iter().enumerate()
    {
        model.insert(score, text(number));
    }
    model.check();
    model.check_ranks(-0.0, text(0), 0..5);
    model.check_ranks(f64::INFINITY, text(9), 1..3);
    model.remove(0.0, text(1));
    model.check();
}

proptest! {
    #[test]
    fn behaves_like_a_sorted_list(
        spread in 1u32..400,
        steps in prop::collection::vec((0u8..12, any::<u32>(), 0usize..4096, any::<u32>()), 1..1500),
    ) {
        let mut model = Model::default();
        for (action, number, member, other) in steps {
            let (score, other_score) = (f64::from(number % spread), f64::from(other % spread));
            let len = model.expected.len();
            match action {
                0 => model.remove(score, text(member)),
                1 if len > 0 => {
                    let (score, member) = model.elements()[member % len];
                    model.remove(score.0, Text(member));
                }
                2 => model.set_score(score, text(member), other_score),
                3 | 4 if len > 0 => {
                    let (score, member) = model.elements()[member % len];
                    let near = if action == 3 { score.0 + 0.25 } else { other_score };
                    model.set_score(score.0, Text(member), near);
                }
                5 if other % 16 == 0 => {
                    let start = member % (len + 1);
                    model.remove_range(start..start + other as usize % 100);
                }
                6 => {
                    let start = member % (len + 2);
                    model.check_ranks(score, text(member), start..start + other as usize % 200);
                }
                _ => model.insert(score, text(member)),
            }
        }
        model.check();
    }
}
