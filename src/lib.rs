//! Redstart: an in-memory data server that speaks the Redis protocol.
//!
//! The modules are layers. Each may use only those above it in this list, and modules of one layer
//! do not know each other; `tests/it/tidy.rs` checks it, ARCHITECTURE.md explains it.
//!
//! | layer | modules | what it owns |
//! |---|---|---|
//! | 0 | [`base`] | text, numbers, time, randomness, hashes, limits |
//! | 1 | [`resp`], [`encoding`] | the wire codec; pointer-level structures |
//! | 2 | [`value`] | the types a key can hold |
//! | 3 | [`keyspace`] | shards, databases, entries, expiry |
//! | 4 | [`config`] | directives |
//! | 5 | [`observe`] | counters, log, allocator |
//! | 6 | [`acl`] | users and what they may do |
//! | 6 | [`pubsub`] | who listens to what, and the mail on its way to them |
//! | 6 | [`script`] | the Lua interpreter, scripts and functions |
//! | 6 | [`persist`] | snapshots, the append-only file, the log of writes |
//! | 7 | [`server`] | what the process shares |
//! | 8 | [`command`] | the command table and the families |
//! | 9 | [`exec`] | the one path a command takes |
//! | 10 | [`net`] | sockets and event loops |
//! | 11 | [`http`] | metrics, health and the console |
//! | 12 | [`boot`] | starting and stopping |
//! | 12 | [`tools`] | the programs beside the server |

pub mod acl;
pub mod base;
pub mod boot;
pub mod command;
pub mod config;
pub mod encoding;
pub mod exec;
pub mod http;
pub mod keyspace;
pub mod net;
pub mod observe;
pub mod persist;
pub mod pubsub;
pub mod resp;
pub mod script;
pub mod server;
pub mod tools;
pub mod value;

/// The allocator of the program, its tests and its benchmarks.
#[cfg(not(feature = "system-allocator"))]
#[global_allocator]
static ALLOCATOR: observe::allocator::Jemalloc = observe::allocator::Jemalloc;
