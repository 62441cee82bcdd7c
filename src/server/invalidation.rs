//! Telling clients that what they cache is out of date.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::client::{ClientFlags, ClientHandle};
use super::{Server, gate};
use crate::keyspace::{Shard, Touched};
use crate::pubsub::Message;
use crate::resp::{write_bulk, write_head};

/// Where clients that speak RESP2 get invalidations.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// An invalidation; each form is made when the first client needs it.
struct Invalidation<'a> {
    /// The keys; `None` is all.
    keys: Option<&'a [&'a [u8]]>,
    /// For clients that speak RESP3, and for listeners that speak RESP2.
    forms: [Option<Message>; 2],
}

impl<'a> Invalidation<'a> {
    fn new(keys: Option<&'a [&'a [u8]]>) -> Self {
        Self { keys, forms: [None, None] }
    }

    fn form(&mut self, resp3: bool) -> &Message {
        let keys = self.keys;
        self.forms[usize::from(!resp3)].get_or_insert_with(|| {
            let mut body = Vec::new();
            if resp3 {
                body.extend_from_slice(b"2\r\n");
                write_bulk(&mut body, b"invalidate");
            } else {
                body.extend_from_slice(b"3\r\n");
                write_bulk(&mut body, b"message");
                write_bulk(&mut body, CHANNEL);
            }
            match keys {
                Some(keys) => {
                    write_head(&mut body, b'*', keys.len() as i64);
                    keys.iter().for_each(|key| write_bulk(&mut body, key));
                }
                None => body.extend_from_slice(if resp3 { b"_\r\n" } else { b"$-1\r\n" }),
            }
            Message::encoded(b'>', body)
        })
    }
}

fn flags_of(handle: &ClientHandle) -> ClientFlags {
    ClientFlags(handle.flags.load(Relaxed))
}

impl Server {
    /// Counts a client that begins to track.
    pub(super) fn begin_tracking(&self) {
        self.tracking.count_clients(|count| count + 1, |_| self.set_gate(gate::TRACKING, true));
    }

    /// Counts a client that tracks no more.
    pub(super) fn end_tracking(&self) {
        let update = |left| self.set_gate(gate::TRACKING, left > 0);
        self.tracking.count_clients(|count| count - 1, update);
    }

    /// Whether the client of that number caches what it reads.
    pub fn caches_reads(&self, id: u64) -> bool {
        self.clients.get(id).is_some_and(|handle| caches_reads(flags_of(&handle)))
    }

    /// Tells those who read a key of a locked shard that it changed, and forgets that they did.
    /// `current` is the client whose request that was.
    pub fn invalidate(
        &self,
        (number, shard): (usize, &mut Shard),
        key: &[u8],
        hash: u64,
        current: Option<u64>,
    ) {
        let Some(readers) = self.tracking.take(number, key) else { return };
        shard.unmind(hash);
        self.send_invalidation(&[key], &readers, current);
    }

    /// Forgets keys until there are as many as there may be; their readers are told. `visit` makes a
    /// shard available.
    pub fn trim_tracking(
        &self,
        mut start: usize,
        mut visit: impl FnMut(usize, &mut dyn FnMut(&mut Shard)),
    ) {
        while self.tracking.is_over_limit() {
            start = (start + 1) % self.keyspace.shard_count();
            visit(start, &mut |shard| {
                if let Some((key, hash, readers)) = self.tracking.take_any(start) {
                    shard.unmind(hash);
                    self.send_invalidation(&[&key], &readers, None);
                }
            });
        }
    }

    fn send_invalidation(&self, keys: &[&[u8]], readers: &[u64], current: Option<u64>) {
        let mut invalidation = Invalidation::new(Some(keys));
        for handle in readers.iter().filter_map(|id| self.clients.get(*id)) {
            let flags = flags_of(&handle);
            let own = flags.has(ClientFlags::NOLOOP) && current == Some(handle.id);
            if caches_reads(flags) && !own {
                self.send(&handle, &mut invalidation);
            }
        }
    }

    /// Tells those who hear of all keys with a prefix about changed ones, whose shards are locked.
    pub fn broadcast(&self, touched: &[Touched], current: Option<u64>) {
        if touched.is_empty() || self.tracking.prefixes() == 0 {
            return;
        }
        // Of several changes of a key the last one counts.
        let last: std::collections::BTreeMap<&[u8], bool> =
            touched.iter().map(|touched| (&*touched.key, touched.expired)).collect();
        let keys: Vec<&[u8]> = last.keys().copied().collect();
        self.tracking.by_prefix(&keys, |range, clients| {
            let keys = &keys[range];
            let mut invalidation = Invalidation::new(Some(keys));
            for handle in clients.iter().filter_map(|id| self.clients.get(*id)) {
                if flags_of(&handle).has(ClientFlags::NOLOOP) && current == Some(handle.id) {
                    let others: Vec<&[u8]> = keys.iter().copied().filter(|key| last[key]).collect();
                    if !others.is_empty() {
                        self.send(&handle, &mut Invalidation::new(Some(&others)));
                    }
                } else {
                    self.send(&handle, &mut invalidation);
                }
            }
        });
    }

    /// Tells all who track that everything may have changed.
    pub fn invalidate_all(&self) {
        let mut invalidation = Invalidation::new(None);
        for handle in self.clients.all() {
            if flags_of(&handle).has(ClientFlags::TRACKING) {
                self.send(&handle, &mut invalidation);
            }
        }
    }

    /// Sends an invalidation to a client that tracks, or to where it redirects them.
    fn send(&self, target: &Arc<ClientHandle>, invalidation: &mut Invalidation<'_>) {
        let redirect = target.redirect.load(Relaxed);
        if redirect == 0 {
            if flags_of(target).has(ClientFlags::RESP3) {
                self.post(target, invalidation.form(true));
            }
            return;
        }
        let Some(receiver) = self.clients.get(redirect) else {
            target.redirect_broken.store(true, Relaxed);
            if flags_of(target).has(ClientFlags::RESP3) {
                let mut body = b"2\r\n".to_vec();
                write_bulk(&mut body, b"tracking-redir-broken");
                body.extend_from_slice(format!(":{redirect}\r\n").as_bytes());
                self.post(target, &Message::encoded(b'>', body));
            }
            return;
        };
        let flags = flags_of(&receiver);
        if flags.has(ClientFlags::RESP3 | ClientFlags::PUBSUB) {
            self.post(&receiver, invalidation.form(flags.has(ClientFlags::RESP3)));
        }
    }

    /// Posts a message to a client within the bound of its output.
    pub(super) fn post(&self, handle: &ClientHandle, message: &Message) {
        let hard_max = self.settings.output(handle.is_subscriber()).hard;
        if !handle.mailbox.post(message, hard_max) {
            self.note_output_limit(handle.id, &handle.peer.addr());
        }
    }
}

/// Whether a client of those flags is told of changes of the keys that it read.
fn caches_reads(flags: ClientFlags) -> bool {
    flags.has(ClientFlags::TRACKING) && !flags.has(ClientFlags::BCAST)
}
