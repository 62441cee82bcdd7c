//! Sets: member by member, intsets, listpacks.

use std::borrow::Cow;

use super::{Decoder, Restored, are_distinct, count, damage, groups};
use crate::encoding::intset::{self, Ints, Width};
use crate::encoding::listpack::{Item, Listpack};
use crate::encoding::set_table::SetTable;
use crate::persist::rdb::error::RdbError;
use crate::persist::rdb::read::{Scratch, Source};
use crate::value::packed::{Draft, PACKED_LEN_MAX, PackedForm};
use crate::value::{SetMut, Value};

/// Most integers of an intset, whatever the configuration says (as in Redis).
const INTSET_ENTRIES_MAX: u64 = 1 << 30;

const WHAT: &str = "set";
const MEMBER: &str = "set member";
const DUPLICATE: &str = "Duplicate set members detected";

impl Decoder<'_> {
    /// A set, member by member.
    pub(super) fn set<S: Source>(
        &self,
        source: &mut S,
        scratch: &mut Scratch,
    ) -> Result<Restored<'static>, RdbError> {
        let count = count(source, "set length")?;
        let ints_max = self.context.limits.set_max_intset_entries() as u64;
        if count > ints_max.min(INTSET_ENTRIES_MAX) {
            let mut table = SetTable::default();
            for _ in 0..count {
                if !table.insert(source.bytes(scratch, MEMBER)?, self.context.hasher) {
                    return Err(source.corrupt(MEMBER, DUPLICATE));
                }
            }
            return Ok(Restored::object(Value::Set(table)));
        }
        let mut draft = Draft::new(PackedForm::Ints16);
        let mut set = SetMut::new(&mut draft, self.context);
        for _ in 0..count {
            if !set.insert(source.bytes(scratch, MEMBER)?) {
                return Err(source.corrupt(MEMBER, DUPLICATE));
            }
        }
        Ok(super::of_draft(draft))
    }

    /// An intset.
    pub(super) fn set_intset<'s, S: Source>(
        &self,
        source: &'s mut S,
        scratch: &'s mut Scratch,
    ) -> Result<Restored<'s>, RdbError> {
        let at = source.at();
        let whole = source.bytes(scratch, WHAT)?;
        let ints = intset::check(whole).map_err(damage(at, WHAT))?;
        let most = self.context.limits.set_max_intset_entries();
        if ints.len() > most || ints.body().len() > PACKED_LEN_MAX {
            return Ok(self.table_of_ints(ints));
        }
        let form = match ints.width() {
            Width::W16 => PackedForm::Ints16,
            Width::W32 => PackedForm::Ints32,
            Width::W64 => PackedForm::Ints64,
        };
        Ok(Restored::Packed { form, count: ints.len(), body: Cow::Borrowed(ints.body()) })
    }

    fn table_of_ints(&self, ints: Ints<'_>) -> Restored<'static> {
        let mut table = SetTable::default();
        for value in ints.iter() {
            table.insert(Item::Int(value).bytes(&mut [0; 20]), self.context.hasher);
        }
        Restored::object(Value::Set(table))
    }

    /// A listpack of members.
    pub(super) fn set_listpack<'s, S: Source>(
        &self,
        source: &'s mut S,
        scratch: &'s mut Scratch,
    ) -> Result<Restored<'s>, RdbError> {
        let at = source.at();
        let whole = source.bytes(scratch, WHAT)?;
        let (body, count) = groups(whole, at, 1, WHAT)?;
        let duplicate = RdbError::Corrupt { at, what: WHAT, why: DUPLICATE };
        if count > self.context.limits.set_max_listpack_entries() || body.len() > PACKED_LEN_MAX {
            let mut table = SetTable::default();
            for (_, member) in Listpack::new(body).iter() {
                if !table.insert(member.bytes(&mut [0; 20]), self.context.hasher) {
                    return Err(duplicate);
                }
            }
            return Ok(Restored::object(Value::Set(table)));
        }
        if !are_distinct(body, 1, count, self.context.hasher) {
            return Err(duplicate);
        }
        Ok(Restored::Packed { form: PackedForm::Set, count, body: Cow::Borrowed(body) })
    }
}
