//! Removing the oldest entries.

use std::sync::Arc;

use super::Stream;
use super::id::StreamId;

/// What is to stay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bound {
    /// At most so many entries, the newest.
    Len(u64),
    /// Entries from that id on.
    Id(StreamId),
}

/// What is to be removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trim {
    /// What is to stay.
    pub bound: Bound,
    /// Whether only whole nodes go, so that more may stay.
    pub approximate: bool,
    /// Most entries to remove; 0 is no limit.
    pub limit: u64,
}

impl Stream {
    /// Removes the oldest entries as told; returns how many.
    pub fn trim(&mut self, trim: &Trim) -> u64 {
        let before = self.len;
        while let Some((&master, node)) = self.nodes.first_key_value() {
            if trim.bound.is_met_by(self.len) {
                break;
            }
            let live = node.live();
            if trim.limit > 0 && before - self.len + live > trim.limit {
                break;
            }
            let whole = match trim.bound {
                Bound::Len(len) => self.len - live >= len,
                Bound::Id(id) => node.last(master).is_some_and(|place| place.id < id),
            };
            if whole {
                self.remove_node(master);
                continue;
            }
            if !trim.approximate {
                self.trim_node(master, trim.bound);
            }
            break;
        }
        if self.len != before {
            self.find_first();
        }
        before - self.len
    }

    /// Marks the oldest entries of a node, of which some stay.
    fn trim_node(&mut self, master: StreamId, bound: Bound) {
        let Some(shared) = self.nodes.get_mut(&master) else { return };
        let head = shared.head();
        let (mut doomed, mut at, mut left) = (Vec::new(), head.entries, self.len);
        while let Some(place) = shared.place(master, head, at) {
            let stays = match bound {
                Bound::Len(len) => left <= len,
                Bound::Id(id) => place.id >= id,
            };
            if stays {
                break;
            }
            at = shared.next(&place);
            if !place.deleted {
                doomed.push(place.at);
                left -= 1;
            }
        }
        if doomed.is_empty() {
            return;
        }
        if doomed.len() as u64 == shared.live() {
            return self.remove_node(master);
        }
        let node = Arc::make_mut(shared);
        self.node_bytes -= node.capacity();
        // From behind, as the counts at the front may get longer.
        doomed.iter().rev().for_each(|at| node.mark_deleted(*at));
        self.node_bytes += node.capacity();
        self.len -= doomed.len() as u64;
    }
}

impl Bound {
    fn is_met_by(self, len: u64) -> bool {
        matches!(self, Self::Len(max) if len <= max)
    }
}
