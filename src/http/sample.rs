//! INFO for whoever must not wait: shards that a script or a long command holds keep the counts that
//! they had last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::command::CommandTable;
use crate::keyspace::{DbFigures, Stats};
use crate::observe::allocator;
use crate::server::{InfoContext, Server};

/// How long one sample waits for shards, all together.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long between two tries for a shard.
const REST: Duration = Duration::from_micros(50);

/// The last known counts of each shard.
pub(super) struct Sampler {
    server: Arc<Server>,
    commands: Arc<CommandTable>,
    shards: Vec<ShardCounts>,
}

#[derive(Clone, Default)]
struct ShardCounts {
    stats: Stats,
    /// Of each database that it has something of.
    databases: Vec<DbFigures>,
}

impl Sampler {
    pub(super) fn new(server: Arc<Server>, commands: Arc<CommandTable>) -> Self {
        let shards = vec![ShardCounts::default(); server.keyspace.shard_count()];
        Self { server, commands, shards }
    }

    /// The text of `INFO everything` with `more`, sections that it does not have unasked.
    pub(super) fn info(&mut self, more: &[&[u8]]) -> String {
        let memory = allocator::figures();
        self.count();
        let mut keys = Stats::default();
        let mut databases = vec![DbFigures::default(); self.server.keyspace.databases()];
        for shard in &self.shards {
            keys.add(&shard.stats);
            databases.iter_mut().zip(&shard.databases).for_each(|(sum, db)| sum.merge(db));
        }
        let names = self.commands.names_by_id();
        let (keys, databases) = (&keys, &databases[..]);
        let context = InfoContext { memory, command_names: &names, keys, databases };
        self.server.info(&[&[b"everything".as_slice()], more].concat(), &context)
    }

    fn count(&mut self) {
        let end = Instant::now() + PATIENCE;
        let (keyspace, all) = (&self.server.keyspace, self.server.keyspace.databases());
        for (number, counts) in self.shards.iter_mut().enumerate() {
            let mut shard = keyspace.try_lock(number);
            while shard.is_none() && Instant::now() < end {
                std::thread::park_timeout(REST);
                shard = keyspace.try_lock(number);
            }
            let Some(shard) = shard else { continue };
            counts.stats = *shard.stats();
            counts.databases.clear();
            for db in 0..shard.db_count().min(all) {
                let mut figures = DbFigures::default();
                figures.add(&shard, db);
                counts.databases.push(figures);
            }
        }
    }
}

/// The sections of INFO's text: title, and fields with their values.
pub(super) fn sections(info: &str) -> Vec<(&str, Vec<(&str, &str)>)> {
    let mut sections = Vec::new();
    for line in info.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            sections.push((title, Vec::new()));
        } else if let (Some((_, fields)), Some(pair)) = (sections.last_mut(), split(line)) {
            fields.push(pair);
        }
    }
    sections
}

/// Error kinds may hold colons, their counts do not.
fn split(line: &str) -> Option<(&str, &str)> {
    match line.strip_prefix("errorstat_").and_then(|_| line.rfind(":count=")) {
        Some(colon) => Some((&line[..colon], &line[colon + 1..])),
        None => line.split_once(':'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_cut_into_sections_and_fields() {
        let text =
            "# Server\r\nos:Linux a:b\r\nempty:\r\n\r\n# Errorstats\r\nerrorstat_A:B:count=1\r\n";
        let expected = vec![
            ("Server", vec![("os", "Linux a:b"), ("empty", "")]),
            ("Errorstats", vec![("errorstat_A:B", "count=1")]),
        ];
        assert_eq!(sections(text), expected);
    }
}
