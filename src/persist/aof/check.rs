//! `redstart check-aof`: says whether an append-only file is right, and cuts off what is not.
//!
//! Takes and prints what redis-check-aof 7.0 takes and prints, which scripts look for. A file is
//! right here if its form is one that loads; where that is stricter than redis-check-aof (no command
//! without arguments, no half annotation), the place is printed like any other. Whether commands are
//! known and carried out without an error shows only when a server loads them.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use super::load::{Framing, framing, is_snapshot, last_with_content};
use super::manifest::Manifest;
use super::reader::{Item, Problem, Reader, Stop};
use crate::base::number::parse_i64;
use crate::base::os_error;

/// Longest line of a manifest.
const LINE_MAX: u64 = 1024;

/// Checks the snapshot that a file begins with and prints what it finds; returns how long the
/// snapshot is, if it is right.
pub type SnapshotCheck<'a> = &'a mut dyn FnMut(&Path, &mut dyn Write) -> Option<u64>;

/// What the program talks to.
pub struct Terminal<'a> {
    /// Where the answer to a question comes from.
    pub input: &'a mut dyn BufRead,
    /// Where everything is printed.
    pub output: &'a mut dyn Write,
}

/// The check ended early, and said why.
struct Aborted;

impl From<io::Error> for Aborted {
    /// The output is closed: nobody listens.
    fn from(_: io::Error) -> Self {
        Self
    }
}

type Checked<T> = Result<T, Aborted>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Look,
    Fix,
    /// Cuts off what is later than that, in Unix seconds.
    Until(i64),
}

/// One file to check.
struct Target<'a> {
    /// As it is printed.
    name: &'a str,
    path: &'a Path,
    is_last: bool,
}

/// What became of a file.
enum Outcome {
    Valid,
    Empty,
    Cut,
    CutToTime,
}

/// Runs the program with its arguments, whose first is its name; says whether all is well.
pub fn run(args: &[OsString], terminal: &mut Terminal<'_>, snapshot: SnapshotCheck<'_>) -> bool {
    let is_flag = |arg: &OsStr, name: &str| arg == name;
    let rest = args.get(1..).unwrap_or_default();
    let (mode, path) = match rest {
        [path] if !is_flag(path, "--fix") && !is_flag(path, "--truncate-to-timestamp") => {
            (Mode::Look, path)
        }
        [flag, path] if is_flag(flag, "--fix") => (Mode::Fix, path),
        [flag, time, path] if is_flag(flag, "--truncate-to-timestamp") => {
            let Some(time) = time.to_str().and_then(|text| parse_i64(text.as_bytes())) else {
                // Nobody is left to tell if this cannot be printed.
                let _ = writeln!(terminal.output, "Invalid timestamp, aborting...");
                return false;
            };
            (Mode::Until(time), path)
        }
        _ => {
            let program = args.first().map(|name| name.display().to_string()).unwrap_or_default();
            let _ = writeln!(
                terminal.output,
                "Usage: {program} [--fix|--truncate-to-timestamp $timestamp] \
                 <file.manifest|file.aof>"
            );
            return false;
        }
    };
    Check { mode, terminal, snapshot }.run(Path::new(path)).is_ok()
}

struct Check<'a, 't> {
    mode: Mode,
    terminal: &'a mut Terminal<'t>,
    snapshot: SnapshotCheck<'a>,
}

impl Check<'_, '_> {
    fn run(&mut self, path: &Path) -> Checked<()> {
        if self.is_manifest(path)? {
            return self.check_pieces(path);
        }
        self.print("Start checking Old-Style AOF")?;
        let name = path.display().to_string();
        let outcome = self.check_file(&Target { name: &name, path, is_last: true })?;
        self.print_outcome(&outcome, "AOF", &name)
    }

    fn print(&mut self, line: impl std::fmt::Display) -> Checked<()> {
        Ok(writeln!(self.terminal.output, "{line}")?)
    }

    fn abort<T>(&mut self, line: impl std::fmt::Display) -> Checked<T> {
        self.print(line)?;
        Err(Aborted)
    }

    /// Checks all files of a manifest; only the last may be cut.
    fn check_pieces(&mut self, path: &Path) -> Checked<()> {
        self.print("Start checking Multi Part AOF")?;
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) => return self.abort(cannot_open(path, &error)),
        };
        let manifest = match Manifest::parse(&text) {
            Ok(manifest) => manifest,
            Err(error) => return self.abort(error),
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let last = last_with_content(folder, &manifest);
        for (at, piece) in manifest.pieces().enumerate() {
            let path = path.with_file_name(&piece.name);
            let is_base = manifest.base() == Some(piece);
            if is_base {
                let format = if self.begins_with_snapshot(&path)? { "RDB" } else { "RESP" };
                self.print(format_args!("Start to check BASE AOF ({format} format)."))?;
            } else if manifest.increments().first() == Some(piece) {
                self.print("Start to check INCR files.")?;
            }
            let name = piece.name.to_string_lossy();
            let target = Target { name: &name, path: &path, is_last: at >= last };
            let outcome = self.check_file(&target)?;
            let kind = if is_base { "BASE AOF" } else { "INCR AOF" };
            self.print_outcome(&outcome, kind, &name)?;
        }
        self.print("All AOF files and manifest are valid")
    }

    fn print_outcome(&mut self, outcome: &Outcome, kind: &str, name: &str) -> Checked<()> {
        match (outcome, self.mode) {
            (Outcome::Valid, _) => self.print(format_args!("{kind} {name} is valid")),
            (Outcome::Empty, _) => self.print(format_args!("{kind} {name} is empty")),
            (Outcome::CutToTime, Mode::Until(time)) => {
                self.print(format_args!("Successfully truncated AOF {name} to timestamp {time}"))
            }
            (Outcome::Cut | Outcome::CutToTime, _) => {
                self.print(format_args!("Successfully truncated AOF {name}"))
            }
        }
    }

    fn check_file(&mut self, target: &Target<'_>) -> Checked<Outcome> {
        let Target { name, path, .. } = *target;
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) => {
                return self.abort(format_args!("{}, aborting...", cannot_open(path, &error)));
            }
        };
        let Ok(size) = file.metadata().map(|metadata| metadata.len()) else {
            return self.abort(format_args!("Cannot stat file: {name}, aborting..."));
        };
        if size == 0 {
            return Ok(Outcome::Empty);
        }
        let start = self.check_snapshot(path)?;
        let reader = match Reader::new(&file, size, start) {
            Ok(reader) => reader,
            Err(error) => return self.cannot_read(name, &error),
        };
        self.check_log(target, &file, reader)
    }

    /// Checks the snapshot at the beginning, if there is one; returns where commands begin.
    fn check_snapshot(&mut self, path: &Path) -> Checked<u64> {
        if !self.begins_with_snapshot(path)? {
            return Ok(0);
        }
        match (self.snapshot)(path, self.terminal.output) {
            Some(end) => {
                self.print("RDB preamble is OK, proceeding with AOF tail...")?;
                Ok(end)
            }
            None => self.abort("RDB preamble of AOF file is not sane, aborting."),
        }
    }

    fn check_log(
        &mut self,
        target: &Target<'_>,
        file: &File,
        mut reader: Reader<&File>,
    ) -> Checked<Outcome> {
        let (name, size) = (target.name, reader.size());
        // The end of what is whole, and whether that is before a MULTI that was read.
        let (mut whole, mut in_block) = (reader.offset(), false);
        let problem = loop {
            if !in_block {
                whole = reader.offset();
            }
            reader.forget();
            let before = reader.tried();
            match reader.read() {
                Ok(Item::End) if in_block => break Some((before, Problem::Unfinished)),
                Ok(Item::End) => break None,
                Ok(Item::Annotation) => {
                    let offset = reader.offset() - reader.annotation().len() as u64;
                    if self.is_too_late(target, reader.annotation(), offset)? {
                        let end = if in_block { whole } else { offset };
                        return self.cut_to_time(target, file, end);
                    }
                }
                Ok(Item::Command) => match (framing(reader.commands()), in_block) {
                    (Framing::Multi, true) => break Some((reader.tried(), Problem::Multi)),
                    (Framing::Exec, false) => break Some((reader.tried(), Problem::Exec)),
                    (Framing::Multi, false) => in_block = true,
                    (Framing::Exec, true) => in_block = false,
                    (Framing::None, _) => {}
                },
                Err(Stop::Problem(problem)) => break Some((reader.tried(), problem)),
                Err(Stop::Io(error)) => return self.cannot_read(name, &error),
            }
        };
        if let Some((offset, problem)) = problem {
            self.print_problem(target, offset, problem)?;
        }
        let bad = size - whole;
        if bad == 0
            && let Mode::Until(time) = self.mode
        {
            self.print(format_args!("Truncate nothing in AOF {name} to timestamp {time}"))?;
            return Ok(Outcome::Valid);
        }
        let line = reader.line();
        self.print(format_args!(
            "AOF analyzed: filename={name}, size={size}, ok_up_to={whole}, ok_up_to_line={line}, \
             diff={bad}"
        ))?;
        if bad == 0 { Ok(Outcome::Valid) } else { self.fix(target, file, whole, size) }
    }

    fn print_problem(&mut self, target: &Target<'_>, offset: u64, problem: Problem) -> Checked<()> {
        match problem {
            Problem::Prefix { expected: b'*', .. } => {
                self.print(format_args!("AOF {} format error", target.name))
            }
            Problem::Multi | Problem::Exec => {
                let path = target.path.display();
                self.print(format_args!("0x{offset:16x}: {problem} in AOF {path}"))
            }
            // Redis says nothing where the file ends between two arguments.
            Problem::End => Ok(()),
            _ => self.print(format_args!("0x{offset:16x}: {problem}")),
        }
    }

    /// Cuts off what is not whole, if that is wanted.
    fn fix(&mut self, target: &Target<'_>, file: &File, whole: u64, size: u64) -> Checked<Outcome> {
        let name = target.name;
        if self.mode != Mode::Fix {
            return self.abort(format_args!(
                "AOF {name} is not valid. Use the --fix option to try fixing it."
            ));
        }
        if !target.is_last {
            return self.abort(format_args!(
                "Failed to truncate AOF {name} because it is not the last file"
            ));
        }
        self.print(format_args!(
            "This will shrink the AOF {name} from {size} bytes, with {} bytes, to {whole} bytes",
            size - whole
        ))?;
        write!(self.terminal.output, "Continue? [y/N]: ")?;
        self.terminal.output.flush()?;
        let mut answer = Vec::new();
        let read = self.terminal.input.read_until(b'\n', &mut answer);
        if read.is_err() || !matches!(answer.first(), Some(b'y' | b'Y')) {
            return self.abort("Aborting...");
        }
        match file.set_len(whole).and_then(|()| file.sync_all()) {
            Ok(()) => Ok(Outcome::Cut),
            Err(_) => self.abort(format_args!("Failed to truncate AOF {name}")),
        }
    }

    /// Whether an annotation at `offset` notes a time that is later than wanted.
    fn is_too_late(&mut self, target: &Target<'_>, line: &[u8], offset: u64) -> Checked<bool> {
        let (Mode::Until(until), Some(digits)) = (self.mode, line.strip_prefix(b"#TS:")) else {
            return Ok(false);
        };
        let Some(time) = digits.strip_suffix(b"\r\n").and_then(parse_i64) else {
            return self.abort("Invalid timestamp annotation");
        };
        let path = target.path.display();
        if time <= until {
            return Ok(false);
        }
        if offset == 0 {
            return self.abort(format_args!(
                "AOF {path} has nothing before timestamp {until}, aborting..."
            ));
        }
        if !target.is_last {
            self.print(format_args!(
                "Failed to truncate AOF {path} to timestamp {until} to offset {offset} because it \
                 is not the last file."
            ))?;
            return self.abort(
                "If you insist, please delete all files after this file according to the manifest \
                 file and delete the corresponding records in manifest file manually. Then re-run \
                 redis-check-aof.",
            );
        }
        Ok(true)
    }

    fn cut_to_time(&mut self, target: &Target<'_>, file: &File, end: u64) -> Checked<Outcome> {
        if file.set_len(end).and_then(|()| file.sync_all()).is_ok() {
            return Ok(Outcome::CutToTime);
        }
        let Mode::Until(time) = self.mode else { return Err(Aborted) };
        let path = target.path.display();
        self.abort(format_args!("Failed to truncate AOF {path} to timestamp {time}"))
    }

    fn cannot_read<T>(&mut self, name: &str, error: &io::Error) -> Checked<T> {
        let reason = os_error::text(error);
        self.abort(format_args!("Failed to read from AOF {name}: {reason}, aborting..."))
    }

    fn begins_with_snapshot(&mut self, path: &Path) -> Checked<bool> {
        let mut magic = Vec::new();
        let read = File::open(path).and_then(|file| file.take(8).read_to_end(&mut magic));
        match read {
            Ok(len) => Ok(len == 8 && is_snapshot(&magic)),
            Err(error) => self.abort(cannot_open(path, &error)),
        }
    }

    /// Whether the first line that is no comment is one of a manifest.
    fn is_manifest(&mut self, path: &Path) -> Checked<bool> {
        let looked = File::open(path).and_then(|file| {
            let mut input = BufReader::new(file);
            let mut line = Vec::new();
            loop {
                line.clear();
                (&mut input).take(LINE_MAX).read_until(b'\n', &mut line)?;
                if !line.starts_with(b"#") {
                    return Ok(line.starts_with(b"file"));
                }
            }
        });
        looked.or_else(|error| self.abort(cannot_open(path, &error)))
    }
}

fn cannot_open(path: &Path, error: &io::Error) -> String {
    format!("Cannot open file {}: {}", path.display(), os_error::text(error))
}

#[cfg(test)]
mod tests;
