//! DUMP and RESTORE: one key's value as bytes that any server of the family understands.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::options::decimal;
use super::spec::{Command, Flags, Group, Handler, KeySpec};
use crate::base::{bytes, number};
use crate::keyspace::{Deadline, Event, Lookup};
use crate::persist::rdb::decode::decode_payload;
use crate::persist::rdb::error::RdbError;
use crate::persist::rdb::{kind, payload};

const RESTORED: &[KeySpec] = &[KeySpec::one("OW", &["update"])];

const fn restoring(name: &'static str, handler: Handler) -> Command {
    Command::new(name, -4, handler)
        .grow()
        .flags(Flags::KEYSPACE.with(Flags::DANGEROUS))
        .keys(RESTORED)
}

pub(super) static COMMANDS: &[Command] = &[
    Command::new("dump", 2, dump)
        .read()
        .flags(Flags::KEYSPACE)
        .keys(&[KeySpec::one("RO", &["access"])])
        .tips(&["nondeterministic_output"]),
    restoring("restore", restore),
    restoring("restore-asking", restore).group(Group::Server).flags(Flags::ASKING),
];

fn dump(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let formats = ctx.server.settings.formats();
    match ctx.db.lookup(args.key(1), Lookup::Read) {
        Some(entry) => ctx.out.bulk_shared(&Arc::new(payload::of(entry.value(), &formats)?)),
        None => ctx.out.null(),
    }
    Ok(Flow::Done)
}

/// The options of RESTORE.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

impl Options {
    fn parse(args: &Args<'_>) -> Result<Self, CmdError> {
        let (mut options, mut read) = (args.options(4), Self::default());
        while let Some(word) = options.word() {
            let has_value = options.left() > 0;
            if bytes::is_word(word, "replace") {
                read.replace = true;
            } else if bytes::is_word(word, "absttl") {
                read.absolute = true;
            } else if bytes::is_word(word, "idletime") && has_value && read.frequency.is_none() {
                let seconds = u64::try_from(options.integer()?);
                read.idle_seconds = Some(seconds.map_err(|_| CmdError::RestoreIdleTime)?);
            } else if bytes::is_word(word, "freq") && has_value && read.idle_seconds.is_none() {
                let frequency = u8::try_from(options.integer()?);
                read.frequency = Some(frequency.map_err(|_| CmdError::RestoreFrequency)?);
            } else {
                return Err(CmdError::Syntax);
            }
        }
        Ok(read)
    }
}

fn restore(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, options, now_ms) = (args.key(1), Options::parse(args)?, ctx.now_ms);
    let clock_ms = ctx.db.clock_ms();
    if !options.replace && ctx.db.lookup(key, Lookup::Write).is_some() {
        return Err(CmdError::BusyKey);
    }
    let ttl = number::parse_i64(args.get(2)).ok_or(CmdError::NotInteger)?;
    if ttl < 0 {
        return Err(CmdError::RestoreTtl);
    }
    let check = !ctx.server.settings.skip_checksums.load(Relaxed);
    let (body, _) = payload::open(args.get(3), check).ok_or(CmdError::Payload)?;
    let (kind, body) = body.split_first().ok_or(CmdError::BadData)?;
    let keyspace = &ctx.server.keyspace;
    ctx.server.stats.payloads_checked.fetch_add(1, Relaxed);
    let restored = decode_payload(body, *kind, keyspace.limits(), keyspace.hasher(), now_ms);
    let mut restored = restored.map_err(|error| refusal(*kind, &error))?;
    ctx.out.ok();
    let deadline = match (ttl, options.absolute) {
        (0, _) => None,
        (ttl, true) => Some(ttl),
        (ttl, false) => Some(ttl.saturating_add(clock_ms)),
    };
    if deadline.is_some_and(|at_ms| at_ms <= now_ms) {
        super::options::delete_as_expired(ctx, key);
        return Ok(Flow::Done);
    }
    // What was there goes whole, with the time of its last use; that is not announced.
    let _ = ctx.db.remove(key);
    let written =
        ctx.db.set(key, restored.as_new_value(), deadline.map_or(Deadline::Clear, Deadline::At));
    written.changed(Event::RESTORE);
    let access = ctx.db.policy().recalled(options.idle_seconds, options.frequency, clock_ms);
    ctx.db.set_access(key, access);
    if let (Some(at_ms), false) = (deadline, options.absolute) {
        let at_ms = decimal(at_ms);
        let argv: Vec<&[u8]> = args
            .rest(0)
            .enumerate()
            .map(|(at, arg)| if at == 2 { &at_ms } else { arg })
            .chain([&b"ABSTTL"[..]])
            .collect();
        ctx.effects.propagate_as(&argv);
    }
    Ok(Flow::Done)
}

/// The client learns only that the data is bad; the log says why, as in Redis.
fn refusal(kind: u8, error: &RdbError) -> CmdError {
    let name = match kind {
        kind::HASH_ZIPMAP => "Zipmap",
        kind::LIST_ZIPLIST => "List ziplist",
        kind::SET_INTSET => "Intset",
        kind::ZSET_ZIPLIST => "Zset ziplist",
        kind::HASH_ZIPLIST => "Hash ziplist",
        kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => "Quicklist",
        kind::SET_LISTPACK => "Set listpack",
        kind::ZSET_LISTPACK => "Zset listpack",
        kind::HASH_LISTPACK => "Hash listpack",
        _ => "Value",
    };
    let offset = error.offset().unwrap_or(0);
    tracing::debug!(
        "Internal error in RDB reading offset {offset} -> {name} integrity check failed: {error}"
    );
    CmdError::BadData
}
