//! What the writer needs of a file, so that tests can put one in its place that fails or forgets.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// A file that is appended to, from one thread at a time, while another may sync it.
pub trait Storage: Send + Sync {
    /// Appends some of `bytes`; returns how many.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Forces everything appended so far to disk.
    fn sync(&self) -> io::Result<()>;
}

impl Storage for File {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self).write(bytes)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Makes a file to append to. What is there under this name was left over when a process ended before
/// the manifest named it, and is dropped.
pub fn create(path: &Path) -> io::Result<File> {
    let (file, _) = open(path)?;
    file.set_len(0)?;
    Ok(file)
}

/// Opens a file to append to and makes it if it is not there; returns its length too.
pub fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let len = file.metadata()?.len();
    Ok((file, len))
}
