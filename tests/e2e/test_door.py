# SPDX-License-Identifier: MIT
"""Those at the door: who dribbles, who has been refused, and a process that has nothing to accept with."""

import contextlib
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from support.client import Connection, get, publish, request, request_bytes, subscribers
from support.redis import metric
from support.server import Server, wait_until
from support.stillness import again_after_a_stall
from support.tcp import Raw

ONE_SHARD = ("--shards", "1")
# More than a refused peer may send, and what the kernels on both sides hold besides.
FLOOD_MOST = 64 << 20


def begin_slowly(connection: Connection) -> None:
    """Sends half a head in as many pieces as make the door look by the clock."""
    connection.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ")
    for _ in range(300):
        connection.send(b"x")
        time.sleep(0.001)  # a piece of its own


@contextlib.contextmanager
def dribbling(connection: Connection, period_s: float) -> Iterator[None]:
    """One byte each period."""
    done = threading.Event()

    def dribble() -> None:
        with contextlib.suppress(OSError):
            while not done.wait(period_s):
                connection.send(b"x")

    begin_slowly(connection)
    thread = threading.Thread(target=dribble)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@again_after_a_stall(0.1)
def test_who_dribbles_is_cut_and_does_not_keep_others_from_it() -> None:
    with Server(*ONE_SHARD, "--head-timeout", "1s") as server, Connection(server) as slow, Connection(server) as idle:
        begun = time.monotonic()
        with dribbling(slow, period_s=0.05):
            assert idle.read_response().error == "head-timeout"
            assert slow.read_response().error == "head-timeout"
            assert 0.9 < time.monotonic() - begun < 4


@again_after_a_stall(0.1)
def test_what_came_in_time_is_answered_however_late_it_is_looked_at() -> None:
    begun = request_bytes("POST", "/channels/late", "x" * 200)
    with Server(*ONE_SHARD, "--head-timeout", "2s", "--body-timeout", "2s") as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Connection(server)) for _ in range(20)]
        for i, client in enumerate(clients):
            client.send(begun[:i * len(begun) // 20])
        wait_until(lambda: metric(server, "connections_accepted_total") > len(clients))
        server.process.send_signal(signal.SIGSTOP)
        for i, client in enumerate(clients):
            client.send(begun[i * len(begun) // 20:])
        time.sleep(2.1)  # the deadlines pass
        server.process.send_signal(signal.SIGCONT)
        assert [client.read_response().status for client in clients] == [201] * len(clients)


def test_a_head_in_many_pieces_is_answered(server: Server) -> None:
    with Connection(server) as connection:
        begin_slowly(connection)
        connection.send(b"\r\n\r\n")
        assert connection.read_response().status == 200


def test_a_head_far_too_large_still_gets_its_answer(server: Server) -> None:
    for _ in range(20):
        with Connection(server) as connection:
            connection.send(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 900_000)
            assert connection.read_response().status == 431
            assert connection.read_to_end() == b""


def flood(connection: socket.socket) -> int:
    """Sends as much as is taken; how much it was."""
    block, sent = b"x" * (1 << 20), 0
    connection.settimeout(10)
    with contextlib.suppress(OSError):
        while sent < FLOOD_MOST:
            sent += connection.send(block)
    return sent


def test_a_refused_client_that_goes_on_sending_is_cut() -> None:
    with Server(*ONE_SHARD, "--max-connections", "1") as server:
        with Connection(server) as first:
            assert first.request("GET", "/healthz").status == 200
            with Connection(server) as second:
                assert flood(second.socket) < FLOOD_MOST
                assert first.request("GET", "/healthz").status == 200


@again_after_a_stall(0.1)
def test_a_refused_client_that_stays_is_not_counted() -> None:
    with Server(*ONE_SHARD, "--max-connections", "1") as server, contextlib.ExitStack() as stack:
        first = stack.enter_context(Connection(server))
        assert first.request("GET", "/healthz").status == 200
        for _ in range(10):
            refused = stack.enter_context(Connection(server))
            assert refused.request("GET", "/healthz").error == "too-many-connections"
        first.close()
        begun = time.monotonic()
        wait_until(lambda: request(server, "GET", "/healthz").status == 200)
        assert time.monotonic() - begun < 1


@again_after_a_stall(0.1)
def test_refused_clients_that_stay_are_cut() -> None:
    with Server(*ONE_SHARD) as server, Connection(server) as refused:
        refused.send(b"nonsense\r\n\r\n")
        begun = time.monotonic()
        assert refused.read_response().status == 400
        assert refused.is_closed()

        def is_reset() -> bool:
            try:
                refused.send(b"x")
            except OSError:
                return True
            return False

        wait_until(is_reset)
        assert 1 < time.monotonic() - begun < 6


def test_a_refused_tcp_client_that_goes_on_sending_is_cut() -> None:
    with Server(*ONE_SHARD, "--max-connections", "1", "--tcp", "127.0.0.1:0 framing=crlf") as server:
        with Raw(server) as first:
            assert first.ask(b"PING") == b"PONG"
            with Raw(server) as second:
                assert flood(second.socket) < FLOOD_MOST
                assert first.ask(b"PING") == b"PONG"


def test_a_finished_tcp_client_that_goes_on_sending_is_cut() -> None:
    with Server(*ONE_SHARD, "--tcp", "127.0.0.1:0 framing=crlf") as server, Raw(server) as client:
        client.put(b"QUIT")
        assert flood(client.socket) < FLOOD_MOST


@again_after_a_stall(0.1)
def test_a_finished_tcp_client_that_stays_is_cut() -> None:
    with Server(*ONE_SHARD, "--tcp", "127.0.0.1:0 framing=crlf") as server, Raw(server) as client:
        begun = time.monotonic()
        client.put(b"QUIT")
        client.read_to_end()

        def is_reset() -> bool:
            try:
                client.send(b"x")
            except OSError:
                return True
            return False

        wait_until(is_reset)
        assert 1 < time.monotonic() - begun < 6


def is_alone(server: Server) -> bool:
    """Whether nobody else is connected; who asks may be one too many himself."""
    response = get(server, "/metrics")
    return response.status == 200 and re.search(rb"^sluice_connections [01]$", response.body, re.MULTILINE) is not None


def test_who_leaves_is_not_counted_any_more() -> None:
    with Server(*ONE_SHARD, "--max-connections", "2", "--tcp", "127.0.0.1:0 framing=crlf") as server:
        def two_come_in_and_no_third() -> bool:
            with Raw(server) as client, Connection(server) as other:
                if client.ask(b"PING") != b"PONG" or other.request("GET", "/healthz").status != 200:
                    return False  # those who have just left may still be there
                with Connection(server) as third:
                    assert third.request("GET", "/healthz").error == "too-many-connections"
                return True

        for _ in range(3):
            wait_until(two_come_in_and_no_third)


def test_the_memory_of_a_crowd_is_given_back() -> None:
    with Server(*ONE_SHARD) as server:
        assert get(server, "/healthz").status == 200
        folder = f"/proc/{server.process.pid}/fd"
        before = len(os.listdir(folder))
        with contextlib.ExitStack() as stack:
            for _ in range(600):
                crowd = stack.enter_context(Connection(server))
                assert crowd.request("GET", "/healthz").status == 200
            assert len(os.listdir(folder)) > before + 600
        wait_until(lambda: len(os.listdir(folder)) <= before)


def test_who_is_refused_without_descriptors_is_cut() -> None:
    with Server(*ONE_SHARD, descriptors=64) as server, contextlib.ExitStack() as stack:
        held = []
        while True:
            connection = stack.enter_context(Connection(server))
            connection.send(request_bytes("GET", "/channels/a", Accept="application/x-ndjson"))
            if connection.read_head().status == 503:
                break
            held.append(connection)
        last = stack.enter_context(Connection(server))
        assert flood(last.socket) < FLOOD_MOST
        for connection in held[:8]:
            connection.close()
        wait_until(lambda: request(server, "GET", "/healthz").status == 200)


def test_the_last_descriptor_may_be_wanted_for_a_cell() -> None:
    """As many connections as a cell holds, from one limit to the next."""
    for descriptors in range(64, 81):
        with Server(*ONE_SHARD, descriptors=descriptors) as server, contextlib.ExitStack() as stack:
            status = 200
            while status == 200:
                connection = stack.enter_context(Connection(server))
                connection.send(request_bytes("GET", "/channels/a", Accept="application/x-ndjson"))
                status = connection.read_head().status
            assert b'"no-descriptors"' in connection.read_to_end(), descriptors


def test_tcp_clients_wait_while_there_are_no_descriptors() -> None:
    with Server(*ONE_SHARD, "--tcp", "127.0.0.1:0 framing=crlf", descriptors=64) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Raw(server)) for _ in range(80)]
        for client in clients:
            client.put(b"PING")
        wait_until(lambda: "no-descriptors" in server.log())
        assert clients[0].take() == b"PONG"
        begun, seconds = time.monotonic(), server.cpu_seconds()
        wait_until(lambda: time.monotonic() - begun > 1)
        assert server.cpu_seconds() - seconds < 0.5, "a busy loop"
        for client in clients[:40]:
            client.close()
        assert clients[-1].take() == b"PONG"


@pytest.mark.parametrize("is_tcp", [False, True])
def test_a_crowd_waits_for_a_server_that_is_busy(is_tcp: bool) -> None:
    with Server("--shards", "2", "--tcp", "127.0.0.1:0 framing=crlf") as server, contextlib.ExitStack() as stack:
        server.process.send_signal(signal.SIGSTOP)
        try:
            crowd = [stack.enter_context(Raw(server) if is_tcp else Connection(server)) for _ in range(400)]
        finally:
            server.process.send_signal(signal.SIGCONT)
        for each in crowd:
            each.send(b"PING\r\n" if is_tcp else request_bytes("GET", "/healthz"))
        for each in crowd:
            assert each.receive()


def test_who_takes_nothing_is_cut_in_time_and_counted(channel: str) -> None:
    with Server(*ONE_SHARD, "--slow-client-timeout", "0.5", "--tcp", "127.0.0.1:0 framing=crlf") as server, Raw(server) as client:
        client.put(f"SUBSCRIBE {channel}".encode())
        wait_until(lambda: subscribers(server, channel)["tcp"] == 1)
        for _ in range(20):
            publish(server, channel, "x" * 1_000_000)
        wait_until(lambda: metric(server, "slow_clients_cut_total") == 1, timeout=5)
        assert subscribers(server, channel)["tcp"] == 0
