//! Values as the format has them.
//!
//! What lies packed in memory is written as the listpack or intset that it is, with header and end
//! mark; what is a table, item by item. Collections that are written a piece at a time have a head
//! and items of their own here.

use super::{Format, Inexpressible, Usage, Version, idempotence, kind, write};
use crate::encoding::field::FieldView;
use crate::encoding::intset;
use crate::encoding::listpack::{self, Listpack};
use crate::encoding::quicklist::{NodeView, Quicklist};
use crate::keyspace::EntryView;
use crate::value::packed::{Packed, PackedForm};
use crate::value::stream::Stream;
use crate::value::zset::ScoredSet;
use crate::value::{HashTable, SetView, StrView, Value, ValueView};

mod stream;
#[cfg(test)]
mod tests;

pub use stream::{stream_groups, stream_head, stream_ids, stream_node};

/// A node of a list that is one text.
const NODE_PLAIN: usize = 1;
/// A node of a list that is a listpack.
const NODE_PACKED: usize = 2;

/// Valkey's deadline of a field that has none.
const NO_DEADLINE: i64 = -1;

/// Writes an entry: its deadline, its usage, then as [`value`] does.
///
/// # Errors
///
/// When the format cannot express the value; nothing is written then.
pub fn entry(
    out: &mut Vec<u8>,
    entry: EntryView<'_>,
    usage: Usage,
    format: Format,
) -> Result<(), Inexpressible> {
    let start = out.len();
    if let ValueView::Object(Value::Stream(stream)) = entry.value() {
        messages(out, stream, format.compress);
    }
    head(out, entry.deadline(), usage);
    value(out, entry.key(), entry.value(), format).inspect_err(|_| out.truncate(start))
}

/// Writes what producers of a stream may send again, which stands before all else of its entry.
pub fn messages(out: &mut Vec<u8>, stream: &Stream, compress: bool) {
    if let Some(known) = stream.idempotence() {
        idempotence::facts(out, known, compress);
    }
}

/// Writes what stands before an entry's kind: its deadline, in Unix milliseconds, and its usage.
pub fn head(out: &mut Vec<u8>, deadline: Option<i64>, usage: Usage) {
    if let Some(at_ms) = deadline {
        out.push(kind::EXPIRE_AT_MS);
        out.extend_from_slice(&at_ms.to_le_bytes());
    }
    if let Some(seconds) = usage.idle_seconds {
        out.push(kind::IDLE);
        write::len(out, usize::try_from(seconds).unwrap_or(usize::MAX));
    }
    if let Some(count) = usage.frequency {
        out.extend_from_slice(&[kind::FREQUENCY, count]);
    }
}

/// Writes kind, key and body, as they stand in a file.
///
/// # Errors
///
/// When the format cannot express the value; nothing is written then.
pub fn value(
    out: &mut Vec<u8>,
    key: &[u8],
    value: ValueView<'_>,
    format: Format,
) -> Result<(), Inexpressible> {
    let form = Form::of(value, format.version)?;
    out.push(form.kind());
    write::string(out, key, format.compress);
    form.body(out, format.compress);
    Ok(())
}

/// Writes kind and body, as they stand in a payload; returns the version for its footer.
///
/// # Errors
///
/// When the format cannot express the value; nothing is written then.
pub fn payload_value(
    out: &mut Vec<u8>,
    value: ValueView<'_>,
    format: Format,
) -> Result<Version, Inexpressible> {
    let form = Form::of(value, format.version)?;
    out.push(form.kind());
    form.body(out, format.compress);
    Ok(format.version)
}

/// Begins a list of `len` nodes; [`list_node`]s follow.
pub fn list_head(out: &mut Vec<u8>, key: &[u8], len: usize, format: Format) {
    collection_head(out, kind::LIST_QUICKLIST_2, key, format);
    write::len(out, len);
}

/// Writes a node of a list.
pub fn list_node(out: &mut Vec<u8>, node: NodeView<'_>, compress: bool) {
    match node {
        NodeView::Packed { body, count } => {
            write::len(out, NODE_PACKED);
            listpack(out, body, count, compress);
        }
        NodeView::Plain(text) => {
            write::len(out, NODE_PLAIN);
            write::string(out, text, compress);
        }
    }
}

/// Begins a hash of `len` fields without deadlines; [`hash_item`]s follow.
pub fn hash_head(out: &mut Vec<u8>, key: &[u8], len: usize, format: Format) {
    collection_head(out, kind::HASH, key, format);
    write::len(out, len);
}

/// Writes a field of a hash.
pub fn hash_item(out: &mut Vec<u8>, field: FieldView<'_>, compress: bool) {
    write::string(out, field.name(), compress);
    write::string(out, field.value(), compress);
}

/// Begins a hash of `len` fields of which some have deadlines, none before `min_ms`, in Unix
/// milliseconds and at least 1; [`field_hash_item`]s follow.
///
/// # Errors
///
/// When the version has no such deadlines; nothing is written then.
pub fn field_hash_head(
    out: &mut Vec<u8>,
    key: &[u8],
    len: usize,
    min_ms: i64,
    format: Format,
) -> Result<(), Inexpressible> {
    let layout = Layout::of(format.version, min_ms)?;
    collection_head(out, layout.kind(), key, format);
    layout.head(out, len);
    Ok(())
}

/// Writes a field of such a hash, with what [`field_hash_head`] was given.
///
/// # Panics
///
/// When the version has no such deadlines.
pub fn field_hash_item(out: &mut Vec<u8>, field: FieldView<'_>, min_ms: i64, format: Format) {
    let layout = Layout::of(format.version, min_ms).expect("the head was written in this version");
    layout.item(out, field, format.compress);
}

/// Begins a set of `len` members; [`set_item`]s follow.
pub fn set_head(out: &mut Vec<u8>, key: &[u8], len: usize, format: Format) {
    collection_head(out, kind::SET, key, format);
    write::len(out, len);
}

/// Writes a member of a set.
pub fn set_item(out: &mut Vec<u8>, member: &[u8], compress: bool) {
    write::string(out, member, compress);
}

/// Begins a sorted set of `len` members; [`zset_item`]s follow, the highest first if that is easy,
/// which loads fastest.
pub fn zset_head(out: &mut Vec<u8>, key: &[u8], len: usize, format: Format) {
    collection_head(out, kind::ZSET_2, key, format);
    write::len(out, len);
}

/// Writes a member of a sorted set.
pub fn zset_item(out: &mut Vec<u8>, member: &[u8], score: f64, compress: bool) {
    write::string(out, member, compress);
    write::double(out, score);
}

fn collection_head(out: &mut Vec<u8>, kind: u8, key: &[u8], format: Format) {
    out.push(kind);
    write::string(out, key, format.compress);
}

/// A value in the form in which it is to be written.
enum Form<'a> {
    Str(StrView<'a>),
    List(ListForm<'a>),
    /// A listpack, as it is, and the number of its entries.
    Listpack(u8, Listpack<'a>, usize),
    Ints(intset::Ints<'a>),
    Members(SetView<'a>),
    Scores(&'a ScoredSet),
    Fields(&'a HashTable),
    FieldsWithDeadlines(&'a HashTable, Layout),
    Stream(&'a Stream, Version),
}

enum ListForm<'a> {
    Packed(Listpack<'a>, usize),
    Nodes(&'a Quicklist),
}

impl<'a> Form<'a> {
    fn of(value: ValueView<'a>, version: Version) -> Result<Self, Inexpressible> {
        Ok(match value {
            ValueView::Str(text) => Self::Str(text),
            ValueView::Packed(packed) => Self::of_packed(packed, version),
            ValueView::Object(Value::Str(text)) => Self::Str(StrView::Shared(text)),
            ValueView::Object(Value::List(items)) => Self::List(ListForm::Nodes(items)),
            ValueView::Object(Value::Set(members)) => Self::Members(SetView::Table(members)),
            ValueView::Object(Value::ZSet(set)) => Self::Scores(set),
            ValueView::Object(Value::Stream(stream)) => Self::Stream(stream, version),
            ValueView::Object(Value::Hash(fields)) => match earliest(fields) {
                Some(min_ms) => Self::FieldsWithDeadlines(fields, Layout::of(version, min_ms)?),
                None => Self::Fields(fields),
            },
        })
    }

    fn of_packed(packed: Packed<'a>, version: Version) -> Self {
        let list = Listpack::new(packed.body);
        let entries = |each: usize| packed.count.map_or_else(|| list.count(), |items| items * each);
        match packed.form {
            PackedForm::List => Self::List(ListForm::Packed(list, entries(1))),
            PackedForm::Hash => Self::Listpack(kind::HASH_LISTPACK, list, entries(2)),
            PackedForm::ZSet => Self::Listpack(kind::ZSET_LISTPACK, list, entries(2)),
            PackedForm::Set if version >= Version::V11 => {
                Self::Listpack(kind::SET_LISTPACK, list, entries(1))
            }
            PackedForm::Set => Self::Members(SetView::Listpack { list, count: Some(entries(1)) }),
            PackedForm::Ints16 => Self::Ints(intset::Ints::new(packed.body, intset::Width::W16)),
            PackedForm::Ints32 => Self::Ints(intset::Ints::new(packed.body, intset::Width::W32)),
            PackedForm::Ints64 => Self::Ints(intset::Ints::new(packed.body, intset::Width::W64)),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Str(_) => kind::STRING,
            Self::List(_) => kind::LIST_QUICKLIST_2,
            Self::Listpack(kind, ..) => *kind,
            Self::Ints(_) => kind::SET_INTSET,
            Self::Members(_) => kind::SET,
            Self::Scores(_) => kind::ZSET_2,
            Self::Fields(_) => kind::HASH,
            Self::FieldsWithDeadlines(_, layout) => layout.kind(),
            Self::Stream(_, version) => stream::kind_of(*version),
        }
    }

    fn body(&self, out: &mut Vec<u8>, compress: bool) {
        match self {
            Self::Str(StrView::Int(value)) => write::integer(out, *value),
            Self::Str(text) => write::string(out, text.bytes(&mut [0; 20]), compress),
            Self::List(ListForm::Packed(list, count)) => {
                write::len(out, 1);
                write::len(out, NODE_PACKED);
                listpack(out, list.body(), *count, compress);
            }
            Self::List(ListForm::Nodes(items)) => nodes(out, items, compress),
            Self::Listpack(_, list, count) => listpack(out, list.body(), *count, compress),
            Self::Ints(ints) => {
                let whole = [&intset::header(*ints)[..], ints.body()].concat();
                write::string(out, &whole, compress);
            }
            Self::Members(members) => {
                write::len(out, members.len());
                members.iter().for_each(|item| set_item(out, item.bytes(&mut [0; 20]), compress));
            }
            Self::Scores(set) => {
                write::len(out, set.len());
                let highest_first = set.range(0..set.len()).rev();
                highest_first.for_each(|(member, score)| zset_item(out, member, score, compress));
            }
            Self::Fields(fields) => {
                write::len(out, fields.len());
                fields.for_each(|field| hash_item(out, field, compress));
            }
            Self::FieldsWithDeadlines(fields, layout) => {
                layout.head(out, fields.len());
                fields.for_each(|field| layout.item(out, field, compress));
            }
            Self::Stream(stream, version) => {
                stream::body(out, stream, Format { version: *version, compress });
            }
        }
    }
}

/// Writes a whole listpack of `count` entries.
fn listpack(out: &mut Vec<u8>, body: &[u8], count: usize, compress: bool) {
    let whole = [&listpack::header(body, count)[..], body, &[listpack::END]].concat();
    write::string(out, &whole, compress);
}

fn nodes(out: &mut Vec<u8>, items: &Quicklist, compress: bool) {
    write::len(out, items.node_count());
    items.for_each_node(|node| list_node(out, node, compress));
}

/// The earliest deadline of a field; the table itself knows one that may be too early.
fn earliest(fields: &HashTable) -> Option<i64> {
    fields.min_expire_ms()?;
    let mut min: Option<i64> = None;
    fields.for_each(|field| {
        if let Some(at_ms) = field.deadline() {
            min = Some(min.map_or(at_ms, |min| min.min(at_ms)));
        }
    });
    min
}

/// How fields and their deadlines are written.
#[derive(Clone, Copy)]
enum Layout {
    /// From a minimum on that stands before them, plus 1, as a length; 0 for none.
    Redis { min_ms: i64 },
    /// Eight bytes behind the value.
    Valkey,
}

impl Layout {
    fn of(version: Version, min_ms: i64) -> Result<Self, Inexpressible> {
        match version {
            Version::V10 | Version::V11 => Err(Inexpressible(version)),
            Version::V12 => Ok(Self::Redis { min_ms }),
            Version::V80 => Ok(Self::Valkey),
        }
    }

    fn kind(self) -> u8 {
        match self {
            Self::Redis { .. } => kind::HASH_METADATA,
            Self::Valkey => kind::VALKEY_HASH_2,
        }
    }

    fn head(self, out: &mut Vec<u8>, len: usize) {
        if let Self::Redis { min_ms } = self {
            out.extend_from_slice(&min_ms.to_le_bytes());
        }
        write::len(out, len);
    }

    fn item(self, out: &mut Vec<u8>, field: FieldView<'_>, compress: bool) {
        match self {
            Self::Redis { min_ms } => {
                let beyond = |at_ms: i64| usize::try_from(at_ms - min_ms).unwrap_or(0) + 1;
                write::len(out, field.deadline().map_or(0, beyond));
                hash_item(out, field, compress);
            }
            Self::Valkey => {
                hash_item(out, field, compress);
                let at_ms = field.deadline().unwrap_or(NO_DEADLINE);
                out.extend_from_slice(&at_ms.to_le_bytes());
            }
        }
    }
}
