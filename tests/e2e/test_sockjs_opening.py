# SPDX-License-Identifier: MIT
"""WebSockets of SockJS services that feed channels, while the handshake is not answered yet: what comes then neither goes out before it
nor is lost."""

from support.client import Connection, path_of, publish, request_bytes
from support.faults import FaultyServer
from support.redis import metric
from support.server import Server, wait_until
from support.websocket import PING, WebSocket, frame_bytes, handshake_bytes

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
PRECISION = 40


def sessions(server: Server) -> float:
    return metric(server, "sockjs_sessions")


def is_begun_behind(server: Server, size: int) -> bool:
    """Whether a handshake is looked at behind a response of that size which nobody reads; its channel is told something then."""
    publish(server, "large", "x" * size)
    with Connection(server, receive_buffer=4096) as connection:
        connection.send(request_bytes("GET", path_of("large", last=1, wait=0)) + handshake_bytes("/news/websocket", KEY))
        publish(server, "news", "text")
        is_begun = sessions(server) > 0
        publish(server, "news", "text")
    wait_until(lambda: sessions(server) == 0, what="the end of the session")
    return is_begun


def test_a_channel_waits_for_an_answer_to_the_handshake_that_the_kernel_does_not_take() -> None:
    with Server("--sockjs", "/news feed=news", "--shards", "1", "--message-size", "8MiB") as server:
        small, large = 1, 4_000_000
        while large - small > PRECISION:
            middle = (small + large) // 2
            if is_begun_behind(server, middle):
                small = middle
            else:
                large = middle
        for size in range(small - 10 * PRECISION, small + 10 * PRECISION, PRECISION):
            is_begun_behind(server, size)


def test_a_channel_that_cannot_be_fed_closes_what_is_not_open_yet() -> None:
    with FaultyServer("--sockjs", "/news app=echo feed=news") as server:
        closed = 0
        for call in range(1, 60):
            with Connection(server) as connection:
                server.fail("malloc", call)
                connection.send(handshake_bytes("/news/websocket", KEY) + frame_bytes(PING))
                while b"\x8a\x00" not in connection.buffer and connection.receive():
                    pass
                has_failed = server.mend("malloc")
                closed += (1013).to_bytes(2, "big") in connection.buffer
            if not has_failed:
                break
        assert not has_failed and closed > 0
        with WebSocket(server, "/news/websocket") as client:
            client.put_text("echo")
            assert client.take() == "echo"
            publish(server, "news", "text")
            assert client.take() == "text"
