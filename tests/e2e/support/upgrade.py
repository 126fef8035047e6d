# SPDX-License-Identifier: MIT
"""A server that is told to let another process take its place, and who follows a channel over that."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

from .client import Connection, Ended, EventStream, LineStream, Refused, path_of, publish, request_bytes
from .follow import END, KINDS, Ledger
from .server import PATIENCE, SLUICE, Server, wait_until
from .websocket import WebSocket

PR_SET_CHILD_SUBREAPER = 36

# A program that plays the next process: what it does stands in {steps}.
IMPOSTOR = """#!/usr/bin/python3
import array, os, socket, struct, sys, time
peer = socket.socket(fileno=int(os.environ["UPGRADE_FD"]))
READY, LOADED, SOCKETS, END, GO = 12, 13, 1, 10, 11
texts = {{0: 2, 2: 1, 3: 2, 4: 5, 5: 1, 6: 1, 7: 1, 8: 1, 9: 2, 13: 1}}
data = b""
def until(kind):
    global data
    while True:
        while len(data) >= 4 and len(data) >= (size := struct.unpack_from("=I", data)[0]):
            found, data = data[4], data[size:]
            if found == kind:
                return
        more, _, _, _ = socket.recv_fds(peer, 65536, 253)
        if not more:
            sys.exit(9)
        data += more
def say(kind, *numbers, text=None):
    body = struct.pack("=B", kind) + b"".join(struct.pack("=Q", number) for number in numbers)
    if text is not None:
        body += struct.pack("=I", len(text)) + text
    peer.sendall(struct.pack("=I", len(body) + 4) + body)
{steps}
"""

# A program that starts the real one, {program}, and stands between it and the old process. `before(kind, data)` of {steps} is called with
# the numbers of the records of the old process, and what they are passed on with; `child` is the new process.
RELAY = """#!/usr/bin/python3
import os, pathlib, random, signal, socket, struct, subprocess, sys, threading, time
END, GO, CLIENT = 10, 11, 15
old = socket.socket(fileno=os.dup(int(os.environ["UPGRADE_FD"])))
ours, theirs = socket.socketpair()
os.dup2(theirs.fileno(), 3)
theirs.close()
child = subprocess.Popen(["{program}", *sys.argv[1:]], pass_fds=(3,))
os.close(3)
def before(kind, data):
    pass
{steps}
def answer():
    while data := ours.recv(65536):
        old.sendall(data)
    old.shutdown(socket.SHUT_RDWR)
threading.Thread(target=answer, daemon=True).start()
rest = b""
while True:
    data, fds, _, _ = socket.recv_fds(old, 65536, 253)
    rest += data
    while len(rest) >= 5 and len(rest) >= (size := struct.unpack_from("=I", rest)[0]):
        before(rest[4], data)
        rest = rest[size:]
    if not data:
        break
    socket.send_fds(ours, [data], fds) if fds else ours.sendall(data)
    for fd in fds:
        os.close(fd)
ours.shutdown(socket.SHUT_RDWR)
"""


class Heir:
    """A process that is not our child before its parent has ended; as subprocess.Popen."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float = PATIENCE) -> int:
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("sluice", timeout)
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class UpgradingServer(Server):
    """`program_file` is what the next process executes: the server's own copy of the program."""

    def __init__(self, *options: str, drain_time: str = "2", **more: object) -> None:
        super().__init__("--drain-time", drain_time, *options, **more)  # type: ignore[arg-type]
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.program_file = pathlib.Path(self.folder.name) / "sluice"
        shutil.copy(self.program, self.program_file)
        self.program = str(self.program_file)
        self.old: list[subprocess.Popen[bytes] | Heir] = []

    def count(self, event: str) -> int:
        return len(re.findall(rf"\bevent={event}\b", self.log()))

    def signal_upgrade(self) -> None:
        self.process.send_signal(signal.SIGUSR2)

    @contextlib.contextmanager
    def relayed(self, steps: str) -> Iterator[None]:
        """The next process is started by a RELAY with these steps; the one after it by itself."""
        kept = self.program_file.with_name(self.program_file.name + "+")
        shutil.copy(self.program_file, kept)
        say(self.program_file, RELAY.format(program=kept, steps=steps))
        yield
        self.program_file.unlink()
        shutil.copy(kept, self.program_file)
        with contextlib.suppress(FileNotFoundError):  # it may have been killed
            if os.readlink(f"/proc/{self.process.pid}/exe") == str(kept):
                self.program_file = kept  # which that one starts the next of

    def upgrade(self) -> Heir:
        """Returns once the next process serves; the one before it may still let clients go."""
        before, ready = self.count("succeeded"), self.count("ready")
        self.signal_upgrade()
        wait_until(lambda: self.count("succeeded") > before and self.count("ready") > ready, what=f"an upgrade: {self.log()}")
        return self.take_over()

    def take_over(self) -> Heir:
        heir = Heir(int(re.findall(r"event=succeeded pid=(\d+)", self.log())[-1]))
        self.old.append(self.process)
        self.process = heir  # type: ignore[assignment]
        return heir

    def fail_upgrade(self) -> str:
        """Returns why the process goes on."""
        before = self.count("upgrade-failed")
        self.signal_upgrade()
        wait_until(lambda: self.count("upgrade-failed") > before, what="a failure")
        return re.findall(r'event=upgrade-failed reason="?(.*?)"? action', self.log())[-1]

    def await_old(self) -> None:
        for process in self.old:
            assert process.wait(PATIENCE) == 0, self.log()
        self.old.clear()

    def stop(self, number: int = signal.SIGTERM) -> None:
        try:
            super().stop(number)
        finally:
            self.await_old()


class Resuming(threading.Thread):
    """Follows a channel as a careful client does: comes back with its cursor whenever it is let go."""

    def __init__(self, server: Server, kind: str, channel: str, end: str, since: str = "earliest") -> None:
        super().__init__(daemon=True)
        self.server, self.kind, self.channel, self.end = server, kind, channel, end
        self.cursor = since
        self.data: list[str] = []
        self.ids: list[str] = []
        self.times: dict[str, float] = {}  # when each came
        self.faults: list[str] = []
        self.returns = 0

    def take(self, name: str, data: str) -> None:
        self.times[data] = time.monotonic()
        self.cursor = name
        self.ids.append(name)
        self.data.append(data)

    def note_reset(self, what: object) -> None:
        self.faults.append(f"{self.kind}: a reset: {what}")

    @property
    def is_done(self) -> bool:
        return bool(self.data) and self.data[-1] == self.end

    def follow_sse(self) -> None:
        with EventStream(self.server, path_of(self.channel, since=self.cursor)) as stream:
            while not self.is_done and (block := stream.next_block()):
                if block.event == "reset":
                    self.note_reset(block.data)
                elif block.event == "subscribed":
                    self.cursor = block.id or self.cursor
                elif block.data is not None:
                    self.take(block.id or "", block.data)

    def take_line(self, line: dict[str, object]) -> None:
        if "reset" in line:
            self.note_reset(line)
        elif "id" in line:
            self.take(str(line["id"]), str(line["data"]))
        elif "cursor" in line:
            self.cursor = str(line["cursor"])

    def follow_stream(self) -> None:
        with LineStream(self.server, path_of(self.channel, since=self.cursor)) as stream:
            while not self.is_done:
                self.take_line(stream.next_line())

    def follow_websocket(self) -> None:
        with WebSocket(self.server, path_of(self.channel, since=self.cursor, format="json")) as client:
            while not self.is_done:
                self.take_line(client.take_json())

    def follow_commands(self) -> None:
        with WebSocket(self.server, "/ws") as client:
            client.put_json({"op": "subscribe", "ref": 1, "channels": [self.channel], "since": self.cursor})
            while not self.is_done:
                told = client.take_json()
                if told["op"] == "reset":
                    self.note_reset(told)
                elif told["op"] == "error":
                    assert told["code"] == "stopping", told
                    return
                else:
                    self.take_line(told)

    def follow_poll(self) -> None:
        with Connection(self.server) as connection:
            while not self.is_done:
                connection.send(request_bytes("GET", path_of(self.channel, since=self.cursor, wait=5), Accept="application/json"))
                response = connection.read_response()
                if response.status == 503:
                    return
                assert response.status in (200, 204), response
                for message in response.json["messages"] if response.status == 200 else []:
                    self.take(message["id"], message["data"])
                if response.status == 200 and response.json.get("reset"):
                    self.note_reset(response.json["reset"])
                self.cursor = response.cursor
                if response.header("Connection") == "close":
                    return

    def run(self) -> None:
        follow: Callable[[], None] = getattr(self, f"follow_{self.kind}")
        while not self.is_done and not self.faults:
            try:
                follow()
            except (Ended, Refused, BrokenPipeError):
                pass
            except ConnectionResetError:
                pass  # of a connection that was kept
            except Exception as error:  # noqa: BLE001 - told by the test's own thread
                self.faults.append(f"{self.kind}: {type(error).__name__}: {error}")
            self.returns += 1
            time.sleep(0.02)


def check(followers: list[Resuming], expected: list[str]) -> None:
    """Everybody got everything, once and in order."""
    for follower in followers:
        follower.join(3 * PATIENCE)
        assert not follower.faults, follower.faults
        assert not follower.is_alive(), f"{follower.kind}: nothing more behind {follower.cursor}, {len(follower.data)} of {len(expected)}"
        assert follower.data == expected, (follower.kind, len(follower.data), len(expected), follower.ids[-3:])


def run_upgrades(server: UpgradingServer, channels: list[str], count: int, pause: float = 0.3) -> tuple[list[Resuming], dict[str, list[str]]]:
    """So many in a row under a publisher and a follower of each kind on each channel; returns those, and what they are to see."""
    ledger = Ledger(errors=("stopping",))
    over = threading.Event()
    faults: list[str] = []
    followers = [Resuming(server, kind, channel, END) for channel in channels for kind in KINDS]
    for channel in channels:
        publish(server, channel, "first")
    for follower in followers:
        follower.start()

    def speak(channel: str) -> None:
        number = 0
        while not over.is_set():
            try:
                ledger.publish(server, channel, f"{channel} {number}")
            except Exception as error:  # noqa: BLE001 - told below
                faults.append(f"{type(error).__name__}: {error}")
                return
            number += 1

    speakers = [threading.Thread(target=speak, args=(channel,)) for channel in channels]
    for speaker in speakers:
        speaker.start()
    for _ in range(count):
        time.sleep(pause)
        server.upgrade()
    over.set()
    for speaker in speakers:
        speaker.join()
    assert not faults, faults
    expected = {}
    for channel in channels:
        ledger.publish(server, channel, END)
        accepted = sorted((int(name.split("-")[1]), data) for data, name in ledger.of(channel).items())
        assert [offset for offset, _ in accepted] == list(range(2, len(accepted) + 2)), "an offset is given once"
        expected[channel] = ["first", *(data for _, data in accepted)]
    return followers, expected


def keeper_of(pid: int) -> int:
    """The process that starts the next one; it takes its name some time after its server has forked it."""
    def find() -> int | None:
        for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError):
                if (pathlib.Path("/proc") / child / "comm").read_text() == "sluice-keeper\n":
                    return int(child)
        return None

    return wait_until(find, what="the keeper") or 0


def say(path: pathlib.Path, text: str) -> None:
    """A script takes the place of the program; not in one that is being executed."""
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(0o755)


__all__ = ["IMPOSTOR", "Heir", "Resuming", "SLUICE", "UpgradingServer", "check", "json", "keeper_of", "run_upgrades", "say"]
