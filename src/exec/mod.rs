//! The one path a command takes: resolve, admit, lock, run, commit, reply.
//!
//! Owns the order of those steps, for every caller. Must not know sockets. Keeps: it is the only
//! caller of handlers; effects are applied while the command's shards are still locked; an error
//! leaves no trace of a reply but itself.

mod admission;
mod ahead;
mod batch;
mod block;
mod busy;
mod call;
mod commit;
mod eval;
mod evict;
mod expire;
mod inner;
mod multi;
mod remember;
mod removed;
mod replay;
mod sample;
#[cfg(test)]
mod tests;
mod track;
mod work;

pub use batch::Batch;
pub use busy::Standin;
pub use call::{Cycle, Executor, Progress, Stop};
pub use expire::ExpireCursor;
pub use replay::RUNNER;
