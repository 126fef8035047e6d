# SPDX-License-Identifier: MIT
"""Redis ends, hangs and comes back, or is not there yet: held clients stay held, and nothing accepted is lost silently."""

import signal
import time

import pytest
from support.client import Connection, EventStream, LineStream, get, path_of, publish, request
from support.follow import Ledger, check_complete, finish, follow, join_all, run_all
from support.redis import KEEP_ALL, SCHEME, Port, RedisServer, await_away, await_ready, log_lines, metric, nodes
from support.server import Server, wait_until

PUBLISHES = 10_000


def batches(ledger: Ledger, server: Server, channel: str, who: str, count: int) -> None:
    for first in range(0, count, 50):
        ledger.publish_batch(server, channel, [f"{who}{i}" for i in range(first, first + 50)])


def no_message_is_twice(redis: RedisServer, channel: str) -> None:
    data = [data for _, data in redis.entries(channel)]
    assert len(data) == len(set(data)), "a publish was appended twice"


@pytest.mark.parametrize("aof", [True, False])
def test_sigkill_in_the_middle_of_ten_thousand_publishes(channel: str, aof: bool) -> None:
    ledger = Ledger()
    with RedisServer(aof=aof) as redis, nodes(2, redis, options=KEEP_ALL) as servers:
        followers = follow(servers, channel)
        half = PUBLISHES // 2
        publishers = run_all([lambda s=server, w=who: batches(ledger, s, channel, w, half)
                              for server, who in zip(servers, ("a", "b"))])
        wait_until(lambda: len(ledger) > PUBLISHES // 4)
        redis.kill()
        for server in servers:
            await_away(server)
        redis.start()
        join_all(publishers)
        finish(ledger, servers[0], followers)
        assert len(ledger.of(channel)) == PUBLISHES + 1
        no_message_is_twice(redis, channel)
        if aof:
            check_complete(ledger, followers)
        for follower in followers:
            assert follower.track.reasons == ([] if aof else ["epoch"]), follower


def test_while_redis_is_away(channel: str) -> None:
    with RedisServer(aof=True) as redis, nodes(1, redis) as (server,):
        names = [publish(server, channel, str(i)) for i in range(3)]
        with EventStream(server, path_of(channel)) as events, LineStream(server, path_of(channel)) as lines, \
                Connection(server) as poll:
            lines.next_line()
            assert poll.request("GET", path_of(channel, since=names[0])).body == b"1"
            redis.kill()
            await_away(server)
            refused = request(server, "POST", path_of(channel), "x")
            assert (refused.status, refused.error) == (503, "broker-down")
            assert int(refused.header("Retry-After") or 0) >= 1
            batch = request(server, "POST", "/channels", f'[{{"channel":"{channel}","data":"x"}}]', Content_Type="application/json")
            assert batch.status == 503 or batch.json[0]["error"] == "broker-down"
            assert get(server, "/healthz").status == 200 and get(server, "/readyz").status == 503
            assert metric(server, "broker_ready") == 0
            kept = get(server, path_of(channel, since=names[0]), Accept="application/json").json
            assert [message["id"] for message in kept["messages"]] == names[1:]
            assert get(server, path_of(channel, last=1)).body == b"2"
            redis.start()
            await_ready(server)
            assert metric(server, "broker_ready") == 1
            name = publish(server, channel, "back")
            assert events.next_event().id == lines.next_line()["id"] == name, "nothing was lost, and nothing is told"
            poll.request("GET", path_of(channel, since=names[2]))


def test_the_log_tells_of_each_change_once(channel: str) -> None:
    with RedisServer(aof=True) as redis, nodes(1, redis) as (server,):
        assert len(log_lines(server, "broker-connected")) == 1 and not log_lines(server, "broker-lost")
        for times in (1, 2):
            redis.kill()
            await_away(server)
            # So long that it has tried several times.
            tries = time.monotonic() + 1.5
            wait_until(lambda: time.monotonic() > tries)
            lost = log_lines(server, "broker-lost")
            assert len(lost) == times, [line["reason"] for line in lost]
            assert lost[-1]["reason"] and lost[-1]["action"] and lost[-1]["level"] == "warn"
            redis.start()
            await_ready(server)
            assert len(log_lines(server, "broker-connected")) == times + 1
        publish(server, channel, "x")


def test_a_node_starts_while_redis_is_away(channel: str) -> None:
    port = Port()
    with nodes(1, f"{SCHEME}://127.0.0.1:{port.number}/0", is_ready=False) as (server,):
        assert get(server, "/healthz").body == b"ok\n"
        assert get(server, "/readyz").status == 503
        refused = request(server, "POST", path_of(channel), "x")
        assert (refused.status, refused.error) == (503, "broker-down") and refused.header("Retry-After")
        assert get(server, "/").status == 200 and get(server, "/metrics").status == 200
        wait_until(lambda: len(log_lines(server, "broker-lost")) == 1)
        with RedisServer(port=port):
            await_ready(server)
            with EventStream(server, path_of(channel)) as stream:
                name = publish(server, channel, "first")
                assert stream.next_event().id == name
        await_away(server)
    port.release()


def test_a_node_stops_while_redis_is_away_or_hangs(channel: str) -> None:
    with RedisServer() as redis:
        with nodes(1, redis) as (server,), EventStream(server, path_of(channel)) as stream:
            stream.next_block()
            with redis.stopped():
                server.process.send_signal(signal.SIGTERM)
                begun = time.monotonic()
                server.process.wait(20)
                assert time.monotonic() - begun < 5, "the end waits for Redis"
        with nodes(1, redis) as (server,):
            redis.kill()
            await_away(server)
            server.stop()


def test_a_restart_without_subscribers_is_told_to_those_who_come_back(channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis, options=("--linger-time", "0")) as (server,):
        names = [publish(server, channel, str(i)) for i in range(5)]
        redis.restart()
        await_ready(server)
        for i in range(5):
            publish(server, channel, f"new {i}")
        for since in names:
            with LineStream(server, path_of(channel, since=since)) as lines:
                lines.next_line()
                assert lines.next_line()["reset"]["reason"] == "epoch"
                assert [lines.next_line()["data"] for _ in range(5)] == [f"new {i}" for i in range(5)]


def test_a_key_that_was_used_before_a_restart_is_known_after_it(channel: str) -> None:
    """Or else a publish whose answer the outage took is in the log twice when its publisher tries again."""
    with RedisServer(aof=True) as redis, nodes(2, redis) as servers, LineStream(servers[1], path_of(channel)) as lines:
        lines.next_line()
        for i in range(3):
            assert request(servers[0], "POST", path_of(channel), str(i), Idempotency_Key=f"key {i}").status == 201
        redis.kill()
        for server in servers:
            await_away(server)
        redis.start()
        for server in servers:
            await_ready(server)
        assert publish(servers[1], channel, "new").endswith("-4")
        assert [lines.next_line()["data"] for _ in range(4)] == ["0", "1", "2", "new"]
        for i in range(3):
            again = request(servers[i % 2], "POST", path_of(channel), str(i), Idempotency_Key=f"key {i}")
            assert (again.status, again.json["id"].split("-")[1]) == (200, str(i + 1))
        assert [data for _, data in redis.entries(channel)] == [b"0", b"1", b"2", b"new"]


def test_an_outage_costs_no_processor(channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis) as (server,):
        streams = [LineStream(server, path_of(f"{channel}/{i}")) for i in range(200)]
        redis.kill()
        await_away(server)
        before, begun = server.cpu_seconds(), time.monotonic()
        wait_until(lambda: time.monotonic() > begun + 2)
        assert server.cpu_seconds() - before < 0.5
        redis.start()
        await_ready(server)
        for i, stream in enumerate(streams):
            publish(server, f"{channel}/{i}", "x")
            while stream.next_line().get("data") != "x":
                pass
            stream.close()


def hang(channel: str, seconds: float, timeout: str) -> None:
    ledger = Ledger()
    with RedisServer(aof=True) as redis, nodes(2, redis, options=(*KEEP_ALL, "--redis-timeout", timeout)) as servers:
        followers = follow(servers, channel)
        publishers = run_all([lambda s=server, w=who: batches(ledger, s, channel, w, 500)
                              for server, who in zip(servers, ("a", "b"))])
        wait_until(lambda: len(ledger) > 100)
        with redis.stopped():
            for server in servers:
                await_away(server, timeout=seconds)
            begun = time.monotonic()
            wait_until(lambda: time.monotonic() > begun + seconds, timeout=2 * seconds)
            for server in servers:
                assert get(server, "/healthz").status == 200
                assert request(server, "POST", path_of(channel + "/other"), "x").error == "broker-down"
        join_all(publishers)
        finish(ledger, servers[0], followers)
        check_complete(ledger, followers)
        no_message_is_twice(redis, channel)
        for follower in followers:
            assert follower.track.resets == [], "nothing was lost"


def test_a_redis_that_hangs(channel: str) -> None:
    hang(channel, 1.5, "500ms")


@pytest.mark.long
@pytest.mark.parametrize("timeout", ["1s", "5s"])
def test_a_redis_that_hangs_for_ten_seconds(channel: str, timeout: str) -> None:
    hang(channel, 10, timeout)
