//! What the console asks for once in a while: INFO as JSON, clients.
//!
//! Never a value of a key; names of keys and clients as text, whatever bytes they are.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Map, Value, json};

use super::{health, sample};
use crate::base::limits::{CONSOLE_CLIENTS_MAX, CONSOLE_NAME_MAX, CONSOLE_SLOW_MAX};
use crate::base::{clock, quote};
use crate::command::{CommandTable, first_key};
use crate::observe::command_log::{LogEntry, LogKind};
use crate::server::{ClientHandle, Server};

/// A key's name as text: as it is if that is possible, or else escaped as redis-cli does.
pub(super) fn shown_key(key: &[u8]) -> String {
    let (cut, rest) = key.split_at(key.len().min(CONSOLE_NAME_MAX));
    let mut text = match std::str::from_utf8(cut) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => quote::quoted(cut),
    };
    if !rest.is_empty() {
        text.push('\u{2026}');
    }
    text
}

/// All sections of INFO, with the time and what keeps clients from working.
pub(super) fn info(server: &Server, text: &str) -> Value {
    let mut all = Map::new();
    for (title, fields) in sample::sections(text) {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
        all.insert(title.to_owned(), Value::Object(fields.collect()));
    }
    let trouble = health::trouble(server);
    json!({
        "time_ms": clock::now_ms(),
        "status": trouble.as_ref().map_or("ok", |trouble| trouble.status),
        "why": trouble.map(|trouble| trouble.why),
        "sections": all,
    })
}

/// The clients that take most memory.
pub(super) fn clients(server: &Server, commands: &[String]) -> Value {
    let mut all = server.clients.all();
    let total = all.len();
    all.sort_by_cached_key(|client| (std::cmp::Reverse(memory(client)), client.id));
    all.truncate(CONSOLE_CLIENTS_MAX);
    let now_ms = server.now_ms();
    let shown: Vec<_> = all.iter().map(|handle| client(handle, commands, now_ms)).collect();
    json!({ "total": total, "clients": shown })
}

fn memory(client: &ClientHandle) -> usize {
    client.query_len.load(Relaxed) + client.output_len() + size_of::<ClientHandle>()
}

fn client(handle: &Arc<ClientHandle>, commands: &[String], now_ms: i64) -> Value {
    let identity = handle.identity();
    let last = handle.last_command.load(Relaxed).checked_sub(1);
    let seconds = |at_ms: i64| (now_ms - at_ms).max(0) / 1000;
    json!({
        "id": handle.id,
        "addr": handle.peer.addr(),
        "name": shown_key(&identity.name),
        "user": handle.user_name(),
        "library": shown_key(&identity.lib_name),
        "command": last.and_then(|id| commands.get(id as usize)),
        "db": handle.db.load(Relaxed),
        "age_s": seconds(handle.created_at_ms),
        "idle_s": seconds(handle.active_at_ms.load(Relaxed)),
        "memory": memory(handle),
        "commands": handle.commands.load(Relaxed),
        "net_in": handle.net_input.load(Relaxed),
        "net_out": handle.net_output.load(Relaxed),
    })
}

/// The newest entries of the slow log, with their keys, but with no other argument.
pub(super) fn slow_log(server: &Server, commands: &CommandTable) -> Value {
    let entry = |entry: &Arc<LogEntry>| {
        let args: Vec<&[u8]> = entry.args.iter().map(AsRef::as_ref).collect();
        let command = args.first().and_then(|name| commands.get(name)).map(|found| found.command);
        let key = command.and_then(first_key).and_then(|at| args.get(at));
        json!({
            "id": entry.id,
            "at_s": entry.at_s,
            "us": entry.value,
            "command": shown_key(args.first().copied().unwrap_or_default()),
            "key": key.map(|key| shown_key(key)),
            "arguments": args.len(),
            "addr": &*entry.peer,
            "name": shown_key(&entry.name),
        })
    };
    let newest = server.command_log.newest(LogKind::Slow, CONSOLE_SLOW_MAX);
    let shown: Vec<_> = newest.iter().map(entry).collect();
    json!({ "total": server.command_log.len(LogKind::Slow), "entries": shown })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_whatever_they_are() {
        assert_eq!(shown_key("k\u{e4}se".as_bytes()), "k\u{e4}se");
        assert_eq!(shown_key(b"<script>"), "<script>");
        assert_eq!(shown_key(b"a\nb"), "\"a\\nb\"");
        assert_eq!(shown_key(b"\xff"), "\"\\xff\"");
        assert!(shown_key(&b"x".repeat(10_000)).len() <= CONSOLE_NAME_MAX + 3);
    }
}
