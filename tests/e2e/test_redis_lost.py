# SPDX-License-Identifier: MIT
"""Data that Redis has no more: every way of losing a log ends in a new epoch and a reset, and no offsets are mixed."""

import time
from collections.abc import Callable

import pytest
from support.client import EventStream, LineStream, get, path_of, publish, request
from support.follow import Ledger, finish, follow
from support.redis import (
    KEEP_ALL, RedisServer, await_away, await_ready, complaints, meta_key, metric, nodes, stream_key,
)
from support.server import Server, wait_until


def lose_all(redis: RedisServer, channel: str) -> None:
    redis.client.flushall()


def lose_meta(redis: RedisServer, channel: str) -> None:
    assert redis.client.delete(meta_key(channel)) == 1


def lose_stream(redis: RedisServer, channel: str) -> None:
    assert redis.client.delete(stream_key(channel)) == 1


def lose_both(redis: RedisServer, channel: str) -> None:
    assert redis.client.delete(stream_key(channel), meta_key(channel)) == 2


WAYS = [lose_all, lose_meta, lose_stream, lose_both]


@pytest.mark.parametrize("lose", WAYS)
def test_the_next_publish_finds_it(redis: RedisServer, pair: list[Server], channel: str,
                                   lose: Callable[[RedisServer, str], None]) -> None:
    ledger = Ledger()
    followers = follow(pair, channel)
    old = [ledger.publish(pair[i % 2], channel, f"old {i}") for i in range(10)]
    for follower in followers:
        wait_until(lambda: len(follower.track.messages) == 10)
    resets = metric(pair[0], "broker_resets_total")
    lose(redis, channel)
    new = [ledger.publish(pair[i % 2], channel, f"new {i}") for i in range(3)]
    finish(ledger, pair[0], followers)
    assert len({name.split("-")[0] for name in new}) == 1 and new[0].split("-")[0] != old[0].split("-")[0]
    assert [name.split("-")[1] for name in new] == ["1", "2", "3"]
    for follower in followers:
        assert follower.track.reasons == ["epoch"], follower
        assert follower.track.data[10:13] == ["new 0", "new 1", "new 2"], follower
    assert [data for _, data in redis.entries(channel)] == [b"new 0", b"new 1", b"new 2", b"the end"]
    assert metric(pair[0], "broker_resets_total") > resets
    for server in pair:
        assert get(server, path_of(channel, since=old[4])).reset == "epoch"


@pytest.mark.parametrize("lose", WAYS)
def test_the_check_finds_it_without_a_publish(redis: RedisServer, pair: list[Server], channel: str,
                                              lose: Callable[[RedisServer, str], None]) -> None:
    publish(pair[0], channel, "old")
    with EventStream(pair[0], path_of(channel)) as here, LineStream(pair[1], path_of(channel)) as there:
        here.next_block(), there.next_line()
        lose(redis, channel)
        event = here.next_event()
        assert event.event == "reset" and '"reason":"epoch"' in (event.data or "")
        assert there.next_line()["reset"]["reason"] == "epoch"
        name = redis.publish(channel, "new")
        assert here.next_event().id == there.next_line()["id"] == name


@pytest.mark.parametrize("lose", WAYS)
def test_fcall_finds_it(redis: RedisServer, pair: list[Server], channel: str, lose: Callable[[RedisServer, str], None]) -> None:
    old = [redis.publish(channel, str(i)) for i in range(5)]
    lose(redis, channel)
    new = redis.publish(channel, "new")
    assert new.split("-")[0] != old[0].split("-")[0] and new.endswith("-1")
    assert redis.entries(channel) == [(1, b"new")]
    for server in pair:
        with LineStream(server, path_of(channel, since=old[2])) as lines:
            lines.next_line()
            assert lines.next_line()["reset"]["reason"] == "epoch"
            assert lines.next_line()["id"] == new


def test_an_old_copy_of_the_meta_key_is_not_believed(redis: RedisServer, pair: list[Server], channel: str) -> None:
    """Redis restored from a backup, or keys copied by hand: an offset behind the stream's must not be given again."""
    ledger = Ledger()
    followers = follow(pair, channel)
    for i in range(3):
        ledger.publish(pair[0], channel, f"old {i}")
    copy = redis.client.dump(meta_key(channel))
    for i in range(3):
        ledger.publish(pair[0], channel, f"more {i}")
    redis.client.restore(meta_key(channel), 0, copy, replace=True)
    for i in range(3):
        ledger.publish(pair[1], channel, f"new {i}")
    finish(ledger, pair[0], followers)
    for follower in followers:
        assert follower.track.resets and follower.track.data[-4:] == ["new 0", "new 1", "new 2", "the end"], follower


def test_a_restart_without_persistence(channel: str) -> None:
    ledger = Ledger()
    with RedisServer() as redis, nodes(2, redis, options=KEEP_ALL) as servers:
        followers = follow(servers, channel)
        for i in range(10):
            ledger.publish(servers[0], channel, f"old {i}")
        for follower in followers:
            wait_until(lambda: len(follower.track.messages) == 10)
        redis.kill()
        for server in servers:
            await_away(server)
        redis.start()
        for i in range(3):
            ledger.publish(servers[1], channel, f"new {i}")
        finish(ledger, servers[0], followers)
        for follower in followers:
            assert follower.track.reasons == ["epoch"], follower
            assert follower.track.data[10:] == ["new 0", "new 1", "new 2", "the end"], follower


def test_a_flushed_script_library_is_loaded_again(redis: RedisServer, pair: list[Server], channel: str) -> None:
    with EventStream(pair[1], path_of(channel)) as stream:
        publish(pair[0], channel, "before")
        redis.client.execute_command("FUNCTION", "FLUSH")
        redis.client.execute_command("SCRIPT", "FLUSH")
        answer = request(pair[0], "POST", path_of(channel), "after", Content_Type="text/plain")
        assert answer.status == 201, answer
        assert [stream.next_event().data for _ in range(2)] == ["before", "after"]
        assert answer.json["id"].endswith("-2")
        wait_until(lambda: b"sluice" in str(redis.client.execute_command("FUNCTION", "LIST")).encode())


def test_an_eviction_policy_that_may_lose_keys_is_warned_about_once() -> None:
    with RedisServer("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as redis, nodes(1, redis) as (server,):
        def warnings() -> list[dict[str, str]]:
            return [line for line in complaints(server) if "allkeys-lru" in str(line)]

        wait_until(warnings)
        redis.kill_clients("normal")
        redis.kill_clients("pubsub")
        wait_until(lambda: metric(server, "broker_reconnects_total") >= 1)
        await_ready(server)
        assert len(warnings()) == 1 and "noeviction" in warnings()[0]["action"]
    with RedisServer("--maxmemory-policy", "noeviction") as redis, nodes(1, redis) as (server,):
        assert complaints(server) == []


def test_evictions_are_told(channel: str) -> None:
    """Redis throws away whatever key it likes, while messages come: nobody hears mixed offsets, or misses one unknowingly."""
    ledger = Ledger()
    with RedisServer("--maxmemory-policy", "allkeys-random") as redis, nodes(2, redis, options=KEEP_ALL) as servers:
        names = [f"{channel}/{i}" for i in range(5)]
        followers = follow(servers, *names, kinds=("stream", "poll"))
        redis.client.config_set("maxmemory", redis.client.info("memory")["used_memory"] + 1_000_000)
        for i in range(600):
            ledger.publish(servers[i % 2], names[i % 5], f"{i}")
            redis.publish(f"filler/{i}", "x" * 5000)
        assert redis.client.info("stats")["evicted_keys"] > 100
        redis.client.config_set("maxmemory", 0)
        finish(ledger, servers[0], followers)
        assert any(track.resets for follower in followers for track in follower.tracks.values())


def test_a_channel_in_use_is_not_forgotten(channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis, options=("--history-ttl", "1s", "--channel-ttl", "1s", "--linger-time", "0")) as (server,):
        with LineStream(server, path_of(channel)) as lines:
            lines.next_line()
            name = publish(server, channel, "first")
            assert lines.next_line()["id"] == name
            wait_until(lambda: not redis.client.exists(stream_key(channel)))
            begun = time.monotonic()
            wait_until(lambda: time.monotonic() > begun + 4)
            assert publish(server, channel, "second") == name.replace("-1", "-2")
            assert lines.next_line()["data"] == "second"
        wait_until(lambda: redis.client.keys(f"*{channel}") == [], what="forgetting the channel")
