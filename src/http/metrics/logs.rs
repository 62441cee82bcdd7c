//! Metrics of SLOWLOG, COMMANDLOG and LATENCY, read where these commands read.

use super::text::{Exposition, Kind};
use crate::base::clock;
use crate::config::Config;
use crate::observe::command_log::LogKind;
use crate::server::Server;

/// Lengths and bounds of the logs, the newest slow command, and the last of each kind of latency event.
pub(super) fn metrics(out: &mut Exposition, server: &Server, config: &Config) {
    let log = &server.command_log;
    let newest = log.newest(LogKind::Slow, 1).pop();
    let (id, us) = newest.map_or((0, 0), |entry| (entry.id, entry.value));
    let length = |kind| log.len(kind) as f64;
    let directive = |name| config.int(name) as f64;
    for (name, help, value) in [
        ("slowlog_length", "Entries of SLOWLOG.", length(LogKind::Slow)),
        ("slowlog_last_id", "Number of its newest entry.", id as f64),
        ("last_slow_execution_duration_seconds", "How long that took.", us as f64 / 1e6),
        ("commandlog_slow_length", "Slow commands kept.", length(LogKind::Slow)),
        ("commandlog_large_request_length", "Large requests kept.", length(LogKind::LargeRequest)),
        ("commandlog_large_reply_length", "Large replies kept.", length(LogKind::LargeReply)),
        (
            "commandlog_execution_slower_than",
            "Microseconds from which on a command is slow.",
            directive("slowlog-log-slower-than"),
        ),
        (
            "commandlog_slow_execution_max_len",
            "Most slow commands kept.",
            directive("slowlog-max-len"),
        ),
        (
            "commandlog_request_larger_than",
            "Bytes from which on a request is large.",
            directive("commandlog-request-larger-than"),
        ),
        (
            "commandlog_large_request_max_len",
            "Most large requests kept.",
            directive("commandlog-large-request-max-len"),
        ),
        (
            "commandlog_reply_larger_than",
            "Bytes from which on a reply is large.",
            directive("commandlog-reply-larger-than"),
        ),
        (
            "commandlog_large_reply_max_len",
            "Most large replies kept.",
            directive("commandlog-large-reply-max-len"),
        ),
    ] {
        out.metric(&format!("redis_{name}"), Kind::Gauge, help).plain(value);
    }
    spikes(out, server);
}

fn spikes(out: &mut Exposition, server: &Server) {
    let events = server.latency.events();
    let last = || events.iter().filter_map(|(name, series)| Some((*name, *series.samples.back()?)));
    let mut at = out.metric(
        "redis_latency_spike_last",
        Kind::Gauge,
        "When an event last took too long, in Unix time.",
    );
    last().for_each(|(name, sample)| at.sample(&[("event_name", name)], sample.at_s as f64));
    let mut seconds = out.metric(
        "redis_latency_spike_duration_seconds",
        Kind::Gauge,
        "How long an event took that last took too long.",
    );
    last().for_each(|(name, sample)| {
        seconds.sample(&[("event_name", name)], sample.ms as f64 / 1e3);
    });
}

/// How long calls of each command took, as LATENCY HISTOGRAM has it.
pub(super) fn latencies(out: &mut Exposition, server: &Server, commands: &[String]) {
    let mut histogram = out.metric(
        "redis_commands_latencies_usec",
        Kind::Histogram,
        "How long calls of a command took, in microseconds.",
    );
    for (id, name) in commands.iter().enumerate() {
        let latency = server.stats.latency(id);
        if latency.is_empty() {
            continue;
        }
        let total = latency.total() as f64;
        for (us, count) in latency.doublings(clock::ticks_per_us()) {
            let le = us.to_string();
            histogram.sample_of("_bucket", &[("cmd", name), ("le", &le)], count as f64);
        }
        histogram.sample_of("_bucket", &[("cmd", name), ("le", "+Inf")], total);
        let us = clock::ticks_to_us(server.stats.command(id).ticks);
        histogram.sample_of("_sum", &[("cmd", name)], us as f64);
        histogram.sample_of("_count", &[("cmd", name)], total);
    }
}
