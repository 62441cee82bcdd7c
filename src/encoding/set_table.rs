//! The large set: members of their own allocation, found by hash.
//!
//! All sets use the process's one hasher, so the hash of a member that is looked for in several sets
//! is computed at most once: [`SetTable::contains_hashed`].
//!
//! A scan's cursor is a place in hash order, as SCAN's is (see `table`): members that stay are
//! visited at least once however the set grows and shrinks meanwhile.

use std::fmt;

use super::member::Member;
use super::table::{Bag, Encode, Shape, SharedReading, Thin};
use crate::base::hash::KeyHasher;
use crate::base::random::Random;

/// Members whose sizes stand for all in [`SetTable::memory`].
const MEMORY_SAMPLES: usize = 64;

/// A set of any size. See the module's documentation.
#[derive(Default)]
pub struct SetTable {
    members: Bag<Member>,
}

impl SetTable {
    /// How many members there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// How the hash table is built, if the members are so many that there is one.
    pub fn shape(&self, full: bool) -> Option<Shape> {
        self.members.shape(full)
    }

    /// Whether there is no member.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether `member` is in the set.
    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        self.contains_hashed(member, &mut None)
    }

    /// Whether `member` is in the set; its hash is kept in `hash` for the next set.
    #[inline]
    pub fn contains_hashed(&self, member: &[u8], hash: &mut Option<u64>) -> bool {
        self.members.contains(member, hash)
    }

    /// Asks for the memory of `members`; see [`Bag::prefetch`].
    pub fn prefetch<'m>(&self, members: impl Iterator<Item = &'m [u8]>) {
        self.members.prefetch(members);
    }

    /// Adds `member`; `false` if it was there.
    #[inline]
    pub fn insert(&mut self, member: &[u8], hasher: &KeyHasher) -> bool {
        self.members.upsert(member, (), hasher, |_, ()| {}, |()| Member::new(member))
    }

    /// Removes `member`; `false` if it was not there.
    #[inline]
    pub fn remove(&mut self, member: &[u8]) -> bool {
        self.members.remove(member).is_some()
    }

    /// A member chosen with equal chance among all.
    #[inline]
    pub fn random(&self, random: &mut Random) -> Option<&[u8]> {
        Some(self.members.random(random)?.bytes())
    }

    /// Takes a member out that is chosen with equal chance among all.
    pub fn take_random(&mut self, random: &mut Random) -> Option<Member> {
        self.members.take_random(random)
    }

    /// All members, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.members.iter().map(|view| view.bytes())
    }

    /// Visits members from `cursor` on; see [`Bag::scan`].
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, mut visit: impl FnMut(&'a [u8])) -> u64 {
        self.members.scan(cursor, count, |view| visit(view.bytes()))
    }

    /// Begins to read all members as they are now; see [`Bag::begin_reading`].
    pub fn begin_reading(&mut self, encode: Encode<Member>) -> Option<SharedReading<Member>> {
        self.members.begin_reading(encode)
    }

    /// Goes on with a reading; see [`Bag::read_on`].
    pub fn read_on(&mut self, reading: &SharedReading<Member>, count: usize) -> bool {
        self.members.read_on(reading, count)
    }

    /// Tells readers of another name; see [`Bag::note_moved`].
    pub fn note_moved(&mut self, name: &[u8]) {
        self.members.note_moved(name);
    }

    /// Bytes of memory behind the set, estimated from some of its members.
    pub fn memory(&self) -> usize {
        let mut sampled = 0;
        let sizes = self.members.iter().take(MEMORY_SAMPLES).inspect(|_| sampled += 1);
        let sum: usize = sizes.map(|view| view.memory()).sum();
        let members = (sum * self.len()).checked_div(sampled).unwrap_or(0);
        self.members.overhead() + members
    }
}

impl Clone for SetTable {
    fn clone(&self) -> Self {
        Self { members: self.members.duplicate(|view| Member::new(Member::key(view))) }
    }
}

impl fmt::Debug for SetTable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SetTable of {}", self.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn set_of(members: impl IntoIterator<Item = u32>) -> SetTable {
        let mut set = SetTable::default();
        let hasher = KeyHasher::seeded(1);
        members.into_iter().for_each(|n| assert!(set.insert(text(n).as_bytes(), &hasher)));
        set
    }

    fn text(n: u32) -> String {
        format!("member:{n}")
    }

    #[test]
    fn a_big_set_takes_at_most_40_bytes_a_member() {
        let mut set = SetTable::default();
        for n in 0..100_000 {
            set.insert(format!("member:{n:08}").as_bytes(), &KeyHasher::seeded(1));
        }
        let per_member = set.memory() as f64 / set.len() as f64;
        assert!((30.0..40.0).contains(&per_member), "{per_member} bytes");
    }

    #[test]
    fn a_scan_visits_about_as_many_as_it_is_asked_for() {
        let (set, mut cursor, mut seen) = (set_of(0..50_000), 0, 0);
        loop {
            let mut visited = 0;
            cursor = set.scan(cursor, 10, |_| visited += 1);
            assert!(visited < 60, "{visited} at once");
            seen += visited;
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, 50_000);
    }

    #[test]
    fn any_cursor_is_valid() {
        for set in [set_of(0..0), set_of(0..3), set_of(0..5000)] {
            for cursor in [1, 12345, u64::MAX >> 16, u64::MAX] {
                assert_eq!(set.scan(cursor, usize::MAX, |_| {}), 0);
            }
        }
    }

    #[test]
    fn members_are_taken_with_equal_chance() {
        let (mut random, mut firsts) = (Random::seeded(9), vec![0u32; 600]);
        for _ in 0..6000 {
            let mut set = set_of(0..600);
            let taken = set.take_random(&mut random).expect("there are members");
            let number = str::from_utf8(&taken.bytes()[7..]).expect("a number");
            firsts[number.parse::<usize>().expect("a number")] += 1;
        }
        let max = firsts.iter().max();
        assert!(max < Some(&35), "{max:?}");
        assert!(firsts.iter().filter(|count| **count == 0).count() < 6);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_a_hash_set(
            ops in prop::collection::vec((0..4u8, 0..2000u32, 1..600u32), 1..40),
            seed in any::<u64>(),
        ) {
            let (mut set, mut model) = (SetTable::default(), HashSet::new());
            let hasher = KeyHasher::seeded(1);
            let mut random = Random::seeded(seed);
            for (op, first, many) in ops {
                for n in first..first + many {
                    let member = text(n).into_bytes();
                    match op {
                        0 | 1 => prop_assert_eq!(set.insert(&member, &hasher), model.insert(member)),
                        2 => prop_assert_eq!(set.remove(&member), model.remove(&member)),
                        _ => match set.take_random(&mut random) {
                            Some(taken) => prop_assert!(model.remove(taken.bytes())),
                            None => prop_assert!(model.is_empty()),
                        },
                    }
                }
                prop_assert_eq!(set.len(), model.len());
            }
            let all: HashSet<Vec<u8>> = set.iter().map(<[u8]>::to_vec).collect();
            prop_assert_eq!(set.iter().count(), all.len());
            prop_assert!(all.iter().all(|member| set.contains(member)));
            prop_assert_eq!(all, model);
        }
    }
}
