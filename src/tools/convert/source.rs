//! Where the data comes from: which files they are, and how they get into a server's memory.
//!
//! Never changes a file. A log that is torn or damaged is an error, since what it would lack is not
//! known; a snapshot in front of commands, in one file, is a log.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::base::{bytes, number, os_error};
use crate::persist::aof::directory::Directory;
use crate::persist::aof::load::{self as aof_load, LoadError, LoadOptions, Replay};
use crate::persist::aof::manifest::Manifest;
use crate::persist::aof::reader::Commands;
use crate::persist::rdb::error::RdbError;
use crate::persist::rdb::load::{self as rdb_load, Hooks};
use crate::resp::Argv;
use crate::server::{RunAgain, Server};

/// What the name of a manifest ends with.
const MANIFEST: &str = ".manifest";

/// The files that the data is in.
pub(super) struct Source {
    /// What was asked for.
    path: PathBuf,
    directory: Directory,
    manifest: Manifest,
    /// The files, in the order of loading.
    pieces: Vec<PathBuf>,
    /// How long they are.
    bytes: u64,
}

/// What was in the files.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// The version of the snapshot that was loaded last.
    pub(super) rdb_version: Option<u32>,
    /// Commands and transactions that were run.
    pub(super) units: u64,
}

/// How far loading is, in bytes.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Of what was loaded whole.
    before: AtomicU64,
    /// Of the snapshot that is being loaded.
    current: AtomicU64,
}

impl Done {
    /// Bytes that were loaded.
    pub(super) fn bytes(&self) -> u64 {
        self.before.load(Relaxed) + self.current.load(Relaxed)
    }
}

fn at(path: &Path, error: &io::Error) -> String {
    format!("{}: {}", path.display(), os_error::text(error))
}

impl Source {
    /// Finds the files of `path`: a snapshot, a log, a manifest, or the folder of one.
    pub(super) fn find(path: &Path) -> Result<Self, String> {
        let is_dir = fs::metadata(path).map_err(|error| at(path, &error))?.is_dir();
        let file = if is_dir { manifest_in(path)? } else { path.to_owned() };
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = file.parent().unwrap_or(Path::new(""));
        let (manifest, filename) = match name.strip_suffix(MANIFEST) {
            Some(filename) => {
                let text = fs::read(&file).map_err(|error| at(&file, &error))?;
                let parsed = Manifest::parse(&text);
                let manifest = parsed.map_err(|error| format!("{}: {error}", file.display()))?;
                (manifest, filename.to_owned())
            }
            None => {
                check_beginning(&file)?;
                let mut manifest = Manifest::default();
                manifest.adopt_base(file.file_name().unwrap_or_default());
                (manifest, name)
            }
        };
        let directory = Directory::new(folder, "", &filename);
        let pieces: Vec<PathBuf> =
            manifest.pieces().map(|piece| directory.path(&piece.name)).collect();
        if pieces.is_empty() {
            return Err(format!("{}: names no file to load", file.display()));
        }
        let mut bytes = 0;
        for piece in &pieces {
            bytes += fs::metadata(piece).map_err(|error| at(piece, &error))?.len();
        }
        Ok(Self { path: path.to_owned(), directory, manifest, pieces, bytes })
    }

    /// What was asked for.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How long all files are.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Everything that is read, which nothing may be written over.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.path.as_path()).chain(self.pieces.iter().map(PathBuf::as_path))
    }

    /// Loads all of it; what has expired is kept.
    pub(super) fn load(
        &self,
        server: &Arc<Server>,
        runner: Box<dyn RunAgain>,
        done: &Done,
    ) -> Result<Found, String> {
        let mut loader = Loader { server, runner, done, found: Found::default(), failure: None };
        // Files are not cut, whatever is wrong with them.
        let options = LoadOptions { truncated: false, corrupt_tail_max: 0 };
        let loaded = aof_load::load(&self.directory, &self.manifest, options, &mut loader);
        match (loaded, loader.failure) {
            (Ok(loaded), _) => Ok(Found { units: loaded.units, ..loader.found }),
            (Err(_), Some(failure)) => Err(failure),
            (Err(error), None) => Err(self.describe(&error)),
        }
    }

    fn describe(&self, error: &LoadError) -> String {
        let path = |name: &str| self.directory.path(&OsString::from(name)).display().to_string();
        match error {
            LoadError::Stat { name, source }
            | LoadError::Open { name, source }
            | LoadError::Read { name, source }
            | LoadError::Cut { name, source } => {
                format!("{}: {}", path(name), os_error::text(source))
            }
            LoadError::Snapshot { name, reason, .. } => format!("{}: {reason}", path(name)),
            LoadError::Refused { name, reason, offset } => {
                format!("{}: {reason} (at offset {offset})", path(name))
            }
            LoadError::Truncated { name, whole, offset, problem }
            | LoadError::NotLast { name, whole, offset, problem }
            | LoadError::Bad { name, whole, offset, problem } => format!(
                "{}: {problem} (at offset {offset}; whole up to offset {whole}). `redstart \
                 check-aof --fix` cuts off what follows; make a copy first.",
                path(name)
            ),
        }
    }
}

/// The only manifest in a folder.
fn manifest_in(folder: &Path) -> Result<PathBuf, String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| at(folder, &error))? {
        let path = entry.map_err(|error| at(folder, &error))?.path();
        // A manifest that is being replaced lies beside it under a temporary name.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(MANIFEST) && !name.starts_with("temp-") {
            found.push(path);
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(format!("{}: there is no manifest in this folder", folder.display())),
        count => Err(format!("{}: there are {count} manifests in this folder", folder.display())),
    }
}

/// Refuses what is neither a snapshot nor a log by its first bytes.
fn check_beginning(path: &Path) -> Result<(), String> {
    let mut magic = Vec::new();
    let file = File::open(path).map_err(|error| at(path, &error))?;
    file.take(9).read_to_end(&mut magic).map_err(|error| at(path, &error))?;
    match magic.first() {
        None => Err(format!("{}: the file is empty", path.display())),
        Some(b'*' | b'#') => Ok(()),
        Some(_) if aof_load::is_snapshot(&magic) => Ok(()),
        Some(_) => {
            let path = path.display();
            Err(format!("{path}: neither an RDB file nor an append-only file (at offset 0)"))
        }
    }
}

struct Loader<'a> {
    server: &'a Arc<Server>,
    runner: Box<dyn RunAgain>,
    done: &'a Done,
    found: Found,
    /// What is wrong with a snapshot.
    failure: Option<String>,
}

impl Loader<'_> {
    fn load(&mut self, path: &Path) -> Result<u64, String> {
        let file = File::open(path).map_err(|error| at(path, &error))?;
        let options = rdb_load::Options {
            drops_expired: false,
            ..rdb_load::Options::new(self.server.now_ms(), self.server.threads())
        };
        let mut function = |source: Vec<u8>| self.server.load_library_of_file(&source, false);
        let (progress, key_delay_us) = (&self.done.current, &AtomicI64::new(0));
        let mut hooks = Hooks { progress, key_delay_us, function: &mut function };
        let summary = rdb_load::load(file, &self.server.keyspace, &options, &mut hooks)
            .map_err(|error| describe_snapshot(path, &error))?;
        self.done.before.fetch_add(summary.len, Relaxed);
        self.done.current.store(0, Relaxed);
        self.found.rdb_version = Some(summary.version);
        Ok(summary.len)
    }

    /// Refuses a SELECT that would fail, since what follows it would get into another database.
    fn check_database(&self, argv: Argv<'_>) -> Result<(), String> {
        if argv.len() != 2 || !bytes::is_word(argv.arg(0), "select") {
            return Ok(());
        }
        let databases = self.server.keyspace.databases();
        let db = number::parse_u64(argv.arg(1)).and_then(|db| usize::try_from(db).ok());
        match db.filter(|db| *db < databases) {
            Some(_) => Ok(()),
            None => {
                let db = argv.arg(1).escape_ascii();
                Err(format!(
                    "there is no database {db} of {databases}; --databases allows for more"
                ))
            }
        }
    }
}

impl Replay for Loader<'_> {
    fn snapshot(&mut self, path: &Path) -> Result<u64, String> {
        self.load(path).inspect_err(|reason| self.failure = Some(reason.clone()))
    }

    fn run(&mut self, commands: Commands<'_>) -> Result<(), String> {
        commands.iter().try_for_each(|argv| {
            self.check_database(argv)?;
            self.runner.run(argv)
        })
    }

    fn progress(&mut self, len: u64) {
        self.done.before.fetch_add(len, Relaxed);
    }
}

fn describe_snapshot(path: &Path, error: &RdbError) -> String {
    let path = path.display();
    match (error.offset(), error.what()) {
        (None, _) if matches!(error, RdbError::Databases(_)) => {
            format!("{path}: {error} (--databases allows for more)")
        }
        (Some(offset), Some(what)) => {
            format!("{path}: {error} (at offset {offset}, reading: {what})")
        }
        (Some(offset), None) => format!("{path}: {error} (at offset {offset})"),
        (None, _) => format!("{path}: {error}"),
    }
}
