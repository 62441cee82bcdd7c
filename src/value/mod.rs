//! The types a key can hold and which encoding each is in.
//!
//! Owns what a value is and when its encoding converts. Must not know its key, deadlines, clients or
//! commands. Keeps: an encoding is reported under Redis's names; a value's size is what the
//! allocator gave it.
//!
//! Strings up to some length, integers and small collections have no [`Value`]: they live inside
//! their entry (see `keyspace::entry` and [`packed`]). A `Value` is what an entry points to.
//!
//! A collection's file holds its view, which reads both forms, and its editor, which changes a
//! [`packed::Place`] and converts it from one form to the other.

pub mod bitmap;
mod hash;
pub mod limits;
mod list;
pub mod packed;
mod reading;
mod set;
pub mod stream;
mod string;
pub mod zset;

use std::sync::Arc;

use crate::base::hash::KeyHasher;
use crate::encoding::quicklist::Quicklist;
use crate::encoding::set_table::SetTable;
pub use hash::{FieldTtl, Hash, HashMut, HashTable, HashValue, HashView, reply_item};
use limits::Limits;
pub use list::{List, ListMut, ListView};
use packed::{Packed, PackedForm, Place};
pub use reading::{ItemEncoder, ValueReading};
pub use set::{Probe, Set, SetMut, SetView};
use stream::Stream;
pub use string::{NewStr, Str, StrView};
use zset::ScoredSet;

/// Strings up to this length are freed at once, in bytes.
const FREE_AT_ONCE_LEN: usize = 64 * 1024;

/// Collections of up to this many elements are freed at once (Redis: LAZYFREE_THRESHOLD).
pub const FREE_AT_ONCE_ELEMENTS: usize = 64;

/// The type of a value, as TYPE and SCAN's TYPE option name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Bytes or an integer.
    String,
    /// A sequence of strings.
    List,
    /// Strings without order or repetition.
    Set,
    /// Members ordered by their scores.
    ZSet,
    /// Fields and their values.
    Hash,
    /// Entries with ascending ids.
    Stream,
}

impl Type {
    /// How many types there are.
    pub const COUNT: usize = 6;

    /// The name clients see.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::ZSet => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
        }
    }
}

/// A value with memory of its own.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string too long to lie in its entry. Replies share it.
    Str(Arc<Vec<u8>>),
    /// A list too long to be packed.
    List(Box<Quicklist>),
    /// A large hash, or one with deadlines.
    Hash(HashTable),
    /// A large set.
    Set(SetTable),
    /// A large sorted set.
    ZSet(Box<ScoredSet>),
    /// A stream of any length.
    Stream(Box<Stream>),
}

impl Value {
    /// The value's type.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Str(_) => Type::String,
            Self::List(_) => Type::List,
            Self::Hash(_) => Type::Hash,
            Self::Set(_) => Type::Set,
            Self::ZSet(_) => Type::ZSet,
            Self::Stream(_) => Type::Stream,
        }
    }

    /// What OBJECT ENCODING reports.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Str(_) => "raw",
            Self::List(items) => list::encoding(items),
            Self::Hash(_) => "hashtable",
            Self::Set(_) => "hashtable",
            Self::ZSet(_) => "skiplist",
            Self::Stream(_) => "stream",
        }
    }

    /// Bytes of memory behind the pointer to the value.
    pub fn memory(&self) -> usize {
        /// Two counters and the three words of a `Vec`.
        const SHARED_HEAD: usize = 40;
        match self {
            Self::Str(bytes) => size_of::<Self>() + SHARED_HEAD + bytes.capacity(),
            Self::List(items) => size_of::<Self>() + size_of_val(&**items) + items.memory(),
            Self::Hash(table) => size_of::<Self>() + table.memory(),
            Self::Set(table) => size_of::<Self>() + table.memory(),
            Self::ZSet(set) => size_of::<Self>() + set.memory(),
            Self::Stream(stream) => size_of::<Self>() + size_of_val(&**stream) + stream.memory(),
        }
    }

    /// Like [`Self::memory`], but told at once however large the value is, and the same for the same
    /// content, so that differences add up.
    pub fn weight(&self) -> usize {
        match self {
            Self::List(items) => size_of::<Self>() + size_of_val(&**items) + items.weight(),
            Self::ZSet(set) => size_of::<Self>() + set.weight(),
            other => other.memory(),
        }
    }

    /// Whether freeing the value takes so long that another thread should do it.
    pub fn is_costly_to_free(&self) -> bool {
        match self {
            Self::Str(bytes) => bytes.len() > FREE_AT_ONCE_LEN,
            Self::List(items) => items.node_count() > FREE_AT_ONCE_ELEMENTS,
            Self::Hash(table) => table.len() > FREE_AT_ONCE_ELEMENTS,
            Self::Set(table) => table.len() > FREE_AT_ONCE_ELEMENTS,
            Self::ZSet(set) => set.len() > FREE_AT_ONCE_ELEMENTS,
            Self::Stream(stream) => stream.free_effort() > FREE_AT_ONCE_ELEMENTS,
        }
    }

    /// The value as a reader sees it.
    pub fn view(&self) -> ValueView<'_> {
        match self {
            Self::Str(bytes) => ValueView::Str(StrView::Shared(bytes)),
            Self::List(_) | Self::Hash(_) | Self::Set(_) | Self::ZSet(_) | Self::Stream(_) => {
                ValueView::Object(self)
            }
        }
    }

    /// Tells those who read the value that its key has another name now.
    pub fn note_moved(&mut self, name: &[u8]) {
        match self {
            Self::Set(members) => members.note_moved(name),
            Self::Hash(fields) => fields.note_moved(name),
            Self::ZSet(set) => set.note_moved(name),
            Self::Str(_) | Self::List(_) | Self::Stream(_) => {}
        }
    }

    /// Asks for the memory of elements that are about to be looked for.
    pub fn prefetch<'e>(&self, elements: impl Iterator<Item = &'e [u8]>) {
        match self {
            Self::Hash(table) => table.prefetch(elements),
            Self::Set(table) => table.prefetch(elements),
            _ => {}
        }
    }

    /// Whether a collection has no element, and its key therefore is to go. A stream may be empty.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Str(_) | Self::Stream(_) => false,
            Self::List(items) => items.is_empty(),
            Self::Hash(table) => table.is_empty(),
            Self::Set(table) => table.is_empty(),
            Self::ZSet(set) => set.is_empty(),
        }
    }

    /// Removes parts that expired at or before `now_ms`, within `budget`, which is reduced; adds
    /// their names to `removed`.
    pub fn expire_parts(&mut self, now_ms: i64, budget: &mut usize, removed: &mut Vec<Box<[u8]>>) {
        if let Self::Hash(table) = self {
            table.expire(now_ms, budget, removed);
        }
    }

    /// No part of the value expires before this, in Unix milliseconds; `None` when none ever does.
    pub fn due_at_ms(&self) -> Option<i64> {
        match self {
            Self::Hash(table) => table.min_expire_ms(),
            _ => None,
        }
    }
}

/// A value in place.
#[derive(Clone, Copy, Debug)]
pub enum ValueView<'a> {
    /// A string.
    Str(StrView<'a>),
    /// A small collection.
    Packed(Packed<'a>),
    /// A large collection.
    Object(&'a Value),
}

impl<'a> ValueView<'a> {
    /// The value's type.
    pub fn type_of(self) -> Type {
        match self {
            Self::Str(_) => Type::String,
            Self::Packed(packed) => packed.form.type_of(),
            Self::Object(object) => object.type_of(),
        }
    }

    /// What OBJECT ENCODING reports.
    pub fn encoding(self) -> &'static str {
        match self {
            Self::Str(value) => value.encoding(),
            Self::Packed(packed) => packed.form.encoding(),
            Self::Object(object) => object.encoding(),
        }
    }

    /// Bytes of a string, elements of a collection.
    pub fn len(self) -> usize {
        match self {
            Self::Str(text) => text.len(),
            Self::Packed(packed) => match packed.form.type_of() {
                Type::List => List::of(self).map_or(0, |list| list.len()),
                Type::Set => Set::of(self).map_or(0, SetView::len),
                Type::ZSet => zset::ZSet::of(self).map_or(0, zset::ZSetView::len),
                _ => Hash::of(self).map_or(0, HashView::len),
            },
            Self::Object(object) => match object {
                Value::Str(bytes) => bytes.len(),
                Value::List(items) => items.len(),
                Value::Hash(table) => table.len(),
                Value::Set(table) => table.len(),
                Value::ZSet(set) => set.len(),
                Value::Stream(stream) => stream.len() as usize,
            },
        }
    }

    /// Whether the value is a collection without elements.
    pub fn is_empty(self) -> bool {
        match self {
            Self::Str(_) => false,
            Self::Packed(packed) => packed.body.is_empty(),
            Self::Object(object) => object.is_empty(),
        }
    }

    /// The value, if it is of type `K`.
    #[inline]
    pub fn of<K: Kind>(self) -> Result<K::View<'a>, WrongType> {
        K::of(self).ok_or(WrongType)
    }
}

/// The key holds another type than the command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongType;

/// A type of value, for typed access.
pub trait Kind {
    /// What a read of the type yields.
    type View<'a>;

    /// The value, if it is of this type.
    fn of(value: ValueView<'_>) -> Option<Self::View<'_>>;
}

/// A collection in which nothing is yet.
#[derive(Clone, Copy, Debug)]
pub enum Fresh {
    /// It lies in its entry.
    Packed(PackedForm),
    /// It is an object from the beginning.
    Object(fn() -> Value),
}

/// A type of collection, for changing one in its place.
pub trait Collection: Kind {
    /// What a new one is before anything is in it.
    const FRESH: Fresh;

    /// What changes one.
    type Edit<'a>;

    /// An editor of the collection at `place`, which is of this type.
    fn edit<'a>(place: &'a mut dyn Place, context: EditContext<'a>) -> Self::Edit<'a>;
}

/// What editors need besides the collection.
#[derive(Clone, Copy)]
pub struct EditContext<'a> {
    /// Where encodings convert.
    pub limits: &'a Limits,
    /// The hasher of keys and of the elements of large collections.
    pub hasher: &'a KeyHasher,
    /// The time at which the command runs, in Unix milliseconds.
    pub now_ms: i64,
}
