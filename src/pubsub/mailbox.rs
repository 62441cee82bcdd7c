//! What other event loops reach of a connection: its mail, its task's waker, and its end.
//!
//! Whoever posts appends to the queue under its lock and wakes the connection's task if the queue was
//! empty: once for a burst. The connection takes everything at once. What waits here counts against
//! the bound of the client's output together with what waits for the socket, and the poster enforces
//! it: a connection whose event loop does not get round to it holds no more memory than one whose
//! socket is slow.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;

use super::message::Message;
use super::registry::Kind;
use crate::resp::ReplyBuf;

/// Up to here messages are written while the lock is held, which keeps the queue's room for reuse.
const FEW: usize = 32;

/// A connection's mailbox.
pub struct Mailbox {
    /// Number of the connection since the start.
    pub id: u64,
    /// Bytes of output that wait for the socket; the connection keeps it up to date.
    pub output_len: AtomicUsize,
    /// How many channels, patterns and shard channels the client listens to.
    counts: [AtomicU32; Kind::COUNT],
    /// Bytes in the queue.
    waiting: AtomicUsize,
    has_mail: AtomicBool,
    killed: AtomicBool,
    queue: Mutex<Vec<Message>>,
    waker: AtomicWaker,
}

impl Mailbox {
    /// An empty mailbox for the connection of that number.
    pub fn new(id: u64) -> Self {
        Self {
            id,
            output_len: AtomicUsize::new(0),
            counts: Default::default(),
            waiting: AtomicUsize::new(0),
            has_mail: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            queue: Mutex::default(),
            waker: AtomicWaker::new(),
        }
    }

    /// Appends a message; `false` when that would have exceeded `hard_max` bytes of output (0 is no
    /// bound), which closes the connection and drops its mail.
    pub fn post(&self, message: &Message, hard_max: usize) -> bool {
        let mut queue = self.queue.lock();
        if self.is_killed() {
            return true;
        }
        let waiting = self.waiting.load(Ordering::Relaxed) + message.wire_len();
        if hard_max > 0 && waiting + self.output_len.load(Ordering::Relaxed) >= hard_max {
            self.killed.store(true, Ordering::Release);
            let dropped = self.empty(&mut queue);
            drop(queue);
            drop(dropped);
            self.wake();
            return false;
        }
        let was_empty = queue.is_empty();
        queue.push(message.clone());
        self.waiting.store(waiting, Ordering::Relaxed);
        if was_empty {
            self.has_mail.store(true, Ordering::Relaxed);
            drop(queue);
            self.wake();
        }
        true
    }

    fn empty(&self, queue: &mut Vec<Message>) -> Vec<Message> {
        self.has_mail.store(false, Ordering::Relaxed);
        self.waiting.store(0, Ordering::Relaxed);
        std::mem::take(queue)
    }

    /// Whether mail waits. A message whose poster was answered before this was called is seen.
    #[inline]
    pub fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Relaxed)
    }

    /// Bytes of mail that waits.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many messages wait.
    pub fn messages(&self) -> usize {
        self.queue.lock().len()
    }

    /// Appends all mail to `out`.
    pub fn take_into(&self, out: &mut ReplyBuf) {
        self.take_into_if(out, || true);
    }

    /// Appends all mail to `out` if `holds`. What a poster does before it posts is seen by `holds` if
    /// the mail is there.
    pub fn take_into_if(&self, out: &mut ReplyBuf, holds: impl FnOnce() -> bool) {
        let mut queue = self.queue.lock();
        if !holds() {
            return;
        }
        if queue.len() <= FEW {
            if queue.len() > 1 {
                out.reserve(self.waiting());
            }
            queue.drain(..).for_each(|message| message.write(out));
            self.has_mail.store(false, Ordering::Relaxed);
            self.waiting.store(0, Ordering::Relaxed);
            return;
        }
        let taken = self.empty(&mut queue);
        drop(queue);
        taken.iter().for_each(|message| message.write(out));
    }

    /// How many names of that kind the client listens to.
    pub fn count(&self, kind: Kind) -> u32 {
        self.counts[kind as usize].load(Ordering::Relaxed)
    }

    pub(super) fn set_count(&self, kind: Kind, count: usize) {
        self.counts[kind as usize].store(count as u32, Ordering::Relaxed);
    }

    /// Asks the connection's event loop to close it.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether the connection is to be closed.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Remembers how to wake the connection's task.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Wakes the connection's task.
    pub fn wake(&self) {
        self.waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn taken(mailbox: &Mailbox) -> Vec<u8> {
        let mut out = ReplyBuf::default();
        mailbox.take_into(&mut out);
        out.to_vec()
    }

    #[test]
    fn a_burst_wakes_once_and_comes_in_order() {
        let (mailbox, wakes) = (Mailbox::new(1), Arc::new(Wakes::default()));
        for round in 1..=3 {
            mailbox.register(&Waker::from(Arc::clone(&wakes)));
            let mut expected = Vec::new();
            for number in 0..round * 30 {
                let body = format!("{number}\r\n").into_bytes();
                expected.extend([b":", &body[..]].concat());
                assert!(mailbox.post(&Message::encoded(b':', body), 0));
            }
            assert!(mailbox.has_mail());
            assert_eq!(mailbox.waiting(), expected.len());
            assert_eq!(wakes.0.load(Ordering::Relaxed), round);
            assert_eq!(taken(&mailbox), expected);
            assert!(!mailbox.has_mail());
            assert_eq!(mailbox.waiting(), 0);
        }
    }

    #[test]
    fn what_exceeds_the_bound_ends_the_connection() {
        let mailbox = Mailbox::new(1);
        let message = Message::encoded(b'+', vec![b'x'; 99]);
        mailbox.output_len.store(150, Ordering::Relaxed);
        assert!(mailbox.post(&message, 400) && mailbox.post(&message, 400));
        assert!(!mailbox.is_killed());
        assert!(!mailbox.post(&message, 400) && mailbox.is_killed());
        assert!(mailbox.post(&message, 400), "it is over already");
        assert_eq!((mailbox.waiting(), taken(&mailbox).len()), (0, 0));
    }
}
