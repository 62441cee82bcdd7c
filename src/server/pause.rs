//! CLIENT PAUSE: until when, and for which commands, clients wait.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// Which commands wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseKind {
    /// Commands that may write.
    Write,
    /// All commands.
    All,
}

/// The state of CLIENT PAUSE.
#[derive(Default)]
pub struct Pause {
    /// Until when writes wait, in Unix milliseconds; 0 when they do not.
    write_until_ms: AtomicI64,
    /// Until when everything waits.
    all_until_ms: AtomicI64,
    /// Whether the server saves its data for the last time, so that writes wait.
    closing: AtomicBool,
    ended: Notify,
}

impl Pause {
    /// Lets commands wait until `until_ms`; a running pause is never shortened.
    ///
    /// As in Redis, a pause of all commands stays one when a pause of writes is asked for meanwhile.
    pub fn begin(&self, kind: PauseKind, until_ms: i64, now_ms: i64) {
        let until_ms = until_ms.max(self.until_ms());
        if kind == PauseKind::All || self.all_until_ms.load(Ordering::Relaxed) > now_ms {
            self.all_until_ms.store(until_ms, Ordering::Relaxed);
        }
        self.write_until_ms.store(until_ms, Ordering::Relaxed);
    }

    /// Lets writes wait until the server stops, or [`Self::end_closing`].
    pub fn begin_closing(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// The server goes on.
    pub fn end_closing(&self) {
        self.closing.store(false, Ordering::Relaxed);
        self.ended.notify_waiters();
    }

    /// Ends the pause.
    pub fn end(&self) {
        self.write_until_ms.store(0, Ordering::Relaxed);
        self.all_until_ms.store(0, Ordering::Relaxed);
        self.ended.notify_waiters();
    }

    /// Whether a command waits; `write` says whether it may write.
    pub fn is_paused(&self, write: bool, now_ms: i64) -> bool {
        self.all_until_ms.load(Ordering::Relaxed) > now_ms || write && self.is_active(now_ms)
    }

    /// Whether any pause lasts.
    pub fn is_active(&self, now_ms: i64) -> bool {
        self.until_ms() > now_ms || self.closing.load(Ordering::Relaxed)
    }

    /// Until when the pause lasts, in Unix milliseconds.
    pub fn until_ms(&self) -> i64 {
        self.write_until_ms.load(Ordering::Relaxed)
    }

    /// Completes when no pause lasts any more; `now_ms` tells the time.
    pub async fn over(&self, now_ms: impl Fn() -> i64) {
        loop {
            // An end between the look at the time and the wait must not be missed.
            let ended = self.ended.notified();
            if self.closing.load(Ordering::Relaxed) {
                ended.await;
                continue;
            }
            let Ok(left_ms @ 1..) = u64::try_from(self.until_ms() - now_ms()) else { return };
            let _ = tokio::time::timeout(Duration::from_millis(left_ms), ended).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_never_shortened_or_softened() {
        let pause = Pause::default();
        pause.begin(PauseKind::All, 100, 0);
        pause.begin(PauseKind::Write, 50, 1);
        assert!(pause.is_paused(false, 99) && !pause.is_paused(false, 100));
        pause.end();
        pause.begin(PauseKind::Write, 50, 1);
        assert!(pause.is_paused(true, 49) && !pause.is_paused(false, 49));
    }
}
