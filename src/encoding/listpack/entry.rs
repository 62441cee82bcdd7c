//! One entry of a listpack: what it holds, and its bytes.

use crate::base::bytes;
use crate::base::number::{format_i64, parse_i64};

const TEXT_6: u8 = 0x80;
const INT_13: u8 = 0xc0;
const TEXT_12: u8 = 0xe0;
const TEXT_32: u8 = 0xf0;
const INT_16: u8 = 0xf1;
const INT_24: u8 = 0xf2;
const INT_32: u8 = 0xf3;
const INT_64: u8 = 0xf4;

/// What an entry holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Item<'a> {
    /// The integer whose decimal digits are the text.
    Int(i64),
    /// The text itself.
    Bytes(&'a [u8]),
}

impl<'a> Item<'a> {
    /// The text; the digits of an integer are written to `digits`.
    #[inline]
    pub fn bytes<'b>(&self, digits: &'b mut [u8; 20]) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Item::Int(value) => format_i64(value, digits),
            Item::Bytes(text) => text,
        }
    }

    /// The length of the text in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        match *self {
            Item::Int(value) => {
                let digits = value.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
                digits + usize::from(value < 0)
            }
            Item::Bytes(text) => text.len(),
        }
    }

    /// Whether the text is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        matches!(self, Item::Bytes([]))
    }

    /// The integer that the text spells in its only form.
    #[inline]
    pub fn integer(&self) -> Option<i64> {
        match *self {
            Item::Int(value) => Some(value),
            Item::Bytes(text) => parse_i64(text),
        }
    }

    /// Whether the text is `text`; for many items ask a [`Needle`].
    #[inline]
    pub fn is(&self, text: &[u8]) -> bool {
        match *self {
            Item::Int(value) => parse_i64(text) == Some(value),
            Item::Bytes(own) => own == text,
        }
    }

    /// The text as a vector.
    pub fn to_vec(&self) -> Vec<u8> {
        self.bytes(&mut [0; 20]).to_vec()
    }
}

/// A text to compare many items with: what it is as an integer is found out once.
#[derive(Clone, Copy, Debug)]
pub struct Needle<'a> {
    text: &'a [u8],
    integer: Option<i64>,
}

impl<'a> Needle<'a> {
    /// Looks for `text`.
    #[inline]
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, integer: parse_i64(text) }
    }

    /// Whether the text of `item` is the one looked for.
    #[inline]
    pub fn is(&self, item: Item<'_>) -> bool {
        match item {
            Item::Int(value) => self.integer == Some(value),
            Item::Bytes(text) => bytes::equal(text, self.text),
        }
    }
}

/// An entry before it is written: its type is chosen and its size known.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    head: [u8; 9],
    head_len: usize,
    text: &'a [u8],
}

impl<'a> Encoded<'a> {
    /// The entry of `text`: an integer if it is one, else the shortest form of a text.
    ///
    /// `text` is shorter than 4 GiB.
    #[inline]
    pub fn new(text: &'a [u8]) -> Self {
        if let Some(value) = parse_i64(text) {
            return Self::integer(value);
        }
        let len = text.len();
        let mut head = [0; 9];
        let head_len = match len {
            0..64 => {
                head[0] = TEXT_6 | len as u8;
                1
            }
            64..4096 => {
                head[..2].copy_from_slice(&[TEXT_12 | (len >> 8) as u8, len as u8]);
                2
            }
            _ => {
                let len = u32::try_from(len).expect("texts are limited to 512 MiB");
                head[0] = TEXT_32;
                head[1..5].copy_from_slice(&len.to_le_bytes());
                5
            }
        };
        Self { head, head_len, text }
    }

    /// The entry of an integer, in the shortest form.
    #[inline]
    pub fn integer(value: i64) -> Self {
        let mut head = [0; 9];
        let bytes = value.to_le_bytes();
        let (mark, width) = match value {
            0..=127 => {
                head[0] = bytes[0];
                return Self { head, head_len: 1, text: &[] };
            }
            -4096..=4095 => {
                head[..2].copy_from_slice(&[INT_13 | bytes[1] & 0x1f, bytes[0]]);
                return Self { head, head_len: 2, text: &[] };
            }
            -0x8000..=0x7fff => (INT_16, 2),
            -0x80_0000..=0x7f_ffff => (INT_24, 3),
            -0x8000_0000..=0x7fff_ffff => (INT_32, 4),
            _ => (INT_64, 8),
        };
        head[0] = mark;
        head[1..=width].copy_from_slice(&bytes[..width]);
        Self { head, head_len: width + 1, text: &[] }
    }

    /// The bytes that the entry will take.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "no entry is empty")]
    pub fn len(&self) -> usize {
        let len = self.head_len + self.text.len();
        len + backlen_size(len)
    }

    /// Appends the entry.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        let len = self.head_len + self.text.len();
        out.reserve(len + BACKLEN_MAX);
        out.extend_from_slice(&self.head[..self.head_len]);
        out.extend_from_slice(self.text);
        let (bytes, size) = backlen(len);
        out.extend_from_slice(&bytes[..size]);
    }

    /// Writes the entry to `out`, which has exactly its length.
    #[inline]
    pub fn write_to(&self, out: &mut [u8]) {
        let (head, rest) = out.split_at_mut(self.head_len);
        let (text, tail) = rest.split_at_mut(self.text.len());
        head.copy_from_slice(&self.head[..self.head_len]);
        text.copy_from_slice(self.text);
        let (bytes, size) = backlen(head.len() + text.len());
        tail.copy_from_slice(&bytes[..size]);
    }
}

/// Appends the entry of `text`; see [`Encoded::new`].
#[inline]
pub fn encode(text: &[u8], out: &mut Vec<u8>) {
    Encoded::new(text).write(out);
}

/// Appends the entry of an integer.
#[inline]
pub fn encode_int(value: i64, out: &mut Vec<u8>) {
    Encoded::integer(value).write(out);
}

/// The bytes that the entry of `text` takes.
#[inline]
pub fn encoded_len(text: &[u8]) -> usize {
    Encoded::new(text).len()
}

/// The item that `tail` begins with, and the length of its entry without the backward length.
#[inline]
pub(super) fn decode(tail: &[u8]) -> Option<(Item<'_>, usize)> {
    let text = |rest, head, len| <[u8]>::get(rest, ..len).map(|t| (Item::Bytes(t), head + len));
    let int = |value: i64, len| Some((Item::Int(value), len));
    match *tail {
        [value @ ..=0x7f, ..] => int(value.into(), 1),
        [len @ 0x80..=0xbf, ref rest @ ..] => text(rest, 1, usize::from(len & 0x3f)),
        [high @ 0xc0..=0xdf, low, ..] => {
            // The top bit of the thirteen is the sign.
            let shifted = i16::from_be_bytes([high << 3 | low >> 5, low << 3]);
            int((shifted >> 3).into(), 2)
        }
        [high @ 0xe0..=0xef, low, ref rest @ ..] => {
            text(rest, 2, usize::from(high & 0x0f) << 8 | usize::from(low))
        }
        [TEXT_32, a, b, c, d, ref rest @ ..] => {
            text(rest, 5, u32::from_le_bytes([a, b, c, d]) as usize)
        }
        [INT_16, a, b, ..] => int(i16::from_le_bytes([a, b]).into(), 3),
        [INT_24, a, b, c, ..] => int((i32::from_le_bytes([0, a, b, c]) >> 8).into(), 4),
        [INT_32, a, b, c, d, ..] => int(i32::from_le_bytes([a, b, c, d]).into(), 5),
        [INT_64, a, b, c, d, e, f, g, h, ..] => {
            int(i64::from_le_bytes([a, b, c, d, e, f, g, h]), 9)
        }
        _ => None,
    }
}

/// Most bytes of a backward length.
pub(super) const BACKLEN_MAX: usize = 5;

/// The bytes of the backward length `len`. As in Redis the largest value of two and more bytes
/// already takes one more.
#[inline]
pub(super) fn backlen_size(len: usize) -> usize {
    match len {
        0..0x80 => 1,
        0x80..0x3fff => 2,
        0x3fff..0x1f_ffff => 3,
        0x1f_ffff..0xfff_ffff => 4,
        _ => BACKLEN_MAX,
    }
}

/// The backward length `len`, and how many bytes it takes.
#[inline]
pub(super) fn backlen(len: usize) -> ([u8; BACKLEN_MAX], usize) {
    let size = backlen_size(len);
    let mut bytes = [0; BACKLEN_MAX];
    bytes[0] = (len >> (7 * (size - 1))) as u8;
    for (at, byte) in bytes[..size].iter_mut().enumerate().skip(1) {
        *byte = (len >> (7 * (size - 1 - at))) as u8 | 0x80;
    }
    (bytes, size)
}
