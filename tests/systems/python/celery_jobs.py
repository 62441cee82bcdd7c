"""Celery, with the server as broker and result backend: a thousand tasks, a worker killed.

Shown: tasks that a killed worker had taken come back after the visibility timeout and are done by
another one; every task leaves its effect at least once and its result arrives; a chord's callback
runs once with all results, a failure and a retry come back as such, a countdown is waited for, an
expired task is revoked.
"""

import pathlib
import sys
import time

from celery import Celery, chord
from celery.exceptions import TaskRevokedError

from common import URL, check, connect, kill_with_children, processes, raises, wait_for

TASKS = 1000
# From this task on the first worker gets stuck.
STUCK_FROM = 300
POOL = 2
PREFETCH = 8
VISIBILITY_SECONDS = 4

app = Celery("celery_jobs", broker=URL, backend=URL)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=PREFETCH,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_SECONDS,
        # How often, and at which of those times, lost messages are looked for.
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "unacked_restore_limit": 100,
    },
    worker_hijack_root_logger=False,
)


@app.task
def work(number):
    connect().hincrby("effects", number, 1)
    while number >= STUCK_FROM and connect().exists("stuck"):
        time.sleep(0.1)
    return number * number


@app.task(bind=True, max_retries=2, default_retry_delay=0.1)
def second_try(self):
    if self.request.retries == 0:
        raise self.retry()
    return self.request.retries


@app.task
def fail():
    raise ValueError("as it should")


@app.task
def total(numbers):
    connect().incr("totals")
    return sum(numbers)


def start_worker(start, name):
    # -P prefork, the default: the pool's processes are in the worker's session, so `run` ends them.
    return start("-m", "celery", "-A", "celery_jobs", "worker", "-n", f"{name}@%h", "-c", str(POOL),
                 "--loglevel", "WARNING", "--without-gossip", "--without-mingle")


def effects():
    return connect().hlen("effects")


def small_features():
    results = chord([work.s(TASKS + number) for number in range(10)], total.s()).delay()
    failed, retried = fail.delay(), second_try.delay()
    expired = work.apply_async((0,), countdown=2, expires=1)
    asked = time.monotonic()
    late = total.apply_async(([1, 2],), countdown=1)
    check(results.get(timeout=20) == sum((TASKS + number) ** 2 for number in range(10)), "the chord's sum")
    check(str(raises(ValueError, failed.get, timeout=20)) == "as it should", "the failure's text")
    check(failed.state == "FAILURE" and retried.get(timeout=20) == 1, "a failure, and a second try")
    check(late.get(timeout=20) == 3 and time.monotonic() - asked >= 1, "the countdown is waited for")
    raises(TaskRevokedError, expired.get, timeout=20)
    check(int(connect().get("totals")) == 2, "each callback once")


def main():
    with processes() as start:
        connect().set("stuck", 1)
        results = [work.delay(number) for number in range(TASKS)]
        victim = start_worker(start, "victim")
        # It has taken all that it may. Celery loses a message whose receiver dies between taking it
        # from the list and noting it in `unacked`, with every server.
        held = POOL * PREFETCH
        wait_for(lambda: effects() == STUCK_FROM + POOL and connect().hlen("unacked") == held, 30,
                 "the first worker is stuck")
        kill_with_children(victim)
        connect().delete("stuck")
        start_worker(start, "other")
        for number, result in enumerate(results):
            check(result.get(timeout=40) == number * number, f"the result of task {number}")
        check(effects() == TASKS, f"{effects()} effects")
        wait_for(lambda: connect().hlen("unacked") == 0, 20, "everything is acknowledged")
        small_features()
        again = sum(int(tries) for tries in connect().hvals("effects")) - TASKS - 10
    print(f"{TASKS} tasks, {held} held by a killed worker, {again} done twice, none lost")


if __name__ == "__main__":
    # Tasks are called by the name of the module, not of this script.
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import celery_jobs

    celery_jobs.main()
