//! Conversions between numbers and between numbers and text, as C does them on x86-64: casts that
//! Rust would saturate, `printf("%.14g")` and `strtod`.

use std::io::Write;

const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;

/// `(int64_t)n`: cut, and the smallest integer for what does not fit.
pub(super) fn to_i64(n: f64) -> i64 {
    if (-TWO_POW_63..TWO_POW_63).contains(&n) { n as i64 } else { i64::MIN }
}

/// `(uint64_t)n`: the range above the signed one is shifted down first.
pub(super) fn to_u64(n: f64) -> u64 {
    if n >= TWO_POW_63 { to_i64(n - TWO_POW_63) as u64 ^ (1 << 63) } else { to_i64(n) as u64 }
}

/// `(int)n`: cut, and the smallest integer for what does not fit.
pub(super) fn to_i32(n: f64) -> i32 {
    if n > -2_147_483_649.0 && n < 2_147_483_648.0 { n as i32 } else { i32::MIN }
}

/// Appends what `printf` makes of `n` with `%.<precision>g`; `precision` is 1 to 17.
pub(super) fn append_general(out: &mut Vec<u8>, n: f64, precision: usize) {
    if n.is_nan() {
        out.extend_from_slice(if n.is_sign_negative() { b"-nan" } else { b"nan" });
        return;
    }
    if n.is_infinite() {
        out.extend_from_slice(if n < 0.0 { b"-inf" } else { b"inf" });
        return;
    }
    let integer = n as i64;
    let digits_fit = integer.unsigned_abs() < 10_u64.pow(precision.min(15) as u32);
    if digits_fit && (integer as f64).to_bits() == n.to_bits() {
        out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
        return;
    }
    // "-d.ddde-dd": one digit, then precision - 1 of them, then the exponent.
    let mut text = [0_u8; 40];
    let mut rest = &mut text[..];
    if write!(rest, "{n:.*e}", precision - 1).is_err() {
        return;
    }
    let unused = rest.len();
    let text = &text[..text.len() - unused];
    let Some(mark) = text.iter().position(|&byte| byte == b'e') else { return };
    let exponent = std::str::from_utf8(&text[mark + 1..]).ok().and_then(|text| text.parse().ok());
    let mut digits = [0_u8; 24];
    let mut count = 0;
    for &byte in text[..mark].iter().filter(|byte| byte.is_ascii_digit()) {
        digits[count] = byte;
        count += 1;
    }
    while count > 1 && digits[count - 1] == b'0' {
        count -= 1;
    }
    if n.is_sign_negative() {
        out.push(b'-');
    }
    append_digits(out, &digits[..count], exponent.unwrap_or(0), precision as i32);
}

/// Places significant digits, the first of which stands for 10 to the power `exponent`.
fn append_digits(out: &mut Vec<u8>, digits: &[u8], exponent: i32, precision: i32) {
    if exponent < -4 || exponent >= precision {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        // Writing to a Vec cannot fail.
        let _ = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + (-exponent - 1) as usize, b'0');
        out.extend_from_slice(digits);
    } else {
        let whole = exponent as usize + 1;
        if digits.len() > whole {
            out.extend_from_slice(&digits[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        } else {
            out.extend_from_slice(digits);
            out.resize(out.len() + whole - digits.len(), b'0');
        }
    }
}

/// What `strtod` reads at the start of `text`: the number and how many bytes it took, or nothing
/// where there is no number. White space in front is not skipped.
pub(super) fn read_number(text: &[u8]) -> Option<(f64, usize)> {
    let negative = text.first() == Some(&b'-');
    let signed = usize::from(negative || text.first() == Some(&b'+'));
    let body = &text[signed..];
    let (number, len) = read_hexadecimal(body)
        .or_else(|| read_decimal(body))
        .or_else(|| read_infinity(body))
        .or_else(|| read_nan(body))?;
    Some((if negative { -number } else { number }, signed + len))
}

fn count_digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Length of an exponent with its letter, or 0 where no digits follow.
fn exponent_len(text: &[u8], letter: u8) -> usize {
    if text.first().map(u8::to_ascii_lowercase) != Some(letter) {
        return 0;
    }
    let signed = usize::from(matches!(text.get(1), Some(b'+' | b'-')));
    match count_digits(&text[1 + signed..]) {
        0 => 0,
        digits => 1 + signed + digits,
    }
}

fn read_decimal(text: &[u8]) -> Option<(f64, usize)> {
    let whole = count_digits(text);
    let mut len = whole;
    if text.get(whole) == Some(&b'.') {
        let fraction = count_digits(&text[whole + 1..]);
        if whole + fraction > 0 {
            len += 1 + fraction;
        }
    }
    if len == 0 {
        return None;
    }
    if len == whole && whole <= 15 && exponent_len(&text[len..], b'e') == 0 {
        let number = text[..len].iter().fold(0_u64, |sum, b| sum * 10 + u64::from(b - b'0'));
        return Some((number as f64, len));
    }
    len += exponent_len(&text[len..], b'e');
    let number = std::str::from_utf8(&text[..len]).ok()?.parse().ok()?;
    Some((number, len))
}

fn starts_with(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

fn read_infinity(text: &[u8]) -> Option<(f64, usize)> {
    let len = if starts_with(text, b"infinity") { 8 } else { 3 };
    starts_with(text, b"inf").then_some((f64::INFINITY, len))
}

/// `nan`, or `nan(...)` with letters, digits and underscores, whose meaning is not kept.
fn read_nan(text: &[u8]) -> Option<(f64, usize)> {
    if !starts_with(text, b"nan") {
        return None;
    }
    let mut len = 3;
    if text.get(3) == Some(&b'(') {
        let rest = &text[4..];
        let word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
        let inside = rest.iter().take_while(word).count();
        if rest.get(inside) == Some(&b')') {
            len = 5 + inside;
        }
    }
    Some((f64::NAN, len))
}

/// `0x`, hexadecimal digits with at most one point, and a binary exponent after `p`.
fn read_hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    if !starts_with(text, b"0x") {
        return None;
    }
    // The first 15 digits that count, and a lowest bit for whether anything was dropped.
    let mut mantissa = 0_u64;
    let mut exponent = 0_i64;
    let mut digits = 0;
    let mut point = false;
    let mut len = 2;
    for &byte in &text[2..] {
        if byte == b'.' && !point {
            point = true;
        } else if let Some(digit) = char::from(byte).to_digit(16) {
            digits += 1;
            if mantissa >> 59 == 0 {
                mantissa = mantissa << 4 | u64::from(digit);
                exponent -= if point { 4 } else { 0 };
            } else {
                mantissa |= u64::from(digit != 0);
                exponent += if point { 0 } else { 4 };
            }
        } else {
            break;
        }
        len += 1;
    }
    if digits == 0 {
        // Only the zero of "0x" is a number.
        return None;
    }
    let power = exponent_len(&text[len..], b'p');
    if power > 0 {
        let written = std::str::from_utf8(&text[len + 1..len + power]).ok()?;
        let limit = if written.starts_with('-') { -1 << 40 } else { 1 << 40 };
        exponent += written.parse::<i64>().map_or(limit, |value| value.clamp(-1 << 40, 1 << 40));
    }
    Some((scale(mantissa, exponent), len + power))
}

/// `mantissa * 2^exponent`, rounded once, to even; the lowest bit of a long mantissa may be sticky.
fn scale(mantissa: u64, exponent: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let bits = 64 - i64::from(mantissa.leading_zeros());
    // The exponent of the lowest bit that a double of this size can hold.
    let lowest = (exponent + bits - 53).max(-1074);
    if exponent + bits > 1024 {
        return f64::INFINITY;
    }
    let drop = lowest - exponent;
    let rounded = if drop <= 0 {
        return mantissa as f64 * power_of_two(exponent);
    } else if drop > 64 {
        0
    } else {
        let kept = if drop == 64 { 0 } else { mantissa >> drop };
        let rest = u128::from(mantissa) & ((1 << drop) - 1);
        let half = 1_u128 << (drop - 1);
        kept + u64::from(rest > half || (rest == half && kept & 1 == 1))
    };
    rounded as f64 * power_of_two(lowest)
}

/// A power of two, exactly; `exponent` is -1074 to 1023.
fn power_of_two(exponent: i64) -> f64 {
    let normal = exponent >= -1022;
    f64::from_bits(if normal { ((exponent + 1023) as u64) << 52 } else { 1 << (exponent + 1074) })
}
