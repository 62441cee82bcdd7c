//! Commands on keys of any type: existence, names, copies, OBJECT.

use smallvec::{SmallVec, smallvec};

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::spec::{Command, Databases, Flags, KeySpec, Locks};
use crate::keyspace::{EntryView, Event, Key, Lookup};
use crate::resp::Argv;
use crate::value::{StrView, ValueView};

/// What OBJECT REFCOUNT reports for the integers that Redis keeps shared (INT_MAX there).
const SHARED_REFCOUNT: i64 = i32::MAX as i64;
/// The integers that Redis keeps shared are 0 up to this, exclusive.
const SHARED_INTEGERS: i64 = 10_000;

const COUNT_TIPS: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
const ALL_RO: &[KeySpec] = &[KeySpec::all(1, "RO", &[])];
const ALL_RM: &[KeySpec] = &[KeySpec::all(1, "RM", &["delete"])];
const OBJECT_KEY: &[KeySpec] = &[KeySpec::at(2, "RO", &[])];

const fn object_subcommand(name: &'static str, handler: super::spec::Handler) -> Command {
    Command::new(name, 3, handler)
        .read()
        .flags(Flags::KEYSPACE)
        .keys(OBJECT_KEY)
        .tips(&["nondeterministic_output"])
}

pub(super) static COMMANDS: &[Command] = &[
    Command::new("del", -2, del).write().flags(Flags::KEYSPACE).keys(ALL_RM).tips(COUNT_TIPS),
    Command::new("unlink", -2, del)
        .write()
        .fast()
        .flags(Flags::KEYSPACE)
        .keys(ALL_RM)
        .tips(COUNT_TIPS),
    Command::new("exists", -2, exists)
        .read()
        .fast()
        .flags(Flags::KEYSPACE)
        .keys(ALL_RO)
        .tips(COUNT_TIPS),
    Command::new("touch", -2, touch)
        .read()
        .fast()
        .flags(Flags::KEYSPACE)
        .keys(ALL_RO)
        .tips(COUNT_TIPS),
    Command::new("type", 2, type_of)
        .read()
        .fast()
        .flags(Flags::KEYSPACE)
        .keys(&[KeySpec::one("RO", &[])]),
    Command::new("rename", 3, rename)
        .write()
        .flags(Flags::KEYSPACE)
        .keys(&[KeySpec::one("RW", &["access", "delete"]), KeySpec::at(2, "OW", &["update"])]),
    Command::new("renamenx", 3, renamenx)
        .write()
        .fast()
        .flags(Flags::KEYSPACE)
        .keys(&[KeySpec::one("RW", &["access", "delete"]), KeySpec::at(2, "OW", &["insert"])]),
    Command::new("copy", -3, copy)
        .grow()
        .flags(Flags::KEYSPACE)
        .keys(&[KeySpec::one("RO", &["access"]), KeySpec::at(2, "OW", &["update"])])
        .databases(Databases::Args(copy_databases)),
    Command::new("move", 3, move_to)
        .write()
        .fast()
        .flags(Flags::KEYSPACE)
        .keys(&[KeySpec::one("RW", &["access", "delete"])])
        .databases(Databases::Args(|_| smallvec![2])),
    Command::new("randomkey", 1, randomkey)
        .read()
        .flags(Flags::KEYSPACE)
        .locks(Locks::All)
        .tips(&["request_policy:all_shards", "response_policy:special", "nondeterministic_output"]),
    Command::new("object", -2, super::introspect::help).subcommands(&[
        object_subcommand("encoding", object_encoding),
        object_subcommand("freq", object_freq),
        object_subcommand("idletime", object_idletime),
        object_subcommand("refcount", object_refcount),
        Command::new("help", 2, super::introspect::help)
            .flags(Flags::LOADING.with(Flags::STALE).with(Flags::KEYSPACE))
            .help(&[
                "ENCODING <key>",
                "    Show how the value of <key> is kept in memory.",
                "FREQ <key>",
                "    Show how often <key> is used, on a logarithmic scale (LFU policies only).",
                "IDLETIME <key>",
                "    Show for how many seconds <key> has not been used.",
                "REFCOUNT <key>",
                "    Show how many references the value of <key> has.",
            ]),
    ]),
];

fn del(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let mut removed = 0;
    for index in 1..args.len() {
        if let Some(written) = ctx.db.remove(args.key(index)) {
            written.changed(Event::DEL);
            removed += 1;
        }
    }
    ctx.out.integer(removed);
    Ok(Flow::Done)
}

fn exists(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    count_found(ctx, args, Lookup::Ask)
}

fn touch(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    count_found(ctx, args, Lookup::Touch)
}

fn count_found(ctx: &mut Ctx<'_>, args: &Args<'_>, lookup: Lookup) -> Result<Flow, CmdError> {
    let found = (1..args.len()).filter(|at| ctx.db.lookup(args.key(*at), lookup).is_some()).count();
    ctx.out.count(found);
    Ok(Flow::Done)
}

fn type_of(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let found = ctx.db.lookup(args.key(1), Lookup::Ask);
    ctx.out.simple(found.map_or("none", |entry| entry.type_of().name()));
    Ok(Flow::Done)
}

fn rename(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (from, to) = (args.key(1), args.key(2));
    ctx.db.lookup(from, Lookup::Write).ok_or(CmdError::NoSuchKey)?;
    if from.bytes != to.bytes {
        move_entry(ctx, from, to);
    }
    ctx.out.ok();
    Ok(Flow::Done)
}

fn renamenx(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (from, to) = (args.key(1), args.key(2));
    ctx.db.lookup(from, Lookup::Write).ok_or(CmdError::NoSuchKey)?;
    let free = !ctx.db.contains(to);
    if free {
        move_entry(ctx, from, to);
    }
    ctx.out.integer(i64::from(free));
    Ok(Flow::Done)
}

fn move_entry(ctx: &mut Ctx<'_>, from: Key<'_>, to: Key<'_>) {
    if let Some(mut entry) = ctx.db.take(from) {
        if let Some(object) = entry.object_mut() {
            object.note_moved(to.bytes);
        }
        // That it is new comes first.
        let _ = ctx.db.put(to, entry);
        ctx.db.written(from).changed(Event::RENAME_FROM);
        ctx.db.written(to).also(Event::RENAME_TO);
    }
}

fn copy(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (mut options, mut target, mut replace) = (args.options(3), ctx.db.db(), false);
    while let Some(word) = options.word() {
        if crate::base::bytes::is_word(word, "replace") {
            replace = true;
        } else if crate::base::bytes::is_word(word, "db") && options.left() > 0 {
            target = roomy_database(ctx, options.integer()?)?;
        } else {
            return Err(CmdError::Syntax);
        }
    }
    let (from, to, source) = (args.key(1), args.key(2), ctx.db.db());
    if source == target && from.bytes == to.bytes {
        return Err(CmdError::SameObject);
    }
    let Some(found) = ctx.db.lookup(from, Lookup::Read) else {
        ctx.out.integer(0);
        return Ok(Flow::Done);
    };
    let copy = found.to_entry();
    ctx.db.select(target);
    let free = replace || !ctx.db.contains(to);
    if free {
        ctx.db.put(to, copy).changed(Event::COPY_TO);
    }
    ctx.db.select(source);
    ctx.out.integer(i64::from(free));
    Ok(Flow::Done)
}

/// Where COPY names databases: behind every `DB`, of which the last one counts.
fn copy_databases(argv: Argv<'_>) -> SmallVec<[usize; 2]> {
    let names = |at: &usize| crate::base::bytes::is_word(argv.arg(*at - 1), "db");
    (4..argv.len()).filter(names).collect()
}

/// The database of that number; Redis tells apart what is no C `int` from what is no database.
pub(super) fn database(ctx: &Ctx<'_>, number: i64) -> Result<usize, CmdError> {
    let number = i32::try_from(number).map_err(|_| CmdError::NotInt32)?;
    let db = usize::try_from(number).ok().filter(|db| *db < ctx.server.keyspace.databases());
    db.ok_or(CmdError::DbOutOfRange)
}

/// The database of that number, to which a key is to be brought.
fn roomy_database(ctx: &Ctx<'_>, number: i64) -> Result<usize, CmdError> {
    let db = database(ctx, number)?;
    let full = db != ctx.db.db() && ctx.server.is_db_full(db);
    if full { Err(CmdError::OutOfMemory) } else { Ok(db) }
}

fn move_to(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (key, source) = (args.key(1), ctx.db.db());
    let target = roomy_database(ctx, args.integer(2)?)?;
    if source == target {
        return Err(CmdError::SameObject);
    }
    ctx.db.select(target);
    let taken = ctx.db.contains(key);
    ctx.db.select(source);
    let entry = if taken { None } else { ctx.db.take(key) };
    ctx.out.integer(i64::from(entry.is_some()));
    if let Some(entry) = entry {
        ctx.db.select(target);
        let _ = ctx.db.put(key, entry);
        ctx.db.select(source);
        ctx.db.written(key).changed(Event::MOVE_FROM);
        ctx.db.select(target);
        ctx.db.written(key).also(Event::MOVE_TO);
        ctx.db.select(source);
    }
    Ok(Flow::Done)
}

fn randomkey(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    match ctx.db.random_key() {
        Some(key) => ctx.out.bulk(&key),
        None => ctx.out.null(),
    }
    Ok(Flow::Done)
}

fn object_encoding(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    match ctx.db.lookup(args.key(2), Lookup::Silent).map(EntryView::value) {
        Some(value) => ctx.out.text(value.encoding()),
        None => ctx.out.null(),
    }
    Ok(Flow::Done)
}

fn object_refcount(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    match ctx.db.lookup(args.key(2), Lookup::Silent).map(EntryView::value) {
        // Redis shares none where each needs access bits of its own.
        Some(ValueView::Str(StrView::Int(0..SHARED_INTEGERS)))
            if !ctx.server.eviction.minds_accesses() =>
        {
            ctx.out.integer(SHARED_REFCOUNT);
        }
        Some(_) => ctx.out.integer(1),
        None => ctx.out.null(),
    }
    Ok(Flow::Done)
}

fn object_idletime(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    object_access(ctx, args, |ctx, access| {
        let policy = ctx.db.policy();
        if policy.lfu {
            return Err(CmdError::IdleTimeUnderLfu);
        }
        Ok(policy.idle_ms(access, ctx.now_ms) / 1000)
    })
}

fn object_freq(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    object_access(ctx, args, |ctx, access| {
        let policy = ctx.db.policy();
        if !policy.lfu {
            return Err(CmdError::FrequencyWithoutLfu);
        }
        Ok(i64::from(policy.frequency(access, ctx.now_ms)))
    })
}

fn object_access(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    read: impl Fn(&Ctx<'_>, u32) -> Result<i64, CmdError>,
) -> Result<Flow, CmdError> {
    match ctx.db.lookup(args.key(2), Lookup::Silent).map(EntryView::access) {
        Some(access) => {
            let value = read(ctx, access)?;
            ctx.out.integer(value);
        }
        None => ctx.out.null(),
    }
    Ok(Flow::Done)
}
