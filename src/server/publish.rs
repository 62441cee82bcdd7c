//! Publishing, and what becomes of those who cannot keep up.

use std::sync::atomic::Ordering;

use super::Server;
use crate::pubsub::Overflowed;

impl Server {
    /// Posts a message to all who listen to a channel; returns how many copies that makes.
    #[inline]
    pub fn publish(&self, channel: &[u8], payload: &[u8]) -> usize {
        let (receivers, overflowed) = self.pubsub.publish(channel, payload);
        self.note_overflowed(&overflowed);
        receivers
    }

    /// Posts a message to all who listen to a shard channel; returns how many do.
    pub fn publish_in_shard(&self, channel: &[u8], payload: &[u8]) -> usize {
        let (receivers, overflowed) = self.pubsub.publish_in_shard(channel, payload);
        self.note_overflowed(&overflowed);
        receivers
    }

    /// Counts and logs clients that were closed because their mail exceeded the bound of their output.
    pub fn note_overflowed(&self, overflowed: &Overflowed) {
        for handle in overflowed.iter().filter_map(|mailbox| self.clients.get(mailbox.id)) {
            self.note_output_limit(handle.id, &handle.peer.addr());
        }
    }

    /// Counts and logs a client that is closed because its output exceeds its bound.
    pub fn note_output_limit(&self, id: u64, addr: &str) {
        tracing::warn!(
            "Client id={id} addr={addr} scheduled to be closed ASAP for overcoming of output buffer \
             limits."
        );
        self.stats.output_limit_disconnections.fetch_add(1, Ordering::Relaxed);
    }
}
