# SPDX-License-Identifier: MIT
"""Many tokens on one connection: few bad ones are verified, good ones one at a time, and others have their turn between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from support.client import Ended
from support.commands import raw_commands
from support.server import Server
from support.sockjs import Session
from support.tcp import Raw, command
from support.tokens import key_file, make_private_key, make_token, public_pem
from support.websocket import TEXT, WebSocket, frame_bytes

KEY = make_private_key("RS256")
GOOD = make_token(["**"], key=KEY, algorithm="RS256", sub="ada")
BAD = make_token(["**"], key=make_private_key("RS256"), algorithm="RS256")
MANY = 1000
SAID = 3  # bad ones that are answered
AUTO, LINES = range(2)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    listeners = ("--tcp", "127.0.0.1:0 framing=auto", "--tcp", "127.0.0.1:0 framing=crlf")
    key = key_file("floods.pem", public_pem(KEY))
    with Server("--jwt-key", f"RS256:{key}", "--sockjs", "/sockjs disconnect-delay=60s", "--shards", "1", *listeners) as running:
        yield running


def auth(token: str) -> str:
    return json.dumps({"op": "auth", "token": token})


def over_ws(server: Server, tokens: list[str]) -> list[str]:
    with WebSocket(server, "/ws") as socket:
        socket.send(b"".join(frame_bytes(TEXT, auth(token)) for token in tokens))
        said = [socket.take_json()["code"] for _ in range(SAID)]
        code, reason = socket.take_close()
        assert code == 4401
        return [*said, reason.split(":")[0]]


def over_sockjs_websocket(server: Server, tokens: list[str]) -> list[str]:
    session = Session(server, "/sockjs")
    with WebSocket(server, f"{session.url}/websocket") as socket:
        assert socket.take() == "o"
        socket.put_text(json.dumps([auth(token) for token in tokens[:250]]))  # a frame has at most 256 KiB
        said = [json.loads(json.loads(str(socket.take())[1:])[0])["code"] for _ in range(SAID)]
        frame = str(socket.take())
        assert frame.startswith("c[4401,") and socket.take_close()[0] == 4401
        return [*said, "too-many-tokens"]


def over_xhr_send(server: Server, tokens: list[str]) -> list[str]:
    session = Session(server, "/sockjs").open()
    response = session.post("xhr_send", json.dumps([auth(token) for token in tokens]), Content_Type="text/plain")
    assert (response.status, response.error) == (404, "no-such-session")
    assert session.poll().startswith(b"c[4401,")
    return ["bad-signature"] * SAID + ["too-many-tokens"]


def over_lines(server: Server, tokens: list[str]) -> list[str]:
    with Raw(server, LINES) as raw:
        raw.put(*(f"AUTH {token}".encode() for token in tokens))
        said = [raw.take().split()[1].decode() for _ in range(SAID + 1)]
        assert raw.is_closed()
        return said


def over_tcp_json(server: Server, tokens: list[str]) -> list[str]:
    with Raw(server, LINES) as raw:
        client = raw_commands(raw)
        raw.put(*(auth(token).encode() for token in tokens))
        said = [client.get()["code"] for _ in range(SAID + 1)]
        assert raw.is_closed()
        return said


def over_resp(server: Server, tokens: list[str], *words: str) -> list[str]:
    with Raw(server, AUTO) as raw:
        raw.send(b"".join(command(*words, token) for token in tokens))
        lines = [raw.take().decode() for _ in range(SAID + 1)]
        assert raw.is_closed() and all(line.startswith("-WRONGPASS ") for line in lines), lines
        return [line.split("disabled: ")[1].split()[0] for line in lines]


def over_auth(server: Server, tokens: list[str]) -> list[str]:
    return over_resp(server, tokens, "AUTH")


def over_hello(server: Server, tokens: list[str]) -> list[str]:
    return over_resp(server, tokens, "HELLO", "3", "AUTH", "ada")


WAYS = (over_ws, over_sockjs_websocket, over_xhr_send, over_lines, over_tcp_json, over_auth, over_hello)


@pytest.mark.parametrize("way", WAYS)
def test_a_few_bad_tokens_end_the_connection(server: Server, way: Callable[[Server, list[str]], list[str]]) -> None:
    assert way(server, [BAD] * MANY) == ["bad-signature"] * SAID + ["too-many-tokens"]


def test_a_good_token_between_bad_ones_lets_the_connection_go_on(server: Server) -> None:
    with Raw(server, LINES) as raw:
        raw.put(*(f"AUTH {token}".encode() for token in [BAD, BAD, GOOD] * 3))
        assert [raw.take().split()[0] for _ in range(9)] == [b"ERROR", b"ERROR", b"CONFIRMED"] * 3
        assert raw.ask(b"PING") == b"PONG"


def test_without_keys_a_client_may_say_as_many_as_it_likes() -> None:
    with Server("--tcp", "127.0.0.1:0 framing=crlf") as server, Raw(server) as raw:
        raw.put(*(f"AUTH {GOOD}".encode() for _ in range(10)))
        assert all(raw.take().startswith(b"ERROR bad-signature") for _ in range(10))
        assert raw.ask(b"PING") == b"PONG"


def test_a_refused_token_tells_of_no_other_connection(server: Server) -> None:
    """Each connection has its own count, whoever makes it."""
    for _ in range(4):
        with Raw(server, LINES) as raw:
            assert raw.ask(f"AUTH {BAD}".encode()).startswith(b"ERROR bad-signature")
            assert raw.ask(b"PING") == b"PONG"


def has_come(raw: Raw, count: int) -> bool:
    """Whether so many lines have come by now."""
    raw.socket.settimeout(0.0001)
    try:
        while raw.buffer.count(b"\n") < count and raw.receive():
            pass
    except TimeoutError:
        return False
    return True


def test_others_have_their_turn_between_the_tokens_of_one(server: Server) -> None:
    with Raw(server, LINES) as raw, Raw(server, LINES) as other:
        assert other.ask(b"PING") == b"PONG"
        raw.put(*([f"AUTH {GOOD}".encode()] * 50))
        turns = 0
        while not has_come(raw, 50):
            assert other.ask(b"PING") == b"PONG"
            turns += 1
        assert turns >= 20, turns
        assert raw.buffer.count(b"CONFIRMED\r\n") == 50


def test_what_stands_behind_a_token_waits_for_it_and_is_answered_in_order(server: Server) -> None:
    with Raw(server, AUTO) as raw:
        token = command("AUTH", GOOD)
        raw.send(command("PING") + token + command("PSUBSCRIBE", "a/*") + token + token + command("PUNSUBSCRIBE") + token + command("PING", "end"))
        text = raw.read_until(b"$3\r\nend\r\n")
        marks = [b"+PONG", b"+OK", b"psubscribe", b"+OK", b"+OK", b"punsubscribe", b"+OK", b"$3"]
        at = 0
        for mark in marks:
            at = text.index(mark, at) + len(mark)


def test_a_session_goes_on_behind_its_tokens(server: Server) -> None:
    session = Session(server, "/sockjs").open()
    session.put(*([auth(GOOD)] * 5), json.dumps({"op": "ping", "ref": 1}))
    said: list[str] = []
    while len(said) < 6:
        try:
            said += session.take_messages()
        except Ended:
            break
    assert [json.loads(text)["op"] for text in said] == ["authenticated"] * 5 + ["pong"]
