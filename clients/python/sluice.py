# SPDX-License-Identifier: MIT
"""A client of Sluice for programs, in one file without dependencies (Python 3.9 or newer): copy it.

    import sluice
    client = sluice.Client("http://127.0.0.1:8080")
    client.publish("news", {"title": "Hello"})
    for told in client.subscribe("news", since="earliest"):
        if isinstance(told, sluice.Message):
            print(told.channel, told.data)

A subscription goes on where it was after every loss, at the node that a stopping server names: nothing is missed or told twice, and
a gap is told as a Reset. A publish is repeated until it is accepted, with an idempotency key, so that it is published once. What
trying again does not help against is raised as a SluiceError. One client may be used by any number of threads.
"""
from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import random
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Optional, Union
from urllib.parse import quote, urlencode, urlsplit

DELAY_S = 0.5
DELAY_MAX_S = 15.0
SILENCE_S = 40.0  # a stream has a heartbeat every 15 s: one that is silent for longer is dead
LOSSES = (OSError, http.client.HTTPException, ValueError)  # of a head that was cut no more is left than a body that is no JSON
TOKEN_ENDS = ("token-expired", "token-revoked")
PASSING = {408, 425, 429, 500, 502, 503, 504}


class SluiceError(Exception):
    """The server refuses: `status` is that of HTTP, `code` one of docs/ERRORS.md, the text its sentence."""
    def __init__(self, status: int, code: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after = status, code, retry_after


@dataclass(frozen=True)
class Message:
    """`data` is str, bytes, or what JSON makes of it; `time` is in ms since 1970; `cursor` says where to go on. `tree` is the channel
    in whose log the message stands, where it was published to `channel` below that."""

    channel: str
    id: str
    time: int
    type: str
    data: Any
    event: str
    producer: str
    key: str
    tree: str
    stored: bool
    cursor: str


@dataclass(frozen=True)
class Reset:
    """Not everything since the last message can be told (docs/PROTOCOL.md); None where the number is not known."""
    channel: str
    reason: str
    missed: Optional[int]
    withdrawn: Optional[int]
    cursor: str


@dataclass(frozen=True)
class Published:
    id: str
    time: int


Token = Union[str, Callable[[], str], None]


def _encode(data: Any) -> tuple[bytes, str]:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data), "application/octet-stream"
    if isinstance(data, str):
        return data.encode(), "text/plain; charset=utf-8"
    return json.dumps(data, separators=(",", ":")).encode(), "application/json"


def _message(line: dict[str, Any], cursor: str) -> Message:
    data = base64.b64decode(line["data"]) if line["type"] == "binary" else line["data"]
    words = (line.get(name, "") for name in ("event", "producer", "key", "tree"))
    return Message(line["channel"], line["id"], line["time"], line["type"], data, *words, line.get("stored", True), cursor)


class Client:
    """The server at `url`, which may have a path. `token` is one, or a function that is asked for one before each request."""

    def __init__(self, url: str = "http://127.0.0.1:8080", token: Token = None, timeout: float = 10.0,
                 context: Optional[ssl.SSLContext] = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url}: expected http://HOST:PORT or https://HOST:PORT")
        self._parts, self._token, self._timeout, self._context = parts, token, timeout, context

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._context)
        return http.client.HTTPConnection(host, port, timeout=self._timeout)

    def _ask(self, connection: http.client.HTTPConnection, method: str, path: str, body: Optional[bytes] = None,
             **headers: str) -> http.client.HTTPResponse:
        token = self._token() if callable(self._token) else self._token
        if token:
            headers["Authorization"] = f"Bearer {token}"
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, self._parts.path.rstrip("/") + path, body, fields)
        response = connection.getresponse()
        if response.status < 300:
            return response
        code, message = "", f"the answer was {response.status} {response.reason}"
        with contextlib.suppress(ValueError, KeyError, TypeError):
            said = json.loads(response.read())
            code, message = str(said["error"]), str(said["message"])
        raise SluiceError(response.status, code, message, float(response.headers.get("Retry-After") or 0))

    def publish(self, channel: str, data: Any, *, idempotency_key: str = "", patience: float = 30.0, **options: str) -> Published:
        """Publishes text (str), bytes, or anything else as JSON; `options` are event, ttl, key, store, producer (docs/PROTOCOL.md). Raises
        SluiceError when it is refused, and the last error after `patience` seconds of trying."""
        body, kind = _encode(data)
        path = f"/channels/{quote(channel)}{'?' + urlencode(options) if options else ''}"
        key, end = idempotency_key or uuid.uuid4().hex, time.monotonic() + patience
        for delay in _delays():
            try:
                with contextlib.closing(self._connect()) as connection:
                    said = json.loads(self._ask(connection, "POST", path, body, Content_Type=kind, Idempotency_Key=key).read())
                    return Published(said["id"], said["time"])
            except (*LOSSES, SluiceError) as fault:
                wait = _wait(fault, delay)
                if time.monotonic() + wait > end:
                    raise
                time.sleep(wait)
        raise AssertionError

    def last(self, channel: str, count: int = 1) -> list[Message]:
        """The last messages of a channel that are kept, the oldest first. Raises SluiceError or OSError."""
        with contextlib.closing(self._connect()) as connection:
            response = self._ask(connection, "GET", f"/channels/{quote(channel)}?transport=json&wait=0&last={count}")
            return [_message(line, line["id"]) for line in (json.loads(response.read() or "{}").get("messages", []))]

    def subscribe(self, *channels: str, since: str = "now", patience: float = float("inf")) -> Iterator[Union[Message, Reset]]:
        """Tells messages and resets for ever, until it is closed. `since` is a cursor, `now`, `earliest` or `last=N`. Raises
        SluiceError when it is refused, and the last error after `patience` seconds without a connection."""
        first, *others = channels
        at, cursor, delays, end = self, since, _delays(), time.monotonic() + patience
        while True:
            query = urlencode([("transport", "stream"), ("since", cursor), *(("channel", name) for name in others)])
            fault: Exception = ConnectionError("the stream has ended")
            try:
                with contextlib.closing(at._connect()) as connection:
                    connection.connect()
                    connection.sock.settimeout(SILENCE_S)
                    response = at._ask(connection, "GET", f"/channels/{quote(first)}?{query}")
                    while (text := response.readline()).endswith(b"\n"):
                        line = json.loads(text) if text.strip() else {}
                        if "error" in line:
                            status = 503 if line["error"] == "stopping" else 401
                            fault = SluiceError(status, line["error"], line["message"], line.get("retry_after", 0))
                            if elsewhere := line.get("alternatives"):
                                at = Client(random.choice(elsewhere), self._token, self._timeout, self._context)
                            break
                        cursor = line.get("cursor", cursor)
                        delays, end = _delays(), time.monotonic() + patience
                        if "reset" in line:
                            reset = line["reset"]
                            yield Reset(reset["channel"], reset["reason"], reset.get("missed"), reset.get("withdrawn"), cursor)
                        elif "id" in line:
                            yield _message(line, cursor)
            except (*LOSSES, SluiceError) as caught:
                at, fault = self, caught
            # A token that is over may be followed by another one.
            is_over = isinstance(fault, SluiceError) and fault.code in TOKEN_ENDS and callable(self._token)
            wait = next(delays) if is_over else _wait(fault, next(delays))
            if time.monotonic() + wait > end:
                raise fault
            time.sleep(wait)


def _delays() -> Iterator[float]:
    return (min(DELAY_S * 2 ** min(attempt, 16), DELAY_MAX_S) * random.uniform(0.5, 1.0) for attempt in itertools.count())


def _wait(fault: Exception, delay: float) -> float:
    """How long to wait before it is tried again; raises what does not pass by itself."""
    if isinstance(fault, SluiceError) and fault.status not in PASSING:
        raise fault
    return max(getattr(fault, "retry_after", 0.0), delay)
