"""A role that processes in Python and Node compete for, by both locks at once, while holders are killed and stopped.

usage: python3 examples/timestamp_lock/main.py [redis://host:port/db]

Needs the package ioredis where Node finds it. Each process writes down from when until when it claims to
have the role; in the end no two claims may overlap. These times are of one clock, the machine's.
"""

import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import demo
from demo import PATIENCE, check, wait_for
from lock import ExpiringLock, TimestampLock

HERE = pathlib.Path(__file__).resolve().parent
LANGUAGES = {"python": HERE / "contender.py", "node": HERE / "contender.js"}
EACH = 2
RENEWALS = 3
CROWD = 6
STAMPEDES = 40
# Seconds by which clocks differ in the old form; the rest of the margin is for the machine's stalls.
AHEAD = 0.25
# Where one of the old form stops for longer than the margin: whether it finds a dead holder's lock or a free one, by
# how much its clock is ahead, and what it stops before, in the takeover, in renewing, before renewing reads the clock.
STALLS = ((True, -AHEAD, "getset"), (False, -AHEAD, "getset"), (False, 0, "times"))


def claims(form, folder):
    """All claims of one form, as [begin, end, token, name], by their begin; not those that were over when
    the reply came."""
    found = []
    for path in pathlib.Path(folder).glob(f"{form} *"):
        own = []
        for line in path.read_text().splitlines(keepends=True):
            if not line.endswith("\n"):
                break
            what, token, begin, until = line.split()
            if what == "claim":
                own.append([float(begin), float(until), int(token), path.name.partition(" ")[2]])
            else:
                # Given back, before the time of the last claims.
                own = [[start, min(end, float(begin)), *rest] for start, end, *rest in own]
        found += [claim for claim in own if claim[0] < claim[1]]
    return sorted(found)


class Contest:
    """The processes that compete for one role, and what is done to them."""

    def __init__(self, start, prefix, form, folder):
        self.start, self.prefix, self.form, self.folder = start, prefix, form, folder
        self.running, self.started, self.waits = {}, 0, []
        for language in LANGUAGES:
            for _ in range(EACH):
                self.add(language)

    def add(self, language):
        self.started += 1
        name = f"{language}-{self.started}"
        ahead = AHEAD * (self.started % 2)
        self.running[name] = self.start(LANGUAGES[language], self.prefix, self.form, name, self.folder, ahead)

    def holder(self, since=0.0):
        """Who has the role now, by a claim of later than `since`."""
        now = time.monotonic()
        current = [name for begin, end, _, name in claims(self.form, self.folder) if since < begin <= now < end]
        return current[-1] if current and current[-1] in self.running else None

    def wait_for_holder(self, since=0.0, but=()):
        def other():
            name = self.holder(since)
            return name if name not in but else None

        name = wait_for(other, PATIENCE, f"{self.form}: somebody has the role")
        if since:
            self.waits.append(time.monotonic() - since)
        self.settle(name)
        return name

    def settle(self, name):
        """Lets a holder renew its lock some times, unless it loses it."""
        def renewed():
            mine = [claim for claim in claims(self.form, self.folder) if claim[3] == name]
            return len(mine) > RENEWALS or self.holder() != name

        wait_for(renewed, PATIENCE, f"{self.form}: {name} renews")

    def kill(self, names):
        """Kills some with SIGKILL, waits until another has the role, and replaces them."""
        since = time.monotonic()
        for name in names:
            demo.kill(self.running.pop(name))
        taker = self.wait_for_holder(since)
        for name in names:
            self.add(name.partition("-")[0])
        return taker

    def kill_language_of(self, name):
        language = name.partition("-")[0]
        return self.kill([other for other in self.running if other.startswith(language)])

    def stop_for_a_while(self, name):
        """SIGSTOP, as a long pause of a garbage collector or a machine; it goes on when another has the role."""
        since = time.monotonic()
        self.running[name].send_signal(signal.SIGSTOP)
        taker = self.wait_for_holder(since, but=[name])
        self.running[name].send_signal(signal.SIGCONT)
        return taker

    def end(self, name):
        """SIGTERM: the role is given back, and another has it at once."""
        since = time.monotonic()
        demo.end([self.running.pop(name)])
        return self.wait_for_holder(since)


def compete(start, prefix, form, folder):
    contest = Contest(start, prefix, form, folder)
    holder = contest.kill([contest.wait_for_holder()])
    # Twice, so that each language takes over from the other.
    holder = contest.kill_language_of(holder)
    holder = contest.kill_language_of(holder)
    if form == "expiring":
        holder = contest.stop_for_a_while(holder)
    contest.end(holder)
    demo.end(contest.running.values())
    return report(contest)


def report(contest):
    """Checks the claims of one role."""
    form, client = contest.form, demo.connect()
    all_claims = claims(form, contest.folder)
    changes, longest = 0, None
    for claim in all_claims:
        begin, end, token, name = claim
        if longest and longest[3] != name:
            check(begin >= longest[1], f"{form}: two at once, for {longest[1] - begin:.3f} s: {longest} and {claim}")
            check(form == "timestamp" or token > longest[2], f"{form}: tokens do not grow: {longest} and {claim}")
            changes += 1
        if not longest or end > longest[1] or name != longest[3]:
            longest = claim
    languages = {claim[3].partition("-")[0] for claim in all_claims}
    check(languages == set(LANGUAGES), f"{form}: only {languages} had the role")
    check(changes >= len(contest.waits) >= 4, f"{form}: the role changed {changes} times")

    def free():
        value = client.get(f"{contest.prefix}{form}")
        return value is None or (form == "timestamp" and int(value) < time.time() * 1000)

    wait_for(free, PATIENCE, f"{form}: the lock is free in the end")
    steps = client.lrange(f"{contest.prefix}{form}:steps", 0, -1)
    tokens = [int(step.split()[0]) for step in steps]
    check(steps, f"{form}: no steps")
    check(form == "timestamp" or tokens == sorted(tokens), f"{form}: a step of an older holder after one of a newer")
    refused = int(client.get(f"{contest.prefix}{form}:refused") or 0)
    return (f"{form}: {len(all_claims)} claims by {contest.started} processes, {changes} changes, overlaps 0, "
            f"{len(steps)} steps of work" + (f", {refused} refused as late" if form == "expiring" else "") +
            f", taken over within {max(contest.waits):.1f} s")


def refusals(prefix):
    """What those who do not have the lock cannot do."""
    client = demo.connect()
    for kind in (TimestampLock, ExpiringLock):
        key = f"{prefix}{kind.__name__}"
        first, second = kind(client, key, term=20), kind(client, key, term=20)
        check(first.acquire() and not second.acquire(), f"{key}: one of two has it")
        check(not second.renew(), f"{key}: who does not have it does not renew it")
        check(not second.release() and client.exists(key), f"{key}: who does not have it does not release it")
        if kind is ExpiringLock:
            token = first._acquire(keys=[key, key + ":tokens"], args=[first.value, 20_000])
            check(token == first.token, f"{key}: a request that is sent again is refused")
        first.release()
        check(second.acquire(), f"{key}: what is released is free")
        second.release()


def stall(start, prefix, folder, language, found_dead, ahead, stop):
    """One that is stopped until another has the lock, and what it does then to that one's lock, and claims."""
    client, key, case = demo.connect(), f"{prefix}timestamp", f"{language}, stopped before {stop}"
    if found_dead:
        client.set(key, 1000)
    process = start(LANGUAGES[language], prefix, "timestamp", language, folder, ahead, stop)
    stopped = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
    wait_for(lambda: os.waitid(os.P_PID, process.pid, stopped), PATIENCE, f"{case}: it stops")
    other = TimestampLock(client, key)

    def taken():
        now = time.monotonic()
        return other.acquire() and now

    begin = wait_for(taken, PATIENCE, f"{case}: the lock ends")
    ends = int(client.get(key))
    # Heard when it goes on: it ends after this one step.
    process.terminate()
    process.send_signal(signal.SIGCONT)
    demo.end([process])
    check(int(client.get(key) or 0) >= ends, f"{case}: another's lock ends earlier now")
    both = [claim for claim in claims("timestamp", folder) if claim[0] < other.until and begin < claim[1]]
    check(not both, f"{case}: two at once, from {begin} to {other.until} and {both}")


def stalls(start, prefix, folder):
    def one(number):
        language, case = list(LANGUAGES)[number % 2], STALLS[number // 2]
        own = pathlib.Path(folder, f"stall {number}")
        own.mkdir()
        stall(start, f"{prefix}{number}:", own, language, *case)

    with concurrent.futures.ThreadPoolExecutor() as threads:
        list(threads.map(one, range(2 * len(STALLS))))


def stampede(prefix):
    """All ask at once for a lock whose holder died: each time one gets it."""
    client, start = demo.connect(), threading.Barrier(CROWD)

    def ask(lock):
        start.wait(PATIENCE)
        return lock.acquire()

    for kind in (TimestampLock, ExpiringLock):
        for number in range(STAMPEDES):
            key = f"{prefix}{kind.__name__}:{number}"
            if kind is TimestampLock:
                # Of long ago; the other form's key is gone when its holder is.
                client.set(key, 1000)
            with concurrent.futures.ThreadPoolExecutor(CROWD) as crowd:
                won = sum(crowd.map(ask, [kind(client, key, term=60) for _ in range(CROWD)]))
            check(won == 1, f"{key}: {won} of {CROWD} who asked at once have the lock")


def one_clock():
    """Node's clock has to be Python's for the comparison of claims."""
    before = time.monotonic()
    node = subprocess.run(["node", LANGUAGES["node"]], capture_output=True, text=True)
    if "Cannot find module" in node.stderr:
        raise SystemExit("timestamp_lock: Node finds no ioredis: npm install --no-save ioredis@5.11.1")
    check(before < float(node.stdout) < time.monotonic(), f"clocks differ: {before}, {node.stdout} {node.stderr}")


def main(prefix):
    one_clock()
    refusals(prefix)
    stampede(prefix)
    with demo.processes() as start, tempfile.TemporaryDirectory() as folder, \
            concurrent.futures.ThreadPoolExecutor() as threads:
        stalls(start, prefix, folder)
        roles = [threads.submit(compete, start, prefix, form, folder) for form in ("timestamp", "expiring")]
        return "; ".join(role.result() for role in roles) + (
            f"; {2 * STAMPEDES} times one of {CROWD} who asked at once; {2 * len(STALLS)} stopped for too long")


if __name__ == "__main__":
    demo.run("timestamp_lock", main)
