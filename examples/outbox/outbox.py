"""Staged jobs: a job is written to the database with the change that it belongs to, and moved to a queue later.

The change and its job are one transaction: there is never one without the other, as there would be
if the job were sent to the queue before the commit (which may fail) or after it (which may not be
lived to see). The mover takes staged jobs to a stream, and each gets there exactly once, because the
entry's id is the job's number: the stream refuses an id that is not above its last one, so what is
sent again after a crash or a lost reply changes nothing.

That needs jobs to be sent in the order of their numbers, and numbers to become visible in their
order. SQLite has one writer at a time, so they do. In a database with several writers a lower number
may be committed after a higher one: take a lock for the insert, or a set of numbers instead.

Nobody else may add to the stream: its last id would be above the jobs' numbers, and they be refused.
That is found, but in a database that is restored from a backup new jobs can have numbers of jobs that
were sent before: raise its numbers above the stream's last id first.
"""

import sqlite3

import redis

SCHEMA = """
CREATE TABLE IF NOT EXISTS staged_jobs (
    -- Numbers are never used again, also after a deletion.
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    payload TEXT NOT NULL
);
"""


def open_database(path):
    database = sqlite3.connect(path, timeout=60, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.executescript(SCHEMA)
    return database


def stage(database, payload):
    """To be called within the transaction that the job belongs to."""
    database.execute("INSERT INTO staged_jobs (payload) VALUES (?)", (payload,))


class ForeignEntries(Exception):
    """The stream has ids that this database did not give out."""


class Mover:
    """Moves staged jobs to a stream. Several may run, and each may die at any moment."""

    def __init__(self, database, client, stream, batch=50):
        self.database, self.client, self.stream, self.batch = database, client, stream, batch

    def move(self):
        """Moves a batch; returns how many jobs it had."""
        query = "SELECT number, payload FROM staged_jobs ORDER BY number LIMIT ?"
        jobs = self.database.execute(query, (self.batch,)).fetchall()
        if jobs:
            self.send(jobs)
            self.check_last()
            self.forget(jobs[-1][0])
        return len(jobs)

    def send(self, jobs):
        # A transaction, so that an error (out of memory, read only) is one for all: if a later job
        # could pass where an earlier one did not, the earlier would be refused for ever.
        pipeline = self.client.pipeline(transaction=True)
        for number, payload in jobs:
            pipeline.xadd(self.stream, {"payload": payload}, id=f"{number}-0")
        for reply in pipeline.execute(raise_on_error=False):
            if isinstance(reply, Exception) and not is_there_already(reply):
                raise reply

    def check_last(self):
        """A refused job is in the stream only if the last id is one of this database's."""
        last = self.client.xinfo_stream(self.stream)["last-generated-id"]
        # Read after it, as it grows.
        given = self.database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'staged_jobs'").fetchone()[0]
        number, _, more = last.partition("-")
        if int(number) > given or more != "0":
            raise ForeignEntries(
                f"{self.stream} is at {last}, the database at {given}: jobs stay staged until their numbers "
                "and that of sqlite_sequence are raised above it")

    def forget(self, last):
        self.database.execute("DELETE FROM staged_jobs WHERE number <= ?", (last,))


def is_there_already(error):
    return isinstance(error, redis.ResponseError) and "equal or smaller" in str(error)


class Consumer:
    """Takes jobs from the stream and has their effect once: in one transaction with the note that it was had."""

    def __init__(self, database, client, stream, group, name, idle_ms):
        self.database, self.client = database, client
        self.stream, self.group, self.name, self.idle_ms = stream, group, name, idle_ms
        # All jobs up to the smallest number are done.
        database.execute("CREATE TABLE IF NOT EXISTS done_jobs (number INTEGER PRIMARY KEY)")
        database.execute("INSERT INTO done_jobs SELECT 0 WHERE NOT EXISTS (SELECT * FROM done_jobs)")
        try:
            client.xgroup_create(stream, group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def take(self, count=10, block_ms=100):
        """Jobs that the dead have left for `idle_ms`, else new ones."""
        _, entries, *_ = self.client.xautoclaim(self.stream, self.group, self.name, self.idle_ms, count=count)
        if not entries:
            found = self.client.xreadgroup(self.group, self.name, {self.stream: ">"}, count=count, block=block_ms)
            entries = found[0][1] if found else []
        return [(int(number.split("-")[0]), fields["payload"]) for number, fields in entries]

    def finish(self, number, effect):
        """Calls `effect(database)` unless the job was done before."""
        note = "INSERT OR IGNORE INTO done_jobs SELECT :number WHERE :number > (SELECT min(number) FROM done_jobs)"
        with self.database:
            self.database.execute("BEGIN IMMEDIATE")
            if self.database.execute(note, {"number": number}).rowcount == 1:
                effect(self.database)
        self.acknowledge(number)

    def acknowledge(self, number):
        self.client.xack(self.stream, self.group, f"{number}-0")

    def forget_done(self):
        """Takes from the stream what all groups have done, and from the database what this one has, but the last."""
        oldest = {}
        for group in self.client.xinfo_groups(self.stream):
            # Read after the last one delivered, so that what is delivered meanwhile is above it.
            pending = self.client.xpending(self.stream, group["name"])["min"]
            undelivered = int(group["last-delivered-id"].split("-")[0]) + 1
            oldest[group["name"]] = min(undelivered, int(pending.split("-")[0])) if pending else undelivered
        self.client.xtrim(self.stream, minid=f"{min(oldest.values())}-0", approximate=False)
        self.database.execute(
            "DELETE FROM done_jobs WHERE number < (SELECT max(number) FROM done_jobs WHERE number < ?)",
            (oldest[self.group],))
