"""Sidekiq: a thousand jobs; a process is killed and one is ended in the middle of jobs.

usage: python3 examples/background_jobs/main.py [redis://host:port/db]

It needs `apt-get install ruby-sidekiq` and a database that is empty, as Sidekiq's keys have fixed names.

Shown: a process that is ended (SIGTERM) gives the jobs back that it does not finish in time; of one
that is killed exactly the jobs that it had begun are lost, which is how Sidekiq takes jobs, with any
server; no other is, none is done twice, failing ones are tried again. Sent again by whoever has the
list of what there is to do (see ../outbox), the lost ones are done, too.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import demo
from demo import check, wait_for

JOBS = 1000
THREADS = 5
# From this job on they get stuck, as long as a key says so; the same as in the script.
STUCK_FROM = 200
FAILING = {number for number in range(JOBS) if number % 100 == 50}
SCRIPT = pathlib.Path(__file__).resolve().parent / "sidekiq_jobs.rb"


class Sidekiq:
    """Starts Sidekiq's processes and sends it jobs."""

    def __init__(self, prefix, folder):
        self.client, self.prefix, self.folder = demo.connect(), prefix, folder
        self.environment = {**os.environ, "REDIS_URL": demo.server_url(), "EXAMPLE_PREFIX": prefix}
        self.processes = []

    def send(self, numbers):
        command = ["ruby", str(SCRIPT), *map(str, numbers)]
        subprocess.run(command, env=self.environment, check=True, timeout=100, stdin=subprocess.DEVNULL)

    def start(self):
        command = ["sidekiq", "-r", str(SCRIPT), "-q", f"{self.prefix}work", "-c", str(THREADS), "-t", "1"]
        with open(self.folder / "sidekiq.log", "a") as log:
            process = subprocess.Popen(
                command, env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def end_well(self, process):
        process.send_signal(signal.SIGTERM)
        check(process.wait(60) == 0, f"Sidekiq ended with {process.returncode}")

    def end(self):
        """Removes Sidekiq's keys, too, and no others: somebody may have come since the database was empty."""
        patterns = ["stat:*"]
        for process in self.processes:
            process.kill()
            process.wait()
            patterns.append(f"{socket.gethostname()}:{process.pid}:*")
        self.client.unlink("queues", "processes", "retry", "schedule", "dead", f"queue:{self.prefix}work")
        for pattern in patterns:
            for key in self.client.scan_iter(pattern, count=1000):
                self.client.unlink(key)

    def counts(self, what):
        return {int(number): int(count) for number, count in self.client.hgetall(self.prefix + what).items()}

    def waiting(self):
        return self.client.llen(f"queue:{self.prefix}work")

    def stuck(self):
        """The jobs that threads have and do not finish."""
        return {number for number in self.counts("tries") if number >= STUCK_FROM} - set(self.counts("done")) - FAILING


def work_and_die(sidekiq):
    """Returns the jobs that a killed process held, and those that an ended one gave back."""
    sidekiq.client.set(sidekiq.prefix + "stuck", 1)
    sidekiq.send(range(JOBS))
    check(sidekiq.waiting() == JOBS, f"{sidekiq.waiting()} jobs in the queue")
    killed = sidekiq.start()
    wait_for(lambda: len(sidekiq.stuck()) == THREADS, 60, "all threads have a job")
    held = sidekiq.stuck()
    demo.kill(killed)
    ended = sidekiq.start()
    wait_for(lambda: len(sidekiq.stuck() - held) == THREADS, 60, "all threads have a job")
    given_back, waiting = sidekiq.stuck() - held, sidekiq.waiting()
    sidekiq.end_well(ended)
    check(sidekiq.waiting() == waiting + THREADS, f"{sidekiq.waiting() - waiting} jobs are given back")
    sidekiq.client.delete(sidekiq.prefix + "stuck")
    return held, given_back


def main(prefix):
    if not shutil.which("sidekiq"):
        raise SystemExit("background_jobs: there is no Sidekiq: apt-get install ruby-sidekiq")
    client = demo.connect()
    check(client.dbsize() == 0, "the database is not empty; name another one: redis://host:port/15")
    with tempfile.TemporaryDirectory() as folder:
        sidekiq = Sidekiq(prefix, pathlib.Path(folder))
        try:
            held, given_back = work_and_die(sidekiq)
            workers = [sidekiq.start() for _ in range(2)]
            wait_for(lambda: len(sidekiq.counts("done")) == JOBS - len(held), 100, "all but the lost jobs are done")
            wait_for(lambda: sidekiq.waiting() == 0 and client.zcard("retry") == 0, 60, "nothing is left")
            lost = set(range(JOBS)) - set(sidekiq.counts("done"))
            check(lost == held, f"lost {sorted(lost)}, held by the killed process {sorted(held)}")
            sidekiq.send(lost)
            wait_for(lambda: len(sidekiq.counts("done")) == JOBS, 60, "the lost jobs are done")
            wait_for(lambda: sidekiq.waiting() == 0, 60, "nothing is left")
            # What they are still doing they finish, so that a job done twice is seen.
            for process in workers:
                sidekiq.end_well(process)
            done, tries = sidekiq.counts("done"), sidekiq.counts("tries")
        except BaseException:
            print((sidekiq.folder / "sidekiq.log").read_text()[-5000:])
            raise
        finally:
            sidekiq.end()
    check(set(done.values()) == {1}, f"done twice: {[number for number, count in done.items() if count > 1]}")
    expected = {number: 2 if number in FAILING | held | given_back else 1 for number in range(JOBS)}
    check(tries == expected, "each job's tries")
    return (f"jobs sent {JOBS}, done {len(done)}, doubled 0; {len(held)} held by a killed process, lost and sent "
            f"again, {len(given_back)} given back by an ended one, {len(FAILING)} tried again, no other lost")


if __name__ == "__main__":
    demo.run("background_jobs", main)
