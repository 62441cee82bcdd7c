"""Ids that no two processes give out: by time and worker, or from one sequence in ranges.

Both ask the server seldom, once for thousands of ids, and no id is given twice, whatever clocks say.
"""

import time
import uuid

#: Bits of an id, from the top: milliseconds since EPOCH_MS, the worker's slot, a number within the millisecond.
TIME_BITS, SLOT_BITS, SEQUENCE_BITS = 41, 10, 12
EPOCH_MS = 1_700_000_000_000

# KEYS: slot. ARGV: known value, wanted value, the caller's milliseconds, how far they may be from the server's.
# Returns the value that holds now, so that one that is sent again after a lost reply comes to the same, and the
# server's milliseconds. A slot is free, or its owner's, by the server's clock.
COMPARE_AND_SET = """
local value = redis.call('GET', KEYS[1]) or ''
local owner, last = value:match('^(%S+) (%d+)$')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if value == ARGV[1] and (not owner or owner == ARGV[2]:match('^%S+') or tonumber(last) < now)
        and math.abs(now - ARGV[3]) <= tonumber(ARGV[4]) then
    redis.call('SET', KEYS[1], ARGV[2])
    value = ARGV[2]
end
return {value, now}
"""


def clock_ms():
    return time.time_ns() // 1_000_000


class NoSlot(Exception):
    """All slots are held by other workers, or the clock is wrong."""


class TimeIds:
    """Ids of 63 bits that ascend within a worker and roughly among all: Snowflake's layout.

    A worker needs a slot of its own. The slot's value in the server is its owner and the last
    millisecond that ids of this slot may carry. Whoever sets it by compare-and-set, as the owner or
    after that millisecond, is granted the time from there to a new last millisecond, and gives out no
    id that carries another time. Grants of a slot never overlap, so no id is given twice, whatever
    the clocks say and however long a worker stands still. Whether the millisecond has passed is told by
    the server's clock; a worker whose clock is off by more than a lease gets nothing, as it would hold
    slots for times that are far away.
    """

    def __init__(self, client, prefix, slots=1 << SLOT_BITS, lease_ms=5000, on_grant=lambda *grant: None,
                 clock=clock_ms):
        self.client, self.prefix, self.slots, self.lease_ms = client, prefix, slots, lease_ms
        self.on_grant, self.clock_ms = on_grant, clock
        self.owner = uuid.uuid4().hex
        self.compare_and_set = client.register_script(COMPARE_AND_SET)
        self.slot, self.value = None, ""
        # The time that is granted, its last millisecond included, and the next id within it.
        self.last_ms, self.now_ms, self.sequence = -1, 0, 0

    def next_id(self):
        now_ms = max(self.clock_ms(), self.now_ms + (self.sequence == 1 << SEQUENCE_BITS))
        if now_ms > self.last_ms:
            self.extend()
        elif now_ms > self.now_ms:
            self.now_ms, self.sequence = now_ms, 0
        number = (self.now_ms - EPOCH_MS) << SLOT_BITS + SEQUENCE_BITS | self.slot << SEQUENCE_BITS | self.sequence
        self.sequence += 1
        return number

    def extend(self):
        """Gets more time for the slot, or, where another worker took it meanwhile, another slot."""
        if self.slot is None or not self.try_slot(self.slot, self.value):
            self.find_slot()

    def find_slot(self):
        keys = [self.key(slot) for slot in range(self.slots)]
        now = self.client.time()
        for slot, value in enumerate(self.client.mget(keys)):
            # Only those that are worth asking for.
            if last_ms_of(value) < now[0] * 1000 + now[1] // 1000 and self.try_slot(slot, value):
                return
        raise NoSlot

    def try_slot(self, slot, value):
        clock = self.clock_ms()
        first_ms = max(self.now_ms + 1, clock, last_ms_of(value) + 1)
        last_ms = first_ms + self.lease_ms
        wanted = f"{self.owner} {last_ms}"
        args = [value or "", wanted, clock, self.lease_ms]
        holds, server_ms = self.compare_and_set(keys=[self.key(slot)], args=args)
        if holds != wanted:
            if abs(server_ms - clock) > self.lease_ms:
                raise NoSlot(f"the clock is {clock - server_ms} ms ahead of the server's")
            return False
        self.slot, self.value = slot, wanted
        self.last_ms, self.now_ms, self.sequence = last_ms, first_ms, 0
        self.on_grant(slot, first_ms, last_ms)
        return True

    def key(self, slot):
        return f"{self.prefix}slot:{slot}"


def last_ms_of(value):
    return int(value.split()[1]) if value else -1


class RangeIds:
    """Ids 1, 2, 3, ... handed out locally from ranges that INCRBY reserves.

    They are small and leave no gap within a range. A process that dies, or a reply that is lost,
    leaves the rest of a range unused; ranges of several processes are mixed in time.
    """

    def __init__(self, client, key, size, on_range=lambda *bounds: None):
        self.client, self.key, self.size, self.on_range = client, key, size, on_range
        self.next, self.last = 1, 0

    def next_id(self):
        if self.next > self.last:
            self.last = self.client.incrby(self.key, self.size)
            self.next = self.last - self.size + 1
            self.on_range(self.next, self.last)
        number = self.next
        self.next += 1
        return number
