# SPDX-License-Identifier: MIT
"""Connections that carry many requests: of all sizes, of many clients, one after another or all at once."""

import random
import socket
from collections.abc import Callable

import pytest
from support.client import Connection, EventStream, Response, get, path_of, publish, request_bytes, subscribers
from support.redis import metric
from support.server import Server, wait_until

HEAD_SIZE = 32_768
Check = Callable[[Response], None]


def pad(head: bytes, size: int, name: str) -> bytes:
    """The same request with one more field, so that its head has `size` bytes."""
    end = head.index(b"\r\n\r\n") + 2
    more = size - end - 2 - len(name) - 4
    return head if more < 1 else head[:end] + f"{name}: {'p' * more}\r\n".encode() + head[end:]


@pytest.mark.parametrize("name", ["Cookie", "Prefer"])  # not asked for, asked for
@pytest.mark.parametrize("size", [1400, 4000, 12_000, HEAD_SIZE])
def test_a_larger_head_after_a_small_one(server: Server, channel: str, name: str, size: int) -> None:
    with Connection(server) as connection:
        for _ in range(3):
            assert connection.request("GET", path_of(channel, wait=0)).status == 204
            connection.send(pad(request_bytes("GET", path_of(channel, wait=0)), size, name))
            assert connection.read_response().status == 204


def test_a_long_target_after_a_short_one(server: Server, channel: str) -> None:
    others = "".join(f"&channel={channel}/{i}" for i in range(60))
    with Connection(server) as connection:
        for _ in range(3):
            assert connection.request("GET", path_of(channel, wait=0)).status == 204
            assert len(connection.request("GET", path_of(channel, wait=0) + others).cursor.split(".")) == 61


def test_a_head_over_the_limit_on_a_kept_connection(server: Server, channel: str) -> None:
    for wrong, error in ((pad(request_bytes("GET", "/healthz"), HEAD_SIZE + 1, "Cookie"), (431, "head-too-large")),
                         (b"GET /" + b"x" * HEAD_SIZE, (414, "target-too-long")),
                         (b"GET /healthz HTTP/1.1\r\nHost: x\r\n folded: 1\r\n\r\n", (400, "bad-request")),
                         (b"nonsense\r\n\r\n", (400, "bad-request"))):
        with Connection(server) as connection:
            assert connection.request("GET", path_of(channel, wait=0)).status == 204
            connection.send(wrong)
            response = connection.read_response()
            assert (response.status, response.error) == error
            assert connection.is_closed()


class Requests:
    """Random requests, and what is to come back for each."""

    def __init__(self, server: Server, channel: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.channel = channel
        self.names = [f"{channel}/{i}" for i in range(20)]
        for name in self.names:
            publish(server, name, name * self.random.randrange(1, 200))

    def read(self) -> tuple[bytes, Check]:
        name = self.random.choice(self.names)

        def check(response: Response) -> None:
            assert response.status == 200 and response.header("Sluice-Channel") == name
            assert response.body.startswith(name.encode())

        return request_bytes("GET", path_of(name, last=1)), check

    def look(self) -> tuple[bytes, Check]:
        def check(response: Response) -> None:
            assert (response.status, response.body) == (200, b"ok\n")

        return request_bytes("GET", "/healthz"), check

    def write(self) -> tuple[bytes, Check]:
        body = b"b" * self.random.choice([0, 1, 100, 5000, 70_000])
        target = path_of(f"{self.channel}/written/{self.random.randrange(1 << 40)}")

        def check(response: Response) -> None:
            assert response.status == 201 and target.startswith("/channels/" + response.json["channel"])

        if self.random.random() < 0.5:
            return request_bytes("POST", target, body, Content_Type="text/plain"), check
        chunks = b""
        while body:
            size = self.random.randrange(1, len(body) + 1)
            chunks += b"%x\r\n" % size + body[:size] + b"\r\n"
            body = body[size:]
        return request_bytes("POST", target, Transfer_Encoding="chunked", Content_Type="text/plain") + chunks + b"0\r\n\r\n", check

    def refused(self) -> tuple[bytes, Check]:
        def check(response: Response) -> None:
            assert response.status == 405 and response.error == "method-not-allowed"

        return request_bytes("DELETE", "/healthz", b"x" * self.random.choice([0, 10, 3000])), check

    def any(self) -> tuple[bytes, Check]:
        data, check = self.random.choice([self.read, self.read, self.look, self.write, self.refused])()
        size = int(HEAD_SIZE ** self.random.uniform(0.3, 1))
        return pad(data, size, self.random.choice(["Cookie", "Prefer", "X-Other"])), check


def send_in_pieces(connection: Connection, data: bytes, pieces: random.Random) -> None:
    """In pieces of random sizes; what comes back is taken meanwhile, so that neither side waits for the other."""
    connection.socket.setblocking(False)
    at = 0
    while at < len(data):
        size = pieces.choice([1, 2, 50, 1000, 10_000, 200_000])
        try:
            at += connection.socket.send(data[at:at + size])
        except BlockingIOError:
            pass
        try:
            connection.buffer += connection.socket.recv(65536)
        except BlockingIOError:
            pass
    connection.socket.settimeout(20)


@pytest.mark.parametrize("most", [1, 4, 40])
def test_every_request_gets_its_own_answer(server: Server, channel: str, most: int) -> None:
    """Up to `most` at once, cut anywhere."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    requests = Requests(server, channel, seed)
    for _ in range(6):
        with Connection(server) as connection:
            for _ in range(1 + 60 // most):
                some = [requests.any() for _ in range(requests.random.randrange(1, most + 1))]
                send_in_pieces(connection, b"".join(data for data, _ in some), requests.random)
                for _, check in some:
                    check(connection.read_response())


def test_requests_that_come_while_polls_are_held_are_answered_after_them(channel: str) -> None:
    """Many at once: libmicrohttpd goes on with them in one run, and is to read from none."""
    with Server("--shards", "1") as server:
        waiting = [Connection(server) for _ in range(20)]
        for connection in waiting:
            connection.send(request_bytes("GET", path_of(channel)))
        wait_until(lambda: get(server, f"/api/channels/{channel}").status == 200 and subscribers(server, channel)["poll"] == 20)
        for connection in waiting:
            connection.send(request_bytes("GET", "/healthz") * 2)
        publish(server, channel, "x")
        for connection in waiting:
            assert connection.read_response().body == b"x"
            assert connection.read_response().body == connection.read_response().body == b"ok\n"
            connection.close()


def test_requests_sent_together_with_the_end(server: Server, channel: str) -> None:
    with Connection(server) as connection:
        connection.send(request_bytes("GET", "/healthz") * 5 + request_bytes("POST", path_of(channel), "x"))
        connection.socket.shutdown(socket.SHUT_WR)
        for _ in range(5):
            assert connection.read_response().body == b"ok\n"
        assert connection.read_response().status == 201
        assert connection.is_closed()


def test_a_kept_connection_ends_after_its_time(channel: str) -> None:
    with Server("--keepalive-timeout", "1", "--head-timeout", "0.3") as server:
        with Connection(server) as idle, Connection(server) as slow:
            assert idle.request("GET", "/healthz").status == slow.request("GET", "/healthz").status == 200
            slow.send(b"GET /heal")
            assert slow.read_response().error == "head-timeout"
            assert idle.is_closed()
        wait_until(lambda: metric(server, "connections") <= 1)


def test_a_stream_after_a_poll_and_a_poll_after_many_sizes_cost_little_memory(channel: str) -> None:
    """The memory of a connection follows its requests: one that had a large head is not held with what that took."""
    with Server("--shards", "1") as server:
        held = [Connection(server) for _ in range(600)]
        small = request_bytes("GET", path_of(channel, wait=50))
        for connection in held[:300]:
            connection.send(small)
        wait_until(lambda: get(server, f"/api/channels/{channel}").status == 200 and subscribers(server, channel)["poll"] == 300)
        before = server.resident_bytes()
        for connection in held[300:]:
            connection.send(pad(request_bytes("GET", path_of(channel, wait=0)), 30_000, "Prefer"))
            assert connection.read_response().status == 204
            connection.send(small)
        wait_until(lambda: subscribers(server, channel)["poll"] == 600)
        assert server.resident_bytes() - before < 300 * 12_000 + 3_000_000
        for connection in held:
            connection.close()


def test_what_is_kept_ends_with_the_server(channel: str) -> None:
    server = Server("--drain-time", "0.1").start()
    kept = [Connection(server) for _ in range(20)]
    for connection in kept:
        assert connection.request("GET", path_of(channel, wait=0)).status == 204
    with EventStream(server, path_of(channel)):
        server.stop()
    for connection in kept:
        assert connection.is_closed()
        connection.close()
    server.folder.cleanup()
