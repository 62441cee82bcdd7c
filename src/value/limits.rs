//! The thresholds at which encodings convert, as the configuration sets them.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};

use super::stream::{IdempotenceLimits, NodeLimits};

/// The thresholds; each read is one relaxed load.
#[derive(Debug)]
pub struct Limits {
    directives: [AtomicI64; DIRECTIVES.len()],
    list_plain_len: AtomicUsize,
}

/// The directive behind each threshold, with its default, in the order of [`Limit`].
const DIRECTIVES: [(&str, i64); 14] = [
    ("list-max-listpack-size", -2),
    ("list-compress-depth", 0),
    ("hash-max-listpack-entries", 512),
    ("hash-max-listpack-value", 64),
    ("set-max-intset-entries", 512),
    ("set-max-listpack-entries", 128),
    ("set-max-listpack-value", 64),
    ("zset-max-listpack-entries", 128),
    ("zset-max-listpack-value", 64),
    ("hll-sparse-max-bytes", 3000),
    ("stream-node-max-bytes", 4096),
    ("stream-node-max-entries", 100),
    ("stream-idmp-duration", 100),
    ("stream-idmp-maxsize", 100),
];

/// Index of a threshold.
#[derive(Clone, Copy)]
enum Limit {
    ListSize,
    ListCompressDepth,
    HashEntries,
    HashValue,
    IntsetEntries,
    SetEntries,
    SetValue,
    ZSetEntries,
    ZSetValue,
    HllBytes,
    StreamNodeBytes,
    StreamNodeEntries,
    IdmpDuration,
    IdmpMaxsize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            directives: DIRECTIVES.map(|(_, default)| AtomicI64::new(default)),
            list_plain_len: AtomicUsize::new(usize::MAX),
        }
    }
}

impl Limits {
    /// Takes all thresholds from the directives that `value_of` looks up.
    pub fn set_all(&self, value_of: impl Fn(&str) -> i64) {
        for (limit, (directive, _)) in self.directives.iter().zip(DIRECTIVES) {
            limit.store(value_of(directive), Relaxed);
        }
    }

    fn get(&self, limit: Limit) -> i64 {
        self.directives[limit as usize].load(Relaxed)
    }

    fn size(&self, limit: Limit) -> usize {
        usize::try_from(self.get(limit)).unwrap_or(0)
    }

    /// Size of a list's nodes: elements if positive, a class of bytes from -1 to -5.
    pub fn list_max_listpack_size(&self) -> i64 {
        self.get(Limit::ListSize)
    }

    /// Nodes at each end of a list that stay uncompressed; 0 compresses none.
    pub fn list_compress_depth(&self) -> usize {
        self.size(Limit::ListCompressDepth)
    }

    /// Elements of long lists from this length on have nodes of their own, in bytes, where the size
    /// of nodes does not ask for it earlier.
    pub fn list_plain_len(&self) -> usize {
        self.list_plain_len.load(Relaxed)
    }

    /// Sets [`Self::list_plain_len`], for tests.
    pub fn set_list_plain_len(&self, len: usize) {
        self.list_plain_len.store(len, Relaxed);
    }

    /// Fields of the largest packed hash.
    pub fn hash_max_listpack_entries(&self) -> usize {
        self.size(Limit::HashEntries)
    }

    /// Longest field or value of a packed hash, in bytes.
    pub fn hash_max_listpack_value(&self) -> usize {
        self.size(Limit::HashValue)
    }

    /// Members of the largest set of packed integers.
    pub fn set_max_intset_entries(&self) -> usize {
        self.size(Limit::IntsetEntries)
    }

    /// Members of the largest packed set.
    pub fn set_max_listpack_entries(&self) -> usize {
        self.size(Limit::SetEntries)
    }

    /// Longest member of a packed set, in bytes.
    pub fn set_max_listpack_value(&self) -> usize {
        self.size(Limit::SetValue)
    }

    /// Members of the largest packed sorted set.
    pub fn zset_max_listpack_entries(&self) -> usize {
        self.size(Limit::ZSetEntries)
    }

    /// Longest member of a packed sorted set, in bytes.
    pub fn zset_max_listpack_value(&self) -> usize {
        self.size(Limit::ZSetValue)
    }

    /// How large a stream's nodes get.
    pub fn stream_node(&self) -> NodeLimits {
        NodeLimits {
            bytes: self.size(Limit::StreamNodeBytes),
            entries: self.size(Limit::StreamNodeEntries),
        }
    }

    /// What is remembered of a stream's producers, unless it was told otherwise.
    pub fn stream_idmp(&self) -> IdempotenceLimits {
        IdempotenceLimits {
            duration_s: self.size(Limit::IdmpDuration) as u64,
            entries: self.size(Limit::IdmpMaxsize) as u64,
        }
    }

    /// Largest sparse HyperLogLog, in bytes.
    pub fn hll_sparse_max_bytes(&self) -> usize {
        self.size(Limit::HllBytes)
    }
}
