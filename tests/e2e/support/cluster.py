# SPDX-License-Identifier: MIT
"""A Redis Cluster of three masters, without replicas."""

from __future__ import annotations

import contextlib
from typing import Any

from .redis import RedisServer
from .server import PATIENCE, wait_until
from .tls import Pair

SLOTS = 16384


class Cluster:
    """`with Cluster() as cluster:`; the slots are spread evenly."""

    def __init__(self, *options: str, **more: Pair) -> None:
        self.options, self.more = options, more

    def __enter__(self) -> Cluster:
        with contextlib.ExitStack() as stack:
            self.masters: list[RedisServer] = []
            for _ in range(3):
                self.masters.append(stack.enter_context(RedisServer(
                    "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no",
                    *self.options, aof=True, has_bus=True, **self.more)))
            first = self.masters[0]
            for number, master in enumerate(self.masters):
                master.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                begin, end = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
                master.client.execute_command("CLUSTER", "ADDSLOTSRANGE", begin, end)
                if master is not first:
                    first.client.execute_command("CLUSTER", "MEET", "127.0.0.1", master.port, master.bus)
            self.await_whole()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stack.close()

    def await_whole(self) -> None:
        """All masters know one another, answer, and have heard of the last move.

        A master that has not takes a slot back without a new epoch, and then they disagree about its owner for good.
        """
        def is_whole() -> bool:
            facts = [self.info(master) for master in self.masters]
            if len({fact["cluster_current_epoch"] for fact in facts}) > 1:
                return False
            return all(fact["cluster_state"] == "ok" and fact["cluster_slots_ok"] == str(SLOTS) and
                       fact["cluster_known_nodes"] == "3" for fact in facts)

        wait_until(is_whole, timeout=2 * PATIENCE, what="the cluster's being whole")

    @staticmethod
    def info(master: RedisServer) -> dict[str, str]:
        said: Any = master.client.execute_command("CLUSTER", "INFO")
        text = said.decode() if isinstance(said, bytes) else said
        pairs = text if isinstance(text, dict) else dict(line.split(":", 1) for line in text.split("\r\n") if line)
        return {str(key): str(value) for key, value in pairs.items()}

    def url(self, *ports: int) -> str:
        return ",".join(f"{self.masters[0].scheme}://127.0.0.1:{port}/0" for port in ports or [master.port for master in self.masters])

    def slot_of(self, channel: str) -> int:
        return int(self.masters[0].client.execute_command("CLUSTER", "KEYSLOT", f"{{{channel.split('/')[0]}}}"))

    def owner_of(self, slot: int) -> RedisServer:
        """Once all masters agree on it; after a move it takes them a moment."""
        def ports() -> set[int]:
            return {owner[1] for master in self.masters if master.process
                    for begin, end, owner, *_ in master.client.execute_command("CLUSTER", "SLOTS") if begin <= slot <= end}

        port = wait_until(lambda: len(found := ports()) == 1 and found.pop(), what=f"one owner of slot {slot}")
        return next(master for master in self.masters if master.port == port)

    def channels(self, per_master: int = 1) -> list[str]:
        """Names whose slots lie on the masters in turn."""
        found: dict[int, list[str]] = {master.port: [] for master in self.masters}
        number = 0
        while min(len(names) for names in found.values()) < per_master:
            number += 1
            name = f"c{number}/x"
            found[self.owner_of(self.slot_of(name)).port].append(name)
        return [names[i] for i in range(per_master) for names in found.values()]

    @staticmethod
    def id_of(master: RedisServer) -> str:
        said = master.client.execute_command("CLUSTER", "MYID")
        return said.decode() if isinstance(said, bytes) else said

    def begin_move(self, slot: int, target: RedisServer) -> RedisServer:
        """From now on keys that are not there any more are answered with ASK; returns the owner."""
        source = self.owner_of(slot)
        target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))
        return source

    def move_keys(self, slot: int, source: RedisServer, target: RedisServer) -> int:
        moved = 0
        while keys := source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            moved += len(keys)
        return moved

    def end_move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        for master in (target, source, *[other for other in self.masters if other not in (source, target)]):
            master.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))

    def move_slot(self, slot: int, target: RedisServer) -> int:
        source = self.begin_move(slot, target)
        moved = self.move_keys(slot, source, target)
        self.end_move(slot, source, target)
        return moved
