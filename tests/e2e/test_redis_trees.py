# SPDX-License-Identifier: MIT
"""Trees and messages that are not kept, where nodes, Redis and the links between have their say."""

import pathlib
import threading
from collections.abc import Iterator

import pytest
from support.client import Connection, LineStream, get, path_of, publish, request, request_bytes, subscribers
from support.cluster import Cluster
from support.lua import feed_of
from support.redis import KEEP_ALL, NODE_OPTIONS, QUIET, RedisServer, metric, nodes, stream_key
from support.relay import Relay
from support.server import Server, wait_until


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Below `test` each channel of two segments is a tree, and of three."""
    path = tmp_path_factory.mktemp("config") / "sluice.ini"
    path.write_text('[channel "test/*"]\ntree = yes\n[channel "test/*/*"]\ntree = yes\n')
    return path


@pytest.fixture(scope="module")
def couple(redis: RedisServer, config: pathlib.Path) -> Iterator[list[Server]]:
    with nodes(2, redis, options=("--config", str(config))) as running:
        yield running


def data_of(server: Server, channel: str) -> list[str]:
    answer = get(server, path_of(channel, since="earliest", wait=0), Accept="application/json")
    return [message["data"] for message in answer.json["messages"]] if answer.status == 200 else []


def test_the_logs_above_have_it_on_every_node(redis: RedisServer, couple: list[Server], channel: str) -> None:
    one, two = couple
    with LineStream(one, path_of(channel)) as near, LineStream(two, path_of(channel)) as far:
        near.next_line(), far.next_line()
        for i, name in enumerate((f"{channel}/a", f"{channel}/a/b", channel, f"{channel}/c")):
            publish(one, name, str(i))
            # The node reads its own writes, in the logs of the trees too.
            assert data_of(one, channel) == [str(j) for j in range(i + 1)]
        for lines in (near, far):
            told = [lines.next_line() for _ in range(4)]
            assert [message["data"] for message in told] == list("0123")
            assert [message["id"].split("-")[1] for message in told] == list("1234")
    assert data_of(two, f"{channel}/a") == ["0", "1"]
    assert redis.entries(channel) == [(i + 1, b"%d" % i) for i in range(4)]
    assert metric(one, "broker_gaps_total") == metric(two, "broker_gaps_total") == 0


def test_an_application_that_calls_the_function_reaches_the_trees_that_are_in_use(redis: RedisServer, couple: list[Server],
                                                                                  channel: str) -> None:
    with LineStream(couple[0], path_of(channel)) as lines:
        lines.next_line()
        said = redis.fcall(f"{channel}/a/b", "x", "", "conflate", "k")
        assert len(said) == 4
        assert lines.next_line()["id"] == said[3].decode()


def test_where_one_log_cannot_be_written_the_publish_is_refused(redis: RedisServer, couple: list[Server], channel: str) -> None:
    redis.client.set(stream_key(channel), "in the way")
    answer = request(couple[0], "POST", path_of(f"{channel}/a"), "x")
    assert (answer.status, answer.error) == (503, "broker-refused")
    assert not redis.client.exists(stream_key(f"{channel}/a"))
    redis.client.delete(stream_key(channel))
    assert request(couple[0], "POST", path_of(f"{channel}/a"), "x").status == 201


def test_a_bridged_channel_is_of_no_tree_and_is_none(config: pathlib.Path, channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis, options=("--config", str(config), "--redis-subscribe", f"{channel}/a")) as (server,):
        with LineStream(server, path_of(channel)) as above, LineStream(server, path_of(f"{channel}/a")) as bridged:
            above.next_line(), bridged.next_line()
            publish(server, f"{channel}/a", "plain")
            publish(server, f"{channel}/a/b", "kept")
            assert above.next_line()["data"] == "kept" and bridged.next_line()["data"] == "plain"
            for more in ({"store": "no"}, {"key": "k"}):
                answer = request(server, "POST", path_of(f"{channel}/a", **more), "x")
                assert (answer.status, answer.error) == (409, "bridged-channel")


def test_trees_in_a_cluster(config: pathlib.Path, channel: str) -> None:
    with Cluster() as cluster, nodes(2, cluster.url(), options=("--config", str(config))) as (one, two):
        for i in range(8):
            publish(one, f"{channel}/a/{i}", str(i), **({"Idempotency_Key": "k"} if i % 2 else {}))
        assert data_of(two, channel) == data_of(two, f"{channel}/a") == [str(i) for i in range(8)]
        assert request(one, "POST", path_of(f"{channel}/a", store="no"), "x").json["stored"] is False


# What is not kept.

def test_a_transient_publish_whose_answer_is_lost_is_refused_and_not_sent_again(channel: str) -> None:
    with RedisServer() as redis, Relay(redis.port) as relay, nodes(1, relay.url, options=QUIET) as (server,), nodes(1, redis) as (other,):
        with LineStream(other, path_of(channel)) as lines:
            lines.next_line()
            relay.swallow("commands")
            answers: list[int] = []
            asking = threading.Thread(target=lambda: answers.append(request(server, "POST", path_of(channel, store="no"), "passing").status))
            asking.start()
            assert lines.next_line()["data"] == "passing"
            relay.cut()
            asking.join()
            assert answers == [503]
            wait_until(lambda: request(server, "POST", path_of(channel), "kept").status == 201, what="a publish that is accepted")
            assert lines.next_line()["data"] == "kept"


def test_a_transient_message_behind_one_that_was_not_heard_waits_for_it(channel: str) -> None:
    with RedisServer() as redis, Relay(redis.port, lambda reply: b"message" in reply[:20] and b"unheard" in reply) as relay:
        with nodes(1, relay.url, options=(*QUIET, *KEEP_ALL)) as (server,), LineStream(server, path_of(channel)) as lines:
            lines.next_line()
            for i in range(20):
                redis.publish(channel, f"unheard {i}")
                redis.publish(channel, f"passing {i}", "", "store", "no")
                assert [lines.next_line()["data"] for _ in range(2)] == [f"unheard {i}", f"passing {i}"]
            assert metric(server, "broker_gaps_total") == 20


def test_a_transient_message_that_is_heard_while_the_log_is_opened_is_told(channel: str) -> None:
    with RedisServer() as redis, Relay(redis.port) as relay, nodes(1, relay.url, options=(*QUIET, *KEEP_ALL)) as (server,):
        redis.publish(channel, "before")
        relay.hold("commands")
        with Connection(server) as poll:
            poll.send(request_bytes("GET", path_of(channel), Accept="application/json"))
            wait_until(lambda: redis.client.execute_command("PUBSUB", "SHARDNUMSUB", feed_of(channel))[1] == 1)
            redis.publish(channel, "passing", "", "store", "no")
            wait_until(lambda: metric(server, "broker_received_total") == 1)
            relay.hold("commands", is_held=False)
            assert [message["data"] for message in poll.read_response().json["messages"]] == ["passing"]


def test_a_log_that_is_begun_by_a_transient_message(redis: RedisServer, channel: str) -> None:
    with nodes(2, redis, options=NODE_OPTIONS) as (one, two), LineStream(two, path_of(channel)) as lines:
        lines.next_line()
        wait_until(lambda: subscribers(two, channel)["total"] == 1)
        redis.client.delete(stream_key(channel).replace("}:s:", "}:m:"))
        assert request(one, "POST", path_of(channel, store="no"), "passing").status == 201
        told = [lines.next_line() for _ in range(2)]
        assert told[0]["reset"]["reason"] == "epoch" and told[1]["data"] == "passing"
        publish(one, channel, "kept")
        assert lines.next_line()["data"] == "kept"
