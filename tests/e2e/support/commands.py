# SPDX-License-Identifier: MIT
"""The command protocol over whatever carries it: every frame that is sent and got is checked against its schema in docs/schema."""

from __future__ import annotations

import itertools
import json
import threading
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, RefResolver

from .client import Refused
from .server import SOURCE
from .tcp import Raw

FOLDER = SOURCE / "docs" / "schema"
_lock = threading.Lock()  # a resolver keeps where it is while it validates


@cache
def schema(folder: str, op: str) -> Draft202012Validator:
    path = FOLDER / folder / f"{op}.json"
    text = json.loads(path.read_text())
    Draft202012Validator.check_schema(text)
    return Draft202012Validator(text, resolver=RefResolver(path.as_uri(), text))


def check_request(request: dict[str, Any]) -> None:
    with _lock:
        schema("request", request["op"]).validate(request)


def check_answer(answer: dict[str, Any]) -> None:
    with _lock:
        schema("answer", answer["op"]).validate(answer)


class Commands:
    """A client of the protocol. `send` takes one frame's text, `receive` returns one or raises.

    What comes while something else is awaited is kept for its own turn.
    """

    def __init__(self, send: Callable[[str], object], receive: Callable[[], str | bytes]) -> None:
        self.send, self.receive = send, receive
        self.refs = itertools.count(1)
        self.kept: deque[dict[str, Any]] = deque()

    def put_text(self, text: str) -> None:
        """As it is, right or wrong."""
        self.send(text)

    def put(self, op: str, **members: Any) -> Any:
        """Sends a command that the schema allows; returns its ref, a new number unless `ref` is given."""
        request = {"op": op, "ref": next(self.refs), **members}
        check_request(request)
        self.send(json.dumps(request))
        return request["ref"]

    def get(self) -> dict[str, Any]:
        """The next frame from the wire."""
        answer = json.loads(self.receive())
        check_answer(answer)
        return answer

    def take(self, *ops: str, ref: Any = None) -> dict[str, Any]:
        """The next one with one of these ops (any when none is named) and, unless it is None, with this ref."""
        def fits(answer: dict[str, Any]) -> bool:
            return (not ops or answer["op"] in ops) and (ref is None or answer.get("ref") == ref)

        for answer in self.kept:
            if fits(answer):
                self.kept.remove(answer)
                return answer
        while not fits(answer := self.get()):
            self.kept.append(answer)
        return answer

    def ask(self, op: str, **members: Any) -> dict[str, Any]:
        """The answer to a command, be it an error."""
        return self.take(ref=self.put(op, **members))

    def ask_text(self, text: str) -> dict[str, Any]:
        """The next frame that is no message."""
        self.send(text)
        return self.take("error", "subscribed", "unsubscribed", "published", "history", "pong")

    def error(self, op: str, **members: Any) -> str:
        answer = self.ask(op, **members)
        assert answer["op"] == "error", answer
        return answer["code"]

    def subscribe(self, *channels: str, **members: Any) -> dict[str, Any]:
        answer = self.ask("subscribe", channels=list(channels), **members)
        assert answer["op"] == "subscribed" and answer["channels"] == list(channels), answer
        return answer

    def publish(self, channel: str, data: Any, **members: Any) -> str:
        """Returns the id."""
        answer = self.ask("publish", channel=channel, data=data, **members)
        assert answer["op"] == "published" and answer["channel"] == channel, answer
        return answer["id"]

    def history(self, channel: str, **members: Any) -> dict[str, Any]:
        answer = self.ask("history", channel=channel, **members)
        assert answer["op"] == "history" and answer["channel"] == channel, answer
        return answer

    def next_message(self) -> dict[str, Any]:
        """A reset is not passed over."""
        answer = self.take("message", "reset")
        assert answer["op"] == "message", answer
        return answer

    def next_data(self) -> Any:
        return self.next_message()["data"]

    def has_nothing(self) -> bool:
        """Whether nothing more comes before the answer to a ping."""
        ref = self.put("ping")
        return not self.kept and self.get() == {"op": "pong", "ref": ref}


def raw_commands(raw: Raw) -> Commands:
    """Over a connection to a raw TCP listener."""
    answer = raw.ask(b"FORMAT json")
    if answer != b"CONFIRMED":
        raise Refused(answer)
    return Commands(lambda text: raw.put(text.encode()), raw.take)
