//! Which keys are asked for most: each event loop looks at one request in about a hundred.
//!
//! What was seen goes into a Space-Saving summary (Metwally et al., 2005) of the event loop: a bounded
//! list of keys with counts, in which an unknown key takes the place of the least one and inherits its
//! count as a possible error. A key that gets more than one in `KEYS_MAX` of all requests is
//! always in it. Counts are halved every `HALF_LIFE_MS`, so the list follows what is hot now.
//!
//! Must not know commands. Invariant: an event loop changes its own summary only; the lock around it is
//! for those who read.

use std::collections::HashMap;

use parking_lot::Mutex;

/// Requests from one look to the next, on average.
pub const SAMPLED_ONE_IN: u32 = 128;

/// Keys that a summary has.
const KEYS_MAX: usize = 128;

/// Bytes of a key that are kept.
const KEY_LEN_MAX: usize = 512;

/// After so long, what was seen counts half.
const HALF_LIFE_MS: i64 = 30_000;

/// A key in a summary.
#[derive(Clone, Debug)]
struct Slot {
    db: usize,
    hash: u64,
    key: Box<[u8]>,
    count: u64,
    error: u64,
}

/// The keys that weigh most among those that were noted.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    slots: Vec<Slot>,
    by_key: HashMap<(usize, u64), usize>,
    total: u64,
}

impl Summary {
    /// Notes `weight` for a key of the hash `hash`, in a summary of `keys_max` keys.
    pub fn note(&mut self, (db, hash): (usize, u64), key: &[u8], weight: u64, keys_max: usize) {
        self.total += weight;
        if let Some(at) = self.by_key.get(&(db, hash)) {
            self.slots[*at].count += weight;
            return;
        }
        let kept = &key[..key.len().min(KEY_LEN_MAX)];
        if self.slots.len() < keys_max {
            self.by_key.insert((db, hash), self.slots.len());
            self.slots.push(Slot { db, hash, key: kept.into(), count: weight, error: 0 });
            return;
        }
        let least = self.slots.iter().enumerate().min_by_key(|(_, slot)| slot.count);
        let Some((at, _)) = least else { return };
        let slot = &mut self.slots[at];
        self.by_key.remove(&(slot.db, slot.hash));
        self.by_key.insert((db, hash), at);
        let before = slot.count;
        *slot = Slot { db, hash, key: kept.into(), count: before + weight, error: before };
    }

    /// Halves all counts.
    fn halve(&mut self) {
        self.total /= 2;
        for slot in &mut self.slots {
            slot.count /= 2;
            slot.error /= 2;
        }
        self.slots.retain(|slot| slot.count > 0);
        self.by_key =
            self.slots.iter().enumerate().map(|(at, slot)| ((slot.db, slot.hash), at)).collect();
    }

    /// All that was noted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The keys, heaviest first, at most `count`.
    pub fn heaviest(&self, count: usize) -> Vec<HotKey> {
        let mut keys: Vec<HotKey> = self
            .slots
            .iter()
            .map(|slot| HotKey {
                db: slot.db,
                key: slot.key.clone(),
                weight: slot.count,
                error: slot.error,
                share: slot.count as f64 / self.total.max(1) as f64,
            })
            .collect();
        keys.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.key.cmp(&b.key)));
        keys.truncate(count);
        keys
    }

    /// Adds another summary.
    pub fn add(&mut self, other: &Self) {
        self.total += other.total;
        for slot in &other.slots {
            match self.by_key.get(&(slot.db, slot.hash)) {
                Some(at) => {
                    self.slots[*at].count += slot.count;
                    self.slots[*at].error += slot.error;
                }
                None => {
                    self.by_key.insert((slot.db, slot.hash), self.slots.len());
                    self.slots.push(slot.clone());
                }
            }
        }
    }
}

/// A key and how much it weighs.
#[derive(Clone, Debug, PartialEq)]
pub struct HotKey {
    /// Its database.
    pub db: usize,
    /// Its name, or the beginning of a very long one.
    pub key: Box<[u8]>,
    /// How often it was seen lately, or what else was counted.
    pub weight: u64,
    /// How much of that may belong to other keys.
    pub error: u64,
    /// Its share of all that was counted, from 0 to 1.
    pub share: f64,
}

/// What one event loop has seen.
#[derive(Default)]
struct Seen {
    summary: Summary,
    halved_at_ms: i64,
}

impl Seen {
    fn age(&mut self, now_ms: i64) {
        if self.halved_at_ms == 0 {
            self.halved_at_ms = now_ms;
        }
        while now_ms - self.halved_at_ms >= HALF_LIFE_MS {
            if self.summary.slots.is_empty() {
                self.halved_at_ms = now_ms;
                return;
            }
            self.summary.halve();
            self.halved_at_ms += HALF_LIFE_MS;
        }
    }
}

/// What all event loops have seen.
pub struct HotKeys {
    loops: Vec<Mutex<Seen>>,
}

impl HotKeys {
    /// Nothing seen yet by `threads` event loops.
    pub fn new(threads: usize) -> Self {
        Self { loops: (0..threads).map(|_| Mutex::default()).collect() }
    }

    /// Notes that event loop `thread` saw a request for a key.
    pub fn note(&self, thread: usize, (db, hash): (usize, u64), key: &[u8], now_ms: i64) {
        if let Some(seen) = self.loops.get(thread) {
            let mut seen = seen.lock();
            seen.age(now_ms);
            seen.summary.note((db, hash), key, 1, KEYS_MAX);
        }
    }

    /// The keys that most requests were for lately, most first, at most `count`.
    pub fn hottest(&self, count: usize, now_ms: i64) -> Vec<HotKey> {
        let mut sum = Summary::default();
        for seen in &self.loops {
            let mut seen = seen.lock();
            seen.age(now_ms);
            sum.add(&seen.summary);
        }
        sum.heaviest(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(keys: &[HotKey]) -> Vec<(String, u64, u64)> {
        let name = |key: &HotKey| String::from_utf8_lossy(&key.key).into_owned();
        keys.iter().map(|key| (name(key), key.weight, key.error)).collect()
    }

    #[test]
    fn heavy_keys_stay_among_many_light_ones() {
        let mut summary = Summary::default();
        for round in 0..10_000u64 {
            summary.note((0, round), b"light", 1, 16);
            if round % 4 == 0 {
                summary.note((0, u64::MAX), b"heavy", 1, 16);
            }
        }
        let first = &summary.heaviest(1)[0];
        assert_eq!(&*first.key, b"heavy");
        assert!((2500..=2500 + first.error).contains(&first.weight), "{first:?}");
        assert_eq!((summary.slots.len(), summary.total()), (16, 12_500));
    }

    #[test]
    fn event_loops_add_up_and_the_past_fades() {
        let hot = HotKeys::new(2);
        for (thread, key) in [(0, b"a"), (1, b"a"), (1, b"b")] {
            hot.note(thread, (0, u64::from(key[0])), key, 1);
        }
        let expected = [("a".to_owned(), 2, 0), ("b".to_owned(), 1, 0)];
        assert_eq!(names(&hot.hottest(10, 2)), expected);
        assert!((hot.hottest(1, 2)[0].share - 2.0 / 3.0).abs() < 1e-9);
        assert!(hot.hottest(10, 2 + HALF_LIFE_MS).is_empty());
    }

    #[test]
    fn equal_keys_of_two_databases_are_two() {
        let mut summary = Summary::default();
        summary.note((0, 7), b"k", 3, 8);
        summary.note((1, 7), b"k", 5, 8);
        assert_eq!(
            summary.heaviest(9).iter().map(|k| (k.db, k.weight)).collect::<Vec<_>>(),
            [(1, 5), (0, 3)]
        );
    }
}
