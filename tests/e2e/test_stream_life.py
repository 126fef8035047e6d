# SPDX-License-Identifier: MIT
"""stream-life: what is streamed ends by itself, before a proxy cuts it, and goes on where it was."""

import time
from collections.abc import Iterator

import pytest
from support.client import Ended, EventStream, LineStream, get, path_of, publish, subscribers
from support.legacy import STREAMS
from support.server import Server, wait_until
from support.sockjs import Session, streaming
from support.sockjs_commands import Commands
from support.websocket import WebSocket

LIFE_S = 4.0
AGED = "it has been open for long enough (stream-life); connect again"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("--stream-life", "4s", "--heartbeat", "1s", "--websocket-ping", "1s", "--retry", "5s", "--legacy", "yes",
                "--sockjs", "/sockjs disconnect-delay=60s legacy=yes") as running:
        yield running


def check_age(begun: float) -> None:
    """A quarter earlier at most, and the third of a heartbeat before which it is looked at again."""
    assert time.monotonic() - begun > LIFE_S * 3 / 4 - 0.5


def test_an_event_stream_ends_with_a_short_retry(server: Server, channel: str) -> None:
    begun = time.monotonic()
    with EventStream(server, path_of(channel)) as stream:
        block = stream.next_block()
        assert block and int(block.retry or 0) >= 5000
        name = publish(server, channel, "x")
        assert stream.next_event().data == "x"
        assert stream.next_block() is None
        check_age(begun)
        assert stream.ended_cleanly
        retry = stream.text.rsplit(b"retry: ", 1)[1]
        assert 500 <= int(retry) <= 1000 and retry.endswith(b"\n"), stream.text
    publish(server, channel, "meanwhile")
    with EventStream(server, path_of(channel), Last_Event_ID=name) as stream:
        assert stream.next_event().data == "meanwhile"


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_a_stream_of_lines_just_ends(server: Server, channel: str, version: str) -> None:
    begun = time.monotonic()
    with LineStream(server, path_of(channel), version=version) as stream:
        assert stream.next_line()["recovered"] is False
        with pytest.raises(Ended):
            stream.next_line()
        check_age(begun)
        assert stream.ended_cleanly or version == "HTTP/1.0"


@pytest.mark.parametrize("kind", list(STREAMS))
def test_old_streams_do(server: Server, channel: str, kind: str) -> None:
    begun = time.monotonic()
    with STREAMS[kind](server, path_of(channel)) as stream:
        assert "cursor" in stream.next_object()
        with pytest.raises(Ended):
            stream.next_object()
        check_age(begun)
        assert stream.ended_cleanly


@pytest.mark.parametrize("target", ["/channels/life?format=json", "/ws"])
def test_a_websocket_is_closed(server: Server, target: str) -> None:
    begun = time.monotonic()
    with WebSocket(server, target) as client:
        with pytest.raises(Ended, match="closed with") as ended:
            while True:
                client.take()
        check_age(begun)
        assert f"(1012, '{AGED}')" in str(ended.value)


def test_a_feed_of_bare_data_has_been_told_what_there_is(server: Server, channel: str) -> None:
    with WebSocket(server, path_of(channel)) as client:
        wait_until(lambda: subscribers(server, channel)["websocket"] == 1)
        publish(server, channel, "last")
        assert client.take() == "last"
        with pytest.raises(Ended, match="1012"):
            client.take()


def test_a_session_of_sockjs_goes_on_in_its_next_stream(server: Server, channel: str) -> None:
    begun = time.monotonic()
    session = Session(server, "/sockjs")
    with streaming(session) as first:
        assert first.frame() == "o"
        while first.frame() is not None:
            pass
        check_age(begun)
        assert first.ended_cleanly
    with streaming(session) as second:
        session.put(f'{{"op":"subscribe","channel":"{channel}"}}')
        assert '"op":"subscribed"' in second.next_messages()[0]


def test_a_session_over_websocket_stays(server: Server, channel: str) -> None:
    """Nothing could go on in its place."""
    with Commands(server, "websocket", "/sockjs") as client:
        client.subscribe(channel)
        begun = time.monotonic()
        while time.monotonic() - begun < LIFE_S + 1:
            client.ask("ping")
            time.sleep(0.2)
        publish(server, channel, "still here")
        assert client.next_data() == "still here"


def test_long_polls_are_held_as_ever(server: Server, channel: str) -> None:
    with LineStream(server, path_of(channel)) as stream:
        cursor = stream.next_line()["cursor"]
    assert get(server, path_of(channel, since=cursor, wait=1)).status == 204


def test_for_ever_is_the_preset(channel: str) -> None:
    with Server("--heartbeat", "200ms") as server, LineStream(server, path_of(channel)) as stream:
        stream.next_line()
        for _ in range(5):
            assert stream.until(b"\n") == b""
        publish(server, channel, "x")
        while not (line := stream.until(b"\n")):
            pass
        assert b'"data":"x"' in line
