# SPDX-License-Identifier: MIT
"""Clients on plain sockets: what is sent is exactly what the test says, what is read is kept as it came."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from .server import PATIENCE, Server

CHANNEL_SAFE = "/-_.~:@!$'()*+,;="


class Ended(AssertionError):
    """The server has ended what was to go on."""


class Refused(AssertionError):
    """The server has answered otherwise than was asked for."""

    def __init__(self, answer: object) -> None:
        super().__init__(answer)
        self.answer = answer


@dataclass
class Response:
    status: int
    version: str
    fields: list[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        assert self.header("Content-Type") == "application/json", self
        assert set(self.json) == {"error", "message"} and self.json["message"], self.json
        return self.json["error"]

    @property
    def reset(self) -> str | None:
        """What Sluice-Reset says, without the names of the channels."""
        text = self.header("Sluice-Reset")
        return text and re.sub(r'; channel="[^"]*"', "", text)

    @property
    def cursor(self) -> str:
        tag = self.header("ETag")
        assert tag and tag.startswith('"') and tag.endswith('"'), self
        return tag.strip('"').partition("~")[0]


class Connection:
    """One connection; reads responses one after another."""

    timeout = PATIENCE  # of each call

    def __init__(self, server: Server, host: str = "127.0.0.1", source: str | None = None, receive_buffer: int = 0) -> None:
        """A host that begins with a slash is a Unix socket's path. With a small buffer the kernel keeps little for the client, on the server's side too: that goes by the segment's size."""
        is_unix = host.startswith("/")
        self.socket = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.socket.settimeout(self.timeout)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect(host if is_unix else (host, server.port))
        if not is_unix:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.secure(server)
        self.buffer = b""

    def secure(self, server: Server) -> None:
        if tls := getattr(server, "tls", None):
            self.socket = tls.wrap(self.socket)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_bytewise(self, data: bytes) -> None:
        for i in range(len(data)):
            self.socket.sendall(data[i:i + 1])

    def receive(self) -> bool:
        """Reads some more; false at the end of the connection."""
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError):
            data = b""
        self.buffer += data
        return bool(data)

    def has_more(self) -> bool:
        """Reads what is there, without waiting; of TLS also what is not of the answer."""
        self.socket.settimeout(0)
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            self.receive()
        self.socket.settimeout(self.timeout)
        return bool(self.buffer)

    def read_until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            if not self.receive():
                raise Ended(f"the connection ended before {mark!r}: {self.buffer!r}")
        head, self.buffer = self.buffer.split(mark, 1)
        return head + mark

    def read_exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not self.receive():
                raise Ended(f"the connection ended after {len(self.buffer)} of {size} bytes")
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def read_to_end(self) -> bytes:
        while self.receive():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def read_head(self) -> Response:
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, _ = (lines[0] + "  ").split(" ", 2)
        fields = [(name, value.strip()) for name, value in (line.split(":", 1) for line in lines[1:] if line)]
        return Response(int(status), version, fields)

    def read_chunk(self) -> bytes:
        size = int(self.read_until(b"\r\n"), 16)
        data = self.read_exactly(size)
        assert self.read_exactly(2) == b"\r\n"
        return data

    def read_response(self, head_only: bool = False) -> Response:
        response = self.read_head()
        if head_only or response.status in (204, 304):
            return response
        if response.header("Transfer-Encoding") == "chunked":
            while chunk := self.read_chunk():
                response.body += chunk
        elif (length := response.header("Content-Length")) is not None:
            response.body = self.read_exactly(int(length))
        else:
            response.body = self.read_to_end()
        return response

    def request(self, method: str, target: str, body: bytes | str | None = None, *, version: str = "HTTP/1.1",
                **headers: str) -> Response:
        self.send(request_bytes(method, target, body, version=version, **headers))
        return self.read_response(head_only=method == "HEAD")

    def is_closed(self) -> bool:
        """Whether the server ends the connection without sending more."""
        return self.read_to_end() == b""


def request_bytes(method: str, target: str, body: bytes | str | None = None, *, version: str = "HTTP/1.1",
                  **headers: str) -> bytes:
    data = body.encode() if isinstance(body, str) else body
    lines = [f"{method} {target} {version}"]
    if "Host" not in headers:
        lines.append("Host: 127.0.0.1")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value]
    if data is not None:
        lines.append(f"Content-Length: {len(data)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (data or b"")


def path_of(channel: str, /, **query: object) -> str:
    text = urlencode({name: value for name, value in query.items() if value is not None})
    return f"/channels/{quote(channel, safe=CHANNEL_SAFE)}" + (f"?{text}" if text else "")


def request(server: Server, method: str, target: str, body: bytes | str | None = None, **headers: str) -> Response:
    with Connection(server) as connection:
        return connection.request(method, target, body, **headers)


def get(server: Server, target: str, **headers: str) -> Response:
    return request(server, "GET", target, **headers)


def publish(server: Server, channel: str, data: bytes | str = "x", **headers: str) -> str:
    """Publishes text, unless Content_Type says otherwise; returns the id."""
    headers.setdefault("Content_Type", "text/plain")
    response = request(server, "POST", path_of(channel), data, **headers)
    assert response.status in (200, 201), response
    return response.json["id"]


def messages(server: Server, channel: str, **headers: str) -> list[dict[str, Any]]:
    """All that is kept, page after page."""
    told: list[dict[str, Any]] = []
    cursor: str | None = "earliest"
    while (answer := get(server, path_of(channel, since=cursor, wait=0), Accept="application/json", **headers)).status == 200:
        told += answer.json["messages"]
        cursor = answer.cursor
    assert answer.status == 204, answer
    return told


def texts(server: Server, channel: str) -> list[str]:
    return [message["data"] for message in messages(server, channel)]


def subscribers(server: Server, channel: str) -> dict[str, int]:
    """None of any kind while there is no such channel."""
    answer = get(server, f"/api/channels/{channel}")
    return answer.json["subscribers"] if answer.status == 200 else defaultdict(int)


@dataclass
class Event:
    id: str | None = None
    event: str | None = None
    data: str | None = None
    retry: str | None = None
    comments: list[str] = field(default_factory=list)


class Stream(Connection):
    """An open response that goes on: Server-Sent Events or NDJSON."""

    def __init__(self, server: Server, target: str, accept: str, *, method: str = "GET", version: str = "HTTP/1.1",
                 receive_buffer: int = 0, **headers: str) -> None:
        super().__init__(server, receive_buffer=receive_buffer)
        self.send(request_bytes(method, target, b"" if method == "POST" else None, version=version, Accept=accept, **headers))
        self.response = self.read_head()
        self.is_chunked = self.response.header("Transfer-Encoding") == "chunked"
        # Only a proxy compresses, where the client asks for it.
        is_compressed = self.response.header("Content-Encoding") == "gzip"
        self.inflate = zlib.decompressobj(wbits=31).decompress if is_compressed else bytes
        self.text = b""
        self.has_ended = False
        self.ended_cleanly = False

    def more(self) -> bool:
        if self.is_chunked:
            try:
                chunk = self.read_chunk()
            except AssertionError:
                chunk, self.has_ended = b"", True
                return False
            self.ended_cleanly = not chunk
        else:
            if not self.buffer:  # what came with the head is there already
                self.receive()
            chunk, self.buffer = self.buffer, b""
        self.has_ended = not chunk
        self.text += self.inflate(chunk)
        return bool(chunk)

    def until(self, mark: bytes) -> bytes | None:
        while mark not in self.text:
            if not self.more():
                return None
        head, self.text = self.text.split(mark, 1)
        return head


class EventStream(Stream):
    def __init__(self, server: Server, target: str, **options: Any) -> None:
        super().__init__(server, target, "text/event-stream", **options)

    def next_block(self) -> Event | None:
        """What stands up to the next empty line; None at the end."""
        block = self.until(b"\n\n")
        if block is None:
            return None
        event = Event()
        for line in block.decode().split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "":
                event.comments.append(value)
            elif name == "data":
                event.data = value if event.data is None else f"{event.data}\n{value}"
            else:
                assert name in ("id", "event", "retry"), line
                setattr(event, name, value)
        return event

    def next_event(self) -> Event:
        """The next message or reset: what stands behind the opening."""
        while (event := self.next_block()) is not None:
            if event.event != "subscribed":
                return event
        raise Ended("the stream ended")


class LineStream(Stream):
    def __init__(self, server: Server, target: str, **options: Any) -> None:
        super().__init__(server, target, "application/x-ndjson", **options)

    def next_line(self) -> Any:
        while True:
            line = self.until(b"\n")
            if line is None:
                raise Ended("the stream ended")
            if line:
                return json.loads(line)
