"""redis-py as a listener of keyspace events, as programs use it that want to know of expired keys.

Shown: every key that runs out of time is told of once, and one key's writes and its expiry in their
order; another database's events and those of classes that are off are not told.
"""

from common import Listener, check, connect, wait_for

KEYS = 300


def main():
    client = connect()
    client.config_set("notify-keyspace-events", "KEx$g")
    expired = Listener(3, channels=["__keyevent@0__:expired"])
    one = Listener(2, channels=["__keyspace@0__:key:7"])
    other = Listener(2, patterns=["__key*@1__:*"])
    wait_for(lambda: len(client.pubsub_channels()) == 2 and client.pubsub_numpat() == 1, 10, "listeners")
    for number in range(KEYS):
        client.set(f"key:{number}", "v", px=50 + number)
    client.set("stays", "v", ex=1000)
    wait_for(lambda: len(expired.messages) >= KEYS, 20, "all keys expire")
    wait_for(lambda: len(one.messages) >= 3, 5, "one key's events")
    names = [message["data"] for message in expired.messages]
    check(sorted(names) == sorted(f"key:{number}" for number in range(KEYS)), "each once")
    check([message["data"] for message in one.messages] == ["set", "expire", "expired"], one.messages)
    check(not other.messages, "another database's events are not theirs")
    client.config_set("notify-keyspace-events", "")
    client.set("key:7", "v")
    for listener in (expired, one, other):
        listener.end()
    check(len(one.messages) == 3, "no events when they are off")
    print(f"{KEYS} keys expired, each told of once")


if __name__ == "__main__":
    main()
