# SPDX-License-Identifier: MIT
"""Presence against a model while nodes and Redis are killed: at rest, within two leases, exactly right; and storms."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import time
from collections import defaultdict
from typing import Any

import pytest
from support.client import Connection, Ended, EventStream, LineStream, get, path_of, request, request_bytes
from support.redis import NODE_OPTIONS, RedisServer, await_ready, nodes
from support.server import Server, wait_until

LEASE = 15
OPTIONS = ("--presence", "yes", "--events", "yes", "--presence-grace", "300ms")


def names(server: Server, channel: str) -> list[str]:
    found: list[str] = []
    while True:
        answer = get(server, f"/api/channels/{channel}/presence?limit=1000&after={found[-1] if found else ''}")
        assert answer.status == 200, answer
        found += [member["name"] for member in answer.json["members"]]
        if "next" not in answer.json:
            return found


def told_of(server: Server, channel: str) -> tuple[list[str], int, int]:
    """Who is there, how many that are, and how many there are without a name."""
    found = get(server, f"/api/channels/{channel}/presence").json
    return names(server, channel), found["count"], found["anonymous"]


def infos_of(server: Server, channel: str) -> dict[str, Any]:
    return {member["name"]: member.get("info") for member in get(server, f"/api/channels/{channel}/presence?limit=1000").json["members"]}


def kill(server: Server) -> None:
    server.expect_exit = None
    server.stop(signal.SIGKILL)


class View:
    """Follows the recipe of docs/PRESENCE.md: subscribe, list, apply what is told."""

    def __init__(self, server: Server, channel: str) -> None:
        self.stream = EventStream(server, path_of(channel + "/$presence"))
        assert self.stream.next_block().event == "subscribed"
        self.people = set(names(server, channel))
        self.stay: set[str] = set()  # who may not be told as gone

    def apply(self, event: str, data: str) -> None:
        for member in json.loads(data)["members"]:
            assert event != "leave" or member["name"] not in self.stay
            (self.people.discard if event == "leave" else self.people.add)(member["name"])

    def becomes(self, wanted: set[str], timeout: float) -> None:
        end = time.monotonic() + timeout
        while self.people != wanted:
            self.stream.socket.settimeout(max(end - time.monotonic(), 0.1))
            event = self.stream.next_event()
            self.apply(event.event, event.data)

    def close(self) -> None:
        self.stream.close()


def test_people_of_a_killed_node_leave_within_two_leases(channel: str) -> None:
    with RedisServer() as redis, nodes(2, redis, options=OPTIONS) as (here, there), EventStream(here, path_of("$channel/" + channel)) as events:
        events.next_block()
        with LineStream(here, path_of(channel, **{"as": "ann"})) as ann, contextlib.ExitStack() as stack:
            ann.next_line()
            for name in ("ann", "bob", "carl"):
                stack.enter_context(LineStream(there, path_of(channel, **{"as": name}))).next_line()
            stack.enter_context(LineStream(there, path_of(channel))).next_line()
            wait_until(lambda: names(here, channel) == ["ann", "bob", "carl"])
            view = View(here, channel)
            kill(there)
            view.becomes({"ann"}, 2 * LEASE)
            assert names(here, channel) == ["ann"]
            assert get(here, f"/api/channels/{channel}/presence").json["anonymous"] == 0
            view.close()
        assert [events.next_event().event for _ in range(3)] == ["created", "occupied", "vacated"]


def test_a_node_that_stops_leaves_its_people_for_the_grace(channel: str) -> None:
    with RedisServer() as redis, nodes(2, redis, options=OPTIONS) as (here, there):
        with LineStream(there, path_of(channel, **{"as": "bob"})) as bob:
            bob.next_line()
            wait_until(lambda: names(here, channel) == ["bob"])
            there.process.send_signal(signal.SIGTERM)
            wait_until(lambda: names(here, channel) == [], timeout=LEASE - 3)


def test_redis_that_lost_everything_is_told_anew(channel: str) -> None:
    with RedisServer() as redis, nodes(2, redis, options=OPTIONS) as servers, contextlib.ExitStack() as stack:
        for i in range(150):
            stack.enter_context(LineStream(servers[i % 2], path_of(channel, **{"as": f"p{i:03}"}))).next_line()
        everybody = [f"p{i:03}" for i in range(150)]
        wait_until(lambda: names(servers[0], channel) == everybody)
        redis.restart()
        for server in servers:
            await_ready(server)
        wait_until(lambda: names(servers[0], channel) == everybody)


def start_two(stack: contextlib.ExitStack, kind: str) -> list[Server]:
    """Two nodes on one Redis, or twice the same server."""
    if kind == "redis":
        return stack.enter_context(nodes(2, stack.enter_context(RedisServer()), options=OPTIONS))
    return [stack.enter_context(Server(*OPTIONS))] * 2


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_a_storm_of_joins_is_told_in_few_messages(kind: str, channel: str) -> None:
    """Counted over all nodes: at most 20 a second."""
    count = 600
    with contextlib.ExitStack() as stack:
        servers = start_two(stack, kind)
        view = View(servers[0], channel)
        begun = time.monotonic()
        opened = [stack.enter_context(LineStream(servers[i % 2], path_of(channel, **{"as": f"p{i:05}"}))) for i in range(count)]
        wanted = {f"p{i:05}" for i in range(count)}
        told = 0
        while view.people != wanted:
            event = view.stream.next_event()
            assert event.event == "join"
            told += 1
            view.apply(event.event, event.data)
        seconds = time.monotonic() - begun
        assert told <= 20 * seconds + 2, f"{told} messages in {seconds} s"
        assert told < count / 4 or seconds > 10
        for stream in opened:
            stream.close()
        view.becomes(set(), 20)
        view.close()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_presence_is_exactly_right_at_rest(seed: int, channel: str) -> None:
    """Three nodes; people come, go, reload and say other things, nodes and Redis are killed in between."""
    choice = random.Random(seed)
    with RedisServer(aof=bool(seed % 2)) as redis, contextlib.ExitStack() as stack:
        def start() -> Server:
            server = stack.enter_context(Server("--broker", redis.url(), *NODE_OPTIONS, *OPTIONS))
            await_ready(server)
            return server

        def come(index: int, name: str) -> None:
            """Subscribes, by no name where it is empty, and perhaps says something of himself."""
            words = {"as": name} if name else {}
            if name and choice.random() < 0.5:
                words["info"] = str(said := choice.randrange(1000))
                infos[name].add(said)
            with contextlib.suppress(OSError, Ended, AssertionError):
                people.append((index, name, LineStream(servers[index], path_of(channel, **words))))

        servers = [start() for _ in range(3)]
        people: list[tuple[int, str, LineStream]] = []
        infos: dict[str, set[int | None]] = defaultdict(lambda: {None})
        for _ in range(3):
            for _ in range(120):
                index, roll = choice.randrange(3), choice.random()
                if people and roll < 0.5:
                    _, name, stream = people.pop(choice.randrange(len(people)))
                    stream.close()
                    if roll < 0.1:
                        come(index, name)
                else:
                    come(index, f"p{choice.randrange(60)}" if choice.random() < 0.9 else "")
            what = choice.choice(["node", "redis", "both"])
            if what != "redis":
                index = choice.randrange(3)
                kill(servers[index])
                people = [person for person in people if person[0] != index]
                servers[index] = start() if what == "node" else servers[index]
            if what != "node":
                redis.restart()
            if what == "both":
                servers[index] = start()
            for server in servers:
                await_ready(server)
        for _, _, stream in people:
            stream.next_line()  # it is in place
        wanted = sorted({name for _, name, _ in people if name})
        anonymous = sum(not name for _, name, _ in people)
        for server in servers:
            wait_until(lambda server=server: told_of(server, channel) == (wanted, len(wanted), anonymous), timeout=2 * LEASE + 5)
            for name, info in infos_of(server, channel).items():
                assert info in infos[name], name
        for name in wanted:
            people.append((0, name, LineStream(choice.choice(servers), path_of(channel, **{"as": name, "info": f'"{name} at rest"'}))))
        for server in servers:
            wait_until(lambda server=server: infos_of(server, channel) == {name: f"{name} at rest" for name in wanted})
        view = View(servers[0], channel)
        for _, _, stream in people:
            stream.close()
        view.becomes(set(), 2 * LEASE)
        view.close()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_ten_thousand_people_come_at_once(kind: str, channel: str) -> None:
    """All are listed and told, in at most 20 messages a second, and a join costs the same with all of them there."""
    count = 10_000
    with contextlib.ExitStack() as stack:
        servers = start_two(stack, kind)
        view = View(servers[0], channel)
        begun = time.monotonic()
        crowd = [stack.enter_context(Connection(servers[i % 2])) for i in range(count)]
        for i, person in enumerate(crowd):
            person.send(request_bytes("GET", path_of(channel, **{"as": f"p{i:05}"}), Accept="application/x-ndjson"))
        wanted = {f"p{i:05}" for i in range(count)}
        told = 0
        while view.people != wanted:
            event = view.stream.next_event()
            told += 1
            view.apply(event.event, event.data)
        assert told <= 20 * (time.monotonic() - begun) + 2
        assert names(servers[1], channel) == sorted(wanted)
        for person in crowd:
            person.close()
        view.becomes(set(), 60)
        view.close()


@pytest.mark.long
def test_an_outage_takes_nobody_out_who_is_there(channel: str) -> None:
    """Redis is away for longer than a lease. Whoever is back first finds all leases lapsed; only the people of a node that was killed
    meanwhile are told as gone."""
    with RedisServer(aof=True) as redis, nodes(3, redis, options=OPTIONS) as servers, contextlib.ExitStack() as stack:
        for i in range(90):
            stack.enter_context(LineStream(servers[i % 3], path_of(channel, **{"as": f"p{i:02}"}))).next_line()
        everybody = {f"p{i:02}" for i in range(90)}
        wait_until(lambda: set(names(servers[0], channel)) == everybody)
        views = [View(server, channel) for server in servers[:2]]
        events = stack.enter_context(EventStream(servers[0], path_of("$channel/" + channel)))
        assert events.next_block().event == "subscribed"
        redis.kill()
        kill(servers[2])
        away = time.monotonic()
        wait_until(lambda: time.monotonic() > away + LEASE + 1, timeout=2 * LEASE)
        redis.start()
        for server in servers[:2]:
            await_ready(server)
        stayed = {f"p{i:02}" for i in range(90) if i % 3 != 2}
        for view in views:
            view.stay = stayed
            view.becomes(stayed, 2 * LEASE)
        assert set(names(servers[1], channel)) == stayed
        assert get(servers[1], f"/api/channels/{channel}/presence").json["count"] == len(stayed)
        for view in views:
            view.close()
        assert request(servers[1], "DELETE", f"/api/channels/{channel}").status == 200
        assert events.next_event().event == "purged"
