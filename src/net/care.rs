//! What an event loop does for its clients while it waits for a script that runs for too long.
//!
//! Its tasks cannot run, so requests are looked at where they lie, in the sockets: one that is
//! answered is taken out, everything else stays for the connection's task. New connections are let
//! in, since who wants to end the script may come with one.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::reactor::Reactor;
use super::sink::{Flushed, Sink};
use crate::exec::{Batch, Standin};
use crate::resp::{ParseLimits, RequestParser};
use crate::server::gate;

/// Most of a client's input that is looked at.
const LOOK_LEN: usize = 16 * 1024;

impl Reactor {
    /// Has its clients looked after whenever this thread waits for long.
    pub fn care_while_waiting(self: &Rc<Self>) {
        let reactor = Rc::downgrade(self);
        crate::base::idle::set(Rc::new(move || {
            if let Some(reactor) = reactor.upgrade() {
                reactor.attend();
            }
        }));
    }

    fn attend(self: &Rc<Self>) {
        if self.server().gates.load(Ordering::Relaxed) & gate::BUSY == 0 {
            return;
        }
        while let Some(arrival) = self.next_arrival() {
            arrival.serve(Rc::clone(self));
        }
        let mut buffer = vec![0; LOOK_LEN];
        for sink in self.sinks() {
            self.attend_to(&sink, &mut buffer);
        }
    }

    /// Answers what has arrived from one client, as far as that is possible.
    fn attend_to(&self, sink: &Rc<Sink>, buffer: &mut [u8]) {
        let idle = sink.is_empty() && sink.handle().query_len.load(Ordering::Relaxed) == 0;
        if !idle || sink.unfinished.get() || sink.handle().is_killed() {
            return;
        }
        let Ok(count @ 1..) = sink.writer().look(buffer, true) else { return };
        let (mut parser, mut batch) = (RequestParser::default(), Batch::default());
        let limits = ParseLimits { bulk_max: LOOK_LEN as i64, unauthenticated: false };
        // What cannot be understood is for the connection's task to refuse.
        let _ = batch.fill(&mut parser, &buffer[..count], limits);
        let (server, commands, counters) = (self.server(), self.commands(), self.counters());
        let standin = Standin { server, commands, counters };
        let mut out = sink.out.borrow_mut();
        let answered = (0..batch.len())
            .take_while(|at| {
                let argv = batch.argv(&buffer[..count], *at);
                standin.answer(sink.handle(), argv, &mut out)
            })
            .count();
        drop(out);
        if answered < batch.len() || sink.handle().meanwhile.load(Ordering::Relaxed) != 0 {
            // A request may have been taken from the socket already, as TLS does, and the end of a
            // transaction is for the task to conclude: then nothing else wakes it.
            sink.wake_task();
        }
        if let Some(end) = batch.end_of(answered) {
            let _ = sink.writer().look(&mut buffer[..end], false);
            if sink.flush(self) != Flushed::All {
                // The flusher sees to the rest when it runs again.
                self.queue(sink);
            }
        }
    }
}
