//! `/metrics`: INFO in Prometheus's text format, under the names, types and labels that redis_exporter
//! gives the same fields, so that its dashboards and alerts go on working.
//!
//! Plain fields are rows of `fields.rs`. Fields that hold several numbers (`cmdstat_get:calls=..`,
//! `db0:keys=..`) become labelled samples here. A field that INFO does not have has no metric.

mod fields;
mod logs;
mod text;

use std::collections::BTreeMap;

use fields::{FIELDS, Field};
use text::{Exposition, Kind};

use super::sample::sections;
use crate::config::Config;
use crate::server::Server;

/// Labels of `redis_instance_info`, each a field of INFO.
const INSTANCE: [&str; 10] = [
    "role",
    "redis_version",
    "redis_build_id",
    "redis_mode",
    "os",
    "maxmemory_policy",
    "tcp_port",
    "run_id",
    "process_id",
    "master_replid",
];

/// INFO by what becomes of it.
#[derive(Default)]
struct Sorted<'a> {
    plain: BTreeMap<&'a str, &'a str>,
    commands: Vec<(&'a str, Parts<'a>)>,
    latencies: Vec<(&'a str, Parts<'a>)>,
    errors: Vec<(&'a str, Parts<'a>)>,
    databases: Vec<(&'a str, Parts<'a>)>,
    replicas: Vec<Parts<'a>>,
}

/// `name=number` pairs of one field.
type Parts<'a> = BTreeMap<&'a str, &'a str>;

impl<'a> Sorted<'a> {
    fn of(info: &'a str) -> Self {
        let mut sorted = Self::default();
        for (section, fields) in sections(info) {
            for (name, value) in fields {
                sorted.add(section, name, value);
            }
        }
        sorted
    }

    fn add(&mut self, section: &str, name: &'a str, value: &'a str) {
        let behind = |prefix| name.strip_prefix(prefix);
        let is_numbered = |prefix| behind(prefix).is_some_and(|rest| rest.parse::<u32>().is_ok());
        if let Some(command) = behind("cmdstat_") {
            self.commands.push((command, parts(value)));
        } else if let Some(command) = behind("latency_percentiles_usec_") {
            self.latencies.push((command, parts(value)));
        } else if let Some(kind) = behind("errorstat_") {
            self.errors.push((kind, parts(value)));
        } else if section == "Keyspace" && is_numbered("db") {
            self.databases.push((name, parts(value)));
        } else if section == "Replication" && is_numbered("slave") {
            self.replicas.push(parts(value));
        } else {
            self.plain.insert(name, value);
        }
    }

    fn field(&self, name: &str) -> &'a str {
        self.plain.get(name).copied().unwrap_or_default()
    }
}

fn parts(value: &str) -> Parts<'_> {
    value.split(',').filter_map(|part| part.split_once('=')).collect()
}

fn number(text: &str) -> Option<f64> {
    match text {
        "ok" | "true" => Some(1.0),
        "err" | "fail" | "false" => Some(0.0),
        _ => text.parse().ok(),
    }
}

/// All metrics: of the text of `INFO everything`, and of what other commands show.
pub(super) fn page(info: &str, server: &Server, commands: &[String]) -> String {
    let config = server.config.read();
    let mut out = exposition(info, &config);
    logs::metrics(&mut out, server, &config);
    logs::latencies(&mut out, server, commands);
    out.finish()
}

/// The metrics of INFO and of the few directives that dashboards compare them with.
fn exposition(info: &str, config: &Config) -> Exposition {
    let sorted = Sorted::of(info);
    let mut out = Exposition::default();
    out.metric("redis_up", Kind::Gauge, "Whether the server answers.").plain(1.0);
    let labels = INSTANCE.map(|name| (name, sorted.field(name)));
    out.metric("redis_instance_info", Kind::Gauge, "What is running; the value is always 1.")
        .sample(&labels, 1.0);
    for Field { info, metric, kind, factor, help } in FIELDS {
        if let Some(value) = sorted.plain.get(info).and_then(|text| number(text)) {
            out.metric(&format!("redis_{metric}"), *kind, help).plain(value * factor);
        }
    }
    start_time(&mut out, &sorted);
    directives(&mut out, config);
    databases(&mut out, &sorted);
    commands(&mut out, &sorted);
    errors(&mut out, &sorted);
    replication(&mut out, &sorted);
    out
}

fn start_time(out: &mut Exposition, sorted: &Sorted<'_>) {
    let field = |name| number(sorted.field(name));
    if let (Some(now_us), Some(uptime)) = (field("server_time_usec"), field("uptime_in_seconds")) {
        out.metric(
            "redis_start_time_seconds",
            Kind::Gauge,
            "When the server started, in Unix time.",
        )
        .plain((now_us / 1e6).floor() - uptime);
    }
}

fn directives(out: &mut Exposition, config: &Config) {
    for (metric, name) in [
        ("redis_config_maxclients", "maxclients"),
        ("redis_config_maxmemory", "maxmemory"),
        ("redis_config_io_threads", "io-threads"),
        ("redis_config_repl_backlog_size", "repl-backlog-size"),
    ] {
        let help = format!("The directive {name}.");
        out.metric(metric, Kind::Gauge, &help).plain(config.int(name) as f64);
    }
    let classes = ["normal", "slave", "pubsub"].into_iter().zip(config.output_limits());
    let mut bytes = out.metric(
        "redis_config_client_output_buffer_limit_bytes",
        Kind::Gauge,
        "Unread output at which a client of that class is closed; 0 is no limit.",
    );
    for (class, limit) in classes.clone() {
        bytes.sample(&[("class", class), ("limit", "hard")], limit.hard_bytes as f64);
        bytes.sample(&[("class", class), ("limit", "soft")], limit.soft_bytes as f64);
    }
    let mut seconds = out.metric(
        "redis_config_client_output_buffer_limit_overcome_seconds",
        Kind::Gauge,
        "How long a client may be above the soft limit.",
    );
    for (class, limit) in classes {
        seconds.sample(&[("class", class), ("limit", "soft")], limit.soft_seconds as f64);
    }
}

/// The samples of one part of each of `fields`, labelled by what the field is about.
fn labelled(
    out: &mut Exposition,
    (metric, kind, help): (&str, Kind, &str),
    label: &str,
    fields: &[(&str, Parts<'_>)],
    (part, factor): (&str, f64),
) {
    let mut samples = out.metric(metric, kind, help);
    for (about, parts) in fields {
        if let Some(value) = parts.get(part).and_then(|text| number(text)) {
            samples.sample(&[(label, about)], value * factor);
        }
    }
}

fn databases(out: &mut Exposition, sorted: &Sorted<'_>) {
    for (metric, help, part, factor) in [
        ("redis_db_keys", "Keys of a database.", "keys", 1.0),
        ("redis_db_keys_expiring", "Keys of a database that have a deadline.", "expires", 1.0),
        (
            "redis_db_avg_ttl_seconds",
            "Mean time to live of those with a deadline.",
            "avg_ttl",
            1e-3,
        ),
    ] {
        labelled(out, (metric, Kind::Gauge, help), "db", &sorted.databases, (part, factor));
    }
}

fn commands(out: &mut Exposition, sorted: &Sorted<'_>) {
    for (metric, help, part, factor) in [
        ("redis_commands_total", "Calls of a command.", "calls", 1.0),
        ("redis_commands_duration_seconds_total", "Time spent in a command.", "usec", 1e-6),
        (
            "redis_commands_rejected_calls_total",
            "Calls that were refused before they ran.",
            "rejected_calls",
            1.0,
        ),
        (
            "redis_commands_failed_calls_total",
            "Calls that ended with an error.",
            "failed_calls",
            1.0,
        ),
    ] {
        labelled(out, (metric, Kind::Counter, help), "cmd", &sorted.commands, (part, factor));
    }
    let totals: BTreeMap<&str, &Parts<'_>> =
        sorted.commands.iter().map(|(name, parts)| (*name, parts)).collect();
    let mut summary = out.metric(
        "redis_latency_percentiles_usec",
        Kind::Summary,
        "How long calls of a command took, in microseconds; quantiles are percentiles.",
    );
    for (command, percentiles) in &sorted.latencies {
        let total = |part| totals.get(command)?.get(part).and_then(|text| number(text));
        let (Some(calls), Some(usec)) = (total("calls"), total("usec")) else { continue };
        for (percentile, value) in percentiles {
            let quantile = percentile.trim_start_matches('p');
            if let Some(value) = number(value) {
                summary.sample(&[("cmd", command), ("quantile", quantile)], value);
            }
        }
        summary.sample_of("_sum", &[("cmd", command)], usec);
        summary.sample_of("_count", &[("cmd", command)], calls);
    }
}

fn errors(out: &mut Exposition, sorted: &Sorted<'_>) {
    let metric = ("redis_errors_total", Kind::Counter, "Error replies by their first word.");
    labelled(out, metric, "err", &sorted.errors, ("count", 1.0));
}

/// What a primary knows of its replicas, and a replica of its primary.
fn replication(out: &mut Exposition, sorted: &Sorted<'_>) {
    for (metric, help, part) in [
        ("redis_connected_slave_offset_bytes", "How far a replica has got.", "offset"),
        ("redis_connected_slave_lag_seconds", "Since when a replica was not heard of.", "lag"),
    ] {
        let mut samples = out.metric(metric, Kind::Gauge, help);
        for replica in &sorted.replicas {
            let get = |part| replica.get(part).copied().unwrap_or_default();
            if let Some(value) = number(get(part)) {
                let labels = [
                    ("slave_ip", get("ip")),
                    ("slave_port", get("port")),
                    ("slave_state", get("state")),
                ];
                samples.sample(&labels, value);
            }
        }
    }
    if sorted.field("role") != "slave" {
        return;
    }
    let primary = [
        ("master_host", sorted.field("master_host")),
        ("master_port", sorted.field("master_port")),
    ];
    let up = f64::from(u8::from(sorted.field("master_link_status") == "up"));
    out.metric("redis_master_link_up", Kind::Gauge, "Whether the primary is connected.")
        .sample(&primary, up);
    for (field, help) in [
        ("master_last_io_seconds_ago", "Since when the primary was not heard of."),
        ("master_sync_in_progress", "Whether the data of the primary is being transferred."),
        ("slave_repl_offset", "How far this replica has got."),
    ] {
        if let Some(value) = number(sorted.field(field)) {
            out.metric(&format!("redis_{field}"), Kind::Gauge, help).sample(&primary, value);
        }
    }
    let read_only = ("read_only", sorted.field("slave_read_only"));
    out.metric("redis_slave_info", Kind::Gauge, "Whose replica this is; the value is always 1.")
        .sample(&[primary[0], primary[1], read_only], 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_samples_of_the_names_that_dashboards_know() {
        let info = "# Server\r\nredis_version:7.4.2\r\nserver_time_usec:5000000\r\nuptime_in_seconds:3\r\n\
                    # Stats\r\nlatest_fork_usec:1500000\r\ntotal_commands_processed:7\r\n\
                    # Persistence\r\naof_last_write_status:err\r\n\
                    # Replication\r\nrole:master\r\nslave0:ip=::1,port=7,state=online,offset=9,lag=1\r\n\
                    # Commandstats\r\ncmdstat_config|get:calls=2,usec=3000000,usec_per_call=1.5,\
                    rejected_calls=1,failed_calls=0\r\n\
                    # Latencystats\r\nlatency_percentiles_usec_config|get:p50=1.500,p99.9=2.000\r\n\
                    # Errorstats\r\nerrorstat_A\"\\:B:count=4\r\n\
                    # Keyspace\r\ndb3:keys=5,expires=2,avg_ttl=1500\r\n";
        let text = exposition(info, &Config::new()).finish();
        for line in [
            "redis_up 1",
            "redis_instance_info{role=\"master\",redis_version=\"7.4.2\",redis_build_id=\"\",\
             redis_mode=\"\",os=\"\",maxmemory_policy=\"\",tcp_port=\"\",run_id=\"\",process_id=\"\",\
             master_replid=\"\"} 1",
            "redis_start_time_seconds 2",
            "redis_latest_fork_seconds 1.5",
            "# TYPE redis_commands_processed_total counter",
            "redis_commands_processed_total 7",
            "redis_aof_last_write_status 0",
            "redis_config_maxclients 10000",
            "redis_config_client_output_buffer_limit_bytes{class=\"pubsub\",limit=\"soft\"} 8388608",
            "redis_connected_slave_offset_bytes{slave_ip=\"::1\",slave_port=\"7\",slave_state=\"online\"} 9",
            "redis_commands_total{cmd=\"config|get\"} 2",
            "redis_commands_duration_seconds_total{cmd=\"config|get\"} 3",
            "redis_commands_rejected_calls_total{cmd=\"config|get\"} 1",
            "# TYPE redis_latency_percentiles_usec summary",
            "redis_latency_percentiles_usec{cmd=\"config|get\",quantile=\"99.9\"} 2",
            "redis_latency_percentiles_usec_sum{cmd=\"config|get\"} 3000000",
            "redis_latency_percentiles_usec_count{cmd=\"config|get\"} 2",
            "redis_errors_total{err=\"A\\\"\\\\:B\"} 4",
            "redis_db_keys{db=\"db3\"} 5",
            "redis_db_avg_ttl_seconds{db=\"db3\"} 1.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("redis_master_link_up"), "{text}");
    }

    #[test]
    fn a_replica_knows_its_primary() {
        let info = "# Replication\r\nrole:slave\r\nmaster_host:h\r\nmaster_port:6379\r\n\
                    master_link_status:up\r\nslave_repl_offset:7\r\nslave_read_only:1\r\n";
        let text = exposition(info, &Config::new()).finish();
        for line in [
            "redis_master_link_up{master_host=\"h\",master_port=\"6379\"} 1",
            "redis_slave_repl_offset{master_host=\"h\",master_port=\"6379\"} 7",
            "redis_slave_info{master_host=\"h\",master_port=\"6379\",read_only=\"1\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
