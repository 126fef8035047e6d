# SPDX-License-Identifier: MIT
"""What TLS has the server keep is bounded by connection-memory: sessions, and heads that cannot be left in the socket."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator

import pytest
from support.client import Connection, EventStream, path_of, publish, request_bytes
from support.redis import metric
from support.server import Server, wait_until
from support.tls import common_tls

SMALL = ("--shards", "1", "--connection-memory", "1MiB", "--message-size", "64KiB", "--batch-size", "64KiB", "--head-timeout", "1h", "--body-timeout", "1h")
SESSION = 11264
# What there is with such options: less does not hold the largest input.
ALL = (6 * 65536 + 65536) * 2 // 3 * 4
HELLO = request_bytes("GET", "/healthz")


@pytest.fixture
def both() -> Iterator[tuple[Server, Server]]:
    """The server by a plain listener, where it is asked for numbers, and by one with TLS."""
    tls = common_tls()
    with Server(*SMALL, "--http", f"127.0.0.1:0 {tls.pair.keys}") as plain:
        secure = plain.at(plain.listeners("http")[1])
        secure.tls = tls
        yield plain, secure


def used(server: Server) -> float:
    return metric(server, "connection_memory_bytes")


def refused(server: Server) -> float:
    return metric(server, "connection_memory_refused_total")


def come_until_refused(server: Server, stack: contextlib.ExitStack, come: Callable[[], Connection]) -> list[Connection]:
    """Who has come before memory was refused to one."""
    come_in: list[Connection] = []
    before = refused(server)
    while refused(server) == before:
        seen = used(server)
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            come_in.append(stack.enter_context(come()))
        wait_until(lambda seen=seen: used(server) != seen or refused(server) != before)  # type: ignore[misc]
    return come_in


def begin_head(connection: Connection, size: int) -> Connection:
    connection.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Padding: ".ljust(size, b"x"))
    return connection


def check_served(connection: Connection) -> None:
    connection.send(b"\r\n\r\n")
    assert connection.read_response().body == b"ok\n"


def check_refused(connection: Connection) -> None:
    response = connection.read_response()
    assert (response.status, response.error, response.header("Retry-After")) == (503, "connection-memory", "2")


def test_sessions_fill_half_of_the_memory_and_those_there_are_work_on(both: tuple[Server, Server]) -> None:
    """Who comes then gets an alert; who is there publishes, receives and sends long heads."""
    plain, secure = both
    with contextlib.ExitStack() as stack, EventStream(secure, path_of("a")) as stream:
        assert stream.next_block() and used(plain) == SESSION
        held = come_until_refused(plain, stack, lambda: Connection(secure))
        assert ALL // 2 - 3 * SESSION < used(plain) <= ALL // 2
        assert used(plain) == (len(held) + 1) * SESSION
        with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
            Connection(secure)
        assert metric(plain, "tls_failed_total") == refused(plain) == 2
        check_served(begin_head(held[0], 30_000))
        publish(plain, "a", "still")
        assert stream.next_event().data == "still"
        for connection in held[:10]:
            connection.close()
        wait_until(lambda: used(plain) == (len(held) - 9) * SESSION)
        with Connection(secure) as newcomer:
            check_served(begin_head(newcomer, 60))
    wait_until(lambda: used(plain) == 0)


def test_heads_that_are_not_whole_are_counted_and_those_that_do_not_fit_refused(both: tuple[Server, Server]) -> None:
    plain, secure = both
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(Connection(secure)) for _ in range(40)]
        at_rest = used(plain)
        for number, connection in enumerate(held):
            begin_head(connection, 30_000)
            wait_until(lambda seen=number: used(plain) >= at_rest + (seen + 1) * 30_000 or refused(plain) > 0)
            if refused(plain):
                break
        assert 10 < number < 30 and used(plain) <= ALL * 3 // 4
        check_refused(held[number])
        check_served(begin_head(held[number + 1], 1000))
        for connection in held[:number]:
            check_served(connection)
        wait_until(lambda: used(plain) == at_rest - SESSION)
    wait_until(lambda: used(plain) == 0)


def test_a_later_head_is_counted_without_tls_too(both: tuple[Server, Server]) -> None:
    plain, _ = both
    with Connection(plain) as connection:
        assert connection.request("GET", "/healthz").status == 200
        begin_head(connection, 5000)
        wait_until(lambda: used(plain) == 5000)
        check_served(connection)
        wait_until(lambda: used(plain) == 0)
        begin_head(connection, 5000)
        wait_until(lambda: used(plain) == 5000)
    wait_until(lambda: used(plain) == 0)


def test_chunks_that_cannot_be_kept_are_refused_aloud(both: tuple[Server, Server]) -> None:
    """They are out of the socket before anybody knows what of them is the body's."""
    plain, secure = both
    with contextlib.ExitStack() as stack, Connection(secure) as uploading:
        uploading.send(request_bytes("POST", path_of("a"), Transfer_Encoding="chunked", Expect="100-continue"))
        assert uploading.read_head().status == 100
        for size in (30_000, 10_000, 2500):
            def come(size: int = size) -> Connection:
                connection = Connection(plain)
                assert connection.request("GET", "/healthz").status == 200
                return begin_head(connection, size)
            come_until_refused(plain, stack, come)
        uploading.send(b"bb8\r\n" + b"x" * 3000 + b"\r\n")
        check_refused(uploading)
    wait_until(lambda: used(plain) == 0)
