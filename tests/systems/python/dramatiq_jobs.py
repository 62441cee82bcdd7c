"""Dramatiq, whose broker is one Lua script that makes the names of its keys itself and calls KEYS:
a thousand messages, a worker killed.

Shown: messages that a killed worker had taken are given to another one when its heartbeat has been
missing; every message leaves its effect at least once and its result arrives; a failing one is
tried as often as it may and ends among the dead letters; a delayed one waits; a group completes.
"""

import pathlib
import sys
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends.redis import RedisBackend

from common import URL, check, connect, kill_with_children, processes, wait_for

MESSAGES = 1000
# From this message on the first worker gets stuck.
STUCK_FROM = 300
THREADS = 4
HEARTBEAT_MS = 2000
RESULT_MS = 40_000

# A tenth of all calls looks for workers without heartbeat.
broker = RedisBroker(url=URL, heartbeat_timeout=HEARTBEAT_MS, maintenance_chance=100_000)
# A result that a killed worker held may take longer than redis-py waits for a reply.
broker.add_middleware(Results(backend=RedisBackend(url=f"{URL}?socket_timeout={RESULT_MS / 1000}")))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def work(number):
    connect().hincrby("effects", number, 1)
    while number >= STUCK_FROM and connect().exists("stuck"):
        connect().sadd("waiting", number)
        time.sleep(0.1)
    return number * number


@dramatiq.actor(max_retries=2, min_backoff=50, max_backoff=100)
def fail():
    connect().incr("failures")
    raise ValueError("as it should")


def start_worker(start):
    return start("-m", "dramatiq", "dramatiq_jobs", "--processes", "1", "--threads", str(THREADS))


def held():
    """Messages that were taken and not acknowledged."""
    return sum(connect().scard(key) for key in connect().scan_iter("dramatiq:__acks__.*", count=1000))


def main():
    client = connect()
    client.set("stuck", 1)
    with processes() as start:
        messages = [work.send(number) for number in range(MESSAGES)]
        victim = start_worker(start)
        wait_for(lambda: client.scard("waiting") == THREADS, 30, "the first worker is stuck")
        lost = held()
        check(lost >= THREADS, f"{lost} messages are held")
        kill_with_children(victim)
        client.delete("stuck")
        start_worker(start)
        for number, message in enumerate(messages):
            result = message.get_result(block=True, timeout=RESULT_MS)
            check(result == number * number, f"the result of message {number}")
        check(client.hlen("effects") == MESSAGES, "every message's effect")

        failing, asked = fail.send(), time.monotonic()
        late = work.send_with_options(args=(MESSAGES,), delay=1000)
        group = dramatiq.group([work.message(number) for number in range(10)]).run()
        check(list(group.get_results(block=True, timeout=RESULT_MS)) == [n * n for n in range(10)], "the group")
        check(late.get_result(block=True, timeout=RESULT_MS) == MESSAGES ** 2, "the delayed one's result")
        check(time.monotonic() - asked >= 1, "the delay is waited for")
        dead = lambda: client.hkeys(f"dramatiq:{failing.queue_name}.XQ.msgs")
        wait_for(lambda: len(dead()) == 1, 10, "the failing one is dead")
        check(int(client.get("failures")) == 3, "one try and two more")
        wait_for(lambda: held() == 0, 10, "everything is acknowledged")
        broker.join("default", timeout=10_000)
    print(f"{MESSAGES} messages, {lost} held by a killed worker, none lost")


if __name__ == "__main__":
    # Actors are called by the name of the module, not of this script.
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    import dramatiq_jobs

    dramatiq_jobs.main()
