//! Connections to all servers, and one request that goes to all of them at once.
//!
//! A request is a script. It is sent to every server before the first reply is read, so it takes as
//! long as the slowest server, at most `patience`. A server that does not answer in that time, or
//! answers with an error, has not answered; its connection is closed, because a late reply would be
//! taken for that of the next request. Such a server may have done what it was asked, or do it later:
//! every script can be run again, and late, without harm.
//!
//! A reply says whether the server is a member (see `members`). Only members count towards a
//! majority; what another server reports is used all the same, since facts stay true wherever they
//! are found.

use std::fmt;
use std::time::{Duration, Instant};

use redis::{Client, Cmd, Connection, FromRedisValue, RedisError, RedisResult, ToRedisArgs, Value};

/// Its presence says that a server holds what it has ever acknowledged.
pub(crate) const MEMBER_KEY: &str = "majority:member";
/// For scripts without arguments.
pub(crate) const NOTHING: &[&str] = &[];
/// How long a server that could not be reached is left alone.
const REST: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How long one request may take, on all servers together.
    pub(crate) patience: Duration,
    /// The longest time to live of a lock.
    pub(crate) ttl_max: Duration,
    /// How long a server that has come back empty does not count: `ttl_max` or more, as locks that it
    /// granted before are valid for as long.
    pub(crate) quarantine: Duration,
}

/// Fewer members than a majority have answered, or agreed; nothing is known about the outcome.
#[derive(Debug)]
pub(crate) struct NoMajority {
    votes: usize,
    needed: usize,
    /// What the last server that did not answer said.
    last: Option<RedisError>,
}

impl std::error::Error for NoMajority {}

impl fmt::Display for NoMajority {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} servers of {} needed", self.votes, self.needed)?;
        self.last.as_ref().map_or(Ok(()), |last| write!(out, "; {last}"))
    }
}

pub(crate) struct Servers {
    nodes: Vec<Node>,
    settings: Settings,
}

struct Node {
    client: Client,
    connection: Option<Connection>,
    rest_until: Instant,
}

impl Servers {
    /// Connects to nobody yet. All clients name the same servers.
    pub(crate) fn new(urls: &[String], settings: Settings) -> RedisResult<Servers> {
        let node = |url: &String| {
            let client = Client::open(url.as_str())?;
            Ok(Node { client, connection: None, rest_until: Instant::now() })
        };
        Ok(Servers { nodes: urls.iter().map(node).collect::<RedisResult<_>>()?, settings })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn majority(&self) -> usize {
        self.nodes.len() / 2 + 1
    }

    /// Runs a script everywhere. What it returns must not be nil.
    pub(crate) fn eval(&mut self, script: &str, keys: &[&str], args: impl ToRedisArgs) -> Replies {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        self.eval_on(&all, script, keys, args)
    }

    /// Runs a script on some of the servers, which are named by their places.
    pub(crate) fn eval_on(
        &mut self,
        places: &[usize],
        script: &str,
        keys: &[&str],
        args: impl ToRedisArgs,
    ) -> Replies {
        let script = format!(
            "local function run() {script} end \
             return {{redis.call('EXISTS', KEYS[#KEYS]), run()}}"
        );
        let mut request = redis::cmd("EVAL");
        request.arg(script).arg(keys.len() + 1).arg(keys).arg(MEMBER_KEY).arg(args);
        self.ask(places, &request)
    }

    /// An error unless so many are a majority.
    pub(crate) fn counted(&self, votes: usize) -> Result<(), NoMajority> {
        let needed = self.majority();
        if votes >= needed { Ok(()) } else { Err(NoMajority { votes, needed, last: None }) }
    }

    fn ask(&mut self, places: &[usize], request: &Cmd) -> Replies {
        let deadline = Instant::now() + self.settings.patience;
        let packed = request.get_packed_command();
        let needed = self.majority();
        let mut replies = Replies { by_place: Vec::new(), needed, last: None };
        replies.by_place.resize_with(self.nodes.len(), || None);
        let mut sent = Vec::new();
        for &place in places {
            match self.nodes[place].send(&packed, deadline) {
                Ok(()) => sent.push(place),
                Err(error) => replies.last = Some(error),
            }
        }
        for place in sent {
            match self.nodes[place].receive(deadline) {
                Ok(reply) => replies.by_place[place] = Some(reply),
                Err(error) => replies.last = Some(error),
            }
        }
        replies
    }
}

impl Node {
    fn send(&mut self, packed: &[u8], deadline: Instant) -> RedisResult<()> {
        if self.connection.is_none() {
            if Instant::now() < self.rest_until {
                return Err(std::io::Error::other("not reached a moment ago").into());
            }
            match self.client.get_connection_with_timeout(remaining(deadline)) {
                Ok(connection) => self.connection = Some(connection),
                Err(error) => return Err(self.rest(error)),
            }
        }
        let connection = self.connection.as_mut().expect("just made");
        connection.set_write_timeout(Some(remaining(deadline)))?;
        connection.send_packed_command(packed).map_err(|error| self.rest(error))
    }

    fn receive(&mut self, deadline: Instant) -> RedisResult<Reply> {
        let connection = self.connection.as_mut().expect("a request was sent on it");
        let timeout = Some(remaining(deadline));
        let reply = connection.set_read_timeout(timeout).and_then(|()| connection.recv_response());
        let value = reply.map_err(|error| self.rest(error))?.extract_error()?;
        let (is_member, value) = redis::from_redis_value(value)?;
        Ok(Reply { is_member, value })
    }

    fn rest(&mut self, error: RedisError) -> RedisError {
        self.connection = None;
        // Who was restarted can be asked again at once.
        if !error.is_connection_dropped() {
            self.rest_until = Instant::now() + REST;
        }
        error
    }
}

/// Sockets take no timeout of zero; what has arrived is read even when the time is over.
fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

struct Reply {
    is_member: bool,
    value: Value,
}

/// What one server has answered.
pub(crate) struct Answer<T> {
    /// Where it is in the list of servers.
    pub(crate) place: usize,
    pub(crate) is_member: bool,
    pub(crate) value: T,
}

/// What the servers have answered.
pub(crate) struct Replies {
    by_place: Vec<Option<Reply>>,
    needed: usize,
    last: Option<RedisError>,
}

impl Replies {
    fn members(&self) -> usize {
        self.by_place.iter().flatten().filter(|reply| reply.is_member).count()
    }

    /// The members whose script has returned 1.
    pub(crate) fn votes(&self) -> usize {
        let agrees = |reply: &&Reply| reply.is_member && reply.value == Value::Int(1);
        self.by_place.iter().flatten().filter(agrees).count()
    }

    /// An error unless a majority has answered, whatever it was.
    pub(crate) fn answered(self) -> Result<Replies, NoMajority> {
        let votes = self.members();
        self.counted(votes)
    }

    /// An error unless a majority has returned 1.
    pub(crate) fn agreed(self) -> Result<Replies, NoMajority> {
        let votes = self.votes();
        self.counted(votes)
    }

    fn counted(self, votes: usize) -> Result<Replies, NoMajority> {
        if votes >= self.needed {
            return Ok(self);
        }
        Err(NoMajority { votes, needed: self.needed, last: self.last })
    }

    /// The answers there are, read as what the script returns.
    pub(crate) fn each<T: FromRedisValue>(&self) -> RedisResult<Vec<Answer<T>>> {
        let read = |(place, reply): (usize, &Option<Reply>)| {
            let Reply { is_member, value } = reply.as_ref()?;
            let value = redis::from_redis_value(value.clone());
            Some(value.map(|value| Answer { place, is_member: *is_member, value }))
        };
        let read = self.by_place.iter().enumerate().filter_map(read);
        Ok(read.collect::<Result<_, _>>()?)
    }

    pub(crate) fn values<T: FromRedisValue>(&self) -> RedisResult<Vec<T>> {
        Ok(self.each()?.into_iter().map(|answer| answer.value).collect())
    }
}
