# SPDX-License-Identifier: MIT
"""Random publishers, random faults, subscribers of every kind on three nodes: at the end each has every accepted message once and
in order, or was told of a reset. The seed is printed; SLUICE_SEED repeats it as far as threads allow."""

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable

import pytest
from support.client import request
from support.follow import Ledger, check_complete, finish, follow, join_all, run_all
from support.redis import KEEP_ALL, RedisServer, await_ready, nodes
from support.relay import Relay
from support.server import PATIENCE, Server

CHANNELS = ("one", "two/a", "two/b", "three/x/y")


class Storm:
    """Publishes and breaks things for some seconds. What is broken is mended before the next fault."""

    def __init__(self, seed: int, seconds: float, may_lose: bool) -> None:
        self.random = random.Random(seed)
        self.seed, self.may_lose = seed, may_lose
        self.until = time.monotonic() + seconds
        self.ledger = Ledger()
        self.is_over = threading.Event()
        self.faults: list[str] = []

    def publish(self, server: Server | None, redis: RedisServer, number: int) -> None:
        """One by one and in batches through a node, or past all nodes."""
        mine, count = random.Random(self.seed + number), 0
        while not self.is_over.is_set():
            channel, count = mine.choice(CHANNELS), count + 1
            text = f"{number} {count}"
            if server is None:
                self.ledger.fcall(redis, channel, text, patience=3 * PATIENCE)
            elif mine.random() < 0.1:
                texts = [f"{text} {i}" for i in range(mine.randrange(1, 40))]
                self.ledger.publish_batch(server, channel, texts, patience=3 * PATIENCE)
            else:
                self.ledger.publish(server, channel, text, patience=3 * PATIENCE)
            if mine.random() < 0.3:
                self.is_over.wait(mine.random() * 0.05)

    def pause(self, longest: float) -> None:
        self.is_over.wait(self.random.random() * longest)

    def faults_of(self, redis: RedisServer, relays: list[Relay], servers: list[Server]) -> list[Callable[[], None]]:
        """The data stay, whatever of these happens."""
        def kind() -> str:
            return self.random.choice(["all", "commands", "subscriptions"])

        def kill_clients() -> None:
            redis.kill_clients(self.random.choice(["normal", "pubsub"]))

        def cut() -> None:
            self.random.choice(relays).cut(kind(), self.random.random() < 0.5)

        def swallow() -> None:
            self.random.choice(relays).swallow(kind(), *self.random.choice([(True, False), (False, True), (True, True)]))

        def hold() -> None:
            relay, held = self.random.choice(relays), kind()
            relay.hold(held)
            self.pause(2)
            relay.hold("all", is_held=False)

        def tear() -> None:
            relay = self.random.choice(relays)
            relay.split, relay.delay = self.random.choice([1, 3, 100]), self.random.choice([0, 0.001])
            self.pause(0.5)
            relay.split, relay.delay = 0, 0

        def refuse() -> None:
            relay = self.random.choice(relays)
            relay.is_refusing = True
            relay.cut()
            self.pause(1.5)
            relay.is_refusing = False

        def drop() -> None:
            relay = self.random.choice(relays)
            relay.drop = lambda reply: b"message" in reply[:20] and self.random.random() < 0.5
            self.pause(0.5)
            relay.drop = lambda reply: False

        def hang() -> None:
            with redis.stopped():
                self.pause(1.5)

        def sleep() -> None:
            redis.client.execute_command("DEBUG", "SLEEP", self.random.random())

        def kill() -> None:
            redis.kill()
            self.pause(0.7)
            redis.start()

        def purge() -> None:
            request(self.random.choice(servers), "DELETE", f"/api/channels/{self.random.choice(CHANNELS)}")

        def flush() -> None:
            redis.client.flushall()

        return [kill_clients, cut, swallow, hold, tear, refuse, drop, hang, sleep, kill] + ([purge, flush] if self.may_lose else [])

    def run(self) -> None:
        print(f"seed {self.seed}")
        with contextlib.ExitStack() as stack:
            redis = stack.enter_context(RedisServer(aof=True))
            relays = [stack.enter_context(Relay(redis.port, lambda reply: False)) for _ in range(3)]
            servers = stack.enter_context(nodes(3, *(relay.url for relay in relays),
                                                options=(*KEEP_ALL, "--redis-timeout", "500ms", "--redis-probe-time", "500ms")))
            followers = follow(servers, *CHANNELS)
            publishers = run_all([lambda s=server, n=number: self.publish(s, redis, n)
                                  for number, server in enumerate([*servers, None])])
            try:
                choices = self.faults_of(redis, relays, servers)
                while time.monotonic() < self.until:
                    fault = self.random.choice(choices)
                    self.faults.append(fault.__name__)
                    fault()
                    self.pause(1)
            finally:
                self.is_over.set()
                print(f"faults: {' '.join(self.faults)}")
            join_all(publishers)
            for server in servers:
                await_ready(server, timeout=2 * PATIENCE)
            finish(self.ledger, self.random.choice(servers), followers, patience=3 * PATIENCE)
            print(f"{len(self.ledger)} accepted, {len(self.ledger.refusals)} refused,",
                  f"{sum(len(track.resets) for follower in followers for track in follower.tracks.values())} resets told")
            for channel in CHANNELS:
                entries = redis.entries(channel)
                kept = {data for _, data in entries}
                twice = [(offset, data) for offset, data in entries if sum(data == other for _, other in entries) > 1] \
                    if len(kept) < len(entries) else []
                assert not twice, f"{channel}: appended twice: {twice}"
                if not self.may_lose:
                    assert {text.encode() for text in self.ledger.of(channel)} <= kept, f"{channel}: accepted, and not in Redis"
            if not self.may_lose:
                check_complete(self.ledger, followers)


def seed() -> int:
    return int(os.environ.get("SLUICE_SEED") or random.randrange(1 << 30))


@pytest.mark.parametrize("may_lose", [False, True])
def test_nobody_misses_anything_silently(may_lose: bool) -> None:
    Storm(seed(), 10, may_lose).run()


@pytest.mark.long
@pytest.mark.parametrize("may_lose", [False, True])
def test_nobody_misses_anything_silently_for_minutes(may_lose: bool) -> None:
    Storm(seed(), 150, may_lose).run()
