//! `Lock`: at most one holder at a time, as long as a majority of the servers lives.
//!
//! A lock is a key with a random token on every server, set where it is free, with a time to live.
//! Whoever has set it on a majority holds it until `start + ttl - drift`, where `start` is before
//! the first request was sent and `drift` allows for clocks that run at different speeds. No other
//! token gets a majority before that, since two majorities share a server, and that one keeps the
//! first token until its time is over.
//!
//! A server that has lost its memory would break this. It does not count (`members`) until every
//! lock that it may have granted has ended. `extend` puts the key there meanwhile, so that a lock that
//! is extended survives the replacement of all servers, one after the other. On members it extends
//! what is there and makes nothing new: where the key is gone somebody else may have had it. So no
//! pause of a holder, and no clock, brings a lock back that another has had meanwhile.
//!
//! What it does not give: somebody who is paused for longer than the lock is valid does not notice
//! before it looks at its own clock. What it sends after that look may arrive after the next holder's
//! requests. Whatever the lock protects has to refuse that by itself, as `LockingQueue::done` does.

use std::time::{Duration, Instant};

use super::pause;
use super::servers::{NoMajority, Servers};

/// Clocks may differ by one hundredth in speed, and in resolution by this.
const RESOLUTION: Duration = Duration::from_millis(5);
/// Those who wait try again after a random time, so that they do not split the votes again.
const RETRY_MS: std::ops::Range<u64> = 2..12;

// The same token again is a request that was repeated.
const ACQUIRE: &str = "
    local owner = redis.call('GET', KEYS[1])
    if owner then return owner == ARGV[1] and 1 or 0 end
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return 1";

// The last key is `MEMBER_KEY`. A server that is no member gets the lock where it has none, uncounted.
const EXTEND: &str = "
    local owner = redis.call('GET', KEYS[1])
    local is_free = not owner and redis.call('EXISTS', KEYS[2]) == 0
    if owner ~= ARGV[1] and not is_free then return 0 end
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return 1";

const RELEASE: &str = "
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
    return redis.call('DEL', KEYS[1])";

pub(crate) struct Lock {
    key: String,
    ttl: Duration,
}

/// A lock that was acquired. Dropping it leaves it to its end.
pub(crate) struct Held {
    key: String,
    token: String,
    ttl: Duration,
    valid_until: Instant,
}

impl Lock {
    /// `ttl` is at most `Settings::ttl_max`.
    pub(crate) fn new(name: &str, ttl: Duration) -> Lock {
        Lock { key: key_of(name), ttl }
    }

    /// None when somebody else has it, or the votes were split.
    pub(crate) fn try_acquire(&self, servers: &mut Servers) -> Result<Option<Held>, NoMajority> {
        assert!(self.ttl <= servers.settings().ttl_max, "a lock longer than the quarantine");
        let token = format!("{:032x}", fastrand::u128(..));
        let valid_until = valid_until(self.ttl);
        let held = Held { key: self.key.clone(), token, ttl: self.ttl, valid_until };
        let args = (&held.token, millis(self.ttl));
        let replies = servers.eval(ACQUIRE, &[&self.key], args);
        if replies.votes() >= servers.majority() && held.is_valid() {
            return Ok(Some(held));
        }
        held.release(servers);
        replies.answered().map(|_| None)
    }

    /// Tries again until `wait` has passed; None when it was in vain.
    pub(crate) fn acquire(&self, servers: &mut Servers, wait: Duration) -> Option<Held> {
        let deadline = Instant::now() + wait;
        loop {
            // Without a majority there may be one a moment later.
            if let Ok(Some(held)) = self.try_acquire(servers) {
                return Some(held);
            }
            if Instant::now() >= deadline {
                return None;
            }
            pause(Duration::from_millis(fastrand::u64(RETRY_MS)));
        }
    }
}

impl Held {
    pub(crate) fn is_valid(&self) -> bool {
        Instant::now() < self.valid_until
    }

    /// Nobody else holds the lock before this time.
    pub(crate) fn valid_until(&self) -> Instant {
        self.valid_until
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// A lock that has ended has no votes.
    pub(crate) fn check(&self, servers: &Servers) -> Result<(), NoMajority> {
        if self.is_valid() { Ok(()) } else { servers.counted(0) }
    }

    /// Holds the lock for its time to live from now on. When that fails, it has ended, for good.
    pub(crate) fn extend(&mut self, servers: &mut Servers) -> Result<(), NoMajority> {
        self.check(servers)?;
        let valid_until = valid_until(self.ttl);
        let args = (&self.token, millis(self.ttl));
        let outcome = servers.eval(EXTEND, &[&self.key], args).agreed();
        let until_now = self.valid_until.min(Instant::now());
        self.valid_until = if outcome.is_ok() { valid_until } else { until_now };
        outcome?;
        self.check(servers)
    }

    /// Where this does not arrive, the lock ends by its time.
    pub(crate) fn release(self, servers: &mut Servers) {
        servers.eval(RELEASE, &[&self.key], &self.token);
    }
}

pub(crate) fn key_of(name: &str) -> String {
    format!("majority:lock:{name}")
}

fn valid_until(ttl: Duration) -> Instant {
    Instant::now() + ttl.saturating_sub(ttl / 100 + RESOLUTION)
}

fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).expect("a time to live below 500 million years")
}
