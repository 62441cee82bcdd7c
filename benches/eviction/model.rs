//! The trace, and caches that evict exactly.

use std::collections::{BTreeSet, HashMap};

/// A cache of keys.
pub(crate) trait Model {
    /// Whether the key was there; it is afterwards.
    fn get(&mut self, key: u32) -> bool;
}

/// Keys drawn by Zipf's law: the k-th most popular with a weight of 1 / k^s. Popularity has nothing to do
/// with a key's number.
pub(crate) fn trace(keys: usize, requests: usize, exponent: f64) -> Vec<u32> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut sums = Vec::with_capacity(keys);
    let mut sum = 0.0;
    for rank in 1..=keys {
        sum += (rank as f64).powf(-exponent);
        sums.push(sum);
    }
    let mut names: Vec<u32> = (0..keys as u32).collect();
    random.shuffle(&mut names);
    (0..requests)
        .map(|_| {
            let draw = random.f64() * sum;
            names[sums.partition_point(|sum| *sum < draw).min(keys - 1)]
        })
        .collect()
}

/// Evicts the key that was used longest ago.
pub(crate) struct Lru {
    room: usize,
    clock: u64,
    used: HashMap<u32, u64>,
    order: BTreeSet<(u64, u32)>,
}

impl Lru {
    pub(crate) fn new(room: usize) -> Self {
        Self { room, clock: 0, used: HashMap::new(), order: BTreeSet::new() }
    }
}

impl Model for Lru {
    fn get(&mut self, key: u32) -> bool {
        self.clock += 1;
        let before = self.used.insert(key, self.clock);
        if let Some(before) = before {
            self.order.remove(&(before, key));
        } else if self.used.len() > self.room
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.used.remove(&oldest);
        }
        self.order.insert((self.clock, key));
        before.is_some()
    }
}

/// Evicts the key that was used least often since it came, of several the one used longest ago.
pub(crate) struct Lfu {
    room: usize,
    clock: u64,
    used: HashMap<u32, (u64, u64)>,
    order: BTreeSet<(u64, u64, u32)>,
}

impl Lfu {
    pub(crate) fn new(room: usize) -> Self {
        Self { room, clock: 0, used: HashMap::new(), order: BTreeSet::new() }
    }
}

impl Model for Lfu {
    fn get(&mut self, key: u32) -> bool {
        self.clock += 1;
        let before = self.used.get(&key).copied();
        if let Some((count, at)) = before {
            self.order.remove(&(count, at, key));
        } else if self.used.len() == self.room
            && let Some((.., least)) = self.order.pop_first()
        {
            self.used.remove(&least);
        }
        let count = before.map_or(1, |(count, _)| count + 1);
        self.used.insert(key, (count, self.clock));
        self.order.insert((count, self.clock, key));
        before.is_some()
    }
}
