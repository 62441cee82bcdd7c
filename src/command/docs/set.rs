//! Documentation of the set commands. Data only.

use super::{Arg, Docs};

const KEY: Arg = Arg::key("key", 0);
const MEMBER: Arg = Arg::string("member");
const NUMKEYS: Arg = Arg::integer("numkeys");
const LIMIT: Arg = Arg::integer("limit").token("LIMIT").optional();
const KEYS: &[Arg] = &[KEY.multiple()];
const STORE: &[Arg] = &[Arg::key("destination", 0), Arg::key("key", 1).multiple()];

const PER_MEMBER_OF_ALL: &str = "O(N), N being the number of members of all sets together.";
const PER_MEMBER_OF_SMALLEST: &str = "O(N*M) at worst, N being the size of the smallest of M sets.";

/// The set family, by name.
pub static DOCS: &[Docs] = &[
    set(
        "sadd",
        "1.0.0",
        "O(N), N being the number of members given.",
        "Adds members to a set, starting from an empty one if the key is absent.",
    )
    .history(&[("2.4.0", "Takes several `member` arguments.")])
    .args(&[KEY, MEMBER.multiple()]),
    set("scard", "1.0.0", "O(1)", "Counts the members of a set.").args(&[KEY]),
    set(
        "sdiff",
        "1.0.0",
        PER_MEMBER_OF_ALL,
        "Replies with the members of a set that are in none of the others.",
    )
    .args(KEYS),
    set(
        "sdiffcard",
        "8.10.0",
        PER_MEMBER_OF_ALL,
        "Counts the members of a set that are in none of the others.",
    )
    .args(&[NUMKEYS, KEY.multiple(), LIMIT]),
    set(
        "sdiffstore",
        "1.0.0",
        PER_MEMBER_OF_ALL,
        "Stores the members of a set that are in none of the others.",
    )
    .args(STORE),
    set("sinter", "1.0.0", PER_MEMBER_OF_SMALLEST, "Replies with the members that all sets share.")
        .args(KEYS),
    set("sintercard", "7.0.0", PER_MEMBER_OF_SMALLEST, "Counts the members that all sets share.")
        .args(&[NUMKEYS, KEY.multiple(), LIMIT]),
    set("sinterstore", "1.0.0", PER_MEMBER_OF_SMALLEST, "Stores the members that all sets share.")
        .args(STORE),
    set("sismember", "1.0.0", "O(1)", "Tells whether a set has a member.").args(&[KEY, MEMBER]),
    set(
        "smembers",
        "1.0.0",
        "O(N), N being the size of the set.",
        "Replies with all members of a set.",
    )
    .args(&[KEY]),
    set(
        "smismember",
        "6.2.0",
        "O(N), N being the number of members asked for.",
        "Tells for each of several members whether a set has it.",
    )
    .args(&[KEY, MEMBER.multiple()]),
    set("smove", "1.0.0", "O(1)", "Takes a member out of one set and adds it to another.").args(&[
        Arg::key("source", 0),
        Arg::key("destination", 1),
        MEMBER,
    ]),
    set(
        "spop",
        "1.0.0",
        "O(1) without a count, else O(N), N being the count.",
        "Takes random members out of a set and replies with them.",
    )
    .history(&[("3.2.0", "Takes a `count`.")])
    .args(&[KEY, Arg::integer("count").since("3.2.0").optional()]),
    set(
        "srandmember",
        "1.0.0",
        "O(1) without a count, else O(N), N being the count without its sign.",
        "Replies with random members of a set, which stay.",
    )
    .history(&[("2.6.0", "Takes a `count`.")])
    .args(&[KEY, Arg::integer("count").since("2.6.0").optional()]),
    set(
        "srem",
        "1.0.0",
        "O(N), N being the number of members given.",
        "Removes members from a set, and the key with the last one.",
    )
    .history(&[("2.4.0", "Takes several `member` arguments.")])
    .args(&[KEY, MEMBER.multiple()]),
    set(
        "sscan",
        "2.8.0",
        "O(1) a call, O(N) for a whole set of N members.",
        "Walks through the members of a set, some at a time.",
    )
    .args(&[
        KEY,
        Arg::integer("cursor"),
        Arg::pattern("pattern").token("MATCH").optional(),
        Arg::integer("count").token("COUNT").optional(),
    ]),
    set("sunion", "1.0.0", PER_MEMBER_OF_ALL, "Replies with the members that any of the sets has.")
        .args(KEYS),
    set("sunioncard", "8.10.0", PER_MEMBER_OF_ALL, "Counts the members that any of the sets has.")
        .args(&[NUMKEYS, KEY.multiple(), Arg::flag("approx", "APPROX").optional(), LIMIT]),
    set("sunionstore", "1.0.0", PER_MEMBER_OF_ALL, "Stores the members that any of the sets has.")
        .args(STORE),
];

const fn set(
    name: &'static str,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Docs {
    Docs::new(name, "set", since, complexity, summary)
}
