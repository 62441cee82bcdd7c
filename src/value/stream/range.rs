//! Reading entries in order, from both ends.

use std::collections::{BTreeMap, btree_map};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::Stream;
use super::id::StreamId;
use super::node::{Head, Node, Place};
use crate::encoding::End;
use crate::encoding::listpack::{Item, Iter, Listpack};

/// An entry.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its id.
    pub id: StreamId,
    list: Listpack<'a>,
    fields: usize,
    /// Where the master's names are, if its own are those.
    names: Option<usize>,
    pairs: usize,
}

impl<'a> Entry<'a> {
    fn new(node: &'a Node, head: Head, place: Place) -> Self {
        let Place { id, same, fields, pairs, .. } = place;
        Self { id, list: node.list(), fields, names: same.then_some(head.names), pairs }
    }

    /// How many fields it has.
    #[expect(clippy::len_without_is_empty, reason = "an entry has at least one field")]
    pub fn len(&self) -> usize {
        self.fields
    }

    /// Its fields and their values, in the order in which they were given.
    pub fn pairs(&self) -> Pairs<'a> {
        Pairs {
            names: self.names.map(|at| self.list.iter_from(at)),
            items: self.list.iter_from(self.pairs),
            left: self.fields,
        }
    }
}

/// See [`Entry::pairs`].
pub struct Pairs<'a> {
    names: Option<Iter<'a>>,
    items: Iter<'a>,
    left: usize,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Item<'a>, Item<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (_, name) = self.names.as_mut().unwrap_or(&mut self.items).next()?;
        let (_, value) = self.items.next()?;
        Some((name, value))
    }
}

/// The entries of a range that live.
pub struct Entries<'a> {
    nodes: btree_map::Range<'a, StreamId, Arc<Node>>,
    range: RangeInclusive<StreamId>,
    from: End,
    current: Option<Cursor<'a>>,
}

/// A place between the entries of a node.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    master: StreamId,
    node: &'a Node,
    head: Head,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(master: StreamId, node: &'a Node, from: End) -> Self {
        let head = node.head();
        let at = if from == End::Head { head.entries } else { node.list().body().len() };
        Self { master, node, head, at }
    }

    /// Passes over one entry.
    fn step(&mut self, from: End) -> Option<Place> {
        match from {
            End::Head => {
                let place = self.node.place(self.master, self.head, self.at)?;
                self.at = self.node.next(&place);
                Some(place)
            }
            End::Tail => {
                self.at = self.node.prev(self.at)?;
                self.node.place(self.master, self.head, self.at)
            }
        }
    }
}

impl Stream {
    /// The entries from one id to another, both included, beginning at the end `from`.
    pub fn entries(&self, range: RangeInclusive<StreamId>, from: End) -> Entries<'_> {
        let (start, end) = (*range.start(), *range.end());
        // The node that the range begins in may have begun before it.
        let first = self.nodes.range(..=start).next_back().map_or(start, |(master, _)| *master);
        let nodes = if start <= end {
            self.nodes.range(first..=end)
        } else {
            self.nodes.range(StreamId::MIN..StreamId::MIN)
        };
        Entries { nodes, range, from, current: None }
    }

    /// All entries, the oldest first.
    pub fn iter(&self) -> Entries<'_> {
        self.entries(StreamId::MIN..=StreamId::MAX, End::Head)
    }

    /// How many entries there are from one id to another, both included.
    pub fn count(&self, range: RangeInclusive<StreamId>) -> usize {
        let entries = self.entries(range.clone(), End::Head);
        let within = |(master, node): (&StreamId, &Arc<Node>)| {
            let last = node.last(*master).map_or(*master, |place| place.id);
            if range.contains(master) && range.contains(&last) {
                return node.live() as usize;
            }
            let nodes = self.nodes.range(*master..=*master);
            Entries { nodes, range: range.clone(), from: End::Head, current: None }.count()
        };
        entries.nodes.map(within).sum()
    }

    /// The entries from one id to another as they are now, whatever becomes of the stream.
    pub fn share(&self, range: RangeInclusive<StreamId>, from: End) -> SharedEntries {
        let nodes = self.entries(range.clone(), from).nodes;
        let nodes = nodes.map(|(master, node)| (*master, Arc::clone(node))).collect();
        SharedEntries { stream: Self { nodes, ..Self::default() }, range, from }
    }

    /// The entry of that id.
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        let (master, node) = self.nodes.range(..=id).next_back()?;
        let head = node.head();
        let place = find(node, *master, head, id)?;
        Some(Entry::new(node, head, place))
    }

    /// Whether there is an entry of that id.
    pub fn contains(&self, id: StreamId) -> bool {
        self.get(id).is_some()
    }

    /// The id of the entry at an end.
    pub fn edge(&self, end: End) -> Option<StreamId> {
        self.entries(StreamId::MIN..=StreamId::MAX, end).next().map(|entry| entry.id)
    }
}

/// Whether an entry of that id lives in any of the nodes.
pub(super) fn is_in(nodes: &BTreeMap<StreamId, Arc<Node>>, id: StreamId) -> bool {
    let node = nodes.range(..=id).next_back();
    node.is_some_and(|(master, node)| find(node, *master, node.head(), id).is_some())
}

/// Entries that are shared with a stream, to be read a few at a time.
pub struct SharedEntries {
    /// Only its nodes are of use.
    stream: Stream,
    /// What is left of the range.
    range: RangeInclusive<StreamId>,
    from: End,
}

impl SharedEntries {
    /// Visits the next `count` entries; `false` when there are none any more.
    pub fn visit(&mut self, count: usize, mut visit: impl FnMut(Entry<'_>)) -> bool {
        let (mut last, mut visited) = (None, 0);
        for entry in self.stream.entries(self.range.clone(), self.from).take(count) {
            last = Some(entry.id);
            visited += 1;
            visit(entry);
        }
        let rest = last.and_then(|id| match self.from {
            End::Head => id.next().map(|next| next..=*self.range.end()),
            End::Tail => id.prev().map(|prev| *self.range.start()..=prev),
        });
        self.range = rest.unwrap_or(StreamId::MAX..=StreamId::MIN);
        visited == count
    }
}

/// The entry of that id in a node, if it lives.
pub(super) fn find(node: &Node, master: StreamId, head: Head, id: StreamId) -> Option<Place> {
    let mut at = head.entries;
    while let Some(place) = node.place(master, head, at) {
        if place.id >= id {
            return (place.id == id && !place.deleted).then_some(place);
        }
        at = node.next(&place);
    }
    None
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let cursor = match &mut self.current {
                Some(cursor) => cursor,
                empty => {
                    let (master, node) = match self.from {
                        End::Head => self.nodes.next()?,
                        End::Tail => self.nodes.next_back()?,
                    };
                    empty.insert(Cursor::new(*master, node, self.from))
                }
            };
            let Some(place) = cursor.step(self.from) else {
                self.current = None;
                continue;
            };
            let (start, end) = (*self.range.start(), *self.range.end());
            let is_past = match self.from {
                End::Head => place.id > end,
                End::Tail => place.id < start,
            };
            if is_past {
                self.nodes = btree_map::Range::default();
                self.current = None;
                return None;
            }
            if !place.deleted && (start..=end).contains(&place.id) {
                return Some(Entry::new(cursor.node, cursor.head, place));
            }
        }
    }
}
