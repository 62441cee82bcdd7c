//! `maxmemory-clients`: what the connections take together is bounded, and the largest go first.
//!
//! Each connection's event loop says what its client takes now; the sum is kept by differences, and only
//! while there is a limit. Who brings it above the limit closes others, on whichever loop they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::{ClientFlags, ClientHandle, Server};
use crate::base::limits::CLIENTS_MEMORY_MIN;
use crate::config::Config;

/// After nobody could be closed, nobody is looked for until the sum has grown by so many bytes.
const HOPELESS_STEP: usize = 16 * 1024;

/// What clients take and may take, in bytes.
#[derive(Default)]
pub struct ClientMemory {
    /// The limit; 0 is none.
    max: AtomicUsize,
    used: AtomicUsize,
    /// Where the sum was when nobody could be closed.
    hopeless_at: AtomicUsize,
    evicted: AtomicU64,
}

impl ClientMemory {
    /// Takes over what the configuration says.
    pub(super) fn configure(&self, config: &Config) {
        let (max, whole) = (config.int("maxmemory-clients"), config.int("maxmemory"));
        let max = match max {
            0 => 0,
            // A share of no limit is none.
            share if share < 0 && whole == 0 => 0,
            share if share < 0 => (whole as f64 * -(share as f64) / 100.0) as usize,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
        };
        let max = if max == 0 { 0 } else { max.max(CLIENTS_MEMORY_MIN) };
        self.max.store(max, Relaxed);
        self.hopeless_at.store(0, Relaxed);
    }

    /// Clients closed because all together took too much.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    /// Back to zero (CONFIG RESETSTAT).
    pub fn reset(&self) {
        self.evicted.store(0, Relaxed);
    }
}

impl Server {
    /// Whether `maxmemory-clients` limits anything.
    pub fn limits_client_memory(&self) -> bool {
        self.client_memory.max.load(Relaxed) != 0
    }

    /// Notes what a client takes now, and closes the largest ones while all together take too much;
    /// whether it was one of them.
    ///
    /// Of its output, `passing` bytes are about to be written and do not count.
    #[inline]
    pub fn account_client(&self, handle: &ClientHandle, passing: usize) -> bool {
        self.client_memory.max.load(Relaxed) != 0 && self.account_limited(handle, passing)
    }

    fn account_limited(&self, handle: &ClientHandle, passing: usize) -> bool {
        let takes = handle.memory().saturating_sub(passing);
        let now = if handle.is_killed() { 0 } else { takes };
        self.move_account(handle, now);
        let memory = &self.client_memory;
        let (used, hopeless_at) = (memory.used.load(Relaxed), memory.hopeless_at.load(Relaxed));
        if used <= memory.max.load(Relaxed) {
            if hopeless_at != 0 {
                memory.hopeless_at.store(0, Relaxed);
            }
        } else if hopeless_at == 0 || used >= hopeless_at + HOPELESS_STEP {
            return self.evict_clients(handle);
        }
        false
    }

    fn move_account(&self, handle: &ClientHandle, now: usize) -> usize {
        let before = handle.accounted.swap(now, Relaxed);
        // Wraps where it shrinks.
        self.client_memory.used.fetch_add(now.wrapping_sub(before), Relaxed);
        before
    }

    /// Forgets what a client took that is gone.
    pub fn forget_client_memory(&self, handle: &ClientHandle) {
        self.move_account(handle, 0);
    }

    /// Notes what all clients take, also those whose event loops have not said so for a while.
    pub fn account_clients(&self) {
        self.client_memory.hopeless_at.store(0, Relaxed);
        if self.client_memory.max.load(Relaxed) != 0 {
            let all = self.clients.all();
            for handle in &all {
                self.account_limited(handle, 0);
            }
            // One that ended while another thread noted it would count for ever.
            let sum = all.iter().map(|handle| handle.accounted.load(Relaxed)).sum();
            self.client_memory.used.store(sum, Relaxed);
        }
    }

    /// Closes the largest clients; whether `own` was one of them.
    #[cold]
    fn evict_clients(&self, own: &ClientHandle) -> bool {
        let mut is_closed = false;
        let memory = &self.client_memory;
        let may_go = |handle: &Arc<ClientHandle>| {
            !ClientFlags(handle.flags.load(Relaxed)).has(ClientFlags::NO_EVICT)
                && !handle.is_killed()
        };
        let mut all: Vec<_> = self.clients.all().into_iter().filter(may_go).collect();
        all.sort_by_key(|handle| handle.accounted.load(Relaxed));
        while memory.used.load(Relaxed) > memory.max.load(Relaxed) {
            let Some(largest) = all.pop() else {
                memory.hopeless_at.store(memory.used.load(Relaxed), Relaxed);
                tracing::warn!("Over client maxmemory after evicting all evictable clients");
                break;
            };
            if largest.is_killed() {
                continue;
            }
            tracing::info!(
                "Evicting client: id={} addr={} tot-mem={}",
                largest.id,
                largest.peer.addr(),
                largest.memory()
            );
            largest.kill();
            is_closed |= largest.id == own.id;
            self.move_account(&largest, 0);
            memory.evicted.fetch_add(1, Relaxed);
        }
        is_closed
    }
}
