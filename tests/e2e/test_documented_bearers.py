# SPDX-License-Identifier: MIT
"""What docs/AUTH.md says of where a token may come from, what is told without one, what ends with it, and revoking."""

import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterator

import pytest
from support.client import Connection, EventStream, LineStream, Response, get, path_of, publish, request, request_bytes
from support.reloading import Reloading
from support.server import Server, wait_until
from support.sockjs import FORM, Session, streaming
from support.stillness import Watch
from support.tcp import Raw, Resp
from support.tokens import bearer, make_token, secret_file
from support.websocket import WebSocket, handshake_bytes

KEY = ("--jwt-key", f"HS256:{secret_file()}")
ADMIN = bearer(make_token(admin=True))
LINES, REDIS, FEED, INPUT, IGNORED = range(5)
TCP = ("framing=crlf", "framing=resp", "framing=crlf feed=news/a", "framing=crlf input=publish:news/a", "framing=crlf input=ignore feed=news/a")
SOCKJS = ("/sockjs", "/push app=publish:news/a", "/echo app=echo feed=news/a")
SECTIONS = '[channel "open/**"]\nsubscribe = anyone\npublish = anyone\n'
OWN = "http://127.0.0.1"  # pages of this server, by the Host that the tests' requests have


def everything(*more: str) -> tuple[str, ...]:
    declared = [word for listener in TCP for word in ("--tcp", f"127.0.0.1:0 {listener}")]
    return *KEY, *declared, *(word for service in SOCKJS for word in ("--sockjs", service)), "--legacy", "yes", *more


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    with Reloading(SECTIONS, *everything("--head-timeout", "1s", "--allowed-origins", "https://listed.example")) as running:
        yield running


@functools.cache
def good() -> str:
    return make_token(["news/**"], ["news/**"], sub="good")


def outcome(response: Response) -> str:
    return "done" if response.status < 300 else response.error


def look(server: Server, channel: str = "news/a", *, query: str | None = None, **headers: str) -> str:
    return outcome(get(server, path_of(channel, last=1, wait=0, token=query), **headers))


def cookie(token: str | None = None) -> dict[str, str]:
    return {"Cookie": f"theme=dark; sluice_token={token or good()}; x=y"}


# Where a token may come from

def test_header_query_and_cookie_in_this_order(guarded: Server) -> None:
    other = make_token(["elsewhere"])
    assert look(guarded, **bearer(good())) == look(guarded, query=good()) == look(guarded, **cookie()) == "done"
    assert look(guarded, query=other, **bearer(good()), **cookie(other)) == "done"
    assert look(guarded, query=other, **cookie()) == "forbidden-channel"
    assert look(guarded, query=good(), **cookie(other)) == "done"


def test_a_bad_one_is_refused_even_where_anyone_may_but_for_a_cookie(guarded: Server) -> None:
    expired = make_token(["**"], exp=int(time.time()) - 600)
    assert look(guarded, "open/x") == "done"
    assert [look(guarded, "open/x", **bearer("nonsense")), look(guarded, "open/x", query=expired)] == ["bad-token", "token-expired"]
    assert look(guarded, "open/x", **cookie(expired)) == "done" and look(guarded, **cookie(expired)) == "token-expired"


@pytest.mark.parametrize(("headers", "may_read", "may_publish"), [
    ({}, True, False),
    ({"Origin": OWN}, True, True),
    ({"Origin": "https://listed.example"}, True, True),
    ({"Origin": "https://evil.example"}, False, False),
    ({"Sec_Fetch_Site": "same-origin"}, True, True),
    ({"Sec_Fetch_Site": "cross-site"}, False, False),
    ({"Sec_Fetch_Site": "same-site"}, True, False),
    ({"Sec_Fetch_Site": "same-site", "Origin": "https://sub.example"}, False, False),
])
def test_for_whose_pages_a_cookie_counts(guarded: Server, headers: dict[str, str], may_read: bool, may_publish: bool) -> None:
    read = look(guarded, **headers, **cookie())
    assert (read == "done") == may_read, read
    wrote = request(guarded, "POST", "/channels/news/a", "x", **headers, **cookie())
    assert (wrote.status == 201) == may_publish, wrote
    with contextlib.closing(Connection(guarded)) as connection:
        connection.send(handshake_bytes("/ws", "dGhlIHNhbXBsZSBub25jZQ==", **headers, **cookie()))
        if connection.read_head().status == 101:
            connection.close()
            with WebSocket(guarded, "/ws", **headers, **cookie()) as client:
                client.put_json({"op": "publish", "channel": "news/a", "data": "x"})
                assert (client.take_json()["op"] == "published") == may_publish
        else:
            assert not may_publish


@pytest.mark.parametrize(("headers", "may"), [({}, False), ({"Sec_Fetch_Site": "same-origin"}, True), ({"Sec_Fetch_Site": "cross-site"}, False)])
def test_a_cookie_reads_by_jsonp_for_our_own_pages_only(guarded: Server, headers: dict[str, str], may: bool) -> None:
    answer = get(guarded, path_of("news/a", transport="jsonp", callback="f", wait=0, last=1), **headers, **cookie())
    assert answer.status == 200 and (b"no-token" not in answer.body) == may, answer


@pytest.mark.parametrize(("code", "token"), [
    ("bad-token", "nonsense"), ("bad-signature", make_token(["**"], key="k" * 32)), ("token-expired", make_token(["**"], exp=1)),
    ("token-not-yet", make_token(["**"], nbf=int(time.time()) + 600)), ("wrong-audience", make_token(["**"], aud="x")), ("no-token", None)])
def test_401_says_why_and_how(guarded: Server, code: str, token: str | None) -> None:
    answer = get(guarded, path_of("news/a", wait=0), **(bearer(token) if token else {}))
    assert (answer.status, answer.error) == (401, code)
    assert (answer.header("WWW-Authenticate") or "").startswith("Bearer")


@pytest.mark.parametrize("value", ["Basic c2hvcDp4", good()])
def test_a_header_that_does_not_say_bearer_is_told_apart(guarded: Server, value: str) -> None:
    answer = get(guarded, path_of("news/a", wait=0), Authorization=value)
    assert (answer.status, answer.error) == (401, "no-token") and "Bearer TOKEN" in answer.json["message"]
    assert look(guarded, Authorization=value, **cookie()) == "done"


def test_403_names_the_right_and_the_channel(guarded: Server) -> None:
    answer = get(guarded, path_of("news/a", wait=0), **bearer(make_token(["x"])))
    assert answer.status == 403 and "subscribe to news/a" in answer.json["message"]
    answer = request(guarded, "POST", "/channels/news/a", "x", **bearer(make_token(["**"])))
    assert answer.status == 403 and "publish to news/a" in answer.json["message"]


def test_all_channels_or_none_and_each_message(guarded: Server) -> None:
    token = bearer(make_token(["news/a"], ["news/a"]))
    assert outcome(get(guarded, "/channels/news/a?channel=news/b&wait=0&last=1", **token)) == "forbidden-channel"
    answers = request(guarded, "POST", "/channels", json.dumps([{"channel": name, "data": 1} for name in ("news/b", "news/a")]),
                      Content_Type="application/json", **token).json
    assert answers[0]["error"] == "forbidden-channel" and "id" in answers[1]


def test_what_is_open_to_everybody(guarded: Server) -> None:
    for target in ("/healthz", "/readyz", "/", "/sockjs/info", "/sockjs/iframe.html"):
        assert get(guarded, target).status == 200, target
    preflight = request(guarded, "OPTIONS", "/channels/news/a", Origin="https://listed.example", Access_Control_Request_Method="POST")
    assert preflight.status == 204 and preflight.header("Access-Control-Allow-Origin") == "https://listed.example"


# The table of transports

def test_http_without_a_token(guarded: Server) -> None:
    answers = [get(guarded, path_of("news/a", transport=name)) for name in ("poll", "json", "sse", "stream", "xhr", "multipart")]
    answers += [request(guarded, "POST", "/channels/news/a", "x"), get(guarded, "/api/stats")]
    assert [(answer.status, answer.error) for answer in answers] == [(401, "no-token")] * 8
    for name, call in (("jsonp", b'f({"error":"no-token"'), ("htmlfile", b'<script>p({"error":"no-token"')):
        answer = get(guarded, path_of("news/a", transport=name, callback="f"))
        assert answer.status == 200 and call in answer.body, answer


@pytest.mark.parametrize(("target", "prefix"), [("/channels/news/a", ""), ("/push/websocket", ""), ("/echo/websocket", "")])
def test_a_feed_takes_its_token_as_the_first_message(guarded: Server, target: str, prefix: str) -> None:
    for first in ("AUTH " + good(), json.dumps({"op": "auth", "token": good()})):
        with WebSocket(guarded, target) as client:
            client.put_text(first)
            client.put_text("hello")
            if not target.startswith("/push"):
                while client.take() != "hello":
                    pass
    for first, code in (("AUTH nonsense", 4401), ("hello", 4401), ("AUTH " + make_token(["x"]), 4403), (None, 4401)):
        with WebSocket(guarded, target) as client:
            if first:
                client.put_text(first)
            assert client.take_close()[0] == code, first


def test_a_bad_token_at_the_handshake_is_a_status(guarded: Server) -> None:
    for token, status in (("nonsense", 401), (make_token(["x"]), 403)):
        with Connection(guarded) as connection:
            connection.send(handshake_bytes("/channels/news/a", "dGhlIHNhbXBsZSBub25jZQ==", **bearer(token)))
            assert connection.read_head().status == status


def test_a_feed_cannot_change_its_token(guarded: Server) -> None:
    with WebSocket(guarded, "/channels/news/a", **bearer(good())) as client:
        for message in ("hello", "AUTH " + good()):
            client.put_text(message)
            assert client.take() == message


def test_commands_are_answered_by_the_error_and_take_a_token_at_any_time(guarded: Server) -> None:
    subscribe, auth = {"op": "subscribe", "channel": "news/a"}, {"op": "auth", "token": good()}
    with WebSocket(guarded, "/ws") as client, Raw(guarded, LINES) as raw:
        session = Session(guarded, "/sockjs").open()
        assert raw.ask(b"FORMAT json") == b"CONFIRMED"

        def over_sockjs(command: dict[str, str]) -> str:
            session.put(json.dumps(command))
            return session.take_messages()[0]

        def over_websocket(command: dict[str, str]) -> str:
            client.put_json(command)
            return str(client.take())

        for ask in (over_sockjs, over_websocket, lambda command: raw.ask(json.dumps(command).encode()).decode()):
            answers = [json.loads(ask(command)) for command in (subscribe, auth, subscribe)]
            assert [answer.get("code", answer["op"]) for answer in answers] == ["no-token", "authenticated", "subscribed"]
    opened = Session(guarded, "/sockjs")
    assert opened.post("xhr", **bearer(good())).body == b"o\n"
    opened.put(json.dumps(subscribe))
    assert '"subscribed"' in opened.take_messages()[0], "the token of the request that opened it"


def test_raw_tcp(guarded: Server) -> None:
    auth = f"AUTH {good()}".encode()
    with Raw(guarded, LINES) as client:
        assert client.ask(b"SUBSCRIBE news/a").startswith(b"ERROR no-token ")
        assert client.ask(auth) == b"CONFIRMED" and not client.ask(b"SUBSCRIBE news/a").startswith(b"ERROR")
    for index in (INPUT, IGNORED):
        with Raw(guarded, index) as client:
            assert client.ask(auth) == b"CONFIRMED"
        with Raw(guarded, index) as client:
            assert client.ask(b"hello").startswith(b"ERROR no-token ") and client.is_closed()
    with Raw(guarded, FEED) as client:
        assert client.ask(auth) == b"CONFIRMED"
        publish(guarded, "news/a", "to the feed", **bearer(good()))
        assert b"to the feed" in client.take()
    with Raw(guarded, FEED) as client:
        client.read_to_end()  # after head-timeout


def test_resp(guarded: Server) -> None:
    for words in (("AUTH", good()), ("AUTH", "anybody", good()), ("HELLO", "2", "AUTH", "x", good()), ("HELLO", "3", "AUTH", "x", good())):
        with Resp(guarded, REDIS) as client:
            assert str(client.run("PUBLISH", "news/a", "x")).startswith("-NOAUTH ")
            assert str(client.run("AUTH", "nonsense")).startswith("-WRONGPASS ")
            assert not str(client.run(*words)).startswith("-")
            assert isinstance(client.run("PUBLISH", "news/a", "x"), int)
            assert str(client.run("PUBLISH", "elsewhere", "x")).startswith("-NOPERM ")


def test_a_pattern_of_resp_tells_what_may_be_subscribed_to(guarded: Server) -> None:
    token = make_token(["news/a", "news/c"])
    with Resp(guarded, REDIS) as mine, Resp(guarded, REDIS) as other:
        other.run("AUTH", make_token(["news/*"]))
        other.run("SUBSCRIBE", "news/hidden")
        mine.run("AUTH", token)
        mine.run("PSUBSCRIBE", "news/*")
        with Resp(guarded, REDIS) as asks:
            asks.run("AUTH", token)
            assert b"news/hidden" not in asks.run("PUBSUB", "CHANNELS")  # type: ignore[operator]
        for name in ("news/b", "news/a"):
            publish(guarded, name, f"to {name}", **bearer(good()))
        assert mine.reply()[2:] == [b"news/a", b"to news/a"]  # type: ignore[index]


# What ends with a token

def over_soon() -> str:
    """A token whose 30 seconds more are over in two."""
    return make_token(["news/a"], ["news/a"], exp=time.time() - 28)


def ends_sse(server: Server, token: str) -> Callable[[], object]:
    stream = EventStream(server, path_of("news/a"), **bearer(token))
    return lambda: (stream.next_event().event, stream.next_block())


def ends_poll(server: Server, token: str) -> Callable[[], object]:
    connection = Connection(server)
    connection.send(request_bytes("GET", path_of("news/a"), **bearer(token)))
    return lambda: (answer := connection.read_response()) and (answer.status, answer.error)


def ends_jsonp(server: Server, token: str) -> Callable[[], object]:
    connection = Connection(server)
    connection.send(request_bytes("GET", path_of("news/a", transport="jsonp", callback="f"), **bearer(token)))
    return lambda: connection.read_response().body.split(b",")[0]


def ends_lines(server: Server, token: str) -> Callable[[], object]:
    stream = LineStream(server, path_of("news/a"), **bearer(token))
    stream.next_line()
    return lambda: (stream.next_line()["error"], stream.until(b"\n"))


def ends_old(transport: str, last: bytes, server: Server, token: str) -> Callable[[], object]:
    connection = Connection(server)
    connection.send(request_bytes("GET", path_of("news/a", transport=transport, callback="f" if transport == "htmlfile" else None), **bearer(token)))
    return lambda: last in connection.read_response().body


def ends_websocket(target: str, server: Server, token: str) -> Callable[[], object]:
    client = WebSocket(server, target, **bearer(token))
    return lambda: (closed := client.take_close()) and (closed[0], closed[1].split(": ")[0])


def ends_sockjs(server: Server, token: str) -> Callable[[], object]:
    session = Session(server, "/sockjs")
    session.post("xhr", **bearer(token))
    stream = streaming(session)
    return lambda: str(stream.frame()).split(",")[0]


def ends_raw(server: Server, token: str) -> Callable[[], object]:
    client = Raw(server, LINES)
    client.ask(f"AUTH {token}".encode())
    client.ask(b"SUBSCRIBE news/a")
    return lambda: (client.take().split(b" ")[:2], client.is_closed())


def ends_resp(server: Server, token: str) -> Callable[[], object]:
    client = Resp(server, REDIS)
    client.run("AUTH", token)
    client.run("SUBSCRIBE", "news/a")
    return lambda: (client.take().split(b" ")[0], client.is_closed())


ENDS: dict[str, tuple[Callable[[Server, str], Callable[[], object]], object]] = {
    "sse": (ends_sse, ("expired", None)),
    "long-poll": (ends_poll, (401, "token-expired")),
    "jsonp": (ends_jsonp, b'/**/f({"error":"token-expired"'),
    "ndjson": (ends_lines, ("token-expired", None)),
    "xhr": (functools.partial(ends_old, "xhr", b'{"error":"token-expired"'), True),
    "htmlfile": (functools.partial(ends_old, "htmlfile", b'{"error":"token-expired"'), True),
    "multipart": (functools.partial(ends_old, "multipart", b'Sluice-Error: {"error":"token-expired"'), True),
    "websocket": (functools.partial(ends_websocket, "/channels/news/a"), (4401, "token-expired")),
    "ws": (functools.partial(ends_websocket, "/ws"), (4401, "token-expired")),
    "sockjs": (ends_sockjs, 'c[4401'),
    "raw tcp": (ends_raw, ([b"ERROR", b"token-expired"], True)),
    "resp": (ends_resp, (b"-WRONGPASS", True)),
}


def test_everything_ends_when_the_time_and_thirty_seconds_are_over(guarded: Server) -> None:
    """All at once: each is open before the token is over, and is told as its row says."""
    token = over_soon()
    ends = {name: begin(guarded, token) for name, (begin, _) in ENDS.items()}
    assert {name: end() for name, end in ends.items()} == {name: row[1] for name, row in ENDS.items()}


def test_who_comes_back_with_a_new_token_misses_nothing(guarded: Server) -> None:
    with EventStream(guarded, path_of("news/a"), **bearer(over_soon())) as stream:
        opening = stream.next_block()
        assert opening and stream.next_event().event == "expired"
    publish(guarded, "news/a", "meanwhile", **bearer(good()))
    assert get(guarded, path_of("news/a"), Last_Event_ID=opening.id or "", **bearer(good())).body == b"meanwhile"


def test_a_reload_that_changes_the_rules_leaves_what_is_open(channel: str) -> None:
    with Reloading("", *KEY) as server, EventStream(server, path_of(channel), **bearer(make_token([channel]))) as stream:
        server.reload("subscribe = nobody\n")
        publish(server, channel, "still", **bearer(make_token([], ["**"])))
        assert stream.next_event().data == "still"


def test_a_new_token_on_ws_keeps_what_both_allow(guarded: Server) -> None:
    with WebSocket(guarded, "/ws") as client:
        for command in ({"op": "auth", "token": make_token(["news/a", "news/b"])}, {"op": "subscribe", "channels": ["news/a", "news/b"]},
                        {"op": "auth", "token": make_token(["news/b", "news/c"])}):
            client.put_json(command)
        answers = [client.take_json() for _ in range(4)]
        assert sorted(answer["op"] for answer in answers) == ["authenticated", "authenticated", "error", "subscribed"]
        error = next(answer for answer in answers if answer["op"] == "error")
        assert (error["channel"], error["code"]) == ("news/a", "forbidden-channel")
        publish(guarded, "news/a", "gone", **bearer(good()))
        publish(guarded, "news/b", "kept", **bearer(good()))
        assert client.take_json()["data"] == "kept"
        client.put_json({"op": "auth", "token": "nonsense"})
        client.put_json({"op": "publish", "channel": "news/b", "data": "x"})
        assert [client.take_json()["code"] for _ in range(2)] == ["bad-token", "forbidden-channel"], "a bad token changes nothing"


def test_a_new_token_over_resp_unsubscribes(guarded: Server) -> None:
    with Resp(guarded, REDIS) as client:
        client.run("HELLO", "3", "AUTH", "x", make_token(["news/a"]))
        client.send(b"SUBSCRIBE news/a\r\n")
        wait_until(lambda: client.run("PING") and client.pushes)
        assert client.run("AUTH", make_token(["news/b"])) == "+OK"
        wait_until(lambda: client.run("PING") and [b"unsubscribe", b"news/a", 0] in client.pushes)


# Revoking

def revoke(server: Server, target: str, **headers: str) -> Response:
    return request(server, "DELETE", f"/api/tokens{target}", **(headers or ADMIN))


def test_one_token_or_all_of_a_subject(guarded: Server) -> None:
    one, two = (make_token(["news/a"], sub="anna", jti=name) for name in ("one", "two"))
    undated, ahead = make_token(["news/a"], sub="anna", iat=None), make_token(["news/a"], sub="anna", iat=int(time.time()) + 20)
    answer = revoke(guarded, "/one")
    assert answer.status == 200 and answer.json["revoked"] == "token" and answer.json["id"] == "one"
    wait_until(lambda: look(guarded, **bearer(one)) == "token-revoked")
    assert look(guarded, **bearer(two)) == "done"
    with EventStream(guarded, path_of("news/a"), **bearer(two)) as stream:
        stream.next_block()
        with Watch() as watch:
            assert revoke(guarded, "?sub=anna").json["revoked"] == "subject"
            assert stream.next_event().event == "expired"
        assert watch.seconds < 1
    assert [look(guarded, **bearer(token)) for token in (two, undated, ahead)] == ["token-revoked"] * 3


def test_who_signs_in_again_is_in_at_once_when_before_is_named(guarded: Server) -> None:
    now = int(time.time())
    assert revoke(guarded, f"?sub=olga&before={now - 1}").json["before"] == (now - 1) * 1000 + 999
    assert look(guarded, **bearer(make_token(["news/a"], sub="olga", iat=now))) == "done"
    wait_until(lambda: look(guarded, **bearer(make_token(["news/a"], sub="olga", iat=now - 1))) == "token-revoked")
    assert revoke(guarded, f"?sub=olga&before={now + 60}").error == "bad-option"


def test_revoking_wants_an_administrator(guarded: Server) -> None:
    assert "?sub=NAME" in revoke(guarded, "").json["message"]
    assert revoke(guarded, "/x", **bearer(good())).error == "forbidden-admin"
    assert revoke(guarded, "/x", Host="127.0.0.1").error == "no-token"


def test_with_the_revocation_gone_the_token_is_good_again() -> None:
    """A revocation is kept for a minute at least, so that this only looks at what the answer says of it."""
    with Server(*KEY, "--revocation-time", "1m") as server:
        answer = revoke(server, "/x").json
        assert 55_000 < answer["until"] - time.time() * 1000 < 65_000
