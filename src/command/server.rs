//! Commands on the server as a whole.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use smallvec::smallvec;

use super::args::Args;
use super::background::{Background, apart};
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::key::database;
use super::spec::{Command, Databases, Flags, Group, Locks};
use super::tracking::invalidate_all;
use super::transaction::touch_database;
use crate::base::{bytes, clock, number};
use crate::config::REDIS_VERSION;
use crate::keyspace::DbFigures;
use crate::observe::allocator;
use crate::resp::Argv;
use crate::server::{InfoContext, Purpose, ShutdownOptions, gate};

const FLUSH: Flags = Flags::KEYSPACE.with(Flags::DANGEROUS);
const ALL_SHARDS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

pub(super) static COMMANDS: &[Command] = &[
    Command::new("dbsize", 1, dbsize)
        .read()
        .fast()
        .group(Group::Server)
        .flags(Flags::KEYSPACE)
        .locks(Locks::All)
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
    Command::new("flushdb", -1, flushdb)
        .write()
        .group(Group::Server)
        .flags(FLUSH)
        .locks(Locks::All)
        .tips(ALL_SHARDS),
    Command::new("flushall", -1, flushall)
        .write()
        .group(Group::Server)
        .flags(FLUSH)
        .databases(Databases::All)
        .locks(Locks::All)
        .tips(ALL_SHARDS),
    Command::new("swapdb", 3, swapdb)
        .write()
        .fast()
        .group(Group::Server)
        .flags(FLUSH)
        .databases(Databases::Args(|_| smallvec![1, 2]))
        .locks(Locks::All),
    Command::new("time", 1, time)
        .fast()
        .group(Group::Server)
        .flags(Flags::LOADING.with(Flags::STALE))
        .tips(&["nondeterministic_output"]),
    Command::new("info", -1, info)
        .group(Group::Server)
        .locks(Locks::Each)
        .flags(Flags::LOADING.with(Flags::STALE).with(Flags::DANGEROUS))
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    Command::new("lolwut", -1, lolwut).read().fast().group(Group::Server),
    Command::new("shutdown", -1, shutdown).group(Group::Server).flags(
        Flags::ADMIN
            .with(Flags::NOSCRIPT)
            .with(Flags::LOADING)
            .with(Flags::STALE)
            .with(Flags::NO_MULTI)
            .with(Flags::ALLOW_BUSY)
            .with(Flags::NO_PAUSE),
    ),
];

fn dbsize(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let len = ctx.db.len();
    ctx.out.count(len);
    Ok(Flow::Done)
}

fn check_flush_mode(args: &Args<'_>) -> Result<(), CmdError> {
    // Memory is always freed in the background, so both modes are the same.
    let known = args.len() == 1 || args.len() == 2 && (args.is(1, "async") || args.is(1, "sync"));
    if known { Ok(()) } else { Err(CmdError::Syntax) }
}

fn flushdb(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    check_flush_mode(args)?;
    let db = ctx.db.db();
    flush(ctx, args, db..db + 1)
}

fn flushall(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    check_flush_mode(args)?;
    let mark = ctx.out.mark();
    let databases = ctx.server.keyspace.databases();
    flush(ctx, args, 0..databases)?;
    // What is being saved is gone, and the file is not to bring it back.
    ctx.server.saving.cancel(Purpose::Save);
    if ctx.server.config.read().save_points().is_empty() || ctx.server.loading.is_active() {
        return Ok(Flow::Done);
    }
    let rewriting = ctx.server.saving.running() == Some(Purpose::Rewrite);
    if ctx.inside || rewriting {
        // Nobody waits for the end of a rewrite.
        apart(&ctx.server.arc(), "save", |server| drop(server.save()));
        return Ok(Flow::Done);
    }
    ctx.out.rewind(mark);
    Ok(Flow::Background(Background::on_thread("save", |server| {
        // Data that could not be saved is gone all the same; the log says why.
        drop(server.save());
        Ok(())
    })))
}

/// Empties databases. One more change is counted, as in Redis, so that flushing nothing propagates.
fn flush(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    databases: std::ops::Range<usize>,
) -> Result<Flow, CmdError> {
    if ctx.server.watched.clients() > 0 {
        databases.clone().for_each(|db| touch_database(ctx, args, db, None));
    }
    invalidate_all(ctx);
    let awaited = |db| (db, ctx.server.blocked.awaited(db, db));
    let awaited: Vec<_> = databases.clone().map(awaited).collect();
    let keys: usize = databases.map(|db| ctx.db.flush(db)).sum();
    for (db, names) in awaited {
        names.iter().for_each(|name| ctx.db.changes().note_touched(db, args.key_of(name), false));
    }
    ctx.db.changes().dirty += keys as u64 + 1;
    ctx.out.ok();
    Ok(Flow::Done)
}

fn swapdb(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let number = |at| number::parse_i64(args.get(at)).filter(|n| i32::try_from(*n).is_ok());
    let one = number(1).ok_or(CmdError::InvalidFirstDb)?;
    let other = number(2).ok_or(CmdError::InvalidSecondDb)?;
    let (one, other) = (database(ctx, one)?, database(ctx, other)?);
    if one != other && ctx.server.watched.clients() > 0 {
        touch_database(ctx, args, one, Some(other));
        touch_database(ctx, args, other, Some(one));
    }
    if one != other {
        // Keys are tracked without their databases.
        invalidate_all(ctx);
    }
    ctx.db.swap(one, other);
    for name in ctx.server.blocked.awaited(one, other) {
        let key = args.key_of(&name);
        for db in [one, other] {
            ctx.db.changes().note_touched(db, key, false);
        }
    }
    ctx.db.select(ctx.client.db);
    ctx.db.changes().dirty += 1;
    ctx.out.ok();
    Ok(Flow::Done)
}

fn time(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let now_us = clock::now_us();
    ctx.out.array(2);
    ctx.out.bulk_integer(now_us / 1_000_000);
    ctx.out.bulk_integer(now_us % 1_000_000);
    Ok(Flow::Done)
}

fn info(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    // Before anything is allocated for the reply.
    let memory = allocator::figures();
    let asked: Vec<&[u8]> = args.rest(1).collect();
    let names = ctx.commands.names_by_id();
    let databases = db_figures(ctx);
    let keys = ctx.db.stats();
    let context = InfoContext { memory, command_names: &names, keys: &keys, databases: &databases };
    let text = ctx.server.info(&asked, &context);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

/// What is in each database.
pub(super) fn db_figures(ctx: &mut Ctx<'_>) -> Vec<DbFigures> {
    let databases = vec![DbFigures::default(); ctx.db.databases()];
    ctx.db.fold(databases, |mut databases, shard| {
        databases.iter_mut().enumerate().for_each(|(db, figures)| figures.add(shard, db));
        databases
    })
}

/// Largest drawing, in columns and in rows.
const DRAWING_MAX: i64 = 1000;

/// Draws a field of rising and falling lines; every number of columns gives another one.
fn lolwut(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (mut version, mut first) = (5, 1);
    if args.is(1, "version") && args.len() > 2 {
        (version, first) = (args.integer(2)?, 3);
    }
    let mut text = String::new();
    if version == 5 || version == 6 {
        let mut sizes = [66, 12];
        for (at, size) in (first..args.len()).zip(&mut sizes) {
            *size = args.integer(at)?.clamp(1, DRAWING_MAX);
        }
        draw(&mut text, sizes[0], sizes[1]);
    }
    writeln!(text, "Redis ver. {REDIS_VERSION}").expect("writing to memory does not fail");
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

fn draw(text: &mut String, columns: i64, rows: i64) {
    const SHADES: &[u8] = b" .:-=+*#%@";
    for row in 0..rows {
        for column in 0..columns {
            let (x, y) = (column as f64 / 6.0, row as f64 / 2.0);
            let height = (x.sin() + (y + x / 3.0).cos() + 2.0) / 4.0;
            let shade = (height * SHADES.len() as f64) as usize;
            text.push(char::from(SHADES[shade.min(SHADES.len() - 1)]));
        }
        text.push('\n');
    }
    text.push('\n');
}

/// What the words behind SHUTDOWN ask for; nothing is ABORT.
pub fn parse_shutdown(argv: Argv<'_>) -> Result<Option<ShutdownOptions>, CmdError> {
    let (mut options, mut abort) = (ShutdownOptions::default(), false);
    let words = || argv.iter().skip(1);
    for word in words() {
        match () {
            () if bytes::is_word(word, "nosave") => options.save = Some(false),
            () if bytes::is_word(word, "save") => options.save = Some(true),
            () if bytes::is_word(word, "now") => options.now = true,
            () if bytes::is_word(word, "force") => options.force = true,
            () if bytes::is_word(word, "abort") => abort = true,
            () => return Err(CmdError::Syntax),
        }
    }
    let has = |name| words().any(|word| bytes::is_word(word, name));
    if has("save") && has("nosave") || abort && argv.len() > 2 {
        return Err(CmdError::Syntax);
    }
    Ok((!abort).then_some(options))
}

fn shutdown(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let Some(options) = parse_shutdown(args.argv())? else {
        if !ctx.server.abort_shutdown() {
            return Err(CmdError::NoShutdown);
        }
        ctx.out.ok();
        return Ok(Flow::Done);
    };
    if ctx.server.gates.load(Ordering::Relaxed) & gate::BUSY != 0 {
        // A script may be torn only where nothing is to be kept.
        if options.save != Some(false) {
            return Err(ctx.server.scripts.busy_error().into());
        }
        ctx.server.shutdown.abandon_scripts();
    }
    Ok(Flow::Background(Background::new(move |server, answer| {
        server.begin_shutdown(options, move |stops| match stops {
            true => answer.withhold(),
            false => answer.ok_or(Err(CmdError::ShutdownFailed)),
        });
    })))
}
