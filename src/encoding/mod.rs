//! Byte-level and pointer-level structures that values and the keyspace are built from.
//!
//! Owns the segment table. Must not know keys' meaning, clocks or replies. Keeps: each structure has
//! a model test; memory is freed by dropping, never by convention.

pub mod table;
