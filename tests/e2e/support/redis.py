# SPDX-License-Identifier: MIT
"""Real Redis servers for the tests, each in a folder of its own on a port of 127.0.0.1, and Sluice nodes on them.

With SLUICE_TEST_REDIS_TLS=yes all of them speak TLS, between one another too.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import random
import re
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

import redis
from redis.exceptions import BusyLoadingError, RedisError

from .client import get
from .server import PATIENCE, Server, wait_until
from .tls import Authority, Pair

# So that a fault is noticed within a test's patience, and no reader waits for nothing.
NODE_OPTIONS = ("--redis-timeout", "1s", "--redis-probe-time", "1s", "--redis-check-time", "1s", "--heartbeat", "2s")
# Nothing is asked of Redis but what the test makes the node ask; nothing is given up but where the test says so, nor because
# a machine stands still for some seconds.
QUIET = ("--redis-probe-time", "1h", "--redis-check-time", "1h", "--redis-timeout", "30s")
# Every test's Redis speaks TLS then.
OVER_TLS = os.environ.get("SLUICE_TEST_REDIS_TLS") == "yes"

SCHEME = "rediss" if OVER_TLS else "redis"


@functools.cache
def redis_authority() -> Authority:
    """For tests to which it does not matter whose certificate Redis has."""
    return Authority("Redis of Sluice's tests")


@functools.cache
def redis_pair() -> Pair:
    return redis_authority().issue("redis", usage="serverAuth,clientAuth")  # of the nodes of a Cluster among themselves


def asking_context() -> ssl.SSLContext | None:
    """Of a client that takes any certificate, which is not what it tests."""
    return ssl._create_unverified_context() if OVER_TLS else None


# So that nothing is trimmed while a test counts messages.
KEEP_ALL = ("--history-size", "50000", "--history-bytes", "1GiB", "--history-ttl", "1h")


class Port:
    """A port that no other test takes, or the first of `count` in a row: below those that the kernel gives to clients, and
    claimed by a socket's name.
    """

    def __init__(self, count: int = 1) -> None:
        for _ in range(1000):
            self.number = random.randrange(11_000, 32_000 - count)
            self.claims: list[socket.socket] = []
            try:
                for number in range(self.number, self.number + count):
                    self.claim(number)
                return
            except OSError:
                self.release()
        raise AssertionError("no free port")

    def claim(self, number: int) -> None:
        self.claims.append(socket.socket(socket.AF_UNIX))
        self.claims[-1].bind(f"\0sluice-test-port-{number}")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", number))

    def release(self) -> None:
        for claim in self.claims:
            claim.close()


def change_master(client: redis.Redis) -> None:
    """Redis is another master from now on, as after a promotion. What a function asked in the same millisecond is over."""
    def now_ms() -> int:
        seconds, microseconds = client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    client.execute_command("DEBUG", "CHANGE-REPL-ID")
    changed_ms = now_ms()
    wait_until(lambda: now_ms() > changed_ms)


class RedisServer:
    """`with RedisServer("--option", "value") as server:`; start, kill and start again keep ports and data.

    Start it from the test's main thread: it ends with the thread that started it.
    """

    def __init__(self, *options: str, aof: bool = False, password: str | None = None, port: Port | None = None,
                 replica_of: RedisServer | None = None, is_sentinel: bool = False, has_bus: bool = False,
                 tls: Pair | None = redis_pair() if OVER_TLS else None) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="sluice-redis-")
        self.path = pathlib.Path(self.folder.name)
        self.socket_path = str(self.path / "redis.sock")
        self.password = password
        self.given_port, self.has_bus = port, has_bus
        self.tls = tls
        self.claims: list[Port] = []
        self.arguments = ["--bind", "127.0.0.1", "--dir", str(self.path), "--daemonize", "no"]
        if is_sentinel:
            (self.path / "sentinel.conf").write_text("")
            self.arguments = [str(self.path / "sentinel.conf"), "--sentinel", *self.arguments]
        else:
            # Without fsync every write still reaches the kernel before it is answered: enough against SIGKILL.
            self.arguments += ["--save", "", "--appendonly", "yes" if aof else "no", "--appendfsync", "no",
                               "--unixsocket", self.socket_path, "--enable-debug-command", "yes",
                               "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]
        if password:
            self.arguments += ["--requirepass", password, *(() if is_sentinel else ("--masterauth", password))]
        if tls:
            self.arguments += ["--tls-cert-file", str(tls.cert), "--tls-key-file", str(tls.key), "--tls-replication", "yes",
                               "--tls-ca-cert-file", str(redis_authority().pair.cert), "--tls-auth-clients", "no"]
        if tls and has_bus:
            self.arguments += ["--tls-cluster", "yes"]
        if replica_of:
            self.arguments += ["--replicaof", f"127.0.0.1 {replica_of.port}"]
        self.arguments += options
        self.process: subprocess.Popen[bytes] | None = None
        self.choose_ports()

    def choose_ports(self) -> None:
        self.release_ports()
        self.claims = [Port() for _ in range((not self.given_port) + self.has_bus)]
        self.port = (self.given_port or self.claims[0]).number
        self.bus = self.claims[-1].number if self.has_bus else 0
        self.client = self.connect(password=self.password)

    def connect(self, **more: Any) -> redis.Redis:
        """A client; with TLS it takes any certificate, which is not what it tests."""
        secured = {"ssl": True, "ssl_cert_reqs": "none", "ssl_check_hostname": False} if self.tls else {}
        return redis.Redis(port=self.port, socket_timeout=PATIENCE, **secured, **more)

    def release_ports(self) -> None:
        for claim in self.claims:
            claim.release()

    def __enter__(self) -> RedisServer:
        """A port that was free when it was chosen may be taken by the time Redis binds it: then others are chosen."""
        for _ in range(10):
            try:
                return self.start()
            except AssertionError:
                if "Address already in use" not in self.log():
                    self.close()
                    raise
                self.process = None
                (self.path / "log").unlink()
                self.choose_ports()
        raise AssertionError("each port that was chosen is taken")

    def __exit__(self, *failure: object) -> None:
        self.close()

    def start(self) -> RedisServer:
        assert self.process is None
        listening = ["--port", "0", "--tls-port", str(self.port)] if self.tls else ["--port", str(self.port)]
        ports = [*listening, *(("--cluster-port", str(self.bus)) if self.has_bus else ())]
        with open(self.path / "log", "ab") as log:
            self.log_begin = log.tell()
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "redis-server", *self.arguments, *ports],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self.answers, what="Redis's start")
        return self

    def answers(self) -> bool:
        """It says what it runs as once it has its port: before that whatever has taken it would be asked."""
        assert self.process and self.process.poll() is None, f"Redis ended:\n{self.log()}"
        if "Running mode=" not in self.log()[self.log_begin:]:
            return False
        try:
            return bool(self.client.ping())
        except BusyLoadingError:
            return False
        except redis.ConnectionError:
            return False

    def log(self) -> str:
        return (self.path / "log").read_text(errors="replace")

    def end(self, number: int) -> None:
        """Ends the process; the data stay."""
        if self.process:
            self.process.send_signal(number)
            self.process.send_signal(signal.SIGCONT)
            self.process.wait(PATIENCE)
            self.process = None

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def restart(self) -> None:
        self.kill()
        self.start()

    def close(self) -> None:
        self.kill()
        self.client.connection_pool.disconnect()
        self.folder.cleanup()
        self.release_ports()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Redis as a machine that hangs: connections stay, nothing is answered."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def url(self, db: int = 0, user: str = "", password: str | None = None, port: int | None = None) -> str:
        secret = self.password if password is None else password
        return f"{self.scheme}://{f'{user}:{secret}@' if secret else ''}127.0.0.1:{port or self.port}/{db}"

    @property
    def scheme(self) -> str:
        return "rediss" if self.tls else "redis"

    def fcall(self, channel: str, data: bytes | str, *rest: bytes | str | int) -> Any:
        return self.client.execute_command("FCALL", "sluice_publish", 1, channel, data, *rest)

    def publish(self, channel: str, data: bytes | str, *rest: bytes | str | int) -> str:
        """Publishes as an application would, without HTTP; returns the id."""
        return self.fcall(channel, data, *rest)[0].decode()

    def entries(self, channel: str) -> list[tuple[int, bytes]]:
        """The channel's log as Redis has it: offsets and data."""
        found = self.client.xrange(stream_key(channel))
        assert all(name.endswith(b"-0") for name, _ in found), found
        return [(int(name.split(b"-")[0]), fields[b"data"]) for name, fields in found]

    def replication(self, fact: str) -> str | None:
        """Also while a Sentinel ends connections."""
        try:
            return self.client.info("replication").get(fact)
        except redis.ConnectionError:
            return None

    def kill_clients(self, kind: str) -> int:
        return self.client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

    def calls_of(self, command: str) -> int:
        return self.client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0)

    def refusals_of(self, command: str) -> int:
        """Those that were not executed: redirected in a Cluster, say."""
        return self.client.info("commandstats").get(f"cmdstat_{command}", {}).get("rejected_calls", 0)


def meta_key(channel: str) -> str:
    return f"sluice:{{{channel.split('/')[0]}}}:m:{channel}"


def stream_key(channel: str) -> str:
    return f"sluice:{{{channel.split('/')[0]}}}:s:{channel}"


class SentinelSet:
    """A master with one replica, watched by a Sentinel that decides alone and fast."""

    NAME = "main"

    def __init__(self, *options: str, aof: bool = False, sentinel_password: str | None = None, **more: Pair) -> None:
        self.options, self.aof, self.sentinel_password, self.more = options, aof, sentinel_password, more

    def __enter__(self) -> SentinelSet:
        with contextlib.ExitStack() as stack:
            self.master = stack.enter_context(RedisServer(*self.options, aof=self.aof, **self.more))
            self.replica = stack.enter_context(RedisServer(*self.options, aof=self.aof, replica_of=self.master, **self.more))
            wait_until(lambda: self.replica.replication("master_link_status") == "up")
            # Only with the replica's first acknowledgement, a second later, does the master send it what is written.
            self.master.client.set("written", "", px=1)
            assert self.master.client.wait(1, int(1000 * PATIENCE)) == 1
            self.sentinel = stack.enter_context(RedisServer(is_sentinel=True, password=self.sentinel_password, **self.more))
            self.say("MONITOR", self.NAME, "127.0.0.1", self.master.port, 1)
            for option, value in (("down-after-milliseconds", 500), ("failover-timeout", 2000), ("parallel-syncs", 1)):
                self.say("SET", self.NAME, option, value)
            self.say("DEBUG", "info-period", 200, "ping-period", 100, "publish-period", 200)
            wait_until(lambda: len(self.say("REPLICAS", self.NAME)) == 1, what="the Sentinel's finding the replica")
            wait_until(lambda: b"ok" in self.say("REPLICAS", self.NAME)[0], what="the replica's link")
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stack.close()

    def say(self, *words: Any) -> Any:
        client = self.sentinel.connect(password=self.sentinel.password)
        client.response_callbacks.clear()
        with client:
            return client.execute_command("SENTINEL", *words)

    def url(self, before: str = "", after: str = "") -> str:
        return f"{self.sentinel.scheme}-sentinel://{before}127.0.0.1:{self.sentinel.port}/{self.NAME}/0{after}"

    def master_port(self) -> int:
        return int(self.say("GET-MASTER-ADDR-BY-NAME", self.NAME)[1])

    def fail_over(self) -> RedisServer:
        """Kills the master, awaits that the replica took over, and returns it."""
        if self.master_port() == self.master.port:
            gone, heir = self.master, self.replica
        else:
            gone, heir = self.replica, self.master
        gone.kill()
        wait_until(lambda: self.master_port() == heir.port, timeout=2 * PATIENCE, what="the failover")
        wait_until(lambda: heir.replication("role") == "master", what="the promotion")
        return heir


@contextlib.contextmanager
def nodes(count: int, *broker: str | RedisServer, options: tuple[str, ...] = (), is_ready: bool = True) -> Iterator[list[Server]]:
    """Sluice nodes on one Redis, or each on an address of its own; awaited until they are ready."""
    urls = [each.url() if isinstance(each, RedisServer) else each for each in broker]
    with contextlib.ExitStack() as stack:
        servers = []
        for i in range(count):
            url = urls[i % len(urls)]
            servers.append(stack.enter_context(Server("--broker", url, *NODE_OPTIONS, *options)))
        if is_ready:
            for server in servers:
                await_ready(server)
        yield servers


def is_ready(server: Server) -> bool:
    response = get(server, "/readyz")
    assert response.status in (200, 503), response
    assert get(server, "/healthz").status == 200
    return response.status == 200


def await_ready(server: Server, timeout: float = PATIENCE) -> None:
    try:
        wait_until(lambda: is_ready(server), timeout, what="the link to Redis")
    except AssertionError as error:
        raise AssertionError(f"{error}:\n{server.log()}") from None


def await_away(server: Server, timeout: float = PATIENCE) -> None:
    wait_until(lambda: not is_ready(server), timeout, what="noticing that Redis is away")


def metric(server: Server, name: str) -> float:
    found = re.search(rf"^sluice_{name} ([\d.e+]+)$", get(server, "/metrics").body.decode(), re.MULTILINE)
    assert found, f"/metrics has no sluice_{name}"
    return float(found[1])


def log_lines(server: Server, event: str | None = None) -> list[dict[str, str]]:
    """The log's lines as key and value; of one event, or all."""
    lines = []
    for text in server.log().splitlines():
        pairs = re.findall(r'([\w.-]+)=("(?:[^"\\]|\\.)*"|\S*)', text)
        line = {key: re.sub(r"\\(.)", r"\1", value[1:-1]) if value[:1] == '"' else value for key, value in pairs}
        if event is None or line.get("event") == event:
            lines.append(line)
    return lines


def complaints(server: Server) -> list[dict[str, str]]:
    return [line for line in log_lines(server) if line.get("level") in ("warn", "error")]


__all__ = [
    "KEEP_ALL", "NODE_OPTIONS", "OVER_TLS", "SCHEME", "Port", "RedisError", "RedisServer", "SentinelSet", "await_away", "await_ready", "complaints",
    "is_ready", "log_lines", "meta_key", "metric", "nodes", "redis_authority", "redis_pair",
    "stream_key",
]
