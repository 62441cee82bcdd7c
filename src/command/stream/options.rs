//! What several stream commands are told: ids, ranges of ids, and what to trim.

use super::super::args::Args;
use super::super::error::CmdError;
use crate::base::{bytes, number};
use crate::value::stream::{Bound, References, StreamId, Trim};

/// Entries that an approximate trimming without LIMIT removes at most, in nodes (Redis: 100).
const TRIM_NODES: usize = 100;

/// The same, in entries, whatever `stream-node-max-entries` says.
const TRIM_ENTRIES_MAX: usize = 1_000_000;

/// The same where `stream-node-max-entries` is no limit.
const TRIM_ENTRIES: usize = 10_000;

/// An id that is neither `-` nor `+`; without a number it has `missing_seq`.
pub(super) fn strict_id(text: &[u8], missing_seq: u64) -> Result<StreamId, CmdError> {
    StreamId::parse(text, missing_seq).ok_or(CmdError::StreamId)
}

/// An id, or `-` and `+` for the least and the greatest.
pub(super) fn any_id(text: &[u8], missing_seq: u64) -> Result<StreamId, CmdError> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        text => strict_id(text, missing_seq),
    }
}

/// The ids from argument `first` on.
pub(super) fn ids_from(args: &Args<'_>, first: usize) -> Result<Vec<StreamId>, CmdError> {
    args.rest(first).map(|text| strict_id(text, 0)).collect()
}

/// Where a range begins; `(` leaves the id itself out.
pub(super) fn start_of(text: &[u8]) -> Result<StreamId, CmdError> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => {
            strict_id(id, 0)?.next().ok_or(CmdError::StreamInterval("start"))
        }
        text => any_id(text, 0),
    }
}

/// Where a range ends; `(` leaves the id itself out.
pub(super) fn end_of(text: &[u8]) -> Result<StreamId, CmdError> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => {
            strict_id(id, u64::MAX)?.prev().ok_or(CmdError::StreamInterval("end"))
        }
        text => any_id(text, u64::MAX),
    }
}

/// What a word says of references to entries that are deleted.
fn references(word: &[u8]) -> Option<References> {
    match () {
        () if bytes::is_word(word, "keepref") => Some(References::Keep),
        () if bytes::is_word(word, "delref") => Some(References::Delete),
        () if bytes::is_word(word, "acked") => Some(References::Acked),
        () => None,
    }
}

/// What XDELEX and XACKDEL are told from the argument `first` on: what becomes of references, and the
/// ids, as they were written.
pub(super) fn parse_deletion(
    args: &Args<'_>,
    first: usize,
) -> Result<(References, std::ops::Range<usize>), CmdError> {
    let (mut kept, mut ids, mut at) = (None, None, first);
    while at < args.len() {
        let found = kept.is_none().then(|| references(args.get(at))).flatten();
        if found.is_some() {
            kept = found;
            at += 1;
        } else if args.is(at, "ids") && at + 1 < args.len() {
            let count = number::parse_i64(args.get(at + 1)).and_then(|n| usize::try_from(n).ok());
            let count = count.filter(|count| *count > 0).ok_or(CmdError::IdsNotPositive)?;
            if count > args.len() - at - 2 {
                return Err(CmdError::IdsMismatch);
            }
            ids = Some(at + 2..at + 2 + count);
            at += 2 + count;
        } else {
            return Err(CmdError::Syntax);
        }
    }
    Ok((kept.unwrap_or_default(), ids.ok_or(CmdError::IdsMissing)?))
}

/// The id that XADD is told to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewId {
    /// The next one for the time.
    Auto,
    /// The next one for this time.
    AutoSeq(u64),
    /// This one.
    Given(StreamId),
}

/// What XADD and XTRIM are told before the id.
pub(super) struct AddOptions {
    /// Whether a missing stream is not made.
    pub(super) no_mkstream: bool,
    /// What to trim, and which argument is the bound.
    pub(super) trim: Option<(Trim, usize)>,
    /// The producer and its idempotent id; no id is one made of the fields.
    pub(super) producer: Option<(usize, Option<usize>)>,
    /// XADD's id, and which argument that is.
    pub(super) id: NewId,
    pub(super) id_at: usize,
}

/// Words as they were given, before it is known whether they agree.
#[derive(Default)]
struct Words {
    no_mkstream: bool,
    references: Option<References>,
    producer: Option<(usize, Option<usize>)>,
    bound: Option<(Bound, bool, usize)>,
    limit: Option<i64>,
}

impl Words {
    /// Reads the option at `at`; the index of its last argument, or nothing when it is none.
    fn read(&mut self, args: &Args<'_>, at: usize) -> Result<Option<usize>, CmdError> {
        let (word, more) = (args.get(at), args.len() - 1 - at);
        let by_len = bytes::is_word(word, "maxlen");
        if (by_len || bytes::is_word(word, "minid")) && more > 0 {
            if self.bound.is_some() {
                return Err(CmdError::TrimTwice);
            }
            let operator = if more >= 2 { args.get(at + 1) } else { b"" };
            let bound_at = at + 1 + usize::from(matches!(operator, b"~" | b"="));
            let bound = if by_len {
                let len = number::parse_i64(args.get(bound_at)).ok_or(CmdError::NotInteger)?;
                Bound::Len(u64::try_from(len).map_err(|_| CmdError::TrimNegative("MAXLEN"))?)
            } else {
                Bound::Id(strict_id(args.get(bound_at), 0)?)
            };
            self.bound = Some((bound, operator == b"~", bound_at));
            return Ok(Some(bound_at));
        }
        if bytes::is_word(word, "limit") && more > 0 {
            let limit = number::parse_i64(args.get(at + 1)).ok_or(CmdError::NotInteger)?;
            if limit < 0 {
                return Err(CmdError::TrimNegative("LIMIT"));
            }
            self.limit = Some(limit);
            return Ok(Some(at + 1));
        }
        Ok(self.references.is_none().then(|| references(word)).flatten().map(|references| {
            self.references = Some(references);
            at
        }))
    }

    /// Reads an option that only XADD has, as [`Self::read`].
    fn read_of_xadd(&mut self, args: &Args<'_>, at: usize) -> Result<Option<usize>, CmdError> {
        let (word, more) = (args.get(at), args.len() - 1 - at);
        if bytes::is_word(word, "nomkstream") {
            self.no_mkstream = true;
            return Ok(Some(at));
        }
        let (name, taken) = match () {
            () if bytes::is_word(word, "idmpauto") && more > 0 => ("IDMPAUTO", 1),
            () if bytes::is_word(word, "idmp") && more > 1 => ("IDMP", 2),
            () => return Ok(None),
        };
        if self.producer.is_some() {
            return Err(CmdError::IdmpTwice);
        }
        for (index, what) in [(at + 1, "producer"), (at + 2, "idempotent")].iter().take(taken) {
            if args.get(*index).is_empty() {
                return Err(CmdError::IdmpEmpty(name, what));
            }
        }
        self.producer = Some((at + 1, (taken == 2).then_some(at + 2)));
        Ok(Some(at + taken))
    }

    /// What to trim; `obeys` says that what was checked when it was first said is not checked again.
    fn trim(&self, node_entries: usize, obeys: bool) -> Result<Option<(Trim, usize)>, CmdError> {
        let Some((bound, approximate, at)) = self.bound else {
            return match self.limit {
                Some(1..) => Err(CmdError::TrimLimitAlone),
                Some(_) if !obeys => Err(CmdError::TrimLimitExact),
                _ => Ok(None),
            };
        };
        let limit = match self.limit {
            _ if obeys => 0,
            Some(_) if !approximate => return Err(CmdError::TrimLimitExact),
            Some(limit) => limit.unsigned_abs(),
            None if !approximate => 0,
            None if node_entries == 0 => TRIM_ENTRIES as u64,
            None => node_entries.saturating_mul(TRIM_NODES).min(TRIM_ENTRIES_MAX) as u64,
        };
        let references = self.references.unwrap_or_default();
        Ok(Some((Trim { bound, approximate, limit, references }, at)))
    }
}

impl AddOptions {
    /// Reads what stands before XADD's fields.
    pub(super) fn of_xadd(
        args: &Args<'_>,
        node_entries: usize,
        obeys: bool,
    ) -> Result<Self, CmdError> {
        let (mut words, mut at) = (Words::default(), 2);
        let mut id = NewId::Auto;
        while at < args.len() {
            let word = args.get(at);
            if word == b"*" {
                break;
            }
            let common = words.read(args, at)?;
            let known = if common.is_some() { common } else { words.read_of_xadd(args, at)? };
            if let Some(last) = known {
                at = last + 1;
                continue;
            }
            id = match StreamId::parse_ms(word) {
                Some(ms) => NewId::AutoSeq(ms),
                None => NewId::Given(strict_id(word, 0)?),
            };
            if words.producer.is_some() && !obeys {
                return Err(CmdError::IdmpId);
            }
            break;
        }
        let trim = words.trim(node_entries, obeys)?;
        let Words { no_mkstream, producer, .. } = words;
        Ok(Self { no_mkstream, trim, producer, id, id_at: at })
    }

    /// Reads what XTRIM is told.
    pub(super) fn of_xtrim(
        args: &Args<'_>,
        node_entries: usize,
        obeys: bool,
    ) -> Result<(Trim, usize), CmdError> {
        let (mut words, mut at) = (Words::default(), 2);
        while at < args.len() {
            at = words.read(args, at)?.ok_or(CmdError::Syntax)? + 1;
        }
        if words.bound.is_none() && words.limit.unwrap_or(0) == 0 {
            return Err(CmdError::TrimMissing);
        }
        words.trim(node_entries, obeys)?.ok_or(CmdError::TrimMissing)
    }
}
