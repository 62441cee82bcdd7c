//! The reply sink: handlers say what they answer once, and it comes out as RESP2 or RESP3.
//!
//! Replies are written into one growing buffer, not built as trees. A long value that already lives
//! in a shared buffer is referenced at its place instead of copied:
//!
//! ```text
//! bytes   $70000\r\n | \r\n:1\r\n
//!                    ^ shared[0] = (8, the value)
//! ```

use std::fmt::{Display, Write};
use std::io::IoSlice;
use std::sync::Arc;

use super::wire::{write_bulk, write_head};
use crate::base::bytes;
use crate::base::limits::{POOLED_REPLY_MAX, SHARED_REPLY_LEN};
use crate::base::number;

/// Up to here doubles that are whole are written as integers without a detour.
const DOUBLE_WHOLE_MAX: u64 = 1 << 53;

/// The protocol version a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protocol {
    /// What a client speaks until it says HELLO 3.
    #[default]
    Resp2,
    /// Maps, sets, doubles, booleans, nulls and pushes have types of their own.
    Resp3,
}

/// A position in a [`ReplyBuf`] to go back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    bytes: usize,
    shared: usize,
}

/// A buffer of encoded replies.
#[derive(Default)]
pub struct ReplyBuf {
    bytes: Vec<u8>,
    /// Values that belong between the bytes, by offset into `bytes`, ascending.
    shared: Vec<(usize, Arc<Vec<u8>>)>,
    shared_len: usize,
    protocol: Protocol,
}

impl ReplyBuf {
    /// An empty buffer that reuses the room of `bytes`.
    pub fn with_room(mut bytes: Vec<u8>, protocol: Protocol) -> Self {
        bytes.clear();
        Self { bytes, protocol, ..Self::default() }
    }

    /// The protocol replies are written in.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Sets the protocol of the replies that follow.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Whether replies are written in RESP3.
    pub fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    /// Length of all replies in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.shared_len
    }

    /// Bytes for which there is room without the values that are referenced.
    pub fn room(&self) -> usize {
        self.bytes.capacity()
    }

    /// Length of the replies without the values that are referenced.
    pub fn held_len(&self) -> usize {
        self.bytes.len()
    }

    /// How many values are referenced.
    pub fn shared_count(&self) -> usize {
        self.shared.len()
    }

    /// Whether nothing was replied.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The current end, for [`Self::rewind`] and [`Self::array_at`].
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), shared: self.shared.len() }
    }

    /// Takes back everything after `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        for (_, value) in self.shared.drain(mark.shared..) {
            self.shared_len -= value.len();
        }
    }

    /// Takes the room of the buffer out for reuse; the replies are gone.
    pub fn take_room(&mut self) -> Vec<u8> {
        self.shared = Vec::new();
        self.shared_len = 0;
        std::mem::take(&mut self.bytes)
    }

    /// Drops as much of the first `count` bytes as can be dropped whole and returns how much.
    ///
    /// A shared value that is only partly within them stays.
    pub fn discard_front(&mut self, count: usize) -> usize {
        let (mut dropped, mut values, mut bytes) = (0, 0, 0);
        for (at, value) in &self.shared {
            let end = dropped + (at - bytes) + value.len();
            if end > count {
                break;
            }
            (dropped, bytes, values) = (end, *at, values + 1);
        }
        let next = self.shared.get(values).map_or(self.bytes.len(), |(at, _)| *at);
        let more = (count - dropped).min(next - bytes);
        (dropped, bytes) = (dropped + more, bytes + more);
        self.bytes.drain(..bytes);
        for (_, value) in self.shared.drain(..values) {
            self.shared_len -= value.len();
        }
        self.shared.iter_mut().for_each(|(at, _)| *at -= bytes);
        dropped
    }

    /// The replies from byte `written` on as slices for one vectored write.
    pub fn slices<'a>(&'a self, written: usize, out: &mut Vec<IoSlice<'a>>) {
        const SLICES_MAX: usize = 64;
        let (mut skip, mut from) = (written, 0);
        let mut push = |piece: &'a [u8]| {
            let cut = skip.min(piece.len());
            skip -= cut;
            if cut < piece.len() {
                out.push(IoSlice::new(&piece[cut..]));
            }
            out.len() < SLICES_MAX
        };
        for (at, value) in &self.shared {
            if !push(&self.bytes[from..*at]) || !push(value) {
                return;
            }
            from = *at;
        }
        push(&self.bytes[from..]);
    }

    /// The replies as plain bytes, where none of them references a shared value.
    pub fn plain(&self) -> Option<&[u8]> {
        self.shared.is_empty().then_some(&self.bytes[..])
    }

    /// The plain bytes after `mark`.
    pub fn bytes_since(&self, mark: Mark) -> &[u8] {
        &self.bytes[mark.bytes..]
    }

    /// A copy of all replies as bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut slices = Vec::new();
        let mut out = Vec::with_capacity(self.len());
        while out.len() < self.len() {
            slices.clear();
            self.slices(out.len(), &mut slices);
            slices.iter().for_each(|s| out.extend_from_slice(s));
        }
        out
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.bytes.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string; `text` must hold no line end.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error line; line ends in `error` become spaces.
    pub fn error(&mut self, error: &dyn Display) {
        let from = self.bytes.len() + 1;
        self.bytes.push(b'-');
        write!(Text(&mut self.bytes), "{error}").expect("writing to memory does not fail");
        for byte in &mut self.bytes[from..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.header(b':', value);
    }

    /// A count as an integer.
    #[inline]
    pub fn count(&mut self, value: usize) {
        self.header(b':', value as i64);
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, value: &[u8]) {
        write_bulk(&mut self.bytes, value);
    }

    /// A bulk string that references `value` when it is long enough to be worth it.
    pub fn bulk_shared(&mut self, value: &Arc<Vec<u8>>) {
        if value.len() < SHARED_REPLY_LEN {
            return self.bulk(value);
        }
        self.header(b'$', value.len() as i64);
        self.shared.push((self.bytes.len(), Arc::clone(value)));
        self.shared_len += value.len();
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// A bulk string that holds an integer's digits.
    #[inline]
    pub fn bulk_integer(&mut self, value: i64) {
        let mut digits = [0; 20];
        let text = number::format_i64(value, &mut digits);
        self.bulk(text);
    }

    /// Text as a bulk string.
    pub fn text(&mut self, value: &str) {
        self.bulk(value.as_bytes());
    }

    /// Nothing there: a null bulk in RESP2.
    #[inline]
    pub fn null(&mut self) {
        self.bytes.extend_from_slice(if self.is_resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// Nothing there where an array would be.
    pub fn null_array(&mut self) {
        self.bytes.extend_from_slice(if self.is_resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// The head of an array of `len` replies.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len as i64);
    }

    /// The head of a map of `len` pairs; a flat array in RESP2.
    pub fn map(&mut self, len: usize) {
        if self.is_resp3() {
            self.header(b'%', len as i64);
        } else {
            self.header(b'*', 2 * len as i64);
        }
    }

    /// The head of a set; an array in RESP2.
    pub fn set(&mut self, len: usize) {
        self.header(if self.is_resp3() { b'~' } else { b'*' }, len as i64);
    }

    /// The head of an out-of-band message; an array in RESP2.
    pub fn push(&mut self, len: usize) {
        self.header(if self.is_resp3() { b'>' } else { b'*' }, len as i64);
    }

    /// A truth value; 1 or 0 in RESP2.
    pub fn boolean(&mut self, value: bool) {
        match (self.is_resp3(), value) {
            (true, true) => self.bytes.extend_from_slice(b"#t\r\n"),
            (true, false) => self.bytes.extend_from_slice(b"#f\r\n"),
            (false, _) => self.integer(i64::from(value)),
        }
    }

    /// A double; its digits as a bulk string in RESP2.
    #[inline]
    pub fn double(&mut self, value: f64) {
        let whole = value as i64;
        if whole != 0 && whole as f64 == value && whole.unsigned_abs() <= DOUBLE_WHOLE_MAX {
            let mut digits = [0; 20];
            return self.double_text(number::format_i64(whole, &mut digits));
        }
        let mut digits = Vec::with_capacity(24);
        number::write_f64(&mut digits, value);
        self.double_text(&digits);
    }

    /// A double whose digits are at hand.
    pub fn double_text(&mut self, digits: &[u8]) {
        if self.is_resp3() { self.line(b',', digits) } else { self.bulk(digits) }
    }

    /// Text to be shown as it is (`format` is `txt` or `mkd`); a bulk string in RESP2.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        debug_assert_eq!(format.len(), 3);
        if !self.is_resp3() {
            return self.bulk(text);
        }
        self.header(b'=', text.len() as i64 + 4);
        self.bytes.extend_from_slice(format.as_bytes());
        self.bytes.push(b':');
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Puts the head of an array of `len` replies before everything after `mark`.
    ///
    /// For answers whose length is known only at their end; moves the bytes after `mark` once.
    pub fn array_at(&mut self, mark: Mark, len: usize) {
        self.head_at(mark, '*', len);
    }

    /// Puts the head of a set of `len` replies before everything after `mark`, as
    /// [`Self::array_at`] does that of an array.
    pub fn set_at(&mut self, mark: Mark, len: usize) {
        self.head_at(mark, if self.is_resp3() { '~' } else { '*' }, len);
    }

    fn head_at(&mut self, mark: Mark, kind: char, len: usize) {
        let head = format!("{kind}{len}\r\n");
        self.bytes.splice(mark.bytes..mark.bytes, head.bytes());
        for (at, _) in &mut self.shared[mark.shared..] {
            *at += head.len();
        }
    }

    /// Puts the head of a map of `len` pairs before everything after `mark`, as [`Self::array_at`]
    /// does that of an array.
    pub fn map_at(&mut self, mark: Mark, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array_at(mark, 2 * len),
            Protocol::Resp3 => self.head_at(mark, '%', len),
        }
    }

    /// Appends replies that are encoded already.
    pub fn raw(&mut self, encoded: &[u8]) {
        self.bytes.extend_from_slice(encoded);
    }

    /// Appends replies that are encoded already, without copying where they are long.
    pub fn raw_shared(&mut self, encoded: Arc<Vec<u8>>) {
        if encoded.len() < SHARED_REPLY_LEN {
            return self.raw(&encoded);
        }
        self.shared_len += encoded.len();
        self.shared.push((self.bytes.len(), encoded));
    }

    /// Appends a byte and what follows it, encoded already; what is long is not copied.
    pub fn raw_headed(&mut self, head: u8, rest: &Arc<Vec<u8>>) {
        if rest.len() >= SHARED_REPLY_LEN {
            self.bytes.push(head);
            return self.raw_shared(Arc::clone(rest));
        }
        self.bytes.reserve(1 + rest.len());
        self.bytes.push(head);
        self.bytes.extend_from_slice(rest);
    }

    /// Makes room for `len` bytes that follow, as far as buffers of that size are kept.
    pub fn reserve(&mut self, len: usize) {
        self.bytes.reserve(len.min(POOLED_REPLY_MAX));
    }

    #[inline]
    fn header(&mut self, kind: u8, value: i64) {
        write_head(&mut self.bytes, kind, value);
    }

    #[inline]
    fn line(&mut self, kind: u8, text: &[u8]) {
        self.bytes.reserve(text.len() + 3);
        self.bytes.push(kind);
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(b"\r\n");
    }
}

/// Lets `write!` append to a byte buffer; bytes that are not UTF-8 come as by [`bytes::text`].
struct Text<'a>(&'a mut Vec<u8>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        bytes::write_text(text, self.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(protocol: Protocol, write: impl Fn(&mut ReplyBuf)) -> String {
        let mut out = ReplyBuf::with_room(Vec::new(), protocol);
        write(&mut out);
        String::from_utf8(out.to_vec()).expect("the test writes text")
    }

    #[test]
    fn resp2_and_resp3_differ_where_they_should() {
        let all = |out: &mut ReplyBuf| {
            out.null();
            out.null_array();
            out.map(2);
            out.set(3);
            out.push(1);
            out.boolean(true);
            out.double(1.5);
            out.verbatim("txt", b"hi");
        };
        let two = "$-1\r\n*-1\r\n*4\r\n*3\r\n*1\r\n:1\r\n$3\r\n1.5\r\n$2\r\nhi\r\n";
        assert_eq!(written(Protocol::Resp2, all), two);
        let three = "_\r\n_\r\n%2\r\n~3\r\n>1\r\n#t\r\n,1.5\r\n=6\r\ntxt:hi\r\n";
        assert_eq!(written(Protocol::Resp3, all), three);
    }

    #[test]
    fn errors_stay_on_one_line() {
        assert_eq!(written(Protocol::Resp2, |out| out.error(&"ERR a\r\nb")), "-ERR a  b\r\n");
    }

    #[test]
    fn long_values_are_referenced_at_their_place() {
        let value = Arc::new(vec![b'v'; SHARED_REPLY_LEN]);
        let mut out = ReplyBuf::default();
        let start = out.mark();
        out.integer(1);
        out.bulk_shared(&value);
        let middle = out.mark();
        out.bulk_shared(&value);
        out.rewind(middle);
        out.integer(2);
        out.array_at(start, 3);
        let expected = [b"*3\r\n:1\r\n$16384\r\n".as_slice(), &value[..], b"\r\n:2\r\n"].concat();
        assert_eq!((out.to_vec(), out.len()), (expected.clone(), expected.len()));
        assert!(out.plain().is_none());
        for count in [0, 5, 16, 17, 5000, 16_400, 16_402, expected.len()] {
            let mut out = ReplyBuf::default();
            out.raw(&expected[..16]);
            out.shared.push((16, Arc::clone(&value)));
            out.shared_len = value.len();
            out.raw(b"\r\n:2\r\n");
            let dropped = out.discard_front(count);
            assert!(dropped <= count && (count > 16 && count < 16_400 || dropped == count));
            assert_eq!(out.to_vec(), expected[dropped..], "{count}");
        }
        for written in [0, 1, 20, 5000, expected.len() - 1] {
            let mut slices = Vec::new();
            out.slices(written, &mut slices);
            let rest: Vec<u8> = slices.iter().flat_map(|s| s.to_vec()).collect();
            assert_eq!(rest, expected[written..]);
        }
    }
}
