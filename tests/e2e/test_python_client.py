# SPDX-License-Identifier: MIT
"""clients/python/sluice.py: what a program publishes and is told, over cuts, restarts and tokens that end."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.client import request
from support.redis import RedisServer
from support.server import PATIENCE, SOURCE, Server
from support.tokens import bearer, make_token, secret_file

sys.path.insert(0, str(SOURCE / "clients/python"))
import sluice  # noqa: E402


def client_of(server: Server, **options: Any) -> sluice.Client:
    return sluice.Client(f"http://127.0.0.1:{server.port}", **options)


class Cutter(threading.Thread):
    """A proxy that cuts each connection after a random number of bytes, and refuses some."""

    def __init__(self, server: Server, seed: int, most: int = 4000) -> None:
        super().__init__(daemon=True)
        self.server, self.random, self.most = server, random.Random(seed), most
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.cuts = 0
        self.is_kind = False  # cuts nothing any more

    def pass_on(self, source: socket.socket, sink: socket.socket, left: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(max(1, min(left, 4096)) if not self.is_kind else 4096):
                sink.sendall(data)
                left -= len(data)
                if left <= 0 and not self.is_kind:
                    self.cuts += 1
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                if not self.is_kind and self.random.random() < 0.1:
                    client.close()
                    continue
                upstream = socket.create_connection(("127.0.0.1", self.server.port))
                for source, sink in ((client, upstream), (upstream, client)):
                    threading.Thread(target=self.pass_on, args=(source, sink, self.random.randint(1, self.most)), daemon=True).start()

    def __enter__(self) -> Cutter:
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.listener.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sluice, "DELAY_S", 0.02)
    monkeypatch.setattr(sluice, "DELAY_MAX_S", 0.2)


def take(subscription: Iterator[Any], count: int) -> list[Any]:
    return list(itertools.islice(subscription, count))


def test_what_is_published_is_told(server: Server, channel: str) -> None:
    client = client_of(server)
    data = ["text", "", "line\r\nline", "🐇", {"a": [1, None]}, [], 7, None, True, b"\0\xff", bytearray(b"x")]
    published = [client.publish(channel, value, event="e", producer="me") for value in data]
    told = take(client.subscribe(channel, since="earliest"), len(data))
    assert [message.data for message in told] == [*data[:-1], b"x"]
    assert [message.id for message in told] == [message.cursor for message in told] == [answer.id for answer in published]
    assert {(message.channel, message.event, message.producer) for message in told} == {(channel, "e", "me")}
    assert [message.data for message in client.last(channel, 2)] == [b"\0\xff", b"x"]
    assert client.last(f"{channel}/none") == []
    assert take(client.subscribe(channel, since=told[2].cursor), 1)[0].data == "🐇"


def test_several_channels_go_on_with_one_cursor(server: Server, channel: str) -> None:
    client = client_of(server)
    names = [f"{channel}/{i}" for i in range(3)]
    for name in names:
        client.publish(name, name)
    told = take(client.subscribe(*names, since="earliest"), 2)
    rest = take(client.subscribe(*names, since=told[-1].cursor), 1)
    assert sorted(message.data for message in told + rest) == names


def test_what_stands_with_a_message(server: Server, channel: str) -> None:
    client = client_of(server)
    client.publish(channel, "kept", key="k")
    subscription = client.subscribe(channel, since="earliest")
    kept = next(subscription)
    assert (kept.key, kept.stored) == ("k", True)
    passing = client.publish(channel, "passing", store="no")
    told = next(subscription)
    assert (told.data, told.stored, told.id, told.tree, told.key) == ("passing", False, passing.id, "", "")


def test_an_idempotency_key_publishes_once(server: Server, channel: str) -> None:
    client = client_of(server)
    assert client.publish(channel, "x", idempotency_key="k").id == client.publish(channel, "x", idempotency_key="k").id
    assert len(client.last(channel, 9)) == 1


def test_what_does_not_pass_is_raised_at_once(server: Server, channel: str) -> None:
    client = client_of(server)
    for refuse, status, code in (
        (lambda: client.publish("a b", "x"), 400, "bad-channel"), (lambda: client.publish(channel, "x", ttl="0"), 400, "bad-option"),
        (lambda: next(client.subscribe(channel, since="nonsense")), 400, "bad-cursor"), (lambda: client.last("a//b"), 400, "bad-channel"),
    ):
        with pytest.raises(sluice.SluiceError) as fault:
            refuse()
        assert (fault.value.status, fault.value.code) == (status, code) and str(fault.value)
    for url in ("127.0.0.1:8080", "ftp://x", "http://"):
        with pytest.raises(ValueError, match="expected http"):
            sluice.Client(url)


def test_nobody_there(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    client = sluice.Client(f"http://127.0.0.1:{port}")
    with pytest.raises(OSError):
        client.publish("x", "x", patience=0.2)
    with pytest.raises(OSError):
        next(client.subscribe("x", patience=0.2))


def test_a_reset_is_told() -> None:
    with Server("--history-size", "2") as server:
        client = client_of(server)
        first = client.publish("c", "0")
        for i in range(1, 6):
            client.publish("c", str(i))
        reset, *told = take(client.subscribe("c", since=first.id), 3)
        assert isinstance(reset, sluice.Reset) and (reset.channel, reset.reason, reset.missed) == ("c", "trimmed", 3)
        assert [message.data for message in told] == ["4", "5"]
        assert take(client.subscribe("c", since=reset.cursor), 1)[0].data == "4"


@pytest.mark.parametrize("seed", range(3))
def test_cuts_lose_and_double_nothing(seed: int) -> None:
    count = 200
    with Server("--history-size", "1000") as server, Cutter(server, seed) as cutter:
        client = sluice.Client(f"http://127.0.0.1:{cutter.port}", timeout=PATIENCE)
        told: list[Any] = []
        subscription = client.subscribe("c", since="earliest")

        def listen() -> None:
            told.extend(take(subscription, count))

        def speak() -> None:
            for i in range(count):
                client.publish("c", {"n": i, "padding": "x" * (i % 50)})

        threads = [threading.Thread(target=work, daemon=True) for work in (listen, speak)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3 * PATIENCE)
            assert not thread.is_alive()
        assert [message.data["n"] for message in told] == list(range(count))
        assert len(client_of(server).last("c", 1000)) == count
        assert cutter.cuts > 10


@pytest.mark.parametrize("is_there", [True, False])
def test_a_subscription_goes_on_at_the_node_that_is_named_and_comes_back_when_that_is_not_there(redis: RedisServer, is_there: bool) -> None:
    options, channel = ("--broker", redis.url()), f"named/{is_there}"
    with Server(*options) as other:
        with Server(*options, "--alternatives", f"http://127.0.0.1:{other.port if is_there else 1}", "--retry", "0.2") as server:
            subscription = client_of(server).subscribe(channel, since="earliest")
            client_of(server).publish(channel, "before")
            assert next(subscription).data == "before"
            port = server.port
        client_of(other).publish(channel, "after")
        with contextlib.nullcontext() if is_there else Server(*options, http=f"127.0.0.1:{port}"):
            assert next(subscription).data == "after"
            subscription.close()


def test_a_restart_is_waited_out(redis: RedisServer) -> None:
    options = ("--broker", redis.url())
    with Server(*options) as server:
        port = server.port
        client = client_of(server)
        subscription = client.subscribe("c", since="earliest")
        client.publish("c", "before")
        assert next(subscription).data == "before"
    answers: list[sluice.Published] = []
    speaker = threading.Thread(target=lambda: answers.append(client.publish("c", "during")), daemon=True)
    speaker.start()
    with Server(*options, http=f"127.0.0.1:{port}"):
        assert next(subscription).data == "during"
        speaker.join(PATIENCE)
        assert len(answers) == 1
        subscription.close()


def test_a_refusal_that_passes_is_waited_out(redis: RedisServer) -> None:
    with Server("--broker", redis.url()) as server:
        client = client_of(server, timeout=PATIENCE)
        client.publish("c", "before")
        redis.kill()
        with pytest.raises(sluice.SluiceError, match="") as fault:
            client.publish("c", "x", patience=0.1)
        assert fault.value.status == 503
        answers: list[sluice.Published] = []
        speaker = threading.Thread(target=lambda: answers.append(client.publish("c", "after")), daemon=True)
        speaker.start()
        redis.start()
        speaker.join(PATIENCE)
        assert len(answers) == 1


def test_a_token_that_is_revoked_is_asked_for_again() -> None:
    names = iter(("anna", "berta"))
    with Server("--jwt-key", f"HS256:{secret_file()}") as server:
        publisher = client_of(server, token=make_token(publish=["c"]))
        publisher.publish("c", "first")
        reader = client_of(server, token=lambda: make_token(subscribe=["c"], sub=next(names)))
        subscription = reader.subscribe("c", since="earliest")
        assert next(subscription).data == "first"
        revoked = request(server, "DELETE", "/api/tokens?sub=anna", **bearer(make_token(admin=True)))
        assert revoked.status == 200
        publisher.publish("c", "second")
        assert next(subscription).data == "second"
        assert next(names, None) is None
        with pytest.raises(sluice.SluiceError, match="subscribe") as fault:
            next(client_of(server, token=make_token(publish=["c"])).subscribe("c"))
        assert fault.value.code == "forbidden-channel"
