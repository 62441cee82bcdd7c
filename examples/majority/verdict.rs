//! What producers, consumers and holders of locks have seen, and whether that may happen.
//!
//! Times are those of the system's monotonic clock, the same in all processes. Consumers write the
//! time of each event while their lock is valid, so two intervals that overlap are two owners.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// What a worker tells of an item.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    /// Its push has succeeded.
    Sent,
    /// It was handed out, and the lock was valid at this time.
    Begin,
    /// The work was done, and the lock was still valid at this time.
    End,
    /// Its end was acknowledged.
    Done,
    /// The lock ended too early, or nobody knows whether the end has arrived.
    Unsure,
    /// The payload was another one than was sent.
    Wrong,
}

impl Kind {
    const ALL: [(Kind, &str); 6] = [
        (Kind::Sent, "sent"),
        (Kind::Begin, "begin"),
        (Kind::End, "end"),
        (Kind::Done, "done"),
        (Kind::Unsure, "unsure"),
        (Kind::Wrong, "wrong"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Kind::ALL.iter().find(|(kind, _)| *kind == self).expect("all are listed").1
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    pub(crate) worker: usize,
    pub(crate) kind: Kind,
    pub(crate) id: String,
}

impl Event {
    /// A line of a worker: nanoseconds, kind, id. None when it was cut off by the worker's death.
    pub(crate) fn parse(worker: usize, line: &str) -> Option<Event> {
        let mut words = line.split(' ');
        let at = Duration::from_nanos(words.next()?.parse().ok()?);
        let kind = words.next()?;
        let kind = Kind::ALL.iter().find(|(_, name)| *name == kind)?.0;
        Some(Event { at, worker, kind, id: words.next()?.to_owned() })
    }
}

#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Items {
    pub(crate) sent: usize,
    /// Worked on to the end, and in the queue's list of what is done.
    pub(crate) done: usize,
    pub(crate) lost: usize,
    /// Done twice, in work twice at a time, or handed out after they were done.
    pub(crate) doubled: usize,
    /// Handed out once more because a consumer had died or lost its lock, which is allowed.
    pub(crate) again: usize,
    pub(crate) wrong: usize,
}

impl Items {
    /// `done` is what the queue says in the end.
    pub(crate) fn count(events: &[Event], done: &BTreeSet<String>) -> Items {
        let mut by_id: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
        for event in events {
            by_id.entry(&event.id).or_default().push(event);
        }
        let mut items = Items::default();
        for (id, mut history) in by_id {
            history.sort_by_key(|event| event.at);
            let of = |kind: Kind| history.iter().filter(move |event| event.kind == kind);
            let is_done = of(Kind::End).count() > 0 && done.contains(id);
            items.sent += of(Kind::Sent).count();
            items.done += usize::from(is_done);
            items.lost += usize::from(of(Kind::Sent).count() > 0 && !is_done);
            items.doubled += usize::from(is_doubled(&history));
            items.again += of(Kind::Begin).count().saturating_sub(1);
            items.wrong += of(Kind::Wrong).count();
        }
        items
    }

    pub(crate) fn is_good(&self) -> bool {
        self.sent == self.done && self.lost + self.doubled + self.wrong == 0
    }
}

impl fmt::Display for Items {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Items { sent, done, lost, doubled, again, wrong } = self;
        write!(out, "items: {sent} sent, {done} done, {lost} lost, {doubled} doubled, ")?;
        write!(out, "{wrong} damaged ({again} handed out again)")
    }
}

/// The events of one item in their order.
fn is_doubled(history: &[&Event]) -> bool {
    let mut intervals = Vec::new();
    let mut begun: BTreeMap<usize, Duration> = BTreeMap::new();
    let mut last_begin = None;
    let mut done_by = Vec::new();
    for event in history {
        match event.kind {
            Kind::Begin => {
                begun.insert(event.worker, event.at);
                last_begin = Some(event.worker);
            }
            Kind::End => {
                if let Some(begin) = begun.get(&event.worker) {
                    intervals.push((*begin, event.at));
                }
            }
            Kind::Done => done_by.push(event.worker),
            Kind::Sent | Kind::Unsure | Kind::Wrong => {}
        }
    }
    // Whoever is acknowledged was the last to get the item: later ones find it done.
    done_by.len() > 1
        || done_by.first().is_some_and(|worker| last_begin != Some(*worker))
        || overlaps(&mut intervals) > 0
}

/// How many intervals begin before an earlier one has ended.
pub(crate) fn overlaps<T: Copy + Ord>(intervals: &mut [(T, T)]) -> usize {
    intervals.sort();
    let mut last_end = None;
    let mut count = 0;
    for (begin, end) in intervals {
        count += usize::from(last_end.is_some_and(|last| *begin < last));
        last_end = last_end.max(Some(*end));
    }
    count
}
