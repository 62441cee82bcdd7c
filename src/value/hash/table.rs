//! A large hash: fields of their own allocation, found by name.

use std::fmt;

use crate::base::hash::KeyHasher;
use crate::base::random::Random;
use crate::encoding::field::{Field, FieldView, NewFieldValue};
use crate::encoding::table::{Bag, Encode, Shape, SharedReading};

/// Fields that are looked at for an estimate of all fields' memory.
const MEMORY_SAMPLES: usize = 256;

/// What a look for expired fields takes from its budget at least.
const VISIT_COST: usize = 32;

/// The fields of a large hash, or of one that has deadlines.
#[derive(Default)]
pub struct HashTable {
    fields: Bag<Field>,
}

impl HashTable {
    /// An empty hash that is to get `len` fields.
    pub fn with_room(len: usize) -> Self {
        Self { fields: Bag::with_room(len) }
    }

    /// How many fields there are, expired ones that nobody has removed included.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// How the hash table is built, if the fields are so many that there is one.
    pub fn shape(&self, full: bool) -> Option<Shape> {
        self.fields.shape(full)
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// No field expires before this, in Unix milliseconds; `None` when none has a deadline.
    pub fn min_expire_ms(&self) -> Option<i64> {
        self.fields.min_expire_ms()
    }

    /// The field `name`.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<FieldView<'_>> {
        self.fields.get(name)
    }

    /// Asks for the memory of the fields `names`; see [`Bag::prefetch`].
    pub fn prefetch<'n>(&self, names: impl Iterator<Item = &'n [u8]>) {
        self.fields.prefetch(names);
    }

    /// Visits every field.
    pub fn for_each<'a>(&'a self, visit: impl FnMut(FieldView<'a>)) {
        self.fields.for_each(visit);
    }

    /// Visits fields from `cursor` on; see [`Bag::scan`].
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, visit: impl FnMut(FieldView<'a>)) -> u64 {
        self.fields.scan(cursor, count, visit)
    }

    /// Begins to read all fields as they are now; see [`Bag::begin_reading`].
    pub fn begin_reading(&mut self, encode: Encode<Field>) -> Option<SharedReading<Field>> {
        self.fields.begin_reading(encode)
    }

    /// Goes on with a reading; see [`Bag::read_on`].
    pub fn read_on(&mut self, reading: &SharedReading<Field>, count: usize) -> bool {
        self.fields.read_on(reading, count)
    }

    /// Tells readers of another name; see [`Bag::note_moved`].
    pub fn note_moved(&mut self, name: &[u8]) {
        self.fields.note_moved(name);
    }

    /// A field chosen with equal chance among all.
    pub fn random(&self, random: &mut Random) -> Option<FieldView<'_>> {
        self.fields.random(random)
    }

    /// Sets field `name` to `value`; `true` when it was not there. What becomes of the deadline of
    /// one that was there says `deadline`, from what it is.
    #[inline]
    pub fn set(
        &mut self,
        name: &[u8],
        value: NewFieldValue<'_>,
        hasher: &KeyHasher,
        deadline: impl FnOnce(i64) -> Option<i64>,
    ) -> bool {
        self.fields.upsert(
            name,
            value,
            hasher,
            |field, value| {
                if let Some(at_ms) = field.view().deadline() {
                    field.set_deadline(deadline(at_ms));
                }
                field.set_value(value);
            },
            |value| Field::new(name, value, None),
        )
    }

    /// Sets or removes the deadline of field `name`; `false` when it is not there.
    pub fn set_deadline(&mut self, name: &[u8], at_ms: Option<i64>) -> bool {
        self.fields.update(name, |field| field.set_deadline(at_ms)).is_some()
    }

    /// Removes field `name`; `false` when it is not there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        self.fields.remove(name).is_some()
    }

    /// Removes fields that expired at or before `now_ms` until none are left or `budget`, which is
    /// reduced by about the number of fields looked at, is used up; adds their names to `removed`.
    pub fn expire(&mut self, now_ms: i64, budget: &mut usize, removed: &mut Vec<Box<[u8]>>) {
        while *budget > 0 && self.min_expire_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            let before = removed.len();
            self.fields.expire_some(now_ms, |field| removed.push(field.view().name().into()));
            *budget = budget.saturating_sub((removed.len() - before).max(VISIT_COST));
        }
    }

    /// Bytes of memory behind the table, estimated from some of its fields.
    pub fn memory(&self) -> usize {
        let (mut seen, mut sum, mut cursor) = (0, 0, 0);
        loop {
            cursor = self.scan(cursor, MEMORY_SAMPLES - seen, |field| {
                seen += 1;
                sum += field.memory();
            });
            if cursor == 0 || seen >= MEMORY_SAMPLES {
                break;
            }
        }
        self.fields.overhead() + sum * self.len() / seen.max(1)
    }
}

impl Clone for HashTable {
    fn clone(&self) -> Self {
        Self { fields: self.fields.duplicate(|field| field.to_field()) }
    }
}

impl fmt::Debug for HashTable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "HashTable of {}", self.len())
    }
}
