//! `check-rdb`: reads a file to its end as loading would, and says what is in it and what is wrong.
//!
//! The lines are those of redis-check-rdb, for whoever reads them with a program.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::AtomicU64;

use super::decode::{Decoder, Restored, kind_name, module_name};
use super::error::RdbError;
use super::feed::Feed;
use super::idempotence;
use super::mark::{self, Header, Mark};
use super::read::{Scratch, Source};
use crate::base::hash::KeyHasher;
use crate::base::os_error;
use crate::value::limits::Limits;
use crate::value::{EditContext, Value};

/// Bytes of the file that are looked at together.
const WINDOW_LEN: usize = 256 * 1024;

/// Checks the file at `path`; `true` when it is sound. The error is that of writing to `out`.
pub fn check_file(path: &Path, now_ms: i64, out: &mut dyn Write) -> io::Result<bool> {
    writeln!(out, "[offset 0] Checking RDB file {}", path.display())?;
    match File::open(path) {
        Ok(file) => Ok(check(file, now_ms, out)?.is_some()),
        Err(error) => {
            writeln!(out, "Cannot open file {}: {}", path.display(), os_error::text(&error))?;
            Ok(false)
        }
    }
}

/// Checks a file; returns how many bytes of `input` belong to it when it is sound.
pub fn check(input: impl Read, now_ms: i64, out: &mut dyn Write) -> io::Result<Option<u64>> {
    let progress = AtomicU64::new(0);
    let mut feed = Feed::new(input, WINDOW_LEN, &progress);
    let mut check = Check { now_ms, out, found: Found::default(), broken: None };
    let result = check.run(&mut feed);
    let Check { out, found, broken, .. } = check;
    if let Some(error) = broken {
        return Err(error);
    }
    match result {
        Ok(()) => {
            writeln!(out, "[offset {}] \\o/ RDB looks OK! \\o/", feed.at())?;
            found.write(out)?;
            Ok(Some(feed.at()))
        }
        Err(error) => {
            writeln!(out, "--- RDB ERROR DETECTED ---")?;
            writeln!(out, "[offset {}] {error}", error.offset().unwrap_or(feed.at()))?;
            writeln!(out, "[additional info] While doing: {}", found.doing(&error))?;
            if let Some(key) = &found.key {
                writeln!(out, "[additional info] Reading key '{}'", key.escape_ascii())?;
            }
            if let Some(kind) = found.kind {
                let name = kind_name(kind).unwrap_or("unknown");
                writeln!(out, "[additional info] Reading type {kind} ({name})")?;
            }
            found.write(out)?;
            Ok(None)
        }
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    keys: u64,
    volatile: u64,
    expired: u64,
    /// Keys with deadlines of fields.
    volatile_fields: u64,
    /// The kind and the key of the value that is being read.
    kind: Option<u8>,
    key: Option<Vec<u8>>,
    is_at_end: bool,
}

impl Found {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "[info] {} keys read", self.keys)?;
        writeln!(out, "[info] {} expires", self.volatile)?;
        writeln!(out, "[info] {} already expired", self.expired)?;
        if self.volatile_fields > 0 {
            writeln!(out, "[info] {} subexpires", self.volatile_fields)?;
        }
        Ok(())
    }

    /// What Redis would call the thing that was being done.
    fn doing(&self, error: &RdbError) -> &'static str {
        match error {
            _ if self.key.is_some() => "read-object-value",
            _ if self.is_at_end => "check-sum",
            _ if self.kind.is_some() => "read-key",
            RdbError::Signature | RdbError::Version(_) => "start",
            RdbError::PreRelease { .. } => "read-functions",
            _ => match error.what() {
                Some("signature") => "start",
                Some("deadline") => "read-expire",
                Some("database number" | "number of keys" | "idle time") => "read-len",
                Some("aux field") => "read-aux",
                Some("module aux data") => "read-module-aux",
                Some("function library") => "read-functions",
                _ => "read-type",
            },
        }
    }
}

struct Check<'o> {
    now_ms: i64,
    out: &'o mut dyn Write,
    found: Found,
    /// Why nothing more can be written.
    broken: Option<io::Error>,
}

impl Check<'_> {
    fn say<R: Read>(&mut self, feed: &Feed<'_, R>, line: &str) {
        if self.broken.is_none() {
            self.broken = writeln!(self.out, "[offset {}] {line}", feed.at()).err();
        }
    }

    fn run<R: Read>(&mut self, feed: &mut Feed<'_, R>) -> Result<(), RdbError> {
        let header = mark::header(feed)?;
        let (limits, hasher) = (Limits::default(), KeyHasher::random());
        let context = EditContext { limits: &limits, hasher: &hasher, now_ms: self.now_ms };
        let decoder = Decoder { context, dialect: header.dialect, drops_fields: false };
        let (mut scratch, mut deadline) = (Scratch::default(), None);
        loop {
            match mark::next(feed, &mut scratch)? {
                Mark::Value(kind) => {
                    self.value(kind, deadline.take(), feed, &decoder, &mut scratch)?;
                }
                Mark::Deadline(at_ms) => deadline = at_ms,
                Mark::SelectDb(db) => self.say(feed, &format!("Selecting DB ID {db}")),
                Mark::Aux(name, value) if name == idempotence::NAME => {
                    idempotence::recall(&mut None, &value, self.now_ms)?;
                    self.say(feed, &format!("{} of the next key", name.escape_ascii()));
                }
                Mark::Aux(name, value) => {
                    let (name, value) = (name.escape_ascii(), value.escape_ascii());
                    self.say(feed, &format!("AUX FIELD {name} = '{value}'"));
                }
                Mark::ModuleAux(id) => {
                    let name = module_name(id);
                    self.say(feed, &format!("MODULE AUX for: {}", name.escape_ascii()));
                }
                Mark::Function(_) | Mark::Sizes | Mark::Idle(_) | Mark::Frequency(_) => {}
                Mark::End => break,
            }
        }
        self.found.is_at_end = true;
        self.checksum(feed, header)
    }

    fn value<R: Read>(
        &mut self,
        kind: u8,
        deadline: Option<i64>,
        feed: &mut Feed<'_, R>,
        decoder: &Decoder<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), RdbError> {
        if kind_name(kind).is_none() {
            return Err(RdbError::Kind { at: feed.at(), kind });
        }
        self.found.kind = Some(kind);
        self.found.key = Some(feed.owned(scratch, "key")?);
        self.found.keys += 1;
        match decoder.value(kind, feed, scratch) {
            Ok(value) => self.found.volatile_fields += u64::from(has_volatile_fields(&value)),
            // Loading leaves it out.
            Err(RdbError::Empty) => self.say(feed, "Skipping empty key"),
            Err(error) => return Err(error),
        }
        self.found.volatile += u64::from(deadline.is_some());
        self.found.expired += u64::from(deadline.is_some_and(|at_ms| at_ms < self.now_ms));
        (self.found.kind, self.found.key) = (None, None);
        Ok(())
    }

    fn checksum<R: Read>(
        &mut self,
        feed: &mut Feed<'_, R>,
        header: Header,
    ) -> Result<(), RdbError> {
        if !header.has_checksum() {
            return Ok(());
        }
        let expected = feed.checksum().unwrap_or_default();
        match u64::from_le_bytes(feed.array("checksum")?) {
            0 => {
                let line = "RDB file was saved with checksum disabled: no check performed.";
                self.say(feed, line);
            }
            found if found == expected => self.say(feed, "Checksum OK"),
            found => return Err(RdbError::Checksum { expected, found }),
        }
        Ok(())
    }
}

fn has_volatile_fields(value: &Restored<'_>) -> bool {
    match value {
        Restored::Object(Some(object)) => match &**object {
            Value::Hash(table) => table.min_expire_ms().is_some(),
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::rdb::crc::Crc;

    fn run(bytes: &[u8]) -> (Option<u64>, String) {
        let mut out = Vec::new();
        let sound = check(bytes, 1_000_000, &mut out).unwrap();
        (sound, String::from_utf8(out).unwrap())
    }

    fn sealed(bytes: &[u8]) -> Vec<u8> {
        let bytes = [bytes, b"\xff"].concat();
        [&bytes[..], &Crc::of(&bytes).to_le_bytes()].concat()
    }

    #[test]
    fn a_sound_file_is_described() {
        let file =
            b"REDIS0011\xfa\x01a\x01b\xf7\x00\x02\x01\x00\xfe\x02\xfd\x01\0\0\0\x00\x01k\x01v";
        let (sound, said) = run(&[&sealed(file)[..], b"more"].concat());
        assert_eq!(sound, Some(file.len() as u64 + 9));
        let expected = "[offset 14] AUX FIELD a = 'b'\n[offset 19] MODULE AUX for: AAAAAAAAA\n\
            [offset 21] Selecting DB ID 2\n[offset 40] Checksum OK\n\
            [offset 40] \\o/ RDB looks OK! \\o/\n[info] 1 keys read\n[info] 1 expires\n\
            [info] 1 already expired\n";
        assert_eq!(said, expected);
    }

    #[test]
    fn errors_say_what_was_being_read() {
        for (file, lines) in [
            (
                &b"XEDIS0011"[..],
                "[offset 9] Wrong signature trying to load DB from file\n[additional info] While doing: start\n",
            ),
            (
                b"REDIS0011\xfa\x01",
                "[offset 11] Unexpected EOF reading RDB file\n[additional info] While doing: read-aux\n",
            ),
            (
                b"REDIS0011\x20",
                "[offset 10] Invalid object type: 32\n[additional info] While doing: read-type\n",
            ),
            (
                b"REDIS0011\x00\x05a",
                "[offset 12] Unexpected EOF reading RDB file\n[additional info] While doing: read-key\n[additional info] Reading type 0 (string)\n",
            ),
            (
                b"REDIS0011\x05\x01a\x02",
                "[offset 13] Unexpected EOF reading RDB file\n[additional info] While doing: read-object-value\n[additional info] Reading key 'a'\n[additional info] Reading type 5 (zset-v2)\n",
            ),
            (
                b"REDIS0011\xff12345678",
                "[offset 18] RDB CRC error\n[additional info] While doing: check-sum\n",
            ),
        ] {
            let (sound, said) = run(file);
            assert_eq!(sound, None);
            let body = said.strip_prefix("--- RDB ERROR DETECTED ---\n").unwrap();
            assert!(body.starts_with(lines), "{body}");
            assert!(body.contains(" keys read\n"));
        }
    }
}
