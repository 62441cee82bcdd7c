//! What a file says about itself.

use crate::base::number::parse_i64;

/// The AUX fields of a file that somebody asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// When it was written, in Unix seconds.
    pub ctime: Option<i64>,
    /// How much memory the server used then, in bytes.
    pub used_memory: Option<i64>,
    /// The replication id of the server.
    pub repl_id: Option<[u8; 40]>,
    /// Its replication offset.
    pub repl_offset: Option<i64>,
    /// The database that its replication stream had selected.
    pub repl_stream_db: Option<i64>,
    /// Whether it is the base of an append-only file.
    pub is_aof_base: bool,
    /// Whether an append-only file goes on after it, in the same file.
    pub has_aof_tail: bool,
}

impl Facts {
    /// Takes a field, and logs it where Redis does.
    pub(super) fn note(&mut self, name: &[u8], value: &[u8], now_ms: i64) {
        let (text, number) = (value.escape_ascii(), parse_i64(value));
        match &name.to_ascii_lowercase()[..] {
            [b'%', ..] => tracing::info!("RDB '{}': {text}", name.escape_ascii()),
            b"redis-ver" | b"valkey-ver" => {
                tracing::info!("Loading RDB produced by version {text}");
            }
            b"ctime" => {
                self.ctime = number;
                let age = (now_ms / 1000).saturating_sub(number.unwrap_or(0)).max(0);
                tracing::info!("RDB age {age} seconds");
            }
            b"used-mem" => {
                self.used_memory = number;
                let mib = number.unwrap_or(0) as f64 / (1024.0 * 1024.0);
                tracing::info!("RDB memory usage when created {mib:.2} Mb");
            }
            b"repl-id" => self.repl_id = value.try_into().ok(),
            b"repl-offset" => self.repl_offset = number,
            b"repl-stream-db" => self.repl_stream_db = number,
            b"aof-base" => self.is_aof_base = is_set("RDB is base AOF", number),
            b"aof-preamble" => self.has_aof_tail = is_set("RDB has an AOF tail", number),
            b"redis-bits" | b"lua" => {}
            _ => tracing::trace!("Unrecognized RDB AUX field: '{}'", name.escape_ascii()),
        }
    }
}

/// Whether a switch is on, which `says` so much.
fn is_set(says: &str, value: Option<i64>) -> bool {
    let is_set = value.is_some_and(|value| value != 0);
    if is_set {
        tracing::info!("{says}");
    }
    is_set
}
