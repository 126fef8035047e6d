# SPDX-License-Identifier: MIT
"""Links to Redis that are cut, slow, torn to pieces, or that look healthy and deliver nothing: no message is missing."""

import os
import random
import threading

import pytest
from support.client import EventStream, LineStream, get, path_of, publish, request
from support.follow import Follower, Ledger, check_complete, finish, follow, join_all, run_all
from support.redis import KEEP_ALL, RedisServer, await_ready, is_ready, metric, nodes
from support.relay import Relay
from support.server import Server, wait_until


def is_unheard(reply: bytes) -> bool:
    """What a relay drops, so that the node hears nothing of some messages."""
    return b"message" in reply[:20] and b"unheard" in reply


def end_well(redis: RedisServer, ledger: Ledger, server: Server, followers: list[Follower]) -> None:
    """Redis itself lost nothing: everybody has everything once, in order, and nobody needed a reset."""
    finish(ledger, server, followers)
    check_complete(ledger, followers)
    for follower in followers:
        for channel, track in follower.tracks.items():
            assert track.resets == [], f"{follower}: {track.resets}"
            data = [data for _, data in redis.entries(channel)]
            assert len(data) == len(set(data)), "a publish was appended twice"
            assert track.data == [text.decode() for text in data]


def publish_during(ledger: Ledger, servers: list[Server], redis: RedisServer, channel: str,
                   count: int) -> list[threading.Thread]:
    """Through every node and past them, one by one."""
    def by_fcall() -> None:
        for i in range(count):
            ledger.fcall(redis, channel, f"fcall {i}")

    def by_http(server: Server, who: int) -> None:
        for i in range(count):
            ledger.publish(server, channel, f"node {who} {i}")

    return run_all([by_fcall, *(lambda s=server, w=who: by_http(s, w) for who, server in enumerate(servers))])


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
def test_client_kill(channel: str, kind: str) -> None:
    ledger = Ledger()
    with RedisServer() as redis, nodes(2, redis, options=KEEP_ALL) as servers:
        followers = follow(servers, channel)
        reconnects = [metric(server, "broker_reconnects_total") for server in servers]
        publishers = publish_during(ledger, servers, redis, channel, 300)
        for times in range(1, 5):
            wait_until(lambda: len(ledger) > times * 150)
            redis.kill_clients(kind)
        join_all(publishers)
        end_well(redis, ledger, servers[0], followers)
        for server, before in zip(servers, reconnects):
            assert metric(server, "broker_reconnects_total") > before
            await_ready(server)


@pytest.mark.parametrize("kind", ["commands", "subscriptions", "all"])
@pytest.mark.parametrize("is_abrupt", [True, False])
def test_cut_links(channel: str, kind: str, is_abrupt: bool) -> None:
    ledger = Ledger()
    with (RedisServer() as redis, Relay(redis.port) as relay,
          nodes(2, redis.url(), relay.url, options=KEEP_ALL) as servers):
        followers = follow(servers, channel)
        publishers = publish_during(ledger, servers, redis, channel, 200)
        for times in range(1, 6):
            wait_until(lambda: len(ledger) > times * 80 and relay.chosen(kind))
            relay.cut(kind, is_abrupt)
        join_all(publishers)
        end_well(redis, ledger, servers[1], followers)


def test_links_that_bring_bytes_in_small_late_pieces(channel: str) -> None:
    ledger = Ledger()
    with RedisServer() as redis, Relay(redis.port) as relay:
        relay.split = 7
        # A large message takes seconds to its far end on a busy machine, and nothing is answered meanwhile.
        with nodes(2, redis.url(), relay.url, options=(*KEEP_ALL, "--redis-timeout", "10s")) as servers:
            followers = follow(servers, channel)
            relay.delay = 0.0005
            join_all(publish_during(ledger, servers, redis, channel, 15))
            relay.split, relay.delay = 1, 0
            text = "x" * 20_000
            ledger.publish(servers[0], channel, text)
            ledger.publish(servers[1], channel, text + "y")
            end_well(redis, ledger, servers[1], followers)


def test_a_slow_link_is_not_a_lost_one(channel: str) -> None:
    ledger = Ledger()
    with RedisServer() as redis, Relay(redis.port) as relay, nodes(1, relay.url, options=KEEP_ALL) as servers:
        followers = follow(servers, channel)
        relay.delay = 0.2
        join_all(publish_during(ledger, servers, redis, channel, 4))
        end_well(redis, ledger, servers[0], followers)
        assert metric(servers[0], "broker_reconnects_total") == 0


def test_a_subscription_that_delivers_nothing_is_made_anew(channel: str) -> None:
    ledger = Ledger()
    with (RedisServer() as redis, Relay(redis.port) as relay,
          nodes(2, redis.url(), relay.url, options=KEEP_ALL) as servers):
        followers = follow(servers, channel)
        relay.swallow("subscriptions")
        for i in range(20):
            ledger.publish(servers[i % 2], channel, f"unheard {i}")
        wait_until(lambda: metric(servers[1], "broker_reconnects_total") >= 1, what="finding the dead link")
        await_ready(servers[1])
        end_well(redis, ledger, servers[1], followers)


def test_readiness_knows_of_a_subscription_that_delivers_nothing() -> None:
    with RedisServer() as redis, Relay(redis.port) as relay, nodes(1, relay.url) as (server,):
        relay.is_refusing = True
        relay.swallow("subscriptions")
        wait_until(lambda: not is_ready(server), what="the probe's not coming back")
        relay.is_refusing = False
        await_ready(server)


@pytest.mark.parametrize("direction", ["replies", "requests"])
def test_a_command_link_that_answers_nothing_is_made_anew(channel: str, direction: str) -> None:
    ledger = Ledger()
    with RedisServer() as redis, Relay(redis.port) as relay, nodes(1, relay.url, options=KEEP_ALL) as servers:
        followers = follow(servers, channel)
        for i in range(3):
            wait_until(lambda: relay.chosen("commands"))
            relay.swallow("commands", replies=direction == "replies", requests=direction == "requests")
            ledger.publish(servers[0], channel, f"first {i}")
        assert metric(servers[0], "broker_reconnects_total") >= 3
        end_well(redis, ledger, servers[0], followers)


def test_a_publish_whose_answer_was_lost_is_in_the_log_once(channel: str) -> None:
    """No key of the client's: the node itself has to try again with one, or to say 503."""
    with RedisServer() as redis, Relay(redis.port) as relay, nodes(1, relay.url, options=KEEP_ALL) as (server,):
        answers: dict[str, int] = {}

        def send(number: int) -> None:
            for i in range(30):
                text = f"{number} {i}"
                answers[text] = request(server, "POST", path_of(channel), text, Content_Type="text/plain").status

        threads = run_all([lambda n=number: send(n) for number in range(8)])
        for times in range(1, 8):
            wait_until(lambda: len(answers) > times * 25 and relay.chosen("commands"))
            relay.swallow("commands")
            before = len(redis.entries(channel))
            wait_until(lambda: len(redis.entries(channel)) > before or len(answers) == 240)
            relay.cut("commands")
        join_all(threads)
        kept = [data.decode() for _, data in redis.entries(channel)]
        assert len(kept) == len(set(kept)), "appended twice"
        assert set(answers.values()) <= {201, 503} and 201 in answers.values()
        assert {text for text, status in answers.items() if status == 201} <= set(kept)
        assert metric(server, "broker_publishes_pending") == 0


def test_debug_sleep(channel: str) -> None:
    ledger = Ledger()
    with RedisServer() as redis, nodes(2, redis, options=(*KEEP_ALL, "--redis-timeout", "300ms")) as servers:
        followers = follow(servers, channel)
        publishers = publish_during(ledger, servers, redis, channel, 100)
        for seconds in (0.1, 1, 0.5):
            redis.client.execute_command("DEBUG", "SLEEP", seconds)
        join_all(publishers)
        end_well(redis, ledger, servers[0], followers)


def test_output_buffer_limit(channel: str) -> None:
    """The node does not read for a while, and Redis throws its subscription away with what was in it."""
    ledger = Ledger()
    with RedisServer("--client-output-buffer-limit", "pubsub 1mb 0 0") as redis, Relay(redis.port) as relay:
        with nodes(2, redis.url(), relay.url, options=KEEP_ALL) as servers:
            followers = follow(servers, channel, kinds=("sse", "stream"))
            relay.hold("subscriptions")
            filler = "x" * 200_000
            disconnects = redis.client.info("stats").get("client_output_buffer_limit_disconnections", 0)
            links = len(redis.client.client_list("pubsub"))
            for i in range(200):
                ledger.publish(servers[0], channel, f"{i} {filler}")
                if len(redis.client.client_list("pubsub")) < links:
                    break
            assert redis.client.info("stats").get("client_output_buffer_limit_disconnections", 0) >= disconnects
            relay.hold("all", is_held=False)
            end_well(redis, ledger, servers[1], followers)


def test_a_hole_is_filled_before_anything_newer(channel: str) -> None:
    ledger = Ledger()
    with RedisServer() as redis, Relay(redis.port, is_unheard) as relay:
        with nodes(1, relay.url, options=KEEP_ALL) as servers:
            followers = follow(servers, channel)
            for i in range(100):
                text = f"{random.choice(['heard', 'unheard'])} {i}"
                ledger.note(channel, text, redis.publish(channel, text))
            ledger.note(channel, "unheard", redis.publish(channel, "unheard"))
            end_well(redis, ledger, servers[0], followers)
            gaps = metric(servers[0], "broker_gaps_total")
            assert gaps >= 1
            wait_until(lambda: metric(servers[0], "broker_gaps_filled_total") == gaps)
            assert metric(servers[0], "broker_reconnects_total") == 0


def test_a_lost_last_message_is_found_without_another(channel: str) -> None:
    with RedisServer() as redis, Relay(redis.port, is_unheard) as relay:
        with nodes(1, relay.url, options=("--redis-probe-time", "1h")) as (server,):
            with EventStream(server, path_of(channel)) as events, LineStream(server, path_of(channel)) as lines:
                events.next_block(), lines.next_line()
                for i in range(3):
                    name = redis.publish(channel, f"unheard {i}")
                    assert events.next_event().id == lines.next_line()["id"] == name


def test_a_hole_that_is_no_longer_in_the_stream_is_told(channel: str) -> None:
    with RedisServer() as redis, Relay(redis.port, is_unheard) as relay:
        with nodes(1, relay.url, options=("--history-size", "1", "--redis-check-time", "1h")) as (server,):
            with LineStream(server, path_of(channel)) as lines:
                lines.next_line()
                names = [publish(server, channel, "heard")]
                assert lines.next_line()["id"] == names[0]
                for i in range(300):
                    redis.publish(channel, f"unheard {i}")
                redis.client.xtrim(redis.client.keys("sluice:*:s:*")[0], maxlen=0, approximate=False)
                last = redis.publish(channel, "heard again")
                reset = lines.next_line()["reset"]
                assert (reset["reason"], reset["missed"]) == ("trimmed", 300)
                assert lines.next_line()["id"] == last
            assert get(server, "/healthz").status == 200


def test_lost_links_leave_nothing_behind(channel: str) -> None:
    with RedisServer() as redis, Relay(redis.port) as relay, nodes(1, relay.url) as (server,):
        with LineStream(server, path_of(channel)) as lines:
            lines.next_line()
            descriptors = len(os.listdir(f"/proc/{server.process.pid}/fd"))
            for i in range(40):
                relay.cut(("all", "commands", "subscriptions")[i % 3], i % 2 == 0)
                wait_until(lambda: relay.chosen("subscriptions") and relay.chosen("commands"))
            await_ready(server)
            name = wait_until(lambda: (said := request(server, "POST", path_of(channel), "x")).status == 201 and said.json["id"])
            assert lines.next_line()["id"] == name
            wait_until(lambda: len(os.listdir(f"/proc/{server.process.pid}/fd")) <= descriptors)
        wait_until(lambda: len(redis.client.client_list()) <= 4, what="Redis's noticing the ends")
