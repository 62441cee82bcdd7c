//! The words of every enumeration, in the order in which error messages list them.
//!
//! Words with the same number mean the same; the first is printed.

use crate::config::directive::Words;

pub(super) const SUPERVISED: Words = &[("upstart", 0), ("systemd", 1), ("auto", 2), ("no", 3)];
pub(super) const PROTECTED: Words = &[("no", 0), ("yes", 1), ("local", 2)];
/// A set: numbers are bits, and `default` is the empty one.
pub(super) const SHUTDOWN: Words = &[
    ("default", 0),
    ("save", 1),
    ("nosave", 2),
    ("now", 4),
    ("force", 8),
    ("safe", 16),
    ("failover", 32),
];
pub(super) const OOM_SCORE_ADJ: Words = &[("no", 0), ("yes", 1), ("relative", 1), ("absolute", 2)];
pub(super) const LOG_LEVEL: Words =
    &[("debug", 0), ("verbose", 1), ("notice", 2), ("warning", 3), ("nothing", 4)];
pub(super) const LOG_FORMAT: Words = &[("legacy", 0), ("logfmt", 1), ("json", 2)];
pub(super) const LOG_TIMESTAMP: Words = &[("legacy", 0), ("iso8601", 1), ("milliseconds", 2)];
pub(super) const SYSLOG: Words = &[
    ("user", 8),
    ("local0", 0),
    ("local1", 1),
    ("local2", 2),
    ("local3", 3),
    ("local4", 4),
    ("local5", 5),
    ("local6", 6),
    ("local7", 7),
];
pub(super) const ACL_PUBSUB: Words = &[("allchannels", 1), ("resetchannels", 0)];
pub(super) const SANITIZE: Words = &[("no", 0), ("yes", 1), ("clients", 2)];
pub(in crate::config) const POLICY: Words = &[
    ("volatile-lru", 0),
    ("volatile-lfu", 1),
    ("volatile-random", 2),
    ("volatile-ttl", 3),
    ("allkeys-lru", 4),
    ("allkeys-lfu", 5),
    ("allkeys-random", 6),
    ("noeviction", 7),
    ("volatile-lrm", 8),
    ("allkeys-lrm", 9),
];
pub(super) const FSYNC: Words = &[("everysec", 0), ("always", 1), ("no", 2)];
pub(super) const RDB_VERSION: Words = &[("strict", 0), ("relaxed", 1)];
pub(super) const RDB_WRITTEN: Words = &[("10", 10), ("11", 11), ("12", 12), ("80", 80)];
pub(super) const RDB_DEADLINES: Words = &[("12", 12), ("80", 80), ("refuse", 0)];
pub(super) const DISKLESS_LOAD: Words =
    &[("disabled", 0), ("on-empty-db", 1), ("swapdb", 2), ("flush-before-load", 3)];
pub(super) const PROPAGATION: Words = &[("ignore", 0), ("panic", 1), ("panic-on-replicas", 2)];
pub(super) const CONFIG_SAVE: Words = &[("sync", 0), ("best-effort", 1)];
pub(super) const ENDPOINT: Words = &[("ip", 0), ("hostname", 1), ("unknown-endpoint", 2)];
pub(super) const TLS_AUTH: Words = &[("no", 0), ("yes", 1), ("optional", 2)];
pub(super) const TLS_USER: Words = &[("off", 0), ("CN", 1), ("URI", 2)];
