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

const GROUP: Arg = Arg::string("group");
const CONSUMER: Arg = Arg::string("consumer");
const MIN_IDLE: Arg = Arg::string("min-idle-time");
const JUSTID: Arg = Arg::flag("justid", "JUSTID").optional();
const FORCE: Arg = Arg::flag("force", "FORCE").optional();
const REFERENCES: Arg = Arg::one_of(
    "condition",
    &[Arg::flag("keepref", "KEEPREF"), Arg::flag("delref", "DELREF"), Arg::flag("acked", "ACKED")],
)
.optional();
const IDS: Arg = Arg::block("ids", &[Arg::integer("numids"), ID.multiple()]).token("IDS");
const IDMP: Arg = Arg::one_of(
    "idmp",
    &[
        Arg::string("producer-id").token("IDMPAUTO"),
        Arg::block("idmp", &[Arg::string("producer-id"), Arg::string("idempotent-id")])
            .token("IDMP"),
    ],
)
.since("8.6.0")
.optional();
const GROUP_ID: Arg = Arg::one_of("id-selector", &[ID, Arg::flag("new-id", "$")]);
const ENTRIES_READ: Arg =
    Arg::integer("entriesread").token("ENTRIESREAD").since("7.0.0").optional();
const MAXCOUNT: Arg = Arg::integer("maxcount").token("MAXCOUNT").since("8.10.0").optional();
const MAXSIZE: Arg = Arg::integer("maxsize").token("MAXSIZE").since("8.10.0").optional();
const BLOCK: Arg = Arg::integer("milliseconds").token("BLOCK").optional();
const STREAMS: Arg = Arg::block("streams", &[KEY.multiple(), ID.multiple()]).token("STREAMS");

const PER_ENTRY: &str = "O(1) for each entry.";
const PER_RETURNED: &str = "O(N), N being the entries returned.";
const PER_TRIMMED: &str = "O(N), N being the entries removed.";

/// The stream family, by name.
pub static DOCS: &[Docs] = &[
    stream("xack", "5.0.0", PER_ENTRY, "Acknowledges entries that a group got.")
        .args(&[KEY, GROUP, ID.multiple()]),
    stream("xackdel", "8.2.0", PER_ENTRY, "Acknowledges entries that a group got and deletes them.")
        .args(&[KEY, GROUP, REFERENCES, IDS]),
    stream(
        "xadd",
        "5.0.0",
        "O(1) to add, O(N) to trim, N being the entries removed.",
        "Adds an entry to a stream, which is made if there is none.",
    )
    .history(&[
        ("6.2.0", "`NOMKSTREAM`, `MINID` and `LIMIT` were added."),
        ("7.0.0", "An id may leave its number open: `<ms>-*`."),
        ("8.2.0", "`KEEPREF`, `DELREF` and `ACKED` were added."),
        ("8.6.0", "`IDMP` and `IDMPAUTO` were added."),
    ])
    .args(&[
        KEY,
        Arg::flag("nomkstream", "NOMKSTREAM").since("6.2.0").optional(),
        REFERENCES.since("8.2.0"),
        IDMP,
        TRIM.optional(),
        NEW_ID,
        DATA,
    ]),
    stream(
        "xautoclaim",
        "6.2.0",
        "O(1) for a small COUNT.",
        "Gives a consumer entries that others got and have not acknowledged for some time.",
    )
    .history(&[("7.0.0", "Entries that are gone from the stream are not pending any more, and named.")])
    .args(&[KEY, GROUP, CONSUMER, MIN_IDLE, Arg::string("start"), COUNT, JUSTID]),
    stream(
        "xcfgset",
        "8.6.0",
        "O(1)",
        "Sets how long and how many ids of producers a stream remembers.",
    )
    .args(&[
        KEY,
        Arg::integer("idmp-duration").token("IDMP-DURATION").optional(),
        Arg::integer("idmp-maxsize").token("IDMP-MAXSIZE").optional(),
    ]),
    stream(
        "xclaim",
        "5.0.0",
        "O(log N) for each entry, N being those that are pending in the group.",
        "Gives a consumer entries that others got and have not acknowledged.",
    )
    .args(&[
        KEY,
        GROUP,
        CONSUMER,
        MIN_IDLE,
        ID.multiple(),
        Arg::integer("ms").token("IDLE").optional(),
        Arg::unix_time("unix-time-milliseconds").token("TIME").optional(),
        Arg::integer("count").token("RETRYCOUNT").optional(),
        FORCE,
        JUSTID,
        Arg::string("lastid").token("LASTID").optional(),
    ]),
    stream("xdel", "5.0.0", PER_ENTRY, "Removes entries and returns how many there were.")
        .args(&[KEY, ID.multiple()]),
    stream("xdelex", "8.2.0", PER_ENTRY, "Deletes entries with regard to what groups refer to.")
        .args(&[KEY, REFERENCES, IDS]),
    stream("xgroup", "5.0.0", "Depends on the subcommand.", "Commands on consumer groups."),
    stream("xgroup|create", "5.0.0", "O(1)", "Makes a consumer group.")
        .history(&[("7.0.0", "`ENTRIESREAD` was added.")])
        .args(&[
            KEY,
            GROUP,
            GROUP_ID,
            Arg::flag("mkstream", "MKSTREAM").optional(),
            ENTRIES_READ,
        ]),
    stream("xgroup|createconsumer", "6.2.0", "O(1)", "Makes a consumer of a group.")
        .args(&[KEY, GROUP, CONSUMER]),
    stream("xgroup|delconsumer", "5.0.0", "O(1)", "Removes a consumer with all that it has pending.")
        .args(&[KEY, GROUP, CONSUMER]),
    stream(
        "xgroup|destroy",
        "5.0.0",
        "O(N), N being what is pending in the group.",
        "Removes a consumer group.",
    )
    .args(&[KEY, GROUP]),
    stream("xgroup|help", "5.0.0", "O(1)", "Explains the subcommands."),
    stream("xgroup|setid", "5.0.0", "O(1)", "Sets the last id that a group got.")
        .history(&[("7.0.0", "`ENTRIESREAD` was added.")])
        .args(&[KEY, GROUP, GROUP_ID, ENTRIES_READ]),
    stream(
        "xidmprecord",
        "8.6.2",
        "O(1)",
        "Notes that an entry stands for an idempotent id of a producer.",
    )
    .syscmd()
    .args(&[KEY, Arg::string("pid"), Arg::string("iid"), Arg::string("stream-id")]),
    stream("xinfo", "5.0.0", "Depends on the subcommand.", "Commands that tell about streams."),
    stream("xinfo|consumers", "5.0.0", "O(1)", "Lists the consumers of a group.")
        .history(&[("7.2.0", "`inactive` was added.")])
        .args(&[KEY, GROUP]),
    stream("xinfo|groups", "5.0.0", "O(1)", "Lists the consumer groups of a stream.")
        .history(&[("7.0.0", "`entries-read` and `lag` were added.")])
        .args(&[KEY]),
    stream("xinfo|help", "5.0.0", "O(1)", "Explains the subcommands."),
    stream("xinfo|stream", "5.0.0", "O(1)", "Tells about a stream, with FULL about all in it.")
        .history(&[
            ("6.0.0", "`FULL` was added."),
            ("7.0.0", "What a stream remembers of deleted entries was added."),
            ("7.2.0", "`active-time` was added, and `seen-time` means what it says."),
        ])
        .args(&[
            KEY,
            Arg::block("full-block", &[Arg::flag("full", "FULL"), COUNT]).optional(),
        ]),
    stream("xlen", "5.0.0", "O(1)", "Returns how many entries a stream has.").args(&[KEY]),
    stream(
        "xnack",
        "8.8.0",
        PER_ENTRY,
        "Gives entries back to their group, so that other consumers may claim them at once.",
    )
    .args(&[
        KEY,
        GROUP,
        Arg::one_of(
            "mode",
            &[
                Arg::flag("silent", "SILENT"),
                Arg::flag("fail", "FAIL"),
                Arg::flag("fatal", "FATAL"),
            ],
        ),
        IDS,
        Arg::integer("count").token("RETRYCOUNT").optional(),
        FORCE,
    ]),
    stream(
        "xpending",
        "5.0.0",
        "O(N), N being the entries returned.",
        "Tells what a group got and has not acknowledged.",
    )
    .history(&[("6.2.0", "`IDLE`, and `(` before an id, were added.")])
    .args(&[
        KEY,
        GROUP,
        Arg::block(
            "filters",
            &[
                Arg::integer("min-idle-time").token("IDLE").since("6.2.0").optional(),
                Arg::string("start"),
                Arg::string("end"),
                Arg::integer("count"),
                Arg::string("consumer").optional(),
            ],
        )
        .optional(),
    ]),
    stream("xrange", "5.0.0", PER_RETURNED, "Returns the entries from one id to another.")
        .history(&[("6.2.0", "A `(` before an id leaves it out.")])
        .args(&[KEY, Arg::string("start"), Arg::string("end"), COUNT]),
    stream(
        "xread",
        "5.0.0",
        PER_RETURNED,
        "Returns what comes after an id of each stream, and waits for it if there is nothing.",
    )
    .history(&[("8.10.0", "`MAXCOUNT` and `MAXSIZE` were added.")])
    .args(&[COUNT, MAXCOUNT, MAXSIZE, BLOCK, STREAMS]),
    stream(
        "xreadgroup",
        "5.0.0",
        PER_RETURNED,
        "Returns what a group did not get yet, or what a consumer has pending; waits if there is nothing.",
    )
    .history(&[
        ("8.4.0", "`CLAIM` was added."),
        ("8.10.0", "`MAXCOUNT` and `MAXSIZE` were added."),
    ])
    .args(&[
        Arg::block("group-block", &[GROUP, CONSUMER]).token("GROUP"),
        COUNT,
        MAXCOUNT,
        MAXSIZE,
        BLOCK,
        Arg::integer("min-idle-time").token("CLAIM").since("8.4.0").optional(),
        Arg::flag("noack", "NOACK").optional(),
        STREAMS,
    ]),
    stream(
        "xrevrange",
        "5.0.0",
        PER_RETURNED,
        "Returns the entries from one id back to another, the newest first.",
    )
    .history(&[("6.2.0", "A `(` before an id leaves it out.")])
    .args(&[KEY, Arg::string("end"), Arg::string("start"), COUNT]),
    stream("xsetid", "5.0.0", "O(1)", "Sets what a stream remembers of its past.")
        .history(&[("7.0.0", "`ENTRIESADDED` and `MAXDELETEDID` were added.")])
        .args(&[
            KEY,
            Arg::string("last-id"),
            Arg::integer("entries-added").token("ENTRIESADDED").since("7.0.0").optional(),
            Arg::string("max-deleted-id").token("MAXDELETEDID").since("7.0.0").optional(),
        ]),
    stream("xtrim", "5.0.0", PER_TRIMMED, "Removes the oldest entries of a stream.")
        .history(&[
            ("6.2.0", "`MINID` and `LIMIT` were added."),
            ("8.2.0", "`KEEPREF`, `DELREF` and `ACKED` were added."),
        ])
        .args(&[KEY, TRIM, REFERENCES.since("8.2.0")]),
];

const fn stream(
    name: &'static str,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Docs {
    Docs::new(name, "stream", since, complexity, summary)
}
