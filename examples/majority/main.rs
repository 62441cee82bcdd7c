//! MajorityRedis: locks, a queue and values on several independent servers, of which a minority may
//! die at any time and lose everything.
//!
//!     cargo build --release
//!     cargo run --release --example majority
//!
//!     examples/majority/servers.sh                     # or five servers of your own, see compose.yaml
//!     cargo run --release --example majority -- watch redis://127.0.0.1:710{1,2,3,4,5}
//!
//! The library is `servers` (one request to all), `members` (which servers count, and healing),
//! `lock`, `queue` and `values`; it needs nothing but the crate `redis`, so it can be copied. The
//! rest is a demonstration that starts five servers itself, kills them and consumers all the time,
//! counts what was lost, doubled, or held by two, and prints one line; it exits with 1 if that is
//! anything. `tests/majority.rs` runs it as a test. `watch` makes members of servers that run, and
//! heals those that come back empty, until it is ended; it has to know the longest time to live of
//! any lock there (`--ttl-max-ms`).
//!
//! There is no leader and no agreement between servers, and they do not know each other. Everything
//! hangs on three things:
//!
//! - Whatever is acknowledged is on a majority of the servers, and whoever asks, asks a majority. Two
//!   majorities share a server.
//! - Facts only grow: an item is done and never again waiting, a version never goes back. So what
//!   several servers know is merged by union, in any order.
//! - A server that has lost its memory does not count until it has got back what a majority knows,
//!   and until no lock is valid any more that it may have granted.
//!
//! What this needs: no more than a minority of the servers is dead, empty or unreachable at a time;
//! clocks run at the same speed within one hundredth, and do not jump; a write that was given up is
//! not still under way when its server is healed, that is, requests end within `patience`.

mod cluster;
mod lock;
mod members;
mod queue;
mod servers;
mod trial;
mod values;
mod verdict;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use servers::{Servers, Settings};
use trial::Plan;
pub(crate) use workers::ROLE;

const USAGE: &str = "\
usage: majority [--server PATH] [--servers N] [--items N] [--faults N] [--quarantine-ms N]
       majority watch [--ttl-max-ms N] URL URL URL ...

PATH is the server's program, by default the one that was built beside this one; N servers, 5 by
default; items for each of two producers; how often servers are killed. A quarantine shorter than
the locks' time to live shows why there is one. The locks of those whose servers are watched live for
10000 ms at most unless --ttl-max-ms says otherwise.";

/// The longest lock of those whose servers are watched, unless told otherwise.
const WATCH_TTL_MAX: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    run(&std::env::args().skip(1).collect::<Vec<_>>())
}

/// The whole program, with its arguments.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let outcome = match arguments.split_first() {
        Some((first, rest)) if first == ROLE => workers::run(rest).map(|()| true),
        Some((first, rest)) if first == "watch" => watch(rest),
        _ => plan(arguments).and_then(|plan| demonstrate(&plan)),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("majority: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demonstrate(plan: &Plan) -> Result<bool> {
    let verdict = trial::run(plan)?;
    println!("{}", verdict.line);
    Ok(verdict.is_good)
}

fn plan(arguments: &[String]) -> Result<Plan> {
    let settings = settings(Duration::from_millis(800));
    let mut plan = Plan { program: program()?, servers: 5, items: 500, faults: 8, settings };
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { bail!(USAGE) };
        let number = || value.parse::<usize>().context(USAGE);
        match name.as_str() {
            "--server" => plan.program = PathBuf::from(value),
            "--servers" => plan.servers = number()?.max(3),
            "--items" => plan.items = number()?,
            "--faults" => plan.faults = number()?,
            "--quarantine-ms" => plan.settings.quarantine = millis(value)?,
            _ => bail!(USAGE),
        }
    }
    Ok(plan)
}

fn millis(value: &str) -> Result<Duration> {
    Ok(Duration::from_millis(value.parse().context(USAGE)?))
}

fn settings(ttl_max: Duration) -> Settings {
    Settings { patience: Duration::from_millis(250), ttl_max, quarantine: ttl_max }
}

/// Heals for ever, and tells when the number of members changes.
fn watch(arguments: &[String]) -> Result<bool> {
    let (ttl_max, urls) = match arguments {
        [name, value, urls @ ..] if name == "--ttl-max-ms" => (millis(value)?, urls),
        urls => (WATCH_TTL_MAX, urls),
    };
    let mut servers = Servers::new(urls, settings(ttl_max))?;
    match members::create(&mut servers) {
        Ok(()) => println!("created"),
        Err(why) => println!("not created: {why}"),
    }
    let mut last = None;
    loop {
        let now = members::heal(&mut servers).map_err(|error| error.to_string());
        if last.as_ref() != Some(&now) {
            match &now {
                Ok(members) => println!("{members} of {} servers are members", servers.count()),
                Err(error) => println!("no majority: {error}"),
            }
            last = Some(now);
        }
        pause(Duration::from_millis(200));
    }
}

/// The server that Cargo has built for the test, or the one beside the folder of examples.
fn program() -> Result<PathBuf> {
    if let Some(path) = option_env!("CARGO_BIN_EXE_redstart") {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(|examples| examples.parent()).context("a path")?;
    Ok(folder.join("redstart"))
}

/// Waits, for what there is no condition to wait for.
fn pause(duration: Duration) {
    let end = Instant::now() + duration;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    {
        thread::park_timeout(left);
    }
}
