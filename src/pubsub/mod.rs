//! Publish and subscribe: who listens to what, and the mail on its way to connections.
//!
//! Owns the registry of channels, patterns and shard channels ([`PubSub`]), what one client listens to
//! ([`Subscriptions`]), and the queue of [`Message`]s between whoever posts and the connection that
//! sends them ([`Mailbox`]). Must not know clients, commands or sockets. Keeps: all who listen to a
//! channel get its messages in one order; a mailbox never holds more than its bound; a message is
//! encoded once however many get it.

mod mailbox;
mod message;
mod registry;
mod subscriptions;

pub use mailbox::Mailbox;
pub use message::Message;
pub use registry::{Kind, Overflowed, PubSub};
pub use subscriptions::Subscriptions;
