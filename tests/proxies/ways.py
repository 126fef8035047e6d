# SPDX-License-Identifier: MIT
"""Each way to receive, as a client that goes on with its cursor after every loss, and keeps account of what it was told and when."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from typing import Any

from frame import Route
from support.client import Connection, Ended, EventStream, LineStream, Refused, Response, path_of
from support.legacy import STREAMS
from support.sockjs_commands import Commands
from support.websocket import WebSocket

KINDS = ("poll", "sse", "stream", "xhr", "multipart", "htmlfile", "websocket", "ws", "sockjs-websocket", "sockjs-xhr_streaming", "sockjs-xhr")
TITLES = {"poll": "long-poll", "sse": "SSE", "stream": "NDJSON", "xhr": "XHR", "multipart": "multi-part", "htmlfile": "html-file",
          "websocket": "WebSocket feed", "ws": "/ws", "sockjs-websocket": "SockJS WebSocket", "sockjs-xhr_streaming": "SockJS streaming",
          "sockjs-xhr": "SockJS polling"}
# Longer than any silence between two heartbeats.
SILENCE_S = 120.0
AGAIN_S = 0.1


class Way(threading.Thread):
    """Follows a channel from a cursor on until it is closed. `told` gets the time, id and data of each message."""

    def __init__(self, route: Route, kind: str, channel: str, since: str, **query: object) -> None:
        super().__init__(daemon=True)
        self.route, self.kind, self.channel, self.cursor, self.query = route, kind, channel, since, query
        self.told: queue.Queue[tuple[float, str, Any]] = queue.Queue()
        self.opened = threading.Event()
        self.opened_s = 0.0
        self.losses = 0
        self.refusal: Response | None = None
        self.fault = ""
        self.is_closed = False
        self.client: Any = None
        self.begun = time.monotonic()
        self.start()

    def __str__(self) -> str:
        return f"{self.kind} through {self.route.title}: {self.fault}"

    def __enter__(self) -> Way:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def run(self) -> None:
        while not self.is_closed:
            try:
                getattr(self, "follow_" + self.kind.split("-")[0])()
            except Exception as fault:  # noqa: BLE001 - what a connection ends with is told by the test
                self.fault = f"{type(fault).__name__}: {fault}"[:300]
                if isinstance(fault, Refused) and isinstance(fault.answer, Response):
                    self.refusal = fault.answer
            finally:
                self.drop()
            self.losses += 1
            time.sleep(AGAIN_S)

    def connection(self) -> Connection | None:
        client = self.client
        return client.receiver if isinstance(client, Commands) else client  # type: ignore[return-value]

    def cut(self) -> None:
        """The network is gone, or the page. Only the thread itself closes: its descriptor would be somebody else's in its next call."""
        if connection := self.connection():
            with contextlib.suppress(OSError, ValueError):
                connection.socket.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        if connection := self.connection():
            connection.close()
        self.client = None

    def close(self) -> None:
        self.is_closed = True
        self.cut()

    def target(self, transport: str, **more: object) -> str:
        return self.route.base + path_of(self.channel, since=self.cursor, transport=transport, **self.query, **more)

    def open(self, client: Any) -> None:
        self.client = client
        client.socket.settimeout(SILENCE_S)
        if getattr(client, "response", None) is not None and client.response.status not in (101, 200):
            raise Refused(client.response)

    def has_opened(self) -> None:
        if not self.opened.is_set():
            self.opened_s = time.monotonic() - self.begun
            self.opened.set()

    def tell(self, cursor: str, name: str, data: Any) -> None:
        self.cursor = cursor
        self.told.put((time.monotonic(), name, data))

    def take(self, timeout: float) -> tuple[float, str, Any] | None:
        try:
            return self.told.get(timeout=timeout)
        except queue.Empty:
            return None

    def take_object(self, told: dict[str, Any]) -> None:
        if "data" in told and "id" in told:
            self.tell(told.get("cursor", told["id"]), told["id"], told["data"])
        assert "reset" not in told and told.get("op") != "reset", told

    def ask(self) -> Response:
        """A kept connection that has ended meanwhile is no loss: every client takes another one then."""
        for is_again in (False, True):
            if self.client is None:
                self.open(Connection(self.route))  # type: ignore[arg-type]
            try:
                answer = self.client.request("GET", self.target("json", **({} if self.opened.is_set() else {"wait": 0})))
                break
            except Ended:
                if is_again or self.is_closed or self.client is None or self.client.buffer:
                    raise
                self.drop()
        if answer.header("Connection") == "close" or answer.version == "HTTP/1.0":
            self.drop()
        if answer.status not in (200, 204):
            raise Refused(answer)
        return answer

    def follow_poll(self) -> None:
        while not self.is_closed:
            answer = self.ask()
            self.has_opened()
            for told in answer.json["messages"] if answer.status == 200 else []:
                self.take_object(told)
            self.cursor = answer.json["cursor"] if answer.status == 200 else answer.cursor

    def follow_sse(self) -> None:
        self.open(EventStream(self.route, self.target("sse"), Accept_Encoding="gzip"))  # type: ignore[arg-type]
        while (block := self.client.next_block()) is not None:
            self.has_opened()
            assert block.event != "reset", block
            if block.event is None and block.data is not None:
                self.tell(block.id, block.id, block.data)

    def follow_stream(self) -> None:
        self.open(LineStream(self.route, self.target("stream"), Accept_Encoding="gzip"))  # type: ignore[arg-type]
        while True:
            line = self.client.next_line()
            self.has_opened()
            self.take_object(line)

    def follow_old(self) -> None:
        callback = {"callback": "Page.take_1"} if self.kind == "htmlfile" else {}
        target = self.route.base + path_of(self.channel, since=self.cursor, **self.query)
        self.open(STREAMS[self.kind](self.route, target, Accept_Encoding="gzip"))
        assert callback or self.kind != "htmlfile"
        while True:
            told = self.client.next_object()
            self.has_opened()
            self.take_object(told)

    follow_xhr = follow_multipart = follow_htmlfile = follow_old

    def follow_websocket(self) -> None:
        target = self.route.base + path_of(self.channel, since=self.cursor, format="json")
        self.open(WebSocket(self.route, target))  # type: ignore[arg-type]
        while True:
            told = self.client.take_json()
            self.has_opened()
            self.take_object(told)

    def follow_ws(self) -> None:
        self.open(WebSocket(self.route, f"{self.route.base}/ws"))  # type: ignore[arg-type]
        self.client.put_json({"op": "subscribe", "ref": 1, "channel": self.channel, "since": self.cursor})
        while True:
            told = self.client.take_json()
            assert told["op"] in ("subscribed", "message"), told
            self.has_opened()
            self.take_object(told)

    def follow_sockjs(self) -> None:
        self.client = client = Commands(self.route, self.kind.removeprefix("sockjs-"), f"{self.route.base}/sockjs")  # type: ignore[arg-type]
        client.put("subscribe", ref=1, channel=self.channel, since=self.cursor)
        while True:
            told = client.get()
            assert told["op"] in ("subscribed", "message"), told
            self.has_opened()
            self.take_object(told)


def beginning(route: Route, channel: str) -> str:
    """The cursor from which everything that will be published is told, asked for past the proxy."""
    with Connection(route.server) as connection:
        return connection.request("GET", path_of(channel, wait=0, transport="json")).cursor


def following(route: Route, kind: str, channel: str, **query: object) -> Way:
    return Way(route, kind, channel, beginning(route, channel), **query)
