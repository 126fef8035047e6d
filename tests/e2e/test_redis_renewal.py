# SPDX-License-Identifier: MIT
"""Redis is restarted, or another one takes over: nobody is told who has seen nothing that is gone, the others how much that is."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from support.client import Connection, EventStream, LineStream, get, path_of, publish, request_bytes
from support.follow import Ledger, check_complete, finish, follow, join_all, run_all
from support.lua import known
from support.redis import KEEP_ALL, RedisServer, SentinelSet, await_away, await_ready, change_master, metric, nodes
from support.relay import Relay
from support.server import PATIENCE, Server, wait_until
from support.tcp import Raw, Resp

LISTENERS = ("--tcp", "127.0.0.1:0 framing=crlf", "--tcp", "127.0.0.1:0 framing=nul", "--tcp", "127.0.0.1:0 framing=len32",
             "--tcp", "127.0.0.1:0 framing=resp")
# Nothing is compared but when a test makes it be.
QUIET = ("--redis-check-time", "1h", "--redis-probe-time", "1h")


@dataclass
class Engine:
    """A Redis, or two, that nodes use; `lose` makes it come back with what it had when `keep` was called last."""

    url: str
    master: Callable[[], RedisServer]
    keep: Callable[[str], None]
    lose: Callable[[], None]


@contextlib.contextmanager
def snapshots() -> Iterator[Engine]:
    with RedisServer() as redis:
        yield Engine(redis.url(), lambda: redis, lambda _: redis.client.save(), redis.restart)


@contextlib.contextmanager
def appended() -> Iterator[Engine]:
    """As a machine that goes down within the second that `everysec` leaves."""
    with RedisServer("--appendfsync", "everysec", aof=True) as redis:
        size = 0

        def newest() -> str:
            return str(max((redis.path / "appendonlydir").glob("*.incr.aof")))

        def keep(_: str) -> None:
            nonlocal size
            size = os.path.getsize(newest())

        def lose() -> None:
            redis.kill()
            os.truncate(newest(), size)
            redis.start()

        yield Engine(redis.url(), lambda: redis, keep, lose)


@contextlib.contextmanager
def replicated() -> Iterator[Engine]:
    with SentinelSet() as redis, contextlib.ExitStack() as hanging:
        heirs = [redis.master]

        def keep(channel: str) -> None:
            entries = redis.master.entries(channel)
            wait_until(lambda: redis.replica.entries(channel) == entries)
            hanging.enter_context(redis.replica.stopped())
            redis.master.kill_clients("replica")  # otherwise it would find what follows in its socket

        def lose() -> None:
            redis.master.kill()
            hanging.close()
            heirs.append(redis.fail_over())

        yield Engine(redis.url(), lambda: heirs[-1], keep, lose)


class Watchers:
    """One subscriber on each transport, and what each was told next."""

    def __init__(self, server: Server, channel: str, stack: contextlib.ExitStack) -> None:
        self.server, self.channel = server, channel
        self.events = stack.enter_context(EventStream(server, path_of(channel)))
        self.lines = stack.enter_context(LineStream(server, path_of(channel)))
        self.raws = [stack.enter_context(Raw(server, index, ends)) for index, ends in enumerate((b"\r\n", b"\0", None))]
        self.resp = stack.enter_context(Resp(server, 3))
        self.polls = [stack.enter_context(Connection(server)) for _ in range(2)]
        assert self.lines.next_line()["recovered"] is False and self.events.next_block()
        for raw in self.raws:
            assert raw.ask(b"SUBSCRIBE " + channel.encode()) == b"CONFIRMED"
        assert self.resp.run("SUBSCRIBE", channel)
        self.cursor = get(server, path_of(channel, wait=0)).cursor
        self.hold()

    def hold(self) -> None:
        self.polls[0].send(request_bytes("GET", path_of(self.channel, since=self.cursor, wait=55)))
        self.polls[1].send(request_bytes("GET", path_of(self.channel, since=self.cursor, wait=55), Accept="application/json"))

    def expect(self, name: str, data: str) -> None:
        """The next thing that each is told is that message."""
        assert (event := self.events.next_event()).id == name and event.data == data, event
        assert self.lines.next_line()["id"] == name
        self.expect_tcp(data.encode())
        raw, batch = (poll.read_response() for poll in self.polls)
        assert (raw.status, raw.header("Sluice-Id"), raw.reset) == (200, name, None)
        assert [message["id"] for message in batch.json["messages"]] == [name] and "reset" not in batch.json
        assert raw.cursor == batch.json["cursor"] == name
        self.cursor = name
        self.hold()

    def expect_tcp(self, data: bytes) -> None:
        assert [raw.take() for raw in self.raws] == [data] * 3
        assert self.resp.reply() == [b"message", self.channel.encode(), data]

    def expect_withdrawn(self, count: int, cursor: str) -> None:
        reset = {"channel": self.channel, "reason": "failover", "withdrawn": count, "cursor": cursor}
        event = self.events.next_event()
        assert (event.event, event.id, json.loads(event.data or "")) == ("reset", cursor, reset)
        assert self.lines.next_line() == {"cursor": cursor, "reset": reset}
        line = f"RESET {self.channel} failover {count}".encode()
        assert [raw.take() for raw in self.raws] == [line] * 3
        assert self.resp.reply() == [b"message", b"$reset", line]
        raw, batch = (poll.read_response() for poll in self.polls)
        assert (raw.status, raw.header("Sluice-Reset"), raw.cursor) == (204, f'failover; withdrawn={count}; channel="{self.channel}"', cursor)
        assert batch.json == {"messages": [], "cursor": cursor, "reset": [reset]}
        self.cursor = cursor
        self.hold()


def is_renewed(old: str, new: str, offset: int) -> bool:
    return old[:12] != new[:12] and old[:5] == new[:5] and int(new[13:]) == offset


@contextlib.contextmanager
def watched(url: str, channel: str) -> Iterator[tuple[Server, Watchers]]:
    with nodes(1, url, options=(*KEEP_ALL, *LISTENERS, *QUIET)) as (server,), contextlib.ExitStack() as stack:
        yield server, Watchers(server, channel, stack)


def test_a_restart_that_lost_nothing_is_silent_on_every_transport(channel: str) -> None:
    with RedisServer(aof=True) as redis, watched(redis.url(), channel) as (server, watchers):
        names = []
        for round in range(4):
            for i in range(3):
                names.append(publish(server, channel, f"{round} {i}"))
                watchers.expect(names[-1], f"{round} {i}")
            redis.kill()
            await_away(server)
            redis.start()
            await_ready(server)
        assert all(is_renewed(names[i], names[i + 3], i + 4) for i in range(9))
        for i, since in enumerate(names):
            answer = get(server, path_of(channel, since=since, wait=0), Accept="application/json")
            data = [message["data"] for message in answer.json["messages"]] if answer.status == 200 else []
            assert len(data) == 11 - i and (answer.status == 204 or "reset" not in answer.json)
        assert metric(server, "resets_total") == 0 and metric(server, "broker_resets_total") == 0


def test_a_replica_that_had_everything_is_promoted_in_silence(channel: str) -> None:
    with SentinelSet() as redis, watched(redis.url(), channel) as (server, watchers):
        old = publish(server, channel, "old")
        watchers.expect(old, "old")
        wait_until(lambda: redis.replica.entries(channel) == [(1, b"old")])
        redis.fail_over()
        await_ready(server)
        new = Ledger().publish(server, channel, "new")
        watchers.expect(new, "new")
        assert is_renewed(old, new, 2)


@pytest.mark.parametrize("make", [snapshots, appended, replicated])
def test_only_those_are_told_who_have_seen_what_is_gone(channel: str, make: Callable[[], contextlib.AbstractContextManager[Engine]]) -> None:
    with make() as engine, watched(engine.url, channel) as (server, watchers):
        names = []
        for i in range(3):
            names.append(publish(server, channel, f"kept {i}"))
            watchers.expect(names[-1], f"kept {i}")
        with LineStream(server, path_of(channel + "/quiet")) as quiet:
            quiet.next_line()
            engine.keep(channel)
            for i in range(2):
                names.append(publish(server, channel, f"gone {i}"))
                watchers.expect(names[-1], f"gone {i}")
            engine.lose()
            await_ready(server)
            # The node has told everybody before anything is published.
            wait_until(lambda: get(server, f"/api/channels/{channel}").json["epoch"] != names[0][:12])
            epoch = get(server, f"/api/channels/{channel}").json["epoch"]
            watchers.expect_withdrawn(2, known(epoch, 3))
            for i in range(2):
                assert Ledger().publish(server, channel, f"new {i}") == known(epoch, 4 + i), "an id names one message"
                watchers.expect(known(epoch, 4 + i), f"new {i}")
            publish(server, channel + "/quiet", "x")
            assert quiet.next_line()["data"] == "x", "another channel lost nothing"
        for offset, since in enumerate(names, start=1):
            answer = get(server, path_of(channel, since=since), Accept="application/json").json
            told = [(reset["reason"], reset["withdrawn"], reset["cursor"]) for reset in answer.get("reset", [])]
            assert told == ([("failover", offset - 3, known(epoch, 3))] if offset > 3 else []), since
            assert [message["data"] for message in answer["messages"]] == (["kept 1", "kept 2"] if offset == 1 else ["kept 2"] if offset == 2 else []) + ["new 0", "new 1"]


def test_a_publish_before_any_node_is_back_gives_no_id_again(channel: str) -> None:
    with snapshots() as engine, watched(engine.url, channel) as (server, watchers):
        redis = engine.master()
        for i in range(3):
            watchers.expect(redis.publish(channel, f"kept {i}"), f"kept {i}")
        engine.keep(channel)
        gone = []
        for i in range(2):
            gone.append(redis.publish(channel, f"gone {i}"))
            watchers.expect(gone[-1], f"gone {i}")
        server.process.send_signal(signal.SIGSTOP)
        try:
            engine.lose()
            new = redis.publish(channel, "new")
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert is_renewed(gone[0], new, 4)
        with EventStream(server, path_of(channel, since=new)) as ahead:
            answer = get(server, path_of(channel, since=gone[0]), Accept="application/json").json
            while "reset" not in answer:  # it may be asked before it has met Redis again
                answer = get(server, path_of(channel, since=answer["cursor"]), Accept="application/json").json
            assert [(reset["withdrawn"], reset["cursor"]) for reset in answer["reset"]] in ([(1, known(new[:12], 3))], [(2, known(new[:12], 3))])
            await_ready(server)
            last = redis.publish(channel, "last")
            opening = ahead.next_block()
            assert opening and json.loads(opening.data or "") == {"cursor": new, "recovered": True}
            assert ahead.next_event().id == last


def test_a_change_that_was_lost_itself_is_known_by_the_nodes(channel: str) -> None:
    """Twice back to the same snapshot: of the epoch in between Redis knows nothing."""
    with snapshots() as engine, watched(engine.url, channel) as (server, watchers):
        for i in range(3):
            watchers.expect(publish(server, channel, f"kept {i}"), f"kept {i}")
        engine.keep(channel)
        between: list[str] = []
        for round in range(3):
            engine.lose()
            await_ready(server)
            old = watchers.cursor
            wait_until(lambda: get(server, f"/api/channels/{channel}").json["epoch"] != old[:12])
            epoch = get(server, f"/api/channels/{channel}").json["epoch"]
            if round > 0:
                watchers.expect_withdrawn(2, known(epoch, 3))
            for i in range(2):
                between.append(publish(server, channel, f"{round} {i}"))
                watchers.expect(between[-1], f"{round} {i}")
        assert len(set(between)) == len(between)
        for since in between[:4]:
            answer = get(server, path_of(channel, since=since), Accept="application/json").json
            assert [(reset["reason"], reset["withdrawn"]) for reset in answer["reset"]] == [("failover", int(since[13:]) - 3)]
            assert [message["id"] for message in answer["messages"]] == between[4:]


def test_a_node_that_has_not_heard_of_an_epoch_asks_before_it_says_a_word(channel: str) -> None:
    with RedisServer() as redis, Relay(redis.port) as relay:
        with nodes(2, redis.url(), relay.url, options=(*KEEP_ALL, *QUIET, "--redis-timeout", "30s")) as servers:
            with LineStream(servers[1], path_of(channel)) as lines:
                lines.next_line()
                old = publish(servers[0], channel, "old")
                assert lines.next_line()["id"] == old
                for kind in ("commands", "subscriptions"):
                    relay.hold(kind)
                change_master(redis.client)
                new = publish(servers[0], channel, "new")
                assert is_renewed(old, new, 2)
                with Connection(servers[1]) as poll:
                    poll.send(request_bytes("GET", path_of(channel, since=new), Accept="application/json"))
                    assert get(servers[1], path_of(channel, since=old, wait=0)).status == 204
                    for kind in ("subscriptions", "commands"):
                        relay.hold(kind, is_held=False)
                    assert lines.next_line()["id"] == new
                    last = publish(servers[0], channel, "last")
                    assert lines.next_line()["id"] == last
                    answer = poll.read_response().json
                    assert "reset" not in answer and [message["id"] for message in answer["messages"]] == [last]


@pytest.mark.parametrize("kills", [8, pytest.param(100, marks=pytest.mark.long)])
def test_kills_under_publishing_with_every_write_on_disk(channel: str, kills: int) -> None:
    """Nobody is told anything, nothing comes twice, nothing is missing."""
    ledger = Ledger()
    patience = 3 * PATIENCE
    with RedisServer("--appendfsync", "always", aof=True) as redis, nodes(2, redis, options=KEEP_ALL) as servers:
        followers = follow(servers, channel)
        is_over = False

        def storm(who: int) -> None:
            count = 0
            while not is_over:
                count += 1
                if who < 2:
                    ledger.publish(servers[who], channel, f"{who} {count}", patience=patience)
                else:
                    ledger.fcall(redis, channel, f"{who} {count}", patience=patience)

        publishers = run_all([lambda w=who: storm(w) for who in range(3)])
        try:
            for _ in range(kills):
                before = len(ledger)
                redis.kill()
                redis.start()
                for server in servers:  # or else one may be away for more than the eight epochs that are remembered
                    await_ready(server, timeout=patience)
                wait_until(lambda: len(ledger) >= before + 20, timeout=patience)
        finally:
            is_over = True
            join_all(publishers)
        finish(ledger, servers[0], followers, patience=patience)
        check_complete(ledger, followers)
        kept = [data.decode() for _, data in redis.entries(channel)]
        assert len(kept) == len(set(kept)) == len(ledger)
        for follower in followers:
            assert follower.track.resets == [] and follower.track.data == kept, follower
