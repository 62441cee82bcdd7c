//! What one request changed, as commands that do the same again: the unit of the log of writes.
//!
//! ```text
//! pushed     (0, SET a 1) (0, DEL b) (3, SET c 2)
//! body       SET a 1, DEL b, SELECT 3, SET c 2          as requests of the protocol
//! ```
//!
//! Commands are encoded as they come, into memory that is used again for the next request. What
//! stands around them (MULTI, EXEC, the first SELECT) depends on what the log said before, so
//! [`super::log::WriteLog`] adds it.

use crate::resp::{Argv, write_bulk, write_head};

/// Memory of a body that is kept for the next request, in bytes.
const KEPT_MAX: usize = 64 * 1024;

/// The effects of one request.
#[derive(Debug, Default)]
pub struct Unit {
    body: Vec<u8>,
    count: usize,
    /// The databases of the first and the last command, once there is one.
    first: usize,
    last: usize,
}

impl Unit {
    /// Adds a command of database `db`.
    pub fn push<'a>(
        &mut self,
        db: usize,
        argv: impl IntoIterator<Item = &'a [u8], IntoIter: ExactSizeIterator>,
    ) {
        let argv = argv.into_iter();
        self.begin(db, argv.len());
        for arg in argv {
            self.arg(arg);
        }
    }

    /// Begins a command of database `db` that has `len` arguments, its name included. Exactly so
    /// many calls of [`Self::arg`] have to follow.
    pub fn begin(&mut self, db: usize, len: usize) {
        self.enter(db, 1);
        write_head(&mut self.body, b'*', len as i64);
    }

    /// Makes `db` the database of the next commands, `count` of them.
    fn enter(&mut self, db: usize, count: usize) {
        if self.count == 0 {
            self.first = db;
        } else if self.last != db {
            write_select(&mut self.body, db);
        }
        self.last = db;
        self.count += count;
    }

    /// Adds the next argument of the command that was begun.
    #[inline]
    pub fn arg(&mut self, arg: &[u8]) {
        write_bulk(&mut self.body, arg);
    }

    /// Adds commands of database `db` that were collected in `others` without one.
    pub fn append(&mut self, db: usize, others: &Self) {
        if !others.is_empty() {
            self.enter(db, others.count);
            self.body.extend_from_slice(&others.body);
        }
    }

    /// Adds a command of database `db` that a client sent: with one copy, where it lies as it is to
    /// be written.
    pub fn push_sent(&mut self, db: usize, argv: Argv<'_>) {
        match argv.verbatim() {
            Some(bytes) => {
                self.enter(db, 1);
                self.body.extend_from_slice(bytes);
            }
            None => self.push(db, argv.iter()),
        }
    }

    /// Forgets all commands.
    pub fn clear(&mut self) {
        self.count = 0;
        self.body.clear();
        if self.body.capacity() > KEPT_MAX {
            self.body.shrink_to(KEPT_MAX);
        }
    }

    /// Whether nothing changed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// The encoded commands, with SELECT wherever the database changes between two of them.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The databases of the first and the last command.
    pub(super) fn dbs(&self) -> (usize, usize) {
        (self.first, self.last)
    }
}

/// Appends `SELECT db` as a request.
pub fn write_select(out: &mut Vec<u8>, db: usize) {
    let mut digits = itoa::Buffer::new();
    write_head(out, b'*', 2);
    write_bulk(out, b"SELECT");
    write_bulk(out, digits.format(db).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_requests_with_select_between_databases() {
        let mut unit = Unit::default();
        assert!(unit.is_empty());
        unit.push(0, [&b"SET"[..], b"a", b""]);
        unit.push(3, [&b"DEL"[..], b"b"]);
        unit.begin(3, 1);
        unit.arg(b"PING");
        assert_eq!((unit.len(), unit.dbs()), (3, (0, 3)));
        let expected = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n\
                        *2\r\n$3\r\nDEL\r\n$1\r\nb\r\n*1\r\n$4\r\nPING\r\n";
        assert_eq!(String::from_utf8_lossy(unit.body()), expected);
        unit.clear();
        assert!(unit.is_empty() && unit.body().is_empty());
    }

    #[test]
    fn a_long_body_does_not_keep_its_memory() {
        let mut unit = Unit::default();
        unit.push(0, [&vec![b'x'; 4 * KEPT_MAX][..]]);
        unit.clear();
        assert!(unit.body.capacity() <= KEPT_MAX);
    }
}
