//! The x87 extended double in software, for INCRBYFLOAT and HINCRBYFLOAT.
//!
//! Redis adds in C's `long double`, on x86-64 a sign, 15 bits of exponent and 64 bits of mantissa,
//! and its users see the difference: 0.1 + 0.2 is 0.3, not 0.30000000000000004. This file owns
//! reading, adding and printing such numbers, on every processor alike, bit for bit as glibc and
//! the x87 do it: each step rounds its exact result once, half to even.
//!
//! ```text
//! value = mantissa * 2^exponent      exponent of the lowest bit, -16445 ..= 16320
//!         mantissa >= 2^63 unless exponent == -16445 (subnormals and zero)
//! ```
//!
//! Everyday numbers stay within 128-bit integers. Others go through `Big`, a plain array of
//! limbs, whose size is bounded by [`TEXT_LEN_MAX`] digits and the exponent range.

use std::cmp::Ordering;
use std::ops::{Add, Neg};

use super::number::{Binary, is_infinity, parse_exponent, parse_hex, split_sign, trim_decimals};

/// Redis's `MAX_LONG_DOUBLE_CHARS`: a text of this length or longer is no number.
///
/// The longest text that [`Float80::write`] makes has 4952 bytes, so that it can be read again.
pub const TEXT_LEN_MAX: usize = 5 * 1024;

const MANTISSA_BITS: u32 = 64;
const EXPONENT_MIN: i64 = -16445;
const EXPONENT_MAX: i64 = 16320;
/// Decimals that [`Float80::write`] prints before it trims zeros.
const DECIMALS: u32 = 17;

/// An extended double.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Float80 {
    negative: bool,
    magnitude: Magnitude,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Magnitude {
    /// Mantissa and exponent, normalised as the file's header shows.
    Finite(u64, i64),
    Infinite,
    Nan,
}

impl Float80 {
    /// Zero.
    pub const ZERO: Self = Self { negative: false, magnitude: ZERO };
    /// The largest finite number (LDBL_MAX).
    pub const MAX: Self =
        Self { negative: false, magnitude: Magnitude::Finite(u64::MAX, EXPONENT_MAX) };
    /// The smallest finite number.
    pub const MIN: Self = Self { negative: true, ..Self::MAX };

    fn is_zero(self) -> bool {
        matches!(self.magnitude, Magnitude::Finite(0, _))
    }

    /// The number that the whole of `b` spells, as Redis's `string2ld` reads arguments and values.
    ///
    /// Takes what C's `strtold` takes, infinity included; refuses NaN, leading space, what is too
    /// large, what is so small that only zero is left, and texts of [`TEXT_LEN_MAX`] bytes.
    pub fn parse(b: &[u8]) -> Option<Self> {
        if b.len() >= TEXT_LEN_MAX {
            return None;
        }
        let (negative, unsigned) = split_sign(b);
        let magnitude = match unsigned {
            [b'0', b'x' | b'X', hex @ ..] => round(parse_hex(hex)?)?,
            [b'0'..=b'9' | b'.', ..] => round(parse_decimal(unsigned)?)?,
            word if is_infinity(word) => Magnitude::Infinite,
            _ => return None,
        };
        Some(Self { negative, magnitude })
    }

    /// Whether this is no number, as the sum of opposite infinities.
    pub fn is_nan(self) -> bool {
        self.magnitude == Magnitude::Nan
    }

    /// Whether this is an infinity of either sign.
    pub fn is_infinite(self) -> bool {
        self.magnitude == Magnitude::Infinite
    }

    /// Appends the number with at most 17 decimals and never an exponent: Redis's `ld2string` in
    /// its human mode, which is C's `%.17Lf` without trailing zeros and without the sign of zero.
    pub fn write(self, out: &mut Vec<u8>) {
        if self.is_nan() {
            return out.extend_from_slice(b"nan");
        }
        let start = out.len();
        if self.negative {
            out.push(b'-');
        }
        match self.magnitude {
            Magnitude::Finite(mantissa, exponent) => {
                write_fixed(out, mantissa, exponent);
                trim_decimals(out, start);
            }
            _ => out.extend_from_slice(b"inf"),
        }
    }
}

impl Add for Float80 {
    type Output = Self;

    /// The sum, rounded half to even; out of range it is infinite.
    fn add(self, other: Self) -> Self {
        use Magnitude::{Finite, Infinite, Nan};
        match (self.magnitude, other.magnitude) {
            (Finite(a, a_exponent), Finite(b, b_exponent)) => {
                if (a_exponent, a) < (b_exponent, b) {
                    add_finite(other, (b, b_exponent), self.negative, (a, a_exponent))
                } else {
                    add_finite(self, (a, a_exponent), other.negative, (b, b_exponent))
                }
            }
            (Infinite, Infinite) if self.negative != other.negative => {
                Self { negative: false, magnitude: Nan }
            }
            (Nan, _) | (Infinite, Finite(..) | Infinite) => self,
            (Finite(..) | Infinite, _) => other,
        }
    }
}

impl Neg for Float80 {
    type Output = Self;

    fn neg(self) -> Self {
        Self { negative: !self.negative, ..self }
    }
}

impl PartialOrd for Float80 {
    /// By the sign of the difference, which is zero only between equal numbers.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        if self.is_nan() || other.is_nan() {
            return None;
        }
        let difference = *self + -*other;
        Some(match () {
            () if difference.is_nan() || difference.is_zero() => Ordering::Equal,
            () if difference.negative => Ordering::Less,
            () => Ordering::Greater,
        })
    }
}

/// The nearest extended double; `None` when it is out of range or a number above zero becomes zero.
fn round(exact: Binary) -> Option<Magnitude> {
    if exact.mantissa == 0 {
        return Some(ZERO);
    }
    let (mantissa, exponent) = exact.round(MANTISSA_BITS, EXPONENT_MIN);
    (mantissa != 0 && exponent <= EXPONENT_MAX).then_some(Magnitude::Finite(mantissa, exponent))
}

const ZERO: Magnitude = Magnitude::Finite(0, EXPONENT_MIN);

/// The sum of two finite numbers, the one of greater magnitude first.
fn add_finite(
    large: Float80,
    (a, a_exponent): (u64, i64),
    small_negative: bool,
    (b, b_exponent): (u64, i64),
) -> Float80 {
    /// Room below the mantissa, so that lost bits stay far from where rounding decides.
    const GUARD_BITS: u32 = 62;
    let a = u128::from(a) << GUARD_BITS;
    let b = shift_right_sticky(u128::from(b) << GUARD_BITS, a_exponent - b_exponent);
    let same_sign = large.negative == small_negative;
    let mantissa = if same_sign { a + b } else { a - b };
    let exact = Binary { mantissa, exponent: a_exponent - i64::from(GUARD_BITS) };
    let negative = large.negative && (mantissa != 0 || same_sign);
    Float80 { negative, magnitude: round(exact).unwrap_or(Magnitude::Infinite) }
}

/// `value >> shift`, with the lowest bit set if any set bit was lost.
fn shift_right_sticky(value: u128, shift: i64) -> u128 {
    if shift >= i64::from(u128::BITS) {
        return u128::from(value != 0);
    }
    let kept = value >> shift;
    kept | u128::from(kept << shift != value)
}

/// The number that the whole of `b`, decimal digits with an optional dot and exponent, spells.
fn parse_decimal(b: &[u8]) -> Option<Binary> {
    let (significand, exponent) = match b.iter().position(|c| c.eq_ignore_ascii_case(&b'e')) {
        Some(at) => (&b[..at], parse_exponent(&b[at + 1..])?),
        None => (b, 0),
    };
    let (whole, fraction) = match significand.iter().position(|c| *c == b'.') {
        Some(at) => (&significand[..at], &significand[at + 1..]),
        None => (significand, &[][..]),
    };
    let is_number = !(whole.is_empty() && fraction.is_empty())
        && whole.iter().chain(fraction).all(u8::is_ascii_digit);
    if !is_number {
        return None;
    }
    let exponent = exponent - fraction.len() as i64;
    scale_short(whole, fraction, exponent).or_else(|| scale(whole, fraction, exponent))
}

/// Digits times a power of ten, if both are small enough for 128 bits.
fn scale_short(whole: &[u8], fraction: &[u8], exponent: i64) -> Option<Binary> {
    const DIGITS_MAX: usize = 38;
    /// The highest power of five of which 127 bits are a 66-bit multiple at least.
    const DIVISOR_MAX: i64 = 26;
    if whole.len() + fraction.len() > DIGITS_MAX
        || !(-DIVISOR_MAX..=DIVISOR_MAX).contains(&exponent)
    {
        return None;
    }
    let digits = whole.iter().chain(fraction);
    let value = digits.fold(0u128, |value, digit| value * 10 + u128::from(digit - b'0'));
    let power = 5u128.pow(exponent.unsigned_abs() as u32);
    if exponent >= 0 {
        let mantissa = value.checked_mul(power).filter(|value| value >> 127 == 0)?;
        return Some(Binary { mantissa, exponent });
    }
    let up = value.leading_zeros().saturating_sub(1);
    let value = value << up;
    let mantissa = (value / power) << 1 | u128::from(value % power != 0);
    Some(Binary { mantissa, exponent: exponent - i64::from(up) - 1 })
}

/// Any digits times any power of ten; `None` when that is plainly out of range.
fn scale(whole: &[u8], fraction: &[u8], exponent: i64) -> Option<Binary> {
    /// Above 10^4933 all is too large; below 10^-4951 only zero would be left.
    const POINT_RANGE: std::ops::RangeInclusive<i64> = -4951..=4933;
    let digits: Vec<u8> = whole.iter().chain(fraction).map(|digit| digit - b'0').collect();
    let Some(first) = digits.iter().position(|digit| *digit != 0) else {
        return Some(Binary { mantissa: 0, exponent: 0 });
    };
    let digits = &digits[first..];
    if !POINT_RANGE.contains(&(digits.len() as i64 + exponent)) {
        return None;
    }
    let mut numerator = Big::from_digits(digits);
    let mut denominator = Big::from_digits(&[1]);
    if exponent >= 0 {
        numerator.multiply_by_power_of_five(exponent as u32);
    } else {
        denominator.multiply_by_power_of_five(-exponent as u32);
    }
    let quotient = numerator.divide(denominator);
    Some(Binary { exponent: quotient.exponent + exponent, ..quotient })
}

/// Appends `mantissa * 2^exponent` with exactly [`DECIMALS`] decimals, rounded half to even.
fn write_fixed(out: &mut Vec<u8>, mantissa: u64, exponent: i64) {
    const ONE: u128 = 10u128.pow(DECIMALS);
    if exponent > 0 {
        Big::from_binary(mantissa, exponent as u32).write(out);
        return write_decimals(out, 0);
    }
    let shift = -exponent as u32;
    if shift >= u128::BITS {
        // Below 2^-64, far less than half of the last decimal.
        out.push(b'0');
        return write_decimals(out, 0);
    }
    let whole = u128::from(mantissa) >> shift;
    // At most 64 bits by 57.
    let scaled = (u128::from(mantissa) - (whole << shift)) * ONE;
    let (mut decimals, rest) = (scaled >> shift, scaled & ((1 << shift) - 1));
    let half = (1 << shift) >> 1;
    decimals += u128::from(rest > half || (rest == half && rest != 0 && decimals & 1 == 1));
    let carry = decimals / ONE;
    write_padded(out, (whole + carry) as u64, 1);
    write_decimals(out, (decimals - carry * ONE) as u64);
}

/// Appends a dot and `decimals` in [`DECIMALS`] digits.
fn write_decimals(out: &mut Vec<u8>, decimals: u64) {
    out.push(b'.');
    write_padded(out, decimals, DECIMALS as usize);
}

/// Appends `value` with zeros in front, in at least `width` digits.
fn write_padded(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(value).as_bytes();
    out.resize(out.len() + width.saturating_sub(digits.len()), b'0');
    out.extend_from_slice(digits);
}

/// A large unsigned integer: limbs of 32 bits, the lowest first, the last one not zero.
struct Big {
    limbs: Vec<u32>,
}

impl Big {
    /// Decimal digits, each 0 to 9, the highest first.
    fn from_digits(digits: &[u8]) -> Self {
        let mut big = Self { limbs: Vec::new() };
        for chunk in digits.chunks(9) {
            let value = chunk.iter().fold(0, |value, digit| value * 10 + u32::from(*digit));
            big.multiply_add(10u32.pow(chunk.len() as u32), value);
        }
        big
    }

    /// `mantissa * 2^exponent`.
    fn from_binary(mantissa: u64, exponent: u32) -> Self {
        let mut big = Self { limbs: vec![mantissa as u32, (mantissa >> 32) as u32] };
        big.trim();
        big.shift_left(exponent);
        big
    }

    fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for limb in &mut self.limbs {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.limbs.push(carry as u32);
        }
    }

    fn multiply_by_power_of_five(&mut self, exponent: u32) {
        /// The highest power of five that one limb holds is 5^13.
        const STEP: u32 = 13;
        for _ in 0..exponent / STEP {
            self.multiply_add(5u32.pow(STEP), 0);
        }
        self.multiply_add(5u32.pow(exponent % STEP), 0);
    }

    fn shift_left(&mut self, bits: u32) {
        self.multiply_add(1 << (bits % 32), 0);
        self.limbs.splice(0..0, std::iter::repeat_n(0, bits as usize / 32));
    }

    fn bits(&self) -> u32 {
        let top = self.limbs.last().map_or(0, |limb| u32::BITS - limb.leading_zeros());
        top + u32::BITS * self.limbs.len().saturating_sub(1) as u32
    }

    fn trim(&mut self) {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let by_len = self.limbs.len().cmp(&other.limbs.len());
        by_len.then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev()))
    }

    /// Takes away `other`, which must not be larger.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (at, limb) in self.limbs.iter_mut().enumerate() {
            let part = other.limbs.get(at).copied().unwrap_or(0);
            let difference = i64::from(*limb) - i64::from(part) - i64::from(borrow);
            (*limb, borrow) = (difference as u32, difference < 0);
        }
        debug_assert!(!borrow, "the subtrahend is not larger");
        self.trim();
    }

    /// The quotient of two numbers above zero, in more bits than a mantissa, bit by bit.
    fn divide(mut self, mut by: Self) -> Binary {
        /// The first bit may be 0, the last one tells whether anything is left.
        const STEPS: u32 = MANTISSA_BITS + 4;
        let exponent = i64::from(self.bits()) - i64::from(by.bits());
        if exponent < 0 {
            self.shift_left(-exponent as u32);
        } else {
            by.shift_left(exponent as u32);
        }
        let mut mantissa = 0;
        for _ in 0..STEPS {
            let fits = self.compare(&by) != Ordering::Less;
            if fits {
                self.subtract(&by);
            }
            mantissa = mantissa << 1 | u128::from(fits);
            self.shift_left(1);
        }
        mantissa = mantissa << 1 | u128::from(!self.limbs.is_empty());
        Binary { mantissa, exponent: exponent - i64::from(STEPS) }
    }

    /// Appends the decimal digits.
    fn write(mut self, out: &mut Vec<u8>) {
        const CHUNK: u64 = 1_000_000_000;
        let mut chunks = Vec::new();
        while !self.limbs.is_empty() {
            let mut rest = 0;
            for limb in self.limbs.iter_mut().rev() {
                let value = rest << 32 | u64::from(*limb);
                *limb = (value / CHUNK) as u32;
                rest = value % CHUNK;
            }
            self.trim();
            chunks.push(rest);
        }
        let highest = chunks.pop().unwrap_or(0);
        write_padded(out, highest, 1);
        for chunk in chunks.into_iter().rev() {
            write_padded(out, chunk, 9);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Float80 {
        Float80::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text:?} is a number"))
    }

    fn shown(number: Float80) -> String {
        let mut out = b"x".to_vec();
        number.write(&mut out);
        String::from_utf8(out.split_off(1)).unwrap()
    }

    /// Sums as C's `long double` computes and `%.17Lf` prints them, zeros trimmed.
    const SUMS: &str = "
        3 + 1.1 = 4.1; 10.50 + 0.1 = 10.6; 5.0e3 + 2.0e2 = 5200; 0.1 + 0.2 = 0.3
        1000.1 + 0.1 = 1000.19999999999999996
        1000.20000000000000001 + 0.1 = 1000.29999999999999999
        17179869184.1 + -17179869184 = 0.09999999962747097
        1 + -0.99999999999999999 = 0.00000000000000001; 1 + -1.0000000000000000001 = 0
        -0 + -0 = 0; -1e-30 + 0 = 0; 5e-18 + 0 = 0
        3.814697265625e-6 + 0 = 0.00000381469726562
        1.1444091796875e-5 + 0 = 0.00001144409179688; 0.999999999999999999 + 0 = 1
        99999999999999999999.5 + 0 = 100000000000000000000
        9223372036854775807 + 0.5 = 9223372036854775807.5
        18446744073709551615 + 1 = 18446744073709551616
        18446744073709551616 + 1 = 18446744073709551616
        36893488147419103233 + 0 = 36893488147419103232
        36893488147419103235 + 0 = 36893488147419103236
        36893488147419103234.00000000000000000000000001 + 0 = 36893488147419103236
        1e30 + -1e30 = 0; 1e30 + 1 = 1000000000000000000024696061952
        123456789012345678901234567890 + 0.1 = 123456789012345678899921813504
        1e40 + 0 = 9999999999999999999783686092270256259072
        12345678901234567890123456789012345678901e-41 + 7 = 7.12345678901234568
        1.5e1 + -0x1p-3 = 14.875; 0x1.8p1 + 0X.8 = 3.5; 0x1.00000000000000018p0 + -1 = 0
        1e4932 + -1e4932 = 0; 3.6451995318824746025e-4951 + 1 = 1
    ";

    #[test]
    fn sums_print_as_redis_prints_them() {
        for line in SUMS.split([';', '\n']).filter(|line| !line.trim().is_empty()) {
            let (summands, sum) = line.trim().split_once(" = ").unwrap();
            let (a, b) = summands.split_once(" + ").unwrap();
            assert_eq!(shown(parse(a) + parse(b)), sum, "{a} + {b}");
            assert_eq!(shown(parse(b) + parse(a)), sum, "{b} + {a}");
        }
    }

    #[test]
    fn the_largest_number_prints_all_its_digits_and_is_read_back() {
        let largest = parse("-1.18973149535723176502e4932");
        let text = shown(largest);
        assert_eq!(text.len(), 4934);
        assert!(text.starts_with("-1189731495357231765021263853030970205169"));
        assert!(text.ends_with("444156604419552086811989770240"));
        assert_eq!(parse(&text), largest);
    }

    #[test]
    fn what_is_out_of_range_or_no_number_is_refused() {
        let words =
            "| 1|1 |nan|-NaN|nan(1)|infin|+|.|e5|1e|1e+|1..2|1.2.3|--1|1_0|1\0|0x|0x.p1|0x1p";
        let sizes = "1e4933|1.18973149535723176509e4932|-1e99999999999999999999|0x1p16384|\
                     1e-4952|1.8225997659412373012e-4951|1e-99999999999999999999|0x1p-16446";
        for text in words.split('|').chain(sizes.split('|')) {
            assert_eq!(Float80::parse(text.as_bytes()), None, "{text:?}");
        }
        for text in
            ["1.8225997659412373013e-4951", "0x1p-16445", "0e9999999999999999999", ".5", "5."]
        {
            parse(text);
        }
    }

    #[test]
    fn a_text_as_long_as_the_buffer_of_redis_is_refused() {
        assert_eq!(shown(parse(&format!("{}1", "0".repeat(TEXT_LEN_MAX - 2)))), "1");
        assert_eq!(Float80::parse(&[b'0'; TEXT_LEN_MAX]), None);
    }

    #[test]
    fn infinities_are_numbers_until_they_cancel() {
        let (plus, minus) = (parse("inf"), parse("-Infinity"));
        assert!(plus.is_infinite() && (plus + parse("-1e4932")).is_infinite());
        assert!((plus + minus).is_nan() && !(plus + minus).is_infinite());
        assert!((minus + minus).is_infinite());
        assert!((parse("1e4932") + parse("1e4932")).is_infinite());
        assert!(!parse("1").is_nan() && !parse("1").is_infinite());
        assert_eq!(shown(minus), "-inf");
        assert_eq!(shown(plus + minus + parse("1")), "nan");
    }

    proptest! {
        #[test]
        fn integers_of_64_bits_add_exactly(a: i64, b: i64) {
            let sum = parse(&a.to_string()) + parse(&b.to_string());
            prop_assert_eq!(shown(sum), (i128::from(a) + i128::from(b)).to_string());
        }

        #[test]
        fn both_ways_to_scale_agree(digits in "[0-9]{1,38}", exponent in -26i64..=26) {
            let digits = digits.as_bytes();
            if let Some(short) = scale_short(digits, b"", exponent) {
                prop_assert_eq!(round(short), scale(digits, b"", exponent).and_then(round));
            }
        }

        #[test]
        fn whole_numbers_are_read_back(mantissa: u64, exponent in 0..16320) {
            let number = Float80::parse(format!("0x{mantissa:x}p{exponent}").as_bytes()).unwrap();
            prop_assert_eq!(parse(&shown(number)), number);
        }

        #[test]
        fn no_text_panics(text in "[-+]?[0-9.einfxp+-]{0,24}") {
            if let Some(number) = Float80::parse(text.as_bytes()) {
                prop_assert!(!shown(number + number).is_empty());
            }
        }
    }
}
