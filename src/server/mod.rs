//! The process: what all event loops and commands share.
//!
//! Owns the [`Server`] with its settings, clients, pause and shutdown state, the write stream and
//! INFO's sections. Must not know commands or the sockets of clients. Keeps: `propagate` is the only door to the
//! append-only file and replicas; whatever the hot path reads of the configuration is one atomic load.

mod appending;
mod blocked;
mod client;
mod client_memory;
mod clients;
mod courier;
mod eviction;
mod fieldsets;
mod info;
mod info_keys;
mod invalidation;
mod lazyfree;
mod loading;
mod memory;
mod monitors;
mod pause;
mod propagate;
mod publish;
mod reconfigure;
mod saving;
mod settings;
mod shutdown;
mod tracking;
mod transaction;
mod users;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Mutex, RwLock};

pub use appending::{AppendError, Appending, AppendingFigures};
pub use blocked::{Blocked, Retry, Wait, WaitEnd, Waiter};
pub use client::{
    Backlog, Client, ClientFlags, ClientHandle, Identity, Peer, Unfinished, meanwhile,
};
pub use client_memory::ClientMemory;
pub use clients::Clients;
pub use courier::{
    Answer, Broken, Couriers, Delivery, Parcel, Receipt, Request, Secure, Timed, Wire,
};
pub use eviction::Eviction;
pub use fieldsets::{Fieldset, Fieldsets};
pub use info::{InfoContext, cpu_seconds};
pub use lazyfree::LazyFree;
pub use loading::{LoadedFigures, Loading, LoadingFigures, MakeRunner, RunAgain, SnapshotLoad};
pub use memory::{MemoryUse, Ratio};
pub use monitors::Monitors;
pub use pause::{Pause, PauseKind};
pub use propagate::Propagation;
pub use reconfigure::warn_unsupported;
pub use saving::{Purpose, SaveFailure, Saving, SavingFigures};
pub use settings::{OutputBound, Settings};
pub use shutdown::{Shutdown, ShutdownMode, ShutdownOptions};
pub use tracking::{ClientIds, Tracking};
pub use transaction::{Transaction, Watch, Watched, WatchedKey};
pub use users::UsersError;

use crate::acl::{Acl, Catalog};
use crate::base::hash::KeyHasher;
use crate::base::{clock, random};
use crate::config::{Config, REDIS_VERSION};
use crate::keyspace::Keyspace;
use crate::observe::census::Censuses;
use crate::observe::command_log::{CommandLog, Thresholds};
use crate::observe::hot_keys::HotKeys;
use crate::observe::hot_session::HotSessions;
use crate::observe::latency_monitor::LatencyMonitor;
use crate::observe::log::LogHandle;
use crate::observe::stats::Stats;
use crate::pubsub::PubSub;
use crate::script::Scripts;

/// Reasons to look closer at commands than usual; the hot path tests several at once.
pub mod gate {
    /// Clients are paused.
    pub const PAUSED: u32 = 1;
    /// Somebody wants to know which keys change.
    pub const OBSERVED: u32 = 1 << 1;
    /// Somebody wants to know of reads of missing keys and of keys that are made.
    pub const ATTENTIVE: u32 = 1 << 2;
    /// A script has been running for too long.
    pub const BUSY: u32 = 1 << 3;
    /// Clients track which keys they read.
    pub const TRACKING: u32 = 1 << 4;
    /// Clients monitor all commands.
    pub const MONITORS: u32 = 1 << 5;
    /// The disk does not take what is written, so nothing is to be written.
    pub const DISK: u32 = 1 << 6;
    /// The data is being loaded.
    pub const LOADING: u32 = 1 << 7;
    /// Memory is limited.
    pub const MEMORY: u32 = 1 << 8;

    /// Those by which a command may be refused or held back.
    pub const ADMISSION: u32 = PAUSED | BUSY | DISK | LOADING;
    /// Those that concern who is to learn of a command.
    pub const AUDIENCE: u32 = OBSERVED | TRACKING | MONITORS;
}

/// Where the server listens, as INFO shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `tcp`, `unix` or `tls`.
    pub kind: &'static str,
    /// The addresses, as `bind` names them, or the path.
    pub binds: Vec<String>,
    /// The port; 0 for none.
    pub port: u16,
}

/// Why the server does not listen as a configuration says.
#[derive(Clone, Debug)]
pub enum NotListening {
    /// A socket cannot be had.
    Socket(String),
    /// TLS cannot be spoken so.
    Tls(String),
}

/// Listens where the first configuration says, or else where the second does; returns what is listened
/// on, or why the first did not work.
pub type Relisten = Box<dyn FnMut(&Config, &Config) -> Result<Vec<Listener>, NotListening> + Send>;

/// Serves HTTP where the first configuration says, or else where the second does; returns why the first
/// did not work.
pub type RelistenHttp = Box<dyn FnMut(&Config, &Config) -> Result<(), String> + Send>;

/// Takes over what a configuration says of the process itself; the error says why that is impossible.
pub type AdaptProcess = Box<dyn FnMut(&Config) -> Result<(), String> + Send>;

/// The process.
pub struct Server {
    /// The data.
    pub keyspace: Keyspace,
    /// The directives.
    pub config: RwLock<Config>,
    /// What the hot path needs of them.
    pub settings: Settings,
    /// Users and what they may do.
    pub acl: Acl,
    /// `maxmemory` and its kin.
    pub eviction: Eviction,
    /// The connections.
    pub clients: Clients,
    /// What they take together.
    pub client_memory: ClientMemory,
    /// The counters.
    pub stats: Stats,
    /// Commands that were slow or large.
    pub command_log: CommandLog,
    /// The keys that most requests are for.
    pub hot_keys: HotKeys,
    /// HOTKEYS START.
    pub hot_sessions: HotSessions,
    /// What the keyspace is made of.
    pub censuses: Censuses,
    /// When to look closer at a command that has run.
    pub thresholds: Thresholds,
    /// What took too long.
    pub latency: Arc<LatencyMonitor>,
    /// CLIENT PAUSE.
    pub pause: Pause,
    /// SHUTDOWN and signals.
    pub shutdown: Shutdown,
    /// Who waits for which key.
    pub blocked: Blocked,
    /// Who watches which key.
    pub watched: Watched,
    /// Which client caches which keys.
    pub tracking: Tracking,
    /// Who monitors all commands.
    pub monitors: Monitors,
    /// Who listens to what.
    pub pubsub: PubSub,
    /// Scripts and functions.
    pub scripts: Scripts,
    /// The stream of writes.
    pub propagation: Propagation,
    /// The append-only file.
    pub appending: Appending,
    /// How the data came.
    pub loading: Loading,
    /// Snapshots to files.
    pub saving: Saving,
    /// Carries what is to go to other servers.
    pub couriers: Couriers,
    /// Frees what is costly to free.
    pub lazyfree: LazyFree,
    /// The log's settings.
    pub log: Option<LogHandle>,
    /// Random id of this run, 40 hexadecimal digits.
    pub run_id: String,
    /// When the process started, in Unix milliseconds.
    pub started_at_ms: i64,
    /// Bit set of [`gate`].
    pub gates: AtomicU32,
    /// Most memory ever used, in bytes.
    pub peak_memory: AtomicUsize,
    /// When that was, in Unix seconds.
    pub peak_memory_at_s: AtomicI64,
    /// How far the time that keys live by is off the clock, in milliseconds; tests move it.
    pub clock_skew_ms: AtomicI64,
    /// Whether the active expiry cycle runs (DEBUG SET-ACTIVE-EXPIRE).
    pub active_expire: AtomicBool,
    /// Whether nothing is done but what clients ask for (DEBUG PAUSE-CRON).
    pub cron_paused: AtomicBool,
    /// Whether scripts may call what they otherwise may not (DEBUG SET-DISABLE-DENY-SCRIPTS).
    pub scripts_may_all: AtomicBool,
    /// Memory used when the server had started, in bytes.
    pub startup_memory: AtomicUsize,
    /// Where the server listens.
    pub listeners: RwLock<Vec<Listener>>,
    /// Moves the listening sockets, once there are any.
    pub relisten: Mutex<Option<Relisten>>,
    /// Moves the sockets of `http-port`, once there may be any.
    pub relisten_http: Mutex<Option<RelistenHttp>>,
    /// Held by who changes the configuration.
    reconfiguring: Mutex<()>,
    /// Adapts what the process shows of itself, and its score, to a configuration.
    pub adapt_process: Mutex<Option<AdaptProcess>>,
    /// Ends the process as by a fault of the processor, with a report; for DEBUG SEGFAULT.
    pub crash: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// Who supervises the process, as INFO shows it.
    pub supervisor: OnceLock<&'static str>,
    threads: usize,
    me: Weak<Self>,
}

impl Server {
    /// A server of `threads` event loops with the commands of `catalog`, configured by `config`.
    pub fn new(
        config: Config,
        threads: usize,
        catalog: Catalog,
        log: Option<LogHandle>,
    ) -> Arc<Self> {
        let databases = usize::try_from(config.int("databases")).expect("the table's least is 1");
        let keyspace = Keyspace::new(databases, threads, KeyHasher::random());
        let latency = Arc::<LatencyMonitor>::default();
        let server = Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            blocked: Blocked::new(keyspace.shard_count()),
            watched: Watched::new(keyspace.shard_count()),
            tracking: Tracking::new(keyspace.shard_count()),
            keyspace,
            settings: Settings::default(),
            eviction: Eviction::new(threads),
            clients: Clients::default(),
            client_memory: ClientMemory::default(),
            stats: Stats::new(threads, catalog.len()),
            acl: Acl::new(catalog),
            command_log: CommandLog::default(),
            hot_keys: HotKeys::new(threads),
            hot_sessions: HotSessions::new(threads),
            censuses: Censuses::new(threads),
            thresholds: Thresholds::default(),
            latency: Arc::clone(&latency),
            pause: Pause::default(),
            shutdown: Shutdown::default(),
            monitors: Monitors::default(),
            pubsub: PubSub::default(),
            scripts: Scripts::new(REDIS_VERSION),
            propagation: Propagation::default(),
            appending: Appending::default(),
            loading: Loading::default(),
            saving: Saving::new(clock::now_ms(), latency),
            couriers: Couriers::default(),
            lazyfree: LazyFree::start(),
            log,
            run_id: random::hex(40),
            started_at_ms: clock::now_ms(),
            gates: AtomicU32::new(0),
            peak_memory: AtomicUsize::new(0),
            peak_memory_at_s: AtomicI64::new(0),
            clock_skew_ms: AtomicI64::new(0),
            active_expire: AtomicBool::new(true),
            scripts_may_all: AtomicBool::new(false),
            cron_paused: AtomicBool::new(false),
            startup_memory: AtomicUsize::new(0),
            listeners: RwLock::default(),
            relisten: Mutex::default(),
            relisten_http: Mutex::default(),
            reconfiguring: Mutex::default(),
            adapt_process: Mutex::default(),
            crash: OnceLock::new(),
            supervisor: OnceLock::new(),
            threads,
            config: RwLock::new(config),
        });
        server.reconfigure_all();
        server.set_default_password();
        server.keyspace.count_limited();
        server
    }

    /// A share of the server.
    pub fn arc(&self) -> Arc<Self> {
        self.me.upgrade().expect("who has a reference has a share")
    }

    /// How many event loops there are.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The time that keys live by, in Unix milliseconds.
    #[inline]
    pub fn now_ms(&self) -> i64 {
        clock::now_ms() + self.clock_skew_ms.load(Ordering::Relaxed)
    }

    /// Sets or clears a [`gate`].
    pub fn set_gate(&self, gate: u32, on: bool) {
        if on {
            self.gates.fetch_or(gate, Ordering::Relaxed);
        } else {
            self.gates.fetch_and(!gate, Ordering::Relaxed);
        }
    }

    /// Whether clients are paused in a way that stops a command; `write` says whether it may write.
    pub fn is_paused(&self, write: bool, now_ms: i64) -> bool {
        let paused = self.pause.is_paused(write, now_ms);
        if !self.pause.is_active(now_ms) {
            self.set_gate(gate::PAUSED, false);
            // Another event loop may have begun a pause in between.
            if self.pause.is_active(now_ms) {
                self.set_gate(gate::PAUSED, true);
            }
        }
        paused
    }
}
