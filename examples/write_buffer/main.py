"""A write buffer under SIGKILL: 6,000 increments by three producers, written to SQLite by workers that die.

usage: python3 examples/write_buffer/main.py [redis://host:port/db]

What the producers sent is counted by themselves and compared with the rows, page by page.
"""

import collections
import json
import os
import pathlib
import random
import signal
import sqlite3
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import demo
from buffer import Buffer, Sink, flush
from demo import PATIENCE, check

PRODUCERS = 3
PAGES = 40
WORKERS = 3
ROWS = 10
# Workers that kill themselves at exactly these instants, and others killed at random ones.
MOMENTS = ["taken", "written", "committed", "committed"]
KILLS = 4
# Producers send a portion for each kill, so that none happens when there is nothing to do.
PORTION = 250
INCREMENTS = PRODUCERS * PORTION * (len(MOMENTS) + KILLS)


def open_sink(folder):
    # The transaction is begun by hand.
    connection = sqlite3.connect(pathlib.Path(folder, "pages.sqlite"), timeout=30, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    return Sink(connection)


def producer(prefix, name, folder):
    """Sends and counts what it sent; a portion each time that the gate opens."""
    buffer, sums, last = Buffer(demo.connect(), prefix), collections.Counter(), {}
    while buffer.client.blpop(f"{prefix}gate:{name}", 0)[1] == "open":
        for _ in range(PORTION):
            page, size = f"page-{random.randrange(PAGES)}", random.randrange(1, 1_000_000)
            last[page] = f"{name}/{sum(sums.values())}"
            buffer.add(page, size, last[page])
            sums[f"{page} visits"] += 1
            sums[f"{page} bytes"] += size
    pathlib.Path(folder, f"sent-{name}.json").write_text(json.dumps({"sums": sums, "last": last}))


def gate(client, prefix, word):
    for name in range(PRODUCERS):
        client.rpush(f"{prefix}gate:{name}", word)


def worker(prefix, folder, fatal=""):
    """Writes until SIGTERM, or kills itself at the moment that it is told."""
    asked_to_end = []
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.append(True))
    buffer, sink = Buffer(demo.connect(), prefix), open_sink(folder)
    batches = 0

    def moment(name):
        # Not in its first batches, so that rows exist that could be counted twice.
        if name == fatal and batches > 0:
            os.kill(os.getpid(), signal.SIGKILL)

    while not asked_to_end:
        written, known = flush(buffer, sink, ROWS, moment)
        batches += written
        buffer.client.hincrby(prefix + "stats", "written", written)
        buffer.client.hincrby(prefix + "stats", "known", known)
        if not written + known:
            time.sleep(0.02)


def kill_some(start, client, prefix, folder):
    """Workers die alone at the moments that matter, then others at random ones, each replaced; returns who is left."""
    for moment in MOMENTS:
        suicidal = start(__file__, "worker", prefix, folder, moment)
        gate(client, prefix, "open")
        check(suicidal.wait(PATIENCE) == -signal.SIGKILL, f"the worker to die when it has {moment} lives on")
    running = [start(__file__, "worker", prefix, folder) for _ in range(WORKERS)]
    for _ in range(KILLS):
        gate(client, prefix, "open")
        time.sleep(random.uniform(0.1, 0.5))
        demo.kill(running.pop(random.randrange(WORKERS)))
        running.append(start(__file__, "worker", prefix, folder))
    gate(client, prefix, "close")
    return running


def verdict(client, prefix, folder):
    sent, lasts = collections.Counter(), collections.defaultdict(set)
    for path in pathlib.Path(folder).glob("sent-*.json"):
        told = json.loads(path.read_text())
        sent.update(told["sums"])
        for page, visitor in told["last"].items():
            lasts[page].add(visitor)
    rows = open_sink(folder).connection.execute("SELECT page, visits, bytes, last FROM pages").fetchall()
    stored = {f"{page} visits": visits for page, visits, *_ in rows}
    stored |= {f"{page} bytes": size for page, _, size, _ in rows}

    def visits(sums):
        return {name: count for name, count in sums.items() if name.endswith("visits")}

    total, in_sql = sum(visits(sent).values()), sum(visits(stored).values())
    lost = sum(max(0, count - stored.get(name, 0)) for name, count in visits(sent).items())
    doubled = sum(max(0, count - sent[name]) for name, count in visits(stored).items())
    check(total == INCREMENTS, f"{total} increments sent, not {INCREMENTS}")
    wrong = {name: (sent[name], stored.get(name)) for name in {**sent, **stored} if sent[name] != stored.get(name)}
    check(not wrong, f"sent {total}, in SQL {in_sql}, lost {lost}, doubled {doubled}; (sent, stored): {wrong}")
    for page, _, _, last in rows:
        check(last in lasts[page], f"{page}: {last} is not the last visitor of any producer: {lasts[page]}")
    stats = client.hgetall(prefix + "stats")
    check(int(stats["known"]) >= MOMENTS.count("committed"), f"batches came again after their commit: {stats}")
    left = {key.removeprefix(prefix) for key in client.scan_iter(prefix + "*")} - {"stats", "version"}
    check(not left, f"left over: {left}")
    return (f"increments sent {total}, in SQL {in_sql}, lost 0, doubled 0; {len(MOMENTS) + KILLS} workers killed, "
            f"{MOMENTS.count('committed')} of them between commit and confirmation; {stats['written']} batches "
            f"written, {stats['known']} came again after their commit and were left out")


def main(prefix):
    buffer = Buffer(demo.connect(), prefix)
    with demo.processes() as start, tempfile.TemporaryDirectory() as folder:
        open_sink(folder).create()
        producers = [start(__file__, "producer", prefix, name, folder) for name in range(PRODUCERS)]
        running = kill_some(start, buffer.client, prefix, folder)
        for process in producers:
            check(process.wait(PATIENCE) == 0, "a producer failed")
        # If it never is, the verdict counts what is missing.
        demo.wait(lambda: not buffer.client.exists(buffer.pending), PATIENCE / 2)
        demo.end(running)
        return verdict(buffer.client, prefix, folder)


if __name__ == "__main__":
    demo.run("write_buffer", main, producer=producer, worker=worker)
