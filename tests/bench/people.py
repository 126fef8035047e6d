# SPDX-License-Identifier: MIT
"""What it costs that somebody comes into a channel where many are, beside a channel that does not know who is there."""

from __future__ import annotations

import pathlib
import socket
import time

from figures import Figures, Row, alternate, row, scale
from servers import Redis, Sluice

THERE = scale(10_000)
MORE = scale(4000)
REQUEST = "GET /channels/people?as=person{0:06} HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n"


def cpu_us(pid: int) -> float:
    return sum(int(path.read_text().split()[0]) for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1000


def come(server: Sluice, numbers: range) -> list[socket.socket]:
    """Comes back once everybody's stream has begun."""
    people = []
    for number in numbers:
        person = socket.create_connection(("127.0.0.1", server.port))
        person.sendall(REQUEST.format(number).encode())
        people.append(person)
    for person in people:
        person.recv(4096)
    return people


def joining(*options: str) -> Figures:
    server = Sluice(*options)
    try:
        people = come(server, range(THERE))
        time.sleep(0.5)  # what comes after is not counted
        before = cpu_us(server.pid)
        people += come(server, range(THERE, THERE + MORE))
        time.sleep(0.5)
        used = cpu_us(server.pid) - before
        for person in people:
            person.close()
        return {"us": used / MORE}
    finally:
        server.end()


def presence() -> list[Row]:
    rows = []
    for name, broker in (("in memory", "memory:"), ("over Redis", "")):
        redis = None if broker else Redis()
        try:
            url = broker or f"redis://127.0.0.1:{redis.port}"
            without, known = alternate(lambda: joining("--broker", url), lambda: joining("--broker", url, "--presence", "yes"))
        finally:
            if redis:
                redis.end()
        more = known["us"] - without["us"]
        rows.append(row(f"a join with {THERE:,} people there, {name}", f"{known['us']:.1f} µs CPU with the connection",
                        f"without presence: {without['us']:.1f} µs", f"at most 30 µs more: **{more:.1f}**", more <= 30))
    return rows
