//! The fieldsets of one connection: lists of field names that HIMPORT fills with values.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::limits::FIELDSETS_BYTES_MAX;

/// What a fieldset and each of its names take besides their bytes.
const OVERHEAD: usize = 64;

/// Field names, each with the number of its value in the order in which the client sends values.
pub type Fieldset = Arc<[(Box<[u8]>, u32)]>;

/// The fieldsets that a client prepared, by name. `bytes` never exceeds [`FIELDSETS_BYTES_MAX`].
#[derive(Default)]
pub struct Fieldsets {
    sets: HashMap<Box<[u8]>, Fieldset>,
    bytes: usize,
}

impl Fieldsets {
    /// Keeps `fieldset` under `name`, in the place of an older one; `false` when that would take too
    /// much memory.
    pub fn prepare(&mut self, name: &[u8], fieldset: Fieldset) -> bool {
        let freed = self.sets.get(name).map_or(0, |old| size_of_set(name, old));
        let bytes = self.bytes - freed + size_of_set(name, &fieldset);
        if bytes > FIELDSETS_BYTES_MAX {
            return false;
        }
        self.bytes = bytes;
        self.sets.insert(name.into(), fieldset);
        true
    }

    /// The fieldset called `name`.
    pub fn get(&self, name: &[u8]) -> Option<Fieldset> {
        self.sets.get(name).cloned()
    }

    /// Forgets the fieldset called `name`; `false` when there is none.
    pub fn discard(&mut self, name: &[u8]) -> bool {
        let Some(old) = self.sets.remove(name) else { return false };
        self.bytes -= size_of_set(name, &old);
        true
    }

    /// Forgets all; returns how many there were.
    pub fn discard_all(&mut self) -> usize {
        std::mem::take(self).sets.len()
    }
}

fn size_of_set(name: &[u8], fieldset: &Fieldset) -> usize {
    let names: usize = fieldset.iter().map(|(field, _)| field.len() + OVERHEAD).sum();
    name.len() + OVERHEAD + names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_given_back() {
        let mut sets = Fieldsets::default();
        let large = |len: usize| Fieldset::from([(vec![b'f'; len].into_boxed_slice(), 0)]);
        assert!(sets.prepare(b"a", large(FIELDSETS_BYTES_MAX / 2)));
        assert!(!sets.prepare(b"b", large(FIELDSETS_BYTES_MAX / 2)));
        assert!(sets.prepare(b"a", large(FIELDSETS_BYTES_MAX / 2)));
        assert!(sets.discard(b"a") && !sets.discard(b"a"));
        assert_eq!(sets.bytes, 0);
        assert!(sets.prepare(b"b", large(5)));
        assert_eq!((sets.discard_all(), sets.discard_all(), sets.bytes), (1, 0, 0));
    }
}
