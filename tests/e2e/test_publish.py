# SPDX-License-Identifier: MIT
"""Publishing one message, a batch, and with an idempotency key."""

import base64
import json
import pathlib
import re
import time

import pytest
from support.client import Connection, EventStream, get, path_of, publish, request, request_bytes
from support.server import Server, wait_until

ID = re.compile(r"^[0-9a-hjkmnp-tv-z]{12}-\d+$")


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_publish_answers_id_time_and_location(server: Server, channel: str, method: str) -> None:
    response = request(server, method, path_of(channel), "hello", Content_Type="text/plain")
    assert response.status == 201
    assert response.json["channel"] == channel
    assert ID.match(response.json["id"])
    assert abs(response.json["time"] - time.time() * 1000) < 60_000
    epoch = response.json["id"].split("-")[0]
    assert response.header("Location") == f"/channels/{channel}?since={epoch}-0"
    assert get(server, response.header("Location") or "").body == b"hello"


def test_offsets_count_without_gaps(server: Server, channel: str) -> None:
    ids = [publish(server, channel, str(i)) for i in range(20)]
    assert [int(name.split("-")[1]) for name in ids] == list(range(1, 21))
    assert len({name.split("-")[0] for name in ids}) == 1


def test_what_is_published_before_a_request_is_not_new_to_it(server: Server, channel: str) -> None:
    """Also when both are read in the same turn of the loop; the stream keeps the channel attached."""
    with EventStream(server, path_of(channel)) as stream, Connection(server) as connection:
        stream.next_block()
        for i in range(20):
            connection.send(request_bytes("POST", path_of(channel), str(i)) +
                            request_bytes("GET", path_of(channel, wait=0.05)))
            name = connection.read_response().json["id"]
            looked = connection.read_response()
            assert (looked.status, looked.cursor) == (204, name)
            block = stream.next_block()
            assert block and block.id == name


def test_the_memory_broker_has_no_thread() -> None:
    with Server("--shards", "2") as server:
        folder = pathlib.Path(f"/proc/{server.process.pid}/task")

        def names() -> set[str]:
            return {name for task in folder.iterdir() if (name := (task / "comm").read_text().strip()).startswith("sluice-")}

        wait_until(lambda: len(names()) == 2)  # a thread names itself
        assert names() == {"sluice-0", "sluice-1"}


@pytest.mark.parametrize(("content_type", "body", "kind", "data"), [
    ("text/plain", b"caf\xc3\xa9", "text", "café"),
    ("application/x-www-form-urlencoded", b"a=b&c", "text", "a=b&c"),
    ("text/html; charset=utf-8", b"<b>", "text", "<b>"),
    ("application/json", b'{"a": [1,\n2]}', "json", {"a": [1, 2]}),
    ("application/vnd.api+json", b'"x"', "json", "x"),
    ("application/octet-stream", b"\0\xff", "binary", base64.b64encode(b"\0\xff").decode()),
    ("image/png", b"\x89PNG", "binary", base64.b64encode(b"\x89PNG").decode()),
    ("", b"\xff", "binary", base64.b64encode(b"\xff").decode()),
    ("", b"caf\xc3\xa9", "text", "caf\u00e9"),
    ("", b"", "text", ""),
])
def test_content_type_decides_the_type(server: Server, channel: str, content_type: str, body: bytes, kind: str,
                                       data: object) -> None:
    answer = request(server, "POST", path_of(channel), body, Content_Type=content_type)
    assert (answer.status, answer.json["type"]) == (201, kind)
    message = get(server, path_of(channel, last=1), Accept="application/json").json["messages"][0]
    assert (message["type"], message["data"]) == (kind, data)
    raw = get(server, path_of(channel, last=1))
    assert raw.body == body
    if content_type and not content_type.endswith("urlencoded"):
        assert raw.header("Content-Type") == content_type


def test_empty_message_is_a_message(server: Server, channel: str) -> None:
    publish(server, channel, b"")
    response = get(server, path_of(channel, since="earliest"))
    assert (response.status, response.body) == (200, b"")


@pytest.mark.parametrize("as_header", [True, False])
def test_event_and_producer_by_query_and_header(server: Server, channel: str, as_header: bool) -> None:
    headers = {"Sluice_Event": "goal", "Sluice_Producer": "me"} if as_header else {}
    query = {} if as_header else {"event": "goal", "producer": "me"}
    request(server, "POST", path_of(channel, **query), "1:0", Content_Type="text/plain", **headers)
    response = get(server, path_of(channel, last=1))
    assert (response.header("Sluice-Event"), response.header("Sluice-Producer")) == ("goal", "me")
    message = get(server, path_of(channel, last=1), Accept="application/json").json["messages"][0]
    assert (message["event"], message["producer"]) == ("goal", "me")


def test_ttl_ends_the_replay_of_one_message(channel: str) -> None:
    with Server() as server:
        publish(server, channel, "kept")
        first = request(server, "POST", path_of(channel, ttl=1), "gone").json["id"]
        publish(server, channel, "also kept")
        assert ID.match(first)

        def texts() -> list[str]:
            answer = get(server, path_of(channel, since="earliest", wait=0), Accept="application/json").json
            return [message["data"] for message in answer["messages"]]

        assert len(texts()) == 3
        assert wait_until(lambda: texts() == ["kept", "also kept"])


def test_a_ttl_of_any_length_is_long(server: Server, channel: str) -> None:
    overflowing = pow(125, -1, 2**61)  # times 1000 it is 8 in 64 bits
    assert request(server, "POST", path_of(channel, ttl=overflowing), "kept").status == 201
    for _ in range(50):
        publish(server, channel)
    assert get(server, path_of(channel, since="earliest")).body == b"kept"
    assert request(server, "POST", path_of(channel, ttl=2**64), "x").error == "bad-option"


def test_idempotency_key_answers_the_first_id_and_delivers_once(server: Server, channel: str) -> None:
    with EventStream(server, path_of(channel)) as stream:
        first = request(server, "POST", path_of(channel), "one", Content_Type="text/plain", Idempotency_Key="k1")
        again = request(server, "POST", path_of(channel), "one", Content_Type="text/plain", Idempotency_Key="k1")
        other = request(server, "POST", path_of(channel), "two", Content_Type="text/plain", Idempotency_Key="k2")
        assert (first.status, again.status, other.status) == (201, 200, 201)
        assert again.json == {**first.json, "duplicate": True}
        assert [stream.next_event().data for _ in range(2)] == ["one", "two"]
    elsewhere = request(server, "POST", path_of(channel + "/x"), "one", Idempotency_Key="k1")
    assert elsewhere.status == 201


def test_idempotency_key_is_forgotten_after_its_time(channel: str) -> None:
    with Server("--idempotency-time", "0.2") as server:
        publish(server, channel, Idempotency_Key="k")
        wait_until(lambda: request(server, "POST", path_of(channel), "x", Idempotency_Key="k").status == 201)


def test_publishing_keeps_the_connection(server: Server, channel: str) -> None:
    with Connection(server) as connection:
        offsets = [connection.request("POST", path_of(channel), "x").json["id"].split("-")[1] for _ in range(50)]
    assert offsets == [str(i) for i in range(1, 51)]


def test_expect_100_continue_and_a_body_that_comes_later(server: Server, channel: str) -> None:
    with Connection(server) as connection:
        connection.send(f"POST {path_of(channel)} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
                        "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n".encode())
        assert connection.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        connection.send(b"he")
        connection.send(b"llo")
        assert connection.read_response().status == 201
    assert get(server, path_of(channel, last=1)).body == b"hello"


def test_chunked_body(server: Server, channel: str) -> None:
    with Connection(server) as connection:
        connection.send_bytewise(f"POST {path_of(channel)} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                                 "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".encode())
        assert connection.read_response().status == 201
    assert get(server, path_of(channel, last=1)).body == b"abcde"


def test_large_message_comes_back_whole(channel: str) -> None:
    with Server("--message-size", "20MiB", "--history-bytes", "64MiB") as server:
        data = bytes(range(256)) * (16 << 12)
        publish(server, channel, data, Content_Type="application/octet-stream")
        assert get(server, path_of(channel, last=1)).body == data


@pytest.mark.parametrize("event", ["reset", "error", "open", "subscribed", "expired"])
def test_events_that_are_the_server_or_the_browsers_own_are_refused(server: Server, channel: str, event: str) -> None:
    refused = request(server, "POST", path_of(channel, event=event), "x", Content_Type="text/plain")
    assert (refused.status, refused.error) == (400, "bad-option") and f"event {event} " in refused.json["message"]
    batch = json.dumps([{"channel": channel, "data": "x", "event": event}])
    assert [result["error"] for result in request(server, "POST", "/channels", batch).json] == ["bad-option"]
    assert publish(server, channel, "x", Sluice_Event=event + "s").endswith("-1")


def test_a_content_type_without_a_value_is_none(server: Server, channel: str) -> None:
    with Connection(server) as connection:
        connection.send(f"POST {path_of(channel)} HTTP/1.1\r\nHost: localhost\r\nContent-Type:\r\nContent-Length: 2\r\n\r\nhi".encode())
        assert connection.read_response().json["type"] == "text"
    assert get(server, path_of(channel, last=1)).header("Content-Type") == "text/plain; charset=utf-8"


@pytest.mark.parametrize("target", ["/channels/NAME", "/channels"])
def test_a_form_in_parts_is_told_what_to_send(server: Server, channel: str, target: str) -> None:
    refused = request(server, "POST", target.replace("NAME", channel), "--x\r\n\r\n1\r\n--x--",
                      Content_Type="Multipart/Form-Data; boundary=x")
    assert (refused.status, refused.error) == (415, "unsupported-media-type")
    assert "--data-binary" in refused.json["message"]
    assert publish(server, channel, "--x", Content_Type="multipart/mixed; boundary=x")


@pytest.mark.parametrize(("query", "shown"), [
    ("evnet=goal", "'evnet'"), ("event=goal&since=earliest", "'since'"), ("Event=goal", "'Event'"), ("even=x", "'even'"),
    ("first=1&second=2", "'first'"), ("x", "'x'"),
    ("%ff=1", "'...'"), ("n" * 65 + "=1", "'...'"), ("n" * 64, "'nnn"),
])
def test_an_unknown_query_parameter_is_refused_with_those_there_are(server: Server, channel: str, query: str,
                                                                   shown: str) -> None:
    refused = request(server, "POST", f"{path_of(channel)}?{query}", "x")
    assert (refused.status, refused.error) == (400, "bad-option") and shown in refused.json["message"]
    assert refused.json["message"].endswith("takes event, ttl, producer, idempotency_key, key, store, token")
    assert get(server, f"/api/channels/{channel}").status == 404
    assert request(server, "POST", f"{path_of(channel)}?&", "x").status == 201


def test_a_batch_takes_no_query_parameters(server: Server, channel: str) -> None:
    body = json.dumps([{"channel": channel, "data": "x"}])
    refused = request(server, "POST", "/channels?event=goal", body)
    assert (refused.status, refused.error) == (400, "bad-option") and refused.json["message"].endswith("takes token")
    assert request(server, "POST", "/channels?", body).json[0]["type"] == "text"


def test_posting_to_receive_is_told_to_get(server: Server, channel: str) -> None:
    refused = request(server, "POST", path_of(channel), "", Accept="text/event-stream")
    assert (refused.status, refused.error) == (406, "not-acceptable") and "GET" in refused.json["message"]
    for body, headers in (("x", {}), ("", {"Content_Type": "text/plain"})):
        assert request(server, "POST", path_of(channel), body, Accept="text/event-stream", **headers).status == 201
    assert request(server, "POST", path_of(channel), "", Accept="*/*").status == 201
