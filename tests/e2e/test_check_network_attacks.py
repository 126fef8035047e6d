# SPDX-License-Identifier: MIT
"""`sluice check-network` against servers that answer anything: it ends in time, and what it writes is fit for a terminal."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.server import SLUICE

Handler = Callable[[socket.socket, bytes], None]
# The time that it takes by itself, and as much again for a slow machine.
PATIENCE = 25


@contextlib.contextmanager
def answered_by(handler: Handler) -> Iterator[str]:
    """A server that hands each connection over with the head of its first request."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(PATIENCE)
            head = b""
            while b"\r\n\r\n" not in head:
                if not (got := client.recv(4096)):
                    return
                head += got
            handler(client, head)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threads.append(threading.Thread(target=serve, args=(listener.accept()[0],)))
                threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join(PATIENCE)
        listener.close()
        for thread in threads:
            thread.join(2 * PATIENCE)


def check(handler: Handler) -> tuple[int, str]:
    with answered_by(handler) as url:
        done = subprocess.run([SLUICE, "check-network", "--hold", "0", url], capture_output=True, check=False, timeout=PATIENCE)
    assert not done.stderr, done.stderr
    assert not re.search(rb"[^ -~\n]", done.stdout), done.stdout
    return done.returncode, done.stdout.decode()


def verdict(said: str, way: str) -> str:
    found = re.search(rf"^{way} .{{39}}(.*)$", said, re.MULTILINE)
    assert found, said
    return found[1].strip()


def answer(status: str, *fields: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body


def refuse(client: socket.socket, _: bytes) -> None:
    client.sendall(answer("503 Service Unavailable"))


def upgrading(talk: Callable[[socket.socket], None]) -> Handler:
    """A WebSocket opens, its first command comes, then it is talked on; nothing else passes."""
    def handle(client: socket.socket, head: bytes) -> None:
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", head)
        if not key:
            refuse(client, head)
            return
        accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        client.recv(4096)
        talk(client)

    return handle


def frame(opcode: int, payload: bytes, final: bool = True) -> bytes:
    size = len(payload)
    length = bytes([size]) if size < 126 else bytes([126]) + size.to_bytes(2, "big")
    return bytes([0x80 * final | opcode]) + length + payload


def endless(*frames: bytes) -> Handler:
    def talk(client: socket.socket) -> None:
        client.sendall(frames[0])
        while True:
            client.sendall(frames[-1] * 100)

    return upgrading(talk)


def say(frame_bytes: bytes) -> Handler:
    def talk(client: socket.socket) -> None:
        client.sendall(frame_bytes)
        client.recv(4096)

    return upgrading(talk)


@pytest.mark.parametrize("handler", [
    endless(frame(1, b"x" * 60000)), endless(frame(9, b"p" * 100)),
    pytest.param(endless(frame(1, b"x", final=False), frame(0, b"x" * 60000, final=False)), marks=pytest.mark.long),
], ids=["messages", "pings", "fragments"])
def test_who_never_ends_does_not_keep_it(handler: Handler) -> None:
    begun = time.monotonic()
    status, said = check(handler)
    assert status == 3 and verdict(said, "sse") == "does not pass: answered 503"
    assert not verdict(said, "websocket").startswith("passes") and time.monotonic() - begun < PATIENCE


COLOURS = "\x1b]0;title\x07\x1b[31mred\x9b2J"


@pytest.mark.parametrize(("handler", "way", "expected"), [
    (lambda client, _: client.sendall(answer(f"404 {COLOURS}", f"Server: {COLOURS}")), "websocket",
     "does not pass: answered 404 ?]0;title??[31mred?2J by ?]0;title??[31mred?2J"),
    (lambda client, _: client.sendall(answer(f"404 {COLOURS}", f"Server: {COLOURS}")), "sse", "does not pass: answered 404 by ?]0;title??[31mred?2J"),
    (lambda client, _: client.sendall(answer("200 OK", f"Content-Type: {COLOURS}")), "poll", "does not pass: an answer of another kind (?]0;title??[31mred?2J)"),
    (say(frame(1, b'{"op":"error"\x1b[31m\r\n\x07}')), "websocket", 'does not pass: {"op":"error"?[31m???}'),
    (lambda client, _: client.sendall(b"HTTP/"), "websocket", "does not pass: an answer that is not HTTP"),
    (lambda client, _: client.sendall(b"HTTP/1\r\n\r\n" + b"z" * 30000), "websocket", "does not pass: an answer that is not HTTP"),
    (lambda client, _: None, "websocket", "does not pass: no answer to the handshake"),
    (say(frame(8, b"\x03\xf3")), "websocket", "does not pass: closed with 1011"),
    (say(bytes([0x81, 127]) + (1 << 40).to_bytes(8, "big") + b"x"), "websocket", "does not pass: frames came that are none of ours"),
], ids=["reason", "server", "type", "error", "short", "no version", "nothing", "close", "a terabyte"])
def test_what_others_say_is_told_fit_for_a_terminal(handler: Handler, way: str, expected: str) -> None:
    status, said = check(handler)
    assert status == 3 and verdict(said, way) == expected, said


def test_where_nothing_can_be_published_nothing_is_said_to_pass() -> None:
    def handle(client: socket.socket, head: bytes) -> None:
        if b"transport=sse" not in head:
            refuse(client, head)
            return
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: here\n\n")
        client.recv(1)

    status, said = check(handle)
    assert status == 3 and verdict(said, "sse") == "opens; nothing could be published to see more", said


def test_a_weak_tag_is_gone_on_from_as_a_strong_one() -> None:
    asked: list[str] = []

    def handle(client: socket.socket, head: bytes) -> None:
        if b"transport=json" not in head:
            refuse(client, head)
            return
        asked.append(re.search(rb"since=([^& ]*)", head)[1].decode())  # type: ignore[index]
        if len(asked) > 2:
            client.recv(1)
            return
        tag = ('W/"c1"', '"c2"')[len(asked) - 1]
        client.sendall(answer("200 OK", "Content-Type: application/json", f"ETag: {tag}", "Connection: close", body=b"{}"))

    check(handle)
    assert asked == ["now", "c1", "c2"]
