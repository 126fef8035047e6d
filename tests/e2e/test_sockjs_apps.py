# SPDX-License-Identifier: MIT
"""SockJS services: what publishes and feeds, whose pages may, and that a session is found from any connection."""

import json
from collections.abc import Iterator

import pytest
from support.client import Connection, get, path_of, publish, request
from support.redis import NODE_OPTIONS, RedisServer, await_ready
from support.server import Server
from support.sockjs import Session, held_poll, messages_of, streaming
from support.websocket import WebSocket

SERVICES = ("--sockjs", "/sockjs", "--sockjs", "/echo app=echo", "--sockjs", "/chat app=publish:chat feed=chat",
            "--sockjs", "/news app=echo feed=news", "--heartbeat", "400ms", "--shards", "2")
FOREIGN = "https://else.example"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(*SERVICES) as running:
        yield running


def take(session: Session, count: int) -> list[str]:
    messages: list[str] = []
    while len(messages) < count:
        messages += session.take_messages()
    return messages


def test_what_is_published_comes_back_by_the_feed(server: Server) -> None:
    session, other = Session(server, "/chat").open(), Session(server, "/chat").open()
    session.put("a", "\u2028é")
    assert take(session, 2) == take(other, 2) == ["a", "\u2028é"]


def test_a_feed_tells_data_of_every_type(server: Server) -> None:
    session = Session(server, "/news").open()
    publish(server, "news", "text")
    publish(server, "news", "{\"a\": [1]}", Content_Type="application/json")
    publish(server, "news", b"\0\xff", Content_Type="application/octet-stream")
    text, value, binary = take(session, 3)
    assert (text, json.loads(value), binary) == ("text", {"a": [1]}, "AP8=")


def test_a_raw_websocket_publishes_and_is_fed(server: Server) -> None:
    with WebSocket(server, "/chat/websocket") as websocket:
        websocket.put_text("text")
        assert websocket.take() == "text"


def test_a_waiting_poll_is_told_after_one_that_found_something(server: Server, channel: str) -> None:
    """Nobody received when the first message came."""
    session = Session(server, "/sockjs").open()
    session.put(json.dumps({"op": "subscribe", "channels": [channel]}))
    assert "subscribed" in session.take_messages()[0]
    publish(server, channel, "first")
    assert "first" in session.take_messages()[0]
    with held_poll(session) as connection:
        publish(server, channel, "second")
        assert "second" in messages_of(connection.read_response().body.decode())[0]


def test_a_session_lives_as_long_as_its_stream(server: Server) -> None:
    session = Session(server, "/echo").open()
    with streaming(session, "xhr_streaming") as stream:
        assert [stream.frame() for _ in range(16)] == ["h"] * 16  # more than five seconds
        session.put("still here")
        while (frame := stream.frame()) == "h":
            pass
        assert frame == 'a["still here"]'


@pytest.mark.parametrize("path", ["/0/a/xhr", "/0/a/xhr_send", "/0/a/xhr_streaming"])
def test_foreign_pages_get_no_session_that_reaches_channels(server: Server, path: str) -> None:
    for service in ("/sockjs", "/chat", "/news"):
        response = request(server, "POST", service + path, '["a"]', Origin=FOREIGN)
        assert (response.status, response.error) == (403, "forbidden-origin")
        assert response.header("Access-Control-Allow-Origin") is None
    response = request(server, "POST", f"/echo/0/{path[5:]}/xhr", b"", Origin=FOREIGN)
    assert (response.status, response.header("Access-Control-Allow-Origin")) == (200, FOREIGN)


def test_requests_for_many_sessions_share_a_connection(server: Server) -> None:
    """Each goes to the shard of its session, with what came behind it."""
    sessions = [Session(server, "/echo") for _ in range(40)]
    with Connection(server) as connection:
        for path, body, told in (("xhr", "", b"o\n"), ("xhr_send", '["x"]', b""), ("xhr", "", b'a["x"]\n')):
            connection.send(b"".join(f"POST {session.url}/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
                                     for session in sessions))
            assert [connection.read_response().body for _ in sessions] == [told] * len(sessions)


def attach_everywhere(server: Server, channel: str) -> None:
    """On every shard: whoever subscribes from now on misses nothing that he publishes himself."""
    for _ in range(20):
        assert get(server, path_of(channel, wait=0)).status == 204


def test_what_has_to_wait_for_the_broker_is_taken_once_and_in_order() -> None:
    texts = [str(number) for number in range(3000)]
    with RedisServer() as redis, Server("--broker", redis.url(), *SERVICES, "--history-size", "10000", *NODE_OPTIONS) as server:
        await_ready(server)
        attach_everywhere(server, "chat")
        session = Session(server, "/chat").open()
        session.put(*texts)
        assert take(session, len(texts)) == texts
        with WebSocket(server, "/chat/0/0/websocket") as websocket:
            assert websocket.take() == "o"
            websocket.put_text(json.dumps(texts))
            told: list[str] = []
            while len(told) < len(texts):
                told += json.loads(str(websocket.take())[1:])
            assert told == texts


def test_only_pages_that_may_publish_show_the_iframe_page_of_channels() -> None:
    """What that page sends comes from the server's own origin, whoever shows it."""
    with Server("--sockjs", "/chat", "--sockjs", "/echo app=echo", "--allowed-origins", "https://app.example",
                "--allowed-origins", "null", "--allowed-origins", "http://b.example:81") as server:
        first = get(server, "/chat/iframe.html")
        again = get(server, "/chat/iframe.html", If_None_Match=first.header("ETag") or "")
        assert (first.status, again.status) == (200, 304)
        for response in (first, again):
            assert response.header("Content-Security-Policy") == "frame-ancestors 'self' https://app.example http://b.example:81"
            assert response.header("Cache-Control") == "no-cache" and response.header("Expires") is None
        assert get(server, "/echo/iframe.html").header("Content-Security-Policy") is None
    with Server("--sockjs", "/chat", "--allowed-origins", "*") as server:
        assert get(server, "/chat/iframe.html").header("Content-Security-Policy") is None
    with Server("--sockjs", "/chat") as server:
        assert get(server, "/chat/iframe.html").header("Content-Security-Policy") == "frame-ancestors 'self'"
