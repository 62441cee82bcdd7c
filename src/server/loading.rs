//! Loading: at the start, and when DEBUG asks for it.
//!
//! The server answers meanwhile, but hardly anything: see [`gate::LOADING`].

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;

use super::{Purpose, Server, gate};
use crate::base::{clock, os_error};
use crate::keyspace::{Access, Changes, DbView, LockSet};
use crate::persist::aof::directory::Directory;
use crate::persist::aof::load::{self as aof_load, LoadOptions, Replay};
use crate::persist::aof::manifest::Manifest;
use crate::persist::aof::reader::Commands;
use crate::persist::rdb::load::{self as rdb_load, Hooks};
use crate::resp::Argv;

/// Runs commands of a file again.
pub trait RunAgain {
    /// Runs one; an error is why it cannot be run, as `Unknown command 'x'`.
    fn run(&mut self, argv: Argv<'_>) -> Result<(), String>;
}

/// Makes who runs commands again.
pub type MakeRunner = fn(&Arc<Server>) -> Box<dyn RunAgain>;

/// How far loading is.
#[derive(Default)]
pub struct Loading {
    active: AtomicBool,
    started_ms: AtomicI64,
    total: AtomicU64,
    /// Bytes of files that are loaded whole.
    before: AtomicU64,
    /// Bytes of the file that is being loaded.
    current: AtomicU64,
    last: Mutex<LoadedFigures>,
    runner: Mutex<Option<MakeRunner>>,
}

/// What INFO says of what was loaded last.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadedFigures {
    /// Keys that are in the keyspace since.
    pub keys: u64,
    /// Keys that had expired.
    pub expired: u64,
    /// Memory that the file's writer used, in bytes, as the file says.
    pub used_mem: u64,
}

/// What INFO says while loading goes on.
#[derive(Clone, Copy, Debug)]
pub struct LoadingFigures {
    /// When it began, in Unix seconds.
    pub started_s: i64,
    /// Bytes to load.
    pub total: u64,
    /// Bytes loaded.
    pub loaded: u64,
    /// Milliseconds since it began.
    pub elapsed_ms: i64,
}

/// How a snapshot is loaded.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotLoad {
    /// Whether the log of writes goes on after it, so that what has expired is to stay.
    pub precedes_log: bool,
    /// Whether keys that are there already are replaced.
    pub replaces: bool,
}

impl Loading {
    /// Whether the data is being loaded.
    pub fn is_active(&self) -> bool {
        self.active.load(Relaxed)
    }

    /// Who runs commands again, once that is known.
    pub fn set_runner(&self, runner: MakeRunner) {
        *self.runner.lock() = Some(runner);
    }

    /// What was loaded last.
    pub fn last(&self) -> LoadedFigures {
        *self.last.lock()
    }

    /// How far it is, if it goes on.
    pub fn figures(&self) -> Option<LoadingFigures> {
        let started_ms = self.started_ms.load(Relaxed);
        self.is_active().then(|| LoadingFigures {
            started_s: started_ms / 1000,
            total: self.total.load(Relaxed),
            loaded: self.before.load(Relaxed) + self.current.load(Relaxed),
            elapsed_ms: clock::now_ms() - started_ms,
        })
    }

    fn begin(&self, total: u64) {
        self.total.store(total, Relaxed);
        self.before.store(0, Relaxed);
        self.current.store(0, Relaxed);
    }
}

impl Server {
    /// Has clients wait for the data.
    pub fn begin_loading(&self) {
        self.loading.started_ms.store(clock::now_ms(), Relaxed);
        self.loading.active.store(true, Relaxed);
        self.set_gate(gate::LOADING, true);
    }

    /// The data is there.
    pub fn end_loading(&self) {
        self.saving.note_loaded(self.stats.sum(|counters| &counters.dirty));
        self.loading.active.store(false, Relaxed);
        self.set_gate(gate::LOADING, false);
    }

    /// Loads what was kept, and begins to keep what changes.
    ///
    /// # Errors
    ///
    /// Why the server must not start.
    pub fn load_data(self: &Arc<Self>) -> Result<(), String> {
        if !self.config.read().flag("appendonly") {
            return self.load_snapshot_file();
        }
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let directory = self.append_directory().map_err(|error| text(&error))?;
        let mut manifest = directory.load().map_err(|error| text(&error))?;
        directory.upgrade(&mut manifest).map_err(|error| text(&error))?;
        if manifest.is_empty() {
            if self.snapshot_path().exists() {
                tracing::info!("There is no append only file yet: loading the snapshot instead");
            }
            self.load_snapshot_file()?;
        } else {
            self.load_append_only(&directory, &manifest)?;
        }
        self.begin_appending(directory, manifest).map_err(|error| text(&error))
    }

    /// Loads the snapshot file, if there is one.
    fn load_snapshot_file(&self) -> Result<(), String> {
        let (path, started) = (self.snapshot_path(), Instant::now());
        let total = match fs::metadata(&path) {
            Ok(file) => file.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                let reason = os_error::text(&error);
                return Err(format!("Fatal error loading the DB: {reason}. Exiting."));
            }
        };
        self.loading.begin(total);
        self.load_snapshot(&path, SnapshotLoad { precedes_log: false, replaces: false }).map_err(
            |reason| {
                tracing::warn!("{reason}");
                tracing::warn!("Terminating server after rdb file reading failure.");
                format!("Fatal error loading the DB: {reason}. Exiting.")
            },
        )?;
        tracing::info!("DB loaded from disk: {:.3} seconds", started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Loads the append-only file that `manifest` names.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn load_append_only(
        self: &Arc<Self>,
        directory: &Directory,
        manifest: &Manifest,
    ) -> Result<(), String> {
        let started = Instant::now();
        let options = {
            let config = self.config.read();
            let tail = config.int("aof-load-corrupt-tail-max-size");
            LoadOptions {
                truncated: config.flag("aof-load-truncated"),
                corrupt_tail_max: u64::try_from(tail).unwrap_or(0),
            }
        };
        let total = aof_load::total_size(directory, manifest).map_err(|error| error.to_string())?;
        self.loading.begin(total);
        let make = self.loading.runner.lock().ok_or("nothing runs commands again")?;
        let mut replay = Replaying { server: self, runner: make(self) };
        aof_load::load(directory, manifest, options, &mut replay)
            .map_err(|error| error.to_string())?;
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!("DB loaded from append only file: {seconds:.3} seconds");
        Ok(())
    }

    /// Loads a snapshot from the beginning of a file; returns how long it is.
    ///
    /// # Errors
    ///
    /// What is wrong with it; what was loaded until then stays.
    pub fn load_snapshot(&self, path: &Path, how: SnapshotLoad) -> Result<u64, String> {
        let file = File::open(path).map_err(|error| os_error::text(&error))?;
        let checksum = self.config.read().flag("rdbchecksum");
        let options = rdb_load::Options {
            drops_expired: !how.precedes_log,
            checksum,
            replaces: how.replaces,
            ..rdb_load::Options::new(self.now_ms(), self.threads())
        };
        let mut function = |source: Vec<u8>| self.load_library_of_file(&source, how.replaces);
        let progress = &self.loading.current;
        let mut hooks =
            Hooks { progress, key_delay_us: &self.settings.load_delay_us, function: &mut function };
        let summary = rdb_load::load(file, &self.keyspace, &options, &mut hooks)
            .map_err(|error| error.to_string())?;
        self.loading.before.fetch_add(summary.len, Relaxed);
        self.loading.current.store(0, Relaxed);
        let mut last = self.loading.last.lock();
        (last.keys, last.expired) = (summary.keys, summary.expired);
        last.used_mem = summary.facts.used_memory.map_or(0, i64::unsigned_abs);
        Ok(summary.len)
    }

    /// Loads a library that a file has the source of.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub fn load_library_of_file(&self, source: &[u8], replaces: bool) -> Result<(), String> {
        let loaded = self.scripts.engine.lock().load_library(source, replaces, false);
        loaded.map(drop).map_err(|error| error.to_string())
    }

    /// DEBUG RELOAD: saves, forgets everything and loads what was saved; each where asked for.
    ///
    /// # Errors
    ///
    /// What did not work.
    pub fn reload(&self, save: bool, forget: bool, replaces: bool) -> Result<(), String> {
        // Nothing else is written meanwhile, least of all what is half there.
        let progress = self.saving.take(Purpose::Save);
        let saved = if save { self.save_to_file(&progress) } else { Ok(()) };
        if let Err(failure) = saved {
            self.saving.end();
            return Err(format!("Error trying to save the DB: {failure:?}"));
        }
        self.begin_loading();
        if forget {
            self.forget_everything();
        }
        let loaded = self
            .load_snapshot(&self.snapshot_path(), SnapshotLoad { precedes_log: false, replaces });
        self.end_loading();
        self.saving.end();
        loaded.map(drop)
    }

    /// DEBUG LOADAOF: forgets everything and loads the append-only file.
    ///
    /// # Errors
    ///
    /// What did not work.
    pub fn reload_append_only(self: &Arc<Self>) -> Result<(), String> {
        let _progress = self.saving.take(Purpose::Rewrite);
        let loaded = self.load_append_only_again();
        self.saving.end();
        loaded
    }

    fn load_append_only_again(self: &Arc<Self>) -> Result<(), String> {
        if let Some(writer) = self.propagation.writer() {
            writer.finish().map_err(|error| os_error::text(&error))?;
        }
        let directory = self.append_directory().map_err(|error| os_error::text(&error))?;
        let manifest = directory.load().map_err(|error| error.to_string())?;
        self.begin_loading();
        self.forget_everything();
        let loaded = self.load_append_only(&directory, &manifest);
        self.end_loading();
        loaded
    }

    /// Drops all keys and libraries, without a word to anybody.
    pub fn forget_everything(&self) {
        self.scripts.engine.lock().flush_libraries();
        let mut changes = Changes::default();
        let access = Access::take(&self.keyspace, LockSet::All);
        let mut view = DbView::new(&self.keyspace, access, &mut changes, 0, self.now_ms());
        for db in 0..self.keyspace.databases() {
            view.flush(db);
        }
        drop(view);
        self.lazyfree.free(changes.trash);
    }
}

struct Replaying<'a> {
    server: &'a Server,
    runner: Box<dyn RunAgain>,
}

impl Replay for Replaying<'_> {
    fn snapshot(&mut self, path: &Path) -> Result<u64, String> {
        self.server.load_snapshot(path, SnapshotLoad { precedes_log: true, replaces: false })
    }

    fn run(&mut self, commands: Commands<'_>) -> Result<(), String> {
        commands.iter().try_for_each(|argv| self.runner.run(argv))
    }

    fn progress(&mut self, len: u64) {
        self.server.loading.before.fetch_add(len, Relaxed);
    }
}
