//! One segment: buckets of one cache line each, a contiguous range of the hash space.
//!
//! ```text
//! bucket, 64 bytes:  [ 7 tag bytes | meta ] [ slot ] x 7      meta: 7 presence bits, overflow bit
//! segment, 4 KiB:    60 home buckets in hash order, 4 stash buckets
//!          1 KiB:    15 and 1, for the only segment of a small table
//!          256 B:     3 and 1, for its first items
//! ```
//!
//! An item goes into its home bucket, else (displaced) into the next one, else into the stash. A
//! home bucket's overflow bit says that one of its items went elsewhere, so most lookups read one
//! line. The idea is that of Dash (Lu et al., VLDB 2020).

use std::ops::Range;

use super::slot::{Slot, Thin, prefetch};
use crate::base::bytes;

/// Buckets of a segment of full size.
pub(super) const BUCKETS: usize = 64;
/// Buckets of the first segment of a table.
const FIRST_BUCKETS: usize = 4;
/// How many times as large a segment becomes that has no room.
const GROWTH: usize = 4;
/// Most items of one bucket.
pub(super) const SLOTS: usize = 7;
/// Most items of one segment.
pub(super) const SEGMENT_SLOTS: usize = BUCKETS * SLOTS;

/// Bytes of a cache line.
const LINE_LEN: usize = 64;

const OVERFLOW: u64 = 1 << 63;
const PRESENCE_SHIFT: u32 = 56;
const ALL_PRESENT: u8 = 0x7f;

/// A cache line: the word of tags and meta, and the slots.
#[repr(C, align(64))]
struct Bucket<T: Thin> {
    /// Tag `i` in byte `i`; presence bits and the overflow bit in byte 7.
    word: u64,
    slots: [Slot<T>; SLOTS],
}

impl<T: Thin> Bucket<T> {
    fn new() -> Self {
        Self { word: 0, slots: [const { Slot::EMPTY }; SLOTS] }
    }

    #[inline]
    fn presence(&self) -> u8 {
        (self.word >> PRESENCE_SHIFT) as u8 & ALL_PRESENT
    }

    #[inline]
    fn overflows(&self) -> bool {
        self.word & OVERFLOW != 0
    }

    fn set_overflows(&mut self, overflows: bool) {
        self.word = if overflows { self.word | OVERFLOW } else { self.word & !OVERFLOW };
    }

    /// One bit for each present slot whose tag is that of `hash`.
    #[inline]
    fn candidates(&self, hash: u64) -> u8 {
        const ONES: u64 = 0x0001_0101_0101_0101;
        const HIGHS: u64 = 0x0080_8080_8080_8080;
        let differing = self.word ^ ((hash & 0xff) * ONES);
        let equal = differing.wrapping_sub(ONES) & !differing & HIGHS;
        // Gathers bit 7 of byte i into bit i; a borrow may flag a byte too many, never one too few.
        let mask = (equal.wrapping_mul(0x0002_0408_1020_4081) >> 56) as u8;
        mask & self.presence()
    }

    #[inline(always)]
    fn find(&self, hash: u64, key: &[u8]) -> Option<(usize, T::View<'_>)> {
        let mut candidates = self.candidates(hash);
        while candidates != 0 {
            let slot = candidates.trailing_zeros() as usize;
            let found = &self.slots[slot];
            if found.suits(hash)
                && let Some(view) = found.view()
                && bytes::equal(T::key(view), key)
            {
                return Some((slot, view));
            }
            candidates &= candidates - 1;
        }
        None
    }

    fn free_slot(&self) -> Option<usize> {
        let slot = (!self.presence()).trailing_zeros() as usize;
        (slot < SLOTS).then_some(slot)
    }

    fn put(&mut self, hash: u64, item: T, displaced: bool) -> Result<usize, T> {
        let Some(slot) = self.free_slot() else { return Err(item) };
        self.fill(slot, hash & 0xff, Slot::new(item, hash, displaced));
        Ok(slot)
    }

    fn fill(&mut self, slot: usize, tag: u64, with: Slot<T>) {
        self.slots[slot] = with;
        self.word &= !(0xff << (8 * slot));
        self.word |= tag << (8 * slot) | 1 << (PRESENCE_SHIFT as usize + slot);
    }

    fn take(&mut self, slot: usize) -> Option<T> {
        self.lift(slot).1.take()
    }

    /// Takes a slot out with its tag.
    fn lift(&mut self, slot: usize) -> (u64, Slot<T>) {
        self.word &= !(1 << (PRESENCE_SHIFT as usize + slot));
        let tag = self.word >> (8 * slot) & 0xff;
        (tag, std::mem::replace(&mut self.slots[slot], Slot::EMPTY))
    }
}

/// A place in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bucket: u8,
    pub(super) slot: u8,
}

/// 4, 16 or 64 buckets.
pub(super) struct Segment<T: Thin> {
    buckets: Box<[Bucket<T>]>,
}

impl<T: Thin> Segment<T> {
    /// The first segment of a table.
    pub(super) fn first() -> Self {
        Self::of(FIRST_BUCKETS)
    }

    /// One of full size.
    pub(super) fn full() -> Self {
        Self::of(BUCKETS)
    }

    fn of(buckets: usize) -> Self {
        Self { buckets: (0..buckets).map(|_| Bucket::new()).collect() }
    }

    /// An empty one of the next size; `None` after full size.
    pub(super) fn larger(&self) -> Option<Self> {
        (self.buckets() < BUCKETS).then(|| Self::of(GROWTH * self.buckets()))
    }

    /// How many buckets there are.
    #[inline]
    pub(super) fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// How many of them items hash to: 3, 15 or 60. Each of few is several whole ones of more.
    #[inline]
    pub(super) fn homes(&self) -> usize {
        self.buckets.len() * 15 / 16
    }

    /// Bytes of memory behind the segment, without those of its items.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    /// The bucket that takes what does not fit into `home`.
    #[inline]
    fn next(&self, home: usize) -> usize {
        if home + 1 == self.homes() { 0 } else { home + 1 }
    }

    /// The buckets that take what fits nowhere else.
    fn stash(&self) -> Range<usize> {
        self.homes()..self.buckets()
    }

    #[inline]
    pub(super) fn prefetch_bucket(&self, home: usize) {
        prefetch(std::ptr::from_ref(&self.buckets[home]).cast());
    }

    /// Prefetches two lines of the first item of the home bucket that may be the one of `hash`.
    #[inline]
    pub(super) fn prefetch_item(&self, hash: u64, home: usize) {
        let bucket = &self.buckets[home];
        let candidates = bucket.candidates(hash);
        if candidates != 0 {
            let address = bucket.slots[candidates.trailing_zeros() as usize].address();
            prefetch(address);
            // Few items end in the line in which they begin.
            prefetch(address.wrapping_add(LINE_LEN));
        }
    }

    #[inline(always)]
    pub(super) fn find(&self, hash: u64, home: usize, key: &[u8]) -> Option<(Place, T::View<'_>)> {
        let bucket = &self.buckets[home];
        if let Some((slot, view)) = bucket.find(hash, key) {
            return Some((Place { bucket: home as u8, slot: slot as u8 }, view));
        }
        if bucket.overflows() { self.find_elsewhere(hash, home, key) } else { None }
    }

    #[cold]
    fn find_elsewhere(&self, hash: u64, home: usize, key: &[u8]) -> Option<(Place, T::View<'_>)> {
        std::iter::once(self.next(home)).chain(self.stash()).find_map(|bucket| {
            let (slot, view) = self.buckets[bucket].find(hash, key)?;
            Some((Place { bucket: bucket as u8, slot: slot as u8 }, view))
        })
    }

    /// Adds an item; gives it back when its home, the next bucket and the stash are full.
    pub(super) fn insert(&mut self, hash: u64, home: usize, item: T) -> Result<Place, T> {
        let place = |bucket: usize, slot: usize| Place { bucket: bucket as u8, slot: slot as u8 };
        let item = match self.buckets[home].put(hash, item, false) {
            Ok(slot) => return Ok(place(home, slot)),
            Err(item) => item,
        };
        self.buckets[home].set_overflows(true);
        let next = self.next(home);
        let mut item = match self.buckets[next].put(hash, item, true) {
            Ok(slot) => return Ok(place(next, slot)),
            Err(item) => item,
        };
        for bucket in self.stash() {
            item = match self.buckets[bucket].put(hash, item, false) {
                Ok(slot) => return Ok(place(bucket, slot)),
                Err(item) => item,
            };
        }
        Err(item)
    }

    /// Moves items back to where room was made since they went elsewhere: from the next bucket to
    /// their home, from the stash to either. `home_of` finds the home of a stashed key.
    pub(super) fn settle(&mut self, home_of: impl Fn(&[u8]) -> usize) {
        for home in 0..self.homes() {
            let mut overflows = false;
            for place in self.bucket_places(self.next(home)) {
                if self.slot(place).is_displaced() {
                    overflows |= !self.shift(place, home, false);
                }
            }
            self.buckets[home].set_overflows(overflows);
        }
        for at in self.stash() {
            for place in self.bucket_places(at) {
                let Some(view) = self.slot(place).view() else { continue };
                let home = home_of(T::key(view));
                if !self.shift(place, home, false) {
                    self.shift(place, self.next(home), true);
                    self.buckets[home].set_overflows(true);
                }
            }
        }
    }

    /// Moves an item to another bucket; `false` when that is full.
    fn shift(&mut self, from: Place, to: usize, displaced: bool) -> bool {
        let Some(slot) = self.buckets[to].free_slot() else { return false };
        let (tag, item) = self.buckets[usize::from(from.bucket)].lift(usize::from(from.slot));
        self.buckets[to].fill(slot, tag, item.moved(displaced));
        true
    }

    #[inline]
    pub(super) fn slot(&self, place: Place) -> &Slot<T> {
        &self.buckets[usize::from(place.bucket)].slots[usize::from(place.slot)]
    }

    #[inline]
    pub(super) fn slot_mut(&mut self, place: Place) -> &mut Slot<T> {
        &mut self.buckets[usize::from(place.bucket)].slots[usize::from(place.slot)]
    }

    pub(super) fn take(&mut self, place: Place) -> Option<T> {
        self.buckets[usize::from(place.bucket)].take(usize::from(place.slot))
    }

    /// The places of all items.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> + '_ {
        (0..self.buckets()).flat_map(|bucket| self.bucket_places(bucket))
    }

    fn bucket_places(&self, bucket: usize) -> impl Iterator<Item = Place> + use<T> {
        let presence = self.buckets[bucket].presence();
        (0..SLOTS as u8)
            .filter(move |slot| presence & 1 << slot != 0)
            .map(move |slot| Place { bucket: bucket as u8, slot })
    }

    /// The place of item number `index` in the order of [`Self::places`].
    pub(super) fn nth_place(&self, mut index: usize) -> Option<Place> {
        for (at, bucket) in self.buckets.iter().enumerate() {
            let present = bucket.presence().count_ones() as usize;
            if index < present {
                return self.bucket_places(at).nth(index);
            }
            index -= present;
        }
        None
    }

    /// The place of slot number `index` of the segment, if there is an item in it.
    #[inline]
    pub(super) fn place_at(&self, index: usize) -> Option<Place> {
        let (bucket, slot) = (index / SLOTS, index % SLOTS);
        let present = self.buckets[bucket].presence() & 1 << slot != 0;
        present.then_some(Place { bucket: bucket as u8, slot: slot as u8 })
    }

    /// Calls `visit` for every item whose home is `home`; `home_of` finds the home of a stashed key.
    pub(super) fn visit_home<'a>(
        &'a self,
        home: usize,
        home_of: impl Fn(&[u8]) -> usize,
        visit: &mut impl FnMut(T::View<'a>),
    ) {
        let bucket = &self.buckets[home];
        let mut each = |at: usize, wanted: &dyn Fn(&Slot<T>, &T::View<'a>) -> bool| {
            for place in self.bucket_places(at) {
                let slot = self.slot(place);
                if let Some(view) = slot.view()
                    && wanted(slot, &view)
                {
                    visit(view);
                }
            }
        };
        each(home, &|slot, _| !slot.is_displaced());
        if bucket.overflows() {
            each(self.next(home), &|slot, _| slot.is_displaced());
            for at in self.stash() {
                each(at, &|_, view| home_of(T::key(*view)) == home);
            }
        }
    }

    /// Like [`Self::visit_home`], for who may change what is behind an item, but not its key.
    pub(super) fn visit_home_mut(
        &mut self,
        home: usize,
        home_of: impl Fn(&[u8]) -> usize,
        mut visit: impl FnMut(&mut T),
    ) {
        let overflows = self.buckets[home].overflows();
        let homes = self.homes();
        let elsewhere = std::iter::once(self.next(home)).chain(self.stash());
        let buckets = std::iter::once(home).chain(elsewhere.filter(|_| overflows));
        for at in buckets {
            for place in self.bucket_places(at) {
                let slot = self.slot(place);
                let wanted = if at == home {
                    !slot.is_displaced()
                } else if at < homes {
                    slot.is_displaced()
                } else {
                    slot.view().is_some_and(|view| home_of(T::key(view)) == home)
                };
                if wanted && let Some(mut item) = self.slot_mut(place).lend() {
                    visit(&mut item);
                }
            }
        }
    }

    /// Calls `visit` for every item of one bucket.
    pub(super) fn visit_bucket<'a>(&'a self, at: usize, visit: &mut impl FnMut(T::View<'a>)) {
        let bucket = &self.buckets[at];
        self.bucket_places(at).for_each(|place| prefetch(self.slot(place).address()));
        self.bucket_places(at)
            .filter_map(|place| bucket.slots[usize::from(place.slot)].view())
            .for_each(visit);
    }

    /// Counts the buckets by the number of items in them.
    pub(super) fn count_fills(&self, fills: &mut [usize; SLOTS + 1]) {
        for bucket in &*self.buckets {
            fills[bucket.presence().count_ones() as usize] += 1;
        }
    }

    /// Calls `visit` for every item.
    pub(super) fn visit_all<'a>(&'a self, visit: &mut impl FnMut(T::View<'a>)) {
        self.prefetch_items();
        self.places().filter_map(|place| self.slot(place).view()).for_each(visit);
    }

    /// Empties the segment into `out`.
    pub(super) fn drain_into(&mut self, out: &mut Vec<T>) {
        for bucket in &mut *self.buckets {
            out.extend(bucket.slots.iter_mut().filter_map(Slot::take));
            bucket.word = 0;
        }
    }

    /// Asks for all items' lines, so that reading their keys afterwards does not wait.
    pub(super) fn prefetch_items(&self) {
        for place in self.places() {
            prefetch(self.slot(place).address());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_cache_lines_up_to_a_page() {
        type Items = Segment<super::super::tests::Item>;
        let mut sizes = vec![Items::first()];
        while let Some(larger) = sizes.last().and_then(Segment::larger) {
            sizes.push(larger);
        }
        let memory: Vec<usize> = sizes.iter().map(Segment::memory).collect();
        assert_eq!(memory, [256, 1024, 4096]);
        let homes: Vec<usize> = sizes.iter().map(Segment::homes).collect();
        assert_eq!(homes, [3, 15, 60]);
        assert_eq!(Items::full().memory(), 4096);
    }
}
