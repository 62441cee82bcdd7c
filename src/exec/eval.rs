//! Scripts: what EVAL and FCALL run, and the commands that a script calls.
//!
//! A script holds the engine and the shards of the keys that its request named. A command that it
//! calls may name others: their shards are taken then, in whatever order they come (see
//! [`crate::keyspace::Access`]), and kept to the end, so that the script is one step to everybody else.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::Stop;
use super::admission::disk_error;
use super::busy::lock_engine;
use super::call::hash_keys;
use super::inner::run_inner;
use super::track::{end_caching, remember_keys};
use crate::acl::Context;
use crate::base::idle;
use crate::command::{CmdError, Command, Ctx, Flags, Locks, Registered, check_client, note_lack};
use crate::keyspace::KeyHash;
use crate::observe::stats::LoopCounters;
use crate::resp::{Argv, ReplyBuf};
use crate::script::{Call, Host, REPL_AOF, ScriptFlags, What, Writing};
use crate::server::{ClientFlags, Server, gate};

/// Whether a request runs a script that declares that it writes nothing.
pub(super) fn declares_no_writes(
    server: &Server,
    command: &Command,
    argv: Argv<'_>,
) -> Result<bool, CmdError> {
    let what = match command.name {
        "eval" => What::Body,
        "evalsha" => What::Sha,
        "fcall" => What::Function,
        _ => return Ok(false),
    };
    let flags = lock_engine(server)?.declared_flags(what, argv.arg(1));
    Ok(flags.is_some_and(|flags| flags.has(ScriptFlags::NO_WRITES)))
}

/// Runs what `call` names in the request `argv`, whose keys are `keys`, and appends its reply.
pub(super) fn eval(
    ctx: &mut Ctx<'_>,
    counters: &LoopCounters,
    registered: &Registered,
    call: &Call,
    argv: Argv<'_>,
    keys: &[KeyHash],
) -> Result<(), CmdError> {
    let mut engine = ctx.engine.take().expect("rows with Locks::Script hold the engine");
    let prepared = match engine.prepare(call, argv) {
        Ok(prepared) => prepared,
        Err(error) => {
            ctx.engine = Some(engine);
            return Err(error.into());
        }
    };
    let lenient = ScriptFlags::COMPAT.with(ScriptFlags::ALLOW_OOM).with(ScriptFlags::NO_WRITES);
    if ctx.out_of_memory && !prepared.flags().has(lenient) {
        ctx.engine = Some(engine);
        return Err(CmdError::ScriptOutOfMemory);
    }
    let allows_oom = prepared.flags().has(ScriptFlags::ALLOW_OOM);
    let read_only = call.read_only || prepared.flags().has(ScriptFlags::NO_WRITES);
    let (db, denied) = (ctx.client.db, ctx.client.flags.has(ClientFlags::DENY_BLOCKING));
    let audience = ctx.effects.audience;
    ctx.client.set_flags(ClientFlags::DENY_BLOCKING | ClientFlags::SCRIPT, true);
    let mut reply = std::mem::take(ctx.out);
    let mark = reply.mark();
    let mut host = ScriptHost {
        ctx,
        counters,
        read_only,
        allows_oom,
        is_function: prepared.is_function(),
        indexes: Vec::new(),
        started: None,
        busy: false,
        has_read: false,
    };
    let outcome = engine.run(&prepared, &mut host, argv, call, &mut reply);
    host.end();
    let has_read = host.has_read;
    *ctx.out = reply;
    ctx.engine = Some(engine);
    ctx.effects.muted = false;
    if outcome.failed && ctx.server.shutdown.abandons_scripts() {
        // What it did by half is not to outlive the process, nor what else its transaction does.
        ctx.effects.abandon();
    }
    ctx.client.set_flags(ClientFlags::DENY_BLOCKING, denied);
    ctx.client.set_flags(ClientFlags::SCRIPT, false);
    if audience & gate::TRACKING != 0 {
        end_script(ctx, argv, if has_read { keys } else { &[] });
    }
    if ctx.client.db != db {
        ctx.client.select(db);
        ctx.db.select(db);
    }
    if outcome.failed {
        counters.commands[registered.id].failed.add(1);
    }
    if outcome.uncounted {
        counters.errors.add(1);
        let text = ctx.out.bytes_since(mark);
        let text = text.strip_prefix(b"-").unwrap_or(text);
        ctx.server.stats.count_error(&String::from_utf8_lossy(text));
    }
    Ok(())
}

/// Remembers that the script's client read `keys`, which its request named.
#[cold]
fn end_script(ctx: &mut Ctx<'_>, argv: Argv<'_>, keys: &[KeyHash]) {
    if !keys.is_empty() {
        remember_keys(ctx, argv, keys);
    }
    end_caching(ctx.client, "");
}

#[expect(
    clippy::disallowed_methods,
    reason = "DEBUG SLEEP in a script stops it, and all who wait for it"
)]
fn sleep(span: Duration) {
    std::thread::sleep(span);
}

/// Carries out what a script calls.
struct ScriptHost<'c, 'a> {
    ctx: &'c mut Ctx<'a>,
    counters: &'c LoopCounters,
    read_only: bool,
    /// Whether it declared that memory does not matter.
    allows_oom: bool,
    is_function: bool,
    /// Which arguments of a command are keys; kept for the next.
    indexes: Vec<usize>,
    started: Option<Instant>,
    /// Whether everybody was told that a script keeps the server busy.
    busy: bool,
    /// Whether it called a command that only reads.
    has_read: bool,
}

impl ScriptHost<'_, '_> {
    fn run(&mut self, argv: Argv<'_>) -> Result<(), CmdError> {
        let commands = self.ctx.commands;
        let registered = commands.resolve(argv).map_err(|_| CmdError::ScriptUnknown)?;
        let rejected = || self.counters.commands[registered.id].rejected.add(1);
        self.admit(registered, argv).inspect_err(|_| rejected())?;
        let (row, keyspace) = (registered.command, &self.ctx.server.keyspace);
        let mut keys: SmallVec<[KeyHash; 4]> = SmallVec::new();
        hash_keys(keyspace, row, argv, &mut self.indexes, &mut keys);
        match row.locks {
            Locks::All | Locks::Each => self.ctx.db.acquire_all(),
            _ => keys.iter().for_each(|key| self.ctx.db.acquire(key.hash)),
        }
        self.has_read |= row.flags.has(Flags::READONLY);
        if let Some(Stop::Sleep(ms)) = run_inner(self.ctx, self.counters, registered, argv, &keys) {
            sleep(Duration::from_millis(ms));
        }
        Ok(())
    }

    /// May the script call that command? In the order of Redis's `scriptCall`.
    fn admit(&self, registered: &Registered, argv: Argv<'_>) -> Result<(), CmdError> {
        let row = registered.command;
        if !row.accepts(argv.len()) {
            return Err(CmdError::ScriptArity);
        }
        let may_all = self.ctx.server.scripts_may_all.load(Ordering::Relaxed);
        // The engine runs one script at a time, whatever scripts may call.
        let nested = matches!(row.locks, Locks::Script | Locks::Transaction);
        if nested || row.flags.has(Flags::NOSCRIPT) && !may_all {
            return Err(CmdError::ScriptNotAllowed);
        }
        let (server, client) = (self.ctx.server, &*self.ctx.client);
        if let Err(lack) = check_client(server, client, (registered, argv), client.db) {
            let whole = (server, self.ctx.commands);
            note_lack(whole, &client.handle, lack, (registered, argv), Context::Lua);
            return Err(lack.error_in_script(server, registered));
        }
        let writes = row.flags.has(Flags::MAY_WRITE);
        if writes && self.read_only {
            return Err(CmdError::ScriptReadOnly);
        }
        let gates = self.ctx.server.gates.load(Ordering::Relaxed);
        if row.flags.has(Flags::WRITE)
            && gates & gate::DISK != 0
            && let Some(error) = disk_error(self.ctx.server)
        {
            return Err(error);
        }
        // A script that has begun to write goes on, or it would be done by halves.
        let scripts = &self.ctx.server.scripts;
        let strict = !self.allows_oom && !scripts.has_written();
        let full = || self.ctx.out_of_memory || self.ctx.server.is_db_full(self.ctx.client.db);
        if strict && row.flags.has(Flags::DENYOOM) && gates & gate::MEMORY != 0 && full() {
            return Err(CmdError::OutOfMemory);
        }
        if row.flags.has(Flags::WRITE) && scripts.begin_write() == Writing::Killed {
            return Err(CmdError::ScriptKilled);
        }
        Ok(())
    }

    /// Tells everybody that a script keeps the server busy.
    #[cold]
    fn begin_busy(&mut self, millis: u128) {
        self.busy = true;
        let kill = if self.is_function { "FUNCTION KILL" } else { "SCRIPT KILL" };
        let name = self.ctx.server.scripts.running().map(|running| running.name);
        tracing::warn!(
            "Slow script detected: still in execution after {millis} milliseconds. You can try \
             killing the script using the {kill} command. Script name is: {}.",
            name.unwrap_or_default()
        );
        self.ctx.server.set_gate(gate::BUSY, true);
    }

    fn end(&mut self) {
        // Nobody builds on what a script left half done when the server ends.
        if self.busy && !self.ctx.server.shutdown.abandons_scripts() {
            self.ctx.server.set_gate(gate::BUSY, false);
        }
    }
}

impl Host for ScriptHost<'_, '_> {
    fn call(&mut self, argv: Argv<'_>, out: &mut ReplyBuf) {
        let mark = out.mark();
        std::mem::swap(self.ctx.out, out);
        let result = self.run(argv);
        std::mem::swap(self.ctx.out, out);
        if let Err(error) = result {
            out.rewind(mark);
            out.error(&error);
            self.counters.errors.add(1);
            self.ctx.server.stats.count_error(&error.to_string());
        }
    }

    fn tick(&mut self) -> bool {
        let elapsed = self.started.get_or_insert_with(Instant::now).elapsed().as_millis();
        let threshold = self.ctx.server.settings.busy_ms();
        if !self.busy && threshold > 0 && elapsed >= u128::from(threshold) {
            self.begin_busy(elapsed);
        }
        if self.busy {
            idle::run();
        }
        let server = self.ctx.server;
        let stopping = server.shutdown.is_under_way();
        server.shutdown.abandons_scripts() || stopping && !server.scripts.has_written()
    }

    fn set_repl(&mut self, mask: u8) {
        // There are no replicas, to which alone the other bit matters.
        self.ctx.effects.muted = mask & REPL_AOF == 0;
    }

    fn acl_check(&mut self, argv: Argv<'_>) -> Result<bool, String> {
        let unknown = |_| "Invalid command passed to redis.acl_check_cmd()".to_owned();
        let registered = self.ctx.commands.resolve(argv).map_err(unknown)?;
        let client = &*self.ctx.client;
        Ok(check_client(self.ctx.server, client, (registered, argv), client.db).is_ok())
    }
}
