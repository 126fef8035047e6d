# SPDX-License-Identifier: MIT
"""Redis over TLS, and Sentinels that want a password: who is trusted, what is said of who is not, and what a cut costs."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator

import pytest
from support.client import EventStream, get, path_of, publish, request, subscribers
from support.cluster import Cluster
from support.redis import (
    KEEP_ALL, QUIET, RedisServer, SentinelSet, await_away, await_ready, complaints, log_lines, nodes, redis_authority, redis_pair,
)
from support.server import PATIENCE, SLUICE, Server, wait_until
from support.tls import Authority, Pair


@pytest.fixture(scope="module")
def secured() -> Iterator[RedisServer]:
    with RedisServer(tls=redis_pair()) as running:
        yield running


@pytest.fixture(scope="module")
def strange() -> Authority:
    return Authority("Somebody else")


def reason(server: Server) -> str:
    """What is said of the link, once."""
    wait_until(lambda: log_lines(server, "broker-lost"))
    assert get(server, "/readyz").status == 503 and get(server, "/healthz").status == 200
    return log_lines(server, "broker-lost")[0]["reason"]


def tells(server: Server, channel: str) -> None:
    """A message comes through."""
    await_ready(server)
    with EventStream(server, path_of(channel)) as stream:
        wait_until(lambda: subscribers(server, channel)["total"] == 1)
        name = publish(server, channel, "through TLS")
        event = stream.next_event()
        assert (event.id, event.data) == (name, "through TLS")


def test_two_nodes_share_channels(secured: RedisServer, channel: str) -> None:
    with nodes(2, secured) as (one, other), EventStream(other, path_of(channel)) as stream:
        wait_until(lambda: subscribers(other, channel)["total"] == 1)
        big = "x" * 900_000
        for text in ("small", big, "last"):
            publish(one, channel, text)
        assert [stream.next_event().data for _ in range(3)] == ["small", big, "last"]
        assert not complaints(one) and not complaints(other)


def test_many_messages_under_way(secured: RedisServer, channel: str) -> None:
    with nodes(1, secured, options=KEEP_ALL) as (server,), EventStream(server, path_of(channel)) as stream:
        wait_until(lambda: subscribers(server, channel)["total"] == 1)
        pipe = secured.client.pipeline(transaction=False)
        for number in range(2000):
            pipe.execute_command("FCALL", "sluice_publish", 1, channel, f"{number} " + "y" * 3000)
        pipe.execute()
        assert [int(stream.next_event().data.split()[0]) for _ in range(2000)] == list(range(2000))


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_both_versions_of_tls(version: str, channel: str) -> None:
    with RedisServer("--tls-protocols", version, tls=redis_pair()) as redis, nodes(1, redis) as (server,):
        tells(server, channel)


def test_a_name_and_a_number_are_good_addresses(secured: RedisServer, channel: str) -> None:
    for host in ("localhost", "127.0.0.1"):
        with nodes(1, f"rediss://{host}:{secured.port}/0") as (server,):
            tells(server, f"{channel}/{host}")


def test_a_certificate_of_another_authority_is_refused(secured: RedisServer, strange: Authority) -> None:
    with nodes(1, secured, options=("--redis-tls-ca", str(strange.pair.cert)), is_ready=False) as (server,):
        assert "issuer is unknown" in reason(server)
        assert "mend" in log_lines(server, "broker-lost")[0]["action"]


def test_a_certificate_of_another_name_is_refused_unless_it_is_the_one_that_is_meant(channel: str) -> None:
    pair = redis_authority().issue("elsewhere", names="DNS:redis.example.org", subject="/CN=redis.example.org")
    with RedisServer(tls=pair) as redis:
        with nodes(1, redis, is_ready=False) as (server,):
            said = reason(server)
            assert "127.0.0.1" in said and "does not match" in said
        with nodes(1, redis, options=("--redis-tls-name", "redis.example.org")) as (server,):
            tells(server, channel)


def test_an_expired_certificate_is_refused() -> None:
    pair = redis_authority().issue("expired", days=-1)
    with RedisServer(tls=pair) as redis, nodes(1, redis, is_ready=False) as (server,):
        assert "expired" in reason(server)


def test_a_certificate_for_clients_is_not_one_for_servers() -> None:
    pair = redis_authority().issue("misused", usage="clientAuth")
    with RedisServer(tls=pair) as redis, nodes(1, redis, is_ready=False) as (server,):
        assert "purpose" in reason(server) or "certificate" in reason(server)


def test_redis_may_want_a_certificate(channel: str) -> None:
    mine = redis_authority().issue("node", names="DNS:node", subject="/CN=node", usage="clientAuth")
    with Demanding() as redis:
        with nodes(1, redis.url(), is_ready=False) as (server,):
            said = reason(server)
            # A reset of Redis's may overtake its alert.
            is_lost = said == "Redis has closed the connection before it said anything in TLS"
            assert is_lost or ("refuses this client's TLS" in said and "ertificate" in said)
        with nodes(1, redis.url(), options=("--redis-tls-cert", str(mine.cert), "--redis-tls-key", str(mine.key))) as (server,):
            tells(server, channel)


def test_what_speaks_no_tls_is_told(secured: RedisServer) -> None:
    with RedisServer(tls=None) as plain, nodes(1, f"rediss://127.0.0.1:{plain.port}/0", is_ready=False) as (server,):
        assert "speak TLS" in reason(server)
    with nodes(1, f"redis://127.0.0.1:{secured.port}/0", is_ready=False) as (server,):
        assert reason(server)


def test_a_peer_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, \
            nodes(1, f"rediss://127.0.0.1:{silent.getsockname()[1]}/0", is_ready=False, options=("--redis-timeout", "300ms")) as (server,):
        assert "handshake is not over" in reason(server) or "does not answer" in reason(server)


def test_the_name_is_told_in_the_handshake() -> None:
    told: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(redis_pair().cert, redis_pair().key)
    context.sni_callback = lambda _socket, name, _context: told.append(name)
    for host, expected in (("localhost", "localhost"), ("127.0.0.1", None)):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(PATIENCE)
            told.clear()
            with Server("--broker", f"rediss://{host}:{listener.getsockname()[1]}/0"):
                plain, _ = listener.accept()
                with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as peer:
                    peer.settimeout(PATIENCE)
                    assert peer.recv(4096).startswith(b"*"), "nothing is said before the handshake is over"
            assert told[:1] == [expected]


class Cutter:
    """Passes bytes on, and cuts all connections once `left` of them have come from Redis."""

    def __init__(self, port: int) -> None:
        self.to = port
        self.left: int | None = None
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets: list[socket.socket] = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self.listener.accept()
                there = socket.create_connection(("127.0.0.1", self.to))
                self.sockets += [here, there]
                for source, sink, counts in ((here, there, False), (there, here, True)):
                    threading.Thread(target=self.pump, args=(source, sink, counts), daemon=True).start()

    def pump(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if counts and self.left is not None:
                    part, self.left = data[:self.left], self.left - len(data)
                    sink.sendall(part)
                    if self.left <= 0:
                        self.left = None
                        self.cut()
                        return
                else:
                    sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        self.cuts += 1
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.sockets.clear()

    def __enter__(self) -> Cutter:
        return self

    def __exit__(self, *failure: object) -> None:
        self.cut()
        self.listener.close()


def test_a_cut_within_a_record_costs_no_message(secured: RedisServer, channel: str) -> None:
    with Cutter(secured.port) as cutter, nodes(1, f"rediss://127.0.0.1:{cutter.port}/0") as (server,), \
            EventStream(server, path_of(channel)) as stream:
        wait_until(lambda: subscribers(server, channel)["total"] == 1)
        for number in range(12):
            cutter.left = 1 + 97 * number
            secured.publish(channel, f"{number} " + "z" * 2000)
            assert stream.next_event().data.split()[0] == str(number)
        wait_until(lambda: cutter.cuts >= 10)
        await_ready(server)


def test_a_cut_within_the_handshake_is_no_end(secured: RedisServer, channel: str) -> None:
    with Cutter(secured.port) as cutter:
        cutter.left = 60
        with nodes(1, f"rediss://127.0.0.1:{cutter.port}/0") as (server,):
            assert cutter.cuts == 1
            tells(server, channel)


def test_redis_restarts(channel: str) -> None:
    with RedisServer(aof=True, tls=redis_pair()) as redis, nodes(1, redis, options=QUIET) as (server,), EventStream(server, path_of(channel)) as stream:
        wait_until(lambda: subscribers(server, channel)["total"] == 1)
        publish(server, channel, "before")
        assert stream.next_event().data == "before"
        redis.kill()
        await_away(server)
        redis.start()
        await_ready(server)
        publish(server, channel, "after")
        assert stream.next_event().data == "after"
        assert "closed the connection" in log_lines(server, "broker-lost")[0]["reason"]


def test_a_cluster_over_tls() -> None:
    with Cluster(tls=redis_pair()) as cluster, nodes(2, cluster.url()) as servers:
        for name in cluster.channels():
            tells(servers[0], name)
            assert get(servers[1], path_of(name, since="earliest")).body == b"through TLS"


def test_sentinels_over_tls_and_a_failover(channel: str) -> None:
    with SentinelSet(tls=redis_pair()) as redis, nodes(1, redis.url()) as (server,):
        tells(server, channel)
        redis.fail_over()
        wait_until(lambda: len(log_lines(server, "broker-connected")) == 2, timeout=2 * PATIENCE)
        tells(server, f"{channel}/after")


def test_sentinels_may_want_a_password(channel: str) -> None:
    with SentinelSet(sentinel_password="q&a/?") as redis:
        with nodes(1, redis.url(), is_ready=False) as (server,):
            assert "add ?sentinel-password=" in reason(server)
        with nodes(1, redis.url(after="?sentinel-password=wrong"), is_ready=False) as (server,):
            assert "refuses sentinel-user or sentinel-password" in reason(server) and "wrong" not in reason(server)
        with nodes(1, redis.url(after="?sentinel-password=q%26a%2F%3F")) as (server,):
            tells(server, channel)


def test_sentinels_may_want_a_user(channel: str) -> None:
    with SentinelSet() as redis:
        redis.sentinel.client.execute_command("ACL", "SETUSER", "watcher", "on", ">secret", "+auth", "+sentinel|get-master-addr-by-name")
        redis.sentinel.client.execute_command("ACL", "SETUSER", "default", "-sentinel|get-master-addr-by-name")
        with nodes(1, redis.url(), is_ready=False) as (server,):
            assert "NOPERM" in reason(server)
        with nodes(1, redis.url(after="?sentinel-user=watcher&sentinel-password=secret")) as (server,):
            tells(server, channel)


def test_other_certificates_come_with_a_reload(strange: Authority, channel: str, tmp_path: pathlib.Path) -> None:
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(strange.pair.cert.read_bytes())
    with RedisServer(tls=redis_pair()) as redis, nodes(1, redis, options=("--redis-tls-ca", str(trusted)), is_ready=False) as (server,):
        assert "issuer is unknown" in reason(server)
        trusted.write_text("nonsense")
        server.process.send_signal(signal.SIGHUP)
        failed = wait_until(lambda: log_lines(server, "reload-failed"))[0]
        assert "redis-tls-ca" in failed["reason"] and str(trusted) in failed["reason"]
        trusted.write_bytes(redis_authority().pair.cert.read_bytes())
        server.process.send_signal(signal.SIGHUP)
        tells(server, channel)


class Changing:
    """A file whose content is another one each time it is read."""

    def __init__(self, path: pathlib.Path, reader: int) -> None:
        self.path, self.reader = path, reader
        os.mkfifo(path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def is_open(self) -> bool:
        return any(os.path.realpath(link) == str(self.path) for link in pathlib.Path(f"/proc/{self.reader}/fd").iterdir())

    def try_open(self) -> int | None:
        try:
            return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return None

    def give(self, content: bytes) -> None:
        file = wait_until(self.try_open, what="its being read")
        os.write(file, content)
        wait_until(self.is_open)  # else the next one would find the same reader, still on its way into open()
        os.close(file)
        wait_until(lambda: not self.is_open())


def test_files_that_change_during_a_reload_leave_all_as_it_was(channel: str, tmp_path: pathlib.Path) -> None:
    trusted, config = tmp_path / "ca.pem", tmp_path / "sluice.conf"
    right = redis_authority().pair.cert.read_bytes()
    trusted.write_bytes(right)
    config.write_text("")
    options = "--config", str(config), "--redis-tls-ca", str(trusted)
    with RedisServer(tls=redis_pair()) as redis, nodes(1, redis, options=options) as (server,):
        config.write_text("message-size = 3\n")
        changing = Changing(trusted, server.process.pid)
        server.process.send_signal(signal.SIGHUP)
        changing.give(right)
        changing.give(b"nonsense")
        failed = wait_until(lambda: log_lines(server, "reload-failed"))[0]
        assert "redis-tls-ca" in failed["reason"] and "nothing has changed" in failed["action"], failed
        publish(server, channel, "longer than three bytes")
        assert not log_lines(server, "reload-incomplete") and not log_lines(server, "reloaded")
        trusted.unlink()
        trusted.write_bytes(right)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log_lines(server, "reloaded"))
        wait_until(lambda: request(server, "POST", path_of(channel), "longer").status == 413)


def refusal(*options: str) -> str:
    run = subprocess.run([SLUICE, "serve", "--http", "127.0.0.1:0", *options], capture_output=True, text=True, timeout=20, env={})
    assert run.returncode == 2, run
    return run.stderr


def test_certificates_that_cannot_be_used_are_refused_at_the_start(tmp_path: pathlib.Path) -> None:
    nothing, pair = tmp_path / "nothing.pem", redis_pair()
    nothing.write_text("")
    url = ("--broker", "rediss://127.0.0.1:1/0")
    stranger = Authority("For its key")
    assert "No such file" in refusal(*url, "--redis-tls-ca", str(tmp_path / "absent.pem"))
    assert "no certificate in PEM" in refusal(*url, "--redis-tls-ca", str(nothing))
    assert "go together" in refusal(*url, "--redis-tls-ca", str(pair.cert), "--redis-tls-cert", str(pair.cert))
    assert "go together" in refusal(*url, "--redis-tls-ca", str(pair.cert), "--redis-tls-key", str(pair.key))
    assert "redis-tls-cert" in refusal(*url, "--redis-tls-ca", str(pair.cert), "--redis-tls-cert", str(pair.cert),
                                       "--redis-tls-key", str(stranger.pair.key))
    for broker in ("redis://127.0.0.1:1/0", "memory:", "unix:///run/redis.sock"):
        assert "has no TLS" in refusal("--broker", broker, "--redis-tls-ca", str(pair.cert))


class Demanding(RedisServer):
    """A Redis that wants certificates of its clients; the test's own client shows one."""

    def __init__(self) -> None:
        self.own: Pair = redis_authority().issue("tester", names="DNS:tester", usage="clientAuth")
        super().__init__(tls=redis_pair())
        self.arguments += ["--tls-auth-clients", "yes"]

    def connect(self, **more: object):  # type: ignore[no-untyped-def]
        return super().connect(ssl_certfile=str(self.own.cert), ssl_keyfile=str(self.own.key), **more)
