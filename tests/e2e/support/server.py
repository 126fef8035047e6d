# SPDX-License-Identifier: MIT
"""A server under test: started on free ports, awaited by its ready file, checked for a clean end."""

from __future__ import annotations

import contextlib
import copy
import os
import pathlib
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from .tls import OVER_TLS, Tls, common_tls

SLUICE = os.environ.get("SLUICE", "sluice")
SOURCE = pathlib.Path(os.environ.get("SOURCE_DIR", pathlib.Path(__file__).resolve().parents[3]))
REPORTS = ("AddressSanitizer", "LeakSanitizer", "runtime error:", "ThreadSanitizer")
PATIENCE = 45.0

Value = TypeVar("Value")


def wait_until(condition: Callable[[], Value], timeout: float = PATIENCE, what: str = "the condition") -> Value:
    """Asks until the answer is true; returns it."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout} s"
        time.sleep(0.005)


class Server:
    """`with Server("--option", "value") as server:`; options that matter to every test have presets."""

    def __init__(self, *options: str, environment: dict[str, str] | None = None, descriptors: int | None = None,
                 http: str = "127.0.0.1:0", expect_exit: int | None = 0, program: str = SLUICE, tls: Tls | None = None) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="sluice-test-")
        self.ready_file = pathlib.Path(self.folder.name) / "ready"
        self.log_file = pathlib.Path(self.folder.name) / "log"
        self.options = ["--http", http, "--ready-file", str(self.ready_file), "--drain-time", "0.1"]
        # SLUICE_TEST_SECCOMP=yes runs every test within the filter of system calls.
        confined = ["--seccomp", os.environ.get("SLUICE_TEST_SECCOMP", "no")] if program == SLUICE else []
        self.options += ["--static-dir", str(SOURCE / "static"), *confined, *self.trust(options), *options]
        self.tls = tls or (common_tls() if OVER_TLS else None)
        if self.tls:
            self.options = self.tls.declare(self.options)
        # AddressSanitizer would keep what is freed, and the tests look at memory.
        asan = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=4"
        # What the runner of the tests is told by SLUICE_..., the server would warn of.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
        self.environment = {**inherited, "ASAN_OPTIONS": asan.lstrip(":"), **(environment or {})}
        self.program = program
        self.descriptors = descriptors
        self.expect_exit = expect_exit
        self.process: subprocess.Popen[bytes]
        self.port = 0

    @staticmethod
    def trust(options: tuple[str, ...]) -> list[str]:
        """Whoever is to speak TLS with the tests' Redis trusts its certificate, unless a test says otherwise."""
        if "--redis-tls-ca" in options or not any(word.startswith(("rediss://", "rediss-sentinel://")) for word in options):
            return []
        from .redis import redis_authority
        return ["--redis-tls-ca", str(redis_authority().pair.cert)]

    def _limit(self) -> None:
        if self.descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors, self.descriptors))

    def start(self) -> Server:
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen([self.program, "serve", *self.options], stderr=log, stdin=subprocess.DEVNULL,
                                            env=self.environment, preexec_fn=self._limit)
        wait_until(lambda: self.ready_file.exists() or self.process.poll() is not None, what="the server's start")
        assert self.process.poll() is None, f"the server ended with {self.process.returncode}:\n{self.log()}"
        self.port = self.listeners("http")[0]
        return self

    def listeners(self, option: str) -> list[int]:
        """The ports of an option's listeners, Unix sockets left out."""
        words = [line.split() for line in self.ready_file.read_text().splitlines()]
        return [int(address.rsplit(":", 1)[1]) for name, address in words if name == option and not address.startswith("unix:")]

    def at(self, port: int) -> Server:
        """The same server, for those who talk to another of its listeners."""
        other = copy.copy(self)
        other.port = port
        return other

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not stop:\n{self.log()}") from None
        log = self.log()
        assert not any(report in log for report in REPORTS), log
        assert self.expect_exit is None or status == self.expect_exit, f"exit status {status}:\n{log}"

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *failure: object) -> None:
        try:
            self.stop()
        finally:
            self.folder.cleanup()

    def cpu_seconds(self) -> float:
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Each of its threads stands still, which is some time after the signal, until the end of the block."""
        threads = pathlib.Path(f"/proc/{self.process.pid}/task")
        self.process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: all((thread / "stat").read_text().rsplit(")", 1)[1].split()[0] == "T" for thread in threads.iterdir()))
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def descriptor_folder(self) -> pathlib.Path:
        return pathlib.Path(f"/proc/{self.process.pid}/fd")

    def resident_bytes(self) -> int:
        return int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def peak_bytes(self) -> int:
        """The most that was ever resident."""
        lines = pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
