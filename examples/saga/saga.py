"""Sagas: steps at several services that all happen, or whose effects are all taken back.

A stream is the log. It gets a record before and after whatever the coordinator does: `begin` and
`end` of the saga, of each step, of each compensation, and `abort` when a step has failed for good.
A coordinator that starts reads the log and goes on where the last one was killed: what has a begin
and no end may or may not have happened, so it is done again, or compensated.

That needs of the services: a step and its compensation, called any number of times with the same
saga, have their effect once; compensating what never happened is fine; and after a compensation a
step that comes late is refused. Calls have a timeout, so that nobody waits for a service for ever.
"""

import dataclasses
import logging
import time
from typing import Callable

logger = logging.getLogger(__name__)

# Only the latest coordinator writes: one that was thought dead, and wakes up, is told so here.
APPEND = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
    return redis.error_reply('SUPERSEDED another coordinator has begun')
end
return redis.call('XADD', KEYS[1], '*', 'saga', ARGV[2], 'event', ARGV[3], 'step', ARGV[4])
"""


class Refused(Exception):
    """A service says no for good: sold out, not allowed."""


class Unavailable(Exception):
    """A service does not answer: what it was asked may have happened, or not. So is any error but Refused."""


@dataclasses.dataclass(frozen=True)
class Step:
    name: str
    #: Both are called with the name of the saga.
    action: Callable[[str], None]
    compensation: Callable[[str], None]


def submit(client, prefix, saga):
    """A saga that is in the log ends, one way or the other."""
    client.xadd(prefix + "log", {"saga": saga, "event": "begin", "step": ""})


def read_log(client, prefix):
    """Yields (number of the record, saga, event, step) from the beginning."""
    last = "-"
    while page := client.xrange(prefix + "log", last, "+", count=1000):
        for number, record in page:
            yield number, record["saga"], record["event"], record["step"]
        last = "(" + page[-1][0]


def unfinished(client, prefix):
    """The records of each saga that has not ended, oldest saga first."""
    sagas = {}
    for _, saga, event, step in read_log(client, prefix):
        if event == "end" and not step:
            sagas.pop(saga, None)
        else:
            sagas.setdefault(saga, set()).add((event, step))
    return sagas


class Coordinator:
    """Brings every saga of the log to its end. Any number may be started; the last one works."""

    def __init__(self, client, prefix, steps, attempts=3, pause_seconds=0.001):
        self.client, self.prefix, self.steps = client, prefix, steps
        self.attempts, self.pause_seconds = attempts, pause_seconds
        self.append = client.register_script(APPEND)
        self.epoch = client.incr(prefix + "epoch")

    def run_all(self):
        """Has a go at each saga that is in the log now; returns how many wait for a service, to be called again."""
        sagas = unfinished(self.client, self.prefix)
        return sum(not self.run(saga, records) for saga, records in sagas.items())

    def run(self, saga, records):
        """Brings a saga with these records to its end: forward, unless a step was aborted.

        Returns False while a compensation does not pass: other sagas need not wait for it.
        """
        aborted = any(event == "abort" for event, _ in records)
        for step in [] if aborted else self.steps:
            if ("end", step.name) not in records and not self.advance(saga, step):
                aborted = True
                break
        if aborted:
            # Backward through all steps: those that never began have nothing to take back.
            for step in reversed(self.steps):
                if ("compensated", step.name) not in records and not self.compensate(saga, step, records):
                    return False
        self.log(saga, "end")
        return True

    def advance(self, saga, step):
        """Whether the step has happened; if not, the saga is aborted."""
        self.log(saga, "begin", step.name)
        passed = self.call(step.action, saga)
        self.log(saga, "end" if passed else "abort", step.name)
        return passed

    def compensate(self, saga, step, records):
        """Whether the compensation has passed: it has to, sooner or later, there is no other way to an end."""
        if ("compensate", step.name) not in records:
            self.log(saga, "compensate", step.name)
        passed = self.call(step.compensation, saga)
        if passed:
            self.log(saga, "compensated", step.name)
        return passed

    def call(self, service, saga):
        """Whether the service has done it."""
        for _ in range(self.attempts):
            try:
                service(saga)
                return True
            except Refused:
                break
            except Exception:
                logger.info("%s waits for a service", saga, exc_info=True)
                time.sleep(self.pause_seconds)
        return False

    def log(self, saga, event, step=""):
        """Returns the number of the record."""
        keys = [self.prefix + "log", self.prefix + "epoch"]
        return self.append(keys=keys, args=[self.epoch, saga, event, step])


def forget_ended(client, prefix):
    """Takes from the log what lies before the oldest saga that has not ended.

    By a record's number and not by a count, so that a saga that is submitted meanwhile stays.
    """
    begun, last = {}, None
    for last, saga, event, step in read_log(client, prefix):
        if event == "end" and not step:
            begun.pop(saga, None)
        else:
            begun.setdefault(saga, last)
    if last:
        # Sagas are in the order of their first records.
        client.xtrim(prefix + "log", minid=next(iter(begun.values()), last), approximate=False)
