//! Runs requests: takes their shards, calls their handlers, applies their effects, counts them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use smallvec::SmallVec;

use super::admission::{Refusal, Request, admit};
use super::ahead::Lookahead;
use super::batch::Batch;
use super::block::begin_wait;
use super::busy::{lock_engine, lock_shards};
use super::commit::{conclude, finish};
use super::eval::eval;
use super::evict::{Gauge, Room};
use super::multi::effective_flags;
use super::remember::{Cost, goes_on, is_notable, note_keys, remember};
use super::sample::Sampler;
use super::track::end_caching;
use super::work::NOTHING;
use crate::base::clock;
use crate::base::limits::PRESSED_MAX;
use crate::command::{
    Args, CmdError, Command, CommandTable, Ctx, Effects, Flags, Flow, Job, Locks, Pending,
    Registered, STREAM, forget_watched, keys_of, only_key, show_to_monitors,
};
use crate::keyspace::{Access, Changes, DbView, Evictor, Key, KeyHash, Keyspace, LockSet, Trash};
use crate::observe::stats::LoopCounters;
use crate::resp::{Argv, Mark, ReplyBuf};
use crate::script::EngineGuard;
use crate::server::{Client, ClientFlags, Server, Waiter, gate};

/// Keys that an event loop keeps room for.
const KEPT_KEYS_MAX: usize = 16 * 1024;

/// After commands that took this long together, the time is read anew, in microseconds.
const CLOCK_STALE_US: u64 = 500;

/// The time at which commands of a file are run again: see [`DbView::set_clock`].
pub(super) const LONG_AGO: i64 = 0;

/// Why a connection cannot go on with its requests right away.
#[derive(Debug)]
pub enum Stop {
    /// It is to be closed once its replies are sent.
    Close,
    /// Clients are paused; the request is still to be run.
    Paused,
    /// Memory is being freed that the request has to wait for; it is still to be run.
    NoRoomYet,
    /// A snapshot's writer has to catch up first; the request is still to be run.
    Pressed,
    /// The connection sleeps for that many milliseconds.
    Sleep(u64),
    /// The client waits for a key.
    Blocked(Arc<Waiter>),
    /// The rest of the request is done in steps.
    Work(Box<dyn Job>),
    /// Another thread makes the reply.
    Await(Arc<Pending>),
}

/// How far a batch came.
pub struct Progress {
    /// Requests that were run.
    pub ran: usize,
    /// Why the rest was not.
    pub stop: Option<Stop>,
}

/// What became of a request.
struct Outcome {
    stop: Option<Stop>,
    /// Whether its handler ran.
    called: bool,
}

/// What was found out about a request before it runs.
#[derive(Clone, Copy)]
struct Plan<'t> {
    registered: Option<&'t Registered>,
    /// Its keys' range in the batch's list.
    keys: (u32, u32),
}

impl Plan<'_> {
    /// The places of its keys in the batch's list.
    #[inline]
    fn keys(&self) -> Range<usize> {
        self.keys.0 as usize..self.keys.1 as usize
    }

    /// Its only key, and which argument names an element of the collection there.
    #[inline]
    fn element(&self, keys: &[KeyHash]) -> Option<(KeyHash, usize)> {
        let at = self.registered?.command.element;
        (at != 0 && self.keys.1 == self.keys.0 + 1).then(|| (keys[self.keys.0 as usize], at))
    }
}

/// Runs the requests of one event loop.
pub struct Executor {
    pub(super) server: Arc<Server>,
    pub(super) commands: Arc<CommandTable>,
    pub(super) counters: Arc<LoopCounters>,
    pub(super) changes: Changes,
    pub(super) effects: Effects,
    pub(super) evictor: Evictor,
    pub(super) gauge: Gauge,
    /// Whether there is memory for the last request.
    pub(super) room: Room,
    keys: Vec<KeyHash>,
    indexes: Vec<usize>,
    /// [`CLOCK_STALE_US`] in ticks.
    stale_ticks: u64,
    sampler: Sampler,
    cycle: Cycle,
}

/// What ran since the event loop last wrote replies.
#[derive(Clone, Copy, Default)]
pub struct Cycle {
    /// When the first of it began, in ticks.
    pub begun: u64,
    /// How many requests it was; 0 when nothing ran.
    pub requests: u64,
}

impl Cycle {
    #[inline]
    fn begin(&mut self, ticks: u64) {
        if self.requests == 0 {
            self.begun = ticks;
        }
    }
}

impl Executor {
    /// An executor for the event loop number `thread`.
    pub fn new(server: Arc<Server>, commands: Arc<CommandTable>, thread: usize) -> Self {
        let counters = server.stats.event_loop(thread);
        let executor = Self::with_counters(server, commands, counters);
        Self { sampler: Sampler::new(thread), gauge: Gauge::new(thread), ..executor }
    }

    /// An executor that counts into `counters`.
    pub(super) fn with_counters(
        server: Arc<Server>,
        commands: Arc<CommandTable>,
        counters: Arc<LoopCounters>,
    ) -> Self {
        Self {
            server,
            commands,
            counters,
            changes: Changes::default(),
            effects: Effects::default(),
            evictor: Evictor::default(),
            gauge: Gauge::default(),
            room: Room::Enough,
            keys: Vec::new(),
            indexes: Vec::new(),
            cycle: Cycle::default(),
            stale_ticks: clock::ticks_in_us(CLOCK_STALE_US),
            sampler: Sampler::default(),
        }
    }

    /// The process.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The event loop's counters.
    pub fn counters(&self) -> &LoopCounters {
        &self.counters
    }

    /// Runs the requests of `batch` from number `from` on, whose bytes are in `buffer`, and appends
    /// their replies.
    pub fn run(
        &mut self,
        buffer: &[u8],
        batch: &Batch,
        from: usize,
        client: &mut Client,
        out: &mut ReplyBuf,
    ) -> Progress {
        take_mail(client, out);
        let commands = Arc::clone(&self.commands);
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        let mut plans: SmallVec<[Plan<'_>; 64]> = SmallVec::new();
        for index in from..batch.len() {
            plans.push(self.plan(&commands, batch.argv(buffer, index), &mut keys));
        }
        if is_held_up(&self.server.keyspace, &plans, client) {
            self.keys = keys;
            return Progress { ran: from, stop: Some(Stop::Pressed) };
        }
        let mut ahead = self.look_ahead(client.db, &plans, &keys);
        if plans.len() > 1 {
            self.prefetch_elements(client.db, &plans, &keys, |at| batch.argv(buffer, from + at));
        }
        if let Some(at) = self.sampler.pick(plans.len()) {
            let argv = batch.argv(buffer, from + at);
            self.sampler.note(&self.server, client.db, argv, &keys[plans[at].keys()]);
        }
        let tracks_latency = self.server.settings.latency_tracking.load(Relaxed);
        let (mut now_ms, mut ticks) = (self.server.now_ms(), clock::ticks());
        let mut fresh_ticks = ticks;
        self.cycle.begin(ticks);
        let mut progress = Progress { ran: from, stop: None };
        for (index, plan) in plans.iter().enumerate() {
            // Requests that wait in a batch begin after a change of users that came meanwhile.
            if client.is_outdated(&self.server) && !client.catch_up_with_user(&self.server) {
                progress.stop = Some(Stop::Close);
                break;
            }
            let argv = batch.argv(buffer, from + index);
            ahead.reach(&self.server.keyspace, client.db, &keys, plan.keys());
            let found = &keys[plan.keys()];
            let (before, replied) = (ticks, out.len());
            let Outcome { stop, called } =
                self.request(plan.registered, argv, found, client, out, now_ms);
            ticks = clock::ticks();
            progress.ran += usize::from(!matches!(stop, Some(Stop::Paused | Stop::NoRoomYet)));
            if let (Some(registered), true) = (plan.registered, called) {
                // Counted afterwards, so that CONFIG RESETSTAT counts itself, as in Redis.
                let span = ticks.wrapping_sub(before) + slept_ticks(stop.as_ref());
                let cost = Cost { ticks: span, reply_len: out.len().saturating_sub(replied) };
                self.count(registered, argv, client, stop.as_ref(), (cost, tracks_latency));
            }
            if ticks.wrapping_sub(fresh_ticks) > self.stale_ticks {
                (now_ms, fresh_ticks) = (self.server.now_ms(), ticks);
            }
            if stop.is_some() {
                progress.stop = stop;
                break;
            }
            take_mail(client, out);
        }
        self.note_usage();
        self.cycle.requests += (progress.ran - from) as u64;
        self.note_activity(client, &plans[..progress.ran - from], now_ms);
        keys.shrink_to(KEPT_KEYS_MAX);
        self.keys = keys;
        self.indexes.shrink_to(KEPT_KEYS_MAX);
        progress
    }

    /// Takes what ran since this was last asked.
    pub fn take_cycle(&mut self) -> Cycle {
        std::mem::take(&mut self.cycle)
    }

    /// Counts a command whose handler ran, unless it goes on.
    #[inline]
    fn count(
        &self,
        registered: &Registered,
        argv: Argv<'_>,
        client: &mut Client,
        stop: Option<&Stop>,
        (cost, tracks_latency): (Cost, bool),
    ) {
        self.counters.processed.add(1);
        if goes_on(stop) {
            if self.server.hot_sessions.is_running() {
                let sizes = (cost, argv.wire_len());
                note_keys(&self.server, registered, argv, &client.handle, sizes);
            }
            return Self::postpone(client, registered, argv, cost);
        }
        self.counters.commands[registered.id].count(cost.ticks, tracks_latency);
        if is_notable(&self.server, argv, cost) {
            remember(&self.server, registered, argv, &client.handle, cost);
        }
    }

    /// Finds the command of a request and the hashes of its keys.
    #[inline]
    fn plan<'t>(
        &mut self,
        commands: &'t CommandTable,
        argv: Argv<'_>,
        keys: &mut Vec<KeyHash>,
    ) -> Plan<'t> {
        let start = keys.len() as u32;
        let Ok(registered) = commands.resolve(argv) else {
            return Plan { registered: None, keys: (start, start) };
        };
        let command = registered.command;
        if command.accepts(argv.len()) {
            hash_keys(&self.server.keyspace, command, argv, &mut self.indexes, keys);
        }
        Plan { registered: Some(registered), keys: (start, keys.len() as u32) }
    }

    /// Begins to ask for the memory of `keys`, those that `plans` name.
    #[inline]
    fn look_ahead(&self, db: usize, plans: &[Plan<'_>], keys: &[KeyHash]) -> Lookahead {
        let mut ahead = Lookahead::default();
        if let Some(first) = plans.first() {
            ahead.reach(&self.server.keyspace, db, keys, first.keys());
        }
        ahead
    }

    /// Asks for the elements that several requests in a row name of one collection. For single
    /// requests that would cost more than it saves: most collections are small.
    fn prefetch_elements<'a>(
        &self,
        db: usize,
        plans: &[Plan<'_>],
        keys: &[KeyHash],
        argv: impl Fn(usize) -> Argv<'a>,
    ) {
        let mut start = 0;
        while let Some(plan) = plans.get(start) {
            let Some((key, _)) = plan.element(keys) else {
                start += 1;
                continue;
            };
            let same =
                |plan: &&Plan<'_>| plan.element(keys).is_some_and(|(k, _)| k.hash == key.hash);
            let run = plans[start..].iter().take_while(same).count();
            if run > 1 {
                let bytes = argv(start).arg(key.index as usize);
                let elements = (start..start + run)
                    .filter_map(|at| Some(argv(at).arg(plans[at].element(keys)?.1)));
                let key = Key { bytes, hash: key.hash };
                self.server.keyspace.prefetch_elements(db, key, elements);
            }
            start += run;
        }
    }

    #[inline]
    fn request(
        &mut self,
        registered: Option<&Registered>,
        argv: Argv<'_>,
        keys: &[KeyHash],
        client: &mut Client,
        out: &mut ReplyBuf,
        now_ms: i64,
    ) -> Outcome {
        let limited = self.server.gates.load(Relaxed) & gate::MEMORY != 0;
        self.room = if limited { self.room_for(client, out) } else { Room::Enough };
        let mark = out.mark();
        let refused = |stop| Outcome { stop, called: false };
        let Some(registered) = registered else {
            return refused(self.unresolved(argv, client, out, mark));
        };
        let command = registered.command;
        let cell = &self.counters.commands[registered.id];
        if !command.accepts(argv.len()) {
            cell.rejected.add(1);
            let error = CmdError::Arity(registered.name.clone());
            let error = self.rejection_of_exec(error, (command, argv), client, now_ms);
            return refused(self.refuse(&error, client, out, mark));
        }
        let flags = effective_flags(client, command);
        let (server, commands, room) = (&self.server, &self.commands, self.room);
        let request =
            Request { server, client, command, flags, registered, commands, argv, now_ms, room };
        match admit(&request) {
            Ok(()) if client.flags.has(ClientFlags::MULTI) && !flags.has(Flags::NOT_QUEUED) => {
                let stop = self.enqueue(registered, argv, keys, client, out);
                after_reply(client, out, mark);
                return refused(stop);
            }
            Ok(()) => {}
            Err(Refusal::Paused) => return refused(Some(Stop::Paused)),
            Err(Refusal::NoRoomYet) => return refused(Some(Stop::NoRoomYet)),
            Err(Refusal::Error(error)) => {
                cell.rejected.add(1);
                let error = self.rejection_of_exec(error, (command, argv), client, now_ms);
                return refused(self.refuse(&error, client, out, mark));
            }
        }
        let result = match command.locks {
            Locks::Transaction => self.exec(registered, argv, client, out, now_ms),
            _ => self.call(registered, argv, keys, client, out, now_ms),
        };
        let result = match result {
            Err(error @ CmdError::Busy(_)) => {
                self.counters.commands[registered.id].rejected.add(1);
                let error = self.rejection_of_exec(error, (command, argv), client, now_ms);
                return refused(self.refuse(&error, client, out, mark));
            }
            result => result,
        };
        let stop = self.end_request(registered, result, client, out, mark);
        Outcome { stop, called: true }
    }

    /// Replies the error of a handler, or takes back what its client does not want to hear.
    #[inline]
    fn end_request(
        &mut self,
        registered: &Registered,
        result: Result<Option<Stop>, CmdError>,
        client: &mut Client,
        out: &mut ReplyBuf,
        mark: Mark,
    ) -> Option<Stop> {
        match result {
            Ok(Some(stop @ (Stop::Blocked(_) | Stop::Await(_)))) => Some(stop),
            Ok(Some(stop @ Stop::Work(_))) => {
                // What is to come of the reply is taken back step by step, as its head is here.
                if client.flags.has(ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP) {
                    out.rewind(mark);
                }
                Some(stop)
            }
            Ok(stop) => {
                let pushes = registered.command.flags.has(Flags::PUSHES);
                after_reply(client, out, if pushes { out.mark() } else { mark });
                stop
            }
            Err(error) => {
                self.counters.commands[registered.id].failed.add(1);
                out.rewind(mark);
                self.reply_error(&error, client, out, mark);
                None
            }
        }
    }

    /// Runs one handler with its shards locked, and applies what it did before they are released.
    #[inline]
    pub(super) fn call(
        &mut self,
        registered: &Registered,
        argv: Argv<'_>,
        keys: &[KeyHash],
        client: &mut Client,
        out: &mut ReplyBuf,
        now_ms: i64,
    ) -> Result<Option<Stop>, CmdError> {
        let (server, command) = (&*self.server, registered.command);
        let (engine, access) = lock(server, command, keys)?;
        let state = (&mut self.changes, &mut self.effects);
        let mut ctx = context(server, &self.commands, state, access, client, out, now_ms);
        (ctx.command, ctx.engine, ctx.out_of_memory) = (command, engine, self.room == Room::None);
        let db = ctx.db.db();
        let args = Args::new(argv, keys, &server.keyspace);
        let result = (command.handler)(&mut ctx, &args);
        finish(&mut ctx, registered, db, argv, keys);
        let mut background = None;
        let result = result.and_then(|flow| match flow {
            // Nobody waits on behalf of a file.
            Flow::Block(_) if now_ms == LONG_AGO => Ok(None),
            Flow::Block(wait) => {
                let waiter = begin_wait(&mut ctx, registered.id, &args, *wait);
                Ok(Some(Stop::Blocked(waiter)))
            }
            Flow::Eval(call) => {
                eval(&mut ctx, &self.counters, registered, &call, argv, keys).map(|()| None)
            }
            Flow::Background(wanted) => {
                background = Some(wanted);
                Ok(None)
            }
            flow => Ok(stop_of(flow)),
        });
        let deferred = conclude(&mut ctx);
        drop(ctx);
        self.settle();
        if !deferred.is_empty() {
            self.serve_deferred(deferred, client, now_ms);
        }
        match background {
            Some(background) => Ok(Some(Stop::Await(background.begin(&self.server)))),
            None => result,
        }
    }

    /// Ends all watches of a client outside of any command.
    pub fn forget_watched(&mut self, client: &mut Client, now_ms: i64) {
        if client.watch.is_some() {
            let (server, commands) = (Arc::clone(&self.server), Arc::clone(&self.commands));
            let (state, mut out) = ((&mut self.changes, &mut self.effects), ReplyBuf::default());
            let access = Access::Each;
            let mut ctx = context(&server, &commands, state, access, client, &mut out, now_ms);
            forget_watched(&mut ctx);
        }
    }

    /// Counts and frees what the last command left behind; no shard is locked any more.
    pub(super) fn settle(&mut self) {
        self.counters.dirty.add(self.changes.dirty);
        self.changes.dirty = 0;
        if !self.changes.trash.is_empty() {
            let costly = |trash: &Trash| match trash {
                Trash::Value(value) => value.is_costly_to_free(),
                Trash::Db(_) => true,
            };
            let costly: Vec<Trash> = self.changes.trash.extract_if(.., |t| costly(t)).collect();
            self.changes.trash.clear();
            if !costly.is_empty() {
                self.server.lazyfree.free(costly);
            }
        }
    }

    #[cold]
    fn unresolved(
        &mut self,
        argv: Argv<'_>,
        client: &mut Client,
        out: &mut ReplyBuf,
        mark: Mark,
    ) -> Option<Stop> {
        let name = argv.arg(0);
        if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
            // A browser was tricked into sending commands; nothing after the head is to run.
            tracing::warn!(
                "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or \
                 Host: commands to Redis. This is likely due to an attacker attempting to use \
                 Cross Protocol Scripting to compromise your Redis instance. Connection from {} \
                 aborted.",
                client.handle.peer.addr()
            );
            return Some(Stop::Close);
        }
        let commands = Arc::clone(&self.commands);
        match commands.resolve(argv) {
            Err(error) => self.refuse(&error, client, out, mark),
            Ok(_) => None,
        }
    }

    /// Answers a request that does not run; a transaction that it belongs to will not run either.
    #[cold]
    fn refuse(
        &mut self,
        error: &CmdError,
        client: &mut Client,
        out: &mut ReplyBuf,
        mark: Mark,
    ) -> Option<Stop> {
        if client.flags.has(ClientFlags::MULTI)
            && let Some(transaction) = &mut client.transaction
        {
            transaction.aborted = true;
        }
        end_caching(client, "");
        self.reply_error(error, client, out, mark);
        None
    }

    #[cold]
    pub(super) fn reply_error(
        &mut self,
        error: &CmdError,
        client: &mut Client,
        out: &mut ReplyBuf,
        mark: Mark,
    ) {
        out.error(error);
        self.counters.errors.add(1);
        self.server.stats.count_error(&error.to_string());
        after_reply(client, out, mark);
    }

    /// What a client is told when a request is refused: a refused EXEC ends its transaction.
    #[cold]
    fn rejection_of_exec(
        &mut self,
        error: CmdError,
        (command, argv): (&Command, Argv<'_>),
        client: &mut Client,
        now_ms: i64,
    ) -> CmdError {
        if command.locks != Locks::Transaction {
            return error;
        }
        client.end_transaction();
        self.forget_watched(client, now_ms);
        if self.server.gates.load(Relaxed) & gate::MONITORS != 0 {
            show_to_monitors(&self.server, client, command, argv);
        }
        let text = error.to_string();
        CmdError::ExecRejected(text.strip_prefix("ERR ").unwrap_or(&text).to_owned())
    }

    /// Lets others see what the client did.
    fn note_activity(&self, client: &Client, ran: &[Plan<'_>], now_ms: i64) {
        let handle = &client.handle;
        handle.active_at_ms.store(now_ms, Relaxed);
        if let Some(last) = ran.last().and_then(|plan| plan.registered) {
            handle.last_command.store(last.id as u32 + 1, Relaxed);
        }
        handle.commands.store(handle.commands.load(Relaxed) + ran.len() as u64, Relaxed);
    }
}

/// Whether requests have to wait until a snapshot's writer has caught up with what commands wrote out
/// ahead of it: those that may write, but for a client that has waited long enough with them.
#[inline]
fn is_held_up(keyspace: &Keyspace, plans: &[Plan<'_>], client: &mut Client) -> bool {
    if keyspace.is_pressed() && is_to_wait(plans, client) {
        return true;
    }
    client.held_up_since = None;
    false
}

#[cold]
fn is_to_wait(plans: &[Plan<'_>], client: &mut Client) -> bool {
    let may_write = |registered: &Registered| {
        let flags = effective_flags(client, registered.command);
        flags.has(Flags::MAY_WRITE) && !flags.has(Flags::PUBSUB)
    };
    if !plans.iter().filter_map(|plan| plan.registered).any(may_write) {
        return false;
    }
    let waited = client.held_up_since.get_or_insert_with(Instant::now).elapsed();
    waited < PRESSED_MAX
}

/// Appends what others sent the client; only between replies.
#[inline]
pub(super) fn take_mail(client: &Client, out: &mut ReplyBuf) {
    let mailbox = &client.handle.mailbox;
    if mailbox.has_mail() {
        mailbox.take_into(out);
    }
}

/// Takes what a request for `command` needs: the engine, if it runs scripts, and the shards of its
/// keys.
#[inline]
fn lock<'s>(
    server: &'s Server,
    command: &Command,
    keys: &[KeyHash],
) -> Result<(Option<EngineGuard<'s>>, Access<'s>), CmdError> {
    let engine = match command.locks {
        Locks::Script => Some(lock_engine(server)?),
        _ => None,
    };
    let access = match (command.locks, keys) {
        (Locks::All, _) => lock_shards(server, LockSet::All),
        // What ends a state of its client is done whatever a script does.
        (Locks::Each, _) if command.flags.has(Flags::ALLOW_BUSY) => Ok(Access::Each),
        (Locks::Each, _) => lock_shards(server, LockSet::Each),
        (_, []) => lock_shards(server, LockSet::None),
        (_, [key]) => lock_shards(server, LockSet::One(key.hash)),
        (_, keys) => {
            let hashes: SmallVec<[u64; 16]> = keys.iter().map(|key| key.hash).collect();
            lock_shards(server, LockSet::Hashes(&hashes))
        }
    };
    Ok((engine, access?))
}

/// Appends the keys of a request with their hashes to `keys`; `indexes` is room to work in.
///
/// A request whose keys cannot be found gets its error from its handler.
#[inline]
pub(super) fn hash_keys(
    keyspace: &Keyspace,
    command: &Command,
    argv: Argv<'_>,
    indexes: &mut Vec<usize>,
    keys: &mut impl Extend<KeyHash>,
) {
    let key_at =
        |index: usize| KeyHash { index: index as u32, hash: keyspace.hash(argv.arg(index)) };
    if let Some(only) = only_key(command) {
        return keys.extend([key_at(only)]);
    }
    indexes.clear();
    if !command.keys.is_empty() && keys_of(command, argv, indexes).is_ok() {
        keys.extend(indexes.iter().map(|index| key_at(*index)));
    }
}

/// What a handler has at hand when it runs for `client` with the locks of `access`.
#[inline(always)]
pub(super) fn context<'a>(
    server: &'a Server,
    commands: &'a CommandTable,
    (changes, effects): (&'a mut Changes, &'a mut Effects),
    access: Access<'a>,
    client: &'a mut Client,
    out: &'a mut ReplyBuf,
    now_ms: i64,
) -> Ctx<'a> {
    let (mut wanted, mut gates) = (server.propagation.is_wanted(), server.gates.load(Relaxed));
    if now_ms == LONG_AGO {
        (wanted, gates) = (false, 0);
    }
    changes.observed = gates & gate::OBSERVED != 0;
    changes.streamed = wanted;
    changes.attentive = gates & gate::ATTENTIVE != 0;
    effects.audience = gates & gate::AUDIENCE | if wanted { STREAM | gate::OBSERVED } else { 0 };
    let mut db = DbView::new(&server.keyspace, access, changes, client.db, now_ms);
    db.set_touching(!client.flags.has(ClientFlags::NO_TOUCH));
    if now_ms == LONG_AGO {
        db.set_clock(server.now_ms());
    }
    if gates & gate::PAUSED != 0 && server.pause.is_active(now_ms) {
        db.no_expire();
    }
    Ctx {
        db,
        out,
        client,
        server,
        commands,
        engine: None,
        effects,
        inside: false,
        out_of_memory: false,
        command: &NOTHING,
        now_ms,
    }
}

/// Takes the reply back where CLIENT REPLY says so, and moves SKIP on to the next command.
#[inline]
pub(super) fn after_reply(client: &mut Client, out: &mut ReplyBuf, mark: Mark) {
    if !client.flags.has(ClientFlags::REPLY) {
        return;
    }
    if client.flags.has(ClientFlags::REPLY_OFF | ClientFlags::REPLY_SKIP) {
        out.rewind(mark);
    }
    if client.flags.has(ClientFlags::REPLY_SKIP | ClientFlags::REPLY_SKIP_NEXT) {
        let skips = client.flags.has(ClientFlags::REPLY_SKIP_NEXT);
        client.set_flags(ClientFlags::REPLY_SKIP, skips);
        client.set_flags(ClientFlags::REPLY_SKIP_NEXT, false);
    }
}

/// What DEBUG SLEEP adds to its own time: its client waits, but not inside the handler.
pub(super) fn slept_ticks(stop: Option<&Stop>) -> u64 {
    match stop {
        Some(Stop::Sleep(ms)) => clock::ticks_in_us(*ms * 1000),
        _ => 0,
    }
}

pub(super) fn stop_of(flow: Flow) -> Option<Stop> {
    match flow {
        Flow::Done | Flow::Block(_) | Flow::Eval(_) | Flow::Background(_) => None,
        Flow::Work(job) => Some(Stop::Work(job)),
        Flow::Close => Some(Stop::Close),
        Flow::Sleep(ms) => Some(Stop::Sleep(ms)),
    }
}
