//! What is told: one table row per server and cell while the run goes on, how it was run at the
//! end, and every sample as JSON when a file is given.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;

use crate::cores::Cores;
use crate::load::{Plan, Sample};
use crate::options::Options;
use crate::requests::{Dataset, Test};
use crate::servers::Server;

/// What all servers reached in one cell.
pub(crate) struct Cell {
    test: Test,
    dataset: Dataset,
    pipeline: usize,
    /// By server, then by round.
    pub(crate) samples: Vec<Vec<Sample>>,
}

impl Cell {
    /// A cell that waits for its samples.
    pub(crate) fn new(test: Test, dataset: Dataset, pipeline: usize, servers: usize) -> Self {
        Self { test, dataset, pipeline, samples: vec![Vec::new(); servers] }
    }
}

/// The cells so far, and the servers they compare.
pub(crate) struct Report {
    names: Vec<String>,
    versions: Vec<String>,
    /// The server that ratios are taken to, by index; `None` when ours is alone.
    base: Option<usize>,
    cells: Vec<Cell>,
}

/// The median over rounds, with the least and the greatest.
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Report {
    /// Prints the table's head.
    pub(crate) fn new(servers: &[Server]) -> Self {
        let base = servers.iter().position(|server| server.is_reference);
        let names: Vec<String> = servers.iter().map(|server| server.name.clone()).collect();
        let versions = servers.iter().map(|server| server.version.clone()).collect();
        print!("{:<18} {:>3} {:>5} {:>9}  {:<14}", "test", "P", "bytes", "keys", "server");
        let ratio = if base.is_some() { "ratio (min-max)" } else { "" };
        print!(" {:>10} {ratio:>18} {:>9} {ratio:>18}", "req/s", "cpu us");
        println!(" {:>8} {:>8}", "p50", "p99");
        Self { names, versions, base, cells: Vec::new() }
    }

    /// Prints the rows of a finished cell and keeps it.
    pub(crate) fn add(&mut self, cell: Cell) {
        let bytes = cell.dataset.value_len.map_or_else(|| "-".to_owned(), |len| len.to_string());
        for (index, name) in self.names.iter().enumerate() {
            let (test, keys) = (cell.test.name, cell.dataset.keys);
            let of = |figure: fn(&Sample) -> f64| Spread::of(&cell.samples[index], figure).median;
            let ratio = |figure| self.ratio(&cell, index, figure).map_or_else(String::new, show);
            print!("{test:<18} {:>3} {bytes:>5} {keys:>9}  {name:<14}", cell.pipeline);
            print!(" {:>10.0} {:>18}", of(requests_per_s), ratio(requests_per_s));
            print!(" {:>9.3} {:>18}", of(cpu_us), ratio(cpu_us));
            println!(" {:>8.0} {:>8.0}", of(|sample| sample.p50_us), of(|sample| sample.p99_us));
        }
        self.cells.push(cell);
    }

    /// The figure of a server over that of the base in the same round.
    fn ratio(&self, cell: &Cell, index: usize, figure: fn(&Sample) -> f64) -> Option<Spread> {
        let pairs = cell.samples[index].iter().zip(&cell.samples[self.base?]);
        Some(Spread::new(pairs.map(|(own, base)| figure(own) / figure(base)).collect()))
    }

    /// Writes the JSON and prints how it was run as the last line.
    pub(crate) fn finish(self, options: &Options, plan: &Plan, cores: &Cores) -> Result<()> {
        let base =
            self.base.map_or_else(String::new, |base| format!("; base {}", self.names[base]));
        let line = format!(
            "run: {} rounds of {:.2} s after {:.2} s warm-up, {} connections, one client thread, \
             {cores}{base}; {}; {}",
            options.rounds,
            plan.span.as_secs_f64(),
            plan.warmup.as_secs_f64(),
            plan.connections,
            self.versions.join(", "),
            processor(),
        );
        if let Some(path) = &options.json {
            let text = serde_json::to_string_pretty(&self.json(&line))?;
            fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
        }
        println!("{line}");
        Ok(())
    }

    fn json(&self, run: &str) -> Value {
        let cells: Vec<Value> = self.cells.iter().flat_map(|cell| self.json_rows(cell)).collect();
        json!({ "run": run, "base": self.base.map(|base| &self.names[base]), "cells": cells })
    }

    fn json_rows(&self, cell: &Cell) -> Vec<Value> {
        let row = |(index, name): (usize, &String)| {
            let samples: Vec<Value> = cell.samples[index].iter().map(json_sample).collect();
            json!({
                "test": cell.test.name,
                "pipeline": cell.pipeline,
                "value_bytes": cell.dataset.value_len,
                "keys": cell.dataset.keys,
                "server": name,
                "requests_per_s": Spread::of(&cell.samples[index], requests_per_s).json(),
                "requests_per_s_ratio": self.ratio(cell, index, requests_per_s).map(|r| r.json()),
                "cpu_us": Spread::of(&cell.samples[index], cpu_us).json(),
                "cpu_us_ratio": self.ratio(cell, index, cpu_us).map(|r| r.json()),
                "rounds": samples,
            })
        };
        self.names.iter().enumerate().map(row).collect()
    }
}

impl Spread {
    /// Of at least one figure.
    fn new(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        let median = f64::midpoint(low, high);
        Self { median, min: figures[0], max: figures[figures.len() - 1] }
    }

    fn of(samples: &[Sample], figure: fn(&Sample) -> f64) -> Self {
        Self::new(samples.iter().map(figure).collect())
    }

    fn json(&self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

fn show(ratio: Spread) -> String {
    format!("{:.2} ({:.2}-{:.2})", ratio.median, ratio.min, ratio.max)
}

fn requests_per_s(sample: &Sample) -> f64 {
    sample.requests_per_s
}

fn cpu_us(sample: &Sample) -> f64 {
    sample.cpu_us
}

fn json_sample(sample: &Sample) -> Value {
    json!({
        "requests_per_s": sample.requests_per_s,
        "cpu_us": sample.cpu_us,
        "p50_us": sample.p50_us,
        "p99_us": sample.p99_us,
    })
}

/// The processor's name as the kernel tells it.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.to_owned())
}
