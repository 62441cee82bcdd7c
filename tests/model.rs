//! The shard locking protocol under shuttle, which runs many interleavings of its threads.
//!
//! Run by `cargo test --features shuttle --test model`; without the feature there is nothing here,
//! because the locks are real ones.

#![cfg(feature = "shuttle")]

use std::sync::Arc;

use redstart::base::hash::KeyHasher;
use redstart::keyspace::{Access, Changes, DbView, Deadline, Event, Key, Keyspace, LockSet};
use redstart::value::{NewStr, Str};
use shuttle::{check_random, thread};

/// Interleavings tried per test.
const RUNS: usize = 300;

/// Keys that lie in different shards, in an order that is not that of the shards.
const KEYS: [&[u8]; 3] = [b"one", b"two", b"three"];

fn key<'k>(keyspace: &Keyspace, bytes: &'k [u8]) -> Key<'k> {
    Key { bytes, hash: keyspace.hash(bytes) }
}

/// Adds `amounts` to the keys in one locked step, as a command over several keys does.
fn transfer(keyspace: &Keyspace, keys: &[&[u8]], amounts: &[i64]) {
    let hashes: Vec<u64> = keys.iter().map(|bytes| keyspace.hash(bytes)).collect();
    let mut changes = Changes::default();
    let access = Access::take(keyspace, LockSet::Hashes(&hashes));
    let mut view = DbView::new(keyspace, access, &mut changes, 0, 0);
    for (bytes, amount) in keys.iter().zip(amounts) {
        let key = key(keyspace, bytes);
        let value = view.read::<Str>(key).expect("a string").and_then(|v| v.integer()).unwrap_or(0);
        // Whoever does not hold the lock could get in between the read and the write.
        thread::yield_now();
        let new = NewStr::Int(value + amount);
        view.set_string(key, new, Deadline::Keep).changed(Event::INCRBY);
    }
}

/// The sum over all keys at one instant.
fn sum(keyspace: &Keyspace) -> i64 {
    let mut changes = Changes::default();
    let access = Access::take(keyspace, LockSet::All);
    let mut view = DbView::new(keyspace, access, &mut changes, 0, 0);
    let mut value = |bytes| {
        let found = view.read::<Str>(key(keyspace, bytes)).expect("a string");
        found.and_then(|value| value.integer()).unwrap_or(0)
    };
    KEYS.iter().map(|bytes| value(bytes)).sum()
}

fn keyspace() -> Arc<Keyspace> {
    Arc::new(Keyspace::new(1, 1, KeyHasher::seeded(1)))
}

#[test]
fn commands_over_several_keys_are_atomic_and_never_deadlock() {
    check_random(
        || {
            let keyspace = keyspace();
            let transfers: [&[usize]; 3] = [&[0, 1], &[1, 2], &[2, 0, 1]];
            let threads: Vec<_> = transfers
                .map(|order| {
                    let keyspace = Arc::clone(&keyspace);
                    thread::spawn(move || {
                        let keys: Vec<&[u8]> = order.iter().map(|at| KEYS[*at]).collect();
                        let mut amounts = vec![1; keys.len()];
                        amounts[0] = 1 - keys.len() as i64;
                        transfer(&keyspace, &keys, &amounts);
                        assert_eq!(sum(&keyspace), 0);
                    })
                })
                .into();
            threads.into_iter().for_each(|t| t.join().expect("the assertion held"));
            assert_eq!(sum(&keyspace), 0);
        },
        RUNS,
    );
}

#[test]
fn increments_of_one_key_are_not_lost() {
    check_random(
        || {
            let keyspace = keyspace();
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let keyspace = Arc::clone(&keyspace);
                    thread::spawn(move || transfer(&keyspace, &[KEYS[0]], &[1]))
                })
                .collect();
            threads.into_iter().for_each(|t| t.join().expect("no panic"));
            assert_eq!(sum(&keyspace), 3);
        },
        RUNS,
    );
}

/// Works through keys like a script that names none of them: one lock more at a time, in any order.
fn overtake(keyspace: &Keyspace, order: &[usize]) {
    let mut changes = Changes::default();
    let access = Access::take(keyspace, LockSet::None);
    let mut view = DbView::new(keyspace, access, &mut changes, 0, 0);
    for (step, at) in order.iter().enumerate() {
        let key = key(keyspace, KEYS[*at]);
        view.acquire(key.hash);
        let value = view.read::<Str>(key).expect("a string").and_then(|v| v.integer()).unwrap_or(0);
        thread::yield_now();
        // The first key pays for the others.
        let amount = if step == 0 { 1 - order.len() as i64 } else { 1 };
        view.set_string(key, NewStr::Int(value + amount), Deadline::Keep).changed(Event::INCRBY);
    }
}

#[test]
fn scripts_that_lock_as_they_go_are_atomic_and_never_deadlock() {
    check_random(
        || {
            let keyspace = keyspace();
            // The lock of the script engine: one script at a time.
            let engine = Arc::new(shuttle::sync::Mutex::new(()));
            let mut threads = Vec::new();
            for order in [[2, 0, 1], [1, 2, 0]] {
                let (keyspace, engine) = (Arc::clone(&keyspace), Arc::clone(&engine));
                threads.push(thread::spawn(move || {
                    let _turn = engine.lock().expect("no thread panics");
                    overtake(&keyspace, &order);
                }));
            }
            for order in [[0, 1, 2], [2, 1, 0]] {
                let keyspace = Arc::clone(&keyspace);
                threads.push(thread::spawn(move || {
                    let keys: Vec<&[u8]> = order.iter().map(|at| KEYS[*at]).collect();
                    transfer(&keyspace, &keys, &[1, 1, -2]);
                    assert_eq!(sum(&keyspace), 0);
                }));
            }
            threads.into_iter().for_each(|t| t.join().expect("the assertion held"));
            assert_eq!(sum(&keyspace), 0);
        },
        RUNS,
    );
}
