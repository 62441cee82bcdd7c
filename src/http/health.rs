//! `/healthz` and `/readyz`: whether clients can work with the server, for probes and load balancers; in
//! trouble where PING would be refused.

use std::sync::atomic::Ordering::Relaxed;

use crate::server::{Server, gate};

/// What keeps clients from working.
pub(super) struct Trouble {
    /// One word for programs.
    pub(super) status: &'static str,
    /// A sentence for people.
    pub(super) why: String,
}

/// The same in a word, which waits for no lock: where a disk hangs, writers hold theirs.
pub(super) fn word(server: &Server) -> &'static str {
    let gates = server.gates.load(Relaxed);
    match () {
        () if server.shutdown.is_under_way() => "stopping",
        () if server.loading.is_active() => "loading",
        () if gates & gate::DISK != 0 => "misconf",
        () if gates & gate::BUSY != 0 => "busy",
        () => "ok",
    }
}

/// The first of what is wrong, or nothing.
pub(super) fn trouble(server: &Server) -> Option<Trouble> {
    let of = |status, why| Some(Trouble { status, why });
    if server.shutdown.is_under_way() {
        return of("stopping", "The server is shutting down.".to_owned());
    }
    if let Some(figures) = server.loading.figures() {
        let percent = figures.loaded as f64 * 100.0 / figures.total.max(1) as f64;
        return of("loading", format!("The data is being loaded, {percent:.1} % so far."));
    }
    let gates = server.gates.load(Relaxed);
    if gates & gate::DISK != 0
        && let Some(error) = server.disk_trouble()
    {
        return of("misconf", error);
    }
    if gates & gate::BUSY != 0 {
        return of("busy", "A script runs for longer than busy-reply-threshold.".to_owned());
    }
    None
}
