//! `LockingQueue`: every item is consumed once, as long as a majority of the servers lives.
//!
//! Each server has for each queue
//!
//!     items   hash          id -> payload       of what waits
//!     order   sorted set    id -> number        in which it was pushed
//!     last    string        the highest number so far
//!     done    sorted set    id -> when          of what was consumed: tombstones
//!
//! An item is a fact with two states, and only ever goes from waiting to done. So what two servers
//! know is merged by union, where a tombstone wins, in any order and as often as one likes.
//!
//! Push asks a majority for the highest number and stores the item with the next one on a majority.
//! If that fails, some servers may have it; pushing it once more with the same id is what to do, and
//! makes no second item. If nobody does so, the item is consumed if a consumer ever sees it: before
//! it is handed out it is stored on a majority.
//!
//! Take lists what waits, takes the lock on the first free item's id, and only then asks whether the
//! item is done anywhere. Done marks the item wherever nobody else has its lock, and needs a majority
//! of servers that still have the consumer's lock, and have not lost it since it was taken. So of two
//! consumers that got the same item one after the other, the first can be late but not be done: a
//! majority with its mark would share a server with the majority on which the second one took the
//! lock, after which that one would have seen the mark.
//!
//! A consumer that dies before `done` leaves its lock, and after that its item, to another. A consumer
//! that hears nothing from `done` does not know. Then the item is done, or is handed out once more:
//! what it does to the world outside may happen twice, as with any queue.
//!
//! Tombstones stay for as long as somebody wants (`prune`): a server that was away for longer, with
//! its memory, must come back empty, or what it still has as waiting is consumed again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::lock::{self, Held, Lock};
use super::servers::{Answer, NOTHING, NoMajority, Servers};

/// The names of all queues, on every server.
pub(crate) const QUEUES_KEY: &str = "majority:queues";
/// How many free items a server offers to one who takes.
const OFFERS_MAX: usize = 8;

const LAST: &str = "return tonumber(redis.call('GET', KEYS[1]) or 0)";

/// Keys: items, order, last, done, queues. Arguments: the queue's name, then id, number and payload
/// of each item.
pub(crate) const STORE: &str = "
    redis.call('SADD', KEYS[5], ARGV[1])
    local last = tonumber(redis.call('GET', KEYS[3]) or 0)
    for at = 2, #ARGV, 3 do
        local id, number, payload = ARGV[at], ARGV[at + 1], ARGV[at + 2]
        if not redis.call('ZSCORE', KEYS[4], id) then
            redis.call('HSETNX', KEYS[1], id, payload)
            redis.call('ZADD', KEYS[2], 'LT', number, id)
        end
        last = math.max(last, tonumber(number))
    end
    redis.call('SET', KEYS[3], string.format('%d', last))
    return 1";

/// Keys: items, order, last, done, queues. Arguments: the queue's name, then id and time of each.
pub(crate) const BURY: &str = "
    redis.call('SADD', KEYS[5], ARGV[1])
    for at = 2, #ARGV, 2 do
        redis.call('ZADD', KEYS[4], 'NX', ARGV[at + 1], ARGV[at])
        redis.call('ZREM', KEYS[2], ARGV[at])
        redis.call('HDEL', KEYS[1], ARGV[at])
    end
    return 1";

// Passes over those that are locked here, as they are in work or will fail to be locked.
const OFFER: &str = "
    local offers, at = {}, 0
    repeat
        local page = redis.call('ZRANGE', KEYS[1], at, at + 31, 'WITHSCORES')
        for i = 1, #page, 2 do
            if redis.call('EXISTS', ARGV[1] .. page[i]) == 0 and #offers < tonumber(ARGV[2]) then
                offers[#offers + 1] = {page[i], page[i + 1]}
            end
        end
        at = at + 32
    until #page == 0 or #offers >= tonumber(ARGV[2])
    return offers";

const INSPECT: &str = "
    return {redis.call('ZSCORE', KEYS[4], ARGV[1]), redis.call('HGET', KEYS[1], ARGV[1])}";

// Time of the server, so that tombstones do not hang on clocks of consumers. A server without the
// lock, as one that is being filled, gets the mark, but has no vote.
const DONE: &str = "
    local owner = redis.call('GET', KEYS[5])
    if owner and owner ~= ARGV[1] then return 0 end
    redis.call('ZADD', KEYS[4], 'NX', redis.call('TIME')[1], ARGV[2])
    redis.call('ZREM', KEYS[2], ARGV[2])
    redis.call('HDEL', KEYS[1], ARGV[2])
    return owner and 1 or 0";

const PRUNE: &str = "
    local oldest = redis.call('TIME')[1] - ARGV[1]
    return redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', oldest)";

const CONTENTS: &str = "
    return {redis.call('ZRANGE', KEYS[1], 0, -1), redis.call('ZRANGE', KEYS[2], 0, -1)}";

/// When the item was done, and its payload.
type Inspected = (Option<String>, Option<Vec<u8>>);

pub(crate) struct LockingQueue {
    name: String,
    ttl: Duration,
    pub(crate) keys: Keys,
}

/// The names of a queue's keys.
pub(crate) struct Keys {
    items: String,
    pub(crate) order: String,
    last: String,
    pub(crate) done: String,
}

impl Keys {
    pub(crate) fn new(queue: &str) -> Keys {
        let key = |part: &str| format!("majority:queue:{queue}:{part}");
        Keys { items: key("items"), order: key("order"), last: key("last"), done: key("done") }
    }

    pub(crate) fn all(&self) -> [&str; 5] {
        [&self.items, &self.order, &self.last, &self.done, QUEUES_KEY]
    }
}

/// An item that nobody else has while its lock is valid.
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) payload: Vec<u8>,
    lock: Held,
}

impl Delivery {
    pub(crate) fn is_valid(&self) -> bool {
        self.lock.is_valid()
    }

    /// Whoever needs longer than the lock's time to live calls this meanwhile.
    pub(crate) fn extend(&mut self, servers: &mut Servers) -> Result<(), NoMajority> {
        self.lock.extend(servers)
    }
}

/// Everything that a majority knows of a queue.
pub(crate) struct Contents {
    pub(crate) waiting: BTreeSet<String>,
    pub(crate) done: BTreeSet<String>,
}

impl LockingQueue {
    /// `ttl` is that of the consumers' locks.
    pub(crate) fn new(name: &str, ttl: Duration) -> LockingQueue {
        LockingQueue { name: name.to_owned(), ttl, keys: Keys::new(name) }
    }

    /// After an error the item may be in the queue or not: push it again, with the same id.
    pub(crate) fn push(
        &self,
        servers: &mut Servers,
        id: &str,
        payload: &[u8],
    ) -> Result<(), NoMajority> {
        let replies = servers.eval(LAST, &[&self.keys.last], NOTHING).answered()?;
        let last: Vec<u64> = replies.values().expect("numbers");
        let number = last.into_iter().max().unwrap_or(0) + 1;
        self.store(servers, id, number, payload)
    }

    fn store(
        &self,
        servers: &mut Servers,
        id: &str,
        number: u64,
        payload: &[u8],
    ) -> Result<(), NoMajority> {
        let args = (&self.name, id, number, payload);
        servers.eval(STORE, &self.keys.all(), args).agreed().map(|_| ())
    }

    /// The first item that nobody has; None when there is none, or others were quicker.
    pub(crate) fn take(&self, servers: &mut Servers) -> Result<Option<Delivery>, NoMajority> {
        let args = (lock::key_of(&self.lock_name("")), OFFERS_MAX);
        let replies = servers.eval(OFFER, &[&self.keys.order], args).answered()?;
        let offers: Vec<Vec<(String, u64)>> = replies.values().expect("pairs of id and number");
        let mut numbers = BTreeMap::new();
        for (id, number) in offers.into_iter().flatten() {
            let known = numbers.entry(id).or_insert(number);
            *known = number.min(*known);
        }
        let mut offers: Vec<(u64, String)> =
            numbers.into_iter().map(|(id, number)| (number, id)).collect();
        offers.sort();
        for (number, id) in offers {
            let lock = Lock::new(&self.lock_name(&id), self.ttl);
            let Some(held) = lock.try_acquire(servers)? else { continue };
            match self.fetch(servers, &id, number) {
                Ok(Some(payload)) => return Ok(Some(Delivery { id, payload, lock: held })),
                Ok(None) => held.release(servers),
                Err(error) => {
                    held.release(servers);
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// The payload of an item that is locked, None when it is done. Mends what servers lack.
    fn fetch(
        &self,
        servers: &mut Servers,
        id: &str,
        number: u64,
    ) -> Result<Option<Vec<u8>>, NoMajority> {
        let replies = servers.eval(INSPECT, &self.keys.all(), id).answered()?;
        let found: Vec<Answer<Inspected>> = replies.each().expect("a time and a payload");
        if let Some(done_at) = found.iter().find_map(|answer| answer.value.0.as_ref()) {
            servers.eval(BURY, &self.keys.all(), (&self.name, id, done_at)).agreed()?;
            return Ok(None);
        }
        let holds = |answer: &&Answer<Inspected>| answer.is_member && answer.value.1.is_some();
        let holders = found.iter().filter(holds).count();
        let payload = found.into_iter().find_map(|answer| answer.value.1);
        if let Some(payload) = payload.as_ref().filter(|_| holders < servers.majority()) {
            self.store(servers, id, number, payload)?;
        }
        Ok(payload)
    }

    /// After an error the item is done or not; this may be called again while the lock is valid, and
    /// is an error when it is not.
    pub(crate) fn done(
        &self,
        servers: &mut Servers,
        delivery: &Delivery,
    ) -> Result<(), NoMajority> {
        delivery.lock.check(servers)?;
        let Keys { items, order, last, done } = &self.keys;
        let keys = [items, order, last, done, delivery.lock.key()];
        let args = (delivery.lock.token(), &delivery.id);
        servers.eval(DONE, &keys, args).agreed()?;
        Ok(())
    }

    /// Ends the lock: after `done`, or to let another have the item.
    pub(crate) fn release(&self, servers: &mut Servers, delivery: Delivery) {
        delivery.lock.release(servers);
    }

    /// Forgets what was done `keep` ago or earlier. No server may be away for as long and come back.
    pub(crate) fn prune(&self, servers: &mut Servers, keep: Duration) -> Result<(), NoMajority> {
        servers.eval(PRUNE, &[&self.keys.done], keep.as_secs()).answered().map(|_| ())
    }

    /// Reads the whole queue, for looking into small ones.
    pub(crate) fn contents(&self, servers: &mut Servers) -> Result<Contents, NoMajority> {
        let keys = [self.keys.order.as_str(), &self.keys.done];
        let replies = servers.eval(CONTENTS, &keys, NOTHING).answered()?;
        let found: Vec<(Vec<String>, Vec<String>)> = replies.values().expect("two lists");
        let (mut waiting, mut done) = (BTreeSet::new(), BTreeSet::new());
        for (waits, is_done) in found {
            waiting.extend(waits);
            done.extend(is_done);
        }
        waiting.retain(|id| !done.contains(id));
        Ok(Contents { waiting, done })
    }

    fn lock_name(&self, id: &str) -> String {
        format!("{}:{id}", self.name)
    }
}
