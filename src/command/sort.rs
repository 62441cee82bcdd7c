//! SORT and SORT_RO: the elements of a list, set or sorted set in another order, or what keys named
//! after them hold.
//!
//! The names of the keys that BY and GET read come out of the data, so the command holds every
//! shard.

use std::cmp::Ordering;
use std::ops::Range;

use super::args::Args;
use super::context::{Ctx, Flow};
use super::error::CmdError;
use super::keys::KeyUse;
use super::permissions::reads_any_key;
use super::spec::{Command, Flags, Group, KeySpec, Locks};
use crate::base::{bytes, number};
use crate::encoding::End;
use crate::encoding::listpack::Item;
use crate::keyspace::{Event, Lookup};
use crate::server::ClientFlags;
use crate::value::zset::ZSet;
use crate::value::{Hash, List, Set, Str, ValueView, WrongType};

const SOURCE: KeySpec = KeySpec::one("RO", &["access"]);
const PATTERNS: KeySpec = KeySpec::unknown("RO", &["access"])
    .notes("of BY and GET, whose keys are named after the elements");

pub(super) static COMMANDS: &[Command] = &[
    Command::new("sort", -2, sort)
        .grow()
        .flags(Flags::MOVABLEKEYS.with(Flags::SORTS).with(Flags::DANGEROUS))
        .group(Group::Generic)
        .keys(&[
            SOURCE,
            PATTERNS,
            KeySpec::unknown("OW", &["update"]).notes("of STORE, which may stand anywhere"),
        ])
        .keys_fn(sort_keys)
        .locks(Locks::All),
    Command::new("sort_ro", -2, sort_ro)
        .read()
        .flags(Flags::MOVABLEKEYS.with(Flags::SORTS).with(Flags::DANGEROUS))
        .group(Group::Generic)
        .keys(&[SOURCE, PATTERNS])
        .keys_fn(sort_ro_keys)
        .locks(Locks::All),
];

fn sort(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let free = reads_any_key(ctx, args);
    run(ctx, args, &Options::parse(args, true, free)?)
}

fn sort_ro(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<Flow, CmdError> {
    let free = reads_any_key(ctx, args);
    run(ctx, args, &Options::parse(args, false, free)?)
}

/// What SORT was told.
#[derive(Default)]
struct Options<'a> {
    /// What to sort by instead of the elements.
    by: Option<Pattern<'a>>,
    /// BY without a place for the element: the order stays.
    unsorted: bool,
    gets: Vec<Pattern<'a>>,
    descending: bool,
    alpha: bool,
    /// First element and their number; a negative number is all.
    limit: Option<(i64, i64)>,
    /// Index of the destination.
    destination: Option<usize>,
}

impl<'a> Options<'a> {
    /// `free` says whether the caller may read any key, whatever the elements name.
    fn parse(args: &Args<'a>, stores: bool, free: bool) -> Result<Self, CmdError> {
        let (mut parsed, mut options) = (Self::default(), args.options(2));
        while let Some(word) = options.word() {
            let left = options.left();
            let is = |name, values| left >= values && bytes::is_word(word, name);
            match () {
                () if is("asc", 0) => parsed.descending = false,
                () if is("desc", 0) => parsed.descending = true,
                () if is("alpha", 0) => parsed.alpha = true,
                () if is("limit", 2) => {
                    parsed.limit = Some((options.integer()?, options.integer()?));
                }
                () if is("store", 1) && stores => {
                    parsed.destination = Some(options.value_index()?);
                }
                () if is("by", 1) => {
                    let pattern = Pattern::parse(options.value()?);
                    if !free && matches!(pattern, Pattern::Key { .. }) {
                        return Err(CmdError::NoPermSort("BY"));
                    }
                    // A BY that is constant stays in force, whatever other BY follows it.
                    parsed.unsorted |= !matches!(pattern, Pattern::Key { .. });
                    parsed.by = Some(pattern);
                }
                () if is("get", 1) && !free => return Err(CmdError::NoPermSort("GET")),
                () if is("get", 1) => parsed.gets.push(Pattern::parse(options.value()?)),
                () => return Err(CmdError::Syntax),
            }
        }
        Ok(parsed)
    }

    /// The elements that are wanted of `len`.
    fn range(&self, len: usize) -> Range<usize> {
        let Some((start, count)) = self.limit else { return 0..len };
        let start = usize::try_from(start).unwrap_or(0).min(len);
        let count = usize::try_from(count).unwrap_or(len);
        start..start.saturating_add(count).min(len)
    }
}

/// What BY and GET name.
#[derive(Clone, Copy)]
enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// Nothing, because there is no place for the element.
    Nothing,
    /// A key, the element standing between the two parts, or a field of the hash there.
    Key { before: &'a [u8], after: &'a [u8], field: Option<&'a [u8]> },
}

impl<'a> Pattern<'a> {
    fn parse(text: &'a [u8]) -> Self {
        if text == b"#" {
            return Self::Element;
        }
        let Some(star) = text.iter().position(|byte| *byte == b'*') else { return Self::Nothing };
        let (before, after) = (&text[..star], &text[star + 1..]);
        let arrow = after.windows(2).position(|pair| pair == b"->");
        match arrow.filter(|at| at + 2 < after.len()) {
            Some(at) => Self::Key { before, after: &after[..at], field: Some(&after[at + 2..]) },
            None => Self::Key { before, after, field: None },
        }
    }

    /// Calls `with` with what the pattern names for `element`.
    fn read<R>(
        self,
        ctx: &mut Ctx<'_>,
        args: &Args<'_>,
        element: &[u8],
        with: impl FnOnce(&mut Ctx<'_>, Option<&[u8]>) -> R,
    ) -> R {
        let (before, after, field) = match self {
            Self::Element => return with(ctx, Some(element)),
            Self::Nothing => return with(ctx, None),
            Self::Key { before, after, field } => (before, after, field),
        };
        let name = [before, element, after].concat();
        let found = ctx.db.lookup(args.key_of(&name), Lookup::Read).map(|entry| entry.value());
        let mut digits = [0; 20];
        let text: Option<Vec<u8>> = match (found, field) {
            (Some(value), None) => value.of::<Str>().ok().map(|v| v.bytes(&mut digits).to_vec()),
            (Some(value), Some(field)) => value
                .of::<Hash>()
                .ok()
                .and_then(|hash| hash.get(field))
                .filter(|value| value.deadline().is_none_or(|at_ms| at_ms > ctx.now_ms))
                .map(|value| value.bytes(&mut digits).to_vec()),
            (None, _) => None,
        };
        with(ctx, text.as_deref())
    }
}

/// Texts, one after the other.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, item: Item<'_>) {
        self.bytes.extend_from_slice(item.bytes(&mut [0; 20]));
        self.ends.push(self.bytes.len());
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    fn len(&self) -> usize {
        self.ends.len()
    }
}

/// The elements to be sorted.
#[derive(Default)]
struct Elements {
    texts: Texts,
    /// Whether they are of a set, whose order means nothing.
    unordered: bool,
}

impl Elements {
    fn read(value: ValueView<'_>) -> Result<Self, WrongType> {
        let mut elements = Self::default();
        let texts = &mut elements.texts;
        if let Ok(list) = value.of::<List>() {
            list.walk(0..list.len(), End::Head, |item| {
                texts.push(item);
                true
            });
        } else if let Ok(set) = value.of::<Set>() {
            set.iter().for_each(|item| texts.push(item));
            elements.unordered = true;
        } else {
            value.of::<ZSet>()?.iter().for_each(|(member, _)| texts.push(member));
        }
        Ok(elements)
    }
}

/// What an element is sorted by.
#[derive(Clone, Default)]
struct Weight {
    score: f64,
    text: Option<Vec<u8>>,
}

fn run(ctx: &mut Ctx<'_>, args: &Args<'_>, options: &Options<'_>) -> Result<Flow, CmdError> {
    let elements = match ctx.db.lookup(args.key(1), Lookup::Read) {
        Some(entry) => Elements::read(entry.value())?,
        None => Elements::default(),
    };
    let order = order(ctx, args, options, &elements)?;
    let Some(destination) = options.destination else {
        ctx.out.array(order.len() * options.gets.len().max(1));
        for index in order {
            let element = elements.texts.get(index);
            if options.gets.is_empty() {
                ctx.out.bulk(element);
            }
            for pattern in &options.gets {
                pattern.read(ctx, args, element, |ctx, text| match text {
                    Some(text) => ctx.out.bulk(text),
                    None => ctx.out.null(),
                });
            }
        }
        return Ok(Flow::Done);
    };
    let mut results = Texts::default();
    for index in order {
        let element = elements.texts.get(index);
        if options.gets.is_empty() {
            results.push(Item::Bytes(element));
        }
        for pattern in &options.gets {
            let push = |_: &mut Ctx<'_>, text: Option<&[u8]>| {
                results.push(Item::Bytes(text.unwrap_or_default()));
            };
            pattern.read(ctx, args, element, push);
        }
    }
    store(ctx, args, destination, &results)?;
    ctx.out.count(results.len());
    Ok(Flow::Done)
}

/// The indexes of the wanted elements in order.
fn order(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    options: &Options<'_>,
    elements: &Elements,
) -> Result<Vec<usize>, CmdError> {
    let texts = &elements.texts;
    let mut order: Vec<usize> = (0..texts.len()).collect();
    let wanted = options.range(order.len());
    // What is stored is sorted in any case, so that a replica stores the same.
    // What is stored, or seen by a script, is not left to chance.
    let fixed = options.destination.is_some() || ctx.client.flags.has(ClientFlags::DENY_BLOCKING);
    let by_text = options.unsorted && elements.unordered && fixed;
    if options.unsorted && !by_text {
        if options.descending && !elements.unordered {
            order.reverse();
        }
    } else {
        let alpha = options.alpha || by_text;
        let by = options.by.filter(|_| !by_text);
        let weights = weigh(ctx, args, texts, by, alpha)?;
        let compare = |a: &usize, b: &usize| {
            let order = match (alpha, by) {
                (false, _) => weights[*a]
                    .score
                    .partial_cmp(&weights[*b].score)
                    .unwrap_or(Ordering::Equal)
                    .then_with(|| texts.get(*a).cmp(texts.get(*b))),
                (true, Some(_)) => weights[*a].text.cmp(&weights[*b].text),
                (true, None) => texts.get(*a).cmp(texts.get(*b)),
            };
            if options.descending { order.reverse() } else { order }
        };
        order.sort_by(compare);
    }
    order.truncate(wanted.end);
    order.drain(..wanted.start);
    Ok(order)
}

/// Finds out what each element is sorted by.
fn weigh(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    texts: &Texts,
    by: Option<Pattern<'_>>,
    alpha: bool,
) -> Result<Vec<Weight>, CmdError> {
    if alpha && by.is_none() {
        return Ok(Vec::new());
    }
    (0..texts.len())
        .map(|index| {
            let pattern = by.unwrap_or(Pattern::Element);
            pattern.read(ctx, args, texts.get(index), |_, text| match text {
                None => Ok(Weight::default()),
                Some(text) if alpha => {
                    Ok(Weight { text: Some(text.to_vec()), ..Weight::default() })
                }
                Some(text) => Ok(Weight { score: score(text)?, text: None }),
            })
        })
        .collect()
}

/// A text as a number, up to the first NUL byte, as in C; none at all is zero.
fn score(text: &[u8]) -> Result<f64, CmdError> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Ok(0.0);
    }
    number::parse_f64(text).ok_or(CmdError::SortScore)
}

/// Replaces what the destination holds by a list; nothing is left of it if the list is empty.
fn store(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    destination: usize,
    results: &Texts,
) -> Result<(), CmdError> {
    let key = args.key(destination);
    let removed = ctx.db.remove(key);
    if results.len() == 0 {
        if let Some(removed) = removed {
            removed.changed(Event::DEL);
        }
        return Ok(());
    }
    let mut list = ctx.db.write_or_create::<List>(key)?;
    list.edit().push(End::Tail, (0..results.len()).map(|index| results.get(index)));
    list.changed_by(results.len(), Event::list("sortstore"));
    Ok(())
}

fn sort_keys(args: &Args<'_>, out: &mut Vec<KeyUse>) -> Result<(), CmdError> {
    sort_ro_keys(args, out)?;
    let (mut options, mut destination) = (args.options(2), None);
    while let Some(word) = options.word() {
        let values = match () {
            () if bytes::is_word(word, "limit") => 2,
            () if bytes::is_word(word, "get") || bytes::is_word(word, "by") => 1,
            () if bytes::is_word(word, "store") => {
                destination = options.value_index().ok();
                0
            }
            () => 0,
        };
        (0..values).for_each(|_| _ = options.word());
    }
    out.extend(destination.map(|index| KeyUse { index, access: "OW", uses: &["update"] }));
    Ok(())
}

fn sort_ro_keys(_: &Args<'_>, out: &mut Vec<KeyUse>) -> Result<(), CmdError> {
    out.push(KeyUse { index: 1, access: "RO", uses: &["access"] });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_a_place_for_the_element_and_maybe_a_field() {
        let parts = |text| match Pattern::parse(text) {
            Pattern::Key { before, after, field } => Some((before, after, field)),
            Pattern::Element | Pattern::Nothing => None,
        };
        assert_eq!(parts(b"w_*"), Some((&b"w_"[..], &b""[..], None)));
        assert_eq!(parts(b"a*b->f"), Some((&b"a"[..], &b"b"[..], Some(&b"f"[..]))));
        assert_eq!(parts(b"a*b->"), Some((&b"a"[..], &b"b->"[..], None)));
        assert_eq!(parts(b"a->*b"), Some((&b"a->"[..], &b"b"[..], None)));
        assert_eq!((parts(b"#"), parts(b"nosort"), parts(b"h->f")), (None, None, None));
    }

    #[test]
    fn limits_are_cut_to_what_there_is() {
        let range =
            |start, count| Options { limit: Some((start, count)), ..Options::default() }.range(10);
        assert_eq!(range(2, 3), 2..5);
        assert_eq!(range(-5, -1), 0..10);
        assert_eq!(range(8, 100), 8..10);
        assert_eq!((range(10, 1), range(i64::MAX, i64::MAX)), (10..10, 10..10));
        assert_eq!(range(3, 0), 3..3);
    }
}
