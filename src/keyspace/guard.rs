//! A collection being changed in its place.

use std::marker::PhantomData;
use std::ops::Range;

use super::changes::{Changes, Expired, Key};
use super::entry::{Entry, NewValue, object_mut};
use super::event::Event;
use super::{Db, ExpiredFields, Keyspace, Stats};
use crate::encoding::table::Position;
use crate::value::packed::{Packed, PackedForm, Place};
use crate::value::{Collection, EditContext, Value, ValueView};

/// The entry that holds a collection.
pub(super) struct EntryPlace<'a> {
    pub(super) table: &'a mut Db,
    pub(super) position: Position,
    /// The access bits that a change leaves, where only changes count.
    pub(super) access: Option<u32>,
    /// What the entry weighed when it was last looked at, if weights are counted.
    pub(super) weight: Option<usize>,
}

impl<'a> EntryPlace<'a> {
    pub(super) fn new(table: &'a mut Db, position: Position, access: Option<u32>) -> Self {
        let weight = table.weight_at(position);
        Self { table, position, access, weight }
    }

    /// Counts what the object has become since the last time.
    fn weigh(&mut self) {
        if self.weight.is_some() {
            self.table.note_weight(self.position, self.weight);
            self.weight = self.table.weight_at(self.position);
        }
    }

    /// Changes the entry.
    fn update(&mut self, change: impl FnOnce(&mut Entry)) {
        self.weigh();
        self.table.update(self.position, change);
        self.weight = self.table.weight_at(self.position);
    }

    fn value(&self) -> ValueView<'_> {
        self.table.view(self.position).value()
    }
}

impl Place for EntryPlace<'_> {
    fn packed(&self) -> Option<Packed<'_>> {
        match self.value() {
            ValueView::Packed(packed) => Some(packed),
            _ => None,
        }
    }

    fn splice(&mut self, at: Range<usize>, with: &[u8], count: usize) {
        self.update(|entry| entry.splice(at, with, count));
    }

    fn set_packed(&mut self, form: PackedForm, body: &[u8], count: usize) {
        let packed = Packed { form, count: Some(count), body };
        self.update(|entry| entry.set_value(NewValue::Packed(packed)));
    }

    fn set_object(&mut self, object: Value) {
        let value = NewValue::Object(Box::new(object));
        self.update(|entry| entry.set_value(value));
    }

    fn object(&self) -> Option<&Value> {
        match self.value() {
            ValueView::Object(object) => Some(object),
            _ => None,
        }
    }

    fn object_mut(&mut self) -> Option<&mut Value> {
        self.table.before_change_at(self.position);
        object_mut(self.table, self.position)
    }
}

/// A collection that is being changed.
///
/// When the guard goes and nothing is left in the collection, its key goes too, with a `del` event
/// if the command announced a change. Deadlines that elements got become known to the active cycle.
pub struct Guard<'a, K: Collection> {
    place: EntryPlace<'a>,
    changes: &'a mut Changes,
    stats: &'a mut Stats,
    keyspace: &'a Keyspace,
    now_ms: i64,
    /// Database, key, and whether clients mind its changes.
    what: (usize, Key<'a>, bool),
    changed: bool,
    kind: PhantomData<K>,
}

impl<'a, K: Collection> Guard<'a, K> {
    pub(super) fn new(
        place: EntryPlace<'a>,
        (changes, stats): (&'a mut Changes, &'a mut Stats),
        keyspace: &'a Keyspace,
        now_ms: i64,
        what: (usize, Key<'a>, bool),
    ) -> Self {
        Self { place, changes, stats, keyspace, now_ms, what, changed: false, kind: PhantomData }
    }

    /// The collection as it is.
    #[inline]
    pub fn view(&self) -> K::View<'_> {
        self.place.value().of::<K>().unwrap_or_else(|_| panic!("an editor keeps the type"))
    }

    /// What changes the collection.
    #[inline]
    pub fn edit(&mut self) -> K::Edit<'_> {
        let context = EditContext {
            limits: self.keyspace.limits(),
            hasher: self.keyspace.hasher(),
            now_ms: self.now_ms,
        };
        K::edit(&mut self.place, context)
    }

    /// Announces a change; each call counts one.
    #[inline]
    pub fn changed(&mut self, event: Event) {
        self.changed = true;
        self.changes.note(self.what, event);
    }

    /// Counts a change that is none of the value as who watches the key sees it; who listens to
    /// events learns of it.
    pub fn noted(&mut self, event: Event) {
        self.changed = true;
        self.changes.dirty += 1;
        self.changes.note_also((self.what.0, self.what.1, false), event);
    }

    /// Lets who waits for the key look again, without a change that others mind.
    pub fn wake_waiters(&mut self) {
        if self.what.2 {
            self.changes.note_ready(self.what.0, self.what.1);
        }
    }

    /// Announces `count` changes that are one event.
    pub fn changed_by(&mut self, count: usize, event: Event) {
        if count > 0 {
            self.changed(event);
            self.changes.dirty += count as u64 - 1;
        }
    }

    /// Announces that elements were removed because their deadlines had passed.
    pub fn expired(&mut self, fields: Vec<Box<[u8]>>) {
        if fields.is_empty() {
            return;
        }
        self.changed = true;
        self.stats.expired_fields += fields.len() as u64;
        if self.changes.is_followed() {
            let fields = ExpiredFields { db: self.what.0, key: self.what.1.bytes.into(), fields };
            self.changes.expired.push(Expired::Fields(fields));
            self.also(Event::HEXPIRED);
        }
    }

    /// Announces a further event of a change that is counted already.
    pub fn also(&mut self, event: Event) {
        self.changes.note_also(self.what, event);
    }
}

impl<K: Collection> Drop for Guard<'_, K> {
    fn drop(&mut self) {
        self.place.weigh();
        let value = self.place.value();
        if !value.is_empty() {
            if matches!(value, ValueView::Object(_)) {
                self.place.table.note_due_at(self.place.position);
            }
            let EntryPlace { table, position, access, .. } = &mut self.place;
            if let Some(access) = access.filter(|_| self.changed) {
                table.touch(*position, |entry| entry.set_access(access));
            }
            return;
        }
        let EntryPlace { table, position, .. } = &mut self.place;
        let entry = table.remove(self.what.1.hash, *position, self.keyspace.hasher());
        self.changes.discard(entry);
        if self.changed {
            self.changes.note_also(self.what, Event::DEL);
        }
    }
}
