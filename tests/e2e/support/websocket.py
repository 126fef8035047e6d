# SPDX-License-Identifier: MIT
"""A WebSocket client on a plain socket: every frame is as the test says, what is read is kept as it came."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
from dataclasses import dataclass
from typing import Any

from .client import Connection, Ended, Refused, request_bytes
from .server import Server

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
ACCEPT_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass
class Frame:
    opcode: int
    data: bytes = b""
    is_final: bool = True
    reserved: int = 0

    @property
    def close(self) -> tuple[int, str]:
        """What a close frame says; 1005 when nothing."""
        assert self.opcode == CLOSE, self
        return (int.from_bytes(self.data[:2], "big") if self.data else 1005), self.data[2:].decode()


def frame_bytes(opcode: int, data: bytes | str = b"", *, is_final: bool = True, reserved: int = 0,
                mask: bytes | None = b"\x12\x34\x56\x78") -> bytes:
    """A frame as a client sends it, or without a mask as it must not."""
    payload = data.encode() if isinstance(data, str) else data
    size = len(payload)
    length = bytes([size]) if size < 126 else struct.pack(">BH", 126, size) if size < 1 << 16 else struct.pack(">BQ", 127, size)
    head = bytes([is_final << 7 | reserved << 4 | opcode, length[0] | (0x80 if mask is not None else 0)]) + length[1:]
    if mask is None:
        return head + payload
    keys = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(size, "big")


def handshake_bytes(target: str, key: str, **headers: str) -> bytes:
    fields = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Key": key, "Sec_WebSocket_Version": "13", **headers}
    return request_bytes("GET", target, **fields)


class WebSocket(Connection):
    """Open when it is made; `response` is the 101."""

    def __init__(self, server: Server, target: str, *protocols: str, receive_buffer: int = 0, **headers: str) -> None:
        super().__init__(server, receive_buffer=receive_buffer)
        key = base64.b64encode(os.urandom(16)).decode()
        if protocols:
            headers["Sec_WebSocket_Protocol"] = ", ".join(protocols)
        self.send(handshake_bytes(target, key, **headers))
        self.response = self.read_head()
        if self.response.status != 101:
            raise Refused(self.response)
        expected = base64.b64encode(hashlib.sha1(key.encode() + ACCEPT_SUFFIX).digest()).decode()
        assert self.response.header("Sec-WebSocket-Accept") == expected, self.response

    @property
    def protocol(self) -> str | None:
        return self.response.header("Sec-WebSocket-Protocol")

    def put(self, opcode: int, data: bytes | str = b"") -> None:
        self.send(frame_bytes(opcode, data))

    def put_text(self, text: str) -> None:
        self.put(TEXT, text)

    def put_json(self, value: Any) -> None:
        self.put_text(json.dumps(value))

    def put_close(self, code: int = 1000, reason: str = "") -> None:
        self.put(CLOSE, struct.pack(">H", code) + reason.encode())

    def take_frame(self) -> Frame:
        """The next frame, whatever it is; a server's is not masked, and whole."""
        first, second = self.read_exactly(2)
        assert not second & 0x80, "a server does not mask"
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(self.read_exactly(2 if size == 126 else 8), "big")
        return Frame(first & 0x0F, self.read_exactly(size), bool(first & 0x80), first >> 4 & 7)

    def take(self) -> str | bytes:
        """The next message, text or bytes; pings are answered."""
        while True:
            frame = self.take_frame()
            assert frame.is_final and not frame.reserved, frame
            if frame.opcode == PING:
                self.put(PONG, frame.data)
            elif frame.opcode == TEXT:
                return frame.data.decode()
            elif frame.opcode == BINARY:
                return frame.data
            elif frame.opcode == CLOSE:
                raise Ended(f"closed with {frame.close}")
            else:
                assert frame.opcode == PONG, frame

    def take_json(self) -> Any:
        return json.loads(self.take())

    def take_close(self) -> tuple[int, str]:
        """Drops what comes before it, answers it and awaits the end of the connection."""
        while (frame := self.take_frame()).opcode != CLOSE:
            pass
        code_and_reason = frame.close
        self.put(CLOSE, frame.data[:2])
        assert self.is_closed()
        return code_and_reason
