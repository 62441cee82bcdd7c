//! Sockets: listening, reading, writing, one task per connection.
//!
//! Owns the event loops' connection handling. Must not name any command. Keeps: every buffer has a
//! limit; replies leave in request order; a connection stays on its event loop for life; no lock of
//! the keyspace is held while a task waits.

mod bind;
mod care;
mod connection;
mod listener;
mod outbox;
mod reactor;
mod sink;
mod stream;
mod tls;

pub use bind::{BindError, bind_http};
pub use listener::{Acceptor, Arrival, Listeners, Listening, bind, is_ended};
pub use reactor::Reactor;
pub use tls::TlsError;
