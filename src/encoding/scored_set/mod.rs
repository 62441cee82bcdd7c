//! The large form of a sorted set: a table that finds members and a tree that orders them.
//!
//! ```text
//! table  member -> item | score | member |
//!                         ^
//! tree   score, pointer --+    in order of score, then member
//! ```
//!
//! Each member is one allocation, owned by the table. The tree refers to it and keeps a copy of the
//! score beside the reference, so that it looks at members only where scores are equal.
//!
//! Invariant: table and tree hold the same members with the same scores. What is added is put into
//! the table first; what is removed leaves the tree first, so the tree never refers to what is gone.

#![expect(unsafe_code, reason = "the tree refers to what the table owns")]

mod member;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub use member::Member as ScoredMember;
use member::{Handle, Member};

use super::rank_tree::{self, Bound, RankTree};
use super::size_class::size_class;
use super::table::{CURSOR_BITS, Position, Shape, SharedReading, Table, Thin};
use crate::base::hash::KeyHasher;
use crate::base::random::Random;

/// Empty buckets a scan may pass over per member it was asked for.
const SKIPS_PER_COUNT: usize = 10;

/// 4 KiB for 448 slots.
const TABLE_BYTES_PER_SLOT: usize = 9;

/// A large sorted set. See the module's documentation.
pub struct ScoredSet {
    tree: RankTree<Handle>,
    table: Table<Member>,
    hasher: KeyHasher,
    /// Bytes of all members' allocations.
    member_bytes: usize,
}

/// What [`ScoredSet::update`] did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Updated {
    /// The score before.
    pub before: Option<f64>,
    /// The score afterwards.
    pub after: Option<f64>,
}

impl ScoredSet {
    /// An empty set.
    pub fn new(hasher: KeyHasher) -> Self {
        Self { tree: RankTree::default(), table: Table::new(0), hasher, member_bytes: 0 }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// How the hash table of members is built.
    pub fn shape(&self, full: bool) -> Shape {
        self.table.shape(full)
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// The member's score.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        let position = self.table.find(self.hasher.hash(member), member)?;
        Some(self.table.view(position).score())
    }

    /// Gives the member the score that `decide` makes of the one it has, unless that is `None`.
    ///
    /// The new score is not NaN. A score that equals the old one changes nothing.
    pub fn update(
        &mut self,
        member: &[u8],
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Updated {
        let hash = self.hasher.hash(member);
        let Some(position) = self.table.find(hash, member) else {
            let after = decide(None);
            if let Some(score) = after {
                self.insert(hash, member, score);
            }
            return Updated { before: None, after };
        };
        let before = self.table.view(position).score();
        let after = decide(Some(before)).unwrap_or(before);
        if after != before {
            self.tree.set_score(before, member, after);
            self.table.update(position, |item| item.set_score(after));
        }
        Updated { before: Some(before), after: Some(after) }
    }

    /// Adds a member; `false` if it is there already, and then nothing changes.
    pub fn insert_new(&mut self, member: &[u8], score: f64) -> bool {
        let hash = self.hasher.hash(member);
        let is_new = self.table.find(hash, member).is_none();
        if is_new {
            self.insert(hash, member, score);
        }
        is_new
    }

    fn insert(&mut self, hash: u64, member: &[u8], score: f64) {
        let position = self.table.insert(hash, Member::new(member, score), &self.hasher);
        let view = self.table.view(position);
        self.member_bytes += size_class(view.len());
        // SAFETY: the handle goes into the tree, from which `take` and `remove_range` remove it
        // before the member is freed; dropping the tree looks at no member.
        self.tree.insert(score, unsafe { view.handle() });
    }

    /// Removes the member; returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let hash = self.hasher.hash(member);
        let position = self.table.find(hash, member)?;
        let score = self.table.view(position).score();
        self.tree.remove(score, member);
        free(&mut self.table, &mut self.member_bytes, hash, position, &self.hasher);
        Some(score)
    }

    /// The member's rank, counted from 0, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        Some((self.tree.rank(Bound::Element(score, member)), score))
    }

    /// How many members come before the bound.
    pub fn rank_of(&self, bound: Bound<'_>) -> usize {
        self.tree.rank(bound)
    }

    /// The members of those ranks, which are cut to those there are, with their scores.
    pub fn range(&self, ranks: Range<usize>) -> Iter<'_> {
        Iter(self.tree.range(ranks))
    }

    /// Removes the members of those ranks, handing each to `removed` in order.
    pub fn remove_range(&mut self, ranks: Range<usize>, mut removed: impl FnMut(&[u8], f64)) {
        let Self { tree, table, hasher, member_bytes } = self;
        tree.remove_range(ranks, |score, handle| {
            // SAFETY: the member is freed only below.
            let bytes: &[u8] = unsafe { handle.bytes_for() };
            removed(bytes, score);
            let hash = hasher.hash(bytes);
            let position = table.find(hash, bytes).expect("the table holds what the tree holds");
            // The tree looks at none of the members that it is removing.
            free(table, member_bytes, hash, position, hasher);
        });
    }

    /// Visits members from `cursor` on until at least `count` were visited or much was empty, and
    /// returns the cursor to go on with: 0 when all was visited. Any cursor is valid.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8], f64)) -> u64 {
        const SHIFT: u32 = u64::BITS - CURSOR_BITS;
        let (mut left, mut skips) = (count.max(1), count.saturating_mul(SKIPS_PER_COUNT));
        let mut next = Some(cursor << SHIFT);
        while let (Some(at), 1..) = (next, left) {
            next = self.table.scan(at, &mut skips, &self.hasher, |view| {
                left = left.saturating_sub(1);
                visit(view.bytes(), view.score());
            });
            if skips == 0 {
                break;
            }
        }
        next.map_or(0, |at| at >> SHIFT)
    }

    /// A member chosen with equal chance among all, with its score.
    pub fn random(&self, random: &mut Random) -> Option<(&[u8], f64)> {
        self.table.random(random).map(|view| (view.bytes(), view.score()))
    }

    /// Begins to read all members as they are now; see [`Table::begin_reading`].
    pub fn begin_reading(
        &mut self,
        encode: impl Fn(&[u8], f64, &mut Vec<u8>) + Send + Sync + 'static,
    ) -> SharedReading<Member> {
        let encode = move |member: &mut Member, out: &mut Vec<u8>| {
            let view = member.as_view();
            encode(view.bytes(), view.score(), out);
        };
        self.table.begin_reading(&self.hasher, Arc::new(encode))
    }

    /// Goes on with a reading; see [`Table::read_on`].
    pub fn read_on(&mut self, reading: &SharedReading<Member>, count: usize) -> bool {
        self.table.read_on(reading, count)
    }

    /// Tells readers of another name; see [`Table::note_moved`].
    pub fn note_moved(&mut self, name: &[u8]) {
        self.table.note_moved(name);
    }

    /// Like [`Self::memory`], with the tree's nodes estimated from its length.
    pub fn weight(&self) -> usize {
        /// A score, a pointer, and the room that leaves keep.
        const TREE_BYTES_PER_MEMBER: usize = 24;
        let table = self.table.slots() * TABLE_BYTES_PER_SLOT;
        let tree = self.table.len() * TREE_BYTES_PER_MEMBER;
        size_of::<Self>() + tree + table + self.member_bytes
    }

    /// Bytes of memory behind the set.
    pub fn memory(&self) -> usize {
        let table = self.table.slots() * TABLE_BYTES_PER_SLOT;
        size_of::<Self>() + self.tree.memory() + table + self.member_bytes
    }
}

impl Clone for ScoredSet {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.hasher);
        for (member, score) in self.range(0..self.len()) {
            copy.insert(copy.hasher.hash(member), member, score);
        }
        copy
    }
}

impl fmt::Debug for ScoredSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a sorted set of {}", self.len())
    }
}

/// Members in order, from both ends, with their scores.
pub struct Iter<'a>(rank_tree::Iter<'a, Handle>);

impl<'a> Iter<'a> {
    #[inline]
    fn item((score, handle): (f64, Handle)) -> (&'a [u8], f64) {
        // SAFETY: the set is borrowed during 'a, so no member is freed.
        (unsafe { handle.bytes_for() }, score)
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(Self::item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(Self::item)
    }
}

/// Frees a member that the tree does not refer to any more.
fn free(
    table: &mut Table<Member>,
    member_bytes: &mut usize,
    hash: u64,
    position: Position,
    hasher: &KeyHasher,
) {
    *member_bytes -= size_class(table.view(position).len());
    drop(table.remove(hash, position, hasher));
}

#[cfg(test)]
mod tests;
