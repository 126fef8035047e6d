# SPDX-License-Identifier: MIT
"""A thousand held connections, clients that come and go, and those that just vanish."""

import json
import random
import socket
import struct
import threading

import pytest
from support.client import Connection, EventStream, LineStream, get, path_of, publish, request_bytes, subscribers
from support.redis import metric
from support.server import Server, wait_until
from support.stillness import Watch


def test_a_thousand_held_connections_of_every_kind(channel: str) -> None:
    with Server() as server:
        streams = [EventStream(server, path_of(channel)) for _ in range(400)]
        lines = [LineStream(server, path_of(channel)) for _ in range(300)]
        polls = [Connection(server) for _ in range(300)]
        for poll in polls:
            poll.send(request_bytes("GET", path_of(channel), Accept="application/json"))
        wait_until(lambda: subscribers(server, channel)["total"] == 1000)
        counts = {kind: count for kind, count in subscribers(server, channel).items() if count}
        assert counts == {"total": 1000, "poll": 300, "sse": 400, "stream": 300}
        ids = [publish(server, channel, str(i)) for i in range(3)]
        for stream in streams:
            assert [stream.next_event().id for _ in range(3)] == ids
        for line in lines:
            line.next_line()
            assert [line.next_line()["id"] for _ in range(3)] == ids
        for poll in polls:
            assert poll.read_response().json["messages"][0]["id"] == ids[0]
        for connection in streams + lines + polls:
            connection.close()
        wait_until(lambda: subscribers(server, channel)["total"] == 0, what="noticing that all have gone")
        wait_until(lambda: get(server, "/api/stats").json["connections"] <= 2)


def reset(connection: Connection) -> None:
    """The end of a client that is gone for good, as a process that is killed or an abort makes it."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("kind", ["poll", "sse", "stream"])
def test_a_client_that_hangs_up_is_noticed_within_a_second(channel: str, kind: str) -> None:
    """A stream's by the end of what it sends; a poll's when it is surely gone."""
    with Server() as server:
        accept = {"poll": "", "sse": "text/event-stream", "stream": "application/x-ndjson"}[kind]
        connections = [Connection(server) for _ in range(20)]
        for connection in connections:
            connection.send(request_bytes("GET", path_of(channel), Accept=accept))
        wait_until(lambda: get(server, f"/api/channels/{channel}").status == 200 and subscribers(server, channel)[kind] == 20)
        for connection in connections:
            reset(connection) if kind == "poll" else connection.close()
        with Watch() as watch:
            wait_until(lambda: subscribers(server, channel)["total"] == 0)
        assert watch.seconds < 1
        assert get(server, "/api/stats").json["hangups_total"] == 20


def test_polls_whose_clients_have_closed_their_sending_side_are_answered(channel: str) -> None:
    """Many at once: libmicrohttpd looks at one of those that it goes on with in another way than at the others."""
    with Server("--shards", "1") as server:
        waiting = [Connection(server) for _ in range(20)]
        for connection in waiting:
            connection.send(request_bytes("GET", path_of(channel)))
            connection.socket.shutdown(socket.SHUT_WR)
        with Connection(server) as looking:
            looking.send(request_bytes("GET", path_of(channel, wait=0.5)))
            looking.socket.shutdown(socket.SHUT_WR)
            assert looking.read_response().status == 204 and looking.is_closed()
        wait_until(lambda: subscribers(server, channel)["poll"] == 20)
        publish(server, channel, "late")
        for connection in waiting:
            assert connection.read_response().body == b"late" and connection.is_closed()
            connection.close()


def test_a_poll_whose_client_has_closed_costs_no_more_than_its_hold(channel: str) -> None:
    with Server() as server:
        connections = [Connection(server) for _ in range(20)]
        for connection in connections:
            connection.send(request_bytes("GET", path_of(channel, wait=1)))
        wait_until(lambda: get(server, f"/api/channels/{channel}").status == 200 and subscribers(server, channel)["poll"] == 20)
        for connection in connections:
            connection.close()
        wait_until(lambda: get(server, "/api/stats").json["connections"] <= 1, timeout=5)


class Follower(threading.Thread):
    """Comes and goes with its cursor until it has seen everything; notes any gap, repetition or disorder."""

    def __init__(self, server: Server, channel: str, total: int, seed: int) -> None:
        super().__init__()
        self.server, self.channel, self.total = server, channel, total
        self.random = random.Random(seed)
        self.cursor = "earliest"
        self.seen: list[int] = []
        self.fault: str | None = None

    def take(self, name: str, cursor: str) -> None:
        self.seen.append(int(name.split("-")[1]))
        self.cursor = cursor

    def follow_sse(self, count: int) -> None:
        with EventStream(self.server, path_of(self.channel, since=self.cursor)) as stream:
            while count > 0 and len(self.seen) < self.total:
                event = stream.next_event()
                assert event.event != "reset", event
                self.take(event.id or "", event.id or "")
                count -= 1

    def follow_lines(self, count: int) -> None:
        with LineStream(self.server, path_of(self.channel, since=self.cursor)) as stream:
            while count > 0 and len(self.seen) < self.total:
                line = stream.next_line()
                assert "reset" not in line, line
                if "id" in line:
                    self.take(line["id"], line["cursor"])
                    count -= 1

    def follow_polls(self, count: int) -> None:
        with Connection(self.server) as connection:
            while count > 0 and len(self.seen) < self.total:
                answer = connection.request("GET", path_of(self.channel, since=self.cursor), Accept="application/json").json
                assert "reset" not in answer, answer
                for message in answer["messages"]:
                    self.take(message["id"], message["id"])
                    count -= 1

    def run(self) -> None:
        try:
            while len(self.seen) < self.total:
                self.random.choice([self.follow_sse, self.follow_lines, self.follow_polls])(self.random.randrange(1, 60))
        except Exception as error:  # noqa: BLE001 - told by the test's own thread
            self.fault = repr(error)


def test_order_and_no_loss_while_fifty_join_and_leave_and_ten_publish(channel: str) -> None:
    publishers, each = 10, 40
    seed = random.randrange(1 << 30)
    print("seed", seed)
    with Server("--history-size", "1000") as server:
        followers = [Follower(server, channel, publishers * each, seed + i) for i in range(50)]

        def publish_all(number: int) -> None:
            with Connection(server) as connection:
                for i in range(each):
                    body = json.dumps([number, i])
                    assert connection.request("POST", path_of(channel), body, Content_Type="application/json").status == 201

        threads = [threading.Thread(target=publish_all, args=(number,)) for number in range(publishers)]
        for thread in [*followers, *threads]:
            thread.start()
        for thread in [*followers, *threads]:
            thread.join()
        for follower in followers:
            assert follower.fault is None, follower.fault
            assert follower.seen == list(range(1, publishers * each + 1))


def test_a_broadcast_to_many_does_not_hold_up_one(channel: str) -> None:
    """Coarse on purpose: the figures are the benchmark's business."""
    with Server("--shards", "1") as server:
        crowd = [EventStream(server, path_of(channel + "/crowd")) for _ in range(500)]
        with EventStream(server, path_of(channel + "/one")) as alone:
            wait_until(lambda: subscribers(server, channel + "/crowd")["sse"] == 500)
            for i in range(20):
                publish(server, channel + "/crowd", "x" * 100)
                publish(server, channel + "/one", str(i))
                assert alone.next_event().data == str(i)
        for stream in crowd:
            assert stream.next_event().data == "x" * 100
            stream.close()


@pytest.mark.parametrize("accept", ["", "text/event-stream", "application/x-ndjson"])
def test_a_client_that_has_gone_before_it_is_held_is_not_kept(channel: str, accept: str) -> None:
    with Server() as server:
        for i in range(50):
            connection = Connection(server)
            connection.send(request_bytes("GET", path_of(f"{channel}/{i}", wait=1), Accept=accept))
            connection.close()
        wait_until(lambda: get(server, "/api/stats").json["requests_total"] >= 50)
        wait_until(lambda: get(server, "/api/stats").json["connections"] <= 1, timeout=5)


def test_a_client_that_goes_in_the_middle_of_its_body_is_not_kept_for_the_whole_time(channel: str) -> None:
    with Server("--body-timeout", "60") as server:
        for i in range(50):
            connection = Connection(server)
            connection.send(request_bytes("POST", path_of(channel), "x" * 5000)[:200 + i * 90])
            connection.close()
        wait_until(lambda: get(server, "/api/stats").json["requests_total"] >= 50)
        wait_until(lambda: get(server, "/api/stats").json["connections"] <= 1)


@pytest.mark.parametrize("framing", [b"Content-Length: 100000", b"Transfer-Encoding: chunked"])
def test_an_upload_that_is_torn_off_holds_nothing(framing: bytes, channel: str) -> None:
    with Server("--body-timeout", "60") as server, Connection(server) as connection:
        connection.send(f"POST {path_of(channel)} HTTP/1.1\r\nHost: localhost\r\n".encode() + framing + b"\r\n\r\n10\r\nsome")
        wait_until(lambda: metric(server, "connections") == 1)
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        wait_until(lambda: metric(server, "connections") == 0)
