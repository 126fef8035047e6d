# SPDX-License-Identifier: MIT
"""SockJS 0.3.3, statement by statement: WebSocket with its frames, and raw."""

import json
import struct

import pytest
from support.client import Connection, get, request
from support.server import Server, wait_until
from support.sockjs import ESCAPED_BY_SERVER, GO_AWAY, Session
from support.websocket import BINARY, CLOSE, PING, PONG, TEXT, WebSocket, frame_bytes, handshake_bytes

KEY, ACCEPT = "x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="


def connect(server: Server, service: str = "/echo", name: str | None = None) -> WebSocket:
    """A session over WebSocket whose open frame has come."""
    websocket = WebSocket(server, f"{Session(server, service, name).url}/websocket")
    assert websocket.take() == "o"
    return websocket


def take_messages(websocket: WebSocket, count: int) -> list[str]:
    messages: list[str] = []
    while len(messages) < count:
        frame = websocket.take()
        assert isinstance(frame, str) and frame.startswith("a["), frame
        messages += json.loads(frame[1:])
    return messages


# Requests.

@pytest.mark.parametrize("path", ["/0/0/websocket", "/websocket"])
@pytest.mark.parametrize(("fields", "says"), [
    ({}, b'Can "Upgrade" only to "WebSocket".'),
    ({"Upgrade": "h2c", "Connection": "Upgrade"}, b'Can "Upgrade" only to "WebSocket".'),
    ({"Upgrade": "WebSocket", "Connection": "close"}, b'"Connection" must be "Upgrade".'),
    ({"Upgrade": "WebSocket"}, b'"Connection" must be "Upgrade".'),
])
def test_a_plain_request_is_told_what_is_missing(suite: Server, path: str, fields: dict[str, str], says: bytes) -> None:
    response = get(suite, f"/echo{path}", **fields)
    assert response.status == 400 and says in response.body, response


@pytest.mark.parametrize("fields", [{}, {"Upgrade": "WebSocket", "Connection": "Upgrade"}])
def test_only_get_becomes_a_websocket(suite: Server, fields: dict[str, str]) -> None:
    response = request(suite, "POST", "/echo/0/0/websocket", b"", **fields)
    assert (response.status, response.body, response.header("Content-Type")) == (405, b"", None)
    assert "GET" in (response.header("Allow") or "")


@pytest.mark.parametrize("path", ["/000/headers/websocket", "/websocket"])
@pytest.mark.parametrize("fields", [{}, {"Connection": "keep-alive, Upgrade"}, {"Upgrade": "WebSocket"}, {"Connection": "upgrade"},
                                    {"Sec_WebSocket_Origin": "http://asd"}, {"Origin": "https://page.example"}])
def test_the_headers_of_a_websocket(suite: Server, path: str, fields: dict[str, str]) -> None:
    """Firefox says Connection: keep-alive, Upgrade."""
    with Connection(suite) as connection:
        connection.send(handshake_bytes(f"/echo{path}", KEY, **fields))
        response = connection.read_head()
    assert response.status == 101
    assert response.header("Sec-WebSocket-Accept") == ACCEPT
    assert (response.header("Connection") or "").lower() == "upgrade"
    assert (response.header("Upgrade") or "").lower() == "websocket"
    assert response.header("Content-Length") is None and response.header("Sec-WebSocket-Extensions") is None


@pytest.mark.parametrize("version", ["7", "8", "0", ""])
def test_drafts_of_websocket_are_told_the_version(suite: Server, version: str) -> None:
    """0.3.3 asks for drafts that browsers of 2011 spoke; a client that still does goes on over HTTP."""
    with Connection(suite) as connection:
        connection.send(handshake_bytes("/echo/0/0/websocket", KEY, Sec_WebSocket_Version=version))
        response = connection.read_head()
    assert (response.status, response.header("Sec-WebSocket-Version")) == (426, "13")


@pytest.mark.parametrize("path", ["/a./a/websocket", "/a/a./websocket", "//a/websocket", "/a/websocket"])
def test_other_urls_are_no_websocket(suite: Server, path: str) -> None:
    with Connection(suite) as connection:
        connection.send(handshake_bytes(f"/echo{path}", KEY))
        assert connection.read_head().status == 404


# Sessions.

def test_a_session_over_websocket(suite: Server) -> None:
    with connect(suite) as websocket:
        websocket.put_text("")
        websocket.put_text('["a"]')
        assert websocket.take() == 'a["a"]'
        websocket.put_text('["b","c"]')
        assert take_messages(websocket, 2) == ["b", "c"]
        websocket.put_text('"alone"')
        assert websocket.take() == 'a["alone"]'
        websocket.put_text("[]")
        websocket.put_close(1000)
        assert websocket.take_close()[0] == 1000


def test_a_closed_session_over_websocket(suite: Server) -> None:
    with connect(suite, "/close") as websocket:
        assert websocket.take() == GO_AWAY
        assert websocket.take_close() == (3000, "Go away!")


@pytest.mark.parametrize("text", ['["a', "[", "x", "{", '["a"', "['a']", '["a"]]', '"a', "\0"])
def test_broken_json_ends_a_session_over_websocket(suite: Server, text: str) -> None:
    """sockjs-node closes with 3000 (Broken framing.), the text of 0.3.3 wants an end."""
    with connect(suite) as websocket:
        websocket.put_text(text)
        assert websocket.take_close() == (1002, "Broken JSON encoding.")


def test_sessions_over_websocket_may_share_a_name(suite: Server) -> None:
    with connect(suite, name="shared") as first, connect(suite, name="shared") as second:
        assert Session(suite, name="shared").post("xhr_send", '["x"]').status == 404
        for websocket, text in ((first, '["a"]'), (second, '["b"]')):
            websocket.put_text(text)
            assert websocket.take() == f"a{text}"
    with connect(suite, name="shared") as again:
        again.put_text('["c"]')
        assert again.take() == 'a["c"]'


def test_what_browsers_mangle_is_escaped_over_websocket(suite: Server) -> None:
    with connect(suite) as websocket:
        text = "".join(map(chr, ESCAPED_BY_SERVER))
        websocket.put_text(json.dumps([text], ensure_ascii=False))
        escaped = "".join(f"\\u{code:04x}" for code in ESCAPED_BY_SERVER)
        assert websocket.take() == f'a["{escaped}"]'


def test_a_message_in_fragments_is_one_message(suite: Server) -> None:
    with connect(suite) as websocket:
        for number, character in enumerate('["é'.encode()):
            websocket.send(frame_bytes(TEXT if number == 0 else 0, bytes([character]), is_final=False))
            websocket.send(frame_bytes(PING, b"?"))
            pong = websocket.take_frame()
            assert (pong.opcode, pong.data) == (PONG, b"?")
        websocket.send(frame_bytes(0, b'"]'))
        assert websocket.take() == 'a["é"]'


def test_a_large_message_comes_back_whole(suite: Server) -> None:
    """No limit of a response counts over WebSocket."""
    with connect(suite) as websocket:
        for size in (125, 126, 4096, 65535, 65536, 300_000):
            text = "x" * size
            websocket.put_text(json.dumps([text]))
            assert websocket.take() == f'a["{text}"]'


def test_many_messages_come_back_in_order(suite: Server) -> None:
    with connect(suite) as websocket:
        for number in range(500):
            websocket.put_text(f'["{number}"]')
        assert take_messages(websocket, 500) == [str(number) for number in range(500)]


# Raw.

def test_a_raw_websocket_has_no_frames_of_its_own(suite: Server) -> None:
    with WebSocket(suite, "/echo/websocket") as websocket:
        for text in ("Hello world!\uffff", "[", '["a"]', "", "\u2028\0é\U0001f600"):
            websocket.put_text(text)
            assert websocket.take() == text
        websocket.put(BINARY, bytes(range(256)))
        assert websocket.take() == bytes(range(256))
        websocket.put_close(1000, "bye")
        assert websocket.take_close()[0] == 1000


def test_a_raw_websocket_is_closed_with_the_session_s_code(suite: Server) -> None:
    with WebSocket(suite, "/close/websocket") as websocket:
        assert websocket.take_close() == (3000, "Go away!")


def test_a_raw_websocket_takes_messages_up_to_the_limit() -> None:
    with Server("--sockjs", "/echo app=echo", "--message-size", "1000000") as server:
        with WebSocket(server, "/echo/websocket") as websocket:
            websocket.put_text("x" * 1_000_000)
            assert websocket.take() == "x" * 1_000_000
            websocket.put_text("x" * 1_000_001)
            assert websocket.take_close()[0] == 1009


@pytest.mark.parametrize("path", ["/000/bad/websocket", "/websocket"])
@pytest.mark.parametrize(("bad", "code"), [
    (frame_bytes(TEXT, b"\xff"), 1007), (frame_bytes(TEXT, b'["a"]', mask=None), 1002), (frame_bytes(TEXT, b'["a"]', reserved=4), 1002),
    (frame_bytes(0x3, b""), 1002), (frame_bytes(0xB, b""), 1002), (frame_bytes(PING, b"x" * 126), 1002),
    (frame_bytes(PING, b"", is_final=False), 1002), (frame_bytes(0, b"x"), 1002), (frame_bytes(CLOSE, b"\x03"), 1002),
    (frame_bytes(CLOSE, struct.pack(">H", 1005)), 1002), (frame_bytes(CLOSE, b"\x03\xe8\xff"), 1007),
    (bytes([0x81, 0xFF]) + b"\x80" + b"\0" * 7 + b"1234", 1002), (bytes([0x81, 0xFF]) + b"\x7f" + b"\xff" * 7 + b"1234x", 1009),
])
def test_bad_frames_end_a_websocket(suite: Server, path: str, bad: bytes, code: int) -> None:
    with WebSocket(suite, f"/echo{path}") as websocket:
        websocket.send(bad)
        assert websocket.take_close()[0] == code


def test_sessions_over_websocket_end_with_their_connection(suite: Server) -> None:
    """Nothing of a session is left: many that are cut leave the server as it was."""
    def live() -> str:
        return get(suite, "/api/stats").body.decode()

    for number in range(50):
        websocket = connect(suite, name=f"cut-{number}")
        websocket.put_text('["x"]')
        websocket.close()
    wait_until(lambda: json.loads(live())["connections"] <= 2, what="the connections' end")
    assert get(suite, "/healthz").status == 200
