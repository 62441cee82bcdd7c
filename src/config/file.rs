//! Reading configuration files: redis.conf syntax, includes, and what every format shares.
//!
//! A line is a directive and its arguments, split as `base::quote` says; blank lines and lines that
//! start with `#` are skipped. Later lines win, except that lines of `save`, `user`,
//! `rename-command` and `loadmodule` add up. Must not know the command line (`argv`) or how a file
//! is rewritten.
//!
//! The main file, stdin and the options of the command line are one text with continuous line
//! numbers, as in Redis, so that an error names the same line there and here.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::argv::Invocation;
use super::directive::{Flags, Kind};
use super::value::{Value, ValueError, os_text, split_value};
use super::{Config, DIRECTIVES, REDIS_VERSION, find, include, table, toml};
use crate::base::quote::split_args;

/// Longest configuration file, in bytes.
const FILE_LEN_MAX: u64 = 16 << 20;

/// Most files that include each other in a row.
const INCLUDE_DEPTH_MAX: usize = 16;

/// Most files read for one configuration.
const FILES_MAX: usize = 1024;

/// Why a configuration cannot be loaded. Displayed as the block that Redis prints before it exits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A line is wrong.
    #[error("{}", Block::of(.0))]
    Line(Box<BadLine>),
    /// Lines that are fine by themselves do not go together.
    #[error("{}", Block::bare(.0))]
    Conflict(&'static str),
    /// A file cannot be read.
    #[error("Fatal error, can't open config file '{}': {reason}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
}

/// A line that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// The file, unless it is the main text.
    pub file: Option<PathBuf>,
    /// Its number, from 1.
    pub line: usize,
    /// The line without blanks around it.
    pub text: String,
    /// What is wrong.
    pub reason: String,
}

/// The form of every error that is about lines.
struct Block<'a> {
    place: Option<&'a BadLine>,
    reason: &'a str,
}

impl<'a> Block<'a> {
    fn of(line: &'a BadLine) -> Self {
        Self { place: Some(line), reason: &line.reason }
    }

    fn bare(reason: &'a str) -> Self {
        Self { place: None, reason }
    }
}

impl fmt::Display for Block<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***")?;
        if let Some(BadLine { file, line, text, .. }) = self.place {
            f.write_str("Reading the configuration file")?;
            if let Some(file) = file {
                write!(f, " '{}'", file.display())?;
            }
            writeln!(f, ", at line {line}\n>>> '{text}'")?;
        }
        writeln!(f, "{}", self.reason)
    }
}

impl Config {
    /// The configuration that a command line asks for: defaults, then the file, then stdin, then
    /// the options.
    pub fn load(invocation: &Invocation) -> Result<Self, ConfigError> {
        let mut loader = Loader::new();
        loader.config.is_sentinel = invocation.is_sentinel;
        loader.load_text(&invocation.presets, None)?;
        let mut text = Vec::new();
        if let Some(file) = &invocation.file {
            let path = std::path::absolute(file).map_err(|error| cannot_open(file, &error))?;
            let content = read_file(&path)?;
            if toml::is_toml(&path) {
                loader.load_toml(&content, &path)?;
            } else {
                text = content;
            }
            loader.config.path = Some(path);
        }
        if let Some(stdin) = &invocation.stdin {
            if !text.is_empty() && !text.ends_with(b"\n") {
                text.push(b'\n');
            }
            text.extend_from_slice(stdin);
        }
        text.push(b'\n');
        text.extend_from_slice(&invocation.options);
        loader.load_text(&text, None)?;
        loader.finish()
    }
}

/// A configuration while its lines are read.
pub(super) struct Loader {
    pub(super) config: Config,
    /// The first `save` line replaces the default, later ones add to it.
    has_save: bool,
    depth: usize,
    files: usize,
}

/// Why a line is refused.
pub(super) enum LineError {
    /// It is wrong by itself.
    Reason(Cow<'static, str>),
    /// It includes a file that is wrong.
    Included(ConfigError),
}

impl From<ValueError> for LineError {
    fn from(error: ValueError) -> Self {
        Self::Reason(error.to_string().into())
    }
}

impl From<&'static str> for LineError {
    fn from(reason: &'static str) -> Self {
        Self::Reason(reason.into())
    }
}

impl LineError {
    /// The same with the place where it happened.
    fn at(self, file: Option<&Path>, line: usize, text: &str) -> ConfigError {
        match self {
            Self::Included(error) => error,
            Self::Reason(reason) => ConfigError::Line(Box::new(BadLine {
                file: file.map(Path::to_path_buf),
                line,
                text: text.to_owned(),
                reason: reason.into_owned(),
            })),
        }
    }
}

impl Loader {
    pub(super) fn new() -> Self {
        Self { config: Config::new(), has_save: false, depth: 0, files: 0 }
    }

    /// Carries out one line, whose first argument is the directive.
    pub(super) fn apply(&mut self, line: &[String]) -> Result<(), LineError> {
        let [name, args @ ..] = line else { return Ok(()) };
        if let Some((index, _)) = find(name.as_bytes()) {
            return self.set(index, args);
        }
        let name = name.to_ascii_lowercase();
        match (name.as_str(), args) {
            (old, [_]) if table::DEPRECATED.contains(&old) => {}
            ("include", [pattern]) => self.include(pattern).map_err(LineError::Included)?,
            ("rename-command", [from, to]) => self.config.renames.push((from.clone(), to.clone())),
            ("user", [name, ..]) => {
                if self.config.users.iter().any(|user| user.first() == Some(name)) {
                    return Err("Duplicate user found. A user can only be defined once in config \
                                files"
                        .into());
                }
                self.config.users.push(args.to_vec());
            }
            ("loadmodule", [_, ..]) => self.config.modules.push(args.to_vec()),
            ("sentinel", []) => self.config.is_sentinel = true,
            ("sentinel", _) if self.config.is_sentinel => {}
            ("sentinel", _) => return Err("sentinel directive while not in sentinel mode".into()),
            (option, []) if option.contains('.') => {
                return Err("Module config specified without value".into());
            }
            (option, _) if option.contains('.') => {
                self.config.module_options.push((option.to_owned(), args.join(" ")));
            }
            _ => return Err("Bad directive or wrong number of arguments".into()),
        }
        Ok(())
    }

    fn set(&mut self, index: usize, args: &[String]) -> Result<(), LineError> {
        let is_multi = DIRECTIVES[index].is(Flags::MULTI_ARG);
        let split;
        let args = match args {
            [value] if is_multi && !value.is_empty() => {
                split = split_value(value)?;
                &split
            }
            args => args,
        };
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let before = self.config.values[index].clone();
        self.config.set_args(index, &args)?;
        if matches!(DIRECTIVES[index].kind, Kind::Save) {
            let keeps = self.has_save && args != [""];
            self.has_save = true;
            if let (Value::Save(points), Value::Save(mut all)) =
                (&mut self.config.values[index], before)
                && keeps
            {
                all.append(points);
                *points = all;
            }
        }
        Ok(())
    }

    /// Reads the lines of `text`, which is from `file` or the main text.
    fn load_text(&mut self, text: &[u8], file: Option<&Path>) -> Result<(), ConfigError> {
        for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let result = parse_line(line).and_then(|args| self.apply(&args));
            result.map_err(|e| e.at(file, number + 1, &String::from_utf8_lossy(line)))?;
        }
        Ok(())
    }

    fn load_toml(&mut self, content: &[u8], file: &Path) -> Result<(), ConfigError> {
        let text = String::from_utf8_lossy(content);
        let at = |error: LineError, line: usize| {
            let shown = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
            error.at(Some(file), line, shown.trim())
        };
        let entries = toml::parse(&text)
            .map_err(|error| at(LineError::Reason(error.reason.into()), error.line))?;
        for entry in entries {
            for line in &entry.lines {
                self.apply(line).map_err(|error| at(error, entry.line))?;
            }
        }
        Ok(())
    }

    /// Reads the files that match `pattern`, which is relative to the working directory so far.
    fn include(&mut self, pattern: &str) -> Result<(), ConfigError> {
        for path in include::expand(&Path::new(self.config.text("dir")).join(pattern)) {
            self.files += 1;
            if self.depth >= INCLUDE_DEPTH_MAX || self.files > FILES_MAX {
                let reason = "too many files include each other".to_owned();
                return Err(ConfigError::Open { path, reason });
            }
            let content = read_file(&path)?;
            self.depth += 1;
            if toml::is_toml(&path) {
                self.load_toml(&content, &path)?;
            } else {
                self.load_text(&content, Some(&path))?;
            }
            self.depth -= 1;
        }
        Ok(())
    }

    fn finish(self) -> Result<Config, ConfigError> {
        if self.config.flag("cluster-enabled") && !self.config.words("replicaof").is_empty() {
            return Err(ConfigError::Conflict("replicaof directive not allowed in cluster mode"));
        }
        Ok(self.config)
    }
}

/// The arguments of a line that is neither blank nor a comment.
fn parse_line(line: &[u8]) -> Result<Vec<String>, LineError> {
    let args = split_args(line).map_err(|_| ValueError::UnbalancedQuotes)?;
    let args = args.into_iter().map(|arg| String::from_utf8(arg).map_err(|_| ValueError::NotText));
    Ok(args.collect::<Result<_, _>>()?)
}

fn read_file(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_LEN_MAX + 1).read_to_end(&mut content))
        .map_err(|error| cannot_open(path, &error))?;
    if content.len() as u64 > FILE_LEN_MAX {
        let reason = "File too large".to_owned();
        return Err(ConfigError::Open { path: path.to_owned(), reason });
    }
    Ok(content)
}

fn cannot_open(path: &Path, error: &std::io::Error) -> ConfigError {
    ConfigError::Open { path: path.to_owned(), reason: os_text(error) }
}

#[cfg(test)]
pub(super) mod tests;
