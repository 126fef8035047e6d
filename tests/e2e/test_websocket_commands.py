# SPDX-License-Identifier: MIT
"""The command protocol over GET /ws: that it comes through whole, whatever the connection does meanwhile."""

import json
import signal
import time

import pytest
from support.client import Connection, get, path_of, publish, request, subscribers
from support.redis import RedisServer, await_away, await_ready, metric, nodes
from support.server import Server, wait_until
from support.websocket import BINARY, PING, PONG, TEXT, WebSocket, frame_bytes, handshake_bytes


def ask(client: WebSocket, **command: object) -> dict[str, object]:
    client.put_json(command)
    return client.take_json()


def test_every_command(server: Server, channel: str) -> None:
    other = f"{channel}/2"
    with WebSocket(server, "/ws", "sluice.v1+json") as client:
        assert client.protocol == "sluice.v1+json"
        answer = ask(client, op="subscribe", ref=1, channels=[channel, other])
        assert (answer["op"], answer["ref"], answer["channels"], answer["recovered"]) == ("subscribed", 1, [channel, other], False)
        for name in (channel, other):
            answer = ask(client, op="publish", ref="p", channel=name, data={"n": 1}, event="goal")
            told = [answer, client.take_json()]
            by_op = {each["op"]: each for each in told}
            assert by_op["published"]["ref"] == "p" and by_op["published"]["type"] == "json"
            message = by_op["message"]
            assert (message["channel"], message["data"], message["event"]) == (name, {"n": 1}, "goal")
            assert message["id"] == by_op["published"]["id"]
        assert ask(client, op="unsubscribe", ref=2, channels=[other]) == {"op": "unsubscribed", "ref": 2, "channels": [other]}
        publish(server, other, "nobody")
        publish(server, channel, "somebody")
        assert client.take_json()["data"] == "somebody"
        history = ask(client, op="history", ref=3, channel=other, last=2)
        assert [message["data"] for message in history["messages"]] == [{"n": 1}, "nobody"]
        assert ask(client, op="ping", ref=4) == {"op": "pong", "ref": 4}
        for op in ("auth", "presence", "fly"):
            answer = ask(client, op=op, ref=5)
            assert (answer["op"], answer["ref"]) == ("error", 5) and answer["code"] and answer["message"]
        client.put_text("{")
        assert client.take_json()["op"] == "error"
        assert ask(client, op="ping") == {"op": "pong"}


def test_a_message_is_the_same_as_everywhere(server: Server, channel: str) -> None:
    with WebSocket(server, "/ws") as client, WebSocket(server, path_of(channel, format="json")) as feed:
        ask(client, op="subscribe", channel=channel)
        feed.take_json()
        publish(server, channel, "x" * 70_000)
        publish(server, channel, b"\0\xff", Content_Type="application/octet-stream")
        for _ in range(2):
            told, line = client.take_json(), feed.take_json()
            assert told.pop("op") == "message" and line.pop("cursor") == told["id"]
            assert told == line


def test_resuming_over_another_connection(server: Server, channel: str) -> None:
    names = [publish(server, channel, str(i)) for i in range(100)]
    heard: list[str] = []
    since = "earliest"
    while len(heard) < 100:
        with WebSocket(server, "/ws") as client:
            answer = ask(client, op="subscribe", channel=channel, since=since)
            assert answer["op"] == "subscribed" and answer["recovered"] is (since != "earliest")
            for _ in range(min(33, 100 - len(heard))):
                heard.append(client.take_json()["id"])
            since = heard[-1]
    assert heard == names


def test_subscriptions_change_without_a_new_connection(server: Server, channel: str) -> None:
    names = [f"{channel}/{i}" for i in range(100)]
    with WebSocket(server, "/ws") as client:
        for i, name in enumerate(names):
            assert ask(client, op="subscribe", ref=i, channel=name)["op"] == "subscribed"
        for name in names:
            publish(server, name, name)
            assert client.take_json()["data"] == name
        assert ask(client, op="unsubscribe", ref="all")["channels"]
        wait_until(lambda: subscribers(server, names[0])["websocket"] == 0)


def test_many_commands_at_once_are_answered_in_order(server: Server, channel: str) -> None:
    with WebSocket(server, "/ws") as client:
        client.send(b"".join(frame_bytes(TEXT, json.dumps({"op": "publish", "ref": i, "channel": channel, "data": i})) for i in range(3000)))
        answers = [client.take_json() for _ in range(3000)]
        assert [answer["ref"] for answer in answers] == list(range(3000))
        offsets = [int(answer["id"].split("-")[1]) for answer in answers]
        assert offsets == list(range(1, 3001))


def test_commands_that_the_broker_owes_an_answer_are_bounded(channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis, options=("--redis-timeout", "60s")) as (node,), WebSocket(node, "/ws") as client:
        assert ask(client, op="publish", channel=channel, data="x")["op"] == "published"
        held = node.resident_bytes()
        with redis.stopped():
            client.socket.settimeout(0.5)
            frames = frame_bytes(TEXT, json.dumps({"op": "publish", "channel": channel, "data": "y" * 1000})) * 1000
            sent = 0
            with pytest.raises(TimeoutError):
                while sent < 64 << 20:
                    client.socket.sendall(frames)
                    sent += len(frames)
            assert node.resident_bytes() - held < 24 << 20
        client.socket.settimeout(20)
        assert {client.take_json()["op"] for _ in range(1000)} == {"published"}


def test_a_binary_frame_is_no_command(server: Server) -> None:
    before = metric(server, "closed_unsupported_total")
    with WebSocket(server, "/ws") as client:
        client.put(BINARY, '{"op":"ping"}')
        assert client.take_close() == (1003, "a command is a text frame")
    assert metric(server, "closed_unsupported_total") == before + 1


def test_a_command_takes_a_message_of_message_size(channel: str) -> None:
    with Server("--message-size", "10000") as server, WebSocket(server, "/ws") as client:
        assert ask(client, op="publish", channel=channel, data="\x01" * 10_000)["op"] == "published"
        answer = ask(client, op="publish", ref=1, channel=channel, data="x" * 10_001)
        assert (answer["op"], answer["ref"], answer["code"]) == ("error", 1, "too-large")
        client.put_text(" " * 6 * 10_000 + " " * 40_000)
        assert client.take_close()[0] == 1009


def test_without_upgrade_it_is_required(server: Server) -> None:
    response = get(server, "/ws")
    assert response.status == 426 and response.error == "upgrade-required", response
    assert (response.header("Upgrade"), response.header("Sec-WebSocket-Version")) == ("websocket", "13")
    assert request(server, "HEAD", "/ws").status == 405
    assert request(server, "POST", "/ws", "{}").status == 405
    with Connection(server) as connection:
        connection.send(handshake_bytes("/ws", "dGhlIHNhbXBsZSBub25jZQ==", Origin="https://evil.example"))
        assert connection.read_response().error == "forbidden-origin"
    assert get(server, "/ws/").status == 404


def test_who_never_reads_is_cut_and_costs_nobody(channel: str) -> None:
    message = "x" * 10_000
    with Server("--history-size", "5000", "--history-bytes", "256MiB", "--shards", "1", "--slow-client-timeout", "1") as server:
        lazy = [WebSocket(server, "/ws", receive_buffer=4096) for _ in range(20)]
        for client in lazy:
            assert ask(client, op="subscribe", channel=channel)["op"] == "subscribed"
            client.put(PING)
            assert client.take_frame().opcode == PONG
        with WebSocket(server, "/ws") as quick:
            ask(quick, op="subscribe", channel=channel)
            begun = time.monotonic()
            for _ in range(600):
                publish(server, channel, message)
                assert quick.take_json()["data"] == message
            assert time.monotonic() - begun < 20
            wait_until(lambda: subscribers(server, channel)["websocket"] == 1)
            assert metric(server, "slow_clients_cut_total") == 20
        for client in lazy:
            client.close()


def test_who_reads_late_is_told_everything(channel: str) -> None:
    with Server("--history-size", "5000", "--history-bytes", "256MiB", "--shards", "1") as server, \
            WebSocket(server, "/ws", receive_buffer=4096) as client:
        names = [channel, f"{channel}/2"]
        assert ask(client, op="subscribe", channels=names)["op"] == "subscribed"
        for i in range(200):
            publish(server, names[i % 2], f"{i} " + "x" * 5000)
        heard = [client.take_json() for _ in range(200)]
        for name in names:
            numbers = [int(str(told["data"]).split()[0]) for told in heard if told["channel"] == name]
            assert numbers == list(range(names.index(name), 200, 2))


def test_who_asks_and_never_reads_is_not_read_either(channel: str) -> None:
    with Server("--shards", "1") as server:
        publish(server, channel, "x" * 100_000)
        held = server.resident_bytes()
        with WebSocket(server, "/ws", receive_buffer=4096) as client:
            client.socket.settimeout(0.5)
            frames = frame_bytes(TEXT, json.dumps({"op": "history", "channel": channel, "last": 1})) * 100
            with pytest.raises(TimeoutError):
                for _ in range(20_000):
                    client.socket.sendall(frames)
            assert server.resident_bytes() - held < 32 << 20


def test_a_server_that_stops_answers_what_was_asked(channel: str) -> None:
    with RedisServer() as redis:
        server = Server("--shards", "1", "--drain-time", "0.3", "--broker", redis.url(), "--redis-timeout", "60s").start()
        await_ready(server)
        clients, idle = [WebSocket(server, "/ws") for _ in range(5)], [WebSocket(server, "/ws") for _ in range(5)]
        for client in clients:
            assert ask(client, op="subscribe", channel=channel)["op"] == "subscribed"
        with redis.stopped():
            for client in clients:
                client.put_json({"op": "publish", "ref": 1, "channel": channel, "data": "x"})
            wait_until(lambda: metric(server, "broker_publishes_pending") == 5)
            server.process.send_signal(signal.SIGTERM)
            for client in idle:
                assert client.take_close()[0] == 1012
        for client in clients:
            ops: list[str] = []
            while "published" not in ops:
                ops.append(client.take_json()["op"])
            assert client.take_close()[0] == 1012
        server.stop()
        server.folder.cleanup()


def test_commands_while_redis_is_away(channel: str) -> None:
    with RedisServer(aof=True) as redis, nodes(1, redis) as (server,), WebSocket(server, "/ws") as client:
        redis.kill()
        await_away(server)
        client.put_json({"op": "publish", "ref": 1, "channel": channel, "data": "x"})
        answer = client.take_json()
        assert (answer["op"], answer["ref"], answer["code"]) == ("error", 1, "broker-down")
        client.put_json({"op": "subscribe", "ref": 2, "channel": channel})
        client.put_json({"op": "ping", "ref": 3})
        redis.start()
        await_ready(server)
        assert {client.take_json()["op"] for _ in range(2)} == {"subscribed", "pong"}
        publish(server, channel, "y")
        assert client.take_json()["data"] == "y"


