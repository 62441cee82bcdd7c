//! The registry of connections, reached from every event loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;

use super::client::ClientHandle;

/// All connections by id.
#[derive(Default)]
pub struct Clients {
    by_id: DashMap<u64, Arc<ClientHandle>>,
    next_id: AtomicU64,
    len: AtomicUsize,
    /// Connections by event loop.
    loads: Mutex<Vec<usize>>,
}

impl Clients {
    /// A number for a new connection, from 1 on.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a connection.
    pub fn add(&self, handle: Arc<ClientHandle>) {
        self.len.fetch_add(1, Ordering::Relaxed);
        self.change_load(handle.thread, |load| load + 1);
        self.by_id.insert(handle.id, handle);
    }

    /// Removes a connection.
    pub fn remove(&self, id: u64) {
        if let Some((_, handle)) = self.by_id.remove(&id) {
            self.len.fetch_sub(1, Ordering::Relaxed);
            self.change_load(handle.thread, |load| load.saturating_sub(1));
        }
    }

    fn change_load(&self, thread: usize, change: impl Fn(usize) -> usize) {
        let mut loads = self.loads.lock();
        let len = loads.len().max(thread + 1);
        loads.resize(len, 0);
        loads[thread] = change(loads[thread]);
    }

    /// How many connections each of `threads` event loops has.
    pub fn loads(&self, threads: usize) -> Vec<usize> {
        let mut loads = self.loads.lock().clone();
        loads.resize(threads, 0);
        loads
    }

    /// The connection of that id.
    pub fn get(&self, id: u64) -> Option<Arc<ClientHandle>> {
        self.by_id.get(&id).map(|handle| Arc::clone(&handle))
    }

    /// All connections by ascending id.
    pub fn all(&self) -> Vec<Arc<ClientHandle>> {
        let mut all: Vec<_> = self.by_id.iter().map(|entry| Arc::clone(entry.value())).collect();
        all.sort_unstable_by_key(|handle| handle.id);
        all
    }
}
