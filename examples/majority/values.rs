//! GET and SET on a majority: a value that was set is what everybody gets until the next one.
//!
//! A value carries a version, a number and a random tail, and a server keeps the highest it has seen.
//! SET asks a majority for the highest version and stores its value with the next one on a majority.
//! GET asks a majority, takes the highest version, and stores it on a majority before it returns,
//! unless it is there already: so nobody who asks later gets an older one. There is no deleting: it
//! would have to leave a mark behind, like an empty value.

use super::servers::{Answer, NoMajority, Servers};

/// On every server, a hash of name to version and value.
pub(crate) const VALUES_KEY: &str = "majority:values";
/// 20 digits, a colon and 16 hexadecimal digits, which compare as text.
const VERSION_LEN: usize = 37;
const COUNTER_LEN: usize = 20;

const READ: &str = "return redis.call('HGET', KEYS[1], ARGV[1])";

pub(crate) const STORE: &str = "
    local old = redis.call('HGET', KEYS[1], ARGV[1])
    if not old or string.sub(old, 1, 37) < string.sub(ARGV[2], 1, 37) then
        redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
    end
    return 1";

/// After an error the value may be set or not, or be so later, until the next SET.
pub(crate) fn set(servers: &mut Servers, name: &str, value: &[u8]) -> Result<(), NoMajority> {
    let last = latest(servers, name)?.0.map_or(0, |last| counter(&last));
    let mut stored = format!("{:020}:{:016x}", last + 1, fastrand::u64(..)).into_bytes();
    stored.extend(value);
    servers.eval(STORE, &[VALUES_KEY], (name, stored)).agreed().map(|_| ())
}

pub(crate) fn get(servers: &mut Servers, name: &str) -> Result<Option<Vec<u8>>, NoMajority> {
    let (latest, holders) = latest(servers, name)?;
    let Some(stored) = latest else { return Ok(None) };
    if holders < servers.majority() {
        servers.eval(STORE, &[VALUES_KEY], (name, &stored)).agreed()?;
    }
    Ok(Some(stored[VERSION_LEN..].to_vec()))
}

/// The latest of what a majority has, and how many members have it.
fn latest(servers: &mut Servers, name: &str) -> Result<(Option<Vec<u8>>, usize), NoMajority> {
    let replies = servers.eval(READ, &[VALUES_KEY], name).answered()?;
    let found: Vec<Answer<Option<Vec<u8>>>> = replies.each().expect("a string or nil");
    let latest = found.iter().filter_map(|answer| answer.value.clone()).max();
    let is_latest = |answer: &&Answer<Option<Vec<u8>>>| {
        answer.is_member && answer.value.is_some() && answer.value == latest
    };
    let holders = found.iter().filter(is_latest).count();
    Ok((latest, holders))
}

fn counter(stored: &[u8]) -> u64 {
    let digits = str::from_utf8(&stored[..COUNTER_LEN]).ok().and_then(|text| text.parse().ok());
    digits.expect("a version begins with its number")
}
