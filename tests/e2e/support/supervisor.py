# SPDX-License-Identifier: MIT
"""What a service manager does to a server: a socket to be told things, sockets passed, times to keep."""

from __future__ import annotations

import pathlib
import re
import socket
import sys
import tempfile

from .server import PATIENCE, SLUICE, Server


class Supervisor:
    """`with Supervisor() as supervisor: Server(environment=supervisor.environment)`: hears what the server says."""

    def __init__(self, is_abstract: bool = False, **environment: str) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="sluice-supervisor-")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE)
        name = f"{self.folder.name}/notify"
        self.socket.bind("\0" + name if is_abstract else name)
        self.environment = {"NOTIFY_SOCKET": "@" + name if is_abstract else name, **environment}
        self.told: list[dict[str, str]] = []

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *failure: object) -> None:
        self.socket.close()
        self.folder.cleanup()

    def next(self) -> dict[str, str]:
        text = self.socket.recv(65536).decode()
        self.told.append(dict(line.split("=", 1) for line in text.splitlines()))
        return self.told[-1]

    def await_(self, name: str) -> dict[str, str]:
        """The next datagram that says this."""
        while name not in (said := self.next()):
            pass
        return said


# Binds what its first argument says, NAME@ADDRESS separated by commas, passes it on as systemd does, and becomes the server.
_ACTIVATOR = """#!{python}
import os, socket, sys
SO_RCVBUFFORCE = 33
names, sockets, room = [], [], int(os.environ.pop("ACTIVATE_ROOM"))
for text in os.environ.pop("ACTIVATE").split(","):
    name, _, address = text.partition("@")
    if address.startswith("/"):
        sockets.append(socket.socket(socket.AF_UNIX))
        sockets[-1].bind(address)
    else:
        sockets.append(socket.socket())
        if os.geteuid() == 0 and room:
            sockets[-1].setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, room)
        sockets[-1].bind((address or "127.0.0.1", 0))
    sockets[-1].listen()
    names.append(name)
kept = [os.dup2(each.fileno(), 100 + place) for place, each in enumerate(sockets)]
for each in sockets:
    each.close()
for place, descriptor in enumerate(kept):
    os.dup2(descriptor, 3 + place)
    os.close(descriptor)
os.environ.update(LISTEN_PID=os.environ.get("ACTIVATE_PID", str(os.getpid())), LISTEN_FDS=str(len(names)), LISTEN_FDNAMES=":".join(names))
os.execv({sluice!r}, [{sluice!r}, *sys.argv[1:]])
"""


class ActivatedServer(Server):
    """`with ActivatedServer("http,tcp", "--tcp", …)`: sockets of these names are bound before the server starts; as root with so much
    room for what the server has not read."""

    def __init__(self, sockets: str, *options: str, pid: str | None = None, room: int = 0, **more: object) -> None:
        environment = {"ACTIVATE": sockets, "ACTIVATE_ROOM": str(room), **({"ACTIVATE_PID": pid} if pid else {})}
        super().__init__(*options, environment=environment, **more)  # type: ignore[arg-type]
        script = pathlib.Path(self.folder.name) / "activator"
        script.write_text(_ACTIVATOR.format(python=sys.executable, sluice=SLUICE))
        script.chmod(0o755)
        self.program = str(script)

    def addresses(self, option: str) -> list[str]:
        return re.findall(rf"^{option} (.*)$", self.ready_file.read_text(), re.MULTILINE)


def is_sanitized() -> bool:
    """Whether the server is built with a sanitizer, which makes system calls of its own."""
    program = pathlib.Path(SLUICE).read_bytes()
    return b"__asan_init" in program or b"__tsan_init" in program


__all__ = ["ActivatedServer", "Supervisor", "is_sanitized"]
