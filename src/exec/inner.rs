//! A command inside another's locks: queued by MULTI, or called by a script.

use super::call::stop_of;
use super::commit::finish;
use super::eval::eval;
use super::remember::{Cost, is_notable, remember};
use super::{Stop, call::slept_ticks};
use crate::base::clock;
use crate::command::{Args, CmdError, Ctx, Flow, Registered};
use crate::keyspace::KeyHash;
use crate::observe::stats::LoopCounters;
use crate::resp::Argv;
use crate::server::ClientFlags;

/// Runs one command with the locks that `ctx` holds, and appends its reply or error.
///
/// Nothing waits here: a command that would wait for a key answers that there is nothing, and one
/// that works in steps makes them all.
pub(super) fn run_inner(
    ctx: &mut Ctx<'_>,
    counters: &LoopCounters,
    registered: &Registered,
    argv: Argv<'_>,
    keys: &[KeyHash],
) -> Option<Stop> {
    let (cell, before) = (&counters.commands[registered.id], clock::ticks());
    let outer_row = std::mem::replace(&mut ctx.command, registered.command);
    let outer_inside = std::mem::replace(&mut ctx.inside, true);
    let outer_dirty = std::mem::take(&mut ctx.db.changes().dirty);
    let (db, mark, replied) = (ctx.client.db, ctx.out.mark(), ctx.out.len());
    ctx.db.select(db);
    ctx.db.set_touching(!ctx.client.flags.has(ClientFlags::NO_TOUCH));
    let args = Args::new(argv, keys, &ctx.server.keyspace);
    let mut result = (registered.command.handler)(ctx, &args);
    while let Ok(Flow::Work(job)) = &mut result {
        match job.step(ctx) {
            Ok(false) => {}
            Ok(true) => result = Ok(Flow::Done),
            Err(error) => result = Err(error),
        }
    }
    finish(ctx, registered, db, argv, keys);
    ctx.db.changes().dirty += outer_dirty;
    if let Ok(Flow::Eval(call)) = &result {
        result = eval(ctx, counters, registered, call, argv, keys).map(|()| Flow::Done);
    }
    (ctx.command, ctx.inside) = (outer_row, outer_inside);
    if let Ok(Flow::Background(_)) = &result {
        result = Err(CmdError::NotInside);
    }
    let stop = match result {
        Ok(Flow::Block(wait)) => {
            // Redis answers like this to those who would move an element, and to those who pop one.
            if wait.target.is_some() {
                ctx.out.null()
            } else {
                ctx.out.null_array()
            }
            None
        }
        Ok(flow) => stop_of(flow),
        Err(error) => {
            cell.failed.add(1);
            ctx.out.rewind(mark);
            ctx.out.error(&error);
            counters.errors.add(1);
            ctx.server.stats.count_error(&error.to_string());
            None
        }
    };
    let span = clock::ticks().wrapping_sub(before) + slept_ticks(stop.as_ref());
    let tracks_latency = &ctx.server.settings.latency_tracking;
    cell.count(span, tracks_latency.load(std::sync::atomic::Ordering::Relaxed));
    counters.processed.add(1);
    let cost = Cost { ticks: span, reply_len: ctx.out.len().saturating_sub(replied) };
    if is_notable(ctx.server, argv, cost) {
        remember(ctx.server, registered, argv, &ctx.client.handle, cost);
    }
    stop
}
