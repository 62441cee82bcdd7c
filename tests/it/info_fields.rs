//! INFO against what redis_exporter reads from Redis: every field is there, once, and plausible.

use std::collections::{HashMap, HashSet};

use crate::harness::{Conn, Reply, Server, wait_for};

/// The fields that redis_exporter turns into gauges, of those that Redis 8.0 or Valkey 9.1 prints.
#[rustfmt::skip]
const GAUGES: &[&str] = &[
    "uptime_in_seconds", "process_id", "io_threads_active", "connected_clients",
    "blocked_clients", "maxclients", "tracking_clients", "clients_in_timeout_table",
    "pubsub_clients", "watching_clients", "total_watched_keys", "total_blocking_keys",
    "total_blocking_keys_on_nokey", "client_recent_max_output_buffer",
    "client_recent_max_input_buffer", "allocator_active", "allocator_allocated",
    "allocator_resident", "allocator_frag_ratio", "allocator_frag_bytes", "allocator_muzzy",
    "allocator_rss_ratio", "allocator_rss_bytes", "used_memory", "used_memory_rss",
    "used_memory_peak", "used_memory_lua", "used_memory_vm_eval", "used_memory_scripts_eval",
    "used_memory_overhead", "used_memory_startup", "used_memory_dataset",
    "number_of_cached_scripts", "number_of_functions", "number_of_libraries",
    "used_memory_vm_functions", "used_memory_scripts", "used_memory_functions",
    "used_memory_vm_total", "maxmemory", "mem_fragmentation_ratio", "mem_fragmentation_bytes",
    "mem_clients_slaves", "mem_clients_normal", "mem_cluster_links", "mem_aof_buffer",
    "mem_replication_backlog", "expired_stale_perc", "mem_not_counted_for_evict",
    "mem_total_replication_buffers", "mem_overhead_db_hashtable_rehashing",
    "lazyfree_pending_objects", "lazyfreed_objects", "active_defrag_running",
    "migrate_cached_sockets", "active_defrag_hits", "active_defrag_misses",
    "active_defrag_key_hits", "active_defrag_key_misses", "loading", "async_loading",
    "rdb_changes_since_last_save", "rdb_bgsave_in_progress", "rdb_last_save_time",
    "rdb_last_bgsave_status", "rdb_last_bgsave_time_sec", "rdb_current_bgsave_time_sec",
    "rdb_saves", "rdb_last_cow_size", "rdb_last_load_keys_expired", "rdb_last_load_keys_loaded",
    "aof_enabled", "aof_rewrite_in_progress", "aof_rewrite_scheduled",
    "aof_last_rewrite_time_sec", "aof_current_rewrite_time_sec", "aof_last_cow_size",
    "aof_current_size", "aof_base_size", "aof_pending_rewrite", "aof_buffer_length",
    "aof_pending_bio_fsync", "aof_delayed_fsync", "aof_last_bgrewrite_status",
    "aof_last_write_status", "module_fork_in_progress", "module_fork_last_cow_size",
    "current_eviction_exceeded_time", "pubsub_channels", "pubsub_patterns",
    "pubsubshard_channels", "latest_fork_usec", "tracking_total_keys", "tracking_total_items",
    "tracking_total_prefixes", "instantaneous_eventloop_cycles_per_sec",
    "instantaneous_eventloop_duration_usec", "connected_slaves", "repl_backlog_size",
    "repl_backlog_active", "repl_backlog_first_byte_offset", "repl_backlog_histlen",
    "master_repl_offset", "second_repl_offset", "slave_expires_tracked_keys", "slave_priority",
    "sync_full", "sync_partial_ok", "sync_partial_err",
];

/// Those that it turns into counters.
#[rustfmt::skip]
const COUNTERS: &[&str] = &[
    "total_connections_received", "total_commands_processed", "rejected_connections",
    "total_net_input_bytes", "total_net_output_bytes", "total_net_repl_input_bytes",
    "total_net_repl_output_bytes", "expired_subkeys", "expired_keys",
    "expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds", "evicted_keys",
    "evicted_clients", "evicted_scripts", "total_eviction_exceeded_time", "keyspace_hits",
    "keyspace_misses", "eventloop_cycles", "eventloop_duration_sum", "eventloop_duration_cmd_sum",
    "used_cpu_sys", "used_cpu_user", "used_cpu_sys_children", "used_cpu_user_children",
    "used_cpu_sys_main_thread", "used_cpu_user_main_thread", "unexpected_error_replies",
    "total_error_replies", "dump_payload_sanitizations", "total_reads_processed",
    "total_writes_processed", "io_threaded_reads_processed", "io_threaded_writes_processed",
    "client_query_buffer_limit_disconnections", "client_output_buffer_limit_disconnections",
    "reply_buffer_shrinks", "reply_buffer_expands", "acl_access_denied_auth",
    "acl_access_denied_cmd", "acl_access_denied_key", "acl_access_denied_channel",
    "used_active_time_main_thread",
];

/// Fields that have no number, and what they say when all is well.
const WORDS: &[(&str, &str)] = &[
    ("rdb_last_bgsave_status", "ok"),
    ("aof_last_bgrewrite_status", "ok"),
    ("aof_last_write_status", "ok"),
];

fn text_of(conn: &mut Conn, args: &[&str]) -> String {
    match conn.call(args) {
        Reply::Bulk(text) => String::from_utf8(text).expect("INFO is text"),
        other => panic!("{other:?}"),
    }
}

fn fields(text: &str) -> HashMap<&str, &str> {
    let mut fields = HashMap::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        assert!(fields.insert(name, value).is_none(), "{name} stands twice");
    }
    fields
}

fn work(conn: &mut Conn) {
    for number in 0..20 {
        conn.call(&["SET", &format!("k{number}"), "v"]);
    }
    for number in 0..30 {
        conn.call(&["GET", &format!("k{number}")]);
    }
    conn.call(&["SET", "volatile", "v", "PX", "100000"]);
    conn.call(&["SET", "volatile2", "v", "PX", "300000"]);
    conn.call(&["SET", "gone", "v", "PX", "1"]);
    let expired = || conn.info("expired_keys") == 1;
    assert!(wait_for(std::time::Duration::from_secs(5), expired));
    conn.call(&["GET", "gone"]);
    conn.call(&["LPUSH", "k1", "x"]);
    conn.call(&["EVAL", "return 1", "0"]);
    conn.call(&["CLIENT", "TRACKING", "ON"]);
    conn.call(&["GET", "k1"]);
    conn.call(&["WATCH", "k1", "k2"]);
}

#[test]
fn every_field_that_redis_exporter_reads_is_there_and_plausible() {
    let server = Server::start(&["--appendonly", "yes"]);
    let mut conn = server.connect();
    work(&mut conn);
    let text = text_of(&mut conn, &["INFO", "ALL"]);
    let fields = fields(&text);
    let words: HashMap<&str, &str> = WORDS.iter().copied().collect();
    for name in GAUGES.iter().chain(COUNTERS) {
        let value = fields.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        match words.get(name) {
            Some(word) => assert_eq!(value, word, "{name}"),
            None => assert!(value.parse::<f64>().is_ok(), "{name}:{value}"),
        }
    }
    let number = |name: &str| fields[name].parse::<f64>().expect("a number");
    for (name, least, most) in [
        ("keyspace_hits", 21.0, 21.0),
        ("keyspace_misses", 11.0, 11.0),
        ("expired_keys", 1.0, 1.0),
        ("total_error_replies", 1.0, 1.0),
        ("connected_clients", 1.0, 1.0),
        ("total_connections_received", 1.0, 2.0),
        ("total_commands_processed", 50.0, 1000.0),
        ("total_reads_processed", 50.0, 1000.0),
        ("total_writes_processed", 50.0, 1000.0),
        ("eventloop_cycles", 50.0, 1000.0),
        ("eventloop_duration_cmd_sum", 1.0, 5e6),
        ("total_net_input_bytes", 1000.0, 100_000.0),
        ("total_net_output_bytes", 100.0, 1e7),
        ("tracking_clients", 1.0, 1.0),
        ("tracking_total_keys", 1.0, 1.0),
        ("watching_clients", 1.0, 1.0),
        ("total_watched_keys", 2.0, 2.0),
        ("number_of_cached_scripts", 1.0, 1.0),
        ("aof_enabled", 1.0, 1.0),
        ("aof_current_size", 100.0, 100_000.0),
        ("used_memory", 100_000.0, 1e9),
        ("used_memory_rss", 1e6, 1e9),
        ("used_memory_startup", 100_000.0, 1e9),
        ("mem_clients_normal", 100.0, 1e6),
        ("process_id", f64::from(server.pid()), f64::from(server.pid())),
    ] {
        let value = number(name);
        assert!((least..=most).contains(&value), "{name}:{value} is not in {least}..={most}");
    }
    assert!(number("used_memory") >= number("used_memory_startup"));
    assert!(number("used_memory_peak") >= number("used_memory_dataset"));
    let parts = number("used_memory_overhead") + number("used_memory_dataset");
    assert_eq!(parts, number("used_memory"));
    keyspace(fields["db0"]);
    for (name, start) in [
        ("cmdstat_get", "calls=32,usec="),
        ("errorstat_WRONGTYPE", "count=1"),
        ("latency_percentiles_usec_set", "p50="),
        ("io_thread_0", "clients="),
    ] {
        assert!(fields[name].starts_with(start), "{name}:{}", fields[name]);
    }
}

/// Two keys live for 200 seconds on average.
fn keyspace(value: &str) {
    let parts: HashMap<&str, f64> = value
        .split(',')
        .filter_map(|part| part.split_once('='))
        .map(|(name, value)| (name, value.parse().expect("a number")))
        .collect();
    assert_eq!((parts["keys"], parts["expires"]), (22.0, 2.0));
    assert!((190_000.0..=200_000.0).contains(&parts["avg_ttl"]), "{value}");
}

#[test]
fn sections_are_shown_alone_together_and_once() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    let titles = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect()
    };
    let all = titles(&text_of(&mut conn, &["INFO", "everything"]));
    let unique: HashSet<&String> = all.iter().collect();
    assert_eq!(unique.len(), all.len(), "{all:?}");
    for title in &all {
        let alone = titles(&text_of(&mut conn, &["INFO", &title.to_ascii_uppercase()]));
        assert_eq!(alone, std::slice::from_ref(title));
    }
    let some = titles(&text_of(&mut conn, &["INFO", "cpu", "server", "cpu", "nonsense"]));
    assert_eq!(some, ["Server", "CPU"]);
}

/// The lines of a section that begin with `start`.
fn lines(conn: &mut Conn, section: &str, start: &str) -> Vec<String> {
    let text = text_of(conn, &["INFO", section]);
    text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
}

#[test]
fn sizes_of_values_and_the_largest_are_found_without_being_asked_for() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    let large = "x".repeat(5000);
    conn.call(&["SET", "small", "abc"]);
    conn.call(&["SET", "large", &large]);
    for number in 0..100 {
        conn.call(&["SADD", "set", &format!("member{number}")]);
    }
    conn.call(&["HSET", "hash", "f", "v"]);
    conn.call(&["HEXPIRE", "hash", "100", "FIELDS", "1", "f"]);
    let expected = [
        "db0_distrib_strings_sizes:2=1,4K=1",
        "db0_distrib_sets_items:64=1",
        "db0_distrib_hashes_items:1=1",
    ];
    let deadline = std::time::Duration::from_secs(10);
    assert!(wait_for(deadline, || lines(&mut conn, "keysizes", "db0") == expected));
    let big = lines(&mut conn, "bigkeys", "big_key_");
    assert!(big[0].starts_with("big_key_0:db=0,type=string,len=5000,memory="), "{big:?}");
    assert!(big[0].ends_with(",key=\"large\"") && big.len() == 4, "{big:?}");
    assert!(lines(&mut conn, "keyspace", "db0")[0].ends_with(",subexpiry=1"));
}

#[test]
fn the_hottest_key_is_found_without_being_asked_for() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    for number in 0..20_000 {
        let key = if number % 2 == 0 { "hot".to_owned() } else { format!("cold:{number}") };
        conn.send(&["GET", &key]).expect("the connection is open");
        if number % 100 == 99 {
            (0..100).for_each(|_| drop(conn.read().expect("a reply")));
        }
    }
    let hot = lines(&mut conn, "hotkeys", "hot_key_0:");
    let share = hot[0].split("share=").nth(1).and_then(|rest| rest.split('%').next());
    let share: f64 = share.and_then(|share| share.parse().ok()).expect("a share");
    assert!(hot[0].ends_with(",key=\"hot\"") && (30.0..70.0).contains(&share), "{hot:?}");
}

#[test]
fn the_debug_section_says_how_long_rounds_take() {
    let server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut conn = server.connect();
    let batch = ["SET", "k", "v"];
    for _ in 0..5 {
        for _ in 0..20 {
            conn.send(&batch).expect("the socket takes it");
        }
        (0..20).for_each(|_| assert!(conn.read().is_ok()));
    }
    conn.call(&["EVAL", "local n = 0 while n < 3000000 do n = n + 1 end return n", "0"]);
    let text = text_of(&mut conn, &["INFO", "debug"]);
    let debug = fields(&text);
    let number = |name: &str| debug[name].parse::<u64>().expect("it is a number");
    assert!(text.starts_with("# Debug\r\n") && debug.len() == 5, "{text}");
    assert!(number("eventloop_duration_aof_sum") > 0, "{text}");
    assert!(number("eventloop_duration_max") > 1000, "{text}");
    assert!((1..=100).contains(&number("eventloop_cmd_per_cycle_max")), "{text}");
    assert!(number("allocator_allocated_lua") > 0, "{text}");
    assert!(wait_for(std::time::Duration::from_secs(5), || {
        let text = text_of(&mut conn, &["INFO", "debug"]);
        fields(&text)["eventloop_duration_cron_sum"] != "0"
    }));
    conn.call(&["CONFIG", "RESETSTAT"]);
    let text = text_of(&mut conn, &["INFO", "debug"]);
    let longest: u64 = fields(&text)["eventloop_duration_max"].parse().expect("it is a number");
    assert!(longest < number("eventloop_duration_max"), "{text}");
    for section in ["all", "everything", "default"] {
        assert!(!text_of(&mut conn, &["INFO", section]).contains("# Debug"));
    }
}
