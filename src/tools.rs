//! The programs beside the server: `redstart convert`, and `redstart check-rdb`, `redstart check-aof`,
//! or by the names that they have beside Redis. A configuration file of such a name is given with its
//! folder: `./check-rdb`.

mod convert;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::base::clock;
use crate::config::REDIS_VERSION;
use crate::persist::{aof, rdb};

/// A tool.
struct Tool {
    /// The first argument that asks for it.
    word: &'static str,
    /// What the name of the program contains that is it; also what it calls itself.
    name: &'static str,
    /// What `--help` shows; `None` where the tool sees to that itself.
    help: Option<&'static str>,
    /// Runs it with its arguments, its own name first.
    run: fn(&[OsString]) -> bool,
}

const TOOLS: &[Tool] = &[
    Tool { word: "check-rdb", name: "redis-check-rdb", help: Some(CHECK_RDB_HELP), run: check_rdb },
    Tool { word: "check-aof", name: "redis-check-aof", help: Some(CHECK_AOF_HELP), run: check_aof },
    Tool { word: "convert", name: "redstart-convert", help: None, run: convert::run },
];

const CHECK_RDB_HELP: &str = "\
Reads a dump file to its end and says what is in it, or where it is damaged.

Usage: redstart check-rdb FILE
       redis-check-rdb FILE

The file is not changed. The exit status is 0 if it is sound, and 1 if it is not.
";

const CHECK_AOF_HELP: &str = "\
Checks an append-only file: one file, or all those that a manifest names.

Usage: redstart check-aof [OPTION] FILE
       redis-check-aof [OPTION] FILE

FILE is a manifest (appendonlydir/*.manifest) or a single file.

  --fix                             ask, then cut the last file off where it stops being sound
  --truncate-to-timestamp SECONDS   cut off what was written after that Unix time, if the file has
                                    timestamps (aof-timestamp-enabled)

The exit status is 0 if all is sound, or was made so, and 1 otherwise.
";

/// Runs the tool that the arguments, the program's name first, ask for, if they do.
pub fn run(args: &[OsString]) -> Option<ExitCode> {
    let program = Path::new(args.first()?).file_name()?.to_string_lossy();
    let (tool, args) = TOOLS.iter().find_map(|tool| {
        if args.get(1).is_some_and(|word| word == tool.word) {
            return Some((tool, &args[1..]));
        }
        program.contains(tool.name).then_some((tool, args))
    })?;
    let is_one_of = |flag: &OsStr, names: [&str; 2]| names.iter().any(|name| flag == *name);
    let done = match (args, tool.help) {
        ([_, flag], Some(help)) if is_one_of(flag, ["-h", "--help"]) => say(help),
        ([_, flag], _) if is_one_of(flag, ["-v", "--version"]) => {
            say(&format!("{} {REDIS_VERSION}\n", tool.name))
        }
        _ => (tool.run)(args),
    };
    Some(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints `text`; `false` if it cannot be written.
pub fn say(text: &str) -> bool {
    io::stdout().lock().write_all(text.as_bytes()).is_ok()
}

fn check_rdb(args: &[OsString]) -> bool {
    let [_, path] = args else {
        eprintln!("Usage: {} <rdb-file-name>", args[0].display());
        return false;
    };
    // What cannot be written is not known to be sound.
    rdb::check::check_file(Path::new(path), clock::now_ms(), &mut io::stdout().lock())
        .unwrap_or(false)
}

fn check_aof(args: &[OsString]) -> bool {
    let (input, output) = (&mut io::stdin().lock(), &mut io::stdout().lock());
    let mut terminal = aof::check::Terminal { input, output };
    aof::check::run(args, &mut terminal, &mut check_snapshot)
}

/// Checks the snapshot that an append-only file begins with; returns its length.
fn check_snapshot(path: &Path, output: &mut dyn Write) -> Option<u64> {
    rdb::check::check(File::open(path).ok()?, clock::now_ms(), output).ok().flatten()
}
