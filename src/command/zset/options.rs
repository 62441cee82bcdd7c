//! Ranges as clients write them.

use std::ops::Range;

use super::super::error::CmdError;
use crate::base::number;
use crate::value::zset::{LexEnd, LexRange, ScoreRange, ZSetView};

/// The members that a range command is about.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// By rank, from both ends, both included; negative ones count from the end.
    Ranks(i64, i64),
    /// By score.
    Scores(ScoreRange),
    /// By member.
    Lex(LexRange<'a>),
}

impl Wanted<'_> {
    /// The ranks of the members in the range, counted from the end if `reverse`.
    ///
    /// Only ranks depend on the direction: ranges by score and by member are of the set itself.
    pub(super) fn ranks(self, zset: ZSetView<'_>, reverse: bool) -> Range<usize> {
        match self {
            Self::Scores(range) => zset.ranks_by_score(range),
            Self::Lex(range) => zset.ranks_by_lex(range),
            Self::Ranks(start, stop) => {
                let len = zset.len();
                let ranks = clamp(start, stop, len);
                if reverse { len - ranks.end..len - ranks.start } else { ranks }
            }
        }
    }
}

/// The ranks from `start` to `stop` of `len` members.
fn clamp(start: i64, stop: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let from_end = |rank: i64| if rank < 0 { rank.saturating_add(len) } else { rank };
    let (start, stop) = (from_end(start).max(0), from_end(stop).min(len - 1));
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

/// The range between two scores.
pub(super) fn score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, CmdError> {
    let (Some((min, min_open)), Some((max, max_open))) = (score_end(min), score_end(max)) else {
        return Err(CmdError::RangeNotFloat);
    };
    Ok(ScoreRange { min, max, min_open, max_open })
}

/// A score, left out of the range if `(` stands before it.
fn score_end(text: &[u8]) -> Option<(f64, bool)> {
    let (text, open) = match text {
        [b'(', rest @ ..] => (rest, true),
        _ => (text, false),
    };
    // As C reads it: up to a zero byte, nothing being 0, with leading space, without an error where
    // a number is too large or too small.
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some((0.0, open));
    }
    let text = text.trim_ascii_start();
    let lenient = || str::from_utf8(text).ok()?.parse().ok().filter(|score: &f64| !score.is_nan());
    number::parse_f64(text).or_else(lenient).map(|score| (score, open))
}

/// The range between two members.
pub(super) fn lex_range<'a>(min: &'a [u8], max: &'a [u8]) -> Result<LexRange<'a>, CmdError> {
    let (Some(min), Some(max)) = (lex_end(min), lex_end(max)) else {
        return Err(CmdError::RangeNotLex);
    };
    Ok(LexRange { min, max })
}

fn lex_end(text: &[u8]) -> Option<LexEnd<'_>> {
    match text {
        b"-" => Some(LexEnd::Lowest),
        b"+" => Some(LexEnd::Highest),
        [b'(', member @ ..] => Some(LexEnd::Open(member)),
        [b'[', member @ ..] => Some(LexEnd::Closed(member)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_cut_to_the_set() {
        let all = [((0, -1), 0..5), ((-2, -1), 3..5), ((-100, 100), 0..5), ((2, 2), 2..3)];
        for ((start, stop), expected) in all {
            assert_eq!(clamp(start, stop, 5), expected);
        }
        for (start, stop) in [(3, 2), (5, 9), (0, -6), (i64::MAX, i64::MAX), (1, i64::MIN)] {
            assert!(clamp(start, stop, 5).is_empty(), "{start} {stop}");
        }
    }

    #[test]
    fn scores_are_read_as_c_reads_them() {
        for (text, expected) in [
            ("1", (1.0, false)),
            ("(1.5", (1.5, true)),
            ("", (0.0, false)),
            ("(", (0.0, true)),
            (" 2", (2.0, false)),
            ("1e400", (f64::INFINITY, false)),
            ("-inf", (f64::NEG_INFINITY, false)),
            ("3\0x", (3.0, false)),
            ("0x10", (16.0, false)),
        ] {
            assert_eq!(score_end(text.as_bytes()), Some(expected), "{text:?}");
        }
        for text in ["x", "1x", "nan", "((1", "1 ", " "] {
            assert_eq!(score_end(text.as_bytes()), None, "{text:?}");
        }
    }
}
