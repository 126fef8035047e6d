# SPDX-License-Identifier: MIT
"""One subscriber of each kind behind the same few words: it is told one thing after another."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import Any

from .client import Connection, EventStream, LineStream, Response, path_of
from .commands import raw_commands
from .server import Server
from .sockjs_commands import Commands
from .tcp import Raw, Resp, command
from .websocket import WebSocket

Told = dict[str, Any]
# Those that tell whole objects; then those that tell less.
OBJECTS = ("stream", "sse-objects", "websocket", "json", "ws", "sockjs-xhr", "sockjs-websocket", "sockjs-eventsource",
           "lines")
BARE = ("sse", "poll", "tcp-crlf", "tcp-nul", "tcp-len32", "websocket-raw")
KINDS = OBJECTS + BARE
REDIS_CLIENTS = ("resp", "resp-3")  # who subscribe, from now on, and NAME/** is NAME/* for them
# For a server that all of these can use.
LISTENERS = ("--tcp", "127.0.0.1:0 framing=crlf", "--tcp", "127.0.0.1:0 framing=nul", "--tcp", "127.0.0.1:0 framing=len32",
             "--tcp", "127.0.0.1:0 framing=resp", "--websocket-ping", "0")


@dataclass
class Reader:
    """Open when it is made: what is published from then on it is told. `next` gives what its kind can say of a message, of
    `data`, `id`, `channel`, `tree`, `event`, `key`, `stored`; a reset has `reset`."""

    server: Server
    kind: str
    channel: str
    since: str = ""
    query: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        self.waiting: deque[Told] = deque()
        self.cursor = self.since
        self.client: Any = None
        self.raw: Raw | None = None
        getattr(self, "open_" + self.kind.split("-")[0])()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *failure: object) -> None:
        (self.raw or self.client).close()

    def target(self, **more: object) -> str:
        begin = {"since": self.cursor} if self.cursor else {}
        return path_of(self.channel, **begin, **dict(self.query), **more)

    def next(self) -> Told:
        while not self.waiting:
            getattr(self, "read_" + self.kind.split("-")[0])()
        told = self.waiting.popleft()
        if "cursor" in told or ("id" in told and not self.channel.endswith("/**")):
            self.cursor = told.get("cursor", told.get("id"))
        return told

    def take(self, count: int) -> list[Any]:
        """The data of the next messages; a reset is the word for it."""
        return [told["reset"]["reason"] if "reset" in told else told["data"] for told in (self.next() for _ in range(count))]

    def open_stream(self) -> None:
        self.client = LineStream(self.server, self.target())
        self.cursor = self.client.next_line()["cursor"]

    def read_stream(self) -> None:
        self.waiting.append(self.client.next_line())

    def open_sse(self) -> None:
        more = {"format": "json"} if self.kind == "sse-objects" else {}
        self.client = EventStream(self.server, self.target(**more))
        self.cursor = self.client.next_block().id

    def read_sse(self) -> None:
        event = self.client.next_event()
        if event.event == "reset":
            self.waiting.append({"reset": json.loads(event.data), "id": event.id})
        elif self.kind == "sse-objects":
            told = json.loads(event.data)
            assert told["id"] in event.id.split(".") and told.get("event") == event.event, (told, event)
            self.waiting.append(told)
        else:
            self.waiting.append({"data": event.data, "id": event.id, "event": event.event})

    def open_websocket(self) -> None:
        more = {} if self.kind == "websocket-raw" else {"format": "json"}
        if self.kind == "websocket-raw":
            # It says nothing when it is subscribed: on a node that has the channel in use it is at once.
            with LineStream(self.server, path_of(self.channel)) as stream:
                stream.next_line()
        self.client = WebSocket(self.server, self.target(**more))
        if self.kind != "websocket-raw":
            self.cursor = self.client.take_json()["cursor"]

    def read_websocket(self) -> None:
        self.waiting.append({"data": self.client.take()} if self.kind == "websocket-raw" else self.client.take_json())

    def open_poll(self) -> None:
        self.client = Connection(self.server)
        self.cursor = self.cursor or self.ask(wait=0).cursor

    open_json = open_poll

    def ask(self, **more: object) -> Response:
        accept = {"Accept": "application/json"} if self.kind == "json" else {}
        return self.client.request("GET", self.target(**more), **accept)

    def read_poll(self) -> None:
        answer = self.ask()
        self.cursor = answer.cursor
        if answer.reset:
            self.waiting.append({"reset": {"reason": answer.reset.split(";")[0]}})
        if answer.status == 200:
            names = ("id", "channel", "tree", "event", "key", "store")
            found = {name: answer.header("Sluice-" + name) for name in names}
            told = {name: value for name, value in found.items() if value is not None}
            if told.pop("store", None) == "no":
                told["stored"] = False
            self.waiting.append({"data": answer.body.decode(), **told})

    def read_json(self) -> None:
        answer = self.ask()
        if answer.status == 200:
            self.cursor = answer.json["cursor"]
            self.waiting.extend({"reset": reset} for reset in answer.json.get("reset", []))
            self.waiting.extend(answer.json["messages"])

    def open_sockjs(self) -> None:
        self.client = Commands(self.server, self.kind.removeprefix("sockjs-"))
        self.subscribe()

    def open_ws(self) -> None:
        self.client = Commands(self.server, "ws")
        self.subscribe()

    def subscribe(self) -> None:
        since = {"since": self.cursor} if self.cursor else {}
        answer = self.client.subscribe(self.channel, **since, **dict(self.query))
        self.cursor = answer["cursor"]

    def read_ws(self) -> None:
        told = self.client.take("message", "reset")
        self.waiting.append({"reset": told} if told["op"] == "reset" else told)

    read_sockjs = read_ws

    def open_lines(self) -> None:
        self.raw = Raw(self.server)
        self.client = raw_commands(self.raw)
        self.subscribe()

    read_lines = read_ws

    def open_tcp(self) -> None:
        index = ("tcp-crlf", "tcp-nul", "tcp-len32").index(self.kind)
        self.client = Raw(self.server, index, (b"\r\n", b"\0", None)[index])
        assert self.client.ask(f"SUBSCRIBE {self.channel} {self.cursor}".encode()) == b"CONFIRMED"

    def read_tcp(self) -> None:
        frame = self.client.take().decode()
        told = {"reset": {"reason": frame.split()[2]}} if frame.startswith("RESET ") else {"data": frame}
        self.waiting.append(told)

    def open_resp(self) -> None:
        self.client = Resp(self.server, 3)
        if self.kind == "resp-3":
            self.client.run("HELLO", "3")
        is_pattern = self.channel.endswith("/**")
        self.client.send(command(*(("PSUBSCRIBE", self.channel[:-1]) if is_pattern else ("SUBSCRIBE", self.channel))))
        assert self.resp_reply()[0] in (b"subscribe", b"psubscribe")

    def resp_reply(self) -> list[Any]:
        """An answer, or what comes by itself: a push in version 3."""
        line = self.client.take()
        assert line[:1] in (b"*", b">"), line
        return [self.client.value(self.client.take()) for _ in range(int(line[1:]))]

    def read_resp(self) -> None:
        channel, data = (word.decode() for word in self.resp_reply()[-2:])
        self.waiting.append({"reset": {"reason": data.split()[2]}} if channel == "$reset" else {"data": data, "channel": channel})
