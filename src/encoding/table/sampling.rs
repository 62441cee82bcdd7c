//! Drawing a few items by chance, to compare them.
//!
//! A bucket is one cache line and names about five items, whose lines are asked for all at once. Every
//! item is in exactly one bucket and its hash put it there, so a bucket drawn with equal chance shows
//! every item with equal chance, whatever the items are used for. The few items of a small table are
//! shown together, so that among few all are compared.

use std::cell::Cell;

use super::segment::{BUCKETS, FIRST_BUCKETS};
use super::{NEVER, Table, Thin};
use crate::base::random::Random;

/// Draws before a table counts as empty; a table that is half full shows something at the first.
const DRAWS: usize = 16;

/// A table where fewer than one item of so many has a deadline is searched for them.
const RARE: usize = 8;

impl<T: Thin> Table<T> {
    /// Into how many parts the table is divided of which [`Self::sample`] shows one: its buckets, but
    /// those of a first segment are one.
    pub fn parts(&self) -> usize {
        if self.buckets() <= FIRST_BUCKETS { 1 } else { self.buckets() }
    }

    /// Shows the items of a part drawn by chance; if only `volatile` ones are wanted, those that have a
    /// deadline, the others are passed over. Shows nothing where there is nothing.
    pub fn sample(&self, volatile: bool, random: &mut Random, mut visit: impl FnMut(T::View<'_>)) {
        let candidates = if volatile { self.volatile_len() } else { self.len };
        if candidates == 0 {
            return;
        }
        let shown = Cell::new(false);
        let mut show = |view: T::View<'_>| {
            if !volatile || T::expire_at_ms(view).is_some() {
                shown.set(true);
                visit(view);
            }
        };
        if self.parts() > 1 && candidates * RARE >= self.len {
            for _ in 0..DRAWS {
                let draw = random.below(self.buckets() as u64) as usize;
                self.segments[draw / BUCKETS].visit_bucket(draw % BUCKETS, &mut show);
                if shown.get() {
                    return;
                }
            }
        }
        let count = self.segments.len();
        let start = random.below(count as u64) as usize;
        for at in (start..count).chain(0..start) {
            if !volatile || self.metas[at].min_expire < NEVER {
                self.segments[at].visit_all(&mut show);
            }
            if shown.get() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Item, filled};
    use super::*;

    #[test]
    fn every_item_is_drawn_about_as_often() {
        let table = filled(3000, |_| None);
        let (mut random, mut drawn) = (Random::seeded(3), std::collections::HashMap::new());
        for _ in 0..100_000 {
            table.sample(false, &mut random, |view| {
                *drawn.entry(Item::key(view).to_vec()).or_insert(0u32) += 1;
            });
        }
        assert_eq!(drawn.len(), 3000);
        let least = drawn.values().min().expect("there are some");
        let most = drawn.values().max().expect("there are some");
        assert!(*least > 80 && *most < 4 * *least, "{least} to {most}");
    }

    #[test]
    fn the_few_with_a_deadline_are_found() {
        let table = filled(3000, |n| (n == 77 || n == 78).then_some(5));
        let (mut random, mut drawn) = (Random::seeded(4), std::collections::HashSet::new());
        for _ in 0..100 {
            let mut seen = 0;
            table.sample(true, &mut random, |view| {
                assert!(Item::expire_at_ms(view).is_some());
                drawn.insert(Item::key(view).to_vec());
                seen += 1;
            });
            assert!(seen > 0);
        }
        assert_eq!(drawn.len(), 2);
    }
}
