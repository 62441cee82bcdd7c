//! What requests and replies are made of on the wire, appended to bytes: heads and bulk strings.

use crate::base::number;

/// Most bytes around a bulk string.
const BULK_FRAME_MAX: usize = 26;

/// Appends a line of `kind` and an integer: a length or count, or a whole reply.
#[inline]
pub fn write_head(out: &mut Vec<u8>, kind: u8, value: i64) {
    let digit = |value: i64| b'0' + value as u8;
    match value {
        0..10 => out.extend_from_slice(&[kind, digit(value), b'\r', b'\n']),
        10..100 => {
            let head = [kind, digit(value / 10), digit(value % 10), b'\r', b'\n'];
            out.extend_from_slice(&head);
        }
        _ => {
            out.push(kind);
            number::write_i64(out, value);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// How many bytes [`write_head`] appends for a length.
#[inline]
pub(super) fn head_len(len: usize) -> usize {
    let digits = match len {
        0..=9 => 1,
        10..=99 => 2,
        _ => len.ilog10() as usize + 1,
    };
    3 + digits
}

/// Appends a bulk string.
#[inline]
pub fn write_bulk(out: &mut Vec<u8>, value: &[u8]) {
    out.reserve(value.len() + BULK_FRAME_MAX);
    // Lengths of memory fit: no allocation is larger than isize::MAX.
    write_head(out, b'$', value.len() as i64);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_written_in_decimal() {
        for value in [0, 1, 9, 10, 11, 42, 99, 100, 101, 12_345, -1, -42, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            write_head(&mut out, b':', value);
            assert_eq!(String::from_utf8_lossy(&out), format!(":{value}\r\n"));
            if let Ok(len) = usize::try_from(value) {
                assert_eq!(head_len(len), out.len());
            }
        }
    }

    #[test]
    fn strings_stand_between_their_length_and_a_line_end() {
        for len in [0, 1, 9, 10, 99, 100, 1000] {
            let mut out = Vec::new();
            write_bulk(&mut out, &vec![b'x'; len]);
            assert_eq!(String::from_utf8_lossy(&out), format!("${len}\r\n{}\r\n", "x".repeat(len)));
        }
    }
}
