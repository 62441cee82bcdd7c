//! Entries that producers may send again, so that they are added once (Redis 8.6).
//!
//! A producer gives each entry an idempotent id. As long as that is remembered, the same id is answered
//! with the entry that it stands for. Ids are forgotten by number and by the age of their entries.
//!
//! Invariant: a producer's ids are in the order in which they came, and found by name.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::StreamId;

/// Producers of which none is looked for because all its ids are too old.
const SWEEP_MIN: usize = 16;

/// How long and how many ids are remembered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IdempotenceLimits {
    /// How long, in seconds.
    pub duration_s: u64,
    /// How many of each producer.
    pub entries: u64,
}

impl IdempotenceLimits {
    /// Longest time to remember an id, in seconds.
    pub const DURATION_MAX: u64 = 86_400;

    /// Most ids of one producer to remember.
    pub const ENTRIES_MAX: u64 = 10_000;

    /// Whether a stream may have these.
    pub fn are_valid(&self) -> bool {
        (1..=Self::DURATION_MAX).contains(&self.duration_s)
            && (1..=Self::ENTRIES_MAX).contains(&self.entries)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Idempotence {
    limits: IdempotenceLimits,
    producers: BTreeMap<Box<[u8]>, Producer>,
    /// At so many producers those whose ids are all too old are removed.
    sweep_at: usize,
    /// How many ids there ever were.
    pub added: u64,
    /// How many entries were not added because their ids were known.
    pub duplicates: u64,
}

#[derive(Clone, Debug, Default)]
struct Producer {
    entries: HashMap<Arc<[u8]>, StreamId>,
    order: VecDeque<(Arc<[u8]>, StreamId)>,
}

impl Producer {
    fn forget_up_to(&mut self, ms: u64) {
        while self.order.front().is_some_and(|(_, id)| id.ms <= ms) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((name, _)) = self.order.pop_front() {
            self.entries.remove(&name);
        }
    }
}

impl Idempotence {
    /// Nothing is known yet.
    pub fn new(limits: IdempotenceLimits) -> Self {
        Self { limits, producers: BTreeMap::new(), sweep_at: SWEEP_MIN, added: 0, duplicates: 0 }
    }

    /// The limits.
    pub fn limits(&self) -> IdempotenceLimits {
        self.limits
    }

    /// Changes the limits; if they are others, all ids are forgotten, and `true` returned.
    pub fn set_limits(&mut self, limits: IdempotenceLimits) -> bool {
        let changed = self.limits != limits;
        if changed {
            self.limits = limits;
            self.producers.clear();
        }
        changed
    }

    /// The entry that a producer's id stands for.
    pub fn find(&mut self, producer: &[u8], name: &[u8], now_ms: u64) -> Option<StreamId> {
        let until = self.too_old(now_ms);
        let producer = self.producers.get_mut(producer)?;
        producer.forget_up_to(until);
        producer.entries.get(name).copied()
    }

    /// Remembers that a producer's id, which is not known, stands for an entry.
    pub fn insert(&mut self, producer: &[u8], name: &[u8], id: StreamId, now_ms: u64) {
        let until = self.too_old(now_ms);
        if self.producers.len() >= self.sweep_at && !self.producers.contains_key(producer) {
            self.producers.retain(|_, producer| {
                producer.forget_up_to(until);
                !producer.order.is_empty()
            });
            self.sweep_at = (2 * self.producers.len()).max(SWEEP_MIN);
        }
        let known = self.producers.entry(producer.into()).or_default();
        let name: Arc<[u8]> = name.into();
        known.entries.insert(Arc::clone(&name), id);
        known.order.push_back((name, id));
        while known.order.len() as u64 > self.limits.entries {
            known.forget_first();
        }
        self.added += 1;
    }

    /// The time up to which entries are too old, in Unix milliseconds.
    fn too_old(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.limits.duration_s.saturating_mul(1000))
    }

    /// How many producers and ids are remembered and not too old.
    pub fn tracked(&self, now_ms: u64) -> (usize, usize) {
        let until = self.too_old(now_ms);
        let young = |producer: &Producer| {
            producer.order.len() - producer.order.partition_point(|(_, id)| id.ms <= until)
        };
        let counts = self.producers.values().map(young).filter(|count| *count > 0);
        counts.fold((0, 0), |(producers, ids), count| (producers + 1, ids + count))
    }

    /// All that is remembered: producer, its id, and the entry, the oldest of each producer first.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8], StreamId)> {
        self.producers.iter().flat_map(|(producer, known)| {
            known.order.iter().map(move |(name, id)| (&**producer, &**name, *id))
        })
    }

    /// How many ids are held, too old ones included.
    pub fn len(&self) -> usize {
        self.producers.values().map(|producer| producer.order.len()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn memory(&self) -> usize {
        let entry = 2 * size_of::<(Arc<[u8]>, StreamId)>() + 2 * size_of::<usize>();
        let each = |producer: &Producer| {
            size_of::<Producer>()
                + producer.order.iter().map(|(name, _)| name.len() + entry).sum::<usize>()
        };
        size_of::<Self>() + self.producers.values().map(each).sum::<usize>()
    }
}
