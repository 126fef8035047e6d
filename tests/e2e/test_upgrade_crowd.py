# SPDX-License-Identifier: MIT
"""An upgrade under load with 5,000 clients: nothing lost, no connection refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import re
import resource
import threading
import time
from typing import Any

import pytest
from support.client import publish
from support.follow import Ledger
from support.upgrade import UpgradingServer

PROCESSES, CLIENTS = 5, 1000
DESCRIPTORS = 20000
END = "end"


async def follow(port: int, facts: dict[str, float]) -> list[int]:
    """Comes back with its cursor, when it is told to."""
    cursor, seen = "now", []
    while True:
        wait = 0.2
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            facts["refused"] += 1
            await asyncio.sleep(wait)
            continue
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionResetError):
            writer.write(f"GET /channels/c?transport=stream&since={cursor} HTTP/1.0\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            while line := await reader.readline():
                told = json.loads(line) if line != b"\n" else {}
                wait = told.get("retry_after", wait)
                facts["resets"] += "reset" in told
                cursor = told.get("cursor", cursor)
                if "id" not in told:
                    facts["opened"] += "cursor" in told
                    continue
                if told["data"] == END:
                    writer.close()
                    return seen
                number, said = told["data"].split()
                seen.append(int(number))
                facts["wait"] = max(facts["wait"], time.time() - float(said))
        writer.close()
        await asyncio.sleep(wait)


def crowd(port: int, ready: Any, results: Any) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    facts = {"refused": 0.0, "resets": 0.0, "opened": 0.0, "wait": 0.0}

    async def run() -> list[list[int]]:
        tasks = [asyncio.create_task(follow(port, facts)) for _ in range(CLIENTS)]
        while facts["opened"] < CLIENTS:
            await asyncio.sleep(0.1)
        ready.release()
        return await asyncio.gather(*tasks)

    results.put((facts, asyncio.run(run())))


@pytest.mark.long
def test_an_upgrade_under_load_loses_nothing_and_refuses_no_connection() -> None:
    ready, results, over = multiprocessing.Semaphore(0), multiprocessing.Queue(), threading.Event()
    ledger = Ledger(errors=("stopping",))
    count = 0

    def speak() -> None:
        nonlocal count
        while not over.is_set():
            ledger.publish(server, "c", f"{count} {time.time()}")
            count += 1
            time.sleep(0.05)

    with UpgradingServer("--shards", "2", "--history-size", "100000", drain_time="3") as server:
        crowds = [multiprocessing.Process(target=crowd, args=(server.port, ready, results)) for _ in range(PROCESSES)]
        for process in crowds:
            process.start()
        assert all(ready.acquire(timeout=60) for _ in crowds)
        speaker = threading.Thread(target=speak)
        speaker.start()
        time.sleep(1)
        before, begun = server.resident_bytes(), time.monotonic()
        server.upgrade()
        served = time.monotonic() - begun
        server.await_old()
        ended = time.monotonic() - begun
        over.set()
        speaker.join()
        publish(server, "c", END)
        found = [results.get(timeout=60) for _ in crowds]
        refused = re.findall(r"refused_ms=(\d+)", server.log())
        print(f"{PROCESSES * CLIENTS} clients: the next process serves after {served:.2f} s, publishes refused for {refused[0]} ms, the old one "
              f"ended after {ended:.2f} s, the longest wait for a message {max(facts['wait'] for facts, _ in found):.2f} s, "
              f"memory {before >> 20} MiB and {server.resident_bytes() >> 20} MiB")
        for facts, seen in found:
            assert facts["refused"] == facts["resets"] == 0, facts
            assert facts["opened"] == 2 * CLIENTS, "each came back once"
            assert all(numbers == list(range(count)) for numbers in seen)
