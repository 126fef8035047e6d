# SPDX-License-Identifier: MIT
"""What an attacker gets who comes by another way than the one that was thought of: nothing."""

import json
import signal
from collections.abc import Iterator
from functools import partial

import pytest
from support.client import Connection, get, path_of, publish, request
from support.redis import log_lines
from support.server import Server, wait_until
from support.sockjs import Session
from support.tcp import Raw, Resp
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


SECRETS = [f"AUTH {make_token(['**'], ['**'])}", "AUTH x.y.z", json.dumps({"op": "auth", "token": make_token(["**"], ["**"])})]


@pytest.fixture(scope="module")
def open_to_all() -> Iterator[Server]:
    """With keys, on which nobody insists."""
    rules = key_file("open-to-all.conf", "subscribe = anyone\npublish = anyone\n")
    services = ("--tcp", "127.0.0.1:0 framing=crlf input=publish:talk", "--sockjs", "/talk app=publish:talk")
    with Server("--config", rules, "--jwt-key", f"HS256:{secret_file()}", *services) as running:
        yield running


def say_over_tcp(server: Server, *messages: str) -> bool:
    with Raw(server) as raw:
        raw.put(*(message.encode() for message in messages))
        return raw.take() == b"CONFIRMED" or not raw.is_closed()


def say_over_websocket(target: str, server: Server, *messages: str) -> bool:
    with WebSocket(server, target) as socket:
        for message in messages:
            socket.put_text(message)
        if "x.y.z" in messages[0]:
            assert socket.take_close()[0] == 4401
            return False
        if target.startswith("/channels"):
            assert socket.take() == messages[1]
        else:
            wait_until(lambda: get(server, path_of("talk", last=1, wait=0)).body == messages[1].encode(), what="the second message")
        return True


def say_over_xhr(server: Server, *messages: str) -> bool:
    session = Session(server, "/talk").open()
    session.put(*messages)
    if "x.y.z" in messages[0]:
        assert session.poll().startswith(b"c[4401,")
        return False
    return session.post("xhr_send", "[]").status == 204


WAYS = {"tcp": say_over_tcp, "feed": partial(say_over_websocket, path_of("talk")), "sockjs": partial(say_over_websocket, "/talk/websocket"),
        "xhr": say_over_xhr}


@pytest.mark.parametrize("secret", SECRETS, ids=["good", "bad", "json"])
@pytest.mark.parametrize("way", WAYS)
def test_a_token_that_comes_first_is_published_to_nobody(open_to_all: Server, way: str, secret: str, channel: str) -> None:
    last = f"hello {channel}"
    assert WAYS[way](open_to_all, secret, last) == ("x.y.z" not in secret)
    publish(open_to_all, "talk", "end")
    told = get(open_to_all, path_of("talk", last=10, wait=0), Accept="application/json").json["messages"]
    assert not any("AUTH" in each["data"] or "token" in each["data"] for each in told), told
    assert ("x.y.z" in secret) != any(each["data"] == last for each in told), told


def test_a_later_message_that_looks_like_a_token_is_one_like_others(open_to_all: Server) -> None:
    with WebSocket(open_to_all, path_of("talk")) as socket:
        for message in ("one", "AUTH two"):
            socket.put_text(message)
            assert socket.take() == message


def test_a_token_that_comes_first_takes_the_place_of_the_handshakes() -> None:
    rules = key_file("handshake.conf", "publish = anyone\n")
    with Server("--config", rules, "--jwt-key", f"HS256:{secret_file()}") as server:
        with WebSocket(server, path_of("talk", token=make_token(["talk"]))) as socket:
            socket.put_text(f"AUTH {make_token(['talk'])}")
            socket.put_text("x")
            assert socket.take() == "x"
        with WebSocket(server, path_of("talk", token=make_token(["talk"]))) as socket:
            socket.put_text(f"AUTH {make_token(['other'])}")
            assert socket.take_close()[0] == 4403


def test_without_keys_there_are_no_tokens_to_hide() -> None:
    with Server() as server, WebSocket(server, path_of("talk")) as socket:
        socket.put_text("AUTH is a word")
        assert socket.take() == "AUTH is a word"


def test_resp_tells_nobody_of_the_server_where_there_are_keys() -> None:
    options = ("--tcp", "127.0.0.1:0 framing=resp", "--jwt-key", f"HS256:{secret_file()}")
    with Server(*options) as server, Resp(server) as client:
        for words in (("INFO",), ("PUBSUB", "CHANNELS"), ("PUBSUB", "NUMSUB", "a"), ("PUBSUB", "NUMPAT")):
            assert str(client.run(*words)).startswith("-NOAUTH Authentication required."), words
        client.run("AUTH", make_token(["a"]))
        told = client.run("INFO")
        assert isinstance(told, bytes) and b"redis_version:" in told and b"connected_clients" not in told
        assert client.run("PUBSUB", "NUMPAT") == 0
        client.run("AUTH", make_token(admin=True))
        told = client.run("INFO")
        assert isinstance(told, bytes) and b"connected_clients:" in told
    with Server("--tcp", "127.0.0.1:0 framing=resp") as server, Resp(server) as client:
        assert b"connected_clients:" in client.run("INFO")  # type: ignore[operator]
