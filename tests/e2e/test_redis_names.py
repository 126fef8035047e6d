# SPDX-License-Identifier: MIT
"""Names of Redis servers that take long to look up: nothing else waits for them."""

import signal
import time

from support.client import get, path_of, publish, request
from support.cluster import Cluster
from support.faults import FaultyServer
from support.redis import NODE_OPTIONS, RedisServer, await_ready, complaints, log_lines, nodes
from support.server import wait_until
from support.stillness import again_after_a_stall


def test_a_name_is_looked_up(channel: str) -> None:
    with RedisServer() as redis, nodes(1, f"redis://localhost:{redis.port}/0") as (server,):
        assert publish(server, channel).endswith("-1")


def test_a_name_that_is_not_there_is_told() -> None:
    with nodes(1, "redis://no.such.host.invalid:6379/0", is_ready=False) as (server,):
        line = wait_until(lambda: complaints(server), what="a line in the log")[0]
        assert line["event"] == "broker-lost" and "name" in line["reason"], line


def test_the_next_address_of_a_name_is_tried(channel: str) -> None:
    with RedisServer() as redis, FaultyServer("--broker", f"redis://localhost:{redis.port}/0", *NODE_OPTIONS,
                                              from_start=("getaddrinfo_double",)) as server:
        await_ready(server)
        assert publish(server, channel).endswith("-1")


@again_after_a_stall(0.1)
def test_while_no_name_server_answers(channel: str) -> None:
    with RedisServer() as redis, FaultyServer("--broker", f"redis://localhost:{redis.port}/0", *NODE_OPTIONS, "--redis-timeout", "300ms",
                                              from_start=("getaddrinfo_held",)) as server:
        told = wait_until(lambda: log_lines(server, "broker-lost"), what="a line in the log")[0]
        assert "the name is not looked up within 300 ms" in told["reason"], told
        begun = time.monotonic()
        for _ in range(5):
            refused = request(server, "POST", path_of(channel), "x")
            assert (refused.status, refused.error) == (503, "broker-down")
        assert get(server, "/readyz").status == 503
        assert time.monotonic() - begun < 2, "a publish waits for the name"
        wait_until(lambda: time.monotonic() > begun + 1.5, what="several tries")
        assert server.calls("getaddrinfo") == 1, "each try has a thread of its own"
        server.mend("getaddrinfo_held")
        await_ready(server)
        assert publish(server, channel).endswith("-1")


def test_the_end_does_not_wait_for_a_name_server() -> None:
    with FaultyServer("--broker", "redis://localhost:6379/0", from_start=("getaddrinfo_held",)) as server:
        wait_until(lambda: server.calls("getaddrinfo") == 1)
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert time.monotonic() - begun < 5


def test_a_server_whose_name_is_looked_up_keeps_no_other(channel: str) -> None:
    with Cluster() as cluster:
        address = f"127.0.0.1:{cluster.masters[0].port}"
        with FaultyServer("--broker", f"redis://localhost:{cluster.masters[1].port},{address}", *NODE_OPTIONS,
                          from_start=("getaddrinfo_held",)) as server:
            await_ready(server)
            assert publish(server, channel).endswith("-1")
            assert server.calls("getaddrinfo") == 1
