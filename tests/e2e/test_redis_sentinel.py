# SPDX-License-Identifier: MIT
"""A master with a replica, watched by a Sentinel: the nodes follow the master, and what a failover has lost is told."""

import json

import pytest
from support.client import EventStream, LineStream, get, path_of, publish, request
from support.follow import Ledger, check_complete, finish, follow, join_all, run_all
from support.redis import KEEP_ALL, Port, RedisServer, SentinelSet, await_ready, complaints, nodes
from support.server import PATIENCE, Server, wait_until


def publish_all(ledger: Ledger, server: Server, channel: str, who: str, count: int) -> None:
    for i in range(count):
        ledger.publish(server, channel, f"{who} {i}")


def test_failover_while_many_publish(channel: str) -> None:
    ledger = Ledger()
    with SentinelSet() as redis, nodes(3, redis.url(), options=KEEP_ALL) as servers:
        followers = follow(servers, channel)
        publishers = run_all([lambda s=server, w=str(i): publish_all(ledger, s, channel, w, 300)
                              for i, server in enumerate(servers)])
        wait_until(lambda: len(ledger) > 200)
        heir = redis.fail_over()
        join_all(publishers)
        for server in servers:
            await_ready(server)
        finish(ledger, servers[0], followers, patience=3 * PATIENCE)
        kept = [data.decode() for _, data in heir.entries(channel)]
        assert len(kept) == len(set(kept))
        for follower in followers:
            assert set(follower.track.reasons) <= {"failover"}, follower
            assert set(kept) <= set(follower.track.data), follower


def test_acknowledged_writes_that_a_failover_lost_are_told(channel: str) -> None:
    """The replica hangs, the master accepts more, dies, and the replica becomes the master: offsets go back."""
    with SentinelSet() as redis, nodes(2, redis.url(), options=KEEP_ALL) as servers:
        with EventStream(servers[0], path_of(channel)) as events, LineStream(servers[1], path_of(channel)) as lines:
            lines.next_line()
            both = [publish(servers[0], channel, f"both {i}") for i in range(3)]
            wait_until(lambda: len(redis.replica.entries(channel)) == 3)
            with redis.replica.stopped():
                # Otherwise it would find them in its socket.
                redis.master.kill_clients("replica")
                lost = [publish(servers[0], channel, f"lost {i}") for i in range(3)]
                assert [events.next_event().id for _ in range(6)] == both + lost
                assert [lines.next_line()["id"] for _ in range(6)] == both + lost
                redis.master.kill()
            redis.fail_over()
            for server in servers:
                await_ready(server)
            new = [publish(servers[1], channel, f"new {i}") for i in range(4)]
            event, reset = events.next_event(), lines.next_line()["reset"]
            assert event.event == "reset" and json.loads(event.data or "") == reset
            assert (reset["reason"], reset["withdrawn"], reset["cursor"]) == ("failover", 3, new[0].replace("-4", "-3"))
            assert [events.next_event().id for _ in new] == [lines.next_line()["id"] for _ in new] == new
        assert not set(new) & set(both + lost), "an id names one message"
        for server in servers:
            for count, since in enumerate(lost, start=1):
                answer = get(server, path_of(channel, since=since), Accept="application/json").json
                assert [(reset["reason"], reset["withdrawn"]) for reset in answer["reset"]] == [("failover", count)]
                assert [message["id"] for message in answer["messages"]] == new
            for count, since in enumerate(both, start=1):
                answer = get(server, path_of(channel, since=since), Accept="application/json").json
                assert "reset" not in answer and len(answer["messages"]) == 7 - count, "nothing that it has seen is gone"


def test_a_failover_that_was_asked_for(channel: str) -> None:
    ledger = Ledger()
    with SentinelSet() as redis, nodes(2, redis.url(), options=KEEP_ALL) as servers:
        followers = follow(servers, channel)
        for i in range(20):
            ledger.publish(servers[i % 2], channel, f"before {i}")
        wait_until(lambda: len(redis.replica.entries(channel)) == 20)
        redis.say("FAILOVER", redis.NAME)
        wait_until(lambda: redis.master_port() == redis.replica.port, timeout=2 * PATIENCE, what="the failover")
        wait_until(lambda: redis.master.replication("role") == "slave", timeout=2 * PATIENCE)
        for i in range(20):
            ledger.publish(servers[i % 2], channel, f"after {i}", patience=3 * PATIENCE)
        finish(ledger, servers[1], followers, patience=3 * PATIENCE)
        check_complete(ledger, followers)
        assert len(redis.replica.entries(channel)) == 41
        for follower in followers:
            assert follower.track.resets == [], follower


def test_the_old_master_comes_back_as_replica_and_is_left_alone(channel: str) -> None:
    with SentinelSet() as redis, nodes(1, redis.url()) as (server,):
        publish(server, channel, "before")
        heir = redis.fail_over()
        await_ready(server)
        redis.master.start()
        wait_until(lambda: redis.master.replication("role") == "slave", timeout=2 * PATIENCE)
        for i in range(5):
            publish(server, channel, f"after {i}")
        assert [data for _, data in heir.entries(channel)][-5:] == [f"after {i}".encode() for i in range(5)]


def test_addresses_of_sentinels_that_are_away_are_passed_over(channel: str) -> None:
    with SentinelSet() as redis:
        gone = Port()
        with nodes(1, redis.url(before=f"127.0.0.1:{gone.number},")) as (server,):
            publish(server, channel)
        gone.release()


def test_a_sentinel_that_is_away_or_knows_nothing(channel: str) -> None:
    with SentinelSet() as redis:
        redis.sentinel.kill()
        with nodes(1, redis.url(), is_ready=False) as (server,):
            wait_until(lambda: complaints(server))
            assert request(server, "POST", path_of(channel), "x").error == "broker-down"
            assert len(complaints(server)) == 1 and "entinel" in str(complaints(server)[0])
            redis.sentinel.start()
            await_ready(server)
            publish(server, channel)
            redis.sentinel.kill()
            publish(server, channel)
            assert get(server, "/readyz").status == 200, "the Sentinel is needed only to find the master"
            redis.sentinel.start()
    with RedisServer(is_sentinel=True) as empty:
        with nodes(1, f"{empty.scheme}-sentinel://127.0.0.1:{empty.port}/nobody/0", is_ready=False) as (server,):
            wait_until(lambda: complaints(server))
            assert "nobody" in str(complaints(server)[0]) and get(server, "/healthz").status == 200


@pytest.mark.long
def test_many_failovers(channel: str) -> None:
    ledger = Ledger()
    with SentinelSet(aof=True) as redis, nodes(2, redis.url(), options=KEEP_ALL) as servers:
        followers = follow(servers, channel)
        for times in range(4):
            for i in range(50):
                ledger.publish(servers[i % 2], channel, f"{times} {i}", patience=3 * PATIENCE)
            heir = redis.fail_over()
            gone = redis.master if heir is redis.replica else redis.replica
            gone.start()
            wait_until(lambda: gone.replication("master_link_status") == "up", timeout=3 * PATIENCE)
            for server in servers:
                await_ready(server, timeout=2 * PATIENCE)
        finish(ledger, servers[0], followers, patience=3 * PATIENCE)
