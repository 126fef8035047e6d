# SPDX-License-Identifier: MIT
"""Where a client comes from, when trusted proxies say it: limits by address, logs, the scheme and host of our own pages."""

import pathlib
import re
import signal

import pytest
from support.client import Connection, EventStream, Response, get, path_of, publish, request, request_bytes, subscribers
from support.proxies import proxy_before
from support.redis import metric
from support.server import Server, wait_until
from support.websocket import WebSocket

REMOTE = "127.0.0.2"  # no proxy, where only 127.0.0.1 is listed
LISTED = ("--trusted-proxies", "127.0.0.1", "--trusted-proxies", "10.0.0.0/8")


def ask(server: Server, source: str = "127.0.0.1", **headers: str) -> Response:
    with Connection(server, source=source) as connection:
        return connection.request("GET", "/healthz", **headers)


def logged_peer(server: Server, source: str, **headers: str) -> str:
    """As the log names whoever asks."""
    seen = len(re.findall("event=request", server.log()))
    ask(server, source, **headers)
    lines = wait_until(lambda: (found := re.findall(r"event=request .*peer=(\S+)", server.log())) and len(found) > seen and found)
    return str(lines[-1]).strip('"').rsplit(":", 1)[0]


@pytest.fixture(scope="module")
def listed() -> Server:
    with Server("--log-level", "debug", *LISTED) as running:
        yield running


@pytest.mark.parametrize(("header", "expected"), [
    ("192.0.2.1", "192.0.2.1"), ("198.51.100.9, 192.0.2.1", "192.0.2.1"), ("192.0.2.1, 10.1.2.3", "192.0.2.1"), ("2001:db8::7", "[2001:db8::7]"),
    ("unknown", "127.0.0.1"), ("192.0.2.1\r\nX-Forwarded-For: 198.51.100.9", "198.51.100.9"),
])
def test_a_listed_proxy_says_where_a_request_comes_from(listed: Server, header: str, expected: str) -> None:
    assert logged_peer(listed, "127.0.0.1", X_Forwarded_For=header) == expected


def test_nobody_else_does(listed: Server) -> None:
    assert logged_peer(listed, REMOTE, X_Forwarded_For="192.0.2.1") == REMOTE
    assert logged_peer(listed, "127.0.0.1", Forwarded="for=192.0.2.1") == "127.0.0.1"
    assert logged_peer(listed, "127.0.0.1", X_Real_IP="192.0.2.1") == "127.0.0.1"


def test_the_header_of_rfc_7239_counts_where_it_is_chosen() -> None:
    with Server("--log-level", "debug", "--forwarded-header", "forwarded") as server:
        assert logged_peer(server, "127.0.0.1", Forwarded='for=198.51.100.9, for="[2001:db8::7]:123";proto=https') == "[2001:db8::7]"
        assert logged_peer(server, "127.0.0.1", X_Forwarded_For="192.0.2.1") == "127.0.0.1"


def test_without_any_trusted_proxy_nobody_is_believed() -> None:
    with Server("--log-level", "debug", "--trusted-proxies", "") as server:
        assert logged_peer(server, "127.0.0.1", X_Forwarded_For="192.0.2.1") == "127.0.0.1"


def test_the_log_has_one_line_a_request_whatever_the_header_says(listed: Server) -> None:
    assert logged_peer(listed, "127.0.0.1", X_Forwarded_For="192.0.2.1\tevent=forged peer=x") == "127.0.0.1"
    assert "forged" not in listed.log()


# Limits by address.

def hold(server: Server, channel: str, **headers: str) -> Connection:
    connection = Connection(server)
    connection.send(request_bytes("GET", path_of(channel), **headers))
    return connection


def test_requests_through_a_proxy_are_counted_by_whom_they_come_from(channel: str) -> None:
    """Not by the proxy's address, which may hold as many as it likes, and while they are under way only."""
    with Server("--max-connections-per-ip", "2") as server:
        first = EventStream(server, path_of(channel), X_Forwarded_For="192.0.2.1")
        second = hold(server, channel, X_Forwarded_For="192.0.2.1")
        others = [hold(server, channel, X_Forwarded_For=f"192.0.2.{number}") for number in range(2, 8)]
        wait_until(lambda: subscribers(server, channel)["total"] == 8)
        refused = get(server, "/healthz", X_Forwarded_For="192.0.2.1")
        assert (refused.status, refused.error) == (503, "too-many-from-address")
        assert get(server, "/healthz", X_Forwarded_For="192.0.2.9").status == 200
        first.close()
        wait_until(lambda: get(server, "/healthz", X_Forwarded_For="192.0.2.1").status == 200)
        publish(server, channel, "x")
        assert second.read_response().body == b"x"
        # Between two requests a kept connection is nobody's.
        for _ in range(3):
            assert get(server, "/healthz", X_Forwarded_For="192.0.2.1").status == 200
        assert second.request("GET", "/healthz", X_Forwarded_For="192.0.2.2").status == 200
        for connection in (second, *others):
            connection.close()


def test_a_kept_connection_of_a_proxy_is_of_another_client_each_time(channel: str) -> None:
    with Server("--max-connections-per-ip", "1") as server, Connection(server) as proxy:
        with EventStream(server, path_of(channel), X_Forwarded_For="192.0.2.1"):
            for number in range(2, 10):
                assert proxy.request("GET", "/healthz", X_Forwarded_For=f"192.0.2.{number}").status == 200
            assert proxy.request("GET", "/healthz", X_Forwarded_For="192.0.2.1").error == "too-many-from-address"
            assert proxy.is_closed()
        wait_until(lambda: get(server, "/healthz", X_Forwarded_For="192.0.2.1").status == 200)


def test_an_event_source_over_the_limit_is_told_to_come_back(channel: str) -> None:
    """On a kept connection too, whose head has been read already."""
    with Server("--max-connections-per-ip", "1") as server, Connection(server) as proxy:
        with EventStream(server, path_of(channel), X_Forwarded_For="192.0.2.1"):
            assert proxy.request("GET", "/healthz", X_Forwarded_For="192.0.2.2").status == 200
            told = proxy.request("GET", path_of(channel), Accept="text/event-stream", X_Forwarded_For="192.0.2.1")
            assert told.status == 200 and told.body.startswith(b"retry: ")


def test_a_websocket_counts_as_its_clients_until_it_is_closed() -> None:
    with Server("--max-connections-per-ip", "1") as server:
        with WebSocket(server, "/ws", X_Forwarded_For="192.0.2.1"):
            assert get(server, "/healthz", X_Forwarded_For="192.0.2.1").error == "too-many-from-address"
            assert get(server, "/healthz", X_Forwarded_For="192.0.2.2").status == 200
        wait_until(lambda: get(server, "/healthz", X_Forwarded_For="192.0.2.1").status == 200)


def test_who_is_no_proxy_is_counted_by_connection_whatever_he_says() -> None:
    with Server("--max-connections-per-ip", "2", *LISTED) as server:
        held = [Connection(server, source=REMOTE) for _ in range(2)]
        for number, connection in enumerate(held):
            assert connection.request("GET", "/healthz", X_Forwarded_For=f"192.0.2.{number}").status == 200
        assert ask(server, REMOTE, X_Forwarded_For="192.0.2.9").error == "too-many-from-address"
        for connection in held:
            connection.close()
        wait_until(lambda: ask(server, REMOTE).status == 200)
        wait_until(lambda: metric(server, "connections") <= 1)  # the one that asks may not be counted yet


# Scheme and host.

SECURE = {"Host": "127.0.0.1:8443", "Origin": "https://127.0.0.1:8443"}


def publishes(server: Server, source: str, **headers: str) -> int:
    with Connection(server, source=source) as connection:
        return connection.request("POST", "/channels/a", "x", **headers).status


def test_only_a_trusted_proxy_says_that_a_page_came_by_https(listed: Server) -> None:
    assert publishes(listed, "127.0.0.1", X_Forwarded_Proto="https", **SECURE) == 201
    assert publishes(listed, REMOTE, X_Forwarded_Proto="https", **SECURE) == 403
    assert publishes(listed, "127.0.0.1", **SECURE) == 403
    assert publishes(listed, "127.0.0.1", Forwarded="for=192.0.2.1;proto=https", **SECURE) == 403
    assert publishes(listed, REMOTE, Host="127.0.0.1", Origin="http://127.0.0.1", X_Forwarded_Proto="https") == 201


def test_the_refusal_names_the_option_that_the_proxy_is_missing_from(listed: Server) -> None:
    with Connection(listed, source=REMOTE) as connection:
        refused = connection.request("POST", "/channels/a", "x", X_Forwarded_Proto="https", **SECURE)
    assert refused.error == "forbidden-origin" and "trusted-proxies" in refused.json["message"]


def test_only_a_trusted_proxy_says_which_host_the_page_was_asked_from(listed: Server) -> None:
    page = {"Host": "127.0.0.1:1", "Origin": "http://app.example"}
    assert publishes(listed, "127.0.0.1", X_Forwarded_Host="app.example", **page) == 201
    assert publishes(listed, "127.0.0.1", X_Forwarded_Host="other.example", **page) == 403
    assert publishes(listed, REMOTE, X_Forwarded_Host="app.example", **page) == 403


def test_forwarded_says_scheme_and_host_where_it_is_chosen() -> None:
    with Server("--forwarded-header", "forwarded") as server:
        forwarded = 'for=192.0.2.1;proto=https;host="app.example"'
        assert publishes(server, "127.0.0.1", Host="127.0.0.1", Origin="https://app.example", Forwarded=forwarded) == 201
        assert publishes(server, "127.0.0.1", Host="127.0.0.1", Origin="http://app.example", Forwarded=forwarded) == 403
        assert publishes(server, "127.0.0.1", X_Forwarded_Proto="https", **SECURE) == 403


def test_trusted_proxies_are_read_again(tmp_path: pathlib.Path) -> None:
    config = tmp_path / "file.ini"
    config.write_text("log-level = debug\n")
    with Server("--config", str(config)) as server:
        assert logged_peer(server, "127.0.0.1", X_Forwarded_For="192.0.2.1") == "192.0.2.1"
        config.write_text("log-level = debug\ntrusted-proxies = 10.0.0.1\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "event=reloaded" in server.log())
        assert logged_peer(server, "127.0.0.1", X_Forwarded_For="192.0.2.1") == "127.0.0.1"
        assert request(server, "GET", "/healthz").status == 200


# From real proxies.

@pytest.mark.parametrize("configuration", ["cluster/nginx.conf.in", "cluster/haproxy.cfg.in", "sockjs/nginx.conf.in", "sockjs/haproxy.cfg.in"])
def test_proxies_configured_as_in_contrib_say_where_a_request_comes_from(configuration: str) -> None:
    """Whatever the client says of himself before them."""
    with Server("--log-level", "debug", "--trusted-proxies", "127.0.0.1") as server, proxy_before([server], configuration) as proxy:
        ask(proxy, "127.0.0.7", X_Forwarded_For="192.0.2.66", Forwarded="for=192.0.2.66")
        wait_until(lambda: 'peer=127.0.0.7:0' in server.log() or 'peer="127.0.0.7:0"' in server.log())
        assert "192.0.2.66" not in server.log()
