//! What one client listens to; only its own event loop knows the names.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::mailbox::Mailbox;
use super::registry::{Kind, Name};

/// The names that a client listens to. [`super::PubSub`] changes them.
pub struct Subscriptions {
    mailbox: Arc<Mailbox>,
    names: [BTreeSet<Name>; Kind::COUNT],
}

impl Subscriptions {
    /// None yet, for the owner of `mailbox`.
    pub fn new(mailbox: Arc<Mailbox>) -> Self {
        Self { mailbox, names: Default::default() }
    }

    /// Where the messages go.
    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Whether the client listens to nothing.
    pub fn is_empty(&self) -> bool {
        self.names.iter().all(BTreeSet::is_empty)
    }

    /// The names of that kind, in order.
    pub fn names(&self, kind: Kind) -> Vec<Arc<[u8]>> {
        self.names[kind as usize].iter().cloned().collect()
    }

    pub(super) fn contains(&self, kind: Kind, name: &[u8]) -> bool {
        self.names[kind as usize].contains(name)
    }

    pub(super) fn insert(&mut self, kind: Kind, name: Name) {
        self.names[kind as usize].insert(name);
        self.mailbox.set_count(kind, self.names[kind as usize].len());
    }

    pub(super) fn remove(&mut self, kind: Kind, name: &[u8]) -> bool {
        let removed = self.names[kind as usize].remove(name);
        self.mailbox.set_count(kind, self.names[kind as usize].len());
        removed
    }
}
