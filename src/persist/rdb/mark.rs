//! The marks between values, and the head of a file.

use super::decode::Dialect;
use super::error::RdbError;
use super::kind;
use super::read::{Scratch, Source};

/// The last version of Redis whose files are read; of those after 12 what is known.
const REDIS_VERSION_MAX: u32 = 15;
/// The only version of Valkey that has a magic of its own.
const VALKEY_VERSION: u32 = 80;

/// What the first nine bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version.
    pub version: u32,
    /// Whose it is.
    pub dialect: Dialect,
}

impl Header {
    /// Whether a checksum follows the end.
    pub fn has_checksum(self) -> bool {
        self.version >= 5
    }
}

/// Reads the head of a file.
pub fn header<S: Source>(source: &mut S) -> Result<Header, RdbError> {
    let magic: [u8; 9] = source.array("signature")?;
    let (dialect, digits) = match &magic {
        [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => (Dialect::Valkey, &digits[..]),
        [b'R', b'E', b'D', b'I', b'S', digits @ ..] => (Dialect::Redis, &digits[..]),
        _ => return Err(RdbError::Signature),
    };
    let digits = digits.iter().map_while(|digit| char::from(*digit).to_digit(10));
    let version = digits.fold(0, |version, digit| 10 * version + digit);
    let readable = match dialect {
        Dialect::Redis => (1..=REDIS_VERSION_MAX).contains(&version),
        Dialect::Valkey => version == VALKEY_VERSION,
    };
    if readable { Ok(Header { version, dialect }) } else { Err(RdbError::Version(version)) }
}

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Mark {
    /// A fact about the file: name and value.
    Aux(Vec<u8>, Vec<u8>),
    /// The source of a function library.
    Function(Vec<u8>),
    /// What a module, named by its number, has written; it was passed over.
    ModuleAux(u64),
    /// The database of the keys that follow.
    SelectDb(u64),
    /// How many keys follow, or of which slot they are.
    Sizes,
    /// The next key's deadline, in Unix milliseconds.
    Deadline(Option<i64>),
    /// Seconds since the next key's last access.
    Idle(u64),
    /// The next key's access counter.
    Frequency(u8),
    /// The end.
    End,
    /// A key and its value, of this kind.
    Value(u8),
}

/// Reads the next mark.
#[inline]
pub fn next<S: Source>(source: &mut S, scratch: &mut Scratch) -> Result<Mark, RdbError> {
    /// A deadline that is none.
    const NEVER: i64 = -1;
    let at = source.at();
    let deadline = |at_ms: i64| Mark::Deadline((at_ms != NEVER).then_some(at_ms));
    let mark = match source.byte("type")? {
        kind::END => Mark::End,
        kind::SELECT_DB => Mark::SelectDb(source.len("database number")?),
        kind::EXPIRE_AT_MS => deadline(source.time_ms("deadline")?),
        kind::EXPIRE_AT => {
            let at_s = i32::from_le_bytes(source.array("deadline")?);
            Mark::Deadline(Some(i64::from(at_s) * 1000))
        }
        kind::IDLE => Mark::Idle(source.len("idle time")?),
        kind::FREQUENCY => Mark::Frequency(source.byte("access counter")?),
        kind::RESIZE_DB => skip_lengths(source, 2)?,
        kind::SLOT_INFO => skip_lengths(source, 3)?,
        kind::AUX => {
            let name = source.owned(scratch, "aux field")?;
            Mark::Aux(name, source.owned(scratch, "aux field")?)
        }
        kind::MODULE_AUX => module_aux(source)?,
        kind::FUNCTION => Mark::Function(source.owned(scratch, "function library")?),
        kind::FUNCTION_PRE_GA => return Err(RdbError::PreRelease { at }),
        kind => Mark::Value(kind),
    };
    Ok(mark)
}

fn skip_lengths<S: Source>(source: &mut S, count: usize) -> Result<Mark, RdbError> {
    for _ in 0..count {
        source.len("number of keys")?;
    }
    Ok(Mark::Sizes)
}

/// Passes over what a module has written beside the keys.
fn module_aux<S: Source>(source: &mut S) -> Result<Mark, RdbError> {
    const WHAT: &str = "module aux data";
    const UINT: u64 = 2;
    let id = source.len(WHAT)?;
    if source.len(WHAT)? != UINT {
        return Err(source.corrupt(WHAT, "bad when_opcode"));
    }
    source.len(WHAT)?;
    skip_module(source, WHAT)?;
    Ok(Mark::ModuleAux(id))
}

/// Passes over a module's value, whose parts say what they are.
fn skip_module<S: Source>(source: &mut S, what: &'static str) -> Result<(), RdbError> {
    const END: u64 = 0;
    const SINT: u64 = 1;
    const UINT: u64 = 2;
    const FLOAT: u64 = 3;
    const DOUBLE: u64 = 4;
    const STRING: u64 = 5;
    loop {
        match source.len(what)? {
            END => return Ok(()),
            SINT | UINT => drop(source.len(what)?),
            FLOAT => source.skip(4, what)?,
            DOUBLE => source.skip(8, what)?,
            STRING => source.skip_text(what)?,
            _ => return Err(source.corrupt(what, "Unknown part of module data")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::rdb::read::Slice;

    fn read(magic: &[u8]) -> Result<Header, String> {
        header(&mut Slice::new(magic, 0)).map_err(|error| error.to_string())
    }

    #[test]
    fn heads_of_all_versions_are_known() {
        for version in 1..=15 {
            let read = read(format!("REDIS{version:04}").as_bytes());
            assert_eq!(read, Ok(Header { version, dialect: Dialect::Redis }));
        }
        let valkey = Header { version: 80, dialect: Dialect::Valkey };
        assert_eq!(read(b"VALKEY080"), Ok(valkey));
        let error = |magic: &[u8]| read(magic).unwrap_err();
        assert_eq!(error(b"REDIS0016"), "Can't handle RDB format version 16");
        assert_eq!(error(b"REDIS0000"), "Can't handle RDB format version 0");
        assert_eq!(error(b"REDIS0080"), "Can't handle RDB format version 80");
        assert_eq!(error(b"VALKEY011"), "Can't handle RDB format version 11");
        assert_eq!(error(b"REDIX0011"), "Wrong signature trying to load DB from file");
        assert_eq!(error(b"REDIS001"), "Unexpected EOF reading RDB file");
    }

    #[test]
    fn marks_are_read_whole() {
        for (bytes, expected) in [
            (&b"\xff"[..], Mark::End),
            (b"\xfe\x03", Mark::SelectDb(3)),
            (b"\xfd\x01\x00\x00\x00", Mark::Deadline(Some(1000))),
            (b"\xfc\x01\x00\x00\x00\x00\x00\x00\x00", Mark::Deadline(Some(1))),
            (b"\xfc\xff\xff\xff\xff\xff\xff\xff\xff", Mark::Deadline(None)),
            (b"\xfb\x01\x02", Mark::Sizes),
            (b"\xfa\x01a\xc0\x07", Mark::Aux(b"a".to_vec(), b"7".to_vec())),
            (b"\xf9\x05", Mark::Frequency(5)),
            (b"\xf8\x40\x50", Mark::Idle(80)),
            (
                b"\xf7\x07\x02\x01\x01\x05\x02\x06\x03abcd\x04abcdefgh\x05\x01a\x00",
                Mark::ModuleAux(7),
            ),
            (b"\xf5\x03lib", Mark::Function(b"lib".to_vec())),
            (b"\xf4\x01\x02\x03", Mark::Sizes),
            (b"\x05", Mark::Value(5)),
        ] {
            let mut source = Slice::new(bytes, 0);
            assert_eq!(next(&mut source, &mut Scratch::default()).unwrap(), expected);
            assert_eq!(source.taken(), bytes.len());
            for cut in 0..bytes.len() {
                let mut source = Slice::new(&bytes[..cut], 0);
                assert!(next(&mut source, &mut Scratch::default()).unwrap_err().is_end());
            }
        }
        let error = |bytes: &[u8]| {
            next(&mut Slice::new(bytes, 0), &mut Scratch::default()).unwrap_err().to_string()
        };
        assert_eq!(error(b"\xf6\x01a"), "Pre-release function format not supported.");
        assert_eq!(error(b"\xf7\x07\x01\x01\x00"), "bad when_opcode");
        assert_eq!(error(b"\xf7\x07\x02\x01\x09\x00"), "Unknown part of module data");
    }
}
