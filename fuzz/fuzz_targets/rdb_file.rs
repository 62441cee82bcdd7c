//! Whole RDB files: whatever the bytes are, loading them through a small window ends in keys or in an
//! error, and the checker ends. With `-malloc_limit_mb` no length that the bytes declare may make the
//! loader ask for much memory at once.
//!
//! The first byte chooses the window and whether expired keys are kept.

#![no_main]

use std::sync::atomic::{AtomicI64, AtomicU64};

use libfuzzer_sys::fuzz_target;
use redstart::base::hash::KeyHasher;
use redstart::keyspace::Keyspace;
use redstart::persist::rdb::check::check;
use redstart::persist::rdb::load::{Hooks, Options, load};

const NOW_MS: i64 = 1_700_000_000_000;

fuzz_target!(|input: &[u8]| {
    let Some((choice, file)) = input.split_first() else { return };
    let keyspace = Keyspace::new(2, 1, KeyHasher::seeded(1));
    let mut options = Options::new(NOW_MS, 1);
    options.window_len = 9 << (choice & 7);
    options.drops_expired = choice & 8 == 0;
    options.replaces = choice & 16 != 0;
    options.checksum = false;
    let progress = AtomicU64::new(0);
    let mut function = |_| Ok(());
    let mut hooks =
        Hooks { progress: &progress, key_delay_us: &AtomicI64::new(0), function: &mut function };
    if let Ok(summary) = load(file, &keyspace, &options, &mut hooks) {
        assert!(summary.len as usize + summary.rest.len() <= file.len());
    }
    check(file, NOW_MS, &mut Vec::new()).expect("a vector takes everything");
});
