//! Redstart beside other servers of the same protocol, by paired load over loopback.
//!
//! `cargo bench --bench compare -- [options]` starts our server and every reference it is given
//! with `--with NAME=PATH`, or, without one, the `redis-server` and `valkey-server` found on PATH.
//! Every server gets a free loopback port and the same core, the client gets another core. For
//! every cell (test, pipeline, value size, number of keys) the servers take turns in every round,
//! each with the same prepared requests, and the figures of one round are divided by those that the
//! first reference reached in that same round. The table shows medians over the rounds:
//!
//! ```text
//! req/s       replies per second, and its ratio (higher is better)
//! cpu us      server CPU time per request in microseconds, and its ratio (lower is better)
//! p50, p99    microseconds from a batch's first byte sent to its last byte received
//! ```
//!
//! Where a server's req/s times its CPU is well below one core, the client is the limit, and the CPU
//! is the figure to compare. A test of several commands, such as sadd-spop or multi, counts them as
//! one request; publish-100 counts a PUBLISH with its hundred deliveries. A wrong, missing or error
//! reply fails the whole run, and so does a lost message. Linux only: it reads procfs and pins
//! threads. The default keys and sizes need about 3 GB of memory for every server.

mod cores;
mod load;
mod options;
mod report;
mod requests;
mod servers;
mod workloads;

use anyhow::{Context, Result};
use std::time::Duration;

use cores::Cores;
use load::Plan;
use options::Options;
use report::{Cell, Report};
use requests::{Batches, Dataset, Test, fill, prepare, verify};
use servers::{Server, specs};
use workloads::Data;

/// Load before every measured span, for connections, caches and branch predictors.
const WARMUP: Duration = Duration::from_millis(100);
/// What a measured span costs besides itself and its warm-up: connecting, checking, draining.
const OVERHEAD: Duration = Duration::from_millis(40);
/// The bounds of a span that is chosen by the run's budget.
const SPAN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

fn main() -> Result<()> {
    // `cargo bench` passes --bench. `cargo test --benches` does not: there is nothing to test.
    let is_bench = std::env::args().any(|arg| arg == "--bench");
    if !is_bench || std::env::args().any(|arg| arg == "--test") {
        return Ok(());
    }
    let options = Options::parse();
    let cores = Cores::plan(options.threads)?;
    let specs = specs(&options)?;
    cores.enter_server()?;
    let servers = specs.iter().map(Server::start).collect::<Result<Vec<_>>>()?;
    cores.enter_client()?;

    let groups = groups(&options);
    let cells =
        groups.iter().map(|(_, tests)| tests.len()).sum::<usize>() * options.pipelines.len();
    let plan = Plan {
        connections: options.connections,
        warmup: WARMUP,
        span: span(&options, cells * servers.len() * options.rounds),
    };
    let mut report = Report::new(&servers);
    for (dataset, tests) in &groups {
        for server in &servers {
            fill(server, dataset).with_context(|| format!("{}: filling", server.name))?;
        }
        for &test in tests {
            for &pipeline in &options.pipelines {
                report.add(measure(&servers, test, dataset, pipeline, options.rounds, &plan)?);
            }
        }
    }
    report.finish(&options, &plan, &cores)
}

/// The datasets in the order they are loaded, each with the tests that run on it.
fn groups(options: &Options) -> Vec<(Dataset, Vec<Test>)> {
    let mut kinds: Vec<(&'static Data, Vec<Test>)> = Vec::new();
    for &test in &options.tests {
        match kinds.iter_mut().find(|(data, _)| std::ptr::eq(*data, test.data)) {
            Some((_, tests)) => tests.push(test),
            None => kinds.push((test.data, vec![test])),
        }
    }
    let mut groups = Vec::new();
    for &keys in &options.keys {
        for (data, tests) in &kinds {
            let sizes: Vec<Option<usize>> = if data.sized {
                options.sizes.iter().copied().map(Some).collect()
            } else {
                vec![None]
            };
            for value_len in sizes {
                groups.push((Dataset { keys, value_len, data }, tests.clone()));
            }
        }
    }
    groups
}

/// The span of one measurement: as asked for, or what the budget leaves for each of `runs`.
fn span(options: &Options, runs: usize) -> Duration {
    options.span.unwrap_or_else(|| {
        let share = options.budget().div_f64(runs.max(1) as f64);
        share.saturating_sub(WARMUP + OVERHEAD).clamp(SPAN.0, SPAN.1)
    })
}

/// One cell: every server once a round, starting with another one each round.
fn measure(
    servers: &[Server],
    test: Test,
    dataset: &Dataset,
    pipeline: usize,
    rounds: usize,
    plan: &Plan,
) -> Result<Cell> {
    let mut cell = Cell::new(test, *dataset, pipeline, servers.len());
    for round in 0..rounds {
        let batches = Batches::prepare(test, dataset, pipeline, round as u64);
        for turn in 0..servers.len() {
            let index = (round + turn) % servers.len();
            let server = &servers[index];
            let sample = prepare(server, test)
                .and_then(|()| verify(server, &batches))
                .and_then(|()| load::run(server, &batches, plan))
                .with_context(|| format!("{}: {} at P={pipeline}", server.name, test.name))?;
            cell.samples[index].push(sample);
        }
    }
    Ok(cell)
}
