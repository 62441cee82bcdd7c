//! What is around a value, or around libraries, that leaves the server on its own: the footer of
//! DUMP and of FUNCTION DUMP.

use super::crc::Crc;
use super::{Formats, Inexpressible, Version, save};
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
}
