//! What is around a value, or around libraries, that leaves the server on its own: the footer of
//! DUMP and of FUNCTION DUMP.

use super::crc::Crc;
use super::read::{Scratch, Slice, Source};
use super::{Formats, Inexpressible, Version, kind, save, write};
use crate::value::ValueView;

/// Bytes of a version and a checksum.
const FOOTER_LEN: usize = 10;
const VERSION_LEN: usize = 2;

/// The payload of a value, as DUMP replies it.
///
/// # Errors
///
/// When fields have deadlines and the formats do not allow for them.
pub fn of(value: ValueView<'_>, formats: &Formats) -> Result<Vec<u8>, Inexpressible> {
    let mut out = Vec::new();
    let version = match save::payload_value(&mut out, value, formats.usual) {
        Ok(version) => version,
        Err(_) => save::payload_value(&mut out, value, formats.for_deadlines(true)?)?,
    };
    seal(&mut out, version);
    Ok(out)
}

/// The length of a value in a snapshot, without its kind; 0 where it would not be written.
pub fn body_len(value: ValueView<'_>, formats: &Formats) -> usize {
    of(value, formats).map_or(0, |payload| payload.len() - FOOTER_LEN - 1)
}

/// The payload of libraries with these sources, as FUNCTION DUMP replies it.
pub fn of_functions<'a>(sources: impl Iterator<Item = &'a [u8]>, formats: &Formats) -> Vec<u8> {
    let mut out = Vec::new();
    for source in sources {
        out.push(kind::FUNCTION);
        write::string(&mut out, source, formats.usual.compress);
    }
    seal(&mut out, formats.usual.version);
    out
}

/// The sources of the libraries in a payload; `check` as for [`open`].
///
/// # Errors
///
/// When it is no payload of libraries.
pub fn functions(payload: &[u8], check: bool) -> Result<Vec<Vec<u8>>, FunctionsError> {
    let (body, _) = open(payload, check).ok_or(FunctionsError::Footer)?;
    let (mut source, mut scratch, mut sources) =
        (Slice::new(body, 0), Scratch::default(), Vec::new());
    while source.taken() < body.len() {
        let kind = source.byte("data type").map_err(|_| FunctionsError::Kind)?;
        match kind {
            kind::FUNCTION => {
                let text = source.text(&mut scratch, "library");
                sources.push(text.map_err(|_| FunctionsError::Source)?.to_vec());
            }
            kind::FUNCTION_PRE_GA => return Err(FunctionsError::PreRelease),
            _ => return Err(FunctionsError::Kind),
        }
    }
    Ok(sources)
}

/// Why a payload is none of libraries; the texts are those of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FunctionsError {
    /// It is too short, of a version that is not read, or damaged.
    #[error("DUMP payload version or checksum are wrong")]
    Footer,
    /// There is something else in it.
    #[error("given type is not a function")]
    Kind,
    /// It is of a release candidate of Redis 7.0.
    #[error("Pre-release function format not supported.")]
    PreRelease,
    /// A source cannot be read.
    #[error("Failed loading library payload")]
    Source,
}

/// Adds version and checksum to a payload.
pub fn seal(out: &mut Vec<u8>, version: Version) {
    out.extend_from_slice(&version.number().to_le_bytes());
    let crc = Crc::of(out);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// The payload without its footer, and its version; `None` when it is too short, of a version that
/// is not read, or, looked at only if `check` says so, damaged.
pub fn open(payload: &[u8], check: bool) -> Option<(&[u8], u16)> {
    let at = payload.len().checked_sub(FOOTER_LEN)?;
    let (body, footer) = payload.split_at(at);
    let (version, crc) = footer.split_at(VERSION_LEN);
    let version = u16::from_le_bytes(version.try_into().ok()?);
    let is_sound = || Crc::of(&payload[..at + VERSION_LEN]).to_le_bytes() == crc;
    (is_readable(version) && (!check || is_sound())).then_some((body, version))
}

/// Whether payloads of the version are read: Redis's up to 15, Valkey's 80.
fn is_readable(version: u16) -> bool {
    matches!(version, 0..=15 | 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens() {
        let mut payload = b"\x00\x05hello".to_vec();
        seal(&mut payload, Version::V10);
        assert_eq!(payload, b"\x00\x05hello\x0a\x00cr\xdfve4 \x0a");
        assert_eq!(open(&payload, true), Some((&b"\x00\x05hello"[..], 10)));
        for len in 0..payload.len() {
            assert_eq!(open(&payload[..len], true), None);
        }
        for at in 0..payload.len() {
            let mut damaged = payload.clone();
            damaged[at] ^= 1;
            assert_eq!(open(&damaged, true), None);
        }
        payload[3] = b'u';
        assert_eq!(open(&payload, false), Some((&b"\x00\x05hullo"[..2 + 5], 10)));
    }

    #[test]
    fn versions_of_redis_and_valkey_open() {
        for (version, readable) in
            [(1, true), (9, true), (12, true), (15, true), (16, false), (79, false), (80, true)]
        {
            let mut payload = vec![0, 0];
            payload.extend_from_slice(&u16::to_le_bytes(version));
            let crc = Crc::of(&payload);
            payload.extend_from_slice(&crc.to_le_bytes());
            assert_eq!(open(&payload, true).is_some(), readable, "{version}");
        }
    }

    #[test]
    fn libraries_come_back() {
        let sources = ["", "12", "#!lua name=a\n", &"abc ".repeat(50), &"xyz".repeat(9000)];
        let sources = sources.map(str::as_bytes);
        let payload = of_functions(sources.into_iter(), &Formats::default());
        assert_eq!(functions(&payload, true), Ok(sources.map(<[u8]>::to_vec).to_vec()));
        let none = of_functions([].into_iter(), &Formats::default());
        assert_eq!(none, b"\x0a\x00\x5d\x9b\x5c\x40\x0f\x7f\xa2\xda");
        assert_eq!(functions(&none, true), Ok(vec![]));
    }

    #[test]
    fn what_is_none_of_libraries_is_refused() {
        let of = |body: &[u8]| {
            let mut payload = body.to_vec();
            seal(&mut payload, Version::V10);
            functions(&payload, true)
        };
        assert_eq!(functions(b"", true), Err(FunctionsError::Footer));
        assert_eq!(of(&[1]), Err(FunctionsError::Kind));
        assert_eq!(of(&[246, 0]), Err(FunctionsError::PreRelease));
        for body in
            [&b"\xf5"[..], b"\xf5\x05abc", b"\xf5\xc3\x02\x10\x00", b"\xf5\xc4", b"\xf5\x82"]
        {
            assert_eq!(of(body), Err(FunctionsError::Source), "{body:?}");
        }
        assert_eq!(of(b"\xf5\xc0\xff\xf5\xc1\x00\x01"), Ok(vec![b"-1".into(), b"256".into()]));
    }
}
