//! Changing a hash in its place, and its conversion to a table.

use std::ops::Range;

use super::{HashTable, HashView, count_of, pairs};
use crate::base::limits::EXPIRE_FIELDS_MAX;
use crate::encoding::field::NewFieldValue;
use crate::encoding::listpack::{Listpack, encode};
use crate::value::packed::{PACKED_COUNT_MAX, PACKED_LEN_MAX, Packed, PackedForm, Place};
use crate::value::{EditContext, Value};

/// Most bytes that an entry of a listpack adds to a short text.
const ENTRY_OVERHEAD: usize = 4;

/// What becomes of a field's deadline when its value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldTtl {
    /// It stays.
    Keep,
    /// It is removed.
    Clear,
}

/// What changes a hash.
pub struct HashMut<'a> {
    place: &'a mut dyn Place,
    context: EditContext<'a>,
}

impl<'a> HashMut<'a> {
    pub(super) fn new(place: &'a mut dyn Place, context: EditContext<'a>) -> Self {
        Self { place, context }
    }

    /// The hash as it is.
    pub fn view(&self) -> HashView<'_> {
        match (self.place.packed(), self.place.object()) {
            (Some(packed), _) => HashView::Packed(packed),
            (None, Some(Value::Hash(table))) => HashView::Table(table),
            _ => unreachable!("an editor of hashes edits a hash"),
        }
    }

    /// Sets a field; `true` when it was not there or had expired, and then it gets no deadline.
    #[inline]
    pub fn set(&mut self, name: &[u8], value: NewFieldValue<'_>, ttl: FieldTtl) -> bool {
        if self.fits(name)
            && self.fits(value.bytes())
            && let Some(created) = self.set_packed(name, value.bytes())
        {
            return created;
        }
        let (now_ms, hasher, mut revived) = (self.context.now_ms, self.context.hasher, false);
        let added = self.table().set(name, value, hasher, |at_ms| {
            revived = at_ms <= now_ms;
            (ttl == FieldTtl::Keep && !revived).then_some(at_ms)
        });
        added || revived
    }

    /// Sets a field of a packed hash; `None` when there is no room or the hash is a table.
    fn set_packed(&mut self, name: &[u8], value: &[u8]) -> Option<bool> {
        let packed = self.place.packed()?;
        let mut with = Vec::with_capacity(name.len() + value.len() + 2 * ENTRY_OVERHEAD);
        let (at, count) = match value_of(packed.body, name) {
            Some(at) => {
                encode(value, &mut with);
                // Where they are not counted, any such number says so.
                (at, packed.count.unwrap_or(PACKED_COUNT_MAX + 1))
            }
            None => {
                encode(name, &mut with);
                encode(value, &mut with);
                (packed.body.len()..packed.body.len(), count_of(packed) + 1)
            }
        };
        let created = at.is_empty();
        let len = packed.body.len() - at.len() + with.len();
        if len > PACKED_LEN_MAX || created && count > self.most() {
            return None;
        }
        self.place.splice(at, &with, count);
        Some(created)
    }

    /// Sets fields without deadlines; returns how many were not there or had expired.
    pub fn set_all<'p>(
        &mut self,
        fields: impl ExactSizeIterator<Item = (&'p [u8], NewFieldValue<'p>)> + Clone,
    ) -> usize {
        if fields.len() > 1
            && let Some(packed) = self.place.packed()
        {
            let fit = |(name, value): (&[u8], NewFieldValue<'_>)| {
                self.fits(name) && self.fits(value.bytes())
            };
            if fields.len() > self.most() || !fields.clone().all(fit) {
                self.table();
            } else if let Some((body, count, created)) = merged(packed, fields.clone(), self.most())
            {
                self.place.set_packed(PackedForm::Hash, &body, count);
                return created;
            }
        }
        fields.filter(|(name, value)| self.set(name, *value, FieldTtl::Clear)).count()
    }

    /// Sets or removes the deadline of a field, in Unix milliseconds; `false` when it is not there.
    pub fn set_deadline(&mut self, name: &[u8], at_ms: Option<i64>) -> bool {
        self.table().set_deadline(name, at_ms)
    }

    /// Removes a field; `false` when it is not there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let Some(packed) = self.place.packed() else { return self.table().remove(name) };
        let list = Listpack::new(packed.body);
        let Some(at) = list.find(name, 2) else { return false };
        let end = list.skip(at, 2).expect("a value follows each field");
        let count = count_of(packed) - 1;
        self.place.splice(at..end, &[], count);
        true
    }

    /// Removes fields that have expired, within bounds, and returns their names.
    pub fn expire(&mut self) -> Vec<Box<[u8]>> {
        let (mut budget, mut removed) = (EXPIRE_FIELDS_MAX, Vec::new());
        if let Some(Value::Hash(table)) = self.place.object_mut() {
            table.expire(self.context.now_ms, &mut budget, &mut removed);
        }
        removed
    }

    /// Most fields of a packed hash.
    fn most(&self) -> usize {
        self.context.limits.hash_max_listpack_entries()
    }

    /// Whether a packed hash may hold `text`.
    fn fits(&self, text: &[u8]) -> bool {
        text.len() <= self.context.limits.hash_max_listpack_value()
    }

    /// The table, which the hash becomes if it is packed.
    fn table(&mut self) -> &mut HashTable {
        if let Some(packed) = self.place.packed() {
            let table = table_of(packed, &self.context);
            self.place.set_object(Value::Hash(table));
        }
        match self.place.object_mut() {
            Some(Value::Hash(table)) => table,
            _ => unreachable!("an editor of hashes edits a hash"),
        }
    }
}

/// Where the value of field `name` lies in the body of a packed hash.
fn value_of(body: &[u8], name: &[u8]) -> Option<Range<usize>> {
    let list = Listpack::new(body);
    let value_at = list.next(list.find(name, 2)?)?;
    Some(value_at..value_at + list.entry_len(value_at))
}

/// A packed hash with `fields` set: its body, its number of fields and how many of them are new;
/// `None` when there are too many.
fn merged<'p>(
    packed: Packed<'_>,
    fields: impl Iterator<Item = (&'p [u8], NewFieldValue<'p>)> + Clone,
    most: usize,
) -> Option<(Vec<u8>, usize, usize)> {
    let text_len: usize = fields
        .clone()
        .map(|(name, value)| name.len() + value.bytes().len() + 2 * ENTRY_OVERHEAD)
        .sum();
    let mut body = Vec::with_capacity(packed.body.len() + text_len);
    body.extend_from_slice(packed.body);
    let before = count_of(packed);
    let (mut count, mut entry) = (before, Vec::new());
    for (name, value) in fields {
        match value_of(&body, name) {
            Some(at) => {
                entry.clear();
                encode(value.bytes(), &mut entry);
                if at.len() == entry.len() {
                    body[at].copy_from_slice(&entry);
                } else {
                    body.splice(at, entry.iter().copied());
                }
            }
            None => {
                encode(name, &mut body);
                encode(value.bytes(), &mut body);
                count += 1;
            }
        }
    }
    (count <= most && body.len() <= PACKED_LEN_MAX).then_some((body, count, count - before))
}

/// A table of the fields of a packed hash.
fn table_of(packed: Packed<'_>, context: &EditContext<'_>) -> HashTable {
    let mut table = HashTable::with_room(count_of(packed));
    for (name, value) in pairs(packed) {
        let (mut digits, mut more_digits) = ([0; 20], [0; 20]);
        let value = NewFieldValue::Bytes(value.bytes(&mut more_digits));
        table.set(name.bytes(&mut digits), value, context.hasher, |_| None);
    }
    table
}
