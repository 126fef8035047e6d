# SPDX-License-Identifier: MIT
"""Names with a segment that begins with $: Sluice's own. Nobody publishes there, and what covers everything does not cover them."""

import json

import pytest
from support.client import get, path_of, request
from support.readers import LISTENERS
from support.redis import RedisServer, nodes
from support.reloading import Reloading
from support.server import Server
from support.tcp import Raw, Resp
from support.tokens import bearer, make_token, secret_file
from support.ways import FULL, RESP, TCP, Place
from support.websocket import WebSocket

NAMES = ("$channel", "$channel/a", "a/$presence", "a/$b/c", "$")


@pytest.mark.parametrize("name", NAMES)
def test_nobody_publishes_there_over_http(server: Server, name: str) -> None:
    answer = request(server, "POST", path_of(name), "x")
    assert (answer.status, answer.error) == (403, "reserved-channel")
    batch = request(server, "POST", "/channels", json.dumps([{"channel": name, "data": 1}]))
    assert batch.json[0]["error"] == "reserved-channel"


def test_nobody_publishes_there_in_any_way() -> None:
    with Server(*LISTENERS) as server:
        place = Place(server, server, None)
        for name in NAMES:
            with Raw(server, TCP) as raw, Resp(server, RESP) as resp, WebSocket(server, path_of(name, format="json")) as feed:
                for verb in ("PUBLISH", "SIGNAL"):
                    assert raw.ask(f"{verb} {name} x".encode()).startswith(b"ERROR reserved-channel")
                assert str(resp.run("PUBLISH", name, "x")).startswith("-ERR reserved-channel")
                feed.take_json()
                feed.put_text("x")
                assert feed.take_json()["error"] == "reserved-channel"
            for way in FULL:
                for more in ({}, {"store": False}) if way != "fcall" else ():
                    answer = FULL[way](place, name, "x", more)
                    assert answer.get("code", answer.get("error")) == "reserved-channel", (name, way, answer)


def test_plain_redis_publishers_are_refused_there() -> None:
    with RedisServer() as redis, nodes(1, redis) as (server,):
        assert request(server, "POST", path_of("a"), "x").status == 201
        for name in NAMES:
            with pytest.raises(Exception, match="the server's own"):
                redis.publish(name, "x")


def test_a_dollar_within_a_segment_is_nothing_special(server: Server) -> None:
    assert request(server, "POST", path_of("a$b/c$"), "x").status == 201



@pytest.mark.parametrize(("subscribe", "name", "status"), [
    (["**"], "$channel", 403), (["**"], "$channel/a", 403), (["*"], "$channel", 403), (["*/a"], "$channel/a", 403),
    (["$channel/**"], "$channel/a", 204), (["$channel"], "$channel", 204), (["$channel"], "$channel/a", 403),
    (["a"], "a/$presence", 204), (["a/**"], "a/$presence", 403), (["b"], "a/$presence", 403), (["a/$presence"], "a/$presence", 403),
])
def test_rights_are_those_of_the_channel_or_say_the_dollar(subscribe: list[str], name: str, status: int) -> None:
    with Server("--jwt-key", f"HS256:{secret_file()}") as server:
        assert get(server, path_of(name, wait=0), **bearer(make_token(subscribe))).status == status
        assert get(server, path_of(name, wait=0)).status == 401


def test_sections_for_everything_are_not_for_what_is_reserved() -> None:
    text = 'subscribe = anyone\n[channel "**"]\nsubscribe = anyone\n[channel "$channel/open"]\nsubscribe = anyone\n'
    with Reloading(text, "--jwt-key", f"HS256:{secret_file()}") as server:
        assert get(server, path_of("a", wait=0)).status == 204
        assert get(server, path_of("a/$presence", wait=0)).status == 204
        assert get(server, path_of("$channel", wait=0)).status == 401
        assert get(server, path_of("$channel/a", wait=0)).status == 401
        assert get(server, path_of("$channel/open", wait=0)).status == 204


def test_without_keys_anyone_may_listen_there(server: Server) -> None:
    assert [get(server, path_of(name, wait=0)).status for name in NAMES] == [204] * len(NAMES)
