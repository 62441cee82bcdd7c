//! The table of entries against a `HashMap`: growth, shrinking, overwriting, expiry, scans.

#![no_main]

use std::collections::{HashMap, HashSet};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use redstart::base::hash::KeyHasher;
use redstart::base::random::Random;
use redstart::encoding::table::Table;
use redstart::keyspace::{Entry, NewValue};
use redstart::value::{NewStr, Str};

#[derive(Arbitrary, Debug)]
enum Op {
    Set { key: u16, len: u16, deadline: Option<u8> },
    /// Many keys at once, so that segments split and merge.
    SetMany { first: u16, count: u8, deadline: Option<u8> },
    Remove { key: u16 },
    RemoveMany { first: u16, count: u8 },
    SetInteger { key: u16, value: i64 },
    SetDeadline { key: u16, deadline: Option<u8> },
    Expire { now: u8 },
    Scan { skips: u8 },
    Random { seed: u64 },
}

type Expected = HashMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

struct Model {
    table: Table<Entry>,
    hasher: KeyHasher,
    expected: Expected,
}

/// Short keys and keys whose length does not fit into a byte.
fn name(key: u16) -> Vec<u8> {
    let mut name = format!("key:{key}").into_bytes();
    if key % 7 == 0 {
        name.resize(200 + usize::from(key % 200), b'k');
    }
    name
}

impl Model {
    fn put(&mut self, key: u16, value: Vec<u8>, deadline: Option<i64>) {
        let key = name(key);
        let hash = self.hasher.hash(&key);
        let new = || NewValue::Str(NewStr::from_bytes(&value));
        match self.table.find(hash, &key) {
            Some(position) => self.table.update(position, |entry| {
                entry.set_value(new());
                entry.set_deadline(deadline);
            }),
            None => {
                self.table.insert(hash, Entry::new(&key, new(), deadline, 7), &self.hasher);
            }
        }
        self.expected.insert(key, (value, deadline));
    }

    fn remove(&mut self, key: u16) {
        let key = name(key);
        let hash = self.hasher.hash(&key);
        let found = self.table.find(hash, &key);
        assert_eq!(found.is_some(), self.expected.remove(&key).is_some());
        if let Some(position) = found {
            let entry = self.table.remove(hash, position, &self.hasher);
            assert_eq!(entry.view().key(), key);
        }
    }

    fn set_deadline(&mut self, key: u16, deadline: Option<i64>) {
        let key = name(key);
        if let Some(position) = self.table.find(self.hasher.hash(&key), &key) {
            self.table.update(position, |entry| entry.set_deadline(deadline));
            self.expected.get_mut(&key).expect("it is in the table").1 = deadline;
        }
    }

    fn expire(&mut self, now_ms: i64) {
        let mut gone = Vec::new();
        for _ in 0..=self.table.slots() {
            let hasher = &self.hasher;
            let expired = |entry| gone.push(entry);
            if !self.table.expire_segment(now_ms, now_ms, hasher, |_| false, expired) {
                break;
            }
        }
        for entry in gone {
            let (_, deadline) = self.expected.remove(entry.view().key()).expect("it was there");
            assert!(deadline.is_some_and(|at_ms| at_ms <= now_ms));
        }
        let due = |deadline: &Option<i64>| deadline.is_some_and(|at_ms| at_ms <= now_ms);
        assert!(!self.expected.values().any(|(_, deadline)| due(deadline)), "one is left");
    }

    fn scan(&self, skips: u8) {
        let mut seen = HashSet::new();
        let mut at = Some(0);
        while let Some(from) = at {
            let mut skips = usize::from(skips);
            at = self.table.scan(from, &mut skips, &self.hasher, |entry| {
                assert!(seen.insert(entry.key().to_vec()), "seen twice without a change");
            });
        }
        assert_eq!(seen.len(), self.expected.len());
    }

    fn apply(&mut self, op: Op) {
        let at_ms = |deadline: Option<u8>| deadline.map(i64::from);
        match op {
            Op::Set { key, len, deadline } => {
                self.put(key, vec![b'v'; usize::from(len % 3_000)], at_ms(deadline));
            }
            Op::SetMany { first, count, deadline } => {
                for key in (0..u16::from(count) * 8).map(|step| first.wrapping_add(step)) {
                    self.put(key, key.to_string().into_bytes(), at_ms(deadline));
                }
            }
            Op::Remove { key } => self.remove(key),
            Op::RemoveMany { first, count } => {
                (0..u16::from(count) * 8).for_each(|step| self.remove(first.wrapping_add(step)));
            }
            Op::SetInteger { key, value } => self.put(key, value.to_string().into_bytes(), None),
            Op::SetDeadline { key, deadline } => self.set_deadline(key, at_ms(deadline)),
            Op::Expire { now } => self.expire(i64::from(now)),
            Op::Scan { skips } => self.scan(skips),
            Op::Random { seed } => {
                let found = self.table.random(&mut Random::seeded(seed));
                assert_eq!(found.is_some(), !self.expected.is_empty());
                assert!(found.is_none_or(|entry| self.expected.contains_key(entry.key())));
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.table.len(), self.expected.len());
        let volatile = self.expected.values().filter(|(_, deadline)| deadline.is_some()).count();
        assert_eq!(self.table.volatile_len(), volatile);
        for (key, (value, deadline)) in &self.expected {
            let found = self.table.find(self.hasher.hash(key), key).expect("it was put there");
            let entry = self.table.view(found);
            let string = entry.value().of::<Str>().expect("only strings were stored");
            assert_eq!((entry.key(), &string.to_vec(), entry.deadline()), (&key[..], value, *deadline));
            assert_eq!(entry.access(), 7);
        }
    }
}

fuzz_target!(|ops: Vec<Op>| {
    let hasher = KeyHasher::seeded(1);
    let mut model = Model { table: Table::new(0), hasher, expected: Expected::new() };
    for op in ops {
        model.apply(op);
    }
    model.check();
    model.scan(255);
});
