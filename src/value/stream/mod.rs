//! Streams: entries with ascending ids, which are added behind the others and read by id.
//!
//! The entries lie in nodes of some dozens each, every one a listpack that Redis would have written
//! (`node`), so that files take them as they are. The nodes stand in a B-tree by the id of the
//! first entry ([`std::collections::BTreeMap`]; Redis has a radix tree there). They are shared between
//! copies: whoever changes one that somebody else reads copies it first. A deleted entry is marked
//! and goes with its node.
//!
//! Owns entries, what a stream remembers of its past, and the consumer groups (`group`). Must not
//! know replies or how commands travel. Keeps: ids ascend, none is above the last id; a node has at
//! least one entry that lives; what comes from elsewhere ([`Stream::load_node`] and its kin) is
//! checked before it is taken.

mod group;
mod id;
mod idempotence;
mod node;
mod range;
#[cfg(test)]
mod tests;
mod trim;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use group::{Consumer, ConsumerId, Group, Pending};
pub use id::{ID_LEN_MAX, StreamId};
pub use idempotence::{Idempotence, IdempotenceLimits};
use node::Node;
pub use range::{Entries, Entry, Pairs, SharedEntries};
pub use trim::{Bound, References, Trim, Trimmed};

use super::packed::Place;
use super::{Collection, EditContext, Fresh, Kind, Value, ValueView};
use crate::encoding::{Corrupt, End};

/// Longest listpack of a node whatever the directive says, in bytes (Redis:
/// STREAM_LISTPACK_MAX_SIZE).
pub const NODE_LEN_MAX: usize = 1 << 30;

/// Bytes that a node takes beside its listpack: its place in the B-tree, whose nodes are half full
/// when ids ascend, and the shared head.
const NODE_OVERHEAD: usize = 48 + 16 + size_of::<Node>();

/// A stream.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    nodes: BTreeMap<StreamId, Arc<Node>>,
    /// Bytes that are allocated for the nodes' listpacks.
    node_bytes: usize,
    len: u64,
    ids: Ids,
    groups: BTreeMap<Box<[u8]>, Group>,
    idempotence: Option<Box<Idempotence>>,
}

/// What a stream remembers of its past.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ids {
    /// The greatest id that an entry has had.
    pub last: StreamId,
    /// The least id of an entry that lives; 0-0 if there is none.
    pub first: StreamId,
    /// The greatest id of an entry that was deleted.
    pub max_deleted: StreamId,
    /// How many entries were ever added.
    pub added: u64,
}

/// How large nodes get.
#[derive(Clone, Copy, Debug)]
pub struct NodeLimits {
    /// The length of a whole listpack, in bytes; 0 is no limit.
    pub bytes: usize,
    /// Its entries; 0 is no limit.
    pub entries: usize,
}

/// A node as files have it.
#[derive(Clone, Copy, Debug)]
pub struct NodeView<'a> {
    /// The id that stands before it.
    pub master: StreamId,
    /// The body of its listpack.
    pub body: &'a [u8],
    /// How many entries the listpack has (not the stream).
    pub items: usize,
}

impl Kind for Stream {
    type View<'a> = &'a Self;

    fn of(value: ValueView<'_>) -> Option<&Self> {
        match value {
            ValueView::Object(Value::Stream(stream)) => Some(stream),
            _ => None,
        }
    }
}

impl Collection for Stream {
    const FRESH: Fresh = Fresh::Object(|| Value::Stream(Box::default()));

    type Edit<'a> = &'a mut Self;

    fn edit<'a>(place: &'a mut dyn Place, _context: EditContext<'a>) -> &'a mut Self {
        match place.object_mut() {
            Some(Value::Stream(stream)) => stream,
            _ => unreachable!("a stream is always an object"),
        }
    }
}

impl Stream {
    /// What it knows of entries that producers may send again, if they said so.
    pub fn idempotence(&self) -> Option<&Idempotence> {
        self.idempotence.as_deref()
    }

    /// The same, for changing it; `limits` are those of a new one.
    pub fn idempotence_mut(&mut self, limits: IdempotenceLimits) -> &mut Idempotence {
        self.idempotence.get_or_insert_with(|| Box::new(Idempotence::new(limits)))
    }

    /// Takes over what another knew of them.
    pub fn set_idempotence(&mut self, known: Box<Idempotence>) {
        self.idempotence = Some(known);
    }

    /// How many entries live.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no entry lives.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What it remembers.
    pub fn ids(&self) -> Ids {
        self.ids
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The id of an entry that is added at that time, in Unix milliseconds; none when there is no
    /// greater id any more.
    pub fn next_id(&self, now_ms: u64) -> Option<StreamId> {
        if now_ms > self.ids.last.ms {
            return Some(StreamId::new(now_ms, 0));
        }
        self.ids.last.next()
    }

    /// Adds an entry of at least one field; its id is greater than the last one.
    pub fn append<'p>(
        &mut self,
        id: StreamId,
        pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])> + Clone,
        limits: NodeLimits,
    ) {
        debug_assert!(id > self.ids.last, "ids ascend");
        let added: usize = pairs.clone().map(|(name, value)| name.len() + value.len()).sum();
        let bytes_max =
            if limits.bytes == 0 { NODE_LEN_MAX } else { limits.bytes.min(NODE_LEN_MAX) };
        let entries_max = if limits.entries == 0 { u64::MAX } else { limits.entries as u64 };
        match self.nodes.last_entry() {
            Some(mut last)
                if last.get().whole_len() + added < bytes_max
                    && last.get().entries() < entries_max =>
            {
                let master = *last.key();
                let node = Arc::make_mut(last.get_mut());
                self.node_bytes -= node.capacity();
                node.append(master, id, pairs);
                self.node_bytes += node.capacity();
            }
            full => {
                if let Some(node) = full
                    .map(std::collections::btree_map::OccupiedEntry::into_mut)
                    .and_then(Arc::get_mut)
                {
                    self.node_bytes -= node.capacity();
                    node.fit();
                    self.node_bytes += node.capacity();
                }
                let node = Node::new(pairs);
                self.node_bytes += node.capacity();
                self.nodes.insert(id, Arc::new(node));
            }
        }
        self.len += 1;
        // A payload may say anything of it.
        self.ids.added = self.ids.added.saturating_add(1);
        self.ids.last = id;
        if self.len == 1 {
            self.ids.first = id;
        }
    }

    /// Deletes an entry; `false` when there is none of that id.
    pub fn delete(&mut self, id: StreamId) -> bool {
        if !self.unlink(id) {
            return false;
        }
        self.ids.max_deleted = self.ids.max_deleted.max(id);
        if self.ids.first == id {
            self.find_first();
        }
        true
    }

    /// Takes an entry out, and its node if it was the last one there.
    fn unlink(&mut self, id: StreamId) -> bool {
        let Some((master, shared)) = self.nodes.range_mut(..=id).next_back() else { return false };
        let (master, head) = (*master, shared.head());
        let Some(place) = range::find(shared, master, head, id) else { return false };
        if shared.live() == 1 {
            self.remove_node(master);
        } else {
            let node = Arc::make_mut(shared);
            self.node_bytes -= node.capacity();
            node.mark_deleted(place.at);
            self.node_bytes += node.capacity();
            self.len -= 1;
        }
        true
    }

    fn remove_node(&mut self, master: StreamId) {
        if let Some(node) = self.nodes.remove(&master) {
            self.node_bytes -= node.capacity();
            self.len -= node.live();
        }
    }

    fn find_first(&mut self) {
        self.ids.first = self.edge(End::Head).unwrap_or_default();
    }

    /// Sets what it remembers but for the first id. The last id is not less than that of any entry.
    pub fn set_ids(&mut self, ids: Ids) {
        debug_assert!(self.edge(End::Tail).is_none_or(|last| last <= ids.last));
        self.ids = Ids { first: self.ids.first, ..ids };
    }

    /// The nodes in order, as files have them.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = NodeView<'_>> {
        self.nodes.iter().map(|(master, node)| NodeView {
            master: *master,
            body: node.list().body(),
            items: node.items(),
        })
    }

    /// Adds a node of a file behind the others: a whole listpack. Entries that are marked as deleted
    /// stay so; a node of nothing else is left out.
    ///
    /// # Errors
    ///
    /// When the node is not as it should be, or does not come behind the others.
    pub fn load_node(&mut self, master: StreamId, whole: &[u8]) -> Result<(), Corrupt> {
        let node = Node::check(master, whole)?;
        if self
            .nodes
            .last_key_value()
            .is_some_and(|(before, last)| last.last(*before).is_none_or(|place| place.id >= master))
        {
            return Err(Corrupt { what: "nodes of a stream out of order", at: 0 });
        }
        if node.live() > 0 {
            self.len += node.live();
            self.node_bytes += node.capacity();
            self.nodes.insert(master, Arc::new(node));
        }
        Ok(())
    }

    /// Ends the loading of nodes: sets what a file says of the stream; its first id is looked up.
    /// `added` is `None` where the file, of a Redis before 7.0, does not say it.
    ///
    /// # Errors
    ///
    /// When that contradicts the nodes.
    pub fn load_ids(
        &mut self,
        len: u64,
        last: StreamId,
        max_deleted: StreamId,
        added: Option<u64>,
    ) -> Result<(), Corrupt> {
        if len != self.len {
            return Err(Corrupt { what: "wrong length of a stream", at: 0 });
        }
        let greatest = self.nodes.last_key_value().and_then(|(master, node)| node.last(*master));
        if greatest.is_some_and(|place| place.id > last) {
            return Err(Corrupt { what: "last id of a stream below an entry's", at: 0 });
        }
        self.ids = Ids { last, max_deleted, added: added.unwrap_or(len), ..self.ids };
        self.find_first();
        Ok(())
    }

    /// The bytes that are allocated for it beyond its own size, about.
    pub fn memory(&self) -> usize {
        let groups = self
            .groups
            .iter()
            .map(|(name, group)| name.len() + size_of::<(Box<[u8]>, Group)>() + group.memory());
        let idempotence = self.idempotence.as_ref().map_or(0, |known| known.memory());
        self.node_bytes + self.nodes.len() * NODE_OVERHEAD + groups.sum::<usize>() + idempotence
    }

    /// How many allocations have to be freed with it, about.
    pub fn free_effort(&self) -> usize {
        let known = self.idempotence.as_ref().map_or(0, |known| known.len());
        known + self.nodes.len() + self.groups.values().map(Group::free_effort).sum::<usize>()
    }
}
