//! Replies that another thread makes, while the client waits and its event loop goes on.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::error::CmdError;
use crate::resp::ReplyBuf;
use crate::server::Server;

/// Writes a reply.
pub(super) type WriteReply = Box<dyn FnOnce(&mut ReplyBuf) + Send>;

/// What begins once the command's locks are released, outside of transactions and scripts.
type Begin = Box<dyn FnOnce(&Arc<Server>, Answer) + Send>;

/// What is to be done for a client elsewhere.
pub struct Background(Begin);

/// The reply that is being made.
#[derive(Default)]
pub struct Pending {
    reply: Mutex<Option<Result<WriteReply, CmdError>>>,
    ready: Notify,
}

/// The duty to reply; dropping it without a word is an error reply.
pub struct Answer(Option<Arc<Pending>>);

impl Background {
    /// Something that `begin` begins; it must not take long itself.
    pub fn new(begin: impl FnOnce(&Arc<Server>, Answer) + Send + 'static) -> Self {
        Self(Box::new(begin))
    }

    /// Something that takes a thread of its own, called `name`; the reply is OK or its error.
    pub(super) fn on_thread(
        name: &str,
        work: impl FnOnce(&Arc<Server>) -> Result<(), CmdError> + Send + 'static,
    ) -> Self {
        let name = name.to_owned();
        Self::new(move |server, answer| apart(server, &name, |server| answer.ok_or(work(server))))
    }

    /// Begins.
    pub fn begin(self, server: &Arc<Server>) -> Arc<Pending> {
        let pending = Arc::new(Pending::default());
        (self.0)(server, Answer(Some(Arc::clone(&pending))));
        pending
    }
}

/// Does `work` on a thread of its own, called `name`. Where there is none to be had it is dropped, and
/// with it what it has to answer.
pub(super) fn apart(
    server: &Arc<Server>,
    name: &str,
    work: impl FnOnce(&Arc<Server>) + Send + 'static,
) {
    let server = Arc::clone(server);
    drop(std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&server)));
}

impl fmt::Debug for Background {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Background")
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Pending")
    }
}

impl Pending {
    /// Completes when there is a reply.
    pub async fn ready(&self) {
        loop {
            let ready = self.ready.notified();
            if self.reply.lock().is_some() {
                return;
            }
            ready.await;
        }
    }

    /// Takes the reply out; it can be taken once.
    pub fn take(&self) -> Option<Result<WriteReply, CmdError>> {
        self.reply.lock().take()
    }
}

impl Answer {
    /// Replies OK, or an error.
    pub fn ok_or(mut self, result: Result<(), CmdError>) {
        self.fill(result.map(|()| Box::new(|out: &mut ReplyBuf| out.ok()) as WriteReply));
    }

    /// Replies nothing: the client waits until its connection ends.
    pub fn withhold(mut self) {
        self.0 = None;
    }

    fn fill(&mut self, reply: Result<WriteReply, CmdError>) {
        if let Some(pending) = self.0.take() {
            *pending.reply.lock() = Some(reply);
            pending.ready.notify_waiters();
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.fill(Err(CmdError::Unanswered));
    }
}
