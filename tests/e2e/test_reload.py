# SPDX-License-Identifier: MIT
"""SIGHUP: the new options are in force on what is there already, in the shards and in both brokers."""

import contextlib
import signal
from collections.abc import Iterator

from support.client import Connection, EventStream, get, path_of, publish, request, request_bytes, subscribers
from support.redis import RedisServer, await_ready, log_lines, metric
from support.reloading import Reloading
from support.server import Server, wait_until
from support.tokens import secret_file
from support.websocket import BINARY, CONTINUATION, PING, Frame, WebSocket, frame_bytes


def last_messages(server: Server, channel: str, count: int) -> list[str]:
    response = get(server, path_of(channel, last=count, wait=0), Accept="application/json")
    return [message["data"] for message in response.json["messages"]]


@contextlib.contextmanager
def followed(server: Server, channel: str) -> Iterator[None]:
    """While somebody follows the channel it stays attached."""
    with EventStream(server, path_of(channel)):
        wait_until(lambda: subscribers(server, channel)["sse"] == 1)
        yield


def test_a_smaller_history_is_in_force_on_a_channel_that_is_followed(channel: str) -> None:
    with Reloading("history-size = 100") as server, followed(server, channel):
        for i in range(50):
            publish(server, channel, str(i))
        assert len(last_messages(server, channel, 50)) == 50
        server.reload("history-size = 5")
        publish(server, channel, "50")
        publish(server, channel, "51")
        assert last_messages(server, channel, 50) == ["47", "48", "49", "50", "51"]


def test_a_larger_history_is_in_force_on_a_channel_that_is_followed(channel: str) -> None:
    with Reloading("history-size = 2") as server, followed(server, channel):
        for i in range(5):
            publish(server, channel, str(i))
        server.reload("history-size = 100")
        for i in range(5, 20):
            publish(server, channel, str(i))
        refills = metric(server, "refills_total")
        assert last_messages(server, channel, 15) == [str(i) for i in range(5, 20)]
        assert metric(server, "refills_total") == refills, "the shard itself does not keep more"
        assert last_messages(server, channel, 50) == [str(i) for i in range(3, 20)]


def test_the_linger_time_is_in_force_for_who_leaves_next(channel: str) -> None:
    with Reloading("linger-time = 1h") as server:
        get(server, path_of(channel, wait=0))
        wait_until(lambda: metric(server, "channels_attached") == 1)
        server.reload("linger-time = 20ms")
        get(server, path_of(channel, wait=0))
        wait_until(lambda: metric(server, "channels_attached") == 0)


def test_limits_and_times_of_the_door_are_in_force() -> None:
    with Reloading("head-timeout = 1h") as server, Connection(server) as old:
        assert get(server, "/healthz").status == 200
        server.reload("head-timeout = 100ms\nmax-connections = 2")
        with Connection(server) as slow:
            with Connection(server) as third:
                assert third.request("GET", "/healthz").error == "too-many-connections"
            slow.send(b"GET")
            assert slow.read_response().error == "head-timeout"
        assert old.request("GET", "/healthz").status == 200


def test_websockets_that_are_open_are_pinged_and_held_to_the_new_limits(channel: str) -> None:
    with Reloading("websocket-ping = 0") as server, WebSocket(server, path_of(channel)) as client:
        server.reload("websocket-ping = 100ms\nmessage-size = 1000\nwebsocket-fragments = 2")
        assert client.take_frame() == Frame(PING)
        with WebSocket(server, path_of(channel)) as large, WebSocket(server, path_of(channel)) as fragmented:
            large.put(BINARY, b"x" * 1001)
            assert large.take_close()[0] == 1009
            fragmented.send(frame_bytes(BINARY, b"x", is_final=False) + frame_bytes(CONTINUATION, b"x", is_final=False) * 2)
            assert fragmented.take_close()[0] == 1008


def test_scripts_are_let_in_and_kept_out_again(channel: str) -> None:
    with Reloading("legacy = no") as server:
        target = path_of(channel, transport="jsonp", callback="cb", wait=0)
        assert get(server, target).error == "not-acceptable"
        server.reload("legacy = yes")
        assert get(server, target).status == 200
        server.reload("legacy = no")
        assert get(server, target).error == "not-acceptable"


def test_the_log_level_is_in_force() -> None:
    with Reloading("log-level = info") as server:
        server.reload("log-level = debug")
        get(server, "/healthz")
        wait_until(lambda: log_lines(server, "request"))


def test_the_history_of_redis_is_in_force_on_what_is_published_next(channel: str) -> None:
    with RedisServer() as redis, Reloading("history-size = 50", "--broker", redis.url()) as server:
        await_ready(server)
        with followed(server, channel):
            for i in range(20):
                publish(server, channel, str(i))
            assert len(redis.entries(channel)) == 20
            server.reload("history-size = 3")
            # By then the new number has come to the broker's thread; each node says with a publish what it keeps.
            wait_until(lambda: publish(server, channel, "x") and len(last_messages(server, channel, 50)) == 3)
            publish(server, channel, "last")
            assert len(last_messages(server, channel, 50)) == 3 and last_messages(server, channel, 1) == ["last"]


def test_the_time_that_redis_has_to_answer_is_in_force() -> None:
    with RedisServer() as redis, Reloading("redis-timeout = 1h", "--broker", redis.url()) as server:
        await_ready(server)
        server.reload("redis-timeout = 300ms\nredis-probe-time = 100ms")
        with redis.stopped():
            assert request(server, "POST", path_of("a"), "x", Content_Type="text/plain").status == 503
        await_ready(server)


def test_a_reload_while_stopping_changes_nothing(channel: str) -> None:
    with Reloading("drain-time = 1s") as server, followed(server, channel):
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "event=stopping" in server.log())
        server.process.send_signal(signal.SIGHUP)
        assert server.process.wait(10) == 0
        assert not log_lines(server, "reloaded")


def test_a_reload_does_not_open_what_keys_have_closed(channel: str) -> None:
    """A configuration file that is cut off has no keys either."""
    def asked(server: Reloading) -> int:
        return get(server, path_of(channel, wait=0)).status

    with Reloading(f"jwt-key = HS256:{secret_file()}\n") as server:
        assert "no key any more" in server.change("", "reload-failed")["reason"] and asked(server) == 401
    with Reloading(f"jwt-key = HS256:{secret_file()}\n", "--anonymous") as server:
        server.reload("")
        assert asked(server) == 204
