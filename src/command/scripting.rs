//! EVAL and SCRIPT: scripts by their source or its digest. How they run is the executor's affair.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::introspect::help;
use super::spec::{Command, Flags, Group, KeySpec, Locks};
use crate::base::number;
use crate::script::{Call, Engine, EngineGuard, ScriptError, What};

const CALLS: Flags = Flags::NOSCRIPT
    .with(Flags::STALE)
    .with(Flags::SKIP_MONITOR)
    .with(Flags::NO_MANDATORY_KEYS)
    .with(Flags::MOVABLEKEYS);
const KEYS: KeySpec = KeySpec::counted(2, 1, "RW", &["access", "update"]);
const READ_KEYS: KeySpec = KeySpec::counted(2, 1, "RO", &["access"]);

pub(super) static COMMANDS: &[Command] = &[
    call("eval", eval)
        .flags(Flags::MAY_REPLICATE)
        .keys(&[KEYS.notes("any of them may be read or changed, that is up to the script")]),
    call("evalsha", evalsha).flags(Flags::MAY_REPLICATE).keys(&[KEYS]),
    call("eval_ro", eval).read().keys(&[READ_KEYS.notes("any of them may be read")]),
    call("evalsha_ro", evalsha).read().keys(&[READ_KEYS]),
    Command::new("script", -2, help).group(Group::Scripting).subcommands(&[
        row("debug", 3, debug).flags(Flags::NOSCRIPT),
        script("exists", -3, exists)
            .flags(Flags::NOSCRIPT)
            .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"]),
        script("flush", -2, flush)
            .flags(Flags::NOSCRIPT)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        row("help", 2, help).flags(Flags::LOADING.with(Flags::STALE)).help(&[
            "DEBUG (YES|SYNC|NO)",
            "    Choose whether scripts run in the debugger, which this server does not have.",
            "EXISTS <sha1> [<sha1> ...]",
            "    Tell which of the scripts with these digests are in the cache.",
            "FLUSH [ASYNC|SYNC]",
            "    Empty the cache of scripts.",
            "KILL",
            "    End the script that is running, if it has written nothing.",
            "LOAD <script>",
            "    Put a script into the cache without running it.",
            "SHOW <sha1>",
            "    Show the source of a script in the cache.",
        ]),
        row("kill", 2, kill)
            .flags(Flags::NOSCRIPT.with(Flags::ALLOW_BUSY))
            .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
        script("load", 3, load)
            .flags(Flags::NOSCRIPT.with(Flags::STALE))
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        script("show", 3, show).flags(Flags::NOSCRIPT),
    ]),
];

/// The engine that the executor locked because the command's row says so.
pub(super) fn engine<'e>(held: &'e mut Option<EngineGuard<'_>>) -> &'e mut Engine {
    held.as_deref_mut().expect("rows with Locks::Script hold the engine")
}

/// A row of a command that runs a script or function.
pub(super) const fn call(name: &'static str, handler: super::spec::Handler) -> Command {
    Command::new(name, -3, handler).flags(CALLS).group(Group::Scripting).locks(Locks::Script)
}

const fn row(name: &'static str, arity: i32, handler: super::spec::Handler) -> Command {
    Command::new(name, arity, handler).group(Group::Scripting)
}

/// A row of a command on the engine.
const fn script(name: &'static str, arity: i32, handler: super::spec::Handler) -> Command {
    Command::new(name, arity, handler).group(Group::Scripting).locks(Locks::Script)
}

fn eval(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    run(ctx, args, What::Body, CmdError::NotInteger)
}

fn evalsha(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    const DIGEST_LEN: usize = 40;
    if args.get(1).len() != DIGEST_LEN {
        return Err(ScriptError::NoScript.into());
    }
    run(ctx, args, What::Sha, CmdError::NotInteger)
}

/// What the request runs, if it has as many keys as it says; `not_a_number` if it says nonsense.
pub(super) fn run(
    ctx: &Ctx<'_>,
    args: &Args<'_>,
    what: What,
    not_a_number: CmdError,
) -> Result<Flow, CmdError> {
    const FIRST_KEY: usize = 3;
    let count = number::parse_i64(args.get(2)).ok_or(not_a_number)?;
    let given = args.len() - FIRST_KEY;
    if count > given as i64 {
        return Err(CmdError::TooManyKeys);
    }
    let count = usize::try_from(count).map_err(|_| CmdError::KeysNegative)?;
    let end_of_keys = FIRST_KEY + count;
    Ok(Flow::Eval(Box::new(Call {
        what,
        keys: FIRST_KEY..end_of_keys,
        args: end_of_keys..args.len(),
        read_only: ctx.command.flags.has(Flags::READONLY),
    })))
}

fn debug(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    if args.is(2, "yes") || args.is(2, "sync") {
        return Err(CmdError::NoDebugger);
    }
    if !args.is(2, "no") {
        return Err(CmdError::ScriptDebug);
    }
    ctx.out.ok();
    Ok(Flow::Done)
}

fn exists(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let engine = engine(&mut ctx.engine);
    ctx.out.array(args.len() - 2);
    for digest in args.rest(2) {
        ctx.out.integer(i64::from(engine.has_script(digest)));
    }
    Ok(Flow::Done)
}

fn flush(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    if !is_flush_mode(args) {
        return Err(CmdError::ScriptFlush);
    }
    engine(&mut ctx.engine).flush_scripts();
    ctx.out.ok();
    Ok(Flow::Done)
}

/// Whether nothing but how memory is freed is said after the name.
pub(super) fn is_flush_mode(args: &Args<'_>) -> bool {
    args.len() == 2 || args.len() == 3 && (args.is(2, "async") || args.is(2, "sync"))
}

fn kill(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    ctx.server.scripts.kill(false)?;
    ctx.out.ok();
    Ok(Flow::Done)
}

fn load(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let digest = engine(&mut ctx.engine).load_script(args.get(2))?;
    ctx.out.text(&digest);
    Ok(Flow::Done)
}

fn show(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let engine = engine(&mut ctx.engine);
    ctx.out.bulk(engine.script_source(args.get(2)).ok_or(ScriptError::NoScript)?);
    Ok(Flow::Done)
}
