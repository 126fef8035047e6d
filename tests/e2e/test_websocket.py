# SPDX-License-Identifier: MIT
"""The feed of channels over WebSocket: what it opens with, what comes, what is published, what is refused."""

import itertools
import json

import pytest
from support.client import Connection, LineStream, get, path_of, publish, request, request_bytes, subscribers
from support.redis import metric
from support.server import Server, wait_until
from support.websocket import BINARY, PING, PONG, TEXT, WebSocket, handshake_bytes

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
JSON, RAW = "sluice.v1+json", "sluice.v1+raw"


def feed(server: Server, channel: str, /, *protocols: str, **query: object) -> WebSocket:
    """What is published from now on comes."""
    return WebSocket(server, path_of(channel, **query), *protocols)


def test_raw_is_the_data_alone(server: Server, channel: str) -> None:
    with feed(server, channel) as client:
        assert client.protocol is None
        publish(server, channel, "naïve 🐇\r\n\0")
        publish(server, channel, '{"a": 1}', Content_Type="application/json")
        publish(server, channel, b"\0\xff\xfe", Content_Type="application/octet-stream")
        publish(server, channel, "")
        assert [client.take() for _ in range(4)] == ["naïve 🐇\r\n\0", '{"a": 1}', b"\0\xff\xfe", ""]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
def test_frames_of_every_length(server: Server, channel: str, size: int) -> None:
    with feed(server, channel, format="json") as envelopes, feed(server, channel) as client:
        assert envelopes.take_json()["recovered"] is False
        publish(server, channel, "x" * size)
        assert client.take() == "x" * size
        assert envelopes.take_json()["data"] == "x" * size


def test_json_is_what_the_ndjson_stream_says(server: Server, channel: str) -> None:
    publish(server, channel, "before")
    with feed(server, channel, format="json") as client, LineStream(server, path_of(channel)) as stream:
        opening = client.take_json()
        assert opening == stream.next_line() == {"cursor": opening["cursor"], "recovered": False}
        request(server, "POST", path_of(channel, event="goal", producer="me"), "1:0", Content_Type="text/plain")
        publish(server, channel, '{\n"a": [1]}', Content_Type="application/json")
        publish(server, channel, b"\0\xff", Content_Type="application/octet-stream")
        for data in ("1:0", {"a": [1]}, "AP8="):
            text = client.take()
            assert isinstance(text, str) and not text.endswith("\n")
            assert json.loads(text) == stream.next_line() and json.loads(text)["data"] == data


@pytest.mark.parametrize(("offered", "query", "agreed", "is_json"), [
    ((), None, None, False), ((), "json", None, True), ((), "raw", None, False),
    ((JSON,), None, JSON, True), ((RAW,), None, RAW, False), ((RAW, JSON), None, RAW, False), ((JSON, RAW), None, JSON, True),
    (("chat", JSON), None, JSON, True), (("chat",), None, None, False), (("chat",), "json", None, True),
    ((RAW, JSON), "json", JSON, True), ((JSON, RAW), "raw", RAW, False), ((RAW,), "json", None, True),
])
def test_subprotocols(server: Server, channel: str, offered: tuple[str, ...], query: str | None, agreed: str | None, is_json: bool) -> None:
    publish(server, channel, "x")
    with WebSocket(server, path_of(channel, last=1, format=query), *offered) as client:
        assert client.protocol == agreed
        if is_json:
            assert client.take_json()["recovered"] is False
            assert client.take_json()["data"] == "x"
        else:
            assert client.take() == "x"


def test_it_goes_on_after_a_cursor(server: Server, channel: str) -> None:
    names = [publish(server, channel, str(i)) for i in range(5)]
    with feed(server, channel, format="json", since=names[1]) as client:
        assert client.take_json() == {"cursor": names[1], "recovered": True}
        assert [client.take_json()["cursor"] for _ in range(3)] == names[2:]
    with feed(server, f"{channel}/other", format="json", since=names[1]) as client:
        assert client.take_json()["recovered"] is False, "the cursor does not name the channel"
    with feed(server, channel, since=names[3]) as client:
        assert client.take() == "4"
    with feed(server, channel, since="earliest") as client:
        assert [client.take() for _ in range(5)] == list("01234")
    with feed(server, channel, last=2) as client:
        assert [client.take() for _ in range(2)] == list("34")
        publish(server, channel, "5")
        assert client.take() == "5"


def test_the_opening_is_where_to_come_back_to(server: Server, channel: str) -> None:
    with feed(server, channel, format="json") as client:
        cursor = client.take_json()["cursor"]
    names = [publish(server, channel, str(i)) for i in range(3)]
    with feed(server, channel, format="json", since=cursor) as client:
        assert client.take_json()["recovered"] is True
        assert [client.take_json()["id"] for _ in range(3)] == names


def test_several_channels_have_one_cursor(server: Server, channel: str) -> None:
    others = [f"{channel}/{i}" for i in range(3)]
    target = path_of(channel, format="json") + "".join(f"&channel={other}" for other in others)
    with WebSocket(server, target) as client:
        assert len(client.take_json()["cursor"].split(".")) == 4
        for other in (*others, channel):
            publish(server, other, f"to {other}")
        messages = [client.take_json() for _ in range(4)]
        assert all(len(message["cursor"].split(".")) == 4 for message in messages)
        assert {message["channel"]: message["data"] for message in messages} == {name: f"to {name}" for name in (*others, channel)}
    publish(server, others[1], "later")
    with LineStream(server, target.replace("format=json", f"since={messages[-1]['cursor']}")) as stream:
        assert stream.next_line()["recovered"] is True
        assert stream.next_line()["data"] == "later"
    with WebSocket(server, target + f"&since={messages[1]['cursor']}") as client:
        assert client.take_json()["recovered"] is True
        assert sorted(client.take_json()["data"] for _ in range(3)) == sorted([*(message["data"] for message in messages[2:]), "later"])


def test_several_channels_as_bare_data(server: Server, channel: str) -> None:
    with feed(server, channel, channel=f"{channel}/2") as client:
        for i in range(300):
            publish(server, (channel, f"{channel}/2")[i % 2], str(i))
        assert sorted(int(client.take()) for _ in range(300)) == list(range(300))


def test_a_burst_of_several_channels_is_not_that_of_one(channel: str) -> None:
    one, two = [f"one {i}" for i in range(20)], [f"two {i}" for i in range(20)]
    batch = [{"channel": channel, "data": text} for text in one] + [{"channel": f"{channel}/2", "data": text} for text in two]
    with Server("--shards", "1") as server, feed(server, channel) as single, feed(server, channel, channel=f"{channel}/2") as both:
        assert request(server, "POST", "/channels", json.dumps(batch), Content_Type="application/json").status == 200
        publish(server, channel, "end")
        assert [single.take() for _ in [*one, "end"]] == [*one, "end"]
        assert [both.take() for _ in [*one, *two, "end"]] == [*one, *two, "end"]


def test_a_reset_is_told_and_the_feed_goes_on(channel: str) -> None:
    with Server("--history-size", "3") as server:
        first = publish(server, channel, "0")
        names = [publish(server, channel, str(i)) for i in range(1, 6)]
        with feed(server, channel, since=first) as client:
            assert [client.take() for _ in range(4)] == [f"RESET {channel} trimmed 2", "3", "4", "5"]
        with feed(server, channel, since=f"{first[:5]}0000000-1") as client:
            assert client.take() == f"RESET {channel} epoch -"
        with feed(server, channel, format="json", since=first) as client:
            assert client.take_json() == {"cursor": first, "recovered": False}
            reset = client.take_json()
            assert reset["reset"] == {"channel": channel, "reason": "trimmed", "missed": 2, "cursor": names[1]}
            assert reset["cursor"] == names[1]
            assert [client.take_json()["id"] for _ in range(3)] == names[2:]
            request(server, "DELETE", f"/api/channels/{channel}")
            assert client.take_json()["reset"]["reason"] == "purged"
            publish(server, channel, "new")
            assert client.take_json()["data"] == "new"


# Publishing.

def test_frames_are_published(server: Server, channel: str) -> None:
    with feed(server, channel, channel=f"{channel}/2") as client, LineStream(server, path_of(channel)) as stream:
        stream.next_line()
        client.put(TEXT, "héllo")
        client.put(BINARY, b"\0\xff")
        client.put(TEXT, "")
        client.put(TEXT, '{"a":1}')
        lines = [stream.next_line() for _ in range(4)]
        assert [(line["type"], line["data"]) for line in lines] == [
            ("text", "héllo"), ("binary", "AP8="), ("text", ""), ("text", '{"a":1}')]
        assert [client.take() for _ in range(4)] == ["héllo", b"\0\xff", "", '{"a":1}']
    assert get(server, f"/api/channels/{channel}/2").json["messages"] == 0


def test_frames_are_the_data_whatever_the_format(server: Server, channel: str) -> None:
    with feed(server, channel, format="json") as client:
        client.take_json()
        client.put_text('{"op":"publish"}')
        assert client.take_json()["data"] == '{"op":"publish"}'


def test_many_frames_keep_their_order(server: Server, channel: str) -> None:
    with feed(server, channel) as client:
        for first in range(0, 3000, 100):
            for i in range(first, first + 100):
                client.put_text(str(i))
            assert [client.take() for _ in range(100)] == [str(i) for i in range(first, first + 100)]
        client.put(PING, "x")
        assert client.take_frame().opcode == PONG


def test_a_message_over_message_size_closes(channel: str) -> None:
    with Server("--message-size", "1000") as server:
        for query in ({}, {"format": "json"}):
            with feed(server, channel, **query) as client:
                client.put_text("x" * 1000)
                client.put_text("x" * 1001)
                assert client.take_close()[0] == 1009
        assert get(server, f"/api/channels/{channel}").json["messages"] == 2


def test_a_publish_that_fails(channel: str) -> None:
    with Server("--memory-limit", "1MiB", "--history-bytes", "64MiB") as server, feed(server, channel, format="json") as client, \
            feed(server, channel) as raw:
        client.take_json()
        message = "x" * 100_000
        for _ in itertools.count():
            client.put_text(message)
            answer = client.take_json()
            if "error" in answer:
                break
            assert answer["data"] == message
        assert answer["error"] == "memory-limit" and answer["message"]
        client.put(PING)
        assert client.take_frame().opcode == PONG
        raw.put_text(message)
        code, reason = raw.take_close()
        assert code == 1013 and reason.startswith("memory-limit: ")
        assert metric(server, "closed_try_later_total") == 1


# What is no WebSocket.

def test_foreign_pages_are_refused(server: Server, channel: str) -> None:
    host = f"127.0.0.1:{server.port}"
    with Connection(server) as connection:
        connection.send(handshake_bytes(path_of(channel), KEY, Host=host, Origin="https://evil.example"))
        assert connection.read_response().error == "forbidden-origin"
    with WebSocket(server, path_of(channel), Host=host, Origin=f"http://{host}") as client:
        publish(server, channel, "x")
        client.put_text("y")
        assert {client.take(), client.take()} == {"x", "y"}
    with Server("--allowed-origins", "https://app.example") as listed:
        WebSocket(listed, path_of(channel), Origin="https://app.example").close()


def test_without_upgrade_it_is_required(server: Server, channel: str) -> None:
    response = get(server, path_of(channel, transport="websocket"))
    assert response.status == 426 and response.error == "upgrade-required", response
    assert (response.header("Upgrade") or "").lower() == "websocket"
    assert "upgrade" in (response.header("Connection") or "").lower()


@pytest.mark.parametrize(("fields", "status"), [
    ({"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings", "HTTP2_Settings": "AAMAAABk"}, 200),
    ({"Upgrade": "websocket2", "Connection": "Upgrade"}, 200),
    ({"Upgrade": "h2c, WebSocket", "Connection": "upgrade", "Sec_WebSocket_Key": KEY, "Sec_WebSocket_Version": "13"}, 101),
])
def test_other_protocols_to_upgrade_to_are_not_looked_at(server: Server, channel: str, fields: dict[str, str], status: int) -> None:
    publish(server, channel, "x")
    with Connection(server) as connection:
        connection.send(request_bytes("GET", path_of(channel, since="earliest"), **fields))
        assert connection.read_head().status == status


def test_what_transport_names_counts_before_upgrade(server: Server, channel: str) -> None:
    publish(server, channel, "x")
    with Connection(server) as connection:
        connection.send(handshake_bytes(path_of(channel, transport="json", since="earliest"), KEY))
        assert connection.read_response().json["messages"][0]["data"] == "x"


def test_head_and_http10_are_no_handshake(server: Server, channel: str) -> None:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Key": KEY, "Sec_WebSocket_Version": "13"}
    with Connection(server) as connection:
        connection.send(request_bytes("HEAD", path_of(channel), **upgrade))
        assert connection.read_head().status == 204
    with Connection(server) as connection:
        connection.send(request_bytes("GET", path_of(channel, transport="websocket"), version="HTTP/1.0", **upgrade))
        assert connection.read_head().status in (400, 426)
    assert request(server, "HEAD", path_of(channel, transport="websocket")).status in (400, 426)


@pytest.mark.parametrize(("query", "error"), [
    ({"format": "xml"}, "bad-option"), ({"format": ""}, "bad-option"), ({"since": "x"}, "bad-cursor"), ({"last": "x"}, "bad-option"),
    ({"channel": "a//b"}, "bad-channel"), ({"transport": "websockets"}, "not-acceptable"),
])
def test_what_is_wrong_is_answered_before_the_upgrade(server: Server, channel: str, query: dict[str, str], error: str) -> None:
    with Connection(server) as connection:
        connection.send(handshake_bytes(path_of(channel, **query), KEY))
        assert connection.read_response().error == error


def test_who_listens_is_counted(server: Server, channel: str) -> None:
    with feed(server, channel), feed(server, channel, format="json"):
        assert {kind: count for kind, count in subscribers(server, channel).items() if count} == {"total": 2, "websocket": 2}
        assert 'websocket' in get(server, "/metrics").body.decode()
    wait_until(lambda: subscribers(server, channel)["total"] == 0)
