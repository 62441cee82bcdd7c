//! The append-only file: what it consists of, how it is written, read and checked.
//!
//! ```text
//! appendonlydir/
//!   appendonly.aof.manifest         which files there are, in order
//!   appendonly.aof.2.base.rdb       the data at one moment
//!   appendonly.aof.5.incr.aof       the log of writes from then on
//!   appendonly.aof.6.incr.aof       and on: the one that grows
//! ```
//!
//! A rewrite begins the next incr file at a cut of the log, writes a base of the data as it was at
//! the cut, and names both in a new manifest; the manifest is replaced whole, so that at any moment
//! the files it names are the whole data. Names, manifest and contents are those of Redis 7.

pub mod check;
pub mod commands;
pub mod directory;
pub mod load;
pub mod manifest;
pub mod policy;
pub mod reader;
pub mod storage;
pub mod writer;
