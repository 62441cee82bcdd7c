//! Small collections: one run of bytes, kept inside the entry of their key.
//!
//! The bytes are the body of a Redis listpack (its entries, without the 6-byte header and the end
//! mark) or of an intset (sorted little-endian integers, without the 8-byte header). Header and end
//! mark say nothing that the entry does not know; they are put back where bytes leave the server.
//!
//! Owns the forms and what a place to keep them in must offer. Must not know entries.

use std::ops::Range;

use super::{Fresh, Type, Value};

/// Longest body, in bytes; what grows longer becomes an object of its own.
pub const PACKED_LEN_MAX: usize = 60 * 1024;

/// Most items that a place counts; beyond, they are counted when somebody asks.
pub const PACKED_COUNT_MAX: usize = 254;

/// What a packed body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackedForm {
    /// A list: a listpack of its elements.
    List,
    /// A hash: a listpack of fields, each followed by its value.
    Hash,
    /// A set: a listpack of members.
    Set,
    /// A sorted set: a listpack of members in order, each followed by its score.
    ZSet,
    /// A set of integers of 16 bits.
    Ints16,
    /// A set of integers of 32 bits.
    Ints32,
    /// A set of integers of 64 bits.
    Ints64,
}

impl PackedForm {
    /// The type of such a value.
    pub fn type_of(self) -> Type {
        match self {
            Self::List => Type::List,
            Self::Hash => Type::Hash,
            Self::Set | Self::Ints16 | Self::Ints32 | Self::Ints64 => Type::Set,
            Self::ZSet => Type::ZSet,
        }
    }

    /// What OBJECT ENCODING reports.
    pub fn encoding(self) -> &'static str {
        match self {
            Self::List | Self::Hash | Self::Set | Self::ZSet => "listpack",
            Self::Ints16 | Self::Ints32 | Self::Ints64 => "intset",
        }
    }
}

/// A small collection in place.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    /// What the body is.
    pub form: PackedForm,
    /// How many items there are (pairs of a hash or sorted set are one item); `None` where there
    /// are more than [`PACKED_COUNT_MAX`].
    pub count: Option<usize>,
    /// The bytes.
    pub body: &'a [u8],
}

/// Where one collection is kept, packed or as an object.
pub trait Place {
    /// The packed collection; `None` when it is an object.
    fn packed(&self) -> Option<Packed<'_>>;

    /// Replaces the bytes `at` of the packed body by `with`; `count` items there are afterwards.
    fn splice(&mut self, at: Range<usize>, with: &[u8], count: usize);

    /// Replaces the collection by a packed one.
    fn set_packed(&mut self, form: PackedForm, body: &[u8], count: usize);

    /// Replaces the collection by an object.
    fn set_object(&mut self, object: Value);

    /// The object; `None` when the collection is packed.
    fn object(&self) -> Option<&Value>;

    /// The object, for changing it.
    fn object_mut(&mut self) -> Option<&mut Value>;
}

/// A place of its own, for building a collection that no key holds yet.
#[derive(Debug)]
pub struct Draft {
    form: PackedForm,
    count: usize,
    body: Vec<u8>,
    object: Option<Value>,
}

impl Draft {
    /// An empty collection.
    pub fn new(form: PackedForm) -> Self {
        Self { form, count: 0, body: Vec::new(), object: None }
    }

    /// A new collection, as [`super::Collection::FRESH`] has it.
    pub fn fresh(fresh: Fresh) -> Self {
        match fresh {
            Fresh::Packed(form) => Self::new(form),
            Fresh::Object(new) => Self { object: Some(new()), ..Self::new(PackedForm::List) },
        }
    }

    /// What was built, as a packed collection or as an object.
    pub fn finish(&mut self) -> Result<Packed<'_>, Value> {
        match self.object.take() {
            Some(object) => Err(object),
            None => Ok(self.bytes()),
        }
    }

    fn bytes(&self) -> Packed<'_> {
        let count = (self.count <= PACKED_COUNT_MAX).then_some(self.count);
        Packed { form: self.form, count, body: &self.body }
    }
}

impl Place for Draft {
    fn packed(&self) -> Option<Packed<'_>> {
        self.object.is_none().then(|| self.bytes())
    }

    fn splice(&mut self, at: Range<usize>, with: &[u8], count: usize) {
        if at.start == self.body.len() {
            self.body.extend_from_slice(with);
        } else {
            self.body.splice(at, with.iter().copied());
        }
        self.count = count;
    }

    fn set_packed(&mut self, form: PackedForm, body: &[u8], count: usize) {
        *self = Self { form, count, body: body.to_vec(), object: None };
    }

    fn set_object(&mut self, object: Value) {
        self.body = Vec::new();
        self.object = Some(object);
    }

    fn object(&self) -> Option<&Value> {
        self.object.as_ref()
    }

    fn object_mut(&mut self) -> Option<&mut Value> {
        self.object.as_mut()
    }
}
