//! What `--stats` prints: tables for people.

use std::fmt::Write;

use super::stats::Stats;
use crate::base::bytes::human_size;

/// Between two columns.
const GAP: &str = "  ";

/// The figures as text.
pub(super) fn text(stats: &Stats) -> String {
    let mut out = String::new();
    let source = &stats.source;
    let version = source.rdb_version.map(|version| format!(", RDB version {version}"));
    let commands = match source.commands {
        0 => String::new(),
        units => format!(", {units} commands or transactions"),
    };
    let version = version.unwrap_or_default();
    let size = human_size(source.bytes);
    line(&mut out, &format!("{}: {size}{version}{commands}", source.path));
    line(&mut out, &format!("{} keys, {}", stats.keys, human_size(stats.bytes)));
    if stats.hashes_with_deadlines > 0 {
        let count = stats.hashes_with_deadlines;
        line(&mut out, &format!("{count} hashes in which fields have deadlines"));
    }
    types(&mut out, stats);
    ttl(&mut out, stats);
    rest(&mut out, stats);
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn types(out: &mut String, stats: &Stats) {
    let mut rows = Vec::new();
    for one in &stats.types {
        let sizes = [one.bytes, one.p50, one.p99, one.max].map(human_size);
        let [bytes, p50, p99, max] = sizes;
        let keys = one.keys.to_string();
        rows.push(vec![one.name.to_owned(), String::new(), keys, bytes, p50, p99, max]);
        for part in &one.encodings {
            let (keys, bytes) = (part.keys.to_string(), human_size(part.bytes));
            rows.push(vec![String::new(), part.encoding.to_owned(), keys, bytes]);
        }
    }
    table(out, &["type", "encoding", "keys", "bytes", "p50", "p99", "max"], 2, &rows);
}

fn ttl(out: &mut String, stats: &Stats) {
    let row = |name: &str, keys: u64| vec![name.to_owned(), keys.to_string()];
    let mut rows = vec![row("no deadline", stats.ttl.none), row("expired", stats.ttl.expired)];
    for span in &stats.ttl.left {
        let name = match span.up_to {
            "longer" => "longer".to_owned(),
            bound => format!("up to {bound}"),
        };
        rows.push(row(&name, span.keys));
    }
    rows.retain(|row| row[1] != "0");
    table(out, &["time to live", "keys"], 1, &rows);
}

fn rest(out: &mut String, stats: &Stats) {
    let rows: Vec<_> = stats
        .databases
        .iter()
        .map(|one| {
            let (keys, with_ttl) = (one.keys.to_string(), one.with_ttl.to_string());
            vec![one.db.to_string(), keys, with_ttl, human_size(one.bytes)]
        })
        .collect();
    table(out, &["database", "keys", "with a deadline", "bytes"], 0, &rows);
    let rows: Vec<_> = stats
        .biggest
        .iter()
        .map(|one| {
            let (kind, encoding) = (one.type_name.to_owned(), one.encoding.to_owned());
            vec![kind, encoding, one.db.to_string(), human_size(one.bytes), one.key.clone()]
        })
        .collect();
    table(out, &["biggest", "encoding", "database", "bytes", "key"], 2, &rows);
    let rows: Vec<_> = stats
        .libraries
        .iter()
        .map(|one| {
            let (functions, bytes) = (one.functions.to_string(), human_size(one.bytes as u64));
            vec![one.name.clone(), functions, bytes]
        })
        .collect();
    table(out, &["library", "functions", "bytes"], 1, &rows);
}

/// A table, if it has rows; the first `left` columns and keys are aligned to the left, numbers to the
/// right.
fn table(out: &mut String, head: &[&str], left: usize, rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let lines = || std::iter::once(&head).chain(rows);
    let width = |column: usize| {
        let widths = lines().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    out.push('\n');
    for row in lines() {
        let mut text = String::new();
        for (column, cell) in row.iter().enumerate() {
            let gap = if column == 0 { "" } else { GAP };
            let width = widths[column];
            // Writing to a string cannot fail.
            let _ = if column < left || head[column] == "key" {
                write!(text, "{gap}{cell:<width$}")
            } else {
                write!(text, "{gap}{cell:>width$}")
            };
        }
        line(out, text.trim_end());
    }
}
