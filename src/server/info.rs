//! INFO as a table of sections.
//!
//! Field names, order and number formats are Redis's, because monitoring reads them by name and in
//! places by position.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use super::info_keys;
use super::memory::Ratio;
use super::{LoadingFigures, Server};
use crate::acl::Reason;
use crate::base::bytes::human_size;
use crate::base::{bytes, clock};
use crate::config::REDIS_VERSION;
use crate::keyspace::{DbFigures, Stats as KeyStats};
use crate::observe::allocator;
use crate::observe::stats::{Counter, LoopCounters};
use crate::pubsub::Kind;

/// What INFO shows that the server does not know itself.
pub struct InfoContext<'a> {
    /// The memory in use before the text was made.
    pub memory: allocator::Figures,
    /// Names of commands and subcommands by id.
    pub command_names: &'a [String],
    /// What was counted in the keyspace.
    pub keys: &'a KeyStats,
    /// What is in each database.
    pub databases: &'a [DbFigures],
}

/// A section: its name, whether it is shown unasked, and what writes its fields.
type Section = (&'static str, Shown, fn(&Server, &InfoContext<'_>, &mut String));

/// When a section is shown without being named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Always.
    Default,
    /// With `all` or `everything`.
    All,
    /// Never.
    Named,
}

/// The sections in order, under the headings of Redis.
const SECTIONS: &[Section] = &[
    ("Server", Shown::Default, server),
    ("Clients", Shown::Default, clients),
    ("Memory", Shown::Default, memory),
    ("Persistence", Shown::Default, persistence),
    ("Threads", Shown::Default, threads),
    ("Stats", Shown::Default, stats),
    ("Replication", Shown::Default, replication),
    ("CPU", Shown::Default, cpu),
    ("Modules", Shown::Default, |_, _, _| {}),
    ("Commandstats", Shown::All, commandstats),
    ("Errorstats", Shown::Default, errorstats),
    ("Latencystats", Shown::All, latencystats),
    ("Cluster", Shown::Default, |_, _, out| field(out, "cluster_enabled", 0)),
    ("Keyspace", Shown::Default, keyspace),
    ("Keysizes", Shown::Default, |server, _, out| info_keys::keysizes(server, out)),
    ("Hotkeys", Shown::Named, |server, _, out| info_keys::hotkeys(server, out)),
    ("Bigkeys", Shown::Named, |server, _, out| info_keys::bigkeys(server, out)),
    ("Debug", Shown::Named, |server, _, out| debug(server, out)),
];

impl Server {
    /// The text of INFO for the sections `asked` for, or the default ones for none.
    pub fn info(&self, asked: &[&[u8]], context: &InfoContext<'_>) -> String {
        let named = |name: &str| asked.iter().any(|word| bytes::is_word(word, name));
        let everything = named("all") || named("everything");
        let default = asked.is_empty() || named("default");
        let mut out = String::new();
        for (title, shown, write) in SECTIONS {
            let wanted = everything && *shown != Shown::Named
                || default && *shown == Shown::Default
                || named(&title.to_ascii_lowercase());
            if wanted {
                if !out.is_empty() {
                    out.push_str("\r\n");
                }
                put(&mut out, format_args!("# {title}\r\n"));
                write(self, context, &mut out);
            }
        }
        out
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory does not fail");
}

fn field(out: &mut String, name: &str, value: impl std::fmt::Display) {
    put(out, format_args!("{name}:{value}\r\n"));
}

fn server(server: &Server, _: &InfoContext<'_>, out: &mut String) {
    let (now_us, system) = (clock::now_us(), rustix::system::uname());
    let uptime = (now_us / 1000 - server.started_at_ms) / 1000;
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let config = server.config.read();
    field(out, "redis_version", REDIS_VERSION);
    field(out, "redis_git_sha1", "00000000");
    field(out, "redis_git_dirty", 0);
    field(out, "redis_build_id", env!("CARGO_PKG_VERSION"));
    field(out, "redis_mode", "standalone");
    field(out, "server_name", "redstart");
    field(out, "redstart_version", env!("CARGO_PKG_VERSION"));
    field(out, "server_mode", "standalone");
    let (name, release) = (text(system.sysname()), text(system.release()));
    field(out, "os", format!("{name} {release} {}", text(system.machine())));
    field(out, "arch_bits", usize::BITS);
    field(out, "monotonic_clock", "POSIX clock_gettime");
    field(out, "multiplexing_api", "epoll");
    field(out, "process_id", std::process::id());
    field(out, "process_supervised", server.supervisor.get().unwrap_or(&"no"));
    field(out, "run_id", &server.run_id);
    let port = match config.int("port") {
        0 => config.int("tls-port"),
        port => port,
    };
    field(out, "tcp_port", port);
    field(out, "server_time_usec", now_us);
    field(out, "uptime_in_seconds", uptime);
    field(out, "uptime_in_days", uptime / 86_400);
    field(out, "hz", config.int("hz"));
    field(out, "configured_hz", config.int("hz"));
    field(out, "lru_clock", (now_us / 1_000_000) & 0xff_ffff);
    let program = std::env::current_exe().unwrap_or_default();
    field(out, "executable", program.display());
    field(out, "config_file", config.path().map_or(String::new(), |p| p.display().to_string()));
    field(out, "io_threads_active", 0);
    field(out, "event_loops", server.threads());
    for listener in server.listeners.read().iter() {
        // The numbers are those that Redis gives the kinds.
        let number = match listener.kind {
            "tcp" => 0,
            "unix" => 1,
            _ => 2,
        };
        put(out, format_args!("listener{number}:name={}", listener.kind));
        listener.binds.iter().for_each(|bind| put(out, format_args!(",bind={bind}")));
        if listener.port != 0 {
            put(out, format_args!(",port={}", listener.port));
        }
        out.push_str("\r\n");
    }
}

fn clients(server: &Server, _: &InfoContext<'_>, out: &mut String) {
    let all = server.clients.all();
    let most = |read: fn(&super::ClientHandle) -> usize| {
        all.iter().map(|client| read(client)).max().unwrap_or(0)
    };
    field(out, "connected_clients", all.len());
    field(out, "cluster_connections", 0);
    field(out, "maxclients", server.settings.clients_max.load(Relaxed));
    field(out, "client_recent_max_input_buffer", most(|client| client.query_len.load(Relaxed)));
    field(out, "client_recent_max_output_buffer", most(super::ClientHandle::output_len));
    field(out, "blocked_clients", server.blocked.clients());
    field(out, "total_blocking_keys", server.blocked.keys());
    field(out, "tracking_clients", server.tracking.clients());
    field(out, "pubsub_clients", server.pubsub.clients());
    field(out, "watching_clients", server.watched.clients());
    field(out, "clients_in_timeout_table", 0);
    field(out, "total_watched_keys", server.watched.keys());
    field(out, "total_blocking_keys_on_nokey", 0);
}

fn memory(server: &Server, context: &InfoContext<'_>, out: &mut String) {
    let use_of = server.memory_use(context.memory, context.databases);
    let figures = use_of.allocator;
    let both = |out: &mut String, name: &str, size: u64| {
        field(out, name, size);
        field(out, &format!("{name}_human"), human_size(size));
    };
    both(out, "used_memory", figures.allocated as u64);
    both(out, "used_memory_rss", use_of.resident as u64);
    both(out, "used_memory_peak", use_of.peak as u64);
    field(out, "used_memory_peak_time", server.peak_memory_at_s.load(Relaxed));
    field(out, "used_memory_peak_perc", format!("{:.2}%", use_of.peak_percent()));
    field(out, "used_memory_overhead", use_of.overhead());
    field(out, "used_memory_startup", use_of.startup);
    field(out, "used_memory_dataset", use_of.dataset());
    field(out, "used_memory_dataset_perc", format!("{:.2}%", use_of.dataset_percent()));
    field(out, "allocator_allocated", figures.allocated);
    field(out, "allocator_active", figures.active);
    field(out, "allocator_resident", figures.resident);
    field(out, "allocator_muzzy", 0);
    both(out, "total_system_memory", total_system_bytes());
    scripts(server, out);
    both(out, "maxmemory", server.eviction.max.load(Relaxed));
    let config = server.config.read();
    let policy = config.text("maxmemory-policy");
    field(out, "maxmemory_policy", policy);
    for limit in config.db_limits() {
        let (used, policy) = (server.keyspace.db_used(limit.db), limit.policy.unwrap_or(policy));
        let value = format!("used={used},max={},policy={policy}", limit.bytes);
        field(out, &format!("maxmemory_db{}", limit.db), value);
    }
    drop(config);
    for Ratio { name, part, whole } in use_of.ratios() {
        field(out, &format!("{name}_ratio"), format!("{:.2}", part as f64 / whole.max(1) as f64));
        field(out, &format!("{name}_bytes"), part as i64 - whole as i64);
    }
    field(out, "mem_not_counted_for_evict", server.uncounted_memory());
    field(out, "mem_replication_backlog", 0);
    field(out, "mem_total_replication_buffers", 0);
    field(out, "mem_replica_full_sync_buffer", 0);
    field(out, "mem_clients_slaves", 0);
    field(out, "mem_clients_normal", use_of.clients);
    field(out, "mem_cluster_links", 0);
    field(out, "mem_aof_buffer", use_of.log_buffer);
    field(out, "mem_allocator", allocator::version());
    field(out, "mem_overhead_db_hashtable_rehashing", 0);
    field(out, "active_defrag_running", 0);
    field(out, "lazyfree_pending_objects", server.lazyfree.pending());
    field(out, "lazyfreed_objects", server.lazyfree.freed());
}

/// What scripts and functions take. There is one interpreter for both; it counts as that of scripts.
fn scripts(server: &Server, out: &mut String) {
    let figures = server.scripts.figures();
    let get = |figure: &std::sync::atomic::AtomicUsize| figure.load(Relaxed);
    let (vm, cached) = (get(&figures.vm_bytes), get(&figures.scripts_bytes));
    let libraries = get(&figures.libraries_bytes);
    field(out, "used_memory_lua", vm);
    field(out, "used_memory_vm_eval", vm);
    field(out, "used_memory_lua_human", human_size(vm as u64));
    field(out, "used_memory_scripts_eval", cached);
    field(out, "number_of_cached_scripts", get(&figures.scripts));
    field(out, "number_of_functions", get(&figures.functions));
    field(out, "number_of_libraries", get(&figures.libraries));
    field(out, "used_memory_vm_functions", 0);
    field(out, "used_memory_vm_total", vm);
    field(out, "used_memory_vm_total_human", human_size(vm as u64));
    field(out, "used_memory_functions", libraries);
    field(out, "used_memory_scripts", cached + libraries);
    field(out, "used_memory_scripts_human", human_size((cached + libraries) as u64));
}

fn total_system_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram as u64 * u64::from(info.mem_unit)
}

fn persistence(server: &Server, _: &InfoContext<'_>, out: &mut String) {
    let saving = server.saving.figures();
    let seconds = |known: Option<u64>| known.map_or_else(|| "-1".to_owned(), |s| s.to_string());
    let current = |wanted: bool| seconds(saving.current_seconds.filter(|_| wanted));
    let (written, keys) = saving.keys;
    let percent = if keys == 0 { 0.0 } else { written as f64 * 100.0 / keys as f64 };
    let loading = server.loading.figures();
    field(out, "loading", u8::from(loading.is_some()));
    field(out, "async_loading", 0);
    field(out, "current_cow_peak", 0);
    field(out, "current_cow_size", 0);
    field(out, "current_cow_size_age", 0);
    field(out, "current_fork_perc", format!("{percent:.2}"));
    field(out, "current_save_keys_processed", written);
    field(out, "current_save_keys_total", keys);
    field(out, "rdb_changes_since_last_save", server.unsaved_changes());
    field(out, "rdb_bgsave_in_progress", u8::from(saving.saving));
    field(out, "rdb_last_save_time", saving.last_save_s);
    field(out, "rdb_last_bgsave_status", if saving.ok { "ok" } else { "err" });
    field(out, "rdb_last_bgsave_time_sec", seconds(saving.last_seconds));
    field(out, "rdb_current_bgsave_time_sec", current(saving.saving));
    field(out, "rdb_saves", saving.saves);
    field(out, "rdb_last_cow_size", saving.held_peak);
    let loaded = server.loading.last();
    field(out, "rdb_last_load_keys_expired", loaded.expired);
    field(out, "rdb_last_load_keys_loaded", loaded.keys);
    let aof = server.appending_figures();
    field(out, "aof_enabled", u8::from(aof.enabled));
    field(out, "aof_rewrite_in_progress", u8::from(saving.rewriting));
    field(out, "aof_rewrite_scheduled", u8::from(aof.scheduled));
    field(out, "aof_last_rewrite_time_sec", seconds(aof.last_seconds));
    field(out, "aof_current_rewrite_time_sec", current(saving.rewriting));
    field(out, "aof_last_bgrewrite_status", if aof.failures == 0 { "ok" } else { "err" });
    field(out, "aof_rewrites", aof.rewrites);
    field(out, "aof_rewrites_consecutive_failures", aof.failures);
    let ok = aof.file.is_none_or(|file| file.is_ok);
    field(out, "aof_last_write_status", if ok { "ok" } else { "err" });
    field(out, "aof_last_cow_size", 0);
    field(out, "module_fork_in_progress", 0);
    field(out, "module_fork_last_cow_size", 0);
    if let Some(file) = aof.file {
        field(out, "aof_current_size", file.current_size);
        field(out, "aof_base_size", file.base_size);
        field(out, "aof_pending_rewrite", 0);
        field(out, "aof_buffer_length", file.waiting);
        field(out, "aof_pending_bio_fsync", file.pending_syncs);
        field(out, "aof_delayed_fsync", file.delayed_syncs);
    }
    if let Some(LoadingFigures { started_s, total, loaded, elapsed_ms }) = loading {
        let percent = if total == 0 { 0.0 } else { loaded as f64 * 100.0 / total as f64 };
        let left = total.saturating_sub(loaded) as f64;
        let eta = if loaded == 0 { 1.0 } else { left * elapsed_ms as f64 / loaded as f64 / 1000.0 };
        field(out, "loading_start_time", started_s);
        field(out, "loading_total_bytes", total);
        field(out, "loading_rdb_used_mem", server.loading.last().used_mem);
        field(out, "loading_loaded_bytes", loaded);
        field(out, "loading_loaded_perc", format!("{percent:.2}"));
        field(out, "loading_eta_seconds", eta as u64);
    }
}

/// Event loops in the place of threads that read and write.
fn threads(server: &Server, _: &InfoContext<'_>, out: &mut String) {
    let clients = server.clients.loads(server.threads());
    for (number, (counters, clients)) in server.stats.event_loops().iter().zip(clients).enumerate()
    {
        let (reads, writes) = (counters.reads.get(), counters.writes.get());
        let value = format!("clients={clients},reads={reads},writes={writes}");
        field(out, &format!("io_thread_{number}"), value);
    }
}

fn stats(server: &Server, context: &InfoContext<'_>, out: &mut String) {
    let (stats, keys) = (&server.stats, context.keys);
    let [commands, input, output, cycles, busy_us] = stats.rates();
    let sum = |counter: fn(&LoopCounters) -> &Counter| stats.sum(counter);
    field(out, "total_connections_received", stats.connections.load(Relaxed));
    field(out, "total_commands_processed", stats.sum(|counters| &counters.processed));
    field(out, "instantaneous_ops_per_sec", commands.round() as u64);
    field(out, "total_net_input_bytes", stats.sum(|counters| &counters.net_input));
    field(out, "total_net_output_bytes", stats.sum(|counters| &counters.net_output));
    field(out, "total_net_repl_input_bytes", 0);
    field(out, "total_net_repl_output_bytes", 0);
    field(out, "instantaneous_input_kbps", format!("{:.2}", input / 1024.0));
    field(out, "instantaneous_output_kbps", format!("{:.2}", output / 1024.0));
    field(out, "instantaneous_input_repl_kbps", "0.00");
    field(out, "instantaneous_output_repl_kbps", "0.00");
    field(out, "rejected_connections", stats.rejected_connections.load(Relaxed));
    field(out, "sync_full", 0);
    field(out, "sync_partial_ok", 0);
    field(out, "sync_partial_err", 0);
    field(out, "expired_subkeys", keys.expired_fields);
    field(out, "expired_keys", keys.expired);
    // The cycle goes straight to what is due, so nothing stale waits to be sampled.
    field(out, "expired_stale_perc", "0.00");
    field(out, "expired_time_cap_reached_count", sum(|l| &l.expire_cut));
    field(out, "expire_cycle_cpu_milliseconds", sum(|l| &l.expire_us) / 1000);
    field(out, "evicted_keys", keys.evicted);
    field(out, "evicted_clients", server.client_memory.evicted());
    let (exceeded, current) = server.eviction.exceeded_us();
    field(out, "total_eviction_exceeded_time", exceeded / 1000);
    field(out, "current_eviction_exceeded_time", current / 1000);
    field(out, "evicted_scripts", server.scripts.figures().evicted.load(Relaxed));
    field(out, "keyspace_hits", keys.hits);
    field(out, "keyspace_misses", keys.misses);
    field(out, "pubsub_channels", server.pubsub.len(Kind::Channel));
    field(out, "pubsub_patterns", server.pubsub.len(Kind::Pattern));
    field(out, "pubsubshard_channels", server.pubsub.len(Kind::Shard));
    field(out, "latest_fork_usec", 0);
    field(out, "total_forks", 0);
    field(out, "migrate_cached_sockets", server.couriers.kept());
    field(out, "slave_expires_tracked_keys", 0);
    for name in ["hits", "misses", "key_hits", "key_misses"] {
        field(out, &format!("active_defrag_{name}"), 0);
    }
    field(out, "total_active_defrag_time", 0);
    field(out, "current_active_defrag_time", 0);
    field(out, "tracking_total_keys", server.tracking.keys());
    field(out, "tracking_total_items", server.tracking.items());
    field(out, "tracking_total_prefixes", server.tracking.prefixes());
    field(out, "unexpected_error_replies", 0);
    field(out, "total_error_replies", stats.sum(|counters| &counters.errors));
    field(out, "dump_payload_sanitizations", stats.payloads_checked.load(Relaxed));
    field(out, "total_reads_processed", sum(|l| &l.reads));
    field(out, "total_writes_processed", sum(|l| &l.writes));
    // Every event loop reads and writes; none does so for another.
    field(out, "io_threaded_reads_processed", 0);
    field(out, "io_threaded_writes_processed", 0);
    let (query, output) = (&stats.query_limit_disconnections, &stats.output_limit_disconnections);
    field(out, "client_query_buffer_limit_disconnections", query.load(Relaxed));
    field(out, "client_output_buffer_limit_disconnections", output.load(Relaxed));
    acl_denials(server, out);
    field(out, "reply_buffer_shrinks", 0);
    field(out, "reply_buffer_expands", 0);
    field(out, "eventloop_cycles", sum(|l| &l.cycles));
    field(out, "eventloop_duration_sum", sum(|l| &l.busy_us));
    let ticks = (0..context.command_names.len()).map(|id| stats.command(id).ticks).sum();
    field(out, "eventloop_duration_cmd_sum", clock::ticks_to_us(ticks));
    field(out, "instantaneous_eventloop_cycles_per_sec", cycles.round() as u64);
    let mean_us = if cycles > 0.0 { busy_us / cycles } else { 0.0 };
    field(out, "instantaneous_eventloop_duration_usec", mean_us.round() as u64);
}

fn acl_denials(server: &Server, out: &mut String) {
    let denied = |reason| server.acl.denied(reason);
    field(out, "acl_access_denied_auth", denied(Reason::Auth));
    field(out, "acl_access_denied_cmd", denied(Reason::Command));
    field(out, "acl_access_denied_key", denied(Reason::Key));
    field(out, "acl_access_denied_channel", denied(Reason::Channel));
    field(out, "acl_access_denied_db", denied(Reason::Database));
}

fn replication(server: &Server, _: &InfoContext<'_>, out: &mut String) {
    field(out, "role", "master");
    field(out, "slave_priority", server.config.read().int("replica-priority"));
    field(out, "connected_slaves", 0);
    field(out, "master_failover_state", "no-failover");
    field(out, "master_replid", &server.run_id);
    field(out, "master_replid2", "0".repeat(40));
    field(out, "master_repl_offset", 0);
    field(out, "second_repl_offset", -1);
    field(out, "repl_backlog_active", 0);
    field(out, "repl_backlog_size", server.config.read().int("repl-backlog-size"));
    field(out, "repl_backlog_first_byte_offset", 0);
    field(out, "repl_backlog_histlen", 0);
}

fn cpu(server: &Server, _: &InfoContext<'_>, out: &mut String) {
    let (user, system) = cpu_seconds().unwrap_or_default();
    field(out, "used_cpu_sys", format!("{system:.6}"));
    field(out, "used_cpu_user", format!("{user:.6}"));
    field(out, "used_cpu_sys_children", "0.000000");
    field(out, "used_cpu_user_children", "0.000000");
    let (user, system) =
        cpu_seconds_of(&format!("self/task/{}", std::process::id())).unwrap_or_default();
    field(out, "used_cpu_sys_main_thread", format!("{system:.6}"));
    field(out, "used_cpu_user_main_thread", format!("{user:.6}"));
    let busy_us = server.stats.sum(|l| &l.busy_us);
    field(out, "used_active_time_main_thread", format!("{:.6}", busy_us as f64 / 1e6));
}

/// User and system time of the process from procfs, in seconds.
pub fn cpu_seconds() -> Option<(f64, f64)> {
    cpu_seconds_of("self")
}

/// User and system time of the process or one of its threads from procfs, in seconds.
fn cpu_seconds_of(whose: &str) -> Option<(f64, f64)> {
    let text = std::fs::read_to_string(format!("/proc/{whose}/stat")).ok()?;
    // The program's name, in brackets, may hold spaces; fields are counted behind it.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    let mut next = || Some(fields.next()?.parse::<f64>().ok()? / ticks_per_second);
    Some((next()?, next()?))
}

/// Of all event loops: sums, or the greatest. What Redis says of Lua's own share of the allocator but the
/// first is left out, as Lua has none here.
fn debug(server: &Server, out: &mut String) {
    field(out, "eventloop_duration_aof_sum", server.propagation.waited_us());
    field(out, "eventloop_duration_cron_sum", server.stats.sum(|l| &l.cron_us));
    let longest = clock::ticks_to_us(server.stats.max(|l| &l.cycle_ticks_max));
    field(out, "eventloop_duration_max", longest);
    field(out, "eventloop_cmd_per_cycle_max", server.stats.max(|l| &l.cycle_commands_max));
    field(out, "allocator_allocated_lua", server.scripts.figures().vm_bytes.load(Relaxed));
}

fn commandstats(server: &Server, context: &InfoContext<'_>, out: &mut String) {
    for (id, name) in context.command_names.iter().enumerate() {
        let totals = server.stats.command(id);
        if totals.calls + totals.rejected + totals.failed == 0 {
            continue;
        }
        let usec = clock::ticks_to_us(totals.ticks);
        let per_call = usec as f64 / totals.calls.max(1) as f64;
        put(
            out,
            format_args!(
                "cmdstat_{name}:calls={},usec={usec},usec_per_call={per_call:.2},\
                 rejected_calls={},failed_calls={}\r\n",
                totals.calls, totals.rejected, totals.failed
            ),
        );
    }
}

fn errorstats(server: &Server, _: &InfoContext<'_>, out: &mut String) {
    for (kind, count) in server.stats.errors() {
        // What a script made up must not look like another field.
        let kind = kind.replace(['#', ':', '\r', '\n'], "_");
        put(out, format_args!("errorstat_{kind}:count={count}\r\n"));
    }
}

/// Percentiles of each command's execution times, in microseconds.
fn latencystats(server: &Server, context: &InfoContext<'_>, out: &mut String) {
    if !server.settings.latency_tracking.load(Relaxed) {
        return;
    }
    let percents = server.config.read().print("latency-tracking-info-percentiles");
    let percents = percents.expect("the table has the directive");
    for (id, name) in context.command_names.iter().enumerate() {
        let latency = server.stats.latency(id);
        if latency.is_empty() {
            continue;
        }
        let shown: Vec<String> = percents
            .split_ascii_whitespace()
            .filter_map(|percent| Some((percent, percent.parse().ok()?)))
            .map(|(text, percent)| {
                let us = latency.percentile(percent) as f64 / clock::ticks_per_us();
                format!("p{text}={us:.3}")
            })
            .collect();
        put(out, format_args!("latency_percentiles_usec_{name}:{}\r\n", shown.join(",")));
    }
}

fn keyspace(server: &Server, context: &InfoContext<'_>, out: &mut String) {
    let (counts, census) = (context.databases.iter().enumerate(), server.censuses.last());
    for (db, figures) in counts.filter(|(_, figures)| figures.keys > 0) {
        let DbFigures { keys, volatile, .. } = figures;
        let ttl_ms = figures.mean_ttl_ms(server.now_ms());
        let subexpiry = census.databases.get(db).map_or(0, |part| part.volatile_hashes);
        put(
            out,
            format_args!(
                "db{db}:keys={keys},expires={volatile},avg_ttl={ttl_ms},subexpiry={subexpiry}\r\n"
            ),
        );
    }
}
