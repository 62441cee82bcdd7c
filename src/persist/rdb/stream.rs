//! What reading and writing streams have in common.
//!
//! ```text
//! stream    nodes (id listpack)*  len last  [first max-deleted added]  groups (group)*  [messages]
//! group     name last [read]  pending (id time deliveries)*  consumers (consumer)*  [released (id)*]
//! consumer  name seen [active]  pending (id)*
//! ```
//!
//! Ids are two lengths; as the name of a node and in lists of what is pending they are sixteen bytes,
//! the highest first. Times are eight bytes, in Unix milliseconds. What stands in brackets depends on
//! the [`Layout`].

use super::kind;

#[cfg(test)]
mod tests;

/// Bytes of an id that is not two lengths.
pub const ID_LEN: usize = 16;

/// Bytes of a time.
pub const TIME_LEN: usize = 8;

/// A group's count of what was delivered that is not known.
pub const READ_UNKNOWN: u64 = u64::MAX;

/// A consumer's time of something that never was.
pub const NEVER: i64 = -1;

/// The name and time of the consumer to which, in layouts before [`Layout::Released`], entries
/// belong that were given back and are of nobody. No real consumer was seen then.
pub const NOBODY: (&[u8], i64) = (b"", NEVER);

/// What a stream consists of; each has all that those before it have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layout {
    /// Entries and groups: Redis 5.
    Plain,
    /// What was added, deleted and delivered: Redis 7.0.
    Counted,
    /// When consumers were active: Redis 7.2.
    Active,
    /// Messages that are refused when they come again: Redis 8.6.
    Messages,
    /// Pending entries of no consumer: Redis 8.8.
    Released,
}

impl Layout {
    /// That of a kind of value, if it is one of streams.
    pub fn of(kind: u8) -> Option<Self> {
        Some(match kind {
            kind::STREAM_LISTPACKS => Self::Plain,
            kind::STREAM_LISTPACKS_2 => Self::Counted,
            kind::STREAM_LISTPACKS_3 => Self::Active,
            kind::STREAM_LISTPACKS_4 => Self::Messages,
            kind::STREAM_LISTPACKS_5 => Self::Released,
            _ => return None,
        })
    }
}
