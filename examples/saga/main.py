"""Holidays as sagas; their coordinator is killed before and after whatever it does, and at random, the server too.

usage: python3 examples/saga/main.py [redis://host:port/db] [--server PATH]

With --server (tests/systems/run gives its own), a server with an append-only file is started from
PATH beside the other one and killed as well.

Shown: every saga ends, booked at all three services or at none; no place is booked or given back
twice; every record that the server acknowledged is in the log. Others end while the oldest saga waits
for a service.
"""

import collections
import dataclasses
import os
import pathlib
import random
import signal
import sys
import tempfile
import time

import redis

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import demo
import faults
from demo import check
from holiday import holiday
from saga import Coordinator, Refused, forget_ended, read_log, submit, unfinished

SAGAS = 60
# Hotel, car, flight.
PLACES = (45, 50, 36)
FAILURES = 0.15
KILLS = 20
SERVER_KILLS = 4
# The exit status of a coordinator that was told so.
SUPERSEDED = 3


class Mortal(Coordinator):
    """Kills itself at the given moment: there is one before and one after each record and each call of a service."""

    def __init__(self, client, prefix, steps, journal, moments=None):
        self.journal, self.moments = journal, moments
        super().__init__(client, prefix, [self.watched(step) for step in steps])

    def watched(self, step):
        return dataclasses.replace(
            step,
            action=lambda saga: self.between_moments(step.action, saga),
            compensation=lambda saga: self.between_moments(step.compensation, saga))

    def log(self, *record):
        self.between_moments(self.log_and_note, *record)

    def log_and_note(self, *record):
        self.journal.write(super().log(*record))

    def between_moments(self, act, *arguments):
        self.pass_moment()
        try:
            return act(*arguments)
        finally:
            self.pass_moment()

    def pass_moment(self):
        if self.moments is not None:
            self.moments -= 1
            if self.moments == 0:
                os.kill(os.getpid(), signal.SIGKILL)


@dataclasses.dataclass
class Stage:
    """What a coordinator needs, and what was done to it."""

    prefix: str
    folder: pathlib.Path
    places: tuple
    failures: float = 0.0
    url: str = None
    kills: int = 0
    superseded: int = 0
    server_kills: int = 0

    def __post_init__(self):
        self.folder.mkdir()
        self.client = faults.connect(self.prefix, url=self.url)
        self.sagas = []

    def submit(self, saga):
        submit(self.client, self.prefix, saga)
        self.sagas.append(saga)

    def coordinate(self, moments=None):
        """The body of a coordinator's process."""
        _, steps = holiday(self.folder, self.places, self.failures)
        journal = faults.Journal(self.folder / "acknowledged")
        client = faults.connect(self.prefix, url=self.url)
        try:
            coordinator = Mortal(client, self.prefix, steps, journal, moments)
            while coordinator.run_all():
                time.sleep(0.01)
        except redis.ResponseError as error:
            check(str(error).startswith("SUPERSEDED"), error)
            sys.exit(SUPERSEDED)

    def outcome(self, saga):
        """How many services the saga is booked at, each of which was booked, and given back, at most once."""
        services, _ = holiday(self.folder, self.places, 0)
        booked = [service.state(saga) == "booked" for service in services]
        for service, is_booked in zip(services, booked):
            changes = service.changes(saga)
            check(changes in ([[-1]] if is_booked else [[], [-1, 1]]), f"{service.name}: {saga} changed {changes}")
        return sum(booked)

    def verify(self):
        """Returns how many sagas were completed and how many compensated."""
        records = collections.defaultdict(list)
        for _, saga, *record in read_log(self.client, self.prefix):
            records[saga].append(tuple(record))
        outcomes = collections.Counter()
        for saga in self.sagas:
            check(("end", "") in records[saga], f"{saga} has no end in the log")
            booked = self.outcome(saga)
            check(booked in (0, 3), f"{saga} is booked at {booked} of 3 services")
            aborted = any(event == "abort" for event, _ in records[saga])
            check(aborted == (booked == 0), f"{saga} ends otherwise than in the log: {records[saga]}")
            outcomes[booked] += 1
        check(set(records) == set(self.sagas), "the log knows of other sagas")
        services, _ = holiday(self.folder, self.places, 0)
        for service in services:
            check(service.booked() == outcomes[3] <= service.places, f"{service.name}: {service.booked()} booked")
        self.verify_log()
        return outcomes[3], outcomes[0]

    def verify_log(self):
        acknowledged = {line[0] for line in faults.read_journal(self.folder / "acknowledged")}
        logged = {number for number, _ in self.client.xrange(self.prefix + "log")}
        check(acknowledged <= logged, f"{len(acknowledged - logged)} records of the log are lost")
        # Without an acknowledgement: what was submitted, and the record whose writer or server was killed.
        more = len(logged - acknowledged) - len(self.sagas)
        check(0 <= more <= self.kills + self.server_kills, f"{more} records that nobody wrote")


def kill_at_every_moment(start, stage, name):
    """One saga for each moment, until a coordinator has no more of them."""
    for moment in range(1, 1000):
        stage.submit(f"{name}-{moment}")
        mortal = start(stage.coordinate, moment)
        mortal.join(60)
        if mortal.exitcode == 0:
            return
        check(mortal.exitcode == -signal.SIGKILL, f"a coordinator ended with {mortal.exitcode}")
        stage.kills += 1
        faults.join([start(stage.coordinate)], 60)


def kill_at_random(start, stage, server=None):
    for number in range(SAGAS):
        stage.submit(f"holiday-{number}")
    for turn in range(KILLS):
        # One kills itself at some moment, one is killed after some time, one lives on while the next begins.
        end = ("moment", "time", "rival")[turn % 3]
        coordinators = [start(stage.coordinate, random.randint(1, 150) if end == "moment" else None)]
        if server and turn % (KILLS // SERVER_KILLS) == 0:
            time.sleep(random.uniform(0.02, 0.1))
            server.kill()
            stage.server_kills += 1
            server.start()
        if end != "moment":
            coordinators[0].join(random.uniform(0.01, 0.1))
        if end == "time":
            coordinators[0].kill()
        if end == "rival":
            coordinators.append(start(stage.coordinate, random.randint(1, 150)))
        for coordinator in coordinators:
            coordinator.join(60)
            code = coordinator.exitcode
            check(code in (0, SUPERSEDED, -signal.SIGKILL), f"a coordinator ended with {code}")
            stage.kills += code == -signal.SIGKILL
            stage.superseded += code == SUPERSEDED
    faults.join([start(stage.coordinate)], 100)
    check(not unfinished(stage.client, stage.prefix), "sagas have no end")


def wait_for_one(start, stage):
    """One that nobody answers is the oldest, and comes to its end when it is answered."""
    silence = stage.folder / "silence"
    silence.write_text("waiting")
    for saga in ("waiting", "other", "another"):
        stage.submit(saga)
    coordinator = start(stage.coordinate)
    demo.wait_for(lambda: list(unfinished(stage.client, stage.prefix)) == ["waiting"], 30, "others do not wait")
    silence.unlink()
    faults.join([coordinator], 60)


def wake_up_late(stage):
    """A coordinator that stood still while another one compensated its saga can do nothing any more."""
    stage.submit("late")
    services, steps = holiday(stage.folder, stage.places, 0)
    late = Coordinator(stage.client, stage.prefix, steps)
    faults.Journal(stage.folder / "acknowledged").write(late.log("late", "begin", services[0].name))
    stage.coordinate()
    refused(Refused, services[0].book, "late")
    refused(redis.ResponseError, late.log, "late", "end", services[0].name)


def forget(stage):
    """Ended sagas leave the log, the others stay in it."""
    forget_ended(stage.client, stage.prefix)
    check(len(list(read_log(stage.client, stage.prefix))) == 1, "ended sagas are not forgotten")
    for saga in ("waiting", "waiting too"):
        stage.submit(saga)
    forget_ended(stage.client, stage.prefix)
    check(list(unfinished(stage.client, stage.prefix)) == ["waiting", "waiting too"], "a saga is forgotten")


def refused(error, call, *arguments):
    try:
        call(*arguments)
    except error:
        return
    raise AssertionError(f"{call.__name__} is not refused")


def own_server():
    """The program for a server to kill, if there is one."""
    if "--server" in sys.argv:
        return sys.argv[sys.argv.index("--server") + 1]
    return os.environ.get("SYSTEMS_SERVER")


def main(prefix):
    program, stages = own_server(), []
    with tempfile.TemporaryDirectory() as folder, faults.forks(expected=[SUPERSEDED]) as start:
        def stage(name, places, **settings):
            stages.append(Stage(f"{prefix}{name}:", pathlib.Path(folder, name), places, **settings))
            return stages[-1]

        kill_at_every_moment(start, stage("complete", (1000, 1000, 1000)), "good")
        kill_at_every_moment(start, stage("compensate", (1000, 1000, 0)), "sold-out")
        wait_for_one(start, stages[-1])
        wake_up_late(stages[-1])
        kill_at_random(start, stage("random", PLACES, failures=FAILURES))
        verified = [each.verify() for each in stages]
        check(verified[0][1] == 0 and verified[1][0] == 0, f"{verified}: a saga took the wrong way")
        if program:
            data = pathlib.Path(folder, "data")
            data.mkdir()
            server = faults.Server(program, data)
            try:
                durable = stage("durable", PLACES, failures=FAILURES, url=server.url)
                kill_at_random(start, durable, server)
                server.kill()
                server.start()
                verified.append(durable.verify())
            finally:
                server.end()
        for each in stages[:3]:
            forget(each)
    completed, compensated = map(sum, zip(*verified))
    check(min(verified[2]) > 0, f"{verified[2]}: all sagas went one way")
    server_kills = stages[-1].server_kills
    kills, superseded = sum(each.kills for each in stages), sum(each.superseded for each in stages)
    return (f"sagas {completed + compensated}: completed {completed}, compensated {compensated}, half 0, lost 0; "
            f"coordinator killed {kills} times, superseded {superseded} times, "
            f"server killed {server_kills} times{'' if program else ' (no --server)'}")


if __name__ == "__main__":
    demo.run("saga", main)
