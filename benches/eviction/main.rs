//! How well keys are chosen for eviction: a Zipf trace against exact models and other servers.
//!
//! `cargo bench --bench eviction -- [--with NAME=PATH]... [options]` starts our server and every server it
//! is given, in turn, each alone. A server first takes as many keys as the cache is to hold; what it uses
//! then becomes its `maxmemory`, so that all hold about as many, whatever a key costs them. Then the same
//! trace runs against each over loopback, as a cache is used: GET, and SET on a miss. The table shows
//!
//! ```text
//! hits    share of the GETs after the warm-up that found their key
//! exact   the same for a model that evicts exactly the least recently, or least frequently, used key
//! kept    keys that the server held at the end
//! cpu us  server CPU time per GET, with the SETs that misses cost
//! ```
//!
//! Options: `--server PATH`, `--policies a,b`, `--samples a,b`, `--keys N` (of the trace), `--held N` (of
//! the cache), `--requests N`, `--exponent S` (of the Zipf law).

mod model;
mod server;

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Lfu, Lru, Model, trace};
use server::Server;

/// GETs that are sent at once.
const BATCH: usize = 16;

/// Bytes of a value.
const VALUE_LEN: usize = 100;

/// The share of the trace that only warms the cache.
const WARMUP_SHARE: usize = 4;

struct Options {
    servers: Vec<(String, PathBuf)>,
    policies: Vec<String>,
    samples: Vec<usize>,
    keys: usize,
    held: usize,
    requests: usize,
    exponent: f64,
}

/// What a run came to.
struct Run {
    hits: f64,
    kept: u64,
    cpu: Duration,
}

fn main() -> Result<()> {
    // `cargo bench` passes --bench. `cargo test --benches` does not: there is nothing to test.
    let is_bench = std::env::args().any(|arg| arg == "--bench");
    if !is_bench || std::env::args().any(|arg| arg == "--test") {
        return Ok(());
    }
    let options = options()?;
    let trace = trace(options.keys, options.requests, options.exponent);
    let counted = (trace.len() - trace.len() / WARMUP_SHARE) as f64;
    println!(
        "{} GETs of {} keys by Zipf's law (s = {}), room for {}\n",
        trace.len(),
        options.keys,
        options.exponent,
        options.held
    );
    println!("| policy | samples | server | hits | exact | kept | cpu us |");
    println!("|---|---|---|---|---|---|---|");
    for policy in &options.policies {
        let exact = exact(policy, options.held, &trace) * 100.0;
        for samples in &options.samples {
            for (name, path) in &options.servers {
                let run = run(path, policy, *samples, options.held, &trace)
                    .with_context(|| format!("{name}, {policy}"))?;
                println!(
                    "| {policy} | {samples} | {name} | {:.2} % | {exact:.2} % | {} | {:.2} |",
                    run.hits * 100.0,
                    run.kept,
                    run.cpu.as_secs_f64() * 1e6 / counted
                );
            }
        }
    }
    Ok(())
}

fn options() -> Result<Options> {
    let mut options = Options {
        servers: vec![("redstart".to_owned(), PathBuf::from(env!("CARGO_BIN_EXE_redstart")))],
        policies: vec!["allkeys-lru".to_owned(), "allkeys-lfu".to_owned()],
        samples: vec![5],
        keys: 200_000,
        held: 20_000,
        requests: 2_000_000,
        exponent: 1.0,
    };
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        let value = args.next().with_context(|| format!("{arg} takes a value"))?;
        match arg.as_str() {
            "--server" => options.servers[0].1 = PathBuf::from(value),
            "--with" => {
                let (name, path) = value.split_once('=').context("--with takes NAME=PATH")?;
                options.servers.push((name.to_owned(), PathBuf::from(path)));
            }
            "--policies" => options.policies = value.split(',').map(str::to_owned).collect(),
            "--samples" => {
                options.samples = value.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--keys" => options.keys = value.parse()?,
            "--held" => options.held = value.parse()?,
            "--requests" => options.requests = value.parse()?,
            "--exponent" => options.exponent = value.parse()?,
            _ => bail!("unknown option {arg}"),
        }
    }
    ensure!(options.held < options.keys, "nothing would be evicted");
    Ok(options)
}

/// The share of hits of the exact policy.
fn exact(policy: &str, held: usize, trace: &[u32]) -> f64 {
    let warmup = trace.len() / WARMUP_SHARE;
    let mut model: Box<dyn Model> =
        if policy.ends_with("lfu") { Box::new(Lfu::new(held)) } else { Box::new(Lru::new(held)) };
    for key in &trace[..warmup] {
        model.get(*key);
    }
    let hits = trace[warmup..].iter().filter(|key| model.get(**key)).count();
    hits as f64 / (trace.len() - warmup) as f64
}

/// Runs the trace against a server.
fn run(path: &Path, policy: &str, samples: usize, held: usize, trace: &[u32]) -> Result<Run> {
    let mut server = Server::start(path)?;
    let value = vec![b'v'; VALUE_LEN];
    let set = |key: u32| [b"SET".to_vec(), name(key), value.clone()];
    let before = server.figure("memory", "used_memory:")?;
    for chunk in (0..held as u32).collect::<Vec<_>>().chunks(512) {
        server.send(chunk.iter().map(|key| set(*key)))?;
        (0..chunk.len()).try_for_each(|_| server.reply().map(drop))?;
    }
    let used = server.figure("memory", "used_memory:")?;
    server.order(&["FLUSHALL"])?;
    ensure!(used > before, "the server says that keys cost nothing");
    server.order(&["CONFIG", "SET", "maxmemory-policy", policy])?;
    server.order(&["CONFIG", "SET", "maxmemory-samples", &samples.to_string()])?;
    server.order(&["CONFIG", "SET", "maxmemory", &used.to_string()])?;
    let (mut hits, mut done, mut cpu) = (0u64, 0, Duration::ZERO);
    let warmup = trace.len() / WARMUP_SHARE;
    for batch in trace.chunks(BATCH) {
        if done <= warmup && done + batch.len() > warmup {
            (hits, cpu) = (0, server.cpu()?);
        }
        server.send(batch.iter().map(|key| [b"GET".to_vec(), name(*key)]))?;
        let mut missed = BTreeSet::new();
        for key in batch {
            if server.reply()? {
                hits += 1;
            } else {
                missed.insert(*key);
            }
        }
        if !missed.is_empty() {
            server.send(missed.iter().map(|key| set(*key)))?;
            (0..missed.len()).try_for_each(|_| server.reply().map(drop))?;
        }
        done += batch.len();
    }
    let cpu = server.cpu()? - cpu;
    let kept = server.figure("keyspace", "keys=")?;
    Ok(Run { hits: hits as f64 / (trace.len() - warmup) as f64, kept, cpu })
}

fn name(key: u32) -> Vec<u8> {
    format!("key:{key:012}").into_bytes()
}
