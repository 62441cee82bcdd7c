//! ASCII-case-insensitive words, and user bytes in texts.
//!
//! Names of commands, options and directives are compared without regard to ASCII case; everything
//! else in the protocol is plain bytes.

/// Whether `word` spells `lower`, which must be lower-case already, in any ASCII case.
pub fn is_word(word: &[u8], lower: &str) -> bool {
    debug_assert!(lower.bytes().all(|b| !b.is_ascii_uppercase()));
    word.eq_ignore_ascii_case(lower.as_bytes())
}

/// Whether two byte strings are equal; faster than a call of memcmp for the lengths of keys.
#[inline]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    /// From here on a call costs less than it saves.
    const LONG: usize = 32;
    let len = a.len();
    if len != b.len() {
        return false;
    }
    if !(8..=LONG).contains(&len) {
        return a == b;
    }
    let word = |bytes: &[u8], at: usize| bytes[at..].first_chunk::<8>().copied();
    // The last word overlaps the one before it, so that no byte is left over.
    let mut at = 0;
    while at + 8 < len {
        if word(a, at) != word(b, at) {
            return false;
        }
        at += 8;
    }
    word(a, len - 8) == word(b, len - 8)
}

/// The first of 256 characters, private to whoever uses them, that stand for bytes in texts.
const STAND_IN: u32 = 0x0010_ff00;

/// `bytes` as part of the text of an error, where those that are not UTF-8 are stand-ins, which
/// [`write_text`] writes as the bytes that they were.
pub fn text(bytes: &[u8]) -> String {
    let stand_in = |byte: u8| char::from_u32(STAND_IN + u32::from(byte)).expect("a character");
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match stood_in_for(c) {
                None => text.push(c),
                Some(_) => text.extend(c.encode_utf8(&mut [0; 4]).bytes().map(stand_in)),
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| stand_in(*byte)));
    }
    text
}

/// Appends a text, in which [`text`] may have put bytes.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    for c in text.chars() {
        match stood_in_for(c) {
            None => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Some(byte) => out.push(byte),
        }
    }
}

fn stood_in_for(c: char) -> Option<u8> {
    u32::from(c).checked_sub(STAND_IN).and_then(|byte| u8::try_from(byte).ok())
}

/// `word` in lower case, as by [`text`].
pub fn lower(word: &[u8]) -> String {
    text(word).to_ascii_lowercase()
}

/// At most `len_max` bytes of `bytes` as [`text`] for an error message.
pub fn preview(bytes: &[u8], len_max: usize) -> String {
    text(&one_line(bytes, len_max))
}

/// At most `len_max` bytes of `bytes` as an error message shows them.
///
/// Line ends become spaces, because an error reply is one line; a NUL ends the text, as it does in
/// Redis, which prints C strings there.
pub fn one_line(bytes: &[u8], len_max: usize) -> Vec<u8> {
    let shown = bytes.iter().take(len_max).take_while(|byte| **byte != 0);
    shown.map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect()
}

/// Bytes as people write them: `1.50K`, `12.34M`, as in INFO's `*_human` fields.
pub fn human_size(size: u64) -> String {
    const UNITS: [(u64, &str); 5] =
        [(1 << 50, "P"), (1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match UNITS.iter().find(|(unit, _)| size >= *unit) {
        Some((unit, letter)) => format!("{:.2}{letter}", size as f64 / *unit as f64),
        None => format!("{size}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_of_texts_as_they_were() {
        let all: Vec<u8> = (0..=255).collect();
        let stand_in = "\u{10ff41}".as_bytes();
        for bytes in [&b"plain"[..], "größer".as_bytes(), b"\xff\xfe", b"a\xc3", stand_in, &all] {
            let mut out = Vec::new();
            write_text(&text(bytes), &mut out);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn words_compare_without_case() {
        assert!(is_word(b"KeepTTL", "keepttl"));
        assert!(!is_word(b"keep", "keepttl"));
    }

    #[test]
    fn equality_is_that_of_slices() {
        let text: Vec<u8> = (0..60).collect();
        for len in 0..60 {
            assert!(equal(&text[..len], &text[..len]));
            assert!(!equal(&text[..len], &text[..len + 1]));
            for changed in 0..len {
                let mut other = text[..len].to_vec();
                other[changed] ^= 1;
                assert!(!equal(&text[..len], &other), "length {len}, byte {changed}");
            }
        }
    }

    #[test]
    fn previews_are_one_short_line() {
        assert_eq!(preview(b"a\r\nbcdef", 5), "a  bc");
        assert_eq!(preview(b"ab\0cd", 5), "ab");
    }

    #[test]
    fn sizes_read_like_redis_prints_them() {
        assert_eq!(human_size(512), "512B");
        assert_eq!(human_size(1536), "1.50K");
        assert_eq!(human_size(3 << 30), "3.00G");
    }
}
