//! Loads an append-only file: the base, then every increment, command by command.
//!
//! What is run is handed to a [`Replay`] in units: a command, or all commands of a transaction, which
//! is run only if its EXEC is there. A file may end in the middle of a unit, because the machine
//! stopped: the last file of all is then cut to the last whole unit, if the options allow it, and
//! what was cut off is kept beside it. Anything else that is wrong ends the loading with an error,
//! whatever comes before it having been run.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::directory::Directory;
use super::manifest::Manifest;
use super::reader::{Commands, Item, Problem, Reader, Stop};
use crate::base::{clock, os_error};
use crate::persist::file::NewFile;

/// Longer transactions are read twice rather than kept in memory, in bytes.
const BLOCK_MAX: usize = if cfg!(test) { 64 * 1024 } else { 64 * 1024 * 1024 };
/// Between two reports of progress, in bytes.
const REPORT_EVERY: u64 = 1024 * 1024;

/// What a file does when it is loaded.
pub trait Replay {
    /// Loads the snapshot that `path` begins with; returns how long it is.
    fn snapshot(&mut self, path: &Path) -> Result<u64, String>;

    /// Runs commands that belong together, SELECT among them. An error is what Redis would say up to
    /// ` reading the append only file`, as `Unknown command 'x'`.
    fn run(&mut self, commands: Commands<'_>) -> Result<(), String>;

    /// Learns that `len` more bytes were loaded; clients can be served now.
    fn progress(&mut self, len: u64) {
        let _ = len;
    }
}

/// What is done about a file whose end is not right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Whether a file that ends too early is cut (`aof-load-truncated`).
    pub truncated: bool,
    /// Up to how many bytes that make no sense are cut off the end as well
    /// (`aof-load-corrupt-tail-max-size`).
    pub corrupt_tail_max: u64,
}

/// What was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Bytes of all files, as they are now.
    pub size: u64,
    /// Bytes of the base.
    pub base_size: u64,
    /// Units that were run.
    pub units: u64,
    /// Bytes that were cut off the last file.
    pub cut: u64,
}

/// Why loading ended early; worded as Redis words it, and then where and what.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the texts name")]
pub enum LoadError {
    /// A file of the manifest cannot be looked at.
    #[error("Unable to obtain the AOF file {name} length. stat: {}", os_error::text(source))]
    Stat { name: String, source: io::Error },
    /// A file cannot be opened.
    #[error(
        "Fatal error: can't open the append log file {name} for reading: {}",
        os_error::text(source)
    )]
    Open { name: String, source: io::Error },
    /// A file cannot be read.
    #[error("Unrecoverable error reading the append only file {name}: {}", os_error::text(source))]
    Read { name: String, source: io::Error },
    /// The snapshot at the beginning of a file is not right.
    #[error("Error reading the RDB {part} {name}, AOF loading aborted: {reason}")]
    Snapshot { part: &'static str, name: String, reason: String },
    /// A command could not be run.
    #[error("{reason} reading the append only file {name} (at offset {offset})")]
    Refused { name: String, reason: String, offset: u64 },
    /// A file ends too early, and may not be cut.
    #[error(
        "Unexpected end of file reading the append only file {name}. You can: 1) Make a backup of \
         your AOF file, then use ./redis-check-aof --fix <filename.manifest>. 2) Alternatively you \
         can set the 'aof-load-truncated' configuration option to yes and restart the server. \
         (whole up to offset {whole}; at offset {offset}: {problem})"
    )]
    Truncated { name: String, whole: u64, offset: u64, problem: Problem },
    /// A file ends too early, and it is not the last.
    #[error(
        "Fatal error: the truncated file is not the last file: {name} (whole up to offset {whole}; \
         at offset {offset}: {problem})"
    )]
    NotLast { name: String, whole: u64, offset: u64, problem: Problem },
    /// A file is not a log.
    #[error(
        "Bad file format reading the append only file {name}: make a backup of your AOF file, then \
         use ./redis-check-aof --fix <filename.manifest> (whole up to offset {whole}; at offset \
         {offset}: {problem})"
    )]
    Bad { name: String, whole: u64, offset: u64, problem: Problem },
    /// The end of a file cannot be cut off.
    #[error("Error truncating the AOF file {name}: {}", os_error::text(source))]
    Cut { name: String, source: io::Error },
}

/// Loads all files that the manifest names.
pub fn load(
    directory: &Directory,
    manifest: &Manifest,
    options: LoadOptions,
    replay: &mut impl Replay,
) -> Result<Loaded, LoadError> {
    let size = total_size(directory, manifest)?;
    let mut loaded = Loaded { size, ..Loaded::default() };
    let last = last_with_content(directory.location().as_path(), manifest);
    for (at, piece) in manifest.pieces().enumerate() {
        let is_base = manifest.base() == Some(piece);
        let start = Instant::now();
        let path = directory.path(&piece.name);
        // Redis wrote snapshots into files of that name before there was a directory.
        let part = if piece.name == directory.filename() {
            "preamble of the AOF file"
        } else {
            "base file"
        };
        let is_last = at >= last;
        let name = piece.name.to_string_lossy().into_owned();
        let one = One { path, name, part, is_last, options }.load(replay)?;
        loaded.units += one.units;
        loaded.cut += one.cut;
        loaded.size -= one.cut;
        if is_base {
            loaded.base_size = one.size;
        }
        let kind = if is_base { "base" } else { "incr" };
        let name = piece.name.display();
        let seconds = start.elapsed().as_secs_f64();
        tracing::info!("DB loaded from {kind} file {name}: {seconds:.3} seconds");
    }
    Ok(loaded)
}

/// How long all files are that would be loaded.
pub fn total_size(directory: &Directory, manifest: &Manifest) -> Result<u64, LoadError> {
    let mut total = 0;
    for piece in manifest.pieces() {
        let length = directory.path(&piece.name).metadata().map(|metadata| metadata.len());
        total += length.map_err(|source| {
            let name = piece.name.to_string_lossy().into_owned();
            LoadError::Stat { name, source }
        })?;
    }
    Ok(total)
}

/// The index of the last file that is not empty: nothing follows its end. The next increment is begun
/// before everything of the one before is on disk, and written to afterwards.
pub(super) fn last_with_content(folder: &Path, manifest: &Manifest) -> usize {
    let is_empty = |path: PathBuf| path.metadata().is_ok_and(|metadata| metadata.len() == 0);
    let pieces: Vec<_> = manifest.pieces().collect();
    let last = pieces.iter().rposition(|piece| !is_empty(folder.join(&piece.name)));
    last.unwrap_or(0)
}

/// One file on its way into the keyspace.
struct One {
    path: PathBuf,
    name: String,
    /// What a snapshot at its beginning is called.
    part: &'static str,
    is_last: bool,
    options: LoadOptions,
}

/// How far a file was read.
#[derive(Default)]
struct Progress {
    /// The end of the last whole unit.
    whole: u64,
    /// What was reported.
    reported: u64,
    units: u64,
}

/// What became of a file.
struct Outcome {
    size: u64,
    units: u64,
    cut: u64,
}

/// Why a file was not read to its end.
enum Failure {
    Stop(Stop),
    Refused(String),
}

impl<E: Into<Stop>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Stop(error.into())
    }
}

impl One {
    fn load(&self, replay: &mut impl Replay) -> Result<Outcome, LoadError> {
        let name = || self.name.clone();
        let mut file =
            File::open(&self.path).map_err(|source| LoadError::Open { name: name(), source })?;
        let read_error = |source| LoadError::Read { name: name(), source };
        let size = file.metadata().map_err(read_error)?.len();
        let start = self.load_snapshot(&mut file, replay)?;
        let mut reader = Reader::new(file, size, start).map_err(read_error)?;
        let mut progress = Progress { whole: start, reported: start, units: 0 };
        let result = replay_all(&mut reader, replay, &mut progress);
        replay.progress(size - progress.reported);
        let problem = match result {
            Ok(()) => return Ok(Outcome { size, units: progress.units, cut: 0 }),
            Err(Failure::Refused(reason)) => {
                let offset = progress.whole;
                return Err(LoadError::Refused { name: name(), reason, offset });
            }
            Err(Failure::Stop(Stop::Io(source))) => return Err(read_error(source)),
            Err(Failure::Stop(Stop::Problem(problem))) => problem,
        };
        self.check_cut(&progress, reader.tried(), size, problem)?;
        self.cut(progress.whole, size, problem)?;
        Ok(Outcome { size: progress.whole, units: progress.units, cut: size - progress.whole })
    }

    /// Loads the snapshot at the beginning, if there is one; returns where the commands begin.
    fn load_snapshot(&self, file: &mut File, replay: &mut impl Replay) -> Result<u64, LoadError> {
        let mut magic = Vec::new();
        let read = Read::take(&mut *file, 6).read_to_end(&mut magic);
        read.map_err(|source| LoadError::Read { name: self.name.clone(), source })?;
        if !is_snapshot(&magic) {
            return Ok(0);
        }
        tracing::info!("Reading RDB {} on AOF loading...", self.part);
        replay.snapshot(&self.path).map_err(|reason| LoadError::Snapshot {
            part: self.part,
            name: self.name.clone(),
            reason,
        })
    }

    /// Whether the end of the file may be cut off.
    fn check_cut(
        &self,
        progress: &Progress,
        offset: u64,
        size: u64,
        problem: Problem,
    ) -> Result<(), LoadError> {
        let (name, whole) = (self.name.clone(), progress.whole);
        let within = size - whole <= self.options.corrupt_tail_max;
        match problem.is_truncation() {
            true if !self.is_last => Err(LoadError::NotLast { name, whole, offset, problem }),
            true if self.options.truncated || within => Ok(()),
            true => Err(LoadError::Truncated { name, whole, offset, problem }),
            false if self.is_last && within => Ok(()),
            false => Err(LoadError::Bad { name, whole, offset, problem }),
        }
    }

    /// Cuts the file to `whole` of its `size` bytes, and keeps the rest in a file of its own.
    fn cut(&self, whole: u64, size: u64, problem: Problem) -> Result<(), LoadError> {
        if problem == Problem::Unfinished {
            let name = &self.name;
            tracing::warn!("Revert incomplete MULTI/EXEC transaction in AOF file {name}");
        }
        let kept = format!("{}.tail-{whole}-{}", self.name, clock::now_ms());
        let cut = || -> io::Result<()> {
            let mut file = OpenOptions::new().read(true).write(true).open(&self.path)?;
            let name = self.path.with_file_name(&kept);
            let temporary = self.path.with_file_name(format!("temp-{kept}"));
            let mut tail = NewFile::create(&temporary, true)?;
            file.seek(SeekFrom::Start(whole))?;
            io::copy(&mut Read::take(&mut file, size - whole), &mut tail)?;
            tail.flush()?;
            tail.finish(&name)?;
            file.set_len(whole)?;
            file.sync_all()
        };
        cut().map_err(|source| LoadError::Cut { name: self.name.clone(), source })?;
        let reason = if problem.is_truncation() && self.options.truncated {
            "aof-load-truncated is enabled"
        } else {
            "the bad end is not longer than aof-load-corrupt-tail-max-size"
        };
        tracing::warn!(
            "AOF {} loaded anyway because {reason}: truncated from {size} to {whole} bytes \
             ({problem}), what was cut off is in {kept}",
            self.name
        );
        Ok(())
    }
}

/// Whether a file that begins with `magic` is a snapshot, or begins with one.
pub fn is_snapshot(magic: &[u8]) -> bool {
    magic.starts_with(b"REDIS") || magic.starts_with(b"VALKEY")
}

/// Runs the log that is `size` bytes of `input`; returns the end of the last whole unit too. For
/// logs that are not files.
pub fn replay_log<R: Read + Seek>(
    input: R,
    size: u64,
    replay: &mut impl Replay,
) -> (u64, Result<(), Stop>) {
    let mut progress = Progress::default();
    let opened = Reader::new(input, size, 0).map_err(Failure::from);
    let result = opened.and_then(|mut reader| replay_all(&mut reader, replay, &mut progress));
    let result = result.map_err(|failure| match failure {
        Failure::Stop(stop) => stop,
        Failure::Refused(reason) => io::Error::other(reason).into(),
    });
    (progress.whole, result)
}

fn replay_all<R: Read + Seek>(
    reader: &mut Reader<R>,
    replay: &mut impl Replay,
    progress: &mut Progress,
) -> Result<(), Failure> {
    loop {
        reader.forget();
        match reader.read()? {
            Item::End => return Ok(()),
            Item::Annotation => {}
            Item::Command => match framing(reader.commands()) {
                Framing::Multi => run_block(reader, replay, progress)?,
                Framing::Exec => return Err(Problem::Exec.into()),
                Framing::None => run(reader.commands(), replay, progress)?,
            },
        }
        progress.whole = reader.offset();
        if progress.whole - progress.reported >= REPORT_EVERY {
            replay.progress(progress.whole - progress.reported);
            progress.reported = progress.whole;
        }
    }
}

fn run(
    commands: Commands<'_>,
    replay: &mut impl Replay,
    progress: &mut Progress,
) -> Result<(), Failure> {
    progress.units += 1;
    replay.run(commands).map_err(Failure::Refused)
}

/// Runs a transaction whose MULTI was just read.
fn run_block<R: Read + Seek>(
    reader: &mut Reader<R>,
    replay: &mut impl Replay,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let body = reader.offset();
    let mut is_kept = true;
    while !reads_exec(reader)? {
        if reader.kept_len() > BLOCK_MAX {
            is_kept = false;
            reader.forget();
        }
    }
    if is_kept && reader.commands().len() == 2 {
        return Ok(());
    } else if is_kept {
        return run(reader.commands().inner(), replay, progress);
    }
    // The EXEC is there, so the commands can be run one by one.
    reader.seek(body)?;
    while !reads_exec(reader)? {
        run(reader.commands(), replay, progress)?;
        reader.forget();
    }
    Ok(())
}

/// Reads the next command of a transaction; says whether it is the EXEC.
fn reads_exec<R: Read + Seek>(reader: &mut Reader<R>) -> Result<bool, Stop> {
    loop {
        match reader.read()? {
            Item::End => return Err(Problem::Unfinished.into()),
            Item::Annotation => {}
            Item::Command => match framing(reader.commands()) {
                Framing::Multi => return Err(Problem::Multi.into()),
                Framing::Exec => return Ok(true),
                Framing::None => return Ok(false),
            },
        }
    }
}

/// What the last command means for those around it.
pub(super) enum Framing {
    Multi,
    Exec,
    None,
}

pub(super) fn framing(commands: Commands<'_>) -> Framing {
    match commands.last().map(|argv| argv.arg(0)) {
        Some(name) if name.eq_ignore_ascii_case(b"multi") => Framing::Multi,
        Some(name) if name.eq_ignore_ascii_case(b"exec") => Framing::Exec,
        _ => Framing::None,
    }
}

#[cfg(test)]
mod tests;
