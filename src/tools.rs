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
    /// Runs it with its arguments, its own name first.
    run: fn(&[OsString]) -> bool,
}

const TOOLS: &[Tool] = &[
    Tool { word: "check-rdb", name: "redis-check-rdb", run: check_rdb },
    Tool { word: "check-aof", name: "redis-check-aof", run: check_aof },
    Tool { word: "convert", name: "redstart-convert", run: convert::run },
];

/// Runs the tool that the arguments, the program's name first, ask for, if they do.
pub fn run(args: &[OsString]) -> Option<ExitCode> {
    let program = Path::new(args.first()?).file_name()?.to_string_lossy();
    let (tool, args) = TOOLS.iter().find_map(|tool| {
        if args.get(1).is_some_and(|word| word == tool.word) {
            return Some((tool, &args[1..]));
        }
        program.contains(tool.name).then_some((tool, args))
    })?;
    let is_version = |flag: &OsStr| flag == "-v" || flag == "--version";
    let done = match args {
        [_, flag] if is_version(flag) => {
            println!("{} {REDIS_VERSION}", tool.name);
            true
        }
        _ => (tool.run)(args),
    };
    Some(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
