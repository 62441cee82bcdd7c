//! Values of directives: from arguments to a value, and back to text.
//!
//! Knows the notations (memory units, save points, buffer limits, event classes...) and their
//! bounds, which are those of Redis (config.c); knows neither files nor which value belongs to
//! whom. Invariant: `parse` of what `Value::text` prints gives the same value, so that CONFIG GET
//! can be fed back into CONFIG SET.

use std::path::Path;

use super::directive::{Directive, Flags, Kind, Rule, Unit, Words};
use super::table::POLICY;
use crate::base::limits::DB_LIMITS_MAX;
pub(super) use crate::base::os_error::text as os_text;
use crate::base::quote::split_args;

/// Most addresses of `bind` (Redis: CONFIG_BINDADDR_MAX).
const BIND_ADDRESSES_MAX: usize = 16;

/// Longest host name, in bytes (Redis: NET_HOST_STR_LEN, with its terminator).
const HOST_NAME_LEN_MAX: usize = 255;

/// Save once `seconds` have passed with at least `changes` changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavePoint {
    /// Seconds since the last save, at least 1.
    pub seconds: u64,
    /// Changes since the last save.
    pub changes: u64,
}

/// Unread output at which a client is closed; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimit {
    /// Bytes at which it is closed at once.
    pub hard_bytes: u64,
    /// Bytes at which it is closed if it stays above them.
    pub soft_bytes: u64,
    /// For so many seconds.
    pub soft_seconds: u64,
}

/// The limit of one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DbLimit {
    /// The database.
    pub db: usize,
    /// Bytes that its keys and values may take, at least 1.
    pub bytes: u64,
    /// What happens then; `None` is what `maxmemory-policy` says.
    pub policy: Option<&'static str>,
}

impl std::fmt::Display for DbLimit {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {}", self.db, self.bytes)?;
        self.policy.map_or(Ok(()), |policy| write!(out, " {policy}"))
    }
}

/// Why a value is refused. Texts are those of Redis, which clients see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Too few or too many arguments.
    #[error("wrong number of arguments")]
    WrongCount,
    /// Not a yes or no.
    #[error("argument must be 'yes' or 'no'")]
    NotBool,
    /// Not bytes with a unit.
    #[error("argument must be a memory value")]
    NotMemory,
    /// Not bytes with a unit, nor a percentage.
    #[error("argument must be a memory or percent value")]
    NotMemoryOrPercent,
    /// Not an octal number.
    #[error("argument couldn't be parsed as an octal number")]
    NotOctal,
    /// Not a decimal number.
    #[error("argument couldn't be parsed into an integer")]
    NotInteger,
    /// A number out of its bounds.
    #[error("argument must be between {0} and {1} inclusive")]
    OutOfRange(i64, i64),
    /// An octal number out of its bounds.
    #[error("argument must be between {0:o} and {1:o} inclusive")]
    OutOfOctalRange(i64, i64),
    /// A percentage out of its bounds.
    #[error("percentage argument must be less or equal to {0}")]
    PercentTooLarge(i64),
    /// None of the words of an enumeration.
    #[error("argument(s) must be one of the following: {}", listed(.0))]
    NotOneOf(Words),
    /// Words that exclude each other.
    #[error("shutdown options SAVE and NOSAVE can't be used simultaneously")]
    SaveAndNoSave,
    /// Save points that are no pairs of numbers in their bounds.
    #[error("Invalid save parameters")]
    BadSave,
    /// Buffer limits that are no groups of four.
    #[error("Wrong number of arguments in buffer limit configuration.")]
    OutputLimitCount,
    /// An unknown class of clients.
    #[error("Invalid client class specified in buffer limit configuration.")]
    OutputLimitClass,
    /// A buffer limit that is no number.
    #[error("Error in hard, soft or soft_seconds setting in buffer limit configuration.")]
    OutputLimitNumber,
    /// Limits of databases that are no groups of a number, a size and perhaps a policy.
    #[error("Limits of databases are written <database> <bytes> [<policy>], databases from 0 to {}", DB_LIMITS_MAX - 1)]
    BadDbLimit,
    /// A score out of its bounds.
    #[error("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")]
    BadOomScore,
    /// An unknown letter.
    #[error("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")]
    BadEventClass,
    /// More addresses than can be listened on.
    #[error("Too many bind addresses specified.")]
    TooManyAddresses,
    /// A port that is no number in its bounds.
    #[error("Invalid master port")]
    BadPrimaryPort,
    /// A percentile that is no number.
    #[error("Invalid latency-tracking-info-percentiles parameters")]
    BadPercentile,
    /// A percentile out of its bounds.
    #[error("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]")]
    PercentileOutOfRange,
    /// A text that breaks its rule.
    #[error("{0}")]
    BrokenRule(&'static str),
    /// A directory that cannot be used, in the words of the operating system.
    #[error("{0}")]
    BadDirectory(String),
    /// Bytes that are no text. Redis takes any bytes; here every value is UTF-8.
    #[error("argument must be UTF-8 text")]
    NotText,
    /// A quote that is not closed in a value with several arguments.
    #[error("Unbalanced quotes in configuration line")]
    UnbalancedQuotes,
}

/// The value of a directive.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    /// Numbers, memory (percentages as negative numbers) and octal numbers.
    Int(i64),
    /// Free text, the word of an enumeration, event classes.
    Text(String),
    /// Addresses, sets of words, a primary's host and port.
    Words(Vec<String>),
    Save(Vec<SavePoint>),
    OutputLimits([OutputLimit; 3]),
    OomScores([i64; 3]),
    /// By ascending database.
    DbLimits(Vec<DbLimit>),
    Percentiles(Vec<f64>),
}

impl Value {
    /// The value that `directive` has when nobody sets it.
    pub(super) fn default_of(directive: &Directive) -> Self {
        let args: Vec<&str> = if directive.is(Flags::MULTI_ARG) {
            directive.default.split_ascii_whitespace().collect()
        } else {
            vec![directive.default]
        };
        let result = match directive.kind {
            // No primary is the default but cannot be written.
            Kind::ReplicaOf => Ok(Self::Words(Vec::new())),
            Kind::Dir => Ok(Self::Text(directive.default.to_owned())),
            kind => Self::parse(kind, &args, &Self::OutputLimits([NO_LIMIT; 3])),
        };
        result.expect("a test reads every default of the table")
    }

    /// Reads `args` as a value of `kind`. `current` is the value so far: buffer limits of classes
    /// that are not named stay.
    pub(super) fn parse(kind: Kind, args: &[&str], current: &Self) -> Result<Self, ValueError> {
        match kind {
            Kind::Bool => parse_bool(only(args)?).map(Self::Bool),
            Kind::Int { min, max, unit } => parse_int(only(args)?, min, max, unit).map(Self::Int),
            Kind::Memory { min, max, percent } => {
                parse_memory_in(only(args)?, min, max, percent).map(Self::Int)
            }
            Kind::Enum(words) => parse_word(args, words).map(Self::Text),
            Kind::Flags(words) => parse_flags(args, words).map(Self::Words),
            Kind::Text(rule) => check_rule(only(args)?, rule).map(Self::Text),
            Kind::Dir => parse_dir(only(args)?).map(Self::Text),
            Kind::Bind => parse_bind(args).map(Self::Words),
            Kind::Save => parse_save(args).map(Self::Save),
            Kind::OutputLimits => parse_output_limits(args, current).map(Self::OutputLimits),
            Kind::OomScores => parse_oom_scores(args).map(Self::OomScores),
            Kind::DbLimits => parse_db_limits(args, current).map(Self::DbLimits),
            Kind::Events => parse_events(only(args)?).map(Self::Text),
            Kind::Percentiles => parse_percentiles(args).map(Self::Percentiles),
            Kind::ReplicaOf => parse_replica_of(args).map(Self::Words),
        }
    }

    /// The value as CONFIG GET prints it.
    pub(super) fn text(&self, kind: Kind) -> String {
        match (self, kind) {
            (Self::Bool(value), _) => yes_no(*value).to_owned(),
            (Self::Int(value), Kind::Int { unit: Unit::Octal, .. }) => format!("{value:o}"),
            (Self::Int(value), Kind::Memory { percent: true, .. }) if *value < 0 => {
                format!("{}%", -value)
            }
            (Self::Int(value), _) => value.to_string(),
            (Self::Text(value), _) => value.clone(),
            (Self::Words(words), _) => words.join(" "),
            (Self::Save(points), _) => {
                join(points.iter().map(|p| format!("{} {}", p.seconds, p.changes)), " ")
            }
            (Self::OutputLimits(limits), _) => {
                join(output_lines(limits, "slave", |bytes| bytes.to_string()), " ")
            }
            (Self::DbLimits(limits), _) => join(limits.iter().map(DbLimit::to_string), " "),
            (Self::OomScores(scores), _) => join(scores.iter().map(i64::to_string), " "),
            (Self::Percentiles(list), _) => join(list.iter().copied().map(trimmed), " "),
        }
    }
}

/// `yes` or `no`.
pub(super) fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// The three buffer limits as `<class> <hard> <soft> <seconds>`, with replicas called `replica`.
pub(super) fn output_lines(
    limits: &[OutputLimit; 3],
    replica: &str,
    bytes: fn(u64) -> String,
) -> impl Iterator<Item = String> {
    ["normal", replica, "pubsub"].into_iter().zip(limits).map(move |(class, limit)| {
        let (hard, soft) = (bytes(limit.hard_bytes), bytes(limit.soft_bytes));
        format!("{class} {hard} {soft} {}", limit.soft_seconds)
    })
}

/// Bytes in the largest unit that divides them, as Redis writes them to files.
pub(super) fn memory_text(bytes: u64) -> String {
    let units = [(1 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")];
    match units.into_iter().find(|&(unit, _)| bytes != 0 && bytes.is_multiple_of(unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// Splits the one argument of a directive that takes several: `save "900 1"`.
pub(super) fn split_value(value: &str) -> Result<Vec<String>, ValueError> {
    let args = split_args(value.as_bytes()).map_err(|_| ValueError::UnbalancedQuotes)?;
    args.into_iter().map(|arg| String::from_utf8(arg).map_err(|_| ValueError::NotText)).collect()
}

fn listed(words: Words) -> String {
    join(words.iter().map(|(word, _)| *word), ", ")
}

const NO_LIMIT: OutputLimit = OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_seconds: 0 };

fn only<'a>(args: &[&'a str]) -> Result<&'a str, ValueError> {
    match args {
        [arg] => Ok(arg),
        _ => Err(ValueError::WrongCount),
    }
}

fn parse_bool(arg: &str) -> Result<bool, ValueError> {
    if arg.eq_ignore_ascii_case("yes") {
        Ok(true)
    } else if arg.eq_ignore_ascii_case("no") {
        Ok(false)
    } else {
        Err(ValueError::NotBool)
    }
}

fn parse_int(arg: &str, min: i64, max: i64, unit: Unit) -> Result<i64, ValueError> {
    let value = match unit {
        Unit::Plain => strict_int(arg).ok_or(ValueError::NotInteger)?,
        Unit::Octal => i64::from_str_radix(arg, 8).map_err(|_| ValueError::NotOctal)?,
    };
    match unit {
        _ if (min..=max).contains(&value) => Ok(value),
        Unit::Plain => Err(ValueError::OutOfRange(min, max)),
        Unit::Octal => Err(ValueError::OutOfOctalRange(min, max)),
    }
}

/// A number in its only spelling: no plus sign, no leading zeros.
fn strict_int(arg: &str) -> Option<i64> {
    arg.parse().ok().filter(|value: &i64| value.to_string() == arg)
}

fn parse_memory_in(arg: &str, min: i64, max: i64, percent: bool) -> Result<i64, ValueError> {
    if let Some(bytes) = parse_memory(arg) {
        let least = min.max(0);
        let bytes = i64::try_from(bytes).map_err(|_| ValueError::OutOfRange(min, max))?;
        let fits = (least..=max).contains(&bytes);
        return fits.then_some(bytes).ok_or(ValueError::OutOfRange(min, max));
    }
    if !percent {
        return Err(ValueError::NotMemory);
    }
    let share = arg.strip_suffix('%').and_then(strict_int).filter(|share| *share >= 0);
    let share = share.ok_or(ValueError::NotMemoryOrPercent)?;
    if -share < min { Err(ValueError::PercentTooLarge(-min)) } else { Ok(-share) }
}

/// Bytes with an optional unit: `k` is 1000 and `kb` is 1024, and so on, in any case. No digits at
/// all are 0, as in Redis (memtoull in util.c).
pub fn parse_memory(arg: &str) -> Option<u64> {
    let digits = arg.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = arg.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    if number.is_empty() {
        return Some(0);
    }
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn number_of(word: &str, words: Words) -> Result<i64, ValueError> {
    let found = words.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
    found.map(|(_, number)| *number).ok_or(ValueError::NotOneOf(words))
}

fn parse_word(args: &[&str], words: Words) -> Result<String, ValueError> {
    let word = only(args)?;
    let number = number_of(word, words)?;
    let printed = words.iter().find(|(_, other)| *other == number);
    Ok(printed.map_or(word, |(word, _)| word).to_owned())
}

fn parse_flags(args: &[&str], words: Words) -> Result<Vec<String>, ValueError> {
    if args.is_empty() {
        return Err(ValueError::NotOneOf(words));
    }
    let mut bits = 0;
    for word in args {
        bits |= number_of(word, words)?;
    }
    let has = |wanted: &str| number_of(wanted, words).is_ok_and(|bit| bits & bit != 0);
    if has("save") && has("nosave") {
        return Err(ValueError::SaveAndNoSave);
    }
    let shown = words.iter().filter(|(_, bit)| if bits == 0 { *bit == 0 } else { bits & bit != 0 });
    Ok(shown.map(|(word, _)| (*word).to_owned()).collect())
}

fn check_rule(text: &str, rule: Rule) -> Result<String, ValueError> {
    let is_path = text.contains(['/', '\\']);
    let broken = match rule {
        Rule::Any | Rule::Optional => None,
        Rule::BaseName => is_path.then_some("dbfilename can't be a path, just a filename"),
        Rule::AofName if text.is_empty() => Some("appendfilename can't be empty"),
        Rule::AofName => is_path.then_some("appendfilename can't be a path, just a filename"),
        Rule::AofDirName if text.is_empty() => Some("appenddirname can't be empty"),
        Rule::AofDirName => is_path.then_some("appenddirname can't be a path, just a dirname"),
        Rule::ClusterFile => text.is_empty().then_some("cluster-config-file can't be empty"),
        Rule::HostName if text.len() > HOST_NAME_LEN_MAX => {
            Some("Hostnames must be less than 256 characters")
        }
        Rule::HostName => (!text.bytes().all(is_host_name_byte))
            .then_some("Hostnames may only contain alphanumeric characters, hyphens or dots"),
        Rule::NodeName => (!text.bytes().all(is_node_name_byte))
            .then_some("Announced human node name contained invalid character"),
        Rule::Ipv4 => (!text.is_empty() && text.parse::<std::net::Ipv4Addr>().is_err())
            .then_some("Invalid IPv4 address"),
        Rule::Ipv6 => (!text.is_empty() && text.parse::<std::net::Ipv6Addr>().is_err())
            .then_some("Invalid IPv6 address"),
        Rule::TitleTemplate => (!is_title_template(text))
            .then_some("template format is invalid or contains unknown variables"),
    };
    match broken {
        Some(reason) => Err(ValueError::BrokenRule(reason)),
        None => Ok(text.to_owned()),
    }
}

fn is_host_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')
}

fn is_node_name_byte(byte: u8) -> bool {
    (b'!'..=b'~').contains(&byte) && !b"!\"#$%&'()*+./:;<>?@[]^{|}~=,\\".contains(&byte)
}

fn is_title_template(template: &str) -> bool {
    const VARIABLES: [&str; 7] =
        ["title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"];
    let mut parts = template.split('{');
    let start_is_plain = parts.next().is_none_or(|start| !start.contains('}'));
    start_is_plain
        && parts.all(|part| {
            part.split_once('}')
                .is_some_and(|(name, rest)| VARIABLES.contains(&name) && !rest.contains('}'))
        })
}

fn parse_dir(arg: &str) -> Result<String, ValueError> {
    let path = Path::new(arg);
    let bad = |error: std::io::Error| ValueError::BadDirectory(os_text(&error));
    if !path.metadata().map_err(bad)?.is_dir() {
        return Err(ValueError::BadDirectory("Not a directory".to_owned()));
    }
    let path = path.canonicalize().map_err(bad)?;
    path.into_os_string().into_string().map_err(|_| ValueError::NotText)
}

fn parse_bind(args: &[&str]) -> Result<Vec<String>, ValueError> {
    match args {
        [""] => Ok(Vec::new()),
        _ if args.len() > BIND_ADDRESSES_MAX => Err(ValueError::TooManyAddresses),
        _ => Ok(owned(args)),
    }
}

fn parse_save(args: &[&str]) -> Result<Vec<SavePoint>, ValueError> {
    if args == [""] {
        return Ok(Vec::new());
    }
    let (pairs, rest) = args.as_chunks();
    if !rest.is_empty() {
        return Err(ValueError::BadSave);
    }
    let number = |arg: &str| arg.parse::<u64>().map_err(|_| ValueError::BadSave);
    let parse_point = |&[seconds, changes]: &[&str; 2]| {
        let point = SavePoint { seconds: number(seconds)?, changes: number(changes)? };
        if point.seconds == 0 { Err(ValueError::BadSave) } else { Ok(point) }
    };
    pairs.iter().map(parse_point).collect()
}

fn parse_output_limits(args: &[&str], current: &Value) -> Result<[OutputLimit; 3], ValueError> {
    let mut limits = match current {
        Value::OutputLimits(limits) => *limits,
        _ => [NO_LIMIT; 3],
    };
    let (groups, rest) = args.as_chunks();
    if !rest.is_empty() {
        return Err(ValueError::OutputLimitCount);
    }
    for [class, hard, soft, seconds] in groups {
        let class = match class.to_ascii_lowercase().as_str() {
            "normal" => 0,
            "replica" | "slave" => 1,
            "pubsub" => 2,
            _ => return Err(ValueError::OutputLimitClass),
        };
        let bytes = |arg| parse_memory(arg).ok_or(ValueError::OutputLimitNumber);
        limits[class] = OutputLimit {
            hard_bytes: bytes(hard)?,
            soft_bytes: bytes(soft)?,
            soft_seconds: seconds.parse().map_err(|_| ValueError::OutputLimitNumber)?,
        };
    }
    Ok(limits)
}

/// Databases that are not named keep their limits; no argument, or an empty one, ends all.
fn parse_db_limits(args: &[&str], current: &Value) -> Result<Vec<DbLimit>, ValueError> {
    let mut limits = match current {
        Value::DbLimits(limits) if !matches!(args, [] | [""]) => limits.clone(),
        _ => Vec::new(),
    };
    let mut args = args.iter().copied().filter(|arg| !arg.is_empty()).peekable();
    while let Some(db) = args.next() {
        let db = db.parse().ok().filter(|db| *db < DB_LIMITS_MAX).ok_or(ValueError::BadDbLimit)?;
        let bytes = args.next().and_then(parse_memory).ok_or(ValueError::BadDbLimit)?;
        let known = |arg: &str| POLICY.iter().find(|(name, _)| name.eq_ignore_ascii_case(arg));
        let policy = args.peek().and_then(|arg| known(arg)).map(|(name, _)| *name);
        args.next_if(|_| policy.is_some());
        limits.retain(|limit| limit.db != db);
        if bytes > 0 {
            limits.push(DbLimit { db, bytes, policy });
        }
    }
    limits.sort_by_key(|limit| limit.db);
    Ok(limits)
}

fn parse_oom_scores(args: &[&str]) -> Result<[i64; 3], ValueError> {
    let args: [&str; 3] = args.try_into().map_err(|_| ValueError::WrongCount)?;
    let mut scores = [0; 3];
    for (score, arg) in scores.iter_mut().zip(args) {
        let value = arg.parse().ok().filter(|value| (-2000..=2000).contains(value));
        *score = value.ok_or(ValueError::BadOomScore)?;
    }
    Ok(scores)
}

/// Event classes in the order in which Redis prints them; `A` stands for all but `n`, `K`, `E` and
/// `m`. Redis forgets to print `n` next to `A`; here the text is the value, so it stays.
fn parse_events(arg: &str) -> Result<String, ValueError> {
    const ALL: &str = "g$lshzxetd";
    const ORDER: &str = "Ag$lshzxetdnKEm";
    if !arg.chars().all(|class| ORDER.contains(class)) {
        return Err(ValueError::BadEventClass);
    }
    let has_all = arg.contains('A') || ALL.chars().all(|class| arg.contains(class));
    let is_shown = |class: &char| match *class {
        'A' => has_all,
        class => arg.contains(class) && !(has_all && ALL.contains(class)),
    };
    Ok(ORDER.chars().filter(is_shown).collect())
}

fn parse_percentiles(args: &[&str]) -> Result<Vec<f64>, ValueError> {
    if args == [""] {
        return Ok(Vec::new());
    }
    let parse_one = |arg: &&str| {
        let value: f64 = arg.parse().map_err(|_| ValueError::BadPercentile)?;
        let fits = (0.0..=100.0).contains(&value);
        fits.then_some(value).ok_or(ValueError::PercentileOutOfRange)
    };
    args.iter().map(parse_one).collect()
}

fn parse_replica_of(args: &[&str]) -> Result<Vec<String>, ValueError> {
    let [host, port] = args else { return Err(ValueError::WrongCount) };
    if host.eq_ignore_ascii_case("no") && port.eq_ignore_ascii_case("one") {
        return Ok(Vec::new());
    }
    let port: u16 = port.parse().map_err(|_| ValueError::BadPrimaryPort)?;
    Ok(vec![(*host).to_owned(), port.to_string()])
}

/// At most six decimals, without trailing zeros.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|&arg| arg.to_owned()).collect()
}

pub(super) fn join<T: AsRef<str>>(items: impl Iterator<Item = T>, between: &str) -> String {
    let mut text = String::new();
    for item in items {
        if !text.is_empty() {
            text.push_str(between);
        }
        text.push_str(item.as_ref());
    }
    text
}

#[cfg(test)]
mod tests;
