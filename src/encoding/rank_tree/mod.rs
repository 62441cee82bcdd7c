//! A B+ tree of scored members that knows the rank of each: the order of a large sorted set.
//!
//! Elements are ordered by score, then by the bytes of the member, and none is there twice. Leaves
//! hold up to 63 elements, scores and members in arrays of their own, so that a search reads members
//! only where scores are equal. Inner nodes hold of each child its first element and how many
//! elements are below it, from which ranks follow in O(log n) (an order-statistic tree). A tree begins
//! with a small leaf for 7 elements; the eighth moves them into one of full size, which stays.
//!
//! ```text
//!                 firsts  1:a     4:k      7:b
//!                 counts   3       2        2
//!                   /             |          \
//!          1:a 1:c 3:b        4:k 5:a        7:b 9:x
//! ```
//!
//! Invariants: the first element that an inner node holds of a child is exactly the child's first
//! (a member that was removed is nowhere in the tree), the count is exact, and no node is empty but
//! a root that is a leaf. A node that becomes thin merges with a neighbour if both are small enough;
//! nothing is moved between nodes otherwise. A full node splits in the middle, but where the new
//! element is its first or last: then the new element starts a node of its own, which leaves full
//! nodes behind when elements come in order.
//!
//! The tree does not own its members and never looks at one but to compare it.

mod node;

use std::cmp::Ordering;
use std::ops::Range;

use node::{Node, Taken};

/// Something small that names a member.
pub trait Member: Copy {
    /// The member's bytes.
    fn bytes(&self) -> &[u8];
}

/// A place between two elements.
#[derive(Clone, Copy, Debug)]
pub enum Bound<'a> {
    /// Before the elements of this score and above.
    Score(f64),
    /// After the elements of this score.
    AfterScore(f64),
    /// Before this element, or where it would be.
    Element(f64, &'a [u8]),
    /// After this element, or where it would be.
    AfterElement(f64, &'a [u8]),
    /// Before the members from this one on, where all scores are equal.
    Lex(&'a [u8]),
    /// After this member, where all scores are equal.
    AfterLex(&'a [u8]),
}

impl Bound<'_> {
    /// How many of these elements, which are in order, come before the bound.
    #[inline]
    fn count_before<M: Member>(self, scores: &[f64], members: &[M]) -> usize {
        let among = |run: Range<usize>, bytes: &[u8], after: bool| {
            let before = |member: &M| match member.bytes().cmp(bytes) {
                Ordering::Less => true,
                Ordering::Equal => after,
                Ordering::Greater => false,
            };
            run.start + members[run].partition_point(before)
        };
        let element = |score: f64, bytes: &[u8], after: bool| {
            let start = scores.partition_point(|s| *s < score);
            if scores.get(start) != Some(&score) {
                return start;
            }
            let end = start + scores[start..].partition_point(|s| *s == score);
            among(start..end, bytes, after)
        };
        match self {
            Self::Score(score) => scores.partition_point(|s| *s < score),
            Self::AfterScore(score) => scores.partition_point(|s| *s <= score),
            Self::Element(score, bytes) => element(score, bytes, false),
            Self::AfterElement(score, bytes) => element(score, bytes, true),
            Self::Lex(bytes) => among(0..scores.len(), bytes, false),
            Self::AfterLex(bytes) => among(0..scores.len(), bytes, true),
        }
    }
}

/// Scored members in order. See the module's documentation.
pub struct RankTree<M> {
    root: Node<M>,
    len: usize,
}

impl<M: Member> Default for RankTree<M> {
    fn default() -> Self {
        Self { root: Node::empty(), len: 0 }
    }
}

impl<M: Member> RankTree<M> {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an element that is not there; `score` is not NaN.
    pub fn insert(&mut self, score: f64, member: M) {
        debug_assert!(!score.is_nan());
        if let Some(right) = self.root.insert(score, member) {
            let left = std::mem::replace(&mut self.root, Node::empty());
            self.root = Node::above(left, right);
        }
        self.len += 1;
    }

    /// Removes an element; `false` when it is not there.
    pub fn remove(&mut self, score: f64, bytes: &[u8]) -> bool {
        let removed = matches!(self.root.take(score, bytes, None), Taken::Out(_));
        if removed {
            self.len -= 1;
            self.lower_root();
        }
        removed
    }

    /// Gives the element another score; `false` when it is not there.
    pub fn set_score(&mut self, score: f64, bytes: &[u8], new_score: f64) -> bool {
        match self.root.take(score, bytes, Some(new_score)) {
            Taken::Absent => return false,
            Taken::Changed => {}
            Taken::Out(member) => {
                self.len -= 1;
                self.lower_root();
                self.insert(new_score, member);
            }
        }
        true
    }

    /// How many elements come before the bound.
    pub fn rank(&self, bound: Bound<'_>) -> usize {
        self.root.rank(bound)
    }

    /// The element of that rank, counted from 0.
    pub fn get(&self, rank: usize) -> Option<(f64, M)> {
        if rank >= self.len {
            return None;
        }
        let (leaf, at) = self.root.leaf_at(rank);
        Some((leaf.scores[at], leaf.members[at]))
    }

    /// The elements of those ranks, which are cut to those there are.
    pub fn range(&self, ranks: Range<usize>) -> Iter<'_, M> {
        let end = ranks.end.min(self.len);
        let none = Run { scores: &[], members: &[] };
        Iter { tree: self, ranks: ranks.start.min(end)..end, front: none, back: none }
    }

    /// Removes the elements of those ranks, handing each to `removed` in order.
    pub fn remove_range(&mut self, ranks: Range<usize>, mut removed: impl FnMut(f64, M)) {
        let end = ranks.end.min(self.len);
        let ranks = ranks.start.min(end)..end;
        if !ranks.is_empty() {
            self.range(ranks.clone()).for_each(|(score, member)| removed(score, member));
            self.len -= ranks.len();
            self.root.remove_range(ranks);
            self.lower_root();
        }
    }

    /// Bytes of memory behind the tree.
    pub fn memory(&self) -> usize {
        self.root.memory()
    }

    /// Drops roots that have a single child.
    fn lower_root(&mut self) {
        while let Some(only) = self.root.take_only_kid() {
            self.root = only;
        }
    }
}

/// Elements that lie side by side in a leaf.
#[derive(Clone, Copy)]
struct Run<'a, M> {
    scores: &'a [f64],
    members: &'a [M],
}

impl<M: Copy> Run<'_, M> {
    fn part(self, of: Range<usize>) -> Self {
        Self { scores: &self.scores[of.clone()], members: &self.members[of] }
    }

    fn pop_front(&mut self) -> Option<(f64, M)> {
        let ((score, scores), (member, members)) =
            (self.scores.split_first()?, self.members.split_first()?);
        (self.scores, self.members) = (scores, members);
        Some((*score, *member))
    }

    fn pop_back(&mut self) -> Option<(f64, M)> {
        let ((score, scores), (member, members)) =
            (self.scores.split_last()?, self.members.split_last()?);
        (self.scores, self.members) = (scores, members);
        Some((*score, *member))
    }
}

/// Elements of neighbouring ranks, from both ends.
///
/// Each leaf is found by its rank anew, which takes no stack and no links between leaves.
pub struct Iter<'a, M> {
    tree: &'a RankTree<M>,
    /// What neither run holds and nobody has got.
    ranks: Range<usize>,
    front: Run<'a, M>,
    back: Run<'a, M>,
}

impl<M: Member> Iterator for Iter<'_, M> {
    type Item = (f64, M);

    #[inline]
    fn next(&mut self) -> Option<(f64, M)> {
        if let Some(item) = self.front.pop_front() {
            return Some(item);
        }
        if self.ranks.is_empty() {
            return self.back.pop_front();
        }
        let (leaf, at) = self.tree.root.leaf_at(self.ranks.start);
        let len = (leaf.scores.len() - at).min(self.ranks.len());
        self.front = leaf.part(at..at + len);
        self.ranks.start += len;
        self.front.pop_front()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.front.scores.len() + self.ranks.len() + self.back.scores.len();
        (len, Some(len))
    }
}

impl<M: Member> DoubleEndedIterator for Iter<'_, M> {
    #[inline]
    fn next_back(&mut self) -> Option<(f64, M)> {
        if let Some(item) = self.back.pop_back() {
            return Some(item);
        }
        if self.ranks.is_empty() {
            return self.front.pop_back();
        }
        let (leaf, last) = self.tree.root.leaf_at(self.ranks.end - 1);
        let len = (last + 1).min(self.ranks.len());
        let first = last + 1 - len;
        self.back = leaf.part(first..last + 1);
        self.ranks.end -= len;
        self.back.pop_back()
    }
}

impl<M: Member> ExactSizeIterator for Iter<'_, M> {}

#[cfg(test)]
mod tests;
