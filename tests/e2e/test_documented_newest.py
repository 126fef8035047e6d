# SPDX-License-Identifier: MIT
"""What docs/CHANNELS.md, PROTOCOL.md and REDIS.md say of keys and of `policy = newest`: each sentence, on every transport that can say it, in memory
and over two nodes with Redis. Readers that do not keep up are in test_newest.py; here it is those who come back."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
import redis as redis_py
from support.client import LineStream, get, path_of, publish, request
from support.readers import KINDS, OBJECTS, Reader
from support.server import SLUICE, Server
from support.sockjs_commands import Commands
from support.tcp import Raw, Resp
from support.ways import FULL, RESP, TCP, Place, batch, data_of, kept, skip_without_redis

SECTIONS = """
history-size = 2000
history-bytes = 64MiB
[channel "prices/**"]
policy = newest
[channel "prices/*/all"]
policy = all
[channel "grove/*"]
tree = yes
policy = newest
"""
CAN_SAY = ("stream", "sse", "sse-objects", "websocket", "json", "poll", "ws", "sockjs-xhr", "sockjs-websocket", "lines", "websocket-raw")


@pytest.fixture
def prices(channel: str) -> str:
    return channel.replace("test/", "prices/")


def rounds(place: Place, channel: str, count: int = 3, keys: str = "abc") -> tuple[str, list[str]]:
    """So many messages of each key; returns the id before them, and their data."""
    at = publish(place.here, channel, "begin", Sluice_Key="begin")
    said = [f"{key}{number}" for number in range(count) for key in keys]
    items = [{"channel": channel, "data": data, "key": data[0]} for data in said]
    assert all("id" in each for each in request(place.here, "POST", "/channels", json.dumps(items)).json)
    return at, said


@pytest.mark.parametrize("kind", KINDS)
def test_who_comes_back_is_told_of_each_key_the_newest_on_every_transport(place: Place, prices: str, kind: str) -> None:
    at, _ = rounds(place, prices)
    with Reader(place.there, kind, prices, since=at) as reader:
        assert reader.take(3) == ["a2", "b2", "c2"], "in their order"
        publish(place.here, prices, "a3", Sluice_Key="a")
        publish(place.here, prices, "d0", Sluice_Key="d")
        told = reader.take(2)
        assert told == ["a3", "d0"], "who keeps up is told every message"


@pytest.mark.parametrize("kind", KINDS)
def test_who_asks_for_the_last_or_all_that_is_kept_is_told_the_newest_of_those(place: Place, prices: str, kind: str) -> None:
    rounds(place, prices)
    with Reader(place.there, kind, prices, since="last=4") as reader:
        assert reader.take(3) == ["a2", "b2", "c2"]
    with Reader(place.there, kind, prices, since="last=2") as reader:
        assert reader.take(2) == ["b2", "c2"]
    with Reader(place.there, kind, prices, since="earliest") as reader:
        assert reader.take(4) == ["begin", "a2", "b2", "c2"]


@pytest.mark.parametrize("kind", CAN_SAY)
def test_a_subscription_may_want_something_else_than_its_channel(place: Place, prices: str, kind: str) -> None:
    at, said = rounds(place, prices)
    with Reader(place.there, kind, prices, since=at, query=(("policy", "all"),)) as reader:
        assert reader.take(9) == said
    at, said = rounds(place, prices + "/all")
    with Reader(place.there, kind, prices + "/all", since=at) as reader:
        assert reader.take(9) == said
    with Reader(place.there, kind, prices + "/all", since=at, query=(("policy", "newest"),)) as reader:
        assert reader.take(3) == said[-3:]


@pytest.mark.parametrize("way", FULL)
def test_a_key_is_what_was_said_else_the_event_else_none(place: Place, prices: str, way: str) -> None:
    skip_without_redis(place, way)
    at = publish(place.here, prices, "begin", Sluice_Key="begin")
    for number in range(2):
        for data, more in (("key", {"key": "k", "event": "e"}), ("event", {"event": "e"}), ("plain", {}), ("named as the event", {"key": "e"})):
            FULL[way](place, prices, f"{data} {number}", more)
    with Reader(place.there, "json", prices, since=at) as reader:
        assert reader.take(3) == ["key 1", "plain 1", "named as the event 1"], "an event and a key of the same name are one"
    messages = kept(place.there, prices, policy="all")[1:]
    assert [each.get("key") for each in messages] == ["k", None, None, "e"] * 2
    assert [each.get("event") for each in messages] == ["e", "e", None, None] * 2


@pytest.mark.parametrize("kind", OBJECTS)
def test_the_key_is_a_member_of_a_message(place: Place, prices: str, kind: str) -> None:
    FULL["query"](place, prices, "x", {"key": "ключ"})
    publish(place.here, prices + "/all", "x")
    with Reader(place.there, kind, prices, since="earliest") as reader:
        assert reader.next()["key"] == "ключ"
    with Reader(place.there, kind, prices + "/all", since="earliest") as reader:
        assert "key" not in reader.next()


def test_what_reads_the_log_tells_all_of_it(place: Place, prices: str) -> None:
    _, said = rounds(place, prices)
    with Commands(place.there, "ws") as client:
        messages = client.history(prices)["messages"]
        assert data_of(messages)[1:] == said and [each["key"] for each in messages[1:]] == [data[0] for data in said]
    with Resp(place.there, RESP) as client:
        entries = client.run("XRANGE", prices, "-", "+")
        assert [dict(zip(fields[::2], fields[1::2]))[b"key"].decode() for _, fields in entries[1:]] == [data[0] for data in said]
        assert len(client.run("XREAD", "STREAMS", prices, "0")[0][1]) == len(said) + 1
    with Raw(place.there, TCP) as client:
        client.put(f"HISTORY {prices}".encode())
        assert [client.take().decode() for _ in range(11)] == ["begin", *said, "CONFIRMED"]


def test_it_holds_for_each_channel_below_one(place: Place, prices: str) -> None:
    for name in "xy":
        rounds(place, f"{prices}/{name}")
    for transport in ("stream", "sse", "json", "ws"):
        with Reader(place.there, transport, f"{prices}/**", since="earliest") as reader:
            assert sorted(reader.take(8)) == sorted(["begin", "a2", "b2", "c2"] * 2)


def test_a_tree_is_one_log_in_which_keys_are_compared(place: Place, prices: str) -> None:
    root = prices.replace("prices", "grove")
    at = publish(place.here, root, "begin")
    for number in range(2):
        for name in "xy":
            publish(place.here, f"{root}/{name}", f"{name}{number}", Sluice_Key="k")
    with Reader(place.there, "json", root, since=at) as reader:
        assert reader.take(1) == ["y1"]
    assert data_of(kept(place.there, f"{root}/x")) == ["x0", "x1"]


def test_the_window_reaches_1024_messages_back_and_never_tells_less(memory: Place, prices: str) -> None:
    at = publish(memory.here, prices, "begin")
    for first in range(0, 1500, 500):
        items = [{"channel": prices, "data": str(i), "key": f"k{i % 7}"} for i in range(first, first + 500)]
        request(memory.here, "POST", "/channels", json.dumps(items))
    with LineStream(memory.here, path_of(prices, since=at)) as lines:
        lines.next_line()
        told = []
        while not told or told[-1] != 1499:
            told.append(int(lines.next_line()["data"]))
    assert told == sorted(told) and set(range(1493, 1500)) <= set(told)
    assert [number for number in told if number >= 1500 - 1024] == list(range(1493, 1500))


@pytest.mark.parametrize("key", ["", "k" * 256, "a\nb", "a\x00b", "\x7f", "\x1b[1m", "é" * 128], ids=lambda key: repr(key[:9]))
def test_keys_of_other_lengths_or_with_control_characters_are_refused(memory: Place, shared: Place, prices: str, key: str) -> None:
    assert request(memory.here, "POST", path_of(prices, key=key), "x").status == 400
    assert batch(memory.here, {"channel": prices, "data": 1, "key": key})["error"] == "bad-option"
    with Commands(memory.here, "ws") as client:
        client.put_text(json.dumps({"op": "publish", "ref": 1, "channel": prices, "data": 1, "key": key}))
        assert client.take("error")["code"] == "bad-option"
    assert shared.redis
    if key:  # an empty one is as none, like the event
        with pytest.raises(redis_py.ResponseError):
            shared.redis.fcall(prices, "x", "", "conflate", key)
    assert kept(memory.here, prices) == [] and kept(shared.here, prices) == []


@pytest.mark.parametrize("key", ["k" * 255, "é" * 127, " ", "a/b?c", "<script>"], ids=lambda key: repr(key[:9]))
def test_keys_of_up_to_255_bytes_come_out_as_they_went_in(place: Place, prices: str, key: str) -> None:
    for way in FULL:
        if (way == "fcall" and not place.redis) or way == "header":
            continue
        FULL[way](place, prices, way, {"key": key})
    messages = kept(place.there, prices, policy="all")
    assert len(messages) >= len(FULL) - 2 and {each["key"] for each in messages} == {key}
    assert data_of(kept(place.there, prices)) == [messages[-1]["data"]]


@pytest.mark.parametrize("transport", ["poll", "json", "sse", "stream", "xhr", "multipart"])
@pytest.mark.parametrize("policy", ["", "oldest", "Newest"])
def test_a_policy_is_one_of_two_words(memory: Place, prices: str, policy: str, transport: str) -> None:
    answer = get(memory.here, path_of(prices, policy=policy, transport=transport))
    assert (answer.status, answer.error) == (400, "bad-option") and "all or newest" in answer.json["message"]


def test_the_option_is_explained_and_listed(tmp_path: Any, prices: str) -> None:
    path = tmp_path / "sluice.conf"
    path.write_text(SECTIONS)
    said = subprocess.run([SLUICE, "check-config", "--config", str(path), "--explain", prices], capture_output=True, text=True)
    assert any(line.startswith("policy = newest") for line in said.stdout.splitlines()), said
    with Server("--policy", "newest") as server:
        publish(server, prices, "x")
        assert get(server, f"/api/channels/{prices}").json["options"]["policy"] == "newest"
    path.write_text('[channel "prices/**"]\npolicy = latest\n')
    said = subprocess.run([SLUICE, "check-config", "--config", str(path)], capture_output=True, text=True)
    assert said.returncode == 2 and f"{path}:2" in said.stderr and "newest" in said.stderr, said
