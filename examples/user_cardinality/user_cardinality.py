"""How many different users came: by HyperLogLog, about, in 12 KB at most; by bitmap, exactly, in a bit for each user.

A HyperLogLog takes any names, has a standard error of 0.81 %, and counts unions. A bitmap needs users
that are numbered, and counts unions and who came back; it is as large as the largest number says.
Both can be told of the same visit any number of times, so a writer that dies does its last part again.
A day's keys are kept for so many days after the last visit that was told.
"""

from datetime import timedelta


class Visitors:
    def __init__(self, client, prefix, keep_days=400):
        self.client, self.prefix, self.keep_days = client, prefix, keep_days

    def estimate_key(self, day):
        return f"{self.prefix}estimate:{day}"

    def bitmap_key(self, day):
        return f"{self.prefix}bitmap:{day}"

    def visit(self, day, users):
        """Users are numbers from 0."""
        pipeline = self.client.pipeline(transaction=False)
        pipeline.pfadd(self.estimate_key(day), *(f"user-{user}" for user in users))
        for user in users:
            pipeline.setbit(self.bitmap_key(day), user, 1)
        for key in (self.estimate_key(day), self.bitmap_key(day)):
            pipeline.expire(key, timedelta(days=self.keep_days))
        pipeline.execute()

    def estimate(self, *days):
        """About how many came on any of the days."""
        return self.client.pfcount(*map(self.estimate_key, days))

    def count(self, *days):
        """How many came on any of the days."""
        return self.combined("OR", days)

    def loyal(self, *days):
        """How many came on each of the days."""
        return self.combined("AND", days)

    def combined(self, operation, days):
        # One step, so that nobody else meets the key of the result.
        result = f"{self.prefix}combined"
        pipeline = self.client.pipeline(transaction=True)
        pipeline.bitop(operation, result, *map(self.bitmap_key, days))
        pipeline.bitcount(result)
        pipeline.delete(result)
        return pipeline.execute()[1]

    def came(self, day, user):
        return bool(self.client.getbit(self.bitmap_key(day), user))
