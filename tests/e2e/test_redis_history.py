# SPDX-License-Identifier: MIT
"""The logs in Redis: history on any node, retention, looking, purging, and who subscribes to what."""

import json
import selectors
from urllib.parse import quote

import pytest
from support.client import Connection, EventStream, LineStream, get, path_of, publish, request, request_bytes, subscribers
from support.follow import Ledger, check_complete, finish, follow
from support.redis import KEEP_ALL, SCHEME, RedisServer, metric, nodes
from support.server import PATIENCE, Server, wait_until


def data_of(server: Server, channel: str, **query: object) -> list[str]:
    response = get(server, path_of(channel, wait=0, **query), Accept="application/json")
    assert response.status in (200, 204), response
    return [message["data"] for message in response.json["messages"]] if response.status == 200 else []


def fill(server: Server, channel: str, count: int) -> None:
    for first in range(0, count, 1000):
        lines = "".join(json.dumps({"channel": channel, "data": str(i)}) + "\n" for i in range(first, min(count, first + 1000)))
        assert request(server, "POST", "/channels", lines, Content_Type="application/x-ndjson").status == 200


def test_a_node_serves_what_came_before_it(redis: RedisServer, pair: list[Server], channel: str) -> None:
    names = [publish(pair[0], channel, str(i)) for i in range(5)]
    with nodes(1, redis) as (late,):
        assert data_of(late, channel, since="earliest") == ["0", "1", "2", "3", "4"]
        assert data_of(late, channel, since=names[2]) == ["3", "4"]
        assert data_of(late, channel, last=2) == ["3", "4"]
        assert data_of(late, channel, since="now") == []
        location = request(pair[1], "POST", path_of(channel), "5", Content_Type="text/plain").header("Location")
        assert location and get(late, location).body == b"5"
        with EventStream(late, path_of(channel, since=names[3])) as stream:
            assert [stream.next_event().data for _ in range(2)] == ["4", "5"]


def test_a_message_larger_than_history_bytes_is_kept(redis: RedisServer, channel: str) -> None:
    """On a node that has had it subscribed, on one that has published it, and on one that comes later."""
    with nodes(2, redis, options=("--history-bytes", "10KiB")) as (here, there), EventStream(there, path_of(channel)) as stream:
        assert stream.next_block()
        publish(here, channel, "small")
        publish(here, channel, "y" * 100_000)
        assert [stream.next_event().data for _ in range(2)] == ["small", "y" * 100_000]
        with nodes(1, redis) as (late,):
            for node in (here, there, late):
                assert data_of(node, channel, since="earliest") == ["y" * 100_000]
                assert data_of(node, channel, last=1) == ["y" * 100_000]


def test_deep_history_comes_whole_while_more_is_published(pair: list[Server], channel: str) -> None:
    fill(pair[0], channel, 5000)
    ledger = Ledger()
    followers = follow([pair[1]], channel)
    for i in range(20):
        ledger.publish(pair[0], channel, f"new {i}")
    finish(ledger, pair[0], followers)
    check_complete(ledger, followers)
    for follower in followers:
        assert follower.track.data[:5000] == [str(i) for i in range(5000)]
        assert not follower.track.resets


def read_at_once(streams: list[LineStream], mark: bytes) -> None:
    """Takes from all of them in turn what has come, until each has `mark`: none of them waits for another."""
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            if mark not in stream.buffer:
                selector.register(stream.socket, selectors.EVENT_READ, stream)
        while selector.get_map():
            ready = selector.select(PATIENCE)
            assert ready, "nothing more comes"
            for key, _ in ready:
                behind = max(0, len(key.data.buffer) - len(mark))
                assert key.data.receive(), "the stream ended"
                if mark in key.data.buffer[behind:]:
                    selector.unregister(key.fileobj)


def count_reads(redis: RedisServer, channel: str, readers: int, count: int) -> int:
    """How often a node that knows nothing yet reads the stream until all have everything."""
    def calls() -> int:
        return sum(redis.calls_of(command) for command in ("xrange", "xrevrange", "xread"))

    with nodes(1, redis, options=KEEP_ALL) as (late,):
        before = calls()
        streams = [LineStream(late, path_of(channel, since="earliest")) for _ in range(readers)]
        read_at_once(streams, b'"data":"%d"' % (count - 1))
        reads = calls() - before
        for stream in streams:
            stream.next_line()
            assert [stream.next_line()["data"] for _ in range(count)] == [str(i) for i in range(count)]
            stream.close()
    return reads


def test_many_who_come_back_at_once_share_the_reading(redis: RedisServer, pair: list[Server], channel: str) -> None:
    fill(pair[0], channel, 1500)
    alone = count_reads(redis, channel, 1, 1500)
    assert 0 < count_reads(redis, channel, 100, 1500) < 10 * alone, "each reads for itself"


def test_what_is_trimmed_is_told(redis: RedisServer, channel: str) -> None:
    with nodes(2, redis, options=("--history-size", "100")) as (here, there):
        first = publish(here, channel, "0")
        fill(here, channel, 1000)
        kept = get(there, f"/api/channels/{channel}").json
        assert 100 <= kept["messages"] < 1001 and kept["newest"].endswith("-1001")
        for server in (here, there):
            with LineStream(server, path_of(channel, since=first)) as lines:
                lines.next_line()
                reset = lines.next_line()["reset"]
                oldest = lines.next_line()["id"]
                assert reset["reason"] == "trimmed" and oldest == kept["oldest"]
                assert reset["missed"] == int(oldest.split("-")[1]) - 2


def test_ttl_ends_the_replay_of_one_message_on_all_nodes(pair: list[Server], channel: str) -> None:
    publish(pair[0], channel, "kept")
    request(pair[0], "POST", path_of(channel, ttl=1), "gone", Content_Type="text/plain")
    publish(pair[0], channel, "also kept")
    for server in pair:
        wait_until(lambda: data_of(server, channel, since="earliest") == ["kept", "also kept"])
        with EventStream(server, path_of(channel, since="earliest")) as stream:
            events = [stream.next_event() for _ in range(3)]
            assert [event.event for event in events] == [None, "reset", None] and '"missed":1' in (events[1].data or "")


def test_age_ends_the_replay_and_the_counter_goes_on(redis: RedisServer, channel: str) -> None:
    with nodes(2, redis, options=("--history-ttl", "1s")) as (here, there):
        name = publish(here, channel, "old")
        wait_until(lambda: data_of(there, channel, since="earliest") == [])
        assert publish(there, channel, "new") == name.replace("-1", "-2")
        assert data_of(here, channel, since=name) == ["new"]


def test_each_node_sees_all_channels(redis: RedisServer, pair: list[Server]) -> None:
    for i in range(25):
        publish(pair[i % 2], f"list/{i:02}", "x" * 10)
    redis.publish("list/25", "x")
    names: list[str] = []
    after = ""
    while True:
        answer = get(pair[1], f"/api/channels?prefix=list/&limit=10&after={after}").json
        names += [entry["channel"] for entry in answer["channels"]]
        if "next" not in answer:
            break
        after = answer["next"]
    assert names == [f"list/{i:02}" for i in range(26)]
    look = [get(server, "/api/channels/list/07").json for server in pair]
    assert look[0] == look[1]
    assert (look[0]["messages"], look[0]["oldest"]) == (1, look[0]["newest"]) and look[0]["bytes"] >= 10
    assert look[0]["last_published"] > 1_600_000_000_000
    assert get(pair[0], "/api/channels/not/there").error == "no-such-channel"
    assert request(pair[0], "DELETE", "/api/channels/not/there").error == "no-such-channel"


def test_a_purge_is_told_on_every_node(pair: list[Server], channel: str) -> None:
    old = publish(pair[0], channel, "old")
    with (Connection(pair[1]) as poll, EventStream(pair[0], path_of(channel)) as here,
          LineStream(pair[1], path_of(channel)) as there):
        poll.send(request_bytes("GET", path_of(channel)))
        wait_until(lambda: subscribers(pair[1], channel)["total"] == 2)
        assert request(pair[0], "DELETE", f"/api/channels/{channel}").json == {"channel": channel, "purged": 1}
        name = publish(pair[1], channel, "new")
        assert poll.read_response().reset == "purged"
        assert '"reason":"purged"' in (here.next_event().data or "")
        assert here.next_event().id == name
        there.next_line()
        assert there.next_line()["reset"]["reason"] == "purged"
        assert there.next_line()["id"] == name
    assert name.endswith("-1") and name.split("-")[0] != old.split("-")[0]
    for server in pair:
        assert get(server, path_of(channel, since=old)).reset == "epoch"


def test_a_purge_without_subscribers_on_the_other_node(pair: list[Server], channel: str) -> None:
    names = [publish(pair[0], channel, str(i)) for i in range(3)]
    assert data_of(pair[1], channel, since=names[0]) == ["1", "2"]
    assert request(pair[0], "DELETE", f"/api/channels/{channel}").json["purged"] == 3
    wait_until(lambda: get(pair[1], path_of(channel, since=names[0], wait=0)).header("Sluice-Reset"))
    assert data_of(pair[1], channel, since="earliest") == []


def test_nodes_subscribe_only_to_what_somebody_holds(redis: RedisServer, channel: str) -> None:
    with nodes(1, redis, options=("--linger-time", "0.2")) as (server,):
        idle = metric(server, "broker_subscriptions")
        streams = [LineStream(server, path_of(channel + name)) for name in ("/a", "/b", "/b")]
        for stream in streams:
            stream.next_line()
        assert metric(server, "broker_subscriptions") == idle + 2
        publish(server, channel + "/c", "to nobody")
        assert metric(server, "broker_subscriptions") == idle + 2
        for stream in streams:
            stream.close()
        wait_until(lambda: metric(server, "broker_subscriptions") == idle, what="leaving the channels")


def test_ten_thousand_channels_attach_and_come_back_quickly(redis: RedisServer) -> None:
    with nodes(1, redis, options=("--shards", "1")) as (server,):
        names = [f"many/{i}" for i in range(10_000)]
        streams = []
        for first in range(0, len(names), 50):
            target = path_of(names[first], transport="stream", since="earliest")
            streams.append(LineStream(server, target + "".join(f"&channel={name}" for name in names[first + 1:first + 50])))
        wait_until(lambda: metric(server, "broker_subscriptions") >= 10_000, what="10,000 subscriptions")
        for stream in streams:
            assert len(stream.next_line()["cursor"].split(".")) == 50
        reconnects = metric(server, "broker_reconnects_total")
        assert redis.kill_clients("pubsub") >= 1
        wait_until(lambda: metric(server, "broker_reconnects_total") > reconnects)
        for i in range(0, len(names), 500):
            redis.publish(names[i], f"to {i}")
        for i in range(0, len(names), 500):
            assert streams[i // 50].next_line()["data"] == f"to {i}"
        for stream in streams:
            stream.close()


def test_databases_do_not_mix(redis: RedisServer, channel: str) -> None:
    """Redis Pub/Sub knows no databases: two installations on one Redis must not hear each other."""
    with nodes(2, redis.url(db=1), redis.url(db=2)) as (one, two):
        with LineStream(one, path_of(channel)) as first, LineStream(two, path_of(channel)) as second:
            first.next_line(), second.next_line()
            for i in range(3):
                publish(one, channel, f"one {i}")
            publish(two, channel, "two")
            line = second.next_line()
            assert (line.get("data"), line.get("id", "")[-2:]) == ("two", "-1"), line
            assert [first.next_line()["data"] for _ in range(3)] == ["one 0", "one 1", "one 2"]
        assert [name for name in get(two, "/api/channels").json["channels"] if name["messages"] == 3] == []
        assert metric(two, "broker_gaps_total") == 0


def test_latency_and_commands_are_counted(pair: list[Server], channel: str) -> None:
    publish(pair[0], channel)
    text = get(pair[0], "/metrics").body.decode()
    for name in ("ready", "commands_total", "reconnects_total", "gaps_total", "gaps_filled_total", "resets_total",
                 "publishes_pending", "subscriptions"):
        assert f"# TYPE sluice_broker_{name} " in text and f"# HELP sluice_broker_{name} " in text
        metric(pair[0], f"broker_{name}")
    assert "# TYPE sluice_broker_latency_seconds histogram" in text
    assert metric(pair[0], "broker_latency_seconds_count") >= 1 and metric(pair[0], "broker_latency_seconds_sum") > 0
    assert 'sluice_broker_latency_seconds_bucket{le="+Inf"}' in text
    assert metric(pair[0], "broker_commands_total") >= 1 and metric(pair[0], "broker_ready") == 1


@pytest.mark.parametrize("secret", ["s3cret", "p@ss:w/rd %"])
def test_users_passwords_and_sockets(channel: str, secret: str) -> None:
    with RedisServer(password=secret) as redis:
        redis.client.execute_command("ACL", "SETUSER", "sluice", "on", f">{secret}", "~*", "&*", "+@all")
        quoted = quote(secret, safe="")
        urls = (f"{SCHEME}://:{quoted}@127.0.0.1:{redis.port}/0", f"{SCHEME}://sluice:{quoted}@127.0.0.1:{redis.port}/0",
                f"{SCHEME}://sluice:{quoted}@localhost:{redis.port}")
        with nodes(3, *urls) as servers:
            name = publish(servers[0], channel, "x")
            for server in servers:
                assert get(server, path_of(channel, last=1)).cursor == name
            assert all(secret not in server.log() and quoted not in server.log() for server in servers)


def test_unix_sockets_with_a_database(channel: str) -> None:
    with RedisServer() as redis:
        with nodes(2, f"unix://{redis.socket_path}?db=3", redis.url(db=3)) as (local, remote):
            with EventStream(remote, path_of(channel)) as stream:
                name = publish(local, channel, "x")
                assert stream.next_event().id == name
        assert redis.client.info("keyspace")["db3"]["keys"] >= 2 and redis.client.dbsize() == 0
