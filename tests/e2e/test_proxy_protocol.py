# SPDX-License-Identifier: MIT
"""The PROXY protocol before HTTP and raw TCP: from HAProxy, and by hand."""

import contextlib
import re
import socket
import struct
from collections.abc import Iterator

import pytest
from support.client import Connection, get, path_of, publish, request_bytes, subscribers
from support.proxies import proxy_before
from support.redis import metric
from support.server import Server, wait_until

LINE = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
OWN = SIGNATURE + b"\x20\x00\x00\x00"
HELLO = request_bytes("GET", "/healthz")


def block(source: str, more: bytes = b"") -> bytes:
    """Version 2, with a type, a length and a value or several behind the addresses."""
    is_v6 = ":" in source
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, "::1" if is_v6 else "127.0.0.1") + struct.pack("!HH", 56324, 443)
    return SIGNATURE + bytes([0x21, 0x21 if is_v6 else 0x11]) + struct.pack("!H", len(addresses + more)) + addresses + more


@contextlib.contextmanager
def behind(*options: str) -> Iterator[tuple[Server, Server]]:
    """The server by its ordinary listener, and by the one that proxies come to."""
    with Server("--http", "127.0.0.1:0 proxy-protocol=yes", "--log-level", "debug", *options) as server:
        yield server, server.at(server.listeners("http")[1])


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Server, Server]]:
    with behind() as servers:
        yield servers


def peers(server: Server) -> list[str]:
    return [peer.strip('"') for peer in re.findall(r"event=request .*peer=(\S+)", server.log())]


def ask(server: Server, header: bytes, source: str = "127.0.0.1") -> str:
    """The peer that the log names for a request behind this header."""
    count = len(peers(server))
    with Connection(server, source=source) as connection:
        connection.send(header + HELLO)
        assert connection.read_response().body == b"ok\n"
    wait_until(lambda: len(peers(server)) > count)
    return peers(server)[-1]


@pytest.mark.parametrize(("header", "peer"), [
    (LINE, "192.0.2.1:56324"), (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "[2001:db8::1]:1"), (block("192.0.2.1"), "192.0.2.1:56324"),
    (block("2001:db8::1"), "[2001:db8::1]:56324"), (block("192.0.2.1", b"\x02\x00\x03abc\x04\x0b\xb8" + bytes(3000)), "192.0.2.1:56324"),
])
def test_the_header_says_whose_a_connection_is(both: tuple[Server, Server], header: bytes, peer: str) -> None:
    assert ask(both[1], header) == peer


@pytest.mark.parametrize("header", [
    b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN 192.0.2.1 192.0.2.2 1 2\r\n", OWN, SIGNATURE + b"\x20\x11\x00\x0c" + bytes(12), SIGNATURE + b"\x21\x00\x00\x00",
    SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12), SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),
])
def test_a_header_without_an_address_leaves_the_connections_own(both: tuple[Server, Server], header: bytes) -> None:
    assert ask(both[1], header, "127.0.0.9").startswith("127.0.0.9:")


@pytest.mark.parametrize("header", [LINE, block("192.0.2.1", b"\x04\x00\x10" + bytes(16))])
def test_the_header_may_come_a_byte_at_a_time(both: tuple[Server, Server], header: bytes) -> None:
    with Connection(both[1]) as connection:
        connection.send_bytewise(header + HELLO)
        assert connection.read_response().body == b"ok\n"
        assert connection.request("GET", "/healthz").status == 200


@pytest.mark.parametrize("sent", [
    HELLO, b"GET", b"PROXY TCP4 192.0.2.1\r\n" + HELLO, b"proxy" + LINE[5:] + HELLO, LINE[:-2] + b"\n" + HELLO, b"\r\n" + LINE + HELLO,
    b"PROXY TCP4 192.0.2.999 198.51.100.1 1 2\r\n" + HELLO, b"PROXY UNKNOWN " + b"x" * 93, SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12) + HELLO,
    SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12) + HELLO, SIGNATURE + b"\x21\x11\x00\x04" + bytes(4) + HELLO, SIGNATURE + b"\x20\x00\xff\xff", b"\x16\x03\x01\x02\x00",
], ids=repr)
def test_what_is_no_header_is_refused_without_an_answer(both: tuple[Server, Server], sent: bytes) -> None:
    refused = metric(both[0], "connections_refused_total")
    with Connection(both[1]) as connection:
        connection.send(sent)
        assert connection.read_to_end() == b""
    wait_until(lambda: metric(both[0], "connections_refused_total") > refused)


def test_a_listener_without_the_key_takes_no_header(both: tuple[Server, Server]) -> None:
    for header in (LINE, block("192.0.2.1")):
        with Connection(both[0]) as connection:
            connection.send(header + HELLO)
            assert connection.read_response().status == 400


def test_a_second_header_is_the_clients_own(both: tuple[Server, Server]) -> None:
    with Connection(both[1]) as connection:
        connection.send(LINE + b"PROXY TCP4 192.0.2.66 198.51.100.1 1 2\r\n" + HELLO)
        assert connection.read_response().status == 400
    assert not any(peer.startswith("192.0.2.66") for peer in peers(both[0]))


def test_a_connection_without_its_header_is_refused_in_time() -> None:
    with behind("--head-timeout", "200ms") as (server, proxied):
        silent, half = Connection(proxied), Connection(proxied)
        half.send(LINE[:20])
        for connection in (silent, half):
            assert connection.read_to_end() == b""
            connection.close()
        wait_until(lambda: server.log().count("event=no-proxy-header") == 2)
        assert "send-proxy-v2" in server.log()


def test_whoever_only_looks_is_not_warned_of() -> None:
    """Balancers connect and close to see whether somebody listens."""
    with behind() as (server, proxied):
        refused = metric(server, "connections_refused_total")
        Connection(proxied).close()
        wait_until(lambda: metric(server, "connections_refused_total") > refused)
        assert "no-proxy-header" not in server.log()


def test_who_goes_in_the_middle_of_the_header_is_not_waited_for() -> None:
    with behind("--head-timeout", "60s") as (server, proxied), Connection(proxied) as half:
        half.send(LINE[:20])
        half.socket.shutdown(socket.SHUT_WR)
        assert half.read_to_end() == b""
        wait_until(lambda: "event=no-proxy-header" in server.log())


def test_only_trusted_proxies_are_heard() -> None:
    with behind("--trusted-proxies", "127.0.0.1") as (server, proxied):
        assert ask(proxied, LINE) == "192.0.2.1:56324"
        with Connection(proxied, source="127.0.0.2") as stranger:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                stranger.send(LINE + HELLO)
            assert stranger.read_to_end() == b""
        wait_until(lambda: "event=not-a-trusted-proxy" in server.log())
        assert "127.0.0.2" in server.log() and "trusted-proxies" in server.log()


def test_an_exposed_listener_needs_trusted_proxies() -> None:
    with pytest.raises(AssertionError, match="trusted-proxies"):
        Server("--tcp", "0.0.0.0:0 proxy-protocol=yes", "--anonymous").start()
    with Server("--tcp", "0.0.0.0:0 proxy-protocol=yes", "--anonymous", "--trusted-proxies", "10.0.0.0/8"):
        pass


def test_clients_are_counted_by_the_address_that_the_header_names(channel: str) -> None:
    with behind("--max-connections-per-ip", "2") as (server, proxied), contextlib.ExitStack() as stack:
        def hold(source: str) -> Connection:
            connection = stack.enter_context(Connection(proxied))
            connection.send(block(source) + request_bytes("GET", path_of(channel)))
            return connection
        first, _, *_ = [hold("192.0.2.1") for _ in range(2)] + [hold(f"192.0.2.{number}") for number in range(2, 7)]
        wait_until(lambda: subscribers(server, channel)["total"] == 7)
        refused = hold("192.0.2.1").read_response()
        assert (refused.status, refused.error) == (503, "too-many-from-address")
        publish(server, channel)
        assert first.read_response().status == 200
        first.close()
        wait_until(lambda: hold("192.0.2.1") and subscribers(server, channel)["total"] > 0)


def test_a_stream_over_the_limit_is_told_in_its_own_way() -> None:
    with behind("--max-connections", "1") as (server, proxied), Connection(server) as first:
        assert first.request("GET", "/healthz").status == 200
        with Connection(proxied) as stream:
            stream.send(LINE + request_bytes("GET", "/channels/a", Accept="text/event-stream"))
            told = stream.read_response()
            assert told.status == 200 and told.body.startswith(b"retry: ")


def test_those_over_the_limit_who_say_nothing_are_bounded_and_take_nobodys_place() -> None:
    """So many wait to be told, the longest ones make way, and they are not counted: whoever comes when there is room gets in."""
    with behind("--max-connections", "2", "--shards", "1", "--head-timeout", "60s") as (server, proxied), contextlib.ExitStack() as stack:
        def descriptors() -> int:
            return len(list(server.descriptor_folder().iterdir()))

        held = [stack.enter_context(Connection(proxied)) for _ in range(2)]
        for connection in held:
            connection.send(LINE + HELLO)
            assert connection.read_response().body == b"ok\n"
        before, seen = descriptors(), 0
        for _ in range(400):
            stack.enter_context(Connection(proxied))
            seen = max(seen, descriptors() - before)
        assert 0 < seen <= 80
        with Connection(proxied) as told:
            told.send(LINE + HELLO)
            response = told.read_response()
            assert (response.status, response.error) == (503, "too-many-connections")
        held.pop().close()
        # It takes a moment until that is seen; of those who came meanwhile one may be silent, and let in until then.
        wait_until(lambda: ask_status(proxied) == 200)
        for connection in held:
            connection.send(HELLO)
            assert connection.read_response().body == b"ok\n"
        assert metric(server, "connections_refused_total") > 300


def ask_status(proxied: Server) -> int:
    with Connection(proxied) as connection:
        connection.send(LINE + HELLO)
        return connection.read_response().status


def test_forwarded_headers_count_from_whom_the_header_names() -> None:
    """A balancer of connections in front of a proxy of requests."""
    with behind("--trusted-proxies", "local", "--trusted-proxies", "10.0.0.0/8") as (server, proxied):
        def peer(source: str) -> str:
            count = len(peers(server))
            with Connection(proxied) as connection:
                connection.send(block(source) + request_bytes("GET", "/healthz", X_Forwarded_For="192.0.2.77"))
                assert connection.read_response().status == 200
            wait_until(lambda: len(peers(server)) > count)
            return peers(server)[-1]
        assert peer("10.0.0.5").startswith("192.0.2.77:")
        assert peer("198.51.100.5").startswith("198.51.100.5:")


def test_raw_tcp_behind_the_header(channel: str) -> None:
    with Server("--tcp", "127.0.0.1:0 framing=crlf proxy-protocol=yes", "--max-connections-per-ip", "1") as server:
        tcp = server.at(server.listeners("tcp")[0])
        with Connection(tcp) as subscriber, Connection(tcp) as other:
            subscriber.send_bytewise(block("192.0.2.1") + f"SUBSCRIBE {channel}\r\n".encode())
            subscriber.read_until(b"\r\n")
            other.send(block("192.0.2.1"))
            assert b"too-many-from-address" in other.read_to_end()
            publish(server, channel, "hello")
            assert b"hello" in subscriber.read_until(b"hello")
        with Connection(tcp) as plain:
            plain.send(b"PING\r\n")
            assert plain.read_to_end() == b""


def test_those_who_wait_for_their_header_do_not_delay_the_stop() -> None:
    with behind("--head-timeout", "60s") as (server, proxied):
        waiting = [Connection(proxied) for _ in range(20)]
        wait_until(lambda: metric(server, "connections_accepted_total") >= 20)
        server.stop()
        for connection in waiting:
            assert connection.read_to_end() == b""
            connection.close()


# From HAProxy.

CONFIGURATION = "proxies/haproxy-proxy-protocol.cfg.in"


@pytest.mark.parametrize("version", ["send-proxy-v2", "send-proxy", "send-proxy-v2 proxy-v2-options crc32c,unique-id"])
def test_haproxy_says_whose_a_connection_is(version: str, channel: str) -> None:
    """Its health checks are LOCAL connections, or have its own address; they are taken too."""
    with behind("--max-connections-per-ip", "1") as (server, proxied), proxy_before([proxied], CONFIGURATION, {"send-proxy-v2": version}) as proxy:
        with Connection(proxy, source="127.0.0.7") as first, Connection(proxy, source="127.0.0.8") as second:
            first.send(request_bytes("GET", path_of(channel), Accept="text/event-stream"))
            assert first.read_head().status == 200
            assert second.request("POST", path_of(channel), "hello").status == 201
            first.read_until(b"data: hello")
            with Connection(proxy, source="127.0.0.7") as third:
                assert third.request("GET", "/healthz").error == "too-many-from-address"
        wait_until(lambda: any(peer.startswith("127.0.0.7:") for peer in peers(server)))
        assert any(peer.startswith("127.0.0.8:") for peer in peers(server))
        assert "no-proxy-header" not in server.log()
        assert get(server, "/healthz").status == 200
