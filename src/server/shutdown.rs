//! The way down: who asked, the last save, and telling the event loops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Purpose, Server, gate};

/// How the process is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownMode {
    /// Connections are closed, exit code 0.
    Graceful,
    /// At once, exit code 1: the second SIGINT.
    Insisted,
}

/// How SHUTDOWN is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownOptions {
    /// SAVE or NOSAVE, if either was said.
    pub save: Option<bool>,
    /// Do not wait for replicas.
    pub now: bool,
    /// Stop even if saving fails.
    pub force: bool,
    /// A signal asks for it, which is heeded only while the cron runs (DEBUG PAUSE-CRON).
    pub by_signal: bool,
}

/// Is told whether the server stops.
type Decided = Box<dyn FnOnce(bool) + Send>;

/// Who asks the process to end.
#[derive(Default)]
struct Asking {
    /// Whom to tell whether it ends.
    now: Vec<Decided>,
    /// Who has asked since that was called off, and is to be heard when it is over.
    again: Vec<(ShutdownOptions, Decided)>,
}

/// Whether the process is ending.
#[derive(Default)]
pub struct Shutdown {
    /// 0 running, 1 graceful, 2 insisted.
    state: AtomicU8,
    /// Whether the last save is under way.
    preparing: AtomicBool,
    /// Whether it is not to end after all.
    aborted: AtomicBool,
    /// Whether what changed is to be saved once nobody can change anything any more.
    save_rest: AtomicBool,
    /// Whether a script that is running is to end at once, whatever it has written.
    abandons: AtomicBool,
    asking: Mutex<Asking>,
    changed: Notify,
}

impl Shutdown {
    /// Asks the process to end, without a save.
    pub fn request(&self, mode: ShutdownMode) {
        self.decide(mode);
        self.changed.notify_waiters();
    }

    fn decide(&self, mode: ShutdownMode) {
        let state = if mode == ShutdownMode::Graceful { 1 } else { 2 };
        self.state.fetch_max(state, Ordering::SeqCst);
    }

    /// How the process is to end, if it is.
    pub fn requested(&self) -> Option<ShutdownMode> {
        match self.state.load(Ordering::SeqCst) {
            0 => None,
            1 => Some(ShutdownMode::Graceful),
            _ => Some(ShutdownMode::Insisted),
        }
    }

    /// Whether somebody asked the process to end, and it may.
    pub fn is_under_way(&self) -> bool {
        let prepares = self.preparing.load(Ordering::SeqCst) && !self.is_aborted();
        self.requested().is_some() || prepares
    }

    /// Has scripts end at once, by half if need be (SHUTDOWN NOSAVE); nothing that they leave behind is
    /// written to a file.
    pub fn abandon_scripts(&self) {
        self.abandons.store(true, Ordering::SeqCst);
    }

    /// Whether the data may hold what a script did by half.
    pub fn abandons_scripts(&self) -> bool {
        self.abandons.load(Ordering::SeqCst)
    }

    fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::SeqCst)
    }

    fn abort(&self) -> bool {
        // Whoever decides holds the same lock.
        let _asking = self.asking.lock();
        let can = self.preparing.load(Ordering::SeqCst) && self.requested().is_none();
        self.aborted.fetch_or(can, Ordering::SeqCst);
        can
    }

    /// Completes when the process is to end.
    pub async fn wait(&self) -> ShutdownMode {
        loop {
            let changed = self.changed.notified();
            if let Some(mode) = self.requested() {
                return mode;
            }
            changed.await;
        }
    }
}

impl Server {
    /// Has the process go on that is getting ready to end; `false` if it is not, or has to end now.
    pub fn abort_shutdown(&self) -> bool {
        let aborted = self.shutdown.abort();
        if aborted {
            tracing::warn!("Shutdown manually aborted.");
            self.saving.cancel(Purpose::Save);
        }
        aborted
    }

    /// Saves where that is configured or asked for, then asks the process to end. Writes wait
    /// meanwhile. `decided` is told whether the server stops; if saving fails, everything goes on.
    pub fn begin_shutdown(
        self: &Arc<Self>,
        options: ShutdownOptions,
        decided: impl FnOnce(bool) + Send + 'static,
    ) {
        self.begin_shutdown_for(options, Box::new(decided));
    }

    fn begin_shutdown_for(self: &Arc<Self>, options: ShutdownOptions, decided: Decided) {
        let mut asking = self.shutdown.asking.lock();
        if self.shutdown.is_aborted() {
            return asking.again.push((options, decided));
        }
        asking.now.push(decided);
        if self.shutdown.preparing.swap(true, Ordering::SeqCst) {
            return;
        }
        drop(asking);
        tracing::warn!("User requested shutdown...");
        let server = Arc::clone(self);
        let work = move || {
            let ready = server.prepare_shutdown(options);
            let mut asking = server.shutdown.asking.lock();
            let aborted = server.shutdown.aborted.swap(false, Ordering::SeqCst);
            let stops = ready && !aborted;
            if aborted {
                server.pause.end_closing();
            }
            if stops {
                server.shutdown.decide(ShutdownMode::Graceful);
            } else {
                server.shutdown.preparing.store(false, Ordering::SeqCst);
                if server.shutdown.abandons.swap(false, Ordering::SeqCst)
                    && server.scripts.running().is_none()
                {
                    // The script has ended, and left the gate to the end that does not come.
                    server.set_gate(gate::BUSY, false);
                }
            }
            let Asking { now, again } = std::mem::take(&mut *asking);
            drop(asking);
            now.into_iter().for_each(|decided| decided(stops));
            for (options, decided) in again {
                server.begin_shutdown_for(options, decided);
            }
            if stops {
                server.shutdown.changed.notify_waiters();
            }
        };
        let spawned = std::thread::Builder::new().name("shutdown".to_owned()).spawn(work);
        if let Err(error) = spawned {
            tracing::warn!("Can't begin to shut down: {error}");
            self.shutdown.preparing.store(false, Ordering::SeqCst);
        }
    }

    /// Whether everything is ready for the end.
    fn prepare_shutdown(&self, options: ShutdownOptions) -> bool {
        while options.by_signal && self.cron_paused.load(Ordering::Relaxed) {
            if self.shutdown.is_aborted() {
                return false;
            }
            rest();
        }
        let configured = !self.config.read().save_points().is_empty();
        // What is half loaded must not take the place of the file.
        // Nor what a script did that was ended halfway.
        let whole = !self.loading.is_active() && !self.shutdown.abandons_scripts();
        let save = options.save.unwrap_or(configured) && whole;
        self.pause.begin_closing();
        self.set_gate(gate::PAUSED, true);
        if self.is_appending_first() {
            if !options.force {
                tracing::warn!("Writing initial AOF, can't exit.");
                self.pause.end_closing();
                return false;
            }
            tracing::warn!("Writing initial AOF. Exit anyway.");
        }
        if self.saving.cancel(Purpose::Save) {
            tracing::warn!("There is a child saving an .rdb. Killing it!");
        }
        if self.saving.cancel(Purpose::Rewrite) {
            tracing::warn!("There is a child rewriting the AOF. Killing it!");
        }
        self.saving.wait_idle();
        self.shutdown.save_rest.store(save, Ordering::SeqCst);
        if self.shutdown.is_aborted() {
            return false;
        }
        if !save {
            return true;
        }
        tracing::info!("Saving the final RDB snapshot before exiting.");
        let saved = self.save().is_ok();
        if self.shutdown.is_aborted() {
            return false;
        }
        // Who wants no save has come meanwhile.
        if saved || options.force || self.shutdown.abandons_scripts() {
            return true;
        }
        tracing::warn!("Error trying to save the DB, can't exit.");
        tracing::warn!(
            "Errors trying to shut down the server. Check the logs for more information."
        );
        self.pause.end_closing();
        false
    }

    /// Saves what commands changed that had begun before writes had to wait; called when no event
    /// loop runs any more.
    pub fn save_rest(&self) {
        if self.shutdown.save_rest.load(Ordering::SeqCst)
            && !self.shutdown.abandons_scripts()
            && self.unsaved_changes() > 0
            && let Err(error) = self.save()
        {
            tracing::warn!("The last changes were not saved: {error:?}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, while a test holds the cron")]
fn rest() {
    std::thread::sleep(Duration::from_millis(5));
}
