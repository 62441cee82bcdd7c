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

/// What becomes of the references that groups have to an entry that is to be deleted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum References {
    /// They stay, to an entry that is not there any more.
    #[default]
    Keep,
    /// They go too.
    Delete,
    /// The entry stays unless every group has got and acknowledged it.
    Acked,
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
    /// What becomes of references. Unless they are kept, single entries are removed however
    /// approximate it may be.
    pub references: References,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trimmed {
    /// How many entries.
    pub removed: u64,
    /// The bound that removes just these, whatever the nodes of the stream are.
    pub exactly: Bound,
}

impl Stream {
    /// Removes the oldest entries as told.
    pub fn trim(&mut self, trim: &Trim) -> Trimmed {
        let before = self.len;
        let end = match trim.references {
            References::Keep => self.trim_whole(trim),
            _ => self.trim_each(trim),
        };
        if self.len != before {
            self.find_first();
        }
        let exactly = match trim.bound {
            Bound::Len(_) => Bound::Len(self.len),
            Bound::Id(_) => Bound::Id(end),
        };
        Trimmed { removed: before - self.len, exactly }
    }

    /// Removes whole nodes, and the beginning of one more unless that is approximate; returns the id
    /// from which on everything stays.
    fn trim_whole(&mut self, trim: &Trim) -> StreamId {
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
        self.nodes.first_key_value().map_or(StreamId::MAX, |(master, _)| *master)
    }

    /// Removes entries as far as their references allow; returns the id from which on none was looked at.
    fn trim_each(&mut self, trim: &Trim) -> StreamId {
        let (before, mut next) = (self.len, Some(StreamId::MIN));
        while let Some(from) = next
            && !trim.bound.is_met_by(self.len)
        {
            let following = self.nodes.range(from..).next();
            let Some((&master, live)) = following.map(|(master, node)| (master, node.live()))
            else {
                break;
            };
            if trim.limit > 0 && before - self.len + live > trim.limit {
                return master;
            }
            next = master.next();
            if !self.trim_node_each(master, trim) {
                break;
            }
        }
        match trim.bound {
            Bound::Id(bound) => bound,
            Bound::Len(_) => StreamId::MIN,
        }
    }

    /// Removes what is to go of a node; `false` when the rest of the stream stays.
    fn trim_node_each(&mut self, master: StreamId, trim: &Trim) -> bool {
        let Some(node) = self.nodes.get(&master) else { return false };
        let (head, mut ids) = (node.head(), Vec::new());
        let mut at = head.entries;
        while let Some(place) = node.place(master, head, at) {
            at = node.next(&place);
            ids.extend((!place.deleted).then_some(place.id));
        }
        for id in ids {
            let stays = match trim.bound {
                Bound::Len(_) => trim.bound.is_met_by(self.len),
                Bound::Id(bound) => id >= bound,
            };
            if stays {
                return false;
            }
            match trim.references {
                References::Acked if self.is_referenced(id) => continue,
                References::Delete => drop(self.drop_references(id)),
                _ => {}
            }
            self.unlink(id);
        }
        true
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
