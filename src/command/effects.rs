//! How a command travels to the append-only file and to replicas, where not as it came.
//!
//! A command that changed something propagates verbatim unless its handler says otherwise: relative
//! deadlines become absolute, and results of floating-point arithmetic or chance become plain values,
//! so that every reader of the stream ends up with the same data.

use crate::persist::unit::Unit;
use crate::resp::Argv;
use crate::server::gate;

/// In [`Effects::audience`]: somebody reads the stream.
pub const STREAM: u32 = 1 << 31;
const _: () = assert!(gate::AUDIENCE & STREAM == 0);

/// What a command propagates.
#[derive(Default)]
pub struct Effects {
    /// Who is to learn of the command: [`STREAM`], and bits of `server::gate`.
    pub audience: u32,
    /// Whether the script that runs wants its writes kept out of the stream.
    pub muted: bool,
    /// Whether the request is to leave no trace in the stream.
    abandoned: bool,
    replaced: bool,
    commands: Unit,
    /// What the whole request propagates so far.
    pub unit: Unit,
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
            self.commands.push(0, argv.iter().copied());
        }
    }

    /// Keeps all of the request out of the stream, what was said before and what is yet to come.
    pub fn abandon(&mut self) {
        // Without a reader nobody ends the request either.
        self.abandoned = self.wanted();
    }

    /// Ends the request; whether its unit is for nobody.
    pub fn end_request(&mut self) -> bool {
        std::mem::take(&mut self.abandoned)
    }

    /// Forgets what was said so far.
    pub fn restart(&mut self) {
        self.replaced = false;
        self.commands.clear();
    }

    /// Ends the collection. If the command changed anything, what it propagates goes into the unit:
    /// what its handler said, or the command as it came.
    pub fn close(&mut self, changed: bool, db: usize, argv: Argv<'_>) {
        let replaced = std::mem::take(&mut self.replaced);
        if changed && !self.muted {
            match replaced {
                true => self.unit.append(db, &self.commands),
                false => self.unit.push_sent(db, argv),
            }
        }
        self.commands.clear();
    }
}
