//! FUNCTION: the library registry, which holds nothing as long as there is no script engine.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::introspect::help;
use super::spec::{Command, Flags, Group, Locks};

pub(super) static COMMANDS: &[Command] = &[Command::new("function", -2, help)
    .group(Group::Scripting)
    .subcommands(&[Command::new("flush", -2, flush)
        .write()
        .flags(Flags::NOSCRIPT)
        .locks(Locks::All)
        .group(Group::Scripting)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])])];

/// Empties the registry. Without an engine no library can be loaded, so it is empty already.
fn flush(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let known = args.len() == 2 || args.len() == 3 && (args.is(2, "async") || args.is(2, "sync"));
    if !known {
        return Err(CmdError::Syntax);
    }
    ctx.out.ok();
    Ok(Flow::Done)
}
