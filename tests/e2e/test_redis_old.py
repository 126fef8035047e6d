# SPDX-License-Identifier: MIT
"""A Redis 6: no functions and no sharded Pub/Sub. It is this machine's Redis without those commands, and everybody, scripts
too, is told an older version. So a script is never the one whose hash was asked for: each use of it is the fall-back."""

import contextlib
from collections.abc import Iterator

import pytest
from support.client import EventStream, LineStream, get, path_of, publish, request
from support.follow import Ledger, check_complete, finish, follow
from support.redis import KEEP_ALL, RedisError, RedisServer, await_ready, complaints, nodes, stream_key
from support.relay import Relay
from support.server import Server, wait_until

NEW_COMMANDS = ("FUNCTION", "FCALL", "FCALL_RO", "SSUBSCRIBE", "SUNSUBSCRIBE", "SPUBLISH", "EVAL_RO", "EVALSHA_RO")


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    removed = [word for command in NEW_COMMANDS for word in ("--rename-command", command, "")]
    with RedisServer(*removed, aof=True) as running:
        with pytest.raises(RedisError):
            running.client.execute_command("FUNCTION", "LIST")
        yield running


@contextlib.contextmanager
def old(redis: RedisServer, count: int = 2) -> Iterator[list[Server]]:
    version = redis.client.info("server")["redis_version"].encode()
    older = b"6.2.9999"[:len(version)]
    with Relay(redis.port) as relay:
        asked = b"redis.REDIS_VERSION_NUM"
        relay.rewrite = lambda data: data.replace(version, older).replace(asked, b"0x00060299".ljust(len(asked)))
        with nodes(count, relay.url, options=KEEP_ALL) as servers:
            yield servers


def test_publish_history_and_purge(redis: RedisServer, channel: str) -> None:
    with old(redis) as (here, there):
        with EventStream(there, path_of(channel)) as events, LineStream(here, path_of(channel)) as lines:
            lines.next_line()
            names = [publish(server, channel, str(i)) for i, server in enumerate((here, there) * 50)]
            assert [name.split("-")[1] for name in names] == [str(i) for i in range(1, 101)]
            assert [events.next_event().id for _ in names] == names
            assert [lines.next_line()["id"] for _ in names] == names
            first = request(here, "POST", path_of(channel), "x", Idempotency_Key="k")
            again = request(there, "POST", path_of(channel), "x", Idempotency_Key="k")
            assert (first.status, again.status, again.json["id"]) == (201, 200, first.json["id"])
            assert len(redis.entries(channel)) == 101
            assert request(there, "DELETE", f"/api/channels/{channel}").json["purged"] == 101
            events.next_event(), lines.next_line()
            assert '"purged"' in (events.next_event().data or "") and lines.next_line()["reset"]["reason"] == "purged"
        assert not [line for line in complaints(here) if line["level"] == "error"]


def test_flushed_scripts_are_sent_again(redis: RedisServer, channel: str) -> None:
    ledger = Ledger()
    with old(redis) as servers:
        followers = follow(servers, channel)
        for times in range(5):
            for i in range(10):
                ledger.publish(servers[i % 2], channel, f"{times} {i}")
            redis.client.execute_command("SCRIPT", "FLUSH")
        finish(ledger, servers[0], followers)
        check_complete(ledger, followers)
        assert not ledger.refusals and all(not follower.track.resets for follower in followers)


def test_lost_links_and_restarts(redis: RedisServer, channel: str) -> None:
    ledger = Ledger()
    with old(redis) as servers:
        followers = follow(servers, channel)
        for times in range(3):
            for i in range(20):
                ledger.publish(servers[i % 2], channel, f"{times} {i}")
            if times == 1:
                redis.restart()
            else:
                redis.kill_clients("normal")
                redis.kill_clients("pubsub")
        for server in servers:
            await_ready(server)
        finish(ledger, servers[0], followers)
        check_complete(ledger, followers)
        for follower in followers:
            assert follower.track.resets == []


def test_lost_keys_are_found(redis: RedisServer, channel: str) -> None:
    with old(redis) as servers, LineStream(servers[0], path_of(channel)) as lines:
        lines.next_line()
        name = publish(servers[1], channel, "old")
        assert lines.next_line()["data"] == "old"
        redis.client.delete(stream_key(channel))
        assert lines.next_line()["reset"]["reason"] == "epoch"
        assert publish(servers[1], channel, "new").split("-")[0] != name.split("-")[0]
        assert lines.next_line()["data"] == "new"
        wait_until(lambda: get(servers[1], path_of(channel, last=1)).body == b"new")
