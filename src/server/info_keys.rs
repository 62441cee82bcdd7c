//! The sections of INFO about single keys, and about how large values are.

use std::fmt::Write;

use super::Server;
use crate::base::{clock, quote};
use crate::observe::census::{SHOWN, class_label};

/// Keys that a section shows.
const KEYS_SHOWN: usize = 16;

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory does not fail");
    out.push_str("\r\n");
}

fn quoted(key: &[u8]) -> String {
    let mut text = Vec::new();
    quote::escape(key, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// How many values are how large, by database and type, as of the last walk through the keyspace.
pub(super) fn keysizes(server: &Server, out: &mut String) {
    let census = server.censuses.last();
    for (db, part) in census.databases.iter().enumerate() {
        for (type_of, name) in SHOWN {
            let Some(sizes) = part.sizes(type_of) else { continue };
            let classes = sizes.iter().enumerate().filter(|(_, count)| **count > 0);
            let shown: Vec<String> =
                classes.map(|(class, count)| format!("{}={count}", class_label(class))).collect();
            line(out, format_args!("db{db}_distrib_{name}:{}", shown.join(",")));
        }
    }
}

/// The keys that most requests were for lately.
pub(super) fn hotkeys(server: &Server, out: &mut String) {
    let keys = server.hot_keys.hottest(KEYS_SHOWN, clock::now_ms());
    for (number, key) in keys.iter().enumerate() {
        line(
            out,
            format_args!(
                "hot_key_{number}:db={},share={:.2}%,samples={},error={},key={}",
                key.db,
                key.share * 100.0,
                key.weight,
                key.error,
                quoted(&key.key)
            ),
        );
    }
}

/// The largest values, as of the last walk through the keyspace.
pub(super) fn bigkeys(server: &Server, out: &mut String) {
    let census = server.censuses.last();
    line(out, format_args!("big_keys_seen:{}", census.keys));
    line(out, format_args!("big_keys_at_ms:{}", census.at_ms));
    for (number, key) in census.largest(None, KEYS_SHOWN).iter().enumerate() {
        line(
            out,
            format_args!(
                "big_key_{number}:db={},type={},len={},memory={},key={}",
                key.db,
                key.type_of.name(),
                key.len,
                key.memory,
                quoted(&key.key)
            ),
        );
    }
}
