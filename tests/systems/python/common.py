"""What the tests share: where the servers are, processes that end with the test, a guarded counter.

`run` gives the ports of the servers it started as SYSTEMS_PORTS and their process ids as
SYSTEMS_PIDS. A test fails by an exception; the last line that it prints says what it has shown.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import redis

from demo import check, wait_for  # wait_for is what the tests import

PORTS = [int(port) for port in os.environ["SYSTEMS_PORTS"].split()]
PIDS = [int(pid) for pid in os.environ["SYSTEMS_PIDS"].split()]
URL = f"redis://127.0.0.1:{PORTS[0]}/0"


def connect(port=None, **options):
    options.setdefault("decode_responses", True)
    return redis.Redis(host="127.0.0.1", port=port or PORTS[0], **options)


def raises(error, call, *arguments, **options):
    """The call has to raise exactly this class of error, which is returned."""
    try:
        result = call(*arguments, **options)
    except error as raised:
        check(type(raised) is error, f"{type(raised).__name__} instead of {error.__name__}")
        return raised
    raise AssertionError(f"{result!r} instead of {error.__name__}")


@contextlib.contextmanager
def processes():
    """Yields `start(*arguments)`, which runs this Python, and kills at the end what still runs."""
    started = []

    def start(*arguments):
        process = subprocess.Popen([sys.executable, *arguments], stdin=subprocess.DEVNULL)
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.wait()


def kill_with_children(process):
    """SIGKILL for a worker and the processes that it has started."""
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    process.wait()


def join(started, seconds):
    """Waits for processes that have to end well."""
    deadline = time.monotonic() + seconds
    for process in started:
        code = process.wait(max(0.1, deadline - time.monotonic()))
        check(code == 0, f"{process.args[1:]} ended with {code}")


class Listener(threading.Thread):
    """A subscriber that keeps what it gets."""

    def __init__(self, protocol, channels=(), patterns=()):
        super().__init__(daemon=True)
        self.client = connect(protocol=protocol)
        self.pubsub = self.client.pubsub(ignore_subscribe_messages=True)
        if channels:
            self.pubsub.subscribe(*channels)
        if patterns:
            self.pubsub.psubscribe(*patterns)
        self.messages = []
        self.ended = threading.Event()
        self.start()

    def run(self):
        while not self.ended.is_set():
            if message := self.pubsub.get_message(timeout=0.1):
                self.messages.append(message)

    def end(self):
        self.ended.set()
        self.join()
        self.pubsub.close()


class GuardedCounter:
    """A number in a file that only the owner of a lock may touch, and that notices when two do."""

    def __init__(self, folder="."):
        self.number = pathlib.Path(folder, "counter")
        self.inside = pathlib.Path(folder, "inside")

    def value(self):
        return int(self.number.read_text()) if self.number.exists() else 0

    def add_one(self, linger=0.0):
        # Fails when the file exists, that is, when somebody else is between these two lines.
        os.close(os.open(self.inside, os.O_CREAT | os.O_EXCL))
        value = self.value()
        time.sleep(linger)
        self.number.write_text(str(value + 1))
        self.inside.unlink()
