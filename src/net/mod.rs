//! Sockets: listening, reading, writing, one task per connection.
//!
//! Owns the event loops' connection handling. Must not name any command. Keeps: every buffer has a
//! limit; replies leave in request order; a connection stays on its event loop for life; no lock of
//! the keyspace is held while a task waits.

mod care;
mod connection;
mod listener;
mod reactor;
mod sink;
mod stream;

pub use listener::{Acceptor, Arrival, BindError, Listeners, Listening, bind};
pub use reactor::Reactor;
