//! Entries that producers may send again: what is remembered of them (Redis 8.6).

use xxhash_rust::xxh3::Xxh3Default;

use super::super::args::Args;
use super::super::context::{Ctx, Flow};
use super::super::error::CmdError;
use super::super::spec::Command;
use super::options::strict_id;
use super::{UPDATE, stream};
use crate::base::bytes;
use crate::keyspace::Event;
use crate::value::stream::{IdempotenceLimits, Stream};

const DURATION_MAX: i64 = IdempotenceLimits::DURATION_MAX as i64;
const ENTRIES_MAX: i64 = IdempotenceLimits::ENTRIES_MAX as i64;

pub(in super::super) static COMMANDS: &[Command] = &[
    stream("xcfgset", -2, xcfgset).write().fast().keys(UPDATE),
    stream("xidmprecord", 5, xidmprecord).grow().fast().keys(UPDATE),
];

fn xcfgset(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let key = args.key(1);
    let found = ctx.db.peek::<Stream>(key)?.ok_or(CmdError::NoSuchKey)?;
    let usual = ctx.server.keyspace.limits().stream_idmp();
    let mut limits = found.idempotence().map_or(usual, |known| known.limits());
    let (mut duration, mut entries) = (false, false);
    let mut options = args.options(2);
    while let Some(word) = options.word() {
        if options.left() == 0 {
            return Err(CmdError::Syntax);
        }
        match () {
            () if bytes::is_word(word, "idmp-duration") => {
                if std::mem::replace(&mut duration, true) {
                    return Err(CmdError::IdmpOptionTwice("IDMP-DURATION"));
                }
                let given = options.integer()?;
                let valid = (1..=DURATION_MAX).contains(&given);
                limits.duration_s = if valid {
                    given as u64
                } else {
                    return Err(CmdError::IdmpDuration(DURATION_MAX));
                };
            }
            () if bytes::is_word(word, "idmp-maxsize") => {
                if std::mem::replace(&mut entries, true) {
                    return Err(CmdError::IdmpOptionTwice("IDMP-MAXSIZE"));
                }
                let given = options.integer()?;
                let valid = (1..=ENTRIES_MAX).contains(&given);
                limits.entries = if valid {
                    given as u64
                } else {
                    return Err(CmdError::IdmpMaxsize(ENTRIES_MAX));
                };
            }
            () => return Err(CmdError::Syntax),
        }
    }
    if !duration && !entries {
        return Err(CmdError::XcfgsetNothing);
    }
    let mut changed = false;
    if let Some(mut guard) = ctx.db.write::<Stream>(key)? {
        changed = guard.edit().idempotence_mut(usual).set_limits(limits);
    }
    ctx.db.changes().dirty += u64::from(changed);
    ctx.out.ok();
    Ok(Flow::Done)
}

fn xidmprecord(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let id = strict_id(args.get(4), 0)?;
    for (at, what) in [(2, "producer"), (3, "idempotent")] {
        if args.get(at).is_empty() {
            return Err(CmdError::XidmprecordEmpty(what));
        }
    }
    let (key, now_ms) = (args.key(1), now_ms(ctx));
    let stream = ctx.db.peek::<Stream>(key)?.ok_or(CmdError::NoSuchKey)?;
    if !stream.contains(id) {
        return Err(CmdError::XidmprecordMissing);
    }
    let limits = ctx.server.keyspace.limits().stream_idmp();
    let Some(mut guard) = ctx.db.write::<Stream>(key)? else { return Ok(Flow::Done) };
    let known = guard.edit().idempotence_mut(limits);
    match known.find(args.get(2), args.get(3), now_ms) {
        Some(other) if other != id => return Err(CmdError::XidmprecordOther),
        Some(_) => {}
        None => {
            known.insert(args.get(2), args.get(3), id, now_ms);
            guard.noted(Event::UNANNOUNCED);
        }
    }
    ctx.out.ok();
    Ok(Flow::Done)
}

/// The time that ids are compared with.
pub(super) fn now_ms(ctx: &Ctx<'_>) -> u64 {
    u64::try_from(ctx.db.clock_ms()).unwrap_or(0)
}

/// The idempotent id that an entry's fields have, in whatever order they are.
pub(super) fn id_of_fields<'p>(pairs: impl Iterator<Item = (&'p [u8], &'p [u8])>) -> [u8; 16] {
    let (mut sums, mut marks) = ([0u64; 2], [0u64; 2]);
    for (name, value) in pairs {
        let mut hasher = Xxh3Default::new();
        hasher.update(name);
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(value);
        let hash = hasher.digest128();
        for (at, word) in [hash as u64, (hash >> 64) as u64].into_iter().enumerate() {
            sums[at] = sums[at].wrapping_add(word);
            marks[at] ^= word;
        }
    }
    let words = [sums[0] ^ marks[1].rotate_left(1), sums[1] ^ marks[0].rotate_left(1)];
    let mut id = [0; 16];
    id[..8].copy_from_slice(&words[0].to_le_bytes());
    id[8..].copy_from_slice(&words[1].to_le_bytes());
    id
}
