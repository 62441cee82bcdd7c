//! Reads commands from a file of the log, strictly: whatever is not exactly as it was written is an
//! error that says where and what.
//!
//! Arguments are ranges of one large buffer, or buffers of their own if they are long, so that a
//! command costs no allocation and a long value can be stored without a copy. Commands are kept until
//! [`Reader::forget`], because those of a transaction are run together. Memory is in proportion to
//! what the file really holds: a length that it claims is compared with what is left of it first.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use crate::base::limits::{BIG_ARG_LEN, BUFFER_MAX};
use crate::resp::{ArgRange, Argv};

/// How much is read at once.
const CHUNK: usize = 1024 * 1024;
/// Longest line that begins with `*` or `$`: a sign, the digits of 64 bits, the end of the line.
const NUMBER_MAX: usize = 24;
/// Longest line that begins with `#`, its end included (Redis: AOF_ANNOTATION_LINE_MAX_LEN).
const ANNOTATION_MAX: usize = 1024;
/// Most bytes of the arguments of one command that are not buffers of their own.
const SMALL_ARGS_MAX: usize = 3 << 30;

/// What is wrong at a place of a file; worded as redis-check-aof words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The file ends where a line should begin.
    End,
    /// A line begins with something else.
    Prefix {
        /// What it should begin with.
        expected: u8,
        /// What it begins with.
        got: u8,
    },
    /// A line or an argument does not end where it should.
    Newline {
        /// What is there; zero where nothing is.
        got: [u8; 2],
        /// Whether the file ends before anything is wrong.
        is_torn: bool,
    },
    /// An argument cannot be that long.
    Length(i64),
    /// A command cannot have so many arguments, or they are too long together.
    Count(i64),
    /// An argument is longer than what is left of the file.
    Short {
        /// Its length and that of the end of line.
        expected: u64,
        /// What is left.
        got: u64,
    },
    /// A line that begins with `#` is too long, or the file ends in it.
    Annotation {
        /// Whether the file ends in it.
        is_torn: bool,
    },
    /// MULTI inside of MULTI.
    Multi,
    /// EXEC without MULTI.
    Exec,
    /// MULTI without EXEC.
    Unfinished,
}

impl Problem {
    /// Whether the file would have been right had it gone on.
    pub fn is_truncation(self) -> bool {
        match self {
            Self::End | Self::Short { .. } | Self::Unfinished => true,
            Self::Newline { is_torn, .. } | Self::Annotation { is_torn } => is_torn,
            _ => false,
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::End => f.write_str("Unexpected end of file"),
            Self::Prefix { expected, got } => {
                let (expected, got) = (char::from(expected), char::from(got));
                write!(f, "Expected prefix '{expected}', got: '{got}'")
            }
            Self::Newline { got: [first, second], .. } => {
                write!(f, "Expected \\r\\n, got: {first:02x}{second:02x}")
            }
            Self::Length(len) => write!(
                f,
                "Expected to read string of {len} bytes, which is not in the suitable range"
            ),
            Self::Count(count) => write!(f, "Expected 1 argument or more, got: {count}"),
            Self::Short { expected, got } => {
                write!(f, "Expected to read {expected} bytes, got {got} bytes")
            }
            Self::Annotation { .. } => f.write_str("Expected the end of an annotation"),
            Self::Multi => f.write_str("Unexpected MULTI"),
            Self::Exec => f.write_str("Unexpected EXEC"),
            Self::Unfinished => f.write_str("Reached EOF before reading EXEC for MULTI"),
        }
    }
}

/// Why nothing more can be read.
#[derive(Debug)]
pub enum Stop {
    /// The file is not a log.
    Problem(Problem),
    /// The operating system says so.
    Io(io::Error),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A command, the last of [`Reader::commands`].
    Command,
    /// A line that begins with `#`; see [`Reader::annotation`].
    Annotation,
    /// The end of the file.
    End,
}

/// The reader.
pub struct Reader<R> {
    input: R,
    /// How long the file is; what lies beyond appeared later and is not read.
    size: u64,
    buffer: Vec<u8>,
    /// Where the commands that are kept begin, where reading goes on, and where what was read ends.
    kept: usize,
    at: usize,
    filled: usize,
    /// The place of `at` in the file.
    offset: u64,
    /// Where what was tried last begins, and how many lines were understood.
    tried: u64,
    lines: u64,
    /// Arguments of the kept commands, relative to `kept`, and where each command ends among them.
    ranges: Vec<ArgRange>,
    ends: Vec<usize>,
    bigs: Vec<Arc<Vec<u8>>>,
    annotation: (usize, usize),
}

impl<R: Read + Seek> Reader<R> {
    /// Reads `input`, which is `size` bytes long, from `offset` on.
    pub fn new(input: R, size: u64, offset: u64) -> io::Result<Self> {
        let mut reader = Self {
            input,
            size,
            buffer: Vec::new(),
            kept: 0,
            at: 0,
            filled: 0,
            offset,
            tried: offset,
            lines: 1,
            ranges: Vec::new(),
            ends: Vec::new(),
            bigs: Vec::new(),
            annotation: (0, 0),
        };
        reader.seek(offset)?;
        Ok(reader)
    }

    /// How long the file is.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Up to where the file was understood.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the line or argument begins that was tried last.
    pub fn tried(&self) -> u64 {
        self.tried
    }

    /// The number of the line that was tried last, as redis-check-aof counts them.
    pub fn line(&self) -> u64 {
        self.lines
    }

    /// Goes on at another place, forgetting everything.
    pub fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.forget();
        self.input.seek(SeekFrom::Start(offset))?;
        (self.kept, self.at, self.filled) = (0, 0, 0);
        (self.offset, self.tried) = (offset, offset);
        Ok(())
    }

    /// Forgets the commands that were read.
    pub fn forget(&mut self) {
        self.kept = self.at;
        self.ranges.clear();
        self.ends.clear();
        self.bigs.clear();
    }

    /// The commands since everything was forgotten.
    pub fn commands(&self) -> Commands<'_> {
        Commands {
            buffer: &self.buffer[self.kept..],
            ranges: &self.ranges,
            ends: &self.ends,
            bigs: &self.bigs,
            start: 0,
        }
    }

    /// About how much memory the commands take that were read.
    pub fn kept_len(&self) -> usize {
        let ranges = self.ranges.len() * size_of::<ArgRange>();
        self.at - self.kept + ranges + self.bigs.iter().map(|big| big.len()).sum::<usize>()
    }

    /// The line that was read last, if it was an annotation.
    pub fn annotation(&self) -> &[u8] {
        &self.buffer[self.annotation.0..self.annotation.1]
    }

    /// Reads the next item.
    pub fn read(&mut self) -> Result<Item, Stop> {
        self.tried = self.offset;
        match self.peek(1)?.first() {
            None => Ok(Item::End),
            Some(b'#') => self.read_annotation(),
            Some(_) => self.read_command(),
        }
    }

    fn read_command(&mut self) -> Result<Item, Stop> {
        let count = self.number(b'*')?;
        if count < 1 || count > i64::from(i32::MAX) {
            return Err(Problem::Count(count).into());
        }
        for _ in 0..count {
            let range = self.argument()?;
            self.ranges.push(range);
            if self.at - self.kept > SMALL_ARGS_MAX {
                return Err(Problem::Count(count).into());
            }
        }
        self.ends.push(self.ranges.len());
        Ok(Item::Command)
    }

    fn argument(&mut self) -> Result<ArgRange, Stop> {
        let len = self.number(b'$')?;
        if !(0..=BUFFER_MAX).contains(&len) {
            return Err(Problem::Length(len).into());
        }
        let len = usize::try_from(len).expect("it is far from the largest");
        self.tried = self.offset;
        let (expected, got) = (len as u64 + 2, self.size.saturating_sub(self.offset));
        if expected > got {
            return Err(Problem::Short { expected, got }.into());
        }
        if len >= BIG_ARG_LEN {
            let big = self.take_big(len)?;
            self.end_of_line(0)?;
            self.bigs.push(Arc::new(big));
            return Ok(ArgRange::big(self.bigs.len() - 1));
        }
        self.end_of_line(len)?;
        Ok(ArgRange::bytes(self.at - len - 2 - self.kept, len))
    }

    /// Takes `len` bytes and the end of line behind them.
    fn end_of_line(&mut self, len: usize) -> Result<(), Stop> {
        let expected = len + 2;
        let window = self.peek(expected)?;
        if window.len() < expected {
            // The file became shorter meanwhile.
            let (expected, got) = (expected as u64, window.len() as u64);
            return Err(Problem::Short { expected, got }.into());
        }
        let got = [window[len], window[len + 1]];
        if got != *b"\r\n" {
            return Err(Problem::Newline { got, is_torn: false }.into());
        }
        self.take(expected);
        self.lines += 1;
        Ok(())
    }

    /// Takes bytes into a buffer of their own: what is in memory already, then from the file.
    fn take_big(&mut self, len: usize) -> Result<Vec<u8>, Stop> {
        let mut big = Vec::with_capacity(len);
        let here = len.min(self.filled - self.at);
        big.extend_from_slice(&self.buffer[self.at..self.at + here]);
        self.take(here);
        let rest = (len - here) as u64;
        let got = (&mut self.input).take(rest).read_to_end(&mut big)?;
        self.offset += got as u64;
        if big.len() < len {
            let (expected, got) = (len as u64 + 2, big.len() as u64);
            return Err(Problem::Short { expected, got }.into());
        }
        Ok(big)
    }

    /// Reads a line that is `prefix` and a number.
    fn number(&mut self, prefix: u8) -> Result<i64, Stop> {
        self.tried = self.offset;
        let window = self.peek(NUMBER_MAX)?;
        let Some(&first) = window.first() else { return Err(Problem::End.into()) };
        if first != prefix {
            return Err(Problem::Prefix { expected: prefix, got: first }.into());
        }
        let negative = window.get(1) == Some(&b'-');
        let start = 1 + usize::from(negative);
        let (mut value, mut end) = (0i64, start);
        while let Some(digit) = window.get(end).map(|byte| byte.wrapping_sub(b'0'))
            && digit < 10
        {
            value = value.saturating_mul(10).saturating_add(i64::from(digit));
            end += 1;
        }
        if end > start && window[end..].starts_with(b"\r\n") {
            self.take(end + 2);
            self.lines += 1;
            return Ok(if negative { -value } else { value });
        }
        let byte = |at: usize| window.get(at).copied().unwrap_or(0);
        let is_torn = window.len() < NUMBER_MAX && matches!(window[end..], [] | [b'\r']);
        Err(Problem::Newline { got: [byte(end), byte(end + 1)], is_torn }.into())
    }

    fn read_annotation(&mut self) -> Result<Item, Stop> {
        let window = self.peek(ANNOTATION_MAX)?;
        let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
            return Err(Problem::Annotation { is_torn: window.len() < ANNOTATION_MAX }.into());
        };
        let start = self.at;
        self.take(end + 1);
        self.annotation = (start, self.at);
        Ok(Item::Annotation)
    }

    #[inline]
    fn take(&mut self, len: usize) {
        self.at += len;
        self.offset += len as u64;
    }

    /// The next `len` bytes, or as many as there are.
    #[inline]
    fn peek(&mut self, len: usize) -> io::Result<&[u8]> {
        if self.filled - self.at < len {
            self.fill(len)?;
        }
        let end = self.filled.min(self.at + len);
        Ok(&self.buffer[self.at..end])
    }

    #[cold]
    fn fill(&mut self, len: usize) -> io::Result<()> {
        let left = self.size.saturating_sub(self.offset + (self.filled - self.at) as u64);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(());
        }
        // What was in front of the kept commands makes room.
        self.buffer.copy_within(self.kept..self.filled, 0);
        self.at -= self.kept;
        self.filled -= self.kept;
        self.kept = 0;
        let (wanted, chunk) = (self.at + len, CHUNK.min(left));
        if self.buffer.len() < wanted.max(self.filled + chunk / 2) {
            let doubled = 2 * self.buffer.len();
            self.buffer.resize(doubled.max(wanted).max(self.filled + chunk), 0);
        }
        let end = self.buffer.len().min(self.filled.saturating_add(left));
        while self.filled < wanted.min(end) {
            match self.input.read(&mut self.buffer[self.filled..end]) {
                Ok(0) => break,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Commands in order.
#[derive(Clone, Copy)]
pub struct Commands<'a> {
    buffer: &'a [u8],
    ranges: &'a [ArgRange],
    /// Where the arguments of each end, counted from the first of all.
    ends: &'a [usize],
    bigs: &'a [Arc<Vec<u8>>],
    /// Where the arguments of the first begin.
    start: usize,
}

impl<'a> Commands<'a> {
    /// How many they are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The last one.
    pub fn last(&self) -> Option<Argv<'a>> {
        let (&end, before) = self.ends.split_last()?;
        Some(self.argv(before.last().copied().unwrap_or(self.start), end))
    }

    /// All but the first and the last.
    pub fn inner(&self) -> Self {
        match self.ends {
            [first, inner @ .., _] => Self { ends: inner, start: *first, ..*self },
            _ => Self { ends: &[], ..*self },
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Argv<'a>> + use<'a> {
        let (all, mut start) = (*self, self.start);
        self.ends.iter().map(move |&end| all.argv(std::mem::replace(&mut start, end), end))
    }

    fn argv(&self, start: usize, end: usize) -> Argv<'a> {
        Argv::new(self.buffer, &self.ranges[start..end], self.bigs)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn reader(bytes: &[u8]) -> Reader<Cursor<&[u8]>> {
        Reader::new(Cursor::new(bytes), bytes.len() as u64, 0).unwrap()
    }

    fn problem(bytes: &[u8]) -> (u64, Problem) {
        let mut reader = reader(bytes);
        loop {
            match reader.read() {
                Ok(Item::End) => panic!("no problem"),
                Ok(_) => {}
                Err(Stop::Problem(problem)) => return (reader.tried(), problem),
                Err(Stop::Io(error)) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn commands_and_annotations_are_read() {
        let mut reader = reader(b"*1\r\n$4\r\nPING\r\n#TS:12\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n");
        assert_eq!(reader.read().unwrap(), Item::Command);
        assert_eq!((reader.offset(), reader.line()), (14, 4));
        assert_eq!(reader.read().unwrap(), Item::Annotation);
        assert_eq!(reader.annotation(), b"#TS:12\r\n");
        assert_eq!(reader.read().unwrap(), Item::Command);
        assert_eq!(reader.read().unwrap(), Item::End);
        let all: Vec<Vec<&[u8]>> =
            reader.commands().iter().map(|argv| argv.iter().collect()).collect();
        assert_eq!(all, [vec![&b"PING"[..]], vec![b"GET", b""]]);
        assert_eq!(&reader.commands().last().unwrap()[0], b"GET");
        reader.forget();
        assert!(reader.commands().is_empty() && reader.kept_len() == 0);
        reader.seek(22).unwrap();
        assert_eq!(reader.read().unwrap(), Item::Command);
        assert_eq!(reader.commands().len(), 1);
    }

    #[test]
    fn long_arguments_have_buffers_of_their_own() {
        let long = vec![b'x'; 3 * CHUNK + 5];
        let mut bytes = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", long.len()).into_bytes();
        bytes.extend_from_slice(&long);
        bytes.extend_from_slice(b"\r\n*1\r\n$4\r\nPING\r\n");
        let mut reader = reader(&bytes);
        assert_eq!(reader.read().unwrap(), Item::Command);
        assert_eq!(reader.read().unwrap(), Item::Command);
        assert_eq!(reader.read().unwrap(), Item::End);
        let commands: Vec<Argv<'_>> = reader.commands().iter().collect();
        assert_eq!(&commands[0][2], &long[..]);
        assert!(commands[0].shared(2).is_some() && commands[0].shared(1).is_none());
        assert_eq!(&commands[1][0], b"PING");
    }

    #[test]
    fn many_commands_cross_the_buffer() {
        let one = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n";
        let bytes = one.repeat(3 * CHUNK / one.len());
        for keep in [false, true] {
            let mut reader = reader(&bytes);
            let mut count = 0;
            while reader.read().unwrap() == Item::Command {
                count += 1;
                let argv = reader.commands().last().unwrap();
                assert_eq!(
                    (&argv[0], &argv[1], &argv[2]),
                    (&b"SET"[..], &b"key"[..], &b"value"[..])
                );
                if !keep {
                    reader.forget();
                }
            }
            assert_eq!((count, reader.offset()), (bytes.len() / one.len(), bytes.len() as u64));
            assert!(reader.buffer.len() <= if keep { 4 * CHUNK } else { 2 * CHUNK });
        }
    }

    #[test]
    fn problems_say_where_and_what() {
        let wrong = |bytes: &[u8]| {
            let (at, problem) = problem(bytes);
            assert!(!problem.is_truncation(), "{problem:?}");
            format!("{at}: {problem}")
        };
        assert_eq!(wrong(b"*1\r\n$4\r\nPING\r\n!!!"), "14: Expected prefix '*', got: '!'");
        assert_eq!(wrong(b"*1\r\n:4\r\n"), "4: Expected prefix '$', got: ':'");
        assert_eq!(wrong(b"*1\r\n$4\r\nPINGxx"), "8: Expected \\r\\n, got: 7878");
        assert_eq!(wrong(b"*1x\r\n"), "0: Expected \\r\\n, got: 780d");
        assert_eq!(wrong(b"*\r\n\r\n"), "0: Expected \\r\\n, got: 0d0a");
        assert_eq!(wrong(b"*0\r\n"), "0: Expected 1 argument or more, got: 0");
        assert_eq!(wrong(b"*3000000000\r\n"), "0: Expected 1 argument or more, got: 3000000000");
        let range = "4: Expected to read string of -1 bytes, which is not in the suitable range";
        assert_eq!(wrong(b"*1\r\n$-1\r\n"), range);
        assert_eq!(problem(b"*1\r\n$1000000000000\r\n").1, Problem::Length(1_000_000_000_000));
        assert!(wrong(&[b'#'; 2000]).starts_with("0: Expected the end of an annotation"));
        assert!(wrong(&[b"*".as_slice(), &[b'1'; 30]].concat()).starts_with("0: Expected \\r\\n"));
    }

    #[test]
    fn every_prefix_is_whole_or_truncated() {
        let bytes = b"*1\r\n$4\r\nPING\r\n#TS:12\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n";
        for end in (0..bytes.len()).filter(|end| ![0, 14, 22].contains(end)) {
            let (_, problem) = problem(&bytes[..end]);
            assert!(problem.is_truncation(), "{end}: {problem:?}");
        }
        let short = problem(b"*1\r\n$1000000000\r\nabc").1;
        assert_eq!(short, Problem::Short { expected: 1_000_000_002, got: 3 });
    }
}
