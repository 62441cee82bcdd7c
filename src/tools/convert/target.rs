//! Where the data goes: what is written, and what may not be written over.
//!
//! What is written has a temporary name beside its own until it is whole and on disk; if it is given
//! up, nothing is left.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::source::Source;
use crate::base::os_error;
use crate::persist::aof::directory::Directory;
use crate::persist::aof::manifest::Manifest;
use crate::persist::file::{self, NewFile};
use crate::persist::rdb::{Formats, Version};
use crate::persist::snapshot::{self, Accesses, Form, Options, Progress, SaveError};
use crate::server::Server;

/// What the files of a log in pieces are called (`appendfilename`).
const LOG_NAME: &str = "appendonly.aof";

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// An RDB file.
    Rdb,
    /// One file of commands.
    Commands,
    /// A folder with a manifest and a base.
    Folder,
}

/// Where the data goes, and how it is written.
pub(super) struct Target {
    pub(super) path: PathBuf,
    pub(super) shape: Shape,
    pub(super) formats: Formats,
    pub(super) accesses: Accesses,
    /// Whether a file that is there is replaced.
    pub(super) replaces: bool,
}

/// What was written.
pub(super) struct Written {
    pub(super) keys: u64,
    pub(super) bytes: u64,
    /// The version, if it is not a file of commands.
    pub(super) version: Option<Version>,
}

/// What is being written, for who looks on.
pub(super) type Current = Mutex<Arc<Progress>>;

impl Target {
    /// Refuses to write over what is read, or over what is not to be replaced.
    pub(super) fn check(&self, source: &Source) -> Result<(), String> {
        let path = self.path.display();
        if self.path.file_name().is_none() {
            return Err(format!("{path}: names no file"));
        }
        let there = match fs::symlink_metadata(&self.path) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.failed(&error)),
        };
        let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
        let own = identity(&self.path);
        if own.is_some() && source.files().any(|file| identity(file) == own) {
            return Err(format!("{path}: that is what is read; it is never written over"));
        }
        match (self.shape == Shape::Folder, there.is_dir()) {
            (true, true) => match fs::read_dir(&self.path).map(|mut entries| entries.next()) {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err(format!("{path}: the folder is not empty; it is not replaced")),
                Err(error) => Err(self.failed(&error)),
            },
            (true, false) => Err(format!("{path}: is there and not a folder")),
            (false, true) => Err(format!("{path}: is a folder")),
            (false, false) if self.replaces => Ok(()),
            (false, false) => Err(format!("{path}: is there already; --force replaces it")),
        }
    }

    /// Writes everything that `server` holds.
    pub(super) fn write(&self, server: &Server, current: &Current) -> Result<Written, String> {
        let usual = self.formats.usual.version;
        let written = match self.write_as(server, current, false) {
            // What cannot be said in the usual version is found on the way.
            Err(SaveError::Inexpressible(_)) => self.write_as(server, current, true),
            written => written,
        };
        written.map_err(|error| match error {
            SaveError::Inexpressible(_) => format!(
                "{}: fields of hashes have deadlines, which RDB version {} cannot express. \
                 --field-deadline-version 12 writes what Redis 7.4 and later load, \
                 --field-deadline-version 80 what Valkey 9.0 and later load.",
                self.path.display(),
                usual.number()
            ),
            SaveError::Io(error) => self.failed(&error),
            SaveError::Cancelled => format!("{}: {error}", self.path.display()),
        })
    }

    fn failed(&self, error: &io::Error) -> String {
        format!("{}: {}", self.path.display(), os_error::text(error))
    }

    fn write_as(
        &self,
        server: &Server,
        current: &Current,
        deadlines: bool,
    ) -> Result<Written, SaveError> {
        let is_folder = self.shape == Shape::Folder;
        let form = if self.shape == Shape::Commands { Form::Commands } else { Form::Rdb };
        let format = self.formats.for_deadlines(deadlines)?;
        let options = Options {
            form,
            timestamp: false,
            format,
            checksum: true,
            accesses: self.accesses,
            policy: server.keyspace.policy(),
            now_ms: server.now_ms(),
            threads: server.threads(),
            // Nobody writes meanwhile.
            held_max: usize::MAX,
            key_delay: std::time::Duration::ZERO,
        };
        let progress = Arc::new(Progress::default());
        *current.lock() = Arc::clone(&progress);
        let libraries = server.scripts.engine.lock().library_sources();
        let temporary = self.temporary();
        let mut new = if is_folder { New::folder(temporary)? } else { New::file(&temporary)? };
        let (begun, ()) = snapshot::begin(&server.keyspace, options, Arc::clone(&progress), || ());
        let facts = snapshot::facts(is_folder);
        let bytes = begun.write(&server.keyspace, &facts, &libraries, new.output())?;
        new.finish(&self.path)?;
        let keys = progress.written.load(std::sync::atomic::Ordering::Relaxed);
        Ok(Written { keys, bytes, version: (form == Form::Rdb).then_some(format.version) })
    }

    fn temporary(&self) -> PathBuf {
        let mut name = std::ffi::OsString::from(format!("temp-{}-", std::process::id()));
        name.push(self.path.file_name().unwrap_or_default());
        self.path.with_file_name(name)
    }
}

/// A file, or a folder with one, that has no name yet.
struct New {
    file: NewFile,
    folder: Option<NewFolder>,
}

struct NewFolder {
    path: PathBuf,
    manifest: Manifest,
    base: PathBuf,
    kept: bool,
}

impl New {
    fn file(temporary: &Path) -> io::Result<Self> {
        Ok(Self { file: NewFile::create(temporary, true)?, folder: None })
    }

    fn folder(path: PathBuf) -> io::Result<Self> {
        fs::create_dir(&path)?;
        let mut manifest = Manifest::default();
        let base = path.join(manifest.begin_base(LOG_NAME, true));
        let folder = NewFolder { path, manifest, base, kept: false };
        let file = NewFile::create(&folder.path.join("temp-base"), true)?;
        Ok(Self { file, folder: Some(folder) })
    }

    fn output(&mut self) -> &mut NewFile {
        &mut self.file
    }

    fn finish(self, name: &Path) -> io::Result<()> {
        let Some(mut folder) = self.folder else { return self.file.finish(name).map(drop) };
        self.file.finish(&folder.base)?;
        let directory = Directory::new(&folder.path, "", LOG_NAME);
        directory.store(&folder.manifest).map_err(io::Error::other)?;
        fs::rename(&folder.path, name)?;
        folder.kept = true;
        file::sync_directory(name)
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if !self.kept {
            // Nobody is left to tell; a leftover does no harm.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
