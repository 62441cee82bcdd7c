//! Strings: integers, short bytes, long shared bytes; what OBJECT ENCODING calls int, embstr, raw.

use std::sync::Arc;

use super::{Kind, Value, ValueView};
use crate::base::limits::INLINE_VALUE_MAX;
use crate::base::number;
use crate::resp::ReplyBuf;

/// Longest string that OBJECT ENCODING calls `embstr` (Redis: OBJ_ENCODING_EMBSTR_SIZE_LIMIT).
const EMBSTR_LEN_MAX: usize = 44;

/// Longest text that can be a 64-bit integer.
const INTEGER_LEN_MAX: usize = 20;

/// Strings.
pub struct Str;

impl Kind for Str {
    type View<'a> = StrView<'a>;

    #[inline]
    fn of(value: ValueView<'_>) -> Option<StrView<'_>> {
        match value {
            ValueView::Str(value) => Some(value),
            ValueView::Object(Value::Str(bytes)) => Some(StrView::Shared(bytes)),
            _ => None,
        }
    }
}

/// A string value in place.
#[derive(Clone, Copy, Debug)]
pub enum StrView<'a> {
    /// An integer, stored as such.
    Int(i64),
    /// Bytes inside the entry; `raw` when they came out of a modification such as APPEND.
    Bytes {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether Redis would report `raw` however short they are.
        raw: bool,
    },
    /// Long bytes.
    Shared(&'a Arc<Vec<u8>>),
}

impl<'a> StrView<'a> {
    /// Length in bytes of the text.
    pub fn len(&self) -> usize {
        match self {
            Self::Int(value) => number::format_i64(*value, &mut [0; 20]).len(),
            Self::Bytes { bytes, .. } => bytes.len(),
            Self::Shared(bytes) => bytes.len(),
        }
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text; an integer's digits are written into `digits`.
    #[inline]
    pub fn bytes<'b>(&self, digits: &'b mut [u8; 20]) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Self::Int(value) => number::format_i64(*value, digits),
            Self::Bytes { bytes, .. } => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    /// A copy of the text.
    pub fn to_vec(&self) -> Vec<u8> {
        self.bytes(&mut [0; 20]).to_vec()
    }

    /// The value as an integer, if its text is one.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Bytes { bytes, .. } => number::parse_i64(bytes),
            Self::Shared(_) => None,
        }
    }

    /// Writes the value as a bulk string.
    #[inline]
    pub fn reply(&self, out: &mut ReplyBuf) {
        match self {
            Self::Int(value) => out.bulk_integer(*value),
            Self::Bytes { bytes, .. } => out.bulk(bytes),
            Self::Shared(bytes) => out.bulk_shared(bytes),
        }
    }

    /// What OBJECT ENCODING reports.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Bytes { bytes, raw: false } if bytes.len() <= EMBSTR_LEN_MAX => "embstr",
            Self::Bytes { .. } | Self::Shared(_) => "raw",
        }
    }

    /// The same text for storing under another key.
    pub fn to_new(&self) -> NewStr<'a> {
        match self {
            Self::Int(value) => NewStr::Int(*value),
            Self::Bytes { bytes, raw } => NewStr::Bytes { bytes, raw: *raw },
            Self::Shared(bytes) => NewStr::Shared(Arc::clone(bytes)),
        }
    }
}

/// A string to be stored.
#[derive(Clone, Debug)]
pub enum NewStr<'a> {
    /// An integer.
    Int(i64),
    /// Bytes to be copied into the entry; at most [`INLINE_VALUE_MAX`].
    Bytes {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether OBJECT ENCODING is to say `raw` even if they are short.
        raw: bool,
    },
    /// Long bytes, not copied.
    Shared(Arc<Vec<u8>>),
}

impl<'a> NewStr<'a> {
    /// How `bytes` are stored when a client sets them: integers as such, long ones on their own.
    #[inline]
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        if bytes.len() <= INTEGER_LEN_MAX
            && let Some(value) = number::parse_i64(bytes)
        {
            return Self::Int(value);
        }
        Self::plain(bytes, false)
    }

    /// How text that a command made is stored: as it is, even if it spells an integer.
    pub fn text(bytes: &'a [u8]) -> Self {
        Self::plain(bytes, false)
    }

    /// How an argument is stored: its own buffer, where it came in one, is kept.
    #[inline]
    pub fn from_arg(bytes: &'a [u8], shared: Option<&Arc<Vec<u8>>>) -> Self {
        match shared {
            Some(shared) if shared.len() > INLINE_VALUE_MAX => Self::Shared(Arc::clone(shared)),
            _ => Self::from_bytes(bytes),
        }
    }

    /// How the result of changing bytes in place is stored: never as an integer, always `raw`.
    pub fn modified(bytes: &'a [u8]) -> Self {
        Self::plain(bytes, true)
    }

    fn plain(bytes: &'a [u8], raw: bool) -> Self {
        if bytes.len() > INLINE_VALUE_MAX {
            return Self::Shared(Arc::new(bytes.to_vec()));
        }
        Self::Bytes { bytes, raw }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_those_of_redis() {
        let (short, long) = (vec![b'a'; 44], vec![b'a'; 45]);
        let encoding = |bytes, raw| StrView::Bytes { bytes, raw }.encoding();
        assert_eq!(encoding(&short, false), "embstr");
        assert_eq!(encoding(&short, true), "raw");
        assert_eq!(encoding(&long, false), "raw");
        assert!(matches!(NewStr::from_bytes(b"-12"), NewStr::Int(-12)));
        assert!(matches!(NewStr::from_bytes(b"012"), NewStr::Bytes { raw: false, .. }));
        assert!(matches!(NewStr::modified(b"12"), NewStr::Bytes { raw: true, .. }));
    }

    #[test]
    fn long_arguments_keep_their_buffer() {
        let buffer = Arc::new(vec![b'x'; INLINE_VALUE_MAX + 1]);
        let NewStr::Shared(stored) = NewStr::from_arg(&buffer, Some(&buffer)) else {
            panic!("a long argument is stored as it is");
        };
        assert!(Arc::ptr_eq(&stored, &buffer));
    }
}
