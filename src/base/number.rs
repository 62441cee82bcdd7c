//! Numbers as text, exactly as Redis reads and prints them.
//!
//! Integers follow `string2ll` of Redis's util.c: one spelling for each value, so that a text that
//! parses can be stored as an integer and given back unchanged. Doubles are read as `strtod` reads
//! them and printed as `d2string` prints scores: integers plainly, all else with the shortest
//! digits that read back the same, laid out as the fpconv library does.
//!
//! Redis's fpconv finds its digits with Grisu2, which is not always shortest: there about one
//! random double in five hundred gets other last digits. Both texts read back as the same double.

use std::io::Write;

/// The signed integer that `b` spells in its only accepted form.
///
/// No sign but a leading `-`, no leading zero, no `-0`, no space, nothing outside `i64`.
#[inline]
pub fn parse_i64(b: &[u8]) -> Option<i64> {
    match b {
        [b'-', b'0', ..] => None,
        [b'-', digits @ ..] => 0i64.checked_sub_unsigned(parse_u64(digits)?),
        digits => i64::try_from(parse_u64(digits)?).ok(),
    }
}

/// The unsigned integer that `b` spells; as strict as [`parse_i64`].
#[inline]
pub fn parse_u64(b: &[u8]) -> Option<u64> {
    /// The digits of `u64::MAX`; one less never overflows.
    const DIGITS_MAX: usize = 20;
    if b.is_empty() || b.len() > DIGITS_MAX || (b[0] == b'0' && b.len() > 1) {
        return None;
    }
    let (safe, last) = b.split_at(b.len().min(DIGITS_MAX - 1));
    let mut value = 0;
    for byte in safe {
        value = value * 10 + digit(*byte)?;
    }
    match last {
        [byte] => value.checked_mul(10)?.checked_add(digit(*byte)?),
        _ => Some(value),
    }
}

#[inline]
fn digit(byte: u8) -> Option<u64> {
    let value = byte.wrapping_sub(b'0');
    (value < 10).then_some(u64::from(value))
}

/// Appends the decimal digits of `value`.
#[inline]
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The decimal digits of `value`, in `buf`.
#[inline]
pub fn format_i64(value: i64, buf: &mut [u8; 20]) -> &[u8] {
    let mut digits = itoa::Buffer::new();
    let text = digits.format(value).as_bytes();
    buf[..text.len()].copy_from_slice(text);
    &buf[..text.len()]
}

/// The double that the whole of `b` spells, as Redis's `getDoubleFromObject` reads arguments.
///
/// Takes what C's `strtod` takes, so also `+1`, `.5`, `5.`, `0x1p-3`, `inf` and `Infinity`; refuses
/// NaN, leading space, what is too large for a double, and what is so small that only zero is left.
pub fn parse_f64(b: &[u8]) -> Option<f64> {
    let (negative, unsigned) = split_sign(b);
    let magnitude = match unsigned {
        [b'0', b'x' | b'X', hex @ ..] => parse_hex_f64(hex)?,
        [b'0'..=b'9' | b'.', ..] => parse_decimal_f64(unsigned)?,
        word if is_infinity(word) => f64::INFINITY,
        _ => return None,
    };
    Some(if negative { -magnitude } else { magnitude })
}

fn parse_decimal_f64(b: &[u8]) -> Option<f64> {
    let value: f64 = str::from_utf8(b).ok()?.parse().ok()?;
    let significand = b.split(|c| c.eq_ignore_ascii_case(&b'e')).next().unwrap_or_default();
    let underflow = value == 0.0 && significand.iter().any(|c| matches!(c, b'1'..=b'9'));
    (value.is_finite() && !underflow).then_some(value)
}

fn parse_hex_f64(b: &[u8]) -> Option<f64> {
    const MANTISSA_BITS: u32 = 53;
    const EXPONENT_MIN: i64 = -1074;
    const EXPONENT_MAX: i64 = 971;
    let binary = parse_hex(b)?;
    if binary.mantissa == 0 {
        return Some(0.0);
    }
    let (mantissa, exponent) = binary.round(MANTISSA_BITS, EXPONENT_MIN);
    if mantissa == 0 || exponent > EXPONENT_MAX {
        return None;
    }
    // A mantissa without the top bit is a subnormal, whose biased exponent is 0.
    let top_bit = mantissa >> (MANTISSA_BITS - 1);
    let biased = top_bit * (exponent - EXPONENT_MIN + 1) as u64;
    Some(f64::from_bits(biased << (MANTISSA_BITS - 1) | (mantissa & !(1 << (MANTISSA_BITS - 1)))))
}

/// `b` without its sign, and whether that was `-`.
pub(super) fn split_sign(b: &[u8]) -> (bool, &[u8]) {
    match b {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, b),
    }
}

/// Whether `word` is one of the names of infinity that C knows.
pub(super) fn is_infinity(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"infinity")
}

/// An unrounded number, `mantissa * 2^exponent`.
///
/// The mantissa is below 2^127. Where bits were lost below it, its lowest bit is set, and it has at
/// least 66 bits, so that [`Binary::round`] still rounds the exact value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Binary {
    pub(super) mantissa: u128,
    pub(super) exponent: i64,
}

impl Binary {
    /// Rounds half to even to a mantissa of exactly `bits` (at most 64) bits and its exponent.
    ///
    /// The mantissa has fewer bits only where its exponent is `exponent_min`.
    pub(super) fn round(self, bits: u32, exponent_min: i64) -> (u64, i64) {
        let Self { mantissa, exponent } = self;
        let len = u128::BITS - mantissa.leading_zeros();
        let shift = i64::from(len) - i64::from(bits);
        let shift = shift.max(exponent_min.saturating_sub(exponent));
        if shift <= 0 {
            return ((mantissa as u64) << -shift, exponent + shift);
        }
        if shift >= i64::from(u128::BITS) {
            return (0, exponent_min);
        }
        let (kept, rest) = (mantissa >> shift, mantissa & ((1 << shift) - 1));
        let half = 1 << (shift - 1);
        let rounded = kept + u128::from(rest > half || (rest == half && kept & 1 == 1));
        // Rounding up may carry into one bit more than asked for, and only to a power of two.
        if rounded >> bits == 0 {
            (rounded as u64, exponent + shift)
        } else {
            ((rounded >> 1) as u64, exponent + shift + 1)
        }
    }
}

/// The number whose hexadecimal digits, after `0x`, are the whole of `b`: `1.8p-3`.
pub(super) fn parse_hex(b: &[u8]) -> Option<Binary> {
    let (significand, exponent) = match b.iter().position(|c| c.eq_ignore_ascii_case(&b'p')) {
        Some(at) => (&b[..at], parse_exponent(&b[at + 1..])?),
        None => (b, 0),
    };
    let mut binary = Binary { mantissa: 0, exponent };
    let (mut digits, mut fraction) = (0usize, false);
    for byte in significand {
        if *byte == b'.' && !fraction {
            fraction = true;
            continue;
        }
        let value = u128::from((*byte as char).to_digit(16)?);
        digits += 1;
        if binary.mantissa >> 120 == 0 {
            binary.mantissa = binary.mantissa << 4 | value;
            binary.exponent -= if fraction { 4 } else { 0 };
        } else {
            binary.mantissa |= u128::from(value != 0);
            binary.exponent += if fraction { 0 } else { 4 };
        }
    }
    (digits > 0).then_some(binary)
}

/// The signed decimal exponent that is the whole of `b`, held within a range that any sum with a
/// text's length stays in.
pub(super) fn parse_exponent(b: &[u8]) -> Option<i64> {
    const LIMIT: i64 = 1 << 56;
    let (negative, digits) = split_sign(b);
    if digits.is_empty() {
        return None;
    }
    let mut value = 0i64;
    for byte in digits {
        value = (value * 10 + digit(*byte)? as i64).min(LIMIT);
    }
    Some(if negative { -value } else { value })
}

/// Appends a double as replies show it: Redis's `addReplyDouble`, by `d2string`.
pub fn write_f64(out: &mut Vec<u8>, value: f64) {
    /// Up to here Redis prints what is whole as an integer.
    const INTEGER_MAX: f64 = (1u64 << 62) as f64;
    if value.is_nan() {
        return out.extend_from_slice(b"nan");
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let magnitude = value.abs();
    if magnitude.is_infinite() {
        out.extend_from_slice(b"inf");
    } else if magnitude <= INTEGER_MAX && magnitude.fract() == 0.0 {
        write_i64(out, magnitude as i64);
    } else {
        write_shortest(out, magnitude);
    }
}

/// Appends a positive finite double in the layout of fpconv's `fpconv_dtoa`.
fn write_shortest(out: &mut Vec<u8>, magnitude: f64) {
    let mut buf = ryu::Buffer::new();
    let (digits, count, exponent) = shortest_digits(buf.format_finite(magnitude).as_bytes());
    let digits = &digits[..count];
    // The exponent that scientific notation shows.
    let scientific = exponent + count as i32 - 1;
    if (0..8).contains(&exponent) {
        out.extend_from_slice(digits);
        out.resize(out.len() + exponent as usize, b'0');
    } else if exponent < 0 && (exponent > -7 || scientific.abs() < 4) {
        if scientific < 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + (-scientific - 1) as usize, b'0');
            out.extend_from_slice(digits);
        } else {
            let (whole, fraction) = digits.split_at(scientific as usize + 1);
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    } else {
        out.push(digits[0]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if scientific < 0 { b"e-" } else { b"e+" });
        write_i64(out, i64::from(scientific.abs()));
    }
}

/// The significant digits, their count, and the power of ten of the last one, of a text as ryu
/// prints positive doubles: `1.25`, `0.001`, `1e20`, `1.5e-7`.
fn shortest_digits(text: &[u8]) -> ([u8; 17], usize, i32) {
    let (mut digits, mut count, mut exponent) = ([0; 17], 0, 0);
    let mut zeros = 0;
    let mut fraction = false;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'.' => fraction = true,
            b'e' => {
                exponent += parse_exponent(&text[at + 1..]).expect("ryu prints an exponent") as i32;
                break;
            }
            _ => {
                exponent -= i32::from(fraction);
                // Zeros count only when a digit follows and one came before.
                if *byte == b'0' {
                    zeros += usize::from(count > 0);
                    continue;
                }
                digits[count..count + zeros].fill(b'0');
                count += zeros;
                zeros = 0;
                digits[count] = *byte;
                count += 1;
            }
        }
    }
    (digits, count, exponent + zeros as i32)
}

/// Appends a double with up to 17 digits, as C's `%.17g` prints it.
pub fn write_general_f64(out: &mut Vec<u8>, value: f64) {
    const DIGITS: i32 = 17;
    if !value.is_finite() {
        return write_f64(out, value);
    }
    let scientific = format!("{:.16e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').expect("the format has an exponent");
    let exponent: i32 = exponent.parse().expect("the format's exponent is a number");
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let start = out.len();
    if !(-4..DIGITS).contains(&exponent) {
        out.push(digits[0]);
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
        trim_decimals(out, start);
        write!(out, "e{exponent:+03}").expect("a vector takes every write");
        return;
    }
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + (-exponent - 1) as usize, b'0');
        out.extend_from_slice(&digits);
    } else {
        let (whole, fraction) = digits.split_at(exponent as usize + 1);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
    trim_decimals(out, start);
}

/// Appends a double with at most 17 decimals and never an exponent: Redis's `ld2string` in its
/// human mode, as replies with coordinates show it.
pub fn write_human_f64(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        return write_f64(out, value);
    }
    let start = out.len();
    write!(out, "{value:.17}").expect("a vector takes every write");
    trim_decimals(out, start);
}

/// Removes trailing zeros, and then a trailing dot, of the decimal that begins at `start`; `-0`
/// becomes `0`.
pub(super) fn trim_decimals(out: &mut Vec<u8>, start: usize) {
    while out.last() == Some(&b'0') {
        out.pop();
    }
    if out.last() == Some(&b'.') {
        out.pop();
    }
    if &out[start..] == b"-0" {
        out.remove(start);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(value: f64) -> String {
        let mut out = Vec::new();
        write_f64(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    fn human(value: f64) -> String {
        let mut out = b"x".to_vec();
        write_human_f64(&mut out, value);
        String::from_utf8(out.split_off(1)).unwrap()
    }

    #[test]
    fn integers_have_one_spelling() {
        assert_eq!(parse_i64(b"0"), Some(0));
        assert_eq!(parse_i64(b"-1"), Some(-1));
        assert_eq!(parse_i64(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        let refused =
            "|-|-0|00|01|-01|+1| 1|1 |1a|1.0|--1|9223372036854775808|-9223372036854775809";
        for text in refused.split('|') {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn unsigned_integers_reach_their_full_range() {
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"99999999999999999999"), None);
        assert_eq!(parse_u64(b"100000000000000000000"), None);
        assert_eq!(parse_u64(b"-1"), None);
    }

    #[test]
    fn doubles_are_read_as_strtod_reads_them() {
        for (text, value) in [
            ("1", 1.0),
            ("+1.5", 1.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1e3),
            ("1E-3", 1e-3),
            ("-inf", f64::NEG_INFINITY),
            ("+Infinity", f64::INFINITY),
            ("0x10", 16.0),
            ("-0X.8p1", -1.0),
            ("0x1p-1074", 5e-324),
            ("0x0.0000000000000800001p-1022", 5e-324),
            ("0x1.fffffffffffff7p0", 1.999_999_999_999_999_8),
            ("0x1.fffffffffffff8p0", 2.0),
            ("0x1.fffffffffffff7fffffffffffffffffffffffffffp0", 1.999_999_999_999_999_8),
            ("0x10000000000000800000000000000000000000001p0", 1.461_501_637_330_903_1e48),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("4.9e-324", 5e-324),
            ("0e-999", 0.0),
            ("0e999", 0.0),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
        }
        assert!(parse_f64(b"-0").unwrap().is_sign_negative());
    }

    #[test]
    fn what_is_no_double_is_refused() {
        let words = "| 1|1 |\t1|nan|-nan|nan(1)|infin|+|-|.|e5|1e|1e+|--1|+-1|-+inf|1_0|1\0|1,5";
        let sizes = "1e999|-1e999|1e-999|0x1p1024|0x1p-1080|0x1p-1075|0x0.00000000000008p-1022";
        let hex = "0x|0x.|0xp1|0x1p|0x1.2.3|0x-1|0x1g";
        for text in words.split('|').chain(sizes.split('|')).chain(hex.split('|')) {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn doubles_are_shown_as_replies_show_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-17.5, "-17.5"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.000001, "0.000001"),
            (0.0000001, "1e-7"),
            (0.00015, "0.00015"),
            (0.0001234567, "1.234567e-4"),
            (0.001234567, "0.001234567"),
            (1234.5678901, "1234.5678901"),
            (12345.67890123, "1.234567890123e+4"),
            (4611686018427387904.0, "4611686018427387904"),
            (4611686018427388928.0, "4611686018427389000"),
            (1e18, "1000000000000000000"),
            (1e20, "1e+20"),
            (-1.5e300, "-1.5e+300"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(shown(value), text);
        }
    }

    #[test]
    fn general_doubles_have_at_most_17_digits() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.5, "3.5"),
            (0.1, "0.10000000000000001"),
            (-1e-5, "-1.0000000000000001e-05"),
            (0.0001, "0.0001"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1.5e300, "1.5000000000000001e+300"),
            (123456789012345680000.0, "1.2345678901234568e+20"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            let mut out = Vec::new();
            write_general_f64(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn human_doubles_have_at_most_17_decimals() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (-1e-20, "0"),
            (3.0, "3"),
            (100.0, "100"),
            (0.1, "0.10000000000000001"),
            (13.361389338970184, "13.36138933897018433"),
            (3.814697265625e-6, "0.00000381469726562"),
            (1.1444091796875e-5, "0.00001144409179688"),
            (1e22, "10000000000000000000000"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(human(value), text);
        }
    }

    proptest! {
        #[test]
        fn integers_are_read_back(value: i64) {
            let mut out = Vec::new();
            write_i64(&mut out, value);
            let mut digits = [0; 20];
            prop_assert_eq!(format_i64(value, &mut digits), &out[..]);
            prop_assert_eq!(parse_i64(&out), Some(value));
        }

        #[test]
        fn only_what_prints_the_same_is_an_integer(text in "-?[0-9]{0,21}") {
            let expected = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
            prop_assert_eq!(parse_i64(text.as_bytes()), expected);
            let expected = text.parse::<u64>().ok().filter(|value| value.to_string() == text);
            prop_assert_eq!(parse_u64(text.as_bytes()), expected);
        }

        #[test]
        fn doubles_are_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            prop_assert_eq!(parse_f64(shown(value).as_bytes()), Some(value));
        }

        #[test]
        fn hexadecimal_doubles_are_read_back(bits: u64) {
            let value = f64::from_bits(bits & !(1 << 63));
            prop_assume!(value.is_finite());
            let (biased, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
            let text = match biased {
                0 => format!("0x0.{fraction:013x}p-1022"),
                _ => format!("0x1.{fraction:013x}p{}", biased as i64 - 1023),
            };
            prop_assert_eq!(parse_f64(text.as_bytes()), Some(value));
        }
    }
}
