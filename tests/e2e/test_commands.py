# SPDX-License-Identifier: MIT
"""The command protocol, over raw TCP after FORMAT json: every frame is checked against docs/schema by the client."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.client import publish, request, subscribers
from support.commands import Commands, raw_commands
from support.server import Server, wait_until
from support.tcp import Raw

CRLF, NUL, LEN32 = range(3)
ENDS = {CRLF: b"\r\n", NUL: b"\0", LEN32: None}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    options = [word for text in ("crlf", "nul", "len32") for word in ("--tcp", f"127.0.0.1:0 framing={text}")]
    with Server(*options, "--message-size", "2000000", "--history-size", "3000", "--shards", "2") as running:
        yield running


@contextmanager
def commands(server: Server, index: int = CRLF) -> Iterator[Commands]:
    with Raw(server, index, ENDS[index]) as raw:
        yield raw_commands(raw)


@pytest.mark.parametrize("index", [CRLF, NUL, LEN32])
def test_every_command_and_its_answer(server: Server, channel: str, index: int) -> None:
    with commands(server, index) as client:
        answer = client.subscribe(channel)
        assert answer["recovered"] is False and answer["cursor"].endswith("-0")
        name = client.publish(channel, "follow the white rabbit", event="hint", producer="trinity")
        message = client.next_message()
        assert message == {"op": "message", "channel": channel, "id": name, "time": message["time"], "event": "hint",
                           "producer": "trinity", "type": "text", "data": "follow the white rabbit"}
        del message["op"]
        assert client.history(channel) == {"op": "history", "ref": 3, "channel": channel, "messages": [message], "cursor": name}
        assert client.ask("unsubscribe", channels=[channel])["channels"] == [channel]
        publish(server, channel)
        assert client.has_nothing()
