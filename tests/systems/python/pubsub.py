"""redis-py's pub/sub, over both versions of the protocol.

Shown: subscribers of channels and patterns get every message once and in each publisher's order,
those that unsubscribe none after that; PUBLISH and PUBSUB count right; a subscriber that was
killed comes back with its subscriptions.
"""

import collections
import sys

from common import Listener, check, connect, join, processes, wait_for

PUBLISHERS = 3
MESSAGES = 1000
SUBSCRIBERS = 4


def publish(name):
    client = connect()
    for number in range(MESSAGES):
        client.publish(f"news.{name}", f"{name}:{number}")


def in_order(messages, names):
    """Each publisher's messages, complete and in their order."""
    by_name = collections.defaultdict(list)
    for message in messages:
        name, number = message["data"].split(":")
        check(message["channel"] == f"news.{name}", message)
        by_name[name].append(int(number))
    check(set(by_name) == names, f"{set(by_name)} instead of {names}")
    for name, numbers in by_name.items():
        check(numbers == list(range(MESSAGES)), f"{name}: {len(numbers)} messages, or not in order")


def everybody_hears(client):
    names = {str(number) for number in range(PUBLISHERS)}
    listeners = []
    for number in range(SUBSCRIBERS):
        protocol = 2 + number % 2
        listeners.append((Listener(protocol, channels=["news.0"]), {"0"}))
        listeners.append((Listener(protocol, patterns=["news.*"]), names))
    both = Listener(3, channels=["news.1"], patterns=["*ws.1"])
    count = 2 * SUBSCRIBERS
    wait_for(lambda: client.pubsub_numpat() == 2, 10, "patterns are counted, not who has them")
    wait_for(lambda: dict(client.pubsub_numsub("news.0", "none")) == {"news.0": SUBSCRIBERS, "none": 0},
             10, "the subscribers are counted")
    check(set(client.pubsub_channels("news.?")) == {"news.0", "news.1"}, "PUBSUB CHANNELS")
    with processes() as start:
        join([start(__file__, name) for name in sorted(names)], 30)
    total = sum(len(expected) for _, expected in listeners) * MESSAGES
    got = lambda: sum(len(listener.messages) for listener, _ in listeners)
    wait_for(lambda: got() >= total, 20, "all messages")
    wait_for(lambda: len(both.messages) >= 2 * MESSAGES, 10, "all messages")
    for listener, expected in listeners:
        in_order(listener.messages, expected)
        kinds = {message["type"] for message in listener.messages}
        check(kinds == {"pmessage" if len(expected) > 1 else "message"}, kinds)
    for kind in ("message", "pmessage"):
        in_order([message for message in both.messages if message["type"] == kind], {"1"})
    check(client.publish("news.0", "0:0") == count, "PUBLISH counts who hears it")
    for listener in [both, *(listener for listener, _ in listeners)]:
        listener.end()
    wait_for(lambda: client.pubsub_numpat() == 0 and not client.pubsub_channels(), 10, "nobody is left")
    check(client.publish("news.0", "0:0") == 0, "PUBLISH counts nobody")
    return total + 2 * MESSAGES


def comes_and_goes(client):
    for protocol in (2, 3):
        pubsub = connect(protocol=protocol).pubsub(ignore_subscribe_messages=True)
        pubsub.subscribe("a", "b")
        pubsub.psubscribe("c*")
        wait_for(lambda: client.publish("c1", "x") == 1, 10, "a subscriber")
        wait_for(lambda: hears(pubsub, "x"), 10, "the pattern hears")
        pubsub.unsubscribe("a")
        pubsub.punsubscribe("c*")
        wait_for(lambda: client.publish("a", "y") == 0 == client.publish("c1", "y"), 10, "unsubscribed")
        check(client.publish("b", "z") == 1, "the other channel stays")
        # What was published to the first between the two is not an error.
        wait_for(lambda: hears(pubsub, "z"), 10, "the other channel hears")
        check(pubsub.ping("hello") is not False, "a subscriber may PING")

        ids = [one["id"] for one in client.client_list(_type="pubsub")]
        check(len(ids) == 1 and client.client_kill_filter(_id=ids[0]) == 1, "it is killed")
        # redis-py connects anew and subscribes again within the read.
        wait_for(lambda: client.publish("b", "again") >= 0 and hears(pubsub, "again"), 10, "it comes back")
        pubsub.close()
        wait_for(lambda: not client.pubsub_channels(), 10, "nobody is left")


def hears(pubsub, data):
    message = pubsub.get_message(timeout=1)
    return message is not None and message["data"] == data


def main():
    client = connect()
    count = everybody_hears(client)
    comes_and_goes(client)
    print(f"{count} messages to {2 * SUBSCRIBERS + 1} subscribers")


if __name__ == "__main__":
    publish(sys.argv[1]) if len(sys.argv) > 1 else main()
