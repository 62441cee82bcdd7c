//! Hashes: field by field, zipmaps, ziplists, listpacks; with and without deadlines of fields.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Decoder, Restored, are_distinct, count, damage, groups, of_draft, of_ziplist};
use crate::base::limits::INLINE_VALUE_MAX;
use crate::encoding::field::NewFieldValue;
use crate::encoding::listpack::{self, Item, Listpack};
use crate::persist::rdb::error::RdbError;
use crate::persist::rdb::read::{Head, Scratch, Source};
use crate::persist::rdb::{kind, zipmap};
use crate::value::packed::{Draft, PACKED_LEN_MAX, PackedForm};
use crate::value::{Collection, FieldTtl, Hash, HashTable, Value};

/// The latest deadline of a field (Redis: EB_EXPIRE_TIME_MAX).
const DEADLINE_MAX: u64 = 0xffff_ffff_ffff;

const WHAT: &str = "hash";
const LENGTH: &str = "hash length";
const FIELD: &str = "hash field";
const VALUE: &str = "hash value";
const DEADLINE: &str = "field deadline";
const DUPLICATE: &str = "Duplicate hash fields detected";

impl Decoder<'_> {
    /// A hash, field by field.
    pub(super) fn hash<S: Source>(
        &self,
        source: &mut S,
        scratch: &mut Scratch,
    ) -> Result<Restored<'static>, RdbError> {
        let count = count(source, LENGTH)?;
        let (mut field, mut values) = (Vec::new(), Scratch::default());
        if count > self.context.limits.hash_max_listpack_entries() as u64 {
            let mut table = HashTable::default();
            for _ in 0..count {
                read_field(source, scratch, &mut field)?;
                self.set_next(&mut table, &field, source, &mut values)?;
            }
            return Ok(Restored::object(Value::Hash(table)));
        }
        let mut draft = Draft::new(PackedForm::Hash);
        let mut hash = Hash::edit(&mut draft, self.context);
        for _ in 0..count {
            read_field(source, scratch, &mut field)?;
            let value = NewFieldValue::Bytes(source.bytes(scratch, VALUE)?);
            if !hash.set(&field, value, FieldTtl::Clear) {
                return Err(source.corrupt(FIELD, DUPLICATE));
            }
        }
        Ok(of_draft(draft))
    }

    /// Adds the value that `source` goes on with under a name that is not there yet.
    fn set_next<S: Source>(
        &self,
        table: &mut HashTable,
        field: &[u8],
        source: &mut S,
        scratch: &mut Scratch,
    ) -> Result<(), RdbError> {
        let hasher = self.context.hasher;
        let head = source.head(VALUE)?;
        let added = match head {
            Head::Plain(len) | Head::Lzf { len, .. } if len > INLINE_VALUE_MAX as u64 => {
                let value = Arc::new(source.owned_of(head, scratch, VALUE)?);
                table.set(field, NewFieldValue::Shared(&value), hasher, |_| None)
            }
            _ => {
                let value = source.text_of(head, scratch, VALUE)?;
                let mut digits = [0; 20];
                let value = NewFieldValue::Bytes(value.bytes(&mut digits));
                table.set(field, value, hasher, |_| None)
            }
        };
        if added { Ok(()) } else { Err(source.corrupt(FIELD, DUPLICATE)) }
    }

    /// A zipmap or a ziplist.
    pub(super) fn hash_old<S: Source>(
        &self,
        kind: u8,
        source: &mut S,
        scratch: &mut Scratch,
    ) -> Result<Restored<'static>, RdbError> {
        let at = source.at();
        let whole = source.bytes(scratch, WHAT)?;
        if kind == kind::HASH_ZIPLIST {
            let (body, count) = of_ziplist(whole, at, WHAT)?;
            let count = super::pairs(count, at, WHAT)?;
            return self.hash_body(&body, count, at).map(Restored::into_owned);
        }
        let (mut body, mut longest) = (Vec::new(), 0);
        let count = zipmap::for_each(whole, |field, value| {
            longest = longest.max(field.len()).max(value.len());
            listpack::encode(field, &mut body);
            listpack::encode(value, &mut body);
        });
        let count = count.map_err(damage(at, WHAT))?;
        if longest > self.context.limits.hash_max_listpack_value() {
            return self.table_of_body(&body, at);
        }
        self.hash_body(&body, count, at).map(Restored::into_owned)
    }

    /// A listpack of fields, each followed by its value.
    pub(super) fn hash_listpack<'s, S: Source>(
        &self,
        source: &'s mut S,
        scratch: &'s mut Scratch,
    ) -> Result<Restored<'s>, RdbError> {
        let at = source.at();
        let whole = source.bytes(scratch, WHAT)?;
        let (body, count) = groups(whole, at, 2, WHAT)?;
        self.hash_body(body, count, at)
    }

    /// A body of `count` fields and their values.
    fn hash_body<'b>(
        &self,
        body: &'b [u8],
        count: usize,
        at: u64,
    ) -> Result<Restored<'b>, RdbError> {
        let most = self.context.limits.hash_max_listpack_entries();
        if count > most || body.len() > PACKED_LEN_MAX {
            return self.table_of_body(body, at);
        }
        if !are_distinct(body, 2, count, self.context.hasher) {
            return Err(RdbError::Corrupt { at, what: WHAT, why: DUPLICATE });
        }
        Ok(Restored::Packed { form: PackedForm::Hash, count, body: Cow::Borrowed(body) })
    }

    fn table_of_body(&self, body: &[u8], at: u64) -> Result<Restored<'static>, RdbError> {
        let mut table = HashTable::default();
        let mut items = Listpack::new(body).iter().map(|(_, item)| item);
        while let (Some(field), Some(value)) = (items.next(), items.next()) {
            self.add(&mut table, field, value, None, at)?;
        }
        Ok(Restored::object(Value::Hash(table)))
    }

    /// Adds a field that is not there yet.
    fn add(
        &self,
        table: &mut HashTable,
        field: Item<'_>,
        value: Item<'_>,
        deadline: Option<i64>,
        at: u64,
    ) -> Result<(), RdbError> {
        let (mut digits, mut more_digits) = ([0; 20], [0; 20]);
        let field = field.bytes(&mut digits);
        let value = NewFieldValue::Bytes(value.bytes(&mut more_digits));
        if !table.set(field, value, self.context.hasher, |_| None) {
            return Err(RdbError::Corrupt { at, what: FIELD, why: DUPLICATE });
        }
        if deadline.is_some() {
            table.set_deadline(field, deadline);
        }
        Ok(())
    }

    /// A hash of Redis in which each field has its deadline before it.
    pub(super) fn hash_metadata<S: Source>(
        &self,
        kind: u8,
        source: &mut S,
        scratch: &mut Scratch,
    ) -> Result<Restored<'static>, RdbError> {
        let base = match kind {
            kind::HASH_METADATA => Some(min_deadline(source)?),
            _ => None,
        };
        let (mut table, mut field, mut values) =
            (HashTable::default(), Vec::new(), Scratch::default());
        for _ in 0..count(source, LENGTH)? {
            let stored = source.len(DEADLINE)?;
            let deadline = match (stored, base) {
                (0, _) => 0,
                // What is stored counts from the least deadline, which is 1.
                (stored, Some(base)) => stored.saturating_add(base).saturating_sub(1),
                (stored, None) => stored,
            };
            let deadline = self.deadline(deadline, source)?;
            read_field(source, scratch, &mut field)?;
            self.set_next(&mut table, &field, source, &mut values)?;
            if deadline.is_some() {
                table.set_deadline(&field, deadline);
            }
        }
        Ok(self.settle(table))
    }

    /// A deadline as it is stored, 0 for none.
    fn deadline<S: Source>(&self, stored: u64, source: &S) -> Result<Option<i64>, RdbError> {
        match stored {
            0 => Ok(None),
            1..=DEADLINE_MAX => Ok(Some(stored as i64)),
            _ => Err(source.corrupt(DEADLINE, "invalid expireAt time")),
        }
    }

    /// A hash of Valkey in which each value has its field's deadline behind it.
    pub(super) fn valkey_hash<S: Source>(
        &self,
        source: &mut S,
        scratch: &mut Scratch,
    ) -> Result<Restored<'static>, RdbError> {
        const NONE: i64 = -1;
        let (mut table, mut field, mut values) =
            (HashTable::default(), Vec::new(), Scratch::default());
        for _ in 0..count(source, LENGTH)? {
            read_field(source, scratch, &mut field)?;
            self.set_next(&mut table, &field, source, &mut values)?;
            match source.time_ms(DEADLINE)? {
                NONE => {}
                ..NONE => return Err(source.corrupt(DEADLINE, "invalid expireAt time")),
                at_ms if self.drops_fields && at_ms < self.context.now_ms => {
                    table.remove(&field);
                }
                at_ms => {
                    table.set_deadline(&field, Some(at_ms));
                }
            }
        }
        if table.is_empty() { Err(RdbError::Expired) } else { Ok(self.settle(table)) }
    }

    /// A listpack of fields, each followed by its value and its deadline.
    pub(super) fn hash_listpack_ex<S: Source>(
        &self,
        kind: u8,
        source: &mut S,
        scratch: &mut Scratch,
    ) -> Result<Restored<'static>, RdbError> {
        if kind == kind::HASH_LISTPACK_EX {
            min_deadline(source)?;
        }
        let at = source.at();
        let whole = source.bytes(scratch, WHAT)?;
        let (body, _) = groups(whole, at, 3, WHAT)?;
        let mut table = HashTable::default();
        let mut items = Listpack::new(body).iter().map(|(_, item)| item);
        while let (Some(field), Some(value), Some(deadline)) =
            (items.next(), items.next(), items.next())
        {
            let deadline = match deadline {
                Item::Int(0) => None,
                Item::Int(at_ms @ 1..) if at_ms as u64 <= DEADLINE_MAX => Some(at_ms),
                _ => {
                    let why = "invalid expireAt time";
                    return Err(RdbError::Corrupt { at, what: DEADLINE, why });
                }
            };
            self.add(&mut table, field, value, deadline, at)?;
        }
        Ok(self.settle(table))
    }

    /// A hash that could have had deadlines: packed if none has one and it is small.
    fn settle(&self, table: HashTable) -> Restored<'static> {
        let limits = self.context.limits;
        let (most, longest) =
            (limits.hash_max_listpack_entries(), limits.hash_max_listpack_value());
        if table.min_expire_ms().is_some() || table.len() > most {
            return Restored::object(Value::Hash(table));
        }
        let (mut body, mut fits) = (Vec::new(), true);
        table.for_each(|field| {
            fits &= field.name().len() <= longest && field.value().len() <= longest;
            if fits {
                listpack::encode(field.name(), &mut body);
                listpack::encode(field.value(), &mut body);
            }
        });
        if fits && body.len() <= PACKED_LEN_MAX {
            let (form, count) = (PackedForm::Hash, table.len());
            return Restored::Packed { form, count, body: body.into() };
        }
        Restored::object(Value::Hash(table))
    }
}

fn read_field<S: Source>(
    source: &mut S,
    scratch: &mut Scratch,
    field: &mut Vec<u8>,
) -> Result<(), RdbError> {
    field.clear();
    field.extend_from_slice(source.bytes(scratch, FIELD)?);
    Ok(())
}

/// The least deadline of all fields, which stands before them.
fn min_deadline<S: Source>(source: &mut S) -> Result<u64, RdbError> {
    let at_ms = source.time_ms(DEADLINE)?;
    match u64::try_from(at_ms) {
        Ok(at_ms @ ..=DEADLINE_MAX) => Ok(at_ms),
        // One more stands for none.
        Ok(at_ms) if at_ms == DEADLINE_MAX + 1 => Ok(at_ms),
        _ => Err(source.corrupt(DEADLINE, "Hash read invalid minExpire value")),
    }
}
