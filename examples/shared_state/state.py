"""A table of scores that many write and many follow: a sorted set, versions, and notices of each change.

    change:  ZINCRBY or ZREM, a new version and stamp,
             PUBLISH "version stamp-before stamp score member"                  one script
    join:    SUBSCRIBE; when that is confirmed, read the sorted set and its version in one step;
             then apply the notices whose version is newer than what was read

The order is what matters. A follower that read before it subscribed would miss what changes between;
in this order it may hear of changes that it has read already, which it knows by their version. A stamp
is random, and a notice names that of the change before: a follower that has another one missed some,
or the state began anew or was put back, and it reads again. It does so as well after each new
subscription, as nobody keeps what is published while a connection is down.
"""

import secrets
import time

import redis

# KEYS: scores, version. ARGV: channel, member, what to add (nothing: remove the member), stamp.
CHANGE = """
local score = ''
if ARGV[3] == '' then
    redis.call('ZREM', KEYS[1], ARGV[2])
else
    score = redis.call('ZINCRBY', KEYS[1], ARGV[3], ARGV[2])
end
local before = redis.call('HGET', KEYS[2], 'stamp') or ''
local version = redis.call('HINCRBY', KEYS[2], 'number', 1)
redis.call('HSET', KEYS[2], 'stamp', ARGV[4])
redis.call('PUBLISH', ARGV[1], table.concat({version, before, ARGV[4], score, ARGV[2]}, ' '))
return version
"""


class State:
    """For writers."""

    def __init__(self, client, prefix):
        self.client, self.prefix = client, prefix
        self.scores, self.version_key, self.channel = prefix + "scores", prefix + "version", prefix + "changes"
        self._change = client.register_script(CHANGE)

    def add(self, member, amount):
        """Returns the version that this change made."""
        args = [self.channel, member, amount, secrets.token_hex(8)]
        return self._change(keys=[self.scores, self.version_key], args=args)

    def remove(self, member):
        return self.add(member, "")

    def read(self):
        """The scores, their version and stamp, of one instant."""
        with self.client.pipeline() as step:
            step.zrange(self.scores, 0, -1, withscores=True)
            step.hmget(self.version_key, "number", "stamp")
            scores, (version, stamp) = step.execute()
        return dict(scores), int(version or 0), stamp or ""

    def stamp(self):
        return self.client.hget(self.version_key, "stamp") or ""


class Follower:
    """A copy that follows. `scores` is what the server had at `version`; -1: nothing was read yet."""

    def __init__(self, state):
        self.state, self.scores, self.version, self.stamp = state, {}, -1, None
        # Whether notices of before the last reading may still come.
        self.joining = True
        self.pubsub = state.client.pubsub()
        self.pubsub.subscribe(state.channel)

    def step(self, seconds):
        """Waits for one notice and applies it. Returns what happened: "read", "applied", "known", "missed",
        "behind", "cut", or "quiet" if nothing came."""
        try:
            message = self.pubsub.get_message(timeout=seconds)
            if message is None:
                return self.compare()
            # The first time, and again whenever the client library has connected anew.
            return self.read("read") if message["type"] == "subscribe" else self.apply(message["data"])
        except (redis.ConnectionError, redis.TimeoutError):
            # The next step connects and subscribes again.
            time.sleep(0.05)
            return "cut"

    def compare(self):
        """Nothing may also mean that the connection hangs, that the last notice was lost, or a reading failed."""
        if self.state.stamp() != self.stamp:
            return self.read("behind")
        self.joining = False
        return "quiet"

    def read(self, why):
        # If this fails, the old stamp does not fit to what comes, or it is compared when nothing does.
        self.scores, self.version, self.stamp = self.state.read()
        self.joining = True
        return why

    def apply(self, notice):
        version, before, stamp, score, member = notice.split(" ", 4)
        if before != self.stamp:
            if not self.joining or int(version) > self.version:
                return self.read("missed")
            self.joining = int(version) < self.version
            return "known"
        if score:
            self.scores[member] = float(score)
        else:
            self.scores.pop(member, None)
        self.version, self.stamp, self.joining = int(version), stamp, False
        return "applied"
