# SPDX-License-Identifier: MIT
"""Two nodes on one Redis behind nginx and haproxy as contrib/sockjs configures them: a session stays with its node."""

from collections.abc import Iterator

import pytest
from support.client import publish, subscribers
from support.proxies import Proxy, proxy_before
from support.redis import RedisServer, nodes
from support.server import Server, wait_until
from support.sockjs import Session
from support.sockjs_commands import TRANSPORTS, Commands

SERVICE = "/some/where/chat"
OPTIONS = ("--sockjs", f"{SERVICE} cookie=yes legacy=yes disconnect-delay=30s")
CONFIGURATIONS = ("sockjs/haproxy.cfg.in", "sockjs/haproxy-cookie.cfg.in", "sockjs/nginx.conf.in")


@pytest.fixture(scope="module")
def chatting(redis: RedisServer) -> Iterator[list[Server]]:
    with nodes(2, redis, options=OPTIONS) as running:
        yield running


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def proxy(request: pytest.FixtureRequest, chatting: list[Server]) -> Iterator[Proxy]:
    with proxy_before(chatting, request.param) as proxy:
        yield proxy


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_transport_stays_with_its_node(chatting: list[Server], proxy: Proxy, channel: str, transport: str) -> None:
    clients = [Commands(proxy, transport, SERVICE) for _ in range(24)]
    for client in clients:
        assert client.ask("subscribe", channels=[channel])["op"] == "subscribed"
    wait_until(lambda: sum(subscribers(node, channel)["total"] for node in chatting) == len(clients), what="all subscribing")
    assert all(subscribers(node, channel)["total"] for node in chatting), "all sessions are in one node"
    for number, node in enumerate(chatting):
        publish(node, channel, str(number))
        for client in clients:
            assert client.take()["data"] == str(number)
    for client in clients:
        client.put(op="publish", ref=1, channel=f"{channel}/other", data="x")
        assert client.take()["op"] == "published"
        client.cut()


def test_the_server_part_of_a_session_does_not_choose_the_node(proxy: Proxy) -> None:
    session = Session(proxy, SERVICE).open()
    for node in ("001", "x", "999"):
        other = Session(proxy, SERVICE, name=session.name, node=node)
        other.cookie = session.cookie
        other.put('{"op":"ping"}')
        assert other.take_messages() == ['{"op":"pong"}']


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("transport", ["websocket", "xhr", "xhr_streaming", "eventsource"])
def test_when_a_node_is_gone_a_client_goes_on_in_another(redis: RedisServer, channel: str, configuration: str, transport: str) -> None:
    with nodes(2, redis, options=OPTIONS) as (one, two), proxy_before([one, two], configuration) as proxy:
        clients = [Commands(proxy, transport, SERVICE) for _ in range(6)]
        cursors = [client.ask("subscribe", channels=[channel])["cursor"] for client in clients]
        wait_until(lambda: subscribers(one, channel)["total"] + subscribers(two, channel)["total"] == len(clients))
        one.stop()
        publish(two, channel, "meanwhile")
        for client, cursor in zip(clients, cursors, strict=True):
            client.cut()
            again = wait_until(lambda: reconnect(proxy, transport), what="a new session")
            assert again.ask("subscribe", channels=[channel], since=cursor)["recovered"] is True
            assert again.take()["data"] == "meanwhile"
            again.cut()


def reconnect(proxy: Proxy, transport: str) -> Commands | None:
    """None while the proxy has not noticed yet."""
    try:
        return Commands(proxy, transport, SERVICE)
    except (AssertionError, OSError):
        return None
