# SPDX-License-Identifier: MIT
"""WebSockets from the handshake to the end, with clients that do as they please."""

import contextlib
import json
import pathlib
import re
import signal
import socket
import time

import pytest
from support.client import Connection, get, path_of, publish, request, request_bytes
from support.faults import FaultyServer
from support.server import SLUICE, Server, wait_until
from support.stillness import again_after_a_stall
from support.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, WebSocket, frame_bytes, handshake_bytes

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
HANDSHAKE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Key": KEY, "Sec_WebSocket_Version": "13"}


def count(server: Server, name: str) -> int:
    return get(server, "/api/stats").json[name]


def await_connections(server: Server, number: int) -> None:
    """Besides the one that asks, which is counted from its second request on, and may be refused by a limit."""
    def are_as_many() -> bool:
        with Connection(server) as asking:
            return asking.request("GET", "/healthz").status == 200 and asking.request("GET", "/api/stats").json["connections"] == number + 1

    wait_until(are_as_many, what=f"{number} connections")


def is_well(socket_: WebSocket, text: str = "still here") -> None:
    socket_.put_text(text)
    assert socket_.take() == text


# The handshake.


@pytest.mark.parametrize("fields", [{}, {"Connection": "keep-alive, Upgrade"}, {"Connection": "upgrade"}, {"Upgrade": "WebSocket"},
                                    {"Upgrade": "h2c, websocket"}, {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits"}])
def test_a_handshake_is_answered_as_in_the_standard(server: Server, channel: str, fields: dict[str, str]) -> None:
    with Connection(server) as connection:
        connection.send(request_bytes("GET", path_of(channel), **{**HANDSHAKE, **fields}))
        response = connection.read_head()
        assert (response.status, response.header("Sec-WebSocket-Accept")) == (101, ACCEPT)
        assert (response.header("Upgrade"), response.header("Connection")) == ("websocket", "Upgrade")
        assert response.header("Sec-WebSocket-Extensions") is None and response.header("Content-Length") is None
        connection.send(frame_bytes(PING, b"x"))
        assert connection.read_exactly(3) == b"\x8a\x01x"


@pytest.mark.parametrize("fields,status", [
    ({"Connection": ""}, 400), ({"Connection": "keep-alive"}, 400), ({"Sec_WebSocket_Key": ""}, 400), ({"Sec_WebSocket_Key": "short"}, 400),
    ({"Sec_WebSocket_Key": KEY[:-4]}, 400), ({"Sec_WebSocket_Key": KEY + "AAAA"}, 400), ({"Sec_WebSocket_Key": "*" * 24}, 400),
    ({"Sec_WebSocket_Version": ""}, 426), ({"Sec_WebSocket_Version": "8"}, 426), ({"Sec_WebSocket_Version": "130"}, 426),
    ({"Sec_WebSocket_Version": "13, 8"}, 426), ({"Origin": "http://elsewhere.example"}, 403)])
def test_a_handshake_that_is_not_one_is_refused(server: Server, channel: str, fields: dict[str, str], status: int) -> None:
    response = get(server, path_of(channel), **{**HANDSHAKE, **fields})
    assert response.status == status
    assert response.error == {400: "bad-request", 403: "forbidden-origin", 426: "upgrade-required"}[status]
    assert response.header("Sec-WebSocket-Version") == ("13" if status == 426 else None)


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
@pytest.mark.parametrize("target", ["/channels/a", "/channels/a?format=json", "/ws", "/sockjs/0/0/websocket", "/sockjs/websocket"])
def test_what_a_proxy_has_made_of_a_handshake_names_the_proxy(target: str, version: str) -> None:
    """One that drops Upgrade and Connection, which are of one hop, leaves the key: nginx as it comes, which also speaks 1.0."""
    left = {"Sec_WebSocket_Key": KEY, "Sec_WebSocket_Version": "13", "Connection": "close"}
    with Server("--sockjs", "/sockjs") as server, Connection(server) as connection:
        response = connection.request("GET", target, version=version, **left)
        assert (response.status, response.error) == (426, "upgrade-required")
        assert "proxy" in response.json["message"] and "Upgrade and Connection" in response.json["message"]
        assert response.header("Upgrade") == "websocket"


def test_http_1_0_cannot_upgrade(server: Server, channel: str) -> None:
    with Connection(server) as connection:
        assert connection.request("GET", path_of(channel), version="HTTP/1.0", **HANDSHAKE).status == 400


def test_a_handshake_with_a_body_is_refused(server: Server, channel: str) -> None:
    """What is taken for the body by one and for frames by another could carry somebody else's requests."""
    assert request(server, "GET", path_of(channel), "body", **HANDSHAKE).status == 400
    with Connection(server) as connection:
        connection.send(request_bytes("GET", path_of(channel), Transfer_Encoding="chunked", **HANDSHAKE) + b"1\r\nx\r\n0\r\n\r\n")
        assert connection.read_response().status == 400


@pytest.mark.parametrize("offered,chosen", [((), None), (("other",), None), (("sluice.v1+raw",), "sluice.v1+raw"),
                                            (("other", "sluice.v1+json", "sluice.v1+raw"), "sluice.v1+json")])
def test_the_first_subprotocol_that_is_known_is_agreed_on(server: Server, channel: str, offered: tuple[str, ...], chosen: str | None) -> None:
    with WebSocket(server, path_of(channel), *offered) as client:
        assert client.protocol == chosen


@pytest.mark.parametrize("size", [1, 4000, 100_000])
@pytest.mark.parametrize("requests", [0, 1, 3])
def test_frames_right_behind_the_handshake_are_read(server: Server, channel: str, size: int, requests: int) -> None:
    """On a fresh connection, and on one that has carried requests already, all sent at once."""
    with Connection(server) as connection:
        text = b"x" * size
        behind = frame_bytes(TEXT, text) + frame_bytes(PING, b"last")
        connection.send(request_bytes("GET", "/healthz") * requests + handshake_bytes(path_of(channel), KEY) + behind)
        for _ in range(requests):
            assert connection.read_response().status == 200
        assert connection.read_head().status == 101
        while not (b"\x8a\x04last" in connection.buffer and text in connection.buffer):
            assert connection.receive()


def test_a_handshake_in_pieces(server: Server, channel: str) -> None:
    with Connection(server) as connection:
        connection.send_bytewise(handshake_bytes(path_of(channel), KEY) + frame_bytes(PING, b"x"))
        assert connection.read_head().status == 101
        assert connection.read_exactly(3) == b"\x8a\x01x"


# What libmicrohttpd lets go.


def test_an_upgraded_connection_is_counted_once_and_gone_when_it_ends(channel: str) -> None:
    with Server("--max-connections-per-ip", "6") as server:
        for _ in range(20):
            clients = [WebSocket(server, path_of(channel)) for _ in range(3)]
            await_connections(server, 3)
            for client in clients:
                is_well(client)
            clients[0].put_close()
            assert clients[0].take_close() == (1000, "")
            for client in clients:
                client.close()
            await_connections(server, 0)


def test_a_limit_refuses_a_handshake_and_not_those_who_are_there(channel: str) -> None:
    with Server("--max-connections-per-ip", "3", "--trusted-proxies", "") as server:
        first, second = WebSocket(server, path_of(channel)), WebSocket(server, path_of(channel))
        with Connection(server) as third:
            assert third.request("GET", "/healthz").status == 200
            with Connection(server) as fourth:
                fourth.send(handshake_bytes(path_of(channel), KEY))
                assert fourth.read_response().error == "too-many-from-address"
        first.close()
        await_connections(server, 1)
        with WebSocket(server, path_of(channel)) as again:
            is_well(again)
        second.close()


def test_upgraded_sockets_leave_no_descriptor_behind(channel: str) -> None:
    with Server("--shards", "1") as server:
        def descriptors() -> int:
            return len(list(server.descriptor_folder().iterdir()))

        get(server, "/healthz")
        await_connections(server, 0)
        before = descriptors()
        clients = [WebSocket(server, path_of(channel)) for _ in range(40)]
        assert descriptors() <= before + 40 + 6, "each has one descriptor; cells have a few"
        for client in clients:
            client.close()
        await_connections(server, 0)
        wait_until(lambda: descriptors() <= before + 6)


def test_upgraded_sockets_do_not_keep_the_loop_busy(channel: str) -> None:
    with Server("--websocket-ping", "0") as server:
        clients = [WebSocket(server, path_of(channel)) for _ in range(200)]
        before, begun = server.cpu_seconds(), time.monotonic()
        wait_until(lambda: time.monotonic() - begun > 1)
        assert server.cpu_seconds() - before < 0.2
        for client in clients:
            client.close()


def test_without_a_descriptor_the_handshake_is_refused_and_the_connection_goes_on(channel: str) -> None:
    with FaultyServer() as server, Connection(server) as connection:
        server.fail_all("fcntl_dup")
        connection.send(handshake_bytes(path_of(channel), KEY))
        assert connection.read_response().error == "no-descriptors"
        server.mend("fcntl_dup")
        connection.send(handshake_bytes(path_of(channel), KEY))
        assert connection.read_head().status == 101


@pytest.mark.parametrize("kind", ["malloc", "calloc", "realloc"])
def test_each_allocation_of_a_websocket_may_fail(kind: str, channel: str) -> None:
    """A refusal, a close that says so, or an end; and the next one works."""
    with FaultyServer() as server:
        for nth in range(1, 60):
            with Connection(server) as connection:
                server.fail(kind, nth)
                connection.send(handshake_bytes(path_of(channel), KEY))
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.send(frame_bytes(TEXT, "a" * 5000, is_final=False) + frame_bytes(PING, "p") + frame_bytes(CONTINUATION, "b"))
                    connection.send(frame_bytes(CLOSE, b"\x03\xe8"))
                connection.read_to_end()
            server.mend(kind)
            await_connections(server, 0)
        with WebSocket(server, path_of(channel)) as client:
            is_well(client)


# Clients that do as they please.


HOSTILE = {
    "text not masked": (frame_bytes(TEXT, "x", mask=None), 1002), "ping not masked": (frame_bytes(PING, "", mask=None), 1002),
    "length 2^64-1": (b"\x82\xff" + b"\xff" * 8 + b"\1\2\3\4x", 1002), "length 2^63": (b"\x82\xff\x80" + b"\0" * 7 + b"\1\2\3\4x", 1002),
    "length 2^63-1": (b"\x82\xff\x7f" + b"\xff" * 7 + b"\1\2\3\4", 1009), "close with one byte": (frame_bytes(CLOSE, b"\x03"), 1002),
    "close with 1006": (frame_bytes(CLOSE, b"\x03\xee"), 1002), "close with a bad reason": (frame_bytes(CLOSE, b"\x03\xe8\xff"), 1007),
    "too large": (frame_bytes(BINARY, b"x" * ((1 << 20) + 1)), 1009), "HTTP": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1002),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00", 1002),
}


@pytest.mark.parametrize("kind", list(HOSTILE))
def test_hostile_bytes_get_their_close_code_and_are_counted(channel: str, kind: str) -> None:
    data, code = HOSTILE[kind]
    with Server() as server, WebSocket(server, path_of(channel)) as client, WebSocket(server, path_of(channel)) as neighbour:
        client.send(data)
        assert client.take_close()[0] == code
        words = {1002: "protocol", 1007: "bad_text", 1009: "too_large"}
        assert count(server, f"closed_{words[code]}_total") == 1
        is_well(neighbour)


def test_too_many_fragments_get_their_close_code(channel: str) -> None:
    with Server("--websocket-fragments", "1000") as server:
        for number, behind in ((998, b""), (999, b"x")):
            with WebSocket(server, path_of(channel)) as client:
                client.send(frame_bytes(TEXT, "", is_final=False) + frame_bytes(CONTINUATION, "", is_final=False) * number)
                client.send(frame_bytes(CONTINUATION, behind))
                if behind:
                    assert client.take_close()[0] == 1008
                else:
                    assert client.take() == ""


def test_pings_from_a_peer_that_does_not_read_do_not_pile_up(channel: str) -> None:
    """It is not read while it takes nothing; and cut as every slow client is."""
    with Server("--slow-client-timeout", "1", "--shards", "1") as server:
        client = WebSocket(server, path_of(channel))
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.socket.settimeout(0.2)
        is_well(client)
        before = server.resident_bytes()
        flood = frame_bytes(PING, b"p" * 125) * 2000
        sent = 0
        try:
            while sent < 200 << 20:
                sent += client.socket.send(flood)
        except TimeoutError:
            pass
        except (ConnectionResetError, BrokenPipeError):
            pass
        assert sent < 100 << 20 and server.resident_bytes() - before < 16 << 20
        wait_until(lambda: count(server, "slow_clients_cut_total") == 1)
        await_connections(server, 0)
        client.close()


def test_answers_that_are_longer_than_their_questions_do_not_pile_up(channel: str) -> None:
    """Each of a thousand requests of 60 bytes asks for a megabyte."""
    with Server("--history-size", "100", "--slow-client-timeout", "1", "--shards", "1") as server:
        for _ in range(20):
            publish(server, channel, "x" * 50_000)
        client = WebSocket(server, "/ws")
        before = server.resident_bytes()
        client.send(frame_bytes(TEXT, json.dumps({"op": "history", "channel": channel, "since": "earliest"})) * 1000)
        wait_until(lambda: count(server, "slow_clients_cut_total") == 1)
        assert server.resident_bytes() - before < 60 << 20
        client.close()


def test_errors_that_are_longer_than_what_they_answer_do_not_pile_up() -> None:
    """Sixty clients send as much as is read at once, and every eight bytes of it are an error."""
    number, question = 7000, frame_bytes(TEXT, "{}")
    with Server("--shards", "1") as server, contextlib.ExitStack() as clients:
        everybody = [clients.enter_context(WebSocket(server, "/ws")) for _ in range(60)]
        everybody[0].send(question)
        answer = frame_bytes(TEXT, everybody[0].take(), mask=None)
        before = server.peak_bytes()
        server.process.send_signal(signal.SIGSTOP)
        for client in everybody:
            client.send(question * number)
        server.process.send_signal(signal.SIGCONT)
        for client in everybody:
            assert client.read_exactly(number * len(answer)) == answer * number
        assert server.peak_bytes() - before < 25 << 20


@pytest.mark.parametrize("number", [600, 1000, 3000, 10_000])
def test_all_that_is_asked_at_once_is_answered_in_order(server: Server, number: int) -> None:
    """More than is taken while as much is owed, whether or not the socket takes that at once."""
    with WebSocket(server, "/ws") as client:
        client.send(b"".join(frame_bytes(TEXT, json.dumps({"op": "none", "ref": i})) for i in range(number)))
        assert [client.take_json()["ref"] for _ in range(number)] == list(range(number))


@pytest.mark.parametrize("last", [b"", frame_bytes(TEXT, "last"), frame_bytes(TEXT, "half")[:5], frame_bytes(TEXT, "x", is_final=False)])
def test_a_peer_that_closes_its_side_is_let_go(channel: str, last: bytes) -> None:
    with Server() as server, WebSocket(server, path_of(channel)) as client:
        is_well(client)
        client.send(last)
        client.socket.shutdown(socket.SHUT_WR)
        client.read_to_end()
        await_connections(server, 0)


def test_peers_that_vanish_in_the_middle_of_anything_are_let_go(server: Server, channel: str) -> None:
    head = handshake_bytes(path_of(channel), KEY)
    data = head + frame_bytes(TEXT, "a", is_final=False) + frame_bytes(CONTINUATION, "b")
    before = count(server, "connections")
    for size in range(len(head) - 10, len(data)):
        with Connection(server) as connection:
            connection.send(data[:size])
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: count(server, "connections") <= before)


def test_two_clients_frames_do_not_mix(server: Server, channel: str) -> None:
    """Each in the middle of its own message while the other goes on."""
    with WebSocket(server, path_of(f"{channel}/a")) as first, WebSocket(server, path_of(f"{channel}/b")) as second:
        one, two = frame_bytes(TEXT, "1" * 3000), frame_bytes(TEXT, "2" * 3000)
        for at in range(0, len(one), 500):
            first.send(one[at:at + 500])
            second.send(two[at:at + 500])
        assert (first.take(), second.take()) == ("1" * 3000, "2" * 3000)


@pytest.mark.parametrize("first", [b"\x81", frame_bytes(TEXT, "xyz")[:-1], frame_bytes(TEXT, "x", is_final=False)])
@again_after_a_stall(0.1)
def test_a_message_that_does_not_become_whole_is_given_up(channel: str, first: bytes) -> None:
    """Also when the peer shows that it is there meanwhile."""
    with Server("--body-timeout", "500ms", "--websocket-ping", "400ms") as server, WebSocket(server, path_of(channel)) as client:
        client.send(first)
        while (frame := client.take_frame()).opcode == PING:
            if first == frame_bytes(TEXT, "x", is_final=False):
                client.send(frame_bytes(PONG) + frame_bytes(CONTINUATION, "y", is_final=False))
        assert frame.close == (1008, "a message has not come whole in time (body-timeout)")


@again_after_a_stall(0.1)
def test_messages_one_after_another_are_each_in_time(channel: str) -> None:
    """Each ends in the bytes with which the next one begins."""
    with Server("--body-timeout", "500ms", "--websocket-ping", "400ms") as server, WebSocket(server, path_of(channel)) as client:
        def hear() -> bytes:
            while (frame := client.take_frame()).opcode == PING:
                pass  # a pong would stand in the middle of a frame
            return frame.data

        begun, message = time.monotonic(), frame_bytes(TEXT, "x" * 100)
        client.send(message[:50])
        while time.monotonic() - begun < 1.5:
            client.send(message[50:] + message[:50])
            assert hear() == b"x" * 100
        client.send(message[50:])
        assert hear() == b"x" * 100


# Silence.


def test_a_silent_peer_is_pinged_and_given_up_when_it_does_not_answer(channel: str) -> None:
    with Server("--websocket-ping", "200ms") as server, WebSocket(server, path_of(channel)) as client:
        assert [client.take_frame() for _ in range(2)] == [Frame(PING), Frame(PING)]
        assert client.take_frame().close == (1011, "nothing has come since two pings (websocket-ping)")
        assert client.is_closed()
        assert count(server, "closed_silent_total") == 1


@again_after_a_stall(0.1)
def test_everyone_who_is_silent_is_pinged(channel: str) -> None:
    with Server("--websocket-ping", "300ms", "--shards", "1") as server:
        clients = [WebSocket(server, path_of(channel)) for _ in range(100)]
        begun = time.monotonic()
        for client in clients:
            assert client.take_frame() == Frame(PING)
            client.put(PONG)
        assert time.monotonic() - begun < 10, "not one after another"
        for client in clients:
            client.close()


@pytest.mark.parametrize("answer", [frame_bytes(PONG), frame_bytes(PONG, b"unasked"), frame_bytes(TEXT, "x")[:1]])
@again_after_a_stall(0.1)
def test_whatever_comes_shows_that_a_peer_is_there(channel: str, answer: bytes) -> None:
    with Server("--websocket-ping", "150ms") as server, WebSocket(server, path_of(channel)) as client:
        for i in range(6):
            assert client.take_frame() == Frame(PING)
            client.send(frame_bytes(TEXT, "xxxxxx")[i:i + 1] if len(answer) == 1 else answer)


def test_a_peer_that_gets_messages_is_not_pinged(channel: str) -> None:
    with Server("--websocket-ping", "1s") as server, WebSocket(server, path_of(channel)) as client:
        begun = time.monotonic()
        while time.monotonic() - begun < 1.5:
            is_well(client)
        client.put(PING, b"end")
        assert client.take_frame() == Frame(PONG, b"end")


# The end of the server.


@pytest.mark.parametrize("drain", ["0", "0.3"])
@again_after_a_stall(0.1)
def test_a_server_that_stops_says_so_to_everyone(channel: str, drain: str) -> None:
    server = Server("--drain-time", drain).start()
    clients = [WebSocket(server, path_of(channel)) for _ in range(200)]
    clients[0].send(frame_bytes(TEXT, "half", is_final=False))
    clients[1].send(frame_bytes(TEXT, "half")[:3])
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 3.5
    server.folder.cleanup()
    for client in clients:
        code, reason = client.take_frame().close
        assert code == 1012 and reason.startswith("the server stops or restarts; connect again after ")
        client.close()


def test_a_server_that_stops_does_not_wait_for_a_peer_that_does_not_read(channel: str) -> None:
    server = Server("--drain-time", "0.2", "--history-bytes", "64MiB").start()
    idle, reader = WebSocket(server, path_of(channel)), WebSocket(server, path_of(channel))
    for _ in range(20):
        reader.put(BINARY, b"x" * (1 << 20))
        assert len(reader.take()) == 1 << 20
    server.stop()
    server.folder.cleanup()
    idle.close()
    reader.close()


def test_the_reasons_of_closing_are_in_the_metrics(server: Server) -> None:
    text = get(server, "/metrics").body.decode()
    assert set(re.findall(r"^sluice_closed_(\w+)_total ", text, re.M)) >= {
        "normal", "late", "protocol", "unsupported", "bad_text", "policy", "too_fragmented", "too_large", "internal", "silent", "restart",
        "try_later"}


def test_an_idle_websocket_costs_little_memory(channel: str) -> None:
    """A sanitizer surrounds all memory with more."""
    most = 30_000 if b"__asan_init" in pathlib.Path(SLUICE).read_bytes() else 5000
    with Server("--shards", "1") as server:
        warm = [WebSocket(server, path_of(channel)) for _ in range(100)]
        before = server.resident_bytes()
        clients = [WebSocket(server, path_of(f"{channel}/{i}")) for i in range(1000)]
        assert server.resident_bytes() - before < 1000 * most
        for client in warm + clients:
            client.close()
