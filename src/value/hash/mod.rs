//! Hashes: fields and their values, packed or in a table; what OBJECT ENCODING calls listpack and
//! hashtable.
//!
//! A packed hash is a listpack of each field followed by its value. It becomes a table when it has
//! more than `hash-max-listpack-entries` fields, when a field or value is longer than
//! `hash-max-listpack-value`, or when a field gets a deadline; then it stays one.
//!
//! Owns both forms and their conversion. Must not know keys or events. Keeps: readers that say what
//! time it is do not see fields whose deadline has passed; `len` counts those until somebody removes
//! them, as in Redis.

mod edit;
mod table;
#[cfg(test)]
mod tests;

pub use edit::{FieldTtl, HashMut};
pub use table::HashTable;

use super::packed::{Packed, PackedForm, Place};
use super::{Collection, EditContext, Fresh, Kind, Value, ValueView};
use crate::base::number;
use crate::base::random::Random;
use crate::encoding::field::FieldView;
use crate::encoding::listpack::{Item, Listpack};
use crate::resp::ReplyBuf;

/// Hashes.
pub struct Hash;

impl Kind for Hash {
    type View<'a> = HashView<'a>;

    #[inline]
    fn of(value: ValueView<'_>) -> Option<HashView<'_>> {
        match value {
            ValueView::Packed(packed) if packed.form == PackedForm::Hash => {
                Some(HashView::Packed(packed))
            }
            ValueView::Object(Value::Hash(table)) => Some(HashView::Table(table)),
            _ => None,
        }
    }
}

impl Collection for Hash {
    const FRESH: Fresh = Fresh::Packed(PackedForm::Hash);

    type Edit<'a> = HashMut<'a>;

    fn edit<'a>(place: &'a mut dyn Place, context: EditContext<'a>) -> HashMut<'a> {
        HashMut::new(place, context)
    }
}

/// A hash in place.
#[derive(Clone, Copy)]
pub enum HashView<'a> {
    /// A small one.
    Packed(Packed<'a>),
    /// A large one.
    Table(&'a HashTable),
}

/// The value of a field in place.
#[derive(Clone, Copy)]
pub enum HashValue<'a> {
    /// In a packed hash.
    Item(Item<'a>),
    /// In a table.
    Field(FieldView<'a>),
}

impl<'a> HashValue<'a> {
    /// Length in bytes.
    pub fn len(self) -> usize {
        match self {
            Self::Item(item) => item.len(),
            Self::Field(field) => field.value().len(),
        }
    }

    /// Whether the value has no bytes.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The bytes; an integer's digits are written into `digits`.
    pub fn bytes<'b>(self, digits: &'b mut [u8; 20]) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Self::Item(item) => item.bytes(digits),
            Self::Field(field) => field.value(),
        }
    }

    /// The value as an integer, if it is one.
    pub fn integer(self) -> Option<i64> {
        match self {
            Self::Item(item) => item.integer(),
            Self::Field(field) => number::parse_i64(field.value()),
        }
    }

    /// When the field expires, in Unix milliseconds.
    pub fn deadline(self) -> Option<i64> {
        match self {
            Self::Item(_) => None,
            Self::Field(field) => field.deadline(),
        }
    }

    /// Whether the field's deadline has passed.
    pub fn is_expired(self, now_ms: i64) -> bool {
        self.deadline().is_some_and(|at_ms| at_ms <= now_ms)
    }

    /// Writes the value as a bulk string.
    #[inline]
    pub fn reply(self, out: &mut ReplyBuf) {
        match self {
            Self::Item(item) => reply_item(item, out),
            Self::Field(field) => match field.shared() {
                Some(bytes) => out.bulk_shared(&bytes),
                None => out.bulk(field.value()),
            },
        }
    }
}

/// Writes a name as a bulk string.
#[inline]
pub fn reply_item(item: Item<'_>, out: &mut ReplyBuf) {
    match item {
        Item::Int(value) => out.bulk_integer(value),
        Item::Bytes(bytes) => out.bulk(bytes),
    }
}

impl<'a> HashView<'a> {
    /// How many fields there are, expired ones that nobody has removed included.
    pub fn len(self) -> usize {
        match self {
            Self::Packed(packed) => count_of(packed),
            Self::Table(table) => table.len(),
        }
    }

    /// Whether there is no field.
    pub fn is_empty(self) -> bool {
        match self {
            Self::Packed(packed) => packed.body.is_empty(),
            Self::Table(table) => table.is_empty(),
        }
    }

    /// Whether some field may have expired by `now_ms`.
    pub fn has_expired(self, now_ms: i64) -> bool {
        match self {
            Self::Packed(_) => false,
            Self::Table(table) => table.min_expire_ms().is_some_and(|at_ms| at_ms <= now_ms),
        }
    }

    /// How many fields there are that have not expired by `now_ms`.
    pub fn live_len(self, now_ms: i64) -> usize {
        if !self.has_expired(now_ms) {
            return self.len();
        }
        let mut live = 0;
        self.for_each(now_ms, |_, _| live += 1);
        live
    }

    /// The value of field `name`, which may have expired.
    #[inline]
    pub fn get(self, name: &[u8]) -> Option<HashValue<'a>> {
        match self {
            Self::Packed(packed) => {
                let list = Listpack::new(packed.body);
                let value_at = list.next(list.find(name, 2)?)?;
                Some(HashValue::Item(list.get(value_at)))
            }
            Self::Table(table) => table.get(name).map(HashValue::Field),
        }
    }

    /// Visits the fields that have not expired by `now_ms`.
    pub fn for_each(self, now_ms: i64, mut visit: impl FnMut(Item<'a>, HashValue<'a>)) {
        self.scan(0, usize::MAX, now_ms, &mut visit);
    }

    /// Visits the fields from `cursor` on that have not expired by `now_ms`, about `count` of them,
    /// and returns the cursor to go on with: 0 when all were visited. A packed hash is visited whole.
    pub fn scan(
        self,
        cursor: u64,
        count: usize,
        now_ms: i64,
        mut visit: impl FnMut(Item<'a>, HashValue<'a>),
    ) -> u64 {
        let mut each = |field: FieldView<'a>| {
            let value = HashValue::Field(field);
            if !value.is_expired(now_ms) {
                visit(Item::Bytes(field.name()), value);
            }
        };
        match self {
            Self::Packed(packed) => {
                pairs(packed).for_each(|(name, value)| visit(name, HashValue::Item(value)));
                0
            }
            Self::Table(table) if count == usize::MAX => {
                table.for_each(each);
                0
            }
            Self::Table(table) => table.scan(cursor, count, &mut each),
        }
    }

    /// A field chosen with equal chance among all, expired ones included.
    pub fn random(self, random: &mut Random) -> Option<(Item<'a>, HashValue<'a>)> {
        match self {
            Self::Packed(packed) if packed.body.is_empty() => None,
            Self::Packed(packed) => {
                let (list, count) = (Listpack::new(packed.body), count_of(packed));
                let index = random.below(count as u64) as usize;
                let name_at = list.seek_counted(2 * index, 2 * count)?;
                let value_at = list.next(name_at)?;
                Some((list.get(name_at), HashValue::Item(list.get(value_at))))
            }
            Self::Table(table) => {
                let field = table.random(random)?;
                Some((Item::Bytes(field.name()), HashValue::Field(field)))
            }
        }
    }
}

/// How many pairs a packed hash has.
fn count_of(packed: Packed<'_>) -> usize {
    packed.count.unwrap_or_else(|| Listpack::new(packed.body).count() / 2)
}

/// The fields of a packed hash and their values, in order.
fn pairs(packed: Packed<'_>) -> impl Iterator<Item = (Item<'_>, Item<'_>)> {
    let mut items = Listpack::new(packed.body).iter().map(|(_, item)| item);
    std::iter::from_fn(move || Some((items.next()?, items.next()?)))
}
