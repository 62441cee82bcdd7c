//! The bytes of one node while it is edited: the body of a listpack with room at both ends.
//!
//! ```text
//! buf    | room | body ............ | spare capacity |
//!        0      start               buf.len()
//! ```
//!
//! So a queue that takes from its head moves no bytes, and a stack that grows at its head moves
//! them once in a while. The room is at most an eighth of the body, and goes when the node
//! becomes an inner one ([`Run::fit`]).

use std::ops::Range;

use crate::encoding::listpack::{Encoded, Listpack};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    buf: Vec<u8>,
    /// Where the body begins; at most the length of `buf`.
    start: usize,
}

impl Run {
    /// A run of these bytes, without room.
    pub(super) fn new(body: Vec<u8>) -> Self {
        Self { buf: body, start: 0 }
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.buf[self.start..]
    }

    /// The entries.
    #[inline]
    pub(super) fn list(&self) -> Listpack<'_> {
        Listpack::new(self.as_slice())
    }

    /// The bytes of the entry at `at`.
    pub(super) fn entry_len(&self, at: usize) -> usize {
        self.list().entry_len(at)
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.buf.len() - self.start
    }

    /// The bytes that are allocated.
    pub(super) fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    /// Adds an entry after the last.
    #[inline]
    pub(super) fn push_back(&mut self, entry: &Encoded<'_>) {
        self.reserve_behind(entry.len());
        entry.write(&mut self.buf);
    }

    /// Adds an entry before the first.
    #[inline]
    pub(super) fn push_front(&mut self, entry: &Encoded<'_>) {
        let len = entry.len();
        if self.start < len {
            self.move_to(len + room(self.len()), 0);
        }
        self.start -= len;
        entry.write_to(&mut self.buf[self.start..self.start + len]);
    }

    /// Replaces the bytes in `range` by `with`.
    pub(super) fn splice(&mut self, range: Range<usize>, with: &[u8]) {
        if with.is_empty() {
            return self.remove(range);
        }
        self.reserve_behind(with.len());
        let range = self.start + range.start..self.start + range.end;
        if range.len() == with.len() {
            self.buf[range].copy_from_slice(with);
        } else {
            self.buf.splice(range, with.iter().copied());
        }
    }

    /// Removes the bytes in `range`.
    #[inline]
    pub(super) fn remove(&mut self, range: Range<usize>) {
        if range.start == 0 {
            self.start += range.end;
        } else {
            self.buf.drain(self.start + range.start..self.start + range.end);
        }
        if self.buf.capacity() > 2 * self.len() + 512 {
            self.move_to(0, room(self.len()));
        }
    }

    /// Cuts off and returns what is from `at` on.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let tail = Self::new(self.as_slice()[at..].to_vec());
        self.buf.truncate(self.start + at);
        tail
    }

    /// Gives up the room, if there is much.
    pub(super) fn fit(&mut self) {
        if self.buf.capacity() > self.len() + self.len() / 32 {
            self.move_to(0, 0);
        }
    }

    /// Makes place for `len` more bytes at the end.
    #[inline]
    fn reserve_behind(&mut self, len: usize) {
        if self.buf.capacity() - self.buf.len() >= len {
            return;
        }
        if self.start >= len && self.start >= self.len() / 4 {
            self.buf.drain(..self.start);
            self.start = 0;
        } else {
            self.move_to(self.start, len + room(self.len()));
        }
    }

    /// Moves the body to a new buffer.
    #[cold]
    fn move_to(&mut self, before: usize, behind: usize) {
        let mut buf = Vec::with_capacity(before + self.len() + behind);
        buf.resize(before, 0);
        buf.extend_from_slice(self.as_slice());
        *self = Self { buf, start: before };
    }
}

/// How much room a body of `len` bytes gets where it grows.
fn room(len: usize) -> usize {
    64 + len / 8
}
