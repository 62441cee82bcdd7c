//! All users, their changes, and the counts of what they were refused.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::attempts::Attempts;
use super::catalog::Catalog;
use super::file::{self, FileError};
use super::log::{Denial, Entry, Log, Reason};
use super::rules::{Setting, UserError, is_plain};
use super::user::User;

/// The user of every connection that has not logged in.
pub const DEFAULT_USER: &[u8] = b"default";

type Users = BTreeMap<Box<[u8]>, Arc<User>>;

/// A user before and after a change; `before` is `None` for a new one.
#[derive(Debug)]
pub struct Applied {
    /// As it was.
    pub before: Option<Arc<User>>,
    /// As it is.
    pub after: Arc<User>,
}

/// Users before a change of all of them, each with what became of it.
pub type Fates = Vec<(Arc<User>, Option<Arc<User>>)>;

/// The users of the process.
///
/// `generation` grows behind every change: who has read a generation and looks a user up afterwards
/// finds the changes up to it.
pub struct Acl {
    catalog: Catalog,
    users: RwLock<Users>,
    /// Changes come one at a time: each is made of what the last one left.
    changing: Mutex<()>,
    generation: AtomicU64,
    next_id: AtomicU64,
    all_channels: AtomicBool,
    /// Whether whoever connects is the default user without logging in.
    open: AtomicBool,
    /// Whether the default user takes any password.
    nopass: AtomicBool,
    denied: [AtomicU64; Reason::COUNT],
    log: Log,
    attempts: Attempts,
}

impl Acl {
    /// Nobody but the default user, who may do everything without a password.
    pub fn new(catalog: Catalog) -> Self {
        let acl = Self {
            catalog,
            users: RwLock::default(),
            changing: Mutex::default(),
            generation: AtomicU64::new(0),
            next_id: AtomicU64::new(0),
            all_channels: AtomicBool::new(false),
            open: AtomicBool::new(true),
            nopass: AtomicBool::new(true),
            denied: Default::default(),
            log: Log::default(),
            attempts: Attempts::default(),
        };
        let user = Arc::new(acl.new_default_user());
        acl.replace(Users::from([(DEFAULT_USER.into(), user)]));
        acl
    }

    fn new_default_user(&self) -> User {
        let mut user = User::new(DEFAULT_USER, self.next_id(), &self.catalog, false);
        let rules: [&[u8]; 5] = [b"+@all", b"~*", b"&*", b"on", b"nopass"];
        user.apply_all(self.setting(), rules).expect("rules of our own");
        user
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn setting(&self) -> Setting<'_> {
        let all_channels = self.all_channels.load(Ordering::Relaxed);
        Setting { catalog: &self.catalog, all_channels }
    }

    /// The commands.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Whether new users and selectors may use all channels (`acl-pubsub-default`).
    pub fn set_all_channels(&self, on: bool) {
        self.all_channels.store(on, Ordering::Relaxed);
    }

    /// Most entries of the log (`acllog-max-len`).
    pub fn set_log_len_max(&self, len_max: usize) {
        self.log.set_len_max(len_max);
    }

    /// How often an address may fail to log in a minute (`auth-failures-per-minute`); 0 is no bound.
    pub fn set_failures_max(&self, max: u32) {
        self.attempts.set_max(max);
    }

    /// Whether somebody from that address may try to log in now.
    pub fn may_try(&self, from: IpAddr, now_ms: i64) -> bool {
        self.attempts.may_try(from, now_ms)
    }

    /// Remembers that somebody from that address failed to log in.
    pub fn note_failure(&self, from: IpAddr, now_ms: i64) {
        self.attempts.failed(from, now_ms);
    }

    /// Grows with every change of a user.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether whoever connects is the default user without logging in.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether the default user takes any password.
    pub fn takes_any_password(&self) -> bool {
        self.nopass.load(Ordering::Relaxed)
    }

    /// The user of that name.
    pub fn user(&self, name: &[u8]) -> Option<Arc<User>> {
        self.users.read().get(name).cloned()
    }

    /// The default user, who cannot be removed.
    pub fn default_user(&self) -> Arc<User> {
        self.user(DEFAULT_USER).expect("nobody removes it")
    }

    /// A user as it is now; `None` if it is gone.
    pub fn current(&self, user: &User) -> Option<Arc<User>> {
        self.user(user.name()).filter(|now| now.is(user))
    }

    /// All users, by name.
    pub fn users(&self) -> Vec<Arc<User>> {
        self.users.read().values().cloned().collect()
    }

    /// Puts all users into the place of those before.
    fn replace(&self, users: Users) {
        *self.users.write() = users;
        self.announce();
    }

    fn insert(&self, user: User) -> Arc<User> {
        let user = Arc::new(user);
        self.users.write().insert(user.name().into(), Arc::clone(&user));
        self.announce();
        user
    }

    fn announce(&self) {
        let flags = self.default_user().flags();
        self.open.store(flags.nopass && flags.enabled, Ordering::Relaxed);
        self.nopass.store(flags.nopass, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Changes the user `name` by `rules`, all or none; makes it if there is none.
    pub fn set_user<'r>(
        &self,
        name: &[u8],
        rules: impl IntoIterator<Item = &'r [u8]>,
    ) -> Result<Applied, UserError> {
        if !is_plain(name) {
            return Err(UserError::Name);
        }
        let _changing = self.changing.lock();
        let (before, setting) = (self.user(name), self.setting());
        let mut user = match &before {
            Some(before) => User::clone(before),
            None => User::new(name, self.next_id(), &self.catalog, setting.all_channels),
        };
        user.apply_all(setting, rules)?;
        Ok(Applied { before, after: self.insert(user) })
    }

    /// Removes the user `name`, who must not be the default user.
    pub fn delete_user(&self, name: &[u8]) -> Option<Arc<User>> {
        let _changing = self.changing.lock();
        if name == DEFAULT_USER {
            return None;
        }
        let gone = self.users.write().remove(name)?;
        self.announce();
        Some(gone)
    }

    /// `requirepass`: the only password of the default user, or none.
    pub fn set_default_password(&self, password: &[u8]) -> Applied {
        let rule = [b">", password].concat();
        let rules: [&[u8]; 2] = [b"resetpass", if password.is_empty() { b"nopass" } else { &rule }];
        self.set_user(DEFAULT_USER, rules).expect("rules of our own")
    }

    /// `user` lines: a name and rules. The default user begins anew.
    pub fn declare<'r>(
        &self,
        name: &[u8],
        rules: impl IntoIterator<Item = &'r [u8]>,
    ) -> Result<Arc<User>, UserError> {
        let rules: Vec<&[u8]> = rules.into_iter().collect();
        let reset: &[&[u8]] = if name == DEFAULT_USER { &[b"reset"] } else { &[] };
        Ok(self.set_user(name, reset.iter().copied().chain(rules))?.after)
    }

    /// Replaces all users by those of a file. Returns each of those that were there before with what
    /// became of it. One of the same name counts as the same; the default user is always there.
    pub fn load(&self, path: &str) -> Result<Fates, FileError> {
        let _changing = self.changing.lock();
        let mut loaded = file::load(path, self.setting(), || self.next_id())?;
        loaded.entry(DEFAULT_USER.into()).or_insert_with(|| self.new_default_user());
        let before = self.users();
        for user in &before {
            if let Some(now) = loaded.get_mut(user.name()) {
                now.set_id(user.id());
            }
        }
        self.replace(loaded.into_iter().map(|(name, user)| (name, Arc::new(user))).collect());
        Ok(before.into_iter().map(|user| (Arc::clone(&user), self.current(&user))).collect())
    }

    /// Writes all users into a file.
    pub fn save(&self, path: &str) -> io::Result<()> {
        let line = |user: Arc<User>| [&*user.print_line(), b"\n"].concat();
        let lines: Vec<u8> = self.users().into_iter().flat_map(line).collect();
        file::save(path, &lines)
    }

    /// Counts and logs a refusal of the client that `client` describes.
    pub fn deny(&self, denial: Denial, now_ms: i64, client: String) {
        self.denied[denial.reason as usize].fetch_add(1, Ordering::Relaxed);
        self.log.add(denial, now_ms, client);
    }

    /// How often something was refused for that reason.
    pub fn denied(&self, reason: Reason) -> u64 {
        self.denied[reason as usize].load(Ordering::Relaxed)
    }

    /// Sets the counts back to zero (CONFIG RESETSTAT).
    pub fn reset_counts(&self) {
        self.denied.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// The last `count` entries of the log, the last one first.
    pub fn log(&self, count: usize) -> Vec<Entry> {
        self.log.last(count)
    }

    /// Forgets the log.
    pub fn reset_log(&self) {
        self.log.reset();
    }
}
