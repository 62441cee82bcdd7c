"""Counters that are incremented in Redis and written to a SQL database in batches, each exactly once.

    add:      HINCRBY now:<id>, HSET now:<id> last, ZADD pending <id>                       one script
    take:     now:<id> becomes batch:<id> and gets a version, unless an older batch is left   one script
    SQL:      adds the batch where its version is newer than the row's, and stores it there   one transaction
    confirm:  batch:<id> goes, if it has that version still, then <id> from pending           one script

A worker may be killed between any two of these steps. Before the commit nothing has happened and the
batch is taken again. After the commit the batch is taken again as well, with the same version, which
the row has already: the SQL statement changes nothing, and the batch is confirmed. An <id> has one
batch at a time, the next one is made when the last is confirmed, so versions of a row only grow.

`pending` is a sorted set by the time when an <id> is due. Taking it puts that off, so that workers do
not do the same work, and another takes it up when the worker has died. All times are the server's.

A server that comes back with an older state has again what SQL has already, before it got its
version: it is added twice. Only with `appendfsync always` no such state comes back.
"""

# KEYS: now, pending. ARGV: id, bytes, last, seconds until it is due.
ADD = """
-- First what can fail: nothing is rolled back.
redis.call('HINCRBY', KEYS[1], 'bytes', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'visits', 1)
redis.call('HSET', KEYS[1], 'last', ARGV[3])
local time = redis.call('TIME')
redis.call('ZADD', KEYS[2], 'NX', time[1] + time[2] / 1000000 + ARGV[4], ARGV[1])
"""

# KEYS: now, batch, last version, pending. ARGV: id, seconds until another worker may take it.
# Versions are of the clock, but grow in any case: a Redis that lost its data must not begin again at 1.
TAKE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local due = redis.call('ZSCORE', KEYS[4], ARGV[1])
if not due or tonumber(due) > now then
    return {}
end
if redis.call('EXISTS', KEYS[2]) == 0 then
    local last = tonumber(redis.call('GET', KEYS[3]) or '0')
    local version = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
    redis.call('SET', KEYS[3], version)
    redis.call('RENAME', KEYS[1], KEYS[2])
    redis.call('HSET', KEYS[2], 'version', version)
end
redis.call('ZADD', KEYS[4], now + ARGV[2], ARGV[1])
return redis.call('HGETALL', KEYS[2])
"""

# KEYS: now, batch, pending. ARGV: id, version, seconds until it is due again if more has come.
CONFIRM = """
if redis.call('HGET', KEYS[2], 'version') ~= ARGV[2] then
    return 0
end
redis.call('DEL', KEYS[2])
if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('ZREM', KEYS[3], ARGV[1])
else
    local time = redis.call('TIME')
    redis.call('ZADD', KEYS[3], time[1] + time[2] / 1000000 + ARGV[3], ARGV[1])
end
return 1
"""

# KEYS: pending. ARGV: how many.
DUE = """
local time = redis.call('TIME')
return redis.call('ZRANGE', KEYS[1], '-inf', time[1] + time[2] / 1000000, 'BYSCORE', 'LIMIT', 0, ARGV[1])
"""


class Buffer:
    """The part in Redis. What is added is gathered for `delay` seconds; a worker has `lease` seconds for a batch."""

    def __init__(self, client, prefix, delay=0.1, lease=1.0):
        self.client, self.prefix, self.delay_s, self.lease_s = client, prefix, delay, lease
        self.pending, self.version = prefix + "pending", prefix + "version"
        self._add, self._take, self._confirm, self._due = map(client.register_script, (ADD, TAKE, CONFIRM, DUE))

    def now(self, page):
        return f"{self.prefix}now:{page}"

    def batch(self, page):
        return f"{self.prefix}batch:{page}"

    def add(self, page, size, visitor):
        """One visit: two sums and a last value."""
        self._add(keys=[self.now(page), self.pending], args=[page, size, visitor, self.delay_s])

    def due(self, count):
        """Who waits to be written, the longest first."""
        return self._due(keys=[self.pending], args=[count])

    def take(self, page):
        """The batch to write, which nothing is added to any more; None: another worker was faster."""
        keys = [self.now(page), self.batch(page), self.version, self.pending]
        fields = self._take(keys=keys, args=[page, self.lease_s])
        return dict(zip(fields[::2], fields[1::2])) or None

    def confirm(self, page, version):
        """To be called after the commit."""
        keys = [self.now(page), self.batch(page), self.pending]
        self._confirm(keys=keys, args=[page, version, self.delay_s])


class Sink:
    """The part in SQL; the statements are understood by SQLite 3.24 and PostgreSQL alike."""

    def __init__(self, connection):
        self.connection = connection

    def create(self):
        self.connection.execute("""
            CREATE TABLE IF NOT EXISTS pages (
                page TEXT PRIMARY KEY, visits BIGINT NOT NULL, bytes BIGINT NOT NULL, last TEXT,
                version BIGINT NOT NULL)
        """)

    def write(self, page, batch):
        """Adds a batch within the caller's transaction; False if that had been done before."""
        cursor = self.connection.execute("""
            INSERT INTO pages (page, visits, bytes, last, version) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (page) DO UPDATE SET
                visits = pages.visits + excluded.visits, bytes = pages.bytes + excluded.bytes,
                last = excluded.last, version = excluded.version
            WHERE pages.version < excluded.version
        """, (page, int(batch["visits"]), int(batch["bytes"]), batch["last"], int(batch["version"])))
        return cursor.rowcount == 1


def flush(buffer, sink, count, moment=lambda name: None):
    """Writes up to so many rows in one transaction; returns how many were written and how many had been.

    `moment` is called between the steps, for those who want to die there.
    """
    # All workers in the same order: in a database that locks rows they would wait for each other.
    batches = [(page, batch) for page in sorted(buffer.due(count)) if (batch := buffer.take(page))]
    moment("taken")
    if not batches:
        return 0, 0
    with sink.connection:
        sink.connection.execute("BEGIN IMMEDIATE")
        written = sum(sink.write(page, batch) for page, batch in batches)
        moment("written")
    moment("committed")
    for page, batch in batches:
        buffer.confirm(page, batch["version"])
    return written, len(batches) - written
