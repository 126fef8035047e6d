# SPDX-License-Identifier: MIT
"""What systemd and Sluice tell each other, and the units that come with it."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest
from support.client import get
from support.faults import FaultyServer
from support.server import SLUICE, SOURCE, Server, wait_until
from support.supervisor import ActivatedServer, Supervisor

ANALYZE = shutil.which("systemd-analyze")
BUILD = os.environ.get("BUILD_DIR", "")
EXPOSURE_MOST = 2.0


@pytest.mark.parametrize("is_abstract", [False, True])
def test_ready_reload_and_stop_are_told(is_abstract: bool) -> None:
    with Supervisor(is_abstract) as supervisor, Server(environment=supervisor.environment) as server:
        ready = supervisor.next()
        assert ready["READY"] == "1" and "serving" in ready["STATUS"] and ready["MAINPID"] == str(server.process.pid)
        assert get(server, "/healthz").status == 200
        asked_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        server.process.send_signal(signal.SIGHUP)
        reloading = supervisor.next()
        assert reloading["RELOADING"] == "1" and asked_us <= int(reloading["MONOTONIC_USEC"])
        assert int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert supervisor.next()["READY"] == "1"
        server.stop()
        assert supervisor.next()["STOPPING"] == "1"


def test_a_reload_that_fails_is_told_as_status(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "sluice.conf"
    file.write_text("log-level = info\n")
    with Supervisor() as supervisor, Server("--config", str(file), environment=supervisor.environment) as server:
        supervisor.await_("READY")
        file.write_text("nonsense = 1\n")
        server.process.send_signal(signal.SIGHUP)
        supervisor.await_("RELOADING")
        ready = supervisor.next()
        assert ready["READY"] == "1" and "failed" in ready["STATUS"]


def test_a_long_drain_asks_for_time() -> None:
    with Supervisor() as supervisor, Server("--drain-time", "300", environment=supervisor.environment) as server:
        supervisor.await_("READY")
        server.process.send_signal(signal.SIGTERM)
        assert int(supervisor.await_("STOPPING")["EXTEND_TIMEOUT_USEC"]) > 300_000_000


def test_what_is_not_a_socket_is_logged_and_left() -> None:
    for name in ("relative/path", "/nonexistent/socket", "/" + "x" * 200):
        with Server(environment={"NOTIFY_SOCKET": name}) as server:
            wait_until(lambda: "event=notify-failed" in server.log())  # type: ignore[misc]
            assert get(server, "/healthz").status == 200


def test_a_server_that_turns_says_so_in_time() -> None:
    with Supervisor(WATCHDOG_USEC="6000000") as supervisor, \
            Server("--shards", "4", environment=supervisor.environment) as server:
        supervisor.await_("READY")
        begun = time.monotonic()
        for _ in range(4):
            assert supervisor.next() == {"WATCHDOG": "1"}
        assert time.monotonic() - begun > 5, "more often than it is wanted"
        assert "shard-stuck" not in server.log()


def test_another_process_watchdog_is_not_ours() -> None:
    with Supervisor(WATCHDOG_USEC="30000", WATCHDOG_PID="1") as supervisor, Server(environment=supervisor.environment):
        supervisor.await_("READY")
        supervisor.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            supervisor.next()


def test_one_shard_that_hangs_ends_the_pings() -> None:
    with Supervisor(WATCHDOG_USEC="600000") as supervisor, \
            FaultyServer("--shards", "3", "--drain-time", "0", expect_exit=-signal.SIGKILL) as server:
        server.stop(signal.SIGKILL)
        server.environment |= supervisor.environment
        server.ready_file.unlink()
        server.start()
        supervisor.await_("WATCHDOG")
        server.fail("epoll_wait_stuck")
        wait_until(lambda: "event=shard-stuck" in server.log())
        supervisor.socket.settimeout(0.1)
        with pytest.raises(TimeoutError):
            while True:
                supervisor.next()
        supervisor.socket.settimeout(1.5)
        with pytest.raises(TimeoutError):
            supervisor.next()
        assert len(set(re.findall(r"event=shard-stuck shard=(\d)", server.log()))) == 1
        server.process.kill()


def test_passed_sockets_take_the_places_of_addresses(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "socket"
    with ActivatedServer(f"http,tcp@{path},http", "--http", "127.0.0.1:1", "--tcp", "127.0.0.1:1 framing=crlf",
                         "--shards", "2") as server:
        http = server.addresses("http")
        assert len(http) == 2 and len(set(http)) == 2 and not any(address.endswith(":1") for address in http)
        assert server.addresses("tcp") == [f"unix:{path}"]
        for address in http:
            server.port = int(address.rsplit(":", 1)[1])
            assert get(server, "/healthz").status == 200
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            assert client.recv(100) == b"PONG\r\n"
    assert path.exists(), "the service manager's socket is its own to remove"


def test_a_socket_without_a_name_is_of_http() -> None:
    with ActivatedServer("sluice.socket", http="127.0.0.1:1") as server:
        assert get(server, "/healthz").status == 200


def test_sockets_for_another_process_are_left() -> None:
    with ActivatedServer("http", pid="1") as server:
        assert get(server, "/healthz").status == 200


@pytest.mark.parametrize(("sockets", "why"), [
    ("nothing", "more sockets named 'nothing'"),
    ("http,http", "more sockets named 'http'"),
    ("http@0.0.0.0", "refusing to listen on 0.0.0.0"),
])
def test_a_passed_socket_that_fits_nowhere_is_refused(sockets: str, why: str) -> None:
    server = ActivatedServer(sockets)
    with pytest.raises(AssertionError, match=why):
        server.start()
    server.folder.cleanup()


@pytest.mark.skipif(not ANALYZE, reason="there is no systemd-analyze")
def test_the_unit_exposes_little() -> None:
    assert ANALYZE
    run = subprocess.run([ANALYZE, "security", "--offline=yes", "--no-pager", str(SOURCE / "contrib/sluice.service")],
                         capture_output=True, text=True)
    found = re.search(r"Overall exposure level for sluice.service: ([\d.]+)", run.stdout)
    assert found, run.stdout + run.stderr
    assert float(found[1]) <= EXPOSURE_MOST, run.stdout


@pytest.mark.skipif(not ANALYZE, reason="there is no systemd-analyze")
def test_the_units_are_what_systemd_expects(tmp_path: pathlib.Path) -> None:
    assert ANALYZE
    for name in ("sluice.service", "sluice.socket"):
        text = (SOURCE / "contrib" / name).read_text().replace("/usr/local/bin/sluice", SLUICE)
        (tmp_path / name).write_text(text)
    run = subprocess.run([ANALYZE, "verify", "--man=no", tmp_path / "sluice.service", tmp_path / "sluice.socket"],
                         capture_output=True, text=True)
    assert run.returncode == 0 and "sluice" not in run.stderr, run.stderr


def make(target: str, folder: pathlib.Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    subprocess.run(["make", "-s", target, f"DESTDIR={folder}", "prefix=/usr", "sysconfdir=/etc"], cwd=BUILD, check=True,
                   stdout=subprocess.DEVNULL, env=environment)


@pytest.mark.skipif(not BUILD, reason="run by make check only")
def test_install_puts_everything_in_place_and_uninstall_removes_it(tmp_path: pathlib.Path) -> None:
    make("install", tmp_path)
    unit = (tmp_path / "usr/lib/systemd/system/sluice.service").read_text()
    assert "ExecStart=/usr/bin/sluice serve --config /etc/sluice/sluice.conf\n" in unit
    assert (tmp_path / "usr/lib/systemd/system/sluice.socket").exists()
    assert "u sluice " in (tmp_path / "usr/lib/sysusers.d/sluice.conf").read_text()
    configuration = tmp_path / "etc/sluice/sluice.conf"
    program = str(tmp_path / "usr/bin/sluice")
    check = subprocess.run([program, "check-config", "--config", configuration, "--static-dir", ""], capture_output=True,
                           text=True, env={})
    assert check.returncode == 0 and not check.stderr, check
    network = subprocess.run([tmp_path / "usr/libexec/sluice/sluice-check-network"], capture_output=True, text=True)
    assert network.returncode == 2 and "URL is missing" in network.stderr, network
    configuration.write_text("http = 127.0.0.1:8081\n")
    make("install", tmp_path)
    assert configuration.read_text() == "http = 127.0.0.1:8081\n", "an old configuration stays"
    make("uninstall", tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [configuration]
