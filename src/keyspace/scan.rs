//! Cursors over the whole keyspace in hash order.
//!
//! A cursor holds the top 48 bits of the hash up to which everything was visited: the shard's bits,
//! then the position in its table. It names a place in hash space, not in memory, so no growth,
//! shrinking or restart of the scan elsewhere invalidates it, and the server keeps nothing. 0 is both
//! the start and the end.

use super::entry::EntryView;
use super::{Access, Keyspace};
use crate::encoding::table::CURSOR_BITS;

/// Empty buckets one call may pass over before it returns to its client.
const SKIPS_MAX: usize = 32 * 1024;

impl Keyspace {
    /// Visits entries of database `db` from `cursor` on until at least `count` were visited or much
    /// was empty, and returns the cursor to go on with: 0 when all was visited.
    ///
    /// Expired entries are passed over. Any cursor is valid.
    pub fn scan(
        &self,
        access: &mut Access<'_>,
        db: usize,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(EntryView<'_>),
    ) -> u64 {
        let (mut left, mut skips) = (count.max(1), SKIPS_MAX);
        let local_shift = 64 - CURSOR_BITS;
        let start = (cursor << local_shift) >> local_shift << local_shift;
        let (mut shard, mut at) = (self.shard_of(start), start << self.shard_bits());
        while shard < self.shard_count() {
            let next = access.visit(self, shard, |part| {
                let mut next = Some(at);
                while let (Some(from), 1..) = (next, left) {
                    let before = skips;
                    next = part.db(db).and_then(|table| {
                        table.scan(from, &mut skips, self.hasher(), |view| {
                            left = left.saturating_sub(1);
                            visit(view);
                        })
                    });
                    if skips == 0 && before == 0 {
                        break;
                    }
                }
                next
            });
            match next {
                Some(at) => {
                    return ((shard as u64) << (64 - self.shard_bits()) | at >> self.shard_bits())
                        >> local_shift;
                }
                None => (shard, at) = (shard + 1, 0),
            }
            skips = skips.saturating_sub(1);
        }
        0
    }
}
