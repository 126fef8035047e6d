# SPDX-License-Identifier: MIT
"""The servers that are measured, and the load program that measures them."""

from __future__ import annotations

import importlib.util
import importlib.util
import json
import os
import pathlib
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

SLUICE = os.environ.get("SLUICE", "sluice")
BENCH = os.environ.get("BENCH", "tests/bench/sluice-bench")
# The folder that tests/browser/install has filled, of which node_modules is looked at.
BROWSER = pathlib.Path(os.environ.get("BROWSER_MODULES", "tests/browser")).absolute()
HERE = pathlib.Path(__file__).resolve().parent
# Debian puts modules into the first, others' packages into the second.
NCHAN_MODULES = [pathlib.Path(folder, "ngx_nchan_module.so") for folder in ("/usr/share/nginx/modules", "/usr/lib/nginx/modules")]
# Descriptors of a process that are not connections of clients.
DESCRIPTORS_TO_SPARE = 256
# No scenario needs more, and shared memory is laid out for as many.
DESCRIPTORS_MAX = 20_000


class Process:
    """A server, on core 0 unless it is not pinned. `speaks` is what the load program must talk to it."""

    speaks = "sluice"

    def __init__(self, *command: str, pinned: bool = True) -> None:
        pin = ["taskset", "-c", "0"] if pinned else []
        self.process = subprocess.Popen([*pin, *command], stdout=subprocess.PIPE, text=True)
        self.tcp: list[int] = []
        self.port = 0
        self.pid = self.process.pid

    def await_that(self, is_so: Callable[[], object]) -> None:
        while not is_so():
            assert self.process.poll() is None, "the server did not start"
            time.sleep(0.01)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


class Announcing(Process):
    """One that prints its port."""

    def __init__(self, *command: str, speaks: str = "sluice") -> None:
        super().__init__(*command)
        self.speaks = speaks
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())


def bare() -> Process:
    return Announcing(BENCH, "bare", speaks="bare")


def mhd() -> Process:
    return Announcing(BENCH, "mhd", speaks="mhd")


def node_ws() -> Callable[[], Process] | None:
    """None where node, or its ws, is not installed."""
    if not shutil.which("node") or not (BROWSER / "node_modules/ws").is_dir():
        return None
    return lambda: Announcing("node", str(HERE / "node_broadcast.mjs"), str(BROWSER))


def tornado(program: str) -> Callable[[], Process] | None:
    """One of the programs here; None where Tornado is not installed."""
    if not importlib.util.find_spec("tornado"):
        return None
    return lambda: Announcing(sys.executable, str(HERE / program))


class Sluice(Process):
    """One shard; its own messages of start and stop are left out."""

    def __init__(self, *options: str, pinned: bool = True) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="sluice-bench-")
        ready = pathlib.Path(self.folder.name, "ready")
        super().__init__(SLUICE, "serve", "--http", "127.0.0.1:0", "--shards", "1", "--ready-file", str(ready), "--static-dir", "",
                         "--log-level", "warn", "--poll-wait-max", "300", "--drain-time", "0", *options, pinned=pinned)
        self.await_that(ready.exists)
        lines = [line.split() for line in ready.read_text().splitlines()]
        self.port, *self.others = [int(words[1].rsplit(":", 1)[1]) for words in lines
                                   if words[0] == "http" and not words[1].startswith("unix:")]
        self.tcp = [int(words[1].rsplit(":", 1)[1]) for words in lines if words[0] == "tcp"]

    def end(self) -> None:
        super().end()
        self.folder.cleanup()


# What its documentation says for many subscribers of one machine: memory store, enough shared memory, and as many
# messages for as long as Sluice keeps by default.
NCHAN_CONFIGURATION = """
load_module {module};
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile {descriptors};
error_log stderr error;
pid {folder}/pid;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    nchan_shared_memory_size 512M;
    nchan_message_buffer_length 100;
    nchan_message_timeout 5m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/pub/(.+)$ {{
            nchan_publisher http;
            nchan_channel_id $1;
        }}
        location ~ ^/sub/(.+)$ {{
            nchan_subscriber longpoll eventsource websocket;
            nchan_subscriber_first_message newest;
            nchan_channel_id $1;
        }}
        location = /status {{ nchan_stub_status; }}
    }}
}}
"""


def nchan_module() -> pathlib.Path | None:
    found = [path for path in NCHAN_MODULES if path.exists()]
    return found[0] if found and shutil.which("nginx") else None


class Nchan(Process):
    """nginx with Debian's libnginx-mod-nchan; the process that is measured is its one worker."""

    speaks = "nchan"

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="sluice-bench-")
        port, descriptors = free_port(), min(DESCRIPTORS_MAX, descriptor_limit())
        configuration = pathlib.Path(self.folder.name, "nginx.conf")
        configuration.write_text(NCHAN_CONFIGURATION.format(module=nchan_module(), descriptors=descriptors, folder=self.folder.name,
                                                            connections=descriptors - DESCRIPTORS_TO_SPARE // 2, port=port))
        super().__init__("nginx", "-p", self.folder.name, "-e", "stderr", "-c", str(configuration))
        self.port = port
        self.await_that(lambda: self.workers() and is_listening(port))
        self.pid = int(self.workers()[0])

    def workers(self) -> list[str]:
        master = self.process.pid
        return pathlib.Path(f"/proc/{master}/task/{master}/children").read_text().split()

    def end(self) -> None:
        super().end()
        self.folder.cleanup()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def descriptor_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def client(server: Process, mode: str, **options: Any) -> subprocess.Popen[str]:
    needed = options.get("connections", 0) + DESCRIPTORS_TO_SPARE
    if needed > descriptor_limit():
        sys.exit(f"{options['connections']:,} connections need {needed:,} descriptors in a process, but `ulimit -Hn` is "
                 f"{descriptor_limit():,}: raise it, or say --quick")
    words = ["taskset", "-c", "1", BENCH, mode, "--port", str(server.port), "--pid", str(server.pid), "--server", server.speaks]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def result_of(process: subprocess.Popen[str]) -> dict[str, float]:
    output, _ = process.communicate()
    if process.returncode != 0:
        sys.exit("the load program failed")
    return json.loads(output)


def measure(make: Callable[[], Process], mode: str, **options: object) -> dict[str, float]:
    server = make()
    try:
        return result_of(client(server, mode, **options))
    finally:
        server.end()


class Redis:
    """A redis-server of our own, without persistence."""

    def __init__(self, pinned: bool = False) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="sluice-bench-")
        self.port = free_port()
        command = ["redis-server", "--port", str(self.port), "--save", "", "--dir", self.folder.name]
        self.process = subprocess.Popen([*(["taskset", "-c", "0"] if pinned else []), *command], stdout=subprocess.DEVNULL)
        while "PONG" not in self.ask("PING"):
            time.sleep(0.01)

    def ask(self, *words: str) -> str:
        command = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


def node(redis: Redis, *options: str) -> Process:
    """A node, awaited until its links to Redis stand."""
    server = Sluice("--broker", f"redis://127.0.0.1:{redis.port}", "--history-size", "1000000", "--history-bytes", "1GiB",
                    *options, pinned=False)
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/readyz"):
                return server
        except urllib.error.HTTPError:
            time.sleep(0.01)


def tcp_server(*listeners: str) -> Process:
    """A server whose `port` is HTTP and whose `tcp` are the ports of its raw listeners."""
    options = [word for listener in listeners for word in ("--tcp", f"127.0.0.1:0 {listener}")]
    return Sluice(*options)
