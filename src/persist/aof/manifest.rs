//! The manifest: the files of which an append-only file consists, in the order of loading.
//!
//! ```text
//! # comment
//! file appendonly.aof.2.base.rdb seq 2 type b
//! file appendonly.aof.1.incr.aof seq 1 type h
//! file appendonly.aof.2.incr.aof seq 2 type i
//! ```
//!
//! At most one base (b), then history (h: no longer needed, to be deleted), then increments (i) with
//! rising numbers. Names that need it are quoted. Further pairs of words on a line are skipped, which
//! is what lets files of later versions load. The format and the errors are those of Redis's aof.c.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::base::number::{parse_i64, write_i64};
use crate::base::quote;

/// Longest line, its end included, in bytes (Redis: MANIFEST_MAX_LINE).
const LINE_MAX: usize = 1024;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its name in the directory of the manifest.
    pub name: OsString,
    /// Its number among the files of its type.
    pub seq: i64,
}

/// The files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    base: Option<Piece>,
    history: Vec<Piece>,
    increments: Vec<Piece>,
    /// The numbers given last.
    base_seq: i64,
    incr_seq: i64,
}

/// Why a manifest cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadManifest {
    /// The number and the text of the line, if one line is to blame.
    pub line: Option<(usize, String)>,
    /// In Redis's words.
    pub problem: &'static str,
}

impl std::error::Error for BadManifest {}

impl std::fmt::Display for BadManifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "*** FATAL AOF MANIFEST FILE ERROR ***")?;
        if let Some((number, text)) = &self.line {
            writeln!(f, "Reading the manifest file, at line {number}\n>>> '{text}'")?;
        }
        f.write_str(self.problem)
    }
}

const INVALID: &str = "Invalid AOF manifest file format";

impl Manifest {
    /// Reads the text of a manifest.
    pub fn parse(text: &[u8]) -> Result<Self, BadManifest> {
        if text.is_empty() {
            return Err(BadManifest { line: None, problem: "Found an empty AOF manifest" });
        }
        let mut manifest = Self::default();
        for (at, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            if line.starts_with(b"#") {
                continue;
            }
            if line.len() > LINE_MAX || !line.ends_with(b"\n") {
                let problem = "The AOF manifest file contains too long line";
                return Err(BadManifest { line: None, problem });
            }
            let line = line.trim_ascii();
            manifest.add_line(line).map_err(|problem| {
                let text = String::from_utf8_lossy(line).into_owned();
                BadManifest { line: Some((at + 1, text)), problem }
            })?;
        }
        manifest.count_on();
        Ok(manifest)
    }

    /// Gives out no name of a piece that is there. History does not say of which type it was.
    fn count_on(&mut self) {
        let largest = |pieces: &[Piece]| pieces.iter().map(|piece| piece.seq).max().unwrap_or(0);
        let history = largest(&self.history);
        self.base_seq = self.base.as_ref().map_or(0, |piece| piece.seq).max(history);
        self.incr_seq = largest(&self.increments).max(history);
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let (kind, piece) = parse_line(line)?;
        match kind {
            b'b' if self.base.is_some() => return Err("Found duplicate base file information"),
            b'b' => self.base = Some(piece),
            b'h' => self.history.push(piece),
            b'i' if self.increments.last().is_some_and(|last| piece.seq <= last.seq) => {
                return Err("Found a non-monotonic sequence number");
            }
            b'i' => self.increments.push(piece),
            _ => return Err("Unknown AOF file type"),
        }
        Ok(())
    }

    /// The text of the manifest.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let base = self.base.iter().map(|piece| (piece, b'b'));
        let history = self.history.iter().map(|piece| (piece, b'h'));
        let increments = self.increments.iter().map(|piece| (piece, b'i'));
        for (piece, kind) in base.chain(history).chain(increments) {
            out.extend_from_slice(b"file ");
            write_name(&mut out, piece.name.as_bytes());
            out.extend_from_slice(b" seq ");
            write_i64(&mut out, piece.seq);
            out.extend_from_slice(b" type ");
            out.extend_from_slice(&[kind, b'\n']);
        }
        out
    }

    /// Whether there is nothing to load.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.increments.is_empty()
    }

    /// The data at one moment.
    pub fn base(&self) -> Option<&Piece> {
        self.base.as_ref()
    }

    /// The log from then on, in order.
    pub fn increments(&self) -> &[Piece] {
        &self.increments
    }

    /// What is to be deleted.
    pub fn history(&self) -> &[Piece] {
        &self.history
    }

    /// What is to be loaded, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.base.iter().chain(&self.increments)
    }

    /// Names a new base, a snapshot or a list of commands; the one before becomes history.
    pub fn begin_base(&mut self, filename: &str, is_rdb: bool) -> OsString {
        if let Some(before) = self.base.take() {
            self.history.insert(0, before);
        }
        self.base_seq += 1;
        let format = if is_rdb { "rdb" } else { "aof" };
        let name = OsString::from(format!("{filename}.{}.base.{format}", self.base_seq));
        self.base = Some(Piece { name: name.clone(), seq: self.base_seq });
        name
    }

    /// Names a new increment, which follows all others.
    pub fn begin_increment(&mut self, filename: &str) -> OsString {
        self.incr_seq += 1;
        let name = OsString::from(format!("{filename}.{}.incr.aof", self.incr_seq));
        self.increments.push(Piece { name: name.clone(), seq: self.incr_seq });
        name
    }

    /// Makes history of the increments that a new base contains: all but the last `kept`.
    pub fn retire_increments(&mut self, kept: usize) {
        let retired = self.increments.len().saturating_sub(kept);
        self.history.splice(0..0, self.increments.drain(..retired));
    }

    /// Forgets the history, which was deleted; returns it.
    pub fn forget_history(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.history)
    }

    /// Gives out no names that `other` gave out.
    pub fn skip_names_of(&mut self, other: &Self) {
        self.base_seq = self.base_seq.max(other.base_seq);
        self.incr_seq = self.incr_seq.max(other.incr_seq);
    }

    /// Takes a file that is no part of a manifest yet as the first base.
    pub fn adopt_base(&mut self, name: &OsStr) {
        self.base = Some(Piece { name: name.to_owned(), seq: 1 });
        self.base_seq = 1;
    }
}

/// The type and the file that a line names.
fn parse_line(line: &[u8]) -> Result<(u8, Piece), &'static str> {
    let words = quote::split_args(line).map_err(|_| INVALID)?;
    if words.len() < 6 || words.len() % 2 != 0 {
        return Err(INVALID);
    }
    let (mut name, mut seq, mut kind) = (None, 0, None);
    for pair in words.chunks_exact(2) {
        match pair[0].to_ascii_lowercase().as_slice() {
            b"file" if pair[1].iter().any(|byte| matches!(byte, b'/' | b'\\')) => {
                return Err("File can't be a path, just a filename");
            }
            b"file" => name = Some(OsString::from_vec(pair[1].clone())),
            b"seq" => seq = parse_i64(&pair[1]).unwrap_or(0),
            b"type" => kind = pair[1].first().copied(),
            _ => {}
        }
    }
    match (name, kind) {
        (Some(name), Some(kind)) if seq > 0 => Ok((kind, Piece { name, seq })),
        _ => Err(INVALID),
    }
}

fn write_name(out: &mut Vec<u8>, name: &[u8]) {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    if !name.is_empty() && name.iter().all(is_plain) {
        out.extend_from_slice(name);
    } else {
        quote::escape(name, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> (Option<usize>, &'static str) {
        let error = Manifest::parse(text.as_bytes()).unwrap_err();
        (error.line.map(|(number, _)| number), error.problem)
    }

    const BASE: &str = "file appendonly.aof.1.base.aof seq 1 type b\n";
    const INCR: &str = "file appendonly.aof.1.incr.aof seq 1 type i\n";

    #[test]
    fn a_manifest_reads_back() {
        let text = "file a.2.base.rdb seq 2 type b\nfile a.1.base.rdb seq 1 type h\n\
                    file \"a b\\x00\" seq 3 type i\nfile a.4.incr.aof seq 4 type i\n";
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(manifest.to_bytes()).unwrap(), text);
        let loaded: Vec<_> = manifest.pieces().map(|piece| piece.name.as_bytes()).collect();
        assert_eq!(loaded, [&b"a.2.base.rdb"[..], b"a b\0", b"a.4.incr.aof"]);
        let later = "# written by another\nFILE x SEQ 7 TYPE incr startoffset 5 color red\n";
        let manifest = Manifest::parse(later.as_bytes()).unwrap();
        assert_eq!(manifest.to_bytes(), b"file x seq 7 type i\n");
    }

    #[test]
    fn names_in_the_history_are_not_given_out_again() {
        let text = "file a.2.base.rdb seq 2 type b\nfile a.3.incr.aof seq 3 type h\n";
        let mut manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.begin_increment("a").as_bytes(), b"a.4.incr.aof");
        let text = "file a.5.base.rdb seq 5 type h\nfile a.1.incr.aof seq 1 type i\n";
        let mut manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.begin_base("a", true).as_bytes(), b"a.6.base.rdb");
    }

    #[test]
    fn what_is_wrong_is_said_in_redis_words() {
        let line = |line, problem| (Some(line), problem);
        assert_eq!(problem(""), (None, "Found an empty AOF manifest"));
        assert_eq!(problem(&format!("{BASE}\n{INCR}")), line(2, INVALID));
        assert_eq!(problem("filx a seq 1 type b\n"), line(1, INVALID));
        assert_eq!(problem("file a seq 0 type b\n"), line(1, INVALID));
        assert_eq!(problem("file a type i\n"), line(1, INVALID));
        assert_eq!(problem("file a seq 1 type i newkey\n"), line(1, INVALID));
        assert_eq!(problem("file \"a seq 1 type i\n"), line(1, INVALID));
        let duplicate = "Found duplicate base file information";
        assert_eq!(problem(&format!("{BASE}#\n{BASE}")), line(3, duplicate));
        let order = "Found a non-monotonic sequence number";
        assert_eq!(problem(&format!("{INCR}{INCR}")), line(2, order));
        assert_eq!(problem("file a seq 1 type x\n"), line(1, "Unknown AOF file type"));
        let path = "File can't be a path, just a filename";
        assert_eq!(problem("file a/b seq 1 type i\n"), line(1, path));
        let long = (None, "The AOF manifest file contains too long line");
        assert_eq!(problem(&format!("file {} seq 1 type i\n", "x".repeat(1010))), long);
        assert_eq!(problem(INCR.trim_end()), long);
        let error = Manifest::parse(b"file a seq 1 type x\n").unwrap_err();
        let shown = "*** FATAL AOF MANIFEST FILE ERROR ***\n\
                     Reading the manifest file, at line 1\n>>> 'file a seq 1 type x'\n\
                     Unknown AOF file type";
        assert_eq!(error.to_string(), shown);
    }

    #[test]
    fn a_rewrite_makes_history() {
        let mut manifest = Manifest::default();
        assert_eq!(manifest.begin_base("f", true), "f.1.base.rdb");
        assert_eq!(manifest.begin_increment("f"), "f.1.incr.aof");
        // A rewrite that failed left its increment.
        assert_eq!(manifest.begin_increment("f"), "f.2.incr.aof");
        assert_eq!(manifest.begin_increment("f"), "f.3.incr.aof");
        assert_eq!(manifest.begin_base("f", false), "f.2.base.aof");
        manifest.retire_increments(1);
        let text = "file f.2.base.aof seq 2 type b\nfile f.1.incr.aof seq 1 type h\n\
                    file f.2.incr.aof seq 2 type h\nfile f.1.base.rdb seq 1 type h\n\
                    file f.3.incr.aof seq 3 type i\n";
        assert_eq!(String::from_utf8(manifest.to_bytes()).unwrap(), text);
        assert_eq!(manifest.forget_history().len(), 3);
        assert!(manifest.history().is_empty() && !manifest.is_empty());
        let again = Manifest::parse(&manifest.to_bytes()).unwrap();
        assert_eq!(again, manifest);
    }
}
