# SPDX-License-Identifier: MIT
"""NAME/** where somebody is hostile: very many who follow, and what each of them costs the others."""

from __future__ import annotations

import contextlib
import json

from support.client import request
from support.redis import RedisServer, await_ready
from support.relay import Relay
from support.server import Server, wait_until
from support.websocket import WebSocket


def publish_many(server: Server, names: list[str]) -> None:
    answer = request(server, "POST", "/channels", json.dumps([{"channel": name, "data": name} for name in names]))
    assert answer.status == 200 and not any("error" in each for each in answer.json), answer


def test_what_is_in_redis_is_gone_through_once_for_many_who_come_together(channel: str) -> None:
    """SCAN looks at every key there is, whatever it is asked for."""
    top = channel.replace("/", "-")
    with RedisServer() as redis, Relay(redis.port) as relay, Server("--broker", relay.url) as server:
        await_ready(server)
        publish_many(server, [f"{top}-{i}/x" for i in range(40)])
        redis.client.mset({f"other{i}": i for i in range(5000)})
        relay.hold("commands")
        with WebSocket(server, "/ws") as socket:
            for i in range(40):
                socket.put_json({"op": "subscribe", "ref": i, "channel": f"{top}-{i}/**"})
            wait_until(lambda: len(redis.client.execute_command("PUBSUB", "SHARDCHANNELS")) >= 40)
            relay.hold("commands", False)
            answers = [socket.take_json() for _ in range(40)]
            assert {(answer["op"], answer["complete"]) for answer in answers} == {("subscribed", True)}
            assert redis.client.info("commandstats")["cmdstat_scan"]["calls"] < 40
            publish_many(server, [f"{top}-{i}/x" for i in range(40)])
            assert {socket.take_json()["data"] for _ in range(40)} == {f"{top}-{i}/x" for i in range(40)}


def test_who_comes_while_it_is_gone_through_for_others_misses_none(channel: str) -> None:
    top = channel.replace("/", "-")
    with RedisServer() as redis, Relay(redis.port) as relay, Server("--broker", relay.url) as server:
        await_ready(server)
        publish_many(server, [f"{top}/{i}" for i in range(60)])
        redis.client.mset({f"other{i}": i for i in range(5000)})
        relay.delay = 0.02
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(WebSocket(server, "/ws")) for _ in range(12)]
            for number, socket in enumerate(sockets):
                socket.put_json({"op": "subscribe", "channel": f"{top}/**", "last": 1})
                if number % 4 == 3:
                    socket.close()
            relay.delay = 0
            for number, socket in enumerate(sockets):
                if number % 4 != 3:
                    assert socket.take_json()["op"] == "subscribed"
                    assert {socket.take_json()["data"] for _ in range(60)} == {f"{top}/{i}" for i in range(60)}


def test_followers_of_other_names_cost_a_new_channel_nothing(channel: str) -> None:
    """Each of 3000 in a list would take it about a millisecond of one processor, with the broker's lock."""
    top = channel.replace("/", "-")
    with Server("--shards", "1", "--websocket-ping", "0") as server, contextlib.ExitStack() as stack:
        for number in range(3):
            socket = stack.enter_context(WebSocket(server, "/ws"))
            for i in range(1000):
                socket.put_json({"op": "subscribe", "channel": f"{top}-{number}-{i}/**"})
                assert socket.take_json()["op"] == "subscribed"
        before = server.cpu_seconds()
        publish_many(server, [f"{top}/{i}" for i in range(4000)])
        assert server.cpu_seconds() - before < 0.5
