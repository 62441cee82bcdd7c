//! The ziplist, in which Redis kept small collections before version 7.0. Only read.
//!
//! ```text
//! header  total bytes: u32 LE | offset of the last entry: u32 LE | entries: u16 LE, 65535 unknown
//! entry   length of the entry before: u8 below 254, or 254 and u32 LE
//!         00nnnnnn text | 01nnnnnn n text | 10______ n n n n text (big-endian)
//!         c0 i16 | d0 i32 | e0 i64 | f0 i24 | fe i8 | f1..=fd the integers 0..=12
//! end     255
//! ```

use super::read::Text;
use crate::encoding::Corrupt;

const HEADER_LEN: usize = 10;
const END: u8 = 255;
const LONG: u8 = 254;

/// Calls `visit` with every item of a whole ziplist, and returns how many there are.
///
/// # Errors
///
/// When the ziplist contradicts itself anywhere.
pub fn for_each<'a>(whole: &'a [u8], mut visit: impl FnMut(Text<'a>)) -> Result<usize, Corrupt> {
    let wrong = |what, at| Err(Corrupt { what, at });
    let Some((header, _)) = whole.split_first_chunk::<HEADER_LEN>() else {
        return wrong("cut ziplist header", whole.len());
    };
    let [a, b, c, d, e, f, g, h, i, j] = *header;
    let (total, tail) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    let ([entries @ .., END], true) = (whole, total as usize == whole.len()) else {
        return wrong("wrong ziplist length", 0);
    };
    if entries.len() < HEADER_LEN {
        return wrong("cut ziplist header", whole.len());
    }
    let (mut at, mut before, mut count) = (HEADER_LEN, 0, 0);
    let mut last = HEADER_LEN;
    while at < entries.len() {
        let Some((previous, item, len)) = entry(&entries[at..]) else {
            return wrong("broken ziplist entry", at);
        };
        if previous != before {
            return wrong("wrong backward length in ziplist", at);
        }
        visit(item);
        last = at;
        (before, count) = (len, count + 1);
        at += len;
    }
    if tail as usize != last {
        return wrong("wrong last entry of ziplist", 4);
    }
    let counted = u16::from_le_bytes([i, j]);
    if counted != u16::MAX && usize::from(counted) != count {
        return wrong("wrong number of ziplist entries", 8);
    }
    Ok(count)
}

/// The length of the entry before, the item, and the length of the entry.
fn entry(bytes: &[u8]) -> Option<(usize, Text<'_>, usize)> {
    let (previous, rest) = match *bytes {
        [LONG, a, b, c, d, ref rest @ ..] => (u32::from_le_bytes([a, b, c, d]) as usize, rest),
        [LONG | END, ..] | [] => return None,
        [previous, ref rest @ ..] => (previous.into(), rest),
    };
    let (item, len) = item(rest)?;
    Some((previous, item, bytes.len() - rest.len() + len))
}

fn item(bytes: &[u8]) -> Option<(Text<'_>, usize)> {
    let int = |value: i64, len| Some((Text::Int(value), len));
    match *bytes {
        [len @ ..0x40, ref rest @ ..] => text(rest, 1, len.into()),
        [high @ 0x40..0x80, low, ref rest @ ..] => {
            text(rest, 2, usize::from(high & 0x3f) << 8 | usize::from(low))
        }
        [0x80..0xc0, a, b, c, d, ref rest @ ..] => {
            text(rest, 5, u32::from_be_bytes([a, b, c, d]) as usize)
        }
        [0xc0, a, b, ..] => int(i16::from_le_bytes([a, b]).into(), 3),
        [0xd0, a, b, c, d, ..] => int(i32::from_le_bytes([a, b, c, d]).into(), 5),
        [0xe0, a, b, c, d, e, f, g, h, ..] => int(i64::from_le_bytes([a, b, c, d, e, f, g, h]), 9),
        [0xf0, a, b, c, ..] => int((i32::from_le_bytes([0, a, b, c]) >> 8).into(), 4),
        [0xfe, a, ..] => int(i8::from_le_bytes([a]).into(), 2),
        [small @ 0xf1..=0xfd, ..] => int(i64::from(small & 0x0f) - 1, 1),
        _ => None,
    }
}

fn text(rest: &[u8], head: usize, len: usize) -> Option<(Text<'_>, usize)> {
    rest.get(..len).map(|text| (Text::Bytes(text), head + len))
}

/// Builds ziplists, for tests.
#[cfg(test)]
pub(super) mod build {
    use super::{END, HEADER_LEN};

    /// A ziplist of these entries, each without the length of the one before.
    pub(in super::super) fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
        let mut out = vec![0; HEADER_LEN];
        let (mut before, mut last) = (0usize, HEADER_LEN);
        for entry in entries {
            last = out.len();
            match u8::try_from(before) {
                Ok(short @ ..254) => out.push(short),
                _ => {
                    out.push(254);
                    out.extend_from_slice(&(before as u32).to_le_bytes());
                }
            }
            out.extend_from_slice(entry);
            before = out.len() - last;
        }
        out.push(END);
        let total = (out.len() as u32).to_le_bytes();
        out[..4].copy_from_slice(&total);
        out[4..8].copy_from_slice(&(last as u32).to_le_bytes());
        out[8..10].copy_from_slice(&(entries.len() as u16).to_le_bytes());
        out
    }

    /// The entry of a text.
    pub(in super::super) fn text(text: &[u8]) -> Vec<u8> {
        let len = text.len();
        let mut out = match len {
            ..64 => vec![len as u8],
            64..16384 => vec![0x40 | (len >> 8) as u8, len as u8],
            _ => [&[0x80], &(len as u32).to_be_bytes()[..]].concat(),
        };
        out.extend_from_slice(text);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::build::{text, ziplist};
    use super::*;

    fn items(whole: &[u8]) -> Result<Vec<Vec<u8>>, Corrupt> {
        let mut items = Vec::new();
        let count = for_each(whole, |item| items.push(item.to_vec()))?;
        assert_eq!(count, items.len());
        Ok(items)
    }

    fn sample() -> (Vec<u8>, Vec<Vec<u8>>) {
        let (long, longest) = (vec![b'x'; 300], vec![b'y'; 20_000]);
        let entries = [
            (text(b""), b"".to_vec()),
            (text(b"hello"), b"hello".to_vec()),
            (text(&long), long.clone()),
            (text(&longest), longest.clone()),
            (b"\xc0\xff\xff".to_vec(), b"-1".to_vec()),
            (b"\xd0\x00\x00\x00\x80".to_vec(), b"-2147483648".to_vec()),
            (b"\xe0\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec(), i64::MAX.to_string().into_bytes()),
            (b"\xf0\x00\x00\x80".to_vec(), b"-8388608".to_vec()),
            (b"\xfe\x80".to_vec(), b"-128".to_vec()),
            (b"\xf1".to_vec(), b"0".to_vec()),
            (b"\xfd".to_vec(), b"12".to_vec()),
        ];
        let bytes: Vec<&[u8]> = entries.iter().map(|(bytes, _)| &bytes[..]).collect();
        (ziplist(&bytes), entries.iter().map(|(_, item)| item.clone()).collect())
    }

    #[test]
    fn items_of_every_form_are_read() {
        let (whole, expected) = sample();
        assert_eq!(items(&whole), Ok(expected));
        assert_eq!(items(&ziplist(&[])), Ok(Vec::new()));
    }

    #[test]
    fn known_bytes_are_read() {
        let whole = b"\x14\0\0\0\x0e\0\0\0\x03\0\x00\xf2\x02\xf3\x02\x03abc\xff";
        assert_eq!(items(whole).unwrap(), [&b"1"[..], b"2", b"abc"]);
    }

    #[test]
    fn damage_is_found_or_harmless() {
        let (whole, _) = sample();
        for len in 0..whole.len().min(600) {
            assert!(items(&whole[..len]).is_err());
        }
        for at in (0..700).chain(whole.len() - 80..whole.len()) {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                let _ = items(&damaged);
            }
        }
    }
}
