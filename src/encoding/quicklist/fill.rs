//! How much a listpack may hold before a list needs more than one.

use crate::encoding::listpack::{END, HEADER_LEN};

/// What a listpack that stands alone takes beside its body, which Redis counts in.
const FRAME_LEN: usize = HEADER_LEN + size_of_val(&END);

/// Most bytes of a listpack that is limited by the number of its items (SIZE_SAFETY_LIMIT).
const FRAMED_LEN_MAX: usize = 8192;

/// How much a listpack may hold: the directive `list-max-listpack-size`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fill {
    /// So many bytes, with header and end mark.
    Bytes(usize),
    /// So many items, at most 8 KiB of them.
    Items(usize),
    /// Everything, in one node.
    Whole,
}

impl Fill {
    /// What the directive says: items, or -1 to -5 for 4 to 64 KiB.
    pub fn from_directive(value: i64) -> Self {
        match usize::try_from(value) {
            Ok(items) => Fill::Items(items.max(1)),
            Err(_) => Fill::Bytes(4096 << (value.unsigned_abs().min(5) - 1)),
        }
    }

    /// The number that [`Self::from_directive`] takes; 0 is everything.
    pub fn as_directive(self) -> i64 {
        match self {
            Fill::Bytes(max) => -1 - i64::from((max / 4096).max(1).ilog2()),
            Fill::Items(max) => max as i64,
            Fill::Whole => 0,
        }
    }

    /// Whether a listpack with a body of so many bytes is too large.
    #[inline]
    pub fn is_exceeded(self, body_len: usize, items: usize) -> bool {
        let len = body_len + FRAME_LEN;
        match self {
            Fill::Bytes(max) => len > max,
            Fill::Items(max) => len > FRAMED_LEN_MAX || items > max,
            Fill::Whole => false,
        }
    }

    /// Whether a listpack is so small that a list which has shrunk to it should become one again.
    #[inline]
    pub fn is_half_empty(self, body_len: usize, items: usize) -> bool {
        match self {
            Fill::Bytes(max) => body_len + FRAME_LEN <= max / 2,
            Fill::Items(max) => items <= max / 2,
            Fill::Whole => true,
        }
    }

    /// Whether a text of so many bytes needs a node of its own.
    #[inline]
    pub(super) fn is_too_long(self, text_len: usize) -> bool {
        match self {
            Fill::Bytes(max) => text_len > max,
            Fill::Items(_) => text_len > FRAMED_LEN_MAX,
            Fill::Whole => false,
        }
    }
}
