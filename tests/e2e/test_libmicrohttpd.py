# SPDX-License-Identifier: MIT
"""What is relied on in libmicrohttpd 0.9.75, seen from outside: section 4 of the architecture lists why each matters."""

import time

from support.client import Connection, EventStream, get, path_of, publish, request_bytes, subscribers
from support.server import Server, wait_until


def test_held_connections_cost_nothing_while_nothing_happens(channel: str) -> None:
    """A content reader that returns 0 without suspending would spin; so would a cell that is run for nothing."""
    with Server("--heartbeat", "60") as server:
        streams = [EventStream(server, path_of(channel)) for _ in range(300)]
        polls = [Connection(server) for _ in range(300)]
        for poll in polls:
            poll.send(request_bytes("GET", path_of(channel)))
        wait_until(lambda: subscribers(server, channel)["total"] == 600)
        before, begun = server.cpu_seconds(), time.monotonic()
        wait_until(lambda: time.monotonic() - begun > 1.5)
        assert server.cpu_seconds() - before < 0.3
        for connection in streams + polls:
            connection.close()


def test_resuming_wakes_the_loop_at_once(server: Server, channel: str) -> None:
    """MHD_get_timeout says nothing of a resume: without running the cell, answers would come with the next event, if ever."""
    with Connection(server) as poll:
        for _ in range(20):
            poll.send(request_bytes("GET", path_of(channel)))
            wait_until(lambda: get(server, f"/api/channels/{channel}").status == 200 and subscribers(server, channel)["poll"] == 1)
            begun = time.monotonic()
            publish(server, channel)
            poll.read_response()
            assert time.monotonic() - begun < 2


def test_stopping_with_suspended_connections_does_not_abort(channel: str) -> None:
    """MHD_stop_daemon aborts the process when one is left suspended; the fixture checks the exit status."""
    for drain in ("0", "0.2"):
        server = Server("--drain-time", drain).start()
        streams = [EventStream(server, path_of(channel)) for _ in range(50)]
        polls = [Connection(server) for _ in range(50)]
        for poll in polls:
            poll.send(request_bytes("GET", path_of(channel)))
        wait_until(lambda: subscribers(server, channel)["total"] == 100)
        server.stop()
        for poll in polls:
            assert poll.read_response().status == 204
        for connection in streams + polls:
            connection.close()
        server.folder.cleanup()


def test_a_connection_through_a_proxy_takes_large_heads_after_small_ones(server: Server, channel: str) -> None:
    """Proxies send the requests of different clients over one connection."""
    with Connection(server) as connection:
        for size in (10, 8000, 10, 12_000):
            response = connection.request("GET", path_of(channel, wait=0), Cookie="c" * size, X_Forwarded_For="192.0.2.1")
            assert response.status == 204


def test_a_request_that_was_pipelined_behind_a_stream_waits_for_its_end(channel: str) -> None:
    server = Server("--shards", "1").start()
    with Connection(server) as connection:
        connection.send(request_bytes("GET", path_of(channel), Accept="text/event-stream") + request_bytes("GET", "/healthz"))
        assert connection.read_head().status == 200
        publish(server, channel, "x")
        while b"data: x" not in connection.read_chunk():
            pass
    server.stop()
    server.folder.cleanup()
