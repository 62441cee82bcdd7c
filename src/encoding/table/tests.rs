//! The table against a `HashMap`, with scans that run while it grows and shrinks.

use std::collections::{HashMap, HashSet};
use std::ptr::NonNull;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// The smallest thin item: a box with a key, a number and a deadline.
pub(super) struct Item(Box<(Vec<u8>, u32, Option<i64>)>);

#[expect(unsafe_code, reason = "the trait under test is unsafe")]
// SAFETY: a box is given up and taken back by its own functions.
unsafe impl Thin for Item {
    type View<'a> = &'a (Vec<u8>, u32, Option<i64>);

    fn into_raw(self) -> NonNull<u8> {
        NonNull::from(Box::leak(self.0)).cast()
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { Box::from_raw(raw.cast().as_ptr()) })
    }

    unsafe fn view<'a>(raw: NonNull<u8>) -> Self::View<'a> {
        // SAFETY: the caller's promise.
        unsafe { raw.cast().as_ref() }
    }

    fn as_view(&self) -> Self::View<'_> {
        &self.0
    }

    fn key<'a>(view: Self::View<'a>) -> &'a [u8] {
        &view.0
    }

    fn expire_at_ms(view: Self::View<'_>) -> Option<i64> {
        view.2
    }
}

/// A table, its hasher and what it should hold.
struct Model {
    table: Table<Item>,
    hasher: KeyHasher,
    expected: HashMap<u32, (u32, Option<i64>)>,
}

impl Model {
    fn new(base_bits: u32) -> Self {
        let (hasher, expected) = (KeyHasher::seeded(1), HashMap::new());
        Self { table: Table::new(base_bits), hasher, expected }
    }

    fn key(number: u32) -> Vec<u8> {
        format!("key:{number}").into_bytes()
    }

    /// All keys share their top bits, as the keys of one shard do.
    fn hash(&self, number: u32) -> u64 {
        self.hasher.hash(&Self::key(number))
    }

    fn set(&mut self, number: u32, value: u32, deadline: Option<i64>) {
        let (hash, key) = (self.hash(number), Self::key(number));
        let item = Item(Box::new((key.clone(), value, deadline)));
        match self.table.find(hash, &key) {
            Some(position) => drop(self.table.replace(position, item)),
            None => drop(self.table.insert(hash, item, &self.hasher)),
        }
        self.expected.insert(number, (value, deadline));
    }

    fn remove(&mut self, number: u32) {
        let (hash, key) = (self.hash(number), Self::key(number));
        let found = self.table.find(hash, &key);
        assert_eq!(found.is_some(), self.expected.remove(&number).is_some());
        if let Some(position) = found {
            assert_eq!(self.table.remove(hash, position, &self.hasher).0.0, key);
        }
    }

    fn check(&self) {
        assert_eq!(self.table.len(), self.expected.len());
        let volatile = self.expected.values().filter(|(_, deadline)| deadline.is_some()).count();
        assert_eq!(self.table.volatile_len(), volatile);
        let deadlines = self.expected.values().filter_map(|(_, deadline)| *deadline);
        assert_eq!(self.table.deadline_sum(), deadlines.map(i128::from).sum());
        for (number, (value, deadline)) in &self.expected {
            let position = self.table.find(self.hash(*number), &Self::key(*number));
            let view = self.table.view(position.expect("the key is there"));
            assert_eq!((view.1, view.2), (*value, *deadline));
            assert!(deadline.is_none_or(|at| self.table.min_expire_ms() <= at));
        }
    }

    /// One step of a scan; adds what it visits to `seen`.
    fn scan_step(&self, cursor: u64, seen: &mut HashSet<Vec<u8>>) -> Option<u64> {
        let next = self.table.scan(cursor, &mut 16, &self.hasher, |view| {
            seen.insert(view.0.clone());
        });
        assert!(next.is_none_or(|next| next > cursor && next.trailing_zeros() >= 16));
        next
    }
}

/// A table of so many items with these deadlines.
pub(super) fn filled(count: u32, deadline: impl Fn(u32) -> Option<i64>) -> Table<Item> {
    let mut model = Model::new(0);
    (0..count).for_each(|number| model.set(number, number, deadline(number)));
    model.table
}

#[test]
fn grows_to_many_segments_and_shrinks_to_none() {
    let mut model = Model::new(0);
    (0..20_000).for_each(|n| model.set(n, n, (n % 3 == 0).then_some(i64::from(n))));
    model.check();
    let grown = model.table.slots();
    assert!(grown < 20_000 * 5 / 2, "{grown} slots");
    (0..20_000).for_each(|n| model.remove(n));
    model.check();
    assert_eq!(model.table.slots(), 0);
}

#[test]
fn a_table_whose_items_come_and_go_stays_as_full() {
    for count in [5_000, 11_000] {
        let mut model = Model::new(0);
        (0..count).for_each(|n| model.set(n, n, None));
        for n in 0..20 * count {
            model.set(count + n, n, None);
            model.remove(n);
        }
        model.check();
        let fill = count as f64 / model.table.slots() as f64;
        assert!(fill > 0.6, "{fill}");
    }
}

#[test]
fn a_merge_that_failed_is_not_tried_at_each_removal() {
    let mut model = Model::new(0);
    let is_low = |hash: u64| hash < u64::MAX / 3;
    let is_high = |hash: u64| hash > u64::MAX / 2;
    // The low half's items would share 20 of the merged segment's 60 home buckets.
    let mut low: Vec<u32> = (0..).filter(|n| is_low(model.hash(*n))).take(189).collect();
    let high: Vec<u32> = (0..).filter(|n| is_high(model.hash(*n))).take(147).collect();
    let passing = 100_000..100_500;
    low.iter().chain(&high).for_each(|n| model.set(*n, 0, None));
    passing.clone().for_each(|n| model.set(n, 0, None));
    passing.for_each(|n| model.remove(n));
    assert_eq!(model.table.segments.len(), 2);
    assert!(model.table.metas.iter().all(|meta| meta.stays_unmerged()));
    model.check();
    // It is tried again once fewer are left.
    while model.table.segments.len() > 1 {
        model.remove(low.pop().expect("few items are one segment"));
    }
    assert!((100..170).contains(&low.len()), "{} left", low.len());
    model.check();
}

#[test]
fn settled_items_are_found_by_scans_and_lookups() {
    let mut model = Model::new(0);
    (0..380).for_each(|n| model.set(n, n, None));
    // What stays may be anywhere, and much of it has room at home now.
    (0..380).filter(|n| n % 3 > 0).for_each(|n| model.remove(n));
    let depth = model.table.depth;
    for segment in &mut model.table.segments {
        let homes = segment.homes();
        segment.settle(|key| Table::<Item>::home(model.hasher.hash(key), depth, homes));
    }
    model.check();
    let mut seen = HashSet::new();
    let mut cursor = Some(0);
    while let Some(at) = cursor {
        cursor = model.scan_step(at, &mut seen);
    }
    assert_eq!(seen.len(), model.expected.len());
}

#[test]
fn scan_visits_each_item_of_a_quiet_table_once() {
    let mut model = Model::new(0);
    (0..5_000).for_each(|n| model.set(n, 0, None));
    let (mut visits, mut cursor) = (0, 0);
    loop {
        let next = model.table.scan(cursor, &mut 1000, &model.hasher, |_| visits += 1);
        match next {
            Some(at) => cursor = at,
            None => break,
        }
    }
    assert_eq!(visits, 5_000);
}

#[test]
fn random_items_are_evenly_spread() {
    let mut model = Model::new(0);
    (0..1000).for_each(|n| model.set(n, n, None));
    let (mut random, mut counts) = (Random::seeded(3), vec![0u32; 1000]);
    for _ in 0..100_000 {
        counts[model.table.random(&mut random).expect("there are items").1 as usize] += 1;
    }
    let (min, max) = (counts.iter().min(), counts.iter().max());
    assert!(model.table.segments.len() > 1, "several segments are drawn from");
    assert!(min > Some(&50) && max < Some(&170), "{min:?} {max:?}");
}

#[test]
fn random_items_can_be_taken_until_none_is_left() {
    let mut model = Model::new(0);
    (0..3000).for_each(|n| model.set(n, n, (n % 2 == 0).then_some(1)));
    let (mut random, hasher) = (Random::seeded(5), model.hasher);
    let mut seen: HashSet<u32> = model.table.iter().map(|view| view.1).collect();
    assert_eq!(seen.len(), 3000);
    while let Some(item) = model.table.take_random(&mut random, &hasher) {
        assert!(seen.remove(&item.0.1) && model.expected.remove(&item.0.1).is_some());
        if seen.len().is_multiple_of(500) {
            model.check();
        }
    }
    assert_eq!((seen.len(), model.table.slots()), (0, 0));
}

#[test]
fn expiry_takes_exactly_what_is_due() {
    let mut model = Model::new(0);
    (0..5_000).for_each(|n| model.set(n, n, (n % 2 == 0).then_some(i64::from(n))));
    let mut expired = 0;
    while model.table.expire_segment(
        2_000,
        2_000,
        &model.hasher,
        |_| false,
        |item| {
            assert!(item.0.2.is_some_and(|at| at <= 2_000));
            expired += 1;
        },
    ) {}
    assert_eq!(expired, 1001);
    model.expected.retain(|_, (_, deadline)| deadline.is_none_or(|at| at > 2_000));
    model.check();
    assert_eq!(model.table.min_expire_ms(), 2_002);
}

#[test]
fn emptied_ranges_merge_and_crowded_ones_do_not() {
    let mut model = Model::new(0);
    (0..20_000).for_each(|n| model.set(n, n, Some(i64::from(n % 2))));
    let (hasher, mut last) = (model.hasher, 0);
    // What stays lies in one eighth of the hash space.
    for n in 0..20_000 {
        if model.hash(n) >> 61 != 5 {
            model.remove(n);
        }
    }
    model.check();
    let left = model.expected.len();
    assert!(model.table.slots() < 4 * left, "{} slots for {left}", model.table.slots());
    while model.table.expire_segment(0, 0, &hasher, |_| false, |_| last += 1) {}
    model.expected.retain(|n, _| n % 2 == 1);
    model.check();
    while model.table.expire_segment(1, 1, &hasher, |_| false, |_| last += 1) {}
    assert_eq!((last, model.table.slots()), (left, 0));
}

#[test]
fn changing_a_deadline_in_place_is_noticed() {
    let mut model = Model::new(0);
    model.set(1, 0, None);
    let position = model.table.find(model.hash(1), b"key:1").expect("the key is there");
    model.table.update(position, |item| item.0.2 = Some(5));
    assert_eq!((model.table.volatile_len(), model.table.min_expire_ms()), (1, 5));
    model.table.update(position, |item| item.0.2 = None);
    assert_eq!(model.table.volatile_len(), 0);
}

#[derive(Clone, Debug)]
enum Op {
    Set(u32, Option<i64>),
    Remove(u32),
    Grow(u32),
    Shrink(u32),
    Scan(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0..3000u32, prop::option::of(0..1000i64)).prop_map(|(n, at)| Op::Set(n, at)),
        4 => (0..3000u32).prop_map(Op::Remove),
        1 => (0..3000u32).prop_map(Op::Grow),
        1 => (0..3000u32).prop_map(Op::Shrink),
        6 => (1..40usize).prop_map(Op::Scan),
    ];
    prop::collection::vec(op, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn agrees_with_a_hash_map_while_scans_run(
        staying in prop::sample::select(&[3, 20, 60, 400][..]),
        ops in ops(),
    ) {
        let mut model = Model::new(0);
        // These stay throughout, so a full scan must see every one of them.
        (10_000..10_000 + staying).for_each(|n| model.set(n, 0, None));
        let (mut cursor, mut seen) = (Some(0), HashSet::new());
        for op in ops {
            match op {
                Op::Set(n, at) => model.set(n, n + 1, at),
                Op::Remove(n) => model.remove(n),
                Op::Grow(n) => (n..n + 700).for_each(|n| model.set(n, n, None)),
                Op::Shrink(n) => (n..n + 900).for_each(|n| model.remove(n)),
                Op::Scan(steps) => {
                    for _ in 0..steps {
                        cursor = cursor.and_then(|at| model.scan_step(at, &mut seen));
                    }
                }
            }
        }
        model.check();
        while let Some(at) = cursor {
            cursor = model.scan_step(at, &mut seen);
        }
        prop_assert!((10_000..10_000 + staying).all(|n| seen.contains(&Model::key(n))));
    }
}

#[test]
fn a_small_table_grows_with_its_items() {
    let mut model = Model::new(0);
    let mut grown: Vec<(usize, usize)> = Vec::new();
    for number in 0..1000 {
        model.set(number, 0, (number % 4 == 0).then_some(9));
        model.check();
        if grown.last().is_none_or(|(slots, _)| *slots != model.table.slots()) {
            grown.push((model.table.slots(), model.table.len()));
        }
        let seen: HashSet<u32> = model.table.iter().map(|view| view.1).collect();
        assert_eq!(seen.len(), 1, "all have the same value");
    }
    let slots: Vec<usize> = grown.iter().map(|(slots, _)| *slots).collect();
    assert_eq!(slots[..4], [28, 112, 448, 896]);
    // Each is as full as the larger ones before something larger takes its place.
    for pair in grown[..4].windows(2) {
        let (slots, len) = (pair[0].0, pair[1].1);
        assert!(len > slots * 7 / 10, "{len} of {slots}");
    }
}

#[test]
fn a_scan_goes_on_where_it_was_when_the_segment_has_grown() {
    for stops in 1..15 {
        let mut model = Model::new(0);
        (0..70).for_each(|n| model.set(n, n, None));
        let (mut cursor, mut seen) = (Some(0), HashSet::new());
        for _ in 0..stops {
            cursor = cursor.and_then(|at| model.scan_step(at, &mut seen));
        }
        let before = seen.len();
        (70..300).for_each(|n| model.set(n, n, None));
        let (mut visits, mut old) = (0, 0);
        while let Some(at) = cursor {
            cursor = model.table.scan(at, &mut 16, &model.hasher, |view| {
                visits += 1;
                old += usize::from(view.1 < 70);
                seen.insert(view.0.clone());
            });
        }
        assert!((0..70).all(|n| seen.contains(&Model::key(n))));
        // The smaller segment's buckets are whole ones of the larger, so nothing comes twice.
        assert_eq!(before + old, 70, "{visits} visits");
    }
}

/// What an item is read as.
fn encode(view: &(Vec<u8>, u32, Option<i64>), out: &mut Vec<u8>) {
    out.extend_from_slice(&view.0);
    out.extend_from_slice(format!("={}\n", view.1).as_bytes());
}

fn lines(bytes: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> =
        String::from_utf8_lossy(bytes).lines().map(ToOwned::to_owned).collect();
    lines.sort_unstable();
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_reading_yields_the_table_as_it_was(
        size in prop_oneof![0u32..6_000, 0u32..120],
        steps in prop::collection::vec((0u8..8, any::<u32>(), 1u32..1_500), 0..40),
        dropped in any::<bool>(),
    ) {
        let mut model = Model::new(0);
        (0..size).for_each(|n| model.set(n, n, None));
        let mut before = Vec::new();
        model.table.for_each(|view| encode(view, &mut before));
        let reading = model.table.begin_reading(&model.hasher, Arc::new(|item, out| encode(item.as_view(), out)));
        for (kind, start, count) in steps {
            let numbers = (0..count).map(|n| start.wrapping_add(n) % (2 * size + 1));
            match kind {
                0 | 1 => numbers.for_each(|n| model.set(n, start, None)),
                2 | 3 => numbers.for_each(|n| model.remove(n)),
                4 => (0..2 * size + 1).for_each(|n| model.remove(n)),
                _ => {
                    let left = reading.lock().read_left(count as usize);
                    prop_assert!(left || model.table.read_on(&reading, count as usize));
                }
            }
        }
        if dropped {
            model = Model::new(0);
            prop_assert!(reading.lock().is_complete() || reading.lock().read_left(1));
        }
        let mut rounds = 0;
        while !reading.lock().is_complete() {
            let left = reading.lock().read_left(100);
            prop_assert!(left || model.table.read_on(&reading, 100));
            rounds += 1;
            prop_assert!(rounds < 10_000, "a reading comes to its end");
        }
        prop_assert_eq!(lines(&reading.lock().take_bytes()), lines(&before));
    }
}

#[test]
fn the_shape_accounts_for_every_item_and_bucket() {
    let mut model = Model::new(0);
    assert_eq!(model.table.shape(true), Shape::default());
    for number in 0..2000 {
        model.set(number, 0, (number % 4 == 0).then_some(9));
    }
    let shape = model.table.shape(true);
    assert_eq!((shape.items, shape.volatile), (2000, 500));
    assert_eq!(shape.slots, model.table.slots());
    assert_eq!(shape.fills.iter().sum::<usize>() * BUCKET_SLOTS, shape.slots);
    let held: usize = shape.fills.iter().enumerate().map(|(len, count)| len * count).sum();
    assert_eq!(held, 2000);
    let mut both = shape.clone();
    both.add(&shape);
    assert_eq!(
        (both.items, both.segments, both.fills[7]),
        (4000, 2 * shape.segments, 2 * shape.fills[7])
    );
    assert_eq!(model.table.shape(false).fills, [0; 8]);
}
