//! Frees what is costly to free on a thread of its own, so that no event loop waits for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use tokio::sync::Notify;

use crate::keyspace::Trash;

/// The thread and the way to it.
pub struct LazyFree {
    sender: mpsc::Sender<Vec<Trash>>,
    pending: Arc<AtomicU64>,
    freed: Arc<AtomicU64>,
    progress: Arc<Notify>,
}

impl LazyFree {
    /// Starts the thread; it ends with the `LazyFree`.
    pub fn start() -> Self {
        let (sender, receiver) = mpsc::channel::<Vec<Trash>>();
        let (pending, freed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counters = (Arc::clone(&pending), Arc::clone(&freed));
        let progress = Arc::new(Notify::new());
        let bell = Arc::clone(&progress);
        std::thread::Builder::new()
            .name("lazyfree".to_owned())
            .spawn(move || {
                for trash in receiver {
                    let count = trash.len() as u64;
                    drop(trash);
                    // What is not pending any more has been counted.
                    counters.1.fetch_add(count, Ordering::Relaxed);
                    counters.0.fetch_sub(count, Ordering::Release);
                    bell.notify_waiters();
                }
            })
            .expect("the system has room for a thread");
        Self { sender, pending, freed, progress }
    }

    /// Hands memory over.
    pub fn free(&self, trash: Vec<Trash>) {
        self.pending.fetch_add(trash.len() as u64, Ordering::Relaxed);
        self.sender.send(trash).expect("the thread lives as long as its sender");
    }

    /// Values and tables that wait to be freed.
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::Acquire)
    }

    /// Completes when something was freed.
    pub async fn freed_some(&self) {
        self.progress.notified().await;
    }

    /// Counts what was freed from zero again (CONFIG RESETSTAT).
    pub fn reset(&self) {
        self.freed.store(0, Ordering::Relaxed);
    }

    /// Values and tables freed so far.
    pub fn freed(&self) -> u64 {
        self.freed.load(Ordering::Relaxed)
    }
}
