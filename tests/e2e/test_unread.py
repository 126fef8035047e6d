# SPDX-License-Identifier: MIT
"""Answers that nobody reads: bounded, shared, counted, and ended."""

from __future__ import annotations

import json
import socket
import time

import pytest
from support.client import Connection, get, path_of, publish, request, request_bytes
from support.server import Server, wait_until
from support.stillness import again_after_a_stall

MIB = 1 << 20
SIZE = 50_000
COUNT = 64  # 3.2 MB


def small_window(server: Server) -> Connection:
    """A client that takes little of what it does not read."""
    connection = Connection.__new__(Connection)
    connection.socket = socket.socket()
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.socket.settimeout(20)
    connection.socket.connect(("127.0.0.1", server.port))
    connection.buffer = b""
    return connection


def fill(server: Server, channel: str, count: int = COUNT, size: int = SIZE) -> None:
    for i in range(count):
        publish(server, channel, f"{i:06}" + "x" * (size - 6))


def connections(server: Server) -> int:
    """With the one that asks, or without it where it is too new to be counted."""
    return get(server, "/api/stats").json["connections"]


def test_a_batch_is_bounded_and_its_cursor_leads_on(channel: str) -> None:
    with Server() as server, Connection(server) as connection:
        fill(server, channel)
        seen: list[str] = []
        cursor = "earliest"
        while len(seen) < COUNT:
            answer = connection.request("GET", path_of(channel, since=cursor, wait=0), Accept="application/json")
            assert answer.header("Content-Length") == str(len(answer.body)) and len(answer.body) < MIB + 1000
            assert answer.cursor == answer.json["cursor"]
            seen += [message["data"][:6] for message in answer.json["messages"]]
            cursor = answer.cursor
        assert seen == [f"{i:06}" for i in range(COUNT)]


def test_a_message_larger_than_a_batch_on_the_wire_comes_alone(channel: str) -> None:
    with Server("--history-bytes", "16MiB") as server, Connection(server) as connection:
        data = ["\x01" * 300_000, "small", "\x02" * 300_000, "last"]
        for text in data:
            publish(server, channel, text)
        cursor, batches = "earliest", []
        while sum(map(len, batches)) < len(data):
            answer = connection.request("GET", path_of(channel, since=cursor, wait=0), Accept="application/json")
            batches.append([message["data"] for message in answer.json["messages"]])
            cursor = answer.cursor
        assert batches == [data[:1], data[1:2], data[2:3], data[3:]]


def test_text_json_binary_and_names_are_put_together_as_they_are(channel: str) -> None:
    with Server() as server:
        kinds = [("text/plain", b"a\nb"), ("application/json", b'{"a":[1,2]}'), ("application/octet-stream", b"\0\xff"),
                 ("text/plain", b"x" * 20_000)]
        for kind, data in kinds:
            publish(server, channel, data, Content_Type=kind)
        large = get(server, path_of(channel, since="earliest"), Accept="application/json").json
        small = get(server, path_of(channel, since="earliest", last=None)[:-len("earliest")] + large["messages"][0]["id"][:-1] + "4",
                    Accept="application/json", Prefer="wait=0")
        assert [message["data"] for message in large["messages"]] == ["a\nb", {"a": [1, 2]}, "AP8=", "x" * 20_000]
        assert small.status == 204


def test_many_who_read_nothing_cost_little_and_are_cut(channel: str) -> None:
    with Server("--slow-client-timeout", "1s") as server:
        fill(server, channel)
        with Connection(server) as warm:
            for _ in range(3):
                warm.request("GET", path_of(channel, since="earliest"), Accept="application/json")
        before = server.resident_bytes()
        readers = [small_window(server) for _ in range(200)]
        begun = time.monotonic()
        for reader in readers:
            reader.send(request_bytes("GET", path_of(channel, since="earliest"), Accept="application/json"))
        wait_until(lambda: get(server, "/api/stats").json["requests_total"] >= COUNT + 3 + 200)
        grown = server.resident_bytes() - before
        assert grown < 40 * MIB, f"{grown / MIB:.1f} MiB for {len(readers)} answers"
        wait_until(lambda: connections(server) <= 1, timeout=8, what="the end of those that take nothing")
        assert time.monotonic() - begun > 1
        for reader in readers:
            reader.close()


@pytest.mark.parametrize("transport", ["poll", "json"])
@again_after_a_stall(0.1)
def test_who_takes_a_little_now_and_then_is_not_cut(channel: str, transport: str) -> None:
    with Server("--slow-client-timeout", "400ms", "--message-size", "4MiB") as server:
        publish(server, channel, "y" * 900_000)
        with small_window(server) as reader:
            reader.send(request_bytes("GET", path_of(channel, since="earliest", transport=transport)))
            begun = time.monotonic()
            while time.monotonic() < begun + 2:
                assert reader.socket.recv(4096), "it goes on"
                wait_until(lambda at=time.monotonic(): time.monotonic() > at + 0.02)


def test_what_unread_answers_hold_counts_in_the_memory_limit(channel: str) -> None:
    """Messages that no history keeps any more, but answers do: more than the kernel takes of each."""
    data = bytes(12 * MIB)
    limits = ("--memory-limit", "40MiB", "--message-size", "16MiB", "--history-bytes", "64MiB")
    with Server("--slow-client-timeout", "8s", *limits) as server:
        readers = []
        for i in range(3):
            name = f"{channel}/{i}"
            assert request(server, "POST", path_of(name), data).status == 201
            reader = small_window(server)
            reader.send(request_bytes("GET", path_of(name, last=1)))
            assert reader.socket.recv(1) == b"H"
            assert request(server, "DELETE", f"/api/channels/{name}").json["purged"] == 1
            readers.append(reader)
        refused = request(server, "POST", path_of(channel), data)
        assert (refused.status, refused.error) == (503, "memory-limit")
        wait_until(lambda: connections(server) <= 1)
        wait_until(lambda: request(server, "POST", path_of(channel), data).status == 201)
        for reader in readers:
            reader.close()


def test_polls_of_one_channel_share_their_answer(channel: str) -> None:
    with Server("--shards", "1") as server:
        polls = [Connection(server) for _ in range(50)]
        for poll in polls:
            poll.send(request_bytes("GET", path_of(channel), Accept="application/json"))
        wait_until(lambda: get(server, "/api/stats").json["subscribers_poll"] == len(polls))
        name = publish(server, channel, "all")
        for poll in polls:
            answer = poll.read_response()
            assert json.loads(answer.body)["messages"][0]["id"] == name == answer.cursor
            assert answer.header("X-Content-Type-Options") == "nosniff" and answer.header("Vary") == "Origin"
            poll.send(request_bytes("GET", path_of(channel, since=answer.cursor), Accept="application/json"))
        wait_until(lambda: get(server, "/api/stats").json["subscribers_poll"] == len(polls))
        publish(server, channel, "second")
        for poll in polls:
            assert [message["data"] for message in poll.read_response().json["messages"]] == ["second"]
            poll.close()
        assert get(server, path_of(channel, last=2), Accept="application/json").json["messages"][0]["id"] == name
        assert get(server, "/api/stats").json["deliveries_total"] == 2 * len(polls) + 2
