//! How a command travels to the append-only file and to replicas, where not as it came.
//!
//! A command that changed something propagates verbatim unless its handler says otherwise: relative
//! deadlines become absolute, and results of floating-point arithmetic or chance become plain values,
//! so that every reader of the stream ends up with the same data.

use crate::server::{Propagated, gate};

/// In [`Effects::audience`]: somebody reads the stream.
pub const STREAM: u32 = 1 << 31;
const _: () = assert!(gate::AUDIENCE & STREAM == 0);

/// A command as a list of its arguments.
pub(super) type OwnedArgv = Vec<Vec<u8>>;

/// What a command propagates.
#[derive(Default)]
pub struct Effects {
    /// Who is to learn of the command: [`STREAM`], and bits of `server::gate`.
    pub audience: u32,
    /// Whether the script that runs wants its writes kept out of the stream.
    pub muted: bool,
    replaced: bool,
    commands: Vec<OwnedArgv>,
    /// What the whole request propagates so far.
    pub unit: Vec<Propagated>,
}

impl Effects {
    /// Whether anybody reads the stream; otherwise nothing is collected.
    #[inline]
    pub fn wanted(&self) -> bool {
        self.audience & STREAM != 0
    }

    /// Propagates `argv` instead of the command as it came; may be called several times.
    pub fn propagate_as(&mut self, argv: &[&[u8]]) {
        if self.wanted() {
            self.replaced = true;
            self.commands.push(argv.iter().map(|arg| arg.to_vec()).collect());
        }
    }

    /// Forgets what was said so far.
    pub fn restart(&mut self) {
        self.replaced = false;
        self.commands.clear();
    }

    /// Ends the collection: the commands that replace the original, or `None` for the original.
    pub fn take(&mut self) -> Option<Vec<OwnedArgv>> {
        let commands = std::mem::take(&mut self.commands);
        std::mem::take(&mut self.replaced).then_some(commands)
    }
}
