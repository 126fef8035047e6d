# SPDX-License-Identifier: MIT
"""What docs/SERVICE.md says of an upgrade, and of what the service manager is told, beside what test_upgrade.py and test_systemd.py try."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.client import Connection, EventStream, LineStream, get, path_of, publish, request, request_bytes, subscribers, texts
from support.redis import RedisServer, await_ready
from support.server import PATIENCE, SOURCE, Server, wait_until
from support.sockjs import Session, streaming
from support.supervisor import Supervisor
from support.tcp import Raw, tcp_addresses
from support.tokens import bearer, make_token, secret_file
from support.upgrade import IMPOSTOR, SLUICE, Resuming, UpgradingServer, check, keeper_of, say
from support.websocket import WebSocket

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user, or make a first process")
NOBODY = pwd.getpwnam("nobody")
STATE_S = 20


def facts_of(pid: int, name: str) -> list[str]:
    return [word for word in pathlib.Path(f"/proc/{pid}/{name}").read_text().split("\0") if word]


def targets_of(pid: int) -> list[str]:
    """What its descriptors are of."""
    return [os.readlink(each) for each in pathlib.Path(f"/proc/{pid}/fd").iterdir()]


def files_of(server: Server) -> set[str]:
    """The sockets that the server listens on."""
    listening = [line.split()[9] for line in pathlib.Path(f"/proc/{server.process.pid}/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"]
    return {f"socket:[{inode}]" for inode in listening} & set(targets_of(server.process.pid))


# What the next process is.

def test_it_has_the_same_arguments_and_environment_and_the_file_that_is_there_now(channel: str) -> None:
    with UpgradingServer(environment={"OF_MINE": "a b", "SLUICE_HISTORY_SIZE": "7"}) as server:
        pid = server.process.pid
        arguments, environment = facts_of(pid, "cmdline"), set(facts_of(pid, "environ"))
        other = pathlib.Path(f"{server.program_file}.new")
        shutil.copy(SLUICE, other)
        inode = other.stat().st_ino
        other.rename(server.program_file)
        heir = server.upgrade()
        assert facts_of(heir.pid, "cmdline") == arguments
        assert {each for each in facts_of(heir.pid, "environ") if not each.startswith(("UPGRADE_", "SLUICE_UPGRADE"))} == environment
        assert pathlib.Path(f"/proc/{heir.pid}/exe").stat().st_ino == inode
        assert get(server, f"/api/channels/{channel}").status == 404
        publish(server, channel)
        assert get(server, f"/api/channels/{channel}").json["options"]["history-size"] == "7"


def test_a_link_that_is_turned_to_another_version_is_followed() -> None:
    with contextlib.ExitStack() as stack:
        server = UpgradingServer()
        folder = pathlib.Path(server.folder.name)
        for version in ("1", "2"):
            (folder / version).mkdir()
            shutil.copy(SLUICE, folder / version / "sluice")
        (folder / "current").symlink_to("1")
        server.program = str(folder / "current/sluice")
        stack.enter_context(server)
        (folder / "next").symlink_to("2")
        (folder / "next").rename(folder / "current")
        heir = server.upgrade()
        assert os.readlink(f"/proc/{heir.pid}/exe") == str((folder / "2/sluice").resolve())


def test_another_broker_comes_into_force_which_a_reload_cannot_do(channel: str, tmp_path: pathlib.Path) -> None:
    conf = tmp_path / "conf"
    conf.write_text("broker = memory:\n")
    with RedisServer() as redis, UpgradingServer("--config", str(conf)) as server:
        publish(server, channel)
        conf.write_text(f"broker = {redis.url()}\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.count("reloaded"))
        publish(server, channel)
        assert not redis.client.keys("*")
        server.upgrade()
        await_ready(server)
        publish(server, channel)
        assert redis.client.keys("*"), "it is in Redis now"


# The steps.

def test_while_the_next_process_begins_the_old_one_serves_as_ever_and_says_why_it_failed(channel: str) -> None:
    with UpgradingServer() as server:
        name = publish(server, channel, "1")
        fifo = pathlib.Path(server.folder.name) / "wait"
        os.mkfifo(fifo)
        say(server.program_file, f"#!/bin/sh\necho the new one is not well >&2\ncat {fifo}\nexit 3\n")
        server.signal_upgrade()
        wait_until(lambda: "the new one is not well" in server.log())
        with LineStream(server, path_of(channel, since=name)) as stream, WebSocket(server, "/ws"):
            assert stream.next_line()["recovered"] is True
            publish(server, channel, "2")
            assert stream.next_line()["data"] == "2"
            fifo.write_text("")
            wait_until(lambda: server.count("upgrade-failed"))
            publish(server, channel, "3")
            assert stream.next_line()["data"] == "3", "the old one goes on as before"


def test_one_that_does_not_take_the_state_is_given_up_after_20_s(channel: str) -> None:
    with UpgradingServer(drain_time="0.2") as server:
        name = publish(server, channel, "kept")
        say(server.program_file, IMPOSTOR.format(steps="until(SOCKETS); say(READY, os.getpid()); time.sleep(600)"))
        with Connection(server) as kept:
            assert kept.request("GET", "/healthz").status == 200
            begun = time.monotonic()
            server.signal_upgrade()
            refused = None
            while not server.count("upgrade-failed"):
                with contextlib.suppress(ConnectionError, AssertionError):
                    response = kept.request("POST", path_of(channel), "during", Content_Type="text/plain", Idempotency_Key="k")
                    refused = response if response.status == 503 else refused
                assert time.monotonic() - begun < STATE_S + PATIENCE
                time.sleep(0.2)
            assert STATE_S - 2 < time.monotonic() - begun < STATE_S + 10
        assert refused is None or (refused.error, refused.header("Retry-After")) == ("stopping", "1")
        first = publish(server, channel, "during", Idempotency_Key="k")
        assert first.split("-")[0] == name.split("-")[0] and get(server, "/readyz").status == 200


def test_publishes_wait_for_a_moment_on_connections_that_are_kept_and_are_refused_on_others(channel: str) -> None:
    """Enough is kept that the state takes its time."""
    with UpgradingServer("--history-size", "100000", "--history-bytes", "256MiB", drain_time="3") as server, Connection(server) as kept, \
            WebSocket(server, "/ws") as other:
        for at in range(20):
            batch = "\n".join(json.dumps({"channel": channel, "data": f"{at} {number}"}) for number in range(1000))
            assert request(server, "POST", "/channels", batch, Content_Type="application/x-ndjson").status == 200
        over = threading.Event()
        statuses, told = [], []

        def speak() -> None:
            while not over.is_set():
                answer = kept.request("POST", path_of(channel), f"said {len(statuses)}", Content_Type="text/plain")
                statuses.append(answer.status)

        def speak_otherwise() -> None:
            with contextlib.suppress(AssertionError, ConnectionError):
                while not over.is_set():
                    other.put_json({"op": "publish", "channel": channel, "data": "x", "ref": 1})
                    told.append(other.take_json())

        speakers = [threading.Thread(target=each) for each in (speak, speak_otherwise)]
        for speaker in speakers:
            speaker.start()
        server.upgrade()
        time.sleep(0.2)
        over.set()
        for speaker in speakers:
            speaker.join()
        assert set(statuses) == {201}
        assert {answer.get("code") for answer in told if answer["op"] == "error"} <= {"stopping"}
        assert len(statuses) == sum(data.startswith("said") for data in texts(server, channel))
        assert re.search(r"event=succeeded pid=\d+.* refused_ms=\d+", server.log()), "with how long publishes were refused"


def test_the_memory_broker_tells_all_that_it_keeps(tmp_path: pathlib.Path) -> None:
    (tmp_path / "conf").write_text('[channel "room"]\npresence = yes\n')
    admin = bearer(make_token(["**"], ["**"], admin=True, sub="ann"))
    gone = bearer(make_token(["**"], ["**"], jti="gone"))
    options = ("--config", str(tmp_path / "conf"), "--jwt-key", f"HS256:{secret_file()}", "--presence-grace", "20s")
    with UpgradingServer(*options) as server, WebSocket(server, path_of("room", **{"as": "ann"}), **admin):
        first = publish(server, "a", "kept", Idempotency_Key="k", **admin)
        publish(server, "short", "x", Sluice_TTL="3", **admin)
        begun = time.monotonic()
        assert request(server, "DELETE", "/api/tokens/gone", **admin).status == 200
        wait_until(lambda: get(server, "/api/channels/room/presence", **admin).json["count"] == 1)
        server.upgrade()
        assert get(server, path_of("a", last=1), **admin).body == b"kept"
        assert publish(server, "a", "again", Idempotency_Key="k", **admin) == first
        assert publish(server, "a", "next", **admin) == first.replace("-1", "-2")
        assert get(server, path_of("a", wait=0), **gone).error == "token-revoked"
        assert [each["name"] for each in get(server, "/api/channels/room/presence", **admin).json["members"]] == ["ann"]
        wait_until(lambda: get(server, path_of("short", since="earliest", wait=0), **admin).status == 204)
        assert time.monotonic() - begun > 2.5


# Who is let go.

def told_ms(text: str) -> float:
    found = re.search(r"after (\d\.\d{3}) s$", text)
    assert found, text
    return float(found[1]) * 1000


def hold_sse(server: Server) -> Iterator[float]:
    with EventStream(server, path_of("a")) as stream:
        stream.next_block()
        yield 0
        assert stream.next_block() is None
        yield int(stream.text.removeprefix(b"retry: "))


def hold_lines(server: Server) -> Iterator[float]:
    with LineStream(server, path_of("a")) as stream:
        stream.next_line()
        yield 0
        yield stream.next_line()["retry_after"] * 1000


def hold_websocket(server: Server) -> Iterator[float]:
    with WebSocket(server, "/ws") as client:
        yield 0
        yield told_ms(client.take_close()[1])


def hold_sockjs(server: Server) -> Iterator[float]:
    with streaming(Session(server, "/sockjs")) as stream:
        assert stream.frame() == "o"
        yield 0
        yield told_ms(json.loads((stream.frame() or "").removeprefix("c"))[1])


def hold_tcp(server: Server) -> Iterator[float]:
    with Raw(server) as client:
        assert client.ask(b"PING") == b"PONG"
        yield 0
        yield told_ms(client.take().decode())


def hold_poll(server: Server) -> Iterator[float]:
    """Whole seconds, so at least one."""
    with Connection(server) as poll:
        poll.send(request_bytes("GET", path_of("a"), Accept="application/json"))
        wait_until(lambda: subscribers(server, "a")["poll"] == 1)
        yield 0
        assert poll.read_response().header("Retry-After") == "1"
        yield 150


def test_each_is_told_to_come_back_at_once_over_the_drain_time() -> None:
    """Also with `alternatives`: it is here that the next process is."""
    holders: list[Callable[[Server], Iterator[float]]] = [hold_sse, hold_lines, hold_websocket, hold_sockjs, hold_tcp, hold_poll]
    with UpgradingServer("--tcp", "127.0.0.1:0 framing=crlf", drain_time="3") as server:
        turns = [holder(server) for holder in holders]
        for turn in turns:
            next(turn)
        begun = time.monotonic()
        server.upgrade()
        waits, faults = [], []

        def take(turn: Iterator[float]) -> None:
            try:
                waits.append((next(turn), time.monotonic() - begun))
                turn.close()  # type: ignore[attr-defined]
            except Exception as error:  # noqa: BLE001 - told below
                faults.append(f"{turn}: {error}")

        threads = [threading.Thread(target=take, args=(turn,)) for turn in turns]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults, faults
        assert all(100 <= wait <= 200 for wait, _ in waits), waits
        server.await_old()


def test_who_is_held_by_the_old_process_hears_of_it_when_he_is_back_and_of_what_is_not_kept_never(channel: str) -> None:
    drain_s = 3
    with UpgradingServer(drain_time=str(drain_s)) as server, contextlib.ExitStack() as stack:
        name = publish(server, channel, "0")
        streams = [stack.enter_context(LineStream(server, path_of(channel, since=name))) for _ in range(4)]
        cursors = [stream.next_line()["cursor"] for stream in streams]
        server.upgrade()
        begun = time.monotonic()
        with LineStream(server, path_of(channel, since=name)) as new:
            new.next_line()
            publish(server, channel, "passing", Sluice_Store="no")
            publish(server, channel, "1")
            assert [new.next_line()["data"] for _ in range(2)] == ["passing", "1"]
        for stream, cursor in zip(streams, cursors):
            assert stream.next_line()["error"] == "stopping", "nothing is told here"
            with LineStream(server, path_of(channel, since=cursor)) as back:
                assert back.next_line()["recovered"] is True
                assert back.next_line()["data"] == "1", "nothing is missed of what is kept"
        assert time.monotonic() - begun < drain_s + 3


def test_nobody_is_told_to_have_left_who_comes_back(channel: str) -> None:
    with UpgradingServer("--presence", "yes", "--presence-grace", "1s", drain_time="2") as server, contextlib.ExitStack() as stack:
        socket_of = stack.enter_context(WebSocket(server, path_of(channel, **{"as": "ann"}, format="json")))
        wait_until(lambda: get(server, f"/api/channels/{channel}/presence").json["count"] == 1)
        server.upgrade()
        heard = stack.enter_context(EventStream(server, path_of(f"{channel}/$presence")))
        heard.next_block()
        assert socket_of.take_close()[0] == 1012
        stack.enter_context(WebSocket(server, path_of(channel, **{"as": "ann"}, format="json")))
        server.await_old()
        stack.enter_context(WebSocket(server, path_of(channel, **{"as": "bob"}, format="json")))
        event = heard.next_event()
        assert (event.event, [each["name"] for each in json.loads(event.data or "")["members"]]) == ("join", ["bob"])


def test_a_follower_of_each_kind_misses_nothing_and_sees_no_reset(channel: str) -> None:
    with UpgradingServer("--tcp", "127.0.0.1:0 framing=crlf", drain_time="1") as server:
        followers = [Resuming(server, kind, channel, "end", "earliest") for kind in ("sse", "stream", "poll", "websocket", "commands")]
        sent = [f"m{number}" for number in range(3)]
        for data in sent:
            publish(server, channel, data)
        for follower in followers:
            follower.start()
        for number in range(2):
            server.upgrade()
            publish(server, channel, f"after {number}")
            sent.append(f"after {number}")
        publish(server, channel, "end")
        check(followers, [*sent, "end"])


# The keeper, and what cannot be upgraded.

def test_the_keeper_sleeps_beside_the_server_without_rights_keys_and_sockets() -> None:
    with UpgradingServer("--jwt-key", f"HS256:{secret_file()}", "--tcp", "127.0.0.1:0 framing=crlf") as server:
        pid = server.process.pid
        keeper = keeper_of(pid)
        listening = files_of(server)
        assert listening
        wait_until(lambda: not listening & set(targets_of(keeper)))
        assert not any("secret" in target for target in targets_of(keeper))
        wait_until(lambda: len(targets_of(keeper)) == 4)
        kinds = [stat.S_IFMT(os.stat(f"/proc/{keeper}/fd/{each}").st_mode) for each in os.listdir(f"/proc/{keeper}/fd")]
        assert kinds.count(stat.S_IFSOCK) <= 1, "but for the line to its server"
        secret = pathlib.Path(secret_file()).read_text().strip().encode()
        held = pathlib.Path(f"/proc/{keeper}/mem")
        with held.open("rb", buffering=0) as memory:
            for line in pathlib.Path(f"/proc/{keeper}/maps").read_text().splitlines():
                begin, end = (int(word, 16) for word in line.split()[0].split("-"))
                if line.split()[1].startswith("rw") and end - begin < 1 << 26:
                    memory.seek(begin)
                    with contextlib.suppress(OSError):
                        assert secret not in (memory.read(end - begin) or b""), "a key"
        wait_until(lambda: "State:\tS" in pathlib.Path(f"/proc/{keeper}/status").read_text())
    wait_until(lambda: not os.path.exists(f"/proc/{keeper}") or ") Z" in pathlib.Path(f"/proc/{keeper}/stat").read_text())


@as_root
def test_a_new_port_of_roots_is_not_to_be_had_and_others_are(channel: str, tmp_path: pathlib.Path) -> None:
    if int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) < 1024:
        pytest.skip("everybody may bind every port here")
    with contextlib.ExitStack() as stack:
        server = UpgradingServer("--user", "nobody", "--config", "", drain_time="0.2")
        folder = pathlib.Path(server.folder.name)
        folder.chmod(0o755)
        conf = folder / "conf"
        server.options[server.options.index("--config") + 1] = str(conf)
        conf.write_text("")
        os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
        stack.enter_context(server)
        publish(server, channel)
        conf.write_text("tcp = 127.0.0.1:877 framing=crlf\n")
        server.fail_upgrade()
        assert "877" in server.log() and get(server, path_of(channel, last=1)).body == b"x"
        conf.write_text("tcp = 127.0.0.1:0 framing=crlf\n")
        heir = server.upgrade()
        wait_until(lambda: tcp_addresses(server), what="the new address in the ready file")
        with Raw(server) as raw:
            assert raw.ask(b"PING") == b"PONG"
        assert facts_of(heir.pid, "status") and f"Uid:\t{NOBODY.pw_uid}" in pathlib.Path(f"/proc/{heir.pid}/status").read_text()


@as_root
def test_the_first_process_of_a_container_refuses_it(tmp_path: pathlib.Path) -> None:
    """It would end the container."""
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "--pid", "--fork", "true"], capture_output=True, check=False).returncode:
        pytest.skip("there are no namespaces of processes here")
    ready, log = tmp_path / "ready", tmp_path / "log"
    with open(log, "wb") as output:
        holder = subprocess.Popen([unshare, "--pid", "--fork", "--kill-child", SLUICE, "serve", "--http", "127.0.0.1:0", "--static-dir", "", "--drain-time", "0.1",
                                   "--ready-file", str(ready)], stderr=output)
    try:
        wait_until(ready.exists)
        (child,) = pathlib.Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGUSR2)
        wait_until(lambda: re.search(r"event=upgrade-refused|event=succeeded", log.read_text()))
        assert "upgrade-refused" in log.read_text(), log.read_text()
        os.kill(int(child), signal.SIGTERM)
        assert holder.wait(PATIENCE) == 0
    finally:
        holder.kill()
        holder.wait()


# The service manager.

def test_the_unit_is_as_the_page_says() -> None:
    unit = (SOURCE / "contrib/sluice.service").read_text()
    assert re.search(r"^Type=notify$", unit, re.MULTILINE) and re.search(r"^ExecReload=.*HUP", unit, re.MULTILINE)
    assert "--seccomp yes" in unit or re.search(r"seccomp", unit + (SOURCE / "contrib/sluice.conf").read_text())
    listening = (SOURCE / "contrib/sluice.socket").read_text()
    assert re.search(r"^FileDescriptorName=http$", listening, re.MULTILINE)
    analyze = shutil.which("systemd-analyze")
    if analyze:
        run = subprocess.run([analyze, "security", "--offline=yes", "--no-pager", str(SOURCE / "contrib/sluice.service")], capture_output=True, text=True, check=False)
        assert "exposure level for sluice.service: 1.1" in run.stdout, run.stdout


def test_in_an_upgrade_mainpid_is_told_by_the_old_one_and_ready_by_the_new_one() -> None:
    with Supervisor() as supervisor, UpgradingServer(environment=supervisor.environment, drain_time="1") as server:
        supervisor.await_("READY")
        heir = server.upgrade()
        by_old = supervisor.await_("MAINPID")
        assert by_old["MAINPID"] == str(heir.pid) and "READY" not in by_old
        by_new = supervisor.await_("READY")
        assert by_new["MAINPID"] == str(heir.pid)
        server.await_old()
        server.process.send_signal(signal.SIGTERM)
        stopping = supervisor.await_("STOPPING")
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) >= 1_000_000
