# SPDX-License-Identifier: MIT
"""A proxy of the matrix: how it is started before a server of ours, and the ways through it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from support.client import Connection
from support.redis import Port
from support.server import PATIENCE, SOURCE, Server, wait_until
from support.tls import Tls, common_tls

SYSTEM_PATH = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
NOBODY = "nobody"
# What a server of the matrix is started with, besides its listeners; timeouts are those of a server that nobody has tuned.
SERVER_OPTIONS = ("--legacy", "yes", "--sockjs", "/sockjs legacy=yes disconnect-delay=120s", "--log-level", "debug",
                  "--history-size", "50000", "--history-bytes", "256MiB")


@dataclass(frozen=True)
class Member:
    """One configuration of one proxy. In its files and arguments @PORT@ is where it listens, @PORT1@ the server without TLS, @PORT2@ the
    one with TLS, @WORK@ its folder."""

    name: str
    title: str
    program: str
    arguments: str
    files: tuple[str, ...] = ()  # of contrib/proxies; the first one is written to @WORK@/proxy.conf
    routes: tuple[str, ...] = ("before",)  # before the server; or between, and then `http` and `https` are asked for through it
    # What is expected of a way (ways.KINDS) by route; all others are to be live.
    expected: dict[str, dict[str, str]] = field(default_factory=dict)
    # Changes of the configuration that make its timeouts SHORT_S, for those of the real one are a minute and more.
    shortened: tuple[tuple[str, str], ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    cookie_kib: int = 16  # the most that it passes on
    says_address: bool = False  # whose a request is
    loses_headers: bool = False  # that are not of HTTP

    def outcome(self, route: str, kind: str) -> str:
        return self.expected.get(route, {}).get(kind, "live")

    def find(self) -> str | None:
        return sys.executable if self.program == "python3" else shutil.which(self.program, path=SYSTEM_PATH)


class ThroughConnect:
    """TLS to the server, through CONNECT."""

    def __init__(self, tls: Tls, port: int) -> None:
        self.tls, self.port = tls, port

    def wrap(self, plain: socket.socket) -> ssl.SSLSocket:
        plain.sendall(f"CONNECT 127.0.0.1:{self.port} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = plain.recv(1)
            assert piece, f"CONNECT was answered {head!r}"
            head += piece
        assert head.split()[1] == b"200", head
        return self.tls.wrap(plain)


@dataclass
class Route:
    """Takes a server's place for the clients of tests/e2e/support; a target begins with `base`."""

    member: Member
    kind: str
    port: int
    server: Server
    base: str = ""
    tls: ThroughConnect | None = None

    @property
    def title(self) -> str:
        return self.member.title + {"before": "", "http": ", http://", "https": ", https:// (CONNECT)"}[self.kind]

    def outcome(self, kind: str) -> str:
        return self.member.outcome(self.kind, kind)

    @property
    def is_opaque(self) -> bool:
        """Whether the proxy sees bytes only."""
        return self.kind == "https"


class Running:
    """A proxy that runs; `cut` ends it and all of its connections, and starts it again."""

    def __init__(self, member: Member, server: Server, secure_port: int, work: pathlib.Path, port: int, is_short: bool) -> None:
        self.member, self.server, self.secure_port, self.work, self.port = member, server, secure_port, work, port
        self.names = {"PORT": port, "PORT1": server.port, "PORT2": secure_port, "WORK": work, **member.variables}
        for i, file in enumerate(member.files):
            text = self.fill((SOURCE / "contrib/proxies" / file).read_text())
            for old, new in member.shortened if is_short and i == 0 else ():
                assert old in text, f"{file} has no {old!r}"
                text = text.replace(old, new)
            (work / ("proxy.conf" if i == 0 else file.removesuffix(".in"))).write_text(text)
        self.arguments = self.fill(member.arguments).replace("@LIFE@", "2.5" if is_short else "10").split()
        # What tests write is for everybody to read: the proxy is nobody, where the tests are root.
        self.user = NOBODY if os.geteuid() == 0 else None
        if self.user:
            nobody = pwd.getpwnam(NOBODY)
            for path in (work, *work.iterdir()):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
            work.chmod(0o755)
        self.start()

    def fill(self, text: str) -> str:
        for name, value in self.names.items():
            text = text.replace(f"@{name}@", str(value))
        return text

    def start(self) -> None:
        program = self.member.find()
        assert program
        for stale in self.work.glob("*.pid"):  # of one that was killed: somebody else's number by now
            stale.unlink()
        with open(self.work / "log", "ab") as log:
            self.process = subprocess.Popen([program, *self.arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=self.user,
                                            group="nogroup" if self.user else None, extra_groups=[] if self.user else None, cwd=self.work,
                                            start_new_session=True, env={"PATH": SYSTEM_PATH + ":/bin", "HOME": str(self.work)})
        wait_until(self.is_ready, what=f"{self.member.name} passing on requests")

    def is_ready(self) -> bool:
        assert self.process.poll() is None, f"{self.member.name} has ended:\n{self.log()}"
        route = self.routes()[0]
        with contextlib.suppress(OSError, AssertionError), Connection(route) as connection:  # type: ignore[arg-type]
            return connection.request("GET", f"{route.base}/healthz").status == 200
        return False

    def log(self) -> str:
        logs = [path.read_text(errors="replace") for path in self.work.glob("*log") if path.is_file()]
        return "\n".join(logs)[-5000:]

    def routes(self) -> list[Route]:
        def route(kind: str) -> Route:
            if kind == "https":
                return Route(self.member, kind, self.port, self.server, "", ThroughConnect(common_tls(), self.secure_port))
            return Route(self.member, kind, self.port, self.server, f"http://127.0.0.1:{self.server.port}" if kind == "http" else "")

        return [route(kind) for kind in self.member.routes]

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)  # its workers too, and at once
        self.process.wait(PATIENCE)
        wait_until(self.is_gone, what=f"the end of {self.member.name}")

    def is_gone(self) -> bool:
        """Its workers, too, do not listen any more."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError:
                return False
        return True

    def cut(self) -> None:
        self.end()
        self.start()


@contextlib.contextmanager
def matrix_server(*options: str) -> Iterator[tuple[Server, int]]:
    """A server and the port of its listener with TLS."""
    with Server(*SERVER_OPTIONS, "--http", f"127.0.0.1:0 {common_tls().pair.keys}", *options) as server:
        yield server, server.listeners("http")[1]


@contextlib.contextmanager
def running(member: Member, server: Server, secure_port: int, is_short: bool = False) -> Iterator[Running]:
    port = Port()
    with tempfile.TemporaryDirectory(prefix="sluice-proxy-", ignore_cleanup_errors=True) as work, contextlib.ExitStack() as stack:
        stack.callback(port.release)
        proxy = Running(member, server, secure_port, pathlib.Path(work), port.number, is_short)
        stack.callback(proxy.end)
        yield proxy
