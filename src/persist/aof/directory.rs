//! The directory of an append-only file: where its pieces lie, and how its manifest changes.
//!
//! The manifest is replaced whole and names only files that are there; what it no longer names is
//! deleted afterwards. Stopping between any two steps leaves the whole data: at worst with history
//! that is deleted at the next opportunity.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::manifest::{BadManifest, Manifest, Piece};
use crate::base::os_error;
use crate::persist::file;

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The server's working directory, in which an append-only file of one piece would lie.
    root: PathBuf,
    /// The name of the directory below `root` (`appenddirname`).
    dirname: String,
    /// What the names of all files begin with (`appendfilename`).
    filename: String,
}

/// What could not be done to the files; worded as Redis words it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the texts name")]
pub enum DirectoryError {
    /// The manifest is there, but cannot be read.
    #[error(
        "Fatal error: can't open the AOF manifest file {} for reading: {}",
        path.display(),
        os_error::text(source)
    )]
    Open { path: PathBuf, source: io::Error },
    /// The manifest makes no sense.
    #[error("{0}")]
    Bad(#[from] BadManifest),
    /// The directory cannot be made.
    #[error("Can't open or create append-only dir {name}: {}", os_error::text(source))]
    Create { name: String, source: io::Error },
    /// The manifest cannot be replaced.
    #[error("Error trying to write the AOF manifest file {name}: {}", os_error::text(source))]
    Store { name: String, source: io::Error },
    /// The single file of an old version cannot be moved.
    #[error(
        "Error trying to move the old AOF file {name} into dir {dir}: {}",
        os_error::text(source)
    )]
    Move { name: String, dir: String, source: io::Error },
}

impl Directory {
    /// The directory `dirname` below `root`, for files whose names begin with `filename`.
    pub fn new(root: &Path, dirname: &str, filename: &str) -> Self {
        Self { root: root.to_owned(), dirname: dirname.to_owned(), filename: filename.to_owned() }
    }

    /// What the names of all files begin with.
    pub fn filename(&self) -> &str {
        &self.filename
    }

    /// Where the directory is.
    pub fn location(&self) -> PathBuf {
        self.root.join(&self.dirname)
    }

    /// Where a piece is.
    pub fn path(&self, name: &OsStr) -> PathBuf {
        self.location().join(name)
    }

    /// Where the increment is written to while there is no base for it yet.
    pub fn temporary_increment(&self) -> PathBuf {
        self.location().join(format!("temp-{}.incr", self.filename))
    }

    /// Makes the directory, if it is not there.
    pub fn create(&self) -> Result<(), DirectoryError> {
        let create = || match fs::create_dir(self.location()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => file::sync_directory(&self.location()),
        };
        let error = |source| DirectoryError::Create { name: self.dirname.clone(), source };
        create().map_err(error)
    }

    /// Reads the manifest; it is empty if there is none.
    pub fn load(&self) -> Result<Manifest, DirectoryError> {
        let path = self.manifest_path("");
        match fs::read(&path) {
            Ok(text) => Ok(Manifest::parse(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Manifest::default()),
            Err(source) => Err(DirectoryError::Open { path, source }),
        }
    }

    /// Replaces the manifest.
    pub fn store(&self, manifest: &Manifest) -> Result<(), DirectoryError> {
        let (path, temporary) = (self.manifest_path(""), self.manifest_path("temp-"));
        let stored = file::replace(&path, &temporary, &manifest.to_bytes());
        let name = || format!("{}.manifest", self.filename);
        stored.map_err(|source| DirectoryError::Store { name: name(), source })
    }

    /// Takes over the single file of a version before 7.0, if there is one and the manifest does not
    /// say otherwise: it becomes the base. Says whether it did.
    pub fn upgrade(&self, manifest: &mut Manifest) -> Result<bool, DirectoryError> {
        let name = OsStr::new(&self.filename);
        let (old, new) = (self.root.join(name), self.path(name));
        // The second case: an upgrade got as far as the manifest.
        let begun = manifest.increments().is_empty()
            && manifest.base().is_some_and(|base| base.name == name)
            && !new.exists();
        if !old.exists() || !(manifest.is_empty() || begun) {
            return Ok(false);
        }
        self.create()?;
        manifest.adopt_base(name);
        self.store(manifest)?;
        let moved = fs::rename(&old, &new).and_then(|()| {
            file::sync_directory(&new)?;
            file::sync_directory(&old)
        });
        moved.map_err(|source| {
            let (name, dir) = (self.filename.clone(), self.dirname.clone());
            DirectoryError::Move { name, dir, source }
        })?;
        tracing::info!(
            "Successfully migrated an old-style AOF file ({}) into the AOF directory ({}).",
            self.filename,
            self.dirname
        );
        Ok(true)
    }

    /// Deletes what the manifest calls history, then forgets it. Long files take long to delete, so
    /// this is for a thread that nobody waits for.
    pub fn delete_history(&self, manifest: &mut Manifest) -> Result<(), DirectoryError> {
        if manifest.history().is_empty() {
            return Ok(());
        }
        self.delete_pieces(&manifest.forget_history());
        self.store(manifest)
    }

    /// Deletes files that no manifest names, or calls history.
    pub fn delete_pieces(&self, pieces: &[Piece]) {
        for piece in pieces {
            let name = piece.name.display();
            tracing::info!("Removing the history file {name} in the background");
            match fs::remove_file(self.path(&piece.name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!("Can't remove the history file {name}: {error}");
                }
                _ => {}
            }
        }
    }

    fn manifest_path(&self, prefix: &str) -> PathBuf {
        self.location().join(format!("{prefix}{}.manifest", self.filename))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, Directory) {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::new(root.path(), "appendonlydir", "appendonly.aof");
        (root, directory)
    }

    #[test]
    fn a_manifest_is_stored_and_loaded() {
        let (_root, directory) = directory();
        let mut manifest = directory.load().unwrap();
        assert!(manifest.is_empty());
        directory.create().unwrap();
        directory.create().unwrap();
        manifest.begin_base(directory.filename(), true);
        directory.store(&manifest).unwrap();
        assert_eq!(directory.load().unwrap(), manifest);
        let path = directory.path(OsStr::new("appendonly.aof.manifest"));
        assert_eq!(fs::read(path).unwrap(), b"file appendonly.aof.1.base.rdb seq 1 type b\n");
        assert_eq!(fs::read_dir(directory.location()).unwrap().count(), 1);
    }

    #[test]
    fn history_is_deleted_then_forgotten() {
        let (_root, directory) = directory();
        directory.create().unwrap();
        let mut manifest = Manifest::default();
        let first = manifest.begin_base("appendonly.aof", true);
        let second = manifest.begin_base("appendonly.aof", true);
        let gone = manifest.begin_base("appendonly.aof", true);
        manifest.begin_base("appendonly.aof", true);
        fs::write(directory.path(&first), "x").unwrap();
        fs::write(directory.path(&second), "x").unwrap();
        assert!(!directory.path(&gone).exists());
        directory.delete_history(&mut manifest).unwrap();
        assert!(!directory.path(&first).exists() && !directory.path(&second).exists());
        assert!(directory.load().unwrap().history().is_empty());
    }

    #[test]
    fn an_old_file_becomes_the_base() {
        let (root, directory) = directory();
        let old = root.path().join("appendonly.aof");
        let mut manifest = directory.load().unwrap();
        assert!(!directory.upgrade(&mut manifest).unwrap());
        fs::write(&old, "old").unwrap();
        assert!(directory.upgrade(&mut manifest).unwrap());
        let moved = directory.path(OsStr::new("appendonly.aof"));
        assert_eq!(fs::read(&moved).unwrap(), b"old");
        assert!(!old.exists());
        let text = directory.load().unwrap().to_bytes();
        assert_eq!(text, b"file appendonly.aof seq 1 type b\n");

        // It stopped after the manifest was written.
        fs::rename(&moved, &old).unwrap();
        assert!(directory.upgrade(&mut manifest).unwrap());
        assert!(moved.exists() && !old.exists());

        // A file of that name beside files in use is somebody else's.
        fs::write(&old, "other").unwrap();
        assert!(!directory.upgrade(&mut manifest).unwrap());
        fs::remove_file(&moved).unwrap();
        manifest.begin_increment("appendonly.aof");
        assert!(!directory.upgrade(&mut manifest).unwrap());
    }

    #[test]
    fn errors_are_worded_as_in_redis() {
        let (root, directory) = directory();
        fs::write(directory.location(), "").unwrap();
        let error = directory.store(&Manifest::default()).unwrap_err();
        let expected = "Error trying to write the AOF manifest file appendonly.aof.manifest: \
                        Not a directory";
        assert_eq!(error.to_string(), expected);
        let missing = Directory::new(&root.path().join("a"), "b", "c").create().unwrap_err();
        let expected = "Can't open or create append-only dir b: No such file or directory";
        assert_eq!(missing.to_string(), expected);
    }
}
