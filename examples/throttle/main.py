"""Two limits under load: six callers that never rest, two of them killed, their connections cut all the time.

usage: python3 examples/throttle/main.py [redis://host:port/db]

Shown, by the server's own times: no window and no span of its length lets more than the limit
through, none refuses a call before the limit is reached (but for calls whose answer was lost), no
window begins early, no counter is left without an end.
"""

import collections
import pathlib
import random
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import demo
import faults
from demo import check
from throttle import FixedWindow, SlidingWindow

CALLERS = 6
KILLED = 2
LIMIT = 50
SECONDS = 1
SPAN_US = SECONDS * 1_000_000
WINDOWS = 5


def call_without_rest(prefix, path):
    client, journal = faults.connect(prefix), faults.Journal(path)
    limits = [kind(client, prefix + kind.__name__, LIMIT, SECONDS) for kind in (FixedWindow, SlidingWindow)]
    while True:
        for limit in limits:
            decision = limit.ask()
            journal.write(type(limit).__name__, int(decision.allowed), decision.number, decision.at_us)


def decisions(folder, limit):
    lines = [line for path in folder.iterdir() for line in faults.read_journal(path)]
    return [tuple(map(int, line[1:])) for line in lines if line[0] == limit.__name__]


def windows_of(calls):
    windows = collections.defaultdict(list)
    for allowed, number, ends_at_us in calls:
        windows[ends_at_us].append((number, allowed))
    return dict(sorted(windows.items()))


def check_fixed(windows, lost):
    for answers in windows.values():
        numbers = [number for number, _ in answers]
        check(len(set(numbers)) == len(numbers), "two calls of a window have the same number")
        check(all(allowed == (number <= LIMIT) for number, allowed in answers), "a wrong answer")
        check(sum(allowed for _, allowed in answers) <= LIMIT, f"more than {LIMIT} in a window")
        lost -= max(numbers) - len(numbers)
    check(lost >= 0, f"{-lost} calls were counted that nobody made")
    ends = list(windows)
    shortest = min(after - before for before, after in zip(ends, ends[1:]))
    check(shortest >= SPAN_US, f"a window of {shortest} µs")


def check_sliding(calls, lost):
    allowed = sorted(at_us for passed, _, at_us in calls if passed)
    for before, after in zip(allowed, allowed[LIMIT:]):
        check(after - before >= SPAN_US, f"{LIMIT + 1} calls within {after - before} µs")
    recent = collections.deque()
    for at_us, refused in sorted((at_us, not passed) for passed, _, at_us in calls):
        while recent and recent[0] <= at_us - SPAN_US:
            recent.popleft()
        if not refused:
            recent.append(at_us)
        else:
            check(len(recent) + lost >= LIMIT, f"a call is refused after {len(recent)}")
    return len(allowed)


def call_under_faults(prefix, folder):
    """Until there were enough windows; returns how many connections were cut and how many callers killed."""
    client, cuts, killed, deadline = demo.connect(), 0, 0, time.monotonic() + 100
    with faults.forks() as start:
        callers = [start(call_without_rest, prefix, folder / str(number)) for number in range(CALLERS)]
        while (begun := len(windows_of(decisions(folder, FixedWindow)))) <= WINDOWS:
            check(time.monotonic() < deadline, f"only {begun} windows within 100 s")
            time.sleep(random.uniform(0.05, 0.3))
            cuts += faults.cut_connections(client, prefix)
            if begun > killed + 1 and killed < KILLED:
                faults.kill(callers[killed])
                killed += 1
    for key in client.scan_iter(prefix + "*"):
        check(client.ttl(key) != -1, f"{key} is left without an end")
    return cuts, killed


def main(prefix):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        cuts, killed = call_under_faults(prefix, folder)
        windows, sliding = windows_of(decisions(folder, FixedWindow)), decisions(folder, SlidingWindow)
    # A call whose connection was cut may have counted without an answer, so may the last of a process.
    check_fixed(windows, cuts + CALLERS)
    passed = check_sliding(sliding, cuts + CALLERS)
    most = max(sum(allowed for _, allowed in answers) for answers in windows.values())
    refused = sum(not allowed for answers in windows.values() for _, allowed in answers), len(sliding) - passed
    check(all(refused), "nobody is ever refused")
    return (f"limit {LIMIT}; {len(windows)} windows, at most {most} calls in one, {refused[0]} refused; "
            f"sliding: {passed} calls, never more than {LIMIT} in a span, {refused[1]} refused; "
            f"{cuts} connections cut, {killed} callers killed")


if __name__ == "__main__":
    demo.run("throttle", main)
