//! What is in a database, added up over the shards.

use super::{Db, Shard};

/// What is in one database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DbFigures {
    /// Keys.
    pub keys: usize,
    /// Keys that have a deadline.
    pub volatile: usize,
    /// Bytes of the tables that keys are found by.
    pub overhead: usize,
    /// The sum of all deadlines, in Unix milliseconds.
    deadline_sum: i128,
}

impl DbFigures {
    /// Adds what one shard has of the database `db`.
    pub fn add(&mut self, shard: &Shard, db: usize) {
        let Some(table) = shard.db(db) else { return };
        self.keys += table.len();
        self.volatile += table.volatile_len();
        self.overhead += Db::overhead(table);
        self.deadline_sum += table.deadline_sum();
    }

    /// Adds what others have counted.
    pub fn merge(&mut self, other: &Self) {
        self.keys += other.keys;
        self.volatile += other.volatile;
        self.overhead += other.overhead;
        self.deadline_sum += other.deadline_sum;
    }

    /// How long keys that have a deadline live on average from `now_ms` on, in milliseconds; 0 when
    /// there are none.
    pub fn mean_ttl_ms(&self, now_ms: i64) -> i64 {
        let Some(mean) = self.deadline_sum.checked_div(self.volatile as i128) else { return 0 };
        i64::try_from(mean - i128::from(now_ms)).unwrap_or(0).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_counts_from_now_and_is_never_negative() {
        let figures = DbFigures { volatile: 2, deadline_sum: 300, ..DbFigures::default() };
        assert_eq!((figures.mean_ttl_ms(100), figures.mean_ttl_ms(200)), (50, 0));
        assert_eq!(DbFigures::default().mean_ttl_ms(-5), 0);
    }
}
