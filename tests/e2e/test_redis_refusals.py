# SPDX-License-Identifier: MIT
"""A sound Redis that refuses one thing, or holds what others put there: the rest works on."""

import json

import pytest
from support.client import EventStream, LineStream, get, path_of, publish, request
from support.follow import Ledger, check_complete, finish, follow, join_all, run_all
from support.redis import KEEP_ALL, RedisError, RedisServer, await_ready, complaints, meta_key, metric, nodes, stream_key
from support.relay import Relay
from support.server import wait_until

NEWER = ("#!lua name=sluice\nredis.register_function{function_name='sluice_version', flags={'no-writes'}, "
         "callback=function() return 999 end}")
OLDER = NEWER.replace("999", "0")


def test_out_of_memory(channel: str) -> None:
    with RedisServer("--maxmemory-policy", "noeviction") as redis, nodes(1, redis) as (server,):
        with EventStream(server, path_of(channel)) as stream:
            publish(server, channel, "before")
            redis.client.config_set("maxmemory", "1")
            for _ in range(20):
                refused = request(server, "POST", path_of(channel), "x" * 1000)
                assert (refused.status, refused.error) == (503, "broker-full") and refused.header("Retry-After")
            batch = request(server, "POST", "/channels", json.dumps([{"channel": channel, "data": "x"}] * 3),
                            Content_Type="application/json")
            assert batch.status == 503 or [result["error"] for result in batch.json] == ["broker-full"] * 3
            lines = complaints(server)
            assert len(lines) == 1 and "maxmemory" in str(lines[0]) and lines[0]["action"], lines
            assert get(server, "/readyz").status == 200
            assert get(server, path_of(channel, last=1)).body == b"before"
            redis.client.config_set("maxmemory", "0")
            publish(server, channel, "after")
            assert [stream.next_event().data for _ in range(2)] == ["before", "after"]


@pytest.mark.parametrize("key_of", [stream_key, meta_key])
def test_a_key_of_another_type(channel: str, key_of: type) -> None:
    with RedisServer() as redis, nodes(1, redis) as (server,):
        redis.client.set(key_of(channel), "mine")
        for _ in range(5):
            refused = request(server, "POST", path_of(channel), "x")
            assert (refused.status, refused.error) == (503, "broker-refused") and refused.header("Retry-After")
        lines = complaints(server)
        assert len(lines) == 1, lines
        assert key_of(channel) in str(lines[0]) and lines[0]["action"]
        assert get(server, path_of(channel, wait=0)).status in (204, 503)
        assert request(server, "DELETE", f"/api/channels/{channel}").status >= 400
        assert redis.client.get(key_of(channel)) == b"mine", "what is not ours is not touched"
        assert get(server, "/readyz").status == 200
        publish(server, channel + "/other", "x")
        redis.client.delete(key_of(channel))
        publish(server, channel, "x")
        assert get(server, path_of(channel, last=1)).body == b"x"


@pytest.mark.parametrize("key_of", [stream_key, meta_key])
def test_a_key_that_becomes_another_type_under_a_subscriber(channel: str, key_of: type) -> None:
    with RedisServer() as redis, nodes(1, redis) as (server,), LineStream(server, path_of(channel)) as lines:
        lines.next_line()
        publish(server, channel, "before")
        assert lines.next_line()["data"] == "before"
        redis.client.delete(stream_key(channel), meta_key(channel))
        redis.client.set(key_of(channel), "mine")
        assert request(server, "POST", path_of(channel), "x").error == "broker-refused"
        wait_until(lambda: complaints(server))
        redis.client.delete(key_of(channel))
        publish(server, channel, "after")
        reset = lines.next_line()
        while reset.get("data") != "after":
            assert "reset" in reset, reset
            reset = lines.next_line()


def test_a_newer_function_library(channel: str) -> None:
    with RedisServer() as redis:
        redis.client.execute_command("FUNCTION", "LOAD", NEWER)
        with nodes(1, redis, is_ready=False) as (server,):
            lines = wait_until(lambda: complaints(server))
            assert len(lines) == 1 and "999" in str(lines[0]) and lines[0]["action"], lines
            assert get(server, "/healthz").status == 200
            refused = request(server, "POST", path_of(channel), "x")
            assert refused.status == 503 and refused.header("Retry-After")
            assert b"999" in str(redis.client.execute_command("FUNCTION", "LIST", "WITHCODE")).encode(), "it was replaced"
            redis.client.execute_command("FUNCTION", "DELETE", "sluice")
            await_ready(server)
            assert publish(server, channel).endswith("-1")


def test_an_older_function_library_is_replaced(channel: str) -> None:
    with RedisServer() as redis:
        redis.client.execute_command("FUNCTION", "LOAD", OLDER)
        with nodes(2, redis) as (here, there):
            name = publish(here, channel)
            assert redis.publish(channel, "x") == name.replace("-1", "-2")
            assert publish(there, channel).endswith("-3")


def test_a_library_replaced_by_a_newer_one_under_way(channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis) as (server,), EventStream(server, path_of(channel)) as stream:
        publish(server, channel, "before")
        redis.client.execute_command("FUNCTION", "LOAD", "REPLACE", NEWER)
        response = request(server, "POST", path_of(channel), "during")
        assert response.status == 503
        wait_until(lambda: complaints(server))
        redis.client.execute_command("FUNCTION", "DELETE", "sluice")
        wait_until(lambda: request(server, "POST", path_of(channel), "after", Content_Type="text/plain").status == 201)
        assert [stream.next_event().data for _ in range(2)] == ["before", "after"]


@pytest.mark.parametrize("data", [b"", b"x", b"\0" * 100, b"9" * 5000, b"{}", b"k3q9xm2ab7zt-1", b'["k3q9xm2ab7zt",1,2,3]',
                                  b"* * *", b"\xff" * 70, b"sluice1 message", b"sluice1 message k3q9xm2ab7zt 1 1 0 text 0 0",
                                  b"sluice1 message k3q9xm2ab7zt 1 1 0 text 9 9 9 9\nx", b"sluice1 reset", b"sluice1 "])
def test_anybody_may_publish_garbage_on_the_nodes_own_channels(channel: str, data: bytes) -> None:
    with RedisServer() as redis, nodes(1, redis, options=KEEP_ALL) as (server,):
        ledger = Ledger()
        followers = follow([server], channel)
        ledger.publish(server, channel, "before")
        sharded = redis.client.execute_command("PUBSUB", "SHARDCHANNELS")
        plain = redis.client.execute_command("PUBSUB", "CHANNELS")
        assert sharded or plain
        for name in sharded:
            redis.client.execute_command("SPUBLISH", name, data)
        for name in plain:
            redis.client.publish(name, data)
        ledger.publish(server, channel, "after")
        finish(ledger, server, followers)
        check_complete(ledger, followers)
        for follower in followers:
            assert set(follower.track.data) == {"before", "after", "the end"}


@pytest.mark.parametrize("kind", ["commands", "subscriptions"])
@pytest.mark.parametrize("data", [b"garbage\r\n", b"\0\xff", b"$999999999999\r\n", b"*9999999\r\n", b"-ERR something else\r\n",
                                  b"*0\r\n", b"*3\r\n:1\r\n:2\r\n:3\r\n", b"*1\r\n$-1\r\n",
                                  b"*4\r\n$8\r\npmessage\r\n$-1\r\n$-1\r\n$-1\r\n"])
def test_a_link_that_says_what_redis_never_says(channel: str, kind: str, data: bytes) -> None:
    # A publish that is under way takes the nonsense for its answer.
    ledger = Ledger(("broker-down", "broker-refused"))
    with RedisServer() as redis, Relay(redis.port) as relay:
        with nodes(1, relay.url, options=KEEP_ALL) as servers:
            followers = follow(servers, channel, kinds=("sse",))
            ledger.publish(servers[0], channel, "before")
            relay.inject(kind, data)
            for i in range(5):
                ledger.publish(servers[0], channel, f"after {i}")
            finish(ledger, servers[0], followers)
            check_complete(ledger, followers)
            await_ready(servers[0])
            assert metric(servers[0], "broker_publishes_pending") == 0


def run_for_ever(redis: RedisServer) -> None:
    with pytest.raises(RedisError, match="killed"):
        redis.client.execute_command("EVAL", "while true do end", 0)


def test_a_script_that_does_not_end(channel: str) -> None:
    """Redis answers BUSY to everybody until it is killed."""
    ledger = Ledger()
    with RedisServer("--busy-reply-threshold", "50") as redis, nodes(2, redis, options=KEEP_ALL) as servers:
        followers = follow(servers, channel)
        ledger.publish(servers[0], channel, "before")
        busy = run_all([lambda: run_for_ever(redis)])
        wait_until(lambda: request(servers[0], "POST", path_of(channel + "/other"), "x").status == 503)
        assert get(servers[0], "/healthz").status == 200
        during = run_all([lambda: ledger.publish(servers[1], channel, "during")])
        wait_until(lambda: ledger.refusals)
        redis.client.execute_command("SCRIPT", "KILL")
        join_all([*busy, *during])
        finish(ledger, servers[0], followers)
        check_complete(ledger, followers)
        data = [data for _, data in redis.entries(channel)]
        assert data == [b"before", b"during", b"the end"]
        for server in servers:
            await_ready(server)
