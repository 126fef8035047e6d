# SPDX-License-Identifier: MIT
"""Through nginx and haproxy, configured as in contrib/cluster: they send the requests of many clients over few connections."""

import contextlib
import pathlib
import random
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator

import pytest
from support.client import Connection, EventStream, get, path_of, publish, request, subscribers
from support.redis import Port, RedisServer, await_away, nodes
from support.server import PATIENCE, SOURCE, Server, wait_until

PROXIES = {
    "nginx": ("nginx.conf.in", "nginx -p {work} -c {work}/proxy.conf"),
    "haproxy": ("haproxy.cfg.in", "haproxy -db -f {work}/proxy.conf"),
}


class Proxy(Server):
    """Not a server of ours: only its port is known."""

    def __init__(self, port: int, log: pathlib.Path) -> None:
        self.port = port
        self.log = log


@contextlib.contextmanager
def running(name: str, program: str, server: Server) -> Iterator[Proxy]:
    template, command = PROXIES[name]
    port = Port()
    with tempfile.TemporaryDirectory() as work, contextlib.ExitStack() as stack:
        stack.callback(port.release)
        text = (SOURCE / "contrib/cluster" / template).read_text()
        names = {"PORT": port.number, "PORT1": server.port, "PORT2": server.port, "PORT3": server.port, "WORK": work}
        for key, value in names.items():
            text = text.replace(f"@{key}@", str(value))
        pathlib.Path(work, "proxy.conf").write_text(text)
        with open(f"{work}/log", "w+") as log:
            words = command.format(work=work).split()
            process = subprocess.Popen([program, *words[1:]], stdout=log, stderr=log)
            try:
                proxy = Proxy(port.number, pathlib.Path(work, "log"))

                def is_ready() -> bool:
                    assert process.poll() is None, proxy.log.read_text()
                    with contextlib.suppress(ConnectionRefusedError):
                        return get(proxy, "/readyz").status == 200
                    return False

                wait_until(is_ready, what=f"{name} passing on requests")
                yield proxy
            finally:
                process.terminate()
                process.wait(PATIENCE)


def find_program(name: str) -> str:
    program = shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    return program or pytest.skip(f"{name} is not installed")


@pytest.fixture(params=list(PROXIES))
def proxy(request: pytest.FixtureRequest, server: Server) -> Iterator[Proxy]:
    with running(request.param, find_program(request.param), server) as proxy:
        yield proxy


def test_the_small_request_of_one_client_does_not_break_the_large_one_of_another(server: Server, proxy: Proxy, channel: str) -> None:
    with Connection(proxy) as small, Connection(proxy) as large:
        for size in (1400, 3000, 6000) * 20:
            assert small.request("GET", path_of(channel, wait=0)).status == 204
            assert large.request("GET", path_of(channel, wait=0), Cookie="c" * size).status == 204


def test_many_clients_with_heads_of_all_sizes(server: Server, proxy: Proxy, channel: str) -> None:
    names = [f"{channel}/{i}" for i in range(30)]
    for name in names:
        publish(server, name, name)
    faults: list[str] = []

    def ask(seed: int) -> None:
        choice = random.Random(seed)
        with Connection(proxy) as connection:
            for _ in range(60):
                name = choice.choice(names)
                response = connection.request("GET", path_of(name, last=1), Cookie="c" * int(6000 ** choice.random()))
                if (response.status, response.body) != (200, name.encode()):
                    faults.append(f"{name}: {response}")

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults[:3]


def test_streams_and_polls_come_through_at_once(server: Server, proxy: Proxy, channel: str) -> None:
    with EventStream(proxy, path_of(channel)) as stream, Connection(proxy) as poll:
        wait_until(lambda: get(server, f"/api/channels/{channel}").status == 200 and subscribers(server, channel)["sse"] == 1)
        for number in range(5):
            poll.send(f"GET {path_of(channel)} HTTP/1.1\r\nHost: x\r\nCookie: {'c' * 1000 * number}\r\n\r\n".encode())
            wait_until(lambda: subscribers(server, channel)["poll"] == 1)
            publish(server, channel, str(number))
            assert poll.read_response().body == str(number).encode()
            while (event := stream.next_event()).event == "subscribed":
                pass
            assert event.data == str(number)


@pytest.mark.parametrize("name", list(PROXIES))
def test_a_stream_opens_while_redis_is_away(channel: str, name: str) -> None:
    """An EventSource gives up for good at the 503 of a proxy to which no node is ready."""
    program = find_program(name)
    with RedisServer() as redis, nodes(1, redis, options=("--heartbeat", "100ms")) as (node,), running(name, program, node) as proxy:
        redis.kill()
        await_away(node)
        if name == "haproxy":
            wait_until(lambda: "has no server available" in proxy.log.read_text(), what="haproxy noticing that no node is ready")
        assert request(proxy, "POST", path_of(channel), "x").error == "broker-down"
        with EventStream(proxy, path_of(channel)) as stream:
            redis.start()
            block = stream.next_block()
            assert block and block.event == "subscribed"
