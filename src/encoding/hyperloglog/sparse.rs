//! The runs of a sparse HyperLogLog: reading them, and splitting and joining them in place.
//!
//! Splitting and joining follow Redis step by step, because which of several equivalent lists of
//! runs results is part of the value that clients can read.

use std::fmt;

use super::{BadRuns, HEAD_LEN, REGISTERS, Register};

/// Most bytes by which raising a register lengthens the runs.
pub(super) const GROWTH_MAX: usize = 3;

/// Most registers of the short form of a run of zeros.
const SHORT_ZEROS_MAX: usize = 64;

/// Greatest value and most registers of a run of values.
const RUN_VALUE_MAX: u8 = 32;
const RUN_LEN_MAX: usize = 4;

/// How many runs are looked at for neighbours that can be joined.
const JOIN_RUNS_MAX: usize = 5;

/// The first byte of a run tells its kind.
const LONG_ZEROS: u8 = 0x40;
const VALUES: u8 = 0x80;

/// Registers that follow one another and have the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The first register.
    pub(super) first: usize,
    /// How many they are.
    pub(super) len: usize,
    /// Their value.
    pub(super) value: u8,
    /// Bytes of the run.
    bytes: usize,
}

impl Run {
    /// The run that begins at register `first` with the bytes at `at`.
    #[inline(always)]
    fn read(runs: &[u8], at: usize, first: usize) -> Option<Self> {
        let head = *runs.get(at)?;
        if head & VALUES != 0 {
            let len = usize::from(head & 3) + 1;
            return Some(Self { first, len, value: (head >> 2 & 31) + 1, bytes: 1 });
        }
        let len = usize::from(head & 63);
        if head & LONG_ZEROS == 0 {
            return Some(Self { first, len: len + 1, value: 0, bytes: 1 });
        }
        let low = usize::from(*runs.get(at + 1)?);
        Some(Self { first, len: (len << 8 | low) + 1, value: 0, bytes: 2 })
    }
}

impl fmt::Display for Run {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.value, self.bytes) {
            (0, 1) => write!(out, "z:{}", self.len),
            (0, _) => write!(out, "Z:{}", self.len),
            (value, _) => write!(out, "v:{value},{}", self.len),
        }
    }
}

/// All runs in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runs<'a> {
    bytes: &'a [u8],
    at: usize,
    first: usize,
}

impl<'a> Runs<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, first: 0 }
    }

    /// Whether the runs cover every register once.
    pub(super) fn check(mut self) -> Result<(), BadRuns> {
        for run in self.by_ref() {
            if run.first + run.len > REGISTERS {
                return Err(BadRuns);
            }
        }
        if self.first == REGISTERS && self.at == self.bytes.len() { Ok(()) } else { Err(BadRuns) }
    }
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let run = Run::read(self.bytes, self.at, self.first)?;
        self.at += run.bytes;
        self.first += run.len;
        Some(run)
    }
}

/// Whether no run can have that value.
pub(super) fn exceeds(value: u8) -> bool {
    value > RUN_VALUE_MAX
}

/// The value of a register.
///
/// Most additions change nothing and do no more than this, so runs of one byte are added up eight
/// at a time.
pub(super) fn value_at(runs: &[u8], index: usize) -> Result<u8, BadRuns> {
    let (mut at, mut end) = (0, 0);
    loop {
        while let Some(word) = runs.get(at..).and_then(<[u8]>::first_chunk) {
            let (count, len) = short_runs(u64::from_le_bytes(*word));
            if count == 0 || end + len > index {
                break;
            }
            (at, end) = (at + count, end + len);
        }
        let run = Run::read(runs, at, end).ok_or(BadRuns)?;
        (at, end) = (at + run.bytes, end + run.len);
        if index < end {
            return Ok(run.value);
        }
    }
}

/// How many runs of one byte a word begins with, the lowest byte first, and what they cover.
#[inline]
fn short_runs(word: u64) -> (usize, usize) {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const PAIRS: u64 = 0x00ff_00ff_00ff_00ff;
    let long = word & !(word >> 1) & (EACH * LONG_ZEROS as u64);
    let count = long.trailing_zeros() / 8;
    let kept = u64::MAX.checked_shr(64 - 8 * count).unwrap_or(0);
    // Of a run of values only two bits are its length.
    let values = word >> 7 & EACH;
    let lens = ((word & (EACH * 63) & !(values * 0x3c)) + EACH) & kept;
    let sums = (lens & PAIRS) + (lens >> 8 & PAIRS);
    (count as usize, (sums.wrapping_mul(0x0001_0001_0001_0001) >> 48) as usize)
}

/// Appends a run of `len` zeros.
pub(super) fn push_zeros(out: &mut Vec<u8>, len: usize) {
    let mut room = Piece::default();
    room.push_zeros(len);
    out.extend_from_slice(room.as_slice());
}

fn values(value: u8, len: usize) -> u8 {
    VALUES | (value - 1) << 2 | (len - 1) as u8
}

/// A run, with the two before it: splitting joins with the one before, and whoever raises registers
/// in ascending order resumes at the one before that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    at: usize,
    first: usize,
    before: Option<(usize, usize)>,
    before_that: Option<(usize, usize)>,
}

impl Place {
    /// Moves on to the run that holds register `index`, which does not lie before the place.
    #[inline]
    fn seek(&mut self, runs: &[u8], index: usize) -> Result<Run, BadRuns> {
        loop {
            let run = Run::read(runs, self.at, self.first).ok_or(BadRuns)?;
            if index < run.first + run.len {
                return Ok(run);
            }
            self.before_that = self.before;
            self.before = Some((self.at, self.first));
            self.at += run.bytes;
            self.first += run.len;
        }
    }

    /// Goes back to a run that no joining around the place can have swallowed.
    fn resume(&mut self) {
        let (at, first) = self.before_that.or(self.before).unwrap_or((0, 0));
        *self = Self { at, first, before: None, before_that: None };
    }
}

/// What became of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raised {
    /// It was as high already.
    No,
    /// It was raised.
    Yes,
    /// The runs cannot hold it; nothing was changed.
    TooLong,
}

/// Raises a register of a sparse HyperLogLog; the search begins at `place` and leaves it there.
pub(super) fn raise(
    bytes: &mut Vec<u8>,
    place: &mut Place,
    Register { index, value }: Register,
    sparse_max: usize,
) -> Result<Raised, BadRuns> {
    if exceeds(value) {
        return Ok(Raised::TooLong);
    }
    place.resume();
    let run = place.seek(&bytes[HEAD_LEN..], index)?;
    if run.value >= value {
        return Ok(Raised::No);
    }
    let piece = Piece::split(run, index, value);
    let growth = piece.len.saturating_sub(run.bytes);
    if growth > 0 && bytes.len() + growth > sparse_max {
        return Ok(Raised::TooLong);
    }
    let at = HEAD_LEN + place.at;
    if piece.len == run.bytes {
        bytes[at..at + piece.len].copy_from_slice(piece.as_slice());
    } else {
        bytes.splice(at..at + run.bytes, piece.as_slice().iter().copied());
    }
    let join_at = place.before.map_or(0, |(at, _)| at);
    join(bytes, HEAD_LEN + join_at);
    Ok(Raised::Yes)
}

/// Up to three runs.
#[derive(Default)]
struct Piece {
    bytes: [u8; 5],
    len: usize,
}

impl Piece {
    /// What becomes of `run` when its register `index` is raised to `value`.
    fn split(run: Run, index: usize, value: u8) -> Self {
        let mut piece = Self::default();
        let (left, right) = (index - run.first, run.first + run.len - 1 - index);
        piece.push(run.value, left);
        piece.push(value, 1);
        piece.push(run.value, right);
        piece
    }

    fn push(&mut self, value: u8, len: usize) {
        match (value, len) {
            (_, 0) => {}
            (0, _) => self.push_zeros(len),
            _ => self.push_byte(values(value, len)),
        }
    }

    fn push_zeros(&mut self, len: usize) {
        let stored = len - 1;
        if len > SHORT_ZEROS_MAX {
            self.push_byte(LONG_ZEROS | (stored >> 8) as u8);
        }
        self.push_byte(stored as u8);
    }

    fn push_byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Joins neighbouring runs of the same value from `at` on.
fn join(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOIN_RUNS_MAX {
        let Some(run) = Run::read(bytes, at, 0) else { return };
        if run.value > 0
            && let Some(next) = Run::read(bytes, at + 1, 0)
            && next.value == run.value
            && run.len + next.len <= RUN_LEN_MAX
        {
            bytes[at] = values(run.value, run.len + next.len);
            bytes.remove(at + 1);
            continue;
        }
        at += run.bytes;
    }
}
