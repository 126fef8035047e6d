# SPDX-License-Identifier: MIT
"""What docs/ERRORS.md and docs/PROTOCOL.md promise, sentence by sentence: each error by provoking it."""

import contextlib
import re
from collections.abc import Callable, Iterator

import pytest
from support.client import Connection, LineStream, Response, get, request
from support.redis import NODE_OPTIONS, RedisServer, await_away, await_ready, stream_key
from support.server import SOURCE, Server
from support.tcp import Raw
from support.tokens import bearer, make_token, secret_file

ROW = re.compile(r"^\| `([a-z-]+)` \| (\d{3}) \|", re.MULTILINE)
DOCUMENTED = {code: int(status) for code, status in ROW.findall((SOURCE / "docs/ERRORS.md").read_text())}
LIMITS = ("--message-size", "1000", "--batch-size", "2000", "--head-size", "2KiB", "--head-timeout", "2", "--body-timeout", "2",
          "--heartbeat", "0.1")
JSON = {"Content_Type": "application/json"}
HEAD = b"Host: 127.0.0.1\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(*LIMITS) as running:
        yield running


def said(server: Server, data: bytes) -> Response:
    with Connection(server) as connection:
        connection.send(data)
        return connection.read_response()


def check(response: Response, code: str, hint: str) -> None:
    assert (response.error, response.status) == (code, DOCUMENTED[code]), response
    assert hint in response.json["message"], response.json
    assert (response.status == 503) == (response.header("Retry-After") is not None), response


# What only commands are told: tests/unit/command/ has them.
COMMAND_CODES = ("already-subscribed", "presence-rate", "unsubscribed")
PROVOKED: list[tuple[str, str, Callable[[Server], Response]]] = [
    ("bad-request", "", lambda s: said(s, b"GET /healthz HTTP/1.1\r\n" + HEAD + b"no colon\r\n\r\n")),
    ("bad-path", "percent", lambda s: get(s, "/channels/a%zz")),
    ("bad-path", "NUL", lambda s: get(s, "/channels/a%00")),
    ("reserved-channel", "begins with $", lambda s: request(s, "POST", "/channels/a/$b", "x")),
    ("no-presence", "presence is no", lambda s: get(s, "/api/channels/a/presence")),
    ("bad-channel", "A-Z a-z 0-9", lambda s: get(s, "/channels/a%20b")),
    ("bad-channel", "segment", lambda s: get(s, "/channels/a//b")),
    ("bad-channel", "255", lambda s: get(s, "/channels/" + "a" * 256)),
    ("bad-channel", "empty", lambda s: get(s, "/channels/")),
    ("too-many-channels", "64", lambda s: get(s, "/channels/a?" + "&".join(f"channel=c{i}" for i in range(64)))),
    ("bad-cursor", "earliest, now or last=N", lambda s: get(s, "/channels/a?since=x")),
    ("bad-cursor", "EPOCH-OFFSET", lambda s: get(s, "/channels/a", If_None_Match='"x"')),
    ("wrong-host", "allowed-hosts", lambda s: get(s, "/channels/a", Host="rebound.example")),
    ("upgrade-required", "Upgrade: websocket", lambda s: get(s, "/ws")),
    ("bad-option", "seconds", lambda s: get(s, "/channels/a?wait=x")),
    ("bad-option", "whole number", lambda s: get(s, "/channels/a?last=x")),
    ("bad-option", "up to 65536", lambda s: get(s, "/channels/a?transport=sse&padding=65537")),
    ("bad-option", "from 1 to 1000", lambda s: get(s, "/api/channels?limit=1001")),
    ("bad-option", "seconds from 1", lambda s: request(s, "POST", "/channels/a?ttl=0", "x")),
    ("bad-option", "1 to 255 bytes", lambda s: request(s, "POST", "/channels/a", "x", Sluice_Producer="p" * 256)),
    ("bad-option", "event, ttl, producer, idempotency_key", lambda s: request(s, "POST", "/channels/a?type=json", "x")),
    ("bad-json", "line 2, column 1", lambda s: request(s, "POST", "/channels/a", "[1,\n]", **JSON)),
    ("bad-json", "line 1, column 1", lambda s: request(s, "POST", "/channels", "x", **JSON)),
    ("bad-text", "from byte 2 on", lambda s: request(s, "POST", "/channels/a", b"a\xff", Content_Type="text/plain")),
    ("bad-batch", "array", lambda s: request(s, "POST", "/channels", "5", **JSON)),
    ("forbidden-origin", "allowed-origins", lambda s: request(s, "POST", "/channels/a", "x", Origin="https://else.example")),
    ("not-found", "/channels/NAME", lambda s: get(s, "/channel/a")),
    ("no-such-channel", "", lambda s: get(s, "/api/channels/nobody")),
    ("no-such-channel", "", lambda s: request(s, "DELETE", "/api/channels/nobody")),
    ("no-such-session", "", lambda s: request(s, "POST", "/sockjs/0/nobody/xhr_send", '["a"]')),
    ("method-not-allowed", "takes GET, HEAD, POST, PUT, OPTIONS; DELETE /api", lambda s: request(s, "PATCH", "/channels/a", "x")),
    ("not-acceptable", "poll, json, sse, stream, xhr, multipart, htmlfile, jsonp", lambda s: get(s, "/channels/a?transport=pigeon")),
    ("not-acceptable", "legacy = yes", lambda s: get(s, "/channels/a?transport=jsonp&callback=cb")),
    ("head-timeout", "", lambda s: said(s, b"GET / HTTP/1.1\r\n")),
    ("body-timeout", "", lambda s: said(s, b"POST /channels/a HTTP/1.1\r\n" + HEAD + b"Content-Length: 5\r\n\r\nab")),
    ("too-large", "message-size", lambda s: request(s, "POST", "/channels/a", "x" * 1001)),
    ("too-large", "batch-size", lambda s: request(s, "POST", "/channels", "[" + " " * 2000 + "]", **JSON)),
    ("unsupported-media-type", "--data-binary", lambda s: request(s, "POST", "/channels/a", "x",
                                                                  Content_Type="multipart/form-data; boundary=b")),
    ("too-many-arguments", "256", lambda s: get(s, "/channels/a?" + "x&" * 256 + "x")),
    ("target-too-long", "head-size", lambda s: get(s, "/" + "x" * 2048)),
    ("head-too-large", "head-size", lambda s: get(s, "/channels/a", Cookie="x" * 2048)),
    ("bad-json", "is not JSON: line 2, column 7", lambda s: request(s, "POST", "/channels", '{}\n{"a": }', Content_Type="application/jsonl")),
]


@pytest.mark.parametrize(("code", "hint", "provoke"), PROVOKED, ids=[f"{row[0]}-{i}" for i, row in enumerate(PROVOKED)])
def test_an_error_says_what_is_wrong_and_what_is_allowed(server: Server, code: str, hint: str,
                                                         provoke: Callable[[Server], Response]) -> None:
    check(provoke(server), code, hint)


@contextlib.contextmanager
def full_of_connections(server: Server) -> Iterator[None]:
    with LineStream(server, "/channels/a"):
        yield


@contextlib.contextmanager
def full_of_messages(server: Server) -> Iterator[None]:
    """Each channel is in use, so that none is dropped to make room."""
    with contextlib.ExitStack() as stack:
        for i in range(3):
            stack.enter_context(LineStream(server, f"/channels/full/{i}"))
            request(server, "POST", f"/channels/full/{i}", b"x" * 600_000)
        yield


@pytest.mark.parametrize(("options", "code", "situation"), [
    (("--max-connections", "1"), "too-many-connections", full_of_connections),
    (("--max-connections-per-ip", "1"), "too-many-from-address", full_of_connections),
    (("--memory-limit", "1MiB", "--history-bytes", "1MiB"), "memory-limit", full_of_messages),
])
def test_an_error_of_a_full_server(options: tuple[str, ...], code: str,
                                   situation: Callable[[Server], contextlib.AbstractContextManager[None]]) -> None:
    with Server(*options) as server, situation(server):
        check(request(server, "POST", "/channels/b", b"x" * 600_000), code, "")


def test_errors_of_a_broker() -> None:
    with RedisServer() as redis, Server("--broker", redis.url(), "--redis-subscribe", "bridged", *NODE_OPTIONS) as server:
        await_ready(server)
        check(request(server, "POST", "/channels/bridged?event=e", "x"), "bridged-channel", "")
        redis.client.set(stream_key("other"), "x")
        check(request(server, "POST", "/channels/other", "x"), "broker-refused", "")
        redis.client.config_set("maxmemory", "1")
        check(request(server, "POST", "/channels/a", "x"), "broker-full", "maxmemory")
        redis.kill()
        await_away(server)
        check(request(server, "POST", "/channels/a", "x"), "broker-down", "Idempotency-Key")


def test_an_error_of_a_command() -> None:
    with Server("--tcp", "127.0.0.1:0 framing=crlf") as server, Raw(server) as client:
        assert client.ask(b"PUBLISH").startswith(b"ERROR bad-command ")


def test_an_error_of_a_session() -> None:
    with Server("--sockjs", "/echo app=echo response-limit=1") as server:
        request(server, "POST", "/echo/0/a/xhr", b"")
        request(server, "POST", "/echo/0/a/xhr_send", '["a"]')
        check(request(server, "POST", "/echo/0/a/xhr_send", '["a"]'), "session-full", "response-limit")


TOKENS: dict[str, dict[str, object]] = {
    "bad-signature": {"key": "f" * 64}, "token-expired": {"life": -60}, "token-not-yet": {"nbf": 4e9}, "wrong-audience": {"aud": "others"},
    "wrong-issuer": {"iss": "others"}, "token-revoked": {"jti": "lost"}, "forbidden-channel": {}, "bad-token": {"sluice": 1},
}


def test_errors_of_tokens() -> None:
    right = {"aud": "us", "iss": "we"}
    with Server("--jwt-key", f"HS256:{secret_file()}", "--jwt-audience", "us", "--jwt-issuer", "we") as server:
        check(request(server, "POST", "/channels/a", "x"), "no-token", "")
        check(request(server, "GET", "/metrics", **bearer(make_token(**right))), "forbidden-admin", "admin")
        assert request(server, "DELETE", "/api/tokens/lost", **bearer(make_token(admin=True, **right))).status == 200
        for code, claims in TOKENS.items():
            check(request(server, "POST", "/channels/a", "x", **bearer(make_token(**{**right, **claims}))), code, "")


def test_every_documented_error_is_provoked_somewhere() -> None:
    """TLS is in test_tls.py. The last ones need calls that fail, and are in test_faults.py, test_door.py and test_drain.py; limits are in test_limits.py, test_rates.py, test_revocation.py, test_trees.py and test_token_floods.py."""
    here = {row[0] for row in PROVOKED} | {
        "too-many-connections", "too-many-from-address", "memory-limit", "bridged-channel", "broker-refused", "broker-full",
        "broker-down", "bad-command", "session-full", "too-many-sessions", "connection-memory", "connect-rate", "channel-limit",
        "subscribe-rate", "publish-rate", "too-many-revoked", "too-many-tokens", "too-many-trees", "no-token", "forbidden-admin", "tls-wanted", *TOKENS, *COMMAND_CODES}
    assert set(DOCUMENTED) - here == {"internal", "out-of-memory", "no-descriptors", "stopping"}
