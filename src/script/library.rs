//! The libraries of functions.
//!
//! Keeps: every function belongs to one library, and no two libraries have functions of the same
//! name, in any case of letters.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::error::ScriptError;
use super::unit::{ScriptFlags, Unit};

/// What a library or function is taken to cost beside its texts, in bytes.
const ENTRY_LEN: usize = 200;

/// What becomes of libraries that are there when others are restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestorePolicy {
    /// They stay; it fails if one of them is restored.
    #[default]
    Append,
    /// They stay but those that are restored.
    Replace,
    /// They go.
    Flush,
}

/// A library of functions.
pub struct Library {
    pub(super) name: String,
    pub(super) source: Vec<u8>,
    pub(super) functions: Vec<Function>,
}

/// A function of a library.
pub struct Function {
    pub(super) unit: Arc<Unit>,
    pub(super) description: Option<Vec<u8>>,
}

impl Library {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The source that it was loaded from.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// Its functions in the order in which they were registered.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }
}

impl Function {
    /// The name it is called by.
    pub fn name(&self) -> &str {
        &self.unit.name
    }

    /// What its author says of it.
    pub fn description(&self) -> Option<&[u8]> {
        self.description.as_deref()
    }

    /// What it declared.
    pub fn flags(&self) -> ScriptFlags {
        self.unit.flags
    }
}

/// A set of libraries.
#[derive(Default)]
pub(super) struct Libraries {
    libraries: BTreeMap<String, Library>,
    /// By name in lower case.
    functions: HashMap<Vec<u8>, Arc<Unit>>,
    bytes: usize,
}

impl Libraries {
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Library> {
        self.libraries.values()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.libraries.contains_key(name)
    }

    /// The function of that name, in any case of letters.
    pub(super) fn function(&self, name: &[u8]) -> Option<&Arc<Unit>> {
        self.functions.get(&name.to_ascii_lowercase())
    }

    pub(super) fn function_count(&self) -> usize {
        self.functions.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a library whose name is free; fails if one of its functions has a name that is taken.
    pub(super) fn add(&mut self, library: Library) -> Result<(), (Library, ScriptError)> {
        let taken = library.functions.iter().find(|function| {
            self.functions.contains_key(&function.name().as_bytes().to_ascii_lowercase())
        });
        if let Some(taken) = taken {
            let error = ScriptError::FunctionExists(taken.name().to_owned());
            return Err((library, error));
        }
        for function in &library.functions {
            let name = function.name().as_bytes().to_ascii_lowercase();
            self.functions.insert(name, Arc::clone(&function.unit));
        }
        self.bytes += bytes_of(&library);
        self.libraries.insert(library.name.clone(), library);
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Library> {
        let library = self.libraries.remove(name)?;
        for function in &library.functions {
            self.functions.remove(&function.name().as_bytes().to_ascii_lowercase());
        }
        self.bytes -= bytes_of(&library);
        Some(library)
    }

    /// Adds all of `others`, or changes nothing. Libraries of the same name are replaced if `replace`
    /// is set.
    pub(super) fn join(&mut self, others: Self, replace: bool) -> Result<(), ScriptError> {
        let known = others.libraries.keys().find(|name| self.contains(name));
        if let Some(name) = known.filter(|_| !replace) {
            return Err(ScriptError::RestoredLibraryExists(name.clone()));
        }
        let replaced: Vec<_> =
            others.libraries.keys().filter_map(|name| self.remove(name)).collect();
        let mut added = Vec::new();
        for (name, library) in others.libraries {
            if let Err((_, error)) = self.add(library) {
                added.iter().for_each(|name: &String| drop(self.remove(name)));
                for library in replaced {
                    assert!(self.add(library).is_ok(), "it was there before");
                }
                return Err(error);
            }
            added.push(name);
        }
        Ok(())
    }
}

fn bytes_of(library: &Library) -> usize {
    let texts = |function: &Function| {
        2 * function.name().len() + function.description().map_or(0, <[u8]>::len) + ENTRY_LEN
    };
    let functions: usize = library.functions.iter().map(texts).sum();
    library.name.len() + library.source.len() + functions + ENTRY_LEN
}
