"""redis-py's Lock, whose release, extension and renewal are Lua scripts.

Shown: processes that increment a number in a file under the lock never meet, though the script
cache is flushed meanwhile and one of them is killed while it holds the lock; a lock ends by its
time; only its owner releases, extends or renews it, with the right error for everybody else;
waiting for it ends at blocking_timeout.
"""

import signal
import sys
import time

from redis.exceptions import LockError, LockNotOwnedError

from common import GuardedCounter, check, connect, join, processes, raises, wait_for

PROCESSES = 4
ROUNDS = 250
TIMEOUT = 5
KILLED_TIMEOUT = 1


def errors_and_times(client):
    first, second = (client.lock("plain", timeout=TIMEOUT, sleep=0.01) for _ in range(2))
    check(first.acquire() and first.owned() and first.locked(), "a free lock is acquired")
    check(second.locked() and not second.owned(), "the other knows that it does not own it")
    raises(LockError, second.release)

    start = time.monotonic()
    check(not second.acquire(blocking_timeout=0.3), "a lock that is held is not acquired")
    check(0.2 < time.monotonic() - start < 2, "blocking_timeout ends the wait")

    first.extend(TIMEOUT)
    check(TIMEOUT * 1000 < client.pttl("plain") <= 2 * TIMEOUT * 1000, "extend adds")
    first.extend(TIMEOUT, replace_ttl=True)
    check(client.pttl("plain") <= TIMEOUT * 1000, "extend replaces")
    client.pexpire("plain", 500)
    first.reacquire()
    check(500 < client.pttl("plain") <= TIMEOUT * 1000, "reacquire renews")
    first.release()
    check(not client.exists("plain") and not second.locked(), "release deletes the key")
    raises(LockError, first.release)

    short = client.lock("short", timeout=0.2)
    check(short.acquire(), "a free lock is acquired")
    check(second_owner(client).acquire(), "a lock ends by its time")
    raises(LockNotOwnedError, short.reacquire)
    for replace in (False, True):
        raises(LockNotOwnedError, short.extend, 1, replace_ttl=replace)
    raises(LockNotOwnedError, short.release)
    check(client.exists("short"), "the new owner's lock stays")


def second_owner(client):
    return client.lock("short", timeout=TIMEOUT, sleep=0.01, blocking_timeout=2)


def increment():
    client, counter = connect(), GuardedCounter()
    lock = client.lock("shared", timeout=TIMEOUT, sleep=0.002)
    for number in range(ROUNDS):
        with lock:
            if number % 10 == 0:
                # Only by the owner: redis-py takes it ill between its loading and running a script.
                client.script_flush()
                lock.extend(1)
                lock.reacquire()
            counter.add_one()


def hold():
    check(connect().lock("shared", timeout=KILLED_TIMEOUT).acquire(), "the lock is free")
    connect().set("held", 1)
    signal.pause()


def main():
    client = connect()
    errors_and_times(client)
    with processes() as start:
        holder = start(__file__, "hold")
        wait_for(lambda: client.get("held"), 10, "the lock is held")
        holder.kill()
        running = [start(__file__, "increment") for _ in range(PROCESSES)]
        join(running, 40)
    count = GuardedCounter().value()
    check(count == PROCESSES * ROUNDS, f"{count} increments")
    check(not client.exists("shared"), "the lock is free in the end")
    print(f"{count} increments by {PROCESSES} processes under one lock")


if __name__ == "__main__":
    {"increment": increment, "hold": hold}.get(sys.argv[-1], main)()
