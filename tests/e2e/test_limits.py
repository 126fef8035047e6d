# SPDX-License-Identifier: MIT
"""What clients may have the server keep: every limit refuses loudly, and memory stays where it is."""

import json

from support.commands import Commands
from support.redis import metric
from support.server import Server, wait_until
from support.websocket import WebSocket


# Channels that linger.

def come_and_go(client: WebSocket, names: range, step: int = 50) -> None:
    """Subscribes to each name and leaves it again, many at a time."""
    for first in range(names.start, names.stop, step):
        client.put_text(json.dumps({"op": "subscribe", "channels": [f"visited/{number}" for number in range(first, first + step)]}))
        client.put_text('{"op":"unsubscribe"}')
        assert json.loads(client.take())["op"] == "subscribed", first
        assert json.loads(client.take())["op"] == "unsubscribed", first


def test_only_so_many_channels_linger_however_many_are_visited() -> None:
    """The logs of those that were left make room for others: memory is where it was after the first tenth of them."""
    with Server("--shards", "1", "--linger-time", "1h", "--linger-channels", "100", "--memory-limit", "8MiB") as server:
        with WebSocket(server, "/ws") as client:
            come_and_go(client, range(30_000))
            before = server.resident_bytes()
            come_and_go(client, range(30_000, 300_000))
            assert server.resident_bytes() - before < 4 << 20
            wait_until(lambda: metric(server, "channels_attached") <= 100)
            assert metric(server, "channels") < 60_000
            commands = Commands(client.put_text, client.take)
            commands.subscribe("kept")
            commands.publish("kept", "x")
            assert commands.next_data() == "x"


def test_a_channel_that_lingers_is_not_lost_to_who_comes_back() -> None:
    with Server("--shards", "1", "--linger-channels", "1") as server, WebSocket(server, "/ws") as client:
        commands = Commands(client.put_text, client.take)
        cursor = commands.subscribe("a")["cursor"]
        commands.ask("unsubscribe", channels=["a"])
        commands.publish("a", "missed")
        come_and_go(client, range(10), 10)
        assert commands.subscribe("a", since=cursor)["recovered"] is True
        assert commands.next_data() == "missed"
