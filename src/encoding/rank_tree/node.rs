//! The nodes of the tree: how they split, merge and find.

use std::ops::Range;

use smallvec::SmallVec;

use super::{Bound, Member, Run};

/// Elements of a full leaf, which then takes 1 KiB.
const LEAF_MAX: usize = 63;

/// Elements of the full first leaf of a tree, which then takes 128 bytes.
const FIRST_MAX: usize = 7;

/// Children of a full inner node, which then takes 2 KiB.
const KIDS_MAX: usize = 50;

/// Elements in order. The vectors never outgrow the node, so they have no memory of their own.
pub(super) struct Elements<M, const MAX: usize> {
    scores: SmallVec<[f64; MAX]>,
    members: SmallVec<[M; MAX]>,
}

impl<M: Member, const MAX: usize> Elements<M, MAX> {
    fn new() -> Self {
        Self { scores: SmallVec::new(), members: SmallVec::new() }
    }

    #[inline]
    fn len(&self) -> usize {
        self.scores.len()
    }

    #[inline]
    fn count_before(&self, bound: Bound<'_>) -> usize {
        bound.count_before(&self.scores, &self.members)
    }

    #[inline]
    fn get(&self, at: usize) -> (f64, M) {
        (self.scores[at], self.members[at])
    }

    fn set(&mut self, at: usize, (score, member): (f64, M)) {
        self.scores[at] = score;
        self.members[at] = member;
    }

    fn insert(&mut self, at: usize, (score, member): (f64, M)) {
        debug_assert!(self.len() < MAX);
        self.scores.insert(at, score);
        self.members.insert(at, member);
    }

    fn remove(&mut self, range: Range<usize>) {
        self.scores.drain(range.clone());
        self.members.drain(range);
    }

    fn split_off(&mut self, at: usize) -> Self {
        let (mut scores, mut members) = (SmallVec::new(), SmallVec::new());
        scores.extend_from_slice(&self.scores[at..]);
        members.extend_from_slice(&self.members[at..]);
        self.scores.truncate(at);
        self.members.truncate(at);
        Self { scores, members }
    }

    fn append<const RIGHT_MAX: usize>(&mut self, right: &Elements<M, RIGHT_MAX>) {
        debug_assert!(self.len() + right.len() <= MAX);
        self.scores.extend_from_slice(&right.scores);
        self.members.extend_from_slice(&right.members);
    }

    fn all(&self) -> Run<'_, M> {
        Run { scores: &self.scores, members: &self.members }
    }

    /// Adds the element where it belongs; a full node gives its upper part away.
    fn add(&mut self, score: f64, member: M) -> Option<Self> {
        let at = self.count_before(Bound::Element(score, member.bytes()));
        if self.len() < MAX {
            self.insert(at, (score, member));
            return None;
        }
        let middle = split_point(MAX, at);
        let mut right = self.split_off(middle);
        if at < middle || middle == 0 {
            self.insert(at, (score, member));
        } else {
            right.insert(at - middle, (score, member));
        }
        Some(right)
    }

    fn find(&self, score: f64, bytes: &[u8]) -> Option<usize> {
        let at = self.count_before(Bound::Element(score, bytes));
        let found = at < self.len() && self.scores[at] == score;
        (found && self.members[at].bytes() == bytes).then_some(at)
    }

    fn take(&mut self, score: f64, bytes: &[u8], new_score: Option<f64>) -> Taken<M> {
        let Some(at) = self.find(score, bytes) else { return Taken::Absent };
        if let Some(new_score) = new_score.filter(|score| self.keeps_place(at, *score)) {
            self.scores[at] = new_score;
            return Taken::Changed;
        }
        let (_, member) = self.get(at);
        self.remove(at..at + 1);
        Taken::Out(member)
    }

    /// Whether the element at `at` would stay between its neighbours in the node with `score`.
    fn keeps_place(&self, at: usize, score: f64) -> bool {
        // Equal scores would have to be told apart by their members; moving does that too.
        at > 0 && at + 1 < self.len() && self.scores[at - 1] < score && score < self.scores[at + 1]
    }
}

/// A node with children, at least one.
pub(super) struct Inner<M> {
    /// The first element below each child.
    firsts: Elements<M, KIDS_MAX>,
    /// How many elements are below each child.
    counts: SmallVec<[usize; KIDS_MAX]>,
    kids: SmallVec<[Node<M>; KIDS_MAX]>,
}

/// A node; its children are all of the same height.
pub(super) enum Node<M> {
    /// The root of a tree of few elements.
    First(Box<Elements<M, FIRST_MAX>>),
    Leaf(Box<Elements<M, LEAF_MAX>>),
    Inner(Box<Inner<M>>),
}

/// What became of an element that was to be taken out.
pub(super) enum Taken<M> {
    /// It is not there.
    Absent,
    /// It has another score now, at its old place.
    Changed,
    /// It is out.
    Out(M),
}

/// Where a full node of `len` parts splits to take another one at `at`.
fn split_point(len: usize, at: usize) -> usize {
    if at == 0 || at == len { at } else { len / 2 }
}

impl<M: Member> Inner<M> {
    fn new() -> Self {
        Self { firsts: Elements::new(), counts: SmallVec::new(), kids: SmallVec::new() }
    }

    fn push(&mut self, kid: Node<M>) {
        self.insert_kid(self.kids.len(), kid);
    }

    fn insert_kid(&mut self, at: usize, kid: Node<M>) {
        self.firsts.insert(at, kid.first());
        self.counts.insert(at, kid.count());
        self.kids.insert(at, kid);
    }

    fn remove_kids(&mut self, range: Range<usize>) {
        self.firsts.remove(range.clone());
        self.counts.drain(range.clone());
        self.kids.drain(range);
    }

    /// The child whose elements the bound lies among or next to.
    #[inline]
    fn kid_of(&self, bound: Bound<'_>) -> usize {
        self.firsts.count_before(bound).saturating_sub(1)
    }

    /// Takes what is known of a child from the child.
    fn refresh(&mut self, at: usize) {
        self.firsts.set(at, self.kids[at].first());
        self.counts[at] = self.kids[at].count();
    }

    fn insert(&mut self, score: f64, member: M) -> Option<Self> {
        let at = self.kid_of(Bound::Element(score, member.bytes()));
        let Some(split) = self.kids[at].insert(score, member) else {
            self.counts[at] += 1;
            if at == 0 {
                self.firsts.set(0, self.kids[0].first());
            }
            return None;
        };
        self.refresh(at);
        self.add_kid(at + 1, split)
    }

    fn add_kid(&mut self, at: usize, kid: Node<M>) -> Option<Self> {
        if self.kids.len() < KIDS_MAX {
            self.insert_kid(at, kid);
            return None;
        }
        let middle = split_point(KIDS_MAX, at);
        let mut right = Self::new();
        right.firsts = self.firsts.split_off(middle);
        right.counts.extend(self.counts.drain(middle..));
        right.kids.extend(self.kids.drain(middle..));
        if at < middle {
            self.insert_kid(at, kid);
        } else {
            right.insert_kid(at - middle, kid);
        }
        Some(right)
    }

    fn append(&mut self, mut right: Self) {
        self.firsts.append(&right.firsts);
        self.counts.extend_from_slice(&right.counts);
        self.kids.extend(right.kids.drain(..));
    }

    fn take(&mut self, score: f64, bytes: &[u8], new_score: Option<f64>) -> Taken<M> {
        let at = self.kid_of(Bound::AfterElement(score, bytes));
        let taken = self.kids[at].take(score, bytes, new_score);
        if matches!(taken, Taken::Out(_)) {
            self.mend(at);
        }
        taken
    }

    /// Brings the node in order after the child at `at` lost elements.
    fn mend(&mut self, at: usize) {
        if self.kids[at].width() == 0 {
            return self.remove_kids(at..at + 1);
        }
        self.refresh(at);
        if !self.kids[at].is_thin() {
            return;
        }
        let pairs = [at.checked_sub(1), (at + 1 < self.kids.len()).then_some(at)];
        if let Some(left) = pairs.into_iter().flatten().find(|left| self.may_merge(*left)) {
            let right = self.kids.remove(left + 1);
            self.kids[left].append(right);
            self.firsts.remove(left + 1..left + 2);
            self.counts.remove(left + 1);
            self.refresh(left);
        }
    }

    /// Whether the child at `left` and its right neighbour fit into one with room to spare.
    fn may_merge(&self, left: usize) -> bool {
        let (left, right) = (&self.kids[left], &self.kids[left + 1]);
        left.width() + right.width() <= left.width_max() * 3 / 4
    }

    fn remove_range(&mut self, ranks: Range<usize>) {
        let (mut start, mut whole, mut cut) = (0, 0..0, SmallVec::<[usize; 2]>::new());
        for at in 0..self.kids.len() {
            let kid = start..start + self.counts[at];
            start = kid.end;
            let part = ranks.start.max(kid.start)..ranks.end.min(kid.end);
            if part == kid {
                whole = if whole.is_empty() { at..at + 1 } else { whole.start..at + 1 };
            } else if !part.is_empty() {
                self.kids[at].remove_range(part.start - kid.start..part.end - kid.start);
                cut.push(at);
            }
        }
        self.remove_kids(whole.clone());
        // From the end on, because mending may remove a child.
        for at in cut.into_iter().rev() {
            self.mend(if at < whole.end { at } else { at - whole.len() });
        }
    }
}

impl<M: Member> Node<M> {
    pub(super) fn empty() -> Self {
        Self::First(Box::new(Elements::new()))
    }

    /// A node with two children.
    pub(super) fn above(left: Self, right: Self) -> Self {
        let mut inner = Box::new(Inner::new());
        inner.push(left);
        inner.push(right);
        Self::Inner(inner)
    }

    /// How many parts the node has: elements or children.
    fn width(&self) -> usize {
        match self {
            Self::First(first) => first.len(),
            Self::Leaf(leaf) => leaf.len(),
            Self::Inner(inner) => inner.kids.len(),
        }
    }

    fn width_max(&self) -> usize {
        match self {
            Self::First(_) => FIRST_MAX,
            Self::Leaf(_) => LEAF_MAX,
            Self::Inner(_) => KIDS_MAX,
        }
    }

    fn is_thin(&self) -> bool {
        self.width() < self.width_max() / 3
    }

    /// How many elements are in the node and below it.
    fn count(&self) -> usize {
        match self {
            Self::First(first) => first.len(),
            Self::Leaf(leaf) => leaf.len(),
            Self::Inner(inner) => inner.counts.iter().sum(),
        }
    }

    fn first(&self) -> (f64, M) {
        match self {
            Self::First(first) => first.get(0),
            Self::Leaf(leaf) => leaf.get(0),
            Self::Inner(inner) => inner.firsts.get(0),
        }
    }

    /// Adds an element; a node that splits returns its upper part.
    pub(super) fn insert(&mut self, score: f64, member: M) -> Option<Self> {
        match self {
            Self::First(first) if first.len() == FIRST_MAX => {
                let mut leaf = Box::new(Elements::new());
                leaf.append(first);
                *self = Self::Leaf(leaf);
                self.insert(score, member)
            }
            Self::First(first) => {
                let split = first.add(score, member);
                debug_assert!(split.is_none(), "there was room");
                None
            }
            Self::Leaf(leaf) => leaf.add(score, member).map(|right| Self::Leaf(Box::new(right))),
            Self::Inner(inner) => {
                inner.insert(score, member).map(|right| Self::Inner(Box::new(right)))
            }
        }
    }

    /// Takes an element out, but if it has its place with `new_score` too only changes its score.
    pub(super) fn take(&mut self, score: f64, bytes: &[u8], new_score: Option<f64>) -> Taken<M> {
        match self {
            Self::Inner(inner) => inner.take(score, bytes, new_score),
            Self::Leaf(leaf) => leaf.take(score, bytes, new_score),
            Self::First(first) => first.take(score, bytes, new_score),
        }
    }

    /// Removes the elements of those ranks, which are there and not none.
    pub(super) fn remove_range(&mut self, ranks: Range<usize>) {
        match self {
            Self::First(first) => first.remove(ranks),
            Self::Leaf(leaf) => leaf.remove(ranks),
            Self::Inner(inner) => inner.remove_range(ranks),
        }
    }

    pub(super) fn rank(&self, bound: Bound<'_>) -> usize {
        let (mut node, mut before) = (self, 0);
        loop {
            match node {
                Self::First(first) => return before + first.count_before(bound),
                Self::Leaf(leaf) => return before + leaf.count_before(bound),
                Self::Inner(inner) => {
                    let at = inner.kid_of(bound);
                    before += inner.counts[..at].iter().sum::<usize>();
                    node = &inner.kids[at];
                }
            }
        }
    }

    /// The leaf that holds the element of that rank, which is there, and its index within.
    pub(super) fn leaf_at(&self, mut rank: usize) -> (Run<'_, M>, usize) {
        let mut node = self;
        loop {
            match node {
                Self::First(first) => return (first.all(), rank),
                Self::Leaf(leaf) => return (leaf.all(), rank),
                Self::Inner(inner) => {
                    let mut at = 0;
                    while rank >= inner.counts[at] {
                        rank -= inner.counts[at];
                        at += 1;
                    }
                    node = &inner.kids[at];
                }
            }
        }
    }

    /// Puts the parts of `right`, a node of the same height, behind those of this one.
    fn append(&mut self, right: Self) {
        match (self, right) {
            (Self::Leaf(left), Self::Leaf(right)) => left.append(&right),
            (Self::Inner(left), Self::Inner(right)) => left.append(*right),
            _ => unreachable!("the children of a node are of the same height"),
        }
    }

    /// Takes the child of an inner node that has no other, or an empty leaf if it has none at all.
    pub(super) fn take_only_kid(&mut self) -> Option<Self> {
        match self {
            Self::Inner(inner) if inner.kids.len() < 2 => {
                Some(inner.kids.pop().unwrap_or_else(Self::empty))
            }
            _ => None,
        }
    }

    /// Bytes of memory of the node and what is below it.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::First(_) => size_of::<Elements<M, FIRST_MAX>>(),
            Self::Leaf(_) => size_of::<Elements<M, LEAF_MAX>>(),
            Self::Inner(inner) => {
                size_of::<Inner<M>>() + inner.kids.iter().map(Self::memory).sum::<usize>()
            }
        }
    }

    /// Checks the invariants of the node and what is below it; returns its height.
    #[cfg(test)]
    pub(super) fn check(&self, root: bool) -> usize {
        assert!(root || self.width() > 0, "no node is empty");
        let Self::Inner(inner) = self else { return 0 };
        assert_eq!((inner.firsts.len(), inner.counts.len()), (inner.kids.len(), inner.kids.len()));
        let mut heights = Vec::new();
        for (at, kid) in inner.kids.iter().enumerate() {
            let ((score, member), (first, first_member)) = (inner.firsts.get(at), kid.first());
            assert_eq!((score, member.bytes()), (first, first_member.bytes()));
            assert_eq!(inner.counts[at], kid.count());
            heights.push(kid.check(false));
        }
        assert!(heights.iter().all(|height| *height == heights[0]));
        heights[0] + 1
    }

    /// The lengths of all leaves, in order.
    #[cfg(test)]
    pub(super) fn leaf_lens(&self, out: &mut Vec<usize>) {
        match self {
            Self::First(first) => out.push(first.len()),
            Self::Leaf(leaf) => out.push(leaf.len()),
            Self::Inner(inner) => inner.kids.iter().for_each(|kid| kid.leaf_lens(out)),
        }
    }
}
