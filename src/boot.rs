//! Starting and stopping: sockets, event loops, signals, and the log lines that tools wait for.

mod crash;
mod daemon;
mod memory_test;
mod system;
mod title;

use std::ffi::OsString;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use rustix::process::Signal;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::base::clock;
use crate::command::CommandTable;
use crate::config::{Config, REDIS_VERSION};
use crate::exec;
use crate::http;
use crate::net::{self, Acceptor, BindError, Listeners, Reactor};
use crate::observe::log::LogSettings;
use crate::observe::{allocator, log};
use crate::server::{NotListening, Server, ShutdownMode, ShutdownOptions, warn_unsupported};

pub use memory_test::test_memory;
pub use system::check_system;
pub use title::without_room;

use self::daemon::{PidFile, Place, Supervisor};
use self::system::OomScore;
use self::title::Title;

/// How often an event loop looks for expired keys.
const EXPIRE_PERIOD: Duration = Duration::from_millis(100);
/// How long the expiry cycle rests between two slices of work: it takes a quarter of a core at most.
const EXPIRE_REST: Duration = Duration::from_millis(1);
/// How often rates and memory are sampled and idle clients looked for.
const CRON_PERIOD: Duration = Duration::from_millis(100);
/// How long connections are not accepted while the data is being loaded.
const LOADING_UNSEEN: Duration = Duration::from_millis(300);
/// How long connections get to receive their last replies when the server stops.
const LAST_REPLIES: Duration = Duration::from_millis(50);

/// How the program was called.
pub struct Call {
    /// Its name and its arguments.
    pub args: Vec<OsString>,
    /// What it read from standard input.
    pub stdin: Option<Vec<u8>>,
    /// Whether its arguments leave room for a title.
    pub has_room: bool,
}

/// Runs the server until it is told to stop.
pub fn run(config: Config, call: Call) -> anyhow::Result<ExitCode> {
    let place = daemon::go_to_background(&config, &call.args, call.stdin.as_deref())?;
    if place == Place::Elsewhere {
        return Ok(ExitCode::SUCCESS);
    }
    // Standard input cannot be read a second time.
    if config.flag("set-proc-title") && !call.has_room && call.stdin.is_none() {
        title::make_room(&call.args);
    }
    let log = log::init(LogSettings::from_config(&config))?;
    let threads = match usize::try_from(config.int("threads")).unwrap_or(0) {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    };
    greet(&config);
    let supervisor = Supervisor::of(&config).begin();
    let dir = config.text("dir").to_owned();
    std::env::set_current_dir(&dir).with_context(|| format!("Can't chdir to '{dir}'"))?;
    let pid_file = PidFile::create(&config, place);
    let commands = CommandTable::new(config.renames())
        .map_err(|name| anyhow!("No such command in rename-command, or name taken: '{name}'"))?;
    warn_unsupported(&config, None);
    system::warn(&config);
    let listeners = match net::bind(&config) {
        Ok(listeners) => listeners,
        Err(error) => {
            tracing::warn!("{error}");
            if matches!(error, BindError::Tls(_)) {
                tracing::warn!("Failed to configure TLS. Check logs for more info.");
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    clock::ticks_per_us();
    let server = Server::new(config, threads, CommandTable::catalog(), Some(log));
    if let Err(error) = server.load_users() {
        tracing::warn!("{error}");
        return Ok(ExitCode::FAILURE);
    }
    *server.listeners.write() = listeners.shown();
    let commands = Arc::new(commands);
    // Before anybody can ask whether the data is there.
    server.begin_loading();
    if let Err(error) = http::open(&server, &commands) {
        tracing::warn!("{error}");
        return Ok(ExitCode::FAILURE);
    }
    adapt(&server, supervisor, &call);
    server.loading.set_runner(exec::RUNNER);
    tracing::info!("Server initialized");
    let mode = serve(&server, commands, listeners, supervisor)?;
    http::close(&server);
    if mode != ShutdownMode::Graceful {
        // As with Redis, what went wrong is the last line of the log, and the file stays.
        return Ok(ExitCode::FAILURE);
    }
    pid_file.remove();
    tracing::warn!("Redis is now ready to exit, bye bye...");
    Ok(ExitCode::SUCCESS)
}

/// Adapts the process to the configuration, now and whenever that changes.
fn adapt(server: &Arc<Server>, supervisor: Supervisor, call: &Call) {
    // Both are set here only.
    let _ = server.supervisor.set(supervisor.name());
    let weak = Arc::downgrade(server);
    let _ = server.crash.set(Box::new(move || crash::end_by_fault(&weak)));
    crash::report_panics(server);
    let config = server.config.read();
    let name = call.args.first().cloned().unwrap_or_default();
    let (title, mut score) = (Title::new(&config, &name), OomScore::default());
    let mut adapt = move |config: &Config| {
        score.apply(config)?;
        title.show(config);
        Ok(())
    };
    // The reason is in the log, and no reason not to serve.
    let _ = adapt(&config);
    *server.adapt_process.lock() = Some(Box::new(adapt));
}

fn greet(config: &Config) {
    use std::io::IsTerminal;
    let (pid, port) = (std::process::id(), config.int("port"));
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!("oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo");
    tracing::info!(
        "Redis version={REDIS_VERSION}, bits={}, commit=00000000, modified=0, pid={pid}, just \
         started (redstart {version})",
        usize::BITS
    );
    match config.path() {
        Some(_) => tracing::info!("Configuration loaded"),
        None => tracing::warn!(
            "Warning: no config file specified, using the default config. In order to specify a \
             config file use redstart /path/to/redis.conf"
        ),
    }
    if config.flag("always-show-logo") || std::io::stdout().is_terminal() {
        tracing::info!(
            "\n\n    Redstart {version} ({} bit)\n    speaking as Redis {REDIS_VERSION}\n\n    \
             Running in standalone mode\n    Port: {port}\n    PID: {pid}\n",
            usize::BITS
        );
    } else {
        tracing::info!("Running mode=standalone, port={port}.");
    }
}

/// Starts the event loops and waits for all of them.
///
/// The main thread serves no connection: it accepts them and receives signals, also while every event
/// loop is busy.
fn serve(
    server: &Arc<Server>,
    commands: Arc<CommandTable>,
    listeners: Listeners,
    supervisor: Supervisor,
) -> anyhow::Result<ShutdownMode> {
    let (acceptor, arrivals) = Acceptor::new(Arc::clone(server));
    let mut threads = Vec::new();
    for (number, arrivals) in arrivals.into_iter().enumerate() {
        let (server, commands) = (Arc::clone(server), Arc::clone(&commands));
        let thread =
            std::thread::Builder::new().name(format!("loop-{number}")).spawn(move || {
                let runtime = runtime().expect("the main thread's could be made");
                let reactor = Reactor::new(server, commands, number, arrivals);
                LocalSet::new().block_on(&runtime, event_loop(reactor));
            })?;
        threads.push(thread);
    }
    let runtime = runtime()?;
    LocalSet::new().block_on(&runtime, accept(server, acceptor, listeners, supervisor))?;
    // Signals are heard until the last event loop has ended, which may wait for a script.
    let last = async {
        tokio::task::spawn_local(watch_signals(Arc::clone(server)));
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().map(std::thread::JoinHandle::join).all(|end| end.is_ok())
        });
        joined.await.is_ok_and(|ended| ended)
    };
    if !LocalSet::new().block_on(&runtime, last) {
        return Err(anyhow!("an event loop panicked"));
    }
    server.save_rest();
    server.finish_appending();
    Ok(server.shutdown.requested().unwrap_or(ShutdownMode::Graceful))
}

/// Loads the data and accepts connections until the server stops.
async fn accept(
    server: &Arc<Server>,
    acceptor: Rc<Acceptor>,
    listeners: Listeners,
    supervisor: Supervisor,
) -> anyhow::Result<()> {
    tokio::task::spawn_local(watch_signals(Arc::clone(server)));
    tokio::task::spawn_local(cron(Arc::clone(server)));
    server.startup_memory.store(allocator::figures().allocated, Ordering::Relaxed);
    let unix = listeners.unix_path().cloned();
    let kinds: Vec<_> = listeners.shown().iter().map(|listener| listener.kind).collect();
    // Who connects in the first moment waits for an answer rather than being told to come back.
    let mut loading = Box::pin(load(server));
    let early = tokio::time::timeout(LOADING_UNSEEN, &mut loading).await.ok();
    let mut listening = acceptor.start(listeners)?;
    *server.relisten.lock() = Some(Box::new(move |config, before| {
        listening.listen_anew(config, before).map_err(|error| match error {
            BindError::Tls(error) => NotListening::Tls(error.to_string()),
            error => NotListening::Socket(error.to_string()),
        })
    }));
    let loaded = match early {
        Some(loaded) => loaded,
        None => loading.await,
    };
    if loaded {
        for kind in kinds {
            tracing::info!("Ready to accept connections {kind}");
        }
        supervisor.tell("STATUS=Ready to accept connections\n");
        supervisor.tell("READY=1\n");
        server.shutdown.wait().await;
    }
    supervisor.tell("STOPPING=1\n");
    // The last copies of the listening sockets go, so that nobody connects any more.
    *server.relisten.lock() = None;
    if let Some(path) = unix {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// Loads the data on a thread of its own; `false` if the server stops instead.
async fn load(server: &Arc<Server>) -> bool {
    let (sender, loaded) = tokio::sync::oneshot::channel();
    let on = Arc::clone(server);
    let work = move || {
        // Nobody listens any more if the server stops.
        let _ = sender.send(on.load_data());
    };
    if let Err(error) = std::thread::Builder::new().name("load".to_owned()).spawn(work) {
        tracing::warn!("Can't begin to load: {error}");
        server.shutdown.request(ShutdownMode::Insisted);
        return false;
    }
    tokio::select! {
        _ = server.shutdown.wait() => false,
        loaded = loaded => match loaded {
            Ok(Ok(())) => {
                server.end_loading();
                true
            }
            Ok(Err(reason)) => {
                tracing::warn!("{reason}");
                server.shutdown.request(ShutdownMode::Insisted);
                false
            }
            // A panic has ended the process already.
            Err(_) => false,
        },
    }
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Serves the connections of one event loop until the server stops.
async fn event_loop(reactor: Rc<Reactor>) {
    reactor.care_while_waiting();
    let server = Arc::clone(reactor.server());
    tokio::task::spawn_local(Rc::clone(&reactor).run_flusher());
    tokio::task::spawn_local(expire(Rc::clone(&reactor)));
    let stopped = server.shutdown.wait();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            arrival = reactor.arrival() => match arrival {
                Some(arrival) => arrival.serve(Rc::clone(&reactor)),
                None => break,
            },
            mode = &mut stopped => {
                if mode == ShutdownMode::Graceful {
                    tokio::time::sleep(LAST_REPLIES).await;
                }
                break;
            }
        }
    }
}

/// Removes what has expired from the event loop's share of the shards.
async fn expire(reactor: Rc<Reactor>) {
    let mut busy_us = 0;
    loop {
        tokio::time::sleep(EXPIRE_PERIOD).await;
        busy_us = reactor.note_busy(busy_us);
        let mut begun = Instant::now();
        reactor.check_outputs();
        let paused = || reactor.server().cron_paused.load(Ordering::Relaxed);
        if !paused() {
            reactor.walk_slice();
        }
        while !paused() && (reactor.evict_slice() | reactor.expire_slice()) {
            reactor.note_cron(begun);
            tokio::time::sleep(EXPIRE_REST).await;
            begun = Instant::now();
        }
        reactor.note_cron(begun);
    }
}

/// Samples what INFO shows and closes idle clients.
async fn cron(server: Arc<Server>) {
    let (mut tls_files, mut tls_seen_ms) = (Vec::new(), 0);
    loop {
        tokio::time::sleep(CRON_PERIOD).await;
        if server.cron_paused.load(Ordering::Relaxed) {
            continue;
        }
        let now_ms = server.now_ms();
        server.update_disk_gate();
        server.save_if_due();
        server.rewrite_if_due();
        server.stats.sample(clock::now_ms());
        server.note_memory(allocator::figures().allocated);
        let tls_period_ms = server.config.read().int("tls-auto-reload-interval") * 1000;
        if tls_period_ms > 0 && clock::now_ms() - tls_seen_ms >= tls_period_ms {
            tls_seen_ms = clock::now_ms();
            server.reload_tls(&mut tls_files);
        }
        server.account_clients();
        let idle_seconds = server.settings.idle_seconds.load(Ordering::Relaxed);
        if idle_seconds > 0 {
            for client in server.clients.all() {
                let idle_ms = now_ms - client.active_at_ms.load(Ordering::Relaxed);
                let exempt =
                    client.waiter().is_some() || client.is_subscriber() || client.is_monitor();
                if idle_ms > idle_seconds * 1000 && !exempt {
                    client.kill();
                }
            }
        }
    }
}

/// Turns SIGTERM and SIGINT into a shutdown; a second SIGINT does not wait for it. SIGHUP is ignored,
/// SIGABRT and SIGBUS end the process with a report.
async fn watch_signals(server: Arc<Server>) {
    let streams = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
        signal(SignalKind::from_raw(Signal::ABORT.as_raw())),
        signal(SignalKind::from_raw(Signal::BUS.as_raw())),
    );
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup), Ok(mut abort), Ok(mut bus)) =
        streams
    else {
        tracing::warn!("Signals cannot be received; they end the process at once");
        return;
    };
    loop {
        let (name, directive) = tokio::select! {
            _ = terminate.recv() => ("SIGTERM", "shutdown-on-sigterm"),
            _ = interrupt.recv() => ("SIGINT", "shutdown-on-sigint"),
            _ = hangup.recv() => continue,
            _ = abort.recv() => crash::end_by(&server, Signal::ABORT),
            _ = bus.recv() => crash::end_by(&server, Signal::BUS),
        };
        if name == "SIGINT" && server.shutdown.is_under_way() {
            tracing::warn!("You insist... exiting now.");
            server.remove_unfinished_save();
            std::process::exit(1);
        }
        tracing::warn!("Received {name} scheduling shutdown...");
        let options = shutdown_options(server.config.read().words(directive));
        server.begin_shutdown(options, move |stops| {
            if !stops {
                tracing::warn!(
                    "{name} received but errors trying to shut down the server, check the logs for \
                     more information"
                );
            }
        });
    }
}

/// How a signal stops the server, as its directive says. There are no replicas to wait for or to hand
/// over to, and a save is never left out for safety.
fn shutdown_options(words: &[String]) -> ShutdownOptions {
    let has = |word: &str| words.iter().any(|own| own == word);
    let save = if has("save") { Some(true) } else { has("nosave").then_some(false) };
    ShutdownOptions { save, now: has("now"), force: has("force"), by_signal: true }
}
