//! Why bytes in RDB format are refused, in Redis's words where it has some.

use std::io;

/// What is wrong, and where.
#[derive(Debug, thiserror::Error)]
pub enum RdbError {
    /// The bytes end too early.
    #[error("Unexpected EOF reading RDB file")]
    End {
        /// The offset of the end.
        at: u64,
        /// What was being read.
        what: &'static str,
    },
    /// The file cannot be read.
    #[error("Error reading the RDB file: {cause}")]
    Input {
        /// How many bytes could be read.
        at: u64,
        /// What the system says.
        cause: io::Error,
    },
    /// Something is not as it has to be.
    #[error("{why}")]
    Corrupt {
        /// The offset after what was read last.
        at: u64,
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Neither a kind of value nor a mark.
    #[error("Invalid object type: {kind}")]
    Kind {
        /// Its offset.
        at: u64,
        /// The byte.
        kind: u8,
    },
    /// A value of a type that this server does not have.
    #[error("Values of type {kind} ({name}) are not supported")]
    Unsupported {
        /// The offset of the value.
        at: u64,
        /// The byte that tells its kind.
        kind: u8,
        /// Redis's name of the kind.
        name: &'static str,
    },
    /// A value of a module.
    #[error(
        "The RDB file contains module data I can't load: no matching module type '{}'",
        .name.escape_ascii()
    )]
    Module {
        /// The offset of the value.
        at: u64,
        /// The name of the module's type.
        name: [u8; 9],
    },
    /// A collection without elements.
    #[error("Empty collection")]
    Empty,
    /// A hash of which every field has expired.
    #[error("All fields have expired")]
    Expired,
    /// The first bytes are not those of an RDB file.
    #[error("Wrong signature trying to load DB from file")]
    Signature,
    /// A version that is not read.
    #[error("Can't handle RDB format version {0}")]
    Version(u32),
    /// A database number beyond those there are.
    #[error(
        "FATAL: Data file was created with a Redis server configured to handle more than {0} \
         databases. Exiting"
    )]
    Databases(usize),
    /// A key that stands there twice.
    #[error("RDB has duplicated key '{}' in DB {db}", .key.escape_ascii())]
    Duplicate {
        /// The key.
        key: Vec<u8>,
        /// Its database.
        db: usize,
    },
    /// A function library that cannot be loaded.
    #[error("Failed loading library, {0}")]
    Function(String),
    /// A function library of a release candidate.
    #[error("Pre-release function format not supported.")]
    PreRelease {
        /// Its offset.
        at: u64,
    },
    /// The file's checksum is not that of its bytes.
    #[error("RDB CRC error")]
    Checksum {
        /// That of the bytes.
        expected: u64,
        /// The one in the file.
        found: u64,
    },
}

impl RdbError {
    /// The offset at which it was found, where there is one.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::End { at, .. }
            | Self::Input { at, .. }
            | Self::Corrupt { at, .. }
            | Self::Kind { at, .. }
            | Self::Unsupported { at, .. }
            | Self::Module { at, .. }
            | Self::PreRelease { at } => Some(*at),
            _ => None,
        }
    }

    /// What was being read, where that is known.
    pub fn what(&self) -> Option<&'static str> {
        match self {
            Self::End { what, .. } | Self::Corrupt { what, .. } => Some(what),
            _ => None,
        }
    }

    /// Whether more bytes could have made it right.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::End { .. })
    }
}
