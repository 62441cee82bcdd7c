//! The demonstration: producers, consumers, and holders of a lock on servers that die all the time.
//!
//! Every few hundred milliseconds one or two servers of five are killed, or one killed and one
//! stopped, and a consumer in the middle of its work; what was killed comes back empty. The next ones
//! go when all servers are members again. No more than a minority is away at any time, so nothing may
//! be lost, doubled, or held by two.

use std::fmt::Display;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::cluster::Cluster;
use super::lock::{self, Lock};
use super::queue::LockingQueue;
use super::servers::{NOTHING, Servers, Settings};
use super::verdict::{Event, Items, Kind, overlaps};
use super::workers::{self, QUEUE};
use super::{members, pause, values};

const PRODUCERS: usize = 2;
const CONSUMERS: usize = 3;
const HOLDERS: usize = 3;
const READERS: usize = 2;
const VALUE: &str = "counter";
/// For what ends by itself on any machine, but not if something was lost.
const PATIENCE: Duration = Duration::from_secs(60);
const DOWN_MS: std::ops::Range<u64> = 100..400;

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) program: PathBuf,
    pub(crate) servers: usize,
    /// For each producer.
    pub(crate) items: usize,
    pub(crate) faults: usize,
    pub(crate) settings: Settings,
}

/// One line that says what has happened, and whether that is good.
pub(crate) struct Verdict {
    pub(crate) line: String,
    pub(crate) is_good: bool,
}

pub(crate) fn run(plan: &Plan) -> Result<Verdict> {
    let started = Instant::now();
    let mut cluster = Cluster::start(&plan.program, plan.servers)?;
    let urls = cluster.urls();
    let mut servers = Servers::new(&urls, plan.settings)?;
    insist(|| members::create(&mut servers))?;
    keeps_order(&mut servers)?;
    refuses_the_late(&mut servers)?;
    let stop = AtomicBool::new(false);
    let value = Value::default();
    let open = || Servers::new(&urls, plan.settings);
    let (seen, locks) = thread::scope(|scope| {
        let holders: Vec<_> = (0..HOLDERS).map(|_| scope.spawn(|| hold(open()?, &stop))).collect();
        let mut others = vec![scope.spawn(|| value.write(open()?, &stop))];
        others.extend((0..READERS).map(|_| scope.spawn(|| value.read(open()?, &stop))));
        let seen = exercise(plan, &mut cluster, &mut servers);
        stop.store(true, Ordering::Relaxed);
        let mut locks = Locks::default();
        for holder in holders {
            locks.intervals.extend(holder.join().expect("a holder does not panic")?);
        }
        for other in others {
            other.join().expect("nor does one who reads or writes")?;
        }
        anyhow::Ok((seen?, locks))
    })?;
    let queue = LockingQueue::new(QUEUE, plan.settings.ttl_max);
    let done = insist(|| queue.contents(&mut servers))?.done;
    let items = Items::count(&seen.events, &done);
    Ok(judge(plan, &items, locks, &value, &seen, started.elapsed()))
}

fn judge(
    plan: &Plan,
    items: &Items,
    mut locks: Locks,
    value: &Value,
    seen: &Seen,
    took: Duration,
) -> Verdict {
    let (rounds, overlaps) = (locks.intervals.len(), overlaps(&mut locks.intervals));
    let [sets, gets, back] = [&value.sets, &value.gets, &value.back].map(|n| n.load(SEQ));
    let is_complete = items.sent == PRODUCERS * plan.items && rounds > 0 && sets > 0 && gets > 0;
    let is_good = is_complete && items.is_good() && overlaps == 0 && back == 0;
    let line = format!(
        "majority: {}. {items}; lock: {rounds} rounds, {overlaps} overlaps; \
         value: {sets} sets, {gets} gets, {back} backward; {} servers and {} consumers killed, \
         {} stopped, {:.1} s",
        if is_good { "kept" } else { "BROKEN" },
        seen.killed,
        seen.consumers_killed,
        seen.stopped,
        took.as_secs_f64(),
    );
    Verdict { line, is_good }
}

/// Without faults one consumer gets items in their order, and what is pruned is gone.
fn keeps_order(servers: &mut Servers) -> Result<()> {
    let queue = LockingQueue::new("ordered", servers.settings().ttl_max);
    let mut sent: Vec<String> = (0..20).map(|number| format!("{number}")).collect();
    fastrand::shuffle(&mut sent);
    for id in &sent {
        insist(|| queue.push(servers, id, b""))?;
        insist(|| queue.push(servers, id, b"once more, as after an error"))?;
    }
    let mut got = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while got.len() < sent.len() && Instant::now() < deadline {
        // On a busy machine the lock may end first; then the item comes again.
        let Ok(Some(delivery)) = queue.take(servers) else { continue };
        ensure!(delivery.payload.is_empty(), "the payload of the first push stays");
        let is_done = queue.done(servers, &delivery).is_ok();
        if is_done || insist(|| queue.contents(servers))?.done.contains(&delivery.id) {
            got.push(delivery.id.clone());
        }
        queue.release(servers, delivery);
    }
    ensure!(got == sent, "pushed {sent:?}, got {got:?}");
    ensure!(insist(|| queue.contents(servers))?.done.len() == sent.len(), "tombstones");
    insist(|| queue.prune(servers, Duration::ZERO))?;
    ensure!(insist(|| queue.contents(servers))?.done.is_empty(), "no tombstones");
    Ok(())
}

/// A consumer whose lock has ended is refused for good when another one has done its item, and leaves
/// nothing. The lock ends while the consumer is paused, or before its time, as by a clock that jumps.
fn refuses_the_late(servers: &mut Servers) -> Result<()> {
    let queue = LockingQueue::new("late", servers.settings().ttl_max);
    for id in ["paused", "robbed"] {
        let key = lock::key_of(&format!("late:{id}"));
        insist(|| queue.push(servers, id, b""))?;
        let mut late = insist(|| queue.take(servers).ok().flatten().ok_or("no item"))?;
        if id == "paused" {
            pause(servers.settings().ttl_max);
        } else {
            servers.eval("return redis.call('DEL', KEYS[1])", &[&key], NOTHING);
        }
        insist(|| {
            if let Ok(Some(next)) = queue.take(servers) {
                // It is looked up below.
                let _ = queue.done(servers, &next);
                queue.release(servers, next);
            }
            let found = queue.contents(servers).map_err(|_| "no majority")?;
            if found.done.contains(id) { Ok(()) } else { Err("an item is not done") }
        })?;
        for _ in 0..2 {
            ensure!(late.extend(servers).is_err(), "{id}: a lock is revived");
            ensure!(queue.done(servers, &late).is_err(), "{id}: an item is done twice");
        }
        ensure!(!late.is_valid(), "{id}: a lock that could not be extended");
        let found = servers.eval("return redis.call('EXISTS', KEYS[1])", &[&key], NOTHING);
        ensure!(found.agreed().is_err(), "{id}: a lock that nobody has");
    }
    Ok(())
}

/// Tries again what can be tried again, since a busy machine may be slower than any patience.
fn insist<T, E: Display>(mut call: impl FnMut() -> Result<T, E>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match call() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > deadline => bail!("{error}"),
            Err(_) => pause(Duration::from_millis(20)),
        }
    }
}

#[derive(Default)]
struct Locks {
    /// From after it was acquired to before it was released, or its end.
    intervals: Vec<(Instant, Instant)>,
}

/// Holds the lock again and again: mostly for a moment, sometimes for nearly its whole time,
/// sometimes prolonged, sometimes without releasing it.
fn hold(mut servers: Servers, stop: &AtomicBool) -> Result<Vec<(Instant, Instant)>> {
    let ttl = servers.settings().ttl_max;
    let lock = Lock::new("shared", ttl);
    let mut intervals = Vec::new();
    while !stop.load(SEQ) {
        let Some(mut held) = lock.acquire(&mut servers, ttl) else { continue };
        let begin = Instant::now();
        match fastrand::u8(..20) {
            0 => pause(ttl * 9 / 10),
            1 => {
                pause(ttl / 2);
                // When it fails, the lock has ended.
                let _ = held.extend(&mut servers);
                pause(ttl * 3 / 4);
            }
            _ => pause(Duration::from_millis(fastrand::u64(1..15))),
        }
        let end = Instant::now().min(held.valid_until());
        if begin < end {
            intervals.push((begin, end));
        }
        if fastrand::u8(..20) > 0 {
            held.release(&mut servers);
        }
    }
    Ok(intervals)
}

/// A number that only grows, set by one and read by many.
#[derive(Default)]
struct Value {
    /// What was set, or returned to somebody: everybody later has to get as much.
    least: AtomicU64,
    sets: AtomicU64,
    gets: AtomicU64,
    back: AtomicU64,
}

impl Value {
    fn write(&self, mut servers: Servers, stop: &AtomicBool) -> Result<()> {
        while !stop.load(SEQ) {
            let number = self.sets.load(SEQ) + 1;
            if values::set(&mut servers, VALUE, number.to_string().as_bytes()).is_ok() {
                self.least.fetch_max(number, SEQ);
                self.sets.store(number, SEQ);
            }
            pause(Duration::from_millis(5));
        }
        Ok(())
    }

    fn read(&self, mut servers: Servers, stop: &AtomicBool) -> Result<()> {
        while !stop.load(SEQ) {
            let least = self.least.load(SEQ);
            if let Ok(found) = values::get(&mut servers, VALUE) {
                let found = String::from_utf8(found.unwrap_or_else(|| b"0".to_vec()))?.parse()?;
                self.gets.fetch_add(1, SEQ);
                self.back.fetch_add(u64::from(found < least), SEQ);
                self.least.fetch_max(found, SEQ);
            }
            pause(Duration::from_millis(5));
        }
        Ok(())
    }
}

const SEQ: Ordering = Ordering::SeqCst;

#[derive(Default)]
struct Seen {
    events: Vec<Event>,
    killed: usize,
    stopped: usize,
    consumers_killed: usize,
}

/// Runs producers and consumers through all faults, until everything that was sent is done.
fn exercise(plan: &Plan, cluster: &mut Cluster, servers: &mut Servers) -> Result<Seen> {
    let mut staff = Staff::new(plan, cluster.urls());
    for _ in 0..PRODUCERS {
        staff.start("produce")?;
    }
    for _ in 0..CONSUMERS {
        staff.start("consume")?;
    }
    let mut seen = Seen::default();
    for _ in 0..plan.faults {
        let (killed, stopped) = fault(cluster, servers, &mut staff)?;
        seen.killed += killed;
        seen.stopped += stopped;
        seen.consumers_killed += 1;
    }
    let deadline = Instant::now() + PATIENCE;
    let queue = LockingQueue::new(QUEUE, plan.settings.ttl_max);
    loop {
        staff.listen(Instant::now() + Duration::from_millis(20), |_| false);
        let mut is_empty = || queue.contents(servers).is_ok_and(|found| found.waiting.is_empty());
        // What is still waiting when the time is over counts as lost.
        if staff.have_produced()? && is_empty() || Instant::now() > deadline {
            break;
        }
    }
    seen.events = staff.dismiss();
    Ok(seen)
}

/// Takes a minority of the servers away, kills a consumer meanwhile, and waits until all servers are
/// members again. How many servers were killed, and stopped.
fn fault(
    cluster: &mut Cluster,
    servers: &mut Servers,
    staff: &mut Staff,
) -> Result<(usize, usize)> {
    let mut places: Vec<usize> = (0..servers.count()).collect();
    fastrand::shuffle(&mut places);
    places.truncate(fastrand::usize(1..servers.majority()));
    // Of two or more the last one is only stopped, every other time.
    let stopped = if places.len() > 1 && fastrand::bool() { places.pop() } else { None };
    places.iter().for_each(|place| cluster.kill(*place));
    stopped.map_or(Ok(()), |place| cluster.stop(place))?;
    let back_at = Instant::now() + Duration::from_millis(fastrand::u64(DOWN_MS));
    staff.replace_a_consumer()?;
    staff.listen(back_at, |_| false);
    stopped.map_or(Ok(()), |place| cluster.go_on(place))?;
    for place in &places {
        cluster.start_again(*place)?;
    }
    let deadline = Instant::now() + PATIENCE;
    while members::heal(servers).ok() != Some(servers.count()) {
        ensure!(Instant::now() < deadline, "servers are not healed");
        staff.listen(Instant::now() + Duration::from_millis(20), |_| false);
    }
    Ok((places.len(), usize::from(stopped.is_some())))
}

/// The worker processes, and what they have told. They end with it.
struct Staff {
    plan: Plan,
    urls: Vec<String>,
    producers: Vec<Child>,
    consumers: Vec<(usize, Child)>,
    started: usize,
    sender: Sender<Event>,
    receiver: Receiver<Event>,
    events: Vec<Event>,
}

impl Staff {
    fn new(plan: &Plan, urls: Vec<String>) -> Staff {
        let (sender, receiver) = channel();
        let (producers, consumers) = (Vec::new(), Vec::new());
        let plan = plan.clone();
        Staff { plan, urls, producers, consumers, started: 0, sender, receiver, events: Vec::new() }
    }

    fn start(&mut self, role: &str) -> Result<()> {
        let name = self.started;
        self.started += 1;
        let Plan { items, settings, .. } = &self.plan;
        let mut child = Command::new(std::env::current_exe()?)
            .args(workers::arguments(role, name, *items, settings, &self.urls))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().expect("it was asked for"));
        let sender = self.sender.clone();
        // Ends with the worker.
        thread::spawn(move || {
            let mut line = String::new();
            while output.read_line(&mut line).is_ok_and(|len| len > 0) {
                let event = line.strip_suffix('\n').and_then(|line| Event::parse(name, line));
                if event.is_none_or(|event| sender.send(event).is_err()) {
                    break;
                }
                line.clear();
            }
        });
        if role == "produce" {
            self.producers.push(child);
        } else {
            self.consumers.push((name, child));
        }
        Ok(())
    }

    /// Keeps events until the time is over or one is what was waited for.
    fn listen(&mut self, until: Instant, is_enough: impl Fn(&Event) -> bool) {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.receiver.recv_timeout(left) {
                Ok(event) => {
                    let is_enough = is_enough(&event);
                    self.events.push(event);
                    if is_enough {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Kills a consumer, in the middle of an item if it gets one soon.
    fn replace_a_consumer(&mut self) -> Result<()> {
        let at = fastrand::usize(..self.consumers.len());
        let (name, mut child) = self.consumers.swap_remove(at);
        // What it did before does not tell what it does now.
        self.listen(Instant::now(), |_| false);
        let soon = Instant::now() + Duration::from_millis(500);
        self.listen(soon, |event| event.worker == name && event.kind == Kind::Begin);
        end(&mut child);
        self.start("consume")
    }

    /// Whether all producers have ended, which they have to do well.
    fn have_produced(&mut self) -> Result<bool> {
        for producer in &mut self.producers {
            match producer.try_wait()? {
                Some(status) if !status.success() => bail!("a producer has failed: {status}"),
                Some(_) => {}
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Ends all workers and returns all that they have told.
    fn dismiss(mut self) -> Vec<Event> {
        self.end_all();
        // Their listeners end with them; then nobody can send any more.
        let (sender, _) = channel();
        drop(std::mem::replace(&mut self.sender, sender));
        let rest: Vec<Event> = self.receiver.iter().collect();
        self.events.extend(rest);
        std::mem::take(&mut self.events)
    }

    fn end_all(&mut self) {
        let consumers = self.consumers.iter_mut().map(|(_, child)| child);
        self.producers.iter_mut().chain(consumers).for_each(end);
    }
}

impl Drop for Staff {
    fn drop(&mut self) {
        self.end_all();
    }
}

fn end(child: &mut Child) {
    // Both fail only when the process is gone already.
    let _ = child.kill();
    let _ = child.wait();
}
