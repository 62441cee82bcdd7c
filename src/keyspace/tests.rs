//! The keyspace under many threads, and its cursor over all shards.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::base::random::Random;
use crate::value::packed::{Packed, PackedForm, Place};
use crate::value::{Collection, EditContext, Fresh, Kind, NewStr, Str, Value, ValueView};

fn key<'k>(keyspace: &Keyspace, bytes: &'k [u8]) -> Key<'k> {
    Key { bytes, hash: keyspace.hash(bytes) }
}

/// Runs `work` on a view that holds what `set` names, at time `now_ms`.
fn with<R>(
    keyspace: &Keyspace,
    set: LockSet<'_>,
    now_ms: i64,
    work: impl FnOnce(&mut DbView<'_>) -> R,
) -> R {
    let mut changes = Changes::default();
    let access = Access::take(keyspace, set);
    work(&mut DbView::new(keyspace, access, &mut changes, 0, now_ms))
}

fn set(keyspace: &Keyspace, bytes: &[u8], value: i64, deadline: Deadline) {
    let key = key(keyspace, bytes);
    with(keyspace, LockSet::One(key.hash), 0, |view| {
        view.set_string(key, NewStr::Int(value), deadline).changed(Event::SET);
    });
}

/// Moves one from one account to another, as a command over two keys does.
fn transfer(keyspace: &Keyspace, from: &[u8], to: &[u8]) {
    let (from, to) = (key(keyspace, from), key(keyspace, to));
    with(keyspace, LockSet::Hashes(&[from.hash, to.hash]), 0, |view| {
        for (key, amount) in [(from, -1), (to, 1)] {
            let held = view.read::<Str>(key).expect("a string").and_then(|v| v.integer());
            let new = NewStr::Int(held.unwrap_or(0) + amount);
            view.set_string(key, new, Deadline::Keep).changed(Event::INCRBY);
        }
    });
}

#[test]
fn threads_share_the_keyspace() {
    const ACCOUNTS: u64 = 50;
    let keyspace = Keyspace::new(1, 4, KeyHasher::seeded(1));
    // ThreadSanitizer does not see how the standard library joins threads, but it sees this.
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (keyspace, done) = (&keyspace, &done);
            scope.spawn(move || {
                let mut random = Random::seeded(thread);
                for round in 0..2_000u64 {
                    let account = |n: u64| format!("account:{n}").into_bytes();
                    let (from, to) =
                        (account(random.below(ACCOUNTS)), account(random.below(ACCOUNTS)));
                    if from != to {
                        transfer(keyspace, &from, &to);
                    }
                    let own = format!("own:{thread}:{}", round % 300).into_bytes();
                    set(keyspace, &own, round as i64, Deadline::Clear);
                    if round % 3 == 0 {
                        let key = key(keyspace, &own);
                        with(keyspace, LockSet::One(key.hash), 0, |view| {
                            view.remove(key)
                                .expect("only this thread removes it")
                                .changed(Event::DEL);
                        });
                    }
                    keyspace.prefetch_bucket(0, random.next_u64());
                    keyspace.prefetch_entry(0, random.next_u64());
                }
                done.fetch_add(1, Ordering::Release);
            });
        }
    });
    assert_eq!(done.load(Ordering::Acquire), 4);
    let sum: i64 = (0..ACCOUNTS)
        .map(|n| {
            let bytes = format!("account:{n}").into_bytes();
            let key = key(&keyspace, &bytes);
            with(&keyspace, LockSet::One(key.hash), 0, |view| {
                view.read::<Str>(key).expect("a string").and_then(|v| v.integer()).unwrap_or(0)
            })
        })
        .sum();
    assert_eq!(sum, 0);
}

#[test]
fn a_cursor_goes_over_all_shards_and_survives_growth() {
    let keyspace = Keyspace::new(1, 1, KeyHasher::seeded(2));
    (0..3_000).for_each(|n| set(&keyspace, format!("stays:{n}").as_bytes(), n, Deadline::Clear));
    let (mut seen, mut cursor, mut calls) = (HashMap::<Vec<u8>, u32>::new(), 0, 0);
    loop {
        cursor = with(&keyspace, LockSet::Each, 0, |view| {
            view.scan(cursor, 50, |entry| *seen.entry(entry.key().to_vec()).or_default() += 1)
        });
        calls += 1;
        assert!(cursor < 1 << 48, "clients in JavaScript read cursors as doubles");
        if cursor == 0 {
            break;
        }
        if calls <= 20 {
            let new = |n| format!("new:{calls}:{n}").into_bytes();
            (0..600).for_each(|n| set(&keyspace, &new(n), n, Deadline::Clear));
        }
    }
    assert!((0..3_000).all(|n| seen.contains_key(format!("stays:{n}").as_bytes())));
    assert!(calls > 20, "{calls} calls");
}

#[test]
fn a_small_keyspace_is_scanned_in_one_call() {
    let keyspace = Keyspace::new(1, 1, KeyHasher::seeded(3));
    (0..5).for_each(|n| set(&keyspace, format!("{n}").as_bytes(), n, Deadline::Clear));
    let mut seen = HashSet::new();
    let next = with(&keyspace, LockSet::Each, 0, |view| {
        view.scan(0, 10, |entry| {
            seen.insert(entry.key().to_vec());
        })
    });
    assert_eq!((next, seen.len()), (0, 5));
}

#[test]
fn nobody_sees_an_expired_key() {
    let keyspace = Keyspace::new(1, 1, KeyHasher::seeded(4));
    set(&keyspace, b"gone", 1, Deadline::At(10));
    set(&keyspace, b"stays", 1, Deadline::At(11));
    with(&keyspace, LockSet::All, 10, |view| {
        let mut seen = 0;
        view.scan(0, 10, |_| seen += 1);
        assert_eq!(seen, 1);
        assert!(view.lookup(key(&keyspace, b"gone"), Lookup::Read).is_none());
        assert!(view.lookup(key(&keyspace, b"stays"), Lookup::Read).is_some());
        assert_eq!(view.len(), 1);
    });
    let stats = with(&keyspace, LockSet::All, 10, |view| view.stats());
    assert_eq!((stats.hits, stats.misses, stats.expired), (1, 1, 1));
}

#[test]
fn what_has_expired_is_overwritten_where_nothing_expires() {
    let keyspace = Keyspace::new(1, 1, KeyHasher::seeded(4));
    let list = || {
        Entry::new(
            b"k",
            NewValue::Object(Box::new(Value::Str(Arc::new(vec![b'x'; 5000])))),
            Some(10),
            0,
        )
    };
    for (after, deadline) in [(Deadline::Keep, None), (Deadline::At(20), Some(20))] {
        let key = key(&keyspace, b"k");
        keyspace.load_entry(0, key.hash, list(), true);
        with(&keyspace, LockSet::All, 10, |view| {
            view.no_expire();
            assert!(!view.contains(key));
            assert_eq!(view.len(), 1, "it waits to be removed");
            view.set_string(key, NewStr::Int(2), after).changed(Event::SET);
            let value = view.read::<Str>(key).expect("a string").and_then(|v| v.integer());
            assert_eq!((value, view.len()), (Some(2), 1));
            let entry = view.lookup(key, Lookup::Silent).expect("it is there");
            assert_eq!(entry.deadline(), deadline);
        });
    }
}

/// A collection whose editor is its place, for testing what keeps it.
struct Bare;

impl Kind for Bare {
    type View<'a> = Packed<'a>;

    fn of(value: ValueView<'_>) -> Option<Packed<'_>> {
        match value {
            ValueView::Packed(packed) => Some(packed),
            _ => None,
        }
    }
}

impl Collection for Bare {
    const FRESH: Fresh = Fresh::Packed(PackedForm::List);
    type Edit<'a> = &'a mut dyn Place;

    fn edit<'a>(place: &'a mut dyn Place, _: EditContext<'a>) -> &'a mut dyn Place {
        place
    }
}

#[test]
fn collections_vanish_with_their_last_element() {
    let keyspace = Keyspace::new(1, 1, KeyHasher::seeded(9));
    let name = key(&keyspace, b"list");
    let access = Access::take(&keyspace, LockSet::One(name.hash));
    let mut changes = Changes { observed: true, ..Changes::default() };
    let mut view = DbView::new(&keyspace, access, &mut changes, 0, 0);
    drop(view.write_or_create::<Bare>(name).expect("no other type"));
    assert!(!view.contains(name), "what stays empty is not kept");
    let mut list = view.write_or_create::<Bare>(name).expect("no other type");
    list.edit().splice(0..0, b"element", 1);
    list.changed(Event::list("rpush"));
    drop(list);
    assert_eq!(view.read::<Bare>(name).map(|p| p.map(|p| p.count)), Ok(Some(Some(1))));
    assert!(view.read::<Str>(name).is_err());
    let mut list = view.write::<Bare>(name).expect("no other type").expect("it is there");
    list.edit().splice(0..7, b"", 0);
    list.changed_by(3, Event::list("lpop"));
    drop(list);
    assert!(!view.contains(name));
    drop(view);
    let events: Vec<&str> = changes.log.iter().map(|change| change.event.name).collect();
    assert_eq!((events, changes.dirty), (vec!["rpush", "lpop", "del"], 4));
}
