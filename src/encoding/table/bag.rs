//! Thin items found by key: a short list, and a table once they are many.
//!
//! A [`Table`] takes half a kilobyte at least. That suits a keyspace and a large collection, but not
//! the many collections of a few items that only became objects because one item is long or has a
//! deadline. Up to [`FEW_MAX`] items therefore lie in a list of slots, whose bits of the keys' hashes
//! are compared before an item is looked at. A table does not become a list again.
//!
//! Must not know what the items are. Keeps: both forms look alike to callers; a full scan meets every
//! item that stays, also across the change of form.

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::slot::Slot;
use super::{CURSOR_BITS, Encode, NEVER, Shape, SharedReading, Table, Thin};
use crate::base::bytes;
use crate::base::hash::KeyHasher;
use crate::base::limits::BATCH_COMMANDS_MAX;
use crate::base::random::Random;

/// Most items of the short form.
const FEW_MAX: usize = 64;

/// Empty buckets that one step of a scan may pass over.
const SKIPS_MAX: usize = 4096;

/// A collection of thin items with different keys.
pub struct Bag<T: Thin> {
    form: Form<T>,
}

enum Form<T: Thin> {
    Few(Few<T>),
    Many(Box<Many<T>>),
}

impl<T: Thin> Default for Bag<T> {
    fn default() -> Self {
        Self { form: Form::Few(Few::default()) }
    }
}

impl<T: Thin> Bag<T> {
    /// An empty bag with room for `len` items, if those are few.
    pub fn with_room(len: usize) -> Self {
        let slots = Vec::with_capacity(if len > FEW_MAX { 0 } else { len });
        Self { form: Form::Few(Few { slots, ..Few::default() }) }
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        match &self.form {
            Form::Few(few) => few.slots.len(),
            Form::Many(many) => many.table.len(),
        }
    }

    /// How the table is built; `None` while the items are few and have none.
    pub fn shape(&self, full: bool) -> Option<Shape> {
        match &self.form {
            Form::Few(_) => None,
            Form::Many(many) => Some(many.table.shape(full)),
        }
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many items have a deadline.
    pub fn volatile_len(&self) -> usize {
        match &self.form {
            Form::Few(few) => few.volatile as usize,
            Form::Many(many) => many.table.volatile_len(),
        }
    }

    /// No item expires before this, in Unix milliseconds; `None` when none has a deadline.
    #[inline]
    pub fn min_expire_ms(&self) -> Option<i64> {
        let (volatile, min) = match &self.form {
            Form::Few(few) => (few.volatile as usize, few.min_expire),
            Form::Many(many) => (many.table.volatile_len(), many.table.min_expire_ms()),
        };
        (volatile > 0).then_some(min)
    }

    /// The item of `key`.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<T::View<'_>> {
        match &self.form {
            Form::Few(few) => few.find(key).map(|at| few.view(at)),
            Form::Many(many) => {
                let position = many.table.find(many.hasher.hash(key), key)?;
                Some(many.table.view(position))
            }
        }
    }

    /// Whether there is an item of `key`, whose hash is kept in `hash` once it was needed.
    #[inline]
    pub fn contains(&self, key: &[u8], hash: &mut Option<u64>) -> bool {
        match &self.form {
            Form::Few(few) => few.find(key).is_some(),
            Form::Many(many) => {
                let hash = *hash.get_or_insert_with(|| many.hasher.hash(key));
                many.table.find(hash, key).is_some()
            }
        }
    }

    /// Asks for the memory of the items of `keys`, if they are many; those of one batch, so that the
    /// processor waits for all at once.
    pub fn prefetch<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        if let Form::Many(many) = &self.form {
            let hashes: SmallVec<[u64; BATCH_COMMANDS_MAX]> =
                keys.map(|key| many.hasher.hash(key)).collect();
            hashes.iter().for_each(|hash| many.table.prefetch_bucket(*hash));
            hashes.iter().for_each(|hash| many.table.prefetch_item(*hash));
        }
    }

    /// Changes the item of `key` in place, its key excepted; `None` when there is none.
    pub fn update<R>(&mut self, key: &[u8], change: impl FnOnce(&mut T) -> R) -> Option<R> {
        match &mut self.form {
            Form::Few(few) => few.find(key).map(|at| few.update(at, change)),
            Form::Many(many) => {
                let position = many.table.find(many.hasher.hash(key), key)?;
                Some(many.table.update(position, change))
            }
        }
    }

    /// Changes the item of `key` or adds the one that `make` makes; `true` when it was added.
    ///
    /// One of the two gets `value`. `hasher` is the one that hashes keys once they are many.
    #[inline]
    pub fn upsert<V>(
        &mut self,
        key: &[u8],
        value: V,
        hasher: &KeyHasher,
        change: impl FnOnce(&mut T, V),
        make: impl FnOnce(V) -> T,
    ) -> bool {
        let before = self.len();
        match &mut self.form {
            Form::Few(few) => match few.find(key) {
                Some(at) => few.update(at, |item| change(item, value)),
                None if before < FEW_MAX => few.push(short_hash(key), make(value)),
                None => self.grow(hasher).insert(make(value)),
            },
            Form::Many(many) => {
                let hash = many.hasher.hash(key);
                match many.table.find(hash, key) {
                    Some(position) => many.table.update(position, |item| change(item, value)),
                    None => drop(many.table.insert(hash, make(value), &many.hasher)),
                }
            }
        }
        self.len() > before
    }

    /// Turns the list into a table.
    #[cold]
    fn grow(&mut self, hasher: &KeyHasher) -> &mut Many<T> {
        let mut many = Box::new(Many { table: Table::new(0), hasher: *hasher });
        if let Form::Few(few) = &mut self.form {
            few.slots.iter_mut().filter_map(Slot::take).for_each(|item| many.insert(item));
        }
        self.form = Form::Many(many);
        match &mut self.form {
            Form::Many(many) => many,
            Form::Few(_) => unreachable!("it has just become a table"),
        }
    }

    /// Takes the item of `key` out.
    pub fn remove(&mut self, key: &[u8]) -> Option<T> {
        match &mut self.form {
            Form::Few(few) => few.find(key).map(|at| few.take(at)),
            Form::Many(many) => {
                let hash = many.hasher.hash(key);
                let position = many.table.find(hash, key)?;
                Some(many.table.remove(hash, position, &many.hasher))
            }
        }
    }

    /// Takes an item out that is chosen with equal chance among all.
    pub fn take_random(&mut self, random: &mut Random) -> Option<T> {
        match &mut self.form {
            Form::Few(few) if few.slots.is_empty() => None,
            Form::Few(few) => Some(few.take(random.below(few.slots.len() as u64) as usize)),
            Form::Many(many) => many.table.take_random(random, &many.hasher),
        }
    }

    /// All items, in no order.
    pub fn iter(&self) -> impl Iterator<Item = T::View<'_>> {
        let (few, many) = match &self.form {
            Form::Few(few) => (Some(few), None),
            Form::Many(many) => (None, Some(many)),
        };
        let few = few.into_iter().flat_map(|few| few.slots.iter().filter_map(Slot::view));
        few.chain(many.into_iter().flat_map(|many| many.table.iter()))
    }

    /// Visits every item.
    pub fn for_each<'a>(&'a self, visit: impl FnMut(T::View<'a>)) {
        match &self.form {
            Form::Few(few) => few.slots.iter().filter_map(Slot::view).for_each(visit),
            Form::Many(many) => many.table.for_each(visit),
        }
    }

    /// Visits items from `cursor` on until at least `count` were visited or much was empty, and
    /// returns the cursor to go on with: 0 when all was visited. Any cursor is valid.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(T::View<'a>),
    ) -> u64 {
        let Form::Many(many) = &self.form else {
            self.for_each(visit);
            return 0;
        };
        let shift = u64::BITS - CURSOR_BITS;
        let (mut left, mut skips, mut next) = (count.max(1), SKIPS_MAX, Some(cursor << shift));
        while let (Some(from), 1..) = (next, left) {
            if skips == 0 {
                break;
            }
            next = many.table.scan(from, &mut skips, &many.hasher, |view| {
                left = left.saturating_sub(1);
                visit(view);
            });
        }
        next.map_or(0, |at| at >> shift)
    }

    /// An item chosen with equal chance among all, or `None` when there is none.
    pub fn random(&self, random: &mut Random) -> Option<T::View<'_>> {
        match &self.form {
            Form::Few(few) if few.slots.is_empty() => None,
            Form::Few(few) => Some(few.view(random.below(few.slots.len() as u64) as usize)),
            Form::Many(many) => many.table.random(random),
        }
    }

    /// Takes items that expired at or before `now_ms` out and hands them to `expired`, those of one
    /// segment at most; `false` when none are left.
    pub fn expire_some(&mut self, now_ms: i64, expired: impl FnMut(T)) -> bool {
        match &mut self.form {
            Form::Few(few) => {
                few.expire(now_ms, expired);
                false
            }
            Form::Many(many) => {
                many.table.expire_segment(now_ms, now_ms, &many.hasher, |_| false, expired)
            }
        }
    }

    /// Begins to read all items as they are now; see [`Table::begin_reading`]. `None` for so few that
    /// they are read at once.
    pub fn begin_reading(&mut self, encode: Encode<T>) -> Option<SharedReading<T>> {
        match &mut self.form {
            Form::Few(_) => None,
            Form::Many(many) => Some(many.table.begin_reading(&many.hasher, encode)),
        }
    }

    /// Goes on with a reading; see [`Table::read_on`].
    pub fn read_on(&mut self, reading: &SharedReading<T>, count: usize) -> bool {
        match &mut self.form {
            Form::Few(_) => false,
            Form::Many(many) => many.table.read_on(reading, count),
        }
    }

    /// Tells readers of another name; see [`Table::note_moved`].
    pub fn note_moved(&mut self, name: &[u8]) {
        if let Form::Many(many) = &mut self.form {
            many.table.note_moved(name);
        }
    }

    /// A bag of copies, which `copy` makes.
    pub fn duplicate(&self, copy: impl Fn(T::View<'_>) -> T) -> Self {
        let mut form = match &self.form {
            Form::Few(_) => Form::Few(Few::default()),
            Form::Many(many) => {
                Form::Many(Box::new(Many { table: Table::new(0), hasher: many.hasher }))
            }
        };
        self.for_each(|view| match &mut form {
            Form::Few(few) => few.push(short_hash(T::key(view)), copy(view)),
            Form::Many(many) => many.insert(copy(view)),
        });
        Self { form }
    }

    /// Bytes of memory behind the bag, without those of the items.
    pub fn overhead(&self) -> usize {
        match &self.form {
            Form::Few(few) => few.slots.capacity() * size_of::<Slot<T>>(),
            Form::Many(many) => size_of::<Many<T>>() + many.table.overhead(),
        }
    }
}

/// The short form; no slot is empty.
struct Few<T: Thin> {
    slots: Vec<Slot<T>>,
    /// Items that have a deadline.
    volatile: u32,
    /// No item expires before this.
    min_expire: i64,
}

impl<T: Thin> Default for Few<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), volatile: 0, min_expire: NEVER }
    }
}

impl<T: Thin> Few<T> {
    #[inline]
    fn find(&self, key: &[u8]) -> Option<usize> {
        let hash = short_hash(key);
        let is = |at: usize| self.slots[at].suits(hash) && bytes::equal(T::key(self.view(at)), key);
        (0..self.slots.len()).find(|at| is(*at))
    }

    #[inline]
    fn view(&self, at: usize) -> T::View<'_> {
        self.slots[at].view().expect("no slot is empty")
    }

    fn push(&mut self, hash: u64, item: T) {
        self.note_deadline(T::expire_at_ms(item.as_view()));
        self.slots.push(Slot::new(item, hash, false));
    }

    fn note_deadline(&mut self, deadline: Option<i64>) {
        if let Some(at_ms) = deadline {
            self.volatile += 1;
            self.min_expire = self.min_expire.min(at_ms);
        }
    }

    #[inline]
    fn update<R>(&mut self, at: usize, change: impl FnOnce(&mut T) -> R) -> R {
        let before = T::expire_at_ms(self.view(at));
        let result = change(&mut self.slots[at].lend().expect("no slot is empty"));
        let after = T::expire_at_ms(self.view(at));
        if before != after {
            self.volatile -= u32::from(before.is_some());
            self.note_deadline(after);
        }
        result
    }

    fn take(&mut self, at: usize) -> T {
        let item = self.slots.swap_remove(at).take().expect("no slot is empty");
        self.volatile -= u32::from(T::expire_at_ms(item.as_view()).is_some());
        item
    }

    fn expire(&mut self, now_ms: i64, mut expired: impl FnMut(T)) {
        self.min_expire = NEVER;
        let mut at = 0;
        while at < self.slots.len() {
            match T::expire_at_ms(self.view(at)) {
                Some(at_ms) if at_ms <= now_ms => {
                    expired(self.take(at));
                    continue;
                }
                Some(at_ms) => self.min_expire = self.min_expire.min(at_ms),
                None => {}
            }
            at += 1;
        }
    }
}

/// The long form.
struct Many<T: Thin> {
    table: Table<T>,
    hasher: KeyHasher,
}

impl<T: Thin> Many<T> {
    fn insert(&mut self, item: T) {
        let hash = self.hasher.hash(T::key(item.as_view()));
        self.table.insert(hash, item, &self.hasher);
    }
}

/// A hash for telling a few keys apart.
///
/// Whoever makes many alike gains [`FEW_MAX`] comparisons, so it needs no secret.
#[inline]
fn short_hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::encoding::field::{Field, NewFieldValue};

    fn name(number: u16) -> Vec<u8> {
        format!("field:{number}").into_bytes()
    }

    #[derive(Clone, Debug)]
    enum Op {
        Set(u16, u16),
        SetMany(u16, u16),
        Deadline(u16, Option<i64>),
        Remove(u16),
        RemoveMany(u16, u16),
        Expire(i64),
        Scan,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            4 => (0..200u16, any::<u16>()).prop_map(|(n, value)| Op::Set(n, value)),
            1 => (0..900u16, 0..300u16).prop_map(|(n, len)| Op::SetMany(n, len)),
            3 => (0..200u16, prop::option::of(0..1000i64)).prop_map(|(n, at)| Op::Deadline(n, at)),
            3 => (0..200u16).prop_map(Op::Remove),
            1 => (0..900u16, 0..300u16).prop_map(|(n, len)| Op::RemoveMany(n, len)),
            1 => (0..1000i64).prop_map(Op::Expire),
            4 => Just(Op::Scan),
        ];
        prop::collection::vec(op, 1..60)
    }

    #[derive(Default)]
    struct Model {
        bag: Bag<Field>,
        expected: BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>,
    }

    impl Model {
        fn set(&mut self, number: u16, value: u16) {
            let (key, text) = (name(number), value.to_string().into_bytes());
            let added = self.bag.upsert(
                &key,
                NewFieldValue::Bytes(&text),
                &KeyHasher::seeded(5),
                |field, value| field.set_value(value),
                |value| Field::new(&key, value, None),
            );
            let before = self.expected.get(&key).and_then(|(_, deadline)| *deadline);
            assert_eq!(added, self.expected.insert(key, (text, before)).is_none());
        }

        fn remove(&mut self, number: u16) {
            let removed = self.bag.remove(&name(number)).is_some();
            assert_eq!(removed, self.expected.remove(&name(number)).is_some());
        }

        fn expire(&mut self, now_ms: i64) {
            let expected = &mut self.expected;
            while self.bag.expire_some(now_ms, |field| {
                let gone = expected.remove(field.view().name()).expect("it was there");
                assert!(gone.1.is_some_and(|at_ms| at_ms <= now_ms));
            }) {}
            assert!(self.bag.min_expire_ms().is_none_or(|at_ms| at_ms > now_ms));
        }

        fn check(&self) {
            assert_eq!(self.bag.len(), self.expected.len());
            let deadlines: Vec<i64> = self.expected.values().filter_map(|(_, at)| *at).collect();
            assert_eq!(self.bag.volatile_len(), deadlines.len());
            assert_eq!(self.bag.min_expire_ms().is_some(), !deadlines.is_empty());
            assert!(deadlines.iter().all(|at| self.bag.min_expire_ms() <= Some(*at)));
            for (key, (value, deadline)) in &self.expected {
                let view = self.bag.get(key).expect("it is there");
                assert_eq!((view.value(), view.deadline()), (&value[..], *deadline));
            }
            let mut seen = BTreeSet::new();
            self.bag.for_each(|view| assert!(seen.insert(view.name())));
            assert_eq!(seen.len(), self.expected.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn agrees_with_a_map_while_a_scan_runs(ops in ops()) {
            let mut model = Model::default();
            // These stay throughout, so the scan must see every one of them.
            (2000..2020).for_each(|n| model.set(n, 0));
            let (mut cursor, mut seen) = (Some(0), BTreeSet::new());
            let mut step = |bag: &Bag<Field>| {
                let Some(from) = cursor else { return false };
                let next = bag.scan(from, 3, |view| {
                    seen.insert(view.name().to_vec());
                });
                cursor = (next != 0).then_some(next);
                true
            };
            for op in ops {
                match op {
                    Op::Set(n, value) => model.set(n, value),
                    Op::SetMany(n, len) => (n..n + len).for_each(|n| model.set(n, n)),
                    Op::Deadline(n, at_ms) => {
                        let found = model.bag.update(&name(n), |field| field.set_deadline(at_ms));
                        let expected = model.expected.get_mut(&name(n));
                        prop_assert_eq!(found.is_some(), expected.is_some());
                        if let Some((_, deadline)) = expected {
                            *deadline = at_ms;
                        }
                    }
                    Op::Remove(n) => model.remove(n),
                    Op::RemoveMany(n, len) => (n..n + len).for_each(|n| model.remove(n)),
                    Op::Expire(now_ms) => model.expire(now_ms),
                    Op::Scan => drop(step(&model.bag)),
                }
            }
            model.check();
            while step(&model.bag) {}
            prop_assert!((2000..2020).all(|n| seen.contains(&name(n))));
        }
    }

    #[test]
    fn both_forms_choose_evenly() {
        for len in [10u16, 1000] {
            let mut model = Model::default();
            (0..len).for_each(|n| model.set(n, n));
            let (mut random, mut counts) = (Random::seeded(3), BTreeMap::new());
            for _ in 0..u32::from(len) * 100 {
                let chosen = model.bag.random(&mut random).expect("there are fields");
                *counts.entry(chosen.name().to_vec()).or_insert(0u32) += 1;
            }
            assert_eq!(counts.len(), usize::from(len));
            assert!(counts.values().all(|count| (50..170).contains(count)), "{counts:?}");
        }
    }
}
