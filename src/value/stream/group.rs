//! Consumer groups: what was delivered to whom and is not acknowledged yet.
//!
//! ```text
//! group     pending: id -> when, how often, to whom        consumers by name, numbered
//! consumer  pending: the ids that are its own
//! ```
//!
//! Invariant: an id is pending at a consumer exactly if the group has it pending for that consumer. What
//! is pending is also ordered by the time of its delivery once somebody asked for that order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::range::is_in;
use super::{Ids, Stream, StreamId};
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
    by_time: Option<BTreeSet<(i64, StreamId)>>,
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
        Self { last_id, entries_read, pending, by_time: None, consumers, names }
    }

    /// All that is pending, by id.
    pub fn pending(&self) -> &BTreeMap<StreamId, Pending> {
        &self.pending
    }

    /// What is pending, what was delivered first in front; what was given back before all others.
    pub fn by_time(&mut self) -> &BTreeSet<(i64, StreamId)> {
        let pending = &self.pending;
        self.by_time.get_or_insert_with(|| {
            pending.iter().map(|(id, pending)| (pending.delivered_at_ms, *id)).collect()
        })
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
            if let (Some(pending), Some(by_time)) = (self.pending.remove(id), &mut self.by_time) {
                by_time.remove(&(pending.delivered_at_ms, *id));
            }
        }
        Some(consumer.pending.len())
    }

    /// Makes an entry pending as told, whatever it was before.
    pub fn set_pending(&mut self, id: StreamId, pending: Pending) {
        let before = self.pending.insert(id, pending);
        if let Some(by_time) = &mut self.by_time {
            if let Some(before) = before {
                by_time.remove(&(before.delivered_at_ms, id));
            }
            by_time.insert((pending.delivered_at_ms, id));
        }
        let before = before.and_then(|before| before.consumer);
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
        if let Some(by_time) = &mut self.by_time {
            by_time.remove(&(pending.delivered_at_ms, id));
        }
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
        if self.pending.contains_key(&id) {
            return Err(Corrupt { what: "entry twice in a group's list", at: 0 });
        }
        self.set_pending(id, Pending { delivered_at_ms, deliveries, consumer: None });
        Ok(())
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

    /// Whether a group still has to get the entry, or its acknowledgement.
    pub fn is_referenced(&self, id: StreamId) -> bool {
        self.groups.values().any(|group| group.last_id < id || group.pending.contains_key(&id))
    }

    /// Ends that an entry is pending, in every group; whether it was.
    pub fn drop_references(&mut self, id: StreamId) -> bool {
        let removed = self.groups.values_mut().filter_map(|group| group.remove_pending(id));
        removed.count() > 0
    }

    /// Notes that a group got these entries, which ascend: its last id and its count move on, and
    /// the entries are pending for `consumer`, if one is given. Whether the last id moved.
    ///
    /// # Panics
    ///
    /// When there is no such group.
    pub fn deliver(
        &mut self,
        group: &[u8],
        ids: &[StreamId],
        consumer: Option<ConsumerId>,
        now_ms: i64,
    ) -> bool {
        let (past, len) = (self.ids, self.len);
        let group = self.groups.get_mut(group).expect("the group was looked up");
        let before = group.last_id;
        for id in ids {
            if *id > group.last_id {
                let is_sure = group.last_id >= past.first && !past.has_gap_from(len, group.last_id);
                match &mut group.entries_read {
                    Some(read) if is_sure => *read = read.saturating_add(1),
                    unsure if past.added > 0 => *unsure = past.added_up_to(len, *id),
                    _ => {}
                }
                group.last_id = *id;
            }
            if consumer.is_some() {
                group
                    .set_pending(*id, Pending { delivered_at_ms: now_ms, deliveries: 1, consumer });
            }
        }
        if let Some(consumer) = consumer
            && !ids.is_empty()
        {
            group.consumer_mut(consumer).active_at_ms = Some(now_ms);
        }
        group.last_id > before
    }

    /// The entries that are pending in a group since `until_ms` or longer, those that wait longest
    /// first, `count` at most. What is not in the stream any more is left out.
    pub fn claimable(&mut self, group: &[u8], until_ms: i64, count: usize) -> Vec<StreamId> {
        let Some(group) = self.groups.get_mut(group) else { return Vec::new() };
        let (nodes, by_time) = (&self.nodes, group.by_time());
        let waits = by_time.iter().take_while(|(at_ms, _)| *at_ms <= until_ms);
        waits.map(|(_, id)| *id).filter(|id| is_in(nodes, *id)).take(count).collect()
    }

    /// When the entry that waits longest in a group was delivered, in Unix milliseconds.
    pub fn oldest_pending_ms(&mut self, group: &[u8]) -> Option<i64> {
        let (nodes, group) = (&self.nodes, self.groups.get_mut(group)?);
        let found = group.by_time().iter().find(|(_, id)| is_in(nodes, *id));
        found.map(|(at_ms, _)| *at_ms)
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
            Some(read) if !ids.has_gap_from(self.len, group.last_id) => read,
            _ => ids.added_up_to(self.len, group.last_id)?,
        };
        Some((ids.added as i64).wrapping_sub(read as i64))
    }
}

impl Ids {
    /// How many entries were added up to that id, as far as it can be told without counting those of
    /// the stream, which are `len` (Redis: streamEstimateDistanceFromFirstEverEntry).
    pub fn added_up_to(&self, len: u64, id: StreamId) -> Option<u64> {
        if self.added == 0 {
            return Some(0);
        }
        if len == 0 && id <= self.last {
            return Some(self.added);
        }
        if !id.is_min() && id < self.max_deleted {
            return None;
        }
        if id >= self.last {
            return (id == self.last).then_some(self.added);
        }
        if !self.max_deleted.is_min() && self.max_deleted >= self.first {
            return None;
        }
        let before = self.added.saturating_sub(len);
        match id.cmp(&self.first) {
            std::cmp::Ordering::Less => Some(before),
            std::cmp::Ordering::Equal => Some(before + 1),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// Whether an entry from that id on was deleted, as far as it is remembered.
    fn has_gap_from(&self, len: u64, id: StreamId) -> bool {
        len > 0 && !self.max_deleted.is_min() && id <= self.max_deleted
    }
}
