//! The primitives of the format, read from bytes of any origin.
//!
//! A [`Source`] hands out bytes in order: [`Slice`] those of a payload or of one piece of a file,
//! [`super::feed::Feed`] those of a file of any length. Must not know values. Keeps: no length that
//! the bytes declare reserves memory before as many bytes, or for a compressed text a fair part of
//! them, have arrived; a text is never longer than [`BUFFER_MAX`].

use super::error::RdbError;
use crate::base::limits::BUFFER_MAX;
use crate::base::number;
use crate::encoding::Corrupt;
pub use crate::encoding::listpack::Item as Text;
use crate::encoding::lzf;

const INT_8: u8 = 0;
const INT_16: u8 = 1;
const INT_32: u8 = 2;
const LZF: u8 = 3;

/// Room for texts that cannot be lent by their source.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Bytes that do not lie in one piece in the source.
    raw: Vec<u8>,
    /// What was compressed.
    text: Vec<u8>,
}

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// So many bytes as they are.
    Plain(u64),
    /// An integer.
    Int(i64),
    /// Compressed bytes.
    Lzf {
        /// How many they are.
        packed: u64,
        /// The length of the text.
        len: u64,
    },
}

/// A length, or how a text is encoded.
enum Len {
    Plain(u64),
    Encoding(u8),
}

/// Bytes to be read in order.
pub trait Source {
    /// The offset of the next byte.
    fn at(&self) -> u64;

    /// The next `len` bytes, put into `room` if they cannot be lent.
    fn take<'s>(
        &'s mut self,
        len: u64,
        room: &'s mut Vec<u8>,
        what: &'static str,
    ) -> Result<&'s [u8], RdbError>;

    /// The next `len` bytes in a buffer of their own.
    fn take_vec(&mut self, len: u64, what: &'static str) -> Result<Vec<u8>, RdbError>;

    /// Passes over `len` bytes.
    fn skip(&mut self, len: u64, what: &'static str) -> Result<(), RdbError>;

    /// The next `N` bytes.
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], RdbError>;

    /// An error about what was read last.
    fn corrupt(&self, what: &'static str, why: &'static str) -> RdbError {
        RdbError::Corrupt { at: self.at(), what, why }
    }

    /// The next byte.
    #[inline]
    fn byte(&mut self, what: &'static str) -> Result<u8, RdbError> {
        self.array(what).map(|[byte]| byte)
    }

    /// A length.
    #[inline]
    fn len(&mut self, what: &'static str) -> Result<u64, RdbError> {
        match length(self, what)? {
            Len::Plain(len) => Ok(len),
            Len::Encoding(_) => Err(self.corrupt(what, "Unknown length encoding")),
        }
    }

    /// How the next text is written.
    #[inline]
    fn head(&mut self, what: &'static str) -> Result<Head, RdbError> {
        let head = match length(self, what)? {
            Len::Plain(len) => Head::Plain(len),
            Len::Encoding(INT_8) => Head::Int(i8::from_le_bytes(self.array(what)?).into()),
            Len::Encoding(INT_16) => Head::Int(i16::from_le_bytes(self.array(what)?).into()),
            Len::Encoding(INT_32) => Head::Int(i32::from_le_bytes(self.array(what)?).into()),
            Len::Encoding(LZF) => Head::Lzf { packed: self.len(what)?, len: self.len(what)? },
            Len::Encoding(_) => return Err(self.corrupt(what, "Unknown RDB string encoding type")),
        };
        match head {
            Head::Plain(len) | Head::Lzf { len, .. } if len > BUFFER_MAX as u64 => {
                Err(self.corrupt(what, "String too long"))
            }
            head => Ok(head),
        }
    }

    /// A text, lent by the source or by `scratch`.
    #[inline]
    fn text<'s>(
        &'s mut self,
        scratch: &'s mut Scratch,
        what: &'static str,
    ) -> Result<Text<'s>, RdbError> {
        let head = self.head(what)?;
        self.text_of(head, scratch, what)
    }

    /// The text whose head was read.
    #[inline]
    fn text_of<'s>(
        &'s mut self,
        head: Head,
        scratch: &'s mut Scratch,
        what: &'static str,
    ) -> Result<Text<'s>, RdbError> {
        match head {
            Head::Int(value) => Ok(Text::Int(value)),
            Head::Plain(len) => self.take(len, &mut scratch.raw, what).map(Text::Bytes),
            Head::Lzf { packed, len } => {
                let Scratch { raw, text } = scratch;
                self.decompress(packed, len, raw, text, what)?;
                Ok(Text::Bytes(text))
            }
        }
    }

    /// The bytes of a text of which integers have digits, lent by the source or by `scratch`.
    #[inline]
    fn bytes<'s>(
        &'s mut self,
        scratch: &'s mut Scratch,
        what: &'static str,
    ) -> Result<&'s [u8], RdbError> {
        match self.head(what)? {
            Head::Int(value) => {
                scratch.text.clear();
                number::write_i64(&mut scratch.text, value);
                Ok(&scratch.text)
            }
            Head::Plain(len) => self.take(len, &mut scratch.raw, what),
            Head::Lzf { packed, len } => {
                let Scratch { raw, text } = scratch;
                self.decompress(packed, len, raw, text, what)?;
                Ok(text)
            }
        }
    }

    /// A text in a buffer of its own.
    fn owned(&mut self, scratch: &mut Scratch, what: &'static str) -> Result<Vec<u8>, RdbError> {
        let head = self.head(what)?;
        self.owned_of(head, scratch, what)
    }

    /// The text whose head was read, in a buffer of its own.
    fn owned_of(
        &mut self,
        head: Head,
        scratch: &mut Scratch,
        what: &'static str,
    ) -> Result<Vec<u8>, RdbError> {
        match head {
            Head::Int(value) => Ok(Text::Int(value).to_vec()),
            Head::Plain(len) => self.take_vec(len, what),
            Head::Lzf { packed, len } => {
                let mut text = Vec::new();
                self.decompress(packed, len, &mut scratch.raw, &mut text, what)?;
                text.shrink_to_fit();
                Ok(text)
            }
        }
    }

    /// Replaces `text` by what the next `packed` bytes are the compressed form of.
    fn decompress(
        &mut self,
        packed: u64,
        len: u64,
        raw: &mut Vec<u8>,
        text: &mut Vec<u8>,
        what: &'static str,
    ) -> Result<(), RdbError> {
        let at = self.at();
        let bytes = self.take(packed, raw, what)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        lzf::decompress(bytes, len, text).map_err(|Corrupt { at: within, .. }| RdbError::Corrupt {
            at: at + within as u64,
            what,
            why: "Invalid LZF compressed string",
        })
    }

    /// Passes over a text.
    #[inline]
    fn skip_text(&mut self, what: &'static str) -> Result<(), RdbError> {
        match self.head(what)? {
            Head::Int(_) => Ok(()),
            Head::Plain(len) | Head::Lzf { packed: len, .. } => self.skip(len, what),
        }
    }

    /// A double in eight bytes.
    fn double(&mut self, what: &'static str) -> Result<f64, RdbError> {
        self.array(what).map(f64::from_le_bytes)
    }

    /// A double as text, as versions before 8 have scores.
    fn text_double(&mut self, what: &'static str) -> Result<f64, RdbError> {
        const NEGATIVE_INFINITY: u8 = 255;
        const INFINITY: u8 = 254;
        const NAN: u8 = 253;
        match self.byte(what)? {
            NEGATIVE_INFINITY => Ok(f64::NEG_INFINITY),
            INFINITY => Ok(f64::INFINITY),
            NAN => Ok(f64::NAN),
            len => {
                let mut room = Vec::new();
                let value = number::parse_f64(self.take(len.into(), &mut room, what)?);
                value.ok_or_else(|| self.corrupt(what, "Invalid score"))
            }
        }
    }

    /// Passes over a double as text.
    fn skip_text_double(&mut self, what: &'static str) -> Result<(), RdbError> {
        match self.byte(what)? {
            253.. => Ok(()),
            len => self.skip(len.into(), what),
        }
    }

    /// A time in Unix milliseconds.
    fn time_ms(&mut self, what: &'static str) -> Result<i64, RdbError> {
        self.array(what).map(i64::from_le_bytes)
    }
}

#[inline]
fn length<S: Source + ?Sized>(source: &mut S, what: &'static str) -> Result<Len, RdbError> {
    const LEN_32: u8 = 0x80;
    const LEN_64: u8 = 0x81;
    let first = source.byte(what)?;
    let low = first & 0x3f;
    match first {
        ..0x40 => Ok(Len::Plain(first.into())),
        0x40..0x80 => Ok(Len::Plain(u64::from(low) << 8 | u64::from(source.byte(what)?))),
        LEN_32 => Ok(Len::Plain(u32::from_be_bytes(source.array(what)?).into())),
        LEN_64 => Ok(Len::Plain(u64::from_be_bytes(source.array(what)?))),
        0xc0.. => Ok(Len::Encoding(low)),
        _ => Err(source.corrupt(what, "Unknown length encoding")),
    }
}

/// Bytes that lie in memory.
#[derive(Clone, Debug)]
pub struct Slice<'a> {
    bytes: &'a [u8],
    next: usize,
    /// The offset of the first byte.
    base: u64,
}

impl<'a> Slice<'a> {
    /// Reads `bytes`, which begin at offset `base` of something.
    #[inline]
    pub fn new(bytes: &'a [u8], base: u64) -> Self {
        Self { bytes, next: 0, base }
    }

    /// How many bytes were read.
    #[inline]
    pub fn taken(&self) -> usize {
        self.next
    }

    #[inline]
    fn piece(&mut self, len: u64, what: &'static str) -> Result<&'a [u8], RdbError> {
        let rest = &self.bytes[self.next..];
        match usize::try_from(len).ok().and_then(|len| rest.get(..len)) {
            Some(piece) => {
                self.next += piece.len();
                Ok(piece)
            }
            None => Err(RdbError::End { at: self.base + self.bytes.len() as u64, what }),
        }
    }
}

impl Source for Slice<'_> {
    #[inline]
    fn at(&self) -> u64 {
        self.base + self.next as u64
    }

    #[inline]
    fn take<'s>(
        &'s mut self,
        len: u64,
        _room: &'s mut Vec<u8>,
        what: &'static str,
    ) -> Result<&'s [u8], RdbError> {
        self.piece(len, what)
    }

    fn take_vec(&mut self, len: u64, what: &'static str) -> Result<Vec<u8>, RdbError> {
        self.piece(len, what).map(<[u8]>::to_vec)
    }

    #[inline]
    fn skip(&mut self, len: u64, what: &'static str) -> Result<(), RdbError> {
        self.piece(len, what).map(drop)
    }

    #[inline]
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], RdbError> {
        match self.bytes[self.next..].first_chunk() {
            Some(bytes) => {
                self.next += N;
                Ok(*bytes)
            }
            None => Err(RdbError::End { at: self.base + self.bytes.len() as u64, what }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<R>(bytes: &[u8], read: impl FnOnce(&mut Slice<'_>) -> Result<R, RdbError>) -> R {
        let mut source = Slice::new(bytes, 100);
        let result = read(&mut source).unwrap();
        assert_eq!((source.taken(), source.at()), (bytes.len(), 100 + bytes.len() as u64));
        result
    }

    fn text(bytes: &[u8]) -> Vec<u8> {
        let lent = read(bytes, |source| Ok(source.text(&mut Scratch::default(), "")?.to_vec()));
        let digits = read(bytes, |source| Ok(source.bytes(&mut Scratch::default(), "")?.to_vec()));
        let owned = read(bytes, |source| source.owned(&mut Scratch::default(), ""));
        read(bytes, |source| source.skip_text(""));
        assert_eq!((&digits, &owned), (&lent, &lent));
        lent
    }

    #[test]
    fn lengths_of_every_form_are_read() {
        for (bytes, expected) in [
            (&b"\x00"[..], 0),
            (b"\x3f", 63),
            (b"\x40\x40", 64),
            (b"\x7f\xff", 16383),
            (b"\x80\x00\x00\x40\x00", 16384),
            (b"\x81\x00\x00\x00\x01\x00\x00\x00\x00", 1 << 32),
        ] {
            assert_eq!(read(bytes, |source| source.len("")), expected);
            for cut in 0..bytes.len() {
                let error = Slice::new(&bytes[..cut], 7).len("a length").unwrap_err();
                assert_eq!(
                    (error.offset(), error.what()),
                    (Some(7 + cut as u64), Some("a length"))
                );
                assert!(error.is_end());
            }
        }
        for bytes in [b"\x82\0\0\0\0\0\0\0\0", b"\xc0\0\0\0\0\0\0\0\0"] {
            assert!(matches!(Slice::new(bytes, 0).len(""), Err(RdbError::Corrupt { .. })));
        }
    }

    #[test]
    fn texts_of_every_form_are_read() {
        assert_eq!(text(b"\x00"), b"");
        assert_eq!(text(b"\x03abc"), b"abc");
        assert_eq!(text(b"\xc0\xff"), b"-1");
        assert_eq!(text(b"\xc1\x00\x80"), b"-32768");
        assert_eq!(text(b"\xc2\xff\xff\xff\x7f"), b"2147483647");
        assert_eq!(text(b"\xc3\x05\x0a\x00a\xe0\x00\x00"), b"aaaaaaaaaa");
    }

    #[test]
    fn hostile_texts_are_refused() {
        for bytes in [
            &b"\x05abcd"[..],
            b"\x80\xff\xff\xff\xff",
            b"\x81\xff\xff\xff\xff\xff\xff\xff\xffabc",
            b"\xc4abc",
            b"\xc3\x05\x0b\x00a\xe0\x00\x00",
            b"\xc3\x05\x81\x00\x00\x00\x01\x00\x00\x00\x00\x00a\xe0\x00\x00",
            b"\xc3\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a",
            b"\xc3\xc0\x01\x01a",
        ] {
            let mut scratch = Scratch::default();
            assert!(Slice::new(bytes, 0).text(&mut scratch, "").is_err(), "{bytes:?}");
            assert!(scratch.raw.capacity() + scratch.text.capacity() <= 88 * bytes.len());
            assert!(Slice::new(bytes, 0).owned(&mut scratch, "").is_err());
        }
    }

    #[test]
    fn doubles_of_both_forms_are_read() {
        let old = |bytes| read(bytes, |source| source.text_double(""));
        assert_eq!(old(b"\x04-1.5"), -1.5);
        assert_eq!((old(b"\xfe"), old(b"\xff")), (f64::INFINITY, f64::NEG_INFINITY));
        assert!(old(b"\xfd").is_nan());
        read(b"\x04-1.5", |source| source.skip_text_double(""));
        read(b"\xfd", |source| source.skip_text_double(""));
        assert_eq!(read(&0.1f64.to_le_bytes(), |source| source.double("")), 0.1);
        assert!(Slice::new(b"\x03abc", 0).text_double("").is_err());
        assert!(Slice::new(b"\x03ab", 0).text_double("").is_err());
    }
}
