"""Jobs of many users, encoded by whoever is free: a queue for each user, fair turns, no job lost.

    queue:<user>  --turn of the user-->  ready  --BLMOVE-->  processing  --complete-->  results
         ^                                                       |
         +------------------ the lease has lapsed ---------------+

A job is always in one of these places, and every arrow is one atomic step, so that a process may be
killed anywhere. Whoever encodes has a lease that it renews; a job without one belonged to an encoder
that died and goes back to the head of its user's queue. Leases are told by the server's clock.

The work may therefore be done twice, the completion counts once: `complete` takes the job out of
`processing` in the same step, and who comes too late is told so.
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

# KEYS: processing, leases, queue, requeued. ARGV: job. Gives a job back, unless it was completed meanwhile.
REQUEUE = """
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then
    return 0
end
redis.call('RPUSH', KEYS[3], ARGV[1])
return redis.call('HINCRBY', KEYS[4], ARGV[1], 1)
"""

# KEYS: processing, leases, results, reports. ARGV: job, result, report. Ends a job once.
COMPLETE = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then
    return 0
end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
redis.call('LPUSH', KEYS[4], ARGV[3])
return 1
"""


class Queues:
    """The shared part. A job is a text that begins with its user: "anna/42"."""

    def __init__(self, client, prefix, lease=1.0):
        self.client, self.prefix, self.lease_s = client, prefix, lease
        names = "users ready processing leases requeued tries results reports status"
        for name in names.split():
            setattr(self, name, prefix + name)
        self._lease, self._lapsed, self._requeue, self._complete = map(
            client.register_script, (LEASE, LAPSED, REQUEUE, COMPLETE))

    def queue(self, job):
        return f"{self.prefix}queue:{job.partition('/')[0]}"

    def send(self, job):
        """For users: the job waits at the end of its user's queue."""
        user = job.partition("/")[0]
        # A new user has no turns to catch up on.
        least = self.client.zrange(self.users, 0, 0, withscores=True)
        with self.client.pipeline() as step:
            step.lpush(self.queue(job), job)
            step.zadd(self.users, {user: least[0][1] if least else 0}, nx=True)
            step.execute()


class Dispatcher(Queues):
    """Gives turns, hears what encoders report, takes jobs back from the dead. All it knows is in Redis."""

    def dispatch(self, waiting_max):
        """Moves jobs to `ready`, one of each user in turn, until so many wait there.

        `ready` is kept short: what is in it is not fair any more.
        """
        passed_over = 0
        users = self.client.zcard(self.users)
        while passed_over < users and self.client.llen(self.ready) < waiting_max:
            # The user who has had the fewest turns.
            user = self.client.zrange(self.users, 0, 0)[0]
            with self.client.pipeline() as step:
                step.lmove(f"{self.prefix}queue:{user}", self.ready, "RIGHT", "LEFT")
                step.zincrby(self.users, 1, user)
                job, _ = step.execute()
            passed_over = 0 if job else passed_over + 1

    def take_back(self):
        """Jobs of encoders that died. One that has no lease yet gets a first one here: its encoder may
        have been killed before it took one."""
        for job in self.client.lrange(self.processing, 0, -1):
            self._lease(keys=[self.leases], args=[self.lease_s, job, "NX"])
        for job in self._lapsed(keys=[self.leases]):
            self._requeue(keys=[self.processing, self.leases, self.queue(job), self.requeued], args=[job])

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
                step.hincrby(self.tries, job, 1)
                step.hset(self.status, self.name, f"busy {job}")
                step.lpush(self.reports, self.report("busy", job))
                step.execute()
        return job

    def renew(self, job):
        """To be called more often than leases lapse."""
        self._lease(keys=[self.leases], args=[self.lease_s, job, ""])

    def complete(self, job, result):
        """False: another encoder got the job meanwhile, and this result must be thrown away."""
        keys = [self.processing, self.leases, self.results, self.reports]
        first = self._complete(keys=keys, args=[job, result, self.report("complete", job)])
        self.client.hset(self.status, self.name, "idle")
        return first == 1

    def report(self, status, job):
        return json.dumps({"encoder": self.name, "status": status, "job": job})
