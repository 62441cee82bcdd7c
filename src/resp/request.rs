//! The request parser: multibulk and inline requests out of a growing read buffer.
//!
//! ```text
//! *3\r\n $3\r\nSET\r\n $1\r\nk\r\n $5\r\nvalue\r\n      multibulk
//! SET k "a value"\r\n                                   inline
//! ```
//!
//! Resumable: the parser remembers where it stopped, so input of any size costs one pass however it
//! is split. It yields ranges into the caller's buffer and allocates nothing, but for three rare
//! forms: the arguments of a request that a read left incomplete are kept, inline arguments get
//! buffers of their own because quoting changes their bytes, and an argument of at least
//! [`BIG_ARG_LEN`] that has not arrived whole becomes a buffer into which the caller reads on, so
//! that storing it copies nothing. That buffer grows with what has arrived, never with what a client
//! announced. Limits and error texts are those of Redis's `processMultibulkBuffer`.

use std::sync::Arc;

use thiserror::Error;

use super::argv::ArgRange;
use crate::base::limits::{
    ARGS_MAX, BIG_ARG_LEN, INLINE_LEN_MAX, UNAUTHENTICATED_ARGS_MAX, UNAUTHENTICATED_BULK_MAX,
};
use crate::base::{number, quote};

/// Bytes by which a big argument's buffer starts before it doubles.
const BIG_ARG_FIRST_ROOM: usize = 1024 * 1024;

/// What a client may send, in counts and bytes.
#[derive(Clone, Copy, Debug)]
pub struct ParseLimits {
    /// Longest argument (`proto-max-bulk-len`).
    pub bulk_max: i64,
    /// Whether the tighter limits for clients that have yet to authenticate hold.
    pub unauthenticated: bool,
}

/// Why a byte stream is no request; the Display is the wire text after `ERR Protocol error: `.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// An inline request without an end within [`INLINE_LEN_MAX`].
    #[error("too big inline request")]
    InlineTooBig,
    /// Quotes of an inline request that do not close.
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
    /// A `*` line without an end within [`INLINE_LEN_MAX`].
    #[error("too big mbulk count string")]
    CountLineTooBig,
    /// A `*` line that holds no number or one that is too large.
    #[error("invalid multibulk length")]
    InvalidCount,
    /// More arguments than a client may send before it authenticates.
    #[error("unauthenticated multibulk length")]
    UnauthenticatedCount,
    /// A `$` line without an end within [`INLINE_LEN_MAX`].
    #[error("too big bulk count string")]
    BulkLineTooBig,
    /// An argument that does not start with `$`.
    #[error("expected '$', got '{}'", printable(*.0))]
    ExpectedBulk(u8),
    /// A `$` line that holds no number or one out of bounds.
    #[error("invalid bulk length")]
    InvalidBulkLen,
    /// A longer argument than a client may send before it authenticates.
    #[error("unauthenticated bulk length")]
    UnauthenticatedBulkLen,
}

/// The byte as an error line can show it: control bytes would end or garble the line.
fn printable(byte: u8) -> char {
    if byte.is_ascii_control() { ' ' } else { char::from(byte) }
}

/// How far a call of [`RequestParser::parse`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseState {
    /// The arguments of one whole request were appended.
    Request,
    /// The buffer ends before the request does.
    NeedMore,
}

/// An argument that is read straight into its own buffer.
struct BigArg {
    bytes: Vec<u8>,
    len: usize,
    /// Where its first bytes are in the caller's buffer, until they are given back.
    begun_at: Option<usize>,
}

/// The state of one client's input between two reads.
#[derive(Default)]
pub struct RequestParser {
    /// Offset of the next unread byte of the caller's buffer.
    position: usize,
    /// Offset up to which the line at `position` is known to have no end.
    scanned: usize,
    /// Arguments of the current request still to come; 0 at the start of a request.
    args_left: i64,
    /// Length of the argument whose header was read, with one added; 0 when a header comes next.
    bulk_len: usize,
    /// Arguments so far of a request that an earlier buffer end interrupted.
    partial: Vec<ArgRange>,
    /// Big and inline arguments of the current request.
    bigs: Vec<Arc<Vec<u8>>>,
    big: Option<Box<BigArg>>,
}

impl RequestParser {
    /// Parses the next request of `buffer` and appends its arguments to `args` and `bigs`.
    ///
    /// `buffer` must be the same as in the last call, but for bytes added at its end, taken off its
    /// front by [`Self::discard_front`], or cut off as [`Self::let_go`] says. After an error the parser must not be used again.
    pub fn parse(
        &mut self,
        buffer: &[u8],
        limits: ParseLimits,
        args: &mut Vec<ArgRange>,
        bigs: &mut Vec<Arc<Vec<u8>>>,
    ) -> Result<ParseState, ProtocolError> {
        let (args_start, bigs_start) = (args.len(), bigs.len());
        if self.partial.is_empty() && self.args_left == 0 {
            if self.take_whole(buffer, args) {
                return Ok(ParseState::Request);
            }
            let state = self.run(buffer, limits, args)?;
            if state == ParseState::NeedMore {
                self.partial.extend(args.drain(args_start..));
                return Ok(state);
            }
        } else {
            let mut partial = std::mem::take(&mut self.partial);
            let state = self.run(buffer, limits, &mut partial)?;
            if state == ParseState::NeedMore {
                self.partial = partial;
                return Ok(state);
            }
            args.append(&mut partial);
        }
        if !self.bigs.is_empty() {
            bigs.append(&mut self.bigs);
            debug_assert!(bigs.len() > bigs_start);
        }
        Ok(ParseState::Request)
    }

    /// Offset of the first byte that no complete request has consumed, given that the current
    /// request began at `request_start`.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Whether a request has begun but not ended.
    pub fn is_inside(&self) -> bool {
        self.args_left > 0
    }

    /// Tells the parser that the caller's buffer lost its first `gone` bytes, none of which the
    /// current request needs.
    pub fn discard_front(&mut self, gone: usize) {
        if gone == 0 {
            return;
        }
        self.position -= gone;
        self.scanned = self.scanned.saturating_sub(gone);
        for range in &mut self.partial {
            *range = range.shifted(gone);
        }
    }

    /// Forgets the request that has begun, so that the bytes from `position` on are parsed anew.
    pub fn restart(&mut self, position: usize) {
        *self = Self { position, ..Self::default() };
    }

    /// Room for the bytes of a big argument that still misses some: the buffer to append to and how
    /// many bytes it may take now.
    pub fn big_arg_room(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let big = self.big.as_mut()?;
        if big.bytes.len() == big.bytes.capacity() {
            let room = big.bytes.len().max(BIG_ARG_FIRST_ROOM).min(big.len - big.bytes.len());
            big.bytes.reserve_exact(room);
        }
        let room = (big.bytes.capacity() - big.bytes.len()).min(big.len - big.bytes.len());
        Some((&mut big.bytes, room))
    }

    /// Lets the caller do without what a big argument that still misses some has copied from the end of
    /// the buffer, and without what came before if that was headers only: from where on and up to where
    /// the buffer is still needed.
    pub fn let_go(&mut self) -> Option<(usize, usize)> {
        let begun_at = self.big.as_mut()?.begun_at.take()?;
        self.position = begun_at;
        let only_headers = self.partial.is_empty();
        Some((if only_headers { begun_at } else { 0 }, begun_at))
    }

    /// Bytes for which the argument that is arriving has room.
    pub fn held_room(&self) -> usize {
        self.big.as_ref().map_or(0, |b| b.bytes.capacity() - b.bytes.len())
    }

    /// Bytes kept outside the caller's buffer: what the client's query buffer holds besides.
    pub fn held_len(&self) -> usize {
        let bigs: usize = self.bigs.iter().map(|b| b.len()).sum();
        bigs + self.partial.len() * size_of::<ArgRange>()
            + self.big.as_ref().map_or(0, |b| b.bytes.len())
    }

    /// Takes a request of few and short arguments that has arrived whole, as nearly all are and do;
    /// `false` if the next one is not of that kind, and then nothing has changed.
    #[inline]
    fn take_whole(&mut self, buffer: &[u8], args: &mut Vec<ArgRange>) -> bool {
        let (start, mut at) = (args.len(), self.position);
        let Some(&[b'*', count @ b'1'..=b'9', b'\r', _]) =
            buffer.get(at..).and_then(<[u8]>::first_chunk)
        else {
            return false;
        };
        at += 4;
        for _ in b'0'..count {
            let header = buffer.get(at..).and_then(short_header);
            let Some((header_len, len)) =
                header.filter(|(header_len, len)| buffer.len() - at >= header_len + len + 2)
            else {
                args.truncate(start);
                return false;
            };
            args.push(ArgRange::bytes(at + header_len, len));
            at += header_len + len + 2;
        }
        self.position = at;
        true
    }

    fn run(
        &mut self,
        buffer: &[u8],
        limits: ParseLimits,
        args: &mut Vec<ArgRange>,
    ) -> Result<ParseState, ProtocolError> {
        while self.args_left == 0 {
            match buffer.get(self.position) {
                None => return Ok(ParseState::NeedMore),
                Some(b'*') => {
                    let Some(count) = self.count(buffer, limits)? else {
                        return Ok(ParseState::NeedMore);
                    };
                    self.args_left = count;
                }
                Some(_) => match self.inline(buffer, args)? {
                    Inline::NeedMore => return Ok(ParseState::NeedMore),
                    Inline::Empty => {}
                    Inline::Request => return Ok(ParseState::Request),
                },
            }
        }
        while self.args_left > 0 {
            if !self.argument(buffer, limits, args)? {
                return Ok(ParseState::NeedMore);
            }
            self.args_left -= 1;
        }
        Ok(ParseState::Request)
    }

    /// Reads one argument; `false` when the buffer ends first.
    #[inline]
    fn argument(
        &mut self,
        buffer: &[u8],
        limits: ParseLimits,
        args: &mut Vec<ArgRange>,
    ) -> Result<bool, ProtocolError> {
        if self.bulk_len == 0 {
            let Some(len) = self.bulk_header(buffer, limits)? else { return Ok(false) };
            self.bulk_len = len + 1;
        }
        let len = self.bulk_len - 1;
        if self.big.is_some() {
            return Ok(self.finish_big(buffer, args));
        }
        let available = buffer.len() - self.position;
        if available >= len + 2 {
            args.push(ArgRange::bytes(self.position, len));
            self.position += len + 2;
            self.bulk_len = 0;
            return Ok(true);
        }
        if len >= BIG_ARG_LEN && available < len {
            let mut bytes = Vec::with_capacity(len.min(available.max(BIG_ARG_FIRST_ROOM)));
            bytes.extend_from_slice(&buffer[self.position..]);
            self.big = Some(Box::new(BigArg { bytes, len, begun_at: Some(self.position) }));
            self.position = buffer.len();
        }
        Ok(false)
    }

    /// Ends a big argument whose bytes are all there and whose line end has arrived.
    fn finish_big(&mut self, buffer: &[u8], args: &mut Vec<ArgRange>) -> bool {
        let whole = self.big.as_ref().is_some_and(|b| b.bytes.len() == b.len);
        if !whole || buffer.len() - self.position < 2 {
            return false;
        }
        let big = self.big.take().expect("a whole big argument was just seen");
        args.push(ArgRange::big(self.bigs.len()));
        self.bigs.push(Arc::new(big.bytes));
        self.position += 2;
        self.bulk_len = 0;
        true
    }

    /// Reads a `*` line; the count is 0 for the empty requests that Redis ignores.
    fn count(&mut self, buffer: &[u8], limits: ParseLimits) -> Result<Option<i64>, ProtocolError> {
        let Some(line) = self.header_line(buffer, ProtocolError::CountLineTooBig)? else {
            return Ok(None);
        };
        let count = number::parse_i64(line)
            .filter(|count| *count <= ARGS_MAX)
            .ok_or(ProtocolError::InvalidCount)?;
        if limits.unauthenticated && count > UNAUTHENTICATED_ARGS_MAX {
            return Err(ProtocolError::UnauthenticatedCount);
        }
        Ok(Some(count.max(0)))
    }

    fn bulk_header(
        &mut self,
        buffer: &[u8],
        limits: ParseLimits,
    ) -> Result<Option<usize>, ProtocolError> {
        if let Some((header_len, len)) = buffer.get(self.position..).and_then(short_header) {
            self.position += header_len;
            return Ok(Some(len));
        }
        let first = buffer.get(self.position).copied();
        let Some(line) = self.header_line(buffer, ProtocolError::BulkLineTooBig)? else {
            return Ok(None);
        };
        if let Some(first) = first
            && first != b'$'
        {
            return Err(ProtocolError::ExpectedBulk(first));
        }
        let len = number::parse_i64(line)
            .filter(|len| (0..=limits.bulk_max).contains(len))
            .ok_or(ProtocolError::InvalidBulkLen)?;
        if limits.unauthenticated && len > UNAUTHENTICATED_BULK_MAX {
            return Err(ProtocolError::UnauthenticatedBulkLen);
        }
        Ok(Some(usize::try_from(len).expect("a length up to bulk_max is not negative")))
    }

    /// The text after the type byte of a header line, and moves past the line.
    fn header_line<'b>(
        &mut self,
        buffer: &'b [u8],
        too_long: ProtocolError,
    ) -> Result<Option<&'b [u8]>, ProtocolError> {
        let from = self.position.max(self.scanned);
        let Some(found) = buffer[from..].iter().position(|b| *b == b'\r') else {
            self.scanned = buffer.len();
            if buffer.len() - self.position > INLINE_LEN_MAX {
                return Err(too_long);
            }
            return Ok(None);
        };
        let end = from + found;
        if end + 2 > buffer.len() {
            return Ok(None);
        }
        let line = &buffer[self.position + 1..end.max(self.position + 1)];
        self.position = end + 2;
        self.scanned = 0;
        Ok(Some(line))
    }

    fn inline(&mut self, buffer: &[u8], args: &mut Vec<ArgRange>) -> Result<Inline, ProtocolError> {
        let from = self.position.max(self.scanned);
        let Some(found) = buffer[from..].iter().position(|b| *b == b'\n') else {
            self.scanned = buffer.len();
            if buffer.len() - self.position > INLINE_LEN_MAX {
                return Err(ProtocolError::InlineTooBig);
            }
            return Ok(Inline::NeedMore);
        };
        let line = &buffer[self.position..from + found];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // C ends a text at a NUL byte, so that Redis waits for the end of the line for ever; what stands
        // before is not what was meant.
        if line.contains(&0) {
            return Err(ProtocolError::UnbalancedQuotes);
        }
        let words = quote::split_args(line).map_err(|_| ProtocolError::UnbalancedQuotes)?;
        self.position = from + found + 1;
        self.scanned = 0;
        if words.is_empty() {
            return Ok(Inline::Empty);
        }
        for word in words {
            args.push(ArgRange::big(self.bigs.len()));
            self.bigs.push(Arc::new(word));
        }
        Ok(Inline::Request)
    }
}

/// The length of a header `$` with up to four digits, and the number that they are; nothing for any
/// other.
#[inline]
fn short_header(bytes: &[u8]) -> Option<(usize, usize)> {
    let (len, digits) = match bytes.first_chunk::<7>()? {
        [b'$', a, b'\r', ..] => (4, [b'0', b'0', b'0', *a]),
        [b'$', a @ b'1'..=b'9', b, b'\r', ..] => (5, [b'0', b'0', *a, *b]),
        [b'$', a @ b'1'..=b'9', b, c, b'\r', ..] => (6, [b'0', *a, *b, *c]),
        [b'$', a @ b'1'..=b'9', b, c, d, b'\r', _] => (7, [*a, *b, *c, *d]),
        _ => return None,
    };
    let number = |number, digit: &u8| number * 10 + usize::from(digit - b'0');
    digits.iter().all(u8::is_ascii_digit).then(|| (len, digits.iter().fold(0, number)))
}

/// What a line without a `*` turned out to be.
enum Inline {
    NeedMore,
    Empty,
    Request,
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
