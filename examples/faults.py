"""Faults for the demonstrations: forked processes to kill, connections to cut, and journals that outlive their writers."""

import contextlib
import multiprocessing
import os
import pathlib
import signal
import time

from redis.backoff import ExponentialBackoff
from redis.retry import Retry

import demo
from demo import check


def connect(name, **options):
    """A client that tries again for some seconds when its connection is cut.

    A command whose reply was lost is sent again, so the server may do it twice: the patterns have
    to bear that. `name` is that of the connections for `cut_connections`.
    """
    retry = Retry(ExponentialBackoff(cap=0.25, base=0.005), retries=40)
    return demo.connect(client_name=name, retry=retry, socket_timeout=30, **options)


def cut_connections(client, name):
    """Closes at the server all connections with this name; returns how many there were."""
    numbers = [other["id"] for other in client.client_list() if other["name"] == name]
    return sum(client.client_kill_filter(_id=number) for number in numbers)


class Journal:
    """Lines in a file; what was written is there although the writer is killed."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, *words):
        os.write(self.file, (" ".join(map(str, words)) + "\n").encode())


def read_journal(path):
    """The whole lines, as lists of words."""
    text = pathlib.Path(path).read_text() if os.path.exists(path) else ""
    return [line.split() for line in text.rpartition("\n")[0].splitlines()]


@contextlib.contextmanager
def forks():
    """Yields `start(function, *arguments)`, which runs it in another process; what still runs in the end is killed."""
    started = []

    def start(function, *arguments):
        context = multiprocessing.get_context("fork")
        process = context.Process(target=function, args=arguments, daemon=True)
        process.start()
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.join()


def kill(process):
    """SIGKILL: no handler runs, nothing is put back. The process must have been running until then."""
    process.kill()
    process.join()
    check(process.exitcode == -signal.SIGKILL, f"{process.name} ended by itself with {process.exitcode}")


def join(processes, seconds):
    """Waits for processes that have to end well."""
    deadline = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.1, deadline - time.monotonic()))
        check(process.exitcode == 0, f"{process.name} ended with {process.exitcode}")
