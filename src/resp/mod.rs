//! The wire codec: RESP2 and RESP3 requests and replies.
//!
//! Owns the resumable request parser and the reply sink. Must not know sockets, commands or the
//! keyspace. Keeps: any byte string yields a request, "need more" or a protocol error; nothing is
//! allocated beyond declared and allowed lengths; RESP2 and RESP3 differ nowhere else.

mod argv;
mod reply;
mod request;
mod wire;

pub use argv::{ArgRange, Argv, OwnedArgv};
pub use reply::{Mark, Protocol, ReplyBuf};
pub use request::{ParseLimits, ParseState, ProtocolError, RequestParser};
pub use wire::{write_bulk, write_head};
