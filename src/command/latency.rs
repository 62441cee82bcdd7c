//! LATENCY: how long commands take, and what took too long.

use std::fmt::Write;

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::introspect::help;
use super::spec::{Command, Flags, Group, Handler};
use super::table::Registered;
use crate::base::limits::ERROR_PREVIEW_MAX;
use crate::base::{bytes, clock};
use crate::observe::latency_monitor::{Series, Summary, event};
use crate::server::Server;

const COMMON: Flags = Flags::ADMIN.with(Flags::NOSCRIPT).with(Flags::LOADING).with(Flags::STALE);

const fn row(name: &'static str, arity: i32, handler: Handler) -> Command {
    Command::new(name, arity, handler).group(Group::Server).flags(COMMON)
}

const SPECIAL_TIPS: &[&str] =
    &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];

pub(super) static COMMANDS: &[Command] =
    &[Command::new("latency", -2, help).group(Group::Server).subcommands(&[
        row("doctor", 2, doctor).tips(SPECIAL_TIPS),
        row("graph", 3, graph).tips(SPECIAL_TIPS),
        row("histogram", -2, histogram).tips(SPECIAL_TIPS),
        row("history", 3, history).tips(SPECIAL_TIPS),
        row("latest", 2, latest).tips(SPECIAL_TIPS),
        row("reset", -2, reset).tips(&["request_policy:all_nodes", "response_policy:agg_sum"]),
        Command::new("help", 2, help)
            .group(Group::Server)
            .flags(Flags::LOADING.with(Flags::STALE))
            .help(&[
                "DOCTOR",
                "    Say in words what took too long, and what may help.",
                "GRAPH <event>",
                "    Draw the samples of <event>.",
                "HISTOGRAM [<command> ...]",
                "    Show how many calls took how long, of the named commands or of all.",
                "HISTORY <event>",
                "    Show the samples of <event>: time and milliseconds.",
                "LATEST",
                "    Show the last sample and the longest of each event.",
                "RESET [<event> ...]",
                "    Forget the samples of the named events, or of all.",
            ]),
    ])];

fn latest(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let events = ctx.server.latency.events();
    ctx.out.array(events.len());
    for (name, series) in events {
        let Some(last) = series.samples.back() else { continue };
        ctx.out.array(4);
        ctx.out.text(name);
        ctx.out.integer(last.at_s);
        ctx.out.integer(last.ms as i64);
        ctx.out.integer(series.max_ms as i64);
    }
    Ok(Flow::Done)
}

fn history(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let samples = ctx.server.latency.event(args.get(2)).map(|(_, series)| series.samples);
    let samples = samples.unwrap_or_default();
    ctx.out.array(samples.len());
    for sample in samples {
        ctx.out.array(2);
        ctx.out.integer(sample.at_s);
        ctx.out.integer(sample.ms as i64);
    }
    Ok(Flow::Done)
}

fn reset(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let named = |name: &str| args.rest(2).any(|word| bytes::is_word(word, name));
    let count = ctx.server.latency.reset(|name| args.len() == 2 || named(name));
    ctx.out.count(count);
    Ok(Flow::Done)
}

fn histogram(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let commands = ctx.commands;
    let asked: Vec<&Registered> = if args.len() == 2 {
        commands.iter().collect()
    } else {
        args.rest(2).filter_map(|name| commands.by_full_name(name)).collect()
    };
    let all = asked.into_iter().flat_map(|row| std::iter::once(row).chain(&row.subcommands));
    let counted = all.map(|row| (row, ctx.server.stats.latency(row.id)));
    let counted: Vec<_> = counted.filter(|(_, counts)| !counts.is_empty()).collect();
    ctx.out.map(counted.len());
    for (row, counts) in counted {
        let buckets = counts.doublings(clock::ticks_per_us());
        ctx.out.text(&row.name);
        ctx.out.map(2);
        ctx.out.text("calls");
        ctx.out.integer(counts.total() as i64);
        ctx.out.text("histogram_usec");
        ctx.out.map(buckets.len());
        for (us, count) in buckets {
            ctx.out.integer(us as i64);
            ctx.out.integer(count as i64);
        }
    }
    Ok(Flow::Done)
}

fn graph(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let found = ctx.server.latency.event(args.get(2));
    let Some((name, series)) = found else {
        let name = bytes::preview(args.get(2), ERROR_PREVIEW_MAX);
        return Err(CmdError::NoLatencySamples(name));
    };
    let text = draw(name, &series, ctx.now_ms / 1000);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

/// Columns and rows of a graph, as in Redis.
const COLUMNS: usize = 80;
const ROWS: usize = 4;

/// Signs of the topmost cell of a column, by how much of it is full.
const TOPS: &[u8; 3] = b"_o#";

/// The samples as columns, each over its age, written downwards.
fn draw(name: &str, series: &Series, now_s: i64) -> String {
    let Summary { min_ms, max_ms, .. } = series.summary(now_s);
    let mut text = format!(
        "{name} - high {max_ms} ms, low {min_ms} ms (all time high {} ms)\n{}\n",
        series.max_ms,
        "-".repeat(COLUMNS)
    );
    let samples: Vec<_> = series.samples.iter().collect();
    for columns in samples.chunks(COLUMNS) {
        let steps = TOPS.len() * ROWS;
        let range = (max_ms - min_ms).max(1);
        let heights: Vec<usize> = columns
            .iter()
            .map(|sample| ((sample.ms - min_ms) as usize * steps / range as usize).min(steps - 1))
            .collect();
        for row in (0..ROWS).rev() {
            text.extend(heights.iter().map(|height| match height.checked_sub(row * TOPS.len()) {
                None => ' ',
                Some(above) => TOPS.get(above).map_or('|', |sign| char::from(*sign)),
            }));
            text.push('\n');
        }
        text.push('\n');
        let ages: Vec<String> = columns.iter().map(|sample| age(now_s - sample.at_s)).collect();
        for line in 0..ages.iter().map(String::len).max().unwrap_or(0) {
            text.extend(
                ages.iter().map(|age| age.as_bytes().get(line).map_or(' ', |c| char::from(*c))),
            );
            text.push('\n');
        }
    }
    text
}

/// A span in the largest unit that fits: `59s`, `2m`.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s @ ..60 => format!("{s}s"),
        s @ ..3600 => format!("{}m", s / 60),
        s @ ..86_400 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

fn doctor(ctx: &mut Ctx<'_>, _: &Args<'_>) -> Result<Flow, CmdError> {
    let text = report(ctx.server, ctx.now_ms / 1000);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

fn report(server: &Server, now_s: i64) -> String {
    let (events, monitor) = (server.latency.events(), &server.latency);
    if events.is_empty() && !monitor.is_on() {
        return "Latency monitoring is off: set latency-monitor-threshold to the milliseconds from \
                which on an event is worth recording, for instance with CONFIG SET \
                latency-monitor-threshold 100.\n"
            .to_owned();
    }
    if events.is_empty() {
        let ms = monitor.threshold_ms();
        return format!("Nothing took {ms} milliseconds or longer so far.\n");
    }
    let mut text = "These events took too long:\n\n".to_owned();
    for (number, (name, series)) in events.iter().enumerate() {
        let Summary { samples, mean_ms, deviation_ms, period_s, .. } = series.summary(now_s);
        let line = format!(
            "{}. {name}: {samples} latency spikes (average {mean_ms}ms, mean deviation \
             {deviation_ms}ms, period {period_s:.2} sec). Worst all time event {}ms.\n",
            number + 1,
            series.max_ms
        );
        text.push_str(&line);
    }
    let advice = advice(server, &|name| events.contains_key(name));
    if !advice.is_empty() {
        text.push_str("\nWhat may help:\n\n");
    }
    for line in advice {
        writeln!(text, "- {line}").expect("writing to memory does not fail");
    }
    text
}

/// What may help, by the events against which it may.
const ADVICE: &[(&[&str], &str)] = &[
    (
        &[event::COMMAND],
        "SLOWLOG GET shows which commands are slow. Look for those that name many keys, or read whole \
         large collections, and for scripts.",
    ),
    (
        &[event::FAST_COMMAND],
        "Commands that only compute for a moment were held up, so something else had the processor, or \
         the key's shard: look at the load of the machine, at neighbours on the same host, and at slow \
         commands on the same keys.",
    ),
    (
        &[event::COMMAND_UNBLOCKING],
        "Serving clients that waited takes long. Commands that take many elements at once do that.",
    ),
    (
        &[event::EXPIRE_CYCLE],
        "Removing expired keys was held up. Many keys that expire at the same instant, or a busy \
         processor, do that; spread deadlines a little.",
    ),
    (
        &[event::EVICTION_CYCLE],
        "Making room takes long: maxmemory was lowered much, or single writes are very large.",
    ),
    (
        &[event::EVICTION_DEL, event::EVICTION_LAZYFREE],
        "Letting go of evicted values takes long, as very large ones do. INFO bigkeys names them; \
         split them.",
    ),
    (
        &[event::AOF_WRITE, event::AOF_WRITE_ALONE, event::AOF_WRITE_PENDING_FSYNC],
        "The disk takes the append-only file slowly. Prefer a local SSD, and look for others that use \
         the same disk. no-appendfsync-on-rewrite spares it while a rewrite is running.",
    ),
    (
        &[event::AOF_WRITE_ACTIVE_CHILD],
        "Writes to the append-only file were slow while a snapshot or a new base was written. They can \
         be made rarer with save and auto-aof-rewrite-percentage, or go to another disk.",
    ),
    (
        &[event::AOF_RENAME, event::RDB_UNLINK_TEMP_FILE],
        "Naming or removing a file takes long, which is up to the file system: look for others that \
         write to it, and prefer a local one.",
    ),
];

/// What may help against the events that `seen` holds for.
fn advice(server: &Server, seen: &dyn Fn(&str) -> bool) -> Vec<&'static str> {
    let config = server.config.read();
    let mut advice = Vec::new();
    let slower_than_us = config.int("slowlog-log-slower-than");
    if seen(event::COMMAND) && (slower_than_us < 0 || config.int("slowlog-max-len") == 0) {
        advice.push(
            "The slow log is off. Set slowlog-log-slower-than and slowlog-max-len to see which commands \
             are slow.",
        );
    } else if seen(event::COMMAND) && slower_than_us > server.latency.threshold_ms() as i64 * 1000 {
        advice.push(
            "The slow log takes only what is slower than the latency monitor's threshold. Lower \
             slowlog-log-slower-than.",
        );
    }
    let helps = |(events, _): &&(&[&str], &str)| events.iter().any(|event| seen(event));
    advice.extend(ADVICE.iter().filter(helps).map(|(_, text)| *text));
    if seen(event::AOF_FSYNC_ALWAYS) && config.text("appendfsync") == "always" {
        advice.push(
            "appendfsync always lets every write wait for the disk; everysec loses at most about a \
             second of writes and does not.",
        );
    }
    advice
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::observe::latency_monitor::Sample;

    #[test]
    fn a_graph_has_a_column_for_each_sample() {
        let samples = [(0, 10), (50, 40), (3000, 20)].map(|(at_s, ms)| Sample { at_s, ms });
        let series = Series { samples: VecDeque::from(samples), max_ms: 99 };
        let text = draw("command", &series, 3600);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "command - high 40 ms, low 10 ms (all time high 99 ms)");
        assert_eq!(lines[2..], [" # ", " | ", " |o", "_||", "", "151", "h90", " mm"]);
    }

    #[test]
    fn every_event_but_one_has_advice_that_knows_no_configuration() {
        let named = ADVICE.iter().flat_map(|(events, _)| events.iter().copied());
        let mut named: Vec<&str> = named.chain([event::AOF_FSYNC_ALWAYS]).collect();
        named.sort_unstable();
        let mut all = event::ALL.to_vec();
        all.sort_unstable();
        assert_eq!(named, all);
    }
}
