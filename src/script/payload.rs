//! FUNCTION DUMP and RESTORE: the sources of libraries as they stand in an RDB file.
//!
//! ```text
//! 245 string   of each library its source
//! 0a 00        RDB version
//! 8 bytes      CRC-64 of all before, little-endian
//! ```

use crc::{CRC_64_REDIS, Crc};

use super::error::ScriptError;
use crate::encoding::lzf;

/// What RESTORE does with libraries that are there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestorePolicy {
    /// Fails if one of them is restored.
    #[default]
    Append,
    /// Replaces them.
    Replace,
    /// Deletes all.
    Flush,
}

const VERSION: u16 = 10;
/// That of Redis 8; what is said of libraries has not changed in between.
const VERSION_MAX: u16 = 12;
const FOOTER_LEN: usize = 10;
const LIBRARY: u8 = 245;
const PRE_RELEASE: u8 = 246;
/// Shorter texts are not compressed.
const COMPRESSED_MIN: usize = 21;

fn checksum(bytes: &[u8]) -> [u8; 8] {
    Crc::<u64>::new(&CRC_64_REDIS).checksum(bytes).to_le_bytes()
}

/// The payload of libraries with these sources.
pub(super) fn dump<'a>(sources: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for source in sources {
        out.push(LIBRARY);
        write_string(&mut out, source);
    }
    out.extend_from_slice(&VERSION.to_le_bytes());
    let crc = checksum(&out);
    out.extend_from_slice(&crc);
    out
}

fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    let compressed =
        if text.len() < COMPRESSED_MIN { None } else { lzf::compress(text, text.len() - 4) };
    match compressed {
        Some(compressed) => {
            out.push(0xc3);
            write_len(out, compressed.len());
            write_len(out, text.len());
            out.extend_from_slice(&compressed);
        }
        None => {
            write_len(out, text.len());
            out.extend_from_slice(text);
        }
    }
}

fn write_len(out: &mut Vec<u8>, len: usize) {
    match len {
        0..64 => out.push(len as u8),
        64..16_384 => out.extend_from_slice(&[0x40 | (len >> 8) as u8, len as u8]),
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

/// The sources of the libraries in `payload`.
pub(super) fn restore(payload: &[u8]) -> Result<Vec<Vec<u8>>, ScriptError> {
    let (body, footer) = payload
        .split_at_checked(payload.len().wrapping_sub(FOOTER_LEN))
        .ok_or(ScriptError::Payload)?;
    let version = u16::from_le_bytes([footer[0], footer[1]]);
    if version > VERSION_MAX || checksum(&payload[..payload.len() - 8]) != footer[2..] {
        return Err(ScriptError::Payload);
    }
    let mut reader = Reader(body);
    let mut sources = Vec::new();
    while let Some(kind) = reader.byte() {
        match kind {
            LIBRARY => sources.push(reader.string().ok_or(ScriptError::PayloadCode)?),
            PRE_RELEASE => return Err(ScriptError::PayloadPreRelease),
            _ => return Err(ScriptError::PayloadNoFunction),
        }
    }
    Ok(sources)
}

struct Reader<'a>(&'a [u8]);

/// A length, or how a string is encoded.
enum Head {
    Len(usize),
    Encoded(u8),
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn head(&mut self) -> Option<Head> {
        let first = self.byte()?;
        let len = match (first >> 6, first) {
            (0, _) => usize::from(first),
            (1, _) => usize::from(first & 0x3f) << 8 | usize::from(self.byte()?),
            (2, 0x80) => u32::from_be_bytes(self.array()?) as usize,
            (2, 0x81) => usize::try_from(u64::from_be_bytes(self.array()?)).ok()?,
            (3, _) => return Some(Head::Encoded(first & 0x3f)),
            _ => return None,
        };
        Some(Head::Len(len))
    }

    fn len(&mut self) -> Option<usize> {
        match self.head()? {
            Head::Len(len) => Some(len),
            Head::Encoded(_) => None,
        }
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        match self.head()? {
            Head::Len(len) => self.take(len).map(<[u8]>::to_vec),
            Head::Encoded(0) => Some(i8::from_le_bytes(self.array()?).to_string().into_bytes()),
            Head::Encoded(1) => Some(i16::from_le_bytes(self.array()?).to_string().into_bytes()),
            Head::Encoded(2) => Some(i32::from_le_bytes(self.array()?).to_string().into_bytes()),
            Head::Encoded(3) => {
                let (compressed_len, len) = (self.len()?, self.len()?);
                let compressed = self.take(compressed_len)?;
                let mut text = Vec::new();
                lzf::decompress(compressed, len, &mut text).ok()?;
                Some(text)
            }
            Head::Encoded(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dumped_is_restored() {
        let sources = ["", "12", "#!lua name=a\n", &"abc ".repeat(50), &"xyz".repeat(9000)];
        let payload = dump(sources.iter().map(|source| source.as_bytes()));
        let restored = restore(&payload).unwrap();
        assert_eq!(restored, sources.map(|source| source.as_bytes().to_vec()));
        assert_eq!(restore(&dump([].into_iter())), Ok(vec![]));
    }

    #[test]
    fn a_payload_without_libraries_is_that_of_redis() {
        let payload = dump([].into_iter());
        assert_eq!(payload, b"\x0a\x00\x5d\x9b\x5c\x40\x0f\x7f\xa2\xda");
    }

    #[test]
    fn broken_payloads_are_refused() {
        let seal = |body: &[u8]| {
            let body = [body, &[10, 0]].concat();
            [&body[..], &checksum(&body)].concat()
        };
        let payload = dump([b"abc".as_slice()].into_iter());
        for len in 0..payload.len() {
            assert_eq!(restore(&payload[..len]), Err(ScriptError::Payload));
        }
        let mut newer = payload[..payload.len() - FOOTER_LEN].to_vec();
        newer.extend_from_slice(&[13, 0]);
        newer.extend_from_slice(&checksum(&newer));
        assert_eq!(restore(&newer), Err(ScriptError::Payload));
        assert_eq!(restore(&seal(&[1])), Err(ScriptError::PayloadNoFunction));
        assert_eq!(restore(&seal(&[246, 0])), Err(ScriptError::PayloadPreRelease));
        for body in
            [&b"\xf5"[..], b"\xf5\x05abc", b"\xf5\xc3\x02\x10\x00", b"\xf5\xc4", b"\xf5\x82"]
        {
            assert_eq!(restore(&seal(body)), Err(ScriptError::PayloadCode), "{body:?}");
        }
        assert_eq!(
            restore(&seal(b"\xf5\xc0\xff\xf5\xc1\x00\x01")),
            Ok(vec![b"-1".into(), b"256".into()])
        );
    }
}
