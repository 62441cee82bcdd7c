//! The command line of the comparison: what to run, on whom, for how long.

use clap::builder::TypedValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::path::PathBuf;
use std::time::Duration;

use crate::requests::{KEYS_MAX, Test, default_tests, test_of};

/// Loaded time of a whole run when no `--secs` is given; filling the servers comes on top.
const BUDGET: Duration = Duration::from_secs(380);
const BUDGET_QUICK: Duration = Duration::from_secs(35);

/// What was asked for, with defaults filled in.
pub(crate) struct Options {
    pub(crate) tests: Vec<Test>,
    /// Requests in one batch.
    pub(crate) pipelines: Vec<usize>,
    /// Value lengths in bytes.
    pub(crate) sizes: Vec<usize>,
    /// Sizes of the keyspace.
    pub(crate) keys: Vec<u64>,
    pub(crate) rounds: usize,
    /// The measured span; `None` leaves it to the budget.
    pub(crate) span: Option<Duration>,
    pub(crate) connections: usize,
    /// Threads of our server.
    pub(crate) threads: usize,
    /// Our server, when it is not the one cargo built.
    pub(crate) server: Option<PathBuf>,
    /// References as `NAME=PATH`, in the order given.
    pub(crate) references: Vec<String>,
    pub(crate) json: Option<PathBuf>,
    quick: bool,
}

impl Options {
    /// Reads the process's arguments; help and errors end the process.
    pub(crate) fn parse() -> Self {
        let matches = command().get_matches();
        let quick = matches.get_flag("quick");
        Self {
            tests: list(&matches, "tests").unwrap_or_else(default_tests),
            pipelines: list(&matches, "pipeline").unwrap_or_else(|| vec![1, 16, 64]),
            sizes: list(&matches, "sizes").unwrap_or_else(|| by(quick, &[32], &[3, 32, 256])),
            keys: list(&matches, "keys")
                .unwrap_or_else(|| by(quick, &[100_000], &[100_000, 5_000_000])),
            rounds: one(&matches, "rounds").unwrap_or(5),
            span: one::<f64>(&matches, "secs").map(Duration::from_secs_f64),
            connections: one(&matches, "conns").unwrap_or(50),
            threads: one(&matches, "threads").unwrap_or(1),
            server: one(&matches, "server"),
            references: list(&matches, "with").unwrap_or_default(),
            json: one(&matches, "json"),
            quick,
        }
    }

    /// Loaded time the whole run may take when no span was asked for.
    pub(crate) fn budget(&self) -> Duration {
        if self.quick { BUDGET_QUICK } else { BUDGET }
    }
}

fn by<T: Copy>(quick: bool, short: &[T], full: &[T]) -> Vec<T> {
    if quick { short.to_vec() } else { full.to_vec() }
}

fn one<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
    matches.get_one::<T>(name).cloned()
}

fn list<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<Vec<T>> {
    matches.get_many::<T>(name).map(|values| values.cloned().collect())
}

fn command() -> Command {
    let count = || value_parser!(u64).range(1..=1 << 20).map(|n| n as usize);
    let values = |name, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).value_delimiter(',').help(help)
    };
    let value = |name, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("compare").about("Paired load on our server and others of the same protocol").args(
        [
            values("tests", "NAME,..", "See workloads.rs [get,set,incr,mset]")
                .value_parser(test_of),
            values("pipeline", "N,..", "Requests in one batch [1,16,64]").value_parser(count()),
            values("sizes", "BYTES,..", "Value lengths [3,32,256]").value_parser(count()),
            values("keys", "N,..", "Keys in the keyspace [100000,5000000]")
                .value_parser(value_parser!(u64).range(1..=KEYS_MAX)),
            value("rounds", "N", "Turns of every server in a cell [5]").value_parser(count()),
            value("secs", "S", "Measured time of one turn [fits the run]").value_parser(seconds),
            value("conns", "N", "Client connections [50]").value_parser(count()),
            value("threads", "N", "Threads of our server [1]").value_parser(count()),
            value("server", "PATH", "Our server [the one cargo built]")
                .value_parser(value_parser!(PathBuf)),
            value("with", "NAME=PATH", "A reference, may be repeated; the first is the base")
                .action(ArgAction::Append),
            value("json", "FILE", "Also write every sample to FILE")
                .value_parser(value_parser!(PathBuf)),
            Arg::new("quick")
                .long("quick")
                .action(ArgAction::SetTrue)
                .help("One value size, one keyspace, below a minute"),
            Arg::new("bench").long("bench").action(ArgAction::SetTrue).hide(true),
        ],
    )
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err("not a number of seconds up to 3600".to_owned()),
    }
}
