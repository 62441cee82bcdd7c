"""Decaying counters while those who add are killed: their successors add the last amounts again, to be sure.

usage: python3 examples/decaying_counters/main.py [redis://host:port/db]

Shown: the value after each addition, and in the end, is what the formula says of all additions and
their times, to a billionth; one that is lost or counted twice would make a difference a thousand
times as large. One that is sent again gets the answer that it had. Counters and what is remembered
of additions have an end.
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
from decaying_counters import DecayingCounter

COUNTERS = ("songs", "films")
ADDERS = 4
ADDITIONS = 800
HALF_LIFE_SECONDS = 3
KILLS = 8
# A successor goes back so many additions before the last that is known.
OVERLAP = 20
TOLERANCE = 1e-9


def counter_of(client, prefix, name):
    return DecayingCounter(client, prefix + name, HALF_LIFE_SECONDS)


def additions_of(adder):
    """The same at every call: counter and amount."""
    chance = random.Random(adder)
    return [(chance.choice(COUNTERS), chance.randint(1, 9)) for _ in range(ADDITIONS)]


def add_all(prefix, adder, path):
    client, journal = faults.connect(prefix), faults.Journal(path)
    additions = additions_of(adder)
    for number in range(max(0, next_addition(path) - OVERLAP), ADDITIONS):
        name, amount = additions[number]
        at_us, value = counter_of(client, prefix, name).add(amount, f"{adder}-{number}")
        journal.write(number, name, amount, at_us, repr(value))


def next_addition(path):
    lines = faults.read_journal(path)
    return int(lines[-1][0]) + 1 if lines else 0


def add_under_faults(prefix, paths):
    """Returns how many adders were killed and how many connections cut."""
    client, cuts = demo.connect(), 0
    with faults.forks() as start:
        adders = faults.Crew(start, *((add_all, prefix, adder, path) for adder, path in enumerate(paths)))
        deadline = time.monotonic() + 100
        while adders.is_alive():
            check(time.monotonic() < deadline, "the adders do not come to an end")
            time.sleep(0.01)
            # Kills are spread evenly over the additions.
            if sum(map(next_addition, paths)) > (adders.kills + 1) * ADDERS * ADDITIONS / (KILLS + 1):
                adders.kill_one()
                cuts += faults.cut_connections(client, prefix)
        faults.join(adders.processes, 1)
    return adders.kills, cuts


def read_answers(paths):
    """The answers by counter as (time, value, amount), and how many additions were sent again."""
    answers, again = collections.defaultdict(list), 0
    for path in paths:
        known = {}
        for number, name, amount, at_us, value in faults.read_journal(path):
            answer = name, int(at_us), float(value), int(amount)
            again += number in known
            check(known.setdefault(number, answer) == answer, f"{known[number]} became {answer} when sent again")
        check(len(known) == ADDITIONS, f"{len(known)} answers of {ADDITIONS}")
        for name, *answer in known.values():
            answers[name].append(tuple(answer))
    return answers, again


def check_formula(counter, answers):
    """Goes through the additions by their times; returns the largest relative error."""
    at_times = collections.defaultdict(list)
    for at_us, value, amount in answers:
        at_times[at_us].append((value, amount))
    total, before_us, errors = 0.0, 0, []
    for at_us, additions in sorted(at_times.items()):
        total = total * counter.decay(at_us - before_us) + sum(amount for _, amount in additions)
        # Of additions at the same microsecond the last one saw all of them.
        errors.append(abs(max(value for value, _ in additions) / total - 1))
        before_us = at_us
    now_us, value = counter.read()
    exact = sum(amount * counter.decay(now_us - at_us) for at_us, _, amount in answers)
    errors.append(abs(value / exact - 1))
    check(max(errors) < TOLERANCE, f"an error of {max(errors):.2g}")
    return max(errors)


def main(prefix):
    client = demo.connect()
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder, str(adder)) for adder in range(ADDERS)]
        kills, cuts = add_under_faults(prefix, paths)
        answers, again = read_answers(paths)
    error = max(check_formula(counter_of(client, prefix, name), answers[name]) for name in COUNTERS)
    for key in client.scan_iter(prefix + "*", count=1000):
        check(client.pttl(key) != -1, f"{key} has no end")
    check(kills, "nobody is killed")
    return (f"additions {ADDERS * ADDITIONS} to {len(COUNTERS)} counters, lost 0, doubled 0; largest error {error:.1e}; "
            f"{again} sent again by successors of {kills} killed adders, {cuts} connections cut")


if __name__ == "__main__":
    demo.run("decaying_counters", main)
