//! Commands: one table row and one function each, in the file of their family.
//!
//! To add a command: write its row at the head of the family file and its handler in the same order
//! below, its arguments in `docs/<family>.rs`, and a golden script that says what it answers. Arity
//! errors, COMMAND and its subcommands, ACL categories, key extraction, the locks it runs under,
//! statistics and its default propagation derive from the row.
//!
//! Owns what commands mean. Must not know sockets or how it is called. Keeps: every error comes
//! before the first effect; the keyspace changes only through `ctx.db`; a handler does no I/O, takes
//! no clock and no lock.

mod acl;
mod args;
mod background;
mod bitmap;
mod blocking;
mod client;
mod client_filter;
mod client_line;
mod config;
mod connection;
mod context;
mod debug;
mod debug_layout;
mod digest;
pub mod docs;
mod dump;
mod effects;
mod error;
mod expire;
mod function;
mod geo;
mod geo_search;
mod hash;
mod hash_ex;
mod hash_expire;
mod hash_import;
mod hash_walk;
mod hotkeys;
mod hyperloglog;
mod introspect;
mod key;
mod keys;
mod latency;
mod list;
mod list_blocking;
mod list_move;
mod memory;
mod migrate;
mod monitor;
mod options;
mod permissions;
mod persistence;
mod pubsub;
mod reading;
mod scan;
mod scripting;
mod server;
mod set;
mod set_algebra;
mod slowlog;
mod sort;
mod spec;
mod stream;
mod string;
mod string_numbers;
mod string_ranges;
mod table;
mod tracking;
mod transaction;
mod zset;

pub use args::Args;
pub use background::{Answer, Background, Pending};
pub use context::{Ctx, Flow, Job};
pub use effects::{Effects, STREAM};
pub use error::CmdError;
pub use keys::{KeyUse, first_key, key_uses, keys_of, only_key};
pub use monitor::{is_shown, show_to_monitors};
pub use permissions::{Lack, check_client, check_handle, note_lack};
pub use server::parse_shutdown;
pub use spec::{Command, Flags, Group, Handler, KeySpec, Locks};
pub use table::{CommandTable, Registered};
pub use tracking::end_tracking;
pub use transaction::forget_watched;
