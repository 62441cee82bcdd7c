//! Rows about the subsystems: scripts, snapshots, the append-only file, replication, cluster, TLS.
//!
//! Data only. Ranges and defaults are those of Redis 8.0 (config.c), and of Valkey 9.1 for names
//! that only Valkey has.

use super::words::*;
use crate::config::directive::Effect as E;
use crate::config::directive::{
    Directive, Flags, Kind, Rule, bool, int, list, memory, text, words,
};

const COUNT: (i64, i64) = (0, I32);
const PORT: (i64, i64) = (0, 65535);
const LONG: (i64, i64) = (0, i64::MAX);
const I32: i64 = i32::MAX as i64;

const SCRIPTS: &str = "Lua scripting";
const PERSISTENCE: &str = "persistence";
const REPLICATION: &str = "replication";
const CLUSTER_MODE: &str = "cluster mode";

#[rustfmt::skip]
pub(super) const SCRIPTING: &[Directive] = &[
    int("busy-reply-threshold", "5000", LONG, E::Scripting,
        "Milliseconds until others are told that a script is busy.")
        .alias(&["lua-time-limit"]),
    bool("lua-enable-deprecated-api", "no", E::None,
        "Offer Lua functions that are unsafe to share.").fixed().hidden().later(SCRIPTS),
    bool("lua-enable-insecure-api", "no", E::None, "Offer Lua functions that break the sandbox.")
        .fixed().hidden().later(SCRIPTS),
];

#[rustfmt::skip]
pub(super) const SNAPSHOTS: &[Directive] = &[
    list("save", Kind::Save, "3600 1 300 100 60 10000", E::Save,
        "Save after so many seconds with so many changes; several pairs, or none."),
    text("dbfilename", "dump.rdb", Rule::BaseName, E::Rdb, "Name of the snapshot file.")
        .flag(Flags::PROTECTED),
    bool("rdbcompression", "yes", E::Rdb, "Compress strings in snapshots and payloads."),
    words("rdb-version", "10", RDB_WRITTEN, E::Rdb,
        "Version of snapshots and of DUMP: 10 (Redis 7.0), 11 (7.2), 12 (7.4) or 80 (Valkey 9).")
        .unlisted(),
    words("rdb-field-deadline-version", "12", RDB_DEADLINES, E::Rdb,
        "Version where hash fields have times to live, if rdb-version has none: 12, 80 or refuse.")
        .unlisted(),
    bool("rdbchecksum", "yes", E::Rdb, "Write and check a checksum of snapshots.")
        .fixed(),
    bool("rdb-save-incremental-fsync", "yes", E::Rdb,
        "Sync a snapshot in steps while it is written."),
    bool("rdb-del-sync-files", "no", E::Rdb, "Delete snapshots that only replication needed.")
        .later(PERSISTENCE),
    words("rdb-version-check", "strict", RDB_VERSION, E::Rdb,
        "Whether newer snapshot versions are tried.").later(PERSISTENCE),
    bool("stop-writes-on-bgsave-error", "yes", E::Rdb, "Refuse writes while saving fails."),
    text("bgsave-cpulist", "", Rule::Optional, E::None, "CPUs for saving.")
        .alias(&["bgsave_cpulist"]).fixed().later("CPU affinity"),
    int("rdb-key-save-delay", "0", (i32::MIN as i64, I32), E::None,
        "Microseconds lost per key saved, for tests.").hidden(),
    int("key-load-delay", "0", (i32::MIN as i64, I32), E::None,
        "Microseconds lost per key loaded, for tests.").hidden(),
    int("loading-process-events-interval-bytes", "2097152", (1024, I32), E::None,
        "Bytes loaded between two looks at the sockets.").hidden().later(PERSISTENCE),
];

#[rustfmt::skip]
pub(super) const APPEND_ONLY: &[Directive] = &[
    bool("appendonly", "no", E::Aof, "Log every change to an append-only file.")
        .flag(Flags::DENY_LOADING),
    text("appendfilename", "appendonly.aof", Rule::AofName, E::None, "Base name of its files.")
        .fixed(),
    text("appenddirname", "appendonlydir", Rule::AofDirName, E::None, "Directory of its files.")
        .fixed(),
    words("appendfsync", "everysec", FSYNC, E::Aof, "When changes are forced to disk."),
    bool("no-appendfsync-on-rewrite", "no", E::Aof, "Do not sync while a rewrite is running."),
    int("auto-aof-rewrite-percentage", "100", COUNT, E::Aof,
        "Growth in percent at which it is rewritten; 0 never."),
    memory("auto-aof-rewrite-min-size", "64mb", LONG, E::Aof,
        "Size below which it is not rewritten."),
    bool("aof-load-truncated", "yes", E::Aof, "Start even if its end is cut off."),
    memory("aof-load-corrupt-tail-max-size", "0", LONG, E::Aof,
        "Cut off a bad end of up to so many bytes as well; 0 never."),
    bool("aof-use-rdb-preamble", "yes", E::Aof, "Rewrite it as a snapshot."),
    bool("aof-timestamp-enabled", "no", E::Aof, "Note times in it, to go back to one."),
    bool("aof-rewrite-incremental-fsync", "yes", E::Aof, "Sync in steps while rewriting."),
    bool("aof-disable-auto-gc", "no", E::Aof, "Keep files that are no longer needed.")
        .hidden(),
    text("aof-rewrite-cpulist", "", Rule::Optional, E::None, "CPUs for rewriting.")
        .alias(&["aof_rewrite_cpulist"]).fixed().later("CPU affinity"),
];

#[rustfmt::skip]
pub(super) const REPLICA: &[Directive] = &[
    list("replicaof", Kind::ReplicaOf, "", E::Replication, "Primary to copy: its host and port.")
        .alias(&["slaveof"]).fixed().later(REPLICATION),
    text("masterauth", "", Rule::Optional, E::Replication, "Password for the primary.")
        .alias(&["primaryauth"]).flag(Flags::SENSITIVE).later(REPLICATION),
    text("masteruser", "", Rule::Optional, E::Replication, "User name for the primary.")
        .alias(&["primaryuser"]).flag(Flags::SENSITIVE).later(REPLICATION),
    bool("replica-serve-stale-data", "yes", E::Replication,
        "Answer reads while the primary is away.")
        .alias(&["slave-serve-stale-data"]).later(REPLICATION),
    bool("replica-read-only", "yes", E::Replication, "Refuse writes on a replica.")
        .alias(&["slave-read-only"]).later(REPLICATION),
    bool("replica-lazy-flush", "no", E::Replication,
        "Drop old data in the background before a full sync.")
        .alias(&["slave-lazy-flush"]).later(REPLICATION),
    bool("replica-ignore-maxmemory", "yes", E::Replication, "Leave eviction to the primary.")
        .alias(&["slave-ignore-maxmemory"]).later(REPLICATION),
    bool("replica-ignore-disk-write-errors", "no", E::Replication,
        "Keep replicating while the disk fails.").later(REPLICATION),
    int("replica-priority", "100", COUNT, E::Replication,
        "Rank for promotion; lower first, 0 never.").alias(&["slave-priority"]).later(REPLICATION),
    bool("replica-announced", "yes", E::Replication, "Let Sentinel list this replica.")
        .later(REPLICATION),
    text("replica-announce-ip", "", Rule::Optional, E::Replication, "Address told to the primary.")
        .alias(&["slave-announce-ip"]).later(REPLICATION),
    int("replica-announce-port", "0", PORT, E::Replication,
        "Port told to the primary; 0 is the real one.")
        .alias(&["slave-announce-port"]).later(REPLICATION),
    bool("repl-diskless-sync", "yes", E::Replication, "Send snapshots without a file.")
        .later(REPLICATION),
    int("repl-diskless-sync-delay", "5", COUNT, E::Replication,
        "Seconds to wait for more replicas.").later(REPLICATION),
    int("repl-diskless-sync-max-replicas", "0", COUNT, E::Replication,
        "Replicas after which the wait ends; 0 waits in full.").later(REPLICATION),
    words("repl-diskless-load", "disabled", DISKLESS_LOAD, E::Replication,
        "Load a snapshot from the socket.").flag(Flags::DENY_LOADING).later(REPLICATION),
    bool("repl-disable-tcp-nodelay", "no", E::Replication, "Save packets instead of time.")
        .later(REPLICATION),
    int("repl-ping-replica-period", "10", (1, I32), E::Replication,
        "Seconds between pings to replicas.").alias(&["repl-ping-slave-period"]).later(REPLICATION),
    int("repl-timeout", "60", (1, I32), E::Replication, "Seconds of silence that break a link.")
        .later(REPLICATION),
    memory("repl-backlog-size", "1mb", (1, i64::MAX), E::Replication,
        "History kept for partial syncs.").later(REPLICATION),
    int("repl-backlog-ttl", "3600", LONG, E::Replication,
        "Seconds until unused history is dropped; 0 never.").later(REPLICATION),
    memory("replica-full-sync-buffer-limit", "0", LONG, E::Replication,
        "Changes a replica buffers during a full sync; 0 is no limit.").later(REPLICATION),
    bool("repl-rdb-channel", "no", E::Replication, "Send the snapshot over a second connection.")
        .later(REPLICATION),
    bool("dual-channel-replication-enabled", "no", E::Replication,
        "Send the snapshot over a second connection, as Valkey does.").later(REPLICATION),
    bool("repl-mptcp", "no", E::Replication, "Reach the primary with Multipath TCP.")
        .later(REPLICATION),
    int("min-replicas-to-write", "0", COUNT, E::Replication,
        "Good replicas without which writes are refused.")
        .alias(&["min-slaves-to-write"]).later(REPLICATION),
    int("min-replicas-max-lag", "10", COUNT, E::Replication,
        "Seconds of lag at which a replica is not good.")
        .alias(&["min-slaves-max-lag"]).later(REPLICATION),
    words("propagation-error-behavior", "ignore", PROPAGATION, E::Replication,
        "What a failing replicated command does.").later(REPLICATION),
];

#[rustfmt::skip]
pub(super) const CLUSTER: &[Directive] = &[
    bool("cluster-enabled", "no", E::None, "Share the key space with other nodes.")
        .fixed().later(CLUSTER_MODE),
    text("cluster-config-file", "nodes.conf", Rule::ClusterFile, E::None,
        "File where the node keeps its view.").fixed().later(CLUSTER_MODE),
    words("cluster-config-save-behavior", "sync", CONFIG_SAVE, E::Cluster,
        "Whether a failed save of it is fatal.").later(CLUSTER_MODE),
    int("cluster-databases", "1", (1, I32), E::None, "Numbered databases in a cluster.")
        .fixed().unlisted().later(CLUSTER_MODE),
    int("cluster-node-timeout", "15000", LONG, E::Cluster,
        "Milliseconds of silence that make a node suspect.").later(CLUSTER_MODE),
    int("cluster-ping-interval", "0", LONG, E::Cluster, "Milliseconds between pings; 0 picks them.")
        .hidden().later(CLUSTER_MODE),
    int("cluster-message-gossip-perc", "10", (1, 100), E::Cluster,
        "Percent of nodes named in a ping.").hidden().later(CLUSTER_MODE),
    int("cluster-port", "0", PORT, E::None,
        "Port of the cluster bus; 0 is the client port plus 10000.").fixed().later(CLUSTER_MODE),
    text("cluster-announce-ip", "", Rule::Optional, E::Cluster, "Address told to other nodes.")
        .later(CLUSTER_MODE),
    text("cluster-announce-client-ipv4", "", Rule::Ipv4, E::Cluster,
        "IPv4 address told to clients.").later(CLUSTER_MODE),
    text("cluster-announce-client-ipv6", "", Rule::Ipv6, E::Cluster,
        "IPv6 address told to clients.").later(CLUSTER_MODE),
    int("cluster-announce-client-port", "0", PORT, E::Cluster, "Port told to clients.")
        .later(CLUSTER_MODE),
    int("cluster-announce-client-tls-port", "0", PORT, E::Cluster, "TLS port told to clients.")
        .later(CLUSTER_MODE),
    int("cluster-announce-port", "0", PORT, E::Cluster, "Port told to other nodes.")
        .later(CLUSTER_MODE),
    int("cluster-announce-tls-port", "0", PORT, E::Cluster, "TLS port told to other nodes.")
        .later(CLUSTER_MODE),
    int("cluster-announce-bus-port", "0", PORT, E::Cluster, "Bus port told to other nodes.")
        .later(CLUSTER_MODE),
    text("cluster-announce-hostname", "", Rule::HostName, E::Cluster, "Host name told to clients.")
        .later(CLUSTER_MODE),
    text("cluster-announce-human-nodename", "", Rule::NodeName, E::Cluster,
        "Node name used in logs.").later(CLUSTER_MODE),
    words("cluster-preferred-endpoint-type", "ip", ENDPOINT, E::Cluster,
        "How clients are told to reach nodes.").later(CLUSTER_MODE),
    int("cluster-replica-validity-factor", "10", COUNT, E::Cluster,
        "Timeouts after which a replica is too old to take over; 0 never.")
        .alias(&["cluster-slave-validity-factor"]).later(CLUSTER_MODE),
    bool("cluster-replica-no-failover", "no", E::Cluster, "Never take over from a failed primary.")
        .alias(&["cluster-slave-no-failover"]).later(CLUSTER_MODE),
    int("cluster-manual-failover-timeout", "5000", (1, I32), E::Cluster,
        "Milliseconds for a manual failover.").later(CLUSTER_MODE),
    int("cluster-migration-barrier", "1", COUNT, E::Cluster,
        "Replicas a primary keeps before lending one.").later(CLUSTER_MODE),
    bool("cluster-allow-replica-migration", "yes", E::Cluster,
        "Let replicas move to primaries without one.").later(CLUSTER_MODE),
    bool("cluster-require-full-coverage", "yes", E::Cluster,
        "Refuse requests while a slot has no owner.").later(CLUSTER_MODE),
    bool("cluster-allow-reads-when-down", "no", E::Cluster,
        "Answer reads while the cluster is down.").later(CLUSTER_MODE),
    bool("cluster-allow-pubsubshard-when-down", "yes", E::Cluster,
        "Serve shard channels while it is down.").later(CLUSTER_MODE),
    memory("cluster-link-sendbuf-limit", "0", LONG, E::Cluster,
        "Output of a bus link at which it is closed.").later(CLUSTER_MODE),
    int("cluster-blacklist-ttl", "60", LONG, E::Cluster,
        "Seconds a forgotten node stays forgotten.").later(CLUSTER_MODE),
    bool("cluster-slot-stats-enabled", "no", E::Cluster, "Count work and traffic per slot.")
        .later(CLUSTER_MODE),
    int("cluster-compatibility-sample-ratio", "0", (0, 100), E::Cluster,
        "Percent of commands checked for use in a cluster.").later(CLUSTER_MODE),
    int("cluster-slot-migration-log-max-len", "1000", LONG, E::Cluster,
        "Finished migrations remembered.").later(CLUSTER_MODE),
    memory("slot-migration-max-failover-repl-bytes", "0", LONG, E::Cluster,
        "Changes in flight at which a slot may change owner.").later(CLUSTER_MODE),
];

#[rustfmt::skip]
pub(super) const TLS: &[Directive] = &[
    int("tls-port", "0", PORT, E::Tls, "TLS port for clients; 0 opens none."),
    text("tls-cert-file", "", Rule::Optional, E::Tls,
        "Certificate shown to clients, and its chain; set again to load it anew.")
        .flag(Flags::VOLATILE),
    text("tls-key-file", "", Rule::Optional, E::Tls, "Its private key.").flag(Flags::VOLATILE),
    text("tls-key-file-pass", "", Rule::Optional, E::Tls, "Passphrase of that key.")
        .flag(Flags::SENSITIVE),
    text("tls-client-cert-file", "", Rule::Optional, E::Tls,
        "Certificate shown to other servers; tls-cert-file when empty.").flag(Flags::VOLATILE),
    text("tls-client-key-file", "", Rule::Optional, E::Tls, "Its private key.")
        .flag(Flags::VOLATILE),
    text("tls-client-key-file-pass", "", Rule::Optional, E::Tls, "Passphrase of that key.")
        .flag(Flags::SENSITIVE),
    text("tls-dh-params-file", "", Rule::Optional, E::Tls,
        "Accepted for old files; keys are exchanged on elliptic curves only.")
        .flag(Flags::VOLATILE).later("Diffie-Hellman in finite fields"),
    text("tls-ca-cert-file", "", Rule::Optional, E::Tls, "Certificates that vouch for clients and other servers.")
        .flag(Flags::VOLATILE),
    text("tls-ca-cert-dir", "", Rule::Optional, E::Tls, "Directory of such certificates.")
        .flag(Flags::VOLATILE),
    words("tls-auth-clients", "yes", TLS_AUTH, E::Tls, "Whether clients need a certificate."),
    words("tls-auth-clients-user", "off", TLS_USER, E::Tls,
        "Part of a client's certificate that names its user."),
    bool("tls-replication", "no", E::Tls, "Use TLS towards the primary.").later(REPLICATION),
    bool("tls-cluster", "no", E::Tls, "Use TLS towards the servers that MIGRATE moves keys to."),
    text("tls-protocols", "", Rule::Optional, E::Tls,
        "Versions of TLS that are allowed, of TLSv1.2 and TLSv1.3; both when empty."),
    text("tls-ciphers", "", Rule::Optional, E::Tls,
        "Ciphers of TLS 1.2, as OpenSSL names them; those with forward secrecy and AEAD."),
    text("tls-ciphersuites", "", Rule::Optional, E::Tls, "Cipher suites of TLS 1.3."),
    bool("tls-prefer-server-ciphers", "no", E::Tls, "Let the server choose the cipher."),
    bool("tls-session-caching", "yes", E::Tls, "Let clients resume sessions."),
    int("tls-session-cache-size", "20480", COUNT, E::Tls, "Sessions remembered; 0 is no limit."),
    int("tls-session-cache-timeout", "300", COUNT, E::Tls, "Seconds a session can be resumed."),
    int("tls-auto-reload-interval", "0", COUNT, E::None,
        "Seconds between looks for new certificates; 0 never."),
    int("max-new-tls-connections-per-cycle", "1", (1, 1000), E::None,
        "Accepted for old files; handshakes are spread over the event loops."),
];
