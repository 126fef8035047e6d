# SPDX-License-Identifier: MIT
"""Trees above a channel, and slow readers that are told the newest only."""

from __future__ import annotations

import pathlib
import socket
import tempfile
from collections.abc import Callable

from figures import Figures, Row, alternate, row, scale
from servers import Process, Sluice, client, measure, result_of

DEEP = "nobody/listens/to/what/is/here"


def configured(text: str, *options: str) -> Callable[[], Process]:
    """A server with that configuration file."""
    file = tempfile.NamedTemporaryFile("w", suffix=".ini", delete=False)
    file.write(text)
    file.close()
    return lambda: Sluice("--config", file.name, *options)


def trees() -> list[Row]:
    """Nobody listens, so that the figure is that of publishing; each log keeps 100 messages."""
    sections = "".join(f"[channel \"{name}\"]\ntree = yes\n" for name in ("nobody", "nobody/listens", "nobody/listens/to",
                                                                         "nobody/listens/to/what"))
    number = {"burst": 1000, "messages": scale(300), "channel": DEEP}
    flat, deep, singles, deep_singles = alternate(
        lambda: measure(Sluice, "publish", **number), lambda: measure(configured(sections), "publish", **number),
        lambda: measure(Sluice, "publish", burst=1, messages=scale(20_000), channel=DEEP),
        lambda: measure(configured(sections), "publish", burst=1, messages=scale(20_000), channel=DEEP))
    ratio, one = deep["cpu_us"] / flat["cpu_us"], deep_singles["cpu_us"] / singles["cpu_us"]
    return [row("a publish below four trees, one a request", f"{deep_singles['cpu_us']:.2f} µs CPU; to a flat channel {singles['cpu_us']:.2f} µs", "",
                f"at most 1.5 times: **{one:.2f}**", one <= 1.5),
            row("the same in batches of 1,000", f"{deep['cpu_us']:.2f} µs CPU a message; to a flat channel {flat['cpu_us']:.2f} µs", "",
                f"at most 1.5 times: **{ratio:.2f}**", ratio <= 1.5)]


def silent_readers(path: str, count: int) -> list[socket.socket]:
    """They read nothing; the kernel keeps little for them, because they are on a Unix socket."""
    sockets = []
    for _ in range(count):
        reader = socket.socket(socket.AF_UNIX)
        reader.connect(path)
        reader.sendall(b"GET /channels/all?policy=newest HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n")
        sockets.append(reader)
    return sockets


def newest() -> list[Row]:
    """1,000 updates a second of 100 keys in batches of 10, to those who read and count every message; beside them as many
    who do not read, and want the newest only."""
    readers = scale(500)
    load = {"connections": readers, "messages": scale(500), "burst": 10, "rate": 100, "keys": 100}

    folder = tempfile.mkdtemp(prefix="sluice-bench-")

    def make() -> Process:
        return Sluice("--http", f"unix:{folder}/socket", "--history-size", "10000", "--slow-client-timeout", "1h")

    def beside() -> Figures:
        server = make()
        try:
            slow = silent_readers(f"{folder}/socket", readers)
            status = pathlib.Path(f"/proc/{server.process.pid}/statm")
            result_of(client(server, "load", **{**load, "messages": scale(200)}))
            before = int(status.read_text().split()[1])
            found = result_of(client(server, "load", **load))
            found["grown"] = (int(status.read_text().split()[1]) - before) * 4096
            for each in slow:
                each.close()
            return found
        finally:
            server.end()

    alone, crowded = alternate(lambda: measure(make, "load", **load), beside)
    more = (crowded["p99_us"] - alone["p99_us"]) / 1000
    return [row(f"1,000 updates/s of 100 keys to {readers:,} who read, beside {readers:,} slow ones with policy = newest",
                f"p50 {crowded['p50_us'] / 1000:.2f} ms, p99 {crowded['p99_us'] / 1000:.2f} ms; memory grown by {crowded['grown'] / 2**20:.1f} MiB",
                f"without the slow: p99 {alone['p99_us'] / 1000:.2f} ms", f"at most 2 ms more at p99: **{more:.2f} ms**", more <= 2)]
