# SPDX-License-Identifier: MIT
"""PSUBSCRIBE of a channel tree over the Redis protocol: every channel below it, also those that come later."""

import json
from collections.abc import Iterator

import pytest
import redis as redis_py
from support.client import Connection, publish, request
from support.cluster import Cluster
from support.redis import RedisServer, await_away, await_ready, complaints, nodes
from support.relay import Relay
from support.server import Server, wait_until
from support.tcp import Resp, command, tcp_port


def listener() -> tuple[str, str]:
    return ("--tcp", "127.0.0.1:0 framing=resp")


@pytest.fixture(scope="module")
def alone() -> Iterator[Server]:
    with Server(*listener()) as running:
        yield running


def pattern_client(server: Server, *patterns: str) -> redis_py.client.PubSub:
    pubsub = redis_py.Redis(port=tcp_port(server)).pubsub()
    pubsub.psubscribe(*patterns)
    for number, pattern in enumerate(patterns, 1):
        answer = pubsub.get_message(timeout=20)
        assert answer == {"type": "psubscribe", "pattern": None, "channel": pattern.encode(), "data": number}
    return pubsub


def hear(pubsub: redis_py.client.PubSub, count: int) -> list[tuple[str, str]]:
    heard = []
    while len(heard) < count:
        message = pubsub.get_message(timeout=20)
        assert message is not None, heard
        if message["type"] == "pmessage":
            heard.append((message["channel"].decode(), message["data"].decode()))
    return heard


def test_channels_that_are_there_and_that_come_later(alone: Server, channel: str) -> None:
    publish(alone, f"{channel}/old", "before")
    pubsub = pattern_client(alone, f"{channel}/*")
    sent = [(f"{channel}/old", "1"), (f"{channel}/new", "2"), (f"{channel}/new/deep", "3"), (f"{channel}/new", "4")]
    for name, data in sent:
        publish(alone, name, data)
    publish(alone, channel, "not below")
    publish(alone, f"{channel}x/new", "beside")
    publish(alone, f"{channel}/last", "5")
    heard = hear(pubsub, 5)
    assert sorted(heard) == sorted([*sent, (f"{channel}/last", "5")])
    assert [data for name, data in heard if name == f"{channel}/new"] == ["2", "4"]
    assert pubsub.get_message(timeout=0.05) is None


def test_channels_and_patterns_are_counted_apart_from_each_other(alone: Server, channel: str) -> None:
    publish(alone, f"{channel}/a", "before")
    pubsub = pattern_client(alone, f"{channel}/*", f"{channel}/a/*")
    pubsub.subscribe(f"{channel}/a")
    assert (pubsub.get_message(timeout=20) or {})["data"] == 3
    publish(alone, f"{channel}/a", "x")
    kinds = {(pubsub.get_message(timeout=20) or {})["type"] for _ in range(2)}
    assert kinds == {"message", "pmessage"}
    pubsub.punsubscribe(f"{channel}/*")
    assert (pubsub.get_message(timeout=20) or {})["data"] == 2
    publish(alone, f"{channel}/a", "y")
    assert (pubsub.get_message(timeout=20) or {})["type"] == "message"
    pubsub.unsubscribe()
    assert (pubsub.get_message(timeout=20) or {})["data"] == 1
    pubsub.punsubscribe()
    assert (pubsub.get_message(timeout=20) or {})["data"] == 0
    assert pubsub.get_message(timeout=0.05) is None


@pytest.mark.parametrize("pattern", ["*", "a*", "a/b*", "a/*/c", "a/?", "/*", "a//*", "a/**"])
def test_other_patterns_are_refused(alone: Server, pattern: str) -> None:
    with redis_py.Redis(port=tcp_port(alone)) as client, pytest.raises(redis_py.ResponseError, match="pattern"):
        client.execute_command("PSUBSCRIBE", pattern)


def test_a_tree_with_too_many_channels_is_told_and_goes_on(alone: Server, channel: str) -> None:
    with Connection(alone) as connection, Resp(alone) as client:
        client.run("PSUBSCRIBE", f"{channel}/*")
        for number in range(1030):
            connection.request("POST", f"/channels/{channel}/{number}", "x", Content_Type="text/plain")
        connection.request("POST", f"/channels/{channel}/0", "last", Content_Type="text/plain")
        told = client.read_until(b"$4\r\nlast\r\n")
        assert told.count(b"pmessage") > 512
        assert (told + client.buffer).count(b"$reset") == (told + client.buffer).count(b"too-many-channels") == 1


def test_a_tree_that_has_too_many_channels_already_is_told_so_once(alone: Server, channel: str) -> None:
    items = [{"channel": f"{channel}/{number}", "data": "x"} for number in range(3000)]
    assert request(alone, "POST", "/channels", json.dumps(items)).status == 200
    with Resp(alone) as client:
        client.send(command("PSUBSCRIBE", f"{channel}/*"))
        client.read_until(b"too-many-channels")
        client.send(command("PING"))
        assert b"too-many-channels" not in client.read_until(b"pong")


def test_over_redis_from_every_node_and_after_a_lost_link(channel: str) -> None:
    with RedisServer() as redis, nodes(2, redis, options=listener()) as (here, there):
        redis.fcall(f"{channel}/old", "before")
        pubsub = pattern_client(here, f"{channel}/*")
        publish(there, f"{channel}/old", "1")
        publish(there, f"{channel}/new", "2")
        redis.fcall(f"{channel}/app", "3")
        assert sorted(data for _, data in hear(pubsub, 3)) == ["1", "2", "3"]
        for i in range(3):
            redis.kill_clients("pubsub")
            redis.fcall(f"{channel}/while/away/{i}", str(i))
        await_ready(here)
        await_ready(there)
        publish(there, f"{channel}/old", "last")
        assert sorted(data for _, data in hear(pubsub, 4)) == ["0", "1", "2", "last"]
        request(here, "DELETE", f"/api/channels/{channel}/old")
        publish(there, f"{channel}/old", "again")
        wait_until(lambda: ("again" in (message := pubsub.get_message(timeout=20) or {"data": b""})["data"].decode()))


def test_a_search_that_fails_after_a_lost_link_is_repeated(channel: str) -> None:
    """A channel is begun while the node is away, and when it is back it may not look for channels at first."""
    with RedisServer() as redis, Relay(redis.port) as relay:
        redis.client.execute_command("ACL", "SETUSER", "sluice", "on", ">secret", "~*", "&*", "+@all")
        with nodes(1, f"redis://sluice:secret@127.0.0.1:{relay.port}/0", options=listener()) as (server,):
            redis.fcall(f"{channel}/old", "before")
            pubsub = pattern_client(server, f"{channel}/*")
            redis.client.execute_command("ACL", "SETUSER", "sluice", "-scan")
            relay.is_refusing = True
            relay.cut()
            await_away(server)
            redis.fcall(f"{channel}/new", "while away")
            relay.is_refusing = False
            await_ready(server)
            wait_until(lambda: "scan" in str(complaints(server)), what="the refusal in the log")
            redis.client.execute_command("ACL", "SETUSER", "sluice", "+scan")
            assert hear(pubsub, 1) == [(f"{channel}/new", "while away")]
            publish(server, f"{channel}/new", "again")
            assert hear(pubsub, 1) == [(f"{channel}/new", "again")]


def test_over_a_cluster_while_slots_move(channel: str) -> None:
    """Redis drops the subscription of a slot that moves, and what is new at the other master is to be heard all the same."""
    with Cluster() as cluster, nodes(1, cluster.url(), options=listener()) as (server,):
        tree = cluster.channels()[0].split("/")[0]
        slot = cluster.slot_of(tree)
        pubsub = pattern_client(server, f"{tree}/*")
        for times in range(3):
            target = cluster.masters[(cluster.masters.index(cluster.owner_of(slot)) + 1) % 3]
            cluster.move_slot(slot, target)
            cluster.await_whole()
            # A name that is told late is told with what the channel has.
            target.publish(f"{{{tree}}}/{times}", str(times))
            assert hear(pubsub, 1) == [(f"{tree}/{times}", str(times))]
        publish(server, f"{tree}/0", "again")
        assert hear(pubsub, 1) == [(f"{tree}/0", "again")]
