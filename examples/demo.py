"""What the demonstrations share: the server's address, keys of their own, processes to kill, the verdict.

Nothing of this belongs to a pattern; what to copy is in the other files of each folder.
"""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
import traceback

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


# Seconds that anything waited for may take, also on a machine that does much else.
PATIENCE = 60


def server_url():
    """An argument like redis://host:port/db, the environment's REDIS_URL, or this host's port 6379."""
    if ports := os.environ.get("SYSTEMS_PORTS"):  # set by tests/systems/run
        return f"redis://127.0.0.1:{ports.split()[0]}/0"
    given = [argument for argument in sys.argv[1:] if "://" in argument]
    return given[0] if given else os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")


def connect(url=None, **options):
    # redis-py 8 gives up after 5 s otherwise, also on a pop that may wait for ever.
    options.setdefault("socket_timeout", None)
    # And redis.Redis() sends again what got no reply, which the server may have done: an increment would count twice.
    options.setdefault("retry", Retry(NoBackoff(), 0))
    return redis.Redis.from_url(url or server_url(), decode_responses=True, **options)


@contextlib.contextmanager
def own_keys(name):
    """Yields a prefix that no other run has, and removes the keys below it in the end."""
    prefix = f"{name}:{secrets.token_hex(4)}:"
    client = connect()
    try:
        client.ping()
    except redis.ConnectionError as error:
        raise SystemExit(f"{name}: no server at {server_url()}: {error}") from None
    try:
        yield prefix
    finally:
        for key in client.scan_iter(prefix + "*", count=1000):
            client.unlink(key)


@contextlib.contextmanager
def processes():
    """Yields `start(program, *arguments)`; what still runs in the end is killed.

    Programs get the server's address as REDIS_URL; those in Python run by this Python.
    """
    started = []

    def start(program, *arguments):
        command = [sys.executable, "-B"] if str(program).endswith(".py") else ["node"]
        process = subprocess.Popen(
            [*command, str(program), *map(str, arguments)],
            stdin=subprocess.DEVNULL, env={**os.environ, "REDIS_URL": server_url()})
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.wait()


def kill(process):
    """SIGKILL: no handler runs, nothing is put back. The process must have been running until then."""
    process.kill()
    check(process.wait() == -signal.SIGKILL, f"{process.args[1:]} ended by itself with {process.returncode}")


def end(started, seconds=PATIENCE):
    """SIGTERM for all, which has to end them well; one that has not begun yet just ends."""
    for process in started:
        process.terminate()
    for process in started:
        check(process.wait(seconds) in (0, -signal.SIGTERM), f"{process.args[1:]} ended with {process.returncode}")


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def wait(condition, seconds):
    """Polls until the condition is true, or the time is over; returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


def wait_for(condition, seconds, what):
    """Polls until the condition is true, which it has to become."""
    value = wait(condition, seconds)
    check(value, f"not within {seconds} s: {what}")
    return value


def run(name, main, **roles):
    """Ends the process with one line: what main returns, or what it found to be broken.

    A process that was started with the name of one of the roles, and arguments for it, plays only that.
    """
    if role := roles.get(next(iter(sys.argv[1:]), None)):
        role(*sys.argv[2:])
        return
    try:
        with own_keys(name) as prefix:
            print(f"{name}: kept. {main(prefix)}")
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"{name}: BROKEN. {reason.removeprefix('AssertionError: ')}")
        sys.exit(1)
