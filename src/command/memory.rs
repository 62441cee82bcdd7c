//! MEMORY: where it goes.

use std::fmt::Write;

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::introspect::help;
use super::server::db_figures;
use super::spec::{Command, Flags, Group, KeySpec, Locks};
use crate::base::bytes::is_word;
use crate::base::limits::MANY_SCRIPTS;
use crate::keyspace::{DbFigures, Lookup};
use crate::observe::allocator;
use crate::server::{MemoryUse, Ratio};

/// What a slot of the table and its share of empty ones take, in bytes.
const SLOT_LEN: usize = 15;

const ALL_NODES: &[&str] =
    &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

pub(super) static COMMANDS: &[Command] =
    &[Command::new("memory", -2, help).group(Group::Server).subcommands(&[
        Command::new("doctor", 2, doctor).group(Group::Server).locks(Locks::Each).tips(ALL_NODES),
        Command::new("malloc-stats", 2, malloc_stats).group(Group::Server).tips(ALL_NODES),
        Command::new("purge", 2, purge)
            .group(Group::Server)
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
        Command::new("stats", 2, stats).group(Group::Server).locks(Locks::Each).tips(ALL_NODES),
        Command::new("usage", -3, usage).read().group(Group::Server).keys(&[KeySpec::at(
            2,
            "RO",
            &[],
        )]),
        Command::new("help", 2, help)
            .group(Group::Server)
            .flags(Flags::LOADING.with(Flags::STALE))
            .help(&[
                "DOCTOR",
                "    Say in words what is unusual about the use of memory.",
                "MALLOC-STATS",
                "    Show what the allocator reports.",
                "PURGE",
                "    Give memory that nothing is in back to the system.",
                "STATS",
                "    Show where the memory goes.",
                "USAGE <key> [SAMPLES <count>]",
                "    Show how many bytes <key> and its value take. Of a nested value, <count>",
                "    elements are looked at (default: 5, 0 is all).",
            ]),
    ])];

fn usage(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let mut options = args.options(3);
    while let Some(word) = options.word() {
        if !is_word(word, "samples") || options.left() == 0 {
            return Err(CmdError::Syntax);
        }
        if options.integer()? < 0 {
            return Err(CmdError::Syntax);
        }
    }
    match ctx.db.lookup(args.key(2), Lookup::Silent).map(|entry| entry.memory()) {
        Some(memory) => ctx.out.count(memory + SLOT_LEN),
        None => ctx.out.null(),
    }
    Ok(Flow::Done)
}

fn malloc_stats(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    ctx.out.verbatim("txt", allocator::report().as_bytes());
    Ok(Flow::Done)
}

fn purge(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    if !allocator::purge() {
        return Err(CmdError::PurgeFailed);
    }
    ctx.out.ok();
    Ok(Flow::Done)
}

/// A value of MEMORY STATS.
enum Figure {
    Bytes(usize),
    Difference(i64),
    Double(f64),
}

fn stats(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let databases = db_figures(ctx);
    let use_of = ctx.server.memory_use(allocator::figures(), &databases);
    let (before, after) = (parts(&use_of), proportions(&use_of));
    let filled: Vec<(usize, &DbFigures)> =
        databases.iter().enumerate().filter(|(_, db)| db.keys > 0).collect();
    let out = &mut *ctx.out;
    out.map(before.len() + filled.len() + after.len());
    for (name, bytes) in before {
        out.text(name);
        out.count(bytes);
    }
    for (number, db) in filled {
        out.text(&format!("db.{number}"));
        out.map(2);
        out.text("overhead.hashtable.main");
        out.count(db.overhead);
        // Deadlines are in the entries.
        out.text("overhead.hashtable.expires");
        out.count(0);
    }
    for (name, figure) in after {
        out.text(&name);
        match figure {
            Figure::Bytes(bytes) => out.count(bytes),
            Figure::Difference(bytes) => out.integer(bytes),
            Figure::Double(value) => out.double(value),
        }
    }
    Ok(Flow::Done)
}

fn parts(use_of: &MemoryUse) -> [(&'static str, usize); 12] {
    [
        ("peak.allocated", use_of.peak),
        ("total.allocated", use_of.allocator.allocated),
        ("startup.allocated", use_of.startup),
        ("replication.backlog", 0),
        ("replica.fullsync.buffer", 0),
        ("clients.slaves", 0),
        ("clients.normal", use_of.clients),
        ("cluster.links", 0),
        ("aof.buffer", use_of.log_buffer),
        ("lua.caches", use_of.scripts),
        ("functions.caches", use_of.functions),
        ("script.VMs", use_of.interpreter),
    ]
}

fn proportions(use_of: &MemoryUse) -> Vec<(String, Figure)> {
    let mut all: Vec<(String, Figure)> = [
        ("overhead.db.hashtable.lut", Figure::Bytes(use_of.tables)),
        ("overhead.db.hashtable.rehashing", Figure::Bytes(0)),
        ("db.dict.rehashing.count", Figure::Bytes(0)),
        ("overhead.total", Figure::Bytes(use_of.overhead())),
        ("keys.count", Figure::Bytes(use_of.keys)),
        (
            "keys.bytes-per-key",
            Figure::Bytes(use_of.dataset().checked_div(use_of.keys).unwrap_or(0)),
        ),
        ("dataset.bytes", Figure::Bytes(use_of.dataset())),
        ("dataset.percentage", Figure::Double(use_of.dataset_percent())),
        ("peak.percentage", Figure::Double(use_of.peak_percent())),
        ("allocator.allocated", Figure::Bytes(use_of.allocator.allocated)),
        ("allocator.active", Figure::Bytes(use_of.allocator.active)),
        ("allocator.resident", Figure::Bytes(use_of.allocator.resident)),
        ("allocator.muzzy", Figure::Bytes(0)),
    ]
    .map(|(name, figure)| (name.to_owned(), figure))
    .into();
    let names = ["allocator-fragmentation", "allocator-rss", "rss-overhead", "fragmentation"];
    for (name, Ratio { part, whole, .. }) in names.into_iter().zip(use_of.ratios()) {
        // The last one has always been called after its ratio.
        let ratio = if name == "fragmentation" { name.to_owned() } else { format!("{name}.ratio") };
        all.push((ratio, Figure::Double(part as f64 / whole.max(1) as f64)));
        all.push((format!("{name}.bytes"), Figure::Difference(part as i64 - whole as i64)));
    }
    all
}

/// Less memory than this says nothing, in bytes.
const ALMOST_EMPTY: usize = 5 << 20;

/// Less waste than this is not worth a word, in bytes.
const WASTE_MIN: usize = 10 << 20;

/// More memory than this is much for one client, in bytes.
const CLIENT_LARGE: usize = 200 << 10;

fn doctor(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let databases = db_figures(ctx);
    let (use_of, clients) =
        (ctx.server.memory_use(allocator::figures(), &databases), ctx.server.clients.len());
    let scripts = &ctx.server.scripts.figures().scripts;
    let scripts = scripts.load(std::sync::atomic::Ordering::Relaxed);
    let text = diagnosis(&use_of, clients, scripts);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

fn diagnosis(use_of: &MemoryUse, clients: usize, scripts: usize) -> String {
    let allocated = use_of.allocator.allocated;
    if allocated < ALMOST_EMPTY {
        return "There is hardly any data, so nothing can be said about its memory.\n".to_owned();
    }
    let wastes = |name: &str, limit: f64| {
        use_of.ratios().iter().any(|ratio| {
            let waste = ratio.part.saturating_sub(ratio.whole);
            ratio.name == name
                && waste > WASTE_MIN
                && ratio.part as f64 > ratio.whole as f64 * limit
        })
    };
    let findings = [
        (
            use_of.peak as f64 > allocated as f64 * 1.5,
            "Once, more than one and a half times as much was in use. What became free then may still \
             belong to the process and be used again; MEMORY PURGE gives back what it can.",
        ),
        (
            wastes("mem_fragmentation", 1.4),
            "The process takes much more than the data it holds. After a peak that is harmless; \
             otherwise the items below say where it goes.",
        ),
        (
            wastes("allocator_frag", 1.1),
            "Much of the memory in use is in pages that are only partly filled, as after values of many \
             sizes were removed.",
        ),
        (
            wastes("allocator_rss", 1.1),
            "The allocator keeps many pages with nothing in them. MEMORY PURGE gives them back.",
        ),
        (
            wastes("rss_overhead", 1.1),
            "Much of the process's memory does not come from the allocator: the program itself, stacks \
             of threads, or files that are mapped.",
        ),
        (
            use_of.clients.checked_div(clients).unwrap_or(0) > CLIENT_LARGE,
            "Clients have more than 200 KB of buffers each on average. CLIENT LIST shows which do not \
             read their replies, or send requests without waiting for them.",
        ),
        (
            scripts > MANY_SCRIPTS,
            "There are very many cached scripts. Scripts that are put together with their arguments \
             each stay in the cache; pass arguments as KEYS and ARGV.",
        ),
    ];
    let mut text = String::new();
    for (_, line) in findings.iter().filter(|(holds, _)| *holds) {
        writeln!(text, " * {line}").expect("writing to memory does not fail");
    }
    if text.is_empty() {
        return "Nothing is unusual about the use of memory.\n".to_owned();
    }
    format!("This is unusual about the use of memory:\n\n{text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::allocator::Figures;

    fn use_of(allocated: usize, resident: usize) -> MemoryUse {
        MemoryUse {
            allocator: Figures { allocated, active: allocated, resident: allocated },
            resident,
            peak: allocated,
            startup: 0,
            clients: 0,
            log_buffer: 0,
            scripts: 0,
            functions: 0,
            interpreter: 0,
            tables: 0,
            keys: 0,
        }
    }

    #[test]
    fn a_diagnosis_names_what_is_unusual() {
        assert!(diagnosis(&use_of(1 << 20, 1 << 30), 1, 0).contains("hardly any data"));
        assert!(diagnosis(&use_of(1 << 30, 1 << 30), 1, 0).starts_with("Nothing is unusual"));
        let wasteful = diagnosis(&use_of(1 << 30, 2 << 30), 1, 0);
        assert!(wasteful.contains("much more than") && wasteful.contains("not come from"));
        assert!(diagnosis(&use_of(1 << 30, 1 << 30), 1, 5000).contains("cached scripts"));
    }
}
