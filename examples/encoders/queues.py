"""Jobs of many users, encoded by whoever is free: a queue for each user, fair turns, no job lost.

    queue:<user>  --turn of the user-->  ready  --BLMOVE-->  processing  --complete-->  results
         ^                                                       |
         +------------------ the lease has lapsed ---------------+

A job is always in one of these places, and every arrow is one atomic step, so that a process may be
killed anywhere. Whoever encodes has a lease that it renews; a job without one belonged to an encoder
that died and goes back to the head of its user's queue. Leases are told by the server's clock.

The work may therefore be done twice, the completion counts once: `complete` takes the job out of
`processing` in the same step, and who comes too late is told so.

`users` has those with jobs waiting, in the order of their turns. Results, and how often a job was begun and
given back, are kept for some time.
"""

import json

# KEYS: leases, ARGV: seconds, job, "NX" or nothing. Gives a job a lease from now on.
LEASE = """
local now = redis.call('TIME')
local lapses = now[1] + now[2] / 1000000 + ARGV[1]
if ARGV[3] == 'NX' then
    return redis.call('ZADD', KEYS[1], 'NX', lapses, ARGV[2])
end
return redis.call('ZADD', KEYS[1], lapses, ARGV[2])
"""

# KEYS: leases. The jobs whose lease has lapsed.
LAPSED = """
local now = redis.call('TIME')
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now[1] + now[2] / 1000000)
"""

# The place behind all users, who are KEYS[1].
LAST = """
local last = (redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2] or 0) + 1
"""

# KEYS: users, queue. ARGV: user, job.
SEND = LAST + """
redis.call('ZADD', KEYS[1], 'NX', last, ARGV[1])
return redis.call('LPUSH', KEYS[2], ARGV[2])
"""

# KEYS: users, queue, ready. ARGV: user. One turn, unless another manager gave it; who has no job waiting leaves.
TURN = LAST + """
if redis.call('ZRANGE', KEYS[1], 0, 0)[1] ~= ARGV[1] then
    return 0
end
if redis.call('LMOVE', KEYS[2], KEYS[3], 'RIGHT', 'LEFT') then
    return redis.call('ZADD', KEYS[1], last, ARGV[1])
end
return redis.call('ZREM', KEYS[1], ARGV[1])
"""

# KEYS: users, queue, processing, leases, attempts. ARGV: user, job, seconds to keep attempts. Gives a job back,
# unless it was completed meanwhile.
REQUEUE = LAST + """
redis.call('ZREM', KEYS[4], ARGV[2])
if redis.call('LREM', KEYS[3], 1, ARGV[2]) == 0 then
    return 0
end
redis.call('ZADD', KEYS[1], 'NX', last, ARGV[1])
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('HINCRBY', KEYS[5], 'requeued', 1)
return redis.call('EXPIRE', KEYS[5], ARGV[3])
"""

# KEYS: processing, leases, result, reports. ARGV: job, result, report, seconds to keep the result. Ends a job once.
COMPLETE = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then
    return 0
end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('SET', KEYS[3], ARGV[2], 'EX', ARGV[4])
redis.call('LPUSH', KEYS[4], ARGV[3])
return 1
"""


def user_of(job):
    return job.partition("/")[0]


class Queues:
    """The shared part. A job is a text that begins with its user: "anna/42"."""

    def __init__(self, client, prefix, lease=1.0, kept=3600):
        self.client, self.prefix, self.lease_s, self.kept_s = client, prefix, lease, kept
        for name in "users ready processing leases reports status".split():
            setattr(self, name, prefix + name)
        self._lease, self._lapsed, self._send, self._turn, self._requeue, self._complete = map(
            client.register_script, (LEASE, LAPSED, SEND, TURN, REQUEUE, COMPLETE))

    def queue(self, user):
        return f"{self.prefix}queue:{user}"

    def result(self, job):
        return f"{self.prefix}result:{job}"

    def attempts(self, job):
        return f"{self.prefix}attempts:{job}"

    def send(self, job):
        """For users: the job waits at the end of its user's queue."""
        user = user_of(job)
        self._send(keys=[self.users, self.queue(user)], args=[user, job])


class Dispatcher(Queues):
    """Gives turns, hears what encoders report, takes jobs back from the dead. All it knows is in Redis."""

    def dispatch(self, waiting_max):
        """Moves jobs to `ready`, one of each user in turn, until so many wait there.

        `ready` is kept short: what is in it is not fair any more.
        """
        while self.client.llen(self.ready) < waiting_max and (users := self.client.zrange(self.users, 0, 0)):
            self.turn(users[0])

    def turn(self, user):
        self._turn(keys=[self.users, self.queue(user), self.ready], args=[user])

    def take_back(self):
        """Jobs of encoders that died. One that has no lease yet gets a first one here: its encoder may
        have been killed before it took one."""
        for job in self.client.lrange(self.processing, 0, -1):
            self._lease(keys=[self.leases], args=[self.lease_s, job, "NX"])
        for job in self._lapsed(keys=[self.leases]):
            user = user_of(job)
            keys = [self.users, self.queue(user), self.processing, self.leases, self.attempts(job)]
            self._requeue(keys=keys, args=[user, job, self.kept_s])

    def next_report(self, seconds):
        """Waits for an encoder's report. It only wakes the manager: one that is lost with it costs time."""
        report = self.client.brpop(self.reports, seconds)
        return report and json.loads(report[1])


class Encoder(Queues):
    """One worker."""

    def __init__(self, client, prefix, name, lease=1.0):
        super().__init__(client, prefix, lease)
        self.name = name

    def take(self, seconds):
        """Waits for a job, which is in `processing` from the moment it leaves `ready`."""
        job = self.client.blmove(self.ready, self.processing, seconds, "RIGHT", "LEFT")
        if job:
            self.renew(job)
            with self.client.pipeline() as step:
                step.hincrby(self.attempts(job), "begun", 1)
                step.expire(self.attempts(job), self.kept_s)
                step.hset(self.status, self.name, f"busy {job}")
                step.lpush(self.reports, self.report("busy", job))
                step.execute()
        return job

    def renew(self, job):
        """To be called more often than leases lapse."""
        self._lease(keys=[self.leases], args=[self.lease_s, job, ""])

    def complete(self, job, result):
        """False: another encoder got the job meanwhile, and this result must be thrown away."""
        keys = [self.processing, self.leases, self.result(job), self.reports]
        first = self._complete(keys=keys, args=[job, result, self.report("complete", job), self.kept_s])
        self.client.hset(self.status, self.name, "idle")
        return first == 1

    def report(self, status, job):
        return json.dumps({"encoder": self.name, "status": status, "job": job})
