//! The filters of CLIENT LIST and CLIENT KILL: all given ones must hold.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::args::Args;
use super::client_line::flag_letters;
use super::context::Ctx;
use super::error::CmdError;
use crate::acl::User;
use crate::base::limits::ERROR_PREVIEW_MAX;
use crate::base::{bytes, number};
use crate::server::{ClientFlags, ClientHandle};

/// The letters that `flags=` may show, here or in Valkey.
const FLAG_LETTERS: &[u8] = b"OSMPxbtRBdcuAUreTIiEN";

/// One property a client must, or must not, have.
enum Property {
    Ids(Vec<u64>),
    /// Whether it listens to channels, which normal clients do not; replicas do not exist yet.
    Subscriber(Option<bool>),
    User(Arc<User>),
    Addr(Vec<u8>),
    LAddr(Vec<u8>),
    Ip(Vec<u8>),
    Name(Vec<u8>),
    LibName(Vec<u8>),
    LibVer(Vec<u8>),
    Flags(Vec<u8>),
    Db(usize),
    /// Each of these letters, of which there is one only: `r`, for CLIENT CAPA redirect.
    Capa(Vec<u8>),
    MaxAge(i64),
    Idle(i64),
}

/// A filter: properties with whether they are negated, by the word that gave them.
pub(super) struct ClientFilter {
    properties: Vec<(String, bool, Property)>,
    skip_me: bool,
}

impl ClientFilter {
    /// The one client at that address, the caller not excluded.
    pub(super) fn address(address: &[u8]) -> Self {
        let property = Property::Addr(address.to_vec());
        Self { properties: vec![("addr".to_owned(), false, property)], skip_me: false }
    }

    /// The filter of CLIENT LIST.
    pub(super) fn parse_list(ctx: &Ctx<'_>, args: &Args<'_>) -> Result<Self, CmdError> {
        let bad_id = |word: &[u8]| {
            // Redis reads ids to the end of the line.
            number::parse_i64(word).is_none().then_some(CmdError::InvalidClientId)
        };
        if args.is(2, "id") {
            let known = |word: &[u8]| word_is_filter(word);
            let bad = args.rest(3).take_while(|word| !known(word)).find_map(bad_id);
            if let Some(error) = bad {
                return Err(error);
            }
        }
        Self::parse(ctx, args, false)
    }

    /// The filter of CLIENT KILL.
    pub(super) fn parse_kill(ctx: &Ctx<'_>, args: &Args<'_>) -> Result<Self, CmdError> {
        Self::parse(ctx, args, true)
    }

    fn parse(ctx: &Ctx<'_>, args: &Args<'_>, kill: bool) -> Result<Self, CmdError> {
        let mut filter = Self { properties: Vec::new(), skip_me: kill };
        let mut at = 2;
        while at < args.len() {
            let word = bytes::lower(args.get(at));
            if word == "id" || word == "not-id" {
                let ids = read_ids(args, at + 1, kill)?;
                at += 1 + ids.len();
                filter.set(word, Property::Ids(ids));
                continue;
            }
            if at + 1 >= args.len() {
                return Err(CmdError::Syntax);
            }
            let value = args.get(at + 1);
            if word == "skipme" {
                filter.skip_me = match () {
                    () if bytes::is_word(value, "yes") => true,
                    () if bytes::is_word(value, "no") => false,
                    () => return Err(CmdError::Syntax),
                };
            } else {
                let property = property(ctx, &word, value)?;
                filter.set(word, property);
            }
            at += 2;
        }
        Ok(filter)
    }

    /// A filter given twice counts as it was given last, but ids accumulate.
    fn set(&mut self, word: String, property: Property) {
        let negated = word.starts_with("not-");
        if let Some((_, _, before)) = self.properties.iter_mut().find(|(w, ..)| *w == word) {
            match (before, property) {
                (Property::Ids(ids), Property::Ids(more)) => ids.extend(more),
                (before, property) => *before = property,
            }
        } else {
            self.properties.push((word, negated, property));
        }
    }

    /// Whether all filters hold for a client.
    pub(super) fn selects(&self, ctx: &Ctx<'_>, handle: &ClientHandle) -> bool {
        let is_skipped = self.skip_me && handle.id == ctx.client.handle.id;
        if is_skipped || handle.is_killed() {
            return false;
        }
        self.properties
            .iter()
            .all(|(_, negated, property)| holds(ctx, handle, property) != *negated)
    }
}

fn word_is_filter(word: &[u8]) -> bool {
    const NAMES: &[&str] = &[
        "id", "type", "user", "addr", "laddr", "skipme", "maxage", "idle", "name", "flags",
        "lib-name", "lib-ver", "db", "capa", "ip",
    ];
    let word = bytes::lower(word);
    NAMES.contains(&word.strip_prefix("not-").unwrap_or(&word))
}

/// The ids from `start` on: all that are numbers.
fn read_ids(args: &Args<'_>, start: usize, kill: bool) -> Result<Vec<u64>, CmdError> {
    let mut ids = Vec::new();
    for word in args.rest(start) {
        match number::parse_i64(word) {
            Some(id) if id > 0 || !kill => ids.push(id as u64),
            None if !ids.is_empty() => break,
            None if !kill => return Err(CmdError::InvalidClientId),
            _ => return Err(CmdError::ClientId),
        }
    }
    if ids.is_empty() { Err(CmdError::Syntax) } else { Ok(ids) }
}

fn property(ctx: &Ctx<'_>, word: &str, value: &[u8]) -> Result<Property, CmdError> {
    let (text, given) = (|| bytes::preview(value, ERROR_PREVIEW_MAX), || value.to_vec());
    let name = word.strip_prefix("not-").unwrap_or(word);
    let negated = name.len() < word.len();
    Ok(match name {
        "type" => match bytes::lower(value).as_str() {
            "normal" => Property::Subscriber(Some(false)),
            "pubsub" => Property::Subscriber(Some(true)),
            "master" | "primary" | "slave" | "replica" => Property::Subscriber(None),
            _ => return Err(CmdError::ClientType(text())),
        },
        "user" => {
            let user = ctx.server.acl.user(value);
            Property::User(user.ok_or_else(|| CmdError::NoSuchUser(text()))?)
        }
        "addr" => Property::Addr(given()),
        "laddr" => Property::LAddr(given()),
        "ip" => Property::Ip(given()),
        "name" => Property::Name(given()),
        "lib-name" => Property::LibName(given()),
        "lib-ver" => Property::LibVer(given()),
        "flags" => match value.iter().all(|letter| FLAG_LETTERS.contains(letter)) {
            true => Property::Flags(given()),
            false => {
                let place = if negated { "NOT-FLAGS filter" } else { "provided filter" };
                return Err(CmdError::ClientFlags { place, letters: text() });
            }
        },
        "db" => {
            let shown = if negated { "NOT-DB" } else { "DB" };
            let last = ctx.server.keyspace.databases() - 1;
            let db = number::parse_i64(value).and_then(|db| i32::try_from(db).ok());
            let db = usize::try_from(db.ok_or(CmdError::NotANumber(shown))?).ok();
            Property::Db(db.filter(|db| *db <= last).ok_or(CmdError::ClientDb(shown, last))?)
        }
        "capa" if value.iter().all(|letter| *letter == b'r') => Property::Capa(given()),
        "capa" => {
            let place = if negated { "NOT-CAPA filter" } else { "provided filter" };
            return Err(CmdError::ClientCapa { place, letters: text() });
        }
        "maxage" if !negated => Property::MaxAge(seconds(value, "maxage")?),
        "idle" if !negated => Property::Idle(seconds(value, "idle")?),
        _ => return Err(CmdError::Syntax),
    })
}

fn seconds(value: &[u8], name: &'static str) -> Result<i64, CmdError> {
    let seconds = number::parse_i64(value).ok_or(CmdError::NotANumber(name))?;
    if seconds > 0 { Ok(seconds) } else { Err(CmdError::ClientAge(name)) }
}

fn holds(ctx: &Ctx<'_>, handle: &ClientHandle, property: &Property) -> bool {
    let flags = || ClientFlags(handle.flags.load(Relaxed));
    let for_seconds = |since_ms: i64, seconds: i64| (ctx.now_ms - since_ms) / 1000 >= seconds;
    // What was never said is not the same as an empty name.
    let said = |own: &[u8], wanted: &[u8]| !own.is_empty() && own == wanted;
    match property {
        Property::Ids(ids) => ids.contains(&handle.id),
        Property::Subscriber(wanted) => *wanted == Some(handle.is_subscriber()),
        Property::User(user) => handle.user().is_some_and(|own| own.is(user)),
        Property::Addr(addr) => handle.peer.addr().as_bytes() == *addr,
        Property::LAddr(addr) => handle.peer.laddr().as_bytes() == *addr,
        Property::Ip(ip) => handle.peer.ip().is_some_and(|own| own.to_string().as_bytes() == *ip),
        Property::Name(name) => said(&handle.identity().name, name),
        Property::LibName(name) => said(&handle.identity().lib_name, name),
        Property::LibVer(version) => said(&handle.identity().lib_ver, version),
        Property::Flags(letters) => {
            let own = flag_letters(handle);
            letters.iter().all(|letter| own.as_bytes().contains(letter))
        }
        Property::Db(db) => handle.db.load(Relaxed) == *db,
        Property::Capa(letters) => letters.is_empty() || flags().has(ClientFlags::CAPA_REDIRECT),
        Property::MaxAge(seconds) => for_seconds(handle.created_at_ms, *seconds),
        Property::Idle(seconds) => for_seconds(handle.active_at_ms.load(Relaxed), *seconds),
    }
}
