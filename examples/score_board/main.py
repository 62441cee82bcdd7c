"""A score board while judges are killed: their successors give the last awards again, to be sure.

usage: python3 examples/score_board/main.py [redis://host:port/db]

Shown: after judges were killed and their connections cut, all points, ranks and pages are exactly
those of a model, no award is lost or counted twice; while awards are given, every page is sorted,
has its player in it, and equal points share a rank. An award that fails can be corrected.
"""

import collections
import pathlib
import random
import sys
import tempfile
import time

import redis

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import demo
import faults
from demo import check
from score_board import Line, ScoreBoard

PLAYERS = [f"player-{number}" for number in range(200)]
JUDGES = 4
AWARDS = 1000
KILLS = 8
# A judge that takes over goes back so many awards before the last that is known to be given.
OVERLAP = 20
AROUND = 5


def awards_of(judge):
    """The same at every call. Few different sums, so that there are many ties."""
    chance = random.Random(judge)
    return [(f"{judge}-{number}", chance.choice(PLAYERS), 10 * chance.randint(-2, 5)) for number in range(AWARDS)]


def judge_awards(prefix, judge, path):
    board, journal = ScoreBoard(faults.connect(prefix), prefix), faults.Journal(path)
    awards = awards_of(judge)
    for number in range(max(0, next_award(path) - OVERLAP), AWARDS):
        board.award(*awards[number])
        journal.write(number)


def next_award(path):
    lines = path.read_text().split() if path.exists() else []
    return int(lines[-1]) + 1 if lines else 0


def check_page(lines, player):
    """What holds at any moment."""
    check(player in {line.player for line in lines}, f"{player} is not on its own page")
    order = [(line.points, line.player) for line in lines]
    check(order == sorted(order, reverse=True), f"a page is not sorted: {lines}")
    for before, after in zip(lines, lines[1:]):
        check((before.points == after.points) == (before.rank == after.rank), f"wrong ranks: {before}, {after}")
        check(before.rank <= after.rank, f"wrong ranks: {before}, {after}")


def judge_under_faults(prefix, folder):
    """Returns how many pages were looked at, how many judges killed, and how many connections cut."""
    client, paths = demo.connect(), [folder / str(judge) for judge in range(JUDGES)]
    board, pages, cuts = ScoreBoard(client, prefix), 0, 0
    with faults.forks() as start:
        judges = faults.Crew(start, *((judge_awards, prefix, judge, path) for judge, path in enumerate(paths)))
        deadline = time.monotonic() + 100
        while judges.is_alive():
            check(time.monotonic() < deadline, "the judges do not come to an end")
            player = random.choice(PLAYERS)
            if lines := board.around(player, AROUND):
                check_page(lines, player)
                pages += 1
            # Kills are spread evenly over the awards.
            done = sum(map(next_award, paths))
            if done > (judges.kills + 1) * JUDGES * AWARDS / (KILLS + 1):
                judges.kill_one()
                cuts += faults.cut_connections(client, prefix)
        faults.join(judges.processes, 1)
    return pages, judges.kills, cuts


def model():
    """The whole board as lines."""
    points = collections.Counter()
    for judge in range(JUDGES):
        for _, player, number in awards_of(judge):
            points[player] += number
    order = sorted(points.items(), key=lambda item: (item[1], item[0]), reverse=True)
    return [Line(1 + sum(other > number for other in points.values()), player, number) for player, number in order]


def correct(board, player):
    """An award that was refused leaves its name free."""
    before = board.points(player)
    try:
        board.award("wrong", player, "12,5")
    except redis.ResponseError:
        check(board.award("wrong", player, 12) == before + 12, "an award that is corrected is taken for known")
    else:
        check(False, "points that are no number are not refused")


def main(prefix):
    with tempfile.TemporaryDirectory() as folder:
        pages, kills, cuts = judge_under_faults(prefix, pathlib.Path(folder))
        given = sum(len(faults.read_journal(path)) for path in pathlib.Path(folder).iterdir())
    board, expected = ScoreBoard(demo.connect(), prefix), model()
    check(board.best(len(PLAYERS) + 1) == expected, "the board is not that of the model")
    for place, line in enumerate(expected):
        check(board.points(line.player) == line.points and board.rank(line.player) == line.rank, f"not {line}")
        page = expected[max(0, place - AROUND):place + AROUND + 1]
        check(board.around(line.player, AROUND) == page, f"the page around {line.player}")
    check(board.rank("nobody") is None and board.points("nobody") is None, "a player that is not there")
    ties = len(expected) - len({line.points for line in expected})
    check(ties and kills, f"{ties} ties, {kills} kills")
    correct(board, PLAYERS[0])
    again = given - JUDGES * AWARDS
    return (f"{JUDGES * AWARDS} awards to {len(expected)} players, {ties} of them tied, lost 0, doubled 0; "
            f"{again} given again by successors of {kills} killed judges, {cuts} connections cut, "
            f"{pages} pages read meanwhile")


if __name__ == "__main__":
    demo.run("score_board", main)
