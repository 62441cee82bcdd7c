//! The stream of writes: the only door to the append-only file and to replicas.
//!
//! A command's effects are appended while its shards are still locked, so the order of the stream is
//! an order in which the keyspace really changed. As long as nobody reads the stream, the cost is one
//! relaxed load per command.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// One command of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Propagated {
    /// The database it applies to.
    pub db: usize,
    /// Its arguments.
    pub argv: Vec<Vec<u8>>,
}

/// The stream.
#[derive(Default)]
pub struct Propagation {
    wanted: AtomicBool,
    captured: Mutex<Vec<Propagated>>,
}

impl Propagation {
    /// Whether anybody reads the stream.
    #[inline]
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Starts collecting the stream in memory.
    pub fn capture(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Appends commands that belong together: several are a transaction to who reads the stream.
    pub fn append_unit(&self, unit: Vec<Propagated>) {
        let mut captured = self.captured.lock();
        let frame = |word: &[u8]| Propagated { db: unit[0].db, argv: vec![word.to_vec()] };
        match unit.len() {
            0 | 1 => captured.extend(unit),
            _ => {
                let (head, end) = (frame(b"MULTI"), frame(b"EXEC"));
                captured.push(head);
                captured.extend(unit);
                captured.push(end);
            }
        }
    }

    /// Takes what was collected.
    pub fn take(&self) -> Vec<Propagated> {
        std::mem::take(&mut self.captured.lock())
    }
}
