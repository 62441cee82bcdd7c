//! The append-only file out of any bytes: reading ends with whole units or an error, what is whole
//! loads again to the same units, and it does not matter in which pieces the file is read.
//!
//! The same bytes are tried as a manifest. `fuzz/seeds/aof` has files to begin with:
//! `cargo fuzz run aof fuzz/corpus/aof fuzz/seeds/aof`.

#![no_main]

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use redstart::persist::aof::load::{Replay, replay_log};
use redstart::persist::aof::manifest::Manifest;
use redstart::persist::aof::reader::{Commands, Stop};

type Command = Vec<Vec<u8>>;

/// The units that were run.
#[derive(Default, PartialEq, Debug)]
struct Units(Vec<Vec<Command>>);

impl Replay for Units {
    fn snapshot(&mut self, _: &Path) -> Result<u64, String> {
        Err("logs only".to_owned())
    }

    fn run(&mut self, commands: Commands<'_>) -> Result<(), String> {
        assert!(!commands.is_empty(), "a unit does something");
        let owned = commands.iter().map(|argv| argv.iter().map(<[u8]>::to_vec).collect());
        self.0.push(owned.collect());
        Ok(())
    }
}

/// A file of which every read returns little.
struct Trickle<'a>(Cursor<&'a [u8]>);

impl Read for Trickle<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let len = room.len().min(7);
        self.0.read(&mut room[..len])
    }
}

impl Seek for Trickle<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

fn replay(input: impl Read + Seek, len: usize) -> (Units, usize, Result<(), String>) {
    let mut units = Units::default();
    let (whole, result) = replay_log(input, len as u64, &mut units);
    let result = result.map_err(|stop| match stop {
        Stop::Problem(problem) => format!("{problem} {}", problem.is_truncation()),
        Stop::Io(error) => panic!("memory does not fail: {error}"),
    });
    (units, whole as usize, result)
}

fn check_manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::parse(bytes) else { return };
    let written = manifest.to_bytes();
    // Quoting makes names longer.
    let is_long = written.split(|&byte| byte == b'\n').any(|line| line.len() >= 1024);
    if !is_long && !written.is_empty() {
        assert_eq!(Manifest::parse(&written).expect("it was just written"), manifest);
    }
}

fuzz_target!(|input: &[u8]| {
    check_manifest(input);
    let mut bytes = input.to_vec();
    // Long arguments take another way, and random input is never that long.
    if let Some((0, rest)) = input.split_first() {
        let big = 30_000 + rest.len() * 97 % 90_000;
        bytes = format!("*2\r\n$1\r\nx\r\n${big}\r\n").into_bytes();
        bytes.resize(bytes.len() + big, b'y');
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(rest);
    }
    let (units, whole, result) = replay(Cursor::new(&bytes[..]), bytes.len());
    assert!(whole <= bytes.len());
    assert!(result.is_err() || whole == bytes.len());
    let slowly = replay(Trickle(Cursor::new(&bytes)), bytes.len());
    assert_eq!(slowly, (Units(units.0.clone()), whole, result));
    let again = replay(Cursor::new(&bytes[..whole]), whole);
    assert_eq!(again, (units, whole, Ok(())));
});
