"""Encoders under SIGKILL: 240 jobs of three users, encoders that are killed and stopped, and their manager, too.

usage: python3 examples/encoders/main.py [redis://host:port/db]

What an encoder did is also written to a file beside the server, so that the counts do not rest on
what the server says of itself.
"""

import collections
import os
import pathlib
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import demo
from demo import PATIENCE, check, wait_for
from queues import Dispatcher, Encoder, Queues, user_of

JOBS = {"anna": 150, "ben": 40, "chloe": 40}
# Sent when the others are done, after an encoder was killed that waited for a job.
MORE = {"anna": 10}
ENCODERS = 4
STEPS = 12
STEP_SECONDS = 0.005
# Encoders that die or stop at exactly these moments: before the first lease, between the work and its completion.
FATES = {"taken": signal.SIGKILL, "encoded": signal.SIGKILL, "late": signal.SIGSTOP}
RANDOM_KILLS = 5
KILLS = RANDOM_KILLS + 2 + 1


class Doomed(Encoder):
    """Dies between taking a job and its first lease."""

    def renew(self, job):
        os.kill(os.getpid(), signal.SIGKILL)


def encoder(prefix, name, folder, fate=""):
    """Encodes until SIGTERM, or until its fate."""
    asked_to_end = []
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.append(True))
    worker = (Doomed if fate == "taken" else Encoder)(demo.connect(), prefix, name)
    with open(pathlib.Path(folder, name), "a", buffering=1) as log:
        while not asked_to_end:
            job = worker.take(0.5)
            if not job:
                continue
            worker.client.rpush(prefix + "taken", job)
            for _ in range(STEPS):
                time.sleep(STEP_SECONDS)
                worker.renew(job)
            log.write(f"encoded {job}\n")
            if fate:
                worker.client.set(prefix + fate, job)
                os.kill(os.getpid(), FATES[fate])
                fate = ""
            first = worker.complete(job, f"{job} by {name}")
            log.write(f"{'completed' if first else 'late'} {job}\n")


def manager(prefix):
    boss = Dispatcher(demo.connect(), prefix)
    while True:
        boss.take_back()
        boss.dispatch(ENCODERS)
        report = boss.next_report(0.1)
        if report:
            boss.client.hincrby(prefix + "reported", report["status"], 1)


def busy(queues):
    """The encoders that have a job, by name."""
    return [name for name, status in queues.client.hgetall(queues.status).items() if status.startswith("busy")]


def idle(queues, staff):
    """The encoders that have had a job and wait for another."""
    return [name for name, status in queues.client.hgetall(queues.status).items()
            if status == "idle" and name in staff.encoders]


class Staff:
    """The processes: encoders by name, and the manager."""

    def __init__(self, start, prefix, folder):
        self.start, self.prefix, self.folder = start, prefix, folder
        self.encoders, self.hired = {}, 0
        self.manager = start(__file__, "manager", prefix)

    def hire(self, fate=""):
        self.hired += 1
        name = f"encoder-{self.hired}"
        self.encoders[name] = self.start(__file__, "encoder", self.prefix, name, self.folder, fate)
        return name

    def kill(self, name):
        """Kills an encoder and replaces it."""
        demo.kill(self.encoders.pop(name))
        self.hire()

    def replace_manager(self):
        demo.kill(self.manager)
        self.manager = self.start(__file__, "manager", self.prefix)


def meet_fates(staff, queues):
    """Encoders that die at the worst moments, and one that stops until its job was given to another."""
    for fate in ("taken", "encoded"):
        doomed = staff.encoders.pop(staff.hire(fate))
        check(doomed.wait(PATIENCE) == -signal.SIGKILL, f"the one to die when it has {fate} lives on")
    name = staff.hire("late")
    job = wait_for(lambda: queues.client.get(queues.prefix + "late"), PATIENCE, "one stops")
    while len(staff.encoders) < ENCODERS:
        staff.hire()
    wait_for(lambda: queues.client.exists(queues.result(job)), PATIENCE, "another completes its job")
    staff.encoders[name].send_signal(signal.SIGCONT)
    log = pathlib.Path(staff.folder, name)
    wait_for(lambda: f"late {job}\n" in log.read_text(), PATIENCE, "the one that had stopped is told that it is late")


def kill_some(staff, queues):
    """Kills encoders at random instants of a job, and the manager half-way."""
    begun = len(done_jobs(queues))
    for number in range(RANDOM_KILLS):
        done = begun + (sum(JOBS.values()) - begun) * number // RANDOM_KILLS
        wait_for(lambda: len(done_jobs(queues)) >= done, PATIENCE, f"{done} jobs are completed")
        time.sleep(random.uniform(0, STEPS * STEP_SECONDS))
        # If all wait for a job that somebody killed has, anyone.
        victims = [name for name in busy(queues) if name in staff.encoders] or list(staff.encoders)
        staff.kill(random.choice(victims))
        if number == RANDOM_KILLS // 2:
            staff.replace_manager()


def done_jobs(queues):
    """Those that have a result."""
    keys = queues.client.scan_iter(queues.result("*"), count=1000)
    return {key.removeprefix(queues.result("")) for key in keys}


def send(queues, jobs, first=0):
    sent = [f"{user}/{first + number}" for user, count in jobs.items() for number in range(count)]
    for job in sent:
        queues.send(job)
    return sent


def fair_shares(queues, prefix):
    """How many jobs of each user were among the first taken, as long as all had some waiting."""
    window = len(JOBS) * min(JOBS.values())
    return collections.Counter(map(user_of, queues.client.lrange(prefix + "taken", 0, window - 1)))


def turns(prefix):
    """Nobody has two turns while another waits for one, whoever comes later, or comes back."""
    boss, turn = Dispatcher(demo.connect(), prefix), 0
    coming = {0: {"anna": 9, "ben": 2}, 3: {"chloe": 5}, 9: {"ben": 3}, 10: {"adam": 4}}
    had_turns = collections.defaultdict(set)
    while turn < sum(sum(jobs.values()) for jobs in coming.values()):
        send(boss, coming.get(turn, {}), first=turn)
        waiting = set(filter(lambda user: boss.client.exists(boss.queue(user)), ("adam", "anna", "ben", "chloe")))
        turn += 1
        boss.dispatch(turn)
        user = user_of(boss.client.lindex(boss.ready, 0))
        for other in waiting - {user}:
            check(user not in had_turns[other], f"{user} has two turns while {other} waits")
            had_turns[other].add(user)
        if len(waiting) > 1:
            # From another manager, who saw the same.
            boss.turn(user)
            check(boss.client.llen(boss.ready) == turn, f"{user} has a turn from each manager")
        had_turns[user].clear()
    boss.dispatch(turn + 1)
    check(not boss.client.exists(boss.users), "users without jobs stay")
    # The encoder of the first job dies.
    Encoder(boss.client, prefix, "dead", lease=0).take(PATIENCE)
    boss.take_back()
    boss.dispatch(turn)
    check(boss.client.llen(boss.ready) == turn, "a job given back waits although its user has left")


def verdict(queues, prefix, sent, folder):
    client = queues.client
    results = done_jobs(queues)
    logged = collections.Counter(
        tuple(line.split()) for path in pathlib.Path(folder).iterdir() for line in path.read_text().splitlines())
    encoded = {job: times for (what, job), times in logged.items() if what == "encoded"}
    completed = {job: times for (what, job), times in logged.items() if what == "completed"}
    late = sum(times for (what, _), times in logged.items() if what == "late")
    lost = [job for job in sent if job not in results or job not in encoded]
    doubled = [job for job, times in completed.items() if times > 1]
    again = sum(encoded.values()) - len(encoded)
    counts = f"jobs sent {len(sent)}, done {len(results)}, lost {len(lost)}, doubled {len(doubled)}"
    check(not lost and not doubled, f"{counts}: {lost + doubled}")
    check(results == set(encoded) == set(sent), "jobs that nobody sent")
    # Work done again has a reason that is known: the encoder was killed, or heard that it is late.
    check(2 <= again <= KILLS + late, f"{again} jobs were encoded again, {late} of them late")
    requeued = 0
    for job in sent:
        begun, given_back = (int(times or 0) for times in client.hmget(queues.attempts(job), "begun", "requeued"))
        check(begun <= 1 + given_back, f"{job} was given to two encoders at once")
        requeued += given_back
    left = [name for name in (queues.users, queues.ready, queues.processing, queues.leases) if client.exists(name)]
    left += client.scan_iter(queues.queue("*"), count=1000)
    check(not left, f"left over: {left}")
    shares = fair_shares(queues, prefix)
    # One turn, and one more for each encoder that may be late to say what it took.
    check(max(shares.values()) - min(shares[user] for user in JOBS) <= 1 + ENCODERS, f"unfair: {shares}")
    reported = client.hget(prefix + "reported", "complete")
    return (f"{counts}; {KILLS} encoders and a manager killed, {requeued} jobs given back, "
            f"{again} encoded again, {late} of them refused as late, "
            f"{reported} reports; fair: "
            f"{', '.join(f'{user} {shares[user]}' for user in JOBS)} of the first {sum(shares.values())}")


def main(prefix):
    turns(prefix + "turns:")
    queues = Queues(demo.connect(), prefix)
    sent = send(queues, JOBS)

    def all_done():
        return len(done_jobs(queues)) == len(sent)

    with demo.processes() as start, tempfile.TemporaryDirectory() as folder:
        staff = Staff(start, prefix, folder)
        meet_fates(staff, queues)
        kill_some(staff, queues)
        demo.wait(all_done, PATIENCE / 2)
        wait_for(lambda: idle(queues, staff), PATIENCE, "an encoder waits")
        staff.kill(idle(queues, staff)[0])
        sent += send(queues, MORE, first=sum(JOBS.values()))
        # If they never are, the verdict counts what is missing.
        demo.wait(all_done, PATIENCE / 2)
        demo.end(staff.encoders.values())
        # Leases of those who came too late lapse, and users without jobs leave.
        demo.wait(lambda: not queues.client.exists(queues.leases, queues.users), PATIENCE / 2)
        return verdict(queues, prefix, sent, folder)


if __name__ == "__main__":
    demo.run("encoders", main, encoder=encoder, manager=manager)
