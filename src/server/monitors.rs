//! MONITOR: those who are sent every command.

use std::sync::Arc;

use parking_lot::Mutex;

use super::client::{Client, ClientFlags, ClientHandle};
use super::{Server, gate};
use crate::base::clock;
use crate::pubsub::Message;

/// The clients that monitor all commands.
#[derive(Default)]
pub struct Monitors(Mutex<Vec<Arc<ClientHandle>>>);

impl Server {
    /// Lets a client monitor all commands; `false` when it does already.
    pub fn begin_monitoring(&self, client: &mut Client) -> bool {
        if client.flags.has(ClientFlags::MONITOR) {
            return false;
        }
        client.set_flags(ClientFlags::MONITOR, true);
        let mut monitors = self.monitors.0.lock();
        monitors.push(Arc::clone(&client.handle));
        self.set_gate(gate::MONITORS, true);
        true
    }

    /// Ends what [`Self::begin_monitoring`] began.
    pub fn end_monitoring(&self, client: &mut Client) {
        if !client.flags.has(ClientFlags::MONITOR) {
            return;
        }
        client.set_flags(ClientFlags::MONITOR, false);
        let mut monitors = self.monitors.0.lock();
        monitors.retain(|handle| handle.id != client.handle.id);
        self.set_gate(gate::MONITORS, !monitors.is_empty());
    }

    /// Sends all monitors one line: when, where, by whom, and `command`, which is quoted already.
    /// All of them get all lines in one order.
    pub fn feed_monitors(&self, db: usize, origin: &str, command: &[u8]) {
        let monitors = self.monitors.0.lock();
        let now_us = clock::now_us();
        let head = format!("{}.{:06} [{db} {origin}] ", now_us / 1_000_000, now_us % 1_000_000);
        let mut line = head.into_bytes();
        line.extend_from_slice(command);
        line.extend_from_slice(b"\r\n");
        let message = Message::encoded(b'+', line);
        monitors.iter().for_each(|handle| self.post(handle, &message));
    }
}
