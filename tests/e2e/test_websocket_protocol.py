# SPDX-License-Identifier: MIT
"""RFC 6455, case by case: those that the Autobahn test suite lists in sections 1 to 7, 9 and 10. A feed whose client publishes to the
channel that it feeds is an echo; order and type are kept. So is the raw WebSocket of a SockJS service."""

import itertools
import struct
from collections.abc import Iterator

import pytest
from support.client import path_of
from support.server import Server
from support.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, WebSocket, frame_bytes

MESSAGE_BYTES = 16 << 20
SMALL = "Hello-µ@ßöäüàá-UTF-8!!"
_channels = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    options = ("--message-size", str(MESSAGE_BYTES), "--history-bytes", "64MiB", "--history-size", "10", "--websocket-ping", "0")
    with Server(*options, "--sockjs", "/echo app=echo") as running:
        yield running


@pytest.fixture(params=["feed", "sockjs"])
def target(request: pytest.FixtureRequest) -> str:
    return "/echo/websocket" if request.param == "sockjs" else path_of(f"echo/{next(_channels)}")


@pytest.fixture
def echo(server: Server, target: str) -> Iterator[WebSocket]:
    with WebSocket(server, target) as socket:
        yield socket


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at:at + size] for at in range(0, len(data), size)]


def in_fragments(opcode: int, *parts: bytes | str) -> bytes:
    last = len(parts) - 1
    return b"".join(frame_bytes(CONTINUATION if i else opcode, part, is_final=i == last) for i, part in enumerate(parts))


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return struct.pack(">H", code) + reason


def echoes(echo: WebSocket, opcode: int, data: bytes | str) -> None:
    """The next frame is this message."""
    payload = data.encode() if isinstance(data, str) else data
    frame = echo.take_frame()
    assert (frame.opcode, len(frame.data), frame.is_final, frame.reserved) == (opcode, len(payload), True, 0)
    assert frame.data == payload


def is_well(echo: WebSocket) -> None:
    echo.put_text("still here")
    echoes(echo, TEXT, "still here")


def closes(echo: WebSocket, code: int) -> None:
    """Nothing comes any more but a close frame with this code."""
    frame = echo.take_frame()
    assert frame.opcode == CLOSE and frame.close[0] == code and len(frame.data) <= 125, frame
    echo.put(CLOSE, frame.data[:2])
    assert echo.is_closed()


# 1: framing.


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 125, 126, 127, 128, 65535, 65536])
def test_1_messages_of_every_length_form(echo: WebSocket, opcode: int, size: int) -> None:
    data = (b"*" if opcode == TEXT else b"\xfe") * size
    echo.put(opcode, data)
    echoes(echo, opcode, data)
    echo.put_close()
    closes(echo, 1000)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_1_a_message_in_chops_of_997_bytes(echo: WebSocket, opcode: int) -> None:
    data = b"*" * 65536
    for piece in cut(frame_bytes(opcode, data), 997):
        echo.send(piece)
    echoes(echo, opcode, data)


# 2: pings and pongs.


@pytest.mark.parametrize("payload", [b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125])
def test_2_a_ping_is_answered_with_its_payload(echo: WebSocket, payload: bytes) -> None:
    echo.put(PING, payload)
    assert echo.take_frame() == Frame(PONG, payload)
    echo.send_bytewise(frame_bytes(PING, payload))
    assert echo.take_frame() == Frame(PONG, payload)


def test_2_a_ping_of_126_bytes_fails(echo: WebSocket) -> None:
    echo.put(PING, b"\xfe" * 126)
    closes(echo, 1002)


@pytest.mark.parametrize("payload", [b"", b"unsolicited pong payload"])
def test_2_a_pong_that_nobody_asked_for_is_ignored(echo: WebSocket, payload: bytes) -> None:
    echo.put(PONG, payload)
    echo.put(PING, b"ping payload")
    assert echo.take_frame() == Frame(PONG, b"ping payload")


@pytest.mark.parametrize("is_bytewise", [False, True])
def test_2_ten_pings_are_answered_in_order(echo: WebSocket, is_bytewise: bool) -> None:
    pings = b"".join(frame_bytes(PING, f"payload-{i}") for i in range(10))
    (echo.send_bytewise if is_bytewise else echo.send)(pings)
    assert [echo.take_frame() for _ in range(10)] == [Frame(PONG, f"payload-{i}".encode()) for i in range(10)]


# 3: reserved bits.


@pytest.mark.parametrize("reserved", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
def test_3_reserved_bits_fail(echo: WebSocket, reserved: int, opcode: int) -> None:
    echo.put_text(SMALL)
    echoes(echo, TEXT, SMALL)
    echo.send(frame_bytes(opcode, b"" if opcode == CLOSE else b"x", reserved=reserved) + frame_bytes(PING, b"late"))
    closes(echo, 1002)


def test_3_reserved_bits_fail_in_a_frame_that_comes_bytewise(echo: WebSocket) -> None:
    echo.send(frame_bytes(TEXT, "x", reserved=4)[:-1])
    echo.send_bytewise(frame_bytes(TEXT, "x", reserved=4)[-1:])
    closes(echo, 1002)


# 4: opcodes.


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"reserved opcode payload"])
def test_4_reserved_opcodes_fail(echo: WebSocket, opcode: int, payload: bytes) -> None:
    echo.put_text(SMALL)
    echoes(echo, TEXT, SMALL)
    echo.send(frame_bytes(opcode, payload) + frame_bytes(PING, b"late"))
    closes(echo, 1002)


# 5: fragmentation.


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_5_control_frames_are_not_fragmented(echo: WebSocket, opcode: int) -> None:
    echo.send(in_fragments(opcode, "fragment1", "fragment2"))
    closes(echo, 1002)


@pytest.mark.parametrize("chop", [1, 7, 1 << 20])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_5_a_message_in_two_fragments(echo: WebSocket, opcode: int, chop: int) -> None:
    for piece in cut(in_fragments(opcode, "fragment1", "fragment2"), chop):
        echo.send(piece)
    echoes(echo, opcode, "fragment1fragment2")


@pytest.mark.parametrize("chop", [1, 7, 1 << 20])
def test_5_a_ping_between_fragments_is_answered_before_the_message(echo: WebSocket, chop: int) -> None:
    first, ping, last = (frame_bytes(TEXT, "fragment1", is_final=False), frame_bytes(PING, "ping payload"),
                         frame_bytes(CONTINUATION, "fragment2"))
    for piece in cut(first + ping + last, chop):
        echo.send(piece)
    assert echo.take_frame() == Frame(PONG, b"ping payload")
    echoes(echo, TEXT, "fragment1fragment2")


@pytest.mark.parametrize("is_final", [False, True])
@pytest.mark.parametrize("behind", [b"", frame_bytes(TEXT, SMALL)])
def test_5_a_continuation_of_nothing_fails(echo: WebSocket, is_final: bool, behind: bytes) -> None:
    echo.send(frame_bytes(CONTINUATION, "non-continuation payload", is_final=is_final) + behind)
    closes(echo, 1002)


def test_5_a_continuation_behind_a_whole_message_fails(echo: WebSocket) -> None:
    echo.send(in_fragments(TEXT, "fragment1", "fragment2"))
    echoes(echo, TEXT, "fragment1fragment2")
    echo.send(in_fragments(CONTINUATION, "fragment3", "fragment4"))
    closes(echo, 1002)


def test_5_a_message_begun_within_another_fails(echo: WebSocket) -> None:
    echo.send(frame_bytes(TEXT, "fragment1", is_final=False) + frame_bytes(TEXT, "fragment2"))
    closes(echo, 1002)


def test_5_five_fragments_with_pings_between(echo: WebSocket) -> None:
    parts = [f"fragment{i}" for i in range(5)]
    echo.send(frame_bytes(TEXT, parts[0], is_final=False) + frame_bytes(CONTINUATION, parts[1], is_final=False))
    echo.send(frame_bytes(PING, "pongme 1"))
    assert echo.take_frame() == Frame(PONG, b"pongme 1")
    echo.send(frame_bytes(CONTINUATION, parts[2], is_final=False) + frame_bytes(CONTINUATION, parts[3], is_final=False))
    echo.send(frame_bytes(PING, "pongme 2") + frame_bytes(CONTINUATION, parts[4]))
    assert echo.take_frame() == Frame(PONG, b"pongme 2")
    echoes(echo, TEXT, "".join(parts))


# 6: UTF-8.

GOOD_TEXTS = [
    b"", SMALL.encode(), "κόσμε".encode(), b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80", b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf",
    b"\xf4\x8f\xbf\xbf", b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xef\xbf\xbe", b"\xf0\x9f\xbf\xbe", b"\xf3\xaf\xbf\xbf",
    b"Hello-\xf0\xa0\x80\x80-World",
]
BAD_TEXTS = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80",
    b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\x80", b"\xbf", b"\x80\xbf", b"\x80\xbf\x80\xbf\x80\xbf", b"\xc0 \xc1 ", b"\xe0 \xe1 ",
    b"\xf0 \xf1 ", b"\xf8 \xf9 ", b"\xfc \xfd ", b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfe", b"\xff",
    b"\xfe\xfe\xff\xff", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xc0\x80",
    b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xce\xba\xe1\xbd",
]


@pytest.mark.parametrize("text", GOOD_TEXTS)
def test_6_good_text_is_echoed_however_it_is_cut(echo: WebSocket, text: bytes) -> None:
    echo.put(TEXT, text)
    echoes(echo, TEXT, text)
    echo.send(in_fragments(TEXT, *(cut(text, 1) or [b""])))
    echoes(echo, TEXT, text)
    echo.send_bytewise(in_fragments(TEXT, text[:1], text[1:], b""))
    echoes(echo, TEXT, text)


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_6_bad_text_fails_however_it_is_cut(server: Server, target: str, text: bytes) -> None:
    for data in (frame_bytes(TEXT, text), in_fragments(TEXT, b"", *cut(text, 1), b"")):
        with WebSocket(server, target) as echo:
            echo.send(data)
            closes(echo, 1007)


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_6_bad_bytes_are_echoed_where_they_are_not_text(echo: WebSocket, text: bytes) -> None:
    echo.put(BINARY, text)
    echoes(echo, BINARY, text)


@pytest.mark.parametrize("rest", [frame_bytes(CONTINUATION, b"\xf4", is_final=False) + frame_bytes(CONTINUATION, b"\x90", is_final=False),
                                  frame_bytes(CONTINUATION, b"a\x80", is_final=False),
                                  frame_bytes(CONTINUATION, b"\xf4\x90" + b"a" * 1000)[:10]])
def test_6_bad_text_fails_before_its_message_is_whole(echo: WebSocket, rest: bytes) -> None:
    echo.send(frame_bytes(TEXT, "κόσμε", is_final=False))
    echo.send(rest)
    closes(echo, 1007)


# 7: closing.

GOOD_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
BAD_CODES = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


BEHIND_A_CLOSE = {
    "nothing": b"", "another": frame_bytes(CLOSE, close_payload(1000)), "ping": frame_bytes(PING, b"late"), "text": frame_bytes(TEXT, "late"),
    "much text": frame_bytes(TEXT, "x" * 262144), "rubbish": b"\xff" * 100}


@pytest.mark.parametrize("behind", list(BEHIND_A_CLOSE))
def test_7_a_close_is_answered_and_what_is_behind_it_is_not(echo: WebSocket, behind: str) -> None:
    is_well(echo)
    echo.send(frame_bytes(CLOSE, close_payload(1000)) + BEHIND_A_CLOSE[behind])
    assert echo.take_frame() == Frame(CLOSE, close_payload(1000))
    assert echo.is_closed()


def test_7_a_close_within_a_message_is_answered(echo: WebSocket) -> None:
    echo.send(frame_bytes(TEXT, "fragment1", is_final=False) + frame_bytes(CLOSE, close_payload(1000)) + frame_bytes(CONTINUATION, "fragment2"))
    assert echo.take_frame() == Frame(CLOSE, close_payload(1000))
    assert echo.is_closed()


def test_7_a_message_before_the_close_is_echoed_first(echo: WebSocket) -> None:
    echo.send(frame_bytes(TEXT, "x" * 262144))
    echoes(echo, TEXT, "x" * 262144)
    echo.put_close()
    closes(echo, 1000)


@pytest.mark.parametrize("payload,code", [(b"", 1005), (close_payload(1000), 1000), (close_payload(1000, b"Hello World!"), 1000),
                                          (close_payload(1000, b"*" * 123), 1000), (close_payload(1000, "ü".encode() * 61), 1000)])
def test_7_close_payloads_that_are_good(echo: WebSocket, payload: bytes, code: int) -> None:
    echo.put(CLOSE, payload)
    assert echo.take_frame().close == (code, "")
    assert echo.is_closed()


@pytest.mark.parametrize("payload,code", [(b"\x03", 1002), (b"*" * 126, 1002), (close_payload(1000, b"*" * 124), 1002),
                                          (close_payload(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"), 1007),
                                          (close_payload(1000, b"\xff"), 1007)])
def test_7_close_payloads_that_are_bad(echo: WebSocket, payload: bytes, code: int) -> None:
    echo.put(CLOSE, payload)
    closes(echo, code)


@pytest.mark.parametrize("code", GOOD_CODES)
def test_7_codes_that_may_be_sent_are_answered_with_the_same(echo: WebSocket, code: int) -> None:
    echo.put(CLOSE, close_payload(code, b"reason"))
    assert echo.take_frame() == Frame(CLOSE, close_payload(code))
    assert echo.is_closed()


@pytest.mark.parametrize("code", BAD_CODES)
@pytest.mark.parametrize("reason", [b"", b"reason"])
def test_7_codes_that_may_not_be_sent_fail(echo: WebSocket, code: int, reason: bytes) -> None:
    echo.put(CLOSE, close_payload(code, reason))
    closes(echo, 1002)


# 9: limits and performance.


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [64 << 10, 256 << 10, 1 << 20, 4 << 20, MESSAGE_BYTES])
def test_9_large_messages(echo: WebSocket, opcode: int, size: int) -> None:
    data = (b"*" if opcode == TEXT else b"\xfe") * size
    echo.put(opcode, data)
    echoes(echo, opcode, data)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [64, 256, 1 << 10, 4 << 10, 64 << 10, 1 << 20])
def test_9_a_message_of_4_mib_in_fragments(echo: WebSocket, opcode: int, size: int) -> None:
    data = b"*" * (4 << 20)
    echo.send(in_fragments(opcode, *cut(data, size)))
    echoes(echo, opcode, data)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("chop", [64, 512, 2048])
def test_9_a_message_of_1_mib_in_chops(echo: WebSocket, opcode: int, chop: int) -> None:
    data = b"*" * (1 << 20)
    for piece in cut(frame_bytes(opcode, data), chop):
        echo.send(piece)
    echoes(echo, opcode, data)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 16, 1024, 16384])
def test_9_many_round_trips(echo: WebSocket, opcode: int, size: int) -> None:
    for _ in range(200):
        echo.put(opcode, b"*" * size)
        echoes(echo, opcode, b"*" * size)


@pytest.mark.parametrize("behind", [b"", b"x"])
def test_9_a_message_that_is_too_large_fails(echo: WebSocket, behind: bytes) -> None:
    """As soon as its head is there, without waiting for the rest."""
    is_well(echo)
    if behind:
        echo.send(frame_bytes(BINARY, b"*" * MESSAGE_BYTES, is_final=False))
        echo.send(frame_bytes(CONTINUATION, behind))
    else:
        echo.send(frame_bytes(BINARY, b"*" * (MESSAGE_BYTES + 1))[:14])
    closes(echo, 1009)


# 10: automatic fragmentation.


@pytest.mark.parametrize("size", [1300, 65535])
def test_10_a_message_of_65536_bytes_in_fragments_of_any_size(echo: WebSocket, size: int) -> None:
    data = bytes(range(32, 96)) * 1024
    echo.send(in_fragments(TEXT, *cut(data, size)))
    echoes(echo, TEXT, data)
