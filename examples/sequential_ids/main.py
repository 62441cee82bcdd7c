"""Ids by many workers that are killed, stand still and lose their connections.

usage: python3 examples/sequential_ids/main.py [redis://host:port/db]

Shown: no id is given out twice; a worker's ids ascend and stay within the time and the slot that it
was granted; grants of a slot do not overlap; ids of a range are consecutive and ranges disjoint; no
more is left unused than the killed workers held and lost replies cost. A worker whose clock is far from
the server's takes no slot from the others.
"""

import contextlib
import os
import pathlib
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import demo
import faults
from demo import check, wait_for
from sequential_ids import EPOCH_MS, SEQUENCE_BITS, SLOT_BITS, NoSlot, RangeIds, TimeIds, clock_ms

WORKERS = 4
# One more than there are workers, so that those who start have to take slots of the dead.
SLOTS = WORKERS + 1
LEASE_MS = 300
RANGE = 50
KILLS = 8
PAUSES = 2
BATCH = 20


def give_out(prefix, path):
    client, journal = faults.connect(prefix), faults.Journal(path)
    # A grant is written down before any of its ids.
    times = TimeIds(client, prefix, SLOTS, LEASE_MS, on_grant=lambda *grant: journal.write("grant", *grant))
    ranges = RangeIds(client, prefix + "sequence", RANGE, on_range=lambda *bounds: journal.write("range", *bounds))
    while True:
        try:
            journal.write("times", *(times.next_id() for _ in range(BATCH)))
        except NoSlot:
            time.sleep(LEASE_MS / 1000 / 10)
        journal.write("sequence", *(ranges.next_id() for _ in range(BATCH)))
        time.sleep(0.001)


def unless_no_slot(ask, *arguments):
    """None: there was none, or the machine stood still for a lease, which looks like a clock that is late."""
    with contextlib.suppress(NoSlot):
        return ask(*arguments)


def clocks(prefix):
    """Clocks that are an hour off get no slot, however often they start; half a lease off they do."""
    def worker(ahead_ms, lease_ms=LEASE_MS):
        return TimeIds(demo.connect(), prefix, SLOTS, lease_ms, clock=lambda: clock_ms() + ahead_ms)

    near, given = [worker(ahead) for ahead in (-LEASE_MS // 2, 0, LEASE_MS // 2)], []
    for hour in (3_600_000, -3_600_000):
        given += [wait_for(lambda: unless_no_slot(ids.next_id), 60, "a clock that is near gets a slot") for ids in near]
        for _ in range(SLOTS):
            check(not unless_no_slot(worker(hour).next_id), f"a clock that is {hour} ms ahead gets a slot")
        time.sleep(2 * LEASE_MS / 1000)
    given += [wait_for(lambda: unless_no_slot(ids.next_id), 60, "a clock that is near still has a slot") for ids in near]
    check(len(set(given)) == len(given), f"given twice: {given}")
    # Its time is not over for a minute, and clocks may be as far from each other.
    holder, ahead = worker(0, 60_000), worker(50_000, 60_000)
    wait_for(lambda: unless_no_slot(holder.next_id), 60, "a slot is free")
    check(not ahead.try_slot(holder.slot, holder.value), "a slot is taken before its time")


def lines(path, kind):
    return [tuple(map(int, line[1:])) for line in faults.read_journal(path) if line[0] == kind]


def wait_for_more(path):
    """Until the worker has (again) a slot and gives out ids."""
    before = len(lines(path, "times"))
    wait_for(lambda: len(lines(path, "times")) > before, 60, "a worker finds a slot")


def work_under_faults(prefix, folder):
    """Returns the paths of the journals and how many connections were cut."""
    client, paths, workers, cuts = demo.connect(), [], [], 0
    with faults.forks() as start:
        def start_worker():
            path = folder / str(len(paths))
            paths.append(path)
            workers.append((start(give_out, prefix, path), path))

        for _ in range(WORKERS):
            start_worker()
        for path in list(paths):
            wait_for_more(path)
        for turn in range(KILLS):
            time.sleep(random.uniform(0.05, 0.3))
            cuts += faults.cut_connections(client, prefix)
            if turn < PAUSES:
                paths.append(folder / f"thief-{turn}")
                stop_and_steal(*workers[-1], client, prefix, paths[-1])
            faults.kill(workers.pop(0)[0])
            start_worker()
            wait_for_more(paths[-1])
    return paths, cuts


def stop_and_steal(worker, path, client, prefix, journal_path):
    """Stops a worker for so long that its slot becomes free, has another one take it, and lets it go on."""
    journal = faults.Journal(journal_path)
    thief = TimeIds(client, prefix, SLOTS, LEASE_MS, on_grant=lambda *grant: journal.write("grant", *grant))
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        slot = lines(path, "grant")[-1][0]
        wait_for(lambda: unless_no_slot(thief.try_slot, slot, client.get(thief.key(slot))), 60, "its slot becomes free")
        journal.write("times", *(thief.next_id() for _ in range(BATCH)))
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    wait_for_more(path)


def check_times(paths):
    """Returns how many ids there are, and how many grants."""
    given, grants = [], []
    for path in paths:
        own, granted = [], lines(path, "grant")
        for number in (number for batch in lines(path, "times") for number in batch):
            check(any(within(number, *grant) for grant in reversed(granted)), f"{number} is outside of {granted}")
            own.append(number)
        check(all(before < after for before, after in zip(own, own[1:])), "a worker's ids do not ascend")
        given += own
        grants += granted
    check(len(set(given)) == len(given), f"{len(given) - len(set(given))} ids are given twice")
    grants.sort()
    for (slot, _, last_ms), (next_slot, first_ms, _) in zip(grants, grants[1:]):
        check(slot != next_slot or last_ms < first_ms, f"slot {slot} is granted twice for {first_ms}")
    return len(given), len(grants)


def within(number, slot, first_ms, last_ms):
    time_ms = (number >> SLOT_BITS + SEQUENCE_BITS) + EPOCH_MS
    return number >> SEQUENCE_BITS & (1 << SLOT_BITS) - 1 == slot and first_ms <= time_ms <= last_ms


def check_ranges(paths, reserved, lost):
    """Returns how many ids there are, and how many of those that were reserved are not used."""
    given = []
    for path in paths:
        own = [number for batch in lines(path, "sequence") for number in batch]
        expected = [number for first, last in lines(path, "range") for number in range(first, last + 1)]
        check(own == expected[:len(own)], "the ids of a range are not consecutive")
        given += own
    check(len(set(given)) == len(given), f"{len(given) - len(set(given))} ids of the sequence are given twice")
    check(max(given) <= reserved, f"id {max(given)} of {reserved} reserved")
    unused = reserved - len(given)
    check(unused <= lost * RANGE, f"{unused} ids of the sequence are not used")
    return len(given), unused


def main(prefix):
    clocks(prefix + "clocks:")
    with tempfile.TemporaryDirectory() as folder:
        paths, cuts = work_under_faults(prefix, pathlib.Path(folder))
        ids, grants = check_times(paths)
        # The last range of a worker, and one for each reply that was lost.
        reserved = int(demo.connect().get(prefix + "sequence"))
        numbers, unused = check_ranges(paths, reserved, len(paths) + cuts)
    return (f"{ids} ids by time in {grants} grants of {SLOTS} slots, {numbers} in sequence, none twice, {unused} unused; "
            f"{WORKERS + KILLS} workers, {KILLS} killed, {PAUSES} robbed of their slot, {cuts} connections cut")


if __name__ == "__main__":
    demo.run("sequential_ids", main)
