//! Files: snapshots (RDB), the append-only file, and the one log of writes both stand on.
//!
//! Owns the formats, how a file comes into being, and what a torn one means. Must not know commands,
//! clients or sockets; what a file says is handed to a closure or trait of the caller. Keeps: a file
//! appears by rename only, after it and everything in it was forced to disk; what is acknowledged
//! under `appendfsync always` is on disk; for any key the order of the log is the order of commits;
//! a torn tail is cut, a corrupt middle refuses to load; whatever bytes a file holds, reading it ends
//! with values or an error and takes memory in proportion to the file.

pub mod aof;
pub mod file;
pub mod log;
pub mod rdb;
pub mod snapshot;
pub mod unit;
