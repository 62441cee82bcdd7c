//! Sorted sets: members with scores, in order of score, then member.
//!
//! A small one is packed: the body of a listpack in which every member is followed by its score
//! (`packed.rs`). A large one is a [`ScoredSet`]. A set becomes large when it has more members than
//! `zset-max-listpack-entries` or a longer one than `zset-max-listpack-value`, and stays large.

mod packed;
mod range;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::packed::{PACKED_LEN_MAX, Packed, PackedForm, Place};
use super::{Collection, EditContext, Fresh, Kind, Value, ValueView};
use crate::base::random::Random;
use crate::encoding::listpack::Item;
use crate::encoding::rank_tree::Bound;
pub use crate::encoding::scored_set::{ScoredSet, Updated};
use packed::PackedZSet;
pub use range::{LexEnd, LexRange, ScoreRange};

/// Sorted sets.
pub struct ZSet;

impl Kind for ZSet {
    type View<'a> = ZSetView<'a>;

    #[inline]
    fn of(value: ValueView<'_>) -> Option<ZSetView<'_>> {
        match value {
            ValueView::Packed(packed) if packed.form == PackedForm::ZSet => {
                Some(ZSetView::Packed(PackedZSet::new(packed)))
            }
            ValueView::Object(Value::ZSet(set)) => Some(ZSetView::Large(set)),
            _ => None,
        }
    }
}

impl Collection for ZSet {
    const FRESH: Fresh = Fresh::Packed(PackedForm::ZSet);

    type Edit<'a> = ZSetMut<'a>;

    #[inline]
    fn edit<'a>(place: &'a mut dyn Place, context: EditContext<'a>) -> ZSetMut<'a> {
        ZSetMut { place, context }
    }
}

/// A sorted set in place.
#[derive(Clone, Copy, Debug)]
pub enum ZSetView<'a> {
    /// A small one.
    Packed(PackedZSet<'a>),
    /// A large one.
    Large(&'a ScoredSet),
}

impl<'a> ZSetView<'a> {
    /// How many members there are.
    #[expect(clippy::len_without_is_empty, reason = "a sorted set without members is none")]
    pub fn len(self) -> usize {
        match self {
            Self::Packed(packed) => packed.len(),
            Self::Large(set) => set.len(),
        }
    }

    /// The member's score.
    #[inline]
    pub fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Packed(packed) => packed.find(member).map(|found| found.score),
            Self::Large(set) => set.score(member),
        }
    }

    /// The member's rank, counted from 0, and its score.
    pub fn rank(self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            Self::Packed(packed) => packed.rank(member),
            Self::Large(set) => set.rank(member),
        }
    }

    /// The ranks of the members whose scores are in `range`.
    pub fn ranks_by_score(self, range: ScoreRange) -> Range<usize> {
        match self {
            Self::Packed(packed) => {
                packed.ranks(|_, score| range.reaches(score), |_, score| range.covers(score))
            }
            Self::Large(set) => {
                let (min, max) = range.bounds();
                between(set.rank_of(min), set.rank_of(max))
            }
        }
    }

    /// The ranks of the members in `range`, where all scores are equal.
    pub fn ranks_by_lex(self, range: LexRange<'_>) -> Range<usize> {
        match self {
            Self::Packed(packed) => packed.ranks(
                |member, _| range.reaches(member.bytes(&mut [0; 20])),
                |member, _| range.covers(member.bytes(&mut [0; 20])),
            ),
            Self::Large(set) => {
                let rank = |end: LexEnd<'_>, bound: Option<Bound<'_>>| match bound {
                    Some(bound) => set.rank_of(bound),
                    None if end == LexEnd::Lowest => 0,
                    None => set.len(),
                };
                let (min, max) = range.bounds();
                between(rank(range.min, min), rank(range.max, max))
            }
        }
    }

    /// The members of those ranks, which are cut to those there are, with their scores.
    pub fn range(self, ranks: Range<usize>) -> Iter<'a> {
        match self {
            Self::Packed(packed) => Iter::Packed(packed.range(ranks)),
            Self::Large(set) => Iter::Large(set.range(ranks)),
        }
    }

    /// All members in order, with their scores.
    pub fn iter(self) -> Iter<'a> {
        self.range(0..usize::MAX)
    }

    /// A member chosen with equal chance among all, with its score.
    pub fn random(self, random: &mut Random) -> Option<(Item<'a>, f64)> {
        match self {
            Self::Packed(packed) => {
                let rank = random.below(packed.len().max(1) as u64) as usize;
                packed.range(rank..rank + 1).next()
            }
            Self::Large(set) => {
                set.random(random).map(|(member, score)| (Item::Bytes(member), score))
            }
        }
    }

    /// Visits some members from `cursor` on and returns the cursor to go on with, 0 at the end.
    ///
    /// A small set is visited whole, a large one until `count` members were visited.
    pub fn scan(self, cursor: u64, count: usize, mut visit: impl FnMut(Item<'_>, f64)) -> u64 {
        match self {
            Self::Packed(packed) => {
                packed.range(0..usize::MAX).for_each(|(member, score)| visit(member, score));
                0
            }
            Self::Large(set) => {
                set.scan(cursor, count, |member, score| visit(Item::Bytes(member), score))
            }
        }
    }
}

fn between(start: usize, end: usize) -> Range<usize> {
    start..end.max(start)
}

/// Members in order, from both ends, with their scores.
pub enum Iter<'a> {
    /// Of a small set.
    Packed(packed::Iter<'a>),
    /// Of a large set.
    Large(crate::encoding::scored_set::Iter<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Item<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Packed(iter) => iter.next(),
            Self::Large(iter) => iter.next().map(|(member, score)| (Item::Bytes(member), score)),
        }
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Packed(iter) => iter.next_back(),
            Self::Large(iter) => {
                iter.next_back().map(|(member, score)| (Item::Bytes(member), score))
            }
        }
    }
}

/// A sorted set that is being changed.
pub struct ZSetMut<'a> {
    place: &'a mut dyn Place,
    context: EditContext<'a>,
}

impl ZSetMut<'_> {
    /// Prepares the set for `members` more members, of which the first is `first_len` bytes long.
    ///
    /// What then is too large to be packed becomes large at once; an existing set does so for the
    /// sake of their number only, as in Redis.
    pub fn expect(&mut self, members: usize, first_len: usize) {
        let Some(packed) = self.place.packed() else { return };
        let limits = self.context.limits;
        let too_long = packed.body.is_empty() && first_len > limits.zset_max_listpack_value();
        if members > limits.zset_max_listpack_entries() || too_long {
            self.enlarge();
        }
    }

    /// Gives the member the score that `decide` makes of the one it has, unless that is `None`.
    ///
    /// The new score is not NaN. A score that equals the old one changes nothing.
    #[inline]
    pub fn update(
        &mut self,
        member: &[u8],
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Updated {
        if let Some(Value::ZSet(set)) = self.place.object_mut() {
            return set.update(member, decide);
        }
        let packed = self.packed();
        let found = packed.find(member);
        let before = found.as_ref().map(|found| found.score);
        let after = decide(before).or(before);
        match (found, after) {
            (_, None) => {}
            (Some(found), Some(score)) => {
                if score != found.score {
                    let (at, with) = packed.moved(&found, member, score);
                    let len = packed.len();
                    self.place.splice(at, &with, len);
                }
            }
            (None, Some(score)) => self.add(member, score),
        }
        Updated { before, after }
    }

    /// Adds a member that is not there to a packed set.
    fn add(&mut self, member: &[u8], score: f64) {
        let (packed, limits) = (self.packed(), self.context.limits);
        let len = packed.len() + 1;
        if len <= limits.zset_max_listpack_entries()
            && member.len() <= limits.zset_max_listpack_value()
        {
            let pair = packed::encode(member, score);
            if packed.body().len() + pair.len() <= PACKED_LEN_MAX {
                let at = packed.place_of(member, score, None);
                return self.place.splice(at..at, &pair, len);
            }
        }
        self.enlarge().update(member, |_| Some(score));
    }

    /// Removes the member; returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        if let Some(Value::ZSet(set)) = self.place.object_mut() {
            return set.remove(member);
        }
        let packed = self.packed();
        let found = packed.find(member)?;
        let (at, len) = (found.at.clone(), packed.len() - 1);
        self.place.splice(at, &[], len);
        Some(found.score)
    }

    /// Removes the members of those ranks, which are there.
    pub fn remove_range(&mut self, ranks: Range<usize>) {
        if let Some(Value::ZSet(set)) = self.place.object_mut() {
            return set.remove_range(ranks, |_, _| {});
        }
        let packed = self.packed();
        let (at, len) = (packed.bytes_of(ranks.clone()), packed.len() - ranks.len());
        self.place.splice(at, &[], len);
    }

    fn packed(&self) -> PackedZSet<'_> {
        let packed = self.place.packed().expect("a sorted set is packed or an object");
        PackedZSet::new(packed)
    }

    fn enlarge(&mut self) -> &mut ScoredSet {
        let mut set = ScoredSet::new(*self.context.hasher);
        for (member, score) in self.packed().range(0..usize::MAX) {
            set.update(member.bytes(&mut [0; 20]), |_| Some(score));
        }
        self.place.set_object(Value::ZSet(Box::new(set)));
        match self.place.object_mut() {
            Some(Value::ZSet(set)) => set,
            _ => unreachable!("the place was just given a sorted set"),
        }
    }
}

/// The packed form of `set`, if the context's limits allow it.
pub fn pack(set: &ScoredSet, context: EditContext<'_>) -> Option<Vec<u8>> {
    let limits = context.limits;
    if set.len() > limits.zset_max_listpack_entries() {
        return None;
    }
    let mut body = Vec::new();
    for (member, score) in set.range(0..set.len()) {
        if member.len() > limits.zset_max_listpack_value() {
            return None;
        }
        packed::encode_to(member, score, &mut body);
    }
    (body.len() <= PACKED_LEN_MAX).then_some(body)
}

/// A packed body of so many members as a value.
pub fn packed_of(body: &[u8], count: usize) -> Packed<'_> {
    Packed { form: PackedForm::ZSet, count: Some(count), body }
}
