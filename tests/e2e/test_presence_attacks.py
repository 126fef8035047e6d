# SPDX-License-Identifier: MIT
"""Presence where somebody is hostile, or the moment is awkward: reloads and outages in between, crowds that are dead, bridged channels."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from support.client import LineStream, get, path_of
from support.redis import NODE_OPTIONS, RedisServer, await_ready, nodes
from support.relay import Relay
from support.reloading import Reloading
from support.server import Server, wait_until

ON = "presence = yes\nevents = yes\npresence-grace = 200ms\n"
OPTIONS = ("--presence", "yes", "--presence-grace", "200ms")


def page(server: Server, channel: str, after: str = "", limit: int = 10) -> Any:
    answer = get(server, f"/api/channels/{channel}/presence?limit={limit}" + (f"&after={after}" if after else ""))
    assert answer.status == 200, answer
    return answer.json


def names(server: Server, channel: str, limit: int = 10) -> list[str]:
    found, after = [], ""
    while True:
        part = page(server, channel, after, limit)
        found += [member["name"] for member in part["members"]]
        if "next" not in part:
            return found
        assert part["next"] > after
        after = part["next"]


def calls(redis: RedisServer) -> int:
    return sum(row["calls"] for name, row in redis.client.info("commandstats").items() if name.startswith(("cmdstat_fcall", "cmdstat_eval")))


def test_who_goes_after_presence_was_turned_off_is_no_load(channel: str) -> None:
    """Came while Redis was away, so that it never heard of him, and goes when it is not to be told any more."""
    with RedisServer() as redis, Reloading(ON, "--broker", redis.url(), *NODE_OPTIONS) as server, contextlib.ExitStack() as stack:
        await_ready(server)
        stack.enter_context(LineStream(server, path_of(channel))).next_line()
        redis.kill()
        bob = stack.enter_context(LineStream(server, path_of(channel, **{"as": "bob"})))
        bob.next_line()
        server.reload(ON.replace("presence = yes", "presence = no"))
        stack.enter_context(LineStream(server, path_of(channel))).next_line()
        redis.start()
        await_ready(server)
        bob.close()
        before = calls(redis)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            assert calls(redis) - before < 40
            time.sleep(0.1)
        server.reload(ON)
        with LineStream(server, path_of(channel, **{"as": "ann"})) as ann:
            ann.next_line()
            wait_until(lambda: names(server, channel) == ["ann"])


def test_a_page_of_those_whose_node_is_dead_is_not_the_last(channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis, options=OPTIONS) as (server,), LineStream(server, path_of(channel, **{"as": "zoe"})) as zoe:
        zoe.next_line()
        wait_until(lambda: names(server, channel) == ["zoe"])
        dead = [f"p{i:04}" for i in range(1000)]
        key = f"sluice:{{{channel.split('/')[0]}}}:"
        redis.client.hset(f"{key}h:{channel}", mapping={name: "1 1700000000000 dead.1,1700000000000,sse\n" for name in dead})
        redis.client.zadd(f"{key}a:{channel}", dict.fromkeys(dead, 0))
        redis.client.hset(f"{key}l:{channel}", "dead.1", "1 0")
        assert names(server, channel) == ["zoe"]


def test_who_stays_is_not_told_as_gone_where_a_lease_has_lapsed(channel: str) -> None:
    """As after Redis or the node was still for too long: more people than go into one call are told anew."""
    people = {f"p{i:03}" for i in range(200)}
    with RedisServer() as redis, nodes(1, redis, options=OPTIONS) as (server,), contextlib.ExitStack() as stack:
        watcher = stack.enter_context(LineStream(server, path_of(channel + "/$presence")))
        watcher.next_line()
        for name in people:
            stack.enter_context(LineStream(server, path_of(channel, **{"as": name}))).next_line()
        told: set[str] = set()
        while told != people:
            told |= {member["name"] for member in watcher.next_line()["data"]["members"]}
        key = f"sluice:{{{channel.split('/')[0]}}}:l:{channel}"
        (lease,) = [name for name in redis.client.hkeys(key) if b"." in name]
        redis.client.hset(key, lease, "1 0")
        wait_until(lambda: redis.client.hkeys(key) and lease not in redis.client.hkeys(key))
        assert set(names(server, channel, 1000)) == people
        with LineStream(server, path_of(channel, **{"as": "zoe"})):
            event = watcher.next_line()
            assert event["event"] == "join" and [member["name"] for member in event["data"]["members"]] == ["zoe"]


def test_who_goes_while_everybody_is_told_anew_is_gone(channel: str) -> None:
    """He was told under the new lease already when he went, and others are not yet."""
    people = [f"p{i:03}" for i in range(200)]
    with RedisServer() as redis, Relay(redis.port) as relay, \
            Server("--broker", relay.url, "--presence", "yes", "--presence-grace", "0") as server, contextlib.ExitStack() as stack:
        await_ready(server)
        streams = [stack.enter_context(LineStream(server, path_of(channel, **{"as": name}))) for name in people]
        wait_until(lambda: names(server, channel, 1000) == people)
        key = f"sluice:{{{channel.split('/')[0]}}}:l:{channel}"
        (lease,) = [name for name in redis.client.hkeys(key) if b"." in name]
        redis.client.hset(key, lease, "1 0")
        relay.delay = 0.2
        wait_until(lambda: len([name for name in redis.client.hkeys(key) if b"." in name]) == 2)
        for stream in streams[:50]:
            stream.close()
        wait_until(lambda: redis.client.hkeys(key) and lease not in redis.client.hkeys(key))
        relay.delay = 0
        wait_until(lambda: names(server, channel, 1000) == people[50:])


def test_presence_of_a_bridged_channel_is_told(channel: str) -> None:
    """The bridge of all channels is not that of the server's own."""
    with RedisServer() as redis, nodes(1, redis, options=(*OPTIONS, "--redis-subscribe", "*")) as (server,), \
            LineStream(server, path_of(channel + "/$presence")) as watcher:
        watcher.next_line()
        with LineStream(server, path_of(channel, **{"as": "ann"})) as ann:
            ann.next_line()
            assert watcher.next_line()["data"]["members"][0]["name"] == "ann"
