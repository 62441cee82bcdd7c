"""Pipelines with WATCH, MULTI and EXEC in redis-py: optimistic locking.

Shown: processes that read, compute and write in transactions lose no update, though they disturb
each other; every disturbed one is told by WatchError; queued errors and errors at run time come
back as redis-py words them; a transaction is seen whole or not at all.
"""

import sys

from redis.exceptions import ExecAbortError, ResponseError, WatchError

from common import check, connect, join, processes, raises

PROCESSES = 4
ROUNDS = 500


def increment():
    client, conflicts = connect(), 0
    for _ in range(ROUNDS):
        while True:
            with client.pipeline(transaction=True) as pipe:
                try:
                    pipe.watch("counter", "double")
                    value = int(pipe.get("counter") or 0)
                    pipe.multi()
                    pipe.set("counter", value + 1)
                    pipe.set("double", 2 * (value + 1))
                    pipe.execute()
                    break
                except WatchError:
                    conflicts += 1
        counter, double = client.pipeline().get("counter").get("double").execute()
        check(int(double) == 2 * int(counter), f"half a transaction: {counter}, {double}")
    client.incrby("conflicts", conflicts)


def errors(client):
    with client.pipeline() as pipe:
        pipe.set("text", "a").incr("text").get("text")
        error = raises(ResponseError, pipe.execute)
        check("Command # 2 (INCRBY text 1)" in str(error), error)
    results = client.pipeline().lpush("text", "b").get("text").execute(raise_on_error=False)
    check("WRONGTYPE" in str(results[0]) and results[1] == "a", results)
    with client.pipeline() as pipe:
        pipe.set("text", "b").execute_command("GET")
        error = raises(ResponseError, pipe.execute)
        check("Command # 2 (GET) of pipeline caused error: wrong number" in str(error), error)
        check(type(error.__context__) is ExecAbortError, "EXEC says that it was aborted")
    check(client.get("text") == "a", "an aborted transaction changes nothing")

    with client.pipeline() as pipe:
        pipe.watch("text")
        client.set("text", "c")
        pipe.unwatch()
        pipe.multi()
        pipe.set("text", "d")
        check(pipe.execute() == [True], "UNWATCH forgets")
    with client.pipeline() as pipe:
        pipe.watch("gone")
        client.set("gone", "x", px=1)
        pipe.multi()
        pipe.set("gone", "y")
        raises(WatchError, pipe.execute)


def main():
    client = connect()
    errors(client)
    with processes() as start:
        join([start(__file__, "increment") for _ in range(PROCESSES)], 40)
    total = int(client.get("counter"))
    check(total == PROCESSES * ROUNDS, f"{total} increments")
    check(int(client.get("conflicts")) > 0, "they disturbed each other")

    def transfer(pipe):
        value = int(pipe.get("counter"))
        pipe.multi()
        pipe.set("counter", value + 1)

    check(client.transaction(transfer, "counter") == [True], "Redis.transaction")
    print(f"{total} increments by {PROCESSES} processes, {client.get('conflicts')} conflicts")


if __name__ == "__main__":
    increment() if sys.argv[-1] == "increment" else main()
