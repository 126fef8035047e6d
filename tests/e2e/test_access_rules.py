# SPDX-License-Identifier: MIT
"""`subscribe` and `publish` of a channel's section, with each kind of credential, over each transport."""

import contextlib
import functools
import itertools
import json
import re
import subprocess
from collections.abc import Callable, Iterator

import pytest
from support.client import Connection, Response, get, path_of, request, request_bytes
from support.reloading import Reloading
from support.server import SLUICE, Server
from support.sockjs import Session
from support.tcp import Raw, Resp
from support.tokens import bearer, key_file, make_token, secret_file
from support.websocket import WebSocket, handshake_bytes

SUBSCRIBE = ("anyone", "token", "nobody", "auto")
PUBLISH = ("anyone", "key", "token", "key,token", "nobody", "auto")
REFUSED, UNKNOWN, DONE = "forbidden-channel", "no-token", "done"


@functools.cache
def publisher_key() -> tuple[str, str]:
    """The key, and its line of the file."""
    lines = subprocess.run([SLUICE, "key", "shop"], capture_output=True, text=True, check=True, timeout=20).stdout.splitlines()
    return next(line for line in lines if re.fullmatch(r"shop\.\S+", line)), next(line for line in lines if re.fullmatch(r"shop:\S+", line))


CREDENTIALS: dict[str, Callable[[], str | None]] = {
    "none": lambda: None,
    "key": lambda: publisher_key()[0],
    "granting": lambda: make_token(["s/**"], ["p/**"]),
    "elsewhere": lambda: make_token(["other/**", "p/**", "s"], ["other/**", "s/**", "p"]),
    "admin": lambda: make_token(admin=True),
}


def expected_subscribe(rule: str, credential: str) -> str:
    if rule in ("anyone", "nobody"):
        return DONE if rule == "anyone" else REFUSED
    return {"none": UNKNOWN, "granting": DONE}.get(credential, REFUSED)


def expected_publish(rule: str, credential: str) -> str:
    if rule in ("anyone", "nobody"):
        return DONE if rule == "anyone" else REFUSED
    takes = {"key": {"key"}, "token": {"granting"}}.get(rule, {"key", "granting"})
    return UNKNOWN if credential == "none" else DONE if credential in takes else REFUSED


def configuration() -> str:
    sections = [f'[channel "s/{rule}"]\nsubscribe = {rule}\npublish = nobody\n' for rule in SUBSCRIBE]
    sections += [f'[channel "p/{rule.replace(",", "-")}"]\nsubscribe = anyone\npublish = {rule}\n' for rule in PUBLISH]
    return "".join(sections)


@pytest.fixture(scope="module")
def ruled() -> Iterator[Server]:
    line = publisher_key()[1]
    with Reloading(configuration(), "--jwt-key", f"HS256:{secret_file()}", "--publish-keys", key_file("rules-publishers", f"{line}\n"),
                   "--tcp", "127.0.0.1:0 framing=crlf", "--tcp", "127.0.0.1:0 framing=resp", "--sockjs", "/sockjs") as server:
        yield server


def outcome(text: str) -> str:
    """Which of the refusals the text names."""
    return next((word for word in (REFUSED, UNKNOWN) if word in text), DONE)


def headers(token: str | None) -> dict[str, str]:
    return bearer(token) if token else {}


def of_response(response: Response) -> str:
    if response.status < 300:
        return DONE
    assert response.status == {REFUSED: 403, UNKNOWN: 401}[response.error], response
    assert (response.header("WWW-Authenticate") or "").startswith("Bearer ")
    return response.error


# Each takes server, channel and credential, and says what came of it.

def poll(server: Server, channel: str, token: str | None) -> str:
    return of_response(get(server, path_of(channel, wait=0, last=1), **headers(token)))


def poll_by_query(server: Server, channel: str, token: str | None) -> str:
    return of_response(get(server, path_of(channel, wait=0, last=1, token=token)))


def stream(accept: str, server: Server, channel: str, token: str | None) -> str:
    with Connection(server) as connection:
        connection.send(request_bytes("GET", path_of(channel), Accept=accept, **headers(token)))
        response = connection.read_head()
        if response.status != 200:
            response.body = connection.read_exactly(int(response.header("Content-Length") or 0))
        return of_response(response)


def second_of_two(server: Server, channel: str, token: str | None) -> str:
    """All channels of a subscription are looked at."""
    return of_response(get(server, path_of("s/anyone", channel=channel, wait=0, last=1), **headers(token)))


@contextlib.contextmanager
def upgraded(server: Server, target: str, token: str | None) -> Iterator[WebSocket | Response]:
    """The WebSocket, or the answer that refuses it."""
    with Connection(server) as connection:
        connection.send(handshake_bytes(target, "dGhlIHNhbXBsZSBub25jZQ==", **headers(token)))
        response = connection.read_head()
        if response.status != 101:
            response.body = connection.read_exactly(int(response.header("Content-Length") or 0))
            yield response
            return
    with WebSocket(server, target, **headers(token)) as client:
        yield client


def feed_subscribe(server: Server, channel: str, token: str | None) -> str:
    """What is sent is a token where one is missing; otherwise nobody may publish it, and the close says that."""
    with upgraded(server, path_of(channel), token) as client:
        if isinstance(client, Response):
            return of_response(client)
        client.put_text("x")
        code, reason = client.take_close()
        assert code == (4401 if UNKNOWN in reason else 4403), (code, reason)
        return DONE if "nobody may publish" in reason else outcome(reason)


def feed_publish(server: Server, channel: str, token: str | None) -> str:
    with WebSocket(server, path_of(channel), **headers(token)) as client:
        client.put_text("x")
        client.put_text("y")
        frame = client.take_frame()
        if frame.data == b"x":
            return DONE
        assert frame.close[0] == (4401 if UNKNOWN in frame.close[1] else 4403), frame
        return outcome(frame.close[1])


def websocket_command(op: str, server: Server, channel: str, token: str | None) -> str:
    with WebSocket(server, "/ws", "sluice.v1+json", **headers(token)) as client:
        client.put_json({"op": op, "channel": channel, **({"data": "x"} if op == "publish" else {})})
        return outcome(client.take())


def authenticated_command(op: str, server: Server, channel: str, token: str | None) -> str:
    with WebSocket(server, "/ws", "sluice.v1+json") as client:
        if token:
            client.put_json({"op": "auth", "token": token})
            assert client.take_json()["op"] == "authenticated"
        client.put_json({"op": op, "channel": channel, **({"data": "x"} if op == "publish" else {})})
        return outcome(client.take())


def sockjs_command(op: str, server: Server, channel: str, token: str | None) -> str:
    session = Session(server, "/sockjs").open()
    if token:
        session.put(json.dumps({"op": "auth", "token": token}))
        assert json.loads(session.take_messages()[0])["op"] == "authenticated"
    session.put(json.dumps({"op": op, "channel": channel, **({"data": "x"} if op == "publish" else {})}))
    return outcome(session.take_messages()[0])


def tcp(word: str, server: Server, channel: str, token: str | None) -> str:
    with Raw(server) as client:
        assert not token or client.ask(f"AUTH {token}".encode()) == b"CONFIRMED"
        return outcome(client.ask(f"{word} {channel}{' x' if word == 'PUBLISH' else ''}".encode()).decode())


def resp(word: str, server: Server, channel: str, token: str | None) -> str:
    more = {"PUBLISH": ("x",), "XRANGE": ("-", "+")}.get(word, ())
    with Resp(server, 1) as client:
        assert not token or client.run("AUTH", token) == "+OK"
        answer = str(client.run(word, channel, *more))
        assert not answer.startswith("-") or answer.startswith(("-NOAUTH", "-NOPERM")), answer
        return outcome(answer)


def post(method: str, server: Server, channel: str, token: str | None) -> str:
    return of_response(request(server, method, path_of(channel), "x", Content_Type="text/plain", **headers(token)))


def batch(server: Server, channel: str, token: str | None) -> str:
    body = json.dumps([{"channel": "p/anyone", "data": "x"}, {"channel": channel, "data": "x"}])
    answer = request(server, "POST", "/channels", body, Content_Type="application/json", **headers(token)).json
    assert "error" not in answer[0]
    return answer[1].get("error", DONE)


SUBSCRIBING: dict[str, Callable[[Server, str, str | None], str]] = {
    "poll": poll, "token in the query": poll_by_query, "sse": functools.partial(stream, "text/event-stream"),
    "ndjson": functools.partial(stream, "application/x-ndjson"), "second of two": second_of_two, "websocket feed": feed_subscribe,
    "websocket subscribe": functools.partial(websocket_command, "subscribe"), "websocket history": functools.partial(websocket_command, "history"),
    "auth, then subscribe": functools.partial(authenticated_command, "subscribe"), "sockjs subscribe": functools.partial(sockjs_command, "subscribe"),
    "sockjs history": functools.partial(sockjs_command, "history"), "tcp SUBSCRIBE": functools.partial(tcp, "SUBSCRIBE"),
    "tcp HISTORY": functools.partial(tcp, "HISTORY"), "resp SUBSCRIBE": functools.partial(resp, "SUBSCRIBE"),
    "resp XRANGE": functools.partial(resp, "XRANGE"),
}
PUBLISHING: dict[str, Callable[[Server, str, str | None], str]] = {
    "post": functools.partial(post, "POST"), "put": functools.partial(post, "PUT"), "batch": batch, "websocket feed": feed_publish,
    "websocket publish": functools.partial(websocket_command, "publish"), "auth, then publish": functools.partial(authenticated_command, "publish"),
    "sockjs publish": functools.partial(sockjs_command, "publish"), "tcp PUBLISH": functools.partial(tcp, "PUBLISH"),
    "resp PUBLISH": functools.partial(resp, "PUBLISH"),
}


@pytest.mark.parametrize("transport", SUBSCRIBING)
def test_who_may_subscribe(ruled: Server, transport: str) -> None:
    found = {(rule, name): SUBSCRIBING[transport](ruled, f"s/{rule}", CREDENTIALS[name]()) for rule, name in itertools.product(SUBSCRIBE, CREDENTIALS)}
    assert found == {(rule, name): expected_subscribe(rule, name) for rule, name in found}


@pytest.mark.parametrize("transport", PUBLISHING)
def test_who_may_publish(ruled: Server, transport: str) -> None:
    found = {(rule, name): PUBLISHING[transport](ruled, f"p/{rule.replace(',', '-')}", CREDENTIALS[name]())
             for rule, name in itertools.product(PUBLISH, CREDENTIALS)}
    assert found == {(rule, name): expected_publish(rule, name) for rule, name in found}


def test_without_keys_anybody_may_unless_a_section_says_other() -> None:
    with Reloading('[channel "closed/*"]\nsubscribe = token\npublish = nobody\n') as server:
        assert post("POST", server, "open", None) == DONE and poll(server, "open", None) == DONE
        assert post("POST", server, "closed/a", None) == REFUSED and poll(server, "closed/a", None) == UNKNOWN


def test_a_reload_changes_who_may(channel: str) -> None:
    keys = ("--jwt-key", f"HS256:{secret_file()}")
    with Reloading("", *keys) as server:
        assert (poll(server, channel, None), post("POST", server, channel, None)) == (UNKNOWN, UNKNOWN)
        server.reload("subscribe = anyone\npublish = anyone\n")
        assert (poll(server, channel, None), post("POST", server, channel, None)) == (DONE, DONE)
        server.reload(f'subscribe = anyone\npublish = anyone\n[channel "{channel}"]\nsubscribe = nobody\npublish = token\n')
        assert (poll(server, channel, None), post("POST", server, channel, None)) == (REFUSED, UNKNOWN)
