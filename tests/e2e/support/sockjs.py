# SPDX-License-Identifier: MIT
"""Clients of SockJS 0.3.3 on plain sockets: what each transport says is kept to the byte."""

from __future__ import annotations

import itertools
import json
import os
from typing import Any
from urllib.parse import quote

from .client import Connection, Ended, Refused, Response, Stream, request, request_bytes
from .server import Server, wait_until

# What the SockJS project's own suite asks of a server under test, and the command protocol.
SERVICES = ("/echo app=echo", "/disabled_websocket_echo app=echo websocket=no", "/cookie_needed_echo app=echo cookie=yes",
            "/close app=close")
SUITE = tuple(itertools.chain.from_iterable(("--sockjs", f"{each} response-limit=4096 legacy=yes") for each in SERVICES))

PRELUDE = b"h" * 2048 + b"\n"
GO_AWAY = 'c[3000,"Go away!"]'
ANOTHER = 'c[2010,"Another connection still open"]'
INTERRUPTED = 'c[1002,"Connection interrupted"]'
FORM = "application/x-www-form-urlencoded"
ESCAPED_BY_SERVER = [*range(0x200c, 0x2010), *range(0x2028, 0x2030), *range(0x2060, 0x2070), *range(0xfff0, 0x10000)]

_numbers = itertools.count(1)


class Session:
    """The URLs of one session, which is new unless it is named; each request comes over a connection of its own."""

    def __init__(self, server: Server, service: str = "/echo", name: str | None = None, node: str = "000") -> None:
        self.server, self.service = server, service
        self.cookie = ""  # what was set last; goes with each request
        self.name = name or f"s{os.getpid()}-{next(_numbers)}"
        self.url = f"{service}/{node}/{self.name}"

    def post(self, transport: str, body: bytes | str | None = b"", **headers: str) -> Response:
        return self.keep_cookie(request(self.server, "POST", f"{self.url}/{transport}", body, **{"Cookie": self.cookie, **headers}))

    def get(self, transport: str, **headers: str) -> Response:
        return self.keep_cookie(request(self.server, "GET", f"{self.url}/{transport}", **{"Cookie": self.cookie, **headers}))

    def keep_cookie(self, response: Response) -> Response:
        """As a browser does."""
        self.cookie = (response.header("Set-Cookie") or self.cookie).split(";")[0]
        return response

    def poll(self, **headers: str) -> bytes:
        """The frame that a poll is answered by, with its delimiter."""
        response = self.post("xhr", **headers)
        assert response.status == 200, response
        return response.body

    def open(self) -> Session:
        assert self.poll() == b"o\n"
        return self

    def put(self, *messages: str) -> None:
        """Sends messages as sockjs-client does."""
        response = self.post("xhr_send", json.dumps(messages), Content_Type="text/plain")
        if response.status != 204:
            raise Refused(response)
        assert not response.body, response

    def jsonp(self, callback: str = "x") -> bytes:
        response = self.get(f"jsonp?c={quote(callback, safe='')}")
        assert response.status == 200, response
        return response.body

    def take_messages(self) -> list[str]:
        """What the next array frame holds; heartbeats are passed over."""
        while (frame := self.poll()) == b"h\n":
            pass
        return messages_of(frame.decode().removesuffix("\n"))


def messages_of(frame: str) -> list[str]:
    if frame.startswith("c["):
        raise Ended(frame)
    assert frame.startswith("a["), frame
    return json.loads(frame[1:])


class FrameStream(Stream):
    """A streaming receiver of a session: `frame()` is the next frame without what the transport puts around it."""

    FORMS = {"xhr_streaming": (b"", b"\n"), "eventsource": (b"data: ", b"\r\n\r\n"), "htmlfile": (b"<script>\np(", b");\n</script>\r\n")}

    def __init__(self, session: Session, transport: str = "xhr_streaming", query: str = "", **options: Any) -> None:
        self.before, self.behind = self.FORMS[transport]
        self.is_quoted = transport == "htmlfile"
        super().__init__(session.server, f"{session.url}/{transport}{query}", "*/*",
                         method="POST" if transport == "xhr_streaming" else "GET", **{"Cookie": session.cookie, **options})
        session.keep_cookie(self.response)

    def prelude(self) -> bytes:
        """What stands before the first frame."""
        mark = {"": b"\n", "data: ": b"\r\n"}.get(self.before.decode(), b"\r\n\r\n")
        found = self.until(mark)
        if found is None:
            raise Ended("the stream ended in its prelude")
        return found + mark

    def raw(self) -> bytes | None:
        """The next frame with what the transport puts around it; None at the end."""
        found = self.until(self.behind)
        return None if found is None else found + self.behind

    def frame(self) -> str | None:
        found = self.raw()
        if found is None:
            assert self.text == b"", f"the stream ended within a frame: {self.text!r}"
            return None
        assert found.startswith(self.before), found
        text = found[len(self.before):-len(self.behind)].decode()
        return json.loads(text) if self.is_quoted else text

    def next_messages(self) -> list[str]:
        while (frame := self.frame()) == "h":
            pass
        if frame is None:
            raise Ended("the stream ended")
        return messages_of(frame)


def streaming(session: Session, transport: str = "xhr_streaming", **options: Any) -> FrameStream:
    """An open stream whose prelude has been read."""
    stream = FrameStream(session, transport, "?c=x" if transport == "htmlfile" else "", **options)
    if stream.response.status != 200:
        raise Refused(stream.response)
    stream.prelude()
    return stream


def held_poll(session: Session, transport: str = "xhr") -> Connection:
    """A poll that is known to wait: of two, one is turned away."""
    method, target = ("POST", "xhr") if transport == "xhr" else ("GET", "jsonp?c=x")
    polls = [Connection(session.server) for _ in range(2)]
    for poll in polls:
        poll.send(request_bytes(method, f"{session.url}/{target}", b"" if method == "POST" else None, Cookie=session.cookie))
    wait_until(lambda: any(poll.has_more() for poll in polls), what="the answer to one of two polls")
    first, second = sorted(polls, key=lambda poll: bool(poll.buffer))
    assert "Another connection" in second.read_response().body.decode()
    second.close()
    return first


def info(server: Server, service: str, **headers: str) -> Any:
    response = request(server, "GET", f"{service}/info", **headers)
    assert response.status == 200, response
    return response.json


def content_type(response: Response) -> str:
    return (response.header("Content-Type") or "").replace(" ", "").lower()


def check_not_cached(response: Response) -> None:
    """sockjs-node since 0.3.19 adds no-transform, so that nothing compresses a stream on its way."""
    names = (response.header("Cache-Control") or "").split(", ")
    assert [name for name in names if name != "no-transform"] == ["no-store", "no-cache", "must-revalidate", "max-age=0"], response
    assert response.header("Expires") is None and response.header("Last-Modified") is None
