//! Consumer groups: what was delivered to whom and is not acknowledged yet.
//!
//! ```text
//! group     pending: id -> when, how often, to whom        consumers by name, numbered
//! consumer  pending: the ids that are its own
//! ```
//!
//! Invariant: an id is pending at a consumer exactly if the group has it pending for that consumer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Stream, StreamId};
use crate::encoding::Corrupt;

/// Bytes that one of many pending entries takes in both places.
const PENDING_LEN: usize = 2 * (2 * size_of::<StreamId>() + size_of::<Pending>());

/// A consumer's number within its group. It is another's once the consumer is removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConsumerId(u32);

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pending {
    /// When it was delivered last, in Unix milliseconds.
    pub delivered_at_ms: i64,
    /// How often it was delivered.
    pub deliveries: u64,
    /// To whom; `None` when that consumer gave it back.
    pub consumer: Option<ConsumerId>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Group {
    /// The last id that was delivered.
    pub last_id: StreamId,
    /// How many entries were delivered, as far as that can be told.
    pub entries_read: Option<u64>,
    pending: BTreeMap<StreamId, Pending>,
    /// By number; removed ones leave a gap.
    consumers: Vec<Option<Consumer>>,
    names: BTreeMap<Arc<[u8]>, ConsumerId>,
}

/// A consumer of a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Arc<[u8]>,
    /// When it asked for something last, in Unix milliseconds.
    pub seen_at_ms: i64,
    /// When it got something last, in Unix milliseconds.
    pub active_at_ms: Option<i64>,
    pending: BTreeSet<StreamId>,
}

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The ids that are pending for it.
    pub fn pending(&self) -> &BTreeSet<StreamId> {
        &self.pending
    }
}

impl Group {
    pub(super) fn new(last_id: StreamId, entries_read: Option<u64>) -> Self {
        let (pending, consumers, names) = Default::default();
        Self { last_id, entries_read, pending, consumers, names }
    }

    /// All that is pending, by id.
    pub fn pending(&self) -> &BTreeMap<StreamId, Pending> {
        &self.pending
    }

    /// What is pending of that id.
    pub fn pending_mut(&mut self, id: StreamId) -> Option<&mut Pending> {
        self.pending.get_mut(&id)
    }

    /// The consumers in the order of their names.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = (ConsumerId, &Consumer)> {
        self.names.values().map(|id| (*id, self.consumer(*id)))
    }

    /// The number of the consumer of that name.
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerId> {
        self.names.get(name).copied()
    }

    /// The consumer of that number.
    ///
    /// # Panics
    ///
    /// When it was removed.
    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        self.consumers[id.0 as usize].as_ref().expect("a number is used as long as its consumer is")
    }

    /// The consumer of that number, for changing it.
    ///
    /// # Panics
    ///
    /// When it was removed.
    pub fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.consumers[id.0 as usize].as_mut().expect("a number is used as long as its consumer is")
    }

    /// Adds a consumer of a name that there is none of.
    pub fn create_consumer(&mut self, name: &[u8], seen_at_ms: i64) -> ConsumerId {
        debug_assert!(self.find_consumer(name).is_none());
        let name: Arc<[u8]> = name.into();
        let (shared, pending) = (Arc::clone(&name), BTreeSet::new());
        let consumer = Some(Consumer { name, seen_at_ms, active_at_ms: None, pending });
        let gap = (self.names.len() < self.consumers.len())
            .then(|| self.consumers.iter().position(Option::is_none))
            .flatten();
        let at = gap.unwrap_or(self.consumers.len());
        let id = ConsumerId(u32::try_from(at).expect("each consumer came as a request"));
        match gap {
            Some(at) => self.consumers[at] = consumer,
            None => self.consumers.push(consumer),
        }
        self.names.insert(shared, id);
        id
    }

    /// Removes a consumer with all that is pending for it; returns how much that was.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let id = self.names.remove(name)?;
        let consumer = self.consumers[id.0 as usize].take()?;
        for id in &consumer.pending {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// Makes an entry pending as told, whatever it was before.
    pub fn set_pending(&mut self, id: StreamId, pending: Pending) {
        let before = self.pending.insert(id, pending).and_then(|before| before.consumer);
        if before == pending.consumer {
            return;
        }
        if let Some(before) = before {
            self.consumer_mut(before).pending.remove(&id);
        }
        if let Some(owner) = pending.consumer {
            self.consumer_mut(owner).pending.insert(id);
        }
    }

    /// Ends that an entry is pending; what it was.
    pub fn remove_pending(&mut self, id: StreamId) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        if let Some(owner) = pending.consumer {
            self.consumer_mut(owner).pending.remove(&id);
        }
        Some(pending)
    }

    /// Adds what a file says is pending, to whom it does not say yet.
    ///
    /// # Errors
    ///
    /// When the entry is pending already.
    pub fn load_pending(
        &mut self,
        id: StreamId,
        delivered_at_ms: i64,
        deliveries: u64,
    ) -> Result<(), Corrupt> {
        let pending = Pending { delivered_at_ms, deliveries, consumer: None };
        match self.pending.insert(id, pending) {
            None => Ok(()),
            Some(_) => Err(Corrupt { what: "entry twice in a group's list", at: 0 }),
        }
    }

    /// Adds a consumer of a file.
    ///
    /// # Errors
    ///
    /// When there is one of that name.
    pub fn load_consumer(
        &mut self,
        name: &[u8],
        seen_at_ms: i64,
        active_at_ms: Option<i64>,
    ) -> Result<ConsumerId, Corrupt> {
        if self.find_consumer(name).is_some() {
            return Err(Corrupt { what: "consumer twice in a group", at: 0 });
        }
        let id = self.create_consumer(name, seen_at_ms);
        self.consumer_mut(id).active_at_ms = active_at_ms;
        Ok(id)
    }

    /// Says of what a file says is pending that it is for that consumer.
    ///
    /// # Errors
    ///
    /// When the entry is not pending, or for somebody else.
    pub fn load_owner(&mut self, id: StreamId, consumer: ConsumerId) -> Result<(), Corrupt> {
        let missing = Corrupt { what: "consumer's entry not in its group's list", at: 0 };
        let pending = self.pending.get_mut(&id).ok_or(missing)?;
        if pending.consumer.is_some() {
            return Err(Corrupt { what: "entry of two consumers", at: 0 });
        }
        pending.consumer = Some(consumer);
        self.consumer_mut(consumer).pending.insert(id);
        Ok(())
    }

    /// How many pending entries are of nobody.
    pub fn unowned(&self) -> usize {
        let owned: usize = self.consumers().map(|(_, consumer)| consumer.pending.len()).sum();
        self.pending.len() - owned
    }

    pub(super) fn memory(&self) -> usize {
        let consumers = self.consumers().map(|(_, consumer)| consumer.name.len());
        let each = 2 * size_of::<Option<Consumer>>();
        self.pending.len() * PENDING_LEN
            + self.consumers.capacity() * each
            + consumers.sum::<usize>()
    }

    pub(super) fn free_effort(&self) -> usize {
        // A node of a B-tree has at least five items.
        1 + self.consumers.len() + self.pending.len() / 5
    }
}

impl Stream {
    /// The groups in the order of their names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, group))
    }

    /// The group of that name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// The group of that name, for changing it.
    pub fn group_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.groups.get_mut(name)
    }

    /// Adds a group; `None` when there is one of that name.
    pub fn create_group(
        &mut self,
        name: &[u8],
        last_id: StreamId,
        entries_read: Option<u64>,
    ) -> Option<&mut Group> {
        match self.groups.entry(name.into()) {
            std::collections::btree_map::Entry::Occupied(_) => None,
            std::collections::btree_map::Entry::Vacant(empty) => {
                Some(empty.insert(Group::new(last_id, entries_read)))
            }
        }
    }

    /// Removes a group; `None` when there is none of that name.
    pub fn remove_group(&mut self, name: &[u8]) -> Option<Group> {
        self.groups.remove(name)
    }

    /// How many entries were added up to that id, as far as it can be told without counting
    /// (Redis: streamEstimateDistanceFromFirstEverEntry).
    pub fn added_up_to(&self, id: StreamId) -> Option<u64> {
        let ids = self.ids;
        if ids.added == 0 {
            return Some(0);
        }
        if self.is_empty() && id <= ids.last {
            return Some(ids.added);
        }
        if !id.is_min() && id < ids.max_deleted {
            return None;
        }
        if id >= ids.last {
            return (id == ids.last).then_some(ids.added);
        }
        if !ids.max_deleted.is_min() && ids.max_deleted >= ids.first {
            return None;
        }
        let before = ids.added.saturating_sub(self.len);
        match id.cmp(&ids.first) {
            std::cmp::Ordering::Less => Some(before),
            std::cmp::Ordering::Equal => Some(before + 1),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// Whether an entry from that id on was deleted, as far as it is remembered.
    pub fn has_gap_from(&self, id: StreamId) -> bool {
        !self.is_empty() && !self.ids.max_deleted.is_min() && id <= self.ids.max_deleted
    }

    /// How many entries a group is behind, if that can be told without counting.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        let ids = self.ids;
        if ids.added == 0 || self.is_empty() {
            return Some(0);
        }
        if group.last_id < ids.first && ids.max_deleted < ids.first {
            return i64::try_from(self.len).ok();
        }
        let read = match group.entries_read {
            Some(read) if !self.has_gap_from(group.last_id) => read,
            _ => self.added_up_to(group.last_id)?,
        };
        Some((ids.added as i64).wrapping_sub(read as i64))
    }
}
