# SPDX-License-Identifier: MIT
"""The end of the process: it comes within the drain time and its grace, whatever is in flight."""

import contextlib
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from support.client import Connection, EventStream, get, path_of, publish, request_bytes, subscribers
from support.faults import FaultyServer
from support.redis import RedisServer, await_ready, metric
from support.server import Server, wait_until
from support.tcp import Raw, tcp_port

GRACE = 1.0
SLACK = 2.5  # for a machine that is busy with other tests
ROUNDS = {
    "RESP PUBLISH": b"*3\r\n$7\r\nPUBLISH\r\n$6\r\ntest/1\r\n$1\r\nx\r\n",
    "listing": request_bytes("GET", "/api/channels"),
    "look": request_bytes("GET", "/api/channels/test/1"),
}


def end(server: Server, within: float, number: int = signal.SIGTERM) -> None:
    begun = time.monotonic()
    server.stop(number)
    assert time.monotonic() - begun < within + SLACK, server.log()
    server.folder.cleanup()


@pytest.mark.parametrize("kind", list(ROUNDS))
@pytest.mark.parametrize("shards", [2, 4])
def test_requests_that_go_round_the_shards_do_not_keep_the_process(kind: str, shards: int) -> None:
    for _ in range(6):
        server = Server("--shards", str(shards), "--drain-time", "0", "--tcp", "127.0.0.1:0 framing=resp").start()
        port = tcp_port(server) if kind.startswith("RESP") else server.port
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
        for client in clients:
            client.sendall(ROUNDS[kind] * 200)
        for client in clients:
            client.recv(1)
        end(server, GRACE)
        for client in clients:
            client.close()


@contextlib.contextmanager
def waiting_for_redis(drain_time: str) -> Iterator[tuple[Server, Connection]]:
    """A node whose Redis hangs while every kind of request waits for it; and the connection of a publisher."""
    with RedisServer() as redis, contextlib.ExitStack() as stack:
        server = Server("--shards", "2", "--drain-time", drain_time, "--broker", redis.url(), "--redis-timeout", "60s",
                        "--tcp", "127.0.0.1:0 framing=resp").start()
        await_ready(server)
        publish(server, "known")
        stack.enter_context(EventStream(server, path_of("known")))
        wait_until(lambda: subscribers(server, "known")["sse"] == 1)
        stack.enter_context(redis.stopped())
        publisher = stack.enter_context(Connection(server))
        publisher.send(request_bytes("POST", path_of("known"), "x", Content_Type="text/plain"))
        for target in ("/api/channels", "/api/channels/known", path_of("new"), path_of("new", transport="sse")):
            stack.enter_context(Connection(server)).send(request_bytes("GET", target))
        stack.enter_context(Connection(server)).send(request_bytes("DELETE", "/api/channels/known"))
        resp = stack.enter_context(Raw(server))
        resp.send(b"*2\r\n$10\r\nPSUBSCRIBE\r\n$7\r\nknown/*\r\n")
        publishing = stack.enter_context(Raw(server))
        publishing.send(ROUNDS["RESP PUBLISH"])
        wait_until(lambda: metric(server, "broker_publishes_pending") >= 2)
        yield server, publisher


def test_requests_that_wait_for_a_stopped_redis_do_not_keep_the_process() -> None:
    with waiting_for_redis(drain_time="0.2") as (server, publisher):
        end(server, 0.2 + GRACE)
        assert publisher.read_response().error in ("stopping", "broker-down")


def test_a_second_signal_ends_what_waits_for_a_stopped_redis() -> None:
    with waiting_for_redis(drain_time="60") as (server, _):
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "event=stopping signal=SIGTERM" in server.log())
        end(server, 0)


def test_the_second_signal_is_announced_and_told() -> None:
    server = Server("--drain-time", "60").start()
    with EventStream(server, path_of("a")):
        wait_until(lambda: subscribers(server, "a")["sse"] == 1)
        server.process.send_signal(signal.SIGINT)
        wait_until(lambda: "signal again to stop at once" in server.log())
        server.process.send_signal(signal.SIGHUP)
        server.process.send_signal(signal.SIGINT)
        wait_until(lambda: "event=stopping-at-once signal=SIGINT" in server.log())
        assert server.process.wait(5) == 0
    server.folder.cleanup()


def test_a_body_that_does_not_come_does_not_keep_the_process(channel: str) -> None:
    for refused in (False, True):
        server = Server("--drain-time", "0.2").start()
        with Connection(server) as connection:
            size = 99_999_999 if refused else 10
            connection.send(request_bytes("POST", path_of(channel), Content_Length=str(size)) + b"hello")
            if refused:
                assert connection.read_response().error == "too-large"
            else:
                wait_until(lambda: metric(server, "requests_total") >= 1)
            end(server, 0.2 + GRACE)


def test_a_connection_that_is_said_to_end_ends_during_the_drain(channel: str) -> None:
    server = Server("--drain-time", "60", "--shards", "1").start()
    with EventStream(server, path_of(channel)), Connection(server) as kept:
        assert kept.request("GET", "/healthz").header("Connection") is None
        wait_until(lambda: subscribers(server, channel)["sse"] == 1)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "event=stopping" in server.log())
        kept.socket.settimeout(5)
        assert kept.request("GET", "/healthz").header("Connection") == "close"
        assert kept.is_closed()
        end(server, 1)


def test_a_request_under_way_is_answered_before_the_end(channel: str) -> None:
    server = Server("--drain-time", "5").start()
    with Connection(server) as connection:
        whole = request_bytes("POST", path_of(channel), "hello", Content_Type="text/plain")
        connection.send(whole[:-2])
        wait_until(lambda: metric(server, "connections") >= 1)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "event=stopping" in server.log())
        connection.send(whole[-2:])
        response = connection.read_response()
        assert response.status == 201 and response.header("Connection") == "close"
    end(server, 1)


def test_half_a_head_is_told_that_the_server_stops() -> None:
    server = Server("--shards", "1", "--drain-time", "0").start()
    with Connection(server) as connection, Connection(server) as silent:
        connection.send(b"GET / HTTP/1.1\r\n")
        assert get(server, "/healthz").status == 200  # by then it has been looked at
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "event=stopping" in server.log())
        assert connection.read_response().error == "stopping"
        for _ in range(2):  # who goes on sending is not reset
            connection.send(b"X: y\r\n")
        assert silent.is_closed()
    end(server, GRACE)


REQUESTS = (
    *ROUNDS.values(), request_bytes("GET", path_of("a")), request_bytes("GET", path_of("b", transport="sse")),
    request_bytes("POST", path_of("a"), "x", Content_Type="text/plain"), request_bytes("DELETE", "/api/channels/a"),
    request_bytes("GET", path_of("a", last=5, channel="b", wait=1), Accept="application/json"),
    b"*2\r\n$10\r\nPSUBSCRIBE\r\n$3\r\na/*\r\n", b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n",
)


def load(server: Server, chance: random.Random) -> list[socket.socket]:
    """Clients that have asked for a mixture of everything and read nothing."""
    clients = []
    for _ in range(30):
        data = chance.choice(REQUESTS)
        client = socket.create_connection(("127.0.0.1", tcp_port(server) if data.startswith(b"*") else server.port))
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            client.send(data * chance.choice((1, 20, 200)))
        clients.append(client)
    return clients


@pytest.mark.long
def test_random_drains_under_load_end_in_time() -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    over = []
    with RedisServer() as redis:
        for i in range(200):
            broker = chance.choice(("memory:", redis.url()))
            drain_time = chance.choice((0, 0.05, 0.3))
            is_stopped = broker != "memory:" and chance.random() < 0.6
            server = Server("--shards", str(chance.choice((2, 4))), "--drain-time", str(drain_time), "--broker", broker,
                            "--tcp", "127.0.0.1:0 framing=resp").start()
            clients = load(server, chance)
            with redis.stopped() if is_stopped else contextlib.nullcontext():
                clients += load(server, chance)
                time.sleep(chance.random() * 0.1)
                begun = time.monotonic()
                server.stop()
                past = time.monotonic() - begun
            over.append(past - drain_time - GRACE)
            assert over[-1] < SLACK, f"seed {seed}, drain {i}: {past:.2f} s with {broker}, stopped {is_stopped}"
            for client in clients:
                client.close()
            server.folder.cleanup()
    print(f"seed {seed}: {sum(each <= 0 for each in over)} of {len(over)} within drain-time and grace, "
          f"the longest {max(over):+.2f} s")


def test_the_word_to_cut_the_broker_comes_while_it_reads_from_redis(channel: str) -> None:
    """Its thread sleeps before each turn and so finds both in one: Redis has always something to tell."""
    with RedisServer() as redis:
        options = ("--broker", redis.url(), "--drain-time", "60", "--redis-subscribe", channel)
        server = FaultyServer(*options).start()
        await_ready(server)
        over = threading.Event()

        def tell() -> None:
            while not over.is_set():
                redis.client.publish(channel, "x" * 1000)

        teller = threading.Thread(target=tell)
        with EventStream(server, path_of(channel)):
            wait_until(lambda: subscribers(server, channel)["sse"] == 1)
            teller.start()
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: "event=stopping" in server.log())
            slow = server.calls("epoll_wait_slow")
            server.fail_all("epoll_wait_slow", 100)
            wait_until(lambda: server.calls("epoll_wait_slow") > slow + 3)
            server.stop()
            over.set()
            teller.join()
        server.folder.cleanup()
