# SPDX-License-Identifier: MIT
"""What stands between Sluice and Redis: a relay that cuts, delays, splits and swallows, and peers that are no Redis."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any

from .redis import OVER_TLS, SCHEME, Port, asking_context, redis_pair
from .server import PATIENCE

SUBSCRIBES = re.compile(rb"\r\n[SP]?SUBSCRIBE\r\n", re.IGNORECASE)


def frame_end(data: bytes | bytearray, at: int = 0) -> int | None:
    """Where the reply that begins at `at` ends; None if it has not all come."""
    line_end = data.find(b"\r\n", at)
    if line_end < 0:
        return None
    kind, after = data[at:at + 1], line_end + 2
    if kind not in b"*>~%$=|":
        return after
    size = int(data[at + 1:line_end])
    if kind in b"$=":
        after += size + 2 if size >= 0 else 0
        return after if after <= len(data) else None
    for _ in range(size * (2 if kind in b"%|" else 1)):
        end = frame_end(data, after)
        if end is None:
            return None
        after = end
    return after


def serving_context() -> ssl.SSLContext | None:
    if not OVER_TLS:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(redis_pair().cert, redis_pair().key)
    return context


class Link:
    """One connection through the relay."""

    def __init__(self, relay: Relay, to_sluice: asyncio.StreamWriter, to_redis: asyncio.StreamWriter) -> None:
        self.relay, self.to_sluice, self.to_redis = relay, to_sluice, to_redis
        # With TLS a writer that has ended does not tell its socket any more.
        self.sockets = [writer.get_extra_info("socket") for writer in (to_sluice, to_redis)]
        self.is_subscription = False
        self.is_held = False  # nothing is read any more, in both directions; what was sent waits
        self.swallows_replies = False  # what Redis sends is thrown away
        self.swallows_requests = False  # what Sluice sends is thrown away

    async def requests(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(1 << 16):
            self.is_subscription = self.is_subscription or bool(SUBSCRIBES.search(data))
            if not self.swallows_requests:
                await self.relay.forward(self, self.relay.rewrite(data), self.to_redis)

    async def replies(self, reader: asyncio.StreamReader) -> None:
        pending = bytearray()
        while data := await reader.read(1 << 16):
            if self.relay.drop is not None:
                pending += data
                data = self.relay.sieve(pending)
            if data and not self.swallows_replies:
                await self.relay.forward(self, self.relay.rewrite(data), self.to_sluice)

    def end(self, is_abrupt: bool) -> None:
        for writer, stream in zip((self.to_sluice, self.to_redis), self.sockets):
            if is_abrupt and not writer.is_closing():
                with contextlib.suppress(OSError):
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            writer.close()


class Relay:
    """`with Relay(redis.port) as relay:`, then connect to `relay.url`; the knobs may be turned at any time. Where Redis speaks
    TLS, so does the relay, on both sides.

    `drop`, set before the first connection, is asked about each reply of Redis and leaves it out when it says so.
    """

    def __init__(self, target: int, drop: Callable[[bytes], bool] | None = None) -> None:
        self.target, self.drop = target, drop
        self.port = 0
        self.delay = 0.0  # seconds that each piece waits
        self.split = 0  # bytes of a piece at most; 0 leaves them as they come
        self.is_refusing = False  # new connections end at once
        self.rewrite: Callable[[bytes], bytes] = bytes  # what is made of each piece, whoever said it
        self.links: list[Link] = []
        self.accepted = 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)

    def __enter__(self) -> Relay:
        self.thread.start()
        self.server = self.run(asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=serving_context()))
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *failure: object) -> None:
        self.run(self.finish())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    @property
    def url(self) -> str:
        return f"{SCHEME}://127.0.0.1:{self.port}/0"

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    async def finish(self) -> None:
        self.server.close()
        for link in self.links:
            link.end(is_abrupt=True)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def serve(self, from_sluice: asyncio.StreamReader, to_sluice: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            assert not self.is_refusing
            from_redis, to_redis = await asyncio.open_connection("127.0.0.1", self.target, ssl=asking_context())
        except (AssertionError, OSError):
            to_sluice.close()
            return
        link = Link(self, to_sluice, to_redis)
        for stream in link.sockets:
            with contextlib.suppress(OSError):
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.links.append(link)
        directions = [asyncio.ensure_future(link.requests(from_sluice)), asyncio.ensure_future(link.replies(from_redis))]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            self.links.remove(link)
            link.end(is_abrupt=False)

    async def forward(self, link: Link, data: bytes, writer: asyncio.StreamWriter) -> None:
        size = self.split or len(data)
        for at in range(0, len(data), size):
            if self.delay:
                await asyncio.sleep(self.delay)
            while link.is_held:
                await asyncio.sleep(0.005)
            writer.write(data[at:at + size])
            await writer.drain()
            if self.split:
                await asyncio.sleep(0)

    def sieve(self, pending: bytearray) -> bytes:
        """Takes whole replies out of `pending`; returns those that are to go on."""
        kept = b""
        while pending and (end := frame_end(pending)) is not None:
            frame = bytes(pending[:end])
            del pending[:end]
            if not (self.drop and self.drop(frame)):
                kept += frame
        return kept

    def chosen(self, kind: str) -> list[Link]:
        """Links of `kind`: all, subscriptions or commands."""
        links = list(self.links)
        return links if kind == "all" else [link for link in links if link.is_subscription == (kind == "subscriptions")]

    def cut(self, kind: str = "all", is_abrupt: bool = True) -> int:
        async def end() -> int:
            links = self.chosen(kind)
            for link in links:
                link.end(is_abrupt)
            return len(links)

        return self.run(end())

    def swallow(self, kind: str = "all", replies: bool = True, requests: bool = False) -> None:
        """From now on these links look healthy and deliver nothing."""
        for link in self.chosen(kind):
            link.swallows_replies, link.swallows_requests = replies, requests

    def inject(self, kind: str, data: bytes) -> None:
        """As if Redis had said this."""
        async def say() -> None:
            for link in self.chosen(kind):
                link.to_sluice.write(data)

        self.run(say())

    def hold(self, kind: str = "all", is_held: bool = True) -> None:
        for link in self.chosen(kind):
            link.is_held = is_held


class Peer:
    """Something that listens where Redis should be; `talk` has each connection in a thread of its own."""

    def __init__(self, talk: Callable[[socket.socket], None]) -> None:
        self.talk = talk
        self.claim = Port()
        self.port = self.claim.number
        self.accepted = 0
        self.open: list[socket.socket] = []
        self.threads: list[threading.Thread] = []

    def __enter__(self) -> Peer:
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen()
        self.thread = threading.Thread(target=self.accept)
        self.thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()
        self.claim.release()

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(connection)
            self.accepted += 1
            thread = threading.Thread(target=self.serve, args=(connection,))
            self.threads.append(thread)
            thread.start()

    def serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.talk(connection)
            except OSError:
                pass

    def close(self) -> None:
        """Frees the port for a real Redis."""
        for listener in (self.listener, *self.open):
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.listener.close()
        for thread in (self.thread, *self.threads):
            thread.join()


def words_of(connection: socket.socket) -> list[bytes] | None:
    """Reads one command from a client of a peer that speaks as Redis does; None at the end."""
    stream = connection.makefile("rb", buffering=0)
    line = stream.readline()
    if not line:
        return None
    words = []
    for _ in range(int(line[1:])):
        size = int(stream.readline()[1:])
        word = b""
        while len(word) < size + 2:
            piece = stream.read(size + 2 - len(word))
            if not piece:
                return None
            word += piece
        words.append(word[:-2])
    return words
