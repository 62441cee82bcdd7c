//! Documentation of the commands on scripts and functions. Data only.

use super::{Arg, Docs};

const SYNC: Arg = Arg::flag("sync", "SYNC");
const ASYNC: Arg = Arg::flag("async", "ASYNC");
const NUMKEYS: Arg = Arg::integer("numkeys");
const KEYS: Arg = Arg::key("key", 0).optional().multiple();
const ARGS: Arg = Arg::string("arg").optional().multiple();

const BODY: &[Arg] = &[Arg::string("script"), NUMKEYS, KEYS, ARGS];
const SHA: &[Arg] = &[Arg::string("sha1"), NUMKEYS, KEYS, ARGS];
const FUNCTION: &[Arg] = &[Arg::string("function"), NUMKEYS, KEYS, ARGS];

const OF_SCRIPT: &str = "Depends on the script that is executed.";
const OF_FUNCTION: &str = "Depends on the function that is executed.";

/// Scripts and functions, by name.
pub static DOCS: &[Docs] = &[
    scripting("eval", "2.6.0", OF_SCRIPT, "Runs a Lua script.").args(BODY),
    scripting("eval_ro", "7.0.0", OF_SCRIPT, "Runs a Lua script that only reads.").args(BODY),
    scripting("evalsha", "2.6.0", OF_SCRIPT, "Runs a Lua script of the cache.").args(SHA),
    scripting("evalsha_ro", "7.0.0", OF_SCRIPT, "Runs a Lua script of the cache that only reads.")
        .args(SHA),
    scripting("fcall", "7.0.0", OF_FUNCTION, "Runs a function of a library.").args(FUNCTION),
    scripting("fcall_ro", "7.0.0", OF_FUNCTION, "Runs a function of a library that only reads.")
        .args(FUNCTION),
    scripting(
        "function",
        "7.0.0",
        "Depends on subcommand.",
        "Groups the commands on function libraries.",
    ),
    scripting("function|delete", "7.0.0", "O(1)", "Removes a function library.")
        .args(&[Arg::string("library-name")]),
    scripting(
        "function|dump",
        "7.0.0",
        "O(N), N being the number of functions.",
        "Returns all function libraries as one text.",
    ),
    scripting(
        "function|flush",
        "7.0.0",
        "O(N), N being the number of functions removed.",
        "Removes every function library.",
    )
    .args(&[Arg::one_of("flush-type", &[ASYNC, SYNC]).optional()]),
    scripting("function|help", "7.0.0", "O(1)", "Lists the FUNCTION subcommands."),
    scripting("function|kill", "7.0.0", "O(1)", "Ends the function that is running."),
    scripting(
        "function|list",
        "7.0.0",
        "O(N), N being the number of functions.",
        "Shows the function libraries.",
    )
    .args(&[
        Arg::string("library-name-pattern").token("LIBRARYNAME").optional(),
        Arg::flag("withcode", "WITHCODE").optional(),
    ]),
    scripting(
        "function|load",
        "7.0.0",
        "O(1), the time for compiling aside.",
        "Loads a function library.",
    )
    .args(&[Arg::flag("replace", "REPLACE").optional(), Arg::string("function-code")]),
    scripting(
        "function|restore",
        "7.0.0",
        "O(N), N being the number of functions in the text.",
        "Loads the function libraries that were dumped.",
    )
    .args(&[
        Arg::string("serialized-value"),
        Arg::one_of(
            "policy",
            &[
                Arg::flag("flush", "FLUSH"),
                Arg::flag("append", "APPEND"),
                Arg::flag("replace", "REPLACE"),
            ],
        )
        .optional(),
    ]),
    scripting("function|stats", "7.0.0", "O(1)", "Shows the function that is running."),
    scripting("script", "2.6.0", "Depends on subcommand.", "Groups the commands on scripts."),
    scripting("script|debug", "3.2.0", "O(1)", "Chooses whether scripts run in the debugger.")
        .args(&[Arg::one_of(
            "mode",
            &[Arg::flag("yes", "YES"), Arg::flag("sync", "SYNC"), Arg::flag("no", "NO")],
        )]),
    scripting(
        "script|exists",
        "2.6.0",
        "O(N), N being the number of digests.",
        "Tells which scripts are in the cache.",
    )
    .args(&[Arg::string("sha1").multiple()]),
    scripting(
        "script|flush",
        "2.6.0",
        "O(N), N being the number of scripts in the cache.",
        "Empties the cache of scripts.",
    )
    .history(&[("6.2.0", "`ASYNC` and `SYNC` choose how memory is freed.")])
    .args(&[Arg::one_of("flush-type", &[ASYNC, SYNC]).since("6.2.0").optional()]),
    scripting("script|help", "5.0.0", "O(1)", "Lists the SCRIPT subcommands."),
    scripting("script|kill", "2.6.0", "O(1)", "Ends the script that is running."),
    scripting(
        "script|load",
        "2.6.0",
        "O(N), N being the length of the script.",
        "Puts a script into the cache.",
    )
    .args(&[Arg::string("script")]),
    scripting("script|show", "8.0.0", "O(1)", "Shows a script of the cache.")
        .args(&[Arg::string("sha1")]),
];

const fn scripting(
    name: &'static str,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Docs {
    Docs::new(name, "scripting", since, complexity, summary)
}
