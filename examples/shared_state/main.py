"""Followers that join late, die and come back, and lose their connections, while three writers change scores.

usage: python3 examples/shared_state/main.py [redis://host:port/db]

In the end every copy is compared with the server's, and that with what the writers say they did. Some
changes are published where nobody listens, so that followers have a notice to miss.
"""

import collections
import json
import pathlib
import random
import signal
import sys
import tempfile
import time

import redis

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import demo
from demo import PATIENCE, check, wait_for
from state import Follower, State

WRITERS = 3
FOLLOWERS = 6
SHARED = 20
OWN = 10
CUTS = 3
# Changes whose notice nobody gets; after the last one there is no other to notice it by.
LOST = 6


def writer(prefix, name, folder):
    """Adds to members that all share, adds and removes its own, until SIGTERM; tells what must have come of it."""
    asked_to_end = []
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.append(True))
    state, changes, scores = State(demo.connect(), prefix), 0, collections.Counter()
    while not asked_to_end:
        member = random.choice([f"shared {random.randrange(SHARED)}", f"own {name} {random.randrange(OWN)}"])
        if member.startswith("own") and member in scores and random.random() < 0.3:
            del scores[member]
            state.remove(member)
        else:
            amount = random.randint(-100, 100)
            scores[member] += amount
            state.add(member, amount)
        changes += 1
        time.sleep(0.002)
    pathlib.Path(folder, f"writer {name}").write_text(json.dumps({"changes": changes, "scores": scores}))


class Witness(Follower):
    """A follower that notes which versions it was told of."""

    def __init__(self, state):
        super().__init__(state)
        self.heard, self.twice = set(), 0

    def apply(self, notice):
        version = int(notice.split(" ", 1)[0])
        self.twice += version in self.heard
        self.heard.add(version)
        return super().apply(notice)


def follower(prefix, name, folder):
    """Follows until the version that is the last one, and writes down its copy."""
    client = demo.connect(client_name=f"{prefix}{name}")
    state = State(client, prefix)
    witness, happened, joined_at, final, quiet = Witness(state), collections.Counter(), None, None, 0

    def unheard():
        """How many notices did not come, of changes after it had joined."""
        lost = set(map(int, client.lrange(prefix + "lost", 0, -1)))
        return len(set(range(joined_at + 1, final + 1)) - witness.heard - lost)

    while final is None or witness.version < final or (quiet < 25 and unheard()):
        what = witness.step(0.2)
        happened[what] += 1
        quiet = quiet + 1 if what == "quiet" else 0
        if what == "read":
            joined_at = witness.version if joined_at is None else joined_at
            client.hincrby(prefix + "joined", name, 1)
        if what in ("quiet", "behind") and final is None and (final := client.get(prefix + "final")):
            final = int(final)
    pathlib.Path(folder, f"follower {name}").write_text(json.dumps({
        "scores": witness.scores, "version": witness.version, "joined_at": joined_at, "happened": happened,
        "unheard": unheard(), "twice": witness.twice}))


def lose_notice(state):
    elsewhere = State(state.client, state.prefix)
    elsewhere.channel += ":nobody"
    state.client.rpush(state.prefix + "lost", elsewhere.add("lost", 1))


def surprises(prefix):
    """What a follower has to notice although its connection stands."""
    state = State(demo.connect(), prefix)
    client, keys, follower = state.client, (state.scores, state.version_key), Follower(state)

    def follow(what, changes=30):
        for number in range(changes):
            state.add(f"member {number % 7}", 1)
        for _ in range(changes or 1):
            follower.step(PATIENCE if changes else 0.1)
        check(follower.scores == state.read()[0], f"{what}: the copy differs")

    def fail():
        state.read = read
        raise redis.exceptions.BusyLoadingError

    check(follower.step(PATIENCE) == "read", "a follower reads first")
    follow("at first")
    for key in keys:
        client.copy(key, f"{key}:older")
    follow("after a copy")
    for key in keys:
        client.copy(f"{key}:older", key, replace=True)
    follow("older keys put back")
    client.delete(*keys)
    follow("keys deleted")
    client.delete(*keys)
    follow("keys deleted and no change", 0)
    read, state.read, follower = state.read, fail, Follower(state)
    check(follower.step(PATIENCE) == "cut", "a reading fails")
    follow("the first reading failed")


def cut(client, prefix, name):
    """Has the server close a follower's subscribing connection; waits until it has joined again."""
    before = int(client.hget(prefix + "joined", name))
    mine = [each for each in client.client_list(_type="pubsub") if each["name"] == f"{prefix}{name}"]
    check(len(mine) == 1, f"{len(mine)} connections of {name} subscribe")
    check(client.client_kill_filter(_id=mine[0]["id"]) == 1, "the connection is closed")
    wait_for(lambda: int(client.hget(prefix + "joined", name)) > before, PATIENCE, f"{name} has joined again")


def disturb(start, client, prefix, folder):
    """Followers join at random times; the first dies and comes back, the second loses its connection."""
    running = {}

    def join(name):
        before = client.hget(prefix + "joined", name)
        running[name] = start(__file__, "follower", prefix, name, folder)
        wait_for(lambda: client.hget(prefix + "joined", name) != before, PATIENCE, f"{name} has joined")
        time.sleep(random.uniform(0, 0.3))

    for number in range(FOLLOWERS // 2):
        join(f"f{number}")
    demo.kill(running["f0"])
    for _ in range(CUTS):
        cut(client, prefix, "f1")
        time.sleep(random.uniform(0, 0.3))
    join("f0")
    for number in range(FOLLOWERS // 2, FOLLOWERS):
        join(f"f{number}")
    return running.values()


def verdict(state, folder):
    told = {path.name: json.loads(path.read_text()) for path in pathlib.Path(folder).iterdir()}
    writers = [told.pop(name) for name in list(told) if name.startswith("writer")]
    changes, expected = LOST + sum(each["changes"] for each in writers), collections.Counter(lost=LOST)
    for each in writers:
        for member, score in each["scores"].items():
            expected[member] += score
    scores, version, _ = state.read()
    check(version == changes, f"{changes} changes were sent, {version} made")
    check(scores == expected, f"the server has {set(scores.items()) ^ set(expected.items())} otherwise than sent")
    check(len(told) == FOLLOWERS, f"{len(told)} followers")
    happened = collections.Counter()
    for name, each in told.items():
        check(each["version"] == version and each["scores"] == scores, f"{name}'s copy differs: {each}")
        check(each["twice"] == 0, f"{name} was told {each['twice']} changes twice")
        # One whose connection is cut has to miss some, the others may not.
        cuts = CUTS if name == "follower f1" else 0
        check(cuts or each["unheard"] == 0, f"{name} missed {each['unheard']}")
        what = collections.Counter(each["happened"])
        check(what["read"] == 1 + cuts, f"{name} did not read after each subscription: {what}")
        check(0 < what["missed"] < LOST and what["behind"], f"{name} did not notice what was lost: {what}")
        happened.update(what)
    late = max(each["joined_at"] for each in told.values())
    return (f"changes sent {changes}, made {version}; {FOLLOWERS} copies equal to the server's {len(scores)} scores, "
            f"the last follower joined at {late}, one was killed, one cut off {CUTS} times; notices applied "
            f"{happened['applied']}, known by reading {happened['known']}, {LOST} lost on purpose and noticed, "
            f"missed otherwise 0, doubled 0")


def main(prefix):
    surprises(prefix + "surprises:")
    state = State(demo.connect(), prefix)
    with demo.processes() as start, tempfile.TemporaryDirectory() as folder:
        writers = [start(__file__, "writer", prefix, name, folder) for name in range(WRITERS)]
        wait_for(lambda: state.read()[1] > 100, PATIENCE, "the writers write")
        followers = disturb(start, state.client, prefix, folder)
        for _ in range(LOST - 1):
            lose_notice(state)
            joined = state.read()[1]
            wait_for(lambda: state.read()[1] > joined + 100, PATIENCE, "the last follower has something to follow")
        demo.end(writers)
        lose_notice(state)
        state.client.set(prefix + "final", state.read()[1])
        for process in followers:
            check(process.wait(PATIENCE) == 0, f"a follower ended with {process.returncode}")
        return verdict(state, folder)


if __name__ == "__main__":
    demo.run("shared_state", main, writer=writer, follower=follower)
