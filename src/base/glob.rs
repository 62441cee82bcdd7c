//! Glob patterns as KEYS, SCAN MATCH, PSUBSCRIBE, CONFIG GET and ACL rules use them.
//!
//! `*` any run, `?` any byte, `[a-c]` / `[^x]` a class, `\` takes the next byte literally. Meaning
//! follows `stringmatchlen` in Redis's util.c on x86-64, accidents included:
//!
//! - A class that never ends is closed by the end of the pattern: `[ab` is `[ab]`.
//! - The ends of a range may come in either order, and are compared as signed bytes.
//! - `]` right after `[` closes an empty class, which matches nothing.
//! - An empty text matches only an empty pattern, so not even `*`.
//!
//! Every element but `*` takes exactly one byte, therefore only the last `*` seen ever needs to be
//! tried again, and the time is bounded by the product of both lengths, without recursion.

/// A pattern with more separated `*` than this matches nothing, unless the last one ends it.
const STARS_MAX: usize = 1000;

/// Whether the whole of `text` matches `pattern`; `nocase` ignores ASCII case.
///
/// Inside a class an escaped byte keeps its case even with `nocase`, as in Redis.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    let mut stars = 0;
    // Where to go on when what follows the last `*` does not fit: pattern and text position.
    let mut retry = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p = skip_stars(pattern, p);
            if p == pattern.len() {
                return true;
            }
            stars += 1;
            if stars > STARS_MAX {
                return false;
            }
            retry = Some((p, t));
            continue;
        }
        let (fits, len) = element(&pattern[p..], text[t], nocase);
        if fits {
            (p, t) = (p + len, t + 1);
            continue;
        }
        let Some((after_star, from)) = &mut retry else { return false };
        *from += 1;
        (p, t) = (*after_star, *from);
    }
    // A longer run for the last `*` would leave less text for what is still missing.
    skip_stars(pattern, p) == pattern.len()
}

/// The position of the first byte at or after `p` that is no `*`.
fn skip_stars(pattern: &[u8], p: usize) -> usize {
    p + pattern[p..].iter().take_while(|&&b| b == b'*').count()
}

/// Whether the first element of `pattern`, which is no `*`, takes `byte`, and its length.
fn element(pattern: &[u8], byte: u8, nocase: bool) -> (bool, usize) {
    match pattern {
        [b'?', ..] => (true, 1),
        [b'[', class @ ..] => {
            let (fits, len) = class_takes(class, byte, nocase);
            (fits, 1 + len)
        }
        [b'\\', literal, ..] => (same(*literal, byte, nocase), 2),
        [literal, ..] => (same(*literal, byte, nocase), 1),
        [] => (false, 0),
    }
}

/// Whether the class whose text after `[` starts `class` takes `byte`, and its length with its `]`.
fn class_takes(class: &[u8], byte: u8, nocase: bool) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match &class[at..] {
            [] => break,
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [from, b'-', to, ..] => {
                found |= in_range(*from, *to, byte, nocase);
                at += 3;
            }
            [literal, ..] => {
                found |= same(*literal, byte, nocase);
                at += 1;
            }
        }
    }
    (found != negated, at)
}

/// Whether `byte` lies between two ends given in either order.
///
/// The ends are ordered before case is removed, so `[Z-a]` is empty when case is ignored.
fn in_range(from: u8, to: u8, byte: u8, nocase: bool) -> bool {
    let (low, high) = if from as i8 > to as i8 { (to, from) } else { (from, to) };
    let signed = |b: u8| if nocase { b.to_ascii_lowercase() as i8 } else { b as i8 };
    (signed(low)..=signed(high)).contains(&signed(byte))
}

/// Whether two bytes are equal.
fn same(a: u8, b: u8, nocase: bool) -> bool {
    if nocase { a.eq_ignore_ascii_case(&b) } else { a == b }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), false)
    }

    #[test]
    fn stars_question_marks_and_literals() {
        for (pattern, text) in [
            ("*", "a"),
            ("***", "abc"),
            ("h*llo", "hllo"),
            ("h*llo", "heeeello"),
            ("h?llo", "hello"),
            ("a*b*c", "a--bb--c-c"),
            ("abc***", "abc"),
            ("*:9*", "user:1:9"),
            ("", ""),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("h?llo", "hllo"),
            ("a*b", "abc"),
            ("abc", "ab"),
            ("ab", "abc"),
            ("", "a"),
            ("*a", "b"),
        ] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn an_empty_text_matches_only_an_empty_pattern() {
        assert!(!fits("*", ""));
        assert!(!fits("?", ""));
    }

    #[test]
    fn classes() {
        assert!(fits("h[ae]llo", "hallo"));
        assert!(!fits("h[ae]llo", "hillo"));
        assert!(fits("h[^e]llo", "hallo"));
        assert!(!fits("h[^e]llo", "hello"));
        assert!(fits("[a-c]", "b"));
        assert!(fits("[c-a]", "b"));
        assert!(!fits("[]x", "x"));
        assert!(fits("[^]", "x"));
        assert!(fits(r"[\]]", "]"));
        assert!(fits(r"[\a-c]", "-"));
    }

    #[test]
    fn an_unterminated_class_ends_with_the_pattern() {
        assert!(fits("[ab", "b"));
        assert!(!fits("[ab", "c"));
        assert!(!fits("[", "["));
        assert!(fits("[^", "x"));
        assert!(fits("[a-", "-"));
        assert!(fits("[a-]", "^"));
        assert!(fits(r"[\", r"\"));
    }

    #[test]
    fn range_ends_are_signed_bytes() {
        assert!(matches(b"[a-\xff]", b"A", false));
        assert!(!matches(b"[a-\xff]", b"b", false));
        assert!(matches(b"[\x80-\xff]", b"\xc3", false));
    }

    #[test]
    fn a_backslash_takes_the_next_byte_literally() {
        assert!(fits(r"\*", "*"));
        assert!(!fits(r"\*", "a"));
        assert!(fits(r"a\", r"a\"));
        assert!(fits(r"\[a]", "[a]"));
    }

    #[test]
    fn case_is_ignored_on_demand_but_for_escapes_in_classes() {
        assert!(!fits("ABC", "abc"));
        assert!(matches(b"aBc*", b"AbCd", true));
        assert!(matches(b"[A-C]", b"b", true));
        assert!(!matches(b"[Z-a]", b"b", true));
        assert!(!matches(b"[\\A]", b"a", true));
    }

    #[test]
    fn many_stars_on_a_long_text_end_soon() {
        let start = Instant::now();
        let pattern = "a*".repeat(900) + "b";
        assert!(!fits(&pattern, &"a".repeat(10_000)));
        assert!(!fits(&"*a".repeat(900), &("a".repeat(10_000) + "b")));
        assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
    }

    #[test]
    fn more_stars_than_the_limit_match_nothing() {
        let text = "a".repeat(STARS_MAX + 1);
        assert!(fits(&"*a".repeat(STARS_MAX), &text));
        assert!(fits(&("*a".repeat(STARS_MAX) + "*"), &text));
        assert!(!fits(&"*a".repeat(STARS_MAX + 1), &text));
    }

    /// The definition, without any guard: exponential, for short inputs only.
    fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => {
                (0..=text.len()).any(|taken| by_definition(rest, &text[taken..]))
            }
            (_, []) => false,
            (_, [byte, left @ ..]) => {
                let (fits, len) = element(pattern, *byte, false);
                fits && by_definition(&pattern[len..], left)
            }
        }
    }

    proptest! {
        #[test]
        fn trying_only_the_last_star_again_loses_nothing(
            pattern in r"[ab*?\[\]^\\-]{0,9}",
            text in r"[ab\]-]{1,9}",
        ) {
            let expected = by_definition(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(fits(&pattern, &text), expected);
        }
    }
}
