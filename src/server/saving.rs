//! Snapshots to files: who asked for one, whether one is under way, and how the last one ended.
//!
//! At most one thread at a time writes a snapshot, whether of SAVE, BGSAVE, a save point, a rewrite of
//! the append-only file or a shutdown; nobody else waits for it but who asked for SAVE.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::{Server, gate};
use crate::base::clock;
use crate::observe::allocator;
use crate::observe::latency_monitor::{LatencyMonitor, event};
use crate::persist::file::NewFile;
use crate::persist::rdb::Formats;
use crate::persist::snapshot::{self, Accesses, Form, Options, Progress, SaveError};

/// After a failure, save points wait this long (Redis: CONFIG_BGSAVE_RETRY_DELAY).
const RETRY_SECONDS: i64 = 5;
/// How much commands may write out ahead of a snapshot, at least.
const HELD_MIN: usize = 64 * 1024 * 1024;
/// ... and as a share of all memory.
const HELD_SHARE: usize = 20;

/// What a snapshot is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The snapshot file.
    Save,
    /// A new base of the append-only file.
    Rewrite,
}

/// Why a snapshot was not begun, or did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaveFailure {
    /// Another one is under way, for this.
    Busy(Purpose),
    /// It was cancelled.
    Cancelled,
    /// It failed, for this reason.
    Failed(String),
}

/// How saving went and goes.
pub struct Saving {
    state: Mutex<State>,
    idle: Condvar,
    latency: Arc<LatencyMonitor>,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    /// Whether BGSAVE SCHEDULE waits for a rewrite to end.
    scheduled: bool,
    /// Why the last save in the background failed, if no other succeeded since. Who waits for a save
    /// is told, and that counts for nobody else.
    error: Option<String>,
    saves: u64,
    last_save_ms: i64,
    last_try_ms: i64,
    last_seconds: Option<u64>,
    /// Changes that the last save contains.
    saved_changes: u64,
    held_peak: usize,
    /// Whether fields of hashes have deadlines, as far as is known.
    field_deadlines: bool,
}

struct Running {
    purpose: Purpose,
    progress: Arc<Progress>,
    started: Instant,
}

/// What INFO says about saving.
#[derive(Clone, Debug, Default)]
pub struct SavingFigures {
    /// Whether the snapshot file is being written.
    pub saving: bool,
    /// Whether a new base of the append-only file is being written.
    pub rewriting: bool,
    /// Seconds since then.
    pub current_seconds: Option<u64>,
    /// Keys written so far and keys in all, of what is being written.
    pub keys: (u64, u64),
    /// When the last save succeeded, in Unix seconds.
    pub last_save_s: i64,
    /// How long the last one took, in seconds.
    pub last_seconds: Option<u64>,
    /// Whether the last one succeeded.
    pub ok: bool,
    /// How many succeeded.
    pub saves: u64,
    /// Most memory that the last one held, in bytes.
    pub held_peak: usize,
}

impl Saving {
    pub(super) fn new(now_ms: i64, latency: Arc<LatencyMonitor>) -> Self {
        let state = State { last_save_ms: now_ms, ..State::default() };
        Self { state: Mutex::new(state), idle: Condvar::new(), latency }
    }

    /// How saving went and goes.
    pub fn figures(&self) -> SavingFigures {
        let state = self.state.lock();
        let running = state.running.as_ref();
        let is = |purpose| running.is_some_and(|running| running.purpose == purpose);
        let count = |count: fn(&Progress) -> u64| running.map_or(0, |r| count(&r.progress));
        SavingFigures {
            saving: is(Purpose::Save),
            rewriting: is(Purpose::Rewrite),
            current_seconds: running.map(|running| running.started.elapsed().as_secs()),
            keys: (count(|p| p.written.load(Relaxed)), count(|p| p.keys.load(Relaxed))),
            last_save_s: state.last_save_ms / 1000,
            last_seconds: state.last_seconds,
            ok: state.error.is_none(),
            saves: state.saves,
            held_peak: state.held_peak,
        }
    }

    /// What is being written, if something is.
    pub fn running(&self) -> Option<Purpose> {
        self.state.lock().running.as_ref().map(|running| running.purpose)
    }

    /// Lets a save begin when the rewrite that is under way has ended.
    pub fn schedule(&self) {
        self.state.lock().scheduled = true;
    }

    /// Cancels what is under way for `purpose`, and a save that is scheduled; whether there was one.
    pub fn cancel(&self, purpose: Purpose) -> bool {
        let mut state = self.state.lock();
        let scheduled = purpose == Purpose::Save && std::mem::take(&mut state.scheduled);
        match state.running.as_ref().filter(|running| running.purpose == purpose) {
            Some(running) => running.progress.cancel(),
            None => return scheduled,
        }
        true
    }

    /// Waits until nothing is being written.
    pub fn wait_idle(&self) {
        drop(self.idle_state());
    }

    fn idle_state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        while state.running.is_some() {
            self.idle.wait(&mut state);
        }
        state
    }

    /// Why the last save in the background failed.
    pub fn error(&self) -> Option<String> {
        self.state.lock().error.clone()
    }

    /// Forgets the changes so far: the data is as it is in the file.
    pub fn note_loaded(&self, changes: u64) {
        self.state.lock().saved_changes = changes;
    }

    /// Writes, and once again where fields of hashes turn out to have deadlines, for which another
    /// version is needed than was thought.
    pub(super) fn in_known_version<T>(
        &self,
        write: impl Fn() -> Result<T, SaveError>,
    ) -> Result<T, SaveError> {
        let known = |state: &mut State| std::mem::replace(&mut state.field_deadlines, true);
        match write() {
            Err(SaveError::Inexpressible(_)) if !known(&mut self.state.lock()) => write(),
            result => result,
        }
    }

    /// Takes the place of the one who writes, when it is free.
    pub(super) fn take(&self, purpose: Purpose) -> Arc<Progress> {
        self.occupy(&mut self.idle_state(), purpose)
    }

    /// Takes the place of the one who writes.
    pub(super) fn begin(&self, purpose: Purpose) -> Result<Arc<Progress>, SaveFailure> {
        let mut state = self.state.lock();
        if let Some(running) = &state.running {
            return Err(SaveFailure::Busy(running.purpose));
        }
        Ok(self.occupy(&mut state, purpose))
    }

    fn occupy(&self, state: &mut State, purpose: Purpose) -> Arc<Progress> {
        self.latency.set_saving(true);
        let progress = Arc::new(Progress::default());
        let started = Instant::now();
        state.running = Some(Running { purpose, progress: Arc::clone(&progress), started });
        if purpose == Purpose::Save {
            (state.scheduled, state.last_try_ms) = (false, clock::now_ms());
        }
        progress
    }

    /// Gives the place back.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        self.latency.set_saving(false);
        if let Some(running) = state.running.take() {
            state.held_peak = running.progress.held_peak.load(Relaxed);
            if running.purpose == Purpose::Save {
                state.last_seconds = Some(running.started.elapsed().as_secs());
            }
        }
        self.idle.notify_all();
    }
}

impl Server {
    /// Changes since the last save.
    pub fn unsaved_changes(&self) -> u64 {
        let saved = self.saving.state.lock().saved_changes;
        self.stats.sum(|counters| &counters.dirty).saturating_sub(saved)
    }

    /// Saves to the snapshot file, when nothing else is being written, and waits for the end.
    ///
    /// # Errors
    ///
    /// See [`SaveFailure`].
    pub fn save(&self) -> Result<(), SaveFailure> {
        let progress = self.saving.take(Purpose::Save);
        let result = self.save_to_file(&progress);
        self.saving.end();
        result
    }

    /// Begins to save in the background.
    ///
    /// # Errors
    ///
    /// When something is being written already.
    pub fn save_in_background(self: &Arc<Self>) -> Result<(), SaveFailure> {
        let progress = self.saving.begin(Purpose::Save)?;
        progress.step_back();
        let server = Arc::clone(self);
        let work = move || {
            let result = server.save_to_file(&progress);
            if let Err(SaveFailure::Failed(reason)) = &result {
                server.saving.state.lock().error = Some(reason.clone());
                server.update_disk_gate();
            }
            server.saving.end();
            match &result {
                Ok(()) => tracing::info!("Background saving terminated with success"),
                Err(SaveFailure::Cancelled) => {
                    tracing::warn!("Background saving terminated by signal 10");
                }
                Err(_) => tracing::warn!("Background saving error"),
            }
        };
        let spawned = std::thread::Builder::new().name("save".to_owned()).spawn(work);
        spawned.map(drop).map_err(|error| {
            self.saving.end();
            SaveFailure::Failed(error.to_string())
        })
    }

    pub(super) fn save_to_file(&self, progress: &Arc<Progress>) -> Result<(), SaveFailure> {
        match self.saving.in_known_version(|| self.write_snapshot_file(progress)) {
            Ok(changes) => {
                let mut state = self.saving.state.lock();
                state.saved_changes = changes;
                state.last_save_ms = clock::now_ms();
                state.saves += 1;
                state.error = None;
                // The next file need not be newer than the data asks for.
                state.field_deadlines &= progress.met_field_deadlines();
                drop(state);
                tracing::info!("DB saved on disk");
                self.update_disk_gate();
                Ok(())
            }
            Err(SaveError::Cancelled) => Err(SaveFailure::Cancelled),
            Err(error) => {
                let path = std::env::current_dir().unwrap_or_default().join(self.snapshot_path());
                Err(SaveFailure::Failed(format!("{error}, saving {}", path.display())))
            }
        }
    }

    /// Removes the snapshot file that is being written; for a process that ends without it.
    pub fn remove_unfinished_save(&self) {
        // Mostly there is none.
        let _ = std::fs::remove_file(unfinished_name());
    }

    /// Writes the snapshot file; returns how many changes it contains.
    fn write_snapshot_file(&self, progress: &Arc<Progress>) -> Result<u64, SaveError> {
        let (name, incremental) = {
            let config = self.config.read();
            (config.text("dbfilename").to_owned(), config.flag("rdb-save-incremental-fsync"))
        };
        let dir = std::env::current_dir()?;
        let temporary = dir.join(unfinished_name());
        let named = |error, path: &Path, what: &str| {
            let (path, dir) = (path.display(), dir.display());
            tracing::warn!("{what} {path} (in server root dir {dir}) for saving: {error}");
            error
        };
        let mut file = NewFile::create(&temporary, incremental)
            .map_err(|error| named(error, &temporary, "Failed opening the temp RDB file"))?;
        let (begun, libraries, changes) = self.begin_snapshot(progress, Form::Rdb, || ())?;
        let facts = snapshot::facts(false);
        let written = begun.write(&self.keyspace, &facts, &libraries, &mut file);
        let written = written.and_then(|_| Ok(file.sync()?)).and_then(|()| {
            // What a script did by half is not kept.
            let is_over = progress.is_cancelled() || self.shutdown.abandons_scripts();
            if is_over { Err(SaveError::Cancelled) } else { Ok(()) }
        });
        if let Err(error) = written {
            if matches!(error, SaveError::Io(_)) {
                tracing::warn!("Write error while saving DB to the disk: {error}");
            }
            self.latency.time(event::RDB_UNLINK_TEMP_FILE, || drop(file));
            return Err(error);
        }
        let path = dir.join(&name);
        file.publish(&path).map_err(|error| {
            named(error, &path, "Error moving the temp DB file to the final destination")
        })?;
        Ok(changes)
    }

    /// Remembers the data as it is, with the sources of libraries and the number of changes so far;
    /// `cut` is called while everything is locked.
    pub(super) fn begin_snapshot(
        &self,
        progress: &Arc<Progress>,
        form: Form,
        cut: impl FnOnce(),
    ) -> Result<(snapshot::Begun, Vec<Vec<u8>>, u64), SaveError> {
        let options = self.snapshot_options(form)?;
        // Functions come before shards in the order of locks.
        let engine = self.scripts.engine.lock();
        let (begun, changes) =
            snapshot::begin(&self.keyspace, options, Arc::clone(progress), || {
                cut();
                self.stats.sum(|counters| &counters.dirty)
            });
        Ok((begun, engine.library_sources(), changes))
    }

    fn snapshot_options(&self, form: Form) -> Result<Options, SaveError> {
        let config = self.config.read();
        let lfu = |policy: &str| policy.ends_with("-lfu");
        let policy = config.text("maxmemory-policy");
        let mut own = config.db_limits().iter().filter_map(|limit| limit.policy);
        let accesses = match policy {
            // A file says of all keys the same.
            _ if own.any(|own| lfu(own) != lfu(policy)) => Accesses::Unused,
            policy if policy.ends_with("-lru") || policy.ends_with("-lrm") => Accesses::Recency,
            policy if policy.ends_with("-lfu") => Accesses::Frequency,
            _ => Accesses::Unused,
        };
        let delay_us = u64::try_from(config.int("rdb-key-save-delay")).unwrap_or(0);
        let deadlines = self.saving.state.lock().field_deadlines;
        Ok(Options {
            form,
            timestamp: config.flag("aof-timestamp-enabled"),
            format: Formats::of(&config).for_deadlines(deadlines)?,
            checksum: config.flag("rdbchecksum"),
            accesses,
            policy: self.keyspace.policy(),
            now_ms: self.now_ms(),
            threads: self.threads(),
            // Buffers that grow have room for as much again.
            held_max: HELD_MIN.max(allocator::figures().allocated / HELD_SHARE) / 2,
            key_delay: Duration::from_micros(delay_us),
        })
    }

    /// Begins a save where a save point says so, or one is scheduled.
    pub fn save_if_due(self: &Arc<Self>) {
        if self.loading.is_active() || self.shutdown.is_under_way() {
            return;
        }
        let (last_save_ms, last_try_ms, scheduled, failed) = {
            let state = self.saving.state.lock();
            if state.running.is_some() {
                return;
            }
            (state.last_save_ms, state.last_try_ms, state.scheduled, state.error.is_some())
        };
        let now_ms = clock::now_ms();
        if failed && now_ms - last_try_ms <= RETRY_SECONDS * 1000 {
            return;
        }
        let changes = self.unsaved_changes();
        let seconds = (now_ms - last_save_ms) / 1000;
        let due = self.config.read().save_points().iter().copied().find(|point| {
            changes >= point.changes && seconds > i64::try_from(point.seconds).unwrap_or(i64::MAX)
        });
        if let Some(point) = due {
            tracing::info!("{} changes in {} seconds. Saving...", point.changes, point.seconds);
        }
        if (due.is_some() || scheduled) && self.save_in_background().is_ok() {
            tracing::info!("Background saving started by pid {}", std::process::id());
        }
    }

    /// Lets writes be refused, or not, by whether the last save failed.
    pub fn update_disk_gate(&self) {
        let saving = self.stops_on_save_error() && self.saving.error().is_some();
        let appending = self.propagation.writer().is_some_and(|writer| writer.is_failing());
        self.set_gate(gate::DISK, saving || appending);
    }

    fn stops_on_save_error(&self) -> bool {
        let config = self.config.read();
        config.flag("stop-writes-on-bgsave-error") && !config.save_points().is_empty()
    }

    /// Waits until all that was done is as safe as is promised, before any reply goes out.
    #[inline]
    pub fn commit(&self) {
        if let Some(writer) = self.propagation.commit()
            && writer.is_failing() != (self.gates.load(Relaxed) & gate::DISK != 0)
        {
            self.update_disk_gate();
        }
    }

    /// Why writes are refused for the sake of the disk, as clients are told.
    pub fn disk_trouble(&self) -> Option<String> {
        if !self.stops_on_save_error() || self.saving.error().is_none() {
            let reason = self.propagation.writer()?.last_error()?;
            return Some(format!("MISCONF Errors writing to the AOF file: {reason}"));
        }
        let reason = self.saving.error()?;
        Some(format!(
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist \
             to disk. Commands that may modify the data set are disabled, because this instance is \
             configured to report errors during writes if RDB snapshotting fails \
             (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the \
             RDB error. ({reason})"
        ))
    }

    /// The path of the snapshot file.
    pub fn snapshot_path(&self) -> PathBuf {
        PathBuf::from(self.config.read().text("dbfilename"))
    }
}

/// The snapshot file while it is being written, in the server's folder.
fn unfinished_name() -> String {
    format!("temp-{}.rdb", std::process::id())
}
