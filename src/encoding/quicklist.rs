//! The quicklist: a long list as a row of listpacks.
//!
//! ```text
//! nodes   | count, -> node | count, -> node | ... | count, -> node |
//!                  |                |                     |
//!               listpack     LZF of a listpack        one long text
//! ```
//!
//! A node takes what [`Fill`] allows, by the same arithmetic as Redis's, and the counts stand
//! beside each other, so that an index is found without touching the nodes. Texts too long for a
//! listpack have nodes of their own. With a compression depth, all nodes but so many at either end
//! are kept compressed, and opened one at a time while they are read or edited.
//!
//! Nodes are shared: a copy of a list costs a row of pointers, and either copy takes a node for
//! itself when it changes it.
//!
//! Kept: no node is empty; `len` is the sum of the counts; with a depth, the nodes within it are
//! not compressed.

use std::collections::VecDeque;
use std::mem::size_of;
use std::ops::Range;
use std::sync::Arc;

use super::End;
use super::listpack::{Encoded, Item, Needle, encode};
pub use fill::Fill;
use node::{Content, Node};

mod fill;
mod node;
mod run;
#[cfg(test)]
mod tests;

/// What Redis expects an entry to take beside its text (SIZE_ESTIMATE_OVERHEAD).
const ENTRY_OVERHEAD: usize = 8;

/// See the module.
#[derive(Clone, Debug)]
pub struct Quicklist {
    nodes: VecDeque<Link>,
    len: usize,
    fill: Fill,
    /// How many nodes at either end are never compressed; 0 for all.
    depth: usize,
    /// From this length on texts have nodes of their own, whatever `fill` says.
    plain_len: usize,
}

/// What a node holds.
#[derive(Clone, Copy, Debug)]
pub enum NodeView<'a> {
    /// The body of a listpack.
    Packed {
        /// Its bytes.
        body: &'a [u8],
        /// How many items it has.
        count: usize,
    },
    /// One text that is too long for a listpack.
    Plain(&'a [u8]),
}

/// A node and the number of its items.
#[derive(Clone, Debug)]
struct Link {
    count: usize,
    node: Arc<Node>,
}

impl Link {
    fn new(count: usize, node: Node) -> Self {
        Self { count, node: Arc::new(node) }
    }

    /// Whether a text of `text_len` bytes, not too long for any listpack, fits in.
    #[inline]
    fn has_room(&self, fill: Fill, text_len: usize) -> bool {
        let len = self.node.len() + text_len + ENTRY_OVERHEAD;
        !self.node.is_plain() && !fill.is_exceeded(len, self.count + 1)
    }
}

impl Quicklist {
    /// An empty list.
    pub fn new(fill: Fill, depth: usize) -> Self {
        Self { nodes: VecDeque::new(), len: 0, fill, depth, plain_len: usize::MAX }
    }

    /// The list of the `count` entries of a listpack.
    pub fn from_listpack(body: Vec<u8>, count: usize, fill: Fill, depth: usize) -> Self {
        let mut list = Self::new(fill, depth);
        if count > 0 {
            list.nodes.push_back(Link::new(count, Node::packed(body)));
            list.len = count;
        }
        list
    }

    /// How many items there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The lengths of all nodes together when none is compressed.
    pub fn open_len(&self) -> usize {
        self.nodes.iter().map(|link| link.node.len()).sum()
    }

    /// How many nodes at either end are never compressed; 0 compresses none.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// What its nodes may hold.
    pub fn fill(&self) -> Fill {
        self.fill
    }

    /// Changes what nodes may hold from now on, and how many at either end are never compressed,
    /// of a list that has at most one node.
    pub fn set_options(&mut self, fill: Fill, depth: usize) {
        debug_assert!(self.nodes.len() <= 1);
        (self.fill, self.depth) = (fill, depth);
    }

    /// Gives texts of `len` bytes and more nodes of their own from now on.
    #[inline]
    pub fn set_plain_len(&mut self, len: usize) {
        self.plain_len = len;
    }

    /// Whether a text needs a node of its own.
    #[inline]
    fn is_too_long(&self, text: &[u8]) -> bool {
        let plain = text.len() >= self.plain_len && self.fill != Fill::Whole;
        plain || self.fill.is_too_long(text.len())
    }

    /// The body of the listpack that is the whole list, if it is one.
    pub fn as_listpack(&self) -> Option<&[u8]> {
        match self.nodes.front().map(|link| &*link.node) {
            Some(Node::Packed { run, .. }) if self.nodes.len() == 1 => Some(run.as_slice()),
            _ => None,
        }
    }

    /// Visits every node, from the first on.
    pub fn for_each_node(&self, mut visit: impl FnMut(NodeView<'_>)) {
        let mut scratch = Vec::new();
        for Link { count, node } in &self.nodes {
            visit(match node.open(&mut scratch) {
                Content::Packed(list) => NodeView::Packed { body: list.body(), count: *count },
                Content::Plain(text) => NodeView::Plain(text),
            });
        }
    }

    /// The bytes that are allocated for it.
    pub fn memory(&self) -> usize {
        let shared = size_of::<Node>() + 2 * size_of::<usize>();
        let nodes: usize = self.nodes.iter().map(|link| link.node.memory() + shared).sum();
        nodes + self.nodes.capacity() * size_of::<Link>()
    }

    /// Like [`Self::memory`], estimated from a few nodes at both ends.
    pub fn weight(&self) -> usize {
        const SEEN: usize = 4;
        let count = self.nodes.len();
        let front = self.nodes.iter().take(SEEN);
        let back = self.nodes.iter().rev().take(SEEN.min(count.saturating_sub(SEEN)));
        let (mut seen, mut sum) = (0, 0);
        for link in front.chain(back) {
            seen += 1;
            sum += link.node.memory() + size_of::<Node>() + 2 * size_of::<usize>();
        }
        sum * count / seen.max(1) + count * size_of::<Link>()
    }

    /// The items at `range`, as a list that shares the nodes with this one, and the range at which
    /// they are in that; its nodes may hold others before and behind them.
    ///
    /// # Panics
    ///
    /// When the range is empty or reaches beyond the list.
    pub fn share(&self, range: Range<usize>) -> (Self, Range<usize>) {
        let (first, within) = self.locate(range.start);
        let (last, _) = self.locate(range.end - 1);
        let nodes: VecDeque<Link> = self.nodes.range(first..=last).cloned().collect();
        let len = nodes.iter().map(|link| link.count).sum();
        (Self { nodes, len, ..Self::new(self.fill, 0) }, within..within + range.len())
    }

    /// Calls `visit` with the items at `range`, the one nearest to `end` first, until it returns
    /// false.
    ///
    /// # Panics
    ///
    /// When the range reaches beyond the list.
    pub fn walk(&self, range: Range<usize>, end: End, mut visit: impl FnMut(Item<'_>) -> bool) {
        assert!(range.end <= self.len);
        let mut left = range.len();
        let Some(start) = (left > 0).then(|| match end {
            End::Head => range.start,
            End::Tail => range.end - 1,
        }) else {
            return;
        };
        let mut counting = |item: Item<'_>| {
            left -= 1;
            visit(item) && left > 0
        };
        let mut scratch = Vec::new();
        let (mut n, mut index) = self.locate(start);
        loop {
            let Link { count, node } = &self.nodes[n];
            let content = node.open(&mut scratch);
            let more = match end {
                End::Head => content.forward(index, *count, &mut counting),
                End::Tail => content.backward(index, *count, &mut counting),
            };
            if !more {
                return;
            }
            (n, index) = match end {
                End::Head => (n + 1, 0),
                End::Tail => (n - 1, self.nodes[n - 1].count - 1),
            };
        }
    }

    /// Adds an item at an end.
    #[inline]
    pub fn push(&mut self, end: End, text: &[u8]) {
        let too_long = self.is_too_long(text);
        let last = match end {
            End::Head => self.nodes.front_mut(),
            End::Tail => self.nodes.back_mut(),
        };
        self.len += 1;
        match last {
            Some(link) if !too_long && link.has_room(self.fill, text.len()) => {
                let run = Arc::make_mut(&mut link.node).edit();
                match end {
                    End::Head => run.push_front(&Encoded::new(text)),
                    End::Tail => run.push_back(&Encoded::new(text)),
                }
                link.count += 1;
            }
            _ => self.push_node(end, Link::new(1, Node::of(text, too_long))),
        }
    }

    /// Adds a node of the `count` entries of a listpack at the tail, as it is.
    pub fn append_listpack(&mut self, body: Vec<u8>, count: usize) {
        if count > 0 {
            self.len += count;
            self.push_node(End::Tail, Link::new(count, Node::packed(body)));
        }
    }

    /// Adds an item at the tail that has a node of its own.
    pub fn append_plain(&mut self, text: Vec<u8>) {
        self.len += 1;
        self.push_node(End::Tail, Link::new(1, Node::Plain { text, dense: false }));
    }

    /// Adds a node at an end; its items are counted already.
    #[cold]
    fn push_node(&mut self, end: End, link: Link) {
        let old = match end {
            End::Head => self.nodes.front_mut(),
            End::Tail => self.nodes.back_mut(),
        };
        if let Some(node) = old.and_then(|link| Arc::get_mut(&mut link.node)) {
            node.fit();
        }
        match end {
            End::Head => self.nodes.push_front(link),
            End::Tail => self.nodes.push_back(link),
        }
        self.settle(0..0);
    }

    /// Adds an item next to the one at `pivot`, on the side of `side`.
    ///
    /// # Panics
    ///
    /// When there is no such item.
    pub fn insert(&mut self, pivot: usize, side: End, text: &[u8]) {
        assert!(pivot < self.len);
        let (n, at) = self.locate(pivot);
        self.len += 1;
        let too_long = self.is_too_long(text);
        let room = |link: Option<&Link>| {
            !too_long && link.is_some_and(|link| link.has_room(self.fill, text.len()))
        };
        let (within, edge, center) = match side {
            End::Head => (at, at == 0, n + 1),
            End::Tail => (at + 1, at + 1 == self.nodes[n].count, n),
        };
        if room(self.nodes.get(n)) {
            return self.insert_into(n, within, text);
        }
        // The neighbour is asked before a node is added, and a node is split at last.
        if edge && side == End::Tail && room(self.nodes.get(n + 1)) {
            return self.insert_into(n + 1, 0, text);
        }
        if edge && side == End::Head && n > 0 && room(self.nodes.get(n - 1)) {
            return self.insert_into(n - 1, self.nodes[n - 1].count, text);
        }
        if !edge {
            self.split(n, within);
        }
        if edge || too_long {
            let at = if within == 0 { n } else { n + 1 };
            self.nodes.insert(at, Link::new(1, Node::of(text, too_long)));
            return self.settle(at.saturating_sub(1)..at + 2);
        }
        match side {
            End::Head => self.insert_into(n, within, text),
            End::Tail => self.insert_into(n + 1, 0, text),
        }
        self.merge_around(center);
    }

    /// Adds an item to a node, where item `within` of it is, or at its end.
    fn insert_into(&mut self, n: usize, within: usize, text: &[u8]) {
        let mut entry = Vec::new();
        encode(text, &mut entry);
        let (run, count) = self.edit(n);
        let at = place(run, within, *count);
        run.splice(at..at, &entry);
        *count += 1;
        self.settle(n..n + 1);
    }

    /// Replaces the item at `index`.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn set(&mut self, index: usize, text: &[u8]) {
        assert!(index < self.len);
        let (n, within) = self.locate(index);
        let too_long = self.is_too_long(text);
        let Link { count, node } = &self.nodes[n];
        if node.is_plain() && !too_long {
            self.replace_plain(n, text);
        } else if *count == 1 {
            self.nodes[n] = Link::new(1, Node::of(text, too_long));
        } else if !too_long {
            self.replace_in(n, within, text);
        } else {
            return self.replace_by_plain(n, within, text);
        }
        self.settle(n..n + 1);
    }

    /// Replaces an item of a packed node of several by a node of its own.
    fn replace_by_plain(&mut self, n: usize, within: usize, text: &[u8]) {
        let at = if within > 0 { self.split(n, within) } else { n };
        self.cut(at, 0, 1);
        self.nodes.insert(at, Link::new(1, Node::of(text, true)));
        if self.nodes[at + 1].count == 0 {
            self.nodes.remove(at + 1);
        }
        if within > 0 {
            self.merge_around(at);
        } else {
            self.settle(at..at + 2);
        }
    }

    /// Replaces a node of one long text by a short text, which goes to the next node if it can.
    fn replace_plain(&mut self, n: usize, text: &[u8]) {
        match self.nodes.get(n + 1) {
            Some(next) if next.has_room(self.fill, text.len()) => {
                self.nodes.remove(n);
                self.insert_into(n, 0, text);
            }
            _ => self.nodes[n] = Link::new(1, Node::of(text, false)),
        }
    }

    /// Replaces an item of a packed node, even if that makes it larger than it should be.
    fn replace_in(&mut self, n: usize, within: usize, text: &[u8]) {
        let mut entry = Vec::new();
        encode(text, &mut entry);
        let (run, count) = self.edit(n);
        let at = place(run, within, *count);
        run.splice(at..at + run.entry_len(at), &entry);
    }

    /// Removes the items at `range`.
    ///
    /// # Panics
    ///
    /// When the range reaches beyond the list.
    pub fn remove(&mut self, range: Range<usize>) {
        assert!(range.end <= self.len);
        let mut left = range.len();
        if left == 0 {
            return;
        }
        let (first, within) = self.locate(range.start);
        self.len -= left;
        let mut whole = first;
        if within > 0 {
            let count = left.min(self.nodes[first].count - within);
            self.cut(first, within, count);
            left -= count;
            whole += 1;
        }
        let mut end = whole;
        while left > 0 && self.nodes[end].count <= left {
            left -= self.nodes[end].count;
            end += 1;
        }
        if end > whole {
            self.nodes.drain(whole..end);
        }
        if left > 0 {
            self.cut(whole, 0, left);
        }
        self.settle(first..whole + 1);
    }

    /// Removes the items that are `text`, or the `limit` nearest to `end` of them, and says how
    /// many those were.
    pub fn remove_equal(&mut self, text: &[u8], limit: usize, end: End) -> usize {
        let needle = Needle::new(text);
        let (mut removed, mut scratch) = (0, Vec::new());
        let nodes = self.nodes.len();
        for step in 0..nodes {
            let n = if end == End::Head { step } else { nodes - 1 - step };
            let rest = match self.nodes[n].node.open(&mut scratch) {
                Content::Packed(list) => list.without(&needle, limit - removed, end),
                Content::Plain(own) => (own == text).then(|| (Vec::new(), 1)),
            };
            let Some((mut body, count)) = rest else { continue };
            body.shrink_to_fit();
            self.nodes[n] = Link::new(self.nodes[n].count - count, Node::packed(body));
            self.compress(n);
            removed += count;
            if removed == limit {
                break;
            }
        }
        if removed > 0 {
            self.nodes.retain(|link| link.count > 0);
            self.len -= removed;
            self.settle(0..0);
        }
        removed
    }

    /// The node of item `index`, and its index therein.
    #[inline]
    fn locate(&self, index: usize) -> (usize, usize) {
        debug_assert!(index < self.len);
        if index <= self.len / 2 {
            let (mut n, mut within) = (0, index);
            while within >= self.nodes[n].count {
                within -= self.nodes[n].count;
                n += 1;
            }
            (n, within)
        } else {
            // Counted from the end, where the last is 1.
            let (mut n, mut back) = (self.nodes.len() - 1, self.len - index);
            while back > self.nodes[n].count {
                back -= self.nodes[n].count;
                n -= 1;
            }
            (n, self.nodes[n].count - back)
        }
    }

    /// A packed node to be changed, and its count.
    fn edit(&mut self, n: usize) -> (&mut run::Run, &mut usize) {
        let Link { count, node } = &mut self.nodes[n];
        (Arc::make_mut(node).edit(), count)
    }

    /// Removes `take` items of node `n`, from `within` on.
    fn cut(&mut self, n: usize, within: usize, take: usize) {
        let (run, count) = self.edit(n);
        let from = place(run, within, *count);
        let to = place(run, within + take, *count);
        run.remove(from..to);
        *count -= take;
    }

    /// Makes two nodes of one, and returns the second, which begins with item `within`.
    fn split(&mut self, n: usize, within: usize) -> usize {
        let (run, count) = self.edit(n);
        let tail = run.split_off(place(run, within, *count));
        run.fit();
        let tail = Link::new(*count - within, Node::Packed { run: tail, dense: false });
        *count = within;
        self.nodes.insert(n + 1, tail);
        n + 1
    }

    /// Joins neighbours around node `n`, which has been split, where one node can take both; in the
    /// order of Redis, on which the number of nodes depends.
    fn merge_around(&mut self, mut n: usize) {
        if n >= 2 && self.merge_with_next(n - 2) {
            n -= 1;
        }
        self.merge_with_next(n + 1);
        if n >= 1 && self.merge_with_next(n - 1) {
            n -= 1;
        }
        self.merge_with_next(n);
        self.settle(n.saturating_sub(2)..n + 3);
    }

    /// Joins node `n` with the one after it, if there are both and they are not too large.
    fn merge_with_next(&mut self, n: usize) -> bool {
        let (Some(one), Some(other)) = (self.nodes.get(n), self.nodes.get(n + 1)) else {
            return false;
        };
        let (len, count) = (one.node.len() + other.node.len(), one.count + other.count);
        let plain = one.node.is_plain() || other.node.is_plain();
        if plain || self.fill.is_exceeded(len, count) {
            return false;
        }
        let mut scratch = Vec::new();
        if let Some(other) = self.nodes.remove(n + 1)
            && let Content::Packed(list) = other.node.open(&mut scratch)
        {
            let (run, own) = self.edit(n);
            run.splice(run.len()..run.len(), list.body());
            *own = count;
        }
        true
    }

    /// Compresses those of the nodes `changed` that are inner ones, and those that have become
    /// inner ones as the list grew by up to two nodes; decompresses those that are within the depth now.
    #[inline]
    fn settle(&mut self, changed: Range<usize>) {
        if self.depth > 0 {
            self.settle_depth(changed);
        }
    }

    fn settle_depth(&mut self, changed: Range<usize>) {
        let len = self.nodes.len();
        for from_end in 0..self.depth.min(len) {
            for n in [from_end, len - 1 - from_end] {
                let node = &mut self.nodes[n].node;
                if node.is_compressed() {
                    Arc::make_mut(node).decompress();
                }
            }
        }
        // An insertion may split a node and put a new one between the halves.
        for grown in [0, 1] {
            self.compress(self.depth + grown);
            self.compress(len.saturating_sub(self.depth + 1 + grown));
        }
        for n in changed {
            self.compress(n);
        }
    }

    /// Compresses a node if it is an inner one.
    fn compress(&mut self, n: usize) {
        let inner = self.depth..self.nodes.len().saturating_sub(self.depth);
        if self.depth > 0 && inner.contains(&n) && self.nodes[n].node.is_compressible() {
            Arc::make_mut(&mut self.nodes[n].node).compress();
        }
    }
}

/// Where item `within` of `count` begins; the end for the one after the last.
#[inline]
fn place(run: &run::Run, within: usize, count: usize) -> usize {
    run.list().seek_counted(within, count).unwrap_or(run.len())
}
