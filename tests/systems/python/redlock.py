"""pottery's Redlock: one lock on five servers, two of which are killed meanwhile.

Shown: processes that increment a number in a file under the lock never meet, and go on with three
servers of five; with two of five nobody gets the lock, and the error says why.
"""

import logging
import os
import pathlib
import signal
import sys

import pottery
from pottery.exceptions import (ExtendUnlockedLock, QuorumIsImpossible, ReleaseUnlockedLock,
                                TooManyExtensions)

from common import PIDS, PORTS, GuardedCounter, check, connect, join, processes, raises, wait_for

PROCESSES = 3
ROUNDS = 40
# A lock that is left on a minority of the servers is in the way for as long.
RELEASE_SECONDS = 2.0
# One line for each lock that lost its majority.
SHAKEN = pathlib.Path("shaken")


class Redlock(pottery.Redlock):
    """One that tries again soon."""

    _RETRY_DELAY = 0.02


def lock_of(key):
    options = {"socket_timeout": 1, "retry": None, "decode_responses": False}
    masters = {connect(port, **options) for port in PORTS}
    return Redlock(key=key, masters=masters, auto_release_time=RELEASE_SECONDS)


def increment():
    # Every answer of a dead server is logged with its traceback.
    logging.getLogger("pottery").setLevel(logging.CRITICAL)
    counter, lock = GuardedCounter(), lock_of("shared")
    done = 0
    while done < ROUNDS:
        try:
            with lock:
                if done % 5 == 0:
                    lock.extend()
                counter.add_one(0.002)
                done += 1
        except (ExtendUnlockedLock, ReleaseUnlockedLock):
            # A server that held it died, and the others are no majority: nobody else has one, either.
            with SHAKEN.open("a") as file:
                print(done, file=file)


def one_owner():
    first, second = lock_of("plain"), lock_of("plain")
    check(first.acquire() and first.locked(), "a free lock is acquired")
    check(not second.acquire(blocking=False) and not second.locked(), "by one only")
    for _ in range(3):
        first.extend()
    raises(TooManyExtensions, first.extend)
    check(second.acquire(timeout=3 * RELEASE_SECONDS), "a lock ends by its time")
    check(not first.locked(), "and is then not the first one's")
    second.release()


def main():
    check(len(PORTS) == 5, "five servers")
    one_owner()
    counter = GuardedCounter()
    total = PROCESSES * ROUNDS
    SHAKEN.touch()
    with processes() as start:
        running = [start(__file__, "increment") for _ in range(PROCESSES)]
        for number in range(2):
            wait_for(lambda: counter_reached(counter, total * (number + 1) // 3), 40, "progress")
            os.kill(PIDS[number], signal.SIGKILL)
        join(running, 40)
    check(counter.value() == total, f"{counter.value()} increments")
    shaken = len(SHAKEN.read_text().splitlines())
    check(shaken <= 2, f"{shaken} locks lost their majority by the deaths of two servers")

    os.kill(PIDS[2], signal.SIGKILL)
    logging.getLogger("pottery").setLevel(logging.CRITICAL)
    raises(QuorumIsImpossible, lock_of("late").acquire, blocking=False, raise_on_redis_errors=True)
    print(f"{total} increments by {PROCESSES} processes while two servers of five were killed")


def counter_reached(counter, number):
    try:
        return counter.value() >= number
    except ValueError:
        # Read between its truncation and its writing.
        return False


if __name__ == "__main__":
    increment() if sys.argv[-1] == "increment" else main()
