# SPDX-License-Identifier: MIT
"""What clients may have the server keep: every limit refuses loudly, and memory stays where it is."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from support.client import Connection, path_of, publish, request, request_bytes
from support.commands import Commands
from support.redis import RedisServer, metric, nodes
from support.server import Server, wait_until
from support.sockjs import Session
from support.tcp import Raw, Resp, command
from support.websocket import WebSocket, frame_bytes


# Channels that linger.

def come_and_go(client: WebSocket, names: range, step: int = 50) -> None:
    """Subscribes to each name and leaves it again, many at a time."""
    for first in range(names.start, names.stop, step):
        client.put_text(json.dumps({"op": "subscribe", "channels": [f"visited/{number}" for number in range(first, first + step)]}))
        client.put_text('{"op":"unsubscribe"}')
        assert json.loads(client.take())["op"] == "subscribed", first
        assert json.loads(client.take())["op"] == "unsubscribed", first


def test_only_so_many_channels_linger_however_many_are_visited() -> None:
    """The logs of those that were left make room for others: memory is where it was after the first tenth of them."""
    with Server("--shards", "1", "--linger-time", "1h", "--linger-channels", "100", "--memory-limit", "8MiB") as server:
        with WebSocket(server, "/ws") as client:
            come_and_go(client, range(30_000))
            before = server.resident_bytes()
            come_and_go(client, range(30_000, 300_000))
            assert server.resident_bytes() - before < 4 << 20
            wait_until(lambda: metric(server, "channels_attached") <= 100)
            assert metric(server, "channels") < 60_000
            commands = Commands(client.put_text, client.take)
            commands.subscribe("kept")
            commands.publish("kept", "x")
            assert commands.next_data() == "x"


def test_a_channel_that_lingers_is_not_lost_to_who_comes_back() -> None:
    with Server("--shards", "1", "--linger-channels", "1") as server, WebSocket(server, "/ws") as client:
        commands = Commands(client.put_text, client.take)
        cursor = commands.subscribe("a")["cursor"]
        commands.ask("unsubscribe", channels=["a"])
        commands.publish("a", "missed")
        come_and_go(client, range(10), 10)
        assert commands.subscribe("a", since=cursor)["recovered"] is True
        assert commands.next_data() == "missed"


MILLION = 1_000_000


def publish_to_each(server: Server, names: range, step: int = 50_000) -> None:
    with Connection(server) as connection:
        for first in range(names.start, names.stop, step):
            lines = [f'{{"channel":"m/{number}","data":{number}}}' for number in range(first, first + step)]
            response = connection.request("POST", "/channels", "\n".join(lines), Content_Type="application/x-ndjson")
            assert response.status == 200 and b"error" not in response.body


@pytest.mark.long
def test_a_million_channels_that_are_published_to_stay_within_the_memory_limit() -> None:
    """The longest idle ones go; the newest are there. (Of several shards each has an arena of malloc's, in which it finds what it has freed.)"""
    with Server("--memory-limit", "64MiB", "--shards", "1") as server:
        publish_to_each(server, range(MILLION // 4))
        before = server.resident_bytes()
        publish_to_each(server, range(MILLION // 4, MILLION))
        assert server.resident_bytes() - before < 16 << 20
        assert metric(server, "message_bytes") < 64 << 20 and metric(server, "channels_evicted_total") > MILLION // 2
        assert request(server, "GET", path_of(f"m/{MILLION - 1}", last=1, wait=0)).body == str(MILLION - 1).encode()
        assert request(server, "GET", path_of("m/0", last=1, wait=0)).status == 204


@pytest.mark.long
def test_a_million_channels_that_are_subscribed_to_stay_within_the_memory_limit() -> None:
    with Server("--memory-limit", "64MiB") as server, WebSocket(server, "/ws") as client:
        come_and_go(client, range(MILLION // 4))
        before = server.resident_bytes()
        come_and_go(client, range(MILLION // 4, MILLION))
        assert server.resident_bytes() - before < 16 << 20
        wait_until(lambda: metric(server, "channels_attached") <= 20_000)
        publish(server, "m", "x")


@pytest.mark.long
def test_a_million_channels_at_once_are_kept_to_those_that_there_may_be() -> None:
    with Server("--max-channels", "100000") as server:
        publish_to_each(server, range(100_000))
        before = server.resident_bytes()
        with Connection(server) as connection:
            lines = "\n".join(f'{{"channel":"more/{number}","data":1}}' for number in range(100_000))
            for _ in range(9):
                response = connection.request("POST", "/channels", lines, Content_Type="application/x-ndjson")
                assert response.body.count(b'"channel-limit"') == 100_000
        assert server.resident_bytes() - before < 64 << 20
        assert metric(server, "channels") == 100_000 and metric(server, "channels_refused_total") == 900_000


# Channels of a connection, and in all.

def test_a_connection_has_so_many_channels_whatever_it_speaks() -> None:
    with Server("--max-channels-per-connection", "2", "--tcp", "127.0.0.1:0 framing=crlf", "--tcp", "127.0.0.1:0 framing=resp") as server:
        refused = request(server, "GET", path_of("a", channel="b") + "&channel=c")
        assert (refused.status, refused.error) == (400, "too-many-channels") and "at most 2" in refused.json["message"]
        with WebSocket(server, "/ws") as client, Raw(server) as raw, Resp(server, 1) as resp:
            commands = Commands(client.put_text, client.take)
            commands.subscribe("a", "b")
            assert commands.error("subscribe", channels=["c"]) == "too-many-channels"
            commands.ask("unsubscribe", channels=["a"])
            commands.subscribe("c")
            answers = [raw.ask(f"SUBSCRIBE {name}".encode()) for name in "abc"]
            assert b"too-many-channels" in answers[2] and b"max-channels-per-connection" in answers[2] and b"ERROR" not in answers[0] + answers[1]
            resp.send(command("SUBSCRIBE", "a", "b", "c"))
            assert b"too-many-channels" in resp.read_until(b"(max-channels-per-connection)\r\n")


def test_a_channel_too_many_is_refused_and_those_that_are_there_are_kept() -> None:
    with Server("--max-channels", "3", "--linger-time", "0") as server, WebSocket(server, "/ws") as client:
        commands = Commands(client.put_text, client.take)
        commands.subscribe("used")
        publish(server, "kept", "x")
        publish(server, "kept/2", "x")
        for refused in (request(server, "POST", path_of("new"), "x", Content_Type="text/plain"),
                        request(server, "GET", path_of("new", wait=0))):
            assert (refused.status, refused.error, refused.header("Retry-After")) == (503, "channel-limit", "2")
        assert commands.error("subscribe", channels=["new"]) == "channel-limit"
        assert commands.error("publish", channel="new", data="x") == "channel-limit"
        assert metric(server, "channels_refused_total") == 4 and metric(server, "channels") == 3
        publish(server, "used", "still")
        assert commands.next_data() == "still"
        assert request(server, "GET", path_of("kept", last=1, wait=0)).body == b"x"


def test_an_empty_channel_that_nobody_uses_makes_room_for_a_new_one() -> None:
    with Server("--max-channels", "2", "--linger-time", "0", "--shards", "1") as server:
        publish(server, "kept", "x")
        for name in ("a", "b", "c"):
            assert request(server, "GET", path_of(name, wait=0)).status == 204
            wait_until(lambda: metric(server, "channels_attached") == 0)
        publish(server, "full", "x")
        assert request(server, "POST", path_of("d"), "x", Content_Type="text/plain").error == "channel-limit"
        assert request(server, "GET", path_of("kept", last=1, wait=0)).body == b"x"


def test_channels_in_use_on_a_node_are_limited_over_redis_too() -> None:
    with RedisServer() as redis, nodes(1, redis, options=("--max-channels", "2")) as (server,), WebSocket(server, "/ws") as client:
        commands = Commands(client.put_text, client.take)
        commands.subscribe("a", "b")
        assert commands.error("subscribe", channels=["c"]) == "channel-limit"
        publish(server, "c", "x")
        publish(server, "a", "x")
        assert commands.next_data() == "x"
        assert metric(server, "channels_refused_total") == 1


# Sessions of SockJS.

def test_a_session_too_many_is_refused_and_those_that_are_there_are_kept() -> None:
    with Server("--max-sessions", "2", "--sockjs", "/echo app=echo") as server:
        kept = Session(server).open()
        Session(server).open()
        refused = Session(server).post("xhr")
        assert (refused.status, refused.error, refused.header("Retry-After")) == (503, "too-many-sessions", "2")
        assert metric(server, "sockjs_sessions_refused_total") == 1
        kept.put("still here")
        assert kept.take_messages() == ["still here"]
        wait_until(lambda: Session(server).post("xhr").status == 200, what="the end of a session")


def test_an_address_has_as_many_sessions_as_connections() -> None:
    def begin(connection: Connection, name: str) -> tuple[int, str]:
        response = connection.request("POST", f"/echo/0/{name}/xhr", b"")
        return (200, "") if response.status == 200 else (response.status, response.error)

    with (Server("--max-connections-per-ip", "2", "--sockjs", "/echo app=echo") as server,
          Connection(server, source="127.0.0.2") as one, Connection(server, source="127.0.0.3") as other):
        assert [begin(one, name) for name in "abc"] == [(200, ""), (200, ""), (503, "too-many-from-address")]
        assert begin(other, "d") == (200, "")
        assert metric(server, "sockjs_sessions_refused_total") == 1


# Memory for what connections have sent and not fetched.

PART = 60_000
SMALL = ("--shards", "1", "--connection-memory", "1MiB", "--message-size", "64KiB", "--batch-size", "64KiB", "--body-timeout", "1h")
FULL = "connection-memory"


@contextmanager
def filled(server: Server) -> Iterator[None]:
    """Bodies that never become whole have filled what is there for large ones."""
    with ExitStack() as stack:
        while metric(server, "connection_memory_refused_total") == 0:
            connection = stack.enter_context(Connection(server))
            before = metric(server, "connection_memory_bytes")
            connection.send(request_bytes_of(PART)[:-1])
            wait_until(lambda: metric(server, "connection_memory_bytes") != before
                       or metric(server, "connection_memory_refused_total") > 0)
        yield
    wait_until(lambda: metric(server, "connection_memory_bytes") == 0)


def request_bytes_of(size: int) -> bytes:
    head = f"POST {path_of('filled')} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + b"x" * size


def test_a_body_that_does_not_fit_is_refused_and_a_short_one_is_not() -> None:
    with Server(*SMALL) as server:
        with filled(server):
            for headers in ({}, {"Transfer_Encoding": "chunked"}):
                body = b"x" * PART
                with Connection(server) as connection:
                    if headers:
                        connection.send(request_bytes("POST", path_of("a"), None, Content_Type="text/plain", **headers)
                                        + f"{PART:x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
                        refused = connection.read_response()
                    else:
                        refused = connection.request("POST", path_of("a"), body, Content_Type="text/plain")
                    assert (refused.status, refused.error, refused.header("Retry-After")) == (503, FULL, "2")
                    assert connection.request("POST", path_of("a"), "short", Content_Type="text/plain").status == 201
        publish(server, "a", b"x" * PART)


def test_short_bodies_have_what_large_ones_may_not_fill() -> None:
    with Server(*SMALL) as server, filled(server), ExitStack() as stack:
        senders = [stack.enter_context(Connection(server)) for _ in range(15)]
        before = metric(server, "connection_memory_bytes")
        for sender in senders:
            sender.send(request_bytes_of(10_000)[:-1])
        wait_until(lambda: metric(server, "connection_memory_bytes") >= before + 15 * 10_000)
        for sender in senders:
            sender.send(b"x")
            assert sender.read_response().status == 201


def test_a_websocket_message_that_does_not_fit_closes_the_connection() -> None:
    with Server(*SMALL) as server:
        with filled(server), WebSocket(server, "/ws") as client:
            Commands(client.put_text, client.take).subscribe("a")
            client.send(frame_bytes(1, b"x" * PART, is_final=False))
            code, reason = client.take_close()
            assert code == 1013 and FULL in reason
            assert metric(server, "closed_connection_memory_total") == 1
        with WebSocket(server, path_of("a")) as client:
            client.put_text("x" * PART)
            wait_until(lambda: metric(server, "published_total") == 1)


def test_a_frame_of_raw_tcp_that_does_not_fit_ends_the_connection_behind_its_answers() -> None:
    with Server(*SMALL, "--tcp", "127.0.0.1:0 framing=crlf input=command") as server:
        with filled(server), Raw(server) as client:
            assert client.ask(b"PUBLISH a short").startswith(b"CONFIRMED")
            client.send(b"PUBLISH a " + b"x" * PART)
            assert client.take().startswith(f"ERROR {FULL} ".encode()) and client.is_closed()
        with Raw(server) as client:
            assert client.ask(b"PUBLISH a " + b"x" * PART).startswith(b"CONFIRMED")


def test_a_command_of_resp_that_does_not_fit_ends_the_connection_and_a_transaction_itself() -> None:
    with Server(*SMALL, "--tcp", "127.0.0.1:0 framing=resp") as server:
        with filled(server), Resp(server) as client, Resp(server) as queueing:
            client.send(command("PUBLISH", "a", b"x" * PART)[:-2])
            assert client.read_until(b"\r\n").startswith(f"-ERR {FULL} ".encode()) and client.is_closed()
            assert queueing.run("MULTI") == "+OK"
            replies = [str(queueing.run("PUBLISH", "a", b"x" * 10_000)) for _ in range(8)]
            assert replies[0] == "+QUEUED" and FULL in "".join(replies)
            assert "EXECABORT" in str(queueing.run("EXEC"))
        assert metric(server, "connection_memory_bytes") == 0


def history_of(channel: str, count: int = 1) -> str:
    return json.dumps([json.dumps({"op": "history", "channel": channel, "ref": ref}) for ref in range(count)])


def test_answers_that_nobody_fetches_are_bounded_together() -> None:
    """Sends are refused near the limit, and what is held is told whole."""
    with Server(*SMALL) as server:
        publish(server, "a", "x" * PART)
        sessions, refused = [], None
        while not refused:
            sessions.append(Session(server, "/sockjs").open())
            response = sessions[-1].post("xhr_send", history_of("a"))
            refused = response if response.status != 204 else None
        assert (refused.status, refused.error, refused.header("Retry-After")) == (503, FULL, "2")
        assert 3 < len(sessions) < 20 and metric(server, "connection_memory_bytes") < 1 << 20
        for session in sessions[:-1]:
            answer, = session.take_messages()
            assert len(json.loads(answer)["messages"][0]["data"]) == PART
        assert metric(server, "connection_memory_bytes") < 1 << 18
        assert sessions[-1].post("xhr_send", history_of("a")).status == 204


def test_a_session_whose_answer_does_not_fit_is_told_so_and_ends() -> None:
    with Server(*SMALL, "--history-bytes", "4MiB") as server:
        for _ in range(14):
            publish(server, "a", "x" * PART)
        session = Session(server, "/sockjs").open()
        assert session.post("xhr_send", history_of("a", 2)).status == 204
        closed = session.poll().decode()
        assert closed.startswith("c[1013,") and FULL in closed
        assert metric(server, "connection_memory_refused_total") == 1
        assert metric(server, "connection_memory_bytes") == 0


def test_a_send_that_waits_when_the_server_stops_is_answered() -> None:
    with Server("--shards", "1", "--drain-time", "1h") as server:
        publish(server, "a", "x" * 500_000)
        session = Session(server, "/sockjs").open()
        with Connection(server) as sender:
            sender.send(request_bytes("POST", f"{session.url}/xhr_send", history_of("a", 10)))
            wait_until(lambda: metric(server, "connection_memory_bytes") > 1 << 20)
            server.process.terminate()
            response = sender.read_response()
            assert (response.status, response.error) == (503, "stopping")
            server.process.terminate()


def test_answers_that_are_not_read_are_bounded_together() -> None:
    """Histories are refused near the limit; who reads again gets his whole."""
    with (Server("--shards", "1", "--connection-memory", "8MiB", "--message-size", "64KiB", "--batch-size", "64KiB") as server,
          ExitStack() as stack):
        def seen() -> float:
            return metric(server, "connection_memory_bytes") + metric(server, "connection_memory_refused_total")

        for _ in range(14):
            publish(server, "a", "x" * PART)
        clients = [stack.enter_context(WebSocket(server, "/ws", receive_buffer=4096)) for _ in range(12)]
        for client in clients:
            before = seen()
            client.put_text('{"op":"history","channel":"a"}')
            wait_until(lambda before=before: seen() != before)  # type: ignore[misc]
        assert metric(server, "connection_memory_bytes") <= 6 << 20
        answers = [json.loads(client.take()) for client in clients]
        codes = [answer.get("code", answer["op"]) for answer in answers]
        assert set(codes) == {"history", FULL} and codes[0] == "history" and codes[-1] == FULL
        assert all(len(answer["messages"]) == 14 for answer in answers if answer["op"] == "history")
        assert metric(server, "connection_memory_refused_total") == codes.count(FULL)
        wait_until(lambda: metric(server, "connection_memory_bytes") == 0)
        assert Commands(clients[-1].put_text, clients[-1].take).history("a")["messages"]


def test_answers_to_batches_that_are_not_read_are_bounded_together() -> None:
    """A short body may have an answer fifty times as long: it is counted before anything of it is done."""
    count = 20_000  # whose answer has 2 MB
    garbage = "[" + ",".join(["0"] * count) + "]"
    patient = ("--head-timeout", "2m", "--body-timeout", "2m", "--slow-client-timeout", "2m")
    with Server("--shards", "1", "--connection-memory", "16MiB", "--batch-size", "64KiB", *patient) as server, ExitStack() as stack:
        clients = [stack.enter_context(Connection(server, receive_buffer=4096)) for _ in range(40)]
        before = server.resident_bytes()
        for i, client in enumerate(clients):
            client.send(request_bytes("POST", "/channels", garbage))
            wait_until(lambda i=i: metric(server, "connection_memory_bytes") + metric(server, "connection_memory_refused_total") > i)
        wait_until(lambda: metric(server, "connection_memory_refused_total") > 20)
        assert server.resident_bytes() - before < 64 << 20
        answers = [client.read_response() for client in clients]
        assert {answer.status for answer in answers} == {200, 503}
        assert all(len(answer.json) == count if answer.status == 200 else answer.error == FULL for answer in answers)
        assert metric(server, "connection_memory_bytes") == 0
