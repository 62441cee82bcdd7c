"""Visitors of five days, counted by HyperLogLog and bitmap while those who count are killed.

usage: python3 examples/user_cardinality/main.py [redis://host:port/db]

Shown: bitmaps count exactly, also unions and who came back; estimates are within four standard
errors, which is measured and printed beside the exact count; they are those of a HyperLogLog that was
told everything once, by one writer, so nothing that a killed writer was told is lost. All days' keys
have an end.
"""

import pathlib
import random
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import demo
import faults
from demo import check
from user_cardinality import Visitors

USERS = 60_000
# Different visitors of each day.
DAYS = {"mon": 100, "tue": 1000, "wed": 10_000, "thu": 30_000, "fri": 50_000}
WRITERS = 4
BATCH = 250
KILLS = 8
STANDARD_ERROR = 0.0081


def visitors_of(day):
    """The same at every call."""
    return set(random.Random(day).sample(range(USERS), DAYS[day]))


def batches_of(writer):
    """Batches of visits; a fifth of the users comes a second time, often to another writer."""
    batches = []
    for day in DAYS:
        chance, users = random.Random(day), sorted(visitors_of(day))
        visits = users + chance.sample(users, len(users) // 5)
        chance.shuffle(visits)
        mine = visits[writer::WRITERS]
        batches += [(day, mine[begin:begin + BATCH]) for begin in range(0, len(mine), BATCH)]
    return batches


def write(prefix, batches, path):
    """A successor does the batch again that may have been done in part."""
    visitors, journal = Visitors(faults.connect(prefix), prefix), faults.Journal(path)
    for number in range(len(faults.read_journal(path)), len(batches)):
        visitors.visit(*batches[number])
        journal.write(number)


def write_under_faults(prefix, folder):
    """Returns how many visits there are, how many writers were killed and how many connections cut."""
    client, cuts = demo.connect(), 0
    work = [batches_of(writer) for writer in range(WRITERS)]
    paths, total = [folder / str(writer) for writer in range(WRITERS)], sum(map(len, work))
    with faults.forks() as start:
        writers = faults.Crew(start, *((write, prefix, *job) for job in zip(work, paths)))
        deadline = time.monotonic() + 100
        while writers.is_alive():
            check(time.monotonic() < deadline, "the writers do not come to an end")
            time.sleep(0.005)
            # Kills are spread evenly over the batches.
            if sum(len(faults.read_journal(path)) for path in paths) > (writers.kills + 1) * total / (KILLS + 1):
                writers.kill_one()
                cuts += faults.cut_connections(client, prefix)
        faults.join(writers.processes, 1)
    return sum(len(users) for batches in work for _, users in batches), writers.kills, cuts


def measure(visitors, name, days, exact):
    """Prints a line of the table and returns the estimate's error."""
    estimate, count = visitors.estimate(*days), visitors.count(*days)
    error = estimate / exact - 1
    print(f"{name:12} {exact:8} {count:8} {estimate:8} {100 * error:+8.2f} %")
    check(count == exact, f"{name}: {count} by bitmap, exactly {exact}")
    check(abs(error) <= 4 * STANDARD_ERROR, f"{name}: {estimate} by HyperLogLog, exactly {exact}")
    return abs(error)


def check_told_once(visitors, days):
    """The estimates are those of HyperLogLogs that one writer tells each visitor once, in another order."""
    once = Visitors(visitors.client, visitors.prefix + "once:")
    for day in days:
        users = sorted(visitors_of(day), reverse=True)
        for begin in range(0, len(users), 5000):
            once.client.pfadd(once.estimate_key(day), *(f"user-{user}" for user in users[begin:begin + 5000]))
        told, told_once = visitors.estimate(day), once.estimate(day)
        check(told == told_once, f"{day}: {told}, told once {told_once}")


def main(prefix):
    client = demo.connect()
    with tempfile.TemporaryDirectory() as folder:
        visits, kills, cuts = write_under_faults(prefix, pathlib.Path(folder))
    for key in client.scan_iter(prefix + "*"):
        check(client.ttl(key) != -1, f"{key} has no end")
    visitors, users = Visitors(client, prefix), {day: visitors_of(day) for day in DAYS}
    print(f"{'visitors':12} {'exact':>8} {'bitmap':>8} {'HLL':>8} {'error':>8}")
    errors = [measure(visitors, day, [day], len(users[day])) for day in DAYS]
    errors.append(measure(visitors, "thu or fri", ["thu", "fri"], len(users["thu"] | users["fri"])))
    errors.append(measure(visitors, "all days", list(DAYS), len(set().union(*users.values()))))
    loyal = users["wed"] & users["thu"] & users["fri"]
    check(visitors.loyal("wed", "thu", "fri") == len(loyal), "who came on each of three days")
    for user in range(0, USERS, 97):
        check(visitors.came("fri", user) == (user in users["fri"]), f"whether user {user} came")
    check_told_once(visitors, DAYS)
    check(kills, "nobody is killed")
    sizes = [client.strlen(key) for key in (visitors.estimate_key("fri"), visitors.bitmap_key("fri"))]
    return (f"visits {visits} of {len(set().union(*users.values()))} users; bitmap: error 0, {sizes[1]} bytes; "
            f"HyperLogLog: largest error {100 * max(errors):.2f} %, "
            f"mean {100 * sum(errors) / len(errors):.2f} %, {sizes[0]} bytes; {kills} writers killed, "
            f"{cuts} connections cut")


if __name__ == "__main__":
    demo.run("user_cardinality", main)
