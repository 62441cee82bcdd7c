//! Fields of INFO and the metrics of redis_exporter that show them.
//!
//! Data only. A row for a field that INFO does not have yet does nothing.

use super::text::Kind;

/// A field of INFO that is one number.
pub(super) struct Field {
    /// Its name in INFO.
    pub(super) info: &'static str,
    /// The name of its metric, behind `redis_`.
    pub(super) metric: &'static str,
    pub(super) kind: Kind,
    /// What the number is multiplied with.
    pub(super) factor: f64,
    pub(super) help: &'static str,
}

const fn gauge(info: &'static str, metric: &'static str, help: &'static str) -> Field {
    Field { info, metric, kind: Kind::Gauge, factor: 1.0, help }
}

const fn counter(info: &'static str, metric: &'static str, help: &'static str) -> Field {
    Field { info, metric, kind: Kind::Counter, factor: 1.0, help }
}

#[rustfmt::skip]
pub(super) const FIELDS: &[Field] = &[
    // Server
    gauge("uptime_in_seconds", "uptime_in_seconds", "How long the server has been running."),
    gauge("process_id", "process_id", "Id of the process."),
    gauge("hz", "hz", "Rounds of background work per second."),
    gauge("configured_hz", "configured_hz", "Rounds of background work per second as configured."),
    gauge("io_threads_active", "io_threads_active", "Whether threads for input and output run."),

    // Clients
    gauge("connected_clients", "connected_clients", "Connections of clients."),
    gauge("blocked_clients", "blocked_clients", "Clients that wait for a key."),
    gauge("maxclients", "max_clients", "Most connections at once."),
    gauge("tracking_clients", "tracking_clients", "Clients that cache keys with the server's help."),
    gauge("clients_in_timeout_table", "clients_in_timeout_table", "Waiting clients with a timeout."),
    gauge("pubsub_clients", "pubsub_clients", "Clients that listen to channels."),
    gauge("watching_clients", "watching_clients", "Clients that watch keys."),
    gauge("total_watched_keys", "total_watched_keys", "Keys that are watched."),
    gauge("total_blocking_keys", "total_blocking_keys", "Keys that clients wait for."),
    gauge("total_blocking_keys_on_nokey", "total_blocking_keys_on_nokey",
        "Keys whose deletion clients wait for."),
    gauge("client_recent_max_output_buffer", "client_recent_max_output_buffer_bytes",
        "Most unread output of one client."),
    gauge("client_recent_max_input_buffer", "client_recent_max_input_buffer_bytes",
        "Most unparsed input of one client."),

    // Memory
    gauge("used_memory", "memory_used_bytes", "Memory in allocations."),
    gauge("used_memory_rss", "memory_used_rss_bytes", "Memory as the system counts it."),
    gauge("used_memory_peak", "memory_used_peak_bytes", "Most memory that was ever in allocations."),
    gauge("used_memory_overhead", "memory_used_overhead_bytes", "Memory of all but data."),
    gauge("used_memory_startup", "memory_used_startup_bytes", "Memory right after the start."),
    gauge("used_memory_dataset", "memory_used_dataset_bytes", "Memory of data."),
    gauge("used_memory_lua", "memory_used_lua_bytes", "Memory of the Lua interpreter."),
    gauge("used_memory_vm_eval", "memory_used_vm_eval_bytes", "Memory of the interpreter of scripts."),
    gauge("used_memory_scripts_eval", "memory_used_scripts_eval_bytes", "Memory of cached scripts."),
    gauge("used_memory_vm_functions", "memory_used_vm_functions_bytes",
        "Memory of the interpreter of functions."),
    gauge("used_memory_scripts", "memory_used_scripts_bytes", "Memory of scripts and functions."),
    gauge("used_memory_functions", "memory_used_functions_bytes", "Memory of functions."),
    gauge("used_memory_vm_total", "memory_used_vm_total", "Memory of all interpreters."),
    gauge("number_of_cached_scripts", "number_of_cached_scripts", "Scripts in the cache."),
    gauge("number_of_functions", "number_of_functions", "Functions that are loaded."),
    gauge("number_of_libraries", "number_of_libraries", "Libraries of functions."),
    gauge("maxmemory", "memory_max_bytes", "Most memory for data; 0 is no limit."),
    gauge("total_system_memory", "total_system_memory_bytes", "Memory of the machine."),
    gauge("allocator_active", "allocator_active_bytes", "Pages that hold allocations."),
    gauge("allocator_allocated", "allocator_allocated_bytes", "Allocations."),
    gauge("allocator_resident", "allocator_resident_bytes", "Pages that the allocator keeps."),
    gauge("allocator_muzzy", "allocator_muzzy_bytes", "Pages that the system may take back."),
    gauge("allocator_frag_ratio", "allocator_frag_ratio", "Active pages per allocated memory."),
    gauge("allocator_frag_bytes", "allocator_frag_bytes", "Active pages without allocated memory."),
    gauge("allocator_rss_ratio", "allocator_rss_ratio", "Resident pages per active ones."),
    gauge("allocator_rss_bytes", "allocator_rss_bytes", "Resident pages that are not active."),
    gauge("mem_fragmentation_ratio", "mem_fragmentation_ratio", "Resident memory per memory used."),
    gauge("mem_fragmentation_bytes", "mem_fragmentation_bytes", "Resident memory that is not used."),
    gauge("mem_clients_slaves", "mem_clients_slaves", "Memory of replicas' connections, in bytes."),
    gauge("mem_clients_normal", "mem_clients_normal", "Memory of clients' connections, in bytes."),
    gauge("mem_cluster_links", "mem_cluster_links_bytes", "Memory of connections to other nodes."),
    gauge("mem_aof_buffer", "mem_aof_buffer_bytes", "What waits to be appended to the file."),
    gauge("mem_replication_backlog", "mem_replication_backlog_bytes", "Memory of the backlog."),
    gauge("mem_total_replication_buffers", "mem_total_replication_buffers_bytes",
        "Memory of the backlog and of what replicas are still to get."),
    gauge("mem_not_counted_for_evict", "mem_not_counted_for_eviction_bytes",
        "Memory that maxmemory does not count."),
    gauge("mem_overhead_db_hashtable_rehashing", "mem_overhead_db_hashtable_rehashing_bytes",
        "Memory of tables that are being moved."),
    gauge("lazyfree_pending_objects", "lazyfree_pending_objects", "Values that wait to be freed."),
    gauge("lazyfreed_objects", "lazyfreed_objects", "Values freed in the background."),
    gauge("active_defrag_running", "active_defrag_running", "Effort of defragmentation, in percent."),
    gauge("active_defrag_hits", "defrag_hits", "Values that defragmentation moved."),
    gauge("active_defrag_misses", "defrag_misses", "Values that it left where they were."),
    gauge("active_defrag_key_hits", "defrag_key_hits", "Keys of which it moved something."),
    gauge("active_defrag_key_misses", "defrag_key_misses", "Keys of which it moved nothing."),
    gauge("migrate_cached_sockets", "migrate_cached_sockets_total", "Connections kept for MIGRATE."),
    gauge("expired_stale_perc", "expired_stale_percentage", "Keys that are likely to have expired."),

    // Persistence
    gauge("loading", "loading_dump_file", "Whether the data is being loaded."),
    gauge("async_loading", "async_loading", "Whether data is loaded while the old one is served."),
    gauge("rdb_changes_since_last_save", "rdb_changes_since_last_save",
        "Changes that no snapshot has."),
    gauge("rdb_bgsave_in_progress", "rdb_bgsave_in_progress", "Whether a snapshot is being saved."),
    gauge("rdb_last_save_time", "rdb_last_save_timestamp_seconds",
        "When a snapshot was last saved, in Unix time."),
    gauge("rdb_last_bgsave_status", "rdb_last_bgsave_status", "Whether the last save succeeded."),
    gauge("rdb_last_bgsave_time_sec", "rdb_last_bgsave_duration_sec", "How long the last save took."),
    gauge("rdb_current_bgsave_time_sec", "rdb_current_bgsave_duration_sec",
        "How long the save under way has taken; -1 for none."),
    gauge("rdb_saves", "rdb_saves_total", "Snapshots saved."),
    gauge("rdb_last_cow_size", "rdb_last_cow_size_bytes", "Memory that the last save took."),
    gauge("rdb_last_load_keys_expired", "rdb_last_load_expired_keys",
        "Keys of the file that had expired when it was loaded."),
    gauge("rdb_last_load_keys_loaded", "rdb_last_load_loaded_keys", "Keys loaded from the file."),
    gauge("aof_enabled", "aof_enabled", "Whether there is an append-only file."),
    gauge("aof_rewrite_in_progress", "aof_rewrite_in_progress", "Whether it is being rewritten."),
    gauge("aof_rewrite_scheduled", "aof_rewrite_scheduled", "Whether it is to be rewritten."),
    gauge("aof_last_rewrite_time_sec", "aof_last_rewrite_duration_sec",
        "How long the last rewrite took."),
    gauge("aof_current_rewrite_time_sec", "aof_current_rewrite_duration_sec",
        "How long the rewrite under way has taken; -1 for none."),
    gauge("aof_last_cow_size", "aof_last_cow_size_bytes", "Memory that the last rewrite took."),
    gauge("aof_current_size", "aof_current_size_bytes", "Size of the append-only file."),
    gauge("aof_base_size", "aof_base_size_bytes", "Its size after the last rewrite."),
    gauge("aof_pending_rewrite", "aof_pending_rewrite", "Whether a rewrite waits for a snapshot."),
    gauge("aof_buffer_length", "aof_buffer_length", "Bytes that wait to be written."),
    gauge("aof_rewrite_buffer_length", "aof_rewrite_buffer_length", "Bytes that wait for a rewrite."),
    gauge("aof_pending_bio_fsync", "aof_pending_bio_fsync", "Syncs under way."),
    gauge("aof_delayed_fsync", "aof_delayed_fsync", "Syncs that came late."),
    gauge("aof_last_bgrewrite_status", "aof_last_bgrewrite_status",
        "Whether the last rewrite succeeded."),
    gauge("aof_last_write_status", "aof_last_write_status", "Whether the last write succeeded."),
    gauge("module_fork_in_progress", "module_fork_in_progress", "Whether a module's child runs."),
    gauge("module_fork_last_cow_size", "module_fork_last_cow_size", "Memory that it copied."),

    // Stats
    counter("total_connections_received", "connections_received_total", "Connections accepted."),
    counter("total_commands_processed", "commands_processed_total", "Commands executed."),
    counter("rejected_connections", "rejected_connections_total", "Connections refused."),
    counter("total_net_input_bytes", "net_input_bytes_total", "Bytes received from clients."),
    counter("total_net_output_bytes", "net_output_bytes_total", "Bytes sent to clients."),
    counter("total_net_repl_input_bytes", "net_repl_input_bytes_total",
        "Bytes received from the primary."),
    counter("total_net_repl_output_bytes", "net_repl_output_bytes_total", "Bytes sent to replicas."),
    counter("expired_subkeys", "expired_subkeys_total", "Fields of hashes that expired."),
    counter("expired_keys", "expired_keys_total", "Keys that expired."),
    counter("expired_time_cap_reached_count", "expired_time_cap_reached_total",
        "Rounds of expiry that ran out of time."),
    counter("expire_cycle_cpu_milliseconds", "expire_cycle_cpu_time_ms_total", "Time spent on expiry."),
    counter("evicted_keys", "evicted_keys_total", "Keys removed for want of memory."),
    counter("evicted_clients", "evicted_clients_total", "Clients closed for want of memory."),
    counter("evicted_scripts", "evicted_scripts_total", "Scripts that left the cache."),
    counter("total_eviction_exceeded_time", "eviction_exceeded_time_ms_total",
        "Time during which memory was above maxmemory."),
    gauge("current_eviction_exceeded_time", "current_eviction_exceeded_time_ms",
        "Since when memory is above maxmemory."),
    counter("keyspace_hits", "keyspace_hits_total", "Reads of keys that were there."),
    counter("keyspace_misses", "keyspace_misses_total", "Reads of keys that were not."),
    gauge("pubsub_channels", "pubsub_channels", "Channels that somebody listens to."),
    gauge("pubsub_patterns", "pubsub_patterns", "Patterns that somebody listens to."),
    gauge("pubsubshard_channels", "pubsubshard_channels", "Shard channels that somebody listens to."),
    Field { info: "latest_fork_usec", metric: "latest_fork_seconds", kind: Kind::Gauge, factor: 1e-6,
        help: "How long the last fork took." },
    gauge("tracking_total_keys", "tracking_total_keys", "Keys remembered for clients that cache."),
    gauge("tracking_total_items", "tracking_total_items", "Clients of those keys, added up."),
    gauge("tracking_total_prefixes", "tracking_total_prefixes", "Prefixes that clients track."),
    gauge("instantaneous_eventloop_cycles_per_sec", "instantaneous_eventloop_cycles_per_sec",
        "Turns of the event loops per second."),
    gauge("instantaneous_eventloop_duration_usec", "instantaneous_eventloop_duration_usec",
        "How long a turn takes."),
    counter("eventloop_cycles", "eventloop_cycles_total", "Turns of the event loops."),
    counter("eventloop_duration_sum", "eventloop_duration_sum_usec_total",
        "Time spent in turns of the event loops."),
    counter("eventloop_duration_cmd_sum", "eventloop_duration_cmd_sum_usec_total",
        "Time spent in commands."),
    counter("unexpected_error_replies", "unexpected_error_replies", "Errors nobody foresaw."),
    counter("total_error_replies", "total_error_replies", "Error replies."),
    counter("dump_payload_sanitizations", "dump_payload_sanitizations", "Payloads checked in full."),
    counter("total_reads_processed", "total_reads_processed", "Reads of sockets."),
    counter("total_writes_processed", "total_writes_processed", "Writes to sockets."),
    counter("io_threaded_reads_processed", "io_threaded_reads_processed",
        "Reads of sockets beside the main thread."),
    counter("io_threaded_writes_processed", "io_threaded_writes_processed",
        "Writes to sockets beside the main thread."),
    counter("client_query_buffer_limit_disconnections",
        "client_query_buffer_limit_disconnections_total", "Clients closed for too much input."),
    counter("client_output_buffer_limit_disconnections",
        "client_output_buffer_limit_disconnections_total", "Clients closed for unread output."),
    counter("reply_buffer_shrinks", "reply_buffer_shrinks_total", "Reply buffers made smaller."),
    counter("reply_buffer_expands", "reply_buffer_expands_total", "Reply buffers made larger."),
    counter("acl_access_denied_auth", "acl_access_denied_auth_total", "Failed authentications."),
    counter("acl_access_denied_cmd", "acl_access_denied_cmd_total", "Commands denied."),
    counter("acl_access_denied_key", "acl_access_denied_key_total", "Keys denied."),
    counter("acl_access_denied_channel", "acl_access_denied_channel_total", "Channels denied."),

    // Replication
    gauge("connected_slaves", "connected_slaves", "Connected replicas."),
    gauge("repl_backlog_size", "replication_backlog_bytes", "Size of the backlog."),
    gauge("repl_backlog_active", "repl_backlog_is_active", "Whether there is a backlog."),
    gauge("repl_backlog_first_byte_offset", "repl_backlog_first_byte_offset",
        "The oldest offset in the backlog."),
    gauge("repl_backlog_histlen", "repl_backlog_history_bytes", "Bytes in the backlog."),
    gauge("master_repl_offset", "master_repl_offset", "Offset of the stream of writes."),
    gauge("second_repl_offset", "second_repl_offset", "Offset up to which the second id is valid."),
    gauge("slave_expires_tracked_keys", "slave_expires_tracked_keys",
        "Keys with a deadline that were written on a replica."),
    gauge("slave_priority", "slave_priority", "Priority of this replica in a failover."),
    gauge("sync_full", "replica_resyncs_full", "Full transfers to replicas."),
    gauge("sync_partial_ok", "replica_partial_resync_accepted", "Continuations that were possible."),
    gauge("sync_partial_err", "replica_partial_resync_denied", "Continuations that were not."),

    // CPU
    counter("used_cpu_sys", "cpu_sys_seconds_total", "Processor time in the kernel."),
    counter("used_cpu_user", "cpu_user_seconds_total", "Processor time in the program."),
    counter("used_cpu_sys_children", "cpu_sys_children_seconds_total", "The kernel for children."),
    counter("used_cpu_user_children", "cpu_user_children_seconds_total", "Children."),
    counter("used_cpu_sys_main_thread", "cpu_sys_main_thread_seconds_total",
        "The kernel for the main thread."),
    counter("used_active_time_main_thread", "active_time_main_thread_seconds_total",
        "Time in which the main thread was not idle."),
    counter("used_cpu_user_main_thread", "cpu_user_main_thread_seconds_total", "The main thread."),

    // Cluster
    gauge("cluster_enabled", "cluster_enabled", "Whether the server is part of a cluster."),
    gauge("cluster_connections", "cluster_connections", "Connections to other nodes."),
    gauge("cluster_stats_messages_sent", "cluster_messages_sent_total", "Messages to other nodes."),
    gauge("cluster_stats_messages_received", "cluster_messages_received_total",
        "Messages from other nodes."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_are_unique_and_well_named() {
        let (mut fields, mut metrics) = (BTreeSet::new(), BTreeSet::new());
        for Field { info, metric, help, .. } in FIELDS {
            assert!(fields.insert(info) && metrics.insert(metric), "{info}, {metric}");
            assert!(
                metric.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            );
            assert!(help.ends_with('.') && !help.contains(['\n', '\\']), "{help}");
        }
    }
}
