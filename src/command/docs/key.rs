//! Documentation of the generic key commands. Data only.

use super::{Arg, Docs};

const KEY: Arg = Arg::key("key", 0);
const KEYS: &[Arg] = &[Arg::key("key", 0).multiple()];
const NEWKEY: Arg = Arg::key("newkey", 1);
const EXPIRE_IF: Arg = Arg::one_of(
    "condition",
    &[Arg::flag("nx", "NX"), Arg::flag("xx", "XX"), Arg::flag("gt", "GT"), Arg::flag("lt", "LT")],
)
.optional()
.since("7.0.0");

const EXPIRE_HISTORY: &[(&str, &str)] =
    &[("7.0.0", "`NX`, `XX`, `GT` and `LT` make it depend on the present time to live.")];
const TTL_HISTORY: &[(&str, &str)] = &[("2.8.0", "An absent key is answered by -2.")];

const TO_RESTORE: &[Arg] = &[
    KEY,
    Arg::integer("ttl"),
    Arg::string("serialized-value"),
    Arg::flag("replace", "REPLACE").since("3.0.0").optional(),
    Arg::flag("absttl", "ABSTTL").since("5.0.0").optional(),
    Arg::integer("seconds").token("IDLETIME").since("5.0.0").optional(),
    Arg::integer("frequency").token("FREQ").since("5.0.0").optional(),
];
const RESTORE_HISTORY: &[(&str, &str)] = &[
    ("3.0.0", "`REPLACE` overwrites a key that is there."),
    ("5.0.0", "`ABSTTL` takes a deadline in place of a time to live."),
    ("5.0.0", "`IDLETIME` and `FREQ` say how the key was used."),
];
const PER_PAYLOAD: &str =
    "O(N*M), N being the number of elements and M their size; O(N*M*log(N)) for a sorted set.";

const SORT_BY: Arg =
    Arg::pattern("by-pattern").token("BY").display("pattern").key_spec(1).optional();
const SORT_LIMIT: Arg =
    Arg::block("limit", &[Arg::integer("offset"), Arg::integer("count")]).token("LIMIT").optional();
const SORT_GET: Arg = Arg::pattern("get-pattern")
    .token("GET")
    .display("pattern")
    .key_spec(1)
    .optional()
    .multiple_token();
const SORT_ORDER: Arg =
    Arg::one_of("order", &[Arg::flag("asc", "ASC"), Arg::flag("desc", "DESC")]).optional();
const SORT_ALPHA: Arg = Arg::flag("sorting", "ALPHA").optional();
const PER_SORTED: &str =
    "O(N+M*log(M)), N being all elements and M those replied; O(N) where the order stays.";

/// The generic family, by name.
pub static DOCS: &[Docs] = &[
    key(
        "copy",
        "6.2.0",
        "O(1) for a string, O(N) for a collection of N elements.",
        "Duplicates the value and the time to live of a key under another key.",
    )
    .args(&[
        Arg::key("source", 0),
        Arg::key("destination", 1),
        Arg::integer("destination-db").token("DB").optional(),
        Arg::flag("replace", "REPLACE").optional(),
    ]),
    key(
        "del",
        "1.0.0",
        "O(N), N being the number of keys plus the elements of the collections among them.",
        "Removes keys together with their values.",
    )
    .args(KEYS),
    key(
        "dump",
        "2.6.0",
        "O(N*M), N being the number of elements and M their size.",
        "Puts a value into bytes that RESTORE makes a key of.",
    )
    .args(&[KEY]),
    key(
        "exists",
        "1.0.0",
        "O(N), N being the number of keys asked for.",
        "Counts how many of the keys are present.",
    )
    .history(&[("3.0.3", "Several keys may be asked for.")])
    .args(KEYS),
    key("expire", "1.0.0", "O(1)", "Lets a key expire after a number of seconds.")
        .history(EXPIRE_HISTORY)
        .args(&[KEY, Arg::integer("seconds"), EXPIRE_IF]),
    key("expireat", "1.2.0", "O(1)", "Gives a key a deadline in Unix seconds.")
        .history(EXPIRE_HISTORY)
        .args(&[KEY, Arg::unix_time("unix-time-seconds"), EXPIRE_IF]),
    key("expiretime", "7.0.0", "O(1)", "Tells a key's deadline in Unix seconds.").args(&[KEY]),
    key(
        "keys",
        "1.0.0",
        "O(N), N being the number of keys in the database.",
        "Lists the keys that match a glob pattern.",
    )
    .args(&[Arg::pattern("pattern")]),
    key(
        "migrate",
        "2.6.0",
        "That of DUMP and DEL here and of RESTORE there, and O(N) for N bytes on their way.",
        "Moves keys to another server, each of them at one instant.",
    )
    .history(&[
        ("3.0.0", "`COPY` leaves the keys here, `REPLACE` overwrites those there."),
        ("3.0.6", "`KEYS` moves several keys."),
        ("4.0.7", "`AUTH` gives the password of the other server."),
        ("6.0.0", "`AUTH2` gives a user's name and password."),
    ])
    .args(&[
        Arg::string("host"),
        Arg::integer("port"),
        Arg::one_of("key-selector", &[Arg::key("key", 0), Arg::flag("empty-string", "")]),
        Arg::integer("destination-db"),
        Arg::integer("timeout"),
        Arg::flag("copy", "COPY").since("3.0.0").optional(),
        Arg::flag("replace", "REPLACE").since("3.0.0").optional(),
        Arg::one_of(
            "authentication",
            &[
                Arg::string("auth").token("AUTH").display("password").since("4.0.7"),
                Arg::block("auth2", &[Arg::string("username"), Arg::string("password")])
                    .token("AUTH2")
                    .since("6.0.0"),
            ],
        )
        .optional(),
        Arg::key("keys", 1).token("KEYS").display("key").since("3.0.6").optional().multiple(),
    ]),
    key("move", "1.0.0", "O(1)", "Takes a key out of this database and puts it into another.")
        .args(&[KEY, Arg::integer("db")]),
    key(
        "object",
        "2.2.3",
        "Depends on subcommand.",
        "Groups the commands that look behind a value.",
    ),
    key("object|encoding", "2.2.3", "O(1)", "Names the representation a value has in memory.")
        .args(&[KEY]),
    key(
        "object|freq",
        "4.0.0",
        "O(1)",
        "Tells the access counter that LFU eviction keeps for a key.",
    )
    .args(&[KEY]),
    key("object|help", "6.2.0", "O(1)", "Lists the OBJECT subcommands."),
    key(
        "object|idletime",
        "2.2.3",
        "O(1)",
        "Tells for how many seconds a key has not been accessed.",
    )
    .args(&[KEY]),
    key("object|refcount", "2.2.3", "O(1)", "Tells how many references there are to a value.")
        .args(&[KEY]),
    key("persist", "2.2.0", "O(1)", "Takes the time to live off a key.").args(&[KEY]),
    key("pexpire", "2.6.0", "O(1)", "Lets a key expire after a number of milliseconds.")
        .history(EXPIRE_HISTORY)
        .args(&[KEY, Arg::integer("milliseconds"), EXPIRE_IF]),
    key("pexpireat", "2.6.0", "O(1)", "Gives a key a deadline in Unix milliseconds.")
        .history(EXPIRE_HISTORY)
        .args(&[KEY, Arg::unix_time("unix-time-milliseconds"), EXPIRE_IF]),
    key("pexpiretime", "7.0.0", "O(1)", "Tells a key's deadline in Unix milliseconds.")
        .args(&[KEY]),
    key("pttl", "2.6.0", "O(1)", "Tells how many milliseconds a key has left.")
        .history(TTL_HISTORY)
        .args(&[KEY]),
    key("randomkey", "1.0.0", "O(1)", "Picks one of the database's keys at random."),
    key("rename", "1.0.0", "O(1)", "Moves a value to another key, replacing what is there.")
        .args(&[KEY, NEWKEY]),
    key("renamenx", "1.0.0", "O(1)", "Moves a value to another key unless that key is taken.")
        .history(&[("3.2.0", "Renaming a key to itself is no error any more.")])
        .args(&[KEY, NEWKEY]),
    key("restore", "2.6.0", PER_PAYLOAD, "Makes a key of what DUMP replied.")
        .history(RESTORE_HISTORY)
        .args(TO_RESTORE),
    Docs::new(
        "restore-asking",
        "server",
        "3.0.0",
        PER_PAYLOAD,
        "RESTORE for keys that move from node to node of a cluster.",
    )
    .history(RESTORE_HISTORY)
    .args(TO_RESTORE)
    .syscmd(),
    key(
        "scan",
        "2.8.0",
        "O(1) per call, O(N) for a whole iteration over N keys.",
        "Walks through the keys of the database, some at a time.",
    )
    .history(&[("6.0.0", "`TYPE` filters by the type of the value.")])
    .args(&[
        Arg::integer("cursor"),
        Arg::pattern("pattern").token("MATCH").optional(),
        Arg::integer("count").token("COUNT").optional(),
        Arg::string("type").token("TYPE").optional().since("6.0.0"),
    ]),
    key(
        "sort",
        "1.0.0",
        PER_SORTED,
        "Sorts a list, set or sorted set, by itself or by other keys, and stores it if asked.",
    )
    .args(&[
        KEY,
        SORT_BY,
        SORT_LIMIT,
        SORT_GET,
        SORT_ORDER,
        SORT_ALPHA,
        Arg::key("destination", 2).token("STORE").optional(),
    ]),
    key(
        "sort_ro",
        "7.0.0",
        PER_SORTED,
        "Sorts a list, set or sorted set, by itself or by other keys.",
    )
    .args(&[KEY, SORT_BY, SORT_LIMIT, SORT_GET, SORT_ORDER, SORT_ALPHA]),
    key(
        "touch",
        "3.2.1",
        "O(N), N being the number of keys named.",
        "Marks keys as just accessed and counts those present.",
    )
    .args(KEYS),
    key("ttl", "1.0.0", "O(1)", "Tells how many seconds a key has left.")
        .history(TTL_HISTORY)
        .args(&[KEY]),
    key("type", "1.0.0", "O(1)", "Names the type of a key's value.").args(&[KEY]),
    key(
        "unlink",
        "4.0.0",
        "O(1) per key; memory is reclaimed in the background, in O(N) for N allocations.",
        "Removes keys at once and frees their values in the background.",
    )
    .args(KEYS),
];

const fn key(
    name: &'static str,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Docs {
    Docs::new(name, "generic", since, complexity, summary)
}
