//! What commands that wait for a key have in common: the timeout, and the try before the wait.

use std::collections::HashSet;

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::spec::Serve;
use crate::base::number;
use crate::server::Wait;
use crate::value::Type;

/// The end of the time that the argument at `index` allows, in seconds; `None` is no end.
pub(super) fn timeout(
    ctx: &Ctx<'_>,
    args: &Args<'_>,
    index: usize,
) -> Result<Option<i64>, CmdError> {
    let seconds = number::parse_f64(args.get(index))
        .filter(|seconds| !seconds.is_nan())
        .ok_or(CmdError::TimeoutNotFloat)?;
    let span_ms = (seconds * 1000.0).ceil();
    // 2^63, the first value that no i64 has.
    if span_ms >= -(i64::MIN as f64) {
        return Err(CmdError::TimeoutRange);
    }
    match span_ms as i64 {
        0 => Ok(None),
        ..0 => Err(CmdError::TimeoutNegative),
        span_ms => ctx.now_ms.checked_add(span_ms).map(Some).ok_or(CmdError::TimeoutRange),
    }
}

/// What a command waits for when none of its keys serves it at once.
pub(super) struct Terms {
    /// The type of value.
    pub(super) wants: Type,
    /// The argument that is a further key which serving changes.
    pub(super) target: Option<usize>,
    /// Until when, in Unix milliseconds.
    pub(super) until_ms: Option<i64>,
}

/// Serves the client from the first of the keys at the arguments `keys` that can, or lets it wait
/// for them.
pub(super) fn serve_or_wait(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    keys: impl Iterator<Item = usize> + Clone,
    serve: Serve,
    terms: Terms,
) -> Result<Flow, CmdError> {
    for at in keys.clone() {
        if serve(ctx, args, at)? {
            return Ok(Flow::Done);
        }
    }
    let mut seen = HashSet::new();
    let distinct: Vec<usize> = keys.filter(|at| seen.insert(args.get(*at))).collect();
    let Terms { wants, target, until_ms } = terms;
    Ok(Flow::Block(Box::new(Wait {
        keys: distinct,
        wants,
        target,
        until_ms,
        minds_loss: false,
        retry: None,
        replaced: Vec::new(),
    })))
}
