//! Which files an `include` names: shell wildcards, expanded directory by directory.
//!
//! `*`, `?` and `[a-z]`, `[!a-z]` match within one path component; names that start with a dot are
//! matched only by a pattern that does too. Matches come in byte order, as from `glob(3)`. A
//! pattern without wildcards names its file even if that does not exist; one with wildcards may
//! match nothing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// The files that `pattern` names, in order.
pub(super) fn expand(pattern: &Path) -> Vec<PathBuf> {
    if !has_wildcard(pattern.as_os_str()) {
        return vec![pattern.to_owned()];
    }
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let next = found.iter().flat_map(|base| step(base, component));
        found = next.collect();
    }
    found.retain(|path| path.exists());
    found.sort_unstable();
    found
}

/// Where one component of a pattern leads from `base`.
fn step(base: &Path, component: Component<'_>) -> Vec<PathBuf> {
    let pattern = component.as_os_str();
    if !has_wildcard(pattern) {
        return vec![base.join(component)];
    }
    let dir = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let Ok(entries) = dir.read_dir() else { return Vec::new() };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    let is_match = |name: &OsStr| matches(pattern.as_bytes(), name.as_bytes());
    names.filter(|name| is_match(name)).map(|name| base.join(name)).collect()
}

fn has_wildcard(pattern: &OsStr) -> bool {
    pattern.as_bytes().iter().any(|byte| b"*?[".contains(byte))
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let is_hidden = name.starts_with(b".");
    is_hidden == pattern.starts_with(b".") && matches_rest(pattern, name)
}

/// Whether all of `name` matches; goes back only to the last `*`, so time is bounded by the product
/// of both lengths.
fn matches_rest(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, seen));
            at += 1;
        } else if let Some(len) = matches_one(&pattern[at..], name[seen]) {
            at += len;
            seen += 1;
        } else if let Some((after, from)) = star {
            star = Some((after, from + 1));
            (at, seen) = (after, from + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// The length of the pattern element at the start of `pattern`, if it matches `byte`.
fn matches_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', set @ ..] => match set_len(set) {
            Some(len) => is_in_set(&set[..len], byte).then_some(len + 2),
            None => (byte == b'[').then_some(1),
        },
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Bytes before the `]` that closes a set; a `]` that comes first belongs to the set.
fn set_len(set: &[u8]) -> Option<usize> {
    let first = usize::from(matches!(set.first(), Some(b'!' | b'^'))) + 1;
    set.iter().skip(first).position(|&byte| byte == b']').map(|len| len + first)
}

fn is_in_set(set: &[u8], byte: u8) -> bool {
    let (is_negated, mut rest) = match set {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let mut is_found = false;
    loop {
        rest = match rest {
            [low, b'-', high, rest @ ..] => {
                is_found |= (*low..=*high).contains(&byte);
                rest
            }
            [one, rest @ ..] => {
                is_found |= *one == byte;
                rest
            }
            [] => return is_found != is_negated,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_like_a_shell() {
        let yes: [(&str, &str); 9] = [
            ("*.conf", "a.conf"),
            ("*", ""),
            ("a*b*c", "aXbbYc"),
            ("?.conf", "a.conf"),
            ("[a-c]1", "b1"),
            ("[!a-c]1", "d1"),
            ("[]x]", "]"),
            ("a[", "a["),
            (".*", ".hidden"),
        ];
        for (pattern, name) in yes {
            assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        let no =
            [("*.conf", ".conf"), ("*.conf", "a.con"), ("[!a-c]1", "a1"), ("?", ""), ("a", "b")];
        for (pattern, name) in no {
            assert!(!matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "*a".repeat(60);
        assert!(!matches(pattern.as_bytes(), "a".repeat(59).as_bytes()));
        assert!(matches(pattern.as_bytes(), "a".repeat(500).as_bytes()));
    }

    #[test]
    fn a_plain_name_is_itself() {
        assert_eq!(expand(Path::new("no/such/file")), [PathBuf::from("no/such/file")]);
        assert!(expand(Path::new("no/such/*")).is_empty());
    }
}
