# SPDX-License-Identifier: MIT
"""Every way to publish behind the same few words, and where one publishes while another reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from .client import get, path_of, request
from .redis import RedisServer
from .server import Server
from .sockjs_commands import Commands
from .tcp import Raw, Resp
from .websocket import WebSocket

TCP, RESP = 0, 3  # of the LISTENERS of readers.py


@dataclass
class Place:
    """Where one publishes and where another reads: the same server, or another node on the same Redis."""

    here: Server
    there: Server
    redis: RedisServer | None


def batch(server: Server, item: dict[str, Any], as_lines: bool = False) -> Any:
    text, kind = (json.dumps(item) + "\n", "application/x-ndjson") if as_lines else (json.dumps([item]), "application/json")
    answer = request(server, "POST", "/channels", text, Content_Type=kind)
    assert answer.status == 200, answer
    return answer.json[0]


def by_tcp(place: Place, verb: str, channel: str, data: str) -> None:
    with Raw(place.here, TCP) as client:
        assert client.ask(f"{verb} {channel} {data}".encode()) == b"CONFIRMED"


def by_feed(place: Place, channel: str, data: str) -> None:
    with WebSocket(place.here, path_of(channel)) as feed:
        feed.put_text(data)
        assert feed.take() == data


def by_redis_client(place: Place, channel: str, data: str) -> None:
    with Resp(place.here, RESP) as client:
        assert isinstance(client.run("PUBLISH", channel, data), int)


def by_commands(place: Place, transport: str, channel: str, data: str, more: dict[str, Any]) -> Any:
    with Commands(place.here, transport) as client:
        return client.ask("publish", channel=channel, data=data, **more)


def by_fcall(place: Place, channel: str, data: str, more: dict[str, Any]) -> Any:
    assert place.redis
    words = {"key": "conflate", "store": "store", "event": "event"}
    options = [word for name, value in more.items() if name != "event" for word in (words[name], "no" if value is False else value)]
    return place.redis.fcall(channel, data, more.get("event", ""), *options)


def query_of(more: dict[str, Any]) -> dict[str, str]:
    """As HTTP has them."""
    return {name: "no" if value is False else value for name, value in more.items()}


def by_query(place: Place, channel: str, data: str, more: dict[str, Any]) -> Any:
    return request(place.here, "POST", path_of(channel, **query_of(more)), data).json


def by_header(place: Place, channel: str, data: str, more: dict[str, Any]) -> Any:
    return request(place.here, "PUT", path_of(channel), data, **{f"Sluice_{name.title()}": value for name, value in query_of(more).items()}).json


def over(transport: str) -> Any:
    return lambda place, channel, data, more: by_commands(place, transport, channel, data, more)


# Those that say no more of a message than its data; then those that take `event`, `key` and `store` too, and return the answer.
PLAIN = {
    "tcp": lambda place, channel, data: by_tcp(place, "PUBLISH", channel, data),
    "feed": by_feed,
    "resp": by_redis_client,
}
FULL = {
    "query": by_query,
    "header": by_header,
    "batch": lambda place, channel, data, more: batch(place.here, {"channel": channel, "data": data, **more}),
    "lines": lambda place, channel, data, more: batch(place.here, {"channel": channel, "data": data, **more}, True),
    **{transport: over(transport) for transport in ("ws", "websocket", "xhr", "raw")},
    "fcall": by_fcall,
}


def skip_without_redis(place: Place, way: str) -> None:
    if way == "fcall" and not place.redis:
        pytest.skip("nobody calls functions without Redis")


def kept(server: Server, channel: str, **query: Any) -> list[dict[str, Any]]:
    answer = get(server, path_of(channel, **{"since": "earliest", **query}, wait=0), Accept="application/json")
    return answer.json["messages"] if answer.status == 200 else []


def data_of(messages: list[dict[str, Any]]) -> list[Any]:
    return [message["data"] for message in messages]
