//! The words of the format: lengths, strings, numbers and facts, appended to a buffer.

use super::kind;
use crate::base::number;
use crate::encoding::lzf;

/// A string follows as an integer of one byte; `+ 1` of two, `+ 2` of four.
const ENCODED_INT8: u8 = 0xc0;
/// A compressed string follows: its two lengths, then its bytes.
const ENCODED_LZF: u8 = 0xc3;

/// Longest text that can be an integer of four bytes.
const INTEGER_LEN_MAX: usize = 11;
/// Shorter texts are not compressed.
const COMPRESSED_LEN_MIN: usize = 21;
/// What compression has to save.
const COMPRESSED_GAIN_MIN: usize = 4;

/// Writes a length.
pub fn len(out: &mut Vec<u8>, len: usize) {
    match len {
        0..0x40 => out.push(len as u8),
        0x40..0x4000 => out.extend_from_slice(&[0x40 | (len >> 8) as u8, len as u8]),
        _ => match u32::try_from(len) {
            Ok(len) => {
                out.push(0x80);
                out.extend_from_slice(&len.to_be_bytes());
            }
            Err(_) => {
                out.push(0x81);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        },
    }
}

/// Writes a string in the shortest form there is for it: as an integer that it spells, else
/// compressed if that is wanted and gains something.
pub fn string(out: &mut Vec<u8>, text: &[u8], compress: bool) {
    if text.len() <= INTEGER_LEN_MAX
        && let Some(value) = number::parse_i64(text)
        && short_integer(out, value)
    {
        return;
    }
    if compress
        && text.len() >= COMPRESSED_LEN_MIN
        && let Some(compressed) = lzf::compress(text, text.len() - COMPRESSED_GAIN_MIN)
    {
        out.push(ENCODED_LZF);
        len(out, compressed.len());
        len(out, text.len());
        return out.extend_from_slice(&compressed);
    }
    verbatim(out, text);
}

/// Writes the string that is the decimal form of `value`.
pub fn integer(out: &mut Vec<u8>, value: i64) {
    if !short_integer(out, value) {
        verbatim(out, number::format_i64(value, &mut [0; 20]));
    }
}

/// Writes a score.
pub fn double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Writes a fact about the file.
pub fn aux(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(kind::AUX);
    string(out, name, false);
    string(out, value, false);
}

fn verbatim(out: &mut Vec<u8>, text: &[u8]) {
    len(out, text.len());
    out.extend_from_slice(text);
}

/// Writes an integer of up to four bytes; `false`, and nothing, when it takes more.
fn short_integer(out: &mut Vec<u8>, value: i64) -> bool {
    if let Ok(value) = i8::try_from(value) {
        out.extend_from_slice(&[ENCODED_INT8, value as u8]);
    } else if let Ok(value) = i16::try_from(value) {
        out.push(ENCODED_INT8 + 1);
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        out.push(ENCODED_INT8 + 2);
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        return false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn lengths_take_one_two_five_or_nine_bytes() {
        for (number, bytes) in [
            (0, &b"\x00"[..]),
            (63, b"\x3f"),
            (64, b"\x40\x40"),
            (16_383, b"\x7f\xff"),
            (16_384, b"\x80\x00\x00\x40\x00"),
            (u32::MAX as usize, b"\x80\xff\xff\xff\xff"),
            (1 << 32, b"\x81\x00\x00\x00\x01\x00\x00\x00\x00"),
        ] {
            assert_eq!(written(|out| len(out, number)), bytes, "{number}");
        }
    }

    #[test]
    fn strings_that_spell_integers_are_written_as_such() {
        for (text, bytes) in [
            ("", &b"\x00"[..]),
            ("0", b"\xc0\x00"),
            ("-128", b"\xc0\x80"),
            ("127", b"\xc0\x7f"),
            ("128", b"\xc1\x80\x00"),
            ("-32768", b"\xc1\x00\x80"),
            ("32768", b"\xc2\x00\x80\x00\x00"),
            ("-2147483648", b"\xc2\x00\x00\x00\x80"),
            ("2147483647", b"\xc2\xff\xff\xff\x7f"),
            ("2147483648", b"\x0a2147483648"),
            ("-2147483649", b"\x0b-2147483649"),
            ("007", b"\x03007"),
            ("-0", b"\x02-0"),
            ("+1", b"\x02+1"),
            ("1 ", b"\x021 "),
        ] {
            assert_eq!(written(|out| string(out, text.as_bytes(), true)), bytes, "{text}");
            if let Some(value) = number::parse_i64(text.as_bytes()) {
                assert_eq!(written(|out| integer(out, value)), bytes, "{text}");
            }
        }
        assert_eq!(written(|out| integer(out, i64::MIN)), b"\x14-9223372036854775808");
    }

    #[test]
    fn long_strings_are_compressed_if_wanted_and_worth_it() {
        let long = [b'a'; 100];
        let compressed = written(|out| string(out, &long, true));
        assert_eq!(compressed[0], 0xc3);
        assert_eq!(usize::from(compressed[1]) + 4, compressed.len());
        assert_eq!(compressed[2..4], [0x40, 100]);
        let mut text = Vec::new();
        lzf::decompress(&compressed[4..], 100, &mut text).expect("it was compressed");
        assert_eq!(text, long);
        assert_eq!(written(|out| string(out, &long, false)), [&[0x40, 100][..], &long].concat());
        assert_eq!(written(|out| string(out, &[b'a'; 20], true))[0], 20);
        let dense: Vec<u8> = (0..=255).collect();
        assert_eq!(written(|out| string(out, &dense, true)), [&[0x41, 0][..], &dense].concat());
    }

    #[test]
    fn doubles_are_little_endian() {
        assert_eq!(written(|out| double(out, 1.5)), b"\x00\x00\x00\x00\x00\x00\xf8\x3f");
    }

    #[test]
    fn facts_are_two_strings() {
        assert_eq!(written(|out| aux(out, b"redis-bits", b"64")), b"\xfa\x0aredis-bits\xc0\x40");
    }
}
