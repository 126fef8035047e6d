# SPDX-License-Identifier: MIT
"""SockJS sessions beyond the protocol's own suite: how long they live, what they keep, what they refuse, how they end."""

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from support.client import Connection, path_of, publish, subscribers
from support.redis import metric
from support.server import PATIENCE, Server, wait_until
from support.sockjs import FORM, GO_AWAY, Session, held_poll, messages_of, streaming
from support.sockjs_commands import TRANSPORTS, Commands
from support.websocket import WebSocket

SERVICE = "/chat"
OPTIONS = ("--sockjs", f"{SERVICE} legacy=yes response-limit=4096", "--sockjs", "/echo app=echo legacy=yes response-limit=4096")


@pytest.fixture(scope="module")
def chat() -> Iterator[Server]:
    with Server(*OPTIONS) as running:
        yield running


# Their life.

@dataclass
class Aged:
    """Sessions that nobody has received from for so long that they ended, and one that was fetched from all the time."""

    server: Server
    kept: Session
    left: Session
    sent_to: Session
    closed: Session
    seconds: float
    most: float  # sessions that were counted at once


@pytest.fixture(scope="module")
def aged() -> Iterator[Aged]:
    with (Server(*OPTIONS, "--sockjs", "/close app=close") as server, WebSocket(server, "/echo/0/0/websocket") as websocket,
          WebSocket(server, "/echo/websocket")):
        def count() -> float:
            return metric(server, "sockjs_sessions")

        assert websocket.take() == "o"
        begun = time.monotonic()
        kept, left, sent_to = (Session(server).open() for _ in range(3))
        closed = Session(server, "/close")
        assert [closed.poll().decode(), closed.poll().decode()] == ["o\n", f"{GO_AWAY}\n"]
        most = count()
        while count() > most - 3:
            sent_to.post("xhr_send", '["x"]')
            kept.put("x")
            assert kept.take_messages() == ["x"]
            assert time.monotonic() < begun + PATIENCE, "they do not end"
            time.sleep(0.05)  # the pace of the client
        yield Aged(server, kept, left, sent_to, closed, time.monotonic() - begun, most)


def test_a_session_that_nobody_receives_from_ends_after_five_seconds(aged: Aged) -> None:
    assert 4.5 < aged.seconds < 15
    assert aged.left.post("xhr_send", '["x"]').status == 404
    assert aged.left.poll() == b"o\n", "a new one is opened"


def test_what_is_sent_does_not_keep_a_session_alive(aged: Aged) -> None:
    assert aged.sent_to.post("xhr_send", '["x"]').status == 404


def test_what_is_received_keeps_a_session_alive(aged: Aged) -> None:
    aged.kept.put("still here")
    assert aged.kept.take_messages() == ["still here"]


def test_a_closed_session_is_forgotten_too(aged: Aged) -> None:
    assert aged.closed.poll() == b"o\n"


def test_sessions_are_counted_those_of_websockets_too(aged: Aged) -> None:
    assert aged.most == 6


@pytest.mark.parametrize("transport", ["xhr", "xhr_streaming", "eventsource", "htmlfile", "jsonp"])
def test_heartbeats(transport: str) -> None:
    with Server("--sockjs", "/echo app=echo legacy=yes", "--heartbeat", "200ms", "--poll-wait", "200ms") as server:
        session = Session(server).open()
        if transport == "xhr":
            assert [session.poll(), session.poll()] == [b"h\n", b"h\n"]
        elif transport == "jsonp":
            assert session.jsonp() == b'/**/x("h");\r\n'
        else:
            with streaming(session, transport) as stream:
                assert [stream.frame(), stream.frame(), stream.frame()] == ["h", "h", "h"]
                session.put("x")
                while (frame := stream.frame()) == "h":
                    pass
                assert frame == 'a["x"]'


# What they keep.

@pytest.mark.parametrize("transport", ["xhr", "jsonp", "xhr_streaming"])
def test_what_is_published_while_nobody_receives_is_a_cursor_and_no_queue(transport: str, channel: str) -> None:
    with Server("--sockjs", f"{SERVICE} legacy=yes disconnect-delay=60s", "--history-size", "1000", "--shards", "1") as server:
        clients = [Commands(server, "xhr", SERVICE) for _ in range(50)]
        for client in clients:
            assert client.ask("subscribe", channels=[channel])["op"] == "subscribed"
        publish(server, channel, "x" * 10_000)
        for client in clients:
            assert client.take()["op"] == "message"
        before = server.resident_bytes()
        for number in range(200):
            publish(server, channel, f"{number} {'x' * 10_000}")
        assert server.resident_bytes() - before < 40_000_000, "each session has kept a copy"
        for client in clients[:5]:
            client.transport = transport
            said = [client.take() for _ in range(200)]
            assert [each["data"].split(" ")[0] for each in said] == [str(number) for number in range(200)]
            client.cut()


def test_what_was_trimmed_meanwhile_is_told(channel: str) -> None:
    with Server("--sockjs", SERVICE, "--history-size", "10") as server:
        client = Commands(server, "xhr", SERVICE)
        client.ask("subscribe", channels=[channel])
        for number in range(100):
            publish(server, channel, str(number))
        said = client.take()
        assert (said["op"], said["channel"], said["reason"], said["missed"]) == ("reset", channel, "trimmed", 90)
        assert [client.take()["data"] for _ in range(10)] == [str(number) for number in range(90, 100)]


@pytest.mark.parametrize("service", [SERVICE, "/echo"])
def test_whoever_fetches_no_answers_is_not_listened_to(chat: Server, service: str) -> None:
    session = Session(chat, service).open()
    text = json.dumps({"op": "ping", "ref": "r" * 60})
    taken = 0
    while (response := session.post("xhr_send", json.dumps([text] * 10))).status == 204:
        taken += 10
        assert taken < 1000, "everything is kept"
    assert response.status == 503 and response.error == "session-full", response
    got = 0
    while got < taken:
        got += len(session.take_messages())
    session.put(text)
    assert len(session.take_messages()) == 1


# Other ends.

@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_stops_closes_sessions(channel: str, transport: str) -> None:
    with Server(*OPTIONS, "--drain-time", "1") as server:
        client = Commands(server, transport, SERVICE)
        client.ask("subscribe", channels=[channel])
        if transport in ("xhr", "jsonp"):
            with held_poll(client.session, transport) as holder:
                server.process.send_signal(signal.SIGTERM)
                assert b"c[1012," in holder.read_response().body
        else:
            server.process.send_signal(signal.SIGTERM)
            if transport in ("raw", "websocket"):
                assert isinstance(client.receiver, WebSocket)
                assert client.receiver.take_close()[0] == 1012
            else:
                assert client.frame().startswith("c[1012,")


def test_a_purge_is_told(chat: Server, channel: str) -> None:
    with Commands(chat, "xhr_streaming", SERVICE) as client:
        client.ask("subscribe", channels=[channel])
        publish(chat, channel, "x")
        assert client.take()["data"] == "x"
        with Connection(chat) as connection:
            assert connection.request("DELETE", f"/api{path_of(channel)}").status in (200, 204)
        assert (client.take()["reason"]) == "purged"


def test_a_session_that_ends_leaves_its_channels(chat: Server, channel: str) -> None:
    clients = [Commands(chat, transport, SERVICE) for transport in TRANSPORTS]
    for client in clients:
        client.ask("subscribe", channels=[channel])
    assert subscribers(chat, channel)["total"] == len(TRANSPORTS)
    for client in clients:
        client.cut()
    wait_until(lambda: subscribers(chat, channel)["total"] == 0, what="all leaving")


# Bad input.

@pytest.mark.parametrize("body", ["{}", "1", "null", "true", '{"a":["b"]}'])
def test_what_is_sent_must_be_an_array(chat: Server, body: str) -> None:
    session = Session(chat, "/echo").open()
    for transport, text, name in (("xhr_send", body, "text/plain"), ("jsonp_send", f"d={body}", FORM)):
        response = session.post(transport, text, Content_Type=name)
        assert response.status == 500 and response.body, response
    session.put("a")
    assert session.poll() == b'a["a"]\n'


@pytest.mark.parametrize("body", ["[1]", "[null]", "[[]]", '[{"a":1}]', '["a",1]', "[true]"])
def test_messages_are_strings(chat: Server, body: str) -> None:
    """sockjs-node hands on whatever JSON holds; no client sends anything but strings."""
    session = Session(chat, "/echo").open()
    response = session.post("xhr_send", body)
    assert response.status == 500 and response.body, response
    session.put("b")
    assert session.poll() == b'a["b"]\n'
    with WebSocket(chat, "/echo/0/0/websocket") as websocket:
        assert websocket.take() == "o"
        websocket.put_text(body)
        assert websocket.take_close() == (1002, "Broken JSON encoding.")


def test_one_string_is_a_message_too(chat: Server) -> None:
    session = Session(chat, "/echo").open()
    assert session.post("xhr_send", '"a"').status == 204
    assert session.poll() == b'a["a"]\n'


def test_an_empty_array_is_nothing(chat: Server) -> None:
    session = Session(chat, "/echo").open()
    session.put()
    session.put("a")
    assert session.poll() == b'a["a"]\n'


def test_lone_surrogates(chat: Server) -> None:
    """They are no Unicode; where a server cannot keep them, it says so."""
    session = Session(chat, "/echo").open()
    response = session.post("xhr_send", '["\\ud800"]')
    if response.status == 204:
        assert session.poll() in (b'a["\\ud800"]\n', b'a["\xef\xbf\xbd"]\n', b'a["\\ufffd"]\n')
    else:
        assert response.status == 500 and b"Broken JSON encoding." in response.body


def test_a_body_that_is_too_large_is_refused(chat: Server) -> None:
    with Server("--sockjs", "/echo app=echo", "--message-size", "1000", "--batch-size", "5000") as server:
        session = Session(server, "/echo").open()
        response = session.post("xhr_send", json.dumps(["x" * 10_000]))
        assert response.status == 413, response
        session.put("a")
        assert session.poll() == b'a["a"]\n'


@pytest.mark.parametrize("depth", [100, 100_000])
def test_deep_json_is_refused(chat: Server, depth: int) -> None:
    session = Session(chat, "/echo").open()
    assert session.post("xhr_send", "[" * depth + "]" * depth).status in (413, 500)
    session.put("a")
    assert session.poll() == b'a["a"]\n'


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_wrong_command_is_answered_and_the_session_goes_on(chat: Server, transport: str) -> None:
    with Commands(chat, transport, SERVICE) as client:
        for command in ({"op": "no-such"}, {"op": "subscribe"}, {"op": "ping", "what": 1}, {}):
            client.put_text(json.dumps(command))
            said = client.take()
            assert said["op"] == "error" and said["code"] and said["message"], said
        assert client.ask("ping", ref="asked") == {"op": "pong", "ref": "asked"}


def test_names_that_are_too_long_are_refused(chat: Server) -> None:
    assert Session(chat, "/echo", name="x" * 255).post("xhr").status == 200
    for size in (256, 5000):
        assert Session(chat, "/echo", name="x" * size).post("xhr").status == 404


def test_pipelined_receivers_get_one_frame_each(chat: Server) -> None:
    session = Session(chat, "/echo").open()
    session.put("a")
    with Connection(chat) as connection:
        connection.send(f"POST {session.url}/xhr HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode() * 2)
        assert messages_of(connection.read_response().body.decode()) == ["a"]
        session.put("b")
        assert messages_of(connection.read_response().body.decode()) == ["b"]
