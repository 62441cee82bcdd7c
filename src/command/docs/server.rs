//! Documentation of the server commands, with COMMAND, CONFIG, MEMORY and FUNCTION. Data only.

use super::{Arg, Docs};

const SYNC: Arg = Arg::flag("sync", "SYNC");
const ASYNC: Arg = Arg::flag("async", "ASYNC");
const FLUSH_TYPE: &[Arg] =
    &[Arg::one_of("flush-type", &[ASYNC.since("4.0.0"), SYNC.since("6.2.0")]).optional()];
const FLUSH_HISTORY: &[(&str, &str)] = &[
    ("4.0.0", "`ASYNC` frees the memory in the background."),
    ("6.2.0", "`SYNC` frees it before the reply, whatever the configuration says."),
];
const COMMAND_NAMES: &[Arg] = &[Arg::string("command-name").optional().multiple()];
const COMMAND_LINE: &[Arg] = &[Arg::string("command"), Arg::string("arg").optional().multiple()];

const LOG_TYPE: Arg = Arg::one_of(
    "type",
    &[
        Arg::flag("slow", "SLOW"),
        Arg::flag("large-request", "LARGE-REQUEST"),
        Arg::flag("large-reply", "LARGE-REPLY"),
    ],
);

const USERNAME: Arg = Arg::string("username");

const PER_USER: &str = "O(N), N being the number of users.";
const PER_RULE_KEPT: &str = "O(N), N being the number of passwords and rules of the user.";
const PER_COMMAND: &str = "O(N), N being the number of commands the server has.";
const PER_COMMAND_ASKED: &str = "O(N), N being the number of commands asked for.";
const PER_ARGUMENT: &str = "O(N), N being the number of arguments of the command.";
const PER_PARAMETER: &str = "O(N), N being the number of parameters given.";

/// The server family, by name.
pub static DOCS: &[Docs] = &[
    server("acl", "6.0.0", "Depends on subcommand.", "Groups the commands on users."),
    server(
        "acl|cat",
        "6.0.0",
        "O(1), as there is a fixed number of categories and commands.",
        "Lists the categories of commands, or the commands of one.",
    )
    .args(&[Arg::string("category").optional()]),
    server(
        "acl|deluser",
        "6.0.0",
        "O(1) for each user, and O(N) for its connections, N being the number of connections.",
        "Removes users and closes their connections.",
    )
    .args(&[USERNAME.multiple()]),
    server(
        "acl|dryrun",
        "7.0.0",
        "O(1)",
        "Tells whether a user may run a command, without running it.",
    )
    .args(&[USERNAME, Arg::string("command"), Arg::string("arg").optional().multiple()]),
    server("acl|genpass", "6.0.0", "O(1)", "Makes a password that nobody can guess.")
        .args(&[Arg::integer("bits").optional()]),
    server("acl|getuser", "6.0.0", PER_RULE_KEPT, "Shows what a user may do.")
        .history(&[
            ("6.2.0", "It shows the patterns of channels."),
            ("7.0.0", "It shows selectors, and patterns as they stand in rules."),
        ])
        .args(&[USERNAME]),
    server("acl|help", "6.0.0", "O(1)", "Lists the ACL subcommands."),
    server("acl|list", "6.0.0", PER_USER, "Shows all users as lines of a file of users."),
    server("acl|load", "6.0.0", PER_USER, "Takes the users from the file of users."),
    server(
        "acl|log",
        "6.0.0",
        "O(N), N being the number of entries shown.",
        "Shows what was refused lately, or forgets it.",
    )
    .history(&[(
        "7.2.0",
        "Entries have a number, and tell when they began and were last added to.",
    )])
    .args(&[
        Arg::one_of("operation", &[Arg::integer("count"), Arg::flag("reset", "RESET")]).optional()
    ]),
    server("acl|save", "6.0.0", PER_USER, "Writes the users into the file of users."),
    server(
        "acl|setuser",
        "6.0.0",
        "O(N), N being the number of rules given.",
        "Makes a user, or changes what it may do.",
    )
    .history(&[
        ("6.2.0", "Channels can be allowed by patterns."),
        ("7.0.0", "Selectors, and keys that may only be read or only be written."),
    ])
    .args(&[USERNAME, Arg::string("rule").optional().multiple()]),
    server("acl|users", "6.0.0", PER_USER, "Lists the names of all users."),
    server("acl|whoami", "6.0.0", "O(1)", "Shows the user of the connection."),
    server("command", "2.8.13", PER_COMMAND, "Describes all commands of the server."),
    server("command|count", "2.8.13", "O(1)", "Counts the commands of the server."),
    server("command|docs", "7.0.0", PER_COMMAND_ASKED, "Documents the named commands, or all.")
        .args(COMMAND_NAMES),
    server("command|getkeys", "2.8.13", PER_ARGUMENT, "Picks the keys out of a full command line.")
        .args(COMMAND_LINE),
    server(
        "command|getkeysandflags",
        "7.0.0",
        PER_ARGUMENT,
        "Picks the keys out of a full command line and tells how each is used.",
    )
    .args(COMMAND_LINE),
    server("command|help", "5.0.0", "O(1)", "Lists the COMMAND subcommands."),
    server("command|info", "2.8.13", PER_COMMAND_ASKED, "Describes the named commands, or all.")
        .history(&[("7.0.0", "Without names it describes all commands.")])
        .args(COMMAND_NAMES),
    server(
        "command|list",
        "7.0.0",
        PER_COMMAND,
        "Lists the names of the commands, all or those that match.",
    )
    .args(&[Arg::one_of(
        "filterby",
        &[
            Arg::string("module-name").token("MODULE"),
            Arg::string("category").token("ACLCAT"),
            Arg::pattern("pattern").token("PATTERN"),
        ],
    )
    .token("FILTERBY")
    .optional()]),
    server(
        "config",
        "2.0.0",
        "Depends on subcommand.",
        "Groups the commands on the configuration.",
    ),
    server(
        "config|get",
        "2.0.0",
        PER_PARAMETER,
        "Tells the present values of the parameters that match.",
    )
    .history(&[("7.0.0", "Several patterns may be given.")])
    .args(&[Arg::string("parameter").multiple()]),
    server("config|help", "5.0.0", "O(1)", "Lists the CONFIG subcommands."),
    server(
        "config|resetstat",
        "2.0.0",
        "O(1)",
        "Sets the counters that INFO reports back to zero.",
    ),
    server(
        "config|rewrite",
        "2.8.0",
        "O(1)",
        "Writes the present configuration to the configuration file.",
    ),
    server("config|set", "2.0.0", PER_PARAMETER, "Changes parameters of the running server.")
        .history(&[("7.0.0", "Several parameters may be changed in one step.")])
        .args(&[Arg::block("data", &[Arg::string("parameter"), Arg::string("value")]).multiple()]),
    server("dbsize", "1.0.0", "O(1)", "Counts the keys of the database."),
    server(
        "debug",
        "1.0.0",
        "Depends on subcommand.",
        "Groups the commands for testing the server itself.",
    )
    .syscmd(),
    server(
        "flushall",
        "1.0.0",
        "O(N), N being the number of keys in all databases.",
        "Empties every database.",
    )
    .history(FLUSH_HISTORY)
    .args(FLUSH_TYPE),
    server(
        "flushdb",
        "1.0.0",
        "O(N), N being the number of keys in the database.",
        "Empties the selected database.",
    )
    .history(FLUSH_HISTORY)
    .args(FLUSH_TYPE),
    server("info", "1.0.0", "O(1)", "Reports on the state of the server, in sections.")
        .history(&[("7.0.0", "Several sections may be asked for.")])
        .args(&[Arg::string("section").optional().multiple()]),
    server("hotkeys", "8.6.0", "Depends on subcommand.", "Groups the commands on hot keys."),
    server(
        "hotkeys|get",
        "8.6.0",
        "O(K), K being the number of keys shown.",
        "Tells which keys took most.",
    ),
    server("hotkeys|help", "8.6.0", "O(1)", "Lists the HOTKEYS subcommands."),
    server("hotkeys|reset", "8.6.0", "O(1)", "Forgets what was counted by key."),
    server("hotkeys|start", "8.6.0", "O(1)", "Begins to count processor time or bytes by key.")
        .args(&[
            Arg::block(
                "metrics",
                &[
                    Arg::integer("count"),
                    Arg::flag("cpu", "CPU").optional(),
                    Arg::flag("net", "NET").optional(),
                ],
            )
            .token("METRICS"),
            Arg::integer("k").token("COUNT").optional(),
            Arg::integer("seconds").token("DURATION").optional(),
            Arg::integer("ratio").token("SAMPLE").optional(),
            Arg::block("slots", &[Arg::integer("count"), Arg::integer("slot").multiple()])
                .token("SLOTS")
                .optional(),
        ]),
    server("hotkeys|stop", "8.6.0", "O(1)", "Ends the counting by key."),
    server("latency", "2.8.13", "Depends on subcommand.", "Groups the commands on latency."),
    server("latency|doctor", "2.8.13", "O(1)", "Says in words what took too long."),
    server("latency|graph", "2.8.13", "O(1)", "Draws the samples of an event.")
        .args(&[Arg::string("event")]),
    server("latency|help", "2.8.13", "O(1)", "Lists the LATENCY subcommands."),
    server(
        "latency|histogram",
        "7.0.0",
        "O(N), N being the number of commands with times.",
        "Tells how many calls took how long, of the named commands or of all.",
    )
    .args(&[Arg::string("command").optional().multiple()]),
    server("latency|history", "2.8.13", "O(1)", "Lists the samples of an event.")
        .args(&[Arg::string("event")]),
    server("latency|latest", "2.8.13", "O(1)", "Tells the last sample of each event."),
    server(
        "latency|reset",
        "2.8.13",
        "O(1)",
        "Forgets the samples of the named events, or of all.",
    )
    .args(&[Arg::string("event").optional().multiple()]),
    server("lolwut", "5.0.0", "", "Draws a picture and tells the version.").args(&[Arg::integer(
        "version",
    )
    .token("VERSION")
    .optional()]),
    server(
        "memory",
        "4.0.0",
        "Depends on subcommand.",
        "Groups the commands on the use of memory.",
    ),
    server(
        "memory|doctor",
        "4.0.0",
        "O(1)",
        "Says in words what is unusual about the use of memory.",
    ),
    server(
        "memory|malloc-stats",
        "4.0.0",
        "Depends on how much memory is allocated.",
        "Shows what the allocator reports.",
    ),
    server(
        "memory|purge",
        "4.0.0",
        "Depends on how much memory is allocated.",
        "Gives unused memory back to the system.",
    ),
    server("memory|stats", "4.0.0", "O(1)", "Tells where the memory goes."),
    server("memory|help", "4.0.0", "O(1)", "Lists the MEMORY subcommands."),
    server(
        "memory|usage",
        "4.0.0",
        "O(N), N being the number of elements sampled.",
        "Estimates the bytes that a key and its value take.",
    )
    .args(&[Arg::key("key", 0), Arg::integer("count").token("SAMPLES").optional()]),
    server("monitor", "1.0.0", "", "Sends this connection every command that anybody runs."),
    server(
        "save",
        "1.0.0",
        "O(N), N being the number of keys in all databases.",
        "Saves all databases to the snapshot file and waits for the end.",
    ),
    server("bgsave", "1.0.0", "O(1)", "Begins to save all databases to the snapshot file.")
        .history(&[
            ("3.2.2", "`SCHEDULE` lets the save begin when a rewrite has ended."),
            ("8.1.0", "`CANCEL` ends a save that is under way or scheduled."),
        ])
        .args(&[Arg::one_of(
            "operation",
            &[Arg::flag("schedule", "SCHEDULE"), Arg::flag("cancel", "CANCEL").since("8.1.0")],
        )
        .optional()
        .since("3.2.2")]),
    server("bgrewriteaof", "1.0.0", "O(1)", "Begins to rewrite the append-only file, shorter."),
    server("lastsave", "1.0.0", "O(1)", "Tells when the last save succeeded, in Unix seconds."),
    server(
        "shutdown",
        "1.0.0",
        "O(N) if data is saved, N being the number of keys in all databases; O(1) otherwise.",
        "Stops the server, saving the data first where that is configured or asked for.",
    )
    .history(&[(
        "7.0.0",
        "`NOW` and `FORCE` overrule what holds a shutdown up, `ABORT` cancels one.",
    )])
    .args(&[
        Arg::one_of("save-selector", &[Arg::flag("nosave", "NOSAVE"), Arg::flag("save", "SAVE")])
            .optional(),
        Arg::flag("now", "NOW").optional().since("7.0.0"),
        Arg::flag("force", "FORCE").optional().since("7.0.0"),
        Arg::flag("abort", "ABORT").optional().since("7.0.0"),
    ]),
    server("slowlog", "2.2.12", "Depends on subcommand.", "Groups the commands on the slow log."),
    server(
        "slowlog|get",
        "2.2.12",
        "O(N), N being the number of entries returned.",
        "Lists the newest entries of the slow log.",
    )
    .history(&[("4.0.0", "Entries have the address and the name of the client.")])
    .args(&[Arg::integer("count").optional()]),
    server("slowlog|help", "6.2.0", "O(1)", "Lists the SLOWLOG subcommands."),
    server("slowlog|len", "2.2.12", "O(1)", "Counts the entries of the slow log."),
    server(
        "slowlog|reset",
        "2.2.12",
        "O(N), N being the number of entries.",
        "Forgets the entries of the slow log.",
    ),
    server("commandlog", "8.1.0", "Depends on subcommand.", "Groups the commands on command logs."),
    server(
        "commandlog|get",
        "8.1.0",
        "O(N), N being the number of entries returned.",
        "Lists the newest entries of a command log.",
    )
    .args(&[Arg::integer("count"), LOG_TYPE]),
    server("commandlog|help", "8.1.0", "O(1)", "Lists the COMMANDLOG subcommands."),
    server("commandlog|len", "8.1.0", "O(1)", "Counts the entries of a command log.")
        .args(&[LOG_TYPE]),
    server(
        "commandlog|reset",
        "8.1.0",
        "O(N), N being the number of entries.",
        "Forgets the entries of a command log.",
    )
    .args(&[LOG_TYPE]),
    server(
        "swapdb",
        "4.0.0",
        "O(N), N being the number of clients that watch or wait for keys of the two databases.",
        "Exchanges the contents of two databases.",
    )
    .args(&[Arg::integer("index1"), Arg::integer("index2")]),
    server("time", "2.6.0", "O(1)", "Tells the server's clock, in seconds and microseconds."),
];

const fn server(
    name: &'static str,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Docs {
    Docs::new(name, "server", since, complexity, summary)
}
