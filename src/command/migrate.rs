//! MIGRATE: keys move to another server.
//!
//! The keys are dumped under their locks; a courier (`server::courier`) carries the dumps, and only
//! the client waits. Meanwhile others may change the keys. So each is watched as by WATCH from its
//! dump on, and removed, under its lock again, only if nothing has happened to it since: what is
//! removed is what the other server has. A key that did change is sent anew over what was sent
//! before, one that is gone is removed there. What keeps changing stays here, and the client is told.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::Notify;

use super::args::Args;
use super::context::{Ctx, Flow, Job};
use super::error::CmdError;
use super::keys::{KeyUse, begin_of_rest};
use super::options::decimal;
use super::spec::{Command, Flags, KeySpec};
use super::transaction::begin_to_watch;
use crate::base::{bytes, number};
use crate::keyspace::{Event, Key, Lookup};
use crate::persist::rdb::payload;
use crate::resp::{Argv, write_bulk, write_head};
use crate::server::{
    Answer, Broken, ClientFlags, Delivery, Parcel, Receipt, Request, Watch, WatchedKey,
};

/// How often keys are sent that change meanwhile.
const TRIES_MAX: usize = 16;
/// Where the options begin.
const OPTIONS: usize = 6;
/// The time that is allowed where none is said, in milliseconds.
const TIMEOUT_MS: i64 = 1000;

const TAKING: &[(&str, usize)] = &[("auth", 1), ("auth2", 2)];
const USES: &[&str] = &["access", "delete"];

pub(super) static COMMANDS: &[Command] = &[Command::new("migrate", -6, migrate)
    .write()
    .flags(Flags::KEYSPACE.with(Flags::DANGEROUS).with(Flags::MOVABLEKEYS))
    .keys(&[
        KeySpec::at(3, "RW", USES),
        KeySpec::rest(("KEYS", OPTIONS), TAKING, "RW", USES).incomplete(),
    ])
    .keys_fn(key_uses)
    .secrets_fn(secrets_of)
    .tips(&["nondeterministic_output"])];

/// The arguments that are keys: the one in its place, or those behind `KEYS` where that is empty.
fn key_uses(args: &Args<'_>, uses: &mut Vec<KeyUse>) -> Result<(), CmdError> {
    let keys = match begin_of_rest(args.argv(), "KEYS", OPTIONS, TAKING) {
        None => 3..4,
        Some(first) if args.get(3).is_empty() => first..args.len(),
        Some(_) => 0..0,
    };
    uses.extend(keys.map(|index| KeyUse { index, access: "RW", uses: USES }));
    Ok(())
}

/// The arguments that are names and passwords, ascending.
fn secrets_of(argv: Argv<'_>) -> Vec<usize> {
    let (mut at, mut secrets) = (OPTIONS, Vec::new());
    while at < argv.len() && !bytes::is_word(argv.arg(at), "keys") {
        let taken = TAKING.iter().find(|(name, _)| bytes::is_word(argv.arg(at), name));
        let count = taken.map_or(0, |(_, count)| *count);
        secrets.extend((at + 1..=at + count).filter(|at| *at < argv.len()));
        at += 1 + count;
    }
    secrets
}

/// Where keys go, and how.
struct Route {
    host: String,
    port: u16,
    /// The request that authenticates.
    auth: Option<Vec<u8>>,
    db: i64,
    timeout: Duration,
    copy: bool,
    replace: bool,
}

impl Route {
    fn parse(args: &Args<'_>) -> Result<Self, CmdError> {
        let (mut copy, mut replace, mut auth) = (false, false, None);
        let mut options = args.options(OPTIONS);
        while let Some(word) = options.word() {
            if bytes::is_word(word, "copy") {
                copy = true;
            } else if bytes::is_word(word, "replace") {
                replace = true;
            } else if bytes::is_word(word, "auth") {
                auth = Some(request(&[b"AUTH", options.value()?]));
            } else if bytes::is_word(word, "auth2") {
                auth = Some(request(&[b"AUTH", options.value()?, options.value()?]));
            } else if bytes::is_word(word, "keys") {
                if !args.get(3).is_empty() {
                    return Err(CmdError::MigrateKeyAndKeys);
                }
                break;
            } else {
                return Err(CmdError::Syntax);
            }
        }
        let (timeout, db) = (args.integer(5)?, args.integer(4)?);
        let timeout = if timeout <= 0 { TIMEOUT_MS } else { timeout };
        Ok(Self {
            host: String::from_utf8_lossy(args.get(1)).into_owned(),
            // What is no port is one that nobody listens on, as in Redis.
            port: number::parse_i64(args.get(2)).and_then(|n| u16::try_from(n).ok()).unwrap_or(0),
            auth,
            db,
            timeout: Duration::from_millis(timeout.unsigned_abs()),
            copy,
            replace,
        })
    }
}

/// A request of these arguments.
fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut out = head(args.len(), args);
    out.shrink_to_fit();
    out
}

/// The beginning of a request of `count` arguments, up to the last of `args`.
fn head(count: usize, args: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    write_head(&mut out, b'*', count as i64);
    args.iter().for_each(|arg| write_bulk(&mut out, arg));
    out
}

fn migrate(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let route = Route::parse(args)?;
    if ctx.client.flags.has(ClientFlags::DENY_BLOCKING) {
        return Err(CmdError::MigrateInside);
    }
    let (mut uses, mut known, db) = (Vec::new(), HashSet::new(), ctx.db.db());
    key_uses(args, &mut uses)?;
    let mut migration = Migration::new(route, db);
    let mut requests = Vec::new();
    for KeyUse { index, .. } in uses {
        let key = args.key(index);
        if known.insert(key.bytes) && ctx.db.lookup(key, Lookup::Read).is_some() {
            let key = WatchedKey { db, key: key.bytes.into(), hash: key.hash, expired: false };
            let mut item = Item { key, watch: Watch::default(), sent: Sent::Nothing };
            requests.push(migration.request(ctx, &mut item)?);
            migration.items.push(item);
        }
    }
    if migration.items.is_empty() {
        ctx.out.simple("NOKEY");
        return Ok(Flow::Done);
    }
    if !migration.route.copy {
        ctx.server.watched.begin();
        migration.watching = true;
        migration.items.iter().for_each(|item| item.begin(ctx));
    }
    migration.send(ctx, requests);
    Ok(Flow::Work(Box::new(migration)))
}

/// What the other server was last told of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Nothing,
    Value,
    Removal,
}

/// A key on its way.
struct Item {
    key: WatchedKey,
    /// Broken when the key has changed since it was dumped.
    watch: Watch,
    sent: Sent,
}

impl Item {
    fn key(&self) -> Key<'_> {
        Key { bytes: &self.key.key, hash: self.key.hash }
    }

    /// Begins to mind changes of the key; its shard is held.
    fn begin(&self, ctx: &mut Ctx<'_>) {
        begin_to_watch(&mut ctx.db, ctx.server, &self.key, &self.watch);
    }

    /// Ends what [`Self::begin`] began; its shard is held.
    fn end(&self, ctx: &mut Ctx<'_>) {
        let shard = ctx.server.keyspace.shard_of(self.key.hash);
        ctx.server.watched.remove(shard, &self.key, &self.watch);
        ctx.db.unmind(self.key());
    }
}

/// A MIGRATE that is under way.
struct Migration {
    route: Route,
    /// The database that the keys are in here.
    db: usize,
    /// The keys whose requests are under way, in their order.
    items: Vec<Item>,
    delivery: Arc<Delivery>,
    tries: usize,
    /// The first error of the other server.
    error: Option<String>,
    /// Whether any key is there now.
    moved: bool,
    /// Whether changes of the items are minded.
    watching: bool,
}

impl fmt::Debug for Migration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Route { host, port, .. } = &self.route;
        write!(out, "{} keys for {host}:{port}", self.items.len())
    }
}

impl Migration {
    fn new(route: Route, db: usize) -> Self {
        Self {
            route,
            db,
            items: Vec::new(),
            delivery: Arc::default(),
            tries: 0,
            error: None,
            moved: false,
            watching: false,
        }
    }

    /// The request that makes the key there what it is here now.
    fn request(&self, ctx: &mut Ctx<'_>, item: &mut Item) -> Result<Request, CmdError> {
        let (formats, now_ms) = (ctx.server.settings.formats(), ctx.now_ms);
        let Some(entry) = ctx.db.lookup(item.key(), Lookup::Silent) else {
            item.sent = Sent::Removal;
            let head = request(&[b"DEL", &item.key.key]);
            return Ok(Request { head, body: Arc::default(), tail: Vec::new() });
        };
        let replace = self.route.replace || item.sent != Sent::Nothing;
        let ttl = decimal(entry.deadline().map_or(0, |at_ms| (at_ms - now_ms).max(1)));
        let body = Arc::new(payload::of(entry.value(), &formats)?);
        let words: [&[u8]; 3] = [b"RESTORE", &item.key.key, &ttl];
        let mut head = head(if replace { 5 } else { 4 }, &words);
        write_head(&mut head, b'$', body.len() as i64);
        let mut tail = b"\r\n".to_vec();
        if replace {
            write_bulk(&mut tail, b"REPLACE");
        }
        item.sent = Sent::Value;
        Ok(Request { head, body, tail })
    }

    fn send(&mut self, ctx: &Ctx<'_>, requests: Vec<Request>) {
        let Route { host, port, auth, db, timeout, .. } = &self.route;
        self.tries += 1;
        self.delivery = ctx.server.couriers.send(Parcel {
            host: host.clone(),
            port: *port,
            auth: auth.clone(),
            db: *db,
            timeout: *timeout,
            requests,
        });
    }

    /// Removes what has arrived and is as it was sent; what has changed stays among the items.
    fn unpack(&mut self, ctx: &mut Ctx<'_>, answers: Vec<Answer>) {
        let (items, mut gone) = (std::mem::take(&mut self.items), Vec::new());
        let answers = answers.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        for (item, answer) in items.into_iter().zip(answers) {
            if let Some(Err(text)) = answer {
                self.error.get_or_insert(text);
                item.end(ctx);
                continue;
            }
            let arrived = answer.is_some() && item.sent == Sent::Value;
            // The lookup lets the key expire.
            let there = arrived && ctx.db.lookup(item.key(), Lookup::Silent).is_some();
            if arrived && (!there || item.watch.broken.load(Relaxed)) {
                self.items.push(item);
                continue;
            }
            item.end(ctx);
            if there && let Some(written) = ctx.db.remove(item.key()) {
                written.changed(Event::DEL);
                gone.push(item);
            }
        }
        if !gone.is_empty() {
            self.moved = true;
            let keys = gone.iter().map(|item| &*item.key.key);
            let argv: Vec<&[u8]> = std::iter::once(&b"DEL"[..]).chain(keys).collect();
            ctx.effects.propagate_as(&argv);
        }
    }

    /// What is to be said to the client, but where keys are to be sent once more.
    fn verdict(&self, broken: Option<Broken>) -> Result<(), CmdError> {
        if let Some(text) = &self.error {
            return Err(CmdError::MigrateTarget(text.clone()));
        }
        match broken {
            None => Ok(()),
            Some(Broken::Connecting) => Err(CmdError::MigrateBroken("connecting to the client")),
            Some(Broken::Writing) => Err(CmdError::MigrateBroken("writing to target instance")),
            Some(Broken::Reading) => Err(CmdError::MigrateBroken("reading to target instance")),
        }
    }

    /// Sends the items as they are now.
    fn send_again(&mut self, ctx: &mut Ctx<'_>) -> Result<(), CmdError> {
        if self.tries == TRIES_MAX {
            return Err(CmdError::MigrateLeft("they keep changing"));
        }
        let (mut items, mut requests) = (std::mem::take(&mut self.items), Vec::new());
        let made: Result<(), CmdError> = items.iter_mut().try_for_each(|item| {
            requests.push(self.request(ctx, item)?);
            // What happens from here on is not in the request.
            item.watch.broken.store(false, Relaxed);
            Ok(())
        });
        self.items = items;
        made?;
        self.send(ctx, requests);
        Ok(())
    }

    fn finish(&mut self, ctx: &mut Ctx<'_>, receipt: Receipt) -> Result<bool, CmdError> {
        let Receipt { answers, broken } = receipt;
        if self.route.copy {
            self.error = answers.into_iter().find_map(Result::err);
            self.moved = true;
            self.verdict(broken)?;
        } else {
            if ctx.server.is_paused(true, ctx.now_ms) {
                return Err(CmdError::MigrateLeft("clients are paused"));
            }
            self.unpack(ctx, answers);
            if broken.is_some() || self.items.is_empty() {
                self.verdict(broken)?;
            } else {
                self.send_again(ctx)?;
                return Ok(false);
            }
        }
        // Keys that others removed meanwhile might as well not have been there.
        ctx.out.simple(if self.moved { "OK" } else { "NOKEY" });
        Ok(true)
    }
}

impl Job for Migration {
    fn keys(&self) -> SmallVec<[&[u8]; 1]> {
        self.items.iter().map(|item| &*item.key.key).collect()
    }

    fn awaits(&self) -> Option<Arc<Notify>> {
        Some(self.delivery.arrival())
    }

    fn step(&mut self, ctx: &mut Ctx<'_>) -> Result<bool, CmdError> {
        let Some(receipt) = self.delivery.receipt() else { return Ok(false) };
        ctx.db.select(self.db);
        let result = self.finish(ctx, receipt);
        if !matches!(result, Ok(false)) {
            self.abandon(ctx);
        }
        result
    }

    fn abandon(&mut self, ctx: &mut Ctx<'_>) {
        if std::mem::take(&mut self.watching) {
            ctx.db.select(self.db);
            std::mem::take(&mut self.items).iter().for_each(|item| item.end(ctx));
            ctx.server.watched.finish();
        }
    }
}
