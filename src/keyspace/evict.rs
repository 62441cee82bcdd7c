//! Which key goes when memory is full.
//!
//! As in Redis (evict.c), the best candidates of several draws are kept in a small pool, and the best of
//! those goes. A draw takes one shard by chance, and of each database there one bucket: its items are
//! there because of their hashes, so they are a fair sample that costs one cache line and, all at once,
//! the heads of its entries; a table of few shows all. Shards that others hold are passed over: evicting
//! never waits for a lock, and holds one at a time.

use super::shard::Removed;
use super::{AccessPolicy, Db, EntryView, Keyspace, Shard, ShardGuard};
use crate::base::limits::EVICTION_POOL_LEN;
use crate::base::random::Random;

/// By what candidates are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Not used, or with `*-lrm` not changed, for longest.
    Idle,
    /// Used least often.
    Frequency,
    /// The nearest deadline.
    Deadline,
    /// By chance.
    Random,
}

/// A `maxmemory-policy` under which keys are evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvictionPolicy {
    /// By what candidates are compared.
    pub rank: Rank,
    /// Whether only keys with a deadline are candidates.
    pub volatile: bool,
}

impl EvictionPolicy {
    /// The policy of that name; `None` is `noeviction`.
    pub fn parse(name: &str) -> Option<Self> {
        let (whose, rank) = name.split_once('-')?;
        let rank = match rank {
            "lru" | "lrm" => Rank::Idle,
            "lfu" => Rank::Frequency,
            "ttl" => Rank::Deadline,
            "random" => Rank::Random,
            _ => return None,
        };
        Some(Self { rank, volatile: whose == "volatile" })
    }
}

/// What is to be evicted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hunt {
    /// The policy.
    pub policy: EvictionPolicy,
    /// The database; `None` is all but those with a limit of their own.
    pub db: Option<usize>,
}

/// What an attempt to evict came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evicted {
    /// A key is gone.
    One,
    /// There is no candidate.
    Nothing,
    /// The candidates are in shards that others hold.
    Busy,
}

/// A key that may go.
struct Candidate {
    /// The higher, the better a candidate.
    score: u64,
    db: usize,
    hash: u64,
    key: Vec<u8>,
}

/// Finds keys to evict, on behalf of one event loop.
pub struct Evictor {
    /// Candidates, the best last.
    pool: Vec<Candidate>,
    random: Random,
    last: Option<Hunt>,
    /// The most parts that a table was seen to have lately.
    parts_max: usize,
}

impl Default for Evictor {
    fn default() -> Self {
        let (pool, random) = (Vec::with_capacity(EVICTION_POOL_LEN), Random::from_os());
        Self { pool, random, last: None, parts_max: 0 }
    }
}

/// Keys that were touched after they were drawn are left alone in so many rounds; then anything goes.
const PICKY_ROUNDS: usize = 4;

/// At each draw the size of the largest table is forgotten by a share of so many, in case it is gone.
const DECAY: usize = 16;

impl Evictor {
    /// Removes one key into `removed` and has `tell` let others know while the key's shard, whose number
    /// it is told, is held.
    pub fn evict(
        &mut self,
        keyspace: &Keyspace,
        hunt: Hunt,
        samples: usize,
        now_ms: i64,
        removed: &mut Removed,
        tell: impl FnOnce(usize, &mut Shard, &Removed),
    ) -> Evicted {
        if self.last.replace(hunt) != Some(hunt) {
            self.pool.clear();
            self.parts_max = 0;
        }
        for round in 0.. {
            let drawn = self.draw(keyspace, hunt, samples, now_ms);
            if drawn != Evicted::One && self.pool.is_empty() {
                return drawn;
            }
            while let Some(candidate) = self.pool.pop() {
                let (number, picky) = (keyspace.shard_of(candidate.hash), round < PICKY_ROUNDS);
                let Some(mut shard) = keyspace.try_lock(number) else { continue };
                if take(keyspace, &mut shard, hunt, &candidate, (now_ms, picky), removed) {
                    tell(number, &mut shard, removed);
                    return Evicted::One;
                }
            }
            if round > 2 * PICKY_ROUNDS {
                break;
            }
        }
        Evicted::Busy
    }

    /// Draws candidates until about `samples` were seen.
    fn draw(&mut self, keyspace: &Keyspace, hunt: Hunt, samples: usize, now_ms: i64) -> Evicted {
        let count = keyspace.shard_count();
        // An odd step meets every shard, in another order each time, since their number is a power of 2.
        let (start, step) = (self.random.next_u64() as usize, self.random.next_u64() as usize | 1);
        let (mut seen, mut outcome) = (0, Evicted::Nothing);
        self.parts_max -= self.parts_max.div_ceil(DECAY);
        // In the second round no shard is passed over because it is small.
        for turn in 0..2 * count {
            let number = start.wrapping_add(turn.wrapping_mul(step)) % count;
            let Some(shard) = keyspace.try_lock(number) else {
                outcome = Evicted::Busy;
                continue;
            };
            let dbs = hunt.db.map_or(0..shard.db_count(), |db| db..db + 1);
            seen += dbs
                .filter(|db| hunt.db.is_some() || !keyspace.is_limited(*db))
                .map(|db| self.draw_from(keyspace, &shard, db, turn < count, now_ms))
                .sum::<usize>();
            if seen >= samples {
                break;
            }
            if turn + 1 == count && seen > 0 {
                break;
            }
        }
        if seen > 0 { Evicted::One } else { outcome }
    }

    /// Draws one part of a database in a shard; returns how many items it showed.
    fn draw_from(
        &mut self,
        keyspace: &Keyspace,
        shard: &ShardGuard<'_>,
        db: usize,
        fair: bool,
        now_ms: i64,
    ) -> usize {
        let hunt = self.last.expect("it is set before any draw");
        let has_candidates = |table: &&Db| table.candidates(hunt.policy.volatile) > 0;
        let Some(table) = shard.db(db).filter(has_candidates) else { return 0 };
        let parts = table.parts();
        self.parts_max = parts.max(self.parts_max);
        // A part of a table with few of them would be drawn too often.
        if fair && self.random.below(self.parts_max as u64) >= parts as u64 {
            return 0;
        }
        let (access, mut seen) = (keyspace.policy_of(db), 0);
        let (mut random, mut chance) = (self.random.fork(), self.random.fork());
        table.sample(hunt.policy.volatile, &mut random, |entry| {
            seen += 1;
            let score = match hunt.policy.rank {
                Rank::Random => chance.next_u64(),
                rank => score(rank, access, entry, now_ms),
            };
            self.offer(keyspace, score, db, entry.key());
        });
        seen
    }

    /// Puts a key into the pool, if there is room or it is a better candidate than the worst one there.
    fn offer(&mut self, keyspace: &Keyspace, score: u64, db: usize, key: &[u8]) {
        let place = |pool: &[Candidate]| pool.partition_point(|known| known.score < score);
        let at = place(&self.pool);
        if at == 0 && self.pool.len() == EVICTION_POOL_LEN {
            return;
        }
        let hash = keyspace.hash(key);
        let is_same = |known: &Candidate| (known.hash, known.db) == (hash, db) && known.key == key;
        if let Some(known) = self.pool.iter().position(is_same) {
            let candidate = Candidate { score, ..self.pool.remove(known) };
            self.pool.insert(place(&self.pool), candidate);
        } else if self.pool.len() < EVICTION_POOL_LEN {
            self.pool.insert(at, Candidate { score, db, hash, key: key.to_vec() });
        } else {
            let mut worst = self.pool.remove(0);
            (worst.score, worst.db, worst.hash) = (score, db, hash);
            worst.key.clear();
            worst.key.extend_from_slice(key);
            self.pool.insert(at - 1, worst);
        }
    }
}

/// Removes a candidate, if it is still there and, where one is `picky`, no worse than it was.
fn take(
    keyspace: &Keyspace,
    shard: &mut Shard,
    hunt: Hunt,
    candidate: &Candidate,
    (now_ms, picky): (i64, bool),
    removed: &mut Removed,
) -> bool {
    let access = keyspace.policy_of(candidate.db);
    let Some(table) = shard.db(candidate.db) else { return false };
    let Some(position) = table.find(candidate.hash, &candidate.key) else { return false };
    let entry = table.view(position);
    let worse = || score(hunt.policy.rank, access, entry, now_ms) < candidate.score;
    if hunt.policy.volatile && entry.deadline().is_none()
        || picky && hunt.policy.rank != Rank::Random && worse()
    {
        return false;
    }
    let (table, stats, _) = shard.parts(candidate.db);
    let entry = table.remove(candidate.hash, position, keyspace.hasher());
    stats.evicted += 1;
    removed.keys.push((candidate.db, entry));
    true
}

/// How good a candidate an entry is; the higher, the better.
fn score(rank: Rank, access: AccessPolicy, entry: EntryView<'_>, now_ms: i64) -> u64 {
    match rank {
        Rank::Idle => u64::from(access.idleness(entry.access(), now_ms)),
        Rank::Frequency => u64::from(u8::MAX - access.frequency(entry.access(), now_ms) as u8),
        Rank::Deadline => u64::MAX - entry.deadline().map_or(u64::MAX, |at_ms| at_ms.max(0) as u64),
        Rank::Random => 0,
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;
    use crate::base::hash::KeyHasher;
    use crate::keyspace::{Entry, NewValue};
    use crate::value::NewStr;

    const NOW_MS: i64 = 1_700_000_000_000;

    /// A keyspace of so many keys in database 0; key `n` was last used `n` seconds ago and expires in
    /// `n` seconds, if it is odd.
    fn filled(count: i64) -> Keyspace {
        let keyspace = Keyspace::new(16, 1, KeyHasher::seeded(5));
        for n in 0..count {
            let key = n.to_string();
            let deadline = (n % 2 == 1).then_some(NOW_MS + n * 1000);
            let access = keyspace.policy().fresh(NOW_MS - n * 1000);
            let value = NewValue::Str(NewStr::Int(n));
            let entry = Entry::new(key.as_bytes(), value, deadline, access);
            assert!(keyspace.load_entry(0, keyspace.hash(key.as_bytes()), entry, false));
        }
        keyspace
    }

    fn evict(keyspace: &Keyspace, policy: &str, count: usize) -> Vec<i64> {
        let policy = EvictionPolicy::parse(policy).expect("it evicts");
        let (mut evictor, mut removed) = (Evictor::default(), Removed::default());
        let hunt = Hunt { policy, db: None };
        for _ in 0..count {
            let end =
                evictor.evict(keyspace, hunt, 5, NOW_MS, &mut removed, |number, shard, all| {
                    let (db, entry) = all.keys.last().expect("one was removed");
                    assert_eq!(number, keyspace.shard_of(keyspace.hash(entry.view().key())));
                    assert!(shard.db(*db).is_some());
                });
            if end != Evicted::One {
                assert_eq!(end, Evicted::Nothing);
                break;
            }
        }
        let number = |entry: &Entry| {
            String::from_utf8_lossy(entry.view().key()).parse().expect("keys are numbers")
        };
        removed.keys.iter().map(|(_, entry)| number(entry)).collect()
    }

    #[test]
    fn idle_keys_go_first() {
        let keyspace = filled(20_000);
        let gone = evict(&keyspace, "allkeys-lru", 2000);
        assert_eq!(gone.len(), 2000);
        let mean = gone.iter().sum::<i64>() / 2000;
        assert!(mean > 17_000, "{mean} seconds idle of at most 20000");
        let left: usize = (0..keyspace.shard_count())
            .map(|number| keyspace.lock(number).db(0).map_or(0, |db| db.len()))
            .sum();
        assert_eq!(left, 18_000);
    }

    #[test]
    fn near_deadlines_go_first_and_others_never() {
        let keyspace = filled(4000);
        let gone = evict(&keyspace, "volatile-ttl", 5000);
        assert_eq!(gone.len(), 2000);
        assert!(gone.iter().all(|n| n % 2 == 1));
        assert!(gone[..200].iter().sum::<i64>() / 200 < 800);
    }

    #[test]
    fn everything_can_go_under_every_policy() {
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random", "allkeys-lrm"] {
            for count in [0, 1, 10, 700] {
                assert_eq!(evict(&filled(count), policy, 1000).len(), count as usize, "{policy}");
            }
        }
        for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-lrm"] {
            assert_eq!(evict(&filled(700), policy, 1000).len(), 350, "{policy}");
        }
    }

    #[test]
    fn policies_are_known_by_name() {
        assert_eq!(EvictionPolicy::parse("noeviction"), None);
        let ttl = EvictionPolicy { rank: Rank::Deadline, volatile: true };
        assert_eq!(EvictionPolicy::parse("volatile-ttl"), Some(ttl));
        let lrm = EvictionPolicy { rank: Rank::Idle, volatile: false };
        assert_eq!(EvictionPolicy::parse("allkeys-lrm"), Some(lrm));
    }
}
