//! Scripts and functions: the Lua interpreter, what it lets them see and call, and the registries.
//!
//! Owns the one interpreter of the process with its sandbox, the cache of scripts and the libraries of
//! functions, and the conversion between replies and Lua values. Must not know commands, the keyspace
//! or the server: what a script calls is carried out by its [`Host`]. Keeps: scripts run one at a time,
//! behind [`Scripts::engine`]; nothing of one script is left for the next but what a library keeps for
//! itself; a script has bounded memory, native stack and time between two looks at its host.
//!
//! ```text
//! Scripts ── engine: Mutex<Engine> ── Sandbox (interpreter, prelude.lua)
//!    │                │              Cache, Libraries: compiled units
//!    └── Shared ──────┘  what others see and do while a script runs: who runs, kill, figures
//! ```

mod api;
mod arguments;
mod cache;
mod engine;
mod error;
mod intern;
mod lib;
mod library;
#[cfg(test)]
mod library_tests;
mod pattern;
mod raise;
mod random;
mod raw;
#[cfg(test)]
mod raw_tests;
mod register;
mod reply;
mod run;
mod sandbox;
#[cfg(test)]
mod sandbox_tests;
mod shared;
mod shebang;
#[cfg(test)]
mod tests;
mod unit;
mod value;

use std::ops::Range;

pub use engine::{Engine, Outcome, Prepared};
pub use error::ScriptError;
pub use library::{Function, Library, RestorePolicy};
pub use run::log;
pub use shared::{EngineGuard, Figures, Running, Scripts, Writing};
pub use unit::ScriptFlags;

use crate::resp::{Argv, ReplyBuf};

/// The bit of [`Host::set_repl`] for the append-only file.
pub const REPL_AOF: u8 = 1;

/// Carries out what a script asks for.
pub trait Host {
    /// Runs one command and appends its reply to `out`, in the protocol of `out`.
    ///
    /// What the script must not do is answered by an error reply, too.
    fn call(&mut self, argv: Argv<'_>, out: &mut ReplyBuf);

    /// Called about every [`crate::base::limits::SCRIPT_TICK`] instructions; `true` stops the script.
    fn tick(&mut self) -> bool;

    /// Chooses who hears of the writes that follow: [`REPL_AOF`], 2 for replicas.
    fn set_repl(&mut self, mask: u8);

    /// Whether the client may run that command; an error says why that cannot be told.
    fn acl_check(&mut self, argv: Argv<'_>) -> Result<bool, String>;

    /// Takes a line for the log; `level` is 0 (debug) to 3 (warning).
    fn log(&mut self, level: u8, text: &[u8]) {
        log(level, text);
    }
}

/// What a client asks to run: indexes into its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// How the first argument names it.
    pub what: What,
    /// The arguments that are keys.
    pub keys: Range<usize>,
    /// The others, up to the end.
    pub args: Range<usize>,
    /// Whether it came by a command that refuses writes (`*_RO`).
    pub read_only: bool,
}

/// How a request names what is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// By its source: EVAL.
    Body,
    /// By the digest of its source: EVALSHA.
    Sha,
    /// By the name of a function: FCALL.
    Function,
}
