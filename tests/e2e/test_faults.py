# SPDX-License-Identifier: MIT
"""What Sluice does when a call fails: everybody gets an answer or the end of the connection, and nothing is lost."""

import contextlib
import errno
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from support.client import Connection, Ended, EventStream, get, path_of, publish, request_bytes
from support.faults import FaultyServer
from support.redis import metric
from support.server import wait_until
from support.stillness import again_after_a_stall
from support.tcp import Raw, Resp
from support.tokens import bearer, make_token, secret_file
from support.websocket import CLOSE, TEXT, WebSocket, frame_bytes, handshake_bytes

TCP = ("--tcp", "127.0.0.1:0 framing=crlf")


@contextlib.contextmanager
def keeping_descriptors(server: FaultyServer) -> Iterator[None]:
    """Checks that what the body opens is closed again."""
    before = server.open_descriptors()
    yield
    wait_until(lambda: server.open_descriptors() <= before, what="the closing of descriptors")


def statuses(connection: Connection) -> list[int]:
    """What is answered until the connection ends."""
    text = connection.read_to_end().decode("latin-1")
    return [int(part.split(" ", 1)[0]) for part in text.split("HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("kind", ["add_connection_early", "add_connection_late"])
def test_a_connection_that_cannot_be_added_is_closed(kind: str) -> None:
    with FaultyServer() as server:
        assert get(server, "/healthz").status == 200  # the cell is there
        with keeping_descriptors(server):
            for _ in range(5):
                server.fail(kind)
                with Connection(server) as connection:
                    connection.send(request_bytes("GET", "/healthz"))
                    assert connection.is_closed()
                assert server.mend(kind)
        assert get(server, "/healthz").status == 200
        assert kind == "add_connection_late" or "connection-lost" in server.log()
        wait_until(lambda: metric(server, "connections") <= 1)  # the one that asks


@pytest.mark.parametrize("kind", ["add_connection_early", "add_connection_late"])
def test_a_connection_that_cannot_be_added_is_not_counted(kind: str) -> None:
    with FaultyServer("--max-connections", "2") as server:
        for _ in range(5):
            server.fail(kind)
            with Connection(server) as connection:
                connection.send(request_bytes("GET", "/healthz"))
                assert connection.is_closed()
        with Connection(server) as one, Connection(server) as other:
            assert one.request("GET", "/healthz").status == other.request("GET", "/healthz").status == 200


@pytest.mark.parametrize("kind", ["calloc", "epoll_ctl_add"])
def test_without_a_cell_the_client_is_told(kind: str) -> None:
    """The first connection: one call is for the client, the next for the cell."""
    for nth in (1, 2):
        with FaultyServer() as server, keeping_descriptors(server):
            server.fail(kind, nth)
            with Connection(server) as connection:
                connection.send(request_bytes("GET", "/healthz"))
                assert connection.read_response().error == "out-of-memory"
                assert connection.is_closed()
            assert server.mend(kind)


def test_a_client_that_cannot_be_watched_at_its_admission_is_told() -> None:
    with FaultyServer() as server:
        server.fail("epoll_ctl_mod", 1)
        with Connection(server) as connection:
            connection.send(request_bytes("GET", "/healthz"))
            assert connection.read_response().error == "out-of-memory"
        assert get(server, "/healthz").status == 200


@pytest.mark.parametrize("kind", ["malloc", "calloc", "realloc"])
@pytest.mark.parametrize("what", ["publish", "poll", "look", "list"])
def test_each_allocation_of_a_request_may_fail(what: str, kind: str, channel: str) -> None:
    targets = {"poll": path_of(channel, last=1), "look": f"/api/channels/{channel}", "list": "/api/channels"}
    with FaultyServer() as server:
        publish(server, channel)
        nth, is_due = 1, True
        while is_due:
            data = request_bytes("GET", targets[what], Connection="close") if what in targets else \
                request_bytes("POST", path_of(channel), "x", Content_Type="text/plain", Connection="close")
            server.fail(kind, nth)
            with Connection(server) as connection:
                connection.send(data)
                answered = statuses(connection)
            is_due = server.mend(kind)
            assert all(status in (200, 201, 503) for status in answered), (nth, answered)
            assert answered or is_due, nth
            nth += 1
        assert get(server, path_of(channel, since="earliest"), Accept="application/json").body.count(b'"data":"x"') == \
            get(server, f"/api/channels/{channel}").json["messages"], "something else was published"
        assert nth < 100


@pytest.mark.parametrize("kind", ["malloc", "calloc", "realloc"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_what_is_accepted_without_memory_is_told(method: str, kind: str, channel: str) -> None:
    """Publishing and purging while somebody listens: they are told, or cut, or nothing has been done."""
    with FaultyServer() as server:
        nth, is_due = 1, True
        while is_due:
            name = f"{channel}/{nth}"
            publish(server, name, "first")
            with EventStream(server, path_of(name, since="earliest")) as stream:
                assert stream.next_event().data == "first"
                server.fail(kind, nth)
                target = path_of(name) if method == "POST" else f"/api/channels/{name}"
                with Connection(server) as connection:
                    connection.send(request_bytes(method, target, "second", Connection="close"))
                    answered = statuses(connection)
                is_due = server.mend(kind)
                stream.socket.settimeout(5)
                if answered and answered[0] in (200, 201):
                    event = stream.next_block()
                    assert event is None or (event.event or event.data) == ("second" if method == "POST" else "reset"), nth
                publish(server, name, "last")
                while (event := stream.next_block()) and event.data != "last":
                    pass
            nth += 1
        assert nth < 100


def test_a_new_channel_without_memory_is_told_to_patterns(channel: str) -> None:
    with FaultyServer("--tcp", "127.0.0.1:0 framing=resp") as server:
        nth, is_due = 1, True
        while is_due:
            with Resp(server) as client:
                client.run("PSUBSCRIBE", f"{channel}/{nth}/*")
                name = f"{channel}/{nth}/new"
                server.fail("malloc", nth)
                with Connection(server) as connection:
                    connection.send(request_bytes("POST", path_of(name), "first", Content_Type="text/plain", Connection="close"))
                    is_accepted = 201 in statuses(connection)
                is_due = server.mend("malloc")
                publish(server, name, "last")
                told = b"last", b" incomplete ", b"-ERR out-of-memory"
                is_open = True
                while is_open and not any(part in client.buffer for part in told):
                    is_open = client.receive()
                is_told = not is_open or any(part in client.buffer for part in told[1:])
                assert is_told or b"first" in client.buffer or not is_accepted, nth
            nth += 1
        assert nth < 100


@pytest.mark.parametrize("kind", ["malloc", "calloc", "realloc", "epoll_ctl_add"])
def test_each_allocation_of_a_tcp_connection_may_fail(kind: str, channel: str) -> None:
    with FaultyServer(*TCP) as server:
        with Raw(server) as first:
            assert first.ask(b"PING") == b"PONG"
        with keeping_descriptors(server):
            nth, is_due = 1, True
            while is_due:
                server.fail(kind, nth)
                with Raw(server) as client:
                    client.put(f"SUBSCRIBE {channel}".encode(), b"PUBLISH x y", b"QUIT")
                    client.read_to_end()
                is_due = server.mend(kind)
                nth += 1
            assert nth < 100
        with Raw(server) as last:
            assert last.ask(b"PING") == b"PONG"


TALKS = {
    "raw": ("/channels/{0}", ["y", "z" * 70_000]),
    "json": ("/channels/{0}?channel={0}/2&format=json&last=1", ["y"]),
    "commands": ("/ws", ['{{"op":"subscribe","channels":["{0}","{0}/2"],"last":1}}', '{{"op":"publish","channel":"{0}","data":1}}',
                         '{{"op":"history","channel":"{0}","last":1}}', '{{"op":"unsubscribe"}}']),
}


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("kind", ["malloc", "calloc", "realloc", "epoll_ctl_add", "fcntl_dup"])
def test_each_allocation_of_a_websocket_may_fail(kind: str, talk: str, channel: str) -> None:
    target, frames = TALKS[talk]
    said = b"".join(frame_bytes(TEXT, text.format(channel)) for text in frames) + frame_bytes(CLOSE, b"\x03\xe8")
    with FaultyServer() as server:
        publish(server, channel)
        with keeping_descriptors(server):
            nth, is_due = 1, True
            while is_due:
                server.fail(kind, nth)
                with Connection(server) as client:
                    client.send(handshake_bytes(target.format(channel), "dGhlIHNhbXBsZSBub25jZQ==") + said)
                    client.read_to_end()
                is_due = server.mend(kind)
                nth += 1
            assert nth < 200
        wait_until(lambda: metric(server, "connections") <= 1)
        with WebSocket(server, path_of(channel)) as last:
            last.put_text("x")
            assert last.take() == "x"


Ask = Callable[[FaultyServer], bool]


def ask_http(server: FaultyServer) -> bool:
    return get(server, "/healthz").status == 200


def ask_tcp(server: FaultyServer) -> bool:
    with Raw(server) as client:
        return client.ask(b"PING") == b"PONG"


@pytest.mark.parametrize("ask", [ask_http, ask_tcp])
@pytest.mark.parametrize("number", ["ENOBUFS", "ENOMEM", "EMFILE", "ENFILE"])
def test_accepting_pauses_and_goes_on(ask: Ask, number: str) -> None:
    with FaultyServer(*TCP) as server:
        assert ask(server)
        server.fail_all("accept4", getattr(errno, number))
        before = server.calls("accept4")
        with Raw(server) if ask is ask_tcp else Connection(server) as waiting:
            waiting.send(b"PING\r\n" if ask is ask_tcp else request_bytes("GET", "/healthz"))
            begun = time.monotonic()
            wait_until(lambda: server.calls("accept4") > before + 5, what="another try")
            assert server.calls("accept4") - before < 10 + 40 * (time.monotonic() - begun), "it tries all the time"
            server.mend("accept4")
            assert waiting.receive()
        assert ask(server)


@again_after_a_stall(0.1)
def test_interrupted_and_aborted_accepts_do_not_keep_others_waiting(channel: str) -> None:
    with FaultyServer(*TCP) as server:
        begun = time.monotonic()
        for number in (errno.EINTR, errno.ECONNABORTED):
            for ask in (ask_http, ask_tcp) * 10:
                server.fail("accept4", 1, number)
                assert ask(server)
                assert server.mend("accept4")
        assert time.monotonic() - begun < 1, "pauses"


def test_a_thread_that_is_stuck_does_not_keep_the_process(channel: str) -> None:
    with FaultyServer("--drain-time", "0", expect_exit=1) as server:
        server.fail("epoll_wait_stuck")
        Connection(server).close()
        wait_until(lambda: server.has_failed("epoll_wait_stuck"))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(1 + 5 + 5) == 1
        assert "ended by force" in server.log()


@again_after_a_stall(0.1)
def test_a_survey_on_its_round_outlasts_the_second_signal(channel: str) -> None:
    with FaultyServer("--shards", "2", "--drain-time", "60") as server, contextlib.ExitStack() as stack:
        server.fail("epoll_wait_slow", 1, 1500)
        begun = time.monotonic()
        # Whichever shard takes this one then sleeps; who is answered meanwhile is the other's.
        stack.enter_context(Connection(server)).send(request_bytes("GET", "/healthz"))
        wait_until(lambda: server.has_failed("epoll_wait_slow"))
        while True:
            connection = stack.enter_context(Connection(server))
            connection.socket.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                assert connection.request("GET", "/healthz").status == 200
                break
        connection.send(request_bytes("GET", "/api/channels"))
        for event in ("event=stopping ", "event=stopping-at-once"):
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda event=event: event in server.log())  # type: ignore[misc]
        assert time.monotonic() - begun < 1.4, "the machine is too slow for this test"
        connection.socket.settimeout(10)
        assert connection.read_response().status == 200
        assert server.process.wait(10) == 0


def test_half_a_head_in_the_turn_in_which_a_shard_closes(channel: str) -> None:
    """The word to close and the bytes are both there when the shard looks."""
    server = FaultyServer("--drain-time", "60").start()
    kept = [Connection(server) for _ in range(3)]
    for connection in kept:
        assert connection.request("GET", "/healthz").status == 200
    with EventStream(server, path_of(channel)):
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "event=stopping" in server.log())
        slow = server.calls("epoll_wait_slow")
        server.fail_all("epoll_wait_slow", 200)
        wait_until(lambda: server.calls("epoll_wait_slow") > slow)
        server.process.send_signal(signal.SIGTERM)
        for connection in kept:
            connection.send(b"GET /heal")
        server.stop(0)
    for connection in kept:
        assert statuses(connection) == [503]
        connection.close()
    server.folder.cleanup()


@pytest.mark.parametrize("kind", ["fcntl_dup", "dup3", "epoll_ctl_add"])
def test_a_connection_that_cannot_change_its_memory_is_closed(kind: str, channel: str) -> None:
    with FaultyServer() as server:
        assert get(server, "/healthz").status == 200
        with keeping_descriptors(server):
            for _ in range(5):
                with Connection(server) as connection:
                    assert connection.request("GET", path_of(channel, wait=0)).status == 204
                    server.fail(kind)
                    connection.send(request_bytes("GET", path_of(channel, wait=0), Prefer="p" * 20_000))
                    assert connection.is_closed()
                assert server.mend(kind)
        wait_until(lambda: metric(server, "connections") <= 1)


@pytest.mark.parametrize("kind", ["jose", "malloc", "calloc", "realloc"])
def test_a_good_token_is_never_called_bad_for_want_of_memory(kind: str) -> None:
    seen = set()
    with FaultyServer("--jwt-key", f"HS256:{secret_file()}") as server:
        fields = bearer(make_token(["a"]))
        for nth in range(1, 60):
            server.fail(kind, nth)
            with contextlib.suppress(OSError, Ended):
                response = get(server, path_of("a", last=1, wait=0), **fields)
                assert response.status in (204, 503), response
                seen.add(response.status)
                assert kind != "jose" or response.status == 204 or response.error == "out-of-memory"
            if not server.mend(kind):
                break
    assert kind != "jose" or seen == {204, 503}
