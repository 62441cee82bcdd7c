//! A client: what its own event loop knows of it, and what every other may see.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;

use super::Server;
use super::blocked::Waiter;
use super::fieldsets::Fieldsets;
use super::transaction::{Transaction, Watch, WatchedKey};
use crate::acl::{ChannelsLeft, User};
use crate::observe::command_log::LoggedArgs;
use crate::pubsub::{Kind, Mailbox, PubSub, Subscriptions};

/// Properties of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientFlags(pub u32);

impl ClientFlags {
    /// It must authenticate first.
    pub const UNAUTHENTICATED: u32 = 1;
    /// CLIENT REPLY OFF.
    pub const REPLY_OFF: u32 = 1 << 1;
    /// CLIENT REPLY SKIP: the next command is not answered.
    pub const REPLY_SKIP_NEXT: u32 = 1 << 2;
    /// The current command is not answered.
    pub const REPLY_SKIP: u32 = 1 << 3;
    /// CLIENT NO-EVICT on.
    pub const NO_EVICT: u32 = 1 << 4;
    /// CLIENT NO-TOUCH on.
    pub const NO_TOUCH: u32 = 1 << 5;
    /// It closes once its replies are sent.
    pub const CLOSING: u32 = 1 << 6;
    /// It speaks RESP3.
    pub const RESP3: u32 = 1 << 7;
    /// It is connected by a unix socket.
    pub const UNIX: u32 = 1 << 8;
    /// It waits for a key.
    pub const BLOCKED: u32 = 1 << 10;
    /// CLIENT CAPA redirect.
    pub const CAPA_REDIRECT: u32 = 1 << 9;
    /// It queues commands: it sent MULTI.
    pub const MULTI: u32 = 1 << 11;
    /// It runs a transaction or script, in which nothing waits, and into whose reply nothing is pushed.
    pub const DENY_BLOCKING: u32 = 1 << 12;
    /// It listens to channels or patterns.
    pub const PUBSUB: u32 = 1 << 13;

    /// CLIENT TRACKING on.
    pub const TRACKING: u32 = 1 << 14;
    /// It hears of all changes of keys with its prefixes, whatever it read.
    pub const BCAST: u32 = 1 << 15;
    /// It caches only what it reads after CLIENT CACHING YES.
    pub const OPTIN: u32 = 1 << 16;
    /// It caches all but what it reads after CLIENT CACHING NO.
    pub const OPTOUT: u32 = 1 << 17;
    /// It does not hear of changes of its own.
    pub const NOLOOP: u32 = 1 << 18;
    /// It sent CLIENT CACHING for its next command or transaction.
    pub const CACHING: u32 = 1 << 19;

    /// Its invalidations go to a client that is gone; only for showing.
    pub const BROKEN: u32 = 1 << 20;

    /// It is sent every command.
    pub const MONITOR: u32 = 1 << 21;

    /// Its script runs.
    pub const SCRIPT: u32 = 1 << 22;

    /// Its user may not do everything.
    pub const RESTRICTED: u32 = 1 << 29;

    /// All flags that CLIENT TRACKING sets.
    pub const TRACKING_ALL: u32 =
        Self::TRACKING | Self::BCAST | Self::OPTIN | Self::OPTOUT | Self::NOLOOP | Self::CACHING;
    /// Flags that make admission look closer.
    pub const GUARDED: u32 = Self::UNAUTHENTICATED
        | Self::CLOSING
        | Self::MULTI
        | Self::PUBSUB
        | Self::MONITOR
        | Self::RESTRICTED;
    /// Flags that change whether a command is answered.
    pub const REPLY: u32 = Self::REPLY_OFF | Self::REPLY_SKIP | Self::REPLY_SKIP_NEXT;

    /// Whether any of `flags` is set.
    #[inline]
    pub fn has(self, flags: u32) -> bool {
        self.0 & flags != 0
    }

    /// Sets or clears `flags`.
    pub fn set(&mut self, flags: u32, on: bool) {
        self.0 = if on { self.0 | flags } else { self.0 & !flags };
    }
}

/// What became of a client while its event loop could not run.
pub mod meanwhile {
    /// The one that it had is over.
    pub const ENDED: u8 = 1;
    /// It sent MULTI.
    pub const BEGUN: u8 = 1 << 1;
    /// A command was refused.
    pub const ABORTED: u8 = 1 << 2;
    /// It sent AUTH or HELLO.
    pub const IDENTIFIED: u8 = 1 << 3;
    /// It sent UNWATCH.
    pub const UNWATCHED: u8 = 1 << 4;
}

/// Where a connection comes from.
#[derive(Clone, Debug)]
pub enum Peer {
    /// TCP: the far and the near address.
    Tcp(SocketAddr, SocketAddr),
    /// A unix socket, by path.
    Unix(Arc<PathBuf>),
}

impl Peer {
    /// Whether it is on this machine.
    pub fn is_local(&self) -> bool {
        self.ip().is_none_or(|ip| ip.to_canonical().is_loopback())
    }

    /// The far address, without a port.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(far, _) => Some(far.ip()),
            Self::Unix(_) => None,
        }
    }

    /// `addr=` as CLIENT LIST shows it.
    pub fn addr(&self) -> String {
        match self {
            Self::Tcp(far, _) => far.to_string(),
            Self::Unix(path) => format!("{}:0", path.display()),
        }
    }

    /// `laddr=` as CLIENT LIST shows it.
    pub fn laddr(&self) -> String {
        match self {
            Self::Tcp(_, near) => near.to_string(),
            Self::Unix(path) => format!("{}:0", path.display()),
        }
    }
}

/// Output that a socket does not take for now; all zero when it takes everything.
#[derive(Debug, Default)]
pub struct Backlog {
    /// Whether there is such output.
    pub blocked: AtomicBool,
    /// Bytes for which its buffer has room.
    pub room: AtomicUsize,
    /// Bytes in that buffer.
    pub held: AtomicUsize,
    /// Values that it refers to instead of holding a copy.
    pub shared: AtomicUsize,
}

/// What a client says of itself; most say nothing.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// CLIENT SETNAME.
    pub name: Bytes,
    /// CLIENT SETINFO lib-name.
    pub lib_name: Bytes,
    /// CLIENT SETINFO lib-ver.
    pub lib_ver: Bytes,
}

/// What is remembered of a request that goes on after its handler has returned.
pub struct Unfinished {
    /// Its command's id.
    pub command: usize,
    /// The request, as far as a log keeps it.
    pub args: LoggedArgs,
    /// Bytes of the request.
    pub request_len: usize,
    /// Bytes replied so far.
    pub reply_len: usize,
    /// Ticks spent so far.
    pub ticks: u64,
    /// The time at which another thread began to make the reply, in ticks.
    pub since: u64,
}

/// What other event loops may see of a client. Its own loop writes it without waiting.
pub struct ClientHandle {
    /// Number of the connection since the start.
    pub id: u64,
    /// The socket's file descriptor, for CLIENT LIST.
    pub fd: i32,
    /// Where it comes from.
    pub peer: Peer,
    /// When it connected, in Unix milliseconds.
    pub created_at_ms: i64,
    /// When it last sent something, in Unix milliseconds.
    pub active_at_ms: AtomicI64,
    /// Its database.
    pub db: AtomicUsize,
    /// [`ClientFlags`].
    pub flags: AtomicU32,
    /// Id of its last command, plus one.
    pub last_command: AtomicU32,
    /// Commands it ran.
    pub commands: AtomicU64,
    /// Bytes of input that wait for more.
    pub query_len: AtomicUsize,
    /// Bytes for which the buffers of that input have room besides.
    pub query_room: AtomicUsize,
    /// Bytes of output that waited to be written at most.
    pub output_peak: AtomicUsize,
    /// What its socket does not take.
    pub backlog: Backlog,
    /// Bytes it sent.
    pub net_input: AtomicU64,
    /// Bytes it was sent.
    pub net_output: AtomicU64,
    /// Commands that it queued since MULTI.
    pub queued: AtomicU32,
    /// Bytes of those commands.
    pub queued_bytes: AtomicUsize,
    /// Bytes of the prefixes whose changes it hears of.
    pub prefix_bytes: AtomicUsize,
    /// What it takes, as far as others know.
    pub(super) accounted: AtomicUsize,
    /// Keys that it watches.
    pub watched: AtomicU32,
    /// Number of the client to which its invalidations go; 0 is itself.
    pub redirect: AtomicU64,
    /// Whether that client was found to be gone.
    pub redirect_broken: AtomicBool,
    /// What became of its transaction while its event loop could not run: bits of [`meanwhile`].
    pub meanwhile: AtomicU8,
    /// The event loop it is on.
    pub thread: usize,
    identity: Mutex<Option<Box<Identity>>>,
    /// Whether what it watches has changed; nothing when it watches nothing.
    watch_broken: Mutex<Option<Arc<AtomicBool>>>,
    waiter: Mutex<Option<Arc<Waiter>>>,
    user: Mutex<Option<Arc<User>>>,
    /// What others send it.
    pub mailbox: Arc<Mailbox>,
}

impl ClientHandle {
    /// The handle of a new connection.
    pub fn new(id: u64, fd: i32, peer: Peer, now_ms: i64, thread: usize, flags: u32) -> Self {
        Self {
            id,
            fd,
            peer,
            created_at_ms: now_ms,
            active_at_ms: AtomicI64::new(now_ms),
            db: AtomicUsize::new(0),
            flags: AtomicU32::new(flags),
            last_command: AtomicU32::new(0),
            commands: AtomicU64::new(0),
            query_len: AtomicUsize::new(0),
            query_room: AtomicUsize::new(0),
            output_peak: AtomicUsize::new(0),
            backlog: Backlog::default(),
            net_input: AtomicU64::new(0),
            net_output: AtomicU64::new(0),
            queued: AtomicU32::new(0),
            queued_bytes: AtomicUsize::new(0),
            prefix_bytes: AtomicUsize::new(0),
            accounted: AtomicUsize::new(0),
            watched: AtomicU32::new(0),
            meanwhile: AtomicU8::new(0),
            redirect: AtomicU64::new(0),
            redirect_broken: AtomicBool::new(false),
            thread,
            identity: Mutex::new(None),
            watch_broken: Mutex::new(None),
            waiter: Mutex::new(None),
            user: Mutex::new(None),
            mailbox: Arc::new(Mailbox::new(id)),
        }
    }

    /// What the client says of itself.
    pub fn identity(&self) -> Identity {
        self.identity.lock().as_deref().cloned().unwrap_or_default()
    }

    /// Changes what the client says of itself.
    pub fn identify(&self, change: impl FnOnce(&mut Identity)) {
        change(self.identity.lock().get_or_insert_default());
    }

    /// Who the client is; `None` is the server itself, which may do everything.
    pub fn user(&self) -> Option<Arc<User>> {
        self.user.lock().clone()
    }

    /// Says who the client is.
    pub fn set_user(&self, user: Arc<User>) {
        *self.user.lock() = Some(user);
    }

    /// The name of the client's user, as CLIENT LIST shows it.
    pub fn user_name(&self) -> String {
        let user = self.user.lock();
        let name = user.as_ref().map(|user| String::from_utf8_lossy(user.name()).into_owned());
        name.unwrap_or_else(|| "(superuser)".to_owned())
    }

    /// What the client waits for, while it does.
    pub fn waiter(&self) -> Option<Arc<Waiter>> {
        self.waiter.lock().clone()
    }

    /// Says what the client waits for.
    pub fn set_waiter(&self, waiter: Option<Arc<Waiter>>) {
        if waiter.is_some() {
            self.flags.fetch_or(ClientFlags::BLOCKED, Ordering::Relaxed);
        } else {
            self.flags.fetch_and(!ClientFlags::BLOCKED, Ordering::Relaxed);
        }
        *self.waiter.lock() = waiter;
    }

    /// Says what the client watches.
    pub fn set_watch(&self, watch: Option<&Watch>) {
        *self.watch_broken.lock() = watch.map(|watch| Arc::clone(&watch.broken));
    }

    /// Whether something that the client watches has changed, so that its EXEC will fail.
    pub fn is_watch_broken(&self) -> bool {
        self.watch_broken.lock().as_ref().is_some_and(|broken| broken.load(Ordering::Relaxed))
    }

    /// Asks the client's event loop to close it.
    pub fn kill(&self) {
        self.mailbox.kill();
    }

    /// Whether the client is to be closed.
    pub fn is_killed(&self) -> bool {
        self.mailbox.is_killed()
    }

    /// Bytes of output that wait to be sent.
    pub fn output_len(&self) -> usize {
        self.mailbox.output_len.load(Ordering::Relaxed) + self.mailbox.waiting()
    }

    /// Bytes of what it queued since MULTI.
    pub fn queued_len(&self) -> usize {
        let queueing = ClientFlags(self.flags.load(Ordering::Relaxed)).has(ClientFlags::MULTI);
        if queueing { self.queued_bytes.load(Ordering::Relaxed) } else { 0 }
    }

    /// Bytes that the client takes: itself, its input, its output, and what the server keeps for it.
    /// Room in its buffers that nothing was written to takes no pages, and does not count.
    pub fn memory(&self) -> usize {
        const NAME_LEN: usize = size_of::<Arc<[u8]>>() * 2;
        let names: u32 = Kind::ALL.iter().map(|kind| self.mailbox.count(*kind)).sum();
        let watched = self.watched.load(Ordering::Relaxed) as usize * size_of::<WatchedKey>();
        size_of::<Self>()
            + size_of::<Client>()
            + self.query_len.load(Ordering::Relaxed)
            + self.output_len()
            + self.queued_len()
            + self.prefix_bytes.load(Ordering::Relaxed)
            + names as usize * NAME_LEN
            + watched
    }

    /// Whether the client listens to channels or patterns.
    pub fn is_subscriber(&self) -> bool {
        ClientFlags(self.flags.load(Ordering::Relaxed)).has(ClientFlags::PUBSUB)
    }

    /// Whether the client is sent every command.
    pub fn is_monitor(&self) -> bool {
        ClientFlags(self.flags.load(Ordering::Relaxed)).has(ClientFlags::MONITOR)
    }

    /// Remembers how to wake the client's task.
    pub fn register(&self, waker: &std::task::Waker) {
        self.mailbox.register(waker);
    }

    /// Wakes the client's task.
    pub fn wake(&self) {
        self.mailbox.wake();
    }
}

/// A client as its own event loop sees it.
pub struct Client {
    /// The part that others may see.
    pub handle: Arc<ClientHandle>,
    /// Its database.
    pub db: usize,
    /// Its properties.
    pub flags: ClientFlags,
    /// Who it is, as that was at `acl_generation`; `None` is the server itself.
    user: Option<Arc<User>>,
    acl_generation: u64,
    /// What it prepared for HIMPORT.
    pub fieldsets: Option<Box<Fieldsets>>,
    /// What it queued since MULTI; kept for the next MULTI afterwards.
    pub transaction: Option<Box<Transaction>>,
    /// What it watches.
    pub watch: Option<Box<Watch>>,
    /// What of its request is still to come.
    pub unfinished: Option<Box<Unfinished>>,
    /// Since when it waits for the writer of a snapshot with what it sent.
    pub held_up_since: Option<Instant>,
    /// The prefixes of the keys whose changes it hears of; none is most common.
    #[expect(clippy::box_collection, reason = "hardly any client has some, and a word is enough")]
    prefixes: Option<Box<BTreeSet<Box<[u8]>>>>,
    /// What it listens to; nothing is most common.
    subscriptions: Option<Box<Subscriptions>>,
}

impl Client {
    /// A client in database 0.
    pub fn new(handle: Arc<ClientHandle>) -> Self {
        let flags = ClientFlags(handle.flags.load(Ordering::Relaxed));
        Self {
            user: handle.user(),
            acl_generation: 0,
            handle,
            db: 0,
            flags,
            fieldsets: None,
            transaction: None,
            watch: None,
            unfinished: None,
            held_up_since: None,
            prefixes: None,
            subscriptions: None,
        }
    }

    /// Changes properties, visibly for others.
    pub fn set_flags(&mut self, flags: u32, on: bool) {
        self.flags.set(flags, on);
        self.handle.flags.store(self.flags.0, Ordering::Relaxed);
    }

    /// Takes over what became of it meanwhile; `true` when that ended its watches.
    pub fn catch_up(&mut self) -> bool {
        let bits = self.handle.meanwhile.swap(0, Ordering::Relaxed);
        if bits & meanwhile::IDENTIFIED != 0 {
            self.flags = ClientFlags(self.handle.flags.load(Ordering::Relaxed));
            self.user = self.handle.user();
            // The user may have changed since; then the next request finds out.
            self.acl_generation = self.acl_generation.wrapping_sub(1);
        }
        if bits & meanwhile::ENDED != 0 {
            self.end_transaction();
        }
        if bits & meanwhile::BEGUN != 0 {
            self.set_flags(ClientFlags::MULTI, true);
            self.transaction.get_or_insert_default().db = self.db;
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.aborted |= bits & meanwhile::ABORTED != 0;
        }
        bits & (meanwhile::ENDED | meanwhile::UNWATCHED) != 0
    }

    /// Who it is; `None` is the server itself, which may do everything.
    pub fn user(&self) -> Option<&Arc<User>> {
        self.user.as_ref()
    }

    /// Whether users have changed since it was looked up what its own may do.
    #[inline]
    pub fn is_outdated(&self, server: &Server) -> bool {
        self.acl_generation != server.acl.generation()
    }

    /// Makes the client `user`, who has logged in.
    pub fn log_in(&mut self, server: &Server, user: Arc<User>) {
        self.set_user(user);
        self.set_flags(ClientFlags::UNAUTHENTICATED, false);
        // The user may have changed since it was looked up; then the next request finds out.
        self.acl_generation = server.acl.generation().wrapping_sub(1);
    }

    /// Makes the client the default user, as who connects is.
    pub fn log_out(&mut self, server: &Server) {
        let (generation, user) = (server.acl.generation(), server.acl.default_user());
        self.set_user(user);
        self.acl_generation = generation;
        self.set_flags(ClientFlags::UNAUTHENTICATED, !server.acl.is_open());
    }

    /// Looks up what the client's user may do now; `false` when the user is gone or may not listen
    /// any more to what the client listens to, so that the client is to be closed.
    #[cold]
    pub fn catch_up_with_user(&mut self, server: &Server) -> bool {
        // What is announced after this is looked up the next time.
        self.acl_generation = server.acl.generation();
        let Some(before) = self.user.take() else { return true };
        let now = server.acl.current(&before);
        let listens = |left: &ChannelsLeft| self.subscriptions_fit(left);
        match now {
            Some(now) if now.channels_left(&before).is_none_or(|left| listens(&left)) => {
                self.set_user(now);
                true
            }
            _ => {
                self.log_out(server);
                self.set_flags(ClientFlags::UNAUTHENTICATED, true);
                false
            }
        }
    }

    fn set_user(&mut self, user: Arc<User>) {
        self.set_flags(ClientFlags::RESTRICTED, !user.may_all());
        self.handle.set_user(Arc::clone(&user));
        self.user = Some(user);
    }

    fn subscriptions_fit(&self, left: &ChannelsLeft) -> bool {
        Kind::ALL.iter().all(|kind| {
            let names = self.subscribed(*kind);
            names.iter().all(|name| left.cover(name, *kind == Kind::Pattern))
        })
    }

    /// Forgets what was queued.
    pub fn end_transaction(&mut self) {
        self.set_flags(ClientFlags::MULTI, false);
        if let Some(transaction) = &mut self.transaction {
            transaction.clear();
        }
    }

    /// Lets the client listen to one name more.
    pub fn subscribe(&mut self, pubsub: &PubSub, kind: Kind, name: &[u8]) {
        let mailbox = &self.handle.mailbox;
        let subscriptions = self
            .subscriptions
            .get_or_insert_with(|| Box::new(Subscriptions::new(Arc::clone(mailbox))));
        pubsub.subscribe(subscriptions, kind, name);
        self.set_flags(ClientFlags::PUBSUB, true);
    }

    /// Lets the client no longer listen to a name.
    pub fn unsubscribe(&mut self, pubsub: &PubSub, kind: Kind, name: &[u8]) {
        let Some(subscriptions) = &mut self.subscriptions else { return };
        pubsub.unsubscribe(subscriptions, kind, name);
        if subscriptions.is_empty() {
            self.unsubscribe_all(pubsub);
        }
    }

    /// Ends all that the client listens to.
    pub fn unsubscribe_all(&mut self, pubsub: &PubSub) {
        if let Some(mut subscriptions) = self.subscriptions.take() {
            pubsub.leave(&mut subscriptions);
            self.set_flags(ClientFlags::PUBSUB, false);
        }
    }

    /// The names of that kind that the client listens to.
    pub fn subscribed(&self, kind: Kind) -> Vec<Arc<[u8]>> {
        self.subscriptions.as_ref().map_or_else(Vec::new, |all| all.names(kind))
    }

    /// Begins to track keys with the options in `flags`, or changes the options.
    pub fn begin_tracking(&mut self, server: &Server, flags: u32, redirect: u64) {
        if !self.flags.has(ClientFlags::TRACKING) {
            server.begin_tracking();
        }
        self.handle.redirect.store(redirect, Ordering::Relaxed);
        self.handle.redirect_broken.store(false, Ordering::Relaxed);
        // CLIENT CACHING stays what it was.
        let caching = self.flags.0 & ClientFlags::CACHING;
        self.flags.set(ClientFlags::TRACKING_ALL, false);
        self.set_flags(ClientFlags::TRACKING | flags | caching, true);
    }

    /// The prefixes of the keys whose changes the client hears of, in order.
    pub fn prefixes(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.prefixes.iter().flat_map(|all| all.iter()).map(AsRef::as_ref)
    }

    /// Lets the client hear of all changes of keys that begin with `prefix`.
    pub fn add_prefix(&mut self, server: &Server, prefix: &[u8]) {
        if self.prefixes.get_or_insert_default().insert(prefix.into()) {
            let len = prefix.len() + 2 * size_of::<Box<[u8]>>();
            self.handle.prefix_bytes.fetch_add(len, Ordering::Relaxed);
            server.tracking.add_prefix(prefix, self.handle.id);
        }
    }

    /// Ends the tracking; `true` when the client heard of changes of all keys, which the shards still
    /// mind.
    pub fn end_tracking(&mut self, server: &Server) -> bool {
        if !self.flags.has(ClientFlags::TRACKING) {
            return false;
        }
        for prefix in self.prefixes.take().into_iter().flat_map(|all| *all) {
            server.tracking.remove_prefix(&prefix, self.handle.id);
        }
        self.handle.prefix_bytes.store(0, Ordering::Relaxed);
        let broadcast = self.flags.has(ClientFlags::BCAST);
        self.set_flags(ClientFlags::TRACKING_ALL, false);
        self.handle.redirect.store(0, Ordering::Relaxed);
        self.handle.redirect_broken.store(false, Ordering::Relaxed);
        server.end_tracking();
        broadcast
    }

    /// Changes the database, visibly for others.
    pub fn select(&mut self, db: usize) {
        self.db = db;
        self.handle.db.store(db, Ordering::Relaxed);
    }
}
