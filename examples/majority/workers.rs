//! Producers and consumers: processes of their own, so that they can be killed.
//!
//! Each writes a line for every event to its output; the one that has started it reads them. The end
//! of its input ends the worker, so none outlives the demonstration.

use std::io::{self, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::time::{ClockId, clock_gettime};

use super::pause;
use super::queue::{Delivery, LockingQueue};
use super::servers::{Servers, Settings};
use super::verdict::Kind;

pub(crate) const QUEUE: &str = "parcels";
/// The first argument of a worker.
pub(crate) const ROLE: &str = "worker";
/// A push that succeeds at last was not lost before.
const PUSH_DEADLINE: Duration = Duration::from_secs(60);
const PUSH_EVERY: Duration = Duration::from_millis(8);
const WORK_MS: std::ops::Range<u64> = 0..8;

/// `worker produce NAME ITEMS` or `worker consume NAME 0`, then the settings, then addresses.
pub(crate) fn arguments(
    role: &str,
    name: usize,
    items: usize,
    settings: &Settings,
    urls: &[String],
) -> Vec<String> {
    let Settings { patience, ttl_max, quarantine } = settings;
    let millis = [patience, ttl_max, quarantine].map(|span| span.as_millis().to_string());
    let mut arguments = vec![ROLE.to_owned(), role.to_owned(), name.to_string(), items.to_string()];
    arguments.extend(millis);
    arguments.extend_from_slice(urls);
    arguments
}

/// Runs a worker to its end. The arguments are those after `ROLE`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [role, name, items, patience, ttl_max, quarantine, urls @ ..] = arguments else {
        bail!("a worker needs a role, a name, a number of items, settings and addresses");
    };
    let span = |millis: &String| Ok::<_, anyhow::Error>(Duration::from_millis(millis.parse()?));
    let settings = Settings {
        patience: span(patience)?,
        ttl_max: span(ttl_max)?,
        quarantine: span(quarantine)?,
    };
    thread::spawn(|| {
        // Nobody writes anything to it.
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
    let mut servers = Servers::new(urls, settings)?;
    let queue = LockingQueue::new(QUEUE, settings.ttl_max);
    match role.as_str() {
        "produce" => produce(&mut servers, &queue, name, items.parse()?),
        _ => consume(&mut servers, &queue),
    }
}

fn produce(servers: &mut Servers, queue: &LockingQueue, name: &str, items: usize) -> Result<()> {
    for number in 0..items {
        let id = format!("{name}-{number}");
        let deadline = Instant::now() + PUSH_DEADLINE;
        while let Err(error) = queue.push(servers, &id, &payload_of(&id)) {
            if Instant::now() > deadline {
                return Err(error).context("a push");
            }
            pause(PUSH_EVERY);
        }
        tell(Kind::Sent, &id)?;
        pause(PUSH_EVERY);
    }
    Ok(())
}

fn consume(servers: &mut Servers, queue: &LockingQueue) -> Result<()> {
    loop {
        match queue.take(servers) {
            Ok(Some(delivery)) => work(servers, queue, delivery)?,
            // Without a majority there may be one a moment later.
            Ok(None) | Err(_) => pause(Duration::from_millis(fastrand::u64(5..20))),
        }
    }
}

fn work(servers: &mut Servers, queue: &LockingQueue, mut delivery: Delivery) -> Result<()> {
    if !tell_valid(Kind::Begin, &delivery)? {
        return Ok(());
    }
    if delivery.payload != payload_of(&delivery.id) {
        tell(Kind::Wrong, &delivery.id)?;
    }
    pause(Duration::from_millis(fastrand::u64(WORK_MS)));
    // Now and then a long piece of work, for which a lock is prolonged if it can be.
    if fastrand::u8(..10) == 0 {
        let _ = delivery.extend(servers);
    }
    if !tell_valid(Kind::End, &delivery)? {
        return Ok(());
    }
    while delivery.is_valid() {
        if queue.done(servers, &delivery).is_ok() {
            tell(Kind::Done, &delivery.id)?;
            queue.release(servers, delivery);
            return Ok(());
        }
    }
    tell(Kind::Unsure, &delivery.id)
}

/// The payload tells whether it belongs to the id.
fn payload_of(id: &str) -> Vec<u8> {
    id.bytes().rev().cycle().take(200).collect()
}

/// Tells of the event if its time is one at which the lock is valid; otherwise that it has ended.
fn tell_valid(kind: Kind, delivery: &Delivery) -> Result<bool> {
    let at = now();
    let is_valid = delivery.is_valid();
    tell_at(at, if is_valid { kind } else { Kind::Unsure }, &delivery.id)?;
    Ok(is_valid)
}

fn tell(kind: Kind, id: &str) -> Result<()> {
    tell_at(now(), kind, id)
}

fn tell_at(at: Duration, kind: Kind, id: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{} {} {id}", at.as_nanos(), kind.name())?;
    Ok(out.flush()?)
}

fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::try_from(now).expect("a clock that began before now")
}
