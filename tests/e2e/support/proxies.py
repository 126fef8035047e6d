# SPDX-License-Identifier: MIT
"""nginx and haproxy before servers of ours, configured by a file of contrib/."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence

import pytest

from .client import get
from .redis import Port
from .server import PATIENCE, SOURCE, Server, wait_until

COMMANDS = {"nginx": "-p {work} -c {work}/proxy.conf", "haproxy": "-db -f {work}/proxy.conf"}


class Proxy(Server):
    """Not a server of ours: only its port is known."""

    def __init__(self, port: int, log_file: pathlib.Path) -> None:
        self.port = port
        self.log_file = log_file


def find_program(name: str) -> str:
    program = shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    return program or pytest.skip(f"{name} is not installed")


@contextlib.contextmanager
def proxy_before(servers: Sequence[Server], configuration: str, changes: dict[str, str] | None = None) -> Iterator[Proxy]:
    """The proxy that this file of contrib/ is for; @PORT1@ in it is the first of the servers, and those that are too many the last.
    The changes are of its text."""
    name = "nginx" if "nginx" in configuration else "haproxy"
    program = find_program(name)
    port = Port()
    with tempfile.TemporaryDirectory() as work, contextlib.ExitStack() as stack:
        stack.callback(port.release)
        names: dict[str, object] = {"PORT": port.number, "WORK": work}
        names |= {f"PORT{i + 1}": servers[min(i, len(servers) - 1)].port for i in range(3)}
        text = (SOURCE / "contrib" / configuration).read_text()
        for old, new in (changes or {}).items():
            assert old in text
            text = text.replace(old, new)
        for key, value in names.items():
            text = text.replace(f"@{key}@", str(value))
        pathlib.Path(work, "proxy.conf").write_text(text)
        with open(f"{work}/log", "w+") as log:
            process = subprocess.Popen([program, *COMMANDS[name].format(work=work).split()], stdout=log, stderr=log)
            try:
                proxy = Proxy(port.number, pathlib.Path(work, "log"))

                def is_ready() -> bool:
                    assert process.poll() is None, proxy.log()
                    with contextlib.suppress(ConnectionRefusedError):
                        return get(proxy, "/readyz").status == 200
                    return False

                wait_until(is_ready, what=f"{name} passing on requests")
                yield proxy
            finally:
                process.terminate()
                process.wait(PATIENCE)
