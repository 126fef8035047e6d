# SPDX-License-Identifier: MIT
"""What is asked of each route: every probe returns what it found, as figures, and asserts only what must hold through every proxy."""

from __future__ import annotations

import contextlib
import itertools
import random
import re
import threading
import time

from dataclasses import dataclass, field

from frame import Route, Running
from support.client import Connection, Ended, Response, get, path_of, publish, subscribers
from support.server import PATIENCE, SOURCE, wait_until
from ways import KINDS, Way, beginning, following

LIVE_S = 1.5  # later than that it has waited for something
PIECE = "x" * 1000
PIECES = 64
COOKIES_KIB = (1, 4, 8, 16)
PUBLISHERS = 4
MESSAGES = 40  # of each publisher
_numbers = itertools.count(1)


def new_channel(route: Route) -> str:
    return f"{route.member.name}/{route.kind}/{next(_numbers)}"


@dataclass
class Found:
    """How a way came through."""

    outcome: str  # `live`, `N KB` when so much has to come together first, `end`, a status, or `silent` (open, but nothing comes)
    opened_s: float = 0.0
    delay_s: float = 0.0
    told: list[str] = field(default_factory=list)


def take(way: Way, timeout: float) -> tuple[float, str, object] | None:
    """What comes next; None when nothing does, or the way was refused."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if told := way.take(0.02):
            return told
        if way.refusal is not None and not way.opened.is_set():
            return None
    return None


def live(route: Route, kind: str, patience: float = LIVE_S, is_to_be_measured: bool = True) -> Found:
    """Whether messages come when they are published, or else what makes them come. With more patience a way that is live is known to
    be on a machine that is busy, too."""
    channel = new_channel(route)
    with following(route, kind, channel) as way:
        delays = []
        for _ in range(5 if is_to_be_measured else 1):
            if is_to_be_measured:
                wait_until_settled(route, way, patience)
            sent = time.monotonic()
            publish(route.server, channel, "x")
            told = take(way, patience)
            if told is None:
                break
            delays.append(told[0] - sent)
        if len(delays) > 0 and told is not None:
            return Found("live", way.opened_s, max(delays[1:] or delays))
        if way.refusal is not None and not way.opened.is_set():
            return Found(str(way.refusal.status))
        if kind.endswith("websocket") or kind == "ws":
            return Found("silent")
        return Found(what_makes_it_come(route, way) if is_to_be_measured else "end")


def wait_until_settled(route: Route, way: Way, patience: float) -> None:
    """The opening is there, or will not be; a long-poll is held again."""
    way.opened.wait(patience)
    with contextlib.suppress(AssertionError):
        wait_until(lambda: subscribers(route.server, way.channel)["total"] > 0 or way.refusal, patience)


def what_makes_it_come(route: Route, way: Way) -> str:
    for count in range(1, PIECES + 1):
        publish(route.server, way.channel, PIECE)
        if take(way, 0.1):
            sizes = (4, 8, 16, 32, 64)
            return f"{next(size for size in sizes if count <= size)} KB"
    return "end"


# Cut and resumed.

class Publisher(threading.Thread):
    """Publishes through the proxy until all is accepted; what is tried again has the same key, by the query where headers get lost."""

    def __init__(self, route: Route, channel: str, name: str, count: int, pause: float) -> None:
        super().__init__(daemon=True)
        self.route, self.channel, self.count, self.pause = route, channel, count, pause
        self.texts = [f"{name}-{i}" for i in range(count)]
        self.retries = 0
        self.fault = ""
        self.start()

    def run(self) -> None:
        for text in self.texts:
            deadline = time.monotonic() + 2 * PATIENCE
            while not self.publish(text):
                self.retries += 1
                if time.monotonic() > deadline:
                    self.fault = self.fault or f"{text} was never accepted"
                    return
                time.sleep(0.05)
            time.sleep(self.pause)

    def publish(self, text: str) -> bool:
        keyed = {"idempotency_key": text} if self.route.member.loses_headers and not self.route.is_opaque else {}
        headers = {} if keyed else {"Idempotency_Key": text}
        try:
            answer = ask(self.route, "POST", path_of(self.channel, **keyed), text, Content_Type="text/plain", **headers)
        except (OSError, AssertionError, ValueError):
            return False
        return answer.status in (200, 201)


def ask(route: Route, method: str, target: str, body: str | None = None, source: str | None = None, **headers: str) -> Response:
    with Connection(route, source=source) as connection:  # type: ignore[arg-type]
        return connection.request(method, route.base + target, body, **headers)


@dataclass
class Resumed:
    messages: int
    retries: int  # of publishes
    losses: dict[str, int]  # of connections, of each way


def resumed(running: Running, route: Route, kinds: list[str], cuts: int = 3, pause: float = 0.02) -> Resumed:
    """Clients that are cut at random, and a proxy that is killed and started again, in the middle of publishing through it."""
    channel = new_channel(route)
    start = beginning(route, channel)
    ways = [following(route, kind, channel) for kind in kinds]
    publishers = [Publisher(route, channel, f"p{i}", MESSAGES, pause) for i in range(PUBLISHERS)]
    for i in range(cuts):
        time.sleep(MESSAGES * pause / (cuts + 1))
        if i == cuts // 2:
            running.cut()
        for way in ways:
            way.cut()
    for publisher in publishers:
        publisher.join(3 * PATIENCE)
        assert not publisher.is_alive() and not publisher.fault, f"{route.title}: {publisher.fault}"
    logged = get(route.server, path_of(channel, since=start, transport="json", wait=0)).json["messages"]
    expected = [(message["id"], message["data"]) for message in logged]
    assert sorted(data for _, data in expected) == sorted(text for each in publishers for text in each.texts), "not each once"
    try:
        for way in ways:
            seen = []
            while len(seen) < len(expected):
                told = way.take(PATIENCE)
                assert told, f"{way}: {len(seen)} of {len(expected)} came, after {way.losses} losses"
                seen.append(told[1:])
            assert seen == expected, f"{way}: not in order, or twice"
        return Resumed(len(expected), sum(each.retries for each in publishers), {way.kind: way.losses for way in ways})
    finally:
        for way in ways:
            way.close()


# Idle.

def idle(route: Route, kinds: list[str], seconds: float) -> dict[str, int]:
    """How often each way was lost in so many seconds without a message; in the end each must be told the next one."""
    ways = {kind: following(route, kind, new_channel(route)) for kind in kinds}
    try:
        for way in ways.values():
            assert way.opened.wait(PATIENCE), way
        before = {kind: way.losses for kind, way in ways.items()}
        time.sleep(seconds)
        losses = {kind: way.losses - before[kind] for kind, way in ways.items()}
        for way in ways.values():
            publish(route.server, way.channel, "after")
        for way in ways.values():
            told = way.take(2 * PATIENCE)
            assert told and told[2] == "after", f"{way} is dead"
        return losses
    finally:
        for way in ways.values():
            way.close()


# Requests.

def cookies(route: Route) -> dict[int, int]:
    """The status of a request with a cookie of so many KiB."""
    found = {}
    for size in COOKIES_KIB:
        try:
            cookie = "c=" + "x" * (size * 1024 - 2)
            found[size] = ask(route, "GET", path_of(new_channel(route), wait=0), Cookie=cookie).status
        except (OSError, AssertionError):
            found[size] = 0
    return found


def hang_up(route: Route, kinds: list[str]) -> dict[str, float]:
    """How long the server holds on to clients that are gone. The sessions of SockJS outlive their connections."""
    ways = [following(route, kind, new_channel(route)) for kind in kinds if not kind.startswith("sockjs")]
    try:
        for way in ways:
            assert way.opened.wait(PATIENCE), way
            wait_until(lambda: subscribers(route.server, way.channel)["total"] == 1, what=f"{way} being held")
    finally:
        left = time.monotonic()
        for way in ways:
            way.close()
    found: dict[str, float] = {}

    def have_all_gone() -> bool:
        for way in ways:
            if way.kind not in found and subscribers(route.server, way.channel)["total"] == 0:
                found[way.kind] = time.monotonic() - left
        return len(found) == len(ways)

    wait_until(have_all_gone, 3 * PATIENCE, f"{route.title}: all being let go")
    return found


def shared(route: Route, clients: int = 8, requests: int = 30) -> None:
    """Many clients with many requests, which the proxy may send over few connections: each gets the answer to its own."""
    prefix = new_channel(route)
    names = [f"{prefix}/{i}" for i in range(20)]
    for name in names:
        publish(route.server, name, name)
    faults: list[str] = []

    def work(seed: int) -> None:
        choice = random.Random(seed)
        connection: Connection | None = None
        for _ in range(requests):
            name = choice.choice(names)
            try:
                connection = connection or Connection(route)  # type: ignore[arg-type]
                answer = connection.request("GET", route.base + path_of(name, last=1), Cookie="c" * int(3000 ** choice.random()))
            except (Ended, OSError):  # it was not kept
                connection = None
                continue
            if (answer.status, answer.body) != (200, name.encode()):
                faults.append(f"{name}: {answer}")
            if answer.header("Connection") == "close" or answer.version == "HTTP/1.0":
                connection = None

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults[:3]


def address(route: Route) -> str:
    """Whose a request is, as the server's log has it, of a client at 127.0.0.2."""
    mark = f"/channels/{new_channel(route)}"
    ask(route, "GET", mark + "?wait=0", source="127.0.0.2")
    pattern = re.compile(rf"event=request .*{re.escape(mark)}.*peer=(\S+)|event=request .*peer=(\S+).*{re.escape(mark)}")
    found = wait_until(lambda: pattern.search(route.server.log()), what="a line of the log")
    return (found[1] or found[2]).strip('"').rsplit(":", 1)[0]


def idempotent(route: Route) -> str:
    """By what a publish that is repeated counts once: the header, the query, or the empty word."""
    for name, query, headers in (("header", {}, {"Idempotency_Key": "k1"}), ("query", {"idempotency_key": "k2"}, {})):
        channel = new_channel(route)
        answers = [ask(route, "POST", path_of(channel, **query), "x", Content_Type="text/plain", **headers) for _ in range(2)]
        assert {answer.status for answer in answers} <= {200, 201}, answers
        if answers[0].json["id"] == answers[1].json["id"]:
            return name
    return ""


def large(route: Route) -> bool:
    """A message of half a mebibyte, there and back."""
    channel, data = new_channel(route), "0123456789abcdef" * 32768
    answer = ask(route, "POST", path_of(channel), data, Content_Type="text/plain")
    return answer.status == 201 and ask(route, "GET", path_of(channel, last=1)).body == data.encode()


def files(route: Route) -> bool:
    """Whether a file is whole when it is asked for again, which a cache may answer."""
    expected = (SOURCE / "static/page.js").read_bytes()
    return all(ask(route, "GET", "/page.js").body == expected for _ in range(3))


def working(found: dict[str, Found]) -> list[str]:
    """The ways that are live."""
    return [kind for kind in KINDS if kind in found and found[kind].outcome == "live"]
