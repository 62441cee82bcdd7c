//! A hash table that grows by splitting one small segment at a time.
//!
//! Extendible hashing (Fagin et al., 1979) over the segments of `segment`: the directory maps the
//! top bits of a hash to a segment; a full segment splits in two by one more bit, which moves at most
//! 448 items, so no insertion ever waits for a table-wide rehash. Two thin neighbours merge again.
//!
//! Items stay in hash order (directory, then home bucket), which gives [`Table::scan`] a stateless
//! cursor: a split or merge refines or coarsens ranges but never reorders them, so an item that stays
//! throughout a full scan is visited at least once.
//!
//! Each segment keeps a lower bound of its items' deadlines and of those inside its items, so that
//! expiry visits only segments in which something is due.
//!
//! The table knows no hash function: callers pass hashes, and a [`KeyHasher`] where keys move. The
//! same hash may have been used above the table already (to choose a shard); `base_bits` says how
//! many of its top bits that took.

mod bag;
mod reading;
mod sampling;
mod segment;
mod slot;
mod tally;

pub use bag::Bag;
use reading::Readers;
pub use reading::{Encode, Reading, SharedReading};
use segment::{BUCKETS, Place, SEGMENT_SLOTS, SLOTS as BUCKET_SLOTS, Segment};
pub use slot::{Lent, Thin};
use tally::Tally;

use std::ops::Range;

use crate::base::hash::KeyHasher;
use crate::base::random::Random;

/// Bits of the hash after the directory's that choose the home bucket.
const HOME_BITS: u32 = 20;

/// Bits of scan positions that callers may keep: no table is deeper than this allows.
pub const CURSOR_BITS: u32 = 48;

/// Two neighbours merge when both together hold at most this many items. A segment overflows at
/// about 395, so that many come and go before it splits again.
const MERGE_LEN: usize = SEGMENT_SLOTS / 4 * 3;

/// The most that one of two neighbours may hold that merge: its items share half of the buckets.
const MERGE_HALF_LEN: usize = MERGE_LEN / 16 * 9;

/// So many items fit into a full segment even if all have the same home bucket: that one, the next
/// one and the stash have room for 42.
const CLUMP_LEN_MAX: usize = 32;

/// `min_expire` of a segment in which nothing expires.
const NEVER: i64 = i64::MAX;

/// How a table is built, or several together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Places for items.
    pub slots: usize,
    /// Items.
    pub items: usize,
    /// Those of them that have a deadline.
    pub volatile: usize,
    /// Segments.
    pub segments: usize,
    /// Entries of the directory.
    pub directory: usize,
    /// Buckets by the number of items in them.
    pub fills: [usize; BUCKET_SLOTS + 1],
}

impl Shape {
    /// Adds another table.
    pub fn add(&mut self, other: &Self) {
        self.slots += other.slots;
        self.items += other.items;
        self.volatile += other.volatile;
        self.segments += other.segments;
        self.directory += other.directory;
        self.fills.iter_mut().zip(other.fills).for_each(|(sum, more)| *sum += more);
    }
}

/// Where an item is; valid until the table changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    segment: u32,
    place: Place,
}

/// A directory entry: which segment, and how many hash bits it stands for.
#[derive(Clone, Copy)]
struct Pointer {
    /// Segment index times 64, plus the depth.
    word: u32,
}

impl Pointer {
    fn new(segment: usize, depth: u32) -> Self {
        debug_assert!(depth < 64 && segment < 1 << 26);
        Self { word: (segment as u32) << 6 | depth }
    }

    #[inline]
    fn segment(self) -> usize {
        (self.word >> 6) as usize
    }

    #[inline]
    fn depth(self) -> u32 {
        self.word & 63
    }
}

/// What is known of a segment besides its buckets.
#[derive(Clone, Copy)]
struct Meta {
    /// No item of the segment is due before this, in Unix milliseconds.
    min_expire: i64,
    len: u16,
    /// How many items there were when they and the neighbour's did not fit into one segment, few as
    /// they were; 0 if that has not been seen.
    unmerged_len: u16,
}

impl Meta {
    const EMPTY: Self = Self { min_expire: NEVER, len: 0, unmerged_len: 0 };

    /// Whether a merge that failed would only fail again.
    fn stays_unmerged(self) -> bool {
        self.len > self.unmerged_len / 8 * 7 && self.unmerged_len > 0
    }
}

/// Items that have a deadline: how many, and the sum of the deadlines.
#[derive(Default)]
struct Volatile {
    len: usize,
    sum: i128,
}

impl Volatile {
    #[inline]
    fn add(&mut self, deadline: Option<i64>) {
        if let Some(at_ms) = deadline {
            self.len += 1;
            self.sum += i128::from(at_ms);
        }
    }

    #[inline]
    fn remove(&mut self, deadline: Option<i64>) {
        if let Some(at_ms) = deadline {
            self.len -= 1;
            self.sum -= i128::from(at_ms);
        }
    }
}

/// A hash table of thin items. See the module's documentation.
///
/// What every lookup reads lies in the first 64 bytes.
#[repr(C)]
pub struct Table<T: Thin> {
    directory: Vec<Pointer>,
    segments: Vec<Segment<T>>,
    /// The directory has `1 << depth` entries; 0 entries while there is no segment.
    depth: u32,
    base_bits: u32,
    len: usize,
    metas: Vec<Meta>,
    /// No item of the table is due before this.
    min_expire: i64,
    volatile: Volatile,
    readers: Option<Box<Readers<T>>>,
    /// Where the weights of the items are added up, if anybody wants to know.
    tally: Option<Tally>,
}

impl<T: Thin> Table<T> {
    /// An empty table, which has allocated nothing, for hashes whose top `base_bits` are all alike.
    pub fn new(base_bits: u32) -> Self {
        Self {
            directory: Vec::new(),
            segments: Vec::new(),
            depth: 0,
            base_bits,
            len: 0,
            metas: Vec::new(),
            min_expire: NEVER,
            volatile: Volatile::default(),
            readers: None,
            tally: None,
        }
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many items have a deadline.
    pub fn volatile_len(&self) -> usize {
        self.volatile.len
    }

    /// The sum of all deadlines, in Unix milliseconds.
    pub fn deadline_sum(&self) -> i128 {
        self.volatile.sum
    }

    /// No item is due before this, in Unix milliseconds.
    pub fn min_expire_ms(&self) -> i64 {
        self.min_expire
    }

    /// Bytes of memory behind the table, without those of its items.
    pub fn overhead(&self) -> usize {
        self.segments.iter().map(Segment::memory).sum::<usize>()
            + self.segments.len() * size_of::<Segment<T>>()
            + self.metas.len() * size_of::<Meta>()
            + self.directory.len() * size_of::<Pointer>()
    }

    /// How the table is built; how full its buckets are only if `full`, which looks at all of them.
    pub fn shape(&self, full: bool) -> Shape {
        let mut fills = [0; BUCKET_SLOTS + 1];
        if full {
            self.segments.iter().for_each(|segment| segment.count_fills(&mut fills));
        }
        Shape {
            slots: self.slots(),
            items: self.len,
            volatile: self.volatile.len,
            segments: self.segments.len(),
            directory: self.directory.len(),
            fills,
        }
    }

    /// Visits every item.
    pub fn for_each<'a>(&'a self, mut visit: impl FnMut(T::View<'a>)) {
        self.segments.iter().for_each(|segment| segment.visit_all(&mut visit));
    }

    /// Visits the items of one segment; `false` when there is no segment of that number.
    ///
    /// Splitting and merging renumber segments, so a walk by number may miss or repeat some.
    pub fn visit_segment<'a>(&'a self, segment: usize, mut visit: impl FnMut(T::View<'a>)) -> bool {
        let Some(segment) = self.segments.get(segment) else { return false };
        segment.prefetch_items();
        segment.visit_all(&mut visit);
        true
    }

    /// How many slots there are, filled or not.
    pub fn slots(&self) -> usize {
        self.buckets() * BUCKET_SLOTS
    }

    fn buckets(&self) -> usize {
        match &self.segments[..] {
            [only] => only.buckets(),
            all => all.len() * BUCKETS,
        }
    }

    #[inline]
    fn local(&self, hash: u64) -> u64 {
        hash << self.base_bits
    }

    /// The directory entry of a local hash; `None` while the table is empty.
    #[inline]
    fn pointer(&self, local: u64) -> Option<Pointer> {
        self.directory.get(self.directory_index(local)).copied()
    }

    #[inline]
    fn directory_index(&self, local: u64) -> usize {
        // Two shifts, because a shift by 64 bits is none.
        (local >> 1 >> (63 - self.depth)) as usize
    }

    #[inline]
    fn home(local: u64, depth: u32, homes: usize) -> usize {
        (((local << depth) >> (64 - HOME_BITS)) as usize * homes) >> HOME_BITS
    }

    /// The segment of a local hash and the home bucket in it; `None` while the table is empty.
    #[inline]
    fn whereabouts(&self, local: u64) -> Option<(usize, &Segment<T>, usize)> {
        let pointer = self.pointer(local)?;
        let segment = &self.segments[pointer.segment()];
        Some((pointer.segment(), segment, Self::home(local, pointer.depth(), segment.homes())))
    }

    /// Asks for the line of the bucket that `hash` belongs in.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        if let Some((_, segment, home)) = self.whereabouts(self.local(hash)) {
            segment.prefetch_bucket(home);
        }
    }

    /// Asks for the first two lines of the item of `hash`; reads the bucket.
    #[inline]
    pub fn prefetch_item(&self, hash: u64) {
        if let Some((_, segment, home)) = self.whereabouts(self.local(hash)) {
            segment.prefetch_item(hash, home);
        }
    }

    /// Where the item of `key` is.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Position> {
        self.find_item(hash, key).map(|(position, _)| position)
    }

    /// The item of `key` and where it is.
    #[inline(always)]
    pub fn find_item(&self, hash: u64, key: &[u8]) -> Option<(Position, T::View<'_>)> {
        let (number, segment, home) = self.whereabouts(self.local(hash))?;
        let (place, view) = segment.find(hash, home, key)?;
        Some((Position { segment: number as u32, place }, view))
    }

    /// The item at `position`, which must come from this table as it is.
    #[inline]
    pub fn view(&self, position: Position) -> T::View<'_> {
        let slot = self.segments[position.segment as usize].slot(position.place);
        slot.view().expect("a position names an item")
    }

    /// Changes the item at `position` in place; its key must stay.
    #[inline]
    pub fn update<R>(&mut self, position: Position, change: impl FnOnce(&mut T) -> R) -> R {
        self.before_change_at(position);
        let segment = position.segment as usize;
        let weight = self.weight_at(position);
        let before = T::expire_at_ms(self.view(position));
        let slot = self.segments[segment].slot_mut(position.place);
        let result = change(&mut slot.lend().expect("a position names an item"));
        self.note_weight(position, weight);
        let view = self.view(position);
        let (after, due) = (T::expire_at_ms(view), T::due_at_ms(view));
        if before != after {
            self.volatile.remove(before);
            self.volatile.add(after);
            self.note_due(segment, due);
        } else if due != after {
            self.note_due(segment, due);
        }
        result
    }

    /// Changes the item at `position` in what neither its key, its deadlines nor its weight depend on,
    /// and what readers need not see as it was, or were told of by [`Self::before_change_at`].
    #[inline]
    pub fn touch<R>(&mut self, position: Position, change: impl FnOnce(&mut T) -> R) -> R {
        let slot = self.segments[position.segment as usize].slot_mut(position.place);
        change(&mut slot.lend().expect("a position names an item"))
    }

    fn note_due(&mut self, segment: usize, due: Option<i64>) {
        if let Some(at_ms) = due {
            self.metas[segment].min_expire = self.metas[segment].min_expire.min(at_ms);
            self.min_expire = self.min_expire.min(at_ms);
        }
    }

    /// Notes that a part of the item at `position` may have got another deadline.
    pub fn note_due_at(&mut self, position: Position) {
        let due = T::due_at_ms(self.view(position));
        self.note_due(position.segment as usize, due);
    }

    /// Puts `item` in the place of the one at `position`, which has the same key and is returned.
    pub fn replace(&mut self, position: Position, item: T) -> T {
        self.update(position, |old| std::mem::replace(old, item))
    }

    /// Adds an item whose key is not in the table.
    pub fn insert(&mut self, hash: u64, item: T, hasher: &KeyHasher) -> Position {
        self.before_change(|_| hash);
        self.place(hash, item, hasher)
    }

    fn place(&mut self, hash: u64, mut item: T, hasher: &KeyHasher) -> Position {
        if self.segments.is_empty() {
            self.begin();
        }
        let local = self.local(hash);
        loop {
            let index = self.directory_index(local);
            let pointer = self.directory[index];
            let segment = pointer.segment();
            let home = Self::home(local, pointer.depth(), self.segments[segment].homes());
            let placed = self.segments[segment].insert(hash, home, item);
            match placed.or_else(|item| self.insert_settled(pointer, hash, item, hasher)) {
                Ok(place) => {
                    let position = Position { segment: segment as u32, place };
                    self.len += 1;
                    self.metas[segment].len += 1;
                    self.note_weight(position, self.tally.as_ref().map(|_| 0));
                    let view = self.view(position);
                    let (deadline, due) = (T::expire_at_ms(view), T::due_at_ms(view));
                    self.volatile.add(deadline);
                    self.note_due(segment, due);
                    return position;
                }
                Err(back) => item = back,
            }
            match self.segments[segment].larger() {
                Some(larger) => self.grow(segment, larger, hasher),
                None => self.split(index, hasher),
            }
        }
    }

    /// Inserts into a segment that had no room, once what went elsewhere is where it belongs again.
    ///
    /// Without this the stash fills with items whose homes have had room for long, so that a table
    /// whose items come and go would split until it is a third full.
    #[cold]
    fn insert_settled(
        &mut self,
        pointer: Pointer,
        hash: u64,
        item: T,
        hasher: &KeyHasher,
    ) -> Result<Place, T> {
        let (base_bits, depth) = (self.base_bits, pointer.depth());
        let segment = &mut self.segments[pointer.segment()];
        let homes = segment.homes();
        let home_of = |hash: u64| Self::home(hash << base_bits, depth, homes);
        segment.settle(|key| home_of(hasher.hash(key)));
        segment.insert(hash, home_of(hash), item)
    }

    /// Makes the first segment, which grows twice before it splits.
    #[cold]
    fn begin(&mut self) {
        self.segments = Vec::from([Segment::first()]);
        self.metas = Vec::from([Meta::EMPTY]);
        self.directory = Vec::from([Pointer::new(0, 0)]);
    }

    /// Puts a larger one in the place of the only segment.
    #[cold]
    fn grow(&mut self, segment: usize, larger: Segment<T>, hasher: &KeyHasher) {
        let items = self.drain(segment);
        self.segments[segment] = larger;
        self.refill(items, hasher);
    }

    /// Splits the segment of directory entry `index` by one more bit of the hash.
    #[cold]
    fn split(&mut self, index: usize, hasher: &KeyHasher) {
        let pointer = self.directory[index];
        let depth = pointer.depth() + 1;
        assert!(self.base_bits + depth + HOME_BITS <= CURSOR_BITS, "no table has 2^28 segments");
        let mut index = index;
        if depth > self.depth {
            self.directory = self.directory.iter().flat_map(|p| [*p, *p]).collect();
            self.depth += 1;
            index *= 2;
        }
        let (lower, upper) = (pointer.segment(), self.segments.len());
        self.segments.push(Segment::full());
        self.metas.push(Meta::EMPTY);
        let was_thin = usize::from(self.metas[lower].len) <= MERGE_LEN;
        let span = 1 << (self.depth - depth);
        let first = index & !(2 * span - 1);
        self.directory[first..first + span].fill(Pointer::new(lower, depth));
        self.directory[first + span..first + 2 * span].fill(Pointer::new(upper, depth));
        self.redistribute(lower, hasher);
        if was_thin {
            // Its items had few home buckets, as they would again.
            for half in [lower, upper] {
                self.metas[half].unmerged_len = self.metas[half].len;
            }
        }
    }

    /// Takes all items out of `segment` and inserts them anew.
    fn redistribute(&mut self, segment: usize, hasher: &KeyHasher) {
        let items = self.drain(segment);
        self.refill(items, hasher);
    }

    /// Takes all items out of `segment`; they count until [`Self::refill`].
    fn drain(&mut self, segment: usize) -> Vec<T> {
        let mut items = Vec::with_capacity(usize::from(self.metas[segment].len));
        self.segments[segment].prefetch_items();
        self.segments[segment].drain_into(&mut items);
        self.metas[segment] = Meta::EMPTY;
        items
    }

    /// Inserts what was drained.
    fn refill(&mut self, items: Vec<T>, hasher: &KeyHasher) {
        self.len -= items.len();
        for item in items {
            let view = item.as_view();
            let hash = hasher.hash(T::key(view));
            self.volatile.remove(T::expire_at_ms(view));
            if let Some(tally) = &mut self.tally {
                tally.add(-(T::weight(view) as i64));
            }
            self.place(hash, item, hasher);
        }
    }

    /// Takes the item at `position` out.
    pub fn remove(&mut self, hash: u64, position: Position, hasher: &KeyHasher) -> T {
        let item = self.take(position);
        if usize::from(self.metas[position.segment as usize].len) <= MERGE_HALF_LEN {
            self.merge_around(self.local(hash), hasher);
        }
        item
    }

    fn take(&mut self, position: Position) -> T {
        self.before_change_at(position);
        let segment = position.segment as usize;
        let deadline = T::expire_at_ms(self.view(position));
        self.volatile.remove(deadline);
        self.len -= 1;
        self.metas[segment].len -= 1;
        if let Some(weight) = self.weight_at(position) {
            self.tally.iter_mut().for_each(|tally| tally.add(-(weight as i64)));
        }
        self.segments[segment].take(position.place).expect("a position names an item")
    }

    /// Merges the segment of the local hash `at` with its neighbour for as long as both are thin.
    fn merge_around(&mut self, at: u64, hasher: &KeyHasher) {
        if self.len == 0 {
            let tally = self.tally.take();
            *self = Self::new(self.base_bits);
            self.tally = tally;
        }
        loop {
            let before = self.segments.len();
            if !self.try_merge(self.directory_index(at), hasher) {
                return;
            }
            // A merge that had to split again would be repeated for ever, and at each removal.
            if self.segments.len() >= before {
                if let Some((lower, upper, _)) = self.neighbours(self.directory_index(at)) {
                    for meta in [lower, upper].map(Pointer::segment) {
                        self.metas[meta].unmerged_len = self.metas[meta].len;
                    }
                }
                return;
            }
        }
    }

    /// The two halves of what would be one segment if that of directory entry `index` merged with its
    /// neighbour, and where they are in the directory; `None` if they are not alike.
    fn neighbours(&self, index: usize) -> Option<(Pointer, Pointer, Range<usize>)> {
        let pointer = self.directory.get(index).filter(|pointer| pointer.depth() > 0)?;
        let span = 1 << (self.depth - pointer.depth());
        let first = index & !(2 * span - 1);
        let (lower, upper) = (self.directory[first], self.directory[first + span]);
        (lower.depth() == upper.depth()).then_some((lower, upper, first..first + 2 * span))
    }

    /// Merges the segment of directory entry `index` with its neighbour if both are thin.
    fn try_merge(&mut self, index: usize, hasher: &KeyHasher) -> bool {
        let Some((lower, upper, range)) = self.neighbours(index) else { return false };
        if [lower, upper].iter().all(|half| self.metas[half.segment()].stays_unmerged()) {
            return false;
        }
        let len = |p: Pointer| usize::from(self.metas[p.segment()].len);
        let (less, more) = (len(lower).min(len(upper)), len(lower).max(len(upper)));
        // Where one half is nearly empty the items are in few of the merged segment's home buckets,
        // and few must they be to find room there.
        let even = more <= 4 * less && more <= MERGE_HALF_LEN;
        let fits = less + more <= CLUMP_LEN_MAX || less + more <= MERGE_LEN && even;
        if !fits {
            return false;
        }
        let merged = Pointer::new(lower.segment(), lower.depth() - 1);
        self.directory[range].fill(merged);
        self.redistribute(lower.segment(), hasher);
        self.redistribute(upper.segment(), hasher);
        self.drop_segment(upper.segment(), hasher);
        self.shrink_directory();
        true
    }

    /// Drops an empty segment that no directory entry names; the last one takes its number.
    fn drop_segment(&mut self, segment: usize, hasher: &KeyHasher) {
        debug_assert_eq!(self.metas[segment].len, 0);
        self.segments.swap_remove(segment);
        self.metas.swap_remove(segment);
        let moved = self.segments.len();
        if segment == moved {
            return;
        }
        // Any of its items tells where the segment is in the directory.
        let slots = self.segments[segment].places().map(|place| self.segments[segment].slot(place));
        let key = slots.filter_map(|slot| slot.view()).next().map(T::key);
        let range = match key.map(|key| self.directory_index(self.local(hasher.hash(key)))) {
            Some(index) => {
                let span = 1 << (self.depth - self.directory[index].depth());
                let first = index & !(span - 1);
                first..first + span
            }
            None => 0..self.directory.len(),
        };
        for pointer in &mut self.directory[range] {
            if pointer.segment() == moved {
                *pointer = Pointer::new(segment, pointer.depth());
            }
        }
    }

    fn shrink_directory(&mut self) {
        while self.depth > 0 && self.directory.iter().all(|p| p.depth() < self.depth) {
            self.directory = self.directory.iter().step_by(2).copied().collect();
            self.depth -= 1;
        }
        self.segments.shrink_to(2 * self.segments.len());
        self.metas.shrink_to(2 * self.metas.len());
    }

    /// Visits the items of the bucket at scan position `from` and says where the next bucket begins.
    ///
    /// Positions are local hashes with only the top `CURSOR_BITS - base_bits` bits set; a full scan
    /// starts at 0 and ends with `None`. Buckets without items are skipped at once, as long as
    /// `skips`, which is reduced, lasts.
    pub fn scan<'a>(
        &'a self,
        from: u64,
        skips: &mut usize,
        hasher: &KeyHasher,
        mut visit: impl FnMut(T::View<'a>),
    ) -> Option<u64> {
        let mut at = from;
        loop {
            let pointer = self.pointer(at)?;
            let depth = pointer.depth();
            let segment = &self.segments[pointer.segment()];
            let homes = segment.homes();
            let start = at >> 1 >> (63 - depth) << 1 << (63 - depth);
            let mut visited = 0;
            if self.metas[pointer.segment()].len > 0 {
                let home = Self::home(at, depth, homes);
                let home_of = |key: &[u8]| Self::home(self.local(hasher.hash(key)), depth, homes);
                segment.visit_home(home, home_of, &mut |view| {
                    visited += 1;
                    visit(view);
                });
                at = Self::bucket_start(start, (home + 1, homes), depth)?;
            } else {
                at = Self::bucket_start(start, (homes, homes), depth)?;
            }
            if visited > 0 || *skips == 0 {
                return Some(at);
            }
            *skips -= 1;
        }
    }

    /// Where home bucket `home` of the segment of so many that starts at `start` begins; `None` past
    /// the end.
    fn bucket_start(start: u64, (home, homes): (usize, usize), depth: u32) -> Option<u64> {
        if home < homes {
            let offset = (home << HOME_BITS).div_ceil(homes) as u64;
            return Some(start + (offset << (64 - HOME_BITS) >> depth));
        }
        if depth == 0 {
            return None;
        }
        start.checked_add(1 << (64 - depth))
    }

    /// An item chosen with equal chance among all, or `None` when there is none.
    #[inline]
    pub fn random(&self, random: &mut Random) -> Option<T::View<'_>> {
        Some(self.view(self.random_position(random)?))
    }

    /// Takes an item out that is chosen with equal chance among all.
    pub fn take_random(&mut self, random: &mut Random, hasher: &KeyHasher) -> Option<T> {
        let position = self.random_position(random)?;
        let item = self.take(position);
        if usize::from(self.metas[position.segment as usize].len) <= MERGE_HALF_LEN {
            let hash = hasher.hash(T::key(item.as_view()));
            self.merge_around(self.local(hash), hasher);
        }
        Some(item)
    }

    fn random_position(&self, random: &mut Random) -> Option<Position> {
        if self.len == 0 {
            return None;
        }
        loop {
            // A lone segment may be nearly empty. Otherwise every slot has the same chance, so every
            // item has, however full its segment is; most draws hit, and each reads one line.
            let (segment, place) = if let [only] = &self.segments[..] {
                (0, only.nth_place(random.below(self.len as u64) as usize))
            } else {
                let draw = random.below(self.slots() as u64) as usize;
                let segment = draw / SEGMENT_SLOTS;
                (segment, self.segments[segment].place_at(draw % SEGMENT_SLOTS))
            };
            if let Some(place) = place {
                return Some(Position { segment: segment as u32, place });
            }
        }
    }

    /// All items, in no order.
    pub fn iter(&self) -> impl Iterator<Item = T::View<'_>> {
        self.segments.iter().flat_map(|segment| {
            segment.prefetch_items();
            segment.places().filter_map(|place| segment.slot(place).view())
        })
    }

    /// Takes the items that expired at or before `now_ms` out of one segment and hands them to
    /// `expired`; `false` when there is no segment with an item that was due before `due_ms`.
    ///
    /// An item of which only a part is due is handed to `tend`, which says whether the item has to
    /// go too; what `tend` leaves due is due again at once.
    ///
    /// Visiting a segment costs about 15 us however few of its items have expired; a `due_ms` that
    /// lies behind `now_ms` lets several come due before the visit.
    pub fn expire_segment(
        &mut self,
        due_ms: i64,
        now_ms: i64,
        hasher: &KeyHasher,
        mut tend: impl FnMut(&mut T) -> bool,
        mut expired: impl FnMut(T),
    ) -> bool {
        if self.min_expire > due_ms {
            return false;
        }
        let Some(due) = self.metas.iter().position(|m| m.min_expire <= due_ms) else {
            self.min_expire = self.metas.iter().map(|m| m.min_expire).min().unwrap_or(NEVER);
            return false;
        };
        self.segments[due].prefetch_items();
        let places: Vec<Place> = self.segments[due].places().collect();
        let (mut min_expire, mut hash) = (NEVER, None);
        for place in places {
            let position = Position { segment: due as u32, place };
            let view = self.view(position);
            let (expire, Some(at_ms)) = (T::expire_at_ms(view), T::due_at_ms(view)) else {
                continue;
            };
            if at_ms <= now_ms {
                self.before_change_at(position);
            }
            let is_past = |at_ms: i64| at_ms <= now_ms;
            let goes = expire.is_some_and(is_past)
                || is_past(at_ms) && {
                    let weight = self.weight_at(position);
                    let slot = self.segments[due].slot_mut(place);
                    let goes = tend(&mut slot.lend().expect("a place names an item"));
                    self.note_weight(position, weight);
                    goes
                };
            if !goes {
                let due_again = T::due_at_ms(self.view(position));
                min_expire = min_expire.min(due_again.unwrap_or(NEVER));
                continue;
            }
            hash.get_or_insert_with(|| hasher.hash(T::key(self.view(position))));
            expired(self.take(position));
        }
        self.metas[due].min_expire = min_expire;
        if let Some(hash) = hash
            && usize::from(self.metas[due].len) <= MERGE_HALF_LEN
        {
            self.merge_around(self.local(hash), hasher);
        }
        true
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
