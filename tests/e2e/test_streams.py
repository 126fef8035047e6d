# SPDX-License-Identifier: MIT
"""Endless responses: Server-Sent Events and NDJSON."""

import base64
import contextlib
import json
import re
import select
import signal
import socket
import time

import pytest
from support.client import EventStream, LineStream, path_of, publish, request, subscribers
from support.redis import metric
from support.server import Server, wait_until


def test_sse_opens_with_an_event_of_its_own(server: Server, channel: str) -> None:
    name = publish(server, channel)
    retries = set()
    for _ in range(8):
        with EventStream(server, path_of(channel)) as stream:
            assert stream.response.status == 200
            assert stream.response.header("Content-Type") == "text/event-stream"
            assert stream.response.header("Cache-Control") == "no-store, no-transform"
            assert stream.response.header("X-Accel-Buffering") == "no"
            first = stream.next_block()
            assert first and first.id == name and first.event == "subscribed" and first.retry
            assert json.loads(first.data or "") == {"cursor": name, "recovered": False}
            retries.add(int(first.retry))
    assert all(2000 <= retry <= 4000 for retry in retries) and len(retries) > 1


@pytest.mark.parametrize(("published", "received"), [
    ("one", "one"), ("a\nb\rc\r\nd", "a\nb\nc\nd"), ("", ""), (" x ", " x "), ("a\n", "a\n"), ("\ufeffé€🐇", "\ufeffé€🐇"),
    ("id: 1\nevent: x", "id: 1\nevent: x"), (":", ":"), ("data: x\n\n", "data: x\n\n"),
])
def test_sse_data(server: Server, channel: str, published: str, received: str) -> None:
    with EventStream(server, path_of(channel)) as stream:
        name = publish(server, channel, published)
        event = stream.next_event()
        assert (event.data, event.id, event.event) == (received, name, None)


def test_sse_event_names_and_binary(server: Server, channel: str) -> None:
    with EventStream(server, path_of(channel)) as stream:
        request(server, "POST", path_of(channel, event="goal"), "1:0", Content_Type="text/plain")
        publish(server, channel, b"\0\xff", Content_Type="application/octet-stream")
        assert stream.next_event().event == "goal"
        assert base64.b64decode(stream.next_event().data or "") == b"\0\xff"


def test_sse_resumes_from_the_id_it_began_with(server: Server, channel: str) -> None:
    with EventStream(server, path_of(channel)) as stream:
        first = stream.next_block()
    assert first and first.id
    names = [publish(server, channel, str(i)) for i in range(3)]
    with EventStream(server, path_of(channel), Last_Event_ID=first.id) as stream:
        assert [stream.next_event().id for _ in range(3)] == names
    with EventStream(server, path_of(channel, since=names[0])) as stream:
        assert [stream.next_event().id for _ in range(2)] == names[1:]


def recovered(stream: EventStream | LineStream) -> bool:
    if isinstance(stream, LineStream):
        return stream.next_line()["recovered"]
    first = stream.next_block()
    assert first and first.event == "subscribed" and json.loads(first.data or "")["cursor"] == first.id
    return json.loads(first.data or "")["recovered"]


@pytest.mark.parametrize("kind", [EventStream, LineStream])
def test_the_opening_says_whether_everything_since_the_cursor_follows(channel: str, kind: type[EventStream | LineStream]) -> None:
    other = channel + "/other"
    with Server("--history-size", "3") as server, kind(server, path_of(channel)) as first:
        assert recovered(first) is False
        names = [publish(server, channel, str(i)) for i in range(200)]
        there = publish(server, other)
        for since, expected in ((names[-1], True), (names[-4], True), (names[-5], False), (names[0], False), ("now", False),
                                ("earliest", False), (names[0][:5] + "0000000-1", False), (f"{there}.{names[-4]}", True),
                                (f"{there}.{names[-5]}", False), (there, True)):
            with kind(server, path_of(channel, channel=other, since=since)) as stream:
                assert recovered(stream) is expected, since
        elsewhere = publish(server, channel + "/third")
        with kind(server, path_of(channel, channel=other, since=elsewhere)) as stream:
            assert recovered(stream) is False, "the cursor names none of the channels"


def test_heartbeats_come_when_nothing_else_does(channel: str) -> None:
    with Server("--heartbeat", "0.3") as server:
        with EventStream(server, path_of(channel)) as stream, LineStream(server, path_of(channel)) as lines:
            stream.next_block()
            begun = time.monotonic()
            assert [stream.until(b"\n") for _ in range(3)] == [b":"] * 3
            assert 0.4 < time.monotonic() - begun < 5
            lines.next_line()
            assert lines.until(b"\n") == b""


def test_the_heartbeat_of_ndjson_can_be_an_object(channel: str) -> None:
    with Server("--heartbeat", "0.3") as server:
        with LineStream(server, path_of(channel, heartbeat="json")) as lines:
            lines.next_line()
            beat = json.loads(lines.until(b"\n") or b"")
            assert list(beat) == ["heartbeat"] and abs(beat["heartbeat"] / 1000 - time.time()) < 10
            publish(server, channel, "x")
            while "heartbeat" in (line := lines.next_line()):
                pass
            assert line["data"] == "x"
        assert request(server, "GET", path_of(channel, heartbeat="often", transport="stream")).error == "bad-option"


def test_padding_comes_first_as_a_comment(server: Server, channel: str) -> None:
    with EventStream(server, path_of(channel, padding=5000)) as stream:
        block = stream.next_block()
        assert block and len(block.comments[0]) >= 4999 and not block.comments[0].strip()
        assert block.event == "subscribed"
    assert request(server, "GET", path_of(channel, padding=65537)).error == "bad-option"


@pytest.mark.parametrize(("query", "accept", "content_type"), [
    ("?transport=sse", "", "text/event-stream"), ("?transport=stream", "", "application/x-ndjson"),
    ("", "application/x-ndjson", "application/x-ndjson"), ("", "application/ndjson", "application/x-ndjson"),
    ("", "text/html, text/event-stream;q=0.9", "text/event-stream"),
    ("?transport=stream", "text/event-stream", "application/x-ndjson"),
    ("", "text/event-stream, application/json", "text/event-stream"), ("", "application/json;q=0, application/x-ndjson, */*", "application/x-ndjson"),
])
def test_the_request_says_how_to_receive(server: Server, channel: str, query: str, accept: str, content_type: str) -> None:
    stream = EventStream.__mro__[1](server, path_of(channel) + query, accept)
    assert stream.response.header("Content-Type") == content_type
    stream.close()


def test_unknown_transport_is_refused(server: Server, channel: str) -> None:
    assert request(server, "GET", path_of(channel, transport="pigeon")).error == "not-acceptable"


def test_ndjson_begins_with_a_cursor_and_goes_on_with_messages(server: Server, channel: str) -> None:
    with LineStream(server, path_of(channel)) as stream:
        assert re.fullmatch(r"\w{12}-0", stream.next_line()["cursor"])
        name = publish(server, channel, '{"a":\n[1]}', Content_Type="application/json")
        message = stream.next_line()
        assert list(message)[0] == "cursor"
        assert message.pop("time") > 0
        assert message == {"cursor": name, "channel": channel, "id": name, "type": "json", "data": {"a": [1]}}


@pytest.mark.parametrize("kind", [EventStream, LineStream])
def test_http10_streams_are_delimited_by_the_close(server: Server, channel: str, kind: type) -> None:
    with kind(server, path_of(channel), version="HTTP/1.0") as stream:
        assert stream.response.header("Transfer-Encoding") is None
        name = publish(server, channel, "x")
        if kind is EventStream:
            assert stream.next_event().id == name
        else:
            stream.next_line()
            assert stream.next_line()["id"] == name


def test_a_burst_comes_whole_and_in_order(channel: str) -> None:
    with Server() as server, EventStream(server, path_of(channel)) as stream, LineStream(server, path_of(channel)) as lines:
        wait_until(lambda: subscribers(server, channel)["total"] == 2)
        batch = "".join(f'{{"channel":"{channel}","data":"{i}"}}\n' for i in range(1000))
        request(server, "POST", "/channels", batch, Content_Type="application/x-ndjson")
        assert [stream.next_event().data for _ in range(1000)] == [str(i) for i in range(1000)]
        lines.next_line()
        assert [lines.next_line()["data"] for _ in range(1000)] == [str(i) for i in range(1000)]


def test_many_messages_at_once_are_the_same_to_every_kind_of_stream(channel: str) -> None:
    with Server("--shards", "1") as server:
        names = [publish(server, channel, str(i)) for i in range(20)]
        path = path_of(channel, since="earliest")
        for version in ("HTTP/1.1", "HTTP/1.0", "HTTP/1.1"):
            with EventStream(server, path, version=version) as stream, LineStream(server, path, version=version) as lines:
                assert [stream.next_event().id for _ in names] == names
                lines.next_line()
                assert [lines.next_line()["id"] for _ in names] == names


@pytest.mark.parametrize("kind", [EventStream, LineStream])
def test_large_messages_reach_a_slow_reader_in_pieces(channel: str, kind: type[EventStream | LineStream]) -> None:
    texts = ["é" * 2_500_000, "0123456789" * 1_000_000, "line\n" * 10_000, "€🐇" * 20_000]
    with Server("--message-size", "16MiB", "--history-bytes", "64MiB") as server, kind(server, path_of(channel)) as stream:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
        for text in texts:
            publish(server, channel, text)
        if isinstance(stream, LineStream):
            stream.next_line()
            assert [stream.next_line()["data"] for _ in texts] == texts
        else:
            assert [stream.next_event().data for _ in texts] == texts


HUGE = "x" * (12 << 20)
ROOM = ("--message-size", "16MiB", "--history-bytes", "64MiB")


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_who_is_let_go_while_he_lags_gets_the_message_whole_first(channel: str, version: str) -> None:
    server = Server(*ROOM, "--shards", "1", "--drain-time", "30", "--heartbeat", "1h").start()
    with EventStream(server, path_of(channel), version=version) as stream, contextlib.ExitStack() as stack:
        others = [stack.enter_context(LineStream(server, path_of(channel + "/other"))) for _ in range(14)]  # all of one cell
        for _ in range(2):
            publish(server, channel, HUGE)
        server.process.send_signal(signal.SIGTERM)
        while others[0].more():  # those of one cell are let go in the order in which they came
            pass
        assert stream.next_event().data == HUGE  # of which he had a part; the next one is for when he comes back
        assert stream.next_block() is None and re.fullmatch(rb"retry: \d+\n", stream.text)
        assert stream.ended_cleanly or version == "HTTP/1.0"
        others[-1].next_line()
        assert not select.select([others[-1].socket], [], [], 0)[0], "he was kept until the time was over"
    server.stop()
    server.folder.cleanup()


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_a_cut_in_the_middle_of_a_message_does_not_look_like_an_end(channel: str, version: str) -> None:
    with Server(*ROOM, "--slow-client-timeout", "0.3", "--heartbeat", "0.3") as server:
        with EventStream(server, path_of(channel), version=version) as stream:
            for _ in range(2):
                publish(server, channel, HUGE)
            wait_until(lambda: metric(server, "slow_clients_cut_total") == 1)
            if version == "HTTP/1.1":
                while stream.more():
                    pass
                assert not stream.ended_cleanly
            else:
                with pytest.raises(ConnectionResetError):
                    while stream.socket.recv(65536):
                        pass


def test_a_reader_that_stops_costs_no_queue_and_is_cut(channel: str) -> None:
    with Server("--slow-client-timeout", "0.5", "--heartbeat", "0.3", "--history-bytes", "1MiB") as server:
        slow, quick = EventStream(server, path_of(channel)), EventStream(server, path_of(channel))
        text = "x" * 200_000
        before = server.resident_bytes()
        for _ in range(100):
            publish(server, channel, text)
            assert quick.next_event().data == text
        assert server.resident_bytes() - before < 100 << 20
        wait_until(lambda: subscribers(server, channel)["sse"] == 1)
        slow.close()
        quick.close()
