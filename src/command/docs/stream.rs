//! Documentation of the stream commands. Data only.

use super::{Arg, Docs};

const KEY: Arg = Arg::key("key", 0);
const ID: Arg = Arg::string("id");
const COUNT: Arg = Arg::integer("count").token("COUNT").optional();
const TRIM_OPERATOR: Arg =
    Arg::one_of("operator", &[Arg::flag("equal", "="), Arg::flag("approximately", "~")]).optional();
const TRIM_STRATEGY: Arg = Arg::one_of(
    "strategy",
    &[Arg::flag("maxlen", "MAXLEN"), Arg::flag("minid", "MINID").since("6.2.0")],
);
const TRIM: Arg = Arg::block(
    "trim",
    &[
        TRIM_STRATEGY,
        TRIM_OPERATOR,
        Arg::string("threshold"),
        Arg::integer("count").token("LIMIT").since("6.2.0").optional(),
    ],
);
const NEW_ID: Arg = Arg::one_of("id-selector", &[Arg::flag("auto-id", "*"), ID]);
const DATA: Arg = Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple();

const PER_ENTRY: &str = "O(1) for each entry.";
const PER_RETURNED: &str = "O(N), N being the entries returned.";
const PER_TRIMMED: &str = "O(N), N being the entries removed.";

/// The stream family, by name.
pub static DOCS: &[Docs] = &[
    stream(
        "xadd",
        "5.0.0",
        "O(1) to add, O(N) to trim, N being the entries removed.",
        "Adds an entry to a stream, which is made if there is none.",
    )
    .history(&[
        ("6.2.0", "`NOMKSTREAM`, `MINID` and `LIMIT` were added."),
        ("7.0.0", "An id may leave its number open: `<ms>-*`."),
    ])
    .args(&[
        KEY,
        Arg::flag("nomkstream", "NOMKSTREAM").since("6.2.0").optional(),
        TRIM.optional(),
        NEW_ID,
        DATA,
    ]),
    stream("xdel", "5.0.0", PER_ENTRY, "Removes entries and returns how many there were.")
        .args(&[KEY, ID.multiple()]),
    stream("xlen", "5.0.0", "O(1)", "Returns how many entries a stream has.").args(&[KEY]),
    stream("xrange", "5.0.0", PER_RETURNED, "Returns the entries from one id to another.")
        .history(&[("6.2.0", "A `(` before an id leaves it out.")])
        .args(&[KEY, Arg::string("start"), Arg::string("end"), COUNT]),
    stream(
        "xrevrange",
        "5.0.0",
        PER_RETURNED,
        "Returns the entries from one id back to another, the newest first.",
    )
    .history(&[("6.2.0", "A `(` before an id leaves it out.")])
    .args(&[KEY, Arg::string("end"), Arg::string("start"), COUNT]),
    stream("xtrim", "5.0.0", PER_TRIMMED, "Removes the oldest entries of a stream.")
        .history(&[("6.2.0", "`MINID` and `LIMIT` were added.")])
        .args(&[KEY, TRIM]),
];

const fn stream(
    name: &'static str,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Docs {
    Docs::new(name, "stream", since, complexity, summary)
}
