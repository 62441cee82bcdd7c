//! Documentation of the string commands. Data only.

use super::{Arg, Docs};

const KEY: Arg = Arg::key("key", 0);
const VALUE: Arg = Arg::string("value");
const SECONDS: Arg = Arg::integer("seconds").token("EX");
const MILLISECONDS: Arg = Arg::integer("milliseconds").token("PX");
const AT_SECONDS: Arg = Arg::unix_time("unix-time-seconds").token("EXAT");
const AT_MILLISECONDS: Arg = Arg::unix_time("unix-time-milliseconds").token("PXAT");
const PERSIST: Arg = Arg::flag("persist", "PERSIST");
const KEEPTTL: Arg = Arg::flag("keepttl", "KEEPTTL");
const NX: Arg = Arg::flag("nx", "NX");
const XX: Arg = Arg::flag("xx", "XX");
const IFEQ: Arg = Arg::string("ifeq-value").token("IFEQ");
const IFNE: Arg = Arg::string("ifne-value").token("IFNE");
const IFDEQ: Arg = Arg::string("ifdeq-digest").token("IFDEQ");
const IFDNE: Arg = Arg::string("ifdne-digest").token("IFDNE");
const PAIRS: Arg = Arg::block("data", &[KEY, VALUE]).multiple();
const RANGE: &[Arg] = &[KEY, Arg::integer("start"), Arg::integer("end")];

const PER_RETURNED_BYTE: &str =
    "O(N), N being the number of bytes returned; practically O(1) for short ranges.";
const PER_KEY_SET: &str = "O(N), N being the number of keys written.";

/// The string family, by name.
pub static DOCS: &[Docs] = &[
    string(
        "append",
        "2.0.0",
        "O(1), amortized over growing values.",
        "Extends a string at its end, starting from an empty one if the key is absent.",
    )
    .args(&[KEY, VALUE]),
    string(
        "decr",
        "1.0.0",
        "O(1)",
        "Subtracts one from an integer value; an absent key counts as 0.",
    )
    .args(&[KEY]),
    string(
        "decrby",
        "1.0.0",
        "O(1)",
        "Subtracts an amount from an integer value; an absent key counts as 0.",
    )
    .args(&[KEY, Arg::integer("decrement")]),
    string(
        "delex",
        "8.4.0",
        "O(1) for comparing values, O(N) for comparing digests, N being the value's length.",
        "Removes a key, optionally only if its value or its value's digest compares as asked.",
    )
    .args(&[KEY, Arg::one_of("condition", &[IFEQ, IFNE, IFDEQ, IFDNE]).optional()]),
    string("delifeq", "9.0.0", "O(1)", "Removes a key if it holds exactly the given string.")
        .args(&[KEY, VALUE]),
    string(
        "digest",
        "8.4.0",
        "O(N), N being the value's length.",
        "Hashes a string with 64-bit XXH3 and replies with the hash as 16 hexadecimal digits.",
    )
    .args(&[KEY]),
    string("get", "1.0.0", "O(1)", "Reads a string.").args(&[KEY]),
    string("getdel", "6.2.0", "O(1)", "Reads a string and removes its key.").args(&[KEY]),
    string("getex", "6.2.0", "O(1)", "Reads a string and sets or clears its time to live.").args(
        &[
            KEY,
            Arg::one_of(
                "expiration",
                &[SECONDS, MILLISECONDS, AT_SECONDS, AT_MILLISECONDS, PERSIST],
            )
            .optional(),
        ],
    ),
    string(
        "getrange",
        "2.4.0",
        PER_RETURNED_BYTE,
        "Reads the bytes of a string between two offsets.",
    )
    .args(RANGE),
    string("getset", "1.0.0", "O(1)", "Stores a string and replies with the one it replaces.")
        .deprecated("6.2.0", "`SET` with the `!GET` argument")
        .args(&[KEY, VALUE]),
    string("incr", "1.0.0", "O(1)", "Adds one to an integer value; an absent key counts as 0.")
        .args(&[KEY]),
    string(
        "incrby",
        "1.0.0",
        "O(1)",
        "Adds an amount to an integer value; an absent key counts as 0.",
    )
    .args(&[KEY, Arg::integer("increment")]),
    string(
        "incrbyfloat",
        "2.6.0",
        "O(1)",
        "Adds an amount to a floating-point value; an absent key counts as 0.",
    )
    .args(&[KEY, Arg::double("increment")]),
    string(
        "increx",
        "8.8.0",
        "O(1)",
        "Adds an amount to a number within bounds and sets when it expires; absent counts as 0.",
    )
    .args(&[
        KEY,
        Arg::one_of(
            "increment",
            &[Arg::double("float").token("BYFLOAT"), Arg::integer("integer").token("BYINT")],
        )
        .optional(),
        Arg::flag("saturate", "SATURATE").optional().summary(
            "Stops at the bound, or at the limit of the type, where the sum would pass it. \
                 Without it such a call changes nothing and replies with the present value and 0.",
        ),
        Arg::string("lowerbound")
            .token("LBOUND")
            .optional()
            .summary("Least value allowed, in the number format of the increment."),
        Arg::string("upperbound")
            .token("UBOUND")
            .optional()
            .summary("Greatest value allowed, in the number format of the increment."),
        Arg::one_of("expiration", &[SECONDS, MILLISECONDS, AT_SECONDS, AT_MILLISECONDS, PERSIST])
            .optional(),
        Arg::flag("enx", "ENX").optional().summary(
            "Leaves a time to live that is there alone. Goes with EX, PX, EXAT or PXAT only.",
        ),
    ]),
    string(
        "lcs",
        "7.0.0",
        "O(N*M), N and M being the lengths of the two strings.",
        "Computes the longest common subsequence of two strings.",
    )
    .args(&[
        Arg::key("key1", 0),
        Arg::key("key2", 0),
        Arg::flag("len", "LEN").optional(),
        Arg::flag("idx", "IDX").optional(),
        Arg::integer("min-match-len").token("MINMATCHLEN").optional(),
        Arg::flag("withmatchlen", "WITHMATCHLEN").optional(),
    ]),
    string(
        "mget",
        "1.0.0",
        "O(N), N being the number of keys read.",
        "Reads several strings at once.",
    )
    .args(&[KEY.multiple()]),
    string("mset", "1.0.1", PER_KEY_SET, "Stores several strings in one step.").args(&[PAIRS]),
    string(
        "msetex",
        "8.4.0",
        PER_KEY_SET,
        "Stores several strings in one step, under a common condition and time to live.",
    )
    .args(&[
        Arg::integer("numkeys"),
        PAIRS,
        Arg::one_of("condition", &[NX, XX]).optional(),
        Arg::one_of("expiration", &[SECONDS, MILLISECONDS, AT_SECONDS, AT_MILLISECONDS, KEEPTTL])
            .optional(),
    ]),
    string(
        "msetnx",
        "1.0.1",
        PER_KEY_SET,
        "Stores several strings in one step if none of the keys is taken.",
    )
    .args(&[PAIRS]),
    string("psetex", "2.6.0", "O(1)", "Stores a string with a time to live in milliseconds.")
        .deprecated("2.6.12", "`SET` with the `PX` argument")
        .args(&[KEY, Arg::integer("milliseconds"), VALUE]),
    string(
        "set",
        "1.0.0",
        "O(1)",
        "Stores a string, whatever the key held, on a condition and for a time if asked.",
    )
    .history(&[
        ("2.6.12", "`EX` and `PX` give a time to live, `NX` and `XX` a condition."),
        ("6.0.0", "`KEEPTTL` preserves the time to live."),
        ("6.2.0", "`EXAT` and `PXAT` give a deadline, `GET` returns the previous value."),
        ("7.0.0", "`GET` may accompany `NX`."),
        ("8.4.0", "`IFEQ`, `IFNE`, `IFDEQ`, `IFDNE` compare with the present value or its digest."),
    ])
    .args(&[
        KEY,
        VALUE,
        Arg::one_of(
            "condition",
            &[
                NX,
                XX,
                IFEQ.since("8.4.0"),
                IFNE.since("8.4.0"),
                IFDEQ.since("8.4.0"),
                IFDNE.since("8.4.0"),
            ],
        )
        .optional()
        .since("2.6.12"),
        Arg::flag("get", "GET").optional().since("6.2.0"),
        Arg::one_of(
            "expiration",
            &[
                SECONDS.since("2.6.12"),
                MILLISECONDS.since("2.6.12"),
                AT_SECONDS.since("6.2.0"),
                AT_MILLISECONDS.since("6.2.0"),
                KEEPTTL.since("6.0.0"),
            ],
        )
        .optional(),
    ]),
    string("setex", "2.0.0", "O(1)", "Stores a string with a time to live in seconds.")
        .deprecated("2.6.12", "`SET` with the `EX` argument")
        .args(&[KEY, Arg::integer("seconds"), VALUE]),
    string("setnx", "1.0.0", "O(1)", "Stores a string if the key is not taken.")
        .deprecated("2.6.12", "`SET` with the `NX` argument")
        .args(&[KEY, VALUE]),
    string(
        "setrange",
        "2.2.0",
        "O(1) for a short piece, O(M) for one of M bytes; growing the string is extra.",
        "Writes bytes into a string from an offset on, filling a gap with zero bytes.",
    )
    .args(&[KEY, Arg::integer("offset"), VALUE]),
    string("strlen", "2.2.0", "O(1)", "Counts the bytes of a string.").args(&[KEY]),
    string("substr", "1.0.0", PER_RETURNED_BYTE, "Old name of GETRANGE.")
        .deprecated("2.0.0", "`GETRANGE`")
        .args(RANGE),
];

const fn string(
    name: &'static str,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Docs {
    Docs::new(name, "string", since, complexity, summary)
}
