# SPDX-License-Identifier: MIT
"""What an attacker gets who comes by another way than the one that was thought of: nothing."""

import json
import signal

import pytest
from support.client import Connection, get, publish, request
from support.redis import log_lines
from support.server import Server, wait_until
from support.sockjs import Session
from support.tcp import Resp
from support.tokens import key_file, make_token, secret_file
from support.websocket import WebSocket


@pytest.mark.parametrize("length", [254, 255, 256, 1000])
def test_a_pattern_that_is_longer_than_any_name_is_refused(length: int) -> None:
    with Server("--tcp", "127.0.0.1:0 framing=resp") as server, Resp(server) as client:
        said = str(client.run("PSUBSCRIBE", "a" * length + "/*"))
        assert "pattern is the name of a channel" in said
        assert client.run("PING", "still there")
        assert get(server, "/healthz").status == 200


def test_who_says_his_token_in_a_transaction_is_refused() -> None:
    with Server("--tcp", "127.0.0.1:0 framing=resp", "--jwt-key", f"HS256:{secret_file()}") as server, Resp(server) as client:
        assert client.run("MULTI")
        assert "inside a transaction" in str(client.run("AUTH", make_token(["**"])))


def test_pages_that_may_publish_do_not_get_what_an_admin_listener_gives() -> None:
    with Server("--admin", "127.0.0.1:0", "--allowed-origins", "https://app.example", "--allowed-origins", "*") as server:
        admin = server.at(server.listeners("admin")[0])
        publish(server, "kept")
        for origin in ("https://app.example", "https://evil.example"):
            told = request(admin, "GET", "/api/channels", Origin=origin)
            assert told.header("Access-Control-Allow-Origin") is None
            assert request(admin, "DELETE", "/api/channels/kept", Origin=origin).error == "forbidden-origin"
        own = f"http://127.0.0.1:{admin.port}"
        assert request(admin, "DELETE", "/api/channels/kept", Origin=own, Host=f"127.0.0.1:{admin.port}").status == 200


@pytest.mark.parametrize("site", [None, "cross-site", "same-site"])
def test_a_cookie_opens_no_session_for_a_page_that_says_nothing_of_itself(site: str | None) -> None:
    """Who knows the session's name could go on with it."""
    token = make_token(["**"], ["**"])
    fields = {"Cookie": f"sluice_token={token}", **({"Sec_Fetch_Site": site} if site else {})}
    with Server("--sockjs", "/s legacy=yes", "--jwt-key", f"HS256:{secret_file()}") as server:
        session = Session(server, "/s")
        opened = request(server, "GET", f"{session.url}/jsonp?c=f", **fields)
        assert opened.status == 200, opened
        session.put(json.dumps({"op": "subscribe", "channel": "a", "ref": 1}))
        assert json.loads(session.take_messages()[0])["code"] == "no-token"


def test_a_session_that_publishes_does_so_only_while_it_may() -> None:
    file = key_file("rights.conf", "")
    with Server("--config", file, "--sockjs", "/chat app=publish:chat") as server, WebSocket(server, "/chat/websocket") as client:
        client.put_text("one")
        wait_until(lambda: get(server, "/api/channels/chat").json.get("messages") == 1)
        key_file("rights.conf", "publish = nobody\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log_lines(server, "reloaded"), what="the reload")
        with Connection(server) as other:
            wait_until(lambda: other.request("POST", "/channels/chat", "x").status == 403)
        client.put_text("two")
        assert client.take_json()["code"] == "forbidden-channel"
        assert get(server, "/api/channels/chat").json["messages"] <= 2
