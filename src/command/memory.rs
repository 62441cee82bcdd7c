//! MEMORY: what keys cost.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::introspect::help;
use super::spec::{Command, Flags, Group, KeySpec};
use crate::keyspace::Lookup;

/// The share of a table's slots that an entry occupies, in bytes: 64 bytes for 7 slots at the usual
/// fill of about 60 %.
const SLOT_LEN: usize = 15;

pub(super) static COMMANDS: &[Command] =
    &[Command::new("memory", -2, help).group(Group::Server).subcommands(&[
        Command::new("usage", -3, usage).read().group(Group::Server).keys(&[KeySpec::at(
            2,
            "RO",
            &[],
        )]),
        Command::new("help", 2, help)
            .group(Group::Server)
            .flags(Flags::LOADING.with(Flags::STALE))
            .help(&[
                "USAGE <key> [SAMPLES <count>]",
                "    Show how many bytes <key> and its value take. Of a nested value, <count>",
                "    elements are looked at (default: 5, 0 is all).",
            ]),
    ])];

fn usage(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let mut options = args.options(3);
    while let Some(word) = options.word() {
        if !crate::base::bytes::is_word(word, "samples") || options.left() == 0 {
            return Err(CmdError::Syntax);
        }
        if options.integer()? < 0 {
            return Err(CmdError::Syntax);
        }
    }
    match ctx.db.lookup(args.key(2), Lookup::Silent).map(|entry| entry.memory()) {
        Some(memory) => ctx.out.count(memory + SLOT_LEN),
        None => ctx.out.null(),
    }
    Ok(Flow::Done)
}
