# SPDX-License-Identifier: MIT
"""What docs/REDIS.md promises, where no other test does."""

from collections.abc import Iterator

import pytest
from support.client import LineStream, get, path_of, publish, request
from support.redis import NODE_OPTIONS, RedisServer, await_away, await_ready, meta_key, stream_key
from support.server import Server

WHILE_AWAY = [
    ("GET", "/healthz", 200), ("GET", "/readyz", 503), ("POST", "/channels/known", 503), ("GET", "/channels/unknown?wait=0.1", 503),
    ("GET", "/channels/known?since=earliest&wait=0", 200), ("GET", "/api/channels", 503), ("GET", "/api/channels/known", 503),
    ("DELETE", "/api/channels/known", 503),
]


@pytest.fixture(scope="module")
def node(redis: RedisServer) -> Iterator[Server]:
    with Server("--broker", redis.url(), "--redis-subscribe", "b.*", *NODE_OPTIONS) as server:
        await_ready(server)
        yield server


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/octet-stream", ""])
@pytest.mark.parametrize(("data", "kind"), [(b'{"a":1}', "text"), (b"\xff", "binary")])
def test_a_bridged_publish_is_told_as_what_it_is_kept(node: Server, content_type: str, data: bytes, kind: str) -> None:
    answer = request(node, "POST", "/channels/b.7", data, Content_Type=content_type)
    if answer.status == 400:
        assert data == b"\xff" and content_type in ("application/json", "text/plain")
        return
    message = get(node, "/channels/b.7?last=1&transport=json").json["messages"][0]
    assert (answer.json["id"], answer.json["type"]) == (message["id"], message["type"])
    assert message["type"] == kind


@pytest.mark.parametrize("query", ["event=e", "producer=p", "ttl=5", "idempotency_key=k"])
def test_what_a_bridged_channel_does_not_carry_is_refused(node: Server, query: str) -> None:
    answer = request(node, "POST", f"/channels/b.7?{query}", "x")
    assert (answer.status, answer.error) == (409, "bridged-channel")


def test_the_keys_of_a_channel(node: Server, redis: RedisServer) -> None:
    headers = {"Sluice_Event": "e", "Sluice_Producer": "p", "Sluice_TTL": "50", "Idempotency_Key": "again"}
    name = publish(node, "a/b", "x", **headers)
    fields = set(redis.client.hgetall(meta_key("a/b")))
    assert fields == {b"epoch", b"offset", b"time", b"until", b"bytes", b"limits", b"run", b"why", b"log", b"before"}
    (entry, values), = redis.client.xrange(stream_key("a/b"))
    assert entry == b"1-0" and set(values) == {b"time", b"at", b"type", b"data", b"event", b"ttl", b"producer", b"mime", b"mark"}
    assert redis.client.get("sluice:{a}:k:a/b#again").decode().startswith(name)
    assert 250_000 < redis.client.pttl(stream_key("a/b")) <= 310_000
    assert 3_850_000 < redis.client.pttl(meta_key("a/b")) <= 3_910_000


@pytest.mark.parametrize("ttl", ["0", "1", "99999999"])
def test_a_ttl_of_fcall(redis: RedisServer, node: Server, channel: str, ttl: str) -> None:
    redis.fcall(channel, "x", "", "ttl", ttl)
    assert get(node, path_of(channel, since="earliest")).body == b"x"


@pytest.mark.parametrize("over_redis", [False, True])
def test_who_was_away_over_a_purge_is_told(node: Server, server: Server, channel: str,
                                                over_redis: bool) -> None:
    one = node if over_redis else server
    first = publish(one, channel)
    assert request(one, "DELETE", f"/api/channels/{channel}").json == {"channel": channel, "purged": 1}
    assert get(one, path_of(channel, since=first)).reset in ("purged", "epoch")


def test_while_redis_is_away() -> None:
    with RedisServer() as redis, Server("--broker", redis.url(), *NODE_OPTIONS) as server:
        await_ready(server)
        publish(server, "known", "x")
        with LineStream(server, "/channels/known?since=earliest") as stream:
            stream.next_line()
            assert stream.next_line()["data"] == "x"
            redis.kill()
            await_away(server)
            for method, target, status in WHILE_AWAY:
                answer = request(server, method, target, "x" if method == "POST" else None)
                assert answer.status == status, (target, answer)
                assert status == 200 or (answer.error == "broker-down" and answer.header("Retry-After")), (target, answer)
            batch = request(server, "POST", "/channels", '[{"channel":"known","data":1}]')
            assert [(result["error"], result["retry_after"]) for result in batch.json] == [("broker-down", 2)]
            redis.start()
            await_ready(server)
            publish(server, "known", "y")
            while "data" not in (line := stream.next_line()):
                assert line["reset"]["reason"] in ("epoch", "failover")
            assert line["data"] == "y"
