//! Byte-level and pointer-level structures that values and the keyspace are built from.
//!
//! Owns the segment table, and the two formats of Redis in which small collections lie in one run
//! of bytes: the listpack and the intset. Must not know keys' meaning, clocks or replies. Keeps:
//! each structure has a model test; memory is freed by dropping, never by convention; bytes of
//! foreign origin are checked whole before anything reads them.

pub mod intset;
pub mod listpack;
pub mod table;

/// Why bytes that came from elsewhere are not what they claim to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Corrupt {
    /// What is wrong there.
    pub what: &'static str,
    /// The offset in the bytes that were checked.
    pub at: usize,
}
