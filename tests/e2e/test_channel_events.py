# SPDX-License-Identifier: MIT
"""What happens to channels, told exactly once to whoever follows it on any of three nodes, whatever keeps the logs and whoever is killed."""

from __future__ import annotations

import contextlib
import json
import pathlib
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.client import EventStream, LineStream, path_of, request
from support.cluster import Cluster
from support.redis import RedisServer, SentinelSet, await_ready, meta_key, nodes
from support.reloading import Reloading
from support.server import Server, wait_until

OPTIONS = ("--presence-grace", "200ms")
SECTIONS = """
[channel "told/**"]
events = yes
[channel "short/**"]
events = yes
history-ttl = 100ms
channel-ttl = 1s
[channel "silent/**"]
events = no
history-ttl = 100ms
channel-ttl = 1s
"""
KINDS = ["memory", "redis", "sentinel", "cluster"]


class Place:
    """Nodes that know of each other, three where there is a Redis, and that Redis."""

    def __init__(self, kind: str, folder: pathlib.Path, stack: contextlib.ExitStack) -> None:
        config = folder / "sluice.ini"
        config.write_text(SECTIONS)
        options = ("--config", str(config), *OPTIONS)
        self.kind = kind
        self.redis: Any = None
        if kind == "memory":
            self.servers = [stack.enter_context(Server(*options))]
            return
        self.redis = stack.enter_context({"redis": RedisServer, "sentinel": SentinelSet, "cluster": Cluster}[kind]())
        self.servers = stack.enter_context(nodes(3, self.redis.url(), options=options))

    @property
    def alive(self) -> list[Server]:
        return [server for server in self.servers if server.process.poll() is None]

    def names(self, prefix: str, channel: str) -> list[str]:
        """Some that are kept in different places."""
        return [f"{prefix}/{channel}/{i}" for i in range(3)]

    def kill(self, index: int) -> None:
        self.servers[index].expect_exit = None
        self.servers[index].stop(signal.SIGKILL)


@pytest.fixture(scope="module", params=KINDS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One that no test kills anything of."""
    with contextlib.ExitStack() as stack:
        yield Place(request.param, tmp_path_factory.mktemp("events"), stack)


@pytest.fixture(params=["redis", "cluster"])
def killed(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        yield Place(request.param, tmp_path, stack)


class Follower(EventStream):
    def __init__(self, server: Server, target: str, channels: set[str]) -> None:
        super().__init__(server, path_of(target))
        assert self.next_block().event == "subscribed"
        self.channels = channels

    def next_told(self) -> tuple[str, str]:
        """The next one of the channels of the test."""
        while True:
            event = self.next_event()
            channel = json.loads(event.data)["channel"]
            if channel in self.channels:
                return event.event, channel


class Followers:
    """On every node one of $channel, and one of each $channel/NAME."""

    def __init__(self, place: Place, *channels: str) -> None:
        self.channels = channels
        self.stack = contextlib.ExitStack()
        self.of_all = [(server, self.stack.enter_context(Follower(server, "$channel", set(channels)))) for server in place.servers]
        self.of_one = [(server, channel, self.stack.enter_context(Follower(server, "$channel/" + channel, {channel})))
                       for server in place.servers for channel in channels]

    def __enter__(self) -> Followers:
        return self

    def __exit__(self, *failure: object) -> None:
        self.stack.close()

    def tell(self, *words: str) -> None:
        """Of each channel these, in this order, and nothing in between."""
        for server, follower in self.of_all:
            if server.process.poll() is not None:
                continue
            told: dict[str, list[str]] = {channel: [] for channel in self.channels}
            for _ in range(len(words) * len(self.channels)):
                word, channel = follower.next_told()
                told[channel].append(word)
            assert told == {channel: list(words) for channel in self.channels}
        for server, _, follower in self.of_one:
            if server.process.poll() is None:
                assert [follower.next_told()[0] for _ in words] == list(words)


def post(server: Server, channel: str) -> None:
    assert request(server, "POST", path_of(channel), "x").status == 201


def test_events_are_told_once_on_every_node(shared: Place, channel: str) -> None:
    names = shared.names("told", channel)
    with Followers(shared, *names) as followers:
        for name in names:
            post(shared.servers[0], name)
        followers.tell("created")
        for name in names:
            with contextlib.ExitStack() as stack:
                for server in shared.servers:
                    stack.enter_context(LineStream(server, path_of(name))).next_line()
        followers.tell("occupied", "vacated")
        for name in names:
            assert request(shared.servers[-1], "DELETE", "/api/channels/" + name).status == 200
        followers.tell("purged")
        for name in names:
            assert request(shared.servers[0], "DELETE", "/api/channels/" + name).status == 200
        followers.tell("purged")


def test_a_channel_that_is_forgotten_is_told_and_begins_anew(shared: Place, channel: str) -> None:
    names = shared.names("short", channel)
    with Followers(shared, *names) as followers:
        for _ in range(2):
            for name in names:
                post(shared.servers[0], name)
            begun = time.monotonic()
            followers.tell("created", "forgotten")
            assert time.monotonic() - begun > 0.8


def test_a_channel_begun_by_a_subscriber_is_told(shared: Place, channel: str) -> None:
    name = f"told/{channel}"
    with Followers(shared, name) as followers:
        with LineStream(shared.servers[-1], path_of(name)) as reader:
            reader.next_line()
            events = {followers.of_all[0][1].next_told()[0] for _ in range(2)}
            assert events == {"created", "occupied"}


def test_a_channel_that_is_followed_is_not_forgotten(redis: RedisServer, tmp_path: pathlib.Path, channel: str) -> None:
    """Although it is remembered for a shorter time than goes by between two comparisons with Redis."""
    config, followed, other = tmp_path / "sluice.ini", f"short/{channel}/followed", f"short/{channel}/other"
    config.write_text(SECTIONS)
    with (nodes(1, redis, options=("--config", str(config), "--redis-check-time", "1h")) as (server,),
          Follower(server, "$channel", {followed, other}) as follower, LineStream(server, path_of(followed)) as reader):
        reader.next_line()
        assert {follower.next_told() for _ in range(2)} == {("created", followed), ("occupied", followed)}
        for _ in range(3):
            post(server, other)
            assert [follower.next_told() for _ in range(2)] == [("created", other), ("forgotten", other)]
        post(server, followed)
        assert "data" in reader.next_line()


def test_of_very_many_at_once_the_newest_are_told(tmp_path: pathlib.Path) -> None:
    config, names = tmp_path / "sluice.ini", [f"told/{number}" for number in range(1000)]
    config.write_text(SECTIONS)
    with Server("--config", str(config), "--shards", "1") as server, Follower(server, "$channel", {*names, "told/last"}) as follower:
        answer = request(server, "POST", "/channels", json.dumps([{"channel": name, "data": "x"} for name in names]))
        assert answer.status == 200, answer
        post(server, "told/last")
        told = []
        while "told/last" not in told:
            word, name = follower.next_told()
            assert word == "created"
            told.append(name)
    assert told[-257:] == [*names[-256:], "told/last"]


def test_channels_without_events_leave_nothing(shared: Place, channel: str) -> None:
    if shared.kind != "redis":
        pytest.skip("what is looked at is Redis")
    name = f"silent/{channel}"
    calls = shared.redis.calls_of("publish")
    post(shared.servers[0], name)
    with LineStream(shared.servers[1], path_of(name)) as reader:
        reader.next_line()
        assert b"born" not in shared.redis.client.hkeys(meta_key(name))
        assert not shared.redis.client.hexists("sluice:{$channel}:e", name)
        assert shared.redis.client.zscore("sluice:{$channel}:t", name) is None
    assert shared.redis.calls_of("publish") == calls


def fcall(place: Place, name: str) -> None:
    """As an application does, that is none of the nodes."""
    redis = place.redis.owner_of(place.redis.slot_of(name)) if place.kind == "cluster" else place.redis
    first, rest = name.split("/", 1)
    redis.client.execute_command("FCALL", "sluice_publish", 1, f"{{{first}}}/{rest}", "x")


def test_a_channel_that_an_application_begins_is_told(killed: Place, channel: str) -> None:
    """Nobody has said that it has events, nor for how long it is kept."""
    names = killed.names("told", channel)
    with Followers(killed, *names) as followers:
        for name in names:
            fcall(killed, name)
        followers.tell("created")
        for name in names:
            with LineStream(killed.servers[0], path_of(name)) as reader:
                reader.next_line()
        followers.tell("occupied", "vacated")


def test_who_published_and_was_killed_leaves_it_to_the_others(killed: Place, channel: str) -> None:
    names = killed.names("short", channel)
    with Followers(killed, *names) as followers:
        for name in names:
            post(killed.servers[0], name)
        followers.tell("created")
        killed.kill(0)
        followers.tell("forgotten")
        for name in names:
            post(killed.servers[1], name)
        killed.kill(1)
        followers.tell("created", "forgotten")


def test_a_channel_that_is_written_to_is_not_forgotten(killed: Place, channel: str) -> None:
    """For longer than it is kept without that."""
    name = f"short/{channel}"
    with Followers(killed, name) as followers:
        post(killed.servers[0], name)
        followers.tell("created")
        redis = killed.redis.owner_of(killed.redis.slot_of(name)) if killed.kind == "cluster" else killed.redis
        redis.client.persist(meta_key(name))
        lives = killed.redis.owner_of(killed.redis.slot_of("$channel")) if killed.kind == "cluster" else killed.redis
        ends = lives.client.zscore("sluice:{$channel}:t", name)
        wait_until(lambda: lives.client.zscore("sluice:{$channel}:t", name) > ends + 4000)  # somebody has looked
        assert request(killed.servers[1], "DELETE", "/api/channels/" + name).status == 200
        followers.tell("purged", "forgotten")


def test_what_ended_while_no_node_was_there_is_told_by_the_next(tmp_path: pathlib.Path, channel: str) -> None:
    config = tmp_path / "sluice.ini"
    config.write_text(SECTIONS)
    options = ("--config", str(config), *OPTIONS)
    name = f"short/{channel}"
    with RedisServer() as redis:
        with nodes(1, redis, options=options) as (server,):
            post(server, name)
        wait_until(lambda: not redis.client.exists(meta_key(name)))
        redis.client.zadd("sluice:{$channel}:t", {name: redis.client.time()[0] * 1000 + 6000})  # so that there is a follower before
        with nodes(1, redis, options=options) as (server,), Follower(server, "$channel", {name}) as follower:
            assert follower.next_told() == ("forgotten", name)


def test_a_failover_tells_nothing_twice(tmp_path: pathlib.Path, channel: str) -> None:
    with contextlib.ExitStack() as stack:
        place = Place("sentinel", tmp_path, stack)
        names = place.names("told", channel)
        with Followers(place, *names) as followers:
            for name in names:
                post(place.servers[0], name)
            followers.tell("created")
            place.redis.fail_over()
            for server in place.servers:
                await_ready(server)
            for name in names:
                post(place.servers[1], name)
            for name in names:
                assert request(place.servers[2], "DELETE", "/api/channels/" + name).status == 200
            followers.tell("purged")


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_events_that_a_reload_turns_on_begin_with_the_next_subscriber(kind: str, channel: str) -> None:
    """And so nobody is told of a channel that is empty who was not told that it was not."""
    with contextlib.ExitStack() as stack:
        broker = ("--broker", stack.enter_context(RedisServer()).url()) if kind == "redis" else ()
        server = stack.enter_context(Reloading("presence = yes\nevents = no\npresence-grace = 200ms\n", *broker))
        await_ready(server)
        stayed, left = f"{channel}/stayed", f"{channel}/left"
        with LineStream(server, path_of(stayed)) as first, LineStream(server, path_of(left)) as alone:
            first.next_line(), alone.next_line()
            server.reload("presence = yes\nevents = yes\npresence-grace = 200ms\n")
            with Follower(server, "$channel", {stayed, left}) as follower:
                alone.close()
                with LineStream(server, path_of(stayed)) as second:
                    second.next_line()
                    assert follower.next_told() == ("occupied", stayed)
                first.close()
                assert follower.next_told() == ("vacated", stayed)
