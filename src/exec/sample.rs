//! Which requests are looked at to find the keys that most are for.
//!
//! Requests are counted by batches: one comparison a batch, whether it has one request or 64. How many
//! are passed over varies, so that clients that take turns are not always caught at the same one.

use crate::base::random::Random;
use crate::keyspace::KeyHash;
use crate::observe::hot_keys::SAMPLED_ONE_IN;
use crate::resp::Argv;
use crate::server::Server;

/// Picks requests of one event loop.
pub(super) struct Sampler {
    thread: usize,
    /// Requests to pass over before the next is picked; never ends where there is no event loop.
    left: usize,
    random: Random,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { thread: usize::MAX, left: usize::MAX, random: Random::seeded(0) }
    }
}

impl Sampler {
    /// The sampler of event loop `thread`.
    pub(super) fn new(thread: usize) -> Self {
        let left = SAMPLED_ONE_IN as usize / 2;
        Self { thread, left, random: Random::seeded(thread as u64) }
    }

    /// Passes over `len` requests; the number among them of the one to look at.
    #[inline]
    pub(super) fn pick(&mut self, len: usize) -> Option<usize> {
        if self.left >= len {
            self.left -= len;
            return None;
        }
        Some(self.left)
    }

    /// Notes the keys of the request that was picked.
    #[cold]
    pub(super) fn note(&mut self, server: &Server, db: usize, argv: Argv<'_>, keys: &[KeyHash]) {
        self.left = self.random.below(2 * u64::from(SAMPLED_ONE_IN)) as usize;
        let now_ms = server.now_ms();
        for key in keys {
            let name = argv.arg(key.index as usize);
            server.hot_keys.note(self.thread, (db, key.hash), name, now_ms);
        }
    }
}
