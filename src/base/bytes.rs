//! ASCII-case-insensitive words and short previews of user bytes.
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

/// `word` in lower case, with bytes that are not UTF-8 replaced.
pub fn lower(word: &[u8]) -> String {
    String::from_utf8_lossy(word).to_ascii_lowercase()
}

/// At most `len_max` bytes of `bytes` as text for an error message.
///
/// Line ends become spaces, because an error reply is one line; a NUL ends the text, as it does in
/// Redis, which prints C strings there.
pub fn preview(bytes: &[u8], len_max: usize) -> String {
    let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let cut = &bytes[..len.min(len_max)];
    String::from_utf8_lossy(cut)
        .chars()
        .map(|c| if c == '\r' || c == '\n' { ' ' } else { c })
        .collect()
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
