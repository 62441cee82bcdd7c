//! Byte-level and pointer-level structures that values and the keyspace are built from.
//!
//! Owns the segment table with its thin items, the two formats of Redis in which small collections
//! lie in one run of bytes (the listpack and the intset), what large collections are made of, and
//! the HyperLogLog. Must not know keys' meaning, clocks or replies. Keeps: each structure has a model
//! test; memory is freed by dropping, never by convention; bytes of foreign origin are checked whole
//! before anything reads them.

pub mod field;
pub mod geohash;
pub mod hyperloglog;
pub mod intset;
pub mod listpack;
pub mod lzf;
pub mod member;
pub mod quicklist;
pub mod rank_tree;
pub mod scored_set;
pub mod set_table;
pub mod size_class;
pub mod table;

/// The end of a sequence that an operation begins at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// Where the first item is.
    Head,
    /// Where the last item is.
    Tail,
}

/// Why bytes that came from elsewhere are not what they claim to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Corrupt {
    /// What is wrong there.
    pub what: &'static str,
    /// The offset in the bytes that were checked.
    pub at: usize,
}
