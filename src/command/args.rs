//! A request's arguments as handlers read them: the only place where bytes become numbers.

use std::ops::Index;
use std::sync::Arc;

use super::error::CmdError;
use crate::base::{bytes, number};
use crate::encoding::field::NewFieldValue;
use crate::keyspace::{Key, KeyHash, Keyspace};
use crate::resp::Argv;
use crate::value::NewStr;

/// The arguments of one request, with the hashes of its keys.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    argv: Argv<'a>,
    /// The command's keys, ascending by index.
    keys: &'a [KeyHash],
    keyspace: &'a Keyspace,
}

impl<'a> Args<'a> {
    /// The arguments `argv` whose keys have been hashed already.
    #[inline]
    pub fn new(argv: Argv<'a>, keys: &'a [KeyHash], keyspace: &'a Keyspace) -> Self {
        Self { argv, keys, keyspace }
    }

    /// The bare arguments.
    pub fn argv(&self) -> Argv<'a> {
        self.argv
    }

    /// How many arguments there are, names included.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a request has at least a name")]
    pub fn len(&self) -> usize {
        self.argv.len()
    }

    /// The argument at `index`, with the lifetime of the request.
    #[inline]
    pub fn get(&self, index: usize) -> &'a [u8] {
        self.argv.arg(index)
    }

    /// The key at `index`.
    #[inline]
    pub fn key(&self, index: usize) -> Key<'a> {
        match self.keys {
            [only] if only.index as usize == index => {
                Key { bytes: self.argv.arg(index), hash: only.hash }
            }
            _ => self.key_of_many(index),
        }
    }

    fn key_of_many(&self, index: usize) -> Key<'a> {
        let (bytes, keys) = (self.argv.arg(index), self.keys);
        let known = keys.binary_search_by_key(&(index as u32), |key| key.index);
        let hash = known.map_or_else(|_| self.keyspace.hash(bytes), |at| keys[at].hash);
        Key { bytes, hash }
    }

    /// A key that is not an argument as such.
    pub fn key_of<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        Key { bytes, hash: self.keyspace.hash(bytes) }
    }

    /// The argument at `index` as a string to be stored.
    #[inline]
    pub fn new_str(&self, index: usize) -> NewStr<'a> {
        NewStr::from_arg(self.argv.arg(index), self.argv.shared(index))
    }

    /// The argument at `index` as the value of a field.
    #[inline]
    pub fn field_value(&self, index: usize) -> NewFieldValue<'a> {
        match self.argv.shared(index) {
            Some(shared) => NewFieldValue::Shared(shared),
            None => NewFieldValue::Bytes(self.argv.arg(index)),
        }
    }

    /// The argument's own buffer, where it came in one.
    pub fn shared(&self, index: usize) -> Option<&'a Arc<Vec<u8>>> {
        self.argv.shared(index)
    }

    /// The argument at `index` as an integer.
    pub fn integer(&self, index: usize) -> Result<i64, CmdError> {
        number::parse_i64(self.get(index)).ok_or(CmdError::NotInteger)
    }

    /// The argument at `index` as a count that must not be negative; what is no number is told the
    /// same.
    pub fn count(&self, index: usize) -> Result<usize, CmdError> {
        let value = number::parse_i64(self.get(index)).and_then(|n| usize::try_from(n).ok());
        value.ok_or(CmdError::NotPositive)
    }

    /// Whether the argument at `index` is the word `lower`, in any case.
    pub fn is(&self, index: usize, lower: &str) -> bool {
        index < self.len() && bytes::is_word(self.get(index), lower)
    }

    /// A reader of the options from `index` on.
    pub fn options(&self, index: usize) -> Options<'a> {
        Options { args: *self, next: index }
    }

    /// The arguments from `index` on.
    pub fn rest(
        &self,
        index: usize,
    ) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + Clone + use<'a> {
        let argv = self.argv;
        (index..argv.len()).map(move |i| argv.arg(i))
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    fn index(&self, index: usize) -> &[u8] {
        self.argv.arg(index)
    }
}

/// Reads optional words and their values one after the other.
pub struct Options<'a> {
    args: Args<'a>,
    next: usize,
}

impl<'a> Options<'a> {
    /// The next word, or `None` at the end.
    pub fn word(&mut self) -> Option<&'a [u8]> {
        let word = (self.next < self.args.len()).then(|| self.args.get(self.next))?;
        self.next += 1;
        Some(word)
    }

    /// The index of the value that must follow the last word.
    pub fn value_index(&mut self) -> Result<usize, CmdError> {
        self.word().map(|_| self.next - 1).ok_or(CmdError::Syntax)
    }

    /// The value that must follow the last word.
    pub fn value(&mut self) -> Result<&'a [u8], CmdError> {
        self.word().ok_or(CmdError::Syntax)
    }

    /// The integer that must follow the last word.
    pub fn integer(&mut self) -> Result<i64, CmdError> {
        number::parse_i64(self.value()?).ok_or(CmdError::NotInteger)
    }

    /// How many arguments are left.
    pub fn left(&self) -> usize {
        self.args.len() - self.next
    }
}
