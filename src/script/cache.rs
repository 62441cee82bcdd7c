//! The cache of scripts by the SHA-1 of their source.
//!
//! What SCRIPT LOAD put there stays until SCRIPT FLUSH. What EVAL left is limited in number: the one
//! that was not run for the longest time makes room.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::unit::Unit;
use crate::base::limits::EVAL_SCRIPTS_MAX;

/// The SHA-1 of a source.
pub(super) type Digest = [u8; 20];

/// What an entry is taken to cost beside its source, in bytes.
const ENTRY_LEN: usize = 200;

#[derive(Default)]
pub(super) struct Cache {
    scripts: HashMap<Digest, Script>,
    /// How many of them may make room for others.
    evictable: usize,
    /// Bytes of all sources.
    source_len: usize,
    /// Counts runs; the last run of a script is its number at that time.
    clock: u64,
}

struct Script {
    unit: Arc<Unit>,
    source: Box<[u8]>,
    last_run: u64,
    evictable: bool,
}

impl Cache {
    /// The script with that digest, which counts as run.
    pub(super) fn run(&mut self, digest: &Digest) -> Option<Arc<Unit>> {
        let script = self.scripts.get_mut(digest)?;
        self.clock += 1;
        script.last_run = self.clock;
        Some(Arc::clone(&script.unit))
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.scripts.contains_key(digest)
    }

    pub(super) fn source(&self, digest: &Digest) -> Option<&[u8]> {
        self.scripts.get(digest).map(|script| &*script.source)
    }

    /// Adds a script and returns how many made room for it. One that is there stays as it is, but
    /// for good if `evictable` is not set.
    pub(super) fn insert(
        &mut self,
        digest: Digest,
        unit: Arc<Unit>,
        source: &[u8],
        evictable: bool,
    ) -> usize {
        let evicted = if evictable { self.evict() } else { 0 };
        self.clock += 1;
        match self.scripts.entry(digest) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                if known.evictable && !evictable {
                    known.evictable = false;
                    self.evictable -= 1;
                }
            }
            Entry::Vacant(place) => {
                place.insert(Script {
                    unit,
                    source: source.into(),
                    last_run: self.clock,
                    evictable,
                });
                self.source_len += source.len();
                self.evictable += usize::from(evictable);
            }
        }
        evicted
    }

    fn evict(&mut self) -> usize {
        let mut count = 0;
        while self.evictable >= EVAL_SCRIPTS_MAX {
            let oldest = self.scripts.iter().filter(|(_, script)| script.evictable);
            let oldest =
                oldest.min_by_key(|(_, script)| script.last_run).map(|(digest, _)| *digest);
            let oldest = oldest.expect("as many as counted are there");
            let script = self.scripts.remove(&oldest).expect("it was found");
            self.source_len -= script.source.len();
            self.evictable -= 1;
            count += 1;
        }
        count
    }

    /// Makes the script stay, if it is there.
    pub(super) fn keep(&mut self, digest: &Digest) -> bool {
        let Some(script) = self.scripts.get_mut(digest) else { return false };
        if std::mem::take(&mut script.evictable) {
            self.evictable -= 1;
        }
        true
    }

    pub(super) fn clear(&mut self) {
        *self = Self { clock: self.clock, ..Self::default() };
    }

    pub(super) fn len(&self) -> usize {
        self.scripts.len()
    }

    /// Roughly the bytes of all, the compiled code aside.
    pub(super) fn bytes(&self) -> usize {
        self.source_len + self.scripts.len() * ENTRY_LEN
    }
}
