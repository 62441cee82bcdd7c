//! Client-side caching: which client read which key, and who hears of every key with a prefix.
//!
//! The table of a shard's keys changes only while the shard is locked, and a key in it is *minded*
//! there: a client that read a key stands in the table before anybody can change the key, and no
//! change passes it by. Keys count by their names alone, whatever their databases.
//!
//! Clients stand in the table by their numbers. Those that are gone are forgotten with their keys, or
//! when the readers of a key have doubled in number.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;

/// The numbers of clients, ascending.
pub type ClientIds = SmallVec<[u64; 2]>;

/// From this number of readers on, those of a key that are gone are looked for.
const PRUNED_MIN: usize = 16;

/// A key in the table.
struct Read {
    hash: u64,
    by: ClientIds,
}

/// The keys of a shard.
type Table = HashMap<Box<[u8]>, Read>;

/// What clients cache.
pub struct Tracking {
    /// By shard.
    shards: Box<[Mutex<Table>]>,
    keys: AtomicUsize,
    keys_max: AtomicUsize,
    clients: Mutex<usize>,
    prefixes: RwLock<BTreeMap<Box<[u8]>, BTreeSet<u64>>>,
}

impl Tracking {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            keys: AtomicUsize::new(0),
            keys_max: AtomicUsize::new(0),
            clients: Mutex::new(0),
            prefixes: RwLock::default(),
        }
    }

    /// Sets the most keys of the table; 0 is no bound.
    pub(super) fn set_keys_max(&self, max: usize) {
        self.keys_max.store(max, Ordering::Relaxed);
    }

    /// Counts clients by `change` and runs `then` with their new number before anybody else counts.
    pub(super) fn count_clients(
        &self,
        change: impl FnOnce(usize) -> usize,
        then: impl FnOnce(usize),
    ) {
        let mut clients = self.clients.lock();
        *clients = change(*clients);
        then(*clients);
    }

    /// How many clients track keys.
    pub fn clients(&self) -> usize {
        *self.clients.lock()
    }

    /// How many keys are in the table.
    pub fn keys(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    /// How many pairs of a key and a client are in the table.
    pub fn items(&self) -> usize {
        let items = |shard: &Mutex<Table>| -> usize {
            shard.lock().values().map(|read| read.by.len()).sum()
        };
        self.shards.iter().map(items).sum()
    }

    /// Whether there are more keys than there may be.
    pub fn is_over_limit(&self) -> bool {
        let max = self.keys_max.load(Ordering::Relaxed);
        max > 0 && self.keys() > max
    }

    /// Remembers that a client read a key whose shard is locked; `true` when the key was not in the
    /// table, so that it is to be minded. `is_live` says of which clients that is still of interest.
    pub fn add(
        &self,
        shard: usize,
        (key, hash): (&[u8], u64),
        client: u64,
        is_live: impl Fn(u64) -> bool,
    ) -> bool {
        let mut table = self.shards[shard].lock();
        let Some(read) = table.get_mut(key) else {
            table.insert(key.into(), Read { hash, by: SmallVec::from_slice(&[client]) });
            self.keys.fetch_add(1, Ordering::Relaxed);
            return true;
        };
        if let Err(mut at) = read.by.binary_search(&client) {
            if read.by.len() >= PRUNED_MIN && read.by.len().is_power_of_two() {
                read.by.retain(|id| is_live(*id));
                at = read.by.partition_point(|id| *id < client);
            }
            read.by.insert(at, client);
        }
        false
    }

    /// Takes a key whose shard is locked out of the table, and returns who read it; the caller minds
    /// it no longer.
    pub fn take(&self, shard: usize, key: &[u8]) -> Option<ClientIds> {
        let read = self.shards[shard].lock().remove(key)?;
        self.keys.fetch_sub(1, Ordering::Relaxed);
        Some(read.by)
    }

    /// Takes any key of a locked shard, as [`Self::take`].
    pub fn take_any(&self, shard: usize) -> Option<(Box<[u8]>, u64, ClientIds)> {
        let mut table = self.shards[shard].lock();
        let key = table.keys().next()?.clone();
        let read = table.remove(&key)?;
        self.keys.fetch_sub(1, Ordering::Relaxed);
        Some((key, read.hash, read.by))
    }

    /// Takes all keys of a locked shard and returns their hashes; the caller minds them no longer.
    pub fn take_all(&self, shard: usize) -> Vec<u64> {
        let table = std::mem::take(&mut *self.shards[shard].lock());
        self.keys.fetch_sub(table.len(), Ordering::Relaxed);
        table.into_values().map(|read| read.hash).collect()
    }

    /// Lets a client hear of all keys that begin with `prefix`.
    pub(super) fn add_prefix(&self, prefix: &[u8], client: u64) {
        self.prefixes.write().entry(prefix.into()).or_default().insert(client);
    }

    /// Ends what [`Self::add_prefix`] began.
    pub(super) fn remove_prefix(&self, prefix: &[u8], client: u64) {
        let mut prefixes = self.prefixes.write();
        if let Some(clients) = prefixes.get_mut(prefix) {
            clients.remove(&client);
            if clients.is_empty() {
                prefixes.remove(prefix);
            }
        }
    }

    /// How many prefixes somebody hears of.
    pub fn prefixes(&self) -> usize {
        self.prefixes.read().len()
    }

    /// Tells `tell` who is to hear of which of `keys`, which are sorted: prefix by prefix, the range
    /// of those that begin with it.
    pub(super) fn by_prefix<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        mut tell: impl FnMut(std::ops::Range<usize>, &BTreeSet<u64>),
    ) {
        for (prefix, clients) in &*self.prefixes.read() {
            let start = keys.partition_point(|key| key.as_ref() < &**prefix);
            let with = |key: &K| key.as_ref().starts_with(prefix);
            let len = keys[start..].partition_point(with);
            if len > 0 {
                tell(start..start + len, clients);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> Option<ClientIds> {
        Some(SmallVec::from_slice(ids))
    }

    #[test]
    fn a_key_remembers_its_readers_until_it_is_taken() {
        let table = Tracking::new(2);
        assert!(table.add(1, (b"k", 7), 5, |_| true));
        assert!(!table.add(1, (b"k", 7), 3, |_| true));
        assert!(!table.add(1, (b"k", 7), 5, |_| true));
        assert!(table.add(0, (b"other", 8), 5, |_| true));
        assert_eq!((table.keys(), table.items()), (2, 3));
        assert_eq!(table.take(1, b"k"), ids(&[3, 5]));
        assert_eq!(table.take(1, b"k"), None);
        assert_eq!(table.take_any(1), None);
        assert_eq!(
            table.take_any(0).map(|(key, hash, _)| (key.to_vec(), hash)),
            Some((b"other".to_vec(), 8))
        );
        assert_eq!((table.keys(), table.items()), (0, 0));
    }

    #[test]
    fn readers_that_are_gone_do_not_pile_up() {
        let table = Tracking::new(1);
        for client in 1..=10_000 {
            table.add(0, (b"k", 0), client, |id| id % 1000 == 0);
            assert!(table.items() <= 33, "{} of client {client}", table.items());
        }
        let readers = table.take(0, b"k").expect("it was read");
        assert!(readers.is_sorted() && (1..=10).all(|n| readers.contains(&(n * 1000))));
    }

    #[test]
    fn the_limit_counts_keys() {
        let table = Tracking::new(1);
        for number in 0..10u64 {
            table.add(0, (&number.to_le_bytes(), number), 1, |_| true);
        }
        assert!(!table.is_over_limit());
        table.set_keys_max(9);
        assert!(table.is_over_limit());
        table.take_any(0);
        assert!(!table.is_over_limit());
        let mut hashes = table.take_all(0);
        hashes.sort_unstable();
        assert_eq!((hashes.len(), table.keys()), (9, 0));
    }

    #[test]
    fn prefixes_select_ranges() {
        let table = Tracking::new(1);
        for (prefix, client) in [("", 1), ("a", 2), ("ab", 3), ("ab", 4), ("c", 5)] {
            table.add_prefix(prefix.as_bytes(), client);
        }
        table.remove_prefix(b"ab", 4);
        assert_eq!(table.prefixes(), 4);
        let mut told = Vec::new();
        let keys = ["a", "aa", "ab", "abc", "b", "d"];
        table.by_prefix(&keys, |range, clients| {
            told.push((keys[range].to_vec(), clients.iter().copied().collect::<Vec<_>>()));
        });
        let expected = [
            (keys.to_vec(), vec![1]),
            (vec!["a", "aa", "ab", "abc"], vec![2]),
            (vec!["ab", "abc"], vec![3]),
        ];
        assert_eq!(told, expected);
    }
}
