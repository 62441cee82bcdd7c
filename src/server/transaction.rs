//! MULTI: the commands that a client has queued. WATCH: who is to be told that a key changed.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::keyspace::{KeyHash, Presence};
use crate::resp::{ArgRange, Argv};

/// Room that an emptied queue keeps, in bytes and in entries.
const KEPT_MAX: usize = 16 * 1024;

/// A command in the queue.
struct Queued {
    command: usize,
    ranges: Range<usize>,
    keys: Range<usize>,
}

/// What a client has queued since MULTI, in one buffer.
#[derive(Default)]
pub struct Transaction {
    bytes: Vec<u8>,
    ranges: Vec<ArgRange>,
    bigs: Vec<Arc<Vec<u8>>>,
    /// Their lengths together.
    bigs_len: usize,
    keys: Vec<KeyHash>,
    queue: Vec<Queued>,
    /// Properties that any queued command has.
    pub flags: u32,
    /// The database of the next command, by the SELECTs before it.
    pub db: usize,
    /// Whether a command was refused, so that EXEC will be.
    pub aborted: bool,
}

impl Transaction {
    /// Appends a command by its id, with its keys.
    pub fn push(&mut self, command: usize, argv: Argv<'_>, keys: &[KeyHash]) {
        let (first, first_key) = (self.ranges.len(), self.keys.len());
        for at in 0..argv.len() {
            let range = match argv.shared(at) {
                Some(shared) => {
                    self.bigs_len += shared.len();
                    self.bigs.push(Arc::clone(shared));
                    ArgRange::big(self.bigs.len() - 1)
                }
                None => {
                    self.bytes.extend_from_slice(argv.arg(at));
                    let len = argv.arg(at).len();
                    ArgRange::bytes(self.bytes.len() - len, len)
                }
            };
            self.ranges.push(range);
        }
        self.keys.extend_from_slice(keys);
        let (ranges, keys) = (first..self.ranges.len(), first_key..self.keys.len());
        self.queue.push(Queued { command, ranges, keys });
    }

    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether there is no command.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The memory of the arguments, in bytes.
    pub fn size(&self) -> usize {
        let lists = self.ranges.len() * size_of::<ArgRange>()
            + self.keys.len() * size_of::<KeyHash>()
            + self.queue.len() * size_of::<Queued>();
        self.bytes.len() + self.bigs_len + lists
    }

    /// The commands in order: id, arguments, keys.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Argv<'_>, &[KeyHash])> {
        self.queue.iter().map(|queued| {
            let ranges = &self.ranges[queued.ranges.clone()];
            let argv = Argv::new(&self.bytes, ranges, &self.bigs);
            (queued.command, argv, &self.keys[queued.keys.clone()])
        })
    }

    /// The keys of all commands.
    pub fn keys(&self) -> &[KeyHash] {
        &self.keys
    }

    /// Empties the queue; some room stays for the next one.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_MAX);
        self.ranges.clear();
        self.ranges.shrink_to(KEPT_MAX / size_of::<ArgRange>());
        (self.bigs, self.bigs_len) = (Vec::new(), 0);
        self.keys.clear();
        self.keys.shrink_to(KEPT_MAX / size_of::<KeyHash>());
        self.queue.clear();
        self.queue.shrink_to(KEPT_MAX / size_of::<Queued>());
        (self.flags, self.aborted) = (0, false);
    }
}

/// A key that a client watches.
pub struct WatchedKey {
    /// Its database.
    pub db: usize,
    /// Its name.
    pub key: Box<[u8]>,
    /// The hash of its name.
    pub hash: u64,
    /// Whether it was there, but past its deadline, when the watch began.
    pub expired: bool,
}

/// What a client watches.
#[derive(Default)]
pub struct Watch {
    /// Set when any of the keys has changed.
    pub broken: Arc<AtomicBool>,
    /// The keys.
    pub keys: Vec<WatchedKey>,
}

impl Watch {
    /// Whether the client watches that key already.
    pub fn contains(&self, db: usize, key: &[u8]) -> bool {
        self.keys.iter().any(|watched| watched.db == db && *watched.key == *key)
    }
}

/// A client's interest in one key.
struct Interest {
    broken: Arc<AtomicBool>,
    expired: bool,
}

type Watchers = HashMap<(usize, Box<[u8]>), Vec<Interest>>;

/// The watched keys of a shard.
#[derive(Default)]
struct OfShard {
    watchers: Watchers,
    /// Hashes of keys that nobody minds any more, which the shard does not know yet.
    left: Vec<u64>,
}

/// Which keys are watched, and by whom.
///
/// Whoever begins to watch a key, or changes it, holds its shard. Who ends a watch may not: the shard
/// may be a script's that does not end, so that what it minds is told to the next who has it.
pub struct Watched {
    shards: Box<[Mutex<OfShard>]>,
    clients: AtomicUsize,
}

impl Watched {
    pub(super) fn new(shards: usize) -> Self {
        let shards = (0..shards).map(|_| Mutex::default()).collect();
        Self { shards, clients: AtomicUsize::new(0) }
    }

    /// How many clients watch a key.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// How many keys are watched.
    pub fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().watchers.len()).sum()
    }

    /// Counts a client that begins to watch.
    pub fn begin(&self) {
        self.clients.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a client that watches no more.
    pub fn finish(&self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// Tells `watch` of changes of a key whose shard is locked; returns what [`Self::leave`] left.
    #[must_use]
    pub fn add(&self, shard: usize, key: &WatchedKey, watch: &Watch) -> Vec<u64> {
        let interest = Interest { broken: Arc::clone(&watch.broken), expired: key.expired };
        let mut shard = self.shards[shard].lock();
        shard.watchers.entry((key.db, key.key.clone())).or_default().push(interest);
        std::mem::take(&mut shard.left)
    }

    /// Leaves it to the next who watches a key of a shard that keys of `hash` are minded once less.
    pub fn leave(&self, shard: usize, hash: u64) {
        self.shards[shard].lock().left.push(hash);
    }

    /// Whether a key whose shard is locked is as expired as it was when `watch` began.
    pub fn was_expired(&self, shard: usize, key: &WatchedKey, watch: &Watch) -> bool {
        let shard = self.shards[shard].lock();
        let interests = shard.watchers.get(&(key.db, key.key.clone())).into_iter().flatten();
        interests.into_iter().any(|one| one.expired && Arc::ptr_eq(&one.broken, &watch.broken))
    }

    /// Ends what [`Self::add`] began.
    pub fn remove(&self, shard: usize, key: &WatchedKey, watch: &Watch) {
        let (mut shard, name) = (self.shards[shard].lock(), (key.db, key.key.clone()));
        let Some(interests) = shard.watchers.get_mut(&name) else { return };
        interests.retain(|interest| !Arc::ptr_eq(&interest.broken, &watch.broken));
        if interests.is_empty() {
            shard.watchers.remove(&name);
        }
    }

    /// The keys of database `db` that are watched, as of now.
    pub fn in_db(&self, db: usize) -> Vec<Box<[u8]>> {
        let keys = |shard: &Mutex<OfShard>| -> Vec<Box<[u8]>> {
            let shard = shard.lock();
            shard.watchers.keys().filter(|(of, _)| *of == db).map(|(_, key)| key.clone()).collect()
        };
        self.shards.iter().flat_map(keys).collect()
    }

    /// A key changed from `before` to `after`; its shard is locked.
    ///
    /// That a key which had expired already when it was watched is now removed changes nothing for
    /// its watcher.
    pub fn touch(&self, shard: usize, name: (usize, &[u8]), before: Presence, after: Presence) {
        let mut shard = self.shards[shard].lock();
        let Some(interests) = shard.watchers.get_mut(&(name.0, name.1.into())) else { return };
        for interest in interests {
            match (before, after) {
                (_, Presence::Missing) if interest.expired => interest.expired = false,
                (_, Presence::Expired) if interest.expired => {}
                (Presence::Missing, Presence::Expired) => interest.expired = true,
                _ => interest.broken.store(true, Ordering::Relaxed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(expired: bool) -> (Watched, Watch) {
        let (table, watch) = (Watched::new(1), Watch::default());
        let key = WatchedKey { db: 0, key: b"k"[..].into(), hash: 0, expired };
        assert!(table.add(0, &key, &watch).is_empty());
        (table, watch)
    }

    fn is_broken(watch: &Watch) -> bool {
        watch.broken.load(Ordering::Relaxed)
    }

    #[test]
    fn a_change_breaks_the_watch_of_that_key_alone() {
        let (table, watch) = watched(false);
        table.touch(0, (1, b"k"), Presence::Live, Presence::Live);
        table.touch(0, (0, b"other"), Presence::Live, Presence::Live);
        assert!(!is_broken(&watch));
        table.touch(0, (0, b"k"), Presence::Live, Presence::Missing);
        assert!(is_broken(&watch));
    }

    #[test]
    fn what_was_left_is_told_to_the_next_who_watches() {
        let (table, watch) = watched(false);
        table.leave(0, 7);
        table.leave(0, 7);
        let key = WatchedKey { db: 0, key: b"other"[..].into(), hash: 1, expired: false };
        assert_eq!(table.add(0, &key, &watch), [7, 7]);
        assert!(table.add(0, &key, &watch).is_empty());
    }

    #[test]
    fn the_removal_of_what_had_expired_before_breaks_nothing() {
        let (table, watch) = watched(true);
        table.touch(0, (0, b"k"), Presence::Expired, Presence::Missing);
        assert!(!is_broken(&watch));
        table.touch(0, (0, b"k"), Presence::Missing, Presence::Live);
        assert!(is_broken(&watch));
    }

    #[test]
    fn queued_commands_come_out_as_they_went_in() {
        let mut transaction = Transaction::default();
        let big = Arc::new(vec![b'x'; 9]);
        let ranges = [ArgRange::bytes(0, 3), ArgRange::bytes(4, 1), ArgRange::big(0)];
        for id in 0..3 {
            let bigs = [Arc::clone(&big)];
            let keys = [KeyHash { index: 1, hash: id }];
            transaction.push(id as usize, Argv::new(b"set k", &ranges, &bigs), &keys);
        }
        let read: Vec<_> = transaction
            .iter()
            .map(|(id, argv, keys)| (id, argv.iter().map(<[u8]>::to_vec).collect(), keys[0].hash))
            .collect();
        let words: Vec<Vec<u8>> = vec![b"set".to_vec(), b"k".to_vec(), big.to_vec()];
        assert_eq!(read, [(0, words.clone(), 0), (1, words.clone(), 1), (2, words, 2)]);
        transaction.clear();
        assert!(transaction.is_empty() && transaction.size() == 0);
    }
}
