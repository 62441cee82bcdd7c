//! The directive table: every directive of Redis 7.0 to 8.0 and Valkey 9.1, and our own few.
//!
//! One flat array, put together at compile time from the groups in which people read it. The
//! position of a directive in `DIRECTIVES` is its index in `Config`. Rows live in `table/`, data
//! only; this file is what can be asked about them.
//!
//! Invariants, checked below: names and aliases are unique and in lower case, and each default is a
//! valid value of its own kind.

mod server;
mod subsystems;
mod words;

use super::directive::{Directive, Flags};
pub(super) use words::POLICY;

/// Directives that are read together.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// What they are about.
    pub title: &'static str,
    /// The directives.
    pub rows: &'static [Directive],
}

/// All groups, in the order of the generated configuration file.
pub static GROUPS: &[Group] = ALL;

/// All directives, group by group.
pub static DIRECTIVES: [Directive; COUNT] = flatten();

/// Names of directives that no longer do anything and are skipped in files, if they have a value.
pub(super) const DEPRECATED: &[&str] =
    &["list-max-ziplist-entries", "list-max-ziplist-value", "lua-replicate-commands"];

/// The index of the directive called `name` or aliased so, in any ASCII case, and its name or alias
/// as the table spells it.
pub fn find(name: &[u8]) -> Option<(usize, &'static str)> {
    DIRECTIVES.iter().enumerate().find_map(|(index, directive)| {
        let own = directive.names().find(|own| own.as_bytes().eq_ignore_ascii_case(name))?;
        Some((index, own))
    })
}

/// Whether values of the directive `name` are secrets that logs must not show.
pub fn is_sensitive(name: &[u8]) -> bool {
    find(name).is_some_and(|(index, _)| DIRECTIVES[index].is(Flags::SENSITIVE))
}

const ALL: &[Group] = &[
    Group { title: "Network", rows: server::NETWORK },
    Group { title: "HTTP", rows: server::HTTP },
    Group { title: "General", rows: server::GENERAL },
    Group { title: "Log", rows: server::LOGGING },
    Group { title: "Security", rows: server::SECURITY },
    Group { title: "Clients", rows: server::CLIENTS },
    Group { title: "Memory", rows: server::MEMORY },
    Group { title: "Encodings", rows: server::ENCODINGS },
    Group { title: "Observation", rows: server::OBSERVATION },
    Group { title: "Scripts", rows: subsystems::SCRIPTING },
    Group { title: "Snapshots", rows: subsystems::SNAPSHOTS },
    Group { title: "Append-only file", rows: subsystems::APPEND_ONLY },
    Group { title: "Replication", rows: subsystems::REPLICA },
    Group { title: "Cluster", rows: subsystems::CLUSTER },
    Group { title: "TLS", rows: subsystems::TLS },
];

const COUNT: usize = {
    let mut count = 0;
    let mut group = 0;
    while group < ALL.len() {
        count += ALL[group].rows.len();
        group += 1;
    }
    count
};

const fn flatten() -> [Directive; COUNT] {
    let mut all = [ALL[0].rows[0]; COUNT];
    let mut len = 0;
    let mut group = 0;
    while group < ALL.len() {
        let rows = ALL[group].rows;
        let mut row = 0;
        while row < rows.len() {
            all[len] = rows[row];
            len += 1;
            row += 1;
        }
        group += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Value;
    use std::collections::BTreeSet;

    #[test]
    fn names_and_aliases_are_unique_and_lower_case() {
        let mut seen = BTreeSet::new();
        for name in DIRECTIVES.iter().flat_map(Directive::names) {
            assert!(seen.insert(name), "{name} twice");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b"-_0123456789".contains(&b)));
        }
    }

    #[test]
    fn defaults_are_valid() {
        for directive in &DIRECTIVES {
            Value::default_of(directive);
        }
    }

    #[test]
    fn rows_are_documented_in_one_sentence_line() {
        for directive in &DIRECTIVES {
            let doc = directive.doc;
            assert!(doc.ends_with('.') && doc.len() <= 98 && !doc.contains('\n'), "{doc}");
        }
    }

    #[test]
    fn names_are_found_in_any_case_and_by_alias() {
        let (index, name) = find(b"SLAVE-Priority").expect("an alias");
        assert_eq!((DIRECTIVES[index].name, name), ("replica-priority", "slave-priority"));
        assert!(find(b"no-such-thing").is_none());
        assert!(is_sensitive(b"REQUIREPASS") && is_sensitive(b"primaryauth"));
        assert!(!is_sensitive(b"port"));
    }

    #[test]
    fn old_names_keep_working() {
        for name in [
            "slaveof",
            "slave-read-only",
            "masterauth",
            "masteruser",
            "hash-max-ziplist-entries",
            "zset-max-ziplist-value",
            "list-max-ziplist-size",
            "lua-time-limit",
            "slowlog-max-len",
            "min-slaves-to-write",
            "repl-ping-slave-period",
            "server_cpulist",
        ] {
            assert!(find(name.as_bytes()).is_some(), "{name}");
        }
    }
}
