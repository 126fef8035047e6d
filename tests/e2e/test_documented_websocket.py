# SPDX-License-Identifier: MIT
"""What docs/PROTOCOL.md promises of the WebSocket feed, sentence by sentence, with the reasons and counters of docs/ERRORS.md."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import time
from collections.abc import Iterator

import pytest
from support.client import Connection, EventStream, get, path_of, publish, request, request_bytes, subscribers
from support.redis import RedisServer, await_away, await_ready, metric
from support.server import SOURCE, Server, wait_until
from support.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, WebSocket, frame_bytes, handshake_bytes

KIB = 1024
HISTORY = 10
MESSAGE_SIZE = 100 * KIB
KEY = base64.b64encode(bytes(16)).decode()
ROWS = re.findall(r"^\| (\d{4}) \| (.+) \| `(sluice_closed_\w+)` \|$", (SOURCE / "docs/ERRORS.md").read_text(), re.M)
REASONS = {counter.removeprefix("sluice_closed_").removesuffix("_total"): (int(code), reason) for code, reason, counter in ROWS}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("--history-size", str(HISTORY), "--message-size", str(MESSAGE_SIZE), "--websocket-fragments", "20", "--body-timeout", "1s",
                "--allowed-origins", "https://friend.example") as running:
        yield running


@pytest.fixture(scope="module")
def away() -> Iterator[Server]:
    """A server whose broker nobody answers for."""
    with Server("--broker", "redis://127.0.0.1:1/0", "--redis-timeout", "200ms") as running:
        yield running


def feed(server: Server, channel: str, *protocols: str, **query: object) -> WebSocket:
    """A subscription that is in place."""
    before = subscribers(server, channel)["websocket"]
    socket = WebSocket(server, path_of(channel, **query), *protocols)
    wait_until(lambda: subscribers(server, channel)["websocket"] == before + 1)
    return socket


def label(value: object) -> str:
    return repr(value)[:24]


def closed_count(server: Server, name: str) -> float:
    return metric(server, f"closed_{name}_total")


# What a subscription gets


def test_what_a_client_sends_is_published_and_comes_to_it_too(server: Server, channel: str) -> None:
    with feed(server, channel) as socket, feed(server, channel) as other:
        socket.put_text("Hello")
        assert socket.take() == other.take() == "Hello"
        assert get(server, path_of(channel, last=1)).body == b"Hello"


@pytest.mark.parametrize(("content_type", "data", "expected"), [
    ("text/plain", "gr\u00fcn", "gr\u00fcn"), ("application/json", '{"a": 1}', '{"a": 1}'), ("application/octet-stream", b"\x00\xff", b"\x00\xff"),
    ("text/plain", "", ""),
])
def test_raw_messages_are_their_data_alone(server: Server, channel: str, content_type: str, data: str | bytes, expected: str | bytes) -> None:
    with feed(server, channel) as socket, feed(server, channel, format="raw") as named:
        publish(server, channel, data, Content_Type=content_type)
        assert socket.take() == named.take() == expected


@pytest.mark.parametrize(("protocols", "query"), [((), {"format": "json"}), (("sluice.v1+json",), {}), (("else", "sluice.v1+json"), {})])
def test_json_is_an_opening_and_objects_of_the_ndjson_stream(server: Server, channel: str, protocols: tuple[str, ...], query: dict[str, str]) -> None:
    with feed(server, channel, *protocols, **query) as socket:
        opening = socket.take_json()
        assert list(opening) == ["cursor", "recovered"] and opening["recovered"] is False
        name = publish(server, channel, "Hello", Sluice_Event="greet", Sluice_Producer="me")
        message = socket.take_json()
        assert list(message)[0] == "cursor" and message["cursor"] == name
        assert {key: value for key, value in message.items() if key not in ("cursor", "time")} == {
            "channel": channel, "id": name, "event": "greet", "producer": "me", "type": "text", "data": "Hello"}
        publish(server, channel, b"\x00\xff", Content_Type="application/octet-stream")
        assert socket.take_json()["data"] == "AP8="
        socket.put(BINARY, b"\x01")
        socket.put_text('{"a":1}')
        assert [(message["type"], message["data"]) for message in (socket.take_json(), socket.take_json())] == [
            ("binary", "AQ=="), ("text", '{"a":1}')]


@pytest.mark.parametrize(("protocols", "answer"), [
    (("sluice.v1+raw",), "sluice.v1+raw"), (("sluice.v1+json",), "sluice.v1+json"), (("sluice.v1+json", "sluice.v1+raw"), "sluice.v1+json"),
    (("else",), None), ((), None),
])
def test_a_subprotocol_is_confirmed_and_compression_declined(server: Server, channel: str, protocols: tuple[str, ...], answer: str | None) -> None:
    with WebSocket(server, path_of(channel), *protocols, Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits") as socket:
        assert socket.protocol == answer
        assert socket.response.header("Sec-WebSocket-Extensions") is None


def test_format_counts_before_a_subprotocol(server: Server, channel: str) -> None:
    with WebSocket(server, path_of(channel, format="raw"), "sluice.v1+json") as socket:
        assert socket.protocol is None
    with WebSocket(server, path_of(channel, format="json"), "sluice.v1+raw", "sluice.v1+json") as socket:
        assert socket.protocol == "sluice.v1+json" and socket.take_json()["recovered"] is False


def test_since_and_last_are_as_everywhere(server: Server, channel: str) -> None:
    names = [publish(server, channel, f"m{i}") for i in range(4)]
    for query, headers, expected in [
        ({"since": names[1]}, {}, ["m2", "m3"]), ({"since": "earliest"}, {}, ["m0", "m1", "m2", "m3"]), ({"since": "last=1"}, {}, ["m3"]),
        ({"last": 2}, {}, ["m2", "m3"]), ({}, {"Last_Event_ID": names[2]}, ["m3"]), ({}, {"If_None_Match": f'"{names[2]}"'}, ["m3"]),
        ({"since": names[2], "last": 4}, {}, ["m3"]), ({"since": ""}, {}, []), ({"since": "now"}, {}, []),
    ]:
        with WebSocket(server, path_of(channel, **query), **headers) as socket:
            assert [socket.take() for _ in expected] == expected
            socket.put(PING, b"end")
            assert socket.take_frame() == Frame(PONG, b"end"), query


def test_a_cursor_leads_from_one_transport_to_another(server: Server, channel: str) -> None:
    with WebSocket(server, path_of(channel, format="json")) as socket:
        cursor = socket.take_json()["cursor"]
    publish(server, channel, "one")
    answer = get(server, path_of(channel, since=cursor))
    assert answer.body == b"one"
    publish(server, channel, "two")
    with WebSocket(server, path_of(channel, format="json", since=answer.cursor)) as socket:
        assert socket.take_json() == {"cursor": answer.cursor, "recovered": True}
        message = socket.take_json()
        assert message["data"] == "two"
    publish(server, channel, "three")
    with EventStream(server, path_of(channel, since=message["cursor"])) as stream:
        assert stream.next_event().data == "three"


def test_many_channels_in_one_feed_of_which_the_first_is_published_to(server: Server, channel: str) -> None:
    others = [f"{channel}/{i}" for i in range(63)]
    target = path_of(channel) + "?format=json" + "".join(f"&channel={other}" for other in others)
    with WebSocket(server, target) as socket:
        assert len(socket.take_json()["cursor"].split(".")) == 64
        publish(server, others[-1], "other")
        assert socket.take_json()["channel"] == others[-1]
        socket.put_text("mine")
        assert socket.take_json()["channel"] == channel
    answer = Connection(server)
    with answer:
        answer.send(handshake_bytes(f"{target}&channel=one-more", KEY))
        assert answer.read_response().error == "too-many-channels"


def test_frames_are_published_one_after_another_without_an_answer(server: Server, channel: str) -> None:
    with feed(server, channel, since="now") as socket, feed(server, channel) as other:
        socket.send(b"".join(frame_bytes(TEXT, f"m{i}") for i in range(500)))
        expected = [f"m{i}" for i in range(500)]
        assert [socket.take() for _ in expected] == expected
        assert [other.take() for _ in expected] == expected


def test_a_gap_is_told_in_both_formats(server: Server, channel: str) -> None:
    names = [publish(server, channel, f"m{i}") for i in range(HISTORY + 5)]
    with WebSocket(server, path_of(channel, since=names[1])) as socket:
        assert socket.take() == f"RESET {channel} trimmed 3"
        assert socket.take() == "m5"
    with WebSocket(server, path_of(channel, since=names[1], format="json")) as socket:
        assert socket.take_json()["recovered"] is False
        reset = socket.take_json()
        assert reset == {"cursor": names[4], "reset": {"channel": channel, "reason": "trimmed", "missed": 3, "cursor": names[4]}}
        assert list(reset)[0] == "cursor"
        assert socket.take_json()["data"] == "m5"


def test_a_purge_is_told_to_subscribers_and_does_not_end_the_feed(server: Server, channel: str) -> None:
    publish(server, channel, "one")
    with feed(server, channel, last=1) as raw, feed(server, channel, last=1, format="json") as objects:
        assert raw.take() == "one" and objects.take_json() and objects.take_json()["data"] == "one"
        assert request(server, "DELETE", f"/api/channels/{channel}").json["purged"] == 1
        assert re.fullmatch(rf"RESET {channel} purged (\d+|-)", raw.take())
        assert objects.take_json()["reset"]["reason"] == "purged"
        raw.put_text("two")
        assert raw.take() == "two" and objects.take_json()["data"] == "two"


@pytest.mark.parametrize("size", [125, 126, 65535, 65536, MESSAGE_SIZE])
def test_a_frame_of_the_server_is_whole(server: Server, channel: str, size: int) -> None:
    with feed(server, channel) as socket:
        socket.put(BINARY, b"x" * size)
        assert socket.take_frame() == Frame(BINARY, b"x" * size)


def test_it_is_counted_as_a_websocket(server: Server, channel: str) -> None:
    with feed(server, channel), feed(server, channel):
        assert subscribers(server, channel)["websocket"] == subscribers(server, channel)["total"] == 2
    wait_until(lambda: subscribers(server, channel)["total"] == 0)


# The handshake


@pytest.mark.parametrize(("target", "headers", "status", "error"), [
    ("/channels/a?transport=websocket", {}, 426, "upgrade-required"), ("/ws", {}, 426, "upgrade-required"),
    ("/channels/a", {"Sec_WebSocket_Version": "8"}, 426, "upgrade-required"), ("/ws", {"Sec_WebSocket_Version": "14"}, 426, "upgrade-required"),
    ("/channels/a", {"Sec_WebSocket_Key": "short"}, 400, "bad-request"), ("/channels/a", {"Sec_WebSocket_Key": ""}, 400, "bad-request"),
    ("/channels/a", {"Connection": "keep-alive"}, 400, "bad-request"), ("/channels/a", {"Origin": "http://evil.example"}, 403, "forbidden-origin"),
    ("/ws", {"Origin": "null"}, 403, "forbidden-origin"), ("/channels/a//b", {"Upgrade": "websocket"}, 400, "bad-channel"),
    ("/channels/a?since=soon", {"Upgrade": "websocket"}, 400, "bad-cursor"), ("/channels/a?format=xml", {"Upgrade": "websocket"}, 400, "bad-option"),
    ("/nowhere", {"Upgrade": "websocket"}, 404, "not-found"),
])
def test_a_refused_handshake_says_why(server: Server, target: str, headers: dict[str, str], status: int, error: str) -> None:
    with Connection(server) as connection:
        connection.send(handshake_bytes(target, KEY, **headers) if headers else request_bytes("GET", target))
        answer = connection.read_response()
    assert (answer.status, answer.error) == (status, error) and len(answer.json["message"]) > 20
    if status == 426:
        assert answer.header("Sec-WebSocket-Version") == "13" and answer.header("Upgrade") == "websocket"


@pytest.mark.parametrize("data", [
    handshake_bytes("/ws", KEY).replace(b"HTTP/1.1", b"HTTP/1.0"), handshake_bytes("/ws", KEY, Content_Length="2") + b"{}",
    handshake_bytes("/channels/a", KEY).replace(b"HTTP/1.1", b"HTTP/1.0"), handshake_bytes("/channels/a", KEY, Content_Length="2") + b"{}",
], ids=label)
def test_a_handshake_is_http_1_1_without_a_body(server: Server, data: bytes) -> None:
    with Connection(server) as connection:
        connection.send(data)
        assert connection.read_response().status == 400


def test_pages_of_ours_and_of_friends_come_in(server: Server, channel: str) -> None:
    for origin in (f"http://127.0.0.1:{server.port}", "https://friend.example"):
        with WebSocket(server, path_of(channel), Host=f"127.0.0.1:{server.port}", Origin=origin) as socket:
            socket.put_text("in")
            assert socket.take() == "in"


def test_transport_counts_before_upgrade_and_that_before_accept(server: Server, channel: str) -> None:
    publish(server, channel, "kept")
    with Connection(server) as connection:
        connection.send(handshake_bytes(path_of(channel, transport="poll", last=1), KEY))
        answer = connection.read_response()
        assert (answer.status, answer.body) == (200, b"kept")
    with WebSocket(server, path_of(channel, last=1), Accept="text/event-stream") as socket:
        assert socket.take() == "kept"


def test_frames_may_follow_the_handshake_at_once(server: Server, channel: str) -> None:
    with Connection(server) as connection:
        connection.send(handshake_bytes(path_of(channel), KEY) + frame_bytes(TEXT, "early") + frame_bytes(PING, "p"))
        assert connection.read_head().status == 101
        text, pong = b"\x81\x05early", b"\x8a\x01p"
        assert connection.read_exactly(len(text + pong)) in (text + pong, pong + text)


def test_a_limit_of_connections_is_answered_as_any_request(channel: str) -> None:
    with Server("--max-connections", "1") as server, WebSocket(server, path_of(channel)), Connection(server) as second:
        second.send(handshake_bytes(path_of(channel), KEY))
        answer = second.read_response()
        assert (answer.status, answer.error) == (503, "too-many-connections")


# The end


@pytest.mark.parametrize(("target", "data", "name"), [
    ("/channels/end", frame_bytes(TEXT, "a", mask=None), "protocol"), ("/channels/end", frame_bytes(TEXT, "a", reserved=4), "protocol"),
    ("/channels/end", frame_bytes(3), "protocol"), ("/channels/end", frame_bytes(0xB), "protocol"),
    ("/channels/end", frame_bytes(PING, "x" * 126), "protocol"), ("/channels/end", frame_bytes(PING, is_final=False), "protocol"),
    ("/channels/end", frame_bytes(CONTINUATION, "a"), "protocol"), ("/channels/end", frame_bytes(CLOSE, b"\x03"), "protocol"),
    ("/channels/end", frame_bytes(CLOSE, b"\x03\xed"), "protocol"),
    ("/channels/end", frame_bytes(TEXT, "a", is_final=False) + frame_bytes(TEXT, "b"), "protocol"),
    ("/ws", frame_bytes(BINARY, "{}"), "unsupported"), ("/channels/end", frame_bytes(TEXT, b"\xff"), "bad_text"),
    ("/channels/end", frame_bytes(TEXT, b"\xc3", is_final=False) + frame_bytes(CONTINUATION, "a"), "bad_text"),
    ("/channels/end", frame_bytes(TEXT, b"aaa\xed\xa0\x80")[:-1], "bad_text"),
    ("/channels/end", frame_bytes(TEXT, "a", is_final=False) + 20 * frame_bytes(CONTINUATION, "a", is_final=False), "too_fragmented"),
    ("/channels/end", frame_bytes(BINARY, bytes(MESSAGE_SIZE + 1))[:15], "too_large"),
    ("/channels/end", frame_bytes(TEXT, "a" * MESSAGE_SIZE, is_final=False) + frame_bytes(CONTINUATION, "a"), "too_large"),
    ("/channels/end", frame_bytes(TEXT, "a", is_final=False), "late"), ("/ws", frame_bytes(TEXT, "{}")[:-1], "late"),
], ids=label)
def test_what_ends_a_connection(server: Server, target: str, data: bytes, name: str) -> None:
    before = closed_count(server, name)
    with WebSocket(server, target) as socket:
        socket.send(data)
        code, reason = socket.take_close()
    assert code == REASONS[name][0] and reason, reason
    wait_until(lambda: closed_count(server, name) == before + 1)


def test_as_many_fragments_as_are_allowed_make_a_message(server: Server, channel: str) -> None:
    with feed(server, channel) as socket:
        socket.send(frame_bytes(TEXT, "a", is_final=False) + frame_bytes(PING, "between") + 18 * frame_bytes(CONTINUATION, "b", is_final=False))
        assert socket.take_frame() == Frame(PONG, b"between")
        socket.send(frame_bytes(CONTINUATION, "c"))
        assert socket.take() == "a" + 18 * "b" + "c"


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999, None])
def test_a_clients_close_is_answered_with_its_code(server: Server, channel: str, code: int | None) -> None:
    before = closed_count(server, "normal")
    with feed(server, channel) as socket:
        if code is None:
            socket.put(CLOSE)
        else:
            socket.put_close(code, "enough")
        assert socket.take_frame().close[0] == (code or 1005)
        assert socket.is_closed()
    wait_until(lambda: closed_count(server, "normal") == before + 1)
    assert REASONS["normal"][0] == 1000


def test_what_comes_behind_a_close_is_dropped(server: Server, channel: str) -> None:
    with feed(server, channel) as socket:
        socket.send(frame_bytes(TEXT, "before") + frame_bytes(CLOSE, b"\x03\xe8") + frame_bytes(TEXT, "behind"))
        assert socket.take_frame().opcode in (TEXT, CLOSE)
        wait_until(lambda: subscribers(server, channel)["total"] == 0)
    assert [message["data"] for message in get(server, path_of(channel, last=9, transport="json")).json["messages"]] == ["before"]
    with feed(server, channel) as socket:
        socket.send(frame_bytes(3) + frame_bytes(TEXT, "behind"))
        assert socket.take_close()[0] == 1002
    assert get(server, path_of(channel, last=1)).body == b"before"


def test_a_publish_that_fails_is_told_in_json_and_ends_raw(away: Server, channel: str) -> None:
    before = closed_count(away, "try_later")
    with WebSocket(away, path_of(channel, format="json")) as socket:
        for _ in range(2):
            socket.put_text("x")
            answer = socket.take_json()
            assert list(answer) == ["error", "message"] and answer["error"] == "broker-down"
    with WebSocket(away, path_of(channel)) as socket:
        socket.put_text("x")
        code, reason = socket.take_close()
        assert code == 1013 and reason.startswith("broker-down: ") and len(reason.encode()) <= 123
    wait_until(lambda: closed_count(away, "try_later") == before + 1)


def test_a_feed_is_silent_until_the_broker_is_back(channel: str) -> None:
    with RedisServer() as redis, Server("--broker", redis.url(), "--redis-timeout", "200ms", "--redis-probe-time", "200ms") as server:
        await_ready(server)
        redis.kill()
        await_away(server)
        with WebSocket(server, path_of(channel, format="json")) as socket:
            socket.put(PING, b"there")
            assert socket.take_frame() == Frame(PONG, b"there")
            redis.start()
            assert socket.take_json()["recovered"] is False
            socket.put_text("back")
            assert socket.take_json()["data"] == "back"


def test_a_limit_of_memory_passes_by_itself(channel: str) -> None:
    data = b"x" * (300 * KIB)
    with Server("--memory-limit", "1MiB") as server, feed(server, channel) as socket:
        for _ in range(5):
            socket.put(BINARY, data)
            while (frame := socket.take_frame()).opcode == BINARY and len(frame.data) != len(data):
                pass
            if frame.opcode == CLOSE:
                break
        assert frame.close[0] == 1013 and frame.close[1].startswith("memory-limit: ")


def test_a_client_that_does_not_answer_two_pings_is_closed_on(channel: str) -> None:
    with Server("--websocket-ping", "400ms") as server:
        begin = time.monotonic()
        with WebSocket(server, path_of(channel)) as socket:
            for _ in range(2):
                assert socket.take_frame().opcode == PING
            assert time.monotonic() - begin >= 0.6
            assert socket.take_frame().close == REASONS["silent"]
        wait_until(lambda: closed_count(server, "silent") == 1)


def test_whatever_comes_shows_that_a_client_is_there(channel: str) -> None:
    frame = frame_bytes(TEXT, "kept")
    with Server("--websocket-ping", "400ms") as server, WebSocket(server, path_of(channel)) as socket:
        for part in (frame_bytes(PONG), frame_bytes(PONG, "unasked"), frame[:1], frame[1:3], frame[3:]):
            assert socket.take_frame().opcode == PING
            socket.send(part)
        assert socket.take() == "kept"
        assert closed_count(server, "silent") == 0


def test_no_ping_when_it_is_off_and_after_a_reload_there_is(tmp_path: object) -> None:
    path = f"{tmp_path}/sluice.ini"

    def write(ping: str, size: int, fragments: int) -> None:
        with open(path, "w") as file:
            file.write(f"websocket-ping = {ping}\nmessage-size = {size}\nwebsocket-fragments = {fragments}\n")

    write("0", 10, 5)
    with Server("--config", path) as server:
        with WebSocket(server, "/channels/a") as socket, WebSocket(server, "/channels/b") as other:
            socket.put_text("x" * 10)
            assert socket.take() == "x" * 10
            write("200ms", 5, 1)
            os.kill(server.process.pid, signal.SIGHUP)
            wait_until(lambda: "event=reload" in server.log())
            with WebSocket(server, "/channels/c") as new:
                assert new.take_frame().opcode == PING
            other.send(frame_bytes(TEXT, "a", is_final=False) + frame_bytes(CONTINUATION, "b"))
            assert other.take_close()[0] == 1008
            socket.put_text("x" * 6)
            assert socket.take_close()[0] == 1009


def test_when_the_server_stops_everything_has_been_told(channel: str) -> None:
    with Server("--drain-time", "1s") as server, feed(server, channel) as raw, feed(server, channel, format="json") as objects:
        for i in range(20):
            publish(server, channel, f"m{i}")
        os.kill(server.process.pid, signal.SIGTERM)
        assert [raw.take() for _ in range(20)] == [f"m{i}" for i in range(20)]
        code, reason = raw.take_close()
        assert (code, reason[:43]) == REASONS["restart"] == (1012, "the server stops or restarts; connect again")
        assert [objects.take_json().get("data") for _ in range(21)] == [None, *(f"m{i}" for i in range(20))]
        assert objects.take_close()[0] == 1012


def test_a_client_that_takes_nothing_is_cut(channel: str) -> None:
    with Server("--slow-client-timeout", "500ms", "--message-size", "4MiB") as server:
        with feed(server, channel) as reader, WebSocket(server, path_of(channel), receive_buffer=4096):
            wait_until(lambda: subscribers(server, channel)["websocket"] == 2)
            for _ in range(4):
                publish(server, channel, b"x" * (4 << 20), Content_Type="application/octet-stream")
                assert len(reader.take()) == 4 << 20
            wait_until(lambda: subscribers(server, channel)["websocket"] == 1)


def test_every_close_code_has_a_reason_that_fits_its_frame() -> None:
    assert {code for code, _ in REASONS.values()} >= {1000, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013}
    assert all(len(reason.encode()) <= 123 for _, reason in REASONS.values())
