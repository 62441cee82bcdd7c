//! Appends the log of writes to the current increment, and says when a reply may go out.
//!
//! ```text
//! offsets of the log   0 ......... durable ......... written ......... end
//!                      on disk       in the file       in memory
//! ```
//!
//! Event loops call [`Writer::commit`] before they send replies. Under `always` it returns when
//! everything up to the offset is on disk: whoever gets the lock writes and syncs for all who wait.
//! Under `everysec` and `no` it returns when the bytes are in the file, where they survive the end of
//! the process, or when the write is put off because a sync is running ([`Options::postpone_max`]).
//! A thread of its own syncs under `everysec`, retries after errors, and syncs files that were
//! followed by the next, should that have failed at first.
//!
//! The file ends with a whole unit at all times but during a write: what was written of a part is cut
//! off again, and the bytes are kept for the next attempt. If even the cutting fails, the next
//! attempt goes on where this one stopped.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::policy::{Figures, Options, Policy};
use super::storage::Storage;
use crate::base::os_error;
use crate::observe::latency_monitor::{LatencyMonitor, event};
use crate::persist::log::WriteLog;

pub use sync::Syncer;

mod sync;
#[cfg(test)]
mod tests;

/// From this many bytes in memory on a write is not put off, so that whoever made them waits.
const WAITING_MAX: u64 = 64 * 1024 * 1024;
/// Memory of a buffer that is kept for the next bytes.
const KEPT_MAX: usize = 4 * 1024 * 1024;
/// Between two lines about the same trouble.
const ERROR_LINES_EVERY: Duration = Duration::from_secs(30);

/// The writer.
pub struct Writer {
    log: Arc<WriteLog>,
    /// Up to where a commit has nothing to wait for.
    settled: AtomicU64,
    written: AtomicU64,
    durable: AtomicU64,
    is_failing: AtomicBool,
    current_size: AtomicU64,
    base_size: AtomicU64,
    delayed_syncs: AtomicU64,
    flush_delay_us: AtomicU64,
    options: Options,
    latency: OnceLock<Arc<LatencyMonitor>>,
    inner: Mutex<Inner>,
    /// Wakes the thread that syncs.
    wake: Condvar,
}

/// Files and what is between the log and them; who holds it writes.
struct Inner {
    policy: Policy,
    /// Whether a rewrite wants the disk for itself (`no-appendfsync-on-rewrite`).
    sync_is_suspended: bool,
    file: Arc<dyn Storage>,
    /// The length of `file`.
    len: u64,
    /// The files that follow at the next divisions of the log.
    next: VecDeque<Arc<dyn Storage>>,
    /// Files that were followed by others and not synced since, and the offsets behind them.
    retired: Vec<(Arc<dyn Storage>, u64)>,
    /// Taken from the log and not written; begins at `written`.
    pending: Vec<u8>,
    /// Whether the thread syncs `file` or what came before it at this moment.
    sync_is_running: bool,
    /// Since when writes are put off because of that.
    postponed_since: Option<Instant>,
    write_error: Option<WriteError>,
    sync_error: Option<String>,
    last_error_line: Option<Instant>,
    /// Whether the thread is to end.
    is_stopped: bool,
    /// Whether the log is left to another writer.
    is_closed: bool,
}

struct WriteError {
    text: String,
    at: Instant,
}

impl Inner {
    fn effective(&self) -> Policy {
        if self.sync_is_suspended { Policy::No } else { self.policy }
    }

    /// Whether a write would run into a sync, or overtake what has to be on disk before it.
    fn is_syncing(&self) -> bool {
        self.sync_is_running || !self.retired.is_empty()
    }
}

impl Writer {
    /// A writer that appends to `file`, which is `len` bytes long, from the end of the log on. What
    /// the log holds for a writer before this one is forgotten.
    pub fn new(log: Arc<WriteLog>, file: Arc<dyn Storage>, len: u64, options: Options) -> Self {
        let start = log.begin_taking();
        let inner = Inner {
            policy: options.policy,
            sync_is_suspended: false,
            file,
            len,
            next: VecDeque::new(),
            retired: Vec::new(),
            pending: Vec::new(),
            sync_is_running: false,
            postponed_since: None,
            write_error: None,
            sync_error: None,
            last_error_line: None,
            is_stopped: false,
            is_closed: false,
        };
        Self {
            log,
            settled: AtomicU64::new(start),
            written: AtomicU64::new(start),
            durable: AtomicU64::new(start),
            is_failing: AtomicBool::new(false),
            current_size: AtomicU64::new(len),
            base_size: AtomicU64::new(0),
            delayed_syncs: AtomicU64::new(0),
            flush_delay_us: AtomicU64::new(0),
            options,
            latency: OnceLock::new(),
            inner: Mutex::new(inner),
            wake: Condvar::new(),
        }
    }

    /// Has `monitor` know how long writes and syncs take.
    pub fn watch_latency(&self, monitor: &Arc<LatencyMonitor>) {
        // A writer is watched by the one server it has.
        let _ = self.latency.set(Arc::clone(monitor));
    }

    /// When what begins now began, if anybody wants to know how long it takes.
    fn begin_span(&self) -> Option<Instant> {
        self.latency.get().and_then(|monitor| monitor.begin())
    }

    fn end_span(&self, begun: Option<Instant>, events: &[&'static str]) {
        if let (Some(begun), Some(monitor)) = (begun, self.latency.get()) {
            let us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            events.iter().for_each(|event| monitor.note(event, us));
        }
    }

    /// Waits until everything in the log before `target` is as safe as the policy promises.
    #[inline]
    pub fn commit(&self, target: u64) {
        if self.settled.load(Ordering::Acquire) < target {
            self.commit_slowly(target);
        }
    }

    #[cold]
    fn commit_slowly(&self, target: u64) {
        let mut inner = self.inner.lock();
        if inner.is_stopped {
            return;
        }
        if self.settled.load(Ordering::Relaxed) < target && self.may_write(&mut inner) {
            self.advance(&mut inner, target);
        }
    }

    /// Writes what is in the log now, and syncs it under `always`.
    pub fn flush(&self) {
        let mut inner = self.inner.lock();
        if self.may_write(&mut inner) {
            self.advance(&mut inner, self.log.end());
        }
    }

    /// Writes and syncs everything, whatever the policy is.
    pub fn finish(&self) -> io::Result<()> {
        self.finish_with(&mut self.inner.lock())
    }

    /// [`Self::finish`], and takes nothing from the log from then on, so that another writer may.
    pub fn close(&self) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let finished = self.finish_with(&mut inner);
        inner.is_closed = true;
        finished
    }

    fn finish_with(&self, inner: &mut Inner) -> io::Result<()> {
        if inner.is_closed {
            return Ok(());
        }
        let target = self.log.end();
        self.sync_retired(inner)?;
        self.advance(inner, target);
        let error = inner.write_error.as_ref().map(|error| error.text.clone());
        match error.or_else(|| inner.sync_error.clone()) {
            Some(text) if self.written() < target => Err(io::Error::other(text)),
            _ => self.sync_in_place(inner),
        }
    }

    /// Has the log go on in `file`, which is empty, from the next [`WriteLog::divide`] on. It takes
    /// the place of a file that was prepared for a division that never came.
    ///
    /// Syncs the current file: when the next one is begun, commits wait until this one is on disk,
    /// and then there is little left of it.
    ///
    /// # Errors
    ///
    /// When that sync fails, which the system says once: replies may have been meant to wait for it.
    pub fn prepare_next(&self, file: Arc<dyn Storage>) -> io::Result<()> {
        let current = Arc::clone(&self.inner.lock().file);
        let synced = current.sync();
        let mut inner = self.inner.lock();
        if let Err(error) = synced {
            if inner.effective() == Policy::Always {
                self.exit_for(&error);
            }
            inner.sync_error = Some(os_error::text(&error));
            self.note_failing(&inner);
            return Err(error);
        }
        inner.next.truncate(self.log.divisions());
        inner.next.push_back(file);
        Ok(())
    }

    /// Changes the policy.
    pub fn set_policy(&self, policy: Policy) {
        let mut inner = self.inner.lock();
        inner.policy = policy;
        if policy == Policy::No {
            // Nothing would show that it is over.
            inner.sync_error = None;
            self.note_failing(&inner);
        }
        self.settle(&inner);
    }

    /// Stops syncing, or begins again (`no-appendfsync-on-rewrite`, while a rewrite is running).
    pub fn suspend_sync(&self, suspended: bool) {
        let mut inner = self.inner.lock();
        inner.sync_is_suspended = suspended;
        self.settle(&inner);
    }

    /// Has every write wait first, in microseconds (`DEBUG AOF-FLUSH-SLEEP`).
    pub fn set_flush_delay(&self, us: u64) {
        self.flush_delay_us.store(us, Ordering::Relaxed);
    }

    /// Says how long all files together are, and how long they were after the last rewrite.
    pub fn set_sizes(&self, current: u64, base: u64) {
        self.current_size.store(current, Ordering::Relaxed);
        self.base_size.store(base, Ordering::Relaxed);
    }

    /// Ends a rewrite: a base of `len` bytes took the place of all files but the current one.
    pub fn rewritten(&self, len: u64) {
        let mut inner = self.inner.lock();
        self.begin_next(&mut inner);
        // What the file before the division still gets is in the base.
        let current = if self.log.divisions() > 0 { 0 } else { inner.len };
        self.set_sizes(len + current, len + current);
    }

    /// Up to where the log is in files.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Up to where the log is on disk.
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Whether writes of clients are to be refused, because they cannot be kept.
    #[inline]
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// What the operating system says of it, for `MISCONF Errors writing to the AOF file: ...`.
    pub fn last_error(&self) -> Option<String> {
        let inner = self.inner.lock();
        let write_error = inner.write_error.as_ref().map(|error| error.text.clone());
        write_error.or_else(|| inner.sync_error.clone())
    }

    /// What INFO says.
    pub fn figures(&self) -> Figures {
        let inner = self.inner.lock();
        Figures {
            current_size: self.current_size.load(Ordering::Relaxed),
            base_size: self.base_size.load(Ordering::Relaxed),
            waiting: self.log.end() - self.written(),
            pending_syncs: inner.retired.len().max(usize::from(inner.sync_is_running)) as u64,
            delayed_syncs: self.delayed_syncs.load(Ordering::Relaxed),
            is_ok: inner.write_error.is_none() && inner.sync_error.is_none(),
        }
    }

    /// Whether a write may be tried now; notes the time if it is put off.
    fn may_write(&self, inner: &mut Inner) -> bool {
        if inner.is_closed {
            return false;
        }
        if inner.effective() == Policy::Always {
            return true;
        }
        if let Some(error) = &inner.write_error
            && error.at.elapsed() < self.options.period
        {
            return false;
        }
        if !inner.is_syncing() || self.log.end() - self.written() >= WAITING_MAX {
            return true;
        }
        let since = *inner.postponed_since.get_or_insert_with(Instant::now);
        if since.elapsed() < self.options.postpone_max {
            return false;
        }
        self.delayed_syncs.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            "Asynchronous AOF fsync is taking too long (disk is busy?). Writing the AOF buffer \
             without waiting for fsync to complete, this may slow down Redis."
        );
        true
    }

    /// Writes the log up to `target` or further, unless that fails, and syncs it under `always`.
    fn advance(&self, inner: &mut Inner, target: u64) {
        inner.postponed_since = None;
        loop {
            // Nothing goes into a file before everything in front of it is on disk: a file that ends
            // too early is cut only if nothing follows.
            if !inner.retired.is_empty() && !self.finish_retired(inner) {
                return;
            }
            if !inner.pending.is_empty() && !self.write_pending(inner) {
                return;
            }
            if self.begin_next(inner) {
                continue;
            }
            if self.written() >= target {
                break;
            }
            let taken = self.log.take(&mut inner.pending);
            assert_eq!(taken.start, self.written(), "the log has one taker");
            assert!(!taken.is_empty(), "what is to be committed was appended");
        }
        if inner.effective() == Policy::Always {
            self.sync_or_exit(inner);
        }
        self.settle(inner);
    }

    /// Syncs the files before the current one; says whether that went well.
    fn finish_retired(&self, inner: &mut Inner) -> bool {
        if inner.effective() == Policy::Always {
            self.sync_or_exit(inner);
            return true;
        }
        let synced = self.sync_retired(inner);
        match &synced {
            Ok(()) => inner.sync_error = None,
            Err(error) => self.note_sync_error(inner, error),
        }
        self.note_failing(inner);
        synced.is_ok()
    }

    /// Goes on in the next file, if the log is divided here; says whether it did.
    fn begin_next(&self, inner: &mut Inner) -> bool {
        let mut has_begun = false;
        while self.log.pass_division(self.written()) {
            let Some(next) = inner.next.pop_front() else { continue };
            let before = std::mem::replace(&mut inner.file, next);
            inner.retired.push((before, self.written()));
            inner.len = 0;
            has_begun = true;
        }
        if has_begun {
            self.wake.notify_one();
        }
        has_begun
    }

    /// Writes all pending bytes or none; says whether it went well.
    fn write_pending(&self, inner: &mut Inner) -> bool {
        let begun = self.begin_span();
        self.delay_flush();
        let mut done = 0;
        while done < inner.pending.len() {
            match inner.file.append(&inner.pending[done..]) {
                Ok(0) => {
                    self.give_up(inner, done, &io::ErrorKind::WriteZero.into());
                    return false;
                }
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.give_up(inner, done, &error);
                    return false;
                }
            }
        }
        let kind = match () {
            () if inner.sync_is_running => event::AOF_WRITE_PENDING_FSYNC,
            () if self.latency.get().is_some_and(|monitor| monitor.is_saving()) => {
                event::AOF_WRITE_ACTIVE_CHILD
            }
            () => event::AOF_WRITE_ALONE,
        };
        self.end_span(begun, &[event::AOF_WRITE, kind]);
        inner.pending.clear();
        if inner.pending.capacity() > KEPT_MAX {
            inner.pending.shrink_to(KEPT_MAX);
        }
        self.count_written(inner, done);
        if inner.write_error.take().is_some() {
            tracing::info!("AOF write error looks solved, Redis can write again.");
            self.note_failing(inner);
        }
        true
    }

    /// Handles an error after `done` of the pending bytes were written.
    #[cold]
    fn give_up(&self, inner: &mut Inner, done: usize, error: &io::Error) {
        let now = Instant::now();
        let speak = inner.last_error_line.is_none_or(|at| now - at >= ERROR_LINES_EVERY);
        if speak {
            inner.last_error_line = Some(now);
        }
        let text = os_error::text(error);
        if speak && done == 0 {
            tracing::warn!("Error writing to the AOF file: {text}");
        } else if speak {
            tracing::warn!(
                "Short write while writing to the AOF file: (nwritten={done}, expected={}): {text}",
                inner.pending.len()
            );
        }
        if done > 0
            && let Err(error) = inner.file.truncate(inner.len)
        {
            if speak {
                tracing::warn!(
                    "Could not remove short write from the append-only file.  Redis may refuse to \
                     load the AOF the next time it starts.  ftruncate: {}",
                    os_error::text(&error)
                );
            }
            inner.pending.drain(..done);
            self.count_written(inner, done);
        }
        if inner.effective() == Policy::Always {
            tracing::warn!(
                "Can't recover from AOF write error when the AOF fsync policy is 'always'. \
                 Exiting..."
            );
            (self.options.exit)();
        }
        inner.write_error = Some(WriteError { text, at: now });
        self.note_failing(inner);
    }

    fn count_written(&self, inner: &mut Inner, count: usize) {
        inner.len += count as u64;
        self.current_size.fetch_add(count as u64, Ordering::Relaxed);
        self.written.fetch_add(count as u64, Ordering::Release);
    }

    fn note_failing(&self, inner: &Inner) {
        let failing = inner.write_error.is_some() || inner.sync_error.is_some();
        self.is_failing.store(failing, Ordering::Relaxed);
    }

    /// Says up to where commits have nothing to wait for under the present policy.
    fn settle(&self, inner: &Inner) {
        let reached = match inner.effective() {
            Policy::Always => &self.durable,
            Policy::EverySecond | Policy::No => &self.written,
        };
        self.settled.store(reached.load(Ordering::Relaxed), Ordering::Release);
    }

    /// Syncs all files while nobody can write.
    fn sync_in_place(&self, inner: &mut Inner) -> io::Result<()> {
        self.sync_retired(inner)?;
        if self.durable() < self.written() {
            inner.file.sync()?;
            self.durable.fetch_max(self.written(), Ordering::Release);
        }
        inner.sync_error = None;
        self.note_failing(inner);
        Ok(())
    }

    fn sync_retired(&self, inner: &mut Inner) -> io::Result<()> {
        while let Some((file, upto)) = inner.retired.first() {
            file.sync()?;
            self.durable.fetch_max(*upto, Ordering::Release);
            inner.retired.remove(0);
        }
        Ok(())
    }

    fn sync_or_exit(&self, inner: &mut Inner) {
        let begun = self.begin_span();
        if let Err(error) = self.sync_in_place(inner) {
            self.exit_for(&error);
        }
        self.end_span(begun, &[event::AOF_FSYNC_ALWAYS]);
    }

    fn exit_for(&self, error: &io::Error) -> ! {
        tracing::warn!(
            "Can't persist AOF for fsync error when the AOF fsync policy is 'always': {}. \
             Exiting...",
            os_error::text(error)
        );
        (self.options.exit)()
    }

    fn delay_flush(&self) {
        let us = self.flush_delay_us.load(Ordering::Relaxed);
        if us > 0 {
            #[expect(clippy::disallowed_methods, reason = "the disk is to look slow")]
            thread::sleep(Duration::from_micros(us));
        }
    }
}
