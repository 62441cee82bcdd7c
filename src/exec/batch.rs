//! Requests that arrived together: parsed before the first one runs, so that the memory all of them
//! will touch can be asked for early.

use std::ops::Range;
use std::sync::Arc;

use crate::base::limits::BATCH_COMMANDS_MAX;
use crate::resp::{ArgRange, Argv, ParseLimits, ParseState, ProtocolError, RequestParser};

/// Arguments that a batch keeps room for.
const KEPT_RANGES_MAX: usize = 16 * 1024;

/// One request of a batch.
struct Request {
    ranges: Range<usize>,
    bigs: Range<usize>,
    /// Where in the buffer the next request begins.
    end: usize,
}

/// Parsed requests; reused from one read to the next.
#[derive(Default)]
pub struct Batch {
    ranges: Vec<ArgRange>,
    bigs: Vec<Arc<Vec<u8>>>,
    requests: Vec<Request>,
    /// Most requests of the batch.
    limit: usize,
}

impl Batch {
    /// Replaces the batch by the next requests of `buffer`, at most [`BATCH_COMMANDS_MAX`], or one of a
    /// client that has yet to authenticate.
    ///
    /// A protocol error is returned after the requests before it were added.
    pub fn fill(
        &mut self,
        parser: &mut RequestParser,
        buffer: &[u8],
        limits: ParseLimits,
    ) -> Result<(), ProtocolError> {
        self.ranges.clear();
        self.bigs.clear();
        self.requests.clear();
        // AUTH changes what may follow it, so nothing is parsed ahead of it.
        self.limit = if limits.unauthenticated { 1 } else { BATCH_COMMANDS_MAX };
        while self.requests.len() < self.limit {
            let (ranges, bigs) = (self.ranges.len(), self.bigs.len());
            match parser.parse(buffer, limits, &mut self.ranges, &mut self.bigs)? {
                ParseState::NeedMore => break,
                ParseState::Request => self.requests.push(Request {
                    ranges: ranges..self.ranges.len(),
                    bigs: bigs..self.bigs.len(),
                    end: parser.position(),
                }),
            }
        }
        Ok(())
    }

    /// Lets go of the requests, and of room that only a huge one needed.
    pub fn clear(&mut self) {
        self.ranges.clear();
        self.ranges.shrink_to(KEPT_RANGES_MAX);
        self.bigs.clear();
        self.bigs.shrink_to(BATCH_COMMANDS_MAX);
        self.requests.clear();
    }

    /// How many requests there are.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there is no request.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether there may be more requests in the buffer.
    pub fn is_full(&self) -> bool {
        self.requests.len() == self.limit
    }

    /// Where in the buffer the first `count` requests end; `None` for none.
    pub fn end_of(&self, count: usize) -> Option<usize> {
        count.checked_sub(1).map(|last| self.requests[last].end)
    }

    /// The arguments of a request.
    #[inline]
    pub fn argv<'a>(&'a self, buffer: &'a [u8], index: usize) -> Argv<'a> {
        let request = &self.requests[index];
        Argv::new(buffer, &self.ranges[request.ranges.clone()], &self.bigs[request.bigs.clone()])
    }
}
