//! Adding up what the items of tables take, for who wants to know.
//!
//! Each table knows its own sum and adds every difference to a sum that it shares with others. A table
//! that nobody asked tests one word for each change.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{Position, Table, Thin};

/// The sum of one table, and where it is a part of.
pub(super) struct Tally {
    own: i64,
    shared: Arc<AtomicI64>,
}

impl Tally {
    pub(super) fn add(&mut self, bytes: i64) {
        self.own += bytes;
        self.shared.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl<T: Thin> Table<T> {
    /// Adds the weights of all items, and every change from now on, to `shared`; to nothing for `None`.
    /// Visits all items unless they are counted already.
    pub fn set_tally(&mut self, shared: Option<Arc<AtomicI64>>) {
        let counted = self.tally.take().map(|tally| {
            tally.shared.fetch_sub(tally.own, Ordering::Relaxed);
            tally.own
        });
        if let Some(shared) = shared {
            let own =
                counted.unwrap_or_else(|| self.iter().map(|view| T::weight(view) as i64).sum());
            shared.fetch_add(own, Ordering::Relaxed);
            self.tally = Some(Tally { own, shared });
        }
    }

    /// What the item at `position` weighs, if weights are counted.
    #[inline]
    pub fn weight_at(&self, position: Position) -> Option<usize> {
        self.tally.as_ref().map(|_| T::weight(self.view(position)))
    }

    /// Counts what became of the item at `position`, which weighed `before`.
    #[inline]
    pub fn note_weight(&mut self, position: Position, before: Option<usize>) {
        if let Some(before) = before {
            let now = T::weight(self.view(position));
            if let Some(tally) = &mut self.tally {
                tally.add(now as i64 - before as i64);
            }
        }
    }
}
