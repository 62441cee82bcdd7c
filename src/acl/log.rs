//! ACL LOG: the last refusals, equal ones counted together.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Refusals that are alike and not further apart than this are one entry, in milliseconds (Redis:
/// ACL_LOG_GROUPING_MAX_TIME_DELTA).
const TOGETHER_MS: i64 = 60_000;

/// Entries that a new refusal is compared with.
const COMPARED_MAX: usize = 10;

/// Bytes of a key or a name that an entry keeps, and of the line about its client: whoever is refused
/// chooses them.
const TEXT_LEN_MAX: usize = 4096;

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Logging in.
    Auth,
    /// A command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
    /// A database.
    Database,
}

impl Reason {
    /// How many reasons there are.
    pub const COUNT: usize = 5;

    /// The word in ACL LOG.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Command => "command",
            Self::Key => "key",
            Self::Channel => "channel",
            Self::Database => "database",
        }
    }
}

/// Where a refused command came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// A client.
    TopLevel,
    /// A transaction.
    Multi,
    /// A script.
    Lua,
}

impl Context {
    /// The word in ACL LOG.
    pub fn word(self) -> &'static str {
        match self {
            Self::TopLevel => "toplevel",
            Self::Multi => "multi",
            Self::Lua => "lua",
        }
    }
}

/// A refusal.
#[derive(Clone, Debug)]
pub struct Denial {
    /// What was refused.
    pub reason: Reason,
    /// Where that came from.
    pub context: Context,
    /// The command, key or channel.
    pub object: Vec<u8>,
    /// Who was refused.
    pub username: Vec<u8>,
}

/// An entry of the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What was refused.
    pub denial: Denial,
    /// How often.
    pub count: u64,
    /// The client that was refused last, as CLIENT LIST shows it.
    pub client: String,
    /// Number of the entry since the start.
    pub id: u64,
    /// When it was refused first, in Unix milliseconds.
    pub created_at_ms: i64,
    /// When it was refused last, in Unix milliseconds.
    pub updated_at_ms: i64,
}

impl Entry {
    fn is_like(&self, other: &Denial, now_ms: i64) -> bool {
        let own = &self.denial;
        own.reason == other.reason
            && own.context == other.context
            && (now_ms - self.updated_at_ms).abs() <= TOGETHER_MS
            && own.object == other.object
            && own.username == other.username
    }
}

/// The log, its last entry first.
#[derive(Debug)]
pub(super) struct Log(Mutex<State>);

#[derive(Debug)]
struct State {
    entries: VecDeque<Entry>,
    len_max: usize,
    next_id: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self(Mutex::new(State { entries: VecDeque::new(), len_max: usize::MAX, next_id: 0 }))
    }
}

impl Log {
    /// Sets the most entries that are kept; those that are there stay until the next refusal, as in
    /// Redis.
    pub(super) fn set_len_max(&self, len_max: usize) {
        self.0.lock().len_max = len_max;
    }

    /// Notes a refusal of the client that `client` describes.
    pub(super) fn add(&self, mut denial: Denial, now_ms: i64, mut client: String) {
        denial.object.truncate(TEXT_LEN_MAX);
        denial.object.shrink_to_fit();
        denial.username.truncate(TEXT_LEN_MAX);
        denial.username.shrink_to_fit();
        let mut ends = (0..=TEXT_LEN_MAX.min(client.len())).rev();
        client.truncate(ends.find(|at| client.is_char_boundary(*at)).unwrap_or(0));
        client.shrink_to_fit();
        let mut state = self.0.lock();
        let alike = |entry: &Entry| entry.is_like(&denial, now_ms);
        let known = state.entries.iter().take(COMPARED_MAX).position(alike);
        let entry = match known.and_then(|at| state.entries.remove(at)) {
            Some(entry) => Entry { count: entry.count + 1, client, updated_at_ms: now_ms, ..entry },
            None => {
                let id = state.next_id;
                state.next_id += 1;
                let (created_at_ms, updated_at_ms) = (now_ms, now_ms);
                Entry { denial, count: 1, client, id, created_at_ms, updated_at_ms }
            }
        };
        state.entries.push_front(entry);
        let len_max = state.len_max;
        state.entries.truncate(len_max);
    }

    /// The last `count` entries.
    pub(super) fn last(&self, count: usize) -> Vec<Entry> {
        self.0.lock().entries.iter().take(count).cloned().collect()
    }

    pub(super) fn reset(&self) {
        self.0.lock().entries.clear();
    }
}
