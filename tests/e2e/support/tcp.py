# SPDX-License-Identifier: MIT
"""Raw TCP clients: plain sockets that speak lines, NUL-terminated or length-prefixed frames."""

from __future__ import annotations

import socket
import ssl
import struct

from .client import Connection
from .server import PATIENCE, Server


def tcp_addresses(server: Server) -> list[str]:
    lines = server.ready_file.read_text().splitlines()
    return [line.removeprefix("tcp ") for line in lines if line.startswith("tcp ")]


def tcp_port(server: Server, index: int = 0) -> int:
    return int(tcp_addresses(server)[index].rsplit(":", 1)[1])


class Raw(Connection):
    """A connection to a raw TCP listener; `ends` is what each frame ends with, None for a length before it."""

    def __init__(self, server: Server, index: int = 0, ends: bytes | None = b"\r\n") -> None:
        address = tcp_addresses(server)[index]
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address.removeprefix("unix:"))
        else:
            host, port = address.rsplit(":", 1)
            self.socket = socket.create_connection((host.strip("[]"), int(port)), PATIENCE)
            self.secure(server)
        self.socket.settimeout(PATIENCE)
        self.buffer = b""
        self.ends = ends

    def put(self, *frames: bytes) -> None:
        self.send(b"".join(struct.pack(">I", len(frame)) + frame if self.ends is None else frame + self.ends
                           for frame in frames))

    def take(self) -> bytes:
        if self.ends is None:
            return self.read_exactly(struct.unpack(">I", self.read_exactly(4))[0])
        return self.read_until(self.ends).removesuffix(self.ends)

    def ask(self, frame: bytes) -> bytes:
        self.put(frame)
        return self.take()

    def has_nothing(self) -> bool:
        """Whether nothing more comes before the answer to a PING."""
        return self.ask(b"PING") == b"PONG"


def command(*words: str | bytes) -> bytes:
    """A command of the Redis protocol."""
    texts = [word.encode() if isinstance(word, str) else word for word in words]
    return f"*{len(texts)}\r\n".encode() + b"".join(b"$%d\r\n%s\r\n" % (len(text), text) for text in texts)


class Resp(Raw):
    """A client of the Redis protocol, of a server or of a Redis on a port. Errors are the text of their line, `-` included; pushes stand in `pushes`."""

    def __init__(self, server: Server | None, index: int = 0, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        if server:
            super().__init__(server, index)
        else:
            self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
            if tls:
                self.socket = tls.wrap_socket(self.socket)
            self.buffer, self.ends = b"", b"\r\n"
        self.pushes: list[object] = []

    def reply(self) -> object:
        while (line := self.take())[:1] == b">":
            self.pushes.append([self.value(self.take()) for _ in range(int(line[1:]))])
        return self.value(line)

    def value(self, line: bytes) -> object:
        """The value that begins with this line; there is no push in it."""
        mark, rest = line[:1], line[1:]
        assert mark in b"+-:$*%_", line
        if mark in b"+-":
            return line.decode()
        if mark == b":":
            return int(rest)
        if mark == b"_" or rest == b"-1":
            return None
        if mark == b"$":
            data = self.read_exactly(int(rest))
            assert self.read_exactly(2) == b"\r\n"
            return data
        return [self.value(self.take()) for _ in range(int(rest) * (2 if mark == b"%" else 1))]

    def run(self, *words: str | bytes) -> object:
        self.send(command(*words))
        return self.reply()

    def run_all(self, *commands: str) -> list[object]:
        self.send(b"".join(command(*text.split(" ")) for text in commands))
        return [self.reply() for _ in commands]
