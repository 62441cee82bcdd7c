//! Changing a set, and converting it where it outgrows its form.
//!
//! Integers stay an intset up to `set-max-intset-entries`; a text among them makes a listpack, if
//! the result is one that Redis would keep as such, else a table. A listpack becomes a table beyond
//! `set-max-listpack-entries` or `-value`. Nothing converts back but the rest of SPOP and the
//! results of set algebra, which are built anew.

use super::{Set, SetView};
use crate::base::number::{format_i64, parse_i64};
use crate::base::random::Random;
use crate::encoding::intset::{self, Ints, Width};
use crate::encoding::listpack::{self, Encoded, Item};
use crate::encoding::set_table::SetTable;
use crate::value::packed::{Draft, PACKED_LEN_MAX, PackedForm, Place};
use crate::value::{EditContext, Value, ValueView};

/// Most integers of an intset, whatever the configuration says (as in Redis).
const INTSET_ENTRIES_MAX: usize = 1 << 30;

/// SPOP builds what is left anew when it is less than one part in so many of what is taken
/// (Redis: SPOP_MOVE_STRATEGY_MUL).
const POP_REBUILD_RATIO: usize = 5;

/// A set being changed.
pub struct SetMut<'a> {
    place: &'a mut dyn Place,
    context: EditContext<'a>,
}

impl<'a> SetMut<'a> {
    /// Changes the set at `place`.
    #[inline]
    pub fn new(place: &'a mut dyn Place, context: EditContext<'a>) -> Self {
        Self { place, context }
    }

    /// The set as it is.
    #[inline]
    pub fn view(&self) -> SetView<'_> {
        let value = match self.place.packed() {
            Some(packed) => ValueView::Packed(packed),
            None => ValueView::Object(self.place.object().expect("what is not packed is there")),
        };
        value.of::<Set>().unwrap_or_else(|_| panic!("a set stays one while it is changed"))
    }

    /// Chooses the form in which `count` members, beginning with `first`, are going to be added.
    pub fn prepare(&mut self, first: &[u8], count: usize) {
        let limits = self.context.limits;
        let fits_list = count <= limits.set_max_listpack_entries();
        let fits_ints = count <= limits.set_max_intset_entries();
        match self.view() {
            SetView::Ints(ints) if ints.is_empty() => {
                if fits_ints && parse_i64(first).is_some() {
                    return;
                }
                match fits_list {
                    true => self.place.set_packed(PackedForm::Set, &[], 0),
                    false => self.convert_to_table(),
                }
            }
            SetView::Ints(_) if !fits_ints => self.convert_to_table(),
            SetView::Listpack { .. } if !fits_list => self.convert_to_table(),
            _ => {}
        }
    }

    /// Makes an empty set a listpack, whatever is going to be added.
    pub fn begin_listpack(&mut self) {
        debug_assert!(self.view().is_empty());
        self.place.set_packed(PackedForm::Set, &[], 0);
    }

    /// Adds members; returns how many were not there.
    pub fn extend<'m>(&mut self, members: impl ExactSizeIterator<Item = &'m [u8]>) -> usize {
        let (mut added, mut members, hasher) = (0, members, self.context.hasher);
        while let Some(member) = members.next() {
            added += usize::from(self.insert(member));
            if members.len() > 0
                && let Some(table) = self.table()
            {
                return added + members.filter(|member| table.insert(member, hasher)).count();
            }
        }
        added
    }

    /// Adds `member`; `false` if it was there.
    pub fn insert(&mut self, member: &[u8]) -> bool {
        match self.view() {
            SetView::Ints(ints) => match parse_i64(member) {
                Some(value) => {
                    let gap = Gap::of(ints, value);
                    gap.is_some_and(|gap| self.insert_int(value, gap))
                }
                None => self.insert_text(member),
            },
            SetView::Listpack { list, count } => {
                let (end, count) = (list.body().len(), count.unwrap_or_else(|| list.count()));
                list.find(member, 1).is_none() && self.append(member, end, count)
            }
            SetView::Table(_) => {
                let hasher = self.context.hasher;
                self.table().is_some_and(|table| table.insert(member, hasher))
            }
        }
    }

    /// Adds a member that another set holds; `false` if it was there.
    pub fn insert_item(&mut self, item: Item<'_>) -> bool {
        match (item, self.view()) {
            (Item::Int(value), SetView::Ints(ints)) => {
                let gap = Gap::of(ints, value);
                gap.is_some_and(|gap| self.insert_int(value, gap))
            }
            _ => self.insert(item.bytes(&mut [0; 20])),
        }
    }

    /// Adds an integer to an intset at its gap.
    fn insert_int(&mut self, value: i64, gap: Gap) -> bool {
        let Gap { index, len, width: before } = gap;
        let width = Width::of(value).max(before);
        let limit = self.context.limits.set_max_intset_entries().min(INTSET_ENTRIES_MAX);
        if len + 1 > limit || (len + 1) * width.bytes() > PACKED_LEN_MAX {
            self.convert_to_table();
            return self.insert(format_i64(value, &mut [0; 20]));
        }
        let (at, mut buf) = (index * width.bytes(), [0; 8]);
        let bytes = intset::encode(value, width, &mut buf);
        if width == before {
            self.place.splice(at..at, bytes, len + 1);
        } else if let SetView::Ints(ints) = self.view() {
            let mut body = ints.widened(width);
            body.splice(at..at, bytes.iter().copied());
            self.place.set_packed(form_of(width), &body, len + 1);
        }
        true
    }

    /// Adds a text to an intset, which it cannot stay.
    fn insert_text(&mut self, member: &[u8]) -> bool {
        let SetView::Ints(ints) = self.view() else { unreachable!("the set is an intset") };
        let limits = self.context.limits;
        let ends = [ints.first(), ints.last()];
        let longest = ends.into_iter().flatten().map(|end| Item::Int(end).len()).max();
        let value_max = limits.set_max_listpack_value();
        let fits = ints.len() < limits.set_max_listpack_entries()
            && member.len() <= value_max
            && longest.unwrap_or(0) <= value_max;
        if fits {
            let (mut body, count) = (Vec::new(), ints.len() + 1);
            ints.iter().for_each(|value| listpack::encode_int(value, &mut body));
            listpack::encode(member, &mut body);
            if body.len() <= PACKED_LEN_MAX {
                self.place.set_packed(PackedForm::Set, &body, count);
                return true;
            }
        }
        self.convert_to_table();
        self.insert(member)
    }

    /// Adds a member that is not there to a listpack of `count` members that ends at `end`.
    fn append(&mut self, member: &[u8], end: usize, count: usize) -> bool {
        let (limits, encoded) = (self.context.limits, Encoded::new(member));
        let fits = count < limits.set_max_listpack_entries()
            && member.len() <= limits.set_max_listpack_value()
            && end + encoded.len() <= PACKED_LEN_MAX;
        if !fits {
            self.convert_to_table();
            return self.insert(member);
        }
        let mut bytes = Vec::with_capacity(encoded.len());
        encoded.write(&mut bytes);
        self.place.splice(end..end, &bytes, count + 1);
        true
    }

    /// Removes `member`; `false` if it was not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let (range, len) = match self.view() {
            SetView::Ints(ints) => {
                let found = parse_i64(member).and_then(|value| ints.find(value).ok());
                let Some(index) = found else { return false };
                (int_range(ints, index), ints.len())
            }
            SetView::Listpack { list, .. } => {
                let Some(at) = list.find(member, 1) else { return false };
                (at..at + list.entry_len(at), self.view().len())
            }
            SetView::Table(_) => return self.table().is_some_and(|table| table.remove(member)),
        };
        self.place.splice(range, &[], len - 1);
        true
    }

    /// Takes out a member chosen with equal chance and shows it to `taken`; `false` if there is
    /// none.
    pub fn pop(&mut self, random: &mut Random, taken: impl FnOnce(Item<'_>)) -> bool {
        if let Some(table) = self.table() {
            let member = table.take_random(random);
            return member.map(|member| taken(Item::Bytes(member.bytes()))).is_some();
        }
        let len = self.view().len();
        if len == 0 {
            return false;
        }
        let index = random.below(len as u64) as usize;
        let range = match self.view() {
            SetView::Listpack { list, .. } => {
                let at = list.seek_counted(index, len).expect("the index is below the length");
                taken(list.get(at));
                at..at + list.entry_len(at)
            }
            SetView::Ints(ints) => {
                taken(Item::Int(ints.get(index).expect("the index is below the length")));
                int_range(ints, index)
            }
            SetView::Table(_) => unreachable!("tables are popped from above"),
        };
        self.place.splice(range, &[], len - 1);
        true
    }

    /// Takes out `count` members, fewer than there are, all choices being equally likely.
    pub fn pop_many(&mut self, count: usize, random: &mut Random, mut taken: impl FnMut(Item<'_>)) {
        let left = self.view().len() - count;
        if let SetView::Table(_) = self.view() {
            if left * POP_REBUILD_RATIO > count {
                for _ in 0..count {
                    self.pop(random, &mut taken);
                }
            } else {
                self.pop_most(left, random, taken);
            }
            return;
        }
        let (form, mut body) = (self.place.packed().expect("it is no table").form, Vec::new());
        let (mut wanted, mut open) = (count as u64, self.view().len() as u64);
        for item in self.view().iter() {
            let is_taken = random.below(open) < wanted;
            open -= 1;
            if is_taken {
                wanted -= 1;
                taken(item);
            } else if let (SetView::Ints(ints), Item::Int(value)) = (self.view(), item) {
                body.extend_from_slice(intset::encode(value, ints.width(), &mut [0; 8]));
            } else {
                listpack::encode(item.bytes(&mut [0; 20]), &mut body);
            }
        }
        self.place.set_packed(form, &body, left);
    }

    /// Keeps `left` random members of a table in a set built anew and shows `taken` the others.
    fn pop_most(&mut self, left: usize, random: &mut Random, mut taken: impl FnMut(Item<'_>)) {
        let (context, mut draft) = (self.context, Draft::new(PackedForm::Set));
        let table = self.table().expect("the set is a table");
        for _ in 0..left {
            let member = table.take_random(random).expect("more members than are left");
            SetMut::new(&mut draft, context).insert(member.bytes());
        }
        table.iter().for_each(|member| taken(Item::Bytes(member)));
        match draft.finish() {
            Ok(packed) => self.place.set_packed(packed.form, packed.body, left),
            Err(object) => self.place.set_object(object),
        }
    }

    /// Makes a set of nothing but integers an intset, if it is small enough for one.
    pub fn pack_integers(&mut self) {
        let len = self.view().len();
        let limit = self.context.limits.set_max_intset_entries().min(INTSET_ENTRIES_MAX);
        if len > limit || matches!(self.view(), SetView::Ints(_)) {
            return;
        }
        let integers: Option<Vec<i64>> = self.view().iter().map(|item| item.integer()).collect();
        let Some(mut integers) = integers else { return };
        integers.sort_unstable();
        let width = integers.iter().map(|value| Width::of(*value)).max().unwrap_or(Width::W16);
        let mut body = Vec::with_capacity(len * width.bytes());
        for value in integers {
            body.extend_from_slice(intset::encode(value, width, &mut [0; 8]));
        }
        if body.len() <= PACKED_LEN_MAX {
            self.place.set_packed(form_of(width), &body, len);
        }
    }

    #[inline]
    fn table(&mut self) -> Option<&mut SetTable> {
        match self.place.object_mut()? {
            Value::Set(table) => Some(table),
            _ => None,
        }
    }

    fn convert_to_table(&mut self) {
        let mut table = SetTable::default();
        for item in self.view().iter() {
            table.insert(item.bytes(&mut [0; 20]), self.context.hasher);
        }
        self.place.set_object(Value::Set(table));
    }
}

/// Where an integer belongs that an intset does not have.
struct Gap {
    index: usize,
    /// Integers that are there.
    len: usize,
    width: Width,
}

impl Gap {
    #[inline]
    fn of(ints: Ints<'_>, value: i64) -> Option<Self> {
        let index = ints.find(value).err()?;
        Some(Self { index, len: ints.len(), width: ints.width() })
    }
}

fn int_range(ints: Ints<'_>, index: usize) -> std::ops::Range<usize> {
    let width = ints.width().bytes();
    index * width..(index + 1) * width
}

fn form_of(width: Width) -> PackedForm {
    match width {
        Width::W16 => PackedForm::Ints16,
        Width::W32 => PackedForm::Ints32,
        Width::W64 => PackedForm::Ints64,
    }
}
