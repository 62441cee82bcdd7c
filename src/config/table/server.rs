//! Rows about the server itself: sockets, clients, memory, encodings, observation.
//!
//! Data only. Ranges and defaults are those of Redis 8.0 (config.c), and of Valkey 9.1 for names
//! that only Valkey has.

use super::words::*;
use crate::config::directive::Effect as E;
use crate::config::directive::{
    Directive, Flags, Kind, Rule, bool, int, list, memory, octal, row, text, words,
};

const INT: (i64, i64) = (i32::MIN as i64, I32);
const COUNT: (i64, i64) = (0, I32);
const PORT: (i64, i64) = (0, 65535);
const LONG: (i64, i64) = (0, i64::MAX);
const LOG_LIMIT: (i64, i64) = (-1, i64::MAX);
const I32: i64 = i32::MAX as i64;
const U32: i64 = u32::MAX as i64;
const MIB: i64 = 1 << 20;

#[rustfmt::skip]
pub(super) const NETWORK: &[Directive] = &[
    list("bind", Kind::Bind, "* -::*", E::Listen,
        "Addresses to listen on; one that starts with `-` may be missing on this host."),
    int("port", "6379", PORT, E::Listen, "TCP port for clients; 0 opens none."),
    bool("protected-mode", "yes", E::ProtectedMode,
        "Serve only this host while the default user has no password."),
    int("tcp-backlog", "511", COUNT, E::None, "Connections the kernel may queue for us.").fixed(),
    int("timeout", "0", COUNT, E::ClientTimeouts,
        "Seconds until an idle client is closed; 0 never."),
    int("tcp-keepalive", "300", COUNT, E::ClientTimeouts,
        "Seconds between keepalive probes to clients; 0 sends none."),
    text("unixsocket", "", Rule::Optional, E::None, "Path of a Unix socket to listen on.")
        .fixed(),
    octal("unixsocketperm", "0", (0, 0o777), E::None,
        "Mode of the Unix socket; 0 keeps the umask's.").fixed(),
    text("unixsocketgroup", "", Rule::Optional, E::None, "Group that owns the Unix socket.")
        .fixed().unlisted(),
    text("bind-source-addr", "", Rule::Optional, E::None, "Local address of outgoing connections.")
        .later("replication"),
    int("socket-mark-id", "0", (0, U32), E::None, "Mark set on listening sockets; 0 sets none.")
        .fixed(),
    int("max-new-connections-per-cycle", "10", (1, 1000), E::None,
        "Connections accepted in one turn of an event loop."),
    bool("mptcp", "no", E::None, "Listen with Multipath TCP.").fixed().unlisted().later("Multipath TCP"),
    int("rdma-port", "0", PORT, E::None, "RDMA port for clients; 0 opens none.").later("RDMA"),
    list("rdma-bind", Kind::Bind, "", E::None, "Addresses to listen on with RDMA.").later("RDMA"),
    int("rdma-rx-size", "1048576", (64 << 10, 16 << 20), E::None,
        "Bytes of an RDMA receive buffer.").fixed().unlisted().later("RDMA"),
    int("rdma-completion-vector", "-1", (-1, 1024), E::None,
        "RDMA completion vector; -1 picks one.").fixed().unlisted().later("RDMA"),
];

#[rustfmt::skip]
pub(super) const HTTP: &[Directive] = &[
    int("http-port", "0", PORT, E::Http,
        "Port that serves /metrics, /healthz and the console; 0 opens none.").alias(&["metrics-port"]),
    list("http-bind", Kind::Bind, "127.0.0.1 -::1", E::Http,
        "Addresses on which `http-port` listens, as in `bind`."),
    text("http-user", "", Rule::Optional, E::None,
        "User name that `http-password` goes with; empty takes any."),
    text("http-password", "", Rule::Optional, E::None,
        "Password (basic) or token (bearer) of all pages but the probes; empty asks for none.")
        .flag(Flags::SENSITIVE),
];

#[rustfmt::skip]
pub(super) const GENERAL: &[Directive] = &[
    int("threads", "0", (0, 1024), E::None, "Event loops; 0 starts one per core.").fixed().unlisted(),
    bool("io-uring", "yes", E::None,
        "Send many replies at once through io_uring, where the kernel allows it.").fixed().unlisted(),
    bool("daemonize", "no", E::None, "Run in the background.").fixed(),
    words("supervised", "no", SUPERVISED, E::None, "Who is told that the server is ready.")
        .fixed(),
    text("pidfile", "", Rule::Optional, E::None, "File that holds the process id.")
        .fixed(),
    int("databases", "16", (1, I32), E::None, "Numbered databases.").fixed(),
    row("dir", Kind::Dir, ".", E::Dir, "Working directory, where data files live.")
        .flag(Flags::PROTECTED).flag(Flags::DENY_LOADING),
    words("enable-protected-configs", "no", PROTECTED, E::None,
        "Whether CONFIG SET may change where files are written.").fixed(),
    words("enable-debug-command", "no", PROTECTED, E::None, "Whether DEBUG is allowed.").fixed(),
    words("enable-module-command", "no", PROTECTED, E::None, "Whether MODULE is allowed.").fixed(),
    int("hz", "10", COUNT, E::Hz, "Rounds of background work per second, from 1 to 500."),
    bool("dynamic-hz", "yes", E::Hz, "More background rounds while many clients are connected."),
    int("io-threads", "1", (1, 256), E::None, "Accepted for old files; see `threads`.").fixed(),
    bool("io-threads-do-reads", "no", E::None, "Accepted for old files; every thread reads.")
        .fixed(),
    bool("io-threads-always-active", "no", E::None, "Accepted for old files; see `threads`.")
        .hidden(),
    int("events-per-io-thread", "2", COUNT, E::None, "Accepted for old files; see `threads`.")
        .hidden(),
    int("prefetch-batch-max-size", "16", (0, 128), E::None,
        "Requests of one client whose keys are looked up ahead."),
    int("min-io-threads-avoid-copy-reply", "7", COUNT, E::None,
        "Accepted for Valkey's files; large values are never copied.").hidden(),
    int("min-string-size-avoid-copy-reply", "16384", COUNT, E::None,
        "Accepted for Valkey's files; large values are never copied.").hidden(),
    int("min-string-size-avoid-copy-reply-threaded", "65536", COUNT, E::None,
        "Accepted for Valkey's files; large values are never copied.").hidden(),
    int("shutdown-timeout", "10", COUNT, E::None, "Seconds a shutdown waits for replicas."),
    list("shutdown-on-sigint", Kind::Flags(SHUTDOWN), "default", E::None, "What SIGINT does."),
    list("shutdown-on-sigterm", Kind::Flags(SHUTDOWN), "default", E::None, "What SIGTERM does."),
    bool("set-proc-title", "yes", E::None, "Show state in the process title.").fixed(),
    text("proc-title-template", "{title} {listen-addr} {server-mode}", Rule::TitleTemplate,
        E::Process, "Form of the process title."),
    bool("always-show-logo", "no", E::None, "Print a banner at start even to a log file.").fixed(),
    text("server-cpulist", "", Rule::Optional, E::None, "CPUs for event loops.")
        .alias(&["server_cpulist"]).fixed().later("CPU affinity"),
    text("bio-cpulist", "", Rule::Optional, E::None, "CPUs for background work.")
        .alias(&["bio_cpulist"]).fixed().later("CPU affinity"),
    words("oom-score-adj", "no", OOM_SCORE_ADJ, E::Process, "Tell the kernel whom to kill first."),
    list("oom-score-adj-values", Kind::OomScores, "0 200 800", E::Process,
        "Scores of a primary, a replica and a child process."),
    bool("disable-thp", "yes", E::None, "Opt out of transparent huge pages.").fixed(),
    text("ignore-warnings", "", Rule::Any, E::None, "Start-up checks not to warn about."),
    text("locale-collate", "", Rule::Any, E::None, "Locale in which SORT ALPHA compares."),
    bool("crash-log-enabled", "yes", E::Process, "Print a report before dying of a panic, SIGABRT or SIGBUS."),
    bool("crash-memcheck-enabled", "yes", E::Process, "Accepted for old files; see --test-memory."),
    bool("use-exit-on-panic", "no", E::None, "Exit instead of aborting on a panic.").hidden(),
    int("watchdog-period", "0", COUNT, E::None, "Milliseconds until a stuck loop is reported.")
        .hidden(),
    bool("extended-redis-compatibility", "no", E::None,
        "Name Redis where Valkey would name itself."),
    bool("enable-debug-assert", "no", E::None, "Check costly assertions.").fixed().hidden(),
    text("debug-context", "", Rule::Any, E::None, "Note that crash reports repeat.").hidden(),
    bool("import-mode", "no", E::None, "Leave expiry to the source of an import."),
    text("availability-zone", "", Rule::Any, E::None, "Zone told to clients that ask."),
    text("hash-seed", "", Rule::Optional, E::None, "Seed of the hash function; empty draws one.")
        .fixed().hidden(),
];

#[rustfmt::skip]
pub(super) const LOGGING: &[Directive] = &[
    words("loglevel", "notice", LOG_LEVEL, E::LogLevel, "Least level that is logged."),
    text("logfile", "", Rule::Any, E::LogFile, "Log file; empty logs to standard output.").fixed(),
    words("log-format", "legacy", LOG_FORMAT, E::LogFormat, "Form of log lines."),
    words("log-timestamp-format", "legacy", LOG_TIMESTAMP, E::LogFormat,
        "Form of times in the log."),
    bool("hide-user-data-from-log", "no", E::LogFormat, "Keep keys and values out of the log."),
    bool("syslog-enabled", "no", E::LogFile, "Log to syslog too.").fixed(),
    text("syslog-ident", "redis", Rule::Any, E::LogFile, "Name used in syslog.")
        .fixed(),
    words("syslog-facility", "local0", SYSLOG, E::LogFile, "Facility used in syslog.")
        .fixed(),
];

#[rustfmt::skip]
pub(super) const SECURITY: &[Directive] = &[
    text("requirepass", "", Rule::Optional, E::RequirePass, "Password of the default user.")
        .flag(Flags::SENSITIVE),
    text("aclfile", "", Rule::Any, E::Acl, "File with one `user` line per user.")
        .fixed(),
    int("acllog-max-len", "128", LONG, E::Acl, "Entries kept by ACL LOG."),
    int("auth-failures-per-minute", "0", COUNT, E::Acl,
        "Logins from one address that may fail in a minute; then none is tried. 0 is no bound."),
    words("acl-pubsub-default", "resetchannels", ACL_PUBSUB, E::Acl,
        "Channels a new user may use."),
    words("sanitize-dump-payload", "no", SANITIZE, E::None,
        "Accepted for old files; payloads of RESTORE are always checked in full."),
];

#[rustfmt::skip]
pub(super) const CLIENTS: &[Directive] = &[
    int("maxclients", "10000", (1, U32), E::MaxClients, "Most clients connected at once."),
    memory("client-query-buffer-limit", "1gb", (MIB, i64::MAX), E::QueryLimits,
        "Most unparsed input of one client."),
    memory("proto-max-bulk-len", "512mb", (MIB, i64::MAX), E::QueryLimits,
        "Longest single argument."),
    list("client-output-buffer-limit", Kind::OutputLimits,
        "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60", E::OutputLimits,
        "Unread replies at which a client is closed: at once, or after some seconds."),
    row("maxmemory-clients", Kind::Memory { min: -100, max: i64::MAX, percent: true }, "0",
        E::ClientMemory, "Memory of all clients, or a share of maxmemory; 0 is no limit."),
    int("client-default-resp", "2", (2, 3), E::None, "Protocol that clients start with.")
        .fixed().hidden(),
    text("req-res-logfile", "", Rule::Optional, E::None, "File that records requests and replies.")
        .fixed().hidden().later("request logs"),
];

#[rustfmt::skip]
pub(super) const MEMORY: &[Directive] = &[
    memory("maxmemory", "0", LONG, E::MaxMemory, "Most memory for data; 0 is no limit."),
    words("maxmemory-policy", "noeviction", POLICY, E::EvictionPolicy,
        "Which keys go when memory is full."),
    list("db-maxmemory", Kind::DbLimits, "", E::MaxMemory,
        "Most memory of one database each, with a policy of its own; size 0 ends the limit."),
    int("maxmemory-samples", "5", (1, 64), E::EvictionPolicy, "Keys compared to find one to evict."),
    int("maxmemory-eviction-tenacity", "10", (0, 100), E::EvictionPolicy,
        "How long one request may spend on evicting."),
    int("lfu-log-factor", "10", COUNT, E::EvictionPolicy, "How slowly access counters grow."),
    int("lfu-decay-time", "1", COUNT, E::EvictionPolicy, "Minutes until an access counter shrinks."),
    int("active-expire-effort", "1", (1, 10), E::Expire, "Effort put into finding expired keys."),
    bool("activerehashing", "yes", E::None, "Move tables to their new size while idle."),
    bool("lazyfree-lazy-eviction", "no", E::LazyFree, "Free evicted values in the background."),
    bool("lazyfree-lazy-expire", "no", E::LazyFree, "Free expired values in the background."),
    bool("lazyfree-lazy-server-del", "no", E::LazyFree,
        "Free overwritten values in the background."),
    bool("lazyfree-lazy-user-del", "no", E::LazyFree, "Let DEL behave like UNLINK."),
    bool("lazyfree-lazy-user-flush", "no", E::LazyFree, "Let FLUSHALL and FLUSHDB be ASYNC."),
    bool("activedefrag", "no", E::Allocator, "Move values to undo fragmentation.").later(DEFRAG),
    memory("active-defrag-ignore-bytes", "100mb", (1, i64::MAX), E::Allocator,
        "Waste below which nothing is moved.").later(DEFRAG),
    int("active-defrag-threshold-lower", "10", (0, 1000), E::Allocator,
        "Percent of waste at which moving starts.").later(DEFRAG),
    int("active-defrag-threshold-upper", "100", (0, 1000), E::Allocator,
        "Percent of waste at which effort is greatest.").later(DEFRAG),
    int("active-defrag-cycle-min", "1", (1, 99), E::Allocator, "Percent of a CPU spent at least.")
        .later(DEFRAG),
    int("active-defrag-cycle-max", "25", (1, 99), E::Allocator, "Percent of a CPU spent at most.")
        .later(DEFRAG),
    int("active-defrag-cycle-us", "500", (0, 100_000), E::Allocator,
        "Microseconds of one stretch of moving.").later(DEFRAG),
    int("active-defrag-max-scan-fields", "1000", (1, i64::MAX), E::Allocator,
        "Elements above which a value is moved in steps.").later(DEFRAG),
    bool("jemalloc-bg-thread", "yes", E::Allocator,
        "Let the allocator purge in a thread of its own."),
];

#[rustfmt::skip]
pub(super) const ENCODINGS: &[Directive] = &[
    int("hash-max-listpack-entries", "512", LONG, E::Encodings,
        "Fields of the largest listpack hash.").alias(&["hash-max-ziplist-entries"]),
    memory("hash-max-listpack-value", "64", LONG, E::Encodings,
        "Longest field or value in a listpack hash.").alias(&["hash-max-ziplist-value"]),
    int("list-max-listpack-size", "-2", INT, E::Encodings,
        "Elements per list node, or -1 to -5 for 4, 8, 16, 32, 64 kb.")
        .alias(&["list-max-ziplist-size"]),
    int("list-compress-depth", "0", COUNT, E::Encodings,
        "Uncompressed nodes at each end of a list; 0 is all."),
    int("set-max-intset-entries", "512", LONG, E::Encodings, "Members of the largest intset."),
    int("set-max-listpack-entries", "128", LONG, E::Encodings,
        "Members of the largest listpack set."),
    int("set-max-listpack-value", "64", LONG, E::Encodings, "Longest member of a listpack set."),
    int("zset-max-listpack-entries", "128", LONG, E::Encodings,
        "Members of the largest listpack sorted set.").alias(&["zset-max-ziplist-entries"]),
    memory("zset-max-listpack-value", "64", LONG, E::Encodings,
        "Longest member of a listpack sorted set.").alias(&["zset-max-ziplist-value"]),
    memory("hll-sparse-max-bytes", "3000", LONG, E::Encodings, "Largest sparse HyperLogLog."),
    memory("stream-node-max-bytes", "4096", LONG, E::Encodings,
        "Largest stream node; 0 is no limit."),
    int("stream-node-max-entries", "100", LONG, E::Encodings,
        "Entries per stream node; 0 is no limit."),
    int("stream-idmp-duration", "100", (1, 86_400), E::Encodings,
        "Seconds that a stream remembers messages of producers."),
    int("stream-idmp-maxsize", "100", (1, 10_000), E::Encodings,
        "Messages of each producer that a stream remembers."),
];

#[rustfmt::skip]
pub(super) const OBSERVATION: &[Directive] = &[
    int("slowlog-log-slower-than", "10000", LOG_LIMIT, E::SlowLog,
        "Microseconds above which a command is logged; -1 logs none.")
        .alias(&["commandlog-execution-slower-than"]),
    int("slowlog-max-len", "128", LONG, E::SlowLog, "Entries kept by SLOWLOG.")
        .alias(&["commandlog-slow-execution-max-len"]),
    int("commandlog-request-larger-than", "1048576", LOG_LIMIT, E::SlowLog,
        "Bytes above which a request is logged; -1 logs none."),
    int("commandlog-large-request-max-len", "128", LONG, E::SlowLog,
        "Large requests kept by COMMANDLOG."),
    int("commandlog-reply-larger-than", "1048576", LOG_LIMIT, E::SlowLog,
        "Bytes above which a reply is logged; -1 logs none."),
    int("commandlog-large-reply-max-len", "128", LONG, E::SlowLog,
        "Large replies kept by COMMANDLOG."),
    int("latency-monitor-threshold", "0", LONG, E::Latency,
        "Milliseconds above which LATENCY records an event; 0 records none."),
    bool("latency-tracking", "yes", E::Latency, "Keep latency histograms per command."),
    list("latency-tracking-info-percentiles", Kind::Percentiles, "50 99 99.9", E::Latency,
        "Percentiles that INFO shows."),
    row("notify-keyspace-events", Kind::Events, "", E::Events,
        "Classes of events published to subscribers."),
    int("tracking-table-max-keys", "1000000", LONG, E::Tracking,
        "Most keys remembered for client-side caching; 0 is no limit."),
];

const DEFRAG: &str = "active defragmentation";
