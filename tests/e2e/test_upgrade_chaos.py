# SPDX-License-Identifier: MIT
"""Upgrades with everything that may go on and go wrong meanwhile: whatever is accepted is there afterwards, once and at its offset."""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.client import Connection, get, messages, path_of, publish, request
from support.faults import FaultyServer
from support.follow import Ledger
from support.redis import RedisServer, await_ready
from support.server import PATIENCE, Server, wait_until
from support.tcp import Raw, Resp
from support.tls import common_tls
from support.tokens import bearer, make_token, secret_file
from support.upgrade import Heir, UpgradingServer, check, keeper_of, run_upgrades
from support.websocket import WebSocket


def memory(*options: str, **more: Any) -> UpgradingServer:
    return UpgradingServer("--history-size", "100000", "--history-bytes", "64MiB", *options, **more)


# Many in a row.

@pytest.mark.long
@pytest.mark.parametrize("broker", ["memory", "redis"])
def test_twenty_upgrades_in_a_row_lose_and_double_nothing(channel: str, broker: str) -> None:
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(RedisServer()) if broker == "redis" else None
        server = stack.enter_context(memory("--shards", "2", *(("--broker", redis.url()) if redis else ()), drain_time="0.5"))
        if redis:
            await_ready(server)
        followers, expected = run_upgrades(server, [f"{channel}/{name}" for name in "ab"], 20)
        for follower in followers:
            check([follower], expected[follower.channel])
        server.await_old()


# Whatever is kept.

ADMIN = bearer(make_token(["**"], ["**"], admin=True, sub="admin"))
SECTIONS = """
[channel "tree"]
tree = yes
history-size = 30
[channel "tree/deep"]
tree = yes
[channel "few/**"]
history-size = 3
[channel "short/**"]
history-ttl = 1h
[channel "room/**"]
presence = yes
events = yes
presence-grace = 30s
"""
CHANNELS = ("tree", "tree/a", "tree/deep/b", "tree/deep/c/d", "few/a", "short/a", "plain", "plain/b")


class World:
    """A server with a random state, of which it is remembered what has to stay."""

    def __init__(self, server: UpgradingServer, chance: random.Random) -> None:
        self.server, self.chance = server, chance
        self.keys: dict[tuple[str, str], str] = {}  # by channel and key, the id
        self.revoked: set[str] = set()
        self.count = 0

    def publish(self) -> None:
        chance, channel = self.chance, self.chance.choice(CHANNELS)
        self.count += 1
        data, kind = chance.choice([(f"text {self.count} é".encode(), "text/plain"), (b'{"n": %d}' % self.count, "application/json"),
                                    (os.urandom(chance.choice((0, 1, 3000))), "application/octet-stream"), (b"", "text/css")])
        query: dict[str, Any] = {"event": chance.choice((None, "goal", "ü")), "producer": chance.choice((None, "p1")),
                                 "ttl": chance.choice((None, 100, 100000)), "key": chance.choice((None, "k1", "k2"))}
        key = chance.choice((None, f"key {chance.randrange(5)}"))
        headers = {"Idempotency_Key": key} if key else {}
        if chance.random() < 0.1:
            headers["Sluice_Store"] = "no"
        answer = request(self.server, "POST", path_of(channel, **query), data, Content_Type=kind, **headers, **ADMIN)
        assert answer.status in (200, 201), answer
        if key and "Sluice_Store" not in headers and answer.status == 201:
            self.keys[channel, key] = answer.json["id"]

    def purge(self) -> None:
        channel = self.chance.choice(CHANNELS)
        request(self.server, "DELETE", f"/api/channels/{channel}", **ADMIN)
        self.keys = {where: name for where, name in self.keys.items() if where[0] != channel}

    def revoke(self) -> None:
        name = f"jti{self.count}"
        assert request(self.server, "DELETE", f"/api/tokens/{name}", **ADMIN).status == 200
        self.revoked.add(name)

    def step(self) -> None:
        self.chance.choices([self.publish, self.purge, self.revoke], [30, 1, 1])[0]()

    def snapshot(self) -> dict[str, Any]:
        server = self.server
        for name in CHANNELS:
            messages(server, name, **ADMIN)  # who is read is there
        listed = get(server, "/api/channels", **ADMIN).json["channels"]
        return {
            "channels": sorted((each["channel"], each["messages"], each.get("bytes")) for each in listed if not each["channel"].startswith("room")),
            "facts": {name: get(server, f"/api/channels/{name}", **ADMIN).body for name in CHANNELS},
            "messages": {name: messages(server, name, **ADMIN) for name in CHANNELS},
            "single": {name: [(each.status, each.body, sorted(each.fields)) for each in [self.last(name, count) for count in (1, 2, 3)]] for name in CHANNELS},
            "present": [each["name"] for each in get(server, "/api/channels/room/a/presence", **ADMIN).json["members"]],
        }

    def last(self, name: str, count: int) -> Any:
        answer = get(self.server, path_of(name, last=count, wait=0), **ADMIN)
        answer.fields = [field for field in answer.fields if field[0] != "Date"]
        return answer

    def check_promises(self) -> None:
        for (channel, key), name in self.keys.items():
            again = request(self.server, "POST", path_of(channel), "again", Content_Type="text/plain", Idempotency_Key=key, **ADMIN)
            assert (again.status, again.json["id"]) == (200, name), (channel, key, name, again)
        for name in self.revoked:
            token = bearer(make_token(["**"], ["**"], jti=name))
            assert get(self.server, path_of("plain", wait=0), **token).error == "token-revoked"


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=[] if seed < 3 else [pytest.mark.long]) for seed in range(30)])
def test_what_is_kept_is_the_same_before_and_after(tmp_path: pathlib.Path, seed: int) -> None:
    chance = random.Random(seed)
    conf = tmp_path / "conf"
    conf.write_text(SECTIONS)
    with UpgradingServer("--config", str(conf), "--jwt-key", f"HS256:{secret_file()}", "--retry", "30s", drain_time="0.3") as server, contextlib.ExitStack() as stack:
        for name in ("ann", "bob"):
            stack.enter_context(WebSocket(server, path_of("room/a", **{"as": name}), **bearer(make_token(["**"], ["**"], sub=name))))
        wait_until(lambda: get(server, "/api/channels/room/a/presence", **ADMIN).json["count"] == 2)
        world = World(server, chance)
        for _ in range(3):
            for _ in range(chance.randrange(60)):
                world.step()
            before = world.snapshot()
            conf.write_text(f"shards = {chance.randrange(1, 4)}\n{SECTIONS}")
            server.upgrade()
            after = world.snapshot()
            for what, was in before.items():
                assert after[what] == was, (seed, what)
            world.check_promises()
        server.await_old()


# Killed at any moment.

class Speakers:
    """Publish with keys until they are let go, over whatever the server does; what was accepted is in `ledger`."""

    def __init__(self, server: Server, channel: str) -> None:
        self.server, self.channel = server, channel
        self.ledger = Ledger(errors=("stopping",))
        self.is_over = threading.Event()
        self.faults: list[str] = []
        self.threads = [threading.Thread(target=self.run, args=(which,)) for which in range(2)]

    def run(self, which: int) -> None:
        number = 0
        while not self.is_over.is_set():
            try:
                self.ledger.publish(self.server, self.channel, f"{which} {number}")
                number += 1
            except (AssertionError, OSError) as error:
                if not isinstance(error, OSError) and "the connection ended" not in str(error):
                    self.faults.append(repr(error))
                    return
                time.sleep(0.01)  # it is repeated with its key

    def __enter__(self) -> Speakers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.is_over.set()
        for thread in self.threads:
            thread.join(PATIENCE)
        assert not self.faults, self.faults

    def check(self) -> None:
        """Everything, once, under the id that was told."""
        kept = [(each["data"], each["id"]) for each in messages(self.server, self.channel)]
        accepted = self.ledger.of(self.channel)
        assert len(dict(kept)) == len(kept), "twice"
        assert not accepted.keys() - dict(kept).keys(), "accepted, and lost"
        assert all(accepted.get(data, name) == name for data, name in kept), "told another id"


def next_of(keeper: int) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        for child in pathlib.Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError):
                if pathlib.Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                    return int(child)
    return None


def is_settled(server: UpgradingServer, begun: int, ended: int) -> bool:
    return server.count("succeeded") > begun or server.count("upgrade-failed") > ended


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=[] if seed == 0 else [pytest.mark.long]) for seed in range(4)])
def test_a_next_process_that_is_killed_at_any_moment_takes_nothing_with_it(channel: str, seed: int) -> None:
    """Once it is the server its end is a crash: then the test begins with another."""
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()
    longest = 0.5
    while outcomes.total() < 8:
        with memory("--shards", "2", drain_time="0.2", expect_exit=None) as server, contextlib.suppress(Crashed), Speakers(server, channel) as speakers:
            while outcomes.total() < 8:
                keeper = keeper_of(server.process.pid)
                begun, ended = server.count("succeeded"), server.count("upgrade-failed")
                started = time.monotonic()
                server.signal_upgrade()
                pid = wait_until(lambda: next_of(keeper))
                time.sleep(chance.uniform(0, longest))
                is_server = server.count("succeeded") > begun
                if not is_server:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid or 0, signal.SIGKILL)
                wait_until(lambda: is_settled(server, begun, ended), what=f"an end: {server.log()}")
                longest = max(0.1, min(longest, 1.2 * (time.monotonic() - started)))
                if server.count("succeeded") > begun:
                    outcomes["succeeded" if is_server else "crashed"] += 1
                    server.take_over()
                    if not is_server:
                        raise Crashed
                    wait_until(lambda: server.count("ready") > server.count("succeeded"))
                else:
                    outcomes["failed"] += 1
            speakers.is_over.set()
            for thread in speakers.threads:
                thread.join(PATIENCE)
            speakers.check()
    print(f"seed {seed}: {dict(outcomes)}")


class Crashed(Exception):
    """The server itself was killed."""


@pytest.mark.parametrize("count", [pytest.param(count, marks=[] if count == 0 else [pytest.mark.long]) for count in range(3)])
def test_an_old_process_that_is_killed_at_any_moment_leaves_a_server_with_all_or_nothing(channel: str, count: int) -> None:
    """After its sockets have gone over; what was told by then is not all, unless its end was."""
    records = (1, 3, 4, 10) if count == 0 else (1, 2, 3, 4, 4, 10, 11)
    for at in records:
        skip = random.Random(count * 100 + at).randrange(50) if at == 4 else 0
        with memory("--shards", "2", drain_time="0.2", expect_exit=None) as server:
            names = [publish(server, channel, f"m{number}") for number in range(60)]
            old = server.process
            with server.relayed(f"""
left = {skip}
def before(kind, data):
    global left
    if kind == {at}:
        left -= 1
        if left < 0:
            ours.sendall(data) if kind != 1 else None
            os.kill({old.pid}, 9)
            os._exit(0)
"""):
                server.signal_upgrade()
                assert old.wait(PATIENCE) == -signal.SIGKILL
            if at == 1:
                continue  # nobody has the sockets
            wait_until(lambda: server.count("ready") == 2, what=f"the next server: {server.log()}")
            told = messages(server, channel)
            assert [each["id"] for each in told] == names or (not told and "event=state-not-inherited" in server.log()), (at, skip)
            assert told or at < 10, "what has been told to its end is there"
            again = publish(server, channel, "again")
            assert again == names[0].replace("-1", "-61") if told else again.split("-")[0] != names[0].split("-")[0]
            server.process = Heir(serving(server))  # type: ignore[assignment]


def serving(server: Server) -> int:
    """The process that listens."""
    with Connection(server) as asker:
        assert asker.request("GET", "/healthz").status == 200
        there = {os.readlink(link): int(link.parts[2]) for link in pathlib.Path("/proc").glob("[0-9]*/fd/*") if is_of(link, server)}
        ours = f":{asker.socket.getsockname()[1]:04X}"
        lines = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()]
        return next(there[f"socket:[{words[9]}]"] for words in lines if len(words) > 9 and words[2].endswith(ours) and words[1].endswith(f":{server.port:04X}"))


def is_of(link: pathlib.Path, server: Server) -> bool:
    with contextlib.suppress(OSError):
        return server.folder.name in os.readlink(link.parents[1] / "exe") and bool(os.readlink(link))
    return False


# Starts that fail.

def test_upgrades_that_fail_between_others_lose_nothing(channel: str, tmp_path: pathlib.Path) -> None:
    conf = tmp_path / "conf"
    conf.write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken, memory("--config", str(conf), "--tcp", f"unix:{tmp_path}/tcp framing=crlf", drain_time="0.2") as server:
        faults = (f"admin = 127.0.0.1:{taken.getsockname()[1]}\n", "history-size = many\n", "admin = 127.0.0.1:0 tls-cert=/nonexistent tls-key=/nonexistent\n",
                  "jwt-key = HS256:/nonexistent\n", "broker = nothing:\n", "user = nobody-at-all\n")
        with Speakers(server, channel) as speakers:
            for text in faults:
                conf.write_text(text)
                server.fail_upgrade()
                conf.write_text("")
                server.upgrade()
                with Raw(server) as raw:
                    assert raw.ask(b"PING") == b"PONG"
        speakers.check()
        server.await_old()


# Every listener.

def over_http(place: Server, **headers: str) -> Callable[[str, str], bool]:
    return lambda channel, data: request(place, "POST", path_of(channel), data, Content_Type="text/plain", **headers).status == 201


def test_publishers_by_every_listener_lose_and_double_nothing(channel: str, tmp_path: pathlib.Path) -> None:
    tls, path = common_tls(), f"{tmp_path}/admin"
    options = ("--http", f"127.0.0.1:0 {tls.pair.keys}", "--http", "127.0.0.1:0 proxy-protocol=yes", "--admin", f"unix:{path}",
               "--tcp", "127.0.0.1:0 framing=crlf", "--tcp", "127.0.0.1:0 framing=resp")
    with memory("--shards", "2", *options, drain_time="0.5") as server:
        ports = server.listeners("http")
        safe = server.at(ports[1])
        safe.tls = tls

        @contextlib.contextmanager
        def by_proxy() -> Iterator[Connection]:
            with Connection(server.at(ports[2])) as connection:
                connection.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
                yield connection

        def post(connection: Connection, data: str) -> bool:
            return connection.request("POST", path_of(channel), data, Content_Type="text/plain").status == 201

        ways: dict[str, tuple[Callable[[], Any], Callable[[Any, str], bool]]] = {
            "plain": (lambda: Connection(server), post),
            "tls": (lambda: Connection(safe), post),
            "proxy": (by_proxy, post),
            "unix": (lambda: Connection(server, path), post),
            "crlf": (lambda: Raw(server), lambda raw, data: raw.ask(f"PUBLISH {channel} {data}".encode()).startswith(b"CONFIRMED")),
            "resp": (lambda: Resp(server, 1), lambda resp, data: not str(resp.run("PUBLISH", channel, data)).startswith("-")),
        }
        accepted: list[str] = []
        in_doubt: set[str] = set()
        refused: Counter[str] = Counter()
        faults: list[str] = []
        over = threading.Event()

        def speak(name: str) -> None:
            number = 0
            opens, says = ways[name]
            while not over.is_set():
                try:
                    with opens() as connection:
                        while not over.is_set():
                            data = f"{name}{number}"
                            number += 1
                            in_doubt.add(data)
                            is_accepted = says(connection, data)
                            in_doubt.discard(data)
                            if not is_accepted:
                                refused[name] += 1
                                break
                            accepted.append(data)
                            time.sleep(0.002)
                except (AssertionError, OSError) as error:
                    if isinstance(error, AssertionError) and "ended" not in str(error):
                        faults.append(f"{name}: {error!r}")
                        return
                    time.sleep(0.01)

        speakers = [threading.Thread(target=speak, args=(name,)) for name in ways]
        for speaker in speakers:
            speaker.start()
        for _ in range(4):
            time.sleep(0.3)
            server.upgrade()
        time.sleep(0.3)
        over.set()
        for speaker in speakers:
            speaker.join()
        assert not faults, faults
        kept = Counter(each["data"] for each in messages(server, channel))
        assert kept.keys() >= set(accepted), set(accepted) - kept.keys()
        assert kept.keys() - set(accepted) <= in_doubt
        assert set(kept.values()) == {1}
        assert {name for name in ways if any(data.startswith(name) for data in accepted)} == ways.keys()
        assert not any(data.startswith(("plain", "proxy", "unix")) for data in in_doubt) and not refused.keys() & {"plain", "proxy", "unix"}, (in_doubt, refused)
        server.await_old()


# Without memory.

class FaultyUpgrading(FaultyServer, UpgradingServer):
    pass


@pytest.mark.parametrize("kind", ["malloc", "calloc", "realloc", "judy", "send"])
@pytest.mark.parametrize("step", [pytest.param(7, id="some"), pytest.param(1, marks=pytest.mark.long, id="each")])
def test_an_upgrade_without_memory_fails_or_succeeds(channel: str, kind: str, step: int) -> None:
    """In either process: the calls of both are counted together. A server for a few, because its log leaves out what it says often."""
    outcomes: Counter[str] = Counter()
    places = iter(range(1, 40 if step > 1 else 200, step))
    is_over = False
    while not is_over:
        with FaultyUpgrading(drain_time="0.1") as server:
            names = [publish(server, channel, f"m{number}", Idempotency_Key=f"{number}") for number in range(20)]
            for at in itertools.islice(places, 8):
                begun, ended = server.count("succeeded"), server.count("upgrade-failed")
                server.fail(kind, at)
                server.signal_upgrade()
                wait_until(lambda: is_settled(server, begun, ended), what=f"an end with {kind} {at}")
                is_over = not server.mend(kind)
                if server.count("succeeded") > begun:
                    server.take_over()
                    server.await_old()
                assert "event=state-not-inherited" not in server.log(), f"{kind} {at}: {server.log()}"
                told = [each["id"] for each in messages(server, channel)]
                assert told == names, (kind, at, len(told))
                outcomes["succeeded" if server.count("succeeded") > begun else "failed"] += 1
                if is_over:
                    break
            else:
                is_over = at + step >= (40 if step > 1 else 200)
    print(kind, dict(outcomes), at)
