"""A role that one process at a time has, by either of two locks; lock.js is the same for Node.

TimestampLock is the old form: the key holds the time when the lock ends, SETNX takes it, and GETSET takes
it over from a holder that died. It needs nothing but these commands, and clocks that about agree.

ExpiringLock is today's: SET NX PX with a value of one's own, compared by a script before anything is
done to the key. The server ends it by its own clock, and each holder gets a number greater than all before.

In both, a holder counts on the lock only until `until`, by its own clock that is never set, counted from
before the request was sent. This is earlier than the moment from which another can have the lock.
"""

import secrets
import time


# Of a term, what a holder does not count on: the server's clock may run faster, and counts milliseconds.
DRIFT = 0.01


class TimestampLock:
    """`margin` is for both together: how much clocks differ, and how long a process stalls between reading its
    clock and the server's receiving what it sends. When their sum is more, two may have the lock: what a late
    GETSET replaced is put back, but somebody may have seen it, or who was late may die before."""

    token = 0

    def __init__(self, client, key, term=2.0, margin=1.0, clock=time.time):
        self.client, self.key, self.term_s, self.margin_s, self.clock = client, key, term, margin, clock
        self.until = 0.0

    def held(self, seconds=0.0):
        """Whether the lock is held for so long from now."""
        return time.monotonic() + seconds < self.until

    def acquire(self):
        sent, now_ms, ends_ms = self._times()
        if not self.client.setnx(self.key, ends_ms):
            taken_until = self.client.get(self.key)
            if taken_until is None or int(taken_until) >= now_ms:
                return False
            # The holder's time is over. Of several that see this, the first GETSET is told the old time.
            if not self._put(now_ms, ends_ms):
                return False
        self.until = sent + self.term_s - self.margin_s
        return True

    def renew(self):
        """Only while it is held; a holder that is late acquires it like everybody."""
        if not self.held():
            return False
        sent, now_ms, ends_ms = self._times()
        previous = self.client.getset(self.key, ends_ms)
        if previous is not None and int(previous) > ends_ms:
            self.client.set(self.key, previous)
        elif self.held():  # Still: one that stalled before it read its clocks finds no newer time.
            self.until = sent + self.term_s - self.margin_s
            return True
        self.until = 0.0
        return False

    def release(self):
        """Deletes the key only while nobody else can have taken it over."""
        if self.held():
            self.until = 0.0
            self.client.delete(self.key)

    def _put(self, now_ms, ends_ms):
        """Whether the lock was free until this replaced the time. If it was not, the time of who was faster
        is now ours, about the same; one that we made shorter is put back."""
        previous = self.client.getset(self.key, ends_ms)
        if previous is None or int(previous) < now_ms:
            return True
        if int(previous) > ends_ms:
            self.client.set(self.key, previous)
        return False

    def _times(self):
        sent, now_ms = time.monotonic(), int(self.clock() * 1000)
        return sent, now_ms, now_ms + int(self.term_s * 1000)


# KEYS: lock, tokens. ARGV: own value, milliseconds. Sent again by a client that got no reply, it answers the same.
ACQUIRE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
    return redis.call('INCR', KEYS[2])
elseif redis.call('GET', KEYS[1]) == ARGV[1] then
    return tonumber(redis.call('GET', KEYS[2]))
end
return 0
"""

# KEYS: lock. ARGV: own value, milliseconds.
RENEW = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
"""

# KEYS: lock. ARGV: own value.
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
"""


class ExpiringLock:
    """`token` is the fencing token: what the holder writes to has to refuse smaller ones than it has seen."""

    def __init__(self, client, key, term=1.0):
        self.client, self.key, self.term_s = client, key, term
        self.value, self.token, self.until = secrets.token_hex(16), 0, 0.0
        self._acquire, self._renew, self._release = map(client.register_script, (ACQUIRE, RENEW, RELEASE))

    def held(self, seconds=0.0):
        """Whether the lock is held for so long from now."""
        return time.monotonic() + seconds < self.until

    def acquire(self):
        # A value for each time, so that nothing sent for an earlier one touches it.
        sent, self.value = time.monotonic(), secrets.token_hex(16)
        token = self._acquire(keys=[self.key, self.key + ":tokens"], args=[self.value, int(self.term_s * 1000)])
        if token:
            self.token, self.until = token, sent + self.term_s * (1 - DRIFT)
        return bool(token)

    def renew(self):
        sent = time.monotonic()
        renewed = self._renew(keys=[self.key], args=[self.value, int(self.term_s * 1000)])
        self.until = sent + self.term_s * (1 - DRIFT) if renewed else 0.0
        return bool(renewed)

    def release(self):
        """Whether it was still held."""
        self.until = 0.0
        return self._release(keys=[self.key], args=[self.value]) == 1


def take_part(lock, interval, work, ended):
    """Competes for the role: asks for it every `interval` seconds, and works and renews while it has it."""
    while not ended():
        if lock.renew() if lock.held() else lock.acquire():
            next_time = time.monotonic() + interval
            while time.monotonic() < next_time and work():
                pass
        else:
            time.sleep(interval)
    lock.release()
