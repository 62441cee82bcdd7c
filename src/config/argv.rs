//! The directives on the command line: `[file] [--directive value ...] [-]`.
//!
//! Follows Redis (`main` in server.c): options become lines of configuration text, which are read
//! after the file and after stdin. Must not know what a directive means, except for `--save`, which
//! may stand without a value, and `--sentinel`, which has none. Program flags such as `--help` are
//! handled before.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use crate::base::quote::{escape, split_args};

/// Longest configuration read from stdin, in bytes.
const STDIN_LEN_MAX: u64 = 16 << 20;

/// What a command line asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invocation {
    /// Lines that the file, stdin and the options override: what a container image presets.
    pub presets: Vec<u8>,
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// What was read from stdin, if `-` asked for it.
    pub stdin: Option<Vec<u8>>,
    /// The options as lines of a configuration file.
    pub options: Vec<u8>,
    /// Whether `--sentinel` is among the options.
    pub is_sentinel: bool,
}

impl Invocation {
    /// Reads the arguments after the program's name, and all of `stdin` if they ask for it.
    pub fn parse(args: &[OsString], stdin: &mut dyn Read) -> io::Result<Self> {
        let args: Vec<&OsStr> = args.iter().map(OsString::as_os_str).collect();
        let mut invocation = Self::default();
        let mut options = args.as_slice();
        if let [file, rest @ ..] = options
            && !file.as_bytes().starts_with(b"-")
        {
            invocation.file = Some(PathBuf::from(file));
            options = rest;
        }
        // Only the program's first and last argument can ask for stdin.
        let first = if invocation.file.is_none() { Some(0) } else { None };
        let last = options.len().checked_sub(1);
        let asks = |at: usize| options[at] == "-" && (Some(at) == first || Some(at) == last);
        if (0..options.len()).any(asks) {
            let mut content = Vec::new();
            stdin.take(STDIN_LEN_MAX).read_to_end(&mut content)?;
            invocation.stdin = Some(content);
        }
        let words = (0..options.len()).filter(|&at| !asks(at)).map(|at| options[at].as_bytes());
        let words: Vec<&[u8]> = words.collect();
        invocation.is_sentinel = words.contains(&b"--sentinel".as_slice());
        invocation.options = lines(&words);
        Ok(invocation)
    }
}

/// Options as configuration lines.
///
/// A word that starts with `--` opens a line only if the line before has a value: `--requirepass
/// --x` sets a password. `--port 1` in one word is a whole line.
fn lines(words: &[&[u8]]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut has_value = true;
    for (at, word) in words.iter().enumerate() {
        let Some(directive) = word.strip_prefix(b"--").filter(|_| has_value) else {
            escape(word, &mut text);
            text.push(b' ');
            has_value = true;
            continue;
        };
        if !text.is_empty() {
            text.push(b'\n');
        }
        text.extend_from_slice(directive);
        text.push(b' ');
        has_value = !is_one_word(word);
        let ends_here = words.get(at + 1).is_none_or(|next| next.starts_with(b"--"));
        if ends_here && directive.eq_ignore_ascii_case(b"save") {
            text.extend_from_slice(b"\"\"");
            has_value = true;
        } else if ends_here && directive.eq_ignore_ascii_case(b"sentinel") {
            has_value = true;
        }
    }
    text
}

fn is_one_word(word: &[u8]) -> bool {
    split_args(word).is_ok_and(|args| args.len() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Invocation {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        Invocation::parse(&args, &mut b"from stdin\n".as_slice()).expect("bytes can be read")
    }

    fn options(args: &[&str]) -> String {
        String::from_utf8(parse(args).options).expect("the tests use text")
    }

    #[test]
    fn the_first_argument_is_the_file() {
        assert_eq!(parse(&["/etc/x.conf", "--port", "1"]).file, Some(PathBuf::from("/etc/x.conf")));
        assert_eq!(parse(&["--port", "1", "x.conf"]).file, None);
        assert_eq!(parse(&[]), Invocation::default());
    }

    #[test]
    fn options_become_lines() {
        assert_eq!(
            options(&["--port", "7777", "--replicaof", "127.0.0.1", "8888"]),
            "port \"7777\" \nreplicaof \"127.0.0.1\" \"8888\" "
        );
        assert_eq!(options(&["--port 7777", "--hz", "5"]), "port 7777 \nhz \"5\" ");
    }

    #[test]
    fn a_value_may_start_with_dashes() {
        assert_eq!(options(&["--requirepass", "--port"]), "requirepass \"--port\" ");
        assert_eq!(
            options(&["--requirepass", "--a", "--port", "1"]),
            "requirepass \"--a\" \nport \"1\" "
        );
    }

    #[test]
    fn save_may_stand_alone() {
        assert_eq!(options(&["--save"]), "save \"\"");
        assert_eq!(options(&["--save", "--port", "1"]), "save \"\"\nport \"1\" ");
        assert_eq!(options(&["--save", ""]), "save \"\" ");
        assert_eq!(
            options(&["--save", "900", "1", "--save", "300", "10"]),
            "save \"900\" \"1\" \nsave \"300\" \"10\" "
        );
    }

    #[test]
    fn sentinel_takes_no_value() {
        let invocation = parse(&["--sentinel", "--port", "1"]);
        assert!(invocation.is_sentinel);
        assert_eq!(invocation.options, b"sentinel \nport \"1\" ");
        assert!(!parse(&["--port", "1"]).is_sentinel);
    }

    #[test]
    fn a_dash_first_or_last_reads_stdin() {
        for args in [&["-"][..], &["-", "--port", "1"], &["--port", "1", "-"], &["f", "-"]] {
            assert_eq!(parse(args).stdin.as_deref(), Some(b"from stdin\n".as_slice()), "{args:?}");
        }
        assert_eq!(parse(&["--requirepass", "-", "--port", "1"]).stdin, None);
        assert_eq!(
            options(&["--requirepass", "-", "--port", "1"]),
            "requirepass \"-\" \nport \"1\" "
        );
    }
}
