# SPDX-License-Identifier: MIT
"""Two nodes on one Redis: what one accepts, all hear, whichever way it was published and is received."""

import base64
import json
import re
import threading

import pytest
from support.client import Connection, EventStream, LineStream, Response, get, path_of, publish, request, request_bytes, subscribers
from support.redis import RedisError, RedisServer, meta_key, metric, nodes, stream_key
from support.server import Server, wait_until


def batch_of(server: Server, channel: str, **query: object) -> list[dict[str, object]]:
    return get(server, path_of(channel, since="earliest", wait=0, **query), Accept="application/json").json["messages"]


def await_held(server: Server, channel: str, count: int) -> None:
    wait_until(lambda: get(server, f"/api/channels/{channel}").status == 200 and subscribers(server, channel)["total"] == count)


def test_what_is_said_besides_the_data_is_kept_even_when_it_looks_like_none(pair: list[Server], channel: str) -> None:
    here, there = pair
    request(here, "POST", path_of(channel, event="0", producer="0"), "x")
    assert [(message["event"], message["producer"]) for message in batch_of(there, channel)] == [("0", "0")]


def test_every_transport_hears_what_the_other_node_accepted(pair: list[Server], channel: str) -> None:
    here, there = pair
    with (EventStream(there, path_of(channel)) as events, LineStream(there, path_of(channel)) as lines,
          Connection(there) as raw, Connection(there) as poll):
        raw.send(request_bytes("GET", path_of(channel)))
        poll.send(request_bytes("GET", path_of(channel), Accept="application/json"))
        await_held(there, channel, 4)
        answer = request(here, "POST", path_of(channel, event="goal", producer="me"), "1:0", Content_Type="text/plain")
        assert answer.status == 201
        name = answer.json["id"]
        event = events.next_event()
        assert (event.id, event.event, event.data) == (name, "goal", "1:0")
        lines.next_line()
        message = lines.next_line()
        assert message.pop("cursor") == name
        assert message == {"channel": channel, "id": name, "time": answer.json["time"], "event": "goal", "producer": "me",
                           "type": "text", "data": "1:0"}
        assert poll.read_response().json["messages"] == [message]
        response = raw.read_response()
        assert (response.status, response.body, response.cursor) == (200, b"1:0", name)
        assert (response.header("Sluice-Event"), response.header("Sluice-Producer")) == ("goal", "me")
    assert name.endswith("-1")


@pytest.mark.parametrize(("content_type", "body", "kind", "data"), [
    ("text/plain; charset=utf-8", "café 🐇\r\n".encode(), "text", "café 🐇\r\n"),
    ("application/json", b'{"a": [1,\n2.50]}', "json", {"a": [1, 2.5]}),
    ("image/png", b"\x89PNG\r\n\x1a\n\0\xff", "binary", base64.b64encode(b"\x89PNG\r\n\x1a\n\0\xff").decode()),
    ("text/plain", b"", "text", ""),
])
def test_types_survive_redis_byte_for_byte(pair: list[Server], channel: str, content_type: str, body: bytes, kind: str,
                                           data: object) -> None:
    with LineStream(pair[1], path_of(channel)) as live:
        live.next_line()
        publish(pair[0], channel, body, Content_Type=content_type)
        heard = live.next_line()
    assert (heard["type"], heard["data"]) == (kind, data)
    for server in pair:
        kept = batch_of(server, channel)[0]
        assert (kept["type"], kept["data"]) == (kind, data)
        raw = get(server, path_of(channel, last=1))
        assert (raw.body, raw.header("Content-Type")) == (body, content_type)


def test_large_messages_cross_redis_whole(redis: RedisServer, channel: str) -> None:
    with nodes(2, redis, options=("--message-size", "8MiB", "--history-bytes", "64MiB", "--redis-timeout", "10s")) as (here, there):
        body = bytes(range(256)) * (6 << 12)
        with Connection(there) as poll:
            poll.send(request_bytes("GET", path_of(channel)))
            await_held(there, channel, 1)
            publish(here, channel, body, Content_Type="application/octet-stream")
            assert poll.read_response().body == body
        assert get(here, path_of(channel, last=1)).body == body


def test_an_empty_channel_has_one_epoch_on_all_nodes(pair: list[Server], channel: str) -> None:
    with LineStream(pair[0], path_of(channel)) as here, LineStream(pair[1], path_of(channel)) as there:
        cursors = [stream.next_line()["cursor"] for stream in (here, there)]
        assert cursors[0] == cursors[1] and cursors[0].endswith("-0")
        name = publish(pair[0], channel, "first")
        assert name == cursors[0].replace("-0", "-1")
        for stream in (here, there):
            assert stream.next_line()["id"] == name


def test_offsets_have_no_gaps_when_many_publish_everywhere(redis: RedisServer, pair: list[Server], channel: str) -> None:
    with LineStream(pair[0], path_of(channel)) as here, LineStream(pair[1], path_of(channel)) as there:
        names: list[str] = []

        def by_http(server: Server, who: str) -> None:
            with Connection(server) as connection:
                for i in range(100):
                    body = connection.request("POST", path_of(channel), f"{who}{i}", Content_Type="text/plain").json
                    names.append(body["id"])

        threads = [threading.Thread(target=by_http, args=(server, who)) for server in pair for who in "ab"]
        for thread in threads:
            thread.start()
        names += [redis.publish(channel, f"redis{i}") for i in range(100)]
        for thread in threads:
            thread.join()
        assert sorted(int(name.split("-")[1]) for name in names) == list(range(1, 501))
        for stream in (here, there):
            stream.next_line()
            assert [stream.next_line()["id"].split("-")[1] for _ in range(500)] == [str(i) for i in range(1, 501)]


def test_keys_are_as_documented(redis: RedisServer, pair: list[Server], channel: str) -> None:
    names = [publish(pair[i % 2], channel, f"m{i}") for i in range(3)]
    assert redis.client.type(meta_key(channel)) == b"hash" and redis.client.type(stream_key(channel)) == b"stream"
    assert redis.entries(channel) == [(1, b"m0"), (2, b"m1"), (3, b"m2")]
    assert names[2].endswith("-3")
    assert redis.client.ttl(stream_key(channel)) > 0


# Publishing without HTTP.

def test_fcall_reaches_every_node(redis: RedisServer, pair: list[Server], channel: str) -> None:
    with EventStream(pair[0], path_of(channel)) as here, LineStream(pair[1], path_of(channel)) as there:
        there.next_line()
        name, time, duplicate = redis.fcall(channel, "plain")
        assert re.fullmatch(rb"[0-9a-hjkmnp-tv-z]{12}-1", name) and time > 1_600_000_000_000 and duplicate == 0
        redis.fcall(channel, '{"a":1}', "goal", "type", "json", "producer", "me", "ttl", "60")
        redis.fcall(channel, b"\0\xff", "", "type", "binary", "mime", "image/png")
        events = [here.next_event() for _ in range(3)]
        assert [event.id for event in events] == [name.decode().replace("-1", f"-{i}") for i in (1, 2, 3)]
        assert [(event.event, event.data) for event in events] == [(None, "plain"), ("goal", '{"a":1}'), (None, "AP8=")]
        lines = [there.next_line() for _ in range(3)]
        assert [line["type"] for line in lines] == ["text", "json", "binary"]
        assert (lines[0]["time"], lines[1]["producer"], lines[1]["data"]) == (time, "me", {"a": 1})
    assert get(pair[0], path_of(channel, last=1)).header("Content-Type") == "image/png"


def test_fcall_and_http_share_idempotency_keys(redis: RedisServer, pair: list[Server], channel: str) -> None:
    first, time, duplicate = redis.fcall(channel, "one", "", "key", "k1")
    assert duplicate == 0
    assert redis.fcall(channel, "two", "", "key", "k1") == [first, time, 1]
    again = request(pair[0], "POST", path_of(channel), "three", Idempotency_Key="k1")
    assert (again.status, again.json["id"], again.json["duplicate"]) == (200, first.decode(), True)
    new = request(pair[0], "POST", path_of(channel), "four", Idempotency_Key="k2")
    repeated = request(pair[1], "POST", path_of(channel), "four", Idempotency_Key="k2")
    assert (new.status, repeated.status, repeated.json["id"]) == (201, 200, new.json["id"])
    assert redis.fcall(channel, "four", "", "key", "k2")[0].decode() == new.json["id"]
    assert [data for _, data in redis.entries(channel)] == [b"one", b"four"]


def test_a_key_sent_to_two_nodes_at_once_is_one_message(redis: RedisServer, pair: list[Server], channel: str) -> None:
    for i in range(20):
        answers: list[Response] = []

        def send(server: Server, key: str = str(i)) -> None:
            answers.append(request(server, "POST", path_of(channel), "x", Idempotency_Key=key))

        threads = [threading.Thread(target=send, args=(server,)) for server in pair]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answer.status for answer in answers) == [200, 201]
        assert len({answer.json["id"] for answer in answers}) == 1
    assert len(redis.entries(channel)) == 20


@pytest.mark.parametrize(("rest", "word"), [
    ((), "data"), (("x", "", "colour", "red"), "colour"), (("x", "", "ttl"), "ttl"), (("x", "", "ttl", "soon"), "ttl"),
    (("x", "", "ttl", "-1"), "ttl"), (("x", "", "type", "jpeg"), "type"), (("x", "a\nb"), "event"), (("x", "reset"), "event"),
    (("x", "error"), "event"), (("x", "open"), "event"), (("x", "subscribed"), "event"),
    (("x", "", "producer", "a\nb"), "producer"), (("x", "", "key", "k" * 256), "key"),
    (("{", "", "type", "json"), "JSON"), ((b"\xff", "", "type", "text"), "UTF-8"), (("x", b"\xff"), "UTF-8"),
])
def test_fcall_refuses_what_http_would(redis: RedisServer, channel: str, pair: list[Server], rest: tuple[str | bytes, ...],
                                       word: str) -> None:
    with pytest.raises(RedisError, match=f"(?i){word}"):
        redis.client.execute_command("FCALL", "sluice_publish", 1, channel, *rest)
    assert not redis.client.exists(stream_key(channel))
    assert metric(pair[0], "broker_ready") == 1


def test_data_that_is_not_what_it_says_breaks_no_stream(redis: RedisServer, pair: list[Server], channel: str) -> None:
    """A mark says that a Sluice has checked; whoever lies: what is not JSON comes as text, and what is not UTF-8 as binary."""
    with LineStream(pair[0], path_of(channel)) as here, LineStream(pair[1], path_of(channel)) as there:
        for data, kind in ((b"{", "json"), (b"1\n2", "json"), (b"\xff", "json"), (b"\xff", "text")):
            redis.fcall(channel, data, "", "type", kind, "mark", "liar.1")
        for stream in (here, there):
            stream.next_line()
            heard = [stream.next_line() for _ in range(4)]
            assert [(line["type"], line["data"]) for line in heard] == [
                ("text", "{"), ("text", "1\n2"), ("binary", "/w=="), ("binary", "/w==")]
    with nodes(1, redis) as (late,):
        assert [message["type"] for message in batch_of(late, channel)] == ["text", "text", "binary", "binary"]


@pytest.mark.parametrize("name", ["", "a b", "/a", "a//b", "a/../b", "a" * 256, "caf\u00e9", "a\n", "{a"])
def test_fcall_refuses_bad_channel_names(redis: RedisServer, pair: list[Server], name: str) -> None:
    before = redis.client.dbsize()
    with pytest.raises(RedisError, match="(?i)channel"):
        redis.fcall(name, "x")
    assert redis.client.dbsize() <= before
    assert metric(pair[0], "broker_ready") == 1


def test_a_batch_goes_to_many_channels(pair: list[Server], channel: str) -> None:
    batch = [{"channel": f"{channel}/{i % 10}", "data": str(i)} for i in range(500)]
    batch.insert(7, {"channel": "not good", "data": "x"})
    response = request(pair[0], "POST", "/channels", json.dumps(batch), Content_Type="application/json")
    assert response.status == 200
    assert [i for i, result in enumerate(response.json) if "error" in result] == [7]
    for i in range(10):
        assert [message["data"] for message in batch_of(pair[1], f"{channel}/{i}")] == [str(n) for n in range(i, 500, 10)]


def test_epochs_name_their_channel_wherever_they_are_made(redis: RedisServer, pair: list[Server], channel: str) -> None:
    """In Lua by FCALL, in C by the memory broker and by a node that attaches: cursors are found by that part."""
    names = [channel + "x" * size for size in range(17)]
    with Server() as memory:
        for name in names:
            in_lua = redis.fcall(name, "x")[0].decode()
            assert in_lua[:5] == publish(memory, name)[:5]
            redis.client.flushall()
            assert get(pair[0], path_of(name, wait=0)).cursor[:5] == in_lua[:5]
