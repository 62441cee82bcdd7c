//! Documentation of the commands around MULTI. Data only.

use super::{Arg, Docs};

/// The commands around MULTI, by name.
pub static DOCS: &[Docs] = &[
    transaction(
        "discard",
        "2.0.0",
        "O(N), N being the number of queued commands.",
        "Forgets what was queued since MULTI, and ends all watches.",
    ),
    transaction(
        "exec",
        "1.2.0",
        "That of the queued commands.",
        "Runs what was queued since MULTI in one step, unless a watched key changed.",
    ),
    transaction("multi", "1.2.0", "O(1)", "Queues the commands that follow, up to EXEC."),
    transaction("unwatch", "2.2.0", "O(1)", "Ends all watches of the connection."),
    transaction(
        "watch",
        "2.2.0",
        "O(N), N being the number of keys.",
        "Lets the next EXEC fail if one of the keys changes before it.",
    )
    .args(&[Arg::key("key", 0).multiple()]),
];

const fn transaction(
    name: &'static str,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Docs {
    Docs::new(name, "transactions", since, complexity, summary)
}
