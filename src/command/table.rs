//! All commands by name: the families' rows, numbered, under the names the configuration gives them.

use super::error::CmdError;
use super::spec::Command;
use super::{
    acl, bitmap, client, config, connection, debug, dump, expire, function, geo, geo_search, hash,
    hash_ex, hash_expire, hash_import, hash_walk, hotkeys, hyperloglog, introspect, key, latency,
    list, list_blocking, list_move, memory, migrate, monitor, persistence, pubsub, scan, scripting,
    server, set, set_algebra, slowlog, sort, stream, string, string_numbers, string_ranges,
    transaction, zset,
};
use crate::acl::{Catalog, CatalogEntry};
use crate::base::bytes;
use crate::base::limits::ERROR_PREVIEW_MAX;
use crate::resp::Argv;

/// The rows of all families.
static FAMILIES: &[&[Command]] = &[
    string::COMMANDS,
    string_numbers::COMMANDS,
    string_ranges::COMMANDS,
    list::COMMANDS,
    list_move::COMMANDS,
    list_blocking::COMMANDS,
    bitmap::COMMANDS,
    set::COMMANDS,
    set_algebra::COMMANDS,
    hyperloglog::COMMANDS,
    hash::COMMANDS,
    hash_walk::COMMANDS,
    hash_expire::COMMANDS,
    hash_ex::COMMANDS,
    hash_import::COMMANDS,
    zset::COMMANDS,
    zset::range::COMMANDS,
    zset::store::COMMANDS,
    zset::combine::COMMANDS,
    zset::draw::COMMANDS,
    zset::blocking::COMMANDS,
    geo::COMMANDS,
    geo_search::COMMANDS,
    stream::COMMANDS,
    stream::range::COMMANDS,
    stream::read::COMMANDS,
    stream::group::COMMANDS,
    stream::claim::COMMANDS,
    stream::delete::COMMANDS,
    stream::info::COMMANDS,
    stream::config::COMMANDS,
    key::COMMANDS,
    dump::COMMANDS,
    migrate::COMMANDS,
    sort::COMMANDS,
    expire::COMMANDS,
    scan::COMMANDS,
    connection::COMMANDS,
    transaction::COMMANDS,
    client::COMMANDS,
    server::COMMANDS,
    persistence::COMMANDS,
    config::COMMANDS,
    introspect::COMMANDS,
    memory::COMMANDS,
    slowlog::COMMANDS,
    latency::COMMANDS,
    hotkeys::COMMANDS,
    monitor::COMMANDS,
    scripting::COMMANDS,
    function::COMMANDS,
    pubsub::COMMANDS,
    debug::COMMANDS,
    acl::COMMANDS,
];

/// Slots of the name index per command; sparse, so that most probes hit at once.
const SLOTS_PER_COMMAND: usize = 8;

/// A slot of the name index.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// The first eight bytes of the name, lower-case.
    name: u64,
    /// The bit of lower case in each byte of `name` that is a letter.
    letters: u64,
    /// Length of the name; 0 in an empty slot.
    len: u16,
    /// Index of the command.
    index: u16,
}

/// A command under its name in this server.
pub struct Registered {
    /// The row.
    pub command: &'static Command,
    /// Dense number of the command or subcommand, for arrays of statistics.
    pub id: usize,
    /// The full name: `get`, `client|kill`.
    pub name: String,
    /// The subcommands.
    pub subcommands: Vec<Self>,
}

/// All commands of this server.
pub struct CommandTable {
    commands: Vec<Registered>,
    /// By hash of the name.
    slots: Vec<Slot>,
    /// By id: the index of the command and, of a subcommand, its own plus one.
    places: Vec<(u16, u16)>,
    len: usize,
}

impl CommandTable {
    /// The table under the `rename-command` directives `renames` (old name, new name or empty).
    ///
    /// Returns the old name of a directive that names no command, or the new name of one that names
    /// a command that exists.
    pub fn new(renames: &[(String, String)]) -> Result<Self, String> {
        let mut len = 0;
        let mut commands: Vec<Registered> = FAMILIES
            .iter()
            .flat_map(|family| family.iter())
            .map(|command| register(command, None, &mut len))
            .collect();
        for (old, new) in renames {
            let old = old.to_ascii_lowercase();
            let at = commands.iter().position(|c| c.name == old).ok_or_else(|| old.clone())?;
            let new = new.to_ascii_lowercase();
            // Several may have no name any more.
            if !new.is_empty() && commands.iter().any(|c| c.name == new) {
                return Err(new);
            }
            commands[at].name = new;
        }
        commands.retain(|c| !c.name.is_empty());
        let mut table = Self { commands, slots: Vec::new(), places: Vec::new(), len };
        table.index();
        Ok(table)
    }

    /// The commands as access rules see them: by number, under the names that they always have.
    pub fn catalog() -> Catalog {
        let mut entries = Vec::new();
        for command in FAMILIES.iter().flat_map(|family| family.iter()) {
            let subcommands = entries.len() + 1..entries.len() + 1 + command.subcommands.len();
            entries.push(catalog_entry(command, command.name.to_owned(), subcommands.collect()));
            for sub in command.subcommands {
                let name = format!("{}|{}", command.name, sub.name);
                entries.push(CatalogEntry {
                    is_subcommand: true,
                    ..catalog_entry(sub, name, Vec::new())
                });
            }
        }
        Catalog::new(entries)
    }

    fn index(&mut self) {
        let size = (self.commands.len() * SLOTS_PER_COMMAND).next_power_of_two();
        self.slots = vec![Slot::default(); size];
        for (index, registered) in self.commands.iter().enumerate() {
            let name = packed(registered.name.as_bytes());
            let letter = |byte: u8| if byte.is_ascii_alphabetic() { 0x20 } else { 0 };
            let letters = u64::from_le_bytes(name.to_le_bytes().map(letter));
            let mut slot = name_hash(name) & (size - 1);
            while self.slots[slot].len != 0 {
                slot = (slot + 1) & (size - 1);
            }
            let len = registered.name.len() as u16;
            self.slots[slot] = Slot { name, letters, len, index: index as u16 };
        }
        // An emptied name leaves a gap, which nobody asks for.
        self.places = vec![(u16::MAX, 0); self.len];
        for (index, registered) in self.commands.iter().enumerate() {
            self.places[registered.id] = (index as u16, 0);
            for (at, sub) in registered.subcommands.iter().enumerate() {
                self.places[sub.id] = (index as u16, at as u16 + 1);
            }
        }
    }

    /// All commands in table order.
    pub fn iter(&self) -> impl Iterator<Item = &Registered> {
        self.commands.iter()
    }

    /// How many commands and subcommands there are: one above the highest id.
    pub fn ids(&self) -> usize {
        self.len
    }

    /// How many commands there are, subcommands not counted.
    pub fn count(&self) -> usize {
        self.commands.len()
    }

    /// The command or subcommand of that id.
    pub fn by_id(&self, id: usize) -> Option<&Registered> {
        let (index, sub) = *self.places.get(id)?;
        let registered = self.commands.get(index as usize)?;
        match sub {
            0 => Some(registered),
            sub => registered.subcommands.get(sub as usize - 1),
        }
    }

    /// The full names of all commands and subcommands by id.
    pub fn names_by_id(&self) -> Vec<String> {
        let mut names = vec![String::new(); self.len];
        for registered in &self.commands {
            names[registered.id].clone_from(&registered.name);
            for sub in &registered.subcommands {
                names[sub.id].clone_from(&sub.name);
            }
        }
        names
    }

    /// The full name of a row.
    pub fn full_name(&self, command: &'static Command) -> Option<String> {
        let all = self.commands.iter().flat_map(|c| std::iter::once(c).chain(&c.subcommands));
        all.into_iter().find(|c| std::ptr::eq(c.command, command)).map(|c| c.name.clone())
    }

    /// The command of that name, in any case.
    #[inline(always)]
    pub fn get(&self, name: &[u8]) -> Option<&Registered> {
        let mask = self.slots.len() - 1;
        let wanted = packed(name);
        let mut at = name_hash(wanted) & mask;
        loop {
            let slot = self.slots[at];
            if slot.len == 0 {
                return None;
            }
            // Outside letters the bit of lower case makes a difference.
            let same = (slot.name ^ wanted) & !slot.letters == 0;
            if same && usize::from(slot.len) == name.len() {
                let registered = &self.commands[usize::from(slot.index)];
                if name.len() <= 8 || registered.name.as_bytes().eq_ignore_ascii_case(name) {
                    return Some(registered);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// The command or subcommand of a request; a container without subcommand is itself.
    #[inline(always)]
    pub fn resolve(&self, argv: Argv<'_>) -> Result<&Registered, CmdError> {
        let Some(registered) = self.get(argv.arg(0)) else { return Err(unknown(argv)) };
        if registered.subcommands.is_empty() || argv.len() < 2 {
            return Ok(registered);
        }
        registered.subcommand(argv.arg(1)).ok_or_else(|| CmdError::UnknownSubcommand {
            subcommand: bytes::preview(argv.arg(1), ERROR_PREVIEW_MAX),
            container: registered.name.to_ascii_uppercase(),
        })
    }

    /// The command or subcommand of that full name (`get`, `client|kill`), in any case.
    pub fn by_full_name(&self, name: &[u8]) -> Option<&Registered> {
        let mut parts = name.splitn(2, |b| *b == b'|');
        let registered = self.get(parts.next()?)?;
        match parts.next() {
            Some(subcommand) => registered.subcommand(subcommand),
            None => Some(registered),
        }
    }
}

impl Registered {
    /// The subcommand of that name, in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&Self> {
        self.subcommands.iter().find(|sub| sub.command.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

fn catalog_entry(command: &Command, name: String, subcommands: Vec<usize>) -> CatalogEntry {
    let categories = Catalog::bits(command.categories());
    CatalogEntry { name, categories, subcommands, is_subcommand: false }
}

fn register(command: &'static Command, container: Option<&str>, len: &mut usize) -> Registered {
    let id = *len;
    *len += 1;
    let name = match container {
        Some(container) => format!("{container}|{}", command.name),
        None => command.name.to_owned(),
    };
    let subcommands =
        command.subcommands.iter().map(|sub| register(sub, Some(command.name), len)).collect();
    Registered { command, id, name, subcommands }
}

/// The first eight bytes of a name, zeros behind it.
///
/// Loads words that overlap rather than copying bytes into a word, which the processor would have to
/// wait for.
#[inline]
fn packed(name: &[u8]) -> u64 {
    if let Some(eight) = name.first_chunk() {
        return u64::from_le_bytes(*eight);
    }
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        let high = u64::from(u32::from_le_bytes(*last)) << (8 * (name.len() - 4));
        return u64::from(u32::from_le_bytes(*first)) | high;
    }
    name.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Equal for names that differ in case only. Any mixing will do: the names are known and few.
#[inline]
fn name_hash(packed: u64) -> usize {
    const LOWER: u64 = 0x2020_2020_2020_2020;
    ((packed | LOWER).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize
}

#[cold]
fn unknown(argv: Argv<'_>) -> CmdError {
    let mut args = Vec::new();
    for arg in argv.iter().skip(1) {
        if args.len() >= ERROR_PREVIEW_MAX {
            break;
        }
        let shown = bytes::one_line(arg, ERROR_PREVIEW_MAX - args.len());
        args.extend([b"'", &shown[..], b"' "].concat());
    }
    let name = bytes::preview(argv.arg(0), ERROR_PREVIEW_MAX);
    CmdError::UnknownCommand { name, args: bytes::text(&args) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::docs;
    use super::super::spec::{FindKeys, Flags, Locks};
    use super::*;

    fn all() -> Vec<(String, &'static Command)> {
        let mut all = Vec::new();
        for command in FAMILIES.iter().flat_map(|family| family.iter()) {
            all.push((command.name.to_owned(), command));
            for sub in command.subcommands {
                all.push((format!("{}|{}", command.name, sub.name), sub));
            }
        }
        all
    }

    #[test]
    fn names_are_unique_and_lower_case() {
        let mut seen = HashSet::new();
        for (name, _) in all() {
            assert!(!name.bytes().any(|b| b.is_ascii_uppercase()), "{name}");
            assert!(seen.insert(name.clone()), "{name} stands twice");
        }
    }

    #[test]
    fn several_commands_may_be_taken_away() {
        let renames = [("flushall", ""), ("FLUSHDB", ""), ("get", "fetch")];
        let renames = renames.map(|(old, new)| (old.to_owned(), new.to_owned()));
        let table = CommandTable::new(&renames).expect("no name is taken");
        let knows = |name: &str| table.commands.iter().any(|command| command.name == name);
        assert_eq!(["flushall", "flushdb", "get", "fetch"].map(knows), [false, false, false, true]);
        let taken = ("get".to_owned(), "SET".to_owned());
        assert_eq!(CommandTable::new(&[taken]).err(), Some("set".to_owned()));
    }

    #[test]
    fn arity_covers_every_fixed_key() {
        for (name, command) in all() {
            for spec in command.keys {
                let first = match spec.find {
                    // A range up to the end may be empty, as PFMERGE's sources.
                    FindKeys::Range { first, last, .. } => first - usize::from(last < 0),
                    FindKeys::Count { count_at, .. } => count_at,
                    FindKeys::Channels { .. }
                    | FindKeys::After { .. }
                    | FindKeys::Rest { .. }
                    | FindKeys::Half { .. }
                    | FindKeys::Unknown => continue,
                };
                assert!(command.arity.unsigned_abs() as usize > first, "{name}");
            }
        }
    }

    #[test]
    fn writes_name_their_keys_or_lock_everything() {
        for (name, command) in all() {
            let (write, read) =
                (command.flags.has(Flags::WRITE), command.flags.has(Flags::READONLY));
            assert!(!(write && read), "{name}");
            if write {
                let locks = [Locks::All, Locks::Script];
                assert!(!command.keys.is_empty() || locks.contains(&command.locks), "{name}");
            }
        }
    }

    #[test]
    fn every_command_is_documented_and_every_document_has_its_command() {
        let names: HashSet<String> = all().into_iter().map(|(name, _)| name).collect();
        for (name, command) in all() {
            let docs = docs::find(&name).unwrap_or_else(|| panic!("{name} has no docs row"));
            assert_eq!(docs.group, command.group.name(), "{name}");
        }
        for docs in docs::all() {
            assert!(names.contains(docs.name), "{} is documented only", docs.name);
        }
    }

    #[test]
    fn the_catalog_has_the_same_numbers() {
        let (table, catalog) =
            (CommandTable::new(&[]).expect("no renames"), CommandTable::catalog());
        assert_eq!(table.ids(), catalog.len());
        for (id, name) in table.names_by_id().iter().enumerate() {
            assert_eq!(catalog.name(id), name);
        }
    }

    #[test]
    fn names_are_found_in_any_case_and_under_new_names() {
        let rename = |old: &str, new: &str| (old.to_owned(), new.to_owned());
        let table = CommandTable::new(&[rename("GET", "fetch"), rename("set", "")]).expect("valid");
        assert!(table.get(b"FeTcH").is_some_and(|r| r.command.name == "get"));
        assert!(table.get(b"get").is_none() && table.get(b"set").is_none());
        assert!(table.by_full_name(b"client|KILL").is_some());
        assert!(CommandTable::new(&[rename("nosuch", "x")]).is_err());
    }
}
