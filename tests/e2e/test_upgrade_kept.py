# SPDX-License-Identifier: MIT
"""Connections that are kept between two requests over an upgrade: they go on at the next process, and nobody sees an error."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections import Counter

import pytest
from support.client import Connection, get, path_of, publish, request, request_bytes, texts
from support.proxies import proxy_before
from support.redis import RedisServer, await_ready, metric
from support.server import Server, wait_until
from support.sockjs import Session, streaming
from support.tls import common_tls
from support.upgrade import IMPOSTOR, UpgradingServer, say


def post(kept: Connection, channel: str, data: str, **headers: str) -> None:
    response = kept.request("POST", path_of(channel), data, Content_Type="text/plain", **headers)
    assert response.status == 201 and response.header("Connection") is None, response


# Through a real proxy.

@pytest.mark.parametrize("broker", ["memory", "redis"])
def test_publishers_behind_nginx_see_no_error(channel: str, broker: str) -> None:
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(RedisServer()) if broker == "redis" else None
        options = ("--broker", redis.url()) if redis else ()
        server = stack.enter_context(UpgradingServer("--shards", "2", "--history-size", "100000", "--history-bytes", "64MiB", *options, drain_time="0.5"))
        if redis:
            await_ready(server)
        proxy = stack.enter_context(proxy_before([server], "proxies/nginx.conf.in", {"keepalive 100": "keepalive 16"}))
        over = threading.Event()
        statuses: Counter[int] = Counter()
        sent: list[list[str]] = [[] for _ in range(4)]
        faults: list[str] = []

        def speak(which: int) -> None:
            try:
                with Connection(proxy) as connection:
                    while not over.is_set():
                        data = f"{which} {len(sent[which])}"
                        response = connection.request("POST", path_of(channel), data, Content_Type="text/plain")
                        statuses[response.status] += 1
                        sent[which].append(data)
                        if response.header("Connection") == "close":
                            connection.close()
                            connection.__init__(proxy)  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001 - told below
                faults.append(f"{type(error).__name__}: {error}")

        speakers = [threading.Thread(target=speak, args=(which,)) for which in range(4)]
        for speaker in speakers:
            speaker.start()
        for _ in range(4):
            time.sleep(0.3)
            server.upgrade()
        time.sleep(0.3)
        over.set()
        for speaker in speakers:
            speaker.join()
        assert not faults, faults
        assert set(statuses) == {201}, statuses
        told = texts(server, channel)
        assert len(told) == statuses[201] and [[data for data in told if data[0] == str(which)] for which in range(4)] == sent
        server.await_old()


# What goes over.

def test_a_kept_connection_goes_on_at_the_next_process(channel: str) -> None:
    with UpgradingServer("--shards", "2") as server, contextlib.ExitStack() as stack:
        kept = [stack.enter_context(Connection(server)) for _ in range(30)]
        for number, each in enumerate(kept):
            post(each, channel, f"{number}")
        for round_ in ("a", "b"):
            server.upgrade()
            server.await_old()
            for number, each in enumerate(kept):
                post(each, channel, f"{round_}{number}")
        assert texts(server, channel) == [f"{round_}{number}" for round_ in ("", "a", "b") for number in range(30)]
        assert metric(server, "connections") in (30, 31)
        for each in kept[1:]:
            each.close()
        wait_until(lambda: metric(server, "connections") <= 2)


def test_who_has_sent_a_part_of_a_request_sends_the_rest_to_the_next_process(channel: str) -> None:
    whole = request_bytes("POST", path_of(channel), "x" * 20, Content_Type="text/plain", Cookie="c" * 3000)
    with UpgradingServer("--shards", "1") as server, Connection(server) as new, Connection(server) as kept, Connection(server) as piped:
        assert kept.request("GET", "/healthz").status == 200
        for each, cut in ((new, 30), (kept, 2500)):
            each.send(whole[:cut])
        assert piped.request("GET", "/healthz").status == 200
        assert get(server, "/healthz").status == 200, "they are looked at"
        server.upgrade()
        server.await_old()
        for each, cut in ((new, 30), (kept, 2500)):
            each.send(whole[cut:])
            assert each.read_response().status == 201
        piped.send(2 * whole)
        assert [piped.read_response().status for _ in range(2)] == [201, 201]
        assert texts(server, channel) == ["x" * 20] * 4


def test_a_connection_that_goes_over_keeps_its_own_time_and_its_place_among_the_limits(channel: str) -> None:
    with UpgradingServer("--shards", "1", "--head-timeout", "1s", "--keepalive-timeout", "3s", "--max-connections", "2", drain_time="0.2") as server:
        with Connection(server) as kept, Connection(server) as silent:
            assert kept.request("GET", "/healthz").status == 200
            begun = time.monotonic()
            server.upgrade()
            assert silent.read_response().status == 408
            assert time.monotonic() - begun < 2.5
            with Connection(server) as third:
                assert third.request("GET", "/healthz").status == 200
                wait_until(lambda: get(server, "/healthz").status == 503, what="the limit")
            assert kept.is_closed() and time.monotonic() - begun > 2.5
        wait_until(lambda: get(server, "/healthz").status == 200)


def test_whose_a_connection_is_goes_over(channel: str) -> None:
    """As the proxy's header said, and a second one is not wanted."""
    with UpgradingServer("--http", "127.0.0.1:0 proxy-protocol=yes", "--max-connections-per-ip", "1") as server:
        place = server.at(server.listeners("http")[1])
        with Connection(place) as kept:
            kept.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
            post(kept, channel, "1")
            server.upgrade()
            server.await_old()
            post(kept, channel, "2")
            with Connection(place) as other:
                other.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 3\r\n" + request_bytes("GET", "/healthz"))
                assert other.read_response().error == "too-many-from-address"


def test_with_tls_idle_connections_are_closed_and_new_ones_answered(channel: str) -> None:
    tls = common_tls()
    with UpgradingServer("--http", f"127.0.0.1:0 {tls.pair.keys}", drain_time="3") as server:
        place = server.at(server.listeners("http")[1])
        place.tls = tls
        with Connection(place) as kept, Connection(place) as silent:
            assert kept.request("GET", "/healthz").status == 200
            server.upgrade()
            assert kept.is_closed()
            answer = silent.request("POST", path_of(channel), "x", Content_Type="text/plain")
            assert (answer.status, answer.error, answer.header("Connection"), answer.header("Retry-After")) == (503, "stopping", "close", "1")
        server.await_old()


def test_who_came_by_a_listener_that_is_gone_is_closed(channel: str, tmp_path: object) -> None:
    conf = f"{tmp_path}/conf"
    with open(conf, "w") as file:
        file.write("admin = 127.0.0.1:0\n")
    with UpgradingServer("--config", conf, drain_time="0.2") as server, Connection(server.at(server.listeners("admin")[0])) as kept, Connection(server) as other:
        assert kept.request("GET", "/metrics").status == other.request("GET", "/healthz").status == 200
        open(conf, "w").close()
        server.upgrade()
        assert kept.is_closed()
        post(other, channel, "x")


def test_a_session_of_sockjs_over_http_is_not_known_to_the_next_process() -> None:
    """It is at the old one until that lets it go; who sends meanwhile is told to connect again."""
    with UpgradingServer(drain_time="2") as server, Connection(server) as kept:
        session = Session(server, "/sockjs")
        with streaming(session) as stream:
            assert stream.frame() == "o"
            assert kept.request("GET", "/healthz").status == 200
            server.upgrade()
            assert kept.request("POST", f"{session.url}/xhr_send", '["{}"]').status == 404
            assert (stream.frame() or "").startswith("c[1012,")


# While it is told.

def test_requests_wait_while_the_state_is_told_and_are_answered_when_that_fails(channel: str) -> None:
    with UpgradingServer("--shards", "2", drain_time="0.2") as server, contextlib.ExitStack() as stack:
        publish(server, channel, "0")
        kept = [stack.enter_context(Connection(server)) for _ in range(8)]
        for each in kept:
            assert each.request("GET", "/healthz").status == 200
        say(server.program_file, IMPOSTOR.format(steps="until(SOCKETS); say(READY, os.getpid()); until(END); time.sleep(1); sys.exit(1)"))
        server.signal_upgrade()
        wait_until(lambda: get_is_held(kept[0]), what="the moment from which nobody is answered")
        for number, each in enumerate(kept[1:]):
            each.send(2 * request_bytes("POST", path_of(channel), f"{number}", Content_Type="text/plain"))
        wait_until(lambda: server.count("upgrade-failed"))
        assert kept[0].read_response().status == 200
        for each in kept[1:]:
            assert [each.read_response().status for _ in range(2)] == [201, 201]
        assert len(texts(server, channel)) == 15


def get_is_held(kept: Connection) -> bool:
    """Asks; true when there is no answer for a while: the request is under way then."""
    kept.send(request_bytes("GET", "/healthz"))
    kept.socket.settimeout(0.3)
    try:
        assert kept.read_response().status == 200
        return False
    except TimeoutError:
        return True
    finally:
        kept.socket.settimeout(Connection.timeout)


def test_a_request_that_is_under_way_is_finished_before_anything_is_told(channel: str) -> None:
    """Its body comes slowly, but soon enough."""
    data = request_bytes("POST", path_of(channel), "x" * 1000, Content_Type="text/plain")
    with UpgradingServer("--shards", "1", drain_time="0.5") as server:
        publish(server, channel, "first")
        for _ in range(3):
            over = threading.Event()
            answers = []

            def upload() -> None:
                while not over.is_set():
                    with Connection(server) as each:
                        each.send(data[:-500])
                        time.sleep(0.05)
                        each.send(data[-500:])
                        answers.append(each.read_response().status)

            thread = threading.Thread(target=upload)
            thread.start()
            time.sleep(0.1)
            server.upgrade()
            over.set()
            thread.join()
            assert set(answers) == {201}, answers


def test_a_request_that_takes_too_long_is_refused_and_holds_nobody_up(channel: str) -> None:
    data = request_bytes("POST", path_of(channel), "x" * 1000, Content_Type="text/plain")
    with UpgradingServer("--shards", "1", drain_time="3") as server, Connection(server) as slow:
        slow.send(data[:-1])
        assert get(server, "/healthz").status == 200
        begun = time.monotonic()
        server.upgrade()
        assert 200 <= int(re.findall(r"refused_ms=(\d+)", server.log())[0]) < 5000 and time.monotonic() - begun < 20
        slow.send(data[-1:])
        answer = slow.read_response()
        assert (answer.status, answer.error, answer.header("Retry-After")) == (503, "stopping", "1")


def test_many_kept_connections_go_over_at_once(channel: str) -> None:
    count = 2000
    with UpgradingServer("--shards", "2", drain_time="5") as server, contextlib.ExitStack() as stack:
        kept = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(count)]
        ask = request_bytes("GET", "/healthz")
        for round_ in range(2):
            for each in kept:
                each.sendall(ask)
            for each in kept:
                each.settimeout(20)
                answer = each.recv(1000)
                assert answer.startswith(b"HTTP/1.1 200") and b"close" not in answer
            if round_ == 0:
                server.upgrade()
        server.await_old()
        assert metric(server, "connections") >= count
        assert request(server, "POST", path_of(channel), "x").status == 201
