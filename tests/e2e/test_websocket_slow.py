# SPDX-License-Identifier: MIT
"""WebSockets that read slowly or never, a server that stops, a Redis that is away: nobody else suffers, nothing is silent."""

import json
import select
import signal
import socket
import time

import pytest
from support.client import Connection, EventStream, get, path_of, publish, request_bytes, subscribers
from support.redis import RedisServer, await_away, await_ready, meta_key, metric, nodes
from support.server import Server, wait_until
from support.websocket import PING, PONG, TEXT, WebSocket, frame_bytes

KEEP = ("--history-size", "5000", "--history-bytes", "256MiB", "--shards", "1")


def awaited(server: Server, channel: str, count: int) -> None:
    wait_until(lambda: subscribers(server, channel)["websocket"] == count, what=f"{count} subscriptions")


def narrow(server: Server, target: str) -> WebSocket:
    """A client for which the kernel keeps little."""
    return WebSocket(server, target, receive_buffer=4096)


def test_who_never_reads_costs_little_and_is_cut(channel: str) -> None:
    message = "x" * 10_000
    with Server(*KEEP, "--slow-client-timeout", "1") as server:
        lazy = [narrow(server, path_of(channel, format=form)) for form in ("raw", "json") * 20]
        with WebSocket(server, path_of(channel)) as quick:
            awaited(server, channel, 41)
            for _ in range(100):  # fills what the kernel keeps for them
                publish(server, channel, message)
                assert quick.take() == message
            held = server.resident_bytes()
            begun = time.monotonic()
            for _ in range(500):
                publish(server, channel, message)
                assert quick.take() == message
            kept = 500 * 3 * 12_000  # each message, as published and in two forms
            assert server.resident_bytes() - held < kept + 40 * 200_000  # of 240 MB, if each had its own
            assert time.monotonic() - begun < 20
            awaited(server, channel, 1)
            assert metric(server, "slow_clients_cut_total") == 40
        for client in lazy:
            client.close()


def test_who_never_reads_what_the_kernel_keeps_is_cut_too(channel: str) -> None:
    """By the kernel, ten seconds later: all that it was told fits into the buffers of its socket."""
    with Server("--slow-client-timeout", "0.1") as server:
        lazy = narrow(server, path_of(channel))
        awaited(server, channel, 1)
        for _ in range(3):
            publish(server, channel, "x" * 20_000)
        awaited(server, channel, 0)
        assert metric(server, "slow_clients_cut_total") == 1 and metric(server, "hangups_total") == 0
        lazy.close()


def test_who_reads_slowly_gets_every_message_and_every_pong(channel: str) -> None:
    messages = [f"{i} " + "x" * (i * 37 % 20_000) for i in range(600)]
    with Server(*KEEP) as server, narrow(server, path_of(channel)) as client:
        awaited(server, channel, 1)
        for i, message in enumerate(messages):
            publish(server, channel, message)
            if i % 20 == 0:
                client.put(PING, str(i))
        heard, pongs = [], []
        while len(heard) < len(messages):
            frame = client.take_frame()
            assert frame.opcode in (TEXT, PONG)
            (heard if frame.opcode == TEXT else pongs).append(frame.data.decode())
        assert heard == messages
        assert pongs == sorted(pongs, key=int), "a pong is that of a later ping than the one before"


def test_who_falls_out_of_the_log_is_told(channel: str) -> None:
    with Server("--history-size", "20", "--shards", "1") as server, narrow(server, path_of(channel, format="json")) as client:
        awaited(server, channel, 1)
        for i in range(1500):
            publish(server, channel, f"{i} " + "x" * 10_000)
        client.take_json()
        heard, missed = [], 0
        while not heard or heard[-1] != 1499:
            line = client.take_json()
            if "reset" in line:
                assert line["reset"]["reason"] == "trimmed"
                missed += line["reset"]["missed"]
            else:
                heard.append(int(line["data"].split()[0]))
        assert heard == sorted(set(heard)) and missed > 0 and len(heard) + missed == 1500


def test_who_publishes_and_never_reads_is_not_read_either(channel: str) -> None:
    frame = frame_bytes(TEXT, "y" * 20_000)
    with Server(*KEEP, "--slow-client-timeout", "30") as server, narrow(server, path_of(channel)) as client:
        awaited(server, channel, 1)
        client.socket.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 64 << 20:
                client.socket.sendall(frame)
                sent += len(frame)
        assert get(server, f"/api/channels/{channel}").json["messages"] < 3000


def test_publishes_that_the_broker_owes_an_answer_are_bounded(channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis, options=(*KEEP, "--redis-timeout", "60s")) as (node,), WebSocket(node, path_of(channel, since="earliest")) as client:
        client.put_text("first")
        assert client.take() == "first"
        held = node.resident_bytes()
        with redis.stopped():
            frame, sent = frame_bytes(TEXT, "y" * 1000), 0
            frames = 1000 * frame
            while sent < 64 << 20 and select.select([], [client.socket], [], 0.5)[1]:
                sent += client.socket.send(frames[sent % len(frames):], socket.MSG_DONTWAIT)
            assert sent < 64 << 20
            assert node.resident_bytes() - held < 24 << 20
        for _ in range(min(1000, sent // len(frame))):
            assert client.take() == "y" * 1000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_stops_says_so(channel: str, number: int) -> None:
    server = Server("--drain-time", "1").start()
    clients = [WebSocket(server, path_of(channel, format="json")) for _ in range(20)]
    awaited(server, channel, 20)
    publish(server, channel, "last")
    server.process.send_signal(number)
    for client in clients:
        client.take_json()
        assert client.take_json()["data"] == "last"
        code, reason = client.take_close()
        assert code == 1012 and reason
    server.stop(number)
    server.folder.cleanup()


def test_a_stop_tells_bare_data_all_that_there_is(channel: str) -> None:
    server = Server("--drain-time", "0.1").start()
    client = WebSocket(server, path_of(channel))
    awaited(server, channel, 1)
    for i in range(100):
        publish(server, channel, str(i))
    server.process.send_signal(signal.SIGTERM)
    assert [client.take() for _ in range(100)] == [str(i) for i in range(100)]
    assert client.take_close()[0] == 1012
    server.stop()
    server.folder.cleanup()


@pytest.mark.parametrize("clients", [1, 300])
def test_a_stop_tells_bare_data_what_was_accepted_just_before(channel: str, clients: int) -> None:
    """The publishes and the signal find the server at the same time; there may be more to tell than one turn of the loop does."""
    server = Server("--drain-time", "0", "--shards", "1").start()
    everybody = [WebSocket(server, path_of(channel)) for _ in range(clients)]
    awaited(server, channel, clients)
    with Connection(server) as publisher:
        server.process.send_signal(signal.SIGSTOP)
        publisher.send(request_bytes("POST", path_of(channel), "last"))
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGCONT)
        try:
            is_accepted = publisher.read_response().status == 201
        except AssertionError:
            is_accepted = False  # not looked at any more
    for client in everybody:
        frame = client.take_frame()
        assert (frame.opcode == TEXT and frame.data == b"last") if is_accepted else frame.close[0] == 1012
        client.close()
    server.stop()
    server.folder.cleanup()


def test_a_stop_does_not_wait_for_who_never_reads(channel: str) -> None:
    server = Server("--drain-time", "0.2", *KEEP).start()
    client = narrow(server, path_of(channel))
    awaited(server, channel, 1)
    for _ in range(600):
        publish(server, channel, "x" * 10_000)
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 5
    client.close()
    server.folder.cleanup()


def test_a_feed_opens_while_redis_is_away(channel: str) -> None:
    with RedisServer(aof=True) as redis, nodes(1, redis) as (server,):
        cursor = publish(server, channel, "before")
        with WebSocket(server, path_of(channel, format="json")) as old:
            assert old.take_json()["cursor"] == cursor
            redis.kill()
            await_away(server)
            with WebSocket(server, path_of(f"{channel}/new", format="json")) as new, WebSocket(server, path_of(f"{channel}/raw")) as raw:
                new.put_text("lost")
                answer = new.take_json()
                assert answer["error"] == "broker-down", answer
                raw.put_text("lost")
                code, reason = raw.take_close()
                assert code == 1013 and reason.startswith("broker-down"), reason
                redis.start()
                await_ready(server)
                assert new.take_json()["recovered"] is False
                publish(server, f"{channel}/new", "found")
                publish(server, channel, "after")
                assert new.take_json()["data"] == "found"
                message = old.take_json()
                assert message["data"] == "after", "what the log has kept goes on without a word"


def test_a_channel_that_cannot_be_opened_closes_its_feed(channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis) as (server,):
        redis.client.set(meta_key(channel), "mine")
        with WebSocket(server, path_of(channel, format="json")) as client:
            code, reason = client.take_close()
            assert code == 1013 and reason.startswith("broker-refused: "), reason
        with WebSocket(server, "/ws") as client:
            client.put_json({"op": "subscribe", "ref": 1, "channel": channel})
            answer = client.take_json()
            assert (answer["op"], answer["ref"], answer["code"]) == ("error", 1, "broker-refused")


def test_a_broadcast_is_the_same_for_sse_and_websocket(channel: str) -> None:
    with Server(*KEEP) as server:
        feeds = [WebSocket(server, path_of(channel, format="json")) for _ in range(50)]
        with EventStream(server, path_of(channel)) as events:
            awaited(server, channel, 50)
            wait_until(lambda: subscribers(server, channel)["sse"] == 1)
            names = [publish(server, channel, str(i)) for i in range(100)]
            assert [events.next_event().id for _ in names] == names
        for client in feeds:
            client.take_json()
            lines = [client.take() for _ in names]
            assert [json.loads(line)["id"] for line in lines] == names
            client.close()
