//! LZF, the compression of Redis: fast, and good enough for texts that resemble each other.
//!
//! The format is that of Marc Lehmann's liblzf. A compressed text is a sequence of
//!
//! ```text
//! 000lllll text                  l + 1 (1..=32) bytes as they are
//! lllooooo oooooooo              l + 2 (3..=8) bytes from o + 1 (1..=8192) bytes back
//! 111ooooo llllllll oooooooo     l + 9 (9..=264) bytes from there
//! ```
//!
//! and does not say how long the text is. What comes from elsewhere is decompressed without
//! reading or writing outside, and reserves no more memory than its own length can fill.

use super::Corrupt;

const LITERALS_MAX: usize = 32;
const OFFSET_MAX: usize = 8192;
const MATCH_MIN: usize = 3;
const MATCH_MAX: usize = 264;

/// `input` compressed, if that takes at most `max` bytes.
pub fn compress(input: &[u8], max: usize) -> Option<Vec<u8>> {
    // The table of places is cleared each time, which for a short text would take most of it.
    match input.len() {
        0..=64 => compress_with::<512>(input, max),
        65..=1024 => compress_with::<2048>(input, max),
        _ => compress_with::<8192>(input, max),
    }
}

/// Compresses with a table of so many places, a power of two, for the last ones of three bytes.
fn compress_with<const PLACES: usize>(input: &[u8], max: usize) -> Option<Vec<u8>> {
    // Places are kept plus one; nothing longer than a value of 512 MiB is compressed.
    let mut places = [0u32; PLACES];
    let hash = |bytes: &[u8]| hash(bytes) >> (u32::BITS - PLACES.ilog2());
    let mut out = Vec::with_capacity(max.min(input.len()));
    let (mut at, mut literals) = (0, 0);
    while let Some(next) = input.get(at..at + MATCH_MIN) {
        let place = std::mem::replace(&mut places[hash(next) as usize], at as u32 + 1) as usize;
        if place == 0 || at + 1 - place > OFFSET_MAX || !input[place - 1..].starts_with(next) {
            at += 1;
            continue;
        }
        write_literals(&input[literals..at], &mut out);
        let len = common_len(&input[place - 1..], &input[at..]).min(MATCH_MAX);
        write_match(at - place, len, &mut out);
        if out.len() > max {
            return None;
        }
        at += len;
        literals = at;
        // The places within a match are not worth their time, but for the last one.
        if let Some(last) = input.get(at - 1..at - 1 + MATCH_MIN) {
            places[hash(last) as usize] = at as u32;
        }
    }
    let rest = &input[literals..];
    if out.len() + rest.len() > max {
        return None;
    }
    write_literals(rest, &mut out);
    (out.len() <= max).then_some(out)
}

fn hash(bytes: &[u8]) -> u32 {
    let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
    word.wrapping_mul(0x9e37_79b1)
}

fn common_len(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take(MATCH_MAX).take_while(|(one, other)| one == other).count()
}

fn write_literals(literals: &[u8], out: &mut Vec<u8>) {
    for run in literals.chunks(LITERALS_MAX) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

/// `offset` is one less than the distance.
fn write_match(offset: usize, len: usize, out: &mut Vec<u8>) {
    let (high, low) = ((offset >> 8) as u8, offset as u8);
    match len - 2 {
        short @ ..7 => out.extend_from_slice(&[(short as u8) << 5 | high, low]),
        long => out.extend_from_slice(&[7 << 5 | high, (long - 7) as u8, low]),
    }
}

/// Replaces `out` by the text of `len` bytes that was compressed to `input`.
///
/// # Errors
///
/// When `input` is cut, reaches back behind the text's begin, or has another length.
pub fn decompress(input: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), Corrupt> {
    out.clear();
    out.reserve(len.min(input.len().saturating_mul(MATCH_MAX / MATCH_MIN)));
    let mut rest = input;
    while let Some((control, tail)) = rest.split_first() {
        let corrupt = |what| Corrupt { what, at: input.len() - rest.len() };
        let control = usize::from(*control);
        let taken = if control < LITERALS_MAX {
            let literals = tail.get(..=control).ok_or_else(|| corrupt("cut literals"))?;
            if out.len() + literals.len() > len {
                return Err(corrupt("compressed text too long"));
            }
            out.extend_from_slice(literals);
            literals.len()
        } else {
            let (size, low, taken) = match (control >> 5, tail) {
                (7, [more, low, ..]) => (9 + usize::from(*more), *low, 2),
                (short @ ..7, [low, ..]) => (short + 2, *low, 1),
                _ => return Err(corrupt("cut back reference")),
            };
            let distance = ((control & 0x1f) << 8 | usize::from(low)) + 1;
            if distance > out.len() {
                return Err(corrupt("back reference before the begin"));
            }
            if out.len() + size > len {
                return Err(corrupt("compressed text too long"));
            }
            repeat(out, distance, size);
            taken
        };
        rest = &tail[taken..];
    }
    if out.len() == len {
        Ok(())
    } else {
        Err(Corrupt { what: "compressed text too short", at: input.len() })
    }
}

/// Appends `len` bytes from `distance` back, which may be among those that are being appended.
fn repeat(out: &mut Vec<u8>, distance: usize, mut len: usize) {
    let start = out.len() - distance;
    while len > 0 {
        let now = len.min(out.len() - start);
        out.extend_from_within(start..start + now);
        len -= now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(input: &[u8], len: usize) -> Result<Vec<u8>, Corrupt> {
        let mut out = b"what was there before".to_vec();
        decompress(input, len, &mut out).map(|()| out)
    }

    /// From `redis-cli DUMP` of a hash with a field of 123 times `x` (Redis 7.0), with its length.
    #[test]
    fn reads_what_redis_writes() {
        let dumped = b"\x08\x87\x00\x00\x00\x02\x00\xe0{x\xe0q\x00\x03}\x01\x01\xff";
        let expected = [b"\x87\x00\x00\x00\x02\x00\xe0{", &[b'x'; 123][..], b"}\x01\x01\xff"];
        assert_eq!(text(dumped, 0x87), Ok(expected.concat()));
    }

    #[test]
    fn repetitions_overlap() {
        let input = b"abcabcabcabcabcabcabcabc!".repeat(3);
        let packed = compress(&input, input.len()).unwrap();
        assert!(packed.len() < 20, "{}", packed.len());
        assert_eq!(text(&packed, input.len()), Ok(input));
    }

    #[test]
    fn hostile_input_is_refused() {
        for (input, len) in [
            (&b"\x20\x00"[..], 3),  // reaches back where nothing is
            (b"\x00a\x20\x01", 4),  // reaches back too far
            (b"\x00a\x20\x00", 3),  // longer than announced
            (b"\x00a\x20\x00", 5),  // shorter
            (b"\x00a\x20", 4),      // no offset
            (b"\x00a\xe0\x00", 10), // no offset after the length
            (b"\x01a", 2),          // not enough literals
            (b"\x01ab", 1),         // too many
            (b"", 1 << 40),         // an announcement reserves nothing
        ] {
            assert!(text(input, len).is_err(), "{input:?}");
        }
        assert_eq!(text(b"\x00a\x20\x00", 4), Ok(b"aaaa".to_vec()));
        assert_eq!(text(b"", 0), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn round_trip(
            words in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..6),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..400),
        ) {
            let input: Vec<u8> =
                order.iter().flat_map(|index| index.get(&words).iter().copied()).collect();
            let packed = compress(&input, input.len() * 2 + 2).unwrap();
            let smaller = packed.len().wrapping_sub(1);
            prop_assert_eq!(compress(&input, smaller).is_some(), packed.is_empty());
            prop_assert_eq!(compress(&input, packed.len()), Some(packed.clone()));
            prop_assert_eq!(text(&packed, input.len()), Ok(input));
        }

        #[test]
        fn any_input_is_text_or_refused(
            input in prop::collection::vec(any::<u8>(), 0..60),
            len in 0..2000usize,
        ) {
            let longest = text(&input, len);
            prop_assert!(longest.is_err() || longest.is_ok_and(|text| text.len() == len));
        }
    }
}
