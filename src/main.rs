//! The program: its tools and its own flags, then the configuration, then [`redstart::boot`].

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command};
use redstart::boot::{self, Call};
use redstart::config::{Config, ConfigError, Invocation, REDIS_VERSION, help_text};
use redstart::observe::allocator;
use redstart::tools;

/// Container images switch protected mode off by this variable rather than by an argument, so that
/// arguments and files can still say otherwise.
const PROTECTED_MODE_VARIABLE: &str = "REDSTART_PROTECTED_MODE_DEFAULT";

fn main() -> ExitCode {
    let (args, has_room) = boot::without_room(std::env::args_os().collect());
    if let Some(code) = tools::run(&args) {
        return code;
    }
    let given = args.get(1..).unwrap_or_default();
    if let Some(code) = own_flags(given) {
        return code;
    }
    match load(given) {
        Ok((config, stdin)) => match boot::run(config, Call { args, stdin, has_room }) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprint!("{error}");
            if matches!(error, ConfigError::Open { .. }) {
                eprintln!();
            }
            ExitCode::FAILURE
        }
    }
}

/// The configuration, and what of it came from standard input.
fn load(args: &[OsString]) -> Result<(Config, Option<Vec<u8>>), ConfigError> {
    let mut invocation = Invocation::parse(args, &mut std::io::stdin()).unwrap_or_default();
    if std::env::var_os(PROTECTED_MODE_VARIABLE).is_some_and(|value| value == "no") {
        invocation.presets = b"protected-mode no\n".to_vec();
    }
    let config = Config::load(&invocation)?;
    Ok((config, invocation.stdin))
}

/// Handles a flag that is the program's own; anything else is configuration.
fn own_flags(args: &[OsString]) -> Option<ExitCode> {
    if let [flag, numbers @ ..] = args
        && flag == "--test-memory"
    {
        let numbers: Vec<_> =
            numbers.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        return Some(boot::test_memory(&numbers));
    }
    let [only] = args else { return None };
    if !["-v", "--version", "-h", "--help", "--check-system"].iter().any(|flag| only == flag) {
        return None;
    }
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let program = Command::new("redstart")
        .about("An in-memory data server that speaks the Redis protocol")
        .override_usage(
            "redstart [FILE] [--directive value ...] [-]\n       redstart check-rdb FILE\n       \
             redstart check-aof [OPTION] FILE\n       redstart convert IN OUT\n\n\
             check-rdb, check-aof and convert have a --help of their own.",
        )
        .disable_version_flag(true)
        .arg(flag("version").short('v').help("Print the version"))
        .arg(flag("check-system").help("Print what of the system may make the server slow"))
        .arg(
            flag("test-memory")
                .value_names(["MEGABYTES"])
                .action(ArgAction::Set)
                .help("Test so much memory, 50 times or as often as a second number says"),
        )
        .after_help(help_text());
    match program.try_get_matches_from(["redstart".into(), only.clone()]) {
        Ok(matches) if matches.get_flag("version") => {
            let text = format!(
                "Redis server v={REDIS_VERSION} sha=00000000:0 malloc={} bits={} \
                 build=redstart-{}\n",
                allocator::version(),
                usize::BITS,
                env!("CARGO_PKG_VERSION"),
            );
            Some(status(tools::say(&text)))
        }
        Ok(_) => Some(boot::check_system()),
        Err(error) => {
            // Clap shows help as an error that is to be printed on standard output.
            Some(status(tools::say(&error.to_string())))
        }
    }
}

fn status(is_well: bool) -> ExitCode {
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
