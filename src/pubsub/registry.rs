//! Who listens to what.
//!
//! A channel's subscribers stay locked while a message is posted to them, and those of patterns,
//! whose lock is taken inside, likewise. So two messages of one channel never overtake each other, for
//! whomever. Nothing is looked up while nobody listens to anything of that kind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;

use super::mailbox::Mailbox;
use super::message::Message;
use super::subscriptions::Subscriptions;
use crate::base::glob;

/// The name of a channel or a pattern, shared by all who listen to it.
pub(super) type Name = Arc<[u8]>;

/// The connections that a message closed, because their output would have exceeded its bound.
pub type Overflowed = Vec<Arc<Mailbox>>;

/// What can be listened to; each kind has names of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Channels.
    Channel,
    /// All channels that match a glob pattern.
    Pattern,
    /// Channels that a cluster keeps to one shard.
    Shard,
}

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = 3;
    /// All kinds.
    pub const ALL: [Self; Self::COUNT] = [Self::Channel, Self::Pattern, Self::Shard];
}

/// Who listens to one name, ordered by address so that a removal need not look into each.
#[derive(Default)]
struct Subscribers(Vec<Arc<Mailbox>>);

impl Subscribers {
    fn find(&self, mailbox: &Arc<Mailbox>) -> Result<usize, usize> {
        self.0.binary_search_by_key(&Arc::as_ptr(mailbox), Arc::as_ptr)
    }

    fn add(&mut self, mailbox: &Arc<Mailbox>) {
        if let Err(at) = self.find(mailbox) {
            self.0.insert(at, Arc::clone(mailbox));
        }
    }

    /// Removes one; `true` when none is left.
    fn remove(&mut self, mailbox: &Arc<Mailbox>) -> bool {
        if let Ok(at) = self.find(mailbox) {
            self.0.remove(at);
        }
        self.0.is_empty()
    }
}

/// Channels by name.
#[derive(Default)]
struct Channels {
    by_name: DashMap<Name, Subscribers>,
    /// At least as many as there are.
    len: AtomicUsize,
}

impl Channels {
    fn add(&self, name: &[u8], mailbox: &Arc<Mailbox>) -> Name {
        let mut entry = self.by_name.entry(name.into()).or_insert_with(|| {
            self.len.fetch_add(1, Ordering::Release);
            Subscribers::default()
        });
        entry.add(mailbox);
        Arc::clone(entry.key())
    }

    fn remove(&self, name: &[u8], mailbox: &Arc<Mailbox>) {
        if self.by_name.remove_if_mut(name, |_, subscribers| subscribers.remove(mailbox)).is_some()
        {
            self.len.fetch_sub(1, Ordering::Release);
        }
    }

    fn names(&self, pattern: Option<&[u8]>) -> Vec<Name> {
        let matches =
            |name: &[u8]| pattern.is_none_or(|pattern| glob::matches(pattern, name, false));
        let all = self.by_name.iter().filter(|entry| matches(entry.key()));
        all.map(|entry| Arc::clone(entry.key())).collect()
    }

    fn subscribers(&self, name: &[u8]) -> usize {
        self.by_name.get(name).map_or(0, |entry| entry.0.len())
    }
}

/// Patterns, and who listens to each.
type Patterns = BTreeMap<Name, Subscribers>;

/// A message being posted to many.
struct Posting {
    hard_max: usize,
    receivers: usize,
    overflowed: Overflowed,
}

impl Posting {
    fn post(&mut self, subscribers: &Subscribers, message: &Message) {
        self.receivers += subscribers.0.len();
        for mailbox in &subscribers.0 {
            if !mailbox.post(message, self.hard_max) {
                self.overflowed.push(Arc::clone(mailbox));
            }
        }
    }
}

/// Who listens to what in the whole process.
#[derive(Default)]
pub struct PubSub {
    channels: Channels,
    shard_channels: Channels,
    patterns: Mutex<Patterns>,
    patterns_len: AtomicUsize,
    clients: AtomicUsize,
    /// Most bytes of output of a client that listens; 0 is no bound.
    hard_max: AtomicUsize,
}

impl PubSub {
    /// Sets the most bytes of output of a client that listens; 0 is no bound.
    pub fn set_hard_max(&self, hard_max: usize) {
        self.hard_max.store(hard_max, Ordering::Relaxed);
    }

    /// Lets a client listen to one name more; no message from before reaches it.
    pub fn subscribe(&self, subscriptions: &mut Subscriptions, kind: Kind, name: &[u8]) {
        if subscriptions.contains(kind, name) {
            return;
        }
        let mailbox = subscriptions.mailbox();
        let name = match kind {
            Kind::Channel => self.channels.add(name, mailbox),
            Kind::Shard => self.shard_channels.add(name, mailbox),
            Kind::Pattern => {
                let mut patterns = self.patterns.lock();
                let name = Name::from(name);
                patterns.entry(Arc::clone(&name)).or_default().add(mailbox);
                self.patterns_len.store(patterns.len(), Ordering::Release);
                name
            }
        };
        if subscriptions.is_empty() {
            self.clients.fetch_add(1, Ordering::Relaxed);
        }
        subscriptions.insert(kind, name);
    }

    /// Lets a client no longer listen to a name; no message is posted to it after this.
    pub fn unsubscribe(&self, subscriptions: &mut Subscriptions, kind: Kind, name: &[u8]) {
        if !subscriptions.remove(kind, name) {
            return;
        }
        let mailbox = subscriptions.mailbox();
        match kind {
            Kind::Channel => self.channels.remove(name, mailbox),
            Kind::Shard => self.shard_channels.remove(name, mailbox),
            Kind::Pattern => {
                let mut patterns = self.patterns.lock();
                if patterns.get_mut(name).is_some_and(|subscribers| subscribers.remove(mailbox)) {
                    patterns.remove(name);
                }
                self.patterns_len.store(patterns.len(), Ordering::Release);
            }
        }
        if subscriptions.is_empty() {
            self.clients.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Ends all that a client listens to.
    pub fn leave(&self, subscriptions: &mut Subscriptions) {
        for kind in Kind::ALL {
            for name in subscriptions.names(kind) {
                self.unsubscribe(subscriptions, kind, &name);
            }
        }
    }

    /// Posts a message to all who listen to a channel, by its name or by a pattern; returns how many
    /// copies that makes.
    #[inline]
    pub fn publish(&self, channel: &[u8], payload: &[u8]) -> (usize, Overflowed) {
        let channels = self.channels.len.load(Ordering::Acquire) > 0;
        let patterns = self.patterns_len.load(Ordering::Acquire) > 0;
        if !channels && !patterns {
            return (0, Overflowed::new());
        }
        self.publish_to(channel, payload, channels, patterns)
    }

    fn publish_to(
        &self,
        channel: &[u8],
        payload: &[u8],
        channels: bool,
        patterns: bool,
    ) -> (usize, Overflowed) {
        let mut posting = self.posting();
        // Held to the end, or the next message could overtake this one on its way to patterns.
        let entry = if channels { self.channels.by_name.get_mut(channel) } else { None };
        if let Some(subscribers) = &entry {
            let message = Message::push(&[b"message", channel, payload]);
            posting.post(subscribers.value(), &message);
        }
        if patterns {
            for (pattern, subscribers) in &*self.patterns.lock() {
                if glob::matches(pattern, channel, false) {
                    let message = Message::push(&[b"pmessage", pattern, channel, payload]);
                    posting.post(subscribers, &message);
                }
            }
        }
        (posting.receivers, posting.overflowed)
    }

    /// Posts a message to all who listen to a shard channel; returns how many do.
    pub fn publish_in_shard(&self, channel: &[u8], payload: &[u8]) -> (usize, Overflowed) {
        let mut posting = self.posting();
        if self.shard_channels.len.load(Ordering::Acquire) > 0
            && let Some(subscribers) = self.shard_channels.by_name.get_mut(channel)
        {
            let message = Message::push(&[b"smessage", channel, payload]);
            posting.post(&subscribers, &message);
        }
        (posting.receivers, posting.overflowed)
    }

    fn posting(&self) -> Posting {
        let hard_max = self.hard_max.load(Ordering::Relaxed);
        Posting { hard_max, receivers: 0, overflowed: Overflowed::new() }
    }

    /// The names of that kind that somebody listens to, or those of them that match `pattern`.
    pub fn names(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Arc<[u8]>> {
        match kind {
            Kind::Channel => self.channels.names(pattern),
            Kind::Shard => self.shard_channels.names(pattern),
            Kind::Pattern => self.patterns.lock().keys().cloned().collect(),
        }
    }

    /// The numbers of the connections that listen to a name which `wanted` picks; one that listens to
    /// several comes several times.
    pub fn listeners(&self, kind: Kind, wanted: impl Fn(&[u8]) -> bool) -> Vec<u64> {
        let ids = |all: &Subscribers| all.0.iter().map(|mailbox| mailbox.id).collect::<Vec<_>>();
        let of = |channels: &Channels| {
            let found = channels.by_name.iter().filter(|entry| wanted(entry.key()));
            found.flat_map(|entry| ids(entry.value())).collect()
        };
        match kind {
            Kind::Channel => of(&self.channels),
            Kind::Shard => of(&self.shard_channels),
            Kind::Pattern => {
                let patterns = self.patterns.lock();
                let found = patterns.iter().filter(|(name, _)| wanted(name));
                found.flat_map(|(_, all)| ids(all)).collect()
            }
        }
    }

    /// How many names of that kind somebody listens to.
    pub fn len(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel => self.channels.by_name.len(),
            Kind::Shard => self.shard_channels.by_name.len(),
            Kind::Pattern => self.patterns.lock().len(),
        }
    }

    /// How many listen to a name.
    pub fn subscribers(&self, kind: Kind, name: &[u8]) -> usize {
        match kind {
            Kind::Channel => self.channels.subscribers(name),
            Kind::Shard => self.shard_channels.subscribers(name),
            Kind::Pattern => self.patterns.lock().get(name).map_or(0, |all| all.0.len()),
        }
    }

    /// How many clients listen to anything.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::ReplyBuf;

    fn client(id: u64) -> Subscriptions {
        Subscriptions::new(Arc::new(Mailbox::new(id)))
    }

    fn mail(client: &Subscriptions) -> String {
        let mut out = ReplyBuf::default();
        client.mailbox().take_into(&mut out);
        String::from_utf8_lossy(&out.to_vec()).replace("\r\n", " ")
    }

    #[test]
    fn messages_reach_those_who_listen() {
        let (pubsub, mut a, mut b) = (PubSub::default(), client(1), client(2));
        assert_eq!(pubsub.publish(b"x", b"0").0, 0);
        pubsub.subscribe(&mut a, Kind::Channel, b"x");
        pubsub.subscribe(&mut a, Kind::Channel, b"x");
        pubsub.subscribe(&mut b, Kind::Channel, b"x");
        pubsub.subscribe(&mut b, Kind::Pattern, b"?");
        pubsub.subscribe(&mut b, Kind::Shard, b"y");
        assert_eq!((pubsub.publish(b"x", b"1").0, pubsub.publish(b"y", b"2").0), (3, 1));
        assert_eq!((pubsub.publish_in_shard(b"y", b"3").0, pubsub.publish(b"zz", b"").0), (1, 0));
        assert_eq!(mail(&a), "*3 $7 message $1 x $1 1 ");
        let expected = "*3 $7 message $1 x $1 1 *4 $8 pmessage $1 ? $1 x $1 1 \
                        *4 $8 pmessage $1 ? $1 y $1 2 *3 $8 smessage $1 y $1 3 ";
        assert_eq!(mail(&b), expected);
    }

    #[test]
    fn what_nobody_listens_to_is_forgotten() {
        let (pubsub, mut a, mut b) = (PubSub::default(), client(1), client(2));
        for kind in Kind::ALL {
            for name in [&b"a"[..], b"b", b"c"] {
                pubsub.subscribe(&mut a, kind, name);
            }
            pubsub.subscribe(&mut b, kind, b"a");
            assert_eq!((pubsub.len(kind), pubsub.subscribers(kind, b"a")), (3, 2));
            assert_eq!((a.mailbox().count(kind), b.mailbox().count(kind)), (3, 1));
            assert_eq!(a.names(kind).len(), 3);
        }
        assert_eq!((pubsub.clients(), pubsub.names(Kind::Channel, Some(b"[ab]")).len()), (2, 2));
        pubsub.unsubscribe(&mut a, Kind::Channel, b"b");
        pubsub.unsubscribe(&mut a, Kind::Channel, b"never");
        assert_eq!(pubsub.len(Kind::Channel), 2);
        pubsub.leave(&mut a);
        assert!(a.is_empty() && Kind::ALL.iter().all(|kind| pubsub.len(*kind) == 1));
        pubsub.leave(&mut b);
        assert!(Kind::ALL.iter().all(|kind| pubsub.len(*kind) == 0));
        assert_eq!((pubsub.clients(), pubsub.publish(b"a", b"x").0), (0, 0));
        assert_eq!(pubsub.channels.len.load(Ordering::Relaxed), 0);
        assert!(!a.mailbox().has_mail());
    }

    #[test]
    fn only_who_is_too_slow_is_closed() {
        let (pubsub, mut slow, mut quick) = (PubSub::default(), client(1), client(2));
        pubsub.set_hard_max(100);
        pubsub.subscribe(&mut slow, Kind::Channel, b"c");
        pubsub.subscribe(&mut quick, Kind::Channel, b"c");
        let closed: Vec<u64> = (0..10)
            .flat_map(|_| {
                let (receivers, overflowed) = pubsub.publish(b"c", b"message");
                assert_eq!(receivers, 2);
                mail(&quick);
                overflowed.into_iter().map(|mailbox| mailbox.id)
            })
            .collect();
        assert_eq!(closed, [1]);
        assert!(slow.mailbox().is_killed() && !quick.mailbox().is_killed());
    }

    #[test]
    fn all_listeners_see_one_order() {
        let (pubsub, mut clients) = (PubSub::default(), [client(1), client(2), client(3)]);
        pubsub.subscribe(&mut clients[0], Kind::Pattern, b"*");
        pubsub.subscribe(&mut clients[1], Kind::Pattern, b"*");
        pubsub.subscribe(&mut clients[2], Kind::Channel, b"c");
        std::thread::scope(|scope| {
            for number in 0..4 {
                let publish = move |pubsub: &PubSub| {
                    (0..500).for_each(|at| {
                        drop(pubsub.publish(b"c", format!("{number}{at:03}").as_bytes()))
                    });
                };
                let pubsub = &pubsub;
                scope.spawn(move || publish(pubsub));
            }
        });
        let order = |client: &Subscriptions| -> Vec<String> {
            mail(client).split("$4 ").skip(1).map(|text| text[..4].to_owned()).collect()
        };
        let seen: Vec<Vec<String>> = clients.iter().map(order).collect();
        assert_eq!(seen[0].len(), 2000);
        assert!(seen[0] == seen[1] && seen[1] == seen[2]);
    }
}
