//! Where the memory goes, for INFO and MEMORY.
//!
//! All figures are the allocator's or counted where the memory is held; what nobody counts is part of
//! the data set.

use std::sync::atomic::Ordering::Relaxed;

use super::Server;
use crate::base::clock;
use crate::keyspace::DbFigures;
use crate::observe::allocator::Figures;

/// Memory by use, in bytes.
pub struct MemoryUse {
    /// What the allocator says.
    pub allocator: Figures,
    /// Resident memory of the process.
    pub resident: usize,
    /// The most that was ever allocated.
    pub peak: usize,
    /// Allocated before there was any data.
    pub startup: usize,
    /// Clients' buffers and what the server knows of them.
    pub clients: usize,
    /// Writes that wait to be written to the append-only file.
    pub log_buffer: usize,
    /// Cached scripts.
    pub scripts: usize,
    /// Libraries of functions.
    pub functions: usize,
    /// The script interpreter.
    pub interpreter: usize,
    /// The tables that keys are found by.
    pub tables: usize,
    /// Keys.
    pub keys: usize,
}

/// How much more one kind of memory is than another.
pub struct Ratio {
    /// INFO's name for it, without `_ratio`.
    pub name: &'static str,
    /// The greater, in bytes.
    pub part: usize,
    /// The smaller, in bytes.
    pub whole: usize,
}

impl MemoryUse {
    /// What is not data.
    pub fn overhead(&self) -> usize {
        let rest =
            self.clients + self.log_buffer + self.scripts + self.functions + self.interpreter;
        (self.startup + rest + self.tables).min(self.allocator.allocated)
    }

    /// What is data.
    pub fn dataset(&self) -> usize {
        self.allocator.allocated - self.overhead()
    }

    /// The data's share of what came after the start, in percent.
    pub fn dataset_percent(&self) -> f64 {
        let net = self.allocator.allocated.saturating_sub(self.startup).max(1);
        self.dataset() as f64 * 100.0 / net as f64
    }

    /// The share of the peak that is in use, in percent.
    pub fn peak_percent(&self) -> f64 {
        self.allocator.allocated as f64 * 100.0 / self.peak.max(1) as f64
    }

    /// The four ratios of INFO.
    pub fn ratios(&self) -> [Ratio; 4] {
        let Figures { allocated, active, resident } = self.allocator;
        let ratio = |name, part, whole| Ratio { name, part, whole };
        [
            ratio("allocator_frag", active, allocated),
            ratio("allocator_rss", resident, active),
            ratio("rss_overhead", self.resident, resident),
            ratio("mem_fragmentation", self.resident, allocated),
        ]
    }
}

impl Server {
    /// Where the memory goes; `databases` is what is in them, `figures` what the allocator said before
    /// anything was made to tell it.
    pub fn memory_use(&self, figures: Figures, databases: &[DbFigures]) -> MemoryUse {
        let scripts = self.scripts.figures();
        let clients = self.clients.all().iter().map(|client| client.memory()).sum();
        MemoryUse {
            allocator: figures,
            resident: resident_bytes().unwrap_or(figures.resident),
            peak: self.note_memory(figures.allocated),
            startup: self.startup_memory.load(Relaxed),
            clients,
            log_buffer: self.appending_figures().file.map_or(0, |file| file.waiting as usize),
            scripts: scripts.scripts_bytes.load(Relaxed),
            functions: scripts.libraries_bytes.load(Relaxed),
            interpreter: scripts.vm_bytes.load(Relaxed),
            tables: databases.iter().map(|db| db.overhead).sum(),
            keys: databases.iter().map(|db| db.keys).sum(),
        }
    }

    /// Remembers that `used` bytes are in use, and returns the most that ever were.
    pub fn note_memory(&self, used: usize) -> usize {
        let before = self.peak_memory.fetch_max(used, Relaxed);
        if used > before {
            self.peak_memory_at_s.store(clock::now_ms() / 1000, Relaxed);
        }
        before.max(used)
    }
}

/// Resident memory of the process from procfs.
fn resident_bytes() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size())
}
