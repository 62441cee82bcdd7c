//! The append-only file: switched on and off, and rewritten.
//!
//! ```text
//! off --CONFIG SET appendonly yes--> waiting: a base is written, the log goes to a temporary file
//! waiting --the base is whole--> on: base and increment are named by the manifest
//! on --BGREWRITEAOF--> the log goes on in the next increment, from the instant of the new base on;
//!                      when that is whole, what it contains becomes history and is deleted
//! waiting or on --CONFIG SET appendonly no--> off, and the log is ended: it goes to disk
//! ```
//!
//! A rewrite, of which there is one at a time, begins behind the end of a log before it; so there is
//! never more than one writer that takes from the log.
//!
//! The manifest names whole files only, so that whenever the process ends the data is there.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::{Purpose, SaveFailure, Server};
use crate::config::Config;
use crate::keyspace::{Access, LockSet};
use crate::observe::latency_monitor::event;
use crate::persist::aof::directory::{Directory, DirectoryError};
use crate::persist::aof::manifest::Manifest;
use crate::persist::aof::policy::{Figures, Options, Policy};
use crate::persist::aof::storage::{self, Storage};
use crate::persist::aof::writer::{Syncer, Writer};
use crate::persist::file::{self, NewFile};
use crate::persist::snapshot::{self, Form, Progress, SaveError};

/// After a failed rewrite the next automatic one waits this long, twice as long after the next.
const RETRY_MIN: Duration = Duration::from_secs(60);
/// ... and never longer than this.
const RETRY_MAX: Duration = Duration::from_secs(3600);

/// The append-only file.
#[derive(Default)]
pub struct Appending {
    state: Mutex<State>,
    /// Wakes who waits for the end of the log.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// How often it was switched on while the server ran: a rewrite from before is void.
    epoch: u64,
    directory: Option<Directory>,
    manifest: Manifest,
    /// Of the writer, which goes on until the log has ended.
    syncer: Option<Syncer>,
    ending: Ending,
    /// Whether a rewrite waits for a save to end.
    scheduled: bool,
    rewrites: u64,
    /// Rewrites that failed since the last one that did not.
    failures: u32,
    last_seconds: Option<u64>,
    last_try: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Off,
    Waiting,
    On,
}

/// How far the end of a log is that was switched off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ending {
    /// There is nothing to end.
    #[default]
    Over,
    Due,
    UnderWay,
}

/// What INFO says of the append-only file.
#[derive(Clone, Copy, Debug)]
pub struct AppendingFigures {
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether a rewrite waits for a save to end.
    pub scheduled: bool,
    /// How many rewrites succeeded.
    pub rewrites: u64,
    /// Rewrites that failed since the last one that did not.
    pub failures: u32,
    /// How long the last rewrite took, in seconds.
    pub last_seconds: Option<u64>,
    /// Of the file, if it is switched on.
    pub file: Option<Figures>,
}

/// Why the append-only file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Its directory or manifest.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// One of its files.
    #[error("{what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// Of which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Its base.
    #[error("{0}")]
    Base(String),
}

fn at<T>(what: &'static str, path: &Path, result: std::io::Result<T>) -> Result<T, AppendError> {
    result.map_err(|source| AppendError::File { what, path: path.to_owned(), source })
}

impl State {
    fn directory(&self) -> &Directory {
        self.directory.as_ref().expect("it is set before anything is switched on")
    }

    /// What a rewrite begins in, and has to find again when it is done.
    fn situation(&self) -> (Phase, u64) {
        (self.phase, self.epoch)
    }
}

impl Server {
    /// Where the append-only file is, as the configuration says.
    pub fn append_directory(&self) -> std::io::Result<Directory> {
        let config = self.config.read();
        let root = std::env::current_dir()?;
        Ok(Directory::new(&root, config.text("appenddirname"), config.text("appendfilename")))
    }

    /// Switches the append-only file on at the start, when its pieces were loaded, or there were none:
    /// then the data that there is becomes its base.
    ///
    /// # Errors
    ///
    /// When its files cannot be made or opened.
    pub fn begin_appending(
        &self,
        directory: Directory,
        manifest: Manifest,
    ) -> Result<(), AppendError> {
        // The state stays free meanwhile: who holds shards may ask for it.
        directory.create()?;
        let mut next = manifest;
        if next.is_empty() {
            self.write_first_base(&directory, &mut next)?;
        }
        let (path, opened) = if let Some(piece) = next.increments().last() {
            let path = directory.path(&piece.name);
            let opened = storage::open(&path);
            (path, opened)
        } else {
            let path = directory.path(&next.begin_increment(directory.filename()));
            let opened = storage::create(&path).map(|file| (file, 0));
            (path, opened)
        };
        let (file, len) = at("Can't open the append-only file", &path, opened)?;
        directory.store(&next)?;
        let (base, total) = sizes(&directory, &next);
        let started = self.new_writer(Arc::new(file), len, self.writer_options());
        let (writer, syncer) = at("Can't sync", &path, started)?;
        writer.set_sizes(total, base);
        self.propagation.set_writer(Some(writer));
        let mut state = self.appending.state.lock();
        (state.directory, state.manifest, state.phase) = (Some(directory), next, Phase::On);
        state.syncer = Some(syncer);
        drop(state);
        self.delete_history_if_wanted();
        Ok(())
    }

    fn write_first_base(
        &self,
        directory: &Directory,
        manifest: &mut Manifest,
    ) -> Result<(), AppendError> {
        let progress = Arc::new(Progress::default());
        let base = self
            .write_base(directory, &progress, || ())
            .map_err(|error| AppendError::Base(error.to_string()))?;
        let name = manifest.begin_base(directory.filename(), base.is_rdb);
        let path = directory.path(&name);
        at("Can't name", &path, fs::rename(&base.temporary, &path))?;
        at("Can't sync", &path, file::sync_directory(&path))
    }

    fn writer_options(&self) -> Options {
        let config = self.config.read();
        self.propagation.log().set_timestamps(config.flag("aof-timestamp-enabled"));
        Options { policy: policy_of(&config), ..Options::default() }
    }

    /// A writer that begins where the log ends, and the thread that syncs for it.
    fn new_writer(
        &self,
        file: Arc<dyn Storage>,
        len: u64,
        options: Options,
    ) -> std::io::Result<(Arc<Writer>, Syncer)> {
        let writer = Arc::new(Writer::new(Arc::clone(self.propagation.log()), file, len, options));
        writer.watch_latency(&self.latency);
        let syncer = Syncer::start(&writer)?;
        Ok((writer, syncer))
    }

    /// Switches the append-only file on while the server runs.
    ///
    /// # Errors
    ///
    /// When its files cannot be made. If only something else is being written at the moment, that is
    /// waited for.
    pub fn switch_appending_on(self: &Arc<Self>) -> Result<(), AppendError> {
        let directory = at("Can't find", Path::new("."), self.append_directory())?;
        let mut state = self.appending.state.lock();
        if state.phase != Phase::Off {
            return Ok(());
        }
        directory.create()?;
        let manifest = directory.load()?;
        let path = directory.temporary_increment();
        at("Can't make", &path, fs::File::create(&path))?;
        (state.directory, state.manifest) = (Some(directory), manifest);
        (state.phase, state.epoch) = (Phase::Waiting, state.epoch + 1);
        drop(state);
        // What is being written at the moment is waited for.
        if self.rewrite_in_background().is_err() {
            self.appending.state.lock().scheduled = true;
        }
        Ok(())
    }

    /// Whether the append-only file is switched on, but not whole yet.
    pub fn is_appending_first(&self) -> bool {
        self.appending.state.lock().phase == Phase::Waiting
    }

    /// Switches the append-only file off; whether its log is to be ended then by [`Self::end_log`].
    pub fn switch_appending_off(&self) -> bool {
        let mut state = self.appending.state.lock();
        if state.phase == Phase::Off {
            return false;
        }
        if self.saving.cancel(Purpose::Rewrite) {
            tracing::info!("Killing running AOF rewrite child: {}", std::process::id());
        }
        if state.phase == Phase::Waiting {
            // What cannot be removed is emptied by the next one.
            let _ = fs::remove_file(state.directory().temporary_increment());
        }
        (state.phase, state.scheduled) = (Phase::Off, false);
        if state.ending == Ending::Over {
            state.ending = Ending::Due;
        }
        true
    }

    /// Ends the log of an append-only file that was switched off: what is in it goes to disk. Waits if
    /// somebody else is about it. Takes every shard, so nobody may call it who holds one.
    pub fn end_log(&self) {
        let mut state = self.appending.state.lock();
        while state.ending == Ending::UnderWay {
            self.appending.ended.wait(&mut state);
        }
        if state.ending == Ending::Over {
            return;
        }
        state.ending = Ending::UnderWay;
        let syncer = state.syncer.take();
        // Who holds shards may ask for the state.
        drop(state);
        self.stop_writing();
        drop(syncer);
        self.appending.state.lock().ending = Ending::Over;
        self.appending.ended.notify_all();
    }

    /// Has nothing appended any more and writes what was to disk. Replies wait for that until the end.
    fn stop_writing(&self) {
        let access = Access::take(&self.keyspace, LockSet::All);
        self.propagation.stop();
        drop(access);
        if let Some(writer) = self.propagation.writer()
            && let Err(error) = writer.close()
        {
            tracing::warn!("The last of the append-only file was not written: {error}");
        }
        self.propagation.set_writer(None);
    }

    /// Writes the last of the log to disk, at the end.
    pub fn finish_appending(&self) {
        if let Some(writer) = self.propagation.writer() {
            tracing::info!("Calling fsync() on the AOF file.");
            if let Err(error) = writer.finish() {
                tracing::warn!("Fail to fsync the AOF file: {error}");
            }
        }
    }

    /// Takes over what the configuration says of writing.
    pub fn reconfigure_appending(&self) {
        let config = self.config.read();
        self.propagation.log().set_timestamps(config.flag("aof-timestamp-enabled"));
        if let Some(writer) = self.propagation.writer() {
            writer.set_policy(policy_of(&config));
        }
        drop(config);
        let server = self.arc();
        let has_history = !self.appending.state.lock().manifest.history().is_empty();
        if has_history && self.saving.running().is_none() {
            // Long files take long to delete. Without a thread they stay for the next rewrite.
            let work = move || server.delete_history_if_wanted();
            drop(std::thread::Builder::new().name("history".to_owned()).spawn(work));
        }
    }

    /// Deletes what nothing needs any more, unless the configuration wants it kept.
    fn delete_history_if_wanted(&self) {
        if self.config.read().flag("aof-disable-auto-gc") {
            return;
        }
        let (directory, mut manifest) = {
            let state = self.appending.state.lock();
            let Some(directory) = state.directory.clone() else { return };
            (directory, state.manifest.clone())
        };
        let history = manifest.forget_history();
        if history.is_empty() {
            return;
        }
        directory.delete_pieces(&history);
        let mut state = self.appending.state.lock();
        let is_same = state.directory.as_ref() == Some(&directory);
        if is_same && state.manifest.history() == history {
            state.manifest.forget_history();
            if let Err(error) = directory.store(&state.manifest) {
                tracing::warn!("Old pieces of the AOF are named still: {error}");
            }
        }
    }

    /// Lets a rewrite begin soon.
    pub fn schedule_rewrite(&self) {
        self.appending.state.lock().scheduled = true;
    }

    /// Begins a rewrite; `Ok(false)` when it begins as soon as a save has ended.
    ///
    /// # Errors
    ///
    /// When one is under way, or it cannot begin.
    pub fn rewrite_in_background(self: &Arc<Self>) -> Result<bool, SaveFailure> {
        let progress = match self.saving.begin(Purpose::Rewrite) {
            Ok(progress) => progress,
            Err(SaveFailure::Busy(Purpose::Save)) => {
                self.appending.state.lock().scheduled = true;
                return Ok(false);
            }
            Err(failure) => return Err(failure),
        };
        progress.step_back();
        self.appending.state.lock().scheduled = false;
        let server = Arc::clone(self);
        let work = move || {
            let started = Instant::now();
            let result = server.saving.in_known_version(|| server.rewrite(&progress));
            let mut state = server.appending.state.lock();
            state.last_seconds = Some(started.elapsed().as_secs());
            state.last_try = Some(Instant::now());
            match result {
                Ok(()) => {
                    (state.rewrites, state.failures) = (state.rewrites + 1, 0);
                    tracing::info!("Background AOF rewrite finished successfully");
                }
                Err(error) => {
                    state.failures += u32::from(!matches!(error, SaveError::Cancelled));
                    tracing::warn!("Background AOF rewrite terminated with error: {error}");
                    // An append-only file that has no base yet gets another chance.
                    state.scheduled |= state.phase == Phase::Waiting;
                }
            }
            drop(state);
            if let Some(writer) = server.propagation.writer() {
                writer.suspend_sync(false);
            }
            server.saving.end();
        };
        let spawned = std::thread::Builder::new().name("rewrite".to_owned()).spawn(work);
        spawned.map(|_| true).map_err(|error| {
            let mut state = self.appending.state.lock();
            state.scheduled |= state.phase == Phase::Waiting;
            drop(state);
            self.saving.end();
            SaveFailure::Failed(error.to_string())
        })
    }

    /// Begins a rewrite that is scheduled, or due because the files have grown.
    pub fn rewrite_if_due(self: &Arc<Self>) {
        let waits = self.loading.is_active() || self.shutdown.is_under_way();
        if waits || self.saving.running().is_some() {
            return;
        }
        let (scheduled, on, retry_at) = {
            let state = self.appending.state.lock();
            let wait = RETRY_MIN * 2u32.saturating_pow(state.failures.saturating_sub(1).min(6));
            let retry_at = state.last_try.filter(|_| state.failures > 0);
            let retry_at = retry_at.map(|at| at + wait.min(RETRY_MAX));
            (state.scheduled, state.phase == Phase::On, retry_at)
        };
        let waits = retry_at.is_some_and(|at| Instant::now() < at);
        if scheduled && !waits || on && !waits && self.has_outgrown() {
            let _ = self.rewrite_in_background();
        }
    }

    fn has_outgrown(&self) -> bool {
        let config = self.config.read();
        let percent = u64::try_from(config.int("auto-aof-rewrite-percentage")).unwrap_or(0);
        let min = u64::try_from(config.int("auto-aof-rewrite-min-size")).unwrap_or(0);
        drop(config);
        let Some(writer) = self.propagation.writer().filter(|_| percent > 0) else { return false };
        let figures = writer.figures();
        let base = figures.base_size.max(1);
        let growth = (figures.current_size * 100 / base).saturating_sub(100);
        let outgrown = figures.current_size > min && growth >= percent;
        if outgrown {
            tracing::info!("Starting automatic rewriting of AOF on {growth}% growth");
        }
        outgrown
    }

    fn rewrite(&self, progress: &Arc<Progress>) -> Result<(), SaveError> {
        self.end_log();
        let situation = self.appending.state.lock().situation();
        if self.config.read().flag("no-appendfsync-on-rewrite")
            && let Some(writer) = self.propagation.writer()
        {
            writer.suspend_sync(true);
        }
        match situation.0 {
            Phase::Off => self.rewrite_when_off(progress, situation),
            Phase::Waiting => self.rewrite_first(progress, situation),
            Phase::On => self.rewrite_when_on(progress, situation),
        }
    }

    fn rewrite_when_on(
        &self,
        progress: &Arc<Progress>,
        situation: (Phase, u64),
    ) -> Result<(), SaveError> {
        let directory = {
            let mut state = self.appending.state.lock();
            if state.situation() != situation {
                return Err(SaveError::Cancelled);
            }
            let mut next = state.manifest.clone();
            let directory = state.directory().clone();
            let path = directory.path(&next.begin_increment(directory.filename()));
            let file = storage::create(&path)?;
            directory.store(&next).map_err(std::io::Error::other)?;
            let Some(writer) = self.propagation.writer() else { return Err(SaveError::Cancelled) };
            state.manifest = next;
            drop(state);
            writer.prepare_next(Arc::new(file))?;
            directory
        };
        let log = Arc::clone(self.propagation.log());
        let base = self.write_base(&directory, progress, move || {
            log.divide();
        })?;
        self.adopt(&directory, base, situation, None)
    }

    /// The rewrite that switches the file on.
    fn rewrite_first(
        &self,
        progress: &Arc<Progress>,
        situation: (Phase, u64),
    ) -> Result<(), SaveError> {
        let directory = self.appending.state.lock().directory().clone();
        let path = directory.temporary_increment();
        let file = storage::create(&path)?;
        let options = self.writer_options();
        let mut started = None;
        // The writer begins at the very instant that the base shows.
        let result = self.write_base(&directory, progress, || {
            let made = self.new_writer(Arc::new(file), 0, options);
            if let Ok((writer, _)) = &made {
                self.propagation.set_writer(Some(Arc::clone(writer)));
            }
            started = Some(made);
        });
        let adopted = result.and_then(|base| {
            let (_, syncer) = started.take().ok_or(SaveError::Cancelled)??;
            self.adopt(&directory, base, situation, Some((&path, syncer)))
        });
        if adopted.is_err() {
            self.stop_writing();
            let state = self.appending.state.lock();
            if state.situation() != situation {
                // Another one's may be there, which its rewrite makes again.
                let _ = fs::remove_file(&path);
            }
        }
        adopted
    }

    fn rewrite_when_off(
        &self,
        progress: &Arc<Progress>,
        situation: (Phase, u64),
    ) -> Result<(), SaveError> {
        let directory = self.append_directory()?;
        directory.create().map_err(std::io::Error::other)?;
        {
            let mut state = self.appending.state.lock();
            if state.situation() != situation {
                return Err(SaveError::Cancelled);
            }
            state.manifest = directory.load().map_err(std::io::Error::other)?;
            state.directory = Some(directory.clone());
        }
        let base = self.write_base(&directory, progress, || ())?;
        self.adopt(&directory, base, situation, None)
    }

    /// Makes a new base part of the manifest; what it contains becomes history. A base that was begun
    /// in another situation than that which is now is of no use.
    fn adopt(
        &self,
        directory: &Directory,
        base: Base,
        situation: (Phase, u64),
        first_increment: Option<(&Path, Syncer)>,
    ) -> Result<(), SaveError> {
        let mut state = self.appending.state.lock();
        // What a script did by half is not kept.
        if state.situation() != situation || self.shutdown.abandons_scripts() {
            // What cannot be removed is overwritten by the next base.
            let _ = fs::remove_file(&base.temporary);
            return Err(SaveError::Cancelled);
        }
        let (mut next, phase) = (state.manifest.clone(), state.phase);
        let path = directory.path(&next.begin_base(directory.filename(), base.is_rdb));
        self.latency.time(event::AOF_RENAME, || fs::rename(&base.temporary, &path))?;
        let mut syncer = None;
        match first_increment {
            Some((temporary, first)) => {
                syncer = Some(first);
                next.retire_increments(0);
                let path = directory.path(&next.begin_increment(directory.filename()));
                self.latency.time(event::AOF_RENAME, || fs::rename(temporary, path))?;
            }
            None => next.retire_increments(usize::from(phase == Phase::On)),
        }
        let stored = file::sync_directory(&path)
            .and_then(|()| directory.store(&next).map_err(std::io::Error::other));
        if let Err(error) = stored {
            // It may be there all the same, and what it names is not to be written to again.
            state.manifest.skip_names_of(&next);
            return Err(error.into());
        }
        state.manifest = next;
        if phase == Phase::Waiting {
            (state.phase, state.syncer) = (Phase::On, syncer);
        }
        if let Some(writer) = self.propagation.writer() {
            writer.rewritten(base.len);
        }
        drop(state);
        self.delete_history_if_wanted();
        Ok(())
    }

    /// Writes all data to a temporary file; `cut` is called at the instant that it shows.
    fn write_base(
        &self,
        directory: &Directory,
        progress: &Arc<Progress>,
        cut: impl FnOnce(),
    ) -> Result<Base, SaveError> {
        let (incremental, is_rdb) = {
            let config = self.config.read();
            (config.flag("aof-rewrite-incremental-fsync"), config.flag("aof-use-rdb-preamble"))
        };
        let form = if is_rdb { Form::Rdb } else { Form::Commands };
        let name = OsString::from(format!("temp-rewriteaof-bg-{}.aof", std::process::id()));
        let temporary = directory.path(&name);
        let mut file = NewFile::create(&temporary, incremental)?;
        let (begun, libraries, _) = self.begin_snapshot(progress, form, cut)?;
        let facts = snapshot::facts(true);
        let len = begun.write(&self.keyspace, &facts, &libraries, &mut file)?;
        file.keep()?;
        Ok(Base { temporary, len, is_rdb })
    }

    /// What INFO says of the append-only file.
    pub fn appending_figures(&self) -> AppendingFigures {
        let state = self.appending.state.lock();
        AppendingFigures {
            enabled: state.phase != Phase::Off,
            scheduled: state.scheduled,
            rewrites: state.rewrites,
            failures: state.failures,
            last_seconds: state.last_seconds,
            file: self.propagation.writer().map(|writer| writer.figures()),
        }
    }
}

/// A base that has no name yet.
struct Base {
    temporary: PathBuf,
    len: u64,
    is_rdb: bool,
}

fn policy_of(config: &Config) -> Policy {
    Policy::parse(config.text("appendfsync")).unwrap_or(Policy::EverySecond)
}

/// The length of the base, and of all pieces.
fn sizes(directory: &Directory, manifest: &Manifest) -> (u64, u64) {
    let len = |name: &OsString| fs::metadata(directory.path(name)).map_or(0, |file| file.len());
    let base = manifest.base().map_or(0, |piece| len(&piece.name));
    (base, base + manifest.increments().iter().map(|piece| len(&piece.name)).sum::<u64>())
}
