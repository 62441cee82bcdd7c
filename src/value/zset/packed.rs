//! The small sorted set: a listpack body of members in order, each followed by its score.
//!
//! Scores are stored as Redis stores them: whole numbers of up to 62 bits as integers, all others as
//! the text that replies show.

use std::ops::Range;

use crate::base::number;
use crate::encoding::listpack::{self, Encoded, Item, Listpack};
use crate::value::packed::Packed;

/// Most bytes that a score and the frames of a pair take.
const PAIR_EXTRA_MAX: usize = 48;

/// A small sorted set in place.
#[derive(Clone, Copy, Debug)]
pub struct PackedZSet<'a> {
    list: Listpack<'a>,
    count: Option<usize>,
}

/// A member that was found.
pub(super) struct Found {
    /// The bytes of the member and its score.
    pub(super) at: Range<usize>,
    pub(super) score: f64,
}

/// The entries of a member and its score.
pub(super) fn encode(member: &[u8], score: f64) -> Vec<u8> {
    let mut pair = Vec::with_capacity(member.len() + PAIR_EXTRA_MAX);
    encode_to(member, score, &mut pair);
    pair
}

/// Appends the entries of a member and its score.
pub(super) fn encode_to(member: &[u8], score: f64, out: &mut Vec<u8>) {
    /// Up to here Redis stores what is whole as an integer.
    const INTEGER_MAX: f64 = (1u64 << 62) as f64;
    listpack::encode(member, out);
    if score.fract() == 0.0 && score.abs() <= INTEGER_MAX {
        return Encoded::integer(score as i64).write(out);
    }
    let mut text = Vec::with_capacity(PAIR_EXTRA_MAX);
    number::write_f64(&mut text, score);
    listpack::encode(&text, out);
}

/// The score that an entry holds. What is no number, which only a foreign file can bring, is 0.
fn score_of(item: Item<'_>) -> f64 {
    match item {
        Item::Int(value) => value as f64,
        Item::Bytes(text) => number::parse_f64(text).unwrap_or_default(),
    }
}

impl<'a> PackedZSet<'a> {
    #[inline]
    pub(super) fn new(packed: Packed<'a>) -> Self {
        Self { list: Listpack::new(packed.body), count: packed.count }
    }

    pub(super) fn body(&self) -> &'a [u8] {
        self.list.body()
    }

    pub(super) fn len(&self) -> usize {
        self.count.unwrap_or_else(|| self.list.count() / 2)
    }

    /// Where the member is.
    pub(super) fn find(&self, member: &[u8]) -> Option<Found> {
        let start = self.list.find(member, 2)?;
        let score_at = start + self.list.entry_len(start);
        let end = score_at + self.list.entry_len(score_at);
        Some(Found { at: start..end, score: score_of(self.list.get(score_at)) })
    }

    pub(super) fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let needle = listpack::Needle::new(member);
        let mut pairs = self.range(0..usize::MAX).enumerate();
        pairs.find(|(_, (item, _))| needle.is(*item)).map(|(rank, (_, score))| (rank, score))
    }

    /// The ranks from the first member that `reaches` to the last one before one that is not
    /// `covered`.
    pub(super) fn ranks(
        &self,
        reaches: impl Fn(Item<'_>, f64) -> bool,
        covered: impl Fn(Item<'_>, f64) -> bool,
    ) -> Range<usize> {
        let mut pairs = self.range(0..usize::MAX).enumerate().peekable();
        while pairs.next_if(|(_, (member, score))| !reaches(*member, *score)).is_some() {}
        let Some((start, _)) = pairs.peek().copied() else { return 0..0 };
        let count = pairs.take_while(|(_, (member, score))| covered(*member, *score)).count();
        start..start + count
    }

    /// The bytes of the members of those ranks, which are cut to those there are.
    pub(super) fn bytes_of(&self, ranks: Range<usize>) -> Range<usize> {
        let end_of_all = self.body().len();
        let start = self.list.skip(0, ranks.start.saturating_mul(2)).unwrap_or(end_of_all);
        let count = ranks.end.saturating_sub(ranks.start);
        if count >= self.count.unwrap_or(usize::MAX) {
            return start..end_of_all;
        }
        start..self.list.skip(start, count.saturating_mul(2)).unwrap_or(end_of_all)
    }

    pub(super) fn range(&self, ranks: Range<usize>) -> Iter<'a> {
        let bytes =
            if ranks == (0..usize::MAX) { 0..self.body().len() } else { self.bytes_of(ranks) };
        Iter(Listpack::new(&self.body()[bytes]).iter())
    }

    /// Where a member of that score belongs among the others, not counting the one `without`.
    pub(super) fn place_of(
        &self,
        member: &[u8],
        score: f64,
        without: Option<&Range<usize>>,
    ) -> usize {
        let mut at = 0;
        while at < self.body().len() {
            let score_at = at + self.list.entry_len(at);
            let other = score_of(self.list.get(score_at));
            let comes_after =
                other > score || other == score && self.list.get(at).bytes(&mut [0; 20]) > member;
            if comes_after && without.is_none_or(|without| without.start != at) {
                return at;
            }
            at = score_at + self.list.entry_len(score_at);
        }
        at
    }

    /// The change that gives the member another score: bytes of the body, and what replaces them.
    pub(super) fn moved(
        &self,
        found: &Found,
        member: &[u8],
        score: f64,
    ) -> (Range<usize>, Vec<u8>) {
        let mut with = encode(member, score);
        let Range { start, end } = found.at;
        let to = self.place_of(member, score, Some(&found.at));
        if to < start {
            with.extend_from_slice(&self.body()[to..start]);
            (to..end, with)
        } else if to > end {
            with.splice(0..0, self.body()[end..to].iter().copied());
            (start..to, with)
        } else {
            (start..end, with)
        }
    }
}

/// Members in order, from both ends, with their scores.
pub struct Iter<'a>(listpack::Iter<'a>);

impl<'a> Iterator for Iter<'a> {
    type Item = (Item<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (_, member) = self.0.next()?;
        let (_, score) = self.0.next()?;
        Some((member, score_of(score)))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let (_, score) = self.0.next_back()?;
        let (_, member) = self.0.next_back()?;
        Some((member, score_of(score)))
    }
}
