//! A message in the form in which it is sent.
//!
//! RESP2 and RESP3 tell messages apart by their first byte only, so one encoding serves both.

use std::sync::Arc;

use crate::resp::{ReplyBuf, write_bulk};

/// The first byte of a RESP3 push, an array's in RESP2.
const PUSH: u8 = b'>';

/// An encoded message; a copy shares the bytes.
#[derive(Clone, Debug)]
pub struct Message {
    /// The first byte as RESP3 has it.
    head: u8,
    /// What follows the first byte.
    body: Arc<Vec<u8>>,
}

impl Message {
    /// A push of `items` as bulk strings; an array in RESP2.
    pub fn push(items: &[&[u8]]) -> Self {
        let len: usize = items.iter().map(|item| item.len() + 16).sum();
        let mut body = Vec::with_capacity(len + 8);
        body.extend_from_slice(items.len().to_string().as_bytes());
        body.extend_from_slice(b"\r\n");
        items.iter().for_each(|item| write_bulk(&mut body, item));
        Self { head: PUSH, body: Arc::new(body) }
    }

    /// What is encoded already: its first byte, and the rest. A push becomes an array in RESP2.
    pub fn encoded(head: u8, body: Vec<u8>) -> Self {
        Self { head, body: Arc::new(body) }
    }

    /// Its length on the wire, in bytes.
    pub fn wire_len(&self) -> usize {
        1 + self.body.len()
    }

    /// Appends it to what a connection is to be sent; long ones are not copied.
    pub fn write(&self, out: &mut ReplyBuf) {
        let head = if self.head == PUSH && !out.is_resp3() { b'*' } else { self.head };
        out.raw_headed(head, &self.body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::SHARED_REPLY_LEN;
    use crate::resp::Protocol;

    fn written(message: &Message, protocol: Protocol) -> Vec<u8> {
        let mut out = ReplyBuf::with_room(Vec::new(), protocol);
        message.write(&mut out);
        assert_eq!(out.len(), message.wire_len());
        out.to_vec()
    }

    #[test]
    fn a_push_is_an_array_in_resp2() {
        let message = Message::push(&[b"message", b"c", b""]);
        assert_eq!(
            written(&message, Protocol::Resp3),
            b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$0\r\n\r\n"
        );
        assert!(written(&message, Protocol::Resp2).starts_with(b"*3\r\n$7\r\nmessage\r\n"));
        let line = Message::encoded(b'+', b"OK\r\n".to_vec());
        assert_eq!(written(&line, Protocol::Resp2), b"+OK\r\n");
    }

    #[test]
    fn a_long_message_is_referenced() {
        let message = Message::push(&[&vec![b'x'; SHARED_REPLY_LEN]]);
        let mut out = ReplyBuf::default();
        message.write(&mut out);
        assert!(out.plain().is_none());
        assert!(out.to_vec().starts_with(b"*1\r\n$16384\r\nxx"));
    }
}
