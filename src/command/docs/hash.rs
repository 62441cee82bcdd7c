//! Documentation of the hash commands. Data only.

use super::{Arg, Docs};

const KEY: Arg = Arg::key("key", 0);
const FIELD: Arg = Arg::string("field");
const VALUE: Arg = Arg::string("value");
const NUMFIELDS: Arg = Arg::integer("numfields");
const FIELDS: Arg = Arg::block("fields", &[NUMFIELDS, FIELD.multiple()]).token("FIELDS");
const DATA: Arg = Arg::block("data", &[FIELD, VALUE]).multiple();
const SECONDS: Arg = Arg::integer("seconds");
const MILLISECONDS: Arg = Arg::integer("milliseconds");
const AT_SECONDS: Arg = Arg::unix_time("unix-time-seconds");
const AT_MILLISECONDS: Arg = Arg::unix_time("unix-time-milliseconds");
const EX: Arg = SECONDS.token("EX");
const PX: Arg = MILLISECONDS.token("PX");
const EXAT: Arg = AT_SECONDS.token("EXAT");
const PXAT: Arg = AT_MILLISECONDS.token("PXAT");
const WHEN: Arg = Arg::one_of(
    "condition",
    &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX"), Arg::flag("gt", "GT"), Arg::flag("lt", "LT")],
)
.optional();

const PER_FIELD: &str = "O(N), N being the number of fields named.";
const PER_SIZE: &str = "O(N), N being the number of fields of the hash.";

/// The hash family, by name.
pub static DOCS: &[Docs] = &[
    hash("hdel", "2.0.0", PER_FIELD, "Removes fields of a hash, and the hash with its last one.")
        .history(&[("2.4.0", "Takes several fields.")])
        .args(&[KEY, FIELD.multiple()]),
    hash("hexists", "2.0.0", "O(1)", "Tells whether a hash has a field.").args(&[KEY, FIELD]),
    hash("hexpire", "7.4.0", PER_FIELD, "Gives fields a time to live in seconds.")
        .args(&[KEY, SECONDS, WHEN, FIELDS]),
    hash("hexpireat", "7.4.0", PER_FIELD, "Gives fields a deadline in Unix seconds.")
        .args(&[KEY, AT_SECONDS, WHEN, FIELDS]),
    hash("hexpiretime", "7.4.0", PER_FIELD, "Reads the deadlines of fields in Unix seconds.")
        .args(&[KEY, FIELDS]),
    hash("hget", "2.0.0", "O(1)", "Reads the value of a field.").args(&[KEY, FIELD]),
    hash("hgetall", "2.0.0", PER_SIZE, "Reads all fields of a hash with their values.")
        .args(&[KEY]),
    hash("hgetdel", "8.0.0", PER_FIELD, "Reads the values of fields and removes the fields.")
        .args(&[KEY, FIELDS]),
    hash(
        "hgetex",
        "8.0.0",
        PER_FIELD,
        "Reads the values of fields and sets or clears their times to live.",
    )
    .args(&[
        KEY,
        Arg::one_of("expiration", &[EX, PX, EXAT, PXAT, Arg::flag("persist", "PERSIST")])
            .optional(),
        FIELDS,
    ]),
    hash(
        "himport",
        "8.10.0",
        "Depends on the subcommand.",
        "Container of the commands that store many hashes with the same fields.",
    ),
    hash(
        "himport|discard",
        "8.10.0",
        "O(N), N being the number of fields of the fieldset.",
        "Forgets a fieldset of the connection.",
    )
    .args(&[Arg::string("fieldset-name")]),
    hash(
        "himport|discardall",
        "8.10.0",
        "O(N), N being the number of fieldsets of the connection.",
        "Forgets all fieldsets of the connection.",
    ),
    hash(
        "himport|prepare",
        "8.10.0",
        "O(N*log(N)), N being the number of fields.",
        "Names a list of fields for use on the same connection.",
    )
    .args(&[Arg::string("fieldset-name"), FIELD.multiple()]),
    hash(
        "himport|set",
        "8.10.0",
        "O(N), N being the number of fields of the fieldset.",
        "Stores a hash of the fields of a fieldset with the given values.",
    )
    .args(&[KEY, Arg::string("fieldset-name"), VALUE.multiple()]),
    hash("hincrby", "2.0.0", "O(1)", "Adds an integer to a field; an absent one counts as 0.")
        .args(&[KEY, FIELD, Arg::integer("increment")]),
    hash(
        "hincrbyfloat",
        "2.6.0",
        "O(1)",
        "Adds a floating-point number to a field; an absent one counts as 0.",
    )
    .args(&[KEY, FIELD, Arg::double("increment")]),
    hash("hkeys", "2.0.0", PER_SIZE, "Reads the names of all fields of a hash.").args(&[KEY]),
    hash("hlen", "2.0.0", "O(1)", "Counts the fields of a hash.").args(&[KEY]),
    hash("hmget", "2.0.0", PER_FIELD, "Reads the values of several fields.")
        .args(&[KEY, FIELD.multiple()]),
    hash("hmset", "2.0.0", PER_FIELD, "Sets several fields of a hash.")
        .deprecated("4.0.0", "`HSET` with multiple field-value pairs")
        .args(&[KEY, DATA]),
    hash("hpersist", "7.4.0", PER_FIELD, "Takes the deadlines of fields away.")
        .args(&[KEY, FIELDS]),
    hash("hpexpire", "7.4.0", PER_FIELD, "Gives fields a time to live in milliseconds.").args(&[
        KEY,
        MILLISECONDS,
        WHEN,
        FIELDS,
    ]),
    hash("hpexpireat", "7.4.0", PER_FIELD, "Gives fields a deadline in Unix milliseconds.")
        .args(&[KEY, AT_MILLISECONDS, WHEN, FIELDS]),
    hash("hpexpiretime", "7.4.0", PER_FIELD, "Reads the deadlines of fields in Unix milliseconds.")
        .args(&[KEY, FIELDS]),
    hash("hpttl", "7.4.0", PER_FIELD, "Reads how long fields have to live, in milliseconds.")
        .args(&[KEY, FIELDS]),
    hash(
        "hrandfield",
        "6.2.0",
        "O(N), N being the number of fields returned.",
        "Chooses fields of a hash by chance.",
    )
    .args(&[
        KEY,
        Arg::block(
            "options",
            &[Arg::integer("count"), Arg::flag("withvalues", "WITHVALUES").optional()],
        )
        .optional(),
    ]),
    hash(
        "hscan",
        "2.8.0",
        "O(1) a call, O(N) for a complete iteration, N being the number of fields.",
        "Walks over the fields of a hash, some at a time.",
    )
    .args(&[
        KEY,
        Arg::integer("cursor"),
        Arg::pattern("pattern").token("MATCH").optional(),
        Arg::integer("count").token("COUNT").optional(),
        Arg::flag("novalues", "NOVALUES").optional(),
    ]),
    hash("hset", "2.0.0", PER_FIELD, "Sets fields of a hash.")
        .history(&[("4.0.0", "Takes several fields with their values.")])
        .args(&[KEY, DATA]),
    hash(
        "hsetex",
        "8.0.0",
        PER_FIELD,
        "Sets fields of a hash, on conditions and with a time to live.",
    )
    .args(&[
        KEY,
        Arg::one_of("key-condition", &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX")]).optional(),
        Arg::one_of("condition", &[Arg::flag("fnx", "FNX"), Arg::flag("fxx", "FXX")]).optional(),
        Arg::one_of("expiration", &[EX, PX, EXAT, PXAT, Arg::flag("keepttl", "KEEPTTL")])
            .optional(),
        Arg::block("fields", &[NUMFIELDS, DATA]).token("FIELDS"),
    ]),
    hash("hsetnx", "2.0.0", "O(1)", "Sets a field of a hash unless it is there.")
        .args(&[KEY, FIELD, VALUE]),
    hash("hstrlen", "3.2.0", "O(1)", "Counts the bytes of a field's value.").args(&[KEY, FIELD]),
    hash("httl", "7.4.0", PER_FIELD, "Reads how long fields have to live, in seconds.")
        .args(&[KEY, FIELDS]),
    hash("hvals", "2.0.0", PER_SIZE, "Reads the values of all fields of a hash.").args(&[KEY]),
];

const fn hash(
    name: &'static str,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Docs {
    Docs::new(name, "hash", since, complexity, summary)
}
