# SPDX-License-Identifier: MIT
"""sluice.lua by itself: whose leases count after Redis was away for all nodes, and what is told of logs, at times that a test sets."""

import json

import pytest
from support.lua import Library, Listener, limits
from support.redis import RedisServer

NOON = 1_700_000_000_000  # a time that a test sets
LEASE = 15_000
TOLD = limits(size=1 << 20) + " 1"


def come(lua: Library, channel: str, lease: str, *people: str, sweeps: bool = True, is_new: bool = False) -> list[int]:
    members = [word for name in people for word in ("+", name, NOON, NOON, "sse", "")]
    return lua.call("presence", channel, lease, LEASE, 0, int(is_new), "", lua.now_ms + 1000 if sweeps else 0, *members)


def listed(lua: Library, channel: str, sweeps: bool = True) -> list[str]:
    _, _, now, _, *members = lua.call("roster", channel, "", 100, 1 << 20, lua.now_ms + 1000 if sweeps else 0)
    assert now == lua.now_ms
    return [name.decode() for name in members[::5]]


def test_people_of_a_lapsed_lease_stay_for_a_node_that_has_just_connected(lua: Library, channel: str) -> None:
    lua.now_ms = NOON
    come(lua, channel, "here.1", "ann", is_new=True)
    come(lua, channel, "there.1", "bob", is_new=True)
    lua.now_ms += 100
    come(lua, channel, "here.1")
    with Listener(lua, f"sluice:{{{channel.split('/')[0]}}}:p:{channel}/$presence") as heard:
        lua.now_ms += 3 * LEASE
        assert listed(lua, channel, sweeps=False) == ["ann", "bob"]
        come(lua, channel, "here.2", "ann", sweeps=False, is_new=True)
        come(lua, channel, "there.2", "bob", sweeps=False, is_new=True)
        lua.now_ms += 1000
        assert come(lua, channel, "here.2") == [1, 0, lua.now_ms]
        assert listed(lua, channel) == ["ann", "bob"]
        assert heard.take() == []


def test_people_of_a_node_that_does_not_come_back_go_then(lua: Library, channel: str) -> None:
    lua.now_ms = NOON
    come(lua, channel, "here.1", "ann", is_new=True)
    come(lua, channel, "there.1", "bob", is_new=True)
    lua.now_ms += LEASE - 1000
    come(lua, channel, "here.1")
    lua.now_ms += 2000
    assert come(lua, channel, "here.1", sweeps=False)[0] == 1
    assert listed(lua, channel, sweeps=False) == ["ann", "bob"]
    assert listed(lua, channel) == ["ann"]


def test_a_last_lease_counts_at_once(lua: Library, channel: str) -> None:
    lua.now_ms = NOON
    lua.call("presence", channel, "there.1", 1200, 0, 1, "", 0, "+", "bob", NOON, NOON, "sse", "")
    lua.now_ms += 2000
    assert listed(lua, channel, sweeps=False) == []


def test_a_call_that_was_under_way_for_long_takes_nobody_out(lua: Library, channel: str) -> None:
    """Redis stood still, and does now what nodes have asked before: the first one's word is not the last."""
    lua.now_ms = NOON
    come(lua, channel, "here.1", "ann", is_new=True)
    come(lua, channel, "there.1", "bob", is_new=True)
    asked = lua.now_ms
    lua.now_ms += 2 * LEASE
    lua.call("presence", channel, "here.2", LEASE, 0, 1, "", asked + LEASE // 2, "+", "ann", NOON, NOON, "sse", "")
    assert listed(lua, channel, sweeps=False) == ["ann", "bob"]


def events_of(heard: Listener) -> list[tuple[str, str]]:
    told = []
    for _, payload in heard.take():
        head, _, data = payload.partition(b"\n")
        told.append((head.split()[1].decode(), json.loads(data)["channel"]))
    return told


def test_what_nodes_have_heard_of_a_log_is_told_once(lua: Library, redis: RedisServer, channel: str) -> None:
    """As in a Cluster, where each of them says so."""
    lua.now_ms = NOON
    stamp, ends = NOON * 1000, NOON + 60_000

    def say(node: str, *news: str) -> list[bytes]:
        return lua.call("occupancy", [], node, LEASE, 1, 0, *news)

    with Listener(lua, "sluice:{$channel}:p:$channel") as heard:
        for node in ("one", "two", "three"):
            say(node, "c", f"{stamp} {ends} {channel}")
        assert events_of(heard) == [("created", channel)]
        for node in ("one", "two"):
            say(node, "p", f"{stamp + 5} {ends} {channel}")
            say(node, "k", f"{stamp} {ends} {channel}")
        assert events_of(heard) == [("purged", channel)]
        say("one", "f", f"{stamp + 9} 0 {channel}")
        assert events_of(heard) == []
        for node in ("one", "two"):
            say(node, "c", f"{stamp + 70} {ends} {channel}")
        assert events_of(heard) == [("forgotten", channel), ("created", channel)]
        for node in ("one", "two"):
            say(node, "f", f"{stamp + 70} 0 {channel}")
        assert events_of(heard) == [("forgotten", channel)]
        for odd in ("", "x", "1 2", f"x {ends} {channel}", f"{stamp} x {channel}", f" {channel}"):
            for kind in ("c", "p", "k", "f", "?"):
                say("one", kind, odd)
        assert events_of(heard) == []
    assert not redis.client.hexists("sluice:{$channel}:e", channel)


def test_a_log_that_ended_unseen_is_told_before_it_begins_anew(lua: Library, redis: RedisServer, channel: str) -> None:
    lua.now_ms = NOON
    with Listener(lua, "sluice:{$channel}:p:$channel") as heard:
        lua.publish(channel, limits=TOLD)
        redis.client.delete(f"sluice:{{{channel.split('/')[0]}}}:m:{channel}")
        lua.publish(channel, limits=TOLD)
        assert events_of(heard) == [("created", channel), ("forgotten", channel), ("created", channel)]


@pytest.mark.parametrize("count", [700])
def test_many_logs_that_have_ended_go_in_slices(lua: Library, redis: RedisServer, channel: str, count: int) -> None:
    lua.now_ms = NOON
    names = [f"{channel}/{i}" for i in range(count)]
    redis.client.hset("sluice:{$channel}:e", mapping=dict.fromkeys(names, "1 0"))
    redis.client.zadd("sluice:{$channel}:t", dict.fromkeys(names, NOON - 1))
    waits = [lua.call("occupancy", [], "one", LEASE, 1, 0)[1] for _ in range(3)]
    assert waits == [0, 0, LEASE // 3]
    assert redis.client.hmget("sluice:{$channel}:e", names) == [None] * count
    assert redis.client.zcount("sluice:{$channel}:t", "-inf", NOON) == 0
