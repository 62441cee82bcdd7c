//! How a file comes into being: written beside its name, forced to disk, then renamed.
//!
//! Whoever reads the name sees the whole old file or the whole new one, also after the machine
//! stopped at any instant. A file that is given up leaves nothing behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes between two requests to begin writing back, so that the last one has little to wait for.
const SYNC_EVERY: u64 = 4 * 1024 * 1024;

/// A file that is being written.
pub struct NewFile {
    file: File,
    temporary: PathBuf,
    /// Whether the file is synced in steps.
    incremental: bool,
    written: u64,
    synced: u64,
    kept: bool,
}

impl NewFile {
    /// Begins a file that is called `temporary` until it is whole.
    pub fn create(temporary: &Path, incremental: bool) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(temporary)?;
        let temporary = temporary.to_owned();
        Ok(Self { file, temporary, incremental, written: 0, synced: 0, kept: false })
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.written
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// Forces what was written so far to disk.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.sync_all()
    }

    /// Forces everything to disk and leaves the file under its temporary name.
    pub fn keep(mut self) -> io::Result<()> {
        self.sync()?;
        self.kept = true;
        Ok(())
    }

    /// Forces everything to disk and gives the file its name, replacing what had it.
    pub fn finish(mut self, name: &Path) -> io::Result<File> {
        self.sync()?;
        self.publish(name)
    }

    /// Gives the file, which was forced to disk by [`Self::sync`], its name.
    pub fn publish(mut self, name: &Path) -> io::Result<File> {
        fs::rename(&self.temporary, name)?;
        self.kept = true;
        sync_directory(name)?;
        self.file.try_clone()
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        if self.incremental && self.written - self.synced >= SYNC_EVERY {
            self.file.sync_data()?;
            self.synced = self.written;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // Nobody is left to tell; a leftover does no harm.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Writes a small file whole; see the module.
pub fn replace(name: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = NewFile::create(temporary, false)?;
    file.write_all(bytes)?;
    file.finish(name).map(drop)
}

/// Forces the directory of `name` to disk, and with it that `name` is there or is not.
pub fn sync_directory(name: &Path) -> io::Result<()> {
    let directory = match name.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let (name, temporary) = (directory.path().join("a"), directory.path().join("temp-a"));
        fs::write(&name, "old").unwrap();
        let mut given_up = NewFile::create(&temporary, true).unwrap();
        given_up.write_all(b"half").unwrap();
        assert_eq!(fs::read(&name).unwrap(), b"old");
        drop(given_up);
        assert!(!temporary.exists());
        replace(&name, &temporary, b"new").unwrap();
        assert_eq!(fs::read(&name).unwrap(), b"new");
        assert!(!temporary.exists());
    }
}
