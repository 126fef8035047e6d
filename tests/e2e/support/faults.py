# SPDX-License-Identifier: MIT
"""A server whose calls fail when a test says so (tests/faults/faults.c)."""

from __future__ import annotations

import errno
import mmap
import os
import pathlib
import struct
import tempfile

from .server import SLUICE, Server

PROGRAM = os.environ.get("SLUICE_FAULTY", str(pathlib.Path(SLUICE).with_name("tests") / "faults" / "sluice-faulty"))
RECORD = struct.Struct("=32sqqqq")
KINDS = {
    "malloc": errno.ENOMEM, "calloc": errno.ENOMEM, "realloc": errno.ENOMEM, "accept4": errno.EMFILE,
    "epoll_ctl_add": errno.ENOSPC, "epoll_ctl_mod": errno.ENOMEM, "epoll_wait_stuck": 0, "epoll_wait_slow": 1000,
    "epoll_wait_execve": 0,
    "add_connection_early": errno.ENOMEM, "add_connection_late": 0, "getaddrinfo": 0, "getaddrinfo_held": 0, "getaddrinfo_double": 0,
    "fcntl_dup": errno.EMFILE, "dup3": errno.EINTR, "strdup": errno.ENOMEM, "send": errno.ECONNRESET, "recv": errno.ECONNRESET,
    "setsockopt": errno.ENOBUFS, "socket": errno.EMFILE, "connect": errno.ECONNREFUSED, "listen": errno.EADDRINUSE,
    "getaddrinfo_fails": 0, "open": errno.EMFILE, "read": errno.EIO, "write": errno.EIO, "mmap": errno.ENOMEM,
    "thread": errno.EAGAIN, "mhd": errno.ENOMEM, "judy": errno.ENOMEM, "library": errno.ENOMEM, "jose": errno.ENOMEM,
    "tls": errno.ENOMEM,
}
EVER = 1 << 62


class FaultyServer(Server):
    """`with FaultyServer(…) as server: server.fail("calloc", 3)` lets the third call from now fail."""

    def __init__(self, *options: str, from_start: tuple[str, ...] = (), at_start: tuple[str, int] = ("", 0), **more: object) -> None:
        self.file = tempfile.TemporaryFile(prefix="sluice-faults-")
        for name, number in KINDS.items():
            self.file.write(RECORD.pack(name.encode(), -EVER if name in from_start else at_start[1] * (name == at_start[0]), number, 0, 0))
        self.file.flush()
        self.memory = mmap.mmap(self.file.fileno(), 0)
        path = f"/proc/{os.getpid()}/fd/{self.file.fileno()}"
        shards = () if "--shards" in options else ("--shards", "1")
        super().__init__(*shards, *options, environment={"SLUICE_FAULTS": path}, program=PROGRAM, **more)  # type: ignore[arg-type]

    def _put(self, kind: str, countdown: int, number: int, following: int) -> None:
        at = list(KINDS).index(kind) * RECORD.size + 32
        struct.pack_into("=q", self.memory, at + 8, number)
        struct.pack_into("=q", self.memory, at + 24, following)
        struct.pack_into("=q", self.memory, at, countdown)

    def _get(self, kind: str, field: int) -> int:
        return RECORD.unpack_from(self.memory, list(KINDS).index(kind) * RECORD.size)[field]

    def fail(self, kind: str, nth: int = 1, number: int | None = None, following: int = 0) -> None:
        """The nth call from now, and as many of those after it."""
        self._put(kind, nth, KINDS[kind] if number is None else number, following)

    def fail_all(self, kind: str, number: int | None = None) -> None:
        """From now on, until `mend`."""
        self.fail(kind, -EVER, number)

    def has_failed(self, kind: str) -> bool:
        """Whether the fault that was asked for by its number has come."""
        return self._get(kind, 1) <= 0

    def mend(self, kind: str) -> bool:
        """No further faults; whether the one that was asked for by its number has come."""
        has_failed = self.has_failed(kind)
        self.fail(kind, 0)
        return has_failed

    def calls(self, kind: str) -> int:
        return self._get(kind, 3)

    def open_descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))
