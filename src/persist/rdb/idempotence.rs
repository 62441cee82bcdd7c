//! What producers of a stream may send again, in facts before the stream.
//!
//! ```text
//! 250 "stream-idmp" text     any number of times before a key
//! text   seconds most added refused (producer name id)*
//! ```
//!
//! Numbers are lengths, ids sixteen bytes, the highest first. Other servers pass over facts that they do
//! not know, and load the stream without. Redis 8.6 has a place for this in the stream itself, whose
//! layout is not known here. Keeps: no fact is much longer than 16 KiB and one message.

use super::error::RdbError;
use super::read::{Scratch, Slice, Source};
use super::stream::ID_LEN;
use super::{kind, write};
use crate::value::stream::{Idempotence, IdempotenceLimits, StreamId};

/// The name of the facts.
pub const NAME: &[u8] = b"stream-idmp";

/// Messages are collected up to this size before their fact is written, in bytes.
const FACT_LEN: usize = 16 * 1024;

/// Writes what `known` remembers.
pub fn facts(out: &mut Vec<u8>, known: &Idempotence, compress: bool) {
    let head = head(known);
    let mut text = head.clone();
    for (producer, name, id) in known.iter() {
        write::string(&mut text, producer, false);
        write::string(&mut text, name, false);
        text.extend_from_slice(&id.to_bytes());
        if text.len() > FACT_LEN {
            fact(out, &text, compress);
            text.clone_from(&head);
        }
    }
    // Without messages there are the limits to keep.
    if text.len() > head.len() || known.is_empty() {
        fact(out, &text, compress);
    }
}

fn fact(out: &mut Vec<u8>, text: &[u8], compress: bool) {
    out.push(kind::AUX);
    write::string(out, NAME, compress);
    write::string(out, text, compress);
}

fn head(known: &Idempotence) -> Vec<u8> {
    let IdempotenceLimits { duration_s, entries } = known.limits();
    let mut head = Vec::new();
    for number in [duration_s, entries, known.added, known.duplicates] {
        write::len(&mut head, usize::try_from(number).expect("addresses have 64 bits"));
    }
    head
}

/// Adds what a fact says to `known`.
///
/// # Errors
///
/// When it is not what [`facts`] writes.
pub fn recall(
    known: &mut Option<Box<Idempotence>>,
    text: &[u8],
    now_ms: i64,
) -> Result<(), RdbError> {
    // The end of the text is not that of the file.
    let (mut source, mut scratch) = (Slice::new(text, 0), Scratch::default());
    read(known, &mut source, text.len(), &mut scratch, now_ms).map_err(|error| match error {
        RdbError::End { at, what } => RdbError::Corrupt { at, what, why: "Truncated fact" },
        error => error,
    })
}

fn read(
    known: &mut Option<Box<Idempotence>>,
    source: &mut Slice<'_>,
    len: usize,
    scratch: &mut Scratch,
    now_ms: i64,
) -> Result<(), RdbError> {
    const WHAT: &str = "stream messages";
    let limits = IdempotenceLimits { duration_s: source.len(WHAT)?, entries: source.len(WHAT)? };
    let counts = [source.len(WHAT)?, source.len(WHAT)?];
    if !limits.are_valid() {
        return Err(source.corrupt(WHAT, "Limits out of range"));
    }
    let known = known.get_or_insert_with(|| Box::new(Idempotence::new(limits)));
    while source.taken() < len {
        let producer = source.owned(scratch, WHAT)?;
        let name = source.owned(scratch, WHAT)?;
        let id = StreamId::from_bytes(source.array::<ID_LEN>(WHAT)?);
        if producer.is_empty() || name.is_empty() {
            return Err(source.corrupt(WHAT, "Empty producer or message id"));
        }
        known.insert(&producer, &name, id, u64::try_from(now_ms).unwrap_or(0));
    }
    [known.added, known.duplicates] = counts;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: IdempotenceLimits = IdempotenceLimits { duration_s: 100, entries: 5000 };

    fn id(seq: u64) -> StreamId {
        StreamId { ms: 1000, seq }
    }

    /// The texts of the facts in `bytes`.
    fn texts(bytes: &[u8]) -> Vec<Vec<u8>> {
        let (mut source, mut scratch) = (Slice::new(bytes, 0), Scratch::default());
        let mut texts = Vec::new();
        while source.taken() < bytes.len() {
            assert_eq!(source.byte("kind").expect("a kind"), kind::AUX);
            assert_eq!(source.owned(&mut scratch, "name").expect("a name"), NAME);
            texts.push(source.owned(&mut scratch, "text").expect("a text"));
        }
        texts
    }

    fn recalled(known: &Idempotence, compress: bool) -> (usize, Idempotence) {
        let (mut out, mut found) = (Vec::new(), None);
        facts(&mut out, known, compress);
        let texts = texts(&out);
        texts.iter().for_each(|text| recall(&mut found, text, 2000).expect("it was written"));
        (texts.len(), *found.expect("there is at least one"))
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for compress in [false, true] {
            let mut known = Idempotence::new(LIMITS);
            for seq in 0..4000 {
                let producer = if seq % 2 == 0 { &b"one"[..] } else { b"17" };
                known.insert(producer, format!("message {seq}").as_bytes(), id(seq), 2000);
            }
            (known.added, known.duplicates) = (9999, 12);
            let (count, found) = recalled(&known, compress);
            assert!(count > 4, "{count}");
            assert_eq!(found.limits(), LIMITS);
            assert_eq!((found.added, found.duplicates), (9999, 12));
            assert!(known.iter().eq(found.iter()));
        }
    }

    #[test]
    fn limits_are_kept_where_nothing_is_remembered() {
        let (count, found) = recalled(&Idempotence::new(LIMITS), false);
        assert_eq!((count, found.limits(), found.len()), (1, LIMITS, 0));
    }

    #[test]
    fn what_no_command_makes_is_refused() {
        for (duration_s, entries, producer, name, allowed) in [
            (86_400, 10_000, &b"p"[..], &b"n"[..], true),
            (0, 1, b"p", b"n", false),
            (86_401, 1, b"p", b"n", false),
            (1, 10_001, b"p", b"n", false),
            (1, 1, b"", b"n", false),
            (1, 1, b"p", b"", false),
        ] {
            let mut known = Idempotence::new(IdempotenceLimits { duration_s, entries });
            known.insert(producer, name, id(1), 2000);
            let mut out = Vec::new();
            facts(&mut out, &known, false);
            let result = recall(&mut None, &texts(&out)[0], 2000);
            assert_eq!(result.is_ok(), allowed, "{duration_s} {entries} {result:?}");
        }
    }

    #[test]
    fn torn_facts_are_refused() {
        let (mut known, mut out) = (Idempotence::new(LIMITS), Vec::new());
        known.insert(b"p", b"n", id(1), 2000);
        facts(&mut out, &known, false);
        let text = texts(&out).remove(0);
        for len in 1..text.len() {
            // After the counts it may end.
            let whole = len == head(&known).len();
            assert_eq!(recall(&mut None, &text[..len], 0).is_ok(), whole, "{len}");
        }
    }
}
