//! A client: what its own event loop knows of it, and what every other may see.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::blocked::Waiter;
use super::fieldsets::Fieldsets;
use super::transaction::{Transaction, Watch};
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

    /// Flags that make admission look closer.
    pub const GUARDED: u32 = Self::UNAUTHENTICATED | Self::CLOSING | Self::MULTI | Self::PUBSUB;
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

/// Where a connection comes from.
#[derive(Clone, Debug)]
pub enum Peer {
    /// TCP: the far and the near address.
    Tcp(SocketAddr, SocketAddr),
    /// A unix socket, by path.
    Unix(Arc<PathBuf>),
}

impl Peer {
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
    /// Bytes it sent.
    pub net_input: AtomicU64,
    /// Bytes it was sent.
    pub net_output: AtomicU64,
    /// Commands that it queued since MULTI.
    pub queued: AtomicU32,
    /// Keys that it watches.
    pub watched: AtomicU32,
    /// The event loop it is on.
    pub thread: usize,
    identity: Mutex<Option<Box<Identity>>>,
    waiter: Mutex<Option<Arc<Waiter>>>,
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
            net_input: AtomicU64::new(0),
            net_output: AtomicU64::new(0),
            queued: AtomicU32::new(0),
            watched: AtomicU32::new(0),
            thread,
            identity: Mutex::new(None),
            waiter: Mutex::new(None),
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

    /// Whether the client listens to channels or patterns.
    pub fn is_subscriber(&self) -> bool {
        ClientFlags(self.flags.load(Ordering::Relaxed)).has(ClientFlags::PUBSUB)
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
    /// What it prepared for HIMPORT.
    pub fieldsets: Option<Box<Fieldsets>>,
    /// What it queued since MULTI; kept for the next MULTI afterwards.
    pub transaction: Option<Box<Transaction>>,
    /// What it watches.
    pub watch: Option<Box<Watch>>,
    /// What it listens to; nothing is most common.
    subscriptions: Option<Box<Subscriptions>>,
}

impl Client {
    /// A client in database 0.
    pub fn new(handle: Arc<ClientHandle>) -> Self {
        let flags = ClientFlags(handle.flags.load(Ordering::Relaxed));
        Self {
            handle,
            db: 0,
            flags,
            fieldsets: None,
            transaction: None,
            watch: None,
            subscriptions: None,
        }
    }

    /// Changes properties, visibly for others.
    pub fn set_flags(&mut self, flags: u32, on: bool) {
        self.flags.set(flags, on);
        self.handle.flags.store(self.flags.0, Ordering::Relaxed);
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

    /// Changes the database, visibly for others.
    pub fn select(&mut self, db: usize) {
        self.db = db;
        self.handle.db.store(db, Ordering::Relaxed);
    }
}
