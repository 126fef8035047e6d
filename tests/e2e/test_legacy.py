# SPDX-License-Identifier: MIT
"""The old streams on channels: XMLHttpRequest at readyState 3, multipart, the forever iframe, JSONP."""

import base64
import contextlib
import json
import random
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from support.client import Connection, get, path_of, publish, request, request_bytes, subscribers
from support.follow import join_all, run_all
from support.legacy import (BOUNDARY, CALLBACK, STREAMS, HtmlStream, PartStream, XhrStream, call, jsonp, read_call,
                            with_query)
from support.redis import RedisServer, await_ready, metric
from support.server import Server, wait_until

LEGACY = ("--legacy", "yes")
TYPES = {"xhr": "text/plain; charset=utf-8", "multipart": f"multipart/x-mixed-replace; boundary={BOUNDARY[2:-2].decode()}",
         "htmlfile": "text/html; charset=utf-8", "jsonp": "text/javascript; charset=utf-8"}
HOSTILE = [
    "</script><script>parent.take(0)</script>", "<!--<script>", "<!--", "]]></SCRIPT >", "\u2028\u2029", "';alert(1)//", '");alert(1)//',
    "\\", "\r\n\r\n--x\r\n", "a\nb\rc", "\ufeff\x7f\x1b\x00", "<\\/", "é€🐇", "", " " * 5, BOUNDARY.decode(), f"\r\n{BOUNDARY.decode()}Sluice-Id: x",
    BOUNDARY.decode()[2:-2] + "--",
]
HOSTILE_JSON = [
    '{"__proto__":{"a":1}}', '{"__proto__":1,"__proto__":"</script>"}', '{"\\u005f\\u005fproto__":[1],"<!--":"\\u2028\u2028"}',
    '"</script>"', "1e999999", "-0.10", '["\\ud83d\\ude00",\n"<"]', "[" * 500 + "]" * 500,
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(*LEGACY) as running:
        yield running


def numbers(stream: Any, count: int) -> list[str]:
    return [stream.next_object()["data"] for _ in range(count)]


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_opens_with_a_cursor_and_goes_on_with_messages(server: Server, channel: str, kind: str) -> None:
    before = publish(server, channel)
    with STREAMS[kind](server, path_of(channel)) as stream:
        assert stream.response.status == 200
        assert stream.response.header("Content-Type") == TYPES[kind]
        assert stream.response.header("Cache-Control") == "no-store, no-transform"
        assert stream.response.header("X-Content-Type-Options") == "nosniff"
        assert stream.response.header("X-Accel-Buffering") == "no"
        assert stream.next_object() == {"cursor": before, "recovered": False}
        wait_until(lambda: subscribers(server, channel) == {**subscribers(server, channel), "total": 1, "legacy": 1})
        name = request(server, "POST", path_of(channel, event="goal", producer="é"), "1:0", Content_Type="text/plain").json["id"]
        message = stream.next_object()
        assert message.pop("time") > 1_600_000_000_000
        if kind == "multipart":
            message["producer"] = message["producer"].encode().decode()
        assert message == {"cursor": name, "channel": channel, "id": name, "event": "goal", "producer": "é", "type": "text", "data": "1:0"}
        publish(server, channel, b"\0\xff", Content_Type="application/octet-stream")
        assert base64.b64decode(stream.next_object()["data"]) == b"\0\xff"
        publish(server, channel, '{"a":\n[1]}', Content_Type="application/json")
        assert stream.next_object()["data"] == {"a": [1]}


def test_xhr_has_two_kilobytes_before_its_first_object(server: Server, channel: str) -> None:
    for padding, expected in ((None, 2048), (100, 2048), (5000, 5000)):
        with XhrStream(server, path_of(channel, padding=padding)) as stream:
            line = stream.until(b"\n") or b""
            assert len(line) - len(line.lstrip(b" ")) == expected and set(json.loads(line)) == {"cursor", "recovered"}


def test_a_page_has_more_padding_where_it_is_asked_for(server: Server, channel: str) -> None:
    for padding, expected in ((None, 1024), (5000, 5000)):
        with HtmlStream(server, path_of(channel, padding=padding)) as stream:
            stream.next_object()
            assert stream.page.count(b" ") - stream.page.strip().count(b" ") == expected
            assert b"document.domain" not in stream.page
            policy = stream.response.header("Content-Security-Policy") or ""
            assert "default-src 'none'" in policy and "frame-ancestors 'self'" in policy


def test_a_part_is_the_message_as_it_was_published(server: Server, channel: str) -> None:
    picture = bytes(range(256)) * 300
    with PartStream(server, path_of(channel)) as stream:
        assert stream.response.header("Content-Security-Policy") == "sandbox; default-src 'none'"
        assert stream.next_object()["recovered"] is False
        for body, mime in ((picture, "image/jpeg"), (b"", "image/png"), (b"<p>", "text/html; charset=utf-8"), (b"[1,\n2]", "application/json")):
            name = publish(server, channel, body, Content_Type=mime)
            raw = get(server, path_of(channel, last=1))
            fields, data = stream.next_part()
            assert (fields["Content-Type"], data, fields["Sluice-Cursor"]) == (mime, body, name)
            for field in ("Content-Length", "Sluice-Id", "Sluice-Time", "Sluice-Channel"):
                assert fields[field] == raw.header(field), field


def test_the_next_boundary_follows_the_data_at_once(server: Server, channel: str) -> None:
    with PartStream(server, path_of(channel)) as stream:
        stream.next_object()
        publish(server, channel, "picture", Content_Type="image/jpeg")
        assert (stream.until(BOUNDARY) or b"").endswith(b"\r\n\r\npicture\r\n"), "a browser shows a part when the next one begins"


def test_an_img_gets_each_picture_twice_because_chromium_shows_the_one_before(server: Server, channel: str) -> None:
    accept = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
    for others in (0, 1):
        query = {"channel": channel + "/other"} if others else {}
        with Connection(server) as connection:
            connection.send(request_bytes("GET", path_of(channel, transport="multipart", **query), Accept=accept))
            assert connection.read_head().status == 200
            connection.read_until(b"Sluice-Recovered: false\r\n")
            name = publish(server, channel, "JPEG", Content_Type="image/jpeg")
            publish(server, channel, "text")
            parts = [connection.read_until(BOUNDARY) for _ in range(3)]
            assert [part.split(b"\r\n\r\n")[1].split(b"\r\n")[0] for part in parts] == [b"JPEG", b"JPEG", b"text"]
            assert all(f"Sluice-Id: {name}\r\n".encode() in part for part in parts[:2])
            assert [part.count(b"Sluice-Cursor: ") for part in parts] == [1, 0, 1]


@pytest.mark.parametrize("kind", STREAMS)
def test_hostile_messages_are_data(server: Server, channel: str, kind: str) -> None:
    with STREAMS[kind](server, path_of(channel)) as stream:
        stream.next_object()
        for text in HOSTILE:
            publish(server, channel, text)
            assert stream.next_object()["data"] == text
        for text in HOSTILE_JSON:
            publish(server, channel, text, Content_Type="application/json")
            assert stream.next_object()["data"] == json.loads(text)
        for mime in ("image/jpeg\x80", "image/" + "x" * 240, f"image/x; a=\"{BOUNDARY.decode().strip()}\""):
            publish(server, channel, b"\xff", Content_Type=mime)
            assert stream.next_object()["data"] == "/w=="


@pytest.mark.parametrize("kind", STREAMS)
def test_hostile_attributes_are_data(server: Server, channel: str, kind: str) -> None:
    with STREAMS[kind](server, path_of(channel)) as stream:
        stream.next_object()
        for text in ("</script><!--", "\u2028", '"\\', BOUNDARY.decode().strip(), "__proto__"):
            request(server, "POST", path_of(channel, event=text, producer=text), "x", Content_Type="text/plain")
            message = stream.next_object()
            assert (message["event"], message["producer"], message["data"]) == (text, text, "x")


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_resume_by_since_and_say_what_is_gone(channel: str, kind: str) -> None:
    with Server(*LEGACY, "--history-size", "3") as server:
        with STREAMS[kind](server, path_of(channel)) as stream:
            begun = stream.next_object()["cursor"]
        names = [publish(server, channel, str(i)) for i in range(3)]
        with STREAMS[kind](server, path_of(channel, since=begun)) as stream:
            assert stream.next_object() == {"cursor": begun, "recovered": True}
            assert [stream.next_object()["cursor"] for _ in names] == names
        names += [publish(server, channel, str(i)) for i in range(3, 200)]
        wait_until(lambda: get(server, path_of(channel, since=begun, wait=0)).reset)
        with STREAMS[kind](server, path_of(channel, since=names[0])) as stream:
            assert stream.next_object()["recovered"] is False
            reset = stream.next_object()
            assert reset["reset"].pop("missed") == 196
            assert reset == {"cursor": names[196], "reset": {"channel": channel, "reason": "trimmed", "cursor": names[196]}}
            assert [stream.next_object()["id"] for _ in range(3)] == names[-3:]
            request(server, "DELETE", f"/api/channels/{channel}")
            assert stream.next_object()["reset"]["reason"] == "purged"
            publish(server, channel, "new")
            assert stream.next_object()["data"] == "new"


@pytest.mark.parametrize("kind", STREAMS)
def test_a_joined_cursor_resumes_several_channels(server: Server, channel: str, kind: str) -> None:
    other = channel + "/other"
    with STREAMS[kind](server, path_of(channel, channel=other)) as stream:
        stream.next_object()
        publish(server, other, "1")
        publish(server, channel, "2")
        first = stream.next_object()
        second = stream.next_object()
        assert {(first["channel"], first["data"]), (second["channel"], second["data"])} == {(other, "1"), (channel, "2")}
        assert second["cursor"].count(".") == 1
    publish(server, other, "3")
    with STREAMS[kind](server, path_of(channel, channel=other, since=second["cursor"])) as stream:
        assert stream.next_object()["recovered"] is True
        assert stream.next_object()["data"] == "3"


@pytest.mark.parametrize("kind", STREAMS)
def test_heartbeats_come_when_nothing_else_does(channel: str, kind: str) -> None:
    with Server(*LEGACY, "--heartbeat", "0.3") as server, STREAMS[kind](server, path_of(channel)) as stream:
        stream.next_object()
        for _ in range(2):
            stream.next_heartbeat()
        publish(server, channel, "x")
        assert stream.next_object()["data"] == "x"
        if kind != "multipart":
            with STREAMS[kind](server, path_of(channel, heartbeat="json")) as objects:
                objects.next_object()
                assert objects.next_object()["heartbeat"] > 1_600_000_000_000


@pytest.mark.parametrize("kind", STREAMS)
def test_http10_streams_are_delimited_by_the_close(server: Server, channel: str, kind: str) -> None:
    with STREAMS[kind](server, path_of(channel), version="HTTP/1.0") as stream:
        assert stream.response.header("Transfer-Encoding") is None
        stream.next_object()
        publish(server, channel, "x")
        assert stream.next_object()["data"] == "x"


@pytest.mark.parametrize("kind", [*STREAMS, "jsonp"])
def test_head_says_the_type(server: Server, channel: str, kind: str) -> None:
    with Connection(server) as connection:
        for _ in range(2):
            response = connection.request("HEAD", path_of(channel, transport=kind, callback=CALLBACK))
            assert (response.status, response.header("Content-Type")) == (200, TYPES[kind])
        assert connection.request("GET", "/healthz").status == 200


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_many_messages_at_once_are_the_same_to_every_kind_of_stream(channel: str, version: str) -> None:
    with Server(*LEGACY, "--shards", "1") as server, contextlib.ExitStack() as stack:
        streams = [stack.enter_context(kind(server, path_of(channel), version=version)) for kind in STREAMS.values() for _ in range(3)]
        for stream in streams:
            stream.next_object()
        batch = "".join(json.dumps({"channel": channel, "data": str(i)}) + "\n" for i in range(500))
        request(server, "POST", "/channels", batch, Content_Type="application/x-ndjson")
        for stream in streams:
            assert numbers(stream, 500) == [str(i) for i in range(500)]


@pytest.mark.parametrize("kind", STREAMS)
def test_large_messages_reach_a_slow_reader_in_pieces(channel: str, kind: str) -> None:
    texts = ["é" * 2_500_000, "</" * 1_000_000, "0123456789" * 1_000_000]
    with Server(*LEGACY, "--message-size", "16MiB", "--history-bytes", "64MiB") as server, STREAMS[kind](server, path_of(channel)) as stream:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
        stream.next_object()
        for text in texts:
            publish(server, channel, text)
        assert numbers(stream, len(texts)) == texts


@pytest.mark.parametrize("kind", STREAMS)
def test_a_drain_ends_the_stream_cleanly_and_the_cursor_goes_on(channel: str, kind: str) -> None:
    with RedisServer() as redis:
        with Server(*LEGACY, "--broker", redis.url()) as server:
            await_ready(server)
            with STREAMS[kind](server, path_of(channel)) as stream:
                cursor = stream.next_object()["cursor"]
                server.process.send_signal(signal.SIGTERM)
                while stream.more():
                    pass
                assert stream.ended_cleanly and b'"error":"stopping"' in stream.text
        with Server(*LEGACY, "--broker", redis.url()) as server:
            await_ready(server)
            name = publish(server, channel, "meanwhile")
            with STREAMS[kind](server, path_of(channel, since=cursor)) as stream:
                assert stream.next_object() == {"cursor": cursor, "recovered": True}
                assert stream.next_object()["id"] == name


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_waits_for_the_broker_with_heartbeats(channel: str, kind: str) -> None:
    with RedisServer() as redis, Server(*LEGACY, "--broker", redis.url(), "--heartbeat", "0.2") as server:
        await_ready(server)
        redis.kill()
        wait_until(lambda: get(server, "/readyz").status == 503)
        with STREAMS[kind](server, path_of(channel, heartbeat="json")) as stream:
            while stream.text.count(b"\n") < 2:
                assert stream.more()
            assert kind == "xhr" or not stream.text.strip(), "what means nothing before a page or a first part is white space"
            redis.start()
            await_ready(server)
            while "cursor" not in (first := stream.next_object()):
                pass
            assert first["recovered"] is False
            publish(server, channel, "back")
            assert stream.next_object()["data"] == "back"


# JSONP.


def test_jsonp_waits_for_the_next_message_and_goes_on_with_its_cursor(server: Server, channel: str) -> None:
    with Connection(server) as connection:
        empty = call(connection, path_of(channel, wait=0))
        assert empty["messages"] == [] and empty["cursor"].endswith("-0") and set(empty) == {"messages", "cursor"}
        connection.send(request_bytes("GET", with_query(path_of(channel, since=empty["cursor"]), transport="jsonp", callback="cb")))
        wait_until(lambda: subscribers(server, channel)["legacy"] == 1)
        name = publish(server, channel, "x")
        answer = read_call(connection.read_response(), "cb")
        assert answer["cursor"] == name and [(message["id"], message["data"]) for message in answer["messages"]] == [(name, "x")]
        more = [publish(server, channel, str(i)) for i in range(3)]
        answer = call(connection, path_of(channel, since=name))
        assert [message["id"] for message in answer["messages"]] == more
        expected = get(server, path_of(channel, since=name), Accept="application/json").json
        assert answer == expected


def test_jsonp_carries_whatever_is_published(server: Server, channel: str) -> None:
    for text in HOSTILE:
        publish(server, channel, text)
    for text in HOSTILE_JSON:
        publish(server, channel, text, Content_Type="application/json")
    publish(server, channel, b"\xff", Content_Type="image/png")
    messages = jsonp(server, path_of(channel, since="earliest"))["messages"]
    assert [message["data"] for message in messages] == [*HOSTILE, *map(json.loads, HOSTILE_JSON), "/w=="]


def test_jsonp_answers_are_not_those_of_other_polls(channel: str) -> None:
    with Server(*LEGACY, "--shards", "1") as server, contextlib.ExitStack() as stack:
        polls = [stack.enter_context(Connection(server)) for _ in range(12)]
        for i, poll in enumerate(polls):
            transport = ("json", "jsonp", "poll")[i % 3]
            poll.send(request_bytes("GET", path_of(channel, transport=transport, callback=f"cb{i}")))
        wait_until(lambda: subscribers(server, channel)["total"] == len(polls))
        name = publish(server, channel, "x")
        for i, poll in enumerate(polls):
            response = poll.read_response()
            if i % 3 == 1:
                assert read_call(response, f"cb{i}")["cursor"] == name
            elif i % 3 == 0:
                assert response.header("Content-Type") == "application/json" and response.json["cursor"] == name
            else:
                assert response.body == b"x"


def test_a_jsonp_batch_is_bounded_and_leads_on(channel: str) -> None:
    with Server(*LEGACY, "--history-bytes", "64MiB") as server:
        texts = [f"{i}" + "</" * 150_000 for i in range(8)]
        for text in texts:
            publish(server, channel, text)
        seen, cursor, answers = [], "earliest", 0
        while len(seen) < len(texts):
            answer = jsonp(server, path_of(channel, since=cursor))
            seen += [message["data"] for message in answer["messages"]]
            cursor, answers = answer["cursor"], answers + 1
        assert seen == texts and answers > 2


def test_jsonp_says_what_is_gone(channel: str) -> None:
    with Server(*LEGACY) as server:
        name = publish(server, channel, "old")
        request(server, "DELETE", f"/api/channels/{channel}")
        answer = jsonp(server, path_of(channel, since=name))
        assert answer["messages"] == [] and [reset["channel"] for reset in answer["reset"]] == [channel]
        publish(server, channel, "new")
        assert [message["data"] for message in jsonp(server, path_of(channel, since=answer["cursor"]))["messages"]] == ["new"]


def test_errors_reach_who_reads_only_scripts(server: Server, channel: str) -> None:
    before = metric(server, "request_errors_total")
    for target, error in ((path_of(channel, since="x"), "bad-cursor"), (path_of("a b"), "bad-channel"), (path_of(channel, wait="x"), "bad-option"),
                          (path_of(channel) + "".join(f"?channel={i}" if i == 0 else f"&channel={i}" for i in range(65)), "too-many-channels")):
        answer = jsonp(server, target)
        assert set(answer) == {"error", "message"} and answer["error"] == error
        with HtmlStream(server, target) as stream:
            assert stream.response.status == 200 and stream.response.header("Content-Type") == TYPES["htmlfile"]
            stream.response.body = stream.read_exactly(int(stream.response.header("Content-Length") or 0))
            stream.text = stream.response.body
            assert stream.next_object()["error"] == error and stream.text == b""
    assert metric(server, "request_errors_total") == before + 8


def test_a_broker_that_is_away_is_told_to_who_reads_only_scripts(channel: str) -> None:
    with RedisServer() as redis, Server(*LEGACY, "--broker", redis.url()) as server:
        await_ready(server)
        redis.kill()
        wait_until(lambda: get(server, "/readyz").status == 503)
        assert jsonp(server, path_of(channel, wait=0))["error"] == "broker-down"


def test_a_limit_is_a_503_to_a_script_tag_too(channel: str) -> None:
    with Server(*LEGACY, "--max-connections", "1") as server, XhrStream(server, path_of(channel)) as stream:
        stream.next_object()
        for kind in TYPES:
            response = get(server, path_of(channel, transport=kind, callback=CALLBACK))
            assert response.status == 503 and response.error == "too-many-connections" and response.header("Retry-After")


@pytest.mark.parametrize("is_known", [False, True])
def test_a_drain_answers_the_polls_that_wait(channel: str, is_known: bool) -> None:
    server = Server(*LEGACY).start()
    with Connection(server) as connection:
        if is_known:
            publish(server, channel)
        connection.send(request_bytes("GET", with_query(path_of(channel), transport="jsonp", callback="cb")))
        wait_until(lambda: subscribers(server, channel)["legacy"] == 1)
        server.process.send_signal(signal.SIGTERM)
        answer = read_call(connection.read_response(), "cb")
        assert answer["messages"] == [] and answer["cursor"].endswith("-1" if is_known else "-0")
    server.stop()
    server.folder.cleanup()


# Who may use them.

CALLBACKS = ["", "a b", "alert(1)", "a;b", "a<b", "a/b", "a\nb", "a-b", "a[0]", "é", "x" * 33, "a%00", "`", "a=b", "</script>", "a,b", "\u2028"]


@pytest.mark.parametrize("kind", ["jsonp", "htmlfile"])
def test_hostile_callbacks_are_refused_and_never_repeated(server: Server, channel: str, kind: str) -> None:
    assert get(server, path_of(channel, transport=kind)).error == "bad-option"
    for callback in CALLBACKS:
        response = get(server, path_of(channel, transport=kind, callback=callback))
        assert response.status == 400 and response.error == "bad-option" and "callback" in response.json["message"], callback
        assert len(callback) < 2 or callback.encode() not in response.body
    raw = get(server, f"{path_of(channel)}?transport={kind}&callback=a%00b")
    assert raw.status == 400


@pytest.mark.parametrize("callback", ["a", "_", "x" * 32, "Page.take_1", "parent.parent.x", "0", "a..b"])
def test_callbacks_of_the_alphabet_are_taken(server: Server, channel: str, callback: str) -> None:
    assert jsonp(server, path_of(channel, wait=0), callback)["messages"] == []


@pytest.mark.parametrize("kind", ["jsonp", "htmlfile"])
def test_scripts_are_off_unless_the_option_says_otherwise(channel: str, kind: str) -> None:
    with Server() as server:
        for callback in ("cb", "", "a b"):
            response = get(server, path_of(channel, transport=kind, callback=callback))
            assert response.status == 406 and response.error == "not-acceptable"
            assert "legacy = yes" in response.json["message"] and kind in response.json["message"]
        assert request(server, "HEAD", path_of(channel, transport=kind, callback="cb")).status == 406
        for other in (XhrStream, PartStream):
            with other(server, path_of(channel)) as stream:
                stream.next_object()


def test_all_words_are_listed_where_none_fits(server: Server, channel: str) -> None:
    message = get(server, path_of(channel, transport="pigeon")).json["message"]
    assert all(word in message for word in TYPES)


def test_the_callback_of_others_means_nothing(server: Server, channel: str) -> None:
    with XhrStream(server, path_of(channel, callback="</script>")) as stream:
        stream.next_object()
    publish(server, channel, "x")
    assert get(server, path_of(channel, last=1, callback="a b")).body == b"x"


def follow_with_cuts(server: Server, channels: list[str], since: str, rng: random.Random, seen: dict[str, list[str]], count: int) -> None:
    """Over one kind after another; each connection is left after some objects, in the middle of whatever comes."""
    cursor = since
    while any(len(data) < count for data in seen.values()):
        kind = rng.choice([*STREAMS, "jsonp"])
        target = path_of(channels[0], channel=channels[1], since=cursor)
        if kind == "jsonp":
            answer = jsonp(server, with_query(target, wait=1))
            objects, cursor = answer["messages"], answer["cursor"]
        else:
            with STREAMS[kind](server, target, version=rng.choice(["HTTP/1.0", "HTTP/1.1"])) as stream:
                begun = stream.next_object()
                assert begun["recovered"] is True
                objects = []
                for _ in range(rng.randrange(20)):
                    if all(len(data) + sum(told["channel"] == name for told in objects) >= count for name, data in seen.items()):
                        break
                    objects.append(stream.next_object())
                cursor = objects[-1]["cursor"] if objects else begun["cursor"]
        for told in objects:
            seen[told["channel"]].append(told["data"])


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_missed_or_doubled_from_one_stream_to_another(seed: int, channel: str) -> None:
    count, channels = 200, [channel, channel + "/other"]
    with Server(*LEGACY, "--history-size", "10000") as server:
        begun = get(server, path_of(channels[0], channel=channels[1], wait=0)).cursor
        logs: list[dict[str, list[str]]] = [{name: [] for name in channels} for _ in range(4)]
        jobs = [lambda log=log, i=i: follow_with_cuts(server, channels, begun, random.Random(f"{seed} {i}"), log, count)
                for i, log in enumerate(logs)]
        threads = run_all([*jobs, *(lambda name=name: [publish(server, name, str(i)) for i in range(count)] for name in channels)])
        join_all(threads)
    expected = [str(i) for i in range(count)]
    assert all(log == {name: expected for name in channels} for log in logs)
