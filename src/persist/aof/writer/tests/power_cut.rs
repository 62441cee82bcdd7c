//! Power cuts at any moment: what was promised survives, and what survives loads.
//!
//! A cut leaves of a file what was synced, and of the rest either a shorter file or one whose end is
//! zeros. (Zeros in the middle of a value would load: the format has no checksums.)

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::persist::aof::directory::Directory;
use crate::persist::aof::load::{LoadOptions, Replay, load};
use crate::persist::aof::manifest::Manifest;
use crate::persist::aof::reader::Commands;

#[derive(Clone, Debug)]
enum Step {
    /// A unit of so many commands, on a database.
    Append(usize, usize),
    Commit,
    /// What the thread does once a second.
    Tick,
    /// The next appends of the file go wrong.
    Faults(Vec<Fault>),
    SyncFails(bool),
    TruncateFails(bool),
    /// The log is divided, and goes on in another file.
    Divide,
    /// A file is prepared for a division that does not come.
    Prepare,
    Policy(Policy),
}

/// What a cut leaves of the bytes of a file that were not synced.
#[derive(Clone, Copy, Debug)]
struct Loss {
    kept: prop::sample::Index,
    has_zeros: bool,
}

fn faults() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        (0..60usize).prop_map(Fault::Short),
        prop_oneof![Just(NO_SPACE), Just(IO_ERROR)].prop_map(Fault::Error),
    ];
    prop::collection::vec(fault, 1..3).prop_map(Step::Faults)
}

fn steps(policies: &'static [Policy]) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1..4usize, 0..3usize).prop_map(|(commands, db)| Step::Append(commands, db)),
        6 => Just(Step::Commit),
        4 => Just(Step::Tick),
        1 => faults(),
        1 => any::<bool>().prop_map(Step::SyncFails),
        1 => any::<bool>().prop_map(Step::TruncateFails),
        2 => Just(Step::Divide),
        1 => Just(Step::Prepare),
        1 => prop::sample::select(policies).prop_map(Step::Policy),
    ];
    prop::collection::vec(step, 0..60)
}

fn losses() -> impl Strategy<Value = Vec<Loss>> {
    let loss = (any::<prop::sample::Index>(), any::<bool>());
    prop::collection::vec(loss.prop_map(|(kept, has_zeros)| Loss { kept, has_zeros }), 64)
}

/// A writer under way, with everything that was promised.
struct Run {
    bench: Bench,
    policy: Policy,
    disks: Vec<Arc<Disk>>,
    /// What was appended, and where each unit ends.
    units: Vec<(Vec<String>, u64)>,
    /// Up to where replies could have gone out under `always`.
    promised: u64,
    has_exited: bool,
}

impl Run {
    fn new(policy: Policy) -> Self {
        let mut bench = Bench::new(policy);
        // Errors are met again at every opportunity.
        let options = Options { period: Duration::ZERO, ..bench.writer.options };
        let file: Arc<dyn Storage> = Arc::clone(&bench.disk) as _;
        bench.writer = Arc::new(Writer::new(Arc::clone(&bench.log), file, 0, options));
        let disks = vec![Arc::clone(&bench.disk)];
        Self { bench, policy, disks, units: Vec::new(), promised: 0, has_exited: false }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append(commands, db) => self.append(*commands, *db),
            Step::Commit => self.commit(),
            Step::Tick => self.bench.tick(),
            Step::Faults(faults) => {
                self.each_disk(|platter| platter.faults = faults.iter().copied().collect());
            }
            Step::SyncFails(fails) => self.each_disk(|platter| platter.sync_fails = *fails),
            Step::TruncateFails(fails) => self.each_disk(|platter| platter.truncate_fails = *fails),
            Step::Divide => {
                self.prepare();
                self.bench.log.divide();
            }
            Step::Prepare => self.prepare(),
            Step::Policy(policy) => {
                self.policy = *policy;
                self.bench.writer.set_policy(*policy);
            }
        }
    }

    fn append(&mut self, commands: usize, db: usize) {
        let mut unit = Unit::default();
        let mut texts = Vec::new();
        for at in 0..commands {
            let number = format!("{}:{at}", self.units.len());
            unit.push(db, [&b"SET"[..], b"key", number.as_bytes()]);
            texts.push(format!("SET key {number}"));
        }
        self.units.push((texts, self.bench.log.append(&unit)));
    }

    fn commit(&mut self) {
        let end = self.bench.log.end();
        self.bench.writer.commit(end);
        if self.policy == Policy::Always {
            self.promised = end;
        }
    }

    fn prepare(&mut self) {
        let disk = Arc::new(Disk::default());
        // Where the current file cannot be synced, the log goes on in it.
        if self.bench.writer.prepare_next(Arc::clone(&disk) as _).is_ok() {
            self.disks.push(disk);
        }
    }

    fn each_disk(&self, change: impl Fn(&mut Platter)) {
        self.disks.iter().for_each(|disk| change(&mut disk.platter.lock()));
    }

    /// Runs until the end, or until the process ended itself.
    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            if catch_unwind(AssertUnwindSafe(|| self.step(step))).is_err() {
                self.has_exited = true;
                return;
            }
        }
    }

    /// What a power cut leaves.
    fn survivors(&self, losses: &[Loss]) -> Vec<Vec<u8>> {
        let survive = |(disk, loss): (&Arc<Disk>, &Loss)| {
            let platter = disk.platter.lock();
            let synced = platter.synced.min(platter.bytes.len());
            let kept = synced + loss.kept.index(platter.bytes.len() - synced + 1);
            let mut bytes = platter.bytes[..kept].to_vec();
            if loss.has_zeros {
                bytes.resize(platter.bytes.len(), 0);
            }
            bytes
        };
        self.disks.iter().zip(losses).map(survive).collect()
    }
}

#[derive(Default)]
struct Seen(Vec<Vec<String>>);

impl Replay for Seen {
    fn snapshot(&mut self, _: &Path) -> Result<u64, String> {
        Err("there is none".to_owned())
    }

    fn run(&mut self, commands: Commands<'_>) -> Result<(), String> {
        let texts = commands.iter().filter(|argv| &argv[0] != b"SELECT").map(|argv| {
            let words: Vec<_> = argv.iter().map(String::from_utf8_lossy).collect();
            words.join(" ")
        });
        let texts: Vec<String> = texts.collect();
        if !texts.is_empty() {
            self.0.push(texts);
        }
        Ok(())
    }
}

/// Loads what survived; the units that were run.
fn reload(files: &[Vec<u8>]) -> Result<Vec<Vec<String>>, String> {
    let root = tempfile::tempdir().map_err(|error| error.to_string())?;
    let directory = Directory::new(root.path(), "dir", "f");
    directory.create().map_err(|error| error.to_string())?;
    let mut manifest = Manifest::default();
    for bytes in files {
        let path = directory.path(&manifest.begin_increment("f"));
        fs::write(path, bytes).map_err(|error| error.to_string())?;
    }
    let options = LoadOptions { truncated: true, corrupt_tail_max: u64::MAX };
    let mut seen = Seen::default();
    load(&directory, &manifest, options, &mut seen).map_err(|error| error.to_string())?;
    Ok(seen.0)
}

fn check(run: &Run, losses: &[Loss]) -> Result<(), TestCaseError> {
    let survived = reload(&run.survivors(losses)).map_err(TestCaseError::fail)?;
    let appended: Vec<&Vec<String>> = run.units.iter().map(|(texts, _)| texts).collect();
    let prefix = &appended[..survived.len().min(appended.len())];
    prop_assert!(survived.iter().eq(prefix.iter().copied()), "not what was appended");
    let safe = run.promised.max(run.bench.writer.durable());
    let promised = run.units.iter().filter(|(_, end)| *end <= safe).count();
    prop_assert!(survived.len() >= promised, "{} of {promised} units", survived.len());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_always_promised_survives(
        steps in steps(&[Policy::Always]),
        losses in losses(),
    ) {
        let mut run = Run::new(Policy::Always);
        run.run(&steps);
        check(&run, &losses)?;
    }

    #[test]
    fn what_survives_is_a_prefix_of_the_log(
        steps in steps(&[Policy::Always, Policy::EverySecond, Policy::No]),
        losses in losses(),
    ) {
        let mut run = Run::new(Policy::EverySecond);
        run.run(&steps);
        check(&run, &losses)?;
        // Without a cut everything is there that is in the files.
        if !run.has_exited && steps.iter().all(|step| !matches!(step, Step::TruncateFails(_))) {
            let files: Vec<_> =
                run.disks.iter().map(|disk| disk.platter.lock().bytes.clone()).collect();
            let written = run.bench.writer.written();
            let count = run.units.iter().filter(|(_, end)| *end <= written).count();
            prop_assert_eq!(reload(&files).map_err(TestCaseError::fail)?.len(), count);
        }
    }
}
