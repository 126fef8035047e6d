# SPDX-License-Identifier: MIT
"""SIGUSR2 (docs/SERVICE.md, "Upgrade"): another process takes over sockets and state; nobody is refused, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from support.client import Connection, EventStream, get, path_of, publish, request, request_bytes, subscribers
from support.follow import Ledger
from support.redis import RedisServer, await_ready, metric
from support.server import Server, wait_until
from support.supervisor import ActivatedServer, Supervisor, is_sanitized
from support.tcp import Raw, tcp_addresses
from support.tls import common_tls
from support.tokens import make_token, secret_file
from support.upgrade import IMPOSTOR, Heir, Resuming, UpgradingServer, check, keeper_of, run_upgrades, say
from support.websocket import WebSocket

NOBODY = pwd.getpwnam("nobody")


def memory(*options: str, **more: object) -> UpgradingServer:
    return UpgradingServer("--shards", "2", *options, **more)  # type: ignore[arg-type]


def look(server: Server, channel: str, since: str) -> list[str]:
    response = get(server, path_of(channel, since=since, wait=0), Accept="application/json")
    assert response.status == 204 or "reset" not in response.json, response
    return [message["data"] for message in response.json["messages"]] if response.status == 200 else []


# What goes over.

def test_messages_cursors_and_ids_go_over(channel: str) -> None:
    with memory() as server:
        ids = [publish(server, channel, f"m{i}") for i in range(5)]
        empty = get(server, path_of("empty", wait=0)).cursor
        before = get(server, f"/api/channels/{channel}").json
        heir = server.upgrade()
        assert heir.pid != server.old[0].pid
        assert get(server, f"/api/channels/{channel}").json == before
        assert look(server, channel, ids[1]) == ["m2", "m3", "m4"]
        assert publish(server, channel, "after").split("-") == [ids[0].split("-")[0], "6"]
        assert publish(server, "empty").split("-")[0] == empty.split("-")[0]
        assert look(server, "empty", empty) == ["x"]


def test_the_channel_that_is_idle_longest_is_still_the_first_to_go() -> None:
    with memory("--memory-limit", "1MiB") as server:
        for name in ("z", "y", "b", "a"):
            publish(server, name, "x" * 200000)
            time.sleep(0.01)  # in one millisecond nobody is idle longest
        server.upgrade()
        publish(server, "new", "x" * 300000)
        names = [channel["channel"] for channel in get(server, "/api/channels").json["channels"]]
        assert names == ["a", "b", "new", "y"] or names == ["a", "b", "new"], names


def test_every_attribute_of_a_message_goes_over(channel: str) -> None:
    with memory() as server:
        target = path_of(channel, event="goal", producer="p1", key="k", ttl=60)
        for data, kind in ((b"{\"a\": 1}", "application/json"), (b"\0\xff", "image/png"), ("é" * 9, "text/html")):
            assert request(server, "POST", target, data, Content_Type=kind).status == 201
        before = [get(server, path_of(channel, last=count)) for count in (3, 2, 1)]
        server.upgrade()
        after = [get(server, path_of(channel, last=count)) for count in (3, 2, 1)]

        def facts(response: object) -> object:
            return [(name, value) for name, value in response.fields if name != "Date"], response.body  # type: ignore[attr-defined]

        assert [facts(response) for response in after] == [facts(response) for response in before]


def test_what_is_left_of_a_life_is_what_was_left(channel: str) -> None:
    with memory("--history-ttl", "8s") as server:
        name = publish(server, channel)
        begun = time.monotonic()
        server.upgrade()
        assert look(server, channel, "earliest") == ["x"]
        wait_until(lambda: get(server, f"/api/channels/{channel}").json["messages"] == 0)
        assert 7 < time.monotonic() - begun < 20
        assert get(server, path_of(channel, since=name, wait=0)).status == 204


def test_idempotency_keys_go_over(channel: str) -> None:
    with memory() as server:
        first = publish(server, channel, Idempotency_Key="k")
        server.upgrade()
        again = request(server, "POST", path_of(channel), "x", Content_Type="text/plain", Idempotency_Key="k")
        assert again.status == 200 and again.json["id"] == first
        assert publish(server, channel, Idempotency_Key="other") != first


def test_trees_keep_their_entries(channel: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "conf").write_text('[channel "t"]\ntree = yes\nhistory-size = 50\n[channel "t/small"]\nhistory-size = 1\n')
    with memory("--config", str(tmp_path / "conf")) as server:
        ids = [publish(server, f"t/{name}", f"{name}{i}") for i in range(3) for name in ("small", "b", "a/deep")]
        ids += [publish(server, "t", "own")]
        before = get(server, path_of("t", since="earliest"), Accept="application/json").json
        stats = get(server, "/api/channels/t").json
        server.upgrade()
        assert get(server, path_of("t", since="earliest"), Accept="application/json").json == before
        assert get(server, "/api/channels/t").json == stats
        assert look(server, "t/small", "earliest") == ["small2"] and len(before["messages"]) == 10


def test_revoked_tokens_stay_revoked(channel: str) -> None:
    with memory("--jwt-key", f"HS256:{secret_file()}") as server:
        good, bad = (make_token(["**"], ["**"], admin=True, jti=jti) for jti in ("good", "bad"))
        assert request(server, "DELETE", "/api/tokens/bad", Authorization=f"Bearer {good}").status == 200
        server.upgrade()
        assert get(server, path_of(channel, wait=0), Authorization=f"Bearer {good}").status == 204
        assert get(server, path_of(channel, wait=0), Authorization=f"Bearer {bad}").status == 401
        server.upgrade()
        server.await_old()
        assert get(server, path_of(channel, wait=0), Authorization=f"Bearer {bad}").status == 401


def test_nobody_is_told_to_have_left(channel: str) -> None:
    with memory("--presence", "yes", "--presence-grace", "1s", drain_time="1") as server, contextlib.ExitStack() as stack:
        for name in ("ann", "bob"):
            socket_of = stack.enter_context(WebSocket(server, path_of(channel, **{"as": name})))
            assert socket_of
        wait_until(lambda: get(server, f"/api/channels/{channel}/presence").json["count"] == 2)
        since = {each["name"]: each["since"] for each in get(server, f"/api/channels/{channel}/presence").json["members"]}
        server.upgrade()
        heard = stack.enter_context(EventStream(server, path_of(f"{channel}/$presence")))
        heard.next_block()
        assert get(server, f"/api/channels/{channel}/presence").json["count"] == 2
        stack.enter_context(WebSocket(server, path_of(channel, **{"as": "ann"})))
        stack.enter_context(WebSocket(server, path_of(channel, **{"as": "bob"})))
        stack.enter_context(WebSocket(server, path_of(channel, **{"as": "eve"})))
        event = heard.next_event()
        assert event.event == "join" and "eve" in (event.data or "") and "ann" not in (event.data or "")
        members = get(server, f"/api/channels/{channel}/presence").json["members"]
        assert {each["name"]: each["since"] for each in members if each["name"] != "eve"} == since


def test_who_does_not_come_back_leaves_after_the_grace(channel: str) -> None:
    with memory("--presence", "yes", "--presence-grace", "200ms", "--retry", "50ms", drain_time="0.2") as server:
        with WebSocket(server, path_of(channel, **{"as": "ann"})):
            wait_until(lambda: get(server, f"/api/channels/{channel}/presence").json["count"] == 1)
            server.upgrade()
        assert get(server, f"/api/channels/{channel}/presence").json["count"] == 1
        wait_until(lambda: get(server, f"/api/channels/{channel}/presence").json["count"] == 0)


def test_who_leaves_while_the_state_is_told_is_told_to_have_left(channel: str) -> None:
    """Before his room is told of: there is much before it."""
    with memory("--presence", "yes", "--presence-grace", "0s", "--retry", "50ms", "--history-bytes", "64MiB", drain_time="0.2") as server:
        folder = server.program_file.parent
        for _ in range(30):
            publish(server, channel, "x" * 100000)
        room = f"{channel}/room"
        with WebSocket(server, "/ws") as asker, WebSocket(server, path_of(room, **{"as": "ann"})) as ann:
            wait_until(lambda: get(server, f"/api/channels/{room}/presence").json["count"] == 1)
            with server.relayed(f"""
def before(kind, data):
    while kind == 2 and not os.path.exists("{folder}/go"):
        pathlib.Path("{folder}/told").touch()
        time.sleep(0.01)
"""):
                server.signal_upgrade()
                wait_until((folder / "told").exists)
                ann.close()

                def is_gone() -> bool:
                    asker.put_json({"op": "presence", "ref": 1, "channel": room})
                    return bool(asker.take_json()["members"] == [])

                wait_until(is_gone)
                (folder / "go").touch()
                wait_until(lambda: server.count("succeeded") and server.count("ready") == 2)
                server.take_over()
            assert [each["name"] for each in get(server, f"/api/channels/{room}/presence").json["members"]] == ["ann"]
            with EventStream(server, path_of(f"{room}/$presence")) as heard:
                heard.next_block()
                event = heard.next_event()
                assert event.event == "leave" and "ann" in (event.data or "")


# Who is connected.

def test_a_connection_that_waits_in_the_kernel_is_served_by_the_next_process(channel: str) -> None:
    with memory() as server:
        server.process.send_signal(signal.SIGSTOP)
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        for client in clients:
            client.sendall(request_bytes("GET", "/healthz"))
        server.signal_upgrade()
        server.process.send_signal(signal.SIGCONT)
        wait_until(lambda: server.count("succeeded") and server.count("ready") == 2)
        server.take_over()
        for client in clients:
            client.settimeout(20)
            assert client.recv(100).startswith(b"HTTP/1.1 200")
            client.close()


def test_who_has_connected_to_the_old_process_is_answered(channel: str) -> None:
    """With TLS by the old one: see also test_upgrade_kept.py."""
    tls = common_tls()
    with memory("--http", f"127.0.0.1:0 {tls.pair.keys}") as server, Connection(server) as silent, Connection(server) as kept:
        place = server.at(server.listeners("http")[1])
        place.tls = tls
        with Connection(place) as safe:
            assert kept.request("GET", "/healthz").status == 200
            server.upgrade()
            assert silent.request("GET", "/healthz").status == safe.request("GET", "/healthz").status == 200
            assert kept.request("POST", path_of(channel), "x").status == 201


def test_held_clients_are_let_go_and_told_to_come_back_at_once(channel: str) -> None:
    with memory() as server, EventStream(server, path_of(channel)) as stream, WebSocket(server, path_of(channel)) as feed:
        stream.next_block()
        server.upgrade()
        assert stream.next_block() is None
        retry = re.fullmatch(rb"retry: (\d+)\n", stream.text)
        assert retry and 100 <= int(retry[1]) <= 200
        code, reason = feed.take_close()
        assert code == 1012 and re.search(r"after 0\.[12]\d\d s$", reason)
        server.await_old()


def test_a_poll_at_the_old_process_is_told_nothing_of_what_only_the_next_one_knows(channel: str) -> None:
    tls = common_tls()
    with memory("--http", f"127.0.0.1:0 {tls.pair.keys}") as server, Connection(server) as kept:
        place = server.at(server.listeners("http")[1])
        place.tls = tls
        with Connection(place) as silent:
            name = publish(server, channel, "1")
            assert kept.request("GET", path_of(channel, since=name, wait=0)).status == 204
            server.upgrade()
            newer = publish(server, channel, "2")
            assert silent.request("GET", path_of(channel, since=newer, wait=0)).error == "stopping"
            assert kept.request("GET", path_of(channel, since=name, wait=0)).body == b"2", "it is the next one that answers"


# Sockets.

def test_all_kinds_of_listeners_go_over(tmp_path: pathlib.Path, channel: str) -> None:
    path = tmp_path / "socket"
    tls = common_tls()
    options = ("--admin", "127.0.0.1:0", "--tcp", f"unix:{path} mode=0600 framing=crlf", "--tcp", "127.0.0.1:0 framing=crlf",
               "--http", f"127.0.0.1:0 {tls.pair.keys}")
    with memory(*options) as server:
        before = server.ready_file.read_text()
        for _ in range(2):
            server.upgrade()
            server.await_old()
            wait_until(lambda: server.ready_file.read_text() == before)
            for index in range(len(tcp_addresses(server))):
                with Raw(server, index) as raw:
                    assert raw.ask(b"PING") == b"PONG"
            assert get(server.at(server.listeners("admin")[0]), "/metrics").status == 200
            with tls.wrap(socket.create_connection(("127.0.0.1", server.listeners("http")[1]))) as client:
                client.sendall(request_bytes("GET", "/healthz"))
                assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert path.is_socket() and path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


@pytest.mark.parametrize(("before", "after"), [("1", "3"), ("3", "1"), ("2", "2")])
def test_the_number_of_shards_may_change(channel: str, tmp_path: pathlib.Path, before: str, after: str) -> None:
    conf = tmp_path / "conf"
    conf.write_text(f"shards = {before}\n")
    with UpgradingServer("--config", str(conf)) as server:
        name = publish(server, channel)
        conf.write_text(f"shards = {after}\n")
        server.upgrade()
        server.await_old()
        assert f"shards={after}" in server.log()
        for _ in range(30):  # whichever socket the kernel chooses
            assert look(server, channel, "earliest") == ["x"]
        assert get(server, path_of(channel, last=1)).cursor == name


def test_listeners_may_come_and_go(channel: str, tmp_path: pathlib.Path) -> None:
    conf, path = tmp_path / "conf", tmp_path / "socket"
    conf.write_text(f"tcp = unix:{path}\n")
    with UpgradingServer("--config", str(conf)) as server:
        conf.write_text("tcp = 127.0.0.1:0 framing=crlf\nadmin = 127.0.0.1:0\n")
        server.upgrade()
        wait_until(lambda: "admin" in server.ready_file.read_text())
        with Raw(server) as raw:
            assert raw.ask(b"PING") == b"PONG"
        server.await_old()
        assert not path.exists(), "nobody listens there any more"


def test_sockets_of_the_service_manager_go_over(channel: str) -> None:
    server = ActivatedServer("http", http="127.0.0.1:1")
    with server:
        name = publish(server, channel)
        server.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: server.log().count("event=ready") == 2)
        heir = Heir(int(re.findall(r"event=succeeded pid=(\d+)", server.log())[0]))
        assert server.process.wait(20) == 0
        assert look(server, channel, "earliest") == ["x"] and name
        os.kill(heir.pid, signal.SIGTERM)
        wait_until(lambda: server.log().count("event=stopped") == 2)


def test_proxy_protocol_goes_over(channel: str) -> None:
    with memory("--http", "127.0.0.1:0 proxy-protocol=yes") as server:
        server.upgrade()
        port = server.listeners("http")[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + request_bytes("GET", "/healthz"))
            client.settimeout(20)
            assert client.recv(100).startswith(b"HTTP/1.1 200")


# The service manager.

def test_the_service_manager_hears_of_the_new_main_process() -> None:
    with Supervisor(WATCHDOG_USEC="600000") as supervisor, memory(environment=supervisor.environment) as server:
        first = supervisor.await_("READY")
        heir = server.upgrade()
        assert supervisor.await_("MAINPID")["MAINPID"] == str(heir.pid) != first["MAINPID"]
        ready = supervisor.await_("READY")
        assert ready["MAINPID"] == str(heir.pid)
        supervisor.await_("WATCHDOG")
        server.await_old()
        supervisor.await_("WATCHDOG")
        assert not any("STOPPING" in told for told in supervisor.told), "the old process is not the service any more"


def test_when_the_new_process_cannot_be_told_to_begin_the_service_manager_hears_of_the_old_one_again() -> None:
    with Supervisor() as supervisor, memory(environment=supervisor.environment) as server:
        own = supervisor.await_("READY")["MAINPID"]
        say(server.program_file, IMPOSTOR.format(
            steps="until(SOCKETS); say(READY, os.getpid()); until(END); peer.shutdown(socket.SHUT_RD); say(LOADED, 1, text=b''); time.sleep(60)"))
        assert server.fail_upgrade() == GOES_ON
        assert supervisor.await_("MAINPID")["MAINPID"] != own
        assert supervisor.await_("MAINPID")["MAINPID"] == own
        assert get(server, "/readyz").status == 200


# Redis.

def test_over_redis_nothing_but_sockets_goes_over(channel: str) -> None:
    with RedisServer() as redis, memory("--broker", redis.url()) as server:
        await_ready(server)
        name = publish(server, channel, "1")
        with EventStream(server, path_of(channel)) as stream:
            stream.next_block()
            server.upgrade()
            await_ready(server)
            publish(server, channel, "2")
            with contextlib.suppress(AssertionError):
                assert stream.next_event().data == "2"  # held at the old process, which has Redis too
        assert look(server, channel, name) == ["2"]
        server.await_old()


# What goes wrong.

GOES_ON = "it ended before it was ready"

STEPS = {
    "at once": "",
    "after its sockets": "until(SOCKETS)",
    "when it is ready": "until(SOCKETS); say(READY, os.getpid())",
    "amid the state": "until(SOCKETS); say(READY, os.getpid()); until(4)",
    "with the state": "until(SOCKETS); say(READY, os.getpid()); until(END)",
}


def goes_on(server: UpgradingServer, channel: str, name: str) -> None:
    """As if nothing had happened."""
    assert server.process.poll() is None
    assert look(server, channel, "earliest")[0] == "m0"
    again = publish(server, channel, "again")
    assert again.split("-")[0] == name.split("-")[0]
    with EventStream(server, path_of(channel, since=name)) as stream:
        assert stream.next_block().id == name  # type: ignore[union-attr]
    assert get(server, "/readyz").status == 200


@pytest.fixture
def upgradable(channel: str) -> object:
    with memory(drain_time="0.2") as server:
        name = [publish(server, channel, f"m{i}") for i in range(30)][-1]
        yield server, name


WAYS = ("ends", "is killed", "talks nonsense", "says what is not its turn")


@pytest.mark.parametrize(("step", "way"), [
    pytest.param(step, way, marks=[] if way == "is killed" or step == "with the state" else [pytest.mark.long])
    for step in STEPS for way in WAYS])
def test_a_process_that_fails_changes_nothing(upgradable: tuple[UpgradingServer, str], channel: str, step: str, way: str) -> None:
    server, name = upgradable
    ways = {"ends": "sys.exit(3)", "is killed": "os.kill(os.getpid(), 9)", "talks nonsense": "peer.sendall(b'x' * 100); time.sleep(60)",
            "says what is not its turn": "say(11); time.sleep(60)"}
    program = server.program_file.read_bytes()
    say(server.program_file, IMPOSTOR.format(steps=f"{STEPS[step]}\n{ways[way]}"))
    why = server.fail_upgrade()
    assert why == (GOES_ON if way in ("ends", "is killed") else "it says what cannot be understood")
    goes_on(server, channel, name)
    server.program_file.unlink()
    server.program_file.write_bytes(program)
    server.program_file.chmod(0o755)
    server.upgrade()
    assert look(server, channel, name) == ["again"]


@pytest.mark.parametrize(("what", "said"), [("missing", "No such file"), ("no program", "Exec format error"), ("forbidden", "Permission denied")])
def test_a_program_that_cannot_be_executed_changes_nothing(upgradable: tuple[UpgradingServer, str], channel: str, what: str, said: str) -> None:
    server, name = upgradable
    server.program_file.unlink()
    if what != "missing":
        server.program_file.write_text("nothing")
        server.program_file.chmod(0o755 if what == "no program" else 0o644)
    assert server.fail_upgrade() == GOES_ON
    assert said in server.log()
    goes_on(server, channel, name)


def test_a_configuration_that_is_wrong_changes_nothing(channel: str, tmp_path: pathlib.Path) -> None:
    conf, path = tmp_path / "conf", tmp_path / "socket"
    conf.write_text("")
    with memory("--config", str(conf), "--tcp", f"unix:{path}") as server:
        name = [publish(server, channel, f"m{i}") for i in range(3)][-1]
        for text in ("histroy-size = 5\n", "jwt-key = HS256:/nonexistent\n"):
            conf.write_text(text)
            assert server.fail_upgrade() == GOES_ON
            goes_on(server, channel, name)
            assert path.is_socket(), "it is still listened on"
        assert "histroy-size" in server.log() and "/nonexistent" in server.log()


def test_a_second_signal_during_an_upgrade_is_refused_and_a_reload_waits(upgradable: tuple[UpgradingServer, str], channel: str) -> None:
    server, name = upgradable
    say(server.program_file, IMPOSTOR.format(steps="until(SOCKETS); time.sleep(2); sys.exit(1)"))
    server.signal_upgrade()
    wait_until(lambda: server.count("upgrading"))
    server.signal_upgrade()
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "event=upgrade-refused" in server.log())
    assert server.count("reloaded") == 0 or server.count("upgrade-failed")
    wait_until(lambda: server.count("reloaded") == 1)
    assert server.log().index("event=upgrade-failed") < server.log().index("event=reloaded")
    goes_on(server, channel, name)


def test_a_stop_during_an_upgrade_ends_both(upgradable: tuple[UpgradingServer, str]) -> None:
    server, _ = upgradable
    say(server.program_file, IMPOSTOR.format(steps="until(SOCKETS); print('pid', os.getpid(), file=sys.stderr, flush=True); time.sleep(600)"))
    server.signal_upgrade()
    pid = int(wait_until(lambda: re.search(r"^pid (\d+)$", server.log(), re.MULTILINE))[1])
    server.stop()
    wait_until(lambda: not os.path.exists(f"/proc/{pid}") or "Z" in pathlib.Path(f"/proc/{pid}/stat").read_text())


def test_an_ending_process_is_not_upgraded(channel: str) -> None:
    with memory(drain_time="5") as server, EventStream(server, path_of(channel)):
        wait_until(lambda: subscribers(server, channel)["sse"] == 1)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.count("stopping"))
        server.signal_upgrade()
        wait_until(lambda: "this process is ending" in server.log())
        server.process.send_signal(signal.SIGTERM)


# The old process at its end: what the next one does.

@contextlib.contextmanager
def heir_of(script: object, tmp_path: pathlib.Path) -> object:
    """A server whose predecessor is the test: `script(peer, listener)` plays it."""
    ours, theirs = socket.socketpair()
    listener = socket.create_server(("127.0.0.1", 0))
    server = UpgradingServer("--shards", "2", http=f"127.0.0.1:{listener.getsockname()[1]}", drain_time="0.2")
    server.environment["UPGRADE_FD"] = "3"
    starter = tmp_path / "starter"
    say(starter, f"#!/usr/bin/python3\nimport os, sys\nos.dup2({theirs.fileno()}, 3)\nos.set_inheritable(3, True)\n"
                 f"os.execv({server.program!r}, [{server.program!r}, *sys.argv[1:]])\n")
    with open(server.log_file, "ab") as log:
        server.process = subprocess.Popen([str(starter), "serve", *server.options], stderr=log, stdin=subprocess.DEVNULL,
                                          env=server.environment, pass_fds=(theirs.fileno(),))
    theirs.close()
    server.port = listener.getsockname()[1]
    try:
        script(ours, listener, server)  # type: ignore[operator]
        yield server
    finally:
        ours.close()
        listener.close()
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)
        server.folder.cleanup()


def record(kind: int, *numbers: int, texts: tuple[bytes, ...] = ()) -> bytes:
    body = bytes([kind]) + b"".join(number.to_bytes(8, "little") for number in numbers)
    body += b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    return (len(body) + 4).to_bytes(4, "little") + body


def pass_sockets(peer: socket.socket, listener: socket.socket) -> None:
    address = f"127.0.0.1:{listener.getsockname()[1]}".encode()
    socket.send_fds(peer, [record(0, 0, 1, 0, texts=(b"http", address))], [listener.fileno()])
    peer.sendall(record(1))
    peer.settimeout(20)
    assert peer.recv(100)[4] == 12, "ready"


STATE = (record(2, 1, texts=(b"0.1.0",)), record(3, 1, 0, 0, texts=(b"c", b"k3q9xm2ab7zt")),
         record(4, 1, 0, 0, 60000, 0, texts=(b"kept", b"", b"", b"", b"")), record(10, 1, 1))


@pytest.mark.parametrize("told", range(len(STATE) + 1))
def test_when_the_old_process_dies_the_next_one_serves_with_all_or_nothing(tmp_path: pathlib.Path, told: int) -> None:
    def script(peer: socket.socket, listener: socket.socket, server: UpgradingServer) -> None:
        pass_sockets(peer, listener)
        peer.sendall(b"".join(STATE[:told]))
        peer.close()
        wait_until(lambda: server.count("ready"))

    with heir_of(script, tmp_path) as server:
        assert look(server, "c", "earliest") == (["kept"] if told == len(STATE) else [])
        assert ("event=state-not-inherited" in server.log()) == (told < len(STATE))
        assert publish(server, "c")


@pytest.mark.parametrize(("head", "why"), [
    (record(2, 2, texts=(b"9.9",)), "9.9 tells it in version 2, of which this one knows 1"),
    (record(3, 1, 0, 0, texts=(b"c", b"k3q9xm2ab7zt")), "does not begin with its head"),
    (STATE[0] + record(3, 1, 0, 0, texts=(b"/c", b"k3q9xm2ab7zt")), "no name of its own"),
    (STATE[0] + record(3, 1, 0, 0, texts=(b"c", b"K")), "no epoch"),
    (STATE[0] + STATE[1] + record(4, 2, 0, 0, 1, 0, texts=(b"",) * 5), "an offset that is not its own"),
    (STATE[0] + STATE[1] + record(5, 0, 1, 1, texts=(b"c/d",)), "stands for nothing"),
    (STATE[0] + STATE[1] + record(4, 1, 0, 0, 1, 9, texts=(b"",) * 5), "a message is none"),
    (STATE[0] + STATE[1] + record(6, 1, 0, 1, texts=(b"\n",)), "key is none"),
    (STATE[0] + record(7, texts=(b"x",)), "a revocation is none"),
    (STATE[0] + record(9, 0, 0, 0, texts=(b"ann", b"")), "is nobody"),
    (STATE[0] + STATE[1] + record(10, 1, 7), "something is missing"),
])
def test_a_state_that_cannot_be_taken_is_said_and_channels_begin_anew(tmp_path: pathlib.Path, head: bytes, why: str) -> None:
    def script(peer: socket.socket, listener: socket.socket, server: UpgradingServer) -> None:
        pass_sockets(peer, listener)
        peer.sendall(head + (b"" if head.endswith(record(10, 1, 7)) else STATE[-1]))
        loaded = peer.recv(1000)
        assert loaded[4] == 13 and loaded[5] == 0 and why.encode() in loaded
        assert not server.count("ready"), "it waits for its turn"
        peer.sendall(record(11))
        wait_until(lambda: server.count("ready"))

    with heir_of(script, tmp_path) as server:
        assert why in server.log() and "event=state-not-inherited" in server.log()
        assert look(server, "c", "earliest") == [] and publish(server, "c")


def test_without_its_sockets_a_process_ends(tmp_path: pathlib.Path) -> None:
    def script(peer: socket.socket, listener: socket.socket, server: UpgradingServer) -> None:
        peer.close()
        assert server.process.wait(20) == 1

    with heir_of(script, tmp_path) as server:
        assert "sluice: upgrade: " in server.log()


# All of it together.

@pytest.mark.parametrize("broker", ["memory", "redis"])
def test_upgrades_in_a_row_lose_and_double_nothing(channel: str, broker: str) -> None:
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(RedisServer()) if broker == "redis" else None
        options = ("--broker", redis.url()) if redis else ()
        server = stack.enter_context(memory("--history-size", "100000", *options, drain_time="1"))
        if redis:
            await_ready(server)
        followers, expected = run_upgrades(server, [f"{channel}/a", f"{channel}/b"], 3)
        for follower in followers:
            check([follower], expected[follower.channel])
        assert metric(server, "messages") or redis
        server.await_old()


# What the process has given up.

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def facts(pid: int, name: str) -> list[str]:
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1:] for line in lines if line.startswith(f"{name}:"))


@pytest.mark.skipif(is_sanitized(), reason="a sanitizer makes system calls of its own")
def test_a_confined_server_is_upgraded_again_and_again(channel: str) -> None:
    with memory("--seccomp", "yes") as server:
        name = publish(server, channel)
        for _ in range(3):
            wait_until(lambda: facts(server.process.pid, "Seccomp") == ["2"], what="the confinement, which comes before the first byte is read")
            server.upgrade()
            server.await_old()
        assert look(server, channel, "earliest") == ["x"] and get(server, path_of(channel, last=1)).cursor == name
        program = server.program_file.read_bytes()
        server.program_file.unlink()
        assert server.fail_upgrade() == GOES_ON
        server.program_file.write_bytes(program)
        assert publish(server, channel)


@as_root
def test_a_server_that_has_become_a_user_is_upgraded_as_that_user(channel: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "socket"
    tmp_path.chmod(0o700)
    server = memory("--user", "nobody", "--tcp", f"unix:{path}", "--http", "127.0.0.1:879")
    os.chown(server.folder.name, NOBODY.pw_uid, NOBODY.pw_gid)
    with server:
        publish(server, channel)
        keeper = keeper_of(server.process.pid)
        wait_until(lambda: facts(keeper, "Uid") == [str(NOBODY.pw_uid)] * 4)
        for _ in range(2):
            heir = server.upgrade()
            server.await_old()
            assert facts(heir.pid, "Uid") == facts(keeper_of(heir.pid), "Uid") == [str(NOBODY.pw_uid)] * 4
            assert facts(heir.pid, "CapEff") == ["0000000000000000"]
            assert look(server.at(879), channel, "earliest") == ["x"], "a port that only root may bind"


def test_the_keeper_holds_nothing_and_ends_with_its_server(channel: str) -> None:
    with memory() as server:
        keeper = keeper_of(server.process.pid)
        wait_until(lambda: sorted(os.listdir(f"/proc/{keeper}/fd")) == ["0", "1", "2", "3"])
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
            os.kill(keeper, number)
        server.upgrade()
        server.await_old()
        wait_until(lambda: is_over(keeper))
        keeper = keeper_of(server.process.pid)
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: is_over(keeper))
        server.signal_upgrade()
        wait_until(lambda: "no process can be started" in server.log())
        assert publish(server, channel)


def test_a_keeper_that_answers_late_starts_the_process_that_was_asked_for_last(channel: str) -> None:
    """The other one is not left waiting; the old process stays meanwhile."""
    with memory(drain_time="60") as server, EventStream(server, path_of(channel)) as stream:
        publish(server, channel)
        keeper = keeper_of(server.process.pid)
        os.kill(keeper, signal.SIGSTOP)
        server.signal_upgrade()
        wait_until(lambda: "no process can be started" in server.log())
        server.signal_upgrade()
        wait_until(lambda: server.count("upgrading") == 2)
        os.kill(keeper, signal.SIGCONT)
        wait_until(lambda: server.count("succeeded") and server.count("ready") == 2)
        heir = server.take_over()
        wait_until(lambda: children(keeper) == {heir.pid}, timeout=20, what="the end of the one that came late")
        assert look(server, channel, "earliest") == ["x"]
        stream.close()
        server.await_old()


def children(pid: int) -> set[int]:
    with contextlib.suppress(FileNotFoundError):
        each = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {int(child) for child in each if not is_over(int(child))}
    return set()


def test_a_server_without_standard_input_has_a_keeper_that_ends_with_it(channel: str) -> None:
    server = memory()
    starter = pathlib.Path(server.folder.name) / "starter"
    say(starter, f'#!/bin/sh\nexec "{server.program}" "$@" <&-\n')
    server.program = str(starter)
    with server:
        keeper = keeper_of(server.process.pid)
        wait_until(lambda: os.readlink(f"/proc/{keeper}/fd/0") == "/dev/null")
        server.upgrade()
        server.await_old()
        wait_until(lambda: is_over(keeper))
        assert publish(server, channel)


def is_over(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True
