"""Orders in SQLite, their jobs moved to a stream: sellers, movers and consumers are killed in the middle of everything.

usage: python3 examples/outbox/main.py [redis://host:port/db]

Shown: the jobs in the stream are exactly those of the orders that were committed, each once and in
their order, none of an order that was rolled back; and each has its effect exactly once in the
consumers' database. What all have done leaves the stream meanwhile. A job whose id is refused because
somebody else added to the stream stays staged.
"""

import os
import pathlib
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import demo
import faults
from demo import check
from outbox import Consumer, ForeignEntries, Mover, open_database, stage

SELLERS = 2
CONSUMERS = 2
ORDERS = 400
MOVER_KILLS = 24
OTHER_KILLS = 8
IDLE_MS = 200


def open_shop(folder):
    shop = open_database(folder / "shop.sqlite")
    shop.execute("CREATE TABLE IF NOT EXISTS orders (name TEXT PRIMARY KEY)")
    return shop


def open_warehouse(folder):
    warehouse = open_database(folder / "warehouse.sqlite")
    warehouse.execute("CREATE TABLE IF NOT EXISTS deliveries (order_name TEXT)")
    return warehouse


def sell(folder, seller):
    """A successor begins anew; orders that are there are left alone."""
    shop = open_shop(folder)
    chance = random.Random(seller)
    refused = {number for number in range(ORDERS) if chance.random() < 0.2}
    for number in range(ORDERS):
        shop.execute("BEGIN IMMEDIATE")
        new = shop.execute("INSERT OR IGNORE INTO orders VALUES (?)", (f"{seller}-{number}",)).rowcount == 1
        if new:
            stage(shop, f"{seller}-{number}")
        # The payment fails, with the order and its job written.
        shop.execute("ROLLBACK" if number in refused else "COMMIT")
        if new:
            time.sleep(0.001)


class Mortal:
    """Kills itself at the given moment."""

    moments = None

    def pass_moment(self):
        if self.moments is not None:
            self.moments -= 1
            if self.moments == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class MortalMover(Mortal, Mover):
    """There is a moment before it sends, one before and one after it forgets."""

    def send(self, jobs):
        self.pass_moment()
        super().send(jobs)

    def forget(self, last):
        self.pass_moment()
        super().forget(last)
        self.pass_moment()


class MortalConsumer(Mortal, Consumer):
    """There is a moment between the effect and its acknowledgement."""

    def acknowledge(self, number):
        self.pass_moment()
        super().acknowledge(number)


def move(folder, prefix, moments=None):
    mover = MortalMover(open_shop(folder), faults.connect(prefix), prefix + "jobs")
    mover.moments = moments
    while True:
        if not mover.move():
            time.sleep(0.005)


def deliver(folder, prefix, name, moments=None):
    client = faults.connect(prefix)
    consumer = MortalConsumer(open_warehouse(folder), client, prefix + "jobs", "warehouse", name, IDLE_MS)
    consumer.moments = moments
    while True:
        for number, order in consumer.take():
            consumer.finish(number, lambda database: database.execute("INSERT INTO deliveries VALUES (?)", (order,)))
        consumer.forget_done()


class Suicides:
    """One process at a time that kills itself at some moment, and its successor at another."""

    def __init__(self, start, function, *arguments):
        self.start, self.function, self.arguments = start, function, arguments
        self.kills, self.process = 0, None

    def begin(self, moments):
        self.process = self.start(self.function, *self.arguments, moments)

    def renew(self):
        if not self.process.is_alive():
            code = self.process.exitcode
            check(code == -signal.SIGKILL, f"{self.function.__name__} ended with {code}")
            self.kills += 1
            self.begin(1 + self.kills % 9)

    def wait_for_death(self):
        self.process.join(60)
        self.renew()
        check(self.kills == 1, "its moment does not come")


def kill_all_the_time(start, folder, prefix):
    """Until everything is sold, moved and delivered; returns what was moved, counts of kills and of connections cut."""
    client, shop, moved, cuts = demo.connect(), open_shop(folder), [], 0
    # Reads along, as the others trim the stream.
    auditor = Consumer(open_warehouse(folder), client, prefix + "jobs", "audit", "auditor", 60_000)
    sellers = faults.Crew(start, *((sell, folder, seller) for seller in range(SELLERS)))
    # The first of each die, alone, at the worst moment: between sending and forgetting, effect and acknowledgement.
    mortal_movers = Suicides(start, move, folder, prefix)
    mortal_movers.begin(2)
    mortal_movers.wait_for_death()
    mortal_consumers = Suicides(start, deliver, folder, prefix, "mortal")
    mortal_consumers.begin(1)
    mortal_consumers.wait_for_death()
    movers = faults.Crew(start, (move, folder, prefix))
    consumers = faults.Crew(start, *((deliver, folder, prefix, f"consumer-{number}") for number in range(CONSUMERS)))
    deadline = time.monotonic() + 100
    while True:
        check(time.monotonic() < deadline, "not everything is moved and delivered in time")
        time.sleep(random.uniform(0.01, 0.05))
        for number, order in auditor.take(1000, block_ms=1):
            moved.append(order)
            auditor.acknowledge(number)
        mortal_movers.renew()
        mortal_consumers.renew()
        for crew, kills in ((movers, MOVER_KILLS), (sellers, OTHER_KILLS), (consumers, OTHER_KILLS)):
            if crew.kills < kills and random.random() < 0.5:
                crew.kill_one()
                cuts += faults.cut_connections(client, prefix)
        sold = not sellers.is_alive()
        staged = shop.execute("SELECT count(*) FROM staged_jobs").fetchone()[0]
        if sold and not staged and consumers.kills == OTHER_KILLS and all_delivered(client, prefix):
            faults.join(sellers.processes, 1)
            kills = movers.kills + mortal_movers.kills, sellers.kills, consumers.kills + mortal_consumers.kills
            return moved, kills, cuts


def all_delivered(client, prefix):
    last = client.xinfo_stream(prefix + "jobs")["last-generated-id"]
    groups = client.xinfo_groups(prefix + "jobs")
    return all(group["pending"] == 0 and group["last-delivered-id"] == last for group in groups)


def forget_done(folder, prefix):
    """What is left is the last id and the last number, which refuse what comes late."""
    warehouse, client = open_warehouse(folder), demo.connect()
    consumer = Consumer(warehouse, client, prefix + "jobs", "warehouse", "late", IDLE_MS)
    consumer.forget_done()
    left = warehouse.execute("SELECT count(*) FROM done_jobs").fetchone()[0]
    check(client.xlen(prefix + "jobs") == 0 and left == 1, f"{left} jobs that are done are remembered")
    consumer.finish(1, lambda database: check(False, "a job that is forgotten is done again"))


def keep_refused(folder, prefix):
    """Somebody tries XADD by hand: what the stream refuses from now on is not taken for sent."""
    shop, client = open_shop(folder), demo.connect()
    client.xadd(prefix + "jobs", {"payload": "by hand"})
    stage(shop, "refused")
    try:
        Mover(shop, client, prefix + "jobs").move()
    except ForeignEntries:
        pass
    check(shop.execute("SELECT payload FROM staged_jobs").fetchall() == [("refused",)], "a refused job is lost")


def main(prefix):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        with faults.forks() as start:
            moved, kills, cuts = kill_all_the_time(start, folder, prefix)
        orders = [row[0] for row in open_shop(folder).execute("SELECT name FROM orders ORDER BY rowid")]
        delivered = [row[0] for row in open_warehouse(folder).execute("SELECT order_name FROM deliveries")]
        forget_done(folder, prefix)
        keep_refused(folder, prefix)
    lost, doubled = len(set(orders) - set(moved)), len(moved) - len(set(moved))
    check(moved == orders, f"{len(orders)} orders, {len(moved)} jobs: {lost} lost, {doubled} doubled")
    lost, doubled = len(set(orders) - set(delivered)), len(delivered) - len(set(delivered))
    check(sorted(delivered) == sorted(orders), f"{len(delivered)} deliveries: {lost} lost, {doubled} doubled")
    rolled_back = SELLERS * ORDERS - len(orders)
    check(rolled_back, "no order is rolled back")
    return (f"orders {len(orders)} and {rolled_back} rolled back, jobs moved {len(moved)}, delivered {len(delivered)}, "
            f"lost 0, doubled 0; killed: movers {kills[0]}, sellers {kills[1]}, consumers {kills[2]}; "
            f"{cuts} connections cut")


if __name__ == "__main__":
    demo.run("outbox", main)
