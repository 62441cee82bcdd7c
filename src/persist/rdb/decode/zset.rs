//! Sorted sets: member by member with scores of two forms, ziplists, listpacks.

use std::borrow::Cow;

use super::{Decoder, Restored, are_distinct, count, groups, of_ziplist};
use crate::base::number;
use crate::encoding::listpack::{Item, Listpack};
use crate::persist::rdb::error::RdbError;
use crate::persist::rdb::kind;
use crate::persist::rdb::read::{Scratch, Source};
use crate::value::Value;
use crate::value::packed::{PACKED_LEN_MAX, PackedForm};
use crate::value::zset::{ScoredSet, pack};

const WHAT: &str = "sorted set";
const MEMBER: &str = "sorted set member";
const SCORE: &str = "score";
const DUPLICATE: &str = "Duplicate zset fields detected";
const NAN: &str = "Zset with NAN score detected";

impl Decoder<'_> {
    /// A sorted set, member by member.
    pub(super) fn zset<S: Source>(
        &self,
        kind: u8,
        source: &mut S,
        scratch: &mut Scratch,
    ) -> Result<Restored<'static>, RdbError> {
        let mut set = ScoredSet::new(*self.context.hasher);
        let mut member = Vec::new();
        for _ in 0..count(source, "sorted set length")? {
            member.clear();
            member.extend_from_slice(source.bytes(scratch, MEMBER)?);
            let score =
                if kind == kind::ZSET { source.text_double(SCORE) } else { source.double(SCORE) }?;
            if score.is_nan() {
                return Err(source.corrupt(SCORE, NAN));
            }
            if !set.insert_new(&member, score) {
                return Err(source.corrupt(MEMBER, DUPLICATE));
            }
        }
        Ok(self.of_scored(set))
    }

    /// The set in the form in which one of its size is kept.
    fn of_scored(&self, set: ScoredSet) -> Restored<'static> {
        match pack(&set, self.context) {
            Some(body) => {
                Restored::Packed { form: PackedForm::ZSet, count: set.len(), body: body.into() }
            }
            None => Restored::object(Value::ZSet(Box::new(set))),
        }
    }

    /// A ziplist of members, each followed by its score.
    pub(super) fn zset_ziplist<S: Source>(
        &self,
        source: &mut S,
        scratch: &mut Scratch,
    ) -> Result<Restored<'static>, RdbError> {
        let at = source.at();
        let whole = source.bytes(scratch, WHAT)?;
        let (body, count) = of_ziplist(whole, at, WHAT)?;
        let count = super::pairs(count, at, WHAT)?;
        self.zset_body(&body, count, at).map(Restored::into_owned)
    }

    /// A listpack of members, each followed by its score.
    pub(super) fn zset_listpack<'s, S: Source>(
        &self,
        source: &'s mut S,
        scratch: &'s mut Scratch,
    ) -> Result<Restored<'s>, RdbError> {
        let at = source.at();
        let whole = source.bytes(scratch, WHAT)?;
        let (body, count) = groups(whole, at, 2, WHAT)?;
        self.zset_body(body, count, at)
    }

    /// A body of `count` members and their scores. One whose members are out of order, which Redis
    /// loads without noticing, is sorted.
    fn zset_body<'b>(
        &self,
        body: &'b [u8],
        count: usize,
        at: u64,
    ) -> Result<Restored<'b>, RdbError> {
        let corrupt = |why| RdbError::Corrupt { at, what: WHAT, why };
        let list = Listpack::new(body);
        let small = count <= self.context.limits.zset_max_listpack_entries()
            && body.len() <= PACKED_LEN_MAX;
        if small {
            if !are_distinct(body, 2, count, self.context.hasher) {
                return Err(corrupt(DUPLICATE));
            }
            if are_sorted(list).map_err(corrupt)? {
                let body = Cow::Borrowed(body);
                return Ok(Restored::Packed { form: PackedForm::ZSet, count, body });
            }
        }
        let mut set = ScoredSet::new(*self.context.hasher);
        for (member, score) in pairs(list) {
            let score = score_of(score).map_err(corrupt)?;
            if !set.insert_new(member.bytes(&mut [0; 20]), score) {
                return Err(corrupt(DUPLICATE));
            }
        }
        Ok(if small { self.of_scored(set) } else { Restored::object(Value::ZSet(Box::new(set))) })
    }
}

/// Members and their scores, of a body in which there is a score for each.
fn pairs(list: Listpack<'_>) -> impl Iterator<Item = (Item<'_>, Item<'_>)> {
    let mut items = list.iter().map(|(_, item)| item);
    std::iter::from_fn(move || Some((items.next()?, items.next()?)))
}

fn score_of(item: Item<'_>) -> Result<f64, &'static str> {
    match item {
        Item::Int(value) => Ok(value as f64),
        Item::Bytes(text) => match number::parse_f64(text) {
            Some(score) => Ok(score),
            None if text.to_ascii_lowercase().ends_with(b"nan") => Err(NAN),
            None => Err("Invalid score"),
        },
    }
}

/// Whether each pair comes after the one before it; an error if a score is none.
fn are_sorted(list: Listpack<'_>) -> Result<bool, &'static str> {
    let mut before: Option<(Item<'_>, f64)> = None;
    let mut sorted = true;
    for (member, score) in pairs(list) {
        let score = score_of(score)?;
        if let Some((other, lower)) = before {
            sorted &= lower < score
                || lower == score && other.bytes(&mut [0; 20]) < member.bytes(&mut [0; 20]);
        }
        before = Some((member, score));
    }
    Ok(sorted)
}
