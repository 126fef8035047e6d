# SPDX-License-Identifier: MIT
"""Nobody is told of a channel that he may not read, however he follows it, and whoever may read misses nothing: against a model of rules and tokens."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

import pytest
from support.client import Connection, Ended, EventStream, path_of
from support.commands import Commands, raw_commands
from support.redis import KEEP_ALL, RedisServer, nodes
from support.server import Server
from support.tcp import Raw
from support.tokens import bearer, make_token, secret_file
from support.websocket import WebSocket

KINDS = ("sse", "json", "ws", "lines")
OPTIONS = ("--tcp", "127.0.0.1:0 framing=crlf", "--websocket-ping", "0", "--shards", "2")
BELOW = ("a", "b", "a/x", "a/y", "b/x", "a/x/z", "a/x/y", "b/y/z", "brief/x", "brief/y/z")
SECTIONS = ("{}/**", "{}/*", "{}/a", "{}/b", "{}/a/*", "{}/a/**", "{}/*/x", "{}/a/x", "{}/b/**", "{}/*/*/z", "{}/a/x/**", "*/**")
GRANTS = ("{}/a", "{}/b", "{}/*", "{}/a/*", "{}/a/**", "{}/b/**", "{}/*/x", "{}/**", "{}/*/*/z", "**", "{}/a/x/z", "*/b/*")


def covers(pattern: str, name: str) -> bool:
    wanted, found = pattern.split("/"), name.split("/")
    if wanted[-1] == "**":
        wanted.pop()
        if len(found) <= len(wanted):
            return False
        found = found[:len(wanted)]
    return len(wanted) == len(found) and all(each in ("*", other) for each, other in zip(wanted, found))


class Rules:
    """Sections at random, and what they say of a channel."""

    def __init__(self, dice: random.Random, top: str) -> None:
        patterns = [each.format(top) for each in dice.sample(SECTIONS, dice.randrange(2, len(SECTIONS)))]
        self.subscribe = {each: dice.choice(("anyone", "token", "token", "nobody", "auto")) for each in patterns}
        self.trees = {f"{top}/{each}" for each in ("a", "b", "a/x") if dice.random() < 0.4}
        # Everybody hears the end.
        self.subscribe |= {f"{top}/open": "anyone"}
        self.subscribe.setdefault(f"{top}/*", "token")

    def text(self, top: str) -> str:
        lines = []
        for each in sorted(self.subscribe.keys() | self.trees):
            lines.append(f'[channel "{each}"]')
            lines += [f"subscribe = {self.subscribe[each]}"] if each in self.subscribe else []
            lines += ["tree = yes"] if each in self.trees else []
        return "\n".join([*lines, f'[channel "{top}/brief/**"]', "history-ttl = 100ms", "channel-ttl = 1s", ""])

    def may(self, grants: list[str], name: str) -> bool:
        order = {"*": 1, "**": 2}
        fitting = [each for each in self.subscribe if covers(each, name)]
        best = min(fitting, key=lambda each: [order.get(word, 0) for word in each.split("/")], default=None)
        rule = self.subscribe[best] if best else "auto"
        return rule == "anyone" or (rule != "nobody" and any(covers(each, name) for each in grants))

    def logs(self, name: str) -> list[str]:
        return [name, *(tree for tree in self.trees if name.startswith(tree + "/"))]


class Wire:
    """One connection that follows; `next` gives what it is told, and the cursor is kept in the way of the kind."""

    def __init__(self, server: Server, kind: str, names: list[str], token: str, cursor: str) -> None:
        self.kind, self.names, self.token = kind, names, token
        self.server, self.cursor = server, cursor
        self.waiting: deque[dict[str, Any]] = deque()
        self.client: Any = None
        self.commands: Commands
        if kind == "sse":
            self.client = EventStream(server, self.target(format="json"), **bearer(token))
            assert self.client.response.status == 200, self.client.response
            self.cursor = self.client.next_block().id
        elif kind == "json":
            self.client = Connection(server)
            self.poll(wait=0)
        else:
            self.client = WebSocket(server, "/ws") if kind == "ws" else Raw(server)
            self.commands = Commands(self.client.put_text, self.client.take) if kind == "ws" else raw_commands(self.client)
            assert self.commands.ask("auth", token=token)["op"] == "authenticated"
            answer = self.commands.subscribe(*names, **({"since": cursor} if cursor else {}))
            self.entries = {entry[:5]: entry for entry in answer["cursor"].split(".")}
            self.join()

    def target(self, **more: object) -> str:
        more |= {"since": self.cursor} if self.cursor else {}
        return path_of(self.names[0], **more) + "".join(f"{'&' if more or i else '?'}channel={name}" for i, name in enumerate(self.names[1:]))

    def join(self) -> None:
        self.cursor = ".".join(self.entries.values())

    def poll(self, **more: object) -> None:
        answer = self.client.request("GET", self.target(**more), Accept="application/json", **bearer(self.token))
        if answer.status == 401:
            raise Ended(answer.error)
        assert answer.status in (200, 204), answer
        self.cursor = answer.cursor
        if answer.status == 200:
            self.waiting.extend({"reset": each} for each in answer.json.get("reset", []))
            self.waiting.extend(answer.json["messages"])

    def authenticate(self, token: str) -> list[dict[str, Any]]:
        """What was told before the answer."""
        ref, before = self.commands.put("auth", token=token), list(self.commands.kept)
        self.commands.kept.clear()
        while (answer := self.commands.get()).get("ref") != ref:
            before.append(answer)
        assert answer["op"] == "authenticated", answer
        self.token = token
        return [self.note(each) for each in before]

    def note(self, told: dict[str, Any]) -> dict[str, Any]:
        if told["op"] == "error":
            raise Ended(told["code"])
        place = told["id"] if told["op"] == "message" else told["cursor"]
        if told.get("stored", True):
            self.entries |= {entry[:5]: entry for entry in place.split(".")}
        self.join()
        return {"reset": told} if told["op"] == "reset" else told

    def next(self) -> dict[str, Any]:
        if self.kind in ("ws", "lines"):
            return self.note(self.commands.kept.popleft() if self.commands.kept else self.commands.get())
        if self.kind == "sse":
            event = self.client.next_event()
            if event.event == "expired":
                raise Ended(event.data)
            self.cursor = event.id
            told = json.loads(event.data)
            return {"reset": told} if event.event == "reset" else told
        while not self.waiting:
            self.poll()
        return self.waiting.popleft()


class Follower:
    def __init__(self, world: World, kind: str) -> None:
        self.world, self.kind = world, kind
        self.grants: list[str] = []
        self.names = [f"{world.top}/**"] if world.dice.random() < 0.6 else [f"{world.top}/{world.dice.choice('ab')}/**", f"{world.top}/open"]
        # What may still be told of each log, and whether it has to be.
        self.coming: dict[str, deque[tuple[int, bool]]] = defaultdict(deque)
        self.wire: Wire | None = None
        self.cursor, self.jti = "", ""
        self.take_grants()
        self.open()
        for log, numbers in world.published.items():
            self.coming[log] = deque((number, False) for number in numbers)

    def __str__(self) -> str:
        return f"{self.kind} of {self.names} with {self.grants}"

    def follows(self, log: str) -> bool:
        return any(covers(name, log) or name == log for name in self.names)

    def may(self, log: str) -> bool:
        return self.follows(log) and self.world.rules.may(self.grants, log)

    def take_grants(self) -> None:
        """A new token. What it adds may come from its beginning, and has to from now on."""
        before, dice = self.grants, self.world.dice
        had = {log for log in self.world.published if before and self.may(log)}
        self.grants = [each.format(self.world.top) for each in dice.sample(GRANTS, dice.randrange(1, 4))]
        self.renew()
        for log, numbers in self.world.published.items():
            if log not in had or not self.may(log):
                self.coming[log] = deque((number, False) for number in numbers)

    def renew(self) -> None:
        self.jti = f"{self.world.top}-{self.world.dice.random()}"
        self.token = make_token(self.grants, jti=self.jti)

    def open(self) -> None:
        self.wire = Wire(self.world.dice.choice(self.world.servers), self.kind, self.names, self.token, self.cursor)

    def close(self) -> None:
        if self.wire:
            # What a poll has brought is behind its cursor.
            while self.wire.waiting:
                self.hear(self.wire.next())
            if self.kind in ("ws", "lines"):
                while self.wire.commands.kept:
                    self.hear(self.wire.next())
            self.cursor = self.wire.cursor
            self.wire.client.close()
        self.wire = None

    def expect(self, log: str, number: int) -> None:
        if self.follows(log):
            self.coming[log].append((number, self.may(log) and "/brief/" not in log))

    def owed(self) -> int:
        return sum(must for coming in self.coming.values() for _, must in coming)

    def hear(self, told: dict[str, Any]) -> int:
        if "reset" in told:
            log, reason = told["reset"]["channel"], told["reset"]["reason"]
            assert self.may(log), f"{self} is told a {reason} of {log}"
            assert "/brief/" in log or (reason in ("purged", "epoch") and log in self.world.purged), (str(self), told)
            return -1
        log, number = told.get("tree", told["channel"]), int(told["data"])
        assert self.may(log), f"{self} is told {told}"
        coming = self.coming[log]
        while coming and coming[0][0] != number:
            other, must = coming.popleft()
            assert not must, f"{self} was told {number} of {log} without {other}"
        assert coming, f"{self} is told {number} of {log} again"
        coming.popleft()
        return number

    def read(self, owed: int) -> None:
        while self.owed() > owed:
            self.hear(self.wire.next())

    def change_token_while_open(self) -> None:
        old_grants = self.grants
        self.take_grants()
        grants, self.grants = self.grants, old_grants
        held = self.coming
        # Until the answer the old one is in force, and after it what only that allowed is told no more.
        self.coming = defaultdict(deque, {log: deque((number, False) for number in numbers) for log, numbers in self.world.published.items()})
        before = self.wire.authenticate(self.token)
        heard = defaultdict(int)
        for told in before:
            if "reset" not in told:
                log = told.get("tree", told["channel"])
                assert self.may(log), f"{self} is told {told}"
                heard[log] = int(told["data"])
        self.grants, self.coming = grants, held
        for log, number in heard.items():
            while self.coming[log] and self.coming[log][0][0] <= number:
                self.coming[log].popleft()

    def lose_token(self) -> None:
        world = self.world
        world.ask("DELETE", f"/api/tokens/{self.jti}", server=self.wire.server)
        after = world.publish(f"{world.top}/open")
        with contextlib.suppress(Ended):
            while True:
                number = self.hear(self.wire.next())
                assert number < after or not world.is_memory, f"{self} is told {number} after its token was revoked"
        self.cursor = self.wire.cursor
        self.wire.client.close()
        self.renew()
        self.open()


class World:
    def __init__(self, dice: random.Random, top: str, rules: Rules, servers: list[Server], is_memory: bool) -> None:
        self.dice, self.top, self.rules, self.servers, self.is_memory = dice, top, rules, servers, is_memory
        self.published: dict[str, list[int]] = defaultdict(list)
        self.purged: set[str] = set()
        self.number = 0
        self.all = bearer(make_token(["**"], ["**"], admin=True))
        self.asking = {id(server): Connection(server) for server in servers}
        self.followers: list[Follower] = []

    def ask(self, method: str, target: str, data: str | None = None, server: Server | None = None) -> Any:
        connection = self.asking[id(server or self.dice.choice(self.servers))]
        answer = connection.request(method, target, data, **self.all, **({"Content_Type": "text/plain"} if data else {}))
        assert answer.status in (200, 201, 404), answer
        return answer

    def publish(self, name: str = "") -> int:
        name = name or f"{self.top}/{self.dice.choice(BELOW)}"
        self.number += 1
        for log in self.rules.logs(name):
            self.published[log].append(self.number)
            for follower in self.followers:
                follower.expect(log, self.number)
        self.ask("POST", path_of(name), str(self.number))
        return self.number

    def purge(self) -> None:
        name = f"{self.top}/{self.dice.choice(BELOW)}"
        self.purged.add(name)
        for follower in self.followers:
            follower.coming[name] = deque((number, False) for number, _ in follower.coming[name])
        self.ask("DELETE", f"/api/channels/{name}")

    def steal(self) -> None:
        """Somebody else's cursor gives nothing but what the own token does."""
        owner, thief = self.dice.sample(self.followers, 2)
        names = list({*thief.names, f"{self.top}/open"}) if f"{self.top}/**" not in thief.names else thief.names
        cursor = owner.wire.cursor if owner.wire else owner.cursor
        wire = Wire(self.dice.choice(self.servers), self.dice.choice(KINDS), names, thief.token, cursor)
        last = str(self.publish(f"{self.top}/open"))
        told: dict[str, Any] = {}
        while told.get("data") != last:
            told = wire.next()
            log = told["reset"]["channel"] if "reset" in told else told.get("tree", told["channel"])
            assert log in names or thief.may(log), f"{thief} with the cursor of {owner} is told {told}"
        wire.client.close()

    def step(self) -> None:
        roll, follower = self.dice.random(), self.dice.choice(self.followers)
        if roll < 0.6:
            self.publish()
        elif roll < 0.64:
            self.purge()
        elif roll < 0.70:
            self.steal()
        elif not follower.wire:
            if self.dice.random() < 0.3:
                follower.take_grants()
            follower.open()
        elif roll < 0.75:
            follower.lose_token()
        elif roll < 0.82 and follower.kind in ("ws", "lines"):
            follower.change_token_while_open()
        else:
            follower.read(self.dice.randrange(follower.owed() + 1))
            if self.dice.random() < 0.7:
                follower.close()

    def run(self, steps: int) -> None:
        for _ in range(10):
            self.publish()
        for kind in KINDS * 2:
            self.followers.append(Follower(self, kind))
        for _ in range(steps):
            self.step()
        for follower in self.followers:
            if not follower.wire:
                follower.open()
        self.publish(f"{self.top}/open")
        for follower in self.followers:
            follower.read(0)
            follower.close()


@contextlib.contextmanager
def running(broker: str, config: pathlib.Path, request: pytest.FixtureRequest) -> Iterator[list[Server]]:
    options = (*KEEP_ALL, *OPTIONS, "--jwt-key", f"HS256:{secret_file()}", "--config", str(config))
    if broker == "memory":
        with Server(*options) as server:
            yield [server]
        return
    redis: RedisServer = request.getfixturevalue("redis")
    with nodes(2, redis, options=options) as servers:
        yield servers


def check(broker: str, steps: int, seed: int, config: pathlib.Path, request: pytest.FixtureRequest) -> None:
    print("SLUICE_SEED", seed)
    dice, top = random.Random(seed), f"rights-{seed}"
    rules = Rules(dice, top)
    config.write_text(rules.text(top))
    print(config.read_text())
    with running(broker, config, request) as servers:
        World(dice, top, rules, servers, broker == "memory").run(steps)


def chosen_seed() -> int:
    return int(os.environ.get("SLUICE_SEED", random.randrange(1 << 30)))


@pytest.mark.parametrize("broker", ["memory", "memory", "redis"])
def test_who_is_told_what_is_what_the_rules_say(broker: str, tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> None:
    check(broker, 400, chosen_seed(), tmp_path / "sluice.conf", request)


@pytest.mark.long
@pytest.mark.parametrize("broker", ["memory", "redis"])
@pytest.mark.parametrize("round", range(12))
def test_who_is_told_what_for_long(broker: str, round: int, tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> None:
    check(broker, 2000, chosen_seed() + round, tmp_path / "sluice.conf", request)
