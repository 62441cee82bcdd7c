//! The id of an entry: a time and a number within it.

use crate::base::number::parse_u64;

/// Longest spelling of an id: two numbers of 20 digits and a dash, in bytes.
pub const ID_LEN_MAX: usize = 41;

/// See the module. Ids are ordered by time, then by number.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamId {
    /// Unix time in milliseconds.
    pub ms: u64,
    /// The number among those of that millisecond.
    pub seq: u64,
}

impl StreamId {
    /// The least id, which no entry has.
    pub const MIN: Self = Self { ms: 0, seq: 0 };

    /// The greatest id.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// An id of its parts.
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The id of sixteen bytes, the highest first.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        Self::new((both >> 64) as u64, both as u64)
    }

    /// Sixteen bytes, the highest first, which are in the order of ids.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    /// The id that `text` spells: `ms-seq`, or `ms` alone, whose number is `missing_seq` then.
    pub fn parse(text: &[u8], missing_seq: u64) -> Option<Self> {
        match text.iter().position(|byte| *byte == b'-') {
            Some(dash) => {
                Some(Self { ms: parse_part(&text[..dash])?, seq: parse_part(&text[dash + 1..])? })
            }
            None => Some(Self { ms: parse_part(text)?, seq: missing_seq }),
        }
    }

    /// The time of an id whose number is to be chosen: `ms-*`.
    pub fn parse_ms(text: &[u8]) -> Option<u64> {
        parse_part(text.strip_suffix(b"-*")?)
    }

    /// The next id, if there is one.
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => self.ms.checked_add(1).map(|ms| Self { ms, seq: 0 }),
        }
    }

    /// The id before, if there is one.
    pub fn prev(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => self.ms.checked_sub(1).map(|ms| Self { ms, seq: u64::MAX }),
        }
    }

    /// Whether it is the least.
    pub fn is_min(self) -> bool {
        self == Self::MIN
    }

    /// Its spelling, in `buf`.
    pub fn format(self, buf: &mut [u8; ID_LEN_MAX]) -> &[u8] {
        let mut len = 0;
        for (part, dash) in [(self.ms, true), (self.seq, false)] {
            let mut digits = itoa::Buffer::new();
            let text = digits.format(part).as_bytes();
            buf[len..len + text.len()].copy_from_slice(text);
            len += text.len();
            if dash {
                buf[len] = b'-';
                len += 1;
            }
        }
        &buf[..len]
    }

    /// The id that is so far from this one; the parts wrap around, as Redis's do.
    pub(super) fn plus(self, ms: i64, seq: i64) -> Self {
        Self { ms: self.ms.wrapping_add_signed(ms), seq: self.seq.wrapping_add_signed(seq) }
    }

    /// How far it is from `base`, for [`Self::plus`].
    pub(super) fn minus(self, base: Self) -> (i64, i64) {
        let part = |own: u64, base: u64| own.wrapping_sub(base) as i64;
        (part(self.ms, base.ms), part(self.seq, base.seq))
    }
}

/// A part of an id. Redis reads it with `strtoull`, so leading blanks, zeros and a sign are allowed.
fn parse_part(text: &[u8]) -> Option<u64> {
    parse_u64(text).or_else(|| {
        let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
        let text = &text[blanks..];
        let digits = text.strip_prefix(b"+").unwrap_or(text);
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        is_number.then(|| str::from_utf8(digits).ok()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        let id = StreamId::new;
        assert_eq!(StreamId::parse(b"5-3", 0), Some(id(5, 3)));
        assert_eq!(StreamId::parse(b"5", 7), Some(id(5, 7)));
        assert_eq!(StreamId::parse(b"007-01", 0), Some(id(7, 1)));
        assert_eq!(StreamId::parse(b" \n7-\t1", 0), Some(id(7, 1)));
        let max = b"18446744073709551615-18446744073709551615";
        assert_eq!(StreamId::parse(max, 0), Some(StreamId::MAX));
        assert_eq!(StreamId::MAX.format(&mut [0; ID_LEN_MAX]), max);
        assert_eq!(id(0, 1).format(&mut [0; ID_LEN_MAX]), b"0-1");
        for text in
            ["", "-", "+", "-1", "1-", "1-2-3", "1--2", "a-1", "1-*", "18446744073709551616"]
        {
            assert_eq!(StreamId::parse(text.as_bytes(), 0), None, "{text}");
        }
        assert_eq!(StreamId::parse_ms(b"12-*"), Some(12));
        assert_eq!(StreamId::parse_ms(b"12-1"), None);
    }

    #[test]
    fn ids_have_neighbours() {
        let id = StreamId::new;
        assert_eq!(id(1, u64::MAX).next(), Some(id(2, 0)));
        assert_eq!(id(2, 0).prev(), Some(id(1, u64::MAX)));
        assert_eq!((StreamId::MAX.next(), StreamId::MIN.prev()), (None, None));
        for (one, other) in [(id(5, 9), id(6, 2)), (id(0, 0), StreamId::MAX)] {
            let (ms, seq) = other.minus(one);
            assert_eq!(one.plus(ms, seq), other);
        }
    }
}
