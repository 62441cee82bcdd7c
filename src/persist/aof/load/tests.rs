//! Loading: whole files, torn ones, corrupt ones.

use std::fs;
use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::persist::log::{WriteLog, parse};
use crate::persist::unit::Unit;

/// What was run, unit by unit.
#[derive(Default)]
struct Seen {
    units: Vec<Vec<String>>,
    progress: u64,
    snapshots: usize,
}

impl Replay for Seen {
    fn snapshot(&mut self, path: &Path) -> Result<u64, String> {
        self.snapshots += 1;
        let bytes = fs::read(path).map_err(|error| error.to_string())?;
        let end = bytes.windows(3).position(|end| end == b"END");
        end.map(|at| at as u64 + 3).ok_or_else(|| "it is short".to_owned())
    }

    fn run(&mut self, commands: Commands<'_>) -> Result<(), String> {
        let text = |argv: crate::resp::Argv<'_>| {
            let words: Vec<_> = argv.iter().map(String::from_utf8_lossy).collect();
            words.join(" ")
        };
        let unit: Vec<String> = commands.iter().map(text).collect();
        if unit[0].starts_with("bla") {
            return Err("Unknown command 'bla'".to_owned());
        }
        self.units.push(unit);
        Ok(())
    }

    fn progress(&mut self, len: u64) {
        self.progress += len;
    }
}

fn command(text: &str) -> Vec<u8> {
    let mut unit = Unit::default();
    unit.push(0, text.split(' ').map(str::as_bytes).collect::<Vec<_>>());
    unit.body().to_vec()
}

fn commands(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| command(text)).collect()
}

struct Files {
    _root: tempfile::TempDir,
    directory: Directory,
    manifest: Manifest,
}

impl Files {
    /// A base of `base`, then an increment for each of `increments`.
    fn new(base: Option<&[u8]>, increments: &[&[u8]]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::new(root.path(), "dir", "f");
        directory.create().unwrap();
        let mut manifest = Manifest::default();
        if let Some(base) = base {
            fs::write(directory.path(&manifest.begin_base("f", true)), base).unwrap();
        }
        for increment in increments {
            fs::write(directory.path(&manifest.begin_increment("f")), increment).unwrap();
        }
        Self { _root: root, directory, manifest }
    }

    fn load(&self, truncated: bool, tail: u64) -> (Result<Loaded, String>, Vec<Vec<String>>) {
        let (loaded, seen) = self.load_seen(truncated, tail);
        (loaded, seen.units)
    }

    fn load_seen(&self, truncated: bool, corrupt_tail_max: u64) -> (Result<Loaded, String>, Seen) {
        let mut seen = Seen::default();
        let options = LoadOptions { truncated, corrupt_tail_max };
        let loaded = load(&self.directory, &self.manifest, options, &mut seen);
        (loaded.map_err(|error| error.to_string()), seen)
    }

    fn last(&self) -> PathBuf {
        self.directory.path(&self.manifest.pieces().last().unwrap().name)
    }

    /// The contents of the files that hold what was cut off.
    fn tails(&self) -> Vec<Vec<u8>> {
        let entries = fs::read_dir(self.directory.location()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let tails = paths.filter(|path| path.to_string_lossy().contains(".tail-"));
        tails.map(|path| fs::read(path).unwrap()).collect()
    }
}

#[test]
fn files_are_run_in_order() {
    let block = commands(&["MULTI", "SELECT 2", "SET b 2", "EXEC", "multi", "exec", "PING"]);
    let base = [b"REDIS0010..END".as_slice(), &command("SET a 1")].concat();
    let files =
        Files::new(Some(&base), &[b"", &block, b"#TS:5\r\n#TS:6\r\n*1\r\n$1\r\nX\r\n#TS:7\r\n"]);
    let (loaded, seen) = files.load_seen(false, 0);
    let loaded = loaded.unwrap();
    let units = [vec!["SET a 1"], vec!["SELECT 2", "SET b 2"], vec!["PING"], vec!["X"]];
    assert_eq!(seen.units, units);
    let size = total_size(&files.directory, &files.manifest).unwrap();
    let expected = Loaded { size, base_size: base.len() as u64, units: 4, cut: 0 };
    assert_eq!((loaded, seen.snapshots), (expected, 1));
    assert_eq!(seen.progress, size - 14, "but for the snapshot");
}

#[test]
fn a_long_transaction_is_run_command_by_command() {
    let value = format!("SET k {}", "x".repeat(1000));
    let mut texts = vec!["MULTI"];
    texts.extend([value.as_str()].repeat(3 * BLOCK_MAX / 1000));
    texts.extend(["EXEC", "PING"]);
    let bytes = commands(&texts);
    let (loaded, units) = Files::new(None, &[&bytes]).load(false, 0);
    loaded.unwrap();
    assert_eq!(units.len(), texts.len() - 2);
    assert!(units.iter().all(|unit| unit.len() == 1));
    // Without its end nothing of it is run.
    let torn = bytes.len() - 40;
    let files = Files::new(None, &[&bytes[..torn]]);
    let (loaded, units) = files.load(true, 0);
    assert_eq!((loaded.unwrap().cut, units.len()), (torn as u64, 0));
}

#[test]
fn a_torn_end_is_cut_off_and_kept() {
    let good = commands(&["SELECT 0", "SET a 1", "MULTI", "SET b 2", "SET c 3", "EXEC"]);
    let ends: Vec<usize> = {
        let mut ends = vec![0, command("SELECT 0").len()];
        ends.push(ends[1] + command("SET a 1").len());
        ends.push(good.len());
        ends
    };
    for torn in 0..=good.len() {
        let files = Files::new(Some(b"REDIS END"), &[&good[..torn]]);
        let whole = *ends.iter().rfind(|end| **end <= torn).unwrap();
        let units = ends.iter().filter(|end| **end > 0 && **end <= torn).count();
        let (loaded, seen) = files.load(true, 0);
        let loaded = loaded.unwrap();
        assert_eq!((seen.len(), loaded.cut), (units, (torn - whole) as u64), "{torn}");
        assert_eq!(loaded.size, (9 + whole) as u64);
        assert_eq!(fs::read(files.last()).unwrap(), &good[..whole]);
        let tails = if torn == whole { vec![] } else { vec![good[whole..torn].to_vec()] };
        assert_eq!(files.tails(), tails);
        // Now it is whole.
        let (again, seen_again) = files.load(false, 0);
        assert_eq!((again.unwrap().cut, seen_again), (0, seen));
    }
}

#[test]
fn a_torn_end_may_be_refused() {
    let good = commands(&["SET a 1", "SET b 2"]);
    let torn = &good[..good.len() - 1];
    let files = Files::new(None, &[torn]);
    let error = files.load(false, 0).0.unwrap_err();
    let expected = "Unexpected end of file reading the append only file f.1.incr.aof. You can: ";
    assert!(error.starts_with(expected), "{error}");
    let place = "(whole up to offset 27; at offset 51: Expected to read 3 bytes, got 2 bytes)";
    assert!(error.ends_with(place), "{error}");
    assert_eq!(fs::read(files.last()).unwrap(), torn);

    // A file that was only begun does not count.
    assert_eq!(Files::new(None, &[torn, b"", b""]).load(true, 0).0.unwrap().cut, 26);
    let files = Files::new(None, &[torn, &good]);
    let error = files.load(true, 1000).0.unwrap_err();
    assert!(error.starts_with("Fatal error: the truncated file is not the last file: f.1.incr"));
    assert_eq!(files.load(true, 0).1, [["SET a 1"]]);
    assert!(files.tails().is_empty());
}

#[test]
fn a_corrupt_end_is_cut_off_only_if_it_is_short() {
    let good = commands(&["SET a 1"]);
    let bad = [good.as_slice(), &[0; 100]].concat();
    let files = Files::new(None, &[&bad]);
    let error = files.load(true, 99).0.unwrap_err();
    let expected = "Bad file format reading the append only file f.1.incr.aof: make a backup of \
                    your AOF file, then use ./redis-check-aof --fix <filename.manifest> (whole up \
                    to offset 27; at offset 27: Expected prefix '*', got: '\0')";
    assert_eq!(error, expected);
    assert_eq!(fs::read(files.last()).unwrap(), bad);
    assert_eq!(files.load(false, 100).0.unwrap().cut, 100);
    assert_eq!(
        (fs::read(files.last()).unwrap(), files.tails()),
        (good.clone(), vec![vec![0; 100]])
    );
    // A torn end within the limit is no worse.
    let torn = Files::new(None, &[&bad[..20]]);
    assert_eq!(torn.load(false, 20).0.unwrap().size, 0);
    let middle = Files::new(None, &[&bad, &good]);
    assert!(middle.load(true, 1000).0.unwrap_err().starts_with("Bad file format"));
}

#[test]
fn what_cannot_be_loaded_says_so() {
    let files = Files::new(None, &[&commands(&["SET a 1", "bla 1"])]);
    let error = files.load(true, 1000).0.unwrap_err();
    let expected = "Unknown command 'bla' reading the append only file f.1.incr.aof (at offset 27)";
    assert_eq!(error, expected);
    let error = Files::new(Some(b"REDIS..."), &[]).load(true, 1000).0.unwrap_err();
    let expected = "Error reading the RDB base file f.1.base.rdb, AOF loading aborted: it is short";
    assert_eq!(error, expected);
    fs::remove_file(files.last()).unwrap();
    let error = files.load(true, 1000).0.unwrap_err();
    let expected = "Unable to obtain the AOF file f.1.incr.aof length. stat: No such file or \
                    directory";
    assert_eq!(error, expected);
    for texts in [["EXEC", "PING"], ["MULTI", "MULTI"]] {
        let error = Files::new(None, &[&commands(&texts)]).load(true, 0).0.unwrap_err();
        assert!(error.starts_with("Bad file format"), "{error}");
    }
    assert_eq!(Files::new(None, &[]).load(true, 0).0.unwrap(), Loaded::default());
}

/// A log of a few units as the server writes it, and where its units end.
fn logs() -> impl Strategy<Value = (Vec<u8>, Vec<u64>)> {
    let command = (0..3usize, prop::collection::vec(any::<u8>(), 0..40));
    let unit = prop::collection::vec(command, 1..4);
    prop::collection::vec(unit, 0..12).prop_map(|units| {
        let (log, mut ends) = (WriteLog::default(), vec![0]);
        for commands in units {
            let mut unit = Unit::default();
            for (db, argument) in &commands {
                unit.push(*db, [&b"SET"[..], b"k", argument]);
            }
            ends.push(log.append(&unit));
        }
        let mut bytes = Vec::new();
        log.take(&mut bytes);
        (bytes, ends)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_prefix_of_a_log_loads_up_to_its_last_whole_unit(
        (bytes, ends) in logs(),
        at in any::<prop::sample::Index>(),
    ) {
        let torn = at.index(bytes.len() + 1);
        let mut seen = Seen::default();
        let (whole, result) = replay_log(Cursor::new(&bytes[..torn]), torn as u64, &mut seen);
        // Behind a SELECT of its own a torn unit leaves that: whole commands, but no unit of ours.
        let last = *ends.iter().rfind(|end| **end <= torn as u64).unwrap();
        let select = parse(&bytes[last as usize..whole as usize]).expect("whole commands");
        prop_assert!(whole >= last && select.is_empty());
        match result {
            Ok(()) => prop_assert_eq!(whole, torn as u64),
            Err(Stop::Problem(problem)) => prop_assert!(problem.is_truncation(), "{}", problem),
            Err(Stop::Io(error)) => return Err(TestCaseError::fail(error.to_string())),
        }
    }

    #[test]
    fn any_bytes_end_with_units_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut seen = Seen::default();
        let (whole, _) = replay_log(Cursor::new(&bytes), bytes.len() as u64, &mut seen);
        prop_assert!(whole <= bytes.len() as u64);
    }
}
