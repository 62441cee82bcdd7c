//! The RDB format: one file, or one DUMP payload, of keys and their values.
//!
//! ```text
//! file     "REDIS" 4 digits (or "VALKEY" 3 digits)   the version
//!          250 name value                            facts about the file
//!          245 source                                a function library
//!          254 db                                    the keys that follow are of this database
//!          251 keys volatile                         how many will follow
//!          [250 "stream-idmp" messages]*             see [`idempotence`]
//!          [252 deadline] [248 idle | 249 frequency] kind key value
//!          255 crc                                   the end
//! payload  kind value version:u16 crc:u64            of DUMP
//! len      00llllll | 01llllll l | 80 l*4 | 81 l*8   big-endian; 11eeeeee: an encoded string
//! ```
//!
//! Facts are those of Redis's rdb.h and rdb.c, and of Valkey's for its version 80. Files are written
//! so that Redis 7.0 and everything later loads them: version 10 and kinds up to 19, unless the
//! configuration names another version.

pub mod check;
pub mod compress;
pub mod crc;
pub mod decode;
pub mod error;
pub mod feed;
pub mod idempotence;
pub mod kind;
pub mod load;
pub mod mark;
pub mod payload;
pub mod read;
pub mod save;
pub mod skim;
pub mod stream;
pub mod write;
pub mod ziplist;
pub mod zipmap;

use crate::config::Config;

/// A version that files are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Redis 7.0 and later, every Valkey.
    V10,
    /// Redis 7.2 and later, every Valkey: sets as listpacks.
    V11,
    /// Redis 7.4 and later, no Valkey: deadlines of hash fields.
    V12,
    /// Valkey 9.0 and later, no Redis: deadlines of hash fields.
    V80,
}

impl Version {
    /// The number in headers and footers.
    pub fn number(self) -> u16 {
        match self {
            Self::V10 => 10,
            Self::V11 => 11,
            Self::V12 => 12,
            Self::V80 => 80,
        }
    }

    /// The first nine bytes of a file.
    pub fn magic(self) -> &'static [u8; 9] {
        match self {
            Self::V10 => b"REDIS0010",
            Self::V11 => b"REDIS0011",
            Self::V12 => b"REDIS0012",
            Self::V80 => b"VALKEY080",
        }
    }

    /// Whether fields of hashes can have deadlines.
    pub fn has_field_deadlines(self) -> bool {
        self >= Self::V12
    }
}

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The version.
    pub version: Version,
    /// Whether long strings are compressed with LZF (`rdbcompression`).
    pub compress: bool,
}

/// The formats that the configuration asks for: `rdb-version`, `rdb-field-deadline-version`,
/// `rdbcompression`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Formats {
    /// That of everything it can express.
    pub usual: Format,
    /// That of hashes with fields that have deadlines, where the usual one has none; `None` where
    /// they are rather not written.
    pub deadlines: Option<Format>,
}

impl Formats {
    /// What `config` asks for.
    pub fn of(config: &Config) -> Self {
        let compress = config.flag("rdbcompression");
        let format = |name| {
            let version = match config.text(name) {
                "10" => Version::V10,
                "11" => Version::V11,
                "12" => Version::V12,
                "80" => Version::V80,
                _ => return None,
            };
            Some(Format { version, compress })
        };
        let usual = format("rdb-version").unwrap_or(Format { version: Version::V10, compress });
        let deadlines = match usual.version.has_field_deadlines() {
            true => Some(usual),
            false => format("rdb-field-deadline-version"),
        };
        Self { usual, deadlines }
    }

    /// The format of what has deadlines of fields in it, or has none.
    ///
    /// # Errors
    ///
    /// When it has and is not to be written then.
    pub fn for_deadlines(&self, there_are: bool) -> Result<Format, Inexpressible> {
        if !there_are {
            return Ok(self.usual);
        }
        self.deadlines.ok_or(Inexpressible(self.usual.version))
    }
}

impl Default for Formats {
    fn default() -> Self {
        let usual = Format { version: Version::V10, compress: true };
        Self { usual, deadlines: Some(Format { version: Version::V12, compress: true }) }
    }
}

/// A value has something that the version it was to be written in cannot express: deadlines of the
/// fields of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fields of a hash have deadlines, which RDB version {} cannot express", .0.number())]
pub struct Inexpressible(pub Version);

/// When and how often a key was used, as files say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Seconds since the last access, if the policy is LRU.
    pub idle_seconds: Option<u64>,
    /// The access counter, if the policy is LFU.
    pub frequency: Option<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_of_fields_raise_the_version_as_configured() {
        let formats = |directives: &[(&str, &str)]| {
            let mut config = Config::new();
            for (name, value) in directives {
                let pair = [(name.as_bytes(), value.as_bytes())];
                config.set(&pair).expect("the value is valid");
            }
            let formats = Formats::of(&config);
            let version = |there_are| formats.for_deadlines(there_are).map(|f| f.version.number());
            (version(false), version(true))
        };
        assert_eq!(Formats::of(&Config::new()), Formats::default());
        assert_eq!(formats(&[]), (Ok(10), Ok(12)));
        assert_eq!(formats(&[("rdb-version", "80")]), (Ok(80), Ok(80)));
        let valkey = [("rdb-version", "11"), ("rdb-field-deadline-version", "80")];
        assert_eq!(formats(&valkey), (Ok(11), Ok(80)));
        let refused = Err(Inexpressible(Version::V10));
        assert_eq!(formats(&[("rdb-field-deadline-version", "refuse")]), (Ok(10), refused));
    }
}
