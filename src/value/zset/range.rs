//! Ranges of scores and of members.

use crate::encoding::rank_tree::Bound;

/// Scores between two, each of them included unless it is open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    /// The lower end.
    pub min: f64,
    /// The upper end.
    pub max: f64,
    /// Whether the lower end itself is left out.
    pub min_open: bool,
    /// Whether the upper end itself is left out.
    pub max_open: bool,
}

impl ScoreRange {
    /// Whether `score` is at or above the lower end.
    pub(super) fn reaches(self, score: f64) -> bool {
        if self.min_open { score > self.min } else { score >= self.min }
    }

    /// Whether `score` is at or below the upper end.
    pub(super) fn covers(self, score: f64) -> bool {
        if self.max_open { score < self.max } else { score <= self.max }
    }

    pub(super) fn bounds(self) -> (Bound<'static>, Bound<'static>) {
        let bound = |score, after| match after {
            true => Bound::AfterScore(score),
            false => Bound::Score(score),
        };
        (bound(self.min, self.min_open), bound(self.max, !self.max_open))
    }
}

/// One end of a range of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexEnd<'a> {
    /// Before all members.
    Lowest,
    /// After all members.
    Highest,
    /// At this member, which is left out.
    Open(&'a [u8]),
    /// At this member, which is included.
    Closed(&'a [u8]),
}

/// Members between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexRange<'a> {
    /// The lower end.
    pub min: LexEnd<'a>,
    /// The upper end.
    pub max: LexEnd<'a>,
}

impl<'a> LexRange<'a> {
    /// Whether `member` is at or above the lower end.
    pub(super) fn reaches(self, member: &[u8]) -> bool {
        match self.min {
            LexEnd::Lowest => true,
            LexEnd::Highest => false,
            LexEnd::Open(min) => member > min,
            LexEnd::Closed(min) => member >= min,
        }
    }

    /// Whether `member` is at or below the upper end.
    pub(super) fn covers(self, member: &[u8]) -> bool {
        match self.max {
            LexEnd::Lowest => false,
            LexEnd::Highest => true,
            LexEnd::Open(max) => member < max,
            LexEnd::Closed(max) => member <= max,
        }
    }

    /// The bounds of the two ends, as far as they are at members.
    pub(super) fn bounds(self) -> (Option<Bound<'a>>, Option<Bound<'a>>) {
        let min = match self.min {
            LexEnd::Open(min) => Some(Bound::AfterLex(min)),
            LexEnd::Closed(min) => Some(Bound::Lex(min)),
            LexEnd::Lowest | LexEnd::Highest => None,
        };
        let max = match self.max {
            LexEnd::Open(max) => Some(Bound::Lex(max)),
            LexEnd::Closed(max) => Some(Bound::AfterLex(max)),
            LexEnd::Lowest | LexEnd::Highest => None,
        };
        (min, max)
    }
}
