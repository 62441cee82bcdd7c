"""Rate limits: at most so many calls in a time, counted in one place for all processes."""

import dataclasses
import uuid


@dataclasses.dataclass(frozen=True)
class Decision:
    allowed: bool
    #: The number of this call in its window (fixed windows only).
    number: int
    #: Unix time in microseconds: when the window ends, or when the call was let through or refused.
    at_us: int


class FixedWindow:
    """At most `limit` calls in a window of `seconds`, which begins with the first call.

    One counter, which expires with its window. The counter and its time to live are set in one
    transaction, so that no caller that dies in between leaves a counter that never ends. A call that
    is sent again after a lost reply may count twice, which lets fewer through, never more. Between
    two windows up to twice the limit may pass within a short time; see SlidingWindow.
    """

    def __init__(self, client, key, limit, seconds):
        self.client, self.key, self.limit, self.seconds = client, key, limit, seconds

    def ask(self):
        pipeline = self.client.pipeline(transaction=True)
        pipeline.incr(self.key)
        # Only the first call of a window sets its end: otherwise a caller that never rests would
        # put it off for ever.
        pipeline.expire(self.key, self.seconds, nx=True)
        pipeline.pexpiretime(self.key)
        number, _, ends_at_ms = pipeline.execute()
        return Decision(number <= self.limit, number, ends_at_ms * 1000)


class SlidingWindow:
    """At most `limit` calls in any span of `seconds`, whenever it begins.

    A sorted set has the time of each call that was let through. It takes memory for `limit` calls,
    where the fixed window has one number. The server's clock alone decides. A call has an id, by
    which one that is sent again after a lost reply gets the answer it had.
    """

    SCRIPT = """
    local time = redis.call('TIME')
    local now = time[1] * 1000000 + time[2]
    local span, limit, call = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
    local before = redis.call('ZSCORE', KEYS[1], call)
    if before then
        return {1, before}
    end
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - span))
    local text = string.format('%.0f', now)
    if redis.call('ZCARD', KEYS[1]) >= limit then
        return {0, text}
    end
    redis.call('ZADD', KEYS[1], text, call)
    redis.call('PEXPIRE', KEYS[1], math.ceil(span / 1000))
    return {1, text}
    """

    def __init__(self, client, key, limit, seconds):
        self.key, self.limit, self.seconds = key, limit, seconds
        self.script = client.register_script(self.SCRIPT)

    def ask(self, call=None):
        arguments = [round(self.seconds * 1_000_000), self.limit, call or uuid.uuid4().hex]
        allowed, at_us = self.script(keys=[self.key], args=arguments)
        return Decision(bool(allowed), 0, int(float(at_us)))
