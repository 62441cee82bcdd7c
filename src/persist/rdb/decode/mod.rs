//! Bytes to values, of every kind that Redis and Valkey have written.
//!
//! Owns which value a kind stands for and in which encoding it is kept, which is the one that the
//! limits of this server ask for. Must not know keys or files. Keeps: what is decoded was checked
//! whole, so that no later command meets anything unexpected in it: packed bodies are sound, names
//! are there once, scores are numbers in order; a collection has at least one element.

mod hash;
mod list;
mod set;
mod stream;
#[cfg(test)]
pub(super) mod tests;
mod zset;

use std::borrow::Cow;
use std::sync::Arc;

use super::error::RdbError;
use super::read::{Head, Scratch, Slice, Source, Text};
use super::stream::Layout;
use super::{kind, ziplist};
use crate::base::hash::KeyHasher;
use crate::base::limits::INLINE_VALUE_MAX;
use crate::encoding::Corrupt;
use crate::encoding::listpack::{self, Item, Listpack};
use crate::keyspace::NewValue;
use crate::value::limits::Limits;
use crate::value::packed::{Draft, PACKED_COUNT_MAX, Packed, PackedForm};
use crate::value::stream::Idempotence;
use crate::value::{EditContext, NewStr, Type, Value};

/// Whose meaning the kinds have that Redis and Valkey use differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Redis.
    Redis,
    /// Valkey 9.0 and later.
    Valkey,
}

/// What decoding depends on beside the bytes.
#[derive(Clone, Copy)]
pub struct Decoder<'a> {
    /// Where encodings convert, and the hasher of large collections.
    pub context: EditContext<'a>,
    /// Whose file it is.
    pub dialect: Dialect,
    /// Whether fields that had expired by the context's time are left out, as Valkey does for files
    /// that it loads as a primary. Redis keeps them to be expired as always.
    pub drops_fields: bool,
}

/// A decoded value, on its way into the keyspace.
#[derive(Debug)]
pub enum Restored<'a> {
    /// A string that is an integer.
    Int(i64),
    /// A string short enough to lie in its entry.
    Text(Cow<'a, [u8]>),
    /// A longer one.
    Shared(Arc<Vec<u8>>),
    /// A small collection.
    Packed {
        /// What the body is.
        form: PackedForm,
        /// How many items it has.
        count: usize,
        /// Its bytes.
        body: Cow<'a, [u8]>,
    },
    /// A large collection; `None` once it was taken.
    Object(Option<Box<Value>>),
}

impl<'a> Restored<'a> {
    fn object(value: Value) -> Self {
        Self::Object(Some(Box::new(value)))
    }

    /// Gives a stream what its producers may send again; other values have none.
    pub fn remember(&mut self, known: Box<Idempotence>) {
        if let Self::Object(Some(object)) = self
            && let Value::Stream(stream) = &mut **object
        {
            stream.set_idempotence(known);
        }
    }

    /// The value as the keyspace stores it. An object is handed over, so this is to be asked once.
    ///
    /// # Panics
    ///
    /// When it is asked for an object again.
    pub fn as_new_value(&mut self) -> NewValue<'_> {
        match self {
            Self::Int(value) => NewValue::Str(NewStr::Int(*value)),
            Self::Text(bytes) => NewValue::Str(NewStr::Bytes { bytes, raw: false }),
            Self::Shared(bytes) => NewValue::Str(NewStr::Shared(Arc::clone(bytes))),
            Self::Packed { form, count, body } => {
                let count = (*count <= PACKED_COUNT_MAX).then_some(*count);
                NewValue::Packed(Packed { form: *form, count, body })
            }
            Self::Object(value) => {
                NewValue::Object(value.take().expect("an object is handed over once"))
            }
        }
    }

    /// The value's type.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Int(_) | Self::Text(_) | Self::Shared(_) => Type::String,
            Self::Packed { form, .. } => form.type_of(),
            Self::Object(value) => value.as_ref().map_or(Type::String, |value| value.type_of()),
        }
    }

    /// The value with bytes of its own.
    pub fn into_owned(self) -> Restored<'static> {
        match self {
            Self::Int(value) => Restored::Int(value),
            Self::Text(bytes) => Restored::Text(Cow::Owned(bytes.into_owned())),
            Self::Shared(bytes) => Restored::Shared(bytes),
            Self::Packed { form, count, body } => {
                Restored::Packed { form, count, body: Cow::Owned(body.into_owned()) }
            }
            Self::Object(value) => Restored::Object(value),
        }
    }
}

/// The value of a DUMP payload without its first byte, `kind`, and without its footer.
///
/// The kind that Redis and Valkey use differently is taken as Valkey's: Redis has written it in
/// release candidates only.
pub fn decode_payload(
    body: &[u8],
    kind: u8,
    limits: &Limits,
    hasher: &KeyHasher,
    now_ms: i64,
) -> Result<Restored<'static>, RdbError> {
    let context = EditContext { limits, hasher, now_ms };
    let decoder = Decoder { context, dialect: Dialect::Valkey, drops_fields: false };
    let (mut source, mut scratch) = (Slice::new(body, 1), Scratch::default());
    decoder.value(kind, &mut source, &mut scratch).map(Restored::into_owned)
}

impl Decoder<'_> {
    /// The value of `kind` that `source` goes on with, which it or `scratch` may lend bytes to.
    pub fn value<'s, S: Source>(
        &self,
        kind: u8,
        source: &'s mut S,
        scratch: &'s mut Scratch,
    ) -> Result<Restored<'s>, RdbError> {
        match kind {
            kind::STRING => string(source, scratch),
            kind::LIST | kind::LIST_ZIPLIST | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => {
                self.list(kind, source, scratch)
            }
            kind::SET => self.set(source, scratch),
            kind::SET_INTSET => self.set_intset(source, scratch),
            kind::SET_LISTPACK => self.set_listpack(source, scratch),
            kind::ZSET | kind::ZSET_2 => self.zset(kind, source, scratch),
            kind::ZSET_ZIPLIST => self.zset_ziplist(source, scratch),
            kind::ZSET_LISTPACK => self.zset_listpack(source, scratch),
            kind::HASH => self.hash(source, scratch),
            kind::HASH_ZIPMAP | kind::HASH_ZIPLIST => self.hash_old(kind, source, scratch),
            kind::HASH_LISTPACK => self.hash_listpack(source, scratch),
            kind::VALKEY_HASH_2 if self.dialect == Dialect::Valkey => {
                self.valkey_hash(source, scratch)
            }
            kind::HASH_METADATA_PRE_GA | kind::HASH_METADATA => {
                self.hash_metadata(kind, source, scratch)
            }
            kind::HASH_LISTPACK_EX_PRE_GA | kind::HASH_LISTPACK_EX => {
                self.hash_listpack_ex(kind, source, scratch)
            }
            _ => match Layout::of(kind) {
                Some(layout) => self.stream((kind, layout), source, scratch),
                None => Err(refusal(kind, source)),
            },
        }
    }
}

/// Why there is no value of `kind`; `source` has read the kind, and goes on with the value.
pub(super) fn refusal<S: Source>(kind: u8, source: &mut S) -> RdbError {
    let at = source.at();
    match kind {
        kind::MODULE_2 => match source.len("module type") {
            Ok(id) => RdbError::Module { at, name: module_name(id) },
            Err(error) => error,
        },
        kind::MODULE_PRE_GA | kind::STREAM_LISTPACKS_4 | kind::STREAM_LISTPACKS_5 => {
            RdbError::Unsupported { at, kind, name: kind_name(kind).unwrap_or_default() }
        }
        _ => RdbError::Kind { at, kind },
    }
}

/// What redis-check-rdb calls a kind.
pub fn kind_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        kind::STRING => "string",
        kind::LIST => "list-linked",
        kind::SET => "set-hashtable",
        kind::ZSET => "zset-v1",
        kind::HASH => "hash-hashtable",
        kind::ZSET_2 => "zset-v2",
        kind::MODULE_PRE_GA => "module-pre-release",
        kind::MODULE_2 => "module-value",
        kind::HASH_ZIPMAP => "hash-zipmap",
        kind::LIST_ZIPLIST => "list-ziplist",
        kind::SET_INTSET => "set-intset",
        kind::ZSET_ZIPLIST => "zset-ziplist",
        kind::HASH_ZIPLIST => "hash-ziplist",
        kind::LIST_QUICKLIST => "quicklist",
        kind::STREAM_LISTPACKS => "stream",
        kind::HASH_LISTPACK => "hash-listpack",
        kind::ZSET_LISTPACK => "zset-listpack",
        kind::LIST_QUICKLIST_2 => "quicklist-v2",
        kind::STREAM_LISTPACKS_2 => "stream-v2",
        kind::SET_LISTPACK => "set-listpack",
        kind::STREAM_LISTPACKS_3 => "stream-v3",
        kind::HASH_METADATA_PRE_GA => "hash-hashtable-md-pre-release",
        kind::HASH_LISTPACK_EX_PRE_GA => "hash-listpack-md-pre-release",
        kind::HASH_METADATA => "hash-hashtable-md",
        kind::HASH_LISTPACK_EX => "hash-listpack-md",
        kind::STREAM_LISTPACKS_4 => "stream-v4",
        kind::STREAM_LISTPACKS_5 => "stream-v5",
        _ => return None,
    })
}

/// The name of a module's type, which its number spells in six bits a letter.
pub fn module_name(id: u64) -> [u8; 9] {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const VERSION_BITS: u64 = 10;
    const LAST: u64 = 8;
    std::array::from_fn(|n| {
        let shift = VERSION_BITS + 6 * (LAST - n as u64);
        LETTERS[(id >> shift & 0x3f) as usize]
    })
}

fn string<'s, S: Source>(
    source: &'s mut S,
    scratch: &'s mut Scratch,
) -> Result<Restored<'s>, RdbError> {
    let head = source.head("string")?;
    match head {
        Head::Plain(len) | Head::Lzf { len, .. } if len > INLINE_VALUE_MAX as u64 => {
            let text = source.owned_of(head, scratch, "string")?;
            Ok(Restored::Shared(Arc::new(text)))
        }
        _ => match source.text_of(head, scratch, "string")? {
            Text::Int(value) => Ok(Restored::Int(value)),
            Text::Bytes(bytes) => Ok(match NewStr::from_bytes(bytes) {
                NewStr::Int(value) => Restored::Int(value),
                _ => Restored::Text(Cow::Borrowed(bytes)),
            }),
        },
    }
}

/// The number of elements of a collection, which has some.
fn count<S: Source>(source: &mut S, what: &'static str) -> Result<u64, RdbError> {
    match source.len(what)? {
        0 => Err(RdbError::Empty),
        count => Ok(count),
    }
}

/// What a check of packed bytes that begin at `at` found.
fn damage(at: u64, what: &'static str) -> impl Fn(Corrupt) -> RdbError {
    move |corrupt| RdbError::Corrupt { at: at + corrupt.at as u64, what, why: corrupt.what }
}

/// The body of a listpack whose entries come in groups of `group`, and how many groups there are.
fn groups<'b>(
    whole: &'b [u8],
    at: u64,
    group: usize,
    what: &'static str,
) -> Result<(&'b [u8], usize), RdbError> {
    let (body, count) = listpack::check(whole).map_err(damage(at, what))?;
    if count == 0 {
        return Err(RdbError::Empty);
    }
    if !count.is_multiple_of(group) {
        return Err(RdbError::Corrupt { at, what, why: "Incomplete last entry" });
    }
    Ok((body, count / group))
}

/// Whether the first entries of all groups differ.
fn are_distinct(body: &[u8], group: usize, count: usize, hasher: &KeyHasher) -> bool {
    /// So many are compared with each other.
    const FEW: usize = 8;
    let names = || Listpack::new(body).iter().map(|(_, item)| item).step_by(group);
    if count <= FEW {
        let mut texts: [Item<'_>; FEW] = [Item::Int(0); FEW];
        for (n, name) in names().enumerate() {
            if texts[..n].iter().any(|other| same(*other, name)) {
                return false;
            }
            texts[n] = name;
        }
        return true;
    }
    let hash = |item: Item<'_>| hasher.hash(item.bytes(&mut [0; 20]));
    let mut hashes: Vec<u64> = names().map(hash).collect();
    hashes.sort_unstable();
    hashes.windows(2).all(|pair| pair[0] != pair[1])
}

/// Whether two items are the same text. One may be a text that the other spells as an integer.
fn same(one: Item<'_>, other: Item<'_>) -> bool {
    match (one, other) {
        (Item::Int(one), Item::Int(other)) => one == other,
        (Item::Bytes(one), Item::Bytes(other)) => one == other,
        (Item::Int(value), Item::Bytes(text)) | (Item::Bytes(text), Item::Int(value)) => {
            Item::Int(value).is(text)
        }
    }
}

/// The body of a listpack of the items of a ziplist, and how many they are.
fn of_ziplist(whole: &[u8], at: u64, what: &'static str) -> Result<(Vec<u8>, usize), RdbError> {
    let mut body = Vec::with_capacity(whole.len());
    let count = ziplist::for_each(whole, |item| match item {
        Item::Int(value) => listpack::encode_int(value, &mut body),
        Item::Bytes(text) => listpack::encode(text, &mut body),
    });
    count.map(|count| (body, count)).map_err(damage(at, what))
}

/// How many pairs `count` items are.
fn pairs(count: usize, at: u64, what: &'static str) -> Result<usize, RdbError> {
    match count {
        0 => Err(RdbError::Empty),
        _ if !count.is_multiple_of(2) => {
            Err(RdbError::Corrupt { at, what, why: "Incomplete last entry" })
        }
        _ => Ok(count / 2),
    }
}

/// What was built by an editor.
fn of_draft(mut draft: Draft) -> Restored<'static> {
    match draft.finish() {
        Ok(packed) => Restored::Packed {
            form: packed.form,
            count: packed.count.unwrap_or(PACKED_COUNT_MAX + 1),
            body: Cow::Owned(packed.body.to_vec()),
        },
        Err(object) => Restored::object(object),
    }
}
