# SPDX-License-Identifier: MIT
"""Subscribers over Redis who come and go, are slow, have odd channels, or come while Redis is away."""

import threading
import time

import pytest
from support.client import Connection, EventStream, LineStream, get, path_of, publish, request, request_bytes
from support.follow import Ledger, check_complete, finish, follow, join_all, run_all
from support.redis import KEEP_ALL, RedisServer, await_away, await_ready, metric, nodes
from support.server import Server, wait_until


def test_pollers_that_attach_anew_each_time_miss_nothing(channel: str) -> None:
    """No linger: each poll attaches, and a message may come at any point of that."""
    ledger = Ledger()
    with RedisServer() as redis, nodes(2, redis, options=(*KEEP_ALL, "--linger-time", "0")) as servers:
        followers = follow(servers, channel, kinds=("poll", "poll"))
        publishers = run_all([lambda s=server, w=who: [ledger.publish(s, channel, f"{w} {i}") for i in range(200)]
                              for who, server in enumerate(servers)])
        for i in range(200):
            ledger.fcall(redis, channel, f"fcall {i}")
        join_all(publishers)
        finish(ledger, servers[0], followers)
        check_complete(ledger, followers)
        assert all(not follower.track.resets for follower in followers)


def test_streams_that_come_and_go_with_their_cursor(channel: str) -> None:
    with RedisServer() as redis, nodes(3, redis, options=(*KEEP_ALL, "--linger-time", "0")) as servers:
        total = 600
        seen: list[list[int]] = [[] for _ in range(6)]

        def come_and_go(number: int) -> None:
            cursor, turn = "earliest", number
            while len(seen[number]) < total:
                turn += 1
                with LineStream(servers[turn % 3], path_of(channel, since=cursor)) as lines:
                    cursor = lines.next_line()["cursor"]
                    for _ in range(min(1 + turn * 7 % 40, total - len(seen[number]))):
                        line = lines.next_line()
                        assert "reset" not in line, line
                        seen[number].append(int(line["id"].split("-")[1]))
                        cursor = line["cursor"]

        threads = run_all([lambda n=number: come_and_go(n) for number in range(len(seen))])
        for i in range(total):
            if i % 2:
                redis.publish(channel, str(i))
            else:
                publish(servers[i % 3], channel, str(i))
        join_all(threads)
        assert all(offsets == list(range(1, total + 1)) for offsets in seen)


def test_a_reader_that_falls_far_behind_is_refilled_from_redis(channel: str) -> None:
    with RedisServer() as redis, nodes(2, redis, options=(*KEEP_ALL, "--slow-client-timeout", "1h")) as (here, there):
        with LineStream(there, path_of(channel)) as slow:
            slow.next_line()
            texts = [f"{i} " + "x" * 10_000 for i in range(3000)]
            for first in range(0, 3000, 100):
                lines = "".join(f'{{"channel":"{channel}","data":"{text}"}}\n' for text in texts[first:first + 100])
                request(here, "POST", "/channels", lines, Content_Type="application/x-ndjson")
            for text in texts:
                assert slow.next_line()["data"] == text
        assert get(there, "/readyz").status == 200


@pytest.mark.parametrize("name", ["odd*", "odd~!$'()*+,;=@:._-", "odd$sys", "odd/x*/x", "A/a", "x" * 255, "1/2/3/4/5/6/7/8"])
def test_names_with_every_character(name: str) -> None:
    with RedisServer() as redis, nodes(2, redis) as (here, there):
        with LineStream(there, path_of(name)) as lines, LineStream(there, path_of("oddity")) as other:
            lines.next_line(), other.next_line()
            names = [publish(here, name, "by HTTP"), redis.publish(name, "by FCALL")]
            assert [lines.next_line()["id"] for _ in names] == names
            last = publish(here, "oddity", "other")
            assert other.next_line()["id"] == last and last.endswith("-1")
        listed = get(there, f"/api/channels?prefix={name[:4]}").json["channels"]
        assert name in [entry["channel"] for entry in listed]
        assert all(entry["channel"].startswith(name[:4]) for entry in listed)


def test_history_size_zero_delivers_on_all_nodes_but_does_not_replay(channel: str) -> None:
    with RedisServer() as redis, nodes(2, redis, options=("--history-size", "0")) as (here, there):
        with EventStream(here, path_of(channel)) as events, EventStream(there, path_of(channel)) as others:
            events.next_block(), others.next_block()
            names = [publish(here, channel, f"live {i}") for i in range(20)]
            for stream in (events, others):
                assert [stream.next_event().id for _ in names] == names
        wait_until(lambda: get(there, path_of(channel, since="earliest", wait=0)).status == 204)
        back = get(there, path_of(channel, since=names[9], wait=0))
        assert back.reset == "trimmed; missed=10"


def test_an_idempotency_key_is_forgotten_after_its_time(channel: str) -> None:
    with RedisServer() as redis, nodes(2, redis, options=("--idempotency-time", "1s")) as (here, there):
        first = request(here, "POST", path_of(channel), "x", Idempotency_Key="k")
        assert request(there, "POST", path_of(channel), "x", Idempotency_Key="k").status == 200
        again = wait_until(lambda: (said := request(there, "POST", path_of(channel), "x", Idempotency_Key="k")).status == 201 and said)
        assert again.json["id"] == first.json["id"].replace("-1", "-2")


def test_those_who_come_while_redis_is_away_are_served_when_it_is_back(channel: str) -> None:
    with RedisServer(aof=True) as redis, nodes(1, redis) as (server,):
        old = publish(server, channel, "old")
        redis.kill()
        await_away(server)
        waiting = [(Connection(server), accept) for accept in ("text/event-stream", "application/x-ndjson", "application/json", "")]
        for connection, accept in waiting:
            connection.send(request_bytes("GET", path_of(channel + "/new", wait=15), Accept=accept))
        with Connection(server) as look:
            begun = time.monotonic()
            assert look.request("GET", path_of(channel + "/other", wait=0)).status in (204, 503)
            assert time.monotonic() - begun < 5, "a look does not wait for Redis"
        redis.start()
        await_ready(server)
        wait_until(lambda: metric(server, "broker_ready") == 1)
        stop = threading.Event()

        def repeat() -> None:
            while not stop.is_set():
                publish(server, channel + "/new", "after")
                stop.wait(0.05)

        repeating = run_all([repeat])
        for connection, accept in waiting:
            head = connection.read_head()
            assert head.status in (200, 503), f"{accept}: {head}"
            if head.status == 503:
                assert head.header("Retry-After")
            else:
                connection.read_until(b"after")
            connection.close()
        stop.set()
        join_all(repeating)
        assert get(server, path_of(channel, last=1)).body == b"old"
        assert old


def test_two_nodes_that_keep_different_amounts(channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis, options=("--history-size", "10")) as (small,), nodes(1, redis, options=KEEP_ALL) as (large,):
        ledger = Ledger()
        followers = follow([small, large], channel)
        for i in range(300):
            ledger.publish((small, large)[i % 2], channel, str(i))
        finish(ledger, small, followers)
        # Who pauses between two polls at the small one may come too late, and is told so.
        check_complete(ledger, followers, may_trim=True)


def unanswered(server: Server) -> float:
    return metric(server, "broker_publishes_pending")


def test_pending_publishes_are_counted_and_answered(channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis, options=("--redis-timeout", "30s", "--redis-probe-time", "30s")) as (server,):
        publish(server, channel)
        with redis.stopped():
            connections = [Connection(server) for _ in range(10)]
            for connection in connections:
                connection.send(request_bytes("POST", path_of(channel), "x"))
            wait_until(lambda: unanswered(server) == 10)
            assert get(server, "/healthz").status == 200
        assert [connection.read_response().status for connection in connections] == [201] * 10
        assert unanswered(server) == 0
        for connection in connections:
            connection.close()
