//! How the writer is to behave, and what it says of itself.

use std::time::Duration;

/// When changes are forced to disk (`appendfsync`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Before anybody learns of them.
    Always,
    /// Once a second.
    EverySecond,
    /// When the operating system likes.
    No,
}

impl Policy {
    /// The policy that a word of the directive names.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "always" => Some(Self::Always),
            "everysec" => Some(Self::EverySecond),
            "no" => Some(Self::No),
            _ => None,
        }
    }
}

/// How a writer behaves; the default is how it should outside of tests.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The policy to begin with.
    pub policy: Policy,
    /// How long writes are put off while a sync is running.
    pub postpone_max: Duration,
    /// Between two syncs under `everysec`, and between attempts after an error.
    pub period: Duration,
    /// What ends the process when `always` cannot be kept.
    pub exit: fn() -> !,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policy: Policy::EverySecond,
            postpone_max: Duration::from_secs(2),
            period: Duration::from_secs(1),
            exit: || std::process::exit(1),
        }
    }
}

/// What INFO says of the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of all files that would be loaded (`aof_current_size`).
    pub current_size: u64,
    /// What `current_size` was after the last rewrite, or the base's at the start.
    pub base_size: u64,
    /// Bytes in memory (`aof_buffer_length`).
    pub waiting: u64,
    /// Syncs that run or wait in the background (`aof_pending_bio_fsync`).
    pub pending_syncs: u64,
    /// Writes that did not wait any longer for a sync (`aof_delayed_fsync`).
    pub delayed_syncs: u64,
    /// Whether the last write and the last sync went well (`aof_last_write_status`).
    pub is_ok: bool,
}
