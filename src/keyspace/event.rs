//! Keyspace events: what happened to a key, under the names notifications use.

/// The class of an event, as `notify-keyspace-events` selects them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventClass {
    /// `g`: commands on keys of any type.
    Generic,
    /// `$`: strings.
    String,
    /// `l`: lists.
    List,
    /// `s`: sets.
    Set,
    /// `h`: hashes.
    Hash,
    /// `z`: sorted sets.
    ZSet,
    /// `x`: a key expired.
    Expired,
    /// `e`: a key was evicted.
    Evicted,
    /// No notification: only who watches the key learns of the change.
    None,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The class that selects the event.
    pub class: EventClass,
    /// The name subscribers see.
    pub name: &'static str,
}

impl Event {
    /// An event of strings.
    pub const fn string(name: &'static str) -> Self {
        Self { class: EventClass::String, name }
    }

    /// An event of lists.
    pub const fn list(name: &'static str) -> Self {
        Self { class: EventClass::List, name }
    }

    /// An event of sets.
    pub const fn set(name: &'static str) -> Self {
        Self { class: EventClass::Set, name }
    }

    /// An event of hashes.
    pub const fn hash(name: &'static str) -> Self {
        Self { class: EventClass::Hash, name }
    }

    /// An event of sorted sets.
    pub const fn zset(name: &'static str) -> Self {
        Self { class: EventClass::ZSet, name }
    }

    const fn generic(name: &'static str) -> Self {
        Self { class: EventClass::Generic, name }
    }

    /// A string was set.
    pub const SET: Self = Self::string("set");
    /// A string grew at its end.
    pub const APPEND: Self = Self::string("append");
    /// Part of a string was overwritten.
    pub const SETRANGE: Self = Self::string("setrange");
    /// An integer was added.
    pub const INCRBY: Self = Self::string("incrby");
    /// An integer was subtracted.
    pub const DECRBY: Self = Self::string("decrby");
    /// A floating-point number was added.
    pub const INCRBYFLOAT: Self = Self::string("incrbyfloat");
    /// Bits of a string were set or cleared.
    pub const SETBIT: Self = Self::string("setbit");
    /// Fields of a hash were set.
    pub const HSET: Self = Self::hash("hset");
    /// Fields of a hash were removed.
    pub const HDEL: Self = Self::hash("hdel");
    /// An integer was added to a field.
    pub const HINCRBY: Self = Self::hash("hincrby");
    /// A floating-point number was added to a field.
    pub const HINCRBYFLOAT: Self = Self::hash("hincrbyfloat");
    /// Fields of a hash got deadlines.
    pub const HEXPIRE: Self = Self::hash("hexpire");
    /// Fields of a hash lost their deadlines.
    pub const HPERSIST: Self = Self::hash("hpersist");
    /// Fields of a hash were removed because their deadlines passed.
    pub const HEXPIRED: Self = Self::hash("hexpired");
    /// A value changed in a way that is no event: its encoding, or what it remembers of itself.
    pub const UNANNOUNCED: Self = Self { class: EventClass::None, name: "" };
    /// A key was deleted.
    pub const DEL: Self = Self::generic("del");
    /// A key got a deadline.
    pub const EXPIRE: Self = Self::generic("expire");
    /// A key lost its deadline.
    pub const PERSIST: Self = Self::generic("persist");
    /// A key got another name: the old one.
    pub const RENAME_FROM: Self = Self::generic("rename_from");
    /// A key got another name: the new one.
    pub const RENAME_TO: Self = Self::generic("rename_to");
    /// A key moved to another database: in the old one.
    pub const MOVE_FROM: Self = Self::generic("move_from");
    /// A key moved to another database: in the new one.
    pub const MOVE_TO: Self = Self::generic("move_to");
    /// A key was copied to this one.
    pub const COPY_TO: Self = Self::generic("copy_to");
    /// A key's deadline passed and it was removed.
    pub const EXPIRED: Self = Self { class: EventClass::Expired, name: "expired" };
}
