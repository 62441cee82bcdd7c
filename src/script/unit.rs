//! What can be run: a compiled script or function and what it declared of itself.

use mlua::Function;

/// What a script or function declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptFlags(u8);

impl ScriptFlags {
    /// Declares nothing, having flags.
    pub const NONE: Self = Self(0);
    /// Never writes.
    pub const NO_WRITES: Self = Self(1);
    /// Runs and writes also when there is no memory.
    pub const ALLOW_OOM: Self = Self(1 << 1);
    /// Runs also on a replica that lost its primary.
    pub const ALLOW_STALE: Self = Self(1 << 2);
    /// Does not run in a cluster.
    pub const NO_CLUSTER: Self = Self(1 << 3);
    /// May use keys of several slots.
    pub const ALLOW_CROSS_SLOT: Self = Self(1 << 4);
    /// Has no shebang: checks are left to each command it calls.
    pub const COMPAT: Self = Self(1 << 5);

    /// All that can be declared, with their names, in the order in which they are listed.
    pub const NAMED: [(Self, &'static str); 5] = [
        (Self::NO_WRITES, "no-writes"),
        (Self::ALLOW_OOM, "allow-oom"),
        (Self::ALLOW_STALE, "allow-stale"),
        (Self::NO_CLUSTER, "no-cluster"),
        (Self::ALLOW_CROSS_SLOT, "allow-cross-slot-keys"),
    ];

    /// Whether any of `other` is declared.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The names of what is declared.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMED.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }
}

/// Something that can be run.
#[derive(Debug)]
pub(super) struct Unit {
    /// The digest of a script, the name of a function.
    pub(super) name: String,
    /// Whether it is a function of a library.
    pub(super) is_function: bool,
    /// What it declared.
    pub(super) flags: ScriptFlags,
    /// Itself.
    pub(super) code: Function,
}
