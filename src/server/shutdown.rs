//! The way down: who asked, and telling the event loops.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// How the process is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownMode {
    /// Connections are closed, exit code 0.
    Graceful,
    /// At once, exit code 1: the second SIGINT.
    Insisted,
}

/// Whether the process is ending.
#[derive(Default)]
pub struct Shutdown {
    /// 0 running, 1 graceful, 2 insisted.
    state: AtomicU8,
    changed: Notify,
}

impl Shutdown {
    /// Asks the process to end.
    pub fn request(&self, mode: ShutdownMode) {
        let state = if mode == ShutdownMode::Graceful { 1 } else { 2 };
        if self.state.fetch_max(state, Ordering::SeqCst) == 0 {
            tracing::warn!("User requested shutdown...");
        }
        self.changed.notify_waiters();
    }

    /// How the process is to end, if it is.
    pub fn requested(&self) -> Option<ShutdownMode> {
        match self.state.load(Ordering::SeqCst) {
            0 => None,
            1 => Some(ShutdownMode::Graceful),
            _ => Some(ShutdownMode::Insisted),
        }
    }

    /// Completes when the process is to end.
    pub async fn wait(&self) -> ShutdownMode {
        loop {
            let changed = self.changed.notified();
            if let Some(mode) = self.requested() {
                return mode;
            }
            changed.await;
        }
    }
}
