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
    /// `t`: streams.
    Stream,
    /// `x`: a key expired.
    Expired,
    /// `e`: a key was evicted.
    Evicted,
    /// `m`: a key was read that was not there.
    Miss,
    /// `n`: a key was made.
    New,
    /// No notification: only who watches the key learns of the change.
    None,
}

impl EventClass {
    /// The classes that have a letter, with it.
    const LETTERS: [(Self, u8); 11] = [
        (Self::Generic, b'g'),
        (Self::String, b'$'),
        (Self::List, b'l'),
        (Self::Set, b's'),
        (Self::Hash, b'h'),
        (Self::ZSet, b'z'),
        (Self::Stream, b't'),
        (Self::Expired, b'x'),
        (Self::Evicted, b'e'),
        (Self::Miss, b'm'),
        (Self::New, b'n'),
    ];
}

/// Which events are published and on which channels, as `notify-keyspace-events` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventClasses(u32);

impl EventClasses {
    const KEYSPACE: u32 = 1 << 16;
    const KEYEVENT: u32 = 1 << 17;

    /// The classes of the letters `text`; `A` is all but misses and new keys.
    pub fn parse(text: &str) -> Self {
        let bit = |letter: u8| {
            let classes = EventClass::LETTERS.iter();
            classes
                .filter(|(_, l)| *l == letter)
                .fold(0, |bits, (class, _)| bits | 1 << *class as u32)
        };
        let bits = text.bytes().fold(0, |bits, letter| match letter {
            b'K' => bits | Self::KEYSPACE,
            b'E' => bits | Self::KEYEVENT,
            b'A' => b"g$lshzxet".iter().fold(bits, |bits, letter| bits | bit(*letter)),
            letter => bits | bit(letter),
        });
        Self(bits)
    }

    /// The set as a number, for [`Self::from_bits`].
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The set of that number.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether events of that class are published.
    pub fn has(self, class: EventClass) -> bool {
        self.0 & 1 << class as u32 != 0 && class != EventClass::None
    }

    /// Whether the channel of the key gets the event.
    pub fn by_key(self) -> bool {
        self.0 & Self::KEYSPACE != 0
    }

    /// Whether the channel of the event gets the key.
    pub fn by_event(self) -> bool {
        self.0 & Self::KEYEVENT != 0
    }

    /// Whether anything is published at all.
    pub fn any(self) -> bool {
        let channels = Self::KEYSPACE | Self::KEYEVENT;
        self.0 & channels != 0 && self.0 & !channels != 0
    }
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

    /// An event of streams.
    pub const fn stream(name: &'static str) -> Self {
        Self { class: EventClass::Stream, name }
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
    /// A key was made of a payload.
    pub const RESTORE: Self = Self::generic("restore");
    /// A key was read that was not there.
    pub const MISS: Self = Self { class: EventClass::Miss, name: "keymiss" };
    /// A key was made.
    pub const NEW: Self = Self { class: EventClass::New, name: "new" };
    /// A key's deadline passed and it was removed.
    pub const EXPIRED: Self = Self { class: EventClass::Expired, name: "expired" };
    /// It went because memory was full.
    pub const EVICTED: Self = Self { class: EventClass::Evicted, name: "evicted" };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_choose_classes() {
        let all = EventClasses::parse("AKE");
        assert!(all.any() && all.by_key() && all.by_event());
        assert!(all.has(EventClass::Generic) && all.has(EventClass::Evicted));
        assert!(!all.has(EventClass::Miss) && !all.has(EventClass::New));
        assert!(!all.has(EventClass::None));
        let some = EventClasses::parse("Exmn");
        assert!(some.has(EventClass::Expired) && some.has(EventClass::Miss));
        assert!(!some.has(EventClass::String) && !some.by_key());
        // Without a channel, or without a class, there is nothing to publish.
        assert!(!EventClasses::parse("A").any() && !EventClasses::parse("KE").any());
        assert_eq!(EventClasses::from_bits(some.bits()), some);
    }
}
