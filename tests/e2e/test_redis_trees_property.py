# SPDX-License-Identifier: MIT
"""Random publishes at random depths below two trees, while nodes and Redis are killed, links cut and logs evicted: at rest the log of
each tree is exactly the merge of those below it. The seed is printed; SLUICE_SEED repeats it as far as threads allow."""

import contextlib
import os
import pathlib
import random
import signal
import threading
import time
from collections.abc import Callable

import pytest
from support.client import Connection, path_of
from support.follow import END, Ledger, Track, finish, follow, join_all, run_all, split_id
from support.redis import KEEP_ALL, NODE_OPTIONS, RedisServer, await_ready, log_lines, meta_key, stream_key
from support.relay import Relay
from support.server import PATIENCE, Server

TREES = ("top", "top/a")
CHANNELS = (*TREES, "top/a/x", "top/a/x/deep", "top/b", "top/b/y")
CONFIG = '[channel "top"]\ntree = yes\n[channel "top/a"]\ntree = yes\n'


def below(tree: str) -> list[str]:
    return [channel for channel in CHANNELS if channel == tree or channel.startswith(tree + "/")]


class Node:
    """One that may be killed: then another takes its place."""

    def __init__(self, url: str, config: pathlib.Path) -> None:
        self.options = ("--broker", url, *NODE_OPTIONS, *KEEP_ALL, "--redis-timeout", "500ms", "--config", str(config))
        self.start()

    def start(self) -> None:
        self.server = Server(*self.options).__enter__()
        await_ready(self.server)

    def kill(self) -> None:
        self.server.expect_exit = -signal.SIGKILL
        self.server.stop(signal.SIGKILL)
        self.server.folder.cleanup()

    def close(self) -> None:
        self.server.__exit__()


class Returner(threading.Thread):
    """Comes back again and again with its cursor, each time to another node."""

    def __init__(self, nodes: list[Node], tree: str, seed: int) -> None:
        super().__init__()
        self.nodes, self.tree, self.random = nodes, tree, random.Random(seed)
        self.track = Track(tree, {})
        self.cursor = "earliest"
        self.is_let_go = False

    def run(self) -> None:
        while not self.track.has_ended and not self.is_let_go:
            with contextlib.suppress(OSError, AssertionError), Connection(self.random.choice(self.nodes).server) as connection:
                response = connection.request("GET", path_of(self.tree, since=self.cursor, wait=1, transport="json"))
                if response.status == 200:
                    for reset in response.json.get("reset", []):
                        self.track.take_reset(reset)
                    for message in response.json["messages"]:
                        if message.get("stored", True):
                            which, offset = split_id(message["id"])
                            self.track.begun = self.track.begun or {which: offset - 1}
                            self.track.take_message(message["id"], message["data"])
                if response.status in (200, 204):
                    self.cursor = response.cursor
            time.sleep(self.random.random() * 0.1)


class Storm:
    def __init__(self, seed: int, seconds: float, may_lose: bool, folder: pathlib.Path) -> None:
        self.random, self.seed, self.may_lose = random.Random(seed), seed, may_lose
        self.until = time.monotonic() + seconds
        self.ledger = Ledger()
        self.is_over = threading.Event()
        self.faults: list[str] = []
        self.config = folder / "sluice.ini"
        self.config.write_text(CONFIG)

    # Publishing.

    def publish_one(self, mine: random.Random, channel: str, text: str) -> None:
        """Until some node accepts it, and be it the next one because this one is killed."""
        deadline = time.monotonic() + 3 * PATIENCE
        while True:
            try:
                self.ledger.publish(mine.choice(self.nodes).server, channel, text, patience=3 * PATIENCE)
                return
            except OSError:
                assert time.monotonic() < deadline
            except AssertionError as error:
                assert "ended" in str(error) or "closed" in str(error) or not str(error), error
            time.sleep(0.02)

    def publish(self, number: int) -> None:
        mine, count = random.Random(self.seed + number), 0
        while not self.is_over.is_set():
            channel, count = mine.choice(CHANNELS), count + 1
            if number == 0 and not self.may_lose:
                self.ledger.fcall(self.redis, channel, f"{number} {count}", patience=3 * PATIENCE)
            elif number == 1:
                with contextlib.suppress(OSError, AssertionError), Connection(mine.choice(self.nodes).server) as connection:
                    connection.request("POST", path_of(channel, store="no"), f"passing {count}")
            else:
                self.publish_one(mine, channel, f"{number} {count}")
            self.is_over.wait(mine.random() * 0.02)

    # Faults.

    def kill_node(self) -> None:
        node = self.nodes[-1]
        node.kill()
        self.pause(0.5)
        node.start()

    def kill_redis(self) -> None:
        self.redis.kill()
        self.pause(0.5)
        self.redis.start()

    def cut(self) -> None:
        self.random.choice(self.relays).cut(self.random.choice(["all", "commands", "subscriptions"]), self.random.random() < 0.5)

    def swallow(self) -> None:
        self.random.choice(self.relays).swallow(self.random.choice(["commands", "subscriptions"]))

    def drop(self) -> None:
        relay = self.random.choice(self.relays)
        relay.drop = lambda reply: b"message" in reply[:20] and self.random.random() < 0.5
        self.pause(0.5)
        relay.drop = lambda reply: False

    def evict(self) -> None:
        key = self.random.choice([meta_key, stream_key])(self.random.choice(CHANNELS))
        with contextlib.suppress(OSError):
            self.redis.client.delete(key)

    def pause(self, longest: float) -> None:
        self.is_over.wait(self.random.random() * longest)

    # The whole.

    def run(self) -> None:
        print(f"seed {self.seed}")
        with contextlib.ExitStack() as stack:
            self.redis = stack.enter_context(RedisServer(aof=True))
            self.relays = [stack.enter_context(Relay(self.redis.port, lambda reply: False)) for _ in range(3)]
            self.nodes: list[Node] = []
            for relay in self.relays:
                self.nodes.append(Node(relay.url, self.config))
                stack.callback(self.nodes[-1].close)
            # The last node may be killed: nobody hangs on that.
            followers = follow([node.server for node in self.nodes[:-1]], *TREES, kinds=("stream", "poll", "websocket", "commands"))
            returners = [Returner(self.nodes, tree, self.seed + i) for i, tree in enumerate(TREES)]
            for returner in returners:
                returner.start()
            publishers = run_all([lambda n=number: self.publish(n) for number in range(5)])
            choices: list[Callable[[], None]] = [self.kill_node, self.kill_redis, self.cut, self.swallow, self.drop]
            try:
                while time.monotonic() < self.until:
                    fault = self.random.choice([*choices, self.evict] if self.may_lose else choices)
                    self.faults.append(fault.__name__)
                    fault()
                    self.pause(1)
            finally:
                self.is_over.set()
                print(f"faults: {' '.join(self.faults)}")
                for returner in returners:
                    returner.is_let_go = self.may_lose
            for node in self.nodes:
                assert not (said := [line["reason"] for line in log_lines(node.server, "broker-refused")]), said
            join_all(publishers)
            for node in self.nodes:
                await_ready(node.server, timeout=2 * PATIENCE)
            finish(self.ledger, self.nodes[0].server, followers, patience=3 * PATIENCE)
            for returner in returners:
                returner.join(2 * PATIENCE)
                assert not returner.is_alive() and not returner.track.faults, returner.track.faults[:5]
            print(f"{len(self.ledger)} accepted, {len(self.ledger.refusals)} refused")
            self.check_logs()
            if not self.may_lose:
                for track in [*(track for follower in followers for track in follower.tracks.values()),
                              *(returner.track for returner in returners)]:
                    self.check_track(track)

    def check_logs(self) -> None:
        for tree in TREES:
            found: dict[bytes, list[bytes]] = {}
            for _, fields in self.redis.client.xrange(stream_key(tree)):
                found.setdefault(fields.get(b"channel", tree.encode()), []).append(fields[b"data"])
            assert set(found) <= {channel.encode() for channel in below(tree)}
            for channel in below(tree):
                told = [data for _, data in self.redis.entries(channel)] if channel not in TREES else \
                    [fields[b"data"] for _, fields in self.redis.client.xrange(stream_key(channel)) if b"channel" not in fields]
                merged = found.get(channel.encode(), [])
                assert not any(data.startswith(b"passing") for data in [*told, *merged])
                if self.may_lose:  # a log that was evicted has what came after that
                    fewest = min(len(told), len(merged))
                    assert told[len(told) - fewest:] == merged[len(merged) - fewest:], f"{channel} in {tree}"
                else:
                    assert told == merged, f"{channel} in {tree}"
                    assert sorted(data.decode() for data in told) == sorted(self.ledger.of(channel)), channel

    def check_track(self, track: Track) -> None:
        """Once each, and those of one channel in its order."""
        assert not track.resets, track.resets
        for channel in below(track.channel):
            accepted = self.ledger.of(channel)
            in_order = sorted(accepted, key=lambda data: split_id(accepted[data])[1])
            seen = [data for data in track.data if data in accepted and data != END]
            assert seen == [data for data in in_order if data != END], f"{channel} as told of {track.channel}"


@pytest.mark.parametrize(("seconds", "may_lose"), [
    (8, False), (8, True), pytest.param(120, False, marks=pytest.mark.long), pytest.param(120, True, marks=pytest.mark.long)])
def test_the_log_of_a_tree_is_exactly_the_merge(seconds: float, may_lose: bool, tmp_path: pathlib.Path) -> None:
    Storm(int(os.environ.get("SLUICE_SEED") or random.randrange(1 << 30)), seconds, may_lose, tmp_path).run()
