//! The writer on disks that fail, are slow, and forget.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::{Syncer, Writer};
use crate::persist::aof::policy::{Options, Policy};
use crate::persist::aof::storage::{Storage, open};
use crate::persist::log::{WriteLog, parse};
use crate::persist::unit::Unit;

mod power_cut;

const NO_SPACE: i32 = 28;
const IO_ERROR: i32 = 5;

/// What becomes of the next append.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// Only so many bytes are taken.
    Short(usize),
    Error(i32),
}

#[derive(Default)]
pub(super) struct Platter {
    pub(super) bytes: Vec<u8>,
    /// How much of `bytes` is there after a power cut.
    pub(super) synced: usize,
    pub(super) syncs: usize,
    pub(super) faults: VecDeque<Fault>,
    pub(super) sync_fails: bool,
    pub(super) truncate_fails: bool,
    sync_blocks: bool,
    /// Syncs that began.
    arrived: usize,
}

/// A file in memory.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) platter: Mutex<Platter>,
    changed: Condvar,
}

impl Storage for Disk {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut platter = self.platter.lock();
        let count = match platter.faults.pop_front() {
            None => bytes.len(),
            Some(Fault::Short(count)) => count.min(bytes.len()),
            Some(Fault::Error(code)) => return Err(io::Error::from_raw_os_error(code)),
        };
        platter.bytes.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut platter = self.platter.lock();
        if platter.truncate_fails {
            return Err(io::Error::from_raw_os_error(IO_ERROR));
        }
        platter.bytes.truncate(len as usize);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut platter = self.platter.lock();
        platter.arrived += 1;
        self.changed.notify_all();
        let upto = platter.bytes.len();
        while platter.sync_blocks {
            self.changed.wait(&mut platter);
        }
        if platter.sync_fails {
            return Err(io::Error::from_raw_os_error(IO_ERROR));
        }
        platter.syncs += 1;
        platter.synced = platter.synced.max(upto);
        Ok(())
    }
}

impl Disk {
    fn block(&self, blocks: bool) {
        self.platter.lock().sync_blocks = blocks;
        self.changed.notify_all();
    }

    /// Waits until `count` syncs have begun.
    fn wait_for_sync(&self, count: usize) {
        let mut platter = self.platter.lock();
        while platter.arrived < count {
            let timeout = self.changed.wait_for(&mut platter, Duration::from_secs(20));
            assert!(!timeout.timed_out(), "no sync began");
        }
    }

    fn len(&self) -> u64 {
        self.platter.lock().bytes.len() as u64
    }
}

pub(super) struct Bench {
    pub(super) log: Arc<WriteLog>,
    pub(super) disk: Arc<Disk>,
    pub(super) writer: Arc<Writer>,
}

impl Bench {
    pub(super) fn new(policy: Policy) -> Self {
        let forever = Duration::from_secs(3600);
        Self::with(Options {
            policy,
            postpone_max: forever,
            period: forever,
            exit: || std::panic::resume_unwind(Box::new("exit")),
        })
    }

    fn with(options: Options) -> Self {
        let (log, disk) = (Arc::new(WriteLog::default()), Arc::new(Disk::default()));
        let file: Arc<dyn Storage> = Arc::clone(&disk) as _;
        let writer = Arc::new(Writer::new(Arc::clone(&log), file, 0, options));
        Self { log, disk, writer }
    }

    pub(super) fn append(&self, text: &str) -> u64 {
        let mut unit = Unit::default();
        unit.push(0, text.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        self.log.append(&unit)
    }

    fn tick(&self) {
        self.writer.tick(self.writer.inner.lock());
    }

    fn exits(&self, run: impl FnOnce()) -> bool {
        catch_unwind(AssertUnwindSafe(run)).is_err()
    }
}

fn words(disk: &Disk) -> String {
    let logged = parse(&disk.platter.lock().bytes).expect("a whole log");
    let text = |argv: Vec<Vec<u8>>| String::from_utf8(argv.join(&b' ')).unwrap();
    logged.into_iter().map(|(_, argv)| text(argv)).collect::<Vec<_>>().join(", ")
}

#[test]
fn everysec_writes_at_commit_and_syncs_at_leisure() {
    let bench = Bench::new(Policy::EverySecond);
    let end = bench.append("SET a 1");
    assert_eq!(bench.writer.figures().waiting, end);
    bench.writer.commit(end);
    assert_eq!((bench.writer.written(), bench.disk.len()), (end, end));
    assert_eq!((bench.writer.durable(), bench.disk.platter.lock().syncs), (0, 0));
    bench.tick();
    bench.tick();
    assert_eq!((bench.writer.durable(), bench.disk.platter.lock().syncs), (end, 1));
    // What nobody commits, as the removal of expired keys, is written all the same.
    let end = bench.append("DEL a");
    bench.tick();
    assert_eq!((bench.writer.written(), bench.writer.durable()), (end, end));
    let figures = bench.writer.figures();
    assert_eq!((figures.current_size, figures.waiting, figures.is_ok), (end, 0, true));
    assert_eq!(words(&bench.disk), "SET a 1, DEL a");
}

#[test]
fn no_never_syncs_but_at_the_end() {
    let bench = Bench::new(Policy::No);
    bench.writer.commit(bench.append("SET a 1"));
    bench.tick();
    assert_eq!(bench.disk.platter.lock().syncs, 0);
    let end = bench.append("SET a 2");
    bench.writer.finish().unwrap();
    assert_eq!((bench.writer.durable(), bench.disk.platter.lock().synced as u64), (end, end));
}

/// Who still knows a writer whose log goes on in another one's file takes nothing from that one.
#[test]
fn a_closed_writer_leaves_the_log_to_the_next() {
    for policy in [Policy::Always, Policy::EverySecond, Policy::No] {
        let bench = Bench::new(policy);
        bench.append("SET a 1");
        bench.writer.close().unwrap();
        let next = Arc::new(Disk::default());
        let file: Arc<dyn Storage> = Arc::clone(&next) as _;
        let options = Options { policy, ..Options::default() };
        let writer = Writer::new(Arc::clone(&bench.log), file, 0, options);
        let end = bench.append("SET a 2");
        bench.writer.commit(end);
        bench.writer.flush();
        bench.tick();
        bench.writer.close().unwrap();
        writer.finish().unwrap();
        assert_eq!(words(&bench.disk), "SET a 1", "{policy:?}");
        assert_eq!(words(&next), "SET a 2", "{policy:?}");
    }
}

#[test]
fn always_syncs_before_commit_returns() {
    let bench = Bench::new(Policy::Always);
    let end = bench.append("SET a 1");
    bench.writer.commit(end);
    assert_eq!(bench.disk.platter.lock().synced as u64, end);
    bench.writer.commit(end);
    assert_eq!(bench.disk.platter.lock().syncs, 1);
}

#[test]
fn under_always_one_sync_serves_all_who_wait() {
    let bench = Bench::new(Policy::Always);
    bench.disk.block(true);
    thread::scope(|scope| {
        let write = |text: &'static str| {
            let bench = &bench;
            scope.spawn(move || {
                let end = bench.append(text);
                bench.writer.commit(end);
                assert!(bench.disk.platter.lock().synced as u64 >= end);
            });
        };
        write("SET first 1");
        bench.disk.wait_for_sync(1);
        let first = bench.log.end();
        for text in ["SET b 1", "SET c 1", "SET d 1"] {
            write(text);
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while bench.log.end() < first + 3 * 27 {
            assert!(Instant::now() < deadline, "{} bytes", bench.log.end());
            thread::yield_now();
        }
        bench.disk.block(false);
    });
    assert_eq!(bench.disk.platter.lock().syncs, 2);
}

#[test]
fn a_full_disk_leaves_whole_units_and_keeps_the_rest() {
    let bench = Bench::new(Policy::EverySecond);
    let first = bench.append("SET a 1");
    bench.writer.commit(first);
    bench.disk.platter.lock().faults.extend([Fault::Short(7), Fault::Error(NO_SPACE)]);
    let second = bench.append("SET b 2");
    bench.writer.commit(second);
    assert_eq!(bench.disk.len(), first, "the half command is cut off");
    assert!(bench.writer.is_failing() && !bench.writer.figures().is_ok);
    assert_eq!(bench.writer.last_error().unwrap(), "No space left on device");
    // The next attempt is a second later.
    let third = bench.append("SET c 3");
    bench.writer.commit(third);
    bench.tick();
    assert_eq!(bench.disk.len(), first);
    assert_eq!(bench.writer.figures().waiting, third - first);
    bench.writer.finish().unwrap();
    assert!(!bench.writer.is_failing() && bench.writer.last_error().is_none());
    assert_eq!(words(&bench.disk), "SET a 1, SET b 2, SET c 3");
}

#[test]
fn attempts_are_repeated_when_it_is_time() {
    let options = Options { period: Duration::ZERO, ..Options::default() };
    let bench = Bench::with(options);
    bench.disk.platter.lock().faults.extend([Fault::Error(IO_ERROR), Fault::Error(IO_ERROR)]);
    bench.writer.commit(bench.append("SET a 1"));
    assert_eq!(bench.writer.last_error().unwrap(), "Input/output error");
    bench.tick();
    assert!(bench.writer.is_failing());
    bench.tick();
    assert!(!bench.writer.is_failing());
    assert_eq!(words(&bench.disk), "SET a 1");
}

#[test]
fn what_cannot_be_cut_off_is_completed() {
    let bench = Bench::new(Policy::No);
    {
        let mut platter = bench.disk.platter.lock();
        platter.truncate_fails = true;
        platter.faults.extend([Fault::Short(7), Fault::Error(NO_SPACE)]);
    }
    bench.writer.commit(bench.append("SET a 1"));
    assert_eq!((bench.disk.len(), bench.writer.written()), (7, 7));
    bench.append("SET b 2");
    bench.writer.finish().unwrap();
    assert_eq!(words(&bench.disk), "SET a 1, SET b 2");
}

#[test]
fn always_ends_the_process_when_it_cannot_be_kept() {
    let bench = Bench::new(Policy::Always);
    bench.disk.platter.lock().faults.extend([Fault::Short(7), Fault::Error(NO_SPACE)]);
    assert!(bench.exits(|| bench.writer.commit(bench.append("SET a 1"))));
    assert_eq!(bench.disk.len(), 0);

    let bench = Bench::new(Policy::Always);
    bench.disk.platter.lock().sync_fails = true;
    assert!(bench.exits(|| bench.writer.commit(bench.append("SET a 1"))));
    assert_eq!(bench.writer.durable(), 0);
}

#[test]
fn a_sync_that_fails_in_the_background_is_shown_until_one_succeeds() {
    let bench = Bench::new(Policy::EverySecond);
    bench.disk.platter.lock().sync_fails = true;
    bench.writer.commit(bench.append("SET a 1"));
    assert!(!bench.writer.is_failing());
    bench.tick();
    assert!(bench.writer.is_failing() && bench.writer.durable() == 0);
    assert_eq!(bench.writer.last_error().unwrap(), "Input/output error");
    bench.disk.platter.lock().sync_fails = false;
    bench.tick();
    assert!(!bench.writer.is_failing() && bench.writer.last_error().is_none());
}

#[test]
fn writes_are_put_off_while_a_sync_runs() {
    let bench = Bench::new(Policy::EverySecond);
    bench.writer.commit(bench.append("SET a 1"));
    bench.disk.block(true);
    thread::scope(|scope| {
        scope.spawn(|| bench.tick());
        bench.disk.wait_for_sync(1);
        let (before, end) = (bench.disk.len(), bench.append("SET b 2"));
        bench.writer.commit(end);
        assert_eq!((bench.disk.len(), bench.writer.figures().pending_syncs), (before, 1));
        bench.disk.block(false);
    });
    assert_eq!(words(&bench.disk), "SET a 1, SET b 2", "written when the sync was over");
    assert_eq!(bench.writer.figures().delayed_syncs, 0);
}

#[test]
fn writes_are_not_put_off_for_long() {
    let options = Options { postpone_max: Duration::ZERO, ..Options::default() };
    let bench = Bench::with(options);
    bench.writer.commit(bench.append("SET a 1"));
    bench.disk.block(true);
    thread::scope(|scope| {
        scope.spawn(|| bench.tick());
        bench.disk.wait_for_sync(1);
        let end = bench.append("SET b 2");
        bench.writer.commit(end);
        assert_eq!((bench.disk.len(), bench.writer.figures().delayed_syncs), (end, 1));
        bench.disk.block(false);
    });
}

#[test]
fn the_policy_changes_at_run_time() {
    let bench = Bench::new(Policy::EverySecond);
    let end = bench.append("SET a 1");
    bench.writer.commit(end);
    bench.writer.set_policy(Policy::Always);
    bench.writer.commit(end);
    assert_eq!(bench.disk.platter.lock().synced as u64, end);
    bench.writer.suspend_sync(true);
    bench.writer.commit(bench.append("SET b 2"));
    assert_eq!(bench.disk.platter.lock().syncs, 1);
    bench.writer.suspend_sync(false);
    bench.writer.commit(bench.log.end());
    assert_eq!(bench.writer.durable(), bench.log.end());
    assert_eq!(Policy::parse("everysec"), Some(Policy::EverySecond));
    assert_eq!(Policy::parse("often"), None);
}

#[test]
fn the_next_file_begins_at_a_division_of_the_log() {
    for policy in [Policy::Always, Policy::EverySecond, Policy::No] {
        let bench = Bench::new(policy);
        let next = Arc::new(Disk::default());
        bench.writer.commit(bench.append("SET a 1"));
        bench.writer.prepare_next(Arc::clone(&next) as _).unwrap();
        bench.writer.commit(bench.append("SET b 2"));
        bench.append("SET c 3");
        let at = bench.log.divide();
        let end = bench.append("SET d 4");
        bench.writer.commit(end);
        assert_eq!(words(&bench.disk), "SET a 1, SET b 2, SET c 3");
        assert_eq!(bench.disk.platter.lock().synced as u64, at, "before anything follows it");
        let synced = if policy == Policy::Always { end - at } else { 0 };
        assert_eq!((next.len(), next.platter.lock().synced as u64), (end - at, synced));
        assert_eq!(words(&next), "SET d 4");
        bench.writer.rewritten(1000);
        let figures = bench.writer.figures();
        assert_eq!((figures.current_size, figures.base_size), (1000 + end - at, 1000 + end - at));
        // A division that is for something else changes nothing.
        bench.log.divide();
        bench.writer.commit(bench.append("SET e 5"));
        bench.writer.finish().unwrap();
        assert_eq!(words(&next), "SET d 4, SET e 5");
    }
}

#[test]
fn a_file_whose_division_never_came_is_replaced() {
    let bench = Bench::new(Policy::EverySecond);
    let files: Vec<Arc<Disk>> = (0..3).map(|_| Arc::default()).collect();
    bench.writer.prepare_next(Arc::clone(&files[0]) as _).unwrap();
    bench.writer.prepare_next(Arc::clone(&files[1]) as _).unwrap();
    bench.append("SET a 1");
    bench.log.divide();
    bench.append("SET b 2");
    // This one is for another division: the first was not reached yet.
    bench.writer.prepare_next(Arc::clone(&files[2]) as _).unwrap();
    bench.log.divide();
    bench.append("SET c 3");
    bench.writer.finish().unwrap();
    let written: Vec<String> = files.iter().map(|disk| words(disk)).collect();
    assert_eq!(
        (words(&bench.disk), written.join("; ")),
        ("SET a 1".into(), "; SET b 2; SET c 3".into())
    );
}

#[test]
fn the_next_file_waits_for_the_one_before_whatever_happens() {
    let options = Options { postpone_max: Duration::ZERO, ..Options::default() };
    let bench = Bench::with(Options { period: Duration::ZERO, ..options });
    let next = Arc::new(Disk::default());
    bench.writer.prepare_next(Arc::clone(&next) as _).unwrap();
    bench.append("SET a 1");
    bench.log.divide();
    bench.disk.platter.lock().sync_fails = true;
    bench.writer.commit(bench.append("SET b 2"));
    bench.tick();
    assert!(next.len() == 0 && bench.writer.is_failing());
    bench.disk.platter.lock().sync_fails = false;
    bench.tick();
    assert_eq!((words(&bench.disk), words(&next)), ("SET a 1".into(), "SET b 2".into()));
    assert!(!bench.writer.is_failing());
}

#[test]
fn a_writer_begins_where_the_log_ends() {
    let bench = Bench::new(Policy::EverySecond);
    bench.disk.platter.lock().faults.push_back(Fault::Error(NO_SPACE));
    bench.writer.commit(bench.append("SET a 1"));
    bench.append("SET b 2");
    bench.log.divide();
    let disk = Arc::new(Disk::default());
    let (log, file) = (Arc::clone(&bench.log), Arc::clone(&disk));
    let writer = Writer::new(log, file, 0, Options::default());
    writer.commit(bench.append("SET c 3"));
    assert_eq!((words(&disk), writer.written()), ("SET c 3".into(), bench.log.end()));
}

#[test]
fn the_thread_syncs_real_files_and_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    std::fs::write(&path, "").unwrap();
    let (file, len) = open(&path).unwrap();
    let log = Arc::new(WriteLog::default());
    let options = Options { period: Duration::from_millis(5), ..Options::default() };
    let writer = Arc::new(Writer::new(Arc::clone(&log), Arc::new(file), len, options));
    let syncer = Syncer::start(&writer).unwrap();
    let mut unit = Unit::default();
    unit.push(0, [&b"PING"[..]]);
    let end = log.append(&unit);
    writer.commit(end);
    let deadline = Instant::now() + Duration::from_secs(20);
    while writer.durable() < end {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    drop(syncer);
    assert_eq!(std::fs::read(&path).unwrap().len() as u64, end);
    assert_eq!(open(&path).unwrap().1, end);
}

#[test]
fn threads_commit_beside_each_other() {
    for policy in [Policy::Always, Policy::EverySecond] {
        let options = Options { policy, period: Duration::from_millis(1), ..Options::default() };
        let bench = Bench::with(options);
        let syncer = Syncer::start(&bench.writer).unwrap();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for number in 0..500 {
                        let end = bench.append(&format!("SET key {number}"));
                        bench.writer.commit(end);
                        let platter = bench.disk.platter.lock();
                        assert!(policy != Policy::Always || platter.synced as u64 >= end);
                    }
                });
            }
        });
        drop(syncer);
        bench.writer.finish().unwrap();
        let bytes = bench.disk.platter.lock().bytes.clone();
        assert_eq!(parse(&bytes).unwrap().len(), 1500);
    }
}
