# SPDX-License-Identifier: MIT
"""Listeners: the admin's own, and Unix sockets."""

import pathlib
import stat

import pytest
from support.client import Connection, get, path_of, publish, request, request_bytes
from support.server import Server, wait_until

ADMIN_PATHS = ("/api/channels", "/api/channels/a/b", "/api/stats", "/metrics")


def test_without_an_admin_listener_api_and_metrics_are_everywhere(server: Server) -> None:
    publish(server, "a/b")
    assert [get(server, path).status for path in ADMIN_PATHS] == [200] * len(ADMIN_PATHS)


def test_an_admin_listener_has_api_and_metrics_and_the_others_do_not() -> None:
    with Server("--admin", "127.0.0.1:0", "--tcp", "127.0.0.1:0") as server:
        admin = server.at(server.listeners("admin")[0])
        publish(server, "a/b")
        for path in ADMIN_PATHS:
            hidden = get(server, path)
            assert (hidden.status, hidden.error) == (404, "not-found") and "admin listener" in hidden.json["message"]
            assert get(admin, path).status == 200
        assert request(server, "DELETE", "/api/channels/a/b").status == 404
        assert get(admin, "/api/channels/a/b").json["messages"] == 1
        assert request(admin, "DELETE", "/api/channels/a/b").status == 200
        for path in ("/healthz", "/readyz", "/"):
            assert get(server, path).status == get(admin, path).status == 200
        publish(admin, "a/b")
        assert get(server, path_of("a/b", last=1)).body == b"x"


def test_a_page_may_still_ask_whether_it_may_send_a_token_to_a_hidden_path() -> None:
    with Server("--admin", "127.0.0.1:0") as server:
        preflight = request(server, "OPTIONS", "/api/channels/a")
        assert (preflight.status, preflight.header("Allow")) == (204, "GET, HEAD, DELETE, OPTIONS")


@pytest.mark.parametrize("option", ["http", "admin"])
def test_http_on_a_unix_socket(option: str, tmp_path: pathlib.Path, channel: str) -> None:
    path = tmp_path / "socket"
    with Server(f"--{option}", f"unix:{path} mode=0640", "--shards", "2") as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        wait_until(lambda: f"{option}=unix:{path}" in server.log())
        with Connection(server, str(path)) as reader, Connection(server, str(path)) as writer:
            reader.send(request_bytes("GET", path_of(channel), Accept="text/event-stream"))
            assert reader.read_head().status == 200
            assert writer.request("POST", path_of(channel), "hello").status == 201
            reader.read_until(b"data: hello")
            # The second request of a connection comes by another way.
            assert writer.request("GET", "/healthz").body == b"ok\n"
    assert not path.exists()
