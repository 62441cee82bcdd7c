//! A selector: one set of permissions, all of which a request has to fit.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::Catalog;
use crate::base::glob;

/// What is done with a key: a set of reading and writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// Neither: the key is only named, as by EXISTS.
    pub const NONE: Self = Self(0);
    /// What it holds is read.
    pub const READ: Self = Self(1);
    /// What it holds is changed.
    pub const WRITE: Self = Self(1 << 1);
    /// Both.
    pub const ALL: Self = Self(3);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in the set.
    pub const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Keys that may be used in some way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    pattern: Box<[u8]>,
    access: Access,
}

/// A rule about commands as it was given, for printing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CommandRule {
    allow: bool,
    /// `get`, `client|kill`, `select|0`, `@read`.
    name: Box<[u8]>,
}

/// One set of permissions. `+@all` is kept as a flag beside the bits, because it covers commands
/// that are yet to come and saves looking at the bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// A bit for each command.
    commands: Vec<u64>,
    /// Whether the rules began with `+@all`.
    begins_with_all: bool,
    /// Whether nothing was taken away since.
    all_commands: bool,
    /// Commands that are allowed with some first arguments only.
    first_args: BTreeMap<usize, Vec<Box<[u8]>>>,
    rules: Vec<CommandRule>,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Box<[u8]>>,
    all_databases: bool,
    databases: BTreeSet<i32>,
}

impl Selector {
    /// A selector that allows nothing but all databases, and all channels if `all_channels`.
    pub(super) fn new(catalog: &Catalog, all_channels: bool) -> Self {
        Self {
            commands: vec![0; catalog.len().div_ceil(64)],
            begins_with_all: false,
            all_commands: false,
            first_args: BTreeMap::new(),
            rules: Vec::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels,
            channels: Vec::new(),
            all_databases: true,
            databases: BTreeSet::new(),
        }
    }

    /// Whether it allows everything.
    pub fn allows_all(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels && self.all_databases
    }

    /// Whether a command is allowed; `first_arg` is the argument behind its name.
    pub fn allows_command(&self, id: usize, first_arg: Option<&[u8]>) -> bool {
        if self.all_commands || self.bit(id) {
            return true;
        }
        let Some((allowed, given)) = self.first_args.get(&id).zip(first_arg) else { return false };
        allowed.iter().any(|one| one.eq_ignore_ascii_case(given))
    }

    /// Whether every key is allowed in every way.
    pub fn allows_all_keys(&self) -> bool {
        self.all_keys
    }

    /// Whether a key may be used like that. One pattern has to cover all of it.
    pub fn allows_key(&self, key: &[u8], access: Access) -> bool {
        let fits =
            |one: &KeyPattern| one.access.covers(access) && glob::matches(&one.pattern, key, false);
        self.all_keys || self.keys.iter().any(fits)
    }

    /// Whether any key may be used like that.
    pub fn allows_any_key(&self, access: Access) -> bool {
        let fits = |one: &KeyPattern| one.access.covers(access) && *one.pattern == *b"*";
        self.all_keys || self.keys.iter().any(fits)
    }

    /// Whether every channel is allowed.
    pub fn allows_all_channels(&self) -> bool {
        self.all_channels
    }

    /// Whether a channel may be listened or published to. A pattern to listen to has to be allowed
    /// as it stands, since it may match more than a pattern that matches it.
    pub fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_channels || covers_channel(&self.channels, channel, is_pattern)
    }

    /// Whether a database may be used.
    pub fn allows_database(&self, db: usize) -> bool {
        self.all_databases || i32::try_from(db).is_ok_and(|db| self.databases.contains(&db))
    }

    /// Whether every database may be used.
    pub fn allows_all_databases(&self) -> bool {
        self.all_databases
    }

    /// The patterns of channels.
    pub(super) fn channels(&self) -> &[Box<[u8]>] {
        &self.channels
    }

    fn bit(&self, id: usize) -> bool {
        self.commands.get(id / 64).is_some_and(|word| word & (1 << (id % 64)) != 0)
    }

    fn set_bit(&mut self, id: usize, on: bool) {
        let (word, bit) = (&mut self.commands[id / 64], 1 << (id % 64));
        if on {
            *word |= bit;
        } else {
            *word &= !bit;
            self.all_commands = false;
        }
    }

    /// `+@all` or `-@all`.
    pub(super) fn set_all_commands(&mut self, on: bool) {
        self.commands.fill(if on { u64::MAX } else { 0 });
        (self.begins_with_all, self.all_commands) = (on, on);
        self.rules.clear();
        self.first_args.clear();
    }

    /// Allows or forbids a command with its subcommands.
    pub(super) fn set_command(&mut self, catalog: &Catalog, id: usize, allow: bool) {
        self.set_bit(id, allow);
        self.first_args.remove(&id);
        for sub in &catalog.entry(id).subcommands {
            self.set_bit(*sub, allow);
        }
        self.note_rule(catalog.name(id).as_bytes(), allow);
    }

    /// Allows or forbids the commands of a category, whose name has its `@`.
    pub(super) fn set_category(&mut self, catalog: &Catalog, (bit, name): (u32, &[u8]), on: bool) {
        for id in catalog.members(bit) {
            self.set_bit(id, on);
            self.first_args.remove(&id);
            for sub in &catalog.entry(id).subcommands {
                self.set_bit(*sub, on);
            }
        }
        self.note_rule(name, on);
    }

    /// Allows a command with one first argument; `rule` is both, joined by `|`.
    pub(super) fn add_first_arg(&mut self, id: usize, arg: &[u8], rule: &[u8]) {
        let args = self.first_args.entry(id).or_default();
        if !args.iter().any(|known| known.eq_ignore_ascii_case(arg)) {
            args.push(arg.into());
        }
        self.note_rule(rule, true);
    }

    /// Remembers a rule, and forgets those that it makes void: the same, and those about
    /// subcommands of it.
    fn note_rule(&mut self, name: &[u8], allow: bool) {
        let name = name.to_ascii_lowercase();
        self.rules.retain(|old| {
            let rest = old.name.strip_prefix(&*name);
            !rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'|')
        });
        self.rules.push(CommandRule { allow, name: name.into() });
    }

    pub(super) fn set_all_keys(&mut self, on: bool) {
        self.all_keys = on;
        self.keys.clear();
    }

    pub(super) fn add_keys(&mut self, pattern: &[u8], access: Access) {
        match self.keys.iter_mut().find(|known| *known.pattern == *pattern) {
            Some(known) => known.access = known.access.with(access),
            None => self.keys.push(KeyPattern { pattern: pattern.into(), access }),
        }
    }

    pub(super) fn set_all_channels(&mut self, on: bool) {
        self.all_channels = on;
        self.channels.clear();
    }

    pub(super) fn add_channels(&mut self, pattern: &[u8]) {
        if !self.channels.iter().any(|known| **known == *pattern) {
            self.channels.push(pattern.into());
        }
    }

    pub(super) fn set_all_databases(&mut self, on: bool) {
        self.all_databases = on;
        self.databases.clear();
    }

    pub(super) fn set_databases(&mut self, databases: BTreeSet<i32>) {
        self.all_databases = false;
        self.databases = databases;
    }

    /// The rules about commands: `+@all` or `-@all` and what differs from that.
    pub fn print_commands(&self) -> Vec<u8> {
        let mut out = if self.begins_with_all { b"+@all".to_vec() } else { b"-@all".to_vec() };
        for rule in &self.rules {
            out.extend_from_slice(if rule.allow { b" +" } else { b" -" });
            out.extend_from_slice(&rule.name);
        }
        out
    }

    /// The patterns of keys.
    pub fn print_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let word = |one: &KeyPattern| {
            let prefix: &[u8] = match one.access {
                Access::READ => b"%R~",
                Access::WRITE => b"%W~",
                _ => b"~",
            };
            [prefix, &one.pattern].concat()
        };
        self.keys.iter().map(word).collect::<Vec<_>>().join(&b' ')
    }

    /// The patterns of channels.
    pub fn print_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let word = |one: &[u8]| [b"&", one].concat();
        self.channels.iter().map(|one| word(one)).collect::<Vec<_>>().join(&b' ')
    }

    /// The databases.
    pub fn print_databases(&self) -> Vec<u8> {
        if self.all_databases {
            return b"alldbs".to_vec();
        }
        if self.databases.is_empty() {
            return Vec::new();
        }
        let numbers: Vec<String> = self.databases.iter().map(i32::to_string).collect();
        format!("db={}", numbers.join(",")).into_bytes()
    }

    /// All rules, which make the same selector again. All databases go without saying.
    pub(super) fn print(&self) -> Vec<u8> {
        let mut words = vec![self.print_keys()];
        if !self.all_channels {
            words.push(b"resetchannels".to_vec());
        }
        words.push(self.print_channels());
        match self.print_databases() {
            _ if self.all_databases => {}
            none if none.is_empty() => words.push(b"resetdbs".to_vec()),
            some => words.push(some),
        }
        words.push(self.print_commands());
        words.retain(|word| !word.is_empty());
        words.join(&b' ')
    }
}

/// Whether one of the patterns allows a channel, or a pattern to listen to.
pub(super) fn covers_channel<P: AsRef<[u8]>>(
    patterns: &[P],
    channel: &[u8],
    is_pattern: bool,
) -> bool {
    patterns.iter().map(AsRef::as_ref).any(|pattern| {
        if is_pattern { pattern == channel } else { glob::matches(pattern, channel, false) }
    })
}
