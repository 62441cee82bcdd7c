"""One process that competes for the role, as a demonstration: it writes down from when until when it claims the lock.

Arguments: prefix, form ("timestamp" or "expiring"), name, folder; of the timestamp form, too, by how many seconds its
clock is ahead, and whether it stops itself before its first "getset" or its second reading of "times". contender.js is
the same.
"""

import itertools
import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import demo
from lock import ExpiringLock, TimestampLock, take_part

INTERVAL = 0.1
STEP = 0.005
WRITE = pathlib.Path(__file__).with_name("write_step.lua").read_text()


class Noted:
    """A lock whose claims are written down before anything is done on their strength."""

    def __init__(self, lock, log):
        self.lock, self.log, self.held = lock, log, lock.held

    def acquire(self):
        return self.note(self.lock.acquire())

    def renew(self):
        return self.note(self.lock.renew())

    def note(self, got):
        if got:
            self.log.write(f"claim {self.lock.token} {time.monotonic():.6f} {self.lock.until:.6f}\n")
        return got

    def release(self):
        self.log.write(f"end {self.lock.token} {time.monotonic():.6f} 0\n")
        self.lock.release()


def stop_before(thing, name, time):
    """Has this process stop itself before it calls a method for that time."""
    method, calls = getattr(thing, name), itertools.count(1)

    def stopping(*arguments):
        if next(calls) == time:
            os.kill(os.getpid(), signal.SIGSTOP)
        return method(*arguments)

    setattr(thing, name, stopping)


def main(prefix, form, name, folder, ahead=0, stop=""):
    asked_to_end = []
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.append(True))
    client = demo.connect()
    write = client.register_script(WRITE)
    if form == "timestamp":
        lock = TimestampLock(client, f"{prefix}{form}", clock=lambda: time.time() + float(ahead))
    else:
        lock = ExpiringLock(client, f"{prefix}{form}")
    if stop == "getset":
        stop_before(client, "getset", 1)
    if stop == "times":
        stop_before(lock, "_times", 2)

    def step():
        """Does a piece of work, if there is time for it; what is written carries the token."""
        if not lock.held(STEP):
            return False
        time.sleep(STEP)
        keys = [f"{prefix}{form}:{what}" for what in ("steps", "greatest", "refused")]
        return write(keys=keys, args=[lock.token, f"{lock.token} {name}"]) > 0

    with open(pathlib.Path(folder, f"{form} {name}"), "a", buffering=1) as log:
        take_part(Noted(lock, log), INTERVAL, step, lambda: asked_to_end)


if __name__ == "__main__":
    main(*sys.argv[1:])
