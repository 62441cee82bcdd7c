"""The booking services of a holiday: hotel, car, flight. Each keeps its bookings in a database of its own.

They fail at random, before or after they did what they were asked, also with errors that nobody has
thought of, and are sold out at some time.
A booking is made once for a saga, and a cancellation forbids a later booking: the primary key sees
to both.
"""

import random
import sqlite3

from saga import Refused, Step, Unavailable


class Service:
    def __init__(self, folder, name, places, failures=0.0):
        self.name, self.places, self.failures = name, places, failures
        # While it is there, cancellations of the saga that it names are not answered.
        self.silence = folder / "silence"
        self.database = sqlite3.connect(folder / f"{name}.sqlite", timeout=30, isolation_level=None)
        self.database.execute("PRAGMA synchronous = OFF")
        self.database.execute("CREATE TABLE IF NOT EXISTS bookings (saga TEXT PRIMARY KEY, state TEXT)")
        # One line for each change of a place, for the demonstration: -1 booked, +1 given back.
        self.database.execute("CREATE TABLE IF NOT EXISTS changes (saga TEXT, places INTEGER)")

    def book(self, saga):
        self.fail_at_random()
        with self.transaction():
            state = self.state(saga)
            if state == "cancelled":
                raise Refused(f"{saga} is cancelled at the {self.name}")
            if state is None:
                if self.booked() >= self.places:
                    raise Refused(f"the {self.name} is sold out")
                self.database.execute("INSERT INTO bookings VALUES (?, 'booked')", (saga,))
                self.database.execute("INSERT INTO changes VALUES (?, -1)", (saga,))
        self.fail_at_random()

    def cancel(self, saga):
        self.fail_at_random()
        if self.silence.exists() and self.silence.read_text() == saga:
            raise Unavailable(f"the {self.name} does not answer")
        with self.transaction():
            if self.state(saga) == "booked":
                self.database.execute("INSERT INTO changes VALUES (?, 1)", (saga,))
            self.database.execute("REPLACE INTO bookings VALUES (?, 'cancelled')", (saga,))
        self.fail_at_random()

    def state(self, saga):
        row = self.database.execute("SELECT state FROM bookings WHERE saga = ?", (saga,)).fetchone()
        return row and row[0]

    def booked(self):
        return self.database.execute("SELECT count(*) FROM bookings WHERE state = 'booked'").fetchone()[0]

    def changes(self, saga):
        query = "SELECT places FROM changes WHERE saga = ? ORDER BY rowid"
        return [row[0] for row in self.database.execute(query, (saga,))]

    def fail_at_random(self):
        if random.random() < self.failures:
            raise random.choice((Unavailable, ConnectionResetError))(f"the {self.name} does not answer")

    def transaction(self):
        self.database.execute("BEGIN IMMEDIATE")
        return self.database


def holiday(folder, places, failures):
    """The steps of a holiday; the flight has the fewest places, so that much is taken back."""
    services = [Service(folder, name, count, failures) for name, count in zip(("hotel", "car", "flight"), places)]
    return services, [Step(service.name, service.book, service.cancel) for service in services]
