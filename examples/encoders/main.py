"""Encoders under SIGKILL: 240 jobs of three users; encoders are killed in the middle of jobs, the manager too.

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
from demo import check, wait_for
from queues import Dispatcher, Encoder, Queues

JOBS = {"anna": 160, "ben": 40, "chloe": 40}
ENCODERS = 4
KILLS = 8
STEPS = 12
STEP_SECONDS = 0.005


def encoder(prefix, name, folder):
    """Encodes until SIGTERM. One whose name ends in "!" kills itself between the work and `complete`."""
    asked_to_end = []
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.append(True))
    worker = Encoder(demo.connect(), prefix, name)
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
            if name.endswith("!"):
                os.kill(os.getpid(), signal.SIGKILL)
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


def kill_some(start, prefix, queues, folder):
    """Kills encoders that are busy, each replaced by a new one, and the manager half-way."""
    running = {}

    def add(name):
        running[name] = start(__file__, "encoder", prefix, name, folder)

    boss = start(__file__, "manager", prefix)
    for number in range(ENCODERS - 1):
        add(f"encoder-{number}")
    suicidal = f"encoder-{ENCODERS - 1}!"
    add(suicidal)
    check(running.pop(suicidal).wait(20) == -signal.SIGKILL, "one dies between work and completion")
    add(f"encoder-{ENCODERS - 1}")
    for number in range(KILLS - 1):
        # Spread over the run, at random instants of a job.
        done = sum(JOBS.values()) * (number + 1) // (KILLS + 1)
        wait_for(lambda: queues.client.hlen(queues.results) >= done, 30, f"{done} jobs are completed")
        time.sleep(random.uniform(0, STEPS * STEP_SECONDS))
        victims = wait_for(lambda: [name for name in busy(queues) if name in running], 20, "somebody is busy")
        demo.kill(running.pop(random.choice(victims)))
        add(f"encoder-{ENCODERS + number}")
        if number == KILLS // 2:
            demo.kill(boss)
            boss = start(__file__, "manager", prefix)
    return running.values()


def fair_shares(queues, prefix):
    """How many jobs of each user were among the first taken, as long as all had some waiting."""
    window = len(JOBS) * min(JOBS.values())
    users = [job.partition("/")[0] for job in queues.client.lrange(prefix + "taken", 0, window - 1)]
    return collections.Counter(users)


def verdict(queues, prefix, sent, folder):
    client = queues.client
    results = client.hgetall(queues.results)
    logged = collections.Counter(
        tuple(line.split()) for path in pathlib.Path(folder).iterdir() for line in path.read_text().splitlines())
    encoded = {job: times for (what, job), times in logged.items() if what == "encoded"}
    completed = {job: times for (what, job), times in logged.items() if what == "completed"}
    late = sum(times for (what, _), times in logged.items() if what == "late")
    lost = [job for job in sent if job not in results or job not in encoded]
    doubled = [job for job, times in completed.items() if times > 1]
    again = sum(encoded.values()) - len(encoded)
    check(not lost and not doubled, f"lost {lost}, doubled {doubled}")
    check(set(results) == set(encoded) == set(sent), "jobs that nobody sent")
    # Work done again has a reason that is known: the encoder was killed, or heard that it is late.
    check(1 <= again <= KILLS + late, f"{again} jobs were encoded again, {late} of them late")
    tries, requeued = client.hgetall(queues.tries), client.hgetall(queues.requeued)
    for job, times in tries.items():
        check(int(times) <= 1 + int(requeued.get(job, 0)), f"{job} was given to two encoders at once")
    left = [name for name in (queues.ready, queues.processing, queues.leases) if client.exists(name)]
    left += client.keys(prefix + "queue:*")
    check(not left, f"left over: {left}")
    shares = fair_shares(queues, prefix)
    check(max(shares.values()) - min(shares[user] for user in JOBS) <= ENCODERS + KILLS, f"unfair: {shares}")
    reported = client.hget(prefix + "reported", "complete")
    return (f"jobs sent {len(sent)}, done {len(results)}, lost 0, doubled 0; {KILLS} encoders and a manager killed, "
            f"{sum(map(int, requeued.values()))} jobs given back, {again} encoded again, {reported} reports; fair: "
            f"{', '.join(f'{user} {shares[user]}' for user in JOBS)} of the first {sum(shares.values())}")


def main(prefix):
    queues = Queues(demo.connect(), prefix)
    sent = [f"{user}/{number}" for user, count in JOBS.items() for number in range(count)]
    for job in sent:
        queues.send(job)
    with demo.processes() as start, tempfile.TemporaryDirectory() as folder:
        running = kill_some(start, prefix, queues, folder)
        wait_for(lambda: queues.client.hlen(queues.results) == len(sent), 40, "all jobs are completed")
        for process in running:
            process.terminate()
        for process in running:
            check(process.wait(20) == 0, f"{process.args[3:]} ended with {process.returncode}")
        # Leases of those who came too late lapse.
        wait_for(lambda: not queues.client.exists(queues.leases), 10, "no lease is left")
        return verdict(queues, prefix, sent, folder)


if __name__ == "__main__":
    roles = {"encoder": encoder, "manager": manager}
    if len(sys.argv) > 1 and sys.argv[1] in roles:
        roles[sys.argv[1]](*sys.argv[2:])
    else:
        demo.run("encoders", main)
