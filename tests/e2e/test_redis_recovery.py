# SPDX-License-Identifier: MIT
"""Answers of Redis that are late, lost, or tell what was heard already: each is waited for so long, asked for again, told once."""

import signal
import tempfile
import time

import pytest
from support.client import Connection, LineStream, get, path_of, publish, request, request_bytes
from support.follow import Ledger, finish, follow
from support.lua import feed_of
from support.redis import KEEP_ALL, QUIET, RedisServer, await_ready, is_ready, log_lines, meta_key, metric, nodes, stream_key
from support.relay import Relay
from support.server import PATIENCE, Server, wait_until


def fill(redis: RedisServer, channel: str, count: int) -> list[str]:
    texts = [str(i) for i in range(count)]
    for text in texts:
        redis.publish(channel, text)
    return texts


def all_of(server: Server, channel: str) -> list[str]:
    answer = get(server, path_of(channel, since="earliest", wait=0), Accept="application/json").json
    assert "reset" not in answer
    return [message["data"] for message in answer["messages"]]


def reasons(server: Server) -> list[str]:
    """Why Redis was lost. On a busy machine it is also lost because it does not greet in so short a time."""
    return [line["reason"] for line in log_lines(server, "broker-lost")]


def is_known_here(redis: RedisServer, server: Server, channel: str, texts: list[str]) -> bool:
    """Whether the node has them whole, and asks Redis for none."""
    calls = redis.calls_of("fcall")
    assert all_of(server, channel) == texts
    return redis.calls_of("fcall") == calls


def test_a_link_that_was_quiet_for_long_has_a_deadline_again(channel: str) -> None:
    """The deadline of connecting is long over when the first answer fails to come."""
    ledger = Ledger()
    with RedisServer() as redis, Relay(redis.port) as relay:
        with nodes(1, relay.url, options=(*QUIET, "--redis-timeout", "300ms")) as (server,):
            quiet = time.monotonic() + 1
            wait_until(lambda: time.monotonic() > quiet)
            for _ in range(2):
                relay.swallow("commands")
                ledger.publish(server, channel, "x")
                await_ready(server)
            assert "no answer within 300 ms" in reasons(server)


def test_what_was_never_heard_and_is_gone_is_told_without_another_message(channel: str) -> None:
    with RedisServer() as redis, Relay(redis.port, lambda reply: b"message" in reply[:20] and b"unheard" in reply) as relay:
        with nodes(1, relay.url, options=(*QUIET, *KEEP_ALL, "--redis-check-time", "300ms")) as (server,):
            with LineStream(server, path_of(channel)) as lines:
                lines.next_line()
                publish(server, channel, "heard")
                assert lines.next_line()["data"] == "heard"
                with redis.client.pipeline() as at_once:
                    for _ in range(3):
                        at_once.execute_command("FCALL", "sluice_publish", 1, channel, "unheard")
                    at_once.xtrim(stream_key(channel), maxlen=0, approximate=False)
                    at_once.execute()
                assert lines.next_line()["reset"]["reason"] == "trimmed"


@pytest.mark.parametrize("is_done", [True, False])
def test_a_publish_whose_answer_never_comes_is_looked_up(channel: str, is_done: bool) -> None:
    """Either the answer was lost, and it is in the log, or the question, and it is sent again: once it is in the log in any case."""
    with RedisServer() as redis, Relay(redis.port) as relay:
        with nodes(1, relay.url, options=(*QUIET, "--redis-timeout", "2s")) as (server,):
            first = publish(server, channel, "first")
            relay.swallow("commands", replies=is_done, requests=not is_done)
            answer = request(server, "POST", path_of(channel), "x", Content_Type="text/plain")
            assert (answer.status, answer.json["id"]) == (201, first.replace("-1", "-2")), answer
            assert redis.entries(channel) == [(1, b"first"), (2, b"x")]


def test_a_publish_of_which_nothing_is_known_is_answered_in_time(channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis, options=(*QUIET, "--redis-timeout", "200ms")) as (server,), redis.stopped():
        answer = request(server, "POST", path_of(channel), "x")
        assert (answer.status, answer.error) == (503, "broker-down") and metric(server, "broker_publishes_pending") == 0


def test_a_subscription_that_delivers_nothing_is_found(channel: str) -> None:
    with RedisServer() as redis, Relay(redis.port) as relay:
        with nodes(1, relay.url, options=(*QUIET, "--redis-timeout", "300ms", "--redis-probe-time", "300ms")) as (server,):
            with LineStream(server, path_of(channel)) as lines:
                lines.next_line()
                relay.swallow("subscriptions")
                redis.publish(channel, "unheard")
                assert lines.next_line()["data"] == "unheard"
            assert "the subscription link is open and delivers nothing" in reasons(server)


def test_many_channels_come_back_however_long_it_takes(channel: str) -> None:
    """Longer than the time in which an answer is due: as long as Redis goes on answering, nothing is given up."""
    with RedisServer() as redis, Relay(redis.port) as relay:
        with nodes(1, relay.url, options=(*QUIET, *KEEP_ALL, "--redis-timeout", "1s")) as (server,):
            names = [f"{channel}/{i}" for i in range(400)]
            groups = [names[first:first + 50] for first in range(0, len(names), 50)]
            streams = [LineStream(server, path_of(group[0], transport="stream") + "".join(f"&channel={name}" for name in group[1:]))
                       for group in groups]
            for stream in streams:
                stream.next_line()
            relay.split, relay.delay = 150, 0.004
            relay.cut()
            wait_until(lambda: not is_ready(server))
            texts = [redis.publish(group[-1], group[-1]) and group[-1] for group in groups]
            await_ready(server, timeout=3 * PATIENCE)
            assert metric(server, "broker_reconnects_total") == 1
            assert [stream.next_line()["data"] for stream in streams] == texts


def test_what_a_node_publishes_itself_is_no_gap(channel: str) -> None:
    with RedisServer() as redis, nodes(1, redis, options=QUIET) as (server,), LineStream(server, path_of(channel)) as lines:
        lines.next_line()
        names = [publish(server, channel, str(i)) for i in range(20)]
        assert [lines.next_line()["id"] for _ in names] == names
        wait_until(lambda: metric(server, "broker_received_total") == 20)
        assert metric(server, "broker_gaps_total") == 0


def test_what_is_heard_while_the_log_is_opened_is_kept_once(channel: str) -> None:
    with RedisServer() as redis, Relay(redis.port) as relay, nodes(1, relay.url, options=(*QUIET, *KEEP_ALL)) as (server,):
        fill(redis, channel, 1)
        relay.hold("commands")
        with Connection(server) as poll:
            poll.send(request_bytes("GET", path_of(channel, since="earliest"), Accept="application/json"))
            wait_until(lambda: redis.client.execute_command("PUBSUB", "SHARDNUMSUB", feed_of(channel))[1] == 1)
            fill(redis, channel, 2)
            wait_until(lambda: metric(server, "broker_received_total") == 2)
            relay.hold("commands", is_held=False)
            assert [message["data"] for message in poll.read_response().json["messages"]] == ["0", "0", "1"]
        assert is_known_here(redis, server, channel, ["0", "0", "1"])


def test_what_is_heard_before_its_predecessor_is_kept_once(channel: str) -> None:
    with RedisServer() as redis, Relay(redis.port, lambda reply: b"message" in reply[:20] and b"unheard" in reply) as relay:
        with nodes(1, relay.url, options=(*QUIET, *KEEP_ALL)) as (server,), LineStream(server, path_of(channel)) as lines:
            lines.next_line()
            texts = ["heard 1", "heard 2", "unheard 3", "heard 4", "heard 5"]
            for text in texts:
                redis.publish(channel, text)
            assert [lines.next_line()["data"] for _ in texts] == texts
            assert is_known_here(redis, server, channel, texts)
            wait_until(lambda: metric(server, "broker_gaps_filled_total") == 1)
            assert metric(server, "broker_gaps_total") == 1


def test_a_page_of_history_that_was_lost_is_read_again(channel: str) -> None:
    with RedisServer() as redis, Relay(redis.port) as relay:
        with nodes(2, redis.url(), relay.url, options=(*QUIET, *KEEP_ALL, "--redis-timeout", "300ms")) as (other, server):
            publish(other, channel, "first")
            texts = ["first", *fill(redis, channel, 500)]
            with LineStream(server, path_of(channel)) as live:
                live.next_line()
                relay.swallow("commands", requests=True)
                with LineStream(server, path_of(channel, since="earliest")) as late:
                    late.next_line()
                    assert [late.next_line()["data"] for _ in texts] == texts
                publish(server, channel, "new")
                assert live.next_line()["data"] == "new"


def test_history_of_large_messages_comes_whole(channel: str) -> None:
    """More than one page of it can carry."""
    with RedisServer() as redis:
        with nodes(2, redis, options=(*QUIET, *KEEP_ALL, "--message-size", "2MiB")) as (other, server):
            names = [publish(other, channel, f"{i}" + "x" * (1 << 20)) for i in range(12)]
            with LineStream(server, path_of(channel, since="earliest")) as lines:
                lines.next_line()
                assert [lines.next_line()["id"] for _ in names] == names


def test_a_log_that_was_set_back_is_told(redis: RedisServer, pair: list[Server], channel: str) -> None:
    """Restored from a backup under the same master: its newest messages are gone, and their offsets will be given again."""
    ledger = Ledger()
    followers = follow(pair, channel)
    keys = (meta_key(channel), stream_key(channel))
    for i in range(3):
        ledger.publish(pair[0], channel, f"kept {i}")
    copies = [(key, redis.client.dump(key)) for key in keys]
    gone = [ledger.publish(pair[1], channel, f"gone {i}") for i in range(3)]
    for follower in followers:
        wait_until(lambda: len(follower.track.messages) == 6)
    for key, copy in copies:
        redis.client.restore(key, 300_000, copy, replace=True)
    for follower in followers:
        wait_until(lambda: follower.track.resets, what=f"telling {follower}")
    new = ledger.publish(pair[0], channel, "new")
    finish(ledger, pair[0], followers)
    assert new.endswith("-4") and new not in gone
    for follower in followers:
        assert [(reset["reason"], reset["withdrawn"]) for reset in follower.track.resets] == [("failover", 3)], follower
        assert follower.track.data == [*(f"kept {i}" for i in range(3)), *(f"gone {i}" for i in range(3)), "new", "the end"], follower


def test_options_are_reloaded(channel: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as file, RedisServer() as redis, Relay(redis.port) as relay:
        def write(text: str) -> None:
            file.seek(0)
            file.truncate()
            file.write(text)
            file.flush()

        write("redis-timeout = 1s\n")
        with Server("--broker", relay.url, "--config", file.name) as server:
            await_ready(server)
            publish(server, channel)
            before = redis.client.hget(meta_key(channel), "limits")
            write("history-size = 2\nhistory-ttl = 7s\nchannel-ttl = 70s\nidempotency-time = 9s\nredis-timeout = 250ms\n")
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: publish(server, channel) and redis.client.hget(meta_key(channel), "limits") != before)
            assert redis.client.hget(meta_key(channel), "limits") == b"2 7000 70000 9000 4194304 0"
            for _ in range(3):
                publish(server, channel)
            assert get(server, f"/api/channels/{channel}").json["messages"] == 2
            relay.swallow("commands")
            Ledger().publish(server, channel, "after a fault")
            assert "no answer within 250 ms" in reasons(server)
