# SPDX-License-Identifier: MIT
"""The command protocol while Redis is away, or answers nothing."""

from collections.abc import Iterator

import pytest
from support.client import publish, subscribers
from support.commands import Commands, raw_commands
from support.redis import RedisServer, await_away, await_ready, is_ready, nodes
from support.server import Server, wait_until
from support.tcp import Raw


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer(aof=True) as running:
        yield running


@pytest.fixture(scope="module")
def server(redis: RedisServer) -> Iterator[Server]:
    with nodes(1, redis, options=("--tcp", "127.0.0.1:0 framing=crlf", "--redis-timeout", "60s")) as (running,):
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Commands]:
    with Raw(server) as raw:
        yield raw_commands(raw)


@pytest.fixture
def away(server: Server, redis: RedisServer) -> Iterator[None]:
    await_ready(server)
    redis.kill()
    await_away(server)
    yield
    if not is_ready(server):
        redis.restart()
    await_ready(server)


def test_publishes_fail_and_the_others_wait_until_it_is_back(server: Server, redis: RedisServer, client: Commands, channel: str,
                                                             away: None) -> None:
    subscribed = client.put("subscribe", channel=channel, since="earliest")
    history = client.put("history", channel=channel)
    assert client.error("publish", channel=channel, data=1) == "broker-down"
    assert client.ask("ping")["op"] == "pong" and not client.kept
    redis.restart()
    assert client.take(ref=subscribed)["channels"] == [channel]
    assert client.take(ref=history)["messages"] == []
    await_ready(server)
    publish(server, channel, "x")
    assert client.next_data() == "x"


def test_unsubscribing_what_is_not_in_place_yet(server: Server, redis: RedisServer, client: Commands, channel: str, away: None) -> None:
    a, b = f"{channel}/a", f"{channel}/b"
    both, alone = client.put("subscribe", channels=[a, b]), client.put("subscribe", channel=channel)
    assert client.ask("unsubscribe", channels=[a, channel])["channels"] == [a, channel]
    assert client.take(ref=alone)["code"] == "unsubscribed" and not client.kept
    again = client.put("subscribe", channel=channel)
    redis.restart()
    assert client.take(ref=both)["channels"] == [b]
    assert client.take(ref=again)["channels"] == [channel]
    await_ready(server)
    for name in (a, b, channel):
        publish(server, name, name)
    assert sorted(client.next_data() for _ in range(2)) == sorted([b, channel])
    assert client.has_nothing()


def test_unsubscribing_from_all_while_none_is_in_place(client: Commands, channel: str, away: None) -> None:
    refs = [client.put("subscribe", channels=[f"{channel}/{number}", f"{channel}/{number}/x"]) for number in range(5)]
    assert len(client.ask("unsubscribe")["channels"]) == 10
    assert [client.take(ref=ref)["code"] for ref in refs] == 5 * ["unsubscribed"]


def test_who_goes_while_all_wait_leaves_nothing(server: Server, redis: RedisServer, channel: str, away: None) -> None:
    with Raw(server) as raw:
        client = raw_commands(raw)
        client.put("subscribe", channels=[channel, f"{channel}/x"])
        client.put("history", channel=channel)
        client.ask("ping")
    redis.restart()
    await_ready(server)
    wait_until(lambda: subscribers(server, channel)["total"] == 0)


def test_too_many_on_their_way_wait_and_are_answered_in_order(server: Server, redis: RedisServer, client: Commands, channel: str) -> None:
    client.publish(channel, "first")
    with redis.stopped():
        refs = [client.put("publish", channel=channel, data=number) for number in range(1500)]
        ping = client.put("ping")
    answers = [client.get() for _ in range(1501)]
    assert [answer["ref"] for answer in answers if answer["op"] == "published"] == refs
    at = [answer["ref"] for answer in answers].index(ping)
    assert at >= 1500 - 1024, "nothing is taken while too many are on their way"
    assert [message["data"] for message in client.history(channel, last=50)["messages"]] == list(range(1450, 1500))
