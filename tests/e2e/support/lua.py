# SPDX-License-Identifier: MIT
"""sluice.lua in a real Redis without any node, called as nodes and applications call it, under a clock that a test may set."""

from __future__ import annotations

import re
import time
from typing import Any, NamedTuple

from .redis import RedisError, RedisServer, stream_key
from .server import SOURCE

FOLDER = SOURCE / "src/broker/redis"
CLOCK = "test:clock"
MASTER = "test:master"


class Publication(NamedTuple):
    id: str
    time: int
    was_known: int
    trees: tuple[str, ...] = ()  # where it is in their logs


class Entry(NamedTuple):
    offset: int
    fields: dict[str, bytes]

    @property
    def data(self) -> str:
        return self.fields["data"].decode()


class Reading(NamedTuple):
    epoch: str
    offset: int
    oldest: int
    now: int
    why: str
    before: list[str]  # forebears as EPOCH-OFFSET, the newest first
    published: int
    keep_ms: int
    entries: list[Entry]

    @property
    def offsets(self) -> list[int]:
        return [entry.offset for entry in self.entries]


class Inspection(NamedTuple):
    epoch: str
    offset: int
    oldest: int
    size: int
    published: int


def known(epoch: str, offset: int) -> str:
    return f"{epoch}-{offset}"


def feed_of(channel: str) -> str:
    return stream_key(channel).replace("}:s:", "}:p:")


def key_of(channel: str, key: str) -> str:
    """Of an idempotency key."""
    return f"{stream_key(channel).replace('}:s:', '}:k:')}#{key}"


def limits(keep: int = 100, keep_ms: int = 300_000, meta_ms: int = 3_600_000, key_ms: int = 120_000, size: int | None = None) -> str:
    return f"{keep} {keep_ms} {meta_ms} {key_ms}{'' if size is None else f' {size}'}"


def trees(*names: str, with_limits: str = limits()) -> str:
    """As a node names them."""
    return "".join(f"{len(name)} x {with_limits}\n" for name in names)


def read_library(name: str) -> str:
    """The text that library.c makes of sluice.lua."""
    declared = re.search(rf"const char {name}\[\] =(.*?);\n", (FOLDER / "library.c").read_text(), re.DOTALL)
    assert declared, f"library.c declares no {name}"
    lua = (FOLDER / "sluice.lua").read_text()
    pieces = re.findall(r'"((?:[^"\\]|\\.)*)"|SLUICE_LUA', declared[1])
    return "".join(piece.encode().decode("unicode_escape") if piece else lua for piece in pieces)


def replace_once(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old} occurs {text.count(old)} times"
    return text.replace(old, new)


class Library:
    """As functions of Redis 7 or, when `is_script`, as the script that a Redis 6 gets. `now_ms` None is the real time; `run` says
    which master it is, None where the caller may not ask."""

    def __init__(self, redis: RedisServer, is_script: bool) -> None:
        self.client = redis.client
        self.now_ms: int | None = None
        self.run: str | None = "a1"
        self.calls = 0
        self.is_script = is_script
        text = read_library("library_script" if is_script else "library_functions")
        text = replace_once(text, "redis.call('TIME')", f"redis.call('LRANGE', '{CLOCK}', 0, 1)")
        text = replace_once(text, "run == '' or run_ms ~= log.now", "true")
        text = replace_once(text, "redis.pcall('INFO', 'replication')", f"redis.pcall('GET', '{MASTER}')")
        if is_script:
            self.script = self.client.script_load(replace_once(text, "redis.REDIS_VERSION_NUM", "0x00060299"))
        else:
            self.client.execute_command("FUNCTION", "LOAD", "REPLACE", text)

    def call(self, name: str, keys: str | list[str], *words: Any) -> Any:
        now_ms = int(time.time() * 1000) if self.now_ms is None else self.now_ms
        self.calls += 1
        keys = [keys] if isinstance(keys, str) else keys
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.delete(CLOCK, MASTER)
            if self.run is not None:
                pipeline.set(MASTER, f"role:master\r\nmaster_replid:{self.run}\r\n")
            pipeline.rpush(CLOCK, now_ms // 1000, now_ms % 1000 * 1000 + self.calls % 1000)
            if self.is_script:
                pipeline.execute_command("EVALSHA", self.script, len(keys), *keys, name, *words)
            else:
                pipeline.execute_command("FCALL", f"sluice_{name}", len(keys), *keys, *words)
            reply = pipeline.execute(raise_on_error=False)[-1]
        if isinstance(reply, RedisError):
            raise reply
        return reply

    def publish(self, keys: str | list[str], data: bytes | str = "x", event: bytes | str = "", **options: Any) -> Publication:
        words = [word for pair in options.items() for word in pair]
        name, at, was_known, *trees = self.call("publish", keys, data, event, *words)
        return Publication(name.decode(), at, was_known, tuple(tree.decode() for tree in trees))

    def fill(self, channel: str, count: int, **options: Any) -> list[Publication]:
        return [self.publish(channel, str(number), **options) for number in range(1, count + 1)]

    def open(self, channel: str, known: str = "", forebears: str = "", with_limits: str = limits(), most: int = 1000,
             size: int = 1 << 20, *part: str) -> Reading:
        """`known` is an id, or empty."""
        epoch, _, offset = known.partition("-")
        return self.read_reply(self.call("open", channel, epoch, offset or 0, forebears, with_limits, most, size, *part))

    def read(self, channel: str, begin: int, end: int, most: int = 1000, size: int = 1 << 20) -> Reading | None:
        reply = self.call("read", channel, begin, end, most, size)
        return self.read_reply(reply) if reply else None

    def inspect(self, channel: str) -> Inspection | None:
        reply = self.call("inspect", channel)
        return Inspection(reply[0].decode(), *reply[1:]) if reply else None

    def purge(self, channel: str) -> int | None:
        reply = self.call("purge", channel)
        return reply[0] if reply else None

    def find(self, channel: str, since_ms: int, *marks: str) -> list[Any]:
        is_complete, *found = self.call("find", channel, since_ms, *marks)
        return [is_complete, *(answer.decode() for answer in found)]

    @staticmethod
    def read_reply(reply: list[Any]) -> Reading:
        epoch, offset, oldest, now, why, before, published, keep_ms, found = reply
        entries = []
        for name, words in found:
            number, _, rest = name.decode().partition("-")
            assert rest == "0", name
            entries.append(Entry(int(number), {words[i].decode(): words[i + 1] for i in range(0, len(words), 2)}))
        return Reading(epoch.decode(), offset, oldest, now, why.decode(), before.decode().split(), published, keep_ms, entries)


class Listener:
    """What Redis publishes on channels, sharded or not, as the library's nodes would hear it."""

    def __init__(self, lua: Library, *channels: str) -> None:
        self.lua = lua
        self.channels = channels
        self.connection = lua.client.connection_pool.make_connection()
        self.connection.connect()
        for channel in channels:
            self.connection.send_command("SUBSCRIBE" if lua.is_script else "SSUBSCRIBE", channel)
            self.connection.read_response()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *failure: object) -> None:
        self.connection.disconnect()

    def hear(self) -> tuple[str, bytes]:
        _, channel, payload = self.connection.read_response()
        return channel.decode(), payload

    def take(self) -> list[tuple[str, bytes]]:
        """All that has been published so far."""
        self.lua.client.execute_command("PUBLISH" if self.lua.is_script else "SPUBLISH", self.channels[0], "mark")
        return list(iter(self.hear, (self.channels[0], b"mark")))
