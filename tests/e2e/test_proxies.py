# SPDX-License-Identifier: MIT
"""Through nginx and haproxy, configured as in contrib/cluster: they send the requests of many clients over few connections."""

import random
import threading
import time
from collections.abc import Iterator

import pytest
from support.client import Connection, EventStream, get, path_of, publish, request, subscribers
from support.proxies import Proxy, proxy_before
from support.redis import RedisServer, await_away, nodes
from support.server import Server, wait_until
from support.websocket import WebSocket

PROXIES = {"nginx": "cluster/nginx.conf.in", "haproxy": "cluster/haproxy.cfg.in"}


@pytest.fixture(params=list(PROXIES))
def proxy(request: pytest.FixtureRequest, server: Server) -> Iterator[Proxy]:
    with proxy_before([server], PROXIES[request.param]) as proxy:
        yield proxy


def test_the_small_request_of_one_client_does_not_break_the_large_one_of_another(server: Server, proxy: Proxy, channel: str) -> None:
    with Connection(proxy) as small, Connection(proxy) as large:
        for size in (1400, 3000, 6000) * 20:
            assert small.request("GET", path_of(channel, wait=0)).status == 204
            assert large.request("GET", path_of(channel, wait=0), Cookie="c" * size).status == 204


def test_many_clients_with_heads_of_all_sizes(server: Server, proxy: Proxy, channel: str) -> None:
    names = [f"{channel}/{i}" for i in range(30)]
    for name in names:
        publish(server, name, name)
    faults: list[str] = []

    def ask(seed: int) -> None:
        choice = random.Random(seed)
        with Connection(proxy) as connection:
            for _ in range(60):
                name = choice.choice(names)
                response = connection.request("GET", path_of(name, last=1), Cookie="c" * int(6000 ** choice.random()))
                if (response.status, response.body) != (200, name.encode()):
                    faults.append(f"{name}: {response}")

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults[:3]


def test_streams_and_polls_come_through_at_once(server: Server, proxy: Proxy, channel: str) -> None:
    with EventStream(proxy, path_of(channel)) as stream, Connection(proxy) as poll:
        wait_until(lambda: get(server, f"/api/channels/{channel}").status == 200 and subscribers(server, channel)["sse"] == 1)
        for number in range(5):
            poll.send(f"GET {path_of(channel)} HTTP/1.1\r\nHost: localhost\r\nCookie: {'c' * 1000 * number}\r\n\r\n".encode())
            wait_until(lambda: subscribers(server, channel)["poll"] == 1)
            publish(server, channel, str(number))
            assert poll.read_response().body == str(number).encode()
            while (event := stream.next_event()).event == "subscribed":
                pass
            assert event.data == str(number)


def test_a_message_of_a_stream_does_not_wait_for_the_next(server: Server, proxy: Proxy, channel: str) -> None:
    """haproxy puts messages together for 200 ms, unless it is told not to."""
    with EventStream(proxy, path_of(channel)) as stream:
        assert stream.next_block()
        begun = time.monotonic()
        for number in range(20):
            publish(server, channel, str(number))
            assert stream.next_event().data == str(number)
        assert time.monotonic() - begun < 3


def test_websockets_come_through(server: Server, proxy: Proxy, channel: str) -> None:
    with WebSocket(proxy, path_of(channel)) as feed, WebSocket(proxy, "/ws") as commands:
        commands.put_json({"op": "subscribe", "ref": 1, "channel": channel})
        assert commands.take_json()["op"] == "subscribed"
        feed.put_text("x" * 100_000)
        assert feed.take() == "x" * 100_000 == commands.take_json()["data"]
        publish(server, channel, "y")
        assert feed.take() == "y" == commands.take_json()["data"]
        feed.put_close(1000)
        assert feed.take_close()[0] == 1000


@pytest.mark.parametrize("name", list(PROXIES))
def test_a_stream_opens_while_redis_is_away(channel: str, name: str) -> None:
    """An EventSource gives up for good at the 503 of a proxy to which no node is ready."""
    with (RedisServer() as redis, nodes(1, redis, options=("--heartbeat", "100ms")) as (node,),
          proxy_before([node], PROXIES[name]) as proxy):
        redis.kill()
        await_away(node)
        if name == "haproxy":
            wait_until(lambda: "has no server available" in proxy.log(), what="haproxy noticing that no node is ready")
        assert request(proxy, "POST", path_of(channel), "x").error == "broker-down"
        with EventStream(proxy, path_of(channel)) as stream:
            redis.start()
            block = stream.next_block()
            assert block and block.event == "subscribed"
