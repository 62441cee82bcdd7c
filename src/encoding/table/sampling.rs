//! Drawing a few items by chance, to compare them.
//!
//! A bucket is one cache line and names about five items, whose lines are asked for all at once. Every
//! item is in exactly one bucket and its hash put it there, so a bucket drawn with equal chance shows
//! every item with equal chance, whatever the items are used for. Where there are few items they are
//! shown together, so that among few all are compared.

use std::cell::Cell;

use super::segment::BUCKETS;
use super::{NEVER, Table, Thin};
use crate::base::random::Random;

/// So few items are shown together.
const FEW: usize = 16;

/// Draws before a table counts as empty; a table that is half full shows something at the first.
const DRAWS: usize = 16;

/// A table where fewer than one item of so many has a deadline is searched for them.
const RARE: usize = 8;

impl<T: Thin> Table<T> {
    /// Into how many parts the table is divided of which [`Self::sample`] shows one: its buckets, as
    /// far as there are items in them.
    pub fn parts(&self) -> usize {
        if self.len <= FEW { 1 } else { self.buckets().min(self.len) }
    }

    /// How many items [`Self::sample`] can show.
    pub fn candidates(&self, volatile: bool) -> usize {
        if volatile { self.volatile_len() } else { self.len }
    }

    /// Shows the items of a part drawn by chance; if only `volatile` ones are wanted, those that have a
    /// deadline, the others are passed over. Shows nothing where there is nothing.
    pub fn sample(&self, volatile: bool, random: &mut Random, mut visit: impl FnMut(T::View<'_>)) {
        let candidates = self.candidates(volatile);
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
        if self.len <= FEW {
            return self.segments.iter().for_each(|segment| segment.visit_all(&mut show));
        }
        if candidates * RARE >= self.len {
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
        let all = (start..count).chain(0..start);
        // A deadline at the end of time leaves no trace in its segment, so at last all are looked at.
        let likely = all.clone().filter(|at| !volatile || self.metas[*at].min_expire < NEVER);
        for at in likely.chain(all) {
            self.segments[at].visit_all(&mut show);
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
    use crate::base::hash::KeyHasher;

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

    #[test]
    fn a_deadline_at_the_end_of_time_is_found() {
        for count in [10, 3000] {
            let table = filled(count, |n| (n == 7).then_some(i64::MAX));
            let mut seen = 0;
            table.sample(true, &mut Random::seeded(5), |_| seen += 1);
            assert_eq!(seen, 1, "of {count}");
        }
    }

    #[test]
    fn tables_that_were_large_have_no_more_parts_than_items() {
        let (hasher, mut table) = (KeyHasher::seeded(1), filled(300, |_| None));
        assert_eq!(table.parts(), BUCKETS);
        let mut random = Random::seeded(6);
        while table.len() > FEW {
            assert_eq!(table.parts(), BUCKETS.min(table.len()));
            table.take_random(&mut random, &hasher);
        }
        let mut seen = 0;
        table.sample(false, &mut random, |_| seen += 1);
        assert_eq!((table.parts(), seen), (1, FEW));
    }
}
