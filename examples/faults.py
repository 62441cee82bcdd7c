"""Faults for the demonstrations: forked processes to kill, connections to cut, journals that outlive who writes."""

import contextlib
import multiprocessing
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

import demo
from demo import check


class PatientPool(redis.ConnectionPool):
    """redis-py itself does not try again when a connection is cut between its making and its first use."""

    def get_connection(self, *arguments, **options):
        for _ in range(20):
            with contextlib.suppress(redis.ConnectionError):
                return super().get_connection(*arguments, **options)
            time.sleep(0.01)
        return super().get_connection(*arguments, **options)


def connect(name, url=None):
    """A client that tries again for up to a minute when its connection is cut.

    A command whose reply was lost is sent again, so the server may do it twice: the patterns have
    to bear that. `name` is that of the connections for `cut_connections`.
    """
    retry = Retry(ExponentialBackoff(cap=0.25, base=0.005), retries=200)
    return redis.Redis(connection_pool=PatientPool.from_url(
        url or demo.server_url(), decode_responses=True, client_name=name, retry=retry, socket_timeout=30))


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
def forks(expected=()):
    """Yields `start(function, *arguments)`, which runs it in another process; what still runs in the end is killed.

    None may have failed, that is, ended with another status than 0 and those expected, or been killed by
    another signal than SIGKILL.
    """
    started = []

    def start(function, *arguments):
        context = multiprocessing.get_context("fork")
        process = context.Process(target=function, args=arguments, daemon=True)
        process.start()
        started.append(process)
        return process

    try:
        yield start
        for process in started:
            code = process.exitcode
            check(code in (None, 0, -signal.SIGKILL, *expected), f"{process.name} ended with {code}")
    finally:
        for process in started:
            process.kill()
            process.join()


def kill(process):
    """SIGKILL: no handler runs, nothing is put back. The process must have been running until then."""
    process.kill()
    process.join()
    check(process.exitcode == -signal.SIGKILL, f"{process.name} ended by itself with {process.exitcode}")


class Crew:
    """Forked processes that are replaced when they are killed; each is a function and its arguments."""

    def __init__(self, start, *members):
        self.start, self.members = start, members
        self.processes = [start(*member) for member in members]
        self.kills = 0

    def is_alive(self):
        return any(process.is_alive() for process in self.processes)

    def kill_one(self):
        """One that still runs, if any does. It may end by itself in that moment, and well."""
        place = max(range(len(self.members)), key=lambda place: self.processes[place].is_alive() + random.random())
        self.processes[place].kill()
        self.processes[place].join()
        code = self.processes[place].exitcode
        check(code in (0, -signal.SIGKILL), f"{self.members[place][0].__name__} ended with {code}")
        self.kills += code != 0
        self.processes[place] = self.start(*self.members[place])


def join(processes, seconds):
    """Waits for processes that have to end well."""
    deadline = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.1, deadline - time.monotonic()))
        check(process.exitcode == 0, f"{process.name} ended with {process.exitcode}")


class Server:
    """A server of the demonstration's own that keeps an append-only file, to be killed and started again."""

    def __init__(self, program, folder):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.command = [
            program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
            "--appendonly", "yes", "--appendfsync", "always"]
        self.log = pathlib.Path(folder, "log")
        self.start()

    def start(self):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        client = demo.connect(self.url)
        demo.wait_for(lambda: self.answers(client), 60, f"{self.command[0]} starts")

    def answers(self, client):
        check(self.process.poll() is None, f"{self.command[0]} ended: {self.log.read_text()[-500:]}")
        try:
            # The one that answers may be somebody else's.
            return client.info("server")["process_id"] == self.process.pid
        except redis.ConnectionError:
            return False

    def kill(self):
        """SIGKILL; until then it must have run, and well."""
        check(self.process.poll() is None, f"{self.command[0]} ended: {self.log.read_text()[-500:]}")
        self.end()
        log = self.log.read_text()
        check("panicked at" not in log and "BUG REPORT" not in log, f"{self.command[0]} crashed: {log[-2000:]}")

    def end(self):
        self.process.kill()
        self.process.wait()
