# SPDX-License-Identifier: MIT
"""Bridged channels: what anybody says with plain PUBLISH reaches every subscriber; kept by each node for itself."""

import base64
import contextlib
import json
from collections.abc import Iterator

import pytest
from support.client import Connection, EventStream, LineStream, get, path_of, publish, request, request_bytes, subscribers
from support.redis import RedisServer, await_ready, metric, nodes
from support.server import Server, wait_until
from support.tcp import Raw

BRIDGES = ("--redis-subscribe", "updates", "--redis-subscribe", "scores.*,news-[ab],both,bo*")


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture(scope="module")
def pair(redis: RedisServer) -> Iterator[list[Server]]:
    with nodes(2, redis, options=BRIDGES) as running:
        yield running


def say(redis: RedisServer, channel: str, data: bytes | str) -> int:
    return redis.client.publish(channel, data)


def test_plain_publish_reaches_every_transport_on_every_node(redis: RedisServer, pair: list[Server]) -> None:
    for server in pair:
        with (EventStream(server, path_of("updates")) as events, LineStream(server, path_of("updates")) as lines,
              Connection(server) as raw, Connection(server) as poll):
            raw.send(request_bytes("GET", path_of("updates")))
            poll.send(request_bytes("GET", path_of("updates"), Accept="application/json"))
            wait_until(lambda: subscribers(server, "updates")["total"] == 4)
            assert say(redis, "updates", "follow the white rabbit") == 2
            event = events.next_event()
            assert (event.data, event.event) == ("follow the white rabbit", None)
            lines.next_line()
            line = lines.next_line()
            assert (line["channel"], line["id"], line["type"], line["data"]) == ("updates", event.id, "text", event.data)
            assert poll.read_response().json["messages"][0]["id"] == event.id
            assert raw.read_response().body == b"follow the white rabbit"
        # Otherwise those who come to the other node next may be before this one. It may not know the channel yet.
        offset = event.id.split("-")[1]
        for node in pair:
            wait_until(lambda: (get(node, "/api/channels/updates").json.get("newest") or "").endswith(f"-{offset}"))


@pytest.mark.parametrize("name", ["scores.live", "scores.", "news-a", "news-b"])
def test_patterns_bridge_every_name_that_matches(redis: RedisServer, pair: list[Server], name: str) -> None:
    with LineStream(pair[0], path_of(name)) as here, LineStream(pair[1], path_of(name)) as there:
        for stream in (here, there):
            stream.next_line()
        for i in range(100):
            say(redis, name, str(i))
        for stream in (here, there):
            lines = [stream.next_line() for _ in range(100)]
            assert [line["data"] for line in lines] == [str(i) for i in range(100)]
            offsets = [int(line["id"].split("-")[1]) for line in lines]
            assert offsets == list(range(offsets[0], offsets[0] + 100))


def test_a_name_and_a_pattern_that_both_match_deliver_once(redis: RedisServer, pair: list[Server]) -> None:
    with EventStream(pair[0], path_of("both")) as stream:
        stream.next_block()
        assert say(redis, "both", "one") == 4
        say(redis, "both", "two")
        assert [stream.next_event().data for _ in range(2)] == ["one", "two"]
        wait_until(lambda: get(pair[0], "/api/channels/both").json["messages"] == 2)


def test_other_channels_are_not_bridged(redis: RedisServer, pair: list[Server]) -> None:
    for name in ("updates2", "xscores.a", "news-c", "scores"):
        with LineStream(pair[0], path_of(name)) as stream:
            stream.next_line()
            assert say(redis, name, "plain") == 0
            own = publish(pair[1], name, "durable")
            assert stream.next_line()["id"] == own


def test_messages_are_replayed_by_the_node_that_heard_them(redis: RedisServer, pair: list[Server]) -> None:
    with LineStream(pair[0], path_of("scores.kept")) as here, LineStream(pair[1], path_of("scores.kept")) as there:
        cursors = [stream.next_line()["cursor"] for stream in (here, there)]
        for i in range(5):
            say(redis, "scores.kept", str(i))
        ids = [[stream.next_line()["id"] for _ in range(5)] for stream in (here, there)]
    assert cursors[0] != cursors[1] and not set(ids[0]) & set(ids[1]), "each node has an epoch of its own"
    for server, own, other in ((pair[0], ids[0], ids[1]), (pair[1], ids[1], ids[0])):
        answer = get(server, path_of("scores.kept", since=own[2]), Accept="application/json").json
        assert [message["id"] for message in answer["messages"]] == own[3:] and "reset" not in answer
        with LineStream(server, path_of("scores.kept", since=other[2])) as foreign:
            foreign.next_line()
            assert foreign.next_line()["reset"]["reason"] == "epoch"
            assert [foreign.next_line()["id"] for _ in range(5)] == own


def test_http_publishes_to_a_bridged_channel_as_anybody_would(redis: RedisServer, pair: list[Server]) -> None:
    listener = redis.client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("scores.http")
    wait_until(lambda: redis.client.pubsub_numsub("scores.http")[0][1] == 1)
    with LineStream(pair[0], path_of("scores.http")) as here, LineStream(pair[1], path_of("scores.http")) as there:
        for stream in (here, there):
            stream.next_line()
        answer = request(pair[0], "POST", path_of("scores.http"), "by HTTP", Content_Type="text/plain")
        assert answer.status == 201 and answer.json["channel"] == "scores.http"
        say(redis, "scores.http", "after")
        for stream in (here, there):
            assert [stream.next_line()["data"] for _ in range(2)] == ["by HTTP", "after"]
    heard = wait_until(lambda: listener.get_message(timeout=1))
    assert heard["data"] == b"by HTTP"
    listener.close()


def test_what_plain_publish_cannot_carry_is_refused(redis: RedisServer, pair: list[Server]) -> None:
    with LineStream(pair[0], path_of("scores.refused")) as stream:
        stream.next_line()
        for query, headers in (({"event": "goal"}, {}), ({"ttl": 5}, {}), ({}, {"Idempotency_Key": "k"})):
            answer = request(pair[0], "POST", path_of("scores.refused", **query), "x", **headers)
            assert (answer.status, answer.error) == (409, "bridged-channel")
        batch = [{"channel": "scores.refused", "data": "no", "event": "e"}, {"channel": "scores.refused", "data": "yes"}]
        results = request(pair[0], "POST", "/channels", json.dumps(batch), Content_Type="application/json").json
        assert results[0]["error"] == "bridged-channel" and "error" not in results[1]
        assert stream.next_line()["data"] == "yes"


def test_bytes_that_are_no_text_come_as_binary(redis: RedisServer, pair: list[Server]) -> None:
    with LineStream(pair[0], path_of("scores.bytes")) as stream:
        stream.next_line()
        for data in (b"\0\xff\r\n", b"", "caf\u00e9\n".encode()):
            say(redis, "scores.bytes", data)
        lines = [stream.next_line() for _ in range(3)]
    assert (lines[0]["type"], base64.b64decode(lines[0]["data"])) == ("binary", b"\0\xff\r\n")
    assert [(line["type"], line["data"]) for line in lines[1:]] == [("text", ""), ("text", "caf\u00e9\n")]


def test_names_and_sizes_that_no_channel_has_are_survived(redis: RedisServer) -> None:
    with nodes(1, redis, options=("--redis-subscribe", "*", "--message-size", "64KiB")) as (server,):
        for name in ("not good", "a//b", "../etc", "x" * 300, b"\xff\0", "", "%00"):
            redis.client.publish(name, "x")
        with LineStream(server, path_of("fine")) as stream:
            stream.next_line()
            say(redis, "fine", "y" * 1_000_000)
            say(redis, "fine", "z")
            while (line := stream.next_line()).get("data") != "z":
                assert "reset" in line or len(line["data"]) == 1_000_000
        assert metric(server, "broker_ready") == 1


def lose_links(redis: RedisServer, *servers: Server) -> None:
    """Of all nodes of that Redis."""
    before = {server: metric(server, "broker_reconnects_total") for server in servers}
    redis.kill_clients("pubsub")
    for server in servers:
        wait_until(lambda: metric(server, "broker_reconnects_total") > before[server])
        await_ready(server)


def test_a_lost_link_is_told_because_something_may_be_missing(redis: RedisServer, pair: list[Server]) -> None:
    with LineStream(pair[0], path_of("scores.lost")) as lines, EventStream(pair[0], path_of("scores.lost")) as events:
        lines.next_line(), events.next_block()
        say(redis, "scores.lost", "before")
        assert (lines.next_line()["data"], events.next_event().data) == ("before", "before")
        lose_links(redis, *pair)
        reset = lines.next_line()["reset"]
        assert (reset["channel"], reset["reason"]) == ("scores.lost", "failover")
        event = events.next_event()
        assert event.event == "reset" and '"reason":"failover"' in (event.data or "")
        wait_until(lambda: say(redis, "scores.lost", "after") == 2)
        assert lines.next_line()["data"] == "after"


def test_a_lost_link_is_one_reset_and_no_message_comes_again_or_under_another_id() -> None:
    channel, ids, cursors = "scores.twice", [], []
    with RedisServer() as redis, nodes(1, redis, options=BRIDGES) as (server,), contextlib.ExitStack() as stack:
        lines, events = (stack.enter_context(kind(server, path_of(channel))) for kind in (LineStream, EventStream))
        lines.next_line(), events.next_block()
        for round in range(3):
            if round > 0:
                lose_links(redis, server)
                assert lines.next_line()["reset"]["reason"] == "failover"
                assert '"reason":"failover"' in (events.next_event().data or "")
            for i in range(3):
                wait_until(lambda: say(redis, channel, f"{round} {i}") > 0)
                line, event = lines.next_line(), events.next_event()
                assert line["data"] == event.data == f"{round} {i}" and line["id"] == event.id
                ids.append(line["id"])
            cursors.append(ids[-2])
        assert len({name.split("-")[0] for name in ids}) == 3 and [int(name.split("-")[1]) for name in ids] == list(range(1, 10))
        for cursor in cursors[:2]:
            answer = get(server, path_of(channel, since=cursor), Accept="application/json").json
            assert [reset["reason"] for reset in answer["reset"]] == ["failover"]
            assert [message["id"] for message in answer["messages"]] == ids[-3:]
        assert get(server, path_of(channel, since=cursors[2])).cursor == ids[-1]


def test_a_link_that_is_lost_again_is_told_only_to_who_got_something_in_between() -> None:
    channel = "scores.again"
    with RedisServer() as redis, nodes(1, redis, options=(*BRIDGES, "--tcp", "127.0.0.1:0")) as (server,), contextlib.ExitStack() as stack:
        lines, events, tcp = (stack.enter_context(kind) for kind in (
            LineStream(server, path_of(channel)), EventStream(server, path_of(channel)), Raw(server)))
        lines.next_line(), events.next_block()
        assert tcp.ask(b"SUBSCRIBE " + channel.encode()) == b"CONFIRMED"
        say(redis, channel, "1")
        assert lines.next_line()["id"] == events.next_event().id and tcp.take() == b"1"
        lose_links(redis, server)
        assert json.loads(events.next_event().data or "") == lines.next_line()["reset"]
        assert tcp.take() == f"RESET {channel} failover -".encode()
        late = stack.enter_context(LineStream(server, path_of(channel)))
        late.next_line()
        lose_links(redis, server)
        assert late.next_line()["reset"]["reason"] == "failover"
        wait_until(lambda: say(redis, channel, "2") == 1)
        name = lines.next_line()["id"]
        assert (name.split("-")[1], events.next_event().id, late.next_line()["id"], tcp.take()) == ("2", name, name, b"2")


def test_a_purge_of_what_a_node_keeps(redis: RedisServer, pair: list[Server]) -> None:
    with LineStream(pair[0], path_of("scores.purged")) as stream:
        stream.next_line()
        say(redis, "scores.purged", "old")
        assert stream.next_line()["data"] == "old"
        assert request(pair[0], "DELETE", "/api/channels/scores.purged").json["purged"] == 1
        assert stream.next_line()["reset"]["reason"] == "purged"
        say(redis, "scores.purged", "new")
        assert stream.next_line()["data"] == "new"
