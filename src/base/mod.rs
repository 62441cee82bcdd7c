//! Leaf tools that know nothing of Redis's data or of this server's parts.
//!
//! Owns text and number forms, the clock, randomness, hashing and glob matching. Must not know any
//! other layer. Keeps: every function is total over its input bytes, and only `clock` and `random`
//! touch the outside world.

pub mod bytes;
pub mod clock;
pub mod float80;
pub mod glob;
pub mod hash;
pub mod idle;
pub mod limits;
pub mod line;
pub mod number;
pub mod os_error;
pub mod quote;
pub mod random;
