# SPDX-License-Identifier: MIT
"""Clients of the old streams. Each reads what it gets as strictly as it can be read, and says it as objects of the NDJSON stream."""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import urlencode

from .client import Connection, Ended, Response, Stream, get
from .server import Server

BOUNDARY = b"--sluice-part-7d2f94e1b60c\r\n"
CALLBACK = "Page.take_1"
PAGE = re.compile(rb'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>\w+</title></head><body>\n'
                  rb"<script>function p\(m\)\{[^<>]*parent\.([A-Za-z0-9_.]+)\(m\)\}</script>\n {1024,}\n")
PARSED = re.compile(r'"data":JSON\.parse\(("(?:[^"\\]|\\.)*")\)\}')


def with_query(target: str, **query: object) -> str:
    return target + ("&" if "?" in target else "?") + urlencode(query)


def read_script(text: bytes) -> Any:
    """The value of an expression that may stand in a script element."""
    for forbidden in (b"</", b"<!", "\u2028".encode(), "\u2029".encode(), b"\n"):
        assert forbidden not in text, text
    expression = text.decode()
    parsed = PARSED.search(expression)
    if parsed and expression.endswith(parsed[0]):
        return {**json.loads(expression[:parsed.start()].removesuffix(",") + "}"), "data": json.loads(json.loads(parsed[1]))}
    return json.loads(expression)


class XhrStream(Stream):
    """What an XMLHttpRequest shows at readyState 3, line by line."""

    def __init__(self, server: Server, target: str, **options: Any) -> None:
        super().__init__(server, with_query(target, transport="xhr"), "*/*", **options)

    def next_object(self) -> dict[str, Any]:
        while True:
            line = self.until(b"\n")
            if line is None:
                raise Ended("the stream ended")
            if line:
                return json.loads(line)

    def next_heartbeat(self) -> None:
        assert self.until(b"\n") == b""


class HtmlStream(Stream):
    """A forever iframe."""

    def __init__(self, server: Server, target: str, **options: Any) -> None:
        super().__init__(server, with_query(target, transport="htmlfile", callback=CALLBACK), "text/html", **options)
        self.page = b""

    def next_object(self) -> dict[str, Any]:
        if not self.page:
            page = self.until(b" \n")
            if page is None:
                raise Ended("the stream ended")
            self.page = page.lstrip(b"\n") + b" \n"
            match = PAGE.fullmatch(self.page)
            assert match and match[1].decode() == CALLBACK, self.page
        script = self.until(b"</script>\n")
        if script is None:
            raise Ended("the stream ended")
        script = script.lstrip(b"\n")
        assert script.startswith(b"<script>p(") and script.endswith(b")"), script
        return read_script(script[len(b"<script>p("):-1])

    def next_heartbeat(self) -> None:
        assert self.until(b"\n") == b""


class PartStream(Stream):
    """multipart/x-mixed-replace. What stands among the fields of a part that is still to come is told at once."""

    def __init__(self, server: Server, target: str, **options: Any) -> None:
        super().__init__(server, with_query(target, transport="multipart"), "*/*", **options)
        self.fields: dict[str, str] = {}

    def exactly(self, size: int) -> bytes:
        while len(self.text) < size:
            if not self.more():
                raise Ended("the stream ended")
        data, self.text = self.text[:size], self.text[size:]
        return data

    def next_field(self) -> tuple[str, str] | None:
        """None at the end of the fields."""
        line = self.until(b"\r\n")
        if line is None:
            raise Ended("the stream ended")
        if not line:
            return None
        name, _, value = line.decode().partition(": ")
        return name, value

    def next_heartbeat(self) -> None:
        field = self.next_field()
        assert field and field[0] == "Sluice-Heartbeat" and int(field[1]) > 1_600_000_000_000

    def next_part(self) -> tuple[dict[str, str], bytes]:
        """The fields behind what was told of already, and the data."""
        while (field := self.next_field()) is not None:
            assert field[0] not in self.fields or field[0] in ("Sluice-Cursor", "Sluice-Heartbeat"), field
            self.fields[field[0]] = field[1]
        fields, self.fields = self.fields, {}
        data = self.exactly(int(fields["Content-Length"]))
        assert self.exactly(2 + len(BOUNDARY)) == b"\r\n" + BOUNDARY
        if fields.get("Content-Transfer-Encoding") == "base64":
            data = base64.b64decode(data, validate=True)
        return fields, data

    def next_object(self) -> dict[str, Any]:
        while True:
            field = self.next_field()
            if field is None:
                assert not self.fields, f"a part without a length: {self.fields}"
                continue  # a heartbeat before the first boundary
            name, value = field
            if name == BOUNDARY.decode().strip():
                continue
            assert name not in self.fields or name in ("Sluice-Cursor", "Sluice-Heartbeat"), field
            if name == "Sluice-Recovered":
                return {"cursor": self.fields.pop("Sluice-Cursor"), "recovered": json.loads(value)}
            if name == "Sluice-Reset":
                return self.reset(value, self.fields.pop("Sluice-Cursor"))
            self.fields[name] = value
            if name == "Content-Length":
                return self.message(*self.next_part())

    @staticmethod
    def reset(value: str, cursor: str) -> dict[str, Any]:
        reason, *parameters = value.split("; ")
        numbers = {name: json.loads(number) for name, number in (parameter.split("=", 1) for parameter in parameters)}
        return {"cursor": cursor, "reset": {"reason": reason, **numbers, "cursor": cursor}}

    @staticmethod
    def message(fields: dict[str, str], data: bytes) -> dict[str, Any]:
        kinds = {"text/plain": "text", "application/json": "json"}
        kind = kinds.get(fields["Content-Type"].partition(";")[0], "binary")
        values = {"text": bytes.decode, "json": json.loads, "binary": lambda value: base64.b64encode(value).decode()}
        optional = {name: fields[f"Sluice-{name.title()}"] for name in ("event", "producer") if f"Sluice-{name.title()}" in fields}
        return {"cursor": fields["Sluice-Cursor"], "channel": fields["Sluice-Channel"], "id": fields["Sluice-Id"],
                "time": int(fields["Sluice-Time"]), **optional, "type": kind, "data": values[kind](data)}


STREAMS = {"xhr": XhrStream, "multipart": PartStream, "htmlfile": HtmlStream}


def read_call(response: Response, callback: str = CALLBACK) -> Any:
    """What a script that was loaded calls the function with."""
    assert response.header("Content-Type") == "text/javascript; charset=utf-8"
    assert response.header("X-Content-Type-Options") == "nosniff" and "no-store" in (response.header("Cache-Control") or "")
    begin, end = f"/**/{callback}(".encode(), b");\n"
    assert response.body.startswith(begin) and response.body.endswith(end), response.body
    for forbidden in (b"</", b"<!", "\u2028".encode(), "\u2029".encode()):
        assert forbidden not in response.body, response.body
    text = response.body[len(begin):-len(end)].decode()
    text = re.sub(r'JSON\.parse\(("(?:[^"\\]|\\.)*")\)', lambda parsed: json.loads(parsed[1]), text)
    return json.loads(text)


def jsonp(server: Server, target: str, callback: str = CALLBACK, **headers: str) -> Any:
    response = get(server, with_query(target, transport="jsonp", callback=callback), **headers)
    assert response.status == 200, response
    return read_call(response, callback)


def call(connection: Connection, target: str, callback: str = CALLBACK) -> Any:
    return read_call(connection.request("GET", with_query(target, transport="jsonp", callback=callback)), callback)
