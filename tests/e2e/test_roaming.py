# SPDX-License-Identifier: MIT
"""Clients that are cut at random and come back with their cursor, to any node, over any transport: at the end each has every
accepted message once and in order, or was told how many it missed. The seed is printed; SLUICE_SEED repeats it."""

import contextlib
import json
import os
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from support.client import Connection, EventStream, LineStream, path_of
from support.follow import Follower, Ledger, check_complete, finish, join_all, run_all
from support.redis import KEEP_ALL, RedisServer, nodes
from support.server import Server
from support.sockjs_commands import TRANSPORTS as SOCKJS
from support.sockjs_commands import Commands
from support.websocket import WebSocket

CHANNELS = ("one", "two/a", "two/b")
SERVICE = "/chat"
OPTIONS = ("--sockjs", f"{SERVICE} legacy=yes response-limit=4096")
TRANSPORTS = ("poll", "stream", "websocket", "commands", *(f"sockjs {name}" for name in SOCKJS))
# From the best to what goes through anything.
WAY_DOWN = ("sockjs websocket", "sockjs xhr_streaming", "sse", "poll")
Heard = tuple[str, list[dict[str, Any]]]  # where to come back to, and the messages and resets before that


def line_heard(line: dict[str, Any]) -> Heard:
    """Of an object of the NDJSON stream."""
    return line["cursor"], [] if "recovered" in line else [line]


def command_heard(told: dict[str, Any]) -> Heard:
    """Of an object of the command protocol."""
    if told["op"] == "subscribed":
        return told["cursor"], []
    if told["op"] == "reset":
        return told["cursor"], [{"reset": told}]
    assert told["op"] == "message", told
    return told["id"], [told]


class Roamer(Follower):
    """Changes its node and its transport after some messages, without a word to the server."""

    def __init__(self, servers: Sequence[Server], kinds: Sequence[str], channels: Sequence[str], seed: int,
                 route: Sequence[str] = ()) -> None:
        super().__init__(servers[0], "roaming", *channels)
        self.servers, self.kinds, self.dice = servers, kinds, random.Random(seed)
        self.route = list(route)  # what comes before chance
        self.entries: dict[str, str] = {}  # of the cursor, by what names the channel
        self.legs: list[str] = []

    def move(self, cursor: str) -> None:
        self.entries |= {entry[:5]: entry for entry in cursor.split(".")}
        self.since = ".".join(self.entries.values())

    def path(self, **query: Any) -> str:
        target = path_of(self.channels[0], since=self.since, **query)
        return target + "".join(f"&channel={channel}" for channel in self.channels[1:])

    def hear_stream(self) -> Iterator[Heard]:
        with LineStream(self.server, self.path(transport="stream")) as stream:
            while True:
                yield line_heard(stream.next_line())

    def hear_websocket(self) -> Iterator[Heard]:
        with WebSocket(self.server, self.path(format="json")) as client:
            while True:
                yield line_heard(client.take_json())

    def hear_sse(self) -> Iterator[Heard]:
        with EventStream(self.server, self.path()) as stream:
            while block := stream.next_block():
                if block.event == "subscribed":
                    yield block.id or "", []
                elif block.event == "reset":
                    yield block.id or "", [{"reset": json.loads(block.data or "")}]
                elif block.data is not None:
                    yield block.id or "", [{"channel": self.channels[0], "id": block.id, "data": block.data}]

    def hear_commands(self, transport: str = "ws") -> Iterator[Heard]:
        with Commands(self.server, transport, SERVICE) as client:
            client.put("subscribe", channels=list(self.channels), since=self.since)
            while True:
                yield command_heard(json.loads(client.receive()))  # too many to check each against its schema

    def hear_poll(self) -> Iterator[Heard]:
        with Connection(self.server) as connection:
            while True:
                response = connection.request("GET", self.path(transport="json", wait=2))
                body = response.json if response.status == 200 else {"messages": []}
                yield response.cursor, [{"reset": reset} for reset in body.get("reset", [])] + body["messages"]

    def roam(self) -> None:
        """One leg."""
        self.server, kind = self.dice.choice(self.servers), self.route.pop(0) if self.route else self.dice.choice(self.kinds)
        self.legs.append(kind)
        hear = self.hear_commands(kind.removeprefix("sockjs ")) if kind.startswith("sockjs ") else getattr(self, f"hear_{kind}")()
        with contextlib.closing(hear) as all_heard:
            for _ in range(self.dice.choice((1, 2, 5, 40, 200))):
                cursor, heard = next(all_heard)
                for told in heard:
                    self.take(told)
                self.move(cursor)
                if self.is_done:
                    return

    def run(self) -> None:
        try:
            with contextlib.closing(self.hear_stream()) as stream:
                cursor, _ = next(stream)
            self.begin(cursor)
            self.move(cursor)
            while not self.is_done:
                self.roam()
        except Exception as error:  # noqa: BLE001 - told by the test's own thread
            self.fault = f"{type(error).__name__}: {error}; legs {self.legs[-3:]}"


def storm(servers: Sequence[Server], seed: int, count: int, redis: RedisServer | None = None, may_trim: bool = False) -> None:
    """Everybody publishes at once, while everybody roams."""
    print(f"seed {seed}")
    dice, ledger = random.Random(seed), Ledger()
    roamers = [Roamer(servers, TRANSPORTS, CHANNELS, seed + number) for number in range(6)]
    roamers += [Roamer(servers, (*TRANSPORTS, "sse"), [channel], seed + 100) for channel in CHANNELS]
    roamers += [Roamer(servers, [kind], CHANNELS, seed + 200 + i) for i, kind in enumerate(TRANSPORTS[2:])]
    roamers += [Roamer(servers, TRANSPORTS, [channel], seed + 300, route=WAY_DOWN * 3) for channel in CHANNELS]
    for roamer in roamers:
        roamer.begin_following()

    def publish(number: int) -> None:
        mine = random.Random(seed + number)
        for first in range(0, count, 20):
            texts = [f"{number} {first + i} " + "x" * mine.choice((0, 10, 1000)) for i in range(20)]
            ledger.publish_batch(mine.choice(servers), mine.choice(CHANNELS), texts)

    publishers = run_all([lambda n=number: publish(n) for number in range(3)])
    while redis and publishers[0].is_alive():
        redis.kill_clients(dice.choice(["normal", "pubsub"]))
        publishers[0].join(1 + dice.random())
    join_all(publishers)
    finish(ledger, servers[0], roamers)
    check_complete(ledger, roamers, may_trim)
    print(f"{len(ledger)} accepted, {sum(len(roamer.legs) for roamer in roamers)} legs,",
          f"{sum(len(track.resets) for roamer in roamers for track in roamer.tracks.values())} resets told")


def seed_of_test() -> int:
    return int(os.environ.get("SLUICE_SEED") or random.randrange(1 << 30))


def test_roaming_over_memory() -> None:
    with Server(*OPTIONS, *KEEP_ALL, "--shards", "3") as server:
        storm([server], seed_of_test(), 1500)


def test_roaming_where_little_is_kept() -> None:
    with Server(*OPTIONS, "--history-size", "60", "--shards", "2") as server:
        storm([server], seed_of_test(), 3000, may_trim=True)


def test_roaming_over_nodes_on_redis() -> None:
    with RedisServer() as redis, nodes(3, redis, options=(*OPTIONS, *KEEP_ALL)) as servers:
        storm(servers, seed_of_test(), 3000, redis)


@pytest.mark.long
def test_roaming_over_nodes_on_redis_for_long() -> None:
    for _ in range(5):
        with RedisServer() as redis, nodes(3, redis, options=(*OPTIONS, *KEEP_ALL)) as servers:  # to others the same message is another one
            storm(servers, seed_of_test(), 10_000, redis)
