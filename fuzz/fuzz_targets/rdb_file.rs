//! Whole RDB files: whatever the bytes are, loading them through a small window ends in keys or in an
//! error, the checker ends, and memory stays in proportion to the input.
//!
//! The first byte chooses the window and whether expired keys are kept.

#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use libfuzzer_sys::fuzz_target;
use redstart::base::hash::KeyHasher;
use redstart::keyspace::Keyspace;
use redstart::persist::rdb::check::check;
use redstart::persist::rdb::load::{Hooks, Options, load};

const NOW_MS: i64 = 1_700_000_000_000;

/// What a keyspace takes whose every shard has a key, and threads with their queues.
const BASE_LEN: usize = 8 << 20;

/// Most bytes of memory for one of input: a sorted set of one long member, written as one compressed
/// text, takes a segment of a table.
const FACTOR: usize = 512;

/// Counts what is allocated.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fuzz_target!(|input: &[u8]| {
    let Some((choice, file)) = input.split_first() else { return };
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let keyspace = Keyspace::new(2, 1, KeyHasher::seeded(1));
    let mut options = Options::new(NOW_MS, 1);
    options.window_len = 9 << (choice & 7);
    options.drops_expired = choice & 8 == 0;
    options.replaces = choice & 16 != 0;
    options.checksum = false;
    let progress = AtomicU64::new(0);
    let mut function = |_| Ok(());
    let mut hooks = Hooks { progress: &progress, function: &mut function };
    if let Ok(summary) = load(file, &keyspace, &options, &mut hooks) {
        assert!(summary.len as usize + summary.rest.len() <= file.len());
    }
    drop(keyspace);
    let peak = PEAK.load(Relaxed) - before;
    assert!(peak <= BASE_LEN + FACTOR * input.len(), "{peak} bytes for {}", input.len());
    check(file, NOW_MS, &mut Vec::new()).expect("a vector takes everything");
});
