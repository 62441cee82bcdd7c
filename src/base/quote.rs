//! Quoting of words: splitting lines into arguments, and bytes as a quoted word.
//!
//! Inline requests, configuration lines, MONITOR, the slow log and rewritten configuration files
//! share one notation (Redis: `sdssplitargs` and `sdscatrepr` in sds.c). Words are separated by
//! blanks. `"..."` knows the escapes `\n \r \t \b \a \xHH` and takes any other escaped byte as
//! itself; `'...'` knows only `\'`. A closing quote ends its word and must be followed by a blank
//! or the end of the line.
//!
//! Invariant: `split_args(escape(bytes))` is `[bytes]` again, for any bytes.

/// A quote that is never closed, or a closing quote with something glued to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unbalanced quotes")]
pub struct UnbalancedQuotes;

/// The arguments of `line`; none for a blank line. The line ends at its first NUL byte, as in C.
pub fn split_args(line: &[u8]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
    let end = line.iter().position(|&b| b == 0).unwrap_or(line.len());
    let mut rest = &line[..end];
    let mut args = Vec::new();
    loop {
        let blanks = rest.iter().take_while(|&&b| is_blank(b)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Ok(args);
        }
        let (arg, after) = take_word(rest)?;
        args.push(arg);
        rest = after;
    }
}

/// Appends `bytes` to `out` as one double-quoted word.
pub fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x07 => out.extend(b"\\a"),
            0x08 => out.extend(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => {
                out.extend([b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]])
            }
        }
    }
    out.push(b'"');
}

/// `bytes` as one double-quoted word.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() + 2);
    escape(bytes, &mut out);
    // Only printable ASCII leaves `escape`, so bytes are characters.
    out.into_iter().map(char::from).collect()
}

/// The word at the start of `text`, which is not blank there, and what follows it.
fn take_word(text: &[u8]) -> Result<(Vec<u8>, &[u8]), UnbalancedQuotes> {
    let mut word = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => break,
            b'"' => {
                let after = take_double_quoted(&text[at + 1..], &mut word)?;
                return Ok((word, after));
            }
            b'\'' => {
                let after = take_single_quoted(&text[at + 1..], &mut word)?;
                return Ok((word, after));
            }
            _ => word.push(byte),
        }
        at += 1;
    }
    Ok((word, &text[at..]))
}

fn take_double_quoted<'a>(
    text: &'a [u8],
    word: &mut Vec<u8>,
) -> Result<&'a [u8], UnbalancedQuotes> {
    let mut at = 0;
    loop {
        match text[at..] {
            [b'\\', b'x', high, low, ..] if is_hex(high) && is_hex(low) => {
                word.push(hex_value(high) << 4 | hex_value(low));
                at += 4;
            }
            [b'\\', escaped, ..] => {
                word.push(unescaped(escaped));
                at += 2;
            }
            [b'"', ..] => return after_quote(&text[at + 1..]),
            [byte, ..] => {
                word.push(byte);
                at += 1;
            }
            [] => return Err(UnbalancedQuotes),
        }
    }
}

fn take_single_quoted<'a>(
    text: &'a [u8],
    word: &mut Vec<u8>,
) -> Result<&'a [u8], UnbalancedQuotes> {
    let mut at = 0;
    loop {
        match text[at..] {
            [b'\\', b'\'', ..] => {
                word.push(b'\'');
                at += 2;
            }
            [b'\'', ..] => return after_quote(&text[at + 1..]),
            [byte, ..] => {
                word.push(byte);
                at += 1;
            }
            [] => return Err(UnbalancedQuotes),
        }
    }
}

fn after_quote(rest: &[u8]) -> Result<&[u8], UnbalancedQuotes> {
    match rest.first() {
        Some(&byte) if !is_blank(byte) => Err(UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// C's `isspace`, which also knows the vertical tab.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Result<Vec<String>, UnbalancedQuotes> {
        let args = split_args(line.as_bytes())?;
        Ok(args.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect())
    }

    #[test]
    fn words_are_separated_by_blanks() {
        assert_eq!(split(" set\tkey  value\r\n").unwrap(), ["set", "key", "value"]);
        assert_eq!(split("").unwrap(), Vec::<String>::new());
        assert_eq!(split(" \t ").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn double_quotes_know_escapes() {
        assert_eq!(split(r#""a b" "\n\r\t\b\a""#).unwrap(), ["a b", "\n\r\t\x08\x07"]);
        assert_eq!(split(r#""\x41\X42\x4""#).unwrap(), ["AX42x4"]);
        assert_eq!(split(r#""say \"hi\" \\""#).unwrap(), ["say \"hi\" \\"]);
        assert_eq!(split(r#""""#).unwrap(), [""]);
    }

    #[test]
    fn single_quotes_know_one_escape() {
        assert_eq!(split(r"'it\'s' '\n'").unwrap(), ["it's", "\\n"]);
    }

    #[test]
    fn a_quote_may_open_inside_a_word_and_ends_it() {
        assert_eq!(split(r#"foo"bar" x"#).unwrap(), ["foobar", "x"]);
        assert_eq!(split(r#""foo"bar"#), Err(UnbalancedQuotes));
        assert_eq!(split(r"'foo'bar"), Err(UnbalancedQuotes));
    }

    #[test]
    fn open_quotes_are_refused() {
        for line in [r#""open"#, "'open", r#""open\""#, r#"""#, r#""\"#] {
            assert_eq!(split(line), Err(UnbalancedQuotes), "{line}");
        }
    }

    #[test]
    fn a_nul_ends_the_line() {
        assert_eq!(split_args(b"a b\0c").unwrap(), [b"a", b"b"]);
        assert_eq!(split_args(b"\"a\0\""), Err(UnbalancedQuotes));
    }

    #[test]
    fn quoted_words_look_as_in_monitor() {
        assert_eq!(quoted(b"a\"\\\n\x07\x00\xff~"), r#""a\"\\\n\a\x00\xff~""#);
    }

    #[test]
    fn every_byte_survives_a_round_trip() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(split_args(quoted(&bytes).as_bytes()).unwrap(), [bytes]);
    }

    #[test]
    fn any_line_is_split_or_refused() {
        let alphabet = b"a\"'\\ x4\0";
        let mut line = [0; 5];
        for mut code in 0..alphabet.len().pow(5) {
            for byte in &mut line {
                *byte = alphabet[code % alphabet.len()];
                code /= alphabet.len();
            }
            let Ok(args) = split_args(&line) else { continue };
            let mut again = Vec::new();
            for arg in &args {
                escape(arg, &mut again);
                again.push(b' ');
            }
            assert_eq!(split_args(&again).unwrap(), args);
        }
    }
}
