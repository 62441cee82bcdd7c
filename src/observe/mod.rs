//! What is counted, logged and measured.
//!
//! Owns counters, the log writer and the allocator's figures. Must not know commands or clients.
//! Keeps: a hot-path counter is written by one thread only and costs a plain addition.

pub mod allocator;
pub mod census;
pub mod command_log;
pub mod hot_keys;
pub mod hot_session;
mod latency;
pub mod latency_monitor;
pub mod log;
pub mod stats;
