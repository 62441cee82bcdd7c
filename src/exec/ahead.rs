//! Asks for the memory of keys ahead of the requests that name them.
//!
//! Buckets come first, then, when those have arrived, the entries that they point to. Only some keys
//! are asked for at a time: what 64 requests touch would not fit into the first cache together.

use std::ops::Range;

use crate::keyspace::{KeyHash, Keyspace};

/// Keys that are asked for at a time, while those before them are used.
const GROUP: usize = 16;

/// Most keys of one request that are asked for.
const REQUEST_KEYS_MAX: usize = 64;

/// How much of a list of keys has been asked for.
#[derive(Default)]
pub(super) struct Lookahead {
    buckets: usize,
    entries: usize,
}

impl Lookahead {
    /// Sees to the keys of `keys` that the next request names, and to some that follow them.
    #[inline]
    pub(super) fn reach(
        &mut self,
        keyspace: &Keyspace,
        db: usize,
        keys: &[KeyHash],
        next: Range<usize>,
    ) {
        if next.end > self.entries {
            self.ask(keyspace, db, keys, next);
        }
    }

    fn ask(&mut self, keyspace: &Keyspace, db: usize, keys: &[KeyHash], next: Range<usize>) {
        let (buckets, entries) = self.advance(keys.len(), next);
        for key in &keys[buckets] {
            keyspace.prefetch_bucket(db, key.hash);
        }
        // The entry of a lone key would be waited for at once either way.
        if keys.len() > 1 {
            for key in &keys[entries] {
                keyspace.prefetch_entry(db, key.hash);
            }
        }
    }

    /// The places of the `len` keys whose buckets and whose entries are to be asked for now.
    fn advance(&mut self, len: usize, next: Range<usize>) -> (Range<usize>, Range<usize>) {
        let whole = next.len().clamp(GROUP, REQUEST_KEYS_MAX);
        let entries = (next.start + whole).min(len);
        let buckets = (entries + GROUP).min(len);
        let asked = (
            self.buckets.clamp(next.start, buckets)..buckets,
            self.entries.clamp(next.start, entries)..entries,
        );
        (self.buckets, self.entries) = (buckets, entries.max(next.end));
        asked
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_are_asked_for_once_and_before_they_are_used(
            requests in prop::collection::vec(prop_oneof![0..3usize, 14..18usize, 60..70usize, 0..300usize], 1..70),
        ) {
            let len = requests.iter().sum();
            let (mut buckets, mut entries) = (vec![0; len], vec![0; len]);
            let (mut ahead, mut start) = (Lookahead::default(), 0);
            for count in requests {
                let own = start..start + count;
                if own.end > ahead.entries {
                    let (asked_buckets, asked_entries) = ahead.advance(len, own.clone());
                    buckets[asked_buckets].iter_mut().for_each(|times| *times += 1);
                    entries[asked_entries].iter_mut().for_each(|times| *times += 1);
                }
                let first = own.start..own.end.min(own.start + REQUEST_KEYS_MAX);
                prop_assert!(buckets[first.clone()].iter().all(|times| *times == 1));
                prop_assert!(entries[first].iter().all(|times| *times == 1));
                start = own.end;
            }
            prop_assert!(buckets.iter().chain(&entries).all(|times| *times <= 1));
        }
    }
}
