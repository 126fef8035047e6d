# SPDX-License-Identifier: MIT
"""The command protocol over every transport of SockJS, with one face; what a transport says is read as sockjs-client reads it."""

from __future__ import annotations

import json
from urllib.parse import quote

from . import commands
from .client import Connection, Refused, request_bytes
from .server import Server
from .sockjs import FORM, FrameStream, Session, messages_of, streaming
from .websocket import WebSocket

STREAMS = ("xhr_streaming", "eventsource", "htmlfile")
TRANSPORTS = ("websocket", "raw", *STREAMS, "xhr", "jsonp")


class Commands(commands.Commands):
    """A session of a service that speaks commands, or "ws", the server's own address for them; open when it is made."""

    def __init__(self, server: Server, transport: str, service: str = "/sockjs") -> None:
        super().__init__(self.send_text, self.receive_text)
        self.session = Session(server, service)
        self.transport = transport
        self.waiting: list[str] = []  # messages of a frame that have not been taken
        self.receiver: WebSocket | FrameStream | Connection | None = None
        self.is_framed = transport not in ("raw", "ws")
        if not self.is_framed:
            self.receiver = WebSocket(server, "/ws" if transport == "ws" else f"{service}/websocket")
        elif transport == "websocket":
            self.receiver = WebSocket(server, f"{self.session.url}/websocket")
            assert self.receiver.take() == "o"
        else:
            assert self.frame() == "o"

    def __enter__(self) -> Commands:
        return self

    def __exit__(self, *failure: object) -> None:
        self.cut()

    def cut(self) -> None:
        """The network is gone: whatever receives ends."""
        if self.receiver:
            self.receiver.close()
            self.receiver = None

    close = cut

    def frame(self) -> str:
        """The next frame; a response that has ended is followed by the next."""
        while True:
            if self.transport in STREAMS:
                if not isinstance(self.receiver, FrameStream):
                    self.receiver = streaming(self.session, self.transport)
                found = self.receiver.frame()
                if found is not None:
                    return found
                self.cut()
            else:
                return self.poll()

    def poll(self) -> str:
        """Leaves the poll open to be cut when it takes too long."""
        method, target = ("POST", "xhr") if self.transport == "xhr" else ("GET", "jsonp?c=x")
        self.receiver = Connection(self.session.server)
        self.receiver.send(request_bytes(method, f"{self.session.url}/{target}", b"" if method == "POST" else None,
                                         Cookie=self.session.cookie))
        response = self.session.keep_cookie(self.receiver.read_response())
        self.cut()
        if response.status != 200:
            raise Refused(response)
        text = response.body.decode()
        return text.removesuffix("\n") if method == "POST" else json.loads(text.removeprefix("/**/x(").removesuffix(");\r\n"))

    def receive_text(self) -> str:
        """The next object that the server says."""
        while not self.waiting:
            if not self.is_framed:
                assert isinstance(self.receiver, WebSocket)
                self.waiting = [str(self.receiver.take())]
            else:
                frame = self.receiver.take() if isinstance(self.receiver, WebSocket) else self.frame()
                if frame != "h":
                    self.waiting = messages_of(str(frame))
        return self.waiting.pop(0)

    def send_text(self, text: str) -> None:
        if isinstance(self.receiver, WebSocket):
            self.receiver.put_text(json.dumps([text]) if self.is_framed else text)
        elif self.transport == "jsonp":
            response = self.session.post("jsonp_send", f"d={quote(json.dumps([text]))}", Content_Type=FORM)
            if response.status != 200:
                raise Refused(response)
        else:
            self.session.put(text)
