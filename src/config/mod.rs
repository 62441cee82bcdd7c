//! Directives: their table, their values, and where values come from and go to.
//!
//! Owns the directive table, the notations of values, configuration files (redis.conf and TOML),
//! the directives on the command line, and CONFIG GET, SET and REWRITE as plain functions. Must
//! not know the server, its commands or its data: a change is reported as an `Effect`, which the
//! server carries out. Files are read and written only by `Config::load` and `Config::rewrite`;
//! a directory is looked at when `dir` is set.
//!
//! ```text
//!   argv ──▶ Invocation ──┐                      ┌──▶ get      CONFIG GET
//!   redis.conf, TOML ─────┼──▶ Config (values) ──┼──▶ set ──▶ Effects for the server
//!   stdin ────────────────┘      by index of     └──▶ rewrite  CONFIG REWRITE
//!                               table::DIRECTIVES
//! ```
//!
//! Invariants: a `Config` always holds one valid value per directive; a failed `set` changes
//! nothing; a rewritten file loads into the same values.

mod argv;
mod directive;
mod file;
mod include;
mod render;
mod rewrite;
mod table;
mod toml;
mod value;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

pub use argv::Invocation;
pub use directive::{Directive, Effect, Flags, Kind, Rule, Unit, Words};
pub use file::ConfigError;
pub use render::{conf_text, help_text};
pub use rewrite::RewriteError;
pub use table::{DIRECTIVES, GROUPS, Group, find, is_sensitive};
pub use value::{DbLimit, OutputLimit, SavePoint, ValueError, parse_memory};

use crate::base::bytes;
use value::Value;

/// The version of Redis that clients and error texts are told.
pub const REDIS_VERSION: &str = "7.2.4";

/// Slowest and fastest rate of background work, in rounds per second.
const HZ_RANGE: (i64, i64) = (1, 500);

/// The values of all directives, and the lines of configuration files that are no directives.
#[derive(Debug, Clone)]
pub struct Config {
    /// By index of the directive in `DIRECTIVES`; each is a valid value of its kind.
    values: Vec<Value>,
    /// Absolute path of the file that CONFIG REWRITE rewrites.
    path: Option<PathBuf>,
    renames: Vec<(String, String)>,
    users: Vec<Vec<String>>,
    modules: Vec<Vec<String>>,
    module_options: Vec<(String, String)>,
    is_sentinel: bool,
}

/// Who asks for a change.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caller {
    /// The client is on this host.
    pub is_local: bool,
    /// Data is being loaded.
    pub is_loading: bool,
}

/// Why CONFIG SET is refused. Texts are those of Redis, after the error code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// There is no such directive.
    #[error("Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    /// The value cannot be set, or the server could not carry it out.
    #[error("CONFIG SET failed (possibly related to argument '{name}') - {reason}")]
    Refused {
        /// The directive, as it was called.
        name: String,
        /// Why not.
        reason: Cow<'static, str>,
    },
    /// Refused while data is loaded; the reply is a LOADING error.
    #[error("Redis is loading the dataset in memory")]
    Loading,
}

impl SetError {
    /// `name` could not be set because of `reason`; for effects that the server cannot carry out.
    pub fn refused(name: &str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused { name: name.to_owned(), reason: reason.into() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Config {
    /// Every directive at its default.
    pub fn new() -> Self {
        Self {
            values: DIRECTIVES.iter().map(Value::default_of).collect(),
            path: None,
            renames: Vec::new(),
            users: Vec::new(),
            modules: Vec::new(),
            module_options: Vec::new(),
            is_sentinel: false,
        }
    }

    /// Whether the yes-or-no directive `name` is yes.
    ///
    /// This and the accessors below take names from our own code: a name that is unknown or of
    /// another kind is a bug and panics. They search the table, so hot paths keep what they read.
    pub fn flag(&self, name: &str) -> bool {
        match self.value(name) {
            Value::Bool(value) => *value,
            other => wrong_kind(name, other),
        }
    }

    /// The number, memory (in bytes; a percentage as a negative number) or mode of `name`.
    pub fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Int(value) => *value,
            other => wrong_kind(name, other),
        }
    }

    /// The text, word of an enumeration, directory or event classes of `name`.
    pub fn text(&self, name: &str) -> &str {
        match self.value(name) {
            Value::Text(value) => value,
            other => wrong_kind(name, other),
        }
    }

    /// The addresses, words of a set, or host and port of `name`.
    pub fn words(&self, name: &str) -> &[String] {
        match self.value(name) {
            Value::Words(words) => words,
            other => wrong_kind(name, other),
        }
    }

    /// When to save snapshots; empty is never.
    pub fn save_points(&self) -> &[SavePoint] {
        match self.value("save") {
            Value::Save(points) => points,
            other => wrong_kind("save", other),
        }
    }

    /// Limits on unread output of normal clients, replicas and subscribers.
    pub fn output_limits(&self) -> [OutputLimit; 3] {
        match self.value("client-output-buffer-limit") {
            Value::OutputLimits(limits) => *limits,
            other => wrong_kind("client-output-buffer-limit", other),
        }
    }

    /// Limits of single databases.
    pub fn db_limits(&self) -> &[DbLimit] {
        match self.value("db-maxmemory") {
            Value::DbLimits(limits) => limits,
            other => wrong_kind("db-maxmemory", other),
        }
    }

    /// Out-of-memory scores of a primary, a replica and a child.
    pub fn oom_scores(&self) -> [i64; 3] {
        match self.value("oom-score-adj-values") {
            Value::OomScores(scores) => *scores,
            other => wrong_kind("oom-score-adj-values", other),
        }
    }

    /// Percentiles of latency that INFO shows, from 0 to 100.
    pub fn percentiles(&self) -> &[f64] {
        match self.value("latency-tracking-info-percentiles") {
            Value::Percentiles(list) => list,
            other => wrong_kind("latency-tracking-info-percentiles", other),
        }
    }

    /// `rename-command` lines: the command and its new name, which is empty to remove it.
    pub fn renames(&self) -> &[(String, String)] {
        &self.renames
    }

    /// `user` lines: the name and its rules.
    pub fn users(&self) -> &[Vec<String>] {
        &self.users
    }

    /// Replaces the `user` lines that a rewritten file gets.
    pub fn set_users(&mut self, users: Vec<Vec<String>>) {
        self.users = users;
    }

    /// `loadmodule` lines: the path and its arguments.
    pub fn modules(&self) -> &[Vec<String>] {
        &self.modules
    }

    /// Whether Sentinel mode was asked for.
    pub fn is_sentinel(&self) -> bool {
        self.is_sentinel
    }

    /// Absolute path of the configuration file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The value of `name` as CONFIG GET prints it, or `None` for an unknown name.
    pub fn print(&self, name: &str) -> Option<String> {
        find(name.as_bytes()).map(|(index, _)| self.print_at(index))
    }

    /// CONFIG GET: names and values that match any of `patterns`, each once, in table order per
    /// pattern. `glob` matches a pattern against a name, both in lower case. Aliases are matched
    /// too, but of two spellings with `-` and `_` only the older, so that what a pattern finds can be
    /// set again by programs of that time. A name without wildcards is printed as it was asked, and
    /// finds hidden directives and every spelling.
    pub fn get(
        &self,
        patterns: &[&[u8]],
        glob: &dyn Fn(&[u8], &[u8]) -> bool,
    ) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = Vec::new();
        let add = |found: &mut Vec<(String, String)>, name: &str, index| {
            if !found.iter().any(|(seen, _)| seen.eq_ignore_ascii_case(name)) {
                found.push((name.to_owned(), self.print_at(index)));
            }
        };
        for pattern in patterns {
            if !pattern.iter().any(|byte| b"*?[".contains(byte)) {
                if let Some((index, _)) = find(pattern) {
                    add(&mut found, &String::from_utf8_lossy(pattern), index);
                }
                continue;
            }
            let pattern = pattern.to_ascii_lowercase();
            for (index, directive) in DIRECTIVES.iter().enumerate() {
                let is_shown = |name: &&str| glob(&pattern, name.as_bytes());
                if !directive.is(Flags::HIDDEN) && !directive.is(Flags::UNLISTED) {
                    directive
                        .listed_names()
                        .filter(is_shown)
                        .for_each(|n| add(&mut found, n, index));
                }
            }
        }
        found
    }

    /// CONFIG SET from a distant client while no data is loaded; see `set_by`.
    pub fn set(&mut self, pairs: &[(&[u8], &[u8])]) -> Result<Vec<Effect>, SetError> {
        self.set_by(pairs, Caller::default())
    }

    /// CONFIG SET: sets all of `pairs` or none. Answers what the server has to look at again, each
    /// effect once; nothing for values that stay the same.
    pub fn set_by(
        &mut self,
        pairs: &[(&[u8], &[u8])],
        caller: Caller,
    ) -> Result<Vec<Effect>, SetError> {
        let mut indexes: Vec<(usize, &'static str)> = Vec::with_capacity(pairs.len());
        for (name, _) in pairs {
            let (index, own) = self.admit(name, caller)?;
            if indexes.iter().any(|(_, seen)| *seen == own) {
                return Err(SetError::refused(&bytes::text(name), "duplicate parameter"));
            }
            indexes.push((index, own));
        }
        let mut next = self.clone();
        let mut effects = Vec::new();
        for ((index, own), (_, value)) in indexes.into_iter().zip(pairs) {
            let changed = next
                .set_value(index, value)
                .map_err(|error| SetError::refused(own, error.to_string()))?;
            let effect = DIRECTIVES[index].effect;
            if changed && effect != Effect::None && !effects.contains(&effect) {
                effects.push(effect);
            }
        }
        *self = next;
        Ok(effects)
    }

    /// Directives set to something else than their default although their feature is not built,
    /// with the feature. The server warns about them at start.
    pub fn unsupported(&self) -> Vec<(&'static str, &'static str)> {
        let is_set = |(directive, value): &(&'static Directive, &Value)| {
            // Turning off what is not there needs no warning.
            let is_off = matches!(value, Value::Save(points) if points.is_empty());
            !is_off && **value != Value::default_of(directive)
        };
        let rows = DIRECTIVES.iter().zip(&self.values).filter(is_set);
        let mut list: Vec<_> =
            rows.filter_map(|(directive, _)| Some((directive.name, directive.later?))).collect();
        let lines = [
            ("loadmodule", "modules", !self.modules.is_empty()),
            ("module options", "modules", !self.module_options.is_empty()),
            ("sentinel", "Sentinel mode", self.is_sentinel),
        ];
        list.extend(lines.iter().filter(|line| line.2).map(|line| (line.0, line.1)));
        list
    }

    fn value(&self, name: &str) -> &Value {
        let (index, _) = find(name.as_bytes())
            .unwrap_or_else(|| panic!("`{name}` must be a directive of the table"));
        &self.values[index]
    }

    fn print_at(&self, index: usize) -> String {
        let directive = &DIRECTIVES[index];
        let text = self.values[index].text(directive.kind);
        match directive.kind {
            // Unset, the working directory is the one the server was started in.
            Kind::Dir => {
                std::path::absolute(&text).map_or(text, |path| path.to_string_lossy().into_owned())
            }
            _ => text,
        }
    }

    /// The directive `name`, if `caller` may change it now.
    fn admit(&self, name: &[u8], caller: Caller) -> Result<(usize, &'static str), SetError> {
        let Some((index, own)) = find(name) else {
            return Err(SetError::Unknown(bytes::text(name)));
        };
        let directive = &DIRECTIVES[index];
        if directive.is(Flags::IMMUTABLE) {
            return Err(SetError::refused(&bytes::text(name), "can't set immutable config"));
        }
        let is_allowed = match self.text("enable-protected-configs") {
            "yes" => true,
            "local" => caller.is_local,
            _ => false,
        };
        if directive.is(Flags::PROTECTED) && !is_allowed {
            return Err(SetError::refused(&bytes::text(name), "can't set protected config"));
        }
        if directive.is(Flags::DENY_LOADING) && caller.is_loading {
            return Err(SetError::Loading);
        }
        Ok((index, own))
    }

    /// Sets a directive to the one argument of CONFIG SET; whether that changes anything.
    fn set_value(&mut self, index: usize, value: &[u8]) -> Result<bool, ValueError> {
        let directive = &DIRECTIVES[index];
        let text = std::str::from_utf8(value).map_err(|_| ValueError::NotText)?;
        let args: Vec<&str> = match directive.is(Flags::MULTI_ARG) {
            true if text.is_empty() => Vec::new(),
            true => text.split(' ').collect(),
            false => vec![text],
        };
        self.set_args(index, &args)
    }

    /// Sets a directive to `args`; whether that changes anything.
    fn set_args(&mut self, index: usize, args: &[&str]) -> Result<bool, ValueError> {
        let directive = &DIRECTIVES[index];
        let mut value = Value::parse(directive.kind, args, &self.values[index])?;
        if let (Value::Int(hz), Effect::Hz) = (&mut value, directive.effect) {
            *hz = (*hz).clamp(HZ_RANGE.0, HZ_RANGE.1);
        }
        let changed = value != self.values[index];
        self.values[index] = value;
        Ok(changed || directive.is(Flags::VOLATILE))
    }
}

fn wrong_kind(name: &str, value: &Value) -> ! {
    panic!("`{name}` is read as another kind than it has: {value:?}")
}

#[cfg(test)]
mod tests;
