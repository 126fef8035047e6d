# SPDX-License-Identifier: MIT
"""Subscribers and publishers that keep account: what was accepted, what each subscriber saw, and what is wrong with it."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis import exceptions as redis_errors

from .client import Connection, EventStream, LineStream, Response, path_of
from .redis import RedisServer
from .server import PATIENCE, Server
from .websocket import WebSocket

END = "the end"
KINDS = ("sse", "stream", "poll", "websocket", "commands")


def split_id(name: str) -> tuple[str, int]:
    """The part that names the channel, and the offset: without a reset the log goes on, whatever epoch it gets."""
    epoch, offset = name.split("-")
    return epoch[:5], int(offset)


@dataclass
class Track:
    """What one subscriber saw of one channel. Each message must follow the one before it, unless a reset said otherwise."""

    channel: str
    begun: dict[str, int]  # the cursor it began with: offsets by what names the channel
    at: tuple[str, int] | None = None
    messages: list[tuple[str, str]] = field(default_factory=list)  # id and data
    resets: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def data(self) -> list[str]:
        return [data for _, data in self.messages]

    @property
    def reasons(self) -> list[str]:
        return [reset["reason"] for reset in self.resets]

    @property
    def has_ended(self) -> bool:
        return bool(self.messages) and self.messages[-1][1] == END

    def take_message(self, name: str, data: str) -> None:
        which, offset = split_id(name)
        if self.at is None and which in self.begun:
            self.at = which, self.begun[which]  # nobody tells which entry of a cursor is whose
        if self.at != (which, offset - 1):
            self.faults.append(f"{self.channel}: {name} ({data}) came after {self.at or self.begun}, resets {self.resets}")
        self.at = which, offset
        self.messages.append((name, data))

    def take_reset(self, reset: dict[str, Any]) -> None:
        self.resets.append(reset)
        if reset["reason"] not in ("epoch", "trimmed", "future", "purged", "failover"):
            self.faults.append(f"unknown reason: {reset}")
        begun = dict(split_id(entry) for entry in reset["cursor"].split("."))
        steps = begun[self.at[0]] - self.at[1] if self.at and self.at[0] in begun else None
        if steps is not None and (reset.get("missed", steps) != steps or reset.get("withdrawn", -steps) != -steps):
            self.faults.append(f"{self.channel}: told after {self.at} another number than what it missed or what is gone: {reset}")
        self.begun = begun
        self.at = None


class Follower(threading.Thread):
    """Follows channels over one transport until each has said END; streams must stay open all the time."""

    def __init__(self, server: Server, kind: str, *channels: str, since: str = "earliest") -> None:
        super().__init__()
        self.server, self.kind, self.since = server, kind, since
        self.channels = channels
        self.tracks: dict[str, Track] = {}
        self.fault: str | None = None
        self.is_let_go = False
        self.cursor = ""
        self.begun = threading.Event()

    def target(self, since: str, **query: Any) -> str:
        target = path_of(self.channels[0], since=since, transport={"poll": "json"}.get(self.kind, self.kind), **query)
        return target + "".join(f"&channel={channel}" for channel in self.channels[1:])

    def begin(self, cursor: str) -> None:
        offsets = dict(split_id(entry) for entry in cursor.split("."))
        self.tracks = {channel: Track(channel, offsets) for channel in self.channels}
        self.cursor = cursor
        self.begun.set()

    @property
    def is_done(self) -> bool:
        return self.is_let_go or all(track.has_ended for track in self.tracks.values())

    @property
    def track(self) -> Track:
        """Of the one channel followed."""
        assert len(self.tracks) == 1
        return next(iter(self.tracks.values()))

    def follow_sse(self) -> None:
        assert len(self.channels) == 1, "an event does not name its channel"
        with EventStream(self.server, self.target(self.since)) as stream:
            assert stream.response.status == 200, stream.response
            first = stream.next_block()
            assert first and first.id and first.event == "subscribed", first
            self.begin(first.id)
            while not self.is_done:
                block = stream.next_block()
                assert block, f"the stream ended at {self.track.at}"
                if block.event == "reset":
                    self.track.take_reset(json.loads(block.data or ""))
                elif block.data is not None:
                    self.track.take_message(block.id or "", block.data)

    def follow_stream(self) -> None:
        with LineStream(self.server, self.target(self.since)) as stream:
            assert stream.response.status == 200, stream.response
            self.begin(stream.next_line()["cursor"])
            while not self.is_done:
                text = stream.until(b"\n")
                assert text is not None, "the stream ended"
                if text:
                    self.take(json.loads(text))

    def take(self, line: dict[str, Any]) -> None:
        """What is transient has no place in the log."""
        if "reset" in line:
            self.tracks[line["reset"]["channel"]].take_reset(line["reset"])
        elif line.get("stored", True):
            self.tracks[line.get("tree", line["channel"])].take_message(line["id"], line["data"])

    def follow_websocket(self) -> None:
        target = path_of(self.channels[0], since=self.since, format="json")
        with WebSocket(self.server, target + "".join(f"&channel={channel}" for channel in self.channels[1:])) as client:
            self.begin(client.take_json()["cursor"])
            while not self.is_done:
                self.take(client.take_json())

    def follow_commands(self) -> None:
        with WebSocket(self.server, "/ws") as client:
            client.put_json({"op": "subscribe", "ref": 1, "channels": self.channels, "since": self.since})
            answer = client.take_json()
            assert (answer["op"], answer["ref"]) == ("subscribed", 1), answer
            self.begin(answer["cursor"])
            while not self.is_done:
                told = client.take_json()
                if told["op"] == "reset":
                    self.tracks[told["channel"]].take_reset(told)
                else:
                    assert told["op"] == "message", told
                    self.take(told)

    def follow_poll(self) -> None:
        first: Response | None = None
        while first is None or first.status == 503:
            with Connection(self.server) as connection:
                first = connection.request("GET", self.target(self.since, wait=0))
        # Look from where `since` stands before its first message, so that nothing counts as missed.
        entries = [entry.split("-") for entry in first.cursor.split(".")]
        seen = Counter(split_id(message["id"])[0] for message in (first.json["messages"] if first.status == 200 else []))
        self.begin(".".join(f"{epoch}-{int(offset) - seen[epoch[:5]]}" for epoch, offset in entries))
        with Connection(self.server) as connection:
            while not self.is_done:
                response = connection.request("GET", self.target(self.cursor, wait=3))
                if response.status == 503:
                    time.sleep(0.05)  # as a client would that heeds Retry-After
                    continue
                assert response.status in (200, 204), response
                if response.status == 200:
                    for reset in response.json.get("reset", []):
                        self.tracks[reset["channel"]].take_reset(reset)
                    for message in response.json["messages"]:
                        self.take(message)
                self.cursor = response.cursor

    def run(self) -> None:
        try:
            getattr(self, f"follow_{self.kind}")()
        except Exception as error:  # noqa: BLE001 - told by the test's own thread
            self.fault = f"{type(error).__name__}: {error}"
            self.begun.set()

    def begin_following(self) -> Follower:
        self.start()
        assert self.begun.wait(PATIENCE), f"{self} did not begin"
        assert self.fault is None, f"{self}: {self.fault}"
        return self

    def __str__(self) -> str:
        return f"{self.kind} on port {self.server.port}"


def follow(servers: Iterable[Server], *channels: str, kinds: Sequence[str] = KINDS, since: str = "earliest") -> list[Follower]:
    """One follower of each kind on each server; SSE follows each channel on its own."""
    followers = []
    for server in servers:
        for kind in kinds:
            for group in [(channel,) for channel in channels] if kind == "sse" else [channels]:
                followers.append(Follower(server, kind, *group, since=since).begin_following())
    return followers


def key_of(data: str) -> str:
    return data if len(data) < 100 else hashlib.sha256(data.encode()).hexdigest()


class Ledger:
    """What publishers were told; each message's data is its own, and its idempotency key. Only `errors` may refuse one."""

    def __init__(self, errors: Sequence[str] = ("broker-down",)) -> None:
        self.errors = errors
        self.lock = threading.Lock()
        self.accepted: dict[str, dict[str, str]] = {}  # channel: data: id
        self.refusals: list[Response] = []

    def note(self, channel: str, data: str, name: str) -> None:
        with self.lock:
            self.accepted.setdefault(channel, {})[data] = name

    def of(self, channel: str) -> dict[str, str]:
        with self.lock:
            return dict(self.accepted.get(channel, {}))

    def __len__(self) -> int:
        with self.lock:
            return sum(len(accepted) for accepted in self.accepted.values())

    def publish(self, server: Server, channel: str, data: str, patience: float = 2 * PATIENCE) -> str:
        """Until it is accepted, as a careful client does."""
        deadline = time.monotonic() + patience
        while True:
            with Connection(server) as connection:
                response = connection.request("POST", path_of(channel), data, Content_Type="text/plain",
                                              Idempotency_Key=key_of(data))
            if response.status in (200, 201):
                self.note(channel, data, response.json["id"])
                return response.json["id"]
            self.refuse(response)
            assert time.monotonic() < deadline, f"{channel} still refuses: {response}"
            time.sleep(0.02)

    def fcall(self, redis: RedisServer, channel: str, data: str, patience: float = 2 * PATIENCE) -> str:
        """Past every node, until it is accepted."""
        deadline = time.monotonic() + patience
        while True:
            try:
                name = redis.publish(channel, data, "", "key", key_of(data))
                self.note(channel, data, name)
                return name
            except (ConnectionError, redis_errors.ConnectionError, redis_errors.TimeoutError, redis_errors.ResponseError) as error:
                # Not found: a Redis that has come back without its functions, until a node loads them.
                assert not isinstance(error, redis_errors.ResponseError) or re.search("LOADING|not found", str(error)), error
                assert time.monotonic() < deadline, f"{channel} still refuses: {error}"
            time.sleep(0.02)

    def refuse(self, response: Response) -> None:
        assert response.status == 503 and response.error in self.errors, response
        assert int(response.header("Retry-After") or 0) >= 1, response
        with self.lock:
            self.refusals.append(response)

    def publish_batch(self, server: Server, channel: str, texts: Sequence[str], patience: float = 2 * PATIENCE) -> None:
        deadline = time.monotonic() + patience
        left = list(texts)
        with Connection(server) as connection:
            while left:
                lines = "".join(json.dumps({"channel": channel, "data": text, "idempotency_key": key_of(text)}) + "\n" for text in left)
                response = connection.request("POST", "/channels", lines, Content_Type="application/x-ndjson")
                if response.status == 503:
                    self.refuse(response)
                    results = [{"error": "broker-down"}] * len(left)
                else:
                    assert response.status == 200, response
                    results = response.json
                for text, result in zip(left, results, strict=True):
                    assert "id" in result or result["error"] in self.errors, result
                    if "id" in result:
                        self.note(channel, text, result["id"])
                left = [text for text, result in zip(left, results) if "id" not in result]
                assert not left or time.monotonic() < deadline, f"{channel} still refuses {len(left)}: {results[-1]}"
                if left:
                    time.sleep(0.02)


def await_ends(followers: Sequence[Follower], patience: float) -> None:
    """Until all have ended, or nobody has heard anything for so long, or for three times as long at most."""
    begun = changed = time.monotonic()
    heard = 0
    while any(follower.is_alive() for follower in followers) and time.monotonic() < min(changed + patience, begun + 3 * patience):
        for follower in followers:
            follower.join(0.1 / len(followers))
        now_heard = sum(len(track.messages) + len(track.resets) for follower in followers for track in follower.tracks.values())
        if now_heard != heard:
            heard, changed = now_heard, time.monotonic()


def finish(ledger: Ledger, server: Server, followers: Sequence[Follower], patience: float = 2 * PATIENCE) -> None:
    """Ends each channel, and awaits that every follower has come to its end without a fault."""
    for channel in {channel: None for follower in followers for channel in follower.channels}:
        ledger.publish(server, channel, END)
    await_ends(followers, patience)
    late = [follower for follower in followers if follower.is_alive()]
    for follower in late:
        follower.is_let_go = True
    faults = []
    for follower in followers:
        for track in follower.tracks.values():
            if follower in late:
                faults.append(f"{follower}: nothing more of {track.channel} after {track.at}, resets {track.resets}")
            faults += [f"{follower}: {fault}" for fault in track.faults]
        if follower.fault:
            faults.append(f"{follower}: {follower.fault}")
    for follower in late:
        follower.join(PATIENCE)
    assert not faults, "\n".join(faults[:20])


def check_complete(ledger: Ledger, followers: Sequence[Follower], may_trim: bool = False) -> None:
    """Where no log was lost, every accepted message came to everybody: once, or again after a reset. Where so few are kept that
    some are gone before they are read, just as many are missing as the resets say.
    """
    for follower in followers:
        for channel, track in follower.tracks.items():
            accepted = ledger.of(channel)
            missing = accepted.keys() - set(track.data)
            if may_trim and set(track.reasons) <= {"trimmed"}:
                told = sum(reset["missed"] for reset in track.resets)
                assert len(missing) == told, f"{follower}: {len(missing)} of {channel} never came, {told} were told"
                continue
            assert not missing, f"{follower}: {len(missing)} accepted messages of {channel} never came: {sorted(missing)[:5]}"
            if not track.resets:
                assert len(track.data) == len(set(track.data)), f"{follower}: {channel} has messages twice"
                wrong = [(name, data) for name, data in track.messages if split_id(accepted.get(data, name)) != split_id(name)]
                assert not wrong, f"{follower}: {channel} has other ids than those answered: {wrong[:5]}"


def run_all(jobs: Sequence[Callable[[], None]]) -> list[threading.Thread]:
    """Starts each in a thread; await them with `join_all`, which raises what they raised."""
    def guarded(job: Callable[[], None], thread: list[threading.Thread]) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - raised by join_all
            thread[0].fault = error  # type: ignore[attr-defined]

    threads = []
    for job in jobs:
        slot: list[threading.Thread] = []
        slot.append(threading.Thread(target=guarded, args=(job, slot)))
        slot[0].start()
        threads += slot
    return threads


def join_all(threads: Sequence[threading.Thread], timeout: float = 5 * PATIENCE) -> None:
    for thread in threads:
        thread.join(timeout)
        assert not thread.is_alive(), "a publisher does not end"
        if fault := getattr(thread, "fault", None):
            raise fault
