//! How often somebody may fail to log in: at most so many times a minute from one address, whatever
//! user is tried, if `auth-failures-per-minute` says so.
//!
//! What is bounded is the number of passwords that are looked at. A delay would bound nothing, since
//! whoever guesses can hang up on a reply that is late and come again.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

/// The span in which failures count, in milliseconds.
const SPAN_MS: i64 = 60_000;

/// Most addresses that are remembered; when there are more, all are forgotten.
const SOURCES_MAX: usize = 16 * 1024;

/// The bits of an IPv6 address that one host can choose freely.
const HOST_BITS: u32 = 64;

/// Failures since `began_at_ms`.
#[derive(Clone, Copy, Debug)]
struct Failures {
    began_at_ms: i64,
    count: u32,
}

impl Failures {
    fn is_over(self, now_ms: i64) -> bool {
        (now_ms - self.began_at_ms).abs() >= SPAN_MS
    }
}

/// Failures by address.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    max: AtomicU32,
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

impl Attempts {
    /// Sets how often an address may fail a minute; 0 is no bound.
    pub(super) fn set_max(&self, max: u32) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Whether a password from that address is looked at.
    pub(super) fn may_try(&self, from: IpAddr, now_ms: i64) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        if max == 0 {
            return true;
        }
        let failures = self.failures.lock();
        failures.get(&network(from)).is_none_or(|f| f.count < max || f.is_over(now_ms))
    }

    /// Remembers a failure.
    pub(super) fn failed(&self, from: IpAddr, now_ms: i64) {
        if self.max.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut failures = self.failures.lock();
        if failures.len() >= SOURCES_MAX {
            failures.retain(|_, failures| !failures.is_over(now_ms));
        }
        if failures.len() >= SOURCES_MAX {
            failures.clear();
        }
        let first = Failures { began_at_ms: now_ms, count: 0 };
        let entry = failures.entry(network(from)).or_insert(first);
        if entry.is_over(now_ms) {
            *entry = first;
        }
        entry.count = entry.count.saturating_add(1);
    }
}

/// What stands for all addresses of one host.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> HOST_BITS << HOST_BITS).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_fails_so_often_a_minute() {
        let attempts = Attempts::default();
        let (here, there): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        (0..10).for_each(|_| attempts.failed(here, 0));
        assert!(attempts.may_try(here, 0));
        attempts.set_max(2);
        attempts.failed(here, 0);
        assert!(attempts.may_try(here, 0));
        attempts.failed(here, 1);
        assert!(!attempts.may_try(here, SPAN_MS - 1) && attempts.may_try(there, 1));
        assert!(attempts.may_try(here, SPAN_MS));
        attempts.failed(here, SPAN_MS);
        assert!(attempts.may_try(here, SPAN_MS));
    }

    #[test]
    fn addresses_are_forgotten_when_there_are_too_many() {
        let attempts = Attempts::default();
        attempts.set_max(1);
        for number in 0..=SOURCES_MAX as u32 {
            attempts.failed(std::net::Ipv4Addr::from_bits(number).into(), 0);
        }
        assert!(attempts.failures.lock().len() <= SOURCES_MAX);
        let near = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(near("2001:db8::1"), near("2001:db8::ffff:1"));
        assert_ne!(near("2001:db8::1"), near("2001:db8:0:1::1"));
        assert_eq!(near("::ffff:1.2.3.4"), near("1.2.3.4"));
    }
}
