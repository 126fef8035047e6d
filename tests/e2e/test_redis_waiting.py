# SPDX-License-Identifier: MIT
"""Readers of a channel that their node does not know yet, while Redis is away: `now` is when their request came."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.client import Connection, EventStream, LineStream, get, path_of, publish, request, request_bytes
from support.redis import QUIET, RedisServer, await_away, nodes
from support.relay import Relay
from support.server import Server, wait_until
from support.tcp import Raw
from support.websocket import TEXT, WebSocket, frame_bytes

TCP = ("--tcp", "127.0.0.1:0", "--tcp", "127.0.0.1:0 framing=resp")
KINDS = ["poll", "json", "sse", "stream", "tcp", "resp"]
BEFORE, AFTER = "before", "after"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer(aof=True) as running:
        yield running


@pytest.fixture(scope="module")
def node(redis: RedisServer) -> Iterator[Server]:
    with nodes(1, redis, options=TCP) as (server,):
        yield server


def held(server: Server) -> int:
    stats = get(server, "/api/stats").json
    return sum(stats[f"subscribers_{kind}"] for kind in ("poll", "sse", "stream", "tcp"))


def read_poll(server: Server, channel: str) -> str:
    with Connection(server) as connection:
        answer = connection.request("GET", path_of(channel, wait=15))
        assert answer.status == 200 and answer.cursor == answer.header("Sluice-Id"), answer
        assert answer.reset is None, answer
        return answer.body.decode()


def read_json(server: Server, channel: str) -> str:
    with Connection(server) as connection:
        answer = connection.request("GET", path_of(channel, wait=15), Accept="application/json")
        assert answer.status == 200 and "reset" not in answer.json, answer
        return answer.json["messages"][0]["data"]


def read_sse(server: Server, channel: str) -> str:
    with EventStream(server, path_of(channel)) as stream:
        while (event := stream.next_event()).event == "subscribed":
            pass
        return event.data or ""


def read_stream(server: Server, channel: str) -> str:
    with LineStream(server, path_of(channel)) as stream:
        while "data" not in (line := stream.next_line()):
            assert "reset" not in line, line
        return line["data"]


def read_tcp(server: Server, channel: str) -> str:
    with Raw(server) as raw:
        raw.put(f"SUBSCRIBE {channel}".encode())
        lines = raw.take()
        while lines not in (BEFORE.encode(), AFTER.encode()):
            lines = raw.take()
        return lines.decode()


def read_resp(server: Server, channel: str) -> str:
    with Raw(server, 1) as raw:
        raw.send(f"SUBSCRIBE {channel}\r\n".encode())
        raw.read_until(f"message\r\n${len(channel)}\r\n{channel}\r\n$".encode())
        raw.read_until(b"\r\n")
        return raw.read_until(b"\r\n").strip().decode()


READERS: dict[str, Callable[[Server, str], str]] = {
    "poll": read_poll, "json": read_json, "sse": read_sse, "stream": read_stream, "tcp": read_tcp, "resp": read_resp}


def begin(server: Server, kind: str, channel: str, heard: list[str]) -> threading.Thread:
    """A reader that is held."""
    before = held(server)
    thread = threading.Thread(target=lambda: heard.append(READERS[kind](server, channel)))
    thread.start()
    wait_until(lambda: held(server) > before, what=f"the reader by {kind}")
    return thread


def publish_when_back(server: Server, channel: str) -> None:
    wait_until(lambda: request(server, "POST", path_of(channel), AFTER, Content_Type="text/plain").status == 201)
    for _ in range(20):
        publish(server, channel, "later")


@pytest.mark.parametrize("has_history", [False, True])
def test_a_reader_that_waits_for_redis_gets_the_first_message_accepted(redis: RedisServer, node: Server, channel: str,
                                                                       has_history: bool) -> None:
    names = {kind: f"{channel}/{kind}" for kind in KINDS}
    for name in names.values():
        if has_history:
            redis.publish(name, BEFORE)
    redis.kill()
    await_away(node)
    heard: dict[str, list[str]] = {kind: [] for kind in KINDS}
    threads = [begin(node, kind, name, heard[kind]) for kind, name in names.items()]
    redis.start()
    publishers = [threading.Thread(target=publish_when_back, args=(node, name)) for name in names.values()]
    for publisher in publishers:
        publisher.start()
    for thread in [*publishers, *threads]:
        thread.join()
    assert heard == {kind: [AFTER] for kind in KINDS}


def test_what_came_before_the_request_is_not_told(redis: RedisServer, node: Server, channel: str) -> None:
    """Also not when it came a moment before, on a channel that nobody reads."""
    for i in range(30):
        name = f"{channel}/{i}"
        redis.publish(name, BEFORE)
        answer = get(node, path_of(name, wait=0))
        assert (answer.status, answer.body) == (204, b""), answer


OWN = "own/channel"
SPEAKERS = ("--linger-time", "0", "--tcp", f"127.0.0.1:0 framing=crlf feed={OWN} input=publish:{OWN}", "--tcp", f"127.0.0.1:0 feed={OWN}",
            "--tcp", "127.0.0.1:0", "--sockjs", f"/chat app=publish:{OWN} feed={OWN}", "--sockjs", "/commands")


@pytest.fixture(scope="module")
def fickle(redis: RedisServer) -> Iterator[Server]:
    """A node that forgets a channel as soon as nobody reads it: each reader has it attached anew."""
    with nodes(1, redis, options=SPEAKERS) as (server,):
        yield server


def subscribe_and_publish(channel: str, data: str) -> tuple[str, str]:
    return (json.dumps({"op": "subscribe", "channel": channel}), json.dumps({"op": "publish", "channel": channel, "data": data}))


def hear_own_feed(server: Server, channel: str, data: str, **query: str) -> bool:
    with WebSocket(server, path_of(channel, **query)) as client:
        client.put_text(data)
        while data not in (text := client.take()):
            assert "recovered" in text, text
        return True


def hear_own_commands(client: WebSocket | Raw, channel: str, data: str) -> bool:
    with client:
        said = subscribe_and_publish(channel, data)
        if isinstance(client, Raw):
            client.put(*(text.encode() for text in said))
        else:
            client.send(b"".join(frame_bytes(TEXT, text) for text in said))
        heard = [json.loads(client.take()) for _ in range(3)]
        return sorted(answer["op"] for answer in heard) == ["message", "published", "subscribed"]


def hear_own_json(server: Server, channel: str, data: str) -> bool:
    raw = Raw(server, 2)
    raw.ask(b"FORMAT json")
    return hear_own_commands(raw, channel, data)


def hears(take: Callable[[], bytes | str], wanted: set[bytes | str]) -> bool:
    """All of these, perhaps behind what was said on that channel a moment before: now is some milliseconds wrong."""
    while wanted:
        told = take()
        assert told in wanted or "mine-" in (told.decode() if isinstance(told, bytes) else told), told
        wanted -= {told}
    return True


def hear_own_input(server: Server, channel: str, data: str) -> bool:
    with Raw(server) as raw:
        raw.put(data.encode())
        return hears(raw.take, {data.encode()})


def hear_own_command(server: Server, channel: str, data: str) -> bool:
    with Raw(server, 1) as raw:
        raw.put(f"PUBLISH {OWN} {data}".encode())
        return hears(raw.take, {data.encode(), b"CONFIRMED"})


def hear_own_chat(server: Server, channel: str, data: str) -> bool:
    with WebSocket(server, "/chat/websocket") as client:
        client.put_text(data)
        return hears(client.take, {data})


SPEAK: dict[str, Callable[[Server, str, str], bool]] = {
    "feed": hear_own_feed,
    "feed of objects": lambda server, channel, data: hear_own_feed(server, channel, data, format="json"),
    "commands": lambda server, channel, data: hear_own_commands(WebSocket(server, "/ws"), channel, data),
    "SockJS commands": lambda server, channel, data: hear_own_commands(WebSocket(server, "/commands/websocket"), channel, data),
    "SockJS publish": hear_own_chat, "TCP publish": hear_own_input, "TCP command": hear_own_command, "TCP JSON": hear_own_json,
}


@pytest.mark.parametrize("way", SPEAK)
def test_who_publishes_at_once_after_subscribing_hears_himself(fickle: Server, channel: str, way: str) -> None:
    for i in range(50):
        assert SPEAK[way](fickle, f"{channel}/{i}", f"mine-{i}"), i


def test_a_publish_does_not_wait_for_subscriptions_while_redis_is_away(redis: RedisServer, fickle: Server, channel: str) -> None:
    redis.kill()
    await_away(fickle)
    with WebSocket(fickle, "/ws") as client, WebSocket(fickle, path_of(channel, format="json")) as feed:
        feed.put_text("lost")
        assert feed.take_json()["error"] == "broker-down"
        for text in subscribe_and_publish(channel, "lost"):
            client.put_text(text)
        refusal = client.take_json()
        assert (refusal["code"], refusal["retry_after"]) == ("broker-down", 2)
        redis.start()
        assert client.take_json()["op"] == "subscribed"
        assert feed.take_json()["recovered"] is False
        wait_until(lambda: request(fickle, "POST", path_of(channel), "x", Content_Type="text/plain").status == 201)
        assert client.take_json()["data"] == feed.take_json()["data"] == "x"


LIMITS = ("", "limits", "2000 300000 3600000 120000")


@pytest.mark.parametrize("limits", [LIMITS, ()], ids=["kept", "trimmed"])
def test_more_than_the_node_reads_at_first_came_while_it_was_away(channel: str, limits: tuple[str, ...]) -> None:
    """From another publisher, before the node is back; without limits of its own Redis keeps 100 of them."""
    with RedisServer() as redis, Relay(redis.port) as relay, \
            nodes(1, redis.url(port=relay.port), options=("--history-size", "2000")) as (node,):
        for _ in range(300):
            redis.publish(channel, BEFORE, *limits)
        with Connection(node) as poll:
            relay.is_refusing = True
            relay.cut()
            await_away(node)
            poll.send(request_bytes("GET", path_of(channel, wait=15), Accept="application/json"))
            wait_until(lambda: held(node) == 1)
            begun = time.monotonic()
            wait_until(lambda: time.monotonic() > begun + 0.05, what="more than the clocks may be apart")
            for i in range(700):
                redis.publish(channel, str(i), *limits)
            relay.is_refusing = False
            answer = poll.read_response().json
            if limits:
                assert "reset" not in answer and answer["messages"][0]["data"] == "0"
            else:
                assert answer["reset"][0]["reason"] == "trimmed" and answer["messages"][0]["data"] == "600"


def test_a_short_wait_is_no_outage(redis: RedisServer, channel: str) -> None:
    """A Redis that takes longer to answer than the client waits is not away: the client learns where it stands."""
    with Relay(redis.port) as relay, nodes(1, redis.url(port=relay.port), options=QUIET) as (node,):
        relay.delay = 0.2
        answer = get(node, path_of(channel, wait=0.05))
        assert (answer.status, answer.body) == (204, b"") and answer.cursor, answer
