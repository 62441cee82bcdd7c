//! Sessions that clients may resume: `tls-session-cache-size` and `tls-session-cache-timeout`.
//!
//! When it is full, the oldest goes. Sessions are forgotten with the configuration they began under.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use rustls::server::StoresServerSessions;

use crate::base::clock;

/// Most sessions when `tls-session-cache-size` sets no limit.
const SESSIONS_MAX: usize = 1 << 20;

/// The sessions.
pub(super) struct Sessions {
    len_max: usize,
    timeout_ms: i64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Secrets by session, with the time at which they were put there.
    secrets: HashMap<Vec<u8>, (Vec<u8>, i64)>,
    /// Sessions in the order in which they came, with that time; some may be gone.
    order: VecDeque<(Vec<u8>, i64)>,
}

impl Sessions {
    /// Room for `len_max` sessions, or many for 0, each of which can be resumed for so long.
    pub(super) fn new(len_max: usize, timeout_seconds: i64) -> Self {
        let len_max = if len_max == 0 { SESSIONS_MAX } else { len_max.min(SESSIONS_MAX) };
        Self { len_max, timeout_ms: timeout_seconds.saturating_mul(1000), kept: Mutex::default() }
    }

    fn is_fresh(&self, since_ms: i64) -> bool {
        clock::now_ms() - since_ms <= self.timeout_ms
    }

    /// Makes room for one more.
    fn tidy(&self, kept: &mut Kept) {
        while let Some((key, since_ms)) = kept.order.front() {
            let is_current = kept.secrets.get(key).is_some_and(|(_, since)| since == since_ms);
            if is_current && self.is_fresh(*since_ms) && kept.order.len() < self.len_max {
                break;
            }
            if is_current {
                kept.secrets.remove(key);
            }
            kept.order.pop_front();
        }
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let (mut kept, now_ms) = (self.kept.lock(), clock::now_ms());
        self.tidy(&mut kept);
        kept.order.push_back((key.clone(), now_ms));
        kept.secrets.insert(key, (value, now_ms));
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let kept = self.kept.lock();
        let (value, since_ms) = kept.secrets.get(key)?;
        self.is_fresh(*since_ms).then(|| value.clone())
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let (value, since_ms) = self.kept.lock().secrets.remove(key)?;
        self.is_fresh(since_ms).then_some(value)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_and_one_is_taken_once() {
        let sessions = Sessions::new(3, 60);
        for key in 0..5 {
            assert!(sessions.put(vec![key], vec![key + 100]));
        }
        let found = |key: u8| sessions.get(&[key]).is_some();
        assert_eq!([0, 1, 2, 3, 4].map(found), [false, false, true, true, true]);
        assert_eq!(sessions.take(&[4]), Some(vec![104]));
        assert_eq!(sessions.take(&[4]), None);
    }

    #[test]
    fn they_end_with_time() {
        let sessions = Sessions::new(0, -1);
        sessions.put(vec![1], vec![2]);
        assert_eq!((sessions.get(&[1]), sessions.take(&[1])), (None, None));
        sessions.put(vec![3], vec![4]);
        assert_eq!(sessions.kept.lock().order.len(), 1, "what has ended is kept");
    }
}
