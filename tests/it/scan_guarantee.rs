//! What SCAN and its siblings promise: elements that are there throughout a full iteration are
//! returned at least once, whatever else comes and goes between the calls.
//!
//! [`Collection`] says how elements are scanned, added and removed; [`keeps_its_promise`] runs full
//! iterations while the collection grows, shrinks, and does both.

use std::collections::HashSet;

use crate::harness::{Conn, Reply, Server};

/// Elements that are there throughout.
const STAYING: usize = 700;
/// Elements that come and go.
const PASSING: usize = 12_000;
/// COUNT of every call.
const COUNT: usize = 20;
/// More calls than this are an iteration without end.
const CALLS_MAX: usize = 20_000;
/// Elements of one command.
const BATCH: usize = 500;

/// A kind of collection.
pub(crate) struct Collection {
    /// The command up to the cursor: `["SSCAN", "k"]`.
    pub(crate) scan: &'static [&'static str],
    /// Replies an element takes: 1 for a member, 2 for a field with its value.
    pub(crate) width: usize,
    /// The command that adds elements, which follow it.
    pub(crate) add: &'static [&'static str],
    /// What of an element the adding command takes.
    pub(crate) element: fn(String) -> Vec<String>,
    /// The command that removes elements, which follow it.
    pub(crate) remove: &'static [&'static str],
}

impl Collection {
    fn change(&self, conn: &mut Conn, command: &[&str], names: &[String], with_values: bool) {
        for batch in names.chunks(BATCH) {
            let mut argv: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
            for name in batch {
                if with_values {
                    argv.extend((self.element)(name.clone()));
                } else {
                    argv.push(name.clone());
                }
            }
            let reply = conn.call(&argv);
            assert!(!matches!(reply, Reply::Error(_)), "{command:?}: {reply:?}");
        }
    }

    fn add(&self, conn: &mut Conn, names: &[String]) {
        self.change(conn, self.add, names, true);
    }

    fn remove(&self, conn: &mut Conn, names: &[String]) {
        self.change(conn, self.remove, names, false);
    }

    /// One call; the next cursor and the elements.
    fn step(&self, conn: &mut Conn, cursor: &str, options: &[&str]) -> (String, Vec<String>) {
        let argv: Vec<&str> = self.scan.iter().chain([&cursor]).chain(options).copied().collect();
        let reply = conn.call(&argv);
        let Reply::Array(parts) = &reply else { panic!("{argv:?}: {reply:?}") };
        let [Reply::Bulk(next), Reply::Array(items)] = &parts[..] else { panic!("{reply:?}") };
        let text = |item: &Reply| match item {
            Reply::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
            other => panic!("{other:?} is no element"),
        };
        let elements = items.iter().step_by(self.width).map(text).collect();
        (String::from_utf8_lossy(next).into_owned(), elements)
    }

    /// A full iteration with `between` after every call; all elements that were returned.
    fn iterate(
        &self,
        conn: &mut Conn,
        options: &[&str],
        mut between: impl FnMut(&Self, &mut Conn, usize),
    ) -> HashSet<String> {
        let (mut cursor, mut seen) = ("0".to_owned(), HashSet::new());
        for call in 0..CALLS_MAX {
            let (next, elements) = self.step(conn, &cursor, options);
            seen.extend(elements);
            if next == "0" {
                return seen;
            }
            cursor = next;
            between(self, conn, call);
        }
        panic!("no end after {CALLS_MAX} calls of {:?}", self.scan);
    }
}

fn names(kind: &str, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("{kind}:{number}")).collect()
}

/// Runs iterations over a collection of a server of its own; panics when an element is missed.
pub(crate) fn keeps_its_promise(collection: &Collection) {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    let staying = names("stay", 0..STAYING);
    let passing = names("pass", 0..PASSING);
    let count = COUNT.to_string();
    let options = ["COUNT", count.as_str()];
    collection.add(&mut conn, &staying);

    let quiet = collection.iterate(&mut conn, &options, |_, _, _| {});
    assert_eq!(quiet, staying.iter().cloned().collect(), "a quiet iteration returns everything");

    let slice = |call: usize| &passing[call * 300 % PASSING..][..300];
    let growing = collection.iterate(&mut conn, &options, |collection, conn, call| {
        collection.add(conn, slice(call));
    });
    assert_all(&staying, &growing, "while it grows");

    collection.add(&mut conn, &passing);
    let shrinking = collection.iterate(&mut conn, &options, |collection, conn, call| {
        collection.remove(conn, slice(call));
    });
    assert_all(&staying, &shrinking, "while it shrinks");

    let mut shaken = |options: &[&str]| {
        collection.iterate(&mut conn, options, |collection, conn, call| match call % 6 {
            0 => collection.add(conn, &passing[..PASSING / 2]),
            3 => collection.remove(conn, &passing),
            _ => {}
        })
    };
    assert_all(&staying, &shaken(&options), "while it grows and shrinks");
    let matched = shaken(&["COUNT", &count, "MATCH", "stay:*"]);
    assert_eq!(matched, staying.iter().cloned().collect(), "MATCH returns what matches");
}

fn assert_all(staying: &[String], seen: &HashSet<String>, when: &str) {
    let missed: Vec<&String> = staying.iter().filter(|name| !seen.contains(*name)).collect();
    assert!(missed.is_empty(), "{when}, {} are missed: {:?}", missed.len(), missed.first());
}

#[test]
fn of_scan() {
    keeps_its_promise(&Collection {
        scan: &["SCAN"],
        width: 1,
        add: &["MSET"],
        element: |name| vec![name, "v".to_owned()],
        remove: &["DEL"],
    });
}

#[test]
fn of_sscan() {
    keeps_its_promise(&Collection {
        scan: &["SSCAN", "k"],
        width: 1,
        add: &["SADD", "k"],
        element: |name| vec![name],
        remove: &["SREM", "k"],
    });
}

#[test]
fn of_zscan() {
    keeps_its_promise(&Collection {
        scan: &["ZSCAN", "z"],
        width: 2,
        add: &["ZADD", "z"],
        element: |name| vec!["1.5".to_owned(), name],
        remove: &["ZREM", "z"],
    });
}
