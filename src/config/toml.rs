//! Configuration files in TOML: `maxmemory = "1gb"`, `save = [[3600, 1], [300, 100]]`.
//!
//! Keys are directive names, with `-` or `_`; values become the arguments of configuration lines,
//! which `file` then reads like any other. An array is several arguments, an array of arrays is
//! several lines. There are no tables: directives have one level. Must not know what a directive
//! means beyond its notation.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use ::toml::{Spanned, Value as Toml};

use super::directive::{Directive, Kind, Unit};
use super::file::Loader;
use super::rewrite::SIGNATURE;
use super::value::{OutputLimit, SavePoint, Value, memory_text, split_value};
use super::{Config, DIRECTIVES, find};

/// Lines whose one string is several arguments, and which no row of the table says so of.
const SPLIT: [&str; 3] = ["user", "loadmodule", "rename-command"];

/// One key of a file.
pub(super) struct Entry {
    /// The directive, spelled with `-` unless that is no directive.
    pub(super) name: String,
    /// The number of its line, from 1.
    pub(super) line: usize,
    /// Where its value stands in the text.
    pub(super) span: Range<usize>,
    /// What it means: the directive and its arguments, once or several times.
    pub(super) lines: Vec<Vec<String>>,
}

/// Why a file cannot be used.
pub(super) struct TomlError {
    pub(super) line: usize,
    pub(super) reason: String,
}

/// Whether `path` is read as TOML.
pub(super) fn is_toml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
}

/// The entries of `text` in the order in which they stand there.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, TomlError> {
    let keys: BTreeMap<String, Spanned<Toml>> = ::toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        TomlError { line: line_at(text, at), reason: error.message().to_owned() }
    })?;
    let entry = |(key, value): (String, Spanned<Toml>)| {
        let (span, line) = (value.span(), line_at(text, value.span().start));
        let name = directive_name(&key);
        match lines(&name, value.get_ref()) {
            Ok(lines) => Ok(Entry { name, line, span, lines }),
            Err(reason) => Err(TomlError { line, reason }),
        }
    };
    let mut entries = keys.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(|entry| entry.span.start);
    Ok(entries)
}

/// `old` with the values of `config`: other values are replaced where they stand, and those that
/// the file does not name and that are not the default are added at the end.
pub(super) fn rewritten(config: &Config, old: &str) -> Result<String, TomlError> {
    let mut text = old.to_owned();
    let (mut is_named, mut has_users) = (vec![false; DIRECTIVES.len()], false);
    for entry in parse(old)?.iter().rev() {
        if entry.name == "user" {
            has_users = true;
            text.replace_range(entry.span.clone(), &users_literal(config));
        }
        let Some((index, _)) = find(entry.name.as_bytes()) else { continue };
        is_named[index] = true;
        let mut loader = Loader::new();
        let is_read = entry.lines.iter().all(|line| loader.apply(line).is_ok());
        let value = &config.values[index];
        if !is_read || loader.config.values[index] != *value {
            text.replace_range(entry.span.clone(), &literal(value, &DIRECTIVES[index]));
        }
    }
    let mut has_signature = old.lines().any(|line| line.trim() == SIGNATURE);
    let rows = DIRECTIVES.iter().zip(&config.values).zip(is_named);
    let is_needed = |((directive, value), is_named): &((&Directive, &Value), bool)| {
        !is_named && **value != Value::default_of(directive)
    };
    let new = rows.filter(is_needed).map(|((directive, value), _)| {
        format!("{} = {}\n", directive.name, literal(value, directive))
    });
    let users = (!has_users && !config.users.is_empty())
        .then(|| format!("user = {}\n", users_literal(config)));
    for line in new.chain(users) {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        if !has_signature {
            text.push_str(&format!("{SIGNATURE}\n"));
            has_signature = true;
        }
        text.push_str(&line);
    }
    Ok(text)
}

fn line_at(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// A key in the spelling of the table, which has `_` only in a few aliases.
fn directive_name(key: &str) -> String {
    if find(key.as_bytes()).is_some() { key.to_owned() } else { key.replace('_', "-") }
}

fn lines(name: &str, value: &Toml) -> Result<Vec<Vec<String>>, String> {
    let with_name = |args: Vec<String>| -> Vec<String> {
        std::iter::once(name.to_owned()).chain(args).collect()
    };
    match value {
        Toml::Array(items) if items.is_empty() => Ok(vec![with_name(vec![String::new()])]),
        Toml::Array(items) if items.iter().all(Toml::is_array) => {
            let line = |item: &Toml| Ok(with_name(args(item)?));
            items.iter().map(line).collect()
        }
        Toml::Array(items) if name == "include" => {
            items.iter().map(|item| Ok(with_name(vec![word(item)?]))).collect()
        }
        Toml::String(text) if SPLIT.contains(&name) => {
            let args = split_value(text).map_err(|error| error.to_string())?;
            Ok(vec![with_name(args)])
        }
        _ => Ok(vec![with_name(args(value)?)]),
    }
}

fn args(value: &Toml) -> Result<Vec<String>, String> {
    match value {
        Toml::Array(items) => items.iter().map(word).collect(),
        _ => Ok(vec![word(value)?]),
    }
}

fn word(value: &Toml) -> Result<String, String> {
    match value {
        Toml::String(text) => Ok(text.clone()),
        Toml::Integer(number) => Ok(number.to_string()),
        Toml::Float(number) => Ok(number.to_string()),
        Toml::Boolean(value) => Ok(super::value::yes_no(*value).to_owned()),
        Toml::Datetime(_) | Toml::Table(_) | Toml::Array(_) => {
            Err(format!("a directive has no {}", value.type_str()))
        }
    }
}

/// The `user` lines: an array of arrays.
fn users_literal(config: &Config) -> String {
    array(config.users.iter().map(|words| array(words.iter().map(|word| string(word)))))
}

/// `value` as TOML that `parse` reads back.
fn literal(value: &Value, directive: &Directive) -> String {
    match (value, directive.kind) {
        (Value::Bool(value), _) => value.to_string(),
        (Value::Int(value), Kind::Memory { .. }) if *value >= 1 << 10 => {
            string(&memory_text(value.unsigned_abs()))
        }
        (Value::Int(value), Kind::Int { unit: Unit::Plain, .. }) => value.to_string(),
        (Value::Int(_), kind) => string(&value.text(kind)),
        (Value::Text(text), _) => string(text),
        (Value::Words(words), Kind::ReplicaOf) if words.is_empty() => {
            "[\"no\", \"one\"]".to_owned()
        }
        (Value::Words(words), _) => array(words.iter().map(|word| string(word))),
        (Value::Save(points), _) => {
            let point = |p: &SavePoint| format!("[{}, {}]", p.seconds, p.changes);
            array(points.iter().map(point))
        }
        (Value::OutputLimits(limits), _) => {
            array(["normal", "replica", "pubsub"].iter().zip(limits).map(limit_literal))
        }
        (Value::DbLimits(limits), _) => array(limits.iter().map(|limit| {
            let words = limit.to_string();
            let (db, rest) = words.split_once(' ').expect("a database and a size at least");
            array(std::iter::once(db.to_owned()).chain(rest.split(' ').map(string)))
        })),
        (Value::OomScores(scores), _) => array(scores.iter().map(i64::to_string)),
        (Value::Percentiles(list), _) => array(list.iter().map(f64::to_string)),
    }
}

fn limit_literal((class, limit): (&&str, &OutputLimit)) -> String {
    let (hard, soft) = (memory_text(limit.hard_bytes), memory_text(limit.soft_bytes));
    format!("[\"{class}\", \"{hard}\", \"{soft}\", {}]", limit.soft_seconds)
}

fn string(text: &str) -> String {
    Toml::String(text.to_owned()).to_string()
}

fn array(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", super::value::join(items, ", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Vec<String>>, String> {
        let entries = parse(text).map_err(|error| format!("{}: {}", error.line, error.reason))?;
        Ok(entries.into_iter().flat_map(|entry| entry.lines).collect())
    }

    #[test]
    fn values_become_lines_in_file_order() {
        let text = "port = 7000\nlog_format = \"json\"\nappendonly = true\nbind = [\"a\", \"b\"]\n\
                    save = [[3600, 1], [300, 100]]\n\
                    latency-tracking-info-percentiles = [50, 99.9]\n\
                    include = [\"a.conf\", \"b.conf\"]\n\
                    user = \"alice on '~a b'\"\nserver_cpulist = \"0\"";
        let lines = read(text).expect("valid TOML");
        let expected: [&[&str]; 11] = [
            &["port", "7000"],
            &["log-format", "json"],
            &["appendonly", "yes"],
            &["bind", "a", "b"],
            &["save", "3600", "1"],
            &["save", "300", "100"],
            &["latency-tracking-info-percentiles", "50", "99.9"],
            &["include", "a.conf"],
            &["include", "b.conf"],
            &["user", "alice", "on", "~a b"],
            &["server_cpulist", "0"],
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn an_empty_array_is_an_empty_value() {
        assert_eq!(read("save = []").expect("valid TOML"), [["save", ""]]);
    }

    #[test]
    fn errors_name_their_line() {
        assert!(read("port = 1\nport = 2\n").is_err_and(|e| e.starts_with("2: ")));
        assert!(read("a = 1\nb = [\n").is_err_and(|e| !e.starts_with("1: ")));
        assert_eq!(
            read("x = 1\n[tls]\nport = 1").err().as_deref(),
            Some("2: a directive has no table")
        );
        assert!(read("x = 1979-05-27").is_err_and(|e| e.contains("no datetime")));
    }

    #[test]
    fn every_default_survives_its_literal() {
        for (directive, value) in DIRECTIVES.iter().zip(&Config::new().values) {
            if matches!(directive.kind, Kind::Dir) {
                continue;
            }
            let text = format!("{} = {}", directive.name, literal(value, directive));
            let mut loader = Loader::new();
            for line in read(&text).expect("a literal is valid TOML") {
                assert!(loader.apply(&line).is_ok(), "{text}");
            }
            let (index, _) = find(directive.name.as_bytes()).expect("it is in the table");
            assert_eq!(loader.config.values[index], *value, "{text}");
        }
    }

    #[test]
    fn rewriting_keeps_what_is_the_same() {
        let mut config = Config::new();
        let pairs: [(&[u8], &[u8]); 4] = [
            (b"maxmemory", b"2gb"),
            (b"requirepass", b"a\"b"),
            (b"save", b"60 1"),
            (b"client-output-buffer-limit", b"normal 1kb 0 0"),
        ];
        config.set(&pairs).expect("valid values");
        let old = "# mine\nmaxmemory = \"1gb\" # was enough\nport = 6379   # kept\nhz = 50";
        let new = rewritten(&config, old).map_err(|error| error.reason).expect("valid TOML");
        assert_eq!(
            new,
            "# mine\nmaxmemory = \"2gb\" # was enough\nport = 6379   # kept\nhz = 10\n\
             # Generated by CONFIG REWRITE\nrequirepass = 'a\"b'\n\
             client-output-buffer-limit = [[\"normal\", \"1kb\", \"0\", 0], \
             [\"replica\", \"256mb\", \"64mb\", 60], [\"pubsub\", \"32mb\", \"8mb\", 60]]\n\
             save = [[60, 1]]\n"
        );
        let again = rewritten(&config, &new).map_err(|error| error.reason);
        assert_eq!(again.as_deref(), Ok(new.as_str()));
    }
}
