# SPDX-License-Identifier: MIT
"""Host: under which names requests may come, so that no page reaches a server by a name of its own (DNS rebinding)."""

import pathlib

import pytest
from support.client import Connection, Response, get, request
from support.server import Server, wait_until
from support.websocket import handshake_bytes

LOOPBACK = ["127.0.0.1", "127.0.0.1:8080", "127.7.7.7:1", "localhost", "LocalHost:8080", "localhost.", "[::1]", "[::1]:8080", "[::ffff:127.0.0.1]"]
STRANGERS = ["rebound.example", "rebound.example:8080", "localhost.rebound.example", "127.0.0.1.rebound.example", "10.0.0.1", "[2001:db8::1]:80",
             "0.0.0.0", "notlocalhost", "127.1", "0x7f.1", "2130706433"]
PATHS = ["/channels/a?wait=0", "/channels/a?transport=sse", "/api/stats", "/metrics", "/", "/sockjs/info", "/sockjs/1/2/xhr", "/ws", "/nothing"]


def ask(server: Server, host: str, target: str = "/channels/a?wait=0", method: str = "GET") -> Response:
    return request(server, method, target, Host=host)


@pytest.mark.parametrize("host", LOOPBACK)
def test_on_loopback_a_loopback_name_is_ours(server: Server, host: str) -> None:
    assert ask(server, host).status == 204


@pytest.mark.parametrize("host", STRANGERS)
def test_on_loopback_every_other_name_is_refused(server: Server, host: str) -> None:
    refused = ask(server, host)
    assert (refused.status, refused.error) == (421, "wrong-host")
    assert host in refused.json["message"] and "allowed-hosts" in refused.json["message"]
    assert refused.header("Access-Control-Allow-Origin") is None


@pytest.mark.parametrize("target", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_whatever_is_asked_for(server: Server, target: str, method: str) -> None:
    assert ask(server, "rebound.example", target, method).error == "wrong-host"


def test_a_page_of_the_rebound_name_reads_nothing_publishes_nothing_and_opens_no_websocket(server: Server) -> None:
    """It is of the same origin, so no browser asks whether it may."""
    channel = "rebound/page"
    page = {"Host": f"rebound.example:{server.port}", "Origin": f"http://rebound.example:{server.port}", "Sec_Fetch_Site": "same-origin"}
    assert request(server, "POST", f"/channels/{channel}", "x", **page).status == 421
    assert request(server, "GET", f"/channels/{channel}", **page).status == 421
    with Connection(server) as connection:
        connection.send(handshake_bytes("/ws", "dGhlIHNhbXBsZSBub25jZQ==", **page))
        assert connection.read_head().status == 421
    wait_until(lambda: "event=wrong-host" in server.log())
    assert get(server, f"/api/channels/{channel}").error == "no-such-channel"


def test_probes_and_requests_without_a_host_are_answered(server: Server) -> None:
    for target in ("/healthz", "/readyz"):
        assert ask(server, "10.1.2.3:8080", target).status == 200
    with Connection(server) as connection:
        connection.send(b"GET /channels/a?wait=0 HTTP/1.0\r\n\r\n")
        assert connection.read_head().status == 204
    assert request(server, "GET", f"http://127.0.0.1:{server.port}/channels/a?wait=0", Host="rebound.example").status == 204
    assert request(server, "GET", "http://rebound.example/channels/a?wait=0", Host="127.0.0.1").status == 421


def test_allowed_hosts_and_the_hosts_of_allowed_origins_are_ours_too() -> None:
    with Server("--allowed-hosts", "Push.example", "--allowed-hosts", "[2001:db8::1]", "--allowed-origins", "https://app.example:8443") as server:
        for host in ("push.example", "PUSH.example:444", "push.example.", "[2001:db8::1]:80", "app.example", "127.0.0.1"):
            assert ask(server, host).status == 204, host
        for host in ("app.example.org", "a.push.example", "xpush.example", "[2001:db8::2]"):
            assert ask(server, host).status == 421, host
    with Server("--allowed-hosts", "*") as server:
        assert ask(server, "anything.example").status == 204


def test_a_listed_host_is_one_whose_pages_are_our_own() -> None:
    with Server("--allowed-hosts", "push.example") as server:
        assert request(server, "POST", "/channels/a", "x", Host="push.example", Origin="http://push.example").status == 201
        assert request(server, "POST", "/channels/a", "x", Host="push.example", Origin="http://other.example").status == 403


def test_on_other_addresses_every_name_is_ours_while_none_is_listed() -> None:
    for more, status in (((), 204), (("--allowed-hosts", "push.example"), 421)):
        with Server("--anonymous", *more, http="0.0.0.0:0") as server:
            assert [ask(server, host).status for host in ("10.0.0.1", "anything.example", "localhost")] == [status] * 3
            assert ask(server, "push.example").status == 204
            assert ask(server, "10.0.0.1", "/healthz").status == 200


def test_no_browser_comes_by_a_unix_socket_or_with_a_proxys_header(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "socket"
    with Server("--http", f"unix:{path}", "--http", "127.0.0.1:0 proxy-protocol=yes") as server:
        with Connection(server, str(path)) as connection:
            assert connection.request("GET", "/channels/a?wait=0", Host="anything.example").status == 204
        with Connection(server.at(server.listeners("http")[1])) as connection:
            connection.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
            assert connection.request("GET", "/channels/a?wait=0", Host="anything.example").status == 204


def test_on_the_admins_listener_too() -> None:
    with Server("--admin", "127.0.0.1:0") as server:
        admin = server.at(server.listeners("admin")[0])
        assert ask(admin, "rebound.example", "/api/channels/a", "DELETE").status == 421
        assert ask(admin, "localhost", "/api/stats").status == 200


def test_raw_tcp_has_no_host(channel: str) -> None:
    """And takes no HTTP: what a browser sends there is refused at its first line (test_tcp.py)."""
    with Server("--tcp", "127.0.0.1:0 framing=crlf") as server, Connection(server.at(server.listeners("tcp")[0])) as connection:
        connection.send(b"POST / HTTP/1.1\r\nHost: rebound.example\r\n\r\n")
        assert b"this port speaks raw TCP" in connection.read_to_end()
