//! The report of a crash: `crash-log-enabled`.
//!
//! A panic, and a SIGABRT or SIGBUS from outside, print what may help to find the cause, in the frame
//! that log watchers know from Redis, and then end the process as they would have without it, so that
//! the exit status and a core file are the same. A fault of the processor (SIGSEGV, SIGILL, SIGFPE)
//! would need code in a signal handler, and ends the process without a report; `DEBUG SEGFAULT` has one
//! because it says so beforehand.
//!
//! Whoever crashes may hold any lock. What the server knows is therefore collected by another thread,
//! for which the report waits a moment only.

use std::backtrace::Backtrace;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use crate::config::REDIS_VERSION;
use crate::keyspace::Stats;
use crate::observe::allocator;
use crate::server::{InfoContext, Server};

/// How long the report waits for what the server knows.
const PATIENCE: Duration = Duration::from_secs(2);

/// Has panics reported from now on.
pub(super) fn report_panics(server: &Arc<Server>) {
    let server = Arc::downgrade(server);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        let Some(server) = Weak::upgrade(&server) else { return };
        let enabled =
            server.config.try_read().is_none_or(|config| config.flag("crash-log-enabled"));
        if enabled {
            let place = info.location().map_or_else(String::new, ToString::to_string);
            let thread = std::thread::current().name().unwrap_or("?").to_owned();
            let payload = info.payload();
            let text = payload.downcast_ref::<&str>().copied();
            let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let text = text.unwrap_or("no text");
            report(&server, &format!("panicked: {text}\nat {place}, in the thread {thread}"));
        }
        let exits = server.config.try_read().is_some_and(|config| config.flag("use-exit-on-panic"));
        if exits {
            std::process::exit(1);
        }
        std::process::abort();
    }));
}

/// Ends the process as by a fault of the processor.
pub(super) fn end_by_fault(server: &Weak<Server>) {
    match server.upgrade() {
        Some(server) => end_by(&server, Signal::SEGV),
        None => std::process::abort(),
    }
}

/// Reports a signal that ends the process, and ends it by that signal.
pub(super) fn end_by(server: &Arc<Server>, signal: Signal) -> ! {
    if server.config.try_read().is_none_or(|config| config.flag("crash-log-enabled")) {
        report(server, &format!("crashed by signal: {}", signal.as_raw()));
    }
    for _ in 0..if signal == Signal::ABORT { 0 } else { 2 } {
        // A handler of the standard library takes the first one for the end of a stack, finds that it is
        // not, and lets the next one through. Each may reach another thread first.
        let _ = kill_process(getpid(), signal);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    std::process::abort()
}

/// What the server knows, without locks of the keyspace.
fn facts(server: &Server) -> String {
    let (keys, databases) = (Stats::default(), []);
    let memory = allocator::figures();
    let context = InfoContext { memory, command_names: &[], keys: &keys, databases: &databases };
    let mut text = format!("------ INFO OUTPUT ------\n{}", server.info(&[], &context));
    text.push_str("------ CLIENT LIST OUTPUT ------\n");
    for client in server.clients.all() {
        let (id, addr, db) = (client.id, client.peer.addr(), client.db.load(Ordering::Relaxed));
        text.push_str(&format!(
            "id={id} addr={addr} db={db} qbuf={}\n",
            client.query_len.load(Ordering::Relaxed)
        ));
    }
    text.replace("\r\n", "\n")
}

fn report(server: &Arc<Server>, cause: &str) {
    let mut text = format!(
        "\n\n=== REDIS BUG REPORT START: Cut & paste starting from here ===\n\
         Redis {REDIS_VERSION} {cause}\n\n------ STACK TRACE ------\n{}\n",
        Backtrace::force_capture()
    );
    let (sender, known) = channel();
    let on = Arc::clone(server);
    let collect = move || {
        // Nobody listens any more if it took too long.
        let _ = sender.send(facts(&on));
    };
    let spawned = std::thread::Builder::new().name("report".to_owned()).spawn(collect);
    let facts = spawned.ok().and_then(|_| known.recv_timeout(PATIENCE).ok());
    text.push_str(&facts.unwrap_or_else(|| "The server's state cannot be read.\n".to_owned()));
    text.push_str(
        "\n=== REDIS BUG REPORT END. Make sure to include from START to END. ===\n\n       \
         Please report the crash to the makers of Redstart, not of Redis, with this text.\n",
    );
    tracing::warn!("{text}");
}
