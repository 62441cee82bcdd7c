"""A table of scores that many write and many follow: a sorted set, versions, and notices of each change.

    change:  ZINCRBY or ZREM, INCR version, PUBLISH "version score member"      one script
    join:    SUBSCRIBE; when that is confirmed, read the sorted set and its version in one step;
             then apply the notices whose version is newer than what was read

The order is what matters. A follower that read before it subscribed would miss what changes between;
in this order it may hear of changes that it has read already, which it knows by their version. Versions
grow by one, so that a follower that is told of any other than the next one knows that it missed some,
and reads again. It does so as well after each new subscription, as nobody keeps what is published
while a connection is down.
"""

import time

import redis

# KEYS: scores, version. ARGV: channel, member, what to add (nothing: remove the member).
CHANGE = """
local score = ''
if ARGV[3] == '' then
    redis.call('ZREM', KEYS[1], ARGV[2])
else
    score = redis.call('ZINCRBY', KEYS[1], ARGV[3], ARGV[2])
end
local version = redis.call('INCR', KEYS[2])
redis.call('PUBLISH', ARGV[1], version .. ' ' .. score .. ' ' .. ARGV[2])
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
        return self._change(keys=[self.scores, self.version_key], args=[self.channel, member, amount])

    def remove(self, member):
        return self._change(keys=[self.scores, self.version_key], args=[self.channel, member, ""])

    def read(self):
        """The scores and their version, of one instant."""
        with self.client.pipeline() as step:
            step.zrange(self.scores, 0, -1, withscores=True)
            step.get(self.version_key)
            scores, version = step.execute()
        return dict(scores), int(version or 0)


class Follower:
    """A copy that follows. `scores` is what the server had at `version`."""

    def __init__(self, state):
        self.state, self.scores, self.version = state, {}, -1
        self.pubsub = state.client.pubsub()
        self.pubsub.subscribe(state.channel)

    def step(self, seconds):
        """Waits for one notice and applies it. Returns what happened: "read", "applied", "known", "missed",
        "behind", "cut", or "quiet" if nothing came."""
        try:
            message = self.pubsub.get_message(timeout=seconds)
        except redis.ConnectionError:
            # The next step connects and subscribes again.
            time.sleep(0.05)
            return "cut"
        if not message:
            # Nothing may also mean that the connection hangs, or that the last notice was lost with another.
            if self.version < 0 or int(self.state.client.get(self.state.version_key) or 0) <= self.version:
                return "quiet"
            return self.read("behind")
        if message["type"] == "subscribe":
            # The first time, and again whenever the client library has connected anew.
            return self.read("read")
        return self.apply(message["data"])

    def read(self, why):
        self.scores, self.version = self.state.read()
        return why

    def apply(self, notice):
        version, score, member = notice.split(" ", 2)
        if int(version) <= self.version:
            return "known"
        if int(version) > self.version + 1:
            return self.read("missed")
        if score:
            self.scores[member] = float(score)
        else:
            self.scores.pop(member, None)
        self.version += 1
        return "applied"
