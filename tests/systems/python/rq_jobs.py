"""RQ: a thousand jobs, three workers, one of which is killed in the middle of a job.

Shown: every job runs at least once and ends finished with its result, also the one whose worker
died: it is found in the registry of started jobs and tried again. A job that fails is tried again
as often as asked for and ends in the registry of failed jobs with its exception; one that depends
on another runs after it; one that is scheduled runs when its time has come.
"""

import os
import pathlib
import signal
import sys
import time
from datetime import timedelta

from rq import Queue, Retry, Worker
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry

from common import check, connect, processes, wait_for

JOBS = 1000
WORKERS = 3
# The first try of this one never ends by itself.
STUCK = 300


def work(number):
    """The effect, by number: a counter of tries."""
    tries = connect().hincrby("effects", number, 1)
    if number == STUCK and tries == 1:
        connect().set("stuck", f"{os.getpid()} {os.getppid()}")
        signal.pause()
    return number * number


def fail():
    connect().incr("failures")
    raise ValueError("as it should")


def order(name):
    return connect().rpush("order", name)


def connection():
    return connect(decode_responses=False)


def run_worker(name):
    queue = Queue("jobs", connection=connection())
    Worker([queue], name=name, connection=queue.connection).work(
        with_scheduler=name == "worker-0", logging_level="WARNING")


def ids_of(registry):
    return set(registry.get_job_ids(cleanup=False))


def main():
    queue = Queue("jobs", connection=connection(), default_timeout=600)
    data = [Queue.prepare_data(work, (number,), job_id=f"job-{number}", retry=Retry(max=2), result_ttl=600)
            for number in range(JOBS)]
    queue.enqueue_many(data)
    check(len(queue) == JOBS, f"{len(queue)} jobs in the queue")
    failing = queue.enqueue(fail, retry=Retry(max=2), failure_ttl=600)
    first = queue.enqueue(order, "first")
    second = queue.enqueue(order, "second", depends_on=first)
    later = queue.enqueue_in(timedelta(seconds=2), order, "later")
    check(second.get_status() == JobStatus.DEFERRED, "a dependent job waits")
    check(later.get_status() == JobStatus.SCHEDULED, "a scheduled job waits")

    with processes() as start:
        workers = {}
        for number in range(WORKERS):
            process = start(__file__, f"worker-{number}")
            workers[process.pid] = process
        horse, worker = map(int, wait_for(lambda: connect().get("stuck"), 30, "the stuck job runs").split())
        workers[worker].kill()
        os.kill(horse, signal.SIGKILL)
        started, finished = StartedJobRegistry(queue=queue), FinishedJobRegistry(queue=queue)
        wait_for(lambda: len(ids_of(finished)) >= JOBS - 1 + 3, 100, "the others finish what there is")
        wait_for(lambda: failing.get_status() == JobStatus.FAILED, 20, "the failing job fails")
        wait_for(lambda: ids_of(started) == {f"job-{STUCK}"}, 5, "one job is abandoned")

        # As if the worker's last heartbeat were long ago.
        started.cleanup(timestamp=time.time() + 3600)
        wait_for(lambda: len(ids_of(finished)) >= JOBS + 3, 20, "the abandoned job is tried again")
        check(not ids_of(started) and len(queue) == 0, "nothing is left")

    effects = {int(number): int(tries) for number, tries in connect().hgetall("effects").items()}
    check(effects == {number: 2 if number == STUCK else 1 for number in range(JOBS)}, "each job's tries")
    for number, job in enumerate(Job.fetch_many([f"job-{number}" for number in range(JOBS)], queue.connection)):
        check(job.get_status(refresh=False) == JobStatus.FINISHED, f"{job.id} is {job.get_status()}")
        check(job.return_value() == number * number, f"{job.id} returned {job.return_value()}")
    check(int(connect().get("failures")) == 3, "one try and two more")
    check(ids_of(FailedJobRegistry(queue=queue)) == {failing.id}, "one failed job")
    check("as it should" in failing.latest_result().exc_string, "its exception is kept")
    names = connect().lrange("order", 0, -1)
    check(sorted(names) == ["first", "later", "second"], names)
    check(names.index("first") < names.index("second"), names)
    print(f"{JOBS} jobs by {WORKERS} workers, one of them killed, none lost")


if __name__ == "__main__":
    # Jobs are called by the name of an importable module, not of this script.
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import rq_jobs

    rq_jobs.run_worker(sys.argv[1]) if len(sys.argv) > 1 else rq_jobs.main()
