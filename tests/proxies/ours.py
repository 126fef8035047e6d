#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Proxies of ours, which do what some in the world do.

  whole   speaks HTTP/1.0 and passes an answer on when it has all of it
  block   passes an answer on in pieces of 4 KB
  cut     ends every connection after some seconds
  strip   drops header fields that were not in HTTP/1.1 of 1999

Each knows Upgrade unless --no-upgrade.
"""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass

BLOCK = 4096
# RFC 2616, RFC 6265, and RFC 6454 as the oldest of browsers send it.
KNOWN = set("""accept accept-charset accept-encoding accept-language accept-ranges age allow authorization cache-control connection content-encoding
content-language content-length content-location content-md5 content-range content-type cookie date etag expect expires from host if-match
if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards origin pragma proxy-authenticate
proxy-authorization range referer retry-after server set-cookie te trailer transfer-encoding upgrade user-agent vary via warning
www-authenticate""".split())


@dataclass
class Head:
    first: str
    fields: list[tuple[str, str]]

    def get(self, name: str) -> str:
        return ", ".join(value for key, value in self.fields if key.lower() == name)

    def drop(self, *names: str) -> None:
        self.fields = [(key, value) for key, value in self.fields if key.lower() not in names]

    def bytes(self) -> bytes:
        return "".join([self.first + "\r\n", *(f"{key}: {value}\r\n" for key, value in self.fields), "\r\n"]).encode("latin-1")


async def read_head(reader: asyncio.StreamReader) -> Head:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    return Head(lines[0], [(name, value.strip()) for name, value in (line.split(":", 1) for line in lines[1:] if line)])


class Body:
    """How an answer's body is passed on: as it comes, in blocks, or whole."""

    def __init__(self, writer: asyncio.StreamWriter, block: int) -> None:
        self.writer, self.block, self.kept = writer, block, b""

    def put(self, data: bytes) -> None:
        self.kept += data
        size = len(self.kept) - len(self.kept) % self.block if self.block else len(self.kept)
        self.writer.write(self.kept[:size])
        self.kept = self.kept[size:]

    def end(self) -> None:
        self.writer.write(self.kept)
        self.kept = b""


class Proxy:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        work = self.requests(reader, writer)
        try:
            await (asyncio.wait_for(work, self.options.seconds) if self.options.way == "cut" else work)
        except (OSError, EOFError, ValueError, asyncio.TimeoutError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.transport.abort() if self.options.way == "cut" else writer.close()

    async def requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            is_upgrade = "upgrade" in head.get("connection").lower() and not self.options.no_upgrade
            self.rewrite_request(head, is_upgrade)
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.options.target, limit=1 << 20)
            try:
                up_writer.write(head.bytes() + await reader.readexactly(int(head.get("content-length") or 0)))
                answering = asyncio.ensure_future(self.answer(head, up_reader, writer))
                leaving = asyncio.ensure_future(self.upwards(reader, up_writer) if is_upgrade else self.gone(reader))
                await asyncio.wait([leaving, answering], return_when=asyncio.FIRST_COMPLETED)
                is_kept = answering.done() and answering.result() and not is_upgrade
                for task in (leaving, answering):
                    task.cancel()
                await asyncio.gather(leaving, answering, return_exceptions=True)
                if not is_kept:
                    return
            finally:
                up_writer.close()

    def rewrite_request(self, head: Head, is_upgrade: bool) -> None:
        if not is_upgrade:
            head.drop("connection", "upgrade", "keep-alive", "transfer-encoding")
            head.fields.append(("Connection", "close"))
        if self.options.way == "whole" and not is_upgrade:
            head.first = head.first.replace("HTTP/1.1", "HTTP/1.0")
        if self.options.way == "strip":
            head.fields = [field for field in head.fields if field[0].lower() in KNOWN]

    @staticmethod
    async def upwards(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)

    @staticmethod
    async def gone(reader: asyncio.StreamReader) -> None:
        """Ends when the client does; what it has sent meanwhile is for later."""
        while not reader.at_eof() and reader.exception() is None:
            await asyncio.sleep(0.05)

    async def answer(self, request: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Passes an answer on. Returns whether the connection may be kept."""
        head = await read_head(reader)
        way = self.options.way
        status = int(head.first.split()[1])
        if status == 101:
            writer.write(head.bytes())
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            return False
        if way == "strip":
            head.fields = [field for field in head.fields if field[0].lower() in KNOWN]
        length, is_chunked = head.get("content-length"), "chunked" in head.get("transfer-encoding")
        is_empty = status in (204, 304) or request.first.startswith("HEAD ")
        is_kept = way != "whole" and (is_empty or bool(length) or is_chunked)
        head.drop("connection", "keep-alive")
        head.fields.append(("Connection", "keep-alive" if is_kept else "close"))
        body = Body(writer, BLOCK if way == "block" else 1 << 40 if way == "whole" else 0)
        if way == "whole":
            head.first = head.first.replace("HTTP/1.1", "HTTP/1.0")
        body.put(head.bytes())
        if not is_empty:
            await self.pass_body(reader, writer, body, int(length) if length else None, is_chunked)
        body.end()
        await writer.drain()
        return is_kept

    @staticmethod
    async def pass_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: Body, length: int | None, is_chunked: bool) -> None:
        if is_chunked:
            while True:
                line = await reader.readuntil(b"\r\n")
                size = int(line, 16)
                body.put(line + await reader.readexactly(size + 2))
                await writer.drain()
                if size == 0:
                    return
        while length is None or length > 0:
            data = await reader.read(1 << 16 if length is None else min(length, 1 << 16))
            if not data:
                assert length is None, "the answer was cut"
                return
            length = None if length is None else length - len(data)
            body.put(data)
            await writer.drain()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=("whole", "block", "cut", "strip"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--no-upgrade", action="store_true")
    proxy = Proxy(parser.parse_args())
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", proxy.options.port, limit=1 << 20)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
