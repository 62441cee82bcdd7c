//! Reading a large collection as it was at one instant, while it changes: see
//! `encoding::table::reading`.

use std::sync::Arc;

use super::Value;
use crate::encoding::field::{Field, FieldView};
use crate::encoding::member::Member;
use crate::encoding::scored_set::ScoredMember;
use crate::encoding::table::{Encode, SharedReading, Thin};

/// Writes items of collections out; who reads one type only writes nothing of the others.
pub trait ItemEncoder: Send + Sync {
    /// Writes a member of a set.
    fn member(&self, _member: &[u8], _out: &mut Vec<u8>) {}

    /// Writes a field of a hash.
    fn field(&self, _field: FieldView<'_>, _out: &mut Vec<u8>) {}

    /// Writes a member of a sorted set.
    fn scored(&self, _member: &[u8], _score: f64, _out: &mut Vec<u8>) {}
}

/// How far a collection has been read.
#[derive(Clone)]
pub enum ValueReading {
    /// A set.
    Set(SharedReading<Member>),
    /// A hash.
    Hash(SharedReading<Field>),
    /// A sorted set.
    ZSet(SharedReading<ScoredMember>),
}

/// The same for each kind of reading.
macro_rules! each {
    ($reading:expr, $shared:ident => $do:expr) => {
        match $reading {
            ValueReading::Set($shared) => $do,
            ValueReading::Hash($shared) => $do,
            ValueReading::ZSet($shared) => $do,
        }
    };
}

impl ValueReading {
    /// Begins to read all items of `value` as they are now, which come out as `encoder` writes them.
    /// `None` for what is no table, or a small one.
    pub fn begin(value: &mut Value, encoder: Arc<dyn ItemEncoder>) -> Option<Self> {
        match value {
            Value::Str(_) | Value::List(_) | Value::Stream(_) => None,
            Value::Set(set) => {
                let encode: Encode<Member> =
                    Arc::new(move |item, out| encoder.member(item.as_view().bytes(), out));
                set.begin_reading(encode).map(Self::Set)
            }
            Value::Hash(table) => {
                let encode: Encode<Field> =
                    Arc::new(move |item, out| encoder.field(item.as_view(), out));
                table.begin_reading(encode).map(Self::Hash)
            }
            Value::ZSet(set) => Some(Self::ZSet(set.begin_reading(encoder_of_scored(encoder)))),
        }
    }

    /// Reads about `count` items more; `false` if `value` is not what is being read.
    pub fn read_on(&self, value: &mut Value, count: usize) -> bool {
        match (self, value) {
            (Self::Set(reading), Value::Set(set)) => set.read_on(reading, count),
            (Self::Hash(reading), Value::Hash(table)) => table.read_on(reading, count),
            (Self::ZSet(reading), Value::ZSet(set)) => set.read_on(reading, count),
            _ => false,
        }
    }

    /// Reads about `count` items more if the collection was dropped; `false` if it was not.
    pub fn read_left(&self, count: usize) -> bool {
        each!(self, shared => shared.lock().read_left(count))
    }

    /// Ends the reading before it is complete.
    pub fn give_up(&self) {
        each!(self, shared => shared.lock().give_up());
    }

    /// Whether everything has been read.
    pub fn is_complete(&self) -> bool {
        each!(self, shared => shared.lock().is_complete())
    }

    /// Takes out what was read since the last time.
    pub fn take_bytes(&self) -> Vec<u8> {
        each!(self, shared => shared.lock().take_bytes())
    }

    /// The name of the collection's key since the last time, if it got another.
    pub fn take_moved_to(&self) -> Option<Box<[u8]>> {
        each!(self, shared => shared.lock().take_moved_to())
    }
}

fn encoder_of_scored(encoder: Arc<dyn ItemEncoder>) -> impl Fn(&[u8], f64, &mut Vec<u8>) {
    move |member, score, out| encoder.scored(member, score, out)
}
