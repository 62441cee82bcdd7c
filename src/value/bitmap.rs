//! Bits of byte strings: counting, searching, combining, and integers of any width in them.
//!
//! ```text
//! offset   0 1 2 3 4 5 6 7   8 9 ...      bit 0 is the highest bit of the first byte,
//! byte            0            1          and an integer's highest bit comes first
//! ```
//!
//! Pure functions of slices; whoever stores the bytes lengthens them first. Bytes are worked on as
//! words, which the compiler puts several into a register. Counting is compiled for several kinds
//! of processor, because those of today count four to eight words at once and the oldest not one.

use std::ops::Range;

use multiversion::multiversion;

/// Bytes that [`position`] looks at together.
const BLOCK_LEN: usize = 64;

/// Whether the bit at `offset` is set; bits behind the end are not.
pub fn get(bytes: &[u8], offset: u64) -> bool {
    let byte = usize::try_from(offset / 8).ok().and_then(|at| bytes.get(at));
    byte.is_some_and(|byte| byte & mask(offset) != 0)
}

/// Sets or clears the bit at `offset`, which must be there.
pub fn set(bytes: &mut [u8], offset: u64, on: bool) {
    let byte = &mut bytes[(offset / 8) as usize];
    if on {
        *byte |= mask(offset);
    } else {
        *byte &= !mask(offset);
    }
}

/// The bit at `offset` within its byte.
fn mask(offset: u64) -> u8 {
    0x80 >> (offset % 8)
}

/// How many bits are set.
#[multiversion(targets(
    "x86_64+popcnt+avx512f+avx512bw+avx512dq+avx512vl+avx512vpopcntdq",
    "x86_64+popcnt+avx2",
    "x86_64+popcnt"
))]
pub fn count(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks();
    let words: u64 =
        words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    words + tail.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// How many bits of a range are set; the range lies within the bytes.
pub fn count_range(bytes: &[u8], bits: Range<u64>) -> u64 {
    if bits.is_empty() {
        return 0;
    }
    let touched = &bytes[(bits.start / 8) as usize..bits.end.div_ceil(8) as usize];
    let before = touched[0] & !(0xff >> (bits.start % 8));
    let after = touched[touched.len() - 1] & behind(bits.end);
    count(touched) - u64::from(before.count_ones() + after.count_ones())
}

/// The bits of the last byte that lie behind `end`.
fn behind(end: u64) -> u8 {
    if end.is_multiple_of(8) { 0 } else { 0xff >> (end % 8) }
}

/// The first bit of a range that is `bit`; the range lies within the bytes.
pub fn position(bytes: &[u8], bit: bool, bits: Range<u64>) -> Option<u64> {
    if bits.is_empty() {
        return None;
    }
    // Searched for are set bits in what differs from the bytes that hold none of them.
    let none = if bit { 0 } else { 0xff };
    let (first, end) = ((bits.start / 8) as usize, bits.end.div_ceil(8) as usize);
    let head = (bytes[first] ^ none) & (0xff >> (bits.start % 8));
    let found = if head != 0 {
        Some((first, head))
    } else {
        let at = first + 1 + skip(&bytes[first + 1..end], none);
        (at < end).then(|| (at, bytes[at] ^ none))
    };
    let (at, byte) = found?;
    let offset = at as u64 * 8 + u64::from(byte.leading_zeros());
    (offset < bits.end).then_some(offset)
}

/// How many bytes there are before the first that is not `none`.
fn skip(bytes: &[u8], none: u8) -> usize {
    let (blocks, _) = bytes.as_chunks::<BLOCK_LEN>();
    let same = |block: &&[u8; BLOCK_LEN]| block.iter().fold(0, |all, b| all | (b ^ none)) == 0;
    let skipped = BLOCK_LEN * blocks.iter().take_while(same).count();
    skipped + bytes[skipped..].iter().take_while(|byte| **byte == none).count()
}

/// How BITOP combines bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitOp {
    /// Set in all.
    And,
    /// Set in any.
    Or,
    /// Set in an odd number.
    Xor,
    /// Not set in the only one.
    Not,
    /// Set in the first and in no other.
    Diff,
    /// Set in another but not in the first.
    Diff1,
    /// Set in the first and in another.
    AndOr,
    /// Set in exactly one.
    One,
}

/// Strings being combined; those that are shorter than the longest end in zeros.
///
/// Sources are added one after the other, so that none of them is copied. For DIFF, DIFF1 and ANDOR
/// the first source comes last.
pub struct Combination {
    op: BitOp,
    sources: usize,
    bits: Vec<u8>,
    /// ONE: the bits that more than one source has.
    repeated: Vec<u8>,
}

impl BitOp {
    /// Whether the first source is to be added after the others.
    pub fn adds_first_last(self) -> bool {
        matches!(self, Self::Diff | Self::Diff1 | Self::AndOr)
    }
}

impl Combination {
    /// No source yet.
    pub fn new(op: BitOp) -> Self {
        Self { op, sources: 0, bits: Vec::new(), repeated: Vec::new() }
    }

    /// Adds a source.
    pub fn add(&mut self, source: &[u8]) {
        self.sources += 1;
        if self.sources == 1 {
            self.bits.extend_from_slice(source);
            return;
        }
        match self.op {
            BitOp::And => self.and(source),
            BitOp::Xor => self.lengthened(source, |bits, byte| bits ^ byte),
            BitOp::One => self.one(source),
            _ => self.lengthened(source, |bits, byte| bits | byte),
        }
    }

    fn and(&mut self, source: &[u8]) {
        let old = self.bits.len();
        self.bits.resize(old.max(source.len()), 0);
        let (both, alone) = self.bits.split_at_mut(old.min(source.len()));
        both.iter_mut().zip(source).for_each(|(bits, byte)| *bits &= byte);
        alone.fill(0);
    }

    fn one(&mut self, source: &[u8]) {
        let len = self.bits.len().max(source.len());
        self.bits.resize(len, 0);
        self.repeated.resize(len, 0);
        for ((bits, repeated), byte) in self.bits.iter_mut().zip(&mut self.repeated).zip(source) {
            *repeated |= *bits & byte;
            *bits |= byte;
        }
    }

    #[inline(always)]
    fn lengthened(&mut self, source: &[u8], combine: impl Fn(u8, u8) -> u8) {
        if self.bits.len() < source.len() {
            self.bits.resize(source.len(), 0);
        }
        self.bits.iter_mut().zip(source).for_each(|(bits, byte)| *bits = combine(*bits, *byte));
    }

    /// The result; `first` is the first source where it [comes last](BitOp::adds_first_last).
    pub fn finish(mut self, first: &[u8]) -> Vec<u8> {
        match self.op {
            BitOp::And | BitOp::Or | BitOp::Xor => {}
            BitOp::Not => self.bits.iter_mut().for_each(|bits| *bits = !*bits),
            BitOp::Diff => {
                self.lengthened(first, |others, first| first & !others);
                self.bits[first.len()..].fill(0);
            }
            BitOp::Diff1 => self.lengthened(first, |others, first| others & !first),
            BitOp::AndOr => self.and(first),
            BitOp::One => {
                let repeated = self.repeated.iter();
                self.bits.iter_mut().zip(repeated).for_each(|(bits, seen)| *bits &= !seen);
            }
        }
        self.bits
    }
}

/// What becomes of a number that does not fit its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Its lower bits are stored.
    Wrap,
    /// The nearest number that fits is stored.
    Saturate,
    /// Nothing is stored.
    Fail,
}

/// The type of an integer in a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Whether it is in two's complement.
    pub signed: bool,
    /// Bits: 1 to 64, unsigned ones to 63.
    pub width: u32,
}

impl Field {
    /// The type that `text` names, as in `i16` and `u8`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (kind, digits) = text.split_first()?;
        let signed = match kind {
            b'i' => true,
            b'u' => false,
            _ => return None,
        };
        let width = crate::base::number::parse_i64(digits)?;
        let widest = if signed { 64 } else { 63 };
        (1..=widest).contains(&width).then_some(Self { signed, width: width as u32 })
    }

    /// The integer at `offset`; bits behind the end are zero.
    pub fn read(self, bytes: &[u8], offset: u64) -> i64 {
        let bytes = usize::try_from(offset / 8).ok().and_then(|at| bytes.get(at..));
        let bits = window(bytes.unwrap_or_default()) << (offset % 8);
        let unused = 64 - self.width;
        let top = (bits >> 64) as u64;
        if self.signed { top as i64 >> unused } else { (top >> unused) as i64 }
    }

    /// Writes an integer at `offset`, which the bytes reach behind.
    pub fn write(self, bytes: &mut [u8], offset: u64, value: i64) {
        let bytes = &mut bytes[(offset / 8) as usize..];
        let shift = 128 - self.width - (offset % 8) as u32;
        let field = (u128::MAX >> (128 - self.width)) << shift;
        let new = (value as u128) << shift & field;
        let merged = (window(bytes) & !field | new).to_be_bytes();
        let touched = (offset % 8 + u64::from(self.width)).div_ceil(8) as usize;
        bytes[..touched].copy_from_slice(&merged[..touched]);
    }

    /// What is stored for `wanted`; `None` when it does not fit and may not be changed.
    pub fn fit(self, wanted: i128, overflow: Overflow) -> Option<i64> {
        let (least, most) = if self.signed {
            (-1 << (self.width - 1), (1 << (self.width - 1)) - 1)
        } else {
            (0, (1 << self.width) - 1)
        };
        if (least..=most).contains(&wanted) {
            return Some(wanted as i64);
        }
        match overflow {
            Overflow::Wrap => {
                let top = (wanted as u64) << (64 - self.width);
                Some(self.read(&top.to_be_bytes(), 0))
            }
            Overflow::Saturate => Some(wanted.clamp(least, most) as i64),
            Overflow::Fail => None,
        }
    }

    /// The number that a SET of `value` asks for: in an unsigned field a negative one is very large.
    pub fn wanted(self, value: i64) -> i128 {
        if self.signed { i128::from(value) } else { i128::from(value as u64) }
    }
}

/// The first 9 bytes, zeros behind the end, as the highest of 128 bits.
fn window(bytes: &[u8]) -> u128 {
    let mut window = [0; 16];
    let len = bytes.len().min(9);
    window[..len].copy_from_slice(&bytes[..len]);
    u128::from_be_bytes(window)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(bytes: &[u8]) -> Vec<bool> {
        (0..bytes.len() as u64 * 8).map(|offset| get(bytes, offset)).collect()
    }

    fn combined(op: BitOp, sources: &[Vec<u8>]) -> Vec<u8> {
        let mut combination = Combination::new(op);
        let first = usize::from(op.adds_first_last());
        sources[first..].iter().for_each(|source| combination.add(source));
        combination.finish(&sources[0])
    }

    fn model(op: BitOp, sources: &[Vec<u8>]) -> Vec<u8> {
        let len = sources.iter().map(Vec::len).max().unwrap_or(0);
        let mut result = vec![0; len];
        for offset in 0..len as u64 * 8 {
            let first = get(&sources[0], offset);
            let set = sources.iter().filter(|source| get(source, offset)).count();
            let others = set - usize::from(first);
            let on = match op {
                BitOp::And => set == sources.len(),
                BitOp::Or => set > 0,
                BitOp::Xor => set % 2 == 1,
                BitOp::Not => !first,
                BitOp::Diff => first && others == 0,
                BitOp::Diff1 => !first && others > 0,
                BitOp::AndOr => first && others > 0,
                BitOp::One => set == 1,
            };
            super::set(&mut result, offset, on);
        }
        result
    }

    #[test]
    fn long_strings_are_counted() {
        for len in [0, 1, 7, 8, 1023, 1024, 1025, 5000, 100_000] {
            let bytes: Vec<u8> =
                (0..len).map(|i: u32| (i.wrapping_mul(40_503) >> 7) as u8).collect();
            let expected: u64 = bytes.iter().map(|b| u64::from(b.count_ones())).sum();
            assert_eq!(
                (count(&bytes), count(&vec![0xff; len as usize])),
                (expected, 8 * u64::from(len))
            );
        }
    }

    #[test]
    fn widths_are_parsed() {
        assert_eq!(Field::parse(b"i64"), Some(Field { signed: true, width: 64 }));
        assert_eq!(Field::parse(b"u63"), Some(Field { signed: false, width: 63 }));
        for wrong in ["", "i", "u64", "i65", "u0", "x8", "I8", "u+8", "u08"] {
            assert_eq!(Field::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_that_do_not_fit_wrap_saturate_or_fail() {
        let (byte, signed) = (Field { signed: false, width: 8 }, Field { signed: true, width: 8 });
        let fit = |field: Field, wanted| {
            [Overflow::Wrap, Overflow::Saturate, Overflow::Fail].map(|o| field.fit(wanted, o))
        };
        assert_eq!(fit(byte, 257), [Some(1), Some(255), None]);
        assert_eq!(fit(byte, -1), [Some(255), Some(0), None]);
        assert_eq!(fit(byte, byte.wanted(-1)), [Some(255), Some(255), None]);
        assert_eq!(fit(signed, 128), [Some(-128), Some(127), None]);
        assert_eq!(fit(signed, -129), [Some(127), Some(-128), None]);
        let widest = Field { signed: true, width: 64 };
        assert_eq!(fit(widest, i128::from(i64::MAX) + 1), [Some(i64::MIN), Some(i64::MAX), None]);
        assert_eq!(fit(widest, -7), [Some(-7); 3]);
    }

    proptest! {
        #[test]
        fn ranges_are_counted_and_searched_bit_by_bit(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 1..40),
                prop::collection::vec(prop_oneof![9 => Just(0), 1 => any::<u8>()], 1..300),
                prop::collection::vec(prop_oneof![9 => Just(255), 1 => any::<u8>()], 1..300),
            ],
            ends in any::<(prop::sample::Index, prop::sample::Index)>(),
        ) {
            let len = bytes.len() * 8 + 1;
            let (start, end) = (ends.0.index(len), ends.1.index(len));
            let all = bits(&bytes);
            let range = all.get(start..end).unwrap_or_default();
            let (from, to) = (start as u64, end as u64);
            prop_assert_eq!(count_range(&bytes, from..to), range.iter().filter(|b| **b).count() as u64);
            for bit in [false, true] {
                let expected = range.iter().position(|b| *b == bit).map(|at| from + at as u64);
                prop_assert_eq!(position(&bytes, bit, from..to), expected);
            }
        }

        #[test]
        fn combinations_are_those_of_single_bits(
            sources in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..70), 2..5),
        ) {
            use BitOp::{And, AndOr, Diff, Diff1, Not, One, Or, Xor};
            for op in [And, Or, Xor, Diff, Diff1, AndOr, One] {
                prop_assert_eq!(combined(op, &sources), model(op, &sources), "{:?}", op);
            }
            prop_assert_eq!(combined(Not, &sources[..1]), model(Not, &sources[..1]));
        }

        #[test]
        fn fields_are_written_without_touching_their_neighbours(
            bytes in prop::collection::vec(any::<u8>(), 12..20),
            offset in 0_u64..32,
            value in any::<i64>(),
            signed in any::<bool>(),
            width in 1_u32..64,
        ) {
            let (field, mut written) = (Field { signed, width }, bytes.clone());
            let kept = field.fit(i128::from(value), Overflow::Wrap).expect("wrapping always fits");
            field.write(&mut written, offset, kept);
            prop_assert_eq!(field.read(&written, offset), kept);
            let (before, after) = (bits(&bytes), bits(&written));
            let (start, end) = (offset as usize, offset as usize + width as usize);
            prop_assert_eq!(&before[..start], &after[..start]);
            prop_assert_eq!(&before[end..], &after[end..]);
        }
    }
}
