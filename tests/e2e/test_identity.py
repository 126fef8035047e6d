# SPDX-License-Identifier: MIT
"""Who asks, over every transport: no token, a good one, one that is over, one for other channels and a bad one; and what ends with a token."""

from __future__ import annotations

import json
import pathlib
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.client import Connection, Response, path_of, request, request_bytes
from support.commands import Commands, raw_commands
from support.server import Server, wait_until
from support.stillness import again_after_a_stall
from support.tcp import Raw, command
from support.tokens import bearer, key_file, make_token, secret_file
from support.websocket import WebSocket

LEEWAY = 30.0
AUTO, LINES, FEED = range(3)
RULES = """
[channel "open/**"]
subscribe = anyone
publish = anyone
[channel "closed/**"]
subscribe = nobody
"""
STREAMS = ("sse", "stream", "xhr", "multipart", "htmlfile")
BAD = "x.y.z"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    tcp = ("framing=auto", "framing=crlf", "framing=crlf input=publish:a/feed feed=a/feed")
    listeners = [word for text in tcp for word in ("--tcp", f"127.0.0.1:0 {text}")]
    services = ["--sockjs", "/sockjs legacy=yes", "--sockjs", "/publish app=publish:a/feed feed=a/feed", "--sockjs", "/echo app=echo"]
    with Server("--jwt-key", f"HS256:{secret_file()}", "--config", key_file("rules", RULES), "--head-timeout", "3s", "--legacy", "yes",
                "--allowed-origins", "https://listed.example", "--allowed-origins", "*", "--log-level", "debug", *listeners, *services) as running:
        yield running


def make(*subscribe: str, publish: tuple[str, ...] = (), ends_in: float = 3600.0, admin: bool = False) -> str:
    """What hangs on it ends after `ends_in` seconds: the leeway is taken off."""
    return make_token(subscribe, publish or subscribe, admin=admin, sub="ada", exp=time.time() + ends_in - LEEWAY)


GOOD = make("a/**")
TOKENS = {"none": None, "good": GOOD, "expired": make("a/**", ends_in=-10.0), "wrong": make("b/**"), "bad": BAD,
          "forged": make_token(["a/**"], ["a/**"], key="f" * 64)}
REFUSALS = {"none": (401, "no-token"), "expired": (401, "token-expired"), "wrong": (403, "forbidden-channel"), "bad": (401, "bad-token"),
            "forged": (401, "bad-signature")}


def headers_of(token: str | None) -> dict[str, str]:
    return bearer(token) if token else {}


def check_refusal(response: Response, status: int, code: str) -> None:
    assert (response.status, response.error) == (status, code), response
    challenge = response.header("WWW-Authenticate")
    assert challenge and challenge.startswith('Bearer realm="sluice"') and (code == "no-token" or f'error_description="{code}"' in challenge)
    assert ('error="invalid_token"' in challenge) == (status == 401 and code != "no-token")


# HTTP.


@pytest.mark.parametrize("which", REFUSALS)
@pytest.mark.parametrize("transport", ["poll", "json", *STREAMS, "jsonp", "websocket"])
def test_a_subscription_is_refused_and_says_why(server: Server, transport: str, which: str) -> None:
    status, code = REFUSALS[which]
    query = {"transport": transport, **({"callback": "f"} if transport in ("htmlfile", "jsonp") else {})}
    extra = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec_WebSocket_Version": "13"}
    extra = extra if transport == "websocket" else {}
    with Connection(server) as connection:
        connection.send(request_bytes("GET", path_of("a/b", **query), **headers_of(TOKENS[which]), **extra))
        response = connection.read_head() if transport == "websocket" and which == "none" else connection.read_response()
    if transport == "websocket" and which == "none":
        assert response.status == 101  # it may still say its token
        assert request(server, "GET", path_of("closed/a"), **extra).status == 403  # no token would help
    elif transport in ("htmlfile", "jsonp"):
        assert response.status == 200 and code.encode() in response.body and b"f(" in response.body.replace(b"parent.", b"")
    else:
        check_refusal(response, status, code)


@pytest.mark.parametrize("which", REFUSALS)
def test_a_publish_is_refused_and_says_why(server: Server, which: str) -> None:
    check_refusal(request(server, "POST", path_of("a/b"), "x", **headers_of(TOKENS[which])), *REFUSALS[which])


@pytest.mark.parametrize("source", ["header", "query", "cookie"])
def test_a_token_counts_from_each_source(server: Server, channel: str, source: str) -> None:
    name = f"a/{channel}"
    assert request(server, "POST", path_of(name), "hello", **bearer(GOOD)).status == 201
    fields = bearer(GOOD) if source == "header" else {"Cookie": f"x=y; sluice_token={GOOD}; JSESSIONID=1"} if source == "cookie" else {}
    response = request(server, "GET", path_of(name, last=1, **({"token": GOOD} if source == "query" else {})), **fields)
    assert (response.status, response.body) == (200, b"hello")
    assert (response.header("Referrer-Policy") == "no-referrer") == (source == "query")


def test_the_header_counts_before_the_query_and_that_before_the_cookie(server: Server) -> None:
    look = {"wait": 0}
    assert request(server, "GET", path_of("a/b", **look, token=BAD), **bearer(GOOD)).status == 204
    assert request(server, "GET", path_of("a/b", **look, token=GOOD), Authorization="Basic eDp5").status == 204
    assert request(server, "GET", path_of("a/b", **look, token=GOOD), Cookie=f"sluice_token={BAD}").status == 204
    assert request(server, "GET", path_of("a/b", **look, token=BAD), Cookie=f"sluice_token={GOOD}").error == "bad-token"
    assert request(server, "GET", path_of("a/b", **look), Sluice_Token_Cookie=GOOD).error == "no-token"


def test_a_bad_token_is_refused_where_anyone_may_unless_a_cookie_brings_it(server: Server) -> None:
    assert request(server, "GET", path_of("open/a", wait=0)).status == 204
    assert request(server, "GET", path_of("open/a", wait=0), **bearer(BAD)).error == "bad-token"
    assert request(server, "POST", path_of("open/a", token=BAD), "x").error == "bad-token"
    assert request(server, "GET", path_of("open/a", wait=0), Cookie=f"sluice_token={BAD}").status == 204
    assert request(server, "GET", path_of("a/b", wait=0), Cookie=f"sluice_token={BAD}").error == "bad-token"
    assert request(server, "GET", path_of("closed/a", wait=0), **bearer(make("closed/**"))).error == "forbidden-channel"


@pytest.mark.parametrize(("method", "fields", "counts"), [
    ("POST", {"Origin": "https://evil.example"}, False), ("POST", {"Origin": "https://listed.example"}, True),
    ("POST", {"Origin": "http://127.0.0.1"}, True), ("POST", {"Sec_Fetch_Site": "same-origin"}, True),
    ("POST", {"Sec_Fetch_Site": "cross-site"}, False), ("POST", {"Sec_Fetch_Site": "same-site"}, False), ("POST", {}, False),
    ("GET", {}, True), ("GET", {"Origin": "https://evil.example"}, False), ("GET", {"Sec_Fetch_Site": "cross-site"}, False),
    ("GET", {"Origin": "https://listed.example", "Sec_Fetch_Site": "cross-site"}, True), ("GET", {"Sec_Fetch_Site": "same-site"}, True),
    ("JSONP", {"Sec_Fetch_Site": "same-origin"}, True), ("JSONP", {"Sec_Fetch_Site": "cross-site"}, False), ("JSONP", {}, False),
])
def test_a_cookie_counts_only_for_pages_that_may_use_it(server: Server, method: str, fields: dict[str, str], counts: bool) -> None:
    cookie = {"Cookie": f"sluice_token={GOOD}"}
    query = {"transport": "jsonp", "callback": "f", "wait": 0} if method == "JSONP" else {} if method == "POST" else {"wait": 0}
    response = request(server, "POST" if method == "POST" else "GET", path_of("a/cookies", **query), "x" if method == "POST" else None, **cookie, **fields)
    if method == "JSONP":
        assert (b"no-token" not in response.body) == counts, response
    else:
        assert (response.status in (200, 201, 204)) == counts, response
        assert counts or "cookie" in response.json["message"] or response.error == "forbidden-origin"
    # What no browser sends unasked counts always; that a foreign page may not publish at all is another matter.
    assert request(server, "GET", path_of("a/cookies", wait=0), **fields, **bearer(GOOD)).status == 204


def test_every_channel_of_a_subscription_is_checked(server: Server) -> None:
    both = path_of("a/b") + "?channel=b/b&wait=0"
    assert request(server, "GET", both, **bearer(GOOD)).error == "forbidden-channel"
    assert "b/b" in request(server, "GET", both, **bearer(GOOD)).json["message"]
    assert request(server, "GET", both, **bearer(make("a/b", "b/b"))).status == 204
    assert request(server, "HEAD", path_of("a/b", transport="sse")).status == 401


def test_each_message_of_a_batch_is_checked(server: Server) -> None:
    body = json.dumps([{"channel": name, "data": 1} for name in ("a/b", "b/b", "open/b", "a//b")])
    response = request(server, "POST", "/channels", body, **bearer(GOOD))
    assert response.status == 200 and [item.get("error") for item in response.json] == [None, "forbidden-channel", None, "bad-channel"]
    response = request(server, "POST", "/channels", body)
    assert [item.get("error") for item in response.json] == ["no-token", "no-token", None, "bad-channel"]
    assert request(server, "POST", "/channels", body, **bearer(BAD)).error == "bad-token"
    assert request(server, "POST", f"/channels?token={GOOD}", body).status == 200


@pytest.mark.parametrize("target", ["/api/channels", "/api/channels/a/b", "/api/stats", "/metrics"])
def test_looking_wants_an_admin(server: Server, target: str) -> None:
    request(server, "POST", path_of("a/b"), "x", **bearer(GOOD))
    check_refusal(request(server, "GET", target), 401, "no-token")
    check_refusal(request(server, "GET", target, **bearer(GOOD)), 403, "forbidden-admin")
    assert request(server, "GET", target, **bearer(make(admin=True))).status == 200


@pytest.mark.parametrize("target", ["/api/channels/a/purged", "/api/channels/a/purged/presence", "/api/channels/a/purged?presence", "/api/channels/a/purged/"])
def test_purging_wants_an_admin(server: Server, target: str) -> None:
    assert request(server, "POST", path_of("a/purged"), "kept", **bearer(GOOD)).status == 201
    for fields, refused in (({}, {401}), (bearer(GOOD), {403}), ({"Cookie": f"sluice_token={make(admin=True)}"}, {401, 403})):
        response = request(server, "DELETE", target, **fields)
        assert response.status in refused | {400, 404, 405}, response
        assert target.endswith("purged") <= (response.status in refused), response
    assert request(server, "GET", path_of("a/purged", last=1), **bearer(GOOD)).body == b"kept"


def test_what_says_nothing_of_channels_is_open(server: Server) -> None:
    for target in ("/healthz", "/readyz", "/", "/sockjs/info"):
        assert request(server, "GET", target, **bearer(BAD)).status == 200
    preflight = request(server, "OPTIONS", path_of("a/b"), Origin="https://listed.example", Access_Control_Request_Headers="authorization")
    assert preflight.status == 204 and preflight.header("Access-Control-Allow-Headers") == "authorization"


# What ends with its token.


@pytest.mark.parametrize("transport", STREAMS)
@again_after_a_stall(0.1)
def test_a_stream_ends_with_its_token_and_tells_nothing_after_it(server: Server, channel: str, transport: str) -> None:
    name = f"a/{channel}"
    query = {"transport": transport, **({"callback": "f"} if transport == "htmlfile" else {})}
    with Connection(server) as connection:
        connection.send(request_bytes("GET", path_of(name, **query), **bearer(make(name, ends_in=1.0))))
        assert connection.read_head().status == 200
        request(server, "POST", path_of(name), "before", **bearer(GOOD))
        text = b""
        while chunk := connection.read_chunk():
            text += chunk
        request(server, "POST", path_of(name), "after", **bearer(GOOD))
        connection.send(request_bytes("GET", "/healthz"))  # it has ended between two frames
        assert connection.read_response().status == 200
    assert b"before" in text and b"after" not in text and text.count(b"token-expired") == 1
    if transport == "sse":
        event = text.decode().strip().split("\n\n")[-1].split("\n")
        assert event[0] == "event: expired" and json.loads(event[1].removeprefix("data: "))["error"] == "token-expired"
        assert request(server, "GET", path_of(name, **query), **bearer(make(name, ends_in=-1.0))).status == 401  # as EventSource asks again
    elif transport in ("stream", "xhr"):
        assert json.loads(text.splitlines()[-1])["error"] == "token-expired"
    elif transport == "multipart":
        assert text.splitlines()[-1].startswith(b'Sluice-Error: {"error":"token-expired"')


@pytest.mark.parametrize("form", ["poll", "json"])
@again_after_a_stall(0.1)
def test_a_long_poll_is_answered_401_when_its_token_ends(server: Server, channel: str, form: str) -> None:
    name = f"a/{channel}"
    response = request(server, "GET", path_of(name, transport=form), **bearer(make(name, ends_in=0.5)))
    check_refusal(response, 401, "token-expired")


@again_after_a_stall(0.1)
def test_a_websocket_closes_with_4401_when_its_token_ends(server: Server, channel: str) -> None:
    name = f"a/{channel}"
    for target in (path_of(name), "/ws"):
        with WebSocket(server, f"{target}?token={make(name, ends_in=0.5)}") as socket:
            code, reason = socket.take_close()
            assert code == 4401 and reason.startswith("token-expired"), reason


@again_after_a_stall(0.1)
def test_a_session_of_sockjs_closes_with_4401_when_its_token_ends(server: Server, channel: str) -> None:
    url = f"/sockjs/0/{channel.replace('/', '-')}"
    assert request(server, "POST", f"{url}/xhr", **bearer(make("a/b", ends_in=0.5))).body == b"o\n"
    assert request(server, "POST", f"{url}/xhr").body.startswith(b"c[4401,")
    with WebSocket(server, f"/sockjs/0/w/websocket?token={make('a/b', ends_in=0.5)}") as socket:
        assert socket.take() == "o" and str(socket.take()).startswith("c[4401,") and socket.take_close()[0] == 4401
    for tried in (f"{url}x/xhr?token={BAD}", f"{url}y/xhr_streaming?token={BAD}"):
        check_refusal(request(server, "POST", tried), 401, "bad-token")


@pytest.mark.parametrize("transport", ["xhr", "xhr_streaming", "eventsource", "htmlfile", "jsonp"])
@again_after_a_stall(0.1)
def test_whoever_receives_for_a_session_of_sockjs_is_told_that_its_token_has_ended(server: Server, channel: str, transport: str) -> None:
    url = f"/sockjs/0/{channel.replace('/', '-')}"
    token = bearer(make("a/b", ends_in=1.0))
    assert request(server, "POST", f"{url}/xhr", **token).body == b"o\n"
    method, callback = ("POST", "") if transport.startswith("xhr") else ("GET", "?c=f")
    text = request(server, method, f"{url}/{transport}{callback}").body.replace(b'\\"', b'"')
    assert text.count(b"c[4401,") == 1 and b"token" in text, text
    again = request(server, "POST", f"{url}/xhr", **bearer(GOOD))
    assert again.body.startswith(b"c[4401,"), "what has ended does not open again"


@pytest.mark.parametrize("ends_in", [0.5, -1.0])
@again_after_a_stall(0.1)
def test_a_function_of_jsonp_is_called_with_the_error_when_its_token_ends(server: Server, channel: str, ends_in: float) -> None:
    name = f"a/{channel}"
    response = request(server, "GET", path_of(name, transport="jsonp", callback="f"), **bearer(make(name, ends_in=ends_in)))
    assert response.status == 200 and str(response.header("Content-Type")).startswith("text/javascript")
    assert b'f({"error":"token-expired","message":"' in response.body, response


@again_after_a_stall(0.1)
def test_raw_tcp_and_resp_are_told_and_closed_when_their_token_ends(server: Server, channel: str) -> None:
    name = f"a/{channel}".encode()
    with Raw(server, LINES) as raw:
        assert raw.ask(b"AUTH " + make(name.decode(), ends_in=0.5).encode()) == b"CONFIRMED" and raw.ask(b"SUBSCRIBE " + name) == b"CONFIRMED"
        assert raw.take().startswith(b"ERROR token-expired ") and raw.is_closed()
    with Raw(server, AUTO) as raw:
        raw.send(command("AUTH", make(name.decode(), ends_in=0.5)))
        assert raw.take() == b"+OK" and raw.take().startswith(b"-WRONGPASS ") and raw.is_closed()


@again_after_a_stall(0.1)
def test_a_command_that_waits_and_one_that_speaks_json_are_told_when_their_token_ends(server: Server, channel: str) -> None:
    name = f"a/{channel}"
    with Raw(server, AUTO) as raw:
        raw.send(command("AUTH", make(name, ends_in=0.5)) + command("XREAD", "BLOCK", "0", "STREAMS", name, "$"))
        assert raw.take() == b"+OK" and raw.take().startswith(b"-WRONGPASS ") and raw.is_closed()
    with Raw(server, LINES) as raw:
        client = raw_commands(raw)
        assert client.ask("auth", token=make(name, ends_in=0.5))["op"] == "authenticated" and client.subscribe(name)
        told = client.get()
        assert (told["op"], told["code"]) == ("error", "token-expired") and raw.is_closed()


def test_what_is_open_ends_when_its_key_is_no_longer_in_force() -> None:
    folder = pathlib.Path(key_file("open", "")).parent
    old, new = key_file("old", "o" * 64), key_file("new", "n" * 64)
    config = folder / "keys.conf"
    config.write_text(f"jwt-key = HS256/old:{old}\njwt-key = HS256/new:{new}\n")
    with Server("--config", str(config)) as running:
        streams = []
        for key in ("o" * 64, "n" * 64):
            connection = Connection(running)
            connection.send(request_bytes("GET", path_of("a", transport="sse"), **bearer(make_token(["a"], key=key))))
            assert connection.read_head().status == 200 and b"subscribed" in connection.read_chunk()
            streams.append(connection)
        config.write_text(f"jwt-key = HS256/new:{new}\n")
        running.process.send_signal(signal.SIGHUP)
        assert b"token-revoked" in streams[0].read_chunk()
        assert request(running, "POST", path_of("a"), "x", **bearer(make_token((), ["a"], key="n" * 64))).status == 201
        assert b"data: x" in streams[1].read_chunk()
        for connection in streams:
            connection.close()


# First messages.


@pytest.mark.parametrize("say", ["AUTH {}", "auth {}", '{{"op":"auth","token":"{}","ref":1}}'])
def test_the_first_message_of_a_websocket_may_be_its_token(server: Server, channel: str, say: str) -> None:
    name = f"a/{channel}"
    with WebSocket(server, path_of(name, format="json")) as socket:
        socket.put_text(say.format(GOOD))
        assert socket.take_json()["recovered"] is False
        socket.put_text("hello")
        assert socket.take_json()["data"] == "hello"


@pytest.mark.parametrize(("first", "code", "reason"), [
    (None, 4401, "no-token"), ("hello", 4401, "no-token"), (f"AUTH {BAD}", 4401, "bad-token"), ("AUTH {wrong}", 4403, "forbidden-channel"),
    ("AUTH {expired}", 4401, "token-expired"), ('{{"op":"ping"}}', 4401, "no-token"),
])
def test_another_first_message_closes_the_websocket(server: Server, first: str | None, code: int, reason: str) -> None:
    with WebSocket(server, path_of("a/first")) as socket:
        if first:
            socket.put_text(first.format(**TOKENS))
        closed, why = socket.take_close()
    assert closed == code and why.startswith(reason), why
    assert request(server, "GET", "/api/channels/a/first", **bearer(make(admin=True))).status == 404  # nothing was published


def test_a_websocket_that_may_only_read_cannot_publish(server: Server, channel: str) -> None:
    token = make_token([f"a/{channel}"])
    with WebSocket(server, path_of(f"a/{channel}", format="json", token=token)) as socket:
        socket.take_json()
        socket.put_text("x")
        assert socket.take_json()["error"] == "forbidden-channel"
    with WebSocket(server, path_of(f"a/{channel}", token=token)) as socket:
        socket.put_text("x")
        assert socket.take_close()[0] == 4403


def test_a_listener_that_publishes_takes_the_token_as_its_first_frame(server: Server) -> None:
    with Raw(server, FEED) as raw:
        assert raw.ask(b"AUTH " + GOOD.encode()) == b"CONFIRMED" and raw.ask(b"hello") == b"hello"
        assert raw.ask(b"AUTH again") == b"AUTH again"  # that is data
    for first, code in ((b"hello", b"no-token"), (b"AUTH " + BAD.encode(), b"bad-token"), (None, b"no-token"),
                        (b"AUTH " + str(TOKENS["wrong"]).encode(), b"forbidden-channel")):
        with Raw(server, FEED) as raw:
            if first:
                raw.put(first)
            line = raw.take()
            assert (line.startswith(b"ERROR " + code) or line == b"CONFIRMED" and raw.take().startswith(b"ERROR " + code)) and raw.is_closed(), line


def test_a_service_of_sockjs_that_publishes_takes_the_token_as_its_first_message(server: Server) -> None:
    with WebSocket(server, "/publish/websocket") as socket:
        socket.put_text(f"AUTH {GOOD}")
        socket.put_text("hello")
        assert socket.take() == "hello"
    for first, code in (("hello", 4401), (f"AUTH {BAD}", 4401), (f"AUTH {TOKENS['wrong']}", 4403), (None, 4401)):
        with WebSocket(server, "/publish/websocket") as socket:
            if first:
                socket.put_text(first)
            assert socket.take_close()[0] == code
    with WebSocket(server, f"/publish/websocket?token={TOKENS['wrong']}") as socket:
        assert socket.take_close()[0] == 4403
    with WebSocket(server, "/echo/websocket") as socket:  # there is no channel in it
        socket.put_text("hello")
        assert socket.take() == "hello"


# Commands.


@pytest.fixture(params=["ws", "tcp"])
def client(server: Server, request: pytest.FixtureRequest) -> Iterator[Commands]:
    if request.param == "ws":
        with WebSocket(server, "/ws") as socket:
            yield Commands(socket.put_text, socket.take)
    else:
        with Raw(server, LINES) as raw:
            yield raw_commands(raw)


def test_each_command_is_checked(server: Server, client: Commands) -> None:
    for op, members in (("subscribe", {"channel": "a/b"}), ("publish", {"channel": "a/b", "data": 1}), ("history", {"channel": "a/b"})):
        assert client.error(op, **members) == "no-token"
    assert client.error("auth", token=BAD) == "bad-token"
    expires = time.time() + 3600.0
    said = client.ask("auth", token=make_token(["a/**"], ["a/**"], sub="ada", exp=expires), ref="r")
    assert said["op"] == "authenticated" and said["sub"] == "ada" and abs(said["expires"] / 1000 - expires) < 0.01
    assert client.ask("auth", token=make_token(["a/**"], ["a/**"], sub="", exp=None))["expires"] is None
    assert client.error("subscribe", channels=["a/b", "b/b"]) == "forbidden-channel"
    client.subscribe("a/b")  # none of them was subscribed to
    assert client.error("publish", channel="b/b", data=1) == "forbidden-channel"
    assert client.error("history", channel="b/b") == "forbidden-channel"
    client.publish("a/b", 1)
    assert client.next_message()["channel"] == "a/b"
    assert client.error("auth", token=BAD) == "bad-token"
    client.publish("a/b", 2)  # a bad one changes nothing
    assert client.next_message()["data"] == 2


def test_a_new_token_ends_what_it_does_not_allow_and_nothing_else(server: Server, client: Commands) -> None:
    client.ask("auth", token=make("a/**", "b/**"))
    client.subscribe("a/kept", "b/lost")
    client.ask("auth", token=make("a/**"))
    lost = client.get()
    assert (lost["op"], lost["channel"], lost["code"]) == ("error", "b/lost", "forbidden-channel")
    for name in ("b/lost", "a/kept"):
        request(server, "POST", path_of(name), "x", **bearer(make("**")))
    assert client.next_message()["channel"] == "a/kept" and client.has_nothing()
    client.ask("auth", token=make("b/**"))
    assert client.get()["channel"] == "a/kept"
    client.subscribe("b/lost")


AHEAD = 1000  # messages


@pytest.mark.parametrize("carrier", ["ws", "tcp"])
def test_a_new_token_under_full_speed_loses_and_doubles_nothing(server: Server, channel: str, carrier: str) -> None:
    """The publisher is ahead of the reader by what the kernel takes, so that nothing is trimmed meanwhile."""
    name, published, is_enough = f"a/{channel}", 0, threading.Event()
    got: list[int] = []
    tokens = [make("a/**"), make(name), make("**"), make("a/**", "b/**")]

    def publish_all() -> None:
        nonlocal published
        with Connection(server) as connection:
            while published < 2000 or not is_enough.is_set():
                wait_until(lambda: published - len(got) < AHEAD, what="the reader")
                body = "\n".join(json.dumps({"channel": name, "data": published + i}) for i in range(10))
                assert connection.request("POST", "/channels", body, Content_Type="application/x-ndjson", **bearer(GOOD)).status == 200
                published += 10

    with WebSocket(server, "/ws") if carrier == "ws" else Raw(server, LINES) as socket:
        talk = Commands(socket.put_text, socket.take) if isinstance(socket, WebSocket) else raw_commands(socket)
        talk.ask("auth", token=GOOD)
        talk.subscribe(name)
        publisher = threading.Thread(target=publish_all)
        publisher.start()
        renewed = asked = 0
        while publisher.is_alive() or len(got) < published:
            if asked == renewed:
                talk.put("auth", token=tokens[asked % len(tokens)])
                asked += 1
            answer = talk.get()
            assert answer["op"] in ("message", "authenticated"), answer
            renewed += answer["op"] == "authenticated"
            if renewed > 2:
                is_enough.set()
            if answer["op"] == "message":
                got.append(answer["data"])
    assert got == list(range(published)) and published >= 2000 and renewed > 2


# RESP.


def ask(raw: Raw, *words: str) -> bytes:
    raw.send(command(*words))
    return raw.take()


def test_resp_is_told_in_the_words_of_redis(server: Server) -> None:
    with Raw(server, AUTO) as raw:
        assert ask(raw, "PING") == b"+PONG"
        for words in (("SUBSCRIBE", "a/b"), ("PUBLISH", "a/b", "x"), ("XRANGE", "a/b", "-", "+"), ("PSUBSCRIBE", "a/*")):
            assert ask(raw, *words).startswith(b"-NOAUTH Authentication required."), words
        for words in (("AUTH", BAD), ("AUTH", "ada", BAD)):
            assert ask(raw, *words).startswith(b"-WRONGPASS invalid username-password pair or user is disabled"), words
        assert ask(raw, "AUTH", "ada", GOOD) == b"+OK"
        for words in (("SUBSCRIBE", "b/b"), ("PUBLISH", "b/b", "x"), ("XRANGE", "b/b", "-", "+"), ("XREAD", "STREAMS", "b/b", "0")):
            assert ask(raw, *words).startswith(b"-NOPERM No permissions to access a channel"), words
        assert ask(raw, "PUBLISH", "a/b", "x") == b":0"
        assert ask(raw, "RESET") == b"+RESET" and ask(raw, "PUBLISH", "a/b", "x").startswith(b"-NOAUTH")
    with Raw(server, AUTO) as raw:
        assert ask(raw, "HELLO", "3", "AUTH", "ada", BAD).startswith(b"-WRONGPASS ")
        assert ask(raw, "HELLO", "3", "AUTH", "ada", GOOD) == b"%7"


def test_refused_publishes_are_answered_in_their_turn(server: Server) -> None:
    with Raw(server, AUTO) as raw:
        raw.send(command("AUTH", GOOD) + b"".join(command("PUBLISH", name, "x") for name in ("a/b", "b/b", "a/b", "b/b")))
        assert raw.take() == b"+OK" and [raw.take()[:2] for _ in range(4)] == [b":0", b"-N", b":0", b"-N"]


def pattern_messages(raw: Raw) -> list[str]:
    """The channels of the messages that have come before a PING is answered, by name: between channels there is no order."""
    raw.send(command("PING"))
    text = raw.read_until(b"+PONG\r\n").decode()
    return sorted(re.findall(r"pmessage\r\n\$\d+\r\n[^\r]*\r\n\$\d+\r\n([^\r]*)\r\n", text))


def next_pattern_messages(raw: Raw, count: int) -> list[str]:
    """Those of the messages that are awaited, and of all that have come with them."""
    names: list[str] = []
    wait_until(lambda: names.extend(pattern_messages(raw)) or len(names) >= count)
    return sorted(names + pattern_messages(raw))


def test_a_pattern_finds_what_may_be_subscribed_to_and_more_with_another_token(server: Server, channel: str) -> None:
    tree = f"a/{channel}"
    everything = make("**")

    def publish(*names: str) -> None:
        for name in names:
            assert request(server, "POST", path_of(f"{tree}/{name}"), "x", **bearer(everything)).status == 201

    publish("one", "two")
    with Raw(server, AUTO) as raw:
        raw.send(command("HELLO", "3", "AUTH", "x", make(f"{tree}/one", f"{tree}/three")) + command("PSUBSCRIBE", f"{tree}/*"))
        raw.read_until(b"psubscribe\r\n")
        for _ in range(2):
            publish("one", "two", "three", "four")
            assert next_pattern_messages(raw, 2) == [f"{tree}/one", f"{tree}/three"]
        raw.send(command("AUTH", make(f"{tree}/two", f"{tree}/three")))
        raw.read_until(b"+OK\r\n")
        publish("one", "two", "three", "four", "five")
        assert next_pattern_messages(raw, 2) == [f"{tree}/three", f"{tree}/two"]
        raw.send(command("PUBSUB", "CHANNELS", f"{tree}/*"))
        assert sorted(re.findall(rb"test/\d+/(\w+)", raw.read_until(b"*2\r\n") + raw.read_until(b"three\r\n") + raw.buffer)) == [b"three", b"two"]


# Whatever is asked, nothing of another channel comes.


def covers(pattern: str, name: str) -> bool:
    head = pattern.removesuffix("**")
    text = re.escape(head).replace(r"\*", "[^/]+") + (".+" if head != pattern else "")
    return re.fullmatch(text, name) is not None


@pytest.mark.parametrize("seed", range(6))
def test_nothing_of_a_channel_that_is_not_granted_comes(server: Server, channel: str, seed: int) -> None:
    choice = random.Random(seed)
    names = [f"p/{channel}/{a}/{b}" for a in "xy" for b in "123"] + [f"p/{channel}/{a}" for a in "xyz"]
    ids = {}
    for name in names:
        answer = request(server, "POST", path_of(name), f"data of {name}", **bearer(make("**")))
        ids[name] = answer.json["id"].rsplit("-", 1)[0] + "-0"
    for _ in range(8):
        patterns = [p.format(channel) for p in choice.sample(["p/{}/x/*", "p/{}/**", "p/*/*/x/1", "p/{}/y/2", "p/{}/*", "p/{}/x/**"], 2)][:choice.randint(1, 2)]
        token = make(*patterns)
        granted = {name for name in names if any(covers(pattern, name) for pattern in patterns)}
        some = choice.sample(names, choice.randint(1, 4))
        rest = "".join(f"&channel={name}" for name in some[1:])
        cursor = choice.choice(["earliest", "last=5", ".".join(ids[name] for name in names)])
        response = request(server, "GET", path_of(some[0], since=cursor, transport="json", wait=0) + rest, **bearer(token))
        assert response.status == (200 if set(some) <= granted else 403), (some, patterns)
        assert response.status == 403 or {message["channel"] for message in response.json["messages"]} == set(some)
        body = json.dumps([{"channel": name, "data": "again"} for name in names])
        results = request(server, "POST", "/channels", body, **bearer(token)).json
        assert {result["channel"] for result in results if "error" not in result} == granted
        with WebSocket(server, f"/ws?token={token}") as socket:
            talk = Commands(socket.put_text, socket.take)
            for name in names:
                answer = talk.ask("history", channel=name)
                assert (answer["op"] == "history") == (name in granted) and (name in granted or "data of" not in json.dumps(answer))
                assert (talk.ask("subscribe", channel=name, since="earliest")["op"] == "subscribed") == (name in granted)
            for name in names:
                request(server, "POST", path_of(name), "now", **bearer(make("**")))
            talk.put("ping", ref="end")
            seen = set()
            while (answer := talk.get())["op"] != "pong":
                seen.add(answer.get("channel"))
            assert seen <= granted
        with Raw(server, AUTO) as raw:
            raw.send(command("HELLO", "3", "AUTH", "x", token) + command("PSUBSCRIBE", f"p/{channel}/*", f"p/{channel}/x/*"))
            raw.read_until(f"/{channel}/x/*\r\n:2\r\n".encode())
            for name in names:
                request(server, "POST", path_of(name), "now", **bearer(make("**")))
            assert set(pattern_messages(raw)) <= granted


def test_no_token_is_ever_logged(server: Server) -> None:
    """Of all that the other tests of this file have said and been refused."""
    request(server, "GET", path_of("a/b", token=BAD, nonsense=1))
    log = server.log()
    tokens: list[str | None] = [*TOKENS.values()]
    assert "request" in log and not any(token and token in log for token in tokens) and "eyJ" not in log and "sluice_token" not in log
