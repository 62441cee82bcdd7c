//! The scripts of the process: the engine behind its mutex, and what is known without it.
//!
//! While a script runs, its thread holds the engine. Everything here that others may ask meanwhile
//! (who runs, its end, figures for INFO) is beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use super::engine::Engine;
use super::error::ScriptError;
use crate::resp::OwnedArgv;

/// The right to use the engine.
pub type EngineGuard<'a> = MutexGuard<'a, Engine>;

/// The scripts and functions of the process.
pub struct Scripts {
    /// The interpreter. Locked before any shard; whoever holds it runs scripts.
    pub engine: Mutex<Engine>,
    shared: Arc<Shared>,
}

/// What is to be known of a script that has been running for a while.
#[derive(Clone, Debug)]
pub struct Running {
    /// The digest of the script, or the name of the function.
    pub name: String,
    /// Whether it is a function.
    pub is_function: bool,
    /// The request that runs it.
    pub command: OwnedArgv,
    /// When it began.
    pub started: Instant,
}

/// What INFO says of scripts.
#[derive(Debug, Default)]
pub struct Figures {
    /// Cached scripts.
    pub scripts: AtomicUsize,
    /// Bytes of their sources and entries.
    pub scripts_bytes: AtomicUsize,
    /// Functions of all libraries.
    pub functions: AtomicUsize,
    /// Libraries.
    pub libraries: AtomicUsize,
    /// Bytes of their sources and entries.
    pub libraries_bytes: AtomicUsize,
    /// Bytes the interpreter uses.
    pub vm_bytes: AtomicUsize,
    /// Scripts that made room for others.
    pub evicted: AtomicU64,
}

/// Whether a running script may still write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// It may, and cannot be killed any more.
    Allowed,
    /// It has been killed.
    Killed,
}

#[derive(Default)]
pub(super) struct Shared {
    running: Mutex<Option<Running>>,
    phase: AtomicU8,
    /// Whether the running script came from the server's primary.
    from_primary: AtomicU8,
    pub(super) figures: Figures,
}

/// The script has changed nothing and was not killed.
const CLEAN: u8 = 0;
const WRITTEN: u8 = 1;
const KILLED: u8 = 2;

impl Scripts {
    /// An engine without scripts, whose scripts are told `version` as that of the server.
    pub fn new(version: &str) -> Self {
        let shared = Arc::new(Shared::default());
        Self { engine: Mutex::new(Engine::new(version, Arc::clone(&shared))), shared }
    }

    /// What INFO says.
    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// How many libraries and functions there are.
    pub fn library_counts(&self) -> (usize, usize) {
        let figures = &self.shared.figures;
        (figures.libraries.load(Ordering::Relaxed), figures.functions.load(Ordering::Relaxed))
    }

    /// The script that has been running for a while, if there is one.
    pub fn running(&self) -> Option<Running> {
        self.shared.running.lock().clone()
    }

    /// Says of the running script whether it came from the server's primary.
    pub fn set_from_primary(&self, from_primary: bool) {
        self.shared.from_primary.store(u8::from(from_primary), Ordering::Relaxed);
    }

    /// Notes that the running script is about to write.
    pub fn begin_write(&self) -> Writing {
        let (phase, relaxed) = (&self.shared.phase, Ordering::Relaxed);
        match phase.compare_exchange(CLEAN, WRITTEN, relaxed, relaxed) {
            Ok(_) | Err(WRITTEN) => Writing::Allowed,
            Err(_) => Writing::Killed,
        }
    }

    /// Whether the running script has written.
    pub fn has_written(&self) -> bool {
        self.shared.phase.load(Ordering::Relaxed) == WRITTEN
    }

    /// What others are told while a script keeps the server busy.
    pub fn busy_error(&self) -> ScriptError {
        match &*self.shared.running.lock() {
            Some(running) if running.is_function => ScriptError::BusyFunction,
            _ => ScriptError::BusyScript,
        }
    }

    /// Ends the running script, which must be a function if `function` is set.
    pub fn kill(&self, function: bool) -> Result<(), ScriptError> {
        let running = self.shared.running.lock();
        let Some(running) = &*running else {
            return Err(ScriptError::NotBusy);
        };
        if self.shared.from_primary.load(Ordering::Relaxed) != 0 {
            return Err(ScriptError::UnkillablePrimary);
        }
        if self.has_written() {
            return Err(ScriptError::Unkillable);
        }
        match (function, running.is_function) {
            (false, true) => return Err(ScriptError::BusyFunction),
            (true, false) => return Err(ScriptError::BusyScript),
            _ => {}
        }
        let relaxed = Ordering::Relaxed;
        match self.shared.phase.compare_exchange(CLEAN, KILLED, relaxed, relaxed) {
            Err(WRITTEN) => Err(ScriptError::Unkillable),
            _ => Ok(()),
        }
    }
}

impl Shared {
    /// A script begins.
    pub(super) fn begin(&self) {
        self.phase.store(CLEAN, Ordering::Relaxed);
    }

    /// Shows others what runs.
    pub(super) fn publish(&self, running: impl FnOnce() -> Running) {
        self.running.lock().get_or_insert_with(running);
    }

    /// The script that was shown has ended.
    pub(super) fn withdraw(&self) {
        *self.running.lock() = None;
        self.from_primary.store(0, Ordering::Relaxed);
    }

    pub(super) fn is_killed(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == KILLED
    }
}
