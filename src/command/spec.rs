//! What a command declares of itself: the row type and its parts.

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::keys::KeyUse;

/// What runs a command.
pub type Handler = fn(&mut Ctx<'_>, &Args<'_>) -> Result<Flow, CmdError>;

/// Serves a client that waits from the key at that argument; `false` when nothing is there for it.
pub(super) type Serve = fn(&mut Ctx<'_>, &Args<'_>, usize) -> Result<bool, CmdError>;

/// Finds keys that no [`KeySpec`] can describe, or their exact access.
pub(super) type KeysFn = fn(&Args<'_>, &mut Vec<KeyUse>) -> Result<(), CmdError>;

/// Finds the arguments that nobody is to see: names and passwords by which somebody logs in, ascending.
pub(super) type SecretsFn = fn(crate::resp::Argv<'_>) -> Vec<usize>;

/// A set of properties of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// No property.
    pub const NONE: Self = Self(0);
    /// May change the keyspace.
    pub const WRITE: Self = Self(1);
    /// Never changes the keyspace.
    pub const READONLY: Self = Self(1 << 1);
    /// May need more memory; refused when there is none.
    pub const DENYOOM: Self = Self(1 << 2);
    /// For administrators.
    pub const ADMIN: Self = Self(1 << 3);
    /// Not from scripts.
    pub const NOSCRIPT: Self = Self(1 << 4);
    /// Also while data is loading.
    pub const LOADING: Self = Self(1 << 5);
    /// Also on a replica that lost its primary.
    pub const STALE: Self = Self(1 << 6);
    /// Not shown by MONITOR.
    pub const SKIP_MONITOR: Self = Self(1 << 7);
    /// Not shown by SLOWLOG.
    pub const SKIP_SLOWLOG: Self = Self(1 << 8);
    /// Takes constant or logarithmic time.
    pub const FAST: Self = Self(1 << 9);
    /// Also before authentication.
    pub const NO_AUTH: Self = Self(1 << 10);
    /// Not inside MULTI.
    pub const NO_MULTI: Self = Self(1 << 11);
    /// Key positions depend on the arguments.
    pub const MOVABLEKEYS: Self = Self(1 << 12);
    /// Also while a script runs too long.
    pub const ALLOW_BUSY: Self = Self(1 << 13);
    /// Belongs to the class of commands that can hurt.
    pub const DANGEROUS: Self = Self(1 << 14);
    /// Works on the keyspace as a whole or on keys of any type.
    pub const KEYSPACE: Self = Self(1 << 15);
    /// Needs `enable-debug-command`.
    pub const PROTECTED: Self = Self(1 << 16);
    /// Not while data is loading in the background.
    pub const NO_ASYNC_LOADING: Self = Self(1 << 17);

    /// Runs while clients are paused.
    pub const NO_PAUSE: Self = Self(1 << 18);
    /// Writes nothing itself but reaches replicas.
    pub const MAY_REPLICATE: Self = Self(1 << 19);
    /// What waits, or is refused, where nothing may be written.
    pub const MAY_WRITE: Self = Self::WRITE.with(Self::MAY_REPLICATE);

    /// Belongs to the class of commands about connections, whatever its group.
    pub const CONNECTION: Self = Self(1 << 20);
    /// May wait for a key.
    pub const BLOCKING: Self = Self(1 << 21);
    /// Also on keys that are just being moved here from another node.
    pub const ASKING: Self = Self(1 << 28);
    /// Takes keys, but may do without.
    pub const NO_MANDATORY_KEYS: Self = Self(1 << 27);
    /// Belongs to the classes of sets, sorted sets and lists, whatever its group.
    pub const SORTS: Self = Self(1 << 22);
    /// Runs at once after MULTI.
    pub const NOT_QUEUED: Self = Self(1 << 23);
    /// Is about publishing and subscribing.
    pub const PUBSUB: Self = Self(1 << 24);
    /// Also for a client that listens to channels and speaks RESP2.
    pub const SUBSCRIBER: Self = Self(1 << 25);
    /// Answers with pushes, which CLIENT REPLY does not take back.
    pub const PUSHES: Self = Self(1 << 26);

    /// Both sets together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set as a number, for [`Self::from_bits`].
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The set of that number.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether any property of `other` is in the set.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The flags that COMMAND INFO shows, with their wire names.
pub(super) const WIRE_FLAGS: &[(Flags, &str)] = &[
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::PUBSUB, "pubsub"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::BLOCKING, "blocking"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::SKIP_MONITOR, "skip_monitor"),
    (Flags::SKIP_SLOWLOG, "skip_slowlog"),
    (Flags::ASKING, "asking"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (Flags::NO_MULTI, "no_multi"),
    (Flags::MOVABLEKEYS, "movablekeys"),
    (Flags::ALLOW_BUSY, "allow_busy"),
    (Flags::NO_ASYNC_LOADING, "no_async_loading"),
];

/// The functional group of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Strings.
    String,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Hashes.
    Hash,
    /// Bitmaps, which are strings.
    Bitmap,
    /// HyperLogLogs, which are strings.
    HyperLogLog,
    /// Places on earth, in sorted sets.
    Geo,
    /// Keys of any type.
    Generic,
    /// The connection itself.
    Connection,
    /// The server as a whole.
    Server,
    /// Scripts and functions.
    Scripting,
    /// MULTI and what belongs to it.
    Transactions,
    /// Publishing and subscribing.
    PubSub,
    /// Streams.
    Stream,
}

impl Group {
    /// The name in COMMAND DOCS.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Hash => "hash",
            Self::Bitmap => "bitmap",
            Self::HyperLogLog => "hyperloglog",
            Self::Geo => "geo",
            Self::Generic => "generic",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Scripting => "scripting",
            Self::Transactions => "transactions",
            Self::PubSub => "pubsub",
            Self::Stream => "stream",
        }
    }
}

/// Where the keys of a command are and what it does with them.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// The access word that comes first: RO, RW, OW or RM.
    pub access: &'static str,
    /// Further words: access, update, insert, delete.
    pub uses: &'static [&'static str],
    /// Whether the words depend on the arguments.
    pub variable: bool,
    /// Whether a reader of the spec finds keys where there are none, or not all.
    pub incomplete: bool,
    /// Which arguments are keys.
    pub find: FindKeys,
    /// Remark shown with the spec.
    pub notes: Option<&'static str>,
}

/// Which arguments are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindKeys {
    /// From `first` to `last` (negative: from the end, -1 the last argument) every `step`th.
    Range {
        /// First key.
        first: usize,
        /// Last key, absolute or from the end.
        last: i32,
        /// Distance between keys.
        step: usize,
    },
    /// The count is at `count_at`, keys follow it every `step`th.
    Count {
        /// Where the number of keys is.
        count_at: usize,
        /// Distance between keys.
        step: usize,
    },
    /// What follows the word, which stands at `from` or behind.
    After {
        /// The word, upper-case.
        word: &'static str,
        /// Where the options begin.
        from: usize,
    },
    /// All that follows the word, which stands among the options from `from` on, each of which may
    /// take some of the arguments behind it.
    Rest {
        /// The word, upper-case.
        word: &'static str,
        /// Where the options begin.
        from: usize,
        /// The options that take arguments, lower-case, and how many.
        taking: &'static [(&'static str, usize)],
    },
    /// The first half of what follows the word, which is found as for [`Self::Rest`].
    Half {
        /// The word, upper-case.
        word: &'static str,
        /// From where on those look for it who know nothing of the other words.
        from: usize,
        /// The options that take arguments, lower-case, and how many.
        taking: &'static [(&'static str, usize)],
    },
    /// None: the arguments from `first` to `last` are shard channels, which a cluster places as if
    /// they were keys.
    Channels {
        /// First channel.
        first: usize,
        /// Last channel, absolute or from the end.
        last: i32,
    },
    /// Their names are made while the command runs, which therefore locks everything.
    Unknown,
}

impl KeySpec {
    const fn new(access: &'static str, uses: &'static [&'static str], find: FindKeys) -> Self {
        Self { access, uses, variable: false, incomplete: false, find, notes: None }
    }

    /// The key at argument `at`.
    pub const fn at(at: usize, access: &'static str, uses: &'static [&'static str]) -> Self {
        Self::new(access, uses, FindKeys::Range { first: at, last: at as i32, step: 1 })
    }

    /// The first argument.
    pub const fn one(access: &'static str, uses: &'static [&'static str]) -> Self {
        Self::at(1, access, uses)
    }

    /// The first two arguments.
    pub const fn pair(access: &'static str, uses: &'static [&'static str]) -> Self {
        Self::new(access, uses, FindKeys::Range { first: 1, last: 2, step: 1 })
    }

    /// All arguments from the first on, every `step`th.
    pub const fn all(step: usize, access: &'static str, uses: &'static [&'static str]) -> Self {
        Self::new(access, uses, FindKeys::Range { first: 1, last: -1, step })
    }

    /// All arguments from `first` on.
    pub const fn from(first: usize, access: &'static str, uses: &'static [&'static str]) -> Self {
        Self::new(access, uses, FindKeys::Range { first, last: -1, step: 1 })
    }

    /// The arguments from `first` to `last`, which counts from the end if it is negative.
    pub const fn range(
        first: usize,
        last: i32,
        access: &'static str,
        uses: &'static [&'static str],
    ) -> Self {
        Self::new(access, uses, FindKeys::Range { first, last, step: 1 })
    }

    /// As many as the argument at `count_at` says, after it.
    pub const fn counted(
        count_at: usize,
        step: usize,
        access: &'static str,
        uses: &'static [&'static str],
    ) -> Self {
        Self::new(access, uses, FindKeys::Count { count_at, step })
    }

    /// The argument after `word`, which is among the arguments from `from` on.
    pub const fn after(
        word: &'static str,
        from: usize,
        access: &'static str,
        uses: &'static [&'static str],
    ) -> Self {
        Self::new(access, uses, FindKeys::After { word, from })
    }

    /// The arguments after `word`, which is among the options from `from` on.
    pub const fn rest(
        (word, from): (&'static str, usize),
        taking: &'static [(&'static str, usize)],
        access: &'static str,
        uses: &'static [&'static str],
    ) -> Self {
        Self::new(access, uses, FindKeys::Rest { word, from, taking })
    }

    /// The first half of the arguments after `word`, for which others look from `from` on.
    pub const fn half(
        (word, from): (&'static str, usize),
        taking: &'static [(&'static str, usize)],
        access: &'static str,
        uses: &'static [&'static str],
    ) -> Self {
        Self::new(access, uses, FindKeys::Half { word, from, taking })
    }

    /// Shard channels: the arguments from the first to `last`.
    pub const fn channels(last: i32) -> Self {
        Self::new("not_key", &[], FindKeys::Channels { first: 1, last })
    }

    /// Keys whose names no argument is.
    pub const fn unknown(access: &'static str, uses: &'static [&'static str]) -> Self {
        Self::new(access, uses, FindKeys::Unknown)
    }

    /// Its access words depend on the arguments.
    pub const fn variable(mut self) -> Self {
        self.variable = true;
        self
    }

    /// Who goes by it may not find all keys.
    pub const fn incomplete(mut self) -> Self {
        self.incomplete = true;
        self
    }

    /// Adds a remark.
    pub const fn notes(mut self, notes: &'static str) -> Self {
        self.notes = Some(notes);
        self
    }
}

/// Which channels a command publishes or listens to, for access rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// None, or only ones that it gives up.
    None,
    /// The first argument.
    First,
    /// All arguments.
    All,
    /// All arguments, which are patterns.
    Patterns,
}

/// Which databases a command uses, for access rules.
#[derive(Clone, Copy)]
pub enum Databases {
    /// The client's, if it uses any.
    Current,
    /// The client's if it has keys, and those that the arguments at these indexes name.
    Args(fn(crate::resp::Argv<'_>) -> smallvec::SmallVec<[usize; 2]>),
    /// All.
    All,
}

/// The shards a command holds while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locks {
    /// Those of its keys; none when it has none.
    Keys,
    /// All, at one instant.
    All,
    /// All, one after the other.
    Each,
    /// Those of its keys, behind the script engine; what a script touches beyond them is locked then.
    Script,
    /// What the queued commands need, and those of the watched keys.
    Transaction,
}

/// A table row.
#[derive(Clone, Copy)]
pub struct Command {
    /// The name, lower-case; of a subcommand without its container.
    pub name: &'static str,
    /// Exact number of arguments, or if negative the least.
    pub arity: i32,
    /// What runs it; a container's runs when the subcommand is missing.
    pub handler: Handler,
    /// Its properties.
    pub flags: Flags,
    /// Its functional group.
    pub group: Group,
    /// Where its keys are.
    pub keys: &'static [KeySpec],
    /// Which argument names an element of the collection at the key, for looking ahead; 0 is none.
    pub element: usize,
    /// Refines `keys` where the arguments decide.
    pub keys_fn: Option<KeysFn>,
    /// What finds its secrets, if it has any.
    pub secrets_fn: Option<SecretsFn>,
    /// Its channels.
    pub channels: Channels,
    /// Its databases.
    pub databases: Databases,
    /// What it locks.
    pub locks: Locks,
    /// What serves a client that waits in it.
    pub serve: Option<Serve>,
    /// Its subcommands.
    pub subcommands: &'static [Self],
    /// Hints for cluster-aware clients.
    pub tips: &'static [&'static str],
    /// The lines of its HELP subcommand.
    pub help: &'static [&'static str],
}

impl Command {
    /// A row with neither flags nor keys.
    pub const fn new(name: &'static str, arity: i32, handler: Handler) -> Self {
        Self {
            name,
            arity,
            handler,
            flags: Flags::NONE,
            group: Group::Generic,
            keys: &[],
            element: 0,
            keys_fn: None,
            secrets_fn: None,
            channels: Channels::None,
            databases: Databases::Current,
            locks: Locks::Keys,
            serve: None,
            subcommands: &[],
            tips: &[],
            help: &[],
        }
    }

    /// Adds properties.
    pub const fn flags(mut self, flags: Flags) -> Self {
        self.flags = self.flags.with(flags);
        self
    }

    /// Reads only.
    pub const fn read(self) -> Self {
        self.flags(Flags::READONLY)
    }

    /// Writes.
    pub const fn write(self) -> Self {
        self.flags(Flags::WRITE)
    }

    /// Writes and may need more memory.
    pub const fn grow(self) -> Self {
        self.flags(Flags::WRITE.with(Flags::DENYOOM))
    }

    /// Takes constant or logarithmic time.
    pub const fn fast(self) -> Self {
        self.flags(Flags::FAST)
    }

    /// Sets the group.
    pub const fn group(mut self, group: Group) -> Self {
        self.group = group;
        self
    }

    /// Sets where the keys are.
    pub const fn keys(mut self, keys: &'static [KeySpec]) -> Self {
        self.keys = keys;
        self
    }

    /// Sets which argument names an element of the collection at the key.
    pub const fn element(mut self, at: usize) -> Self {
        self.element = at;
        self
    }

    /// Sets what refines the keys.
    pub const fn keys_fn(mut self, keys_fn: KeysFn) -> Self {
        self.keys_fn = Some(keys_fn);
        self
    }

    /// Sets what finds its secrets.
    pub const fn secrets_fn(mut self, secrets_fn: SecretsFn) -> Self {
        self.secrets_fn = Some(secrets_fn);
        self
    }

    /// The arguments that neither MONITOR nor a log shows, ascending.
    pub fn secrets(&self, argv: crate::resp::Argv<'_>) -> Vec<usize> {
        self.secrets_fn.map_or_else(Vec::new, |find| find(argv))
    }

    /// Sets which channels it uses.
    pub const fn channels(mut self, channels: Channels) -> Self {
        self.channels = channels;
        self
    }

    /// Sets which databases it uses.
    pub const fn databases(mut self, databases: Databases) -> Self {
        self.databases = databases;
        self
    }

    /// Whether it has keys.
    pub fn has_keys(&self) -> bool {
        self.keys.iter().any(|spec| !matches!(spec.find, FindKeys::Channels { .. }))
    }

    /// Sets what it locks.
    pub const fn locks(mut self, locks: Locks) -> Self {
        self.locks = locks;
        self
    }

    /// Its client may wait; `serve` serves it then.
    pub const fn blocking(mut self, serve: Serve) -> Self {
        self.serve = Some(serve);
        self.flags(Flags::BLOCKING)
    }

    /// Makes it a container.
    pub const fn subcommands(mut self, subcommands: &'static [Self]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// Sets the hints for clients.
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    /// Sets the lines of HELP.
    pub const fn help(mut self, help: &'static [&'static str]) -> Self {
        self.help = help;
        self
    }

    /// Whether a request of `len` arguments, names included, has the right number.
    ///
    /// A subcommand's arity counts its container's name too.
    #[inline]
    pub fn accepts(&self, len: usize) -> bool {
        let least = self.arity.unsigned_abs() as usize;
        len == least || len > least && self.arity < 0
    }

    /// The ACL categories of the command, in the order in which COMMAND INFO lists them.
    pub fn categories(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        let mut add = |applies: bool, name: &'static str| {
            if applies {
                names.push(name);
            }
        };
        // A container is in no class of its group: only its subcommands do something.
        let of_group = |group| self.group == group && self.subcommands.is_empty();
        let connection = of_group(Group::Connection) || self.flags.has(Flags::CONNECTION);
        let sorts = self.flags.has(Flags::SORTS);
        add(self.flags.has(Flags::KEYSPACE), "keyspace");
        // Who may read may not keep the server busy with scripts.
        add(self.flags.has(Flags::READONLY) && !of_group(Group::Scripting), "read");
        add(self.flags.has(Flags::WRITE), "write");
        add(of_group(Group::Set) || sorts, "set");
        add(of_group(Group::SortedSet) || sorts, "sortedset");
        add(of_group(Group::List) || sorts, "list");
        add(of_group(Group::Hash), "hash");
        add(of_group(Group::String), "string");
        add(of_group(Group::Bitmap), "bitmap");
        add(of_group(Group::HyperLogLog), "hyperloglog");
        add(of_group(Group::Geo), "geo");
        add(of_group(Group::Stream), "stream");
        add(self.flags.has(Flags::PUBSUB), "pubsub");
        add(self.flags.has(Flags::ADMIN), "admin");
        add(self.flags.has(Flags::FAST), "fast");
        add(!self.flags.has(Flags::FAST), "slow");
        add(self.flags.has(Flags::BLOCKING), "blocking");
        add(self.flags.has(Flags::ADMIN.with(Flags::DANGEROUS)), "dangerous");
        add(connection, "connection");
        add(of_group(Group::Scripting), "scripting");
        add(of_group(Group::Transactions), "transaction");
        names
    }
}
