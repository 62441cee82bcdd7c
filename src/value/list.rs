//! Lists: packed while they are short, then a quicklist.
//!
//! Redis keeps a list as one listpack up to `list-max-listpack-size`, and takes a quicklist back to
//! a listpack when it has shrunk to one node of at most half of that. OBJECT ENCODING reports
//! exactly this, but a packed list ends earlier here, as every item of it is passed on the way to
//! its middle: what Redis would hold as one listpack is then a quicklist of one node that takes
//! everything, [`Fill::Whole`].

use std::ops::Range;

use smallvec::SmallVec;

use super::packed::{PACKED_COUNT_MAX, PACKED_LEN_MAX, Packed, PackedForm, Place};
use super::{Collection, EditContext, Fresh, Kind, Value, ValueView};
use crate::encoding::End;
use crate::encoding::listpack::{Encoded, Item, Listpack, Needle};
use crate::encoding::quicklist::{Fill, Quicklist};

#[cfg(test)]
mod tests;

/// Encoded items up to this length need no allocation, in bytes.
const SCRATCH_LEN: usize = 256;

/// Lists.
pub struct List;

impl Kind for List {
    type View<'a> = ListView<'a>;

    #[inline]
    fn of(value: ValueView<'_>) -> Option<ListView<'_>> {
        match value {
            ValueView::Packed(packed) if packed.form == PackedForm::List => {
                Some(ListView::of_packed(packed))
            }
            ValueView::Object(Value::List(items)) => Some(ListView::Large(items)),
            _ => None,
        }
    }
}

impl Collection for List {
    const FRESH: Fresh = Fresh::Packed(PackedForm::List);

    type Edit<'a> = ListMut<'a>;

    #[inline]
    fn edit<'a>(place: &'a mut dyn Place, context: EditContext<'a>) -> ListMut<'a> {
        ListMut { place, context }
    }
}

/// A list in place.
#[derive(Clone, Copy, Debug)]
pub enum ListView<'a> {
    /// A short one.
    Packed {
        /// The items.
        items: Listpack<'a>,
        /// How many there are.
        len: usize,
    },
    /// A long one.
    Large(&'a Quicklist),
}

impl<'a> ListView<'a> {
    #[inline]
    fn of_packed(packed: Packed<'a>) -> Self {
        let items = Listpack::new(packed.body);
        Self::Packed { items, len: packed.count.unwrap_or_else(|| items.count()) }
    }

    /// How many items there are.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::Packed { len, .. } => *len,
            Self::Large(items) => items.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What OBJECT ENCODING reports.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Packed { .. } => PackedForm::List.encoding(),
            Self::Large(items) => encoding(items),
        }
    }

    /// Calls `visit` with the items at `range`, which is within the list, until it returns false;
    /// the one nearest to `end` comes first.
    #[inline]
    pub fn walk(&self, range: Range<usize>, end: End, mut visit: impl FnMut(Item<'_>) -> bool) {
        let (items, len) = match self {
            Self::Packed { items, len } => (items, *len),
            Self::Large(items) => return items.walk(range, end, visit),
        };
        let count = range.len();
        match end {
            End::Head => {
                let from = items.seek_counted(range.start, len).unwrap_or(items.body().len());
                for (_, item) in items.iter_from(from).take(count) {
                    if !visit(item) {
                        return;
                    }
                }
            }
            End::Tail => {
                let mut at = items.seek_counted(range.end, len).unwrap_or(items.body().len());
                for _ in 0..count {
                    let Some(before) = items.prev(at) else { return };
                    if !visit(items.get(before)) {
                        return;
                    }
                    at = before;
                }
            }
        }
    }

    /// Calls `read` with the item at `index`; nothing when there is none.
    #[inline]
    pub fn get<R>(&self, index: usize, read: impl FnOnce(Item<'_>) -> R) -> Option<R> {
        if index >= self.len() {
            return None;
        }
        let (mut read, mut result) = (Some(read), None);
        self.walk(index..index + 1, End::Head, |item| {
            result = read.take().map(|read| read(item));
            false
        });
        result
    }

    /// The index of the first item that is `text`.
    pub fn find(&self, text: &[u8]) -> Option<usize> {
        let needle = Needle::new(text);
        let (mut index, mut found) = (0, None);
        self.walk(0..self.len(), End::Head, |item| {
            if needle.is(item) {
                found = Some(index);
            }
            index += 1;
            found.is_none()
        });
        found
    }
}

/// What OBJECT ENCODING reports of a quicklist.
pub(super) fn encoding(items: &Quicklist) -> &'static str {
    match items.fill() {
        Fill::Whole => PackedForm::List.encoding(),
        Fill::Bytes(_) | Fill::Items(_) => "quicklist",
    }
}

/// A list being changed.
pub struct ListMut<'a> {
    place: &'a mut dyn Place,
    context: EditContext<'a>,
}

impl ListMut<'_> {
    /// How many items there are.
    #[inline]
    pub fn len(&self) -> usize {
        match self.place.packed() {
            Some(packed) => ListView::of_packed(packed).len(),
            None => self.items().len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds items at an end, one after the other.
    #[inline]
    pub fn push<'t>(&mut self, end: End, texts: impl DoubleEndedIterator<Item = &'t [u8]> + Clone) {
        if let Some(packed) = self.make_room(texts.clone()) {
            let (at, count) = match end {
                End::Head => (0, packed.count),
                End::Tail => (packed.len, packed.count),
            };
            let mut entries = SmallVec::new();
            match end {
                End::Head => texts.rev().for_each(|text| encode(text, &mut entries)),
                End::Tail => texts.for_each(|text| encode(text, &mut entries)),
            }
            return self.place.splice(at..at, &entries, count + packed.added);
        }
        let items = self.items_mut();
        texts.for_each(|text| items.push(end, text));
    }

    /// Adds an item next to the one at `pivot`, which is in the list, on the side of `side`.
    pub fn insert(&mut self, pivot: usize, side: End, text: &[u8]) {
        let Some(packed) = self.make_room(std::iter::once(text)) else {
            return self.items_mut().insert(pivot, side, text);
        };
        let at = self.place_of(pivot + usize::from(side == End::Tail), packed.count);
        let mut entry = SmallVec::new();
        encode(text, &mut entry);
        self.place.splice(at..at, &entry, packed.count + 1);
    }

    /// Replaces the item at `index`, which is in the list.
    pub fn set(&mut self, index: usize, text: &[u8]) {
        // Redis makes room as if the item were added.
        let Some(packed) = self.make_room(std::iter::once(text)) else {
            self.items_mut().set(index, text);
            return self.shrink();
        };
        let from = self.place_of(index, packed.count);
        let to = self.place_of(index + 1, packed.count);
        let mut entry = SmallVec::new();
        encode(text, &mut entry);
        self.place.splice(from..to, &entry, packed.count);
    }

    /// Removes the items at `range`, which is within the list.
    #[inline]
    pub fn remove(&mut self, range: Range<usize>) {
        self.take(range);
        self.shrink();
    }

    /// As [`remove`](Self::remove), where more is to be changed before [`shrink`](Self::shrink).
    #[inline]
    pub fn take(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let Some(packed) = self.place.packed() else {
            return self.items_mut().remove(range);
        };
        let count = ListView::of_packed(packed).len();
        let (len, removed) = (packed.body.len(), range.len());
        let from = if range.start == 0 { 0 } else { self.place_of(range.start, count) };
        let to = if range.end == count { len } else { self.place_of(range.end, count) };
        self.place.splice(from..to, &[], count - removed);
    }

    /// Removes the items that are `text`, or the `limit` nearest to `end` of them, and says how
    /// many those were.
    pub fn remove_equal(&mut self, text: &[u8], limit: usize, end: End) -> usize {
        let Some(packed) = self.place.packed() else {
            let removed = self.items_mut().remove_equal(text, limit, end);
            self.shrink();
            return removed;
        };
        let count = ListView::of_packed(packed).len();
        let rest = Listpack::new(packed.body).without(&Needle::new(text), limit, end);
        let Some((body, removed)) = rest else { return 0 };
        self.place.set_packed(PackedForm::List, &body, count - removed);
        removed
    }

    /// Takes a quicklist that has shrunk back to a listpack, and packs it when it is short.
    #[inline]
    pub fn shrink(&mut self) {
        if self.place.packed().is_none() {
            self.shrink_large();
        }
    }

    fn shrink_large(&mut self) {
        let (fill, items) = (self.fill(), self.items());
        let len = items.len();
        let Some(body) = items.as_listpack() else { return };
        let is_whole = items.fill() == Fill::Whole;
        if !is_whole && !fill.is_half_empty(body.len(), len) {
            return;
        }
        if len <= PACKED_COUNT_MAX / 2 && body.len() <= PACKED_LEN_MAX / 2 {
            let body = body.to_vec();
            self.place.set_packed(PackedForm::List, &body, len);
        } else if !is_whole {
            self.items_mut().set_options(Fill::Whole, 0);
        }
    }

    /// Where item `index` of a packed list begins; the end for the one after the last.
    #[inline]
    fn place_of(&self, index: usize, count: usize) -> usize {
        let items = Listpack::new(self.place.packed().map_or(&[], |packed| packed.body));
        items.seek_counted(index, count).unwrap_or(items.body().len())
    }

    fn items(&self) -> &Quicklist {
        match self.place.object() {
            Some(Value::List(items)) => items,
            _ => unreachable!("a list is packed or a quicklist"),
        }
    }

    fn items_mut(&mut self) -> &mut Quicklist {
        match self.place.object_mut() {
            Some(Value::List(items)) => {
                items.set_plain_len(self.context.limits.list_plain_len());
                items
            }
            _ => unreachable!("a list is packed or a quicklist"),
        }
    }

    fn fill(&self) -> Fill {
        Fill::from_directive(self.context.limits.list_max_listpack_size())
    }

    /// Converts the list, if it would get too large with `texts` for its encoding; what is there
    /// now, if it is packed and stays so.
    #[inline]
    fn make_room<'t>(&mut self, texts: impl Iterator<Item = &'t [u8]>) -> Option<Room> {
        let (mut bytes, mut added) = (0, 0);
        for text in texts {
            bytes += text.len();
            added += 1;
        }
        let Some(packed) = self.place.packed() else {
            self.outgrow(bytes, added);
            return None;
        };
        let (len, count) = (packed.body.len(), ListView::of_packed(packed).len());
        if self.fill().is_exceeded(len + bytes, count + added) {
            let depth = self.context.limits.list_compress_depth();
            self.become_large(count, self.fill(), depth);
        } else if count + added > PACKED_COUNT_MAX
            || len + bytes + added * ENTRY_OVERHEAD_MAX > PACKED_LEN_MAX
        {
            self.become_large(count, Fill::Whole, 0);
        } else {
            return Some(Room { len, count, added });
        }
        None
    }

    #[cold]
    fn become_large(&mut self, count: usize, fill: Fill, depth: usize) {
        let body = self.place.packed().map_or(Vec::new(), |packed| packed.body.to_vec());
        let items = Quicklist::from_listpack(body, count, fill, depth);
        self.place.set_object(Value::List(Box::new(items)));
    }

    /// Ends the time as one listpack of a quicklist that is about to get too large for it.
    fn outgrow(&mut self, bytes: usize, added: usize) {
        let items = self.items();
        if items.fill() != Fill::Whole {
            return;
        }
        let len = items.as_listpack().map_or(0, <[u8]>::len);
        let (fill, count) = (self.fill(), items.len() + added);
        if fill.is_exceeded(len + bytes, count) {
            let depth = self.context.limits.list_compress_depth();
            self.items_mut().set_options(fill, depth);
        }
    }
}

/// Most bytes that an entry takes beside its text: five before it, five behind.
const ENTRY_OVERHEAD_MAX: usize = 10;

/// A packed list that is about to grow.
struct Room {
    /// The length of its body.
    len: usize,
    /// The number of its items.
    count: usize,
    /// How many are to be added.
    added: usize,
}

/// Appends the entry of `text`.
#[inline]
fn encode(text: &[u8], out: &mut SmallVec<[u8; SCRATCH_LEN]>) {
    let (entry, at) = (Encoded::new(text), out.len());
    out.resize(at + entry.len(), 0);
    entry.write_to(&mut out[at..]);
}
