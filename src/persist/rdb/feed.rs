//! A file of any length as a source: a window of bytes that moves on.
//!
//! ```text
//! offset  base          base + next          end of the window
//!         | read already | not read yet ..... | rest of the file
//! ```
//!
//! Owns the window, the checksum of what was read, and the figure of how much that is. Keeps: what is
//! in memory is the window, and what a caller asked for as one piece.

use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use super::crc::Crc;
use super::error::RdbError;
use super::read::Source;

/// A file being read. See the module's documentation.
pub struct Feed<'p, R> {
    input: R,
    window: Vec<u8>,
    next: usize,
    base: u64,
    window_len: usize,
    /// The checksum up to `summed` in the window; `None` when nobody wants it.
    crc: Option<Crc>,
    summed: usize,
    progress: &'p AtomicU64,
    is_at_end: bool,
}

impl<'p, R: Read> Feed<'p, R> {
    /// Reads `input` through a window of `window_len` bytes, no fewer than the longest array that is
    /// asked for, and shows in `progress` how far it got.
    pub fn new(input: R, window_len: usize, progress: &'p AtomicU64) -> Self {
        Self {
            input,
            window: Vec::new(),
            next: 0,
            base: 0,
            window_len,
            crc: Some(Crc::new()),
            summed: 0,
            progress,
            is_at_end: false,
        }
    }

    /// Computes no checksum from here on.
    pub fn ignore_checksum(&mut self) {
        self.crc = None;
    }

    /// The checksum of what was read, if it is computed.
    pub fn checksum(&mut self) -> Option<u64> {
        self.sum();
        self.crc.as_ref().map(Crc::value)
    }

    /// The part of the window that was not read yet.
    pub fn rest(&self) -> &[u8] {
        &self.window[self.next..]
    }

    /// Where in the window [`rest`](Self::rest) begins.
    pub fn next(&self) -> usize {
        self.next
    }

    /// The whole window, and the offset of its first byte.
    pub fn window(&self) -> (&[u8], u64) {
        (&self.window, self.base)
    }

    /// Whether the window reaches to the end of the file.
    pub fn is_last(&self) -> bool {
        self.is_at_end
    }

    /// Counts `len` bytes of the window as read.
    #[inline]
    pub fn advance(&mut self, len: usize) {
        debug_assert!(len <= self.rest().len());
        self.next += len;
    }

    /// Hands the window out, which is replaced by a new one that begins with what was not read yet.
    pub fn cut(&mut self) -> Vec<u8> {
        self.sum();
        let mut fresh = Vec::with_capacity(self.window_len);
        fresh.extend_from_slice(self.rest());
        self.base += self.next as u64;
        (self.next, self.summed) = (0, 0);
        std::mem::replace(&mut self.window, fresh)
    }

    /// Moves the window on to begin with what was not read yet, and fills it: waits until it is full or
    /// the input ends.
    pub fn fill(&mut self) -> Result<(), RdbError> {
        self.sum();
        self.window.drain(..self.next);
        self.base += self.next as u64;
        (self.next, self.summed) = (0, 0);
        self.progress.store(self.base, Ordering::Relaxed);
        let room = self.window_len.saturating_sub(self.window.len());
        self.window.reserve_exact(room);
        while self.window.len() < self.window_len && !self.is_at_end {
            let want = (self.window_len - self.window.len()) as u64;
            let result = (&mut self.input).take(want).read_to_end(&mut self.window);
            match result {
                Ok(count) => self.is_at_end = (count as u64) < want,
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => {
                    return Err(RdbError::Input {
                        at: self.base + self.window.len() as u64,
                        cause,
                    });
                }
            }
        }
        Ok(())
    }

    /// Takes the checksum of what was read since.
    fn sum(&mut self) {
        if let Some(crc) = &mut self.crc {
            crc.update(&self.window[self.summed..self.next]);
        }
        self.summed = self.next;
    }

    /// Moves `len` bytes to the end of `out`, which grows as they arrive.
    fn collect(&mut self, len: u64, out: &mut Vec<u8>, what: &'static str) -> Result<(), RdbError> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        while out.len() < len {
            if self.rest().is_empty() {
                self.fill()?;
            }
            let rest = self.rest();
            let piece = &rest[..rest.len().min(len - out.len())];
            if piece.is_empty() {
                return Err(RdbError::End { at: self.at(), what });
            }
            if out.capacity() - out.len() < piece.len() {
                out.reserve_exact((len - out.len()).min(piece.len().max(out.len())));
            }
            out.extend_from_slice(piece);
            let count = piece.len();
            self.advance(count);
        }
        Ok(())
    }

    /// Tries to have `len` bytes in the window; `false` when there are not so many, or no room.
    #[inline]
    fn has(&mut self, len: usize) -> Result<bool, RdbError> {
        if self.rest().len() >= len {
            return Ok(true);
        }
        if len <= self.window_len && !self.is_at_end {
            self.fill()?;
        }
        Ok(self.rest().len() >= len)
    }
}

impl<R: Read> Source for Feed<'_, R> {
    fn at(&self) -> u64 {
        self.base + self.next as u64
    }

    fn take<'s>(
        &'s mut self,
        len: u64,
        room: &'s mut Vec<u8>,
        what: &'static str,
    ) -> Result<&'s [u8], RdbError> {
        let count = usize::try_from(len).unwrap_or(usize::MAX);
        if self.has(count)? {
            self.next += count;
            return Ok(&self.window[self.next - count..self.next]);
        }
        room.clear();
        self.collect(len, room, what)?;
        Ok(room)
    }

    fn take_vec(&mut self, len: u64, what: &'static str) -> Result<Vec<u8>, RdbError> {
        let mut out = Vec::new();
        self.collect(len, &mut out, what)?;
        Ok(out)
    }

    fn skip(&mut self, mut len: u64, what: &'static str) -> Result<(), RdbError> {
        while len > 0 {
            if self.rest().is_empty() {
                self.fill()?;
            }
            let count = self.rest().len().min(usize::try_from(len).unwrap_or(usize::MAX));
            if count == 0 {
                return Err(RdbError::End { at: self.at(), what });
            }
            self.advance(count);
            len -= count as u64;
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], RdbError> {
        self.has(N)?;
        match self.rest().first_chunk() {
            Some(bytes) => {
                let bytes = *bytes;
                self.next += N;
                Ok(bytes)
            }
            None => {
                self.next = self.window.len();
                Err(RdbError::End { at: self.at(), what })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Dribble<'a>(&'a [u8]);

    impl Read for Dribble<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let count = out.len().min(3);
            self.0.read(&mut out[..count])
        }
    }

    #[test]
    fn pieces_of_any_length_are_taken() {
        let bytes: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
        let progress = AtomicU64::new(0);
        for window_len in [8, 10, 64, 2000] {
            let mut feed = Feed::new(Dribble(&bytes), window_len, &progress);
            let (mut at, mut len, mut room) = (0, 0, Vec::new());
            while at + len + 8 <= bytes.len() {
                assert_eq!(feed.at(), at as u64);
                match len % 4 {
                    0 => assert_eq!(
                        feed.take(len as u64, &mut room, "").unwrap(),
                        &bytes[at..at + len]
                    ),
                    1 => assert_eq!(feed.take_vec(len as u64, "").unwrap(), &bytes[at..at + len]),
                    2 => feed.skip(len as u64, "").unwrap(),
                    _ => {
                        let array: [u8; 8] = feed.array("").unwrap();
                        assert_eq!(array, bytes[at..at + 8]);
                        at += 8;
                        at -= len;
                    }
                }
                (at, len) = (at + len, len + 1);
            }
            assert_eq!(feed.checksum(), Some(Crc::of(&bytes[..at])));
            let left = bytes.len() - at;
            assert!(feed.take(left as u64 + 1, &mut room, "").unwrap_err().is_end());
            assert_eq!(feed.at(), bytes.len() as u64);
        }
    }

    #[test]
    fn a_declared_length_reserves_little() {
        let progress = AtomicU64::new(0);
        for len in [u64::MAX, 1 << 40] {
            let mut feed = Feed::new(&[7; 3000][..], 1024, &progress);
            let mut room = Vec::new();
            assert!(feed.take(len, &mut room, "").unwrap_err().is_end());
            assert!(room.capacity() <= 8192, "{}", room.capacity());
        }
    }

    #[test]
    fn a_window_is_cut_off_where_it_was_read_to() {
        let progress = AtomicU64::new(0);
        let mut feed = Feed::new(&b"abcdefghij"[..], 6, &progress);
        feed.fill().unwrap();
        feed.advance(4);
        assert_eq!(feed.cut(), b"abcdef");
        assert_eq!((feed.rest(), feed.at()), (&b"ef"[..], 4));
        feed.fill().unwrap();
        assert_eq!(feed.rest(), b"efghij");
        feed.advance(6);
        assert_eq!(feed.checksum(), Some(Crc::of(b"abcdefghij")));
        feed.fill().unwrap();
        assert!(feed.is_last() && feed.rest().is_empty());
        assert_eq!(progress.load(Ordering::Relaxed), 10);
    }
}
