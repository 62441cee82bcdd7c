//! `/metrics`, line by line, against Prometheus's format and against what redis_exporter shows.

use std::collections::{BTreeMap, BTreeSet};

use super::{get, start};
use crate::dataset::{run, text};

/// Metrics that redis_exporter has: a field of INFO or `-`, name, type, labels.
const EXPORTER: &str = include_str!("exporter.txt");

/// The samples of one metric.
#[derive(Debug, Default)]
struct Metric {
    kind: String,
    /// Series with its labels as written, and its value.
    samples: BTreeMap<String, f64>,
    labels: BTreeSet<String>,
}

/// Reads the format strictly: each metric has HELP, TYPE and samples in one piece, each series once.
fn parse(text: &str) -> BTreeMap<String, Metric> {
    assert!(text.ends_with('\n'));
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    let (mut lines, mut current) = (text.lines(), String::new());
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("help has a text");
            assert!(!text.is_empty() && is_name(name), "{line}");
            let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
            let (again, kind) = kind.and_then(|kind| kind.split_once(' ')).expect("a type");
            assert_eq!(again, name);
            assert!(["gauge", "counter", "summary", "histogram"].contains(&kind), "{line}");
            let new = Metric { kind: kind.to_owned(), ..Metric::default() };
            assert!(metrics.insert(name.to_owned(), new).is_none(), "{name} begins twice");
            name.clone_into(&mut current);
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        let (name, labels) = split_labels(series);
        let metric = metrics.get_mut(&current).expect("a metric has begun");
        let suffixes: &[&str] = match metric.kind.as_str() {
            "summary" => &["", "_sum", "_count"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        assert!(suffixes.iter().any(|suffix| name == current.clone() + suffix), "{line}");
        metric.labels.extend(labels);
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(metric.samples.insert(series.to_owned(), value).is_none(), "{series} twice");
    }
    for (name, metric) in &metrics {
        assert!(!metric.samples.is_empty(), "{name} has no samples");
    }
    metrics
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// The name of a series and the names of its labels.
fn split_labels(series: &str) -> (String, Vec<String>) {
    let Some((name, rest)) = series.split_once('{') else {
        assert!(is_name(series), "{series}");
        return (series.to_owned(), Vec::new());
    };
    let (mut labels, mut chars) = (Vec::new(), rest.chars());
    loop {
        let label: String = chars.by_ref().take_while(|c| *c != '=').collect();
        assert!(is_name(&label) && !labels.contains(&label), "{series}");
        labels.push(label);
        assert_eq!(chars.next(), Some('"'), "{series}");
        loop {
            match chars.next() {
                Some('\\') => assert!(matches!(chars.next(), Some('\\' | '"' | 'n')), "{series}"),
                Some('"') => break,
                Some(_) => {}
                None => panic!("{series}"),
            }
        }
        match chars.next() {
            Some(',') => {}
            Some('}') => break,
            _ => panic!("{series}"),
        }
    }
    assert_eq!(chars.as_str(), "", "{series}");
    assert!(is_name(name), "{series}");
    (name.to_owned(), labels)
}

#[test]
fn metrics_are_those_of_redis_exporter() {
    let (server, addr) = start(&[]);
    let mut conn = server.connect();
    run(&mut conn, "SET k v");
    run(&mut conn, "SET t v EX 1000");
    run(&mut conn, "SELECT 3");
    run(&mut conn, "LPUSH l a b c");
    conn.call(&["INCR", "l"]);
    run(&mut conn, "CONFIG SET slowlog-log-slower-than 0");
    // It takes microseconds, which the fastest do not.
    conn.call(&["EVAL", "for i = 1, 100000 do end", "0"]);
    run(&mut conn, "CONFIG SET slowlog-log-slower-than 10000000");
    conn.call(&["EVAL", "return redis.error_reply('A\"\\\\B{}=: x')", "0"]);
    let answer = get(addr, "/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let metrics = parse(&answer.body);
    let info = text(conn.call(&["INFO", "everything"]));
    let fields: BTreeSet<&str> =
        info.lines().filter_map(|line| Some(line.split_once(':')?.0)).collect();
    let mut known = BTreeMap::new();
    for row in EXPORTER.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = row.split(' ').collect();
        let name = format!("redis_{}", cells[1]);
        if cells[0] != "-" && fields.contains(cells[0]) {
            assert!(metrics.contains_key(&name), "INFO has {}, but there is no {name}", cells[0]);
        }
        known.insert(name, (cells[2], cells.get(3).copied().unwrap_or_default()));
    }
    for (name, metric) in metrics.iter().filter(|(name, _)| name.starts_with("redis_")) {
        let (kind, labels) =
            known.get(name).unwrap_or_else(|| panic!("redis_exporter has no {name}"));
        assert_eq!(metric.kind, *kind, "{name}");
        let mut expected: BTreeSet<String> =
            labels.split(',').filter(|l| !l.is_empty()).map(str::to_owned).collect();
        match metric.kind.as_str() {
            "summary" => drop(expected.insert("quantile".to_owned())),
            "histogram" => drop(expected.insert("le".to_owned())),
            _ => {}
        }
        assert_eq!(metric.labels, expected, "{name}");
    }
    let value = |series: &str| {
        let name = series.split('{').next().unwrap_or_default();
        let name = name.trim_end_matches("_count").trim_end_matches("_bucket");
        metrics[name].samples.get(series).copied().unwrap_or_else(|| panic!("no {series}"))
    };
    assert_eq!(value("redis_up"), 1.0);
    assert_eq!(value("redis_db_keys{db=\"db0\"}"), 2.0);
    assert_eq!(value("redis_db_keys_expiring{db=\"db0\"}"), 1.0);
    assert_eq!(value("redis_db_keys{db=\"db3\"}"), 1.0);
    assert_eq!(value("redis_commands_total{cmd=\"set\"}"), 2.0);
    assert_eq!(value("redis_commands_failed_calls_total{cmd=\"incr\"}"), 1.0);
    assert_eq!(value("redis_latency_percentiles_usec_count{cmd=\"set\"}"), 2.0);
    assert_eq!(value("redis_errors_total{err=\"WRONGTYPE\"}"), 1.0);
    assert_eq!(value("redis_errors_total{err=\"A\\\"\\\\B{}=_\"}"), 1.0);
    assert_eq!(value("redis_commands_latencies_usec_count{cmd=\"set\"}"), 2.0);
    assert_eq!(value("redis_commands_latencies_usec_bucket{cmd=\"set\",le=\"+Inf\"}"), 2.0);
    assert!(value("redis_slowlog_length") >= 1.0);
    assert!(value("redis_last_slow_execution_duration_seconds") > 0.0);
    assert_eq!(value("redis_rdb_last_bgsave_status"), 1.0);
    assert!(value("redis_start_time_seconds") > 1.7e9);
}

#[test]
fn counters_only_grow() {
    let (server, addr) = start(&[]);
    let mut conn = server.connect();
    let mut before = parse(&get(addr, "/metrics").body);
    for round in 0..5 {
        for _ in 0..100 {
            run(&mut conn, "INCR n");
            run(&mut conn, "GET missing");
        }
        let now = parse(&get(addr, "/metrics").body);
        for (name, metric) in before.iter().filter(|(_, metric)| metric.kind == "counter") {
            for (series, value) in &metric.samples {
                let later = now[name].samples[series];
                assert!(later >= *value, "{series}: {value}, then {later}");
            }
        }
        let calls = now["redis_commands_total"].samples["redis_commands_total{cmd=\"incr\"}"];
        assert_eq!(calls, f64::from(round + 1) * 100.0);
        before = now;
    }
}

#[test]
fn scraping_counts_as_no_command() {
    let (server, addr) = start(&[]);
    let mut conn = server.connect();
    let before = conn.info("total_commands_processed");
    (0..20).for_each(|_| drop(get(addr, "/metrics")));
    assert_eq!(conn.info("total_commands_processed"), before + 1, "the INFO before");
    assert_eq!(conn.info("connected_clients"), 1);
}
