//! What a directive is: a row of the table.
//!
//! A row says how its value is written (`Kind`), what it is when nobody sets it, who may change it
//! (`Flags`), and what the server has to look at again after a change (`Effect`). Rows are made by
//! the const functions below, so that a row fits on one or two lines; whatever is rare is added by
//! a method behind the row.

/// Words of an enumeration with their numbers; words with the same number are synonyms, of which
/// the first is printed.
pub type Words = &'static [(&'static str, i64)];

/// One directive.
#[derive(Debug, Clone, Copy)]
pub struct Directive {
    /// Name in files and CONFIG, in lower case.
    pub name: &'static str,
    /// Other names for the same value: older ones, and those of Valkey.
    pub aliases: &'static [&'static str],
    /// How the value is written.
    pub kind: Kind,
    /// Value when nobody sets it, written as in a file.
    pub default: &'static str,
    /// Who may change it, and how it is shown.
    pub flags: Flags,
    /// What depends on it while the server runs.
    pub effect: Effect,
    /// The feature that this directive tunes, where this server does not have it yet.
    pub later: Option<&'static str>,
    /// One line for people.
    pub doc: &'static str,
}

/// How a value is written.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    /// A number from `min` to `max`.
    Int {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
        /// Base in which it is written.
        unit: Unit,
    },
    /// Bytes from `min` to `max`, with an optional unit.
    Memory {
        /// Least value; where percentages are allowed, minus the greatest percentage.
        min: i64,
        /// Greatest value.
        max: i64,
        /// Whether `5%` is allowed; it is kept as -5.
        percent: bool,
    },
    /// One of some words.
    Enum(Words),
    /// Any number of some words.
    Flags(Words),
    /// One word of free text.
    Text(Rule),
    /// An existing directory, kept as an absolute path.
    Dir,
    /// Addresses to listen on.
    Bind,
    /// `<seconds> <changes>` pairs.
    Save,
    /// `<class> <hard> <soft> <soft seconds>` groups.
    OutputLimits,
    /// `<database> <bytes> [<policy>]` groups.
    DbLimits,
    /// Three numbers from -2000 to 2000.
    OomScores,
    /// Letters of keyspace event classes.
    Events,
    /// Numbers from 0 to 100.
    Percentiles,
    /// `<host> <port>`, or `no one`.
    ReplicaOf,
}

/// Base in which a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Decimal.
    Plain,
    /// Octal, for file modes.
    Octal,
}

/// What a text has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Anything; the empty text is a value.
    Any,
    /// Anything; the empty text means "not set".
    Optional,
    /// A file name without a path, possibly empty.
    BaseName,
    /// A file name without a path.
    AofName,
    /// A directory name without a path.
    AofDirName,
    /// Not empty.
    ClusterFile,
    /// A host name, or not set.
    HostName,
    /// A node name for people, or not set.
    NodeName,
    /// An IPv4 address, or not set.
    Ipv4,
    /// An IPv6 address, or not set.
    Ipv6,
    /// A process title with `{variables}`.
    TitleTemplate,
}

impl Rule {
    /// Whether the empty text means "not set", so that a rewritten file leaves the line out.
    pub fn is_optional(self) -> bool {
        matches!(self, Self::Optional | Self::HostName | Self::NodeName | Self::Ipv4 | Self::Ipv6)
    }
}

/// A set of properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// No property.
    pub const NONE: Self = Self(0);
    /// Can be set only before the server starts.
    pub const IMMUTABLE: Self = Self(1);
    /// Holds a secret: hidden from the slow log and MONITOR.
    pub const SENSITIVE: Self = Self(1 << 1);
    /// Cannot be set while data is loaded.
    pub const DENY_LOADING: Self = Self(1 << 2);
    /// Shown only when asked for by its exact name, and in no generated text.
    pub const HIDDEN: Self = Self(1 << 3);
    /// CONFIG SET is refused unless `enable-protected-configs` allows it.
    pub const PROTECTED: Self = Self(1 << 4);
    /// Setting the same value again counts as a change: what it names may have changed.
    pub const VOLATILE: Self = Self(1 << 5);
    /// Takes several arguments.
    pub const MULTI_ARG: Self = Self(1 << 6);

    /// Not found by CONFIG GET's patterns: fixed, and unknown to Redis 7.2, so that programs that
    /// feed CONFIG GET * back into CONFIG SET go on working.
    pub const UNLISTED: Self = Self(1 << 7);

    /// Whether every property of `other` is here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What the server has to look at again after a directive has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Nothing: it is read where it is used, or only at start.
    None,
    /// `port`, `bind`: the listening sockets.
    Listen,
    /// `protected-mode`.
    ProtectedMode,
    /// `timeout`, `tcp-keepalive`: open connections.
    ClientTimeouts,
    /// `maxclients`.
    MaxClients,
    /// `proto-max-bulk-len`, `client-query-buffer-limit`.
    QueryLimits,
    /// `client-output-buffer-limit`.
    OutputLimits,
    /// `maxmemory-clients`.
    ClientMemory,
    /// `requirepass`.
    RequirePass,
    /// `aclfile` and its kin.
    Acl,
    /// `loglevel`.
    LogLevel,
    /// `log-format`, `log-timestamp-format`, `hide-user-data-from-log`.
    LogFormat,
    /// `logfile`, `syslog-*`.
    LogFile,
    /// `hz`, `dynamic-hz`.
    Hz,
    /// `maxmemory`.
    MaxMemory,
    /// `maxmemory-policy`, `-samples`, `-eviction-tenacity`, `lfu-*`.
    EvictionPolicy,
    /// `active-expire-effort`.
    Expire,
    /// `lazyfree-*`.
    LazyFree,
    /// `*-max-listpack-*`, `set-max-intset-entries`, `list-compress-depth`, `stream-node-*`,
    /// `hll-sparse-max-bytes`.
    Encodings,
    /// `notify-keyspace-events`.
    Events,
    /// `tracking-table-max-keys`.
    Tracking,
    /// `slowlog-*`, `commandlog-*`.
    SlowLog,
    /// `latency-monitor-threshold`, `latency-tracking`, `latency-tracking-info-percentiles`.
    Latency,
    /// `busy-reply-threshold`.
    Scripting,
    /// `save`.
    Save,
    /// `rdb*`, `dbfilename`, `stop-writes-on-bgsave-error`.
    Rdb,
    /// `append*`, `aof-*`, `auto-aof-*`.
    Aof,
    /// `dir`: the working directory.
    Dir,
    /// `repl*`, `min-replicas-*`, `masterauth`, `masteruser`.
    Replication,
    /// `cluster-*`.
    Cluster,
    /// `tls-*`.
    Tls,
    /// `oom-score-adj*`, `proc-title-template`, `crash-*`.
    Process,
    /// `activedefrag`, `active-defrag-*`, `jemalloc-bg-thread`.
    Allocator,
    /// `http-port`, `http-bind`: the sockets of metrics and console.
    Http,
}

impl Directive {
    /// Whether it has all of `flags`.
    pub fn is(&self, flags: Flags) -> bool {
        self.flags.contains(flags)
    }

    /// Its names, the proper one first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Its names without those that only spell another one with `-` for `_`.
    pub fn listed_names(&self) -> impl Iterator<Item = &'static str> {
        let is_respelt = |name: &str| {
            self.names().any(|other| {
                other.contains('_') && other != name && other.replace('_', "-") == name
            })
        };
        self.names().filter(move |name| !is_respelt(name))
    }

    pub(super) const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    pub(super) const fn flag(mut self, flags: Flags) -> Self {
        self.flags = self.flags.with(flags);
        self
    }

    pub(super) const fn fixed(self) -> Self {
        self.flag(Flags::IMMUTABLE)
    }

    pub(super) const fn hidden(self) -> Self {
        self.flag(Flags::HIDDEN)
    }

    pub(super) const fn unlisted(self) -> Self {
        self.flag(Flags::UNLISTED)
    }

    pub(super) const fn later(mut self, feature: &'static str) -> Self {
        self.later = Some(feature);
        self
    }
}

type Name = &'static str;
type Doc = &'static str;
type Initial = &'static str;

pub(super) const fn row(
    name: Name,
    kind: Kind,
    default: Initial,
    effect: Effect,
    doc: Doc,
) -> Directive {
    Directive { name, aliases: &[], kind, default, flags: Flags::NONE, effect, later: None, doc }
}

pub(super) const fn bool(name: Name, default: Initial, effect: Effect, doc: Doc) -> Directive {
    row(name, Kind::Bool, default, effect, doc)
}

pub(super) const fn int(
    name: Name,
    default: Initial,
    (min, max): (i64, i64),
    effect: Effect,
    doc: Doc,
) -> Directive {
    row(name, Kind::Int { min, max, unit: Unit::Plain }, default, effect, doc)
}

pub(super) const fn octal(
    name: Name,
    default: Initial,
    (min, max): (i64, i64),
    effect: Effect,
    doc: Doc,
) -> Directive {
    row(name, Kind::Int { min, max, unit: Unit::Octal }, default, effect, doc)
}

pub(super) const fn memory(
    name: Name,
    default: Initial,
    (min, max): (i64, i64),
    effect: Effect,
    doc: Doc,
) -> Directive {
    row(name, Kind::Memory { min, max, percent: false }, default, effect, doc)
}

pub(super) const fn words(
    name: Name,
    default: Initial,
    words: Words,
    effect: Effect,
    doc: Doc,
) -> Directive {
    row(name, Kind::Enum(words), default, effect, doc)
}

pub(super) const fn text(
    name: Name,
    default: Initial,
    rule: Rule,
    effect: Effect,
    doc: Doc,
) -> Directive {
    row(name, Kind::Text(rule), default, effect, doc)
}

/// A directive that takes several arguments.
pub(super) const fn list(
    name: Name,
    kind: Kind,
    default: Initial,
    effect: Effect,
    doc: Doc,
) -> Directive {
    row(name, kind, default, effect, doc).flag(Flags::MULTI_ARG)
}
