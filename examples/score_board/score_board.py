"""A score board in a sorted set: points, ranks, the best, and the page around a player.

Players with the same points share a rank, as in sports: 1, 2, 2, 4. Within a page they come in the
reverse order of their names, which is how a sorted set lists equals from its end.
"""

import dataclasses

# An award that is sent again, because its reply was lost or its sender died, counts once. One whose
# points are no number fails before its name is remembered, and can be corrected.
AWARD = """
if redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('ZINCRBY', KEYS[1], ARGV[1], ARGV[2])
    redis.call('SET', KEYS[2], '1', 'EX', ARGV[3])
end
return redis.call('ZSCORE', KEYS[1], ARGV[2])
"""

# One step, so that the page, the place of the player in it and the ranks are of the same moment.
AROUND = """
local place = redis.call('ZREVRANK', KEYS[1], ARGV[1])
if not place then
    return false
end
local first = math.max(0, place - tonumber(ARGV[2]))
local page = redis.call('ZREVRANGE', KEYS[1], first, place + tonumber(ARGV[2]), 'WITHSCORES')
local better = redis.call('ZCOUNT', KEYS[1], '(' .. page[2], '+inf')
return {first, better, page}
"""


@dataclasses.dataclass(frozen=True)
class Line:
    rank: int
    player: str
    points: int


class ScoreBoard:
    def __init__(self, client, prefix, remember_seconds=86400):
        self.client, self.prefix, self.key = client, prefix, prefix + "board"
        self.remember_seconds = remember_seconds
        self.award_script = client.register_script(AWARD)
        self.around_script = client.register_script(AROUND)

    def award(self, award, player, points):
        """Adds points and returns their sum; `award` names this award for as long as it may be sent again."""
        keys = [self.key, f"{self.prefix}award:{award}"]
        return int(self.award_script(keys=keys, args=[points, player, self.remember_seconds]))

    def points(self, player):
        points = self.client.zscore(self.key, player)
        return None if points is None else int(points)

    def rank(self, player):
        lines = self.around(player, 0)
        return lines[0].rank if lines else None

    def best(self, count):
        page = self.client.zrevrange(self.key, 0, count - 1, withscores=True)
        return ranked(0, 0, [(player, int(points)) for player, points in page])

    def around(self, player, count):
        """The player with up to `count` before and `count` after, nothing when there is no such player."""
        found = self.around_script(keys=[self.key], args=[player, count])
        if not found:
            return []
        first, better, page = found
        return ranked(first, better, list(zip(page[::2], map(int, page[1::2]))))


def ranked(first, better, page):
    """Lines for a page that begins after `first` players, `better` of whom have more points than its first."""
    lines, rank = [], better + 1
    for place, (player, points) in enumerate(page):
        if place and points < page[place - 1][1]:
            rank = first + place + 1
        lines.append(Line(rank, player, points))
    return lines
