//! Sets: sorted integers (`intset`), a listpack of members (`listpack`), or a table (`hashtable`).
//!
//! Owns how a set is read in each form, [`SetView`], and changed, [`SetMut`]. Members are seen as
//! listpack items: an integer, or bytes that in a table may spell one. Conversions are those of
//! Redis 7.2 and later.

mod edit;
#[cfg(test)]
mod tests;

use super::packed::{Packed, PackedForm, Place};
use super::{Collection, EditContext, Fresh, Kind, Value, ValueView};
use crate::base::random::Random;
use crate::encoding::intset::{Ints, Width};
use crate::encoding::listpack::{Item, Listpack};
use crate::encoding::set_table::SetTable;
pub use edit::SetMut;

/// Sets.
pub struct Set;

impl Kind for Set {
    type View<'a> = SetView<'a>;

    #[inline]
    fn of(value: ValueView<'_>) -> Option<SetView<'_>> {
        match value {
            ValueView::Object(Value::Set(table)) => Some(SetView::Table(table)),
            ValueView::Packed(packed) => SetView::of_packed(packed),
            _ => None,
        }
    }
}

impl Collection for Set {
    const FRESH: Fresh = Fresh::Packed(PackedForm::Ints16);
    type Edit<'a> = SetMut<'a>;

    #[inline]
    fn edit<'a>(place: &'a mut dyn Place, context: EditContext<'a>) -> SetMut<'a> {
        SetMut::new(place, context)
    }
}

/// A set in place.
#[derive(Clone, Copy, Debug)]
pub enum SetView<'a> {
    /// Integers in ascending order.
    Ints(Ints<'a>),
    /// Few short members, in the order in which they came.
    Listpack {
        /// The members.
        list: Listpack<'a>,
        /// How many there are, if that is known.
        count: Option<usize>,
    },
    /// Any members.
    Table(&'a SetTable),
}

impl<'a> SetView<'a> {
    #[inline]
    fn of_packed(packed: Packed<'a>) -> Option<Self> {
        let width = match packed.form {
            PackedForm::Ints16 => Width::W16,
            PackedForm::Ints32 => Width::W32,
            PackedForm::Ints64 => Width::W64,
            PackedForm::Set => {
                let list = Listpack::new(packed.body);
                return Some(Self::Listpack { list, count: packed.count });
            }
            PackedForm::List | PackedForm::Hash | PackedForm::ZSet => return None,
        };
        Some(Self::Ints(Ints::new(packed.body, width)))
    }

    /// How many members there are.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Ints(ints) => ints.len(),
            Self::Listpack { list, count } => count.unwrap_or_else(|| list.count()),
            Self::Table(table) => table.len(),
        }
    }

    /// Whether there is no member.
    pub fn is_empty(self) -> bool {
        match self {
            Self::Ints(ints) => ints.is_empty(),
            Self::Listpack { list, .. } => list.is_empty(),
            Self::Table(table) => table.is_empty(),
        }
    }

    /// Whether `member` is in the set.
    #[inline]
    pub fn contains(self, member: &[u8]) -> bool {
        match self {
            Self::Ints(ints) => {
                Item::Bytes(member).integer().is_some_and(|value| ints.contains(value))
            }
            Self::Listpack { list, .. } => list.find(member, 1).is_some(),
            Self::Table(table) => table.contains(member),
        }
    }

    /// Whether what `probe` looks for is in the set.
    pub fn holds(self, probe: &mut Probe<'_>) -> bool {
        match self {
            Self::Ints(ints) => probe.item.integer().is_some_and(|value| ints.contains(value)),
            Self::Listpack { list, .. } => list.find(probe.text(), 1).is_some(),
            Self::Table(table) => {
                let Probe { item, digits, hash } = probe;
                table.contains_hashed(item.bytes(digits), hash)
            }
        }
    }

    /// The members: integers ascending, a listpack's in their order, a table's in none.
    pub fn iter(self) -> impl Iterator<Item = Item<'a>> {
        let (mut ints, mut list, mut table) = (None, None, None);
        match self {
            Self::Ints(packed) => ints = Some(packed),
            Self::Listpack { list: packed, .. } => list = Some(packed),
            Self::Table(object) => table = Some(object),
        }
        let ints = ints.into_iter().flat_map(|ints| ints.iter()).map(Item::Int);
        let list = list.into_iter().flat_map(|list| list.iter()).map(|(_, item)| item);
        let table = table.into_iter().flat_map(SetTable::iter).map(Item::Bytes);
        ints.chain(list).chain(table)
    }

    /// A member chosen with equal chance among all.
    pub fn random(self, random: &mut Random) -> Option<Item<'a>> {
        if let Self::Table(table) = self {
            return table.random(random).map(Item::Bytes);
        }
        let len = self.len();
        let index = if len == 0 { 0 } else { random.below(len as u64) as usize };
        match self {
            Self::Ints(ints) => ints.get(index).map(Item::Int),
            Self::Listpack { list, .. } => list.seek_counted(index, len).map(|at| list.get(at)),
            Self::Table(_) => None,
        }
    }

    /// Visits members from `cursor` on until at least `count` were visited or much was empty, and
    /// returns the cursor to go on with: 0 when all was visited. What is packed is visited at once.
    pub fn scan(self, cursor: u64, count: usize, mut visit: impl FnMut(Item<'a>)) -> u64 {
        if let Self::Table(table) = self {
            return table.scan(cursor, count, |member| visit(Item::Bytes(member)));
        }
        self.iter().for_each(visit);
        0
    }
}

/// A member to look for in several sets; its hash is computed at most once.
pub struct Probe<'a> {
    item: Item<'a>,
    digits: [u8; 20],
    hash: Option<u64>,
}

impl<'a> Probe<'a> {
    /// Looks for `item`.
    #[inline]
    pub fn new(item: Item<'a>) -> Self {
        Self { item, digits: [0; 20], hash: None }
    }

    #[inline]
    fn text(&mut self) -> &[u8] {
        self.item.bytes(&mut self.digits)
    }
}
