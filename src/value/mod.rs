//! The types a key can hold and which encoding each is in.
//!
//! Owns what a value is and when its encoding converts. Must not know its key, deadlines, clients or
//! commands. Keeps: an encoding is reported under Redis's names; a value's size is what the
//! allocator gave it.
//!
//! Short strings and integers have no [`Value`]: they live inside their entry (see
//! `keyspace::entry`). A `Value` is what an entry points to.

mod string;

use std::sync::Arc;

pub use string::{NewStr, StrView};

/// The type of a value, as TYPE and SCAN's TYPE option name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Bytes or an integer.
    String,
}

impl Type {
    /// The name clients see.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
        }
    }
}

/// A value with memory of its own.
#[derive(Debug)]
pub enum Value {
    /// A string too long to lie in its entry. Replies share it.
    Str(Arc<Vec<u8>>),
}

impl Value {
    /// The value's type.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Str(_) => Type::String,
        }
    }

    /// Bytes of memory behind the pointer to the value.
    pub fn memory(&self) -> usize {
        /// Two counters and the three words of a `Vec`.
        const SHARED_HEAD: usize = 40;
        match self {
            Self::Str(bytes) => size_of::<Self>() + SHARED_HEAD + bytes.capacity(),
        }
    }
}
