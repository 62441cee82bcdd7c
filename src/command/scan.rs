//! Commands that walk the keyspace.

use smallvec::SmallVec;

use std::sync::Arc;

use super::args::{Args, Options};
use super::context::{Ctx, Flow, Job};
use super::error::CmdError;
use super::spec::{Command, Flags, Locks};
use crate::base::limits::BACKGROUND_SLICE;
use crate::base::{bytes, glob};
use crate::resp::ReplyBuf;

/// How many elements a scan visits unless COUNT says otherwise.
const COUNT_DEFAULT: usize = 10;
/// How many keys KEYS visits at a time.
const KEYS_STEP: usize = 256;

pub(super) static COMMANDS: &[Command] = &[
    Command::new("scan", -2, scan).read().flags(Flags::KEYSPACE).locks(Locks::Each).tips(&[
        "nondeterministic_output",
        "request_policy:special",
        "response_policy:special",
    ]),
    Command::new("keys", 2, keys)
        .read()
        .flags(Flags::KEYSPACE.with(Flags::DANGEROUS))
        .locks(Locks::Each)
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"]),
];

/// MATCH and COUNT, which all scans take.
pub(super) struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    /// About how many elements to visit.
    pub(super) count: usize,
}

impl<'a> ScanOptions<'a> {
    /// Reads the options; `other` is asked about words that are neither, and says whether it is one.
    pub(super) fn parse(
        mut options: Options<'a>,
        mut other: impl FnMut(&'a [u8], &mut Options<'a>) -> Result<bool, CmdError>,
    ) -> Result<Self, CmdError> {
        let mut parsed = Self { pattern: None, count: COUNT_DEFAULT };
        while let Some(word) = options.word() {
            if bytes::is_word(word, "match") {
                parsed.pattern = Some(options.value()?).filter(|pattern| *pattern != b"*");
            } else if bytes::is_word(word, "count") {
                let count = usize::try_from(options.integer()?).ok().filter(|count| *count > 0);
                parsed.count = count.ok_or(CmdError::Syntax)?;
            } else if !other(word, &mut options)? {
                let of_hashes = bytes::is_word(word, "novalues");
                return Err(if of_hashes { CmdError::NoValues } else { CmdError::Syntax });
            }
        }
        Ok(parsed)
    }

    /// Whether an element of that name is to be returned.
    pub(super) fn wants(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name, false))
    }
}

fn scan(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let (cursor, mut type_name) = (parse_cursor(args.get(1))?, None);
    let scan = ScanOptions::parse(args.options(2), |word, options| {
        let is_type = bytes::is_word(word, "type");
        if is_type {
            type_name = Some(options.value()?);
        }
        Ok(is_type)
    })?;
    let mut found = Vec::new();
    let next = ctx.db.scan(cursor, scan.count, |entry| {
        let wanted = scan.wants(entry.key())
            && type_name.is_none_or(|name| bytes::is_word(name, entry.type_of().name()));
        if wanted {
            found.push(entry.key().to_vec());
        }
    });
    ctx.out.array(2);
    ctx.out.text(&next.to_string());
    ctx.out.array(found.len());
    found.iter().for_each(|key| ctx.out.bulk(key));
    Ok(Flow::Done)
}

/// A cursor is an unsigned 64-bit number; any is valid.
pub(super) fn parse_cursor(text: &[u8]) -> Result<u64, CmdError> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse::<u64>().ok())
        .ok_or(CmdError::InvalidCursor)
}

fn keys(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let pattern = args.get(1).to_vec();
    let found = ReplyBuf::with_room(Vec::new(), ctx.out.protocol());
    let mut walk = KeysWalk { db: ctx.db.db(), pattern, cursor: 0, found, count: 0 };
    // Most keyspaces on which somebody dares to use KEYS are done in one step.
    Ok(if walk.step(ctx)? { Flow::Done } else { Flow::Work(Box::new(walk)) })
}

/// KEYS on its way through the keyspace; the number of keys, which comes first, is known at the end.
struct KeysWalk {
    db: usize,
    pattern: Vec<u8>,
    cursor: u64,
    found: ReplyBuf,
    count: usize,
}

impl std::fmt::Debug for KeysWalk {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "KEYS at {}, {} found", self.cursor, self.count)
    }
}

impl Job for KeysWalk {
    fn keys(&self) -> SmallVec<[&[u8]; 1]> {
        SmallVec::new()
    }

    fn step(&mut self, ctx: &mut Ctx<'_>) -> Result<bool, CmdError> {
        let (pattern, found, count) = (&self.pattern, &mut self.found, &mut self.count);
        let (all, start) = (**pattern == *b"*", std::time::Instant::now());
        ctx.db.select(self.db);
        loop {
            self.cursor = ctx.db.scan(self.cursor, KEYS_STEP, |entry| {
                if all || glob::matches(pattern, entry.key(), false) {
                    found.bulk(entry.key());
                    *count += 1;
                }
            });
            if self.cursor == 0 {
                ctx.out.array(*count);
                ctx.out.raw_shared(Arc::new(found.take_room()));
                return Ok(true);
            }
            if start.elapsed() >= BACKGROUND_SLICE {
                return Ok(false);
            }
        }
    }
}
