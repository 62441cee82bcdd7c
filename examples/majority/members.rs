//! Which servers count, and how one that was replaced by an empty one gets to count again.
//!
//! A majority only means something if its servers remember. One that starts empty has forgotten what
//! it has acknowledged, so it says that it is not a member, and is as good as dead:
//!
//!     empty -> in quarantine -> filled -> member
//!
//! From the first step on it gets everything that is written, uncounted. The quarantine is as long as
//! the longest lock: after it no lock is valid that the server had granted before it died, and locks
//! that were granted or extended since are known to it or do not need it. Then everything that a
//! majority of the members know is copied into it, and it is admitted, unless it was replaced again
//! meanwhile, which the name of the attempt tells.
//!
//! Servers must not keep anything on disk, or must keep all of it (`appendfsync always`): one that
//! comes back with yesterday's memory says that it is a member, and is not told apart.

use redis::FromRedisValue;

use super::queue::{self, Keys, QUEUES_KEY};
use super::servers::{Answer, MEMBER_KEY, NOTHING, NoMajority, Replies, Servers};
use super::values::{self, VALUES_KEY};

const JOINING_KEY: &str = "majority:joining";
const QUARANTINE_KEY: &str = "majority:quarantine";
/// Entries that are copied at a time.
const PAGE_LEN: usize = 200;

// What an attempt to create has left does not count.
const SIZE: &str = "return redis.call('DBSIZE') - redis.call('EXISTS', KEYS[1])";
const FOUND: &str = "redis.call('SET', KEYS[1], 1) return 1";

// Without a time to live in the last argument there is no quarantine.
const JOIN: &str = "
    if redis.call('EXISTS', KEYS[3]) == 1 then return {'member', ''} end
    if redis.call('SET', KEYS[1], ARGV[1], 'NX') and tonumber(ARGV[2]) > 0 then
        redis.call('SET', KEYS[2], 1, 'PX', ARGV[2])
    end
    local rests = redis.call('EXISTS', KEYS[2]) == 1
    return {rests and 'quarantine' or 'empty', redis.call('GET', KEYS[1])}";

const ADMIT: &str = "
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
    redis.call('DEL', KEYS[1])
    redis.call('SET', KEYS[2], 1)
    return 1";

const QUEUES: &str = "return redis.call('SMEMBERS', KEYS[1])";
const WAITING_PAGE: &str = "
    local page = redis.call('ZSCAN', KEYS[2], ARGV[1], 'COUNT', ARGV[2])
    local entries = {}
    for i = 1, #page[2], 2 do
        local payload = redis.call('HGET', KEYS[1], page[2][i])
        if payload then
            for _, part in ipairs({page[2][i], page[2][i + 1], payload}) do
                entries[#entries + 1] = part
            end
        end
    end
    return {page[1], entries}";
const DONE_PAGE: &str = "return redis.call('ZSCAN', KEYS[4], ARGV[1], 'COUNT', ARGV[2])";
const VALUES_PAGE: &str = "return redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])";

/// The beginning of everything, once: makes members of empty servers, all of which have to answer.
/// May be called again after an error, unless others have been called meanwhile.
pub(crate) fn create(servers: &mut Servers) -> Result<(), String> {
    let all = servers.count();
    let sizes: Vec<u64> = servers.eval(SIZE, &[], NOTHING).values().expect("numbers");
    if sizes.len() < all {
        return Err(format!("{} servers answer of {all}", sizes.len()));
    }
    if sizes.iter().any(|size| *size > 0) {
        return Err("not all servers are empty".to_owned());
    }
    let found: Vec<u8> = servers.eval(FOUND, &[], NOTHING).values().expect("ones");
    if found.len() < all {
        return Err(format!("{} servers of {all} are founded", found.len()));
    }
    Ok(())
}

/// Brings servers that are no members a step further, and returns how many are members afterwards.
/// To be called again and again, by one or by many; nothing waits in here for a quarantine to end.
pub(crate) fn heal(servers: &mut Servers) -> Result<usize, NoMajority> {
    let attempt = format!("{:016x}", fastrand::u64(..));
    let quarantine_ms = servers.settings().quarantine.as_millis().to_string();
    let keys = [JOINING_KEY, QUARANTINE_KEY, MEMBER_KEY];
    let replies = servers.eval(JOIN, &keys, (attempt, quarantine_ms));
    let states: Vec<Answer<(String, String)>> = replies.each().expect("state and attempt");
    let mut members = states.iter().filter(|answer| answer.is_member).count();
    for Answer { place, value: (state, attempt), .. } in states {
        if state == "empty" {
            fill(servers, place)?;
            let keys = [JOINING_KEY, MEMBER_KEY];
            let admitted = servers.eval_on(&[place], ADMIT, &keys, attempt);
            members += usize::from(admitted.values::<u8>().is_ok_and(|said| said == [1]));
        }
    }
    Ok(members)
}

/// Copies what a majority of the members know to the server at `to`.
fn fill(servers: &mut Servers, to: usize) -> Result<(), NoMajority> {
    let replies = servers.eval(QUEUES, &[QUEUES_KEY], NOTHING).answered()?;
    let answers: Vec<Answer<Vec<String>>> = replies.each().expect("names of queues");
    let members = answers.iter().filter(|answer| answer.is_member);
    let sources: Vec<usize> = members.map(|answer| answer.place).collect();
    let mut names: Vec<String> = answers.into_iter().flat_map(|answer| answer.value).collect();
    names.sort();
    names.dedup();
    let mut copied = 0;
    for from in sources {
        copied += usize::from(copy(servers, from, to, &names).is_some());
    }
    servers.counted(copied)
}

/// None when one of the two did not answer to the end, or is not what it was.
fn copy(servers: &mut Servers, from: usize, to: usize, queues: &[String]) -> Option<()> {
    for name in queues {
        let keys = Keys::new(name);
        let part = Part { from, to, keys: &keys.all(), first: Some(name) };
        part.copy(servers, DONE_PAGE, queue::BURY, usize::MAX)?;
        part.copy(servers, WAITING_PAGE, queue::STORE, usize::MAX)?;
    }
    let part = Part { from, to, keys: &[VALUES_KEY], first: None };
    part.copy(servers, VALUES_PAGE, values::STORE, 2)
}

/// What is copied from one server to another.
struct Part<'a> {
    from: usize,
    to: usize,
    keys: &'a [&'a str],
    /// The argument before the entries.
    first: Option<&'a String>,
}

impl Part<'_> {
    /// Reads page by page, and stores at most `parts_max` parts of a page at a time.
    fn copy(&self, servers: &mut Servers, read: &str, store: &str, parts_max: usize) -> Option<()> {
        let mut cursor = "0".to_owned();
        loop {
            let replies = servers.eval_on(&[self.from], read, self.keys, (&cursor, PAGE_LEN));
            let (next, entries): (String, Vec<Vec<u8>>) = only(&replies, true)?;
            for some in entries.chunks(parts_max) {
                let replies = servers.eval_on(&[self.to], store, self.keys, (self.first, some));
                only::<u8>(&replies, false)?;
            }
            if next == "0" {
                return Some(());
            }
            cursor = next;
        }
    }
}

/// The one reply, from a server that is a member or is not.
fn only<T: FromRedisValue>(replies: &Replies, is_member: bool) -> Option<T> {
    let answer = replies.each().ok()?.pop()?;
    (answer.is_member == is_member).then_some(answer.value)
}
