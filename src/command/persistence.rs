//! Commands that write snapshots and rewrite the append-only file.

use std::sync::Arc;

use super::args::Args;
use super::background::Background;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::spec::{Command, Flags, Group};
use crate::server::{Purpose, SaveFailure, Server};

const SAVES: Flags = Flags::ADMIN.with(Flags::NOSCRIPT);

pub(super) static COMMANDS: &[Command] = &[
    Command::new("save", 1, save)
        .group(Group::Server)
        .flags(SAVES.with(Flags::NO_ASYNC_LOADING).with(Flags::NO_MULTI)),
    Command::new("bgsave", -1, bgsave)
        .group(Group::Server)
        .flags(SAVES.with(Flags::NO_ASYNC_LOADING)),
    Command::new("bgrewriteaof", 1, bgrewriteaof)
        .group(Group::Server)
        .flags(SAVES.with(Flags::NO_ASYNC_LOADING)),
    Command::new("lastsave", 1, lastsave)
        .fast()
        .group(Group::Server)
        .flags(Flags::LOADING.with(Flags::STALE).with(Flags::ADMIN).with(Flags::DANGEROUS))
        .tips(&["nondeterministic_output"]),
];

impl From<SaveFailure> for CmdError {
    fn from(failure: SaveFailure) -> Self {
        match failure {
            SaveFailure::Busy(Purpose::Save) => Self::SaveInProgress,
            SaveFailure::Busy(Purpose::Rewrite) => Self::SaveBesideRewrite,
            SaveFailure::Cancelled => Self::SaveFailed("the save was cancelled".to_owned()),
            SaveFailure::Failed(reason) => Self::SaveFailed(reason),
        }
    }
}

/// Its client waits for the end; nobody else does.
fn save(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    if ctx.server.saving.running() == Some(Purpose::Save) {
        return Err(CmdError::SaveInProgress);
    }
    let work = |server: &Arc<Server>| Ok(server.save()?);
    Ok(Flow::Background(Background::on_thread("save", work)))
}

fn bgsave(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let schedule = args.is(1, "schedule");
    match args.len() {
        1 => {}
        2 if schedule => {}
        2 if args.is(1, "cancel") => return cancel(ctx),
        _ => return Err(CmdError::Syntax),
    }
    if ctx.inside {
        // As in Redis it begins behind the transaction, and so with all of it.
        if ctx.server.saving.running() == Some(Purpose::Save) {
            return Err(CmdError::SaveInProgress);
        }
        ctx.server.saving.schedule();
        ctx.out.simple("Background saving scheduled");
        return Ok(Flow::Done);
    }
    match ctx.server.arc().save_in_background() {
        Ok(()) => {
            tracing::info!("Background saving started by pid {}", std::process::id());
            ctx.out.simple("Background saving started");
        }
        Err(SaveFailure::Busy(Purpose::Rewrite)) if schedule => {
            ctx.server.saving.schedule();
            ctx.out.simple("Background saving scheduled");
        }
        Err(failure) => return Err(failure.into()),
    }
    Ok(Flow::Done)
}

fn cancel(ctx: &mut Ctx<'_>) -> Result<Flow, CmdError> {
    let running = ctx.server.saving.running() == Some(Purpose::Save);
    if !ctx.server.saving.cancel(Purpose::Save) {
        return Err(CmdError::NoSave);
    }
    let what = if running { "cancelled" } else { "schedule cancelled" };
    ctx.out.simple(&format!("Background saving {what}"));
    Ok(Flow::Done)
}

fn bgrewriteaof(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    if ctx.inside {
        // What comes behind it in the transaction belongs into the new base too.
        ctx.server.schedule_rewrite();
        ctx.out.simple("Background append only file rewriting scheduled");
        return Ok(Flow::Done);
    }
    match ctx.server.arc().rewrite_in_background() {
        Ok(true) => ctx.out.simple("Background append only file rewriting started"),
        Ok(false) => ctx.out.simple("Background append only file rewriting scheduled"),
        Err(SaveFailure::Busy(_)) => return Err(CmdError::RewriteInProgress),
        Err(_) => return Err(CmdError::RewriteFailed),
    }
    Ok(Flow::Done)
}

fn lastsave(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let seconds = ctx.server.saving.figures().last_save_s;
    ctx.out.integer(seconds);
    Ok(Flow::Done)
}
