"""Two limits under load: six callers that never rest, two of them killed, their connections cut all the time.

usage: python3 examples/throttle/main.py [redis://host:port/db]

Shown, by the server's own times: no window and no span of its length lets more than the limit
through, no window begins early, no counter is left without an end. A call is refused only when the
limit is reached: in a window, calls whose answer was lost count as well, in a span only the last ones
of callers that have ended. One that is sent again gets the answer that it had, and counts once.
"""

import collections
import itertools
import math
import pathlib
import random
import sys
import tempfile
import time
import uuid

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
    fixed, sliding = (kind(client, prefix + kind.__name__, LIMIT, SECONDS) for kind in (FixedWindow, SlidingWindow))

    def note(limit, decision):
        journal.write(type(limit).__name__, int(decision.allowed), decision.number, decision.at_us)

    while True:
        note(fixed, fixed.ask())
        call = uuid.uuid4().hex
        decision = sliding.ask(call)
        note(sliding, decision)
        # As after a lost reply. When a span has passed it is a new call.
        if decision.allowed and (again := sliding.ask(call)) != decision:
            check(again.at_us >= decision.at_us + SPAN_US, "a call that is sent again counts again")
            note(sliding, again)


def decisions(folder, limit):
    """The answers of each caller."""
    journals = {path.name: faults.read_journal(path) for path in folder.iterdir()}
    return {name: [tuple(map(int, line[1:])) for line in lines if line[0] == limit.__name__]
            for name, lines in journals.items()}


def windows_of(calls):
    windows = collections.defaultdict(list)
    for allowed, number, ends_at_us in itertools.chain(*calls.values()):
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


def silences(calls, ends):
    """When a call may have been let through, and counted, that was not answered, or a span later.

    A caller sends a call until it gets the answer that the first one had.
    """
    for name, answers in calls.items():
        times = [at_us for _, _, at_us in answers] + [ends.get(name, math.inf)]
        yield from ((before, after) for before, after in zip(times, times[1:]) if after - before > SPAN_US)


def check_sliding(calls, ends):
    """Returns how many calls were let through, and how many were refused."""
    all_calls = sorted((at_us, not passed) for passed, _, at_us in itertools.chain(*calls.values()))
    allowed = [at_us for at_us, refused in all_calls if not refused]
    for before, after in zip(allowed, allowed[LIMIT:]):
        check(after - before >= SPAN_US, f"{LIMIT + 1} calls within {after - before} µs")
    silent, recent = list(silences(calls, ends)), collections.deque()
    for at_us, refused in all_calls:
        while recent and recent[0] <= at_us - SPAN_US:
            recent.popleft()
        if not refused:
            recent.append(at_us)
        elif len(recent) < LIMIT:
            lost = sum(before <= at_us <= after for before, after in silent)
            check(len(recent) + lost >= LIMIT, f"a call is refused after {len(recent)}, with {lost} callers silent")
    return len(allowed), len(all_calls) - len(allowed)


def call_under_faults(prefix, folder):
    """Until there were enough windows; returns how many connections were cut, and which callers killed until when."""
    client, cuts, killed, deadline = demo.connect(), 0, {}, time.monotonic() + 100
    with faults.forks() as start:
        callers = [start(call_without_rest, prefix, folder / str(number)) for number in range(CALLERS)]
        while (begun := len(windows_of(decisions(folder, FixedWindow)))) <= WINDOWS:
            check(time.monotonic() < deadline, f"only {begun} windows within 100 s")
            check(all(caller.is_alive() for caller in callers[len(killed):]), "a caller has failed")
            time.sleep(random.uniform(0.05, 0.3))
            cuts += faults.cut_connections(client, prefix)
            if begun > len(killed) + 1 and len(killed) < KILLED:
                faults.kill(callers[len(killed)])
                seconds, micros = client.time()
                # What it sent last counts for a span; one more, as the server may come to it later.
                killed[str(len(killed))] = seconds * 1_000_000 + micros + 2 * SPAN_US
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
    passed, refused = check_sliding(sliding, killed)
    most = max(sum(allowed for _, allowed in answers) for answers in windows.values())
    over = sum(not allowed for answers in windows.values() for _, allowed in answers)
    check(over and refused, "nobody is ever refused")
    return (f"limit {LIMIT}; {len(windows)} windows, at most {most} calls in one, {over} refused; "
            f"sliding: {passed} calls, never more than {LIMIT} in a span, {refused} refused, none too early; "
            f"{cuts} connections cut, {len(killed)} callers killed")


if __name__ == "__main__":
    demo.run("throttle", main)
