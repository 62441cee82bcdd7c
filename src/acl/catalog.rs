//! The commands as rules name them: by number, name and category.

use std::collections::HashMap;

/// The categories, in the order in which ACL CAT lists them. Each is a bit of [`CatalogEntry::categories`].
pub const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// One command or subcommand.
#[derive(Clone, Debug)]
pub struct CatalogEntry {
    /// The full name, lower-case: `get`, `client|kill`. Renaming a command does not change it, so
    /// that rules mean the same on every server.
    pub name: String,
    /// A bit for each of [`CATEGORIES`].
    pub categories: u32,
    /// The numbers of its subcommands.
    pub subcommands: Vec<usize>,
    /// Whether it is a subcommand.
    pub is_subcommand: bool,
}

/// All commands by number.
#[derive(Debug, Default)]
pub struct Catalog {
    entries: Vec<CatalogEntry>,
    by_name: HashMap<String, usize>,
}

impl Catalog {
    /// The catalog of `entries`, whose places are their numbers.
    pub fn new(entries: Vec<CatalogEntry>) -> Self {
        let by_name = entries.iter().enumerate().map(|(id, e)| (e.name.clone(), id)).collect();
        Self { entries, by_name }
    }

    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no command.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The full name of a command.
    pub fn name(&self, id: usize) -> &str {
        &self.entries[id].name
    }

    /// The command of that full name, in any case.
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        let name = std::str::from_utf8(name).ok()?;
        self.by_name.get(&name.to_ascii_lowercase()).copied()
    }

    pub(super) fn entry(&self, id: usize) -> &CatalogEntry {
        &self.entries[id]
    }

    /// The bit of the category of that name, in any case.
    pub fn category(name: &[u8]) -> Option<u32> {
        let at = CATEGORIES.iter().position(|one| name.eq_ignore_ascii_case(one.as_bytes()))?;
        Some(1 << at)
    }

    /// The bits of the categories of those names, which must exist.
    pub fn bits<'n>(names: impl IntoIterator<Item = &'n str>) -> u32 {
        let bit = |name: &str| Self::category(name.as_bytes()).expect("a category of the list");
        names.into_iter().map(bit).fold(0, |all, bit| all | bit)
    }

    /// The numbers of the commands of a category.
    pub fn members(&self, category: u32) -> impl Iterator<Item = usize> {
        let has = move |entry: &CatalogEntry| entry.categories & category != 0;
        self.entries.iter().enumerate().filter(move |(_, entry)| has(entry)).map(|(id, _)| id)
    }
}
