//! The access bits of an entry: when (LRU) or how often (LFU) it was used, or when it was last changed
//! (LRM).
//!
//! ```text
//! 31                        8 7         0
//! | seconds mod 2^24         | 256ths   |   LRU, LRM
//! | minutes mod 2^16 | count | 0        |   LFU
//! ```
//!
//! The upper 24 bits and their constants are Redis's (evict.c), because OBJECT IDLETIME and FREQ show
//! them: the count is logarithmic, new entries start at 5, and it decays with time. The 256ths of a
//! second only make eviction tell apart what was used within one second, in which a small cache may be
//! replaced whole; without a limit of memory nothing keeps them, since every read would write.

use crate::base::random::Random;

const LRU_MASK: i64 = (1 << 24) - 1;
const FINER_BITS: u32 = 8;
const FINER_MASK: u32 = (1 << FINER_BITS) - 1;
/// The 256ths where none are kept: what is compared with others is most likely half a second off.
pub(super) const FINER_UNKNOWN: u32 = 1 << (FINER_BITS - 1);
/// The longest idle time that is told, in seconds, a while before the clock comes round.
const IDLE_MAX: i64 = LRU_MASK - 2 * AHEAD_SECONDS;
/// What was used so much later than now, or less, was used by a clock that is ahead of ours.
const AHEAD_SECONDS: i64 = 3600;
const AHEAD_MINUTES: u32 = 60;
const LFU_TIME_MASK: i64 = (1 << 16) - 1;
const LFU_START: u32 = 5;
const COUNTER_MASK: u32 = 0xff;
const MINUTE_MS: i64 = 60_000;

/// How accesses are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessPolicy {
    /// Whether frequency rather than time is kept (`maxmemory-policy *-lfu`).
    pub lfu: bool,
    /// Whether only changes count as accesses (`maxmemory-policy *-lrm`).
    pub lrm: bool,
    /// Whether times are kept finer than to the second, which is of use only where keys are evicted.
    pub finer: bool,
    /// `lfu-log-factor`.
    pub log_factor: u16,
    /// `lfu-decay-time` in minutes.
    pub decay_minutes: u16,
}

impl Default for AccessPolicy {
    fn default() -> Self {
        Self { lfu: false, lrm: false, finer: false, log_factor: 10, decay_minutes: 1 }
    }
}

impl AccessPolicy {
    pub(super) fn pack(self) -> u64 {
        u64::from(self.lfu)
            | u64::from(self.lrm) << 1
            | u64::from(self.finer) << 2
            | u64::from(self.log_factor) << 16
            | u64::from(self.decay_minutes) << 32
    }

    pub(super) fn unpack(word: u64) -> Self {
        let (log_factor, decay_minutes) = ((word >> 16) as u16, (word >> 32) as u16);
        let (lfu, lrm, finer) = (word & 1 != 0, word & 2 != 0, word & 4 != 0);
        Self { lfu, lrm, finer, log_factor, decay_minutes }
    }

    /// The access bits of an entry made now.
    #[inline]
    pub fn fresh(self, now_ms: i64) -> u32 {
        if self.lfu { lfu_bits(now_ms, LFU_START) } else { self.lru_bits(now_ms) }
    }

    /// The access bits of an entry that was last used that many seconds ago, or so often; what the
    /// policy does not keep is of no account.
    pub fn recalled(self, idle_seconds: Option<u64>, frequency: Option<u8>, now_ms: i64) -> u32 {
        match (self.lfu, idle_seconds, frequency) {
            (true, _, Some(frequency)) => lfu_bits(now_ms, u32::from(frequency)),
            (false, Some(seconds), _) => {
                // More than the clock can tell is the most that it can.
                let seconds = i64::try_from(seconds).unwrap_or(IDLE_MAX).min(IDLE_MAX);
                self.lru_bits(now_ms - seconds * 1000)
            }
            _ => self.fresh(now_ms),
        }
    }

    /// The access bits after an access now.
    #[inline]
    pub fn touched(self, bits: u32, now_ms: i64, random: &mut Random) -> u32 {
        if !self.lfu {
            return self.lru_bits(now_ms);
        }
        let counter = self.incremented(self.decayed(bits, now_ms), random);
        lfu_bits(now_ms, counter)
    }

    #[inline]
    fn lru_bits(self, now_ms: i64) -> u32 {
        let bits = lru_clock(now_ms);
        if self.finer { bits } else { bits & !FINER_MASK | FINER_UNKNOWN }
    }

    /// Milliseconds since the last access, to the second.
    pub fn idle_ms(self, bits: u32, now_ms: i64) -> i64 {
        let seconds = |bits: u32| i64::from(bits >> FINER_BITS);
        let idle = (seconds(lru_clock(now_ms)) - seconds(bits)).rem_euclid(LRU_MASK + 1);
        if idle > LRU_MASK - AHEAD_SECONDS { 0 } else { idle * 1000 }
    }

    /// 256ths of a second since the last access.
    pub(super) fn idleness(self, bits: u32, now_ms: i64) -> u32 {
        let idle = lru_clock(now_ms).wrapping_sub(bits);
        if idle > u32::MAX - ((AHEAD_SECONDS as u32) << FINER_BITS) { 0 } else { idle }
    }

    /// The access counter as it is now.
    pub fn frequency(self, bits: u32, now_ms: i64) -> u32 {
        self.decayed(bits, now_ms)
    }

    fn decayed(self, bits: u32, now_ms: i64) -> u32 {
        let bits = bits >> FINER_BITS;
        let (since, counter) = (bits >> 8, bits & COUNTER_MASK);
        let elapsed = lfu_minutes(now_ms).wrapping_sub(since) & LFU_TIME_MASK as u32;
        let elapsed = if elapsed > LFU_TIME_MASK as u32 - AHEAD_MINUTES { 0 } else { elapsed };
        match elapsed.checked_div(u32::from(self.decay_minutes)) {
            Some(periods) => counter.saturating_sub(periods),
            None => counter,
        }
    }

    fn incremented(self, counter: u32, random: &mut Random) -> u32 {
        if counter == COUNTER_MASK {
            return counter;
        }
        let base = u64::from(counter.saturating_sub(LFU_START));
        let hit = random.below(base * u64::from(self.log_factor) + 1) == 0;
        counter + u32::from(hit)
    }
}

/// 256ths of a second modulo 2^32.
fn lru_clock(now_ms: i64) -> u32 {
    (now_ms * 32 / 125) as u32
}

fn lfu_bits(now_ms: i64, counter: u32) -> u32 {
    (lfu_minutes(now_ms) << 8 | counter) << FINER_BITS
}

fn lfu_minutes(now_ms: i64) -> u32 {
    ((now_ms / MINUTE_MS) & LFU_TIME_MASK) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_survives_the_clock_wrapping() {
        let policy = AccessPolicy::default();
        let wrap_ms = (LRU_MASK + 1) * 1000;
        let bits = policy.fresh(wrap_ms - 3_000);
        assert_eq!(policy.idle_ms(bits, wrap_ms + 4_000), 7_000);
    }

    #[test]
    fn idleness_is_finer_than_a_second_and_never_negative() {
        let policy = AccessPolicy { finer: true, ..AccessPolicy::default() };
        let now_ms = 1_700_000_000_000;
        let bits = policy.fresh(now_ms);
        assert_eq!(policy.idleness(bits, now_ms + 500), 128);
        assert_eq!(policy.idleness(bits, now_ms - 500), 0);
        assert_eq!(
            (policy.idleness(bits, now_ms - 3_000_000), policy.idle_ms(bits, now_ms - 3_000_000)),
            (0, 0)
        );
        assert_eq!(policy.idleness(bits, now_ms + 86_400_000), 86_400 << 8);
        // OBJECT IDLETIME counts the seconds that began since, as Redis does.
        let late = policy.fresh(now_ms + 999);
        assert_eq!((late >> 8, policy.idle_ms(late, now_ms + 1000)), (bits >> 8, 1000));
    }

    #[test]
    fn counters_rise_with_use_and_fall_with_time() {
        let policy = AccessPolicy { lfu: true, ..AccessPolicy::default() };
        let (mut random, mut bits) = (Random::seeded(1), policy.fresh(0));
        (0..1000).for_each(|_| bits = policy.touched(bits, 0, &mut random));
        let risen = policy.frequency(bits, 0);
        assert!((10..60).contains(&risen), "{risen}");
        assert_eq!(policy.frequency(bits, 3 * MINUTE_MS), risen - 3);
        let later = policy.touched(bits, 3 * MINUTE_MS, &mut random);
        assert!((risen - 3..=risen - 2).contains(&policy.frequency(later, 0)), "a clock behind");
    }

    #[test]
    fn what_is_recalled_is_as_it_was() {
        let lru = AccessPolicy::default();
        let now_ms = 1_700_000_000_000;
        let idle = |seconds| lru.idle_ms(lru.recalled(Some(seconds), None, now_ms), now_ms) / 1000;
        assert_eq!((idle(0), idle(1000), idle(u64::MAX)), (0, 1000, IDLE_MAX));
        assert_eq!(lru.recalled(None, Some(9), now_ms), lru.fresh(now_ms));
        let lfu = AccessPolicy { lfu: true, ..lru };
        assert_eq!(lfu.frequency(lfu.recalled(None, Some(99), now_ms), now_ms), 99);
        assert_eq!(lfu.recalled(Some(9), None, now_ms), lfu.fresh(now_ms));
    }

    #[test]
    fn policies_survive_packing() {
        let policy = AccessPolicy {
            lfu: true,
            log_factor: 255,
            decay_minutes: 7,
            ..AccessPolicy::default()
        };
        assert_eq!(AccessPolicy::unpack(policy.pack()), policy);
        let policy = AccessPolicy { lrm: true, finer: true, ..AccessPolicy::default() };
        assert_eq!(AccessPolicy::unpack(policy.pack()), policy);
    }
}
