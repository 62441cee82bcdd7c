//! Options that several commands share: expirations and conditions on a string's value.

use xxhash_rust::xxh3::xxh3_64;

use super::args::Args;
use super::context::Ctx;
use super::error::CmdError;
use crate::base::{bytes, number};
use crate::keyspace::{Deadline, Event, Key};
use crate::value::StrView;

/// Length of a digest's text.
const DIGEST_LEN: usize = 16;

/// The word of an expiration option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExpiryWord {
    Ex,
    Px,
    ExAt,
    PxAt,
    KeepTtl,
    Persist,
}

/// What a command with expiration options may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExpiryWords {
    /// EX PX EXAT PXAT and KEEPTTL.
    KeepTtl,
    /// EX PX EXAT PXAT and PERSIST.
    Persist,
}

/// An expiration option as it was written, its value not read yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ExpiryOption {
    word: Option<ExpiryWord>,
    value_at: usize,
}

/// An expiration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// No option was given.
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Persist,
    /// A deadline in Unix milliseconds.
    At(i64),
}

impl ExpiryOption {
    /// Reads `word` if it is an expiration option; `false` when it is not.
    ///
    /// The same option may be repeated, the last value counts; two different ones do not agree.
    pub(super) fn read(
        &mut self,
        word: &[u8],
        known: ExpiryWords,
        options: &mut super::args::Options<'_>,
    ) -> Result<bool, CmdError> {
        let table = [
            ("ex", ExpiryWord::Ex),
            ("px", ExpiryWord::Px),
            ("exat", ExpiryWord::ExAt),
            ("pxat", ExpiryWord::PxAt),
            match known {
                ExpiryWords::KeepTtl => ("keepttl", ExpiryWord::KeepTtl),
                ExpiryWords::Persist => ("persist", ExpiryWord::Persist),
            },
        ];
        let Some((_, found)) = table.iter().find(|(name, _)| bytes::is_word(word, name)) else {
            return Ok(false);
        };
        if self.word.is_some_and(|before| before != *found) {
            return Err(CmdError::Syntax);
        }
        self.word = Some(*found);
        if !matches!(found, ExpiryWord::KeepTtl | ExpiryWord::Persist) {
            self.value_at = options.value_index()?;
        }
        Ok(true)
    }

    /// Whether an option was given.
    pub(super) fn is_some(&self) -> bool {
        self.word.is_some()
    }

    /// Whether the option sets a deadline.
    pub(super) fn is_deadline(&self) -> bool {
        !matches!(self.word, None | Some(ExpiryWord::KeepTtl | ExpiryWord::Persist))
    }

    /// Reads the value; `command` is named in the error.
    pub(super) fn resolve(
        &self,
        args: &Args<'_>,
        command: &'static str,
        now_ms: i64,
    ) -> Result<Expiry, CmdError> {
        let (seconds, relative) = match self.word {
            None => return Ok(Expiry::Unsaid),
            Some(ExpiryWord::KeepTtl) => return Ok(Expiry::Keep),
            Some(ExpiryWord::Persist) => return Ok(Expiry::Persist),
            Some(ExpiryWord::Ex) => (true, true),
            Some(ExpiryWord::Px) => (false, true),
            Some(ExpiryWord::ExAt) => (true, false),
            Some(ExpiryWord::PxAt) => (false, false),
        };
        let value = args.integer(self.value_at)?;
        deadline(value, seconds, relative.then_some(now_ms))
            .filter(|_| value > 0)
            .map(Expiry::At)
            .ok_or(CmdError::InvalidExpire(command))
    }
}

/// The deadline in Unix milliseconds of `value` seconds or milliseconds, from `now_ms` on if given.
pub(super) fn deadline(value: i64, seconds: bool, now_ms: Option<i64>) -> Option<i64> {
    let span = if seconds { value.checked_mul(1000)? } else { value };
    span.checked_add(now_ms.unwrap_or(0))
}

impl Expiry {
    /// What becomes of the deadline of a key that is set.
    pub(super) fn deadline(self) -> Deadline {
        match self {
            Self::Keep => Deadline::Keep,
            Self::Unsaid | Self::Persist => Deadline::Clear,
            Self::At(at_ms) => Deadline::At(at_ms),
        }
    }
}

/// A condition on what a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition<'a> {
    /// The key is not there.
    Absent,
    /// The key is there.
    Present,
    /// It holds these bytes.
    Equal(&'a [u8]),
    /// It does not hold these bytes.
    NotEqual(&'a [u8]),
    /// Its digest is this.
    Digest(&'a [u8]),
    /// Its digest is not this.
    NotDigest(&'a [u8]),
}

impl<'a> Condition<'a> {
    /// The condition on the value that `word` names, if it names one.
    pub(super) fn on_value(word: &[u8], value: &'a [u8]) -> Option<Self> {
        match () {
            () if bytes::is_word(word, "ifeq") => Some(Self::Equal(value)),
            () if bytes::is_word(word, "ifne") => Some(Self::NotEqual(value)),
            () if bytes::is_word(word, "ifdeq") => Some(Self::Digest(value)),
            () if bytes::is_word(word, "ifdne") => Some(Self::NotDigest(value)),
            () => None,
        }
    }

    /// Whether the condition holds for what is there.
    pub(super) fn holds(self, value: Option<StrView<'_>>) -> Result<bool, CmdError> {
        let Some(value) = value else {
            return Ok(matches!(self, Self::Absent | Self::NotEqual(_) | Self::NotDigest(_)));
        };
        let mut digits = [0; 20];
        let text = value.bytes(&mut digits);
        match self {
            Self::Absent => Ok(false),
            Self::Present => Ok(true),
            Self::Equal(expected) => Ok(text == expected),
            Self::NotEqual(expected) => Ok(text != expected),
            Self::Digest(expected) => is_digest(text, expected),
            Self::NotDigest(expected) => is_digest(text, expected).map(|equal| !equal),
        }
    }
}

/// Whether `expected` is the digest of `text`; only its length is validated, as in Redis.
fn is_digest(text: &[u8], expected: &[u8]) -> Result<bool, CmdError> {
    if expected.len() != DIGEST_LEN {
        return Err(CmdError::DigestLength);
    }
    Ok(digest(text).as_bytes().eq_ignore_ascii_case(expected))
}

/// The digest of a value: XXH3-64 in 16 hexadecimal digits.
pub(super) fn digest(text: &[u8]) -> String {
    format!("{:016x}", xxh3_64(text))
}

/// Deletes a key because its new deadline has passed already; travels as DEL.
pub(super) fn delete_as_expired(ctx: &mut Ctx<'_>, key: Key<'_>) {
    if let Some(written) = ctx.db.remove(key) {
        written.changed(Event::DEL);
        ctx.effects.propagate_as(&[b"DEL", key.bytes]);
    }
}

/// An integer's digits, for propagation.
pub(super) fn decimal(value: i64) -> Vec<u8> {
    let mut text = Vec::with_capacity(20);
    number::write_i64(&mut text, value);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_overflow_cleanly() {
        assert_eq!(deadline(5, true, Some(100)), Some(5100));
        assert_eq!(deadline(i64::MAX / 1000 + 1, true, None), None);
        assert_eq!(deadline(i64::MAX, false, Some(1)), None);
        assert_eq!(deadline(-5, true, Some(100)), Some(-4900));
    }

    #[test]
    fn digests_are_those_of_redis() {
        assert_eq!(digest(b"hello"), "9555e8555c62dcfd");
        assert_eq!(digest(b""), "2d06800538d394c2");
        let long = b"v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2kwlj7626sd";
        assert_eq!(digest(long), "00006c38adf31777");
    }
}
