//! CONFIG: the directives at run time.

use super::args::Args;
use super::background::{Background, apart};
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::introspect::help;
use super::spec::{Command, Flags, Group, Locks};
use crate::base::glob;
use crate::config::{Caller, RewriteError, SetError, is_sensitive};
use crate::resp::Argv;
use crate::server::gate;

const COMMON: Flags = Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::LOADING).with(Flags::STALE);

const fn row(name: &'static str, arity: i32, handler: super::spec::Handler) -> Command {
    Command::new(name, arity, handler).group(Group::Server).flags(COMMON)
}

pub(super) static COMMANDS: &[Command] =
    &[Command::new("config", -2, help).group(Group::Server).subcommands(&[
        row("get", -3, get),
        row("set", -4, set)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .secrets_fn(secrets_of),
        row("resetstat", 2, resetstat)
            .locks(Locks::Each)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        row("rewrite", 2, rewrite)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        Command::new("help", 2, help)
            .group(Group::Server)
            .flags(Flags::LOADING.with(Flags::STALE))
            .help(&[
                "GET <pattern>",
                "    Show the directives whose names match the glob <pattern>.",
                "SET <directive> <value>",
                "    Change a directive.",
                "RESETSTAT",
                "    Set the counters that INFO shows back to zero.",
                "REWRITE",
                "    Write the current directives into the configuration file.",
            ]),
    ])];

fn secrets_of(argv: Argv<'_>) -> Vec<usize> {
    (3..argv.len()).step_by(2).filter(|at| is_sensitive(argv.arg(at - 1))).collect()
}

fn get(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let patterns: Vec<&[u8]> = args.rest(2).collect();
    let matches = |pattern: &[u8], name: &[u8]| glob::matches(pattern, name, true);
    let found = ctx.server.config.read().get(&patterns, &matches);
    ctx.out.map(found.len());
    for (name, value) in &found {
        ctx.out.text(name);
        ctx.out.text(value);
    }
    Ok(Flow::Done)
}

fn set(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    if args.len() % 2 == 1 {
        return Err(CmdError::Syntax);
    }
    let pairs: Vec<(&[u8], &[u8])> =
        (2..args.len()).step_by(2).map(|at| (args.get(at), args.get(at + 1))).collect();
    let is_local = ctx.client.handle.peer.is_local();
    let caller = Caller { is_local, is_loading: ctx.server.loading.is_active() };
    let changed = ctx.server.reconfigure(|config| config.set_by(&pairs, caller));
    let ends_log = changed.map_err(|error| match error {
        SetError::Loading => CmdError::Loading,
        error => CmdError::Config(error),
    })?;
    // The table of cached keys may have to become smaller.
    ctx.effects.audience |= gate::TRACKING;
    if !ends_log {
        ctx.out.ok();
        return Ok(Flow::Done);
    }
    if ctx.inside {
        // It takes the shards that are held here.
        apart(&ctx.server.arc(), "appending", |server| server.end_log());
        ctx.out.ok();
        return Ok(Flow::Done);
    }
    Ok(Flow::Background(Background::on_thread("appending", |server| {
        server.end_log();
        Ok(())
    })))
}

fn resetstat(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    ctx.server.stats.reset();
    ctx.server.propagation.reset_stats();
    ctx.server.acl.reset_counts();
    ctx.server.eviction.reset();
    ctx.server.client_memory.reset();
    ctx.server.lazyfree.reset();
    ctx.db.fold((), |(), shard| shard.reset_stats());
    ctx.out.ok();
    Ok(Flow::Done)
}

fn rewrite(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    rewritten(ctx.server.rewrite_config(false))?;
    ctx.out.ok();
    Ok(Flow::Done)
}

/// Logs how rewriting the file went.
pub(super) fn rewritten(result: Result<(), RewriteError>) -> Result<(), CmdError> {
    match result {
        Ok(()) => {
            tracing::info!("CONFIG REWRITE executed with success.");
            Ok(())
        }
        Err(error) => {
            tracing::warn!("CONFIG REWRITE failed: {error}");
            Err(CmdError::ConfigRewrite(error))
        }
    }
}
