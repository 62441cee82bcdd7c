"""Counters that decay with time: after each half-life half of what was counted is left.

For what is popular now, and for scores of bad behaviour that wear off. A counter is a hash of its value
and the time of that value, whatever was added to it; nothing has to run in the background. With
amounts a_i added at t_i, and half-life h, the value at T is the sum of a_i * 2^(-(T - t_i) / h).
"""

# Reads, decays and adds in one step, by the server's clock. An addition that is sent again, because its
# reply was lost or its sender died, gets the answer that it had.
ADD = """
local before = redis.call('GET', KEYS[2])
if before then
    return before
end
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local amount, half_life_us, remember_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local counter = redis.call('HMGET', KEYS[1], 'value', 'at_us')
local value = 0
if counter[1] then
    -- A clock that was set back makes no time pass.
    now_us = math.max(now_us, tonumber(counter[2]))
    value = tonumber(counter[1]) * 2 ^ (-(now_us - tonumber(counter[2])) / half_life_us)
end
value = value + amount
-- Enough digits for the same number to come back.
local at_text, value_text = string.format('%.0f', now_us), string.format('%.17g', value)
redis.call('HSET', KEYS[1], 'value', value_text, 'at_us', at_text)
-- After so many half-lives there is nothing left of it.
redis.call('PEXPIRE', KEYS[1], math.ceil(64 * half_life_us / 1000))
local reply = at_text .. ' ' .. value_text
redis.call('SET', KEYS[2], reply, 'PX', remember_ms)
return reply
"""


class DecayingCounter:
    def __init__(self, client, key, half_life_seconds, remember_seconds=600):
        self.client, self.key = client, key
        self.half_life_us = round(half_life_seconds * 1_000_000)
        self.remember_ms = round(remember_seconds * 1000)
        self.script = client.register_script(ADD)

    def add(self, amount, addition):
        """Returns the time in microseconds and the value; `addition` names this one while it may be sent again."""
        keys = [self.key, f"{self.key}:addition:{addition}"]
        reply = self.script(keys=keys, args=[repr(float(amount)), self.half_life_us, self.remember_ms])
        at_us, value = reply.split()
        return int(at_us), float(value)

    def read(self):
        """Returns the time and the value."""
        pipeline = self.client.pipeline(transaction=True)
        pipeline.time()
        pipeline.hmget(self.key, "value", "at_us")
        (seconds, micros), (value, at_us) = pipeline.execute()
        now_us = seconds * 1_000_000 + micros
        if value is None:
            return now_us, 0.0
        now_us = max(now_us, int(at_us))
        return now_us, float(value) * self.decay(now_us - int(at_us))

    def decay(self, span_us):
        return 2 ** (-span_us / self.half_life_us)
