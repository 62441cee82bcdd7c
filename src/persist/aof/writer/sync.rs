//! The thread that syncs what the writer wrote, and tries again what failed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use parking_lot::MutexGuard;

use super::{Inner, Writer};
use crate::base::os_error;
use crate::persist::aof::policy::Policy;
use crate::persist::aof::storage::Storage;

/// A file that is due, and up to where the log is on disk when it was synced.
type Due = (Arc<dyn Storage>, u64);

impl Writer {
    /// Does what is due without a commit: writes what was put off or failed, and syncs.
    pub(super) fn tick(&self, mut inner: MutexGuard<'_, Inner>) {
        // A file that was just followed by the next is synced before anything else.
        if inner.retired.is_empty() && self.may_write(&mut inner) {
            self.advance(&mut inner, self.log.end());
        }
        let files = self.files_to_sync(&inner);
        if files.is_empty() {
            return;
        }
        inner.sync_is_running = true;
        drop(inner);
        let synced = files.iter().try_for_each(|(file, _)| file.sync());
        self.end_sync(&files, synced);
    }

    /// The files that are due, in order, with the offsets up to which the log is on disk then.
    fn files_to_sync(&self, inner: &Inner) -> Vec<Due> {
        let mut files = inner.retired.clone();
        let written = self.written();
        if inner.effective() == Policy::EverySecond && self.durable() < written {
            files.push((Arc::clone(&inner.file), written));
        }
        files
    }

    fn end_sync(&self, files: &[Due], synced: io::Result<()>) {
        let mut inner = self.inner.lock();
        inner.sync_is_running = false;
        match synced {
            Ok(()) => {
                let upto = files.last().map_or(0, |(_, upto)| *upto);
                self.durable.fetch_max(upto, Ordering::Release);
                inner.retired.retain(|(_, at)| *at > upto);
                inner.sync_error = None;
            }
            Err(error) => self.note_sync_error(&mut inner, &error),
        }
        self.note_failing(&inner);
        self.settle(&inner);
        if self.written() < self.log.end() && self.may_write(&mut inner) {
            self.advance(&mut inner, self.log.end());
        }
    }

    pub(super) fn note_sync_error(&self, inner: &mut Inner, error: &io::Error) {
        let text = os_error::text(error);
        if inner.sync_error.as_ref() != Some(&text) {
            tracing::warn!("Fail to fsync the AOF file: {text}");
        }
        inner.sync_error = Some(text);
        self.note_failing(inner);
    }

    fn keep_syncing(&self) {
        let mut inner = self.inner.lock();
        while !inner.is_stopped {
            if inner.retired.is_empty() || inner.sync_error.is_some() {
                self.wake.wait_for(&mut inner, self.options.period);
            }
            self.tick(inner);
            inner = self.inner.lock();
        }
    }
}

/// The thread that syncs for a writer; it ends when this is dropped.
pub struct Syncer {
    writer: Arc<Writer>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Starts the thread.
    pub fn start(writer: &Arc<Writer>) -> io::Result<Self> {
        let own = Arc::clone(writer);
        let thread =
            thread::Builder::new().name("aof-sync".to_owned()).spawn(move || own.keep_syncing())?;
        Ok(Self { writer: Arc::clone(writer), thread: Some(thread) })
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.writer.inner.lock().is_stopped = true;
        self.writer.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic has ended the process; there is nothing else to learn.
            let _ = thread.join();
        }
    }
}
