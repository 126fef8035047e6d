# SPDX-License-Identifier: MIT
"""Starting, stopping, reloading, and what is logged."""

import json
import os
import re
import signal
import subprocess
import tempfile
import time

import pytest
from support.client import Connection, EventStream, LineStream, get, path_of, publish, request, request_bytes, subscribers
from support.server import SLUICE, Server, wait_until
from support.tokens import secret_file


def test_stopping_answers_polls_and_ends_streams_cleanly(channel: str) -> None:
    server = Server("--drain-time", "0.5").start()
    name = publish(server, channel)
    polls = [Connection(server) for _ in range(20)]
    for poll in polls:
        poll.send(request_bytes("GET", path_of(channel, since=name)))
    streams = [EventStream(server, path_of(channel)) for _ in range(20)]
    lines = LineStream(server, path_of(channel))
    wait_until(lambda: subscribers(server, channel)["total"] == 41)
    server.process.send_signal(signal.SIGTERM)
    for poll in polls:
        response = poll.read_response()
        assert (response.status, response.cursor, response.header("Connection")) == (204, name, "close")
        poll.close()
    for stream in streams:
        first = stream.next_block()
        assert first and first.id == name
        assert stream.next_block() is None and stream.ended_cleanly
        assert re.fullmatch(rb"retry: \d+\n", stream.text)
        stream.close()
    lines.next_line()
    assert lines.next_line()["error"] == "stopping"
    assert not lines.more() and lines.ended_cleanly
    lines.close()
    server.stop()
    server.folder.cleanup()


def test_clients_are_let_go_evenly(channel: str) -> None:
    server = Server("--drain-time", "1").start()
    streams = [EventStream(server, path_of(channel)) for _ in range(40)]
    wait_until(lambda: subscribers(server, channel)["sse"] == 40)
    server.process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    ends = []
    for stream in sorted(streams, key=lambda stream: stream.socket.fileno()):
        while stream.next_block() is not None:
            pass
        ends.append(time.monotonic() - begun)
        stream.close()
    server.stop()
    assert max(ends) > 0.5, "all at once"
    assert max(ends) < 5
    server.folder.cleanup()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once(channel: str, number: int) -> None:
    server = Server("--drain-time", "60").start()
    with EventStream(server, path_of(channel)):
        wait_until(lambda: subscribers(server, channel)["sse"] == 1)
        server.process.send_signal(number)
        wait_until(lambda: "stopping" in server.log())
        begun = time.monotonic()
        server.stop(number)
        assert time.monotonic() - begun < 10
    server.folder.cleanup()


def test_while_draining_nobody_new_is_let_in(channel: str) -> None:
    server = Server("--drain-time", "5", "--shards", "1").start()
    keep = Connection(server)
    assert keep.request("GET", "/readyz").status == 200
    with EventStream(server, path_of(channel)):
        wait_until(lambda: subscribers(server, channel)["sse"] == 1)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in server.log())

        def is_refused() -> bool:
            try:
                Connection(server).close()
            except (ConnectionRefusedError, ConnectionResetError):
                return True
            return False

        wait_until(is_refused)
        assert keep.request("GET", "/readyz").error == "stopping"
        keep.close()
        server.stop()
    server.folder.cleanup()


def test_a_server_that_comes_back_tells_who_held_a_cursor(channel: str) -> None:
    with Server() as server:
        name = publish(server, channel)
        port = server.port
    with Server(http=f"127.0.0.1:{port}") as server:
        again = publish(server, channel, "after")
        with EventStream(server, path_of(channel), Last_Event_ID=name) as stream:
            assert stream.next_event().event == "reset"
            assert stream.next_event().id == again


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SLUICE, *arguments], capture_output=True, text=True, timeout=20,
                          env={**os.environ, **(environment or {})}, check=False)


def test_closed_by_default() -> None:
    for address in ("0.0.0.0:0", ":0", "[::]:0"):
        result = run("serve", "--http", address)
        assert result.returncode == 2
        assert "--anonymous" in result.stderr and "refusing" in result.stderr
    with Server("--anonymous", http="0.0.0.0:0") as server:
        assert get(server, "/healthz").status == 200
    with Server("--jwt-key", f"HS256:{secret_file()}", http="0.0.0.0:0") as server:
        assert get(server, "/channels/a?wait=0").status == 401


def test_the_port_of_another_server_is_not_shared(server: Server) -> None:
    result = run("serve", "--http", f"127.0.0.1:{server.port}")
    assert result.returncode == 1 and "another process listens there" in result.stderr


@pytest.mark.parametrize(("arguments", "expected"), [
    (["--history-size", "x"], "command line: history-size = 'x' must be a whole number from 0 to 1000000"),
    (["--histroy-size", "1"], "did you mean 'history-size'?"),
    (["--tcp", "127.0.0.1:0 framing=x"], "framing is auto, crlf, nul, len32 or resp, not 'x'"),
    (["--tcp", "127.0.0.1:0 framing=resp input=echo"], "framing=resp has commands as its input"),
    (["--http", "127.0.0.1:0", "--tcp", "0.0.0.0:0"], "--anonymous"), (["--http", "nowhere"], "must be host:port"), (["--broker", "kafka://x"], "broker: it must be memory:"),
    (["--config", "/no/such/file"], "cannot read the configuration file /no/such/file"), (["fly"], "there is no subcommand 'fly'"),
])
def test_wrong_options_end_with_2_and_say_what_is_allowed(arguments: list[str], expected: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2 and expected in result.stderr


@pytest.mark.parametrize(("arguments", "expected"), [
    (["serv"], "did you mean 'serve'?"), (["--histry", "5"], "did you mean 'history-size'?"),
    (["--static-dir", "/no/such"], "static-dir = '/no/such' cannot be served: No such file"),
    (["--broker", "redis://:secret@host:abc"], "broker: host:abc: the port must be a number"),
])
def test_mistakes_are_told_at_the_start(arguments: list[str], expected: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2 and expected in result.stderr and "secret" not in result.stderr


def test_variables_that_are_no_options_are_logged() -> None:
    with Server(environment={"SLUICE_HISTRY_SIZE": "7", "SLUICE_SERVICE_HOST": "10.0.0.1"}) as server:
        lines = [line for line in server.log().splitlines() if "level=warn" in line]
        assert len(lines) == 1 and "variable=SLUICE_HISTRY_SIZE" in lines[0] and "SLUICE_HISTORY_SIZE?" in lines[0]


def test_help_version_and_check_config() -> None:
    assert "--history-size" in run("--help").stdout
    assert re.match(r"sluice \d+\.\d+", run("--version").stdout)
    result = run("check-config", "--retry", "5s", environment={"SLUICE_HISTORY_SIZE": "7"})
    assert "retry = 5s    ; command line" in result.stdout
    assert "history-size = 7    ; environment SLUICE_HISTORY_SIZE" in result.stdout
    assert run("check-config", "--retry", "never").returncode == 2
    assert ".SH OPTIONS" in run("help", "--format=man").stdout


def test_reload_takes_effect_reports_what_cannot_and_survives_a_bad_file(channel: str) -> None:
    with tempfile.NamedTemporaryFile("w+", suffix=".ini") as file:
        def write(text: str) -> None:
            file.seek(0)
            file.truncate()
            file.write(text)
            file.flush()

        write("message-size = 10\n")
        with Server("--config", file.name) as server:
            assert request(server, "POST", path_of(channel), "x" * 11).status == 413
            write("message-size = 20\nshards = 7\nlog-level = debug\n")
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: "event=reloaded" in server.log())
            assert "options=shards" in server.log()
            wait_until(lambda: request(server, "POST", path_of(channel), "x" * 20).status == 201)
            assert request(server, "POST", path_of(channel), "x" * 21).status == 413
            write("message-size = lots\n")
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: "event=reload-failed" in server.log())
            assert f"{file.name}:1" in server.log() and "message-size = 'lots'" in server.log()
            assert request(server, "POST", path_of(channel), "x" * 20).status == 201


def test_history_options_reload_in_the_broker(channel: str) -> None:
    with tempfile.NamedTemporaryFile("w+", suffix=".ini") as file:
        with Server("--config", file.name) as server:
            file.write("history-size = 2\n")
            file.flush()
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: "event=reloaded" in server.log())

            def kept() -> int:
                publish(server, channel)
                return get(server, f"/api/channels/{channel}").json["messages"]

            for _ in range(5):
                kept()
            wait_until(lambda: kept() == 2)


def test_log_lines_in_logfmt(channel: str) -> None:
    with Server("--log-level", "debug") as server:
        get(server, path_of(channel, wait=0) + "&since=secret", X_A="b")
        wait_until(lambda: server.log().count("event=request") == 1)
        get(server, "/a%0ab%7f\x80?token=secret")
        wait_until(lambda: server.log().count("event=request") == 2)
        log = server.log()
    lines = [line for line in log.splitlines() if "event=request" in line]
    assert re.match(r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=debug event=request method=GET path=/channels/", lines[0])
    assert "status=400" in lines[0] and "peer=127.0.0.1:" in lines[0] and "microseconds=" in lines[0]
    assert "secret" not in log
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", log)


def test_log_lines_in_json() -> None:
    with Server("--log-level", "debug", "--log-format", "json") as server:
        get(server, '/a"b\\c')
        wait_until(lambda: '"event":"request"' in server.log())
        lines = [json.loads(line) for line in server.log().splitlines()]
    assert {"time", "level", "event"} <= set(lines[0])
    assert any(line["event"] == "request" and line["path"] == '/a"b\\c' for line in lines)


def test_access_lines_only_at_debug(server: Server) -> None:
    get(server, "/healthz")
    assert "event=request" not in server.log()
