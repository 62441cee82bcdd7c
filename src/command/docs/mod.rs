//! What COMMAND DOCS says of a command beyond its behavioural row: argument tree, history,
//! deprecation.
//!
//! Owns data only: one table per family, one row per command or subcommand, joined to the
//! behavioural row by name (`"set"`, `"client|kill"`). It knows nothing of parsing, replies or
//! versions of the server; the command module renders a row. Name, group, since and complexity are
//! repeated here so that a row is complete.
//!
//! Argument names, tokens, order, versions and key-spec indexes are those a Redis 8 answers, 7.2's
//! renaming of anonymous groups included. What only Valkey has (DELIFEQ, most filters of CLIENT
//! LIST and CLIENT KILL) stands with Valkey's version. Summaries and history are our own words.
//!
//! Invariants (tested below): names are unique and lower-case, an argument of kind `Key` names a key
//! spec and only a pattern may too, groups have members, leaves have none, a pure token has a token.

pub mod bitmap;
pub mod connection;
pub mod geo;
pub mod hash;
pub mod hyperloglog;
pub mod key;
pub mod list;
pub mod pubsub;
pub mod scripting;
pub mod server;
pub mod set;
pub mod stream;
pub mod string;
pub mod transaction;
pub mod zset;

/// Documentation of one command or subcommand.
#[derive(Debug, Clone, Copy)]
pub struct Docs {
    /// Full lower-case name, container and subcommand joined by `|`.
    pub name: &'static str,
    /// One sentence on what the command does.
    pub summary: &'static str,
    /// First version that has the command.
    pub since: &'static str,
    /// Time complexity; empty where none is stated, and then not sent.
    pub complexity: &'static str,
    /// Functional group, as in `COMMAND DOCS`.
    pub group: &'static str,
    /// Changes after `since`: version and text, oldest first.
    pub history: &'static [(&'static str, &'static str)],
    /// Version of the deprecation and its replacement (Markdown).
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Whether the command is for the server's own use (doc flag `syscmd`).
    pub syscmd: bool,
    /// The arguments after the name, in order.
    pub arguments: &'static [Arg],
}

impl Docs {
    /// A row without history, deprecation or arguments.
    #[must_use]
    pub const fn new(
        name: &'static str,
        group: &'static str,
        since: &'static str,
        complexity: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            name,
            summary,
            since,
            complexity,
            group,
            history: &[],
            deprecated: None,
            syscmd: false,
            arguments: &[],
        }
    }

    /// Sets the arguments.
    #[must_use]
    pub const fn args(mut self, arguments: &'static [Arg]) -> Self {
        self.arguments = arguments;
        self
    }

    /// Sets the history.
    #[must_use]
    pub const fn history(mut self, history: &'static [(&'static str, &'static str)]) -> Self {
        self.history = history;
        self
    }

    /// Marks the command as deprecated since a version, in favour of `replaced_by`.
    #[must_use]
    pub const fn deprecated(mut self, since: &'static str, replaced_by: &'static str) -> Self {
        self.deprecated = Some((since, replaced_by));
        self
    }

    /// Marks the command as one for the server's own use.
    #[must_use]
    pub const fn syscmd(mut self) -> Self {
        self.syscmd = true;
        self
    }
}

/// One argument, or a group of arguments.
#[derive(Debug, Clone, Copy)]
pub struct Arg {
    /// Name, unique among its siblings.
    pub name: &'static str,
    /// What stands there.
    pub kind: ArgKind,
    /// Keyword that precedes it (or is all of it, for [`ArgKind::PureToken`]).
    pub token: Option<&'static str>,
    /// Text for syntax displays where it is not `name`; see [`Arg::display_text`].
    pub display: Option<&'static str>,
    /// Explanation, where the name needs one.
    pub summary: Option<&'static str>,
    /// First version that has it, where later than the command's.
    pub since: Option<&'static str>,
    /// Version that deprecated it.
    pub deprecated_since: Option<&'static str>,
    /// Index of the key specification that finds it.
    pub key_spec: Option<u8>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be repeated.
    pub multiple: bool,
    /// Whether a repetition repeats the token too.
    pub multiple_token: bool,
    /// Members of a group.
    pub arguments: &'static [Arg],
}

impl Arg {
    /// A required argument of `kind`.
    #[must_use]
    pub const fn new(name: &'static str, kind: ArgKind) -> Self {
        Self {
            name,
            kind,
            token: None,
            display: None,
            summary: None,
            since: None,
            deprecated_since: None,
            key_spec: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            arguments: &[],
        }
    }

    /// Any bytes.
    #[must_use]
    pub const fn string(name: &'static str) -> Self {
        Self::new(name, ArgKind::String)
    }

    /// A whole number.
    #[must_use]
    pub const fn integer(name: &'static str) -> Self {
        Self::new(name, ArgKind::Integer)
    }

    /// A floating-point number.
    #[must_use]
    pub const fn double(name: &'static str) -> Self {
        Self::new(name, ArgKind::Double)
    }

    /// A key, found by the key specification at index `key_spec`.
    #[must_use]
    pub const fn key(name: &'static str, key_spec: u8) -> Self {
        let mut arg = Self::new(name, ArgKind::Key);
        arg.key_spec = Some(key_spec);
        arg
    }

    /// A glob pattern.
    #[must_use]
    pub const fn pattern(name: &'static str) -> Self {
        Self::new(name, ArgKind::Pattern)
    }

    /// A Unix time, in the unit its name tells.
    #[must_use]
    pub const fn unix_time(name: &'static str) -> Self {
        Self::new(name, ArgKind::UnixTime)
    }

    /// A keyword without a value.
    #[must_use]
    pub const fn flag(name: &'static str, token: &'static str) -> Self {
        Self::new(name, ArgKind::PureToken).token(token)
    }

    /// Exactly one of `arguments`.
    #[must_use]
    pub const fn one_of(name: &'static str, arguments: &'static [Self]) -> Self {
        let mut arg = Self::new(name, ArgKind::OneOf);
        arg.arguments = arguments;
        arg
    }

    /// All of `arguments`, in order.
    #[must_use]
    pub const fn block(name: &'static str, arguments: &'static [Self]) -> Self {
        let mut arg = Self::new(name, ArgKind::Block);
        arg.arguments = arguments;
        arg
    }

    /// Names the key specification of the keys that a pattern stands for.
    #[must_use]
    pub const fn key_spec(mut self, key_spec: u8) -> Self {
        self.key_spec = Some(key_spec);
        self
    }

    /// Sets the keyword before it.
    #[must_use]
    pub const fn token(mut self, token: &'static str) -> Self {
        self.token = Some(token);
        self
    }

    /// Sets the text for syntax displays.
    #[must_use]
    pub const fn display(mut self, display: &'static str) -> Self {
        self.display = Some(display);
        self
    }

    /// Sets the explanation.
    #[must_use]
    pub const fn summary(mut self, summary: &'static str) -> Self {
        self.summary = Some(summary);
        self
    }

    /// Sets the first version that has it.
    #[must_use]
    pub const fn since(mut self, since: &'static str) -> Self {
        self.since = Some(since);
        self
    }

    /// Sets the version that deprecated it.
    #[must_use]
    pub const fn deprecated_since(mut self, since: &'static str) -> Self {
        self.deprecated_since = Some(since);
        self
    }

    /// Allows leaving it out.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Allows repeating it.
    #[must_use]
    pub const fn multiple(mut self) -> Self {
        self.multiple = true;
        self
    }

    /// Allows repeating it together with its token.
    #[must_use]
    pub const fn multiple_token(mut self) -> Self {
        self.multiple = true;
        self.multiple_token = true;
        self
    }

    /// The `display_text` of a reply (7.2 and later): every argument but a group has one, by
    /// default its name.
    #[must_use]
    pub const fn display_text(&self) -> Option<&'static str> {
        match (self.kind, self.display) {
            (ArgKind::OneOf | ArgKind::Block, _) => None,
            (_, Some(display)) => Some(display),
            (_, None) => Some(self.name),
        }
    }
}

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgKind {
    /// Any bytes.
    String,
    /// A whole number.
    Integer,
    /// A floating-point number.
    Double,
    /// A key.
    Key,
    /// A glob pattern.
    Pattern,
    /// A Unix time.
    UnixTime,
    /// A keyword without a value.
    PureToken,
    /// A choice among its members.
    OneOf,
    /// A sequence of its members.
    Block,
}

impl ArgKind {
    /// The `type` of a reply.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }
}

/// The families, in no order that clients see.
static FAMILIES: &[&[Docs]] = &[
    string::DOCS,
    transaction::DOCS,
    list::DOCS,
    pubsub::DOCS,
    bitmap::DOCS,
    hyperloglog::DOCS,
    hash::DOCS,
    set::DOCS,
    zset::DOCS,
    stream::DOCS,
    geo::DOCS,
    key::DOCS,
    connection::DOCS,
    server::DOCS,
    scripting::DOCS,
];

/// The row of a command, by its full lower-case name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Docs> {
    all().find(|docs| docs.name == name)
}

/// Every row.
pub fn all() -> impl Iterator<Item = &'static Docs> {
    FAMILIES.iter().copied().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Arg, ArgKind, all, find};

    fn walk(args: &'static [Arg], visit: &mut impl FnMut(&'static Arg)) {
        for arg in args {
            visit(arg);
            walk(arg.arguments, visit);
        }
    }

    fn is_version(text: &str) -> bool {
        text.split('.').count() == 3 && text.split('.').all(|part| part.parse::<u32>().is_ok())
    }

    fn number(version: &str) -> Vec<u32> {
        version.split('.').filter_map(|part| part.parse().ok()).collect()
    }

    #[test]
    fn names_are_unique_and_lower_case() {
        let mut seen = HashSet::new();
        for docs in all() {
            assert!(seen.insert(docs.name), "{} stands twice", docs.name);
            assert_eq!(docs.name, docs.name.to_ascii_lowercase());
            assert!(std::ptr::eq(find(docs.name).expect("it is listed"), docs));
        }
        assert!(find("nosuch").is_none());
    }

    #[test]
    fn a_subcommand_has_its_container() {
        for docs in all() {
            if let Some((container, _)) = docs.name.split_once('|') {
                assert!(find(container).is_some(), "{} has no container", docs.name);
            }
        }
    }

    #[test]
    fn every_key_argument_names_its_key_spec_and_no_other_does() {
        for docs in all() {
            walk(docs.arguments, &mut |arg| {
                let named = arg.key_spec.is_some();
                match arg.kind {
                    ArgKind::Key => assert!(named, "{} {}", docs.name, arg.name),
                    // Those of SORT stand for keys, those of KEYS and SCAN do not.
                    ArgKind::Pattern => {}
                    _ => assert!(!named, "{} {}", docs.name, arg.name),
                }
            });
        }
    }

    #[test]
    fn groups_have_members_and_pure_tokens_a_token() {
        for docs in all() {
            walk(docs.arguments, &mut |arg| {
                let is_group = matches!(arg.kind, ArgKind::OneOf | ArgKind::Block);
                assert_eq!(!arg.arguments.is_empty(), is_group, "{} {}", docs.name, arg.name);
                assert_eq!(arg.display_text().is_none(), is_group, "{} {}", docs.name, arg.name);
                assert!(arg.kind != ArgKind::PureToken || arg.token.is_some(), "{}", docs.name);
                assert!(!arg.multiple_token || arg.token.is_some(), "{} {}", docs.name, arg.name);
            });
        }
    }

    #[test]
    fn versions_have_three_numbers_and_history_is_in_order() {
        for docs in all() {
            assert!(is_version(docs.since), "{}", docs.name);
            assert!(docs.deprecated.is_none_or(|(since, _)| is_version(since)), "{}", docs.name);
            let mut last = number(docs.since);
            for (version, _) in docs.history {
                assert!(is_version(version) && last <= number(version), "{} {version}", docs.name);
                last = number(version);
            }
            walk(docs.arguments, &mut |arg| {
                assert!(arg.since.is_none_or(is_version), "{} {}", docs.name, arg.name);
                assert!(arg.deprecated_since.is_none_or(is_version), "{} {}", docs.name, arg.name);
            });
        }
    }
}
